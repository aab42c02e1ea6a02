"""The report: one page that needs no network, the tables of ``summary.md``, and the figures that the README shows.

    python -m stages.report

reads what every experiment of ``params.yaml`` left in ``data/`` and writes ``data/report/``. ``summary.md`` and the
figures hold nothing that depends on time: equal metrics and curves give equal bytes.
"""

from __future__ import annotations

import csv
import hashlib
import importlib
import io
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from types import ModuleType
from typing import Any
from xml.etree import ElementTree

import altair
import vl_convert
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from stages.core.dataset import read_summary
from stages.core.errors import InputError, run
from stages.core.files import read_json, read_jsonl, read_text, write_text
from stages.core.params import Experiment, Params, load
from stages.figures import (
    attention,
    attention_map,
    calibration,
    confusion,
    extremes,
    gates,
    heads,
    learning_curves,
    length_scores,
    lines,
    n_best,
    neighbours,
    overview,
    posteriors,
    results_table,
    similarity_bands,
    slot_scores,
    themes,
    vector_map,
)
from stages.figures.themes import Theme

DATA = Path("data")
FIGURES = Path(__file__).resolve().parent / "figures"
FALLBACK = "examples_other"
OVERVIEW = "Results on test data: a dot is a seed, the bar their mean"
CURVES = "Learning curves: a line is a seed, solid for validation, dashed for training"
SVG = "http://www.w3.org/2000/svg"
BAND = re.compile(r"\d+")
DIGITS = re.compile(r"\d+\.\d{3,}")  # of a pixel: more than anyone sees
FONT = "Liberation Sans, Arial, Helvetica, sans-serif"  # the first comes with vl-convert: the same widths everywhere

# What the page's CSS and every figure name by var(--...): on a light ground, and on a dark one.
COLOURS = {
    "page": ("#ffffff", "#14171c"),
    "sunken": ("#f4f5f7", "#1d2129"),
    "ink": ("#1a1d21", "#e6e8eb"),
    "muted": ("#5b636e", "#9aa4b1"),
    "rule": ("#dcdfe4", "#343a45"),
    "accent": ("#0b63a5", "#6cb6f5"),
    "good": ("#1a7431", "#63c97c"),
    "bad": ("#b3261e", "#ff8a80"),
    "series-1": ("#0b6fae", "#5db4ee"),
    "series-2": ("#c2500a", "#f5a05c"),
    "series-3": ("#1c7c3c", "#62c983"),
    "series-4": ("#7a3fc4", "#bb9af7"),
    "series-5": ("#b0246f", "#f08bbd"),
    "series-6": ("#7d6400", "#d8bd4f"),
}


# Kinds of model, each with its colour, in the order in which they stand: by the cell, or else the name, of the model.
FAMILIES = {
    "Without memory": ("series-6", ("feedforward",)),
    "Elman and Jordan": ("series-3", ("elman", "jordan")),
    "LSTM": ("series-1", ("lstm", "lstm_variants")),
    "GRU": ("series-2", ("gru", "minimal_gru", "convolutional_gru")),
    "Transformer": ("series-5", ("transformer", "transformer_encoder_decoder")),
    "External memory": (
        "series-4",
        ("memory_network", "window_memory_network", "neural_turing_machine", "differentiable_neural_computer"),
    ),
    "Other": ("ink", ()),
    "Peer": ("muted", ("crfsuite", "logistic_regression", "branching", "translation_memory")),
}
TIMES = {"lstm": "N8, N10", "gru": "N13"}  # models whose parameters are told in multiples of the Elman network's
STYLED = (slot_scores, confusion, attention, attention_map, gates, heads, posteriors, n_best, extremes, neighbours)
SHOWN = 6  # experiments that are shown side by side; of more, the best of each family
MAPS = 3  # experiments whose attention or vectors are drawn
GROUPED = 6  # experiments; a table of more has a heading for each family


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
        for result in sorted(self.results.values(), key=_badness):
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


def main() -> None:
    """Make the report on the experiments of ``params.yaml``."""
    written = write(load(), DATA / "report")
    print(f"wrote {', '.join(map(str, written))}")


def write(params: Params, folder: Path) -> list[Path]:
    """Read every experiment's results, and write page, summary and figures to ``folder``; gives the files' paths.

    Raises InputError, before anything is written, where a file is missing or not as it should be.
    """
    wings = gather(params)
    texts = {
        "index.html": page(wings),
        "summary.md": summary(wings),
        "figure_overview.svg": standalone(
            overview.stack(_panels(wings, width=340), OVERVIEW),
            "Main result of every experiment, as in the table of summary.md",
        ),
        "figure_learning_curves.svg": standalone(_curves_grid(wings), "Learning curves of every experiment"),
    }
    for name, text in texts.items():
        write_text(folder / name, text)
    return [folder / name for name in texts]


# Reading.


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
            sections=[_section(dataset, results) for dataset, results in sections.items()],
        )
        for number, (title, sections) in enumerate(members.items(), start=1)
    ]


def _section(dataset: str, results: dict[str, Result]) -> Section:
    order = sorted(results.values(), key=lambda result: (list(FAMILIES).index(result.family), _badness(result)))
    return Section(dataset, read_summary(DATA / "prepared" / dataset), {result.key: result for result in order})


def _badness(result: Result) -> float:
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


# Writing.


def page(wings: Sequence[Wing]) -> str:
    """Write the page, with its styles and figures in it."""
    environment = Environment(
        loader=FileSystemLoader(FIGURES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["words"] = lambda name: name.replace("_", " ")
    environment.filters["facts"] = facts
    environment.filters["breakable"] = breakable
    kinds = example_kinds()
    return environment.get_template("report.html.jinja").render(
        wings=wings,
        light={name: colour for name, (colour, _) in COLOURS.items()},
        dark={name: colour for name, (_, colour) in COLOURS.items()},
        styles=[Markup(part.STYLE) for part in (*kinds, *STYLED)],
        families=_families(wings),
        grouped=GROUPED,
        panels=section_panels,
        parameters=parameter_ratios,
        curves=section_curves,
        figures=section_figures,
        examples=lambda section: worked_examples(section, kinds),
    )


def summary(wings: Sequence[Wing]) -> str:
    """Write every wing's results as Markdown tables, without anything that depends on time."""
    parts = ["Mean ± standard deviation over seeds, on test data; ↑ higher is better, ↓ lower is better.\n"]
    for wing in wings:
        for section in wing.sections:
            rows = section.results
            table = results_table.markdown(
                titles={key: result.experiment.title + " (peer)" * result.peer for key, result in rows.items()},
                rows={key: result.metrics for key, result in rows.items()},
                parameters={key: (result.parameters, result.model_parameters) for key, result in rows.items()},
            )
            parts.append(f"### {wing.theme.title}: {section.dataset}\n\n{table}")
    return "\n".join(parts)


def facts(values: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Write the facts of a data set as names and texts; what lies nested is written in one text."""
    return [(name.replace("_", " "), _fact(value)) for name, value in values.items()]


def _fact(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{str(name).replace('_', ' ')} {_fact(part)}" for name, part in value.items())
    if isinstance(value, list):
        return "; ".join(map(_fact, value))
    if isinstance(value, int) and not isinstance(value, bool):
        return f"{value:,}"
    return f"{value:,.4g}" if isinstance(value, float) else str(value)


def breakable(key: str) -> Markup:
    """Let a key break after an underscore where a column is narrow."""
    return Markup("_<wbr>").join(key.split("_"))


# Figures.


def _panels(wings: Sequence[Wing], width: int) -> list[Any]:
    return [
        _panel(metric, results, f"{section.dataset}: ", width)
        for wing in wings
        for section in wing.sections
        for metric, results in section.headlines.items()
    ]


def _panel(metric: str, results: Sequence[Result], before: str, width: int) -> Any:
    values = [result.metrics[metric] for result in results]
    column = results_table.column(metric, values)
    rows = [
        overview.Row(
            experiment=result.key,
            colour=result.colour,
            text=column.spread(result.metrics[metric]),
            mean=result.metrics[metric]["mean"],
            seeds={seed.replace("_", " "): result.metrics[metric][seed] for seed in result.seeds},
        )
        for result in results
    ]
    title = f"{before}{column.heading}, {column.better}"
    return overview.panel(rows, title, from_zero=column.lower_is_better, width=width)


def section_panels(section: Section) -> list[Markup]:
    """Draw a section's headline metrics."""
    drawn = []
    for metric, results in section.headlines.items():
        said = "; ".join(f"{result.key} {result.metrics[metric]['mean']:.4g}" for result in results)
        alternative = f"{results_table.label(metric)} on {section.dataset}, mean over seeds: {said}"
        drawn.append(inline(_panel(metric, results, "", width=170), alternative))
    return drawn


def parameter_ratios(section: Section) -> list[str]:
    """Tell how many times the parameters of an Elman network each LSTM and GRU of the same sizes has, in sentences."""
    found: dict[tuple[str, int, int], tuple[list[str], list[str]]] = {}
    for base in section.results.values():
        for other in section.results.values():
            cells = base.experiment.model["name"], other.experiment.model["name"]
            if cells[0] == "elman" and cells[1] in TIMES and _sizes(other) == _sizes(base):
                counts = cells[1], other.model_parameters, base.model_parameters
                for keys, result in zip(found.setdefault(counts, ([], [])), (other, base), strict=True):
                    keys += [result.key] if result.key not in keys else []
    told = []
    for (cell, many, few), (others, bases) in found.items():
        times = f"exactly {many // few}" if many % few == 0 else f"{many / few:.2f}"
        told.append(
            f"The {cell.upper()} ({', '.join(others)}) has {many:,} parameters, {times} times the {few:,} of the Elman "
            f"network of the same size ({', '.join(bases)}; {TIMES[cell]})."
        )
    return told


def _sizes(result: Result) -> tuple[Any, ...]:
    """Give what decides the number of a recurrent network's parameters, but for its cell."""
    model, task = result.experiment.model, result.experiment.task
    sizes = (model.get("hidden"), model.get("layers", 1), model.get("bidirectional", False))
    return *sizes, task.get("embedding"), task.get("embedding_size"), task.get("character_filters", 0)


def section_curves(section: Section) -> list[tuple[Result, Markup]]:
    """Draw the learning curves of a section's experiments, those that have any; a peer, fitted at once, has none."""
    drawn = []
    axis = learning_curves.loss_axis([result.curves for result in _learners(section)])
    for result in _learners(section):
        last = max(point.epoch for point in result.curves)
        said = f"Learning curves of {result.key} over {last} epochs, training and validation"
        drawn.append((result, inline(learning_curves.chart(result.curves, result.colour, axis), said)))
    return drawn


def _curves_grid(wings: Sequence[Wing]) -> Any:
    charts = []
    for section in (section for wing in wings for section in wing.sections):
        axis = learning_curves.loss_axis([result.curves for result in _learners(section)])
        charts += [
            learning_curves.small(result.curves, result.colour, axis, result.key) for result in _learners(section)
        ]
    return learning_curves.grid(charts, CURVES)


def _learners(section: Section) -> list[Result]:
    return [result for result in section.results.values() if result.curves and not result.peer]


def _families(wings: Sequence[Wing]) -> dict[str, str]:
    """Give the families that have an experiment, with their colours."""
    found = {result.family for wing in wings for section in wing.sections for result in section.results.values()}
    return {family: f"var(--{colour})" for family, (colour, _) in FAMILIES.items() if family in found}


@dataclass(frozen=True)
class Figure:
    """A figure of a section: its heading, what to read in it, and the drawing."""

    heading: str
    note: str
    body: Markup


def section_figures(section: Section) -> list[Figure]:
    """Draw what a section's predictions and traces have to show."""
    drawn = (_slot_figure(section), _confusion_figure(section), _attention_figure(section), _gates_figure(section))
    of_sequences = (
        _length_figure(section),
        _similarity_figure(section),
        _attention_map_figure(section),
        _vector_figure(section),
        _neighbours_figure(section),
        _extremes_figure(section),
        _heads_figure(section),
    )
    return [figure for figure in (*drawn, *_speech_figures(section), *of_sequences) if figure]


def _taggers(section: Section) -> dict[str, Result]:
    results = {key: result for key, result in section.results.items() if result.predictions}
    return {key: r for key, r in results.items() if {"tokens", "tags"} <= set(r.predictions[0])}


def _slot_figure(section: Section) -> Figure | None:
    taggers, pair = _taggers(section), _both_ways(section)
    chosen = [key for key in taggers if key in section.shown or key in (pair or ())]
    records = {key: taggers[key].predictions for key in chosen}
    body = slot_scores.draw(records, pair) if len(records) > 1 else None
    if body is None:
        return None
    which = "" if len(chosen) == len(section.results) else ", the best of each kind of model"
    note = (
        f"Percent, of spans whose ends and slot must both be right, by each experiment’s first seed{which}. Slots with "
        f"fewer than {slot_scores.FEWEST} spans in the test data are left out."
    )
    if pair:
        gained = slot_scores.gains(records, pair)
        most = ", ".join(f"{slot} ({gain:+.0f} points)" for slot, gain in list(gained.items())[:3] if gain > 0)
        note += f" {pair[1]} reads both ways, {pair[0]} of the same cell forward only"
        note += f": what comes later in the sentence matters most to {most} (N7)." if most else " (N7)."
    return Figure(f"F1 by slot on {section.dataset}", note, body)


def _both_ways(section: Section) -> tuple[str, str] | None:
    """Find two tagging experiments that differ in whether they read both ways, and in the fewest other settings."""
    pairs = [
        (_differences(one, other), -list(section.results).index(other.key), one.key, other.key)
        for one in _taggers(section).values()
        for other in _taggers(section).values()
        if one.experiment.model["name"] == other.experiment.model["name"]
        and not one.experiment.model.get("bidirectional")
        and other.experiment.model.get("bidirectional")
    ]
    return min(pairs)[2:] if pairs else None


def _differences(one: Result, other: Result) -> int:
    settings = [
        {f"{part}.{name}": value for part in ("task", "model") for name, value in getattr(r.experiment, part).items()}
        for r in (one, other)
    ]
    return sum(settings[0].get(name) != settings[1].get(name) for name in settings[0].keys() | settings[1].keys())


def _confusion_figure(section: Section) -> Figure | None:
    best = min(_taggers(section).values(), key=_badness, default=None)
    body = confusion.draw(best.predictions) if best else None
    if best is None or body is None:
        return None
    note = (
        f"Tokens of the test data, as {best.key}, the best here, labels them with its first seed; the deeper a colour, "
        f"the larger the share of its row. Of slots that are ever confused, the {confusion.MOST} confused most often; "
        "whether a token begins its slot has no part in this."
    )
    return Figure(f"Which slots are taken for which on {section.dataset}", note, body)


def _attention_figure(section: Section) -> Figure | None:
    for result in sorted(section.results.values(), key=_badness):
        body = attention.draw(result.predictions)
        if body:
            note = (
                f"The weights with which {result.key} pools the outputs at all steps, first seed; the deeper a step’s "
                f"colour, the larger its weight, relative to the largest of its text. The first {attention.EACH} right "
                f"and wrong test examples of at most {attention.LONGEST} steps, in an order that a hash fixes."
            )
            return Figure(f"Where attention looks on {section.dataset}", note, body)
    return None


def _gates_figure(section: Section) -> Figure | None:
    """Draw the gates of the plainest network that has a forget gate."""
    traces = [(r, r.trace) for r in section.results.values() if r.trace and "layers" in r.trace]
    traced = [(result, trace) for result, trace in traces if "forget" in trace["layers"][0]]
    if not traced:
        return None
    result, trace = min(traced, key=lambda pair: (len(pair[1]["layers"]), len(pair[0].experiment.model)))
    part = f", its first {gates.LONGEST} steps" if len(trace["steps"]) > gates.LONGEST else ""
    note = (
        f"{result.key} reads a test example{part}: a row is one of the {gates.UNITS} units whose output moves most, a "
        "column a step; a gate is the deeper in colour the wider it is open, a state the farther from 0 (orange below "
        "0). The mean opening is that of all units. The forget gate, which keeps the cell where it is open, is open to "
        f"{gates.mean_opening(trace, 'forget'):.2f} on average (N8, N19)."
    )
    body = gates.draw(trace, bool(result.experiment.model.get("bidirectional")))
    return Figure(f"Gates over one example of {section.dataset}", note, body)


def _heads_figure(section: Section) -> Figure | None:
    """Draw where the heads of the best network with a memory are."""
    traces = [(r, r.trace) for r in sorted(section.results.values(), key=_badness) if r.trace and heads.fits(r.trace)]
    if not traces:
        return None
    result, trace = traces[0]
    note = (
        f"{result.key} on two test sequences, first seed: the first of the test data, and the first of the longest, "
        f"beyond all that training had (N28). {heads.LEGEND}"
    )
    return Figure(f"Where the heads are on {section.dataset}", note, heads.draw(trace))


def _speech_figures(section: Section) -> list[Figure | None]:
    """Draw what was heard when, the other readings, and what confidence is worth."""
    heard = [result for result in section.shown.values() if _is_speech(result)]
    sure = calibration.chart({result.key: result.predictions for result in heard}, _colours(heard)) if heard else None
    drawn = [*_posterior_figures(section), _n_best_figure(section)]
    if sure is not None:
        note = (
            "Symbols that were heard, gathered by confidence, against the share of them that was said; the larger a "
            "point, the more symbols. On the dashed line a confidence means what it says; above it a network is better "
            "than it believes. First seeds."
        )
        drawn.append(Figure(f"What a confidence is worth on {section.dataset}", note, inline(sure, "Calibration")))
    return drawn


def _colours(results: Sequence[Result]) -> dict[str, str]:
    """Give each experiment a colour of its own, where its family's might be another's too; that of a peer is muted."""
    series = [name for name in COLOURS if name.startswith("series-")]
    networks = [result.key for result in results if not result.peer]
    found = {key: f"var(--{series[place % len(series)]})" for place, key in enumerate(networks)}
    return {result.key: found.get(result.key, "var(--muted)") for result in results}


def _is_speech(result: Result) -> bool:
    return bool(result.predictions) and {"symbols", "prediction", "confidence"} <= set(result.predictions[0])


def _posterior_figures(section: Section) -> list[Figure | None]:
    """Draw the same test example as the best network with the null hears it, and as the best without it does."""
    chosen: dict[str, tuple[Result, dict[str, Any]]] = {}
    for result in sorted(section.results.values(), key=_badness):
        if result.trace and posteriors.fits(result.trace):
            chosen.setdefault(result.experiment.task.get("criterion", "ctc"), (result, result.trace))
    figures: list[Figure | None] = []
    for criterion, (result, trace) in chosen.items():
        note = (
            f"{result.key} hears a test example, first seed. Above, the frames: blue over, orange under the mean of a "
            "coefficient. Then the probability of each symbol at each step; its name stands over the highest of them. "
            "Below, when each was heard by the best alignment, and when it was said. "
        )
        note += (
            f"The dashed line is the null: it leads at {100 * posteriors.null_share(trace):.0f} % of the steps, and it "
            "is what keeps two equal symbols apart (N23)."
            if criterion == "ctc"
            else "This network was taught a symbol at each step and has no null: equal neighbours merge into one (N23)."
        )
        figures.append(Figure(f"What {result.key} hears", note, posteriors.draw(trace)))
    return figures


def _n_best_figure(section: Section) -> Figure | None:
    """List the readings of the best experiment that searched for more than one."""
    for result in sorted(section.results.values(), key=_badness):
        body = n_best.draw(result.predictions, result.experiment.task.get("separator", " "))
        if body and "source" in result.predictions[0]:
            note = (
                f"The outputs that the beam search of {result.key} ended with, the best {n_best.SHOWN}, of the test "
                "examples in which the first two are nearest to each other; ✓ marks a reference. The score is what the "
                "search orders by; the shares are those of the probabilities. First seed."
            )
            return Figure(f"Other outputs on {section.dataset}", note, body)
        if body:
            note = (
                f"The readings that the beam search of {result.key} ended with, the best {n_best.SHOWN}, of the test "
                "examples in which the first two are nearest to each other; ✓ marks what was said. The score is the "
                "log-probability, and with a language model that of the text too. First seed."
            )
            return Figure(f"Other readings on {section.dataset}", note, body)
    return None


def _length_figure(section: Section) -> Figure | None:
    """Draw how the score of outputs changes with length."""
    results = [result for result in section.shown.values() if length_scores.measure_of(result.predictions)]
    measure = length_scores.measure_of(results[0].predictions) if results else None
    if measure is None:
        return None
    results = [result for result in results if measure.fits(result.predictions[0])]
    points = {result.key: length_scores.points(result.predictions, measure) for result in results}
    order = sorted({band for values in points.values() for band in values}, key=lambda band: int(BAND.findall(band)[0]))
    drawn = lines.chart(points, order, (measure.axis, measure.unit), _colours(results))
    if drawn is None:
        return None
    note = (
        f"{measure.note}, each experiment’s first seed; lengths of fewer than {length_scores.FEWEST} examples are left "
        "out."
    )
    alternative = f"{measure.unit} by {measure.axis}: {_said(points)}"
    return Figure(f"{measure.heading} on {section.dataset}", note, inline(drawn, alternative))


def _said(points: Mapping[str, Mapping[str, float]]) -> str:
    """Say in words what a chart of lines shows."""
    return "; ".join(
        f"{key}: {', '.join(f'{band.partition(chr(10))[0]} {value:.1f}' for band, value in values.items())}"
        for key, values in points.items()
    )


def _similarity_figure(section: Section) -> Figure | None:
    """Draw how much of a score is owed to training sentences like the test's."""
    results = [result for result in section.results.values() if similarity_bands.metric_of(result.metrics)]
    if not results:
        return None
    metric = similarity_bands.metric_of(results[0].metrics)
    bands = list(dict.fromkeys(band for result in results for band in similarity_bands.bands(result.metrics, metric)))
    named = similarity_bands.named(bands, results[0].predictions)
    points = {result.key: similarity_bands.points(result.metrics, metric, named) for result in results}
    titles = "similarity to the nearest training sentence", results_table.label(metric)
    drawn = lines.chart(points, list(named.values()), titles, _colours(results))
    if drawn is None:
        return None
    peers = [result.key for result in results if result.peer]
    note = (
        f"{results_table.label(metric)}, mean over seeds, of test sentences by the similarity (0 to 1) of their source "
        "to the nearest one of the training split."
    )
    if peers:
        lowest = next(iter(named.values()))
        bar = max(points[key].get(lowest, 0.0) for key in peers)
        above = [key for key, values in points.items() if key not in peers and values.get(lowest, 0.0) > bar]
        note += (
            f" The peer ({', '.join(peers)}, grey) knows training sentences only, and so tells how far they alone "
            f"lead. Where no training sentence is near ({lowest.partition(chr(10))[0]}), it reaches {bar:.1f}; above "
            f"that: {', '.join(above) or 'no network'}."
        )
    if metric == "bleu":
        tokenize = str(results[0].experiment.metric.get("tokenize", "zh"))
        note += f" By sacrebleu: {similarity_bands.signatures(tokenize)}."
    alternative = f"{titles[1]} by {titles[0]}: {_said(points)}"
    return Figure(f"Score by similarity to training on {section.dataset}", note, inline(drawn, alternative))


def _attention_map_figure(section: Section) -> Figure | None:
    """Draw what the best experiment of each kind of attention looks at as it writes."""
    chosen: dict[str, tuple[Result, dict[str, Any]]] = {}
    for result in sorted(section.results.values(), key=_badness):
        if result.trace and attention_map.fits(result.trace):
            kind = str(result.experiment.model.get("attention", result.experiment.model["name"]))
            chosen.setdefault(kind, (result, result.trace))
    if not chosen:
        return None
    drawn = [(result.key, kind, attention_map.draw(trace)) for kind, (result, trace) in list(chosen.items())[:MAPS]]
    note = (
        "A test example, first seed: a row is a symbol of the reference, which the decoder is made to put out whatever "
        "it would put out itself, a column one of the source. The "
        "deeper a square, the larger the weight with which the one symbol looked at the other; a row’s weights "
        f"sum to 100 %, and those of {attention_map.WRITTEN} % and more are written. A decoder without attention has "
        "one vector for the whole source (N24)."
    )
    body = Markup().join(
        Markup("<figure><figcaption>{} ({})</figcaption>{}</figure>").format(key, kind.replace("_", " "), body)
        for key, kind, body in drawn
    )
    return Figure(
        f"Where the decoder looks on {section.dataset}", note, Markup('<div class="looks">{}</div>').format(body)
    )


def _vector_figure(section: Section) -> Figure | None:
    """Draw the vectors of test examples in two dimensions, for some experiments side by side."""
    results = [
        result
        for result in sorted(section.results.values(), key=lambda result: (result.peer, _badness(result)))
        if any(map(vector_map.fits, result.predictions[:1]))
    ][:MAPS]
    spoken = [result for result in results if "word" in result.predictions[0]]
    unseen = _unseen_words(section, spoken[0].predictions) if spoken else []
    maps = []
    for result in results:
        chosen = vector_map.choose(result.predictions)
        drawn = (
            vector_map.words(chosen, unseen)
            if result in spoken
            else vector_map.texts(chosen, list(map(neighbours.text_of, chosen)))
        )
        if drawn:
            chart, plane = drawn
            shares = " and ".join(f"{100 * share:.0f} %" for share in plane.shares)
            said = f"Map of {len(chosen)} vectors of {result.key}; its axes hold {shares} of their variance"
            caption = f"{result.key}: {len(chosen)} vectors; the axes hold {shares} of the variance"
            maps.append((caption, inline(chart, said)))
    if not maps:
        return None
    note = (
        "Vectors of test examples, first seed, scaled to length 1, on the two directions in which they spread most "
        "(principal components). What the other directions hold is not seen here: two points that lie together may be "
        "far apart. "
    )
    if spoken:
        note += "A point is a spoken word, its colour the word; each word’s name stands in the middle of its points. "
        if unseen:
            note += f"Triangles are words never heard in training: {', '.join(unseen)}. "
        note += "The better the vectors, the more the recordings of a word lie together, and apart from others (N27)."
    else:
        note += "Point at one to read its text; some of the outermost are written (N26)."
    body = Markup('<div class="maps">{}</div>').format(
        Markup().join(
            Markup("<figure><figcaption>{}</figcaption>{}</figure>").format(caption, drawn) for caption, drawn in maps
        )
    )
    return Figure(f"A map of the vectors on {section.dataset}", note, body)


def _unseen_words(section: Section, records: Sequence[Mapping[str, Any]]) -> list[str]:
    """Give the words of ``records`` that training has not: those marked "unseen", or else not in the training split."""
    words = {str(record["word"]) for record in records}
    if any("unseen" in record for record in records):
        return sorted({str(record["word"]) for record in records if record.get("unseen")})
    path = DATA / "prepared" / section.dataset / "train.jsonl"
    heard = {str(example["word"]) for example in read_jsonl(path) if "word" in example} if path.exists() else set()
    return sorted(words - heard) if heard else []


def _neighbours_figure(section: Section) -> Figure | None:
    """List the nearest texts of some texts by the vectors of each experiment."""
    body = neighbours.draw({key: result.predictions for key, result in section.shown.items()})
    if body is None:
        return None
    note = (
        f"Some test texts, in an order that a hash fixes, and for each experiment the {neighbours.SHOWN} texts whose "
        "vectors are nearest by cosine (1: the same direction), first seed. A vector that has lost the order of the "
        "words is the same for every order of them (N26)."
    )
    return Figure(f"Nearest neighbours on {section.dataset}", note, body)


def _extremes_figure(section: Section) -> Figure | None:
    """Show the best and the worst outputs of each experiment, the experiment with the best score first."""
    results = [result for result in sorted(section.shown.values(), key=_badness) if _predicts(result)]
    kind = _kind_of([result.predictions[0] for result in results]) if results else None
    if kind is None or not extremes.fits(kind):
        return None
    note = (
        f"Of each experiment’s first seed, chosen by this number, which stands above each: {kind.MEASURE}. Of examples "
        "with the same number, the longest comes first. The extremes show what can happen, not what is usual."
    )
    body = extremes.draw({result.key: result.predictions for result in results}, kind)
    return Figure(f"Best and worst examples from {section.dataset}", f"{note} {kind.LEGEND}", body)


def _predicts(result: Result) -> bool:
    return bool(result.predictions) and "prediction" in result.predictions[0]


def inline(chart: Any, alternative: str) -> Markup:
    """Draw ``chart`` as an SVG element for the page, whose colours it takes; ``alternative`` says what it shows."""
    return Markup(ElementTree.tostring(_draw(chart, alternative), encoding="unicode"))


def standalone(chart: Any, alternative: str) -> str:
    """Draw ``chart`` as an SVG file of its own, light or dark as the reader's system is."""
    root = _draw(chart, alternative)
    light, dark = (";".join(f"--{name}:{pair[place]}" for name, pair in COLOURS.items()) for place in (0, 1))
    style = ElementTree.Element(f"{{{SVG}}}style")
    style.text = f":root{{{light}}}@media (prefers-color-scheme:dark){{:root{{{dark}}}}}"
    ground = ElementTree.Element(f"{{{SVG}}}rect", {"width": "100%", "height": "100%", "fill": "var(--page)"})
    root[:0] = [style, ground]
    return ElementTree.tostring(root, encoding="unicode") + "\n"


def _draw(chart: Any, alternative: str) -> ElementTree.Element:
    """Draw ``chart``; what Vega says of a mark to a screen reader becomes the text that shows when one points at it."""
    ElementTree.register_namespace("", SVG)
    drawn = ElementTree.fromstring(vl_convert.vegalite_to_svg(_styled(chart).to_dict(validate=False)))
    for element in list(drawn.iter()):
        said = element.attrib.pop("aria-label", None)
        if element.attrib.pop("aria-roledescription", None) not in ("axis", None) and said and not len(element):
            ElementTree.SubElement(element, f"{{{SVG}}}title").text = said
        for name in ("role", "aria-hidden", "pointer-events"):
            element.attrib.pop(name, None)
        for name in {"d", "transform"} & set(element.attrib):
            element.set(name, DIGITS.sub(lambda number: f"{float(number[0]):.2f}", element.attrib[name]))
    drawn.set("role", "img")
    drawn.set("aria-label", alternative)
    return drawn


def _styled(chart: Any) -> Any:
    axis = altair.AxisConfig(
        labelColor="var(--muted)",
        titleColor="var(--ink)",
        gridColor="var(--rule)",
        domainColor="var(--rule)",
        tickColor="var(--rule)",
        titleFontWeight="normal",
        titleFontSize=11,
        labelFontSize=11,
    )
    return chart.configure(
        font=FONT,
        background="transparent",
        padding={"left": 6, "top": 6, "right": 20, "bottom": 6},  # a reader's font may be wider than the one measured
        axis=axis,
        view=altair.ViewConfig(stroke=None),
        title=altair.TitleConfig(color="var(--ink)", fontSize=12, fontWeight="bold", anchor="start"),
    )


# Worked examples.


def example_kinds() -> list[ModuleType]:
    """Load the files that show worked examples, a file a kind of record; the one for any kind comes last."""
    names = sorted(path.stem for path in FIGURES.glob("examples_*.py") if path.stem != FALLBACK)
    return [importlib.import_module(f"stages.figures.{name}") for name in [*names, FALLBACK]]


@dataclass(frozen=True)
class Shown:
    """A worked example: who got it right, in words and as "good" (all), "bad" (none) or "mixed"; how it is shown."""

    identity: str
    heading: str
    outcome: str
    body: Markup


def _kind_of(records: Sequence[Mapping[str, Any]]) -> ModuleType:
    """Give the kind that all ``records`` are of."""
    return next(kind for kind in example_kinds() if all(map(kind.fits, records)))


def worked_examples(section: Section, kinds: Sequence[ModuleType]) -> tuple[str, list[Shown]]:
    """Choose test examples of a section and show each once, with every experiment's output; the same ones every time.

    Gives a legend and the examples. They are tried in the order of a hash of their id, so that nobody picked them.
    """
    by_experiment = {
        key: {str(record["id"]): record for record in result.predictions}
        for key, result in section.shown.items()
        if _predicts(result)
    }
    shared = set.intersection(*(set(records) for records in by_experiment.values())) if by_experiment else set()
    order = sorted(shared, key=lambda identity: hashlib.sha256(identity.encode()).digest())
    if not order:
        return "", []
    items = [{key: records[identity] for key, records in by_experiment.items()} for identity in order]
    kind = next(kind for kind in kinds if all(kind.fits(record) for record in items[0].values()))
    some = len(by_experiment) < len(section.results)
    return kind.LEGEND, [_shown(item, kind, some) for item in _choose(items, kind)]


def _choose(items: list[dict[str, dict[str, Any]]], kind: ModuleType) -> list[dict[str, dict[str, Any]]]:
    """Take what ``kind.choose`` does, or else the first that every experiment got right, and that one or more did not.

    There are so many of either as ``kind.EXAMPLES`` says, or else two and four.
    """
    if hasattr(kind, "choose"):
        return kind.choose(items)
    most_perfect, most_flawed = getattr(kind, "EXAMPLES", (2, 4))
    perfect = [item for item in items if all(map(kind.right, item.values()))]
    flawed = [item for item in items if not all(map(kind.right, item.values()))]
    return perfect[:most_perfect] + flawed[:most_flawed]


def _shown(item: dict[str, dict[str, Any]], kind: ModuleType, some: bool) -> Shown:
    right, wrong = kind.VERDICTS
    flawed = [key for key, record in item.items() if not kind.right(record)]
    outcome = "mixed" if 0 < len(flawed) < len(item) else "bad" if flawed else "good"
    heading = wrong if flawed else right
    if len(item) > 1:
        heading += f" in {', '.join(flawed)}" if outcome == "mixed" else f" in every experiment{' shown' * some}"
    return Shown(str(next(iter(item.values()))["id"]), heading[0].upper() + heading[1:], outcome, kind.show(item))


if __name__ == "__main__":
    run(main)
