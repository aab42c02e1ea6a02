"""CTC's best path (Graves et al. 2006, section 3.2): the best symbol of each step, repeats and nulls dropped."""

from collections.abc import Iterator
from itertools import groupby
from typing import Any

from stages.core.batch import Padded
from stages.core.dataset import Example
from stages.core.params import settings
from stages.core.task import Batch


@settings
class Settings:
    """Nothing to set."""


def decode(task: Any, batch: Batch, settings: Settings) -> list[dict[str, Any]]:
    """Give "prediction", "times" and "confidence", a symbol, [start, end] in seconds and 0 to 1 each, of each example.

    ``task.log_probabilities(batch)`` is (batch, time, symbols); ``task.locate`` finds where a symbol stands.
    """
    steps = batch["steps"]
    assert isinstance(steps, Padded)
    scores = task.log_probabilities(batch)
    best = scores.argmax(dim=-1).tolist()
    records = []
    for row, length in enumerate(steps.lengths.tolist()):
        symbols = collapse(best[row][:length])
        places = task.locate(scores[row, :length], symbols)
        records.append(
            {
                "prediction": task.symbols.decode(symbols),
                "times": [[start, end] for start, end, _ in places],
                "confidence": [confidence for _, _, confidence in places],
            }
        )
    return records


def collapse(path: list[int]) -> list[int]:
    """Merge repeated symbols of ``path``, then drop the nulls (symbol 0)."""
    return [symbol for symbol, _ in groupby(path) if symbol != 0]


def decode_stream(task: Any, example: Example, seconds: float) -> Iterator[list[str]]:
    """Decode ``example`` as it comes in: after each ``seconds`` of it, yield the symbols heard since.

    ``task.stream`` gives the log-probabilities (time, symbols) of each piece; joined, they give ``decode``'s text.
    Raises InputError where the model has to know the end of an utterance first.
    """
    last = 0
    for scores in task.stream(example, seconds):
        path = scores.argmax(dim=-1).tolist()
        heard = [symbol for before, symbol in zip([last, *path], path, strict=False) if symbol not in (0, before)]
        last = path[-1]
        yield task.symbols.decode(heard)
