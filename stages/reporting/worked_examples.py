"""Test examples, each shown once with every experiment's output."""

from __future__ import annotations

import hashlib
import importlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from markupsafe import Markup

from stages.reporting.results import Result, Section

FIGURES = Path(__file__).resolve().parent.parent / "figures"
FALLBACK = "examples_other"


def predicts(result: Result) -> bool:
    return bool(result.predictions) and "prediction" in result.predictions[0]


def example_kinds() -> list[ModuleType]:
    """Load the files that show worked examples, a file a kind of record; the one for any kind comes last."""
    names = sorted(path.stem for path in FIGURES.glob("examples_*.py") if path.stem != FALLBACK)
    return [importlib.import_module(f"stages.figures.{name}") for name in [*names, FALLBACK]]


@dataclass(frozen=True)
class Shown:
    """A worked example: who got it right, in words and as "good" (all), "bad" (none) or "mixed"; how it is shown."""

    identity: str
    heading: str
    outcome: str
    body: Markup


def kind_of(records: Sequence[Mapping[str, Any]]) -> ModuleType:
    """Give the kind that all ``records`` are of."""
    return next(kind for kind in example_kinds() if all(map(kind.fits, records)))


def worked_examples(section: Section, kinds: Sequence[ModuleType]) -> tuple[str, list[Shown]]:
    """Choose test examples of a section and show each once, with every experiment's output; the same ones every time.

    Gives a legend and the examples. They are tried in the order of a hash of their id, so that nobody picked them.
    """
    by_experiment = {
        key: {str(record["id"]): record for record in result.predictions}
        for key, result in section.shown.items()
        if predicts(result)
    }
    shared = set.intersection(*(set(records) for records in by_experiment.values())) if by_experiment else set()
    order = sorted(shared, key=lambda identity: hashlib.sha256(identity.encode()).digest())
    if not order:
        return "", []
    items = [{key: records[identity] for key, records in by_experiment.items()} for identity in order]
    kind = next(kind for kind in kinds if all(kind.fits(record) for record in items[0].values()))
    some = len(by_experiment) < len(section.results)
    return kind.LEGEND, [_shown(item, kind, some) for item in _choose(items, kind)]


def _choose(items: list[dict[str, dict[str, Any]]], kind: ModuleType) -> list[dict[str, dict[str, Any]]]:
    """Take what ``kind.choose`` does, or else the first that every experiment got right, and that one or more did not.

    There are so many of either as ``kind.EXAMPLES`` says, or else two and four.
    """
    if hasattr(kind, "choose"):
        return kind.choose(items)
    most_perfect, most_flawed = getattr(kind, "EXAMPLES", (2, 4))
    perfect = [item for item in items if all(map(kind.right, item.values()))]
    flawed = [item for item in items if not all(map(kind.right, item.values()))]
    return perfect[:most_perfect] + flawed[:most_flawed]


def _shown(item: dict[str, dict[str, Any]], kind: ModuleType, some: bool) -> Shown:
    right, wrong = kind.VERDICTS
    flawed = [key for key, record in item.items() if not kind.right(record)]
    outcome = "mixed" if 0 < len(flawed) < len(item) else "bad" if flawed else "good"
    heading = wrong if flawed else right
    if len(item) > 1:
        heading += f" in {', '.join(flawed)}" if outcome == "mixed" else f" in every experiment{' shown' * some}"
    return Shown(str(next(iter(item.values()))["id"]), heading[0].upper() + heading[1:], outcome, kind.show(item))
