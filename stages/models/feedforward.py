"""A feed-forward network over a window of steps: no memory, the notes' first attempt at slot filling (N1)."""

from __future__ import annotations

import pydantic
import torch
from torch import Tensor, nn

from stages.core.base.params import settings
from stages.core.learning.batch import mask


@settings
class Settings:
    """``hidden`` units; ``window`` steps seen on either side (0: the step alone)."""

    hidden: int = pydantic.Field(gt=0)
    window: int = pydantic.Field(default=0, ge=0)


class Feedforward(nn.Module):
    """y_t = tanh(W [x_{t-k}; ...; x_{t+k}] + b), with zeros beyond the sequence's ends."""

    def __init__(self, settings: Settings, input_size: int) -> None:
        super().__init__()
        self.window = settings.window
        self.hidden = nn.Linear(input_size * (2 * settings.window + 1), settings.hidden)
        self.output_size = settings.hidden

    def forward(self, inputs: Tensor, lengths: Tensor, state: None = None) -> tuple[Tensor, None]:
        """(batch, time, input) -> (batch, time, output_size); there is no state."""
        inputs = inputs * mask(lengths, inputs.shape[1])[..., None]
        around = nn.functional.pad(inputs, (0, 0, self.window, self.window))  # (batch, time + 2 window, input)
        windows = [around[:, shift : shift + inputs.shape[1]] for shift in range(2 * self.window + 1)]
        return torch.tanh(self.hidden(torch.cat(windows, dim=-1))), None


def build(settings: Settings, input_size: int) -> Feedforward:
    """Build the network for inputs of ``input_size`` features."""
    return Feedforward(settings, input_size)
