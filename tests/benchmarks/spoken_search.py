"""A spoken search by vectors beside one by dynamic time warping: time and precision by the number searched.

    python tests/benchmarks/spoken_search.py [EXPERIMENT] [PEER]

EXPERIMENT (default: speech_autoencoder_correspondence) is trained with its settings of params.yaml and its first seed,
or taken from data/checkpoints/EXPERIMENT where it is; PEER (default: speech_autoencoder_dtw_cosine) fits at once.
Both read data/prepared/spoken_words (``dvc repro prepare@spoken_words`` makes it). It all runs on one thread.

Queries are test recordings; searched are recordings of the corpus that are not in the test, 2,599 in all, or the first
so many of them in an order drawn once. More than there are is these again and again, for the time alone: neither
method's time depends on what is said.

A query's time begins with its normalised frames. By vectors that is: the network's vector of it, as the experiment's
decoder has it, and the search in the index of faiss. By DTW: its distances to all, by dtaidistance's routine in C, and
the ten least. What is searched is ready before in both: as vectors in the index, or as the frames of length 1 that
dtaidistance reads. Time is the processor's, so that other programs on the machine do not count.

Queries come one at a time, as from a person, or TOGETHER at a time, as from a list of terms; then the network reads all
of them at once, and dtaidistance has them in one call. The two methods take turns, ROUNDS times, and a ratio is the
median over the rounds. The precision at 10 is a mean over all test recordings as queries, then over those of words that
training never heard; what is searched is the same for both methods, and recordings of training are half of it.
"""

import json
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

from stages.core import trainer
from stages.core.base import params
from stages.core.base.errors import run
from stages.core.learning import artifact, dataset
from stages.core.learning.task import Training, read_training
from stages.datasets import spoken_words
from stages.decoding import embedding

FOUND, ROUNDS = 10, 3
TOGETHER, ALONE = 64, 10  # queries a round
SIZES = [100, 300, 1000]  # recordings searched, besides all
REPEATED = [4, 12]  # times all, for the time alone

DEFAULTS = ["speech_autoencoder_correspondence", "speech_autoencoder_dtw_cosine"]


def load(name: str) -> Any:
    """Give the trained task of an experiment, trained here where no checkpoint is."""
    experiment = params.choose(name, params.load().experiments, "experiment")
    folder = Path("data/checkpoints") / name / f"seed_{experiment.seeds[0]}"
    if (folder / "model.safetensors").is_file():
        return artifact.load(folder)
    data = Path("data/prepared") / experiment.dataset
    train, validation = (dataset.read_split(data, split) for split in ("train", "validation"))
    arrays = dataset.read_arrays(data)
    module, settings = params.load_part("task", experiment.task, "task")
    model, _ = params.load_part("model", experiment.model, "model")
    plan = read_training(model, experiment.training, "training")
    trainer.seed_everything(experiment.seeds[0])
    config = {"task": experiment.task, "model": experiment.model}
    task = artifact.build_task(config, module.fit_vocabularies(train, settings), name)
    task.attach(arrays)
    task.observe(train, arrays)
    with tempfile.TemporaryDirectory() as temporary:
        if isinstance(plan, Training):
            trainer.fit(task, train, validation, plan, experiment.seeds[0], Path(temporary), name)
        else:
            trainer.fit_peer(task, train, validation, Path(temporary), name)
    return task.eval()


class Vectors:
    """A search through the vectors of ``searched`` recordings."""

    def __init__(self, task: Any, decoder: embedding.Settings, searched: list[dict[str, Any]]) -> None:
        self.task = task
        self.whitening = embedding.Whitening(task.known_vectors().numpy(), decoder) if decoder.places else None
        starts = range(0, len(searched), TOGETHER)
        self.points = np.concatenate([self.encode(task.collate(searched[at : at + TOGETHER])) for at in starts])
        self.index: Any = None

    def hold(self, size: int) -> None:
        """Search so many recordings."""
        self.index = embedding.build_index(np.resize(self.points, (size, self.points.shape[1])))

    def encode(self, batch: Any) -> np.ndarray:
        """Give the vectors (batch, size)."""
        made: np.ndarray = self.task.vectors(batch).numpy()
        return self.whitening(made) if self.whitening else made

    def find(self, batch: Any) -> tuple[np.ndarray, list[float]]:
        """Give the places (batch, 10) found; and seconds of the vectors, and of the search."""
        began = time.process_time()
        made = self.encode(batch)
        between = time.process_time()
        places = embedding.search(self.index, made, FOUND)[1]
        return places, [between - began, time.process_time() - between]


class Warping:
    """A search through the frames of ``searched`` recordings."""

    def __init__(self, task: Any, searched: list[dict[str, Any]]) -> None:
        self.task = task
        self.segments = task.model.prepare(task.collate(searched)["segments"])
        self.held: list[np.ndarray] = []

    def hold(self, size: int) -> None:
        """Search so many recordings."""
        self.held = (self.segments * -(-size // len(self.segments)))[:size]

    def find(self, batch: Any) -> tuple[np.ndarray, list[float]]:
        """Give the places (batch, 10) found, and seconds."""
        began = time.process_time()
        distances = self.task.model.compare(self.task.model.prepare(batch["segments"]), self.held)
        places = distances.argsort(axis=1, kind="stable")[:, :FOUND]
        return places, [time.process_time() - began]


def measure(engines: tuple[Vectors, Warping], groups: list[list[dict[str, Any]]]) -> dict[str, float]:
    """Milliseconds a query of both, and their ratios; each of ``groups`` is asked together."""
    batches = [[engine.task.collate(examples) for examples in groups] for engine in engines]
    rounds = []
    for _ in range(ROUNDS + 1):
        turns = zip(engines, batches, strict=True)
        rounds.append(
            np.concatenate([np.sum([engine.find(one)[1] for one in queries], axis=0) for engine, queries in turns])
        )
    taken = np.array(rounds[1:])  # the first calls of all are slower; (rounds, 3): vector, search, DTW
    vector, search, warped = (1000 * np.median(taken, axis=0) / sum(map(len, groups))).round(3).tolist()
    return {
        "ms a query, vector": vector,
        "ms a query, search": search,
        "ms a query, DTW": warped,
        "DTW over vector and search": round(float(np.median(taken[:, 2] / taken[:, :2].sum(axis=1))), 1),
        "DTW over search alone": round(float(np.median(taken[:, 2] / taken[:, 1])), 1),
    }


def precision(engine: Vectors | Warping, words: np.ndarray, test: list[dict[str, Any]]) -> dict[str, float]:
    """Precision at 10 in percent, all ``test`` recordings being queries, where what is searched is of ``words``."""
    groups = [test[at : at + TOGETHER] for at in range(0, len(test), TOGETHER)]
    found = np.concatenate([engine.find(engine.task.collate(group))[0] for group in groups])
    hits = words[found] == np.array([example["word"] for example in test])[:, None]
    unseen = np.array([example["unseen"] for example in test])
    return {"all words": round(100 * hits.mean(), 2), "unseen words": round(100 * hits[unseen].mean(), 2)}


def main() -> None:
    """Print for each number of recordings searched the times of both, their ratios, and the precision of both."""
    network, peer = [*sys.argv[1:], *DEFAULTS[len(sys.argv) - 1 :]]
    trainer.prepare_process()
    data = Path("data/prepared/spoken_words")
    arrays, test = dataset.read_arrays(data), dataset.read_split(data, "test")
    _, digits, _ = spoken_words.read_arrays(spoken_words.archive(Path("data/raw/spoken_words")))
    tested = {example["recording"] for example in test}
    order = np.random.default_rng(1).permutation([n for n in range(len(digits)) if n not in tested])
    words, searched = digits[order].astype(str), [{"recording": number} for number in order.tolist()]
    tasks = load(network), load(peer)
    for task in tasks:
        task.attach(arrays)
    _, decoder = params.load_part("decoder", params.load().experiments[network].decoder, "decoder")
    report: dict[str, Any] = {}
    with torch.inference_mode():
        engines = Vectors(tasks[0], decoder, searched), Warping(tasks[1], searched)
        for size in [*SIZES, len(order), *(times * len(order) for times in REPEATED)]:
            for engine in engines:
                engine.hold(size)
            report[f"{size} searched"] = row = {
                "one at a time": measure(engines, [[example] for example in test[:ALONE]]),
                f"{TOGETHER} at a time": measure(engines, [test[:TOGETHER]]),
            }
            if size <= len(order):
                names = zip((network, peer), engines, strict=True)
                row["precision at 10 (%)"] = {name: precision(engine, words, test) for name, engine in names}
    print(json.dumps(report, indent=2))


if __name__ == "__main__":
    run(main)
