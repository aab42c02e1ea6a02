"""Charts of the notes' worked examples: what ``data`` of data/demonstrations/<key>.json has to show."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import altair as alt

WIDTH, HEIGHT = 330, 200  # pixels
SERIES = 6  # colours
FEW = 12  # steps, each of which is named on its axis
DASHES = ([1, 0], [5, 3])  # of the first six lines, and of those after them
Data = Mapping[str, Any]
Chart = tuple[str, Any]


def charts(key: str, content: Mapping[str, Any]) -> list[Chart]:
    """Give the charts of the demonstration ``key``, each after its caption; none where tables say all."""
    draw = DRAWN.get(key)
    return draw(content["data"]) if draw else []


def lines(points: Mapping[str, Sequence[Sequence[float]]], titles: tuple[str, str]) -> Any:
    """Draw a line through the [x, y] of each name; ``titles`` are those of the two axes."""
    names = list(points)
    values = [
        {"name": name, "x": x, "y": y, "said": f"{name}, {x:g}: {y:.3g}"} for name in names for x, y in points[name]
    ]
    steps = sorted({x for of_name in points.values() for x, _ in of_name})
    axis = alt.Axis(values=steps, format="~g") if len(steps) <= FEW else alt.Axis()
    colours = [f"var(--series-{place % SERIES + 1})" for place in range(len(names))]
    dashes = [DASHES[place // SERIES % len(DASHES)] for place in range(len(names))]
    encoded = alt.Chart(alt.InlineData(values=values)).encode(
        x=alt.X("x:Q", title=titles[0], scale=alt.Scale(zero=False, nice=False), axis=axis),
        y=alt.Y("y:Q", title=titles[1]),
        color=alt.Color("name:N", sort=names, scale=alt.Scale(domain=names, range=colours)),
        strokeDash=alt.StrokeDash("name:N", sort=names, scale=alt.Scale(domain=names, range=dashes)),
        description="said:N",
    )
    return encoded.mark_line(strokeWidth=1.8).properties(width=WIDTH, height=HEIGHT)


def grid(
    values: Sequence[Sequence[float]], rows: Sequence[str], columns: Sequence[str], titles: tuple[str, str]
) -> Any:
    """Draw shares from 0 to 1 (row, column) as squares, their percent written on them."""
    cells = [
        {
            "row": row,
            "column": column,
            "value": value,
            "percent": f"{100 * value:.0f}",
            "said": f"{row}, {column}: {value:.1%}",
        }
        for row, of_row in zip(rows, values, strict=True)
        for column, value in zip(columns, of_row, strict=True)
    ]
    base = alt.Chart(alt.InlineData(values=cells)).encode(
        x=alt.X("column:N", sort=list(columns), title=titles[0], axis=alt.Axis(labelAngle=0)),
        y=alt.Y("row:N", sort=list(rows), title=titles[1], axis=alt.Axis(labelLimit=180)),
        description="said:N",
    )
    # Half the colour at most, so that what is written on it can be read in light and dark.
    shade = alt.Opacity("value:Q", scale=alt.Scale(domain=[0, 1], range=[0, 0.6]), legend=None)
    squares = base.mark_rect(color="var(--accent)").encode(opacity=shade)
    return (squares + base.mark_text(color="var(--ink)", aria=False).encode(text="percent:N")).properties(
        width=max(120, 44 * len(columns)), height=26 * len(rows)
    )


def _worked_rnn(data: Data) -> list[Chart]:
    drawn = {order: [[t + 1, output[0]] for t, output in enumerate(steps)] for order, steps in data["orders"].items()}
    return [("The output at each step, for every order of the same inputs.", lines(drawn, ("step", "output")))]


def _worked_lstm(data: Data) -> list[Chart]:
    found = []
    for name, title in (("lecture", "the lecture's table"), ("garbled", "the notes' garbled copy")):
        run = data[name]
        rows = {"x1": run["x1"], "cell": run["after"], "y": run["y"]}
        drawn = {row: [[t + 1, value] for t, value in enumerate(values)] for row, values in rows.items()}
        found.append(
            (f"What goes in, the cell after each step, and what comes out: {title}.", lines(drawn, ("step", "value")))
        )
    return found


def _power(data: Data) -> list[Chart]:
    near = {f"w = {w}": points for w, points in data["curve"].items() if abs(points[-1][1]) < 50}
    return [
        (
            "The output after each step, as a power of ten. The line of w = 0.01 would fall to −1998, so it is left "
            "out.",
            lines(near, ("step", "log10 of the output")),
        )
    ]


def _error_surface(data: Data) -> list[Chart]:
    surface = data["surface"]
    step_w, step_b = (side[1] - side[0] for side in (surface["w"], surface["b"]))
    cells = [
        {"w": w - step_w / 2, "w2": w + step_w / 2, "b": b - step_b / 2, "b2": b + step_b / 2, "loss": loss}
        for w, losses in zip(surface["w"], surface["loss"], strict=True)
        for b, loss in zip(surface["b"], losses, strict=True)
    ]
    across = alt.Scale(domain=[surface["w"][0], surface["w"][-1]], nice=False, clamp=False)
    down = alt.Scale(domain=[surface["b"][0], surface["b"][-1]], nice=False, clamp=False)
    heat = (
        alt.Chart(alt.InlineData(values=cells))
        .mark_rect(clip=True, color="var(--ink)", aria=False)
        .encode(
            x=alt.X("w:Q", scale=across, title="w, the recurrent weight"),
            x2="w2:Q",
            y=alt.Y("b:Q", scale=down, title="b, the input"),
            y2="b2:Q",
            opacity=alt.Opacity("loss:Q", scale=alt.Scale(type="sqrt", range=[0, 0.55]), legend=None),
        )
    )
    found = []
    for clipping, title in (("none", "without clipping"), ("value", "clipped by value"), ("norm", "clipped by norm")):
        walked = [
            {"path": number, "step": step, "w": w, "b": b, "said": f"{title}, update {step}: w {w:.3g}, b {b:.3g}"}
            for number, path in enumerate(data["paths"][clipping])
            for step, (w, b) in enumerate(path)
        ]
        base = alt.Chart(alt.InlineData(values=walked)).encode(
            x=alt.X("w:Q", scale=across),
            y=alt.Y("b:Q", scale=down),
            order="step:Q",
            color=alt.Color(
                "path:N", legend=None, scale=alt.Scale(range=[f"var(--series-{place})" for place in (2, 1, 3)])
            ),
            detail="path:N",
            description="said:N",
        )
        drawn = alt.layer(
            heat, base.mark_line(clip=True, strokeWidth=1.6), base.mark_point(clip=True, filled=True, size=22)
        )
        found.append(
            (
                f"Three descents {title}, learning rate {data['paths_learning_rate']:g}. The stronger the grey, the "
                "larger the loss; a line that leaves the map was thrown off it.",
                drawn.properties(width=WIDTH, height=260),
            )
        )
    return found


def _gradient_lag(data: Data) -> list[Chart]:
    return [
        (
            f"What is left of the gradient, as a power of ten, after so many steps: {when}. What falls below −25 is "
            "cut off.",
            lines(
                {
                    name: [[lag, value] for lag, value in points if value > -25]
                    for name, points in data["left"][moment].items()
                },
                ("lag (steps)", "log10 of the part left"),
            ),
        )
        for moment, when in (("start", "before training"), ("trained", "after a short training"))
    ]


def _adding(data: Data) -> list[Chart]:
    lags = list(next(iter(data["success"].values())))
    shares = [[sum(by[lag]) / len(by[lag]) for lag in lags] for by in data["success"].values()]
    return [
        (
            "Percent of the seeds that learnt to add over a lag of so many steps.",
            grid(shares, list(data["success"]), lags, ("lag (steps)", "")),
        )
    ]


def _ctc_paths(data: Data) -> list[Chart]:
    drawn = {
        text: [[int(time), cell["dynamic"]] for time, cell in by_frames.items()]
        for text, by_frames in data["counts"].items()
    }
    return [("Paths that collapse to a transcript.", lines(drawn, ("frames", "paths")))]


def _coupled_gates(data: Data) -> list[Chart]:
    return [
        (
            "The largest value in the memory of an untrained cell that hears the same input all the time.",
            lines(data["largest_memory"], ("step", "largest value")),
        )
    ]


def _ntm_addressing(data: Data) -> list[Chart]:
    places = [str(place) for place in range(len(data["memory"]))]
    return [
        (
            f"{name}: the weights over the locations after each stage, in percent.",
            grid(list(case["weights"].values()), list(case["weights"]), places, ("location", "")),
        )
        for name, case in data.items()
        if isinstance(case, Mapping) and "weights" in case
    ]


def _attention(data: Data) -> list[Chart]:
    hops = [f"hop {hop + 1}" for hop in range(len(data["attention"]))]
    turned = [list(of_sentence) for of_sentence in zip(*data["attention"], strict=True)]
    return [("Weights of each hop on each sentence, in percent.", grid(turned, data["sentences"], hops, ("", "")))]


DRAWN: Mapping[str, Callable[[Data], list[Chart]]] = {
    "worked_rnn": _worked_rnn,
    "worked_lstm": _worked_lstm,
    "power": _power,
    "error_surface": _error_surface,
    "gradient_lag": _gradient_lag,
    "adding": _adding,
    "ctc_paths": _ctc_paths,
    "coupled_gates": _coupled_gates,
    "ntm_addressing": _ntm_addressing,
    "attention": _attention,
}
