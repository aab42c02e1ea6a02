"""The figures that several experiments share: main results, learning curves, numbers of parameters."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from markupsafe import Markup

from stages.figures import learning_curves, overview, results_table
from stages.reporting.drawing import inline
from stages.reporting.results import FAMILIES, Result, Section, Wing

OVERVIEW = "Results on test data: a dot is a seed, the bar their mean"
CURVES = "Learning curves: a line is a seed, solid for validation, dashed for training"
TIMES = {"lstm": "N8, N10", "gru": "N13"}  # models whose parameters are told in multiples of the Elman network's


def panels(wings: Sequence[Wing], width: int) -> list[Any]:
    """Draw every data set's headline metrics, ``width`` pixels wide."""
    return [
        panel(metric, results, f"{section.dataset}: ", width)
        for wing in wings
        for section in wing.sections
        for metric, results in section.headlines.items()
    ]


def panel(metric: str, results: Sequence[Result], before: str, width: int) -> Any:
    """Draw the ``metric`` of some experiments, its name after ``before``, ``width`` pixels wide."""
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
        alternative = f"{results_table.label(metric)} on {section.name}, mean over seeds: {said}"
        drawn.append(inline(panel(metric, results, "", width=170), alternative))
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
    axis = learning_curves.loss_axis([result.curves for result in learners(section)])
    for result in learners(section):
        last = max(point.epoch for point in result.curves)
        said = f"Learning curves of {result.key} over {last} epochs, training and validation"
        drawn.append((result, inline(learning_curves.chart(result.curves, result.colour, axis), said)))
    return drawn


def curves_grid(wings: Sequence[Wing]) -> Any:
    """Draw the learning curves of all experiments in one grid."""
    charts = []
    for section in (section for wing in wings for section in wing.sections):
        axis = learning_curves.loss_axis([result.curves for result in learners(section)])
        charts += [
            learning_curves.small(result.curves, result.colour, axis, result.key) for result in learners(section)
        ]
    return learning_curves.grid(charts, CURVES)


def learners(section: Section) -> list[Result]:
    """Give the experiments that have a learning curve; a peer, fitted at once, has none."""
    return [result for result in section.results.values() if result.curves and not result.peer]


def families(wings: Sequence[Wing]) -> dict[str, str]:
    """Give the families that have an experiment, with their colours."""
    found = {result.family for wing in wings for section in wing.sections for result in section.results.values()}
    return {family: f"var(--{colour})" for family, (colour, _) in FAMILIES.items() if family in found}
