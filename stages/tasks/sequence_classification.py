"""Sequence classification: a text in, one class out (many to one)."""

from __future__ import annotations

from collections.abc import Callable
from itertools import groupby
from pathlib import Path
from typing import Any, Literal, TextIO

import pydantic
import torch
from torch import Tensor, nn

from stages.core.batch import Padded, pad
from stages.core.dataset import Example
from stages.core.errors import InputError
from stages.core.params import settings
from stages.core.task import Batch, Task, read_lines
from stages.core.vocabulary import PADDING, UNKNOWN, Unit, Vocabulary, tokens

UNSEEN = -100  # the class's index where it is unknown; such an example has no part in the loss
Pooling = Literal["last", "mean", "max"]


@settings
class Settings:
    """``inputs``: the example's fields that are read one after the other, each a text or a list of texts. ``target``:
    the field with the class. ``unit``: what a step is. ``embedding_size``: dimensions of a step's vector. ``dropout``:
    the share of dimensions set to 0, of the embedding and of the pooled output; ``word_dropout``: of steps that become
    <unk>; both in training only. ``pooling``: how the outputs of all steps become one vector, ``last`` being the
    output at the last step.
    """

    inputs: list[str] = pydantic.Field(min_length=1)
    target: str
    unit: Unit
    embedding_size: int = pydantic.Field(gt=0)
    dropout: float = pydantic.Field(default=0.0, ge=0, lt=1)
    word_dropout: float = pydantic.Field(default=0.0, ge=0, lt=1)
    pooling: Pooling


def fit_vocabularies(examples: list[Example], settings: Settings) -> dict[str, Vocabulary]:
    """Collect "steps", the words or characters of the inputs, and "labels", the classes."""
    steps = (step for example in examples for text in _texts(example, settings) for step in tokens(text, settings.unit))
    labels = (example[settings.target] for example in examples)
    return {"steps": Vocabulary.of(steps), "labels": Vocabulary.of(labels, specials=())}


def build(
    settings: Settings, vocabularies: dict[str, Vocabulary], build_model: Callable[[int], nn.Module]
) -> SequenceClassification:
    """Build the task; ``build_model`` is given the embedding's size."""
    return SequenceClassification(settings, vocabularies, build_model(settings.embedding_size))


class SequenceClassification(Task):
    """Cross-entropy of the class. A batch holds "inputs" (batch, time), indices of steps, and "target" (batch,)."""

    decoder = {"name": "argmax"}

    def __init__(self, settings: Settings, vocabularies: dict[str, Vocabulary], model: nn.Module) -> None:
        super().__init__(vocabularies)
        self.settings = settings
        self.steps, self.labels = vocabularies["steps"], vocabularies["labels"]
        self.embedding = nn.Embedding(len(self.steps), settings.embedding_size, self.steps.index[PADDING])
        self.dropout = nn.Dropout(settings.dropout)
        self.model = model
        self.head = nn.Linear(int(model.output_size), len(self.labels))  # type: ignore[arg-type]
        self._encoded: dict[str, Tensor] = {}
        self._right = self._asked = 0

    def size(self, example: Example) -> int:
        """Give the number of words or characters."""
        return sum(len(self._encode(text)) for text in _texts(example, self.settings))

    def collate(self, examples: list[Example]) -> Batch:
        """Make a batch; in training, words are dropped at random."""
        inputs = pad([torch.cat([self._encode(text) for text in _texts(ex, self.settings)]) for ex in examples])
        if self.training and self.settings.word_dropout:
            dropped = (torch.rand(inputs.values.shape) < self.settings.word_dropout) & inputs.mask
            inputs = Padded(inputs.values.masked_fill(dropped, self.steps.index[UNKNOWN]), inputs.lengths)
        target = [self.labels.index.get(example.get(self.settings.target, ""), UNSEEN) for example in examples]
        return {"inputs": inputs, "target": torch.tensor(target)}

    def log_probabilities(self, batch: Batch) -> Tensor:
        """Give the log probability of each class (batch, label)."""
        inputs = batch["inputs"]
        assert isinstance(inputs, Padded)
        outputs, _ = self.model(self.dropout(self.embedding(inputs.values)), inputs.lengths)
        pooled = pool(Padded(outputs, inputs.lengths), self.settings.pooling)
        scores: Tensor = self.head(self.dropout(pooled))
        return scores.log_softmax(dim=1)

    def loss(self, batch: Batch) -> tuple[Tensor, int]:
        """Give the mean cross-entropy of the classes, in nats, and their number."""
        target = _tensor(batch, "target")
        items = int(target.ne(UNSEEN).sum())
        total = nn.functional.nll_loss(self.log_probabilities(batch), target, ignore_index=UNSEEN, reduction="sum")
        return total / max(items, 1), items

    def validation_update(self, batch: Batch) -> None:
        """Count the right classes."""
        target = _tensor(batch, "target")
        self._right += int(self.log_probabilities(batch).argmax(dim=1).eq(target).sum())
        self._asked += len(target)

    def validation_scores(self) -> dict[str, float]:
        """Give the accuracy in percent."""
        right, asked = self._right, self._asked
        self._right = self._asked = 0
        return {"validation_accuracy": 100 * right / max(asked, 1)}

    def read_input(self, source: Path | TextIO) -> list[Example]:
        """Read texts: one a line where there is one input field.

        Where there are more, an example is a paragraph, an empty line ends it, and its last lines are the fields in
        their order; whatever lines are left over go to the first field. Raises InputError where a paragraph is too
        short or there is nothing to read.
        """
        lines = [(number, line.strip()) for number, line in enumerate(read_lines(source), start=1)]
        if len(self.settings.inputs) == 1:
            return [{self.settings.inputs[0]: line} for _, line in lines if line]
        paragraphs = [list(group) for filled, group in groupby(lines, key=lambda line: bool(line[1])) if filled]
        return [self._parse(paragraph) for paragraph in paragraphs]

    def present(self, record: dict[str, Any]) -> str:
        """Show the text, its class and the probability of that class."""
        texts = _texts(record, self.settings)
        lines = [*texts, f"  => {record['prediction']} ({100 * record['confidence']:.1f} %)"]
        found = dict.fromkeys(step for text in texts for step in tokens(text, self.settings.unit))
        unknown = [step for step in found if step not in self.steps.index]
        if unknown:
            lines.append(f"     never seen in training, taken as unknown: {', '.join(unknown)}")
        return "\n".join(lines)

    def _parse(self, paragraph: list[tuple[int, str]]) -> Example:
        """Make an example of the numbered lines of one paragraph."""
        first, *others = self.settings.inputs
        if len(paragraph) < 1 + len(others):
            raise InputError(
                f"line {paragraph[0][0]} of the input starts an example of {len(paragraph)} lines, but it needs one "
                f"for each of: {', '.join(self.settings.inputs)}"
            )
        texts = [text for _, text in paragraph]
        start = len(texts) - len(others)
        return {first: texts[:start], **dict(zip(others, texts[start:], strict=True))}

    def _encode(self, text: str) -> Tensor:
        """Words or characters of a text as indices (time,); kept, since each is needed every epoch."""
        if text not in self._encoded:
            steps = self.steps.encode(tokens(text, self.settings.unit))
            self._encoded[text] = torch.tensor(steps, dtype=torch.int64)
        return self._encoded[text]


def pool(outputs: Padded, pooling: Pooling) -> Tensor:
    """Make one vector (batch, feature) of the outputs (batch, time, feature) at real steps."""
    values, mask = outputs.values, outputs.mask[:, :, None]
    if pooling == "last":
        return values[torch.arange(len(values), device=values.device), outputs.lengths - 1]
    if pooling == "mean":
        return values.masked_fill(~mask, 0).sum(dim=1) / outputs.lengths[:, None]
    return values.masked_fill(~mask, -torch.inf).amax(dim=1)


def _texts(example: Example, settings: Settings) -> list[str]:
    """Texts of the input fields, in order."""
    texts: list[str] = []
    for name in settings.inputs:
        texts.extend([example[name]] if isinstance(example[name], str) else example[name])
    return texts


def _tensor(batch: Batch, name: str) -> Tensor:
    value = batch[name]
    assert not isinstance(value, Padded)
    return value
