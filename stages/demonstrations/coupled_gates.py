"""How many parameters each cell has, and what coupled gates do: the old leaves just as the new enters (N10, N11, N13).

``data.parameters.<cell>``: ``counted``, ``formula``, and ``times_elman``, its weights without biases in multiples of
the Elman network's. ``data.kept_and_let_in.<cell>``: the least and the largest sum of the share of the old that is
kept and the share of the new that is let in, over units and steps. ``data.largest_memory.<cell>``: the largest
absolute value in the memory after each step, [step, value]. ``data.gru_equation``: the largest distance of the GRU's
h_t from z h_{t-1} + (1 - z) n. ``data.reset_order``: the largest distance between two GRUs of the same weights, whose
reset comes before and after the product.
"""

from __future__ import annotations

from types import ModuleType
from typing import Any

import pydantic
import torch
from torch import Tensor, nn

from stages.core.base.params import settings
from stages.core.demonstration import Table, WorkedExample, build_cell, check_cells

EVERY = 5  # steps between two points of the chart


@settings
class Settings:
    """``cells`` by name, for inputs of ``input_size`` features; ``steps`` of an even input, ``seed`` for the
    weights."""

    cells: dict[str, dict[str, Any]]
    input_size: int = pydantic.Field(gt=0)
    steps: int = pydantic.Field(gt=1)
    seed: int

    @pydantic.field_validator("cells")
    @classmethod
    def _known(cls, cells: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
        if missing := {"elman", "lstm", "gru", "coupled"} - set(cells):
            raise ValueError(f"{', '.join(sorted(missing))} is missing among the cells")
        return check_cells(cells)


def demonstrate(settings: Settings, models: ModuleType) -> WorkedExample:
    """Count the parameters of every cell, and watch its memory while the input does not change."""
    cells = {name: make(values, settings) for name, values in settings.cells.items()}
    inputs = torch.ones(1, settings.steps, settings.input_size, dtype=torch.float64)
    parameters = {name: count(cells[name], settings.cells[name], settings) for name in cells}
    traces = {name: trace(cell, inputs) for name, cell in cells.items()}
    memories = {name: told["cell"] if "cell" in told else told["hidden"] for name, told in traces.items()}
    largest = {name: memory.abs().amax(dim=(0, 2)).tolist() for name, memory in memories.items()}
    shares = {name: shared for name, told in traces.items() if (shared := kept_and_let_in(told))}
    equation = _gru_equation(cells["gru"], inputs)
    order = _reset_order(settings, inputs)
    checks = {
        "each cell has as many parameters as its formula says": all(
            row["counted"] == row["formula"] for row in parameters.values()
        ),
        "the LSTM has four times the Elman network's, the GRU three times": (
            parameters["lstm"]["times_elman"] == 4 and parameters["gru"]["times_elman"] == 3
        ),
        "coupled gates: what is kept of the old and what is let in of the new sum to 1": all(
            abs(bound - 1) < 1e-12 for bound in shares["coupled"]
        ),
        "an LSTM's two gates are free: their sum does not stay at 1": max(abs(b - 1) for b in shares["lstm"]) > 0.01,
        "the GRU's state is z times the old and 1 - z times the new": equation < 1e-12,
        "coupled, the memory stays within 1; free, it can count further": (
            max(largest["coupled"] + largest["gru"]) <= 1 < max(largest["lstm"])
        ),
        "a reset before the matrix product is another function than torch.nn's, after it": order > 1e-6,
    }
    times = ", ".join(f"{name} {row['times_elman']:.2f}" for name, row in parameters.items())
    return WorkedExample(
        notes=["N10", "N11", "N13", "N19"],
        title="Parameters of each cell, and what coupled gates do",
        text="An LSTM unit has four inputs where a simple unit has one, so it has four times the weights; a GRU has "
        "three times as many. A GRU couples two gates: with z the share of the old that is kept, 1 - z of the new is "
        "let in, so the old leaves exactly as the new enters. An LSTM's forget and input gate are free of each "
        "other: it may keep all and add more. Here an untrained cell of each kind hears the same input for "
        f"{settings.steps} steps. Cho et al. (2014) reset the state before the matrix product, torch.nn after it.",
        expected="LSTM: four times the parameters. GRU: the old must go for the new to come in, and fewer parameters.",
        found=f"Weights in multiples of the Elman network's: {times}. The largest memory after {settings.steps} steps: "
        f"{largest['lstm'][-1]:.2f} in the LSTM, {largest['coupled'][-1]:.2f} with coupled gates.",
        checks=checks,
        tables=[
            Table(
                f"Parameters of one layer, {settings.input_size} inputs, and its memory after {settings.steps} steps",
                [
                    "cell",
                    "hidden units",
                    "parameters",
                    "by formula",
                    "weights / Elman",
                    "kept + let in",
                    "largest memory",
                ],
                [
                    [
                        name,
                        settings.cells[name]["hidden"],
                        row["counted"],
                        row["formula"],
                        f"{row['times_elman']:.2f}",
                        " to ".join(f"{bound:.3f}" for bound in shares[name]) if name in shares else "",
                        f"{largest[name][-1]:.3f}",
                    ]
                    for name, row in parameters.items()
                ],
            )
        ],
        data={
            "parameters": parameters,
            "kept_and_let_in": shares,
            "largest_memory": {
                name: [[t + 1, values[t]] for t in range(0, settings.steps, EVERY)] for name, values in largest.items()
            },
            "gru_equation": equation,
            "reset_order": order,
        },
    )


def make(values: dict[str, Any], settings: Settings) -> nn.Module:
    """Build a cell in double precision, its weights drawn by the seed."""
    torch.manual_seed(settings.seed)
    cell: nn.Module = build_cell(values, settings.input_size).double()
    return cell


def count(cell: nn.Module, values: dict[str, Any], settings: Settings) -> dict[str, Any]:
    """Count a cell's parameters, work them out by formula, and compare its weights with the Elman network's."""
    size, hidden = settings.input_size, values["hidden"]
    weights = sum(p.numel() for name, p in cell.named_parameters() if "bias" not in name and "peephole" not in name)
    return {
        "counted": sum(p.numel() for p in cell.parameters()),
        "formula": formula(values, size, hidden),
        "times_elman": weights / (size * hidden + hidden**2),
    }


def formula(values: dict[str, Any], size: int, hidden: int) -> int:
    """Give a cell's number of parameters: I inputs, H units; torch.nn has two biases a block, our own cells one."""
    if values["name"] == "lstm_variants":
        gates = 3 if values.get("forget", "free") == "free" else 2
        return (gates + 1) * (size * hidden + hidden**2 + hidden) + gates * hidden * bool(values.get("peephole"))
    if values["name"] == "minimal_gru":
        return 2 * (size * hidden + hidden)
    blocks = {"elman": 1, "gru": 3, "lstm": 4}[values["name"]]
    return blocks * (size * hidden + hidden**2 + 2 * hidden)


def trace(cell: nn.Module, inputs: Tensor) -> dict[str, Tensor]:
    """Give what the only layer of ``cell`` does: gates and states (batch, time, hidden) by name."""
    with torch.no_grad():
        told: dict[str, Tensor] = cell.trace(inputs)[0]  # type: ignore[operator]
    return told


def kept_and_let_in(told: dict[str, Tensor]) -> list[float]:
    """Give the least and the largest sum of input and forget gate; empty where a cell has no such pair."""
    if "input" not in told:
        return []
    kept = told.get("forget", torch.ones_like(told["input"]))  # no forget gate: all of the old is kept
    both = told["input"] + kept
    return [float(both.min()), float(both.max())]


def _gru_equation(cell: nn.Module, inputs: Tensor) -> float:
    """Give the largest distance of our GRU's states from its equation, worked with its own weights."""
    layer: Any = cell.forwards[0]  # type: ignore[index]
    told = trace(cell, inputs)
    before = nn.functional.pad(told["hidden"][:, :-1], (0, 0, 1, 0))
    with torch.no_grad():
        driven = (inputs @ layer.weight_ih_l0.T + layer.bias_ih_l0).chunk(3, dim=-1)[2]
        recurrent = (before @ layer.weight_hh_l0.T + layer.bias_hh_l0).chunk(3, dim=-1)[2]
        new = torch.tanh(driven + told["reset"] * recurrent)
        worked = told["update"] * before + (1 - told["update"]) * new
    return float((worked - told["hidden"]).abs().max())


def _reset_order(settings: Settings, inputs: Tensor) -> float:
    """Give the largest distance between two GRUs with the same weights, whose reset comes before and after."""
    after = make(settings.cells["gru"], settings)
    before = make({**settings.cells["gru"], "reset": "before"}, settings)
    source: Any = after.forwards[0]  # type: ignore[index]
    target: Any = before.forwards[0]  # type: ignore[index]
    cut = 2 * settings.cells["gru"]["hidden"]
    with torch.no_grad():
        source.bias_hh_l0.zero_()  # a bias inside the product, which the other form does not have
        target.input.weight.copy_(source.weight_ih_l0)
        target.input.bias.copy_(source.bias_ih_l0)
        target.gate_recurrent.copy_(source.weight_hh_l0[:cut])
        target.recurrent.copy_(source.weight_hh_l0[cut:])
        lengths = torch.tensor([inputs.shape[1]])
        return float((after(inputs, lengths)[0] - before(inputs, lengths)[0]).abs().max())
