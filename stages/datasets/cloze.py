"""Sentences of Wikipedia articles with one term left out, to be told from the sentences before (a cloze test).

Source: the file of Wikipedia's articles of stages/core/wikipedia.py, in the wheel of gensim 4.4.0; text by Wikipedia's
contributors, CC BY-SA 3.0 (and GFDL). The form is that of the Children's Book Test (Hill et al. 2016).

**Example.** ``id``; ``key`` and ``article``, its title; ``story``, the 20 sentences before at most, each a list of
tokens; ``question``, the tokens of the sentence with ``___`` for the term left out; ``candidates``, at most 10 terms of
the story, in the order of their first mention; ``answer``, one of them. Sentences that are no plain text are skipped.

**Terms.** The words of an article's links, but for words that stand in over 30 % of all articles ("state", "will").
Wikipedia links a term at its first mention alone, where nothing told it before, so that almost no link could be asked
about. So each place in the article where the same words stand counts as a mention, in whatever case; a mention is one
token of the example, however many words it has. That finds "Apollo" again, but not "the Apollo program" or a plural,
and it takes the fruit for the firm where an article tells of both. The article's own title is a term only where linked.

**Candidates.** The answer and nine more terms of the story, chosen by a hash; none that the question itself names,
since a term that stands twice in its sentence is not asked about and so none of them could be right.

Counts: 9,392 questions from 93 articles: 7,100 training (71 articles), 1,367 validation (14), 925 test (8); 9.86
candidates and 15 mentions of them a question. A guess is right in 10.1 % of the test. Rejected: 20,438 mentions of a
term that is not in the 20 sentences before, 638 of one that stands twice in its sentence, 5 without another candidate,
and 247 sentences (57 with a formula, 41 with an unknown template, 24 with left-over markup, 3 with an address, 64 that
are no sentence, 37 of fewer than 5 and 21 of more than 100 tokens); pages as for stages/datasets/encyclopedia.py.

Split: by article (80/10/10 by a hash of its title), so that the articles are in the same splits as in encyclopedia.

How to read a score: frequency and nearness alone tell many terms, and often several candidates make a true sentence,
so that 100 % cannot be reached; how many a person tells is not known. Few articles make the test.
"""

import hashlib
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import pydantic

from stages.core.base.params import settings
from stages.core.learning.dataset import SPLITS, Example, Prepared, Rejected, split_of
from stages.core.wikipedia import FILE, articles, flaw, label, sentences_of

GAP = "___"


@settings
class Settings:
    """The memory is the last ``sentences`` before the question; the answer stands among at most ``candidates`` terms.

    A question has ``fewest_tokens`` to ``most_tokens``, as all sentences in a memory have. A word that stands in more
    than the share ``everyday`` of the articles is no term. ``validation`` and ``test`` are the fractions of articles in
    these splits.
    """

    sentences: int = pydantic.Field(default=20, ge=1)
    candidates: int = pydantic.Field(default=10, ge=2)
    fewest_tokens: int = pydantic.Field(default=5, ge=1)
    most_tokens: int = pydantic.Field(default=100, ge=1)
    everyday: float = pydantic.Field(default=0.3, gt=0, le=1)
    validation: float = pydantic.Field(default=0.1, gt=0, lt=0.5)
    test: float = pydantic.Field(default=0.1, gt=0, lt=0.5)


@dataclass(frozen=True)
class Article:
    """An article as sentences that can be used, numbered from 1 among all, in which each term is one token."""

    number: str
    title: str
    sentences: list[tuple[int, list[str]]]
    terms: set[str]


def prepare(raw: Path, settings: Settings) -> Prepared:
    """Read the articles, and ask about every term that can be left out; raises InputError where there are none."""
    rejected: list[Rejected] = []
    read = [
        (number, title, _usable(title, text, settings, rejected)) for number, title, text in articles(raw, rejected)
    ]
    stands_in = Counter(word for _, _, sentences in read for word in {w.lower() for _, ts, _ in sentences for w in ts})
    everyday = {word for word, count in stands_in.items() if count > settings.everyday * len(read)}
    splits: dict[str, list[Example]] = {split: [] for split in SPLITS}
    for number, title, sentences in read:
        terms = {term for _, tokens, tags in sentences for term in linked_terms(tokens, tags)} - everyday
        joined = [(index, join_terms(tokens, terms)) for index, tokens, _ in sentences]
        article = Article(number, title, joined, terms)
        splits[split_of(title, settings.validation, settings.test)] += _ask(article, settings, rejected)
    return Prepared(splits, rejected=rejected, facts=_facts(splits))


def linked_terms(tokens: list[str], tags: list[str]) -> list[str]:
    """Give the terms that ``tags`` (B-TERM, I-TERM, O) mark: their tokens in lower case, joined by spaces."""
    terms: list[list[str]] = []
    for token, tag in zip(tokens, tags, strict=True):
        if tag == "B-TERM":
            terms.append([])
        if tag != "O":
            terms[-1].append(token.lower())
    return [" ".join(term) for term in terms]


def join_terms(tokens: list[str], terms: set[str]) -> list[str]:
    """Make each mention of one of ``terms``, in any case, one token; where two begin alike, the longer one."""
    longest = max((term.count(" ") + 1 for term in terms), default=1)
    joined: list[str] = []
    start = 0
    while start < len(tokens):
        lengths = range(min(longest, len(tokens) - start), 1, -1)
        length = next((n for n in lengths if " ".join(tokens[start : start + n]).lower() in terms), 1)
        joined.append(" ".join(tokens[start : start + length]))
        start += length
    return joined


def _usable(
    title: str, text: str, settings: Settings, rejected: list[Rejected]
) -> list[tuple[int, list[str], list[str]]]:
    """Give number, tokens and tags of each sentence of an article that can be used."""
    usable = []
    for index, sentence in enumerate(sentences_of(text), start=1):
        tokens, tags = label(sentence)
        problem = flaw(sentence)
        if not problem and len(tokens) < settings.fewest_tokens:
            problem = f"fewer than {settings.fewest_tokens} tokens"
        if not problem and len(tokens) > settings.most_tokens:
            problem = f"more than {settings.most_tokens} tokens"
        if problem:
            rejected.append(Rejected(f"sentence: {problem}", f"{FILE} article {title!r} sentence {index}", 0))
        else:
            usable.append((index, tokens, tags))
    return usable


def _ask(article: Article, settings: Settings, rejected: list[Rejected]) -> list[Example]:
    """Leave each term out of each sentence in turn, where it can be told from the memory."""
    examples = []
    for place, (index, tokens) in enumerate(article.sentences):
        story = [told for _, told in article.sentences[max(0, place - settings.sentences) : place]]
        first: dict[str, str] = {}  # each term of the memory, as it is written where it is first mentioned
        for token in (token for sentence in story for token in sentence):
            if token.lower() in article.terms:
                first.setdefault(token.lower(), token)
        words = [token.lower() for token in tokens]
        for answer in dict.fromkeys(word for word in words if word in article.terms):
            identity = f"{article.number}_{index}_{words.index(answer)}"
            candidates = _candidates(identity, answer, first, set(words), settings.candidates)
            problem = _problem(answer, first, words, candidates)
            if problem:
                rejected.append(Rejected(f"term: {problem}", f"{FILE} article {article.title!r} sentence {index}", 0))
                continue
            example = {"id": identity, "key": article.title, "article": article.title, "story": story}
            question = [GAP if word == answer else token for word, token in zip(words, tokens, strict=True)]
            examples.append(example | {"question": question, "candidates": candidates, "answer": first[answer]})
    return examples


def _problem(answer: str, first: dict[str, str], words: list[str], candidates: list[str]) -> str:
    """Say why a term cannot be asked about, or nothing."""
    if answer not in first:
        return "not in the sentences before"
    if words.count(answer) > 1:
        return "more than once in its sentence"
    return "no other candidate" if len(candidates) < 2 else ""


def _candidates(identity: str, answer: str, first: dict[str, str], asked: set[str], most: int) -> list[str]:
    """Choose the answer and further terms of the memory, by a hash, in the order of their first mention.

    A term that the question itself names is left out: as no answer stands twice in its sentence, it cannot be right.
    """
    drawn = {
        term: hashlib.sha256(f"{identity}/{term}".encode()).digest() for term in first if term not in asked - {answer}
    }
    others = sorted(drawn.keys() - {answer}, key=lambda term: drawn[term])[: most - 1]
    return [token for term, token in first.items() if term == answer or term in others]


def _facts(splits: dict[str, list[Example]]) -> dict[str, object]:
    """Count articles and candidates, and say how often a guess is right, in percent."""
    facts: dict[str, object] = {"articles": {s: len({e["article"] for e in splits[s]}) for s in SPLITS}}
    counts = {split: [len(example["candidates"]) for example in splits[split]] or [1] for split in SPLITS}
    facts["candidates_per_question"] = {s: round(sum(c) / len(c), 2) for s, c in counts.items()}
    facts["percent_right_by_chance"] = {s: round(sum(100 / n for n in c) / len(c), 2) for s, c in counts.items()}
    return facts
