"""How well trees written as brackets are parsed: labelled bracket F1 (Black et al. 1991), as evalb counts it.

A tree is a list of symbols: ``(nsubj`` opens a bracket with its label, ``•`` reads the next word, ``)`` closes. It is
well formed over n words where there is one outermost bracket, every bracket closes and reads just one word itself, and
n words are read. That word is the bracket's head, and the word of the bracket around it is the head's own head. A
bracket is scored as (label, first word, last word); brackets of one word count too, as evalb counts them.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Any

from stages.core.base.errors import InputError
from stages.core.base.params import settings

OPEN, WORD, CLOSE = "(", "•", ")"


@settings
class Settings:
    """Nothing to set."""


@dataclass
class Bracket:
    """A bracket's label, the words from ``start`` up to before ``end`` in it, those it reads itself, what is around."""

    label: str
    start: int
    end: int
    words: list[int]
    around: Bracket | None

    @property
    def head(self) -> int:
        """The word that it reads itself."""
        return self.words[0]


def score(records: list[dict[str, Any]], settings: Settings) -> dict[str, float]:
    """Compare "prediction" with "target", lists of symbols over the words of "source"; all in percent.

    - "bracket_f1", "precision", "recall": of labelled brackets, over all records; "unlabelled_bracket_f1": of brackets
      without their labels. A malformed prediction is no tree and has no brackets here.
    - "repaired_bracket_f1": as bracket_f1, but what can be read off a malformed prediction counts: brackets that do
      not close end after the last word, and a word beyond the sentence's is none (Vinyals et al. 2015, "Grammar as a
      foreign language", balance brackets likewise).
    - "malformed_rate": predictions that are no well-formed tree over exactly the words of "source".
    - "labelled_attachment": words that have the right head and label; "unlabelled_attachment": the right head.
    - "exact_match": predictions that equal the target.

    Raises InputError where there is no record, one lacks a field, or a target is malformed.
    """
    if not records:
        raise InputError("there are no predictions to score; the test split should hold at least one example")
    labelled, unlabelled, repaired = Overlap(), Overlap(), Overlap()
    words = malformed = right = right_heads = same = 0
    for record in records:
        length = _check(record)
        target, _ = read_brackets(record["target"], length)
        read, sound = read_brackets(record["prediction"], length)
        kept = read if sound else []
        labelled.add(_spans(target, length), _spans(kept, length))
        unlabelled.add(_spans(target, length, labels=False), _spans(kept, length, labels=False))
        repaired.add(_spans(target, length), _spans(read, length))
        truth, guess = attachments(target), attachments(kept)
        words += length
        malformed += not sound
        right += sum(guess.get(word) == truth[word] for word in truth)
        right_heads += sum(word in guess and guess[word][0] == truth[word][0] for word in truth)
        same += record["prediction"] == record["target"]
    return {
        "bracket_f1": labelled.f1,
        "precision": labelled.precision,
        "recall": labelled.recall,
        "unlabelled_bracket_f1": unlabelled.f1,
        "repaired_bracket_f1": repaired.f1,
        "malformed_rate": 100 * malformed / len(records),
        "labelled_attachment": 100 * right / words,
        "unlabelled_attachment": 100 * right_heads / words,
        "exact_match": 100 * same / len(records),
    }


def tallies(records: list[dict[str, Any]], settings: Settings) -> dict[str, tuple[list[float], list[float]]]:
    """Give by example what each adds above and below the fraction line of "bracket_f1" and of "malformed_rate"."""
    found: dict[str, tuple[list[float], list[float]]] = {"bracket_f1": ([], []), "malformed_rate": ([], [])}
    for record in records:
        length = _check(record)
        target = _spans(read_brackets(record["target"], length)[0], length)
        read, sound = read_brackets(record["prediction"], length)
        guess = _spans(read if sound else [], length)
        for name, above, below in (
            ("bracket_f1", 200.0 * (target & guess).total(), float(target.total() + guess.total())),
            ("malformed_rate", 100.0 * (not sound), 1.0),
        ):
            found[name][0].append(above)
            found[name][1].append(below)
    return found


@dataclass
class Overlap:
    """Counts of brackets: of the targets, of the predictions, and of those in both."""

    targets: int = 0
    guesses: int = 0
    both: int = 0

    def add(self, target: Counter, guess: Counter) -> None:
        """Count the brackets of one record; a bracket that stands there twice is matched twice at most."""
        self.targets += target.total()
        self.guesses += guess.total()
        self.both += (target & guess).total()

    @property
    def precision(self) -> float:
        """Percent of the predicted brackets that are right; 0 where none is predicted."""
        return 100 * self.both / self.guesses if self.guesses else 0.0

    @property
    def recall(self) -> float:
        """Percent of the target's brackets that are found."""
        return 100 * self.both / self.targets if self.targets else 0.0

    @property
    def f1(self) -> float:
        """Harmonic mean of precision and recall, in percent."""
        return 200 * self.both / (self.targets + self.guesses) if self.targets + self.guesses else 0.0


def read_brackets(symbols: list[str], length: int) -> tuple[list[Bracket], bool]:
    """Give the brackets in the order of opening, and whether they are a well-formed tree over ``length`` words.

    Of malformed symbols what can be read is read: a bracket that does not close ends with the sentence.
    """
    found: list[Bracket] = []
    stack: list[Bracket] = []
    position, sound = 0, True
    for symbol in symbols:
        if symbol == WORD:
            if stack:
                stack[-1].words.append(position)
            sound &= bool(stack)
            position += 1
        elif symbol == CLOSE:
            sound &= bool(stack)
            if stack:
                stack.pop().end = position
        elif symbol.startswith(OPEN) and len(symbol) > len(OPEN):
            sound &= bool(stack) or not found
            bracket = Bracket(symbol[len(OPEN) :], position, length, [], stack[-1] if stack else None)
            found.append(bracket)
            stack.append(bracket)
        else:
            sound = False
    sound &= not stack and position == length and all(len(bracket.words) == 1 for bracket in found)
    return found, sound


def attachments(brackets: list[Bracket]) -> dict[int, tuple[int, str]]:
    """Give each word's head (-1 for the outermost) and label, of the brackets of a well-formed tree."""
    return {bracket.head: (bracket.around.head if bracket.around else -1, bracket.label) for bracket in brackets}


def _spans(brackets: list[Bracket], length: int, labels: bool = True) -> Counter:
    """Count the brackets as (label, first word, word after the last); one without words is none."""
    spans = ((bracket.label if labels else "", bracket.start, min(bracket.end, length)) for bracket in brackets)
    return Counter(span for span in spans if span[1] < span[2])


def _check(record: dict[str, Any]) -> int:
    """Give the number of words; raises InputError where the record cannot be scored."""
    for field in ("source", "target", "prediction"):
        if field not in record:
            raise InputError(f"prediction {record.get('id')} has no field {field!r}, which bracket_f1 reads")
    length = len(record["source"])
    if not length or not read_brackets(record["target"], length)[1]:
        raise InputError(f"the target of prediction {record.get('id')} is no well-formed tree over its {length} words")
    return length
