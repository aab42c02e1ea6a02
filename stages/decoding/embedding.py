"""The vector of a recording, and a spoken search: which recordings that the model knows are nearest to it.

The search goes through an index of faiss over vectors of length 1 (``IndexFlatIP``, which compares with every one, so
that nothing near is missed); their inner product is the cosine. A method without vectors compares recordings one by
one instead.

Before that, vectors that are features at some ``places`` in time, side by side, can be whitened and blurred. Whitening,
as of the vectors of speakers (Garcia-Romero and Espy-Wilson 2011) and sentences (Su et al. 2021), is of a place's
features: over all places of the recordings that the model knows they get a mean of 0, equal variances, and no
correlation, so that a cosine is not what the few features say that vary most. Fitted once for all places, it has few
numbers, and holds for words never heard too; of whole vectors it would not. The blur is a Gaussian over neighbouring
places: a sound a little early or late is still near to itself.
"""

from __future__ import annotations

from typing import Any

import faiss
import numpy as np
import pydantic

from stages.core.base.errors import InputError
from stages.core.base.params import settings
from stages.core.learning.task import Batch

SHRINKAGE = 0.1  # of the covariance to that of equal variances: the features that vary least are noise


@settings
class Settings:
    """``nearest`` known recordings are named of each; ``digits`` after the point are kept of all figures.

    Vectors of so many ``places`` (0: as they are) are whitened, and blurred by so many places as a standard deviation.
    """

    nearest: int = pydantic.Field(default=5, ge=0)
    digits: int = pydantic.Field(default=5, gt=0)
    places: int = pydantic.Field(default=0, ge=0)
    blur: float = pydantic.Field(default=0.0, ge=0)

    @pydantic.model_validator(mode="after")
    def _blur_is_over_places(self) -> Settings:
        if self.blur and self.places < 2:
            raise ValueError(f"blur is over neighbouring places, and places is {self.places}; it should be 2 or more")
        return self


class Whitening:
    """Vectors (n, size) to vectors (n, size), fitted on ``known`` (n, size) as the module's docstring says.

    Raises InputError where ``size`` is no multiple of the places.
    """

    def __init__(self, known: np.ndarray, settings: Settings) -> None:
        size, places = known.shape[1], settings.places
        if size % places:
            raise InputError(f"decoder.places is {places}; vectors of {size} dimensions should be a multiple of it")
        features = known.reshape(-1, size // places).astype(np.float64)
        covariance = np.atleast_2d(np.cov(features.T))
        variances, axes = np.linalg.eigh(covariance)
        variances = variances + SHRINKAGE * variances.mean()
        apart = np.subtract.outer(np.arange(places), np.arange(places))
        weights = np.exp(-0.5 * (apart / settings.blur) ** 2) if settings.blur else np.eye(places)
        weights /= weights.sum(axis=1, keepdims=True)
        # All of it is one linear map of the whole vector.
        self.matrix = np.kron(weights.T, (axes / np.sqrt(variances)) @ axes.T).astype(np.float32)
        self.offset = (-np.tile(features.mean(axis=0), places) @ self.matrix).astype(np.float32)

    def __call__(self, vectors: np.ndarray) -> np.ndarray:
        """Whiten and blur."""
        changed: np.ndarray = vectors @ self.matrix + self.offset
        return changed


def decode(task: Any, batch: Batch, settings: Settings) -> list[dict[str, Any]]:
    """Give of each recording "vector", a list, or where there is none "distances", to each test recording in order.

    "nearest" are known recordings, the nearest first, each with "id", "word" and "cosine" or "distance". "distances"
    are left out where the task has no data at hand.
    """
    vectors = task.vectors(batch)
    if vectors is None:
        return _compare(task, batch, settings)
    known, queries = task.known_vectors().cpu().numpy(), vectors.cpu().numpy()
    if settings.places:
        whitening = Whitening(known, settings)
        known, queries = whitening(known), whitening(queries)
    scores, places = search(build_index(known), queries, min(settings.nearest, len(task.known)))
    rows = zip(queries.tolist(), scores.tolist(), places.tolist(), strict=True)
    return [
        {
            "vector": [round(value, settings.digits) for value in vector],
            "nearest": _name(task, near, cosines, "cosine", settings),
        }
        for vector, cosines, near in rows
    ]


def _compare(task: Any, batch: Batch, settings: Settings) -> list[dict[str, Any]]:
    known = task.distances(batch, task.known)
    order = known.argsort(axis=1, kind="stable")[:, : settings.nearest]
    found: list[dict[str, Any]] = [
        {"nearest": _name(task, near.tolist(), row[near].tolist(), "distance", settings)}
        for row, near in zip(known, order, strict=True)
    ]
    if others := task.test_recordings():
        for record, row in zip(found, task.distances(batch, others).tolist(), strict=True):
            record["distances"] = [round(distance, settings.digits) for distance in row]
    return found


def _name(task: Any, places: list[int], scores: list[float], how: str, settings: Settings) -> list[dict[str, Any]]:
    chosen = [task.known[place] for place in places]
    return [
        {"id": example["id"], "word": example["word"], how: round(score, settings.digits)}
        for example, score in zip(chosen, scores, strict=True)
    ]


def build_index(vectors: np.ndarray) -> Any:
    """Build a faiss index of ``vectors`` (n, size), each scaled to length 1; raises InputError where one is 0."""
    faiss.omp_set_num_threads(1)
    index = faiss.IndexFlatIP(vectors.shape[1])
    index.add(unit(vectors))
    return index


def search(index: Any, queries: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Find the ``count`` vectors nearest to each of ``queries`` (q, size): cosines and places, (q, count) each."""
    if not count:
        return np.zeros((len(queries), 0)), np.zeros((len(queries), 0), dtype=np.int64)
    found: tuple[np.ndarray, np.ndarray] = index.search(unit(queries), count)
    return found


def unit(vectors: np.ndarray) -> np.ndarray:
    """Scale ``vectors`` (n, size) to length 1, as float32; raises InputError where one is 0 or not finite."""
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    if not (np.isfinite(lengths) & (lengths > 0)).all():
        raise InputError("a vector is 0 or not finite, so it has no direction to compare; the model should be trained")
    return np.ascontiguousarray(vectors / lengths, dtype=np.float32)
