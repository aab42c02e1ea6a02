"""Write texts again from their vectors, and ask the vectors about the order of words.

The order probe: a text, and the same text with two different words of one sentence exchanged; given the vector of the
first, which of the two was it? A network answers with the order that its decoder finds more probable, a bag of words
with the one whose vector is the given one. A tie counts one half.
"""

from __future__ import annotations

from hashlib import sha256
from itertools import chain, combinations
from typing import Any, Protocol

import numpy as np
import pydantic
from scipy.sparse import csr_array

from stages.core.base.params import settings

DIGITS = 4


@settings
class Settings:
    """``longest``: a sentence has at most so many symbols, ``sentences``: a document at most so many sentences.

    ``neighbours``: how many of the nearest other texts a record names.
    """

    longest: int = pydantic.Field(default=100, gt=0)
    sentences: int = pydantic.Field(default=6, gt=0)
    neighbours: int = pydantic.Field(default=3, ge=0)


class Rebuilding(Protocol):
    """What the decoder asks of a task; a text is the words of its sentences, a vector numbers or counts by word."""

    def encode(self, batch: Any) -> Any:
        """Give the texts' vectors."""

    def tell(self, vectors: Any) -> list[dict[str, Any]]:
        """Give what a record says of each vector."""

    def write(self, vectors: Any, longest: int, sentences: int) -> list[list[list[str]]]:
        """Write a text from each vector."""

    def collate_words(self, texts: list[list[list[str]]]) -> Any:
        """Make a batch."""

    def prefer(self, batch: Any, other: Any, vectors: Any) -> list[dict[str, Any]]:
        """Say for each vector whether the text of ``batch`` (1) or of ``other`` (0) was it; 0.5 is a tie."""


def decode(task: Rebuilding, batch: dict[str, Any], settings: Settings) -> list[dict[str, Any]]:
    """Give for each text its words ("target"), those written from its vector ("prediction"), and the vector.

    "order" has what the probe says: the words "exchanged", and its "outcome" (1, 0 or 0.5); none where all words of
    every sentence are alike.
    """
    texts: list[list[list[str]]] = batch["texts"]
    vectors = task.encode(batch)
    written = task.write(vectors, settings.longest, settings.sentences)
    exchanged = [exchange(text) for text in texts]
    others = [text if swap is None else swap[1] for text, swap in zip(texts, exchanged, strict=True)]
    outcomes = task.prefer(batch, task.collate_words(others), vectors)
    return [
        {
            "target": list(chain.from_iterable(text)),
            "prediction": list(chain.from_iterable(prediction)),
            **told,
            "order": None if swap is None else {"exchanged": swap[0], **outcome},
        }
        for text, prediction, told, swap, outcome in zip(
            texts, written, task.tell(vectors), exchanged, outcomes, strict=True
        )
    ]


def exchange(text: list[list[str]]) -> tuple[list[str], list[list[str]]] | None:
    """Exchange two different words of one sentence, chosen by the text's SHA-256: the two, and the text after.

    Gives none where no sentence has two different words.
    """
    pairs = [
        (place, left, right)
        for place, words in enumerate(text)
        for left, right in combinations(range(len(words)), 2)
        if words[left] != words[right]
    ]
    if not pairs:
        return None
    digest = sha256("\n".join(" ".join(words) for words in text).encode()).digest()
    place, left, right = pairs[int.from_bytes(digest[:8], "big") % len(pairs)]
    changed = [list(words) for words in text]
    changed[place][left], changed[place][right] = text[place][right], text[place][left]
    return [text[place][left], text[place][right]], changed


def complete(records: list[dict[str, Any]], settings: Settings) -> list[dict[str, Any]]:
    """Add "neighbours" to each record: id, text and cosine of the nearest records whose words are others.

    The cosine is that of "vector", or of "bag", the counts by word.
    """
    cosines = np.round(_cosines(records), DIGITS)
    texts = [" ".join(record["target"]) for record in records]
    completed = []
    for row, record in enumerate(records):
        nearest: dict[str, dict[str, Any]] = {}
        for other in np.argsort(-cosines[row], kind="stable").tolist():
            if len(nearest) == settings.neighbours:
                break
            if texts[other] != texts[row]:
                found = {"id": records[other]["id"], "text": texts[other], "cosine": float(cosines[row, other])}
                nearest.setdefault(texts[other], found)
        completed.append({**record, "neighbours": list(nearest.values())})
    return completed


def _cosines(records: list[dict[str, Any]]) -> np.ndarray:
    """Give the cosine of any two records (n, n); 0 where one of them is all zeros."""
    if "vector" in records[0]:
        vectors = np.array([record["vector"] for record in records], dtype=np.float64)
        vectors /= np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
        return np.asarray(vectors @ vectors.T)
    bags: list[dict[str, int]] = [record["bag"] for record in records]
    columns = {word: column for column, word in enumerate(sorted(set().union(*bags)))}
    places = [columns[word] for bag in bags for word in bag]
    counts = [count for bag in bags for count in bag.values()]
    starts = np.cumsum([0, *map(len, bags)])
    # Sparse, since a text has few of all the words.
    matrix = csr_array((counts, places, starts), shape=(len(bags), max(len(columns), 1)), dtype=np.float64)
    products = (matrix @ matrix.T).toarray()
    lengths = np.sqrt(np.diag(products))
    return np.asarray(products / np.maximum(np.outer(lengths, lengths), 1e-12))
