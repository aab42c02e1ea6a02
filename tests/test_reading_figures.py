"""Figures of reading comprehension: error by kind, attention on supporting facts."""

import re
from typing import Any

import pytest

from stages.figures import examples_stories, fact_attention, kind_scores, results_table

METRICS = {
    "stories_memory_network": {
        "error_rate": {"mean": 12.5, "std": 0.0},
        "accuracy": {"mean": 87.5, "std": 0.0},
        "accuracy_two_facts": {"mean": 80.0, "std": 1.0},
        "accuracy_one_fact": {"mean": 95.0, "std": 1.0},
    },
    "stories_lstm": {"accuracy_one_fact": {"mean": 50.0, "std": 1.0}, "accuracy_two_facts": {"mean": 94.5, "std": 1.0}},
    "stories_two": {"accuracy": {"mean": 50.0, "std": 0.0}},
}


def record(kind: str, supporting: list[int], attention: list[list[float]], **more: Any) -> dict[str, Any]:
    story = [f"Sentence {number}." for number in range(len(attention[0]))]
    return {"id": kind, "kind": kind, "story": story, "supporting": supporting, "attention": attention, **more}


def test_errors_stand_by_kind_with_their_mean_and_the_failed_ones() -> None:
    text = kind_scores.draw(METRICS)
    assert text is not None
    rows = [re.findall(r"<t[hd][^>]*>([^<]*)", row) for row in re.findall(r"<tr>.*?</tr>", text, re.DOTALL)]
    assert rows[1:] == [
        ["one fact", "5.0", "50.0"],
        ["two facts", "20.0", "5.5"],
        ["mean", "12.5", "27.8"],
        ["above 5 %", "1", "2"],
    ]
    assert text.count("> failed<") == 3
    assert text.count("least") == 2
    assert "stories_<wbr>two<" not in text, "it has no error by kind"


def test_without_kinds_there_is_no_table() -> None:
    assert kind_scores.draw({"a": {"accuracy": {"mean": 50.0, "std": 0.0}}}) is None
    assert kind_scores.draw({}) is None


def test_attention_on_facts_is_the_mean_over_questions_by_kind_and_hop() -> None:
    records = [
        record("two", [0, 2], [[0.5, 0.25, 0.25], [0.0, 1.0, 0.0]]),
        record("two", [1], [[0.0, 0.25, 0.75, 0.0], [0.0, 1.0, 0.0, 0.0]]),
        record("one", [0, 0], [[1.0], [1.0]]),
    ]
    assert fact_attention.shares(records) == {"one": [100, 100], "two": [50, 50]}
    text = fact_attention.draw({"stories_memory_network": records, "stories_lstm": [{"id": "a"}]})
    assert text is not None
    cells = re.findall(r"<td[^>]*>([^<]*)", text)
    # Facts a question, what even attention would give them (the mean of 2/3 and 1/4), then a column a hop.
    assert cells == ["1.0", "100", "100", "100", "1.5", "46", "50", "50"]
    assert "stories_lstm" not in text


@pytest.mark.parametrize(
    "change",
    [{"supporting": []}, {"attention": None}, {"attention": [0.5, 0.5]}, {"attention": [[1.0]]}, {"story": None}],
)
def test_what_has_no_facts_or_no_weights_is_no_record_of_attention(change: dict[str, Any]) -> None:
    whole = record("one", [0], [[0.5, 0.5]])
    assert fact_attention.fits(whole)
    assert not fact_attention.fits(whole | change)
    assert fact_attention.draw({"a": [whole | change]}) is None


def test_only_the_experiments_with_the_most_hops_stand_beside_a_story() -> None:
    shared = {"question": "Where?", "answer": "here", "prediction": "here"}
    item = {
        "one": record("k", [0], [[0.5, 0.5]], **shared),
        "two": record("k", [0], [[0.9, 0.1], [0.2, 0.8]], **shared),
        "none": {**record("k", [0], [[0.5, 0.5]], **shared), "attention": None},
    }
    text = examples_stories.show(item)
    assert re.findall(r'colspan="2">(\w+)</th>', text) == ["two"]
    assert re.findall(r"hop \d", text) == ["hop 1", "hop 2"]
    assert text.count("✓") == 3


def test_failed_kinds_are_counted_and_fewer_are_better() -> None:
    column = results_table.column("failed_kinds", [{"mean": 10.3}])
    assert (column.heading, column.better, column.write(10.333)) == ("failed kinds", "lower is better", "10.3")
    assert results_table.column("error_rate", [{"mean": 15.0}]).heading == "error rate (%)"
