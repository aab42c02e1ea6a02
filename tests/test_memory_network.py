"""The end-to-end memory network and the task that trains it."""

import io
import math
from functools import partial
from pathlib import Path

import pytest
import torch
from torch import Tensor

from stages.core.base.errors import InputError
from stages.core.base.params import read_settings
from stages.core.learning.batch import Padded, pad
from stages.core.learning.dataset import Example
from stages.core.learning.task import Batch
from stages.datasets import stories
from stages.models import memory_network
from stages.tasks import reading_comprehension
from stages.tasks.reading_comprehension import ReadingComprehension

STORY = """Iris walked to the attic.
Hugo ran to the orchard.
Iris took the apple.
Where is the apple?
"""


TYINGS = ("adjacent", "layer_wise")


def network(hops: int = 3, tying: str = "adjacent", **more: float) -> memory_network.MemoryNetwork:
    torch.manual_seed(0)
    values = {"hops": hops, "embedding_size": 6, "tying": tying, "times": 8, "time_noise": 0.0, **more}
    settings = read_settings(memory_network.Settings, values, "model")
    return memory_network.build(settings, 12).eval()


def some_batch() -> tuple[Padded, Padded, Padded]:
    """Four unique sentences, three stories of 4, 1 and 2 of them, questions of 3, 1 and 2 words."""
    sentences = pad([torch.tensor([2, 3, 4]), torch.tensor([5]), torch.tensor([6, 7, 8, 9, 10]), torch.tensor([3, 3])])
    story = pad([torch.tensor([0, 2, 1, 0]), torch.tensor([3]), torch.tensor([1, 2])])
    return sentences, story, pad([torch.tensor([1, 2, 3]), torch.tensor([4]), torch.tensor([11, 5])])


@pytest.fixture(scope="module")
def examples() -> list[Example]:
    kinds = ["one_fact", "two_facts", "three_facts", "yes_no"]
    settings = stories.Settings(seed=5, kinds=kinds, train=16, validation=2, test=2)
    return stories.generate(settings).splits["train"]


def reading(
    examples: list[Example], linear_start: int = 0, kinds: list[str] | None = None, tying: str = "adjacent"
) -> ReadingComprehension:
    torch.manual_seed(0)
    settings = reading_comprehension.Settings(linear_start=linear_start, kinds=kinds)
    values = {"hops": 3, "embedding_size": 32, "tying": tying, "times": 40, "time_noise": 0.1, "rectified": 0.5}
    model = read_settings(memory_network.Settings, values, "model")
    vocabularies = reading_comprehension.fit_vocabularies(examples, settings)
    return reading_comprehension.build(settings, vocabularies, partial(memory_network.build, model))


def test_position_encoding_is_that_of_a_hand_computation() -> None:
    # J = 2, d = 4: j - (J+1)/2 = -1/2, 1/2; k - (d+1)/2 = -3/2, -1/2, 1/2, 3/2; times 4 / (J d) = 1/2, plus 1.
    a, b = memory_network.position_encoding(pad([torch.tensor([7, 7]), torch.tensor([7, 7, 7])]), 4)
    encoding = 1 + a[:, :, None] * b
    torch.testing.assert_close(encoding[0, 0], torch.tensor([1.375, 1.125, 0.875, 0.625]))
    torch.testing.assert_close(encoding[0, 1], torch.tensor([0.625, 0.875, 1.125, 1.375]))
    torch.testing.assert_close(encoding[1, 1], torch.ones(4))
    assert a[0, 2] == 0


def by_the_equations(model: memory_network.MemoryNetwork, story: list[Tensor], question: Tensor) -> Tensor:
    """Scores of one story as the paper writes them, word by word and sentence by sentence."""

    def embed(words: Tensor, table: Tensor) -> Tensor:
        length, size = len(words), table.shape[1]
        vector = torch.zeros(size)
        for j, word in enumerate(words, start=1):
            for k in range(1, size + 1):
                weight = 1 + 4 * (j - (length + 1) / 2) * (k - (size + 1) / 2) / (length * size)
                vector[k - 1] += weight * table[word, k - 1]
        return vector

    tables, times = model.embedding.detach(), model.temporal.detach()
    hops = model.hops
    if model.adjacent:
        A, C, T_A, T_C = tables[:-1], tables[1:], times[:-1], times[1:]
        B, W, H = tables[0], tables[-1], torch.eye(tables.shape[2])
    else:
        A, C, B, W = tables
        A, C, T_A, T_C = [A] * hops, [C] * hops, [times[0]] * hops, [times[1]] * hops
        H = model.projection.weight.detach()
    back = list(reversed(range(len(story))))
    u = embed(question, B)
    for hop in range(hops):
        m = torch.stack([embed(s, A[hop]) + T_A[hop][t] for s, t in zip(story, back, strict=True)])
        c = torch.stack([embed(s, C[hop]) + T_C[hop][t] for s, t in zip(story, back, strict=True)])
        u = H @ u + (m @ u).softmax(dim=0) @ c
    return W @ u


@pytest.mark.parametrize("tying", TYINGS)
@pytest.mark.parametrize("hops", [1, 3])
def test_scores_are_those_of_the_papers_equations(hops: int, tying: str) -> None:
    model = network(hops, tying)
    sentences, story, question = some_batch()
    scores, _ = model(sentences, story, question)
    words = [sentences.values[i, : sentences.lengths[i]] for i in range(4)]
    first = by_the_equations(model, [words[i] for i in (0, 2, 1, 0)], question.values[0])
    last = by_the_equations(model, [words[1], words[2]], question.values[2, :2])
    torch.testing.assert_close(scores[0], first)
    torch.testing.assert_close(scores[2], last)


def test_attention_sums_to_one_and_padding_gets_none() -> None:
    _, story, _ = batch = some_batch()
    _, attention = network()(*batch)
    assert attention.shape == (3, 3, 4)
    torch.testing.assert_close(attention.sum(dim=2), torch.ones(3, 3))
    assert (attention[~story.mask[:, None].expand_as(attention)] == 0).all()
    assert (attention[story.mask[:, None].expand_as(attention)] > 0).all()


def test_linear_attention_is_the_inner_product_by_the_number_of_sentences_and_padding_gets_none() -> None:
    model, (sentences, story, question) = network(hops=1), some_batch()
    _, attention = model(sentences, story, question, linear=True)
    _, normalised = model(sentences, story, question)
    torch.testing.assert_close((4 * attention[0]).softmax(dim=1), normalised[0])
    torch.testing.assert_close((2 * attention[2, :, :2]).softmax(dim=1), normalised[2, :, :2])
    assert not torch.allclose(attention[0].sum(), torch.ones(()))
    assert (attention[1, :, 1:] == 0).all()


def test_hops_and_a_share_of_rectified_dimensions_change_the_scores() -> None:
    batch = some_batch()
    plain = network()
    rectified = network(rectified=0.5)
    assert rectified.rectified == 3
    assert not torch.allclose(plain(*batch)[0], rectified(*batch)[0])
    u = torch.tensor([[-1.0, 2, -3, -4, 5, -6]])
    assert rectified._rectify(u).tolist() == [[0, 2, 0, -4, 5, -6]]
    assert network(hops=1)(*batch)[1].shape == (3, 1, 4)


def test_time_noise_strews_empty_memories_in_training_only() -> None:
    model, (sentences, story, question) = network(time_noise=0.5), some_batch()
    assert model._times(story)[0].tolist() == [3, 2, 1, 0]
    torch.testing.assert_close(model(sentences, story, question)[0], model(sentences, story, question)[0])
    model.train()
    torch.manual_seed(1)
    drawn = torch.stack([model._times(story)[0] for _ in range(200)])
    assert (drawn[:, :-1] > drawn[:, 1:]).all(), "the order stays"
    assert (drawn >= torch.tensor([3, 2, 1, 0])).all()
    assert drawn.max() <= 7
    # Each of the four sentences is followed by an empty memory with chance 1/2, so the first stands 3 + 2 back.
    assert drawn[:, 0].float().mean() == pytest.approx(5, abs=0.3)


def test_sentences_beyond_the_temporal_encoding_share_its_last_row() -> None:
    story = pad([torch.zeros(11, dtype=torch.int64)])
    assert network()._times(story)[0].tolist() == [7, 7, 7, 7, 6, 5, 4, 3, 2, 1, 0]


@pytest.mark.parametrize("tying", TYINGS)
def test_gradients_are_right(tying: str) -> None:
    model = network(2, tying, rectified=0.5).double()
    batch = some_batch()
    names, parameters = zip(*model.named_parameters(), strict=True)

    def scores(*values: Tensor) -> Tensor:
        return torch.func.functional_call(model, dict(zip(names, values, strict=True)), batch)[0]

    assert torch.autograd.gradcheck(scores, parameters)


def test_layer_wise_hops_share_all_their_weights_and_adjacent_ones_none_but_their_neighbours() -> None:
    sizes = {
        (tying, hops): sum(p.numel() for p in network(hops, tying).parameters()) for tying in TYINGS for hops in (1, 4)
    }
    assert sizes["layer_wise", 1] == sizes["layer_wise", 4] == 4 * 12 * 6 + 2 * 8 * 6 + 6 * 6
    assert sizes["adjacent", 1] == 2 * (12 + 8) * 6
    assert sizes["adjacent", 4] == 5 * (12 + 8) * 6


@pytest.mark.parametrize("tying", TYINGS)
def test_padding_changes_nothing(examples: list[Example], tying: str) -> None:
    task = reading(examples, tying=tying).eval()
    together = task.collate(examples[:12])
    for number, example in enumerate(examples[:12]):
        alone = task.collate([example])
        torch.testing.assert_close(task.log_probabilities(alone)[0], task.log_probabilities(together)[number])
        length = len(example["story"])
        torch.testing.assert_close(task.attention(alone)[0], task.attention(together)[number, :, :length])


def test_a_batch_has_each_sentence_once(examples: list[Example]) -> None:
    task = reading(examples)
    batch = task.collate(examples)
    sentences, story = batch["sentences"], batch["story"]
    assert isinstance(sentences, Padded)
    assert isinstance(story, Padded)
    told = [sentence for example in examples for sentence in example["story"]]
    assert len(sentences.values) == len(set(told)) < len(told) == int(story.lengths.sum())
    third = sentences.values[story.values[2, 1]][: sentences.lengths[story.values[2, 1]]]
    words = task.words.decode(third.tolist())
    assert "".join(words) == examples[2]["story"][1].lower().replace(" ", "")


def train(task: ReadingComprehension, batch: Batch, updates: int) -> float:
    optimizer = torch.optim.Adam(task.parameters(), lr=1e-2)
    for _ in range(updates):
        optimizer.zero_grad()
        task.loss(batch)[0].backward()
        optimizer.step()
    return float(task.eval().loss(batch)[0].detach())


@pytest.mark.parametrize("tying", TYINGS)
def test_one_batch_is_learnt_by_heart(examples: list[Example], tying: str) -> None:
    task = reading(examples, tying=tying)
    batch = task.collate(examples)
    untrained = float(task.eval().loss(batch)[0].detach())
    assert untrained == pytest.approx(math.log(len(task.labels)), rel=0.5)
    assert untrained > 1
    assert train(task.train(), batch, 200) < 0.1


def test_linear_start_leaves_the_softmax_out_in_the_first_epochs_of_training_only(examples: list[Example]) -> None:
    task = reading(examples, linear_start=1)
    batch = task.collate(examples)
    assert task.current_epoch == 0
    ones = torch.ones(len(examples), 3)
    assert not torch.allclose(task.train().attention(batch).sum(dim=2), ones)
    torch.testing.assert_close(task.eval().attention(batch).sum(dim=2), ones)
    torch.testing.assert_close(reading(examples).train().attention(batch).sum(dim=2), ones)


def test_the_loss_is_the_mean_cross_entropy_and_an_unseen_answer_has_no_part_in_it(examples: list[Example]) -> None:
    task = reading(examples).eval()
    right = [task.labels.index[example["answer"]] for example in examples]
    log_probabilities = task.log_probabilities(task.collate(examples))
    torch.testing.assert_close(log_probabilities.exp().sum(dim=1), torch.ones(len(examples)))
    loss, items = task.loss(task.collate(examples))
    torch.testing.assert_close(loss, -log_probabilities[range(len(right)), right].mean())
    assert items == len(examples)
    odd = {**examples[0], "answer": "garden"}
    with_odd, fewer = task.loss(task.collate([odd, *examples[1:]]))
    assert fewer == len(examples) - 1
    torch.testing.assert_close(with_odd, task.loss(task.collate(examples[1:]))[0])


def test_only_answers_seen_in_training_are_scored_each_by_its_own_word(examples: list[Example]) -> None:
    task = reading(examples).eval()
    sentences, story, question = (task.collate(examples)[name] for name in ("sentences", "story", "question"))
    scores, _ = task.model(sentences, story, question)
    words = [task.words.index[label] for label in task.labels.symbols]
    torch.testing.assert_close(task.log_probabilities(task.collate(examples)), scores[:, words].log_softmax(dim=1))


def test_validation_accuracy_counts_each_example_once(examples: list[Example]) -> None:
    task = reading(examples).eval()
    answers = task.log_probabilities(task.collate(examples)).argmax(dim=1).tolist()
    rightly = [{**ex, "answer": task.labels.symbols[k]} for ex, k in zip(examples, answers, strict=True)]
    wrong = {**rightly[0], "answer": next(label for label in task.labels.symbols if label != rightly[0]["answer"])}
    task.validation_update(task.collate(rightly[1:3]))
    task.validation_update(task.collate([wrong]))
    assert task.validation_scores() == {"validation_accuracy": pytest.approx(200 / 3)}
    task.validation_update(task.collate(rightly))
    assert task.validation_scores() == {"validation_accuracy": 100}


def test_a_training_on_some_kinds_has_no_part_of_the_others(examples: list[Example]) -> None:
    task = reading(examples, kinds=["yes_no"]).eval()
    mine = [example for example in examples if example["kind"] == "yes_no"]
    assert 0 < len(mine) < len(examples)
    assert sorted(task.labels.symbols) == ["no", "yes"]
    assert task.draw(examples, torch.Generator()) == mine
    everything, alone = task.loss(task.collate(examples)), task.loss(task.collate(mine))
    assert everything[1] == alone[1] == len(mine)
    torch.testing.assert_close(everything[0], alone[0])
    task.validation_update(task.collate(examples))
    of_all = task.validation_scores()
    task.validation_update(task.collate(mine))
    assert of_all == task.validation_scores()
    loss, items = task.loss(task.collate([example for example in examples if example["kind"] != "yes_no"]))
    assert (float(loss.detach()), items) == (0, 0)


def test_a_kind_that_the_data_lack_is_named(examples: list[Example]) -> None:
    with pytest.raises(InputError, match=r"task.kinds: yes_now is no kind .* did you mean yes_no\?"):
        reading(examples, kinds=["one_fact", "yes_now"])


def test_predictions_tell_each_hops_attention(examples: list[Example]) -> None:
    task = reading(examples).eval()
    batch = task.collate(examples[:5])
    told = task.explain(batch)
    for example, said, weights in zip(examples, told, task.attention(batch), strict=False):
        assert [len(hop) for hop in said["attention"]] == [len(example["story"])] * 3
        torch.testing.assert_close(
            torch.tensor(said["attention"]), weights[:, : len(example["story"])], atol=0.0051, rtol=0
        )


def test_the_best_epoch_may_be_that_of_the_highest_accuracy(examples: list[Example]) -> None:
    settings = reading_comprehension.Settings(linear_start=0, best="accuracy")
    vocabularies = reading_comprehension.fit_vocabularies(examples, settings)
    task = reading_comprehension.build(settings, vocabularies, lambda size: network())
    assert (task.monitor, task.monitor_mode) == ("validation_accuracy", "max")
    assert task.monitor in task.validation_scores()
    assert (reading(examples).monitor, reading(examples).monitor_mode) == ("validation_loss", "min")


def test_an_answer_of_several_words_is_one_symbol() -> None:
    example = {"story": ["Mary has the milk."], "question": "What does Mary have?", "answer": "Apple,milk"}
    vocabularies = reading_comprehension.fit_vocabularies([example], reading_comprehension.Settings(linear_start=0))
    assert vocabularies["labels"].symbols == ["Apple,milk"]
    assert "apple,milk" in vocabularies["words"].index


def test_a_persons_stories_are_read_and_shown(examples: list[Example], tmp_path: Path) -> None:
    task = reading(examples)
    (tmp_path / "stories.txt").write_text(STORY + "\n\nZoe moved to the garden.\nWhere is Zoe?\n", encoding="utf-8")
    first, second = task.read_input(tmp_path / "stories.txt")
    assert first == {
        "story": ["Iris walked to the attic.", "Hugo ran to the orchard.", "Iris took the apple."],
        "question": "Where is the apple?",
    }
    shown = task.present({**first, "prediction": "attic", "confidence": 0.987})
    assert "=> attic (98.7 %)" in shown
    assert shown.count("hop ") == 3
    assert "never seen" not in shown
    strange = task.present({**second, "prediction": "attic", "confidence": 0.5})
    assert strange.endswith("taken as unknown: zoe, moved, garden")
    assert "hop 1: Zoe moved to the garden. (100.0 %)" in strange
    assert task.training, "showing a prediction leaves the task as it was"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is empty"),
        (" \n\n", "is empty"),
        ("Mary moved to the office.\n", "line 1 .* ends with its question"),
        ("\nWhere is Mary?\n", "line 2 .* without a story"),
        ("Mary moved to the office.\nWhere is Mary?\nWhere is John?\n", "line 2 .* inside a story"),
    ],
)
def test_bad_input_is_one_sentence_that_names_the_line(examples: list[Example], text: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        reading(examples).read_input(io.StringIO(text))
