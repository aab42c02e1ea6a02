"""BLEU (Papineni et al. 2002), chrF (Popović 2015) and exact match of translations, by sacrebleu (Post 2018)."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Any, Literal

import numpy as np
import pydantic
from sacrebleu.metrics.bleu import BLEU
from sacrebleu.metrics.chrf import CHRF

from stages.core.base.errors import InputError
from stages.core.base.params import settings

Records = list[dict[str, Any]]


@settings
class Settings:
    """How a translation is compared with its record's "target".

    ``tokenize`` is sacrebleu's tokenizer ("zh" divides Chinese into characters); ``bands`` are the similarities (0 to
    1) that divide the records by their "similarity" to training, rising; empty for no bands.
    """

    tokenize: Literal["13a", "char", "intl", "none", "zh"] = "zh"
    bands: list[float] = pydantic.Field(default_factory=list)


def score(records: Records, settings: Settings) -> dict[str, float]:
    """Give corpus "bleu", "chrf" and "exact_match" in percent, and BLEU for each band of similarity that has records.

    Where records hold what greedy search put out ("greedy"), "bleu_greedy" is the BLEU of that. With bands 0.4 and 0.7:
    "bleu_similarity_below_0.4" (similarity < 0.4), "bleu_similarity_0.4_to_0.7" (both ends included) and
    "bleu_similarity_above_0.7". Raises InputError where there is no record, one lacks a field, or the bands do not
    rise.
    """
    _check(records, settings)
    targets = [record["target"] for record in records]
    predictions = [record["prediction"] for record in records]
    same = sum(prediction == target for prediction, target in zip(predictions, targets, strict=True))
    scores = {
        "bleu": _bleu(records, settings),
        "chrf": float(CHRF().corpus_score(predictions, [targets]).score),
        "exact_match": 100 * same / len(records),
    }
    if all("greedy" in record for record in records):
        scores["bleu_greedy"] = _bleu([record | {"prediction": record["greedy"]} for record in records], settings)
    for name, members in _bands(records, settings.bands).items():
        if members:
            scores[f"bleu_similarity_{name}"] = _bleu(members, settings)
    return scores


def tallies(records: Records, settings: Settings) -> dict[str, Callable[[np.ndarray], np.ndarray]]:
    """Give "bleu", and "bleu_greedy" where records hold greedy search, from how often each example counts.

    That is a function from (draws, examples) to (draws,): the counts of n-grams, of which BLEU is made, add up over
    examples; BLEU does not.
    """
    found = {"bleu": _by_example(records, "prediction", settings)}
    if all("greedy" in record for record in records):
        found["bleu_greedy"] = _by_example(records, "greedy", settings)
    return found


def _by_example(records: Records, field: str, settings: Settings) -> Callable[[np.ndarray], np.ndarray]:
    """Equations of Papineni et al. 2002, section 2.3: brevity penalty, geometric mean of the precisions of 1 to 4."""
    metric = BLEU(tokenize=settings.tokenize)
    scores = [metric.corpus_score([record[field]], [[record["target"]]]) for record in records]
    lengths = np.array([[score.sys_len, score.ref_len] for score in scores], dtype=np.float64)
    counts = np.array([[score.counts, score.totals] for score in scores], dtype=np.float64)  # (examples, 2, n)

    def bleu(weights: np.ndarray) -> np.ndarray:
        written, wanted = (weights @ lengths).T
        right, every = (weights @ counts[:, part] for part in (0, 1))  # (draws, n)
        with np.errstate(divide="ignore", invalid="ignore"):
            precision = np.log(right / every).mean(axis=1)
            return np.asarray(100 * np.exp(np.minimum(0, 1 - wanted / written) + precision))

    return bleu


def signatures(settings: Settings) -> dict[str, str]:
    """Give sacrebleu's signature of "bleu" and of "chrf": what a figure must be quoted with to be comparable."""
    metrics = {"bleu": BLEU(tokenize=settings.tokenize), "chrf": CHRF()}
    for metric in metrics.values():
        metric.corpus_score(["a"], [["a"]])  # it knows how many references there are once it has scored
    return {name: str(metric.get_signature()) for name, metric in metrics.items()}


def _bleu(records: Records, settings: Settings) -> float:
    metric = BLEU(tokenize=settings.tokenize)
    predictions = [record["prediction"] for record in records]
    return float(metric.corpus_score(predictions, [[record["target"] for record in records]]).score)


def _bands(records: Records, bounds: list[float]) -> dict[str, Records]:
    if not bounds:
        return {}
    bands: dict[str, Records] = {f"below_{bounds[0]}": []}
    bands |= {f"{low}_to_{high}": [] for low, high in pairwise(bounds)}
    bands |= {f"above_{bounds[-1]}": []}
    names = list(bands)
    for record in records:
        value = record["similarity"]
        # The lowest bound belongs to the band above it, every other one to the band below it.
        place = 0 if value < bounds[0] else max(1, sum(value > bound for bound in bounds))
        bands[names[place]].append(record)
    return bands


def _check(records: Records, settings: Settings) -> None:
    if not records:
        raise InputError("there are no predictions to score; the test split should hold at least one example")
    if any(low >= high for low, high in pairwise(settings.bands)):
        raise InputError(f"the metric's bands are {settings.bands}; they should rise, such as [0.4, 0.7]")
    for record in records:
        for field in ("prediction", "target", *(["similarity"] if settings.bands else [])):
            if field not in record:
                raise InputError(f"prediction {record.get('id')} has no field {field!r}, which BLEU is computed from")
