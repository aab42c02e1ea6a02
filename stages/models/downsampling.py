"""A vector of a segment without learning: a few frames at equal distances in time, side by side.

Downsampling (Levin et al. 2013, section 3.1; Kamper 2019, section 3) keeps the order of what is said, but not how its
parts are drawn out.
"""

import numpy as np
import pydantic

from stages.core.base.params import Seeded, settings
from stages.core.learning.task import Peer

Training = Seeded


@settings
class Settings:
    """``frames`` that are kept of a segment."""

    frames: int = pydantic.Field(default=10, gt=1)


class Downsampling(Peer):
    """Nothing is fitted; segments are read at the same number of places each, between frames where need be."""

    def __init__(self, settings: Settings) -> None:
        super().__init__()
        self.settings = settings

    def fit(self, inputs: list[np.ndarray], targets: list[str]) -> None:
        """Do nothing: there is nothing to fit."""

    def vectors(self, segments: list[np.ndarray]) -> np.ndarray:
        """Give the vectors (segments, kept frames x coefficients) of ``segments``, each (frames, coefficients)."""
        return np.stack([downsample(frames, self.settings.frames).ravel() for frames in segments])

    def count(self) -> int:
        """Count nothing."""
        return 0

    def dump(self) -> bytes:
        """Give a byte, since a tensor must hold something."""
        return b"\0"

    def restore(self, content: bytes) -> None:
        """Take nothing."""


def downsample(frames: np.ndarray, count: int) -> np.ndarray:
    """Read (frames, coefficients) at ``count`` places from the first to the last frame, on lines between frames."""
    places = np.linspace(0, len(frames) - 1, count)
    before = np.floor(places).astype(int)
    after = np.minimum(before + 1, len(frames) - 1)
    share = (places - before)[:, None]
    return frames[before] * (1 - share) + frames[after] * share


def build(settings: Settings, size: int) -> Downsampling:
    """Build it; frames of any ``size`` will do."""
    return Downsampling(settings)
