"""The associative recall task of the Neural Turing Machine paper (Graves, Wayne and Danihelka 2014, section 4.3).

Source: generated here, version 1; no licence needed. An item is ``vectors`` vectors of ``width`` random bits, each bit
0 or 1 with equal chance; no two items of a sequence are equal. After some items one of them, but not the last, is shown
again as the query, and the item that followed it is to be put out.

**Example.** ``id``; ``key``; ``length``, in items; ``query``, the place of the item asked for, from 0; ``input``, a
string of bits a step: the ``width`` bits, then two channels, of which the first is 1 in the step before each item, and
the second in the steps before and after the query; ``target``, strings of ``width`` bits. The steps in which the answer
is given, blank at the input, are the task's to add.

**Splits.** Training has sequences of ``fewest`` to ``most`` items, drawn evenly, validation and test so many of each of
their own numbers of items. The key is a hash of items and query. No two splits share a sequence.
"""

from __future__ import annotations

import hashlib
from functools import partial
from random import Random
from typing import Annotated

import pydantic

from stages.core.base.errors import InputError
from stages.core.base.params import settings
from stages.core.learning.dataset import Example, Prepared, draw_splits

Items = Annotated[int, pydantic.Field(ge=2)]  # the query is never the last


@settings
class Settings:
    """``train``: how many sequences, their items drawn evenly from ``fewest`` to ``most``.

    ``validation`` and ``test``: how many sequences of each of ``validation_items`` and ``test_items``. An item has
    ``vectors`` vectors of ``width`` bits. Another ``seed`` gives other sequences.
    """

    seed: int
    width: int = pydantic.Field(default=6, gt=0)
    vectors: int = pydantic.Field(default=3, gt=0)
    fewest: Items = 2
    most: Items = 6
    train: int = pydantic.Field(gt=0)
    validation: int = pydantic.Field(gt=0)
    validation_items: list[Items] = pydantic.Field(min_length=1)
    test: int = pydantic.Field(gt=0)
    test_items: list[Items] = pydantic.Field(min_length=1)


def generate(settings: Settings) -> Prepared:
    """Draw the three splits; raises InputError where ``settings`` ask for what there is not."""
    most = max(settings.most, *settings.validation_items, *settings.test_items)
    if settings.fewest > settings.most:
        raise InputError(f"recall: fewest is {settings.fewest}, above most, which is {settings.most}")
    if most > 2 ** (settings.width * settings.vectors):
        raise InputError(
            f"recall: a sequence has up to {most} different items, but there are only "
            f"{2 ** (settings.width * settings.vectors)} of {settings.vectors} vectors of {settings.width} bits"
        )
    counts = Random(f"items {settings.seed}")
    wanted = {
        "train": [counts.randint(settings.fewest, settings.most) for _ in range(settings.train)],
        "validation": [items for items in settings.validation_items for _ in range(settings.validation)],
        "test": [items for items in settings.test_items for _ in range(settings.test)],
    }
    return Prepared(splits=draw_splits("recall", settings.seed, wanted, partial(_example, settings)))


def _example(settings: Settings, name: str, count: int, random: Random) -> Example:
    width, size = settings.width, settings.width * settings.vectors
    drawn = [f"{number:0{size}b}" for number in random.sample(range(2**size), count)]
    items = [[item[start : start + width] for start in range(0, size, width)] for item in drawn]
    query, blank = random.randrange(count - 1), "0" * width
    shown = [[f"{blank}10", *(f"{vector}00" for vector in item)] for item in items]
    asked = [f"{blank}01", *(f"{vector}00" for vector in items[query]), f"{blank}01"]
    return {
        "id": name,
        "key": hashlib.sha256(f"{' '.join(drawn)} ? {query}".encode()).hexdigest()[:16],
        "length": count,
        "query": query,
        "input": [*(step for item in shown for step in item), *asked],
        "target": items[query + 1],
    }
