"""Is one figure beyond another, for new seeds and new examples? Bootstrap over examples, t over seeds, Holm over all.

A figure is the mean over a few seeds of a metric on some hundred test examples. It would have come out otherwise with
other seeds, and with other examples:

- Examples are drawn again with replacement (Efron and Tibshirani 1993), the same for all that is compared, so that a
  hard example counts for both sides. What is drawn are keys: examples that share one (a voice, a template, an article)
  stand in one split since they are alike, and are no independent evidence. Few keys vary too little when drawn again;
  so every draw is stretched by sqrt(k / (k - 1)), and by sqrt(f / chi2) of f = k - 1 degrees of freedom, which makes t
  of normal tails.
- Three seeds drawn again would miss a third of their variance. So to each draw of examples comes the error of a mean
  over seeds, by Student's t: Welch's (1947) for two sides that may spread unlike; of the differences where both sides
  are the same trained models. It is added in closed form: a mixture of t distributions, one a draw.

The seeds' figures hold the noise of examples by seed, which both parts then count: the interval is rather too wide than
too narrow. It takes the figures of seeds as about normal; that three seeds of one kind all learn and three of the other
all fail by luck, it cannot know.

5,000 draws: they tell p-values down to 2 / 5001, which Holm among 37 comparisons makes 0.015; 1,500 draws would make it
0.05, and nothing could be told. An end of a bootstrap's interval (of about normal draws, width 3.92 sigma) has a Monte
Carlo error of sqrt(0.025 * 0.975 / draws) / 0.0584 sigma, 1 % of the width: in 95 of 100 repetitions it moves by less
than 2 %. Where seeds spread, their closed form makes that less; where keys are few, t's long tails make it more.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from statistics import mean, variance
from typing import TypeVar

import numpy as np
from scipy.optimize import brentq
from scipy.special import stdtr

LEVEL = 0.05
DRAWS = 5000
SEED = 1

Array = np.ndarray
Ratio = tuple[Sequence[float], Sequence[float]]
Tally = Ratio | Callable[[Array], Array]
"""A metric by example: what each adds above and below the fraction line, or else a function that gives the metric
(draws,) from how often each example counts (draws, examples)."""

Name = TypeVar("Name", bound=Hashable)


@dataclass(frozen=True)
class Side:
    """What is compared: a metric by example, a tally a seed.

    ``is_fixed`` says that the method draws no numbers: with every seed it predicts the same.
    """

    tallies: Sequence[Tally]
    is_fixed: bool = False


@dataclass(frozen=True)
class Estimate:
    """A figure, what it is compared with, and the effect: the first less the second, with its 95 % interval.

    ``p`` is the two-sided p-value of the effect's being the margin.
    """

    figure: float
    than: float
    effect: float
    low: float
    high: float
    p: float


class Resampling:
    """Examples drawn again by their ``keys``, ``draws`` times; the same for equal keys and ``seed``.

    Keys that ``counts`` (examples,) bool leaves out have no part. Raises ValueError where fewer than two keys are left.
    """

    def __init__(self, keys: Sequence[str], counts: Array | None = None, draws: int = DRAWS, seed: int = SEED) -> None:
        every = np.asarray(keys)
        kept = np.ones(len(every), dtype=bool) if counts is None else np.asarray(counts, dtype=bool)
        names = np.unique(every[kept])
        if len(names) < 2:
            raise ValueError(
                f"there should be two examples or more that have different keys, and there are {len(names)}"
            )
        generator = np.random.default_rng(seed)
        self._drawn: Array = np.zeros((draws, len(names) + 1))  # how often each key is drawn: the last is none
        for row in self._drawn:
            row[:-1] = np.bincount(generator.integers(len(names), size=len(names)), minlength=len(names))
        freedom = len(names) - 1
        self.stretch: Array = np.sqrt(len(names) / generator.chisquare(freedom, size=draws))  # (draws,)
        self._places: Array = np.where(np.isin(every, names), np.searchsorted(names, every), len(names))

    def figures(self, tally: Tally) -> tuple[float, Array]:
        """Give the metric over all examples, and (draws,) over those of each draw; NaN where a draw has none."""
        if callable(tally):
            every = np.ones((1, len(self._places)))
            return float(tally(every)[0]), tally(self._drawn[:, self._places])
        sums = np.zeros((2, self._drawn.shape[1]))  # above and below the line, by key
        for row, part in zip(sums, tally, strict=True):
            np.add.at(row, self._places, np.asarray(part, dtype=np.float64))
        above, below = sums @ self._drawn.T
        with np.errstate(invalid="ignore", divide="ignore"):
            return float(math.fsum(tally[0]) / math.fsum(tally[1])), above / below


@dataclass(frozen=True)
class SeedError:
    """The standard error of an effect over seeds with its degrees of freedom.

    ``least`` is the least p-value that such seeds allow: where they do not spread at all, it bounds the chance that so
    many figures agree by coincidence.
    """

    error: float
    freedom: float
    least: float = 0.0


def seed_error(sides: Sequence[Sequence[float]], fixed: Sequence[bool]) -> SeedError:
    """Give the error of a mean over seeds, or of the difference of two, from the figures of each side's seeds.

    ``fixed`` says of each side whether its method draws no numbers, and so has no error. Raises ValueError where
    another side has one seed.
    """
    drawing = [side for side, is_fixed in zip(sides, fixed, strict=True) if not is_fixed]
    if any(len(side) < 2 for side in drawing):
        raise ValueError("one seed tells nothing of the spread over seeds, and there should be two or more")
    parts = [(variance(side) / len(side), len(side) - 1) for side in drawing]
    squares = sum(part for part, _ in parts)
    if squares:
        return SeedError(math.sqrt(squares), squares**2 / sum(part**2 / freedom for part, freedom in parts))
    return SeedError(0.0, 1.0, _coincidence([len(side) for side in drawing]))


def _coincidence(sizes: Sequence[int]) -> float:
    """Give the greatest chance, over all distributions, that each side's figures agree and yet deceive: that two sides
    of one distribution differ, or that one side lies wholly on one side of its median.
    """
    if not sizes:
        return 0.0
    total = sum(sizes)
    return 2.0 ** (1 - total) if len(sizes) == 1 else 2 * math.prod((size / total) ** size for size in sizes)


def estimate(
    figure: float, than: float, drawn: Array, stretch: Array, seeds: SeedError, margin: float = 0.0
) -> Estimate:
    """Estimate figure - than from what it is for drawn examples (draws,), and from its error over seeds."""
    effect = figure - than
    told = np.isfinite(drawn)
    places = effect + (drawn[told] - effect) * stretch[told]

    def below(value: float) -> float:
        if not seeds.error:
            return float((np.sum(places < value) + np.sum(places <= value)) / (2 * len(places)))
        return float(np.mean(stdtr(seeds.freedom, (value - places) / seeds.error)))

    if seeds.error:
        far = float(np.max(np.abs(places - effect))) + 1000 * seeds.error
        low, high = (
            float(brentq(lambda value, share=share: below(value) - share, effect - far, effect + far))
            for share in (LEVEL / 2, 1 - LEVEL / 2)
        )
    else:
        low, high = (float(np.quantile(places, share)) for share in (LEVEL / 2, 1 - LEVEL / 2))
    share = below(margin)
    finest = 2 / (len(places) + 1)  # so many draws tell no smaller one
    return Estimate(figure, than, effect, low, high, min(1.0, max(2 * min(share, 1 - share), finest, seeds.least)))


def compare(
    ours: Side, theirs: Side | float, resampling: Resampling, margin: float = 0.0, same_models: bool = False
) -> Estimate:
    """Estimate by how much a metric of ``ours`` exceeds that of ``theirs`` over the same examples, or a number.

    ``same_models`` says that seed by seed both sides are of one trained model. Raises ValueError where the seeds do not
    tell how they spread.
    """
    our_figures, our_draws = _over_seeds(ours, resampling)
    if isinstance(theirs, float):
        seeds = seed_error([our_figures], [ours.is_fixed])
        return estimate(mean(our_figures), theirs, our_draws - theirs, resampling.stretch, seeds, margin)
    their_figures, their_draws = _over_seeds(theirs, resampling)
    if same_models:
        differences = [a - b for a, b in zip(our_figures, their_figures, strict=True)]
        seeds = seed_error([differences], [ours.is_fixed and theirs.is_fixed])
    else:
        seeds = seed_error([our_figures, their_figures], [ours.is_fixed, theirs.is_fixed])
    drawn = our_draws - their_draws
    return estimate(mean(our_figures), mean(their_figures), drawn, resampling.stretch, seeds, margin)


def _over_seeds(side: Side, resampling: Resampling) -> tuple[list[float], Array]:
    """Give the figure of each seed, and (draws,) their mean for each draw of examples."""
    # What is the same for every seed is computed once.
    different = side.tallies[:1] if side.is_fixed else side.tallies
    made = [resampling.figures(tally) for tally in different] * (len(side.tallies) if side.is_fixed else 1)
    return [figure for figure, _ in made], np.mean([drawn for _, drawn in made], axis=0)


def holm(p: Mapping[Name, float]) -> dict[Name, float]:
    """Give each p-value among all (Holm 1979), so that with nothing to find the chance of any <= 0.05 is 0.05."""
    adjusted: dict[Name, float] = {}
    reached = 0.0
    for place, name in enumerate(sorted(p, key=lambda name: p[name])):
        reached = max(reached, min(1.0, p[name] * (len(p) - place)))
        adjusted[name] = reached
    return adjusted
