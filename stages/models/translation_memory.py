"""A translation memory, the peer of translation: the target of the training example whose source is nearest.

Nearest is the highest word-level fuzzy match, 1 - (Levenshtein distance in words) / (words of the longer side), as
translators' tools have it; letters are lower-cased, every number is one word, punctuation goes. This is the similarity
to training that stages/datasets/messages.py gives its examples. Of equally near sources the first in training wins.
"""

import json
import re
from collections import defaultdict
from typing import NamedTuple

import numpy as np
from rapidfuzz.distance import Levenshtein

from stages.core.base.params import Seeded, settings
from stages.core.learning.task import Peer

Training = Seeded


@settings
class Settings:
    """It has none."""


class Match(NamedTuple):
    """What was found: the ``target`` and ``source`` of a training example as symbols; ``similarity`` from 0 to 1."""

    target: list[str]
    similarity: float
    source: list[str]


class TranslationMemory(Peer):
    """Keeps the training examples, and finds the nearest one exactly.

    Where an example holds k words of a source, the two are at least (words of the longer side) - k apart. An inverted
    index counts k for all examples at once, and so bounds every match; examples are compared from the highest bound on,
    until none can be nearer.
    """

    def __init__(self) -> None:
        super().__init__()
        self.sources: list[list[str]] = []
        self.targets: list[list[str]] = []
        self.forms: list[list[str]] = []
        self.lengths = np.zeros(0, dtype=np.int64)
        self.holders: dict[str, np.ndarray] = {}  # of a word the examples that hold it

    def fit(self, inputs: list[list[str]], targets: list[list[str]]) -> None:
        """Keep ``inputs`` (the words of each source) and ``targets`` (their translations as symbols)."""
        pairs = list(zip(inputs, targets, strict=True))
        self.sources, self.targets = [source for source, _ in pairs], [target for _, target in pairs]
        self.forms = [normal_form(source) for source in self.sources]
        self.lengths = np.array([len(form) for form in self.forms], dtype=np.int64)
        holders: defaultdict[str, list[int]] = defaultdict(list)
        for index, form in enumerate(self.forms):
            for word in dict.fromkeys(form):
                holders[word].append(index)
        self.holders = {word: np.array(indices) for word, indices in holders.items()}

    def translate(self, inputs: list[list[str]]) -> list[Match]:
        """Find the nearest example of each of ``inputs`` (the words of a source); one that shares no word has 0."""
        found = [self._nearest(normal_form(words)) for words in inputs]
        return [Match(self.targets[index], similarity, self.sources[index]) for index, similarity in found]

    def convert(self, words: list[str]) -> list[str]:
        """Give the target of the example nearest to ``words`` as symbols, under the name that peers of sequences share.

        For many sources and for their similarities there is ``translate``.
        """
        return self.translate([words])[0].target

    def _nearest(self, form: list[str]) -> tuple[int, float]:
        shared = np.zeros(len(self.forms), dtype=np.int64)
        for word in form:
            shared[self.holders.get(word, [])] += 1
        bounds = shared / np.maximum(self.lengths, len(form)).clip(min=1)
        place, best = 0, 0.0
        for index in np.argsort(-bounds, kind="stable").tolist():
            if bounds[index] < best or (bounds[index] == best and index > place):
                break
            longer = max(len(self.forms[index]), len(form), 1)
            # A quotient of integers as the bound is, so that equal ones are equal to the bit.
            similarity = (longer - Levenshtein.distance(form, self.forms[index])) / longer
            if similarity > best or (similarity == best and index < place):
                place, best = index, similarity
        return place, best

    def count(self) -> int:
        """Count the examples kept."""
        return len(self.sources)

    def dump(self) -> bytes:
        """Give the examples as JSON."""
        return json.dumps({"sources": self.sources, "targets": self.targets}, ensure_ascii=False).encode()

    def restore(self, content: bytes) -> None:
        """Take what ``dump`` gave."""
        kept = json.loads(content)
        self.fit(kept["sources"], kept["targets"])


def build(settings: Settings, size: int) -> TranslationMemory:
    """Build the peer; it reads words, so the ``size`` of a vector does not matter."""
    return TranslationMemory()


def normal_form(words: list[str]) -> list[str]:
    """Give lower-cased words with every number as 0 and without punctuation: what sources are compared by."""
    found = re.findall(r"[^\W\d_]+|\d+", " ".join(words).lower())
    return ["0" if word.isdigit() else word for word in found]
