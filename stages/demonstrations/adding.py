"""The adding problem: the longest lag over which each cell learns to carry a number (N18, N13, N19).

After Hochreiter and Schmidhuber (1997, section 5.4): each step brings a number between 0 and 1 and a marker; the answer
at the last step is the sum of the two marked numbers. Here the last marked number lies at least a ``lag`` before the
answer, and the sequence is twice as long.

``data.success.<cell>.<lag>``: a 1 or 0 for each seed, whether it learnt this lag; ``data.error.<cell>.<lag>``: the mean
squared error of each seed on fresh sequences; ``data.updates.<cell>.<lag>``: updates each took. A seed that failed at a
lag is not tried at longer ones: it counts as failed there, and has no entry among the errors. ``data.longest.<cell>``:
for each seed the longest lag learnt, 0 for none; ``data.longest_mean.<cell>``: their mean. ``data.threshold``.
"""

from __future__ import annotations

from types import ModuleType
from typing import Any

import pydantic
import torch
from torch import Tensor, nn

from stages.core.base.params import settings
from stages.core.demonstration import Table, WorkedExample, build_cell, check_cells

VARIANCE = 1 / 6  # of the sum of two numbers drawn evenly from 0 to 1: the error of who always says 1
CHECK_EVERY = 25  # updates


@settings
class Settings:
    """``cells`` by name; each of ``seeds`` is trained for each of ``lags`` (steps), for at most ``updates``.

    It has learnt the lag once its mean squared error on ``tested`` fresh sequences is below ``threshold``.
    """

    cells: dict[str, dict[str, Any]]
    lags: list[int] = pydantic.Field(min_length=1)
    seeds: list[int] = pydantic.Field(min_length=1)
    updates: int = pydantic.Field(gt=0)
    batch_size: int = pydantic.Field(gt=0)
    learning_rate: float = pydantic.Field(gt=0)
    clip_norm: float = pydantic.Field(gt=0)
    tested: int = pydantic.Field(gt=0)
    threshold: float = pydantic.Field(gt=0, lt=VARIANCE)

    @pydantic.field_validator("cells")
    @classmethod
    def _known(cls, cells: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
        return check_cells(cells)


class Adder(nn.Module):
    """A cell, and a sum of its last outputs: inputs (batch, time, 2) to answers (batch,)."""

    def __init__(self, cell: dict[str, Any]) -> None:
        super().__init__()
        self.cell = build_cell(cell, 2)
        self.output = nn.Linear(self.cell.output_size, 1)

    def forward(self, inputs: Tensor) -> Tensor:
        """Read whole sequences."""
        outputs, _ = self.cell(inputs, torch.full((len(inputs),), inputs.shape[1]))
        answers: Tensor = self.output(outputs[:, -1])[:, 0]
        return answers


def draw(size: int, lag: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Draw sequences (size, 2 lag, 2: number and marker), and the sums (size,) of their two marked numbers.

    One marker stands in the first tenth, the other between there and the middle, as in Hochreiter and Schmidhuber.
    """
    time = 2 * lag
    early = max(1, time // 10)
    numbers = torch.rand(size, time, generator=generator)
    first = torch.randint(early, (size,), generator=generator)
    second = torch.randint(early, lag, (size,), generator=generator)
    rows = torch.arange(size)
    markers = torch.zeros(size, time)
    markers[rows, first] = markers[rows, second] = 1
    return torch.stack([numbers, markers], dim=2), numbers[rows, first] + numbers[rows, second]


def train(cell: dict[str, Any], lag: int, seed: int, settings: Settings) -> tuple[float, int]:
    """Train one cell on one lag until it has learnt it or its updates are spent; gives its error and the updates."""
    torch.manual_seed(seed)
    generator = torch.Generator().manual_seed(seed)
    tested = draw(settings.tested, lag, torch.Generator().manual_seed(1000 + seed))
    adder = Adder(cell)
    optimizer = torch.optim.Adam(adder.parameters(), lr=settings.learning_rate)
    error = VARIANCE
    for update in range(1, settings.updates + 1):
        inputs, sums = draw(settings.batch_size, lag, generator)
        optimizer.zero_grad()
        nn.functional.mse_loss(adder(inputs), sums).backward()
        nn.utils.clip_grad_norm_(adder.parameters(), settings.clip_norm)
        optimizer.step()
        if update % CHECK_EVERY == 0 or update == settings.updates:
            error = mean_squared_error(adder, *tested)
            if error < settings.threshold:
                break
    return error, update


def mean_squared_error(adder: nn.Module, inputs: Tensor, sums: Tensor) -> float:
    """Give the mean squared error of ``adder`` on (inputs, sums)."""
    with torch.no_grad():
        return float(nn.functional.mse_loss(adder(inputs), sums))


def demonstrate(settings: Settings, models: ModuleType) -> WorkedExample:
    """Train every cell with every seed on longer and longer lags, until it fails."""
    runs = {name: [climb(cell, seed, settings) for seed in settings.seeds] for name, cell in settings.cells.items()}
    longest = {
        name: [
            max((lag for lag, (error, _) in run.items() if error < settings.threshold), default=0) for run in of_seeds
        ]
        for name, of_seeds in runs.items()
    }
    means = {name: sum(lags) / len(lags) for name, lags in longest.items()}
    plain = [name for name, cell in settings.cells.items() if cell["name"] == "elman"]
    checks = {
        f"{name} learns longer lags than the Elman network": all(mean > means[other] for other in plain)
        for name, mean in means.items()
        if name not in plain
    }
    said = ", ".join(f"{name} {' / '.join(map(str, lags))}" for name, lags in longest.items())
    return WorkedExample(
        notes=["N18", "N19", "N13"],
        title="The longest lag that each cell learns",
        text="Each step brings a number from 0 to 1 and a marker; two steps are marked, and at the end the network "
        "must say the sum of their numbers (Hochreiter and Schmidhuber 1997). It has to carry a number unharmed over "
        "every step between, the lag. The same training for every cell: "
        f"{settings.updates} updates at most, of {settings.batch_size} fresh sequences. A lag counts as learnt once "
        f"the mean squared error on {settings.tested} other sequences is below {settings.threshold:.3g}, a tenth of "
        "what always saying 1 would have; that was laid down before any run. A seed that fails at a lag is not tried "
        "at longer ones. More training would carry each of them further: this compares them under one small budget.",
        expected="An Elman network's memory is overwritten at each step; an LSTM adds to its cell, and so carries a "
        "value over long lags. So does a GRU.",
        found=f"Longest lag of each seed, in steps: {said}.",
        checks=checks,
        tables=[
            Table(
                "Mean squared error after training, each seed; — where it had failed at a shorter lag",
                ["cell", *(f"lag {lag}" for lag in settings.lags), "longest lag, mean"],
                [
                    [
                        name,
                        *(
                            " / ".join(f"{run[lag][0]:.4f}" if lag in run else "—" for run in of_seeds)
                            for lag in settings.lags
                        ),
                        f"{means[name]:.0f}",
                    ]
                    for name, of_seeds in runs.items()
                ],
            )
        ],
        data={
            "threshold": settings.threshold,
            "longest": longest,
            "longest_mean": means,
            "success": {
                name: {str(lag): [int(lag <= best) for best in longest[name]] for lag in settings.lags} for name in runs
            },
            **{
                part: {
                    name: {str(lag): [run[lag][place] for run in of_seeds if lag in run] for lag in settings.lags}
                    for name, of_seeds in runs.items()
                }
                for place, part in enumerate(("error", "updates"))
            },
        },
    )


def climb(cell: dict[str, Any], seed: int, settings: Settings) -> dict[int, tuple[float, int]]:
    """Train afresh on one lag after the other, up to the first that is not learnt; gives error and updates by lag."""
    found: dict[int, tuple[float, int]] = {}
    for lag in sorted(settings.lags):
        found[lag] = train(cell, lag, seed, settings)
        if found[lag][0] >= settings.threshold:
            break
    return found
