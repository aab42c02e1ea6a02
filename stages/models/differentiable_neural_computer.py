"""Differentiable Neural Computer (Graves et al. 2016, "Hybrid computing using a neural network with dynamic external
memory", Nature 538), in the symbols of its Methods.

``DifferentiableNeuralComputer.step`` is the paper, line by line, by autograd. ``Recurrence`` is the same function over
all steps with a backward pass written by hand, for training in about half the time; the tests hold the two equal.

Axes: batch, time, N locations of the memory, W values at each location, R read heads. There is one write head.
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

MODES = 3  # a read head goes backward, by content or forward: pi_t[1], pi_t[2], pi_t[3]
NORM_FLOOR = 1e-8  # added to squared norms, so that a blank location resembles no key
USAGE_FLOOR = 1e-12  # what the backward pass takes for the usage of a blank location, to divide by


@settings
class Settings:
    """A ``controller`` of ``hidden`` units, a memory of ``locations`` (N) x ``width`` (W) values, R ``read_heads``.

    No weight depends on N, so a network can be trained on one size of memory and used with a larger one (the paper's
    extended data, figure 1): ``training_locations`` is N in training, none for the same.

    ``strength_bias`` is the initial bias of beta^r_t and beta^w_t, and ``tied_keys`` begins with keys equal to v_t, so
    that the network first looks for what it would write.
    """

    controller: Literal["feedforward", "lstm"] = "lstm"
    hidden: int = pydantic.Field(default=100, gt=0)
    locations: int = pydantic.Field(default=128, gt=0)
    training_locations: int | None = pydantic.Field(default=None, gt=0)
    width: int = pydantic.Field(default=20, gt=0)
    read_heads: int = pydantic.Field(default=1, gt=0)
    strength_bias: float = 0.0
    tied_keys: bool = False


class State(NamedTuple):
    """What goes from one step to the next.

    ``memory`` (batch, N, W) is M_t; ``usage`` (batch, N) u_t; ``links`` (batch, N, N) L_t, whose entry [i, j] is the
    degree to which i was written right after j; ``precedence`` (batch, N) p_t, the degree to which each location was
    the last one written; ``writing`` (batch, N) w^w_t; ``reading`` (batch, R, N) w^r_t; ``output`` (batch, output_size)
    the controller's h_t, then the vectors r_t just read; ``cell`` (batch, hidden) the LSTM's c_t, zero for a
    feed-forward controller.
    """

    memory: Tensor
    usage: Tensor
    links: Tensor
    precedence: Tensor
    writing: Tensor
    reading: Tensor
    output: Tensor
    cell: Tensor


class Emitted(NamedTuple):
    """What the controller tells its memory: the parts of the interface vector xi_t, after their nonlinearities.

    To read: ``read_key`` k^r_t (batch, R, W), ``read_strength`` beta^r_t >= 1 (batch, R, 1) and ``mode`` pi_t (batch,
    R, 3: backward, by content, forward). To write: ``write_key`` k^w_t, ``vector`` v_t and ``erase`` e_t in (0, 1), all
    (batch, 1, W), ``write_strength`` beta^w_t >= 1 (batch, 1, 1), and in (0, 1) ``allocation_gate`` g^a_t and
    ``write_gate`` g^w_t, each (batch, 1). To free what was read: ``free`` f_t in (0, 1), (batch, R, 1).
    """

    read_key: Tensor
    read_strength: Tensor
    mode: Tensor
    write_key: Tensor
    write_strength: Tensor
    vector: Tensor
    erase: Tensor
    allocation_gate: Tensor
    write_gate: Tensor
    free: Tensor


class Layout:
    """Where xi_t holds what: slices of its ``size`` columns.

    Equal nonlinearities stand together: none (k^r_t, k^w_t, v_t), sigmoid (e_t, f_t, g^a_t, g^w_t), oneplus (beta^r_t,
    beta^w_t), and a softmax of each head's three modes.
    """

    def __init__(self, read_heads: int, width: int) -> None:
        self.read_heads, self.width = read_heads, width
        parts = (read_heads * width, width, width, width, read_heads, 1, 1, read_heads, 1, read_heads * MODES)
        ends = list(itertools.accumulate(parts))
        slices = [slice(end - part, end) for end, part in zip(ends, parts, strict=True)]
        self.read_key, self.write_key, self.vector, self.erase, self.free, *slices = slices
        self.allocation_gate, self.write_gate, self.read_strength, self.write_strength, self.mode = slices
        self.linear = slice(0, self.vector.stop)
        self.sigmoid = slice(self.erase.start, self.write_gate.stop)
        self.oneplus = slice(self.read_strength.start, self.write_strength.stop)
        self.size = ends[-1]

    def activate(self, raw: Tensor) -> Tensor:
        """Apply the nonlinearities to (batch, size)."""
        mode = raw[:, self.mode].reshape(len(raw), self.read_heads, MODES).softmax(-1).flatten(1)
        strength = 1 + functional.softplus(raw[:, self.oneplus])
        return torch.cat([raw[:, self.linear], raw[:, self.sigmoid].sigmoid(), strength, mode], 1)

    def slopes(self, activated: Tensor) -> Tensor:
        """Give the derivatives of the element-wise nonlinearities from their values (..., size); 1 for the modes."""
        slopes = torch.ones_like(activated)
        sigmoid = activated[..., self.sigmoid]
        slopes[..., self.sigmoid] = sigmoid * (1 - sigmoid)
        slopes[..., self.oneplus] = -torch.expm1(1 - activated[..., self.oneplus])
        return slopes

    def split(self, activated: Tensor) -> Emitted:
        """View (..., size) as its parts."""
        *axes, _ = activated.shape
        return Emitted(
            read_key=activated[..., self.read_key].view(*axes, self.read_heads, self.width),
            read_strength=activated[..., self.read_strength, None],
            mode=activated[..., self.mode].view(*axes, self.read_heads, MODES),
            write_key=activated[..., None, self.write_key],
            write_strength=activated[..., None, self.write_strength],
            vector=activated[..., None, self.vector],
            erase=activated[..., None, self.erase],
            allocation_gate=activated[..., self.allocation_gate],
            write_gate=activated[..., self.write_gate],
            free=activated[..., self.free, None],
        )


def build(settings: Settings, input_size: int) -> DifferentiableNeuralComputer:
    """Make the model for inputs of ``input_size`` features."""
    return DifferentiableNeuralComputer(settings, input_size)


def content_weights(memory: Tensor, key: Tensor, strength: Tensor) -> Tensor:
    """Content-based addressing C(M, k, beta): softmax over N of beta times the cosine of k and each location."""
    key_norm = (key.square().sum(-1, keepdim=True) + NORM_FLOOR).sqrt()
    memory_norm = (memory.square().sum(-1) + NORM_FLOOR).sqrt()
    similarity = key @ memory.transpose(1, 2) / key_norm / memory_norm[:, None]
    return (strength * similarity).softmax(-1)


def used(usage: Tensor, writing: Tensor, reading: Tensor, free: Tensor) -> Tensor:
    """Give u_t from u_{t-1}, w^w_{t-1} (batch, N), w^r_{t-1} (batch, R, N) and f_t: what was written is in use, but
    for the share that retention psi_t = prod over the heads of 1 - f_t w^r_{t-1} gives free."""
    return (usage + writing - usage * writing) * (1 - free * reading).prod(1)


def allocation_weights(usage: Tensor) -> Tensor:
    """Give a_t (batch, N) from u_t: the locations in the order of the free list phi_t, which begins with the least
    used one, share a unit of writing; each takes 1 - u_t of what the ones before it left."""
    ordered, free_list = usage.sort(dim=-1, stable=True)
    left = torch.cat([torch.ones_like(ordered[:, :1]), ordered], -1).cumprod(-1)  # (batch, N + 1)
    return torch.zeros_like(usage).scatter(-1, free_list, left[:, :-1] - left[:, 1:])


def linked(links: Tensor, precedence: Tensor, writing: Tensor) -> Tensor:
    """Give L_t from L_{t-1}, p_{t-1} and w^w_t: old links of what is written fade, and it follows what was last
    written. No location follows itself."""
    to, from_ = writing[:, :, None], writing[:, None]
    whole = (1 - to - from_) * links + to * precedence[:, None]
    return whole * (1 - torch.eye(links.shape[1], dtype=links.dtype, device=links.device))


def written(memory: Tensor, writing: Tensor, erase: Tensor, vector: Tensor) -> Tensor:
    """Give M_t from M_{t-1}: erase by e_t, then add v_t (batch, 1, W), where w^w_t (batch, N) says."""
    return memory * (1 - writing[..., None] * erase) + writing[..., None] * vector


class DifferentiableNeuralComputer(nn.Module):
    """A controller with a write head and R read heads on a memory that keeps account of usage and order of writing.

    In each step the controller sees x_t and r_{t-1}, M_{t-1} is written to at locations found by content or by
    allocation, and M_t is read at locations found by content, or by following the links from where the head was,
    backward or forward. All of the first state is zero. Outputs are the controller's h_t and the vectors r_t, so
    ``output_size`` is hidden + R x W; the layer on top is the paper's W_y and W_r side by side.
    """

    def __init__(self, settings: Settings, input_size: int) -> None:
        super().__init__()
        self.settings = settings
        self.heads = settings.read_heads + 1
        self.output_size = settings.hidden + settings.read_heads * settings.width
        gates = 4 if settings.controller == "lstm" else 1
        recurrent_size = self.output_size - (0 if settings.controller == "lstm" else settings.hidden)
        self.layout = Layout(settings.read_heads, settings.width)
        self.input = nn.Linear(input_size, gates * settings.hidden)
        self.recurrent = nn.Linear(recurrent_size, gates * settings.hidden, bias=False)
        self.emission = nn.Linear(settings.hidden, self.layout.size)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw weights by Glorot and Bengio (2010); an LSTM's forget gate starts open."""
        for layer in (self.input, self.recurrent, self.emission):
            nn.init.xavier_uniform_(layer.weight)
        nn.init.zeros_(self.input.bias)
        nn.init.zeros_(self.emission.bias)
        with torch.no_grad():
            if self.settings.tied_keys:
                vector = self.emission.weight[self.layout.vector]
                self.emission.weight[self.layout.read_key] = vector.repeat(self.settings.read_heads, 1)
                self.emission.weight[self.layout.write_key] = vector
            self.emission.bias[self.layout.oneplus] = self.settings.strength_bias
            if self.settings.controller == "lstm":
                self.input.bias[self.settings.hidden : 2 * self.settings.hidden] = 1

    def first_state(self, batch: int) -> State:
        """Make the state before the first step, for ``batch`` sequences."""
        s = self.settings
        n = s.training_locations if self.training and s.training_locations else s.locations
        sizes = State((n, s.width), (n,), (n, n), (n,), (n,), (s.read_heads, n), (self.output_size,), (s.hidden,))  # type: ignore[arg-type]
        return State(*(self.emission.bias.new_zeros(batch, *size) for size in sizes))

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
        """Give where the heads were in each step: weights (batch, time, R + 1, N), those of the write head last."""
        state = self.first_state(len(inputs)) if state is None else state
        states = [after for _, after in self.walk(inputs, lengths, state)]
        return torch.stack([torch.cat([after.reading, after.writing[:, None]], 1) for after in states], 1)

    def walk(self, inputs: Tensor, lengths: Tensor, state: State) -> Iterator[tuple[Tensor, State]]:
        """Do as ``forward`` does, one ``step`` at a time; yields each step's output (batch, output_size) and state."""
        for t, after in enumerate(unroll(self.step, self.input(inputs), lengths, state)):
            yield after.output * (t < lengths)[:, None], after

    def step(self, projected: Tensor, state: State) -> State:
        """Take one step; ``projected`` (batch, controller gates) is the input layer's output for x_t."""
        hidden, cell = self.control(projected, state)
        told = self.layout.split(self.layout.activate(self.emission(hidden)))
        usage = used(state.usage, state.writing, state.reading, told.free)
        found = content_weights(state.memory, told.write_key, told.write_strength)[:, 0]
        allocated = allocation_weights(usage)
        writing = told.write_gate * (told.allocation_gate * allocated + (1 - told.allocation_gate) * found)
        memory = written(state.memory, writing, told.erase, told.vector)
        links = linked(state.links, state.precedence, writing)
        precedence = (1 - writing.sum(-1, keepdim=True)) * state.precedence + writing
        backward, forward = state.reading @ links, state.reading @ links.transpose(1, 2)
        content = content_weights(memory, told.read_key, told.read_strength)
        reading = (told.mode[..., None] * torch.stack([backward, content, forward], 2)).sum(2)
        read = reading @ memory  # (batch, R, W)
        output = torch.cat([hidden, read.flatten(1)], 1)
        return State(memory, usage, links, precedence, writing, reading, output, cell)

    def control(self, projected: Tensor, state: State) -> tuple[Tensor, Tensor]:
        """Run the controller for a step; returns h_t and c_t, each (batch, hidden)."""
        raw = projected + self.recurrent(state.output[:, -self.recurrent.in_features :])
        if self.settings.controller == "feedforward":
            return raw.tanh(), state.cell
        i, f, o, g = raw.chunk(4, 1)
        cell = f.sigmoid() * state.cell + i.sigmoid() * g.tanh()
        return o.sigmoid() * cell.tanh(), cell


class Kept(NamedTuple):
    """What the forward pass of ``Recurrence`` keeps for its backward pass beside the states: of all steps (time, batch,
    ...), or of one.

    The states hold memories transposed to (W, N), so that outer products and sums over W run along contiguous memory.
    """

    gates: Tensor  # (controller gates), after their nonlinearities
    emission: Tensor  # (Layout.size), after its nonlinearities
    kept: Tensor  # (R, N), 1 - f_t w^r_{t-1}
    retention: Tensor  # (N), psi_t
    occupied: Tensor  # (N), u_t before retention
    ordered: Tensor  # (N), u_t in the order of the free list
    free_list: Tensor  # (N), phi_t
    left: Tensor  # (N + 1), what is left to allocate before each location of the free list
    allocated: Tensor  # (N), a_t
    inverse_norm: Tensor  # (N), of the locations of M_{t-1}
    write_key_inverse_norm: Tensor  # (1, 1)
    write_similarity: Tensor  # (1, N), cosine of k^w_t and the locations of M_{t-1}
    write_content: Tensor  # (1, N), c^w_t
    inverse_norm_after: Tensor  # (N), of the locations of M_t
    read_key_inverse_norm: Tensor  # (R, 1)
    read_similarity: Tensor  # (R, N), cosine of k^r_t and the locations of M_t
    read_ways: Tensor  # (R, 3, N), b_t, c^r_t, f_t


class Content(NamedTuple):
    """What content-based addressing keeps, as ``Kept`` names it, with the memory (batch, W, N) that was looked at."""

    memory: Tensor
    inverse_norm: Tensor
    key_inverse_norm: Tensor
    similarity: Tensor
    weights: Tensor


class Recurrence(torch.autograd.Function):
    """``DifferentiableNeuralComputer.walk`` with a backward pass by hand: backpropagation through time.

    Both passes work in place. Element-wise derivatives are taken for all steps before the backward loop, and weight
    gradients as one matrix product after it. As in the paper, the order of the free list has no gradient. First
    derivatives only.
    """

    @staticmethod
    def forward(ctx: Any, layout: Layout, projected: Tensor, lengths: Tensor, *rest: Tensor) -> tuple[Tensor, ...]:
        """Take what ``DifferentiableNeuralComputer.forward`` hands over; returns outputs and the state after."""
        *parts, recurrent, emission_weight, emission_bias = rest
        first = State(parts[0].transpose(1, 2), *parts[1:])
        states, kept = _empty(layout, projected, first)
        for into, value in zip(states, first, strict=True):
            into[0] = value
        torch.rsqrt(first.memory.square().sum(1).add_(NORM_FLOOR), out=kept.inverse_norm[0])
        moments, steps, told = by_step(states), by_step(kept), by_step(layout.split(kept.emission))
        for t, x in enumerate(projected.unbind(1)):
            before, after, step = moments[t], moments[t + 1], steps[t]
            hidden = _control(before, after, step, x, recurrent)
            step.emission.copy_(layout.activate(torch.addmm(emission_bias, hidden, emission_weight.T)))
            _allocate(before, after, step, told[t])
            _write(before, after, step, told[t])
            _link(before, after)
            _read(before, after, step, told[t])
            if t + 1 < len(steps):
                steps[t + 1].inverse_norm.copy_(step.inverse_norm_after)
        ctx.layout = layout
        ctx.save_for_backward(lengths, recurrent, emission_weight, *states, *kept)
        outputs = states.output[1:].transpose(0, 1) * mask(lengths, projected.shape[1])[..., None]
        end = State(*(state[lengths, torch.arange(len(lengths), device=lengths.device)] for state in states))
        return outputs, end.memory.transpose(1, 2), *end[1:]

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, outputs: Tensor, *after: Tensor) -> tuple[Tensor | None, ...]:
        """Take the gradients of forward's results; returns those of its arguments."""
        lengths, recurrent, emission_weight, *saved = ctx.saved_tensors
        states, kept = State(*saved[: len(State._fields)]), Kept(*saved[len(State._fields) :])
        moments, steps, told = by_step(states), by_step(kept), by_step(ctx.layout.split(kept.emission))
        slopes = by_step(_slopes(states, kept, ctx.layout))
        gates, emission = torch.empty_like(kept.gates), torch.empty_like(kept.emission)
        gradients = by_step(ctx.layout.split(emission))
        outputs = outputs * mask(lengths, outputs.shape[1])[..., None]
        end = State(after[0].transpose(1, 2), *after[1:])
        carry = State(*(torch.zeros_like(part) for part in moments[0]))
        hidden, before = _split_output(carry.output, emission_weight.shape[1], recurrent.shape[1])
        ends = set(lengths.tolist())
        for t in reversed(range(len(steps))):
            if t + 1 in ends:
                add_where(lengths == t + 1, carry, end)
            carry.output.add_(outputs[:, t])
            _read_backward(moments[t], moments[t + 1], steps[t], told[t], gradients[t], carry)
            _link_backward(moments[t], moments[t + 1], carry)
            allocated = _write_backward(moments[t], moments[t + 1], steps[t], slopes[t], told[t], gradients[t], carry)
            _allocate_backward(moments[t], steps[t], slopes[t], told[t], gradients[t], carry, allocated)
            emission[t].mul_(slopes[t].emission)
            hidden.addmm_(emission[t], emission_weight)
            _control_backward(moments[t], steps[t], slopes[t], gates[t], carry)
            torch.mm(gates[t], recurrent, out=before)
        if 0 in ends:
            add_where(lengths == 0, carry, end)
        hidden, _ = _split_output(states.output[1:], emission_weight.shape[1], recurrent.shape[1])
        _, before = _split_output(states.output[:-1], emission_weight.shape[1], recurrent.shape[1])
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


def _empty(layout: Layout, projected: Tensor, first: State) -> tuple[State, Kept]:
    """Make room for the states before, between and after the steps, and for what is kept of each step."""
    batch, time, gates = projected.shape
    heads, n = first.reading.shape[1:]

    def room(*sizes: int, dtype: torch.dtype | None = None) -> Tensor:
        return first.memory.new_empty(time, batch, *sizes, dtype=dtype)

    kept = Kept(
        gates=room(gates),
        emission=room(layout.size),
        kept=room(heads, n),
        retention=room(n),
        occupied=room(n),
        ordered=room(n),
        free_list=room(n, dtype=torch.int64),
        left=room(n + 1),
        allocated=room(n),
        inverse_norm=room(n),
        write_key_inverse_norm=room(1, 1),
        write_similarity=room(1, n),
        write_content=room(1, n),
        inverse_norm_after=room(n),
        read_key_inverse_norm=room(heads, 1),
        read_similarity=room(heads, n),
        read_ways=room(heads, MODES, n),
    )
    return State(*(part.new_empty(time + 1, *part.shape) for part in first)), kept


def _control(before: State, after: State, step: Kept, projected: Tensor, recurrent: Tensor) -> Tensor:
    size = before.cell.shape[1]
    hidden, _ = _split_output(after.output, size, 0)
    _, seen = _split_output(before.output, size, recurrent.shape[1])
    gates = torch.addmm(projected, seen, recurrent.T, out=step.gates)
    if gates.shape[1] == size:
        after.cell.copy_(before.cell)
        return hidden.copy_(gates.tanh_())
    gates[:, : 3 * size].sigmoid_()
    gates[:, 3 * size :].tanh_()
    i, f, o, g = gates.chunk(4, 1)
    cell = torch.mul(f, before.cell, out=after.cell).addcmul_(i, g)
    return torch.mul(o, cell.tanh(), out=hidden)


def _allocate(before: State, after: State, step: Kept, told: Emitted) -> None:
    kept = torch.mul(told.free, before.reading, out=step.kept).neg_().add_(1)
    retention = torch.prod(kept, 1, out=step.retention)
    occupied = torch.addcmul(before.usage, before.writing, 1 - before.usage, out=step.occupied)
    usage = torch.mul(occupied, retention, out=after.usage)
    torch.sort(usage, dim=-1, stable=True, out=(step.ordered, step.free_list))
    step.left[:, 0] = 1
    step.left[:, 1:] = step.ordered.cumprod(-1)
    step.allocated.scatter_(-1, step.free_list, step.left[:, :-1] - step.left[:, 1:])


def _write(before: State, after: State, step: Kept, told: Emitted) -> None:
    _find(_write_content(before, step), told.write_key, told.write_strength)
    mixed = torch.lerp(step.write_content[:, 0], step.allocated, told.allocation_gate)
    writing = torch.mul(mixed, told.write_gate, out=after.writing)[:, None]
    erased = told.erase.transpose(1, 2) * writing
    memory = torch.addcmul(before.memory, before.memory, erased, value=-1, out=after.memory)
    memory.baddbmm_(told.vector.transpose(1, 2), writing)
    torch.rsqrt(torch.mul(memory, memory, out=erased).sum(1).add_(NORM_FLOOR), out=step.inverse_norm_after)


def _link(before: State, after: State) -> None:
    writing = after.writing
    links = torch.sub((1 - writing)[:, :, None], writing[:, None], out=after.links).mul_(before.links)
    links.baddbmm_(writing[:, :, None], before.precedence[:, None])
    links.diagonal(dim1=1, dim2=2).zero_()
    torch.mul(before.precedence, 1 - writing.sum(-1, keepdim=True), out=after.precedence).add_(writing)


def _read(before: State, after: State, step: Kept, told: Emitted) -> None:
    _find(_read_content(after, step), told.read_key, told.read_strength)
    step.read_ways[:, :, 0] = torch.bmm(before.reading, after.links)
    step.read_ways[:, :, 2] = torch.bmm(before.reading, after.links.transpose(1, 2))
    after.reading.copy_((told.mode[..., None] * step.read_ways).sum(2))
    read = torch.bmm(after.reading, after.memory.transpose(1, 2)).flatten(1)
    after.output[:, -read.shape[1] :] = read


def _write_content(before: State, step: Kept) -> Content:
    similarity, key_inverse_norm = step.write_similarity, step.write_key_inverse_norm
    return Content(before.memory, step.inverse_norm, key_inverse_norm, similarity, step.write_content)


def _read_content(after: State, step: Kept) -> Content:
    similarity, key_inverse_norm = step.read_similarity, step.read_key_inverse_norm
    return Content(after.memory, step.inverse_norm_after, key_inverse_norm, similarity, step.read_ways[:, :, 1])


def _find(content: Content, key: Tensor, strength: Tensor) -> None:
    torch.rsqrt(key.square().sum(-1, keepdim=True).add_(NORM_FLOOR), out=content.key_inverse_norm)
    similarity = torch.bmm(key, content.memory, out=content.similarity)
    similarity.mul_(content.key_inverse_norm).mul_(content.inverse_norm[:, None])
    content.weights.copy_((similarity * strength).softmax(-1))


class Slopes(NamedTuple):
    """Derivatives that need no gradient from later steps: of all steps (time, batch, ...), or of one."""

    gates: Tensor  # (controller gates), of their nonlinearities
    tanh_cell: Tensor  # (hidden), not a derivative: tanh of c_t
    emission: Tensor  # (Layout.size), of its nonlinearities
    allocation_gate: Tensor  # (N), of w^w_t before the write gate by g^a_t
    write_gate: Tensor  # (N), of w^w_t by g^w_t
    left: Tensor  # (N), of what is left after each location of the free list by its logarithm: itself, above 0
    ordered: Tensor  # (N), of the logarithm of an ordered usage by the usage
    usage: Tensor  # (N), of u_t by w^w_{t-1}
    writing: Tensor  # (N), of u_t by u_{t-1}


def _slopes(states: State, kept: Kept, layout: Layout) -> Slopes:
    size = states.cell.shape[-1]
    gates = 1 - kept.gates.square()
    if gates.shape[-1] > size:
        smooth = kept.gates[..., : 3 * size]
        gates[..., : 3 * size] = smooth * (1 - smooth)
    content, ordered = kept.write_content[..., 0, :], kept.ordered.clamp(min=USAGE_FLOOR)
    return Slopes(
        gates=gates,
        tanh_cell=states.cell[1:].tanh(),
        emission=layout.slopes(kept.emission),
        allocation_gate=kept.allocated - content,
        write_gate=torch.lerp(content, kept.allocated, kept.emission[..., layout.allocation_gate]),
        left=ordered.cumprod(-1),
        ordered=1 / ordered,
        usage=kept.retention * (1 - states.usage[:-1]),
        writing=kept.retention * (1 - states.writing[:-1]),
    )


def _read_backward(before: State, after: State, step: Kept, told: Emitted, gradient: Emitted, carry: State) -> None:
    read = carry.output[:, before.cell.shape[1] :].view(len(told.mode), told.mode.shape[1], -1)
    reading = torch.baddbmm(carry.reading, read, after.memory)
    carry.memory.baddbmm_(read.transpose(1, 2), after.reading)
    gradient.mode.copy_(_softmax_backward((step.read_ways * reading[:, :, None]).sum(-1), told.mode))
    backward, content, forward = (told.mode[..., None] * reading[:, :, None]).unbind(2)
    key, strength = _find_backward(_read_content(after, step), told.read_key, told.read_strength, content, carry.memory)
    gradient.read_key.copy_(key)
    gradient.read_strength.copy_(strength)
    torch.bmm(forward, after.links, out=carry.reading)
    carry.reading.baddbmm_(backward, after.links.transpose(1, 2))
    to, from_ = torch.cat([forward, before.reading], 1), torch.cat([before.reading, backward], 1)
    carry.links.baddbmm_(to.transpose(1, 2), from_)


def _link_backward(before: State, after: State, carry: State) -> None:
    writing, links = after.writing, carry.links
    links.diagonal(dim1=1, dim2=2).zero_()
    precedence = carry.precedence
    to_writing = carry.writing.add_(precedence).sub_((precedence * before.precedence).sum(-1, keepdim=True))
    precedence.mul_(1 - writing.sum(-1, keepdim=True))
    precedence.add_(torch.bmm(writing[:, None], links)[:, 0])
    to_writing.add_(torch.bmm(links, before.precedence[:, :, None])[..., 0])
    fading = links * before.links
    to_writing.sub_(fading.sum(1)).sub_(fading.sum(2))
    links.mul_(torch.sub((1 - writing)[:, :, None], writing[:, None], out=fading))


def _write_backward(
    before: State, after: State, step: Kept, slopes: Slopes, told: Emitted, gradient: Emitted, carry: State
) -> Tensor:
    """Give the gradient of a_t (batch, N)."""
    writing, memory = after.writing[:, None], carry.memory
    gradient.vector.copy_(torch.bmm(writing, memory.transpose(1, 2)))
    by_erased = memory * before.memory
    gradient.erase.copy_(torch.bmm(writing, by_erased.transpose(1, 2)).neg_())
    to_writing = torch.baddbmm(carry.writing[:, None], told.vector, memory).baddbmm_(told.erase, by_erased, alpha=-1)
    memory.addcmul_(memory, torch.mul(told.erase.transpose(1, 2), writing, out=by_erased), value=-1)
    gradient.write_gate.copy_((to_writing[:, 0] * slopes.write_gate).sum(-1, keepdim=True))
    mixed = to_writing.mul_(told.write_gate[:, None])
    gradient.allocation_gate.copy_((mixed[:, 0] * slopes.allocation_gate).sum(-1, keepdim=True))
    allocated = mixed[:, 0] * told.allocation_gate
    content = mixed.mul_(1 - told.allocation_gate[:, None])
    key, strength = _find_backward(_write_content(before, step), told.write_key, told.write_strength, content, memory)
    gradient.write_key.copy_(key)
    gradient.write_strength.copy_(strength)
    return allocated


def _allocate_backward(
    before: State, step: Kept, slopes: Slopes, told: Emitted, gradient: Emitted, carry: State, allocated: Tensor
) -> None:
    allocated = allocated.gather(-1, step.free_list)
    # By the logarithm of what is left after each location of the free list, which is the sum of the logarithms of the
    # usages up to it.
    left = torch.cat([allocated[:, 1:], torch.zeros_like(allocated[:, :1])], -1).sub_(allocated).mul_(slopes.left)
    ordered = left.flip(-1).cumsum(-1).flip(-1).mul_(slopes.ordered)
    usage = carry.usage.scatter_add_(-1, step.free_list, ordered)
    retention = usage * step.occupied
    torch.mul(usage, slopes.usage, out=carry.writing)
    usage.mul_(slopes.writing)
    kept = retention[:, None] * _product_of_others(step.kept)
    gradient.free.copy_((kept * before.reading).sum(-1, keepdim=True).neg_())
    carry.reading.addcmul_(kept, told.free, value=-1)


def _find_backward(
    content: Content, key: Tensor, strength: Tensor, weights: Tensor, memory: Tensor
) -> tuple[Tensor, Tensor]:
    """Take the gradient of ``weights``, add to that of ``memory``; returns those of ``key`` and ``strength``."""
    scores = _softmax_backward(weights, content.weights)
    by_similarity = scores * content.similarity
    by_strength = by_similarity.sum(-1, keepdim=True)
    scale = strength * content.key_inverse_norm
    products = scores.mul_(scale).mul_(content.inverse_norm[:, None])
    by_key = torch.bmm(products, content.memory.transpose(1, 2))
    by_key.addcmul_(key, by_strength * scale * content.key_inverse_norm, value=-1)
    by_norm = (by_similarity * strength).sum(1) * content.inverse_norm.square()
    memory.baddbmm_(key.transpose(1, 2), products)
    memory.addcmul_(content.memory, by_norm[:, None], value=-1)
    return by_key, by_strength


def _control_backward(before: State, step: Kept, slopes: Slopes, gates: Tensor, carry: State) -> None:
    size = before.cell.shape[1]
    hidden = carry.output[:, :size]
    if gates.shape[1] == size:
        torch.mul(hidden, slopes.gates, out=gates)
        hidden.zero_()
        return
    i, f, o, g = step.gates.chunk(4, 1)
    cell = carry.cell.add_(hidden * o * (1 - slopes.tanh_cell.square()))
    torch.cat([cell * g, cell * before.cell, hidden * slopes.tanh_cell, cell * i], 1, out=gates)
    gates.mul_(slopes.gates)
    cell.mul_(f)


def _split_output(output: Tensor, hidden: int, recurrent: int) -> tuple[Tensor, Tensor]:
    """View the controller's h, and of h and the read vectors what the controller sees in the next step."""
    return output[..., :hidden], output[..., output.shape[-1] - recurrent :]


def _product_of_others(factors: Tensor) -> Tensor:
    """Give for each head of (batch, R, N) the product over the other heads."""
    one = torch.ones_like(factors[:, :1])
    before = torch.cat([one, factors[:, :-1]], 1).cumprod(1)
    after = torch.cat([one, factors[:, 1:].flip(1)], 1).cumprod(1).flip(1)
    return before * after


def _softmax_backward(gradient: Tensor, softmax: Tensor) -> Tensor:
    product = gradient * softmax
    return product.addcmul_(softmax, product.sum(-1, keepdim=True), value=-1)
