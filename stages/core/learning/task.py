"""What every task shares: what it says about its data, its loss and its scores, and how it is trained.

Nothing here needs Lightning: to load and use a trained task is quick.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any, Literal, TextIO

import numpy as np
import pydantic
import torch
from torch import Tensor

from stages.core.base.errors import InputError
from stages.core.base.params import Seeded, read_settings, settings
from stages.core.learning.batch import Padded, Recurrence
from stages.core.learning.dataset import Example
from stages.core.learning.vocabulary import Vocabulary

Batch = dict[str, Tensor | Padded]  # or, for a peer, what it reads: lists
TRACED = 8  # steps: a shorter example shows little


@settings
class Training(Seeded):
    """How a network is trained.

    ``learning_rate`` is constant, or falls linearly, an update at a time, to ``final_fraction`` of itself.
    ``patience`` counts epochs without improvement on validation (none: all epochs are run). The gradient is scaled
    down to the global norm ``clip_norm`` (Pascanu et al. 2013). ``bucket`` batches at a time are drawn and sorted by
    length, so that a batch holds sequences of about one length; 0 makes batches of exactly one length.

    The trained weights are those of the best epoch on validation; with an ``average`` above 1, the mean of those at the
    end of each of the last ``average`` epochs that were run, whichever was the best (Vaswani et al. 2017, section 6.1).
    """

    optimizer: Literal["adam", "adamw", "rmsprop"] = "adam"
    learning_rate: float = pydantic.Field(gt=0)
    schedule: Literal["constant", "linear"] = "constant"
    final_fraction: float = pydantic.Field(default=0.0, ge=0, le=1)
    weight_decay: float = pydantic.Field(default=0.0, ge=0)
    momentum: float = pydantic.Field(default=0.0, ge=0, lt=1)
    alpha: float = pydantic.Field(default=0.99, gt=0, lt=1)
    batch_size: int = pydantic.Field(gt=0)
    bucket: int = pydantic.Field(default=20, ge=0)
    epochs: int = pydantic.Field(gt=0)
    patience: int | None = pydantic.Field(default=None, gt=0)
    average: int = pydantic.Field(default=1, gt=0)
    clip_norm: float = pydantic.Field(gt=0)

    @pydantic.field_validator("average")
    @classmethod
    def _are_run(cls, average: int, info: pydantic.ValidationInfo) -> int:
        epochs = info.data.get("epochs", average)  # where they are wrong themselves, that is told
        if average > epochs:
            raise ValueError(f"weights of the last {average} epochs cannot be averaged where epochs is {epochs}")
        return average

    def rate(self, done: float) -> float:
        """Give the learning rate when the share ``done`` (0 to 1) of the training is done."""
        if self.schedule == "constant":
            return self.learning_rate
        return self.learning_rate * (1 - (1 - self.final_fraction) * done)


def read_training(model: ModuleType, values: dict[str, Any], where: str) -> Seeded:
    """Read how an experiment is trained: by ``Training``, or what the file of its model, a peer, calls so."""
    return read_settings(getattr(model, "Training", Training), values, where)


class Peer(torch.nn.Module):
    """A classic method to compare networks with: fitted at once, without gradients.

    It stands where an experiment's model stands (a file in stages/models, with ``Training = Seeded``), but reads the
    examples' symbols themselves. Nothing in it is drawn at random: it is the same for every seed.
    """

    def fit(self, inputs: list[Any], targets: list[Any]) -> None:
        """Learn from training examples, in the form that the task says."""
        raise NotImplementedError

    def count(self) -> int:
        """Count the fitted numbers."""
        raise NotImplementedError

    def dump(self) -> bytes:
        """Give what was fitted."""
        raise NotImplementedError

    def restore(self, content: bytes) -> None:
        """Take what ``dump`` gave."""
        raise NotImplementedError

    # torch keeps it with weights and buffers by these two.

    def get_extra_state(self) -> Tensor:
        """Give what was fitted as a tensor of bytes."""
        return torch.frombuffer(bytearray(self.dump()), dtype=torch.uint8)

    def set_extra_state(self, state: Tensor) -> None:
        """Take what ``get_extra_state`` gave."""
        self.restore(bytes(state.numpy()))


class Task(torch.nn.Module):
    """A kind of problem: embedding, head and loss around a model.

    The best epoch is the one with the lowest (``monitor_mode`` "min") or highest ("max") ``monitor`` on validation.
    ``decoder`` is the one, with its settings, that ``python -m stages.predict`` takes for a model by its folder.
    ``current_epoch``, from 0, is the epoch of the training that goes on, and ``plan`` how that is done (none: there was
    none); stages/core/trainer.py sets the one, ``prepare_training`` the other.
    """

    monitor = "validation_loss"
    monitor_mode: Literal["min", "max"] = "min"
    decoder: dict[str, Any] = {"name": "argmax"}

    def __init__(self, vocabularies: dict[str, Vocabulary]) -> None:
        super().__init__()
        self.vocabularies = vocabularies
        self.current_epoch = 0
        self.plan: Training | None = None

    # What a task says about its data.

    def observe(self, examples: list[Example], arrays: dict[str, np.ndarray]) -> None:
        """Fix statistics of the training split, as registered buffers."""

    def attach(self, arrays: dict[str, np.ndarray]) -> None:
        """Take the prepared arrays that examples point into; not part of the saved model."""

    def draw(self, examples: list[Example], generator: torch.Generator) -> list[Example]:
        """Give the training examples of one epoch."""
        return examples

    def size(self, example: Example) -> int:
        """Give the length of ``example`` in steps."""
        raise NotImplementedError

    def collate(self, examples: list[Example]) -> Batch:
        """Make a batch. What is random here (in training only) comes from torch's global generator."""
        raise NotImplementedError

    def loss(self, batch: Batch) -> tuple[Tensor, int]:
        """Give the mean loss in nats, a scalar, and the number of items that it is the mean of."""
        raise NotImplementedError

    def fit_peer(self, examples: list[Example]) -> None:
        """Fit the task's model, a ``Peer``, to the training examples."""
        raise NotImplementedError

    def validation_update(self, batch: Batch) -> None:
        """Note a validation batch for ``validation_scores``."""

    def validation_scores(self) -> dict[str, float]:
        """Give further validation scores of the batches noted since the last call; names start with "validation_"."""
        return {}

    # What a training asks of a task.

    @property
    def loss_name(self) -> str:
        """What ``loss`` is called among the scores of the current epoch: "loss" where it is that of the task itself.

        An epoch with another name trains something else first. It has no validation loss (NaN), is never the best, and
        its weights are not averaged.
        """
        return "loss"

    def prepare_training(self, plan: Training, train: list[Example], validation: list[Example]) -> None:
        """Take how, and on what, the task is about to be trained; raises InputError where it cannot be."""
        self.plan = plan

    def prepare_update(self, optimizer: torch.optim.Optimizer, epochs: float) -> None:
        """Set the learning rate for the update after so many ``epochs``."""
        assert self.plan is not None
        for group in optimizer.param_groups:
            group["lr"] = self.plan.rate(epochs / self.plan.epochs)

    def end_epoch(self) -> None:
        """Take note that an epoch of training is over, its validation included."""

    # What a task says to a person.

    def read_input(self, source: Path | TextIO) -> list[Example]:
        """Parse a person's input; raises InputError where it is empty or malformed."""
        raise NotImplementedError

    def present(self, record: dict[str, Any]) -> str:
        """Show an example with its prediction as lines of text."""
        raise NotImplementedError

    def trace(self, example: Example) -> dict[str, Any] | None:
        """Give what the model's gates do as it reads ``example``; None where it has nothing to tell.

        "steps" are the symbols read; "layers" a list, of which each has, by name, (time, hidden) as nested lists.
        """
        return None

    def most_telling(self, examples: list[Example]) -> Example:
        """Choose the one of ``examples`` to ``trace``: the first of at least ``TRACED`` steps, or the longest."""
        long = (example for example in examples if self.size(example) >= TRACED)
        return next(long, None) or max(examples, key=self.size)

    def stream(self, seconds: float) -> Callable[[Example], Iterator[str]]:
        """Give what reads an example ``seconds`` of it at a time, and yields the text that each piece adds.

        Raises InputError where the model needs the whole input first.
        """
        raise InputError("--stream is for models of speech; this one reads its input as a whole")


def build_peer(build_model: Callable[[int], torch.nn.Module], setting: str) -> Peer:
    """Build the model of a task without ``setting``; raises InputError where it is no peer, and so needs vectors."""
    model = build_model(1)  # a size, which a peer does not look at
    if not isinstance(model, Peer):
        raise InputError(f"the model {type(model).__name__} reads vectors: set task.{setting}, their size")
    return model


def build_network(build_model: Callable[[int], torch.nn.Module], size: int, setting: str) -> torch.nn.Module:
    """Build the model of a task for vectors of ``size``; raises InputError where it is a peer, which reads symbols."""
    model = build_model(size)
    if isinstance(model, Peer):
        raise InputError(f"the model {type(model).__name__} reads no vectors: leave task.{setting} out")
    return model


def trace_model(model: torch.nn.Module, vectors: Tensor, steps: list[str]) -> dict[str, Any] | None:
    """Give what ``Task.trace`` does of a recurrent ``model`` that reads ``vectors`` (1, time, feature) of ``steps``."""
    if not isinstance(model, Recurrence):
        return None
    layers = [
        {name: [[round(value, 4) for value in row] for row in values[0].tolist()] for name, values in layer.items()}
        for layer in model.trace(vectors)
    ]
    return {"steps": steps, "layers": layers}


def read_lines(source: Path | TextIO) -> list[str]:
    """Read the lines of a person's input, ends stripped; raises InputError where nothing but white space is there."""
    try:
        text = source.read_text(encoding="utf-8") if isinstance(source, Path) else source.read()
    except UnicodeDecodeError as error:
        raise InputError(f"the input {_name(source)} is not UTF-8 text ({error.reason})") from None
    except OSError as error:
        raise InputError(f"the input {_name(source)} cannot be read: {error.strerror}") from None
    if not text.strip():
        raise InputError(f"the input {_name(source)} is empty")
    return [line.rstrip() for line in text.splitlines()]


def _name(source: Path | TextIO) -> str:
    return str(source) if isinstance(source, Path) else getattr(source, "name", "given")
