"""Where the heads of a Neural Turing Machine are over time (Graves et al. 2014, figures 6 and 9): a row a location."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from jinja2 import Environment
from markupsafe import Markup

Trace = Mapping[str, Any]  # "kind", "read_heads", "sequences": as BinarySequencePrediction.trace gives it

LEVELS = 35  # of a weight, 0 to 1 as a digit in base 36
SHORT = 80  # steps; so many stand two in a row
LEGEND = (
    "Time runs to the right, a column a step; after the upright line the answer is due. Input, target and output have "
    "a row a bit, a head has a row a location of the memory, the first above: the deeper a square, the larger its "
    "weight. Wrong bits of the output are red."
)
STYLE = """
.heads { display: flex; flex-wrap: wrap; gap: 0 2rem; }
.heads figure { flex: 1 1 24rem; min-width: 0; margin: 0.5rem 0; }
.heads figure.long { flex-basis: 100%; }
.heads .rows {
  display: grid; grid-template-columns: max-content minmax(0, 1fr); gap: 0.2rem 0.6rem; align-items: center;
  font-size: 0.8rem;
}
.heads svg { display: block; width: 100%; background: var(--sunken); }
.heads .one { fill: var(--ink); }
.heads .differs { fill: var(--bad); }
.heads .read { fill: var(--series-1); }
.heads .write { fill: var(--series-2); }
.heads .due { stroke: var(--muted); stroke-width: 1; vector-effect: non-scaling-stroke; }
"""
TEMPLATE = Environment(autoescape=True).from_string("""
<figure{% if steps > short %} class="long"{% endif %}><figcaption>{{ caption }}</figcaption>
<div class="rows">{% for row in rows %}
<span>{{ row.name }}</span>
<svg viewBox="0 0 {{ steps }} {{ row.high }}" preserveAspectRatio="none" shape-rendering="crispEdges" role="img"
 style="height: {{ row.rem }}rem" aria-label="{{ row.said }}"><title>{{ row.said }}</title>
{%- for role, opacity, path in row.paths %}<path class="{{ role }}" fill-opacity="{{ opacity }}" d="{{ path }}"/>
{%- endfor %}<path class="due" d="M{{ answer }} 0V{{ row.high }}"/></svg>{% endfor %}
</div></figure>
""")


def fits(trace: Trace) -> bool:
    """Say whether ``trace`` is of this kind."""
    return trace.get("kind") == "heads" and bool(trace.get("sequences"))


def draw(trace: Trace) -> Markup:
    """Draw input, target, output and heads of each sequence, one below the other, over the same steps."""
    drawn = (_sequence(sequence, trace["read_heads"]) for sequence in trace["sequences"])
    return Markup('<div class="heads">{}</div>').format(Markup().join(drawn))


def locations(head: Sequence[str]) -> list[list[float]]:
    """Turn a head's digits into its weights (step, location), 0 to 1, up to the last location where it ever was."""
    used = max(len(row.rstrip("0")) for row in head) or 1
    return [[int(digit, LEVELS + 1) / LEVELS for digit in row[:used]] for row in head]


def _sequence(sequence: Mapping[str, Any], read_heads: int) -> Markup:
    answer, target, output = sequence["answer"], sequence["target"], sequence["prediction"]
    pairs = zip(output, target, strict=True)
    differs = ["".join("01"[a != b] for a, b in zip(*pair, strict=True)) for pair in pairs]
    wrong, every = sum(vector.count("1") for vector in differs), sum(map(len, target))
    steps = len(sequence["weights"][0])
    rows = [_bits("input", {"one": sequence["input"]}, 0), _bits("target", {"one": target}, answer)]
    rows.append(_bits("output", {"one": output, "differs": differs}, answer))
    for number, head in enumerate(sequence["weights"]):
        kind, place = ("read", number) if number < read_heads else ("write", number - read_heads)
        count = read_heads if kind == "read" else len(sequence["weights"]) - read_heads
        rows.append(_head(f"{kind} head{f' {place + 1}' if count > 1 else ''}", kind, head))
    caption = f"{len(sequence['input'])} steps of input, {len(target)} of answer: {wrong} of {every} bits wrong"
    return Markup(TEMPLATE.render(caption=caption, rows=rows, steps=steps, answer=answer, short=SHORT))


def _bits(name: str, by_role: Mapping[str, Sequence[str]], first: int) -> dict[str, Any]:
    high = max(len(vector) for vectors in by_role.values() for vector in vectors)
    paths = [
        (role, 1, "".join(_square(first + step, bit) for step, vector in enumerate(vectors) for bit in _ones(vector)))
        for role, vectors in by_role.items()
    ]
    return {
        "name": name,
        "said": f"{name}, {high} bits by step",
        "high": high,
        "rem": max(0.5, 0.22 * high),
        "paths": paths,
    }


def _head(name: str, kind: str, head: Sequence[str]) -> dict[str, Any]:
    weights = locations(head)
    squares: dict[float, list[str]] = {}
    for step, row in enumerate(weights):
        for place, weight in enumerate(row):
            if weight:
                squares.setdefault(weight, []).append(_square(step, place))
    high = len(weights[0])
    paths = [(kind, round(weight, 2), "".join(path)) for weight, path in sorted(squares.items())]
    said = f"{name}: weights of {high} locations by step"
    return {"name": name, "said": said, "high": high, "rem": round(min(8.0, max(2.0, 0.14 * high)), 2), "paths": paths}


def _ones(vector: str) -> list[int]:
    return [bit for bit, value in enumerate(vector) if value == "1"]


def _square(step: int, row: int) -> str:
    return f"M{step} {row}h1v1h-1z"
