"""How much of its attention each hop gives to the sentences that the answer rests on, by kind of question."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from jinja2 import Environment
from markupsafe import Markup

Record = Mapping[str, Any]
Records = Sequence[Record]

STYLE = """
.on-facts th, .facts td { padding: 0.25rem 0.5rem; font-size: 0.82rem; }
.on-facts thead th { text-align: right; }
.on-facts thead th:first-child { text-align: left; }
.on-facts td { text-align: right; font-variant-numeric: tabular-nums; border: 1px solid var(--page); }
.on-facts td.share { background: color-mix(in srgb, var(--accent) var(--share), transparent); }
.on-facts td.count { color: var(--muted); }
"""
TEMPLATE = Environment(autoescape=True).from_string("""
<table class="on-facts"><caption class="unseen">Attention on supporting facts in percent, by kind and hop</caption>
<thead><tr><th scope="col" rowspan="2">kind</th><th scope="col" rowspan="2">facts</th>
<th scope="col" rowspan="2">even attention</th>{% for name, hops in names -%}
<th scope="colgroup" colspan="{{ hops }}">{{ name }}</th>{% endfor %}</tr>
<tr>{% for _, hops in names %}{% for hop in range(hops) -%}
<th scope="col">hop {{ hop + 1 }}</th>{% endfor %}{% endfor %}</tr></thead>
<tbody>{% for kind, facts, even, shares in rows %}
<tr><th scope="row">{{ kind }}</th><td class="count">{{ "%.1f" | format(facts) }}</td>
<td class="count">{{ "%.0f" | format(even) }}</td>{% for share in shares -%}
<td class="share" style="--share: {{ (share * 0.6) | round | int }}%">{{ "%.0f" | format(share) }}</td>{% endfor %}</tr>
{%- endfor %}
</tbody></table>
""")


def fits(record: Record) -> bool:
    """Say whether ``record`` has its supporting facts, and weights of hops over the story's sentences."""
    attention, story = record.get("attention"), record.get("story")
    return (
        bool(record.get("supporting"))
        and isinstance(attention, list)
        and isinstance(story, list)
        and all(isinstance(hop, list) and len(hop) == len(story) for hop in attention)
    )


def shares(records: Records) -> dict[str, list[float]]:
    """Give, by kind, the mean share in percent of each hop's attention that lies on supporting facts."""
    by_kind: dict[str, list[list[float]]] = {}
    for record in records:
        on_facts = [sum(hop[fact] for fact in set(record["supporting"])) for hop in record["attention"]]
        by_kind.setdefault(str(record.get("kind", "")), []).append(on_facts)
    return {kind: [100 * sum(hop) / len(hop) for hop in zip(*by_kind[kind], strict=True)] for kind in sorted(by_kind)}


def draw(by_experiment: Mapping[str, Records]) -> Markup | None:
    """Write a table of kinds by experiments' hops; None where no experiment's records ``fits``.

    Beside them stand the mean number of supporting facts of a question, and their share of the story's sentences, which
    is what a reader that looks everywhere alike would give them.
    """
    told = {key: list(filter(fits, records)) for key, records in by_experiment.items()}
    told = {key: records for key, records in told.items() if records}
    if not told:
        return None
    found = {key: shares(records) for key, records in told.items()}
    first = next(iter(told.values()))
    rows = []
    for kind in next(iter(found.values())):
        mine = [record for record in first if str(record.get("kind", "")) == kind]
        counts = [len(set(record["supporting"])) for record in mine]
        even = [count / len(record["story"]) for count, record in zip(counts, mine, strict=True)]
        weights = [share for by_kind in found.values() for share in by_kind[kind]]
        rows.append((kind.replace("_", " "), sum(counts) / len(mine), 100 * sum(even) / len(mine), weights))
    names = [(key, len(next(iter(by_kind.values())))) for key, by_kind in found.items()]
    return Markup(TEMPLATE.render(names=names, rows=rows))
