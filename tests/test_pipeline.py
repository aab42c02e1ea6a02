"""The pipeline itself, scaled down: DVC runs the real stages of two experiments in a project of their own."""

import hashlib
import io
import json
import os
import random
import re
import shutil
import subprocess
import sys
import tarfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).resolve().parent.parent
STREETS = ["Mill", "Old Mill", "Church", "Station", "Park", "Lake View", "Hill", "River"]
CITIES = ["Springfield", "Salem", "New Bedford", "Dover", "Aurora"]
STAGES = {
    "download@addresses",
    "prepare@addresses",
    "generate@copy",
    *(f"{kind}@{name}" for kind in ("train", "evaluate") for name in ("slots_lstm", "slots_crf", "copy_ntm")),
    "demonstrate@worked_rnn",
    "claims",
    "report",
}
# Claims that the scaled-down project can judge: one by its predictions, one by its demonstration.
CLAIM = {"notes": ["N22"], "chinese": "甲比乙好。", "english": "One is better than the other."}
CLAIMS = {
    "measured": CLAIM
    | {"comparison": {"experiment": "slots_lstm", "metric": "span_f1", "direction": "higher", "than": "slots_crf"}},
    "worked": CLAIM | {"demonstration": {"name": "worked_rnn"}},
}


def address(draw: random.Random) -> str:
    """One address as the labelled XML has it."""
    slots = [("AddressNumber", str(draw.randint(1, 9999)))]
    slots += [("StreetName", token) for token in draw.choice(STREETS).split()]
    slots += [("PlaceName", token) for token in draw.choice(CITIES).split()]
    return f"<AddressString>{' '.join(f'<{kind}>{token}</{kind}>' for kind, token in slots)}</AddressString>"


def labelled_xml() -> bytes:
    """Sixty addresses, and two records that are not as they should be."""
    draw = random.Random(1)
    records = [address(draw) for _ in range(60)]
    records += ["<AddressString><StreetName>Broken</AddressString>", "<AddressString></AddressString>"]
    return ("<AddressCollection>\n" + "\n".join(records) + "\n</AddressCollection>\n").encode()


def scaled(mirror: Path) -> dict[str, Any]:
    """The project's own settings, with little data and training; the addresses come from ``mirror``."""
    content, buffer = labelled_xml(), io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        info = tarfile.TarInfo("training/labeled.xml")
        info.size = len(content)
        archive.addfile(info, io.BytesIO(content))
    (mirror / "labels.tar.gz").write_bytes(buffer.getvalue())
    source = {
        "url": "http://127.0.0.1:9/labels.tar.gz",
        "mirror": "labels.tar.gz",
        "sha256": hashlib.sha256(buffer.getvalue()).hexdigest(),
        "bytes": len(buffer.getvalue()),
        "members": ["training/labeled.xml"],
        "largest": len(content),
    }
    values = yaml.safe_load((ROOT / "params.yaml").read_text())
    values["datasets"] = {
        "addresses": values["datasets"]["addresses"] | {"sources": {"usaddress": source}},
    }
    values["generated"] = {"copy": values["generated"]["copy"]}
    values["generated"]["copy"] |= {"train": 64, "validation": 4, "test": 4, "test_lengths": [20, 40]}
    values["experiments"] = {name: values["experiments"][name] for name in ("slots_lstm", "slots_crf", "copy_ntm")}
    values["demonstrations"] = {"worked_rnn": values["demonstrations"]["worked_rnn"]}
    for name, seeds in (("slots_lstm", [1, 2]), ("copy_ntm", [1])):
        values["experiments"][name]["training"]["epochs"] = 2
        values["experiments"][name]["training"]["seeds"] = seeds
    values["experiments"]["copy_ntm"]["task"]["epoch"] = 32
    return values


@dataclass(frozen=True)
class Project:
    """A copy of this project in ``folder``, with DVC's own folders elsewhere."""

    folder: Path
    environment: dict[str, str]

    def run(self, *command: str, given: str = "") -> subprocess.CompletedProcess[str]:
        """Run ``python -m command``."""
        return subprocess.run(
            [sys.executable, "-m", *command],
            cwd=self.folder,
            env=self.environment,
            input=given,
            capture_output=True,
            text=True,
            check=False,
            timeout=600,
        )

    def ok(self, *command: str, given: str = "") -> str:
        """Run ``python -m command``, which must succeed; gives what it printed."""
        result = self.run(*command, given=given)
        assert result.returncode == 0, result.stdout + result.stderr
        return result.stdout

    def stale(self) -> set[str]:
        """The stages that DVC finds changed."""
        return set(json.loads(self.ok("dvc", "status", "--json")))


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """The project after one run of the whole pipeline, in git."""
    folder, mirror = tmp_path_factory.mktemp("project"), tmp_path_factory.mktemp("mirror")
    own = tmp_path_factory.mktemp("dvc")
    for name in ("stages", ".dvc/config", ".dvc/plots", ".dvcignore", ".gitignore", "dvc.yaml"):
        source, target = ROOT / name, folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if source.is_dir():
            shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, target)
    (folder / "params.yaml").write_text(yaml.safe_dump(scaled(mirror), sort_keys=False))
    (folder / "stages/claims.yaml").write_text(yaml.safe_dump(CLAIMS), encoding="utf-8")
    environment = {
        **os.environ,
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "DATA_MIRROR": str(mirror),
        "DVC_GLOBAL_CONFIG_DIR": str(own / "global"),
        "DVC_SYSTEM_CONFIG_DIR": str(own / "system"),
        "DVC_SITE_CACHE_DIR": str(own / "site"),
        "DVC_NO_ANALYTICS": "1",
        "GIT_CONFIG_GLOBAL": os.devnull,
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    project = Project(folder, environment)
    git = ["git", "-c", "user.name=t", "-c", "user.email=t@example.org", "-C", str(folder)]
    subprocess.run([*git, "init", "--quiet"], check=True, env=environment)
    for message in ("before", "built"):
        subprocess.run([*git, "add", "--all"], check=True, env=environment)
        subprocess.run([*git, "commit", "--quiet", "--message", message], check=True, env=environment)
        if message == "before":
            project.ok("stages.repro", "--jobs", "2")
    return project


@pytest.fixture
def project(built: Project) -> Any:
    """The built project; what a test changes of its code and settings is put back."""
    yield built
    subprocess.run(["git", "-C", str(built.folder), "checkout", "--quiet", "."], check=True, env=built.environment)


def test_every_stage_has_run(project: Project) -> None:
    lock = yaml.safe_load((project.folder / "dvc.lock").read_text())
    assert set(lock["stages"]) == STAGES


def test_the_metrics_show_every_seed_and_their_spread(project: Project) -> None:
    metrics = json.loads((project.folder / "data/metrics/slots_lstm.json").read_text())
    assert set(metrics) == {"span_f1", "precision", "recall", "accuracy", "parameters", "model_parameters"}
    figures = metrics["span_f1"]
    assert set(figures) == {"mean", "std", "seed_1", "seed_2"}
    assert figures["mean"] == pytest.approx((figures["seed_1"] + figures["seed_2"]) / 2, abs=1e-5)


def test_each_claim_is_judged_from_what_the_run_left(project: Project) -> None:
    judged = json.loads((project.folder / "data/metrics/claims.json").read_text())
    lstm, crf = (
        json.loads((project.folder / f"data/metrics/{key}.json").read_text())["span_f1"]["mean"]
        for key in ("slots_lstm", "slots_crf")
    )
    assert judged["worked"] == {"verdict": "holds"}
    assert judged["measured"]["figure"] == pytest.approx(lstm, abs=1e-5)
    assert judged["measured"]["effect"] == pytest.approx(lstm - crf, abs=1e-5)


def test_the_report_is_one_page_that_asks_nothing_of_the_network(project: Project) -> None:
    page = (project.folder / "data/report/index.html").read_text()
    assert "slots_lstm" in page and "copy_ntm" in page
    assert not re.findall(r"""(?:src|href)=["']?(?:https?:)?//|@import|url\((?!["']?data:)""", page)


def test_nothing_runs_again(project: Project) -> None:
    assert project.stale() == set()
    assert "Running stage" not in project.ok("dvc", "repro")
    assert "started" not in project.ok("stages.repro")


@pytest.mark.parametrize(
    ("file", "stages"),
    [
        ("stages/models/neural_turing_machine.py", {"train@copy_ntm", "evaluate@copy_ntm"}),
        ("stages/decoding/argmax.py", {"evaluate@slots_lstm"}),
        ("stages/models/crfsuite.py", {"train@slots_crf", "evaluate@slots_crf"}),
        ("stages/metrics/bits.py", {"evaluate@copy_ntm", "claims"}),
        ("stages/claims.yaml", {"claims", "report"}),
        ("stages/datasets/addresses.py", {"prepare@addresses"}),
        ("stages/core/trainer.py", {"train@copy_ntm", "train@slots_lstm", "train@slots_crf"}),
        ("stages/figures/overview.py", {"report"}),
        ("stages/demonstrations/worked_rnn.py", {"demonstrate@worked_rnn"}),
        ("stages/models/elman.py", {"demonstrate@worked_rnn"}),
        ("stages/predict.py", set()),
        ("stages/models/memory_network.py", set()),
    ],
)
def test_an_edited_file_makes_stale_what_uses_it_alone(project: Project, file: str, stages: set[str]) -> None:
    path = project.folder / file
    path.write_text(path.read_text() + "\n# edited\n")
    assert project.stale() == stages


def changed(project: Project, path: list[str], value: Any) -> None:
    """Set one value of params.yaml."""
    file = project.folder / "params.yaml"
    values = yaml.safe_load(file.read_text())
    place = values
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value
    file.write_text(yaml.safe_dump(values, sort_keys=False))


@pytest.mark.parametrize(
    ("path", "value", "stages"),
    [
        (["experiments", "slots_lstm", "training", "epochs"], 3, {"train@slots_lstm", "claims", "report"}),
        (["experiments", "slots_lstm", "model", "bidirectional"], True, {"train@slots_lstm", "claims", "report"}),
        (["experiments", "slots_lstm", "training", "seeds"], [1, 3], {"train@slots_lstm", "claims", "report"}),
        (["experiments", "slots_crf", "decoder", "n_best"], 1, {"evaluate@slots_crf", "claims", "report"}),
        (["experiments", "slots_lstm", "title"], "Another", {"claims", "report"}),
        (["demonstrations", "worked_rnn", "settings", "weight"], 2.0, {"demonstrate@worked_rnn", "claims", "report"}),
        (["generated", "copy", "seed"], 7, {"generate@copy", "claims", "report"}),
    ],
)
def test_a_changed_setting_makes_stale_what_reads_it_alone(
    project: Project, path: list[str], value: Any, stages: set[str]
) -> None:
    changed(project, path, value)
    assert project.stale() == stages


def test_a_training_repeats_to_the_bit(project: Project) -> None:
    folder = project.folder / "data/checkpoints/slots_lstm"
    before = {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*.*")}
    project.ok("dvc", "repro", "--single-item", "--force", "--no-commit", "train@slots_lstm")
    assert {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*.*")} == before
    assert {path.name for path in before} == {
        "model.safetensors",
        "config.json",
        "vocabulary.json",
        "learning_curve.csv",
    }


def test_only_the_edited_chain_runs(project: Project) -> None:
    path = project.folder / "stages/decoding/argmax.py"
    path.write_text(path.read_text() + "\n# edited\n")
    said = project.ok("dvc", "repro")
    assert re.findall(r"Running stage '([^']+)'", said) == ["evaluate@slots_lstm"]


@pytest.mark.parametrize(
    ("command", "path", "sentence"),
    [
        (
            ["stages.repro"],
            ["experiments", "slots_lstm", "model", "hiden"],
            "params.yaml: experiments.slots_lstm.model.hiden is an unknown key; did you mean hidden?",
        ),
        (["stages.repro"], ["experiments", "slots_lstm", "tsak"], "experiments.slots_lstm.tsak is an unknown key"),
        (["stages.repro", "evaluate@slots_lsmt"], None, "evaluate@slots_lstm"),
        (["stages.train", "slots_lsmt"], None, "slots_lsmt is no experiment in params.yaml; did you mean slots_lstm?"),
        (["stages.predict", "slots_lsmt", "-"], None, "slots_lsmt is no experiment in params.yaml"),
        (["stages.prepare", "adresses"], None, "adresses is no dataset in params.yaml; did you mean addresses?"),
    ],
)
def test_a_wrong_name_is_one_sentence_and_loses_nothing(
    project: Project, command: list[str], path: list[str] | None, sentence: str
) -> None:
    lock = (project.folder / "dvc.lock").read_bytes()
    if path:
        changed(project, path, 0.1)
    result = project.run(*command)
    assert result.returncode == 2
    assert sentence in result.stderr
    assert len(result.stderr.strip().splitlines()) == 1, result.stderr
    assert (project.folder / "dvc.lock").read_bytes() == lock
    assert (project.folder / "data/checkpoints/slots_lstm/seed_1/model.safetensors").exists()


def test_malformed_records_are_counted_and_named(project: Project) -> None:
    rejected = json.loads((project.folder / "data/prepared/addresses/summary.json").read_text())["rejected"]
    assert {problem: (found["count"], found["first"]) for problem, found in rejected.items()} == {
        "malformed XML": (1, ["labeled.xml:62"]),
        "no tokens": (1, ["labeled.xml:63"]),
    }


def test_a_missing_input_is_one_sentence(project: Project) -> None:
    path = project.folder / "data/raw/addresses/usaddress/training/labeled.xml"
    hidden = path.with_name("hidden")
    path.rename(hidden)
    try:
        result = project.run("stages.prepare", "addresses")
    finally:
        hidden.rename(path)
    assert result.returncode == 2
    assert "labeled.xml" in result.stderr and len(result.stderr.strip().splitlines()) == 1
    assert (project.folder / "data/prepared/addresses/train.jsonl").exists()


def test_predict_needs_the_artifact_alone(project: Project, tmp_path: Path) -> None:
    shutil.copytree(project.folder / "data/checkpoints/slots_lstm/seed_2", tmp_path / "taken_away")
    shutil.copytree(project.folder / "stages", tmp_path / "stages")
    alone = Project(tmp_path, project.environment)
    said = alone.ok("stages.predict", "taken_away", given="12 Old Mill Salem\n")
    assert [line.split()[0] for line in said.strip().splitlines()] == ["12", "Old", "Mill", "Salem"]
    result = alone.run("stages.predict", "taken_away", given="\n")
    assert result.returncode == 2 and "is empty" in result.stderr


def test_dvc_shows_a_figure_for_each_task_plots_and_differences(project: Project) -> None:
    file = "data/report/plots/headline.json"
    shown = json.loads(project.ok("dvc", "metrics", "show", "--json"))[""]["data"]
    assert {path: set(entry["data"]) for path, entry in shown.items()} == {file: {"addresses", "copy"}}
    other = json.loads((project.folder / file).read_text())
    other["addresses"] += 1
    (project.folder / file).write_text(json.dumps(other))
    difference = json.loads(project.ok("dvc", "metrics", "diff", "HEAD", "--json"))
    assert difference[file]["addresses"]["diff"] == pytest.approx(1)
    for command in (("show",), ("diff", "HEAD")):
        drawn = json.loads(project.ok("dvc", "plots", *command, "--json"))
        assert not drawn.get("errors")
        names = {Path(name).stem for name in drawn["data"]}
        assert names == {"results", "learning_curves", "lengths", "confusion"}
        assert all(
            "slots_lstm" in str(drawn["data"][f"data/report/plots/{n}.csv"]) for n in ("results", "learning_curves")
        )
