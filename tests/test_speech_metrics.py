"""Scores of speech recognition, by hand."""

from typing import Any

import pytest

from stages.metrics import speech_recognition as metric


def score(*records: dict[str, Any]) -> dict[str, float]:
    return metric.score(list(records), metric.Settings())


def test_token_error_rate_counts_edits_over_target_symbols() -> None:
    scores = score(
        {"symbols": ["1", "2", "3"], "prediction": ["1", "3"]},
        {"symbols": ["4"], "prediction": ["4"]},
    )
    assert scores == {"token_error_rate": 25.0, "exact_match": 50.0}


@pytest.mark.parametrize(
    ("prediction", "right"),
    [("好棒棒", [True]), ("好棒", [False]), ("好棒好", [False]), ("棒棒", [True]), ("", [False])],
)
def test_a_doubled_symbol_is_right_where_both_are(prediction: str, right: list[bool]) -> None:
    assert metric.doubled_right(list("好棒棒"), list(prediction)) == right


def test_three_equal_symbols_are_doubled_twice() -> None:
    assert metric.doubled_right(list("aaa"), list("aaa")) == [True, True]


def test_doubled_symbols_are_scored_only_where_there_are_any() -> None:
    assert score({"symbols": ["a", "a"], "prediction": ["a"]})["doubled_right"] == 0.0
    assert "doubled_right" not in score({"symbols": ["a", "b"], "prediction": ["a"]})


def test_boundary_errors_are_of_inner_boundaries_of_right_transcripts() -> None:
    true = {"symbols": ["1", "2", "3"], "boundaries": [[0.0, 0.5], [0.5, 0.9], [1.0, 1.4]]}
    heard = {"prediction": ["1", "2", "3"], "times": [[9.0, 0.52], [0.53, 0.91], [1.06, 9.0]]}
    wrong = true | {"prediction": ["1"], "times": [[7.0, 8.0]]}
    assert metric.boundary_errors(true | heard) == pytest.approx([0.02, 0.03, 0.01, 0.06])
    scores = score(true | heard, wrong)
    assert scores["boundary_error_ms"] == pytest.approx(25.0)
    assert scores["boundaries_within_50_ms"] == pytest.approx(75.0)


def test_fifty_milliseconds_are_within_fifty() -> None:
    record = {"symbols": ["1", "2"], "prediction": ["1", "2"], "boundaries": [[0, 0.3], [0.3, 1]]}
    scores = score(record | {"times": [[0, 0.35], [0.25, 1]]})
    assert scores["boundaries_within_50_ms"] == 100.0


def test_where_nothing_is_known_of_times_none_are_scored() -> None:
    assert set(score({"symbols": ["1", "2"], "prediction": ["1", "2"]})) == {"token_error_rate", "exact_match"}
    one = {"symbols": ["1"], "prediction": ["1"], "boundaries": [[0, 1]], "times": [[0, 1]]}
    assert "boundary_error_ms" not in score(one)


def test_calibration_error_is_the_mean_distance_of_confidence_from_the_share_right() -> None:
    claims = [(0.9, True), (0.92, False), (0.2, False), (1.0, True)]
    # Four bins: three claims of 2.82 in all of which two are right, and one of 0.2 that is wrong.
    assert metric.calibration_error(claims, 4) == pytest.approx((0.82 + 0.2) / 4)


def test_confidences_know_which_symbols_are_right() -> None:
    record = {"symbols": ["1", "2", "3"], "prediction": ["1", "3"], "confidence": [0.9, 0.8]}
    assert metric.confidences(record) == [(0.9, True), (0.8, True)]
    assert metric.confidences(record | {"symbols": ["1", "2"]}) == [(0.9, True), (0.8, False)]
    assert score(record)["calibration_error"] == pytest.approx(15.0)
