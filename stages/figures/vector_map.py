"""A map of vectors: the two directions in which they spread most (principal components; Pearson 1901).

Vectors are compared by their cosine, so that each is scaled to length 1 first.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import altair as alt
import numpy as np

Record = Mapping[str, Any]

MOST = 400  # records on a map
LABELS = 6  # texts that are written on a map
SIDE, HIGH = 330, 280  # pixels
APART = (110, 13)  # pixels across and down, one of which is between any two labels of texts
SHAPES = ("circle", "triangle-up")  # of words heard in training, and of those that were not
SERIES = 6  # colours


@dataclass(frozen=True)
class Plane:
    """Points (record, 2), and the shares (0 to 1) of the variance that lie along its two axes."""

    points: np.ndarray
    shares: tuple[float, float]


def fits(record: Record) -> bool:
    """Say whether ``record`` has a vector."""
    vector = record.get("vector")
    return isinstance(vector, list) and len(vector) > 1


def choose(records: Sequence[Record]) -> list[Record]:
    """Take at most ``MOST`` records with a vector, in the order of a hash of their id."""
    order = sorted(filter(fits, records), key=lambda record: hashlib.sha256(str(record["id"]).encode()).digest())
    return order[:MOST]


def project(vectors: np.ndarray) -> Plane:
    """Project ``vectors`` (record, dimension), scaled to length 1, on their first two principal axes.

    The largest entry of an axis is positive, which fixes its direction.
    """
    scaled = vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
    centred = scaled - scaled.mean(axis=0)
    _, lengths, axes = np.linalg.svd(centred, full_matrices=False)
    total = float((lengths**2).sum()) or 1.0
    chosen = axes[:2]
    signs = np.sign(chosen[np.arange(len(chosen)), np.abs(chosen).argmax(axis=1)])
    shares = (float(lengths[0] ** 2) / total, float(lengths[1] ** 2) / total)
    return Plane(centred @ (chosen * signs[:, None]).T, shares)


def words(records: Sequence[Record], unseen: Sequence[str]) -> tuple[Any, Plane] | None:
    """Draw spoken words, coloured by word; ``unseen`` ones, never heard in training, as triangles; None for few.

    The name of each word stands at the middle (by coordinate the median) of its points.
    """
    chosen = choose(records)
    if len(chosen) < 3:
        return None
    plane = project(np.array([record["vector"] for record in chosen], dtype=float))
    names = sorted({str(record["word"]) for record in chosen}, key=lambda word: (word in unseen, word))
    values = [
        {
            "x": round(float(x), 4),
            "y": round(float(y), 4),
            "word": str(record["word"]),
            "shape": SHAPES[str(record["word"]) in unseen],
            "said": f"{record['word']}{' (not heard in training)' if str(record['word']) in unseen else ''}",
        }
        for record, (x, y) in zip(chosen, plane.points, strict=True)
    ]
    colours = [f"var(--series-{place % SERIES + 1})" for place in range(len(names))]
    points = _points(values, plane).encode(
        color=alt.Color("word:N", scale=alt.Scale(domain=names, range=colours), legend=None),
        shape=alt.Shape("shape:N", scale=alt.Scale(domain=list(SHAPES), range=list(SHAPES)), legend=None),
    )
    middles = []
    for word in names:
        own = [(value["x"], value["y"]) for value in values if value["word"] == word]
        x, y = np.median(np.array(own), axis=0)
        middles.append({"x": round(float(x), 4), "y": round(float(y), 4), "text": word})
    return _layered(points, middles, spread=True), plane


def texts(records: Sequence[Record], text: Sequence[str]) -> tuple[Any, Plane] | None:
    """Draw texts as points that tell what they are, some of them labelled; None for few.

    ``text`` are those of ``records``, which have vectors. Labelled are those farthest out, in different directions.
    """
    if len(records) < 3:
        return None
    plane = project(np.array([record["vector"] for record in records], dtype=float))
    values = [
        {"x": round(float(x), 4), "y": round(float(y), 4), "said": told}
        for told, (x, y) in zip(text, plane.points, strict=True)
    ]
    points = _points(values, plane).encode(color=alt.value("var(--accent)"), shape=alt.value("circle"))
    labelled = []
    for place in outer(plane.points):
        x, y = (round(float(value), 4) for value in plane.points[place])
        third = extent(plane.points) / 3
        align = "left" if x < -third else "right" if x > third else "center"
        labelled.append({"x": x, "y": y, "text": _short(text[place]), "align": align})
    return _layered(points, labelled, spread=False), plane


def outer(points: np.ndarray) -> list[int]:
    """Take the place of the farthest of ``points`` (record, 2) in each of ``LABELS`` sectors around the middle.

    One whose label would lie on an earlier one's is left out.
    """
    unit = extent(points) / SIDE * 2  # a pixel's length
    angles = np.arctan2(points[:, 1], points[:, 0])
    sectors = np.minimum((angles + np.pi) / (2 * np.pi) * LABELS, LABELS - 1).astype(int)
    reach = np.linalg.norm(points, axis=1)
    found: list[int] = []
    for sector in range(LABELS):
        members = np.flatnonzero(sectors == sector)
        if len(members):
            place = int(members[reach[members].argmax()])
            gaps = [abs(points[place] - points[other]) / unit for other in found]
            if all(gap[0] >= APART[0] or gap[1] >= APART[1] for gap in gaps):
                found.append(place)
    return found


def extent(points: np.ndarray) -> float:
    """Give half the width that a map of ``points`` (record, 2) has, if a length is the same across and down."""
    across, down = np.abs(points).max(axis=0)
    return 1.08 * max(float(across), float(down) * SIDE / HIGH, 1e-9)


def _points(values: list[dict[str, Any]], plane: Plane) -> Any:
    width = extent(plane.points)
    across = alt.Scale(domain=[-width, width], nice=False)
    down = alt.Scale(domain=[-width * HIGH / SIDE, width * HIGH / SIDE], nice=False)
    return (
        alt.Chart(alt.InlineData(values=values))
        .mark_point(filled=True, size=34, opacity=0.65)
        .encode(x=alt.X("x:Q", scale=across, axis=None), y=alt.Y("y:Q", scale=down, axis=None), description="said:N")
    )


def _layered(points: Any, labels: list[dict[str, Any]], spread: bool) -> Any:
    """Write ``labels`` over ``points``, on a rim of the page's colour that keeps them readable.

    ``spread``: in the middle of their own points; else beside their point, away from the middle of the map, but so that
    they stay on it.
    """
    layers = [points]
    for label in labels:
        base = alt.Chart(alt.InlineData(values=[label])).encode(x="x:Q", y="y:Q", text="text:N")
        where: dict[str, Any] = {"aria": False, "align": "center", "fontWeight": "bold", "fontSize": 13}
        if not spread:
            where = {"aria": False, "align": label["align"], "dy": -8 if label["y"] > 0 else 14}
        if not spread:  # which point it is that is labelled
            layers.append(base.mark_point(aria=False, size=70, color="var(--ink)", strokeWidth=1.2))
        layers += [
            base.mark_text(stroke="var(--page)", strokeWidth=4, strokeJoin="round", color="var(--page)", **where),
            base.mark_text(color="var(--ink)", **where),
        ]
    return alt.layer(*layers).properties(width=SIDE, height=HIGH)


def _short(text: str) -> str:
    return text if len(text) <= 28 else f"{text[:27].rstrip()}…"
