"""Charts as SVG: inside the page, whose colours they take, and as files of their own."""

from __future__ import annotations

import re
from typing import Any
from xml.etree import ElementTree

import altair
import vl_convert
from markupsafe import Markup

SVG = "http://www.w3.org/2000/svg"
DIGITS = re.compile(r"\d+\.\d+")
CIRCLE = re.compile(r"M([\d.]+),0A\1,\1,0,1,1,-\1,0A\1,\1,0,1,1,\1,0(?:Z)?")
RECTANGLE = re.compile(r"M-?[\d.]+,-?[\d.]+h-?[\d.]+v-?[\d.]+h-?[\d.]+Z")
SQUARES = re.compile(r"(?:M\d+ \d+h1v1h-1z){2,}")
SQUARE = re.compile(r"M(\d+) (\d+)h")
# What an element has from the one that it lies in.
INHERITED = ("fill", "stroke", "stroke-width", "stroke-dasharray", "text-anchor", "font-size", "font-weight")
FONT = "Liberation Sans, Arial, Helvetica, sans-serif"  # the first comes with vl-convert: the same widths everywhere

# What the page's CSS and every figure name by var(--...): on a light ground, and on a dark one.
COLOURS = {
    "page": ("#ffffff", "#14171c"),
    "sunken": ("#f4f5f7", "#1d2129"),
    "ink": ("#1a1d21", "#e6e8eb"),
    "muted": ("#5b636e", "#9aa4b1"),
    "rule": ("#dcdfe4", "#343a45"),
    "accent": ("#0b63a5", "#6cb6f5"),
    "good": ("#1a7431", "#63c97c"),
    "bad": ("#b3261e", "#ff8a80"),
    "series-1": ("#0b6fae", "#5db4ee"),
    "series-2": ("#c2500a", "#f5a05c"),
    "series-3": ("#1c7c3c", "#62c983"),
    "series-4": ("#7a3fc4", "#bb9af7"),
    "series-5": ("#b0246f", "#f08bbd"),
    "series-6": ("#7d6400", "#d8bd4f"),
}


def inline(chart: Any, alternative: str) -> Markup:
    """Draw ``chart`` as an SVG element for the page, whose colours it takes; ``alternative`` says what it shows."""
    return Markup(ElementTree.tostring(_draw(chart, alternative), encoding="unicode"))


def standalone(chart: Any, alternative: str) -> str:
    """Draw ``chart`` as an SVG file of its own, light or dark as the reader's system is."""
    root = _draw(chart, alternative)
    light, dark = (";".join(f"--{name}:{pair[place]}" for name, pair in COLOURS.items()) for place in (0, 1))
    style = ElementTree.Element(f"{{{SVG}}}style")
    style.text = f":root{{{light}}}@media (prefers-color-scheme:dark){{:root{{{dark}}}}}"
    ground = ElementTree.Element(f"{{{SVG}}}rect", {"width": "100%", "height": "100%", "fill": "var(--page)"})
    root[:0] = [style, ground]
    return ElementTree.tostring(root, encoding="unicode") + "\n"


def _draw(chart: Any, alternative: str) -> ElementTree.Element:
    """Draw ``chart``; what Vega says of a mark to a screen reader becomes the text that shows when one points at it."""
    ElementTree.register_namespace("", SVG)
    drawn = ElementTree.fromstring(vl_convert.vegalite_to_svg(_styled(chart).to_dict(validate=False)))
    for element in list(drawn.iter()):
        said = element.attrib.pop("aria-label", None)
        if element.attrib.pop("aria-roledescription", None) not in ("axis", None) and said and not len(element):
            ElementTree.SubElement(element, f"{{{SVG}}}title").text = said
        for name in ("role", "aria-hidden", "pointer-events"):
            element.attrib.pop(name, None)
        for name in {"d", "transform"} & set(element.attrib):
            element.set(
                name, DIGITS.sub(lambda number: f"{float(number[0]):.1f}".removesuffix(".0"), element.get(name, ""))
            )
        if "opacity" in element.attrib:
            element.set("opacity", f"{float(element.attrib['opacity']):.2g}")
    _shorten(drawn)
    drawn.set("role", "img")
    drawn.set("aria-label", alternative)
    return drawn


def merge_squares(page: str) -> str:
    """Write squares of one colour that lie under each other, in any path of ``page``, as one rectangle."""
    return SQUARES.sub(lambda found: _merged(found[0]), page)


def _merged(path: str) -> str:
    columns: list[list[int]] = []  # of each rectangle: column, first row, rows
    for column, row in ((int(column), int(row)) for column, row in SQUARE.findall(path)):
        if columns and columns[-1][0] == column and sum(columns[-1][1:]) == row:
            columns[-1][2] += 1
        else:
            columns.append([column, row, 1])
    return "".join(f"M{column} {row}h1v{rows}h-1z" for column, row, rows in columns)


def _shorten(drawn: ElementTree.Element) -> None:
    """Leave out or say shorter, in place, what changes nothing that is seen: a third of a page of many figures."""
    for element in drawn.iter():
        for child in list(element):
            if child.get("class") in ("background", "foreground") and not {"fill", "stroke"} & set(child.attrib):
                element.remove(child)
        if element is not drawn:
            element.attrib.pop("class", None)
            _plain(element)
    _nested(drawn)
    drawn.set("font-family", FONT)


def _plain(element: ElementTree.Element) -> None:
    """Drop an element's attributes that say what holds anyway, and call a circle a circle."""
    for name, value in (("opacity", "1"), ("stroke-width", "1"), ("font-family", FONT), ("font-weight", "normal")):
        if element.get(name) == value:
            del element.attrib[name]
    if element.get("transform") == "translate(0,0)":
        del element.attrib["transform"]
    if element.tag == f"{{{SVG}}}line":
        for name in ("x2", "y2"):
            if element.get(name) == "0":
                del element.attrib[name]
    if "stroke" not in element.attrib:
        for name in ("stroke-width", "stroke-dasharray"):
            element.attrib.pop(name, None)
    circle = CIRCLE.fullmatch(element.get("d", ""))
    if circle:
        element.tag = f"{{{SVG}}}circle"
        element.attrib["r"] = circle[1]
        del element.attrib["d"]


def _nested(element: ElementTree.Element) -> None:
    """Take a group's children out of it where it does nothing, join what looks alike, and say once what all share."""
    for child in element:
        _nested(child)
    children: list[ElementTree.Element] = []
    for child in element:
        children += list(child) if child.tag == f"{{{SVG}}}g" and not child.attrib else [child]
    element[:] = _joined(children)
    if element.tag == f"{{{SVG}}}g" and len(element) > 1:
        for name in INHERITED:
            values = {child.get(name) for child in element}
            if len(values) == 1 and None not in values:
                element.set(name, values.pop() or "")
                for child in element:
                    del child.attrib[name]


def _joined(children: list[ElementTree.Element]) -> list[ElementTree.Element]:
    """Make one path of rectangles that follow each other and differ in place alone; one that says something stays."""
    kept: list[ElementTree.Element] = []
    for child in children:
        last = kept[-1] if kept else None
        if last is not None and _is_rectangle(child) and _is_rectangle(last) and _look(last) == _look(child):
            last.set("d", last.attrib["d"] + child.attrib["d"])
        else:
            kept.append(child)
    return kept


def _is_rectangle(element: ElementTree.Element) -> bool:
    return not len(element) and re.fullmatch(f"({RECTANGLE.pattern})+", element.get("d", "")) is not None


def _look(element: ElementTree.Element) -> dict[str, str]:
    return {name: value for name, value in element.attrib.items() if name != "d"}


def _styled(chart: Any) -> Any:
    axis = altair.AxisConfig(
        labelColor="var(--muted)",
        titleColor="var(--ink)",
        gridColor="var(--rule)",
        domainColor="var(--rule)",
        tickColor="var(--rule)",
        titleFontWeight="normal",
        titleFontSize=11,
        labelFontSize=11,
    )
    # Above the drawing, so that a narrow page need not be moved sideways to read it.
    legend = altair.LegendConfig(
        title=None,
        orient="top",
        columns=2,
        columnPadding=28,
        labelColor="var(--ink)",
        labelLimit=190,
        symbolType="stroke",
        rowPadding=2,
    )
    return chart.configure(
        font=FONT,
        background="transparent",
        padding={"left": 6, "top": 6, "right": 20, "bottom": 6},  # a reader's font may be wider than the one measured
        axis=axis,
        legend=legend,
        view=altair.ViewConfig(stroke=None),
        title=altair.TitleConfig(color="var(--ink)", fontSize=12, fontWeight="bold", anchor="start"),
    )
