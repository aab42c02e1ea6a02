"""The recurrent entity network: the paper's equations, one block and one sentence at a time."""

from functools import partial

import pytest
import torch
from torch import Tensor

from stages.core.learning.batch import Padded, pad
from stages.core.learning.dataset import Example
from stages.datasets import stories
from stages.models import entity_network
from stages.tasks import reading_comprehension
from stages.tasks.reading_comprehension import ReadingComprehension


def network(words: int = 4) -> entity_network.EntityNetwork:
    torch.manual_seed(0)
    model = entity_network.build(entity_network.Settings(blocks=3, embedding_size=5, words=words), 12)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.5 * torch.randn_like(parameter))
    return model.double().eval()


def some_batch() -> tuple[Padded, Padded, Padded]:
    """Four unique sentences, three stories of 4, 1 and 2 of them, questions of 3, 1 and 2 words."""
    sentences = pad([torch.tensor([2, 3, 4]), torch.tensor([5]), torch.tensor([6, 7, 8, 9, 10]), torch.tensor([3, 3])])
    story = pad([torch.tensor([0, 2, 1, 0]), torch.tensor([3]), torch.tensor([1, 2])])
    return sentences, story, pad([torch.tensor([1, 2, 3]), torch.tensor([4]), torch.tensor([11, 5])])


def by_the_equations(
    model: entity_network.EntityNetwork, story: list[Tensor], question: Tensor
) -> tuple[Tensor, Tensor]:
    """Scores of one story and what its sentences wrote, as the paper's equations 1 to 6 say."""
    U, V, W, H, R = (getattr(model, name).detach() for name in "UVWHR")
    keys, slopes = model.keys.detach(), model.slopes.detach()

    def encode(words: Tensor) -> Tensor:
        masks = [model.mask[min(i, len(model.mask) - 1)] for i in range(len(words))]
        return sum((f * model.embedding[word] for f, word in zip(masks, words, strict=True)), torch.zeros(5)).detach()

    def phi(values: Tensor, slope: Tensor) -> Tensor:
        return torch.where(values > 0, values, slope * values)

    h = [key.clone() for key in keys]
    gates = torch.zeros(len(story), len(keys), dtype=torch.float64)
    for t, words in enumerate(story):
        s = encode(words)
        for j, w in enumerate(keys):
            g = torch.sigmoid(s @ h[j] + s @ w)
            candidate = phi(U @ h[j] + V @ w + W @ s, slopes[0])
            h[j] = h[j] + g * candidate
            h[j] = h[j] / h[j].norm()
            gates[t, j] = g
    q = encode(question)
    p = torch.stack([q @ block for block in h]).softmax(dim=0)
    u = sum((weight * block for weight, block in zip(p, h, strict=True)), torch.zeros(5))
    return R @ phi(q + H @ u, slopes[1]), gates @ p


def test_scores_and_gates_are_those_of_the_papers_equations() -> None:
    model = network()
    sentences, story, question = some_batch()
    scores, attention = model(sentences, story, question)
    words = [sentences.values[i, : sentences.lengths[i]] for i in range(4)]
    for row, told in enumerate(([0, 2, 1, 0], [3], [1, 2])):
        asked = question.values[row, : question.lengths[row]]
        expected, written = by_the_equations(model, [words[i] for i in told], asked)
        torch.testing.assert_close(scores[row], expected)
        torch.testing.assert_close(attention[row, 0, : len(told)], written)
        assert (attention[row, 0, len(told) :] == 0).all()


def test_the_order_of_words_and_of_sentences_counts() -> None:
    model, (sentences, story, question) = network(), some_batch()
    scores, _ = model(sentences, story, question)
    turned = Padded(sentences.values.clone(), sentences.lengths)
    turned.values[2, :5] = turned.values[2, :5].flip(0)
    assert not torch.allclose(model(turned, story, question)[0][0], scores[0])
    other = Padded(story.values.clone(), story.lengths)
    other.values[2, :2] = other.values[2, :2].flip(0)
    assert not torch.allclose(model(sentences, other, question)[0][2], scores[2])


def test_phi_is_the_identity_at_first() -> None:
    model = entity_network.build(entity_network.Settings(blocks=2, embedding_size=3, words=2), 4)
    values = torch.tensor([-2.0, 0.0, 3.0])
    assert model._phi(values, model.slopes[0]).tolist() == [-2, 0, 3]
    assert model._phi(values, torch.tensor(0.25)).tolist() == [-0.5, 0, 3]


def test_gradients_are_right() -> None:
    model, batch = network(), some_batch()
    names, parameters = zip(*model.named_parameters(), strict=True)

    def scores(*values: Tensor) -> Tensor:
        return torch.func.functional_call(model, dict(zip(names, values, strict=True)), batch)[0]

    assert torch.autograd.gradcheck(scores, parameters)


@pytest.fixture(scope="module")
def examples() -> list[Example]:
    settings = stories.Settings(seed=5, kinds=["one_fact", "yes_no"], train=16, validation=2, test=2)
    return stories.generate(settings).splits["train"]


def reading(examples: list[Example]) -> ReadingComprehension:
    torch.manual_seed(0)
    settings = reading_comprehension.Settings(linear_start=0)
    model = entity_network.Settings(blocks=6, embedding_size=32, words=10)
    vocabularies = reading_comprehension.fit_vocabularies(examples, settings)
    return reading_comprehension.build(settings, vocabularies, partial(entity_network.build, model))


def test_padding_changes_nothing(examples: list[Example]) -> None:
    task = reading(examples).eval()
    together = task.collate(examples[10:22])
    for number, example in enumerate(examples[10:22]):
        alone = task.collate([example])
        torch.testing.assert_close(task.log_probabilities(alone)[0], task.log_probabilities(together)[number])


def test_one_batch_is_learnt_by_heart(examples: list[Example]) -> None:
    task = reading(examples)
    batch = task.collate(examples)
    assert float(task.eval().loss(batch)[0].detach()) > 1
    optimizer = torch.optim.Adam(task.train().parameters(), lr=1e-2)
    for _ in range(150):
        optimizer.zero_grad()
        task.loss(batch)[0].backward()
        torch.nn.utils.clip_grad_norm_(task.parameters(), 5.0)
        optimizer.step()
    assert float(task.eval().loss(batch)[0].detach()) < 0.1
