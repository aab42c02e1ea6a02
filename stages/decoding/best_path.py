"""CTC's best path (Graves et al. 2006, section 3.2): the best symbol of each step, repeats and nulls dropped."""

from typing import Any

import pydantic

from stages.core.base.params import settings
from stages.core.learning.batch import Padded
from stages.core.learning.task import Batch


@settings
class Settings:
    """``change`` is what each change of symbol from step to step costs a path, in nats.

    A network that is trained framewise, each step for itself, is decoded so: in the hidden Markov model over it, a
    symbol goes on more readily than another begins (Bourlard and Morgan 1994, chapter 7). CTC's path is free (0).
    """

    change: float = pydantic.Field(default=0.0, ge=0)


def decode(task: Any, batch: Batch, settings: Settings) -> list[dict[str, Any]]:
    """Give "prediction", "times" and "confidence", a symbol, [start, end] in seconds and 0 to 1 each, of each example.

    ``task.log_probabilities(batch)`` is (batch, time, symbols), of which ``task.best_path`` makes a transcript and
    ``task.transcribe`` the record.
    """
    steps = batch["steps"]
    assert isinstance(steps, Padded)
    found = []
    for scores, length in zip(task.log_probabilities(batch), steps.lengths.tolist(), strict=True):
        found.append(task.transcribe(scores[:length], task.best_path(scores[:length], change=settings.change)))
    return found
