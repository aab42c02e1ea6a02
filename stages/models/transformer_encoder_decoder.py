"""A small Transformer of encoder and decoder (Vaswani et al. 2017), the point of reference without recurrence.

The encoder's steps attend to the whole source, the decoder's to the target up to themselves and to the encoded source.
Each sublayer normalises its input rather than its output (Xiong et al. 2020, figure 1b), so that training needs no
warm-up. Target symbols come all at once or one after another, by the same code: the state is what earlier steps offer
to later ones, their keys and values in each layer.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import cast

import pydantic
import torch
from torch import Tensor, nn
from torch.nn.functional import linear, scaled_dot_product_attention

from stages.core.base.params import settings
from stages.core.learning.batch import mask

# Of each layer of the decoder the keys and values of the steps so far, (batch, 2, heads, steps, width / heads).
State = tuple[Tensor, ...]


@settings
class Settings:
    """Sizes of a Transformer.

    ``width`` of every layer, ``heads`` of its attentions; ``layers`` in the decoder and ``encoder_layers`` in the
    encoder (none: as many as in the decoder); ``feedforward`` units of a layer's inner network (none: 2 widths);
    ``dropout`` falls on what each sublayer adds (the paper's section 5.4); that of the embeddings is the task's.
    """

    width: int = pydantic.Field(gt=0, multiple_of=2)
    heads: int = pydantic.Field(default=4, gt=0)
    layers: int = pydantic.Field(default=2, gt=0)
    encoder_layers: int | None = pydantic.Field(default=None, gt=0)
    feedforward: int | None = pydantic.Field(default=None, gt=0)
    dropout: float = pydantic.Field(default=0.1, ge=0, lt=1)

    @pydantic.model_validator(mode="after")
    def _divides(self) -> Settings:
        if self.width % self.heads:
            raise ValueError(f"width should be a multiple of heads, which is {self.heads}")
        return self


def positions(first: int, steps: int, width: int) -> Tensor:
    """Sines and cosines of the steps' numbers from ``first`` on, (steps, width) (Vaswani et al. 2017, section 3.5)."""
    rates = torch.exp(torch.arange(0, width, 2) * (-math.log(10_000.0) / width))
    angles = torch.arange(first, first + steps)[:, None] * rates
    return torch.stack([angles.sin(), angles.cos()], dim=2).flatten(1)


@dataclass(frozen=True)
class Memory:
    """The encoded source, for the decoder to look at.

    ``keys_values`` (batch, layers, 2, heads, source_time, width / heads) are what it offers to each layer of the
    decoder, ``mask`` (batch, source_time) bool, True at real steps.
    """

    keys_values: Tensor
    mask: Tensor

    def select(self, rows: Tensor) -> Memory:
        """Give the memory of the batch rows ``rows`` (n,) int64, in that order; a row may come several times."""
        return Memory(self.keys_values[rows], self.mask[rows])


class Linear(nn.Linear):
    """A linear map whose numbers are kept sqrt(inputs) times as large as used (Karras et al. 2018, section 4.1).

    Adam moves every number by about the learning rate, whatever its size. So all learn equally fast only where all are
    of one size: that of the embeddings, which are drawn from N(0, 1). Else these would lag behind.
    """

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__(inputs, outputs)
        nn.init.normal_(self.weight)
        nn.init.zeros_(self.bias)
        self.scale = inputs**-0.5

    def forward(self, steps: Tensor) -> Tensor:
        """(..., inputs) -> (..., outputs)."""
        return linear(steps, self.weight * self.scale, self.bias * self.scale)


class Attention(nn.Module):
    """Multi-head attention, softmax(Q K^T / sqrt(width / heads)) V in each head (Vaswani et al. 2017, section 3.2)."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.query = Linear(width, width)
        self.offer = Linear(width, 2 * width)
        self.output = Linear(width, width)

    def keys_values(self, steps: Tensor) -> Tensor:
        """Give what ``steps`` (batch, time, width) offer to be attended to: (batch, 2, heads, time, width / heads)."""
        return self.offer(steps).unflatten(2, (2, self.heads, -1)).permute(0, 2, 3, 1, 4)

    def forward(self, steps: Tensor, keys_values: Tensor, allowed: Tensor) -> Tensor:
        """Attend from ``steps`` (batch, steps, width) to ``keys_values`` (batch, 2, heads, time, width / heads).

        ``allowed`` bool is True where a step may look, broadcast to (batch, heads, steps, time). Gives outputs (batch,
        steps, width).
        """
        keys, values = keys_values.unbind(1)
        looked = scaled_dot_product_attention(self._queries(steps), keys, values, allowed)
        return self.output(looked.transpose(1, 2).flatten(2))

    def weights(self, steps: Tensor, keys_values: Tensor, allowed: Tensor) -> Tensor:
        """Give the weights (batch, steps, time) that ``forward`` takes its means by, themselves a mean over heads."""
        keys = keys_values[:, 0]
        energies = self._queries(steps) @ keys.transpose(2, 3) / math.sqrt(keys.shape[-1])
        return energies.masked_fill(~allowed, -torch.inf).softmax(dim=-1).mean(dim=1)

    def _queries(self, steps: Tensor) -> Tensor:
        return self.query(steps).unflatten(2, (self.heads, -1)).transpose(1, 2)


class Layer(nn.Module):
    """What layers of encoder and decoder have in common: each step attends to its like, and goes through a network."""

    def __init__(self, settings: Settings) -> None:
        super().__init__()
        width, inner = settings.width, settings.feedforward or 2 * settings.width
        self.attention_norm, self.feedforward_norm = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attention = Attention(width, settings.heads)
        self.feedforward = nn.Sequential(Linear(width, inner), nn.ReLU(), Linear(inner, width))
        self.dropout = nn.Dropout(settings.dropout)


class EncoderLayer(Layer):
    """A layer whose steps attend to the whole source."""

    def forward(self, steps: Tensor, allowed: Tensor) -> Tensor:
        """(batch, source_time, width) to the same; ``allowed`` (batch, 1, 1, source_time) bool is False at padding."""
        normal = self.attention_norm(steps)
        steps = steps + self.dropout(self.attention(normal, self.attention.keys_values(normal), allowed))
        return steps + self.dropout(self.feedforward(self.feedforward_norm(steps)))


class DecoderLayer(Layer):
    """A layer whose steps attend to the target so far, then to the encoded source."""

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        self.source_norm = nn.LayerNorm(settings.width)
        self.source_attention = Attention(settings.width, settings.heads)

    def forward(
        self, steps: Tensor, before: Tensor, so_far: Tensor, source: Tensor, allowed: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """(batch, steps, width) to the same, with all keys and values so far, and what looked at the source.

        ``before`` (batch, 2, heads, earlier, width / heads) are those of earlier steps, and ``so_far`` (steps, earlier
        + steps) bool is True where a step may look; ``source`` (batch, 2, heads, source_time, width / heads) are the
        source's, and ``allowed`` (batch, 1, 1, source_time) is False at padding. What looked at the source are the
        normalised steps (batch, steps, width).
        """
        normal = self.attention_norm(steps)
        keys_values = torch.cat([before, self.attention.keys_values(normal)], dim=3)
        steps = steps + self.dropout(self.attention(normal, keys_values, so_far))
        looking = self.source_norm(steps)
        steps = steps + self.dropout(self.source_attention(looking, source, allowed))
        return steps + self.dropout(self.feedforward(self.feedforward_norm(steps))), keys_values, looking


class TransformerEncoderDecoder(nn.Module):
    """Encoder and decoder over embedded symbols, which are projected to ``width`` on either side.

    Its learning rate is that of embeddings, some ten times as high as is usual; see ``Linear``.

    ``encode`` a source once, then ``decode`` whole targets (teacher forcing) or one step after another (search): the
    numbers are the same. State goes in and comes out.
    """

    def __init__(self, settings: Settings, input_size: int) -> None:
        super().__init__()
        self.settings = settings
        self.output_size = settings.width
        self.source, self.target = Linear(input_size, settings.width), Linear(input_size, settings.width)
        layers = settings.encoder_layers or settings.layers
        self.encoder = nn.ModuleList(EncoderLayer(settings) for _ in range(layers))
        self.decoder = nn.ModuleList(DecoderLayer(settings) for _ in range(settings.layers))
        self.encoder_norm, self.decoder_norm = nn.LayerNorm(settings.width), nn.LayerNorm(settings.width)

    def encode(self, source: Tensor, lengths: Tensor) -> tuple[Memory, State]:
        """Read ``source`` (batch, source_time, input_size) of ``lengths`` (batch,), and give the decoder's first state.

        That state has no steps yet.
        """
        real = mask(lengths, source.shape[1])
        steps = self._place(self.source(source), 0)
        for layer in self.encoder:
            steps = layer(steps, real[:, None, None])
        steps = self.encoder_norm(steps)
        decoder = cast(list[DecoderLayer], self.decoder)
        offered = torch.stack([layer.source_attention.keys_values(steps) for layer in decoder], dim=1)
        empty = offered[:, 0, :, :, :0]
        return Memory(offered, real), (empty,) * len(self.decoder)

    def decode(self, target: Tensor, state: State, memory: Memory) -> tuple[Tensor, State, Tensor]:
        """Read ``target`` (batch, steps, input_size) from ``state`` on.

        Gives outputs (batch, steps, output_size), the state after the last step, and the weights (batch, steps,
        source_time) with which the last layer looks at the source, their mean over heads: they sum to 1, and are 0 at
        padding. The outputs are normalised, then divided by sqrt(width): the numbers of the task's output layer are of
        that size, and would learn as much faster than the embeddings.
        """
        earlier, coming = state[0].shape[3], target.shape[1]
        so_far = torch.arange(earlier + coming) <= torch.arange(earlier, earlier + coming)[:, None]
        so_far, real = so_far.to(memory.mask.device), memory.mask[:, None, None]
        steps = self._place(self.target(target), earlier)
        after = []
        for layer, before, source in zip(self.decoder, state, memory.keys_values.unbind(1), strict=True):
            steps, keys_values, looking = layer(steps, before, so_far, source, real)
            after.append(keys_values)
        last = cast(DecoderLayer, self.decoder[-1])
        weights = last.source_attention.weights(looking, memory.keys_values[:, -1], real)
        return self.decoder_norm(steps) * self.output_size**-0.5, tuple(after), weights

    def _place(self, steps: Tensor, first: int) -> Tensor:
        return steps + positions(first, steps.shape[1], steps.shape[2]).to(steps)


def build(settings: Settings, input_size: int) -> TransformerEncoderDecoder:
    """Build the model for embeddings of ``input_size``, source and target alike."""
    return TransformerEncoderDecoder(settings, input_size)
