"""The treebank: what is read and rejected, and that brackets hold every projective tree and nothing else."""

from itertools import product
from pathlib import Path
from random import Random

import pytest

from stages.core.base.errors import InputError
from stages.core.learning.dataset import SPLITS, Prepared
from stages.datasets.treebank import (
    CLOSE,
    FOLDER,
    OPEN,
    WORD,
    Settings,
    State,
    brackets,
    is_projective,
    kind_of,
    prepare,
    tree,
)
from stages.models import branching

CONSONANTS = "bcdfghklmnprstvyz"


def block(identity: str, rows: list[tuple[str, int, str]], text: str = "") -> str:
    lines = [f"# sent_id = {identity}", f"# text = {text}"]
    lines += [f"{n}\t{form}\t_\tX\tX\t_\t{head}\t{name}\t_\t_" for n, (form, head, name) in enumerate(rows, start=1)]
    return "\n".join(lines) + "\n"


ALI = block("tr-forum:1:S1", [("Ali", 3, "nsubj"), ("elma", 3, "dobj"), ("yedi", 0, "root")])


def write(raw: Path, web: list[str], wiki: list[str] | None = None) -> Path:
    folder = raw / FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    for name, blocks in (("web", web), ("wiki", wiki or [])):
        (folder / f"{name}.conllu").write_text("\n".join(blocks), encoding="utf-8")
    return raw


def many() -> list[str]:
    """Sentences of two made-up words, all of them far apart."""
    random = Random(1)
    words = ["".join(random.choice(CONSONANTS) + random.choice("aeiou") for _ in range(5)) for _ in range(400)]
    pairs = zip(words[::2], words[1::2], strict=True)
    return [block(f"tr-blog:{n}:S1", [(a, 2, "nsubj"), (b, 0, "root")]) for n, (a, b) in enumerate(pairs)]


def reasons(prepared: Prepared) -> list[tuple[str, str, int]]:
    return [(item.reason, item.file, item.line) for item in prepared.rejected]


def random_tree(random: Random, length: int) -> list[int]:
    """Draw a projective tree over ``length`` tokens: a head, and consecutive parts of the rest that hang on it."""
    heads = [0] * length

    def hang(first: int, beyond: int, above: int) -> None:
        head = random.randrange(first, beyond)
        heads[head] = above
        for start, end in ((first, head), (head + 1, beyond)):
            while start < end:
                part = random.randint(start + 1, end)
                hang(start, part, head + 1)
                start = part

    hang(0, length, 0)
    return heads


def is_tree(heads: tuple[int, ...]) -> bool:
    def reaches_root(token: int) -> bool:
        for _ in heads:
            token = heads[token - 1] if token else 0
        return token == 0

    return heads.count(0) == 1 and all(reaches_root(token) for token in range(1, len(heads) + 1))


def has_no_crossing(heads: tuple[int, ...]) -> bool:
    """Projective by another definition: no two arcs cross, the root's, from the left of the sentence, among them."""
    arcs = [tuple(sorted((token, head))) for token, head in enumerate(heads, start=1)]
    return not any(a < c < b < d for a, b in arcs for c, d in arcs)


def all_sequences(state: State) -> list[list[str]]:
    """All sequences of kinds that one who keeps to ``legal`` can write."""
    if not state.legal():
        return [[]]
    return [[kind, *rest] for kind in sorted(state.legal()) for rest in all_sequences(state.after(kind))]


def named(kinds: list[str]) -> list[str]:
    return ["(x" if kind == OPEN else kind for kind in kinds]


def test_a_sentence_becomes_its_brackets(tmp_path: Path) -> None:
    prepared = prepare(write(tmp_path, [ALI], [block("http://wiki/Elma:S2", [("Elma", 0, "root")])]), Settings())
    first, second = sorted((e for split in SPLITS for e in prepared.splits[split]), key=lambda e: len(e["source"]))[
        ::-1
    ]
    assert first == {
        "id": "tr-forum:1:S1",
        "key": "ali elma yedi",
        "genre": "forum",
        "source": ["Ali", "elma", "yedi"],
        "target": ["(root", "(nsubj", WORD, CLOSE, "(dobj", WORD, CLOSE, WORD, CLOSE],
        "heads": [3, 3, 0],
        "relations": ["nsubj", "dobj", "root"],
    }
    assert (second["genre"], second["target"]) == ("wiki", ["(root", WORD, CLOSE])


def test_sentences_that_cannot_be_used_are_counted_by_reason_and_line(tmp_path: Path) -> None:
    crossing = [("a", 3, "x"), ("b", 4, "x"), ("c", 0, "root"), ("d", 3, "x")]
    long = [(str(n), n + 1, "x") for n in range(1, 21)] + [("end", 0, "root")]
    blocks = [
        ALI,
        ALI,
        block("tr-web:2", crossing),
        block("tr-web:3", long),
        block("tr-web:4", [("a", 2, "x"), ("b", 1, "x"), ("c", 0, "root")]),
        block("tr-web:5", [("a", 0, "root"), ("b", 0, "root")]),
        block("tr-web:6", [("a", 3, "x"), ("b", 0, "root")]),
        block("tr-web:7", [("a", 0, "(x")]),
        block("tr-web:8", [("a", 0, "root")]).replace("1\ta", "1-2\ta"),
        block("tr-web:9", [("a", 0, "root")]).replace("1\ta", "3\ta"),
        block("tr-web:10", [("a", 0, "root")]).replace("\t_\t_\n", "\t_\n"),
        block("tr-web:11", []),
        block("tr-web:12", [("a", 0, "root")]).replace("sent_id", "id"),
        block("tr-web:13", [("a", 0, "root")]).replace("\t0\t", "\tzero\t"),
    ]
    found = reasons(prepare(write(tmp_path, blocks), Settings()))
    starts = [1 + sum(other.count("\n") + 1 for other in blocks[:place]) for place in range(len(blocks))]
    assert sorted(found, key=lambda item: item[2]) == [
        (reason, "web.conllu", line)
        for reason, line in zip(
            [
                "the same sent_id stands above",
                "not projective",
                "more than 20 tokens",
                "heads that go round in a circle",
                "no root, or several",
                "a head that is no token of the sentence",
                "a relation that is no name",
                "a token of several words, or an empty node",
                "token numbers that do not count from 1",
                "a token line without 10 filled columns",
                "token numbers that do not count from 1",
                "no sent_id",
                "a head that is no token of the sentence",
            ],
            starts[1:],
            strict=True,
        )
    ]


def test_the_longest_sentence_is_a_setting(tmp_path: Path) -> None:
    write(tmp_path, [ALI])
    assert reasons(prepare(tmp_path, Settings(most_tokens=2))) == [("more than 2 tokens", "web.conllu", 1)]
    assert not prepare(tmp_path, Settings(most_tokens=3)).rejected
    assert not prepare(tmp_path, Settings(most_tokens=None)).rejected


def test_files_without_a_sentence_are_an_error(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no readable sentence"):
        prepare(write(tmp_path, ["# sent_id = x\n"]), Settings())


def test_near_identical_sentences_share_a_split_and_others_do_not_move(tmp_path: Path) -> None:
    before = prepare(write(tmp_path, many()), Settings(validation=0.2, test=0.2)).splits
    near = [text.replace("S1", "S2").replace("\t2\tnsubj", "\t2\tx").replace("1\t", "1\ti", 1) for text in many()]
    after = prepare(write(tmp_path, [*many(), *near]), Settings(validation=0.2, test=0.2)).splits
    split_of_document: dict[str, str] = {}
    for split in SPLITS:
        assert {e["id"] for e in before[split]} <= {e["id"] for e in after[split]}
        for example in after[split]:
            assert split_of_document.setdefault(example["id"][:-3], split) == split
        assert len({e["key"] for e in after[split]}) == len(before[split]) > 10
    assert sum(map(len, after.values())) == 2 * len(many())


@pytest.mark.parametrize("length", [1, 2, 3, 4, 5])
def test_brackets_hold_just_the_projective_trees(length: int) -> None:
    trees = [heads for heads in product(range(length + 1), repeat=length) if is_tree(heads)]
    projective = [heads for heads in trees if has_no_crossing(heads)]
    assert len(projective) == [1, 2, 7, 30, 143][length - 1], "3n - 2 over n - 1, divided by n"
    assert [heads for heads in trees if is_projective(heads)] == projective
    written = {tuple(brackets(heads, "x" * length)) for heads in projective}
    walks = {tuple(named(kinds)) for kinds in all_sequences(State(length))}
    assert written == walks, "who keeps to the legal symbols can write every tree, and nothing else"
    assert len(written) == len(projective)


def test_a_tree_comes_back_from_its_brackets() -> None:
    random = Random(3)
    for _ in range(300):
        heads = random_tree(random, random.randint(1, 40))
        relations = [random.choice(["nsubj", "p", "ig", "a:b"]) for _ in heads]
        symbols = brackets(heads, relations)
        assert len(symbols) == 3 * len(heads)
        assert tree(symbols) == (heads, relations)


def test_a_tree_with_a_gap_has_no_brackets() -> None:
    with pytest.raises(ValueError, match="not projective"):
        brackets([3, 4, 0, 3], ["x"] * 4)


@pytest.mark.parametrize(
    ("symbols", "sentence"),
    [
        ("•", "symbol 1 is '•', where there should be \\("),
        ("(x • • )", "symbol 3 is '•'"),
        ("(x ) •", "symbol 2 is '\\)', where there should be •"),
        ("(x • ) (x • )", "symbol 3 is '\\)', where there should be \\("),
        ("(x (x • )", "symbol 2 is '\\(x', where there should be •"),
        ("(x •", "there are 2 symbols, after which there should be \\)"),
        ("(x • ) )", "symbol 4 is '\\)', where there should be nothing more"),
        ("(x • ] )", "symbol 3 is ']', where there should be \\)"),
        ("( • )", "symbol 1 is '\\('"),
    ],
)
def test_the_first_symbol_that_may_not_be_there_is_named(symbols: str, sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        tree(symbols.split())


def test_any_walk_by_legal_symbols_ends_in_a_tree_after_three_symbols_a_token() -> None:
    random = Random(5)
    for _ in range(200):
        length, symbols = random.randint(1, 30), []
        state = State(length)
        while legal := sorted(state.legal()):
            symbols.append(random.choice(legal))
            state = state.after(symbols[-1])
        assert len(symbols) == 3 * length
        assert len(tree(named(symbols))[0]) == length


def test_kinds_of_symbols() -> None:
    assert [kind_of(symbol) for symbol in ("(nsubj", "•", ")", "(", "x", "")] == [OPEN, WORD, CLOSE, "", "", ""]


SENTENCES = [["Ali", "elma", "yedi"], ["Elma", "iyi", "."]]
TREES = [
    brackets([3, 3, 0], ["nsubj", "dobj", "root"]),
    brackets([2, 0, 2], ["dobj", "root", "p"]),
]


@pytest.mark.parametrize(("direction", "heads"), [("right", [0, 1, 2]), ("left", [2, 3, 0])])
def test_the_peer_hangs_each_word_on_its_neighbour_by_its_most_frequent_relation(
    direction: str, heads: list[int]
) -> None:
    peer = branching.build(branching.Settings(direction=direction), 1)
    peer.fit(SENTENCES, TREES)
    found, relations = tree(peer.convert(["Elma", ".", "Ali"]))
    assert found == heads
    assert relations == [name if head else "root" for name, head in zip(["dobj", "p", "nsubj"], heads, strict=True)]
    assert tree(peer.convert(["Veli", "Veli", "Veli"]))[1][1] == "dobj", "the most frequent of all"
    assert tree(peer.convert(["Veli"])) == ([0], ["root"])


def test_the_peers_files_give_it_back() -> None:
    peer, again = (branching.build(branching.Settings(), 1) for _ in range(2))
    peer.fit(SENTENCES, TREES)
    again.restore(peer.dump())
    assert again.dump() == peer.dump() and again.count() == peer.count() == 3 + 2
    assert again.convert(["elma", "Ali"]) == peer.convert(["elma", "Ali"])
