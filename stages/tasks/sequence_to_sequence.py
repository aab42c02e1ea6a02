"""Sequence to sequence: a source sentence in, a target of unknown length out, ended by a stop symbol (Sutskever 2014).

Source and target are symbols: words (lower-cased) or characters, each with its own vocabulary. Training is by teacher
forcing: the decoder reads the true target shifted by one, <s> y_1 ... y_n, and predicts y_1 ... y_n </s>. The training
loss has label smoothing (Szegedy et al. 2016, section 7); the validation loss has none.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, TextIO, cast

import pydantic
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from stages.core.batch import Padded, pad, pad_indices
from stages.core.dataset import Example
from stages.core.params import settings
from stages.core.task import Batch, Task, read_lines
from stages.core.vocabulary import PADDING, START, STOP, UNKNOWN, Unit, Vocabulary, tokens

# Of a longer word the rest is left out: words of this many letters are rare.
MOST_SUBWORDS = 14


@settings
class Settings:
    """How sentences become symbols and vectors.

    ``source_least`` and ``target_least`` are how often a symbol must stand in training to be known; ``subword_least``
    is how many training words must hold a character trigram for it to add to the vectors of all words that hold it,
    known or not (none: no subwords); ``dropout`` falls on the embeddings; ``label_smoothing`` is the share of the
    target's probability that is spread over all symbols.
    """

    source_unit: Unit = "word"
    target_unit: Unit = "character"
    source_least: int = pydantic.Field(default=2, ge=1)
    target_least: int = pydantic.Field(default=2, ge=1)
    subword_least: int | None = pydantic.Field(default=None, ge=1)
    embedding: int = pydantic.Field(gt=0)
    dropout: float = pydantic.Field(default=0.0, ge=0, lt=1)
    label_smoothing: float = pydantic.Field(default=0.0, ge=0, lt=1)


def fit_vocabularies(examples: list[Example], settings: Settings) -> dict[str, Vocabulary]:
    """Collect the ``source`` and ``target`` symbols of the training split."""
    source = (symbol for example in examples for symbol in tokens(example["source"], settings.source_unit))
    target = (symbol for example in examples for symbol in tokens(example["target"], settings.target_unit))
    vocabularies = {
        "source": Vocabulary.of(source, least=settings.source_least),
        "target": Vocabulary.of(target, (PADDING, UNKNOWN, START, STOP), settings.target_least),
    }
    if settings.subword_least is not None:
        words = {word for example in examples for word in tokens(example["source"], settings.source_unit)}
        parts = (part for word in sorted(words) for part in subwords(word))
        vocabularies["subword"] = Vocabulary.of(parts, least=settings.subword_least)
    return vocabularies


def subwords(word: str) -> list[str]:
    """Give the character trigrams of ``word`` between "<" and ">" (Bojanowski et al. 2017), the first MOST_SUBWORDS."""
    marked = f"<{word}>"
    return [marked[start : start + 3] for start in range(len(marked) - 2)][:MOST_SUBWORDS]


def build(
    settings: Settings, vocabularies: dict[str, Vocabulary], build_model: Callable[[int], nn.Module]
) -> SequenceToSequence:
    """Build the task around the encoder-decoder that ``build_model(embedding)`` makes."""
    return SequenceToSequence(settings, vocabularies, build_model(settings.embedding))


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
    """Where a search stands, a row a hypothesis: the encoded sources and the decoder's state."""

    memory: Any
    decoder: tuple[Tensor, ...]


class SequenceToSequence(Task):
    """Embeddings, head and loss around an encoder-decoder with ``encode`` and ``decode``.

    A batch has "source" (batch, source_time) and, where targets are known, "target" (batch, target_time) with the stop
    symbol at its end, both indices.
    """

    decoder: dict[str, Any] = {"name": "beam_search"}

    def __init__(self, settings: Settings, vocabularies: dict[str, Vocabulary], model: nn.Module) -> None:
        super().__init__(vocabularies)
        self.settings = settings
        self.model = cast(EncoderDecoder, model)
        self.source_embedding = nn.Embedding(len(vocabularies["source"]), settings.embedding)
        self.target_embedding = nn.Embedding(len(vocabularies["target"]), settings.embedding)
        self.subword_embedding: nn.Embedding | None = None
        if "subword" in vocabularies:
            self.subword_embedding = nn.Embedding(len(vocabularies["subword"]), settings.embedding, padding_idx=0)
        self.dropout = nn.Dropout(settings.dropout)
        self.head = nn.Linear(self.model.output_size, len(vocabularies["target"]))
        index = vocabularies["target"].index
        self.start_symbol, self.stop_symbol = index[START], index[STOP]
        self.never = [index[PADDING], index[UNKNOWN], index[START]]

    def size(self, example: Example) -> int:
        """Count the decoder's steps: padding costs most there, as the encoder skips it."""
        return len(tokens(example["target"], self.settings.target_unit)) + 1

    def collate(self, examples: list[Example]) -> Batch:
        """Make a batch of examples, of their sources alone where the first has no target."""
        batch: Batch = {"source": pad_indices([self._source(example) for example in examples])}
        if self.subword_embedding is not None:
            batch["subwords"] = pad([torch.tensor(self._subwords(example)) for example in examples])
        if "target" in examples[0]:
            batch["target"] = pad_indices([self._target(example) for example in examples])
        return batch

    def _source(self, example: Example) -> list[int]:
        return self.vocabularies["source"].encode(tokens(example["source"], self.settings.source_unit))

    def _subwords(self, example: Example) -> list[list[int]]:
        """Indices (time, MOST_SUBWORDS), 0 where a word has fewer."""
        encode = self.vocabularies["subword"].encode
        rows = [encode(subwords(word)) for word in tokens(example["source"], self.settings.source_unit)]
        return [row + [0] * (MOST_SUBWORDS - len(row)) for row in rows]

    def _target(self, example: Example) -> list[int]:
        symbols = self.vocabularies["target"].encode(tokens(example["target"], self.settings.target_unit))
        return [*symbols, self.stop_symbol]

    def forward(self, batch: Batch) -> Tensor:
        """Score every next symbol by teacher forcing: logits (real steps of the targets, symbols), row after row."""
        target = _padded(batch["target"])
        first = target.values.new_full((len(target.values), 1), self.start_symbol)
        inputs = torch.cat([first, target.values[:, :-1]], dim=1)
        memory, state = self._encode(batch)
        outputs, _, _ = self.model.decode(self.dropout(self.target_embedding(inputs)), state, memory)
        logits: Tensor = self.head(outputs[target.mask])
        return logits

    def loss(self, batch: Batch) -> tuple[Tensor, int]:
        """Cross-entropy a target symbol (stop included) in nats, smoothed in training only, and how many they are."""
        target = _padded(batch["target"])
        truth = target.values[target.mask]
        smoothing = self.settings.label_smoothing if self.training else 0.0
        return cross_entropy(self(batch), truth, label_smoothing=smoothing), len(truth)

    # Search: a row is a hypothesis.

    def start(self, batch: Batch) -> SearchState:
        """Encode the sources of ``batch``, a row each."""
        memory, state = self._encode(batch)
        return SearchState(memory, state)

    def step(self, state: SearchState, symbols: Tensor) -> tuple[Tensor, SearchState]:
        """Read ``symbols`` (rows,), each row's last; give log-probabilities (rows, symbols) of the next, and the state.

        Padding, <unk> and <s> are never to be put out: their log-probability is minus infinity.
        """
        embedded = self.dropout(self.target_embedding(symbols[:, None]))
        outputs, decoder, _ = self.model.decode(embedded, state.decoder, state.memory)
        scores: Tensor = self.head(outputs[:, 0]).log_softmax(dim=-1)
        scores[:, self.never] = -torch.inf
        return scores, SearchState(state.memory, decoder)

    def reorder(self, state: SearchState, rows: Tensor) -> SearchState:
        """Take the rows ``rows`` (n,) of ``state``, in that order; a row may come several times."""
        return SearchState(state.memory.select(rows), tuple(part[rows] for part in state.decoder))

    def text(self, symbols: list[int]) -> str:
        """Write target indices (without stop) as text."""
        separator = " " if self.settings.target_unit == "word" else ""
        return separator.join(self.vocabularies["target"].decode(symbols))

    def _encode(self, batch: Batch) -> tuple[Any, tuple[Tensor, ...]]:
        source = _padded(batch["source"])
        embedded = self.source_embedding(source.values)
        if self.subword_embedding is not None:
            parts = _padded(batch["subwords"]).values  # (batch, time, MOST_SUBWORDS)
            counts = (parts != 0).sum(dim=-1, keepdim=True).clamp(min=1)
            embedded = embedded + self.subword_embedding(parts).sum(dim=2) / counts
        return self.model.encode(self.dropout(embedded), source.lengths)

    # A person's input.

    def read_input(self, source: Path | TextIO) -> list[Example]:
        """Read a sentence a line, blank lines left out; raises InputError where there is none."""
        sentences = [line.strip() for line in read_lines(source) if line.strip()]
        return [{"id": str(number), "source": sentence} for number, sentence in enumerate(sentences, start=1)]

    def present(self, record: dict[str, Any]) -> str:
        """Show the sentence and its prediction, a line each."""
        return f"{record['source']}\n  {record['prediction']}"


def _padded(part: Tensor | Padded) -> Padded:
    assert isinstance(part, Padded)
    return part
