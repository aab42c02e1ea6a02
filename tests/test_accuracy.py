"""Accuracy by the values of a field, with the error that the bAbI tasks are judged by."""

import pytest

from stages.core.base.errors import InputError
from stages.core.base.params import read_settings
from stages.metrics import accuracy

RECORDS = [
    {"id": f"{kind}{i}", "kind": kind, "answer": "yes", "prediction": "yes" if i < right else "no"}
    for kind, right in (("path", 5), ("fact", 20), ("list", 19), ("time", 18))
    for i in range(20)
]


def score(**more: object) -> dict[str, float]:
    settings = read_settings(accuracy.Settings, {"target": "answer", **more}, "metric")
    return accuracy.score(RECORDS, settings)


def test_the_mean_error_stands_first_with_the_number_of_failed_kinds() -> None:
    # Errors of 0, 5, 75 and 10 percent: a kind with an error of just 5 % has not failed.
    found = score(by="kind", failed_above=5.0)
    assert list(found)[:3] == ["error_rate", "failed_kinds", "accuracy"]
    assert found["error_rate"] == pytest.approx(22.5)
    assert found["failed_kinds"] == 2
    assert found["accuracy"] == pytest.approx(77.5)
    assert found["accuracy_path"] == pytest.approx(25)
    assert score(by="kind", failed_above=4.9)["failed_kinds"] == 3


def test_each_kind_counts_alike_whatever_its_number_of_examples() -> None:
    settings = accuracy.Settings(target="answer", by="kind", failed_above=5.0)
    assert accuracy.score(RECORDS[:21], settings)["error_rate"] == pytest.approx(37.5)


def test_only_some_kinds_count() -> None:
    found = score(by="kind", only=["path", "fact"], failed_above=5.0)
    assert found["accuracy"] == pytest.approx(62.5)
    assert found["failed_kinds"] == 1
    assert [name for name in found if name.startswith("accuracy_")] == ["accuracy_fact", "accuracy_path"]


def test_an_unknown_value_is_named() -> None:
    with pytest.raises(InputError, match=r"metric\.only: no prediction has 'paths' as its kind; did you mean path\?"):
        score(by="kind", only=["paths"])


def test_settings_about_the_values_need_a_field() -> None:
    with pytest.raises(InputError, match="about the values of by, which is missing"):
        score(failed_above=5.0)
