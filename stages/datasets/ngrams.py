"""The dynamic n-grams task of the Neural Turing Machine paper (Graves, Wayne and Danihelka 2014, section 4.4).

Source: generated here, version 1; no licence needed. A table has for each of the 2^``context`` possible contexts, the
last ``context`` bits, the chance that the next bit is 1, drawn from Beta(1/2, 1/2): with five bits, a table of 6-grams.
A sequence begins with ``context`` bits of equal chance and goes on by its own table, which nobody is shown. Each bit
after these is to be predicted from those before it.

**Example.** ``id``; ``key``; ``length``, in bits; ``input``, the bits but the last, each a string of its own;
``target``, the bits from the first that the table decides, likewise: the answers in the last steps of the input;
``bayes_bits``, what the best possible estimate of the chances costs on ``target``: the negative log2 likelihood by
equation 10, P(1 | context) = (N1 + 1/2) / (N0 + N1 + 1), with N0 and N1 how often 0 and 1 followed the context so far.

**Splits.** Training has sequences of ``shortest`` to ``steps`` bits, drawn evenly, validation of ``steps``, test so
many of each of ``test_steps``. Each has a table of its own. The key is a hash of the bits; no two splits share one.
"""

from __future__ import annotations

import hashlib
import math
from collections import Counter
from functools import partial
from random import Random

import pydantic

from stages.core.base.errors import InputError
from stages.core.base.params import settings
from stages.core.learning.dataset import Example, Prepared, draw_splits

PRIOR = 0.5  # both parameters of the Beta distribution


@settings
class Settings:
    """``train`` and ``validation``: how many sequences; ``test``: how many of each of ``test_steps`` bits.

    They have ``steps`` bits, in training ``shortest`` to ``steps``. The last ``context`` bits decide the next one's
    chances. Another ``seed`` gives other sequences.
    """

    seed: int
    context: int = pydantic.Field(default=5, gt=0, le=16)
    shortest: int = pydantic.Field(default=200, gt=0)
    steps: int = pydantic.Field(default=200, gt=0)
    train: int = pydantic.Field(gt=0)
    validation: int = pydantic.Field(gt=0)
    test: int = pydantic.Field(gt=0)
    test_steps: list[pydantic.PositiveInt] = pydantic.Field(min_length=1)


def generate(settings: Settings) -> Prepared:
    """Draw the three splits; raises InputError where sequences are too short or too few."""
    least = min(settings.shortest, settings.steps, *settings.test_steps)
    if least <= settings.context:
        raise InputError(f"ngrams: sequences of {least} bits have none to predict after {settings.context} of context")
    if settings.shortest > settings.steps:
        raise InputError(f"ngrams: shortest is {settings.shortest}, above steps, which is {settings.steps}")
    lengths = Random(f"lengths {settings.seed}")
    wanted = {
        "validation": [settings.steps] * settings.validation,
        "test": [steps for steps in settings.test_steps for _ in range(settings.test)],
        "train": [lengths.randint(settings.shortest, settings.steps) for _ in range(settings.train)],
    }
    return Prepared(splits=draw_splits("ngrams", settings.seed, wanted, partial(_example, settings.context)))


def bayes_bits(bits: str, context: int) -> float:
    """Give what the best possible estimate costs on ``bits``, in bits, the first ``context`` of them not counted."""
    seen: Counter[str] = Counter()
    cost = 0.0
    for end in range(context, len(bits)):
        before, gram = bits[end - context : end], bits[end - context : end + 1]
        cost -= math.log2((seen[gram] + PRIOR) / (seen[before + "0"] + seen[before + "1"] + 2 * PRIOR))
        seen[gram] += 1
    return cost


def _example(context: int, name: str, steps: int, random: Random) -> Example:
    table = [random.betavariate(PRIOR, PRIOR) for _ in range(2**context)]
    bits = f"{random.getrandbits(context):0{context}b}"
    while len(bits) < steps:
        bits += "1" if random.random() < table[int(bits[-context:], 2)] else "0"
    return {
        "id": name,
        "key": hashlib.sha256(bits.encode()).hexdigest()[:16],
        "length": steps,
        "input": list(bits[:-1]),
        "target": list(bits[context:]),
        "bayes_bits": round(bayes_bits(bits, context), 6),
    }
