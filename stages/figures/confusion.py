"""Which slots are taken for which: a row a true slot, a column a predicted one, counted in tokens."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from jinja2 import Environment
from markupsafe import Markup

MOST = 10  # slots
OUTSIDE = "no slot"
CAPITAL = re.compile(r"(?<=[a-z])(?=[A-Z])")  # where a name may break
STYLE = """
.matrix th, .matrix td { padding: 0.3rem 0.5rem; font-size: 0.82rem; border-bottom: 0; }
.matrix thead th { text-align: center; }
.matrix thead th span.turned { writing-mode: vertical-rl; transform: rotate(180deg); white-space: nowrap; }
.matrix td {
  text-align: right; font-variant-numeric: tabular-nums; min-width: 2.9rem; border: 1px solid var(--rule);
  background: color-mix(in srgb, var(--shade, transparent) var(--share, 0%), transparent);
}
.matrix .right { --shade: var(--accent); font-weight: 600; }
.matrix .confused { --shade: var(--bad); }
.matrix .sum { border-color: transparent; color: var(--muted); }
"""
TEMPLATE = Environment(autoescape=True).from_string("""
<table class="matrix"><caption class="unseen">Tokens by true slot (row) and predicted slot (column)</caption>
<thead><tr><th scope="col">true ↓ predicted →</th>{% for kind in kinds -%}
<th scope="col"><span class="turned">{{ kind }}</span></th>{% endfor -%}
<th scope="col"><span class="turned">another slot</span></th><th scope="col"><span class="turned">all tokens</span></th>
</tr></thead>
<tbody>{% for kind, cells, all in rows %}
<tr><th scope="row">{{ kind }}</th>{% for count, role, share, said in cells -%}
<td{% if count %} class="{{ role }}" style="--share: {{ share }}%" title="{{ said }}"{% endif %}>{{ count or "" }}</td>
{%- endfor %}<td class="sum">{{ all }}</td></tr>{% endfor %}
</tbody></table>
""")


def count(records: Sequence[Mapping[str, Any]]) -> Counter[tuple[str, str]]:
    """Count the tokens of each (true slot, predicted slot); B- and I- of a slot are the same here."""
    return Counter(
        (_slot(true), _slot(guess))
        for record in records
        for true, guess in zip(record["tags"], record["prediction"], strict=True)
    )


def confused(counts: Mapping[tuple[str, str], int]) -> list[str]:
    """Give the ``MOST`` slots (or classes) that are confused most often, the most frequent first."""
    mistaken: Counter[str] = Counter()
    for (true, guess), tokens in counts.items():
        if true != guess:
            mistaken.update({true: tokens, guess: tokens})
    totals = _totals(counts)
    chosen = sorted(mistaken, key=lambda slot: (-mistaken[slot], slot))[:MOST]
    return sorted(chosen, key=lambda slot: (-totals[slot], slot))


def _totals(counts: Mapping[tuple[str, str], int]) -> Counter[str]:
    totals: Counter[str] = Counter()
    for (true, _), tokens in counts.items():
        totals[true] += tokens
    return totals


def draw(records: Sequence[Mapping[str, Any]]) -> Markup | None:
    """Show the ``MOST`` slots that are confused most often, in the order of their tokens; None where none is."""
    counts = count(records)
    kinds = confused(counts)
    if not kinds:
        return None
    totals = _totals(counts)
    rows = []
    for true in kinds:
        shown = [counts[true, guess] for guess in kinds]
        cells = [_cell(true, guess, counts[true, guess], totals[true]) for guess in kinds]
        cells.append(_cell(true, "another slot", totals[true] - sum(shown), totals[true]))
        rows.append((Markup("<wbr>").join(CAPITAL.split(true)), cells, totals[true]))
    return Markup(TEMPLATE.render(kinds=kinds, rows=rows))


def _cell(true: str, guess: str, tokens: int, total: int) -> tuple[int, str, int, str]:
    """Give count, role, depth of colour in percent, and what is said of it."""
    share = tokens / total if total else 0.0
    said = f"{tokens} of {total} tokens of {true} taken for {guess} ({100 * share:.0f} %)"
    return tokens, "right" if true == guess else "confused", round(50 * share**0.5), said


def _slot(tag: str) -> str:
    return OUTSIDE if tag == "O" else tag[2:]
