"""A folder of own recordings, and a manifest of what is said in them, for speech recognition with CTC.

The folder comes into the raw data as a source of the kind ``folder`` (stages/download.py). It holds WAV or FLAC files
and either manifest.csv (with a header) or manifest.jsonl (an object a line), with these columns:

- ``path``: the file, inside the folder; ``text``: what is said;
- ``start``, ``end`` (may be absent): the part of the file that the row is about, in seconds;
- ``split`` (may be absent): train, validation or test;
- ``speaker`` (may be absent): who speaks.

A row without a split gets its split by a hash of its speaker, or of its path where there is none: so no speaker, and no
file, is in two splits. Each row is checked; what cannot be used is left out and counted by reason, with file and line.
The text is taken as it is (Unicode NFC, case and punctuation kept): a word or a character of it is an output symbol.
When each symbol is said is not known, so the examples have no boundaries.
"""

import csv
import io
import json
import math
import unicodedata
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Any, Literal

import pydantic

from stages.core.audio import LOG_MEL, SHORTEST, Waveform, measure, read
from stages.core.base.errors import InputError
from stages.core.base.files import read_text
from stages.core.base.params import settings
from stages.core.learning.dataset import SPLITS, Example, Prepared, Rejected, split_of

MANIFESTS = ("manifest.csv", "manifest.jsonl")
REQUIRED = ("path", "text")
OPTIONAL = ("start", "end", "split", "speaker")


@settings
class Settings:
    """``unit``: what an output symbol is. ``stack``: the task's, frames a step: a transcript must fit into the steps.

    ``tones``: frames also say how high the voice is, for a language with tones; set the task's coefficients to 42 then.

    ``validation`` and ``test`` are fractions of the speakers, or of the files where the manifest names no speaker.
    """

    unit: Literal["word", "character"]
    stack: int = pydantic.Field(default=3, gt=0)
    tones: bool = False
    validation: float = pydantic.Field(default=0.1, ge=0, lt=1)
    test: float = pydantic.Field(default=0.1, ge=0, lt=1)

    @pydantic.model_validator(mode="after")
    def _leave_some(self) -> "Settings":
        if self.validation + self.test >= 1:
            raise ValueError("validation and test leave nothing to train on")
        return self


@dataclass(frozen=True)
class Part:
    """A usable row, at ``line``: the part of ``file`` from ``start`` to ``end`` (in seconds); ``rate`` is in Hz."""

    file: Path
    start: float
    end: float
    rate: int
    line: int
    split: str
    example: Example


class _Unusable(Exception):
    """Why a row is left out."""


def prepare(raw: Path, settings: Settings) -> Prepared:
    """Check every row of the manifest of the one folder in ``raw``; raises InputError where none can be used."""
    manifest = find(raw)
    parts: list[Part] = []
    rejected: list[Rejected] = []
    seen: set[tuple[Any, ...]] = set()
    for line, row in rows(manifest):
        try:
            part = check(row, line, manifest.parent, settings)
            if (part.file, part.start, part.end) in seen:
                raise _Unusable("the same recording stands above")
        except _Unusable as reason:
            rejected.append(Rejected(str(reason), manifest.name, line))
        else:
            seen.add((part.file, part.start, part.end))
            parts.append(part)
    if not parts:
        first = f"; line {rejected[0].line}: {rejected[0].reason}" if rejected else ", as it has none"
        raise InputError(f"no row of {manifest} can be used{first}")
    parts, strange = apart(parts)
    rejected += [Rejected("a symbol that no training row has", manifest.name, part.line) for part in strange]
    splits: dict[str, list[Example]] = {split: [] for split in SPLITS}
    for number, part in enumerate(parts):
        splits[part.split].append(part.example | {"recordings": [number]})
    return Prepared(splits, rejected=rejected, facts=facts(parts), waveforms=waveforms(parts), tones=settings.tones)


def apart(parts: list[Part]) -> tuple[list[Part], list[Part]]:
    """Separate the parts with a symbol that training has not, and that no model can thus say."""
    known = {symbol for part in parts if part.split == "train" for symbol in part.example["symbols"]}
    strange = [part for part in parts if not known.issuperset(part.example["symbols"])]
    return [part for part in parts if known.issuperset(part.example["symbols"])], strange


def find(raw: Path) -> Path:
    """Give the manifest in ``raw/<source>``; raises InputError where there is not just one."""
    found = [path for folder in sorted(raw.glob("*")) for name in MANIFESTS if (path := folder / name).is_file()]
    if len(found) != 1:
        have = ", ".join(map(str, found)) or "neither"
        raise InputError(f"{raw} should hold one folder with {' or '.join(MANIFESTS)}, but has {have}")
    return found[0]


def rows(manifest: Path) -> Iterator[tuple[int, Any]]:
    """Give line and content of each row, a dictionary unless it is malformed; blank lines are passed over."""
    text = read_text(manifest).removeprefix("\ufeff")  # as spreadsheets write it
    if manifest.suffix == ".csv":
        yield from csv_rows(text, manifest)
        return
    for line, content in enumerate(text.split("\n"), start=1):
        if content.strip():
            try:
                yield line, json.loads(content)
            except json.JSONDecodeError:
                yield line, None


def csv_rows(text: str, manifest: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """Give line and content of each row; raises InputError where the header lacks a column or quotes are unbalanced."""
    reader = csv.DictReader(io.StringIO(text, newline=""), restval="", strict=True)
    try:
        columns = reader.fieldnames or ()
        if not set(REQUIRED).issubset(columns):
            have = ", ".join(columns) or "nothing"
            raise InputError(f"{manifest}:1 should name the columns {', '.join(REQUIRED)}, but has {have}")
        for row in reader:
            yield reader.line_num, row
    except csv.Error as error:
        raise InputError(f"{manifest}:{reader.reader.line_num} is no CSV: {error}") from None


def check(row: Any, line: int, folder: Path, settings: Settings) -> Part:
    """Make a ``Part`` of a row of the manifest in ``folder``; raises _Unusable."""
    if not isinstance(row, dict):
        raise _Unusable("no JSON object")
    unknown = [str(name) for name in row if name not in REQUIRED + OPTIONAL]
    if unknown:
        raise _Unusable(f"more than the columns {', '.join(REQUIRED + OPTIONAL)}")
    path, text, speaker, split = (text_of(row, name) for name in ("path", "text", "speaker", "split"))
    text = unicodedata.normalize("NFC", text)
    if not path:
        raise _Unusable("no path")
    if not text:
        raise _Unusable("empty text")
    if split and split not in SPLITS:
        raise _Unusable(f"a split that is none of {', '.join(SPLITS)}")
    file = inside(path, folder)
    start, end, seconds, rate = extent(row, file)
    symbols = text.split() if settings.unit == "word" else [sign for sign in text if not sign.isspace()]
    steps = math.ceil(math.floor((end - start) / LOG_MEL.frame_seconds) / settings.stack)
    if steps < len(symbols) + sum(a == b for a, b in zip(symbols, symbols[1:], strict=False)):
        raise _Unusable("transcript longer than the frames allow")
    name = file.relative_to(folder).as_posix()
    whole = (start, end) == (0, seconds)
    example: Example = {
        "id": name if whole else f"{name} {start:.3f}-{end:.3f} s",
        "key": speaker or name,
        "symbols": symbols,
        "text": text,
    }
    if speaker:
        example["speaker"] = speaker
    split = split or split_of(example["key"], settings.validation, settings.test)
    return Part(file, start, end, rate, line, split, example)


def text_of(row: dict[str, Any], name: str) -> str:
    """Give a column's text without space around it; empty where the row has none."""
    value = row.get(name)
    if value is not None and not isinstance(value, str):
        raise _Unusable(f"{name} is no text")
    return (value or "").strip()


def inside(path: str, folder: Path) -> Path:
    """Give the file at ``path`` in ``folder``; raises _Unusable where it lies elsewhere or is missing."""
    if "\0" in path or ".." in PurePath(path).parts or PurePath(path).is_absolute():
        raise _Unusable("path leaves the folder")
    file = folder / path
    if not file.is_file():
        raise _Unusable("missing file")
    return file


def seconds_of(row: dict[str, Any], name: str, default: float) -> float:
    """Give a column's number of seconds; ``default`` where the row has none."""
    value = row.get(name)
    try:
        return default if value is None or value == "" else float(value)
    except (TypeError, ValueError, OverflowError):
        raise _Unusable(f"{name} is no number of seconds") from None


def extent(row: dict[str, Any], file: Path) -> tuple[float, float, float, int]:
    """Give start and end of what the row is about and the length of all, in seconds, and the rate; raises _Unusable."""
    start, end = seconds_of(row, "start", 0.0), seconds_of(row, "end", math.inf)
    try:
        seconds, rate = measure(file)
        if seconds == 0:
            raise _Unusable("zero length")
        if not 0 <= start < min(end, seconds):
            raise _Unusable("start is not before the end")
        if math.isfinite(end) and end > seconds + 0.001:  # a manifest may have rounded it
            raise _Unusable("end is past the end of the recording")
        end = min(end, seconds)
        if end - start < SHORTEST:
            raise _Unusable(f"shorter than {SHORTEST} s")
        read(file, start, end)
    except InputError:
        raise _Unusable("unreadable audio") from None
    return start, end, seconds, rate


def waveforms(parts: list[Part]) -> Iterator[Waveform]:
    """Read the parts, one at a time."""
    for part in parts:
        yield read(part.file, part.start, part.end)


def facts(parts: list[Part]) -> dict[str, Any]:
    """Count what the report shows; among it how many recordings have to be resampled."""
    rates = Counter(part.rate for part in parts)
    return {
        "minutes of speech": round(sum(part.end - part.start for part in parts) / 60, 1),
        "speakers named": len({part.example["key"] for part in parts if "speaker" in part.example}),
        "symbols": len({symbol for part in parts for symbol in part.example["symbols"]}),
        **{f"resampled from {rate} Hz": count for rate, count in sorted(rates.items()) if rate != 16000},
    }
