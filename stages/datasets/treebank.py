"""Turkish sentences and their dependency trees, annotated by people, as sequences of brackets, for parsing.

Source: turkish-treebanks 1.0.0 (wheel, data/web.conllu and data/wiki.conllu; the Turkish Web Treebank of Google
Research), Apache-2.0, CoNLL-U. 4,851 sentences: 2,541 of the web (forums 1,243, blogs 524, guides 373, reviews 221,
instructions 180) and 2,310 of Wikipedia; 81,370 tokens, 44 relations. A token is not always a word: Turkish words are
cut at derivations, "açık|la|yıcı", and all but the last part of a word hang on the next one by the relation ``ig``
(inflectional group). That is nearly a relation in five, and an easy one.

**Brackets.** A projective tree is written with three kinds of symbols. ``(nsubj`` opens the bracket of a token by its
relation, ``•`` reads the next token of the sentence, ``)`` closes. A token's bracket holds its subtree: the brackets
of the dependents before it, ``•`` for the token itself, the brackets of those after it. "Ali elma yedi", with Ali and
elma on yedi, is ``(root (nsubj • ) (dobj • ) • )``. So n tokens are 3 n symbols, and the tree can be read off again:
a token's head is the token that the bracket around its own one reads itself. A sequence is well formed just if there
is one outermost bracket, each bracket reads one token itself, and all tokens are read; class ``State`` says at each
step what may come next so that this can still be reached. Prepared examples hold the symbols. So a decoder and a metric
need not share code with this file, which their rooms may not import: each knows the rules above by itself, and a slip
in one does not hide in the other.

**Left out.** A tree that is not projective has a subtree with a gap and no such brackets: 315 sentences, 6.5 % (4.0 %
of those of up to 20 tokens). They are likely the harder ones, so figures on the rest are a little too good. Longer
sentences than ``most_tokens`` are left out first: with 20 tokens 3,424 sentences are kept, with 25 3,951.

**Example.** ``id``, the treebank's; ``key``; ``genre``; ``source``, the tokens; ``target``, the symbols; ``heads``,
the number of each token's head, from 1, or 0 for the root; ``relations``.

**Splits.** By a hash of the sentence, 80/10/10. The package's reader has a split by the sentence's place in its file
(of ten the ninth for development, the tenth for test), in which an added sentence moves others; it is not used.
Sentences are near-identical, and share a key, where the Jaccard index of their sets of character trigrams is at least
``near_duplicate``; there are 14 such groups. Sentences of one document may lie in different splits: the 4,851 come from
4,202 documents.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pydantic

from stages.core.base.errors import InputError
from stages.core.base.files import read_text
from stages.core.base.params import settings
from stages.core.learning.dataset import SPLITS, Example, Prepared, Rejected, group_near_duplicates, split_of

FOLDER = Path("turkish", "data")
FILES = ("web.conllu", "wiki.conllu")
COLUMNS = 10
IDENTITY = re.compile(r"# sent_id = (\S+)")
GENRE = re.compile(r"tr-(\w+):")  # at the start of the identity of a sentence of the web
RELATION = re.compile(r"[^\s()_•][^\s()•]*")
OPEN, WORD, CLOSE = "(", "•", ")"


@settings
class Settings:
    """Which sentences are kept, and how they are split.

    ``most_tokens``: a sentence has at most so many (none: no limit); ``near_duplicate``: the trigram Jaccard index (0
    to 1) from which two sentences share a split; ``validation`` and ``test``: fractions of the groups.
    """

    most_tokens: int | None = pydantic.Field(default=20, gt=0)
    near_duplicate: float = pydantic.Field(default=0.5, gt=0, le=1)
    validation: float = pydantic.Field(default=0.1, gt=0, lt=0.5)
    test: float = pydantic.Field(default=0.1, gt=0, lt=0.5)


@dataclass(frozen=True)
class Sentence:
    """A sentence of the treebank and its tree; ``heads`` count tokens from 1, and 0 is the root's."""

    identity: str
    file: str
    line: int
    tokens: list[str]
    heads: list[int]
    relations: list[str]


class Unreadable(ValueError):
    """What is wrong with a sentence of the file, in few words."""


def prepare(raw: Path, settings: Settings) -> Prepared:
    """Read, validate and split the sentences; raises InputError where a file is missing or none can be read."""
    sentences, rejected = _read(raw / FOLDER)
    kept = []
    for sentence in sentences:
        reason = _unfit(sentence, settings)
        if reason:
            rejected.append(Rejected(reason, sentence.file, sentence.line))
        else:
            kept.append(sentence)
    splits: dict[str, list[Example]] = {split: [] for split in SPLITS}
    for sentence, key in zip(kept, _keys(kept, settings.near_duplicate), strict=True):
        splits[split_of(key, settings.validation, settings.test)].append(_example(sentence, key))
    return Prepared(splits, rejected=rejected, facts=_facts(sentences, splits))


# Brackets.


@dataclass(frozen=True)
class State:
    """Where one who writes brackets stands: ``unread`` tokens are to come, and some brackets are open.

    ``read`` tells of each open bracket, outermost first, whether it has read its own token. Three integers would do for
    a batch: ``unread``, how many brackets wait for their token, and ``read`` as bits.
    """

    unread: int
    read: tuple[bool, ...] = ()

    def legal(self) -> frozenset[str]:
        """Give the kinds of symbol (OPEN, WORD, CLOSE) that may come next; none where the tree is complete.

        Whoever keeps to them comes to a complete tree, after 3 symbols a token, and can come to every projective tree.
        """
        opens = self.read.count(False) < self.unread  # each open bracket without a token takes one
        reads = bool(self.read) and not self.read[-1]
        closes = bool(self.read) and self.read[-1] and (len(self.read) > 1 or self.unread == 0)
        return frozenset(kind for kind, may in ((OPEN, opens), (WORD, reads), (CLOSE, closes)) if may)

    def after(self, kind: str) -> State:
        """Give the state after a symbol of a legal ``kind``."""
        if kind == OPEN:
            return State(self.unread, (*self.read, False))
        if kind == WORD:
            return State(self.unread - 1, (*self.read[:-1], True))
        return State(self.unread, self.read[:-1])


def kind_of(symbol: str) -> str:
    """Give the kind of a symbol; "" where it is none."""
    if symbol in (WORD, CLOSE):
        return symbol
    return OPEN if symbol.startswith(OPEN) and len(symbol) > 1 else ""


def brackets(heads: Sequence[int], relations: Sequence[str]) -> list[str]:
    """Write a tree as symbols; raises ValueError where it is not projective, for it then has no brackets.

    ``heads`` (tokens,) count from 1, with 0 for the root, and are a tree; ``relations`` (tokens,).
    """
    if not is_projective(heads):
        raise ValueError("the tree is not projective: a token's subtree has a gap, and no bracket holds it")
    starting: list[list[int]] = [[] for _ in heads]
    ending = [0] * len(heads)
    spans = subtrees(heads)
    for token in sorted(range(len(heads)), key=lambda token: spans[token][0] - spans[token][1]):  # widest first
        first, last, _ = spans[token]
        starting[first].append(token)
        ending[last] += 1
    symbols = []
    for place in range(len(heads)):
        symbols += [f"{OPEN}{relations[token]}" for token in starting[place]]
        symbols += [WORD, *[CLOSE] * ending[place]]
    return symbols


def tree(symbols: Sequence[str]) -> tuple[list[int], list[str]]:
    """Read heads and relations off ``symbols``; raises ValueError that names the first symbol that may not be there."""
    state = State(symbols.count(WORD))
    labels: list[str] = []  # of each bracket, in the order of opening: its relation,
    own: list[int] = []  # the token that it reads itself, from 1, 0 while that is to come,
    around: list[int] = []  # and the bracket around it, -1 for the outermost
    stack = [-1]
    order: list[int] = []  # of each token its bracket
    for place, symbol in enumerate(symbols, start=1):
        kind = kind_of(symbol)
        if kind not in state.legal():
            raise ValueError(f"symbol {place} is {symbol!r}, where there should be {_any_of(state.legal())}")
        state = state.after(kind)
        if kind == OPEN:
            labels.append(symbol[len(OPEN) :])
            own.append(0)
            around.append(stack[-1])
            stack.append(len(own) - 1)
        elif kind == WORD:
            order.append(stack[-1])
            own[stack[-1]] = len(order)
        else:
            stack.pop()
    if state.legal():
        raise ValueError(f"there are {len(symbols)} symbols, after which there should be {_any_of(state.legal())}")
    heads = [own[around[bracket]] if around[bracket] >= 0 else 0 for bracket in order]
    return heads, [labels[bracket] for bracket in order]


def _any_of(kinds: frozenset[str]) -> str:
    return " or ".join(sorted(kinds)) or "nothing more"


def subtrees(heads: Sequence[int]) -> list[tuple[int, int, int]]:
    """Give of each token the first and last place (from 0) of its subtree, and how many tokens that has."""
    spans = [(place, place, 1) for place in range(len(heads))]
    for place in range(len(heads)):
        above = heads[place]
        while above:
            first, last, count = spans[above - 1]
            spans[above - 1] = (min(first, place), max(last, place), count + 1)
            above = heads[above - 1]
    return spans


def is_projective(heads: Sequence[int]) -> bool:
    """Tell whether no subtree of the tree has a gap."""
    return all(last - first + 1 == count for first, last, count in subtrees(heads))


# Reading.


def _read(folder: Path) -> tuple[list[Sentence], list[Rejected]]:
    sentences: dict[str, Sentence] = {}
    rejected = []
    for name in FILES:
        for line, lines in _blocks(read_text(folder / name)):
            try:
                sentence = read_sentence(lines, name, line)
                if sentence.identity in sentences:
                    raise Unreadable("the same sent_id stands above")
            except Unreadable as error:
                rejected.append(Rejected(str(error), name, line))
            else:
                sentences[sentence.identity] = sentence
    if not sentences:
        raise InputError(f"{folder} holds no readable sentence in {' and '.join(FILES)}; they should be CoNLL-U")
    return list(sentences.values()), rejected


def _blocks(text: str) -> Iterator[tuple[int, list[str]]]:
    """Yield the number of the first line and the lines of each sentence; blank lines part them."""
    block: list[str] = []
    for number, line in enumerate([*text.split("\n"), ""], start=1):
        if line.strip():
            block.append(line)
        elif block:
            yield number - len(block), block
            block = []


def read_sentence(lines: list[str], file: str, line: int) -> Sentence:
    """Read the CoNLL-U ``lines`` of one sentence; raises Unreadable where they are no sentence with a tree."""
    identity = next((found[1] for text in lines if (found := IDENTITY.fullmatch(text))), "")
    if not identity:
        raise Unreadable("no sent_id")
    rows = [text.split("\t") for text in lines if not text.startswith("#")]
    if any(len(row) != COLUMNS or not all(row) for row in rows):
        raise Unreadable(f"a token line without {COLUMNS} filled columns")
    if any("-" in row[0] or "." in row[0] for row in rows):
        raise Unreadable("a token of several words, or an empty node")
    if not rows or [row[0] for row in rows] != [str(number) for number in range(1, len(rows) + 1)]:
        raise Unreadable("token numbers that do not count from 1")
    if any(not RELATION.fullmatch(row[7]) for row in rows):
        raise Unreadable("a relation that is no name")
    heads = _heads([row[6] for row in rows])
    return Sentence(identity, file, line, [row[1] for row in rows], heads, [row[7] for row in rows])


def _heads(texts: list[str]) -> list[int]:
    """Read the column of heads; raises Unreadable where it is no tree."""
    if any(not (text.isascii() and text.isdigit() and int(text) <= len(texts)) for text in texts):
        raise Unreadable("a head that is no token of the sentence")
    heads = [int(text) for text in texts]
    if heads.count(0) != 1:
        raise Unreadable("no root, or several")
    for above in heads:
        for _ in texts:
            above = heads[above - 1] if above else 0
        if above:
            raise Unreadable("heads that go round in a circle")
    return heads


# Choosing and splitting.


def _unfit(sentence: Sentence, settings: Settings) -> str:
    """Say why a sentence is left out, or nothing."""
    if settings.most_tokens is not None and len(sentence.tokens) > settings.most_tokens:
        return f"more than {settings.most_tokens} tokens"
    return "" if is_projective(sentence.heads) else "not projective"


def _keys(sentences: list[Sentence], threshold: float) -> list[str]:
    """Give each sentence's key: the text of the first sentence of its group."""
    texts = [" ".join(sentence.tokens).lower() for sentence in sentences]
    return [texts[first] for first in group_near_duplicates([_trigrams(text) for text in texts], threshold)]


def _trigrams(text: str) -> frozenset[str]:
    spaced = f" {re.sub(r'[0-9]+', '0', text)} "
    return frozenset(spaced[start : start + 3] for start in range(len(spaced) - 2))


def _example(sentence: Sentence, key: str) -> Example:
    symbols = brackets(sentence.heads, sentence.relations)
    assert tree(symbols) == (sentence.heads, sentence.relations), f"{sentence.identity} does not come back"
    return {
        "id": sentence.identity,
        "key": key,
        "genre": _genre(sentence),
        "source": sentence.tokens,
        "target": symbols,
        "heads": sentence.heads,
        "relations": sentence.relations,
    }


def _genre(sentence: Sentence) -> str:
    found = GENRE.match(sentence.identity)
    return found[1] if found else Path(sentence.file).stem


def _facts(sentences: list[Sentence], splits: dict[str, list[Example]]) -> dict[str, Any]:
    every = [example for split in SPLITS for example in splits[split]]
    groups = Counter(example["key"] for example in every)
    known = {token for example in splits["train"] for token in example["source"]}
    tested = [token for example in splits["test"] for token in example["source"]]
    unknown = sum(token not in known for token in tested)
    return {
        "sentences_read": len(sentences),
        "tokens_read": sum(len(sentence.tokens) for sentence in sentences),
        "not_projective": sum(not is_projective(sentence.heads) for sentence in sentences),
        "tokens": {split: sum(len(example["source"]) for example in splits[split]) for split in SPLITS},
        "genres": dict(Counter(example["genre"] for example in every).most_common()),
        "relations": len({relation for example in every for relation in example["relations"]}),
        "percent_of_test_tokens_unknown_to_training": round(100 * unknown / max(len(tested), 1), 1),
        "groups_of_several": sum(size > 1 for size in groups.values()),
    }
