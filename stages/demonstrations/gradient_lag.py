"""How much of a gradient is left after so many steps back, in each cell, before and after training (N17, N18, N19).

The loss is a random sum of the last outputs; its gradient by the input of each step, a matrix (batch, feature), has a
norm. Divided by that at the last step it says how much of the gradient is left after a ``lag`` of so many steps.

``data.left.<start|trained>.<cell>``: [lag, log10 of what is left], the mean over seeds of the logarithm;
``data.at_lag.<start|trained>.<cell>``: for each seed log10 of what is left at ``lag``, the longest;
``data.per_step.*``: for each seed the factor a step, over the second half of the lags; ``data.accuracy.<cell>``: for
each seed the accuracy (0 to 1) after training, on fresh sequences, of naming the first symbol at the end.
"""

from __future__ import annotations

import math
from types import ModuleType
from typing import Any

import pydantic
import torch
from torch import Tensor, nn

from stages.core.base.params import settings
from stages.core.demonstration import Table, WorkedExample, build_cell, check_cells

MOMENTS = ("start", "trained")
FLOOR = 1e-300  # the least that is told apart from 0
EVERY = 2  # lags between two points of the chart


@settings
class Cell:
    """A ``model`` as experiments have it; its recurrent weights are multiplied by ``gain`` at the start."""

    model: dict[str, Any]
    gain: float = pydantic.Field(default=1.0, gt=0)


@settings
class Settings:
    """``cells`` by name, each for ``seeds``; gradients go back over ``lag`` steps, of ``batch_size`` sequences.

    Each is trained for ``updates`` to name, after ``delay`` steps of noise, which of ``symbols`` came first.
    """

    cells: dict[str, Cell]
    seeds: list[int] = pydantic.Field(min_length=1)
    lag: int = pydantic.Field(gt=1)
    batch_size: int = pydantic.Field(gt=0)
    symbols: int = pydantic.Field(gt=1)
    delay: int = pydantic.Field(gt=0)
    updates: int = pydantic.Field(ge=0)
    learning_rate: float = pydantic.Field(gt=0)
    clip_norm: float = pydantic.Field(gt=0)

    @pydantic.field_validator("cells")
    @classmethod
    def _known(cls, cells: dict[str, Cell]) -> dict[str, Cell]:
        check_cells({name: cell.model for name, cell in cells.items()})
        return cells


class Reader(nn.Module):
    """A cell, and scores of its last output: inputs (batch, time, feature) to (batch, symbol)."""

    def __init__(self, cell: Cell, size: int, symbols: int) -> None:
        super().__init__()
        self.cell = build_cell(cell.model, size)
        with torch.no_grad():
            for name, parameter in self.cell.named_parameters():
                if "weight_hh" in name or name.endswith("recurrent"):
                    parameter.mul_(cell.gain)
        self.output = nn.Linear(self.cell.output_size, symbols)

    def forward(self, inputs: Tensor) -> Tensor:
        """Read whole sequences."""
        outputs, _ = self.cell(inputs, torch.full((len(inputs),), inputs.shape[1]))
        scores: Tensor = self.output(outputs[:, -1])
        return scores


def demonstrate(settings: Settings, models: ModuleType) -> WorkedExample:
    """Measure what is left of the gradient in every cell, train it, and measure again."""
    runs = {name: [run(cell, seed, settings) for seed in settings.seeds] for name, cell in settings.cells.items()}
    left = {
        moment: {name: _mean([one[moment] for one in of_seeds]) for name, of_seeds in runs.items()}
        for moment in MOMENTS
    }
    at_lag = {moment: {name: [one[moment][-1] for one in runs[name]] for name in runs} for moment in MOMENTS}
    per_step = {moment: {name: [_factor(one[moment]) for one in runs[name]] for name in runs} for moment in MOMENTS}
    accuracy = {name: [one["accuracy"] for one in of_seeds] for name, of_seeds in runs.items()}
    start = {name: sum(values) / len(values) for name, values in at_lag["start"].items()}
    opened = [name for name, cell in settings.cells.items() if cell.model["name"] == "lstm" and cell.gain == 1]
    biases = sorted(opened, key=lambda name: settings.cells[name].model["forget_bias"])
    plain = [name for name, cell in settings.cells.items() if cell.model["name"] == "elman" and cell.gain == 1]
    wild = [name for name, cell in settings.cells.items() if cell.gain > 1]
    ungated = [name for name, cell in settings.cells.items() if cell.model.get("forget") == "none"]
    checks = {
        "in the Elman networks the gradient vanishes": all(start[name] < -6 for name in plain),
        "the more open an LSTM's forget gate starts, the more of the gradient is left": all(
            start[one] < start[other] for one, other in zip(biases, biases[1:], strict=False)
        ),
        "an LSTM whose forget gate starts open keeps more than any Elman network": min(
            start[biases[-1]], start[biases[-2]]
        )
        > max(start[name] for name in plain),
        "an LSTM without forget gate keeps it too": all(start[name] > max(start[n] for n in plain) for name in ungated),
        "an LSTM with large recurrent weights still explodes": all(
            factor > 1 for name in wild for factor in per_step["start"][name]
        ),
    }
    return WorkedExample(
        notes=["N17", "N18", "N19"],
        title="What is left of a gradient after many steps",
        text="The last output's gradient by the input of each step, its norm in parts of that at the last step, for "
        f"lags up to {settings.lag} steps. In an Elman network every step multiplies it by the recurrent weights and "
        "the slope of the units. In an LSTM it also runs through the cell, where the only factor is the forget gate: "
        "how much is left says how open that gate is. A bias of b opens it to 1 / (1 + e^-b): “not too large a bias” "
        "is the wrong advice, it should be positive. The first LSTM had no forget gate, and kept all. None of this "
        "keeps a gradient from exploding: with large recurrent weights that of an LSTM does too. Each cell is then "
        f"trained for a few updates to name after {settings.delay} steps of noise which symbol came first, and "
        "measured again.",
        expected="Vanishing and exploding come from the same weight used again and again; the LSTM's cell cures "
        "vanishing, not exploding; the forget gate is to be open most of the time.",
        found=f"Left after {settings.lag} steps, at the start: "
        + ", ".join(f"{name} 10^{value:.1f}" for name, value in start.items())
        + ".",
        checks=checks,
        tables=[
            Table(
                f"Left of the gradient after {settings.lag} steps (log10, mean of {len(settings.seeds)} seeds), and "
                "the factor a step over the second half",
                ["cell", "start", "factor a step", "trained", "factor a step ", "accuracy (%)", "each seed (%)"],
                [
                    [
                        name,
                        *(
                            part
                            for moment in MOMENTS
                            for part in (
                                f"{_average(at_lag[moment][name]):.1f}",
                                f"{_average(per_step[moment][name]):.3f}",
                            )
                        ),
                        f"{100 * _average(accuracy[name]):.0f}",
                        ", ".join(f"{100 * one:.0f}" for one in accuracy[name]),
                    ]
                    for name in runs
                ],
            )
        ],
        data={
            "lag": settings.lag,
            "delay": settings.delay,
            "chance": 1 / settings.symbols,
            "left": left,
            "at_lag": at_lag,
            "per_step": per_step,
            "accuracy": accuracy,
        },
    )


def run(cell: Cell, seed: int, settings: Settings) -> dict[str, Any]:
    """Measure one cell with one seed, train it, and measure again: log10 of what is left by lag, and accuracy."""
    torch.manual_seed(seed)
    reader = Reader(cell, settings.symbols, settings.symbols)
    found: dict[str, Any] = {"start": left(reader, seed, settings)}
    generator = torch.Generator().manual_seed(seed)
    optimizer = torch.optim.Adam(reader.parameters(), lr=settings.learning_rate)
    for _ in range(settings.updates):
        inputs, symbols = draw(settings.batch_size, settings, generator)
        optimizer.zero_grad()
        nn.functional.cross_entropy(reader(inputs), symbols).backward()
        nn.utils.clip_grad_norm_(reader.parameters(), settings.clip_norm)
        optimizer.step()
    inputs, symbols = draw(500, settings, torch.Generator().manual_seed(1000 + seed))
    with torch.no_grad():
        right = reader(inputs).argmax(dim=1) == symbols
    return found | {"trained": left(reader, seed, settings), "accuracy": right.double().mean().item()}


def draw(size: int, settings: Settings, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Draw sequences (size, delay + 1, symbols), a symbol and then noise, and those symbols (size,)."""
    symbols = torch.randint(settings.symbols, (size,), generator=generator)
    noise = 0.3 * torch.randn(size, settings.delay, settings.symbols, generator=generator)
    first = nn.functional.one_hot(symbols, settings.symbols).float()
    return torch.cat([first[:, None], noise], dim=1), symbols


def left(reader: Reader, seed: int, settings: Settings) -> list[float]:
    """Give log10 of what is left of the gradient after 0, 1, ... ``lag`` steps, in double precision."""
    generator = torch.Generator().manual_seed(2000 + seed)
    cell = reader.cell.double()
    shape = (settings.batch_size, settings.lag + 1, settings.symbols)
    inputs = (0.3 * torch.randn(shape, generator=generator, dtype=torch.float64)).requires_grad_()
    outputs, _ = cell(inputs, torch.full((len(inputs),), inputs.shape[1]))
    weights = torch.randn(outputs[:, -1].shape, generator=generator, dtype=torch.float64)
    (gradient,) = torch.autograd.grad((outputs[:, -1] * weights).sum(), inputs)
    cell.float()
    norms = gradient.flip(1).norm(dim=(0, 2))
    logs: list[float] = (norms / norms[0]).clamp(min=FLOOR).log10().tolist()
    return logs


def _mean(of_seeds: list[list[float]]) -> list[list[float]]:
    means = [_average(values) for values in zip(*of_seeds, strict=True)]
    return [[lag, means[lag]] for lag in range(0, len(means), EVERY)]


def _average(values: list[float] | tuple[float, ...]) -> float:
    return math.fsum(values) / len(values)


def _factor(logs: list[float]) -> float:
    half = len(logs) // 2
    return float(10 ** ((logs[-1] - logs[half]) / (len(logs) - 1 - half)))
