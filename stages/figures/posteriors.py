"""What a network of speech hears as one utterance goes by: its frames, the probability of each symbol, the alignment.

All three lie over one time axis, so that one sees where in the sound the null (Graves et al. 2006) gives way.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import groupby
from typing import Any

from jinja2 import Environment
from markupsafe import Markup

Trace = Mapping[str, Any]  # as the task of connectionist temporal classification gives it
Grid = Sequence[Sequence[float]]  # (time, coefficients or symbols)

WIDTH, LEFT = 740, 84  # of the drawing, and of its labels, in its own units
SOUND, LINES, BAR = 110, 130, 24  # heights
GAP = 26
LEVELS = 12  # of colour
EXTREME = 2.5  # standard deviations of a coefficient that have the deepest colour
COLOURS = tuple(f"series-{number}" for number in (1, 2, 3, 4, 5, 6))
STYLE = """
.posteriors { display: block; width: 100%; min-width: 34rem; max-width: 60rem; height: auto; }
.posteriors text { font-size: 12px; fill: var(--ink); }
.posteriors .label { fill: var(--muted); text-anchor: end; }
.posteriors .tick { fill: var(--muted); text-anchor: middle; }
.posteriors .symbol { text-anchor: middle; font-weight: 600; }
.posteriors .ground { fill: var(--sunken); }
.posteriors .up { fill: var(--accent); }
.posteriors .down { fill: var(--series-2); }
.posteriors .line { fill: none; stroke-width: 1.6; }
.posteriors .null { stroke: var(--muted); stroke-dasharray: 4 3; }
.posteriors .span { fill: color-mix(in srgb, var(--accent) 22%, transparent); stroke: var(--accent); }
.posteriors .true { fill: transparent; stroke: var(--ink); }
.posteriors .wrong { fill: color-mix(in srgb, var(--bad) 22%, transparent); stroke: var(--bad); }
"""
TEMPLATE = Environment(autoescape=True).from_string("""
<svg class="posteriors" viewBox="0 0 {{ width }} {{ height }}" role="img" aria-label="{{ said }}">
<title>{{ said }}</title>
<g transform="translate({{ left }} 0)"><rect class="ground" width="{{ right }}" height="{{ sound }}"/>
<g transform="scale({{ right / columns }} {{ sound / rows }})" shape-rendering="crispEdges">
{%- for role, opacity, path in paths %}<path class="{{ role }}" fill-opacity="{{ opacity }}" d="{{ path }}"/>
{%- endfor %}</g></g>
<text class="label" x="{{ left - 8 }}" y="{{ sound / 2 + 4 }}">frames</text>
<g transform="translate({{ left }} {{ sound + gap }})"><rect class="ground" width="{{ right }}" height="{{ lines }}"/>
{%- for line in curves %}<path class="line {{ line.kind }}" style="{{ line.style }}" d="{{ line.path }}">
<title>{{ line.name }}</title></path>{% endfor %}
{%- for x, symbol in peaks %}<text class="symbol" x="{{ x }}" y="-6">{{ symbol }}</text>{% endfor %}</g>
<text class="label" x="{{ left - 8 }}" y="{{ sound + gap + 10 }}">1</text>
<text class="label" x="{{ left - 8 }}" y="{{ sound + gap + lines / 2 + 4 }}">probability</text>
<text class="label" x="{{ left - 8 }}" y="{{ sound + gap + lines }}">0</text>
{%- for bar in bars %}
<g transform="translate({{ left }} {{ bar.y }})">{% for span in bar.spans -%}
<rect class="{{ span.kind }}" x="{{ span.x }}" width="{{ span.width }}" height="{{ height_of_bar }}"/>
<text class="symbol" x="{{ span.x + span.width / 2 }}" y="{{ height_of_bar / 2 + 4 }}">{{ span.symbol }}</text>
{%- endfor %}</g><text class="label" x="{{ left - 8 }}" y="{{ bar.y + height_of_bar / 2 + 4 }}">{{ bar.name }}</text>
{%- endfor %}
{%- for x, second in ticks %}<text class="tick" x="{{ left + x }}" y="{{ height - 4 }}">{{ second }} s</text>
{%- endfor %}
</svg>""")


def fits(trace: Trace) -> bool:
    """Say whether ``trace`` is of this kind."""
    return trace.get("kind") == "posteriors"


def null_share(trace: Trace) -> float:
    """Give the share of the steps at which the null is the most probable symbol."""
    return sum(row[0] == max(row) for row in trace["posteriors"]) / len(trace["posteriors"])


def draw(trace: Trace) -> Markup:
    """Draw the frames, a line a symbol, and what was heard when beside what was said when."""
    seconds = max(len(trace["posteriors"]) * trace["step_seconds"], len(trace["features"]) * trace["frame_seconds"])
    scale = (WIDTH - LEFT) / seconds
    heard, said = "".join(trace["prediction"]), "".join(trace["target"])
    bars = [_bar("heard", trace["prediction"], trace["times"], scale, trace["target"])]
    if "boundaries" in trace:
        bars.append(_bar("said", trace["target"], trace["boundaries"], scale))
    top = SOUND + GAP + LINES + 10
    for number, bar in enumerate(bars):
        bar["y"] = top + number * (BAR + 6)
    every = next(step for step in (0.1, 0.2, 0.5, 1, 2, 5, 10, 60) if seconds / step <= 10)
    return Markup(
        TEMPLATE.render(
            width=WIDTH,
            height=top + len(bars) * (BAR + 6) + 18,
            left=LEFT,
            right=WIDTH - LEFT,
            sound=SOUND,
            lines=LINES,
            gap=GAP,
            height_of_bar=BAR,
            columns=round(seconds / trace["frame_seconds"], 3),
            rows=len(trace["features"][0]),
            paths=_squares(trace["features"]),
            curves=_curves(trace, scale),
            peaks=_peaks(trace, scale),
            bars=bars,
            ticks=[(round(i * every * scale, 1), f"{i * every:g}") for i in range(int(seconds / every) + 1)],
            said=f"Heard: {heard}; said: {said}. The null leads at {100 * null_share(trace):.0f} % of the steps.",
        )
    )


def _squares(frames: Grid) -> list[tuple[str, float, str]]:
    """Paint each coefficient, the lowest at the bottom, by its distance from its mean: a path a colour."""
    squares: dict[tuple[str, int], list[str]] = {}
    for column, frame in enumerate(frames):
        for place, value in enumerate(reversed(frame)):
            level = round(LEVELS * min(abs(value) / EXTREME, 1.0))
            if level:
                squares.setdefault(("up" if value > 0 else "down", level), []).append(f"M{column} {place}h1v1h-1z")
    return [(role, round(level / LEVELS, 2), "".join(path)) for (role, level), path in sorted(squares.items())]


def _curves(trace: Trace, scale: float) -> list[dict[str, str]]:
    width = trace["step_seconds"] * scale
    curves = []
    for place, symbol in enumerate(trace["symbols"]):
        points = [
            f"{(step + 0.5) * width:.1f} {LINES * (1 - row[place]):.1f}" for step, row in enumerate(trace["posteriors"])
        ]
        colour = COLOURS[(place - 1) % len(COLOURS)]
        curves.append(
            {
                "kind": "null" if place == 0 else "",
                "style": "" if place == 0 else f"stroke:var(--{colour})",
                "name": "null" if place == 0 else symbol,
                "path": "M" + "L".join(points),
            }
        )
    return curves


def _peaks(trace: Trace, scale: float) -> list[tuple[float, str]]:
    """Place each aligned symbol above the most probable step of its run."""
    peaks = []
    for symbol, run in groupby(range(len(trace["alignment"])), trace["alignment"].__getitem__):
        if symbol in trace["symbols"][1:]:
            place = trace["symbols"].index(symbol)
            best = max(run, key=lambda step: trace["posteriors"][step][place])
            peaks.append((round((best + 0.5) * trace["step_seconds"] * scale, 1), symbol))
    return peaks


def _bar(
    name: str,
    symbols: Sequence[str],
    times: Sequence[Sequence[float]],
    scale: float,
    target: Sequence[str] | None = None,
) -> dict[str, Any]:
    right = target is None or list(symbols) == list(target)
    kind = "true" if target is None else "span" if right else "wrong"
    spans = [
        {
            "x": round(start * scale, 1),
            "width": round(max(end - start, 0.005) * scale, 1),
            "symbol": symbol,
            "kind": kind,
        }
        for symbol, (start, end) in zip(symbols, times, strict=True)
    ]
    return {"name": name, "spans": spans}
