"""Decode binary vectors bit by bit: a bit is 1 where its chance is above a threshold."""

from __future__ import annotations

import math
from typing import Any, Protocol

import pydantic
import torch
from torch import Tensor

from stages.core.base.params import settings
from stages.core.learning.batch import Padded
from stages.core.learning.task import Batch


@settings
class Settings:
    """``threshold``: a bit is 1 where its chance is above this."""

    threshold: float = pydantic.Field(default=0.5, gt=0, lt=1)


class BinaryTask(Protocol):
    """What this decoder needs of a task."""

    def log_probabilities(self, batch: Batch) -> Tensor:
        """Give the natural logarithms of the chances of 0 and of 1, (batch, target time, width, 2)."""


@torch.no_grad()
def decode(task: BinaryTask, batch: Batch, settings: Settings) -> list[dict[str, Any]]:
    """Give for each example, from ``batch["targets"]`` (batch, target time, width):

    "prediction", a string of bits for each vector of the target; "bits", the negative log2 likelihood of the target
    under the model, summed over its bits and steps; "wrong_bits", how many bits of the prediction differ from it.
    """
    targets = batch["targets"]
    assert isinstance(targets, Padded)
    log_probabilities = task.log_probabilities(batch)
    predicted = log_probabilities[..., 1] > math.log(settings.threshold)
    wanted = targets.values > 0
    log_likelihood = torch.where(wanted, log_probabilities[..., 1], log_probabilities[..., 0])
    results = []
    for i, length in enumerate(targets.lengths.tolist()):
        digits = predicted[i, :length].int().tolist()
        results.append(
            {
                "prediction": ["".join(map(str, vector)) for vector in digits],
                "bits": -float(log_likelihood[i, :length].double().sum()) / math.log(2) + 0.0,
                "wrong_bits": int((predicted[i, :length] != wanted[i, :length]).sum()),
            }
        )
    return results
