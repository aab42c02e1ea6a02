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
from stages.core.errors import InputError
from stages.core.files import write_json, write_jsonl, write_text
from stages.core.params import Experiment, Params
from stages.figures import examples_copy, examples_slots, examples_speech, examples_stories, overview, results_table

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
    "weather_oracle": (
        "skies",
        {"accuracy": {"mean": 50.0, "std": 1.0}},
        [{"id": "x", "sky": SCRIPT, "target": "rain", "prediction": "sun"}],
    ),
    "speech_lstm": (
        "digits",
        {"token_error_rate": {"mean": 0.412, "std": 0.05}},
        [{"id": "r", "digits": [3, 1, 4], "prediction": [3, 4]}, {"id": "s", "digits": [0], "prediction": [0]}],
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


def params(keys: list[str]) -> Params:
    """Give params that name these experiments, in this order."""
    role = {"name": "none"}
    experiments = {
        key: Experiment(
            title=f"Title {SCRIPT}",
            dataset=EXPERIMENTS[key][0],
            task=role,
            model=role,
            training={"seeds": SEEDS},
            decoder=role,
            metric=role,
        )
        for key in keys
    }
    return Params(datasets={}, generated={}, experiments=experiments)


def write_results(data: Path, seconds: float = 10.0) -> None:
    """Write what the experiments would leave in ``data``; a seed took ``seconds`` to train."""
    for key, (dataset, metrics, predictions) in EXPERIMENTS.items():
        filled = {
            name: {**values, **{f"seed_{seed}": values["mean"] + seed - 2 for seed in SEEDS}}
            for name, values in metrics.items()
        }
        write_json(data / "metrics" / f"{key}.json", {**filled, "parameters": 12345})
        write_json(data / "timings" / f"{key}.json", {f"seed_{s}": {"seconds": seconds, "epochs": 4} for s in SEEDS})
        write_jsonl(data / "predictions" / key / "seed_1.jsonl", predictions)
        rows = [f"{e},seed_{s},{3 / e},{4 / e},{90 - 9 / e}" for s in SEEDS for e in range(1, 5)]
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
        patch.setattr(report, "DATA", data)
        report.write(params(list(EXPERIMENTS)), data / "report")
    return data


@pytest.fixture
def data(built: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Give a copy of the results that a test may change, without a report."""
    shutil.copytree(built, tmp_path / "data", ignore=shutil.ignore_patterns("report"))
    monkeypatch.setattr(report, "DATA", tmp_path / "data")
    return tmp_path / "data"


class Page(HTMLParser):
    """What the tests ask of the page: its tags, whether they balance, and the figures of its tables' rows."""

    VOID = ("meta", "link", "br", "wbr")

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
            self.table = values.get("id", values.get("data-section", ""))
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
    assert "<script" not in text
    # Title, word, story, source, rejected record, fact, the field of a kind that nobody foresaw.
    assert text.count("&lt;script&gt;") >= 7 + len(EXPERIMENTS)
    assert "<script" not in (built / "report" / "summary.md").read_text(encoding="utf-8")


def test_text_in_figures_is_escaped() -> None:
    row = overview.Row(SCRIPT, "red", SCRIPT, 1.0, {"seed 1": 1.0, "seed 2": 2.0})
    drawn = report.standalone(overview.stack([overview.panel([row], SCRIPT, from_zero=True)], SCRIPT), SCRIPT)
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
        parameters = metrics.pop("parameters")
        headline, *_ = metrics.values()
        assert figures["headlines", key] == [headline[part] for part in parts]
        assert figures[dataset, key] == [values[part] for values in metrics.values() for part in parts] + [parameters]


def test_summary_holds_the_figures_of_the_metric_files(built: Path) -> None:
    rows = [line.split(" | ") for line in (built / "report" / "summary.md").read_text(encoding="utf-8").splitlines()]
    cells = {row[0].strip("| `"): row[2:] for row in rows if row[0].startswith("| `")}
    assert set(cells) == set(EXPERIMENTS)
    assert cells["slots_lstm"] == ["88.9 ± 0.5", "5.5 ± 0.2", "12,345 |"]
    assert cells["slots_bilstm"] == ["**92.8 ± 0.1**", "**4.4 ± 0.1**", "12,345 |"]
    assert cells["speech_lstm"] == ["0.41 ± 0.05", "12,345 |"]
    assert cells["copy_ntm"] == ["0.012 ± 0.001", "0.30 ± 0.10", "12,345 |"]


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
        (wing,) = report.gather(params(["weather_oracle"]))
        return [str(panel) for panel in report.section_panels(wing.sections[0])]

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
        report.gather(params(["copy_ntm"]))


def test_malformed_curve_is_named(data: Path) -> None:
    path = data / "curves" / "copy_ntm.csv"
    path.write_text(path.read_text().replace("1,seed_1,3.0", "1,seed_1,x"))
    with pytest.raises(InputError, match=r"copy_ntm\.csv is no learning curve"):
        report.gather(params(["copy_ntm"]))


def test_wings_stand_in_the_order_of_the_notes_and_an_unknown_one_comes_last_under_its_prefix(data: Path) -> None:
    wings = report.gather(params(["stories_memory", "weather_oracle", "copy_ntm", "slots_lstm"]))
    assert [wing.theme.title for wing in wings] == ["Networks with memory", "External memory", "Weather"]
    assert [[list(section.results) for section in wing.sections] for wing in wings] == [
        [["slots_lstm"]],
        [["stories_memory"], ["copy_ntm"]],
        [["weather_oracle"]],
    ]
    assert Page(report.page(wings)).headings[1:] == ["Networks with memory", "External memory", "Weather"]


def test_experiment_without_curves_gets_no_chart(data: Path) -> None:
    (data / "curves" / "weather_oracle.csv").write_text("epoch,seed,training_loss\n")
    text = report.page(report.gather(params(["weather_oracle"])))
    assert "Learning curves on" not in text
    assert "Results on skies" in text


def test_every_seed_is_a_dot_that_tells_its_figure(built: Path) -> None:
    drawn = ElementTree.fromstring((built / "report" / "figure_overview.svg").read_bytes())
    titles = [element.text for element in drawn.iter(f"{{{report.SVG}}}title")]
    assert "slots_bilstm, seed 3: 93.83" in titles
    assert len([title for title in titles if title and ", seed " in title]) == len(EXPERIMENTS) * len(SEEDS)


def test_examples_do_not_depend_on_the_order_of_the_files(data: Path) -> None:
    def shown() -> list[report.Shown]:
        wings = report.gather(params(["slots_lstm", "slots_bilstm"]))
        return report.worked_examples(wings[0].sections[0], report.example_kinds())[1]

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
    text = examples_speech.show({"speech_lstm": {"id": "r", "digits": [3, 1, 4, 1, 5], "prediction": [3, 4, 1, 5, 5]}})
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
    assert "stories_memory, hop 1" in text
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
        ("accuracy_yes_no", ["accuracy"], "accuracy: yes no (%)", "higher is better"),
        ("phoneme_error_rate", [], "phoneme error rate (%)", "lower is better"),
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


def _gather(data: Path) -> list[report.Wing]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(report, "DATA", data)
        return report.gather(params(list(EXPERIMENTS)))
