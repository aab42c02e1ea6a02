"""One thread a test process, as in the pipeline: workers with several each would stand in each other's way."""

from collections.abc import Callable

import pytest
import torch

from stages.core.learning.dataset import Example
from stages.core.learning.task import Task

torch.set_num_threads(1)

Kill = Callable[[Task, int, Callable[[], object]], None]


class Killed(Exception):
    """What ends a training in its midst."""


@pytest.fixture
def kill() -> Kill:
    """Give what runs a training, its last argument, and kills it as the epoch (from 0) of its task begins."""

    def kill(task: Task, epoch: int, run: Callable[[], object]) -> None:
        plain = task.draw

        def draw(examples: list[Example], generator: torch.Generator) -> list[Example]:
            if task.current_epoch == epoch:
                raise Killed
            return plain(examples, generator)

        task.draw = draw  # type: ignore[method-assign]
        with pytest.raises(Killed):
            run()

    return kill
