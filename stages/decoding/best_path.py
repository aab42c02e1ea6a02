"""CTC's best path (Graves et al. 2006, section 3.2): the best symbol of each step, repeats and nulls dropped."""

from itertools import groupby
from typing import Any

from stages.core.batch import Padded
from stages.core.params import settings
from stages.core.task import Batch


@settings
class Settings:
    """Nothing to set."""


def decode(task: Any, batch: Batch, settings: Settings) -> list[dict[str, Any]]:
    """Give "prediction", the digits of each example; ``task.log_probabilities(batch)`` is (batch, time, symbols)."""
    steps = batch["steps"]
    assert isinstance(steps, Padded)
    best = task.log_probabilities(batch).argmax(dim=-1).tolist()
    rows = zip(best, steps.lengths.tolist(), strict=True)
    return [{"prediction": [int(s) for s in task.symbols.decode(collapse(path[:length]))]} for path, length in rows]


def collapse(path: list[int]) -> list[int]:
    """Merge repeated symbols of ``path``, then drop the nulls (symbol 0)."""
    return [symbol for symbol, _ in groupby(path) if symbol != 0]
