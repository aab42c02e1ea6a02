"""Compare metrics across commits: ``python -m stages.compare REV [REV]``, or one commit with the working tree.

Reads data/metrics/*.json, dvc.lock, dvc.yaml and params.yaml of both sides from git alone. For every metric it gives
the difference with its 95 % interval over seeds and a verdict, and for every experiment what its figures were made from
that is not the same: settings, code files, prepared data, as dvc.lock recorded them.

Statistics, for figures of 3 to 5 seeds:

- What would be noise is that both sides draw from one and the same distribution, about a normal one, each seed by
  itself. So they spread alike, and Student's t over the pooled spread is exact, also for another number of seeds or
  others (a single seed is taken to spread as the other side does). Welch's t would allow for unequal spreads, at the
  price of half the degrees of freedom where one side reaches 100 % with every seed; the interval is then the one that
  is too narrow, at worst (3 seeds, one side without spread) one of 89 %.
- Equal seeds are no pairs, since a changed setting draws other numbers from the same seed: over 63 reruns in this
  project's history the figures of a seed correlated with its former ones by 0.16. But where both sides scored the same
  trained models (equal checkpoints in dvc.lock: another decoder, say), every seed is its own control: paired t.
- One seed on either side tells no noise: undecided.
- A method whose figures all are equal over its seeds draws no numbers: its differences are exact.
- Other figures that happen to be equal over each side's seeds (rounded or at 100 %) tell no spread either; there the
  p-value bounds the chance of such a coincidence, and there is no interval.
- An interval speaks of one metric, a verdict of one among many: of 300 metrics that stayed as they were, 15 intervals
  miss 0. So "worse" is asked of all metrics together, at a false discovery rate of 2.5 % (Benjamini & Hochberg 1995,
  "Controlling the false discovery rate"), and "improved" likewise and apart. If nothing became worse, the chance that
  any metric is called so is at most 2.5 %, however many improved; of those called worse, at most 2.5 % are expected
  not to be. A single metric is judged just as its interval says. It holds for independent tests and for such as rise
  together, as the metrics of one experiment do (Benjamini & Yekutieli 2001).

Exit status: 0; with ``--fail-on-worse`` 1 where a metric is worse; 2 where something has to be mended first.
"""

from __future__ import annotations

import argparse
import enum
import hashlib
import json
import math
import re
import shlex
import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from statistics import mean, stdev, variance
from typing import Any

import yaml
from rich.console import Console
from rich.table import Table
from rich.text import Text
from scipy.special import stdtr, stdtrit

from stages.core.base import errors
from stages.core.base.errors import InputError
from stages.figures.results_table import lower_is_better

METRICS = "data/metrics"
CLAIMS = f"{METRICS}/claims.json"
LEVEL = 0.05
DIGITS = 6  # decimals of the figures in metric files
NAMED = 8  # experiments that a line names, before it counts the others
SECTION = re.compile(r"^\$\{(\w+)\}$")  # dvc.yaml: foreach: ${experiments}
PART = re.compile(r"\$\{item(?:\.([\w.]+))?\}")  # dvc.yaml: cmd: ... ${item.model}

Seeds = dict[str, float]  # "seed_1" to its figure
Settings = dict[str, str]  # "model.hidden" to its value as a command has it


class Verdict(enum.StrEnum):
    """What a difference means; the worst news first."""

    WORSE = "worse"
    IMPROVED = "improved"
    UNDECIDED = "undecided"
    NOISE = "within noise"
    UNCHANGED = "unchanged"


@dataclass(frozen=True)
class Scores:
    """A metric file: every metric by seed, and counts such as "parameters", which are neither good nor bad."""

    metrics: dict[str, Seeds]
    counts: dict[str, float]

    @property
    def is_exact(self) -> bool:
        """Whether no metric differs between seeds: a method that draws no numbers."""
        return all(len(seeds) > 1 and len(set(seeds.values())) == 1 for seeds in self.metrics.values())


@dataclass(frozen=True)
class Origin:
    """What an experiment's figures were made from, as dvc.lock has it; ``code`` and ``data`` map a path to its MD5."""

    settings: Settings
    code: dict[str, str]
    data: dict[str, str]
    models: str | None
    """MD5 of the trained models that were scored."""


@dataclass(frozen=True)
class Version:
    """The project as of one commit, or as it lies in the working tree (``commit`` is None)."""

    name: str
    commit: str | None
    scores: dict[str, Scores]
    origins: dict[str, Origin]
    stale: list[str]
    """Experiments whose figures are older than their settings or their code."""
    verdicts: dict[str, str]
    """What was found of the claims of the notes, by claim."""

    @property
    def title(self) -> str:
        """Its name, and the commit's where that says more."""
        short = (self.commit or "")[:8]
        return f"{self.name} ({short})" if short and not self.name.startswith(short[:7]) else self.name


@dataclass(frozen=True)
class Estimate:
    """A difference, its 95 % interval, the p-value of no difference, and the test that gave them (see above)."""

    test: str
    difference: float
    interval: tuple[float, float] | None
    p: float | None


@dataclass(frozen=True)
class Row:
    """One metric of one experiment on both sides.

    ``p_adjusted`` is its p-value as one among all metrics; None where it cannot be judged.
    """

    experiment: str
    metric: str
    before: Seeds
    after: Seeds
    estimate: Estimate
    p_adjusted: float | None

    @property
    def verdict(self) -> Verdict:
        """What the difference means."""
        if self.estimate.test == "equal":
            return Verdict.UNCHANGED
        if self.p_adjusted is None:
            return Verdict.UNDECIDED
        if self.p_adjusted > LEVEL:
            return Verdict.NOISE
        return Verdict.WORSE if is_for_the_worse(self.metric, self.estimate.difference) else Verdict.IMPROVED

    @property
    def is_alone(self) -> bool:
        """Whether it would count by itself, but not among so many."""
        return self.verdict == Verdict.NOISE and (self.estimate.p or 0.0) <= LEVEL


@dataclass(frozen=True)
class Changes:
    """What differs between the two sides in what an experiment's figures were made from."""

    settings: dict[str, tuple[str | None, str | None]]
    code: list[str]
    data: list[str]
    counts: dict[str, tuple[float | None, float | None]]

    def lines(self) -> list[str]:
        """Write one line a change."""
        settings = [f"{key} {_or_none(old)} → {_or_none(new)}" for key, (old, new) in self.settings.items()]
        counts = [
            f"{key.replace('_', ' ')} {_or_none(old, ',')} → {_or_none(new, ',')}"
            for key, (old, new) in self.counts.items()
        ]
        return settings + self.code + self.data + counts


@dataclass(frozen=True)
class Comparison:
    """Two versions side by side. ``changes`` has None where dvc.lock of either side does not know the experiment."""

    before: Version
    after: Version
    rows: list[Row]
    changes: dict[str, Changes | None]

    @property
    def worse(self) -> list[Row]:
        """The metrics that are worse."""
        return [row for row in self.rows if row.verdict == Verdict.WORSE]

    def missing(self) -> Iterator[tuple[str, list[str]]]:
        """Give, for each side that has what the other lacks, its title and those
        experiments and metrics ("key: metric").
        """
        for here, there in ((self.before, self.after), (self.after, self.before)):
            names = [key for key in here.scores if key not in there.scores]
            for key in [key for key in here.scores if key in there.scores]:
                lacking = [metric for metric in here.scores[key].metrics if metric not in there.scores[key].metrics]
                names += [f"{key}: {metric}" for metric in lacking]
            if names:
                yield here.title, names

    def turned(self) -> dict[str, tuple[str, str]]:
        """Give the claims of the notes whose verdict is not the same, with both verdicts."""
        old, new = self.before.verdicts, self.after.verdicts
        return {name: (old[name], new[name]) for name in old if name in new and old[name] != new[name]}


# Reading.


def git(*arguments: str, given: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    """Run git in this folder; raises InputError where there is none."""
    try:
        return subprocess.run(["git", *arguments], input=given, capture_output=True, check=False)
    except FileNotFoundError:
        raise InputError("git is not installed, and metrics of another commit are read through it") from None


def find_commit(revision: str) -> str:
    """Give the full name of the commit that ``revision`` names; raises InputError where it names none."""
    if git("rev-parse", "--git-dir").returncode:
        raise InputError(f"{Path.cwd()} is in no git repository; compare reads another commit's metrics from git")
    found = git("rev-parse", "--verify", "--quiet", "--end-of-options", f"{revision}^{{commit}}")
    if found.returncode:
        raise InputError(
            f"{revision!r} is no commit, branch or tag of this repository (`git log --all` shows them; in a shallow "
            "clone, `git fetch` brings more)"
        )
    return found.stdout.decode().strip()


def read_files(commit: str | None, paths: Iterable[str]) -> dict[str, bytes]:
    """Give the content of those ``paths`` that exist at ``commit``; None is the working tree."""
    if commit is None:
        return {path: Path(path).read_bytes() for path in paths if Path(path).is_file()}
    names = list(dict.fromkeys(paths))
    answer = git("cat-file", "--batch", given="".join(f"{commit}:./{name}\n" for name in names).encode()).stdout
    found, place = {}, 0
    for name in names:
        end = answer.index(b"\n", place)
        kind = answer[place:end].split()[-2:]
        place = end + 1
        if kind[-1] != b"missing":
            size = int(kind[1])
            if kind[0] == b"blob":
                found[name] = answer[place : place + size]
            place += size + 1
    return found


def list_metrics(commit: str | None) -> list[str]:
    """Name the metric files at ``commit``; None is the working tree."""
    if commit is None:
        return sorted(str(path) for path in Path(METRICS).glob("*.json"))
    listed = git("ls-tree", "-z", "--name-only", commit, f"./{METRICS}/").stdout.decode()
    return sorted(name for name in listed.split("\0") if name.endswith(".json"))


def read_version(revision: str | None) -> Version:
    """Read all that is compared of one side; None is the working tree.

    Raises InputError where there is no such commit, it holds no metrics, or a file is malformed.
    """
    commit = None if revision is None else find_commit(revision)
    name = "working tree" if revision is None else revision
    files = read_files(commit, [*list_metrics(commit), CLAIMS, "dvc.lock", "dvc.yaml", "params.yaml"])
    verdicts = read_verdicts(files.pop(CLAIMS, b"{}"), f"{CLAIMS} of {name}")
    paths = [path for path in files if path.startswith(METRICS)]
    if not paths:
        raise InputError(
            f"{name} has no metrics: no {METRICS}/*.json is there; run compare in the project's folder, with a commit "
            "that recorded an `evaluate`"
        )
    scores = {Path(path).stem: read_scores(files[path], f"{path} of {name}") for path in paths}
    lock, pipeline, params = (
        read_yaml(files.get(path, b""), f"{path} of {name}") for path in ("dvc.lock", "dvc.yaml", "params.yaml")
    )
    made = Record(read_lock(lock, f"dvc.lock of {name}"), _mapping(pipeline.get("stages")), params)
    origins = {key: origin for key in scores if (origin := made.origin(key))}
    code = {path for origin in origins.values() for path in origin.code}
    sums = {path: hashlib.md5(content).hexdigest() for path, content in read_files(commit, code).items()}
    stale = [
        key
        for key, origin in origins.items()
        if any(sums.get(path) != md5 for path, md5 in origin.code.items() if not md5.endswith(".dir"))  # no folders
        or made.is_outdated(key)
    ]
    return Version(name, commit, scores, origins, stale, verdicts)


def read_scores(content: bytes, where: str) -> Scores:
    """Read a metric file; raises InputError, which says ``where``, if it is not what `evaluate` writes."""
    try:
        values = json.loads(content)
    except ValueError:
        raise InputError(f"{where} is not JSON; `dvc repro evaluate@...` writes it anew") from None
    shape = 'should hold {"<metric>": {"mean": x, "std": x, "seed_1": x, ...}, "<count>": n}'
    if not isinstance(values, dict):
        raise InputError(f"{where} {shape}")
    metrics: dict[str, Seeds] = {}
    for name, value in values.items():
        figures = value if isinstance(value, dict) else {"count": value}
        for part, figure in figures.items():
            # True is a number to Python, and json reads NaN and Infinity.
            if isinstance(figure, bool) or not isinstance(figure, int | float) or not abs(figure) < 1e300:
                raise InputError(f"{where} {shape}, but {name} has {part} {figure!r}")
        if isinstance(value, dict):
            metrics[name] = {part: float(figure) for part, figure in value.items() if part.startswith("seed_")}
            if not metrics[name]:
                raise InputError(f"{where} {shape}, but {name} has no figure of a seed")
    if not metrics:
        raise InputError(f"{where} {shape}, but has no metric")
    return Scores(metrics, {name: value for name, value in values.items() if name not in metrics})


def read_verdicts(content: bytes, where: str) -> dict[str, str]:
    """Read the verdicts on the notes' claims; raises InputError, which says ``where``, if the file is malformed."""
    try:
        values = json.loads(content)
        return {name: str(value["verdict"]) for name, value in values.items()}
    except (ValueError, AttributeError, TypeError, KeyError):
        raise InputError(
            f'{where} should hold {{"<claim>": {{"verdict": ...}}}}; `dvc repro claims` writes it'
        ) from None


def read_yaml(content: bytes, where: str) -> dict[str, Any]:
    """Read a YAML mapping; a file that is missing or empty has none. Raises InputError where it is malformed."""
    try:
        # The C parser: dvc.lock has thousands of lines.
        return _mapping(yaml.load(content, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader)))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise InputError(f"{where} is not YAML: {' '.join(str(error).split())}") from None


def read_lock(values: dict[str, Any], where: str) -> dict[str, Any]:
    """Give the stages of dvc.lock; raises InputError where one is not as DVC writes it."""
    stages = {}
    for name, entry in _mapping(values.get("stages")).items():
        lists = {kind: _mapping(entry).get(kind) or [] for kind in ("deps", "outs")}
        files = [file for held in lists.values() for file in (held if isinstance(held, list) else [held])]
        if not isinstance(entry, dict) or not all(isinstance(_mapping(file).get("path"), str) for file in files):
            raise InputError(f"{where}: stage {name} should have cmd, deps and outs, each file with its path")
        stages[name] = entry | lists
    return stages


def _mapping(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


# What figures were made from.


@dataclass(frozen=True)
class Record:
    """What DVC noted of its last runs: the stages of dvc.lock, and of dvc.yaml and params.yaml how to read them."""

    lock: dict[str, Any]
    pipeline: dict[str, Any]
    params: dict[str, Any]

    def origin(self, key: str) -> Origin | None:
        """Trace the metrics of experiment ``key`` to all they came from; None where dvc.lock does not know them."""
        stages = self.upstream(f"{METRICS}/{key}.json")
        if not stages:
            return None
        made = self.producers()
        deps = {dep["path"]: dep.get("md5", "") for stage in stages for dep in self.lock[stage]["deps"]}
        settings: Settings = {}
        for stage in stages:
            settings |= self.settings(stage)
        return Origin(
            settings={name.removeprefix(f"experiments.{key}."): value for name, value in settings.items()},
            code={path: md5 for path, md5 in deps.items() if path not in made},
            data={path: md5 for path, md5 in deps.items() if path in made and path.startswith("data/prepared/")},
            models=deps.get(f"data/checkpoints/{key}"),
        )

    def is_outdated(self, key: str) -> bool:
        """Whether params.yaml asks for other settings than those with which the metrics of ``key`` were made."""
        return any(
            self.settings(stage)
            != {f"{part}.{name}": value for part, held in parts.items() for name, value in held.items()}
            for stage in self.upstream(f"{METRICS}/{key}.json")
            if (parts := self.parts(stage))
        )

    def producers(self) -> dict[str, str]:
        """Map each output to its stage."""
        return {out["path"]: stage for stage, entry in self.lock.items() for out in entry["outs"]}

    def upstream(self, path: str) -> list[str]:
        """Name the stages from which ``path`` comes, directly or not, the last one first."""
        made = self.producers()
        found: list[str] = []
        waiting = [path]
        for path in waiting:
            stage = made.get(path)
            if stage and stage not in found:
                found.append(stage)
                waiting += [dep["path"] for dep in self.lock[stage]["deps"]]
        return found

    def parts(self, stage: str) -> dict[str, Settings]:
        """Give the parts of params.yaml that dvc.yaml puts into the command of ``stage``, in order.

        A part is named by its whole key, ``experiments.slots_lstm.model``.
        """
        kind, _, key = stage.partition("@")
        template = _mapping(self.pipeline.get(kind))
        section = SECTION.match(str(template.get("foreach", "")))
        if not section:
            return {}
        item = _mapping(_mapping(self.params.get(section[1])).get(key))
        names = PART.findall(str(_mapping(template.get("do")).get("cmd", "")))
        whole = f"{section[1]}.{key}"
        return {
            f"{whole}.{name}" if name else whole: dict(flatten(_mapping(item.get(name)) if name else item))
            for name in names
        }

    def settings(self, stage: str) -> Settings:
        """Give the settings in the command of ``stage`` in dvc.lock, by their whole keys; or those in its ``params``.

        DVC writes a part's settings as flags, part after part, and does not say where one ends: it does where a flag
        comes for the second time, or one that params.yaml has in a later part alone.
        """
        entry = self.lock[stage]
        found = dict(flatten(_mapping(_mapping(entry.get("params")).get("params.yaml"))))
        parts = list(self.parts(stage).items()) or [(stage, {})]
        place = 0
        for flag, value in read_flags(str(entry.get("cmd", ""))):
            while place + 1 < len(parts) and (
                f"{parts[place][0]}.{flag}" in found
                or (flag not in parts[place][1] and any(flag in part for _, part in parts[place + 1 :]))
            ):
                place += 1
            found[f"{parts[place][0]}.{flag}"] = value
        return found


def read_flags(command: str) -> Iterator[tuple[str, str]]:
    """Give the flags of a command line with their values, as DVC writes settings: ``--layers 2 --no-centre``."""
    try:
        words = shlex.split(command)
    except ValueError:
        words = command.split()
    starts = [place for place, word in enumerate(words) if word.startswith("--") and len(word) > 2]
    for start, end in pairwise([*starts, len(words)]):
        flag, values = words[start][2:], words[start + 1 : end]
        if values:
            yield flag, " ".join(values)
        else:
            yield flag.removeprefix("no-"), "false" if flag.startswith("no-") else "true"


def flatten(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    """Give dotted keys with their values as DVC writes them into a command; an empty list leaves no trace."""
    for key, value in values.items():
        if isinstance(value, dict):
            yield from flatten(value, f"{prefix}{key}.")
        elif isinstance(value, bool):
            yield f"{prefix}{key}", str(value).lower()
        elif not isinstance(value, list):
            yield f"{prefix}{key}", str(value)
        elif value:
            yield f"{prefix}{key}", " ".join(map(str, value))


def find_changes(key: str, before: Version, after: Version) -> Changes | None:
    """Say what differs in what the figures of ``key`` were made from; None where either dvc.lock does not know them."""
    if key not in before.origins or key not in after.origins:
        return None
    old, new = before.origins[key], after.origins[key]
    return Changes(
        settings=_differences(old.settings, new.settings),
        code=sorted(_differences(old.code, new.code)),
        data=sorted(_differences(old.data, new.data)),
        counts=_differences(before.scores[key].counts, after.scores[key].counts),
    )


def _differences(old: Mapping[str, Any], new: Mapping[str, Any]) -> dict[str, tuple[Any, Any]]:
    return {key: (old.get(key), new.get(key)) for key in dict.fromkeys([*old, *new]) if old.get(key) != new.get(key)}


# Judging.


def compare(before: Version, after: Version) -> Comparison:
    """Compare all metrics that both versions have."""
    estimates = {}
    for key in before.scores.keys() & after.scores.keys():
        old, new = before.scores[key], after.scores[key]
        models = [version.origins[key].models for version in (before, after) if key in version.origins]
        for metric in [metric for metric in new.metrics if metric in old.metrics]:
            estimates[key, metric] = estimate(
                old.metrics[metric],
                new.metrics[metric],
                is_exact=old.is_exact and new.is_exact,
                same_models=len(models) == 2 and models[0] is not None and models[0] == models[1],
            )
    # What is exact or equal needs no luck, and what nobody can read as better or worse raises no alarm.
    judged = {
        name: made for name, made in estimates.items() if made.p is not None and lower_is_better(name[1]) is not None
    }
    adjusted = adjust({name: made for name, made in judged.items() if made.test not in ("equal", "exact")})
    adjusted |= {name: made.p for name, made in judged.items() if name not in adjusted}
    rows = [
        Row(
            key,
            metric,
            before.scores[key].metrics[metric],
            after.scores[key].metrics[metric],
            made,
            adjusted.get((key, metric)),
        )
        for (key, metric), made in estimates.items()
    ]
    places = list(Verdict)
    worst = {key: min(places.index(row.verdict) for row in rows if row.experiment == key) for key, _ in estimates}
    rows.sort(key=lambda row: (worst[row.experiment], row.experiment))  # stable: metrics stay in their file's order
    changes = {key: find_changes(key, before, after) for key in dict.fromkeys(row.experiment for row in rows)}
    return Comparison(before, after, rows, changes)


def estimate(before: Seeds, after: Seeds, is_exact: bool = False, same_models: bool = False) -> Estimate:
    """Estimate by how much ``after`` differs from ``before``; the statistics stand at the top of this file.

    ``is_exact`` says that the method draws no numbers, ``same_models`` that both sides scored the same trained models.
    """
    old, new = list(before.values()), list(after.values())
    difference = round(mean(new) - mean(old), DIGITS)
    sizes = len(old), len(new)
    if before == after or (is_exact and not difference):
        return Estimate("equal", 0.0, (0.0, 0.0), 1.0)
    if is_exact:
        return Estimate("exact", difference, (difference, difference), 0.0)
    if same_models and before.keys() == after.keys() and len(before) > 1:
        changes = [round(after[seed] - before[seed], DIGITS) for seed in before]
        error, freedom = stdev(changes) / math.sqrt(len(changes)), float(len(changes) - 1)
        # No spread: the chance that so many signs agree.
        return _by_t("paired t", difference, error, freedom, 2.0 ** (1 - len(changes)))
    if max(sizes) == 1:
        return Estimate("one seed", difference, None, None)
    freedom = float(sum(sizes) - 2)
    squares = sum(variance(figures) * (len(figures) - 1) for figures in (old, new) if len(figures) > 1)
    error = math.sqrt(squares / freedom * sum(1 / size for size in sizes))
    # No spread: the greatest chance, over all distributions, that each side's figures agree and the sides do not.
    return _by_t(
        "Student's t", difference, error, freedom, 2 * math.prod((size / sum(sizes)) ** size for size in sizes)
    )


def _by_t(test: str, difference: float, error: float, freedom: float, coincidence: float) -> Estimate:
    """``error``: the difference's standard error, with ``freedom`` degrees; ``coincidence``: the p-value if it is 0."""
    if not error:
        return Estimate("no spread", difference, None, min(1.0, coincidence) if difference else 1.0)
    half = float(stdtrit(freedom, 1 - LEVEL / 2)) * error
    interval = round(difference - half, DIGITS), round(difference + half, DIGITS)
    return Estimate(test, difference, interval, 2 * float(stdtr(freedom, -abs(difference) / error)))


def adjust(estimates: Mapping[tuple[str, str], Estimate]) -> dict[tuple[str, str], float | None]:
    """Give p-values, by (experiment, metric), among all: at most 0.05 counts, in the direction of the difference."""
    halves = {name: (made.p or 0.0) / 2 for name, made in estimates.items()}
    adjusted: dict[tuple[str, str], float | None] = {}
    for worse in (True, False):
        mine = {name for name, made in estimates.items() if is_for_the_worse(name[1], made.difference) == worse}
        one_sided = {name: half if name in mine else 1 - half for name, half in halves.items()}
        rates = benjamini_hochberg(one_sided)
        adjusted |= {name: min(1.0, 2 * rates[name]) for name in mine}
    return adjusted


def benjamini_hochberg(p: Mapping[Any, float]) -> dict[Any, float]:
    """Give for each p-value the least false discovery rate at which it counts."""
    rates: dict[Any, float] = {}
    reached = 1.0
    for place, name in reversed(list(enumerate(sorted(p, key=lambda name: p[name]), start=1))):
        reached = min(reached, p[name] * len(p) / place)
        rates[name] = reached
    return rates


def is_for_the_worse(metric: str, difference: float) -> bool:
    """Whether ``metric`` goes the wrong way by ``difference``."""
    return (difference > 0) == lower_is_better(metric)


# Writing.


def as_json(found: Comparison) -> dict[str, Any]:
    """Everything, the unchanged too, as JSON has it."""
    experiments: dict[str, Any] = {}
    for row in found.rows:
        changes = found.changes[row.experiment]
        entry = experiments.setdefault(
            row.experiment,
            {
                "metrics": {},
                "settings": changes and {key: list(pair) for key, pair in changes.settings.items()},
                "code": changes and changes.code,
                "data": changes and changes.data,
                "counts": changes and {key: list(pair) for key, pair in changes.counts.items()},
            },
        )
        lower = lower_is_better(row.metric)
        entry["metrics"][row.metric] = {
            "verdict": row.verdict,
            "better": None if lower is None else "lower" if lower else "higher",
            "before": {"mean": round(mean(row.before.values()), DIGITS), **row.before},
            "after": {"mean": round(mean(row.after.values()), DIGITS), **row.after},
            "difference": row.estimate.difference,
            "interval": row.estimate.interval,
            "test": row.estimate.test,
            "p": row.estimate.p,
            "p_adjusted": row.p_adjusted,
        }
    missing = dict(found.missing())
    return {
        **{
            side: {
                "name": version.name,
                "commit": version.commit,
                "only_here": missing.get(version.title, []),
                "outdated": version.stale,
            }
            for side, version in (("before", found.before), ("after", found.after))
        },
        "claims": {name: list(verdicts) for name, verdicts in found.turned().items()},
        "worse": [f"{row.experiment}: {row.metric}" for row in found.worse],
        "experiments": experiments,
    }


def cells(row: Row) -> list[str]:
    """Write a row: metric and which way is better, the means, the difference, its interval, the verdict."""
    estimate = row.estimate
    low, high = estimate.interval or (estimate.difference, estimate.difference)
    size = (high - low) / 2 or abs(estimate.difference) or 0.1
    decimals = min(DIGITS, max(1, 1 - math.floor(math.log10(size))))  # two digits of the interval's half
    lower = lower_is_better(row.metric)
    # Where the interval is a point, chance has no part; where there is none, nobody knows.
    interval = f"{low:+.{decimals}f} to {high:+.{decimals}f}" if low < high else "exact" if estimate.interval else "–"
    return [
        f"{row.metric} {'?' if lower is None else '↓' if lower else '↑'}",
        f"{mean(row.before.values()):.{decimals}f}",
        f"{mean(row.after.values()):.{decimals}f}",
        f"{estimate.difference:+.{decimals}f}" if estimate.test != "equal" else "0",
        interval if estimate.test != "equal" else "",
        f"{row.verdict}{'*' if row.is_alone else ''}",
    ]


def differing(found: Comparison, everything: bool) -> dict[str, list[Row]]:
    """The rows to show, by experiment: of what differs, or of all."""
    shown: dict[str, list[Row]] = {}
    for row in found.rows:
        if everything or row.verdict != Verdict.UNCHANGED:
            shown.setdefault(row.experiment, []).append(row)
    return shown


def change_lines(found: Comparison, keys: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Say what changed behind the figures of ``keys``: what all of them share, then what those have that have more."""
    lines = {key: changes.lines() for key in keys if (changes := found.changes[key])}
    shared = [line for line in next(iter(lines.values()), []) if all(line in held for held in lines.values())]
    if len(lines) > 1 and shared:
        yield (
            f"all {len(lines)} that dvc.lock knows" if len(lines) < len(keys) else f"all {len(keys)}",
            ", ".join(shared),
        )
    groups: dict[str, list[str]] = {}
    for key in keys:
        own = [line for line in lines.get(key, []) if len(lines) == 1 or line not in shared]
        if key not in lines:
            own = ["unknown, for dvc.lock does not have it on both sides"]
        elif not lines[key]:
            own = ["nothing that dvc.lock knows"]
        groups.setdefault(", ".join(own), []).append(key)
    yield from ((", ".join(members), text) for text, members in groups.items() if text)


def notes(found: Comparison) -> Iterator[str]:
    """Say what a table cannot: what is missing, what is out of date, how verdicts come about, and how many of each."""
    for title, names in found.missing():
        yield f"Only in {title}: {', '.join(names)}"
    for version in (found.before, found.after):
        if version.stale:
            named = ", ".join(version.stale[:NAMED])
            more = f" and {len(version.stale) - NAMED} more" if len(version.stale) > NAMED else ""
            yield f"In {version.title}, settings or code were edited after the figures were made: {named}{more}"
    if found.turned():
        turned = ", ".join(f"{name} {old} → {new}" for name, (old, new) in found.turned().items())
        yield f"Claims of the notes whose verdict changed: {turned}"
    unknown = dict.fromkeys(row.metric for row in found.rows if lower_is_better(row.metric) is None)
    if unknown:
        yield (
            f"Whether higher or lower is better is not known of {', '.join(unknown)}; LOWER_IS_BETTER of "
            "stages/figures/results_table.py should say it"
        )
    count = sum(row.p_adjusted is not None and row.estimate.test not in ("equal", "exact") for row in found.rows)
    if count:
        yield (
            f"Intervals: 95 %, over seeds, each metric by itself. Verdicts: each among all {count}, so that "
            "with nothing worse the chance of any false alarm is at most 2.5 % (Benjamini-Hochberg)."
        )
    if any(row.is_alone for row in found.rows):
        yield f"* By itself it would count, as one in twenty does by chance; among {count} it does not."
    tally = [sum(row.verdict == verdict for row in found.rows) for verdict in Verdict]
    yield ", ".join(f"{number} {verdict}" for number, verdict in zip(tally, Verdict, strict=True)) + "."


def show(found: Comparison, everything: bool, console: Console) -> None:
    """Print the comparison as a table, with what changed and what to know beneath."""
    shown = differing(found, everything)
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column(overflow="fold")
    for heading in (found.before.name, found.after.name, "difference", "95 % interval"):
        table.add_column(Text(heading), justify="right", overflow="fold")
    table.add_column("verdict", no_wrap=True)
    styles = {Verdict.WORSE: "bold red", Verdict.IMPROVED: "bold green"}
    for key, rows in shown.items():
        table.add_row(Text(key, "bold"))
        for row in rows:
            name, *numbers, verdict = cells(row)
            table.add_row(Text(f"  {name}"), *map(Text, numbers), Text(verdict, styles.get(row.verdict, "")))
    if shown:
        console.print(table)
        console.print(Text("\nChanged", "bold"))
        for keys, changes in change_lines(found, list(shown)):
            console.print(Text(f"  {keys}: {changes}"), soft_wrap=True)
        console.print()
    for note in notes(found):
        console.print(Text(note), soft_wrap=True)


def as_markdown(found: Comparison, everything: bool) -> str:
    """Write the comparison for a pull request."""
    shown = differing(found, everything)
    lines = [f"### {_plain(found.before.title)} → {_plain(found.after.title)}", ""]
    if shown:
        heads = ["Experiment", "Metric", found.before.name, found.after.name, "Difference", "95 % interval", "Verdict"]
        lines += [_line(heads), _line(["---", "---", *["---:"] * 4, "---"])]
        for key, rows in shown.items():
            for row in rows:
                *numbers, verdict = cells(row)
                strong = row.verdict in (Verdict.WORSE, Verdict.IMPROVED)
                lines.append(_line([f"`{key}`", *numbers, f"**{verdict}**" if strong else verdict]))
        lines += ["", "Changed:", ""]
        lines += [f"- {_plain(keys)}: {_plain(changes)}" for keys, changes in change_lines(found, list(shown))]
        lines.append("")
    return "\n".join(lines) + "\n" + "\n\n".join(_plain(note) for note in notes(found)) + "\n"


def _line(row: Sequence[str]) -> str:
    return f"| {' | '.join(cell if cell.startswith(('`', '**')) else _plain(cell) for cell in row)} |"


def _plain(text: str) -> str:
    """Keep ``text`` from being read as HTML or as Markdown's signs."""
    return re.sub(r"([\\`*_|])", r"\\\1", text.replace("&", "&amp;").replace("<", "&lt;"))


def _or_none(value: str | float | None, form: str = "") -> str:
    return "–" if value is None else format(value, form)


def main() -> None:
    """Read the command line, compare, and print."""
    parser = argparse.ArgumentParser(prog="python -m stages.compare", description="Compare metrics across commits.")
    parser.add_argument("before", metavar="REV", help="a commit, branch or tag")
    parser.add_argument("after", metavar="REV", nargs="?", help="another one (default: the working tree)")
    parser.add_argument("--all", action="store_true", help="show unchanged metrics too")
    parser.add_argument("--fail-on-worse", action="store_true", help="exit with status 1 where a metric is worse")
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true", help="everything, for programs")
    form.add_argument("--markdown", action="store_true", help="for a pull request")
    arguments = parser.parse_args()
    found = compare(read_version(arguments.before), read_version(arguments.after))
    if arguments.json:
        print(json.dumps(as_json(found), ensure_ascii=False, indent=2, allow_nan=False))
    elif arguments.markdown:
        print(as_markdown(found, arguments.all), end="")
    else:
        console = Console(highlight=False)
        if not console.is_terminal:
            console.width = 160  # a file is as wide as its lines
        show(found, arguments.all, console)
    if arguments.fail_on_worse and found.worse:
        sys.exit(1)


if __name__ == "__main__":
    errors.run(main)
