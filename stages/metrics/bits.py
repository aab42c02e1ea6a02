"""How well sequences of binary vectors are predicted: bits a sequence (Graves et al. 2014, section 4), bit errors."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

import pydantic

from stages.core.errors import InputError
from stages.core.params import settings


@settings
class Settings:
    """``length``: ``bits_per_sequence`` is the mean over the test sequences of this many vectors."""

    length: int = pydantic.Field(default=20, gt=0)


def score(records: list[dict[str, Any]], settings: Settings) -> dict[str, float]:
    """Give "bits_per_sequence", the negative log2 likelihood of a target, and for each length among the records
    "bit_error_rate_<length>", wrong bits in percent of all, and "exact_match_<length>", sequences without a wrong bit
    in percent. A record has "length", "target", "bits" and "wrong_bits".

    Raises InputError where no record has the length that ``settings`` names.
    """
    by_length: dict[int, list[dict[str, Any]]] = defaultdict(list)
    for record in records:
        by_length[record["length"]].append(record)
    if settings.length not in by_length:
        raise InputError(
            f"no test sequence has length {settings.length}, which metric.length names; there are {sorted(by_length)}"
        )
    chosen = by_length[settings.length]
    scores = {"bits_per_sequence": sum(record["bits"] for record in chosen) / len(chosen)}
    for length, group in sorted(by_length.items()):
        every = sum(len(vector) for record in group for vector in record["target"])
        scores[f"bit_error_rate_{length}"] = 100 * sum(record["wrong_bits"] for record in group) / every
        scores[f"exact_match_{length}"] = 100 * sum(record["wrong_bits"] == 0 for record in group) / len(group)
    return scores


def tallies(records: list[dict[str, Any]], settings: Settings) -> dict[str, tuple[list[float], list[float]]]:
    """Give by example what each adds above and below the fraction line of every figure."""

    def of(length: int, above: list[float], below: list[float]) -> tuple[list[float], list[float]]:
        mine = [float(record["length"] == length) for record in records]
        return [a * use for a, use in zip(above, mine, strict=True)], [
            b * use for b, use in zip(below, mine, strict=True)
        ]

    ones = [1.0] * len(records)
    every = [float(sum(len(vector) for vector in record["target"])) for record in records]
    found = {"bits_per_sequence": of(settings.length, [record["bits"] for record in records], ones)}
    for length in sorted({record["length"] for record in records}):
        wrong = [100.0 * record["wrong_bits"] for record in records]
        found[f"bit_error_rate_{length}"] = of(length, wrong, every)
        found[f"exact_match_{length}"] = of(length, [100.0 * (bits == 0) for bits in wrong], ones)
    return found
