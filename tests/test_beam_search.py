"""Beam search against listing every target, greedy search, and itself in other batches."""

import itertools
import math

import pytest
import torch
from torch import Tensor

from stages.core.batch import Padded, pad
from stages.decoding.beam_search import Settings, decode, search

SYMBOLS = 4  # 0 is the stop symbol, 3 starts
LIMIT = 4


class TinyTask:
    """A random model whose next symbol depends on the sentence and on all symbols before."""

    start_symbol, stop_symbol = 3, 0

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


def limits(beam: int, length_penalty: float = 0.0) -> Settings:
    return Settings(beam=beam, length_penalty=length_penalty, length_factor=0.0, length_offset=LIMIT)


def log_probability(task: TinyTask, value: float, target: tuple[int, ...]) -> float:
    state, last, total = task.start(batch_of(value)), task.start_symbol, 0.0
    for symbol in (*target, task.stop_symbol):
        scores, state = task.step(state, torch.tensor([last]))
        total, last = total + float(scores[0, symbol]), symbol
    return total


def best_of_all(task: TinyTask, value: float, penalty: float) -> tuple[float, tuple[int, ...]]:
    lengths = range(LIMIT)
    targets = [target for length in lengths for target in itertools.product([1, 2], repeat=length)]
    scored = [(log_probability(task, value, target), target) for target in targets]
    return max(scored, key=lambda pair: pair[0] / ((6 + len(pair[1])) / 6) ** penalty)


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("penalty", [0.0, 1.0, 3.0])
def test_a_wide_beam_finds_the_best_of_all_targets(seed: int, penalty: float) -> None:
    task, values = TinyTask(seed), (0.1, 0.5, -0.7)
    found = dict(search(task, batch_of(*values), limits(30, penalty)))
    for sentence, value in enumerate(values):
        score, target = best_of_all(task, value, penalty)
        assert found[sentence][1] == list(target)
        assert found[sentence][0] == pytest.approx(score, abs=1e-5)


@pytest.mark.parametrize("penalty", [0.0, 2.0])
def test_one_hypothesis_is_greedy_search(penalty: float) -> None:
    for seed in range(8):
        task = TinyTask(seed)
        state, last = task.start(batch_of(0.3)), task.start_symbol
        greedy: list[int] = []
        while len(greedy) < LIMIT - 1:
            scores, state = task.step(state, torch.tensor([last]))
            last = int(scores.argmax())
            if last == task.stop_symbol:
                break
            greedy.append(last)
        assert decode(task, batch_of(0.3), limits(1, penalty))[0]["prediction"] == task.text(greedy)


def test_a_sentence_alone_is_translated_as_in_a_batch() -> None:
    task, values = TinyTask(3, sharpness=1.0), [0.1 * step for step in range(-6, 7)]
    together = decode(task, batch_of(*values), limits(3, 1.0))
    assert len({len(found["prediction"]) for found in together}) > 1, "the sentences should end at different steps"
    for value, found in zip(values, together, strict=True):
        alone = decode(task, batch_of(value), limits(3, 1.0))[0]
        assert alone["prediction"] == found["prediction"]
        assert alone["log_probability"] == pytest.approx(found["log_probability"], abs=1e-6)


class Scripted:
    """Symbols 1 and 2, stop 0, start 3; ``table`` gives the probabilities (stop, 1, 2) after each prefix."""

    start_symbol, stop_symbol = 3, 0

    def __init__(self, table: dict[str, tuple[float, float, float]]) -> None:
        self.table = table
        self.steps = 0

    def start(self, batch: dict[str, Padded]) -> list[str]:
        return [""] * len(batch["source"].values)

    def step(self, state: list[str], symbols: Tensor) -> tuple[Tensor, list[str]]:
        self.steps += 1
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
    assert task.steps == 1


def test_a_target_ends_at_its_maximum_length() -> None:
    task = Scripted({"1" * length: (1e-6, 1.0, 1e-6) for length in range(20)})
    found = decode(task, batch_of(0.0), limits(2))[0]
    assert found["prediction"] == "1" * (LIMIT - 1)
