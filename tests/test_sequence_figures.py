"""The report's figures of sequences to sequences and of auto-encoders say what the records and traces say."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from stages import report
from stages.core.base.files import write_json, write_jsonl, write_text
from stages.core.base.params import Experiment, Params
from stages.figures import (
    attention_map,
    examples_autoencoded,
    examples_copy,
    examples_parsing,
    examples_pronunciation,
    examples_sentiment,
    examples_translation,
    extremes,
    length_scores,
    lines,
    neighbours,
    similarity_bands,
    themes,
    vector_map,
)
from stages.metrics import bleu
from stages.reporting import drawing, results, section_figures, worked_examples

Record = dict[str, Any]
TREE = ["(root", "(nsubj", "•", ")", "(dobj", "•", ")", "•", ")"]
WRONG_LABEL = ["(root", "(nsubj", "•", ")", "(iobj", "•", ")", "•", ")"]
CHAIN = ["(root", "•", "(nsubj", "•", "(dobj", "•", ")", ")", ")"]
UNCLOSED = TREE[:-1]


def translation(identity: str, target: str, prediction: str, **more: Any) -> Record:
    return {"id": identity, "source": f"{identity} <b>", "target": target, "prediction": prediction, **more}


def word(letters: str, prediction: str, *targets: str) -> Record:
    said = [target.split() for target in targets]
    record = {"id": letters, "source": letters, "targets": said, "target": said[0]}
    return {**record, "prediction": prediction.split()}


def parse(prediction: list[str], identity: str = "s") -> Record:
    return {"id": identity, "source": ["Ali", "<b>", "yedi"], "target": TREE, "prediction": prediction}


def text(identity: str, prediction: str, **more: Any) -> Record:
    record = {"id": identity, "target": identity.split(), "prediction": prediction.split(), "vector": [1.0, 0.0]}
    return {**record, **more}


def spoken(identity: str, said: str, *vector: float, **more: Any) -> Record:
    return {"id": identity, "word": said, "vector": list(vector), **more}


def attention(source: list[str], target: list[str], weights: list[list[float]]) -> dict[str, Any]:
    return {"kind": "attention", "source": source, "target": target, "weights": weights}


# Attention.


def test_attention_map_has_a_row_a_symbol_put_out_and_tells_every_weight() -> None:
    trace = attention(["new", "<b>"], ["新", "的", "。"], [[0.9, 0.1], [0.05, 0.95], [0.5, 0.5]])
    drawn = str(attention_map.draw(trace))
    assert re.findall(r'scope="row" lang="zh">(.)<', drawn) == ["新", "的", "。"]
    assert re.findall(r'title="(.*?)">(\d*)<', drawn) == [
        ("新 ← new: 90 %", "90"),
        ("新 ← &lt;b&gt;: 10 %", "10"),
        ("的 ← new: 5 %", ""),
        ("的 ← &lt;b&gt;: 95 %", "95"),
        ("。 ← new: 50 %", "50"),
        ("。 ← &lt;b&gt;: 50 %", "50"),
    ]
    assert re.findall(r"--share: (\d+)%", drawn) == ["54", "6", "3", "57", "30", "30"]


def test_only_a_whole_matrix_of_weights_is_an_attention_map() -> None:
    assert attention_map.fits(attention(["a"], ["b"], [[1.0]]))
    assert not attention_map.fits(attention(["a"], ["b"], [[0.5, 0.5]]))
    assert not attention_map.fits(attention(["a"], ["b", "c"], [[1.0]]))
    assert not attention_map.fits({"kind": "posteriors"})
    assert not attention_map.fits({"layers": []})


# Score by length.


def test_bands_of_length_are_of_one_width_and_the_last_takes_in_what_is_longer() -> None:
    assert length_scores.bands([3, 1, 2, 2]) == [range(1, 2), range(2, 3), range(3, 4)]
    assert length_scores.bands([]) == []
    parts = length_scores.bands([*range(1, 13)] * 10 + [40])
    assert [length_scores.name(part, part is parts[-1]) for part in parts] == [
        "1–2",
        "3–4",
        "5–6",
        "7–8",
        "9–10",
        "11+",
    ]
    assert 40 in parts[-1]


def test_every_kind_of_record_has_its_measure() -> None:
    kinds = [
        ({"symbols": ["1"], "prediction": ["1"]}, "token error rate (%)"),
        (word("box", "B", "B AA K S"), "phoneme error rate (%)"),
        (parse(TREE), "bracket F1 (%)"),
        (text("a b", "a b"), "exact match (%)"),
        (translation("t", "好", ""), "BLEU"),
    ]
    for record, unit in kinds:
        measure = length_scores.measure_of([record])
        assert measure is not None
        assert measure.unit == unit
    assert length_scores.measure_of([{"label": "a", "prediction": "a"}]) is None
    assert length_scores.measure_of([]) is None


def test_error_rate_of_speech_is_by_the_number_of_symbols_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(length_scores, "FEWEST", 2)
    said = [("ab", "ab"), ("ab", "a"), ("abcd", "abcd"), ("abcd", "xbcd"), ("a", "")]
    records = [{"symbols": list(symbols), "prediction": list(heard)} for symbols, heard in said]
    measure = length_scores.measure_of(records)
    assert measure is not None
    assert length_scores.points(records, measure) == {"2": 25.0, "4": 12.5}


def test_phones_are_compared_with_the_nearest_pronunciation() -> None:
    records = [word("the", "DH IY", "DH AH", "DH IY"), word("a", "EY", "AH")]
    assert length_scores.phoneme_error_rate(records) == pytest.approx(100 / 3)


def test_brackets_are_scored_by_label_and_ends_and_a_malformed_tree_has_none() -> None:
    assert length_scores.bracket_f1([parse(TREE)]) == 100
    assert length_scores.bracket_f1([parse(WRONG_LABEL)]) == pytest.approx(200 / 3)
    assert length_scores.bracket_f1([parse(CHAIN)]) == pytest.approx(100 / 3)  # the root alone
    assert length_scores.bracket_f1([parse(UNCLOSED)]) == 0
    for malformed in (UNCLOSED, TREE[1:], [*TREE, ")"], ["•"] * 3, ["(root", "•", "•", "•", ")"], TREE * 2, []):
        assert length_scores.spans(malformed, 3) is None
    assert length_scores.spans(["(root", "•", "(p", ")", ")"], 1) is None


def test_chart_of_lines_needs_two_bands_and_leaves_out_who_has_none() -> None:
    colours = {"one": "red", "two": "blue"}
    assert lines.chart({"one": {"1": 5.0}, "two": {"2": 5.0}}, ["1", "2"], ("x", "y"), colours) is None
    drawn = str(
        drawing.inline(lines.chart({"one": {"1": 5.0, "2": 6.25}, "two": {}}, ["1", "2"], ("x", "y"), colours), "")
    )
    assert "<title>one, 2: 6.25</title>" in drawn
    assert "two" not in drawn


# Similarity.


def test_bands_of_similarity_are_told_with_their_sentences() -> None:
    bands = ["below_0.4", "0.4_to_0.7", "above_0.7"]
    metrics = {"bleu": {"mean": 20.0}} | {f"bleu_similarity_{band}": {"mean": 10.0 * n} for n, band in enumerate(bands)}
    assert similarity_bands.metric_of(metrics) == "bleu"
    assert similarity_bands.metric_of({"bleu": {"mean": 20.0}}) == ""
    assert similarity_bands.bands(metrics, "bleu") == bands
    records = [{"similarity": value} for value in (0.1, 0.39, 0.4, 0.7, 0.71)]
    named = similarity_bands.named(bands, records)
    assert list(named.values()) == ["below 0.4\n2 sentences", "0.4 to 0.7\n2 sentences", "above 0.7\n1 sentences"]
    assert list(similarity_bands.points(metrics, "bleu", named).values()) == [0.0, 10.0, 20.0]


# Trees.


def test_brackets_that_the_annotated_tree_has_not_are_marked() -> None:
    drawn = str(examples_parsing.show({"good": parse(TREE), "bad": parse(WRONG_LABEL), "chain": parse(CHAIN)}))
    annotated, good, bad, chain = re.findall(r"<figure>.*?</figure>", drawn, flags=re.DOTALL)
    assert [part.count('class="bar wrong"') for part in (annotated, good, bad, chain)] == [0, 0, 1, 2]
    assert [part.count('class="bar"') for part in (annotated, good, bad, chain)] == [3, 3, 2, 1]
    assert "iobj ✗" in bad
    assert "2 of 3 brackets right" in bad
    assert "✓" in good
    assert drawn.count("&lt;b&gt;") == 4


def test_a_bar_covers_its_subtree_and_hangs_below_the_bar_around_it() -> None:
    brackets = examples_parsing.read(TREE, 3)
    assert [(b.label, b.start, b.end, b.head, b.depth) for b in brackets] == [
        ("root", 0, 3, 2, 0),
        ("nsubj", 0, 1, 0, 1),
        ("dobj", 1, 2, 1, 1),
    ]
    drawn = str(examples_parsing.show({"good": parse(TREE)}))
    bars = [tuple(map(float, bar)) for bar in re.findall(r'"bar" x="([\d.]+)" y="(\d+)" width="([\d.]+)"', drawn)][:3]
    (x, y, width), (x_nsubj, y_nsubj, width_nsubj), (x_dobj, y_dobj, _) = bars
    assert x == x_nsubj < x_nsubj + width_nsubj < x_dobj < x + width
    assert y < y_nsubj == y_dobj


@pytest.mark.parametrize(
    ("symbols", "why"),
    [
        (UNCLOSED, "1 bracket is never closed"),
        (["(root", "•", ")"], "1 of 3 tokens are read"),
        (["(root", "•", "•", ")"], "symbol 3 reads a second token in one bracket"),
        (["•"], "symbol 1 reads a token outside any bracket"),
        (["(root", ")"], "symbol 2 closes a bracket that has read no token"),
        ([")"], "symbol 1 closes a bracket that is not open"),
        ([*TREE, "(p"], "symbol 10 stands after the outermost bracket is closed"),
        (["root"], "symbol 1, &#39;root&#39;, is none of brackets"),
        ([], "0 of 3 tokens are read"),
    ],
)
def test_a_malformed_tree_is_shown_as_text_and_says_why(symbols: list[str], why: str) -> None:
    drawn = str(examples_parsing.show({"one": parse(symbols)}))
    assert f"malformed, no tree: {why}" in drawn
    assert f'<code class="symbols">{" ".join(symbols) or "(nothing)"}</code>' in drawn
    assert drawn.count("<svg") == 1
    assert examples_parsing.measure(parse(symbols)) == 0


def test_short_sentences_are_drawn_first() -> None:
    long = {"source": ["a"] * (examples_parsing.LONGEST + 1), "target": TREE, "prediction": CHAIN}
    chosen = examples_parsing.choose([{"one": long}, {"one": parse(CHAIN, "flawed")}, {"one": parse(TREE, "perfect")}])
    assert [item["one"]["id"] for item in chosen] == ["perfect", "flawed"]


# Best and worst.


def test_bleu_of_short_translations_counts_only_the_orders_that_they_have() -> None:
    same = [translation("a", "重启", "重启"), translation("b", "好", "好")]
    assert length_scores.bleu(same) == pytest.approx(100)
    half = [translation("a", "重启", "重好"), translation("b", "好", "好")]
    assert length_scores.bleu(half) == pytest.approx(100 * (2 / 3 * 0.5) ** 0.5)  # 2 of 3 characters, no pair: 1/2 of 1


def test_best_and_worst_are_chosen_by_the_measure_and_the_longest_of_equals_first() -> None:
    said = {"a": "B AA", "aaaa": "B AA", "aa": "B AA", "aaa": "B AA", "c": "B", "bbb": "P", "b": "P", "bb": "P"}
    records = [word(letters, phones, "B AA") for letters, phones in said.items()]
    best, worst = extremes.choose(records, examples_pronunciation)
    assert [record["id"] for record in best] == ["aaaa", "aaa", "aa"]
    assert [record["id"] for record in worst] == ["bbb", "bb", "b"]
    assert extremes.choose(records[::-1], examples_pronunciation) == (best, worst)
    best, worst = extremes.choose([records[0], records[1], records[4]], examples_pronunciation)
    assert [record["id"] for record in best + worst] == ["aaaa", "a", "c"]
    best, worst = extremes.choose([word("a" * size, "B AA", "B AA") for size in range(1, 7)], examples_pronunciation)
    assert [len(record["id"]) for record in best + worst] == [6, 5, 4, 3, 2, 1], "of equal ones none is both"


def test_best_and_worst_say_their_number_and_only_the_first_experiment_is_unfolded() -> None:
    records = [translation("a", "重启内核", "重启内核"), translation("b", "重启内核", "好")]
    drawn = str(extremes.draw({"one": records, "two": records}, examples_translation))
    assert re.findall(r'<p class="title">(.*?)</p>', drawn) == ["chrF 100", "chrF 0"] * 2
    assert re.findall(r'<details class="extremes"( open)?>\s*<summary>(\w+)', drawn) == [(" open", "one"), ("", "two")]
    drawn = str(extremes.draw({"one": [word("ab", "B", "B AA K S")] * 2}, examples_pronunciation))
    assert re.findall(r'<p class="title">(.*?)</p>', drawn) == ["75 % of the phones wrong"] * 2


def test_sentences_are_measured_as_said() -> None:
    assert examples_parsing.measure(parse(WRONG_LABEL)) == pytest.approx(200 / 3)
    assert examples_autoencoded.measure(text("a b c d", "a c d")) == 75
    assert examples_autoencoded.measure(text("a", "b c d")) == 0
    assert examples_translation.measure(translation("t", "重启", "重启")) == pytest.approx(100)


def test_phones_are_aligned_with_the_nearest_pronunciation() -> None:
    drawn = str(examples_pronunciation.show({"one": word("the", "DH IY S", "DH AH", "DH IY")}))
    assert re.findall(r"<(ins|del)>(.*?)<", drawn) == [("ins", "S")]
    assert "1 wrong" in drawn
    assert examples_pronunciation.right(word("the", "DH IY", "DH AH", "DH IY"))


# Which file shows which record.


def test_each_record_is_shown_by_its_own_kind() -> None:
    kinds = worked_examples.example_kinds()
    bits = {"id": "c", "length": 1, "target": ["01"], "prediction": ["01"]}
    opinion = {"id": "o", "text": "fine", "label": "positive", "prediction": "positive"}
    for record, module in [
        (parse(TREE), examples_parsing),
        (word("box", "B", "B AA K S"), examples_pronunciation),
        (text("a b", "a b"), examples_autoencoded),
        (text("10", "10"), examples_autoencoded),  # no bits to copy
        (text("fine", "fine", text="fine", label="positive"), examples_autoencoded),  # a sentence that has a label too
        (translation("t", "好", ""), examples_translation),
        (bits, examples_copy),
        (opinion, examples_sentiment),
    ]:
        assert next(kind for kind in kinds if kind.fits(record)) is module


# Maps and neighbours.


def test_a_map_keeps_the_largest_spread_and_tells_its_share() -> None:
    angles = np.array([0.0, 0.1, 0.2, 3.0])
    circle = np.stack([np.cos(angles), np.sin(angles), np.zeros(4)], axis=1)
    plane = vector_map.project(circle * np.array([[1.0], [5.0], [2.0], [3.0]]))  # lengths have no part in it
    assert sum(plane.shares) == pytest.approx(1)
    centred = circle - circle.mean(axis=0)
    assert np.linalg.norm(plane.points, axis=1) == pytest.approx(np.linalg.norm(centred, axis=1))
    assert (plane.points**2).sum(axis=0) / (centred**2).sum() == pytest.approx(plane.shares)
    assert plane.shares[0] > plane.shares[1]


def test_words_never_heard_are_triangles_and_every_point_tells_its_word() -> None:
    records = [spoken(str(n), said, x, 1.0) for n, (said, x) in enumerate([("0", 0.1), ("0", 0.2), ("7", -1.0)])]
    found = vector_map.words(records, ["7"])
    assert found is not None
    drawn = str(drawing.inline(found[0], ""))
    assert re.findall(r"<title>(.*?)</title>", drawn) == ["0", "0", "7 (not heard in training)"]
    chart = found[0].to_dict(validate=False)
    values = chart["datasets"][chart["layer"][0]["data"]["name"]]
    shapes = {value["said"]: value["shape"] for value in values}
    assert shapes == {"0": "circle", "7 (not heard in training)": "triangle-up"}
    assert vector_map.words(records[:2], []) is None


def test_at_most_so_many_vectors_are_drawn_whatever_their_order(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vector_map, "MOST", 3)
    records = [*(spoken(str(number), "0", number, 1.0) for number in range(9)), {"id": "dtw", "word": "0"}]
    assert len(vector_map.choose(records)) == 3
    assert vector_map.choose(records) == vector_map.choose(records[::-1])


def test_labels_of_a_map_lie_outside_and_apart() -> None:
    points = np.array([[1.0, 0.1], [0.5, 0.1], [-1.0, -0.04], [-1.0, 0.04], [0.0, 1.0]])
    assert set(vector_map.outer(points)) in ({0, 2, 4}, {0, 3, 4})  # places 2 and 3 would lie on each other


def test_neighbours_stand_under_each_experiment() -> None:
    near = [{"id": "x", "text": "a <b>", "cosine": 0.987}, {"id": "y", "text": "c", "cosine": -0.25}]
    one = [text("restart the kernel", "restart", neighbours=near)]
    two = [text("restart the kernel", "restart", neighbours=[["kernel", 0.5]])]
    drawn = str(neighbours.draw({"one": one, "two": two}))
    assert re.findall(r"<td>(.*?) <small>(.*?)<", drawn) == [
        ("a &lt;b&gt;", "0.99"),
        ("c", "−0.25"),
        ("kernel", "0.50"),
    ]
    assert "restart the kernel" in drawn
    assert neighbours.draw({"one": [text("a", "a")]}) is None


# On the page.

PEERS = ("translation_memory", "parsing_branching", "speech_autoencoder_dtw")
EXPERIMENTS: dict[str, tuple[str, dict[str, float], list[Record]]] = {
    "translation_gru": (
        "messages",
        {"bleu": 24.0, "bleu_similarity_below_0.4": 12.2, "bleu_similarity_above_0.4": 40.0},
        [translation(f"t {n % 3}" + " x" * (n % 3), "重启内核", "重启" * (n % 2), similarity=n / 9) for n in range(20)],
    ),
    "translation_memory": (
        "messages",
        {"bleu": 20.0, "bleu_similarity_below_0.4": 8.9, "bleu_similarity_above_0.4": 50.0},
        [translation(f"t {n % 3}" + " x" * (n % 3), "重启内核", "内核", similarity=n / 9) for n in range(20)],
    ),
    "parsing_lstm": ("treebank", {"bracket_f1": 50.0}, [parse(TREE, "p"), parse(UNCLOSED, "q")]),
    "parsing_branching": ("treebank", {"bracket_f1": 20.0}, [parse(CHAIN, "p"), parse(CHAIN, "q")]),
    "text_autoencoder_gru": (
        "messages",
        {"exact_match": 50.0},
        [text(f"a b {n}", "a b", vector=[n, 1.0, -n], neighbours=[["c", 0.5]]) for n in range(4)],
    ),
    "speech_autoencoder_plain": (
        "digits",
        {"average_precision": 50.0},
        [spoken(str(n), str(n % 2), n, 1.0, 2.0, unseen=n % 2 == 1) for n in range(6)],
    ),
    "speech_autoencoder_dtw": ("digits", {"average_precision": 60.0}, [{"id": str(n), "word": "0"} for n in range(6)]),
}


@pytest.fixture(scope="module")
def wings(tmp_path_factory: pytest.TempPathFactory) -> list[results.Wing]:
    data = tmp_path_factory.mktemp("data")
    experiments = {}
    for key, (dataset, metrics, records) in EXPERIMENTS.items():
        role = {"name": "none"}
        experiments[key] = Experiment(
            title=key,
            dataset=dataset,
            task=role,
            model=role,
            training={"seeds": [1]},
            decoder=role,
            metric=role,
        )
        figures = {name: {"mean": value, "std": 0.0, "seed_1": value} for name, value in metrics.items()}
        write_json(data / "metrics" / f"{key}.json", {**figures, "parameters": 9, "model_parameters": 3})
        took = {"seconds": 1.0} if key in PEERS else {"seconds": 1.0, "epochs": 2}
        write_json(data / "timings" / f"{key}.json", {"seed_1": took})
        numbered = [{**record, "id": f"{number} {record['id']}"} for number, record in enumerate(records)]
        write_jsonl(data / "predictions" / key / "seed_1.jsonl", numbered)
        write_text(data / "curves" / f"{key}.csv", "epoch,seed,training_loss\n")
        summary = {"examples": {"test": 4}, "rejected": {}, "facts": {}}
        write_json(data / "prepared" / dataset / "summary.json", summary)
    trace = attention(["a", "b"], ["好"], [[0.25, 0.75]])
    write_json(data / "predictions" / "translation_gru" / "trace.json", trace)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(results, "DATA", data)
        return results.gather(Params(datasets={}, generated={}, experiments=experiments))


@pytest.fixture(scope="module")
def sections(wings: list[results.Wing]) -> dict[str, results.Section]:
    return {wing.theme.title: section for wing in wings for section in wing.sections}


def headings(section: results.Section) -> list[str]:
    return [figure.heading for figure in section_figures.section_figures(section)]


def test_auto_encoders_have_wings_of_their_own(sections: dict[str, results.Section]) -> None:
    assert list(sections) == ["Machine translation", "Syntactic parsing", "Text auto-encoder", "Speech auto-encoder"]
    assert [themes.prefix_of(key) for key in ("speech_lstm", "speech_autoencoder_plain", "weather_oracle")] == [
        "speech",
        "speech_autoencoder",
        "weather",
    ]
    for dataset in ("messages", "cmudict", "treebank", "paragraphs", "spoken_words"):
        assert "(N" in themes.DATASETS[dataset]
    for prefix, item in (("text_autoencoder", "N26"), ("speech_autoencoder", "N27")):
        assert f"({item})" in themes.THEMES[prefix].text


def test_a_method_fitted_without_epochs_is_a_peer(sections: dict[str, results.Section]) -> None:
    found = [result for section in sections.values() for result in section.results.values()]
    assert [result.key for result in found if result.peer] == list(PEERS)


def test_each_section_has_the_figures_that_its_records_allow(sections: dict[str, results.Section]) -> None:
    assert {title: headings(section) for title, section in sections.items()} == {
        "Machine translation": [
            "Score by length on messages",
            "Score by similarity to training on messages",
            "Where the decoder looks on messages",
            "Best and worst examples from messages",
        ],
        "Syntactic parsing": ["Best and worst examples from treebank"],
        "Text auto-encoder": [
            "A map of the vectors on messages",
            "Nearest neighbours on messages",
            "Best and worst examples from messages",
        ],
        "Speech auto-encoder": ["A map of the vectors on digits"],
    }


def test_note_says_who_beats_the_memory_where_nothing_is_near(sections: dict[str, results.Section]) -> None:
    figures = {figure.heading: figure for figure in section_figures.section_figures(sections["Machine translation"])}
    note = figures["Score by similarity to training on messages"].note
    assert "(below 0.4), it reaches 8.9; above that: translation_gru." in note
    signatures = bleu.signatures(bleu.Settings())
    assert f"BLEU {signatures['bleu']} and chrF {signatures['chrf']}" in note
    assert "translation_gru: below 0.4 12.2" in figures["Score by similarity to training on messages"].body


def test_map_says_which_words_were_never_heard(sections: dict[str, results.Section]) -> None:
    (figure,) = section_figures.section_figures(sections["Speech auto-encoder"])
    assert "Triangles are words never heard in training: 1." in figure.note
    assert re.search(r"speech_autoencoder_plain: 6 vectors; the axes hold \d+ % and \d+ % of the variance", figure.body)
    assert "speech_autoencoder_dtw" not in figure.body


def test_page_shows_records_without_a_prediction_and_trees(wings: list[results.Wing]) -> None:
    page = report.page(wings)
    assert "Worked examples from digits" not in page
    assert "Worked examples from treebank" in page
    assert page.count("malformed, no tree") >= 2
    assert "<b>" not in page


@pytest.mark.parametrize("given", ["word", "nothing"])
def test_without_a_mark_unseen_words_are_those_that_training_has_not(
    given: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sections: dict[str, results.Section]
) -> None:
    monkeypatch.setattr(results, "DATA", tmp_path)
    if given == "word":
        write_jsonl(tmp_path / "prepared" / "digits" / "train.jsonl", [{"id": "x", "word": "0"}])
    records = [spoken("a", "0"), spoken("b", "1")]
    expected = ["1"] if given == "word" else []
    assert section_figures._unseen_words(sections["Speech auto-encoder"], records) == expected
