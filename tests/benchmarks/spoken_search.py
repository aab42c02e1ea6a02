"""Milliseconds a query of a spoken search by vectors, over dynamic time warping's, in one run on one thread.

    python tests/benchmarks/spoken_search.py [EXPERIMENT] [PEER]

EXPERIMENT (default: speech_autoencoder_correspondence) is trained with its settings of params.yaml and its first seed,
or taken from data/checkpoints/EXPERIMENT where it is; PEER (default: speech_autoencoder_dtw_cosine) fits at once.
Both read data/prepared/spoken_words (``dvc repro prepare@spoken_words`` makes it).

Queries are test recordings; searched are all recordings of the corpus that are not in the test, 2,716, and for the
precision at 10 the other test recordings. A query's time begins with its normalised frames. By vectors that is: the
network's vector of it, and the search in the index of faiss (made before, as a search engine would). By DTW: its
distances to all, by dtaidistance's routine in C, and the ten least. What is searched is read before in both.

Queries come one at a time, as from a person, or TOGETHER at a time, as from a list of terms; then the network reads all
of them at once, and dtaidistance has them in one call. The two methods take turns, ROUNDS times, and a ratio is the
median over the rounds. DTW's time grows with the number of recordings searched, that of the vector does not.
"""

import json
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

from stages import evaluate
from stages.core import artifact, dataset, params, roles, trainer
from stages.core.errors import run
from stages.core.task import Training, read_training
from stages.decoding import embedding
from stages.metrics import same_different

FOUND, ROUNDS = 10, 5
TOGETHER, ALONE = 64, 10  # queries a round

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
    module, settings = roles.load_part("task", experiment.task, "task")
    model, _ = roles.load_part("model", experiment.model, "model")
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


def precision(task: Any, examples: list[dict[str, Any]]) -> float:
    """Precision at 10 among the test recordings, as the pipeline scores it."""
    records = evaluate.predict(task, examples, embedding, embedding.Settings())
    return round(same_different.score(records, same_different.Settings())["precision_at_10"], 2)


def by_vectors(task: Any, index: Any, batches: list[Any]) -> tuple[float, float]:
    """Seconds of the vectors, and of the search."""
    vector = search = 0.0
    for batch in batches:
        began = time.perf_counter()
        made = task.vectors(batch).numpy()
        between = time.perf_counter()
        embedding.search(index, made, FOUND)
        vector += between - began
        search += time.perf_counter() - between
    return vector, search


def by_warping(task: Any, searched: list[np.ndarray], batches: list[Any]) -> float:
    """Seconds of the distances, and of finding the least."""
    began = time.perf_counter()
    for batch in batches:
        task.model.distances(batch["segments"], searched).argsort(axis=1, kind="stable")[:, :FOUND]
    return time.perf_counter() - began


def main() -> None:
    """Print milliseconds a query of both, their ratios, and both precisions."""
    network, peer = [*sys.argv[1:], *DEFAULTS[len(sys.argv) - 1 :]]
    trainer.prepare_process()
    data = Path("data/prepared/spoken_words")
    arrays, test = dataset.read_arrays(data), dataset.read_split(data, "test")
    tested = {example["recording"] for example in test}
    searched = [{"recording": number} for number in range(len(arrays["offsets"]) - 1) if number not in tested]
    vectors, warping = load(network), load(peer)
    for task in (vectors, warping):
        task.attach(arrays)
    result: dict[str, Any] = {"recordings searched": len(searched)}
    with torch.inference_mode():
        made = [vectors.vectors(vectors.collate(searched[start : start + 64])) for start in range(0, len(searched), 64)]
        index = embedding.build_index(torch.cat(made).numpy())
        segments = warping.collate(searched)["segments"]
        groups = {"one at a time": [[e] for e in test[:ALONE]], f"{TOGETHER} at a time": [test[:TOGETHER]]}
        for how, group in groups.items():
            asked = sum(map(len, group))
            queries, raw = ([task.collate(examples) for examples in group] for task in (vectors, warping))
            by_vectors(vectors, index, queries)  # the first calls of all are slower
            rounds = [(*by_vectors(vectors, index, queries), by_warping(warping, segments, raw)) for _ in range(ROUNDS)]
            vector, search, warped = (1000 / asked * statistics.median(column) for column in zip(*rounds, strict=True))
            result[f"queries {how}"] = {
                "ms a query, vector": round(vector, 3),
                "ms a query, search": round(search, 3),
                "ms a query, DTW": round(warped, 3),
                "DTW over vector and search": round(statistics.median(d / (v + s) for v, s, d in rounds), 1),
                "DTW over search alone": round(statistics.median(d / s for _, s, d in rounds), 1),
            }
        result["precision at 10 (%)"] = {
            name: precision(task, test) for name, task in ((network, vectors), (peer, warping))
        }
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    run(main)
