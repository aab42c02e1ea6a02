"""Short English messages of user interfaces and their Chinese translations, from the catalogues that packages ship.

Source, by package (licence; catalogue format):

- jupyterlab-language-pack-zh-CN 4.5.post3 (BSD-3-Clause; Jed JSON: ``{English: [Chinese, ...]}``)
- Django 5.2.19 (BSD-3-Clause; gettext), horizon 27.0.0 (Apache-2.0; gettext), spyder 6.1.8 (MIT; gettext),
  indico 3.2.9 (MIT; gettext)
- homeassistant 2024.3.3 (Apache-2.0; two JSON trees, paired by equal key path)

Counts: 33,637 entries, of which 24,145 are different pairs, and 17,265 short clean ones are kept (13,852 training,
1,753 validation, 1,660 test). English is counted in words, Chinese in characters. A plural entry gives one pair, its
singular English and its only Chinese form (Chinese has one form for every number, and Jed JSON keeps no other English).

Split: messages whose English sides are near-identical form a group, and a group lies in one split. Two sides are
near-identical where the Jaccard index of their sets of character trigrams is at least ``near_duplicate`` (Broder 1997,
counted exactly); letters are lower-cased, numbers are one sign, punctuation goes. Groups are connected components, so
they may chain. At 0.65 the largest of 13,429 groups holds 157 of 16,277 English sides, a tenth of a test split; at 0.7
91, at 0.6 354, at 0.55 568, at 0.5 1,581, at 0.45 4,131. So 0.65 is the lowest at which no group can fill more than
a tenth of a split. The key is the group's first member in the order of ``packages``: data added at the end move an old
example only where they join two groups.

An example of validation or test says its ``similarity`` to training: the highest word-level fuzzy match of its English
side, 1 - (Levenshtein distance in words) / (words of the longer side), as translation memories use it.
"""

from __future__ import annotations

import json
import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import polib
import pydantic
from rapidfuzz import process
from rapidfuzz.distance import Levenshtein

from stages.core.base.errors import InputError
from stages.core.base.files import read_json, read_text
from stages.core.base.params import settings
from stages.core.learning.dataset import SPLITS, Example, Prepared, Rejected, group_near_duplicates, split_of

WORD = re.compile(r"[^\W_]+(?:['’.-][^\W_]+)*")
CHINESE = re.compile(r"[\u4e00-\u9fff]")
# Zero-width characters, which some catalogues hold by accident.
INVISIBLE = re.compile(r"[\u200b-\u200f\u2060\ufeff]")
# A line of a gettext catalogue; polib lets a string without its closing quote pass, less its last letter.
PO_LINE = re.compile(r'\s*(#.*|((msgctxt|msgid|msgid_plural|msgstr(\[\d+\])?)\s+)?"([^"\\]|\\.)*"\s*)?')
# What makes a message more than a plain phrase, on either side; the first that matches names the reason.
UNWANTED = {
    "several lines": re.compile(r"[\n\r\t]"),
    "placeholder": re.compile(r"[{}]|%\(|%\d|%[a-zA-Z]|\$\w|\$\("),
    "address": re.compile(r"https?:|www\.|\w@\w|\w\.(?:com|org|io|net)\b"),
    "markup": re.compile(r"</?[a-zA-Z][^>]*>|&#?\w+;|\*\*|`|\]\(|^#|\\|__|\|"),
    "accelerator": re.compile(r"&\w"),
}


@settings
class Settings:
    """Which messages are kept, and how they are split.

    ``packages`` are folders of the raw data, in the order in which they may name a group (put one that comes later at
    the end); a message has ``fewest_words`` to ``most_words`` English words and at most ``most_characters`` on its
    Chinese side; ``near_duplicate`` is the trigram Jaccard index (0 to 1) from which two English sides share a group;
    ``validation`` and ``test`` are the fractions of groups in these splits.
    """

    packages: list[str] = pydantic.Field(min_length=1)
    fewest_words: int = pydantic.Field(default=2, ge=1)
    most_words: int = pydantic.Field(default=20, ge=1)
    most_characters: int = pydantic.Field(default=80, ge=1)
    near_duplicate: float = pydantic.Field(default=0.65, gt=0, le=1)
    validation: float = pydantic.Field(default=0.1, gt=0, lt=0.5)
    test: float = pydantic.Field(default=0.1, gt=0, lt=0.5)


@dataclass(frozen=True)
class Entry:
    """One entry of a catalogue; ``problem`` says why it is no pair ("" where it is one)."""

    package: str
    file: str
    line: int
    english: str
    chinese: str
    problem: str = ""


def prepare(raw: Path, settings: Settings) -> Prepared:
    """Read the catalogues under ``raw/<package>``, clean them, group near-duplicates, and split by group.

    Raises InputError where a package or its catalogues are missing, or a file cannot be read.
    """
    kept, rejected, facts = _clean(_read(raw, settings), settings)
    sides = [normal_form(entry.english) for entry in kept]
    group_of = group(list(dict.fromkeys(sides)), settings.near_duplicate)
    splits: dict[str, list[Example]] = {split: [] for split in SPLITS}
    for entry, side in zip(kept, sides, strict=True):
        key = group_of[side]
        splits[split_of(key, settings.validation, settings.test)].append(_example(entry, key))
    _add_similarity(splits)
    sizes = Counter(group_of.values())
    facts["groups"] = len(sizes)
    facts["groups_of_several"] = sum(size > 1 for size in sizes.values())
    facts["largest_groups"] = [{"key": key, "english_sides": size} for key, size in sizes.most_common(5)]
    return Prepared(splits=splits, rejected=rejected, facts=facts)


def normal_form(english: str) -> str:
    """Give lower-cased words with every number as 0 and without punctuation: what near-identical is judged by."""
    words = re.findall(r"[^\W\d_]+|\d+", english.lower())
    return " ".join("0" if word.isdigit() else word for word in words)


def group(texts: list[str], threshold: float) -> dict[str, str]:
    """Map each of the distinct ``texts`` to the first member of its group, by the Jaccard index of their trigrams."""
    first = group_near_duplicates([trigrams(text) for text in texts], threshold)
    return {text: texts[index] for text, index in zip(texts, first, strict=True)}


def similarities(texts: list[str], training: list[str]) -> list[float]:
    """Give, for each of ``texts``, its highest word-level fuzzy match with a text of ``training``.

    The fuzzy match is 1 - d / n, d the Levenshtein distance in words, n the words of the longer text; 0 to 1.
    """
    numbers: dict[str, int] = {}

    def encode(text: str) -> list[int]:
        return [numbers.setdefault(word, len(numbers)) for word in text.split()]

    choices = [encode(text) for text in training]
    queries = [encode(text) for text in texts]
    scores = process.cdist(queries, choices, scorer=Levenshtein.normalized_similarity, workers=1, dtype=np.float64)
    return [float(score) for score in scores.max(axis=1, initial=0.0)]


def trigrams(text: str) -> frozenset[str]:
    """Give the character trigrams of ``text`` between two spaces."""
    spaced = f" {text} "
    return frozenset(spaced[start : start + 3] for start in range(max(len(spaced) - 2, 1)))


def _example(entry: Entry, key: str) -> Example:
    digest = sha256(f"{entry.english}\n{entry.chinese}".encode()).hexdigest()
    return {
        "id": f"{entry.package}-{digest[:12]}",
        "key": key,
        "source": entry.english,
        "target": entry.chinese,
        "package": entry.package,
    }


def _add_similarity(splits: dict[str, list[Example]]) -> None:
    training = list(dict.fromkeys(normal_form(example["source"]) for example in splits["train"]))
    for split in ("validation", "test"):
        examples = splits[split]
        values = similarities([normal_form(example["source"]) for example in examples], training)
        for example, value in zip(examples, values, strict=True):
            example["similarity"] = round(value, 4)


# Cleaning.


def _clean(entries: Iterable[Entry], settings: Settings) -> tuple[list[Entry], list[Rejected], dict[str, Any]]:
    kept: list[Entry] = []
    rejected: list[Rejected] = []
    read: Counter[str] = Counter()
    pairs: set[tuple[str, str]] = set()
    seen: set[tuple[str, str]] = set()
    for entry in entries:
        read[entry.package] += 1
        if not entry.problem:
            pairs.add((entry.english, entry.chinese))
        # Case alone makes no other message: the task reads English in lower case.
        pair = (entry.english.lower(), entry.chinese)
        reason = entry.problem or _unclean(entry, settings) or ("duplicate" if pair in seen else "")
        if reason:
            rejected.append(Rejected(reason, entry.file, entry.line))
        else:
            seen.add(pair)
            kept.append(entry)
    facts: dict[str, Any] = {"entries": dict(read), "different_pairs_read": len(pairs)}
    facts["kept"] = dict(Counter(entry.package for entry in kept))
    return kept, rejected, facts


def _unclean(entry: Entry, settings: Settings) -> str:
    """Say why a pair is left out, or nothing."""
    for reason, pattern in UNWANTED.items():
        if pattern.search(entry.english) or pattern.search(entry.chinese):
            return reason
    words = len(WORD.findall(entry.english))
    failed = {
        "no Chinese characters in the translation": not CHINESE.search(entry.chinese),
        "Chinese characters on the English side": CHINESE.search(entry.english),
        f"fewer than {settings.fewest_words} words": words < settings.fewest_words,
        f"more than {settings.most_words} words": words > settings.most_words,
        f"more than {settings.most_characters} Chinese characters": len(entry.chinese) > settings.most_characters,
    }
    return next((reason for reason, has_failed in failed.items() if has_failed), "")


# Reading.


def _read(raw: Path, settings: Settings) -> Iterator[Entry]:
    for package in settings.packages:
        folder = raw / package
        if not folder.is_dir():
            raise InputError(f"{folder} does not exist; it should hold the catalogues of the package {package}")
        catalogues = sorted(path for path in folder.rglob("*") if path.suffix in (".po", ".json") and path.is_file())
        if not catalogues:
            raise InputError(f"{folder} holds no catalogue; it should hold .po or .json files")
        for path in catalogues:
            for entry in _read_catalogue(path):
                yield Entry(package, str(path.relative_to(raw)), *entry)


def _read_catalogue(path: Path) -> Iterator[tuple[int, str, str, str]]:
    """Yield line, English, Chinese and problem of each entry of a catalogue."""
    if path.suffix == ".po":
        yield from _read_po(path)
    elif path.name == "zh-Hans.json":
        yield from _read_trees(path)
    elif path.name != "en.json":
        yield from _read_jed(path)


def _read_po(path: Path) -> Iterator[tuple[int, str, str, str]]:
    for number, line in enumerate(read_text(path).split("\n"), start=1):
        if not PO_LINE.fullmatch(line):
            raise InputError(f"{path}:{number} is no line of a gettext catalogue: a keyword and a quoted string")
    try:
        entries = polib.pofile(str(path), encoding="utf-8")
    except OSError as error:
        raise InputError(f"{path} is no gettext catalogue: {error}") from None
    for entry in entries:
        chinese = entry.msgstr or entry.msgstr_plural.get(0, "")
        problem = "obsolete" if entry.obsolete else "fuzzy" if entry.fuzzy else _unpaired(entry.msgid, chinese)
        yield entry.linenum, _tidy(entry.msgid), _tidy(chinese), problem


def _read_jed(path: Path) -> Iterator[tuple[int, str, str, str]]:
    values = _read_object(path)
    line_of = _Lines(path)
    for name, forms in values.items():
        if name == "":
            continue  # the header
        line = line_of(name)
        # A context comes before the English message, divided by U+0004.
        english = name.split("\x04")[-1]
        if not isinstance(forms, list) or not forms or not isinstance(forms[0], str):
            yield line, english, "", "not text"
        else:
            yield line, _tidy(english), _tidy(forms[0]), _unpaired(english, forms[0])


def _read_trees(path: Path) -> Iterator[tuple[int, str, str, str]]:
    chinese_tree = _read_object(path)
    english_path = path.with_name("en.json")
    if not english_path.exists():
        yield 0, "", "", "no English catalogue"
        return
    english_of = dict(_leaves(_read_object(english_path)))
    line_of = _Lines(path)
    for names, chinese in _leaves(chinese_tree):
        line = line_of(names[-1], chinese)
        english = english_of.get(names)
        if english is None:
            yield line, "", "", "no English side"
        elif not isinstance(english, str) or not isinstance(chinese, str):
            yield line, "", "", "not text"
        else:
            yield line, _tidy(english), _tidy(chinese), _unpaired(english, chinese)


def _read_object(path: Path) -> dict[str, Any]:
    values = read_json(path)
    if not isinstance(values, dict):
        raise InputError(f"{path} is no catalogue: it should hold a JSON object of messages")
    return values


def _leaves(tree: dict[str, Any], names: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    for name, value in tree.items():
        if isinstance(value, dict):
            yield from _leaves(value, (*names, name))
        else:
            yield (*names, name), value


class _Lines:
    """Where a JSON file holds a key (with its value, where that is text): a line counted from 1, or 0 if not found.

    Of equal keys with equal values the first line is given.
    """

    def __init__(self, path: Path) -> None:
        self.lines: dict[str, int] = {}
        for number, line in enumerate(read_text(path).split("\n"), start=1):
            text = line.strip().rstrip(",")
            self.lines.setdefault(text, number)
            self.lines.setdefault(text.partition('": ')[0] + '"', number)

    def __call__(self, name: str, value: Any = None) -> int:
        for ascii_only in (True, False):
            key = json.dumps(name, ensure_ascii=ascii_only)
            exact = f"{key}: {json.dumps(value, ensure_ascii=ascii_only)}"
            line = self.lines.get(exact) or self.lines.get(key)
            if line:
                return line
        return 0


def _tidy(text: str) -> str:
    return unicodedata.normalize("NFC", INVISIBLE.sub("", text)).strip()


def _unpaired(english: str, chinese: str) -> str:
    return "" if english.strip() and chinese.strip() else "not translated"
