"""The candidate to whose mentions the attention gives most (Kadlec et al. 2016, equation 2)."""

from typing import Any

from stages.core.base.params import settings
from stages.core.learning.task import Batch


@settings
class Settings:
    """Nothing to set."""


def decode(task: Any, batch: Batch, settings: Settings) -> list[dict[str, Any]]:
    """Give each example's "prediction", its "confidence" (a probability), and where the task says that it looked.

    ``task.log_probabilities(batch)`` is (batch, candidate), ``task.candidates(batch)`` their names by example, and
    ``task.explain(batch)`` further fields of each example.
    """
    confidence, best = task.log_probabilities(batch).exp().max(dim=1)
    told = zip(task.candidates(batch), best.tolist(), confidence.tolist(), task.explain(batch), strict=True)
    return [
        {"prediction": names[index], "confidence": round(share, 6), **further} for names, index, share, further in told
    ]
