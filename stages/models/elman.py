"""The simple recurrent network of Elman (1990): the hidden layer is stored and read again at the next step (N2, N5)."""

from __future__ import annotations

from typing import Literal

from torch import nn

from stages.core.base.params import settings
from stages.core.learning.batch import Recurrence, RecurrentSettings


@settings
class Settings(RecurrentSettings):
    """``nonlinearity`` of the hidden units."""

    nonlinearity: Literal["tanh", "relu"] = "tanh"


class Elman(Recurrence):
    """h_t = f(W x_t + U h_{t-1} + b), any number of layers, in one or both directions.

    Inputs (batch, time, input), outputs (batch, time, output_size); a layer's state is h (1, batch, hidden).
    """

    def __init__(self, settings: Settings, input_size: int) -> None:
        def make(size: int) -> nn.RNN:
            return nn.RNN(size, settings.hidden, nonlinearity=settings.nonlinearity, batch_first=True)

        super().__init__(make, input_size, settings)


def build(settings: Settings, input_size: int) -> Elman:
    """Build the network for inputs of ``input_size`` features."""
    return Elman(settings, input_size)
