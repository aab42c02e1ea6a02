"""The report in the order of the notes: each item is told and shown, seeds say who wins, DVC's plots draw."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any

import pytest
import vl_convert

from stages import report
from stages.core import claims
from stages.core.base.errors import InputError
from stages.core.base.files import write_json
from stages.core.base.params import load
from stages.figures import chapters, measures, results_table, themes
from stages.reporting import lecture, plots, results, winners
from tests.test_report import EXPERIMENTS, SCRIPT, VERDICT, params, write_results

ROOT = Path(__file__).resolve().parent.parent
ITEMS = [item for chapter in chapters.CHAPTERS for item in chapter.items]


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Give made-up results that a test may change."""
    write_results(tmp_path)
    monkeypatch.setattr(results, "DATA", tmp_path)
    return tmp_path


def test_chapters_tell_the_items_of_the_notes_in_their_order() -> None:
    assert [item.number for item in ITEMS] == list(range(1, 30))
    assert all(item.title and item.text for item in ITEMS)


def test_every_item_of_the_notes_has_a_claim_or_a_worked_example() -> None:
    shown = {
        number for claim in claims.read(ROOT / "stages/claims.yaml").values() for number in lecture.numbers(claim.notes)
    }
    for path in (ROOT / "data/demonstrations").glob("*.json"):
        shown |= lecture.numbers(json.loads(path.read_text())["notes"])
    assert sorted(shown) == list(range(1, 30))


def test_what_chapters_name_exists() -> None:
    known = load(ROOT / "params.yaml")
    assert {key for item in ITEMS for key in item.compare} <= set(known.experiments)
    assert {key for item in ITEMS for key in item.examples} <= set(known.demonstrations)


def test_every_experiment_stands_under_an_item() -> None:
    numbers = {item.number for item in ITEMS}
    prefixes = {themes.prefix_of(key) for key in load(ROOT / "params.yaml").experiments}
    assert {prefix for prefix in prefixes if themes.THEMES[prefix].item not in numbers} == set()


def test_a_worked_example_stands_once_whole_and_is_named_where_else_it_bears(data: Path) -> None:
    told = lecture.tell([], lecture.read_demonstrations(["power"]))
    parts = {part.item.number: part for _, chapter in told for part in chapter}
    assert [number for number, part in parts.items() if part.demonstrations] == [17]
    assert [number for number, part in parts.items() if part.also] == [14]


def test_a_claim_says_what_was_compared_and_its_interval(data: Path) -> None:
    stated = claims.read(ROOT / "stages/claims.yaml")
    claim = lecture.read_claims({"jordan_beats_elman": stated["jordan_beats_elman"]})[0]
    assert claim.items == [5]
    assert claim.verdict == "undecided"
    assert "Span F1 (%): slots_jordan 81.5 against slots_elman 80.2;" in claim.found
    assert "difference +1.2, 95 % interval −0.5 to +3.0" in claim.found
    assert lecture.tally([claim]) == "Of 1 claims, 0 hold and 0 do not hold; on 1 the data do not tell (undecided)."


def test_a_claim_stands_under_the_item_that_it_names_first(data: Path) -> None:
    stated = claims.read(ROOT / "stages/claims.yaml")
    found = lecture.read_claims({"one_network_at_every_step": stated["one_network_at_every_step"]})
    parts = {part.item.number: part for _, chapter in lecture.tell([], [], found) for part in chapter}
    assert [number for number, part in parts.items() if part.claims] == [4]
    assert [number for number, part in parts.items() if part.elsewhere] == [2]


def test_what_every_experiment_is_judged_by_is_explained() -> None:
    metrics = [next(iter(json.loads(path.read_text()))) for path in (ROOT / "data/metrics").glob("*_*.json")]
    assert len(metrics) > 20
    assert set(metrics) == set(measures.meanings(metrics))


def test_numbers_are_written_as_people_write_them() -> None:
    assert report.powers("w = 0.99: 4.36e-05 < 2.05e+07") == (
        "w = 0.99: 4.36 × 10<sup>−5</sup> &lt; 2.05 × 10<sup>7</sup>"
    )
    assert report.powers("-0, 10^-0.0, -0.5") == "0, 10<sup>0.0</sup>, −0.5"
    assert report.powers("bias -2 10^-59.7, e^-b, 1 - z") == "bias −2 10<sup>−59.7</sup>, e^-b, 1 - z"


def test_experiments_that_a_claim_names_are_links_to_their_results() -> None:
    assert report.linked("slots_lstm < slots_none", ["slots_lstm"]) == (
        '<a href="#result-slots_lstm">slots_<wbr>lstm</a> &lt; slots_none'
    )


def test_page_shows_claims_worked_examples_and_escapes_them(data: Path) -> None:
    report.write(params(["slots_lstm"]), data / "report")
    text = (data / "report/index.html").read_text(encoding="utf-8")
    assert text.count('id="example-power"') == 1
    assert "A power &lt;script&gt;" in text
    assert "it is 1 &lt;script&gt;" in text
    assert text.count("<script") == 1
    assert all(f'id="n{number}"' in text for number in range(1, 30))
    assert "中" in text or "网络" in text


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("metrics/claims.json", "the claims have not been judged; `dvc repro claims`"),
        ("demonstrations/power.json", "the worked example power has not been run; `dvc repro demonstrate@power`"),
    ],
)
def test_what_is_missing_is_an_error_that_names_its_stage(data: Path, path: str, said: str) -> None:
    (data / path).unlink()
    with pytest.raises(InputError, match=said):
        report.write(params(["slots_lstm"]), data / "report")
    assert not (data / "report").exists()


def test_a_claim_without_a_verdict_is_named(data: Path) -> None:
    judged = {name: VERDICT for name in claims.read() if name != "depth"}
    write_json(data / "metrics/claims.json", judged)
    with pytest.raises(InputError, match="no verdict on depth"):
        report.write(params(["slots_lstm"]), data / "report")


def test_a_worked_example_without_its_parts_is_an_error(data: Path) -> None:
    write_json(data / "demonstrations/power.json", {"notes": ["N17"], "title": SCRIPT})
    with pytest.raises(InputError, match="lacks text, expected, found, checks, tables"):
        lecture.read_demonstrations(["power"])


def scored(data: Path, figures: dict[str, list[float]]) -> winners.Contest:
    """Give the contest on addresses, where the experiments' seeds scored ``figures``."""
    for key, seeds in figures.items():
        values = {"mean": sum(seeds) / 3, "std": 0.0, **{f"seed_{n}": seed for n, seed in enumerate(seeds, 1)}}
        write_json(data / f"metrics/{key}.json", {"span_f1": values, "parameters": 1, "model_parameters": 1})
    (contest,) = winners.contests(results.gather(params(list(figures))))
    return contest


def test_one_wins_where_each_seed_beats_every_seed_of_the_other(data: Path) -> None:
    contest = scored(data, {"slots_lstm": [80.0, 81.0, 82.0], "slots_crf": [79.0, 79.0, 79.9]})
    assert (contest.outcome, contest.margin) == ("network", pytest.approx(1.7))
    contest = scored(data, {"slots_lstm": [80.0, 81.0, 82.0], "slots_crf": [79.0, 79.0, 80.1]})
    assert contest.outcome == "seeds overlap"
    contest = scored(data, {"slots_lstm": [80.0, 81.0, 82.0], "slots_crf": [83.0, 83.0, 83.0]})
    assert (contest.outcome, contest.margin) == ("peer", pytest.approx(-2.0))
    assert winners.tally([contest]).startswith("Of 1 tasks with a peer, 0 go to a network and 1 to the peer")


def test_lower_errors_win_and_without_a_peer_the_next_best_is_the_rival(data: Path) -> None:
    fights = {fight.section.dataset: fight for fight in winners.contests(results.gather(params(list(EXPERIMENTS))))}
    assert fights["digits"].rival is None
    assert fights["digits"].outcome == "no rival"
    contest = scored(data, {"slots_lstm": [80.0, 80.0, 80.0], "slots_bilstm": [90.0, 90.0, 90.0]})
    assert contest.rival is not None
    assert (contest.best.key, contest.rival.key, contest.outcome) == (
        "slots_bilstm",
        "slots_lstm",
        "the better network",
    )


def test_summary_has_at_most_so_many_metrics_and_the_headline_among_them() -> None:
    def row(*names: str) -> dict[str, dict[str, float]]:
        return {name: {"mean": 1.0, "std": 0.0} for name in names}

    rows = [row("accuracy", *(f"accuracy_{n}" for n in "abc")), row("error_rate", "accuracy", "accuracy_c")]
    assert [column.metric for column in results_table.chosen(rows, 3)] == ["accuracy", "accuracy_c", "error_rate"]
    text = results_table.markdown(
        {"x": "X", "y": "Y"}, dict(zip("xy", rows, strict=True)), {"x": (1, 1), "y": (1, 1)}, 2
    )
    assert text.splitlines()[0].count("|") == 2 + 2 + 2 + 1


def read(text: str) -> list[dict[str, str]]:
    """Read a table."""
    return list(csv.DictReader(io.StringIO(text)))


def test_tables_for_plots_hold_means_and_ranges_over_seeds(data: Path) -> None:
    tables = plots.tables(results.gather(params(list(EXPERIMENTS))))
    row = next(row for row in read(tables["results.csv"]) if row["experiment"] == "slots_lstm")
    assert (float(row["mean"]), float(row["lowest"]), float(row["highest"])) == (88.912, 87.912, 89.912)
    curve = [row for row in read(tables["learning_curves.csv"]) if row["experiment"] == "slots_lstm"]
    assert [float(row["validation_loss"]) for row in curve] == pytest.approx([4.0, 2.0, 4 / 3, 1.0], rel=1e-5)
    assert "slots_crf" not in tables["learning_curves.csv"]
    cells = [
        row for row in read(tables["confusion.csv"]) if row["actual"] == "Street" and "addresses" in row["dataset"]
    ]
    assert sum(float(row["percent"]) for row in cells) == pytest.approx(100.0)


def test_each_task_has_one_headline_figure(data: Path) -> None:
    found = plots.headline(results.gather(params(list(EXPERIMENTS))))
    assert found["addresses"] == 92.834
    assert set(found) == {dataset for dataset, _, _ in EXPERIMENTS.values()}


@pytest.mark.parametrize("name", ["results", "learning_curves", "lengths", "confusion_percent"])
def test_templates_of_dvcs_plots_draw_two_revisions(name: str, data: Path) -> None:
    tables = plots.tables(results.gather(params(list(EXPERIMENTS))))
    text = tables[f"{name.removesuffix('_percent')}.csv"]
    if name == "lengths":
        text = "dataset,experiment,place,length,score\ncopy: %,copy_ntm,0,20,1.5\ncopy: %,copy_ntm,1,40,2.5\n"
    rows: list[dict[str, Any]] = [{**row, "rev": rev} for rev in ("workspace", "main") for row in read(text)]
    template = (ROOT / f".dvc/plots/{name}.json").read_text(encoding="utf-8")
    axes = {"results": ("mean", "experiment"), "learning_curves": ("epoch", "validation_loss")}
    x, y = axes.get(name, ("predicted", "actual") if name == "confusion_percent" else ("length", "score"))
    for anchor, word in {"X": x, "Y": y, "TITLE": "A title", "X_LABEL": x, "Y_LABEL": y}.items():
        template = template.replace(f"<DVC_METRIC_{anchor}>", word)
    spec = json.loads(template.replace('"<DVC_METRIC_DATA>"', json.dumps(rows)))
    assert "<DVC_" not in json.dumps(spec)
    drawn = vl_convert.vegalite_to_svg(spec)
    assert "A title" in drawn
    assert rows[0]["dataset"].split(":")[0] in drawn
    assert name == "confusion_percent" or {"workspace", "main"} <= {
        rev for rev in ("workspace", "main") if f">{rev}<" in drawn
    }
