"""How well vectors of spoken words, or distances between them, tell same from different words (Carlin et al. 2011).

Three questions to recordings of which nothing is known but how near any two are:

- same or different? All pairs are put in order of nearness; the average precision of those of the same word among them.
- each recording as a query: the others in order of nearness; the mean over the queries of the average precision.
- a spoken search: the share of the same word among the 10 recordings nearest to a query, found by an index of faiss.

Pairs equally near count as one step of the ranking, as scikit-learn has it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import faiss
import numpy as np

from stages.core.base.errors import InputError
from stages.core.base.params import settings

FOUND = 10  # recordings that a search shows


@settings
class Settings:
    """Nothing to set."""


def score(records: list[dict[str, Any]], settings: Settings) -> dict[str, float]:
    """Give "average_precision", "mean_average_precision" and "precision_at_10" in percent, then the same of the
    recordings of unseen words among themselves, "unseen_average_precision" and so on.

    A record has "word", "unseen" (whether training had no recording of that word), and "vector", of which the cosine is
    compared, or "distances" to all records in order. Raises InputError where a field is missing, records do not fit, or
    there is no pair of the same word or none of different ones.
    """
    for record in records:
        for field in ("word", "unseen"):
            if field not in record:
                raise InputError(f"prediction {record.get('id')} has no field {field!r}, which same_different compares")
    unseen = [place for place, record in enumerate(records) if record["unseen"]]
    everything = _measure(records, list(range(len(records))), "recordings")
    among_unseen = _measure(records, unseen, "recordings of unseen words")
    return everything | {f"unseen_{name}": value for name, value in among_unseen.items()}


def _measure(records: list[dict[str, Any]], chosen: list[int], what: str) -> dict[str, float]:
    """Measure the records at the places ``chosen`` among themselves."""
    words = np.array([records[place]["word"] for place in chosen])
    same = words[:, None] == words[None]
    first, second = np.triu_indices(len(words), 1)
    pairs = same[first, second]
    if not pairs.any() or pairs.all():
        raise InputError(f"among {len(words)} {what} there should be pairs of the same word and of different words")
    nearness, found = compare(records, chosen)
    hits = same[np.arange(len(words))[:, None], found]
    return {
        "average_precision": average_precision(nearness[first, second], pairs),
        "mean_average_precision": mean_average_precision(nearness, same),
        "precision_at_10": 100 * float(hits.mean()),
    }


def tallies(records: list[dict[str, Any]], settings: Settings) -> dict[str, Callable[[np.ndarray], np.ndarray]]:
    """Give "average_precision" and "unseen_average_precision" from how often each recording counts.

    That is a function from (draws, recordings) to (draws,). A recording drawn twice is no pair with itself.
    """
    unseen = [place for place, record in enumerate(records) if record["unseen"]]
    return {
        "average_precision": _by_recording(records, list(range(len(records)))),
        "unseen_average_precision": _by_recording(records, unseen),
    }


def _by_recording(records: list[dict[str, Any]], chosen: list[int]) -> Callable[[np.ndarray], np.ndarray]:
    words = np.array([records[place]["word"] for place in chosen])
    first, second = np.triu_indices(len(words), 1)
    nearness = compare(records, chosen)[0][first, second]
    return lambda weights: weighted_average_precision(
        nearness, words[first] == words[second], first, second, weights[:, chosen]
    )


def weighted_average_precision(
    nearness: np.ndarray, relevant: np.ndarray, first: np.ndarray, second: np.ndarray, weights: np.ndarray
) -> np.ndarray:
    """As ``average_precision`` of pairs, each counted as often as the product of its recordings' ``weights``.

    Pair by pair (pairs,): ``nearness``, ``relevant``, and its recordings ``first`` and ``second``, places in
    ``weights`` (draws, recordings). Gives (draws,); NaN where no relevant pair counts.
    """
    # One pass over the ranking for all draws at once: a cumulative sum a draw would take ten times as long.
    order = np.argsort(-nearness, kind="stable")
    ranked = nearness[order]
    ends = np.append(ranked[1:] != ranked[:-1], True)  # whether a pair is its step's last
    counts = list(np.ascontiguousarray(weights.T, dtype=np.float64))  # by recording: (draws,)
    so_far, found, added, total, pair = np.zeros((5, len(weights)))
    adds = False
    columns = (first[order], second[order], relevant[order], ends)
    for one, other, is_relevant, is_end in zip(*(column.tolist() for column in columns), strict=True):
        np.multiply(counts[one], counts[other], out=pair)
        so_far += pair
        if is_relevant:
            added += pair
            adds = True
        if is_end and adds:
            found += added
            total += added * found / np.maximum(so_far, 1)
            added[:] = 0
            adds = False
    with np.errstate(invalid="ignore"):
        precision: np.ndarray = 100 * total / found
    return precision


def compare(records: list[dict[str, Any]], chosen: list[int]) -> tuple[np.ndarray, np.ndarray]:
    """Give the nearness (n, n) of the ``chosen`` records, higher is nearer, and the places (n, 10) of the 10 others
    nearest to each (fewer where there are fewer).
    """
    count = min(FOUND, len(chosen) - 1)
    if all("vector" in records[place] for place in chosen):
        vectors = unit(np.array([records[place]["vector"] for place in chosen]))
        return vectors @ vectors.T, search(vectors, count)
    for place in chosen:
        if len(records[place].get("distances", [])) != len(records):
            raise InputError(
                f"prediction {records[place].get('id')} should have a vector, or distances to all {len(records)}"
            )
    distances = np.array([[records[row]["distances"][column] for column in chosen] for row in chosen])
    others = np.where(np.eye(len(chosen), dtype=bool), np.inf, distances)
    return -distances, others.argsort(axis=1, kind="stable")[:, :count]


def search(vectors: np.ndarray, count: int) -> np.ndarray:
    """Find the places (n, count) of the others nearest to each of ``vectors`` (n, size) of length 1."""
    faiss.omp_set_num_threads(1)
    index = faiss.IndexFlatIP(vectors.shape[1])
    index.add(vectors.astype(np.float32))
    _, places = index.search(vectors.astype(np.float32), count + 1)
    # A recording finds itself, most often first; where so many are equal to it that it does not, the last one goes.
    rows = [[place for place in row if place != query][:count] for query, row in enumerate(places.tolist())]
    return np.array(rows)


def unit(vectors: np.ndarray) -> np.ndarray:
    """Scale ``vectors`` (n, size) to length 1; one of zeros stays, and is near to none."""
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    scaled: np.ndarray = vectors / np.where(lengths, lengths, 1)
    return scaled


def average_precision(nearness: np.ndarray, relevant: np.ndarray) -> float:
    """Give the average precision, in percent, of ``relevant`` (n,) bool in order of falling ``nearness`` (n,).

    That is the sum over the ranking's steps of the precision so far times the share of the relevant that the step adds;
    equally near ones are one step.
    """
    order = np.argsort(-nearness, kind="stable")
    hits, ranked = np.cumsum(relevant[order]), nearness[order]
    ends = np.flatnonzero(np.append(ranked[1:] != ranked[:-1], True))  # of each step
    found = hits[ends]
    added = np.diff(found, prepend=0)
    return 100 * float((added * found / (ends + 1)).sum() / found[-1])


def mean_average_precision(nearness: np.ndarray, same: np.ndarray) -> float:
    """Give the mean, in percent, over all queries of the average precision of the other recordings of their word.

    ``nearness`` and ``same`` (n, n), the diagonal has no part. A query whose word no other recording has is left out.
    """
    others = ~np.eye(len(same), dtype=bool)
    figures = [
        average_precision(nearness[query, others[query]], same[query, others[query]])
        for query in range(len(same))
        if same[query].sum() > 1
    ]
    return float(np.mean(figures))
