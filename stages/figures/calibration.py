"""Whether a confidence means what it says: of the symbols heard with confidence p, is the share p right?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import altair as alt
from rapidfuzz.distance import Levenshtein

Records = Sequence[Mapping[str, Any]]

BINS = 10
FEWEST = 5  # symbols of a bin, for a point


def told(records: Records) -> list[tuple[float, bool]]:
    """Give each heard symbol's confidence, and whether it was said, by an alignment at the least number of edits."""
    pairs: list[tuple[float, bool]] = []
    for record in records:
        right = [False] * len(record["prediction"])
        for block in Levenshtein.opcodes(record["symbols"], record["prediction"]):
            if block.tag == "equal":
                right[block.dest_start : block.dest_end] = [True] * (block.dest_end - block.dest_start)
        pairs += zip(record["confidence"], right, strict=True)
    return pairs


def bins(records: Records) -> list[tuple[float, float, int]]:
    """Give mean confidence, share right and number of symbols of each of ``BINS`` even bins that has any."""
    rows: list[list[tuple[float, bool]]] = [[] for _ in range(BINS)]
    for confidence, right in told(records):
        rows[min(int(confidence * BINS), BINS - 1)].append((confidence, right))
    return [
        (sum(c for c, _ in row) / len(row), sum(right for _, right in row) / len(row), len(row)) for row in rows if row
    ]


def chart(by_experiment: Mapping[str, Records], colours: Mapping[str, str]) -> Any:
    """Draw the share right against confidence, the larger a point the more symbols; None where no point is left."""
    values = [
        {
            "experiment": key,
            "confidence": round(mean, 4),
            "right": round(share, 4),
            "symbols": count,
            "said": f"{key}: confidence {100 * mean:.0f} %, right {100 * share:.0f} % ({count:,} symbols)",
        }
        for key, records in by_experiment.items()
        for mean, share, count in bins(records)
        if count >= FEWEST
    ]
    if not values:
        return None
    names = list(by_experiment)
    even = alt.Chart(alt.InlineData(values=[{"x": 0, "y": 0}, {"x": 1, "y": 1}])).mark_line(
        color="var(--muted)", strokeDash=[4, 3], strokeWidth=1, aria=False
    )
    line = even.encode(x=alt.X("x:Q"), y=alt.Y("y:Q"))
    points = (
        alt.Chart(alt.InlineData(values=values))
        .mark_point(filled=True, opacity=0.8)
        .encode(
            x=alt.X("confidence:Q", title="confidence", scale=alt.Scale(domain=[0, 1])),
            y=alt.Y("right:Q", title="share right", scale=alt.Scale(domain=[0, 1])),
            description="said:N",
            size=alt.Size("symbols:Q", scale=alt.Scale(type="log", range=[20, 260]), legend=None),
            color=alt.Color(
                "experiment:N",
                sort=names,
                scale=alt.Scale(domain=names, range=[colours[name] for name in names]),
                # Above the drawing, so that a narrow page need not be moved sideways to read it.
                legend=alt.Legend(columns=1, labelLimit=300, symbolType="circle"),
            ),
        )
    )
    return (line + points).properties(width=230, height=230)
