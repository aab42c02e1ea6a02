"""params.yaml is read strictly, and each mistake is one sentence that names the key."""

import copy
import dataclasses
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from stages import check
from stages.core.base import params
from stages.core.base.errors import InputError
from stages.core.learning.task import Training

ROOT = Path(__file__).resolve().parent.parent
REAL = yaml.safe_load((ROOT / "params.yaml").read_text())


def load(tmp_path: Path, values: object) -> params.Params:
    path = tmp_path / "params.yaml"
    path.write_text(yaml.safe_dump(values))
    return params.load(path)


def test_the_projects_own_params_are_valid() -> None:
    loaded = params.load(ROOT / "params.yaml")
    check.check(loaded)
    for experiment in loaded.experiments.values():
        assert experiment.dataset in {*loaded.datasets, *loaded.generated}


def test_an_unknown_key_is_named_with_the_nearest_one(tmp_path: Path) -> None:
    values = copy.deepcopy(REAL)
    values["experiments"]["slots_lstm"]["metrics"] = {}
    with pytest.raises(InputError, match=r"experiments\.slots_lstm\.metrics is an unknown key; did you mean metric\?"):
        load(tmp_path, values)


def test_a_missing_key_is_named(tmp_path: Path) -> None:
    values = copy.deepcopy(REAL)
    del values["experiments"]["slots_lstm"]["training"]["seeds"]
    with pytest.raises(InputError, match=r"experiments\.slots_lstm\.training\.seeds is missing"):
        load(tmp_path, values)


@pytest.mark.parametrize("seeds", ["one", [], [1.5], ["1"], [1, 2, 1]])
def test_a_wrong_type_is_an_error(tmp_path: Path, seeds: object) -> None:
    values = copy.deepcopy(REAL)
    values["experiments"]["slots_lstm"]["training"]["seeds"] = seeds
    with pytest.raises(InputError, match=r"experiments\.slots_lstm\.training\.seeds"):
        load(tmp_path, values)


def test_a_peer_is_trained_by_its_seeds_alone() -> None:
    loaded = params.load(ROOT / "params.yaml").experiments["slots_crf"]
    wrong = dataclasses.replace(loaded, training=loaded.training | {"epochs": 3})
    with pytest.raises(InputError, match=r"x\.training\.epochs is an unknown key \(allowed: seeds\)"):
        check.check_experiment(wrong, "x")


@pytest.mark.parametrize("key, value", [("learning_rate", 0.0), ("batch_size", -1), ("momentum", 1.0)])
def test_a_value_out_of_range_is_an_error(key: str, value: object) -> None:
    values = REAL["experiments"]["slots_lstm"]["training"] | {key: value}
    with pytest.raises(InputError, match=rf"training\.{key}"):
        params.read_settings(Training, values, "training")


def test_an_unknown_setting_of_a_model_is_an_error() -> None:
    with pytest.raises(InputError, match=r"model\.hiden is an unknown key; did you mean hidden\?"):
        params.load_part("model", {"name": "lstm", "hidden": 3, "hiden": 3}, "model")


def test_an_unknown_model_is_an_error() -> None:
    with pytest.raises(InputError, match=r"model\.name is 'lstn', which is no model; did you mean lstm\?"):
        params.load_part("model", {"name": "lstn"}, "model")


@pytest.mark.parametrize("text", ["", "a: [", "- 1"])
def test_a_malformed_file_is_an_error(tmp_path: Path, text: str) -> None:
    (tmp_path / "params.yaml").write_text(text)
    with pytest.raises(InputError, match=r"params\.yaml"):
        params.load(tmp_path / "params.yaml")


@pytest.mark.parametrize("stage", ["train", "evaluate", "prepare", "generate", "demonstrate", "predict"])
def test_an_unknown_name_on_the_command_line_is_one_line_and_a_status(stage: str) -> None:
    ran = subprocess.run([sys.executable, "-m", f"stages.{stage}", "nope"], cwd=ROOT, capture_output=True, text=True)
    assert ran.returncode == 2
    assert ran.stderr.startswith("error: nope is no ") and ran.stderr.count("\n") == 1
