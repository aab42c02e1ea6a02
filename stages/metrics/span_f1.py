"""F1 of labelled spans, as CoNLL-2000's conlleval computes it (by seqeval): a span counts if ends and kind match."""

from typing import Any

from seqeval.metrics import f1_score, precision_score, recall_score
from seqeval.metrics.sequence_labeling import get_entities

from stages.core.base.params import settings


@settings
class Settings:
    """Nothing to set."""


def score(records: list[dict[str, Any]], settings: Settings) -> dict[str, float]:
    """Compare "tags" with "prediction" (BIO tags of each record), micro-averaged, in percent."""
    targets = [record["tags"] for record in records]
    guesses = [record["prediction"] for record in records]
    tokens = [
        (t, g) for target, guess in zip(targets, guesses, strict=True) for t, g in zip(target, guess, strict=True)
    ]
    return {
        "span_f1": 100 * float(f1_score(targets, guesses)),
        "precision": 100 * float(precision_score(targets, guesses)),
        "recall": 100 * float(recall_score(targets, guesses)),
        "accuracy": 100 * sum(t == g for t, g in tokens) / len(tokens),
    }


def tallies(records: list[dict[str, Any]], settings: Settings) -> dict[str, tuple[list[float], list[float]]]:
    """Give by example what each adds above and below the fraction line of "span_f1": 2 x right over all spans."""
    spans = [(set(get_entities(record["tags"])), set(get_entities(record["prediction"]))) for record in records]
    right = [200.0 * len(target & guess) for target, guess in spans]
    return {"span_f1": (right, [float(len(target) + len(guess)) for target, guess in spans])}
