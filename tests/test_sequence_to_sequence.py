"""The sequence-to-sequence task and its encoder-decoder: same numbers step by step, alone or padded; it can learn."""

import importlib.metadata
import io
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.nn.functional import one_hot

from stages.core.batch import Padded, pad
from stages.core.dataset import Example
from stages.core.errors import InputError
from stages.core.vocabulary import STOP
from stages.decoding import beam_search
from stages.metrics import bleu
from stages.models import encoder_decoder
from stages.tasks import sequence_to_sequence
from stages.tasks.sequence_to_sequence import SequenceToSequence

SENTENCES = {
    "Open the window": "打开窗口",
    "Close the door": "关闭门",
    "Delete it": "删除",
    "Show the next page of results": "显示结果的下一页",
    "Wi-Fi is off": "Wi-Fi 已关闭",
    "Open the door": "打开门",
}
EXAMPLES: list[Example] = [
    {"id": str(number), "source": source, "target": target}
    for number, (source, target) in enumerate(SENTENCES.items(), start=1)
]
CELLS = ["elman", "gru", "lstm"]
SHAPES = [(cell, attention, layers) for cell in CELLS for attention, layers in (("additive", 1), ("none", 2))]


def build_task(subword_least: int | None = None, **model: Any) -> SequenceToSequence:
    torch.manual_seed(0)
    settings = sequence_to_sequence.Settings(
        embedding=16, source_least=1, target_least=1, subword_least=subword_least, label_smoothing=0.1
    )
    model_settings = encoder_decoder.Settings(hidden=24, attention_size=8, **model)
    vocabularies = sequence_to_sequence.fit_vocabularies(EXAMPLES, settings)
    return sequence_to_sequence.build(
        settings, vocabularies, lambda size: encoder_decoder.build(model_settings, size)
    ).eval()


def random_source(model: encoder_decoder.EncoderDecoder) -> tuple[Padded, Padded]:
    generator = torch.Generator().manual_seed(1)
    draw = [torch.randn(length, 16, generator=generator) for length in (5, 2, 7)]
    return pad(draw), pad([torch.randn(length, 16, generator=generator) for length in (4, 6, 6)])


@pytest.mark.parametrize(("cell", "attention", "layers"), SHAPES)
@torch.no_grad()
def test_decoding_step_by_step_equals_the_whole_sequence(cell: Any, attention: Any, layers: int) -> None:
    model = encoder_decoder.build(
        encoder_decoder.Settings(cell=cell, attention=attention, layers=layers, hidden=24), 16
    ).eval()
    source, target = random_source(model)
    memory, first = model.encode(source.values, source.lengths)
    whole, last, _ = model.decode(target.values, first, memory)
    state, steps = first, []
    for step in range(target.values.shape[1]):
        output, state, _ = model.decode(target.values[:, step : step + 1], state, memory)
        steps.append(output)
    torch.testing.assert_close(torch.cat(steps, dim=1), whole)
    torch.testing.assert_close(state, last)


@pytest.mark.parametrize(("cell", "attention", "layers"), SHAPES)
@torch.no_grad()
def test_padding_changes_nothing(cell: Any, attention: Any, layers: int) -> None:
    model = encoder_decoder.build(
        encoder_decoder.Settings(cell=cell, attention=attention, layers=layers, hidden=24), 16
    ).eval()
    source, target = random_source(model)
    memory, state = model.encode(source.values, source.lengths)
    together, _, _ = model.decode(target.values, state, memory)
    for row, length in enumerate(source.lengths.tolist()):
        memory, state = model.encode(source.values[row : row + 1, :length], source.lengths[row : row + 1])
        alone, _, _ = model.decode(target.values[row : row + 1], state, memory)
        torch.testing.assert_close(alone[0], together[row])


@torch.no_grad()
def test_attention_weights_sum_to_one_with_none_on_padding() -> None:
    model = encoder_decoder.build(encoder_decoder.Settings(hidden=24), 16).eval()
    source, target = random_source(model)
    memory, state = model.encode(source.values, source.lengths)
    _, _, weights = model.decode(target.values, state, memory)
    assert weights is not None
    assert weights.shape == (3, 6, 7)
    torch.testing.assert_close(weights.sum(dim=2), torch.ones(3, 6))
    assert float(weights.masked_select(~source.mask[:, None].expand_as(weights)).abs().max()) == 0


@torch.no_grad()
def test_attention_is_the_additive_one_of_bahdanau() -> None:
    attention = encoder_decoder.AdditiveAttention(3, 4, 5)
    query, values = torch.randn(1, 1, 3), torch.randn(1, 6, 4)
    memory = encoder_decoder.Memory(values, attention.keys(values), torch.ones(1, 6, dtype=torch.bool))
    energies = [
        attention.energy.weight[0]
        @ torch.tanh(attention.query.weight @ query[0, 0] + attention.memory.weight @ value + attention.memory.bias)
        for value in values[0]
    ]
    torch.testing.assert_close(attention(query, memory)[0, 0], torch.stack(energies).softmax(dim=0))


@torch.no_grad()
def test_search_steps_equal_teacher_forcing() -> None:
    task = build_task()
    batch = task.collate(EXAMPLES)
    target = batch["target"]
    assert isinstance(target, Padded)
    expected = task(batch).log_softmax(dim=1)
    expected[:, task.never] = -torch.inf
    row, column = target.mask.nonzero(as_tuple=True)
    state, last = task.start(batch), torch.full((len(EXAMPLES),), task.start_symbol)
    for step in range(target.values.shape[1]):
        scores, state = task.step(state, last)
        torch.testing.assert_close(scores[row[column == step]], expected[column == step])
        last = target.values[:, step]


@torch.no_grad()
def test_the_loss_is_the_cross_entropy_of_a_real_target_symbol() -> None:
    task = build_task()
    together, items = task.loss(task.collate(EXAMPLES))
    alone = [task.loss(task.collate([example])) for example in EXAMPLES]
    assert items == sum(len(example["target"]) + 1 for example in EXAMPLES)
    assert float(together) == pytest.approx(sum(float(loss) * count for loss, count in alone) / items, rel=1e-5)


@torch.no_grad()
def test_only_the_training_loss_is_smoothed() -> None:
    task = build_task()
    batch = task.collate(EXAMPLES)
    plain, _ = task.loss(batch)
    log_probabilities = task(batch).log_softmax(dim=1)
    symbols = log_probabilities.shape[1]
    target = batch["target"]
    assert isinstance(target, Padded)
    truth = one_hot(target.values[target.mask], symbols)
    smoothed = -((0.9 * truth + 0.1 / symbols) * log_probabilities).sum(dim=1).mean()
    assert float(plain) == pytest.approx(-float(log_probabilities[truth.bool()].mean()), rel=1e-5)
    assert float(task.train().loss(batch)[0]) == pytest.approx(float(smoothed), rel=1e-5)


def train(task: SequenceToSequence, updates: int) -> float:
    task.train()
    batch = task.collate(EXAMPLES)
    optimizer = torch.optim.Adam(task.parameters(), lr=0.02)
    for _ in range(updates):
        optimizer.zero_grad()
        task.loss(batch)[0].backward()
        optimizer.step()
    return task.eval().loss(batch)[0].item()


@pytest.mark.parametrize(("cell", "attention", "subword_least"), [("gru", "additive", 1), ("lstm", "none", None)])
def test_the_task_learns_one_batch_by_heart(cell: Any, attention: Any, subword_least: int | None) -> None:
    task = build_task(subword_least, cell=cell, attention=attention)
    assert train(task, 0) > 2
    assert train(task, 80) < 0.2  # -ln 0.9 = 0.105 is where label smoothing of 0.1 leads
    found = beam_search.decode(task, task.collate(EXAMPLES), beam_search.Settings(beam=3))
    assert [record["prediction"] for record in found] == [example["target"] for example in EXAMPLES]


def test_translations_do_not_depend_on_the_batch_size() -> None:
    task = build_task()
    train(task, 12)
    settings = beam_search.Settings(beam=4, length_penalty=1.0)
    together = beam_search.decode(task, task.collate(EXAMPLES), settings)
    assert len({record["prediction"] for record in together}) > 1
    for example, expected in zip(EXAMPLES, together, strict=True):
        alone = beam_search.decode(task, task.collate([example]), settings)[0]
        assert alone["prediction"] == expected["prediction"]
        assert alone["log_probability"] == pytest.approx(expected["log_probability"], abs=1e-4)


def test_words_of_equal_parts_have_equal_vectors_though_unseen() -> None:
    assert sequence_to_sequence.subwords("door") == ["<do", "doo", "oor", "or>"]
    task = build_task(subword_least=1)
    seen, unseen = task.collate([{"source": "xyzzy"}, {"source": "doors"}])["subwords"].values[:, 0]
    assert int((seen > 1).sum()) == 0
    assert int((unseen > 1).sum()) == 3


def test_a_person_reads_a_sentence_a_line(tmp_path: Path) -> None:
    task = build_task()
    examples = task.read_input(io.StringIO("Open the window\n\n  Delete it \n"))
    assert [example["source"] for example in examples] == ["Open the window", "Delete it"]
    found = beam_search.decode(task, task.collate(examples), beam_search.Settings(beam=2))
    shown = task.present({**examples[0], **found[0]})
    assert shown.splitlines()[0] == "Open the window"
    assert found[0]["prediction"] in shown
    assert STOP not in shown
    empty = tmp_path / "empty.txt"
    empty.write_text(" \n")
    with pytest.raises(InputError, match=r"empty\.txt is empty"):
        task.read_input(empty)


def records(*pairs: tuple[str, str, float]) -> list[dict[str, Any]]:
    return [
        {"id": str(number), "prediction": prediction, "target": target, "similarity": similarity}
        for number, (prediction, target, similarity) in enumerate(pairs)
    ]


def test_bleu_is_sacrebleus_by_chinese_character_and_by_band() -> None:
    right, wrong = "打开主窗口", "关闭所有的门"
    found = bleu.score(
        records((right, right, 0.1), (right, right, 0.4), (wrong, right, 0.7), (wrong, right, 0.71)),
        bleu.Settings(bands=[0.4, 0.7]),
    )
    assert found["exact_match"] == 50
    assert found["bleu_similarity_below_0.4"] == pytest.approx(100)
    assert found["bleu_similarity_above_0.7"] < 10
    assert 30 < found["bleu_similarity_0.4_to_0.7"] < 70
    assert found["bleu_similarity_0.4_to_0.7"] == pytest.approx(found["bleu"], abs=5)
    assert 0 < found["chrf"] < 100


def test_figures_are_quoted_with_sacrebleus_signatures() -> None:
    signatures = bleu.signatures(bleu.Settings())
    version = f"version:{importlib.metadata.version('sacrebleu')}"
    assert signatures["bleu"] == f"nrefs:1|case:mixed|eff:no|tok:zh|smooth:exp|{version}"
    assert signatures["chrf"] == f"nrefs:1|case:mixed|eff:yes|nc:6|nw:0|space:no|{version}"


def test_bleu_refuses_nothing_to_score_and_missing_fields() -> None:
    with pytest.raises(InputError, match="no predictions"):
        bleu.score([], bleu.Settings())
    with pytest.raises(InputError, match="no field 'similarity'"):
        bleu.score([{"id": "1", "prediction": "好", "target": "好"}], bleu.Settings(bands=[0.5]))
    with pytest.raises(InputError, match="should rise"):
        bleu.score(records(("好", "好", 0.5)), bleu.Settings(bands=[0.7, 0.4]))
