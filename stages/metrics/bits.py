"""How well sequences of binary vectors are predicted: bits a sequence (Graves et al. 2014, section 4), bit errors."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

import pydantic

from stages.core.base.errors import InputError
from stages.core.base.params import settings


@settings
class Settings:
    """``length``: ``bits_per_sequence`` is the mean over the test sequences of this length, or with ``range`` of that.

    Scores are by length, or with ``range`` by what the test sequences call their range, such as "in_range". ``bayes``:
    sequences tell what the best possible estimate costs, to compare the bits with.
    """

    length: int = pydantic.Field(default=20, gt=0)
    range: str | None = None
    bayes: bool = False


def score(records: list[dict[str, Any]], settings: Settings) -> dict[str, float]:
    """Give "bits_per_sequence", the negative log2 likelihood of a target, and for each length (or range) among the
    records "bit_error_rate_<length>", wrong bits in percent of all, and "exact_match_<length>", sequences without a
    wrong bit in percent.

    With ``settings.bayes`` bits may well be wrong; so instead of errors there are the mean of what the best possible
    estimate costs, "bayes_bits_per_sequence", and how much more the model costs in percent of it, "excess_over_bayes",
    and for each other length "excess_over_bayes_<length>".
    A record has "length" (or "range"), "target", "bits" and "wrong_bits" (or "bayes_bits").

    Raises InputError where no record has the length or range that ``settings`` names.
    """
    field, wanted = ("length", settings.length) if settings.range is None else ("range", settings.range)
    groups: dict[Any, list[dict[str, Any]]] = defaultdict(list)
    for record in records:
        groups[record[field]].append(record)
    if wanted not in groups:
        raise InputError(
            f"no test sequence has {field} {wanted}, which metric.{field} names; there are {sorted(groups)}"
        )
    chosen = groups[wanted]
    scores = {"bits_per_sequence": _mean(chosen, "bits")}
    if settings.bayes:
        scores["bayes_bits_per_sequence"] = _mean(chosen, "bayes_bits")
        order = [wanted, *sorted(set(groups) - {wanted})]
        excess = {name: 100 * (_mean(groups[name], "bits") / _mean(groups[name], "bayes_bits") - 1) for name in order}
        return scores | {f"excess_over_bayes{'' if n == wanted else f'_{n}'}": value for n, value in excess.items()}
    for name, group in sorted(groups.items()):
        every = sum(len(vector) for record in group for vector in record["target"])
        scores[f"bit_error_rate_{name}"] = 100 * sum(record["wrong_bits"] for record in group) / every
        scores[f"exact_match_{name}"] = 100 * sum(record["wrong_bits"] == 0 for record in group) / len(group)
    return scores


def tallies(records: list[dict[str, Any]], settings: Settings) -> dict[str, tuple[list[float], list[float]]]:
    """Give by example what each adds above and below the fraction line of every figure but the Bayes cost itself."""
    field, wanted = ("length", settings.length) if settings.range is None else ("range", settings.range)
    names = sorted({record[field] for record in records})
    use = {name: [float(record[field] == name) for record in records] for name in names}
    bits = [record["bits"] for record in records]

    def of(name: Any, above: list[float], below: list[float]) -> tuple[list[float], list[float]]:
        return (
            [part * mine for part, mine in zip(above, use[name], strict=True)],
            [part * mine for part, mine in zip(below, use[name], strict=True)],
        )

    ones = [1.0] * len(records)
    found = {"bits_per_sequence": of(wanted, bits, ones)}
    if "excess_over_bayes" in score(records, settings):
        least = [record["bayes_bits"] for record in records]
        excess = [100 * (cost - bound) for cost, bound in zip(bits, least, strict=True)]
        return found | {f"excess_over_bayes{'' if n == wanted else f'_{n}'}": of(n, excess, least) for n in names}
    every = [float(sum(len(vector) for vector in record["target"])) for record in records]
    wrong = [100.0 * record["wrong_bits"] for record in records]
    right = [100.0 * (errors == 0) for errors in wrong]
    for name in names:
        found[f"bit_error_rate_{name}"] = of(name, wrong, every)
        found[f"exact_match_{name}"] = of(name, right, ones)
    return found


def _mean(records: list[dict[str, Any]], field: str) -> float:
    return sum(record[field] for record in records) / len(records)
