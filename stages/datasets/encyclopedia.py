"""Sentences of Wikipedia articles whose linked words are labelled as key terms, for key term extraction.

Source: the wheel of gensim 4.4.0 (package LGPL-2.1-only; only this test file is unpacked), in it 206 of the first pages
of English Wikipedia's dump of spring 2016, by Wikipedia's contributors, CC BY-SA 3.0 (and GFDL). 100 pages are
redirects and 8 lists of meanings; 98 articles remain, from "A" and "Abacus" to "Azerbaijan".

Counts: 17,983 sentences of running text, of which 8,908 hold a link and can be kept: 6,712 training (74 articles),
1,297 validation (16), 899 test (8); 18,248 terms, and 14 of 100 tokens stand in one. 8,817 sentences are left out
because they hold no link (``unlinked`` keeps them): 3,927 of these hold the words of a term that is linked elsewhere in
the same article, so that their labels would be wrong. So terms are denser here than in running text.

Text: running text alone, as stages/core/wikipedia.py reads it; a sentence that has a flaw there is rejected. Tags are
BIO (B-TERM, I-TERM, O) over the words that a reader sees in the link.

Split: by article (80/10/10 by a hash of its title). With so few articles, the shares and subjects vary: test has
Alabama, Algae, Amateur astronomy, America the Beautiful, Andre Agassi, Animal Farm, Anthropology, Arthur Schopenhauer.

How to read a score: Wikipedia links a term at its first mention in an article, and common terms not at all
(https://en.wikipedia.org/wiki/Wikipedia:Manual_of_Style/Linking). In the sentences kept, 7,428 more places hold the
words of a term that is linked elsewhere in the same article. They count as O: a model that marks them is punished, so
precision is understated, and learning from them lowers recall. No model can know what came first from one sentence
alone. Some links are clauses or everyday words. So scores compare methods on these data; they do not say how many key
terms of a text a method finds, and no term is weighed by how much it matters.
"""

from collections import Counter
from pathlib import Path

import pydantic

from stages.core.base.params import settings
from stages.core.learning.dataset import SPLITS, Example, Prepared, Rejected, split_of
from stages.core.wikipedia import FILE, Passage, articles, flaw, label, sentences_of


@settings
class Settings:
    """A sentence has ``fewest_tokens`` to ``most_tokens``; one without a link is kept where ``unlinked`` is true.

    ``validation`` and ``test`` are the fractions of articles in these splits.
    """

    fewest_tokens: int = pydantic.Field(default=5, ge=1)
    most_tokens: int = pydantic.Field(default=100, ge=1)
    unlinked: bool = False
    validation: float = pydantic.Field(default=0.1, gt=0, lt=0.5)
    test: float = pydantic.Field(default=0.1, gt=0, lt=0.5)


def prepare(raw: Path, settings: Settings) -> Prepared:
    """Read the articles, and label and split their sentences; raises InputError where the file cannot be read."""
    splits: dict[str, list[Example]] = {split: [] for split in SPLITS}
    read: Counter[str] = Counter()
    rejected: list[Rejected] = []
    seen: set[str] = set()
    for number, title, text in articles(raw, rejected):
        split = split_of(title, settings.validation, settings.test)
        read[split] += 1
        for index, sentence in enumerate(sentences_of(text), start=1):
            tokens, tags = label(sentence)
            problem = "duplicate" if sentence.text in seen else _problem(sentence, tokens, settings)
            if problem:
                rejected.append(Rejected(problem, f"{FILE} article {title!r} sentence {index}", 0))
                continue
            seen.add(sentence.text)
            example = {"id": f"{number}_{index}", "key": title, "tokens": tokens, "tags": tags, "article": title}
            splits[split].append(example)
    return Prepared(splits, rejected=rejected, facts=_facts(splits, read))


def _problem(sentence: Passage, tokens: list[str], settings: Settings) -> str:
    """Say why a sentence is left out, or nothing."""
    failed = {
        f"fewer than {settings.fewest_tokens} tokens": len(tokens) < settings.fewest_tokens,
        f"more than {settings.most_tokens} tokens": len(tokens) > settings.most_tokens,
        "without a link": not sentence.links and not settings.unlinked,
    }
    return flaw(sentence) or next((reason for reason, has_failed in failed.items() if has_failed), "")


def _facts(splits: dict[str, list[Example]], read: Counter[str]) -> dict[str, object]:
    terms, inside = {}, {}
    for split in SPLITS:
        tags = [tag for example in splits[split] for tag in example["tags"]]
        terms[split] = tags.count("B-TERM")
        inside[split] = round(100 * (len(tags) - tags.count("O")) / max(len(tags), 1), 2)
    return {"articles": {split: read[split] for split in SPLITS}, "terms": terms, "percent_in_a_term": inside}
