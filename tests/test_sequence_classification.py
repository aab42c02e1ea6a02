"""A sequence in, one class out, around any sequence model."""

import io
import math
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd
import pydantic
import pytest
import torch
from torch import Tensor, nn

from stages.core import trainer
from stages.core.base.errors import InputError
from stages.core.learning.batch import Padded
from stages.core.learning.dataset import Example
from stages.core.learning.task import Training
from stages.core.learning.vocabulary import UNKNOWN
from stages.decoding import argmax
from stages.models import gru, transformer
from stages.tasks import sequence_classification
from stages.tasks.sequence_classification import Attention, LanguageModel, SequenceClassification, pool

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


def test_attention_is_that_of_a_hand_computation() -> None:
    attention = Attention(2)
    with torch.no_grad():
        attention.project.weight.copy_(torch.eye(2))
        attention.project.bias.zero_()
        attention.query.weight.copy_(torch.tensor([[2.0, 0.0]]))
    outputs = Padded(torch.tensor([[[math.atanh(0.5), 3.0], [0.0, -1.0], [9.0, 9.0]]]), torch.tensor([2]))
    weights = attention(outputs)
    torch.testing.assert_close(weights, torch.tensor([[math.e, 1.0, 0.0]]) / (math.e + 1))
    pooled = pool(outputs, "attention", weights)
    torch.testing.assert_close(pooled[0, 1], torch.tensor((3 * math.e - 1) / (math.e + 1)))


def test_a_prediction_says_how_much_attention_each_step_got() -> None:
    task = build(STORIES, pooling="attention").eval()
    assert task.attention is not None
    torch.nn.init.constant_(task.attention.query.weight, 3.0)
    records = argmax.decode(task, task.collate(STORIES), argmax.Settings())
    assert records[0]["steps"] == ["mary", "moved", "to", "the", "office", ".", "where", "is", "mary", "?"]
    for record in records:
        assert len(record["attention"]) == len(record["steps"])
        assert sum(record["attention"]) == pytest.approx(1, abs=0.001)
        assert max(record["attention"]) > 2 * min(record["attention"])
    plain = build(STORIES, pooling="mean").eval()
    assert argmax.decode(plain, plain.collate(STORIES), argmax.Settings())[0].keys() == {"prediction", "confidence"}


def test_steps_after_the_longest_are_not_read() -> None:
    task = build(STORIES, longest=12)
    inputs = task.collate(STORIES)["inputs"]
    assert isinstance(inputs, Padded)
    assert inputs.lengths.tolist() == [task.size(example) for example in STORIES] == [10, 12, 12]


def test_ngrams_are_those_in_a_word_or_those_that_end_at_a_character() -> None:
    ngrams = sequence_classification.ngrams
    word = settings(ngrams=[3, 4])
    assert ngrams(["an", "i"], word) == [["<an", "an>", "<an>"], ["<i>"]]
    character = settings(ngrams=[2, 3], unit="character")
    assert ngrams(list("abcd"), character) == [[], ["ab"], ["bc", "abc"], ["cd", "bcd"]]


def test_the_mean_of_the_ngrams_vectors_is_added_to_the_steps() -> None:
    task = build(STORIES, ngrams=[3]).eval()
    assert task.ngram_embedding is not None and task.ngrams is not None
    batch = task.collate([{"story": ["The zz"], "question": "Qqq", "answer": "no"}])
    known = [task.ngrams.index[ngram] for ngram in ("<th", "the", "he>")]
    vectors = [task.ngram_embedding.weight[known].mean(dim=0), torch.zeros(8), torch.zeros(8)]
    embedded = task.embedding(batch["inputs"].values) + torch.stack(vectors)
    torch.testing.assert_close(task._outputs(batch).values, task.model(embedded, torch.tensor([3]))[0])


def test_a_dropped_word_keeps_no_ngrams() -> None:
    task = build(STORIES, ngrams=[3], word_dropout=0.5).train()
    batch = task.collate(STORIES * 9)
    dropped = (batch["inputs"].values != batch["steps"].values) & batch["steps"].mask
    assert dropped.any() and not batch["ngrams"].values[dropped].any()
    assert batch["ngrams"].values[~dropped].any()


@pytest.mark.parametrize("ngrams", [[], [3, 4]])
@pytest.mark.parametrize("pooling", ["last", "mean", "max", "attention"])
def test_padding_changes_nothing(pooling: str, ngrams: list[int]) -> None:
    task = build(STORIES, pooling=pooling, ngrams=ngrams).eval()
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
    looked = {"steps": ["mary", "moved", "to", "office"], "attention": [0.3, 0.2, 0.1, 0.4]}
    shown = task.present({**STORIES[0], "prediction": "office", "confidence": 0.25, **looked})
    assert shown.endswith("attention: office 40 %, mary 30 %, moved 20 %")
    odd = {"story": ["Zoe moved."], "question": "Where is Zoe?", "prediction": "no", "confidence": 1.0}
    assert task.present(odd).endswith("taken as unknown: zoe")


def test_settings_out_of_range_name_the_key() -> None:
    for key, value in (
        ("ngrams", [1]),
        ("pooling", "sum"),
        ("unit", "byte"),
        ("dropout", 1.0),
        ("inputs", []),
        ("embedding_size", 0),
    ):
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


# The encoder first trained without labels.

LABELLED: list[Example] = [{"text": "a fine film", "label": "good"}, {"text": "one dull bore", "label": "bad"}]
UNLABELLED: list[Example] = [{"text": "some other words stand here"}, {"text": "and few there"}, {"text": "Oh"}]


def build_pretrained(best: str = "loss", word_dropout: float = 0.0, **changes: Any) -> SequenceClassification:
    torch.manual_seed(0)
    pretraining = sequence_classification.Pretraining(split="unlabelled", epochs=2, learning_rate=0.01)
    chosen = settings(
        inputs=["text"], target="label", pooling="max", best=best, word_dropout=word_dropout, pretraining=pretraining
    )
    vocabularies = sequence_classification.fit_vocabularies([*LABELLED, *UNLABELLED], chosen)
    model = gru.Settings(hidden=16, **{"bidirectional": True, **changes})
    return sequence_classification.build(chosen, vocabularies, lambda size: gru.build(model, size))


def plan(**changes: Any) -> Training:
    return Training(**{"seeds": [1], "learning_rate": 0.01, "batch_size": 2, "epochs": 4, "clip_norm": 1.0, **changes})


def test_the_encoder_reads_the_splits_that_pretraining_names() -> None:
    task = build_pretrained()
    assert task.settings.further_splits == ["unlabelled"]
    assert settings().further_splits == []
    assert "stand" in task.steps.index
    assert task.labels.symbols == ["bad", "good"]


def test_both_directions_predict_their_next_step_as_computed_by_hand() -> None:
    task = build_pretrained()
    assert task.language_model is not None
    outputs = torch.randn(2, 4, 32)
    steps = torch.tensor([[5, 3, 7, 2], [4, 6, 0, 0]])
    loss, items = task.language_model(Padded(outputs, torch.tensor([4, 2])), steps)
    by_hand = [(outputs[row, t, :16], steps[row, t + 1]) for row, t in ((0, 0), (0, 1), (0, 2), (1, 0))]
    by_hand += [(outputs[row, t, 16:], steps[row, t - 1]) for row, t in ((0, 1), (0, 2), (0, 3), (1, 1))]
    terms = [-task.language_model.softmax.log_prob(seen[None])[0, step] for seen, step in by_hand]
    assert items == 8
    torch.testing.assert_close(loss, torch.stack(terms).mean())


@pytest.mark.parametrize("changes", [{}, {"bidirectional": False, "layers": 2}])
def test_no_step_is_predicted_from_itself(changes: dict[str, Any]) -> None:
    task = build_pretrained(**changes).eval()
    assert isinstance(task.language_model, LanguageModel)
    batch = task.collate(UNLABELLED[:1])
    steps = batch["steps"]
    assert isinstance(steps, Padded)

    def states(inputs: Tensor) -> Tensor:
        seen: list[Tensor] = []
        hook = task.language_model.softmax.register_forward_pre_hook(lambda _, given: seen.append(given[0]))
        task.language_model(task._outputs({**batch, "inputs": Padded(inputs, steps.lengths)}), steps.values)
        hook.remove()
        return seen[0]

    asked = torch.cat([steps.values[0, 1:], steps.values[0, :-1]])[: len(states(steps.values))]
    for position in (1, 2, 3):
        other = steps.values.clone()
        other[0, position] = task.steps.index[UNKNOWN]
        same = (states(other) == states(steps.values)).all(dim=1)
        own = asked == steps.values[0, position]
        assert same[own].all()
        assert not same[~own].all()


def test_a_language_model_learns_its_texts_by_heart() -> None:
    task = build_pretrained()
    task.plan = plan()
    assert task.pretrains
    batch = task.collate(UNLABELLED)
    assert task.loss(batch)[1] == 2 * (4 + 2)
    assert float(task.loss(batch)[0].detach()) > 2
    optimizer = torch.optim.Adam(task.parameters(), lr=3e-2)
    for _ in range(100):
        optimizer.zero_grad()
        task.loss(batch)[0].backward()
        optimizer.step()
    assert float(task.loss(batch)[0].detach()) < 0.1


def test_pretraining_drops_words_at_its_own_rate() -> None:
    task = build_pretrained(word_dropout=0.5).train()

    def dropped() -> bool:
        batch = task.collate(LABELLED * 20)
        assert isinstance(batch["inputs"], Padded) and isinstance(batch["steps"], Padded)
        return not torch.equal(batch["inputs"].values, batch["steps"].values)

    assert dropped()
    task.plan = plan()
    assert not dropped()


def test_a_text_of_one_step_has_nothing_to_predict() -> None:
    task = build_pretrained()
    task.plan = plan()
    loss, items = task.loss(task.collate(UNLABELLED[2:]))
    assert (float(loss.detach()), items) == (0, 0)


def test_a_model_that_sees_what_it_would_predict_is_refused() -> None:
    with pytest.raises(InputError, match="one layer, or of one direction"):
        build_pretrained(layers=2)
    task = build_pretrained()
    model = transformer.build(transformer.Settings(width=8, heads=2), 8)
    with pytest.raises(InputError, match=r"recurrent model.* Transformer is none"):
        sequence_classification.build(task.settings, task.vocabularies, lambda size: model)


@pytest.mark.parametrize("best", ["loss", "accuracy"])
def test_epochs_of_pretraining_are_never_the_best_and_try_no_patience(tmp_path: Path, best: str) -> None:
    task = build_pretrained(best)
    trainer.seed_everything(7)
    examples = [*LABELLED, *UNLABELLED]
    timing = trainer.fit(task, examples, LABELLED, plan(epochs=5, patience=1), 7, tmp_path, "test")
    curve = pd.read_csv(tmp_path / "learning_curve.csv").set_index("epoch")
    assert timing["epochs"] == len(curve) > 3
    pretrains = [epoch <= 2 for epoch in curve.index]
    for column in ("training_loss", "validation_loss", "validation_accuracy"):
        assert curve[column].isna().tolist() == pretrains
    for column in ("training_language_model", "validation_language_model"):
        assert curve[column].notna().tolist() == pretrains
    chosen = curve["validation_loss"].idxmin() if best == "loss" else curve["validation_accuracy"].idxmax()
    loss = float(task.loss(task.collate(LABELLED))[0].detach())
    assert loss == pytest.approx(curve["validation_loss"][chosen], abs=1e-5)


def test_classification_starts_with_an_optimizer_of_its_own(tmp_path: Path) -> None:
    task = build_pretrained()
    rates: list[tuple[int, float, int]] = []
    plain = task.prepare_update

    def note(optimizer: torch.optim.Optimizer, epochs: float) -> None:
        plain(optimizer, epochs)
        states = [int(state["step"]) for state in optimizer.state.values()]
        rates.append((task.current_epoch, optimizer.param_groups[0]["lr"], max(states, default=0)))

    task.prepare_update = note  # type: ignore[method-assign]
    linear = plan(schedule="linear", learning_rate=0.08)
    trainer.fit(task, [*LABELLED, *UNLABELLED], LABELLED, linear, 7, tmp_path, "test")
    assert rates == [
        *((0, pytest.approx(0.01 * (6 - n) / 6), n) for n in range(3)),
        *((1, pytest.approx(0.01 * (6 - n) / 6), n) for n in range(3, 6)),
        (2, 0.08, 0),
        (3, 0.04, 1),
    ]


def test_some_epochs_are_left_after_pretraining(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"training\.epochs is 2.*at least 3"):
        trainer.fit(build_pretrained(), [*LABELLED, *UNLABELLED], LABELLED, plan(epochs=2), 7, tmp_path, "test")
    with pytest.raises(InputError, match=r"epochs is 4.*at least 5, so that training\.average \(3\) are left"):
        trainer.fit(build_pretrained(), [*LABELLED, *UNLABELLED], LABELLED, plan(average=3), 7, tmp_path, "test")


def test_epochs_of_pretraining_are_not_averaged(tmp_path: Path) -> None:
    task = build_pretrained()
    average = trainer.Average(task, 2)
    task.prepare_training(plan(average=2), LABELLED, LABELLED)
    for epoch in range(3):
        task.current_epoch = epoch
        average.on_train_epoch_end(None, None)  # type: ignore[arg-type]
    assert len(average.kept) == 1


def test_a_pretraining_killed_after_its_last_epoch_is_over(tmp_path: Path) -> None:
    for _ in range(2):
        task = build_pretrained()
        trainer.fit(task, [*LABELLED, *UNLABELLED], LABELLED, plan(average=2), 7, tmp_path, "test")
        assert not task.pretrains


@pytest.mark.parametrize("epoch", [1, 2, 3])
def test_a_killed_pretraining_goes_on_to_the_same_bits(tmp_path: Path, kill: Callable[..., None], epoch: int) -> None:
    def fit(folder: Path, killed_in: int | None = None) -> dict[str, Tensor]:
        task = build_pretrained()
        examples, linear = [*LABELLED, *UNLABELLED], plan(schedule="linear")
        run = partial(trainer.fit, task, examples, LABELLED, linear, 7, folder, "test")
        run() if killed_in is None else kill(task, killed_in, run)
        return task.state_dict()

    whole = fit(tmp_path / "whole")
    fit(tmp_path / "killed", killed_in=epoch)
    assert torch.load(tmp_path / "killed" / "last.ckpt", weights_only=False)["epoch"] == epoch - 1
    resumed = fit(tmp_path / "killed")
    for name, value in whole.items():
        assert torch.equal(value, resumed[name]), name
    curves = [(tmp_path / folder / "learning_curve.csv").read_bytes() for folder in ("whole", "killed")]
    assert curves[0] == curves[1]
