"""The report: one page that needs no network, the tables of ``summary.md``, and the figures that the README shows.

    python -m stages.report

reads what every experiment and worked example of ``params.yaml`` left in ``data/``, and the verdicts on the claims, and
writes ``data/report/``. ``summary.md``, the figures and the tables for DVC's plots hold nothing that depends on time:
equal metrics and curves give equal bytes.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup, escape

from stages.core import claims
from stages.core.base.errors import run
from stages.core.base.files import write_text
from stages.core.base.params import Params, load
from stages.figures import measures, overview, results_table
from stages.reporting import lecture, plots, results
from stages.reporting.drawing import COLOURS, merge_squares, standalone
from stages.reporting.panels import (
    OVERVIEW,
    curves_grid,
    families,
    panels,
    parameter_ratios,
    section_curves,
    section_panels,
)
from stages.reporting.results import Wing, gather
from stages.reporting.section_figures import STYLED, section_figures
from stages.reporting.winners import contests, tally, winners_table
from stages.reporting.worked_examples import FIGURES, example_kinds, worked_examples

EXAMPLES = 8  # of one data set; what is beyond is folded
GROUPED = 6  # experiments; a table of more has a heading for each family
HEADLINES = 6  # columns of metrics in a table of the summary
FIGURE = re.compile(r"-?[\d.,]+(?:e[+-]\d+)?")
MINUS = re.compile(r"(?<![\w.)])-(?=\d)|(?<=e)-(?=\d)")
NO_SIGN = re.compile(r"−(0(?:\.0+)?)(?![\d.])")
SCIENTIFIC = re.compile(r"\b(\d+(?:\.\d+)?)e([+−])0*(\d+)")
POWER = re.compile(r"\b10\^(−?\d+(?:\.\d+)?)")
KEY = re.compile(r"\b([a-z]+(?:_[a-z0-9]+)+)\b")
LONG = 12  # rows; a longer table of a worked example is folded


def main() -> None:
    """Make the report on everything that ``params.yaml`` names."""
    written = write(load(), results.DATA / "report")
    print(f"wrote {', '.join(map(str, written))}")


def write(params: Params, folder: Path) -> list[Path]:
    """Read every experiment's results, and write page, summary, figures and tables to ``folder``; gives their paths.

    Raises InputError, before anything is written, where a file is missing or not as it should be.
    """
    wings = gather(params)
    examples = lecture.read_demonstrations(sorted(params.demonstrations))
    judged = lecture.read_claims(claims.read())
    texts = {
        "index.html": page(wings, examples, judged),
        "summary.md": summary(wings),
        "figure_overview.svg": standalone(
            overview.stack(panels(wings, width=340), OVERVIEW),
            "Main result of every experiment, as in the table of summary.md",
        ),
        "figure_learning_curves.svg": standalone(curves_grid(wings), "Learning curves of every experiment"),
    }
    texts |= {f"plots/{name}": text for name, text in plots.tables(wings).items()}
    texts["plots/headline.json"] = json.dumps(plots.headline(wings), ensure_ascii=False, indent=2) + "\n"
    for name, text in texts.items():
        write_text(folder / name, text)
    return [folder / name for name in texts]


def page(
    wings: Sequence[Wing], examples: Sequence[lecture.Demonstration] = (), judged: Sequence[lecture.Claim] = ()
) -> str:
    """Write the page, with its styles, its script and its figures in it."""
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
    environment.filters["signed"] = lambda text: text.replace("-", "−") if text.startswith("-") else f"+{text}"
    environment.filters["cell"] = _fact
    environment.filters["powers"] = powers
    environment.filters["counted"] = lambda count, noun: f"{count:,} {noun}{'s' * (count != 1)}"
    environment.tests["figure"] = lambda cell: FIGURE.fullmatch(str(cell)) is not None
    keys = {key for wing in wings for section in wing.sections for key in section.results}
    environment.filters["linked"] = lambda text: linked(text, keys)
    kinds = example_kinds()
    fights = contests(wings)
    text = environment.get_template("report.html.jinja").render(
        wings=wings,
        contests=fights,
        tally=tally(fights),
        measures={
            results_table.label(metric): meaning
            for metric, meaning in measures.meanings([fight.column.metric for fight in fights]).items()
        }
        | measures.WORDS,
        claims=judged,
        worked=[example.key for example in examples],
        claims_tally=lecture.tally(judged),
        lecture=lecture.tell(wings, examples, judged),
        elsewhere=lecture.elsewhere(wings),
        light={name: colour for name, (colour, _) in COLOURS.items()},
        dark={name: colour for name, (_, colour) in COLOURS.items()},
        styles=[Markup(part.STYLE) for part in (*kinds, *STYLED)],
        families=families(wings),
        grouped=GROUPED,
        long=LONG,
        examples_shown=EXAMPLES,
        panels=section_panels,
        parameters=parameter_ratios,
        curves=section_curves,
        figures=section_figures,
        examples=lambda section: worked_examples(section, kinds),
    )
    return merge_squares(text)


def summary(wings: Sequence[Wing]) -> str:
    """Write who wins, and every data set's results, as Markdown tables, without anything that depends on time."""
    fights = contests(wings)
    parts = [
        "Mean ± standard deviation over seeds, on test data; ↑ higher is better, ↓ lower is better.\n",
        f"### Who wins\n\n{tally(fights)}\n\n{winners_table(fights)}",
    ]
    for wing in wings:
        for section in wing.sections:
            rows = section.results
            table = results_table.markdown(
                titles={key: result.experiment.title + " (peer)" * result.peer for key, result in rows.items()},
                rows={key: result.metrics for key, result in rows.items()},
                parameters={key: (result.parameters, result.model_parameters) for key, result in rows.items()},
                most=HEADLINES,
            )
            parts.append(f"### {wing.theme.title}: {section.dataset}\n\n{table}")
            left = len(section.columns) - HEADLINES
            if left > 0:
                parts[-1] += f"\n{left} further metrics: data/metrics, or the report.\n"
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


def powers(text: str) -> Markup:
    """Write the numbers of ``text`` as people do: 2.05e+07 as 2.05 × 10⁷, 10^-3 as 10⁻³, -1 with a minus sign."""
    minus = NO_SIGN.sub(r"\1", MINUS.sub("−", str(escape(text))))
    written = SCIENTIFIC.sub(lambda found: f"{found[1]} × 10^{found[2].replace('+', '')}{found[3]}", minus)
    return Markup(POWER.sub(lambda found: f"10<sup>{found[1]}</sup>", written))


def linked(text: str, keys: Collection[str]) -> Markup:
    """Link each of the experiments ``keys`` that ``text`` names to its row in the results on its data."""
    parts = (
        Markup('<a href="#result-{}">{}</a>').format(part, breakable(part)) if part in keys else escape(part)
        for part in KEY.split(text)
    )
    return Markup().join(parts)


def breakable(key: str) -> Markup:
    """Let a key break after an underscore where a column is narrow."""
    return Markup("_<wbr>").join(key.split("_"))


if __name__ == "__main__":
    run(main)
