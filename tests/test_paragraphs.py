"""Paragraphs: sentences that follow each other in one text, each in one paragraph, cut, and a text in one split."""

import io
import tarfile
from pathlib import Path

import pytest

from stages.core.base.errors import InputError
from stages.core.learning import vocabulary
from stages.core.learning.dataset import SPLITS, Example, Prepared, read_split, write_prepared
from stages.datasets import paragraphs
from stages.datasets.paragraphs import FILES, Settings, prepare

SETTINGS = Settings(most_words=5, validation=0.2, test=0.2)


def lines(texts: int = 60, sentences: int = 9) -> list[str]:
    """Give the lines of so many texts."""
    return [
        f"{text}_{place}\t0.5\tsentence {place} of text {text}"
        for text in range(texts)
        for place in range(1, sentences + 1)
    ]


def write(raw: Path, kind: bytes = tarfile.REGTYPE, **rows: list[str]) -> Path:
    path = raw / paragraphs.ARCHIVE
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w:gz") as archive:
        for source, name in FILES.items():
            content = "\r\n".join(rows.get(source, lines())).encode()
            info = tarfile.TarInfo(f"folder/{name}")
            info.size, info.type = len(content), kind
            archive.addfile(info, io.BytesIO(content))
    return raw


def all_of(prepared: Prepared) -> list[Example]:
    return [example for split in SPLITS for example in prepared.splits[split]]


def test_sentences_of_a_paragraph_follow_each_other_and_none_is_in_two(tmp_path: Path) -> None:
    examples = all_of(prepare(write(tmp_path), SETTINGS))
    mine = [example for example in examples if example["key"] == "review 7"]
    assert [example["id"] for example in mine] == ["review_7_1", "review_7_3", "review_7_6"]
    assert [len(example["sentences"]) for example in mine] == [2, 3, 4]
    words = [int(sentence.split()[1]) for example in mine for sentence in example["sentences"]]
    assert words == list(range(1, 10))


def test_a_paragraph_ends_where_a_sentence_is_missing(tmp_path: Path) -> None:
    gap = [line for line in lines() if not line.startswith(("7_2\t", "7_6\t"))]
    examples = all_of(prepare(write(tmp_path, review=gap), SETTINGS))
    mine = [example["sentences"] for example in examples if example["key"] == "review 7"]
    assert [[int(sentence.split()[1]) for sentence in sentences] for sentences in mine] == [[3, 4], [7, 8, 9]]


def test_sentences_are_cut_and_the_cuts_are_counted(tmp_path: Path) -> None:
    rows = [*lines(), "99_1\t1\tOne, two, three, four", "99_2\t1\tFive &amp; six"]
    prepared = prepare(write(tmp_path, review=rows), SETTINGS)
    mine = next(example for example in all_of(prepared) if example["key"] == "review 99")
    assert mine["sentences"] == ["One, two, three", "Five & six"]
    assert prepared.facts["cut"] == 1


def test_words_are_those_that_tasks_read() -> None:
    assert paragraphs.WORD.pattern == vocabulary.WORD.pattern


def test_bad_lines_are_counted_and_named(tmp_path: Path) -> None:
    bad = ["7\t1\tno number of its own", "8_1\t1", "8_2\t1\t... !"]
    prepared = prepare(write(tmp_path, editorial=[*bad, *lines()]), SETTINGS)
    name = FILES["editorial"]
    assert [(item.reason, item.file, item.line) for item in prepared.rejected] == [
        ("not the three columns id, rating and text", name, 1),
        ("not the three columns id, rating and text", name, 2),
        ("no words", name, 3),
    ]


def test_no_text_is_in_two_splits(tmp_path: Path) -> None:
    write_prepared(prepare(write(tmp_path / "raw"), SETTINGS), tmp_path)
    keys = {split: {example["key"] for example in read_split(tmp_path, split)} for split in SPLITS}
    assert all(keys.values())
    assert not keys["train"] & keys["test"] and not keys["train"] & keys["validation"]
    assert not keys["validation"] & keys["test"]


def test_an_unreadable_archive_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="does not exist; it should be the archive"):
        prepare(tmp_path, SETTINGS)
    with pytest.raises(InputError, match="should be a plain file"):
        prepare(write(tmp_path / "link", tarfile.SYMTYPE), SETTINGS)
    path = tmp_path / paragraphs.ARCHIVE
    path.parent.mkdir(parents=True)
    path.write_bytes(b"nothing")
    with pytest.raises(InputError, match=r"is no readable tar\.gz archive"):
        prepare(tmp_path, SETTINGS)
    with tarfile.open(path, "w:gz"):
        pass
    with pytest.raises(InputError, match="holds no file amazon"):
        prepare(tmp_path, SETTINGS)


def test_a_range_of_sentences_must_be_one() -> None:
    with pytest.raises(ValueError, match="fewest_sentences should be at most"):
        Settings(fewest_sentences=4, most_sentences=3)
