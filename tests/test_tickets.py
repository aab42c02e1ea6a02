"""Tickets: only the deciding word tells the slot of a city, and the contrast set and its score show that."""

import re
from collections import Counter, defaultdict
from itertools import pairwise
from pathlib import Path

import pydantic
import pytest
from seqeval.metrics import f1_score

from stages.core.base.errors import InputError
from stages.core.learning.dataset import SPLITS, Example, Prepared, read_split, split_of, write_prepared
from stages.datasets import tickets
from stages.metrics import contrast_accuracy

ENDS = ["destination", "departure"]
DESTINATION = "reach enter arrive get-to end-up-in reaching entering reaches enters arrival destination to towards into"
DEPARTURE = (
    "leave exit depart depart-from set-off-from start-from leaving exiting departing leaves exits departs departure "
    "origin from"
)
# The longest come first, since "get to" holds "to".
DECIDING = sorted(
    [
        (words.split("-"), end)
        for end, listed in zip(ENDS, (DESTINATION, DEPARTURE), strict=True)
        for words in listed.split()
    ],
    key=lambda pair: -len(pair[0]),
)


@pytest.fixture(scope="module")
def prepared() -> Prepared:
    return tickets.generate(tickets.Settings(seed=5, train=1600, validation=200, test=200, pairs=200))


def every(prepared: Prepared) -> list[Example]:
    return [example for split in SPLITS for example in prepared.splits[split]]


def contrast(prepared: Prepared) -> list[Example]:
    return [example for example in prepared.splits["test"] if example.get("contrast")]


def cities(example: Example) -> list[int]:
    """Where a city begins."""
    return [index for index, tag in enumerate(example["tags"]) if tag in ("B-destination", "B-departure")]


def last_deciding(tokens: list[str]) -> tuple[str, int]:
    """The slot that the last deciding word of ``tokens`` gives, and how many tokens stand after it."""
    for end in range(len(tokens), 0, -1):
        for words, slot in DECIDING:
            if tokens[max(end - len(words), 0) : end] == words:
                return slot, len(tokens) - end
    raise AssertionError(f"no deciding word: {tokens}")


def test_the_last_deciding_word_before_a_city_gives_its_slot_everywhere(prepared: Prepared) -> None:
    for example in every(prepared):
        assert cities(example)
        for index in cities(example):
            assert last_deciding(example["tokens"][:index])[0] == example["tags"][index][2:]


def test_pairs_differ_in_one_word_before_the_city_and_in_the_slot_of_the_city(prepared: Prepared) -> None:
    pairs = defaultdict(list)
    for example in contrast(prepared):
        pairs[example["pair"]].append(example)
    assert len(pairs) == 200
    for one, other in pairs.values():
        (word,) = [index for index, (a, b) in enumerate(zip(one["tokens"], other["tokens"], strict=True)) if a != b]
        (tag,) = [index for index, (a, b) in enumerate(zip(one["tags"], other["tags"], strict=True)) if a != b]
        assert word < tag and {one["tags"][tag], other["tags"][tag]} == {"B-destination", "B-departure"}
        assert one["key"] == other["key"]


def test_cities_of_the_contrast_set_are_single_words_that_no_other_sentence_has(prepared: Prepared) -> None:
    ordinary = [example for example in every(prepared) if "pair" not in example]
    others = {token.lower() for example in ordinary for token in example["tokens"]}
    words = Counter(example["tokens"][index] for example in contrast(prepared) for index in cities(example))
    assert set(words.values()) == {2} and not {word.lower() for word in words} & others
    assert all(tag not in ("I-destination", "I-departure") for example in contrast(prepared) for tag in example["tags"])
    unknown = [token for example in contrast(prepared) for token in example["tokens"] if token.lower() not in others]
    assert len(unknown) == len(contrast(prepared))


def test_training_has_many_cities_that_it_sees_once(prepared: Prepared) -> None:
    """Word dropout, which forgets words seen once, then teaches what to make of an unknown city."""
    train = prepared.splits["train"]
    counts = Counter(token for example in train for token in example["tokens"])
    once = {token for token, count in counts.items() if count == 1}
    tags = Counter(
        tag for example in train for token, tag in zip(example["tokens"], example["tags"], strict=True) if token in once
    )
    assert tags["B-destination"] > 100 and tags["B-departure"] > 100
    assert tags["B-destination"] + tags["B-departure"] > 0.8 * tags.total()


def test_the_deciding_word_stands_up_to_six_words_before_the_city(prepared: Prepared) -> None:
    gaps = Counter(
        last_deciding(example["tokens"][:index])[1] for example in contrast(prepared) for index in cities(example)
    )
    assert set(gaps) == set(range(7))
    assert sum(gaps[length] for length in (4, 5, 6)) > 0.25 * gaps.total()
    assert {int(length): 2 * count for length, count in prepared.facts["contrast_gaps"].items()} == gaps


@pytest.mark.parametrize("place", ["first word", "word before the city", "word after the city"])
def test_what_else_is_said_does_not_tell_the_slot(prepared: Prepared, place: str) -> None:
    slots: dict[str, Counter[str]] = defaultdict(Counter)
    for example in prepared.splits["train"]:
        first, *others = cities(example)
        tokens = [*example["tokens"], "</s>"]
        at = {"first word": 0, "word before the city": first - 1, "word after the city": first + 1}[place]
        if not others and all([tokens[at]] != words[-1:] for words, _ in DECIDING):
            slots[tokens[at]][example["tags"][first]] += 1
    frequent = [counts for counts in slots.values() if counts.total() >= 20]
    assert len(frequent) > 4
    assert sum(max(counts.values()) for counts in frequent) / sum(counts.total() for counts in frequent) < 0.6


def test_one_token_at_a_time_gets_half_of_the_contrast_set_and_the_rule_all(prepared: Prepared) -> None:
    settings = contrast_accuracy.Settings(slots=ENDS)
    by_token: dict[str, Counter[str]] = defaultdict(Counter)
    for example in contrast(prepared):
        for token, tag in zip(example["tokens"], example["tags"], strict=True):
            by_token[token][tag] += 1
    majority = [
        example | {"prediction": [by_token[token].most_common(1)[0][0] for token in example["tokens"]]}
        for example in contrast(prepared)
    ]
    assert contrast_accuracy.score(majority, settings)["contrast_accuracy"] == 50
    ruled = []
    for example in contrast(prepared):
        (index,) = cities(example)
        guess = [*example["tags"]]
        guess[index] = f"B-{last_deciding(example['tokens'][:index])[0]}"
        ruled.append(example | {"prediction": guess})
    assert contrast_accuracy.score(ruled, settings)["contrast_accuracy"] == 100


def test_tags_are_bio_and_a_time_is_a_slot(prepared: Prepared) -> None:
    times = set()
    for example in every(prepared):
        assert len(example["tokens"]) == len(example["tags"])
        before = ["O", *example["tags"]]
        assert all(tag[0] != "I" or old[1:] == tag[1:] for old, tag in zip(before, example["tags"], strict=False))
        assert {tag[2:] for tag in example["tags"]} <= {"", "destination", "departure", "time"}
        pairs = zip(example["tokens"], example["tags"], strict=True)
        times.add(" ".join(re.sub(r"\d+", "0", token) for token, tag in pairs if tag[2:] == "time"))
    assert {"", "November 0th", "0th of May", "Monday", "Friday night", "next Sunday", "tomorrow", "0 pm"} <= times


def test_a_city_of_two_words_is_one_slot(prepared: Prepared) -> None:
    tagged = [[*zip(example["tokens"], example["tags"], strict=True)] for example in every(prepared)]
    neighbours = [pair for pairs in tagged for pair in pairwise(pairs)]
    kongs = [(before, tag) for (_, before), (token, tag) in neighbours if token == "Kong"]
    assert set(kongs) == {(f"B-{end}", f"I-{end}") for end in ENDS}


def test_a_sentence_that_came_up_before_is_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tickets, "PLACES", "Taipei")
    monkeypatch.setattr(tickets, "TOWN", 0)
    few = tickets.generate(tickets.Settings(seed=1, train=3000, validation=300, test=300, pairs=1))
    assert len({tuple(example["tokens"]) for example in every(few)}) == len(every(few)) == 3602


def test_ordinals_are_written_as_in_english() -> None:
    written = {1: "1st", 2: "2nd", 3: "3rd", 4: "4th", 11: "11th", 12: "12th", 13: "13th", 21: "21st", 22: "22nd"}
    assert {number: tickets.ordinal(number) for number in written} == written


def test_capitals_are_for_names_and_I_only(prepared: Prepared) -> None:
    for example in every(prepared):
        for token, tag in zip(example["tokens"], example["tags"], strict=True):
            assert token[0].isupper() == (tag[2:] in ENDS) or tag[2:] == "time" or token == "I"


def test_each_split_has_its_count_and_the_hash_of_the_sentence_decides(prepared: Prepared) -> None:
    assert {split: len(prepared.splits[split]) for split in SPLITS} == {"train": 1600, "validation": 200, "test": 600}
    ordinary = [(split, ex) for split in SPLITS for ex in prepared.splits[split] if "pair" not in ex]
    assert all(split_of(example["key"], 200 / 2000, 200 / 2000) == split for split, example in ordinary)
    assert all("pair" in example for example in prepared.splits["test"][200:])
    assert len({tuple(example["tokens"]) for example in every(prepared)}) == len(every(prepared)) == 2400
    assert len({example["id"] for example in every(prepared)}) == 2400


def test_the_same_seed_gives_the_same_tickets_and_another_seed_others(prepared: Prepared, tmp_path: Path) -> None:
    settings = tickets.Settings(seed=5, train=1600, validation=200, test=200, pairs=200)
    assert tickets.generate(settings) == prepared
    other = tickets.generate(tickets.Settings(seed=6, train=1600, validation=200, test=200, pairs=200))
    assert (
        len({example["key"] for example in other.splits["train"]} & {ex["key"] for ex in prepared.splits["train"]})
        < 100
    )
    write_prepared(prepared, tmp_path)
    assert read_split(tmp_path, "test") == prepared.splits["test"]


def test_more_pairs_than_towns_and_a_split_without_sentences_are_errors() -> None:
    with pytest.raises(InputError, match=r"tickets\.pairs is 100000, but it should be at most \d+"):
        tickets.generate(tickets.Settings(seed=1, pairs=100000))
    with pytest.raises(pydantic.ValidationError, match="greater than 0"):
        tickets.Settings(seed=1, test=0)


def record(target: str, guess: str, **fields: object) -> dict[str, object]:
    return {"id": "a", "tags": target.split(), "prediction": guess.split(), **fields}


def test_contrast_accuracy_counts_the_tokens_of_the_deciding_slots_in_the_contrast_set_only() -> None:
    records = [
        record("O B-to I-to B-at", "O B-to B-to O", contrast=True),
        record("O B-from O", "B-at B-from O", contrast=True),
        record("O B-from O", "O B-to O", contrast=True),
        record("B-to B-at", "B-from B-at", contrast=False),
        record("B-to B-at", "O B-at"),
    ]
    scores = contrast_accuracy.score(records, contrast_accuracy.Settings(slots=["to", "from"]))
    assert list(scores) == ["contrast_accuracy", "span_f1"]
    assert scores["contrast_accuracy"] == 50
    tags = [[item[field] for item in records] for field in ("tags", "prediction")]
    assert scores["span_f1"] == pytest.approx(100 * f1_score(*tags)) and 0 < scores["span_f1"] < 100
    assert contrast_accuracy.score(records, contrast_accuracy.Settings(slots=["at"]))["contrast_accuracy"] == 0


def test_contrast_accuracy_names_what_is_missing() -> None:
    settings = contrast_accuracy.Settings(slots=["to", "from"])
    with pytest.raises(InputError, match="no test example with contrast true has a token tagged to or from"):
        contrast_accuracy.score([record("B-to", "B-to"), record("B-at", "B-at", contrast=True)], settings)
    with pytest.raises(InputError, match="prediction a has no field 'prediction'"):
        contrast_accuracy.score([{"id": "a", "tags": ["O"], "contrast": True}], settings)
    with pytest.raises(InputError, match="prediction a has 1 tags, but should have one for each of its 2 tokens"):
        contrast_accuracy.score([record("B-to O", "B-to", contrast=True)], settings)
    with pytest.raises(pydantic.ValidationError):
        contrast_accuracy.Settings(slots=[])
