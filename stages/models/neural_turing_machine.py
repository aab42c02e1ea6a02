"""Neural Turing Machine (Graves, Wayne and Danihelka 2014, arXiv:1410.5401), in the paper's symbols.

``NeuralTuringMachine.step`` is the paper, line by line, by autograd. ``Recurrence`` is the same function over all steps
with a backward pass written by hand, for training in about half the time; the tests hold the two equal.

Axes: batch, time, N locations of the memory, M values at each location, heads (read heads first, then write heads).
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any, Literal, NamedTuple

import pydantic
import torch
from torch import Tensor, nn
from torch.nn import functional

from stages.core.base.params import settings
from stages.core.learning.batch import add_where, by_step, mask, unroll

SHIFTS = 3  # a head moves by -1, 0 or +1 locations in one step
FIRST_MEMORY = 1e-6  # what every location holds before the first step
NORM_FLOOR = 1e-8  # added to squared norms, so that a blank location resembles no key
WEIGHT_FLOOR = 1e-6  # added to weights before their logarithm, which is then finite, and so is its gradient
FIRST_SHARPENING = 1.0  # initial bias of gamma_t before its softplus


@settings
class Settings:
    """A ``controller`` of ``hidden`` units, and a memory of ``locations`` (N) x ``width`` (M) values.

    ``read_heads`` and ``write_heads`` count the heads of either kind. ``forward_bias`` is the initial bias of the shift
    by +1: heads that first incline to walk on, a location a step, learn faster and in more of the runs.

    ``strength_bias`` is the initial bias of beta_t, and ``tied_keys`` begins with keys equal to what the first write
    head would add: heads that first look for what they would write, and tell it from the rest, learn to find things
    by their content sooner. Nothing that is learned depends on N, so that training may have a smaller and faster memory
    of ``training_locations``; none for the same.
    """

    controller: Literal["feedforward", "lstm"] = "feedforward"
    hidden: int = pydantic.Field(default=100, gt=0)
    locations: int = pydantic.Field(default=128, ge=SHIFTS)
    training_locations: int | None = pydantic.Field(default=None, ge=SHIFTS)
    width: int = pydantic.Field(default=20, gt=0)
    read_heads: int = pydantic.Field(default=1, gt=0)
    write_heads: int = pydantic.Field(default=1, gt=0)
    forward_bias: float = 3.0
    strength_bias: float = 0.0
    tied_keys: bool = False


class State(NamedTuple):
    """What goes from one step to the next.

    ``memory`` (batch, N, M) is M_t; ``weights`` (batch, heads, N) are w_t; ``output`` (batch, output_size) is the
    controller's h_t, then the vectors r_t just read; ``cell`` (batch, hidden) is the LSTM's c_t, zero for a
    feed-forward controller.
    """

    memory: Tensor
    weights: Tensor
    output: Tensor
    cell: Tensor


class Emitted(NamedTuple):
    """What the controller tells its heads, and a head's part in it.

    To address (section 3.3): ``key`` k_t (batch, heads, M), ``shift`` s_t (batch, heads, 3: by -1, 0, +1), ``strength``
    beta_t > 0, ``gate`` g_t in (0, 1) and ``sharpening`` gamma_t > 1, each (batch, heads, 1). To write (section 3.2):
    ``erase`` e_t in (0, 1) and ``add`` a_t, each (batch, write heads, M).
    """

    key: Tensor
    strength: Tensor
    gate: Tensor
    shift: Tensor
    sharpening: Tensor
    erase: Tensor
    add: Tensor


class Layout:
    """Where the controller's emission holds what, for all heads side by side: slices of its ``size`` columns.

    Equal nonlinearities stand together: tanh (k_t, a_t), sigmoid (e_t, g_t), softplus (beta_t), 1 + softplus (gamma_t),
    and a softmax of each head's three shifts.
    """

    def __init__(self, read_heads: int, write_heads: int, width: int) -> None:
        self.write_heads, self.width = write_heads, width
        heads = self.heads = read_heads + write_heads
        parts = (heads * width, write_heads * width, write_heads * width, heads, heads, heads, heads * SHIFTS)
        ends = list(itertools.accumulate(parts))
        slices = [slice(end - part, end) for end, part in zip(ends, parts, strict=True)]
        self.key, self.add, self.erase, self.gate, self.strength, self.sharpening, self.shift = slices
        self.tanh = slice(self.key.start, self.add.stop)
        self.sigmoid = slice(self.erase.start, self.gate.stop)
        self.size = ends[-1]

    def activate(self, raw: Tensor) -> Tensor:
        """Apply the nonlinearities to (batch, size)."""
        shift = raw[:, self.shift].reshape(len(raw), self.heads, SHIFTS).softmax(-1).flatten(1)
        strength, sharpening = functional.softplus(raw[:, self.strength]), functional.softplus(raw[:, self.sharpening])
        return torch.cat([raw[:, self.tanh].tanh(), raw[:, self.sigmoid].sigmoid(), strength, 1 + sharpening, shift], 1)

    def slopes(self, activated: Tensor) -> Tensor:
        """Give the derivatives of the element-wise nonlinearities from their values (..., size); 1 for the shifts."""
        slopes = torch.ones_like(activated)
        slopes[..., self.tanh] -= activated[..., self.tanh].square()
        sigmoid = activated[..., self.sigmoid]
        slopes[..., self.sigmoid] = sigmoid * (1 - sigmoid)
        slopes[..., self.strength] = -torch.expm1(-activated[..., self.strength])
        slopes[..., self.sharpening] = -torch.expm1(1 - activated[..., self.sharpening])
        return slopes

    def split(self, activated: Tensor) -> Emitted:
        """View (..., size) as the heads' parts."""
        *axes, _ = activated.shape
        return Emitted(
            key=activated[..., self.key].view(*axes, self.heads, self.width),
            strength=activated[..., self.strength, None],
            gate=activated[..., self.gate, None],
            shift=activated[..., self.shift].view(*axes, self.heads, SHIFTS),
            sharpening=activated[..., self.sharpening, None],
            erase=activated[..., self.erase].view(*axes, self.write_heads, self.width),
            add=activated[..., self.add].view(*axes, self.write_heads, self.width),
        )


def build(settings: Settings, input_size: int) -> NeuralTuringMachine:
    """Make the model for inputs of ``input_size`` features."""
    return NeuralTuringMachine(settings, input_size)


def content_weights(memory: Tensor, key: Tensor, strength: Tensor) -> Tensor:
    """Focus by content, equations 5 and 6: softmax over N of beta_t K[k_t, M_t(i)], with K the cosine similarity."""
    key_norm = (key.square().sum(-1, keepdim=True) + NORM_FLOOR).sqrt()
    memory_norm = (memory.square().sum(-1) + NORM_FLOOR).sqrt()
    similarity = key @ memory.transpose(1, 2) / key_norm / memory_norm[:, None]
    return (strength * similarity).softmax(-1)


def shifted(weights: Tensor, shift: Tensor) -> Tensor:
    """Shift, equation 8: circular convolution of w (batch, heads, N) with s (batch, heads, 3: by -1, 0, +1)."""
    back, stay, forth = shift[..., None].unbind(-2)
    return back * weights.roll(-1, -1) + stay * weights + forth * weights.roll(1, -1)


def sharpened(weights: Tensor, sharpening: Tensor) -> Tensor:
    """Sharpen, equation 9: w^gamma / sum of w^gamma, as a softmax of logarithms, which can't overflow."""
    return (sharpening * (weights + WEIGHT_FLOOR).log()).softmax(-1)


def addressed(memory: Tensor, weights: Tensor, emitted: Emitted) -> Tensor:
    """Address, figure 2: from w_{t-1} (batch, heads, N) to w_t by content, interpolation (7), shift and sharpening."""
    content = content_weights(memory, emitted.key, emitted.strength)
    gated = emitted.gate * content + (1 - emitted.gate) * weights
    return sharpened(shifted(gated, emitted.shift), emitted.sharpening)


def written(memory: Tensor, weights: Tensor, erase: Tensor, add: Tensor) -> Tensor:
    """Write, equations 3 and 4, by weights (batch, write heads, N): all heads erase, then all add."""
    kept = (1 - weights[..., None] * erase[:, :, None]).prod(1)
    return memory * kept + weights.transpose(1, 2) @ add


class NeuralTuringMachine(nn.Module):
    """A controller with heads on a memory.

    In each step the controller sees x_t and r_{t-1}, all heads are addressed on M_{t-1}, the write heads make it M_t,
    and the read heads read M_t. The heads start at location 0, and r_0 is learned. Outputs are the controller's h_t and
    the vectors r_t, so ``output_size`` is hidden + read heads x M.
    """

    def __init__(self, settings: Settings, input_size: int) -> None:
        super().__init__()
        self.settings = settings
        self.heads = settings.read_heads + settings.write_heads
        self.output_size = settings.hidden + settings.read_heads * settings.width
        gates = 4 if settings.controller == "lstm" else 1
        recurrent_size = self.output_size - (0 if settings.controller == "lstm" else settings.hidden)
        self.layout = Layout(settings.read_heads, settings.write_heads, settings.width)
        self.input = nn.Linear(input_size, gates * settings.hidden)
        self.recurrent = nn.Linear(recurrent_size, gates * settings.hidden, bias=False)
        self.emission = nn.Linear(settings.hidden, self.layout.size)
        self.first_read = nn.Parameter(torch.empty(settings.read_heads * settings.width))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw weights by Glorot and Bengio (2010); an LSTM's forget gate starts open."""
        for layer in (self.input, self.recurrent, self.emission):
            nn.init.xavier_uniform_(layer.weight)
        nn.init.zeros_(self.input.bias)
        nn.init.zeros_(self.emission.bias)
        nn.init.normal_(self.first_read, std=0.1)
        with torch.no_grad():
            if self.settings.tied_keys:
                added = self.emission.weight[self.layout.add][: self.settings.width]
                self.emission.weight[self.layout.key] = added.repeat(self.heads, 1)
            self.emission.bias[self.layout.strength] = self.settings.strength_bias
            self.emission.bias[self.layout.sharpening] = FIRST_SHARPENING
            self.emission.bias[self.layout.shift].view(self.heads, SHIFTS)[:, -1] = self.settings.forward_bias
            if self.settings.controller == "lstm":
                self.input.bias[self.settings.hidden : 2 * self.settings.hidden] = 1

    def first_state(self, batch: int) -> State:
        """Make the state before the first step, for ``batch`` sequences."""
        s, like = self.settings, self.first_read
        locations = s.training_locations if self.training and s.training_locations else s.locations
        weights = like.new_zeros(batch, self.heads, locations)
        weights[..., 0] = 1
        zeros = like.new_zeros(batch, s.hidden)
        output = torch.cat([zeros, self.first_read.tanh().expand(batch, -1)], 1)
        return State(like.new_full((batch, locations, s.width), FIRST_MEMORY), weights, output, zeros)

    def forward(self, inputs: Tensor, lengths: Tensor, state: State | None = None) -> tuple[Tensor, State]:
        """Run over ``inputs`` (batch, time, input_size) from ``state`` (none: ``first_state``).

        Returns outputs (batch, time, output_size), zero from step ``lengths`` (batch,) on, and the state after the last
        real step of each sequence.
        """
        state = self.first_state(len(inputs)) if state is None else state
        if not torch.is_grad_enabled():  # Recurrence keeps every step's memory, which only a backward pass needs
            steps = []
            for output, step_state in self.walk(inputs, lengths, state):
                steps.append(output)
                state = step_state
            return torch.stack(steps, 1), state
        outputs, *after = Recurrence.apply(
            self.layout,
            self.input(inputs),
            lengths,
            *state,
            self.recurrent.weight,
            self.emission.weight,
            self.emission.bias,
        )
        return outputs, State(*after)

    def trace(self, inputs: Tensor, lengths: Tensor, state: State | None = None) -> Tensor:
        """Give where the heads were in each step: their weights (batch, time, heads, N), read heads first."""
        state = self.first_state(len(inputs)) if state is None else state
        return torch.stack([after.weights for _, after in self.walk(inputs, lengths, state)], 1)

    def walk(self, inputs: Tensor, lengths: Tensor, state: State) -> Iterator[tuple[Tensor, State]]:
        """Do as ``forward`` does, one ``step`` at a time; yields each step's output (batch, output_size) and state."""
        for t, after in enumerate(unroll(self.step, self.input(inputs), lengths, state)):
            yield after.output * (t < lengths)[:, None], after

    def step(self, projected: Tensor, state: State) -> State:
        """Take one step; ``projected`` (batch, controller gates) is the input layer's output for x_t."""
        hidden, cell = self.control(projected, state)
        emitted = self.layout.split(self.layout.activate(self.emission(hidden)))
        weights = addressed(state.memory, state.weights, emitted)
        reading, writing = _by_kind(weights, emitted)
        memory = written(state.memory, writing, emitted.erase, emitted.add)
        read = reading @ memory  # equation 2, (batch, read heads, M)
        return State(memory, weights, torch.cat([hidden, read.flatten(1)], 1), cell)

    def control(self, projected: Tensor, state: State) -> tuple[Tensor, Tensor]:
        """Run the controller for a step; returns h_t and c_t, each (batch, hidden)."""
        raw = projected + self.recurrent(state.output[:, -self.recurrent.in_features :])
        if self.settings.controller == "feedforward":
            return raw.tanh(), state.cell
        i, f, o, g = raw.chunk(4, 1)
        cell = f.sigmoid() * state.cell + i.sigmoid() * g.tanh()
        return o.sigmoid() * cell.tanh(), cell


class Kept(NamedTuple):
    """What the forward pass of ``Recurrence`` keeps for its backward pass: of all steps (time, batch, ...), or of one.

    Memories are transposed to (M, N), so that outer products and sums over M run along contiguous memory.
    """

    memory: Tensor  # (M, N), M_{t-1}
    weights: Tensor  # (heads, N), w_{t-1}
    output: Tensor  # (output_size), h_{t-1} and r_{t-1}
    cell: Tensor  # (hidden), c_{t-1}
    memory_after: Tensor  # M_t
    weights_after: Tensor
    output_after: Tensor
    cell_after: Tensor
    gates: Tensor  # (controller gates), after their nonlinearities
    emission: Tensor  # (Layout.size), after its nonlinearities
    inverse_norm: Tensor  # (N), of each location
    key_inverse_norm: Tensor  # (heads, 1)
    similarity: Tensor  # (heads, N), K[k_t, M_t(i)]
    content: Tensor  # (heads, N), w^c
    gated: Tensor  # (heads, N + 2), w^g with its last location before the first, and its first after the last
    moved: Tensor  # (heads, N), w~ + WEIGHT_FLOOR


class Recurrence(torch.autograd.Function):
    """``NeuralTuringMachine.walk`` with a backward pass by hand: backpropagation through time.

    Both passes work in place. Element-wise derivatives are taken for all steps before the backward loop, and weight
    gradients as one matrix product after it. First derivatives only.
    """

    @staticmethod
    def forward(
        ctx: Any,
        layout: Layout,
        projected: Tensor,
        lengths: Tensor,
        memory: Tensor,
        weights: Tensor,
        output: Tensor,
        cell: Tensor,
        recurrent: Tensor,
        emission_weight: Tensor,
        emission_bias: Tensor,
    ) -> tuple[Tensor, ...]:
        """Take what ``NeuralTuringMachine.forward`` hands over; returns outputs and the state after, as it does."""
        states, kept = _empty(layout, projected, State(memory, weights, output, cell))
        for into, first in zip(states, (memory.transpose(1, 2), weights, output, cell), strict=True):
            into[0] = first
        scratch = torch.empty_like(kept.memory[:1])[0]
        emissions = by_step(layout.split(kept.emission))
        for x, step, emitted in zip(projected.unbind(1), by_step(kept), emissions, strict=True):
            hidden = _control(step, x, recurrent)
            step.emission.copy_(layout.activate(torch.addmm(emission_bias, hidden, emission_weight.T)))
            _address(step, emitted, scratch)
            _access(step, emitted, scratch)
        ctx.layout = layout
        ctx.save_for_backward(lengths, recurrent, emission_weight, *kept)
        outputs = kept.output_after.transpose(0, 1) * mask(lengths, projected.shape[1])[..., None]
        after = State(*(state[lengths, torch.arange(len(lengths), device=lengths.device)] for state in states))
        return outputs, after.memory.transpose(1, 2), *after[1:]

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, outputs: Tensor, *after: Tensor) -> tuple[Tensor | None, ...]:
        """Take the gradients of forward's results; returns those of its arguments."""
        lengths, recurrent, emission_weight, *saved = ctx.saved_tensors
        kept = Kept(*saved)
        steps, slopes = by_step(kept), by_step(_slopes(kept, ctx.layout))
        emissions = by_step(ctx.layout.split(kept.emission))
        gates, emission = torch.empty_like(kept.gates), torch.empty_like(kept.emission)
        gradients = by_step(ctx.layout.split(emission))
        outputs = outputs * mask(lengths, outputs.shape[1])[..., None]
        after_step = State(after[0].transpose(1, 2), *after[1:])
        carry = State(*(torch.zeros_like(state) for state in steps[0][:4]))
        hidden, before = _split_output(carry.output, emission_weight.shape[1], recurrent.shape[1])
        scratch = torch.empty_like(carry.memory)
        ends = set(lengths.tolist())
        for t in reversed(range(len(steps))):
            if t + 1 in ends:
                add_where(lengths == t + 1, carry, after_step)
            carry.output.add_(outputs[:, t])
            _access_backward(steps[t], emissions[t], gradients[t], carry, scratch)
            _address_backward(steps[t], slopes[t], emissions[t], gradients[t], carry)
            emission[t].mul_(slopes[t].emission)
            hidden.addmm_(emission[t], emission_weight)
            _control_backward(steps[t], slopes[t], gates[t], carry)
            torch.mm(gates[t], recurrent, out=before)
        if 0 in ends:
            add_where(lengths == 0, carry, after_step)
        hidden, _ = _split_output(kept.output_after, emission_weight.shape[1], recurrent.shape[1])
        _, before = _split_output(kept.output, emission_weight.shape[1], recurrent.shape[1])
        return (
            None,
            gates.transpose(0, 1),
            None,
            carry.memory.transpose(1, 2),
            *carry[1:],
            gates.flatten(0, 1).T @ before.flatten(0, 1),
            emission.flatten(0, 1).T @ hidden.flatten(0, 1),
            emission.sum((0, 1)),
        )


def _empty(layout: Layout, projected: Tensor, state: State) -> tuple[State, Kept]:
    """Make room for the states before, between and after the steps, and for what is kept, which views the former."""
    batch, time, gates = projected.shape
    locations, width = state.memory.shape[1:]

    def room(*sizes: int, steps: int = time) -> Tensor:
        return state.memory.new_empty(steps, batch, *sizes)

    states = State(
        memory=room(width, locations, steps=time + 1),
        weights=room(layout.heads, locations, steps=time + 1),
        output=room(state.output.shape[1], steps=time + 1),
        cell=room(state.cell.shape[1], steps=time + 1),
    )
    kept = Kept(
        memory=states.memory[:-1],
        weights=states.weights[:-1],
        output=states.output[:-1],
        cell=states.cell[:-1],
        memory_after=states.memory[1:],
        weights_after=states.weights[1:],
        output_after=states.output[1:],
        cell_after=states.cell[1:],
        gates=room(gates),
        emission=room(layout.size),
        inverse_norm=room(locations),
        key_inverse_norm=room(layout.heads, 1),
        similarity=room(layout.heads, locations),
        content=room(layout.heads, locations),
        gated=room(layout.heads, locations + 2),
        moved=room(layout.heads, locations),
    )
    return states, kept


def _control(step: Kept, projected: Tensor, recurrent: Tensor) -> Tensor:
    size = step.cell.shape[1]
    hidden, _ = _split_output(step.output_after, size, 0)
    _, before = _split_output(step.output, size, recurrent.shape[1])
    gates = torch.addmm(projected, before, recurrent.T, out=step.gates)
    if gates.shape[1] == size:
        step.cell_after.copy_(step.cell)
        return hidden.copy_(gates.tanh_())
    gates[:, : 3 * size].sigmoid_()
    gates[:, 3 * size :].tanh_()
    i, f, o, g = gates.chunk(4, 1)
    cell = torch.mul(f, step.cell, out=step.cell_after).addcmul_(i, g)
    return torch.mul(o, cell.tanh(), out=hidden)


def _address(step: Kept, emitted: Emitted, scratch: Tensor) -> None:
    memory, key = step.memory, emitted.key
    squares = torch.mul(memory, memory, out=scratch).sum(1).add_(NORM_FLOOR)
    inverse_norm = torch.rsqrt(squares, out=step.inverse_norm)
    squares = key.square().sum(-1, keepdim=True).add_(NORM_FLOOR)
    key_inverse_norm = torch.rsqrt(squares, out=step.key_inverse_norm)
    similarity = torch.bmm(key, memory, out=step.similarity).mul_(key_inverse_norm).mul_(inverse_norm[:, None])
    content = torch.softmax(similarity * emitted.strength, -1, out=step.content)
    _wrap(torch.lerp(step.weights, content, emitted.gate), out=step.gated)
    moved = _convolve(step.gated, emitted.shift, out=step.moved).add_(WEIGHT_FLOOR)
    torch.softmax(moved.log().mul_(emitted.sharpening), -1, out=step.weights_after)


def _access(step: Kept, emitted: Emitted, scratch: Tensor) -> None:
    reading, writing = _by_kind(step.weights_after, emitted)
    memory = step.memory
    for erase, weights in _by_head(emitted.erase, writing):
        erased = torch.mul(erase, weights, out=scratch)
        memory = torch.addcmul(memory, memory, erased, value=-1, out=step.memory_after)
    memory.baddbmm_(emitted.add.transpose(1, 2), writing)
    read = torch.bmm(reading, memory.transpose(1, 2)).flatten(1)
    step.output_after[:, -read.shape[1] :] = read


class Slopes(NamedTuple):
    """Derivatives that need no gradient from later steps: of all steps (time, batch, ...), or of one."""

    gates: Tensor  # (controller gates), of their nonlinearities
    tanh_cell: Tensor  # (hidden), not a derivative: tanh of c_t
    emission: Tensor  # (Layout.size), of its nonlinearities
    gate: Tensor  # (heads, N), of w^g by g
    sharpening: Tensor  # (heads, N), of gamma log w~ by gamma
    moved: Tensor  # (heads, N), of gamma log w~ by w~


def _slopes(kept: Kept, layout: Layout) -> Slopes:
    size = kept.cell.shape[-1]
    gates = 1 - kept.gates.square()
    if gates.shape[-1] > size:
        smooth = kept.gates[..., : 3 * size]
        gates[..., : 3 * size] = smooth * (1 - smooth)
    return Slopes(
        gates=gates,
        tanh_cell=kept.cell_after.tanh(),
        emission=layout.slopes(kept.emission),
        gate=kept.content - kept.weights,
        sharpening=kept.moved.log(),
        moved=kept.emission[..., layout.sharpening, None] / kept.moved,
    )


def _access_backward(step: Kept, emitted: Emitted, gradient: Emitted, carry: State, scratch: Tensor) -> None:
    reading, writing = _by_kind(step.weights_after, emitted)
    to_reading, to_writing = _by_kind(carry.weights, emitted)
    read = carry.output[:, step.cell.shape[1] :].view(len(reading), reading.shape[1], -1)
    to_reading += torch.bmm(read, step.memory_after)
    memory = carry.memory.baddbmm_(read.transpose(1, 2), reading)
    gradient.add.copy_(torch.bmm(writing, memory.transpose(1, 2)))
    to_writing += torch.bmm(emitted.add, memory)
    heads = list(_by_head(emitted.erase, writing))
    erasing = [step.memory]  # what each head found
    for erase, weights in heads[:-1]:
        erasing.append(torch.addcmul(erasing[-1], erasing[-1], erase * weights, value=-1))
    for head in reversed(range(len(heads))):
        erase, weights = heads[head]
        by_erased = torch.mul(memory, erasing[head], out=scratch)
        gradient.erase[:, head, None] = torch.bmm(weights, by_erased.transpose(1, 2)).neg_()
        to_writing[:, head, None] -= torch.bmm(erase.transpose(1, 2), by_erased)
        memory.addcmul_(memory, torch.mul(erase, weights, out=scratch), value=-1)


def _address_backward(step: Kept, slopes: Slopes, emitted: Emitted, gradient: Emitted, carry: State) -> None:
    logs = _softmax_backward(carry.weights, step.weights_after)
    gradient.sharpening.copy_((logs * slopes.sharpening).sum(-1, keepdim=True))
    moved = logs.mul_(slopes.moved)
    wrapped = _wrap(moved, out=torch.empty_like(step.gated))
    by_shift = torch.stack([(moved * around).sum(-1) for around in _neighbours(step.gated)], -1)
    gradient.shift.copy_(_softmax_backward(by_shift, emitted.shift))
    gated = _convolve(wrapped, emitted.shift.flip(-1), out=moved)
    gradient.gate.copy_((gated * slopes.gate).sum(-1, keepdim=True))
    scores = _softmax_backward(gated, step.content).mul_(emitted.gate)
    torch.mul(gated, 1 - emitted.gate, out=carry.weights)
    _content_backward(step, emitted, gradient, scores, carry)


def _content_backward(step: Kept, emitted: Emitted, gradient: Emitted, scores: Tensor, carry: State) -> None:
    by_similarity = scores * step.similarity
    strength = by_similarity.sum(-1, keepdim=True)
    gradient.strength.copy_(strength)
    scale = emitted.strength * step.key_inverse_norm
    products = scores.mul_(scale).mul_(step.inverse_norm[:, None])
    by_key = torch.bmm(products, step.memory.transpose(1, 2))
    gradient.key.copy_(by_key.addcmul_(emitted.key, strength * scale * step.key_inverse_norm, value=-1))
    by_norm = (by_similarity * emitted.strength).sum(1) * step.inverse_norm.square()
    carry.memory.baddbmm_(emitted.key.transpose(1, 2), products)
    carry.memory.addcmul_(step.memory, by_norm[:, None], value=-1)


def _control_backward(step: Kept, slopes: Slopes, gates: Tensor, carry: State) -> None:
    size = step.cell.shape[1]
    hidden = carry.output[:, :size]
    if gates.shape[1] == size:
        torch.mul(hidden, slopes.gates, out=gates)
        hidden.zero_()
        return
    i, f, o, g = step.gates.chunk(4, 1)
    cell = carry.cell.add_(hidden * o * (1 - slopes.tanh_cell.square()))
    torch.cat([cell * g, cell * step.cell, hidden * slopes.tanh_cell, cell * i], 1, out=gates)
    gates.mul_(slopes.gates)
    cell.mul_(f)


def _split_output(output: Tensor, hidden: int, recurrent: int) -> tuple[Tensor, Tensor]:
    """View the controller's h, and of h and the read vectors what the controller sees in the next step."""
    return output[..., :hidden], output[..., output.shape[-1] - recurrent :]


def _by_kind(of_heads: Tensor, emitted: Emitted) -> tuple[Tensor, Tensor]:
    writing = emitted.add.shape[1]
    return of_heads[:, :-writing], of_heads[:, -writing:]


def _by_head(erase: Tensor, writing: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
    """Give each write head's e_t (batch, M, 1) and w_t (batch, 1, N)."""
    return zip(erase[..., None].unbind(1), writing[:, :, None].unbind(1), strict=True)


def _wrap(weights: Tensor, out: Tensor) -> Tensor:
    """Put the last location before the first and the first after the last: (batch, heads, N) to N + 2."""
    return torch.cat([weights[..., -1:], weights, weights[..., :1]], -1, out=out)


def _neighbours(wrapped: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """View wrapped weights as seen from where a shift by -1, 0 and +1 takes them."""
    return wrapped[..., 2:], wrapped[..., 1:-1], wrapped[..., :-2]


def _convolve(wrapped: Tensor, shift: Tensor, out: Tensor) -> Tensor:
    (back, stay, forth), (from_back, from_stay, from_forth) = shift[..., None].unbind(-2), _neighbours(wrapped)
    return torch.mul(from_back, back, out=out).addcmul_(from_stay, stay).addcmul_(from_forth, forth)


def _softmax_backward(gradient: Tensor, softmax: Tensor) -> Tensor:
    product = gradient * softmax
    return product.addcmul_(softmax, product.sum(-1, keepdim=True), value=-1)
