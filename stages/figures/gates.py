"""What the gates of a recurrent network do as it reads one test example: a row a unit, a column a step."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from jinja2 import Environment
from markupsafe import Markup

Trace = Mapping[str, Any]  # "steps": symbols read, "layers": by name the values (time, hidden), lowest layer first
Grid = Sequence[Sequence[float]]  # (time, hidden)

UNITS = 24
LONGEST = 24  # steps
LEVELS = 12  # of colour
GATES = ("input", "forget", "output", "reset", "update")  # between 0 and 1
STATES = ("cell", "hidden")  # of either sign
STYLE = """
.gates { table-layout: fixed; width: calc(6.5rem + var(--steps) * 2.6rem); }
.gates th, .gates td { padding: 0.15rem 0.1rem; font-size: 0.75rem; border-bottom: 0; text-align: center; }
.gates th:first-child { width: 6.5rem; text-align: left; font-weight: 400; vertical-align: middle; }
.gates thead span.turned { writing-mode: vertical-rl; transform: rotate(180deg); white-space: nowrap; }
.gates .group th { font-weight: 600; padding-top: 0.6rem; }
.gates td.units { padding: 0.15rem 0; }
.gates svg { display: block; width: 100%; height: 6.75rem; background: var(--sunken); }
.gates .up { fill: var(--accent); }
.gates .down { fill: var(--series-2); }
.gates .mean {
  background: color-mix(in srgb, var(--accent) var(--share), transparent); font-variant-numeric: tabular-nums;
}
"""
TEMPLATE = Environment(autoescape=True).from_string("""
<table class="gates" style="--steps: {{ steps | length }}">
<caption class="unseen">Gates of {{ units }} units at each step</caption>
<thead><tr><th scope="col"><span class="unseen">gate</span></th>{% for step in steps -%}
<th scope="col"><span{% if turned %} class="turned"{% endif %}>{{ step }}</span></th>{% endfor %}</tr></thead>
{% for title, grids in layers %}<tbody>
<tr class="group"><th scope="rowgroup" colspan="{{ steps | length + 1 }}">{{ title }}</th></tr>{% for grid in grids %}
<tr><th scope="row">{{ grid.name }}</th><td class="units" colspan="{{ steps | length }}">
<svg viewBox="0 0 {{ steps | length }} {{ units }}" preserveAspectRatio="none" shape-rendering="crispEdges" role="img"
 aria-label="{{ grid.said }}"><title>{{ grid.said }}</title>{% for role, opacity, path in grid.paths -%}
<path class="{{ role }}" fill-opacity="{{ opacity }}" d="{{ path }}"/>{% endfor %}</svg></td></tr>{% if grid.means %}
<tr><th scope="row">mean opening</th>{% for mean in grid.means -%}
<td class="mean" style="--share: {{ (50 * mean) | round | int }}%">{{ "%.2f" | format(mean) }}</td>{% endfor %}</tr>
{%- endif %}{% endfor %}
</tbody>{% endfor %}</table>
""")


def draw(trace: Trace, bidirectional: bool) -> Markup:
    """Draw the gates and states of each layer and direction, of the ``UNITS`` whose output moves most, as read.

    Units stand in the order in which their outputs are largest. The mean opening is that over all units.
    """
    steps = trace["steps"][:LONGEST]
    layers = []
    for number, layer in enumerate(trace["layers"]):
        shown = {name: layer[name][: len(steps)] for name in (*GATES, *STATES) if name in layer}
        units = choose(shown["hidden"])
        layers.append((_title(number, bidirectional), [_grid(name, grid, units) for name, grid in shown.items()]))
    units_shown = min(UNITS, len(trace["layers"][0]["hidden"][0]))
    turned = any(len(step) > 3 for step in steps)
    return Markup(TEMPLATE.render(steps=steps, layers=layers, units=units_shown, turned=turned))


def choose(hidden: Grid) -> list[int]:
    """Take the units whose output spreads widest over the steps, those first whose output is largest first."""
    columns = list(zip(*hidden, strict=True))
    spread = [max(column) - min(column) for column in columns]
    widest = sorted(range(len(columns)), key=lambda unit: -spread[unit])[:UNITS]
    return sorted(widest, key=lambda unit: (max(range(len(hidden)), key=lambda step: abs(hidden[step][unit])), unit))


def mean_opening(trace: Trace, gate: str) -> float:
    """Give the mean of ``gate`` over all layers that have it, all units and steps."""
    values = [value for layer in trace["layers"] for row in layer.get(gate, []) for value in row]
    return sum(values) / len(values)


def _title(number: int, bidirectional: bool) -> str:
    if not bidirectional:
        return f"layer {number + 1}"
    return f"layer {number // 2 + 1}, {('forward', 'backward')[number % 2]}"


def _grid(name: str, values: Grid, units: Sequence[int]) -> dict[str, Any]:
    gate = name in GATES
    most = 1.0 if gate else max(abs(row[unit]) for row in values for unit in units) or 1.0
    means = [sum(row) / len(row) for row in values]
    squares: dict[tuple[str, int], list[str]] = {}
    for step, row in enumerate(values):
        for place, unit in enumerate(units):
            level = round(LEVELS * min(abs(row[unit]) / most, 1.0))
            if level:
                squares.setdefault(("up" if row[unit] > 0 else "down", level), []).append(f"M{step} {place}h1v1h-1z")
    said = f"{name} gate, 0 to 1" if gate else f"{name}, −{most:.2g} to {most:.2g}"
    return {
        "name": f"{name} gate" if gate else f"{name} state",
        "said": f"{len(units)} units by {len(values)} steps: {said}",
        "paths": [(role, round(level / LEVELS, 3), "".join(path)) for (role, level), path in sorted(squares.items())],
        "means": means if gate else [],
    }
