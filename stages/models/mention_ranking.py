"""The peers of cloze readers: each candidate is ranked by its mentions, without learning what words mean."""

import json
import math
from collections import Counter
from typing import Literal

import pydantic

from stages.core.base.params import Seeded, settings
from stages.core.learning.task import Peer

Training = Seeded


@settings
class Settings:
    """``by``: how often a candidate is mentioned ("frequency"), how late ("nearness"), or how many of the question's
    words stand among the ``window`` words on either side of a mention, each weighed by how rare it is ("overlap").
    """

    by: Literal["frequency", "nearness", "overlap"]
    window: int = pydantic.Field(default=5, gt=0)


class MentionRanking(Peer):
    """Ranks candidates by a number; of equal ones, the one mentioned last comes first. Only "overlap" is fitted."""

    def __init__(self, settings: Settings) -> None:
        super().__init__()
        self.settings = settings
        self.sentences = 0
        self.stand_in: dict[str, int] = {}  # in how many sentences of training a word stands

    def fit(self, inputs: list[list[list[str]]], targets: list[str]) -> None:
        """Count in how many of the different sentences of ``inputs`` (stories of tokens) each word stands."""
        if self.settings.by == "overlap":
            told = {tuple(token.lower() for token in sentence) for story in inputs for sentence in story}
            self.sentences = len(told)
            self.stand_in = dict(sorted(Counter(word for sentence in told for word in set(sentence)).items()))

    def choose(self, story: list[list[str]], question: list[str], candidates: list[str]) -> str:
        """Give the best of ``candidates`` for the gap in ``question``; ``story`` mentions each, in whatever case."""
        asked = {token.lower() for token in question}
        ranks: dict[str, tuple[float, int]] = {candidate.lower(): (0.0, -1) for candidate in candidates}
        place = 0
        for sentence in story:
            words = [token.lower() for token in sentence]
            for index, word in enumerate(words):
                if word in ranks:
                    ranks[word] = (self._rank(ranks[word][0], words, index, asked), place)
                place += 1
        return max(candidates, key=lambda candidate: ranks[candidate.lower()])

    def _rank(self, before: float, words: list[str], index: int, asked: set[str]) -> float:
        """Give the rank of the candidate at ``index`` of ``words``, whose earlier mentions gave it ``before``."""
        if self.settings.by == "frequency":
            return before + 1
        if self.settings.by == "nearness":
            return 0.0
        reach = self.settings.window
        around = {*words[max(0, index - reach) : index], *words[index + 1 : index + 1 + reach]}
        return max(before, sum(math.log((self.sentences + 1) / (self.stand_in.get(w, 0) + 1)) for w in around & asked))

    def count(self) -> int:
        """Count the words whose frequency is known."""
        return len(self.stand_in)

    def dump(self) -> bytes:
        """Give the counts as JSON."""
        return json.dumps({"sentences": self.sentences, "stand_in": self.stand_in}, ensure_ascii=False).encode()

    def restore(self, content: bytes) -> None:
        """Take what ``dump`` gave."""
        kept = json.loads(content)
        self.sentences, self.stand_in = kept["sentences"], kept["stand_in"]


def build(settings: Settings, size: int) -> MentionRanking:
    """Build the peer; it reads words, so the ``size`` of a vector does not matter."""
    return MentionRanking(settings)
