"""The network of Jordan (1986): the output layer is stored and read again at the next step (N5).

What is fed back is the network's own output distribution, which has a target, so one knows what should be in it. The
output layer belongs to the task: the task lends it to ``Jordan.connect``, and the state is the last distribution.
"""

from __future__ import annotations

from typing import Any

import pydantic
import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from stages.core.base.params import settings
from stages.core.learning.batch import mask


@settings
class Settings:
    """``hidden`` units."""

    hidden: int = pydantic.Field(gt=0)


class JordanRecurrence(torch.autograd.Function):
    """The time loop, backpropagation through time by hand (N14):

        h_t = tanh(driven_t + U y_{t-1})        y_t = softmax(V h_t + c)

    Axes: time, batch, H hidden units, K classes.
    """

    @staticmethod
    def forward(
        context: Any, driven: Tensor, feedback: Tensor, weight: Tensor, bias: Tensor, y: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Run all steps, and give h (time, batch, H) and the last y (batch, K).

        ``driven`` (time, batch, H) is W x_t + b, ``feedback`` U (H, K), ``weight`` V (K, H), ``bias`` c (K,), and ``y``
        (batch, K) what is fed back at the first step.
        """
        time, batch, _ = driven.shape
        hs, ys = torch.empty_like(driven), driven.new_empty(time + 1, batch, len(bias))
        ys[0] = y
        for drive, h, before, after in zip(driven.unbind(), hs.unbind(), ys.unbind(), ys[1:].unbind(), strict=False):
            torch.addmm(drive, before, feedback.t(), out=h).tanh_()
            torch.softmax(torch.addmm(bias, h, weight.t()), dim=1, out=after)
        context.save_for_backward(hs, ys, feedback, weight)
        return hs, ys[-1].clone()

    @staticmethod
    @once_differentiable
    def backward(context: Any, dhs: Tensor, dy: Tensor) -> tuple[Tensor, ...]:
        """Go back through time; ``dhs`` (time, batch, H) and ``dy`` (batch, K) are the loss's derivatives."""
        hs, ys, feedback, weight = context.saved_tensors
        slopes, dlogits = 1 - hs.square(), torch.empty_like(ys[1:])
        steps = [part.unbind() for part in (dhs, slopes, dlogits, ys[1:])]
        for dh, slope, dlogit, y in reversed(list(zip(*steps, strict=True))):
            torch.mul(y, dy - torch.linalg.vecdot(dy, y)[:, None], out=dlogit)
            slope.mul_(torch.addmm(dh, dlogit, weight))
            dy = slope @ feedback
        down, out = slopes.flatten(0, 1).t(), dlogits.flatten(0, 1)
        return slopes, down @ ys[:-1].flatten(0, 1), out.t() @ hs.flatten(0, 1), out.sum(0), dy


class Jordan(nn.Module):
    """One layer, one direction; nothing is fed back at the first step."""

    def __init__(self, settings: Settings, input_size: int) -> None:
        super().__init__()
        self.output_size = settings.hidden
        self.input = nn.Linear(input_size, settings.hidden)
        self._borrowed: list[nn.Linear] = []  # in a list, so that it is no part of this module

    def connect(self, head: nn.Linear) -> None:
        """Feed the distribution softmax(head(h_t)) back; call it once, before training."""
        self.feedback = nn.Parameter(torch.empty(self.output_size, head.out_features))
        nn.init.uniform_(self.feedback, -(self.output_size**-0.5), self.output_size**-0.5)
        self._borrowed = [head]

    def forward(self, inputs: Tensor, lengths: Tensor, state: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """(batch, time, input) -> h (batch, time, H), 0 at padding, and the distribution (batch, K) to go on from.

        The state is that after the last column: a caller goes on from it where no sequence ends before.
        """
        (head,) = self._borrowed
        y = inputs.new_zeros(len(inputs), head.out_features) if state is None else state
        driven = self.input(inputs.transpose(0, 1))
        outputs, y = JordanRecurrence.apply(driven, self.feedback, head.weight, head.bias, y)
        return outputs.transpose(0, 1) * mask(lengths, inputs.shape[1])[..., None], y


def build(settings: Settings, input_size: int) -> Jordan:
    """Build the network for inputs of ``input_size`` features."""
    return Jordan(settings, input_size)
