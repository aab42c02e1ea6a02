"""Sentences of English film reviews, each rated by people, for sentiment.

Source: vaderSentiment 3.3.2 (source distribution), MIT licence; in it the archive
additional_resources/hutto_ICWSM_2014.tar.gz, the data of Hutto and Gilbert 2014 (VADER, ICWSM), whose README asks to
cite that paper. It has the sentences from rottentomatoes.com of Pang and Lee; under which terms these were written the
package does not say. Each was rated by 15 to 29 people from -4 (extremely negative) to 4 (extremely positive); the file
gives the mean.

Counts: 10,605 film sentences, 2 of which repeat one. 10,041 have a mean rating further than ``neutral`` from zero:
4,981 positive, 5,060 negative; 8,045 training, 974 validation, 1,022 test. Length: 1 to 51 words (by spaces), half of
them at most 18. The source has lost hyphens and dashes ("sci fi", "proves unrelentingly grim and equally engrossing").

``unlabelled`` is a fourth split, without labels, for training a language model or an autoencoder first: sentences of
product reviews (3,685), of editorials (5,112), tweets (4,043), and the film sentences near zero (562), together 13,402.
One that repeats another, or is near a labelled sentence, is left out, so none equals one of validation or test.

Split: sentences that say nearly the same form a group, and a group lies in one split. Two are near where the Jaccard
index of their sets of words is at least ``near_duplicate``; case, punctuation and the value of a number do not count.
The key is the group's first sentence. At 0.6 the largest group holds 4 labelled sentences, at 0.5 14, at 0.4 34.

Not good for: whole reviews or other fields (films only), mixed feelings (a rating near zero is left out, which makes
the task easier than it is), or comparison with published figures on these sentences, whose labels come from the whole
review and not from raters.
"""

import html
import re
import tarfile
import zlib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pydantic

from stages.core.base.errors import InputError
from stages.core.base.params import settings
from stages.core.learning.dataset import SPLITS, Example, Prepared, Rejected, group_near_duplicates, split_of

ARCHIVE = Path("vader") / "additional_resources" / "hutto_ICWSM_2014.tar.gz"
LABELLED = "movies"
FILES = {
    "movies": "movieReviewSnippets_GroundTruth.txt",
    "products": "amazonReviewSnippets_GroundTruth.txt",
    "editorials": "nytEditorialSnippets_GroundTruth.txt",
    "tweets": "tweets_GroundTruth.txt",
}
LARGEST = 2_000_000  # bytes of a file in the archive
HIGHEST = 4.0  # the scale of the ratings is -HIGHEST to HIGHEST


@settings
class Settings:
    """``neutral``: a mean rating that is no further from zero gives no label. ``near_duplicate``: the Jaccard index (0
    to 1) of two sentences' words from which they share a group. ``validation`` and ``test``: fractions of the groups.
    """

    neutral: float = pydantic.Field(default=0.5, ge=0, lt=HIGHEST)
    near_duplicate: float = pydantic.Field(default=0.6, gt=0, le=1)
    validation: float = pydantic.Field(default=0.1, gt=0, lt=0.5)
    test: float = pydantic.Field(default=0.1, gt=0, lt=0.5)


@dataclass(frozen=True)
class Snippet:
    """One sentence: the ``source`` it is from, its line there, the mean rating, the text and the text's words."""

    source: str
    line: int
    rating: float
    text: str
    words: tuple[str, ...]

    def example(self, key: str) -> Example:
        """Give the example, without a label."""
        return {"id": f"{self.source}_{self.line}", "key": key, "text": self.text}


def prepare(raw: Path, settings: Settings) -> Prepared:
    """Read, clean, group and split the sentences; raises InputError where the archive or a file in it is unreadable."""
    rejected: list[Rejected] = []
    snippets = _distinct(_read(raw / ARCHIVE, rejected), rejected)
    labelled = [snippet for snippet in snippets if snippet.source == LABELLED and _rated(snippet, settings)]
    others = [snippet for snippet in snippets if snippet.source != LABELLED or not _rated(snippet, settings)]
    first = group_near_duplicates([frozenset(snippet.words) for snippet in labelled + others], settings.near_duplicate)
    splits: dict[str, list[Example]] = {split: [] for split in (*SPLITS, "unlabelled")}
    for snippet, index in zip(labelled, first, strict=False):
        key = " ".join(labelled[index].words)
        label = "positive" if snippet.rating > 0 else "negative"
        example = {**snippet.example(key), "label": label, "rating": round(snippet.rating, 4)}
        splits[split_of(key, settings.validation, settings.test)].append(example)
    for snippet, index in zip(others, first[len(labelled) :], strict=True):
        if index < len(labelled):
            rejected.append(
                Rejected("without a label and near a labelled sentence", FILES[snippet.source], snippet.line)
            )
        else:
            key = " ".join(others[index - len(labelled)].words)
            splits["unlabelled"].append({**snippet.example(key), "source": snippet.source})
    return Prepared(splits, rejected=rejected, facts=_facts(splits, first[: len(labelled)]))


def words_of(text: str) -> tuple[str, ...]:
    """Give the lower-cased words and, as 0, the numbers of ``text``, without punctuation."""
    found = re.findall(r"[^\W\d_]+|\d+", text.lower())
    return tuple("0" if word.isdigit() else word for word in found)


def _rated(snippet: Snippet, settings: Settings) -> bool:
    return abs(snippet.rating) > settings.neutral


def _distinct(snippets: Iterator[Snippet], rejected: list[Rejected]) -> list[Snippet]:
    seen: dict[tuple[str, ...], Snippet] = {}
    for snippet in snippets:
        if seen.setdefault(snippet.words, snippet) is not snippet:
            rejected.append(Rejected("duplicate", FILES[snippet.source], snippet.line))
    return list(seen.values())


def _facts(splits: dict[str, list[Example]], first: list[int]) -> dict[str, object]:
    labels = {split: dict(sorted(Counter(ex["label"] for ex in splits[split]).items())) for split in SPLITS}
    sizes = Counter(first)
    return {
        "labels": labels,
        "unlabelled": dict(Counter(example["source"] for example in splits["unlabelled"])),
        "groups": len(sizes),
        "groups_of_several": sum(size > 1 for size in sizes.values()),
        "largest_group": max(sizes.values(), default=0),
    }


# Reading.


def _read(path: Path, rejected: list[Rejected]) -> Iterator[Snippet]:
    texts = _members(path)
    for source, name in FILES.items():
        for number, line in enumerate(texts[name].split("\n"), start=1):
            if not line.strip():
                continue
            columns = line.split("\t")
            text = " ".join(html.unescape(columns[-1]).split())
            problem, rating = _check(columns, text)
            if problem:
                rejected.append(Rejected(problem, name, number))
            else:
                yield Snippet(source, number, rating, text, words_of(text))


def _check(columns: list[str], text: str) -> tuple[str, float]:
    """Say what is wrong with a line ("" for nothing), and give its rating."""
    if len(columns) != 3:
        return "not the three columns id, rating and text", 0.0
    try:
        rating = float(columns[1])
    except ValueError:
        return "rating is no number", 0.0
    if not abs(rating) <= HIGHEST:
        return f"rating outside of -{HIGHEST:g} to {HIGHEST:g}", 0.0
    return ("" if words_of(text) else "no words"), rating


def _members(path: Path) -> dict[str, str]:
    """Read the files named in ``FILES`` from the archive at ``path``, into memory only."""
    texts: dict[str, str] = {}
    try:
        with tarfile.open(path, "r:gz") as archive:
            for info in archive:
                name = info.name.rpartition("/")[2]
                if name in FILES.values():
                    texts[name] = _member(archive, info, f"{path}: {info.name}")
    except FileNotFoundError:
        raise InputError(f"{path} does not exist; it should be the archive of rated sentences") from None
    except (tarfile.TarError, EOFError, OSError, zlib.error) as error:
        raise InputError(f"{path} is no readable tar.gz archive: {error}") from None
    for name in FILES.values():
        if name not in texts:
            raise InputError(f"{path} holds no file {name}")
    return texts


def _member(archive: tarfile.TarFile, info: tarfile.TarInfo, where: str) -> str:
    if info.size > LARGEST:
        raise InputError(f"{where} has {info.size} bytes; at most {LARGEST} are read")
    stream = archive.extractfile(info) if info.isreg() else None
    if stream is None:
        raise InputError(f"{where} is a link, a folder or a device; it should be a plain file")
    try:
        return stream.read().decode("utf-8")
    except UnicodeDecodeError as error:
        raise InputError(f"{where} is not UTF-8: byte {error.object[error.start]:#04x} at {error.start}") from None
