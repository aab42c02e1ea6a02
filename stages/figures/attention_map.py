"""Where a decoder looks as it writes the reference: its weights as a matrix, the reference down, the source across."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from jinja2 import Environment
from markupsafe import Markup

Trace = Mapping[str, Any]  # "source", "target": symbols; "weights": (target, source), each row's sum 1

LONGEST = 40  # symbols of either side that are shown
WRITTEN = 10  # percent from which a weight is written
STYLE = """
.looks { display: flex; flex-wrap: wrap; gap: 0 2.5rem; }
.looks figure { max-width: 100%; overflow-x: auto; }
.map { border-spacing: 0; }
.map th, .map td { padding: 0.1rem; font-size: 0.82rem; border-bottom: 0; line-height: 1.2; }
.map thead th { text-align: center; color: var(--ink); font-weight: 400; padding-bottom: 0.3rem; }
.map thead span.turned { writing-mode: vertical-rl; transform: rotate(180deg); white-space: nowrap; }
.map thead th:first-child { color: var(--muted); text-align: right; padding-right: 0.5rem; vertical-align: bottom; }
.map tbody th {
  position: sticky; left: 0; background: var(--page); text-align: right; white-space: nowrap; padding-right: 0.5rem;
  font-weight: 400;
}
.map td {
  min-width: 1.9rem; height: 1.6rem; text-align: center; vertical-align: middle; border: 1px solid var(--rule);
  font-size: 0.7rem; font-variant-numeric: tabular-nums;
  background: color-mix(in srgb, var(--accent) var(--share, 0%), transparent);
}
@media (max-width: 40rem) { .map td { min-width: 1.55rem; } }
"""
TEMPLATE = Environment(autoescape=True).from_string("""
<table class="map"><caption class="unseen">Attention weights in percent: a row a symbol put out, a column a symbol read
</caption>
<thead><tr><th scope="col">put out ↓ read →</th>{% for symbol in source -%}
<th scope="col"><span{% if turned %} class="turned"{% endif %}>{{ symbol }}</span></th>{% endfor %}</tr></thead>
<tbody>{% for symbol, cells in rows %}
<tr><th scope="row"{% if chinese %} lang="zh"{% endif %}>{{ symbol }}</th>{% for percent, share, said in cells -%}
<td{% if share %} style="--share: {{ share }}%"{% endif %} title="{{ said }}">{{ percent }}</td>
{%- endfor %}</tr>{% endfor %}
</tbody></table>
""")


def fits(trace: Trace) -> bool:
    """Say whether ``trace`` is of this kind and has a weight for each pair of symbols."""
    if trace.get("kind") != "attention":
        return False
    source, target, weights = (trace.get(part) or [] for part in ("source", "target", "weights"))
    return bool(source and target) and len(weights) == len(target) and all(len(row) == len(source) for row in weights)


def draw(trace: Trace) -> Markup:
    """Write the matrix; weights of at least ``WRITTEN`` percent are written, all show when one points at them."""
    source, target = trace["source"][:LONGEST], trace["target"][:LONGEST]
    rows = []
    for symbol, weights in zip(target, trace["weights"], strict=False):
        cells = []
        for place, weight in zip(source, weights, strict=False):
            percent = round(100 * weight)
            # Half the colour at most, so that what is written on it can be read in light and dark.
            cells.append(
                (percent if percent >= WRITTEN else "", round(60 * weight), f"{symbol} ← {place}: {percent} %")
            )
        rows.append((symbol, cells))
    return Markup(
        TEMPLATE.render(
            source=source,
            rows=rows,
            turned=any(len(symbol) > 2 for symbol in source),
            chinese=any("\u4e00" <= letter <= "\u9fff" for symbol in target for letter in symbol),
        )
    )
