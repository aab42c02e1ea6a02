"""The priority sort task of the Neural Turing Machine paper (Graves, Wayne and Danihelka 2014, section 4.5).

Source: generated here, version 1; no licence needed. A sequence is so many vectors of ``width`` random bits, each bit 0
or 1 with equal chance, each with a priority, drawn evenly from -1 to 1 and rounded to six decimals; no two are equal.
The ``highest`` vectors are to be put out, or all where there are not so many, the highest priority first.

**Example.** ``id``; ``key``; ``length``, in vectors; ``input``, a string of bits a step: the ``width`` bits, then a
channel that is 1 in the last step alone (end), which has no vector; ``scalars``, for each step a number or none: the
priorities; ``target``, strings of ``width`` bits. The steps in which the answer is given, blank at the input, are the
task's to add.

**Splits.** Training has sequences of ``fewest`` to ``vectors`` vectors, drawn evenly, validation of ``vectors``, test
so many of each of ``test_vectors``. The key is a hash of vectors and priorities. No two splits share a sequence.
"""

from __future__ import annotations

import hashlib
from functools import partial
from random import Random

import pydantic

from stages.core.base.errors import InputError
from stages.core.base.params import settings
from stages.core.learning.dataset import Example, Prepared, draw_splits

DECIMALS = 6  # of a priority


@settings
class Settings:
    """``train`` and ``validation``: how many sequences; ``test``: how many of each of ``test_vectors`` vectors.

    They have ``vectors`` vectors of ``width`` bits, in training ``fewest`` to ``vectors``; the ``highest`` are wanted.
    Another ``seed`` gives other sequences.
    """

    seed: int
    width: int = pydantic.Field(default=8, gt=0)
    fewest: int = pydantic.Field(default=20, gt=0)
    vectors: int = pydantic.Field(default=20, gt=0, le=1000)
    highest: int = pydantic.Field(default=16, gt=0)
    train: int = pydantic.Field(gt=0)
    validation: int = pydantic.Field(gt=0)
    test: int = pydantic.Field(gt=0)
    test_vectors: list[pydantic.PositiveInt] = pydantic.Field(min_length=1)


def generate(settings: Settings) -> Prepared:
    """Draw the three splits; raises InputError where ``fewest`` is above ``vectors``."""
    if settings.fewest > settings.vectors:
        raise InputError(f"sort: fewest is {settings.fewest}, above vectors, which is {settings.vectors}")
    counts = Random(f"vectors {settings.seed}")
    wanted = {
        "train": [counts.randint(settings.fewest, settings.vectors) for _ in range(settings.train)],
        "validation": [settings.vectors] * settings.validation,
        "test": [vectors for vectors in settings.test_vectors for _ in range(settings.test)],
    }
    return Prepared(splits=draw_splits("sort", settings.seed, wanted, partial(_example, settings)))


def _example(settings: Settings, name: str, count: int, random: Random) -> Example:
    width, unit = settings.width, 10**DECIMALS
    vectors = [f"{random.getrandbits(width):0{width}b}" for _ in range(count)]
    priorities = [number / unit for number in random.sample(range(-unit, unit + 1), count)]
    ranked = sorted(zip(priorities, vectors, strict=True), reverse=True)
    shown = " ".join(f"{priority}:{vector}" for priority, vector in zip(priorities, vectors, strict=True))
    return {
        "id": name,
        "key": hashlib.sha256(shown.encode()).hexdigest()[:16],
        "length": count,
        "input": [*(f"{vector}0" for vector in vectors), f"{'0' * width}1"],
        "scalars": [*priorities, None],
        "target": [vector for _, vector in ranked[: settings.highest]],
    }
