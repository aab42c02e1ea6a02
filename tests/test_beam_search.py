"""Beam search against listing every target, greedy search, and itself in other batches; limits; what may not come."""

import itertools
import math
from typing import Any

import pydantic
import pytest
import torch
from torch import Tensor

from stages.core.base.errors import InputError
from stages.core.learning.batch import Padded, pad
from stages.decoding.beam_search import Hypothesis, Settings, decode, search

SYMBOLS = 4  # 0 is the stop symbol, 3 starts
LIMIT = 4


class TinyTask:
    """A random model whose next symbol depends on the sentence and on all symbols before."""

    start_symbol = 3
    stop_symbol: int | None = 0

    def __init__(self, seed: int, sharpness: float = 2.0) -> None:
        generator = torch.Generator().manual_seed(seed)
        self.weight = torch.randn(6, 6, generator=generator, dtype=torch.float64)
        self.read = torch.randn(SYMBOLS, 6, generator=generator, dtype=torch.float64)
        self.out = sharpness * torch.randn(6, SYMBOLS, generator=generator, dtype=torch.float64)

    def start(self, batch: dict[str, Padded]) -> Tensor:
        return batch["source"].values[:, :1].double() * torch.arange(1.0, 7.0)

    def step(self, state: Tensor, symbols: Tensor) -> tuple[Tensor, Tensor]:
        state = torch.tanh(state @ self.weight + self.read[symbols])
        scores = (state @ self.out).log_softmax(dim=1)
        scores[:, self.start_symbol] = -torch.inf
        return scores, state

    def reorder(self, state: Tensor, rows: Tensor) -> Tensor:
        return state[rows]

    def text(self, symbols: list[int]) -> str:
        return "".join(map(str, symbols))


def batch_of(*values: float) -> dict[str, Padded]:
    return {"source": pad([torch.tensor([value]) for value in values])}


def limits(beam: int, length_penalty: float = 0.0, **others: Any) -> Settings:
    return Settings(beam=beam, length_penalty=length_penalty, length_factor=0.0, length_offset=LIMIT, **others)


def log_probability(task: TinyTask, value: float, symbols: tuple[int, ...]) -> float:
    state, last, total = task.start(batch_of(value)), task.start_symbol, 0.0
    for symbol in symbols:
        scores, state = task.step(state, torch.tensor([last]))
        total, last = total + float(scores[0, symbol]), symbol
    return total


Scored = tuple[float, float, tuple[int, ...]]  # score, log-probability, target


def rank_all(task: TinyTask, value: float, penalty: float, minimum: int = 0) -> list[Scored]:
    if task.stop_symbol is None:
        written = {symbols: symbols for symbols in itertools.product([0, 1, 2], repeat=LIMIT)}
    else:
        lengths = range(minimum, LIMIT)
        targets = [target for length in lengths for target in itertools.product([1, 2], repeat=length)]
        written = {target: (*target, task.stop_symbol) for target in targets}
    totals = {target: log_probability(task, value, symbols) for target, symbols in written.items()}
    score = lambda target: totals[target] / ((5 + len(written[target])) / 6) ** penalty
    return sorted(((score(target), totals[target], target) for target in written), reverse=True)


def assert_same(found: list[Hypothesis], expected: list[Scored]) -> None:
    assert [tuple(hypothesis.symbols) for hypothesis in found] == [target for _, _, target in expected]
    for hypothesis, (score, total, _) in zip(found, expected, strict=True):
        assert hypothesis.score == pytest.approx(score, abs=1e-9)
        assert hypothesis.log_probability == pytest.approx(total, abs=1e-9)


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("penalty", [0.0, 1.0, 3.0])
@pytest.mark.parametrize(("n_best", "minimum"), [(1, 0), (4, 0), (1, 2), (6, 2), (15, 0)])
def test_a_wide_beam_finds_the_best_of_all_targets(seed: int, penalty: float, n_best: int, minimum: int) -> None:
    task, values = TinyTask(seed), (0.1, 0.5, -0.7)
    found = search(task, batch_of(*values), limits(30, penalty, n_best=n_best, minimum=minimum))
    for value, hypotheses in zip(values, found, strict=True):
        assert_same(hypotheses, rank_all(task, value, penalty, minimum)[:n_best])


def test_without_a_stop_symbol_the_best_of_all_targets_of_the_maximum_length_is_found() -> None:
    task = TinyTask(2)
    task.stop_symbol = None
    found = search(task, batch_of(0.1, -0.7), limits(81, 1.0, n_best=5))
    for value, hypotheses in zip((0.1, -0.7), found, strict=True):
        assert_same(hypotheses, rank_all(task, value, 1.0)[:5])


@pytest.mark.parametrize("penalty", [0.0, 2.0])
@pytest.mark.parametrize("minimum", [0, 2])
def test_one_hypothesis_is_greedy_search(penalty: float, minimum: int) -> None:
    for seed in range(8):
        task = TinyTask(seed)
        state, last = task.start(batch_of(0.3)), task.start_symbol
        greedy: list[int] = []
        while len(greedy) < LIMIT - 1:
            scores, state = task.step(state, torch.tensor([last]))
            if len(greedy) < minimum:
                scores[:, task.stop_symbol] = -torch.inf
            last = int(scores.argmax())
            if last == task.stop_symbol:
                break
            greedy.append(last)
        found = decode(task, batch_of(0.3), limits(1, penalty, minimum=minimum))
        assert found[0]["prediction"] == task.text(greedy)


def assert_alike(some: list[dict[str, Any]], others: list[dict[str, Any]]) -> None:
    for one, other in zip(some, others, strict=True):
        for found, again in zip(one["n_best"], other["n_best"], strict=True):
            assert found["prediction"] == again["prediction"]
            assert found["log_probability"] == pytest.approx(again["log_probability"], abs=1e-9)


@pytest.mark.parametrize("stop", [0, None])
def test_neither_the_batch_nor_its_order_changes_a_translation(stop: int | None) -> None:
    task, values = TinyTask(3, sharpness=1.0), [0.1 * step for step in range(-6, 7)]
    task.stop_symbol = stop
    settings = Settings(beam=3, n_best=3, length_penalty=1.0, length_factor=2.0, length_offset=1)
    sentences = [[value] * (1 + place % 3) for place, value in enumerate(values)]  # so limits differ too
    batch = lambda some: {"source": pad([torch.tensor(sentence) for sentence in some])}
    together = decode(task, batch(sentences), settings)
    assert len({len(found["prediction"]) for found in together}) > 1, "the sentences should end at different steps"
    assert_alike(together, [decode(task, batch([sentence]), settings)[0] for sentence in sentences])
    assert_alike(together, decode(task, batch(sentences[::-1]), settings)[::-1])


class Scripted:
    """Symbols 1 and 2, stop 0, start 3; ``table`` gives the probabilities (stop, 1, 2) after each prefix."""

    start_symbol = 3

    def __init__(self, table: dict[str, tuple[float, float, float]], stop: int | None = 0) -> None:
        self.table, self.stop_symbol = table, stop
        self.rows: list[int] = []  # of each step

    def start(self, batch: dict[str, Padded]) -> list[str]:
        return [""] * len(batch["source"].values)

    def step(self, state: list[str], symbols: Tensor) -> tuple[Tensor, list[str]]:
        self.rows.append(len(symbols))
        after = [
            prefix + {3: ""}.get(symbol, str(symbol)) for prefix, symbol in zip(state, symbols.tolist(), strict=True)
        ]
        rows = [(*self.table.get(prefix, (0.98, 0.01, 0.01)), 0.0) for prefix in after]
        return torch.tensor(rows, dtype=torch.float64).log(), after

    def reorder(self, state: list[str], rows: Tensor) -> list[str]:
        return [state[row] for row in rows.tolist()]

    def text(self, symbols: list[int]) -> str:
        return "".join(map(str, symbols))


def test_a_finished_hypothesis_does_not_end_the_search_while_a_live_one_can_beat_it() -> None:
    # Stopping at once has probability 0.4, yet 1 (0.55), then stop (0.9) has 0.495.
    task = Scripted({"": (0.4, 0.55, 0.05), "1": (0.9, 0.05, 0.05)})
    found = decode(task, batch_of(0.0), limits(2))[0]
    assert found["prediction"] == "1"
    assert found["log_probability"] == pytest.approx(math.log(0.55 * 0.9))


def test_the_length_penalty_counts_in_the_stop_rule() -> None:
    # By plain log-probability "" wins over "11"; by Wu et al.'s penalty the longer does, found two steps later.
    table = {"": (0.5, 0.5, 0.0), "1": (0.01, 0.98, 0.01), "11": (0.95, 0.03, 0.02)}
    assert decode(Scripted(table), batch_of(0.0), limits(2, 0.0))[0]["prediction"] == ""
    assert decode(Scripted(table), batch_of(0.0), limits(2, 1.0))[0]["prediction"] == "11"


def test_a_finished_hypothesis_keeps_its_place() -> None:
    # "" finishes at once, which leaves one place: 12, the best of all by the penalty, is the second of two and goes.
    table = {"": (0.5, 0.3, 0.2), "1": (0.01, 0.5, 0.49), "11": (0.9, 0.05, 0.05), "12": (0.99, 0.005, 0.005)}
    assert decode(Scripted(table), batch_of(0.0), limits(2, 6.0))[0]["prediction"] == "11"
    assert decode(Scripted(table), batch_of(0.0), limits(4, 6.0))[0]["prediction"] == "12"


def test_the_search_ends_once_no_live_hypothesis_can_win() -> None:
    task = Scripted({"": (0.9, 0.05, 0.05)})
    decode(task, batch_of(0.0), limits(2))
    assert task.rows == [1]


def test_a_target_ends_at_its_maximum_length() -> None:
    task = Scripted({"1" * length: (1e-6, 1.0, 1e-6) for length in range(20)})
    found = decode(task, batch_of(0.0), limits(2))[0]
    assert found["prediction"] == "1" * (LIMIT - 1)


def test_the_search_goes_on_while_a_live_hypothesis_can_be_among_the_n_best() -> None:
    # "" (0.9) wins, but of two hypotheses the second is yet to come.
    table = {"": (0.9, 0.06, 0.04), "1": (0.5, 0.5, 0.0), "2": (0.9, 0.05, 0.05)}
    task = Scripted(table)
    found = decode(task, batch_of(0.0), limits(3, n_best=2))[0]
    assert [shown["prediction"] for shown in found["n_best"]] == ["", "2"]
    assert [shown["score"] for shown in found["n_best"]] == pytest.approx([math.log(0.9), math.log(0.04 * 0.9)])
    assert task.rows == [1, 2], "0.06 x 0.5 cannot beat 0.04 x 0.9"


def test_only_hypotheses_that_go_on_are_decoded() -> None:
    # After "" and "1" have finished, one place of three is left.
    task = Scripted({"": (0.4, 0.4, 0.2), "1": (0.6, 0.2, 0.2), "2": (0.1, 0.8, 0.1)})
    decode(task, batch_of(0.0), limits(3, n_best=3))
    assert task.rows == [1, 2, 1]


def test_one_prediction_has_no_list_of_others() -> None:
    task = Scripted({})
    assert decode(task, batch_of(0.0), limits(2))[0].keys() == {"prediction", "log_probability"}
    assert decode(task, batch_of(0.0), limits(2, n_best=2))[0].keys() == {"prediction", "log_probability", "n_best"}


def test_hypotheses_that_are_written_alike_count_once() -> None:
    task = Scripted({"": (0.2, 0.5, 0.3)})
    task.text = lambda symbols: ["x"] * len(symbols)  # type: ignore[assignment, return-value]
    found = decode(task, batch_of(0.0), limits(3, n_best=3))[0]
    assert [shown["prediction"] for shown in found["n_best"]] == [["x"], []]
    assert found["n_best"][0]["log_probability"] == pytest.approx(math.log(0.5 * 0.98))


def test_the_maximum_counts_the_stop_symbol_and_is_absolute() -> None:
    task = Scripted({"1" * length: (1e-6, 1.0, 1e-6) for length in range(20)})
    for maximum, expected in [(1, ""), (3, "11"), (4, "111"), (9, "111")]:  # the last by the source's length
        assert decode(task, batch_of(0.0), limits(2, maximum=maximum))[0]["prediction"] == expected


def test_the_minimum_goes_before_the_limit_by_the_source() -> None:
    found = decode(Scripted({}), batch_of(0.0), limits(2, minimum=7))[0]
    assert len(found["prediction"]) == 7


def test_without_a_stop_symbol_a_target_goes_on_to_its_maximum_length() -> None:
    task = Scripted({}, stop=None)  # 0 is likely, and a symbol as any other
    found = decode(task, batch_of(0.0), limits(2))[0]
    assert found["prediction"] == "0" * LIMIT
    assert found["log_probability"] == pytest.approx(LIMIT * math.log(0.98))


def test_a_dead_hypothesis_leaves_what_finished() -> None:
    # "1" and "2" are likelier than stopping, and lead nowhere.
    task = Scripted({"": (0.1, 0.5, 0.4), "1": (0, 0, 0), "2": (0, 0, 0)})
    found = decode(task, batch_of(0.0), limits(3, n_best=3))[0]
    assert [shown["prediction"] for shown in found["n_best"]] == [""]


@pytest.mark.parametrize("stop", [0, None])
def test_where_all_die_those_that_lived_last_stand(stop: int | None) -> None:
    table = {"": (0, 0.6, 0.4), "1": (0, 0.0, 0.1), "2": (0, 0.5, 0.5), "12": (0, 0, 0), "21": (0, 0, 0)}
    task = Scripted(table | {"22": (0, 0, 0)}, stop)
    both = decode(task, batch_of(0.0, 0.0), limits(3, 1.0, n_best=3))
    for found in both:
        assert {shown["prediction"] for shown in found["n_best"]} == {"21", "22", "12"}
        assert found["prediction"] in ("21", "22")
        assert found["log_probability"] == pytest.approx(math.log(0.4 * 0.5))
        assert found["n_best"][0]["score"] == pytest.approx(math.log(0.4 * 0.5) / (7 / 6))


def test_a_sentence_whose_every_hypothesis_dies_at_once_is_empty() -> None:
    found = decode(Scripted({"": (0, 0, 0)}), batch_of(0.0), limits(3, n_best=2))[0]
    assert found == {
        "prediction": "",
        "log_probability": 0.0,
        "n_best": [{"prediction": "", "log_probability": 0.0, "score": 0.0}],
    }


def test_a_hypothesis_that_may_not_stop_at_its_maximum_length_stands_as_it_is() -> None:
    task = Scripted({"1" * length: (0.0, 1.0, 0.0) for length in range(20)})
    assert decode(task, batch_of(0.0), limits(2))[0]["prediction"] == "1" * (LIMIT - 1)


def test_a_death_in_one_sentence_leaves_the_others_alone() -> None:
    class Mixed(TinyTask):
        def step(self, state: Tensor, symbols: Tensor) -> tuple[Tensor, Tensor]:
            dead = state[:, 0] == 0  # a sentence of 0, before any symbol; tanh keeps the others apart from it
            scores, state = super().step(state, symbols)
            return scores.masked_fill(dead[:, None], -torch.inf), state

    task = Mixed(1)
    found = search(task, batch_of(0.3, 0.0, -0.5), limits(30, n_best=3))
    assert_same(found[0], rank_all(task, 0.3, 0.0)[:3])
    assert found[1] == [Hypothesis([], 0.0, 0.0)]
    assert_same(found[2], rank_all(task, -0.5, 0.0)[:3])


def test_nan_is_an_error_that_says_so() -> None:
    with pytest.raises(InputError, match="after 1 symbols the model gives NaN"):
        decode(Scripted({"": (0.1, 0.9, 0.0), "1": (math.nan, 0.5, 0.5)}), batch_of(0.0), limits(2))


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"beam": 2, "n_best": 3}, "n_best is 3, and should be at most beam, 2"),
        ({"minimum": 4, "maximum": 4}, "maximum is 4, and should be above minimum, 4"),
        ({"minimum": -1}, "minimum"),
    ],
)
def test_limits_that_do_not_fit_are_refused(given: dict[str, int], message: str) -> None:
    with pytest.raises(pydantic.ValidationError, match=message):
        Settings(**given)  # type: ignore[arg-type]
