"""The other readings that a beam search of speech had in mind: n-best lists of some test examples."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping, Sequence
from typing import Any

from jinja2 import Environment
from markupsafe import Markup

Records = Sequence[Mapping[str, Any]]

EXAMPLES, SHOWN = 4, 5
STYLE = """
.readings td { font-variant-numeric: tabular-nums; }
.readings td.text { min-width: 8rem; }
.readings .said { font-weight: 600; }
"""
TEMPLATE = Environment(autoescape=True).from_string("""
<table class="readings"><caption class="unseen">Best readings of some test examples</caption>
<thead><tr><th scope="col">said</th><th scope="col">reading</th><th scope="col">score (nats)</th>
<th scope="col">share of those listed</th></tr></thead>
{% for said, readings in lists %}<tbody>{% for text, score, share in readings %}
<tr>{% if loop.first %}<th scope="rowgroup" rowspan="{{ readings | length }}">{{ said }}</th>{% endif -%}
<td class="text{{ ' said' if text == said }}">{{ text or "(nothing)" }}{{ " ✓" if text == said }}</td>
<td>{{ "%.2f" | format(score) }}</td><td>{{ "%.1f" | format(100 * share) }} %</td></tr>{% endfor %}
</tbody>{% endfor %}</table>
""")


def score(reading: Mapping[str, Any]) -> float:
    """Give what the search ordered its readings by, in nats; the part of a language model or hot words is in it."""
    return float(reading.get("score", reading["log_probability"]))


def choose(records: Records) -> list[Mapping[str, Any]]:
    """Take the ``EXAMPLES`` examples whose two best readings are nearest to each other, ties by a hash of their id."""
    found = [record for record in records if len(record.get("n_best", [])) > 1]

    def nearness(record: Mapping[str, Any]) -> tuple[float, bytes]:
        first, second, *_ = map(score, record["n_best"])
        return first - second, hashlib.sha256(str(record["id"]).encode()).digest()

    return sorted(found, key=nearness)[:EXAMPLES]


def draw(records: Records, separator: str) -> Markup | None:
    """Write the readings of the chosen examples, the best first; None where no record has a list of them."""
    chosen = choose(records)
    if not chosen:
        return None
    lists = []
    for record in chosen:
        shown = record["n_best"][:SHOWN]
        weights = [math.exp(score(reading) - score(shown[0])) for reading in shown]
        readings = [
            (separator.join(reading["symbols"]), score(reading), weight / sum(weights))
            for reading, weight in zip(shown, weights, strict=True)
        ]
        lists.append((separator.join(record["symbols"]), readings))
    return Markup(TEMPLATE.render(lists=lists))
