"""How well texts are written again from their vectors, and whether the vectors know the order of words."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pydantic
from rapidfuzz.distance import Levenshtein

from stages.core.base.errors import InputError
from stages.core.base.params import settings

Records = list[dict[str, Any]]
PROBES = {"order_accuracy": "outcome", "order_accuracy_without_vector": "without_vector"}  # metric to field of "order"


@settings
class Settings:
    """Which texts count: those of ``fewest`` to ``most`` words (punctuation marks are words), both included.

    ``bands``: the most words of each band of length, rising, the last ``most``; longer texts form a further band, which
    no other figure counts.
    """

    fewest: int = pydantic.Field(default=2, ge=1)
    most: int = pydantic.Field(default=12, ge=1)
    bands: list[int] = pydantic.Field(default_factory=lambda: [4, 8, 12], min_length=1)

    @pydantic.model_validator(mode="after")
    def _is_rising(self) -> Settings:
        limits = [self.fewest - 1, *self.bands]
        if any(low >= high for low, high in pairwise(limits)) or self.bands[-1] != self.most:
            raise ValueError(f"bands should rise from fewest ({self.fewest}) on and end with most ({self.most})")
        return self


def score(records: Records, settings: Settings) -> dict[str, float]:
    """Give, in percent, "exact_match", "token_accuracy" and "order_accuracy", and the first two by band of length.

    Exact match: every word as it was, so that one unknown word is a miss. Token accuracy: 1 - d / n, d the Levenshtein
    distance in words of what was written to the text, n the words of the longer, both summed over texts. Order
    accuracy: the mean outcome of the order probe; where records say what the usual order of words alone would answer,
    "order_accuracy_without_vector" is that. A band without a text is left out. Raises InputError where no text is of
    the length asked for, or a record lacks a field.
    """
    for record in records:
        for field in ("target", "prediction", "order"):
            if field not in record:
                raise InputError(f"prediction {record.get('id')} has no field {field!r}, which reconstruction reads")
    counted = _between(records, settings.fewest, settings.most)
    if not counted:
        raise InputError(
            f"no text of {settings.fewest} to {settings.most} words is there to score; metric.fewest and metric.most "
            "should fit the data"
        )
    scores = {"exact_match": _exact(counted), "token_accuracy": _tokens(counted)}
    scores |= _order(counted)
    bounds = list(pairwise([settings.fewest - 1, *settings.bands]))
    bands = {f"{low + 1}_to_{high}": _between(records, low + 1, high) for low, high in bounds}
    bands[f"{settings.most + 1}_or_more"] = [record for record in records if len(record["target"]) > settings.most]
    for name, members in bands.items():
        if members:
            scores[f"exact_match_{name}"] = _exact(members)
            scores[f"token_accuracy_{name}"] = _tokens(members)
    return scores


def tallies(records: Records, settings: Settings) -> dict[str, tuple[list[float], list[float]]]:
    """Give by example what each adds above and below the fraction line of the figures that are not by length."""
    counted = [settings.fewest <= len(record["target"]) <= settings.most for record in records]
    longest = [
        max(len(record["target"]), len(record["prediction"])) * use
        for record, use in zip(records, counted, strict=True)
    ]
    found = {
        "exact_match": (
            [100.0 * use * (r["prediction"] == r["target"]) for r, use in zip(records, counted, strict=True)],
            [float(use) for use in counted],
        ),
        "token_accuracy": (
            [
                100.0 * (most - use * Levenshtein.distance(record["target"], record["prediction"]))
                for record, most, use in zip(records, longest, counted, strict=True)
            ],
            [float(most) for most in longest],
        ),
    }
    orders = [(record["order"] or {}) if use else {} for record, use in zip(records, counted, strict=True)]
    for name, field in PROBES.items():
        if any(field in order for order in orders):
            outcomes = [100.0 * order.get(field, 0.0) for order in orders]
            found[name] = outcomes, [float(field in order) for order in orders]
    return found


def _between(records: Records, fewest: int, most: int) -> Records:
    return [record for record in records if fewest <= len(record["target"]) <= most]


def _exact(records: Records) -> float:
    return 100 * sum(record["prediction"] == record["target"] for record in records) / len(records)


def _tokens(records: Records) -> float:
    distance = sum(Levenshtein.distance(record["target"], record["prediction"]) for record in records)
    return 100 * (1 - distance / sum(max(len(record["target"]), len(record["prediction"])) for record in records))


def _order(records: Records) -> dict[str, float]:
    probed = [record["order"] for record in records if record["order"] is not None]
    scores = {}
    for name, field in PROBES.items():
        outcomes = [order[field] for order in probed if field in order]
        if outcomes:
            scores[name] = 100 * sum(outcomes) / len(outcomes)
    return scores
