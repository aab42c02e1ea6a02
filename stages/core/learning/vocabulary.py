"""Text to symbols, and a two-way map between symbols and indices."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Literal

PADDING = "<pad>"
UNKNOWN = "<unk>"
START = "<s>"
STOP = "</s>"
Unit = Literal["word", "character"]
WORD = re.compile(r"[^\W_]+(?:['’][^\W_]+)*|[^\w\s]|_")


def tokens(text: str, unit: Unit) -> list[str]:
    """Split ``text`` into lower-cased words and single punctuation marks, or into its characters as they are.

    An apostrophe inside a word stays in it ("don't" is one token); white space separates words, and is a character.
    """
    return WORD.findall(text.lower()) if unit == "word" else list(text)


class Vocabulary:
    """Symbols and their indices. Index 0 is padding where the vocabulary has it (``specials`` come first)."""

    def __init__(self, symbols: Sequence[str]) -> None:
        self.symbols = list(symbols)
        self.index = {symbol: index for index, symbol in enumerate(self.symbols)}
        if len(self.index) != len(self.symbols):
            raise ValueError("a symbol stands twice in the vocabulary")

    @classmethod
    def of(cls, symbols: Iterable[str], specials: Sequence[str] = (PADDING, UNKNOWN), least: int = 1) -> Vocabulary:
        """Collect the symbols seen at least ``least`` times, in order of falling count, then of the symbol."""
        counts = Counter(symbols)
        for special in specials:
            counts.pop(special, None)
        kept = sorted((symbol for symbol in counts if counts[symbol] >= least), key=lambda s: (-counts[s], s))
        return cls([*specials, *kept])

    def __len__(self) -> int:
        return len(self.symbols)

    def encode(self, symbols: Iterable[str]) -> list[int]:
        """Indices of ``symbols``; an unseen one becomes <unk>, or raises KeyError where there is no <unk>."""
        unknown = self.index.get(UNKNOWN)
        if unknown is None:
            return [self.index[symbol] for symbol in symbols]
        return [self.index.get(symbol, unknown) for symbol in symbols]

    def decode(self, indices: Iterable[int]) -> list[str]:
        """Symbols at ``indices``."""
        return [self.symbols[index] for index in indices]
