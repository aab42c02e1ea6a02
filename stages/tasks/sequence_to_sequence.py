"""Sequence to sequence: a source sentence in, a target of unknown length out, ended by a stop symbol (Sutskever 2014).

Source and target are symbols: words (lower-cased) or characters of a text, or symbols as the example lists them; each
side has its own vocabulary. Training is by teacher forcing: the decoder reads the true target shifted by one, <s> y_1
... y_n, and predicts y_1 ... y_n </s>. With scheduled sampling (Bengio et al. 2015) it reads, at some steps, what it
would have put out itself. The training loss has label smoothing (Szegedy et al. 2016, section 7); the validation loss
has none. Without ``stop`` the target has no end, and the decoder never knows when it is done (N24).

With the grammar "brackets" the target is a tree over the source's words, as stages/datasets/treebank.py writes it, and
the decoder chooses only among the symbols from which a tree can still be reached; see ``Brackets``. A peer reads
sources and targets as lists of symbols and gives one target a source.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol, TextIO, cast

import pydantic
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from stages.core.base.errors import InputError
from stages.core.base.params import settings
from stages.core.learning.batch import Padded, pad, pad_indices
from stages.core.learning.dataset import Example
from stages.core.learning.task import Batch, Peer, Task, build_network, build_peer, read_lines
from stages.core.learning.vocabulary import PADDING, START, STOP, UNKNOWN, Unit, Vocabulary, tokens

# Of a longer word the rest is left out: words of this many letters are rare.
MOST_SUBWORDS = 14


Symbols = list[str]


@settings
class Settings:
    """How sentences become symbols and vectors.

    ``source_unit`` and ``target_unit`` divide texts; "symbol" takes the example's own list (a target is then put out as
    a list). ``source_least`` and ``target_least`` are how often a symbol must stand in training to be known;
    ``subword_least`` is how many training words must hold a character trigram for it to add to the vectors of all words
    that hold it, known or not (none: no subwords). ``embedding`` is the size of vectors (none: the model is a peer, and
    the other settings but the units have no part in it); ``tied`` makes the target's vectors the rows of the output
    layer too (Press and Wolf 2017). ``dropout`` falls on the embeddings, ``word_dropout`` makes so many source symbols
    unknown; ``label_smoothing`` is the share of the target's probability that is spread over all symbols that may come.
    ``sampling`` is the share of steps at which the decoder reads its own output in the last epoch of training, growing
    linearly from 0. ``longest`` leaves training examples with more source symbols out.
    """

    source_unit: Unit | Literal["symbol"] = "word"
    target_unit: Unit | Literal["symbol"] = "character"
    source_least: int = pydantic.Field(default=2, ge=1)
    target_least: int = pydantic.Field(default=2, ge=1)
    subword_least: int | None = pydantic.Field(default=None, ge=1)
    embedding: int | None = pydantic.Field(default=None, gt=0)
    tied: bool = False
    dropout: float = pydantic.Field(default=0.0, ge=0, lt=1)
    word_dropout: float = pydantic.Field(default=0.0, ge=0, lt=1)
    label_smoothing: float = pydantic.Field(default=0.0, ge=0, lt=1)
    sampling: float = pydantic.Field(default=0.0, ge=0, le=1)
    stop: bool = True
    grammar: Literal["none", "brackets"] = "none"
    longest: int | None = pydantic.Field(default=None, gt=0)

    @pydantic.model_validator(mode="after")
    def _fit(self) -> Settings:
        if self.grammar == "brackets" and (self.source_unit, self.target_unit, self.stop) != ("symbol", "symbol", True):
            raise ValueError("the grammar brackets needs source_unit and target_unit symbol, and the stop symbol")
        return self


def divide(part: str | Symbols, unit: str, field: str) -> Symbols:
    """Divide a text into symbols, or take an example's list; raises InputError where it is the other of the two."""
    if isinstance(part, list) != (unit == "symbol"):
        have, unit_for = ("a list", "symbol") if isinstance(part, list) else ("a text", "word or character")
        raise InputError(f"an example's {field} is {have}; task.{field}_unit should be {unit_for}, but is {unit}")
    return part if isinstance(part, list) else tokens(part, cast(Unit, unit))


def fit_vocabularies(examples: list[Example], settings: Settings) -> dict[str, Vocabulary]:
    """Collect the ``source`` and ``target`` symbols of the training split, and the ``subword`` parts of its words."""
    if settings.embedding is None:
        return {}
    sources = [divide(example["source"], settings.source_unit, "source") for example in examples]
    targets = [divide(example["target"], settings.target_unit, "target") for example in examples]
    vocabularies = {
        "source": Vocabulary.of((s for symbols in sources for s in symbols), least=settings.source_least),
        "target": Vocabulary.of(
            (s for symbols in targets for s in symbols), (PADDING, UNKNOWN, START, STOP), settings.target_least
        ),
    }
    if settings.subword_least is not None:
        parts = (part for word in sorted({s for symbols in sources for s in symbols}) for part in subwords(word))
        vocabularies["subword"] = Vocabulary.of(parts, least=settings.subword_least)
    return vocabularies


def subwords(word: str) -> list[str]:
    """Give the character trigrams of ``word`` between "<" and ">" (Bojanowski et al. 2017), the first MOST_SUBWORDS."""
    marked = f"<{word}>"
    return [marked[start : start + 3] for start in range(len(marked) - 2)][:MOST_SUBWORDS]


def build(settings: Settings, vocabularies: dict[str, Vocabulary], build_model: Callable[[int], nn.Module]) -> Task:
    """Build the task around the encoder-decoder that ``build_model(embedding)`` makes, or around a peer."""
    if settings.embedding is None:
        return PeerSequenceToSequence(settings, vocabularies, build_peer(build_model, "embedding"))
    return SequenceToSequence(settings, vocabularies, build_network(build_model, settings.embedding, "embedding"))


class EncoderDecoder(Protocol):
    """What the task asks of its model; see stages/models/encoder_decoder.py."""

    output_size: int

    def encode(self, source: Tensor, lengths: Tensor) -> tuple[Any, tuple[Tensor, ...]]:
        """Read embedded sources; give what the decoder looks at (it has ``select``), and the decoder's first state."""

    def decode(
        self, target: Tensor, state: tuple[Tensor, ...], memory: Any
    ) -> tuple[Tensor, tuple[Tensor, ...], Tensor | None]:
        """Read embedded symbols; give outputs, the state after, and the attention weights or none."""


@dataclass(frozen=True)
class SearchState:
    """Where a search stands, a row a hypothesis: the encoded sources, the decoder's state, and the open brackets."""

    memory: Any
    decoder: tuple[Tensor, ...]
    brackets: Brackets | None = None


@dataclass(frozen=True)
class Brackets:
    """How much of a tree over a sentence's words stands, a row a tree, and which symbols may come next.

    A tree is one bracket that holds others; each bracket reads just one word itself, by the symbol WORD, and all words
    are read. ``words`` (rows,) is how many there are, ``read`` (rows,) how many are read; ``stack`` (rows, depth) bool
    has True where an open bracket has read its word, ``depth`` (rows,) counts the open ones, and ``begun`` (rows,) bool
    is True once one was opened.

    An open bracket without its word waits for one of those to come. So a bracket may open where more words are to come
    than are waited for, a word is read by the innermost bracket if it has none, and a bracket closes once it has its
    word, the outermost only when all are read. A tree over n words thus has n brackets, and every way leads to one.
    """

    words: Tensor
    read: Tensor
    stack: Tensor
    depth: Tensor
    begun: Tensor

    @classmethod
    def none(cls, words: Tensor) -> Brackets:
        """Give the state before the first symbol of trees over ``words`` (rows,) words."""
        zero = torch.zeros_like(words)
        stack = torch.zeros(len(words), int(words.max()) + 1, dtype=torch.bool, device=words.device)
        return cls(words, zero, stack, zero, zero.bool())

    def legal(self) -> Tensor:
        """(rows, 4) bool, True at the KINDS of symbols that may come next."""
        left = self.words - self.read
        places = torch.arange(self.stack.shape[1], device=left.device)
        opened = places < self.depth[:, None]
        waiting = (opened & ~self.stack).sum(dim=1)
        has_word = (self.stack & (places == self.depth[:, None] - 1)).any(dim=1)
        inside = self.depth > 0
        return torch.stack(
            [
                (inside | ~self.begun) & (left > waiting),
                inside & ~has_word,
                inside & has_word & ((self.depth > 1) | (left == 0)),
                self.begun & ~inside,
            ],
            dim=1,
        )

    def read_on(self, kinds: Tensor) -> Brackets:
        """Give the state after ``kinds`` (rows,) of symbols, places in KINDS; what is none of them changes nothing."""
        opens, reads, closes = (kinds == kind for kind in range(3))
        places = torch.arange(self.stack.shape[1], device=kinds.device)
        depth = self.depth + opens.long() - closes.long()
        innermost = places == self.depth[:, None] - 1
        cleared = self.stack & ~(opens[:, None] & (places == self.depth[:, None]))
        stack = cleared | (reads[:, None] & innermost)
        return Brackets(self.words, self.read + reads.long(), stack, depth, self.begun | opens)

    def places(self) -> Tensor:
        """(rows,): the next word to be read, or the last one."""
        return torch.minimum(self.read, self.words - 1)

    def select(self, rows: Tensor) -> Brackets:
        """Take rows."""
        return Brackets(*(part[rows] for part in (self.words, self.read, self.stack, self.depth, self.begun)))


OPEN, WORD, CLOSE = "(", "•", ")"
KINDS = ("opening bracket", "word", "closing bracket", "stop")


def kind_of(symbol: str) -> int:
    """Give the place in KINDS of a symbol of a tree, or -1 of what is none. An unknown symbol is a rare bracket."""
    if symbol.startswith(OPEN) or symbol == UNKNOWN:
        return 0
    return {WORD: 1, CLOSE: 2, STOP: 3}.get(symbol, -1)


class Conversion(Task):
    """What networks and peers share: what a person gives and sees."""

    decoder: dict[str, Any] = {"name": "beam_search"}

    def __init__(self, settings: Settings, vocabularies: dict[str, Vocabulary]) -> None:
        super().__init__(vocabularies)
        self.settings = settings

    def source(self, example: Example) -> Symbols:
        """Give the symbols of the source; raises InputError where there is none."""
        symbols = divide(example["source"], self.settings.source_unit, "source")
        if not symbols:
            raise InputError(f"the source of {example.get('id')} has no symbol; it should have one at least")
        return symbols

    def target(self, example: Example) -> Symbols:
        """Give the symbols of the target."""
        return divide(example["target"], self.settings.target_unit, "target")

    def join(self, symbols: Symbols) -> str | Symbols:
        """Write target symbols as examples have them: as text, or as a list."""
        if self.settings.target_unit == "symbol":
            return symbols
        return (" " if self.settings.target_unit == "word" else "").join(symbols)

    def draw(self, examples: list[Example], generator: torch.Generator) -> list[Example]:
        """Leave out what is longer than ``longest``."""
        longest = self.settings.longest
        return examples if longest is None else [e for e in examples if len(self.source(e)) <= longest]

    def read_input(self, source: Path | TextIO) -> list[Example]:
        """Read a source a line (symbols apart by white space, where they are such); raises InputError without one."""
        lines = [line.strip() for line in read_lines(source) if line.strip()]
        split = self.settings.source_unit == "symbol"
        return [
            {"id": str(number), "source": line.split() if split else line} for number, line in enumerate(lines, start=1)
        ]

    def present(self, record: dict[str, Any]) -> str:
        """Show the source and its prediction, a line each, or all hypotheses with their log-probabilities."""
        source = record["source"] if isinstance(record["source"], str) else " ".join(record["source"])
        show = lambda prediction: prediction if isinstance(prediction, str) else " ".join(prediction)
        if "n_best" not in record:
            return f"{source}\n  {show(record['prediction'])}"
        found = (f"  {said['log_probability']:8.3f}  {show(said['prediction'])}" for said in record["n_best"])
        return "\n".join([source, *found])


class SequenceToSequence(Conversion):
    """Embeddings, head and loss around an encoder-decoder with ``encode`` and ``decode``.

    A batch has "source" (batch, source_time) and, where targets are known, "target" (batch, target_time) with the stop
    symbol at its end, both indices.
    """

    def __init__(self, settings: Settings, vocabularies: dict[str, Vocabulary], model: nn.Module) -> None:
        super().__init__(settings, vocabularies)
        assert settings.embedding is not None
        self.model = cast(EncoderDecoder, model)
        self.points: bool = getattr(model, "points", False)
        if self.points and settings.grammar == "none":
            raise InputError("attention pointer looks at the next unread word, which task.grammar brackets knows")
        target = vocabularies["target"]
        self.source_embedding = nn.Embedding(len(vocabularies["source"]), settings.embedding)
        self.target_embedding = nn.Embedding(len(target), settings.embedding)
        self.subword_embedding: nn.Embedding | None = None
        if "subword" in vocabularies:
            self.subword_embedding = nn.Embedding(len(vocabularies["subword"]), settings.embedding, padding_idx=0)
        self.dropout = nn.Dropout(settings.dropout)
        self.head: nn.Module = nn.Linear(self.model.output_size, len(target))
        if settings.tied:
            # As large as an embedding's own values would make scores of some tens: a layer of their size begins small.
            nn.init.normal_(self.target_embedding.weight, std=settings.embedding**-0.5)
            self.head = TiedHead(self.model.output_size, self.target_embedding)
        self.start_symbol = target.index[START]
        self.stop_symbol = target.index[STOP] if settings.stop else None
        self.never = [target.index[symbol] for symbol in (PADDING, UNKNOWN, START, *([] if settings.stop else [STOP]))]
        kinds = torch.tensor([kind_of(symbol) for symbol in target.symbols])
        self.kinds: Tensor
        self.register_buffer("kinds", kinds, persistent=False)

    def size(self, example: Example) -> int:
        """Count the decoder's steps, as padding costs most there; without a target, the source's."""
        return len(self.target(example)) + 1 if "target" in example else len(self.source(example))

    def collate(self, examples: list[Example]) -> Batch:
        """Make a batch of examples, of their sources alone where the first has no target."""
        encode = self.vocabularies["source"].encode
        batch: Batch = {"source": pad_indices([encode(self.source(example)) for example in examples])}
        if self.subword_embedding is not None:
            batch["subwords"] = pad([torch.tensor(self._subwords(example)) for example in examples])
        if "target" in examples[0]:
            batch["target"] = pad_indices([self._target(example) for example in examples])
        return batch

    def _subwords(self, example: Example) -> list[list[int]]:
        """Indices (time, MOST_SUBWORDS), 0 where a word has fewer."""
        encode = self.vocabularies["subword"].encode
        rows = [encode(subwords(word)) for word in self.source(example)]
        return [row + [0] * (MOST_SUBWORDS - len(row)) for row in rows]

    def _target(self, example: Example) -> list[int]:
        symbols = self.vocabularies["target"].encode(self.target(example))
        return symbols if self.stop_symbol is None else [*symbols, self.stop_symbol]

    def forward(self, batch: Batch) -> Tensor:
        """Score every next symbol by teacher forcing: logits (real steps of the targets, symbols), row after row.

        With a grammar, minus infinity stands at the symbols that may not come.
        """
        target = _padded(batch["target"])
        memory, state = self._encode(batch)
        sampling = self._sampling()
        outputs = self._sampled(target, memory, state, sampling) if sampling else self._forced(target, memory, state)
        return outputs[target.mask]

    def _forced(self, target: Padded, memory: Any, state: tuple[Tensor, ...]) -> Tensor:
        """Logits (batch, steps, symbols), where the decoder reads the true symbols."""
        first = target.values.new_full((len(target.values), 1), self.start_symbol)
        inputs = torch.cat([first, target.values[:, :-1]], dim=1)
        legal = None
        if self.settings.grammar == "brackets":
            legal, places = self._parse(target.values, memory)
            memory = memory.point(places) if self.points else memory
        outputs, _, _ = self.model.decode(self.dropout(self.target_embedding(inputs)), state, memory)
        logits: Tensor = self.head(outputs)
        return logits if legal is None else logits.masked_fill(~legal, -torch.inf)

    def _parse(self, target: Tensor, memory: Any) -> tuple[Tensor, Tensor]:
        """Follow the true trees: the symbols (batch, steps, symbols) bool that may come, and the next words' places."""
        brackets, legal, places = Brackets.none(memory.mask.sum(dim=1)), [], []
        for kinds in self.kinds[target].unbind(dim=1):
            legal.append(brackets.legal())
            places.append(brackets.places())
            brackets = brackets.read_on(kinds)
        return self._legal_symbols(torch.stack(legal, dim=1)), torch.stack(places, dim=1)

    def _legal_symbols(self, legal: Tensor) -> Tensor:
        """Turn the kinds (..., 4) that may come into symbols (..., symbols)."""
        return legal[..., self.kinds.clamp(min=0)] & (self.kinds >= 0)

    def _sampling(self) -> float:
        """Share of steps at which the decoder reads its own output."""
        if not (self.training and self.settings.sampling):
            return 0.0
        epochs = self.plan.epochs if self.plan else 1
        return self.settings.sampling * (self.current_epoch / (epochs - 1) if epochs > 1 else 1.0)

    def _sampled(self, target: Padded, memory: Any, state: tuple[Tensor, ...], share: float) -> Tensor:
        """Logits (batch, steps, symbols), where the decoder reads at a ``share`` of the steps what it draws itself."""
        rows, steps = target.values.shape
        own = torch.rand(rows, steps, device=target.values.device) < share
        symbols, search, logits = target.values.new_full((rows,), self.start_symbol), self._search(memory, state), []
        for step in range(steps):
            scores, search, _ = self._step(search, symbols)
            logits.append(scores)
            drawn = torch.multinomial(scores.detach().softmax(dim=1), 1)[:, 0]
            symbols = torch.where(own[:, step], drawn, target.values[:, step])
        return torch.stack(logits, dim=1)

    def loss(self, batch: Batch) -> tuple[Tensor, int]:
        """Cross-entropy a target symbol (stop included) in nats, smoothed in training only, and how many they are."""
        target = _padded(batch["target"])
        truth = target.values[target.mask]
        smoothing = self.settings.label_smoothing if self.training else 0.0
        logits = self(batch)
        if self.settings.grammar == "none" or not smoothing:
            return cross_entropy(logits, truth, label_smoothing=smoothing), len(truth)
        log_probabilities = logits.log_softmax(dim=1)
        legal = log_probabilities.isfinite()
        spread = log_probabilities.masked_fill(~legal, 0).sum(dim=1) / legal.sum(dim=1)
        right = log_probabilities.gather(1, truth[:, None])[:, 0]
        return -((1 - smoothing) * right + smoothing * spread).mean(), len(truth)

    # Search: a row is a hypothesis.

    def start(self, batch: Batch) -> SearchState:
        """Encode the sources of ``batch``, a row each."""
        return self._search(*self._encode(batch))

    def _search(self, memory: Any, state: tuple[Tensor, ...]) -> SearchState:
        brackets = Brackets.none(memory.mask.sum(dim=1)) if self.settings.grammar == "brackets" else None
        return SearchState(memory, state, brackets)

    def step(self, state: SearchState, symbols: Tensor) -> tuple[Tensor, SearchState]:
        """Read ``symbols`` (rows,), each row's last; give log-probabilities (rows, symbols) of the next, and the state.

        Padding, <unk> and <s> are never to be put out: their log-probability is minus infinity.
        """
        scores, state, _ = self._step(state, symbols)
        scores = scores.log_softmax(dim=-1)
        scores[:, self.never] = -torch.inf
        return scores, state

    def _step(self, state: SearchState, symbols: Tensor) -> tuple[Tensor, SearchState, Tensor | None]:
        """Read ``symbols`` (rows,); give logits (rows, symbols), the state, and where attention looks or none."""
        memory, brackets = state.memory, state.brackets
        if brackets is not None:
            brackets = brackets.read_on(self.kinds[symbols])
            memory = memory.point(brackets.places()[:, None]) if self.points else memory
        embedded = self.dropout(self.target_embedding(symbols[:, None]))
        outputs, decoder, weights = self.model.decode(embedded, state.decoder, memory)
        scores: Tensor = self.head(outputs[:, 0])
        if brackets is not None:
            scores = scores.masked_fill(~self._legal_symbols(brackets.legal()), -torch.inf)
        return scores, SearchState(state.memory, decoder, brackets), weights

    def reorder(self, state: SearchState, rows: Tensor) -> SearchState:
        """Take the rows ``rows`` (n,) of ``state``, in that order; a row may come several times."""
        brackets = None if state.brackets is None else state.brackets.select(rows)
        return SearchState(state.memory.select(rows), tuple(part[rows] for part in state.decoder), brackets)

    def text(self, symbols: list[int]) -> str | Symbols:
        """Write target indices (without stop) as text, or as a list of symbols."""
        return self.join(self.vocabularies["target"].decode(symbols))

    def trace(self, example: Example) -> dict[str, Any] | None:
        """Give where attention looks as the target of ``example`` is read; None where there is no attention.

        {"kind": "attention", "source": symbols, "target": symbols, "weights": a row a target symbol}; the last row of
        weights is that of the stop symbol.
        """
        batch = self.collate([example])
        state, rows = self.start(batch), []
        steps = [self.start_symbol, *_padded(batch["target"]).values[0].tolist()]
        for symbol in steps[:-1]:
            _, state, weights = self._step(state, torch.tensor([symbol]))
            if weights is None:
                return None
            rows.append([round(share, 4) for share in weights[0, 0].tolist()])
        written = [*self.target(example), *([STOP] if self.settings.stop else [])]
        return {"kind": "attention", "source": self.source(example), "target": written, "weights": rows}

    def _encode(self, batch: Batch) -> tuple[Any, tuple[Tensor, ...]]:
        source = _padded(batch["source"])
        values = source.values
        if self.training and self.settings.word_dropout:
            gone = torch.rand(values.shape, device=values.device) < self.settings.word_dropout
            values = values.masked_fill(gone, self.vocabularies["source"].index[UNKNOWN])
        embedded = self.source_embedding(values)
        if self.subword_embedding is not None:
            parts = _padded(batch["subwords"]).values  # (batch, time, MOST_SUBWORDS)
            counts = (parts != 0).sum(dim=-1, keepdim=True).clamp(min=1)
            embedded = embedded + self.subword_embedding(parts).sum(dim=2) / counts
        return self.model.encode(self.dropout(embedded), source.lengths)


class TiedHead(nn.Module):
    """Scores by the target's own vectors: logits (..., symbols) = E W x + b (Press and Wolf 2017)."""

    def __init__(self, size: int, embedding: nn.Embedding) -> None:
        super().__init__()
        self.project = nn.Linear(size, embedding.embedding_dim)
        self.bias = nn.Parameter(torch.zeros(embedding.num_embeddings))
        self.embedding = [embedding]  # in a list, so that its weights are not this module's as well

    def forward(self, outputs: Tensor) -> Tensor:
        """``outputs`` (..., size)."""
        return nn.functional.linear(self.project(outputs), self.embedding[0].weight, self.bias)


class PeerSequenceToSequence(Conversion):
    """A peer that is fitted to sources and targets, and gives a target a source; a batch is {"examples": them}."""

    decoder: dict[str, Any] = {"name": "direct"}

    def __init__(self, settings: Settings, vocabularies: dict[str, Vocabulary], model: Peer) -> None:
        super().__init__(settings, vocabularies)
        self.model: Any = model

    def size(self, example: Example) -> int:
        """Count the source's symbols."""
        return len(self.source(example))

    def collate(self, examples: list[Example]) -> Any:
        """Take them as they are."""
        return {"examples": examples}

    def fit_peer(self, examples: list[Example]) -> None:
        """Fit to the symbols of sources and targets."""
        self.model.fit([self.source(example) for example in examples], [self.target(example) for example in examples])

    def convert(self, batch: Any) -> list[str | Symbols]:
        """Give the peer's target of each source."""
        return [self.join(target) for target in map(self.model.convert, map(self.source, batch["examples"]))]

    def loss(self, batch: Any) -> tuple[Tensor, int]:
        """Give the share of examples whose target is missed, as a peer has no probabilities."""
        examples = batch["examples"]
        missed = sum(said != example["target"] for said, example in zip(self.convert(batch), examples, strict=True))
        return torch.tensor(missed / len(examples)), len(examples)


def _padded(part: Tensor | Padded) -> Padded:
    assert isinstance(part, Padded)
    return part
