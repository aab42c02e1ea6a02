"""The repeat copy task of the Neural Turing Machine paper (Graves, Wayne and Danihelka 2014, section 4.2).

Source: generated here, version 1; no licence needed. A sequence is so many vectors of ``width`` random bits, each bit
0 or 1 with equal chance, and the number of times that they are to be put out, one copy after the other; then an end
mark is to be put out.

**Example.** ``id``; ``key``; ``length``, in vectors; ``repeats``; ``range``, see below; ``input``, a string of bits a
step: the ``width`` bits, then two channels, of which the first is 1 in the first step alone (start) and the second in
the last alone (end); ``scalars``, for each step a number or none: the repeats in the last one; ``target``, strings of
``width`` bits and one more, the end mark, which is 1 in the last alone. That the repeats get mean 0 and variance 1, as
in the paper, is the task's to do, and so are the steps of the answer, blank at the input.

**Splits.** Training and validation have lengths and repeats drawn evenly up to ``longest`` and ``most_repeats``. Test
has these ("in_range"), and beyond them ``longest`` vectors with each of ``test_repeats`` ("20_repeats") and each of
``test_lengths`` with ``most_repeats`` ("20_vectors"). The key is a hash of vectors and repeats. Validation and test are
drawn first, each sequence once. Training has none of theirs, but may have one of its own more than once.
"""

from __future__ import annotations

import hashlib
from functools import partial
from random import Random
from typing import NamedTuple

import pydantic

from stages.core.base.params import settings
from stages.core.learning.dataset import Example, Prepared, draw_splits


@settings
class Settings:
    """``train`` and ``validation``: how many sequences; ``test``: how many of each range.

    Sequences have 1 to ``longest`` vectors of ``width`` bits, to be put out 1 to ``most_repeats`` times; those of
    ``test_repeats`` and ``test_lengths`` lie beyond. Another ``seed`` gives other sequences.
    """

    seed: int
    width: int = pydantic.Field(default=8, gt=0)
    longest: int = pydantic.Field(default=10, gt=0)
    most_repeats: int = pydantic.Field(default=10, gt=1)
    train: int = pydantic.Field(gt=0)
    validation: int = pydantic.Field(gt=0)
    test: int = pydantic.Field(gt=0)
    test_repeats: list[pydantic.PositiveInt]
    test_lengths: list[pydantic.PositiveInt]


class Range(NamedTuple):
    """What sequences are drawn: lengths and repeats from the least to the most."""

    name: str
    length: tuple[int, int]
    repeats: tuple[int, int]


def generate(settings: Settings) -> Prepared:
    """Draw the three splits; raises InputError where there are too few sequences to keep them apart."""
    longest, most = settings.longest, settings.most_repeats
    within = Range("in_range", (1, longest), (1, most))
    beyond = [Range(f"{count}_repeats", (longest, longest), (count, count)) for count in settings.test_repeats]
    beyond += [Range(f"{length}_vectors", (length, length), (most, most)) for length in settings.test_lengths]
    wanted = {
        "train": [within] * settings.train,
        "validation": [within] * settings.validation,
        "test": [drawn for drawn in (within, *beyond) for _ in range(settings.test)],
    }
    return Prepared(splits=draw_splits("repeat_copy", settings.seed, wanted, partial(_example, settings.width)))


def _example(width: int, name: str, drawn: Range, random: Random) -> Example:
    length, repeats = random.randint(*drawn.length), random.randint(*drawn.repeats)
    vectors = [f"{random.getrandbits(width):0{width}b}" for _ in range(length)]
    blank = "0" * width
    return {
        "id": name,
        "key": hashlib.sha256(f"{' '.join(vectors)} x {repeats}".encode()).hexdigest()[:16],
        "length": length,
        "repeats": repeats,
        "range": drawn.name,
        "input": [f"{blank}10", *(f"{vector}00" for vector in vectors), f"{blank}01"],
        "scalars": [None] * (length + 1) + [repeats],
        "target": [f"{vector}0" for vector in vectors] * repeats + [f"{blank}1"],
    }
