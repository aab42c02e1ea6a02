"""Reading comprehension: a story and a question about it in, one answer out (Weston et al. 2015).

The model holds the story as a memory of sentences and is called as ``model(sentences, story, question, linear)``, as
stages/models/memory_network.py says; its scores over all words are restricted to the answers seen in training. What
its attention is that of ("hop") is its attribute ``look``.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import groupby
from pathlib import Path
from typing import Any, Literal, TextIO

import pydantic
import torch
from torch import Tensor, nn

from stages.core.base.errors import InputError
from stages.core.base.params import meant, settings
from stages.core.learning.batch import Padded, mask
from stages.core.learning.dataset import Example
from stages.core.learning.task import Batch, Task, read_lines
from stages.core.learning.vocabulary import Vocabulary, tokens

UNSEEN = -100  # the answer's index where it is unknown; such an example has no part in the loss
OTHER_KIND = -101  # where the question is of a kind that is not asked: it has no part in validation scores either


@settings
class Settings:
    """``linear_start``: epochs at the start of training in which the attention has no softmax.

    ``kinds``: the kinds of question that it is trained on and validated with (none: all that the data have, jointly).
    ``best``: the validation score that decides which epoch is the best; as the network grows too sure of answers that
    it cannot know, the loss may rise where the accuracy does too.
    """

    linear_start: int = pydantic.Field(ge=0)
    kinds: list[str] | None = pydantic.Field(default=None, min_length=1)
    best: Literal["loss", "accuracy"] = "loss"


def fit_vocabularies(examples: list[Example], settings: Settings) -> dict[str, Vocabulary]:
    """Collect "words", of stories, questions and answers (each answer one symbol), and "labels", the answers.

    Raises InputError where no example is of a kind that ``settings.kinds`` names.
    """
    if settings.kinds:
        known = {str(example.get("kind")) for example in examples}
        for kind in settings.kinds:
            if kind not in known:
                raise InputError(f"task.kinds: {kind} is no kind of question in the data{meant(kind, sorted(known))}")
    words: list[str] = []
    asked = [example for example in examples if _is_asked(example, settings.kinds)]
    for example in asked:
        for sentence in (*example["story"], example["question"]):
            words.extend(tokens(sentence, "word"))
        words.append(example["answer"].lower())
    labels = Vocabulary.of((example["answer"] for example in asked), specials=())
    return {"words": Vocabulary.of(words), "labels": labels}


def build(
    settings: Settings, vocabularies: dict[str, Vocabulary], build_model: Callable[[int], nn.Module]
) -> ReadingComprehension:
    """Build the task; ``build_model`` is given the number of words."""
    return ReadingComprehension(settings, vocabularies, build_model(len(vocabularies["words"])))


class ReadingComprehension(Task):
    """Cross-entropy of the answer. A batch holds "sentences" (unique, word), "story" (batch, sentence) as indices into
    them, "question" (batch, word), and "answer" (batch,), an index into ``labels`` (or UNSEEN, OTHER_KIND).
    """

    answer_words: Tensor

    decoder = {"name": "argmax"}

    def __init__(self, settings: Settings, vocabularies: dict[str, Vocabulary], model: nn.Module) -> None:
        super().__init__(vocabularies)
        self.words, self.labels = vocabularies["words"], vocabularies["labels"]
        self.linear_start = settings.linear_start
        self.kinds = settings.kinds
        if settings.best == "accuracy":
            self.monitor, self.monitor_mode = "validation_accuracy", "max"
        self.model = model
        answer_words = torch.tensor(self.words.encode(label.lower() for label in self.labels.symbols))
        self.register_buffer("answer_words", answer_words, persistent=False)
        self._encoded: dict[str, list[int]] = {}
        self._right = self._asked = 0

    def draw(self, examples: list[Example], generator: torch.Generator) -> list[Example]:
        """Give the examples of the kinds that are asked."""
        return [example for example in examples if _is_asked(example, self.kinds)]

    def size(self, example: Example) -> int:
        """Give the number of sentences of the story."""
        return len(example["story"])

    def collate(self, examples: list[Example]) -> Batch:
        """Make a batch, in which each sentence stands once however many stories have it."""
        place: dict[str, int] = {}
        story = [[place.setdefault(sentence, len(place)) for sentence in example["story"]] for example in examples]
        answers = [
            self.labels.index.get(example.get("answer", ""), UNSEEN) if _is_asked(example, self.kinds) else OTHER_KIND
            for example in examples
        ]
        return {
            "sentences": _pad([self._encode(sentence) for sentence in place]),
            "story": _pad(story),
            "question": _pad([self._encode(example["question"]) for example in examples]),
            "answer": torch.tensor(answers),
        }

    def log_probabilities(self, batch: Batch) -> Tensor:
        """Give the log probability of each answer (batch, label)."""
        return self._read(batch)[0]

    def attention(self, batch: Batch) -> Tensor:
        """Give the weight that each hop (of other models, look) gives to each sentence (batch, hop, sentence), 0 at
        padding.
        """
        return self._read(batch)[1]

    def explain(self, batch: Batch) -> list[dict[str, Any]]:
        """Give the "attention" of each example, (hop, sentence) as nested lists, to two decimals."""
        lengths = _padded(batch, "story").lengths.tolist()
        return [
            {"attention": [[round(weight, 2) for weight in hop[:length]] for hop in hops]}
            for hops, length in zip(self.attention(batch).tolist(), lengths, strict=True)
        ]

    def loss(self, batch: Batch) -> tuple[Tensor, int]:
        """Give the mean cross-entropy of the answers, in nats, and their number."""
        answer = _tensor(batch, "answer")
        items = int(answer.ge(0).sum())
        known = answer.clamp(min=UNSEEN)
        total = nn.functional.nll_loss(self.log_probabilities(batch), known, ignore_index=UNSEEN, reduction="sum")
        return total / max(items, 1), items

    def validation_update(self, batch: Batch) -> None:
        """Count the right answers."""
        answer = _tensor(batch, "answer")
        self._right += int(self.log_probabilities(batch).argmax(dim=1).eq(answer).sum())
        self._asked += int(answer.ne(OTHER_KIND).sum())

    def validation_scores(self) -> dict[str, float]:
        """Give the accuracy in percent."""
        right, asked = self._right, self._asked
        self._right = self._asked = 0
        return {"validation_accuracy": 100 * right / max(asked, 1)}

    def read_input(self, source: Path | TextIO) -> list[Example]:
        """Read stories: a sentence a line, the question, ending in "?", last; an empty line between two stories.

        Raises InputError where a story has no sentence, or its last line is no question.
        """
        lines = [(number, line.strip()) for number, line in enumerate(read_lines(source), start=1)]
        paragraphs = [list(group) for filled, group in groupby(lines, key=lambda line: bool(line[1])) if filled]
        return [_parse(paragraph) for paragraph in paragraphs]

    def present(self, record: dict[str, Any]) -> str:
        """Show the story, the question, the answer, and the sentence that each look at the story weighed most."""
        lines = [f"{number:3d}  {sentence}" for number, sentence in enumerate(record["story"], start=1)]
        lines += [f"     {record['question']}", f"  => {record['prediction']} ({100 * record['confidence']:.1f} %)"]
        was_training = self.training
        self.eval()
        with torch.no_grad():
            attention = self.attention(self.collate([record]))[0]
        self.train(was_training)
        for hop, weights in enumerate(attention, start=1):
            weight, sentence = weights.max(dim=0)
            lines.append(
                f"     {self.model.look} {hop}: {record['story'][int(sentence)]} ({100 * float(weight):.1f} %)"
            )
        unknown = self._unknown([*record["story"], record["question"]])
        if unknown:
            lines.append(f"     words never seen in training, taken as unknown: {', '.join(unknown)}")
        return "\n".join(lines)

    def _read(self, batch: Batch) -> tuple[Tensor, Tensor]:
        linear = self.training and self.current_epoch < self.linear_start
        scores, attention = self.model(batch["sentences"], batch["story"], batch["question"], linear=linear)
        return scores[:, self.answer_words].log_softmax(dim=1), attention

    def _encode(self, sentence: str) -> list[int]:
        """Words of a sentence as indices; kept, since stories share most of their sentences."""
        if sentence not in self._encoded:
            self._encoded[sentence] = self.words.encode(tokens(sentence, "word"))
        return self._encoded[sentence]

    def _unknown(self, sentences: list[str]) -> list[str]:
        words = dict.fromkeys(word for sentence in sentences for word in tokens(sentence, "word"))
        return [word for word in words if word not in self.words.index]


def _is_asked(example: Example, kinds: list[str] | None) -> bool:
    """Say whether ``example`` is of one of ``kinds``; a person's question, which has none, always is."""
    return kinds is None or example.get("kind", kinds[0]) in kinds


def _pad(rows: list[list[int]]) -> Padded:
    """Pad rows of indices; one tensor is made of all and spread out, which is faster than a tensor a row."""
    lengths = torch.tensor([len(row) for row in rows])
    flat = torch.tensor([index for row in rows for index in row])
    values = torch.zeros(len(rows), int(lengths.max()), dtype=torch.int64)
    return Padded(values.masked_scatter_(mask(lengths, values.shape[1]), flat), lengths)


def _tensor(batch: Batch, name: str) -> Tensor:
    value = batch[name]
    assert not isinstance(value, Padded)
    return value


def _padded(batch: Batch, name: str) -> Padded:
    value = batch[name]
    assert isinstance(value, Padded)
    return value


def _parse(paragraph: list[tuple[int, str]]) -> Example:
    """Make an example of the numbered lines of one story."""
    *story, (number, question) = paragraph
    if not question.endswith("?"):
        raise InputError(f"line {number} of the input is {question!r}, but a story ends with its question and a '?'")
    if not story:
        raise InputError(f"line {number} of the input is a question without a story; its sentences should stand above")
    early = [number for number, sentence in story if sentence.endswith("?")]
    if early:
        raise InputError(f"line {early[0]} of the input is a question inside a story; an empty line should follow it")
    return {"story": [sentence for _, sentence in story], "question": question}
