"""The notes' worked examples agree with computations that share no code with them."""

import dataclasses
import itertools
import json
import math
import os
import re
import subprocess
import sys
from decimal import Decimal, getcontext
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import vl_convert
import yaml

from stages import check, demonstrate, models
from stages.core import demonstration
from stages.core.base import params
from stages.core.base.errors import InputError
from stages.demonstrations import (
    adding,
    attention,
    bag_of_words,
    coupled_gates,
    ctc_paths,
    error_surface,
    gradient_lag,
    ntm_addressing,
    power,
    worked_lstm,
    worked_rnn,
)
from stages.figures import demonstrations as figures
from stages.models import elman, gru, lstm, memory_network, neural_turing_machine

ROOT = Path(__file__).resolve().parent.parent
WORKED = params.load(ROOT / "params.yaml").demonstrations
# What makes the long ones short; their checks may then fail, their form may not.
SHORT: dict[str, dict[str, Any]] = {
    "gradient_lag": {"seeds": [1], "lag": 6, "delay": 3, "updates": 1},
    "adding": {"seeds": [1, 2], "lags": [3, 4], "updates": 2, "tested": 8},
    "error_surface": {"grid": 9, "starts": 20, "updates": 5},
}


def settings_of(key: str) -> Any:
    """The project's own settings of a demonstration."""
    return demonstration.load(key, WORKED[key])[1]


def work(key: str) -> demonstration.WorkedExample:
    """Work a demonstration, a long one in short."""
    values = dataclasses.replace(WORKED[key], settings=WORKED[key].settings | SHORT.get(key, {}))
    module, settings, used = demonstration.load(key, values)
    worked: demonstration.WorkedExample = module.demonstrate(settings, used)
    return worked


@pytest.fixture(scope="module")
def worked() -> dict[str, demonstration.WorkedExample]:
    """Every demonstration of params.yaml."""
    return {key: work(key) for key in WORKED}


def test_every_file_of_the_room_has_settings() -> None:
    assert sorted(WORKED) == params.names("demonstration")


@pytest.mark.parametrize("key", sorted(set(WORKED) - set(SHORT)))
def test_what_the_notes_say_holds(worked: dict[str, demonstration.WorkedExample], key: str) -> None:
    failed = [check for check, holds in worked[key].checks.items() if not holds]
    assert failed == []
    assert worked[key].content()["holds"] is True


@pytest.mark.parametrize("key", sorted(WORKED))
def test_the_content_is_json_of_the_agreed_form(worked: dict[str, demonstration.WorkedExample], key: str) -> None:
    content = worked[key].content()
    assert json.loads(json.dumps(content, allow_nan=False)) == content
    assert all(re.fullmatch(r"N([1-9]|1\d|2\d)", note) for note in content["notes"])
    assert content["holds"] == all(content["checks"].values())
    for table in content["tables"]:
        assert table["rows"] and all(len(row) == len(table["columns"]) for row in table["rows"])


@pytest.mark.parametrize("key", sorted(WORKED))
def test_every_chart_is_drawn(worked: dict[str, demonstration.WorkedExample], key: str) -> None:
    found = figures.charts(key, worked[key].content())
    assert found or key == "bag_of_words"
    for caption, chart in found:
        assert caption.endswith(".")
        svg = vl_convert.vegalite_to_svg(chart.to_dict(validate=False))
        assert "<path" in svg and "NaN" not in svg


def test_a_failed_check_is_no_holding() -> None:
    example = demonstration.WorkedExample(["N1"], "", "", "", "", {"so": True, "not so": False}, [], {})
    assert example.content()["holds"] is False


def test_numbers_are_rounded_and_infinity_is_a_word() -> None:
    assert demonstration.rounded({"a": [1 / 3, (math.inf, 2)]}) == {"a": [0.333333, ["infinite", 2]]}


# The command line and the settings.


def run(folder: Path, key: str) -> subprocess.CompletedProcess[str]:
    """Run the stage in ``folder``, which has the project's params.yaml."""
    (folder / "params.yaml").write_text((ROOT / "params.yaml").read_text())
    command = [sys.executable, "-m", "stages.demonstrate", key]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)


def test_the_stage_writes_the_same_bytes_each_time(tmp_path: Path) -> None:
    written = []
    for name in ("one", "other"):
        (tmp_path / name).mkdir()
        ran = run(tmp_path / name, "ctc_paths")
        assert ran.returncode == 0, ran.stderr
        assert "好棒 over 8 frames: 210 paths" in ran.stdout
        written.append((tmp_path / name / "data/demonstrations/ctc_paths.json").read_bytes())
    assert written[0] == written[1]


def test_an_unknown_demonstration_is_one_sentence(tmp_path: Path) -> None:
    ran = run(tmp_path, "worked_rn")
    assert ran.returncode == 2 and not (tmp_path / "data").exists()
    assert ran.stderr.startswith("error: worked_rn is no demonstration in params.yaml; did you mean worked_rnn?")


@pytest.mark.parametrize(
    ("key", "part", "value", "sentence"),
    [
        ("power", "weights", [1.0, 0.0], r"demonstrations\.power\.settings\.weights"),
        ("power", "wights", [1.0], r"settings\.wights is an unknown key; did you mean weights\?"),
        ("adding", "threshold", 0.5, r"demonstrations\.adding\.settings\.threshold"),
        ("adding", "cells", {"x": {"name": "lstn"}}, r"cells\.x\.name is 'lstn', which is no model; did you mean lstm"),
        ("bag_of_words", "sentences", ["a b", "a c"], "should have the same words"),
    ],
)  # fmt: skip
def test_a_wrong_setting_is_named(key: str, part: str, value: Any, sentence: str) -> None:
    loaded = params.load(ROOT / "params.yaml")
    wrong = dataclasses.replace(WORKED[key], settings=WORKED[key].settings | {part: value})
    with pytest.raises(InputError, match=sentence):
        check.check(dataclasses.replace(loaded, datasets={}, generated={}, experiments={}, demonstrations={key: wrong}))


@pytest.mark.parametrize("uses", ["models/lstn.py", "tasks", "../stages/models", "models/__init__.py"])
def test_what_is_used_must_be_a_model(uses: str) -> None:
    with pytest.raises(InputError, match=r"demonstrations\.power\.uses is .*, which is no model"):
        demonstration.load("power", dataclasses.replace(WORKED["power"], uses=uses))


def test_a_demonstration_needs_a_file() -> None:
    with pytest.raises(
        InputError, match=r"demonstrations\.powr is 'powr', which is no demonstration; did you mean power"
    ):
        demonstration.load("powr", WORKED["power"])


def test_the_stages_writes_where_the_graph_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    demonstrate.demonstrate("worked_rnn", WORKED["worked_rnn"])
    outputs = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]["demonstrate"]["do"]["outs"]
    assert [next(iter(output)).replace("${key}", "worked_rnn") for output in outputs] == [
        str(path.relative_to(tmp_path)) for path in (tmp_path / "data").rglob("*.json")
    ]


# Each against another computation.


def test_the_linear_network_counts_as_by_hand() -> None:
    inputs = [(2.0, 2.0), (1.0, 1.0), (0.0, 3.0)]
    held, outputs = 0, []
    for a, b in inputs:
        held = int(a + b) + 2 * held  # both units hold the same
        outputs.append([2 * held, 2 * held])
    assert outputs == [[8, 8], [20, 20], [46, 46]]
    network = worked_rnn.make(elman, 1.0)
    assert worked_rnn.run(network, inputs, 1.0)[1] == outputs
    assert worked_rnn.step_by_step(network, inputs, 1.0) == outputs


@pytest.mark.parametrize("rows", [worked_lstm.LECTURE, worked_lstm.GARBLED])
def test_the_hand_set_lstm_follows_its_rule(rows: dict[str, list[int]]) -> None:
    cell, before, outputs = 0, [], []
    for x1, x2, x3 in zip(rows["x1"], rows["x2"], rows["x3"], strict=True):
        before.append(cell)
        cell = cell + x1 if x2 == 1 else 0 if x2 == -1 else cell
        outputs.append(cell if x3 == 1 else 0)
    settings = settings_of("worked_lstm")
    found = worked_lstm.run(rows, settings)
    assert found["before"] == pytest.approx(before, abs=2e-3)
    assert found["y"] == pytest.approx(outputs, abs=2e-3)
    assert worked_lstm.run_network(lstm, rows, settings) == pytest.approx(found["y"], abs=1e-5)


def test_the_powers_are_those_of_exact_arithmetic() -> None:
    getcontext().prec = 40
    for weight in ("1", "1.01", "0.99", "0.01"):
        value, gradient = Decimal(weight) ** 999, 999 * Decimal(weight) ** 998
        for ways in (power.closed_form, power.by_autograd, lambda w: power.by_network(elman, w)):
            assert ways(float(weight)) == pytest.approx((float(value), float(gradient)), rel=1e-9, abs=1e-300)


def test_the_surfaces_gradient_is_its_slope() -> None:
    settings = settings_of("error_surface")
    points = error_surface.draw(50, settings, torch.Generator().manual_seed(3))
    found, step = error_surface.look(points, settings), 1e-6

    def loss(w: float, b: float, h: float = settings.first) -> float:
        for _ in range(settings.steps):
            h = math.tanh(w * h + b)
        return (h - settings.target) ** 2

    for place, (w, b) in enumerate(points.tolist()):
        slopes = [
            (loss(w + step, b) - loss(w - step, b)) / (2 * step),
            (loss(w, b + step) - loss(w, b - step)) / (2 * step),
        ]
        assert found.loss[place].item() == pytest.approx(loss(w, b), rel=1e-9)
        assert [found.by_w[place].item(), found.by_b[place].item()] == pytest.approx(slopes, rel=1e-3, abs=1e-6)


@pytest.mark.parametrize("clipping", ["none", "value", "norm"])
def test_clipping_is_torchs(clipping: error_surface.Clipping) -> None:
    for gradient in ([3.0, -0.2], [0.1, 0.2], [0.0, 0.0], [-7.0, 9.0]):
        parameter = torch.zeros(2, dtype=torch.float64, requires_grad=True)
        parameter.grad = torch.tensor(gradient, dtype=torch.float64)
        if clipping == "value":
            torch.nn.utils.clip_grad_value_(parameter, 0.5)
        if clipping == "norm":
            torch.nn.utils.clip_grad_norm_(parameter, 0.5)
        found = error_surface.clip(*(torch.tensor(part, dtype=torch.float64) for part in gradient), clipping, 0.5)
        assert [part.item() for part in found] == pytest.approx(parameter.grad.tolist(), abs=1e-6)


def test_the_gradient_on_its_way_back_grows_as_its_slopes_do() -> None:
    """At w = 2, b = 0 from h_0 = 0 every state is 0 and every slope 2, so that it grows tenfold as a power of 2."""
    settings = dataclasses.replace(settings_of("error_surface"), first=0.0)
    found = error_surface.look(torch.tensor([[2.0, 0.0], [0.5, 0.0]], dtype=torch.float64), settings)
    assert found.growth.tolist() == pytest.approx([2.0**settings.steps, 0.5])


def test_descent_without_clipping_is_sgd() -> None:
    settings = dataclasses.replace(settings_of("error_surface"), updates=5)
    start = torch.tensor([[0.5, 0.3]], dtype=torch.float64)
    parameter = start[0].clone().requires_grad_()
    optimizer = torch.optim.SGD([parameter], lr=0.1)
    for _ in range(5):
        optimizer.zero_grad()
        h = torch.tensor(settings.first, dtype=torch.float64)
        for _ in range(settings.steps):
            h = torch.tanh(parameter[0] * h + parameter[1])
        (h - settings.target).square().backward()
        optimizer.step()
    walked = error_surface.descend(start, 0.1, "none", settings).path
    assert walked.shape == (6, 1, 2)
    assert walked[-1, 0].tolist() == pytest.approx(parameter.tolist(), rel=1e-9)


def test_what_is_left_of_a_gradient_is_the_product_of_jacobians() -> None:
    settings = dataclasses.replace(settings_of("gradient_lag"), lag=6, batch_size=1)
    torch.manual_seed(5)
    cell = gradient_lag.Cell(model={"name": "elman", "hidden": 3}, gain=2.0)
    reader = gradient_lag.Reader(cell, settings.symbols, settings.symbols)
    found = gradient_lag.left(reader, 4, settings)
    layer = reader.cell.forwards[0]
    weight, recurrent, bias, other = (part.detach().double().numpy() for part in layer.all_weights[0])
    generator = torch.Generator().manual_seed(2004)
    shape = (1, settings.lag + 1, settings.symbols)
    inputs = 0.3 * torch.randn(shape, generator=generator, dtype=torch.float64).numpy()[0]
    back = torch.randn(1, 3, generator=generator, dtype=torch.float64).numpy()[0]
    states = [np.zeros(3)]
    for x in inputs:
        states.append(np.tanh(weight @ x + bias + recurrent @ states[-1] + other))
    norms = []
    for state in reversed(states[1:]):
        slope = back * (1 - state**2)
        norms.append(np.linalg.norm(weight.T @ slope))
        back = recurrent.T @ slope
    assert found == pytest.approx([math.log10(norm / norms[0]) for norm in norms], abs=1e-6)


def test_a_gain_multiplies_the_recurrent_weights_alone() -> None:
    for model in ({"name": "lstm", "hidden": 3}, {"name": "lstm_variants", "hidden": 3}):
        found = []
        for gain in (1.0, 8.0):
            torch.manual_seed(1)
            cell = gradient_lag.Reader(gradient_lag.Cell(model=model, gain=gain), 2, 2).cell
            found.append(dict(cell.named_parameters()))
        grown = {name for name in found[0] if not torch.equal(found[0][name], found[1][name])}
        assert grown == {name for name in found[0] if "weight_hh" in name or name.endswith(".recurrent")}
        assert all(torch.equal(8 * found[0][name], found[1][name]) for name in grown)


def test_the_adding_problem_marks_two_numbers_and_asks_for_their_sum() -> None:
    inputs, sums = adding.draw(300, 20, torch.Generator().manual_seed(1))
    assert inputs.shape == (300, 40, 2)
    for sequence, total in zip(inputs.tolist(), sums.tolist(), strict=True):
        marked = [step for step, (_, marker) in enumerate(sequence) if marker]
        assert len(marked) == 2 and marked[0] < 4 <= marked[1] < 20  # 20 steps and more lie before the answer
        assert sum(sequence[step][0] for step in marked) == pytest.approx(total, abs=1e-6)
    assert float((sums - 1).square().mean()) == pytest.approx(adding.VARIANCE, rel=0.2)


def test_a_seed_that_failed_at_a_lag_is_not_tried_at_longer_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = dataclasses.replace(settings_of("adding"), lags=[8, 2, 4], seeds=[1, 2], threshold=0.01)
    errors = {1: {2: 0.001, 4: 0.01, 8: 0.001}, 2: {2: 0.0, 4: 0.009, 8: 0.002}}
    monkeypatch.setattr(adding, "train", lambda cell, lag, seed, settings: (errors[seed][lag], 7))
    assert adding.climb({}, 1, settings) == {2: (0.001, 7), 4: (0.01, 7)}
    data = adding.demonstrate(settings, models).data
    assert data["longest"]["GRU"] == [2, 8] and data["longest_mean"]["GRU"] == 5
    assert data["success"]["GRU"] == {"8": [0, 1], "2": [1, 1], "4": [0, 1]}
    assert data["error"]["GRU"] == {"8": [0.002], "2": [0.001, 0.0], "4": [0.01, 0.009]}


@pytest.mark.parametrize("text", ["好", "好棒", "好棒棒", "好好棒棒", "好好好"])
def test_paths_are_those_that_torch_sums(text: str) -> None:
    """With equal scores every path has the same probability, so that the loss tells how many there are."""
    symbols = 1 + len(set(text))
    for time in range(1, 7):
        loss = ctc_paths.torch_loss(torch.zeros(time, symbols, dtype=torch.float64), text)
        expected = round(math.exp(-loss) * symbols**time)
        found = ctc_paths.count(text, time)
        assert (found["enumerated"], found["dynamic"], found["formula"]) == (expected, expected, expected)


def test_collapsing_is_that_of_a_regular_expression() -> None:
    for path in map("".join, itertools.product("∅好棒", repeat=5)):
        assert ctc_paths.collapse(path) == re.sub(r"(.)\1*", r"\1", path).replace("∅", "")


def test_kinds_of_paths_are_counted() -> None:
    found = ctc_paths.count("好棒", 6)
    assert found["without_null"] == 5  # the place where 棒 begins
    assert found["without_repeats"] == math.comb(6, 2)  # the two frames that are no null


@pytest.mark.parametrize("size, hidden", [(3, 5), (7, 2)])
def test_parameters_are_those_of_torch(size: int, hidden: int) -> None:
    for name, twin in (("elman", torch.nn.RNN), ("gru", torch.nn.GRU), ("lstm", torch.nn.LSTM)):
        expected = sum(part.numel() for part in twin(size, hidden).parameters())
        assert coupled_gates.formula({"name": name}, size, hidden) == expected
    one_bias = torch.nn.LSTM(size, hidden, bias=False)
    weights = sum(part.numel() for part in one_bias.parameters())
    assert coupled_gates.formula({"name": "lstm_variants"}, size, hidden) == weights + 4 * hidden
    peephole = {"name": "lstm_variants", "peephole": True}
    assert coupled_gates.formula(peephole, size, hidden) == weights + 7 * hidden


def test_shares_that_sum_to_one_are_told_from_those_that_do_not() -> None:
    gates = {"input": torch.tensor([[[0.2, 0.9]]]), "forget": torch.tensor([[[0.8, 0.5]]])}
    assert coupled_gates.kept_and_let_in(gates) == pytest.approx([1.0, 1.4])
    assert coupled_gates.kept_and_let_in({"input": gates["input"]}) == pytest.approx([1.2, 1.9])
    assert coupled_gates.kept_and_let_in({"update": gates["input"]}) == []


def test_a_head_is_addressed_as_by_numpy() -> None:
    settings = settings_of("ntm_addressing")
    rows = list(settings.memory.values())
    memory = np.array(rows)
    for head in settings.cases.values():
        cosines = memory @ np.array(head.key) / (np.linalg.norm(memory, axis=1) * np.linalg.norm(head.key))
        content = np.exp(head.strength * cosines) / np.exp(head.strength * cosines).sum()
        gated = head.gate * content + (1 - head.gate) * np.eye(len(memory))[head.start]
        kernel = np.roll(np.pad(head.shift, (0, len(memory) - 3)), -1)  # circular convolution by Fourier's theorem
        moved = np.fft.ifft(np.fft.fft(gated) * np.fft.fft(kernel)).real
        sharp = moved**head.sharpening / (moved**head.sharpening).sum()
        found = ntm_addressing.address(neural_turing_machine, rows, head)
        for way in ("weights", "by_hand"):
            assert found[way]["content"] == pytest.approx(content, abs=1e-6)
            assert found[way]["shifted"] == pytest.approx(moved, abs=1e-6)
            assert found[way]["sharpened"] == pytest.approx(sharp, abs=1e-4)


def test_two_looks_are_two_weighted_sums() -> None:
    tables = [np.array(table) for table in attention.vectors(settings_of("attention"))]
    u, looks = tables[0][3], []
    for addresses, contents in itertools.pairwise(tables):
        scores = np.exp(addresses[:3] @ u)
        looks.append(scores / scores.sum())
        u = u + looks[-1] @ contents[:3]
    found, answers = attention.by_network(memory_network, [table.tolist() for table in tables])
    assert np.array(found) == pytest.approx(np.array(looks), abs=1e-9)
    scores = np.exp(tables[-1][4:] @ u)
    assert list(answers.values()) == pytest.approx(scores / scores.sum(), abs=1e-9)


def test_a_last_state_is_that_of_reading_word_by_word() -> None:
    settings = bag_of_words.Settings(sentences=("a b b", "b a b"), hidden=4, seed=2)
    states = bag_of_words.last_states(gru, [("a", "b", "b"), ("b", "a", "b")], ["a", "b"], settings)
    torch.manual_seed(2)
    cell = torch.nn.GRU(2, 4, batch_first=True).double()
    for state, text in zip(states, ([0, 1, 1], [1, 0, 1]), strict=True):
        held = None
        for word in text:
            _, held = cell(torch.eye(2, dtype=torch.float64)[word][None, None], held)
        assert held is not None and torch.allclose(held.flatten(), state, atol=1e-12)
    assert bag_of_words.bag(("a", "b", "b"), ["a", "b"]) == bag_of_words.bag(("b", "a", "b"), ["a", "b"]) == [1, 2]
