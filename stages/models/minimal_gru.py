"""The minimal GRU (Feng et al. 2024, "Were RNNs all we needed?", equations 8 and 9): its gates do not see its state.

h_t = (1 - z_t) * h_{t-1} + z_t * n_t, where z_t = s(W x_t) and n_t = V x_t depend on the input alone. So the states of
all steps come from one associative scan in log2(time) rounds, and nothing has to wait for the step before.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from stages.core.base.params import settings
from stages.core.learning.batch import Recurrence, RecurrentSettings


@settings
class Settings(RecurrentSettings):
    """Those of every recurrent network."""


def scan(keep: Tensor, add: Tensor) -> Tensor:
    """Solve h_t = keep_t * h_{t-1} + add_t from h_{-1} = 0; all are (batch, time, H).

    In round k each step composes its map with that of the step 2^k before (Hillis and Steele 1986): first keep' = keep
    * keep_before and add' = add + keep * add_before, after log2(time) rounds every map begins at the start.
    """
    reach, time = 1, keep.shape[1]
    while reach < time:
        before_keep, before_add = keep[:, :-reach], add[:, :-reach]
        add = torch.cat([add[:, :reach], torch.addcmul(add[:, reach:], keep[:, reach:], before_add)], dim=1)
        keep = torch.cat([keep[:, :reach], keep[:, reach:] * before_keep], dim=1)
        reach *= 2
    return add


class MinimalCell(nn.Module):
    """One layer in one direction: inputs (batch, time, input), outputs (batch, time, H), state h (1, batch, H)."""

    def __init__(self, hidden: int, input_size: int) -> None:
        super().__init__()
        self.hidden_size = hidden
        self.gate = nn.Linear(input_size, hidden)
        self.new = nn.Linear(input_size, hidden)

    def forward(self, inputs: Tensor, state: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Run over whole sequences, all steps at once."""
        update = torch.sigmoid(self.gate(inputs))
        keep, add = 1 - update, update * self.new(inputs)
        if state is not None:
            add = torch.cat([torch.addcmul(add[:, :1], keep[:, :1], state[0][:, None]), add[:, 1:]], dim=1)
        outputs = scan(keep, add)
        return outputs, outputs[:, -1][None]


def gates(cell: nn.Module, inputs: Tensor, outputs: Tensor) -> dict[str, Tensor]:
    """Give the gate "update" (batch, time, hidden)."""
    assert isinstance(cell, MinimalCell)
    return {"update": cell.gate(inputs).sigmoid()}


def build(settings: Settings, input_size: int) -> Recurrence:
    """Build the network for inputs of ``input_size`` features."""
    return Recurrence(lambda size: MinimalCell(settings.hidden, size), input_size, settings, gates)
