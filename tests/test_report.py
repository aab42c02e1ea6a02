"""The report, on small made-up results of every kind of experiment."""

from __future__ import annotations

import csv
import json
import re
import shutil
from collections import defaultdict
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from stages import report
from stages.core import claims
from stages.core.base.errors import InputError
from stages.core.base.files import write_json, write_jsonl, write_text
from stages.core.base.params import Demonstration, Experiment, Params
from stages.figures import (
    attention,
    chapters,
    confusion,
    examples_copy,
    examples_sentiment,
    examples_slots,
    examples_speech,
    examples_stories,
    gates,
    overview,
    results_table,
    slot_scores,
    themes,
)
from stages.reporting import drawing, panels, results, section_figures, worked_examples

SCRIPT = "<script>alert('&')</script>"
SEEDS = [1, 2, 3]
STABLE = ("summary.md", "figure_overview.svg", "figure_learning_curves.svg")

Metrics = dict[str, dict[str, float]]


def slots(identity: str, *tags: str) -> dict[str, Any]:
    """Give an address whose words are tagged ``tags``; the true ones are a number, a street of two words, nothing."""
    true = ["B-Number", "B-Street", "I-Street", "O"]
    return {
        "id": identity,
        "key": identity,
        "tokens": ["12", "Old", SCRIPT, ","],
        "tags": true,
        "prediction": list(tags),
    }


def story(identity: str, prediction: str, **more: Any) -> dict[str, Any]:
    """Give a story whose answer is kitchen, which the second sentence tells."""
    told = {"story": [f"John {SCRIPT}.", "Mary went to the kitchen."], "question": "Where is Mary?", "supporting": [1]}
    return {"id": identity, "kind": "one_fact", **told, "answer": "kitchen", "prediction": prediction, **more}


def copy(identity: str, length: int, wrong: int) -> dict[str, Any]:
    """Give ``length`` vectors of 8 zeros, copied with the first ``wrong`` bits wrong."""
    bits = "1" * wrong + "0" * (8 * length - wrong)
    return {
        "id": identity,
        "length": length,
        "target": ["0" * 8] * length,
        "prediction": [bits[start : start + 8] for start in range(0, len(bits), 8)],
    }


def opinion(identity: str, prediction: str, **more: Any) -> dict[str, Any]:
    """Give a text of three words that is positive."""
    text = f"fine {SCRIPT} film"
    return {"id": identity, "text": text, "label": "positive", "prediction": prediction, "confidence": 0.75, **more}


RIGHT_TAGS = ("B-Number", "B-Street", "I-Street", "O")
EXPERIMENTS: dict[str, tuple[str, Metrics, list[dict[str, Any]]]] = {
    "slots_lstm": (
        "addresses",
        {"span_f1": {"mean": 88.912, "std": 0.512}, "token_error_rate": {"mean": 5.5, "std": 0.2}},
        [slots("a", *RIGHT_TAGS), slots("b", "B-Number", "B-Street", "O", "O"), slots("c", "O", *RIGHT_TAGS[1:])],
    ),
    "slots_bilstm": (
        "addresses",
        {"span_f1": {"mean": 92.834, "std": 0.1}, "token_error_rate": {"mean": 4.4, "std": 0.1}},
        [slots("c", *RIGHT_TAGS), slots("b", "O", "O", "O", "O"), slots("a", *RIGHT_TAGS)],
    ),
    "slots_crf": (
        "addresses",
        {"span_f1": {"mean": 90.5, "std": 0.0}, "token_error_rate": {"mean": 5.0, "std": 0.0}},
        [slots("c", *RIGHT_TAGS), slots("b", *RIGHT_TAGS), slots("a", *RIGHT_TAGS)],
    ),
    "snippets_gru": (
        "snippets",
        {"accuracy": {"mean": 77.0, "std": 0.5}},
        [
            opinion("u", "positive", steps=["fine", SCRIPT, "film"], attention=[0.7, 0.2, 0.1]),
            opinion("v", "negative", steps=["fine", SCRIPT, "film"], attention=[0.1, 0.3, 0.6]),
        ],
    ),
    "weather_oracle": (
        "skies",
        {"accuracy": {"mean": 50.0, "std": 1.0}},
        [{"id": "x", "sky": SCRIPT, "target": "rain", "prediction": "sun"}],
    ),
    "speech_lstm": (
        "digits",
        {"token_error_rate": {"mean": 0.412, "std": 0.05}},
        [
            {"id": "r", "symbols": ["3", "1", "4"], "prediction": ["3", "4"]},
            {"id": "s", "symbols": ["0"], "prediction": ["0"]},
        ],
    ),
    "translation_gru": (
        "messages",
        {"bleu": {"mean": 22.5, "std": 0.4}},
        [{"id": "t", "source": SCRIPT, "target": "重启", "prediction": "", "similarity": 0.25}],
    ),
    "copy_ntm": (
        "copy",
        {"bits_per_sequence": {"mean": 0.0123, "std": 0.001}, "bit_error_rate_120": {"mean": 0.3, "std": 0.1}},
        [copy("l", 120, 5), copy("m", 40, 1), copy("n", 20, 0)],
    ),
    "stories_memory": (
        "stories",
        {"accuracy": {"mean": 84.0, "std": 1.0}, "accuracy_one_fact": {"mean": 99.0, "std": 0.5}},
        [story("p", "kitchen", confidence=0.75, attention=[[0.1, 0.9], [0.4, 0.6]]), story("q", SCRIPT)],
    ),
}


MODELS: dict[str, dict[str, Any]] = {
    "slots_lstm": {"name": "lstm", "hidden": 2},
    "slots_bilstm": {"name": "lstm", "hidden": 2, "bidirectional": True},
    "slots_crf": {"name": "crfsuite"},
    "snippets_gru": {"name": "gru", "hidden": 2},
    "copy_ntm": {"name": "neural_turing_machine"},
}
TRACE = {
    "steps": ["12", SCRIPT, "Road"],
    "layers": [
        {
            "hidden": [[0.0, 0.1], [0.9, 0.1], [-0.9, 0.1]],
            "forget": [[1.0, 0.5], [0.25, 0.25], [0.0, 1.0]],
            "cell": [[0.0, 0.2], [2.0, 0.2], [-1.0, 0.2]],
        }
    ],
}


VERDICT = {
    **{"verdict": "undecided", "figure": 81.5, "than": 80.25, "effect": 1.25, "low": -0.5, "high": 3.0},
    **{"p": 0.2, "p_adjusted": 1.0},
}
WORKED = {
    "notes": ["N14", "N17"],
    "title": f"A power {SCRIPT}",
    "text": f"Text {SCRIPT}",
    "expected": "1",
    "found": "2",
    "holds": False,
    "checks": {f"it is 1 {SCRIPT}": False, "it is a number": True},
    "tables": [{"caption": f"Powers {SCRIPT}", "columns": ["w", SCRIPT], "rows": [["1", SCRIPT], [2, 0.5]]}],
    "data": {"curve": {"1.01": [[1, 0.0], [2, 0.1]]}, "weights": {}},
}


def params(keys: list[str]) -> Params:
    """Give params that name these experiments, in this order."""
    role = {"name": "none"}
    experiments = {
        key: Experiment(
            title=f"Title {SCRIPT}",
            dataset=EXPERIMENTS[key][0],
            task=role,
            model=MODELS.get(key, role),
            training={"seeds": SEEDS},
            decoder=role,
            metric=role,
        )
        for key in keys
    }
    shown = {"power": Demonstration(uses="models/elman.py", settings={})}
    return Params(datasets={}, generated={}, experiments=experiments, demonstrations=shown)


def write_results(data: Path, seconds: float = 10.0) -> None:
    """Write what the stages would leave in ``data``; a seed took ``seconds`` to train."""
    write_json(data / "metrics" / "claims.json", dict.fromkeys(claims.read(), VERDICT))
    write_json(data / "demonstrations" / "power.json", WORKED)
    for key, (dataset, metrics, predictions) in EXPERIMENTS.items():
        filled = {
            name: {**values, **{f"seed_{seed}": values["mean"] + seed - 2 for seed in SEEDS}}
            for name, values in metrics.items()
        }
        write_json(data / "metrics" / f"{key}.json", {**filled, "parameters": 12345, "model_parameters": 678})
        peer = key == "slots_crf"
        took = {"seconds": seconds} if peer else {"seconds": seconds, "epochs": 4}
        write_json(data / "timings" / f"{key}.json", {f"seed_{s}": took for s in SEEDS})
        if key == "slots_lstm":
            write_json(data / "predictions" / key / "trace.json", TRACE)
        write_jsonl(data / "predictions" / key / "seed_1.jsonl", predictions)
        rows = [f"{e},seed_{s},{3 / e},{4 / e},{90 - 9 / e}" for s in SEEDS for e in range(1, 2 if peer else 5)]
        head = "epoch,seed,training_loss,validation_loss,validation_score"
        write_text(data / "curves" / f"{key}.csv", "\n".join([head, *rows]) + "\n")
        summary = {
            "examples": {"train": 1000, "validation": 10, "test": 10},
            "rejected": {f"bad {SCRIPT}": {"count": 3, "first": [f"{SCRIPT}.xml:7"]}},
            "facts": {"source": SCRIPT, "mean_words": {"train": 4.25}},
        }
        write_json(data / "prepared" / dataset / "summary.json", summary)


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make the report once for all tests that only read it."""
    data = tmp_path_factory.mktemp("data")
    write_results(data)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(results, "DATA", data)
        report.write(params(list(EXPERIMENTS)), data / "report")
    return data


@pytest.fixture
def data(built: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Give a copy of the results that a test may change, without a report."""
    shutil.copytree(built, tmp_path / "data", ignore=shutil.ignore_patterns("report"))
    monkeypatch.setattr(results, "DATA", tmp_path / "data")
    return tmp_path / "data"


class Page(HTMLParser):
    """What the tests ask of the page: its tags, whether they balance, and the figures of its tables' rows."""

    VOID = ("meta", "link", "br", "wbr", "input")

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.attributes: list[tuple[str, str, str]] = []
        self.experiment = ""
        self.table = ""
        self.figures: dict[tuple[str, str], list[float]] = defaultdict(list)
        self.headings: list[str] = []
        self.feed(text)
        assert self.open == []

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in self.VOID:
            self.handle_endtag(tag)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = {name: value or "" for name, value in attrs}
        self.attributes += [(tag, name, value) for name, value in values.items()]
        if tag not in self.VOID:
            self.open.append(tag)
        if tag == "table":
            self.table = values.get("data-section", values.get("id", ""))
        if tag == "tr":
            self.experiment = values.get("data-experiment", "")
        if tag == "data":
            self.figures[self.table, self.experiment].append(float(values["value"]))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] == "h2":
            self.headings.append(data)


def page(data: Path) -> str:
    """Read the page."""
    return (data / "report" / "index.html").read_text(encoding="utf-8")


def stored(data: Path, key: str) -> dict[str, Any]:
    """Read the metric file of an experiment."""
    return dict(json.loads((data / "metrics" / f"{key}.json").read_text()))


def test_text_from_data_is_escaped(built: Path) -> None:
    text = page(built)
    assert text.count("<script") == 1  # our own, at the end
    # Title, word, story, source, rejected record, fact, the field of a kind that nobody foresaw.
    assert text.count("&lt;script&gt;") >= 7 + len(EXPERIMENTS)
    assert "<script" not in (built / "report" / "summary.md").read_text(encoding="utf-8")


def test_text_in_figures_is_escaped() -> None:
    row = overview.Row(SCRIPT, "red", SCRIPT, 1.0, {"seed 1": 1.0, "seed 2": 2.0})
    drawn = drawing.standalone(overview.stack([overview.panel([row], SCRIPT, from_zero=True)], SCRIPT), SCRIPT)
    assert "<script" not in drawn
    assert SCRIPT in "".join(ElementTree.fromstring(drawn).itertext())


def test_page_loads_nothing_from_anywhere(built: Path) -> None:
    text = page(built)
    for tag, name, value in Page(text).attributes:
        if name in ("href", "xlink:href", "src", "srcset", "action", "data", "poster"):
            assert value.startswith(("#", "data:")), f"{tag} {name}={value}"
        assert not name.startswith("on"), f"{tag} has a handler {name}"
    assert "@import" not in text
    assert not re.search(r"url\(\s*['\"]?(?!#|data:)", text)
    assert set(re.findall(r"https?://[^\s\"'<]+", text)) <= {
        "http://www.w3.org/2000/svg",
        "http://www.w3.org/1999/xlink",
    }
    assert len(text.encode()) < 5_000_000


def test_links_inside_the_page_lead_somewhere(built: Path) -> None:
    attributes = Page(page(built)).attributes
    ids = [value for _, name, value in attributes if name == "id"]
    assert len(ids) == len(set(ids))
    assert {value[1:] for _, name, value in attributes if name == "href" and value.startswith("#")} <= set(ids)


def test_tables_hold_the_figures_of_the_metric_files(built: Path) -> None:
    figures = Page(page(built)).figures
    parts = ("mean", "std", "seed_1", "seed_2", "seed_3")
    for key, (dataset, _, _) in EXPERIMENTS.items():
        metrics = stored(built, key)
        counts = [metrics.pop("parameters"), metrics.pop("model_parameters")]
        headline, *_ = metrics.values()
        assert figures["headlines", key] == [headline[part] for part in parts]
        assert figures[dataset, key] == [values[part] for values in metrics.values() for part in parts] + counts


def test_summary_holds_the_figures_of_the_metric_files(built: Path) -> None:
    rows = [line.split(" | ") for line in (built / "report" / "summary.md").read_text(encoding="utf-8").splitlines()]
    cells = {row[0].strip("| `"): row[2:] for row in rows if row[0].startswith("| `")}
    assert set(cells) == set(EXPERIMENTS)
    assert cells["slots_lstm"] == ["88.9 ± 0.5", "5.5 ± 0.2", "12,345", "678 |"]
    assert cells["slots_bilstm"] == ["**92.8 ± 0.1**", "**4.4 ± 0.1**", "12,345", "678 |"]
    assert cells["speech_lstm"] == ["0.41 ± 0.05", "12,345", "678 |"]
    assert cells["copy_ntm"] == ["0.012 ± 0.001", "0.30 ± 0.10", "12,345", "678 |"]


def test_equal_metrics_give_equal_bytes_whatever_the_time(data: Path) -> None:
    two = params(["slots_lstm", "speech_lstm"])
    report.write(two, data / "first")
    write_results(data, seconds=77.0)
    report.write(two, data / "second")
    for name in STABLE:
        assert (data / "first" / name).read_bytes() == (data / "second" / name).read_bytes(), name
    assert (data / "first" / "index.html").read_bytes() != (data / "second" / "index.html").read_bytes()


def test_another_figure_of_a_seed_gives_another_drawing(data: Path) -> None:
    def drawn() -> list[str]:
        (wing,) = results.gather(params(["weather_oracle"]))
        return [str(panel) for panel in panels.section_panels(wing.sections[0])]

    before = drawn()
    metrics = stored(data, "weather_oracle")
    metrics["accuracy"]["seed_2"] += 1
    write_json(data / "metrics" / "weather_oracle.json", metrics)
    assert drawn() != before


@pytest.mark.parametrize(
    "place", ["metrics/{}.json", "timings/{}.json", "curves/{}.csv", "predictions/{}/seed_1.jsonl"]
)
def test_experiment_that_never_ran_is_named_and_nothing_is_written(data: Path, place: str) -> None:
    (data / place.format("copy_ntm")).unlink()
    with pytest.raises(InputError, match=rf"{place.format('copy_ntm')} does not exist.*dvc repro evaluate@copy_ntm"):
        report.write(params(list(EXPERIMENTS)), data / "report")
    assert not (data / "report").exists()


def test_missing_seed_is_named(data: Path) -> None:
    metrics = stored(data, "copy_ntm")
    del metrics["bit_error_rate_120"]["seed_3"]
    write_json(data / "metrics" / "copy_ntm.json", metrics)
    with pytest.raises(InputError, match="bit_error_rate_120 has no figure 'seed_3'"):
        results.gather(params(["copy_ntm"]))


def test_malformed_curve_is_named(data: Path) -> None:
    path = data / "curves" / "copy_ntm.csv"
    path.write_text(path.read_text().replace("1,seed_1,3.0", "1,seed_1,x"))
    with pytest.raises(InputError, match=r"copy_ntm\.csv is no learning curve"):
        results.gather(params(["copy_ntm"]))


def test_wings_stand_in_the_order_of_the_notes_and_an_unknown_one_comes_last_under_its_prefix(data: Path) -> None:
    wings = results.gather(params(["stories_memory", "weather_oracle", "copy_ntm", "slots_lstm"]))
    assert [wing.theme.title for wing in wings] == [
        "Slot filling",
        "Heads over a memory",
        "Reading comprehension",
        "Weather",
    ]
    assert [[list(section.results) for section in wing.sections] for wing in wings] == [
        [["slots_lstm"]],
        [["copy_ntm"]],
        [["stories_memory"]],
        [["weather_oracle"]],
    ]
    assert Page(report.page(wings)).headings == [
        "Who wins",
        *(chapter.title for chapter in chapters.CHAPTERS),
        "Further experiments",
        "Every experiment at a glance",
    ]


def test_experiment_without_curves_gets_no_chart(data: Path) -> None:
    (data / "curves" / "weather_oracle.csv").write_text("epoch,seed,training_loss\n")
    text = report.page(results.gather(params(["weather_oracle"])))
    assert "Learning curves on" not in text
    assert "Results on skies" in text


def test_every_seed_is_a_dot_that_tells_its_figure(built: Path) -> None:
    drawn = ElementTree.fromstring((built / "report" / "figure_overview.svg").read_bytes())
    titles = [element.text for element in drawn.iter(f"{{{drawing.SVG}}}title")]
    assert "slots_bilstm, seed 3: 93.83" in titles
    assert len([title for title in titles if title and ", seed " in title]) == len(EXPERIMENTS) * len(SEEDS)


def test_examples_do_not_depend_on_the_order_of_the_files(data: Path) -> None:
    def shown() -> list[worked_examples.Shown]:
        wings = results.gather(params(["slots_lstm", "slots_bilstm"]))
        return worked_examples.worked_examples(wings[0].sections[0], worked_examples.example_kinds())[1]

    before = shown()
    path = data / "predictions" / "slots_lstm" / "seed_1.jsonl"
    path.write_text("\n".join(reversed(path.read_text().splitlines())) + "\n")
    assert shown() == before
    assert {example.identity: example.heading for example in before} == {
        "a": "Right in every experiment",
        "b": "Wrong in every experiment",
        "c": "Wrong in slots_lstm",
    }


def test_slots_mark_spans_that_differ() -> None:
    text = examples_slots.show({"slots_lstm": slots("b", "B-Number", "B-Street", "O", "O")})
    rows = re.findall(r"<tr><th scope=\"row\">(.*?)</tr>", text, flags=re.DOTALL)
    assert re.findall(r"colspan=\"(\d)\" class=\"([\w ]+)\"", rows[0]) == [("1", "span"), ("2", "span"), ("1", "none")]
    assert re.findall(r"colspan=\"(\d)\" class=\"([\w ]+)\"", rows[1]) == [
        ("1", "span"),
        ("1", "span wrong"),
        ("1", "none wrong"),
        ("1", "none"),
    ]


def test_digits_are_aligned_at_the_least_number_of_edits() -> None:
    text = examples_speech.show({"speech_lstm": {"id": "r", "symbols": list("31415"), "prediction": list("34155")}})
    assert re.findall(r"<(del|ins) class=\"wrong\">(.*?)<", text) == [("del", "[1]"), ("ins", "5")]
    assert "2 wrong" in text


def test_copies_of_20_and_of_120_are_drawn_with_their_wrong_bits() -> None:
    items = [{"copy_ntm": copy("l", 120, 5)}, {"copy_ntm": copy("m", 40, 1)}, {"copy_ntm": copy("n", 20, 0)}]
    chosen = examples_copy.choose(items)
    assert [item["copy_ntm"]["length"] for item in chosen] == [20, 120]
    text = examples_copy.show(chosen[1])
    assert "5 of 960 bits wrong" in text
    (path,) = re.findall(r"class=\"differs\" d=\"(.*?)\"", text)
    assert re.findall(r"M(\d+) (\d+)h", path) == [("0", str(bit)) for bit in range(5)]


def test_attention_stands_beside_the_sentences() -> None:
    text = examples_stories.show({"stories_memory": story("p", "garden", confidence=0.75, attention=[[0.1, 0.9]])})
    assert [word for word in ("stories_<wbr>memory", "hop 1") if word not in text] == []
    assert re.findall(r"--share: (\d+)%\">(\d+)&thinsp;%", text) == [("6", "10"), ("54", "90")]
    assert text.count("supporting fact") == 1
    assert "75&thinsp;% sure" in text


@pytest.mark.parametrize(
    ("metric", "among", "heading", "better"),
    [
        ("span_f1", [], "span F1 (%)", "higher is better"),
        ("bleu", [], "BLEU", "higher is better"),
        ("bits_per_sequence", [], "bits per sequence", "lower is better"),
        ("bit_error_rate_120", [], "bit error rate at 120 (%)", "lower is better"),
        ("precision_at_10", [], "precision at 10 (%)", "higher is better"),
        ("accuracy_yes_no", ["accuracy"], "accuracy: yes no (%)", "higher is better"),
        ("phoneme_error_rate", [], "phoneme error rate (%)", "lower is better"),
        ("boundary_error_ms", [], "boundary error (ms)", "lower is better"),
        ("boundaries_within_50_ms", [], "boundaries within 50 ms (%)", "higher is better"),
        ("calibration_error", [], "calibration error (%)", "lower is better"),
    ],
)
def test_metrics_are_called_by_their_names(metric: str, among: list[str], heading: str, better: str) -> None:
    column = results_table.column(metric, [{"mean": 10.0}], among)
    assert (column.heading, column.better) == (heading, better)


@pytest.mark.parametrize(
    ("metric", "means", "text"),
    [
        ("accuracy", [92.0, 8.0], "5.0"),
        ("accuracy", [92.0, 0.41], "5.00"),
        ("accuracy", [92.0, 0.0001], "5.00"),
        ("bits_per_sequence", [38.0, 0.0001], "5.000"),
        ("accuracy", [0.0], "5.0"),
    ],
)
def test_small_figures_keep_two_digits(metric: str, means: list[float], text: str) -> None:
    assert results_table.column(metric, [{"mean": mean} for mean in means]).write(5.0) == text


def test_curves_of_the_page_are_those_of_the_file(built: Path) -> None:
    (result,) = (
        result
        for wing in _gather(built)
        for section in wing.sections
        for result in section.results.values()
        if result.key == "copy_ntm"
    )
    with (built / "curves" / "copy_ntm.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert {(p.epoch, p.seed, p.series): p.value for p in result.curves} == {
        (int(row["epoch"]), row["seed"], series): float(row[series])
        for row in rows
        for series in ("training_loss", "validation_loss", "validation_score")
    }


def _section(data: Path, dataset: str, keys: list[str] | None = None) -> results.Section:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(results, "DATA", data)
        wings = results.gather(params(keys or list(EXPERIMENTS)))
    return next(section for wing in wings for section in wing.sections if section.dataset == dataset)


def test_metric_file_without_the_models_parameters_is_named(data: Path) -> None:
    metrics = stored(data, "copy_ntm")
    del metrics["model_parameters"]
    write_json(data / "metrics" / "copy_ntm.json", metrics)
    with pytest.raises(InputError, match=r"copy_ntm\.json should hold .* model_parameters"):
        results.gather(params(["copy_ntm"]))


def test_every_data_set_of_issue_3_has_an_introduction() -> None:
    for prefix in ("slots", "tickets", "commands", "keyterms", "snippets", "reviews"):
        assert themes.THEMES[prefix].item in (1, 20, 21, 22)
    for dataset in ("addresses", "tickets", "commands", "encyclopedia", "snippets", "reviews"):
        assert re.search(r"\(N\d+", themes.DATASETS[dataset])


def test_pronunciation_and_parsing_have_wings_and_introductions() -> None:
    titles = [themes.THEMES[prefix].title for prefix in ("pronunciation", "parsing")]
    assert titles == ["Pronunciation", "Syntactic parsing"]
    for dataset in ("cmudict", "treebank"):
        assert re.search(r"\(N\d+", themes.DATASETS[dataset])


def test_introduction_of_a_data_set_stands_in_its_section(built: Path) -> None:
    text = page(built)
    assert text.count("Sentences of English film reviews") == 1
    assert text.index("Data: snippets") < text.index("Sentences of English film reviews")
    assert text.index("Sentences of English film reviews") < text.index("Results on snippets")


def test_experiments_stand_by_family_and_the_best_first_with_the_peer_last(built: Path) -> None:
    section = _section(built, "addresses", ["slots_crf", "slots_lstm", "slots_bilstm"])
    assert list(section.results) == ["slots_bilstm", "slots_lstm", "slots_crf"]
    assert [result.peer for result in section.results.values()] == [False, False, True]
    assert [result.key for result in section.headlines["span_f1"]] == ["slots_bilstm", "slots_crf", "slots_lstm"]
    colours = {result.colour for result in section.results.values()}
    assert colours == {"var(--series-1)", "var(--muted)"}


def test_peer_is_marked_in_page_and_summary_and_has_no_epochs_and_no_curve(built: Path) -> None:
    text = page(built)
    assert text.count('<span class="peer">peer</span>') == 3  # who wins, at a glance, and in its section
    (row,) = re.findall(
        r'<tr id="result-slots_crf" data-experiment="slots_crf" data-kind="Peer">(.*?)</tr>', text, flags=re.DOTALL
    )
    assert row.rstrip().endswith('<td class="number">–</td>')
    section = _section(built, "addresses")
    assert [result.key for result, _ in panels.section_curves(section)] == ["slots_bilstm", "slots_lstm"]
    summary = (built / "report" / "summary.md").read_text(encoding="utf-8")
    assert [line.split("`")[1] for line in summary.splitlines() if "(peer)" in line] == ["slots_bilstm", "slots_crf"]
    assert "slots_crf" not in (built / "report" / "figure_learning_curves.svg").read_text(encoding="utf-8")


def test_of_many_experiments_the_best_of_each_family_is_shown(built: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(results, "SHOWN", 2)
    monkeypatch.setattr(slot_scores, "FEWEST", 1)
    section = _section(built, "addresses")
    assert list(section.shown) == ["slots_bilstm", "slots_crf"]
    _, examples = worked_examples.worked_examples(section, worked_examples.example_kinds())
    assert examples[0].heading == "Right in every experiment shown"
    assert "slots_lstm" not in "".join(example.body for example in examples)
    monkeypatch.setattr(section_figures, "_both_ways", lambda section: None)  # whose two are shown besides
    assert ", the best of each kind of model" in section_figures.section_figures(section)[0].note


def test_tables_of_many_experiments_have_a_heading_for_each_family(
    built: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def headings() -> list[str]:
        wing = next(wing for wing in _gather(built) if wing.theme.title == "Slot filling")
        return re.findall(r'rowgroup" colspan="7">(.*?)<', report.page([wing]))

    assert headings() == []
    monkeypatch.setattr(report, "GROUPED", 2)
    assert headings() == ["LSTM", "Peer"]


def test_parameters_are_told_in_multiples_of_an_elman_network_of_equal_size(data: Path) -> None:
    sizes = {"slots_lstm": 52800 * 4, "slots_bilstm": 52800, "slots_crf": 52800 * 3 + 1}
    for key, count in sizes.items():
        write_json(data / "metrics" / f"{key}.json", {**stored(data, key), "model_parameters": count})
    named = params(list(sizes))
    for key, model in (("slots_bilstm", "elman"), ("slots_crf", "gru")):
        named.experiments[key].model.clear()
        named.experiments[key].model.update({"name": model, "hidden": 2})
    (section,) = results.gather(named)[0].sections
    lstm, gru = panels.parameter_ratios(section)
    assert "(slots_lstm) has 211,200 parameters, exactly 4 times the 52,800 of the Elman network" in lstm
    assert "(slots_crf) has 158,401 parameters, 3.00 times the 52,800" in gru
    assert "(slots_bilstm; N8, N10)" in lstm
    named.experiments["slots_bilstm"].model["hidden"] = 3
    assert panels.parameter_ratios(results.gather(named)[0].sections[0]) == []


def test_confusion_counts_tokens_by_true_and_predicted_slot() -> None:
    records = [slots("a", *RIGHT_TAGS), slots("b", "B-Number", "B-Street", "B-Number", "I-Street")]
    assert confusion.count(records) == {
        ("Number", "Number"): 2,
        ("Street", "Street"): 3,
        ("Street", "Number"): 1,
        ("no slot", "no slot"): 1,
        ("no slot", "Street"): 1,
    }
    text = str(confusion.draw(records))
    assert "1 of 4 tokens of Street taken for Number (25 %)" in text
    rows = [re.findall(r"<td.*?>(\d*)</td>", row) for row in re.findall(r'scope="row">.*?</tr>', text, re.DOTALL)]
    assert rows == [["3", "1", "", "", "4"], ["", "2", "", "", "2"], ["1", "", "1", "", "2"]]


def test_confusion_shows_the_slots_confused_most_and_sums_up_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(confusion, "MOST", 2)
    tags = [f"B-{slot}" for slot in "AAAABBCC"]
    guess = [f"B-{slot}" for slot in "ABBBBBCA"]
    text = str(confusion.draw([{"tags": tags, "prediction": guess}]))
    assert re.findall(r'scope="row">(\w+)<', text) == ["A", "B"]
    assert "of C" not in text
    other = str(confusion.draw([{"tags": tags, "prediction": [f"B-{slot}" for slot in "CBBBBBCC"]}]))
    assert "1 of 4 tokens of A taken for another slot" in other


def test_confusion_of_a_perfect_labelling_is_not_drawn() -> None:
    assert confusion.draw([slots("a", *RIGHT_TAGS)]) is None


def test_best_experiment_is_the_one_whose_confusion_is_drawn(built: Path) -> None:
    figures = {figure.heading: figure for figure in section_figures.section_figures(_section(built, "addresses"))}
    drawn = figures["Which slots are taken for which on addresses"]
    assert "as slots_bilstm, the best here" in drawn.note
    assert "1 of 3 tokens of Number taken for no slot" in drawn.body


def test_slots_are_scored_by_spans_with_ends_and_kind_right() -> None:
    records = [slots("a", *RIGHT_TAGS), slots("b", "B-Number", "B-Street", "O", "B-Number")]
    assert slot_scores.scores(records) == {"Number": (pytest.approx(80.0), 2), "Street": (pytest.approx(50.0), 2)}


def test_slots_stand_by_what_reading_both_ways_adds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(slot_scores, "FEWEST", 1)
    forward = [slots("a", "B-Number", "B-Number", "I-Number", "O"), slots("b", *RIGHT_TAGS)]
    both = [slots("a", *RIGHT_TAGS), slots("b", *RIGHT_TAGS)]
    text = str(slot_scores.draw({"one_way": forward, "both": both}, ("one_way", "both")))
    assert re.findall(r'scope="row">(\w+)<', text) == ["Street", "Number"]
    assert re.findall(r'class="gain">(.*?)<', text) == ["+33", "+20"]
    assert re.findall(r'class="score".*?>(\d+)<', text) == ["67", "100", "80", "100"]


def test_rare_slots_are_not_compared_and_one_slot_alone_is_not_drawn() -> None:
    records = [slots(f"{number}", *RIGHT_TAGS) for number in range(slot_scores.FEWEST)]
    assert slot_scores.shown_slots({"one": records}) == ["Number", "Street"]
    assert slot_scores.draw({"one": records[1:]}, None) is None


def test_network_that_reads_both_ways_is_compared_with_its_own_kind(
    built: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(slot_scores, "FEWEST", 1)
    (drawn, *_) = section_figures.section_figures(_section(built, "addresses"))
    assert drawn.heading == "F1 by slot on addresses"
    assert "slots_bilstm reads both ways, slots_lstm of the same cell forward only" in drawn.note
    (alone, *_) = section_figures.section_figures(_section(built, "addresses", ["slots_bilstm", "slots_crf"]))
    assert "both ways" not in alone.note + alone.body


def test_attention_colours_the_steps_by_weight() -> None:
    text = str(attention.draw(EXPERIMENTS["snippets_gru"][2]))
    assert re.findall(r"--share: (\d+)%", text) == ["55", "16", "8", "9", "28", "55"]
    assert "“fine” 70 %" in text
    assert re.findall(r'<p class="title (\w+)">(.*?)</p>', text) == [
        ("good", "✓ positive, 75 % sure"),
        ("bad", "✗ negative, 75 % sure; it is positive"),
    ]


def test_attention_shows_three_right_and_three_wrong_short_texts() -> None:
    def weighed(identity: str, prediction: str, length: int) -> dict[str, Any]:
        return opinion(identity, prediction, steps=["a"] * length, attention=[1 / length] * length)

    right = [weighed(f"r{number}", "positive", 3) for number in range(5)]
    wrong = [weighed(f"w{number}", "negative", 3) for number in range(5)]
    long = [weighed(f"l{number}", "negative", attention.LONGEST + 1) for number in range(20)]
    chosen = attention.choose(long + right + wrong)
    assert [record["id"][0] for record in chosen] == ["r"] * 3 + ["w"] * 3
    assert chosen == attention.choose((long + right + wrong)[::-1])


def test_attention_over_sentences_is_not_taken_for_that_over_steps() -> None:
    assert attention.draw([story("p", "kitchen", attention=[[0.1, 0.9]], steps=["John"])]) is None
    assert attention.draw([opinion("u", "positive")]) is None


def test_gates_are_drawn_by_opening_and_states_by_sign() -> None:
    text = str(gates.draw(TRACE, bidirectional=False))
    assert re.findall(r'class="mean".*?>([\d.]+)<', text) == ["0.75", "0.25", "0.50"]
    forget, cell, _ = re.findall(r"<svg.*?</svg>", text, flags=re.DOTALL)
    opened = dict(re.findall(r'fill-opacity="([\d.]+)" d="(.*?)"', forget))
    assert opened["1.0"] == "M0 1h1v1h-1zM2 0h1v1h-1z"  # the second unit's output is largest first
    assert re.findall(r'class="(\w+)" fill-opacity="([\d.]+)"', cell) == [
        ("down", "0.5"),
        ("up", "0.083"),
        ("up", "1.0"),
    ]


def test_units_whose_output_moves_most_are_chosen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gates, "UNITS", 2)
    assert gates.choose([[0.0, 0.5, 0.9], [0.4, 0.5, -0.9], [0.9, 0.5, 0.0]]) == [2, 0]


def test_layers_of_a_bidirectional_network_are_named_by_direction() -> None:
    twice = {**TRACE, "layers": TRACE["layers"] * 2}
    assert re.findall(r"layer \d\w*(?:, \w+)?", str(gates.draw(twice, bidirectional=True))) == [
        "layer 1, forward",
        "layer 1, backward",
    ]
    assert re.findall(r"layer \d(?:, \w+)?", str(gates.draw(twice, bidirectional=False))) == ["layer 1", "layer 2"]


def test_gates_are_drawn_for_one_network_of_a_section_that_has_a_forget_gate(data: Path) -> None:
    def drawn() -> list[str]:
        return [
            f.note
            for f in section_figures.section_figures(_section(data, "addresses"))
            if f.heading.startswith("Gates")
        ]

    twice = {**TRACE, "layers": TRACE["layers"] * 2}
    write_json(data / "predictions" / "slots_bilstm" / "trace.json", twice)
    (note,) = drawn()
    assert note.startswith("slots_lstm reads a test example")
    assert "open to 0.50 on average" in note
    (data / "predictions" / "slots_lstm" / "trace.json").unlink()
    (note,) = drawn()
    assert note.startswith("slots_bilstm")
    hidden = [{"hidden": layer["hidden"]} for layer in TRACE["layers"]]
    for trace in ({**TRACE, "layers": hidden}, {"kind": "another"}):
        write_json(data / "predictions" / "slots_bilstm" / "trace.json", trace)
        assert drawn() == []


def test_sections_without_tags_attention_or_trace_have_no_such_figure(built: Path) -> None:
    assert section_figures.section_figures(_section(built, "digits")) == []
    assert [figure.heading for figure in section_figures.section_figures(_section(built, "snippets"))] == [
        "Where attention looks on snippets"
    ]


def test_sentiment_shows_text_label_and_every_answer() -> None:
    item = {"gru": opinion("u", "positive", rating=-1.25), "lstm": opinion("u", "negative")}
    text = str(examples_sentiment.show(item))
    assert "fine &lt;script&gt;" in text
    assert "(−1.2)" in text
    answers = re.findall(r'scope="row">(\w+)</th><td>(\w+)<small>, (\d+).*?(✓|✗)', text, flags=re.DOTALL)
    assert answers == [("gru", "positive", "75", "✓"), ("lstm", "negative", "75", "✗")]
    kinds = [kind for kind in worked_examples.example_kinds() if kind.fits(item["gru"])]
    assert kinds[0] is examples_sentiment


def test_pair_of_a_contrast_set_stands_first_among_the_examples() -> None:
    right = [{"one": slots(f"r{number}", *RIGHT_TAGS)} for number in range(3)]
    pair = [{"one": {**slots(name, *RIGHT_TAGS), "pair": "p"}} for name in ("x", "y")]
    lone = {"one": {**slots("z", *RIGHT_TAGS), "pair": "q"}}
    chosen = examples_slots.choose([lone, right[0], pair[0], right[1], pair[1], right[2]])
    assert [item["one"]["id"] for item in chosen] == ["x", "y", "z", "r0"]


def test_long_sentences_are_no_examples_of_slots() -> None:
    item = {"one": {"tokens": ["a"] * (examples_slots.LONGEST + 1), "tags": [], "prediction": []}}
    assert examples_slots.choose([item]) == []


def test_long_facts_and_many_reasons_are_folded_away(data: Path) -> None:
    path = data / "prepared" / "skies" / "summary.json"
    summary = json.loads(path.read_text())
    summary["facts"]["long"] = "word " * 100
    summary["rejected"] |= {f"reason {number}": {"count": 2, "first": []} for number in range(3)}
    write_json(path, summary)
    text = report.page(results.gather(params(["weather_oracle"])))
    folded = re.findall(r"<summary>(.*?)</summary>", text)
    folded = folded[folded.index("About these data: source, counts, splits, what was left out") :]
    assert folded[1].startswith("word word")
    assert folded[2] == "9, for 4 reasons"


def _gather(data: Path) -> list[results.Wing]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(results, "DATA", data)
        return results.gather(params(list(EXPERIMENTS)))
