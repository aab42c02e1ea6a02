"""A sequence in, one class out, around any sequence model."""

import io
from functools import partial
from typing import Any

import pydantic
import pytest
import torch
from torch import Tensor, nn

from stages.core.batch import Padded
from stages.core.dataset import Example
from stages.core.errors import InputError
from stages.core.vocabulary import UNKNOWN
from stages.tasks import sequence_classification
from stages.tasks.sequence_classification import SequenceClassification, pool

STORIES: list[Example] = [
    {"story": ["Mary moved to the office."], "question": "Where is Mary?", "answer": "office"},
    {
        "story": ["Mary moved to the office.", "Mary went to the garden."],
        "question": "Where is Mary?",
        "answer": "garden",
    },
    {"story": ["John went home.", "Mary left.", "John ate."], "question": "Is John in the office?", "answer": "no"},
]


class Sums(nn.Module):
    """A linear layer and running sums: the smallest sequence model, whose output at a step sees no later step."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.output_size = 7
        self.linear = nn.Linear(size, 7)

    def forward(self, inputs: Tensor, lengths: Tensor, state: Any = None) -> tuple[Tensor, Any]:
        return self.linear(inputs).tanh().cumsum(dim=1), state


def settings(**changes: Any) -> sequence_classification.Settings:
    values = {
        "inputs": ["story", "question"],
        "target": "answer",
        "unit": "word",
        "embedding_size": 8,
        "pooling": "last",
        **changes,
    }
    return sequence_classification.Settings(**values)


def build(examples: list[Example], **changes: Any) -> SequenceClassification:
    torch.manual_seed(0)
    chosen = settings(**changes)
    return sequence_classification.build(chosen, sequence_classification.fit_vocabularies(examples, chosen), Sums)


def test_fields_are_read_one_after_the_other() -> None:
    task = build(STORIES)
    inputs = task.collate(STORIES)["inputs"]
    assert isinstance(inputs, Padded)
    assert inputs.lengths.tolist() == [10, 16, 16]
    words = task.steps.decode(inputs.values[0, :10].tolist())
    assert words == ["mary", "moved", "to", "the", "office", ".", "where", "is", "mary", "?"]
    assert [task.size(example) for example in STORIES] == [10, 16, 16]


def test_the_unit_may_be_the_character() -> None:
    reviews = [{"text": "Gut!", "label": "positive"}, {"text": "schlecht", "label": "negative"}]
    task = build(reviews, inputs=["text"], target="label", unit="character")
    inputs = task.collate(reviews)["inputs"]
    assert isinstance(inputs, Padded)
    assert task.steps.decode(inputs.values[0, :4].tolist()) == list("Gut!")
    assert inputs.lengths.tolist() == [4, 8]


def test_pooling_is_that_of_a_hand_computation() -> None:
    outputs = Padded(torch.tensor([[[1.0, -5], [3, -1]], [[-2, 4], [9, 9]]]), torch.tensor([2, 1]))
    assert pool(outputs, "last").tolist() == [[3, -1], [-2, 4]]
    assert pool(outputs, "mean").tolist() == [[2, -3], [-2, 4]]
    assert pool(outputs, "max").tolist() == [[3, -1], [-2, 4]]


@pytest.mark.parametrize("pooling", ["last", "mean", "max"])
def test_padding_changes_nothing(pooling: str) -> None:
    task = build(STORIES, pooling=pooling).eval()
    together = task.log_probabilities(task.collate(STORIES))
    for number, example in enumerate(STORIES):
        torch.testing.assert_close(task.log_probabilities(task.collate([example]))[0], together[number])
    torch.testing.assert_close(together.exp().sum(dim=1), torch.ones(3))


def test_words_are_dropped_at_random_in_training_only() -> None:
    task = build(STORIES, word_dropout=0.5)
    unknown = task.steps.index[UNKNOWN]

    def share() -> tuple[float, bool]:
        inputs = task.collate(STORIES * 50)["inputs"]
        assert isinstance(inputs, Padded)
        dropped = inputs.values == unknown
        return float(dropped[inputs.mask].float().mean()), bool(dropped[~inputs.mask].any())

    task.train()
    dropped, in_padding = share()
    assert dropped == pytest.approx(0.5, abs=0.05)
    assert not in_padding
    task.eval()
    assert share() == (0, False)


def test_one_batch_is_learnt_by_heart() -> None:
    task = build(STORIES, dropout=0.1)
    batch = task.collate(STORIES)
    assert float(task.eval().loss(batch)[0].detach()) > 0.5
    optimizer = torch.optim.Adam(task.train().parameters(), lr=1e-2)
    for _ in range(150):
        optimizer.zero_grad()
        task.loss(batch)[0].backward()
        optimizer.step()
    assert float(task.eval().loss(batch)[0].detach()) < 0.05


def test_the_loss_leaves_out_an_unseen_class() -> None:
    task = build(STORIES).eval()
    odd = {**STORIES[0], "answer": "cellar"}
    loss, items = task.loss(task.collate([odd, *STORIES[1:]]))
    assert items == 2
    torch.testing.assert_close(loss, task.loss(task.collate(STORIES[1:]))[0])
    without = [{name: example[name] for name in ("story", "question")} for example in STORIES]
    assert task.loss(task.collate(without))[1] == 0


def test_validation_accuracy_counts_each_example_once() -> None:
    task = build(STORIES).eval()
    answers = task.log_probabilities(task.collate(STORIES)).argmax(dim=1).tolist()
    rightly = [{**ex, "answer": task.labels.symbols[k]} for ex, k in zip(STORIES, answers, strict=True)]
    wrong = {**rightly[0], "answer": next(label for label in task.labels.symbols if label != rightly[0]["answer"])}
    task.validation_update(task.collate([*rightly[1:], wrong]))
    task.validation_update(task.collate(rightly[:1]))
    assert task.validation_scores() == {"validation_accuracy": 75}
    task.validation_update(task.collate(rightly))
    assert task.validation_scores() == {"validation_accuracy": 100}


def test_a_persons_input_is_a_line_a_text_or_a_paragraph_an_example() -> None:
    reviews = build([{"text": "good", "label": "positive"}], inputs=["text"], target="label")
    assert reviews.read_input(io.StringIO("good\n\nbad film \n")) == [{"text": "good"}, {"text": "bad film"}]
    task = build(STORIES)
    typed = "Mary moved to the office.\nMary left.\nWhere is Mary?\n\n\nJohn went home.\nIs John in the office?"
    assert task.read_input(io.StringIO(typed)) == [
        {"story": ["Mary moved to the office.", "Mary left."], "question": "Where is Mary?"},
        {"story": ["John went home."], "question": "Is John in the office?"},
    ]
    with pytest.raises(InputError, match=r"line 3 .* 1 lines.*story, question"):
        task.read_input(io.StringIO("\n\nWhere is Mary?\n"))
    with pytest.raises(InputError, match="empty"):
        task.read_input(io.StringIO("\n"))


def test_a_prediction_is_shown_with_its_probability_and_the_words_never_seen() -> None:
    task = build(STORIES)
    shown = task.present({**STORIES[0], "prediction": "office", "confidence": 0.25})
    assert shown.splitlines() == ["Mary moved to the office.", "Where is Mary?", "  => office (25.0 %)"]
    odd = {"story": ["Zoe moved."], "question": "Where is Zoe?", "prediction": "no", "confidence": 1.0}
    assert task.present(odd).endswith("taken as unknown: zoe")


def test_settings_out_of_range_name_the_key() -> None:
    for key, value in (("pooling", "sum"), ("unit", "byte"), ("dropout", 1.0), ("inputs", []), ("embedding_size", 0)):
        with pytest.raises(pydantic.ValidationError, match=key):
            settings(**{key: value})


def test_the_model_gets_the_embeddings_size() -> None:
    sizes: list[int] = []

    def remember(record: list[int], size: int) -> Sums:
        record.append(size)
        return Sums(size)

    vocabularies = sequence_classification.fit_vocabularies(STORIES, settings())
    sequence_classification.build(settings(), vocabularies, partial(remember, sizes))
    assert sizes == [8]
