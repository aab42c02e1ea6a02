"""No search: a peer gives its one answer."""

from typing import Any

from stages.core.base.params import settings
from stages.core.learning.task import Batch


@settings
class Settings:
    """Nothing to set."""


def decode(task: Any, batch: Batch, settings: Settings) -> list[dict[str, Any]]:
    """Give "prediction" for each example: what ``task.convert(batch)`` says."""
    return [{"prediction": prediction} for prediction in task.convert(batch)]
