"""Sequence labelling: one tag a token (N1, N22).

A token is seen as a word vector and, optionally, as the maximum over a convolution of its characters' vectors (Ma and
Hovy 2016). Digits count as 0 in words and characters; a word seen once in training is replaced by <unk> half of the
time there, so that <unk> has a vector that means something.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any, TextIO

import pydantic
import torch
from seqeval.metrics import f1_score
from torch import Tensor, nn

from stages.core.batch import Padded, pad
from stages.core.dataset import Example
from stages.core.params import settings
from stages.core.task import Batch, Task, read_lines
from stages.core.vocabulary import UNKNOWN, Vocabulary


@settings
class Settings:
    """Sizes in units. ``word_dropout``: the chance that a singleton becomes <unk>; ``character_filters`` 0: none."""

    embedding: int = pydantic.Field(gt=0)
    character_embedding: int = pydantic.Field(default=25, gt=0)
    character_filters: int = pydantic.Field(default=0, ge=0)
    character_width: int = pydantic.Field(default=3, gt=0)
    dropout: float = pydantic.Field(default=0.5, ge=0, lt=1)
    word_dropout: float = pydantic.Field(default=0.5, ge=0, le=1)


def normalised(token: str) -> str:
    """Replace each digit of ``token`` by 0."""
    return re.sub(r"\d", "0", token)


def fit_vocabularies(examples: list[Example], settings: Settings) -> dict[str, Vocabulary]:
    """Collect words, characters and tags; "frequent" holds the words seen more than once."""
    words = Counter(normalised(token).lower() for example in examples for token in example["tokens"])
    characters = (character for example in examples for token in example["tokens"] for character in normalised(token))
    return {
        "words": Vocabulary.of(words.elements()),
        "frequent": Vocabulary.of(words.elements(), least=2),
        "characters": Vocabulary.of(characters),
        "tags": Vocabulary.of((tag for example in examples for tag in example["tags"]), specials=()),
    }


class CharacterCNN(nn.Module):
    """Maximum over time of a convolution of character vectors: tokens (n, characters) -> (n, filters)."""

    def __init__(self, settings: Settings, characters: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(characters, settings.character_embedding, padding_idx=0)
        width = settings.character_width
        self.convolution = nn.Conv1d(
            settings.character_embedding, settings.character_filters, width, padding=width // 2
        )

    def forward(self, characters: Tensor) -> Tensor:
        """``characters`` (n, characters) int64, 0 at padding."""
        filtered: Tensor = self.convolution(self.embedding(characters).transpose(1, 2))  # (n, filters, characters)
        padding = (characters == 0)[:, None, : filtered.shape[2]]
        return filtered.masked_fill(padding, -torch.inf).amax(dim=2)


class SequenceLabelling(Task):
    """Word (and character) vectors, a model, a linear layer and softmax at every token; monitored by span F1."""

    monitor = "validation_span_f1"
    monitor_mode = "max"
    decoder = {"name": "argmax"}

    def __init__(
        self, settings: Settings, vocabularies: dict[str, Vocabulary], build_model: Callable[[int], nn.Module]
    ) -> None:
        super().__init__(vocabularies)
        self.settings = settings
        self.labels = vocabularies["tags"]
        self.embedding = nn.Embedding(len(vocabularies["words"]), settings.embedding, padding_idx=0)
        size = settings.embedding + settings.character_filters
        self.characters = (
            CharacterCNN(settings, len(vocabularies["characters"])) if settings.character_filters else None
        )
        self.dropout = nn.Dropout(settings.dropout)
        self.model = build_model(size)
        self.head = nn.Linear(int(self.model.output_size), len(self.labels))  # type: ignore[arg-type]
        self.seen: list[tuple[list[list[str]], list[list[str]]]] = []

    def size(self, example: Example) -> int:
        """Give the number of tokens."""
        return len(example["tokens"])

    def collate(self, examples: list[Example]) -> Batch:
        """Words (batch, time), characters (batch x time, characters), and the tags where the examples have them."""
        texts = [[normalised(token) for token in example["tokens"]] for example in examples]
        words = pad([torch.tensor(self._words(text)) for text in texts])
        batch: Batch = {"words": words}
        if self.characters is not None:
            spelled = [self.vocabularies["characters"].encode(token) for text in texts for token in text]
            longest = max(map(len, spelled))
            padded = [[*letters, *[0] * (longest - len(letters))] for letters in spelled]
            batch["characters"] = torch.tensor(padded)  # (tokens, characters)
        if "tags" in examples[0]:
            index = self.labels.index
            batch["tags"] = pad([torch.tensor([index.get(t, -100) for t in e["tags"]]) for e in examples], -100).values
        return batch

    def _words(self, text: list[str]) -> list[int]:
        words = [token.lower() for token in text]
        if self.training and self.settings.word_dropout:
            frequent, drawn = self.vocabularies["frequent"].index, torch.rand(len(words)).tolist()
            chance = self.settings.word_dropout
            words = [UNKNOWN if w not in frequent and d < chance else w for w, d in zip(words, drawn, strict=True)]
        return self.vocabularies["words"].encode(words)

    def logits(self, batch: Batch) -> Tensor:
        """(batch, time, tags)."""
        words = batch["words"]
        assert isinstance(words, Padded)
        vectors = self.embedding(words.values)
        if self.characters is not None:
            spelled = self.characters(batch["characters"])  # (tokens, filters), real tokens only
            grid = vectors.new_zeros(*words.values.shape, spelled.shape[1])
            vectors = torch.cat([vectors, grid.masked_scatter(words.mask[..., None], spelled)], dim=-1)
        outputs, _ = self.model(self.dropout(vectors), words.lengths)
        logits: Tensor = self.head(self.dropout(outputs))
        return logits

    def log_probabilities(self, batch: Batch) -> Tensor:
        """(batch, time, tags), in nats."""
        return self.logits(batch).log_softmax(dim=-1)

    def loss(self, batch: Batch) -> tuple[Tensor, int]:
        """Cross-entropy a token."""
        tags, words = batch["tags"], batch["words"]
        assert isinstance(tags, Tensor) and isinstance(words, Padded)
        loss = nn.functional.cross_entropy(self.logits(batch).flatten(0, 1), tags.flatten(), ignore_index=-100)
        return loss, int(words.lengths.sum())

    def validation_update(self, batch: Batch) -> None:
        """Note targets and most probable tags."""
        words, tags = batch["words"], batch["tags"]
        assert isinstance(words, Padded) and isinstance(tags, Tensor)
        best = self.logits(batch).argmax(dim=-1)
        rows = zip(tags.tolist(), best.tolist(), words.lengths.tolist(), strict=True)
        pairs = [([*target[:n]], [*guess[:n]]) for target, guess, n in rows]
        names = [*self.labels.symbols, "O"]  # index -1 and -100 (a tag unseen in training) can only be read as outside
        decode = lambda row: [names[max(index, -1)] for index in row]
        self.seen.append(([decode(target) for target, _ in pairs], [decode(guess) for _, guess in pairs]))

    def validation_scores(self) -> dict[str, float]:
        """Span F1 in percent."""
        targets = [row for rows, _ in self.seen for row in rows]
        guesses = [row for _, rows in self.seen for row in rows]
        self.seen = []
        return {"validation_span_f1": 100 * float(f1_score(targets, guesses))}

    def read_input(self, source: Path | TextIO) -> list[Example]:
        """A sequence a line, tokens apart by white space."""
        lines = [line for line in read_lines(source) if line.strip()]
        return [{"id": f"line_{number}", "tokens": line.split()} for number, line in enumerate(lines, start=1)]

    def present(self, record: dict[str, Any]) -> str:
        """Show a token and its tag a line."""
        width = max(map(len, record["tokens"]))
        pairs = zip(record["tokens"], record["prediction"], strict=True)
        return "\n".join(f"{token:<{width}}  {tag}" for token, tag in pairs) + "\n"


def build(
    settings: Settings, vocabularies: dict[str, Vocabulary], build_model: Callable[[int], nn.Module]
) -> SequenceLabelling:
    """Build the untrained task."""
    return SequenceLabelling(settings, vocabularies, build_model)
