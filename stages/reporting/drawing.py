"""Charts as SVG: inside the page, whose colours they take, and as files of their own."""

from __future__ import annotations

import re
from typing import Any
from xml.etree import ElementTree

import altair
import vl_convert
from markupsafe import Markup

SVG = "http://www.w3.org/2000/svg"
DIGITS = re.compile(r"\d+\.\d{2,}")  # of a pixel: more than anyone sees
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
            element.set(name, DIGITS.sub(lambda number: f"{float(number[0]):.1f}", element.attrib[name]))
    _shorten(drawn)
    drawn.set("role", "img")
    drawn.set("aria-label", alternative)
    return drawn


def _shorten(drawn: ElementTree.Element) -> None:
    """Leave out, in place, what changes nothing that is seen: a fifth of a page of many figures."""
    for element in drawn.iter():
        for child in list(element):
            if child.get("class") in ("background", "foreground") and not {"fill", "stroke"} & set(child.attrib):
                element.remove(child)
        for name, value in (("opacity", "1"), ("stroke-width", "1"), ("font-family", FONT)):
            if element.get(name) == value:
                del element.attrib[name]
        if element is not drawn:
            element.attrib.pop("class", None)
    drawn.set("font-family", FONT)


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
    return chart.configure(
        font=FONT,
        background="transparent",
        padding={"left": 6, "top": 6, "right": 20, "bottom": 6},  # a reader's font may be wider than the one measured
        axis=axis,
        view=altair.ViewConfig(stroke=None),
        title=altair.TitleConfig(color="var(--ink)", fontSize=12, fontWeight="bold", anchor="start"),
    )
