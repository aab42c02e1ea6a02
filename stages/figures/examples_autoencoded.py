"""Worked examples of a text auto-encoder: a text, and what each experiment makes of the text's vector."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from jinja2 import Environment
from markupsafe import Markup
from rapidfuzz.distance import Levenshtein

Record = Mapping[str, Any]
Item = Mapping[str, Record]  # experiment to its record, all of one test example

EXAMPLES = (3, 5)  # that every experiment got right, and that one or more got wrong
VERDICTS = ("word for word", "not word for word")
MEASURE = "words of the text less the edits needed, in percent of the words (100: word for word; never below 0)"
VALUE = "{:.0f} % of the words"
LEGEND = (
    "An output is aligned with the text at the least number of edits; underlined: another word, or one too many; "
    "struck out in brackets: a word left out."
)
STYLE = """
.rebuilt td { white-space: normal; overflow-wrap: anywhere; min-width: 12em; }
"""
TEMPLATE = Environment(autoescape=True).from_string("""
<table class="rebuilt stack"><tbody>
<tr><th scope="row">text</th><td>{{ target | join(" ") }}</td></tr>{% for name, parts, edits in rows %}
<tr><th scope="row">{{ name }}</th><td>{% for kind, word in parts -%}
{% if kind == "delete" %}<del>[{{ word }}]</del>{% elif kind == "equal" %}{{ word }}{% else %}<ins>{{ word }}</ins>
{%- endif %} {% else %}<em>(nothing)</em> {% endfor -%}
<span class="verdict">{% if edits %}<span class="mark">✗</span> {{ edits }} wrong{% else %}✓{% endif %}</span></td></tr>
{%- endfor %}
</tbody></table>
""")


def fits(record: Record) -> bool:
    """Say whether ``record`` is of this kind: words, the same words put out again, and a vector between them."""
    words = (record.get("target"), record.get("prediction"))
    return all(isinstance(part, list) for part in words) and bool({"vector", "neighbours"} & set(record))


def right(record: Record) -> bool:
    """Say whether every word came back in its place."""
    return bool(record["prediction"] == record["target"])


def measure(record: Record) -> float:
    """Give the words less the edits needed to mend the output, in percent of the words."""
    edits = Levenshtein.distance(record["target"], record["prediction"])
    return 100 * max(0.0, 1 - edits / max(len(record["target"]), 1))


def size(record: Record) -> int:
    """Give the number of words."""
    return len(record["target"])


def show(item: Item) -> Markup:
    """Write one text and each experiment's output, with its edits marked."""
    target = next(iter(item.values()))["target"]
    rows = []
    for key, record in item.items():
        parts = _align(target, record["prediction"])
        rows.append((key, parts, sum(kind != "equal" for kind, _ in parts)))
    return Markup(TEMPLATE.render(target=target, rows=rows))


def _align(target: list[str], output: list[str]) -> list[tuple[str, str]]:
    """Give ("equal" | "replace" | "insert", word put out) or ("delete", word left out), in order."""
    parts: list[tuple[str, str]] = []
    for edit in Levenshtein.opcodes(target, output):
        deleted = edit.tag == "delete"
        words = target[edit.src_start : edit.src_end] if deleted else output[edit.dest_start : edit.dest_end]
        parts += [(edit.tag, word) for word in words]
    return parts
