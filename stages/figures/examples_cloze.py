"""Worked examples of cloze questions: a sentence with a gap, the passage before it, and each experiment's answer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from jinja2 import Environment
from markupsafe import Markup

Record = Mapping[str, Any]
Item = Mapping[str, Record]  # experiment to its record, all of one test example

VERDICTS = ("right", "wrong")
EXAMPLES = (2, 4)
LEGEND = (
    "The passage ends with the sentence that has the gap ___; sentences without a candidate are left out. Candidates "
    "are marked where they are mentioned, the true answer in bold. The darker a mention, the more attention the first "
    "experiment with a memory gave it (point at it for the share); its answer is the candidate whose mentions got most."
)
STYLE = """
.example:has(.passage) { grid-column: 1 / -1; }
.passage p { margin: 0.2rem 0; overflow-wrap: anywhere; }
.passage .candidate {
  padding: 0.05rem 0.15rem; border-radius: 3px; border-bottom: 1px dotted var(--muted);
  background: color-mix(in srgb, var(--accent) var(--share), transparent);
}
.passage .gap { border-left: 3px solid var(--accent); padding-left: 0.5rem; }
"""
TEMPLATE = Environment(autoescape=True).from_string("""
<div class="passage">{% for sentence in story %}
<p>{% for token, share, said, answers in sentence %}{% if said is none %}{{ token }}{% else -%}
<span class="candidate" style="--share: {{ share }}%"{% if said %} title="{{ said }}"{% endif %}>
{%- if answers %}<b>{{ token }}</b>{% else %}{{ token }}{% endif %}</span>{% endif %} {% endfor %}</p>{% endfor %}
<p class="gap">{{ question }}</p>
</div>
<table class="answers stack"><tbody>
<tr><th scope="row">article</th><td>{{ article }}</td></tr>
<tr><th scope="row">candidates</th><td>{{ candidates }}</td></tr>
<tr><th scope="row">true answer</th><td>{{ answer }}</td></tr>{% for name, prediction, confidence, equal in rows %}
<tr><th scope="row">{{ name }}</th><td>{{ prediction }}{% if confidence is not none -%}
<small>, {{ "%.0f" | format(100 * confidence) }}&thinsp;% sure</small>{% endif %}
{% if equal %}<span class="verdict">✓</span>{% else %}<span class="mark">✗</span>{% endif %}</td></tr>{% endfor %}
</tbody></table>
""")


def fits(record: Record) -> bool:
    """Say whether ``record`` is of this kind: a passage of tokens, a sentence with a gap, and candidates for it."""
    return {"story", "question", "candidates", "answer"} <= record.keys()


def right(record: Record) -> bool:
    """Say whether the answer is the true one."""
    return bool(record["prediction"] == record["answer"])


def show(item: Item) -> Markup:
    """Write the passage with the attention of the first experiment that has any, and every answer."""
    example = next(iter(item.values()))
    looked: list[list[Any]] = next((record["looked"] for record in item.values() if "looked" in record), [])
    weights = {(sentence, token): weight for sentence, token, weight in looked}
    names = {candidate.lower() for candidate in example["candidates"]}
    story = [
        [
            _token(token, weights.get((number, place)), token.lower() in names, example)
            for place, token in enumerate(told)
        ]
        for number, told in enumerate(example["story"])
        if names & {token.lower() for token in told}
    ]
    rows = [(key, record["prediction"], record.get("confidence"), right(record)) for key, record in item.items()]
    return Markup(
        TEMPLATE.render(
            story=story,
            question=" ".join(example["question"]),
            article=example.get("article", ""),
            candidates=", ".join(example["candidates"]),
            answer=example["answer"],
            rows=rows,
        )
    )


def _token(token: str, weight: float | None, named: bool, example: Record) -> tuple[str, int, str | None, bool]:
    """Give a token, its darkness in percent, what it says (None: no candidate), and whether it is the answer."""
    said = (f"{100 * weight:.0f} %" if weight is not None else "") if named else None
    return token, round(60 * (weight or 0)), said, token.lower() == example["answer"].lower()
