"""Beam search over the targets of a sequence-to-sequence task, batched over sentences and hypotheses.

At each step the ``beam`` best of all extensions of a sentence's live hypotheses are kept; one that ends with the stop
symbol is finished and keeps its place, so that a sentence has at most ``beam`` hypotheses, live and finished together.
Of the finished ones the best wins by log-probability / ((5 + length) / 6)^length_penalty (Wu et al. 2016, equation 14;
the coverage penalty is left out), length in symbols, stop included. A sentence's search ends only when no live
hypothesis can beat its best finished one: a log-probability never rises, and the penalty is largest at the maximum
length, so a live hypothesis is bounded by its log-probability over the penalty there. With one hypothesis this is
greedy search, whatever the penalty.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Protocol

import pydantic
import torch
from torch import Tensor

from stages.core.batch import Padded
from stages.core.params import settings


@settings
class Settings:
    """Width and limits of the search.

    ``beam`` hypotheses a sentence (1 is greedy); ``length_penalty`` is Wu et al.'s alpha, 0 for plain log-probability,
    more favours longer targets; a target has at most ``length_factor`` times its source's symbols plus
    ``length_offset`` symbols, stop included.
    """

    beam: int = pydantic.Field(default=5, gt=0)
    length_penalty: float = pydantic.Field(default=0.0, ge=0)
    length_factor: float = pydantic.Field(default=4.0, ge=0)
    length_offset: int = pydantic.Field(default=10, gt=0)


class Searchable(Protocol):
    """What the search asks of a task; a row is a hypothesis, a state holds one decoder state a row."""

    start_symbol: int
    stop_symbol: int

    def start(self, batch: Any) -> Any:
        """Encode ``batch``, a row a sentence."""

    def step(self, state: Any, symbols: Tensor) -> tuple[Tensor, Any]:
        """Read ``symbols`` (rows,); give log-probabilities (rows, symbols) of the next, and the state after."""

    def reorder(self, state: Any, rows: Tensor) -> Any:
        """Take rows of a state."""

    def text(self, symbols: list[int]) -> str:
        """Write symbols as text."""


@dataclass
class Beams:
    """Hypotheses of the sentences still searched, and the best finished one of each.

    ``sentences`` (n,) are their rows in the batch, ``limits`` (n,) their maximum lengths; ``scores`` (n, beam) are
    log-probabilities of live hypotheses, minus infinity at a place without one; ``symbols`` (n, beam, steps) what they
    put out; ``finished`` (n,) counts finished ones; ``best_scores`` (n,) penalised, ``best`` a (log-probability,
    symbols) a sentence, none while nothing has finished.
    """

    sentences: Tensor
    limits: Tensor
    scores: Tensor
    symbols: Tensor
    finished: Tensor
    best_scores: Tensor
    best: list[tuple[float, list[int]] | None]

    def select(self, places: Tensor) -> Beams:
        """Take the sentences at ``places`` (m,)."""
        return Beams(
            sentences=self.sentences[places],
            limits=self.limits[places],
            scores=self.scores[places],
            symbols=self.symbols[places],
            finished=self.finished[places],
            best_scores=self.best_scores[places],
            best=[self.best[place] for place in places.tolist()],
        )


def decode(task: Searchable, batch: dict[str, Any], settings: Settings) -> list[dict[str, Any]]:
    """Translate the sources of ``batch``: "prediction" and its "log_probability" in nats, a dictionary a sentence."""
    source: Padded = batch["source"]
    found: list[dict[str, Any]] = [{} for _ in range(len(source.values))]
    for sentence, (score, symbols) in search(task, batch, settings):
        found[sentence] = {"prediction": task.text(symbols), "log_probability": score}
    return found


@torch.no_grad()
def search(
    task: Searchable, batch: dict[str, Any], settings: Settings
) -> Iterator[tuple[int, tuple[float, list[int]]]]:
    """Yield a sentence's row, and the log-probability and symbols (without stop) of its best hypothesis."""
    beam = settings.beam
    beams = _first_beams(batch["source"].lengths, settings)
    rows = torch.arange(len(beams.sentences)).repeat_interleave(beam)
    state = task.reorder(task.start(batch), rows)
    last = torch.full((len(rows),), task.start_symbol)
    while len(beams.sentences):
        log_probabilities, state = task.step(state, last)
        origins = _extend(beams, log_probabilities.view(len(beams.sentences), beam, -1), task.stop_symbol, settings)
        done = _done(beams, settings)
        for place in done.nonzero()[:, 0].tolist():
            best = beams.best[place]
            assert best is not None, "at its maximum length a hypothesis can only stop"
            yield int(beams.sentences[place]), best
        going = (~done).nonzero()[:, 0]
        state = task.reorder(state, (going[:, None] * beam + origins[going]).view(-1))
        beams = beams.select(going)
        last = beams.symbols[:, :, -1].reshape(-1)


def _first_beams(lengths: Tensor, settings: Settings) -> Beams:
    sentences = len(lengths)
    scores = torch.full((sentences, settings.beam), -torch.inf)
    scores[:, 0] = 0  # one hypothesis a sentence, the empty one
    return Beams(
        sentences=torch.arange(sentences),
        limits=(lengths * settings.length_factor).long() + settings.length_offset,
        scores=scores,
        symbols=torch.zeros(sentences, settings.beam, 0, dtype=torch.int64),
        finished=torch.zeros(sentences, dtype=torch.int64),
        best_scores=torch.full((sentences,), -torch.inf),
        best=[None] * sentences,
    )


def _extend(beams: Beams, log_probabilities: Tensor, stop: int, settings: Settings) -> Tensor:
    """Extend all hypotheses by one symbol, in place; gives the place (n, beam) that each came from."""
    sentences, beam, vocabulary = log_probabilities.shape
    length = beams.symbols.shape[2] + 1
    full = beams.limits <= length
    others = torch.arange(vocabulary) != stop
    log_probabilities = log_probabilities.masked_fill(full[:, None, None] & others, -torch.inf)
    extended = (beams.scores[:, :, None] + log_probabilities).view(sentences, beam * vocabulary)
    scores, chosen = extended.topk(beam, dim=1)
    free = torch.arange(beam) < beam - beams.finished[:, None]
    scores = scores.masked_fill(~free, -torch.inf)
    origins, last = chosen // vocabulary, chosen % vocabulary
    symbols = beams.symbols.gather(1, origins[:, :, None].expand(-1, -1, length - 1))
    beams.symbols = torch.cat([symbols, last[:, :, None]], dim=2)
    ends = (last == stop) & scores.isfinite()
    _finish(beams, scores.masked_fill(~ends, -torch.inf), float(_penalty(torch.tensor(length), settings)))
    beams.finished = beams.finished + ends.sum(dim=1)
    beams.scores = scores.masked_fill(ends, -torch.inf)
    return origins


def _finish(beams: Beams, scores: Tensor, penalty: float) -> None:
    """Keep the best hypothesis that ends here, of log-probabilities ``scores`` (n, beam), where it beats the best."""
    best, place = scores.max(dim=1)
    for sentence in (best / penalty > beams.best_scores).nonzero()[:, 0].tolist():
        beams.best_scores[sentence] = best[sentence] / penalty
        symbols = beams.symbols[sentence, place[sentence], :-1].tolist()
        beams.best[sentence] = (float(best[sentence]), symbols)


def _done(beams: Beams, settings: Settings) -> Tensor:
    """(n,) bool, True where no live hypothesis can come to beat the best finished one."""
    bound = beams.scores.max(dim=1).values / _penalty(beams.limits, settings)
    return bound <= beams.best_scores


def _penalty(length: Tensor, settings: Settings) -> Tensor:
    return ((5 + length) / 6) ** settings.length_penalty
