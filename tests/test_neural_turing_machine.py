"""The Neural Turing Machine: addressing by hand, the backward pass against autograd, state, padding, extremes."""

import math
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from stages.models.neural_turing_machine import (
    Emitted,
    NeuralTuringMachine,
    Settings,
    State,
    addressed,
    build,
    content_weights,
    sharpened,
    shifted,
    written,
)

KINDS = [
    {"controller": controller, "read_heads": read, "write_heads": write}
    for controller in ("feedforward", "lstm")
    for read, write in ((1, 1), (2, 3))
]


def tiny(**changes: Any) -> NeuralTuringMachine:
    """Make a model of 2 inputs in float64 whose parameters are large enough for every path to matter."""
    torch.manual_seed(0)
    model = build(Settings(**{"hidden": 4, "locations": 5, "width": 3, **changes}), 2).double()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(std=0.7)
    return model


def some_state(model: NeuralTuringMachine, batch: int) -> State:
    """Make a state in which no two values are equal, with weights that sum to 1."""
    memory, weights, output, cell = (torch.randn_like(part) for part in model.first_state(batch))
    return State(memory, weights.softmax(-1), output, cell)


def unrolled(model: NeuralTuringMachine, inputs: Tensor, lengths: Tensor, state: State) -> tuple[Tensor, State]:
    """Run the steps one by one, with autograd."""
    outputs, states = zip(*model.walk(inputs, lengths, state), strict=True)
    return torch.stack(outputs, 1), states[-1]


def sigmoid(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-x))


def softplus(x: np.ndarray) -> np.ndarray:
    return np.log(1 + np.exp(x))


def softmax(x: np.ndarray) -> np.ndarray:
    return np.exp(x) / np.exp(x).sum()


def transcribed_head(memory: np.ndarray, before: np.ndarray, told: dict[str, np.ndarray]) -> np.ndarray:
    """Equations 5 to 9 for one head of one sequence, a location after the other, where norms and weights have floors;
    ``told`` is what the controller put out, before its nonlinearities."""
    key, count = np.tanh(told["key"]), len(memory)
    cosines = [row @ key / np.sqrt((row @ row + 1e-8) * (key @ key + 1e-8)) for row in memory]
    content = softmax(softplus(told["strength"]) * np.array(cosines))
    gate, shift = sigmoid(told["gate"]), softmax(told["shift"])
    gated = gate * content + (1 - gate) * before
    moved = np.zeros(count)
    for i in range(count):
        for by, share in zip((-1, 0, 1), shift, strict=True):
            moved[(i + by) % count] += gated[i] * share
    powers = (moved + 1e-6) ** (1 + softplus(told["sharpening"]))
    return powers / powers.sum()


def transcribed_controller(
    was: dict[str, Any], x: np.ndarray, weights: dict[str, np.ndarray]
) -> tuple[np.ndarray, np.ndarray]:
    """h_t and c_t from x_t and r_{t-1}, and for an LSTM h_{t-1} and c_{t-1}."""
    recurrent = weights["recurrent.weight"]
    seen = [*was["h"], *was["r"].ravel()][-recurrent.shape[1] :]
    raw = weights["input.weight"] @ x + weights["input.bias"] + recurrent @ np.array(seen)
    if len(raw) == len(was["h"]):
        return np.tanh(raw), was["c"]
    i, f, o, g = raw.reshape(4, -1)
    cell = sigmoid(f) * was["c"] + sigmoid(i) * np.tanh(g)
    return sigmoid(o) * np.tanh(cell), cell


def transcribed_step(was: dict[str, Any], x: np.ndarray, model: NeuralTuringMachine) -> dict[str, Any]:
    """The paper's step for one sequence, with plain loops over heads, locations and values."""
    weights = {name: value.detach().numpy() for name, value in model.named_parameters()}
    hidden, cell = transcribed_controller(was, x, weights)
    raw, layout = weights["emission.weight"] @ hidden + weights["emission.bias"], model.layout
    names = ("key", "strength", "gate", "shift", "sharpening")
    told = [
        {name: raw[getattr(layout, name)].reshape(model.heads, -1)[head] for name in names}
        for head in range(model.heads)
    ]
    new = np.array([transcribed_head(was["M"], before, part) for before, part in zip(was["w"], told, strict=True)])
    writing = new[model.settings.read_heads :]
    erase, add = (raw[part].reshape(len(writing), -1) for part in (layout.erase, layout.add))
    memory = was["M"].copy()
    for w, e in zip(writing, erase, strict=True):
        for i in range(len(memory)):
            memory[i] *= 1 - w[i] * sigmoid(e)
    for w, a in zip(writing, add, strict=True):
        for i in range(len(memory)):
            memory[i] += w[i] * np.tanh(a)
    read = new[: model.settings.read_heads] @ memory
    return {"M": memory, "w": new, "h": hidden, "r": read, "c": cell}


@pytest.mark.parametrize("kind", KINDS)
def test_steps_equal_a_plain_transcription_of_the_paper(kind: dict[str, Any]) -> None:
    model = tiny(**kind)
    inputs = torch.randn(1, 7, 2, dtype=torch.float64)
    first = model.first_state(1)
    was = {name: part[0].detach().numpy() for name, part in zip("Mwhc", first, strict=True)}
    was |= {"h": was["h"][:4], "r": was["h"][4:]}
    with torch.no_grad():
        steps = model.walk(inputs, torch.tensor([7]), first)
        for x, (output, state) in zip(inputs[0].numpy(), steps, strict=True):
            was = transcribed_step(was, x, model)
            np.testing.assert_allclose(state.memory[0].numpy(), was["M"], atol=1e-12)
            np.testing.assert_allclose(state.weights[0].numpy(), was["w"], atol=1e-12)
            np.testing.assert_allclose(output[0].numpy(), [*was["h"], *was["r"].ravel()], atol=1e-12)


def test_strong_content_addressing_picks_the_row() -> None:
    memory = torch.eye(4)[None]
    key = torch.tensor([[[0.0, 0.0, 5.0, 0.0]]])
    weights = content_weights(memory, key, torch.full((1, 1, 1), 100.0))
    assert torch.allclose(weights, torch.tensor([[[0.0, 0.0, 1.0, 0.0]]]), atol=1e-6)


def test_content_addressing_by_hand() -> None:
    memory = torch.tensor([[[1.0, 0.0], [3.0, 4.0]]])
    weights = content_weights(memory, torch.tensor([[[2.0, 0.0]]]), torch.full((1, 1, 1), 5.0))
    expected = torch.tensor([5 * 1.0, 5 * 0.6]).softmax(0)
    assert torch.allclose(weights[0, 0], expected, atol=1e-6)


def test_blank_locations_resemble_no_key() -> None:
    memory = torch.full((1, 3, 4), 1e-6)
    memory[0, 1] = -1
    weights = content_weights(memory, torch.ones(1, 1, 4), torch.full((1, 1, 1), 2.0))
    assert torch.allclose(weights[0, 0], torch.tensor([0.0, -2.0, 0.0]).softmax(0), atol=0.03)


@pytest.mark.parametrize(("place", "expected"), [(0, [0.3, 0, 0, 0.7]), (1, [0.7, 0.3, 0, 0]), (2, [0, 0.7, 0.3, 0])])
def test_shift_by_one_location_goes_round_the_memory(place: int, expected: list[float]) -> None:
    weights = torch.tensor([[[0.7, 0.3, 0.0, 0.0]]])
    assert torch.allclose(shifted(weights, torch.eye(3)[place][None, None]), torch.tensor([[expected]]))


def test_mixed_shift_by_hand() -> None:
    weights = torch.tensor([[[1.0, 0.0, 0.0, 0.0]]])
    moved = shifted(weights, torch.tensor([[[0.1, 0.2, 0.7]]]))
    assert torch.allclose(moved, torch.tensor([[[0.2, 0.7, 0.0, 0.1]]]))


def test_sharpening_by_hand() -> None:
    weights = torch.tensor([[[0.2, 0.7, 0.1, 0.0]]])
    assert torch.allclose(sharpened(weights, torch.ones(1, 1, 1)), weights, atol=1e-5)
    squared = torch.tensor([[[0.04, 0.49, 0.01, 0.0]]]) / 0.54
    assert torch.allclose(sharpened(weights, torch.full((1, 1, 1), 2.0)), squared, atol=1e-5)
    assert torch.allclose(sharpened(weights, torch.full((1, 1, 1), 500.0)), torch.tensor([[[0.0, 1.0, 0.0, 0.0]]]))


def test_gate_chooses_between_content_and_the_weights_before() -> None:
    memory, before = torch.eye(4)[None], torch.tensor([[[0.0, 0.0, 0.0, 1.0]]])
    for gate, focus in ((1.0, 2), (0.0, 0)):
        emitted = Emitted(
            key=torch.tensor([[[0.0, 1.0, 0.0, 0.0]]]),
            strength=torch.full((1, 1, 1), 100.0),
            gate=torch.full((1, 1, 1), gate),
            shift=torch.tensor([[[0.0, 0.0, 1.0]]]),
            sharpening=torch.ones(1, 1, 1),
            erase=torch.empty(1, 0, 4),
            add=torch.empty(1, 0, 4),
        )
        weights = addressed(memory, before, emitted)
        assert torch.allclose(weights[0, 0], torch.eye(4)[focus], atol=1e-4)


def test_heads_erase_then_add_by_hand() -> None:
    memory = torch.tensor([[[1.0, 2.0], [3.0, 4.0]]])
    weights = torch.tensor([[[1.0, 0.0], [0.5, 0.5]]])
    erase, add = torch.tensor([[[1.0, 0.0], [1.0, 1.0]]]), torch.tensor([[[5.0, 6.0], [2.0, 0.0]]])
    assert torch.allclose(written(memory, weights, erase, add), torch.tensor([[[6.0, 7.0], [2.5, 2.0]]]))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("lengths", [[4, 4, 4], [4, 2, 0]])
def test_backward_by_hand_equals_autograd(kind: dict[str, Any], lengths: list[int]) -> None:
    model = tiny(**kind)
    inputs = torch.randn(3, 4, 2, dtype=torch.float64, requires_grad=True)
    state = State(*(part.requires_grad_() for part in some_state(model, 3)))
    leaves = [inputs, *state, *(value for name, value in model.named_parameters() if name != "first_read")]
    results = []
    for run in (model, lambda *arguments: unrolled(model, *arguments)):
        torch.manual_seed(1)
        outputs, after = run(inputs, torch.tensor(lengths), state)
        value = sum((part * torch.randn(part.shape, dtype=part.dtype)).sum() for part in (outputs, *after))
        results.append((outputs, *after, *torch.autograd.grad(value, leaves)))
    for fast, plain in zip(*results, strict=True):
        assert torch.allclose(fast, plain, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("controller", ["feedforward", "lstm"])
def test_backward_by_hand_passes_gradcheck(controller: str) -> None:
    model = tiny(controller=controller, hidden=2, locations=3, width=2, write_heads=2)
    inputs = torch.randn(2, 3, 2, dtype=torch.float64, requires_grad=True)
    parameters = dict(model.named_parameters())

    def run(inputs: Tensor, *values: Tensor) -> tuple[Tensor, ...]:
        arguments = (inputs, torch.tensor([3, 2]))
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


@pytest.mark.parametrize("scale", [30.0, 1000.0])
@pytest.mark.parametrize("controller", ["feedforward", "lstm"])
def test_extreme_parameters_keep_everything_finite(scale: float, controller: str) -> None:
    torch.manual_seed(0)
    model = build(Settings(controller=controller, hidden=8, locations=6, width=4), 3)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(std=scale)
    outputs, after = model(torch.randn(4, 12, 3), torch.full((4,), 12))
    assert all(part.isfinite().all() for part in (outputs, *after))
    sums = after.weights.sum(-1)
    assert torch.allclose(sums, torch.ones_like(sums), atol=1e-4)
    outputs.sum().backward()
    assert all(parameter.grad is not None and parameter.grad.isfinite().all() for parameter in model.parameters())


def test_zero_emission_keeps_gradients_finite() -> None:
    model = build(Settings(hidden=4, locations=4, width=2), 2)
    torch.nn.init.zeros_(model.emission.weight)
    torch.nn.init.zeros_(model.emission.bias)
    outputs, _ = model(torch.zeros(1, 3, 2), torch.tensor([3]))
    outputs.sum().backward()
    assert all(parameter.grad is not None and parameter.grad.isfinite().all() for parameter in model.parameters())


def test_trace_shows_where_every_head_was() -> None:
    model = tiny(read_heads=2)
    inputs, lengths = torch.randn(2, 4, 2, dtype=torch.float64), torch.tensor([4, 4])
    trace = model.trace(inputs, lengths)
    assert trace.shape == (2, 4, 3, 5)
    assert torch.allclose(trace.sum(-1), torch.ones(2, 4, 3, dtype=torch.float64), atol=1e-4)
    assert torch.allclose(trace[:, -1], model(inputs, lengths)[1].weights)


def test_heads_start_at_the_first_location_and_incline_to_walk_on() -> None:
    torch.manual_seed(0)
    model = build(Settings(locations=10, forward_bias=20.0), 2)
    assert model.first_state(1).weights.argmax(-1).tolist() == [[0, 0]]
    emitted = model.layout.split(model.layout.activate(model.emission(torch.zeros(1, 100))))
    assert torch.allclose(emitted.shift, torch.tensor([0.0, 0.0, 1.0]).expand(1, 2, 3), atol=1e-6)


def test_tied_keys_begin_as_what_the_first_write_head_adds() -> None:
    model = build(Settings(hidden=6, locations=5, width=4, read_heads=2, write_heads=2, tied_keys=True), 3)
    emitted = model.layout.split(model.layout.activate(model.emission(torch.randn(2, 6))))
    assert torch.allclose(emitted.key, emitted.add[:, :1].expand(-1, 4, -1))
    assert not torch.allclose(emitted.add[:, 0], emitted.add[:, 1])


def test_strength_begins_at_its_bias() -> None:
    model = build(Settings(hidden=6, locations=5, width=4, strength_bias=4.0), 3)
    emitted = model.layout.split(model.layout.activate(model.emission(torch.zeros(1, 6))))
    assert emitted.strength.flatten().tolist() == pytest.approx([math.log1p(math.exp(4))] * 2)


def test_training_may_have_a_smaller_memory() -> None:
    model = build(Settings(hidden=6, locations=9, width=4, training_locations=5), 3)
    inputs, lengths = torch.randn(2, 4, 3), torch.tensor([4, 4])
    assert model(inputs, lengths)[1].memory.shape == (2, 5, 4)
    assert model.eval()(inputs, lengths)[1].memory.shape == (2, 9, 4)
