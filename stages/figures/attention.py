"""Where attention pooling looks: the steps of a text, coloured by their weight."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

from jinja2 import Environment
from markupsafe import Markup

Record = Mapping[str, Any]

EACH = 3  # right and wrong examples
LONGEST = 90  # steps of an example that is shown
TARGETS = ("label", "answer", "target")
STYLE = """
.looked { line-height: 1.9; margin: 0.4rem 0; overflow-wrap: anywhere; }
.looked span {
  padding: 0.1rem 0.12rem; border-radius: 3px; background: color-mix(in srgb, var(--accent) var(--share), transparent);
}
.looked span.most { outline: 1px solid var(--accent); }
.weights { margin: 0.3rem 0 0; font-size: 0.82rem; color: var(--muted); }
"""
TEMPLATE = Environment(autoescape=True).from_string("""
<div class="examples">{% for example in examples %}
<article class="example" aria-label="Attention in example {{ example.id }}">
<p class="title {{ 'good' if example.right else 'bad' }}">{{ "✓" if example.right else "✗" }} {{ example.verdict }}</p>
<p class="looked"{% if example.chinese %} lang="zh"{% endif %}>{% for step, share, most, said in example.steps -%}
<span{% if most %} class="most"{% endif %} style="--share: {{ share }}%" title="{{ said }}">{{ step }}</span>
{{- example.gap }}{% endfor %}</p>
<p class="weights">most weight: {{ example.heaviest }}</p>
</article>{% endfor %}
</div>
""")


def fits(record: Record) -> bool:
    """Say whether ``record`` has one weight for each step of its text."""
    weights = record.get("attention")
    return (
        isinstance(weights, list)
        and len(weights) == len(record.get("steps") or [])
        and all(isinstance(weight, int | float) for weight in weights)
    )


def choose(records: Sequence[Record]) -> list[Record]:
    """Take the first right and the first wrong ones, in the order of a hash of their id, of those not too long."""
    order = sorted(records, key=lambda record: hashlib.sha256(str(record["id"]).encode()).digest())
    short = [record for record in order if 0 < len(record["steps"]) <= LONGEST]
    return [record for wanted in (True, False) for record in [r for r in short if _right(r) == wanted][:EACH]]


def draw(records: Sequence[Record]) -> Markup | None:
    """Write some test examples with their weights; None where no record has any."""
    chosen = choose(records) if records and all(map(fits, records)) else []
    return Markup(TEMPLATE.render(examples=[_example(record) for record in chosen])) if chosen else None


def _example(record: Record) -> dict[str, Any]:
    steps, weights = record["steps"], record["attention"]
    largest = max(weights)
    order = sorted(range(len(steps)), key=lambda place: -weights[place])[:3]
    told = [
        (step, round(55 * weight / largest) if largest else 0, place in order, f"{100 * weight:.1f} %")
        for place, (step, weight) in enumerate(zip(steps, weights, strict=True))
    ]
    sure = f", {100 * record['confidence']:.0f} % sure" if "confidence" in record else ""
    truth = (
        f"{record['prediction']}{sure}" if _right(record) else f"{record['prediction']}{sure}; it is {_target(record)}"
    )
    return {
        "id": record["id"],
        "right": _right(record),
        "verdict": truth,
        "chinese": any("\u4e00" <= letter <= "\u9fff" for step in steps for letter in step),
        "steps": told,
        "gap": " " if any(len(step) > 1 for step in steps) else "",
        "heaviest": ", ".join(f"“{steps[place]}” {100 * weights[place]:.0f} %" for place in order),
    }


def _target(record: Record) -> Any:
    return next(record[name] for name in TARGETS if name in record)


def _right(record: Record) -> bool:
    return bool(record["prediction"] == _target(record))
