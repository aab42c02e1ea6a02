"""Worked examples of reading comprehension: a story, a question, and each experiment's answer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from jinja2 import Environment
from markupsafe import Markup

Record = Mapping[str, Any]
Item = Mapping[str, Record]  # experiment to its record, all of one test example

VERDICTS = ("right", "wrong")
LEGEND = (
    "● marks the sentences that the answer rests on. A percentage beside a sentence is the attention that a hop of the "
    "experiment’s reading head gave it, for the experiments with the most hops; one beside an answer is the "
    "experiment’s confidence."
)
STYLE = """
.example:has(.story thead) { grid-column: 1 / -1; }
.story td { text-align: left; white-space: normal; }
.story td:nth-child(2) { min-width: 13rem; }
.story thead tr:first-child th { padding-bottom: 0; }
.story .fact td { font-weight: 600; }
.story td.weight {
  text-align: right; font-weight: 400; white-space: nowrap; font-variant-numeric: tabular-nums;
  background: color-mix(in srgb, var(--accent) var(--share), transparent);
}
.answers { margin-top: 0.5rem; }
"""
TEMPLATE = Environment(autoescape=True).from_string("""
<table class="story">
{% if hops %}<thead><tr><th scope="col" colspan="2" rowspan="2"><span class="unseen">sentence</span></th>
{%- for name, most in heads %}
<th scope="colgroup" colspan="{{ most }}">{% for part in name.split("_") -%}
{{ part }}{% if not loop.last %}_<wbr>{% endif %}{% endfor %}</th>{% endfor %}</tr>
<tr>{% for number, _ in hops %}<th scope="col">hop {{ number }}</th>{% endfor %}</tr></thead>{% endif %}
<tbody>{% for sentence in story %}{% set number = loop.index0 %}
<tr{% if number in supporting %} class="fact"{% endif %}><td>{% if number in supporting -%}
<span role="img" aria-label="supporting fact">●</span>{% endif %}</td>
<td>{{ sentence }}</td>{% for _, weights in hops -%}
<td class="weight" style="--share: {{ (60 * weights[number]) | round | int }}%">
{{- "%.0f" | format(100 * weights[number]) }}&thinsp;%</td>{% endfor %}</tr>{% endfor %}
</tbody></table>
<table class="answers stack"><tbody>
<tr><th scope="row">question</th><td>{{ question }}</td></tr>
<tr><th scope="row">true answer</th><td>{{ answer }}</td></tr>{% for name, prediction, confidence, equal in rows %}
<tr><th scope="row">{{ name }}</th><td>{{ prediction }}{% if confidence is not none -%}
<small>, {{ "%.0f" | format(100 * confidence) }}&thinsp;% sure</small>{% endif %}
{% if equal %}<span class="verdict">✓</span>{% else %}<span class="mark">✗</span>{% endif %}</td></tr>{% endfor %}
</tbody></table>
""")


def fits(record: Record) -> bool:
    """Say whether ``record`` is of this kind: a story with a question."""
    return "story" in record and "question" in record


def right(record: Record) -> bool:
    """Say whether the answer is the true one."""
    return bool(record["prediction"] == record["answer"])


def choose(items: Sequence[Item]) -> list[Item]:
    """Take the first right one of two kinds of question, then of each kind the first that an experiment got wrong."""
    perfect: dict[str, Item] = {}
    flawed: dict[str, Item] = {}
    for item in items:
        kind = next(iter(item.values())).get("kind", "")
        (perfect if all(map(right, item.values())) else flawed).setdefault(kind, item)
    return [perfect[kind] for kind in sorted(perfect)][:2] + [flawed[kind] for kind in sorted(flawed)]


def show(item: Item) -> Markup:
    """Write the story with its supporting facts, attention by hop where an experiment has it, and every answer."""
    example = next(iter(item.values()))
    looks = {key: record.get("attention") or [] for key, record in item.items()}
    most = max(map(len, looks.values()))
    fitting = {
        key: attention
        for key, attention in looks.items()
        if len(attention) == most and all(len(weights) == len(example["story"]) for weights in attention)
    }
    heads = [(key, most) for key in fitting] if most else []
    hops = [pair for attention in fitting.values() for pair in enumerate(attention, start=1)]
    rows = [(key, record["prediction"], record.get("confidence"), right(record)) for key, record in item.items()]
    shown = {name: example[name] for name in ("story", "question", "answer")}
    return Markup(
        TEMPLATE.render(supporting=set(example.get("supporting") or []), heads=heads, hops=hops, rows=rows, **shown)
    )
