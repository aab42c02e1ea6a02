"""The pronouncing dictionary: what is read, what is rejected, how training is capped, and how pronunciations score."""

from pathlib import Path
from typing import Any

import pytest

from stages.core.base.errors import InputError
from stages.core.learning.dataset import SPLITS, Prepared
from stages.datasets.cmudict import FOLDER, Settings, cap, prepare
from stages.metrics import phoneme_error_rate

PHONES = "AH\tvowel\nER\tvowel\nAY\tvowel\nIY\tvowel\nP\tstop\nS\tfricative\nTH\tfricative\nK\tstop\n"
LINES = [
    "spieth S P IY1 TH # name",
    "spieth(2) S P AY1 AH0 TH # old",
    "spieth(3) S P IY0 TH",
    "'tis T IH1 Z",
    "a.k. AH0 K",
    "all-p P AH1",
    "' P",
    "kay",
    "perk's P ER1 K S",
]


def write(raw: Path, lines: list[str], phones: str = PHONES) -> Path:
    folder = raw / FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "cmudict.dict").write_text("\n".join(lines) + "\n")
    (folder / "cmudict.phones").write_text(phones)
    return raw


def everything(prepared: Prepared) -> dict[str, dict[str, Any]]:
    return {example["source"]: example for split in SPLITS for example in prepared.splits[split]}


def many() -> list[str]:
    return [f"{first}{second}{third} P AH1" for first in "abcdefgh" for second in "aeiou" for third in "klmnprst"]


def test_pronunciations_are_gathered_under_their_word_without_stress_and_comment(tmp_path: Path) -> None:
    found = everything(prepare(write(tmp_path, LINES), Settings()))
    assert found["spieth"] == {
        "id": "spieth",
        "key": "spieth",
        "source": "spieth",
        "targets": [["S", "P", "IY", "TH"], ["S", "P", "AY", "AH", "TH"]],
        "target": ["S", "P", "IY", "TH"],
    }
    assert found["perk's"]["source"] == "perk's"
    assert set(found) == {"spieth", "perk's"}


def test_what_is_no_plain_entry_is_counted_by_reason_and_line(tmp_path: Path) -> None:
    rejected = prepare(write(tmp_path, ["# a comment", "", *LINES]), Settings()).rejected
    assert {(item.reason, item.file, item.line) for item in rejected} == {
        ("differs from a pronunciation above in stress at most", "cmudict.dict", 5),
        ("a phone that is not in the list of phones", "cmudict.dict", 6),
        ("the sign . in the word", "cmudict.dict", 7),
        ("the sign - in the word", "cmudict.dict", 8),
        ("no letter in the word", "cmudict.dict", 9),
        ("no phones", "cmudict.dict", 10),
    }


def test_facts_count_words_and_pronunciations(tmp_path: Path) -> None:
    facts = prepare(write(tmp_path, LINES), Settings()).facts
    assert {name: facts[name] for name in ("entries", "words", "pronunciations", "phones", "longest_word")} == {
        "entries": 9,
        "words": 2,
        "pronunciations": 3,
        "phones": 8,
        "longest_word": 6,
    }
    assert facts["words_with_several_pronunciations"] == 1


def test_a_cap_keeps_a_part_of_the_larger_training_set_and_all_of_the_rest(tmp_path: Path) -> None:
    write(tmp_path, many())
    whole, large, small = (prepare(tmp_path, Settings(training_words=most)).splits for most in (None, 100, 40))
    words = [[example["source"] for example in splits["train"]] for splits in (whole, large, small)]
    assert [len(part) for part in words[1:]] == [100, 40] and len(words[0]) > 200
    assert set(words[2]) < set(words[1]) < set(words[0])
    assert words[2] == [word for word in words[0] if word in words[2]], "in the dictionary's order"
    assert words[2] != words[0][:40], "not the first of the alphabet"
    assert whole["validation"] == small["validation"] and whole["test"] == small["test"]


def test_a_word_added_moves_no_other_out_of_its_split_and_at_most_one_out_of_the_cap(tmp_path: Path) -> None:
    examples = prepare(write(tmp_path, many()), Settings()).splits["train"]
    more = prepare(write(tmp_path, [*many(), "zoo P"]), Settings()).splits["train"]
    assert [example for example in more if example["source"] != "zoo"] == examples
    before, after = ({example["source"] for example in cap(part, 50)} for part in (examples, more))
    assert len(before - after) <= 1


def test_no_word_is_in_two_splits(tmp_path: Path) -> None:
    splits = prepare(write(tmp_path, [*many(), *many()]), Settings(validation=0.2, test=0.2)).splits
    words = [example["key"] for split in SPLITS for example in splits[split]]
    assert len(words) == len(set(words)) == len(many()) and all(splits[split] for split in SPLITS)


def test_a_malformed_list_of_phones_and_a_dictionary_without_words_are_errors(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"cmudict\.phones:2 is 'AY'; it should be a phone and its class"):
        prepare(write(tmp_path, LINES, "AH\tvowel\nAY\n"), Settings())
    with pytest.raises(InputError, match=r"cmudict\.dict holds no readable entry"):
        prepare(write(tmp_path, ["a-b P"]), Settings())
    (tmp_path / FOLDER / "cmudict.dict").unlink()
    with pytest.raises(InputError, match=r"cmudict\.dict does not exist"):
        prepare(tmp_path, Settings())


def word(prediction: str, *targets: str) -> dict[str, Any]:
    return {"id": "w", "prediction": prediction.split(), "targets": [target.split() for target in targets]}


def test_error_rates_by_hand() -> None:
    records = [
        word("K AE T", "K AE T"),
        word("K AH T S", "K AE T"),  # a substitution and an insertion over 3 phones
        word("D AO", "D AO G Z"),  # two deletions over 4
    ]
    found = phoneme_error_rate.score(records, phoneme_error_rate.Settings())
    assert found == pytest.approx({"phoneme_error_rate": 100 * 4 / 10, "word_error_rate": 100 * 2 / 3})


def test_the_nearest_pronunciation_counts_and_its_length_with_it() -> None:
    records = [
        word("IY DH ER", "AY DH ER Z Z", "IY DH ER"),
        word("T AH M AA T", "T AH M EY T OW Z", "T AH M AA T OW"),  # 1 over 6, not 3 over 7
    ]
    found = phoneme_error_rate.score(records, phoneme_error_rate.Settings())
    assert found == pytest.approx({"phoneme_error_rate": 100 * 1 / 9, "word_error_rate": 50})


def test_a_prediction_of_nothing_has_lost_every_phone() -> None:
    found = phoneme_error_rate.score([word("", "K AE T", "K AE")], phoneme_error_rate.Settings())
    assert found == {"phoneme_error_rate": 100, "word_error_rate": 100}


@pytest.mark.parametrize(
    ("records", "sentence"),
    [
        ([], "no predictions to score"),
        ([{"id": "w", "prediction": []}], "prediction w has no field 'targets'"),
        ([word("K")], "prediction w has no phones in 'targets'"),
        ([word("K", "K", "")], "prediction w has no phones in 'targets'"),
    ],
)
def test_nothing_to_compare_with_is_an_error(records: list[dict[str, Any]], sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        phoneme_error_rate.score(records, phoneme_error_rate.Settings())
