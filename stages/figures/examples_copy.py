"""Worked examples of copying: the bits to copy, each experiment's output, and where the two differ."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from jinja2 import Environment
from markupsafe import Markup

Record = Mapping[str, Any]
Item = Mapping[str, Record]  # experiment to its record, all of one test example

LENGTHS = (20, 120)
VERDICTS = ("right", "wrong")
LEGEND = (
    "Time runs to the right, a column a vector of bits: a filled cell is a 1. After an output, red cells are its wrong "
    "bits."
)
STYLE = """
.example:has(.bits) { grid-column: 1 / -1; }
.bits svg { display: block; width: 100%; height: auto; background: var(--sunken); }
.bits.short {
  display: grid; grid-template-columns: repeat(auto-fill, minmax(min(100%, 12.5rem), 1fr)); gap: 0 1.2rem;
  align-items: end;
}
.bits figure { margin: 0.4rem 0; }
.bits .one { fill: var(--ink); }
.bits .differs { fill: var(--bad); }
"""
TEMPLATE = Environment(autoescape=True).from_string("""
<div class="bits{{ ' short' if steps <= 40 }}">{% for caption, drawing, path, kind in grids %}
<figure><figcaption>{{ caption }}</figcaption>
<svg viewBox="0 0 {{ steps }} {{ bits }}" role="img" aria-label="{{ drawing }}">
<title>{{ drawing }}</title><path class="{{ kind }}" d="{{ path }}"/></svg></figure>{% endfor %}
</div>
""")


def fits(record: Record) -> bool:
    """Say whether ``record`` is of this kind: vectors of bits, written as strings of 0 and 1."""
    target = record.get("target")
    return isinstance(target, list) and bool(target) and all(isinstance(v, str) and not v.strip("01") for v in target)


def right(record: Record) -> bool:
    """Say whether every bit is right."""
    return bool(record["prediction"] == record["target"])


def choose(items: Sequence[Item]) -> list[Item]:
    """Take the first example of each range that the test names, or else of 20 vectors and of 120, or of the shortest
    and longest where these are missing."""
    found: dict[Any, Item] = {}
    for item in items:
        record = next(iter(item.values()))
        found.setdefault(record.get("range", record.get("length", len(record["target"]))), item)
    if all(isinstance(group, str) for group in found):
        wanted = sorted(found, reverse=True)
    else:
        wanted = list(LENGTHS) if set(LENGTHS) <= set(found) else sorted({min(found), max(found)})
    return [found[group] for group in wanted]


def show(item: Item) -> Markup:
    """Draw the target once, then each experiment's output and difference."""
    target = next(iter(item.values()))["target"]
    steps, bits = len(target), len(target[0])
    said = f"{steps} vectors of {bits} bits" if bits > 1 else f"{steps} bits"
    grids = [(f"target: {said}", said, _path(target), "one")]
    for key, record in item.items():
        output = record["prediction"]
        differs = [
            "".join("01"[a != b] for a, b in zip(*pair, strict=True)) for pair in zip(output, target, strict=True)
        ]
        wrong = sum(vector.count("1") for vector in differs)
        verdict = f"{wrong} of {steps * bits} bits wrong"
        grids.append((f"{key}, output", f"output of {key}", _path(output), "one"))
        grids.append((f"{key}, {verdict}", f"{key}: {verdict}", _path(differs), "differs"))
    return Markup(TEMPLATE.render(steps=steps, bits=bits, grids=grids))


def _path(vectors: Sequence[str]) -> str:
    """Write an SVG path with a square at (step, bit) for each 1."""
    return "".join(
        f"M{step} {bit}h.9v.9h-.9z"
        for step, vector in enumerate(vectors)
        for bit, value in enumerate(vector)
        if value == "1"
    )
