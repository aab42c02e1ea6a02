"""What the report is made from: every experiment's results, read, checked and put in order."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

from stages.core.base.errors import InputError
from stages.core.base.files import read_json, read_jsonl, read_text
from stages.core.base.params import Experiment, Params
from stages.core.learning.dataset import read_summary
from stages.figures import learning_curves, results_table, themes
from stages.figures.themes import Theme

DATA = Path("data")
# Kinds of model, each with its colour, in the order in which they stand: by the cell, or else the name, of the model.
FAMILIES = {
    "Without memory": ("series-6", ("feedforward",)),
    "Elman and Jordan": ("series-3", ("elman", "jordan")),
    "LSTM": ("series-1", ("lstm", "lstm_variants")),
    "GRU": ("series-2", ("gru", "minimal_gru", "convolutional_gru")),
    "Transformer": ("series-5", ("transformer", "transformer_encoder_decoder", "transformer_reader")),
    "External memory": (
        "series-4",
        (
            "memory_network",
            "window_memory_network",
            "entity_network",
            "neural_turing_machine",
            "differentiable_neural_computer",
        ),
    ),
    "Other": ("ink", ()),
    "Peer": ("muted", ("crfsuite", "logistic_regression", "branching", "translation_memory", "mention_ranking")),
}
SHOWN = 6  # experiments that are shown side by side; of more, the best of each family


@dataclass(frozen=True)
class Result:
    """What an experiment left behind; ``predictions`` are those of its first seed."""

    key: str
    experiment: Experiment
    seeds: list[str]
    metrics: dict[str, dict[str, float]]
    parameters: int
    model_parameters: int
    timings: dict[str, dict[str, float]]
    curves: list[learning_curves.Point]
    predictions: list[dict[str, Any]]
    trace: dict[str, Any] | None

    @property
    def family(self) -> str:
        """The kind of its model, a key of ``FAMILIES``."""
        cell = self.experiment.model.get("cell", self.experiment.model["name"])
        # What is fitted at once, without epochs, is a peer under any name.
        other = "Other" if any("epochs" in self.timings[seed] for seed in self.seeds) else "Peer"
        return next((family for family, (_, models) in FAMILIES.items() if cell in models), other)

    @property
    def peer(self) -> bool:
        """Whether it is no network of ours, but a method to compare with."""
        return self.family == "Peer"

    @property
    def colour(self) -> str:
        """That of its family, in CSS."""
        return f"var(--{FAMILIES[self.family][0]})"

    @property
    def headline(self) -> str:
        """The metric by which the experiment is judged: the first of its file."""
        return next(iter(self.metrics))

    @property
    def seconds(self) -> float:
        """Mean training time a seed."""
        return sum(self.timings[seed]["seconds"] for seed in self.seeds) / len(self.seeds)


@dataclass(frozen=True)
class Section:
    """The experiments of a wing that share a data set, a family after the other; ``summary`` is the data's."""

    dataset: str
    summary: dict[str, Any]
    results: dict[str, Result]
    anchor: str = ""

    @property
    def name(self) -> str:
        """The data set's name in words."""
        return self.dataset.replace("_", " ")

    @property
    def text(self) -> str:
        """What the data are, and what they test."""
        return themes.DATASETS.get(self.dataset, "")

    @property
    def columns(self) -> list[results_table.Column]:
        """The columns of its table of results."""
        return results_table.columns([result.metrics for result in self.results.values()])

    @property
    def headlines(self) -> dict[str, list[Result]]:
        """The experiments by headline metric, the best first."""
        found: dict[str, list[Result]] = {}
        for result in sorted(self.results.values(), key=badness):
            found.setdefault(result.headline, []).append(result)
        return found

    @property
    def families(self) -> dict[str, list[Result]]:
        """The experiments by family."""
        return {family: list(members) for family, members in groupby(self.results.values(), lambda r: r.family)}

    @property
    def shown(self) -> dict[str, Result]:
        """The experiments that are shown side by side: all, or of too many the best of each family."""
        if len(self.results) <= SHOWN:
            return self.results
        return {members[0].key: members[0] for members in self.families.values()}

    def best(self, column: results_table.Column) -> float | None:
        """Give the best mean of a column, or None where there are not two to compare."""
        return column.best([result.metrics for result in self.results.values()])


@dataclass(frozen=True)
class Wing:
    """A part of the report: experiments whose keys begin alike, or whose kinds belong together."""

    anchor: str
    theme: Theme
    sections: list[Section]


def gather(params: Params) -> list[Wing]:
    """Read the results of every experiment, and put them in wings and sections.

    Wings and data sets come in the order of ``THEMES``, those it does not know after them; experiments by family, and
    the best of a family first.
    Raises InputError where a file is missing or not as it should be.
    """
    found: dict[str, Theme] = {}
    members: dict[str, dict[str, dict[str, Result]]] = {}
    places = {prefix: place for place, prefix in enumerate(themes.THEMES)}
    for key in sorted(params.experiments, key=lambda key: places.get(themes.prefix_of(key), len(places))):
        experiment, prefix = params.experiments[key], themes.prefix_of(key)
        theme = themes.THEMES.get(prefix, Theme(prefix.capitalize(), ""))
        found.setdefault(theme.title, theme)
        wing = members.setdefault(theme.title, {})
        wing.setdefault(experiment.dataset, {})[key] = read_result(key, experiment)
    return [
        Wing(
            anchor=f"wing-{number}",
            theme=found[title],
            sections=[_section(f"wing-{number}-{dataset}", dataset, results) for dataset, results in sections.items()],
        )
        for number, (title, sections) in enumerate(members.items(), start=1)
    ]


def _section(anchor: str, dataset: str, results: dict[str, Result]) -> Section:
    order = sorted(results.values(), key=lambda result: (list(FAMILIES).index(result.family), badness(result)))
    summary = read_summary(DATA / "prepared" / dataset)
    return Section(dataset, summary, {result.key: result for result in order}, anchor)


def badness(result: Result) -> float:
    """Give a number that is the smaller, the better the result by its own headline metric."""
    values = result.metrics[result.headline]
    return values["mean"] if results_table.column(result.headline, [values]).lower_is_better else -values["mean"]


def read_result(key: str, experiment: Experiment) -> Result:
    """Read what the experiment ``key`` left in ``data/``; raises InputError where a file is missing or malformed."""
    seeds = [f"seed_{seed}" for seed in experiment.seeds]
    metrics, parameters, model_parameters = _read_metrics(key, seeds)
    trace = DATA / "predictions" / key / "trace.json"
    timings_path = _there(DATA / "timings" / f"{key}.json", key)
    timings = read_json(timings_path)
    for seed in seeds:
        if not isinstance(timings, dict) or "seconds" not in timings.get(seed, {}):
            raise InputError(f"{timings_path} has no seconds of {seed}, which params.yaml names; {_again(key)}")
    return Result(
        key=key,
        experiment=experiment,
        seeds=seeds,
        metrics=metrics,
        parameters=parameters,
        model_parameters=model_parameters,
        timings=timings,
        curves=_read_curves(key),
        predictions=read_jsonl(_there(DATA / "predictions" / key / f"{seeds[0]}.jsonl", key)),
        trace=read_json(trace) if trace.exists() else None,
    )


def _read_metrics(key: str, seeds: Sequence[str]) -> tuple[dict[str, dict[str, float]], int, int]:
    path = _there(DATA / "metrics" / f"{key}.json", key)
    values = read_json(path)
    metrics = {name: value for name, value in values.items() if isinstance(value, dict)}
    if not metrics or not {"parameters", "model_parameters"} <= set(values):
        raise InputError(f"{path} should hold a metric, parameters and model_parameters; {_again(key)}")
    for name, value in metrics.items():
        for part in ("mean", "std", *seeds):
            if not isinstance(value.get(part), int | float):
                raise InputError(f"{path}: {name} has no figure {part!r}, which params.yaml asks for; {_again(key)}")
    return metrics, values["parameters"], values["model_parameters"]


def _read_curves(key: str) -> list[learning_curves.Point]:
    path = _there(DATA / "curves" / f"{key}.csv", key)
    try:
        return learning_curves.read(csv.DictReader(io.StringIO(read_text(path))))
    except (KeyError, ValueError) as error:
        raise InputError(f"{path} is no learning curve (epoch, seed and scores by column): {error}") from None


def _there(path: Path, key: str) -> Path:
    if not path.exists():
        raise InputError(f"{path} does not exist: the experiment {key} has not been run; {_again(key)}")
    return path


def _again(key: str) -> str:
    return f"`dvc repro evaluate@{key}` makes it"
