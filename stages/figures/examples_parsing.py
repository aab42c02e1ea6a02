"""Worked examples of parsing: the annotated tree of a sentence, and each experiment's, as nested brackets."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from jinja2 import Environment
from markupsafe import Markup

Record = Mapping[str, Any]
Item = Mapping[str, Record]  # experiment to its record, all of one test example

OPEN, WORD, CLOSE = "(", "•", ")"
LONGEST = 12  # tokens of a sentence that is drawn among the first ones
ROW, BAR, TOP = 22, 18, 2  # pixels: a level of brackets, the height of a bracket, above all
LETTER, BOLD, SPACE = 6.6, 7.8, 12  # pixels: a letter of a relation, of a token, the rest
EXAMPLES = (1, 4)  # that every experiment got right, and that one or more got wrong
VERDICTS = ("the annotated tree", "another tree")
MEASURE = "labelled bracket F1 of the sentence in percent (a malformed prediction has 0)"
VALUE = "F1 {:.0f} %"
LEGEND = (
    "A bar is a bracket: it covers the tokens of its subtree, its name is its relation, and a line leads down from it "
    "to its own token; what lies below a bar depends on that token. Red and dashed, with ✗: a bracket that the "
    "annotated tree has not, with that relation over those tokens."
)
STYLE = """
.example:has(.trees) { grid-column: 1 / -1; }
.trees { display: flex; flex-wrap: wrap; gap: 0.6rem 2rem; }
.trees figure { margin: 0.3rem 0; max-width: 100%; overflow-x: auto; }
.trees figure > svg { max-width: none; }
.trees text { font-size: 11px; fill: var(--ink); text-anchor: middle; }
.trees .token { font-size: 12px; font-weight: 600; }
.trees .stem { stroke: var(--muted); stroke-width: 1; }
.trees .bar { fill: color-mix(in srgb, var(--accent) 16%, var(--page)); stroke: var(--accent); }
.trees .bar.wrong { fill: color-mix(in srgb, var(--bad) 16%, var(--page)); stroke: var(--bad); stroke-dasharray: 4 2; }
.trees .verdict { white-space: normal; }
.trees .symbols { display: block; max-width: 46rem; overflow-wrap: anywhere; }
"""
TEMPLATE = Environment(autoescape=True).from_string("""
<div class="trees">{% for tree in trees %}
<figure><figcaption>{{ tree.name }}{% if tree.verdict %}: <span class="verdict">
{%- if not tree.right %}<span class="mark">✗</span> {% endif %}{{ tree.verdict }}</span>{% endif %}</figcaption>
{%- if tree.bars %}
<svg width="{{ width }}" height="{{ tree.height }}" viewBox="0 0 {{ width }} {{ tree.height }}" role="img"
 aria-label="{{ tree.said }}"><title>{{ tree.said }}</title>{% for bar in tree.bars %}
<rect class="bar{{ ' wrong' if bar.wrong }}" x="{{ bar.x }}" y="{{ bar.y }}" width="{{ bar.width }}" height="{{ high }}"
 rx="3"/><path class="stem" d="M{{ bar.middle }} {{ bar.y + high }}V{{ tree.height - 16 }}"/>
<text x="{{ bar.middle }}" y="{{ bar.y + 13 }}">{{ bar.label }}{{ " ✗" if bar.wrong }}</text>{% endfor %}
{%- for x, token in tokens %}<text class="token" x="{{ x }}" y="{{ tree.height - 4 }}">{{ token }}</text>{% endfor %}
</svg>{% else %} <code class="symbols">{{ tree.symbols }}</code>{% endif %}</figure>{% endfor %}
</div>
""")


@dataclass(frozen=True)
class Bracket:
    """A bracket's label, its tokens from ``start`` up to before ``end``, its own token, and how many are around it."""

    label: str
    start: int
    end: int
    head: int
    depth: int

    @property
    def span(self) -> tuple[str, int, int]:
        """What it is scored by."""
        return self.label, self.start, self.end


class Malformed(ValueError):
    """Why symbols are no tree, in few words."""


def fits(record: Record) -> bool:
    """Say whether ``record`` is of this kind: tokens, and a tree written as brackets."""
    target = record.get("target")
    return (
        isinstance(record.get("source"), list)
        and isinstance(target, list)
        and len(target) == 3 * len(record["source"]) > 0
        and str(target[0]).startswith(OPEN)
        and WORD in target
    )


def right(record: Record) -> bool:
    """Say whether the tree is the annotated one."""
    return bool(record["prediction"] == record["target"])


def measure(record: Record) -> float:
    """Give the F1 of the labelled brackets in percent."""
    truth = _spans(record["target"], len(record["source"]))
    guess = _spans(record["prediction"], len(record["source"]))
    return 200 * (truth & guess).total() / (truth.total() + guess.total())


def size(record: Record) -> int:
    """Give the number of tokens."""
    return len(record["source"])


def choose(items: Sequence[Item]) -> list[Item]:
    """Take the first of at most ``LONGEST`` tokens that all got right, and the first that one or more got wrong."""
    short = [item for item in items if 2 < size(next(iter(item.values()))) <= LONGEST]
    perfect = [item for item in short if all(map(right, item.values()))]
    flawed = [item for item in short if not all(map(right, item.values()))]
    return perfect[: EXAMPLES[0]] + flawed[: EXAMPLES[1]]


def read(symbols: Sequence[str], length: int) -> list[Bracket]:
    """Read the brackets of a tree over ``length`` tokens, in the order of opening; raises Malformed if it is none."""
    found: list[Bracket] = []
    stack: list[list[Any]] = []  # its place among the found ones, label, start, own token or None
    place = 0
    for number, symbol in enumerate(symbols, start=1):
        if not stack and place:
            raise Malformed(f"symbol {number} stands after the outermost bracket is closed")
        if symbol == WORD:
            if not stack or stack[-1][3] is not None:
                raise Malformed(
                    f"symbol {number} reads a {'second token in one' if stack else 'token outside any'} bracket"
                )
            stack[-1][3] = place
            place += 1
        elif symbol == CLOSE:
            if not stack or stack[-1][3] is None:
                raise Malformed(
                    f"symbol {number} closes a bracket that {'has read no token' if stack else 'is not open'}"
                )
            rank, label, start, head = stack.pop()
            found[rank] = Bracket(label, start, place, head, len(stack))
        elif symbol.startswith(OPEN) and len(symbol) > 1:
            stack.append([len(found), symbol[1:], place, None])
            found.append(Bracket(symbol[1:], place, length, place, len(stack) - 1))
        else:
            raise Malformed(f"symbol {number}, {symbol!r}, is none of brackets")
    if stack:
        raise Malformed(f"{len(stack)} bracket{'s are' if len(stack) > 1 else ' is'} never closed")
    if place != length:
        raise Malformed(
            f"{place} of {length} tokens are read" if place < length else f"{place} tokens are read of {length}"
        )
    return found


def show(item: Item) -> Markup:
    """Draw the annotated tree and each experiment's, all with the same columns."""
    example = next(iter(item.values()))
    tokens, length = example["source"], len(example["source"])
    truth = read(example["target"], length)
    trees: dict[str, tuple[list[Bracket], str, list[str]]] = {"annotated": (truth, "", example["target"])}
    for key, record in item.items():
        try:
            trees[key] = (read(record["prediction"], length), "", record["prediction"])
        except Malformed as error:
            trees[key] = ([], str(error), record["prediction"])
    widths = [BOLD * len(token) for token in tokens]
    for brackets, _, _ in trees.values():
        for bracket in brackets:
            widths[bracket.head] = max(widths[bracket.head], LETTER * (len(bracket.label) + 2))
    edges = [0.0]
    for width in widths:
        edges.append(round(edges[-1] + width + SPACE, 1))
    middles = [round((left + right) / 2, 1) for left, right in zip(edges, edges[1:], strict=False)]
    drawn = [
        _tree(name, brackets, why, symbols, truth, edges, middles) for name, (brackets, why, symbols) in trees.items()
    ]
    words = list(zip(middles, tokens, strict=True))
    return Markup(TEMPLATE.render(trees=drawn, tokens=words, width=edges[-1] + 1, high=BAR))


def _tree(
    name: str,
    brackets: list[Bracket],
    why: str,
    symbols: list[str],
    truth: list[Bracket],
    edges: list[float],
    middles: list[float],
) -> dict[str, Any]:
    spans = {bracket.span for bracket in truth}  # none is there twice, as each bracket reads a token of its own
    bars = []
    for bracket in brackets:
        bars.append(
            {
                "x": round(edges[bracket.start] + 2, 1),
                "width": round(edges[bracket.end] - edges[bracket.start] - 4, 1),
                "y": TOP + bracket.depth * ROW,
                "middle": middles[bracket.head],
                "label": bracket.label,
                "wrong": bracket.span not in spans,
            }
        )
    deepest = max((bracket.depth for bracket in brackets), default=0)
    same = sum(not bar["wrong"] for bar in bars)
    verdict = f"malformed, no tree: {why}" if why else f"{same} of {len(bars)} brackets right"
    annotated = name == "annotated"
    return {
        "name": name,
        "verdict": "" if annotated else "✓" if same == len(bars) and bars else verdict,
        "right": bool(bars) and same == len(bars),
        "bars": bars,
        "height": TOP + (deepest + 1) * ROW + 28,
        "symbols": " ".join(symbols) or "(nothing)",
        "said": f"{name}: {' '.join(symbols)}",
    }


def _spans(symbols: Sequence[str], length: int) -> Counter[tuple[str, int, int]]:
    try:
        return Counter(bracket.span for bracket in read(symbols, length))
    except Malformed:
        return Counter()
