"""Worked examples of sentiment: a text, its class, and each experiment's class with its confidence."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from jinja2 import Environment
from markupsafe import Markup

Record = Mapping[str, Any]
Item = Mapping[str, Record]  # experiment to its record, all of one test example

VERDICTS = ("right", "wrong")
LONGEST = 400  # characters of a text that are shown
LEGEND = "The percentage is the experiment’s confidence in its answer."
STYLE = """
.sentiment td { white-space: normal; overflow-wrap: anywhere; }
.judged { margin: 0.4rem 0 0; overflow-wrap: anywhere; }
"""
TEMPLATE = Environment(autoescape=True).from_string("""
<p class="judged"{% if chinese %} lang="zh"{% endif %}>{{ text }}</p>
<table class="sentiment"><tbody>
<tr><th scope="row">label{% if rating is not none %} (mean rating){% endif %}</th><td>{{ label }}
{%- if rating is not none %} ({{ "%+.1f" | format(rating) | replace("-", "−") }}){% endif %}</td></tr>
{%- for name, prediction, confidence, equal in rows %}
<tr><th scope="row">{{ name }}</th><td>{{ prediction }}{% if confidence is not none -%}
<small>, {{ "%.0f" | format(100 * confidence) }}&thinsp;% sure</small>{% endif %}
{% if equal %}<span class="verdict">✓</span>{% else %}<span class="mark">✗</span>{% endif %}</td></tr>{% endfor %}
</tbody></table>
""")


def fits(record: Record) -> bool:
    """Say whether ``record`` is of this kind: a text with a label."""
    return isinstance(record.get("text"), str) and "label" in record


def right(record: Record) -> bool:
    """Say whether the label is the true one."""
    return bool(record["prediction"] == record["label"])


def show(item: Item) -> Markup:
    """Write one text, its label and each experiment's answer."""
    example = next(iter(item.values()))
    text = example["text"]
    rows = [(key, record["prediction"], record.get("confidence"), right(record)) for key, record in item.items()]
    return Markup(
        TEMPLATE.render(
            text=text if len(text) <= LONGEST else f"{text[:LONGEST]}…",
            chinese=any("\u4e00" <= letter <= "\u9fff" for letter in text),
            label=example["label"],
            rating=example.get("rating"),
            rows=rows,
        )
    )
