"""The copy task from data to metric: its generator, task, decoder and metric."""

import io
import math
from typing import Any

import pytest
import torch

from stages.core.base.errors import InputError
from stages.core.base.params import read_settings
from stages.core.learning.batch import Padded
from stages.core.learning.dataset import SPLITS, Example, Prepared
from stages.datasets import copy
from stages.decoding import threshold
from stages.metrics import bits
from stages.models import neural_turing_machine
from stages.tasks import binary_sequence_prediction
from stages.tasks.binary_sequence_prediction import BinarySequencePrediction

DATA: dict[str, Any] = {
    "seed": 1,
    "train": 300,
    "validation": 5,
    "validation_lengths": [20, 40],
    "test": 4,
    "test_lengths": [20, 120],
}


def generated(**changes: Any) -> Prepared:
    return copy.generate(read_settings(copy.Settings, {**DATA, **changes}, "generated.copy"))


def make_task(**changes: Any) -> BinarySequencePrediction:
    torch.manual_seed(0)
    model = neural_turing_machine.Settings(hidden=30, locations=16, width=8)
    settings = read_settings(binary_sequence_prediction.Settings, {"width": 3, "input_width": 5, **changes}, "task")
    return binary_sequence_prediction.build(
        settings, {}, lambda input_size: neural_turing_machine.build(model, input_size)
    )


def sequence(*vectors: str) -> Example:
    """Make an example of vectors of 3 bits."""
    return {
        "id": "_".join(vectors),
        "length": len(vectors),
        "input": ["00010", *(vector + "00" for vector in vectors), "00001"],
        "target": list(vectors),
    }


SHORT, LONG = sequence("101"), sequence("110", "001", "011", "100")


def test_generated_counts_and_lengths_are_those_asked_for() -> None:
    splits = generated().splits
    assert [len(splits[split]) for split in SPLITS] == [300, 10, 8]
    assert {example["length"] for example in splits["train"]} == set(range(1, 21))
    assert [example["length"] for example in splits["test"]] == [20] * 4 + [120] * 4


def test_generated_example_is_the_papers_task() -> None:
    for examples in generated().splits.values():
        for example in examples:
            assert len(example["target"]) == example["length"]
            vectors = [vector + "00" for vector in example["target"]]
            assert example["input"] == ["0000000010", *vectors, "0000000001"]


def test_generated_lengths_and_bits_are_evenly_drawn() -> None:
    examples = generated(train=4000).splits["train"]
    counts = [sum(example["length"] == length for example in examples) for length in range(1, 21)]
    assert min(counts) > 140 and max(counts) < 260  # 200 +- 4 standard deviations
    drawn = "".join(vector for example in examples for vector in example["target"])
    assert abs(drawn.count("1") / len(drawn) - 0.5) < 0.005


def test_same_seed_same_sequences_another_seed_others() -> None:
    assert generated().splits == generated().splits
    assert generated().splits != generated(seed=2).splits


def test_no_sequence_is_in_two_splits_and_ids_are_unique() -> None:
    crowded = generated(width=2, train=20000, longest=8, validation_lengths=[7, 8], validation=16, test_lengths=[7])
    for prepared in (generated(), crowded):
        keys = {split: {" ".join(e["target"]) for e in prepared.splits[split]} for split in SPLITS}
        assert not keys["train"] & keys["validation"]
        assert not (keys["train"] | keys["validation"]) & keys["test"]
        examples = [example for split in SPLITS for example in prepared.splits[split]]
        assert len({example["id"] for example in examples}) == len(examples)
        assert len({example["key"] for example in examples}) == len({" ".join(e["target"]) for e in examples})


def test_counts_of_one_split_move_no_sequence_of_another() -> None:
    assert generated(validation=9).splits["test"] == generated().splits["test"]


@pytest.mark.parametrize(
    ("changes", "part"),
    [
        ({"validation_lengths": [1]}, "validation_lengths has 1, but there are only 256"),
        ({"shortest": 9, "longest": 8}, "shortest is 9, above longest"),
        ({"test_lengths": []}, "generated.copy.test_lengths"),
        ({"tests": 3}, "generated.copy.tests is an unknown key"),
    ],
)
def test_impossible_settings_are_refused(changes: dict[str, Any], part: str) -> None:
    with pytest.raises(InputError, match=part):
        generated(**changes)


def test_collate_appends_as_many_blank_steps_as_the_target_has() -> None:
    batch = make_task().collate([SHORT, LONG])
    inputs, targets = batch["inputs"], batch["targets"]
    assert isinstance(inputs, Padded) and isinstance(targets, Padded)
    assert inputs.values.shape == (2, 10, 5) and inputs.lengths.tolist() == [3, 6]
    assert inputs.values[0].tolist() == [[0, 0, 0, 1, 0], [1, 0, 1, 0, 0], [0, 0, 0, 0, 1]] + [[0] * 5] * 7
    assert not inputs.values[1, 6:].any()
    assert targets.values[0, 0].tolist() == [1, 0, 1] and targets.lengths.tolist() == [1, 4]


def test_collate_names_the_example_of_another_width() -> None:
    with pytest.raises(InputError, match=r"example 1010: target has vectors of \[4\] bits; all should be of 3"):
        make_task().collate([{**sequence("101"), "id": "1010", "target": ["1010"]}])


def test_padding_changes_no_answer() -> None:
    task = make_task()
    together = task.logits(task.collate([SHORT, LONG]))
    alone = task.logits(task.collate([SHORT]))
    assert torch.allclose(together[0, :1], alone[0], atol=1e-6)
    assert torch.allclose(together[1], task.logits(task.collate([LONG]))[0], atol=1e-6)


def test_loss_is_the_mean_over_sequences_of_the_sum_over_bits() -> None:
    task = make_task()
    loss, items = task.loss(task.collate([SHORT, LONG]))
    alone = [float(task.loss(task.collate([example]))[0].detach()) for example in (SHORT, LONG)]
    assert items == 2 and float(loss.detach()) == pytest.approx(sum(alone) / 2, rel=1e-5)
    assert 0.5 < alone[0] / (3 * math.log(2)) < 2 and 0.5 < alone[1] / (12 * math.log(2)) < 2


def test_validation_score_is_in_bits_and_starts_anew() -> None:
    task = make_task()
    with torch.no_grad():
        batch = task.collate([SHORT, LONG])
        task.validation_update(batch)
        scores = task.validation_scores()
        assert scores == {task.monitor: pytest.approx(float(task.loss(batch)[0]) / math.log(2), rel=1e-5)}
    assert task.validation_scores() == {}


def test_log_probabilities_are_of_the_loss_and_sum_to_one() -> None:
    task = make_task()
    with torch.no_grad():
        batch = task.collate([LONG])
        log_probabilities = task.log_probabilities(batch)
        assert torch.allclose(log_probabilities.exp().sum(-1), torch.ones(1, 4, 3))
        targets = batch["targets"]
        assert isinstance(targets, Padded)
        chosen = log_probabilities.gather(-1, targets.values.long()[..., None]).sum()
        assert float(chosen) == pytest.approx(-float(task.loss(batch)[0]), rel=1e-5)


def test_epoch_draws_that_many_different_sequences() -> None:
    examples = [{"id": i} for i in range(50)]
    drawn = make_task(epoch=20).draw(examples, torch.Generator().manual_seed(0))
    assert len({example["id"] for example in drawn}) == 20
    assert drawn != make_task(epoch=20).draw(examples, torch.Generator().manual_seed(1))
    assert make_task().draw(examples, torch.Generator()) == examples


def test_training_overfits_one_batch() -> None:
    task = make_task()
    batch = task.collate([sequence("101", "001", "110"), sequence("011", "100", "111"), sequence("000", "010", "101")])
    optimizer = torch.optim.Adam(task.parameters(), lr=0.01)
    losses = []
    for _ in range(150):
        optimizer.zero_grad()
        loss, _ = task.loss(batch)
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert losses[0] > 4 and losses[-1] < 0.5
    results = threshold.decode(task, batch, threshold.Settings())
    assert [result["wrong_bits"] for result in results] == [0, 0, 0]


def test_typed_lines_become_sequences_to_copy() -> None:
    examples = make_task().read_input(io.StringIO("101 001\n\n111\n"))
    assert [example["target"] for example in examples] == [["101", "001"], ["111"]]
    assert examples[0]["input"] == sequence("101", "001")["input"]
    assert [example["id"] for example in examples] == ["line_1", "line_3"]


@pytest.mark.parametrize(
    ("text", "part"),
    [("", "empty"), ("101\n10\n", "line 2 has '10'"), ("1o1", "line 1 has '1o1'; a vector should be 3")],
)
def test_bad_lines_are_refused(text: str, part: str) -> None:
    with pytest.raises(InputError, match=part):
        make_task().read_input(io.StringIO(text))


def test_shown_output_marks_wrong_bits() -> None:
    record = {"target": ["101", "001"], "prediction": ["101", "011"], "wrong_bits": 1}
    assert make_task().present(record).splitlines() == [
        "wanted  101 001",
        "output  101 011",
        "             ^",
        "1 of 6 bits wrong",
    ]


class Fixed:
    """A task that gives 1 the chances it was made with."""

    def __init__(self, chances: torch.Tensor) -> None:
        self.chances = chances

    def log_probabilities(self, batch: Any) -> torch.Tensor:
        return torch.stack([1 - self.chances, self.chances], -1).log()


def test_threshold_decodes_bits_and_counts_errors() -> None:
    task = Fixed(torch.tensor([[[0.75, 0.25], [0.5, 0.99]], [[0.25, 0.9], [0.9, 0.9]]]))
    targets = Padded(torch.tensor([[[1.0, 0.0], [1.0, 1.0]], [[1.0, 1.0], [0.0, 0.0]]]), torch.tensor([2, 1]))
    first, second = threshold.decode(task, {"targets": targets}, threshold.Settings())
    assert (first["prediction"], first["wrong_bits"]) == (["10", "01"], 1)
    assert first["bits"] == pytest.approx(-math.log2(0.75 * 0.75 * 0.5 * 0.99))
    assert (second["prediction"], second["wrong_bits"]) == (["01"], 1)
    assert second["bits"] == pytest.approx(-math.log2(0.25 * 0.9))
    (lower, _) = threshold.decode(task, {"targets": targets}, threshold.Settings(threshold=0.2))
    assert lower["prediction"] == ["11", "11"]


def test_metric_by_length() -> None:
    def record(length: int, wrong: int, cost: float) -> dict[str, Any]:
        return {"length": length, "target": ["00000000"] * length, "wrong_bits": wrong, "bits": cost}

    records = [record(20, 0, 0.5), record(20, 16, 1.5), record(120, 96, 300.0)]
    assert bits.score(records, bits.Settings(length=20)) == {
        "bits_per_sequence": 1.0,
        "bit_error_rate_20": 5.0,
        "exact_match_20": 50.0,
        "bit_error_rate_120": 10.0,
        "exact_match_120": 0.0,
    }
    with pytest.raises(InputError, match=r"length 40, .* there are \[20, 120\]"):
        bits.score(records, bits.Settings(length=40))
