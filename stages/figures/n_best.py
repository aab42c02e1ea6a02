"""The other outputs that a beam search had in mind, of speech or of a source: n-best lists of some test examples."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping, Sequence
from typing import Any

from jinja2 import Environment
from markupsafe import Markup

Records = Sequence[Mapping[str, Any]]

EXAMPLES, SHOWN = 4, 5
LONGEST = 40  # symbols of an output that is listed
STYLE = """
.readings td { font-variant-numeric: tabular-nums; }
.readings td.text { min-width: 8rem; }
.readings .said { font-weight: 600; }
"""
TEMPLATE = Environment(autoescape=True).from_string("""
<table class="readings"><caption class="unseen">Best readings of some test examples</caption>
<thead><tr><th scope="col">{{ given }}</th><th scope="col">{{ found }}</th><th scope="col">score (nats)</th>
<th scope="col">share of those listed</th></tr></thead>
{% for said, readings in lists %}<tbody>{% for text, right, score, share in readings %}
<tr>{% if loop.first %}<th scope="rowgroup" rowspan="{{ readings | length }}">{{ said }}</th>{% endif -%}
<td class="text{{ ' said' if right }}">{{ text or "(nothing)" }}{{ " ✓" if right }}</td>
<td>{{ ("%.2f" | format(score)).replace("-", "−") }}</td><td>{{ "%.1f" | format(100 * share) }} %</td></tr>{% endfor %}
</tbody>{% endfor %}</table>
""")


def score(reading: Mapping[str, Any]) -> float:
    """Give what the search ordered its readings by, in nats; the part of a language model or hot words is in it."""
    return float(reading.get("score", reading["log_probability"]))


def choose(records: Records) -> list[Mapping[str, Any]]:
    """Take the ``EXAMPLES`` examples whose two best readings are nearest to each other, ties by a hash of their id.

    Those whose best reading is longer than ``LONGEST`` symbols are left out.
    """
    several = [record for record in records if len(record.get("n_best", [])) > 1]
    found = [record for record in several if len(_output(record["n_best"][0])) <= LONGEST]

    def nearness(record: Mapping[str, Any]) -> tuple[float, bytes]:
        first, second, *_ = map(score, record["n_best"])
        return first - second, hashlib.sha256(str(record["id"]).encode()).digest()

    return sorted(found, key=nearness)[:EXAMPLES]


def draw(records: Records, separator: str) -> Markup | None:
    """Write the readings of the chosen examples, the best first; None where no record has a list of them.

    ``separator`` stands between symbols. The shares are those of the scores, or, where a source was given, those of the
    log-probabilities, since a search may then order by another measure that weighs length.
    """
    chosen = choose(records)
    if not chosen:
        return None
    lists = []
    for record in chosen:
        shown = record["n_best"][:SHOWN]
        logarithms = [reading["log_probability"] if "source" in record else score(reading) for reading in shown]
        weights = [math.exp(value - max(logarithms)) for value in logarithms]
        readings = [
            (_text(_output(reading), separator), _output(reading) in _references(record), score(reading), weight)
            for reading, weight in zip(shown, (weight / sum(weights) for weight in weights), strict=True)
        ]
        lists.append((_text(record.get("source", record.get("symbols")), separator), readings))
    given, found = ("source", "output") if "source" in chosen[0] else ("said", "reading")
    return Markup(TEMPLATE.render(lists=lists, given=given, found=found))


def _output(reading: Mapping[str, Any]) -> Any:
    return reading["prediction"] if "prediction" in reading else reading["symbols"]


def _references(record: Mapping[str, Any]) -> list[Any]:
    """Give all outputs that are right."""
    return list(record.get("targets") or [record["target"] if "target" in record else record["symbols"]])


def _text(symbols: Any, separator: str) -> str:
    return symbols if isinstance(symbols, str) else separator.join(symbols)
