"""Cloze: sentences and a further one with a gap in, and which of some candidates fills the gap out (Hill et al. 2016).

Each mention of a candidate is a memory: the window of words around it. A candidate's probability is the attention that
all its mentions get (Kadlec et al. 2016, "Text Understanding with the Attention Sum Reader Network", equation 2), so a
candidate of any name can be the answer, whether or not training has seen it.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, TextIO

import pydantic
import torch
from torch import Tensor, nn

from stages.core.base.errors import InputError
from stages.core.base.params import settings
from stages.core.learning.batch import pad_indices
from stages.core.learning.dataset import Example
from stages.core.learning.task import Peer, Task, build_network, build_peer, read_lines
from stages.core.learning.vocabulary import PADDING, WORD, Vocabulary

GAP = "___"
CAPITALISED, LOWER = "<Candidate>", "<candidate>"  # what stands in the middle of a window: its name tells nothing
NAMES = re.compile(r"[^\W\d_a-z]\w*(?:[ -][^\W\d_a-z]\w*)*")  # capitalised words side by side


@settings
class Settings:
    """``least``: sentences of the training data that a word of the vocabulary stands in (none: for a peer).

    A rarer word, and one never seen, is one of ``strangers`` symbols, by a hash of the word: such a symbol means
    nothing, but two windows that share the word share the symbol.
    """

    least: int | None = pydantic.Field(default=None, gt=0)
    strangers: int = pydantic.Field(default=200, gt=0)


def fit_vocabularies(examples: list[Example], settings: Settings) -> dict[str, Vocabulary]:
    """Collect "words": of the stories and questions, each sentence counted once; a peer needs none."""
    if settings.least is None:
        return {"words": Vocabulary([])}
    told = {tuple(sentence) for example in examples for sentence in (*example["story"], example["question"])}
    words = (word for sentence in told for word in {token.lower() for token in sentence} - {GAP})
    specials = (PADDING, GAP, CAPITALISED, LOWER, *(f"<{number}>" for number in range(settings.strangers)))
    return {"words": Vocabulary.of(words, specials, settings.least)}


def build(settings: Settings, vocabularies: dict[str, Vocabulary], build_model: Callable[[int], nn.Module]) -> Cloze:
    """Build the task; ``build_model`` is given the number of words."""
    if settings.least is None:
        return Cloze(settings, vocabularies, build_peer(build_model, "least"))
    return Cloze(settings, vocabularies, build_network(build_model, len(vocabularies["words"]), "least"))


class Cloze(Task):
    """Cross-entropy of the answer among the candidates.

    A batch holds "windows" (row, place) of words, once each, "story" (batch, memory) as rows of them, "back" (batch,
    memory) in sentences, "owner" (batch, memory) as indices of candidates, "question" (batch, place), "answer" (batch,)
    as an index of candidates, and the "examples" themselves; for a peer, these alone.
    """

    decoder = {"name": "attention_sum"}

    def __init__(self, settings: Settings, vocabularies: dict[str, Vocabulary], model: nn.Module) -> None:
        super().__init__(vocabularies)
        self.words = vocabularies["words"]
        self.strangers = settings.strangers
        self.model = model
        self._right = self._asked = 0

    def size(self, example: Example) -> int:
        """Give the number of mentions of candidates in the story."""
        names = {candidate.lower() for candidate in example["candidates"]}
        return sum(token.lower() in names for sentence in example["story"] for token in sentence)

    def collate(self, examples: list[Example]) -> Any:
        """Make a batch."""
        if isinstance(self.model, Peer):
            return {"examples": examples}
        rows: dict[tuple[int, ...], int] = {}
        story, back, owner = [], [], []
        for example in examples:
            found = mentions(example)
            last = len(example["story"]) - 1
            windows = [self.window(example["story"][sentence], place) for sentence, place, _ in found]
            story.append([rows.setdefault(window, len(rows)) for window in windows])
            back.append([last - sentence for sentence, _, _ in found])
            owner.append([index for _, _, index in found])
        return {
            "windows": torch.tensor(list(rows)),
            "story": pad_indices(story),
            "back": pad_indices(back).values,
            "owner": pad_indices(owner).values,
            "question": torch.tensor([self.window(e["question"], e["question"].index(GAP)) for e in examples]),
            "answer": torch.tensor([e["candidates"].index(e["answer"]) if "answer" in e else 0 for e in examples]),
            "examples": examples,
        }

    def window(self, tokens: list[str], place: int) -> tuple[int, ...]:
        """Give the words around ``place``, as many on either side as the model reads; 0 beyond the sentence."""
        reach = int(self.model.window)  # type: ignore[arg-type]
        padded = [None] * reach + tokens + [None] * reach
        around = padded[place : place + 2 * reach + 1]
        if tokens[place] != GAP:
            around[reach] = LOWER if tokens[place].islower() else CAPITALISED
        return tuple(0 if token is None else self._index(token) for token in around)

    def _index(self, token: str) -> int:
        known = self.words.index.get(token, self.words.index.get(token.lower()))
        return self.words.index[f"<{zlib.crc32(token.lower().encode()) % self.strangers}>"] if known is None else known

    def attention(self, batch: Any) -> Tensor:
        """Give the logarithm of the weight of each memory (batch, memory), -inf at padding."""
        weights: Tensor = self.model(batch["windows"], batch["story"], batch["back"], batch["question"])
        return weights

    def log_probabilities(self, batch: Any) -> Tensor:
        """Give the log probability of each candidate (batch, candidate), very low beyond an example's own."""
        most = max(len(example["candidates"]) for example in batch["examples"])
        weights = self.attention(batch).exp()
        shares = weights.new_zeros(len(weights), most).scatter_add(1, batch["owner"], weights)
        return shares.clamp(min=torch.finfo(shares.dtype).tiny).log()

    def loss(self, batch: Any) -> tuple[Tensor, int]:
        """Give the mean cross-entropy of the answers, in nats; of a peer, the share of answers that are missed."""
        examples = batch["examples"]
        if isinstance(self.model, Peer):
            missed = sum(said != e["answer"] for said, e in zip(self.convert(batch), examples, strict=True))
            return torch.tensor(missed / len(examples)), len(examples)
        return nn.functional.nll_loss(self.log_probabilities(batch), batch["answer"]), len(examples)

    def fit_peer(self, examples: list[Example]) -> None:
        """Fit to the stories and the answers."""
        self.model.fit([e["story"] for e in examples], [e["answer"] for e in examples])  # type: ignore[operator]

    def convert(self, batch: Any) -> list[str]:
        """Give the peer's answers."""
        choose: Any = self.model.choose
        return [choose(e["story"], e["question"], e["candidates"]) for e in batch["examples"]]

    def candidates(self, batch: Any) -> list[list[str]]:
        """Give the names of each example's candidates."""
        return [example["candidates"] for example in batch["examples"]]

    def explain(self, batch: Any) -> list[dict[str, Any]]:
        """Give where each example's attention went: [sentence, token, weight] of every mention, counted from 0."""
        weights = self.attention(batch).exp().tolist()
        return [
            {"looked": [[s, t, round(w, 4)] for (s, t, _), w in zip(mentions(e), row, strict=False)]}
            for e, row in zip(batch["examples"], weights, strict=True)
        ]

    def validation_update(self, batch: Any) -> None:
        """Count the right answers."""
        if isinstance(self.model, Peer):
            said = self.convert(batch)
        else:
            best = self.log_probabilities(batch).argmax(dim=1).tolist()
            said = [names[index] for names, index in zip(self.candidates(batch), best, strict=True)]
        self._right += sum(word == e["answer"] for word, e in zip(said, batch["examples"], strict=True))
        self._asked += len(said)

    def validation_scores(self) -> dict[str, float]:
        """Give the accuracy in percent."""
        right, asked = self._right, self._asked
        self._right = self._asked = 0
        return {"validation_accuracy": 100 * right / max(asked, 1)}

    def read_input(self, source: Path | TextIO) -> list[Example]:
        """Read a passage: a sentence a line, the last one with a gap ``___``, and after a | its candidates, if given.

        Where none are given, they are the names in the passage (capitalised words, but for the first of a line) that
        the last line has not.
        Raises InputError where there is no gap, no sentence above it, or not enough to choose from.
        """
        *story, question = [line.strip() for line in read_lines(source) if line.strip()]
        question, bar, given = question.partition("|")
        if question.count(GAP) != 1 or any(GAP in sentence for sentence in story):
            raise InputError(f"the input should have one gap, written {GAP}, in its last line and nowhere else")
        if not story:
            raise InputError("the input is a sentence with a gap alone; the sentences that tell it should stand above")
        names = [name.strip() for name in given.split(",") if name.strip()] if bar else _names(story, question)
        if len({name.lower() for name in names}) < max(2, len(names)):
            raise InputError(
                f"the candidates are {', '.join(names) or 'none'}, where two or more are needed, each once; "
                f"write them after the last line: ... {GAP} ... | Paris, London"
            )
        told = [_tokens(sentence, names) for sentence in story]
        missing = [n for n in names if n.lower() not in {token.lower() for sentence in told for token in sentence}]
        if missing:
            raise InputError(f"the candidate {missing[0]} is not in the sentences above; each should stand there")
        before, after = question.split(GAP)
        asked = [*_tokens(before, names), GAP, *_tokens(after, names)]
        return [{"story": told, "question": asked, "candidates": names}]

    def present(self, record: dict[str, Any]) -> str:
        """Show the passage, the question, the answer, and the three mentions that were looked at most."""
        lines = [f"{number:3d}  {' '.join(sentence)}" for number, sentence in enumerate(record["story"], start=1)]
        sure = f" ({100 * record['confidence']:.1f} %)" if "confidence" in record else ""
        lines += [f"     {' '.join(record['question'])}", f"  => {record['prediction']}{sure}"]
        for sentence, place, weight in sorted(record.get("looked", []), key=lambda mention: -mention[2])[:3]:
            tokens = record["story"][sentence]
            around = " ".join(
                [*tokens[max(0, place - 5) : place], f"[{tokens[place]}]", *tokens[place + 1 : place + 6]]
            )
            lines.append(f"     {100 * weight:4.1f} %  {sentence + 1}: {around}")
        return "\n".join(lines)


def mentions(example: Example) -> list[tuple[int, int, int]]:
    """Give sentence, token and candidate of each mention of a candidate in the story, all counted from 0."""
    names = {candidate.lower(): index for index, candidate in enumerate(example["candidates"])}
    return [
        (number, place, names[token.lower()])
        for number, sentence in enumerate(example["story"])
        for place, token in enumerate(sentence)
        if token.lower() in names
    ]


def _names(story: list[str], question: str) -> list[str]:
    """Give the names in the story that the question has not; a first word alone, capitalised anyway, makes none."""
    inner = [name for sentence in story for name in NAMES.findall(sentence.partition(" ")[2])]
    found = dict.fromkeys(name for name in inner if name.lower() not in question.lower())
    return list(found)


def _tokens(text: str, names: list[str]) -> list[str]:
    """Split a text into words and marks, but each of ``names`` is one token."""
    longest_first = sorted(map(re.escape, names), key=len, reverse=True)
    parts = re.split(rf"(?<!\w)({'|'.join(longest_first)})(?!\w)", text, flags=re.IGNORECASE)
    return [token for place, part in enumerate(parts) for token in ([part] if place % 2 else WORD.findall(part))]
