"""The copy task of the Neural Turing Machine paper (Graves, Wayne and Danihelka 2014, section 4.1).

Source: generated here, version 1; no licence needed. A sequence is so many vectors of ``width`` random bits, each bit
0 or 1 with equal chance. The model sees a start mark, the vectors and an end mark; then it must give the vectors again.

**Example.** ``id``; ``key``; ``length``, in vectors; ``input``, a string of bits a step: the ``width`` bits, then two
channels, of which the first is 1 in the first step alone (start) and the second in the last alone (end); ``target``,
strings of ``width`` bits. The steps in which the answer is given, blank at the input, are the task's to add.

**Splits.** Lengths in the training split are drawn evenly from a range; in the two others each length has its count,
so that generalisation to longer sequences is tested. The key is a hash of the sequence. Validation and test are drawn
first, each sequence once, and training has none of theirs, but may have one of its own more than once: of length 1
there are but 256. Those lengths are refused in validation and test, where the sequences are fewer than a thousand
times what is asked for.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from functools import partial
from random import Random

import pydantic

from stages.core.base.errors import InputError
from stages.core.base.params import settings
from stages.core.learning.dataset import Example, Prepared, draw_splits

CHANNELS = 2  # start and end
SPARE = 1000  # how many sequences of a length there must be for each one in validation and test


@settings
class Settings:
    """``train``: how many sequences, their lengths drawn evenly from ``shortest`` to ``longest`` vectors.

    ``validation`` and ``test``: how many sequences of each of ``validation_lengths`` and ``test_lengths``.
    ``width``: bits in a vector. Another ``seed`` gives other sequences.
    """

    seed: int
    width: int = pydantic.Field(default=8, gt=0)
    shortest: int = pydantic.Field(default=1, gt=0)
    longest: int = pydantic.Field(default=20, gt=0)
    train: int = pydantic.Field(gt=0)
    validation: int = pydantic.Field(gt=0)
    validation_lengths: list[pydantic.PositiveInt] = pydantic.Field(min_length=1)
    test: int = pydantic.Field(gt=0)
    test_lengths: list[pydantic.PositiveInt] = pydantic.Field(min_length=1)


def generate(settings: Settings) -> Prepared:
    """Draw the three splits; raises InputError where ``settings`` asks for lengths that it can't have."""
    _check(settings)
    lengths = Random(f"lengths {settings.seed}")
    wanted = {
        "train": [lengths.randint(settings.shortest, settings.longest) for _ in range(settings.train)],
        "validation": [length for length in settings.validation_lengths for _ in range(settings.validation)],
        "test": [length for length in settings.test_lengths for _ in range(settings.test)],
    }
    splits = draw_splits("copy", settings.seed, wanted, partial(_example, settings.width))
    facts = {
        "sequences_by_length": {
            split: {str(length): count for length, count in sorted(Counter(wanted[split]).items())} for split in wanted
        },
        "distinct_training_sequences": len({example["key"] for example in splits["train"]}),
    }
    return Prepared(splits=splits, facts=facts)


def _check(settings: Settings) -> None:
    if settings.shortest > settings.longest:
        raise InputError(f"copy: shortest is {settings.shortest}, above longest, which is {settings.longest}")
    for split, count in (("validation", settings.validation), ("test", settings.test)):
        for length in getattr(settings, f"{split}_lengths"):
            possible = 2 ** (length * settings.width)
            if possible < SPARE * count:
                raise InputError(
                    f"copy: {split}_lengths has {length}, but there are only {possible} sequences of so many "
                    f"vectors of {settings.width} bits, too few to keep {count} of them out of training"
                )


def _example(width: int, name: str, length: int, random: Random) -> Example:
    vectors = [f"{random.getrandbits(width):0{width}b}" for _ in range(length)]
    return {
        "id": name,
        "key": hashlib.sha256(" ".join(vectors).encode()).hexdigest()[:16],
        "length": length,
        "input": [f"{'0' * width}10", *(f"{vector}00" for vector in vectors), f"{'0' * width}01"],
        "target": vectors,
    }
