"""Bring DVC's graph up to date on several cores: ``python -m stages.repro [TARGET ...] [--jobs N]``.

DVC decides what is stale and does each stage's bookkeeping; this file only decides what runs when. It asks DVC once, in
this process, for the graph and for what changed, then has DVC run (stages/run_stage.py) the changed stages and what
lies downstream of them, upstream first. DVC holds its lock only around its own bookkeeping, so such commands may
run at once for different stages. ``dvc repro`` alone does the same work one stage after the other.

Each stage's output goes to ``.dvc/tmp/seqlab/logs/STAGE.log``. Exit status: 0 when all is up to date, 1 when a stage
failed, 2 when something has to be mended first, 128 + the signal's number when stopped by one.
"""

import argparse
import contextlib
import difflib
import enum
import fcntl
import itertools
import json
import os
import re
import select
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta
from graphlib import TopologicalSorter
from pathlib import Path
from types import FrameType, TracebackType
from typing import Any, NoReturn, Self

import psutil
from rich.console import Console
from rich.live import Live
from rich.table import Table
from rich.text import Text

from stages.core.base import errors, params
from stages.core.base.errors import InputError
from stages.core.base.files import read_json

DVC = Path(".dvc")
FOLDER = DVC / "tmp" / "seqlab"
TIMINGS = Path("data/timings")
MARK = "SEQLAB_REPRO"  # in every stage's environment: the project's folder
GRACE = 10.0  # seconds a stopped stage has to end by itself
TICK = 0.1  # seconds between two looks at the running stages
LOG_LINES = 20
ESCAPE = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")  # colours and cursor movements


class Outcome(enum.StrEnum):
    """What became of a stage."""

    RAN = "ran"
    RESTORED = "restored from DVC's cache"
    UNCHANGED = "unchanged"
    FAILED = "failed"
    BLOCKED = "not run"


@dataclass(frozen=True)
class Graph:
    """DVC's graph as of one moment."""

    upstream: dict[str, set[str]]
    """The stages that each stage directly needs, by DVC's names (``train@slots_lstm``)."""
    changed: set[str]
    """The stages that are not up to date by themselves: never run, an input edited, an output missing."""


def check_params(values: params.Params) -> None:
    """Raise InputError where ``params.yaml`` names a file that its room lacks; imports none of them."""
    datasets = {**values.datasets, **values.generated}
    for name in datasets:
        _check_file("dataset", name, name)
    for name in values.demonstrations:
        _check_file("demonstration", name, f"demonstrations.{name}")
    for key, experiment in values.experiments.items():
        where = f"experiments.{key}"
        if experiment.dataset not in datasets:
            meant = params.meant(experiment.dataset, datasets)
            raise InputError(f"{params.PARAMS}: {where}.dataset is {experiment.dataset!r}, which is no dataset{meant}")
        for role in params.PARTS:
            _check_file(role, getattr(experiment, role).get("name"), f"{where}.{role}.name")


def check_settings() -> None:
    """Raise InputError where a setting is unknown or out of range; in a process of its own, for it loads torch."""
    command = [sys.executable, "-m", "stages.check"]
    checked = subprocess.run(command, capture_output=True, text=True, check=False)
    if checked.returncode:
        raise InputError(checked.stderr.strip().removeprefix("error: "))


def _check_file(role: str, name: Any, where: str) -> None:
    known = params.names(role)
    if name not in known:
        raise InputError(
            f"{params.PARAMS}: {where} is {name!r}, but stages/{params.ROOMS[role]} has no such file"
            f"{params.meant(str(name), known)}"
        )


def read_graph() -> Graph:
    """Ask DVC, in one pass under its lock, for the graph and what changed; raises InputError where it cannot tell."""
    # DVC's import takes as long as all the rest of this file; a wrong params.yaml is told without it.
    from dvc.exceptions import DvcException
    from dvc.repo import Repo, lock_repo

    try:
        with Repo() as repo, lock_repo(repo):
            drop_stale_rwlock()
            nodes = repo.index.graph
            # As in `dvc repro`, a frozen stage waits for nothing.
            upstream = {
                stage.addressing: set() if stage.frozen else {other.addressing for other in nodes.successors(stage)}
                for stage in nodes
            }
            return Graph(upstream, set(repo.status()))
    except DvcException as error:
        raise InputError(f"DVC: {' '.join(str(error).split())} (`dvc status` tells more)") from None


def drop_stale_rwlock() -> None:
    """Remove DVC's list of files in use when no living DVC process is on it, or when it is cut off.

    DVC itself forgives only entries whose process number is free. After a restart of a container the number often
    belongs to another process, and DVC would wait for that. Call it under DVC's lock, which guards every edit of the
    list.
    """
    path = DVC / "tmp" / "rwlock"
    try:
        users = json.loads(path.read_text(encoding="utf-8"))
        readers = itertools.chain.from_iterable(users.get("read", {}).values())
        if not any(_is_alive(user) for user in itertools.chain(readers, users.get("write", {}).values())):
            path.unlink()
    except FileNotFoundError:
        return
    except json.JSONDecodeError:
        path.unlink()


def _is_alive(user: Mapping[str, Any]) -> bool:
    # DVC notes the whole command but for the interpreter, and spells the program's path out.
    arguments = user["cmd"].split(" ")[1:]
    try:
        command = " ".join(psutil.Process(user["pid"]).cmdline()).split(" ")
    except psutil.Error:
        return False
    return bool(command[len(command) - len(arguments) :] == arguments)


def choose_stages(upstream: Mapping[str, set[str]], targets: Collection[str]) -> dict[str, set[str]]:
    """Return the part of the graph that ``targets`` need: stages or groups (``train`` = every ``train@...``)."""
    names = set(itertools.chain.from_iterable(_expand(target, upstream) for target in targets)) or set(upstream)
    needed: set[str] = set()
    while names:
        name = names.pop()
        needed.add(name)
        names |= upstream[name] - needed
    return {name: set(upstream[name]) for name in upstream if name in needed}


def _expand(target: str, stages: Collection[str]) -> list[str]:
    if target in stages:
        return [target]
    if group := [stage for stage in stages if stage.startswith(f"{target}@")]:
        return group
    groups = list(dict.fromkeys(stage.partition("@")[0] for stage in stages))
    if near := difflib.get_close_matches(target, [*stages, *groups], n=3):
        raise InputError(f"{target} is no stage; did you mean {' or '.join(near)}?")
    raise InputError(f"{target} is no stage (there are: {', '.join(groups)}; `dvc stage list` shows each)")


def expected_seconds(stages: Iterable[str], timings: Path) -> dict[str, float]:
    """Guess how long each stage takes: a training as its last time, or else the mean training; others 1 second.

    Demonstrations 10, so that none of them, half a minute long at most, is what all wait for in the end.
    """
    known = {f"train@{path.stem}": seconds for path in timings.glob("*.json") if (seconds := _training_seconds(path))}
    training = statistics.mean(known.values()) if known else 1.0
    usual = {"train": training, "demonstrate": 10.0}
    return {name: known.get(name, usual.get(name.partition("@")[0], 1.0)) for name in stages}


def _training_seconds(timing: Path) -> float | None:
    try:
        return float(sum(seed["seconds"] for seed in read_json(timing).values()))
    except (InputError, AttributeError, KeyError, TypeError):
        return None  # a guess for the order of work is no reason to stop


def longest_paths(upstream: Mapping[str, set[str]], seconds: Mapping[str, float]) -> dict[str, float]:
    """Return, for each stage, the seconds from its start to the end of the longest chain that waits for it."""
    paths = dict(seconds)
    for name in reversed(list(TopologicalSorter(upstream).static_order())):
        for needed in upstream[name]:
            paths[needed] = max(paths[needed], seconds[needed] + paths[name])
    return paths


class Schedule:
    """Which stage is next, and what became of those before; it starts nothing itself."""

    def __init__(self, upstream: Mapping[str, set[str]], changed: set[str], urgency: Mapping[str, float]) -> None:
        """Order ``upstream`` (stage -> the stages it needs).

        Of those that may start, the most urgent is first, and of equally urgent ones that which ``upstream`` has first:
        where no training has been timed, ``params.yaml`` gives their order.
        """
        self.outcomes: dict[str, Outcome] = {}
        self._upstream = upstream
        self._changed = changed
        self._urgency = {name: (urgency[name], -place) for place, name in enumerate(upstream)}
        self._ready: list[str] = []
        self._sorter = TopologicalSorter(upstream)
        self._sorter.prepare()
        self._advance()

    @property
    def total(self) -> int:
        """How many stages there are."""
        return len(self._upstream)

    def pop(self) -> str | None:
        """Take the stage to start next; None where all that is left waits for running stages."""
        if not self._ready:
            return None
        name = max(self._ready, key=self._urgency.__getitem__)
        self._ready.remove(name)
        return name

    def finish(self, name: str, outcome: Outcome) -> None:
        """Note what became of ``name``, and see what may start by that."""
        self._settle(name, outcome)
        self._advance()

    def _settle(self, name: str, outcome: Outcome) -> None:
        self.outcomes[name] = outcome
        self._sorter.done(name)

    def _advance(self) -> None:
        while names := self._sorter.get_ready():
            for name in names:
                needed = {self.outcomes[other] for other in self._upstream[name]}
                if needed & {Outcome.FAILED, Outcome.BLOCKED}:
                    self._settle(name, Outcome.BLOCKED)
                elif name in self._changed or needed & {Outcome.RAN, Outcome.RESTORED}:
                    self._ready.append(name)
                else:
                    self._settle(name, Outcome.UNCHANGED)

    def blocked_by(self, failed: str) -> list[str]:
        """Name the stages that were not run because ``failed`` failed."""
        names = {failed}
        for name in TopologicalSorter(self._upstream).static_order():
            if self._upstream[name] & names:
                names.add(name)
        return [name for name in self._upstream if name in names and name != failed]


@dataclass(frozen=True)
class Running:
    """A stage that DVC is working on."""

    name: str
    session: int
    """The number of the process that leads all of the stage's processes."""
    log: Path
    since: float

    @property
    def seconds(self) -> float:
        """Seconds since it was started."""
        return time.monotonic() - self.since


def log_path(name: str) -> Path:
    """Return where the output of the stage ``name`` goes."""
    return FOLDER / "logs" / f"{name.replace(os.sep, '_')}.log"


class Server:
    """The process that starts the stages (stages/run_stage.py); it ends with the ``with`` block that it is used in."""

    def __init__(self, torch: bool) -> None:
        """Start it; ``torch``: load torch beforehand, for stages that need it."""
        command = [sys.executable, "-m", "stages.run_stage", str(int(torch))]
        pipe = subprocess.PIPE
        self._process = subprocess.Popen(
            command, bufsize=0, stdin=pipe, stdout=pipe, env=_environment(), start_new_session=True
        )
        assert self._process.stdin and self._process.stdout
        self._orders, self._answers = self._process.stdin, self._process.stdout
        self._ended: dict[int, int] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._process.kill()
        self._process.communicate()

    def start(self, name: str) -> Running:
        """Start DVC on the stage, in a session of its own, so that all it starts can be ended."""
        log = log_path(name)
        log.parent.mkdir(parents=True, exist_ok=True)
        log.write_bytes(b"")  # there, and without an earlier run's lines, before anybody looks
        with contextlib.suppress(BrokenPipeError):  # then there is no answer either
            self._orders.write(f"{name}\t{log}\n".encode())
        while len(answer := self._read()) > 1:
            self._note(answer)
        return Running(name, answer[0], log, time.monotonic())

    def status(self, stage: Running) -> int | None:
        """Give the exit status of a stage (below 0: the signal that ended it), once; None where it runs."""
        while select.select([self._answers], [], [], 0)[0]:
            self._note(self._read())
        return self._ended.pop(stage.session, None)  # a later stage may get the same number

    def _read(self) -> list[int]:
        if line := self._answers.readline():
            return [int(number) for number in line.split()]
        raise InputError(
            "the process that starts the stages (stages/run_stage.py) has ended, killed for a lack of memory or by "
            "somebody; the same command goes on from here"
        )

    def _note(self, answer: list[int]) -> None:
        session, status = answer
        self._ended[session] = status


def _environment() -> dict[str, str]:
    # Stages set their own number of threads; these three only spare the libraries' idle pools.
    one_thread = {f"{library}_NUM_THREADS": "1" for library in ("OMP", "MKL", "OPENBLAS")}
    return {
        **os.environ,
        **one_thread,
        "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)]),
        "PYTHONUNBUFFERED": "1",
        "DVC_NO_ANALYTICS": "1",
        MARK: str(Path.cwd()),
    }


def outcome_of(stage: Running, status: int) -> Outcome:
    """Read from exit status and log what DVC did with a stage that has ended."""
    if status:
        return Outcome.FAILED
    lines = log_lines(stage.log)
    if f"Stage '{stage.name}' didn't change, skipping" in lines:
        return Outcome.UNCHANGED
    if f"Stage '{stage.name}' is cached - skipping run, checking out outputs" in lines:
        return Outcome.RESTORED
    return Outcome.RAN


def log_lines(log: Path, last_bytes: int | None = None) -> list[str]:
    """Return the printable, non-empty lines of a log, or those in its last bytes; of a redrawn line the last state."""
    with log.open("rb") as stream:
        if last_bytes is not None:
            stream.seek(max(0, log.stat().st_size - last_bytes))
        text = stream.read().decode("utf-8", errors="replace")
    text = ESCAPE.sub("", text).replace("\t", "    ")
    lines = (line.rstrip("\r").rpartition("\r")[2].rstrip() for line in text.split("\n"))
    return [kept for line in lines if (kept := "".join(filter(str.isprintable, line)))]


def end_sessions(sessions: Collection[int], grace: float, in_haste: Callable[[], bool] = lambda: False) -> None:
    """End every process of these sessions within ``grace`` seconds, or at once when ``in_haste()``.

    The stages' own processes are interrupted (SIGINT). DVC, which leads each session, is not: it writes ``dvc.lock``
    in place, so that an interrupt at the wrong moment would cut the file off; it ends by itself when its stage has, and
    gives its locks back. What is still there after the time is killed.
    """
    deadline = time.monotonic() + grace
    interrupted: set[int] = set()
    while members := _members(sessions):
        if late := in_haste() or time.monotonic() > deadline:
            _send(signal.SIGKILL, members)
        else:
            _send(signal.SIGINT, members - set(sessions) - interrupted)
            interrupted |= members
        if late and time.monotonic() > deadline + GRACE:
            return  # the system itself cannot end them
        time.sleep(TICK)


def _members(sessions: Collection[int]) -> set[int]:
    members = set()
    for pid in psutil.pids():
        with contextlib.suppress(OSError, psutil.Error):
            if os.getsid(pid) in sessions and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE:
                members.add(pid)
    return members


def _send(number: signal.Signals, pids: Iterable[int]) -> None:
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)


@contextlib.contextmanager
def alone() -> Iterator[None]:
    """Be the only ``stages.repro`` of this project; raises InputError where another one runs.

    What a killed one left running is ended first: it would write to the same outputs.
    """
    if not DVC.is_dir():
        raise InputError(f"{Path.cwd()} is no DVC project ({DVC} is missing); run this from the repository's root")
    FOLDER.mkdir(parents=True, exist_ok=True)
    with (FOLDER / "lock").open("a+") as stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            stream.seek(0)
            raise InputError(
                f"another stages.repro (process {stream.read()}) runs here; wait until it has ended, or stop it"
            ) from None
        stream.truncate(0)
        stream.write(str(os.getpid()))
        stream.flush()
        if orphans := _orphans():
            print("ending what a killed run left behind", flush=True)
            end_sessions(orphans, GRACE)
        yield


def _orphans() -> set[int]:
    sessions = set()
    for process in psutil.process_iter(["environ"]):
        if (process.info["environ"] or {}).get(MARK) == str(Path.cwd()):
            with contextlib.suppress(OSError):
                sessions.add(os.getsid(process.pid))
    return sessions - {os.getsid(0)}


class Stopped(Exception):
    """A signal asked to stop; its number is the first argument."""


class Signals:
    """While it is entered, SIGINT, SIGTERM and SIGHUP are noted in ``received`` instead of acted upon."""

    def __init__(self) -> None:
        self.received: list[int] = []
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Self:
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            # A signal that is ignored (nohup, a script's background job) stays without effect here, but by a handler:
            # children would inherit "ignored", and could not be interrupted.
            ignored = signal.getsignal(number) is signal.SIG_IGN
            self._before[number] = signal.signal(number, _ignore if ignored else self._note)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _note(self, number: int, frame: FrameType | None) -> None:
        self.received.append(number)


def _ignore(number: int, frame: FrameType | None) -> None:
    pass


class View:
    """What a person sees: one line an event; on a terminal also, below, the running stages with their last log line."""

    def __init__(self, schedule: Schedule, since: float, console: Console) -> None:
        """Show the progress of ``schedule``, with the time since ``since`` (of ``time.monotonic``)."""
        self._schedule = schedule
        self._since = since
        self._console = console
        self._live = Live(console=console, auto_refresh=False, transient=True)
        self._drawn = 0.0

    def __enter__(self) -> Self:
        if self._console.is_terminal:
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._live.stop()

    def started(self, name: str) -> None:
        """Say that a stage began; a terminal shows it among the running stages."""
        if not self._console.is_terminal:
            self._say(f"started {name}")

    def ended(self, stage: Running, outcome: Outcome) -> None:
        """Say what became of a stage."""
        if outcome is Outcome.UNCHANGED:
            self._say(f"unchanged {stage.name}")
        elif outcome is Outcome.RAN:
            self._say(f"finished {stage.name} in {clock(stage.seconds)}")
        else:
            self._say(f"{outcome}: {stage.name} after {clock(stage.seconds)}")

    def draw(self, running: Iterable[Running]) -> None:
        """Redraw the running stages, twice a second at most."""
        if not self._live.is_started or time.monotonic() < self._drawn + 0.5:
            return
        self._drawn = time.monotonic()
        table = Table.grid(padding=(0, 2))
        table.add_column(no_wrap=True)
        table.add_column(no_wrap=True, justify="right")
        table.add_column(no_wrap=True, overflow="ellipsis", style="dim")
        for stage in running:
            line = (log_lines(stage.log, last_bytes=4096) or [""])[-1]
            table.add_row(Text(stage.name, style="bold"), clock(stage.seconds), Text(line))
        left = self._schedule.total - len(self._schedule.outcomes) - table.row_count
        table.add_row(Text(self._head()), "", f"{table.row_count} running, {left} waiting")
        self._live.update(table, refresh=True)

    def stopping(self) -> None:
        """Say, on a terminal, why nothing more starts."""
        if self._live.is_started:
            self._live.update(Text("stopping; once more kills at once"), refresh=True)

    def _head(self) -> str:
        total = self._schedule.total
        return f"[{len(self._schedule.outcomes):{len(str(total))}}/{total}] {clock(time.monotonic() - self._since)}"

    def _say(self, event: str) -> None:
        line = f"{self._head()} {event}"
        if self._console.is_terminal:
            self._console.print(line, markup=False, highlight=False, soft_wrap=True)
        else:
            print(line, file=self._console.file, flush=True)


def clock(seconds: float) -> str:
    """Write a duration as hours, minutes and seconds: 0:01:12."""
    return str(timedelta(seconds=int(seconds)))


def run_stages(schedule: Schedule, jobs: int, server: Server, view: View, signals: Signals) -> None:
    """Have ``server`` run all of ``schedule``, at most ``jobs`` stages at once; raises Stopped when a signal asks so.

    However it ends, no stage is left running.
    """
    running: list[Running] = []
    try:
        while True:
            while len(running) < jobs and (name := schedule.pop()):
                running.append(server.start(name))
                view.started(name)
            if not running:
                return
            view.draw(running)
            time.sleep(TICK)
            if signals.received:
                view.stopping()
                raise Stopped(signals.received[0])
            for stage in list(running):
                if (status := server.status(stage)) is not None:
                    running.remove(stage)
                    _finish(stage, status, schedule, view)
    finally:
        end_sessions({stage.session for stage in running}, GRACE, lambda: len(signals.received) > 1)


def _finish(stage: Running, status: int, schedule: Schedule, view: View) -> None:
    outcome = outcome_of(stage, status)
    if outcome is Outcome.FAILED:
        # A DVC that was killed, by a lack of memory for one, may leave its stage running.
        end_sessions({stage.session}, grace=0)
    schedule.finish(stage.name, outcome)
    view.ended(stage, outcome)


def report(schedule: Schedule, seconds: float) -> list[str]:
    """Return the closing lines: each failure with the end of its log and what it kept from running, then the counts."""
    lines = []
    for name in [name for name, outcome in schedule.outcomes.items() if outcome is Outcome.FAILED]:
        log = log_path(name)
        lines += ["", f"{name} failed; the end of {log}:"]
        lines += [f"    {line}" for line in log_lines(log)[-LOG_LINES:]]
        if blocked := schedule.blocked_by(name):
            lines.append(f"not run because of it: {', '.join(blocked)}")
    counts = {outcome: list(schedule.outcomes.values()).count(outcome) for outcome in Outcome}
    always = (Outcome.RAN, Outcome.UNCHANGED, Outcome.FAILED)
    shown = [f"{count} {outcome}" for outcome, count in counts.items() if count or outcome in always]
    return [*lines, f"{', '.join(shown)}; {clock(seconds)} in all"]


def available_cores() -> int:
    """Count the cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def reproduce(targets: Collection[str], jobs: int) -> None:
    """Bring ``targets`` (all stages where none is given) up to date; exits with status 1 where a stage failed."""
    if jobs < 1:
        raise InputError(f"--jobs is {jobs}; it should be 1 or more")
    since = time.monotonic()
    values = params.load()
    check_params(values)
    with alone():
        graph = read_graph()
        upstream = choose_stages(graph.upstream, targets)
        urgency = longest_paths(upstream, expected_seconds(upstream, TIMINGS))
        schedule = Schedule(upstream, graph.changed, urgency)
        if graph.changed & set(upstream):
            work(schedule, jobs, bool(values.experiments), since)
        print("\n".join(report(schedule, time.monotonic() - since)), flush=True)
        if Outcome.FAILED in schedule.outcomes.values():
            sys.exit(1)


def work(schedule: Schedule, jobs: int, experiments: bool, since: float) -> None:
    """Check the settings of the ``experiments``, if there are any, and run the stages; exits where a signal asks so."""
    try:
        with Server(torch=experiments) as server:
            if experiments:
                check_settings()
            with Signals() as signals, View(schedule, since, Console()) as view:
                run_stages(schedule, jobs, server, view, signals)
    except Stopped as stopped:
        _exit_stopped(stopped.args[0], f" with {len(schedule.outcomes)} of {schedule.total} stages done")


def _exit_stopped(number: int, state: str = "") -> NoReturn:
    print(f"stopped by {signal.Signals(number).name}{state}; the same command goes on from here", file=sys.stderr)
    sys.exit(128 + number)


def main() -> None:
    """Read the command line and run."""
    parser = argparse.ArgumentParser(prog="python -m stages.repro", description="Bring the pipeline up to date.")
    parser.add_argument("targets", nargs="*", metavar="TARGET", help="a stage (train@slots_lstm) or a group (train)")
    parser.add_argument("--jobs", type=int, default=available_cores(), help="stages at once (default: %(default)s)")
    arguments = parser.parse_args()
    try:
        reproduce(arguments.targets, arguments.jobs)
    except KeyboardInterrupt:
        _exit_stopped(signal.SIGINT)


if __name__ == "__main__":
    errors.run(main)
