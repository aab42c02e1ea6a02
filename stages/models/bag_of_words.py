"""Bag of words: a text's vector counts its words, and says nothing about their order (N26).

To write a text again from the counts, its words are put into the order that is most probable by the bigrams of the
training texts: p(w | v) = s c(v, w) / c(v) + (1 - s) c(w) / c, found by beam search. A word that training has not is
not counted, so it is lost.
"""

import json
import math
from collections import Counter
from collections.abc import Iterator
from itertools import pairwise

import pydantic

from stages.core.base.params import Seeded, settings
from stages.core.learning.task import Peer

Training = Seeded
Bag = dict[str, int]
# Of a text: log-probability, words, and how many of each word are left.
Beginning = tuple[float, tuple[str, ...], tuple[int, ...]]
EDGE = ""  # before a text's first word and after its last


@settings
class Settings:
    """``share``: s above, from 0 to 1. ``beam``: how many beginnings of a text are kept at each step."""

    share: float = pydantic.Field(default=0.9, ge=0, lt=1)
    beam: int = pydantic.Field(default=16, gt=0)


class BagOfWords(Peer):
    """Fitted to the words of texts; knows which there are, and which follow each other how often."""

    def __init__(self, settings: Settings) -> None:
        super().__init__()
        self.settings = settings
        self._take({})

    def fit(self, inputs: list[list[str]], targets: list[list[str]]) -> None:
        """Count the words of the texts ``inputs``, and their pairs; the ``targets`` are the same."""
        pairs: dict[str, Counter[str]] = {}
        for text in targets:
            for before, word in pairwise([EDGE, *text, EDGE]):
                pairs.setdefault(before, Counter())[word] += 1
        self._take(pairs)

    def _take(self, pairs: dict[str, Counter[str]]) -> None:
        self.pairs = pairs
        self.followed = {before: followers.total() for before, followers in pairs.items()}
        self.words: Counter[str] = Counter()
        for followers in pairs.values():
            self.words.update(followers)
        self.total = self.words.total()

    def encode(self, text: list[str]) -> Bag:
        """Count the known words of ``text``: its vector, without the zeros, words in alphabetical order."""
        counts = Counter(word for word in text if word in self.words)
        return {word: counts[word] for word in sorted(counts)}

    def write(self, bag: Bag) -> list[str]:
        """Put the words of ``bag`` into their most probable order."""
        places = sorted(bag)
        logs = {before: [self._log(before, word) for word in places] for before in (EDGE, *places)}
        beginnings: list[Beginning] = [(0.0, (EDGE,), tuple(bag[word] for word in places))]
        for _ in range(sum(bag.values())):
            grown: dict[tuple[str, tuple[int, ...]], Beginning] = {}
            for score, text, left in beginnings:
                for longer in _extend(score, text, left, places, logs[text[-1]]):
                    # Of two beginnings with the same words and the same last one, the worse can never win.
                    state = (longer[1][-1], longer[2])
                    if state not in grown or grown[state] < longer:
                        grown[state] = longer
            beginnings = sorted(grown.values(), reverse=True)[: self.settings.beam]
        best = max((score + self._log(text[-1], EDGE), text) for score, text, _ in beginnings)
        return list(best[1][1:])

    def log_probability(self, text: list[str]) -> float:
        """Give the log-probability of ``text`` by bigrams, in nats: what is known of an order without any vector."""
        return math.fsum(self._log(before, word) for before, word in pairwise([EDGE, *text, EDGE]))

    def _log(self, before: str, word: str) -> float:
        followers = self.pairs.get(before)
        seen = followers[word] / self.followed[before] if followers else 0.0
        # One more of each kind, and one for what training has not.
        alone = (self.words[word] + 1) / (self.total + len(self.words) + 1)
        return math.log(self.settings.share * seen + (1 - self.settings.share) * alone)

    def count(self) -> int:
        """Count the numbers of pairs."""
        return sum(map(len, self.pairs.values()))

    def dump(self) -> bytes:
        """Give the pairs and their counts as JSON."""
        return json.dumps(self.pairs, ensure_ascii=False).encode()

    def restore(self, content: bytes) -> None:
        """Take what ``dump`` gave."""
        self._take({before: Counter(followers) for before, followers in json.loads(content).items()})


def _extend(
    score: float, text: tuple[str, ...], left: tuple[int, ...], places: list[str], logs: list[float]
) -> Iterator[Beginning]:
    """Put each word that is left behind ``text``; ``logs``: the log-probability of each of ``places`` there."""
    for place, count in enumerate(left):
        if count:
            rest = (*left[:place], count - 1, *left[place + 1 :])
            yield score + logs[place], (*text, places[place]), rest


def build(settings: Settings, input_size: int) -> BagOfWords:
    """Build it, not yet fitted; it reads words, so ``input_size`` has no part in it."""
    return BagOfWords(settings)
