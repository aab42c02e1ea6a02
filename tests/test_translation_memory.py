"""The translation memory: the nearest training example, exactly, by the similarity that the data set gives."""

import random

import pytest
from rapidfuzz import process
from rapidfuzz.distance import Levenshtein

from stages.datasets import messages
from stages.models import branching, translation_memory
from stages.models.translation_memory import TranslationMemory

PAIRS = {
    "Open the file": "打开文件",
    "Close the file": "关闭文件",
    "Delete 3 files, please": "请删除 3 个文件",
    "Show the next page": "显示下一页",
}


def fitted(pairs: dict[str, str]) -> TranslationMemory:
    peer = translation_memory.build(translation_memory.Settings(), 1)
    peer.fit([source.split() for source in pairs], [list(target) for target in pairs.values()])
    return peer


def drawn(generator: random.Random, words: int) -> str:
    """A text of few different words, so that it shares some with others, in any order, and often twice."""
    return " ".join(generator.choice(["open", "close", "the", "file", "a", "page"]) for _ in range(words))


@pytest.mark.parametrize(
    ("source", "nearest", "similarity"),
    [
        ("Open the file", "Open the file", 1),
        ("open every file", "Open the file", 2 / 3),
        ("Show the next page again", "Show the next page", 4 / 5),
        ("Close file the", "Close the file", 1 / 3),
    ],
)
def test_the_nearest_source_gives_its_target(source: str, nearest: str, similarity: float) -> None:
    match = fitted(PAIRS).translate([source.split()])[0]
    assert match == (list(PAIRS[nearest]), pytest.approx(similarity), nearest.split())


def test_case_punctuation_and_which_number_make_no_difference() -> None:
    match = fitted(PAIRS).translate([["DELETE", "12", "files", "-", "please", "!"]])[0]
    assert match.similarity == 1
    assert match.target == list("请删除 3 个文件")


def test_of_equally_near_sources_the_first_in_training_wins() -> None:
    assert fitted(PAIRS).convert(["Move", "the", "file"]) == list("打开文件")
    turned = dict(reversed(PAIRS.items()))
    assert fitted(turned).convert(["Move", "the", "file"]) == list("关闭文件")
    # Also where the other shares more words with it, and so is compared before.
    assert fitted({"a b x y": "一", "a b d c": "二"}).convert(["a", "b", "c", "d"]) == ["一"]


@pytest.mark.parametrize("source", [["Quit"], ["…"], []])
def test_a_source_that_shares_no_word_gets_the_first_example_and_no_similarity(source: list[str]) -> None:
    assert fitted(PAIRS).translate([source]) == [(list("打开文件"), 0, ["Open", "the", "file"])]


def test_no_example_is_nearer_than_the_one_found() -> None:
    generator = random.Random(1)
    sources = list(dict.fromkeys(drawn(generator, generator.randint(1, 9)) for _ in range(300)))
    queries = [drawn(generator, generator.randint(1, 9)) for _ in range(200)]
    peer = fitted({source: str(index) for index, source in enumerate(sources)})
    split = [[text.split() for text in texts] for texts in (queries, sources)]
    scores = process.cdist(*split, scorer=Levenshtein.normalized_similarity, dtype=float).round(9)
    found = peer.translate(split[0])
    assert [int("".join(match.target)) for match in found] == scores.argmax(axis=1).tolist()
    assert [match.similarity for match in found] == pytest.approx(scores.max(axis=1).tolist())


def test_its_similarity_is_that_of_the_data_set() -> None:
    generator = random.Random(2)
    signs = ["", "!", " 12", ", don't", " Wi-Fi_2"]
    sources, queries = ([drawn(generator, 4).title() + generator.choice(signs) for _ in range(60)] for _ in range(2))
    expected = messages.similarities([messages.normal_form(q) for q in queries], [*map(messages.normal_form, sources)])
    found = fitted(dict.fromkeys(sources, "")).translate([query.split() for query in queries])
    assert [match.similarity for match in found] == pytest.approx(expected)


def test_its_files_give_it_back() -> None:
    peer, again = fitted(PAIRS), fitted({})
    again.load_state_dict(peer.state_dict())
    query = ["Open", "the", "next", "page"]
    assert again.translate([query]) == peer.translate([query])
    assert again.dump() == peer.dump() and again.count() == peer.count() == 4


def test_peers_of_sequences_have_the_same_methods() -> None:
    shared = {name for name in vars(branching.Branching) if not name.startswith("_")}
    assert {"fit", "convert"} < shared <= set(vars(TranslationMemory))
