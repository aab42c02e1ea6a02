"""Bracket F1: against values by hand, and beside the reader of the treebank, which knows the rules on its own."""

from random import Random
from typing import Any

import pytest

from stages.core.base.errors import InputError
from stages.datasets import treebank
from stages.metrics.bracket_f1 import Settings, read_brackets, score

TARGET = "(root (nsubj • ) (dobj (det • ) • ) • )"  # spans: 0-4, 0-1, 1-3, 1-2


def record(prediction: str, target: str = TARGET, identity: str = "s") -> dict[str, Any]:
    words = ["w"] * target.split().count("•")
    return {"id": identity, "source": words, "target": target.split(), "prediction": prediction.split()}


def test_a_right_tree_has_all_brackets() -> None:
    found = score([record(TARGET)], Settings())
    assert found.pop("malformed_rate") == 0
    assert set(found.values()) == {100}


def test_labels_and_spans_are_scored_by_hand() -> None:
    # 0-4 root right, 0-1 with another label, 1-2 and 1-3 gone for 2-3 and 1-3 with another head, of the same label.
    found = score([record("(root (dobj • ) (dobj • (det • ) ) • )")], Settings())
    assert found["bracket_f1"] == found["precision"] == found["recall"] == 100 * 2 / 4  # root 0-4, dobj 1-3
    assert found["unlabelled_bracket_f1"] == 100 * 3 / 4  # 0-4, 0-1, 1-3
    assert found["unlabelled_attachment"] == 100 * 2 / 4  # the first word and the root
    assert found["labelled_attachment"] == 100 * 1 / 4  # the root
    assert found["exact_match"] == found["malformed_rate"] == 0


def test_counts_are_added_over_sentences_before_they_are_divided() -> None:
    found = score([record(TARGET), record("(x • )", "(root • )")], Settings())
    assert found["bracket_f1"] == pytest.approx(100 * 4 / 5)
    assert found["unlabelled_bracket_f1"] == 100
    assert found["labelled_attachment"] == pytest.approx(100 * 4 / 5)
    assert found["exact_match"] == 50


def test_a_malformed_prediction_has_no_brackets_but_is_repaired_beside() -> None:
    unclosed = "(root (nsubj • ) (dobj (det • ) •"  # read as root 0-4, nsubj 0-1, dobj 1-4, det 1-2
    found = score([record(unclosed), record("(root • )", "(root • )")], Settings())
    assert found["malformed_rate"] == 50
    assert found["precision"] == 100 and found["recall"] == pytest.approx(100 * 1 / 5)
    assert found["bracket_f1"] == pytest.approx(100 * 2 * 1 / (1 + 5))
    assert found["repaired_bracket_f1"] == pytest.approx(100 * 2 * 4 / (5 + 5))
    assert found["labelled_attachment"] == found["unlabelled_attachment"] == pytest.approx(100 * 1 / 5)


def test_predictions_without_any_bracket_score_nothing() -> None:
    for nothing in ("", "• • • •", ") ) )"):
        found = score([record(nothing)], Settings())
        assert found["malformed_rate"] == 100
        assert {value for name, value in found.items() if name != "malformed_rate"} == {0}


@pytest.mark.parametrize(
    "malformed",
    [
        "(root (nsubj • ) (dobj (det • ) • ) • ) )",
        "(root (nsubj • ) (dobj (det • ) • ) • ) (x • )",
        "(root (nsubj • ) (dobj (det • ) • • ) )",
        "(root (nsubj • ) (dobj (det • ) • ) )",
        "(root (nsubj • ) (dobj • ) • )",
        "(root (nsubj • ) (dobj (det • ) • ) • x )",
        "(root (nsubj • ) (dobj (det • ) • ) • (p ) )",
        "(root (nsubj • ) (dobj (det • ) • ) • (p • ) )",
        "( (nsubj • ) (dobj (det • ) • ) • )",
    ],
)
def test_what_is_no_tree_over_just_the_words_is_malformed(malformed: str) -> None:
    assert score([record(malformed)], Settings())["malformed_rate"] == 100


def test_a_bracket_beyond_the_sentence_is_none_when_repaired() -> None:
    found = score([record("(root • (x • (y • ) ) )", "(root • )")], Settings())
    assert found["repaired_bracket_f1"] == 100  # root 0-1; the others hold no word of the sentence


def test_metric_and_treebank_agree_on_what_is_well_formed() -> None:
    random = Random(7)
    seen = {True: 0, False: 0}
    for _ in range(3000):
        length = random.randint(1, 4)
        state, symbols = treebank.State(length), []
        while legal := sorted(state.legal()):
            symbols.append(random.choice(legal))
            state = state.after(symbols[-1])
        for _ in range(random.choice([0, 0, 1, 2])):
            place = random.randrange(len(symbols) + 1)
            symbols[place : place + random.randint(0, 1)] = random.sample(["(", "•", ")"], random.randint(0, 1))
        symbols = ["(x" if symbol == "(" else symbol for symbol in symbols]
        found, sound = read_brackets(symbols, length)
        try:
            heads, _ = treebank.tree(symbols)
        except ValueError:
            heads = []
        assert sound == (len(heads) == length), symbols
        if sound:
            assert {b.head: b.around.head + 1 if b.around else 0 for b in found} == dict(enumerate(heads))
        seen[sound] += 1
    assert min(seen.values()) > 500


@pytest.mark.parametrize(
    ("records", "sentence"),
    [
        ([], "no predictions to score"),
        ([{"id": "s", "source": ["w"], "target": ["(x", "•", ")"]}], "prediction s has no field 'prediction'"),
        ([record("(x • )", "(x •")], "the target of prediction s is no well-formed tree over its 1 words"),
    ],
)
def test_what_cannot_be_scored_is_an_error(records: list[dict[str, Any]], sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        score(records, Settings())
