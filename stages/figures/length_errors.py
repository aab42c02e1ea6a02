"""How errors grow with the length of what was said: a line an experiment."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

import altair as alt
from rapidfuzz.distance import Levenshtein

Records = Sequence[Mapping[str, Any]]

FEWEST = 5  # test examples of a length, for a point


def rates(records: Records) -> dict[int, float]:
    """Give the token error rate in percent by the number of symbols said, where ``FEWEST`` examples have it."""
    edits: defaultdict[int, list[int]] = defaultdict(list)
    for record in records:
        edits[len(record["symbols"])].append(Levenshtein.distance(record["symbols"], record["prediction"]))
    return {
        length: 100 * sum(found) / (length * len(found))
        for length, found in sorted(edits.items())
        if length and len(found) >= FEWEST
    }


def chart(by_experiment: Mapping[str, Records], colours: Mapping[str, str]) -> Any:
    """Draw the rates of each experiment, in its colour, by length; None where there are not two lengths."""
    values = [
        {"experiment": key, "length": length, "rate": round(rate, 3)}
        for key, records in by_experiment.items()
        for length, rate in rates(records).items()
    ]
    if len({value["length"] for value in values}) < 2:
        return None
    names = list(by_experiment)
    encoded = alt.Chart(alt.InlineData(values=values)).encode(
        x=alt.X("length:O", title="symbols said", axis=alt.Axis(labelAngle=0)),
        y=alt.Y("rate:Q", title="token error rate (%)"),
        color=alt.Color(
            "experiment:N",
            sort=names,
            scale=alt.Scale(domain=names, range=[colours[name] for name in names]),
            legend=alt.Legend(title=None, labelColor="var(--ink)", labelLimit=300, symbolType="stroke"),
        ),
        strokeDash=alt.StrokeDash("experiment:N", sort=names, legend=None),
    )
    return (encoded.mark_line(strokeWidth=1.8) + encoded.mark_point(filled=True, size=28)).properties(
        width=420, height=190
    )
