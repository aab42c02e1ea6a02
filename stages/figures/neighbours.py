"""Which texts lie nearest to a text by the vectors of auto-encoders: a row an experiment."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

from jinja2 import Environment
from markupsafe import Markup

Record = Mapping[str, Any]

EXAMPLES, SHOWN = 5, 3
SHORTEST, LONGEST = 3, 14  # words of a text that is shown, where there is one
STYLE = """
.neighbours td { min-width: 11rem; overflow-wrap: anywhere; }
.neighbours .of th { background: var(--sunken); font-weight: 600; }
.neighbours tbody tr:not(.of) th { font-weight: 400; white-space: nowrap; color: var(--muted); }
.neighbours small { white-space: nowrap; }
"""
TEMPLATE = Environment(autoescape=True).from_string("""
<table class="neighbours stack"><caption class="unseen">Nearest texts by cosine of the vectors</caption>
{% for text, rows in lists %}<tbody>
<tr class="of"><th scope="rowgroup" colspan="{{ shown + 1 }}">{{ text }}</th></tr>{% for name, near in rows %}
<tr><th scope="row">{{ name }}</th>{% for neighbour, cosine in near -%}
<td>{{ neighbour }} <small>{{ "%.2f" | format(cosine) | replace("-", "−") }}</small></td>{% endfor %}</tr>{% endfor %}
</tbody>{% endfor %}</table>
""")


def fits(record: Record) -> bool:
    """Say whether ``record`` lists its neighbours: "text" and "cosine" of each, or these two as a pair."""
    return isinstance(record.get("neighbours"), list) and bool(record["neighbours"])


def nearest(record: Record) -> list[tuple[str, float]]:
    """Give text and cosine of the ``SHOWN`` nearest."""
    return [
        (near["text"], near["cosine"]) if isinstance(near, Mapping) else (near[0], near[1])
        for near in record["neighbours"][:SHOWN]
    ]


def text_of(record: Record) -> str:
    """Give the text of a record: its words, or the field that has it whole."""
    target = record.get("target")
    if isinstance(target, list) and all(isinstance(word, str) for word in target):
        return " ".join(target)
    return str(record.get("text") or record.get("source") or record["id"])


def choose(by_experiment: Mapping[str, Sequence[Record]]) -> list[str]:
    """Take the ids of some texts that all experiments have, in the order of a hash, neither very short nor long."""
    records = [{str(record["id"]): record for record in members} for members in by_experiment.values()]
    shared = set.intersection(*(set(members) for members in records))
    order = sorted(shared, key=lambda identity: hashlib.sha256(identity.encode()).digest())
    fit = [name for name in order if SHORTEST <= len(text_of(records[0][name]).split()) <= LONGEST]
    return (fit or order)[:EXAMPLES]


def draw(by_experiment: Mapping[str, Sequence[Record]]) -> Markup | None:
    """Write the ``SHOWN`` nearest of some texts under each experiment; None where no record has neighbours."""
    have = {key: [r for r in records if fits(r)] for key, records in by_experiment.items()}
    have = {key: records for key, records in have.items() if records}
    if not have:
        return None
    known = {key: {str(record["id"]): record for record in records} for key, records in have.items()}
    lists = [
        (
            text_of(next(iter(known.values()))[identity]),
            [(key, nearest(records[identity])) for key, records in known.items()],
        )
        for identity in choose(have)
    ]
    return Markup(TEMPLATE.render(lists=lists, shown=SHOWN)) if lists else None
