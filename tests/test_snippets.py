"""Snippets: what is read from the archive within the archive, labels, near-duplicates, and the unlabelled texts."""

import io
import tarfile
from pathlib import Path

import pytest

from stages.core.base.errors import InputError
from stages.core.learning.dataset import SPLITS, Example, Prepared, read_split, write_prepared
from stages.datasets import snippets
from stages.datasets.snippets import FILES, Settings, prepare, words_of

FILMS = ("comedy", "drama", "thriller", "western", "musical", "cartoon", "romance", "satire", "mystery", "remake")
WORDS = ("dull", "witty", "clumsy", "moving", "stale", "brilliant", "shallow", "charming", "noisy", "tender")
SETTINGS = Settings(validation=0.2, test=0.2)


def many() -> list[tuple[str, str]]:
    """Give (rating, text) of a hundred sentences, no two of which are near."""
    pairs = [(film, word) for film in FILMS for word in WORDS]
    names = [f"{first}{second}" for first in "abcdefghij" for second in "klmnopqrst"]
    ratings = ("-1", "1") * 50
    texts = [f"{word} {film} {name}a {name}b {name}c" for (film, word), name in zip(pairs, names, strict=True)]
    return list(zip(ratings, texts, strict=True))


def write(raw: Path, **lines: list[tuple[str, str]]) -> Path:
    """Write the archive with the given (rating, text) by source, one a line from line 1."""
    rows = {"movies": many(), **{name: lines.get(name, []) for name in FILES if name != "movies"}, **lines}
    texts = {
        FILES[name]: "\r\n".join(f"{number}\t{rating}\t{text}" for number, (rating, text) in enumerate(found, start=1))
        for name, found in rows.items()
    }
    return write_texts(raw, texts)


def write_texts(raw: Path, texts: dict[str, str], kind: bytes = tarfile.REGTYPE) -> Path:
    path = raw / snippets.ARCHIVE
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w:gz") as archive:
        for name, text in texts.items():
            info = tarfile.TarInfo(f"folder/{name}")
            info.size = len(text.encode())
            info.type = kind
            archive.addfile(info, io.BytesIO(text.encode()))
    return raw


def labelled(prepared: Prepared) -> dict[str, Example]:
    return {example["text"]: example for split in SPLITS for example in prepared.splits[split]}


def unlabelled(prepared: Prepared) -> set[str]:
    return {example["text"] for example in prepared.splits["unlabelled"]}


def reasons(prepared: Prepared) -> list[tuple[str, str, int]]:
    return [(found.reason, found.file, found.line) for found in prepared.rejected]


def test_the_sign_of_the_rating_is_the_label_and_near_zero_there_is_none(tmp_path: Path) -> None:
    ratings = [("0.51", "Rather fine work"), ("-3.25", "Utter rubbish"), ("0.5", "So so"), ("-0.5", "Hardly worth it")]
    prepared = prepare(write(tmp_path, movies=many() + ratings), SETTINGS)
    found = labelled(prepared)
    assert (found["Rather fine work"]["label"], found["Rather fine work"]["rating"]) == ("positive", 0.51)
    assert (found["Utter rubbish"]["label"], found["Utter rubbish"]["rating"]) == ("negative", -3.25)
    assert len(found) == len(many()) + 2
    assert unlabelled(prepared) == {"So so", "Hardly worth it"}


def test_references_and_spaces_are_resolved(tmp_path: Path) -> None:
    prepared = prepare(write(tmp_path, movies=[*many(), ("2", " Lilo &amp; Stitch    never stops ")]), SETTINGS)
    assert "Lilo & Stitch never stops" in labelled(prepared)


def test_bad_lines_are_counted_and_named(tmp_path: Path) -> None:
    texts = dict.fromkeys(FILES.values(), "1\t1.5\tKept as it is")
    bad = [
        "1\t1.5\tA fine film",
        "2\t1.5",
        "3\tgood\tWords",
        "4\tnan\tWords",
        "5\t4.5\tWords",
        "",
        "7\t2\t!",
        "8\t2\ta FINE film!",
    ]
    prepared = prepare(write_texts(tmp_path, {**texts, FILES["movies"]: "\n".join(bad)}), SETTINGS)
    name = FILES["movies"]
    assert [row for row in reasons(prepared) if row[1] == name] == [
        ("not the three columns id, rating and text", name, 2),
        ("rating is no number", name, 3),
        ("rating outside of -4 to 4", name, 4),
        ("rating outside of -4 to 4", name, 5),
        ("no words", name, 7),
        ("duplicate", name, 8),
    ]


def test_near_duplicates_share_a_split_and_a_key(tmp_path: Path) -> None:
    near = [(rating, f"{text} indeed") for rating, text in many()]
    prepared = prepare(write(tmp_path, movies=many() + near), SETTINGS)
    found = labelled(prepared)
    split_of_text = {example["text"]: split for split in SPLITS for example in prepared.splits[split]}
    assert set(split_of_text.values()) == set(SPLITS)
    for _, text in many():
        assert found[text]["key"] == found[f"{text} indeed"]["key"]
        assert split_of_text[text] == split_of_text[f"{text} indeed"]
    assert len({example["id"] for example in found.values()}) == 2 * len(many())


def test_no_unlabelled_text_equals_or_is_near_a_labelled_one(tmp_path: Path) -> None:
    same = [("0", text.upper()) for _, text in many()]
    near = [("0", f"indeed {text}") for _, text in many()]
    prepared = prepare(write(tmp_path, tweets=same, products=near, editorials=[("0", "Of another matter")]), SETTINGS)
    assert unlabelled(prepared) == {"Of another matter"}
    counts = [row[0] for row in reasons(prepared)]
    assert counts.count("duplicate") == counts.count("without a label and near a labelled sentence") == len(many())


def test_a_text_added_moves_no_old_example(tmp_path: Path) -> None:
    before = prepare(write(tmp_path), SETTINGS)
    after = prepare(write(tmp_path, movies=[*many(), ("1", "Something else entirely")]), SETTINGS)
    for split in SPLITS:
        assert {ex["id"] for ex in before.splits[split]} <= {ex["id"] for ex in after.splits[split]}


def test_case_punctuation_and_the_value_of_numbers_do_not_count() -> None:
    assert words_of("One of 2002's BEST films!") == words_of("one of 1999's best films")


def test_the_splits_can_be_written_and_read(tmp_path: Path) -> None:
    prepared = prepare(write(tmp_path), SETTINGS)
    write_prepared(prepared, tmp_path)
    assert read_split(tmp_path, "test") == prepared.splits["test"]


def test_a_missing_a_broken_and_an_incomplete_archive_are_errors_that_name_it(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"hutto_ICWSM_2014\.tar\.gz does not exist"):
        prepare(tmp_path, SETTINGS)
    write_texts(tmp_path, {FILES["movies"]: "1\t1\tWords"})
    with pytest.raises(InputError, match=r"holds no file amazonReviewSnippets_GroundTruth\.txt"):
        prepare(tmp_path, SETTINGS)
    path = write(tmp_path) / snippets.ARCHIVE
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(InputError, match=r"is no readable tar\.gz archive"):
        prepare(tmp_path, SETTINGS)


def test_a_link_and_a_file_too_large_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_texts(tmp_path, dict.fromkeys(FILES.values(), ""), kind=tarfile.SYMTYPE)
    with pytest.raises(InputError, match="should be a plain file"):
        prepare(tmp_path, SETTINGS)
    monkeypatch.setattr(snippets, "LARGEST", 100)
    with pytest.raises(InputError, match="at most 100 are read"):
        prepare(write(tmp_path), SETTINGS)


def test_reading_the_archive_writes_nothing(tmp_path: Path) -> None:
    write(tmp_path)
    before = sorted(tmp_path.rglob("*"))
    prepare(tmp_path, SETTINGS)
    assert sorted(tmp_path.rglob("*")) == before
