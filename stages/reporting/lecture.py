"""The lecture with what bears on it: each item's claims and their verdicts, worked examples, figures and data."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from stages.core.errors import InputError
from stages.core.files import read_json
from stages.figures import chapters, demonstrations, results_table
from stages.figures.chapters import Chapter, Item
from stages.reporting import results as reading
from stages.reporting.drawing import inline
from stages.reporting.panels import panel, parameter_ratios
from stages.reporting.results import Result, Wing

NOTE = re.compile(r"N(\d+)\b")


@dataclass(frozen=True)
class Demonstration:
    """A worked example of the notes, as ``stages.demonstrate`` wrote it."""

    key: str
    content: Mapping[str, Any]

    @property
    def items(self) -> set[int]:
        """The numbers of the items that it bears on."""
        return numbers(self.content["notes"])

    @property
    def charts(self) -> list[tuple[str, Markup]]:
        """Its charts with their captions."""
        drawn = demonstrations.charts(self.key, self.content)
        return [(caption, inline(chart, caption)) for caption, chart in drawn]


@dataclass(frozen=True)
class Part:
    """An item of the notes, with all that stands under it.

    ``also`` are worked examples that stand under an earlier item and bear on this one too.
    """

    item: Item
    claims: list[Any]
    demonstrations: list[Demonstration]
    also: list[Demonstration]
    panels: list[tuple[str, Markup]]
    sizes: list[str]
    wings: list[Wing]


def numbers(notes: Sequence[Any]) -> set[int]:
    """Read the items' numbers from what names them, such as "N7" or "N7, N8"."""
    return {int(number) for note in notes for number in NOTE.findall(str(note))}


def read_demonstrations(keys: Sequence[str]) -> list[Demonstration]:
    """Read the worked examples ``keys``; raises InputError where one is missing or not as it should be."""
    return [Demonstration(key, _content(key)) for key in keys]


def _content(key: str) -> dict[str, Any]:
    path = reading.DATA / "demonstrations" / f"{key}.json"
    again = f"`dvc repro demonstrate@{key}` makes it"
    if not path.exists():
        raise InputError(f"{path} does not exist: the worked example {key} has not been run; {again}")
    content = read_json(path)
    wanted = ("notes", "title", "text", "expected", "found", "checks", "tables")
    missing = [name for name in wanted if not isinstance(content, dict) or name not in content]
    if missing or not numbers(content["notes"]):
        named = ", ".join(missing) or "an item of the notes (N1, N2, …) in notes"
        raise InputError(f"{path} lacks {named}; {again}")
    return dict(content)


def tell(wings: Sequence[Wing], examples: Sequence[Demonstration]) -> list[tuple[Chapter, list[Part]]]:
    """Put everything in the order of the notes; an example stands under the first item that it bears on."""
    found = {result.key: result for wing in wings for section in wing.sections for result in section.results.values()}
    return [(chapter, [_part(item, wings, examples, found) for item in chapter.items]) for chapter in chapters.CHAPTERS]


def _part(item: Item, wings: Sequence[Wing], examples: Sequence[Demonstration], found: Mapping[str, Result]) -> Part:
    bearing = [example for example in examples if item.number in example.items]
    ratios = [ratio for wing in wings for section in wing.sections for ratio in parameter_ratios(section)]
    return Part(
        item=item,
        claims=[],
        demonstrations=[example for example in bearing if item.number == min(example.items)],
        also=[example for example in bearing if item.number != min(example.items)],
        panels=_comparisons([found[key] for key in item.compare if key in found]),
        sizes=[ratio for ratio in dict.fromkeys(ratios) if item.name in ratio] if item.sizes else [],
        wings=[wing for wing in wings if wing.theme.item == item.number],
    )


def elsewhere(wings: Sequence[Wing]) -> list[Wing]:
    """Give the wings that stand under no item of the notes."""
    told = {item.number for chapter in chapters.CHAPTERS for item in chapter.items}
    return [wing for wing in wings if wing.theme.item not in told]


def _comparisons(results: Sequence[Result]) -> list[tuple[str, Markup]]:
    """Draw the experiments that share data and metric side by side, where there are two or more."""
    groups: dict[tuple[str, str], list[Result]] = {}
    for result in results:
        groups.setdefault((result.experiment.dataset, result.headline), []).append(result)
    drawn = []
    for (dataset, metric), members in groups.items():
        if len(members) > 1:
            said = "; ".join(f"{result.key} {result.metrics[metric]['mean']:.4g}" for result in members)
            alternative = f"{results_table.label(metric)} on {dataset}, mean over seeds: {said}"
            drawn.append((dataset, inline(panel(metric, members, "", width=170), alternative)))
    return drawn
