"""Worked examples of speech recognition: what was said, and what each experiment heard."""

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
    "An output is aligned with the symbols spoken at the least number of edits; underlined: another symbol heard, or "
    "one that was not said; struck out in brackets: a symbol that was said and not heard."
)
STYLE = """
.spoken td { white-space: nowrap; }
.spoken td:not(.verdict) { font-variant-numeric: tabular-nums; letter-spacing: 0.15em; }
"""
TEMPLATE = Environment(autoescape=True).from_string("""
<table class="spoken"><tbody>
<tr><th scope="row">spoken</th><td>{{ symbols | join(" ") }}</td><td></td></tr>{% for name, parts, edits in rows %}
<tr><th scope="row">{{ name }}</th><td>{% for kind, symbol in parts -%}
{% if kind == "delete" %}<del class="wrong">[{{ symbol }}]</del>
{%- elif kind == "equal" %}{{ symbol }}{% else %}<ins class="wrong">{{ symbol }}</ins>{% endif %} {% endfor -%}
</td><td class="verdict">{% if edits %}<span class="mark">✗</span> {{ edits }} wrong{% else %}✓{% endif %}</td></tr>
{%- endfor %}
</tbody></table>
""")


def fits(record: Record) -> bool:
    """Say whether ``record`` is of this kind: symbols, spoken and recognised."""
    return "symbols" in record


def right(record: Record) -> bool:
    """Say whether every symbol was heard, and no other."""
    return bool(record["prediction"] == record["symbols"])


def show(item: Item) -> Markup:
    """Write one recording's symbols and each experiment's output, with its edits marked."""
    symbols = next(iter(item.values()))["symbols"]
    rows = []
    for key, record in item.items():
        parts = _align(symbols, record["prediction"])
        rows.append((key, parts, sum(kind != "equal" for kind, _ in parts)))
    return Markup(TEMPLATE.render(symbols=symbols, rows=rows))


def _align(spoken: list[str], heard: list[str]) -> list[tuple[str, str]]:
    """Give ("equal" | "replace" | "insert", symbol heard) or ("delete", symbol spoken), in order."""
    parts: list[tuple[str, str]] = []
    for edit in Levenshtein.opcodes(spoken, heard):
        deleted = edit.tag == "delete"
        symbols = spoken[edit.src_start : edit.src_end] if deleted else heard[edit.dest_start : edit.dest_end]
        parts += [(edit.tag, symbol) for symbol in symbols]
    return parts
