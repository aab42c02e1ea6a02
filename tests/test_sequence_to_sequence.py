"""The sequence-to-sequence task and its encoder-decoder: same numbers step by step, alone or padded; it can learn."""

import importlib.metadata
import io
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.nn.functional import one_hot

from stages.core.base.errors import InputError
from stages.core.base.params import read_settings
from stages.core.learning import artifact
from stages.core.learning.batch import Padded, pad
from stages.core.learning.dataset import Example
from stages.core.learning.vocabulary import STOP, UNKNOWN
from stages.datasets import treebank
from stages.decoding import beam_search, direct
from stages.metrics import bleu
from stages.models import branching, encoder_decoder
from stages.tasks import sequence_to_sequence
from stages.tasks.sequence_to_sequence import Brackets, SequenceToSequence

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
CELLS = ["elman", "elman_relu", "gru", "lstm"]
SHAPES: list[dict[str, Any]] = [
    *({"cell": cell, "attention": "additive"} for cell in CELLS),
    *({"cell": cell, "attention": "none", "layers": 2} for cell in CELLS),
    *({"cell": "lstm", "encoder_cell": encoder, "attention": "general"} for encoder in CELLS),
    {"cell": "gru", "encoder_cell": "lstm", "attention": "dot", "encoder_hidden": 12},
    {"cell": "gru", "attention": "dot", "bidirectional": False, "reversed": True},
    {"cell": "gru", "attention": "none", "bidirectional": False, "layers": 2},
    {"cell": "gru", "attention": "additive", "input_feeding": True},
    {"cell": "lstm", "attention": "general", "input_feeding": True, "layers": 2},
]


def build_task(
    subword_least: int | None = None,
    settings: dict[str, Any] | None = None,
    examples: list[Example] = EXAMPLES,
    **model: Any,
) -> SequenceToSequence:
    torch.manual_seed(0)
    values = {"embedding": 16, "source_least": 1, "target_least": 1, "label_smoothing": 0.1} | (settings or {})
    task_settings = sequence_to_sequence.Settings(subword_least=subword_least, **values)
    model_settings = encoder_decoder.Settings(hidden=24, attention_size=8, **model)
    vocabularies = sequence_to_sequence.fit_vocabularies(examples, task_settings)
    task = sequence_to_sequence.build(
        task_settings, vocabularies, lambda size: encoder_decoder.build(model_settings, size)
    ).eval()
    assert isinstance(task, SequenceToSequence)
    return task


def random_source(model: encoder_decoder.EncoderDecoder) -> tuple[Padded, Padded]:
    generator = torch.Generator().manual_seed(1)
    draw = [torch.randn(length, 16, generator=generator) for length in (5, 2, 7)]
    return pad(draw), pad([torch.randn(length, 16, generator=generator) for length in (4, 6, 6)])


@pytest.mark.parametrize("shape", SHAPES)
@torch.no_grad()
def test_decoding_step_by_step_equals_the_whole_sequence(shape: dict[str, Any]) -> None:
    model = encoder_decoder.build(encoder_decoder.Settings(hidden=24, **shape), 16).eval()
    source, target = random_source(model)
    memory, first = model.encode(source.values, source.lengths)
    whole, last, _ = model.decode(target.values, first, memory)
    state, steps = first, []
    for step in range(target.values.shape[1]):
        output, state, _ = model.decode(target.values[:, step : step + 1], state, memory)
        steps.append(output)
    torch.testing.assert_close(torch.cat(steps, dim=1), whole)
    torch.testing.assert_close(state, last)


@pytest.mark.parametrize("shape", SHAPES)
@torch.no_grad()
def test_padding_changes_nothing(shape: dict[str, Any]) -> None:
    model = encoder_decoder.build(encoder_decoder.Settings(hidden=24, **shape), 16).eval()
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
def test_dot_and_general_attention_are_those_of_luong() -> None:
    values, query = torch.randn(1, 6, 4), torch.randn(1, 1, 4)
    padding = torch.arange(6)[None] < 5
    for attention, product in (
        (encoder_decoder.Attention(), torch.eye(4)),
        ((general := encoder_decoder.GeneralAttention(4, 4)), general.memory.weight),
    ):
        memory = encoder_decoder.Memory(values, attention.keys(values), padding)
        energies = torch.stack([query[0, 0] @ product @ value for value in values[0, :5]])
        found = attention(query, memory)[0, 0]
        torch.testing.assert_close(found[:5], energies.softmax(dim=0))
        assert float(found[5]) == 0


@torch.no_grad()
def test_input_feeding_tells_the_next_step_what_attention_found() -> None:
    model = encoder_decoder.build(encoder_decoder.Settings(hidden=24, input_feeding=True), 16).eval()
    source, target = random_source(model)
    memory, (first, fed) = model.encode(source.values, source.lengths)
    outputs, (_, last), _ = model.decode(target.values, (first, fed), memory)
    torch.testing.assert_close(last, outputs[:, -1])
    second, _, _ = model.decode(target.values[:, :1], (first, torch.ones_like(fed)), memory)
    assert not torch.allclose(second, outputs[:, :1])


@torch.no_grad()
def test_a_reversed_source_is_read_from_its_end_and_remembered_in_its_order() -> None:
    torch.manual_seed(0)
    plain = {"hidden": 24, "bidirectional": False, "attention": "general"}
    turned = encoder_decoder.build(encoder_decoder.Settings(reversed=True, **plain), 16).eval()
    straight = encoder_decoder.build(encoder_decoder.Settings(**plain), 16).eval()
    straight.load_state_dict(turned.state_dict())
    source, _ = random_source(turned)
    values = torch.stack([torch.cat([row[:n].flip(0), row[n:]]) for row, n in zip(*vars(source).values(), strict=True)])
    memory, state = turned.encode(source.values, source.lengths)
    other, same = straight.encode(values, source.lengths)
    torch.testing.assert_close(state, same)
    torch.testing.assert_close(memory.values[0, :5], other.values[0, :5].flip(0))


@pytest.mark.parametrize(
    ("values", "complaint"),
    [
        ({"attention": "dot", "hidden": 24}, "dot multiplies the decoder's 24 units with the encoder's 48"),
        ({"attention": "none", "hidden": 24, "input_feeding": True}, "attention is none"),
        ({"hidden": 24, "reversed": True}, "not bidirectional"),
    ],
)
def test_models_that_make_no_sense_are_refused(values: dict[str, Any], complaint: str) -> None:
    with pytest.raises(InputError, match=complaint):
        read_settings(encoder_decoder.Settings, values, "experiments.x.model")


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


def train(task: SequenceToSequence, updates: int, examples: list[Example] = EXAMPLES) -> float:
    task.train()
    batch = task.collate(examples)
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


def test_without_a_stop_symbol_the_decoder_knows_no_end() -> None:
    task = build_task(settings={"stop": False})
    assert train(task, 80) < 0.2, "every symbol is known by heart"
    settings = beam_search.Settings(beam=2, length_factor=0, length_offset=12)
    for example, record in zip(EXAMPLES, beam_search.decode(task, task.collate(EXAMPLES), settings), strict=True):
        assert record["prediction"].startswith(example["target"]) and len(record["prediction"]) == 12


@pytest.mark.parametrize("tied", [False, True])
def test_tied_vectors_are_the_rows_of_the_output_layer(tmp_path: Path, tied: bool) -> None:
    task = build_task(settings={"tied": tied})
    untied = build_task()
    symbols = len(task.vocabularies["target"])
    saved = 24 * symbols - (24 * 16 + 16) if tied else 0
    assert artifact.count_parameters(untied) - artifact.count_parameters(task) == saved
    train(task, 3)
    again = build_task(settings={"tied": tied})
    again.load_state_dict(task.state_dict())
    batch = task.collate(EXAMPLES)
    torch.testing.assert_close(again(batch), task(batch))


def test_scheduled_sampling_reads_what_the_decoder_puts_out_itself() -> None:
    task = build_task(settings={"sampling": 1.0, "label_smoothing": 0.0})
    forced = build_task(settings={"label_smoothing": 0.0})
    batch = task.collate(EXAMPLES)
    assert task.loss(batch)[0].item() == forced.loss(batch)[0].item(), "validation reads the true symbols"
    losses = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        losses.append(task.train().loss(batch)[0].item())
    assert losses[0] == losses[1] != losses[2]
    assert forced.train().loss(batch)[0].item() not in losses
    task.load_state_dict((train(forced, 150), forced.train().state_dict())[1])
    sampled, plain = task.loss(batch)[0].item(), forced.loss(batch)[0].item()
    assert sampled == pytest.approx(plain, rel=0.2), "who is sure of the truth draws the truth"


# Trees.

SETTINGS = {"source_unit": "symbol", "target_unit": "symbol", "grammar": "brackets"}
BRACKETS = {
    "Ali geldi .": "(root (nsubj • ) • (p • ) )",
    "Ali elma yedi": "(root (nsubj • ) (dobj • ) • )",
    "Geldi": "(root • )",
    "büyük elma geldi .": "(root (nsubj (amod • ) • ) • (p • ) )",
}
TREES: list[Example] = [
    {"id": str(number), "source": source.split(), "target": target.split()}
    for number, (source, target) in enumerate(BRACKETS.items(), start=1)
]


def walks(words: int, written: list[int]) -> list[list[int]]:
    """All sequences of kinds that Brackets lets one write, stop included."""
    brackets = Brackets.none(torch.tensor([words]))
    for kind in written:
        brackets = brackets.read_on(torch.tensor([kind]))
    if written and written[-1] == 3:
        return [written]
    legal = brackets.legal()[0].nonzero()[:, 0].tolist()
    return [walk for kind in legal for walk in walks(words, [*written, kind])]


@pytest.mark.parametrize("words", [1, 2, 3, 4])
def test_the_grammar_lets_write_every_tree_and_nothing_else(words: int) -> None:
    names = [treebank.OPEN + "x", treebank.WORD, treebank.CLOSE]
    written = {" ".join(names[kind] for kind in walk[:-1]) for walk in walks(words, [])}
    states = [([], treebank.State(words))]
    trees = set()
    while states:
        symbols, state = states.pop()
        if not (legal := sorted(state.legal())):
            trees.add(" ".join(symbols))
        for kind in legal:
            name = names[0] if kind == treebank.OPEN else kind
            states.append(([*symbols, name], state.after(kind)))
    assert written == trees and len(trees) == {1: 1, 2: 2, 3: 7, 4: 30}[words]


@pytest.mark.parametrize("attention", ["pointer", "additive"])
@torch.no_grad()
def test_who_knows_nothing_still_writes_trees(attention: Any) -> None:
    task = build_task(1, SETTINGS, TREES, attention=attention)
    sources = [{"id": "x", "source": ["Ali"] * words} for words in (1, 3, 5, 8)]
    found = beam_search.decode(task, task.collate(sources), beam_search.Settings(beam=3))
    for example, record in zip(sources, found, strict=True):
        heads, _ = treebank.tree(record["prediction"])
        assert len(heads) == len(example["source"])


def test_the_grammar_never_forbids_the_truth_and_trees_are_learnt_by_heart() -> None:
    task = build_task(1, SETTINGS, TREES, attention="pointer")
    rare = {"id": "5", "source": ["Ali", "geldi"], "target": ["(root", "(rare", "•", ")", "•", ")"]}
    assert UNKNOWN in task.vocabularies["target"].decode(task.collate([rare])["target"].values[0].tolist())
    assert bool(task.loss(task.collate([rare]))[0].isfinite())
    assert train(task, 0, TREES) > 0.5
    assert train(task, 80, TREES) < 0.1
    found = beam_search.decode(task, task.collate(TREES), beam_search.Settings(beam=2))
    assert [record["prediction"] for record in found] == [example["target"] for example in TREES]


@torch.no_grad()
def test_search_under_the_grammar_equals_teacher_forcing() -> None:
    task = build_task(1, SETTINGS, TREES, attention="pointer")
    batch = task.collate(TREES)
    target = batch["target"]
    assert isinstance(target, Padded)
    expected = task(batch).log_softmax(dim=1)
    row, column = target.mask.nonzero(as_tuple=True)
    state, last = task.start(batch), torch.full((len(TREES),), task.start_symbol)
    for step in range(target.values.shape[1]):
        scores, state = task.step(state, last)
        of_step = expected[column == step]
        of_step[:, task.never] = -torch.inf
        torch.testing.assert_close(scores[row[column == step]], of_step)
        last = target.values[:, step]


def test_a_pointer_needs_the_grammar_and_the_grammar_symbols() -> None:
    with pytest.raises(InputError, match="pointer looks at the next unread word"):
        build_task(attention="pointer")
    with pytest.raises(InputError, match="needs source_unit and target_unit symbol"):
        read_settings(sequence_to_sequence.Settings, {"grammar": "brackets"}, "experiments.x.task")


def test_a_list_is_no_text_and_a_text_no_list() -> None:
    with pytest.raises(InputError, match=r"source is a list; task\.source_unit should be symbol, but is word"):
        build_task(examples=TREES)
    with pytest.raises(InputError, match=r"source is a text; task\.source_unit should be word or character"):
        build_task(settings={"source_unit": "symbol"})
    with pytest.raises(InputError, match="the source of 7 has no symbol"):
        build_task().collate([{"id": "7", "source": " "}])


def test_a_trace_says_where_attention_looks() -> None:
    task = build_task()
    trace = task.trace(EXAMPLES[0])
    assert trace is not None and trace["kind"] == "attention"
    assert trace["source"] == ["open", "the", "window"] and trace["target"] == [*"打开窗口", STOP]
    assert [len(row) for row in trace["weights"]] == [3] * 5
    assert all(sum(row) == pytest.approx(1, abs=1e-3) for row in trace["weights"])
    assert build_task(attention="none").trace(EXAMPLES[0]) is None


def test_a_peer_is_fitted_to_symbols_and_answers_as_examples_have_them() -> None:
    settings = sequence_to_sequence.Settings(source_unit="symbol", target_unit="symbol")
    peer = sequence_to_sequence.build(
        settings, sequence_to_sequence.fit_vocabularies(TREES, settings), lambda size: branching.build(None, size)
    )
    peer.model.settings = branching.Settings(direction="left")
    peer.fit_peer(TREES)
    found = direct.decode(peer, peer.collate(TREES), direct.Settings())
    assert found[2]["prediction"] == ["(root", "•", ")"]
    missed = sum(record["prediction"] != example["target"] for record, example in zip(found, TREES, strict=True))
    assert float(peer.loss(peer.collate(TREES))[0]) == missed / 4


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


def test_greedy_search_is_scored_beside_the_beam() -> None:
    task = build_task()
    train(task, 12)
    batch = task.collate(EXAMPLES)
    both = beam_search.decode(task, batch, beam_search.Settings(beam=4, length_penalty=1.0, greedy=True))
    plain = beam_search.decode(task, batch, beam_search.Settings(beam=4, length_penalty=1.0))
    alone = beam_search.decode(task, batch, beam_search.Settings(beam=1))
    assert [{k: v for k, v in record.items() if k != "greedy"} for record in both] == plain
    assert [record["greedy"] for record in both] == [record["prediction"] for record in alone]
    scored = [example | record for example, record in zip(EXAMPLES, both, strict=True)]
    swapped = [example | record for example, record in zip(EXAMPLES, alone, strict=True)]
    found = bleu.score(scored, bleu.Settings())
    assert found["bleu_greedy"] == bleu.score(swapped, bleu.Settings())["bleu"] != found["bleu"]


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
