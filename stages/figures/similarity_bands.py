"""Scores by the similarity of a test sentence to the nearest sentence of the training split."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sacrebleu.metrics.bleu import BLEU
from sacrebleu.metrics.chrf import CHRF

MARK = "_similarity_"  # between the name of a metric and that of a band: "bleu_similarity_below_0.4"
Metrics = Mapping[str, Mapping[str, float]]


def metric_of(metrics: Metrics) -> str:
    """Give the metric that is told by bands of similarity, or nothing."""
    return next((name.split(MARK)[0] for name in metrics if MARK in name), "")


def signatures(tokenize: str) -> str:
    """Write sacrebleu's signatures, which BLEU and chrF must be quoted with to be comparable (Post 2018)."""
    found = []
    for name, metric in (("BLEU", BLEU(tokenize=tokenize)), ("chrF", CHRF())):
        metric.corpus_score(["a"], [["a"]])  # it knows how many references there are once it has scored
        found.append(f"{name} {metric.get_signature()}")
    return " and ".join(found)


def bands(metrics: Metrics, metric: str) -> list[str]:
    """Give the bands of ``metric`` in the order of the file, which is that of similarity."""
    start = f"{metric}{MARK}"
    return [name.removeprefix(start) for name in metrics if name.startswith(start)]


def points(metrics: Metrics, metric: str, named: Mapping[str, str]) -> dict[str, float]:
    """Give the mean of ``metric`` in each band, by what ``named`` calls the band."""
    return {text: metrics[key]["mean"] for band, text in named.items() if (key := f"{metric}{MARK}{band}") in metrics}


def named(bands: Sequence[str], records: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """Write each band, and on a line below it how many of ``records`` it has."""
    return {band: f"{band.replace('_', ' ')}\n{_count(band, records)} sentences" for band in bands}


def _count(band: str, records: Sequence[Mapping[str, Any]]) -> int:
    """Count the records of a band, "below_a", "above_b" or "a_to_b".

    As in the metric, the lowest bound of all belongs to the band above it, every other one to the band below it; a
    band "a_to_b" takes both its ends where it is the only one between.
    """
    values = [record["similarity"] for record in records if "similarity" in record]
    first, _, last = band.partition("_to_")
    if last:
        return sum(float(first) <= value <= float(last) for value in values)
    bound = float(band.split("_")[1])
    return sum(value < bound if band.startswith("below") else value > bound for value in values)
