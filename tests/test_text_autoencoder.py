"""The text auto-encoder: one vector holds a text; same numbers alone or padded; a bag of words knows no order."""

import io
from itertools import chain
from typing import Any

import pytest
import torch

from stages.core.base.errors import InputError
from stages.core.learning.dataset import Example
from stages.core.learning.vocabulary import UNKNOWN
from stages.decoding import reconstruction
from stages.metrics import reconstruction as metric
from stages.models import autoencoder, bag_of_words
from stages.tasks import text_autoencoder
from stages.tasks.text_autoencoder import PeerAutoEncoder, TextAutoEncoder

SENTENCES = [
    "Open the window",
    "Close the door",
    "Delete it, then close the window",
    "Show the next page of results",
    "No no",
    "Door",
]
EXAMPLES: list[Example] = [{"id": str(number), "text": text} for number, text in enumerate(SENTENCES, start=1)]
DOCUMENTS: list[Example] = [
    {"id": "1", "sentences": ["open the door .", "close it ."]},
    {"id": "2", "sentences": ["delete it .", "show the next page .", "close it ."]},
    {"id": "3", "sentences": ["close it .", "open the door ."]},
]
KINDS: list[dict[str, Any]] = [
    {"cell": "elman", "rotation": True},
    {"cell": "gru", "rotation": True},
    {"cell": "lstm", "rotation": True},
    {"cell": "gru", "bidirectional": True, "feed": True},
    {"cell": "lstm", "bidirectional": True},
]


def build_task(
    examples: list[Example] = EXAMPLES, size: int = 24, task: dict[str, Any] | None = None, **model: Any
) -> TextAutoEncoder:
    torch.manual_seed(0)
    field = "text" if "text" in examples[0] else "sentences"
    settings = text_autoencoder.Settings(field=field, embedding=12, **(task or {}))
    model_settings = autoencoder.Settings(hidden=24, size=size, **model)
    vocabularies = text_autoencoder.fit_vocabularies(examples, settings)
    built = text_autoencoder.build(settings, vocabularies, lambda size: autoencoder.build(model_settings, size))
    assert isinstance(built, TextAutoEncoder)
    return built.eval()


def build_peer() -> PeerAutoEncoder:
    settings = text_autoencoder.Settings(field="text")
    vocabularies = text_autoencoder.fit_vocabularies(EXAMPLES, settings)
    task = text_autoencoder.build(settings, vocabularies, lambda size: bag_of_words.BagOfWords(bag_of_words.Settings()))
    assert isinstance(task, PeerAutoEncoder)
    task.fit_peer(EXAMPLES)
    return task


def decode(task: Any, examples: list[Example]) -> list[dict[str, Any]]:
    with torch.inference_mode():
        found = reconstruction.decode(task, task.collate(examples), reconstruction.Settings())
    return [example | said for example, said in zip(examples, found, strict=True)]


def train(task: TextAutoEncoder, examples: list[Example], updates: int, rate: float = 0.01) -> float:
    task.train()
    batch = task.collate(examples)
    optimizer = torch.optim.Adam(task.parameters(), lr=rate)
    for _ in range(updates):
        optimizer.zero_grad()
        task.loss(batch)[0].backward()
        torch.nn.utils.clip_grad_norm_(task.parameters(), 5.0)
        optimizer.step()
    return task.eval().loss(task.collate(examples))[0].item()


# The network.


@pytest.mark.parametrize("kind", KINDS, ids=str)
@torch.no_grad()
def test_padding_changes_nothing(kind: dict[str, Any]) -> None:
    task = build_task(**kind)
    vectors = task.encode(task.collate(EXAMPLES))
    scores = task.log_probabilities(task.collate(EXAMPLES), vectors)
    for row, example in enumerate(EXAMPLES):
        batch = task.collate([example])
        alone = task.encode(batch)
        torch.testing.assert_close(alone[0], vectors[row])
        torch.testing.assert_close(task.log_probabilities(batch, alone)[0], scores[row], rtol=1e-4, atol=1e-4)


@torch.no_grad()
def test_padding_changes_nothing_for_documents() -> None:
    task = build_task(DOCUMENTS, document=40, cell="gru", rotation=True)
    vectors = task.encode(task.collate(DOCUMENTS))
    assert vectors.shape == (3, 40)
    scores = task.log_probabilities(task.collate(DOCUMENTS), vectors)
    for row, example in enumerate(DOCUMENTS):
        batch = task.collate([example])
        torch.testing.assert_close(task.encode(batch)[0], vectors[row])
        torch.testing.assert_close(task.log_probabilities(batch, vectors[row : row + 1])[0], scores[row])


@pytest.mark.parametrize("cell", ["elman", "gru", "lstm"])
@torch.no_grad()
def test_a_rotation_keeps_most_words_before_any_training_and_a_random_start_does_not(cell: Any) -> None:
    """In 256 dimensions, of 40 words; with gates, the state also leaks past the rotation."""
    words = [f"w{number}" for number in range(40)]
    generator = torch.Generator().manual_seed(3)
    texts = [" ".join(words[place] for place in torch.randperm(40, generator=generator)[:4]) for _ in range(25)]
    right = {}
    for rotation in (True, False):
        torch.manual_seed(0)
        settings = text_autoencoder.Settings(field="text", embedding=64)
        model = autoencoder.Settings(cell=cell, hidden=256, size=256, rotation=rotation)
        examples = [{"text": " ".join(words)}]
        vocabularies = text_autoencoder.fit_vocabularies(examples, settings)
        task = text_autoencoder.build(settings, vocabularies, lambda size, model=model: autoencoder.build(model, size))
        assert isinstance(task, TextAutoEncoder)
        logits, truth = task.eval().logits(task.collate([{"text": text} for text in texts]))
        right[rotation] = float((logits.argmax(dim=1) == truth.values[truth.mask]).float().mean())
    assert right[True] > 0.9
    assert right[False] < 0.2


@torch.no_grad()
def test_the_decoder_sees_nothing_of_a_text_but_its_vector() -> None:
    task = build_task(size=8, cell="gru")
    vectors = task.encode(task.collate(EXAMPLES))
    assert vectors.shape == (len(EXAMPLES), 8)
    assert task.write(vectors.flip(0), 9, 1) == task.write(vectors, 9, 1)[::-1]


def test_writing_step_by_step_makes_no_mistake_where_teacher_forcing_makes_none() -> None:
    task = build_task(cell="gru", rotation=True)
    train(task, EXAMPLES, 25)
    task.loss(task.collate(EXAMPLES))
    noted, task._right = task._right[-len(EXAMPLES) :], []
    written = task.write(task.encode(task.collate(EXAMPLES)), 20, 1)
    assert [words == task.words(example) for words, example in zip(written, EXAMPLES, strict=True)] == noted


@pytest.mark.parametrize("kind", [KINDS[0], KINDS[1], KINDS[3]], ids=str)
@pytest.mark.parametrize("pieces", [None, 6])
def test_the_task_learns_sentences_by_heart(kind: dict[str, Any], pieces: int | None) -> None:
    task = build_task(task={"pieces": pieces}, **kind)
    assert train(task, EXAMPLES, 0) > 0.5
    assert train(task, EXAMPLES, 80, rate=0.02) < 0.02
    assert [record["prediction"] for record in decode(task, EXAMPLES)] == [task.words(ex)[0] for ex in EXAMPLES]


@pytest.mark.parametrize("rotation", [True, False])
def test_the_task_learns_documents_by_heart(rotation: bool) -> None:
    task = build_task(DOCUMENTS, document=40, cell="gru", rotation=rotation)
    assert train(task, DOCUMENTS, 0) > 0.5
    assert train(task, DOCUMENTS, 100) < 0.05
    found = decode(task, DOCUMENTS)
    assert [record["prediction"] for record in found] == [list(chain.from_iterable(task.words(ex))) for ex in DOCUMENTS]
    assert task.write(task.encode(task.collate(DOCUMENTS[:1])), 20, 6)[0] == task.words(DOCUMENTS[0])


def test_the_batch_size_changes_nothing() -> None:
    task = build_task(cell="gru", rotation=True)
    train(task, EXAMPLES, 10)
    together = decode(task, EXAMPLES)
    assert len({tuple(record["prediction"]) for record in together}) > 3
    for example, expected in zip(EXAMPLES, together, strict=True):
        alone = decode(task, [example])[0]
        assert alone["prediction"] == expected["prediction"]
        assert alone["vector"] == pytest.approx(expected["vector"], abs=2e-4)
        assert alone["order"] == expected["order"]


def test_rotation_needs_one_direction() -> None:
    with pytest.raises(ValueError, match="rotation is for an encoder that reads one way"):
        autoencoder.Settings(hidden=4, size=4, rotation=True, bidirectional=True)


def test_a_network_needs_an_embedding_and_a_peer_none() -> None:
    vocabularies = text_autoencoder.fit_vocabularies(EXAMPLES, text_autoencoder.Settings(field="text"))
    peer = bag_of_words.BagOfWords(bag_of_words.Settings())
    network = autoencoder.build(autoencoder.Settings(hidden=4, size=4), 1)
    with pytest.raises(InputError, match="leave it out for a peer"):
        text_autoencoder.build(text_autoencoder.Settings(field="text", embedding=4), vocabularies, lambda size: peer)
    with pytest.raises(InputError, match="set it for a network"):
        text_autoencoder.build(text_autoencoder.Settings(field="text"), vocabularies, lambda size: network)
    with pytest.raises(InputError, match="no field 'body'"):
        text_autoencoder.fit_vocabularies(EXAMPLES, text_autoencoder.Settings(field="body"))


# Pieces of words.


def test_pieces_are_merged_by_count_and_spell_unseen_words() -> None:
    counts = text_autoencoder.Counter({"abab": 3, "abc": 2, "cab": 1})
    pieces = text_autoencoder.learn_pieces(counts, 2)
    assert pieces[:6] == ["a", "b", "c", "▁a", "▁b", "▁c"]
    assert pieces[6:] == ["▁ab", "ab"]  # ▁a+b stands 5 times, then a+b 4 times
    task = build_task(task={"pieces": 4})
    spelled = task.symbols.decode(task.spell("window"))
    assert "".join(spelled) == "▁window" and len(spelled) > 1
    assert task.join(task.spell("window") + task.spell("the")) == ["window", "the"]
    assert task.symbols.decode(task.spell("wind☃w")) == [UNKNOWN]


def test_an_unknown_word_is_never_written_and_never_counts_as_right() -> None:
    task = build_task(cell="gru", rotation=True)
    unseen = [{"id": "7", "text": "xyzzy"}]
    train(task, unseen, 60)
    task._right = []
    logits, truth = task.logits(task.collate(unseen))
    assert logits.argmax(dim=1).tolist() == truth.values[truth.mask].tolist()  # it has learnt to say <unk>
    task.loss(task.collate(unseen))
    assert task._right == [False]
    record = decode(task, unseen)[0]
    assert record["target"] == ["xyzzy"] and UNKNOWN not in record["prediction"]


def test_long_training_texts_are_cut_to_a_stretch_drawn_anew() -> None:
    task = build_task(task={"longest": 3})
    generator = torch.Generator().manual_seed(0)
    drawn = [task.draw(EXAMPLES, generator) for _ in range(8)]
    assert all(example in EXAMPLES or task.size(example) == 3 for examples in drawn for example in examples)
    stretches = {examples[3]["text"] for examples in drawn}
    assert len(stretches) > 1 and stretches <= {"show the next", "the next page", "next page of", "page of results"}


# The order probe, neighbours, and the peer.


def test_the_probe_exchanges_two_different_words_of_one_sentence() -> None:
    text = [["close", "the", "door"], ["no", "no"]]
    swap = reconstruction.exchange(text)
    assert swap is not None
    words, other = swap
    assert words[0] != words[1] and other != text and other[1] == text[1]
    assert sorted(other[0]) == sorted(text[0])
    assert text == [["close", "the", "door"], ["no", "no"]]
    assert reconstruction.exchange([["no", "no"], ["yes"]]) is None


def test_a_bag_of_words_knows_the_order_exactly_half_of_the_time() -> None:
    records = decode(build_peer(), EXAMPLES)
    asked = [record["order"] for record in records if record["order"]]
    assert len(asked) == 4
    assert {order["outcome"] for order in asked} == {0.5}
    scores = metric.score(records, metric.Settings())
    assert scores["order_accuracy"] == 50.0
    # It has read just these texts, so their words' usual order gives the true one away: not by the vector.
    assert scores["order_accuracy_without_vector"] > 50.0


def test_a_trained_vector_knows_the_order() -> None:
    task = build_task(cell="gru", rotation=True)
    train(task, EXAMPLES, 100)
    assert metric.score(decode(task, EXAMPLES), metric.Settings())["order_accuracy"] == 100.0


def test_a_decoder_that_hears_of_no_vector_cannot_tell_equal_symbols_apart() -> None:
    task = build_task(cell="gru", rotation=True)
    record = decode(task, [{"id": "1", "text": "xyzzy plugh"}])[0]  # two unknown words exchanged are the same symbols
    assert record["order"] is not None and record["order"]["outcome"] == 0.5


def test_the_bag_writes_its_words_in_the_most_probable_order() -> None:
    task = build_peer()
    model = bag_of_words.BagOfWords(bag_of_words.Settings(beam=1000))
    model.restore(task.model.dump())  # type: ignore[attr-defined]
    for bag in ({"close": 1, "the": 2, "window": 1}, {"it": 1, "delete": 1, "no": 2}):
        words = [word for word, count in bag.items() for _ in range(count)]
        orders = {tuple(words[i] for i in order) for order in torch.cartesian_prod(*[torch.arange(4)] * 4).tolist()}
        lawful = [order for order in orders if sorted(order) == sorted(words)]
        best = max(model.log_probability(list(order)) for order in lawful)
        assert model.log_probability(model.write(bag)) == pytest.approx(best)
    assert model.encode(["the", "xyzzy", "the"]) == {"the": 2}
    narrow = bag_of_words.BagOfWords(bag_of_words.Settings(beam=4))
    narrow.restore(model.dump())
    words = task.words(EXAMPLES[3])[0]
    assert narrow.write(model.encode(words)) == words


def test_neighbours_are_the_nearest_other_texts() -> None:
    records = [
        {"id": "a", "target": ["x"], "vector": [1.0, 0.0]},
        {"id": "b", "target": ["x"], "vector": [1.0, 0.0]},
        {"id": "c", "target": ["y"], "vector": [3.0, 3.0]},
        {"id": "d", "target": ["z"], "vector": [0.0, 2.0]},
    ]
    completed = reconstruction.complete(records, reconstruction.Settings(neighbours=2))
    assert completed[0]["neighbours"] == [
        {"id": "c", "text": "y", "cosine": 0.7071},
        {"id": "d", "text": "z", "cosine": 0.0},
    ]
    assert [item["id"] for item in completed[3]["neighbours"]] == ["c", "a"]
    bags = [{"id": "a", "target": ["x"], "bag": {"x": 1}}, {"id": "b", "target": ["x", "y"], "bag": {"x": 1, "y": 1}}]
    nearest = reconstruction.complete(bags, reconstruction.Settings())[0]["neighbours"]
    assert nearest == [{"id": "b", "text": "x y", "cosine": 0.7071}]


def test_bags_are_compared_as_the_vectors_of_their_counts() -> None:
    counts = torch.randint(3, (20, 6), generator=torch.Generator().manual_seed(1)).tolist()
    counts[4] = [0] * 6  # of a text whose words training has not
    records = [{"id": str(place), "target": [str(place)]} for place in range(20)]
    settings = reconstruction.Settings(neighbours=19)
    completed = [
        reconstruction.complete([record | said for record, said in zip(records, parts, strict=True)], settings)
        for parts in (
            [{"bag": {word: count for word, count in zip("abcdef", row, strict=True) if count}} for row in counts],
            [{"vector": row} for row in counts],
        )
    ]
    bags, vectors = ([record["neighbours"] for record in made] for made in completed)
    assert bags == vectors and len(bags[4]) == 19


# The metric.


def record(target: str, prediction: str, outcome: float | None = 1.0) -> dict[str, Any]:
    order = None if outcome is None else {"outcome": outcome}
    return {"id": "1", "target": target.split(), "prediction": prediction.split(), "order": order}


def test_figures_count_texts_of_the_lengths_asked_for() -> None:
    records = [
        record("a b", "a b"),
        record("a b c d", "a b d", 0.0),
        record("a b c d e", "x a b c d e", 0.5),
        record("a", "z", None),
        record("a b c d e f", "z"),
    ]
    scores = metric.score(records, metric.Settings(fewest=2, most=5, bands=[3, 5]))
    assert scores["exact_match"] == pytest.approx(100 / 3)
    assert scores["token_accuracy"] == pytest.approx(100 * (1 - 2 / 12))
    assert scores["order_accuracy"] == 50.0
    assert scores["exact_match_2_to_3"] == 100 and scores["exact_match_4_to_5"] == 0
    assert scores["token_accuracy_4_to_5"] == pytest.approx(100 * (1 - 2 / 10))
    assert scores["exact_match_6_or_more"] == 0 and scores["token_accuracy_6_or_more"] == 0
    assert "order_accuracy_without_vector" not in scores


def test_the_metric_refuses_what_it_cannot_score() -> None:
    with pytest.raises(InputError, match="no text of 2 to 12 words"):
        metric.score([record("a", "a")], metric.Settings())
    with pytest.raises(InputError, match="no field 'order'"):
        metric.score([{"id": "1", "target": [], "prediction": []}], metric.Settings())
    with pytest.raises(ValueError, match="bands should rise"):
        metric.Settings(bands=[8, 4, 12])


def test_a_person_sees_a_text_and_what_its_vector_holds() -> None:
    task = build_task(cell="gru", rotation=True)
    train(task, EXAMPLES, 60)
    examples = task.read_input(io.StringIO("Close the door\n\n Open the window \n"))
    shown = [task.present(record) for record in decode(task, examples)]
    assert shown == ["close the door\n  close the door", "open the window\n  open the window"]


def test_a_persons_line_is_divided_into_sentences_for_two_levels() -> None:
    task = build_task(DOCUMENTS, document=40, cell="gru", rotation=True)
    examples = task.read_input(io.StringIO("Open the door.  Close it.\nClose it"))
    assert [task.words(example) for example in examples] == [
        [["open", "the", "door", "."], ["close", "it", "."]],
        [["close", "it"]],
    ]
