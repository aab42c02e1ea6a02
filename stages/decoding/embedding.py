"""The vector of a recording, and a spoken search: which recordings that the model knows are nearest to it.

The search goes through an index of faiss over vectors of length 1 (``IndexFlatIP``, which compares with every one, so
that nothing near is missed); their inner product is the cosine. A method without vectors compares recordings one by
one instead.
"""

from __future__ import annotations

from typing import Any

import faiss
import numpy as np
import pydantic

from stages.core.errors import InputError
from stages.core.params import settings
from stages.core.task import Batch


@settings
class Settings:
    """``nearest`` known recordings are named of each; ``digits`` after the point are kept of all figures."""

    nearest: int = pydantic.Field(default=5, ge=0)
    digits: int = pydantic.Field(default=5, gt=0)


def decode(task: Any, batch: Batch, settings: Settings) -> list[dict[str, Any]]:
    """Give of each recording "vector", a list, or where there is none "distances", to each test recording in order.

    "nearest" are known recordings, the nearest first, each with "id", "word" and "cosine" or "distance". "distances"
    are left out where the task has no data at hand.
    """
    vectors = task.vectors(batch)
    if vectors is None:
        return _compare(task, batch, settings)
    index = build_index(task.known_vectors().cpu().numpy())
    scores, places = search(index, vectors.cpu().numpy(), min(settings.nearest, len(task.known)))
    rows = zip(vectors.tolist(), scores.tolist(), places.tolist(), strict=True)
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
