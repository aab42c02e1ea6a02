"""bAbI, the twenty published tasks of reading comprehension (Weston et al. 2015), 1,000 training questions a task.

Source: bAbI tasks v1.2, English, the folder ``en-valid``; CC BY 3.0, Facebook 2015. Not part of the default pipeline,
whose only network is a package index: README.md says how to switch it on. Two ways lead to the same files
``qa<task>_{train,valid,test}.txt``: the 60 URLs of tests/benchmarks/babi.yaml, or a source of the kind ``folder``.

**Format.** A row is a number and a sentence, or a number, a question, its answer and the numbers of its supporting
rows, with tabs between these three. Numbers count from 1, and start again with each story. A question is about all
sentences of its story above it; so a story serves several questions.

**Checks.** A row that cannot be read is left out and counted by reason, with file and line; where it may have been a
sentence, so are the questions of its story below it, whose answers may rest on it.

**Example.** As in stories.py: ``id``; ``key``; ``kind``, the name of the task (``TASKS``); ``story``, the sentences;
``question``; ``answer``, one symbol ("apple,milk", "s,e"); ``supporting``, sorted indices (from 0) into ``story``.

**Splits.** The published ones: about 900 training, 100 validation and 1,000 test questions a task. The key is the
story's place in its file, so the questions of a story are in one split. Some of the published test questions stand in
the training data too, story and all, most of them of ``two_arguments``; they are kept, so that figures compare, and
counted as ``test_questions_in_training``.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pydantic

from stages.core.base.errors import InputError
from stages.core.base.files import read_text
from stages.core.base.params import settings
from stages.core.learning.dataset import SPLITS, Example, Prepared, Rejected

TASKS = (  # by number, from 1
    "one_fact",
    "two_facts",
    "three_facts",
    "two_arguments",
    "three_arguments",
    "yes_no",
    "counting",
    "lists",
    "negation",
    "indefinite",
    "coreference",
    "conjunction",
    "compound_coreference",
    "time",
    "deduction",
    "induction",
    "positions",
    "sizes",
    "paths",
    "motivations",
)
PARTS = {"train": "train", "validation": "valid", "test": "test"}  # what the published files call the splits


@settings
class Settings:
    """``tasks``: which tasks to read, by their numbers from 1 to 20."""

    tasks: list[int] = pydantic.Field(min_length=1)

    @pydantic.field_validator("tasks")
    @classmethod
    def _differ(cls, tasks: list[int]) -> list[int]:
        if not set(tasks) <= set(range(1, len(TASKS) + 1)):
            raise ValueError(f"tasks have numbers from 1 to {len(TASKS)}")
        if len(set(tasks)) < len(tasks):
            raise ValueError("a task stands there twice")
        return tasks


class _Unusable(Exception):
    """Why a row is left out."""


def prepare(raw: Path, settings: Settings) -> Prepared:
    """Read the chosen tasks; raises InputError where a file is missing, there twice, or has no usable question."""
    splits: dict[str, list[Example]] = {split: [] for split in SPLITS}
    rejected: list[Rejected] = []
    for task in settings.tasks:
        for split in SPLITS:
            path = find(raw, f"qa{task}_{PARTS[split]}.txt")
            rows = list(read(path, rejected))
            if not rows:
                raise InputError(f"{path} has no usable question; it should have rows of the bAbI format")
            kind = TASKS[task - 1]
            for number, (story, example) in enumerate(rows):
                name = {"id": f"{kind}_{split}_{number:04d}", "key": f"{kind}_{split}_{story}", "kind": kind}
                splits[split].append(name | example)
    return Prepared(splits, rejected=rejected, facts=facts(splits))


def find(raw: Path, name: str) -> Path:
    """Find the one file called ``name`` below ``raw``."""
    found = sorted(raw.rglob(name))
    if len(found) != 1:
        raise InputError(f"{raw} has {len(found)} files {name}; the sources of babi should give one")
    return found[0]


def read(path: Path, rejected: list[Rejected]) -> Iterator[tuple[int, Example]]:
    """Read the questions of a file, each with the number of its story; rows that are left out go to ``rejected``."""
    story = Story(0)
    for line, row in enumerate(read_text(path).splitlines(), start=1):
        if not row.strip():
            continue
        try:
            number, text = numbered(row)
            if number == 1:
                story = Story(story.number + 1)
            example = story.read(number, text)
        except _Unusable as reason:
            rejected.append(Rejected(str(reason), path.name, line))
            story.whole = story.whole and row.count("\t") > 0
        else:
            if example is not None:
                yield story.number, example


def numbered(row: str) -> tuple[int, str]:
    """Take a row's number off it."""
    found = re.fullmatch(r"(\d+) (.*\S.*)", row)
    if found is None:
        raise _Unusable("no number with a text")
    return int(found[1]), found[2]


class Story:
    """A story as far as it was read: its sentences, and whether none of them is lost.

    ``number`` counts the stories of a file from 1; ``place`` maps the number of a sentence's row to its index.
    """

    def __init__(self, number: int) -> None:
        self.number = number
        self.rows = 0
        self.whole = True
        self.sentences: list[str] = []
        self.place: dict[int, int] = {}

    def read(self, number: int, text: str) -> Example | None:
        """Read the row ``number``; gives an example where it is a question."""
        expected, self.rows = self.rows + 1, number
        if number != expected:
            self.whole = False
            raise _Unusable("a number out of turn")
        question, *rest = (part.strip() for part in text.split("\t"))
        if not rest:
            self.place[number] = len(self.sentences)
            self.sentences.append(question)
            return None
        if not self.whole:
            raise _Unusable("a question below a row that cannot be read")
        if len(rest) != 2 or not question or not rest[0] or not re.fullmatch(r"\d+( +\d+)*", rest[1]):
            raise _Unusable("not a question, an answer and supporting numbers")
        supporting = {int(number) for number in rest[1].split()}
        if not supporting <= self.place.keys():
            raise _Unusable("a supporting number that is no sentence above")
        indices = sorted(self.place[number] for number in supporting)
        return {"story": list(self.sentences), "question": question, "answer": rest[0], "supporting": indices}


def facts(splits: dict[str, list[Example]]) -> dict[str, dict[str, float]]:
    """Give, by kind, the mean number of sentences and the share in percent of the commonest answer over all splits,
    and how many test questions stand in the training data too, with the same story.
    """
    examples = [example for split in SPLITS for example in splits[split]]
    known = {(example["kind"], example["question"], *example["story"]) for example in splits["train"]}
    found: dict[str, dict[str, float]] = {
        "mean_sentences": {},
        "commonest_answer": {},
        "test_questions_in_training": {},
    }
    for kind in dict.fromkeys(example["kind"] for example in examples):
        mine = [example for example in examples if example["kind"] == kind]
        ((_, count),) = Counter(example["answer"] for example in mine).most_common(1)
        found["mean_sentences"][kind] = round(sum(len(example["story"]) for example in mine) / len(mine), 2)
        found["commonest_answer"][kind] = round(100 * count / len(mine), 2)
        repeated = sum((kind, ex["question"], *ex["story"]) in known for ex in splits["test"] if ex["kind"] == kind)
        if repeated:
            found["test_questions_in_training"][kind] = repeated
    return found
