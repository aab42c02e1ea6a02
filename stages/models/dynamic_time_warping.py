"""Dynamic time warping: how far apart two segments are when each is stretched to fit the other (Sakoe, Chiba 1978).

There are no vectors, so a search compares a query with every recording, and each comparison takes as many steps as the
product of both lengths. The alignment's cost adds up distances between frames along the best path, and is divided by
the sum of both lengths, the weight that paths have in Sakoe and Chiba's symmetric form; else longer words would be
farther from all. dtaidistance does it, in C, and knows Euclidean distances alone. Between frames of length 1, the
square of that, |a - b|^2 = 2 (1 - cos(a, b)), is twice the cosine distance: so that is what "cosine" adds up.
"""

from typing import Literal

import numpy as np
from dtaidistance import dtw_ndim

from stages.core.base.params import Seeded, settings
from stages.core.learning.task import Peer

Training = Seeded


@settings
class Settings:
    """``distance`` between two frames."""

    distance: Literal["cosine", "euclidean"] = "cosine"


class DynamicTimeWarping(Peer):
    """Nothing is fitted; segments are compared as they are."""

    def __init__(self, settings: Settings) -> None:
        super().__init__()
        self.settings = settings

    def fit(self, inputs: list[np.ndarray], targets: list[str]) -> None:
        """Do nothing: there is nothing to fit."""

    def distances(self, queries: list[np.ndarray], others: list[np.ndarray]) -> np.ndarray:
        """Give the distances (queries, others) between segments, each (frames, coefficients), a mean a frame.

        A frame of zeros alone has no direction; its cosine with all others counts as 0.5.
        """
        return self.compare(self.prepare(queries), self.prepare(others))

    def compare(self, queries: list[np.ndarray], others: list[np.ndarray]) -> np.ndarray:
        """Give the same distances between segments that ``prepare`` made, as a search does that prepares them once."""
        euclidean = self.settings.distance == "euclidean"
        segments = [*queries, *others]
        shape = len(queries), len(others)
        between = (0, len(queries)), (len(queries), len(segments))  # rows and columns of the matrix of all pairs
        found = dtw_ndim.distance_matrix_fast(
            segments,
            segments[0].shape[1],
            block=between,
            compact=True,
            parallel=False,
            inner_dist="euclidean" if euclidean else "squared euclidean",
        )
        costs = np.asarray(found).reshape(shape)
        if not euclidean:
            costs = costs**2 / 2  # dtaidistance gives the root of the sum of squares
        lengths = np.add.outer(list(map(len, queries)), list(map(len, others)))
        return costs / lengths

    def prepare(self, segments: list[np.ndarray]) -> list[np.ndarray]:
        """Give segments as dtaidistance reads them; for the cosine each frame has length 1."""
        doubled = [np.ascontiguousarray(frames, dtype=np.float64) for frames in segments]
        if self.settings.distance == "euclidean":
            return doubled
        lengths = [np.linalg.norm(frames, axis=1, keepdims=True) for frames in doubled]
        return [frames / np.where(length, length, 1) for frames, length in zip(doubled, lengths, strict=True)]

    def count(self) -> int:
        """Count nothing."""
        return 0

    def dump(self) -> bytes:
        """Give a byte, since a tensor must hold something."""
        return b"\0"

    def restore(self, content: bytes) -> None:
        """Take nothing."""


def build(settings: Settings, size: int) -> DynamicTimeWarping:
    """Build it; frames of any ``size`` will do."""
    return DynamicTimeWarping(settings)
