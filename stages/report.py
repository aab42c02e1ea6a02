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
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
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
from stages.figures import learning_curves, overview, results_table

DATA = Path("data")
FIGURES = Path(__file__).resolve().parent / "figures"
FALLBACK = "examples_other"
OVERVIEW = "Results on test data: a dot is a seed, the bar their mean"
CURVES = "Learning curves: a line is a seed, solid for validation, dashed for training"
SVG = "http://www.w3.org/2000/svg"
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
SERIES = [f"var(--{name})" for name in COLOURS if name.startswith("series")]


@dataclass(frozen=True)
class Theme:
    """What a wing of the report is called, and says; ``N…`` are the numbers of the lecture notes' items."""

    title: str
    text: str


MEMORY = Theme(
    "External memory",
    "A Neural Turing Machine moves read and write heads over a memory (N28): it learns to copy up to 20 random vectors "
    "and is then asked for up to 120, beside an LSTM that must hold them all in its cells (N8). A memory network keeps "
    "each sentence of a story as a vector, and moves its reading head over them more than once before it answers a "
    "question (N29), where an LSTM reads story and question as one sequence.",
)
THEMES = {
    "slots": Theme(
        "Networks with memory",
        "Slot filling gives each word of a sentence its slot (N1, N22); a feed-forward network has no memory of what "
        "came before, so it cannot tell the Taipei of “arrive Taipei” from the Taipei of “leave Taipei”. A recurrent "
        "network stores its hidden layer from word to word (N2, N5), an LSTM guards that memory with gates (N8), and a "
        "bidirectional network sees the whole sentence before it labels any word (N7).",
    ),
    "speech": Theme(
        "Speech recognition",
        "The input has many more frames than the output has symbols, and nobody says which frames belong to which: "
        "connectionist temporal classification (CTC) adds a null symbol, “no label here”, and counts every alignment "
        "that collapses to the transcript as right (N23). A bidirectional network may hear the rest of the recording "
        "before it decides (N7); the plain LSTM (N8) may not.",
    ),
    "translation": Theme(
        "Machine translation",
        "Neither side’s length is known from the other’s: an encoder reads the English message, and a decoder writes "
        "Chinese until it puts out a stop symbol (N24). The cells are gated recurrent units (N13), and attention lets "
        "each step of the decoder look back at the words it needs.",
    ),
    "copy": MEMORY,
    "stories": MEMORY,
}


@dataclass(frozen=True)
class Result:
    """What an experiment left behind; ``predictions`` are those of its first seed."""

    key: str
    title: str
    seeds: list[str]
    metrics: dict[str, dict[str, float]]
    parameters: int
    timings: dict[str, dict[str, float]]
    curves: list[learning_curves.Point]
    predictions: list[dict[str, Any]]

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
    """The experiments of a wing that share a data set; ``colours`` goes by their keys, ``summary`` is the data's."""

    dataset: str
    summary: dict[str, Any]
    results: dict[str, Result]
    colours: dict[str, str]

    @property
    def columns(self) -> list[results_table.Column]:
        """The columns of its table of results."""
        return results_table.columns([result.metrics for result in self.results.values()])

    @property
    def headlines(self) -> dict[str, list[Result]]:
        """The experiments by headline metric."""
        found: dict[str, list[Result]] = {}
        for result in self.results.values():
            found.setdefault(result.headline, []).append(result)
        return found

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

    Wings come in the order of ``THEMES``, those it does not know after them, and all else in that of ``params.yaml``.
    Raises InputError where a file is missing or not as it should be.
    """
    themes: dict[str, Theme] = {}
    members: dict[str, dict[str, dict[str, Result]]] = {}
    for key, experiment in params.experiments.items():
        prefix = key.split("_")[0]
        theme = THEMES.get(prefix, Theme(prefix.capitalize(), ""))
        themes.setdefault(theme.title, theme)
        wing = members.setdefault(theme.title, {})
        wing.setdefault(experiment.dataset, {})[key] = read_result(key, experiment)
    known = list(dict.fromkeys(theme.title for theme in THEMES.values()))
    members = dict(sorted(members.items(), key=lambda item: (*known, item[0]).index(item[0])))
    return [
        Wing(
            anchor=f"wing-{number}",
            theme=themes[title],
            sections=[_section(dataset, results) for dataset, results in sections.items()],
        )
        for number, (title, sections) in enumerate(members.items(), start=1)
    ]


def _section(dataset: str, results: dict[str, Result]) -> Section:
    colours = {key: SERIES[place % len(SERIES)] for place, key in enumerate(results)}
    return Section(dataset, read_summary(DATA / "prepared" / dataset), results, colours)


def read_result(key: str, experiment: Experiment) -> Result:
    """Read what the experiment ``key`` left in ``data/``; raises InputError where a file is missing or malformed."""
    seeds = [f"seed_{seed}" for seed in experiment.seeds]
    metrics, parameters = _read_metrics(key, seeds)
    timings_path = _there(DATA / "timings" / f"{key}.json", key)
    timings = read_json(timings_path)
    for seed in seeds:
        if not isinstance(timings, dict) or "seconds" not in timings.get(seed, {}):
            raise InputError(f"{timings_path} has no seconds of {seed}, which params.yaml names; {_again(key)}")
    return Result(
        key=key,
        title=experiment.title,
        seeds=seeds,
        metrics=metrics,
        parameters=parameters,
        timings=timings,
        curves=_read_curves(key),
        predictions=read_jsonl(_there(DATA / "predictions" / key / f"{seeds[0]}.jsonl", key)),
    )


def _read_metrics(key: str, seeds: Sequence[str]) -> tuple[dict[str, dict[str, float]], int]:
    path = _there(DATA / "metrics" / f"{key}.json", key)
    values = read_json(path)
    metrics = {name: value for name, value in values.items() if isinstance(value, dict)}
    if not metrics or "parameters" not in values:
        raise InputError(f"{path} should hold a metric and the number of parameters; {_again(key)}")
    for name, value in metrics.items():
        for part in ("mean", "std", *seeds):
            if not isinstance(value.get(part), int | float):
                raise InputError(f"{path}: {name} has no figure {part!r}, which params.yaml asks for; {_again(key)}")
    return metrics, values["parameters"]


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
        styles=[Markup(kind.STYLE) for kind in kinds],
        panels=section_panels,
        curves=section_curves,
        examples=lambda section: worked_examples(section, kinds),
    )


def summary(wings: Sequence[Wing]) -> str:
    """Write every wing's results as Markdown tables, without anything that depends on time."""
    parts = ["Mean ± standard deviation over seeds, on test data; ↑ higher is better, ↓ lower is better.\n"]
    for wing in wings:
        for section in wing.sections:
            rows = section.results
            table = results_table.markdown(
                titles={key: result.title for key, result in rows.items()},
                rows={key: result.metrics for key, result in rows.items()},
                parameters={key: result.parameters for key, result in rows.items()},
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
        _panel(section, metric, results, f"{section.dataset}: ", width)
        for wing in wings
        for section in wing.sections
        for metric, results in section.headlines.items()
    ]


def _panel(section: Section, metric: str, results: Sequence[Result], before: str, width: int) -> Any:
    values = [result.metrics[metric] for result in results]
    column = results_table.column(metric, values)
    rows = [
        overview.Row(
            experiment=result.key,
            colour=section.colours[result.key],
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
        drawn.append(inline(_panel(section, metric, results, "", width=170), alternative))
    return drawn


def section_curves(section: Section) -> list[tuple[Result, Markup]]:
    """Draw the learning curves of a section's experiments, those that have any."""
    drawn = []
    axis = learning_curves.loss_axis([result.curves for result in section.results.values()])
    for result in section.results.values():
        if result.curves:
            last = max(point.epoch for point in result.curves)
            said = f"Learning curves of {result.key} over {last} epochs, training and validation"
            chart = learning_curves.chart(result.curves, section.colours[result.key], axis)
            drawn.append((result, inline(chart, said)))
    return drawn


def _curves_grid(wings: Sequence[Wing]) -> Any:
    charts = []
    for section in (section for wing in wings for section in wing.sections):
        axis = learning_curves.loss_axis([result.curves for result in section.results.values()])
        for result in section.results.values():
            if result.curves:
                colour = section.colours[result.key]
                charts.append(learning_curves.loss_chart(result.curves, colour, axis, title=result.key, width=210))
    return learning_curves.grid(charts, CURVES)


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


def worked_examples(section: Section, kinds: Sequence[ModuleType]) -> tuple[str, list[Shown]]:
    """Choose test examples of a section and show each once, with every experiment's output; the same ones every time.

    Gives a legend and the examples. They are tried in the order of a hash of their id, so that nobody picked them.
    """
    by_experiment = {
        key: {str(record["id"]): record for record in result.predictions} for key, result in section.results.items()
    }
    shared = set.intersection(*(set(records) for records in by_experiment.values()))
    order = sorted(shared, key=lambda identity: hashlib.sha256(identity.encode()).digest())
    if not order:
        return "", []
    items = [{key: records[identity] for key, records in by_experiment.items()} for identity in order]
    kind = next(kind for kind in kinds if all(kind.fits(record) for record in items[0].values()))
    return kind.LEGEND, [_shown(item, kind) for item in kind.choose(items)]


def _shown(item: dict[str, dict[str, Any]], kind: ModuleType) -> Shown:
    right, wrong = kind.VERDICTS
    flawed = [key for key, record in item.items() if not kind.right(record)]
    outcome = "mixed" if 0 < len(flawed) < len(item) else "bad" if flawed else "good"
    heading = wrong if flawed else right
    if len(item) > 1:
        heading += f" in {', '.join(flawed)}" if outcome == "mixed" else " in every experiment"
    return Shown(str(next(iter(item.values()))["id"]), heading[0].upper() + heading[1:], outcome, kind.show(item))


if __name__ == "__main__":
    run(main)
