"""Commands: how a template becomes sentences and tags, which values and templates training sees, what is refused."""

import json
import re
from collections import Counter
from pathlib import Path
from random import Random
from typing import Any

import pytest

from stages.core.base.errors import InputError
from stages.core.base.files import read_json
from stages.core.learning.dataset import SPLITS, Example, Prepared, split_of, write_prepared
from stages.datasets import commands
from stages.datasets.commands import FEWEST, FILLERS, Grammar, Settings, TemplateError, number_words, parse, prepare

RULES = {"the": "(the|my)", "all": "(all [of <the>]|every [single])", "loop": "again <loop>"}
LISTS: dict[str, Any] = {
    "minutes": {"range": {"from": 1, "to": 100}},
    "kelvin": {"range": {"from": 1000, "to": 3000, "step": 100}},
    "state": {"values": [{"in": "open"}, {"in": "(closed|shut)"}]},
    "kind": {"values": [{"in": f"{word}[s]"} for word in ("awning", "blind", "curtain", "door", "gate", "shade")]},
    "mode": {"values": [{"in": word} for word in "abcde"]},
    "zone": {"wildcard": True},
    "unheard_of": {"wildcard": True},
}
TEMPLATES = [
    *(f"{verb} [<the>] {{area}} {thing}[s]" for verb in ("dim", "check", "clean", "find") for thing in ("lamp", "fan")),
    *(f"{verb} {{minutes:time}}( |-)minute[s] for {{area}}" for verb in ("wait", "add", "take", "stop", "mow", "run")),
    *(f"{verb} <all> {{kind:device}} <the> {{name}}" for verb in ("open", "shut", "lift", "lower", "raise", "move")),
    *(f"is {name} {{state}} in {{area}}" for name in ("it", "this", "that", "one", "any", "some")),
]
SETTINGS = Settings(seed=3, train=240, validation=60, test=60)


def file_of(templates: list[str], **changes: Any) -> dict[str, Any]:
    block = {"sentences": templates, "requires_context": {"domain": ["lock"], "area": {"slot": True}}}
    return {"intents": {"Some": {"data": [block]}}, "lists": LISTS, "expansion_rules": RULES, **changes}


def write(raw: Path, content: Any) -> Path:
    path = raw / commands.FILE
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content, indent=2, ensure_ascii=False), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Prepared:
    raw = tmp_path_factory.mktemp("raw")
    write(raw, file_of(TEMPLATES))
    return prepare(raw, SETTINGS)


def drawn(template: str, training: bool = False, draws: int = 300, domains: tuple[str, ...] = ()) -> set[str]:
    """Sentences of a template; a value as ``[words](slot)``."""
    tree = parse(template, Grammar(commands.File.model_validate(file_of([])), domains))
    random = Random(1)
    return {shown(*commands.words_and_tags(commands.pieces(tree, random, training))) for _ in range(draws)}


def shown(tokens: list[str], tags: list[str]) -> str:
    marked = " ".join(f"{token}|{tag}" for token, tag in zip(tokens, tags, strict=True))
    return re.sub(r"\|O", "", marked)


def values(examples: list[Example], slot: str) -> set[str]:
    found = []
    for example in examples:
        for token, tag in zip(example["tokens"], example["tags"], strict=True):
            if tag == f"B-{slot}":
                found.append(token)
            elif tag == f"I-{slot}":
                found[-1] += f" {token}"
    return set(found)


def filler(name: str) -> list[str]:
    return [" ".join(value.split()) for value in FILLERS[name].split(",")]


@pytest.mark.parametrize(
    ("template", "sentences"),
    [
        (
            "(turn|switch) it [off|on]",
            {"turn it", "turn it off", "turn it on", "switch it", "switch it off", "switch it on"},
        ),
        (
            "light[s] [[of ]my room]",
            {"light", "lights", "light my room", "lights my room", "light of my room", "lights of my room"},
        ),
        (
            "put <all> away",
            {"put all away", "put all of the away", "put all of my away", "put every away", "put every single away"},
        ),
        ("(skip [song];now)", {"skip now", "now skip", "skip song now", "now skip song"}),
        (
            "play [(song|track) ][again]",
            {"play", "play song", "play track", "play again", "play song again", "play track again"},
        ),
        ("What can I say", {"what can i say"}),
        ("is it {state}", {"is it open|B-state", "is it closed|B-state", "is it shut|B-state"}),
        (
            "{state:now} {state}",
            {f"{a}|B-now {b}|B-state" for a in ("open", "closed", "shut") for b in ("open", "closed", "shut")},
        ),
    ],
)
def test_a_template_gives_exactly_its_sentences(template: str, sentences: set[str]) -> None:
    assert drawn(template) == sentences


def test_a_value_and_its_unit_are_whole_words_and_signs_are_spoken() -> None:
    hyphened = drawn("{minutes}( |-)minute[s]")
    assert {sentence.split()[-1] for sentence in hyphened} == {"minute", "minutes"}
    assert {"7|B-minutes minutes", "twenty|B-minutes one|I-minutes minute"} <= drawn(
        "{minutes}( |-)minute[s]", draws=3000
    )
    assert {sentence.split()[1] for sentence in drawn("{kelvin}[ ](k|kelvin)")} == {"kelvin"}
    assert {tuple(sentence.split()[-2:]) for sentence in drawn("to {kelvin}[([ ]°)|( degree[s])] now")} == {
        ("degrees", "now"),
        ("degree", "now"),
        *((f"{number}|B-kelvin", "now") for number in range(1000, 3001, 100)),
    }


def test_numbers_are_spelled_as_they_are_spoken() -> None:
    spelled = {
        0: "zero",
        13: "thirteen",
        19: "nineteen",
        20: "twenty",
        45: "forty five",
        99: "ninety nine",
        100: "one hundred",
    }
    assert {number: number_words(number) for number in spelled} == spelled
    assert len({number_words(number) for number in range(101)}) == 101


def test_a_name_suits_the_kind_of_device() -> None:
    names = {
        sentence.replace("|B-name", "").replace("|I-name", "") for sentence in drawn("{name}", domains=("lock", "fan"))
    }
    assert names == {*filler("lock"), *filler("fan")}
    with pytest.raises(TemplateError, match=r"nothing is known to fill \{name\}"):
        drawn("{name}", domains=("submarine",))


def test_every_third_value_is_kept_back_from_training_and_no_other(prepared: Prepared) -> None:
    later = [*prepared.splits["validation"], *prepared.splits["test"]]
    for slot, listed in (("area", filler("area")), ("name", filler("lock"))):
        kept_back = set(listed[2::3])
        assert values(prepared.splits["train"], slot) == set(listed) - kept_back
        assert kept_back & values(later, slot) and (set(listed) - kept_back) & values(later, slot)
    assert values(prepared.splits["train"], "device") <= {
        f"{w}{s}" for w in ("awning", "blind", "door", "gate") for s in ("", "s")
    }
    assert values(later, "device") & {"curtain", "curtains", "shade", "shades"}
    numbers = {number for number in range(1, 101) if number % 3 == 2}
    unseen = {str(number) for number in numbers} | {number_words(number) for number in numbers}
    assert not values(prepared.splits["train"], "time") & unseen and values(later, "time") & unseen


def test_a_short_list_is_whole_in_training() -> None:
    assert len(LISTS["mode"]["values"]) == FEWEST - 1
    assert drawn("{mode}", training=True) == {f"{word}|B-mode" for word in "abcde"}


def test_no_value_of_a_slot_is_kept_back_in_one_list_and_not_in_another() -> None:
    devices = list(FILLERS)[list(FILLERS).index("light") :]
    assert devices[-1] == "vacuum"
    for lists in ([*devices, "timer_name"], ["shopping_list_item", "todo_list_item"]):
        counts = Counter(value for name in lists for value in filler(name))
        assert [value for value, count in counts.items() if count > 1] == []
    assert all(len(filler(name)) >= FEWEST and all(filler(name)) for name in FILLERS)


def test_no_template_is_in_two_splits_and_its_hash_decides(prepared: Prepared) -> None:
    for split in SPLITS:
        keys = {example["key"] for example in prepared.splits[split]}
        assert keys <= set(TEMPLATES) and keys
        assert {split_of(f"3 {key}", 60 / 360, 60 / 360) for key in keys} == {split}


def test_templates_take_turns(prepared: Prepared) -> None:
    for split, wanted in (("train", 240), ("validation", 60), ("test", 60)):
        counts = Counter(example["key"] for example in prepared.splits[split])
        assert sum(counts.values()) == wanted
        assert max(counts.values()) - min(counts.values()) <= 1


def test_a_template_that_allows_little_leaves_its_turns_to_the_others(tmp_path: Path) -> None:
    write(tmp_path, file_of([*TEMPLATES, *(f"never {word}" for word in "abcdefgh")]))
    prepared = prepare(tmp_path, SETTINGS)
    counts = Counter(example["key"] for split in SPLITS for example in prepared.splits[split])
    assert counts.total() == 360 and {counts[f"never {word}"] for word in "abcdefgh"} == {1}


def test_no_sentence_is_made_twice(prepared: Prepared, tmp_path: Path) -> None:
    examples = [example for split in SPLITS for example in prepared.splits[split]]
    assert (
        len({tuple(example["tokens"]) for example in examples}) == len({example["id"] for example in examples}) == 360
    )
    write_prepared(prepared, tmp_path)
    assert read_json(tmp_path / "summary.json")["facts"]["slots"] == 5


def test_tags_are_bio_and_tokens_are_plain_words(prepared: Prepared) -> None:
    for split in SPLITS:
        for example in prepared.splits[split]:
            before = ["O", *example["tags"]]
            assert all(tag[0] != "I" or old[1:] == tag[1:] for old, tag in zip(before, example["tags"], strict=False))
            assert all(re.fullmatch(r"[a-z]+|\d+", token) for token in example["tokens"])


def test_the_same_seed_gives_the_same_sentences_and_another_others(prepared: Prepared, tmp_path: Path) -> None:
    write(tmp_path, file_of(TEMPLATES))
    assert prepare(tmp_path, SETTINGS) == prepared
    other = prepare(tmp_path, Settings(seed=4, train=240, validation=60, test=60))
    in_training = [{example["key"] for example in each.splits["train"]} for each in (prepared, other)]
    assert in_training[0] != in_training[1]
    for key in in_training[0] & in_training[1]:
        one, two = (
            [example["tokens"] for example in each.splits["train"] if example["key"] == key]
            for each in (prepared, other)
        )
        assert one != two


@pytest.mark.parametrize(
    ("template", "reason"),
    [
        ("turn (it off", "brackets that do not match"),
        ("turn it] off", "brackets that do not match"),
        ("turn (it] off", "brackets that do not match"),
        ("turn {area off", "brackets that do not match"),
        ("(a|b;c)", "| and ; in one group"),
        ("turn <these> off", "<these> is no rule of the file"),
        ("say <loop>", "<loop> holds itself"),
        ("find {unheard_of}", "nothing is known to fill {unheard_of}"),
        ("find {never_named:area}", "nothing is known to fill {never_named}"),
    ],
)
def test_a_malformed_template_is_rejected_and_named_by_its_line(tmp_path: Path, template: str, reason: str) -> None:
    path = write(tmp_path, file_of([*TEMPLATES, template]))
    (rejected,) = prepare(tmp_path, SETTINGS).rejected
    line = path.read_text(encoding="utf-8").split("\n")[rejected.line - 1]
    assert (rejected.reason, rejected.file, line.strip()) == (reason, "en.json", json.dumps(template))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ([], "the whole file: "),
        ({"intents": {}, "lists": {}}, "en.json: expansion_rules: Field required; it should be a file of"),
        (
            file_of(TEMPLATES, intents={"Some": {"data": [{"sentences": "one"}]}}),
            r"intents\.Some\.data\.0\.sentences: ",
        ),
        (
            file_of(TEMPLATES, lists={"state": {"values": [{"out": "on"}]}}),
            r"lists\.state\.values\.0\.in: Field required",
        ),
        (file_of([]), "train asks for 240 sentences, but the 0 templates of that split give only 0 different ones"),
        (file_of(["hello", "hi"]), "different ones"),
    ],
)
def test_a_file_of_another_form_is_an_error_that_names_the_place(tmp_path: Path, content: Any, message: str) -> None:
    write(tmp_path, content)
    with pytest.raises(InputError, match=message):
        prepare(tmp_path, SETTINGS)


def test_a_missing_file_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="does not exist"):
        prepare(tmp_path, SETTINGS)
