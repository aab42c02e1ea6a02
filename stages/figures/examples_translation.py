"""Worked examples of translation: the source, a person's translation, and each experiment's."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from jinja2 import Environment
from markupsafe import Markup
from sacrebleu.metrics.chrf import CHRF

Record = Mapping[str, Any]
Item = Mapping[str, Record]  # experiment to its record, all of one test example

EXAMPLES = (3, 5)  # that every experiment got right, and that one or more got wrong
VERDICTS = ("equal to the reference", "other than the reference")
MEASURE = "chrF of the sentence (0 to 100)"
VALUE = "chrF {:.0f}"
LEGEND = (
    "✓ marks an output that equals the reference; another one may still be a good translation. Similarity (0 to 1) is "
    "that of the source to the nearest sentence of the training split."
)
STYLE = """
.translation td { white-space: normal; min-width: 12em; }
"""
TEMPLATE = Environment(autoescape=True).from_string("""
<table class="translation stack"><tbody>
<tr><th scope="row">source{% if similarity is not none %}<br>
<small>similarity {{ "%.2f" | format(similarity) }}</small>{% endif %}</th><td>{{ source }}</td></tr>
<tr><th scope="row">reference</th><td lang="zh">{{ target }}</td></tr>{% for name, output, equal in rows %}
<tr><th scope="row">{{ name }}</th><td><span lang="zh">{{ output }}</span>
{%- if not output %}<em>(nothing)</em>{% endif %}
{%- if equal %} <span class="verdict">✓</span>{% endif %}</td></tr>{% endfor %}
</tbody></table>
""")


def fits(record: Record) -> bool:
    """Say whether ``record`` is of this kind: text in two languages."""
    return isinstance(record.get("source"), str) and isinstance(record.get("target"), str)


def right(record: Record) -> bool:
    """Say whether the output equals the reference."""
    return bool(record["prediction"] == record["target"])


def measure(record: Record) -> float:
    """Give the sentence's chrF."""
    return float(CHRF().sentence_score(record["prediction"], [record["target"]]).score)


def size(record: Record) -> int:
    """Give the number of characters of the reference."""
    return len(record["target"])


def show(item: Item) -> Markup:
    """Write one sentence, its reference and each experiment's output."""
    example = next(iter(item.values()))
    rows = [(key, record["prediction"], right(record)) for key, record in item.items()]
    shown = {"source": example["source"], "target": example["target"], "similarity": example.get("similarity")}
    return Markup(TEMPLATE.render(rows=rows, **shown))
