"""The most probable sequences of labels of a model that scores whole sequences (a conditional random field)."""

import math
from typing import Any

import pydantic

from stages.core.base.params import settings
from stages.core.learning.task import Batch


@settings
class Settings:
    """``n_best`` sequences are given for each example."""

    n_best: int = pydantic.Field(default=1, gt=0)


def decode(task: Any, batch: Batch, settings: Settings) -> list[dict[str, Any]]:
    """Give "prediction" (a label a step) and "confidence", its probability, for each example.

    With ``n_best`` over 1 also "n_best", best first: {"prediction", "confidence"} each. ``task.best_paths(batch, n)``
    finds the sequences.
    """
    records = []
    for paths in task.best_paths(batch, settings.n_best):
        shown = [
            {"prediction": task.labels.decode(path), "confidence": round(math.exp(log_probability), 6)}
            for log_probability, path in paths
        ]
        records.append(shown[0] | ({"n_best": shown} if settings.n_best > 1 else {}))
    return records
