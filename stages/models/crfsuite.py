"""A conditional random field over features written by hand (Lafferty et al. 2001), fitted by python-crfsuite.

The classic method of sequence labelling, and so the peer of its networks. A token's features are the token itself, its
shape and its affixes, those of its neighbours, and which of these lie beyond the sequence's ends.
"""

import math
import re
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pycrfsuite
import pydantic

from stages.core.base.errors import InputError
from stages.core.base.params import Seeded, settings
from stages.core.learning.task import Peer

Training = Seeded


@settings
class Settings:
    """``window`` neighbours on either side are seen, ``affix_window`` of them with prefix and suffixes.

    ``l1`` and ``l2`` weigh the penalties of the weights' absolute values and squares; ``iterations`` of L-BFGS at most.
    """

    window: int = pydantic.Field(default=2, ge=0)
    affix_window: int = pydantic.Field(default=1, ge=0)
    l1: float = pydantic.Field(default=0.1, ge=0)
    l2: float = pydantic.Field(default=0.1, ge=0)
    iterations: int = pydantic.Field(default=100, gt=0)


def shape(token: str) -> str:
    """Write capitals as X, other letters as x and digits as 0, each run of one kind as a single sign."""
    kinds = re.sub(r"\d", "0", re.sub(r"[^\W\d_]", lambda letter: "X" if letter[0].isupper() else "x", token))
    return re.sub(r"(.)\1+", r"\1", kinds)


def features(tokens: list[str], settings: Settings) -> list[list[str]]:
    """Give the features of each token, named by the offset of the token that they look at."""
    words = [re.sub(r"\d", "0", token).lower() for token in tokens]
    shapes = [shape(token) for token in tokens]

    def around(place: int) -> Iterator[str]:
        for offset in range(-settings.window, settings.window + 1):
            if not 0 <= place + offset < len(tokens):
                yield f"word[{offset}] beyond"
                continue
            word = words[place + offset]
            yield f"word[{offset}]={word}"
            yield f"shape[{offset}]={shapes[place + offset]}"
            if abs(offset) <= settings.affix_window:
                yield f"prefix3[{offset}]={word[:3]}"
                yield f"suffix3[{offset}]={word[-3:]}"
                yield f"suffix2[{offset}]={word[-2:]}"

    return [["bias", *around(place)] for place in range(len(tokens))]


class ConditionalRandomField(Peer):
    """Fitted to sequences of tokens and their tags; finds the best sequence of tags."""

    def __init__(self, settings: Settings) -> None:
        super().__init__()
        self.settings = settings
        self.tagger = pycrfsuite.Tagger()
        self.content = b""

    def fit(self, inputs: list[list[str]], targets: list[list[str]]) -> None:
        """Fit to ``inputs`` (tokens of each sequence) and ``targets`` (their tags)."""
        trainer = pycrfsuite.Trainer(algorithm="lbfgs", verbose=False)
        for tokens, tags in zip(inputs, targets, strict=True):
            trainer.append(features(tokens, self.settings), tags)
        trainer.set_params(
            {
                "c1": self.settings.l1,
                "c2": self.settings.l2,
                "max_iterations": self.settings.iterations,
                "feature.possible_transitions": True,
            }
        )
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "model"
            trainer.train(str(path))
            self.restore(path.read_bytes())

    def best_paths(self, inputs: list[list[str]], n: int) -> list[list[tuple[float, list[str]]]]:
        """Give the best tags of each sequence with their log-probability in nats; ``n`` must be 1."""
        if n > 1:
            raise InputError("python-crfsuite finds the best sequence alone: set decoder.n_best to 1")
        found = []
        for tokens in inputs:
            self.tagger.set(features(tokens, self.settings))
            tags = self.tagger.tag()
            found.append([(_log(self.tagger.probability(tags)), tags)])
        return found

    def log_probabilities(self, inputs: list[list[str]], targets: list[list[str]]) -> list[float]:
        """Give the log-probability of each sequence of tags, in nats."""
        shares = []
        for tokens, tags in zip(inputs, targets, strict=True):
            self.tagger.set(features(tokens, self.settings))
            shares.append(_log(self.tagger.probability(tags)))
        return shares

    def count(self) -> int:
        """Count the weights of features and of transitions that are not 0."""
        model = self.tagger.info()
        return len(model.state_features) + len(model.transitions)

    def dump(self) -> bytes:
        """Give crfsuite's model file."""
        return self.content

    def restore(self, content: bytes) -> None:
        """Take crfsuite's model file."""
        self.content = content
        self.tagger.open_inmemory(content)


def _log(probability: float) -> float:
    return math.log(max(probability, 1e-300))  # crfsuite gives the probability itself, which may vanish


def build(settings: Settings, input_size: int) -> ConditionalRandomField:
    """Build it, not yet fitted; it reads tokens, so ``input_size`` has no part in it."""
    return ConditionalRandomField(settings)
