"""Cloze: questions made of a small encyclopedia, windows around mentions, the memory network over them, its peers."""

import bz2
import io
import math
import re
from functools import partial
from pathlib import Path
from xml.sax.saxutils import escape

import pytest
import torch

from stages.core import trainer, wikipedia
from stages.core.base.errors import InputError
from stages.core.learning import artifact
from stages.core.learning.dataset import SPLITS, Example, Prepared, write_prepared
from stages.core.learning.task import Training
from stages.core.trainer import build_optimizer
from stages.datasets import cloze as data
from stages.datasets.cloze import join_terms, linked_terms, prepare
from stages.decoding import attention_sum, direct
from stages.figures import examples_cloze
from stages.models import mention_ranking, window_memory_network
from stages.tasks import cloze
from stages.tasks.cloze import GAP, Cloze, mentions

# Mars is linked once, and mentioned again in sentences 2, 3 (twice) and 4; Sol is first told of in the last.
ARTICLE = """The red planet [[Mars]] is near [[planet Earth|Earth]]. Between Earth and mars lies no other planet.
Mars is small, and Mars is dry. It is held by [[Sol]], as mars is."""
SETTINGS = data.Settings(everyday=1.0, validation=0.25, test=0.25)


def write(raw: Path, texts: dict[str, str]) -> Path:
    pages = [
        f"<page><title>{title}</title><ns>0</ns><id>{number}</id>"
        f"<revision><text>{escape(text)}</text></revision></page>"
        for number, (title, text) in enumerate(texts.items(), start=1)
    ]
    path = raw / wikipedia.FOLDER / wikipedia.FILE
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(bz2.compress(f"<mediawiki>{''.join(pages)}</mediawiki>".encode()))
    return raw


def asked(raw: Path, settings: data.Settings = SETTINGS) -> tuple[list[Example], Prepared]:
    prepared = prepare(raw, settings)
    return [example for split in SPLITS for example in prepared.splits[split]], prepared


def test_questions_are_those_made_by_hand(tmp_path: Path) -> None:
    examples, prepared = asked(write(tmp_path, {"Planets": ARTICLE}))
    by_id = {example["id"]: example for example in examples}
    assert set(by_id) == {"1_4_7"}, "of sentence 2 both terms are named, of 3 Mars twice; Sol is not told before"
    only = by_id["1_4_7"]
    assert only["question"] == ["It", "is", "held", "by", "Sol", ",", "as", GAP, "is", "."]
    assert only["candidates"] == ["Mars", "Earth"] and only["answer"] == "Mars"
    assert only["story"][1] == ["Between", "Earth", "and", "mars", "lies", "no", "other", "planet", "."]
    counts = {
        reason: [r.reason for r in prepared.rejected].count(reason) for reason in {r.reason for r in prepared.rejected}
    }
    assert counts == {
        "term: not in the sentences before": 3,  # Mars and Earth in sentence 1, Sol in 4
        "term: no other candidate": 2,  # sentence 2 names both
        "term: more than once in its sentence": 1,
    }
    assert prepared.facts["percent_right_by_chance"][only_split(prepared)] == 50.0


def only_split(prepared: Prepared) -> str:
    return next(split for split in SPLITS if prepared.splits[split])


def test_terms_are_the_linked_words_and_mentions_of_them_are_one_token() -> None:
    assert linked_terms(["The", "Red", "Sea", "Nile"], ["O", "B-TERM", "I-TERM", "B-TERM"]) == ["red sea", "nile"]
    tokens = ["the", "New", "York", "Times", "of", "new", "york"]
    assert join_terms(tokens, {"new york", "new york times"}) == ["the", "New York Times", "of", "new york"]
    assert join_terms(["york"], {"new york"}) == ["york"]
    assert join_terms(["new"], set()) == ["new"]


def many(raw: Path) -> Path:
    names = ["Ada", "Bo", "Cy", "Di", "Ed", "Flo", "Gus"]
    texts = {}
    for number in range(40):
        mine = [f"{name}{number % 9}" for name in names]
        texts[f"Subject {number}"] = " ".join(
            [
                *(f"Once upon a time [[{name}]] was seen there." for name in mine),
                *(f"Later on people saw {name} once more, as was written in number {number}." for name in mine),
            ]
        )
    return write(raw, texts)


def test_every_article_is_in_one_split_and_every_answer_among_its_candidates(tmp_path: Path) -> None:
    settings = data.Settings(candidates=4, sentences=9, everyday=0.9, validation=0.25, test=0.25)
    examples, prepared = asked(many(tmp_path), settings)
    held = {split: {example["article"] for example in prepared.splits[split]} for split in SPLITS}
    assert all(held.values()) and sum(map(len, held.values())) == len(set.union(*held.values())) == 40
    for example in examples:
        told = [token for sentence in example["story"] for token in sentence]
        assert example["answer"] in example["candidates"] and 2 <= len(example["candidates"]) <= 4
        assert [told.index(name) for name in example["candidates"]] == sorted(map(told.index, example["candidates"]))
        assert example["question"].count(GAP) == 1 and not set(example["question"]) & set(example["candidates"])
        assert len(example["story"]) <= 9 and example["key"] == example["article"]
    assert len({example["id"] for example in examples}) == len(examples) > 200
    write_prepared(prepared, tmp_path / "out")


def test_everyday_words_are_no_terms(tmp_path: Path) -> None:
    texts = {f"Subject {n}": ARTICLE for n in range(4)} | {"Other": "Here [[nobody]] tells of anything at all."}
    assert asked(write(tmp_path, texts), data.Settings(everyday=0.9))[0]
    assert not asked(write(tmp_path, texts), data.Settings(everyday=0.5))[0]


def test_a_sentence_that_is_no_text_is_left_out_and_named(tmp_path: Path) -> None:
    examples, prepared = asked(write(tmp_path, {"Planets": ARTICLE.replace("lies", "<math>x</math> lies")}))
    assert [example["id"] for example in examples] == ["1_4_7"]
    assert len(examples[0]["story"]) == 2
    told = [(found.reason, found.file.removeprefix(wikipedia.FILE)) for found in prepared.rejected]
    assert ("sentence: formula or program", " article 'Planets' sentence 2") in told


STORY = [s.split() for s in ("Ann met Bob in Rome .", "bob went home .", "In Rome Ann saw Cleo .", "Cleo left .")]
EXAMPLE: Example = {
    "id": "a",
    "story": STORY,
    "question": ["Then", GAP, "went", "home", "."],
    "candidates": ["Ann", "Bob", "Cleo"],
    "answer": "Bob",
}
SHORT: Example = {**EXAMPLE, "id": "b", "story": STORY[:1], "candidates": ["Ann", "Bob"], "answer": "Ann"}


def reading(window: int = 2, **task: int) -> Cloze:
    torch.manual_seed(0)
    settings = cloze.Settings(**{"least": 1, "strangers": 3} | task)
    model = window_memory_network.Settings(window=window, embedding_size=16, scale=0.1, times=3)
    vocabularies = cloze.fit_vocabularies([EXAMPLE, SHORT], settings)
    return cloze.build(settings, vocabularies, partial(window_memory_network.build, model))


def test_each_mention_of_a_candidate_is_a_memory_and_its_window_that_of_a_hand_count() -> None:
    task = reading()
    assert mentions(EXAMPLE) == [(0, 0, 0), (0, 2, 1), (1, 0, 1), (2, 2, 0), (2, 4, 2), (3, 0, 2)]
    assert task.size(EXAMPLE) == 6
    batch = task.collate([EXAMPLE, SHORT])
    words = [task.words.decode(batch["windows"][row].tolist()) for row in batch["story"].values[0].tolist()]
    assert words[1] == ["ann", "met", "<Candidate>", "in", "rome"]
    assert words[2] == ["<pad>", "<pad>", "<candidate>", "went", "home"]
    assert words[4] == ["ann", "saw", "<Candidate>", ".", "<pad>"]
    assert task.words.decode(batch["question"][0].tolist()) == ["<pad>", "then", GAP, "went", "home"]
    assert batch["back"][0].tolist() == [3, 3, 2, 1, 1, 0] and batch["owner"][0].tolist() == [0, 1, 1, 0, 2, 2]
    assert batch["story"].lengths.tolist() == [6, 2] and batch["answer"].tolist() == [1, 0]
    assert len(batch["windows"]) == 6, "the windows of the first sentence stand once"


def test_an_unseen_word_is_always_the_same_stranger() -> None:
    task = reading(strangers=50)
    first, again, other = (task.window([word, "met"], 1)[1] for word in ("Zoroaster", "zoroaster", "quokka"))
    assert first == again != other
    assert {task.words.symbols[first][0], task.words.symbols[other][0]} == {"<"}


def test_a_rare_word_is_a_stranger() -> None:
    assert "went" in reading(least=2).words.index and "saw" not in reading(least=2).words.index


def test_attention_is_that_of_the_equations() -> None:
    task = reading().eval()
    model, batch = task.model, task.collate([EXAMPLE])
    with torch.no_grad():
        model.recency += torch.tensor([0.3, 0.2, -0.1])

    def embed(words: torch.Tensor) -> torch.Tensor:
        return sum(
            (model.places[j] * model.embedding[word] for j, word in enumerate(words) if word),
            torch.zeros(16),
        )

    u = embed(batch["question"][0])
    back = [2, 2, 2, 1, 1, 0]  # of 3 times, the last is shared
    rows = batch["windows"][batch["story"].values[0]]
    scores = torch.stack([embed(row) @ u + model.recency[b] for row, b in zip(rows, back, strict=True)])
    torch.testing.assert_close(task.attention(batch)[0], scores.log_softmax(dim=0))
    shares = scores.softmax(dim=0)
    expected = torch.stack([shares[0] + shares[3], shares[1] + shares[2], shares[4] + shares[5]])
    torch.testing.assert_close(task.log_probabilities(batch)[0].exp(), expected)


def test_padding_changes_nothing() -> None:
    task = reading().eval()
    together = task.collate([EXAMPLE, SHORT])
    for row, example in enumerate((EXAMPLE, SHORT)):
        alone = task.collate([example])
        count, own = task.size(example), len(example["candidates"])
        torch.testing.assert_close(task.attention(together)[row, :count], task.attention(alone)[0])
        torch.testing.assert_close(task.log_probabilities(together)[row, :own], task.log_probabilities(alone)[0])
    assert task.attention(together)[1, 2:].exp().tolist() == [0, 0, 0, 0]
    assert task.log_probabilities(together).exp()[1, 2] < 1e-30


def test_gradients_are_right() -> None:
    task = reading().double().eval()
    model, batch = task.model, task.collate([EXAMPLE, SHORT])

    def attention(*parameters: torch.Tensor) -> torch.Tensor:
        named = dict(zip(("embedding", "places", "recency"), parameters, strict=True))
        inputs = tuple(batch[name] for name in ("windows", "story", "back", "question"))
        return torch.func.functional_call(model, named, inputs).exp()

    assert torch.autograd.gradcheck(attention, (model.embedding, model.places, model.recency))


def test_a_batch_is_learnt_by_heart(tmp_path: Path) -> None:
    examples = asked(many(tmp_path), data.Settings(candidates=4, everyday=0.9, validation=0.25, test=0.25))[0][:24]
    torch.manual_seed(0)
    settings = cloze.Settings(least=1)
    model = window_memory_network.Settings(window=2, embedding_size=32, scale=0.1, times=20)
    vocabularies = cloze.fit_vocabularies(examples, settings)
    task = cloze.build(settings, vocabularies, partial(window_memory_network.build, model))
    plan = Training(seeds=[1], learning_rate=0.02, batch_size=24, epochs=1, clip_norm=5.0)
    optimizer, batch = build_optimizer(task, plan), task.collate(examples)
    before = float(task.loss(batch)[0].detach())
    for _ in range(200):
        optimizer.zero_grad()
        task.loss(batch)[0].backward()
        optimizer.step()
    assert before > 1.0 and float(task.loss(batch)[0].detach()) < 0.1


def test_validation_accuracy_counts_each_example_once() -> None:
    task = reading().eval()
    best = [
        r["prediction"] for r in attention_sum.decode(task, task.collate([EXAMPLE, SHORT]), attention_sum.Settings())
    ]
    wrong = next(name for name in EXAMPLE["candidates"] if name != best[0])
    task.validation_update(task.collate([{**EXAMPLE, "answer": best[0]}, {**SHORT, "answer": best[1]}]))
    task.validation_update(task.collate([{**EXAMPLE, "answer": wrong}]))
    assert task.validation_scores() == {"validation_accuracy": pytest.approx(200 / 3)}
    assert task.validation_scores() == {"validation_accuracy": 0.0}


def test_what_was_looked_at_sums_to_one() -> None:
    task = reading().eval()
    records = attention_sum.decode(task, task.collate([EXAMPLE, SHORT]), attention_sum.Settings())
    for record, example in zip(records, (EXAMPLE, SHORT), strict=True):
        assert [(s, t) for s, t, _ in record["looked"]] == [(s, t) for s, t, _ in mentions(example)]
        assert sum(weight for _, _, weight in record["looked"]) == pytest.approx(1, abs=1e-3)
        assert record["prediction"] in example["candidates"] and 1 / 3 <= record["confidence"] <= 1


# The peers.


def peer(by: str, window: int = 5) -> mention_ranking.MentionRanking:
    return mention_ranking.build(mention_ranking.Settings(by=by, window=window), 1)


def test_the_most_frequent_and_the_nearest_are_those_counted_by_hand() -> None:
    story, names = [["A", "b", "a", "C"], ["c", "b", "c"], ["B"]], ["A", "B", "C"]
    assert peer("frequency").choose(story, [GAP], names) == "B", "B and C stand there three times, B is the last"
    assert peer("frequency").choose(story[:2], [GAP], names) == "C"
    assert peer("nearness").choose(story, [GAP], names) == "B"
    assert peer("nearness").choose(story[:1], [GAP], ["A", "B"]) == "A"


def test_the_overlap_counts_rare_words_of_the_question_within_the_window() -> None:
    ranking = peer("overlap", window=2)
    ranking.fit([STORY], ["Bob"])
    assert ranking.sentences == 4 and ranking.stand_in["rome"] == 2 and ranking.stand_in["."] == 4
    assert ranking.choose(STORY, EXAMPLE["question"], EXAMPLE["candidates"]) == "Bob"
    assert ranking.choose(STORY, ["People", "saw", GAP], EXAMPLE["candidates"]) == "Cleo", "Ann too, but Cleo is nearer"
    assert peer("overlap", window=1).choose(STORY, ["home", GAP], ["Ann", "Bob"]) == "Ann", "home is two words from bob"


CONFIG = {"task": {"name": "cloze"}, "model": {"name": "mention_ranking", "by": "overlap"}}


def test_a_peer_is_fitted_kept_and_asked(tmp_path: Path) -> None:
    examples = [EXAMPLE, SHORT]
    task = artifact.build_task(CONFIG, cloze.fit_vocabularies(examples, cloze.Settings()), "x")
    trainer.fit_peer(task, examples, examples, tmp_path, "x")
    artifact.save(tmp_path / "model", task, CONFIG)
    again = artifact.load(tmp_path / "model")
    said = [direct.decode(item, item.collate(examples), direct.Settings()) for item in (task, again)]
    assert said[0] == said[1] and said[0][0] == {"prediction": "Bob"}
    row = (tmp_path / "learning_curve.csv").read_text().splitlines()[1].split(",")
    assert float(row[1]) == 1 - float(row[-1]) / 100
    assert artifact.count_parameters(again) == len(again.model.stand_in) == 11


# What the report shows.


def test_a_worked_example_shows_where_the_network_looked_and_every_answer() -> None:
    looked = [[0, 0, 0.1], [0, 2, 0.5], [1, 0, 0.25], [2, 2, 0.05], [2, 4, 0.05], [3, 0, 0.05]]
    example = EXAMPLE | {"article": "<Rome>", "story": [*STORY, ["It", "rained", "."]]}
    item = {
        "rule": example | {"prediction": "Ann"},
        "network": example | {"prediction": "Bob", "confidence": 0.75, "looked": looked},
    }
    assert all(map(examples_cloze.fits, item.values()))
    assert not examples_cloze.fits({"story": ["A b."], "question": "C?", "answer": "b", "prediction": "b"})
    assert [examples_cloze.right(record) for record in item.values()] == [False, True]
    text = str(examples_cloze.show(item))
    assert re.findall(r'--share: (\d+)%" title="(\d+) %">(<b>)?(\w+)', text) == [
        ("6", "10", "", "Ann"),
        ("30", "50", "<b>", "Bob"),
        ("15", "25", "<b>", "bob"),
        ("3", "5", "", "Ann"),
        ("3", "5", "", "Cleo"),
        ("3", "5", "", "Cleo"),
    ]
    assert "Then ___ went home ." in text and "75&thinsp;% sure" in text and "&lt;Rome&gt;" in text
    assert "rained" not in text, "a sentence without a candidate is left out"


# What a person gives.

PASSAGE = "Ann Lee met Bob in Rome.\n\nIn Rome then Bob left.\n"


def test_a_persons_passage_is_read_and_shown() -> None:
    task = reading()
    (example,) = task.read_input(io.StringIO(PASSAGE + "Then ___ went home with Rome. | Ann Lee, bob"))
    assert example["story"] == [
        ["Ann Lee", "met", "Bob", "in", "Rome", "."],
        ["In", "Rome", "then", "Bob", "left", "."],
    ]
    assert example["question"] == ["Then", GAP, "went", "home", "with", "Rome", "."]
    assert example["candidates"] == ["Ann Lee", "bob"]
    with torch.no_grad():
        (said,) = attention_sum.decode(task.eval(), task.collate([example]), attention_sum.Settings())
    shown = task.present(example | said)
    assert f"=> {said['prediction']} ({100 * said['confidence']:.1f} %)" in shown
    assert "1: [Ann Lee] met Bob in Rome ." in shown and "2: In Rome then [Bob] left ." in shown


def test_without_candidates_the_names_that_the_question_has_not_are_taken() -> None:
    (example,) = reading().read_input(io.StringIO(PASSAGE + "Of Rome ___ knew nothing."))
    assert example["candidates"] == ["Lee", "Bob"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is empty"),
        (PASSAGE + "No gap here.", "one gap, written ___"),
        (PASSAGE + "Two ___ and ___.", "one gap, written ___"),
        ("A ___ above.\n" + PASSAGE + "One ___.", "one gap, written ___"),
        ("Alone ___ stands. | Ann, Bob", "should stand above"),
        (PASSAGE + "Then ___ left. | Bob", "candidates are Bob, where two or more"),
        (PASSAGE + "Then ___ left. | Bob, bob", "each once"),
        (PASSAGE + "Then ___ left. | Bob, Cleo", "the candidate Cleo is not in the sentences above"),
        ("nobody came.\nthen ___ left.", "candidates are none"),
    ],
)
def test_bad_input_is_one_sentence(text: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        reading().read_input(io.StringIO(text))


def test_an_untrained_network_is_no_better_than_chance() -> None:
    loss, items = reading().eval().loss(reading().collate([EXAMPLE] * 8))
    assert items == 8 and float(loss.detach()) == pytest.approx(math.log(3), rel=0.3)
