"""The classic methods that networks are compared with: fitted, kept as files, and asked as any other model."""

import json
import math
from pathlib import Path
from typing import Any

import pytest

from stages.core import trainer
from stages.core.base.errors import InputError
from stages.core.learning import artifact
from stages.core.learning.task import Task
from stages.decoding import argmax, viterbi
from stages.models import crfsuite, logistic_regression
from stages.tasks import sequence_classification, sequence_labelling

STREETS = ["Mill", "Church", "Park", "Hill"]
SLOTS = [
    {"id": str(n), "tokens": [str(n), "Old", street], "tags": ["B-Number", "B-Street", "I-Street"]}
    for n, street in enumerate(STREETS * 3, start=1)
]
STRANGE = {"id": "x", "tokens": ["7"], "tags": ["B-Unheard"]}


def configured(**task: Any) -> dict[str, Any]:
    return {"task": {"name": "sequence_labelling", **task}, "model": {"name": "crfsuite"}}


def built(examples: list[dict[str, Any]]) -> Task:
    vocabularies = sequence_labelling.fit_vocabularies(examples, sequence_labelling.Settings())
    return artifact.build_task(configured(), vocabularies, "x")


@pytest.fixture
def fitted() -> Task:
    task = built(SLOTS)
    task.fit_peer(SLOTS)
    return task


def test_features_name_neighbours_shapes_and_ends() -> None:
    seen = crfsuite.features(["12", "McGee"], crfsuite.Settings(window=1, affix_window=0))
    assert set(seen[0]) == {
        "bias",
        "word[-1] beyond",
        *("word[0]=00", "shape[0]=0", "prefix3[0]=00", "suffix3[0]=00", "suffix2[0]=00"),
        *("word[1]=mcgee", "shape[1]=XxXx"),
    }


def test_it_learns_its_examples(fitted: Task) -> None:
    records = viterbi.decode(fitted, fitted.collate(SLOTS), viterbi.Settings())
    assert [record["prediction"] for record in records] == [example["tags"] for example in SLOTS]
    assert all(0.5 < record["confidence"] <= 1 for record in records)


def test_its_loss_is_that_of_the_probabilities_of_whole_sequences(fitted: Task) -> None:
    loss, items = fitted.loss(fitted.collate([*SLOTS[:2], STRANGE]))
    records = viterbi.decode(fitted, fitted.collate(SLOTS[:2]), viterbi.Settings())
    assert items == 6
    assert loss.item() == pytest.approx(-sum(math.log(record["confidence"]) for record in records) / 6, abs=1e-5)


def test_its_files_give_it_back(fitted: Task, tmp_path: Path) -> None:
    artifact.save(tmp_path, fitted, configured() | {"experiment": "x", "seed": 1})
    again = artifact.load(tmp_path)
    unseen = [{"id": "y", "tokens": ["99", "New", "Mill"]}]
    first, second = (viterbi.decode(task, task.collate(unseen), viterbi.Settings()) for task in (fitted, again))
    assert first == second
    assert artifact.count_parameters(again) == artifact.count_parameters(fitted) > 10
    assert {path.name for path in tmp_path.iterdir()} == {"model.safetensors", "config.json", "vocabulary.json"}


def test_every_fit_is_the_same(fitted: Task) -> None:
    other = built(SLOTS)
    other.fit_peer(SLOTS)
    assert other.get_submodule("model").dump() == fitted.get_submodule("model").dump()


def test_its_learning_curve_is_one_row(tmp_path: Path) -> None:
    timing = trainer.fit_peer(built(SLOTS), SLOTS, SLOTS[:3], tmp_path, "x")
    head, row, *more = (tmp_path / "learning_curve.csv").read_text().splitlines()
    assert head == "epoch,training_loss,validation_loss,validation_span_f1"
    assert row.startswith("1,") and row.endswith(",100.0") and not more
    assert set(timing) == {"seconds"}


def test_more_than_the_best_sequence_is_an_error(fitted: Task) -> None:
    with pytest.raises(InputError, match=r"set decoder\.n_best to 1"):
        viterbi.decode(fitted, fitted.collate(SLOTS), viterbi.Settings(n_best=2))


@pytest.mark.parametrize(
    ("model", "embedding", "sentence"),
    [
        ({"name": "crfsuite"}, 8, r"ConditionalRandomField reads no vectors: leave task\.embedding out"),
        ({"name": "lstm", "hidden": 4}, None, r"LSTM reads vectors: set task\.embedding"),
    ],
)
def test_vectors_are_for_networks_alone(model: dict[str, Any], embedding: int | None, sentence: str) -> None:
    config = {"task": {"name": "sequence_labelling", "embedding": embedding}, "model": model}
    vocabularies = sequence_labelling.fit_vocabularies(SLOTS, sequence_labelling.Settings(embedding=embedding))
    with pytest.raises(InputError, match=sentence):
        artifact.build_task(json.loads(json.dumps(config)), vocabularies, "x")


TEXTS = [text.split() for text in ("good film", "very good", "a good cast", "bad film", "very bad", "not good")]
LABELS = ["up", "up", "up", "down", "down", "down"]


def regression(**settings: Any) -> logistic_regression.LogisticRegression:
    peer = logistic_regression.build(logistic_regression.Settings(longest=2, **settings), 1)
    peer.fit(TEXTS, LABELS)
    return peer


def test_pairs_of_words_tell_what_words_cannot() -> None:
    by_pairs = regression(inverse_penalty=100.0).log_probabilities([["not", "good"], ["good"]])
    assert [max(row, key=row.get) for row in by_pairs] == ["down", "up"]
    assert all(math.exp(row["up"]) + math.exp(row["down"]) == pytest.approx(1) for row in by_pairs)


@pytest.mark.parametrize("weighting", ["count", "binary", "tfidf"])
def test_the_regressions_files_give_it_back(weighting: str) -> None:
    peer = regression(weighting=weighting)
    again = logistic_regression.build(peer.settings, 1)
    again.restore(peer.dump())
    unseen = [["good", "bad", "good"], ["never", "seen"]]
    assert again.log_probabilities(unseen) == peer.log_probabilities(unseen)
    assert again.count() == peer.count() == 7 + 7 + 1  # words, pairs, bias


def test_weightings_differ() -> None:
    twice = [["good", "good", "bad"]]
    shares = [regression(weighting=w).log_probabilities(twice)[0]["up"] for w in ("count", "binary", "tfidf")]
    assert len(set(shares)) == 3


REVIEWS = [
    {"id": str(n), "text": " ".join(text), "label": label}
    for n, (text, label) in enumerate(zip(TEXTS, LABELS, strict=True))
]
CLASSIFIES = {
    "task": {"name": "sequence_classification", "inputs": ["text"], "target": "label", "unit": "word"},
    "model": {"name": "logistic_regression", "longest": 2, "inverse_penalty": 100.0},
}


def test_a_peer_classifies_and_its_files_give_it_back(tmp_path: Path) -> None:
    settings = sequence_classification.Settings(inputs=["text"], target="label", unit="word")
    task = artifact.build_task(CLASSIFIES, sequence_classification.fit_vocabularies(REVIEWS, settings), "x")
    timing = trainer.fit_peer(task, REVIEWS, REVIEWS[:4], tmp_path, "x")
    row = (tmp_path / "learning_curve.csv").read_text().splitlines()[1].split(",")
    assert float(row[1]) < 0.3 and float(row[-1]) == 100.0 and set(timing) == {"seconds"}
    artifact.save(tmp_path / "model", task, CLASSIFIES)
    again = artifact.load(tmp_path / "model")
    decoded = [argmax.decode(item, item.collate(REVIEWS), argmax.Settings()) for item in (task, again)]
    assert decoded[0] == decoded[1]
    assert [record["prediction"] for record in decoded[0]] == LABELS
