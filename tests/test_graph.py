"""The pipeline's graph tells the truth: a stage declares just the code that it imports."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from dvc.repo import Repo

ROOT = Path(__file__).resolve().parent.parent

# Run in a process of its own; between stages the package's modules are forgotten, the libraries stay.
LIST_IMPORTS = """
import importlib, json, pathlib, sys
from stages.core import params as first
loaded = first.load()
def names(kind, key):
    if kind in ("download", "prepare", "generate"):
        return [] if kind == "download" else [f"datasets.{key}"]
    if kind == "report":
        return [f"figures.{path.stem}" for path in pathlib.Path("stages/figures").glob("[!_]*.py")]
    experiment = loaded.experiments[key]
    rooms = {"tasks": experiment.task, "models": experiment.model}
    if kind == "evaluate":
        rooms |= {"decoding": experiment.decoder, "metrics": experiment.metric}
    return [f"{room}.{part['name']}" for room, part in rooms.items()]
found = {}
for stage in json.loads(sys.argv[1]):
    for name in [name for name in sys.modules if name.split(".")[0] == "stages"]:
        del sys.modules[name]
    kind, _, key = stage.partition("@")
    for name in [kind, *names(kind, key)]:
        importlib.import_module(f"stages.{name}")
    files = [m.__file__ for name, m in sys.modules.items() if name.split(".")[0] == "stages" and m.__file__]
    found[stage] = sorted(str(pathlib.Path(f).relative_to(pathlib.Path.cwd())) for f in files if "__init__" not in f)
print(json.dumps(found))
"""


def declared_code() -> dict[str, list[str]]:
    """The code files that each stage of dvc.yaml depends on; a folder stands for its Python files."""
    declared = {}
    with Repo(str(ROOT)) as repo:
        for stage in repo.index.stages:
            paths = [ROOT / str(dep) for dep in stage.deps if str(dep).startswith("stages/")]
            files = [file for path in paths for file in (path.glob("[!_]*.py") if path.is_dir() else [path])]
            declared[stage.addressing] = sorted(str(file.relative_to(ROOT)) for file in files)
    return declared


@pytest.fixture(scope="module")
def declared() -> dict[str, list[str]]:
    return declared_code()


@pytest.fixture(scope="module")
def imported(declared: dict[str, list[str]]) -> dict[str, list[str]]:
    command = [sys.executable, "-c", LIST_IMPORTS, json.dumps(list(declared))]
    return json.loads(subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout)


def test_each_stage_declares_what_it_imports(declared: dict, imported: dict) -> None:
    assert imported == declared


def test_the_turing_machine_touches_only_its_own_chain(declared: dict) -> None:
    touched = {stage for stage, files in declared.items() if "stages/models/neural_turing_machine.py" in files}
    names = {name for name in declared if name.endswith(("_ntm", "_ntm_selected"))}
    assert touched == names >= {"train@copy_ntm", "evaluate@copy_ntm"}


def test_a_decoder_retrains_nothing(declared: dict) -> None:
    training = [files for stage, files in declared.items() if stage.startswith("train@")]
    assert training and not [file for files in training for file in files if file.startswith("stages/decoding/")]


def test_init_files_are_empty() -> None:
    assert [path for path in (ROOT / "stages").rglob("__init__.py") if path.read_text()] == []


def test_a_room_imports_core_alone() -> None:
    rooms = ("datasets", "models", "tasks", "decoding", "metrics", "figures")
    for room in rooms:
        for path in (ROOT / "stages" / room).glob("*.py"):
            lines = [
                line for line in path.read_text().splitlines() if line.startswith(("from stages", "import stages"))
            ]
            assert [line for line in lines if not line.startswith("from stages.core")] == [], path
