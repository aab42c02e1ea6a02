"""Sequences of different lengths in one tensor."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor


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


def mask(lengths: Tensor, time: int) -> Tensor:
    """(batch, time) bool, True at the first ``lengths`` steps of each sequence."""
    return torch.arange(time, device=lengths.device) < lengths[:, None]


def reverse(values: Tensor, lengths: Tensor) -> Tensor:
    """Turn the first ``lengths`` steps of each sequence of (batch, time, feature) round; padding stays at the end."""
    time = torch.arange(values.shape[1], device=values.device)
    source = torch.where(mask(lengths, values.shape[1]), lengths[:, None] - 1 - time, time)
    return values.gather(1, source[..., None].expand_as(values))


# What a cell keeps between steps: h, and for the LSTM (h, c), each (1, batch, hidden).
CellState = Tensor | tuple[Tensor, Tensor]


class Recurrence(torch.nn.Module):
    """A cell run over sequences in one or both directions, layer on layer (N6, N7).

    ``make`` builds one layer in one direction from its number of input features: a module from inputs (batch, time,
    feature) and state (or none) to outputs and state, with ``hidden_size``, as ``torch.nn.LSTM`` with ``batch_first``.
    The backward direction reads each sequence turned round, from its own last step; a layer's output is that of both
    directions side by side, and ``dropout`` falls on it before the next layer.
    """

    def __init__(
        self,
        make: Callable[[int], torch.nn.Module],
        input_size: int,
        layers: int,
        bidirectional: bool,
        dropout: float,
    ) -> None:
        super().__init__()
        self.forwards, self.backwards = torch.nn.ModuleList(), torch.nn.ModuleList()
        self.output_size = input_size
        for _ in range(layers):
            cells = [make(self.output_size) for _ in range(2 if bidirectional else 1)]
            self.forwards.append(cells[0])
            self.backwards.extend(cells[1:])
            self.output_size = len(cells) * int(cells[0].hidden_size)  # type: ignore[arg-type]
        self.dropout = torch.nn.Dropout(dropout)

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
