"""The LSTM's variants that torch.nn lacks: peepholes, coupled gates, no forget gate (N11, N13, N19).

Their time loop is a ``torch.autograd.Function`` with backpropagation through time written by hand (N14): its forward
loop keeps the activations; its backward computes all element-wise derivatives before the loop, and each weight's
gradient as one matrix product after it, so that a step back is one product with the recurrent weights and a few
element-wise operations. Time is the first axis in it: a step is then one block of memory.

Axes: time, batch, H hidden units.
"""

from __future__ import annotations

from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from stages.core.base.params import settings
from stages.core.learning.batch import Recurrence, RecurrentSettings, delayed

Forget = Literal["free", "coupled", "none"]
State = tuple[Tensor, Tensor]


@settings
class Settings(RecurrentSettings):
    """``forget`` is a gate of its own ("free", which ``forget_bias`` opens at first), what the input gate leaves
    ("coupled", Greff et al. 2017), or always open ("none", the LSTM of Hochreiter and Schmidhuber 1997). With
    ``peephole`` the gates see the cell (Gers and Schmidhuber 2000).
    """

    peephole: bool = False
    forget: Forget = "free"
    forget_bias: float = 1.0


class LSTMRecurrence(torch.autograd.Function):
    """The time loop. With s the logistic function, * element by element, and a = ``driven`` + U h_{t-1}:

        i = s(a_i + p_i * c_{t-1})        f = s(a_f + p_f * c_{t-1})        g = tanh(a_g)
        c_t = f * c_{t-1} + i * g         o = s(a_o + p_o * c_t)            h_t = o * tanh(c_t)

    f is 1 - i where the gates are coupled, and 1 where there is none. Without peepholes p is left out. The blocks of
    ``driven`` and of U's rows are i, f (where it is free), g, o; those of p are i, f (where it is free), o.
    """

    @staticmethod
    def forward(
        context: Any, driven: Tensor, weight: Tensor, peephole: Tensor | None, h: Tensor, c: Tensor, forget: Forget
    ) -> tuple[Tensor, Tensor]:
        """Run all steps, and give h (time, batch, H) and the last c (batch, H).

        ``driven`` (time, batch, blocks x H) is W x_t + b, ``weight`` U (blocks x H, H), ``peephole`` (gates, H) or
        none, ``h`` and ``c`` (batch, H) the state before the first step.
        """
        time, batch, _ = driven.shape
        size = h.shape[1]
        acts, shown = torch.empty_like(driven), driven.new_empty(time, batch, size)  # shown: tanh(c_t)
        hs, cs = driven.new_empty(time + 1, batch, size), driven.new_empty(time + 1, batch, size)
        hs[0], cs[0] = h, c
        early = (2 if forget == "free" else 1) * size  # the gates that come before the cell is written
        parts = (driven, acts, acts[..., :early], acts[..., early:-size], acts[..., -size:], hs, hs[1:], cs, cs[1:])
        recurrent = weight.t()
        for drive, act, gates, value, out, last, after, held, kept, seen in zip(
            *(part.unbind() for part in (*parts, shown)), strict=False
        ):
            torch.addmm(drive, last, recurrent, out=act)
            if peephole is None:
                out.sigmoid_()
            else:
                gates.view(batch, -1, size).addcmul_(held[:, None], peephole[:-1])
            gates.sigmoid_()
            value.tanh_()
            if forget == "free":
                torch.mul(held, gates[:, size:], out=kept).addcmul_(gates[:, :size], value)
            elif forget == "coupled":
                torch.lerp(held, value, gates, out=kept)
            else:
                torch.addcmul(held, gates, value, out=kept)
            if peephole is not None:
                out.addcmul_(kept, peephole[-1]).sigmoid_()
            torch.mul(out, torch.tanh(kept, out=seen), out=after)
        context.save_for_backward(acts, hs, cs, shown, weight, peephole)
        context.forget = forget
        return hs[1:], cs[-1].clone()

    @staticmethod
    @once_differentiable
    def backward(context: Any, dhs: Tensor, dc: Tensor) -> tuple[Tensor | None, ...]:
        """Go back through time; ``dhs`` (time, batch, H) and ``dc`` (batch, H) are the loss's derivatives by h and c.

        ``slopes`` (time, batch, blocks, H) begins as the derivative of what a block writes to (h_t for o, c_t for the
        others) by the block's sum a, and ends as the derivative of the loss by a.
        """
        acts, hs, cs, shown, weight, peephole = context.saved_tensors
        time, batch, _ = acts.shape
        size, forget = hs.shape[2], context.forget
        blocks = acts.view(time, batch, -1, size)
        enter, value, out, held = blocks[:, :, 0], blocks[:, :, -2], blocks[:, :, -1], cs[:-1]
        slopes = blocks - blocks.square()  # s' = s (1 - s); the block of g follows
        slopes[:, :, 0].mul_(value - held if forget == "coupled" else value)
        if forget == "free":
            slopes[:, :, 1].mul_(held)
        torch.addcmul(enter, enter * value, value, value=-1, out=slopes[:, :, -2])
        slopes[:, :, -1].mul_(shown)
        through = torch.addcmul(out, out * shown, shown, value=-1)  # of h_t by c_t
        keep: Tensor | None = None  # the derivative of c_t by c_{t-1}, where it is not 1
        if forget != "none":
            keep = blocks[:, :, 1] if forget == "free" else 1 - enter
        looks = [] if peephole is None else list(peephole)
        if looks:
            through.addcmul_(slopes[:, :, -1], looks[-1])
            seen = sum(slopes[:, :, gate] * look for gate, look in enumerate(looks[:-1]))
            keep = seen + (1 if keep is None else keep)
        dc, dh = dc.clone(), dhs[-1]
        steps = [part.unbind() for part in (slopes[:, :, :-1], slopes[:, :, -1], slopes.flatten(2), through)]
        for t, (early, late, flat, pass_through) in reversed(list(enumerate(zip(*steps, strict=True)))):
            late.mul_(dh)
            dc.addcmul_(dh, pass_through)
            early.mul_(dc[:, None])
            if keep is not None:
                dc.mul_(keep[t])
            dh = torch.addmm(dhs[t - 1], flat, weight) if t else flat @ weight
        dpeephole = None
        if looks:
            cells = [*[held] * (len(looks) - 1), cs[1:]]
            place = [*range(len(looks) - 1), -1]
            dpeephole = torch.stack([(slopes[:, :, g] * c).sum((0, 1)) for g, c in zip(place, cells, strict=True)])
        dweight = slopes.view(time * batch, -1).t() @ hs[:-1].view(time * batch, size)
        return slopes.flatten(2), dweight, dpeephole, dh, dc, None


class VariantCell(nn.Module):
    """One layer in one direction: inputs (batch, time, input), outputs (batch, time, H), state (h, c) of (1, batch, H).

    Weights are drawn as in torch.nn: evenly within 1/sqrt(H).
    """

    def __init__(self, settings: Settings, input_size: int) -> None:
        super().__init__()
        self.hidden_size, self.forget = settings.hidden, settings.forget
        gates = 3 if settings.forget == "free" else 2
        self.input = nn.Linear(input_size, (gates + 1) * settings.hidden)
        self.recurrent = nn.Parameter(torch.empty((gates + 1) * settings.hidden, settings.hidden))
        self.peephole = nn.Parameter(torch.empty(gates, settings.hidden)) if settings.peephole else None
        for parameter in self.parameters():
            nn.init.uniform_(parameter, -(settings.hidden**-0.5), settings.hidden**-0.5)
        if settings.forget == "free":
            nn.init.constant_(self.input.bias[settings.hidden : 2 * settings.hidden], settings.forget_bias)

    def forward(self, inputs: Tensor, state: State | None = None) -> tuple[Tensor, State]:
        """Run over whole sequences."""
        blank = inputs.new_zeros(len(inputs), self.hidden_size)
        h, c = (part[0] for part in state) if state else (blank, blank)
        driven = self.input(inputs.transpose(0, 1))
        outputs, c = LSTMRecurrence.apply(driven, self.recurrent, self.peephole, h, c, self.forget)
        return outputs.transpose(0, 1), (outputs[-1:], c[None])


def gates(cell: nn.Module, inputs: Tensor, outputs: Tensor) -> dict[str, Tensor]:
    """Give the gates "input", "forget" (if there is one) and "output", and the "cell" (batch, time, hidden)."""
    assert isinstance(cell, VariantCell)
    sums = cell.input(inputs) + nn.functional.linear(delayed(outputs), cell.recurrent)
    blocks = sums.split(cell.hidden_size, dim=2)
    looks = [0.0] * (len(blocks) - 1) if cell.peephole is None else list(cell.peephole)
    told: dict[str, list[Tensor]] = {"input": [], "forget": [], "output": [], "cell": []}
    held = torch.zeros_like(outputs[:, 0])
    for time in range(inputs.shape[1]):
        enter = torch.sigmoid(blocks[0][:, time] + looks[0] * held)
        keep = torch.sigmoid(blocks[1][:, time] + looks[1] * held) if cell.forget == "free" else 1 - enter
        held = (held if cell.forget == "none" else keep * held) + enter * blocks[-2][:, time].tanh()
        show = torch.sigmoid(blocks[-1][:, time] + looks[-1] * held)
        for name, value in zip(told, (enter, keep, show, held), strict=True):
            told[name].append(value)
    if cell.forget == "none":
        del told["forget"]
    return {name: torch.stack(values, dim=1) for name, values in told.items()}


def build(settings: Settings, input_size: int) -> Recurrence:
    """Build the network for inputs of ``input_size`` features."""
    return Recurrence(lambda size: VariantCell(settings, size), input_size, settings, gates)
