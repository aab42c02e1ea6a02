"""Learning curves: loss and other validation scores against epochs, a thin line a seed, dashed for training."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import altair as alt

LABEL = 38  # pixels at least for the numbers at an axis, so that charts align
LOG_FROM = 20  # a loss that falls by more than this factor is drawn on a logarithmic axis
FEW = 6  # epochs, each of which is named on its axis


@dataclass(frozen=True)
class Point:
    """A value at the end of an epoch (counted from 1); ``series`` is a column of the curves file."""

    epoch: int
    seed: str
    series: str
    value: float


@dataclass(frozen=True)
class LossAxis:
    """The loss axis that the experiments on one data set share: its range in nats, and whether it is logarithmic."""

    low: float
    high: float
    logarithmic: bool


def read(rows: Iterable[Mapping[str, str]]) -> list[Point]:
    """Take training loss and validation scores from a curves file; an empty cell, NaN or infinity is left out.

    Raises ValueError where a cell is no number, KeyError where epoch or seed is missing.
    """
    points = [
        Point(int(row["epoch"]), row["seed"], series, float(value))
        for row in rows
        for series, value in row.items()
        if value and (series == "training_loss" or series.startswith("validation_"))
    ]
    return [point for point in points if math.isfinite(point.value)]


def loss_axis(curves: Iterable[Sequence[Point]]) -> LossAxis:
    """Give the axis that holds the losses of all ``curves``."""
    losses = [point.value for points in curves for point in points if point.series.endswith("_loss")] or [0.0, 1.0]
    low, high = min(losses), max(losses)
    logarithmic = low > 0 and high / low > LOG_FROM
    return LossAxis(low if logarithmic else min(low, 0.0), high, logarithmic)


def loss_chart(points: Sequence[Point], colour: str, axis: LossAxis) -> Any:
    """Draw an experiment's loss on training and validation data; epochs run to the right."""
    return _losses(points, colour, axis, [], width=225, height=130)


def small(points: Sequence[Point], colour: str, axis: LossAxis, title: str) -> Any:
    """Draw an experiment's loss as one of many."""
    return _losses(points, colour, axis, [title], width=140, height=80)


def _losses(points: Sequence[Point], colour: str, axis: LossAxis, heading: list[str], width: int, height: int) -> Any:
    losses = [point for point in points if point.series.endswith("_loss")]
    scale = alt.Scale(type="log" if axis.logarithmic else "linear", domain=[axis.low, axis.high], nice=True)
    if not axis.logarithmic:
        return _lines(losses, colour, [*heading, "loss (nats)"], scale, width, height)
    powers = range(math.floor(math.log10(axis.low)), math.ceil(math.log10(axis.high)) + 1)
    ticks = [10.0**power for power in powers[:: 1 + len(powers) // 6]]
    return _lines(losses, colour, [*heading, "loss (nats, log scale)"], scale, width, height, ticks)


def chart(points: Sequence[Point], colour: str, axis: LossAxis) -> Any:
    """Draw an experiment's loss and, under it, each further validation score."""
    panels = [loss_chart(points, colour, axis)]
    for series in dict.fromkeys(point.series for point in points if not point.series.endswith("_loss")):
        mine = [point for point in points if point.series == series]
        panels.append(_lines(mine, colour, [series.replace("_", " ")], alt.Scale(zero=False), width=225, height=70))
    return alt.vconcat(*panels, spacing=8)


def grid(charts: Sequence[Any], title: str, columns: int = 5) -> Any:
    """Put the charts of several experiments side by side."""
    heading = alt.TitleParams(title, fontSize=13, offset=12)
    drawn = alt.concat(*charts, columns=columns, spacing=20, title=heading)
    return drawn.resolve_scale(x="independent", y="independent")


def _lines(
    points: Sequence[Point],
    colour: str,
    heading: list[str],
    scale: alt.Scale,
    width: int,
    height: int,
    ticks: Sequence[float] | None = None,
) -> Any:
    lines: dict[tuple[str, str], list[Point]] = {}
    for point in points:
        lines.setdefault((point.series, point.seed), []).append(point)
    data = [
        {
            "epoch": point.epoch,
            "value": point.value,
            "said": _said(lines[point.series, point.seed]),
            "line": f"{point.series.replace('_', ' ')}, {point.seed.replace('_', ' ')}",
            "training": point.series == "training_loss",
        }
        for point in points
    ]
    numbers = sorted({point.epoch for point in points})
    few = len(numbers) <= FEW  # ticks of its own choice may lie between two epochs
    epochs = alt.Axis(values=numbers if few else alt.Undefined, tickCount=5, format="d", labelFlush=False)
    values = alt.Axis(tickCount=4, format="~r", minExtent=LABEL, values=ticks or alt.Undefined)
    seeds = alt.Chart(alt.InlineData(values=data)).mark_line(
        color=colour, strokeWidth=1.3, point=alt.OverlayMarkDef(color=colour, size=12) if _single(points) else False
    )
    return seeds.encode(
        x=alt.X("epoch:Q", title="epoch", scale=alt.Scale(zero=False, nice=False), axis=epochs),
        y=alt.Y("value:Q", title=None, scale=scale, axis=values),
        detail="line:N",
        strokeDash=alt.condition("datum.training", alt.value([3, 3]), alt.value([1, 0])),
        opacity=alt.condition("datum.training", alt.value(0.6), alt.value(0.9)),
        description="said:N",
    ).properties(width=width, height=height, title=_title(heading))


def _said(line: Sequence[Point]) -> str:
    """Say of a line where it begins, turns and ends."""
    order = sorted(line, key=lambda point: point.epoch)
    least, most = (chosen(order, key=lambda point: point.value) for chosen in (min, max))
    marks = {"first": order[0], "lowest": least, "highest": most, "last": order[-1]}
    values = ", ".join(f"{name} {point.value:.4g} (epoch {point.epoch})" for name, point in marks.items())
    return f"{order[0].series.replace('_', ' ')}, {order[0].seed.replace('_', ' ')}: {values}"


def _title(lines: list[str]) -> alt.TitleParams:
    """Set the last line plain, and what is before it as a heading."""
    if len(lines) == 1:
        return alt.TitleParams(lines[0], offset=6, fontSize=11, fontWeight="normal")
    return alt.TitleParams(lines[0], subtitle=lines[1], subtitleColor="var(--ink)", subtitleFontSize=11, offset=6)


def _single(points: Sequence[Point]) -> bool:
    """Say whether all points are of one epoch, where lines would not show."""
    return len({point.epoch for point in points}) < 2
