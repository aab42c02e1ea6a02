"""What preparation hands to training: examples in three splits, arrays, and an account of what was rejected."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
from safetensors.numpy import load_file, save_file

from stages.core.base.errors import InputError
from stages.core.base.files import read_json, read_jsonl, write_json, write_jsonl

if TYPE_CHECKING:
    from stages.core.audio import Waveform

SPLITS = ("train", "validation", "test")
TRIES = 1000  # to draw an example that neither validation nor test has
Example = dict[str, Any]
T = TypeVar("T")


@dataclass(frozen=True)
class Rejected:
    """A record that was left out: why, and where it stands (``file``, and ``line`` counted from 1, or 0 for none)."""

    reason: str
    file: str
    line: int


@dataclass(frozen=True)
class Prepared:
    """Examples a split (each with an ``id`` and the ``key`` that decides its split), arrays shared by them, rejects.

    Besides ``SPLITS`` there may be others, such as "unlabelled"; these may be empty.
    ``facts`` are figures about the data that the report shows (what was counted, what a split holds).
    A data set of sound gives ``waveforms`` instead of arrays, in the order in which its examples number "recordings";
    stages/prepare.py takes them one at a time. With ``tones`` their frames also say how high the voice is.
    """

    splits: dict[str, list[Example]]
    arrays: dict[str, np.ndarray] = field(default_factory=dict)
    rejected: list[Rejected] = field(default_factory=list)
    facts: dict[str, Any] = field(default_factory=dict)
    waveforms: Iterable[Waveform] = ()
    tones: bool = False


def split_of(key: str, validation: float = 0.1, test: float = 0.1) -> str:
    """Give the split of ``key`` by its SHA-256, so that adding data moves no old example."""
    fraction = int.from_bytes(hashlib.sha256(key.encode()).digest()[:8], "big") / 2**64
    if fraction < test:
        return "test"
    return "validation" if fraction < test + validation else "train"


def draw_splits(
    name: str, seed: int, wanted: Mapping[str, Sequence[T]], draw: Callable[[str, T, Random], Example]
) -> dict[str, list[Example]]:
    """Draw the splits of the generated data set ``name``: for each of ``wanted``, an example by ``draw``.

    ``draw`` is given the example's id, what is wanted, and the split's own generator, which ``seed`` starts. Validation
    and test are drawn first, each key once; training has none of theirs, but may have one of its own more than once.
    Raises InputError where there are too few examples to keep them apart.
    """
    taken: set[str] = set()
    splits: dict[str, list[Example]] = {split: [] for split in wanted}
    for split in sorted(wanted, key="train".__eq__):
        random = Random(f"{split} {seed}")
        for number, what in enumerate(wanted[split]):
            tries = (draw(f"{split}_{number}", what, random) for _ in range(TRIES))
            example = next((example for example in tries if example["key"] not in taken), None)
            if example is None:
                raise InputError(
                    f"{name}: {TRIES} sequences drawn for {split} are all in validation or test already; they should "
                    "be longer, or validation and test smaller"
                )
            splits[split].append(example)
            if split != "train":
                taken.add(example["key"])
    return splits


def group_near_duplicates(sets: list[frozenset[str]], threshold: float) -> list[int]:
    """Give, for each of the non-empty ``sets``, the index of the first member of its group.

    Groups are the connected components of the pairs whose Jaccard index is at least ``threshold``. All indices are
    counted exactly, through an inverted index: time grows with the square of a member's frequency, 2 s for 16,000
    messages by their trigrams.
    """
    numbers: dict[str, int] = {}
    rows = [[numbers.setdefault(member, len(numbers)) for member in members] for members in sets]
    holders: list[list[int]] = [[] for _ in numbers]
    for index, row in enumerate(rows):
        for number in row:
            holders[number].append(index)
    postings = [np.array(holder) for holder in holders]
    sizes = np.array([len(row) for row in rows])
    first = list(range(len(sets)))

    def root(index: int) -> int:
        while first[index] != index:
            first[index] = first[first[index]]
            index = first[index]
        return index

    for index, row in enumerate(rows):
        shared = np.bincount(np.concatenate([postings[number] for number in row]), minlength=len(rows))
        for other in np.flatnonzero(shared >= threshold * (sizes[index] + sizes - shared)).tolist():
            low, high = sorted((root(index), root(other)))
            first[high] = low
    return [root(index) for index in range(len(sets))]


def write_prepared(prepared: Prepared, folder: Path) -> None:
    """Write the splits as JSON lines, the arrays as safetensors, and ``summary.json``.

    Raises InputError where a split is empty or a key stands in two splits.
    """
    seen: dict[str, str] = {}
    for split in dict.fromkeys((*SPLITS, *prepared.splits)):
        examples = prepared.splits[split]
        if split in SPLITS and not examples:
            raise InputError(f"the {split} split is empty: the data need more records, or the split other fractions")
        for example in examples:
            if seen.setdefault(example["key"], split) != split:
                raise InputError(f"key {example['key']!r} stands in {seen[example['key']]} and in {split}")
        write_jsonl(folder / f"{split}.jsonl", examples)
    if prepared.arrays:
        save_file(prepared.arrays, folder / "arrays.safetensors")
    reasons = Counter(rejected.reason for rejected in prepared.rejected)
    first: dict[str, list[str]] = {reason: [] for reason in reasons}
    for rejected in prepared.rejected:
        if len(first[rejected.reason]) < 5:
            first[rejected.reason].append(f"{rejected.file}:{rejected.line}" if rejected.line else rejected.file)
    summary = {
        "examples": {split: len(examples) for split, examples in prepared.splits.items()},
        "rejected": {reason: {"count": reasons[reason], "first": first[reason]} for reason in sorted(reasons)},
        "facts": prepared.facts,
    }
    write_json(folder / "summary.json", summary)


def read_split(folder: Path, split: str) -> list[Example]:
    """Read the examples of one split of a prepared folder; raises InputError where there are none."""
    examples = read_jsonl(folder / f"{split}.jsonl")
    if not examples:
        raise InputError(f"{folder / split}.jsonl is empty; it should hold one example a line")
    return examples


def read_arrays(folder: Path) -> dict[str, np.ndarray]:
    """Read the arrays of a prepared folder (none where it has no arrays)."""
    path = folder / "arrays.safetensors"
    return load_file(path) if path.exists() else {}


def read_summary(folder: Path) -> dict[str, Any]:
    """Read ``summary.json`` of a prepared folder."""
    return read_json(folder / "summary.json")


def describe(prepared: Prepared) -> str:
    """Say in a few lines how many examples each split holds and what was rejected."""
    counts = ", ".join(f"{len(examples)} {split}" for split, examples in prepared.splits.items())
    lines = [f"examples: {counts}"]
    for reason, count in sorted(Counter(rejected.reason for rejected in prepared.rejected).items()):
        first = next(rejected for rejected in prepared.rejected if rejected.reason == reason)
        lines.append(f"rejected {count}: {reason} (first at {first.file}:{first.line})")
    return "\n".join(lines)
