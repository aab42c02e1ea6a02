"""The figure that shows every experiment's headline metric at once: a dot a seed, a bar at the mean."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import altair as alt

ROW = 26  # pixels an experiment
LABEL = 150  # pixels at least for the experiments' names, so that panels align


@dataclass(frozen=True)
class Row:
    """An experiment in a panel; ``text`` is its figure as written, ``seeds`` maps a seed to its value."""

    experiment: str
    colour: str
    text: str
    mean: float
    seeds: dict[str, float]


def panel(rows: Sequence[Row], title: str, from_zero: bool, width: int = 150) -> Any:
    """Draw experiments that share a metric, one under the other; ``title`` names the metric and its unit."""
    order = [row.experiment for row in rows]
    colours = alt.Color("colour:N", scale=None)
    names = alt.Y("experiment:N", sort=order, title=None, axis=alt.Axis(minExtent=LABEL, grid=True))
    scale = alt.Scale(zero=from_zero, nice=True, padding=0 if from_zero else 8)
    values = alt.X(
        "value:Q",
        title=None,
        scale=scale,
        axis=alt.Axis(tickCount=4, format="~r", labelOverlap=True, labelSeparation=6, labelFlush=False),
    )
    shown = alt.Chart(_data(rows)).encode(y=names, color=colours)
    dots = (
        shown.mark_circle(size=55, opacity=0.75)
        .transform_filter("datum.seed")
        .encode(x=values, description="description:N")
    )
    means = shown.transform_filter("!datum.seed")
    bars = means.mark_tick(thickness=2.5, size=ROW * 0.65).encode(x=values, description="description:N")
    texts = means.mark_text(align="left", x=width + 10, fontSize=11, aria=False).encode(
        text="text:N", color=alt.value("var(--ink)")
    )
    return alt.layer(dots, bars, texts).properties(
        width=width, height=ROW * len(rows), title=alt.TitleParams(title, fontSize=11, fontWeight="normal", offset=6)
    )


def stack(panels: Sequence[Any], title: str) -> Any:
    """Put panels under each other, each with its own axis."""
    return alt.vconcat(*panels, spacing=18, title=alt.TitleParams(title, fontSize=13, offset=12)).resolve_scale(
        x="independent", y="independent", color="independent"
    )


def _data(rows: Sequence[Row]) -> alt.InlineData:
    values: list[dict[str, Any]] = []
    for row in rows:
        shared = {"experiment": row.experiment, "colour": row.colour, "text": row.text}
        for seed, value in row.seeds.items():
            values.append(
                {**shared, "seed": seed, "value": value, "description": f"{row.experiment}, {seed}: {value:.4g}"}
            )
        said = f"{row.experiment}, mean of {len(row.seeds)} seeds: {row.text}"
        values.append({**shared, "seed": "", "value": row.mean, "description": said})
    return alt.InlineData(values=values)
