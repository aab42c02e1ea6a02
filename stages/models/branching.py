"""The peer of parsers: a chain, in which each word hangs on its neighbour, with each word's most frequent relation.

Right-branching trees are the baseline of parsers of English, whose heads tend to stand first: each word hangs on the
one before it, ``(root • (dobj • (p • ) ) )``. Turkish heads stand last, so left-branching is the stronger one there:
each word hangs on the one after it, ``(p (dobj (root • ) • ) • )``, but with the last word as root. Symbols are as
stages/datasets/treebank.py has them.
"""

import json
from collections import Counter, defaultdict
from typing import Literal

from stages.core.base.params import Seeded, settings
from stages.core.learning.task import Peer

OPEN, WORD, CLOSE = "(", "•", ")"
Training = Seeded


@settings
class Settings:
    """``direction``: a word hangs on the one before it ("right") or after it ("left")."""

    direction: Literal["right", "left"] = "right"


class Branching(Peer):
    """Learns the relation of each word, and that of the root; parses every sentence as a chain."""

    def __init__(self, settings: Settings) -> None:
        super().__init__()
        self.settings = settings
        self.root = ""
        self.default = ""
        self.relations: dict[str, str] = {}

    def fit(self, inputs: list[list[str]], targets: list[list[str]]) -> None:
        """Count the relations of ``inputs`` (the words of each sentence) in ``targets`` (their trees as symbols)."""
        roots: Counter[str] = Counter()
        seen: defaultdict[str, Counter[str]] = defaultdict(Counter)
        for words, symbols in zip(inputs, targets, strict=True):
            for word, (depth, relation) in zip(words, read_relations(symbols), strict=True):
                if depth == 1:
                    roots[relation] += 1
                else:
                    seen[word.lower()][relation] += 1
        self.root = _most_frequent(roots)
        self.default = _most_frequent(sum(seen.values(), Counter()) or roots)
        self.relations = {word: _most_frequent(counts) for word, counts in sorted(seen.items())}

    def convert(self, words: list[str]) -> list[str]:
        """Write the tree of ``words`` as symbols; a word that training has not seen has the most frequent relation."""
        opens = [OPEN + self.relations.get(word.lower(), self.default) for word in words]
        if self.settings.direction == "left":
            opens[-1:] = [OPEN + self.root]
            return [*reversed(opens), *[WORD, CLOSE] * len(words)]
        opens[:1] = [OPEN + self.root]
        return [*(symbol for opening in opens for symbol in (opening, WORD)), *[CLOSE] * len(words)]

    def count(self) -> int:
        """Count the words whose relation is known, the root, and what stands for all others."""
        return len(self.relations) + 2

    def dump(self) -> bytes:
        """Give the relations as JSON."""
        fitted = {"root": self.root, "default": self.default, "relations": self.relations}
        return json.dumps(fitted, ensure_ascii=False).encode()

    def restore(self, content: bytes) -> None:
        """Take what ``dump`` gave."""
        fitted = json.loads(content)
        self.root, self.default, self.relations = fitted["root"], fitted["default"], fitted["relations"]


def build(settings: Settings, size: int) -> Branching:
    """Build the peer; it reads words, so the ``size`` of a vector does not matter."""
    return Branching(settings)


def read_relations(symbols: list[str]) -> list[tuple[int, str]]:
    """Give of each word the depth of its bracket (1 for the root's) and its relation, of a well-formed tree."""
    found: list[tuple[int, str]] = []
    stack: list[str] = []
    for symbol in symbols:
        if symbol == WORD:
            found.append((len(stack), stack[-1]))
        elif symbol == CLOSE:
            stack.pop()
        else:
            stack.append(symbol.removeprefix(OPEN))
    return found


def _most_frequent(counts: Counter[str]) -> str:
    """Give the most frequent relation, of equally frequent ones the first in alphabetical order; "" where none is."""
    return min(counts, key=lambda relation: (-counts[relation], relation), default="")
