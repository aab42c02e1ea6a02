"""The best and the worst outputs of each experiment, by a measure of single examples."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from types import ModuleType
from typing import Any

from jinja2 import Environment
from markupsafe import Markup

Record = Mapping[str, Any]

EACH = 3  # best and worst examples of an experiment
STYLE = """
.extremes { margin: 0.4rem 0; }
.extremes summary { cursor: pointer; padding: 0.2rem 0; }
.extremes > .title { margin-top: 0.6rem; }
"""
TEMPLATE = Environment(autoescape=True).from_string("""
{% for name, parts in experiments %}<details class="extremes"{% if loop.first %} open{% endif %}>
<summary>{{ name }}</summary>{% for kind, role, shown in parts %}
<p class="title {{ role }}">{{ kind }}</p>
<div class="examples">{% for identity, value, body in shown %}
<article class="example" aria-label="{{ kind }} of {{ name }}: {{ identity }}">
<p class="title">{{ value }}</p>
<div class="scroll" tabindex="0" role="region" aria-label="{{ name }}, {{ identity }}">{{ body }}</div>
</article>{% endfor %}</div>{% endfor %}
</details>{% endfor %}
""")


def fits(kind: ModuleType) -> bool:
    """Say whether the ``kind`` of worked examples has a measure of single examples."""
    return hasattr(kind, "MEASURE")


def choose(records: Sequence[Record], kind: ModuleType) -> tuple[list[Record], list[Record]]:
    """Take the ``EACH`` best and worst by ``kind.measure``, of equal ones the longest, then by a hash of the id.

    None is both, where there are fewer than twice as many or all are equal.
    """

    def tie(record: Record) -> tuple[int, bytes]:
        return -kind.size(record), hashlib.sha256(str(record["id"]).encode()).digest()

    values = [(kind.measure(record), tie(record), record) for record in records]
    ranked = sorted(values, key=lambda row: (-row[0], row[1]))
    count = min(EACH, (len(values) + 1) // 2)
    best, others = ranked[:count], ranked[count:]
    worst = sorted(others, key=lambda row: (row[0], row[1]))[: min(EACH, len(values) // 2)]
    return [record for _, _, record in best], [record for _, _, record in worst]


def draw(by_experiment: Mapping[str, Sequence[Record]], kind: ModuleType) -> Markup:
    """Write best and worst examples of each experiment as ``kind.show`` does, those of the first unfolded."""
    experiments = []
    for key, records in by_experiment.items():
        best, worst = choose(records, kind)
        parts = []
        for name, role, chosen in (("Best", "good", best), ("Worst", "bad", worst)):
            shown = [(str(r["id"]), kind.VALUE.format(abs(kind.measure(r))), kind.show({key: r})) for r in chosen]
            parts.append((name, role, shown))
        experiments.append((key, parts))
    return Markup(TEMPLATE.render(experiments=experiments))
