"""Short paragraphs of English: consecutive sentences of a product review or of a newspaper editorial.

Source: vaderSentiment 3.3.2 (source distribution), MIT licence; in it the archive
additional_resources/hutto_ICWSM_2014.tar.gz, the data of Hutto and Gilbert 2014 (VADER, ICWSM), whose README asks to
cite that paper. Its product reviews are those of Hu and Liu 2004, its editorials are from the New York Times; under
which terms these were written the package does not say. A line's identifier tells review and sentence ("12_3").

A paragraph is ``fewest_sentences`` to ``most_sentences`` sentences that follow each other in one text, in turn of each
length; no sentence is in two. A sentence is cut after its first ``most_words`` words (punctuation marks counted), since
few are that short: so a paragraph is not all that was written. Sentences without a letter or digit are left out, and
where a sentence is missing a paragraph ends.

Counts: 3,708 sentences of 300 reviews and 5,190 of 498 editorials, of which 4 have no word; 8,572 stand in 3,125
paragraphs (2,579 training, 308 validation, 238 test), 6,926 of them cut. A paragraph has 20 to 40 words for the most
part.

Split: all of a review or an editorial lies in one split; its key is its kind and number.
"""

import html
import re
import tarfile
import zlib
from collections import Counter
from itertools import cycle
from pathlib import Path

import pydantic

from stages.core.base.errors import InputError
from stages.core.base.params import settings
from stages.core.learning.dataset import SPLITS, Example, Prepared, Rejected, split_of

ARCHIVE = Path("vader") / "additional_resources" / "hutto_ICWSM_2014.tar.gz"
FILES = {"review": "amazonReviewSnippets_GroundTruth.txt", "editorial": "nytEditorialSnippets_GroundTruth.txt"}
LARGEST = 2_000_000  # bytes of a file in the archive
# A word or a punctuation mark, as tasks divide text (stages/core/learning/vocabulary.py).
WORD = re.compile(r"[^\W_]+(?:['’][^\W_]+)*|[^\w\s]|_")
IDENTIFIER = re.compile(r"(\d+)_(\d+)")


@settings
class Settings:
    """How many sentences and words a paragraph has; ``validation`` and ``test`` are fractions of the texts."""

    fewest_sentences: int = pydantic.Field(default=2, ge=1)
    most_sentences: int = pydantic.Field(default=4, ge=1)
    most_words: int = pydantic.Field(default=10, ge=1)
    validation: float = pydantic.Field(default=0.1, gt=0, lt=0.5)
    test: float = pydantic.Field(default=0.1, gt=0, lt=0.5)

    @pydantic.model_validator(mode="after")
    def _is_range(self) -> "Settings":
        if self.fewest_sentences > self.most_sentences:
            raise ValueError("fewest_sentences should be at most most_sentences")
        return self


def prepare(raw: Path, settings: Settings) -> Prepared:
    """Read the archive, cut sentences, and gather paragraphs; raises InputError where a file is unreadable."""
    rejected: list[Rejected] = []
    splits: dict[str, list[Example]] = {split: [] for split in SPLITS}
    sentences: Counter[str] = Counter()
    shortened = 0
    for kind, name in FILES.items():
        text = _member(raw / ARCHIVE, name)
        for number, lines in _texts(text, name, rejected).items():
            key = f"{kind} {number}"
            for first, paragraph in _paragraphs(lines, settings):
                split = split_of(key, settings.validation, settings.test)
                kept = [cut(sentence, settings.most_words) for sentence in paragraph]
                shortened += sum(mine != sentence for mine, sentence in zip(kept, paragraph, strict=True))
                sentences[split] += len(kept)
                splits[split].append({"id": f"{kind}_{number}_{first}", "key": key, "sentences": kept})
    facts = {"sentences": dict(sentences), "cut": shortened}
    return Prepared(splits, rejected=rejected, facts=facts)


def cut(sentence: str, most: int) -> str:
    """Give ``sentence`` up to its word number ``most``."""
    ends = [word.end() for word in WORD.finditer(sentence)]
    return sentence if len(ends) <= most else sentence[: ends[most - 1]]


def _texts(content: str, name: str, rejected: list[Rejected]) -> dict[int, dict[int, str]]:
    """Give each text's sentences by their numbers."""
    found: dict[int, dict[int, str]] = {}
    for line, row in enumerate(content.split("\n"), start=1):
        if not row.strip():
            continue
        columns = row.split("\t")
        identifier = IDENTIFIER.fullmatch(columns[0])
        text = " ".join(html.unescape(columns[-1]).split())
        if len(columns) != 3 or not identifier:
            rejected.append(Rejected("not the three columns id, rating and text", name, line))
        elif not re.search(r"[^\W_]", text):
            rejected.append(Rejected("no words", name, line))
        else:
            number, place = map(int, identifier.groups())
            found.setdefault(number, {})[place] = text
    return found


def _paragraphs(lines: dict[int, str], settings: Settings) -> list[tuple[int, list[str]]]:
    """Divide a text into paragraphs, each with the number of its first sentence; what is left over is not used."""
    lengths = cycle(range(settings.fewest_sentences, settings.most_sentences + 1))
    found: list[tuple[int, list[str]]] = []
    wanted, run = next(lengths), []
    places = sorted(lines)
    for place, after in zip(places, [*places[1:], None], strict=True):
        run.append(place)
        ends = after != place + 1
        if len(run) == wanted or ends:
            if len(run) >= settings.fewest_sentences:
                found.append((run[0], [lines[number] for number in run]))
                wanted = next(lengths)
            run = []
    return found


def _member(path: Path, name: str) -> str:
    """Read the file called ``name`` from the archive at ``path``, into memory only."""
    try:
        with tarfile.open(path, "r:gz") as archive:
            info = next((info for info in archive if info.name.rpartition("/")[2] == name), None)
            if info is None:
                raise InputError(f"{path} holds no file {name}")
            where = f"{path}: {info.name}"
            if info.size > LARGEST:
                raise InputError(f"{where} has {info.size} bytes; at most {LARGEST} are read")
            stream = archive.extractfile(info) if info.isreg() else None
            if stream is None:
                raise InputError(f"{where} is a link, a folder or a device; it should be a plain file")
            return stream.read().decode("utf-8")
    except FileNotFoundError:
        raise InputError(f"{path} does not exist; it should be the archive of rated sentences") from None
    except UnicodeDecodeError as error:
        raise InputError(f"{where} is not UTF-8: byte {error.object[error.start]:#04x} at {error.start}") from None
    except (tarfile.TarError, EOFError, OSError, zlib.error) as error:
        raise InputError(f"{path} is no readable tar.gz archive: {error}") from None
