"""Token error rate: substitutions, insertions and deletions over the number of target tokens, in percent."""

from typing import Any

from rapidfuzz.distance import Levenshtein

from stages.core.params import settings


@settings
class Settings:
    """``field``: where a record holds its target tokens."""

    field: str = "digits"


def score(records: list[dict[str, Any]], settings: Settings) -> dict[str, float]:
    """Compare each record's target with its "prediction" (lists of tokens); exact_match counts whole sequences."""
    targets = [record[settings.field] for record in records]
    edits = [Levenshtein.distance(t, record["prediction"]) for t, record in zip(targets, records, strict=True)]
    return {
        "token_error_rate": 100 * sum(edits) / sum(map(len, targets)),
        "exact_match": 100 * sum(edit == 0 for edit in edits) / len(edits),
    }
