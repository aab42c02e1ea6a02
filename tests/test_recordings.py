"""Own recordings: which rows of a manifest are used, which are left out and why, and what becomes of them."""

import csv
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from stages.core.base import params
from stages.core.base.errors import InputError
from stages.core.base.params import read_settings
from stages.core.learning.dataset import SPLITS, Example, Prepared, read_arrays, read_split, read_summary
from stages.datasets.recordings import Settings, prepare
from stages.prepare import prepare as run_stage

WORDS = Settings(unit="word", stack=3, validation=0.2, test=0.2)
CHARACTERS = Settings(unit="character", stack=3, validation=0.2, test=0.2)


def sound(path: Path, seconds: float = 1.0, rate: int = 16000) -> None:
    """Write a tone whose pitch depends on the file's name."""
    path.parent.mkdir(parents=True, exist_ok=True)
    time = np.arange(round(seconds * rate)) / rate
    soundfile.write(path, 0.3 * np.sin(2 * np.pi * (200 + 10 * len(path.name)) * time), rate)


def many(folder: Path, count: int = 40) -> list[dict[str, Any]]:
    """Write ``count`` files of a second and give their rows."""
    rows = []
    for number in range(count):
        sound(folder / f"take{number:02}.wav")
        rows.append({"path": f"take{number:02}.wav", "text": "好 棒 棒"})
    return rows


def manifest(folder: Path, rows: Sequence[Any], columns: str = "path text start end split speaker") -> Path:
    """Write manifest.csv with these rows and give the raw folder above."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "manifest.csv").open("w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, columns.split())
        writer.writeheader()
        writer.writerows(rows)
    return folder.parent


def found(prepared: Prepared) -> dict[str, Example]:
    return {example["id"]: example for split in SPLITS for example in prepared.splits[split]}


def reasons(prepared: Prepared) -> list[tuple[str, str, int]]:
    return [(one.reason, one.file, one.line) for one in prepared.rejected]


def test_rows_become_examples_in_the_order_of_their_waveforms(tmp_path: Path) -> None:
    prepared = prepare(manifest(tmp_path / "mine", many(tmp_path / "mine")), WORDS)
    examples, waveforms = found(prepared), list(prepared.waveforms)
    assert len(examples) == len(waveforms) == 40 and reasons(prepared) == []
    assert examples["take00.wav"]["symbols"] == ["好", "棒", "棒"] and "boundaries" not in examples["take00.wav"]
    assert sorted(example["recordings"][0] for example in examples.values()) == list(range(40))
    assert all(prepared.splits[split] for split in SPLITS)


def test_characters_leave_out_white_space(tmp_path: Path) -> None:
    rows = [*many(tmp_path / "mine"), {"path": "long.wav", "text": " 好 棒棒\u3000", "split": "train"}]
    sound(tmp_path / "mine" / "long.wav")
    assert found(prepare(manifest(tmp_path / "mine", rows), CHARACTERS))["long.wav"]["symbols"] == ["好", "棒", "棒"]


def test_each_unusable_row_is_counted_with_its_line(tmp_path: Path) -> None:
    folder = tmp_path / "mine"
    rows = many(folder)
    sound(tmp_path / "outside.wav")
    soundfile.write(folder / "zero.wav", np.zeros(0), 16000)
    (folder / "empty.wav").write_bytes(b"")
    (folder / "text.wav").write_text("no sound at all\n" * 20)
    soundfile.write(folder / "nan.wav", np.full(16000, np.nan), 16000, subtype="FLOAT")
    part = {"path": "take00.wav", "text": "好"}
    bad = [
        ({"path": "gone.wav", "text": "好"}, "missing file"),
        ({"path": "zero.wav", "text": "好"}, "zero length"),
        ({"path": "empty.wav", "text": "好"}, "unreadable audio"),
        ({"path": "text.wav", "text": "好"}, "unreadable audio"),
        ({"path": "nan.wav", "text": "好"}, "unreadable audio"),
        ({"path": "../outside.wav", "text": "好"}, "path leaves the folder"),
        ({"path": str(tmp_path / "outside.wav"), "text": "好"}, "path leaves the folder"),
        ({"path": "", "text": "好"}, "no path"),
        ({"path": "take00.wav", "text": " "}, "empty text"),
        (part | {"start": "0.5", "end": "0.5"}, "start is not before the end"),
        (part | {"start": "0.6", "end": "0.5"}, "start is not before the end"),
        (part | {"start": "1.5"}, "start is not before the end"),
        (part | {"start": "-1"}, "start is not before the end"),
        (part | {"end": "0"}, "start is not before the end"),
        (part | {"start": "nan"}, "start is not before the end"),
        (part | {"end": "1.2"}, "end is past the end of the recording"),
        (part | {"end": "0.04"}, "shorter than 0.05 s"),
        (part | {"start": "0:01"}, "start is no number of seconds"),
        (part | {"split": "dev"}, "a split that is none of train, validation, test"),
        ({"path": "take00.wav", "text": "好"}, "the same recording stands above"),
        ({"path": "./take01.wav", "text": "棒"}, "the same recording stands above"),
    ]
    prepared = prepare(manifest(folder, rows + [row for row, _ in bad]), WORDS)
    assert len(found(prepared)) == 40
    lines = range(42, 42 + len(bad))  # after the header and the good rows
    assert reasons(prepared) == [(reason, "manifest.csv", line) for (_, reason), line in zip(bad, lines, strict=True)]


@pytest.mark.parametrize(
    ("text", "fits"),
    [
        ("好 " * 34, False),
        ("好 棒 " * 17, True),
        ("好 棒 " * 17 + "好", False),
        ("好 " * 17, True),
        ("好 " * 18, False),
    ],
)
def test_a_transcript_must_fit_into_the_steps_with_its_repeats(text: str, fits: bool, tmp_path: Path) -> None:
    """A second is 100 frames and 34 steps; equal neighbours need a step between them."""
    rows = [*many(tmp_path / "mine"), {"path": "this.wav", "text": text, "split": "train"}]
    sound(tmp_path / "mine" / "this.wav")
    prepared = prepare(manifest(tmp_path / "mine", rows), WORDS)
    assert ("this.wav" in found(prepared)) == fits
    assert reasons(prepared) == ([] if fits else [("transcript longer than the frames allow", "manifest.csv", 42)])


def test_parts_of_a_file_are_examples_of_one_split(tmp_path: Path) -> None:
    rows = many(tmp_path / "mine")
    sound(tmp_path / "mine" / "story.wav", 20)
    rows += [{"path": "story.wav", "text": "好", "start": str(n), "end": str(n + 1)} for n in range(20)]
    prepared = prepare(manifest(tmp_path / "mine", rows), WORDS)
    holders = [split for split in SPLITS for e in prepared.splits[split] if e["key"] == "story.wav"]
    assert len(holders) == 20 and len(set(holders)) == 1
    assert found(prepared)["story.wav 3.000-4.000 s"]["recordings"] == [43]
    assert all(abs(waveform.seconds - 1) < 1e-6 for waveform in prepared.waveforms)


def test_a_speaker_is_in_one_split_and_a_given_split_is_kept(tmp_path: Path) -> None:
    rows = [row | {"speaker": f"s{n % 13}"} for n, row in enumerate(many(tmp_path / "mine"))]
    prepared = prepare(manifest(tmp_path / "mine", rows), WORDS)
    speakers = [{example["speaker"] for example in prepared.splits[split]} for split in SPLITS]
    assert sum(map(len, speakers)) == len(set.union(*speakers)) == 13 and all(speakers)
    rows = [row | {"split": SPLITS[n % 3]} for n, row in enumerate(many(tmp_path / "mine"))]
    prepared = prepare(manifest(tmp_path / "mine", rows), WORDS)
    assert {example["id"] for example in prepared.splits["test"]} == {f"take{n:02}.wav" for n in range(2, 40, 3)}


def test_a_symbol_that_training_lacks_is_left_out_and_counted(tmp_path: Path) -> None:
    rows = many(tmp_path / "mine")
    rows[3] |= {"text": "月", "split": "test"}
    rows[4] |= {"text": "月 好", "split": "train"}
    rows[5] |= {"text": "鱼", "split": "validation"}
    prepared = prepare(manifest(tmp_path / "mine", rows), WORDS)
    assert reasons(prepared) == [("a symbol that no training row has", "manifest.csv", 7)]
    numbers = [example["recordings"][0] for example in found(prepared).values()]
    assert sorted(numbers) == list(range(39)) and len(list(prepared.waveforms)) == 39


def test_other_rates_are_resampled_and_counted(tmp_path: Path) -> None:
    rows = many(tmp_path / "mine")
    for number, rate in enumerate((8000, 44100, 44100)):
        sound(tmp_path / "mine" / f"take{number:02}.wav", rate=rate)
    facts = prepare(manifest(tmp_path / "mine", rows), WORDS).facts
    assert (facts["resampled from 8000 Hz"], facts["resampled from 44100 Hz"]) == (1, 2)
    assert "resampled from 16000 Hz" not in facts and facts["minutes of speech"] == 0.7


def test_json_lines_say_the_same_as_csv(tmp_path: Path) -> None:
    rows = many(tmp_path / "mine")
    by_csv = prepare(manifest(tmp_path / "mine", rows), WORDS)
    (tmp_path / "mine" / "manifest.csv").unlink()
    path = tmp_path / "mine" / "manifest.jsonl"
    part = {"path": "take00.wav", "text": "好", "start": 0, "end": 0.5, "speaker": "s"}
    bad = ["{", "[]", '{"path": 3, "text": "x"}', '{"path": "take01.wav", "text": "x", "ends": 3}', ""]
    path.write_text("\n".join([*map(json.dumps, rows), *bad, json.dumps(part | {"start": [1]}), json.dumps(part)]))
    prepared = prepare(tmp_path, WORDS)
    by_json = found(prepared)
    assert by_json.pop("take00.wav 0.000-0.500 s")["speaker"] == "s"
    assert by_json == found(by_csv)
    assert reasons(prepared) == [
        ("no JSON object", "manifest.jsonl", 41),
        ("no JSON object", "manifest.jsonl", 42),
        ("path is no text", "manifest.jsonl", 43),
        ("more than the columns path, text, start, end, split, speaker", "manifest.jsonl", 44),
        ("start is no number of seconds", "manifest.jsonl", 46),
    ]


def test_a_spreadsheets_byte_order_mark_is_no_part_of_the_header(tmp_path: Path) -> None:
    raw = manifest(tmp_path / "mine", many(tmp_path / "mine"))
    path = tmp_path / "mine" / "manifest.csv"
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    assert len(found(prepare(raw, WORDS))) == 40


def test_a_manifest_that_is_missing_or_of_another_form_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    with pytest.raises(InputError, match=r"one folder with manifest\.csv or manifest\.jsonl, but has neither"):
        prepare(tmp_path, WORDS)
    path = tmp_path / "mine" / "manifest.csv"
    for content, sentence in (
        ("path;text\na.wav;x\n", r"manifest\.csv:1 should name the columns path, text, but has path;text"),
        ('path,text\na.wav,"x\n', r"manifest\.csv:2 is no CSV"),
        ("path,text\n", r"no row of .*manifest\.csv can be used, as it has none"),
        ("path,text\ngone.wav,x\n", r"no row of .*manifest\.csv can be used; line 2: missing file"),
    ):
        path.write_text(content)
        with pytest.raises(InputError, match=sentence):
            prepare(tmp_path, WORDS)
    (tmp_path / "mine" / "manifest.jsonl").write_text("")
    with pytest.raises(InputError, match=r"but has .*manifest\.csv, .*manifest\.jsonl"):
        prepare(tmp_path, WORDS)


@pytest.mark.parametrize(
    "values", [{}, {"unit": "syllable"}, {"unit": "word", "stack": 0}, {"unit": "word", "test": 1}]
)
def test_settings_out_of_range_are_errors(values: dict[str, Any]) -> None:
    with pytest.raises(InputError, match=r"datasets\.recordings\.prepare"):
        read_settings(Settings, values, "datasets.recordings.prepare")
    with pytest.raises(InputError, match="leave nothing to train on"):
        read_settings(Settings, {"unit": "word", "validation": 0.5, "test": 0.5}, "datasets.recordings.prepare")


@pytest.mark.parametrize(("tones", "coefficients"), [(False, 40), (True, 42)])
def test_the_stage_turns_sound_into_frames(
    tones: bool, coefficients: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    raw = tmp_path / "data" / "raw" / "recordings"
    rows = [*many(raw / "mine"), {"path": "take00.wav", "text": "好", "start": "0.5"}]
    manifest(raw / "mine", rows)
    settings = {"unit": "word", "tones": tones, "validation": 0.2, "test": 0.2}
    run_stage("recordings", params.Dataset(sources={"mine": {}}, prepare=settings))
    folder = Path("data/prepared/recordings")
    arrays = read_arrays(folder)
    assert arrays["features"].shape == (4050, coefficients) and arrays["features"].dtype == np.float32
    assert np.diff(arrays["offsets"]).tolist() == [100] * 40 + [50] and arrays["frame_seconds"].tolist() == [0.01]
    examples = {example["id"]: example for split in SPLITS for example in read_split(folder, split)}
    assert examples["take00.wav 0.500-1.000 s"]["recordings"] == [40]
    assert read_summary(folder)["facts"]["symbols"] == 2
