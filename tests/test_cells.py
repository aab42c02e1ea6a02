"""The hand-written recurrences: right by definition (loops that read like the equations), and by their gradients."""

from collections.abc import Callable
from itertools import product
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.autograd import gradcheck

from stages.core.learning.batch import delayed, pad
from stages.models import gru, jordan, lstm, lstm_variants, minimal_gru, transformer

T, B, F, H, K = 5, 3, 4, 3, 2  # time, batch, features, hidden units, classes
VARIANTS = list(product(("free", "coupled", "none"), (True, False)))
LENGTHS = (4, 7, 1)


def drawn(*shape: int) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64, requires_grad=True)


@pytest.fixture(autouse=True)
def seeded() -> None:
    torch.manual_seed(1)


def variant(forget: Any, peephole: bool, **more: Any) -> torch.nn.Module:
    settings = lstm_variants.Settings(hidden=H, forget=forget, peephole=peephole, **more)
    return lstm_variants.build(settings, F).double()


def connected_jordan() -> torch.nn.Module:
    model = jordan.build(jordan.Settings(hidden=H), F)
    model.connect(torch.nn.Linear(H, K).double())
    return model.double()


MODELS: dict[str, Callable[[], torch.nn.Module]] = {
    **{
        f"lstm_{forget}{'_peephole' * peephole}": lambda forget=forget, peephole=peephole: variant(forget, peephole)
        for forget, peephole in VARIANTS
    },
    "lstm": lambda: lstm.build(lstm.Settings(hidden=H), F).double(),
    "deep_bidirectional_peephole": lambda: variant("free", True, layers=2, bidirectional=True),
    "gru": lambda: gru.build(gru.Settings(hidden=H), F).double(),
    "gru_reset_before": lambda: gru.build(gru.Settings(hidden=H, reset="before"), F).double(),
    "minimal_gru": lambda: minimal_gru.build(minimal_gru.Settings(hidden=H), F).double(),
    "deep_bidirectional_minimal_gru": lambda: minimal_gru.build(
        minimal_gru.Settings(hidden=H, layers=2, bidirectional=True), F
    ).double(),
    "jordan": connected_jordan,
    "transformer": lambda: transformer.build(transformer.Settings(width=8, heads=2, dropout=0.0), F).double(),
}
STREAMING = [name for name in MODELS if "bidirectional" not in name and name != "transformer"]


@pytest.mark.parametrize("name", MODELS)
def test_padding_changes_nothing(name: str) -> None:
    model = MODELS[name]().eval()
    sequences = [torch.randn(length, F, dtype=torch.float64) for length in LENGTHS]
    padded = pad(sequences, value=9.0)
    outputs, _ = model(padded.values, padded.lengths)
    assert outputs.shape == (3, 7, model.output_size)
    assert not outputs[~padded.mask].any()
    for row, sequence in enumerate(sequences):
        alone, _ = model(sequence[None], torch.tensor([len(sequence)]))
        torch.testing.assert_close(outputs[row, : len(sequence)], alone[0])


@pytest.mark.parametrize("name", STREAMING)
def test_step_by_step_equals_unrolled(name: str) -> None:
    model, inputs = MODELS[name](), drawn(B, T, F)
    whole, _ = model(inputs, torch.full((B,), T))
    state, steps = None, []
    for time in range(T):
        output, state = model(inputs[:, time : time + 1], torch.ones(B, dtype=torch.int64), state)
        steps.append(output)
    torch.testing.assert_close(torch.cat(steps, dim=1), whole)


@pytest.mark.parametrize("name", MODELS)
def test_gradients_of_inputs_and_weights_are_right(name: str) -> None:
    model, inputs, lengths = MODELS[name]().eval(), drawn(2, 3, F), torch.tensor([3, 2])
    names, weights = zip(*model.named_parameters(), strict=True)

    def run(values: Tensor, *parameters: Tensor) -> Tensor:
        given = dict(zip(names, parameters, strict=True))
        return torch.func.functional_call(model, given, (values, lengths))[0]

    assert gradcheck(run, (inputs, *(weight.detach().requires_grad_() for weight in weights)))


@pytest.mark.parametrize(("forget", "peephole"), VARIANTS)
def test_gradients_of_the_lstms_state_and_peepholes_are_right(forget: Any, peephole: bool) -> None:
    gates = 3 if forget == "free" else 2
    look = drawn(gates, H) if peephole else None
    given = (drawn(T, B, (gates + 1) * H), drawn((gates + 1) * H, H), look, drawn(B, H), drawn(B, H), forget)
    assert gradcheck(lstm_variants.LSTMRecurrence.apply, given)


@pytest.mark.parametrize("name", [name for name in MODELS if "lstm" in name or "peephole" in name])
def test_traced_gates_are_those_that_made_the_outputs(name: str) -> None:
    model, inputs = MODELS[name](), drawn(B, T, F)
    traces = model.trace(inputs)
    assert len(traces) == len(model.forwards) + len(model.backwards)
    for trace in traces:
        torch.testing.assert_close(trace["hidden"], trace["output"] * trace["cell"].tanh())
        assert trace["cell"].shape == (B, T, H)
        assert ("forget" in trace) == (name not in ("lstm_none", "lstm_none_peephole"))
    last = torch.cat([trace["hidden"] for trace in traces[-len(model.backwards) or -1 :][-2:]], dim=-1)
    torch.testing.assert_close(last, model(inputs, torch.full((B,), T))[0])


@pytest.mark.parametrize("name", ["gru", "gru_reset_before", "minimal_gru"])
def test_a_traced_update_gate_weighs_the_old_state(name: str) -> None:
    model, inputs = MODELS[name](), drawn(B, T, F)
    (trace,), (cell,) = model.trace(inputs), model.forwards
    before = delayed(trace["hidden"])
    if name == "minimal_gru":  # its update gate lets the new in, and the new is no tanh
        update, new = 1 - trace["update"], cell.new(inputs)
    elif name == "gru":
        weight, recurrent, bias, recurrent_bias = cell.all_weights[0]
        driven = inputs @ weight[2 * H :].t() + bias[2 * H :]
        new = driven + trace["reset"] * (before @ recurrent[2 * H :].t() + recurrent_bias[2 * H :])
        update, new = trace["update"], new.tanh()
    else:
        driven = cell.input(inputs)[..., 2 * H :]
        update, new = trace["update"], (driven + (trace["reset"] * before) @ cell.recurrent.t()).tanh()
    torch.testing.assert_close(trace["hidden"], update * before + (1 - update) * new)


def test_gradients_of_jordans_output_layer_are_right() -> None:
    assert gradcheck(jordan.JordanRecurrence.apply, (drawn(T, B, H), drawn(H, K), drawn(K, H), drawn(K), drawn(B, K)))


def test_gradients_of_the_gru_are_right() -> None:
    assert gradcheck(gru.ResetBefore.apply, (drawn(T, B, 3 * H), drawn(2 * H, H), drawn(H, H), drawn(B, H)))


@pytest.mark.parametrize(("forget", "peephole"), VARIANTS)
def test_the_lstms_variants_follow_their_equations(forget: Any, peephole: bool) -> None:
    model, inputs = variant(forget, peephole), drawn(B, T, F)
    (cell,) = model.forwards
    names = ["i", *["f"] * (forget == "free"), "g", "o"]
    looks = dict(zip([n for n in names if n != "g"], cell.peephole, strict=True)) if peephole else {}
    h, c = torch.zeros(B, H, dtype=torch.float64), torch.zeros(B, H, dtype=torch.float64)
    for time in range(T):
        sums = cell.input(inputs[:, time]) + h @ cell.recurrent.t()
        a = dict(zip(names, sums.chunk(len(names), dim=1), strict=True))
        i = torch.sigmoid(a["i"] + looks.get("i", 0) * c)
        free = torch.sigmoid(a["f"] + looks.get("f", 0) * c) if forget == "free" else None
        f = {"free": free, "coupled": 1 - i, "none": 1.0}[forget]
        c = f * c + i * torch.tanh(a["g"])
        h = torch.sigmoid(a["o"] + looks.get("o", 0) * c) * torch.tanh(c)
    outputs, ((last_h, last_c),) = model(inputs, torch.full((B,), T))
    torch.testing.assert_close(outputs[:, -1], h)
    torch.testing.assert_close((last_h[0], last_c[0]), (h, c))


def test_the_plain_variant_is_the_lstm_of_torch() -> None:
    model, twin = variant("free", False), torch.nn.LSTM(F, H, batch_first=True).double()
    (cell,) = model.forwards
    with torch.no_grad():
        twin.weight_ih_l0.copy_(cell.input.weight)
        twin.bias_ih_l0.copy_(cell.input.bias)
        twin.weight_hh_l0.copy_(cell.recurrent)
        twin.bias_hh_l0.zero_()
    mine, others = drawn(B, T, F), torch.zeros(B, T, F, dtype=torch.float64)
    others = mine.detach().clone().requires_grad_()
    expected, _ = twin(others)
    outputs, _ = model(mine, torch.full((B,), T))
    torch.testing.assert_close(outputs, expected)
    outputs.square().sum().backward()
    expected.square().sum().backward()
    torch.testing.assert_close(mine.grad, others.grad)
    torch.testing.assert_close(cell.recurrent.grad, twin.weight_hh_l0.grad)


def test_the_gru_with_the_reset_before_the_product_follows_its_equations() -> None:
    model, inputs = MODELS["gru_reset_before"](), drawn(B, T, F)
    (cell,) = model.forwards
    h = torch.zeros(B, H, dtype=torch.float64)
    for time in range(T):
        driven = cell.input(inputs[:, time])
        gates = torch.sigmoid(driven[:, : 2 * H] + h @ cell.gate_recurrent.t())
        r, z = gates.chunk(2, dim=1)
        h = (1 - z) * torch.tanh(driven[:, 2 * H :] + (r * h) @ cell.recurrent.t()) + z * h
    outputs, _ = model(inputs, torch.full((B,), T))
    torch.testing.assert_close(outputs[:, -1], h)


def test_jordan_feeds_its_output_distribution_back() -> None:
    model, inputs = connected_jordan(), drawn(B, T, F)
    (head,) = model._borrowed
    y = torch.zeros(B, K, dtype=torch.float64)
    for time in range(T):
        h = torch.tanh(model.input(inputs[:, time]) + y @ model.feedback.t())
        y = torch.softmax(head(h), dim=1)
    outputs, last = model(inputs, torch.full((B,), T))
    torch.testing.assert_close(outputs[:, -1], h)
    torch.testing.assert_close(last, y)
    assert "head" not in {name.split(".")[0] for name, _ in model.named_parameters()}


@pytest.mark.parametrize("time", [1, 2, 7, 8])
def test_the_scan_equals_the_loop(time: int) -> None:
    keep, add = torch.rand(B, time, H, dtype=torch.float64), drawn(B, time, H)
    h, states = torch.zeros(B, H, dtype=torch.float64), []
    for t in range(time):
        h = keep[:, t] * h + add[:, t]
        states.append(h)
    torch.testing.assert_close(minimal_gru.scan(keep, add), torch.stack(states, dim=1))


def test_the_transformer_knows_the_order() -> None:
    model = MODELS["transformer"]().eval()
    inputs = torch.randn(1, 4, F, dtype=torch.float64)
    swapped = inputs[:, [1, 0, 2, 3]]
    (first, _), (second, _) = (model(values, torch.tensor([4])) for values in (inputs, swapped))
    assert (first[0, 3] - second[0, 3]).abs().max() > 1e-3


def test_hand_set_weights_give_the_lectures_table() -> None:
    """N9: x2 = 1 adds x1 to the cell, -1 resets it, x3 = 1 puts it out; the cell's value is taken as it is."""
    x1 = [1, 3, 2, 4, 2, 1, 3, 6, 1]
    x2 = [0, 1, 0, 1, 0, 0, -1, 1, 0]
    x3 = [0, 0, 0, 0, 0, 1, 0, 0, 1]
    model = lstm.build(lstm.Settings(hidden=1), 3).double()
    (cell,) = model.forwards
    scale = 1e-4  # both tanh are then linear to eight digits
    with torch.no_grad():
        for parameter in cell.parameters():
            parameter.zero_()
        # Blocks in torch.nn's order: input gate, forget gate, value, output gate.
        cell.weight_ih_l0.copy_(torch.tensor([[0, 100, 0], [0, 100, 0], [scale, 0, 0], [0, 0, 100]]))
        cell.bias_ih_l0.copy_(torch.tensor([-10, 10, 0, -10]))
    inputs = torch.tensor([x1, x2, x3], dtype=torch.float64).t()[None]
    outputs, _ = model(inputs, torch.tensor([9]))
    assert (outputs[0, :, 0] / scale).round(decimals=2).tolist() == [0, 0, 0, 0, 0, 7, 0, 0, 6]


def test_parameter_counts_are_four_three_and_one_times_elmans() -> None:
    count = lambda model: sum(parameter.numel() for parameter in model.parameters())
    block = F * H + H * H + H  # input, recurrent, bias; torch.nn has a second bias
    assert count(variant("free", False)) == 4 * block
    assert count(variant("coupled", False)) == count(variant("none", False)) == 3 * block
    assert count(MODELS["gru_reset_before"]()) == 3 * block
    assert count(variant("free", True)) == 4 * block + 3 * H
