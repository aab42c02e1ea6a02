"""Articles of Wikipedia as a reader sees them: from an export's wikitext to sentences, and where links stand in them.

Source: the wheel of gensim 4.4.0 (package LGPL-2.1-only; only this test file is unpacked), in it 206 of the first pages
of English Wikipedia's dump of spring 2016, by Wikipedia's contributors, CC BY-SA 3.0 (and GFDL). 100 pages are
redirects and 8 lists of meanings; 98 articles remain, from "A" and "Abacus" to "Azerbaijan".

Text: paragraphs only. Headings, lists, tables, captions, notes, references, pronunciations and the sections at the end
of an article are left out (parser: mwparserfromhell). Templates that stand within sentences are written out where that
is plain (a converted measure as its first quantity); a sentence with another template, a formula or markup that is left
over has a ``flaw``. A sentence ends at a full stop, question or exclamation mark before a capital, but after an
abbreviation or initial. A token is a word, a number or a sign; hyphens and 's are tokens of their own, so that the
tokens show nothing of where links are.
"""

import bz2
import calendar
import re
import unicodedata
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

import mwparserfromhell
from mwparserfromhell import nodes
from mwparserfromhell.wikicode import Wikicode

from stages.core.base.errors import InputError
from stages.core.learning.dataset import Rejected

FOLDER = Path("gensim") / "gensim" / "test" / "test_data"
FILE = "enwiki-latest-pages-articles1.xml-p000000010p000030302-shortened.bz2"
LARGEST = 50_000_000  # bytes of the file, unpacked
UNREAL = re.compile(r"\{\{\s*(?:\w+ )?(?:disambig\w*|hndis|geodis|surname|set index article)\b", re.IGNORECASE)
BACK_MATTER = (
    *("see also", "references", "external links", "further reading", "notes", "bibliography", "sources", "footnotes"),
    *("works cited", "citations", "notes and references", "references and notes", "publications", "works"),
    *("selected works", "filmography", "discography", "gallery"),
)

# Signs of the private use area, which stand for what is no text while an article is read.
OPEN, CLOSE, ITEM = "\ue000", "\ue001", "\ue002"  # around the words of a link, and before an item of a list
FORMULA, UNKNOWN, ADDRESS = "\ue003", "\ue004", "\ue005"
HOLES = {FORMULA: "formula or program", UNKNOWN: "template whose text is unknown", ADDRESS: "bare address"}
EMPTY = "".join(HOLES) + OPEN + CLOSE + " ."
SIGNS = re.compile("[\ue000-\uf8ff]")

# Links by the part of their target before a colon (https://en.wikipedia.org/wiki/Help:Interwiki_linking).
MEDIA = ("file", "image", "category", "media")
ELSEWHERE = re.compile(
    r"(?i:wikt|wiktionary|wiki(?:source|quote|pedia|species|books|news|data)|wp|template|portal|help|special|talk|user|"
    r"book|draft|doi|hdl|commons|species|meta)|[a-z]{1,3}(?:-[a-z]+)?"
)

# Tags by what becomes of them; any other tag gives its contents.
VANISHING_TAGS = ("ref", "references", "gallery", "table", "timeline", "imagemap", "score", "div", "s", "del")
FORMULA_TAGS = ("math", "code", "tt", "source", "syntaxhighlight", "pre", "chem", "ce")
BLOCK_TAGS = ("blockquote", "poem", "center", "p", "hr")
ITEM_TAGS = ("li", "dd", "dt")
SUPERSCRIPT = str.maketrans("0123456789+-−", "⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻⁻")
SUBSCRIPT = str.maketrans("0123456789+-−", "₀₁₂₃₄₅₆₇₈₉₊₋₋")

# Templates by what they show (their pages are https://en.wikipedia.org/wiki/Template:<name>).
VANISHING_TEMPLATES = re.compile(
    r"(?:v?cite\b|citation|harv|sfn|ipa|rp$|refn|efn|#tag:ref|respell|clarify|anchor$|audio$|flagicon|cn$|fact$|"
    r"when$|who$|which$|where$|by whom|according to|page needed|full$|verify source|failed verification|better source|"
    r"unreliable|update inline|weasel|relevance inline|qualify evidence|dead link|wayback|dubious|inflation-fn|"
    r"\w+ icon$|oclc|issn|isbn|pp-|use \w+ dates)"
)
SHOWN_PARAMETER = {
    **dict.fromkeys(("nowrap", "small", "smaller", "big", "nobold", "sc", "smallcaps", "vanchor", "keypress"), 1),
    **dict.fromkeys(("flag", "abbr", "tooltip", "nihongo", "nq", "vr"), 1),
    **dict.fromkeys(("lang", "rtl-lang", "script"), 2),
}
SHOWN_TEXT = {
    **{"'s": "'s", "'": "'", "' \"": "'\"", '-"': '"', "mdash": "—", "mdashb": "—", "snd": " – ", "ndash": "–"},
    **{"spaced ndash": " – ", "nbsp": " ", "spaces": " ", "thinsp": " ", "·": "·", "dot": "·", "=": "=", "!": "|"},
}
UNITS = {"C": "°C", "F": "°F", "sqmi": "sq mi", "sqft": "sq ft", "sqkm": "km²", "cuft": "cu ft", "km2": "km²"}
UNITS |= {
    "m2": "m²",
    "ft2": "sq ft",
    "mi2": "sq mi",
    "km3": "km³",
    "m3": "m³",
    "cumi": "cu mi",
    "e6acre": "million acres",
}
RANGES = {"to": "to", "-": "–", "–": "–", "and": "and", "or": "or", "x": "×", "by": "by", "+/-": "±", "to(-)": "to"}

# Sentences and tokens.
BEFORE_NAMES = re.compile(
    r"Mrs?|Ms|Dr|Prof|St|Mt|Ft|Gen|Col|Lt|Capt|Maj|Sgt|Brig|Adm|Gov|Sen|Rep|Rev|Hon|Pres|Fr|Sr|Jr|Messrs|"
    r"vs?|cf|al|spp?|var|trans|eds?|viz|ca?|fl|op|cit"
)
BEFORE_NUMBERS = re.compile(
    r"(?i:nos?|pp?|vols?|figs?|ch|sec|art|est|approx|[bdr]|jan|feb|mar|apr|jun|jul|aug|sept?|oct|nov|dec)"
)
STARTER = re.compile(r"(?:The|Th[eo]se|Th[ai][ts]|It|S?He|They|We|In|On|At|By|For|An?|As|After|Although|However)\b")
END = re.compile(r"[.!?]+[\"'”’)\]]*\s+(?=[\"'“‘(\[]*[A-Z0-9À-Þ])")
MARKS = "".join(sign for sign in map(chr, range(0x300, 0x3100)) if unicodedata.category(sign).startswith("M"))
LETTERS = f"(?:[^\\W_][{MARKS}⁺⁻₊₋]*)+"
TOKEN = re.compile(
    r"\d+(?:[.,:]\d+)+"  # 1,000.5
    r"|(?:[^\W\d_]\.){2,}"  # U.S.
    r"|(?<!\w)[A-Z]\.(?=\s*\S)"  # an initial
    rf"|{LETTERS}(?:['’.](?!s\b){LETTERS})*"  # a word; O'Neill, don't, Amazon.com
    r"|['’]s\b|\.{2,}|-{2,}|\S"
)
WHOLE = re.compile(r"[^\w\s]*[^\W_a-z].*[.!?:;\"”’')\]…]$", re.DOTALL)
LEFTOVER = re.compile(r"\[\[|\]\]|[{}|]|''|</?\w|&#?\w+;|==|__|\[http|www\.|https?:|\^\[")


@dataclass(frozen=True)
class Passage:
    """Plain text, and where in it (first sign, one past the last) the words of links stand."""

    text: str
    links: list[tuple[int, int]]


def articles(raw: Path, rejected: list[Rejected]) -> Iterator[tuple[str, str, str]]:
    """Yield number, title and wikitext of each article in the folder ``raw``; redirects and the like are rejected.

    Raises InputError where the file cannot be read.
    """
    path, found = raw / FOLDER / FILE, False
    for page in _pages(path):
        title = page.findtext("{*}title") or ""
        text = page.findtext("{*}revision/{*}text") or ""
        problem = ""
        if page.find("{*}redirect") is not None:
            problem = "redirect"
        elif page.findtext("{*}ns") != "0":
            problem = "page about the encyclopedia"
        elif UNREAL.search(text):
            problem = "list of meanings"
        if problem:
            rejected.append(Rejected(problem, f"{FILE} article {title!r}", 0))
        else:
            found = True
            yield page.findtext("{*}id") or "", title, text
    if not found:
        raise InputError(f"{path} holds no article; it should be an export of Wikipedia's articles")


def _pages(path: Path) -> list[ElementTree.Element]:
    try:
        with bz2.open(path) as stream:
            content = stream.read(LARGEST + 1)
    except FileNotFoundError:
        raise InputError(f"{path} does not exist; it should be an export of Wikipedia's articles") from None
    except (OSError, EOFError) as error:
        raise InputError(f"{path} is no readable bzip2 file: {error}") from None
    if len(content) > LARGEST:
        raise InputError(f"{path} holds more than {LARGEST} bytes when unpacked")
    try:
        return ElementTree.fromstring(content).findall("{*}page")
    except ElementTree.ParseError as error:
        raise InputError(f"{path} is not XML: {error}") from None


def sentences_of(wikitext: str) -> list[Passage]:
    """Give the sentences of an article's paragraphs, with their links."""
    return [sentence for passage in paragraphs(wikitext) for sentence in split_sentences(passage)]


def label(sentence: Passage) -> tuple[list[str], list[str]]:
    """Give the tokens of a sentence and their tags; a token that has a part in a link belongs to the term."""
    tokens, tags = [], []
    before = -1
    for match in TOKEN.finditer(sentence.text):
        inside = [start for start, end in sentence.links if start < match.end() and match.start() < end]
        tokens.append(match[0])
        tags.append("O" if not inside else "I-TERM" if inside[0] == before else "B-TERM")
        before = inside[-1] if inside else -1
    return tokens, tags


def flaw(sentence: Passage) -> str:
    """Say why a sentence is no plain text, or nothing."""
    for sign, reason in HOLES.items():
        if sign in sentence.text:
            return reason
    if LEFTOVER.search(sentence.text):
        return "left-over markup"
    return "" if WHOLE.match(sentence.text) else "no sentence"


# From an article's text to paragraphs.


def paragraphs(wikitext: str) -> list[Passage]:
    """Give the paragraphs of prose: no heading, list, table, caption or note, and no section of ``BACK_MATTER``."""
    code = mwparserfromhell.parse(SIGNS.sub("", wikitext))
    kept, skipped = [], 0  # skipped: the level of the heading whose section is left out, or 0
    for node in code.nodes:
        if isinstance(node, nodes.Heading):
            if not skipped or node.level <= skipped:
                skipped = node.level if str(node.title).strip().lower() in BACK_MATTER else 0
            kept.append("\n\n")
        elif not skipped:
            kept.append(shown(node))
    blocks: list[list[str]] = [[]]
    for line in "".join(kept).split("\n"):
        text = tidy(line)
        if text.strip(EMPTY) and ITEM not in text and not text.startswith(("|", "!", "{|")):
            blocks[-1].append(text)
        else:
            blocks.append([])
    return [passage_of(" ".join(block)) for block in blocks if block]


def tidy(line: str) -> str:
    """Mend the spaces and the brackets that a note or a pronunciation has left empty."""
    text = unicodedata.normalize("NFC", re.sub("[\u00ad\u200b-\u200f\u2060\ufeff]", "", line))
    text = " ".join(text.split())
    text = re.sub(rf"(?<=[a-z0-9\"”)\]{CLOSE}][.!?])(?={OPEN}?[A-Z][a-z])", " ", text)
    text = re.sub(r"([(\[])[\s,;:]+", r"\1", text)
    text = re.sub(r"[\s,;:]+([)\]])", r"\1", text)
    text = re.sub(r"\s*\(\)", "", text)
    return re.sub(r"\s+([,.;])(?!\w)", r"\1", text)


def passage_of(signed: str) -> Passage:
    """Take the signs of links out of a text, and keep where they stood."""
    text, links, start = "", [], 0
    for part in re.split(f"([{OPEN}{CLOSE}])", signed):
        if part == OPEN:
            start = len(text)
        elif part != CLOSE:
            text += part
        elif re.search(r"[^\W\d_]", text[start:]):
            links.append((start, len(text)))
    return Passage(text, links)


def shown(code: Wikicode | nodes.Node | None) -> str:
    """Give what a reader sees of parsed wikitext, with the signs above; newlines are kept."""
    if code is None:
        return ""
    if isinstance(code, Wikicode):
        return "".join(shown(node) for node in code.nodes)
    if isinstance(code, nodes.Text):
        return str(code)
    if isinstance(code, nodes.Wikilink):
        return _shown_link(code)
    if isinstance(code, nodes.Tag):
        return _shown_tag(code)
    if isinstance(code, nodes.Template):
        return _shown_template(code)
    if isinstance(code, nodes.HTMLEntity):
        return code.normalize()
    if isinstance(code, nodes.ExternalLink):
        return shown(code.title) if code.brackets else ADDRESS
    return ""


def _shown_link(link: nodes.Wikilink) -> str:
    target = str(link.title).strip()
    space, colon, _ = target.removeprefix(":").partition(":")
    is_media = bool(colon) and space.strip().lower() in MEDIA
    if is_media and not target.startswith(":"):
        return ""
    text = " ".join(shown(link.title if link.text is None else link.text).split()).removeprefix(":")
    if is_media or target.startswith("#") or (colon and ELSEWHERE.fullmatch(space.strip())):
        return text if link.text is not None else ""
    return f"{OPEN}{re.sub(f'[{OPEN}{CLOSE}]', '', text)}{CLOSE}"


def _shown_tag(tag: nodes.Tag) -> str:
    name = str(tag.tag).strip().lower()
    if name in VANISHING_TAGS:
        return ""
    if name in FORMULA_TAGS:
        return FORMULA
    contents = shown(tag.contents)
    if name in BLOCK_TAGS:
        return f"\n\n{contents}\n\n"
    if name in ITEM_TAGS:
        return ITEM + contents
    if name in ("sup", "sub"):
        return contents.translate(SUPERSCRIPT if name == "sup" else SUBSCRIPT)
    return " " if name == "br" else contents


def _shown_template(template: nodes.Template) -> str:
    name = " ".join(str(template.name).replace("_", " ").split()).lower()
    values = [shown(parameter.value).strip() for parameter in template.params if str(parameter.name).strip().isdigit()]
    if VANISHING_TEMPLATES.match(name):
        return ""
    if name in SHOWN_TEXT:
        return SHOWN_TEXT[name]
    if name.startswith("lang-"):
        return values[0] if values else UNKNOWN
    if name in SHOWN_PARAMETER:
        return values[SHOWN_PARAMETER[name] - 1] if len(values) >= SHOWN_PARAMETER[name] else UNKNOWN
    if name == "as of" and values:
        return _as_of(values, template.has("lc"))
    if name in COMPUTED and values:
        return COMPUTED[name](values)
    return UNKNOWN


def _convert(values: list[str]) -> str:
    """Show the first quantity of {{convert|6|ft|2|in|m}} or {{convert|5|to|10|km|mi}}, its unit as it is written."""
    parts, rest = [], values
    while len(rest) >= 2 and re.fullmatch(r"[-−+]?[\d.,/+]+", rest[0]):
        parts.append(rest[0])
        if rest[1] in RANGES:
            parts.append(RANGES[rest[1]])
            rest = rest[2:]
        else:
            parts.append(UNITS.get(rest[1], rest[1]))
            rest = rest[2:] if rest[1] == "ft" and rest[3:4] == ["in"] else []
    return " ".join(parts) if parts else UNKNOWN


def _as_of(values: list[str], is_lower_case: bool) -> str:
    """Show {{as of|2014|4|30}}."""
    numbers = {str(number): name for number, name in enumerate(calendar.month_name)}
    months = [numbers.get(value.lstrip("0"), value) for value in values[1:2]]
    return " ".join(["as of" if is_lower_case else "As of", *values[2:3], *months, values[0]])


def _formula(values: list[str]) -> str:
    """Show {{chem|H|2|O}}: a number is set low, a charge high."""
    parts = [value.translate(SUPERSCRIPT if value[-1:] in ("+", "-", "−") else SUBSCRIPT) for value in values]
    return "".join(parts)


def _fraction(values: list[str]) -> str:
    """Show {{frac|3}} as 1/3, {{frac|2|3}} as 2/3 and {{frac|1|2|3}} as 1 2/3."""
    *whole, top, bottom = ["1", *values][-max(2, len(values)) :]
    return " ".join([*whole, f"{top}/{bottom}"])


COMPUTED: dict[str, Callable[[list[str]], str]] = {
    "convert": _convert,
    "chem": _formula,
    "frac": _fraction,
    "sfrac": _fraction,
    "transl": lambda values: values[-1],
    "angbr": lambda values: f"⟨{values[0]}⟩",
    "quote": lambda values: f"\n\n{values[0]}\n\n",
}

# From paragraphs to sentences.


def split_sentences(passage: Passage) -> list[Passage]:
    """Split after a full stop, question or exclamation mark that a capital follows, but not within a link."""
    sentences, start = [], 0
    for match in [*END.finditer(passage.text), None]:
        end = match.end() if match else len(passage.text)
        if match and (_abbreviates(passage.text, match) or any(a < end < b for a, b in passage.links)):
            continue
        links = [(a - start, b - start) for a, b in passage.links if start <= a and b <= end]
        sentences.append(Passage(passage.text[start:end].rstrip(), links))
        start = end
    return [sentence for sentence in sentences if sentence.text]


def _abbreviates(text: str, match: re.Match[str]) -> bool:
    """Say whether the full stop of ``match`` belongs to an abbreviation or an initial."""
    if not match[0].startswith(".") or match[0].startswith(".."):
        return False
    word = text[: match.start()].rpartition(" ")[2].lstrip("\"'“‘([–—-").rpartition("-")[2]
    if re.fullmatch(r"(?:\w\.)+\w", word) or BEFORE_NAMES.fullmatch(word):
        return not STARTER.match(text, match.end())
    if BEFORE_NUMBERS.fullmatch(word) and text[match.end()].isdigit():
        return True
    return len(word) == 1 and word.isupper() and word != "I"
