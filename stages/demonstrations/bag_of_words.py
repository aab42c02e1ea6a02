"""Two sentences that a bag of words cannot tell apart, and a recurrent network can (N26, N3).

``data.bags``: the counts of each sentence; ``data.bag_distance`` and ``data.state_distance``: Euclidean distances of
the sentences' vectors as bags and as last states of an untrained GRU; ``data.same_bag``: the number of orders of these
words; ``data.distinct_states``: the number of last states that those orders leave; ``data.nearest_states``: the least
distance between two of them.
"""

from __future__ import annotations

import itertools
import math
from collections import Counter
from types import ModuleType

import pydantic
import torch
from torch import Tensor

from stages.core.base.params import settings
from stages.core.demonstration import Table, WorkedExample


@settings
class Settings:
    """Two ``sentences`` of the same words, at most 7; ``hidden`` units of the GRU, drawn by ``seed``."""

    sentences: tuple[str, str]
    hidden: int = pydantic.Field(gt=0)
    seed: int

    @pydantic.field_validator("sentences")
    @classmethod
    def _same_words(cls, sentences: tuple[str, str]) -> tuple[str, str]:
        one, other = (sorted(sentence.split()) for sentence in sentences)
        if one != other or len(one) > 7:
            raise ValueError("the two sentences should have the same words, at most 7")
        return sentences


def demonstrate(settings: Settings, gru: ModuleType) -> WorkedExample:
    """Compare the two sentences, and all orders of their words, as bags and as last states."""
    texts = [tuple(sentence.split()) for sentence in settings.sentences]
    words = sorted(set(texts[0]))
    bags = [bag(text, words) for text in texts]
    orders = sorted(set(itertools.permutations(texts[0])))
    states = last_states(gru, orders, words, settings)
    places = [orders.index(text) for text in texts]
    apart = torch.pdist(states)
    distance, nearest = float((states[places[0]] - states[places[1]]).norm()), float(apart.min())
    distinct = len({tuple(state) for state in states.tolist()})
    checks = {
        "the two bags are equal": bags[0] == bags[1],
        "so are the bags of all orders of these words": len({tuple(bag(order, words)) for order in orders}) == 1,
        "the recurrent network's last states of the two sentences differ": distance > 1e-3,
        "it leaves another state for each order": distinct == len(orders) and nearest > 0,
    }
    return WorkedExample(
        notes=["N26", "N3"],
        title="What a bag of words loses",
        text="A bag of words counts the words of a text. Two sentences that say different things may have the same "
        "counts, and then nothing that reads the counts can tell them apart. A recurrent network reads one word after "
        "the other, so its last state depends on their order, even before any training: the order is there to be used. "
        "Whether a decoder can rebuild the text from such a state, the text auto-encoders measure.",
        expected="A bag of words loses word order.",
        found=f"“{settings.sentences[0]}” and “{settings.sentences[1]}” have the same bag, as have all {len(orders)} "
        f"orders of these words; an untrained GRU of {settings.hidden} units leaves {distinct} different states, "
        f"those of the two sentences {distance:.2g} apart.",
        checks=checks,
        tables=[
            Table(
                "The two sentences as counts",
                ["sentence", *words],
                [[sentence, *counts] for sentence, counts in zip(settings.sentences, bags, strict=True)],
            )
        ],
        data={
            "sentences": list(settings.sentences),
            "bags": [dict(zip(words, counts, strict=True)) for counts in bags],
            "bag_distance": math.dist(*bags),
            "state_distance": distance,
            "same_bag": len(orders),
            "distinct_states": distinct,
            "nearest_states": nearest,
        },
    )


def bag(text: tuple[str, ...], words: list[str]) -> list[int]:
    """Count each of ``words`` in ``text``."""
    counts = Counter(text)
    return [counts[word] for word in words]


def last_states(gru: ModuleType, texts: list[tuple[str, ...]], words: list[str], settings: Settings) -> Tensor:
    """Give the last states (text, hidden) of an untrained GRU that reads ``texts``, a one-hot vector a word."""
    torch.manual_seed(settings.seed)
    network = gru.build(gru.Settings(hidden=settings.hidden), len(words)).double()
    indices = torch.tensor([[words.index(word) for word in text] for text in texts])
    inputs = torch.nn.functional.one_hot(indices, len(words)).double()
    with torch.no_grad():
        outputs, _ = network(inputs, torch.full((len(texts),), inputs.shape[1]))
    states: Tensor = outputs[:, -1]
    return states
