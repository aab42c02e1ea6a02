"""Errors of pronunciations, as letter-to-phone conversion counts them: of phones and of whole words (Yao, Zweig 2015).

A word may have several pronunciations; the one nearest to the prediction by edit distance counts.
"""

from typing import Any

from rapidfuzz.distance import Levenshtein

from stages.core.base.errors import InputError
from stages.core.base.params import settings


@settings
class Settings:
    """``field``: where a record holds its pronunciations, each a list of phones."""

    field: str = "targets"


def score(records: list[dict[str, Any]], settings: Settings) -> dict[str, float]:
    """Compare each record's "prediction", a list of phones, with the nearest of its pronunciations; all in percent.

    "phoneme_error_rate": substitutions, insertions and deletions over the phones of the nearest pronunciations;
    "word_error_rate": words whose prediction is none of their pronunciations. Of equally near ones the first counts.
    Raises InputError where there is no record, or one lacks a field or a pronunciation.
    """
    if not records:
        raise InputError("there are no predictions to score; the test split should hold at least one example")
    errors = phones = wrong = 0
    for record in records:
        for field in ("prediction", settings.field):
            if field not in record:
                raise InputError(f"prediction {record.get('id')} has no field {field!r}, which error rates compare")
        if not record[settings.field] or not all(record[settings.field]):
            raise InputError(f"prediction {record.get('id')} has no phones in {settings.field!r} to compare with")
        distance, length = nearest(record["prediction"], record[settings.field])
        errors += distance
        phones += length
        wrong += distance > 0
    return {"phoneme_error_rate": 100 * errors / phones, "word_error_rate": 100 * wrong / len(records)}


def tallies(records: list[dict[str, Any]], settings: Settings) -> dict[str, tuple[list[float], list[float]]]:
    """Give by example what each adds above and below the fraction line of either rate."""
    found = [nearest(record["prediction"], record[settings.field]) for record in records]
    return {
        "phoneme_error_rate": ([100.0 * distance for distance, _ in found], [float(length) for _, length in found]),
        "word_error_rate": ([100.0 * (distance > 0) for distance, _ in found], [1.0] * len(found)),
    }


def nearest(prediction: list[str], targets: list[list[str]]) -> tuple[int, int]:
    """Give the edit distance to the nearest of ``targets``, and that one's length in phones."""
    distances = [Levenshtein.distance(target, prediction) for target in targets]
    place = distances.index(min(distances))
    return distances[place], len(targets[place])
