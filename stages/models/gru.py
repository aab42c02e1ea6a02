"""Gated recurrent unit (Cho et al. 2014): one gate lets the new in as the old goes, one resets (N13)."""

from __future__ import annotations

from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from stages.core.base.params import settings
from stages.core.learning.batch import Recurrence, RecurrentSettings, delayed, gate_sums


@settings
class Settings(RecurrentSettings):
    """``reset`` is applied to h_{t-1} "before" the product with the recurrent weights, as in Cho et al. (2014, equation
    8), or "after" it, to the product, as torch.nn does (from version 1 of that paper, and cuDNN).
    """

    reset: Literal["before", "after"] = "after"


class ResetBefore(torch.autograd.Function):
    """The time loop with the reset before the product, backpropagation through time by hand (N14).

        r, z = s(a_r), s(a_z), a = ``driven`` + U h_{t-1}
        n = tanh(driven_n + V (r * h_{t-1}))        h_t = n + z * (h_{t-1} - n)

    Axes: time, batch, H hidden units; the blocks of ``driven`` are r, z, n, those of U's rows r, z.
    """

    @staticmethod
    def forward(context: Any, driven: Tensor, gate_weight: Tensor, weight: Tensor, h: Tensor) -> Tensor:
        """Run all steps, and give h (time, batch, H).

        ``driven`` (time, batch, 3 H) is W x_t + b, ``gate_weight`` U (2 H, H), ``weight`` V (H, H), ``h`` (batch, H).
        """
        time, batch, _ = driven.shape
        size = h.shape[1]
        acts = torch.empty_like(driven)
        hs, kept = driven.new_empty(time + 1, batch, size), driven.new_empty(time, batch, size)  # kept: r * h_{t-1}
        hs[0] = h
        cut = 2 * size
        parts = (driven[..., :cut], driven[..., cut:], acts[..., :cut], acts[..., cut:], hs, hs[1:], kept)
        for drive, drive_new, gates, new, last, after, left in zip(*(part.unbind() for part in parts), strict=False):
            torch.addmm(drive, last, gate_weight.t(), out=gates).sigmoid_()
            torch.mul(gates[:, :size], last, out=left)
            torch.addmm(drive_new, left, weight.t(), out=new).tanh_()
            torch.lerp(new, last, gates[:, size:], out=after)
        context.save_for_backward(acts, hs, kept, gate_weight, weight)
        return hs[1:]

    @staticmethod
    @once_differentiable
    def backward(context: Any, dhs: Tensor) -> tuple[Tensor, ...]:
        """Go back through time; ``slopes`` ends as the loss's derivative by the sums before the non-linearities."""
        acts, hs, kept, gate_weight, weight = context.saved_tensors
        time, batch, _ = acts.shape
        size = hs.shape[2]
        reset, update, new = acts.view(time, batch, 3, size).unbind(2)
        slopes = torch.empty_like(acts)
        by_reset, by_update, by_new = slopes.view(time, batch, 3, size).unbind(2)
        torch.mul(reset - reset.square(), hs[:-1], out=by_reset)
        torch.mul(update - update.square(), hs[:-1] - new, out=by_update)
        torch.mul(1 - update, 1 - new.square(), out=by_new)
        dh = dhs[-1]
        for t in range(time - 1, -1, -1):
            dnew = by_new[t].mul_(dh)
            by_update[t].mul_(dh)
            dkept = dnew @ weight
            by_reset[t].mul_(dkept)
            below = torch.addcmul(dhs[t - 1], dh, update[t]) if t else dh * update[t]
            dh = below.addcmul_(dkept, reset[t]).addmm_(slopes[t, :, : 2 * size], gate_weight)
        flat = slopes.view(time * batch, 3 * size).t()
        dgate = flat[: 2 * size] @ hs[:-1].view(time * batch, size)
        return slopes, dgate, flat[2 * size :] @ kept.view(time * batch, size), dh


class ResetBeforeCell(nn.Module):
    """One layer in one direction: inputs (batch, time, input), outputs (batch, time, H), state h (1, batch, H)."""

    def __init__(self, settings: Settings, input_size: int) -> None:
        super().__init__()
        self.hidden_size = settings.hidden
        self.input = nn.Linear(input_size, 3 * settings.hidden)
        self.gate_recurrent = nn.Parameter(torch.empty(2 * settings.hidden, settings.hidden))
        self.recurrent = nn.Parameter(torch.empty(settings.hidden, settings.hidden))
        for parameter in self.parameters():
            nn.init.uniform_(parameter, -(settings.hidden**-0.5), settings.hidden**-0.5)

    def forward(self, inputs: Tensor, state: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Run over whole sequences."""
        h = inputs.new_zeros(len(inputs), self.hidden_size) if state is None else state[0]
        outputs = ResetBefore.apply(self.input(inputs.transpose(0, 1)), self.gate_recurrent, self.recurrent, h)
        return outputs.transpose(0, 1), outputs[-1:]


def gates(cell: nn.Module, inputs: Tensor, outputs: Tensor) -> dict[str, Tensor]:
    """Give the gates "reset" and "update" (batch, time, hidden)."""
    if isinstance(cell, nn.GRU):
        sums = gate_sums(cell, inputs, outputs)
    else:
        assert isinstance(cell, ResetBeforeCell)
        driven = cell.input(inputs)[..., : 2 * cell.hidden_size]
        sums = driven + nn.functional.linear(delayed(outputs), cell.gate_recurrent)
    reset, update = sums.sigmoid().split(outputs.shape[2], dim=2)[:2]
    return {"reset": reset, "update": update}


def build(settings: Settings, input_size: int) -> Recurrence:
    """Build the network for inputs of ``input_size`` features."""

    def make(size: int) -> nn.Module:
        if settings.reset == "before":
            return ResetBeforeCell(settings, size)
        return nn.GRU(size, settings.hidden, batch_first=True)

    return Recurrence(make, input_size, settings, gates)
