"""The Differentiable Neural Computer: by hand and against a plain transcription of its paper; backward pass, state."""

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from stages.models.differentiable_neural_computer import (
    DifferentiableNeuralComputer,
    Settings,
    State,
    allocation_weights,
    build,
    content_weights,
    linked,
    used,
    written,
)

KINDS = [{"controller": controller, "read_heads": heads} for controller in ("feedforward", "lstm") for heads in (1, 3)]


def tiny(**changes: Any) -> DifferentiableNeuralComputer:
    """Make a model of 2 inputs in float64 whose parameters are large enough for every path to matter."""
    torch.manual_seed(0)
    model = build(Settings(**{"hidden": 4, "locations": 5, "width": 3, **changes}), 2).double()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(std=0.7)
    return model


def some_state(model: DifferentiableNeuralComputer, batch: int) -> State:
    """Make a state in which no two values are equal, and weights and usages are such as occur."""
    first = model.first_state(batch)
    state = State(*(torch.rand_like(part) for part in first))
    shares = {name: getattr(state, name) / 5 for name in ("precedence", "writing", "reading", "links")}
    return state._replace(memory=torch.randn_like(first.memory), output=torch.randn_like(first.output), **shares)


def unrolled(
    model: DifferentiableNeuralComputer, inputs: Tensor, lengths: Tensor, state: State
) -> tuple[Tensor, State]:
    """Run the steps one by one, with autograd."""
    outputs, states = zip(*model.walk(inputs, lengths, state), strict=True)
    return torch.stack(outputs, 1), states[-1]


def sigmoid(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-x))


def oneplus(x: np.ndarray) -> np.ndarray:
    return 1 + np.log(1 + np.exp(x))


def softmax(x: np.ndarray) -> np.ndarray:
    return np.exp(x) / np.exp(x).sum()


def lookup(memory: np.ndarray, key: np.ndarray, strength: float) -> np.ndarray:
    """C(M, k, beta), a location after the other, where norms have a floor."""
    cosines = [row @ key / np.sqrt((row @ row + 1e-8) * (key @ key + 1e-8)) for row in memory]
    return softmax(strength * np.array(cosines))


def transcribed_controller(
    was: dict[str, Any], x: np.ndarray, weights: dict[str, np.ndarray]
) -> tuple[np.ndarray, np.ndarray]:
    """h_t and c_t of a controller of one layer, from x_t and r_{t-1}, and for an LSTM h_{t-1} and c_{t-1}."""
    recurrent = weights["recurrent.weight"]
    seen = [*was["h"], *was["r"].ravel()][-recurrent.shape[1] :]
    raw = weights["input.weight"] @ x + weights["input.bias"] + recurrent @ np.array(seen)
    if len(raw) == len(was["h"]):
        return np.tanh(raw), was["c"]
    i, f, o, g = raw.reshape(4, -1)
    cell = sigmoid(f) * was["c"] + sigmoid(i) * np.tanh(g)
    return sigmoid(o) * np.tanh(cell), cell


def transcribed_step(was: dict[str, Any], xi: np.ndarray, heads: int) -> dict[str, Any]:
    """The paper's equations for one sequence and one step, entry by entry, from the interface vector on."""
    count, width = was["M"].shape
    ends = np.cumsum([heads * width, width, width, width, heads, 1, 1, heads, 1])
    read_keys, write_key, vector, erase, free, allocation, write, strengths, strength, modes = np.split(xi, ends)
    usage = np.zeros(count)
    for i in range(count):
        retention = np.prod([1 - sigmoid(free[r]) * was["wr"][r, i] for r in range(heads)])
        usage[i] = (was["u"][i] + was["ww"][i] - was["u"][i] * was["ww"][i]) * retention
    order = sorted(range(count), key=lambda i: usage[i])
    allocated = np.zeros(count)
    for j in range(count):
        allocated[order[j]] = (1 - usage[order[j]]) * np.prod([usage[order[i]] for i in range(j)])
    g_a, g_w = sigmoid(allocation), sigmoid(write)
    ww = g_w * (g_a * allocated + (1 - g_a) * lookup(was["M"], write_key, oneplus(strength)))
    memory = np.zeros((count, width))
    links = np.zeros((count, count))
    for i in range(count):
        for m in range(width):
            memory[i, m] = was["M"][i, m] * (1 - ww[i] * sigmoid(erase[m])) + ww[i] * vector[m]
        for j in range(count):
            if i != j:
                links[i, j] = (1 - ww[i] - ww[j]) * was["L"][i, j] + ww[i] * was["p"][j]
    wr = np.zeros((heads, count))
    for r in range(heads):
        pi = softmax(modes.reshape(heads, 3)[r])
        content = lookup(memory, read_keys.reshape(heads, width)[r], oneplus(strengths[r]))
        wr[r] = pi[0] * links.T @ was["wr"][r] + pi[1] * content + pi[2] * links @ was["wr"][r]
    precedence = (1 - ww.sum()) * was["p"] + ww
    return {"M": memory, "u": usage, "L": links, "p": precedence, "ww": ww, "wr": wr, "r": wr @ memory}


@pytest.mark.parametrize("kind", KINDS)
def test_steps_equal_a_plain_transcription_of_the_paper(kind: dict[str, Any]) -> None:
    model, heads = tiny(**kind), kind["read_heads"]
    inputs = torch.randn(1, 7, 2, dtype=torch.float64)
    names = ("M", "u", "L", "p", "ww", "wr")
    was = {name: part[0].numpy() for name, part in zip(names, model.first_state(1), strict=False)}
    was |= {"r": np.zeros((heads, 3)), "h": np.zeros(4), "c": np.zeros(4)}
    weights = {name: value.detach().numpy() for name, value in model.named_parameters()}
    with torch.no_grad():
        for x, (output, state) in zip(
            inputs[0].numpy(), model.walk(inputs, torch.tensor([7]), model.first_state(1)), strict=True
        ):
            hidden, cell = transcribed_controller(was, x, weights)
            xi = weights["emission.weight"] @ hidden + weights["emission.bias"]
            was = {**transcribed_step(was, xi, heads), "h": hidden, "c": cell}
            for name, part in zip(names, state, strict=False):
                np.testing.assert_allclose(part[0].numpy(), was[name], atol=1e-12, err_msg=name)
            np.testing.assert_allclose(output[0].numpy(), [*hidden, *was["r"].ravel()], atol=1e-12)


def test_allocation_by_hand() -> None:
    usage = torch.tensor([[0.5, 1.0, 0.2, 0.8], [0.9, 0.0, 0.3, 0.1], [1.0, 1.0, 1.0, 1.0]])
    expected = [[0.2 * 0.5, 0.0, 0.8, 0.2 * 0.5 * 0.2], [0.0, 1.0, 0.0, 0.0], [0.0, 0.0, 0.0, 0.0]]
    assert torch.allclose(allocation_weights(usage), torch.tensor(expected), atol=1e-5)


def test_blank_memory_is_allocated_in_order() -> None:
    usage = torch.zeros(1, 4)
    for location in range(4):
        allocated = allocation_weights(usage)
        assert torch.allclose(allocated[0], torch.eye(4)[location], atol=1e-5)
        usage = used(usage, allocated, torch.zeros(1, 1, 4), torch.zeros(1, 1, 1))
    assert torch.allclose(usage, torch.ones(1, 4), atol=1e-5)


def test_usage_by_hand() -> None:
    usage, writing = torch.tensor([[0.0, 0.5, 1.0]]), torch.tensor([[0.4, 0.5, 0.0]])
    reading, free = torch.tensor([[[1.0, 0.0, 0.5], [0.0, 0.5, 0.5]]]), torch.tensor([[[0.5], [1.0]]])
    assert torch.allclose(used(usage, writing, reading, free), torch.tensor([[0.4 * 0.5, 0.75 * 0.5, 0.75 * 0.5]]))


def test_what_is_read_and_freed_is_allocated_again() -> None:
    full, nothing = torch.ones(1, 3), torch.zeros(1, 3)
    freed = used(full, nothing, torch.eye(3)[1][None, None], torch.ones(1, 1, 1))
    assert torch.allclose(allocation_weights(freed), torch.eye(3)[1][None], atol=1e-5)


def test_links_follow_the_order_of_writing() -> None:
    links, precedence = torch.zeros(1, 4, 4), torch.zeros(1, 4)
    for location in (2, 0, 3):
        writing = torch.eye(4)[location][None]
        links = linked(links, precedence, writing)
        precedence = writing
    expected = torch.zeros(4, 4)
    expected[0, 2] = expected[3, 0] = 1
    assert torch.equal(links[0], expected)
    assert torch.equal(links[0] @ torch.eye(4)[2], torch.eye(4)[0])  # forward from 2
    assert torch.equal(torch.eye(4)[3] @ links[0], torch.eye(4)[0])  # backward from 3


def test_links_by_hand() -> None:
    links = torch.tensor([[[0.0, 0.6], [0.2, 0.0]]])
    after = linked(links, torch.tensor([[0.3, 0.5]]), torch.tensor([[0.1, 0.4]]))
    assert torch.allclose(after, torch.tensor([[[0.0, 0.5 * 0.6 + 0.1 * 0.5], [0.5 * 0.2 + 0.4 * 0.3, 0.0]]]))


def test_rewriting_a_location_cuts_it_out_of_the_order() -> None:
    chain = torch.zeros(1, 3, 3)
    chain[0, 1, 0] = chain[0, 2, 1] = 1
    after = linked(chain, torch.eye(3)[2][None], torch.eye(3)[1][None])
    expected = torch.zeros(3, 3)
    expected[1, 2] = 1
    assert torch.equal(after[0], expected)


def test_content_addressing_by_hand() -> None:
    memory = torch.tensor([[[1.0, 0.0], [3.0, 4.0], [0.0, 0.0]]])
    weights = content_weights(memory, torch.tensor([[[2.0, 0.0]]]), torch.full((1, 1, 1), 5.0))
    assert torch.allclose(weights[0, 0], torch.tensor([5 * 1.0, 5 * 0.6, 0.0]).softmax(0), atol=1e-6)


def test_writing_by_hand() -> None:
    memory, writing = torch.tensor([[[1.0, 2.0], [3.0, 4.0]]]), torch.tensor([[1.0, 0.5]])
    erase, vector = torch.tensor([[[1.0, 0.0]]]), torch.tensor([[[5.0, 6.0]]])
    assert torch.allclose(written(memory, writing, erase, vector), torch.tensor([[[5.0, 8.0], [4.0, 7.0]]]))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("lengths", [[4, 4, 4], [4, 2, 0]])
def test_backward_by_hand_equals_autograd(kind: dict[str, Any], lengths: list[int]) -> None:
    model = tiny(**kind)
    inputs = torch.randn(3, 4, 2, dtype=torch.float64, requires_grad=True)
    state = State(*(part.requires_grad_() for part in some_state(model, 3)))
    leaves = [inputs, *state, *model.parameters()]
    results = []
    for run in (model, lambda *arguments: unrolled(model, *arguments)):
        torch.manual_seed(1)
        outputs, after = run(inputs, torch.tensor(lengths), state)
        value = sum((part * torch.randn(part.shape, dtype=part.dtype)).sum() for part in (outputs, *after))
        results.append((outputs, *after, *torch.autograd.grad(value, leaves)))
    for fast, plain in zip(*results, strict=True):
        assert torch.allclose(fast, plain, rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("controller", ["feedforward", "lstm"])
def test_backward_by_hand_passes_gradcheck(controller: str) -> None:
    model = tiny(controller=controller, hidden=2, locations=3, width=2, read_heads=2)
    state = some_state(model, 2)
    inputs = torch.randn(2, 3, 2, dtype=torch.float64, requires_grad=True)
    parameters = dict(model.named_parameters())

    def run(inputs: Tensor, *values: Tensor) -> tuple[Tensor, ...]:
        arguments = (inputs, torch.tensor([3, 2]), state)
        outputs, after = torch.func.functional_call(model, dict(zip(parameters, values, strict=True)), arguments)
        return outputs, *after

    assert torch.autograd.gradcheck(run, (inputs, *parameters.values()))


@pytest.mark.parametrize("kind", KINDS)
def test_step_by_step_equals_the_whole(kind: dict[str, Any]) -> None:
    model = tiny(**kind)
    inputs, one = torch.randn(2, 4, 2, dtype=torch.float64), torch.tensor([1, 1])
    whole, after = model(inputs, torch.tensor([4, 4]))
    state, outputs = None, []
    for t in range(4):
        output, state = model(inputs[:, t : t + 1], one, state)
        outputs.append(output)
    assert state is not None
    assert torch.allclose(torch.cat(outputs, 1), whole)
    for last, part in zip(state, after, strict=True):
        assert torch.allclose(last, part)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("training", [True, False])
def test_padding_and_batch_change_nothing(kind: dict[str, Any], training: bool) -> None:
    model = tiny(**kind)
    inputs, lengths = torch.randn(3, 6, 2, dtype=torch.float64), torch.tensor([6, 1, 4])
    with torch.set_grad_enabled(training):
        together, after = model(inputs, lengths)
        for i, length in enumerate(lengths.tolist()):
            alone, end = model(inputs[i : i + 1, :length], lengths[i : i + 1])
            assert torch.allclose(together[i, :length], alone[0])
            assert not together[i, length:].any()
            for part, last in zip(after, end, strict=True):
                assert torch.allclose(part[i], last[0])


def test_padding_gives_no_gradient() -> None:
    model = tiny()
    inputs = torch.randn(2, 5, 2, dtype=torch.float64, requires_grad=True)
    outputs, _ = model(inputs, torch.tensor([5, 2]))
    outputs.square().sum().backward()
    assert inputs.grad is not None
    assert not inputs.grad[1, 2:].any() and inputs.grad[1, :2].all()


def test_state_is_not_changed_in_place() -> None:
    model = tiny()
    state = some_state(model, 2)
    before = State(*(part.clone() for part in state))
    model(torch.randn(2, 3, 2, dtype=torch.float64), torch.tensor([3, 3]), state)
    assert all(torch.equal(part, old) for part, old in zip(state, before, strict=True))


@pytest.mark.parametrize("scale", [1.0, 30.0, 1000.0])
@pytest.mark.parametrize("kind", KINDS)
def test_extreme_parameters_keep_everything_finite(scale: float, kind: dict[str, Any]) -> None:
    torch.manual_seed(0)
    model = build(Settings(**kind, hidden=8, locations=6, width=4), 3)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(std=scale)
    outputs, after = model(torch.randn(4, 30, 3), torch.full((4,), 30))
    assert all(part.isfinite().all() for part in (outputs, *after))
    for part in (after.usage, after.links, after.writing, after.reading):
        assert part.min() >= -1e-5 and part.max() <= 1 + 1e-5
    for weights in (after.writing, after.reading, after.precedence, after.links, after.links.transpose(1, 2)):
        assert weights.sum(-1).max() <= 1 + 1e-4
    outputs.sum().backward()
    assert all(parameter.grad is not None and parameter.grad.isfinite().all() for parameter in model.parameters())


def test_zero_interface_keeps_gradients_finite() -> None:
    model = build(Settings(hidden=4, locations=4, width=2), 2)
    torch.nn.init.zeros_(model.emission.weight)
    outputs, _ = model(torch.zeros(1, 6, 2), torch.tensor([6]))
    outputs.sum().backward()
    assert all(parameter.grad is not None and parameter.grad.isfinite().all() for parameter in model.parameters())


def test_trace_shows_where_every_head_was() -> None:
    model = tiny(read_heads=2)
    inputs, lengths = torch.randn(2, 4, 2, dtype=torch.float64), torch.tensor([4, 4])
    trace = model.trace(inputs, lengths)
    assert trace.shape == (2, 4, 3, 5)
    _, after = model(inputs, lengths)
    assert torch.allclose(trace[:, -1], torch.cat([after.reading, after.writing[:, None]], 1))


def test_memory_is_larger_after_training() -> None:
    model = build(Settings(locations=7, training_locations=3), 2)
    assert model.train().first_state(1).memory.shape == (1, 3, 20)
    assert model.eval().first_state(1).memory.shape == (1, 7, 20)


def test_tied_keys_begin_as_what_is_written() -> None:
    model = build(Settings(hidden=6, width=3, read_heads=2, tied_keys=True, strength_bias=5.0), 2)
    told = model.layout.split(model.layout.activate(model.emission(torch.randn(4, 6))))
    assert torch.allclose(told.read_key, told.vector.expand(4, 2, 3)) and torch.allclose(told.write_key, told.vector)
    assert told.vector.abs().min() > 0 and not torch.allclose(told.vector[0], told.vector[1])
    zero = model.layout.split(model.layout.activate(model.emission(torch.zeros(1, 6))))
    expected = torch.full((1, 2, 1), 1 + float(torch.nn.functional.softplus(torch.tensor(5.0))))
    assert torch.allclose(zero.read_strength, expected) and torch.allclose(zero.write_strength, expected[:, :1])
