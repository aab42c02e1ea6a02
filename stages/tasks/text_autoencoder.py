"""Text auto-encoder: a text becomes one vector, and is written again from that vector alone (N26).

A text is a sentence, or a document: a list of sentences. Words are lower-cased, punctuation marks are words. A word is
one symbol, or, with ``pieces``, several: pieces are learnt from the training words by merging the most frequent pair
of neighbours again and again (Sennrich et al. 2016, section 3.2), so that a word that training has not is still
spelled. What is written is compared with the embeddings that words are read with: encoder, decoder and output layer
share them (Press and Wolf 2017), unless ``tied`` is off.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Callable
from heapq import heapify, heappop, heappush
from itertools import chain, pairwise
from pathlib import Path
from typing import Any, Protocol, TextIO, cast

import pydantic
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, linear

from stages.core.base.errors import InputError
from stages.core.base.params import settings
from stages.core.learning.batch import Padded, pad_indices, reverse
from stages.core.learning.dataset import Example
from stages.core.learning.task import Batch, Peer, Task, read_lines
from stages.core.learning.vocabulary import PADDING, STOP, UNKNOWN, Vocabulary, tokens

BEGIN = "▁"  # marks a piece that begins a word
ROUNDING = 1e-5  # nats: how far apart the log-probabilities of one text may come out


@settings
class Settings:
    """Which texts, and how they become symbols and vectors.

    ``field`` of an example holds its text, or the list of its sentences. ``longest``: of a longer text, training reads
    a stretch of as many words, drawn anew each epoch. ``pieces``: how many merges make the pieces of words (none: a
    word is a symbol if ``least`` training texts' words are it). ``split``: a further split to learn from. Without
    ``embedding``, the model is a peer, and only the field has a part in it. ``gain`` is what similarities to embeddings
    are multiplied with, at first, to be logits.
    """

    field: str
    longest: int = pydantic.Field(default=12, gt=0)
    least: int = pydantic.Field(default=1, ge=1)
    pieces: int | None = pydantic.Field(default=None, ge=0)
    split: str | None = None
    embedding: int | None = pydantic.Field(default=None, gt=0)
    dropout: float = pydantic.Field(default=0.0, ge=0, lt=1)
    tied: bool = True
    gain: float = pydantic.Field(default=10.0, gt=0)

    @property
    def further_splits(self) -> list[str]:
        """Splits whose examples belong to the training examples."""
        return [self.split] if self.split else []


def words_of(example: Example, field: str) -> list[list[str]]:
    """Give the words of each sentence of a text; raises InputError where the example's field is missing."""
    if field not in example:
        raise InputError(f"example {example.get('id')} has no field {field!r}, which task.field says holds its text")
    text = example[field]
    return [tokens(sentence, "word") for sentence in (text if isinstance(text, list) else [text])]


def fit_vocabularies(examples: list[Example], settings: Settings) -> dict[str, Vocabulary]:
    """Collect "symbols": the words of the training texts, or pieces of them."""
    counts = Counter(word for example in examples for words in words_of(example, settings.field) for word in words)
    specials = [PADDING, UNKNOWN, STOP]
    if settings.pieces is None:
        kept = Vocabulary.of(counts.elements(), specials, settings.least)
        return {"symbols": kept}
    return {"symbols": Vocabulary([*specials, *learn_pieces(counts, settings.pieces)])}


def learn_pieces(counts: Counter[str], merges: int) -> list[str]:
    """Give the letters of words, each as a beginning and inside, and the pieces that ``merges`` merges make of them."""
    words = [[BEGIN + word[0], *word[1:]] for word in counts]
    weights = list(counts.values())
    letters = sorted({letter for word in counts for letter in word})
    pieces = dict.fromkeys([*letters, *(BEGIN + letter for letter in letters)])
    pairs: Counter[tuple[str, str]] = Counter()
    holders: dict[tuple[str, str], set[int]] = defaultdict(set)
    for place, word in enumerate(words):
        for pair in pairwise(word):
            pairs[pair] += weights[place]
            holders[pair].add(place)
    # The most frequent first, then the first in the alphabet; a pair whose count has changed since comes again.
    queue = [(-count, pair) for pair, count in pairs.items()]
    heapify(queue)
    while merges and queue:
        count, best = heappop(queue)
        if pairs[best] != -count:
            continue
        if -count < 2:
            break
        merges -= 1
        pieces["".join(best)] = None
        changed: set[tuple[str, str]] = set()
        for place in holders.pop(best):
            for pair in pairwise(words[place]):
                pairs[pair] -= weights[place]
                changed.add(pair)
            words[place] = _merge(words[place], best)
            for pair in pairwise(words[place]):
                pairs[pair] += weights[place]
                holders[pair].add(place)
                changed.add(pair)
        for pair in changed:
            heappush(queue, (-pairs[pair], pair))
    return list(pieces)


def _merge(word: list[str], pair: tuple[str, str]) -> list[str]:
    merged: list[str] = []
    for piece in word:
        if merged and (merged[-1], piece) == pair:
            merged[-1] += piece
        else:
            merged.append(piece)
    return merged


def build(
    settings: Settings, vocabularies: dict[str, Vocabulary], build_model: Callable[[int], nn.Module]
) -> TextAutoEncoder | PeerAutoEncoder:
    """Build the task around the auto-encoder that ``build_model(embedding)`` makes, or around a peer."""
    model = build_model(settings.embedding or 1)
    if isinstance(model, Peer) != (settings.embedding is None):
        wanted = "leave it out for a peer" if settings.embedding else "set it for a network"
        raise InputError(f"task.embedding is {settings.embedding} for the model {type(model).__name__}: {wanted}")
    if isinstance(model, Peer):
        return PeerAutoEncoder(settings, vocabularies, model)
    return TextAutoEncoder(settings, vocabularies, model)


class AutoEncoder(Protocol):
    """What the task asks of its model; see stages/models/autoencoder.py."""

    hierarchical: bool
    words: Any
    sentences: Any

    def encode_rows(self, words: Tensor, lengths: Tensor) -> Tensor:
        """Embedded words to a vector a row."""

    def encode(self, rows: Tensor, counts: Tensor) -> Tensor:
        """Vectors of rows to a vector a text."""

    def plan(self, vectors: Tensor, rows: Tensor, counts: Tensor) -> Tensor:
        """Vectors of texts to the vectors that rows are written from."""

    def write(self, words: Tensor, vectors: Tensor) -> Tensor:
        """Vectors of rows, and embedded words, to what is written."""


class TextTask(Task):
    """What the network and the peer share: the words of examples, a person's input, what a person is shown."""

    monitor = "validation_exact_match"
    monitor_mode = "max"
    decoder: dict[str, Any] = {"name": "reconstruction"}

    def __init__(self, settings: Settings, vocabularies: dict[str, Vocabulary]) -> None:
        super().__init__(vocabularies)
        self.settings = settings
        self.symbols = vocabularies["symbols"]
        self._right: list[bool] = []

    def words(self, example: Example) -> list[list[str]]:
        """Give the words of each sentence of ``example``."""
        return words_of(example, self.settings.field)

    def size(self, example: Example) -> int:
        """Count the words of a text."""
        return sum(map(len, self.words(example)))

    def validation_scores(self) -> dict[str, float]:
        """Give the percentage that come out whole, of the texts whose sentences have at most ``longest`` words."""
        right, self._right = self._right, []
        return {"validation_exact_match": 100 * sum(right) / len(right) if right else 0.0}

    def read_input(self, source: Path | TextIO) -> list[Example]:
        """Read a text a line, blank lines left out; raises InputError where there is none."""
        texts = [line.strip() for line in read_lines(source) if line.strip()]
        return [{"id": str(number), self.settings.field: text} for number, text in enumerate(texts, start=1)]

    def present(self, record: dict[str, Any]) -> str:
        """Show the text's words and below them those that were written from its vector."""
        return f"{' '.join(record['target'])}\n  {' '.join(record['prediction'])}"


class TextAutoEncoder(TextTask):
    """Embeddings, output layer and loss around an auto-encoder.

    A batch has "rows" (rows, time), the symbols of each sentence, and "counts" (texts,), how many rows a text has. With
    a model of one level a text is one row; with two, a text is an empty row and one for each sentence.
    """

    def __init__(self, settings: Settings, vocabularies: dict[str, Vocabulary], model: nn.Module) -> None:
        super().__init__(settings, vocabularies)
        assert settings.embedding is not None
        self.model = cast(AutoEncoder, model)
        scale = settings.embedding**-0.5
        self.embedding = nn.Embedding(len(self.symbols), settings.embedding)
        self.bias = nn.Parameter(torch.zeros(len(self.symbols)))
        self.gain = nn.Parameter(torch.tensor(settings.gain))
        self.head: nn.Parameter | None = None
        nn.init.normal_(self.embedding.weight, std=scale)
        if not settings.tied:
            self.head = nn.Parameter(scale * torch.randn(len(self.symbols), settings.embedding))
        self.dropout = nn.Dropout(settings.dropout)
        self.stop_symbol = self.symbols.index[STOP]
        self.never = [self.symbols.index[PADDING], self.symbols.index[UNKNOWN]]
        self._spelled: dict[str, list[int]] = {}

    def read_input(self, source: Path | TextIO) -> list[Example]:
        """Read a text a line; with two levels, a sentence ends at white space behind a full stop, ! or ?."""
        examples = super().read_input(source)
        if not self.model.hierarchical:
            return examples
        field = self.settings.field
        return [{**example, field: re.split(r"(?<=[.!?])\s+", example[field])} for example in examples]

    # Words and symbols.

    def spell(self, word: str) -> list[int]:
        """Give the symbols of ``word``: itself, or from its start on always the longest piece that is known."""
        if self.settings.pieces is None:
            return self.symbols.encode([word])
        if word not in self._spelled:
            pieces, rest = [], BEGIN + word
            while rest:
                length = next((n for n in range(len(rest), 0, -1) if rest[:n] in self.symbols.index), 0)
                if not length:
                    pieces = [UNKNOWN]
                    break
                pieces.append(rest[:length])
                rest = rest[length:]
            self._spelled[word] = self.symbols.encode(pieces)
        return self._spelled[word]

    def join(self, symbols: list[int]) -> list[str]:
        """Give the words that ``symbols`` spell."""
        found = self.symbols.decode(symbols)
        if self.settings.pieces is None:
            return found
        return [word for word in "".join(found).split(BEGIN) if word]

    def draw(self, examples: list[Example], generator: torch.Generator) -> list[Example]:
        """Cut each sentence that is too long to a stretch of ``longest`` words."""
        longest, field = self.settings.longest, self.settings.field
        drawn = []
        for example in examples:
            sentences = self.words(example)
            if max(map(len, sentences)) <= longest:
                drawn.append(example)
                continue
            starts = [
                int(torch.randint(max(len(words) - longest, 0) + 1, (), generator=generator)) for words in sentences
            ]
            cut = [" ".join(words[start : start + longest]) for words, start in zip(sentences, starts, strict=True)]
            drawn.append({**example, field: cut if isinstance(example[field], list) else cut[0]})
        return drawn

    def collate(self, examples: list[Example]) -> Batch:
        """Make a batch of texts."""
        return self.collate_words([self.words(example) for example in examples])

    def collate_words(self, texts: list[list[list[str]]]) -> Batch:
        """Make a batch of texts, each the words of its sentences."""
        rows, counts = [], []
        for sentences in texts:
            spelled = [[symbol for word in words for symbol in self.spell(word)] for words in sentences]
            mine = [[], *spelled] if self.model.hierarchical else [list(chain.from_iterable(spelled))]
            rows.extend(mine)
            counts.append(len(mine))
        batch: Batch = {"rows": pad_indices(rows), "counts": torch.tensor(counts)}
        return batch if self.training else cast(Batch, batch | {"texts": texts})

    # The network.

    def encode_rows(self, rows: Padded) -> Tensor:
        """Read the symbols of rows, each behind a stop symbol, which is thus written last: vectors (rows, size)."""
        stops = rows.values.new_full((len(rows.values), 1), self.stop_symbol)
        read = self.dropout(self.embedding(torch.cat([stops, rows.values], dim=1)))
        return self.model.encode_rows(read, rows.lengths + 1)

    def encode(self, batch: Batch) -> Tensor:
        """Give the vectors (texts, size) of the texts of ``batch``."""
        return self.model.encode(self.encode_rows(_padded(batch["rows"])), _counts(batch))

    def score(self, outputs: Tensor) -> Tensor:
        """Compare outputs (..., embedding) with every symbol's embedding: logits (..., symbols)."""
        weights = self.embedding.weight if self.head is None else self.head
        return linear(self.gain * outputs, weights, self.bias)

    def logits(self, batch: Batch, vectors: Tensor | None = None) -> tuple[Tensor, Padded]:
        """Score each symbol to be written, knowing what was written before it, from the text's vector.

        Gives logits (real steps, symbols), row after row, and the symbols that are right (rows, steps): each row from
        its end to its start, then stop. ``vectors`` (texts, size) are those of the batch's texts if not given.
        """
        rows, counts = _padded(batch["rows"]), _counts(batch)
        encoded = self.encode_rows(rows)
        if vectors is None:
            vectors = self.model.encode(encoded, counts)
        turned = reverse(rows.values[..., None], rows.lengths)[..., 0]
        outputs = self.model.write(self.dropout(self.embedding(turned)), self.model.plan(vectors, encoded, counts))
        truth = Padded(nn.functional.pad(turned, (0, 1)), rows.lengths + 1)
        truth.values[torch.arange(len(turned)), rows.lengths] = self.stop_symbol
        return self.score(outputs[truth.mask]), truth

    def loss(self, batch: Batch) -> tuple[Tensor, int]:
        """Cross-entropy a symbol (stop included) in nats, and how many symbols there are."""
        logits, truth = self.logits(batch)
        right = truth.values[truth.mask]
        if not self.training:
            self._note(batch, logits.argmax(dim=1) == right, right, truth)
        return cross_entropy(logits, right), len(right)

    def _note(self, batch: Batch, equal: Tensor, right: Tensor, truth: Padded) -> None:
        """Note which texts are written just as they are: a greedy writer makes no mistake where none is made here."""
        texts = torch.repeat_interleave(torch.arange(len(_counts(batch))), _counts(batch))
        owners = texts[:, None].expand_as(truth.mask)[truth.mask]
        wrong = torch.zeros(len(_counts(batch)))
        wrong.index_add_(0, owners, (~equal | (right == self.symbols.index[UNKNOWN])).float())
        for text, mistakes in zip(cast(Any, batch["texts"]), wrong.tolist(), strict=True):
            if max(map(len, text)) <= self.settings.longest:
                self._right.append(mistakes == 0)

    def log_probabilities(self, batch: Batch, vectors: Tensor) -> Tensor:
        """Give the log-probability (texts,) in nats that each text of ``batch`` is written from its vector."""
        logits, truth = self.logits(batch, vectors)
        steps = logits.log_softmax(dim=1).gather(1, truth.values[truth.mask][:, None])[:, 0]
        texts = torch.repeat_interleave(torch.arange(len(vectors)), _counts(batch))
        owners = texts[:, None].expand_as(truth.mask)[truth.mask]
        return torch.zeros(len(vectors)).index_add_(0, owners, steps)

    # What stages/decoding/reconstruction.py asks.

    def tell(self, vectors: Tensor) -> list[dict[str, Any]]:
        """Give the "vector" of each text, its numbers with 4 digits behind the point."""
        return [{"vector": [round(value, 4) for value in row]} for row in vectors.tolist()]

    def prefer(self, batch: Batch, other: Batch, vectors: Tensor) -> list[dict[str, Any]]:
        """Say which text the decoder finds more probable: an "outcome" of 1 for ``batch``'s, 0 for ``other``'s."""
        pairs = zip(
            self.log_probabilities(batch, vectors).tolist(),
            self.log_probabilities(other, vectors).tolist(),
            strict=True,
        )
        return [{"outcome": compare(mine, its)} for mine, its in pairs]

    def write(self, vectors: Tensor, longest: int, sentences: int) -> list[list[list[str]]]:
        """Write each text from its vector, the most probable symbol at each step: the words of its sentences.

        A sentence has at most ``longest`` symbols, a document at most so many ``sentences``.
        """
        if not self.model.hierarchical:
            return [[self.join(symbols)] for symbols in self._write_rows(vectors, longest)]
        level = self.model.sentences
        texts: list[list[list[int]]] = [[] for _ in range(len(vectors))]
        going = [True] * len(vectors)
        state, inputs = level.start(vectors), level.first.expand(len(vectors), 1, -1)
        for _ in range(sentences):
            outputs, state = level.decode(inputs, state, vectors)
            rows = self._write_rows(outputs[:, 0], longest)
            for text, row in enumerate(rows):
                going[text] = going[text] and bool(row)
                if going[text]:
                    texts[text].insert(0, row)
            if not any(going):
                break
            inputs = self.encode_rows(pad_indices(rows))[:, None]
        return [[self.join(row) for row in rows] for rows in texts]

    def _write_rows(self, vectors: Tensor, longest: int) -> list[list[int]]:
        """Write each row's symbols from its vector, in the order of reading."""
        level = self.model.words
        written: list[list[int]] = [[] for _ in range(len(vectors))]
        going = torch.ones(len(vectors), dtype=torch.bool)
        state, inputs = level.start(vectors), level.first.expand(len(vectors), 1, -1)
        for _ in range(longest):
            outputs, state = level.decode(inputs, state, vectors)
            logits = self.score(outputs[:, 0])
            logits[:, self.never] = -torch.inf
            last = logits.argmax(dim=1)
            going = going & (last != self.stop_symbol)
            if not going.any():
                break
            for row in going.nonzero()[:, 0].tolist():
                written[row].insert(0, int(last[row]))
            inputs = self.embedding(last[:, None])
        return written


def _padded(part: Tensor | Padded) -> Padded:
    assert isinstance(part, Padded)
    return part


def _counts(batch: Batch) -> Tensor:
    counts = batch["counts"]
    assert isinstance(counts, Tensor)
    return counts


class PeerAutoEncoder(TextTask):
    """A peer that counts words, behind the same examples; a document's sentences are read as one text.

    A batch has "texts", the words of each sentence of each text.
    """

    def __init__(self, settings: Settings, vocabularies: dict[str, Vocabulary], model: Peer) -> None:
        super().__init__(settings, vocabularies)
        self.model = cast(Bags, model)

    def fit_peer(self, examples: list[Example]) -> None:
        """Fit the model to the words of the training texts."""
        texts = [list(chain.from_iterable(self.words(example))) for example in examples]
        self.model.fit(texts, texts)

    def collate(self, examples: list[Example]) -> Batch:
        """Make a batch of texts."""
        return self.collate_words([self.words(example) for example in examples])

    def collate_words(self, texts: list[list[list[str]]]) -> Batch:
        """Make a batch of texts, each the words of its sentences."""
        return cast(Batch, {"texts": texts})

    def loss(self, batch: Batch) -> tuple[Tensor, int]:
        """Cross-entropy a word (a text's end included) of the texts by bigrams, in nats, and how many words."""
        texts = _joined(batch)
        words = sum(len(text) + 1 for text in texts)
        return torch.tensor(-sum(map(self.model.log_probability, texts)) / words), words

    def validation_update(self, batch: Batch) -> None:
        """Note which texts are written just as they are."""
        texts = [text for text in _joined(batch) if len(text) <= self.settings.longest]
        self._right += [self.model.write(self.model.encode(text)) == text for text in texts]

    # What stages/decoding/reconstruction.py asks.

    def encode(self, batch: Batch) -> list[dict[str, int]]:
        """Count the words of each text of ``batch``."""
        return [self.model.encode(text) for text in _joined(batch)]

    def tell(self, vectors: list[dict[str, int]]) -> list[dict[str, Any]]:
        """Give the "bag" of each text."""
        return [{"bag": vector} for vector in vectors]

    def write(self, vectors: list[dict[str, int]], longest: int, sentences: int) -> list[list[list[str]]]:
        """Write each text from its vector; the limits have no part in it, as the vector says how many words."""
        return [[self.model.write(vector)] for vector in vectors]

    def prefer(self, batch: Batch, other: Batch, vectors: list[dict[str, int]]) -> list[dict[str, Any]]:
        """Say whose vector the given one is: an "outcome" of 1 for ``batch``'s, 0 for ``other``'s, 0.5 for both's.

        "without_vector" is what the usual order of words alone would answer, which is no merit of the vector.
        """
        found = []
        for vector, mine, its in zip(vectors, _joined(batch), _joined(other), strict=True):
            outcome = compare(self.model.encode(mine) == vector, self.model.encode(its) == vector)
            usual = compare(self.model.log_probability(mine), self.model.log_probability(its))
            found.append({"outcome": outcome, "without_vector": usual})
        return found


class Bags(Protocol):
    """What the task asks of a peer; see stages/models/bag_of_words.py."""

    def fit(self, inputs: list[list[str]], targets: list[list[str]]) -> None:
        """Learn from texts."""

    def encode(self, text: list[str]) -> dict[str, int]:
        """Give a text's vector."""

    def write(self, bag: dict[str, int]) -> list[str]:
        """Give the words of a vector in some order."""

    def log_probability(self, text: list[str]) -> float:
        """Say how usual an order of words is, in nats."""


def compare(first: float, second: float) -> float:
    """Give 1 where the ``first`` is more, 0 where the ``second`` is, 0.5 where they are the same but for rounding."""
    return 0.5 if abs(first - second) < ROUNDING else float(first > second)


def _joined(batch: Batch) -> list[list[str]]:
    return [list(chain.from_iterable(text)) for text in cast(dict[str, list[list[list[str]]]], batch)["texts"]]
