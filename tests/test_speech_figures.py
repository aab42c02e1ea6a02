"""The report's figures of speech say what the records and traces say."""

from __future__ import annotations

import re
from typing import Any

import pytest

from stages.figures import calibration, n_best, posteriors

TRACE: dict[str, Any] = {
    "kind": "posteriors",
    "frame_seconds": 0.01,
    "features": [[3.0, 0.0], [0.0, -3.0], [0.0, 0.0], [0.0, 0.0]],
    "step_seconds": 0.02,
    "symbols": ["<null>", "好"],
    "posteriors": [[0.1, 0.9], [0.8, 0.2]],
    "prediction": ["好"],
    "alignment": ["好", "<null>"],
    "times": [[0.0, 0.02]],
    "boundaries": [[0.0, 0.04]],
    "target": ["好", "好"],
}


def record(said: str, heard: str, **more: Any) -> dict[str, Any]:
    return {"id": f"{said}/{heard}", "symbols": list(said), "prediction": list(heard), **more}


def test_the_null_leads_where_it_is_most_probable() -> None:
    assert posteriors.null_share(TRACE) == 0.5
    assert posteriors.fits(TRACE)
    assert not posteriors.fits({"layers": []})


def test_frames_are_painted_by_sign_with_the_lowest_coefficient_at_the_bottom() -> None:
    drawn = {**TRACE, "target": ["好"]}
    paths = re.findall(r'<path class="(up|down)" fill-opacity="([\d.]+)" d="(.*?)"', str(posteriors.draw(drawn)))
    assert paths == [("down", "1.0", "M1 0h1v1h-1z"), ("up", "1.0", "M0 1h1v1h-1z")]


def test_a_wrong_transcript_is_marked_and_a_symbol_stands_over_its_peak() -> None:
    text = str(posteriors.draw({**TRACE, "boundaries": [[0.0, 0.02], [0.02, 0.04]]}))
    assert text.count('<rect class="wrong"') == 1
    assert text.count('<rect class="true"') == 2
    assert 'y="-6">好<' in text
    assert 'class="span"' in str(posteriors.draw({**TRACE, "target": ["好"]}))


def test_a_symbol_counts_as_right_where_the_fewest_edits_match_it() -> None:
    records = [record("abc", "xbc", confidence=[0.25, 0.95, 0.91]), record("a", "ab", confidence=[0.99, 0.21])]
    assert calibration.told(records) == [(0.25, False), (0.95, True), (0.91, True), (0.99, True), (0.21, False)]
    (low, none_right, two), (high, all_right, three) = calibration.bins(records)
    assert (low, none_right, two) == (pytest.approx(0.23), 0.0, 2)
    assert (high, all_right, three) == (pytest.approx(0.95), 1.0, 3)


def test_readings_stand_in_the_order_of_the_search_with_their_shares() -> None:
    far = record("ab", "ab", n_best=[reading("ab", -0.1), reading("a", -5.0)])
    near = record("ab", "ab", n_best=[reading("ab", -2.0, score=-1.0), reading("b", -0.5, score=-1.0)])
    assert n_best.choose([far, near, record("a", "a")]) == [near, far]
    text = str(n_best.draw([near], ""))
    assert re.findall(r"<td>(−?[\d.]+)</td><td>([\d.]+) %", text) == [("−1.00", "50.0"), ("−1.00", "50.0")]
    assert "ab ✓" in text
    assert n_best.draw([record("a", "a")], "") is None


def test_outputs_for_a_source_are_marked_by_any_reference() -> None:
    shown = [{"prediction": ["AH"], "log_probability": -1.0, "score": -0.5}]
    shown += [{"prediction": ["EY"], "log_probability": -1.0, "score": -0.75}]
    example = {"id": "a", "source": ["a", "<"], "targets": [["IY"], ["EY"]], "target": ["IY"], "n_best": shown}
    text = str(n_best.draw([example], " "))
    assert re.findall(r'class="text(.*?)">(.*?)</td>', text) == [("", "AH"), (" said", "EY ✓")]
    assert re.findall(r"<td>(−?[\d.]+)</td><td>([\d.]+) %", text) == [("−0.50", "50.0"), ("−0.75", "50.0")]
    assert ">a &lt;<" in text
    translated = {"id": "t", "source": "box", "target": "盒", "n_best": [{**shown[0], "prediction": "盒"}] * 2}
    assert str(n_best.draw([translated], " ")).count("盒 ✓") == 2


def reading(text: str, log_probability: float, **more: float) -> dict[str, Any]:
    return {"symbols": list(text), "log_probability": log_probability, **more}
