"""``python -m stages.repro`` on a small project of shell commands, and its parts by themselves.

The project is a diamond: ``first`` -> ``side@left`` and ``side@right`` -> ``last``. Each command notes start and end
in ``journal``, and environment variables tell it to fail, to hang, or to wait until others have started too.
"""

import contextlib
import fcntl
import io
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest
import yaml
from rich.console import Console

from stages import repro
from stages.core.base import params
from stages.core.base.errors import InputError
from stages.repro import Outcome, Schedule

ROOT = Path(__file__).resolve().parents[1]
PARAMS = "datasets: {}\ngenerated: {}\nexperiments: {}\n"
PIPELINE = """
stages:
  first:
    cmd: sh step.sh first input
    deps: [input]
    outs: [out/first]
  side:
    foreach: [left, right]
    do:
      cmd: sh step.sh ${item} out/first
      deps: [out/first]
      outs: ["out/${item}"]
  last:
    cmd: sh step.sh last out/left out/right
    deps: [out/left, out/right]
    outs: [out/last]
"""
STEP = """
name=$1; shift
echo "start $name" >> journal
echo "this is $name"
case " $FAIL " in *" $name "*) echo "$name cannot go on" >&2; exit 3;; esac
case " $HANG " in *" $name "*) touch hangs; sleep 300;; esac
case " $MEET " in *" $name "*)
    touch "met.$name"
    for other in $MEET; do
        ticks=0
        until [ -e "met.$other" ]; do
            ticks=$((ticks + 1)); [ $ticks -gt 300 ] && exit 4
            sleep 0.1
        done
    done;;
esac
mkdir -p out
grep -hv '^#' "$@" > "out/$name"
echo "end $name" >> journal
"""
DIAMOND = {"first": set(), "side@left": {"first"}, "side@right": {"first"}, "last": {"side@left", "side@right"}}


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """DVC's own folders away from the person's."""
    folder = tmp_path_factory.mktemp("dvc")
    return {
        **{key: value for key, value in os.environ.items() if key not in ("FAIL", "HANG", "MEET")},
        "DVC_GLOBAL_CONFIG_DIR": str(folder / "global"),
        "DVC_SYSTEM_CONFIG_DIR": str(folder / "system"),
        "DVC_SITE_CACHE_DIR": str(folder / "site"),
        "DVC_NO_ANALYTICS": "1",
        "PYTHONPATH": str(ROOT),
    }


@pytest.fixture(scope="module")
def pristine(tmp_path_factory: pytest.TempPathFactory, environment: dict[str, str]) -> Path:
    """Make the project; nothing has run yet."""
    folder = tmp_path_factory.mktemp("project") / "pristine"
    folder.mkdir()
    for name, text in {"params.yaml": PARAMS, "dvc.yaml": PIPELINE, "step.sh": STEP, "input": "# one\nvalue\n"}.items():
        (folder / name).write_text(text)
    subprocess.run(["git", "init", "-q"], cwd=folder, check=True)
    subprocess.run([sys.executable, "-m", "dvc", "init", "-q"], cwd=folder, check=True, env=environment)
    return folder


@pytest.fixture(scope="module")
def finished(pristine: Path, environment: dict[str, str]) -> tuple[Path, str]:
    """Run the whole project; both sides wait until the other has started. Give its folder and the output."""
    folder = Path(shutil.copytree(pristine, pristine.parent / "finished"))
    result = run_repro(folder, environment, "--jobs", "2", MEET="left right")
    assert result.returncode == 0, result.stdout + result.stderr
    return folder, result.stdout


@pytest.fixture
def project(pristine: Path, tmp_path: Path) -> Path:
    """Give a copy in which nothing has run."""
    return Path(shutil.copytree(pristine, tmp_path / "project"))


@pytest.fixture
def done(finished: tuple[Path, str], tmp_path: Path) -> Path:
    """Give a copy in which all is up to date, with an empty journal."""
    folder = Path(shutil.copytree(finished[0], tmp_path / "project"))
    (folder / "journal").write_text("")
    return folder


Start = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def start(environment: dict[str, str]) -> Iterator[Start]:
    """Start stages.repro in the background; whatever it leaves is killed after the test."""
    processes: list[tuple[Path, subprocess.Popen[str]]] = []

    def start(folder: Path, **variables: str) -> "subprocess.Popen[str]":
        command = [sys.executable, "-m", "stages.repro", "--jobs", "2"]
        pipe = subprocess.PIPE
        # A script's background job ignores SIGINT, and so would all that these tests start in one.
        before = signal.signal(signal.SIGINT, signal.default_int_handler)
        process = subprocess.Popen(
            command, cwd=folder, env={**environment, **variables}, stdout=pipe, stderr=pipe, text=True
        )
        signal.signal(signal.SIGINT, before)
        processes.append((folder, process))
        return process

    yield start
    for folder, process in processes:
        for pid in [process.pid] * (process.poll() is None) + working(folder):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        process.communicate()


def run_repro(
    folder: Path, environment: dict[str, str], *arguments: str, **variables: str
) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "stages.repro", *arguments]
    return subprocess.run(
        command, check=False, cwd=folder, env={**environment, **variables}, capture_output=True, text=True
    )


def journal(folder: Path) -> list[str]:
    return (folder / "journal").read_text().splitlines()


def working(folder: Path) -> list[int]:
    """List the living processes that stages.repro started in ``folder``, directly or not."""
    processes = psutil.process_iter(["environ", "status"])
    found = [process for process in processes if (process.info["environ"] or {}).get(repro.MARK) == str(folder)]
    return [process.pid for process in found if process.info["status"] != psutil.STATUS_ZOMBIE]


def wait_until_it_hangs(process: "subprocess.Popen[str]", folder: Path, seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not (folder / "hangs").exists():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline, "the stage that should hang did not start"
        time.sleep(0.05)


def test_upstream_runs_first(finished: tuple[Path, str]) -> None:
    lines = journal(finished[0])
    assert lines[:2] == ["start first", "end first"]
    assert lines[-2:] == ["start last", "end last"]
    assert sorted(lines[2:-2]) == ["end left", "end right", "start left", "start right"]
    assert (finished[0] / "out/last").read_text() == "value\nvalue\n"


def test_independent_stages_run_at_once(finished: tuple[Path, str]) -> None:
    # Each side waits for the other's start, so that one after the other would have failed.
    middle = journal(finished[0])[2:-2]
    assert all(line.startswith("start") for line in middle[:2])


def test_each_event_is_one_plain_line(finished: tuple[Path, str]) -> None:
    lines = finished[1].splitlines()
    assert lines[0].startswith("[0/4] 0:00:")
    assert lines[0].endswith(" started first")
    assert " finished first in 0:00:0" in lines[1]
    assert sum("started side@" in line for line in lines) == 2
    assert "4 ran, 0 unchanged, 0 failed; 0:00:" in lines[-1]


def test_dvc_alone_does_the_same(finished: tuple[Path, str], project: Path, environment: dict[str, str]) -> None:
    subprocess.run([sys.executable, "-m", "dvc", "repro", "-q"], cwd=project, env=environment, check=True)
    alone, ours = (yaml.safe_load((folder / "dvc.lock").read_text()) for folder in (project, finished[0]))
    assert set(alone["stages"]) == set(DIAMOND)
    assert alone == ours


def test_nothing_runs_when_all_is_up_to_date(done: Path, environment: dict[str, str]) -> None:
    result = run_repro(done, environment)
    assert result.returncode == 0
    assert journal(done) == []
    assert result.stdout.startswith("0 ran, 4 unchanged, 0 failed; ")


def test_only_what_an_edit_touches_runs(done: Path, environment: dict[str, str]) -> None:
    (done / "input").write_text("# another comment, which `first` drops\nvalue\n")
    result = run_repro(done, environment)
    assert journal(done) == ["start first", "end first"]
    assert "unchanged side@left" in result.stdout
    assert "last" not in result.stdout  # DVC is not even asked
    assert "1 ran, 3 unchanged, 0 failed; " in result.stdout


def test_a_lost_output_comes_back_from_the_cache(done: Path, environment: dict[str, str]) -> None:
    (done / "out/left").unlink()
    result = run_repro(done, environment)
    assert journal(done) == []
    assert (done / "out/left").read_text() == "value\n"
    assert "0 ran, 1 restored from DVC's cache, 3 unchanged, 0 failed; " in result.stdout


def test_a_failure_stops_only_what_needs_it(project: Path, environment: dict[str, str]) -> None:
    result = run_repro(project, environment, "--jobs", "1", FAIL="left")
    assert result.returncode == 1
    assert "end right" in journal(project)
    assert "start last" not in journal(project)
    report = result.stdout[result.stdout.index("side@left failed; the end of .dvc/tmp/seqlab/logs/side@left.log:") :]
    assert "\n    left cannot go on\n" in report
    assert "\nnot run because of it: last\n" in report
    assert "2 ran, 0 unchanged, 1 failed, 1 not run; " in report


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_all_and_the_next_run_goes_on(
    project: Path, environment: dict[str, str], start: Start, number: signal.Signals
) -> None:
    process = start(project, HANG="left")
    wait_until_it_hangs(process, project)
    process.send_signal(number)
    _, errors = process.communicate(timeout=30)
    assert process.returncode == 128 + number
    assert errors.startswith(f"stopped by {number.name} with ")
    assert len(errors.splitlines()) == 1
    assert working(project) == []
    users = json.loads((project / ".dvc/tmp/rwlock").read_text())
    assert not any(users.values())
    if number == signal.SIGINT:
        result = run_repro(project, environment, "side@left")
        assert " finished side@left in " in result.stdout, result.stdout + result.stderr


def test_a_killed_stage_fails_and_leaves_nothing_running(project: Path, start: Start) -> None:
    process = start(project, HANG="left")
    wait_until_it_hangs(process, project)
    hanging = [pid for pid in working(project) if "step.sh left" in " ".join(psutil.Process(pid).cmdline())]
    os.kill(os.getsid(hanging[0]), signal.SIGKILL)
    output, _ = process.communicate(timeout=30)
    assert process.returncode == 1
    assert "side@left failed" in output
    assert working(project) == []


def test_without_the_process_that_starts_stages_it_ends_with_one_sentence(project: Path, start: Start) -> None:
    process = start(project, HANG="left")
    wait_until_it_hangs(process, project)
    (server,) = psutil.Process(process.pid).children()
    server.kill()
    _, errors = process.communicate(timeout=30)
    assert process.returncode == 2
    assert errors.startswith("error: the process that starts the stages ")
    assert len(errors.splitlines()) == 1
    assert working(project) == []


@pytest.mark.parametrize("with_dvc", [False, True])
def test_a_killed_run_leaves_nothing_in_the_way(
    project: Path, environment: dict[str, str], start: Start, with_dvc: bool
) -> None:
    process = start(project, HANG="left")
    wait_until_it_hangs(process, project)
    process.kill()
    process.wait()
    if with_dvc:  # its commands live on, and its locks stay, cut off where DVC was just writing them
        for session in {os.getsid(pid) for pid in working(project)}:
            os.kill(session, signal.SIGKILL)
        assert (project / ".dvc/tmp/rwlock").exists()
    orphans = working(project)
    assert orphans
    result = run_repro(project, environment, "side@left")
    assert not set(orphans) & set(working(project))
    assert "ending what a killed run left behind" in result.stdout
    assert " finished side@left in " in result.stdout, result.stdout + result.stderr


def test_a_wrong_key_is_told_before_anything_runs(project: Path, environment: dict[str, str]) -> None:
    (project / "params.yaml").write_text(PARAMS + "experiment: {}\n")
    result = run_repro(project, environment)
    assert result.returncode == 2
    assert result.stderr.startswith(
        "error: params.yaml: params.experiment is an unknown key; did you mean experiments?"
    )
    assert len(result.stderr.splitlines()) == 1
    assert not (project / "journal").exists()


def test_an_unknown_stage_is_told_before_anything_runs(project: Path, environment: dict[str, str]) -> None:
    result = run_repro(project, environment, "side@lefd")
    assert result.returncode == 2
    assert result.stderr.startswith("error: side@lefd is no stage; did you mean side@left")
    assert not (project / "journal").exists()


def test_a_broken_dvc_yaml_is_told_in_one_sentence(project: Path, environment: dict[str, str]) -> None:
    (project / "dvc.yaml").write_text("stages: {first: {comand: echo}}\n")
    result = run_repro(project, environment)
    assert result.returncode == 2
    assert result.stderr.startswith("error: DVC: ")
    assert "dvc.yaml' validation failed" in result.stderr
    assert len(result.stderr.splitlines()) == 1


def test_a_second_run_at_once_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    repro.DVC.mkdir()
    with repro.alone(), pytest.raises(InputError, match=f"process {os.getpid()}"), repro.alone():
        pass
    with repro.alone(), (repro.FOLDER / "lock").open() as stream, pytest.raises(BlockingIOError):
        fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)


def test_a_target_brings_what_it_needs_and_a_group_all_its_stages() -> None:
    assert set(repro.choose_stages(DIAMOND, ["side@left"])) == {"first", "side@left"}
    assert set(repro.choose_stages(DIAMOND, ["side"])) == {"first", "side@left", "side@right"}
    assert repro.choose_stages(DIAMOND, []) == DIAMOND
    with pytest.raises(InputError, match=r"^sides is no stage; did you mean side"):
        repro.choose_stages(DIAMOND, ["first", "sides"])
    with pytest.raises(InputError, match="there are: first, side, last"):
        repro.choose_stages(DIAMOND, ["xyz"])


def test_of_equally_urgent_stages_the_first_starts_first() -> None:
    upstream: dict[str, set[str]] = {"first": set(), "later": {"first"}, "last": set()}
    schedule = Schedule(upstream, set(upstream), dict.fromkeys(upstream, 1.0))
    assert schedule.pop() == "first"
    schedule.finish("first", Outcome.RAN)
    assert [schedule.pop(), schedule.pop()] == ["later", "last"]


def test_the_longest_chain_starts_first(tmp_path: Path) -> None:
    upstream: dict[str, set[str]] = {"prepare@d": set(), "train@short": set(), "train@long": {"prepare@d"}}
    upstream["report"] = {"train@short", "train@long"}
    (tmp_path / "short.json").write_text('{"seed_1": {"seconds": 20, "epochs": 1}, "seed_2": {"seconds": 22}}')
    (tmp_path / "long.json").write_text('{"seed_1": {"seconds": 50, "epochs": 1}}')
    (tmp_path / "other.json").write_text('{"seed_1": {"time": 50}}')
    seconds = repro.expected_seconds([*upstream, "train@unknown"], tmp_path)
    assert seconds["train@short"] == 42
    assert seconds["train@unknown"] == 46
    urgency = repro.longest_paths(upstream, {name: seconds[name] for name in upstream})
    assert urgency == {"prepare@d": 52, "train@long": 51, "train@short": 43, "report": 1}
    schedule = Schedule(upstream, set(upstream), urgency)
    assert [schedule.pop(), schedule.pop(), schedule.pop()] == ["prepare@d", "train@short", None]


def test_without_timings_the_most_stages_downstream_come_first(tmp_path: Path) -> None:
    upstream: dict[str, set[str]] = {"alone": set(), "a": set(), "b": {"a"}}
    assert repro.longest_paths(upstream, repro.expected_seconds(upstream, tmp_path)) == {"alone": 1, "a": 2, "b": 1}


def test_a_chain_ends_where_an_output_stays_the_same() -> None:
    schedule = Schedule(DIAMOND, {"first"}, dict.fromkeys(DIAMOND, 1.0))
    assert schedule.pop() == "first"
    schedule.finish("first", Outcome.RAN)
    assert schedule.pop() == "side@left"
    schedule.finish("side@left", Outcome.UNCHANGED)
    assert schedule.pop() == "side@right"
    schedule.finish("side@right", Outcome.UNCHANGED)
    assert schedule.pop() is None
    assert schedule.outcomes["last"] is Outcome.UNCHANGED


def test_an_experiment_names_files_of_the_rooms(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for file in ("datasets/d", "tasks/t", "models/lstm", "decoding/argmax", "metrics/m"):
        (tmp_path / file).parent.mkdir()
        (tmp_path / f"{file}.py").touch()
    monkeypatch.setattr(params, "STAGES", tmp_path)

    def values(dataset: str = "d", model: str = "lstm") -> params.Params:
        experiment = params.Experiment(
            title="title",
            dataset=dataset,
            task={"name": "t"},
            model={"name": model},
            training={},
            decoder={"name": "argmax"},
            metric={"name": "m"},
        )
        return params.Params(datasets={}, generated={"d": {}}, experiments={"e": experiment})

    repro.check_params(values())
    with pytest.raises(InputError, match=r"experiments\.e\.model\.name is 'lstn', .*; did you mean lstm\?"):
        repro.check_params(values(model="lstn"))
    with pytest.raises(InputError, match=r"experiments\.e\.dataset is 'f', which is no dataset"):
        repro.check_params(values(dataset="f"))


def test_dvcs_stale_locks_are_dropped_and_live_ones_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    path = repro.DVC / "tmp/rwlock"
    path.parent.mkdir(parents=True)
    user = {"pid": os.getpid(), "cmd": "/bin/dvc repro train@x"}  # our number, another's command
    for text in ("", '{"read": {"/a": [{"p', json.dumps({"read": {"/a": [user]}, "write": {"/b": user}})):
        path.write_text(text)
        repro.drop_stale_rwlock()
        assert not path.exists()
    with subprocess.Popen(["sleep", "60"]) as process:
        user = {"pid": process.pid, "cmd": "/bin/sleep 60"}
        path.write_text(json.dumps({"read": {"/a": [user]}}))
        repro.drop_stale_rwlock()
        process.kill()
    assert path.exists()


@pytest.mark.parametrize(("grace", "in_haste"), [(0.3, False), (600, True)])
def test_what_ignores_an_interrupt_is_killed(grace: float, in_haste: bool) -> None:
    script = "import signal, sys, time; signal.signal(2, signal.SIG_IGN); print(flush=True); time.sleep(60)"
    command = ["sh", "-c", f"{sys.executable} -c '{script}'; true"]
    with subprocess.Popen(command, start_new_session=True, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        repro.end_sessions({process.pid}, grace, lambda: in_haste)
        assert process.wait(timeout=5) == -signal.SIGKILL


def test_a_redrawn_line_of_a_log_counts_once(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_bytes(b"one\n\nepoch 1\repoch 2\r\n\x1b[31mred\x1b[0m \xff\n")
    assert repro.log_lines(log) == ["one", "epoch 2", "red \N{REPLACEMENT CHARACTER}"]
    assert repro.log_lines(log, last_bytes=2) == ["\N{REPLACEMENT CHARACTER}"]


def test_a_terminal_shows_running_stages_with_their_last_line(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_text("first\nepoch 3 [bold]/9[/bold]\n")
    schedule = Schedule(DIAMOND, set(DIAMOND), dict.fromkeys(DIAMOND, 1.0))
    console = Console(file=io.StringIO(), force_terminal=True, width=100, color_system=None)
    with repro.View(schedule, time.monotonic() - 72, console) as view:
        stage = repro.Running("first", 0, log, time.monotonic() - 41)
        view.draw([stage])
        shown = str(console.file.getvalue())  # type: ignore[attr-defined]
        view.ended(stage, Outcome.RAN)
    assert any("0:00:41  epoch 3 [bold]/9[/bold]" in line for line in shown.splitlines() if "first" in line)
    assert "[0/4] 0:01:12" in shown
    assert "1 running, 3 waiting" in shown
    assert "finished first in 0:00:41" in console.file.getvalue()  # type: ignore[attr-defined]
