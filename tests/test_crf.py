"""The conditional random field against brute force: every path, its score, their sum, their order."""

import itertools

import pytest
import torch
from torch import Tensor

from stages.core.base.errors import InputError
from stages.core.learning.task import Training
from stages.core.trainer import build_optimizer
from stages.decoding import viterbi
from stages.models import jordan, lstm
from stages.tasks import sequence_labelling
from stages.tasks.sequence_labelling import ConditionalRandomField

TAGS = ["O", "B-x", "I-x", "B-y", "I-y"]
LENGTHS = torch.tensor([4, 1, 3])


@pytest.fixture
def field() -> ConditionalRandomField:
    torch.manual_seed(1)
    field = ConditionalRandomField(TAGS).double()
    for parameter in field.parameters():
        torch.nn.init.normal_(parameter)
    return field


@pytest.fixture
def emissions() -> Tensor:
    return 2 * torch.randn(3, 4, len(TAGS), dtype=torch.float64, generator=torch.Generator().manual_seed(2))


def allowed(path: tuple[int, ...]) -> bool:
    """BIO by definition."""
    names = ["O", *(TAGS[tag] for tag in path)]
    return all(not tag.startswith("I-") or last in (f"B{tag[1:]}", tag) for last, tag in itertools.pairwise(names))


def enumerated(field: ConditionalRandomField, emissions: Tensor) -> dict[tuple[int, ...], Tensor]:
    """The score of every allowed path through one sequence's emissions (time, tags)."""
    scores = {}
    for path in filter(allowed, itertools.product(range(len(TAGS)), repeat=len(emissions))):
        score = field.start[path[0]] + field.end[path[-1]]
        score = score + sum(field.transitions[a, b] for a, b in itertools.pairwise(path))
        scores[path] = score + sum(emissions[t, tag] for t, tag in enumerate(path))
    return scores


def test_the_partition_and_its_gradient_equal_the_sum_over_all_paths(
    field: ConditionalRandomField, emissions: Tensor
) -> None:
    emissions.requires_grad_()
    brute = torch.stack(
        [
            torch.stack(list(enumerated(field, emissions[row, :length]).values())).logsumexp(0)
            for row, length in enumerate(LENGTHS.tolist())
        ]
    )
    mine = field.log_partition(emissions, LENGTHS)
    torch.testing.assert_close(mine, brute)
    given = (emissions, field.transitions, field.start, field.end)
    for one, other in zip(torch.autograd.grad(mine.sum(), given), torch.autograd.grad(brute.sum(), given), strict=True):
        torch.testing.assert_close(one, other)


def test_marginals_equal_the_summed_probabilities_of_paths(field: ConditionalRandomField, emissions: Tensor) -> None:
    marginals = field.log_marginals(emissions, LENGTHS).exp()
    for row, length in enumerate(LENGTHS.tolist()):
        scores = enumerated(field, emissions[row, :length])
        total = torch.stack(list(scores.values())).logsumexp(0)
        expected = torch.zeros(length, len(TAGS), dtype=torch.float64)
        for path, score in scores.items():
            for t, tag in enumerate(path):
                expected[t, tag] += (score - total).exp().detach()
        torch.testing.assert_close(marginals[row, :length].detach(), expected)


@pytest.mark.parametrize("n", [1, 3, 6])
def test_the_best_paths_equal_those_of_brute_force(field: ConditionalRandomField, emissions: Tensor, n: int) -> None:
    found = field.best_paths(emissions, LENGTHS, n)
    for row, length in enumerate(LENGTHS.tolist()):
        scores = enumerated(field, emissions[row, :length])
        total = torch.stack(list(scores.values())).logsumexp(0)
        best = sorted(scores, key=lambda path: -scores[path].item())[:n]
        assert [tuple(path) for _, path in found[row]] == best
        expected = [(scores[path] - total).item() for path in best]
        assert [log_probability for log_probability, _ in found[row]] == pytest.approx(expected)


def test_a_paths_score_is_that_of_its_parts(field: ConditionalRandomField, emissions: Tensor) -> None:
    tags = torch.tensor([[1, 2, 0, 3], [3, 0, 0, 0], [0, 1, 2, 0]])
    for row, length in enumerate(LENGTHS.tolist()):
        expected = enumerated(field, emissions[row, :length])[tuple(tags[row, :length].tolist())]
        torch.testing.assert_close(field.score(emissions, LENGTHS, tags)[row], expected)


SLOTS = [
    {"id": "a", "tokens": ["12", "Old", "Mill"], "tags": ["B-Number", "B-Street", "I-Street"]},
    {"id": "b", "tokens": ["Old", "Town"], "tags": ["B-Place", "I-Place"]},
    {"id": "c", "tokens": ["7"], "tags": ["B-Number"]},
]


def labelling(head: str, model: str = "lstm") -> sequence_labelling.SequenceLabelling:
    torch.manual_seed(1)
    settings = sequence_labelling.Settings(head=head, embedding=8, character_filters=6, dropout=0.0, word_dropout=0.0)
    vocabularies = sequence_labelling.fit_vocabularies(SLOTS, settings)
    build = {
        "lstm": lambda size: lstm.build(lstm.Settings(hidden=8, bidirectional=True), size),
        "jordan": lambda size: jordan.build(jordan.Settings(hidden=8), size),
    }
    return sequence_labelling.build(settings, vocabularies, build[model])


@pytest.mark.parametrize(("head", "model"), [("crf", "lstm"), ("softmax", "jordan")])
def test_slot_filling_learns_a_batch_by_heart(head: str, model: str) -> None:
    task = labelling(head, model)
    optimizer = build_optimizer(task, Training(seeds=[1], learning_rate=0.03, batch_size=4, epochs=1, clip_norm=1.0))
    batch = task.collate(SLOTS)
    before = task.loss(batch)[0].item()
    for _ in range(60):
        optimizer.zero_grad()
        loss, _ = task.loss(batch)
        loss.backward()
        optimizer.step()
    assert before > 0.9 and loss.item() < 0.05
    task.eval().validation_update(batch)
    assert task.validation_scores() == {"validation_span_f1": 100.0}


def test_viterbi_gives_sequences_with_their_probabilities() -> None:
    task = labelling("crf").eval()
    records = viterbi.decode(task, task.collate(SLOTS), viterbi.Settings(n_best=3))
    for record, example in zip(records, SLOTS, strict=True):
        shares = [item["confidence"] for item in record["n_best"]]
        assert shares == sorted(shares, reverse=True) and sum(shares) < 1 + 1e-5
        assert record["prediction"] == record["n_best"][0]["prediction"]
        assert len(record["prediction"]) == len(example["tokens"])


def test_a_sequence_with_an_unseen_tag_is_left_out_of_the_loss() -> None:
    task = labelling("crf").eval()
    strange = {"id": "d", "tokens": ["Old"], "tags": ["B-Unheard"]}
    known, items = task.loss(task.collate(SLOTS))
    both, more = task.loss(task.collate([*SLOTS, strange]))
    assert items == more == 6
    torch.testing.assert_close(both, known)


def test_viterbi_without_a_field_is_an_error() -> None:
    task = labelling("softmax")
    with pytest.raises(InputError, match=r"set task\.head to crf"):
        viterbi.decode(task, task.collate(SLOTS), viterbi.Settings())
