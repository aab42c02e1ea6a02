"""The simplest vector of a segment: the mean of its frames, which knows nothing of their order."""

import numpy as np

from stages.core.base.params import Seeded, settings
from stages.core.learning.task import Peer

Training = Seeded


@settings
class Settings:
    """Nothing to set."""


class MeanPooling(Peer):
    """Nothing is fitted; the mean of each coefficient is the vector."""

    def fit(self, inputs: list[np.ndarray], targets: list[str]) -> None:
        """Do nothing: there is nothing to fit."""

    def vectors(self, segments: list[np.ndarray]) -> np.ndarray:
        """Give the vectors (segments, coefficients) of ``segments``, each (frames, coefficients)."""
        return np.stack([frames.mean(axis=0) for frames in segments])

    def count(self) -> int:
        """Count nothing."""
        return 0

    def dump(self) -> bytes:
        """Give a byte, since a tensor must hold something."""
        return b"\0"

    def restore(self, content: bytes) -> None:
        """Take nothing."""


def build(settings: Settings, size: int) -> MeanPooling:
    """Build it; frames of any ``size`` will do."""
    return MeanPooling()
