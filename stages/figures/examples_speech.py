"""Worked examples of speech recognition: spoken digits, and what each experiment heard."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from jinja2 import Environment
from markupsafe import Markup
from rapidfuzz.distance import Levenshtein

Record = Mapping[str, Any]
Item = Mapping[str, Record]  # experiment to its record, all of one test example

VERDICTS = ("right", "wrong")
LEGEND = (
    "An output is aligned with the digits spoken at the least number of edits; underlined: another digit heard, or one "
    "that was not said; struck out in brackets: a digit that was said and not heard."
)
STYLE = """
.digits td { white-space: nowrap; }
.digits td:not(.verdict) { font-variant-numeric: tabular-nums; letter-spacing: 0.15em; }
"""
TEMPLATE = Environment(autoescape=True).from_string("""
<table class="digits"><tbody>
<tr><th scope="row">spoken</th><td>{{ digits | join(" ") }}</td><td></td></tr>{% for name, parts, edits in rows %}
<tr><th scope="row">{{ name }}</th><td>{% for kind, symbol in parts -%}
{% if kind == "delete" %}<del class="wrong">[{{ symbol }}]</del>
{%- elif kind == "equal" %}{{ symbol }}{% else %}<ins class="wrong">{{ symbol }}</ins>{% endif %} {% endfor -%}
</td><td class="verdict">{% if edits %}<span class="mark">✗</span> {{ edits }} wrong{% else %}✓{% endif %}</td></tr>
{%- endfor %}
</tbody></table>
""")


def fits(record: Record) -> bool:
    """Say whether ``record`` is of this kind: digits, spoken and recognised."""
    return "digits" in record


def right(record: Record) -> bool:
    """Say whether every digit was heard, and no other."""
    return bool(record["prediction"] == record["digits"])


def show(item: Item) -> Markup:
    """Write one recording's digits and each experiment's output, with its edits marked."""
    digits = [str(digit) for digit in next(iter(item.values()))["digits"]]
    rows = []
    for key, record in item.items():
        parts = _align(digits, [str(digit) for digit in record["prediction"]])
        rows.append((key, parts, sum(kind != "equal" for kind, _ in parts)))
    return Markup(TEMPLATE.render(digits=digits, rows=rows))


def _align(spoken: list[str], heard: list[str]) -> list[tuple[str, str]]:
    """Give ("equal" | "replace" | "insert", digit heard) or ("delete", digit spoken), in order."""
    parts: list[tuple[str, str]] = []
    for edit in Levenshtein.opcodes(spoken, heard):
        deleted = edit.tag == "delete"
        symbols = spoken[edit.src_start : edit.src_end] if deleted else heard[edit.dest_start : edit.dest_end]
        parts += [(edit.tag, symbol) for symbol in symbols]
    return parts
