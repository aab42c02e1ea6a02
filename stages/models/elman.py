"""The simple recurrent network of Elman (1990): the hidden layer is stored and read again at the next step (N2, N5)."""

from __future__ import annotations

from typing import Literal

import pydantic
from torch import Tensor, nn

from stages.core.batch import run_recurrent
from stages.core.params import settings


@settings
class Settings:
    """``hidden`` units a layer and direction; ``dropout`` between layers."""

    hidden: int = pydantic.Field(gt=0)
    layers: int = pydantic.Field(default=1, gt=0)
    bidirectional: bool = False
    nonlinearity: Literal["tanh", "relu"] = "tanh"
    dropout: float = pydantic.Field(default=0.0, ge=0, lt=1)


class Elman(nn.Module):
    """h_t = f(W x_t + U h_{t-1} + b), any number of layers, in one or both directions."""

    def __init__(self, settings: Settings, input_size: int) -> None:
        super().__init__()
        self.network = nn.RNN(
            input_size,
            settings.hidden,
            settings.layers,
            nonlinearity=settings.nonlinearity,
            batch_first=True,
            dropout=settings.dropout,
            bidirectional=settings.bidirectional,
        )
        self.output_size = settings.hidden * (2 if settings.bidirectional else 1)

    def forward(self, inputs: Tensor, lengths: Tensor, state: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """(batch, time, input) -> (batch, time, output_size) and the state (layers x directions, batch, hidden)."""
        outputs, state = run_recurrent(self.network, inputs, lengths, state)  # type: ignore[assignment]
        assert state is not None
        return outputs, state


def build(settings: Settings, input_size: int) -> Elman:
    """Build the network for inputs of ``input_size`` features."""
    return Elman(settings, input_size)
