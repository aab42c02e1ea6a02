"""Sequences of different lengths in one tensor."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple, TypeVar

import pydantic
import torch
from torch import Tensor

from stages.core.base.params import settings


@dataclass(frozen=True)
class Padded:
    """Sequences padded at their end to a common length.

    ``values`` is (batch, time, ...), ``lengths`` (batch,) int64 counts the real steps of each sequence.
    """

    values: Tensor
    lengths: Tensor

    @property
    def mask(self) -> Tensor:
        """(batch, time) bool, True at real steps, False at padding."""
        return mask(self.lengths, self.values.shape[1])

    def to(self, device: torch.device | str, non_blocking: bool = False) -> Padded:
        """Copy to ``device``."""
        return Padded(
            self.values.to(device, non_blocking=non_blocking), self.lengths.to(device, non_blocking=non_blocking)
        )


def pad(sequences: Sequence[Tensor], value: float = 0) -> Padded:
    """Pad tensors of shapes (time_i, ...) at their end with ``value``."""
    lengths = torch.tensor([len(sequence) for sequence in sequences])
    return Padded(torch.nn.utils.rnn.pad_sequence(list(sequences), batch_first=True, padding_value=value), lengths)


def pad_indices(rows: Sequence[Sequence[int]], value: int = 0) -> Padded:
    """Pad lists of indices at their end with ``value``: (batch, time) int64."""
    longest = max(map(len, rows))
    values = torch.tensor([[*row, *[value] * (longest - len(row))] for row in rows], dtype=torch.int64)
    return Padded(values, torch.tensor([len(row) for row in rows]))


def mask(lengths: Tensor, time: int) -> Tensor:
    """(batch, time) bool, True at the first ``lengths`` steps of each sequence."""
    return torch.arange(time, device=lengths.device) < lengths[:, None]


def reverse(values: Tensor, lengths: Tensor) -> Tensor:
    """Turn the first ``lengths`` steps of each sequence of (batch, time, feature) round; padding stays at the end."""
    time = torch.arange(values.shape[1], device=values.device)
    source = torch.where(mask(lengths, values.shape[1]), lengths[:, None] - 1 - time, time)
    return values.gather(1, source[..., None].expand_as(values))


# Tensors by name, with the same first axes.
Parts = TypeVar("Parts", bound=NamedTuple)


def by_step(parts: Parts) -> list[Parts]:
    """View tensors (time, ...) one step after the other."""
    return [parts._make(views) for views in zip(*(part.unbind() for part in parts), strict=True)]


def unroll(step: Callable[[Tensor, Parts], Parts], inputs: Tensor, lengths: Tensor, state: Parts) -> Iterator[Parts]:
    """Take ``step`` from an input (batch, ...) and a state, of tensors (batch, ...), to the next state, for each of
    ``inputs`` (batch, time, ...); yields every state. A sequence that has ended keeps its last one.
    """
    whole = bool((lengths == inputs.shape[1]).all())
    for t, x in enumerate(inputs.unbind(1)):
        after = step(x, state)
        state = after if whole else _advance(t < lengths, after, state)
        yield state


def _advance(real: Tensor, after: Parts, before: Parts) -> Parts:
    """Take ``after`` for the sequences where ``real`` (batch,) is True, and keep ``before`` for those that ended."""
    pairs = zip(after, before, strict=True)
    return after._make(torch.where(real.view(-1, *[1] * (a.ndim - 1)), a, b) for a, b in pairs)


def add_where(ended: Tensor, gradients: Parts, more: Parts) -> None:
    """Add ``more`` to ``gradients``, in place, for the sequences where ``ended`` (batch,) is True."""
    for into, gradient in zip(gradients, more, strict=True):
        into[ended] += gradient[ended]


# What a cell keeps between steps: h, and for the LSTM (h, c), each (1, batch, hidden).
CellState = Tensor | tuple[Tensor, Tensor]
# From a cell, its inputs (batch, time, input) and its outputs to what its gates did, (batch, time, hidden) by name.
Gates = Callable[[torch.nn.Module, Tensor, Tensor], dict[str, Tensor]]


@settings
class RecurrentSettings:
    """``hidden`` units a layer and direction; ``dropout`` between layers."""

    hidden: int = pydantic.Field(gt=0)
    layers: int = pydantic.Field(default=1, gt=0)
    bidirectional: bool = False
    dropout: float = pydantic.Field(default=0.0, ge=0, lt=1)


class Recurrence(torch.nn.Module):
    """A cell run over sequences in one or both directions, layer on layer (N6, N7).

    ``make`` builds one layer in one direction from its number of input features: a module from inputs (batch, time,
    feature) and state (or none) to outputs and state, with ``hidden_size``, as ``torch.nn.LSTM`` with ``batch_first``.
    The backward direction reads each sequence turned round, from its own last step; a layer's output is that of both
    directions side by side, and ``dropout`` falls on it before the next layer. ``gates`` tells what a cell's gates did.
    """

    def __init__(
        self,
        make: Callable[[int], torch.nn.Module],
        input_size: int,
        settings: RecurrentSettings,
        gates: Gates | None = None,
    ) -> None:
        super().__init__()
        self.gates = gates
        self.forwards, self.backwards = torch.nn.ModuleList(), torch.nn.ModuleList()
        self.output_size = input_size
        for _ in range(settings.layers):
            cells = [make(self.output_size) for _ in range(2 if settings.bidirectional else 1)]
            self.forwards.append(cells[0])
            self.backwards.extend(cells[1:])
            self.output_size = len(cells) * int(cells[0].hidden_size)  # type: ignore[arg-type]
        self.dropout = torch.nn.Dropout(settings.dropout)

    def forward(
        self, inputs: Tensor, lengths: Tensor, state: list[CellState] | None = None
    ) -> tuple[Tensor, list[CellState]]:
        """(batch, time, input) -> outputs (batch, time, output_size), 0 at padding, and the state to go on from.

        The state is that of each layer's forward cell after the last column, so a caller goes on from it only where no
        sequence ends before. Outputs at real steps do not depend on padding: a forward cell comes to it after them, and
        a backward cell reads it after them too.
        """
        states: list[CellState] = []
        outputs = inputs
        for layer, forwards in enumerate(self.forwards):
            below = outputs if layer == 0 else self.dropout(outputs)
            outputs, last = forwards(below, None if state is None else state[layer])
            states.append(last)
            if self.backwards:
                turned, _ = self.backwards[layer](reverse(below, lengths))
                outputs = torch.cat([outputs, reverse(turned, lengths)], dim=-1)
        return outputs * mask(lengths, inputs.shape[1])[..., None], states

    def trace(self, inputs: Tensor) -> list[dict[str, Tensor]]:
        """Give what happens inside, for inputs of one length (batch, time, input): a dictionary a layer and direction.

        Layers come from the lowest, forward before backward. Each has "hidden" and what ``gates`` tells, by name
        (batch, time, hidden), at the step of the input that it belongs to.
        """
        traces, below = [], inputs
        for layer, forwards in enumerate(self.forwards):
            cells = [forwards, *self.backwards[layer : layer + 1]]
            outputs = []
            for cell, turned in zip(cells, (False, True), strict=False):
                read = below.flip(1) if turned else below
                hidden, _ = cell(read)
                told = {"hidden": hidden, **(self.gates(cell, read, hidden) if self.gates else {})}
                traces.append({name: values.flip(1) if turned else values for name, values in told.items()})
                outputs.append(traces[-1]["hidden"])
            below = torch.cat(outputs, dim=-1)
        return traces


def gate_sums(cell: torch.nn.RNNBase, inputs: Tensor, outputs: Tensor) -> Tensor:
    """Give the sums W x_t + b + U h_{t-1} + c of a cell of torch.nn, of all steps at once, (batch, time, gates)."""
    weight, recurrent, bias, recurrent_bias = cell.all_weights[0]
    linear = torch.nn.functional.linear
    return linear(inputs, weight, bias) + linear(delayed(outputs), recurrent, recurrent_bias)


def delayed(outputs: Tensor) -> Tensor:
    """Give what a cell's state was before each step: the outputs (batch, time, hidden) a step later, from 0 on."""
    return torch.nn.functional.pad(outputs[:, :-1], (0, 0, 1, 0))
