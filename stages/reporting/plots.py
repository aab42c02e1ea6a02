"""Tables for DVC's own plots (``dvc plots show``, ``dvc plots diff REV``), which lay them over another commit's.

Every table is CSV, and holds nothing that depends on time. The templates in ``.dvc/plots`` draw them.
"""

from __future__ import annotations

import csv
import io
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from stages.figures import confusion, length_scores, results_table
from stages.reporting.panels import learners
from stages.reporting.results import Result, Section, Wing, badness
from stages.reporting.section_figures import ranges, taggers
from stages.reporting.winners import contests

Row = Mapping[str, Any]
DIGITS = 6  # significant ones


def tables(wings: Sequence[Wing]) -> dict[str, str]:
    """Give each table's text by its file's name."""
    sections = [section for wing in wings for section in wing.sections]
    return {
        "learning_curves.csv": _csv(row for section in sections for row in curve_rows(section)),
        "results.csv": _csv(row for section in sections for row in result_rows(section)),
        "confusion.csv": _csv(row for section in sections for row in confusion_rows(section)),
        "lengths.csv": _csv(row for section in sections for row in length_rows(section)),
    }


def headline(wings: Sequence[Wing]) -> dict[str, float]:
    """Give the mean of each task's best network, for ``dvc exp show``: by its data, with the task where two share them.

    A data set whose experiments are judged by several metrics has a figure for each.
    """
    fights = contests(wings)
    found = {}
    for fight in fights:
        alike = [other for other in fights if other.section.dataset == fight.section.dataset]
        name = fight.section.dataset
        if len({other.wing.anchor for other in alike}) > 1:
            name += f" ({fight.wing.theme.title.lower()})"
        if len({other.column.metric for other in alike if other.wing is fight.wing}) > 1:
            name += f", {fight.column.label}"
        found[name] = _rounded(fight.best.metrics[fight.column.metric]["mean"])
    return found


def curve_rows(section: Section) -> Iterator[Row]:
    """Give the validation loss (nats) of each experiment and epoch: mean, lowest and highest over seeds."""
    for result in learners(section):
        losses = defaultdict(list)
        for point in result.curves:
            if point.series == "validation_loss":
                losses[point.epoch].append(point.value)
        for epoch, values in sorted(losses.items()):
            yield {
                "dataset": section.dataset,
                "experiment": result.key,
                "epoch": epoch,
                "validation_loss": _rounded(sum(values) / len(values)),
                "lowest": _rounded(min(values)),
                "highest": _rounded(max(values)),
            }


def result_rows(section: Section) -> Iterator[Row]:
    """Give the figure by which each experiment is judged: mean, lowest and highest over seeds."""
    for metric, results in section.headlines.items():
        column = results_table.column(metric, [result.metrics[metric] for result in results])
        for result in results:
            values = [result.metrics[metric][seed] for seed in result.seeds]
            yield {
                "dataset": f"{section.dataset}: {column.heading} {'↓' if column.lower_is_better else '↑'}",
                "experiment": result.key,
                "mean": _rounded(result.metrics[metric]["mean"]),
                "lowest": _rounded(min(values)),
                "highest": _rounded(max(values)),
            }


def confusion_rows(section: Section) -> Iterator[Row]:
    """Give how often the best experiment takes one slot or class for another, in percent of the true one."""
    best = min((result for result in section.results.values() if _pairs(section, result)), key=badness, default=None)
    if best is None:
        return
    counts = _pairs(section, best)
    totals: dict[str, int] = defaultdict(int)
    for (true, _), number in counts.items():
        totals[true] += number
    kinds = confusion.confused(counts)
    for true in kinds:
        for guess in kinds:
            if totals[true]:
                yield {
                    "dataset": f"{section.dataset}, {best.key}",
                    "actual": true,
                    "predicted": guess,
                    "percent": _rounded(100 * counts.get((true, guess), 0) / totals[true]),
                }


def _pairs(section: Section, result: Result) -> Mapping[tuple[str, str], int]:
    """Count (true, predicted) of slots or of the classes of whole texts; empty where it has neither."""
    if result.key in taggers(section):
        return confusion.count(result.predictions)
    counts: dict[tuple[str, str], int] = defaultdict(int)
    for record in result.predictions:
        if isinstance(record.get("label"), str) and isinstance(record.get("prediction"), str):
            counts[record["label"], record["prediction"]] += 1
    return counts


def length_rows(section: Section) -> Iterator[Row]:
    """Give each experiment's score by the length of what goes in or comes out."""
    for result in section.results.values():
        measure = length_scores.measure_of(result.predictions)
        found = length_scores.points(result.predictions, measure) if measure else {}
        if measure and len(found) > 1:
            yield from _lengths(f"{section.dataset}: {measure.unit}", result, found)
    for metric, points in ranges(section).items():
        for key, values in points.items():
            title = f"{section.dataset}: {results_table.label(metric)} (%)"
            yield from _lengths(title, section.results[key], values)


def _lengths(dataset: str, result: Result, points: Mapping[str, float]) -> Iterator[Row]:
    for place, (length, value) in enumerate(points.items()):
        yield {
            "dataset": dataset,
            "experiment": result.key,
            "place": place,
            "length": length,
            "score": _rounded(value),
        }


def _rounded(value: float) -> float:
    return float(f"{value:.{DIGITS}g}")


def _csv(rows: Iterator[Row]) -> str:
    """Write rows that all have the same columns; without rows, nothing but an empty line."""
    written, buffer = list(rows), io.StringIO()
    writer = csv.DictWriter(buffer, list(written[0]) if written else [], lineterminator="\n")
    writer.writeheader()
    writer.writerows(written)
    return buffer.getvalue()
