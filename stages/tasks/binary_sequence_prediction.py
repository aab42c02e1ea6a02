"""Predict a sequence of binary vectors after having seen another one (Graves et al. 2014, section 4).

After the last step of an example's input come as many blank steps as its target has vectors. The model's outputs in
these alone are scored: each bit is a Bernoulli variable, and all are independent given the input.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any, TextIO

import numpy as np
import pydantic
import torch
from torch import Tensor, nn
from torch.nn import functional

from stages.core.batch import Padded, pad
from stages.core.dataset import Example
from stages.core.errors import InputError
from stages.core.params import settings
from stages.core.task import Batch, Task, read_lines
from stages.core.vocabulary import Vocabulary

ROW = 12  # vectors that ``present`` shows in a row


@settings
class Settings:
    """``width``: bits in a target vector. ``channels``: further bits in an input vector, which mark start and end.

    ``epoch``: how many training sequences make an epoch, drawn anew from all of them; none for all.
    """

    width: int = pydantic.Field(default=8, gt=0)
    channels: int = pydantic.Field(default=2, ge=2)
    epoch: int | None = pydantic.Field(default=None, gt=0)


def fit_vocabularies(examples: list[Example], settings: Settings) -> dict[str, Vocabulary]:
    """Bits need no vocabulary."""
    return {}


def build(
    settings: Settings, vocabularies: dict[str, Vocabulary], build_model: Callable[[int], nn.Module]
) -> BinarySequencePrediction:
    """Make the task around the model that ``build_model`` makes for inputs of width + channels features."""
    return BinarySequencePrediction(settings, vocabularies, build_model)


class BinarySequencePrediction(Task):
    """A model of sequences with a linear layer to the logits of the bits.

    Validation is by ``validation_bits_per_sequence``: the negative log2 likelihood of a target, summed over its bits
    and steps, in the mean over the sequences.
    """

    monitor = "validation_bits_per_sequence"
    decoder = {"name": "threshold"}

    def __init__(
        self, settings: Settings, vocabularies: dict[str, Vocabulary], build_model: Callable[[int], nn.Module]
    ) -> None:
        super().__init__(vocabularies)
        self.settings = settings
        self.model = build_model(settings.width + settings.channels)
        self.head = nn.Linear(int(self.model.output_size), settings.width)  # type: ignore[arg-type]
        nn.init.xavier_uniform_(self.head.weight)
        nn.init.zeros_(self.head.bias)
        self.noted: list[float] = []

    def draw(self, examples: list[Example], generator: torch.Generator) -> list[Example]:
        """Take ``settings.epoch`` of the examples, each at most once."""
        if self.settings.epoch is None or self.settings.epoch >= len(examples):
            return examples
        return [examples[i] for i in torch.randperm(len(examples), generator=generator)[: self.settings.epoch].tolist()]

    def size(self, example: Example) -> int:
        """Give its steps: those of the input and of the target."""
        return len(example["input"]) + len(example["target"])

    def collate(self, examples: list[Example]) -> Batch:
        """Make "inputs" (batch, time, width + channels), its lengths those of the inputs without the blank steps that
        follow, and "targets" (batch, target time, width). Raises InputError where a vector has another width."""
        inputs = [_bits(example, "input", self.settings.width + self.settings.channels) for example in examples]
        targets = [_bits(example, "target", self.settings.width) for example in examples]
        blank = [torch.zeros(len(target), len(bits[0])) for bits, target in zip(inputs, targets, strict=True)]
        whole = pad([torch.cat(parts) for parts in zip(inputs, blank, strict=True)])
        lengths = torch.tensor([len(bits) for bits in inputs])
        return {"inputs": Padded(whole.values, lengths), "targets": pad(targets)}

    def logits(self, batch: Batch) -> Tensor:
        """Give the logits of the target's bits, (batch, target time, width); arbitrary where the target is padding."""
        inputs, targets = _padded(batch, "inputs"), _padded(batch, "targets")
        outputs, _ = self.model(inputs.values, inputs.lengths + targets.lengths)
        steps = inputs.lengths[:, None] + torch.arange(targets.values.shape[1], device=outputs.device)
        steps = steps.clamp(max=outputs.shape[1] - 1)
        answers = outputs.gather(1, steps[..., None].expand(-1, -1, outputs.shape[2]))
        logits: Tensor = self.head(answers)
        return logits

    def log_probabilities(self, batch: Batch) -> Tensor:
        """Give the natural logarithms of the chances of 0 and of 1, (batch, target time, width, 2)."""
        logits = self.logits(batch)
        return torch.stack([functional.logsigmoid(-logits), functional.logsigmoid(logits)], -1)

    def loss(self, batch: Batch) -> tuple[Tensor, int]:
        """Give the negative log likelihood of a sequence in nats, in the mean over the batch's sequences."""
        loss = self._nats(batch).mean()
        return loss, len(_padded(batch, "targets").lengths)

    def _nats(self, batch: Batch) -> Tensor:
        targets = _padded(batch, "targets")
        nats = functional.binary_cross_entropy_with_logits(self.logits(batch), targets.values, reduction="none")
        return (nats.sum(-1) * targets.mask).sum(-1)

    def validation_update(self, batch: Batch) -> None:
        """Note the bits of each sequence."""
        self.noted += (self._nats(batch) / math.log(2)).tolist()

    def validation_scores(self) -> dict[str, float]:
        """Give the mean of the bits noted."""
        bits, self.noted = self.noted, []
        return {"validation_bits_per_sequence": sum(bits) / len(bits)} if bits else {}

    def read_input(self, source: Path | TextIO) -> list[Example]:
        """Read sequences to copy, one a line, such as ``10110010 01010101``; the target is the sequence itself.

        Raises InputError where there is none, or where a vector is not ``settings.width`` digits 0 and 1.
        """
        width, channels = self.settings.width, self.settings.channels
        examples = []
        for number, line in enumerate(read_lines(source), start=1):
            vectors = line.split()
            for vector in vectors:
                if len(vector) != width or set(vector) - {"0", "1"}:
                    raise InputError(
                        f"line {number} has {vector!r}; a vector should be {width} digits 0 and 1, "
                        f"with a space between vectors, such as {'10110010' if width == 8 else '01' * width:.{width}}"
                    )
            if vectors:
                examples.append(_copy(f"line_{number}", vectors, channels))
        return examples

    def present(self, record: dict[str, Any]) -> str:
        """Show input and output below each other, with a ^ below each wrong bit, and how many there are."""
        pairs = list(zip(record["target"], record["prediction"], strict=True))
        lines = []
        for start in range(0, len(pairs), ROW):
            row = pairs[start : start + ROW]
            marks = " ".join("".join(" ^"[a != b] for a, b in zip(*pair, strict=True)) for pair in row).rstrip()
            lines.append("wanted  " + " ".join(target for target, _ in row))
            lines.append("output  " + " ".join(bits for _, bits in row))
            lines += ["        " + marks] if marks else []
        wrong, every = record["wrong_bits"], sum(len(target) for target, _ in pairs)
        return "\n".join([*lines, f"{wrong} of {every} bits wrong"])


def _copy(name: str, vectors: list[str], channels: int) -> Example:
    """Make an example as stages/datasets/copy.py does: the first channel marks the start, the last one the end."""
    blank, rest = "0" * len(vectors[0]), "0" * channels
    marked = [f"{blank}1{rest[1:]}", *(vector + rest for vector in vectors), f"{blank}{rest[1:]}1"]
    return {"id": name, "key": name, "length": len(vectors), "input": marked, "target": vectors}


def _bits(example: Example, field: str, width: int) -> Tensor:
    """Turn strings of bits into a tensor (time, width) of 0 and 1."""
    vectors = example[field]
    if not vectors or any(len(vector) != width for vector in vectors):
        widths = sorted({len(vector) for vector in vectors})
        raise InputError(f"example {example['id']}: {field} has vectors of {widths} bits; all should be of {width}")
    digits = np.frombuffer("".join(vectors).encode(), dtype=np.uint8) - ord("0")
    return torch.from_numpy(digits.astype(np.float32)).view(len(vectors), width)


def _padded(batch: Batch, name: str) -> Padded:
    value = batch[name]
    assert isinstance(value, Padded)
    return value
