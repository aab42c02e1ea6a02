"""The sequence models: padding changes nothing, steps equal the whole, each is the network that it says."""

from types import ModuleType

import pytest
import torch
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from stages.core.learning.batch import pad
from stages.models import elman, feedforward, lstm

MODELS = {
    "elman": lambda: elman.build(elman.Settings(hidden=5), 3),
    "deep_bidirectional_elman": lambda: elman.build(elman.Settings(hidden=5, layers=2, bidirectional=True), 3),
    "lstm": lambda: lstm.build(lstm.Settings(hidden=5), 3),
    "bilstm": lambda: lstm.build(lstm.Settings(hidden=5, bidirectional=True), 3),
    "feedforward": lambda: feedforward.build(feedforward.Settings(hidden=5, window=0), 3),
    "feedforward_window": lambda: feedforward.build(feedforward.Settings(hidden=5, window=2), 3),
}


@pytest.mark.parametrize("name", MODELS)
def test_padding_changes_nothing(name: str) -> None:
    torch.manual_seed(1)
    model = MODELS[name]().double()
    sequences = [torch.randn(length, 3, dtype=torch.float64) for length in (4, 7, 1)]
    padded = pad(sequences, value=9.0)
    outputs, _ = model(padded.values, padded.lengths)
    for row, sequence in enumerate(sequences):
        alone, _ = model(sequence[None], torch.tensor([len(sequence)]))
        torch.testing.assert_close(outputs[row, : len(sequence)], alone[0])


@pytest.mark.parametrize("kind", [lstm, elman])
def test_deep_bidirectional_networks_equal_those_of_torch(kind: ModuleType) -> None:
    torch.manual_seed(1)
    model = kind.build(kind.Settings(hidden=5, layers=2, bidirectional=True), 3).double()
    twin = (torch.nn.LSTM if kind is lstm else torch.nn.RNN)(3, 5, 2, batch_first=True, bidirectional=True).double()
    with torch.no_grad():
        for layer in range(2):
            for cell, end in ((model.forwards[layer], ""), (model.backwards[layer], "_reverse")):
                for name, parameter in cell.named_parameters():
                    twin.get_parameter(f"{name[:-1]}{layer}{end}").copy_(parameter)
    padded = pad([torch.randn(length, 3, dtype=torch.float64) for length in (4, 7, 1)])
    packed = pack_padded_sequence(padded.values, padded.lengths, batch_first=True, enforce_sorted=False)
    expected, _ = pad_packed_sequence(twin(packed)[0], batch_first=True)
    outputs, _ = model(padded.values, padded.lengths)
    torch.testing.assert_close(outputs, expected)


@pytest.mark.parametrize("name", ["elman", "lstm", "feedforward"])
def test_step_by_step_equals_unrolled(name: str) -> None:
    torch.manual_seed(1)
    model = MODELS[name]().double()
    inputs = torch.randn(2, 6, 3, dtype=torch.float64)
    whole, _ = model(inputs, torch.tensor([6, 6]))
    state, steps = None, []
    for time in range(6):
        output, state = model(inputs[:, time : time + 1], torch.tensor([1, 1]), state)
        steps.append(output)
    torch.testing.assert_close(torch.cat(steps, dim=1), whole)


def test_a_linear_network_with_weights_of_one_gives_the_notes_outputs() -> None:
    """N3: inputs [1 1], [1 1], [2 2] give [4 4], [12 12], [32 32]; ReLU is linear on positive numbers."""
    model = elman.build(elman.Settings(hidden=2, nonlinearity="relu"), 2)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            parameter.fill_(0.0 if "bias" in name else 1.0)
    hidden, _ = model(torch.tensor([[[1.0, 1.0], [1.0, 1.0], [2.0, 2.0]]]), torch.tensor([3]))
    outputs = hidden @ torch.ones(2, 2)
    assert outputs.tolist() == [[[4.0, 4.0], [12.0, 12.0], [32.0, 32.0]]]


def test_the_forget_gate_starts_open() -> None:
    cell = lstm.build(lstm.Settings(hidden=5, forget_bias=1.5), 3).forwards[0]
    total = (cell.bias_ih_l0 + cell.bias_hh_l0).view(4, 5)[1]
    assert total.tolist() == [1.5] * 5


def test_an_lstm_has_four_times_the_parameters_of_an_elman_network() -> None:
    count = {name: sum(p.numel() for p in MODELS[name]().parameters()) for name in ("lstm", "elman")}
    assert count["lstm"] == 4 * count["elman"]


@pytest.mark.parametrize("window", [0, 2])
def test_a_feedforward_network_sees_its_window_alone(window: int) -> None:
    model = feedforward.build(feedforward.Settings(hidden=5, window=window), 3)
    inputs = torch.randn(1, 9, 3, requires_grad=True)
    outputs, _ = model(inputs, torch.tensor([9]))
    outputs[0, 4].sum().backward()
    seen = (inputs.grad[0].abs().sum(dim=1) > 0).nonzero().flatten().tolist()
    assert seen == list(range(4 - window, 4 + window + 1))
