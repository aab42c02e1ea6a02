"""The quick pen for dvc.lock writes what DVC writes, and a forked command does what the command does."""

import os
import signal
import sys
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path

import pytest
from dvc.utils.serialize import dumps_yaml
from ruamel.yaml import YAML, YAMLError

from stages.run_stage import Entries, edit_lock, fork, read_entry, run_command, write_lock

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


def test_an_entry_is_read_alone_and_set_as_dvc_would_write_the_whole(tmp_path: Path) -> None:
    text = (ROOT / "dvc.lock").read_text(encoding="utf-8")
    whole = YAML(typ="safe").load(text)
    lock = tmp_path / "dvc.lock"
    lock.write_text(text, encoding="utf-8")
    for name in ("train@slots_lstm", "report"):
        assert read_entry(str(lock), name) == {"schema": "2.0", "stages": {name: whole["stages"][name]}}
    assert read_entry(str(lock), "nowhere") == {}
    new = [{"cmd": COMMAND, "outs": [{"path": path, "md5": "0e1", "size": 1}]} for path in ("data/x", "data/y")]
    with edit_lock(str(lock)) as content:
        assert isinstance(content["stages"], Entries)
        assert list(content["stages"]) == list(whole["stages"])
        for entries in (content["stages"], whole["stages"]):
            entries.update({"train@slots_lstm": new[0], "train@new": new[1]})
            del entries["report"]
    assert lock.read_text(encoding="utf-8") == dumps_yaml(whole)


def test_a_lock_of_another_form_is_edited_whole(tmp_path: Path) -> None:
    lock = tmp_path / "dvc.lock"
    content = {"schema": "2.0", "stages": {"one": {"cmd": "true"}}, "datasets": [{"name": "x"}]}
    lock.write_text(dumps_yaml(content))
    with edit_lock(str(lock)) as edited:
        edited["stages"]["two"] = {"cmd": "false"}
    content["stages"]["two"] = {"cmd": "false"}  # type: ignore[index]
    assert lock.read_text() == dumps_yaml(content)


def test_a_failed_edit_leaves_the_lock_as_it_was(tmp_path: Path) -> None:
    lock = tmp_path / "dvc.lock"
    with edit_lock(str(lock)) as content:
        content["schema"] = "2.0"
    before = lock.read_bytes()
    with pytest.raises(YAMLError), edit_lock(str(lock)) as content:
        content["stages"] = object()
    assert lock.read_bytes() == before == b"schema: '2.0'\n"


def stop(number: int) -> Callable[[], None]:
    return lambda: os.kill(os.getpid(), number)


@pytest.mark.parametrize(
    ("work", "status"),
    [
        (lambda: None, 0),
        (lambda: sys.exit(), 0),
        (lambda: sys.exit(3), 3),
        (lambda: sys.exit("why"), 1),
        (lambda: 1 / 0, 1),
        (stop(signal.SIGKILL), -signal.SIGKILL),
    ],
)
def test_a_fork_ends_as_a_program_does(work: Callable[[], object], status: int) -> None:
    assert os.waitstatus_to_exitcode(os.waitpid(fork(work), 0)[1]) == status


def test_a_forked_command_sees_its_arguments_environment_and_the_code_as_it_is_now(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.syspath_prepend(str(tmp_path))
    room = tmp_path / "stages"
    room.mkdir()
    (room / "__init__.py").touch()
    (room / "hello.py").write_text(
        "import os, sys\n"
        "from stages.part import word\n"
        "print(__name__, word, sys.argv[1:], os.getcwd(), os.environ['WHO'])\n"
    )
    for word in ("one", "two, longer"):
        (room / "part.py").write_text(f"word = {word!r}\n")
        command = "python -m stages.hello an 'argument with spaces' # --settings it's"
        assert run_command(command, str(tmp_path), {"WHO": "me"}) == 0
        assert capfd.readouterr().out == f"__main__ {word} ['an', 'argument with spaces'] {tmp_path} me\n"
    assert "WHO" not in os.environ


def test_a_forked_command_that_fails_says_so(capfd: pytest.CaptureFixture[str]) -> None:
    assert run_command("python -m stages.download nowhere # settings", str(ROOT), {}) == 2
    assert capfd.readouterr().err.startswith("error: nowhere is no dataset")
