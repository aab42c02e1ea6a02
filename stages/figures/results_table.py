"""A table of metrics: a row an experiment, a column a metric, every figure as mean ± standard deviation over seeds."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

Metrics = Mapping[str, Mapping[str, float]]  # metric to {"mean", "std", "seed_1", ...}

NAMES = {"bayes": "Bayes", "f1": "F1", "bleu": "BLEU", "chrf": "chrF"}
POINTS = ("bleu", "chrf")  # 0 to 100, but no share of anything
LOWER_IS_BETTER = {  # by words in a metric's name: "accuracy" is that of "token_accuracy" and "accuracy_one_fact" too
    "accuracy": False,
    "attachment": False,
    "bits": True,
    "bleu": False,
    "boundaries_within": False,
    "chrf": False,
    "doubled_right": False,
    "error": True,
    "exact_match": False,
    "excess": True,
    "f1": False,
    "failed_kinds": True,
    "malformed_rate": True,
    "precision": False,
    "recall": False,
}
LARGE = 100.0  # a figure from which on more than one decimal says nothing
MILLISECONDS = "_error_ms"  # how the name of a metric ends that is a time


@dataclass(frozen=True)
class Column:
    """A metric: its name in the metric files, how it is called and counted, and to how many decimals it is written.

    ``unit`` is "%" for rates, "ms" for times, and empty where the label already says what is counted.
    """

    metric: str
    label: str
    unit: str
    lower_is_better: bool
    decimals: int

    @property
    def heading(self) -> str:
        """The label with its unit."""
        return f"{self.label} ({self.unit})" if self.unit else self.label

    @property
    def better(self) -> str:
        """Which way is better, in words."""
        return "lower is better" if self.lower_is_better else "higher is better"

    def write(self, value: float, beside: float = 0.0) -> str:
        """Write a figure of this column, with one decimal where it, or the figure ``beside`` it, is 100 or more."""
        large = max(abs(value), abs(beside)) >= LARGE
        return f"{value:.{min(self.decimals, 1) if large else self.decimals}f}"

    def spread(self, values: Mapping[str, float]) -> str:
        """Write mean ± standard deviation."""
        return f"{self.write(values['mean'])} ± {self.write(values['std'], values['mean'])}"

    def best(self, rows: Sequence[Metrics]) -> float | None:
        """Give the best mean, or None where there are not two that differ."""
        means = [row[self.metric]["mean"] for row in rows if self.metric in row]
        if len(set(means)) < 2:
            return None
        return min(means) if self.lower_is_better else max(means)


def lower_is_better(metric: str) -> bool | None:
    """Say whether lower figures of ``metric`` are better; None where ``LOWER_IS_BETTER`` does not tell."""
    known = {lower for words, lower in LOWER_IS_BETTER.items() if f"_{words}_" in f"_{metric}_"}
    return known.pop() if len(known) == 1 else None


def columns(rows: Sequence[Metrics]) -> list[Column]:
    """Give a column for each metric that a row has, in the order in which they come up."""
    names = list(dict.fromkeys(name for row in rows for name in row))
    return [column(name, [row[name] for row in rows if name in row], names) for name in names]


def column(metric: str, values: Sequence[Mapping[str, float]], among: Sequence[str] = ()) -> Column:
    """Describe ``metric``, whose figures are ``values``; ``among`` are the metrics that stand beside it."""
    counted = {"bits", "failed"} & set(metric.split("_")) or any(name in metric.split("_") for name in POINTS)
    most = 3 if counted else 2
    unit = "ms" if metric.endswith(MILLISECONDS) else "" if counted else "%"
    return Column(
        metric,
        label(metric.removesuffix("_ms") if unit == "ms" else metric, among),
        unit,
        lower_is_better(metric) or False,
        _decimals(values, most),
    )


def label(metric: str, among: Sequence[str] = ()) -> str:
    """Write a metric's name as words: "span F1", "bit error rate at 120", or "accuracy: one fact" beside "accuracy"."""
    bases = [base for base in among if metric.startswith(f"{base}_")]
    if bases:
        base = max(bases, key=len)
        return f"{label(base)}: {_words(metric.removeprefix(base).split('_'))}"
    *words, last = metric.split("_")
    if words and last.isdigit() and words[-1] not in ("at", "to"):
        words.append("at")
    return _words([*words, last])


def chosen(rows: Sequence[Metrics], most: int) -> list[Column]:
    """Choose ``most`` columns: the first metric of each row, then those that most rows have, in the table's order."""
    every = columns(rows)
    first = {next(iter(row)) for row in rows}
    rank = {c.metric: (c.metric not in first, -sum(c.metric in row for row in rows), p) for p, c in enumerate(every)}
    kept = set(sorted(rank, key=lambda metric: rank[metric])[:most])
    return [column for column in every if column.metric in kept]


def markdown(
    titles: Mapping[str, str], rows: Mapping[str, Metrics], parameters: Mapping[str, tuple[int, int]], most: int
) -> str:
    """Write the table as Markdown with at most ``most`` metrics, all by the experiment's key.

    ``parameters`` are those of all and of the model.
    """
    heads = chosen(list(rows.values()), most)
    arrows = [f"{head.heading} {'↓' if head.lower_is_better else '↑'}" for head in heads]
    lines = [["Experiment", "Model", *arrows, "Parameters", "of the model"]]
    lines.append(["---", "---", *["---:"] * (len(heads) + 2)])
    for key, row in rows.items():
        counts = [f"{count:,}" for count in parameters[key]]
        lines.append([f"`{key}`", titles[key], *(_cell(head, row, rows) for head in heads), *counts])
    return "\n".join(f"| {' | '.join(_plain(cell) for cell in line)} |" for line in lines) + "\n"


def _cell(head: Column, row: Metrics, rows: Mapping[str, Metrics]) -> str:
    if head.metric not in row:
        return "–"
    text = head.spread(row[head.metric])
    return f"**{text}**" if row[head.metric]["mean"] == head.best(list(rows.values())) else text


def _plain(text: str) -> str:
    """Keep ``text`` from being read as Markdown's cell ends or as HTML."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace("|", "\\|").replace("\n", " ")


def _words(words: Sequence[str]) -> str:
    return " ".join(NAMES.get(word, word) for word in words if word)


def _decimals(values: Sequence[Mapping[str, float]], most: int) -> int:
    """Give 1 to ``most`` decimals, as many as the smallest mean needs for two significant digits."""
    means = [abs(value["mean"]) for value in values if value["mean"]]
    return min(most, max(1, 1 - math.floor(math.log10(min(means))))) if means else 1
