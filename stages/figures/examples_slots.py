"""Worked examples of slot filling: the words, their true slots, and each experiment's slots under them."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from jinja2 import Environment
from markupsafe import Markup
from seqeval.metrics.sequence_labeling import get_entities

Record = Mapping[str, Any]
Item = Mapping[str, Record]  # experiment to its record, all of one test example

VERDICTS = ("right", "wrong")
LONGEST = 18  # words of an example that is shown
LEGEND = (
    f"They have at most {LONGEST} words. A coloured cell is a slot over its words, – a word in no slot; ✗ marks what "
    "differs from the true slots."
)
STYLE = """
.example:has(.slots) { grid-column: 1 / -1; }
.slots th, .slots td { padding: 0.3rem 0.45rem; font-size: 0.82rem; }
.slots td { text-align: center; }
.slots .span { background: hsl(var(--hue) var(--tint)); }
.slots .none { color: var(--muted); }
.slots .wrong { box-shadow: inset 0 0 0 2px var(--bad); }
"""
TEMPLATE = Environment(autoescape=True).from_string("""
<table class="slots">
<thead><tr><th scope="col">words</th>{% for token in tokens %}<th scope="col">{{ token }}</th>{% endfor %}</tr></thead>
<tbody>{% for name, cells in rows %}
<tr><th scope="row">{{ name }}</th>{% for cell in cells -%}
<td colspan="{{ cell.width }}" class="{{ 'span' if cell.slot else 'none' }}{{ ' wrong' if cell.wrong }}"
{%- if cell.slot %} style="--hue: {{ cell.hue }}"{% endif %}>
{%- if cell.wrong %}<span class="mark">✗</span> {% endif %}{{ cell.slot or "–" }}</td>{% endfor %}</tr>{% endfor %}
</tbody></table>
""")


@dataclass(frozen=True)
class Cell:
    """A slot over ``width`` words, or a word in no slot (``slot`` empty)."""

    width: int
    slot: str
    wrong: bool

    @property
    def hue(self) -> int:
        """Degrees on the colour wheel, the same for the same slot everywhere."""
        return hashlib.sha256(self.slot.encode()).digest()[0] * 360 // 256


def fits(record: Record) -> bool:
    """Say whether ``record`` is of this kind: words with BIO tags, true and predicted."""
    return "tokens" in record and "tags" in record


def right(record: Record) -> bool:
    """Say whether every word has its true tag."""
    return bool(record["prediction"] == record["tags"])


def choose(items: Sequence[Item]) -> list[Item]:
    """Take the first pair of the data's contrast set, if there is one; then the first examples of either outcome.

    These are two that every experiment got right, and four that one or more got wrong.
    """
    items = [item for item in items if len(next(iter(item.values()))["tokens"]) <= LONGEST]
    pair = _pair(items)
    others = [item for item in items if item not in pair]
    perfect = [item for item in others if all(map(right, item.values()))]
    flawed = [item for item in others if not all(map(right, item.values()))]
    return pair + perfect[:2] + flawed[:4]


def _pair(items: Sequence[Item]) -> list[Item]:
    """Give the first two examples that are one pair, equal but for the word that decides."""
    waiting: dict[str, Item] = {}
    for item in items:
        name = next(iter(item.values())).get("pair")
        if name is not None and name in waiting:
            return [waiting[name], item]
        if name is not None:
            waiting[name] = item
    return []


def show(item: Item) -> Markup:
    """Write one test example as a table: a column a word, a row for the true slots and each experiment's."""
    example = next(iter(item.values()))
    rows = [("true slots", _cells(example["tags"], example["tags"]))]
    rows += [(key, _cells(record["prediction"], record["tags"])) for key, record in item.items()]
    return Markup(TEMPLATE.render(tokens=example["tokens"], rows=rows))


def _cells(tags: Sequence[str], target: Sequence[str]) -> list[Cell]:
    true_spans = set(get_entities(list(target)))
    starts = {first: (slot, last) for slot, first, last in get_entities(list(tags))}
    cells = []
    step = 0
    while step < len(tags):
        slot, last = starts.get(step, ("", step))
        wrong = (slot, step, last) not in true_spans if slot else target[step] != "O"
        cells.append(Cell(last - step + 1, slot, wrong))
        step = last + 1
    return cells
