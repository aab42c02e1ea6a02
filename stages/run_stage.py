"""Run stages by DVC for ``stages.repro``, each in a fork of one process that has the libraries loaded.

It reads a line a stage from standard input, ``STAGE<tab>LOG``, answers with the number of the process that does
``dvc --wait-for-lock repro --single-item STAGE`` in a session of its own, its output in the file LOG, and says
``PROCESS STATUS`` when that has ended (STATUS below 0: by that signal). It ends with its input.

Two things make it quicker than DVC's own command, by a sixth of the whole pipeline's time:

- torch, Lightning and DVC are loaded once, not once a stage (4 s a training). A stage's command
  ``python -m stages.NAME`` runs in a fork, too, which loads the project's own modules afresh: they may have been edited
  meanwhile. Other commands run as DVC runs them, and so do all where a fork does not bear loaded libraries (macOS).
- ``dvc.lock`` is read and written a stage's entry at a time. DVC parses and writes the whole file after every stage,
  comments and all, in pure Python: 3 s. The bytes are the same (the tests hold them equal).
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import io
import os
import re
import runpy
import select
import shlex
import signal
import sys
import traceback
from collections import OrderedDict
from collections.abc import Callable, Iterator, MutableMapping
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.representer import SafeRepresenter

from stages.core.base.files import write_text

LOCK = "dvc.lock"
COMMAND = re.compile(r"python -m (?P<module>stages\.\w+)(?P<arguments>.*)")
BOOKKEEPING = ("dvc.cli", "dvc.commands.repro", "dvc.repo")
LIBRARIES = ("dvclive.lightning", "pytorch_lightning", "safetensors.torch", "torch")
TICK = 0.05  # seconds between two looks at the running stages


class Representer(SafeRepresenter):
    """Writes as DVC's own writer does: text that needs quotes, and has single ones in it, stands in double ones."""


def _text(writer: Representer, value: str) -> Any:
    double = "'" in value and " #" in value  # a comment's mark is what makes a stage's command need quotes
    return writer.represent_scalar("tag:yaml.org,2002:str", value, style='"' if double else None)


Representer.add_representer(str, _text)
Representer.add_representer(OrderedDict, Representer.represent_dict)


def libyaml() -> YAML:
    """Make what reads and writes YAML 1.2 in C."""
    writer = YAML(typ="safe")
    writer.Representer = Representer
    writer.default_flow_style = False
    writer.sort_base_mapping_type_on_output = False  # type: ignore[assignment]
    return writer


def write_lock(content: dict[str, Any]) -> str:
    """Write the content of ``dvc.lock`` as DVC does."""
    stream = io.StringIO()
    libyaml().dump(content, stream)
    return stream.getvalue()


class Entries(MutableMapping[str, Any]):
    """The entries of ``dvc.lock`` by stage, as texts: each is parsed when it is asked for, and written when it is set.

    ``fits`` says whether ``text`` is a file of which that can be told: of a schema and stages, and nothing else.
    """

    HEAD = "schema: '2.0'\nstages:\n"

    def __init__(self, text: str) -> None:
        texts = re.split(r"^(?=  \S)", text.removeprefix(self.HEAD), flags=re.MULTILINE)[1:]
        self._texts = {text.partition(":\n")[0].strip(" '\""): text for text in texts}

    @classmethod
    def fits(cls, text: str) -> bool:
        return text.startswith(cls.HEAD + "  ") and not re.search(r"^\S", text.removeprefix(cls.HEAD), re.MULTILINE)

    def write(self) -> str:
        return self.HEAD + "".join(self._texts.values())

    def __getitem__(self, stage: str) -> Any:
        return next(iter(libyaml().load(self._texts[stage]).values()))

    def __setitem__(self, stage: str, entry: Any) -> None:
        self._texts[stage] = write_lock({"stages": {stage: entry}}).removeprefix("stages:\n")

    def __delitem__(self, stage: str) -> None:
        del self._texts[stage]

    def __iter__(self) -> Iterator[str]:
        return iter(self._texts)

    def __len__(self) -> int:
        return len(self._texts)


def read_lock(path: str) -> dict[str, Any]:
    """Give what ``dvc.lock`` holds, nothing where there is none."""
    if not Path(path).exists():
        return {}
    text = Path(path).read_text(encoding="utf-8")
    return {"schema": "2.0", "stages": Entries(text)} if Entries.fits(text) else libyaml().load(text)


@contextlib.contextmanager
def edit_lock(path: str) -> Iterator[dict[str, Any]]:
    """Give what ``dvc.lock`` holds, and write what it is then, at once or not at all."""
    content = read_lock(path)
    yield content
    stages = content.get("stages")
    write_text(Path(path), stages.write() if isinstance(stages, Entries) else write_lock(content))


def read_entry(path: str, stage: str) -> dict[str, Any]:
    """Give of ``dvc.lock`` what it takes to run ``stage`` alone: its own entry, if it has one."""
    stages = read_lock(path).get("stages", {})
    return {"schema": "2.0", "stages": {stage: stages[stage]}} if stage in stages else {}


def fork(work: Callable[[], object]) -> int:
    """Do ``work`` in a fork of this process, which ends with it as a program does; give the fork's number."""
    sys.stdout.flush()
    sys.stderr.flush()
    if number := os.fork():
        return number
    status = 1
    try:
        work()
        status = 0
    except SystemExit as end:
        if isinstance(end.code, str):
            print(end.code, file=sys.stderr)
        status = end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:
        traceback.print_exc()
    finally:
        with contextlib.suppress(BrokenPipeError, ValueError):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(status)


def run_module(name: str, arguments: list[str]) -> None:
    """Do as ``python -m name`` does, with the project's own modules as they are now."""
    for loaded in [loaded for loaded in sys.modules if loaded.partition(".")[0] == "stages"]:
        del sys.modules[loaded]
    importlib.invalidate_caches()
    sys.argv = [name, *arguments]
    runpy.run_module(name, run_name="__main__", alter_sys=True)


def run_command(command: str, cwd: str, env: dict[str, str]) -> int:
    """Run a stage's command ``python -m stages.NAME ARGUMENTS # SETTINGS``, and give its exit status."""
    parts = COMMAND.fullmatch(command)
    assert parts

    def work() -> None:
        os.chdir(cwd)
        os.environ.update(env)
        run_module(parts["module"], shlex.split(parts["arguments"], comments=True))

    number = fork(work)
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)  # as DVC does: the command is interrupted, and DVC tidies up
    try:
        return os.waitstatus_to_exitcode(os.waitpid(number, 0)[1])
    finally:
        signal.signal(signal.SIGINT, before)


def adapt_dvc(forks: bool) -> None:
    """Give DVC our pen for ``dvc.lock`` and, with ``forks``, our way to run a command of this project."""
    from dvc import dvcfile
    from dvc.stage import run
    from dvc.stage.exceptions import StageCmdFailedError

    edit_any, run_any = dvcfile.modify_yaml, run._run

    def edit(path: str, fs: Any = None) -> Any:
        return edit_lock(path) if Path(path).name == LOCK else edit_any(path, fs=fs)

    def run_ours(executable: str, command: str, **options: Any) -> None:
        if not COMMAND.fullmatch(command):
            run_any(executable, command, **options)
        elif status := run_command(command, options["cwd"], options["env"]):
            raise StageCmdFailedError(command, status)

    dvcfile.modify_yaml = edit
    if forks:
        run._run = run_ours


def run_stage(stage: str, log: str) -> None:
    """Have DVC run ``stage``, all output in ``log``; ends as DVC's command does."""
    from dvc import cli, dvcfile

    dvcfile.Lockfile.load = lambda lock: read_entry(lock.path, stage)

    os.setsid()
    with Path(os.devnull).open("rb") as nothing, Path(log).open("wb") as stream:
        os.dup2(nothing.fileno(), 0)
        os.dup2(stream.fileno(), 1)
        os.dup2(stream.fileno(), 2)
    # --wait-for-lock: without it, DVC gives up when another one's bookkeeping takes more than 3 seconds.
    sys.exit(cli.main(["--wait-for-lock", "repro", "--single-item", stage]))


def serve() -> None:
    """Start what standard input asks for, and tell what has ended, until the input ends."""
    while True:
        # Our reader waits for an answer before it asks again: never is a second line in the buffer.
        if select.select([sys.stdin], [], [], TICK)[0]:
            if not (order := sys.stdin.readline()):
                return
            stage, log = order.rstrip("\n").split("\t")
            print(fork(lambda: run_stage(stage, log)), flush=True)  # noqa: B023 (it runs at once)
        with contextlib.suppress(ChildProcessError):
            while ended := os.waitpid(-1, os.WNOHANG):
                if not ended[0]:
                    break
                print(ended[0], os.waitstatus_to_exitcode(ended[1]), flush=True)


def main() -> None:
    """Load the libraries and serve; the only argument is 1 where the stages need torch, and 0 otherwise."""
    forks = sys.platform == "linux"
    adapt_dvc(forks)
    for library in (*BOOKKEEPING, *(LIBRARIES if forks and sys.argv[1] == "1" else ())):
        importlib.import_module(library)
    gc.freeze()  # the garbage collector of a fork need not walk what was loaded here: a third of DVC's time
    serve()


if __name__ == "__main__":
    main()
