"""CTC's best path (Graves et al. 2006, section 3.2): the best symbol of each step, repeats and nulls dropped."""

from typing import Any

from stages.core.batch import Padded
from stages.core.params import settings
from stages.core.task import Batch


@settings
class Settings:
    """Nothing to set."""


def decode(task: Any, batch: Batch, settings: Settings) -> list[dict[str, Any]]:
    """Give "prediction", "times" and "confidence", a symbol, [start, end] in seconds and 0 to 1 each, of each example.

    ``task.log_probabilities(batch)`` is (batch, time, symbols), of which ``task.best_path`` makes a transcript and
    ``task.transcribe`` the record.
    """
    steps = batch["steps"]
    assert isinstance(steps, Padded)
    rows = zip(task.log_probabilities(batch), steps.lengths.tolist(), strict=True)
    return [task.transcribe(scores[:length], task.best_path(scores[:length])) for scores, length in rows]
