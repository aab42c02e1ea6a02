"""Long short-term memory (Hochreiter and Schmidhuber 1997) with the forget gate of Gers et al. (2000) (N8, N12)."""

from __future__ import annotations

import pydantic
import torch
from torch import nn

from stages.core.batch import Recurrence
from stages.core.params import settings


@settings
class Settings:
    """``hidden`` units a layer and direction; ``dropout`` between layers; ``forget_bias`` opens the gate at first."""

    hidden: int = pydantic.Field(gt=0)
    layers: int = pydantic.Field(default=1, gt=0)
    bidirectional: bool = False
    dropout: float = pydantic.Field(default=0.0, ge=0, lt=1)
    forget_bias: float = 1.0


class LSTM(Recurrence):
    """c_t = f_t c_{t-1} + i_t g_t, h_t = o_t tanh(c_t); any number of layers, in one or both directions.

    Inputs (batch, time, input), outputs (batch, time, output_size); a layer's state is (h, c), each (1, batch, hidden).
    """

    def __init__(self, settings: Settings, input_size: int) -> None:
        def make(size: int) -> nn.LSTM:
            return _open_forget_gate(nn.LSTM(size, settings.hidden, batch_first=True), settings.forget_bias)

        super().__init__(make, input_size, settings.layers, settings.bidirectional, settings.dropout)


def _open_forget_gate(cell: nn.LSTM, bias: float) -> nn.LSTM:
    # torch.nn adds two biases (of the input and of the recurrent product), so only one carries the value.
    with torch.no_grad():
        for name, value in (("bias_ih_l0", bias), ("bias_hh_l0", 0.0)):
            cell.get_parameter(name).view(4, -1)[1] = value  # torch.nn's order: input, forget, cell, output
    return cell


def build(settings: Settings, input_size: int) -> LSTM:
    """Build the network for inputs of ``input_size`` features."""
    return LSTM(settings, input_size)
