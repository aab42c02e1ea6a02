"""A GRU over a convolutional front, the shape of Deep Speech 2's networks (Amodei et al. 2016, section 3.1)."""

from __future__ import annotations

import pydantic
from torch import Tensor, nn

from stages.core.base.params import settings
from stages.core.learning.batch import CellState, Recurrence, RecurrentSettings, mask


@settings
class Settings(RecurrentSettings):
    """``convolutions`` layers of ``filters`` each, every one over ``width`` steps (odd), before the GRU."""

    convolutions: int = pydantic.Field(default=1, gt=0)
    filters: int = pydantic.Field(default=64, gt=0)
    width: int = pydantic.Field(default=5, gt=0)

    @pydantic.field_validator("width")
    @classmethod
    def _is_odd(cls, width: int) -> int:
        if width % 2 == 0:
            raise ValueError("width should be odd, so that a step stands in the middle of what it sees")
        return width


class ConvolutionalGRU(nn.Module):
    """Convolutions over time with ReLU (no step is skipped), then a GRU in one or both directions.

    Before the ReLU the filters of each step are brought to one mean and deviation (Ba et al. 2016, section 3), and so
    how loud or sharp a voice is matters less; Amodei et al. (section 3.2) normalise over the batch instead.
    A step's output depends on width // 2 further steps a convolution, so it cannot be had before they are there.
    """

    def __init__(self, settings: Settings, input_size: int) -> None:
        super().__init__()
        sizes = [input_size, *[settings.filters] * settings.convolutions]
        self.convolutions = nn.ModuleList(
            nn.Conv1d(size, settings.filters, settings.width, padding="same") for size in sizes[:-1]
        )
        self.norms = nn.ModuleList(nn.LayerNorm(settings.filters) for _ in self.convolutions)
        self.dropout = nn.Dropout(settings.dropout)

        def make(size: int) -> nn.GRU:
            return nn.GRU(size, settings.hidden, batch_first=True)

        self.recurrence = Recurrence(make, settings.filters, settings)
        self.output_size = self.recurrence.output_size

    def forward(self, inputs: Tensor, lengths: Tensor, state: None = None) -> tuple[Tensor, list[CellState]]:
        """(batch, time, input) -> outputs (batch, time, output_size), 0 at padding, and the GRU's last state."""
        real = mask(lengths, inputs.shape[1])[..., None]
        outputs = inputs
        for convolution, norm in zip(self.convolutions, self.norms, strict=True):
            # Zeros beyond each sequence's own end, as at the batch's: a step must not see what pads its neighbour.
            outputs = norm(convolution((outputs * real).transpose(1, 2)).transpose(1, 2)).relu()
        return self.recurrence(self.dropout(outputs), lengths)


def build(settings: Settings, input_size: int) -> ConvolutionalGRU:
    """Build the network for inputs of ``input_size`` features."""
    return ConvolutionalGRU(settings, input_size)
