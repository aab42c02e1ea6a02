"""The pipeline's graph tells the truth: a stage declares just the code that it imports."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from dvc.repo import Repo

from stages.core.base import params

ROOT = Path(__file__).resolve().parent.parent
# dvc.yaml has one list for all data sets, so that each declares what these two share: an edit prepares the others once
# more, to the same bytes.
PARSER, PARSING = "stages/core/wikipedia.py", {"prepare@encyclopedia", "prepare@cloze"}

# Run in a process of its own; between stages the package's modules are forgotten, the libraries stay.
LIST_IMPORTS = """
import importlib, json, pathlib, sys
from stages.core.base import params as first
loaded = first.load()
def names(kind, key):
    if kind in ("download", "prepare", "generate"):
        return [] if kind == "download" else [f"datasets.{key}"]
    if kind == "claims":
        return [f"metrics.{path.stem}" for path in pathlib.Path("stages/metrics").glob("[!_]*.py")]
    if kind == "report":
        return [f"figures.{path.stem}" for path in pathlib.Path("stages/figures").glob("[!_]*.py")]
    if kind == "demonstrate":
        worked = loaded.demonstrations[key]
        cells = worked.settings.get("cells", {}).values() if worked.uses == "models" else [{"name": worked.uses[7:-3]}]
        return [f"demonstrations.{key}", *(f"models.{cell.get('model', cell)['name']}" for cell in cells)]
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
            paths = [
                ROOT / str(dep)
                for dep in stage.deps
                if str(dep).startswith("stages/") and not str(dep).endswith(".yaml")
            ]
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


@pytest.fixture(scope="module")
def comparing() -> set[str]:
    """The demonstrations that put several cells side by side; dvc.yaml can't name a list of files for each."""
    worked = params.load(ROOT / "params.yaml").demonstrations
    return {f"demonstrate@{key}" for key, values in worked.items() if values.uses == "models"}


def test_each_stage_declares_what_it_imports(declared: dict, imported: dict, comparing: set[str]) -> None:
    assert set(imported) == set(declared)
    for stage in set(declared) - comparing:
        unused = [PARSER] if stage.startswith("prepare@") and stage not in PARSING else []
        assert sorted([*imported[stage], *unused]) == declared[stage], stage


def test_the_parser_of_wikipedia_is_imported_by_its_data_sets_alone(imported: dict) -> None:
    assert {stage for stage, files in imported.items() if PARSER in files} == PARSING


def test_what_compares_cells_declares_the_room_of_models_and_else_just_what_it_imports(
    declared: dict, imported: dict, comparing: set[str]
) -> None:
    room = {str(path.relative_to(ROOT)) for path in (ROOT / "stages/models").glob("[!_]*.py")}
    for stage in comparing:
        assert set(declared[stage]) - set(imported[stage]) < room, stage
        assert room & set(imported[stage]) and set(imported[stage]) < set(declared[stage]), stage


def test_the_turing_machine_touches_only_its_own_chain(declared: dict, comparing: set[str]) -> None:
    touched = {stage for stage, files in declared.items() if "stages/models/neural_turing_machine.py" in files}
    names = {name for name in declared if name.endswith(("_ntm", "_ntm_selected"))}
    assert touched - comparing == names | {"demonstrate@ntm_addressing"}
    assert {"train@copy_ntm", "evaluate@copy_ntm"} <= names


def test_a_decoder_retrains_nothing(declared: dict) -> None:
    training = [files for stage, files in declared.items() if stage.startswith("train@")]
    assert training and not [file for files in training for file in files if file.startswith("stages/decoding/")]


def test_init_files_are_empty() -> None:
    assert [path for path in (ROOT / "stages").rglob("__init__.py") if path.read_text()] == []


def test_a_room_imports_core_alone() -> None:
    rooms = ("datasets", "models", "tasks", "decoding", "metrics", "demonstrations", "figures")
    for room in rooms:
        for path in (ROOT / "stages" / room).glob("*.py"):
            lines = [
                line for line in path.read_text().splitlines() if line.startswith(("from stages", "import stages"))
            ]
            assert [line for line in lines if not line.startswith("from stages.core")] == [], path
