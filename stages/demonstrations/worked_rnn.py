"""The recurrent network whose weights are all 1, step by step, and what the order of its inputs does (N2, N3, N4).

``data``: ``outputs`` (step, output) and ``memory`` (step, hidden) of the notes' inputs; ``orders``, by the order of the
inputs, the outputs of each; ``last_outputs``, the distinct last outputs among all orders; ``without_memory``, the
outputs where the recurrent weights are 0; ``weights``, their number at 3 and at 300 steps.
"""

from __future__ import annotations

import itertools
from types import ModuleType
from typing import Annotated, Self

import pydantic
import torch
from torch import Tensor

from stages.core.base.params import settings
from stages.core.demonstration import Table, WorkedExample

EXPECTED = [[4, 4], [12, 12], [32, 32]]


@settings
class Settings:
    """``x1`` and ``x2`` are the two inputs at each step; ``weight``, of every connection, is 1 in the notes."""

    x1: list[Annotated[float, pydantic.Field(ge=0)]]
    x2: list[Annotated[float, pydantic.Field(ge=0)]]
    weight: float = pydantic.Field(default=1.0, ge=0)

    @property
    def inputs(self) -> list[tuple[float, float]]:
        """Both inputs, step by step."""
        return list(zip(self.x1, self.x2, strict=True))

    @pydantic.model_validator(mode="after")
    def _as_many(self) -> Self:
        if len(self.x1) != len(self.x2):
            raise ValueError("x1 and x2 should have as many steps")
        return self


def demonstrate(settings: Settings, elman: ModuleType) -> WorkedExample:
    """Run our Elman network on the notes' inputs, on every order of them, and without its memory.

    It has ReLU units where the notes have linear ones, which is the same for sums that are not negative.
    """
    network = make(elman, settings.weight)
    memory, outputs = run(network, settings.inputs, settings.weight)
    orders = {_name(order): run(network, order, settings.weight)[1] for order in _orders(settings.inputs)}
    last = sorted({tuple(steps[-1]) for steps in orders.values()})
    blank = run(make(elman, settings.weight, recurrent=0.0), settings.inputs, settings.weight)[1]
    weights = sum(p.numel() for name, p in network.named_parameters() if "weight" in name)
    checks = {
        "the outputs are [4 4], [12 12], [32 32]": outputs == EXPECTED,
        "equal inputs give different outputs": all(
            outputs[i] != outputs[j]
            for i, j in itertools.combinations(range(len(outputs)), 2)
            if settings.inputs[i] == settings.inputs[j]
        ),
        "every order of the inputs gives other outputs": len(last) == len(orders),
        "one step after the other, with the memory handed on, is the same as all at once": outputs
        == step_by_step(network, settings.inputs, settings.weight),
        "without memory, equal inputs give equal outputs": all(
            (blank[i] == blank[j]) == (settings.inputs[i] == settings.inputs[j])
            for i, j in itertools.combinations(range(len(blank)), 2)
        ),
    }
    return WorkedExample(
        notes=["N2", "N3", "N4"],
        title="A recurrent network whose weights are all 1",
        text="Two inputs, two hidden units, two outputs; every weight is 1, there is no bias, all units are linear, "
        "and the memory starts at 0. At each step the hidden layer adds up the inputs and what it held the step "
        "before, and the same weights serve every step. Worked by our own Elman network, with ReLU units: no sum "
        "here is negative, so that they are linear.",
        expected="[1 1], [1 1], [2 2] give [4 4], [12 12], [32 32]: same input, different output, and order matters.",
        found=f"{_steps(outputs)}; the {len(orders)} orders of the inputs end in {_steps(last)}.",
        checks=checks,
        tables=[
            Table(
                "Step by step: what the memory held, and what came of it",
                ["step", "input", "memory before", "memory after", "output", "output without memory"],
                [
                    [t + 1, _pair(x), _pair(before), _pair(after), _pair(y), _pair(y_blank)]
                    for t, (x, before, after, y, y_blank) in enumerate(
                        zip(settings.inputs, [[0.0, 0.0], *memory], memory, outputs, blank, strict=False)
                    )
                ],
            ),
            Table(
                "The same inputs in every order",
                ["inputs", *(f"output {t + 1}" for t in range(len(outputs)))],
                [[name, *map(_pair, steps)] for name, steps in orders.items()],
            ),
        ],
        data={
            "outputs": outputs,
            "memory": memory,
            "orders": orders,
            "last_outputs": last,
            "without_memory": blank,
            "weights": {"hidden_and_recurrent": weights, "output": 4},
        },
    )


def make(elman: ModuleType, weight: float, recurrent: float | None = None) -> torch.nn.Module:
    """Build the Elman network of two units with all weights ``weight``, the recurrent ones maybe another value."""
    network: torch.nn.Module = elman.build(elman.Settings(hidden=2, nonlinearity="relu"), 2).double()
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            value = 0.0 if "bias" in name else weight
            parameter.fill_(recurrent if "weight_hh" in name and recurrent is not None else value)
    return network


def run(network: torch.nn.Module, inputs: list[tuple[float, float]], weight: float) -> tuple[list, list]:
    """Give the memory (step, 2) and the outputs (step, 2) for ``inputs`` (step, 2), all steps at once."""
    with torch.no_grad():
        memory, _ = network(_batch(inputs), torch.tensor([len(inputs)]))
    return memory[0].tolist(), _outputs(memory[0], weight)


def step_by_step(network: torch.nn.Module, inputs: list[tuple[float, float]], weight: float) -> list:
    """Give the outputs (step, 2), each from one step of the network and the state that the step before left."""
    state, outputs = None, []
    for x in inputs:
        with torch.no_grad():
            memory, state = network(_batch([x]), torch.tensor([1]), state)
        outputs += _outputs(memory[0], weight)
    return outputs


def _batch(inputs: list[tuple[float, float]]) -> Tensor:
    return torch.tensor([inputs], dtype=torch.float64)


def _outputs(memory: Tensor, weight: float) -> list:
    summed: list = (weight * memory.sum(dim=-1, keepdim=True)).expand(-1, 2).tolist()
    return summed


def _orders(inputs: list[tuple[float, float]]) -> list[list[tuple[float, float]]]:
    return [list(order) for order in sorted(set(itertools.permutations(inputs)))]


def _name(inputs: list[tuple[float, float]]) -> str:
    return ", ".join(map(_pair, inputs))


def _steps(steps: list) -> str:
    return ", ".join(map(_pair, steps))


def _pair(values: list[float] | tuple[float, ...]) -> str:
    return f"[{' '.join(f'{value:g}' for value in values)}]"
