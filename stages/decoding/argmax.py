"""The most probable label: of each token, or of the whole sequence."""

from typing import Any

from stages.core.base.params import settings
from stages.core.learning.batch import Padded
from stages.core.learning.task import Batch


@settings
class Settings:
    """Nothing to set."""


def decode(task: Any, batch: Batch, settings: Settings) -> list[dict[str, Any]]:
    """Give the best label(s) of each example.

    ``task.log_probabilities(batch)`` is (batch, classes), which gives "prediction" (a label) and "confidence" (its
    probability), or (batch, time, classes), which gives "prediction" (a label a step). What ``task.explain(batch)``
    says, where the task has it, is added in the first case.
    """
    log_probabilities = task.log_probabilities(batch)
    best = log_probabilities.argmax(dim=-1)
    if log_probabilities.ndim == 2:
        confidence = log_probabilities.exp().amax(dim=-1).tolist()
        further = task.explain(batch) if hasattr(task, "explain") else [{} for _ in confidence]
        return [
            {"prediction": label, "confidence": round(share, 6), **more}
            for label, share, more in zip(task.labels.decode(best.tolist()), confidence, further, strict=True)
        ]
    lengths = next(part.lengths for part in batch.values() if isinstance(part, Padded)).tolist()
    rows = zip(best.tolist(), lengths, strict=True)
    return [{"prediction": task.labels.decode(row[:length])} for row, length in rows]
