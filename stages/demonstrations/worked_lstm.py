"""The LSTM whose weights the notes set by hand, on the lecture's table and on the notes' garbled copy of it (N8, N9).

``data``: for each of ``lecture`` and ``garbled`` the lists ``x1``, ``x2``, ``x3`` that go in, the ``target`` row y,
and, a step each, the gates ``input``, ``forget``, ``output``, the cell ``before`` and ``after`` the step, and the
output ``y`` of the equations; ``y_network`` is that of our LSTM. ``leak`` is the largest distance of y from a whole
number.
"""

from __future__ import annotations

import math
from types import ModuleType
from typing import Any

import torch

from stages.core.base.params import settings
from stages.core.demonstration import Table, WorkedExample

# Of the lecture: what goes in, and what is to come out.
LECTURE = {
    "x1": [1, 3, 2, 4, 2, 1, 3, 6, 1],
    "x2": [0, 1, 0, 1, 0, 0, -1, 1, 0],
    "x3": [0, 0, 0, 0, 0, 1, 0, 0, 1],
    "y": [0, 0, 0, 0, 0, 7, 0, 0, 6],
}
# The notes' copy: its row x1 is what the lecture's cell holds, a 7 short; its other rows end a column early.
GARBLED = {"x1": [0, 0, 3, 3, 7, 7, 0, 6], **{row: LECTURE[row][:8] for row in ("x2", "x3", "y")}}


@settings
class Settings:
    """``steepness`` and ``bias`` of the gates, 100 and 10 in the notes: the input gate opens at 100 x2 - 10.

    ``scale``: our LSTM squashes with tanh what the notes leave as it is; it reads ``scale`` x1, small enough for tanh
    to be a straight line, and its output is divided by ``scale`` again.
    """

    steepness: float = 100.0
    bias: float = 10.0
    scale: float = 1e-4


def demonstrate(settings: Settings, lstm: ModuleType) -> WorkedExample:
    """Run the hand-set LSTM on both tables, by its equations and by our LSTM."""
    tables = {"lecture": LECTURE, "garbled": GARBLED}
    runs: dict[str, dict[str, Any]] = {name: run(rows, settings) for name, rows in tables.items()}
    for name, rows in tables.items():
        runs[name]["y_network"] = run_network(lstm, rows, settings)
    lecture, garbled = runs["lecture"], runs["garbled"]
    held = [round(value) for value in lecture["before"]]
    leak = max(abs(value - round(value)) for value in lecture["y"])
    checks = {
        "the hand-set LSTM gives the lecture's row y": list(map(round, lecture["y"])) == LECTURE["y"],
        "our LSTM with the same weights gives it too": list(map(round, lecture["y_network"])) == LECTURE["y"],
        "gates that are nearly open or shut leak less than 0.01": leak < 0.01,
        "the notes' row x1 is what the lecture's cell holds before each step, with one 7 missing": _one_missing(
            held, GARBLED["x1"], 7
        ),
        "on the garbled rows the same LSTM does not give the garbled row y": list(map(round, garbled["y"]))
        != GARBLED["y"],
    }
    return WorkedExample(
        notes=["N8", "N9"],
        title="An LSTM with weights set by hand",
        text="The value is x1; the input gate opens at 100 x2 - 10, the forget gate keeps the cell at 100 x2 + 10, the "
        "output gate opens at 100 x3 - 10. So x2 = 1 adds x1 to the cell, x2 = -1 empties it, and x3 = 1 puts it out. "
        "The table in the notes is garbled: its row x1 is the lecture's row of what the cell holds before each step, "
        "with one 7 left out, and its rows x2, x3 and y are cut short by a column. Both are worked here.",
        expected="On the lecture's table y = 0 0 0 0 0 7 0 0 6.",
        found=f"On the lecture's table y = {_row(lecture['y'])}, to within {leak:.2g}; on the garbled one y = "
        f"{_row(garbled['y'])}, where its own row says {_row(GARBLED['y'])}.",
        checks=checks,
        tables=[
            _table("The lecture's table", LECTURE, lecture),
            _table("The notes' copy, garbled", GARBLED, garbled),
        ],
        data={name: {**rows, "target": rows["y"], **runs[name]} for name, rows in tables.items()} | {"leak": leak},
    )


def run(rows: dict[str, list[int]], settings: Settings) -> dict[str, list[float]]:
    """Work the equations: c_t = f c_{t-1} + i x1 and y = o c_t, with gates of the logistic function."""
    steps: dict[str, list[float]] = {name: [] for name in ("input", "forget", "output", "before", "after", "y")}
    cell = 0.0
    for x1, x2, x3 in zip(rows["x1"], rows["x2"], rows["x3"], strict=True):
        enter = logistic(settings.steepness * x2 - settings.bias)
        keep = logistic(settings.steepness * x2 + settings.bias)
        show = logistic(settings.steepness * x3 - settings.bias)
        before, cell = cell, keep * cell + enter * x1
        for name, value in zip(steps, (enter, keep, show, before, cell, show * cell), strict=True):
            steps[name].append(value)
    return steps


def logistic(x: float) -> float:
    """Give 1 / (1 + e^-x), of any x that a double holds."""
    return 1 / (1 + math.exp(-x)) if x > -700 else 0.0


def run_network(lstm: ModuleType, rows: dict[str, list[int]], settings: Settings) -> list[float]:
    """Give y (step,) of our LSTM of one unit whose weights are those of the notes."""
    network = lstm.build(lstm.Settings(hidden=1), 3).double()
    cell = network.forwards[0]
    steep, bias = settings.steepness, settings.bias
    with torch.no_grad():
        for parameter in cell.parameters():
            parameter.zero_()
        # torch.nn's order of the rows: input gate, forget gate, value, output gate.
        cell.weight_ih_l0.copy_(torch.tensor([[0, steep, 0], [0, steep, 0], [settings.scale, 0, 0], [0, 0, steep]]))
        cell.bias_ih_l0.copy_(torch.tensor([-bias, bias, 0, -bias]))
        inputs = torch.tensor([rows["x1"], rows["x2"], rows["x3"]], dtype=torch.float64).T[None]
        outputs, _ = network(inputs, torch.tensor([inputs.shape[1]]))
    put_out: list[float] = (outputs[0, :, 0] / settings.scale).tolist()
    return put_out


def _one_missing(whole: list[int], part: list[int], value: int) -> bool:
    """Say whether ``part`` is ``whole`` without one ``value``."""
    return any(item == value and whole[:i] + whole[i + 1 :] == part for i, item in enumerate(whole))


def _table(caption: str, rows: dict[str, list[int]], run: dict[str, Any]) -> Table:
    names = [
        "x1",
        "x2",
        "x3",
        "cell before",
        "input gate",
        "forget gate",
        "output gate",
        "cell after",
        "y",
        "y expected",
    ]
    columns = [run[name] for name in ("before", "input", "forget", "output", "after", "y")]
    gates = [[f"{value:.4f}" for value in column] for column in columns]
    parts = [rows["x1"], rows["x2"], rows["x3"], *gates, rows["y"]]
    steps = [[t + 1, *step] for t, step in enumerate(zip(*parts, strict=True))]
    return Table(caption, ["step", *names], steps)


def _row(values: list[float] | list[int]) -> str:
    return " ".join(str(round(value)) for value in values)
