"""The lecture with what bears on it: each item's claims and their verdicts, worked examples, figures and data."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from stages.core import claims
from stages.core.base.errors import InputError
from stages.core.base.files import read_json
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
class Claim:
    """A claim of the notes and its verdict; ``found`` says in a sentence what that rests on.

    It stands under the first of ``items``, the one that the claim names first.
    A ``worked`` claim rests on the worked example of that key.
    """

    items: list[int]
    text: str
    chinese: str
    correction: str | None
    verdict: str
    found: str
    worked: str | None


@dataclass(frozen=True)
class Part:
    """An item of the notes, with all that stands under it.

    ``also`` and ``elsewhere`` are worked examples and claims that stand under another item and bear on this one too.
    """

    item: Item
    claims: list[Claim]
    demonstrations: list[Demonstration]
    also: list[Demonstration]
    elsewhere: list[Claim]
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


def read_claims(stated: Mapping[str, claims.Claim]) -> list[Claim]:
    """Read the verdicts on the claims that are ``stated``; raises InputError where one is missing."""
    path = reading.DATA / "metrics" / "claims.json"
    again = "`dvc repro claims` makes it"
    if not path.exists():
        raise InputError(f"{path} does not exist: the claims have not been judged; {again}")
    judged = read_json(path)
    missing = [name for name in stated if not isinstance(judged, dict) or "verdict" not in judged.get(name, {})]
    if missing:
        raise InputError(f"{path} has no verdict on {', '.join(missing)}, which {claims.CLAIMS} states; {again}")
    return [_claim(claim, judged[name]) for name, claim in stated.items()]


def _claim(stated: claims.Claim, judged: Mapping[str, Any]) -> Claim:
    worked = stated.demonstration
    return Claim(
        items=[number for note in stated.notes for number in sorted(numbers([note]))],
        text=stated.english,
        chinese=stated.chinese,
        correction=stated.correction,
        verdict=judged["verdict"],
        found=_measured(stated.comparison, judged) if stated.comparison else worked.check or "" if worked else "",
        worked=worked.name if worked else None,
    )


def _measured(stated: claims.Comparison, judged: Mapping[str, Any]) -> str:
    """Say what was compared, and what came out."""
    figures = [{"mean": float(judged[side])} for side in ("figure", "than")]
    column = results_table.column(stated.metric, figures)
    figure, than = (column.write(side["mean"]) for side in figures)
    effect, low, high = (f"{judged[name]:+.{column.decimals}f}" for name in ("effect", "low", "high"))
    against = f"{stated.than} {than}" if isinstance(stated.than, str) else than
    if stated.than_metric:
        against += f" ({results_table.label(stated.than_metric)})"
    margin = f"; asked for: {stated.direction} by more than {stated.margin:g}" if stated.margin else ""
    sentence = (
        f"{column.heading[0].upper()}{column.heading[1:]}: {stated.experiment} {figure} against {against}; difference "
        f"{effect}, 95 % interval {low} to {high}, "
        f"p = {judged['p_adjusted']:.2g} among all claims{margin}."
    )
    return sentence.replace("-", "−")


def tally(found: Sequence[Claim]) -> str:
    """Say in a sentence how many claims hold."""
    counts = Counter(claim.verdict for claim in found)
    said = f"Of {len(found)} claims, {counts['holds']} hold and {counts['does not hold']} do not hold"
    return f"{said}; on {counts['undecided']} the data do not tell (undecided)."


def tell(
    wings: Sequence[Wing], examples: Sequence[Demonstration] = (), found: Sequence[Claim] = ()
) -> list[tuple[Chapter, list[Part]]]:
    """Put everything in the order of the notes.

    A worked example stands whole under one item: the one that names it, or else the first that it bears on.
    """
    homes = {key: item.number for chapter in chapters.CHAPTERS for item in chapter.items for key in item.examples}
    placed = [(example, homes.get(example.key, min(example.items))) for example in examples]
    results = {result.key: result for wing in wings for section in wing.sections for result in section.results.values()}
    ratios = [ratio for wing in wings for section in wing.sections for ratio in parameter_ratios(section)]
    return [
        (
            chapter,
            [
                Part(
                    item=item,
                    claims=[claim for claim in found if item.number == claim.items[0]],
                    demonstrations=[example for example, home in placed if home == item.number],
                    also=[example for example, home in placed if item.number in example.items and home != item.number],
                    elsewhere=[claim for claim in found if item.number in claim.items[1:]],
                    panels=_comparisons([results[key] for key in item.compare if key in results]),
                    sizes=[ratio for ratio in dict.fromkeys(ratios) if item.name in ratio] if item.sizes else [],
                    wings=[wing for wing in wings if wing.theme.item == item.number],
                )
                for item in chapter.items
            ],
        )
        for chapter in chapters.CHAPTERS
    ]


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
