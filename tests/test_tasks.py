"""Slot filling learns a batch by heart and refuses bad input with a sentence; trainings go on after a kill."""

import io
import math
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from stages.core import trainer
from stages.core.base import params
from stages.core.base.errors import InputError
from stages.core.base.params import read_settings
from stages.core.learning.task import Task, Training
from stages.core.trainer import build_optimizer
from stages.decoding import argmax
from stages.evaluate import join_curves
from stages.metrics import span_f1
from stages.models import lstm
from stages.tasks import sequence_labelling

ROOT = Path(__file__).resolve().parent.parent
Weights = dict[str, torch.Tensor]
SLOTS = [
    {"id": "a", "key": "a", "tokens": ["12", "Old", "Mill"], "tags": ["B-Number", "B-Street", "I-Street"]},
    {"id": "b", "key": "b", "tokens": ["Old", "Town"], "tags": ["B-Place", "I-Place"]},
    {"id": "c", "key": "c", "tokens": ["7"], "tags": ["B-Number"]},
]


def slots_task() -> Task:
    torch.manual_seed(1)
    settings = sequence_labelling.Settings(embedding=8, character_filters=6, dropout=0.0, word_dropout=0.0)
    vocabularies = sequence_labelling.fit_vocabularies(SLOTS, settings)
    model = lstm.Settings(hidden=8, bidirectional=True)
    return sequence_labelling.build(settings, vocabularies, lambda size: lstm.build(model, size))


def learn(task: Task, examples: list[dict], updates: int) -> tuple[float, float]:
    """The loss of ``examples`` before and after ``updates``."""
    optimizer = build_optimizer(task, Training(seeds=[1], learning_rate=0.03, batch_size=4, epochs=1, clip_norm=1.0))
    batch = task.collate(examples)
    first = last = math.nan
    for update in range(updates):
        optimizer.zero_grad()
        loss, _ = task.loss(batch)
        loss.backward()
        optimizer.step()
        first, last = (loss.item() if update == 0 else first), loss.item()
    task.eval()
    return first, last


def test_slot_filling_learns_a_batch_by_heart() -> None:
    task = slots_task()
    before, after = learn(task, SLOTS, 60)
    assert before > 1.0 and after < 0.05
    decoded = argmax.decode(task, task.collate(SLOTS), argmax.Settings())
    assert [item["prediction"] for item in decoded] == [example["tags"] for example in SLOTS]


def test_a_sequence_alone_equals_itself_in_a_batch() -> None:
    task = slots_task().eval()
    together = task.log_probabilities(task.collate(SLOTS))
    for row, example in enumerate(SLOTS):
        alone = task.log_probabilities(task.collate([example]))
        torch.testing.assert_close(together[row, : len(example["tokens"])], alone[0])


def test_the_character_network_ignores_padding() -> None:
    task = slots_task().eval()
    characters = torch.tensor([[2, 3, 0, 0]])
    torch.testing.assert_close(task.characters(characters), task.characters(characters[:, :2]))


@pytest.mark.parametrize("text", ["", " \n\n"])
def test_empty_text_is_an_error(text: str) -> None:
    with pytest.raises(InputError, match="is empty"):
        slots_task().read_input(io.StringIO(text))


def test_span_f1_counts_whole_spans() -> None:
    records = [{"tags": ["B-A", "I-A", "B-B"], "prediction": ["B-A", "I-A", "B-A"]}]
    scores = span_f1.score(records, span_f1.Settings())
    assert scores["span_f1"] == pytest.approx(50.0) and scores["accuracy"] == pytest.approx(200 / 3)


@pytest.mark.parametrize(("average", "killed_in"), [(1, 2), (3, 2), (3, 3)])
def test_a_killed_training_goes_on_to_the_same_bits(
    tmp_path: Path, kill: Callable[..., None], average: int, killed_in: int
) -> None:
    plan = Training(
        seeds=[1], learning_rate=0.01, schedule="linear", batch_size=2, epochs=4, average=average, clip_norm=1.0
    )

    def fit(folder: Path, killed_in: int | None = None) -> dict[str, torch.Tensor]:
        trainer.seed_everything(7)
        task = slots_task()
        run = partial(trainer.fit, task, SLOTS, SLOTS, plan, 7, folder, "test")
        run() if killed_in is None else kill(task, killed_in, run)
        return task.state_dict()

    whole = fit(tmp_path / "whole")
    fit(tmp_path / "killed", killed_in)
    resumed = fit(tmp_path / "killed")
    for name, value in whole.items():
        assert torch.equal(value, resumed[name]), name
    curves = [(tmp_path / folder / "learning_curve.csv").read_bytes() for folder in ("whole", "killed")]
    assert curves[0] == curves[1]


def fit_noting(folder: Path, epochs: int, noted: list[Weights], **values: Any) -> Weights:
    """Train; gives the weights at the end, and appends to ``noted`` those at the end of each epoch."""
    task = slots_task()
    task.end_epoch = lambda: noted.append({name: value.clone() for name, value in task.named_parameters()})  # type: ignore[method-assign]
    plan = Training(seeds=[1], learning_rate=0.1, batch_size=2, epochs=epochs, clip_norm=1.0, **values)
    trainer.fit(task, SLOTS, SLOTS, plan, 7, folder, "test")
    assert not task.training
    return dict(task.named_parameters())


def test_weights_of_the_last_epochs_are_averaged(tmp_path: Path) -> None:
    noted: list[Weights] = []
    averaged = fit_noting(tmp_path, 5, noted, average=3)
    assert len(noted) == 5
    for name, value in averaged.items():
        torch.testing.assert_close(value, (noted[2][name] + noted[3][name] + noted[4][name]) / 3)
        assert not torch.equal(value, noted[4][name])


@pytest.mark.parametrize("average", [1, 2])
def test_a_training_killed_after_its_last_epoch_has_no_more_to_learn(tmp_path: Path, average: int) -> None:
    noted: list[Weights] = []
    first, again = (fit_noting(tmp_path, 3, noted, average=average) for _ in range(2))
    assert len(noted) == 3
    assert all(torch.equal(value, again[name]) for name, value in first.items())


def test_where_patience_ends_a_training_its_last_epochs_are_averaged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        sequence_labelling.SequenceLabelling, "validation_scores", lambda _: {"validation_span_f1": 0.0}
    )
    noted: list[Weights] = []
    averaged = fit_noting(tmp_path, 9, noted, average=2, patience=2)
    assert len(noted) == 3
    for name, value in averaged.items():
        torch.testing.assert_close(value, (noted[1][name] + noted[2][name]) / 2)


def test_no_more_epochs_are_averaged_than_are_run() -> None:
    values = {"seeds": [1], "learning_rate": 0.1, "batch_size": 2, "epochs": 3, "clip_norm": 1.0}
    assert read_settings(Training, values | {"average": 3}, "x").average == 3
    with pytest.raises(InputError, match=r"x\.average is 4, .*last 4 epochs cannot be averaged where epochs is 3"):
        read_settings(Training, values | {"average": 4}, "x")


def test_what_uses_a_trained_model_loads_no_library_of_training() -> None:
    heavy = {"pytorch_lightning", "torchmetrics", "dvclive", "torch._dynamo", "scipy", "sklearn", "pandas"}
    users = [
        "stages.evaluate",
        "stages.predict",
        "stages.check",
        *(f"stages.tasks.{name}" for name in params.names("task")),
    ]
    command = f"import sys, {', '.join(users)}; print(*sorted({heavy} & set(sys.modules)))"
    ran = subprocess.run([sys.executable, "-c", command], cwd=ROOT, capture_output=True, text=True, check=True)
    assert ran.stdout.split() == []


def test_learning_curves_are_joined_with_their_seed_in_a_column() -> None:
    joined = join_curves(
        {"seed_1": "epoch,training_loss,x\n1,0.5,\n2,0.25,3\n", "seed_7": "epoch,training_loss,x\n1,0.1,2\n"}
    )
    assert joined.splitlines() == ["epoch,seed,training_loss,x", "1,seed_1,0.5,", "2,seed_1,0.25,3", "1,seed_7,0.1,2"]


def test_a_task_that_hears_nothing_decodes_no_stream() -> None:
    with pytest.raises(InputError, match="--stream is for models of speech"):
        slots_task().stream(0.5)


def test_the_example_that_tells_most_is_the_first_of_some_length() -> None:
    longer = [SLOTS[2], *({"tokens": ["x"] * count} for count in (8, 20))]
    assert slots_task().most_telling(longer) is longer[1]
    assert slots_task().most_telling([SLOTS[2], SLOTS[0], SLOTS[1]]) is SLOTS[0]


def test_a_loss_that_is_not_finite_stops_with_step_and_norm(tmp_path: Path) -> None:
    task = slots_task()
    with torch.no_grad():
        task.head.weight.fill_(math.nan)
    plan = Training(seeds=[1], learning_rate=0.01, batch_size=2, epochs=1, clip_norm=1.0)
    with pytest.raises(InputError, match=r"epoch 1, update 1: the loss is nan and the gradient's norm nan"):
        trainer.fit(task, SLOTS, SLOTS, plan, 1, tmp_path, "test")


def test_a_trace_tells_every_gate_at_every_token() -> None:
    task = slots_task().eval()
    with torch.inference_mode():
        trace = task.trace(SLOTS[0])
        outputs, _ = task.model(task.vectors(task.collate(SLOTS[:1])), torch.tensor([3]))
    assert trace["steps"] == SLOTS[0]["tokens"]
    assert [set(layer) for layer in trace["layers"]] == 2 * [{"hidden", "input", "forget", "output", "cell"}]
    both = np.concatenate([layer["hidden"] for layer in trace["layers"]], axis=1)
    np.testing.assert_allclose(both, outputs[0], atol=1e-4)


def test_a_group_of_batches_is_as_many_updates(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plan = Training(seeds=[1], learning_rate=0.01, schedule="linear", batch_size=1, epochs=3, clip_norm=1.0)
    weights = []
    for size in (1, 16):
        monkeypatch.setattr(trainer, "GROUP", size)
        task = slots_task()
        trainer.fit(task, SLOTS, SLOTS, plan, 7, tmp_path / str(size), "test")
        weights.append(torch.cat([value.flatten() for value in task.state_dict().values()]))
    assert torch.equal(*weights)
    assert not torch.equal(weights[0], torch.cat([value.flatten() for value in slots_task().state_dict().values()]))
