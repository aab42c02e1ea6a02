"""``python -m stages.compare`` on small git repositories, its statistics against scipy and simulated reruns."""

import json
import random
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from hashlib import md5
from pathlib import Path
from typing import Any

import pytest
import yaml
from dvc.parsing.interpolate import to_str
from scipy import stats

from stages import compare
from stages.core.base import params
from stages.core.base.errors import InputError
from stages.figures.results_table import lower_is_better

ROOT = Path(__file__).resolve().parent.parent
STYLE = {"bool": "boolean_optional", "list": "nargs"}  # as .dvc/config has it
Run = Callable[..., tuple[int, str]]

PIPELINE = {
    "prepare": ("datasets", "python -m stages.prepare ${key} # ${item.prepare}"),
    "train": ("experiments", "python -m stages.train ${key} # ${item.task} ${item.model} ${item.training}"),
    "evaluate": ("experiments", "python -m stages.evaluate ${key} # ${item.decoder} ${item.metric}"),
}


def experiment(**model: Any) -> dict[str, Any]:
    """The settings of an experiment, those of its model as given."""
    return {
        "dataset": "addresses",
        "task": {"name": "sequence_labelling", "embedding": 10, "dropout": 0.5},
        "model": {"name": "lstm", "hidden": 150, "dropout": 0.5, **model},
        "training": {"learning_rate": 0.004, "centre": False, "seeds": [1, 2, 3]},
        "decoder": {"name": "argmax"},
        "metric": {"name": "span_f1"},
    }


@dataclass
class Project:
    """A project of experiments that share a data set, in git; ``write`` leaves what a run of the pipeline would."""

    folder: Path
    metrics: dict[str, dict[str, list[float]]]
    experiments: dict[str, dict[str, Any]] = field(default_factory=dict)
    code: dict[str, str] = field(default_factory=dict)
    data: str = "the prepared data"
    seeds: dict[str, list[int]] = field(default_factory=dict)
    models: dict[str, str] = field(default_factory=dict)
    fixed: dict[str, Any] = field(default_factory=lambda: {"parameters": 5})

    def __post_init__(self) -> None:
        self.experiments = self.experiments or {key: experiment() for key in self.metrics}
        self.code = self.code or {f"stages/{name}.py": name for name in ("prepare", "train", "evaluate", "models/lstm")}
        self.git("init", "--quiet", "--initial-branch", "main")
        self.git("config", "user.name", "A")
        self.git("config", "user.email", "a@example.org")

    def git(self, *arguments: str) -> None:
        subprocess.run(["git", *arguments], cwd=self.folder, check=True, capture_output=True)

    def put(self, name: str, text: str) -> None:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")

    def write(self) -> None:
        """Write settings, code, metrics and dvc.lock."""
        values = {
            "datasets": {"addresses": {"prepare": {"validation": 0.1}}},
            "experiments": self.experiments,
        }
        stages = {kind: {"foreach": f"${{{of}}}", "do": {"cmd": cmd}} for kind, (of, cmd) in PIPELINE.items()}
        self.put("params.yaml", yaml.safe_dump(values, sort_keys=False))
        self.put("dvc.yaml", yaml.safe_dump({"stages": stages}))
        for name, text in self.code.items():
            self.put(name, text)
        for path in (self.folder / "data/metrics").glob("*.json"):
            path.unlink()
        for key, metrics in self.metrics.items():
            seeds = self.seeds.get(key, [1, 2, 3, 4, 5])
            found = {
                name: {
                    "mean": sum(figures) / len(figures),
                    "std": 0.0,
                    **{f"seed_{seed}": figure for seed, figure in zip(seeds, figures, strict=False)},
                }
                for name, figures in metrics.items()
            }
            self.put(f"data/metrics/{key}.json", json.dumps({**found, **self.fixed}))
        self.put("dvc.lock", yaml.safe_dump({"schema": "2.0", "stages": self.lock()}, sort_keys=False))

    def lock(self) -> dict[str, Any]:
        """What DVC would note of a run."""
        prepared = {"path": "data/prepared/addresses", "md5": _md5(self.data)}
        stages: dict[str, Any] = {
            "prepare@addresses": {
                "cmd": "python -m stages.prepare addresses # --validation 0.1",
                "deps": [self.dep("stages/prepare.py")],
                "outs": [prepared],
            }
        }
        for key in self.metrics:
            item = self.experiments[key]
            settings = {name: to_str(item[name], STYLE) for name in ("task", "model", "training", "decoder", "metric")}
            models = {
                "path": f"data/checkpoints/{key}",
                "md5": _md5(self.models.get(key, json.dumps([item, self.code, self.metrics[key]]))),
            }
            model = f"stages/models/{item['model']['name']}.py"
            stages[f"train@{key}"] = {
                "cmd": f"python -m stages.train {key} # {settings['task']} {settings['model']} {settings['training']}",
                "deps": [prepared, self.dep("stages/train.py"), self.dep(model)],
                "outs": [models],
            }
            stages[f"evaluate@{key}"] = {
                "cmd": f"python -m stages.evaluate {key} # {settings['decoder']} {settings['metric']}",
                "deps": [prepared, models, self.dep("stages/evaluate.py"), self.dep(model)],
                "outs": [{"path": f"data/metrics/{key}.json", "md5": "0"}],
            }
        return stages

    def dep(self, name: str) -> dict[str, str]:
        return {"path": name, "md5": _md5(self.code[name])}

    def commit(self, tag: str) -> None:
        """Write and commit, as ``tag``."""
        self.write()
        self.git("add", "--all")
        self.git("commit", "--quiet", "--allow-empty", "--message", tag)
        self.git("tag", tag)


def _md5(text: str) -> str:
    return md5(text.encode()).hexdigest()


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Give what runs compare in the project's folder; it gives exit status and what was printed."""
    monkeypatch.chdir(tmp_path)
    # Neither a developer's own settings nor a hook's repository.
    for name in ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE"):
        monkeypatch.delenv(name, raising=False)

    def run(*arguments: str) -> tuple[int, str]:
        monkeypatch.setattr(sys, "argv", ["compare", *arguments])
        status = 0
        try:
            compare.errors.run(compare.main)
        except SystemExit as ended:
            status = int(ended.code or 0)
        said = capsys.readouterr()
        assert not (said.out and said.err)
        return status, said.out or said.err

    return run


def judged(run: Run, *arguments: str) -> dict[str, dict[str, Any]]:
    """The experiments of ``--json``."""
    _, text = run(*arguments, "--json")
    return json.loads(text)["experiments"]


def make(seeds: list[float]) -> compare.Seeds:
    return {f"seed_{number}": figure for number, figure in enumerate(seeds, start=1)}


# What it tells.


@pytest.fixture
def halved(tmp_path: Path) -> Project:
    """One experiment with a halved hidden size, one rerun under other seeds, one that nobody touched."""
    project = Project(
        tmp_path,
        {
            "slots_lstm": {"span_f1": [90.1, 89.6, 90.4], "error_rate": [9.0, 9.3, 9.1]},
            "slots_gru": {"span_f1": [91.0, 90.2, 90.9], "error_rate": [8.8, 9.4, 9.0]},
            "slots_elman": {"span_f1": [85.0, 85.7, 84.9], "error_rate": [14.0, 13.6, 14.3]},
        },
    )
    project.commit("before")
    project.metrics["slots_lstm"] = {"span_f1": [86.0, 85.2, 86.3], "error_rate": [12.5, 13.0, 12.4]}
    project.metrics["slots_gru"] = {"span_f1": [90.3, 91.1, 90.6], "error_rate": [9.3, 8.9, 9.2]}
    project.seeds["slots_gru"] = [4, 5, 6]
    project.experiments["slots_lstm"] = experiment(hidden=75)
    project.experiments["slots_gru"]["training"]["seeds"] = [4, 5, 6]
    project.commit("after")
    return project


def test_a_halved_network_is_worse_and_a_rerun_is_not(halved: Project, run: Run) -> None:
    found = judged(run, "before", "after")
    assert {key: {m["verdict"] for m in held["metrics"].values()} for key, held in found.items()} == {
        "slots_lstm": {"worse"},
        "slots_gru": {"within noise"},
        "slots_elman": {"unchanged"},
    }
    low, high = found["slots_lstm"]["metrics"]["span_f1"]["interval"]
    assert low < -4.2 < high < 0
    assert found["slots_lstm"]["settings"] == {"model.hidden": ["150", "75"]}
    assert found["slots_gru"]["settings"] == {"training.seeds": ["1 2 3", "4 5 6"]}


def test_the_status_says_whether_anything_is_worse_if_asked(halved: Project, run: Run) -> None:
    assert run("before", "after")[0] == 0
    assert run("before", "after", "--fail-on-worse")[0] == 1
    assert run("after", "before", "--fail-on-worse")[0] == 0


def test_the_terminal_shows_the_worst_first_and_no_unchanged_experiment(halved: Project, run: Run) -> None:
    _, text = run("before", "after")
    lines = [line.split() for line in text.splitlines()]
    assert lines[1] == ["slots_lstm"]
    assert lines[2] == ["span_f1", "↑", "90.0", "85.8", "-4.2", "-5.3", "to", "-3.1", "worse"]
    assert "slots_lstm: model.hidden 150 → 75" in text
    assert "slots_elman" not in text and "slots_elman" in run("before", "after", "--all")[1]
    assert text.rstrip().endswith("2 worse, 0 improved, 0 undecided, 2 within noise, 2 unchanged.")


def test_markdown_is_a_table_with_as_many_cells_in_every_row(halved: Project, run: Run) -> None:
    status, text = run("before", "after", "--markdown", "--fail-on-worse")
    rows = [line for line in text.splitlines() if line.startswith("|")]
    assert status == 1
    assert len(rows) == 2 + 4 and {row.count("|") for row in rows} == {8}
    assert "**worse**" in rows[2] and "`slots_lstm`" in rows[2]


def test_one_commit_is_compared_with_the_working_tree(halved: Project, run: Run) -> None:
    assert {m["verdict"] for held in judged(run, "after").values() for m in held["metrics"].values()} == {"unchanged"}
    halved.metrics["slots_elman"]["span_f1"] = [10.0, 10.5, 11.0]
    halved.write()
    assert judged(run, "after")["slots_elman"]["metrics"]["span_f1"]["verdict"] == "worse"


def test_it_works_in_a_folder_of_a_larger_repository(tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "inner"
    folder.mkdir()
    project = Project(folder, {"slots_lstm": {"span_f1": [1.0, 2.0, 3.0]}})
    subprocess.run(["mv", folder / ".git", tmp_path], check=True)
    project.commit("before")
    monkeypatch.chdir(folder)
    assert judged(run, "before")["slots_lstm"]["settings"] == {}


def test_what_is_missing_is_named(tmp_path: Path, run: Run) -> None:
    figures = [1.0, 2.0, 3.0]
    project = Project(tmp_path, {"slots_old": {"bleu": figures}, "slots_lstm": {"bleu": figures, "chrf": figures}})
    project.commit("before")
    project.metrics = {"slots_new": {"bleu": figures}, "slots_lstm": {"bleu": figures, "exact_match": figures}}
    project.experiments["slots_new"] = experiment()
    project.commit("after")
    status, text = run("before", "after", "--fail-on-worse")
    assert status == 0
    assert "Only in before (" in text and "): slots_old, slots_lstm: chrf\n" in text
    assert "Only in after (" in text and "): slots_new, slots_lstm: exact_match\n" in text
    assert "slots\\_old" in run("before", "after", "--markdown")[1]
    assert json.loads(run("before", "after", "--json")[1])["before"]["only_here"] == ["slots_old", "slots_lstm: chrf"]


# What figures were made from.


@pytest.fixture
def changed(tmp_path: Path) -> Project:
    """Two experiments, with another model each, as of the commit ``before``."""
    project = Project(tmp_path, {"slots_lstm": {"span_f1": [1.0, 2.0, 3.0]}, "slots_gru": {"span_f1": [4.0, 5.0, 6.0]}})
    project.experiments["slots_gru"] = experiment(name="gru")
    project.code["stages/models/gru.py"] = "gru"
    project.commit("before")
    return project


@pytest.mark.parametrize("part, value", [("task", 0.1), ("model", 0.1)])
def test_a_setting_is_named_with_its_part(changed: Project, run: Run, part: str, value: float) -> None:
    changed.experiments["slots_lstm"][part]["dropout"] = value
    changed.experiments["slots_lstm"]["training"] |= {"centre": True, "patience": 3}
    changed.commit("after")
    found = judged(run, "before", "after")
    assert found["slots_gru"]["settings"] == {}
    assert found["slots_lstm"]["settings"] == {
        f"{part}.dropout": ["0.5", "0.1"],
        "training.centre": ["false", "true"],
        "training.patience": [None, "3"],
    }


def test_only_code_that_an_experiment_uses_is_named(changed: Project, run: Run) -> None:
    changed.code |= {"stages/models/gru.py": "better", "stages/prepare.py": "better"}
    changed.data = "other data"
    changed.commit("after")
    found = judged(run, "before", "after")
    assert found["slots_lstm"]["code"] == ["stages/prepare.py"]
    assert found["slots_gru"]["code"] == ["stages/models/gru.py", "stages/prepare.py"]
    assert found["slots_gru"]["data"] == ["data/prepared/addresses"]
    _, text = run("before", "after", "--all")
    assert "all 2: stages/prepare.py, data/prepared/addresses\n" in text
    assert "  slots_gru: stages/models/gru.py\n" in text


def test_figures_older_than_their_code_or_settings_are_named(changed: Project, run: Run) -> None:
    def outdated() -> list[str]:
        return json.loads(run("before", "--json")[1])["after"]["outdated"]

    assert outdated() == []
    changed.put("stages/models/gru.py", "edited")
    assert outdated() == ["slots_gru"]
    assert "In working tree, settings or code were edited after the figures were made: slots_gru\n" in run("before")[1]
    changed.put("params.yaml", (changed.folder / "params.yaml").read_text().replace("hidden: 150", "hidden: 75", 1))
    assert outdated() == ["slots_gru", "slots_lstm"]


def test_without_a_lock_what_changed_is_unknown(changed: Project, run: Run) -> None:
    changed.metrics["slots_gru"]["span_f1"] = [3.0, 4.0, 4.0]
    changed.write()
    changed.put("dvc.lock", "")
    assert judged(run, "before")["slots_gru"]["settings"] is None
    assert "slots_gru: unknown, for dvc.lock does not have it on both sides" in run("before")[1]


def test_settings_under_params_are_read_too(changed: Project, run: Run) -> None:
    stages = changed.lock()
    stages["train@slots_lstm"] |= {
        "cmd": "python -m stages.train slots_lstm",
        "params": {
            "params.yaml": {
                f"experiments.slots_lstm.{part}": experiment()[part] for part in ("task", "model", "training")
            }
        },
    }
    changed.put("dvc.lock", yaml.safe_dump({"stages": stages}))
    assert judged(run, "before")["slots_lstm"]["settings"] == {}


def test_every_command_of_this_project_is_read_back_as_its_settings() -> None:
    values = yaml.safe_load((ROOT / "params.yaml").read_text())
    pipeline = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]
    sections = {"train": "experiments", "evaluate": "experiments", "prepare": "datasets", "generate": "generated"}
    stages, expected = {}, {}
    for kind, section in sections.items():
        for key, item in values[section].items():
            parts = compare.PART.findall(pipeline[kind]["do"]["cmd"])
            stage = f"{kind}@{key}"
            held = {f"{section}.{key}" + (f".{part}" if part else ""): item[part] if part else item for part in parts}
            stages[stage] = {"cmd": f"python # {' '.join(to_str(part, STYLE) for part in held.values())}"}
            expected[stage] = {f"{name}.{flag}": value for name, part in held.items() for flag, value in _flat(part)}
    record = compare.Record(stages, pipeline, values)
    assert len(expected) > 100
    assert {stage: record.settings(stage) for stage in stages} == expected


def _flat(values: dict[str, Any]) -> list[tuple[str, str]]:
    return list(compare.flatten(values))


# Statistics.


def test_the_interval_is_students() -> None:
    old, new = [90.1, 89.6, 90.4], [88.0, 89.1, 88.7, 88.2]
    found = compare.estimate(make(old), make(new))
    known = stats.ttest_ind(new, old)
    assert found.interval == pytest.approx(tuple(known.confidence_interval(0.95)), abs=1e-6)
    assert found.p == pytest.approx(known.pvalue)
    assert found.difference == pytest.approx(sum(new) / 4 - sum(old) / 3, abs=1e-6)


def test_equal_models_are_compared_seed_by_seed(tmp_path: Path, run: Run) -> None:
    old, new = [80.0, 85.0, 90.0], [80.9, 86.0, 90.8]
    project = Project(tmp_path, {"slots_lstm": {"span_f1": old}}, models={"slots_lstm": "the same"})
    project.commit("before")
    project.metrics["slots_lstm"]["span_f1"] = new
    project.experiments["slots_lstm"]["decoder"]["name"] = "viterbi"
    project.commit("after")
    found = judged(run, "before", "after")["slots_lstm"]
    assert found["metrics"]["span_f1"]["p"] == pytest.approx(stats.ttest_rel(new, old).pvalue)
    assert found["metrics"]["span_f1"]["verdict"] == "improved"
    assert found["settings"] == {"decoder.name": ["argmax", "viterbi"]}
    project.models = {"slots_lstm": "other models"}
    project.commit("trained")
    assert judged(run, "before", "trained")["slots_lstm"]["metrics"]["span_f1"]["verdict"] == "within noise"


def test_a_method_without_chance_differs_exactly(tmp_path: Path, run: Run) -> None:
    project = Project(tmp_path, {"slots_crf": {"span_f1": [92.0] * 3, "error_rate": [3.0] * 3}})
    project.commit("before")
    project.metrics["slots_crf"] = {"span_f1": [91.99] * 3, "error_rate": [3.0] * 3}
    project.commit("after")
    metric = judged(run, "before", "after")["slots_crf"]["metrics"]["span_f1"]
    assert (metric["verdict"], metric["interval"], metric["test"]) == ("worse", [-0.01, -0.01], "exact")
    assert run("before", "after", "--fail-on-worse")[0] == 1
    assert " -0.010 " in run("before", "after")[1]


def test_figures_that_happen_to_agree_prove_little() -> None:
    found = compare.estimate(make([25.0, 25.0, 25.0]), make([26.0, 26.0, 26.0]))
    assert (found.interval, found.p) == (None, 2 / 2**6)
    # The bound holds: two outcomes, as likely as can be for the worst, agree within sides and differ between them.
    outcomes = [tuple(number >> place & 1 for place in range(6)) for number in range(64)]
    coincidences = sum(len(set(o[:3])) == len(set(o[3:])) == 1 and o[0] != o[3] for o in outcomes)
    assert coincidences / 64 == found.p
    assert compare.estimate(make([25.0] * 5), make([26.0] * 5)).p == 2 / 2**10
    assert compare.estimate(make([1.0, 2.0, 3.0]), make([2.0, 3.0, 4.0]), same_models=True).p == 0.25


def test_one_seed_against_several_borrows_their_spread_and_against_one_is_undecided(tmp_path: Path, run: Run) -> None:
    found = compare.estimate(make([5.0, 6.0, 7.0]), make([9.0]))
    half = stats.t.ppf(0.975, 2) * (1 + 1 / 3) ** 0.5
    assert found.interval == pytest.approx((3 - half, 3 + half), abs=1e-6)
    project = Project(tmp_path, {"slots_lstm": {"span_f1": [90.0]}})
    project.commit("before")
    project.metrics["slots_lstm"]["span_f1"] = [10.0]
    project.commit("after")
    metric = judged(run, "before", "after")["slots_lstm"]["metrics"]["span_f1"]
    assert (metric["verdict"], metric["interval"]) == ("undecided", None)
    assert run("before", "after", "--fail-on-worse")[0] == 0


def test_false_discovery_rates_are_scipys() -> None:
    draw = random.Random(1)
    p = {number: draw.random() ** 3 for number in range(40)}
    known = dict(zip(p, stats.false_discovery_control(list(p.values())), strict=True))
    assert compare.benjamini_hochberg(p) == pytest.approx(known)


def simulate(draw: random.Random, kept: int, improved: int) -> set[compare.Verdict]:
    """The verdicts on ``kept`` experiments of two metrics that stayed as they were; ``improved`` others got better."""
    estimates = {}
    for number in range(kept + improved):
        gain = 20.0 if number >= kept else 0.0
        old, new = ([gain * side + draw.gauss(90, 1) for _ in range(3)] for side in (0, 1))
        estimates[f"e{number}", "span_f1"] = compare.estimate(make(old), make(new))
        # Another metric of the same predictions rises and falls with the first.
        near = [[figure / 2 + draw.gauss(0, 0.1) for figure in figures] for figures in (old, new)]
        estimates[f"e{number}", "recall"] = compare.estimate(make(near[0]), make(near[1]))
    adjusted = compare.adjust(estimates)
    rows = [compare.Row(*name, {}, {}, made, adjusted[name]) for name, made in estimates.items()]
    return {row.verdict for row in rows}


@pytest.mark.parametrize("kept, improved", [(20, 0), (10, 10)])
def test_reruns_raise_few_alarms_however_many_metrics_there_are(kept: int, improved: int) -> None:
    draw = random.Random(7)
    found = [simulate(draw, kept, improved) for _ in range(300)]
    alarms = sum(compare.Verdict.WORSE in verdicts for verdicts in found)
    assert alarms <= 14  # 2.5 % of 300 is 7.5; more than 14 has a chance of 1 %
    assert sum(compare.Verdict.IMPROVED in verdicts for verdicts in found) >= (290 if improved else 0)


def test_one_metric_among_many_counts_only_if_it_stands_out(tmp_path: Path, run: Run) -> None:
    draw = random.Random(3)
    figures = lambda: {"span_f1": [draw.gauss(90, 1) for _ in range(3)]}
    project = Project(tmp_path, {f"slots_{number}": figures() for number in range(30)})
    project.metrics["slots_0"]["span_f1"] = [90.0, 91.0, 92.0]
    project.commit("before")
    project.metrics = {key: figures() for key in project.metrics}
    project.metrics["slots_0"]["span_f1"] = [87.4, 88.4, 89.4]
    project.commit("after")
    metric = judged(run, "before", "after")["slots_0"]["metrics"]["span_f1"]
    assert metric["interval"][1] < 0 and metric["verdict"] == "within noise"
    assert "within noise*" in run("before", "after")[1]
    for number in range(1, 30):
        del project.metrics[f"slots_{number}"]
    project.commit("alone")
    assert judged(run, "before", "alone")["slots_0"]["metrics"]["span_f1"]["verdict"] == "worse"


# Which way is better.

SYMBOLS = {"symbols": ["a", "a", "b"], "prediction": ["a", "a", "b"], "boundaries": [[0, 1], [1, 2], [2, 3]]}
TREE = ["(root", "•", ")"]
RECORDS: dict[str, list[dict[str, Any]]] = {  # for each metric's file, records with all that it can score
    "accuracy": [{"prediction": 1, "label": 1, "answer": 1, "kind": "one_fact"}],
    "bits": [
        {"length": length, "range": "in_range", "target": [[0, 1]], "bits": 0.1, "bayes_bits": 0.1, "wrong_bits": 0}
        for length in (6, 20, 200)
    ],
    "bleu": [
        {"prediction": "ab", "greedy": "a", "target": "ab", "similarity": similarity} for similarity in (0.1, 0.5, 0.9)
    ],
    "bracket_f1": [{"source": ["w"], "target": TREE, "prediction": TREE}],
    "contrast_accuracy": [{"contrast": True, "tags": ["B-destination"], "prediction": ["B-destination"]}],
    "phoneme_error_rate": [{"prediction": ["a"], "targets": [["a"]]}],
    "reconstruction": [
        {"target": ["w"] * words, "prediction": ["w"], "order": {"outcome": 1.0, "without_vector": 0.5}}
        for words in range(2, 50)
    ],
    "same_different": [
        {"word": word, "unseen": unseen, "vector": [number, 1.0]}
        for number, (word, unseen) in enumerate([(w, u) for w in "ab" for u in (True, False)] * 6)
    ],
    "span_f1": [{"tags": ["B-a"], "prediction": ["B-a"]}],
    "speech_recognition": [SYMBOLS | {"times": SYMBOLS["boundaries"], "confidence": [0.5, 0.5, 0.5]}],
}


def test_it_is_known_of_every_metric_which_way_is_better() -> None:
    produced = set()
    for key, held in params.load(ROOT / "params.yaml").experiments.items():
        module, settings = params.load_part("metric", held.metric, f"experiments.{key}.metric")
        produced |= set(module.score(RECORDS[held.metric["name"]], settings))
    for path in set((ROOT / "data/metrics").glob("*.json")) - {ROOT / compare.CLAIMS}:
        produced |= {name for name, value in json.loads(path.read_text()).items() if isinstance(value, dict)}
    assert len(produced) > 40
    assert sorted(name for name in produced if lower_is_better(name) is None) == []
    assert {name for name in produced if lower_is_better(name)} == {
        name
        for name in produced
        if any(word in name for word in ("error", "excess"))
        or name.endswith("bits_per_sequence")
        or name in ("malformed_rate", "failed_kinds")
    }


def test_a_metric_of_unknown_direction_is_undecided_and_named(tmp_path: Path, run: Run) -> None:
    project = Project(tmp_path, {"slots_lstm": {"oddness": [1.0, 2.0, 3.0]}})
    project.commit("before")
    project.metrics["slots_lstm"]["oddness"] = [10.0, 20.0, 30.0]
    project.commit("after")
    status, text = run("before", "after", "--fail-on-worse")
    assert status == 0 and "undecided" in text
    assert "Whether higher or lower is better is not known of oddness" in text


# Claims of the notes.


def claim(project: Project, tag: str, **verdicts: str) -> None:
    """Commit the verdicts on claims beside the metrics, as ``tag``."""
    project.write()
    project.put(compare.CLAIMS, json.dumps({name: {"verdict": said} for name, said in verdicts.items()}))
    project.git("add", "--all")
    project.git("commit", "--quiet", "--message", tag)
    project.git("tag", tag)


def test_claims_are_no_experiment_and_a_changed_verdict_is_named(tmp_path: Path, run: Run) -> None:
    project = Project(tmp_path, {"slots_lstm": {"span_f1": [84.0, 84.5, 85.0]}})
    claim(project, "old", first="holds", second="holds", gone="holds")
    claim(project, "young", first="holds", second="undecided", new="holds")
    status, text = run("old", "young")
    assert status == 0 and "Claims of the notes whose verdict changed: second holds → undecided\n" in text
    assert "first holds" not in text and "Only in" not in text
    assert list(judged(run, "old", "young")) == ["slots_lstm"]
    assert json.loads(run("old", "young", "--json")[1])["claims"] == {"second": ["holds", "undecided"]}


def test_a_commit_without_claims_is_compared_all_the_same(tmp_path: Path, run: Run) -> None:
    project = Project(tmp_path, {"slots_lstm": {"span_f1": [84.0, 84.5, 85.0]}})
    project.commit("old")
    claim(project, "young", first="holds")
    status, text = run("old", "young")
    assert status == 0 and "Claims" not in text


@pytest.mark.parametrize("text", ["{", "[]", '{"first": "holds"}', '{"first": {}}'])
def test_malformed_claims_are_one_sentence(tmp_path: Path, run: Run, text: str) -> None:
    project = Project(tmp_path, {"slots_lstm": {"span_f1": [84.0, 84.5, 85.0]}})
    project.commit("old")
    project.put(compare.CLAIMS, text)
    status, said = run("old")
    assert (status, said.count("\n")) == (2, 1) and "data/metrics/claims.json of working tree should hold" in said


# What cannot be compared.


@pytest.mark.parametrize("revision", ["nope", "HEAD~100", "HEAD:data", ""])
def test_a_revision_that_does_not_exist_is_one_sentence(halved: Project, run: Run, revision: str) -> None:
    status, text = run("before", revision)
    assert status == 2
    assert text.startswith(f"error: {revision!r} is no commit, branch or tag") and text.count("\n") == 1


def test_a_repository_without_metrics_is_one_sentence(tmp_path: Path, run: Run) -> None:
    project = Project(tmp_path, {})
    project.commit("before")
    status, text = run("before")
    assert status == 2
    assert text.startswith("error: before has no metrics: no data/metrics/*.json") and text.count("\n") == 1


def test_no_repository_is_one_sentence(tmp_path: Path, run: Run) -> None:
    status, text = run("HEAD")
    assert (status, text.count("\n")) == (2, 1) and "is in no git repository" in text


@pytest.mark.parametrize(
    "text, said",
    [
        ("{", "is not JSON"),
        ("[]", "should hold"),
        ("{}", "has no metric"),
        ('{"parameters": 3}', "has no metric"),
        ('{"bleu": {"mean": 3.0}}', "bleu has no figure of a seed"),
        ('{"bleu": {"seed_1": NaN}}', "bleu has seed_1 nan"),
        ('{"bleu": {"seed_1": true}}', "bleu has seed_1 True"),
        ('{"bleu": {"seed_1": "3"}}', "bleu has seed_1 '3'"),
        ('{"bleu": {"seed_1": 1e999}}', "bleu has seed_1 inf"),
        ('{"bleu": [3.0]}', "bleu has count [3.0]"),
    ],
)
def test_a_malformed_metric_file_is_one_sentence(halved: Project, run: Run, text: str, said: str) -> None:
    halved.put("data/metrics/slots_gru.json", text)
    status, error = run("after")
    assert (status, error.count("\n")) == (2, 1)
    assert error.startswith("error: data/metrics/slots_gru.json of working tree ") and said in error


@pytest.mark.parametrize(
    "text", ["a: [", "<<<<<<< HEAD\nstages:\n", "stages: {train@x: 3}", "stages: {x: {deps: [3]}}"]
)
def test_a_malformed_lock_is_one_sentence(halved: Project, run: Run, text: str) -> None:
    halved.put("dvc.lock", text)
    status, error = run("after")
    assert (status, error.count("\n")) == (2, 1)
    assert error.startswith("error: dvc.lock of working tree")


def test_without_git_it_is_one_sentence(halved: Project, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    assert run("after") == (2, "error: git is not installed, and metrics of another commit are read through it\n")


def test_it_starts_without_torch_and_dvc() -> None:
    code = "import sys, stages.compare; print(*{'torch', 'dvc', 'pydantic', 'altair'} & set(sys.modules))"
    ran = subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True, capture_output=True, text=True)
    assert ran.stdout.strip() == ""


def test_a_wrong_revision_raises_before_anything_is_read(halved: Project, run: Run) -> None:
    with pytest.raises(InputError, match="'x' is no commit"):
        compare.read_version("x")
