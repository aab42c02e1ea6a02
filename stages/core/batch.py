"""Sequences of different lengths in one tensor."""

from __future__ import annotations

from collections.abc import Sequence
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


def run_recurrent(
    network: torch.nn.RNNBase, inputs: Tensor, lengths: Tensor, state: Tensor | tuple[Tensor, Tensor] | None
) -> tuple[Tensor, Tensor | tuple[Tensor, Tensor]]:
    """Run one of torch.nn's recurrent networks over padded ``inputs`` (batch, time, feature).

    Gives outputs (batch, time, output) and the state after each sequence's own last step; padding changes neither.
    """
    packed = torch.nn.utils.rnn.pack_padded_sequence(inputs, lengths.cpu(), batch_first=True, enforce_sorted=False)
    outputs, state = network(packed, state)
    return torch.nn.utils.rnn.pad_packed_sequence(outputs, batch_first=True, total_length=inputs.shape[1])[0], state
