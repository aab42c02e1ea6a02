"""The quick pen for dvc.lock writes what DVC writes."""

from collections import OrderedDict
from pathlib import Path

import pytest
from dvc.utils.serialize import dumps_yaml
from ruamel.yaml import YAML, YAMLError

from stages.run_stage import edit_lock, write_lock

ROOT = Path(__file__).resolve().parent.parent
COMMAND = (
    "python -m stages.download messages # --django.members '*/locale/zh_Hans/LC_MESSAGES/*.po' --django.bytes 8319631"
)


@pytest.mark.parametrize(
    "content",
    [
        {"cmd": COMMAND},
        {"cmd": "python -m stages.train slots_lstm # --model.name lstm --training.seeds 1 2 3 " + 40 * "--word value "},
        {"deps": [OrderedDict(path="stages/train.py", hash="md5", md5="0e1", size=5), {"path": "数据/é.json"}]},
        {"numbers": [1, 0.5, 1e-4, True], "text": ["1", "0e1", "true", "", "it's", "a: b", "yes", "1:30"], "empty": {}},
    ],
)
def test_it_writes_the_bytes_that_dvc_writes(content: dict) -> None:
    assert write_lock(content) == dumps_yaml(content)


def test_the_projects_own_lock_keeps_its_bytes() -> None:
    text = (ROOT / "dvc.lock").read_text(encoding="utf-8")
    assert write_lock(YAML(typ="safe").load(text)) == text


def test_a_failed_edit_leaves_the_lock_as_it_was(tmp_path: Path) -> None:
    lock = tmp_path / "dvc.lock"
    with edit_lock(str(lock)) as content:
        content["schema"] = "2.0"
    before = lock.read_bytes()
    with pytest.raises(YAMLError), edit_lock(str(lock)) as content:
        content["stages"] = object()
    assert lock.read_bytes() == before == b"schema: '2.0'\n"
