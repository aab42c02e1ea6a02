"""One linear neuron whose only weight is used a thousand times: its value and its gradient explode or vanish (N17).

``data.weights.<w>``: ``value`` and ``gradient`` (dy/dw) in closed form with their base-10 logarithms, ``log10_value``
and ``log10_gradient``; ``autograd_value``, ``autograd_gradient`` through a loop of products; ``bptt_value``,
``bptt_gradient`` by backpropagation through time in our Elman network; ``step_change``, by how much one step of
gradient descent on y changes w. ``data.curve.<w>``: [step, log10 of the output after it].
``data.log10_gradient_spread``: the largest log10 of a gradient less the smallest.
"""

from __future__ import annotations

import math
from types import ModuleType
from typing import Any

import pydantic
import torch

from stages.core.base.params import settings
from stages.core.demonstration import Table, WorkedExample

STEPS = 1000
EXPONENT = STEPS - 1  # the first step does not pass through the weight
EVERY = 37  # steps between two points of the curve: 1, 38, ..., 1000
# The notes' figures, corrected: w^999 and 999 w^998.
NOTED = {1.0: (1.0, 999.0), 1.01: (20751.6, 2.05e7), 0.99: (4.36e-5, 0.0440), 0.01: (0.0, 0.0)}


@settings
class Settings:
    """The ``weights`` w to try, and the ``learning_rate`` of the one step of gradient descent."""

    weights: list[float] = pydantic.Field(min_length=1)
    learning_rate: float = pydantic.Field(gt=0)

    @pydantic.field_validator("weights")
    @classmethod
    def _positive(cls, weights: list[float]) -> list[float]:
        if min(weights) <= 0:
            raise ValueError("a weight is not above 0, so that its power has no logarithm")
        return weights


def demonstrate(settings: Settings, elman: ModuleType) -> WorkedExample:
    """Compute the last output and its gradient in three ways for each weight."""
    found = {w: _in_three_ways(elman, w, settings.learning_rate) for w in settings.weights}
    gradients = [row["log10_gradient"] for row in found.values()]
    checks = {
        "autograd through a loop agrees with the closed form": all(_agrees(row, "autograd") for row in found.values()),
        "backpropagation through time in our network agrees too": all(_agrees(row, "bptt") for row in found.values()),
        **{
            f"w = {w:g} gives {value:g}, and the gradient {gradient:.3g}": _near(row["value"], value)
            and _near(row["gradient"], gradient)
            for w, row in found.items()
            for value, gradient in ([NOTED[w]] if w in NOTED else [])
        },
    }
    said = "; ".join(f"w = {w:g}: {row['value']:.6g}, gradient {row['gradient']:.3g}" for w, row in found.items())
    return WorkedExample(
        notes=["N14", "N17"],
        title="The same weight a thousand times",
        text=f"A linear neuron hears 1 at the first of {STEPS} steps and nothing after; its only weight, w, leads to "
        f"it from its own output of the step before. Its last output is w to the power of {EXPONENT}, not {STEPS}, "
        f"since the first step does not pass through w; the gradient of that by w is {EXPONENT} times w to the power "
        f"of {EXPONENT - 1}. Both are worked in closed form, by autograd through a loop of products, and by "
        "backpropagation through time in our Elman network. A learning rate that moves w at all where the gradient "
        "vanished throws it far away where the gradient exploded. (What is printed as 0 is smaller than a double can "
        "hold; its logarithm is in the chart.)",
        expected="w = 1 gives 1, w = 1.01 about 20,000, w = 0.99 and w = 0.01 about 0; no one learning rate fits.",
        found=f"{said}. The gradients lie {max(gradients) - min(gradients):.0f} powers of ten apart.",
        checks=checks,
        tables=[
            Table(
                f"The last of {STEPS} outputs, its gradient by w, and what a step of gradient descent with learning "
                f"rate {settings.learning_rate:g} changes w by",
                ["w", "output", "our network's", "gradient", "by autograd", "by our network's BPTT", "change of w"],
                [[f"{w:g}", *(f"{row[name]:.6g}" for name in SHOWN)] for w, row in found.items()],
            )
        ],
        data={
            "steps": STEPS,
            "learning_rate": settings.learning_rate,
            "weights": {f"{w:g}": row for w, row in found.items()},
            "curve": {
                f"{w:g}": [[t, (t - 1) * math.log10(w)] for t in range(1, STEPS + 1, EVERY)] for w in settings.weights
            },
            "log10_gradient_spread": max(gradients) - min(gradients),
        },
    )


SHOWN = ("value", "bptt_value", "gradient", "autograd_gradient", "bptt_gradient", "step_change")


def _in_three_ways(elman: ModuleType, w: float, learning_rate: float) -> dict[str, Any]:
    value, gradient = closed_form(w)
    loop_value, loop_gradient = by_autograd(w)
    network_value, network_gradient = by_network(elman, w)
    return {
        "value": value,
        "gradient": gradient,
        "log10_value": EXPONENT * math.log10(w),
        "log10_gradient": math.log10(EXPONENT) + (EXPONENT - 1) * math.log10(w),
        "autograd_value": loop_value,
        "autograd_gradient": loop_gradient,
        "bptt_value": network_value,
        "bptt_gradient": network_gradient,
        "step_change": -learning_rate * gradient,
    }


def closed_form(w: float) -> tuple[float, float]:
    """Give w^999 and 999 w^998."""
    return w**EXPONENT, EXPONENT * w ** (EXPONENT - 1)


def by_autograd(w: float) -> tuple[float, float]:
    """Multiply 1 by w, 999 times, and differentiate."""
    weight = torch.tensor(w, dtype=torch.float64, requires_grad=True)
    output = torch.ones((), dtype=torch.float64)
    for _ in range(EXPONENT):
        output = output * weight
    (gradient,) = torch.autograd.grad(output, weight)
    return output.item(), gradient.item()


def by_network(elman: ModuleType, w: float) -> tuple[float, float]:
    """Run our Elman network of one unit over the 1000 steps; its ReLU is linear here, since no sum is negative."""
    network = elman.build(elman.Settings(hidden=1, nonlinearity="relu"), 1).double()
    cell = network.forwards[0]
    with torch.no_grad():
        for parameter, value in (
            (cell.weight_ih_l0, 1),
            (cell.weight_hh_l0, w),
            (cell.bias_ih_l0, 0),
            (cell.bias_hh_l0, 0),
        ):
            parameter.fill_(value)
    inputs = torch.zeros(1, STEPS, 1, dtype=torch.float64)
    inputs[0, 0] = 1
    outputs, _ = network(inputs, torch.tensor([STEPS]))
    (gradient,) = torch.autograd.grad(outputs[0, -1, 0], cell.weight_hh_l0)
    return outputs[0, -1, 0].item(), gradient.item()


def _near(value: float, noted: float) -> bool:
    return math.isclose(value, noted, rel_tol=2e-3, abs_tol=1e-300)


def _agrees(row: dict[str, Any], way: str) -> bool:
    return all(
        math.isclose(row[f"{way}_{part}"], row[part], rel_tol=1e-9, abs_tol=1e-300) for part in ("value", "gradient")
    )
