"""Judge every claim of the notes: ``python -m stages.claims``.

Reads stages/claims.yaml, data/predictions/<experiment>/seed_<n>.jsonl and data/demonstrations/<name>.json; writes
data/metrics/claims.json: by claim its verdict, and of a comparison

- ``figure`` and ``than``: the two figures, means over seeds,
- ``effect``: the first less the second, with its 95 % interval ``low`` to ``high`` over new seeds and new examples,
- ``p``: of the effect's being the margin that the claim asks for; ``p_adjusted``: the same among all claims, by Holm.

A claim "holds" where the effect is beyond the margin on the claim's side, "does not hold" where it is short of it, each
with a ``p_adjusted`` of at most 0.05, and is "undecided" otherwise; the statistics are in stages/core/statistics.py. A
claim on exact arithmetic has the verdict of its demonstration, and no p-value.

Figures are computed from the predictions, not read from data/metrics, in which this stage writes: for DVC that would be
a stage that waits for itself.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from stages.core import claims, statistics
from stages.core.base import errors, files, params
from stages.core.base.errors import InputError
from stages.core.base.params import Experiment, Params
from stages.core.claims import CLAIMS, Claim, Comparison, Worked
from stages.core.statistics import Estimate, Resampling, Side

PREDICTIONS, DEMONSTRATIONS = Path("data/predictions"), Path("data/demonstrations")
OUTPUT = Path("data/metrics/claims.json")
DIGITS = 6  # decimals


class Verdict(enum.StrEnum):
    """What was found of a claim."""

    HOLDS = "holds"
    FAILS = "does not hold"
    UNDECIDED = "undecided"


@dataclass(frozen=True)
class Scored:
    """An experiment by example, in the order of its predictions: their ids and keys, and each metric."""

    ids: list[str]
    keys: list[str]
    sides: dict[str, Side]


def judge(stated: Mapping[str, Claim], values: Params) -> dict[str, dict[str, Any]]:
    """Give each claim its entry of data/metrics/claims.json; raises InputError where its evidence is missing."""
    compared = dict.fromkeys(key for claim in stated.values() for key in claim.experiments)
    scored = {key: score(key, values.experiments[key]) for key in compared}
    estimates = {name: compare(name, claim.comparison, scored) for name, claim in stated.items() if claim.comparison}
    adjusted = statistics.holm({name: made.p for name, made in estimates.items()})
    found: dict[str, dict[str, Any]] = {}
    for name, claim in stated.items():
        if claim.comparison:
            found[name] = entry(claim.comparison, estimates[name], adjusted[name])
        if claim.demonstration:
            found[name] = {"verdict": shown(name, claim.demonstration)}
    return found


def compare(name: str, stated: Comparison, scored: Mapping[str, Scored]) -> Estimate:
    """Estimate the effect that the claim ``name`` is about; raises InputError where figures cannot be compared."""
    ids, keys = scored[stated.experiment].ids, scored[stated.experiment].keys
    ours = side(name, stated.experiment, stated.metric, scored)
    theirs: Side | float
    if isinstance(stated.than, str):
        theirs = side(name, stated.than, stated.than_metric or stated.metric, scored)
        if scored[stated.than].ids != ids:
            raise InputError(
                f"{CLAIMS}: {name} compares {stated.experiment} with {stated.than}, which should be tested on the same "
                "examples, and are not"
            )
    else:
        theirs = stated.than
    sides = [ours] if isinstance(theirs, float) else [ours, theirs]
    sign = 1 if stated.direction == "higher" else -1
    try:
        return statistics.compare(
            ours,
            theirs,
            Resampling(keys, counting(sides, len(ids))),
            sign * stated.margin,
            same_models=stated.than == stated.experiment,
        )
    except ValueError as error:
        raise InputError(f"{CLAIMS}: {name} cannot be judged: {error}") from None


def counting(sides: Sequence[Side], examples: int) -> np.ndarray:
    """Say of each example whether it has a part in any figure (examples,); where that is not told, all have."""
    found = np.zeros(examples, dtype=bool)
    for tally in [tally for side in sides for tally in side.tallies]:
        found |= True if callable(tally) else np.asarray(tally[1]) > 0
    return found


def side(name: str, key: str, metric: str, scored: Mapping[str, Scored]) -> Side:
    """Give ``metric`` of the experiment ``key``; raises InputError, which names the claim ``name``, if it has none."""
    sides = scored[key].sides
    if metric not in sides:
        near = params.meant(metric, sides)
        raise InputError(f"{CLAIMS}: {name} names {metric}, which {key} has not by example{near}")
    return sides[metric]


def score(key: str, experiment: Experiment) -> Scored:
    """Take the metrics of the experiment ``key`` apart by example; raises InputError where predictions are missing."""
    seeds = [files.read_jsonl(PREDICTIONS / key / f"seed_{seed}.jsonl") for seed in experiment.seeds]
    module, settings = params.load_part("metric", experiment.metric, f"experiments.{key}.metric")
    is_fixed = len(seeds) > 1 and all(records == seeds[0] for records in seeds)
    # What is the same for every seed is taken apart once.
    tallies = [module.tallies(records, settings) for records in (seeds[:1] if is_fixed else seeds)]
    tallies *= len(seeds) if is_fixed else 1
    ids, keys = ([str(record[field]) for record in seeds[0]] for field in ("id", "key"))
    return Scored(ids, keys, {name: Side([tally[name] for tally in tallies], is_fixed) for name in tallies[0]})


def entry(stated: Comparison, made: Estimate, adjusted: float) -> dict[str, Any]:
    """Write what was found of a comparison."""
    figures = {
        "figure": made.figure,
        "than": made.than,
        "effect": made.effect,
        "low": made.low,
        "high": made.high,
        "p": made.p,
        "p_adjusted": adjusted,
    }
    verdict = Verdict.UNDECIDED
    if adjusted <= statistics.LEVEL:
        sign = 1 if stated.direction == "higher" else -1
        verdict = Verdict.HOLDS if sign * made.effect > stated.margin else Verdict.FAILS
    return {"verdict": verdict, **{name: round(value, DIGITS) for name, value in figures.items()}}


def shown(name: str, worked: Worked) -> Verdict:
    """Give the verdict of a demonstration; raises InputError where it is missing or has no such check."""
    path = DEMONSTRATIONS / f"{worked.name}.json"
    if not path.exists():
        known = sorted(found.stem for found in DEMONSTRATIONS.glob("*.json"))
        raise InputError(
            f"{CLAIMS}: {name} names {worked.name}, which is no demonstration{params.meant(worked.name, known)}"
        )
    found = files.read_json(path)
    checks = found["checks"]
    if worked.check is not None and worked.check not in checks:
        raise InputError(
            f"{CLAIMS}: {name} names the check {worked.check!r}, which {worked.name} has not"
            f"{params.meant(worked.check, checks)}"
        )
    holds = found["holds"] if worked.check is None else checks[worked.check]
    return Verdict.HOLDS if holds else Verdict.FAILS


def main() -> None:
    """Judge, write, and print a line a claim."""
    stated, values = claims.read(), params.load()
    claims.check(stated, values)
    found = judge(stated, values)
    files.write_json(OUTPUT, found)
    for name, made in found.items():
        effect = ""
        if "effect" in made:
            effect = f"  {made['effect']:+.2f} ({made['low']:+.2f} to {made['high']:+.2f})  p {made['p_adjusted']:.2g}"
        print(f"{made['verdict']:13}  {name}{effect}")


if __name__ == "__main__":
    errors.run(main)
