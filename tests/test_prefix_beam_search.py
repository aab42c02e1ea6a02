"""CTC prefix beam search against listing every alignment, and what reads along against counting by hand."""

from __future__ import annotations

import itertools
import math
from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from stages.core.base.errors import InputError
from stages.core.base.params import read_settings
from stages.core.learning.batch import Padded
from stages.core.learning.vocabulary import Vocabulary
from stages.decoding.prefix_beam_search import (
    Automaton,
    LanguageModel,
    Settings,
    build_automata,
    count,
    decode,
    fit_shares,
    hot_word_automaton,
    interpolate,
    language_automaton,
    search,
    spell,
)
from stages.tasks.connectionist_temporal_classification import collapse

EXACT: dict[str, Any] = {"beam": 2000, "n_best": 2000, "token_threshold": None, "beam_threshold": None}


def posteriors(seed: int, steps: int, symbols: int, sharpness: float = 2.0) -> np.ndarray:
    """Random log-probabilities (time, symbols)."""
    logits = sharpness * np.random.default_rng(seed).standard_normal((steps, symbols))
    return logits - np.logaddexp.reduce(logits, axis=1, keepdims=True)


def every_transcript(log_probabilities: np.ndarray) -> dict[tuple[int, ...], float]:
    """The log-probability of each transcript, by listing all alignments."""
    sums: dict[tuple[int, ...], float] = defaultdict(float)
    steps, symbols = log_probabilities.shape
    for path in itertools.product(range(symbols), repeat=steps):
        sums[tuple(collapse(list(path)))] += math.exp(log_probabilities[range(steps), path].sum())
    return {transcript: math.log(chance) for transcript, chance in sums.items()}


def padded(utterances: Sequence[np.ndarray], value: float = 7.0) -> tuple[np.ndarray, np.ndarray]:
    lengths = np.array([len(utterance) for utterance in utterances])
    table = np.full((len(utterances), lengths.max(), utterances[0].shape[1]), value)
    for row, utterance in zip(table, utterances, strict=True):
        row[: len(utterance)] = utterance
    return table, lengths


def best_of(log_probabilities: np.ndarray, automata: Sequence[Automaton] = (), **values: Any) -> list[int]:
    return search(*padded([log_probabilities]), Settings(**EXACT | values), automata)[0][0].symbols


def read(automaton: Automaton, transcript: Sequence[int]) -> float:
    """What an automaton adds to a transcript."""
    state, total = automaton.start, 0.0
    for symbol in transcript:
        total += automaton.weights[state, symbol]
        state = automaton.follows[state, symbol]
    return float(total + automaton.ends[state])


@pytest.mark.parametrize("steps, symbols", [(1, 3), (3, 3), (6, 3), (5, 4), (6, 4)])
@pytest.mark.parametrize("sharpness", [0.0, 0.5, 3.0])
def test_a_wide_beam_gives_every_transcript_its_exact_probability(steps: int, symbols: int, sharpness: float) -> None:
    utterances = [posteriors(seed, steps, symbols, sharpness) for seed in range(3)]
    for utterance, found in zip(utterances, search(*padded(utterances), Settings(**EXACT)), strict=True):
        exact = every_transcript(utterance)
        assert {tuple(hypothesis.symbols) for hypothesis in found} == set(exact)
        assert len(found) == len(exact), "a transcript stands there twice"
        for hypothesis in found:
            assert hypothesis.log_probability == pytest.approx(exact[tuple(hypothesis.symbols)], abs=1e-9)
            assert hypothesis.score == hypothesis.log_probability
        assert [h.score for h in found] == sorted((h.score for h in found), reverse=True)


def test_the_sum_over_alignments_can_differ_from_the_best_alignment() -> None:
    # The one best alignment is two nulls, 0.36; three others (a null, null a, a a) give "a", 0.64 together.
    log_probabilities = np.log([[0.6, 0.4], [0.6, 0.4]])
    assert collapse(log_probabilities.argmax(axis=1).tolist()) == []
    (best, second), *_ = search(*padded([log_probabilities]), Settings(**EXACT))
    assert (best.symbols, second.symbols) == ([1], [])
    assert math.exp(best.log_probability) == pytest.approx(0.64)
    assert math.exp(second.log_probability) == pytest.approx(0.36)


def test_a_null_between_makes_a_symbol_double() -> None:
    doubled = np.log([[0.01, 0.99], [0.98, 0.02], [0.01, 0.99]])
    held = np.log([[0.01, 0.99], [0.02, 0.98], [0.01, 0.99]])
    for thresholds in (None, -3.0):
        assert best_of(doubled, token_threshold=thresholds) == [1, 1]
        assert best_of(held, token_threshold=thresholds) == [1]


@pytest.mark.parametrize("symbols, beam", [(4, 3), (12, 16)])
def test_neither_the_batch_nor_padding_changes_a_result(symbols: int, beam: int) -> None:
    utterances = [posteriors(seed, 1 + 5 * seed % 17, symbols, 1.0 + seed % 3) for seed in range(12)]
    utterances.append(np.zeros((0, symbols)))
    for settings in (
        Settings(beam=beam, n_best=3),
        Settings(beam=beam, n_best=3, token_threshold=-3.0, beam_threshold=4.0),
    ):
        together = search(*padded(utterances), settings)
        assert together == search(*padded(utterances, value=-np.inf), settings)
        assert together[::-1] == search(*padded(utterances[::-1]), settings)
        for utterance, found in zip(utterances, together, strict=True):
            assert search(*padded([utterance]), settings)[0] == found


def test_ties_are_settled_alike_in_every_batch() -> None:
    even = np.full((6, 40), -30.0)
    even[:, :5] = math.log(0.2)  # beside an utterance that has 40 likely symbols a step
    for beam in (4, 7, 16):
        alone = search(*padded([even]), Settings(beam=beam))[0]
        assert search(*padded([posteriors(1, 9, 40, 0.1), even]), Settings(beam=beam))[1] == alone


def test_an_utterance_without_steps_is_the_empty_transcript() -> None:
    (found,) = search(np.zeros((1, 0, 4)), np.array([0]), Settings())
    assert [(h.symbols, h.log_probability) for h in found] == [([], 0.0)]


@pytest.mark.parametrize("threshold", [-2.0, -0.1])
@pytest.mark.parametrize("seed", range(5))
def test_token_pruning_makes_symbols_impossible_but_for_the_best(seed: int, threshold: float) -> None:
    log_probabilities = posteriors(seed, 6, 4, 3.0)
    pruned = np.where(
        (log_probabilities >= threshold) | (log_probabilities == log_probabilities.max(axis=1, keepdims=True)),
        log_probabilities,
        -np.inf,
    )
    exact = possible_transcripts(pruned)
    (found,) = search(*padded([log_probabilities]), Settings(**EXACT | {"token_threshold": threshold}))
    assert {tuple(h.symbols): pytest.approx(h.log_probability, abs=1e-9) for h in found} == exact


def possible_transcripts(log_probabilities: np.ndarray) -> dict[tuple[int, ...], float]:
    sums: dict[tuple[int, ...], float] = defaultdict(float)
    options = [np.flatnonzero(row > -np.inf).tolist() for row in log_probabilities]
    for path in itertools.product(*options):
        sums[tuple(collapse(list(path)))] += math.exp(log_probabilities[range(len(path)), path].sum())
    return {transcript: math.log(chance) for transcript, chance in sums.items()}


def test_beam_pruning_drops_what_is_too_far_behind() -> None:
    log_probabilities = np.log([[0.1, 0.6, 0.3]])
    (found,) = search(*padded([log_probabilities]), Settings(**EXACT | {"beam_threshold": math.log(3)}))
    assert [h.symbols for h in found] == [[1], [2]]


def test_a_narrow_beam_is_narrow() -> None:
    (found,) = search(*padded([posteriors(1, 6, 4)]), Settings(beam=3, n_best=5, beam_threshold=None))
    assert len(found) == 3


def test_a_skipped_step_still_parts_two_equal_symbols() -> None:
    sharp = np.log([[0.1, 0.8, 0.1], [0.97, 0.02, 0.01], [0.96, 0.02, 0.02], [0.1, 0.8, 0.1]])
    assert best_of(sharp, blank_skip=0.95) == [1, 1]
    certain = sharp.copy()
    certain[1:3, 1:] = -np.inf
    exact = possible_transcripts(certain)
    (found,) = search(*padded([sharp]), Settings(**EXACT | {"blank_skip": 0.95}))
    assert {tuple(h.symbols): pytest.approx(h.log_probability, abs=1e-9) for h in found} == exact


# The language model.

SAID = [[1, 2], [1, 1, 2], [2]]  # a b, a a b, b; the end is 0


def test_interpolated_probabilities_are_those_computed_by_hand() -> None:
    table = count(SAID, order=2, symbols=3)
    probabilities = interpolate(table, (0.6, 0.8))
    # 9 events: 3 a, 3 b, 3 ends. Lowest: 1/3 each; so each unigram has 0.6 x 3/9 + 0.4 / 3 = 1/3.
    assert probabilities[table.contexts[()]] == pytest.approx([1 / 3] * 3)
    # After a came a once and b twice; at the start a twice and b once; after b three ends.
    after_a, after_b, start = (probabilities[table.contexts[context]] for context in ((1,), (2,), (0,)))
    assert after_a == pytest.approx([0.2 / 3, 0.8 / 3 + 0.2 / 3, 0.8 * 2 / 3 + 0.2 / 3])
    assert after_b == pytest.approx([0.8 + 0.2 / 3, 0.2 / 3, 0.2 / 3])
    assert start == pytest.approx([0.2 / 3, 0.8 * 2 / 3 + 0.2 / 3, 0.8 / 3 + 0.2 / 3])


@pytest.mark.parametrize("order", [1, 2, 3, 4])
def test_after_each_context_the_probabilities_sum_to_one(order: int) -> None:
    draw = np.random.default_rng(order)
    transcripts = [draw.integers(1, 7, size=draw.integers(0, 9)).tolist() for _ in range(60)]
    probabilities = interpolate(count(transcripts, order, 7), (0.9, 0.7, 0.5, 0.3)[:order])
    assert probabilities.sum(axis=1) == pytest.approx(np.ones(len(probabilities)))
    assert (probabilities > 0).all()


@pytest.mark.parametrize("order", [1, 2, 3])
def test_the_automaton_scores_a_transcript_as_the_formula_does(order: int) -> None:
    draw = np.random.default_rng(order)
    transcripts = tuple(tuple(draw.integers(1, 5, size=draw.integers(1, 7)).tolist()) for _ in range(12))
    shares = (0.9, 0.6, 0.7)[:order]
    model = LanguageModel(order=order, weight=0.7, insertion_bonus=0.3, interpolation=shares)
    automaton = language_automaton(transcripts, 5, model)
    lines = [(0, *transcript, 0) for transcript in transcripts]
    for transcript in itertools.product(range(1, 5), repeat=4):
        line, total = (0, *transcript, 0), 0.0
        for place in range(1, len(line)):
            chance = 1 / 5
            for length in range(min(order - 1, place) + 1):
                gram = line[place - length : place + 1]
                windows = [w[i - length : i + 1] for w in lines for i in range(max(1, length), len(w))]
                same = sum(window[:-1] == gram[:-1] for window in windows)
                if same:
                    share = shares[length]
                    chance = share * sum(window == gram for window in windows) / same + (1 - share) * chance
            total += math.log(chance)
        assert read(automaton, transcript) == pytest.approx(0.7 * total + 0.3 * len(transcript))


def test_em_finds_the_shares_that_make_held_out_transcripts_likeliest() -> None:
    draw = np.random.default_rng(3)
    rows = draw.dirichlet(np.full(4, 0.4), size=4)
    said = []
    for _ in range(200):
        line = [1]
        while len(line) < 8:
            line.append(1 + int(draw.choice(4, p=rows[line[-1] - 1])))
        said.append(line)
    counts, held_out = count(said[:40], 3, 5), said[40:]

    def likelihood(shares: Sequence[float]) -> float:
        automaton_of = np.log(interpolate(counts, shares))
        total = 0.0
        for transcript in held_out:
            line = (0, *transcript, 0)
            for place in range(1, len(line)):
                past = next(
                    past
                    for length in range(min(2, place), -1, -1)
                    if (past := line[place - length : place]) in counts.contexts
                )
                total += automaton_of[counts.contexts[past], line[place]]
        return total

    shares = fit_shares(counts, held_out, 3, rounds=300)
    assert all(0 <= share < 1 for share in shares)
    for order, change in itertools.product(range(3), (-0.05, 0.05)):
        other = list(shares)
        other[order] = min(max(other[order] + change, 0.001), 0.998)
        assert likelihood(shares) >= likelihood(other)
    assert shares[1] > 0.8 > shares[2], "the data are bigrams: the trigrams of 40 transcripts should weigh little"


@pytest.mark.parametrize("seed", range(4))
def test_fusion_finds_the_best_sum_of_sound_and_language(seed: int) -> None:
    model = LanguageModel(order=3, weight=1.5, insertion_bonus=0.8, interpolation=(0.9, 0.8, 0.7))
    automaton = language_automaton(((1, 2, 3), (1, 1, 2), (3, 3, 1, 2), (2,)), 4, model)
    log_probabilities = posteriors(seed, 5, 4, 1.0)
    (found,) = search(*padded([log_probabilities]), Settings(**EXACT), [automaton])
    wanted = {t: p + read(automaton, t) for t, p in every_transcript(log_probabilities).items()}
    assert {tuple(h.symbols): pytest.approx(h.score, abs=1e-9) for h in found} == wanted
    assert tuple(found[0].symbols) == max(wanted, key=lambda t: wanted[t])


def test_language_decides_where_the_sound_does_not() -> None:
    log_probabilities = np.log([[0.02, 0.96, 0.01, 0.01], [0.02, 0.02, 0.47, 0.49]])
    automaton = language_automaton(((1, 2),) * 5 + ((3,),), 4, LanguageModel(interpolation=(0.9, 0.9, 0.9)))
    assert best_of(log_probabilities) == [1, 3]
    assert best_of(log_probabilities, [automaton]) == [1, 2]


# Hot words.


def bonus_of(transcript: Sequence[int], words: Sequence[Sequence[int]]) -> int:
    return sum(
        tuple(transcript[place : place + len(word)]) == tuple(word)
        for word in words
        for place in range(len(transcript))
    )


@pytest.mark.parametrize(
    "words",
    [[(1, 2)], [(1, 2, 3)], [(1, 1), (1, 1, 1)], [(1, 2, 3, 1), (2, 3)], [(1, 2), (2, 3)], [(2,), (2, 2, 1), (1, 2)]],
)
def test_a_transcript_gets_the_bonus_for_each_hot_word_in_it_and_for_no_half_one(words: list[tuple[int, ...]]) -> None:
    automaton = hot_word_automaton(words, 4, 2.0)
    for length in range(7):
        for transcript in itertools.product(range(1, 4), repeat=length):
            assert read(automaton, transcript) == pytest.approx(2.0 * bonus_of(transcript, words)), transcript


def test_a_hot_word_begun_is_worth_its_share() -> None:
    automaton = hot_word_automaton([(1, 2, 3, 1)], 4, 4.0)
    state, shares = automaton.start, []
    for symbol in (1, 2, 3):
        shares.append(automaton.weights[state, symbol])
        state = automaton.follows[state, symbol]
    assert shares == pytest.approx([1.0, 1.0, 1.0])
    assert automaton.weights[state, 2] == pytest.approx(-3.0)


def test_a_hot_word_can_begin_within_another() -> None:
    automaton = hot_word_automaton([(1, 2), (2, 3, 1)], 4, 6.0)
    begun = automaton.follows[automaton.start, 1]
    assert automaton.weights[begun, 2] == pytest.approx(6 - 3 + 2), "one complete, its half back, a third of the other"


def test_a_hot_word_survives_a_narrow_beam() -> None:
    # At the first step 2 is too unlikely for a beam of one, unless something speaks for it.
    log_probabilities = np.log([[0.1, 0.6, 0.3], [0.8, 0.1, 0.1], [0.1, 0.5, 0.4]])
    automaton = hot_word_automaton([(2, 1)], 3, 3.0)
    assert best_of(log_probabilities, beam=1) == [1, 1]
    assert best_of(log_probabilities, [automaton], beam=1) == [2, 1]


@pytest.mark.parametrize("seed", range(3))
def test_hot_words_and_language_model_add_up(seed: int) -> None:
    automata = [
        language_automaton(((1, 2, 3), (1, 1, 2)), 4, LanguageModel(order=2, interpolation=(0.5, 0.5))),
        hot_word_automaton([(3, 1), (2, 2)], 4, 1.5),
    ]
    log_probabilities = posteriors(seed, 5, 4, 1.0)
    (found,) = search(*padded([log_probabilities]), Settings(**EXACT), automata)
    wanted = {t: p + sum(read(a, t) for a in automata) for t, p in every_transcript(log_probabilities).items()}
    assert {tuple(h.symbols): pytest.approx(h.score, abs=1e-9) for h in found} == wanted


def test_hot_words_are_spelt_in_symbols() -> None:
    characters = Vocabulary(["<null>", "好", "棒", "ab"]).index
    assert spell("好棒", characters) == (1, 2)
    assert spell("好 棒 棒", characters) == (1, 2, 2)
    assert spell("ab", characters) == (3,)
    with pytest.raises(InputError, match="the hot word '好吗' cannot be spelt: '吗' is no output symbol of this model"):
        spell("好吗", characters)
    with pytest.raises(InputError, match="the hot word ' ' cannot be spelt: it is empty"):
        spell(" ", characters)


# What a person gets.


class Told:
    """A task with given log-probabilities."""

    symbols = Vocabulary(["<null>", "好", "棒"])

    def __init__(self, utterances: Sequence[np.ndarray]) -> None:
        table, lengths = padded(utterances, value=0.0)
        self.table = torch.tensor(table, dtype=torch.float32)
        self.batch = {"steps": Padded(torch.zeros(table.shape[:2]), torch.tensor(lengths))}
        self.transcribed: list[tuple[int, list[int]]] = []

    def log_probabilities(self, batch: Any) -> Tensor:
        return self.table

    def transcribe(self, log_probabilities: Any, symbols: list[int]) -> dict[str, Any]:
        self.transcribed.append((len(log_probabilities), symbols))
        return {"prediction": self.symbols.decode(symbols)}

    def transcripts(self) -> list[list[int]]:
        return [[1, 2], [1, 2, 2]] * 10


def told() -> Told:
    return Told([np.log([[0.6, 0.4, 1e-9]] * 2), np.log([[0.02, 0.96, 0.02], [0.02, 0.02, 0.96], [0.9, 0.05, 0.05]])])


def test_a_record_has_the_tasks_account_of_the_best_transcript_and_n_best() -> None:
    task = told()
    first, second = decode(task, task.batch, Settings(n_best=2))
    assert first["prediction"] == ["好"] and second["prediction"] == ["好", "棒"]
    assert task.transcribed == [(2, [1]), (3, [1, 2])], "an utterance is read in its own steps, without padding"
    assert [best["symbols"] for best in first["n_best"]] == [["好"], []]
    assert first["n_best"][0] == {"symbols": ["好"], "log_probability": pytest.approx(math.log(0.64), abs=1e-5)}


def test_the_log_probability_is_that_of_sound_alone_and_the_score_decides() -> None:
    task = told()
    plain = decode(task, task.batch, Settings(**EXACT))
    values = {"language_model": LanguageModel(order=2), "hot_words": ("棒好",), "hot_word_bonus": 20.0}
    helped = decode(task, task.batch, Settings(**EXACT | values))
    for one, other in zip(plain, helped, strict=True):
        exact = {tuple(best["symbols"]): best["log_probability"] for best in one["n_best"]}
        assert {tuple(best["symbols"]): best["log_probability"] for best in other["n_best"]} == exact
        assert [best["score"] for best in other["n_best"]] == sorted(
            (b["score"] for b in other["n_best"]), reverse=True
        )
    assert helped[1]["prediction"] == ["好", "棒", "好"]


def test_settings_are_read_from_params() -> None:
    values = {"beam": 8, "language_model": {"order": 2, "interpolation": [0.9, 0.5]}, "hot_words": ["好棒"]}
    assert read_settings(Settings, values, "decoder") == Settings(
        beam=8, language_model=LanguageModel(order=2, interpolation=(0.9, 0.5)), hot_words=("好棒",)
    )
    with pytest.raises(InputError, match=r"decoder\.language_model.*order = 3 shares"):
        read_settings(Settings, {"language_model": {"order": 3, "interpolation": [0.9]}}, "decoder")
    with pytest.raises(InputError, match=r"decoder\.language_model\.wieght is an unknown key; did you mean weight"):
        read_settings(Settings, {"language_model": {"wieght": 1.0}}, "decoder")


def test_one_transcript_is_too_few_to_fit_shares() -> None:
    task = told()
    task.transcripts = lambda: [[1, 2]]  # type: ignore[method-assign]
    with pytest.raises(InputError, match="at least 2 training transcripts, not 1"):
        build_automata(task, Settings(language_model=LanguageModel()))
