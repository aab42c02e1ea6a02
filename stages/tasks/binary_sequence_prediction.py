"""Predict a sequence of binary vectors from another one (Graves et al. 2014, section 4).

Either the answer follows the question: after the last step of an example's input come as many blank steps as its target
has vectors; or it is given ``during`` the input, in its last steps. The model's outputs in the steps of the answer
alone are scored: each bit is a Bernoulli variable, and all are independent given what was read.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal, Protocol, TextIO, runtime_checkable

import numpy as np
import pydantic
import torch
from torch import Tensor, nn
from torch.nn import functional

from stages.core.base.errors import InputError
from stages.core.base.params import settings
from stages.core.learning.batch import Padded, pad
from stages.core.learning.dataset import Example
from stages.core.learning.task import Batch, Task, Training, read_lines
from stages.core.learning.vocabulary import Vocabulary

ROW = 12  # vectors that ``present`` shows in a row
WIDE = 72  # digits at most in such a row, where vectors have one bit
HIGHEST = 16  # vectors that are wanted of those to be sorted
CONTEXT = 5  # bits before the first that can be predicted, of those a person types
LEVELS = 35  # of a weight in a trace: 0 to 1 as one digit in base 36


@settings
class Settings:
    """``width``: bits in a target vector. ``input_width``: those in an input vector; with ``scalar`` a number beside.

    ``during``: the answer is given in the last steps of the input, not after it. ``epoch``: how many training sequences
    make an epoch, drawn anew from all of them; none for all. ``growth``: training begins with short sequences, of which
    there may be ever longer ones over so many epochs; 0 for all at once. ``typed``: what of the paper a person types.

    ``restarts``: how often training starts anew, each time from other weights, with an equal share of the epochs and
    with its own fall of the learning rate; the best epoch of all is kept. ``selection``: the lengths of the validation
    sequences by which it is chosen; none for all.
    """

    width: int = pydantic.Field(default=8, gt=0)
    input_width: int = pydantic.Field(default=10, gt=0)
    scalar: bool = False
    during: bool = False
    epoch: int | None = pydantic.Field(default=None, gt=0)
    growth: int = pydantic.Field(default=0, ge=0)
    typed: Literal["copy", "repeat_copy", "recall", "ngrams", "sort"] = "copy"
    restarts: int = pydantic.Field(default=1, gt=0)
    selection: list[pydantic.PositiveInt] | None = pydantic.Field(default=None, min_length=1)


@runtime_checkable
class Memory(Protocol):
    """A model with heads on a memory, as far as ``BinarySequencePrediction.trace`` looks at it."""

    heads: int
    settings: Any

    def trace(self, inputs: Tensor, lengths: Tensor) -> Tensor:
        """Give the heads' weights in each step, (batch, time, heads, locations), read heads first."""


def fit_vocabularies(examples: list[Example], settings: Settings) -> dict[str, Vocabulary]:
    """Bits need no vocabulary."""
    return {}


def build(
    settings: Settings, vocabularies: dict[str, Vocabulary], build_model: Callable[[int], nn.Module]
) -> BinarySequencePrediction:
    """Make the task around the model that ``build_model`` makes for inputs of so many features."""
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
        self.build_model = build_model
        self.model = build_model(settings.input_width + settings.scalar)
        self.head = nn.Linear(int(self.model.output_size), settings.width)  # type: ignore[arg-type]
        nn.init.xavier_uniform_(self.head.weight)
        nn.init.zeros_(self.head.bias)
        self.noted: list[float] = []
        if settings.scalar:
            self.register_buffer("scalar_mean", torch.zeros(()))
            self.register_buffer("scalar_deviation", torch.ones(()))

    def observe(self, examples: list[Example], arrays: dict[str, np.ndarray]) -> None:
        """Fix mean and standard deviation of the numbers in the inputs, which are scaled to mean 0 and variance 1."""
        if self.settings.scalar:
            numbers = torch.tensor(
                [number for example in examples for number in example["scalars"] if number is not None]
            )
            self.scalar_mean = numbers.double().mean().float()
            self.scalar_deviation = numbers.double().std(correction=0).float()

    def draw(self, examples: list[Example], generator: torch.Generator) -> list[Example]:
        """Take ``settings.epoch`` of the examples that are not too long yet, each at most once."""
        if self.current_epoch + 1 < self.settings.growth:
            sizes = [self.size(example) for example in examples]
            longest = min(sizes) + (max(sizes) - min(sizes)) * (self.current_epoch + 1) / self.settings.growth
            examples = [example for example, size in zip(examples, sizes, strict=True) if size <= longest]
        if self.settings.epoch is None or self.settings.epoch >= len(examples):
            return examples
        return [examples[i] for i in torch.randperm(len(examples), generator=generator)[: self.settings.epoch].tolist()]

    def size(self, example: Example) -> int:
        """Give its steps: those of the input, and of the target where that follows."""
        return len(example["input"]) + (0 if self.settings.during else len(example["target"]))

    def collate(self, examples: list[Example]) -> Batch:
        """Make "inputs" (batch, time, features), its lengths those of the inputs without blank steps that follow,
        "targets" (batch, target time, width), and "selected" (batch,), whether the example's length is one of
        ``settings.selection``. Raises InputError where a vector has another width."""
        targets = [_bits(example, "target", self.settings.width) for example in examples]
        inputs = [self._inputs(example) for example in examples]
        whole = pad(
            [functional.pad(x, (0, 0, 0, self.size(e) - len(x))) for x, e in zip(inputs, examples, strict=True)]
        )
        lengths = torch.tensor([len(x) for x in inputs])
        chosen = self.settings.selection
        selected = torch.tensor([chosen is None or example["length"] in chosen for example in examples])
        return {"inputs": Padded(whole.values, lengths), "targets": pad(targets), "selected": selected}

    def _inputs(self, example: Example) -> Tensor:
        bits = _bits(example, "input", self.settings.input_width)
        if not self.settings.scalar:
            return bits
        numbers = example["scalars"]
        scaled = torch.tensor([0.0 if number is None else number for number in numbers])
        scaled = (scaled - self.scalar_mean.cpu()) / self.scalar_deviation.cpu()
        absent = torch.tensor([number is None for number in numbers])
        return torch.cat([bits, scaled.masked_fill(absent, 0)[:, None]], 1)

    def logits(self, batch: Batch) -> Tensor:
        """Give the logits of the target's bits, (batch, target time, width); arbitrary where the target is padding."""
        inputs, targets = _padded(batch, "inputs"), _padded(batch, "targets")
        ends = inputs.lengths if self.settings.during else inputs.lengths + targets.lengths
        outputs, _ = self.model(inputs.values, ends)
        steps = (ends - targets.lengths)[:, None] + torch.arange(targets.values.shape[1], device=outputs.device)
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
        """Note the bits of each sequence by which the best epoch is chosen."""
        selected = batch["selected"]
        assert isinstance(selected, Tensor)
        if selected.any():
            self.noted += (self._nats(batch) / math.log(2))[selected].tolist()

    def validation_scores(self) -> dict[str, float]:
        """Give the mean of the bits noted."""
        bits, self.noted = self.noted, []
        return {"validation_bits_per_sequence": sum(bits) / len(bits)} if bits else {}

    def prepare_training(self, plan: Training, train: list[Example], validation: list[Example]) -> None:
        """Take how it is trained.

        Raises InputError where the epochs cannot be shared by the restarts, or no validation sequence has a length of
        ``settings.selection``.
        """
        restarts, chosen = self.settings.restarts, self.settings.selection
        if plan.epochs % restarts or (restarts > 1 and (plan.average > 1 or plan.patience or self.settings.growth)):
            raise InputError(
                f"task.restarts is {restarts}, so training.epochs, {plan.epochs}, should be a multiple of it, "
                "without training.average, training.patience and task.growth"
            )
        if chosen is not None and not any(example["length"] in chosen for example in validation):
            raise InputError(f"task.selection is {chosen}, but no validation sequence has such a length")
        super().prepare_training(plan, train, validation)

    def prepare_update(self, optimizer: torch.optim.Optimizer, epochs: float) -> None:
        """Set the learning rate for the update after so many ``epochs``; where a restart begins, forget everything."""
        assert self.plan is not None
        share = self.plan.epochs // self.settings.restarts
        if epochs and epochs % share == 0:
            fresh = BinarySequencePrediction(self.settings, self.vocabularies, self.build_model)
            with torch.no_grad():
                for weight, drawn in zip(self.parameters(), fresh.parameters(), strict=True):
                    weight.copy_(drawn)
            optimizer.state.clear()
        for group in optimizer.param_groups:
            group["lr"] = self.plan.rate(epochs % share / share)

    def most_telling(self, examples: list[Example]) -> Example:
        """Take two in one: the first of ``examples``, which lies in the range of training, and the longest."""
        chosen = [examples[0], max(examples, key=self.size)]
        return {"id": " ".join(example["id"] for example in chosen), "sequences": chosen}

    def trace(self, example: Example) -> dict[str, Any] | None:
        """Give where the heads of the model's memory are; None where it has none.

        ``example`` is one of the data set or what ``most_telling`` makes of two. "kind" is "heads", "read_heads" their
        number. "sequences" is a list, of which each has "id"; "input", "target" and "prediction", bits a step;
        "answer", the step, from 0, in which the first vector of the target is due; and "weights", read heads first: for
        each head and step a string with a digit in base 36 for each location, w times ``LEVELS``.
        """
        if not isinstance(self.model, Memory):
            return None
        traced = []
        for sequence in example.get("sequences", [example]):
            batch = self.collate([sequence])
            inputs = _padded(batch, "inputs").values
            steps = torch.tensor([inputs.shape[1]])
            (weights,) = self.model.trace(inputs, steps)
            (bits,) = (self.logits(batch) > 0).int().tolist()
            shown = {name: sequence[name] for name in ("id", "input", "target")}
            shown["prediction"] = ["".join(map(str, vector)) for vector in bits]
            shown["answer"] = int(steps) - len(sequence["target"])
            shown["weights"] = [[_digits(row) for row in head.tolist()] for head in weights.unbind(1)]
            traced.append(shown)
        return {"kind": "heads", "read_heads": self.model.settings.read_heads, "sequences": traced}

    def read_input(self, source: Path | TextIO) -> list[Example]:
        """Read questions, one a line, of the kind that ``settings.typed`` names; the target is the right answer.

        - copy: vectors, such as ``10110010 01010101``;
        - repeat_copy: vectors, and how often they are wanted: ``10110010 01010101 x 3``;
        - recall: items with ``;`` between them, and the one whose follower is wanted:
          ``101010 111000 000111 ; 110011 001100 010101 ? 101010 111000 000111``;
        - ngrams: bits, of which each after the fifth is to be predicted: ``0110101101``;
        - sort: vectors with their priorities, from -1 to 1: ``10110010:0.5 01010101:-0.25``; the 16 highest are wanted.

        Raises InputError where there is none, or one is malformed.
        """
        kind = self.settings.typed
        width = self.settings.width - (kind == "repeat_copy")  # which has an end mark beside the bits
        examples = []
        for number, line in enumerate(read_lines(source), start=1):
            if line.strip():
                try:
                    typed = TYPED[kind](line, width)
                except InputError as error:
                    raise InputError(f"line {number} {error}") from None
                examples.append({"id": f"line_{number}", "key": f"line_{number}", **typed})
        return examples

    def present(self, record: dict[str, Any]) -> str:
        """Show right answer and output below each other, with a ^ below each wrong bit, and how many there are."""
        pairs = list(zip(record["target"], record["prediction"], strict=True))
        between, most = ("", WIDE) if self.settings.width == 1 else (" ", ROW)
        lines = []
        for start in range(0, len(pairs), most):
            row = pairs[start : start + most]
            marks = between.join("".join(" ^"[a != b] for a, b in zip(*pair, strict=True)) for pair in row).rstrip()
            lines.append("wanted  " + between.join(target for target, _ in row))
            lines.append("output  " + between.join(bits for _, bits in row))
            lines += ["        " + marks] if marks else []
        wrong, every = record["wrong_bits"], sum(len(target) for target, _ in pairs)
        said = f"{wrong} of {every} bits wrong"
        if self.settings.typed == "ngrams":  # a likely bit may well be wrong, so its chance counts
            said += f"; at a cost of {record['bits']:.1f} bits, where coins cost {every}"
        return "\n".join([*lines, said])


# From what a person types, a line, and the width of its vectors to an example without "id" and "key", as the data set
# of the same name in stages/datasets has it. Errors go on from "line 3 ".


def _typed_copy(line: str, width: int) -> Example:
    vectors = _vectors(line, width)
    blank = "0" * width
    marked = [f"{blank}10", *(f"{vector}00" for vector in vectors), f"{blank}01"]
    return {"length": len(vectors), "input": marked, "target": vectors}


def _typed_repeat_copy(line: str, width: int) -> Example:
    found = re.fullmatch(r"(.*\S)\s+x\s*([1-9]\d{0,3})\s*", line)
    if not found:
        raise InputError(f"is {line!r}; it should end with x and how often the vectors are wanted, such as x 3")
    copy = _typed_copy(found[1], width)
    repeats = int(found[2])
    target = [f"{vector}0" for vector in copy["target"]] * repeats + ["0" * width + "1"]
    return {**copy, "repeats": repeats, "scalars": [None] * (len(copy["input"]) - 1) + [repeats], "target": target}


def _typed_recall(line: str, width: int) -> Example:
    shown, mark, asked = line.partition("?")
    if not mark:
        raise InputError(f"is {line!r}; after the items should come ? and the one whose follower is wanted")
    items = [_vectors(item, width) for item in shown.split(";")]
    query = _vectors(asked, width)
    if len({len(item) for item in (*items, query)}) > 1:
        raise InputError("has items of different lengths; all should have as many vectors, 3 as in training")
    if query not in items[:-1]:
        raise InputError("asks for what follows an item that is not there, or the last; it should be an earlier one")
    blank = "0" * width
    steps = [step for item in items for step in (f"{blank}10", *(f"{vector}00" for vector in item))]
    steps += [f"{blank}01", *(f"{vector}00" for vector in query), f"{blank}01"]
    return {"length": len(items), "input": steps, "target": items[items.index(query) + 1]}


def _typed_ngrams(line: str, width: int) -> Example:
    bits = "".join(line.split())
    if len(bits) <= CONTEXT or set(bits) - {"0", "1"}:
        raise InputError(f"is {line!r}; it should be at least {CONTEXT + 1} digits 0 and 1")
    return {"length": len(bits), "input": list(bits[:-1]), "target": list(bits[CONTEXT:])}


def _typed_sort(line: str, width: int) -> Example:
    pairs = [pair.partition(":") for pair in line.split()]
    vectors = _vectors(" ".join(vector for vector, _, _ in pairs), width)
    try:
        priorities = [float(priority) for _, _, priority in pairs]
    except ValueError:
        priorities = []
    if len(vectors) != len(pairs) or not all(-1 <= priority <= 1 for priority in priorities or [math.nan]):
        raise InputError("should have a priority from -1 to 1 after each vector, such as 10110010:0.5")
    ranked = sorted(zip(priorities, vectors, strict=True), key=lambda pair: -pair[0])
    return {
        "length": len(vectors),
        "input": [*(f"{vector}0" for vector in vectors), "0" * width + "1"],
        "scalars": [*priorities, None],
        "target": [vector for _, vector in ranked[:HIGHEST]],
    }


TYPED: dict[str, Callable[[str, int], Example]] = {
    "copy": _typed_copy,
    "repeat_copy": _typed_repeat_copy,
    "recall": _typed_recall,
    "ngrams": _typed_ngrams,
    "sort": _typed_sort,
}


def _vectors(text: str, width: int) -> list[str]:
    vectors = text.split()
    for vector in vectors or [""]:
        if len(vector) != width or set(vector) - {"0", "1"}:
            raise InputError(
                f"has {vector!r}; a vector should be {width} digits 0 and 1, "
                f"with a space between vectors, such as {'10110010' if width == 8 else '01' * width:.{width}}"
            )
    return vectors


def _digits(weights: list[float]) -> str:
    return "".join("0123456789abcdefghijklmnopqrstuvwxyz"[round(LEVELS * weight)] for weight in weights)


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
