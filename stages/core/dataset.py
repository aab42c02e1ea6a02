"""What preparation hands to training: examples in three splits, arrays, and an account of what was rejected."""

import hashlib
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import load_file, save_file

from stages.core.errors import InputError
from stages.core.files import read_json, read_jsonl, write_json, write_jsonl

SPLITS = ("train", "validation", "test")
Example = dict[str, Any]


@dataclass(frozen=True)
class Rejected:
    """A record that was left out: why, and where it stands (``file``, and ``line`` counted from 1, or 0 for none)."""

    reason: str
    file: str
    line: int


@dataclass(frozen=True)
class Prepared:
    """Examples a split (each with an ``id`` and the ``key`` that decides its split), arrays shared by them, rejects.

    ``facts`` are figures about the data that the report shows (what was counted, what a split holds).
    """

    splits: dict[str, list[Example]]
    arrays: dict[str, np.ndarray] = field(default_factory=dict)
    rejected: list[Rejected] = field(default_factory=list)
    facts: dict[str, Any] = field(default_factory=dict)


def split_of(key: str, validation: float = 0.1, test: float = 0.1) -> str:
    """Give the split of ``key`` by its SHA-256, so that adding data moves no old example."""
    fraction = int.from_bytes(hashlib.sha256(key.encode()).digest()[:8], "big") / 2**64
    if fraction < test:
        return "test"
    return "validation" if fraction < test + validation else "train"


def write_prepared(prepared: Prepared, folder: Path) -> None:
    """Write the splits as JSON lines, the arrays as safetensors, and ``summary.json``.

    Raises InputError where a split is empty or a key stands in two splits.
    """
    seen: dict[str, str] = {}
    for split in SPLITS:
        examples = prepared.splits[split]
        if not examples:
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
        "examples": {split: len(prepared.splits[split]) for split in SPLITS},
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
    counts = ", ".join(f"{len(prepared.splits[split])} {split}" for split in SPLITS)
    lines = [f"examples: {counts}"]
    for reason, count in sorted(Counter(rejected.reason for rejected in prepared.rejected).items()):
        first = next(rejected for rejected in prepared.rejected if rejected.reason == reason)
        lines.append(f"rejected {count}: {reason} (first at {first.file}:{first.line})")
    return "\n".join(lines)
