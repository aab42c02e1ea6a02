"""Same-different figures equal scikit-learn's and hand-made ones; words and unseen words are scored apart."""

from typing import Any

import numpy as np
import pytest
from sklearn.metrics import average_precision_score

from stages.core.base.errors import InputError
from stages.metrics import same_different
from stages.metrics.same_different import Settings, average_precision, mean_average_precision, score

WORDS = ["0", "1", "6", "7"]


def records(count: int = 60, seed: int = 1, spread: float = 1.0) -> list[dict[str, Any]]:
    """Vectors around a centre a word."""
    draw = np.random.default_rng(seed)
    centres = draw.normal(size=(len(WORDS), 5))
    words = draw.integers(0, len(WORDS), count).tolist()
    return [
        {
            "id": str(place),
            "word": WORDS[word],
            "unseen": WORDS[word] in "67",
            "vector": (centres[word] + spread * draw.normal(size=5)).round(5).tolist(),
        }
        for place, word in enumerate(words)
    ]


def by_distances(items: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The same records, compared by 1 - cosine instead of by vectors."""
    unit = same_different.unit(np.array([record["vector"] for record in items]))
    rows = (1 - unit @ unit.T).tolist()
    bare = [{name: value for name, value in record.items() if name != "vector"} for record in items]
    return [record | {"distances": row} for record, row in zip(bare, rows, strict=True)]


@pytest.mark.parametrize("digits", [0, 1, 9])  # rounded nearness has many ties
def test_average_precision_is_that_of_scikit_learn(digits: int) -> None:
    draw = np.random.default_rng(2)
    for _ in range(20):
        nearness, relevant = draw.normal(size=80).round(digits), draw.random(80) < 0.3
        expected = 100 * average_precision_score(relevant, nearness)
        assert average_precision(nearness, relevant) == pytest.approx(expected, abs=1e-9)


def test_average_precision_over_all_pairs_is_that_of_scikit_learn() -> None:
    items = records()
    unit = same_different.unit(np.array([record["vector"] for record in items]))
    pairs = [(i, j) for i in range(len(items)) for j in range(i)]
    same = [items[i]["word"] == items[j]["word"] for i, j in pairs]
    expected = 100 * average_precision_score(same, [float(unit[i] @ unit[j]) for i, j in pairs])
    assert score(items, Settings())["average_precision"] == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("digits", [0, 1, 9])  # rounded nearness has many ties
def test_weights_stand_for_recordings_that_are_there_several_times(digits: int) -> None:
    draw = np.random.default_rng(3)
    first, second = np.triu_indices(12, 1)
    nearness, relevant = draw.normal(size=66).round(digits), draw.random(66) < 0.3
    weights = draw.integers(0, 4, (20, 12))
    found = same_different.weighted_average_precision(nearness, relevant, first, second, weights)
    for counts, figure in zip(weights, found, strict=True):
        times = counts[first] * counts[second]
        assert figure == pytest.approx(average_precision(np.repeat(nearness, times), np.repeat(relevant, times)))


def test_a_draw_without_a_pair_of_the_same_word_has_no_precision() -> None:
    first, second = np.triu_indices(3, 1)
    weights = np.array([[1, 1, 1], [0, 1, 1], [2, 0, 0]])
    found = same_different.weighted_average_precision(
        np.array([0.1, 0.9, 0.5]), np.array([True, False, False]), first, second, weights
    )
    assert found[0] == pytest.approx(100 / 3) and np.isnan(found[1:]).all()


def test_each_query_ranks_the_others() -> None:
    # For query 0 the order is 2 (same), 1, 3 (same): (1 + 2/3) / 2. Query 1 has no other of its word.
    nearness = np.array([[9, 2, 3, 1], [2, 9, 1, 0], [3, 1, 9, 2], [1, 0, 2, 9]])
    word = np.array([0, 1, 0, 0])
    first, third, fourth = (1 + 2 / 3) / 2, 1.0, 1.0
    expected = 100 * (first + third + fourth) / 3
    assert mean_average_precision(nearness, word[:, None] == word) == pytest.approx(expected)


def test_precision_at_10_is_found_by_hand() -> None:
    items = records()
    expected = []
    for query in items:
        others = [record for record in items if record is not query]
        similar = {
            id(record): np.dot(query["vector"], record["vector"]) / np.linalg.norm(record["vector"])
            for record in others
        }
        near = sorted(others, key=lambda record: -similar[id(record)])[:10]
        expected.append(sum(record["word"] == query["word"] for record in near) / 10)
    assert score(items, Settings())["precision_at_10"] == pytest.approx(100 * np.mean(expected))


def test_perfect_vectors_score_100_and_meaningless_ones_near_chance() -> None:
    assert set(score(records(spread=0.0), Settings()).values()) == {100.0}
    chance = score(records(400, spread=1e6), Settings())
    assert chance["average_precision"] == pytest.approx(25, abs=4)
    assert chance["precision_at_10"] == pytest.approx(25, abs=4)


def test_distances_score_as_the_vectors_that_they_come_from() -> None:
    items = records()
    assert score(by_distances(items), Settings()) == pytest.approx(score(items, Settings()), abs=1e-9)


def test_unseen_words_are_scored_among_themselves() -> None:
    items = records()
    among = score([record for record in items if record["unseen"]], Settings())
    whole = score(items, Settings())
    for name in ("average_precision", "mean_average_precision", "precision_at_10"):
        assert whole[f"unseen_{name}"] == pytest.approx(among[name], abs=1e-9)
        assert whole[f"unseen_{name}"] != pytest.approx(whole[name], abs=0.1)
    distances = by_distances(items)
    assert score(distances, Settings())["unseen_average_precision"] == pytest.approx(among["average_precision"])


def test_a_recording_is_never_its_own_answer() -> None:
    items = [record | {"vector": [1.0, 0.0]} for record in records(30)]
    vectors = same_different.unit(np.array([record["vector"] for record in items]))
    for query, places in enumerate(same_different.search(vectors, 10).tolist()):
        assert len(places) == 10 and query not in places


def test_records_that_cannot_be_compared_are_errors() -> None:
    items = records()
    with pytest.raises(InputError, match="prediction 3 has no field 'word'"):
        score([*items[:3], {"id": "3", "unseen": False, "vector": [1.0]}], Settings())
    with pytest.raises(InputError, match="should have a vector, or distances to all 60"):
        score([*items[:59], {"id": "x", "word": "0", "unseen": False, "distances": [1.0]}], Settings())
    with pytest.raises(InputError, match="among 0 recordings there should be pairs"):
        score([], Settings())
    with pytest.raises(InputError, match="recordings of unseen words there should be pairs"):
        score([record for record in items if not record["unseen"]], Settings())
