"""What a worked example of the notes is: the settings it is run with, and what it finds."""

from __future__ import annotations

import importlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from types import ModuleType
from typing import Any

from stages.core.base.errors import InputError
from stages.core.base.params import PARAMS, STAGES, Demonstration, load_part, load_role, meant, read_settings

DIGITS = 6  # significant ones, of every number that is written


@dataclass(frozen=True)
class Table:
    """Rows of numbers and words under ``columns``."""

    caption: str
    columns: Sequence[str]
    rows: Sequence[Sequence[Any]]


@dataclass(frozen=True)
class WorkedExample:
    """What a demonstration finds, to be read by a person and by the claims.

    ``notes`` are the numbers of the notes' items, ``expected`` is what they say and ``found`` what came out, each in a
    sentence. ``checks`` are the comparisons that decide whether they hold, by what each says; ``data`` are numbers by
    name, for charts and claims.
    """

    notes: Sequence[str]
    title: str
    text: str
    expected: str
    found: str
    checks: Mapping[str, bool]
    tables: Sequence[Table]
    data: Mapping[str, Any]

    def content(self) -> dict[str, Any]:
        """Give all of it as JSON has it, numbers to ``DIGITS`` digits, with ``holds``: whether every check does."""
        written: dict[str, Any] = rounded(asdict(self) | {"holds": all(self.checks.values())})
        return written


def load(key: str, values: Demonstration) -> tuple[ModuleType, Any, ModuleType]:
    """Import the demonstration ``key``, read its settings, and import what it uses; raises InputError."""
    where = f"demonstrations.{key}"
    module = load_role("demonstration", key, where)
    return module, read_settings(module.Settings, values.settings, f"{where}.settings"), _load_used(values.uses, where)


def _load_used(path: str, where: str) -> ModuleType:
    allowed = sorted(str(file.relative_to(STAGES)) for file in (STAGES / "models").glob("[!_]*.py"))
    if path not in [*allowed, "models"]:
        raise InputError(f"{PARAMS}: {where}.uses is {path!r}, which is no model{meant(path, [*allowed, 'models'])}")
    return importlib.import_module(f"stages.{path.removesuffix('.py').replace('/', '.')}")


def build_cell(values: dict[str, Any], input_size: int) -> Any:
    """Build the model that ``values`` describe, as an experiment's do, for inputs of ``input_size`` features."""
    module, settings = load_part("model", values, "cells")
    return module.build(settings, input_size)


def check_cells(cells: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Raise InputError where a cell's settings are unknown or out of range."""
    for name, values in cells.items():
        load_part("model", values, f"cells.{name}")
    return cells


def rounded(value: Any) -> Any:
    """Round every float inside ``value`` to ``DIGITS`` significant digits; an infinite one becomes a word."""
    if isinstance(value, Mapping):
        return {str(key): rounded(part) for key, part in value.items()}
    if isinstance(value, (list, tuple)):
        return [rounded(part) for part in value]
    if isinstance(value, float):
        return float(f"{value:.{DIGITS}g}") if math.isfinite(value) else "infinite"
    return value
