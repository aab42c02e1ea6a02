"""Speech recognition: what was heard, how well doubled symbols, times and confidences are, as far as records say it.

A record has its target "symbols" and the decoder's "prediction" (lists of symbols), and may have "boundaries" and
"times" ([start, end] in seconds a symbol, true and decoded) and "confidence" (0 to 1 a decoded symbol).
"""

from __future__ import annotations

from itertools import pairwise
from statistics import median
from typing import Any

import pydantic
from rapidfuzz.distance import Levenshtein

from stages.core.base.params import settings

Record = dict[str, Any]
NEAR = 0.05  # seconds


@settings
class Settings:
    """``bins`` of equal width in which the calibration error compares confidence with the share that is right."""

    bins: int = pydantic.Field(default=15, gt=0)


def score(records: list[Record], settings: Settings) -> dict[str, float]:
    """Give what the records allow, rates in percent.

    - token_error_rate: substitutions, insertions and deletions over the number of target symbols,
    - exact_match: whole transcripts,
    - doubled_right: doubled symbols (two equal neighbours in the target) both of which are right,
    - boundary_error_ms: median absolute error of starts and ends, in milliseconds, and boundaries_within_50_ms,
    - calibration_error: expected calibration error (Guo et al. 2017, equation 3).
    """
    edits = [Levenshtein.distance(record["symbols"], record["prediction"]) for record in records]
    scores = {
        "token_error_rate": 100 * sum(edits) / sum(len(record["symbols"]) for record in records),
        "exact_match": 100 * sum(edit == 0 for edit in edits) / len(edits),
    }
    doubled = [right for record in records for right in doubled_right(record["symbols"], record["prediction"])]
    if doubled:
        scores["doubled_right"] = 100 * sum(doubled) / len(doubled)
    errors = [error for record in records for error in boundary_errors(record)]
    if errors:
        scores["boundary_error_ms"] = 1000 * median(errors)
        scores["boundaries_within_50_ms"] = 100 * sum(error <= NEAR for error in errors) / len(errors)
    claims = [claim for record in records for claim in confidences(record)]
    if claims:
        scores["calibration_error"] = 100 * calibration_error(claims, settings.bins)
    return scores


def tallies(records: list[Record], settings: Settings) -> dict[str, tuple[list[float], list[float]]]:
    """Give by example what each adds above and below the fraction line of the rates, those of calibration excepted."""
    edits = [Levenshtein.distance(record["symbols"], record["prediction"]) for record in records]
    found = {
        "token_error_rate": ([100.0 * edit for edit in edits], [float(len(record["symbols"])) for record in records]),
        "exact_match": ([100.0 * (edit == 0) for edit in edits], [1.0] * len(edits)),
    }
    doubled = [doubled_right(record["symbols"], record["prediction"]) for record in records]
    near = [[error <= NEAR for error in boundary_errors(record)] for record in records]
    for name, rights in (("doubled_right", doubled), ("boundaries_within_50_ms", near)):
        if any(rights):
            found[name] = [100.0 * sum(right) for right in rights], [float(len(right)) for right in rights]
    return found


def matches(target: list[str], prediction: list[str]) -> list[tuple[int, int]]:
    """Give the places (in target, in prediction) of symbols that are right, in an alignment of the fewest edits."""
    found: list[tuple[int, int]] = []
    for edit in Levenshtein.opcodes(target, prediction):
        if edit.tag == "equal":
            found += zip(range(edit.src_start, edit.src_end), range(edit.dest_start, edit.dest_end), strict=True)
    return found


def doubled_right(target: list[str], prediction: list[str]) -> list[bool]:
    """Say of each two equal neighbours in ``target`` whether both are right."""
    doubled = [place for place, (first, second) in enumerate(pairwise(target)) if first == second]
    right = {place for place, _ in matches(target, prediction)} if doubled else set()
    return [{place, place + 1} <= right for place in doubled]


def boundary_errors(record: Record) -> list[float]:
    """Give the absolute errors in seconds of starts and ends, of a transcript that is right as a whole.

    The first start and the last end are left out: of a recording cut to what is said they are right without merit.
    """
    if not ("boundaries" in record and "times" in record) or record["prediction"] != record["symbols"]:
        return []
    true, found = ([time for span in record[name] for time in span][1:-1] for name in ("boundaries", "times"))
    # Rounded: both are multiples of a frame, and a distance of just 50 ms should count as such.
    return [round(abs(a - b), 6) for a, b in zip(true, found, strict=True)]


def confidences(record: Record) -> list[tuple[float, bool]]:
    """Give the confidence of each decoded symbol, and whether it is right."""
    if "confidence" not in record:
        return []
    right = {place for _, place in matches(record["symbols"], record["prediction"])}
    return [(confidence, place in right) for place, confidence in enumerate(record["confidence"])]


def calibration_error(claims: list[tuple[float, bool]], bins: int) -> float:
    """Give the mean distance of confidence from share right, over ``bins`` weighted by what falls into them."""
    gathered: dict[int, list[tuple[float, bool]]] = {}
    for confidence, right in claims:
        gathered.setdefault(min(int(confidence * bins), bins - 1), []).append((confidence, right))
    gaps = [abs(sum(confidence - right for confidence, right in bin)) for bin in gathered.values()]
    return sum(gaps) / len(claims)
