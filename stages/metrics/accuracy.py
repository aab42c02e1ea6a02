"""Accuracy: the share of examples whose prediction equals the target."""

from __future__ import annotations

from typing import Any

from stages.core.errors import InputError
from stages.core.params import settings


@settings
class Settings:
    """``target``: the field with the right answer. ``by``: the field by whose values accuracy is also given."""

    target: str
    by: str | None = None


def score(records: list[dict[str, Any]], settings: Settings) -> dict[str, float]:
    """Give "accuracy" in percent, and "accuracy_<value>" for every value of the field ``settings.by``, sorted.

    A record's "prediction" is compared with its target. Raises InputError where there is no record, or one lacks a
    field.
    """
    if not records:
        raise InputError("there are no predictions to score; the test split should hold at least one example")
    for field in ("prediction", settings.target, *([settings.by] if settings.by else [])):
        for record in records:
            if field not in record:
                raise InputError(f"prediction {record.get('id')} has no field {field!r}, which accuracy compares")
    scores = {"accuracy": _accuracy(records, settings.target)}
    if settings.by:
        for value in sorted({str(record[settings.by]) for record in records}):
            mine = [record for record in records if str(record[settings.by]) == value]
            scores[f"accuracy_{value}"] = _accuracy(mine, settings.target)
    return scores


def tallies(records: list[dict[str, Any]], settings: Settings) -> dict[str, tuple[list[float], list[float]]]:
    """Give by example what each adds above and below the fraction line of "accuracy" and of "accuracy_<value>"."""
    scores = score(records, settings)
    groups = [str(record[settings.by]) for record in records] if settings.by else [""] * len(records)
    counted = [float(not settings.by or f"accuracy_{group}" in scores) for group in groups]
    right = [100.0 * (record["prediction"] == record[settings.target]) for record in records]
    found = {"accuracy": ([a * b for a, b in zip(right, counted, strict=True)], counted)}
    for value in sorted({group for group, use in zip(groups, counted, strict=True) if use and settings.by}):
        mine = [float(group == value) for group in groups]
        found[f"accuracy_{value}"] = [a * b for a, b in zip(right, mine, strict=True)], mine
    return found


def _accuracy(records: list[dict[str, Any]], target: str) -> float:
    right = sum(bool(record["prediction"] == record[target]) for record in records)
    return 100 * right / len(records)
