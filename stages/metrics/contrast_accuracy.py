"""Accuracy on the contrast set of labelled sequences, and F1 of labelled spans on all of the test data.

A contrast set (Gardner et al. 2020, "Evaluating Models' Local Decision Boundaries via Contrast Sets") holds examples
that are equal but for the word that decides the label. Its records have ``contrast`` true.
"""

from __future__ import annotations

from typing import Any

import pydantic
from seqeval.metrics import f1_score
from seqeval.metrics.sequence_labeling import get_entities

from stages.core.base.errors import InputError
from stages.core.base.params import settings


@settings
class Settings:
    """``slots``: kinds of slot that the deciding word tells apart; contrast accuracy is counted over their tokens."""

    slots: list[str] = pydantic.Field(min_length=1)


def score(records: list[dict[str, Any]], settings: Settings) -> dict[str, float]:
    """Compare "tags" with "prediction" (BIO tags of each record); all in percent.

    "contrast_accuracy": of the tokens of ``settings.slots`` in the contrast set, the share whose whole tag is right.
    "span_f1": as conlleval computes it (by seqeval), over all records, micro-averaged. Raises InputError where a record
    lacks a field, its prediction has another length, or the contrast set has no token of such a slot.
    """
    for record in records:
        for field in ("tags", "prediction"):
            if field not in record:
                raise InputError(
                    f"prediction {record.get('id')} has no field {field!r}, which contrast_accuracy compares"
                )
        if len(record["tags"]) != len(record["prediction"]):
            raise InputError(
                f"prediction {record.get('id')} has {len(record['prediction'])} tags, but should have one for each of "
                f"its {len(record['tags'])} tokens"
            )
    deciding = [
        target == guess
        for record in records
        if record.get("contrast") is True
        for target, guess in zip(record["tags"], record["prediction"], strict=True)
        if target[2:] in settings.slots
    ]
    if not deciding:
        raise InputError(
            f"no test example with contrast true has a token tagged {' or '.join(settings.slots)}; contrast_accuracy "
            "needs a data set with a contrast set, such as tickets"
        )
    targets = [record["tags"] for record in records]
    guesses = [record["prediction"] for record in records]
    return {
        "contrast_accuracy": 100 * sum(deciding) / len(deciding),
        "span_f1": 100 * float(f1_score(targets, guesses)),
    }


def tallies(records: list[dict[str, Any]], settings: Settings) -> dict[str, tuple[list[float], list[float]]]:
    """Give by example what each adds above and below the fraction line of "contrast_accuracy" and of "span_f1"."""
    spans = [(set(get_entities(record["tags"])), set(get_entities(record["prediction"]))) for record in records]
    deciding = [
        [
            target == guess
            for target, guess in zip(record["tags"], record["prediction"], strict=True)
            if record.get("contrast") is True and target[2:] in settings.slots
        ]
        for record in records
    ]
    return {
        "contrast_accuracy": ([100.0 * sum(right) for right in deciding], [float(len(right)) for right in deciding]),
        "span_f1": (
            [200.0 * len(target & guess) for target, guess in spans],
            [float(len(target) + len(guess)) for target, guess in spans],
        ),
    }
