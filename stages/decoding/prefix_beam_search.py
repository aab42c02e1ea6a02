"""CTC prefix beam search (Graves 2012, chapter 7; Hannun et al. 2014, algorithm 1), batched over all hypotheses.

Best path takes the most probable alignment; a transcript's probability is the sum over all alignments that collapse to
it. The search keeps, for each of the ``beam`` best prefixes of a transcript, two log-probabilities: that the steps so
far collapse to it and end in null, and that they do and end in its last symbol. They must be told apart: the same
symbol again repeats the last one after that symbol, but appends a second one after a null. A step does one of three
things to a prefix:

- null: the prefix stays, and ends in null;
- its last symbol again, where it ended in that symbol: the prefix stays;
- any other symbol, or its last one where it ended in null: the prefix grows by it.

A prefix that grows into another one of the beam is the same prefix, so their probabilities are added. Prefixes are
compared by a hash of 64 bits of their symbols: the chance that two are mixed up in a thousand utterances is 10^-12.

What is added to a prefix's log-probability for its symbols, and not for the sound, comes from automata that read along:
an n-gram language model (shallow fusion) and hot words. An automaton's state depends on the prefix alone, so that a
hypothesis carries a number, and all hypotheses look their weights up at once in a table (states, symbols).
"""

import functools
import math
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import pydantic

from stages.core.base.errors import InputError
from stages.core.base.params import settings
from stages.core.learning.batch import Padded
from stages.core.learning.task import Batch

NULL = 0
HELD_OUT = 10  # one in so many training transcripts is held out to fit interpolation weights
Transcripts = Sequence[Sequence[int]]
Context = tuple[int, ...]


@settings
class LanguageModel:
    """An n-gram model of the training transcripts (``interpolate``), added to the log-probability with ``weight``.

    ``order`` 1 is unigrams; ``insertion_bonus`` (nats) is added for each symbol, against the language model's taste for
    short transcripts. ``interpolation`` has the share of each order's relative frequencies, unigrams first; without it
    the shares are fitted by EM on one training transcript in ten, and the counts are taken of all.
    """

    order: int = pydantic.Field(default=3, ge=1, le=5)
    weight: float = pydantic.Field(default=0.5, ge=0)
    insertion_bonus: float = 0.0
    interpolation: tuple[float, ...] | None = None

    @pydantic.model_validator(mode="after")
    def _fits(self) -> Self:
        given = self.interpolation
        if given is not None and (len(given) != self.order or not all(0 <= share < 1 for share in given)):
            raise ValueError(f"interpolation should have order = {self.order} shares, each from 0 to below 1")
        return self


@settings
class Settings:
    """Width, limits and helpers of the search; log-probabilities are in nats.

    ``beam`` prefixes are kept, and ``n_best`` given. At a step, symbols less probable than ``token_threshold`` (a
    log-probability; the step's best symbol always stays) are left out, and prefixes more than ``beam_threshold`` worse
    than the best one; none leaves out nothing. A step whose null is more probable than ``blank_skip`` (1 for none)
    counts as null for certain. ``hot_words`` are symbols of the vocabulary, or spelt in symbols (with white space
    between them, or else character by character); one that stands in a transcript adds ``hot_word_bonus``.
    """

    beam: int = pydantic.Field(default=16, gt=0)
    n_best: int = pydantic.Field(default=5, gt=0)
    token_threshold: float | None = pydantic.Field(default=-8.0, lt=0)
    beam_threshold: float | None = pydantic.Field(default=16.0, gt=0)
    blank_skip: float = pydantic.Field(default=1.0, gt=0.5, le=1)
    language_model: LanguageModel | None = None
    hot_words: tuple[str, ...] = ()
    hot_word_bonus: float = pydantic.Field(default=4.0, ge=0)


@dataclass(frozen=True)
class Automaton:
    """What reads along with a prefix, in nats a symbol.

    Appending ``symbol`` in ``state`` adds ``weights[state, symbol]`` and leads to ``follows[state, symbol]``; both are
    (states, symbols). Column 0, null, appends nothing: it adds 0 and stays in the state. A transcript that ends in
    ``state`` gets ``ends[state]`` (states,). Reading begins in state ``start``.
    """

    weights: np.ndarray
    follows: np.ndarray
    ends: np.ndarray
    start: int


@dataclass(frozen=True)
class Hypothesis:
    """A transcript (indices), its log-probability by CTC alone, and its score: with what the automata add, in nats."""

    symbols: list[int]
    log_probability: float
    score: float


def decode(task: Any, batch: Batch, settings: Settings) -> list[dict[str, Any]]:
    """Give "prediction", "times", "confidence" and "n_best" of each example.

    ``task.log_probabilities(batch)`` is (batch, time, symbols), symbol 0 the null; ``task.transcribe`` gives, for
    the best transcript, start and end (seconds) and confidence of each symbol. "n_best", best first, has "symbols" and
    "log_probability", the transcript's by CTC alone, summed over the alignments that were not pruned; with a language
    model or hot words also "score", log-probability and what they add, which decides the order.
    """
    steps = batch["steps"]
    assert isinstance(steps, Padded)
    log_probabilities = task.log_probabilities(batch).detach().cpu().double().numpy()
    lengths = steps.lengths.cpu().numpy()
    automata = build_automata(task, settings)
    found = search(log_probabilities, lengths, settings, automata)
    records = []
    for rows, length, hypotheses in zip(log_probabilities, lengths.tolist(), found, strict=True):
        shown = [
            {"symbols": task.symbols.decode(h.symbols), "log_probability": round(h.log_probability, 6)}
            | ({"score": round(h.score, 6)} if automata else {})
            for h in hypotheses
        ]
        records.append(task.transcribe(rows[:length], hypotheses[0].symbols) | {"n_best": shown})
    return records


def build_automata(task: Any, settings: Settings) -> list[Automaton]:
    """Build what ``settings`` name: the language model of ``task.transcripts()``, the hot words."""
    automata = []
    if settings.language_model is not None:
        transcripts = tuple(map(tuple, task.transcripts()))
        automata.append(language_automaton(transcripts, len(task.symbols), settings.language_model))
    if settings.hot_words:
        words = [spell(word, task.symbols.index) for word in settings.hot_words]
        automata.append(hot_word_automaton(words, len(task.symbols), settings.hot_word_bonus))
    return automata


# The search.


@dataclass(frozen=True)
class Steps:
    """The steps that the search looks at, of n utterances in order of falling number of steps; time comes first.

    ``utterances`` (n,) are their rows in the batch, ``counts`` (n,) their numbers of steps. ``null`` (time, n, 1) is
    null's log-probability. The symbols that are not pruned at a step stand from place 1 on in ``symbols`` (time, n,
    most), with their log-probabilities in ``likely``; ``places`` (time, n, symbols) tells where a symbol stands. Place
    0 is for what does not grow; pruned symbols are sent there, and it and the free places are minus infinity likely.
    ``sizes`` (time,) counts the places in use. Left out are the steps at which null alone remains: they make every
    hypothesis one that ends in null, of which ``paused`` (time, n, 1) tells the step after, and add the same to all of
    them, ``skipped`` (n,).
    """

    utterances: np.ndarray
    counts: np.ndarray
    null: np.ndarray
    symbols: np.ndarray
    likely: np.ndarray
    places: np.ndarray
    sizes: np.ndarray
    paused: np.ndarray
    skipped: np.ndarray


def prune(log_probabilities: np.ndarray, lengths: np.ndarray, settings: Settings) -> Steps:
    """Choose what of (batch, time, symbols), with ``lengths`` (batch,) in steps, the search looks at."""
    kept = _kept(log_probabilities, lengths, settings)
    looked: np.ndarray = np.any(kept[..., 1:], axis=2)
    left_out = kept[..., NULL] & ~looked
    skipped = np.where(left_out, log_probabilities[..., NULL], 0).sum(axis=1)

    counts = looked.sum(axis=1)
    utterances = np.argsort(-counts, kind="stable")
    rows, times = np.nonzero(looked[utterances])
    firsts = np.cumsum(counts[utterances]) - counts[utterances]
    order = np.arange(len(rows)) - firsts[rows]
    chosen = utterances[rows], times
    table = np.full((counts.max(initial=0), len(lengths), log_probabilities.shape[2]), -np.inf)
    table[order, rows] = np.where(kept[chosen], log_probabilities[chosen], -np.inf)
    paused = np.zeros((*table.shape[:2], 1), dtype=bool)
    paused[order, rows, 0] = left_out[utterances[rows], times - 1]  # at step 0 all end in null, paused or not
    symbols, likely, places = _tabulate(table)
    return Steps(
        utterances=utterances,
        counts=counts[utterances],
        null=table[..., :1],
        symbols=symbols,
        likely=likely,
        places=places,
        sizes=places.max(axis=(1, 2), initial=0) + 1,
        paused=paused,
        skipped=skipped[utterances],
    )


def _kept(log_probabilities: np.ndarray, lengths: np.ndarray, settings: Settings) -> np.ndarray:
    """(batch, time, symbols) bool, True at what ``settings`` do not prune."""
    real: np.ndarray = np.arange(log_probabilities.shape[1])[:, None] < lengths[:, None, None]
    kept: np.ndarray = real & (log_probabilities > -np.inf)
    if settings.token_threshold is not None:
        best = log_probabilities.max(axis=2, keepdims=True)
        kept &= log_probabilities >= np.minimum(best, settings.token_threshold)
    if settings.blank_skip < 1:
        kept[..., 1:] &= log_probabilities[..., :1] <= math.log(settings.blank_skip)
    return kept


def _tabulate(table: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Give ``Steps.symbols``, ``likely`` and ``places`` of (time, n, symbols), minus infinity at what is pruned."""
    remain = table > -np.inf
    remain[..., NULL] = False
    places = np.where(remain, np.cumsum(remain, axis=2), 0)
    times, rows, chosen = np.nonzero(remain)
    at = times, rows, places[times, rows, chosen]
    symbols = np.zeros((*table.shape[:2], places.max(initial=0) + 1), dtype=np.int64)
    likely = np.full(symbols.shape, -np.inf)
    symbols[at], likely[at] = chosen, table[times, rows, chosen]
    return symbols, likely, places


@dataclass(frozen=True)
class Beams:
    """Prefixes of n utterances, best first, arrays (n, width); minus infinity likely where there are fewer.

    ``null`` and ``symbol`` are log-probabilities of all alignments of the steps so far to the prefix that end in null,
    and in its last symbol, ``last`` (0 for the empty prefix). ``keys`` are hashes of the prefix, ``parents`` of the
    prefix without its last symbol. ``added`` is what the automata give it, ``states`` theirs, an array an automaton.
    """

    null: np.ndarray
    symbol: np.ndarray
    last: np.ndarray
    keys: np.ndarray
    parents: np.ndarray
    added: np.ndarray
    states: tuple[np.ndarray, ...]

    def first(self, count: int) -> Self:
        """Take the first ``count`` utterances."""
        arrays = {name: array[:count] for name, array in vars(self).items() if name != "states"}
        return type(self)(**arrays, states=tuple(states[:count] for states in self.states))


NOBODY, EMPTY, NO_PARENT, ORPHAN = np.arange(4, dtype=np.uint64)  # keys and parents of no prefix and the empty one
Growth = tuple[np.ndarray, np.ndarray]  # (n, width): the place that a prefix had a step before, its new symbol (or 0)


def search(
    log_probabilities: np.ndarray, lengths: np.ndarray, settings: Settings, automata: Sequence[Automaton] = ()
) -> list[list[Hypothesis]]:
    """Give the best hypotheses, best first, of each row of (batch, time, symbols) with ``lengths`` (batch,) steps."""
    steps = prune(log_probabilities, lengths, settings)
    codes = _codes(log_probabilities.shape[2])
    shape = len(lengths), settings.n_best
    places = np.zeros(shape, dtype=np.int64)
    totals, scores = np.full(shape, -np.inf), np.full(shape, -np.inf)
    beams, growth = _start(len(lengths), automata), []
    for time in range(len(steps.null) + 1):
        going = int(np.searchsorted(-steps.counts, -time))  # utterances with more than ``time`` steps
        ended = slice(going, len(beams.null))
        if going < len(beams.null):
            places[ended], totals[ended], scores[ended] = _rank(beams, automata, settings.n_best, ended)
        if going:
            beams, grown = _advance(beams.first(going), steps, time, codes, automata, settings)
            growth.append(grown)
    totals, scores = totals + steps.skipped[:, None], scores + steps.skipped[:, None]
    transcripts = _trace(growth, places)
    found: list[list[Hypothesis]] = [[] for _ in lengths]
    for row, utterance in enumerate(steps.utterances.tolist()):
        found[utterance] = [
            Hypothesis(symbols[symbols > 0].tolist(), float(total), float(score))
            for symbols, total, score in zip(transcripts[row], totals[row], scores[row], strict=True)
            if total > -np.inf
        ]
    return found


def _start(utterances: int, automata: Sequence[Automaton]) -> Beams:
    """Begin with the empty prefix, which ends in null."""
    shape = utterances, 1
    return Beams(
        null=np.zeros(shape),
        symbol=np.full(shape, -np.inf),
        last=np.zeros(shape, dtype=np.int64),
        keys=np.full(shape, EMPTY),
        parents=np.full(shape, NO_PARENT),
        added=np.zeros(shape),
        states=tuple(np.full(shape, automaton.start) for automaton in automata),
    )


def _advance(
    beams: Beams, steps: Steps, time: int, codes: np.ndarray, automata: Sequence[Automaton], settings: Settings
) -> tuple[Beams, Growth]:
    """Read a step: every prefix stays or grows, equal ones are merged, and the best are kept."""
    stays_null, candidates = _candidates(beams, steps, time)
    going, width, size = candidates.shape
    symbols = steps.symbols[time, :going, :size]
    scores = candidates + beams.added[:, :, None]
    scores[..., 0] = np.logaddexp(stays_null, candidates[..., 0]) + beams.added
    for automaton, states in zip(automata, beams.states, strict=True):
        scores += automaton.weights[states[:, :, None], symbols[:, None, :]]

    chosen, alive = _choose(scores.reshape(going, -1), settings)
    row = np.arange(going)[:, None]
    origins, places = np.divmod(chosen, size)
    grown = symbols[row, places]
    grows = grown > 0
    old = row * width + origins  # places in arrays of the step before, flattened as np.take reads them
    keys = np.take(beams.keys, old)
    added, states_after = np.take(beams.added, old), []
    for automaton, states in zip(automata, beams.states, strict=True):
        state = np.take(states, old)
        added = added + automaton.weights[state, grown]
        states_after.append(automaton.follows[state, grown])
    beams = Beams(
        null=np.where(alive & ~grows, np.take(stays_null, old), -np.inf),
        symbol=np.where(alive, np.take(candidates, row * (width * size) + chosen), -np.inf),
        last=np.where(grows, grown, np.take(beams.last, old)),
        keys=np.where(alive, np.where(grows, _hash(keys, codes[grown]), keys), NOBODY),
        parents=np.where(alive, np.where(grows, keys, np.take(beams.parents, old)), ORPHAN),
        added=added,
        states=tuple(states_after),
    )
    return beams, (origins, grown)


def _candidates(beams: Beams, steps: Steps, time: int) -> tuple[np.ndarray, np.ndarray]:
    """Log-probabilities of each prefix as it was, ending in null (n, width), and of all ending in a symbol.

    The latter are (n, width, places): at place 0 the prefix as it was, at others grown by the symbol that stands there.
    """
    going, width = beams.null.shape
    size = steps.sizes[time]
    paused, likely = steps.paused[time, :going], steps.likely[time, :going, :size]
    row, hypothesis = np.arange(going)[:, None], np.arange(width)
    total = np.logaddexp(beams.null, beams.symbol)
    ended_in_null = np.where(paused, total, beams.null)
    ended_in_symbol = np.where(paused, -np.inf, beams.symbol)

    candidates = total[:, :, None] + likely[:, None, :]
    place_of_last = steps.places[time, row, beams.last]
    again = likely[row, place_of_last]
    candidates[row, hypothesis, place_of_last] = ended_in_null + again
    candidates[..., 0] = -np.inf
    stays = ended_in_symbol + again
    # Where a prefix of the beam grows into another, its probability goes to that one. Indices are of flat arrays.
    pairs = np.flatnonzero(beams.parents[:, :, None] == beams.keys[:, None, :])
    child, parent = pairs // width, pairs // width**2 * width + pairs % width
    same = parent * size + np.take(place_of_last, child)
    entering = np.take(candidates, same)
    stays.reshape(-1)[child] = np.logaddexp(np.take(stays, child), entering)
    candidates.reshape(-1)[same] = -np.inf
    candidates[..., 0] = stays
    return total + steps.null[time, :going], candidates


def _choose(scores: np.ndarray, settings: Settings) -> tuple[np.ndarray, np.ndarray]:
    """Give places of the best of (n, candidates), best first, and which of them are alive, bool, (n, width) both.

    Of equal scores the first is better, so that what else is in the batch settles nothing.
    """
    chosen = np.argsort(-scores, axis=1, kind="stable")[:, : settings.beam]
    reached = np.take_along_axis(scores, chosen, axis=1)
    worst = -np.inf if settings.beam_threshold is None else reached[:, :1] - settings.beam_threshold
    alive = (reached >= worst) & (reached > -np.inf)
    width = int(alive.sum(axis=1).max())
    return chosen[:, :width], alive[:, :width]


@functools.cache
def _codes(symbols: int) -> np.ndarray:
    """Give each symbol a code of 64 random bits, the same in every run."""
    return np.frombuffer(np.random.default_rng(1).bytes(8 * symbols), dtype=np.uint64)


def _hash(keys: np.ndarray, codes: np.ndarray) -> np.ndarray:
    """Hash a prefix's key and the code of the symbol that it grows by."""
    mixed = (keys ^ codes) * np.uint64(0x9E3779B97F4A7C15)
    return mixed ^ (mixed >> np.uint64(29))


def _rank(
    beams: Beams, automata: Sequence[Automaton], n_best: int, ended: slice
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Give places, log-probabilities and scores of the best prefixes of utterances at their end, (ended, n_best)."""
    totals = np.logaddexp(beams.null, beams.symbol)[ended]
    scores = totals + beams.added[ended]
    for automaton, states in zip(automata, beams.states, strict=True):
        scores = scores + automaton.ends[states[ended]]
    places = np.zeros((len(totals), n_best), dtype=np.int64)
    best = np.argsort(-scores, axis=1, kind="stable")[:, :n_best]
    found = best.shape[1]
    ranked = places, np.full(places.shape, -np.inf), np.full(places.shape, -np.inf)
    for array, values in zip(ranked, (best, *(np.take_along_axis(a, best, 1) for a in (totals, scores))), strict=True):
        array[:, :found] = values
    return ranked


def _trace(growth: Sequence[Growth], places: np.ndarray) -> np.ndarray:
    """Follow the prefixes at ``places`` (n, n_best) back to the start: their symbols (n, n_best, time), 0 between."""
    symbols = np.zeros((len(growth), *places.shape), dtype=np.int64)
    for time in range(len(growth) - 1, -1, -1):
        origins, grown = growth[time]
        going = len(origins)
        at = np.arange(going)[:, None], places[:going]
        symbols[time, :going] = grown[at]
        places[:going] = origins[at]
    return symbols.transpose(1, 2, 0)


# What reads along.


def spell(word: str, index: dict[str, int]) -> tuple[int, ...]:
    """Give the symbols of a hot word; raises InputError where it is empty or one is not in the vocabulary."""
    parts = [word] if word in index else word.split() if len(word.split()) > 1 else list(word.strip())
    unknown = [part for part in parts if index.get(part, NULL) == NULL]
    if unknown or not parts:
        problem = f"{unknown[0]!r} is no output symbol of this model" if unknown else "it is empty"
        raise InputError(f"the hot word {word!r} cannot be spelt: {problem}")
    return tuple(index[part] for part in parts)


def hot_word_automaton(words: Sequence[Sequence[int]], symbols: int, bonus: float) -> Automaton:
    """Build what adds ``bonus`` for each place where one of ``words`` stands in a transcript (Aho and Corasick 1975).

    A state is the longest start of a word that the transcript ends in. A word begun is worth its share of the bonus
    (where several are, the best), so that the search does not drop it before it is complete; what was given is taken
    back where it does not complete. A word within another counts as well.
    """
    starts: dict[tuple[int, ...], int] = {(): 0}
    for word in sorted(set(map(tuple, words)), key=lambda w: (len(w), w)):
        for length in range(1, len(word) + 1):
            starts.setdefault(word[:length], len(starts))
    by_length = sorted(starts, key=len)
    shorter = {start: max((s for s in _ends(start) if s in starts), key=len) for start in by_length if start}
    follows = np.zeros((len(starts), symbols), dtype=np.int64)
    complete, begun = np.zeros(len(starts)), np.zeros(len(starts))
    whole = set(map(tuple, words))
    for start in by_length:
        state = starts[start]
        if start:
            follows[state] = follows[starts[shorter[start]]]
            complete[state] = complete[starts[shorter[start]]] + (start in whole)
            begun[state] = begun[starts[shorter[start]]]
        longer = [len(word) for word in whole if len(word) > len(start) and word[: len(start)] == start]
        begun[state] = max([begun[state], *(len(start) / length for length in longer)])
        for symbol in range(1, symbols):
            follows[state, symbol] = starts.get((*start, symbol), follows[state, symbol])
    follows[:, NULL] = np.arange(len(starts))
    weights = bonus * (complete[follows] + begun[follows] - begun[:, None])
    weights[:, NULL] = 0
    return Automaton(weights, follows, ends=-bonus * begun, start=0)


def _ends(sequence: tuple[int, ...]) -> Iterator[tuple[int, ...]]:
    """Give the ends of a sequence shorter than itself, down to the empty one."""
    return (sequence[cut:] for cut in range(1, len(sequence) + 1))


@dataclass(frozen=True)
class Counts:
    """How often each symbol followed each context in transcripts; a context is a tuple of the symbols just before.

    ``contexts`` numbers those that occurred, of 0 to order - 1 symbols, shorter ones first; the start of a transcript
    counts as symbol 0 in them. ``table`` (contexts, symbols) has the counts, in column 0 that of the transcript's end.
    """

    contexts: dict[Context, int]
    table: np.ndarray


def count(transcripts: Transcripts, order: int, symbols: int) -> Counts:
    """Count the n-grams of 1 to ``order`` symbols."""
    seen = Counter((context, symbol) for symbol, past in _events(transcripts, order) for context in past)
    by_length = sorted({context for context, _ in seen}, key=lambda context: (len(context), context))
    contexts = {context: row for row, context in enumerate(by_length)}
    table = np.zeros((len(contexts), symbols))
    for (context, symbol), times in seen.items():
        table[contexts[context], symbol] = times
    return Counts(contexts, table)


def _events(transcripts: Transcripts, order: int) -> Iterator[tuple[int, list[Context]]]:
    """Give each symbol of the transcripts, and at the end 0, with its contexts, the empty one first."""
    for transcript in transcripts:
        line = (0, *transcript, 0)
        for place in range(1, len(line)):
            yield line[place], [line[place - length : place] for length in range(min(order - 1, place) + 1)]


def interpolate(counts: Counts, shares: Sequence[float]) -> np.ndarray:
    """Give the probability of each symbol, and in column 0 of the end, after each context: (contexts, symbols).

    p(s | c) = share count(c, s) / count(c) + (1 - share) p(s | c without its first symbol), with a share an order, and
    below the empty context 1 / symbols (Jelinek and Mercer 1980; Chen and Goodman 1996).
    """
    probabilities = np.empty_like(counts.table)
    for context, row in counts.contexts.items():
        lower = probabilities[counts.contexts[context[1:]]] if context else 1 / counts.table.shape[1]
        share = shares[len(context)]
        probabilities[row] = share * counts.table[row] / counts.table[row].sum() + (1 - share) * lower
    return probabilities


def fit_shares(counts: Counts, held_out: Transcripts, order: int, rounds: int = 50) -> tuple[float, ...]:
    """Fit the shares of ``interpolate`` to transcripts that were not counted, by EM (Jelinek and Mercer 1980).

    A symbol is drawn from the longest context's frequencies with the chance that is its share, or else from the next
    shorter one's, and so on; a share is the part of those who came to an order that was drawn there. None is above
    0.999, so that nothing becomes impossible.
    """
    shape = sum(len(transcript) + 1 for transcript in held_out), order
    frequencies, seen = np.zeros(shape), np.zeros(shape, dtype=bool)
    for event, (symbol, contexts) in enumerate(_events(held_out, order)):
        for length, context in enumerate(contexts):
            if context in counts.contexts:
                row = counts.table[counts.contexts[context]]
                frequencies[event, length], seen[event, length] = row[symbol] / row.sum(), True
    shares = np.full(order, 0.5)
    for _ in range(rounds):
        chances = [np.full(shape[0], 1 / counts.table.shape[1])]
        for length in range(order):
            part = shares[length] * seen[:, length]
            chances.append(part * frequencies[:, length] + (1 - part) * chances[-1])
        came = np.ones(shape[0])
        for length in reversed(range(order)):
            drawn = came * seen[:, length] * shares[length] * frequencies[:, length] / chances[length + 1]
            arrived = float(came[seen[:, length]].sum())
            shares[length] = min(float(drawn.sum()) / arrived, 0.999) if arrived else 0.0
            came = came - drawn
    return tuple(shares.tolist())


@functools.lru_cache(maxsize=8)
def language_automaton(transcripts: tuple[tuple[int, ...], ...], symbols: int, settings: LanguageModel) -> Automaton:
    """Build the automaton of a language model; its states are the contexts of ``count``."""
    shares = settings.interpolation
    if shares is None:
        rest = [transcript for place, transcript in enumerate(transcripts) if place % HELD_OUT]
        if not rest:
            raise InputError(
                f"a language model without interpolation shares needs at least 2 training transcripts, not "
                f"{len(transcripts)}: give language_model.interpolation"
            )
        shares = fit_shares(count(rest, settings.order, symbols), transcripts[::HELD_OUT], settings.order)
    counts = count(transcripts, settings.order, symbols)
    log_probabilities = np.log(interpolate(counts, shares))
    follows = np.zeros(counts.table.shape, dtype=np.int64)
    longer: dict[Context, list[Context]] = {context: [] for context in counts.contexts}
    for context in counts.contexts:
        if context:
            longer[context[:-1]].append(context)
    for context, row in counts.contexts.items():
        if context:
            follows[row] = follows[counts.contexts[context[1:]]]
        for extended in longer[context]:
            follows[row, extended[-1]] = counts.contexts[extended]
    follows[:, NULL] = np.arange(len(follows))
    weights = settings.weight * log_probabilities + settings.insertion_bonus
    weights[:, NULL] = 0
    return Automaton(
        weights, follows, ends=settings.weight * log_probabilities[:, NULL], start=counts.contexts.get((0,), 0)
    )
