"""Long short-term memory (Hochreiter and Schmidhuber 1997) with the forget gate of Gers et al. (2000) (N8, N12)."""

from __future__ import annotations

import pydantic
import torch
from torch import Tensor, nn

from stages.core.batch import run_recurrent
from stages.core.params import settings

State = tuple[Tensor, Tensor]


@settings
class Settings:
    """``hidden`` units a layer and direction; ``dropout`` between layers; ``forget_bias`` opens the gate at first."""

    hidden: int = pydantic.Field(gt=0)
    layers: int = pydantic.Field(default=1, gt=0)
    bidirectional: bool = False
    dropout: float = pydantic.Field(default=0.0, ge=0, lt=1)
    forget_bias: float = 1.0


class LSTM(nn.Module):
    """c_t = f_t c_{t-1} + i_t g_t, h_t = o_t tanh(c_t); any number of layers, in one or both directions."""

    def __init__(self, settings: Settings, input_size: int) -> None:
        super().__init__()
        self.network = nn.LSTM(
            input_size,
            settings.hidden,
            settings.layers,
            batch_first=True,
            dropout=settings.dropout,
            bidirectional=settings.bidirectional,
        )
        self.output_size = settings.hidden * (2 if settings.bidirectional else 1)
        self._open_forget_gates(settings.forget_bias)

    def _open_forget_gates(self, bias: float) -> None:
        # torch.nn adds two biases (of the input and of the recurrent product), so only one carries the value.
        with torch.no_grad():
            for name, parameter in self.network.named_parameters():
                if "bias" in name:
                    gate = parameter.view(4, -1)[1]  # torch.nn's order: input, forget, cell, output
                    gate.fill_(bias if "bias_ih" in name else 0.0)

    def forward(self, inputs: Tensor, lengths: Tensor, state: State | None = None) -> tuple[Tensor, State]:
        """(batch, time, input) -> (batch, time, output_size) and (h, c), each (layers x directions, batch, hidden)."""
        outputs, state = run_recurrent(self.network, inputs, lengths, state)  # type: ignore[assignment]
        assert state is not None
        return outputs, state


def build(settings: Settings, input_size: int) -> LSTM:
    """Build the network for inputs of ``input_size`` features."""
    return LSTM(settings, input_size)
