"""Speech auto-encoder: vectors that do not depend on padding, targets by kind of training, peers, and a search."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch

from stages.core import trainer
from stages.core.base.errors import InputError
from stages.core.learning import artifact
from stages.core.learning.batch import Padded
from stages.core.learning.dataset import Example
from stages.core.learning.task import Training
from stages.decoding import embedding
from stages.models import downsampling, dynamic_time_warping, mean_pooling, segment_autoencoder
from stages.tasks import speech_autoencoder
from stages.tasks.speech_autoencoder import Pretraining, SpeechVectors

CELLS = ["elman", "gru", "lstm"]
NETWORK = {"name": "segment_autoencoder", "hidden": 16, "vector_size": 8}
DTW = {"name": "dynamic_time_warping"}
PEERS = [{"name": "mean_pooling"}, {"name": "downsampling", "frames": 4}, DTW]


def make() -> tuple[list[Example], dict[str, np.ndarray]]:
    """12 recordings of 3 words: a word is a curve through 13 dimensions, said at several speeds and with noise."""
    draw = np.random.default_rng(1)
    curves = draw.normal(size=(3, 5, 13))
    recorded, examples = [], []
    for number in range(12):
        frames = downsampling.downsample(curves[number % 3], int(draw.integers(6, 12)))
        recorded.append(3 + 2 * frames + 0.3 * draw.normal(size=frames.shape))
        examples.append({"id": str(number), "recording": number, "word": str(number % 3), "partner": (number + 3) % 12})
    offsets = np.cumsum([0, *map(len, recorded)])
    features = np.concatenate(recorded).astype(np.float32)
    return examples, {"features": features, "offsets": offsets, "test_recordings": np.arange(5)}


EXAMPLES, ARRAYS = make()


def configured(model: dict[str, Any] = NETWORK, **task: Any) -> dict[str, Any]:
    return {"task": {"name": "speech_autoencoder", "known": 2, **task}, "model": model}


def built(model: dict[str, Any] = NETWORK, **task: Any) -> Any:
    torch.manual_seed(0)
    vocabularies = speech_autoencoder.fit_vocabularies(EXAMPLES, speech_autoencoder.Settings())
    made = artifact.build_task(json.loads(json.dumps(configured(model, **task))), vocabularies, "x")
    assert isinstance(made, SpeechVectors)
    made.attach(ARRAYS)
    made.observe(EXAMPLES, ARRAYS)
    return made.eval()


def plan(epochs: int, rate: float = 0.01) -> Training:
    return Training(seeds=[1], learning_rate=rate, schedule="linear", batch_size=4, epochs=epochs, clip_norm=5.0)


def values(part: Any) -> torch.Tensor:
    assert isinstance(part, Padded)
    return part.values


# The network.


@pytest.mark.parametrize(("cell", "places"), [(cell, places) for cell in CELLS for places in (0, 4)])
@torch.no_grad()
def test_padding_changes_no_vector_and_no_rebuilt_frame(cell: str, places: int) -> None:
    task = built(NETWORK | {"cell": cell, "places": places})
    together = task.vectors(task.collate(EXAMPLES))
    alone = torch.cat([task.vectors(task.collate([example])) for example in EXAMPLES])
    assert torch.allclose(together, alone, atol=1e-6)
    rebuilt = task.model.decode(together[:2], torch.tensor([5, 9]))
    assert torch.allclose(rebuilt[0, :5], task.model.decode(together[:1], torch.tensor([5]))[0], atol=1e-6)


def test_places_run_from_the_first_to_the_last_real_step() -> None:
    values = torch.arange(12.0).view(2, 6, 1)
    read = segment_autoencoder.read_at(values, torch.tensor([5, 1]), 3)
    assert read[:, :, 0].tolist() == [[0, 2, 4], [6, 6, 6]]
    assert segment_autoencoder.read_at(values, torch.tensor([2, 6]), 3)[:, :, 0].tolist() == [[0, 0.5, 1], [6, 8.5, 11]]
    with pytest.raises(ValueError, match="vector_size 100 should be a multiple of places, 7"):
        segment_autoencoder.Settings(hidden=4, places=7)


def test_positions_run_from_the_first_to_the_last_frame() -> None:
    places = segment_autoencoder.positions(torch.tensor([1, 3]), 2)
    assert places.shape == (2, 3, 4)
    assert torch.allclose(places[1, :, 2], torch.tensor([1.0, 0.0, -1.0]), atol=1e-6)  # cos(pi x)
    assert places[0, 0].tolist() == [0, 0, 1, 1]


@pytest.mark.parametrize("cell", CELLS)
def test_it_learns_to_rebuild_a_batch_that_an_untrained_one_cannot(cell: str) -> None:
    task = built({"name": "segment_autoencoder", "hidden": 32, "vector_size": 32, "cell": cell})
    batch = task.collate(EXAMPLES)
    assert task.loss(batch)[0] > 0.9
    optimizer = torch.optim.Adam(task.parameters(), lr=0.01)
    for _ in range(120):
        optimizer.zero_grad()
        task.loss(batch)[0].backward()
        torch.nn.utils.clip_grad_norm_(task.parameters(), 1.0)
        optimizer.step()
    assert task.loss(batch)[0] < 0.3


def test_centring_takes_off_what_a_whole_recording_shares() -> None:
    louder = ARRAYS | {"features": ARRAYS["features"] + np.float32(7)}
    for centre, same in ((True, True), (False, False)):
        task = built(centre=centre)
        before = values(task.collate(EXAMPLES)["frames"])
        task.attach(louder)
        assert torch.allclose(before, values(task.collate(EXAMPLES)["frames"]), atol=1e-4) is same


def test_unit_frames_have_their_direction_alone() -> None:
    task = built(centre=False, unit_frames=True)
    task.mean.zero_()
    frames = task.collate(EXAMPLES)["frames"]
    assert torch.allclose(frames.values[frames.mask].square().mean(dim=1), torch.ones(int(frames.lengths.sum())))
    task.attach(ARRAYS | {"features": 3 * ARRAYS["features"]})
    assert torch.allclose(frames.values, values(task.collate(EXAMPLES)["frames"]), atol=1e-5)


# Targets.


def test_noise_falls_on_the_input_in_training_alone() -> None:
    task = built(noise=0.5, frame_dropout=0.3)
    clean = task.collate(EXAMPLES)
    assert torch.equal(values(clean["frames"]), values(clean["target"]))
    noisy = task.train().collate(EXAMPLES)
    assert torch.equal(values(noisy["target"]), values(clean["target"]))
    frames = noisy["frames"]
    changed = (frames.values - values(clean["frames"]))[frames.mask]
    dropped = (frames.values[frames.mask] == 0).all(dim=1).float().mean()
    assert 0.1 < dropped < 0.5 and 0.3 < changed.std() < 1


def test_stretch_changes_lengths_of_inputs_alone() -> None:
    task = built(stretch=0.4).train()
    batch = task.collate(EXAMPLES)
    assert torch.equal(batch["target"].lengths, torch.tensor([task.size(example) for example in EXAMPLES]))
    assert not torch.equal(batch["frames"].lengths, batch["target"].lengths)
    line = torch.arange(4.0)[:, None].expand(4, 13)
    assert speech_autoencoder.stretched(line, 7)[:, 0].tolist() == [0, 0.5, 1, 1.5, 2, 2.5, 3]


def test_partners_are_other_recordings_of_the_same_word() -> None:
    task = built(correspondence=True)
    word = {example["recording"]: example["word"] for example in EXAMPLES}
    met = set()
    for seed in range(20):
        drawn = task.draw(EXAMPLES, torch.Generator().manual_seed(seed))
        assert sorted(example["recording"] for example in drawn) == list(range(12))
        for example in drawn:
            assert example["partner"] != example["recording"] and word[example["partner"]] == example["word"]
            met.add((example["recording"], example["partner"]))
    assert len(met) == 12 * 3
    assert task.draw(EXAMPLES[:1], torch.Generator())[0]["partner"] == 0  # alone of its word


def test_the_target_is_the_recording_itself_in_pretraining_and_the_partner_after_it() -> None:
    task = built(correspondence=True, pretraining={"epochs": 1, "learning_rate": 0.01})
    task.plan = plan(2)
    first, again = EXAMPLES[:2], [{"recording": example["partner"]} for example in EXAMPLES[:2]]
    itself, partner = (values(task.collate(examples)["frames"]) for examples in (first, again))
    assert task.pretrains and torch.equal(values(task.collate(first)["target"]), itself)
    assert task.draw(EXAMPLES, torch.Generator()) is EXAMPLES
    task.current_epoch = 1
    assert not task.pretrains and torch.equal(values(task.collate(first)["target"]), partner)
    assert not built(correspondence=True).pretrains


def test_pretraining_starts_the_correspondence_and_is_never_the_best_epoch(tmp_path: Path) -> None:
    trainer.prepare_process()
    task = built(correspondence=True, noise=0.2, pretraining={"epochs": 3, "learning_rate": 0.02})
    trainer.fit(task, EXAMPLES, EXAMPLES, plan(5), 1, tmp_path, "x")
    head, *rows = (tmp_path / "learning_curve.csv").read_text().splitlines()
    columns = dict(zip(head.split(","), zip(*(row.split(",") for row in rows), strict=True), strict=True))
    for early, late in (("validation_autoencoder", "validation_average_precision"),):
        assert all(columns[early][:3]) and not any(columns[early][3:])
        assert [figure in ("", "nan") for figure in columns[late]] == [True, True, True, False, False]
    best = torch.load(tmp_path / "best.ckpt", weights_only=False)
    assert best["epoch"] >= 3
    assert float(columns["training_autoencoder"][2]) < float(columns["training_autoencoder"][0])


def test_the_same_seed_gives_the_same_bits(tmp_path: Path) -> None:
    trainer.prepare_process()
    states = []
    for name in ("one", "two"):
        task = built(correspondence=True, noise=0.2, stretch=0.2, frame_dropout=0.1)
        trainer.fit(task, EXAMPLES, EXAMPLES, plan(2), 7, tmp_path / name, "x")
        states.append(task.state_dict())
    assert all(torch.equal(value, states[1][name]) for name, value in states[0].items())


def test_a_correspondence_without_epochs_and_a_pretraining_without_correspondence_are_errors() -> None:
    task = built(correspondence=True, pretraining={"epochs": 4, "learning_rate": 0.01})
    with pytest.raises(InputError, match=r"training\.epochs is 4, of which task\.pretraining\.epochs takes 4"):
        task.prepare_training(plan(4), EXAMPLES, EXAMPLES)
    with pytest.raises(ValueError, match="unless correspondence is true"):
        speech_autoencoder.Settings(pretraining=Pretraining(epochs=1, learning_rate=0.1))


# Peers.


def test_the_mean_knows_no_order_and_downsampling_does() -> None:
    frames = np.random.default_rng(1).normal(size=(6, 13))
    mean = mean_pooling.build(mean_pooling.Settings(), 13).vectors([frames, frames[::-1]])
    assert np.allclose(mean[0], mean[1]) and np.allclose(mean[0], frames.mean(axis=0))
    kept = downsampling.build(downsampling.Settings(frames=6), 13).vectors([frames, frames[::-1], frames[:1]])
    assert np.allclose(kept[0], frames.ravel()) and not np.allclose(kept[0], kept[1])
    assert np.allclose(kept[2], np.tile(frames[0], 6))


@pytest.mark.parametrize("distance", ["cosine", "euclidean"])
def test_warping_is_the_cheapest_path_by_the_textbook(distance: Any) -> None:
    draw = np.random.default_rng(3)
    segments = [draw.normal(size=(length, 13)) for length in (1, 4, 7, 5)]
    peer = dynamic_time_warping.build(dynamic_time_warping.Settings(distance=distance), 13)
    found = peer.distances(segments[:3], segments[1:])
    for row, one in enumerate(segments[:3]):
        for column, other in enumerate(segments[1:]):
            assert found[row, column] == pytest.approx(cheapest(one, other, distance) / (len(one) + len(other)))


def cheapest(one: np.ndarray, other: np.ndarray, distance: str) -> float:
    """The cost of the best path, by the recurrence over all pairs of frames."""
    best = np.full((len(one) + 1, len(other) + 1), np.inf)
    best[0, 0] = 0
    for i, a in enumerate(one):
        for j, b in enumerate(other):
            cosine = 1 - a @ b / np.linalg.norm(a) / np.linalg.norm(b)
            cost = cosine if distance == "cosine" else np.linalg.norm(a - b)
            best[i + 1, j + 1] = cost + min(best[i, j], best[i, j + 1], best[i + 1, j])
    return float(best[-1, -1])


@pytest.mark.parametrize("model", PEERS)
def test_a_peer_has_one_row_of_a_curve_with_its_average_precision(model: dict[str, Any], tmp_path: Path) -> None:
    task = built(model)
    assert set(trainer.fit_peer(task, EXAMPLES, EXAMPLES, tmp_path, "x")) == {"seconds"}
    head, row = (tmp_path / "learning_curve.csv").read_text().splitlines()
    scores = dict(zip(head.split(","), row.split(","), strict=True))
    assert scores["validation_loss"] == ""
    assert float(scores["validation_average_precision"]) > (30 if model["name"] == "mean_pooling" else 80)


# Search, files, and what a person sees.


@pytest.mark.parametrize("model", [NETWORK, *PEERS])
def test_its_files_give_it_back_with_the_recordings_that_it_knows(model: dict[str, Any], tmp_path: Path) -> None:
    task = built(model, centre=False)
    artifact.save(tmp_path, task, configured(model, centre=False))
    again: Any = artifact.load(tmp_path)
    assert [example["id"] for example in again.known] == ["0", "3", "1", "4", "2", "5"]
    unheard = [{"id": "x", "features": ARRAYS["features"][:8]}]
    with torch.inference_mode():
        found = [embedding.decode(one, one.collate(unheard), embedding.Settings()) for one in (task, again)]
    assert found[0][0]["nearest"] == found[1][0]["nearest"]
    assert found[0][0].get("vector") == found[1][0].get("vector")
    assert "distances" not in found[1][0]


@torch.inference_mode()
def test_the_index_finds_what_all_cosines_say() -> None:
    task = built()
    records = embedding.decode(task, task.collate(EXAMPLES), embedding.Settings(nearest=3))
    known = torch.cat([task.vectors(task.collate([example])) for example in task.known])
    for example, record in zip(EXAMPLES, records, strict=True):
        cosines = torch.cosine_similarity(torch.tensor(record["vector"]), known)
        best = cosines.sort(descending=True)
        assert [near["cosine"] for near in record["nearest"]] == pytest.approx(best.values[:3].tolist(), abs=1e-4)
        assert [near["id"] for near in record["nearest"]] == [task.known[i]["id"] for i in best.indices[:3].tolist()]
        if example in EXAMPLES[:6]:  # these it knows
            assert record["nearest"][0]["id"] == example["id"]


@torch.inference_mode()
def test_without_vectors_recordings_are_compared_with_all_of_the_test() -> None:
    task = built(DTW)
    records = embedding.decode(task, task.collate(EXAMPLES), embedding.Settings(nearest=2))
    for example, record in zip(EXAMPLES[:5], records, strict=False):
        assert len(record["distances"]) == 5 and "vector" not in record
        assert record["distances"][example["recording"]] == 0
        assert record["nearest"][0] == {"id": example["id"], "word": example["word"], "distance": 0.0}


def test_a_recording_of_a_person_gives_a_vector_and_its_neighbours(tmp_path: Path) -> None:
    task = built()
    seconds = np.arange(4000) / 8000
    soundfile.write(tmp_path / "said.wav", 0.3 * np.sin(2 * np.pi * 300 * seconds * (1 + seconds)), 8000)
    np.save(tmp_path / "said.npy", ARRAYS["features"][:8])
    for name in ("said.wav", "said.npy"):
        (example,) = task.read_input(tmp_path / name)
        with torch.inference_mode():
            (record,) = embedding.decode(task, task.collate([example]), embedding.Settings(nearest=2))
        lines = task.present(example | record).splitlines()
        assert lines[0] == "said" and lines[1].startswith("  vector of 8 dimensions: ") and len(lines) == 4
        assert lines[2].startswith("  cosine ") and "of the word" in lines[2]


def test_input_that_is_no_speech_is_an_error(tmp_path: Path) -> None:
    task = built()
    np.save(tmp_path / "narrow.npy", np.zeros((4, 12)))
    np.save(tmp_path / "broken.npy", np.full((4, 13), np.nan))
    (tmp_path / "text.npy").write_text("no array")
    for name, sentence in (
        ("narrow.npy", r"shape \(4, 12\); it should be \(frames, 13\)"),
        ("broken.npy", "no finite numbers"),
        ("text.npy", r"no \.npy file of frames"),
    ):
        with pytest.raises(InputError, match=sentence):
            task.read_input(tmp_path / name)
    with pytest.raises(InputError, match=r"read from a file: give the path of a \.wav"):
        task.read_input(open(tmp_path / "text.npy"))  # noqa: PTH123, SIM115
    with pytest.raises(InputError, match="40 coefficients a frame; this task needs 13"):
        task.attach({"features": np.zeros((3, 40))})


def test_whitening_makes_the_features_of_a_place_uncorrelated_and_of_equal_variance(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(embedding, "SHRINKAGE", 0.0)
    draw = np.random.default_rng(1)
    known = (2 + draw.normal(size=(50, 4, 3)) @ draw.normal(size=(3, 3))).reshape(50, 12).astype(np.float32)
    white = embedding.Whitening(known, embedding.Settings(places=4))(known).reshape(-1, 3)
    assert np.allclose(np.cov(white.T), np.eye(3), atol=1e-4) and np.allclose(white.mean(axis=0), 0, atol=1e-4)


def test_whitening_is_the_same_at_every_place_and_blur_mixes_neighbours() -> None:
    known = np.random.default_rng(1).normal(size=(50, 12)).astype(np.float32)
    early, late, far = np.zeros((3, 4, 3), np.float32)
    early[0], late[1], far[3] = [1, 2, 3], [1, 2, 3], [1, 2, 3]
    for blur in (0.0, 1.0):
        whitening = embedding.Whitening(known, embedding.Settings(places=4, blur=blur))
        nothing, *rows = whitening(np.stack([np.zeros((4, 3), np.float32), early, late, far]).reshape(4, 12))
        said = [(row - nothing).reshape(4, 3) for row in rows]
        if not blur:
            assert np.allclose(said[0][0], said[1][1], atol=1e-5) and np.allclose(said[0][1:], 0, atol=1e-5)
        near, apart = (np.sum(said[0] * other) / np.linalg.norm(other) for other in said[1:])
        assert bool(near > 2 * apart > 0) == bool(blur)


@torch.inference_mode()
def test_a_search_compares_whitened_vectors() -> None:
    task = built()
    (plain,), (white,) = (
        embedding.decode(task, task.collate(EXAMPLES[:1]), embedding.Settings(nearest=2, places=places))
        for places in (0, 4)
    )
    known = task.known_vectors().numpy()
    expected = embedding.Whitening(known, embedding.Settings(places=4))(known)
    assert white["vector"] == pytest.approx(expected[0].tolist(), abs=1e-4)
    assert white["vector"] != pytest.approx(plain["vector"], abs=1e-2)
    assert white["nearest"][0] == {"id": "0", "word": "0", "cosine": pytest.approx(1, abs=1e-4)}
    cosines = torch.cosine_similarity(torch.tensor(expected[:1]), torch.tensor(expected)).sort(descending=True)
    assert white["nearest"][1]["cosine"] == pytest.approx(float(cosines.values[1]), abs=1e-4)
    assert white["nearest"][1]["id"] == task.known[int(cosines.indices[1])]["id"]


def test_places_that_do_not_fit_are_errors() -> None:
    with pytest.raises(InputError, match=r"decoder\.places is 3; vectors of 8 dimensions should be a multiple of it"):
        embedding.Whitening(np.ones((2, 8), np.float32), embedding.Settings(places=3))
    with pytest.raises(ValueError, match="blur is over neighbouring places, and places is 1"):
        embedding.Settings(places=1, blur=0.5)


def test_a_vector_of_zeros_has_no_neighbours() -> None:
    with pytest.raises(InputError, match="no direction to compare"):
        embedding.build_index(np.zeros((2, 3)))
