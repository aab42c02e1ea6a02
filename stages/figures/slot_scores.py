"""F1 of each slot under several experiments side by side, and what reading both ways adds to it."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from jinja2 import Environment
from markupsafe import Markup
from seqeval.metrics.sequence_labeling import get_entities

Records = Sequence[Mapping[str, Any]]

FEWEST = 5  # spans in the test data that a slot must have to be shown
MOST = 24  # slots
CAPITAL = re.compile(r"(?<=[a-z])(?=[A-Z])")
STYLE = """
.heat th, .heat td { padding: 0.3rem 0.5rem; font-size: 0.82rem; }
.heat thead th { text-align: right; max-width: 7.5rem; }
.heat thead th:first-child { text-align: left; }
.heat td { text-align: right; font-variant-numeric: tabular-nums; }
.heat .score { background: color-mix(in srgb, var(--accent) var(--share), transparent); border: 1px solid var(--page); }
.heat .count { color: var(--muted); }
.heat .gain { font-weight: 600; white-space: nowrap; }
"""
TEMPLATE = Environment(autoescape=True).from_string("""
<table class="heat"><caption class="unseen">F1 of each slot in percent, by experiment</caption>
<thead><tr><th scope="col">slot</th><th scope="col">spans</th>{% for name in names -%}
<th scope="col">{% for part in name.split("_") %}{{ part }}{% if not loop.last %}_<wbr>{% endif %}{% endfor %}</th>
{%- endfor %}{% if pair %}<th scope="col">reading both ways adds</th>{% endif %}</tr></thead>
<tbody>{% for slot, spans, scores, gain in rows %}
<tr><th scope="row">{{ slot }}</th><td class="count">{{ spans }}</td>{% for score in scores -%}
<td class="score" style="--share: {{ (score * score / 200) | round | int }}%">{{ "%.0f" | format(score) }}</td>
{%- endfor %}{% if pair %}<td class="gain">{{ "%+.0f" | format(gain) | replace("-", "−") }}</td>{% endif %}</tr>
{%- endfor %}
</tbody></table>
""")


def scores(records: Records) -> dict[str, tuple[float, int]]:
    """Give each slot's F1 in percent and its number of true spans; a span counts if ends and slot are right."""
    true, guessed, hits = Counter[str](), Counter[str](), Counter[str]()
    for record in records:
        spans, found = (set(get_entities(list(record[field]))) for field in ("tags", "prediction"))
        for counter, those in ((true, spans), (guessed, found), (hits, spans & found)):
            counter.update(slot for slot, _, _ in those)
    return {slot: (200 * hits[slot] / (true[slot] + guessed[slot]), true[slot]) for slot in sorted(true)}


def shown_slots(by_experiment: Mapping[str, Records]) -> list[str]:
    """Give the slots of the test data that are frequent enough to be compared, the most frequent first."""
    first = scores(next(iter(by_experiment.values())))
    frequent = [slot for slot, (_, spans) in first.items() if spans >= FEWEST]
    return sorted(frequent, key=lambda slot: (-first[slot][1], slot))[:MOST]


def gains(by_experiment: Mapping[str, Records], pair: tuple[str, str]) -> dict[str, float]:
    """Give by how many points each shown slot's F1 is higher under the second of ``pair``, the largest gain first."""
    before, after = (scores(by_experiment[key]) for key in pair)
    found = {slot: after[slot][0] - before[slot][0] for slot in shown_slots(by_experiment)}
    return dict(sorted(found.items(), key=lambda item: -item[1]))


def draw(by_experiment: Mapping[str, Records], pair: tuple[str, str] | None) -> Markup | None:
    """Write a table of slots by experiments; None where there are not two slots to compare.

    ``pair`` names a network that reads forward only and one of its kind that reads both ways: slots then stand by what
    the second gains, else by their number.
    """
    slots = shown_slots(by_experiment)
    if len(slots) < 2:
        return None
    gained = gains(by_experiment, pair) if pair else dict.fromkeys(slots, 0.0)
    told = {key: scores(records) for key, records in by_experiment.items()}
    spans = next(iter(told.values()))
    rows = [
        (_breakable(slot), spans[slot][1], [each[slot][0] for each in told.values()], gain)
        for slot, gain in gained.items()
    ]
    return Markup(TEMPLATE.render(names=list(told), rows=rows, pair=pair))


def _breakable(slot: str) -> Markup:
    """Let a slot's name break between its words where a column is narrow."""
    return Markup("<wbr>").join(CAPITAL.split(slot))
