"""Generated stories, checked by a solver that reads only their text; the splits; the accuracy that scores them."""

import re
from collections import Counter
from pathlib import Path
from random import Random

import pydantic
import pytest

from stages.core.dataset import SPLITS, Example, Prepared, read_split, split_of, write_prepared
from stages.core.errors import InputError
from stages.datasets import stories
from stages.metrics import accuracy

MOVE = re.compile(r"(\w+) (?:moved|went|travelled|journeyed|went back) to the (\w+)\.")
TAKE = re.compile(r"(\w+) (?:picked up|grabbed|took|got) the (\w+)\.")
DROP = re.compile(r"(\w+) (?:dropped|discarded|left|put down) the (\w+)\.")
GIVE = re.compile(r"(\w+) (?:gave|handed|passed) the (\w+) to (\w+)\.")


def small(**changes: object) -> stories.Settings:
    values = {"seed": 3, "kinds": list(stories.KINDS), "train": 180, "validation": 20, "test": 200}
    return stories.Settings(**{**values, **changes})  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def prepared() -> Prepared:
    return stories.generate(small())


def every(prepared: Prepared) -> list[Example]:
    return [example for split in SPLITS for example in prepared.splits[split]]


class Reader:
    """Follow a story by its text alone; with each fact, the sentences that tell it."""

    def __init__(self, story: list[str]) -> None:
        self.person: dict[str, tuple[str, list[int]]] = {}
        self.owner: dict[str, tuple[str, list[int]]] = {}
        self.lying: dict[str, tuple[str, list[int]]] = {}
        self.before: dict[tuple[str, str], tuple[str, list[int]]] = {}
        for index, sentence in enumerate(story):
            self.read(index, sentence)

    def read(self, index: int, sentence: str) -> None:
        if found := MOVE.fullmatch(sentence):
            name, room = found.groups()
            old = self.person.get(name)
            assert old is None or old[0] != room, "a move leads to another room"
            self.person[name] = (room, [index])
            for thing, (owner, told) in self.owner.items():
                if owner == name and old is not None:
                    self.before[thing, room] = (old[0], sorted([*old[1], *told, index]))
        elif found := TAKE.fullmatch(sentence):
            name, thing = found.groups()
            assert thing not in self.owner, "nobody takes what someone has"
            assert thing not in self.lying or self.lying[thing][0] == self.person[name][0], "one takes what is there"
            self.owner[thing] = (name, [index])
            self.lying.pop(thing, None)
        elif found := DROP.fullmatch(sentence):
            name, thing = found.groups()
            assert self.owner.pop(thing)[0] == name, "one drops what one has"
            self.lying[thing] = (self.person[name][0], [index, *self.person[name][1]])
        else:
            found = GIVE.fullmatch(sentence)
            assert found, f"no sentence of the grammar: {sentence}"
            name, thing, other = found.groups()
            assert self.owner[thing][0] == name, "one gives what one has"
            assert self.person[name][0] == self.person[other][0], "one gives to those in the same room"
            self.owner[thing] = (other, [index])

    def answer(self, question: str) -> tuple[str, list[int]]:
        if found := re.fullmatch(r"Where was the (\w+) before the (\w+)\?", question):
            return self.before[found[1], found[2]]
        if found := re.fullmatch(r"Where is the (\w+)\?", question):
            if found[1] in self.lying:
                room, told = self.lying[found[1]]
                return room, sorted(told)
            owner, told = self.owner[found[1]]
            return self.person[owner][0], sorted([*told, *self.person[owner][1]])
        if found := re.fullmatch(r"Is (\w+) in the (\w+)\?", question):
            room, told = self.person[found[1]]
            return ("yes" if room == found[2] else "no"), told
        found = re.fullmatch(r"Where is (\w+)\?", question)
        assert found, question
        return self.person[found[1]]


def test_a_solver_that_reads_only_the_text_finds_every_answer_and_its_supporting_sentences(prepared: Prepared) -> None:
    for example in every(prepared):
        assert Reader(example["story"]).answer(example["question"]) == (example["answer"], example["supporting"])


def test_a_question_needs_the_facts_that_its_kind_says(prepared: Prepared) -> None:
    facts = {"one_fact": 1, "two_facts": 2, "three_facts": 3, "yes_no": 1}
    assert all(len(set(example["supporting"])) == facts[example["kind"]] for example in every(prepared))


def test_the_world_gives_objects_from_hand_to_hand() -> None:
    world = stories.World(Random(1))
    for _ in range(300):
        world.step({"move": 2, "take": 2, "drop": 1, "give": 2})
    assert sum(bool(GIVE.fullmatch(sentence)) for sentence in world.story) > 10
    reader = Reader(world.story)
    assert {thing: owner for thing, (owner, _) in reader.owner.items()} == world.holder
    assert {thing: room for thing, (room, _) in reader.lying.items()}.items() <= world.place.items()


def test_one_returns_only_where_one_has_been(prepared: Prepared) -> None:
    returns = 0
    for example in every(prepared):
        been: set[tuple[str, str]] = set()
        for found in filter(None, map(MOVE.fullmatch, example["story"])):
            if " went back to " in found[0]:
                returns += 1
                assert found.groups() in been
            been.add((found[1], found[2]))
    assert returns > 50


def test_each_split_has_its_count_of_every_kind_and_lengths_are_in_range(prepared: Prepared) -> None:
    for split, count in (("train", 180), ("validation", 20), ("test", 200)):
        assert Counter(ex["kind"] for ex in prepared.splits[split]) == dict.fromkeys(stories.KINDS, count)
    for example in every(prepared):
        least, greatest = stories.KINDS[example["kind"]].sentences
        assert least <= len(example["story"]) <= greatest


def test_no_story_is_in_two_splits_and_the_key_decides_the_split(prepared: Prepared) -> None:
    examples = every(prepared)
    assert len({tuple(example["story"]) for example in examples}) == len(examples)
    assert (
        len({example["key"] for example in examples}) == len({example["id"] for example in examples}) == len(examples)
    )
    for split in SPLITS:
        assert all(split_of(example["key"], 20 / 400, 200 / 400) == split for example in prepared.splits[split])


def test_a_story_that_comes_up_again_is_dropped() -> None:
    # With so many stories of two sentences (4 x 4 x 6 x 6 x 4 x 4 of them, at most) some come up twice.
    examples = every(stories.generate(small(kinds=["one_fact"], train=1800, validation=200, test=2000)))
    assert len({tuple(example["story"]) for example in examples}) == len(examples) == 4000


def test_answers_are_balanced(prepared: Prepared) -> None:
    for kind in stories.KINDS:
        answers = Counter(example["answer"] for example in every(prepared) if example["kind"] == kind)
        total = sum(answers.values())
        if kind == "yes_no":
            assert set(answers) == {"yes", "no"}
            assert 0.42 < answers["yes"] / total < 0.58
        else:
            assert set(answers) == set(stories.ROOMS)
            assert max(answers.values()) / total < 0.3


def test_a_room_that_someone_is_not_in_is_mostly_one_that_the_story_names(prepared: Prepared) -> None:
    refused = [example for example in every(prepared) if example["answer"] == "no"]
    named = [any(ex["question"].split()[-1][:-1] in sentence for sentence in ex["story"]) for ex in refused]
    assert sum(named) / len(named) > 0.8


def test_the_same_seed_gives_the_same_stories_and_another_seed_others(prepared: Prepared) -> None:
    assert stories.generate(small()) == prepared
    other = stories.generate(small(seed=4))
    assert not {example["key"] for example in every(other)} >= {example["key"] for example in every(prepared)}


def test_a_kind_more_moves_no_story_of_the_kinds_before_it(prepared: Prepared) -> None:
    fewer = stories.generate(small(kinds=list(stories.KINDS)[:2]))
    for split in SPLITS:
        assert fewer.splits[split] == prepared.splits[split][: len(fewer.splits[split])]


def test_stories_can_be_written_and_read(prepared: Prepared, tmp_path: Path) -> None:
    write_prepared(prepared, tmp_path)
    assert read_split(tmp_path, "test") == prepared.splits["test"]


def test_an_unknown_kind_and_a_kind_named_twice_are_errors() -> None:
    with pytest.raises(InputError, match=r"two_fact is no kind of question; did you mean two_facts\?"):
        stories.generate(small(kinds=["two_fact"]))
    with pytest.raises(InputError, match="twice"):
        stories.generate(small(kinds=["one_fact", "one_fact"]))
    with pytest.raises(pydantic.ValidationError, match="greater than 0"):
        small(train=0)


def test_accuracy_is_the_share_of_right_predictions_by_kind_too() -> None:
    records = [
        {"id": "1", "kind": "b", "answer": "yes", "prediction": "yes"},
        {"id": "2", "kind": "a", "answer": "no", "prediction": "yes"},
        {"id": "3", "kind": "a", "answer": "no", "prediction": "no"},
        {"id": "4", "kind": "a", "answer": "office", "prediction": "garden"},
    ]
    assert accuracy.score(records, accuracy.Settings(target="answer")) == {"accuracy": 50}
    by_kind = accuracy.score(records, accuracy.Settings(target="answer", by="kind"))
    assert by_kind == {"accuracy": 50, "accuracy_a": pytest.approx(100 / 3), "accuracy_b": 100}


def test_the_order_of_the_scores_is_the_same_in_every_process() -> None:
    records = [{"id": kind, "kind": kind, "answer": 1, "prediction": 1} for kind in "hbgadfce"]
    names = list(accuracy.score(records, accuracy.Settings(target="answer", by="kind")))
    assert names == ["accuracy", *(f"accuracy_{kind}" for kind in "abcdefgh")]


def test_accuracy_names_what_is_missing() -> None:
    with pytest.raises(InputError, match="no predictions"):
        accuracy.score([], accuracy.Settings(target="answer"))
    with pytest.raises(InputError, match="prediction 7 has no field 'kind'"):
        accuracy.score([{"id": 7, "answer": 1, "prediction": 1}], accuracy.Settings(target="answer", by="kind"))
