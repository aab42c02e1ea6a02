"""Auto-encoder of audio segments: frames of any number to one vector and back (Chung et al. 2016; Kamper 2019).

The encoder is a bidirectional recurrence. Its last states in both directions become the vector by a linear layer; or a
linear layer makes a few features of every output, and the vector is what they are at some places at equal distances in
time, side by side. The latter lets a word never heard be put together from sounds that were. The decoder is a
recurrence that has nothing but the vector, the same at every step, and where in the segment the step is: so all that it
rebuilds has to be in the vector.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Literal

import pydantic
import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from stages.core.base.params import settings

CELLS: dict[str, Callable[..., nn.RNNBase]] = {"elman": nn.RNN, "gru": nn.GRU, "lstm": nn.LSTM}


@settings
class Settings:
    """Sizes of an auto-encoder.

    ``hidden`` units a direction of the encoder and ``decoder_hidden`` in the decoder (none: as many); the encoder has
    ``layers``, the decoder one; ``vector_size`` dimensions between them, divided among ``places`` in time (0: the
    vector is made of the last states). ``waves`` sines and as many cosines tell the decoder its place. ``dropout``
    falls between the encoder's layers and on what the vector is made of.
    """

    cell: Literal["elman", "gru", "lstm"] = "gru"
    hidden: int = pydantic.Field(gt=0)
    decoder_hidden: int | None = pydantic.Field(default=None, gt=0)
    layers: int = pydantic.Field(default=1, gt=0)
    vector_size: int = pydantic.Field(default=100, gt=0)
    places: int = pydantic.Field(default=0, ge=0)
    waves: int = pydantic.Field(default=8, gt=0)
    dropout: float = pydantic.Field(default=0.0, ge=0, lt=1)

    @pydantic.model_validator(mode="after")
    def _divides(self) -> Settings:
        if self.places and self.vector_size % self.places:
            raise ValueError(f"vector_size {self.vector_size} should be a multiple of places, {self.places}")
        return self


class SegmentAutoencoder(nn.Module):
    """``encode`` segments to vectors, ``decode`` vectors to segments of given lengths."""

    def __init__(self, settings: Settings, coefficients: int) -> None:
        super().__init__()
        self.waves, self.places = settings.waves, settings.places
        self.output_size = settings.vector_size
        decoder_hidden = settings.decoder_hidden or settings.hidden
        cell = CELLS[settings.cell]
        between = settings.dropout if settings.layers > 1 else 0.0
        self.encoder = cell(
            coefficients, settings.hidden, settings.layers, batch_first=True, bidirectional=True, dropout=between
        )
        self.dropout = nn.Dropout(settings.dropout)
        self.to_vector = nn.Linear(2 * settings.hidden, settings.vector_size // max(settings.places, 1))
        self.decoder = cell(settings.vector_size + 2 * settings.waves, decoder_hidden, batch_first=True)
        self.to_frames = nn.Linear(decoder_hidden, coefficients)

    def encode(self, frames: Tensor, lengths: Tensor) -> Tensor:
        """Give the vectors (batch, vector_size) of ``frames`` (batch, time, coefficients), ``lengths`` (batch,) real
        frames each; padding has no part in them.
        """
        packed = pack_padded_sequence(frames, lengths.cpu(), batch_first=True, enforce_sorted=False)
        outputs, last = self.encoder(packed)
        if self.places:
            padded, _ = pad_packed_sequence(outputs, batch_first=True)
            return read_at(self.to_vector(self.dropout(padded)), lengths, self.places).flatten(1)
        hidden = last[0] if isinstance(last, tuple) else last  # (layers x directions, batch, hidden)
        vectors: Tensor = self.to_vector(self.dropout(torch.cat([hidden[-2], hidden[-1]], dim=1)))
        return vectors

    def decode(self, vectors: Tensor, lengths: Tensor) -> Tensor:
        """Rebuild frames (batch, longest, coefficients) from ``vectors`` (batch, vector_size); those of a row after its
        first ``lengths`` (batch,) have no meaning.
        """
        places = positions(lengths, self.waves)
        repeated = vectors[:, None].expand(-1, places.shape[1], -1)
        outputs, _ = self.decoder(torch.cat([repeated, places], dim=2))
        frames: Tensor = self.to_frames(outputs)
        return frames


def read_at(values: Tensor, lengths: Tensor, places: int) -> Tensor:
    """Read ``values`` (batch, time, feature) at ``places`` from the first to the last of ``lengths`` (batch,) steps.

    Gives (batch, places, feature); between two steps values lie on a line.
    """
    last = (lengths - 1)[:, None].to(values.device)
    wanted = torch.linspace(0, 1, places, device=values.device) * last  # (batch, places)
    before = wanted.floor().long()
    after = torch.minimum(before + 1, last)
    share = (wanted - before)[..., None]
    first, second = (values.gather(1, at[..., None].expand(-1, -1, values.shape[2])) for at in (before, after))
    return first * (1 - share) + second * share


def positions(lengths: Tensor, waves: int) -> Tensor:
    """Say of each step where it is in its segment, from x = 0 at the first to x = 1 at the last frame.

    Gives (batch, longest, 2 waves): sin(pi n x) for n = 1 to ``waves``, then cos(pi n x).
    """
    steps = torch.arange(int(lengths.max()), device=lengths.device)
    places = steps / (lengths[:, None] - 1).clamp(min=1)
    angles = math.pi * places[..., None] * torch.arange(1, waves + 1, device=lengths.device)
    return torch.cat([angles.sin(), angles.cos()], dim=2)


def build(settings: Settings, coefficients: int) -> SegmentAutoencoder:
    """Build it for frames of so many ``coefficients``."""
    return SegmentAutoencoder(settings, coefficients)
