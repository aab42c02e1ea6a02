"""How a head of the Neural Turing Machine finds its place, stage by stage and by hand (N28).

``data.<case>``: the ``weights`` over the locations after each stage (``before``, ``content``, ``gated``, ``shifted``,
``sharpened``), by our functions; ``by_hand``, the same by plain arithmetic; ``read``, the vector read there, and
``place``, the location with the most weight. ``data.memory`` (location, value). ``data.difference``: the largest
between the two ways. ``data.written``: the memory after a write at the place of the first case.
"""

from __future__ import annotations

import math
from types import ModuleType
from typing import Any

import pydantic
import torch
from torch import Tensor

from stages.core.base.params import settings
from stages.core.demonstration import Table, WorkedExample

Row = list[float]
STAGES = ("before", "content", "gated", "shifted", "sharpened")


@settings
class Head:
    """What a head is told: ``key``, ``strength``, ``gate``, ``shift`` (by -1, 0, +1) and ``sharpening``.

    ``place`` is the location at which the rules of the paper should put it; ``start``, where it stood.
    """

    key: Row
    strength: float = pydantic.Field(gt=0)
    gate: float = pydantic.Field(ge=0, le=1)
    shift: tuple[float, float, float]
    sharpening: float = pydantic.Field(ge=1)
    start: int = pydantic.Field(ge=0)
    place: int = pydantic.Field(ge=0)


@settings
class Settings:
    """The ``memory``, a row of values a location, and the ``cases`` by name; ``erase`` and ``add`` are written at the
    place of the first.
    """

    memory: dict[str, Row] = pydantic.Field(min_length=3)
    cases: dict[str, Head] = pydantic.Field(min_length=1)
    erase: Row
    add: Row


def demonstrate(settings: Settings, machine: ModuleType) -> WorkedExample:
    """Address the memory in every case, by our functions and by hand."""
    memory = list(settings.memory.values())
    found: dict[str, dict[str, Any]] = {name: address(machine, memory, head) for name, head in settings.cases.items()}
    difference = max(
        abs(a - b)
        for case in found.values()
        for stage in STAGES
        for a, b in zip(case["weights"][stage], case["by_hand"][stage], strict=True)
    )
    first = next(iter(found.values()))
    changed = write(machine, memory, first["weights"]["sharpened"], settings.erase, settings.add)
    moved = [
        max(abs(a - b) for a, b in zip(row, before, strict=True)) for row, before in zip(changed, memory, strict=True)
    ]
    checks = {
        "our functions agree with the arithmetic of the paper to 0.0001": difference < 1e-4,
        "each head stands where the rules say": all(
            case["place"] == settings.cases[name].place for name, case in found.items()
        ),
        "weights sum to 1 after every stage": all(
            math.isclose(sum(case["weights"][stage]), 1, abs_tol=1e-6) for case in found.values() for stage in STAGES
        ),
        "a write changes the location most that the head is on": max(range(len(moved)), key=moved.__getitem__)
        == first["place"],
    }
    said = "; ".join(f"{name}: location {case['place']}" for name, case in found.items())
    return WorkedExample(
        notes=["N28"],
        title="How a head finds its place",
        text="A head of the Neural Turing Machine is a distribution over the locations of the memory. Four stages move "
        "it: its key is compared with every location (content); a gate chooses between what was found and where the "
        "head stood (interpolation); a shift moves it to a neighbour; and sharpening undoes the blur that the shift "
        "leaves. Each stage is worked by the functions that the copy experiments train, and by plain arithmetic.",
        expected="A head can look a content up, walk on from where it stood, or look up and take the neighbour.",
        found=f"{said}; the two ways differ by at most {difference:.1g}.",
        checks=checks,
        tables=[
            Table("The memory", ["location", *(f"value {m + 1}" for m in range(len(memory[0])))],
                  [[n, *row] for n, row in enumerate(memory)]),
            *(
                Table(
                    f"{name}: the weights after each stage, of a head that reads {_vector(case['read'])}",
                    ["stage", *map(str, range(len(memory)))],
                    [[stage, *(f"{weight:.3f}" for weight in case["weights"][stage])] for stage in STAGES],
                )
                for name, case in found.items()
            ),
        ],
        data={**found, "memory": memory, "difference": difference, "written": changed},
    )  # fmt: skip


def address(machine: ModuleType, memory: list[Row], head: Head) -> dict[str, Any]:
    """Give the weights after each stage in both ways, the vector read and the place with the most weight."""
    before = [float(location == head.start) for location in range(len(memory))]
    weights = by_functions(machine, memory, before, head)
    last = weights["sharpened"]
    return {
        "weights": weights,
        "by_hand": by_hand(memory, before, head),
        "read": [sum(w * row[m] for w, row in zip(last, memory, strict=True)) for m in range(len(memory[0]))],
        "place": max(range(len(last)), key=last.__getitem__),
    }


def by_functions(machine: ModuleType, memory: list[Row], before: Row, head: Head) -> dict[str, Row]:
    """Address by the functions of our Neural Turing Machine: weights (location,) by stage."""
    stood = _tensor([before])
    content = machine.content_weights(_tensor(memory), _tensor([head.key]), _tensor([[head.strength]]))
    gated = head.gate * content + (1 - head.gate) * stood
    moved = machine.shifted(gated, _tensor([list(head.shift)]))
    sharp = machine.sharpened(moved, _tensor([[head.sharpening]]))
    stages: list[Row] = [part[0, 0].tolist() for part in (stood, content, gated, moved, sharp)]
    return dict(zip(STAGES, stages, strict=True))


def by_hand(memory: list[Row], before: Row, head: Head) -> dict[str, Row]:
    """Address by equations 5 to 9 of Graves et al. (2014): weights (location,) by stage."""
    size = len(memory)
    scores = [math.exp(head.strength * cosine(head.key, row)) for row in memory]
    content = [score / sum(scores) for score in scores]
    gated = [head.gate * c + (1 - head.gate) * w for c, w in zip(content, before, strict=True)]
    moved = [sum(head.shift[by + 1] * gated[(location - by) % size] for by in (-1, 0, 1)) for location in range(size)]
    powers = [weight**head.sharpening for weight in moved]
    sharp = [power / sum(powers) for power in powers]
    return dict(zip(STAGES, (before, content, gated, moved, sharp), strict=True))


def cosine(a: Row, b: Row) -> float:
    """Give the cosine of the angle between two vectors; 0 where one of them is 0."""
    lengths = math.hypot(*a) * math.hypot(*b)
    return sum(x * y for x, y in zip(a, b, strict=True)) / lengths if lengths else 0.0


def write(machine: ModuleType, memory: list[Row], weights: Row, erase: Row, add: Row) -> list[Row]:
    """Give the memory (location, value) after a head with ``weights`` has erased and added."""
    after = machine.written(_tensor(memory), _tensor([weights]), _tensor([erase]), _tensor([add]))
    rows: list[Row] = after[0].tolist()
    return rows


def _tensor(rows: list[Row]) -> Tensor:
    return torch.tensor([rows], dtype=torch.float64)


def _vector(values: Row) -> str:
    return f"[{' '.join(f'{value:.2f}' for value in values)}]"
