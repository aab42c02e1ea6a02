"""Text to tokens."""

import re
from typing import Literal

Unit = Literal["word", "character"]
WORD = re.compile(r"[^\W_]+(?:['’][^\W_]+)*|[^\w\s]|_")


def tokens(text: str, unit: Unit) -> list[str]:
    """Split ``text`` into lower-cased words and single punctuation marks, or into its characters as they are.

    An apostrophe inside a word stays in it ("don't" is one token); white space separates words, and is a character.
    """
    return WORD.findall(text.lower()) if unit == "word" else list(text)
