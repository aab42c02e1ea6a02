"""How good outputs are by the length of what was read or said: a measure for each kind of record."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rapidfuzz.distance import Levenshtein
from sacrebleu.metrics.bleu import BLEU

Record = Mapping[str, Any]
Records = Sequence[Record]

FEWEST = 5  # test examples of a band, for a point
MOST = 10  # bands
WIDTHS = (1, 2, 3, 4, 5, 10, 20, 50, 100)  # of a band
OPEN, WORD, CLOSE = "(", "•", ")"


@dataclass(frozen=True)
class Measure:
    """How records of a kind are scored: which ones ``fit``, their ``length`` and the ``value`` of several of them.

    ``heading``, ``axis`` (of lengths), ``unit`` (of values) and ``note`` say so in words.
    """

    fits: Callable[[Record], bool]
    length: Callable[[Record], int]
    value: Callable[[Records], float]
    heading: str
    axis: str
    unit: str
    note: str


def measure_of(records: Records) -> Measure | None:
    """Give the measure for records of this kind, or None where there is none."""
    return next((measure for measure in MEASURES if records and measure.fits(records[0])), None)


def bands(lengths: Sequence[int]) -> list[range]:
    """Divide lengths from 1 on into at most ``MOST`` bands of one width; what is longer than 98 % is in the last.

    Bands begin at the shortest length, rounded down to a multiple of the width, plus 1.
    """
    ordered = sorted(length for length in lengths if length > 0)
    if not ordered:
        return []
    low, high = ordered[0], ordered[math.ceil(0.98 * (len(ordered) - 1))]
    width = next(width for width in (*WIDTHS, high) if (high - 1) // width - (low - 1) // width < MOST)
    starts = range((low - 1) // width * width + 1, high + 1, width)
    return [*(range(start, start + width) for start in starts[:-1]), range(starts[-1], ordered[-1] + 1)]


def name(band: range, last: bool) -> str:
    """Write a band: "3", "3–4", or "9+" for a ``last`` one that takes in all that is longer."""
    if len(band) == 1:
        return str(band.start)
    return f"{band.start}+" if last else f"{band.start}–{band.stop - 1}"


def points(records: Records, measure: Measure) -> dict[str, float]:
    """Give the value in each band that has at least ``FEWEST`` records, by the band's name, the shortest first."""
    parts = bands([measure.length(record) for record in records])
    found = {}
    for band in parts:
        members = [record for record in records if measure.length(record) in band]
        if len(members) >= FEWEST:
            found[name(band, band is parts[-1])] = measure.value(members)
    return found


# What records of each kind are scored by; all in percent.


def token_error_rate(records: Records) -> float:
    """Edits of the symbols heard over the symbols said."""
    edits = sum(Levenshtein.distance(record["symbols"], record["prediction"]) for record in records)
    return 100 * edits / sum(len(record["symbols"]) for record in records)


def phoneme_error_rate(records: Records) -> float:
    """Edits to the nearest pronunciation over its phones; of equally near ones the first counts."""
    edits = phones = 0
    for record in records:
        found = [(Levenshtein.distance(target, record["prediction"]), target) for target in record["targets"]]
        distance, nearest = min(found, key=lambda pair: pair[0])
        edits += distance
        phones += len(nearest)
    return 100 * edits / phones


def bracket_f1(records: Records) -> float:
    """F1 of labelled brackets; a malformed prediction has none."""
    guesses = targets = both = 0
    for record in records:
        length = len(record["source"])
        target, guess = spans(record["target"], length) or Counter(), spans(record["prediction"], length) or Counter()
        targets += target.total()
        guesses += guess.total()
        both += (target & guess).total()
    return 200 * both / (targets + guesses) if targets + guesses else 0.0


def spans(symbols: Sequence[str], length: int) -> Counter[tuple[str, int, int]] | None:
    """Count the brackets of a tree over ``length`` tokens by (label, first, after the last); None where malformed."""
    found: Counter[tuple[str, int, int]] = Counter()
    stack: list[list[Any]] = []  # label, first token, whether its own token has been read
    place = 0
    for symbol in symbols:
        if symbol == WORD and stack and not stack[-1][2]:
            stack[-1][2] = True
            place += 1
        elif symbol == CLOSE and stack and stack[-1][2]:
            label, first, _ = stack.pop()
            found[label, first, place] += 1
        elif symbol.startswith(OPEN) and len(symbol) > 1 and (stack or not found):
            stack.append([symbol[1:], place, False])
        else:
            return None
    return found if found and not stack and place == length else None


def bleu(records: Records) -> float:
    """Corpus BLEU of characters; of short texts, whose orders of n-gram none of the records reaches, by the others."""
    metric = BLEU(tokenize="zh", effective_order=True)
    return float(metric.corpus_score([r["prediction"] for r in records], [[r["target"] for r in records]]).score)


def exact(records: Records) -> float:
    """The share of predictions that equal their target."""
    return 100 * sum(record["prediction"] == record["target"] for record in records) / len(records)


def _lists(record: Record) -> bool:
    return isinstance(record.get("target"), list) and isinstance(record.get("prediction"), list)


def _brackets(record: Record) -> bool:
    return _lists(record) and isinstance(record.get("source"), list) and record["target"][0].startswith(OPEN)


MEASURES = (
    Measure(
        fits=lambda record: "symbols" in record and isinstance(record.get("prediction"), list),
        length=lambda record: len(record["symbols"]),
        value=token_error_rate,
        heading="Errors by length",
        axis="symbols said",
        unit="token error rate (%)",
        note="The share of symbols wrong (substituted, left out or added) among test examples of so many symbols",
    ),
    Measure(
        fits=lambda record: "targets" in record and isinstance(record.get("prediction"), list),
        length=lambda record: len(record["source"]),
        value=phoneme_error_rate,
        heading="Errors by length",
        axis="letters of the word",
        unit="phoneme error rate (%)",
        note="The share of phones wrong (substituted, left out or added), against the nearest pronunciation, among "
        "test words of so many letters",
    ),
    Measure(
        fits=_brackets,
        length=lambda record: len(record["source"]),
        value=bracket_f1,
        heading="Score by length",
        axis="tokens of the sentence",
        unit="bracket F1 (%)",
        note="F1 of labelled brackets, of which a malformed prediction has none, among test sentences of so many "
        "tokens",
    ),
    Measure(
        fits=lambda record: _lists(record) and ("vector" in record or "neighbours" in record),
        length=lambda record: len(record["target"]),
        value=exact,
        heading="Score by length",
        axis="words of the text",
        unit="exact match (%)",
        note="The share of test texts of so many words that come back word for word",
    ),
    Measure(
        fits=lambda record: all(isinstance(record.get(part), str) for part in ("source", "target", "prediction")),
        length=lambda record: len(record["source"].split()),
        value=bleu,
        heading="Score by length",
        axis="words of the source",
        unit="BLEU",
        note="BLEU of strings of 1 to 4 characters, as far as the texts have such, among test sentences of so many "
        "words, divided at spaces",
    ),
)
