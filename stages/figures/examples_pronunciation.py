"""Worked examples of pronunciation: a word, how it may be said, and what each experiment says."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from jinja2 import Environment
from markupsafe import Markup
from rapidfuzz.distance import Levenshtein

Record = Mapping[str, Any]
Item = Mapping[str, Record]  # experiment to its record, all of one test example

EXAMPLES = (3, 5)  # that every experiment got right, and that one or more got wrong
VERDICTS = ("right", "wrong")
MEASURE = "phoneme error rate of the word in percent, against the nearest pronunciation (lower is better)"
VALUE = "{:.0f} % of the phones wrong"
LEGEND = (
    "An output is aligned with the nearest pronunciation of the dictionary at the least number of edits; underlined: "
    "another phone, or one too many; struck out in brackets: a phone left out."
)
STYLE = """
.phones td { white-space: normal; word-spacing: 0.2em; }
.phones .verdict { word-spacing: normal; }
"""
TEMPLATE = Environment(autoescape=True).from_string("""
<table class="phones stack"><tbody>
<tr><th scope="row">word</th><td><strong>{{ word }}</strong></td></tr>
<tr><th scope="row">dictionary</th><td>{% for target in targets %}{{ target | join(" ") }}
{%- if not loop.last %}<br>{% endif %}{% endfor %}</td></tr>{% for name, parts, edits in rows %}
<tr><th scope="row">{{ name }}</th><td>{% for kind, phone in parts -%}
{% if kind == "delete" %}<del>[{{ phone }}]</del>{% elif kind == "equal" %}{{ phone }}{% else %}<ins>{{ phone }}</ins>
{%- endif %} {% else %}<em>(nothing)</em> {% endfor -%}
<span class="verdict">{% if edits %}<span class="mark">✗</span> {{ edits }} wrong{% else %}✓{% endif %}</span></td></tr>
{%- endfor %}
</tbody></table>
""")


def fits(record: Record) -> bool:
    """Say whether ``record`` is of this kind: a word, and one or more lists of phones."""
    targets = record.get("targets")
    return isinstance(record.get("source"), str) and isinstance(targets, list) and bool(targets)


def right(record: Record) -> bool:
    """Say whether the output is one of the word's pronunciations."""
    return record["prediction"] in record["targets"]


def measure(record: Record) -> float:
    """Give the phoneme error rate in percent, with its sign turned: the higher, the better."""
    nearest = _nearest(record)
    return -100 * Levenshtein.distance(nearest, record["prediction"]) / len(nearest)


def size(record: Record) -> int:
    """Give the number of letters."""
    return len(record["source"])


def show(item: Item) -> Markup:
    """Write one word, its pronunciations and each experiment's output, with its edits marked."""
    example = next(iter(item.values()))
    rows = []
    for key, record in item.items():
        parts = _align(_nearest(record), record["prediction"])
        rows.append((key, parts, sum(kind != "equal" for kind, _ in parts)))
    return Markup(TEMPLATE.render(word=example["source"], targets=example["targets"], rows=rows))


def _nearest(record: Record) -> list[str]:
    return min(record["targets"], key=lambda target: Levenshtein.distance(target, record["prediction"]))


def _align(target: list[str], output: list[str]) -> list[tuple[str, str]]:
    """Give ("equal" | "replace" | "insert", phone put out) or ("delete", phone left out), in order."""
    parts: list[tuple[str, str]] = []
    for edit in Levenshtein.opcodes(target, output):
        deleted = edit.tag == "delete"
        phones = target[edit.src_start : edit.src_end] if deleted else output[edit.dest_start : edit.dest_end]
        parts += [(edit.tag, phone) for phone in phones]
    return parts
