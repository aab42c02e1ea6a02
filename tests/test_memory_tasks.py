"""Repeat copy, associative recall, dynamic n-grams and priority sort, from data to figure."""

import io
import itertools
import math
import re
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch

from stages.core.base.errors import InputError
from stages.core.base.params import load, read_settings
from stages.core.learning.batch import Padded
from stages.core.learning.dataset import SPLITS, Example, Prepared
from stages.core.learning.task import Training
from stages.datasets import ngrams, recall, repeat_copy, sort
from stages.decoding import threshold
from stages.figures import examples_copy, heads
from stages.metrics import bits
from stages.models import lstm, neural_turing_machine
from stages.tasks import binary_sequence_prediction
from stages.tasks.binary_sequence_prediction import BinarySequencePrediction

PARAMS = Path(__file__).resolve().parent.parent / "params.yaml"

DATA: dict[ModuleType, dict[str, Any]] = {
    repeat_copy: {"train": 400, "validation": 20, "test": 6, "test_repeats": [20], "test_lengths": [15]},
    recall: {"train": 300, "validation": 5, "validation_items": [6], "test": 4, "test_items": [6, 15]},
    ngrams: {"train": 60, "validation": 5, "test": 4, "test_steps": [200, 300]},
    sort: {"train": 60, "validation": 5, "test": 4, "test_vectors": [20, 30]},
}
NAMES = {repeat_copy: "repeat_copy", recall: "recall", ngrams: "ngrams", sort: "sort"}


def generated(module: ModuleType, **changes: Any) -> Prepared:
    values = {"seed": 1, **DATA[module], **changes}
    prepared: Prepared = module.generate(read_settings(module.Settings, values, f"generated.{NAMES[module]}"))
    return prepared


def make_task(name: str, model: str = "neural_turing_machine", **changes: Any) -> BinarySequencePrediction:
    """Make the task of params.yaml with a small model."""
    torch.manual_seed(0)
    values = {key: value for key, value in load(PARAMS).experiments[f"{name}_ntm"].task.items() if key != "name"}
    settings = read_settings(binary_sequence_prediction.Settings, values | changes, "task")
    small = neural_turing_machine.Settings(controller="lstm", hidden=20, locations=12, width=6)
    if model == "lstm":
        return binary_sequence_prediction.build(settings, {}, lambda size: lstm.build(lstm.Settings(hidden=9), size))
    return binary_sequence_prediction.build(settings, {}, lambda size: neural_turing_machine.build(small, size))


def padded(task: BinarySequencePrediction, examples: list[Example], name: str) -> Padded:
    value = task.collate(examples)[name]
    assert isinstance(value, Padded)
    return value


@pytest.mark.parametrize("module", DATA)
def test_counts_are_those_asked_for_and_no_sequence_is_in_two_splits(module: ModuleType) -> None:
    splits = generated(module).splits
    asked = DATA[module]
    kinds = 3 if module is repeat_copy else 2
    assert [len(splits[split]) for split in SPLITS] == [asked["train"], asked["validation"], kinds * asked["test"]]
    keys = {split: {example["key"] for example in splits[split]} for split in SPLITS}
    assert not any(a & b for a, b in itertools.combinations(keys.values(), 2))
    examples = [example for split in SPLITS for example in splits[split]]
    assert len({example["id"] for example in examples}) == len(examples)
    shown = {str([example.get(part) for part in ("input", "scalars", "query")]) for example in examples}
    assert len({example["key"] for example in examples}) == len(shown)


@pytest.mark.parametrize("module", DATA)
def test_same_seed_same_sequences_another_seed_others(module: ModuleType) -> None:
    assert generated(module).splits == generated(module).splits
    assert generated(module).splits["test"] != generated(module, seed=2).splits["test"]
    assert generated(module).splits["test"] == generated(module, train=9).splits["test"]


def test_repeat_copy_wants_the_vectors_so_often_and_then_the_end_mark() -> None:
    splits = generated(repeat_copy).splits
    for example in (example for split in SPLITS for example in splits[split]):
        vectors, repeats = [step[:8] for step in example["input"][1:-1]], example["repeats"]
        assert len(vectors) == example["length"]
        assert example["input"] == ["0000000010", *(vector + "00" for vector in vectors), "0000000001"]
        assert example["scalars"] == [None] * (len(vectors) + 1) + [repeats]
        assert example["target"] == [vector + "0" for vector in vectors] * repeats + ["000000001"]
    sizes = {split: {(e["length"], e["repeats"]) for e in splits[split]} for split in ("train", "test")}
    assert {length for length, _ in sizes["train"]} == {repeats for _, repeats in sizes["train"]} == set(range(1, 11))
    beyond = {(e["range"], e["length"], e["repeats"]) for e in splits["test"] if e["range"] != "in_range"}
    assert beyond == {("20_repeats", 10, 20), ("15_vectors", 15, 10)}


def test_repeat_copy_leaves_held_out_sequences_to_their_split_however_few_there_are() -> None:
    crowded = generated(
        repeat_copy, width=1, longest=2, most_repeats=3, validation=5, test=5, test_repeats=[], test_lengths=[]
    )
    keys = {split: {example["key"] for example in crowded.splits[split]} for split in SPLITS}
    assert [len(keys[split]) for split in SPLITS] == [8, 5, 5]  # 2 x 3 sequences of one vector and 4 x 3 of two
    with pytest.raises(InputError, match="drawn for train are all in validation or test"):
        generated(
            repeat_copy, width=1, longest=1, most_repeats=2, validation=2, test=2, test_repeats=[], test_lengths=[]
        )


def test_recall_asks_for_the_item_after_the_query() -> None:
    splits = generated(recall).splits
    for example in (example for split in SPLITS for example in splits[split]):
        steps, count = example["input"], example["length"]
        shown = [steps[4 * item : 4 * item + 4] for item in range(count)]
        asked = steps[4 * count :]
        assert all(item[0] == "00000010" and all(vector[6:] == "00" for vector in item[1:]) for item in shown)
        assert (asked[0], asked[4:]) == ("00000001", ["00000001"])
        found = [item[1:] for item in shown].index(asked[1:4])
        assert found == example["query"] < count - 1
        assert example["target"] == [vector[:6] for vector in shown[found + 1][1:]]
        assert len({tuple(item) for item in shown}) == count
    assert {example["length"] for example in splits["train"]} == set(range(2, 7))


def test_ngrams_predict_each_bit_after_the_first_context() -> None:
    for example in generated(ngrams).splits["test"]:
        drawn = [*example["input"], example["target"][-1]]
        assert len(drawn) == example["length"] and drawn[5:] == example["target"]
    lengths = {example["length"] for example in generated(ngrams, shortest=198, train=30).splits["train"]}
    assert lengths == {198, 199, 200}


def bayes_by_integral(drawn: str, context: int) -> float:
    """Cost by definition: the chance of the next bit given the earlier ones, the chance in a context integrated out."""
    cost = 0.0
    for end in range(context, len(drawn)):
        follows = [drawn[i] for i in range(context, end) if drawn[i - context : i] == drawn[end - context : end]]
        ones, zeros = follows.count("1"), follows.count("0")
        # Beta(a, b) integrates p^(a - 1) (1 - p)^(b - 1); with p = sin^2(t), dp / sqrt(p (1 - p)) = 2 dt.
        angles = [(step + 0.5) / 4000 * math.pi / 2 for step in range(4000)]
        weights = [math.sin(t) ** (2 * ones) * math.cos(t) ** (2 * zeros) for t in angles]
        chance = sum(w * math.sin(t) ** 2 for w, t in zip(weights, angles, strict=True)) / sum(weights)
        cost -= math.log2(chance if drawn[end] == "1" else 1 - chance)
    return cost


def test_bayes_cost_is_that_of_the_posterior_mean() -> None:
    drawn = "110100110101110011010"
    for context in (1, 2, 5):
        assert ngrams.bayes_bits(drawn, context) == pytest.approx(bayes_by_integral(drawn, context), rel=1e-6)
    assert ngrams.bayes_bits("0101", 1) == pytest.approx(-math.log2(1 / 2 * 1 / 2 * 3 / 4))


def test_bayes_cost_is_less_than_that_of_a_coin_and_more_than_that_of_who_knows_the_table() -> None:
    costs = [example["bayes_bits"] for example in generated(ngrams, test=150, test_steps=[200]).splits["test"]]
    knowing = 195 * (2 - 1 / math.log(2))  # entropy of a coin whose chance is from Beta(1/2, 1/2), in bits
    assert knowing + 5 < sum(costs) / len(costs) < 0.75 * 195


def test_sort_wants_the_highest_priorities_first() -> None:
    for example in generated(sort).splits["test"]:
        vectors, priorities = [step[:8] for step in example["input"][:-1]], example["scalars"][:-1]
        assert len(vectors) == len(priorities) == example["length"] and example["scalars"][-1] is None
        assert [step[8] for step in example["input"]] == ["0"] * len(vectors) + ["1"]
        assert all(-1 <= priority <= 1 for priority in priorities)
        left = dict(zip(priorities, vectors, strict=True))
        assert example["target"] == [left.pop(max(left)) for _ in range(16)]
    few = generated(sort, fewest=3, vectors=4).splits["train"]
    assert {(example["length"], len(example["target"])) for example in few} == {(3, 3), (4, 4)}


@pytest.mark.parametrize(
    ("module", "changes", "part"),
    [
        (recall, {"fewest": 7}, "fewest is 7, above most, which is 6"),
        (recall, {"test_items": [1]}, r"generated\.recall\.test_items"),
        (recall, {"width": 1, "vectors": 1}, "up to 15 different items, but there are only 2"),
        (ngrams, {"test_steps": [5]}, "sequences of 5 bits have none to predict after 5"),
        (ngrams, {"steps": 6, "shortest": 6, "train": 900, "validation": 64}, "drawn for"),
        (ngrams, {"steps": 100}, "shortest is 200, above steps, which is 100"),
        (sort, {"vectors": 15}, "fewest is 20, above vectors, which is 15"),
    ],
)
def test_impossible_settings_are_refused(module: ModuleType, changes: dict[str, Any], part: str) -> None:
    with pytest.raises(InputError, match=part):
        generated(module, **changes)


def test_numbers_are_scaled_to_mean_0_and_variance_1_and_absent_ones_are_0() -> None:
    examples = generated(repeat_copy).splits["train"]
    task = make_task("repeat_copy")
    task.observe(examples, {})
    inputs = padded(task, examples, "inputs")
    last = inputs.values[torch.arange(len(examples)), inputs.lengths - 1, 10]
    assert float(last.mean()) == pytest.approx(0, abs=1e-5) and float(last.std(correction=0)) == pytest.approx(
        1, rel=1e-5
    )
    assert float(inputs.values[..., 10].sum()) == pytest.approx(float(last.sum()), abs=1e-4)
    repeats = torch.tensor([float(example["repeats"]) for example in examples])
    assert torch.allclose((repeats - repeats.mean()) / repeats.std(correction=0), last, atol=1e-5)


def test_what_numbers_are_scaled_by_is_kept_with_the_model() -> None:
    task, other = make_task("repeat_copy"), make_task("repeat_copy")
    examples = generated(repeat_copy).splits["train"]
    task.observe(examples, {})
    other.load_state_dict(task.state_dict())
    assert torch.equal(padded(task, examples, "inputs").values, padded(other, examples, "inputs").values)


def test_answers_during_the_input_are_scored_in_its_last_steps() -> None:
    task = make_task("ngrams")
    example = {"id": "a", "length": 8, "input": list("1011010"), "target": list("101")}
    assert task.size(example) == 7
    inputs = padded(task, [example], "inputs")
    assert inputs.values.shape == (1, 7, 1) and inputs.lengths.tolist() == [7]
    with torch.no_grad():
        outputs, _ = task.model(inputs.values, inputs.lengths)
        assert torch.allclose(task.logits(task.collate([example])), task.head(outputs[:, 4:]))
        longer = {"id": "b", "length": 11, "input": list("1011010101"), "target": list("101010")}
        together = task.logits(task.collate([example, longer]))
        assert torch.allclose(together[0, :3], task.head(outputs[0, 4:]), atol=1e-6)


def test_a_bit_to_predict_is_not_seen_before() -> None:
    task = make_task("ngrams")
    one, other = (
        {"id": "a", "length": 8, "input": list("10110" + bit + "0"), "target": list(bit + "01")} for bit in "01"
    )
    with torch.no_grad():
        costs = task.logits(task.collate([one])), task.logits(task.collate([other]))
    assert torch.equal(costs[0][0, 0], costs[1][0, 0]) and not torch.equal(costs[0][0, 1], costs[1][0, 1])


def test_growth_begins_with_short_sequences() -> None:
    examples = generated(recall).splits["train"]
    task = make_task("recall", growth=4, epoch=50)
    longest = []
    for task.current_epoch in range(5):
        drawn = task.draw(examples, torch.Generator().manual_seed(task.current_epoch))
        longest.append(max(example["length"] for example in drawn))
    assert longest == [3, 4, 5, 6, 6]


def test_selection_scores_the_lengths_it_names() -> None:
    examples = generated(recall).splits["test"]
    task, all_lengths = make_task("recall", selection=[15]), make_task("recall")
    with torch.no_grad():
        task.validation_update(task.collate(examples))
        all_lengths.validation_update(all_lengths.collate(examples[4:]))
        task.validation_update(task.collate(examples[:4]))
    assert task.validation_scores()[task.monitor] == pytest.approx(
        all_lengths.validation_scores()[task.monitor], rel=1e-5
    )


PLAN = Training(learning_rate=0.1, schedule="linear", batch_size=2, epochs=6, clip_norm=1.0, seeds=[1])


def test_a_restart_begins_from_other_weights_with_the_first_learning_rate() -> None:
    task = make_task("recall", restarts=3, growth=0)
    task.prepare_training(PLAN, [], [])
    optimizer = torch.optim.Adam(task.parameters(), lr=1.0)
    examples = generated(recall).splits["train"][:2]
    first = [weight.detach().clone() for weight in task.parameters()]
    rates = []
    for epochs in (0.0, 0.5, 1.0, 1.5, 2.0):
        task.prepare_update(optimizer, epochs)
        rates.append(optimizer.param_groups[0]["lr"])
        if epochs < 2:
            task.loss(task.collate(examples))[0].backward()
            optimizer.step()
    assert rates == pytest.approx([0.1, 0.075, 0.05, 0.025, 0.1])
    assert not optimizer.state
    # Biases are not drawn, so they are what they were; weights are drawn anew.
    same = [torch.equal(a, b) for a, b in zip(first, task.parameters(), strict=True)]
    names = [name for name, _ in task.named_parameters()]
    assert {name for name, equal in zip(names, same, strict=True) if equal} == {
        name for name in names if name.endswith("bias")
    }


@pytest.mark.parametrize(
    ("task", "plan", "part"),
    [
        ({"restarts": 4, "growth": 0}, {}, "restarts is 4, so training.epochs, 6, should be a multiple"),
        ({"restarts": 3}, {}, "and task.growth"),
        ({"restarts": 3, "growth": 0}, {"patience": 2}, "without training.average, training.patience"),
        ({"selection": [7]}, {}, "selection is [7], but no validation sequence"),
    ],
)
def test_a_training_that_cannot_be_so_is_refused(task: dict[str, Any], plan: dict[str, Any], part: str) -> None:
    values = {"learning_rate": 0.1, "batch_size": 2, "epochs": 6, "clip_norm": 1.0, "seeds": [1], **plan}
    with pytest.raises(InputError, match=re.escape(part)):
        make_task("recall", **task).prepare_training(Training(**values), [], generated(recall).splits["validation"])


TYPED = {
    "repeat_copy": ("10110010 01010101 x 3", repeat_copy),
    "recall": ("101010 111000 000111 ; 110011 001100 010101 ? 101010 111000 000111", recall),
    "ngrams": ("0110101101", ngrams),
    "sort": ("10110010:0.5 01010101:-0.25 11110000:1", sort),
}


@pytest.mark.parametrize("name", TYPED)
def test_a_typed_question_is_answered_and_shown(name: str) -> None:
    text, module = TYPED[name]
    task = make_task(name)
    (example,) = task.read_input(io.StringIO(text + "\n"))
    assert set(generated(module).splits["test"][0]) - set(example) <= {"range", "query", "bayes_bits"}
    with torch.no_grad():
        (said,) = threshold.decode(task, task.collate([example]), threshold.Settings())
    assert task.present(example | said).startswith("wanted  ")


def test_typed_questions_are_as_the_data_sets_are() -> None:
    for name in TYPED:
        for example in generated(TYPED[name][1]).splits["test"][:3]:
            (typed,) = make_task(name).read_input(io.StringIO(typed_line(name, example)))
            assert {part: typed[part] for part in typed if part not in ("id", "key")} == {
                part: value for part, value in example.items() if part in typed and part not in ("id", "key")
            }


def typed_line(name: str, example: Example) -> str:
    """Write a test example as a person would type it."""
    if name == "ngrams":
        return "".join([*example["input"], example["target"][-1]])
    if name == "repeat_copy":
        return " ".join(step[:8] for step in example["input"][1:-1]) + f" x {example['repeats']}"
    if name == "sort":
        pairs = zip(example["input"][:-1], example["scalars"][:-1], strict=True)
        return " ".join(f"{vector[:8]}:{priority}" for vector, priority in pairs)
    items = [" ".join(v[:6] for v in example["input"][4 * i + 1 : 4 * i + 4]) for i in range(example["length"])]
    return " ; ".join(items) + " ? " + items[example["query"]]


@pytest.mark.parametrize(
    ("name", "text", "part"),
    [
        ("repeat_copy", "10110010 01010101", "line 1 is '10110010 01010101'; it should end with x"),
        ("repeat_copy", "1011001 x 3", "line 1 has '1011001'; a vector should be 8 digits"),
        ("recall", "101010 ; 111000", "line 1 is .*; after the items should come"),
        ("recall", "101010 ; 111000 ? 111000", "asks for what follows an item that is not there, or the last"),
        ("recall", "101010 ; 111000 000000 ? 101010", "items of different lengths"),
        ("recall", "101010 ; ? 101010", "line 1 has ''; a vector should be 6 digits"),
        ("ngrams", "\n01101", "line 2 is '01101'; it should be at least 6 digits"),
        ("ngrams", "0110112", "it should be at least 6 digits"),
        ("sort", "10110010:0.5 01010101", "a priority from -1 to 1 after each vector"),
        ("sort", "10110010:1.5", "a priority from -1 to 1 after each vector"),
        ("sort", "10110010:nan", "a priority from -1 to 1 after each vector"),
        ("sort", "1011:0.5", "line 1 has '1011'"),
    ],
)
def test_bad_questions_are_refused(name: str, text: str, part: str) -> None:
    with pytest.raises(InputError, match=part):
        make_task(name).read_input(io.StringIO(text + "\n"))


def test_metric_sets_bits_beside_the_bayes_cost() -> None:
    def record(length: int, cost: float, bayes: float) -> dict[str, Any]:
        return {"length": length, "target": ["0"], "wrong_bits": 0, "bits": cost, "bayes_bits": bayes}

    scores = bits.score(
        [record(200, 60, 40), record(200, 60, 60), record(400, 90, 60)], bits.Settings(length=200, bayes=True)
    )
    assert scores == {
        "bits_per_sequence": 60.0,
        "bayes_bits_per_sequence": 50.0,
        "excess_over_bayes": pytest.approx(20),
        "excess_over_bayes_400": pytest.approx(50),
    }


def test_metric_by_range() -> None:
    def record(name: str, wrong: int) -> dict[str, Any]:
        return {"length": 1, "range": name, "target": ["0000"], "wrong_bits": wrong, "bits": 2.0 * wrong}

    records = [record("in_range", 0), record("in_range", 1), record("20_repeats", 4)]
    assert bits.score(records, bits.Settings(range="in_range")) == {
        "bits_per_sequence": 1.0,
        "bit_error_rate_20_repeats": 100.0,
        "exact_match_20_repeats": 0.0,
        "bit_error_rate_in_range": 12.5,
        "exact_match_in_range": 50.0,
    }
    with pytest.raises(InputError, match=r"range 30_repeats, which metric\.range names; there are \['20_repeats'"):
        bits.score(records, bits.Settings(range="30_repeats"))


def test_trace_has_the_heads_of_two_sequences_and_is_drawn() -> None:
    examples = generated(recall).splits["test"]
    task = make_task("recall").eval()
    with torch.inference_mode():
        trace = task.trace(task.most_telling(examples))
        assert trace is not None
        weights = task.model.trace(padded(task, examples[:1], "inputs").values, torch.tensor([32]))[0]
    short, long = trace["sequences"]
    assert (short["id"], long["id"]) == (examples[0]["id"], examples[4]["id"])
    assert (short["answer"], len(short["weights"]), len(short["weights"][0])) == (29, 2, 32)
    read, written = (heads.locations(head) for head in short["weights"])
    assert read[0][:2] == pytest.approx(weights[0, 0, :2].tolist(), abs=1 / 70)
    assert written[31][:2] == pytest.approx(weights[31, 1, :2].tolist(), abs=1 / 70)
    assert heads.fits(trace) and not heads.fits({"layers": []})
    text = heads.draw(trace)
    assert text.count("<figure") == 2 and text.count(">read head<") == text.count(">write head<") == 2
    assert "29 steps of input, 3 of answer" in text


def test_a_head_is_drawn_where_it_is() -> None:
    sequence = {"id": "a", "input": ["01", "10"], "target": ["11"], "prediction": ["10"], "answer": 2}
    text = heads.draw({"read_heads": 1, "sequences": [{**sequence, "weights": [["z00", "0z0", "0zi"]]}]})
    assert re.findall(r'class="read" fill-opacity="(.*?)" d="(.*?)"', text) == [
        ("0.51", "M2 2h1v1h-1z"),
        ("1.0", "M0 0h1v1h-1zM1 1h1v1h-1zM2 1h1v1h-1z"),
    ]
    assert re.findall(r'class="differs" fill-opacity="1" d="(.*?)"', text) == ["M2 1h1v1h-1z"]
    assert "1 of 2 bits wrong" in text


def test_a_model_without_memory_has_no_heads_to_trace() -> None:
    task = make_task("recall", "lstm")
    assert task.trace(generated(recall).splits["test"][0]) is None


def test_one_example_of_each_range_is_shown() -> None:
    def item(name: str, **more: Any) -> dict[str, dict[str, Any]]:
        return {"x": {"id": name, "target": ["01"], "prediction": ["01"], **more}}

    ranges = [item(name, length=1, range=name) for name in ("20_repeats", "in_range", "in_range")]
    assert examples_copy.choose(ranges) == [ranges[1], ranges[0]]
    lengths = [item(str(length), length=length) for length in (10, 6, 15, 6)]
    assert examples_copy.choose(lengths) == [lengths[1], lengths[2]]


@pytest.mark.parametrize("name", ["repeat_copy", "recall", "ngrams", "sort"])
def test_training_overfits_a_few_sequences(name: str) -> None:
    module = TYPED[name][1]
    examples = generated(module).splits["train"]
    task = make_task(name)
    task.observe(examples, {})
    examples = sorted(examples, key=task.size)[:3]
    if name == "ngrams":
        examples = [{**e, "input": e["input"][:20], "target": e["target"][:16]} for e in examples]
    batch = task.collate(examples)
    optimizer = torch.optim.Adam(task.parameters(), lr=0.01)
    losses = []
    for _ in range(120):
        optimizer.zero_grad()
        loss, _ = task.loss(batch)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(task.parameters(), 10)
        optimizer.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.35 * losses[0]
