"""Beam search over the targets of a sequence-to-sequence task, batched over sentences and hypotheses.

At each step the ``beam`` best of all extensions of a sentence's live hypotheses are kept; one that ends with the stop
symbol is finished and keeps its place, so that a sentence has at most ``beam`` hypotheses, live and finished together.
Finished ones are ordered by their score, log-probability / ((5 + length) / 6)^length_penalty (Wu et al. 2016, equation
14; the coverage penalty is left out), length in symbols, stop included.

A live hypothesis goes on only while it can beat the worst of its sentence's ``n_best`` best finished ones: a
log-probability never rises, and the penalty is largest at the maximum length, so its score ends at no more than its
log-probability over the penalty there. What falls below it in the beam is bounded likewise, so that leaving it out
changes no result. A sentence's search ends when none goes on. With one hypothesis this is greedy search, whatever the
penalty.

Of a task without a stop symbol every hypothesis ends at the maximum length, and only there. A task may make symbols
impossible; a hypothesis none of whose extensions is possible dies. Where all of a sentence's die and none has finished,
those that lived last are its hypotheses, as they stand and without a stop.

Only live hypotheses are rows of the decoder's state. Every row is extended by itself, so what is found depends on the
size of a batch, and on the order in it, no more than the decoder's own rounding does.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any, Protocol

import pydantic
import torch
from torch import Tensor

from stages.core.base.errors import InputError
from stages.core.base.params import settings
from stages.core.learning.batch import Padded


@settings
class Settings:
    """Width and limits of the search.

    ``beam`` hypotheses a sentence (1 is greedy), of which the ``n_best`` best are given; ``length_penalty`` is Wu et
    al.'s alpha, 0 for plain log-probability, more favours longer targets. A target has at least ``minimum`` symbols and
    the stop symbol. It has at most ``length_factor`` times its source's symbols plus ``length_offset`` symbols, and at
    most ``maximum`` (none: no such limit), each with the stop symbol; ``minimum`` goes before the first of the two.
    ``greedy`` says beside it what greedy search would put out.
    """

    beam: int = pydantic.Field(default=5, gt=0)
    n_best: int = pydantic.Field(default=1, gt=0)
    length_penalty: float = pydantic.Field(default=0.0, ge=0)
    length_factor: float = pydantic.Field(default=4.0, ge=0)
    length_offset: int = pydantic.Field(default=10, gt=0)
    minimum: int = pydantic.Field(default=0, ge=0)
    maximum: int | None = pydantic.Field(default=None, gt=0)
    greedy: bool = False

    @pydantic.model_validator(mode="after")
    def _fits(self) -> Settings:
        if self.n_best > self.beam:
            raise ValueError(f"n_best is {self.n_best}, and should be at most beam, {self.beam}")
        if self.maximum is not None and self.maximum <= self.minimum:
            raise ValueError(
                f"maximum is {self.maximum}, and should be above minimum, {self.minimum}, as it counts the stop symbol"
            )
        return self


class Searchable(Protocol):
    """What the search asks of a task; a row is a hypothesis, a state holds one decoder state a row.

    ``stop_symbol`` is none for a task without one.
    """

    start_symbol: int
    stop_symbol: int | None

    def start(self, batch: Any) -> Any:
        """Encode ``batch``, a row a sentence."""

    def step(self, state: Any, symbols: Tensor) -> tuple[Tensor, Any]:
        """Read ``symbols`` (rows,); give log-probabilities (rows, symbols) of the next, and the state after.

        What may not come has minus infinity; in a row that can may be nothing at all.
        """

    def reorder(self, state: Any, rows: Tensor) -> Any:
        """Take rows of a state, those of a sentence together and sentences in their order; a row may come again."""

    def text(self, symbols: list[int]) -> Any:
        """Write symbols as the task's targets are written, stop left out: as text, or as a list."""


@dataclass(frozen=True)
class Hypothesis:
    """A finished target: symbols (without stop), log-probability in nats, and the score that decides the order."""

    symbols: list[int]
    log_probability: float
    score: float


@dataclass
class Live:
    """Hypotheses that go on, those of a sentence together.

    ``owners`` (rows,) are their sentences, rising; ``totals`` (rows,) their log-probabilities, float64; ``symbols``
    (rows, steps) what they put out.
    """

    owners: Tensor
    totals: Tensor
    symbols: Tensor

    def select(self, rows: Tensor) -> Live:
        """Take ``rows``, indices or a mask."""
        return Live(self.owners[rows], self.totals[rows], self.symbols[rows])


class Finished:
    """The hypotheses that ended, of each of so many sentences.

    ``counts`` (sentences,) is how many they are; ``bars`` (sentences,) is the score that a further one must beat to be
    among the ``n_best`` best, minus infinity while there are fewer.
    """

    def __init__(self, sentences: int, n_best: int) -> None:
        self.n_best = n_best
        self.found: list[list[Hypothesis]] = [[] for _ in range(sentences)]
        self.counts = torch.zeros(sentences, dtype=torch.int64)
        self.bars = torch.full((sentences,), -torch.inf, dtype=torch.float64)

    def add(self, ended: Live, scores: Tensor, length: int) -> None:
        """Note hypotheses, of which the first ``length`` symbols count."""
        parts = (ended.owners, ended.totals, scores, ended.symbols[:, :length])
        for sentence, total, score, symbols in zip(*(part.tolist() for part in parts), strict=True):
            found = self.found[sentence]
            found.append(Hypothesis(symbols, total, score))
            found.sort(key=lambda hypothesis: -hypothesis.score)
            self.counts[sentence] += 1
            if len(found) >= self.n_best:
                self.bars[sentence] = found[self.n_best - 1].score


def decode(task: Searchable, batch: dict[str, Any], settings: Settings) -> list[dict[str, Any]]:
    """Translate the sources of ``batch``: "prediction" and its "log_probability" in nats, a dictionary a sentence.

    With ``n_best`` over 1 also "n_best", best first: {"prediction", "log_probability", "score"} each. Of hypotheses
    that are written alike only the best one is there, and there may be fewer where a task leaves no more possible.
    With ``greedy`` also "greedy", the prediction of a search with one hypothesis.
    """
    records = []
    for hypotheses in search(task, batch, settings):
        shown: list[dict[str, Any]] = []
        for found in hypotheses:
            prediction = task.text(found.symbols)
            if all(prediction != other["prediction"] for other in shown):
                scores = {"log_probability": found.log_probability, "score": found.score}
                shown.append({"prediction": prediction, **scores})
        best = {key: shown[0][key] for key in ("prediction", "log_probability")}
        records.append(best | ({"n_best": shown} if settings.n_best > 1 else {}))
    if settings.greedy:
        alone = dataclasses.replace(settings, beam=1, n_best=1)
        for record, (hypothesis,) in zip(records, search(task, batch, alone), strict=True):
            record["greedy"] = task.text(hypothesis.symbols)
    return records


@torch.no_grad()
def search(task: Searchable, batch: dict[str, Any], settings: Settings) -> list[list[Hypothesis]]:
    """Give the ``n_best`` best hypotheses of each sentence, best first: one at least.

    Raises InputError where the task gives NaN.
    """
    source: Padded = batch["source"]
    sentences = len(source.lengths)
    limits = _limits(source.lengths, settings)
    heaviest = _penalty(limits, settings)
    finished = Finished(sentences, settings.n_best)
    live = Live(
        owners=torch.arange(sentences),
        totals=torch.zeros(sentences, dtype=torch.float64),
        symbols=torch.zeros(sentences, 0, dtype=torch.int64),
    )
    state, last = task.start(batch), torch.full((sentences,), task.start_symbol)
    for length in range(1, int(limits.max()) + 1):
        log_probabilities, state = task.step(state, last)
        full = limits[live.owners] <= length
        if task.stop_symbol is not None:
            log_probabilities = _rule(log_probabilities, task.stop_symbol, length <= settings.minimum, full)
        grown, origins = _extend(live, log_probabilities, settings.beam - finished.counts, settings.beam)
        ends = full[origins] if task.stop_symbol is None else grown.symbols[:, -1] == task.stop_symbol
        penalty = float(_penalty(torch.tensor(length), settings))
        finished.add(grown.select(ends), grown.totals[ends] / penalty, length - (task.stop_symbol is not None))
        _rescue(live, grown.owners, finished, settings)
        going = (~ends & (grown.totals / heaviest[grown.owners] > finished.bars[grown.owners])).nonzero()[:, 0]
        rows, before = origins[going], len(live.owners)
        live, last = grown.select(going), grown.symbols[going, -1]
        if not len(rows):
            break
        if not torch.equal(rows, torch.arange(before)):
            state = task.reorder(state, rows)
    return [found[: settings.n_best] for found in finished.found]


def _limits(lengths: Tensor, settings: Settings) -> Tensor:
    """(sentences,): the maximum lengths, stop included."""
    limits = (lengths * settings.length_factor).long() + settings.length_offset
    limits = limits.clamp(min=settings.minimum + 1)
    return limits if settings.maximum is None else limits.clamp(max=settings.maximum)


def _rule(log_probabilities: Tensor, stop: int, early: bool, full: Tensor) -> Tensor:
    """Forbid the stop symbol where it is ``early``, and all but it in the rows (rows,) that are ``full``."""
    if early:
        return log_probabilities.index_fill(1, torch.tensor(stop), -torch.inf)
    if full.any():
        others = torch.arange(log_probabilities.shape[1]) != stop
        return log_probabilities.masked_fill(full[:, None] & others, -torch.inf)
    return log_probabilities


def _extend(live: Live, log_probabilities: Tensor, free: Tensor, beam: int) -> tuple[Live, Tensor]:
    """Extend hypotheses by a symbol, and keep the ``free`` (sentences,) best a sentence, best first.

    Gives also the rows (kept,) that they come from.
    """
    each, symbols = log_probabilities.topk(min(beam, log_probabilities.shape[1]), dim=1)
    if each.isnan().any():
        raise InputError(
            f"after {live.symbols.shape[1]} symbols the model gives NaN as a log-probability; it should give numbers "
            "up to 0, or minus infinity for what may not come"
        )
    # Those of a sentence side by side: (sentences, most hypotheses of one x each one's best symbols).
    counts = live.owners.bincount(minlength=len(free))
    first = counts.cumsum(dim=0) - counts
    places = torch.arange(len(live.owners)) - first[live.owners]
    side = torch.full((len(free), int(counts.max()), each.shape[1]), -torch.inf, dtype=torch.float64)
    side[live.owners, places] = live.totals[:, None] + each
    side = side.flatten(start_dim=1)
    totals, chosen = side.topk(min(beam, side.shape[1]), dim=1)
    kept = (totals > -torch.inf) & (torch.arange(totals.shape[1]) < free[:, None])
    owners = kept.nonzero()[:, 0]
    origins = first[owners] + chosen[kept] // each.shape[1]
    last = symbols[origins, chosen[kept] % each.shape[1]]
    written = torch.cat([live.symbols[origins], last[:, None]], dim=1)
    return Live(owners, totals[kept], written), origins


def _rescue(live: Live, owners: Tensor, finished: Finished, settings: Settings) -> None:
    """Finish, as they stand, the hypotheses of sentences that have no finished one and are not among the ``owners``."""
    dead = finished.counts == 0
    dead[owners] = False
    last = live.select(dead[live.owners])
    length = live.symbols.shape[1]
    finished.add(last, last.totals / _penalty(torch.tensor(length), settings), length)


def _penalty(length: Tensor, settings: Settings) -> Tensor:
    return ((5 + length.double()) / 6) ** settings.length_penalty
