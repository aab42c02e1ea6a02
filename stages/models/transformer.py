"""A small Transformer encoder (Vaswani et al. 2017), the modern point of reference: all steps at once."""

from __future__ import annotations

import math

import pydantic
import torch
from torch import Tensor, nn

from stages.core.base.params import settings
from stages.core.learning.batch import mask


@settings
class Settings:
    """``width`` of a layer, ``heads`` of its attention, ``feedforward`` units of its inner network (none: 2 widths)."""

    width: int = pydantic.Field(gt=0, multiple_of=2)
    heads: int = pydantic.Field(default=4, gt=0)
    layers: int = pydantic.Field(default=2, gt=0)
    feedforward: int | None = pydantic.Field(default=None, gt=0)
    dropout: float = pydantic.Field(default=0.1, ge=0, lt=1)

    @pydantic.model_validator(mode="after")
    def _divides(self) -> Settings:
        if self.width % self.heads:
            raise ValueError(f"width should be a multiple of heads, which is {self.heads}")
        return self


def positions(time: int, width: int) -> Tensor:
    """Sines and cosines of the step's number at falling frequencies, (time, width) (the paper's section 3.5)."""
    rates = torch.exp(torch.arange(0, width, 2) * (-math.log(10_000.0) / width))
    angles = torch.arange(time)[:, None] * rates
    return torch.stack([angles.sin(), angles.cos()], dim=2).flatten(1)


class Transformer(nn.Module):
    """Inputs are projected to ``width``; each layer normalises first (Xiong et al. 2020), then attends to all steps."""

    def __init__(self, settings: Settings, input_size: int) -> None:
        super().__init__()
        self.output_size = settings.width
        self.project = nn.Linear(input_size, settings.width)
        self.dropout = nn.Dropout(settings.dropout)
        layer = nn.TransformerEncoderLayer(
            settings.width,
            settings.heads,
            settings.feedforward or 2 * settings.width,
            settings.dropout,
            batch_first=True,
            norm_first=True,
        )
        self.encoder = nn.TransformerEncoder(
            layer, settings.layers, norm=nn.LayerNorm(settings.width), enable_nested_tensor=False
        )

    def forward(self, inputs: Tensor, lengths: Tensor, state: None = None) -> tuple[Tensor, None]:
        """(batch, time, input) -> (batch, time, width), 0 at padding; there is no state."""
        real = mask(lengths, inputs.shape[1])
        placed = self.project(inputs) + positions(inputs.shape[1], self.output_size).to(inputs)
        outputs = self.encoder(self.dropout(placed), src_key_padding_mask=~real)
        return outputs * real[..., None], None


def build(settings: Settings, input_size: int) -> Transformer:
    """Build the network for inputs of ``input_size`` features."""
    return Transformer(settings, input_size)
