"""Long short-term memory (Hochreiter and Schmidhuber 1997) with the forget gate of Gers et al. (2000) (N8, N12)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from stages.core.base.params import settings
from stages.core.learning.batch import Recurrence, RecurrentSettings, gate_sums


@settings
class Settings(RecurrentSettings):
    """``forget_bias`` opens the gate at first."""

    forget_bias: float = 1.0


class LSTM(Recurrence):
    """c_t = f_t c_{t-1} + i_t g_t, h_t = o_t tanh(c_t); any number of layers, in one or both directions.

    Inputs (batch, time, input), outputs (batch, time, output_size); a layer's state is (h, c), each (1, batch, hidden).
    """

    def __init__(self, settings: Settings, input_size: int) -> None:
        def make(size: int) -> nn.LSTM:
            return _open_forget_gate(nn.LSTM(size, settings.hidden, batch_first=True), settings.forget_bias)

        super().__init__(make, input_size, settings, gates)


def _open_forget_gate(cell: nn.LSTM, bias: float) -> nn.LSTM:
    # torch.nn adds two biases (of the input and of the recurrent product), so only one carries the value.
    with torch.no_grad():
        for name, value in (("bias_ih_l0", bias), ("bias_hh_l0", 0.0)):
            cell.get_parameter(name).view(4, -1)[1] = value  # torch.nn's order: input, forget, cell, output
    return cell


def gates(cell: nn.Module, inputs: Tensor, outputs: Tensor) -> dict[str, Tensor]:
    """Give the gates "input", "forget" and "output", and the "cell" (batch, time, hidden)."""
    assert isinstance(cell, nn.LSTM)
    enter, keep, value, show = gate_sums(cell, inputs, outputs).chunk(4, dim=2)
    enter, keep, show = enter.sigmoid(), keep.sigmoid(), show.sigmoid()
    cells = [torch.zeros_like(value[:, 0])]
    for time in range(inputs.shape[1]):
        cells.append(keep[:, time] * cells[-1] + enter[:, time] * value[:, time].tanh())
    return {"input": enter, "forget": keep, "output": show, "cell": torch.stack(cells[1:], dim=1)}


def build(settings: Settings, input_size: int) -> LSTM:
    """Build the network for inputs of ``input_size`` features."""
    return LSTM(settings, input_size)
