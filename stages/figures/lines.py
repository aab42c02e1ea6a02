"""Lines over bands, such as a score by length: a line an experiment."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import altair as alt


def chart(
    points: Mapping[str, Mapping[str, float]], order: Sequence[str], titles: tuple[str, str], colours: Mapping[str, str]
) -> Any:
    """Draw what each experiment has at each band, in its colour; None where no experiment has two bands.

    ``points`` are values by experiment and band; ``order`` is that of the bands, whose names may have several lines;
    ``titles`` are those of the bands' axis and of the values'.
    """
    if not any(len(values) > 1 for values in points.values()):
        return None
    names = [name for name, values in points.items() if values]
    values = [
        {
            "experiment": name,
            "band": band,
            "value": round(value, 3),
            "said": f"{name}, {band.replace(chr(10), ', ')}: {value:.4g}",
        }
        for name in names
        for band, value in points[name].items()
    ]
    bands = [band for band in order if any(band in points[name] for name in names)]
    labels = alt.Axis(labelAngle=0, labelExpr="split(datum.value, '\\n')", labelOverlap=False)
    encoded = alt.Chart(alt.InlineData(values=values)).encode(
        x=alt.X("band:O", sort=bands, title=titles[0], axis=labels),
        y=alt.Y("value:Q", title=titles[1]),
        color=alt.Color(
            "experiment:N",
            sort=names,
            scale=alt.Scale(domain=names, range=[colours[name] for name in names]),
        ),
        strokeDash=alt.StrokeDash("experiment:N", sort=names, scale=alt.Scale(domain=names)),
        description="said:N",
    )
    return (encoded.mark_line(strokeWidth=1.8) + encoded.mark_point(filled=True, size=28)).properties(
        width=330, height=200
    )
