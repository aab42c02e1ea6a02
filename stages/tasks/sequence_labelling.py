"""Sequence labelling: one tag a token (N1, N22).

A token is seen as a word vector and, optionally, as the maximum over a convolution of its characters' vectors (Ma and
Hovy 2016). Digits count as 0 in words and characters; a word seen once in training is replaced by <unk> half of the
time there, so that <unk> has a vector that means something. The head is a softmax at each token, or a linear-chain
conditional random field (Lafferty et al. 2001) over the whole sequence. A peer reads the tokens themselves.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal, NamedTuple, TextIO

import pydantic
import torch
from torch import Tensor, nn

from stages.core.base.errors import InputError
from stages.core.base.params import settings
from stages.core.learning.batch import Padded, mask, pad_indices
from stages.core.learning.dataset import Example
from stages.core.learning.task import Batch, Peer, Task, build_network, build_peer, read_lines, trace_model
from stages.core.learning.vocabulary import UNKNOWN, Vocabulary


@settings
class Settings:
    """Sizes in units; ``character_filters`` 0: none.

    ``word_dropout``: the chance, in training, that a word seen once there becomes <unk>; ``frequent_dropout``: that
    another word does.

    ``head`` "crf" scores whole sequences of tags; it wants the decoder "viterbi". Without ``embedding``, the model is a
    peer, and the other settings have no part in it.
    """

    head: Literal["softmax", "crf"] = "softmax"
    embedding: int | None = pydantic.Field(default=None, gt=0)
    character_embedding: int = pydantic.Field(default=25, gt=0)
    character_filters: int = pydantic.Field(default=0, ge=0)
    character_width: int = pydantic.Field(default=3, gt=0)
    dropout: float = pydantic.Field(default=0.5, ge=0, lt=1)
    word_dropout: float = pydantic.Field(default=0.5, ge=0, le=1)
    frequent_dropout: float = pydantic.Field(default=0.0, ge=0, le=1)


def normalised(token: str) -> str:
    """Replace each digit of ``token`` by 0."""
    return re.sub(r"\d", "0", token)


def fit_vocabularies(examples: list[Example], settings: Settings) -> dict[str, Vocabulary]:
    """Collect tags and, for a network, words and characters; "frequent" holds the words seen more than once."""
    tags = Vocabulary.of((tag for example in examples for tag in example["tags"]), specials=())
    if settings.embedding is None:
        return {"tags": tags}
    words = Counter(normalised(token).lower() for example in examples for token in example["tokens"])
    characters = (character for example in examples for token in example["tokens"] for character in normalised(token))
    return {
        "words": Vocabulary.of(words.elements()),
        "frequent": Vocabulary.of(words.elements(), least=2),
        "characters": Vocabulary.of(characters),
        "tags": tags,
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


class ConditionalRandomField(nn.Module):
    """A linear-chain CRF over K tags: a path's score is the sum of its emissions and its transitions.

    ``tags`` are BIO: an I- tag may only follow the B- or I- tag of its kind. Axes: batch, time, K. Emissions (batch,
    time, K) are any real numbers, ``lengths`` (batch,) count real steps, and log-probabilities are in nats.
    """

    FORBIDDEN = -1e4  # a score that no sum of others makes up for, and that still has a gradient
    forbidden: Tensor
    forbidden_start: Tensor

    def __init__(self, tags: list[str]) -> None:
        super().__init__()
        self.start, self.end = nn.Parameter(torch.zeros(len(tags))), nn.Parameter(torch.zeros(len(tags)))
        self.transitions = nn.Parameter(torch.zeros(len(tags), len(tags)))  # from a row's tag to a column's
        follows = [[not tag.startswith("I-") or last[1:] == tag[1:] for tag in tags] for last in tags]
        begins = [not tag.startswith("I-") for tag in tags]
        self.register_buffer("forbidden", self.FORBIDDEN * (~torch.tensor(follows)).float(), persistent=False)
        self.register_buffer("forbidden_start", self.FORBIDDEN * (~torch.tensor(begins)).float(), persistent=False)

    def _moves(self) -> Tensor:
        return self.transitions + self.forbidden

    def _forward(self, emissions: Tensor, lengths: Tensor) -> list[Tensor]:
        """Give, a step, the log of the summed scores of all paths to each tag, (batch, K); it stays after the last."""
        sums = [self.start + self.forbidden_start + emissions[:, 0]]
        for t in range(1, emissions.shape[1]):
            reached = torch.logsumexp(sums[-1][:, :, None] + self._moves(), dim=1) + emissions[:, t]
            sums.append(torch.where((t < lengths)[:, None], reached, sums[-1]))
        return sums

    def log_partition(self, emissions: Tensor, lengths: Tensor) -> Tensor:
        """Give the log of the summed exponential scores of all paths, (batch,), by the forward algorithm."""
        return torch.logsumexp(self._forward(emissions, lengths)[-1] + self.end, dim=1)

    def score(self, emissions: Tensor, lengths: Tensor, tags: Tensor) -> Tensor:
        """Give the score of the path ``tags`` (batch, time), (batch,); tags at padding are any of the K."""
        real = mask(lengths, emissions.shape[1])
        emitted = emissions.gather(2, tags[..., None]).squeeze(2)
        moved = self._moves()[tags[:, :-1], tags[:, 1:]]
        last = tags.gather(1, lengths[:, None] - 1).squeeze(1)
        ends = (self.start + self.forbidden_start)[tags[:, 0]] + self.end[last]
        return (emitted * real).sum(1) + (moved * real[:, 1:]).sum(1) + ends

    def log_marginals(self, emissions: Tensor, lengths: Tensor) -> Tensor:
        """Give the log-probability of each tag at each step, (batch, time, K), by the forward-backward algorithm."""
        before = self._forward(emissions, lengths)
        after = [self.end.expand_as(before[0])]
        for t in range(emissions.shape[1] - 1, 0, -1):
            coming = torch.logsumexp(self._moves() + (emissions[:, t] + after[0])[:, None], dim=2)
            after.insert(0, torch.where((t < lengths)[:, None], coming, after[0]))
        joint = torch.stack(before, dim=1) + torch.stack(after, dim=1)
        return joint - torch.logsumexp(joint, dim=2, keepdim=True)

    def best_paths(self, emissions: Tensor, lengths: Tensor, n: int) -> list[list[tuple[float, list[int]]]]:
        """Give the ``n`` best paths of each sequence, best first, with their log-probabilities (Viterbi algorithm).

        At each step each tag keeps the ``n`` best paths to it; fewer come back where fewer are allowed.
        """
        batch, time, tags = emissions.shape
        scores = emissions.new_full((batch, tags, n), 10 * self.FORBIDDEN)
        scores[:, :, 0] = self.start + self.forbidden_start + emissions[:, 0]
        origins = []
        for t in range(1, time):
            extended = (scores[..., None] + self._moves()[:, None]).flatten(1, 2)  # (batch, K x n, K)
            kept, origin = extended.topk(n, dim=1)
            reached = kept.transpose(1, 2) + emissions[:, t, :, None]
            scores = torch.where((t < lengths)[:, None, None], reached, scores)
            origins.append(origin.transpose(1, 2).flatten(1).tolist())  # of tag x n + rank: the same, a step before
        totals, places = (scores + self.end[:, None]).flatten(1).topk(n)
        log_probabilities = (totals - self.log_partition(emissions, lengths)[:, None]).tolist()
        found: list[list[tuple[float, list[int]]]] = []
        for row, length in enumerate(lengths.tolist()):
            found.append([])
            for log_probability, place in zip(log_probabilities[row], places[row].tolist(), strict=True):
                path = [place]
                for t in range(length - 2, -1, -1):
                    path.insert(0, origins[t][row][path[0]])
                if log_probability > self.FORBIDDEN / 2:
                    found[-1].append((log_probability, [place // n for place in path]))
        return found


class Labelling(Task):
    """What networks and peers share: their examples, labels and score. Monitored by span F1."""

    monitor = "validation_span_f1"
    monitor_mode = "max"

    def __init__(self, vocabularies: dict[str, Vocabulary]) -> None:
        super().__init__(vocabularies)
        self.labels = vocabularies["tags"]
        self.seen: list[tuple[list[str], list[str]]] = []  # tags and guesses of a validation example

    def size(self, example: Example) -> int:
        """Give the number of tokens."""
        return len(example["tokens"])

    def validation_scores(self) -> dict[str, float]:
        """Span F1 in percent."""
        from seqeval.metrics import f1_score  # scikit-learn behind it takes a second, and only training needs it

        targets, guesses = map(list, zip(*self.seen, strict=True))
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


class PeerLabelling(Labelling):
    """A peer that is fitted to (tokens, tags), and gives ``best_paths`` of tokens; a batch is {"examples": them}."""

    decoder = {"name": "viterbi"}

    def __init__(self, vocabularies: dict[str, Vocabulary], model: Peer) -> None:
        super().__init__(vocabularies)
        self.model: Any = model

    def fit_peer(self, examples: list[Example]) -> None:
        """Fit to tokens and tags."""
        self.model.fit([example["tokens"] for example in examples], [example["tags"] for example in examples])

    def collate(self, examples: list[Example]) -> Any:
        """Take them as they are."""
        return {"examples": examples}

    def best_paths(self, batch: Any, n: int) -> list[list[tuple[float, list[int]]]]:
        """Give the most probable sequences of tags of each example, as (log-probability, tags)."""
        found = self.model.best_paths([example["tokens"] for example in batch["examples"]], n)
        return [[(share, self.labels.encode(tags)) for share, tags in paths] for paths in found]

    def loss(self, batch: Any) -> tuple[Tensor, int]:
        """Cross-entropy of whole sequences over their tokens; one with a tag unseen in training is left out."""
        known = [e for e in batch["examples"] if all(tag in self.labels.index for tag in e["tags"])]
        shares = self.model.log_probabilities([e["tokens"] for e in known], [e["tags"] for e in known])
        items = sum(len(e["tokens"]) for e in known)
        return torch.tensor(-sum(shares) / max(items, 1)), items

    def validation_update(self, batch: Any) -> None:
        """Note targets and most probable tags."""
        for example, paths in zip(batch["examples"], self.best_paths(batch, 1), strict=True):
            self.seen.append((example["tags"], self.labels.decode(paths[0][1])))


class ReadToken(NamedTuple):
    """A token's word and characters as indices, and its ``chance`` to become <unk> in training."""

    word: int
    characters: tuple[int, ...]
    chance: float


class SequenceLabelling(Labelling):
    """Word (and character) vectors, a model, a linear layer, and softmax or CRF."""

    def __init__(
        self, settings: Settings, vocabularies: dict[str, Vocabulary], build_model: Callable[[int], nn.Module]
    ) -> None:
        super().__init__(vocabularies)
        assert settings.embedding is not None
        self.settings = settings
        self._tokens: dict[str, ReadToken] = {}
        self.embedding = nn.Embedding(len(vocabularies["words"]), settings.embedding, padding_idx=0)
        size = settings.embedding + settings.character_filters
        self.characters = (
            CharacterCNN(settings, len(vocabularies["characters"])) if settings.character_filters else None
        )
        self.dropout = nn.Dropout(settings.dropout)
        self.model = build_network(build_model, size, "embedding")
        self.head = nn.Linear(int(self.model.output_size), len(self.labels))  # type: ignore[arg-type]
        self.field = ConditionalRandomField(self.labels.symbols) if settings.head == "crf" else None
        if self.field is not None:
            self.decoder = {"name": "viterbi"}
        if hasattr(self.model, "connect"):  # a model that feeds the output layer's distribution back (Jordan)
            self.model.connect(self.head)  # type: ignore[operator]

    def collate(self, examples: list[Example]) -> Batch:
        """Words (batch, time), and the tags where the examples have them.

        With character vectors also the spellings (spellings, characters) that occur, and which of them each real token
        has, "spelled" (tokens,).
        """
        texts = [[self._read(token) for token in example["tokens"]] for example in examples]
        batch: Batch = {"words": pad_indices(self._words(texts))}
        if self.characters is not None:
            spellings: dict[tuple[int, ...], int] = {}
            spelled = [spellings.setdefault(read.characters, len(spellings)) for text in texts for read in text]
            batch["spellings"], batch["spelled"] = pad_indices(list(spellings)).values, torch.tensor(spelled)
        if "tags" in examples[0]:
            index = self.labels.index
            batch["tags"] = pad_indices([[index.get(tag, -100) for tag in e["tags"]] for e in examples], -100).values
        return batch

    def _read(self, token: str) -> ReadToken:
        """Read a token; kept, since each is needed every epoch."""
        if token not in self._tokens:
            text = normalised(token)
            word, letters = text.lower(), tuple(self.vocabularies["characters"].encode(text))
            rare = word not in self.vocabularies["frequent"].index
            chance = self.settings.word_dropout if rare else self.settings.frequent_dropout
            self._tokens[token] = ReadToken(self.vocabularies["words"].encode([word])[0], letters, chance)
        return self._tokens[token]

    def _words(self, texts: list[list[ReadToken]]) -> list[list[int]]:
        """Give the words' indices; in training, words are dropped at random."""
        if not self.training:
            return [[read.word for read in text] for text in texts]
        unknown = self.vocabularies["words"].index[UNKNOWN]
        drawn = iter(torch.rand(sum(map(len, texts))).tolist())
        return [[unknown if next(drawn) < read.chance else read.word for read in text] for text in texts]

    def vectors(self, batch: Batch) -> Tensor:
        """Give what the model reads, (batch, time, feature)."""
        words = batch["words"]
        assert isinstance(words, Padded)
        vectors = self.embedding(words.values)
        if self.characters is not None:
            spelled = self.characters(batch["spellings"])[batch["spelled"]]  # (tokens, filters), real tokens only
            grid = vectors.new_zeros(*words.values.shape, spelled.shape[1])
            vectors = torch.cat([vectors, grid.masked_scatter(words.mask[..., None], spelled)], dim=-1)
        return vectors

    def logits(self, batch: Batch) -> Tensor:
        """(batch, time, tags)."""
        words = batch["words"]
        assert isinstance(words, Padded)
        outputs, _ = self.model(self.dropout(self.vectors(batch)), words.lengths)
        logits: Tensor = self.head(self.dropout(outputs))
        return logits

    def log_probabilities(self, batch: Batch) -> Tensor:
        """(batch, time, tags), in nats; those of a CRF are its marginals."""
        words = batch["words"]
        assert isinstance(words, Padded)
        if self.field is not None:
            return self.field.log_marginals(self.logits(batch), words.lengths)
        return self.logits(batch).log_softmax(dim=-1)

    def best_paths(self, batch: Batch, n: int) -> list[list[tuple[float, list[int]]]]:
        """Give the ``n`` most probable sequences of tags of each example, as (log-probability, tags)."""
        words = batch["words"]
        assert isinstance(words, Padded)
        if self.field is None:
            raise InputError("the decoder viterbi needs a model of whole sequences: set task.head to crf")
        return self.field.best_paths(self.logits(batch), words.lengths, n)

    def loss(self, batch: Batch) -> tuple[Tensor, int]:
        """Cross-entropy a token; with a CRF, that of the whole sequence over its tokens.

        Of a tag unseen in training, -100, a CRF knows nothing: such a sequence is left out.
        """
        tags, words = batch["tags"], batch["words"]
        assert isinstance(tags, Tensor) and isinstance(words, Padded)
        logits = self.logits(batch)
        if self.field is None:
            loss = nn.functional.cross_entropy(logits.flatten(0, 1), tags.flatten(), ignore_index=-100)
            return loss, int(words.lengths.sum())
        known = ((tags >= 0) | ~words.mask).all(dim=1)
        lengths, logits = words.lengths[known], logits[known]
        nats = self.field.log_partition(logits, lengths) - self.field.score(logits, lengths, tags[known].clamp(min=0))
        return nats.sum() / lengths.sum().clamp(min=1), int(lengths.sum())

    def validation_update(self, batch: Batch) -> None:
        """Note targets and most probable tags."""
        words, tags = batch["words"], batch["tags"]
        assert isinstance(words, Padded) and isinstance(tags, Tensor)
        if self.field is None:
            best = self.logits(batch).argmax(dim=-1).tolist()
        else:
            best = [paths[0][1] for paths in self.best_paths(batch, 1)]
        names = [*self.labels.symbols, "O"]  # index -1 and -100 (a tag unseen in training) can only be read as outside
        for target, guess, length in zip(tags.tolist(), best, words.lengths.tolist(), strict=True):
            rows = [[names[max(index, -1)] for index in row[:length]] for row in (target, guess)]
            self.seen.append((rows[0], rows[1]))

    def trace(self, example: Example) -> dict[str, Any] | None:
        """Give the gates of a recurrent network, by layer and direction."""
        return trace_model(self.model, self.vectors(self.collate([example])), example["tokens"])


def build(
    settings: Settings, vocabularies: dict[str, Vocabulary], build_model: Callable[[int], nn.Module]
) -> Labelling:
    """Build the untrained task."""
    if settings.embedding is None:
        return PeerLabelling(vocabularies, build_peer(build_model, "embedding"))
    return SequenceLabelling(settings, vocabularies, build_model)
