"""A reading head that looks at three sentences, once and twice, with vectors set by hand (N29, N24).

``data.attention``: the weights (hop, sentence) of the memory network; ``by_hand``: the same by plain arithmetic;
``difference``: the largest between the two; ``answers.<hops>``: the probability of each answer after one and two hops;
``states``: the controller's vector (hop, dimension), first as the question has it.
"""

from __future__ import annotations

import math
from types import ModuleType

import pydantic
import torch
from torch import Tensor

from stages.core.base.params import settings
from stages.core.demonstration import Table, WorkedExample
from stages.core.learning.batch import Padded

SENTENCES = ("Mary took the apple.", "Mary went to the garden.", "John went to the kitchen.")
QUESTION = "Where is the apple?"
ANSWERS = ("garden", "kitchen")
DIMENSIONS = ("apple", "Mary", "John", "garden", "kitchen")
Rows = list[list[float]]


@settings
class Settings:
    """How far a vector reaches along its dimension: the ``question`` along “apple”, a ``link`` from a sentence to the
    person it names, and the ``place`` a sentence names.
    """

    question: float = pydantic.Field(default=6.0, gt=0)
    link: float = pydantic.Field(default=2.0, gt=0)
    place: float = pydantic.Field(default=5.0, gt=0)


def demonstrate(settings: Settings, memory_network: ModuleType) -> WorkedExample:
    """Answer the question by two hops and by one, in the memory network and by hand."""
    tables = vectors(settings)
    attention, answers = {}, {}
    for hops in (1, 2):
        attention[hops], answers[hops] = by_network(memory_network, tables[: hops + 1])
    hand, states = by_hand(tables)
    difference = max(abs(a - b) for rows in zip(attention[2], hand, strict=True) for a, b in zip(*rows, strict=True))
    looked = [max(range(len(SENTENCES)), key=row.__getitem__) for row in attention[2]]
    checks = {
        "our memory network agrees with the arithmetic": difference < 1e-9,
        "the weights of each hop sum to 1": all(math.isclose(sum(row), 1, abs_tol=1e-9) for row in attention[2]),
        "the first hop looks at the sentence with the apple, the second at the person who took it": looked == [0, 1],
        "one hop does not know the place": math.isclose(answers[1]["garden"], answers[1]["kitchen"], abs_tol=1e-9),
        "two hops answer “garden”": answers[2]["garden"] > 0.9,
    }
    return WorkedExample(
        notes=["N29", "N24"],
        title="Attention, one look and two",
        text=f"Three sentences stand in memory, and the question is “{QUESTION}” No sentence answers it alone. A look "
        "compares the controller's vector u with each sentence's address by an inner product, a softmax makes "
        "weights of the scores, and the weighted sum of what the sentences hold is added to u. The first look finds "
        "who took the apple and moves u towards that person; the second finds where the person went. The same look "
        "over the states of an encoder is what a translating decoder's attention does. The vectors are set by hand, "
        "so that every number can be followed; the network is the one that the stories train.",
        expected="A controller moves a reading head over the sentences, more than once, then answers.",
        found=f"The first hop puts {attention[2][0][0]:.1%} on “{SENTENCES[0]}”, the second {attention[2][1][1]:.1%} "
        f"on “{SENTENCES[1]}” After two hops “garden” has {answers[2]['garden']:.1%}, after one hop "
        f"{answers[1]['garden']:.1%}.",
        checks=checks,
        tables=[
            Table(
                "Weights of each hop",
                ["sentence", "hop 1", "hop 2"],
                [
                    [sentence, *(f"{row[place]:.4f}" for row in attention[2])]
                    for place, sentence in enumerate(SENTENCES)
                ],
            ),
            Table(
                "The controller's vector u before the first hop and after each",
                ["u", *DIMENSIONS],
                [
                    [name, *(f"{value:.3f}" for value in state)]
                    for name, state in zip(("question", "after hop 1", "after hop 2"), states, strict=True)
                ],
            ),
        ],
        data={
            "attention": attention[2],
            "by_hand": hand,
            "difference": difference,
            "answers": {str(hops): chances for hops, chances in answers.items()},
            "states": states,
            "sentences": list(SENTENCES),
        },
    )


def vectors(settings: Settings) -> list[Rows]:
    """Set the tables A1, C1 = A2 and C2 (row, dimension); rows are the sentences, the question and the answers.

    What the first sentence holds takes the apple off u and puts Mary there: a second look for the apple would find
    the same sentence again.
    """
    q, link, place = settings.question, settings.link, settings.place
    zero = [0.0] * len(DIMENSIONS)
    apple, mary, john, garden, kitchen = (_axis(d) for d in range(len(DIMENSIONS)))
    took = [link * (m - a) for a, m in zip(apple, mary, strict=True)]
    return [
        [apple, mary, john, _scaled(q, apple), zero, zero],
        [took, _scaled(link, mary), _scaled(link, john), zero, zero, zero],
        [zero, _scaled(place, garden), _scaled(place, kitchen), zero, garden, kitchen],
    ]


def by_network(memory_network: ModuleType, tables: list[Rows]) -> tuple[Rows, dict[str, float]]:
    """Ask our memory network; gives its attention (hop, sentence), and the probability of each answer."""
    hops, rows = len(tables) - 1, len(tables[0])
    made = memory_network.Settings(hops=hops, embedding_size=len(DIMENSIONS), times=len(SENTENCES), time_noise=0.0)
    network = memory_network.build(made, rows).double().eval()
    with torch.no_grad():
        network.embedding.copy_(torch.tensor(tables))
        network.temporal.zero_()
        one = torch.ones(len(SENTENCES), dtype=torch.int64)
        sentences = Padded(torch.arange(len(SENTENCES))[:, None], one)  # each a single symbol, its own row
        story = Padded(torch.arange(len(SENTENCES))[None], torch.tensor([len(SENTENCES)]))
        question = Padded(torch.tensor([[len(SENTENCES)]]), one[:1])
        scores, attention = network(sentences, story, question)
    chances: Tensor = scores[0, -len(ANSWERS) :].softmax(dim=0)
    looks: Rows = attention[0].tolist()
    return looks, dict(zip(ANSWERS, chances.tolist(), strict=True))


def by_hand(tables: list[Rows]) -> tuple[Rows, Rows]:
    """Give the attention (hop, sentence) and the controller's vector before and after each hop, by arithmetic."""
    u = tables[0][len(SENTENCES)]
    looks, states = [], [u]
    for addresses, contents in zip(tables, tables[1:], strict=False):
        scores = [math.exp(sum(a * b for a, b in zip(u, addresses[s], strict=True))) for s in range(len(SENTENCES))]
        weights = [score / sum(scores) for score in scores]
        u = [u[d] + sum(w * contents[s][d] for s, w in enumerate(weights)) for d in range(len(u))]
        looks.append(weights)
        states.append(u)
    return looks, states


def _axis(dimension: int) -> list[float]:
    return [float(dimension == d) for d in range(len(DIMENSIONS))]


def _scaled(length: float, vector: list[float]) -> list[float]:
    return [length * value for value in vector]
