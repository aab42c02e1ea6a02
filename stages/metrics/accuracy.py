"""Accuracy: the share of examples whose prediction equals the target."""

from __future__ import annotations

from typing import Any

import pydantic

from stages.core.base.errors import InputError
from stages.core.base.params import meant, settings


@settings
class Settings:
    """``target``: the field with the right answer. ``by``: the field by whose values accuracy is also given; ``only``:
    those of its values that count (none: all).

    ``failed_above``: of the values of ``by``, those with an error above so many percent are failed (Weston et al. 2015
    set 5). With it, error stands before accuracy.
    """

    target: str
    by: str | None = None
    only: list[str] | None = pydantic.Field(default=None, min_length=1)
    failed_above: float | None = pydantic.Field(default=None, ge=0, lt=100)

    @pydantic.model_validator(mode="after")
    def _divide(self) -> Settings:
        if self.by is None and (self.only is not None or self.failed_above is not None):
            raise ValueError("only and failed_above are about the values of by, which is missing")
        return self


def score(records: list[dict[str, Any]], settings: Settings) -> dict[str, float]:
    """Give "accuracy" in percent, and "accuracy_<value>" for every value of the field ``settings.by``, sorted.

    With ``settings.failed_above`` first come "error_rate", the mean error in percent of the values, and
    "failed_<by>s", their number. A record's "prediction" is compared with its target.
    Raises InputError where there is no record, one lacks a field, or none has a value that ``settings.only`` names.
    """
    if not records:
        raise InputError("there are no predictions to score; the test split should hold at least one example")
    for field in ("prediction", settings.target, *([settings.by] if settings.by else [])):
        for record in records:
            if field not in record:
                raise InputError(f"prediction {record.get('id')} has no field {field!r}, which accuracy compares")
    if settings.by is None:
        return {"accuracy": _accuracy(records, settings.target)}
    values = _values(records, settings.by, settings.only)
    groups = {value: [record for record in records if str(record[settings.by]) == value] for value in values}
    by_value = {value: _accuracy(group, settings.target) for value, group in groups.items()}
    scores: dict[str, float] = {}
    if settings.failed_above is not None:
        errors = [100 - accuracy for accuracy in by_value.values()]
        scores["error_rate"] = sum(errors) / len(errors)
        scores[f"failed_{settings.by}s"] = sum(error > settings.failed_above for error in errors)
    scores["accuracy"] = _accuracy([record for group in groups.values() for record in group], settings.target)
    return scores | {f"accuracy_{value}": accuracy for value, accuracy in by_value.items()}


def _values(records: list[dict[str, Any]], by: str, only: list[str] | None) -> list[str]:
    """Give the values of the field ``by`` that count, sorted."""
    known = sorted({str(record[by]) for record in records})
    for value in only or []:
        if value not in known:
            raise InputError(f"metric.only: no prediction has {value!r} as its {by}{meant(value, known)}")
    return [value for value in known if only is None or value in only]


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
