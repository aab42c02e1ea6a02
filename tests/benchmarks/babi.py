"""Error on the published bAbI tasks (Weston et al. 2015), 1k questions a task, trained on all twenty jointly.

    python tests/benchmarks/babi.py [--data data/prepared/babi] [--seeds 1 2 3] [--output FILE] [EXPERIMENT ...]

Reads the prepared data (900 training, 100 validation, 1,000 test questions a task; stages/datasets/babi.py says how to
come by them), trains each of EXPERIMENTS with each seed as stages/train.py does, on one thread, and scores it once on
test. Prints a row an experiment: mean over seeds of the mean error, of the tasks with an error above 5 % and of the CPU
seconds of a training; then the error by task. Settings were chosen on validation questions, with other seeds.

With ``--output``, every seed's scores are kept in FILE (JSON) as they come, and what stands there already is not run
again. The training is kept in a folder beside it, so that one that was killed goes on.

On 2026-11-28, on one core of an AMD EPYC that other work shared, seeds 1 to 3 (mean error in %, failed tasks, CPU
seconds of the three trainings together):

    memory_network           14.4 +- 0.2 (14.2, 14.5, 14.5)    9, 11, 11     390
    memory_network_2_hops    15.0 +- 0.7 (14.6, 15.8, 14.8)    10, 12, 10    348
    memory_network_1_hop     24.9 +- 0.1 (24.8, 25.0, 24.9)    15, 15, 15    297
    entity_network           30.9 +- 1.2 (29.6, 31.9, 31.2)    16, 17, 16    369
    transformer_reader       19.2 +- 0.5 (19.0, 19.8, 18.8)    15, 16, 14    472
"""

import argparse
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

from stages import evaluate
from stages.core import trainer
from stages.core.base import errors, files, params
from stages.core.learning import artifact
from stages.core.learning.dataset import Example, read_split
from stages.core.learning.task import read_training

TRAINING: dict[str, Any] = {
    "optimizer": "adamw",
    "learning_rate": 0.01,
    "schedule": "linear",
    "weight_decay": 0.1,
    "batch_size": 32,
    "bucket": 1,
    "epochs": 54,
    "clip_norm": 5.0,
}
READING: dict[str, Any] = {"name": "reading_comprehension", "linear_start": 0, "best": "accuracy"}
LINEAR = READING | {"linear_start": 2}
MEMORY: dict[str, Any] = {
    "name": "memory_network",
    "embedding_size": 50,
    "times": 64,
    "time_noise": 0.1,
    "rectified": 0.5,
    "dropout": 0.05,
}
EXPERIMENTS: dict[str, dict[str, Any]] = {
    "memory_network": {"task": LINEAR, "model": MEMORY | {"hops": 3}, "training": TRAINING},
    "memory_network_2_hops": {"task": LINEAR, "model": MEMORY | {"hops": 2}, "training": TRAINING},
    "memory_network_1_hop": {"task": LINEAR, "model": MEMORY | {"hops": 1}, "training": TRAINING},
    "entity_network": {
        "task": READING,
        "model": {"name": "entity_network", "blocks": 20, "embedding_size": 50, "words": 12, "dropout": 0.1},
        "training": TRAINING
        | {"learning_rate": 0.005, "weight_decay": 0.0, "batch_size": 64, "bucket": 20, "epochs": 12},
    },
    "transformer_reader": {
        "task": READING,
        "model": {"name": "transformer_reader", "width": 48, "layers": 3, "words": 12, "times": 64, "time_noise": 0.1},
        "training": TRAINING | {"learning_rate": 0.003, "batch_size": 64, "bucket": 20, "epochs": 15},
    },
}
METRIC = {"name": "accuracy", "target": "answer", "by": "kind", "failed_above": 5.0}


def run_seed(name: str, seed: int, examples: dict[str, list[Example]], work: Path) -> dict[str, float]:
    """Train and score one seed; gives the scores of ``METRIC``, and "cpu_seconds" of the training."""
    config = EXPERIMENTS[name]
    module, settings = params.load_part("task", config["task"], f"{name}.task")
    model, _ = params.load_part("model", config["model"], f"{name}.model")
    plan = read_training(model, {**config["training"], "seeds": [seed]}, f"{name}.training")
    vocabularies = module.fit_vocabularies(examples["train"], settings)
    trainer.seed_everything(seed)
    task = artifact.build_task(config, vocabularies, name)
    started = time.process_time()
    trainer.fit(task, examples["train"], examples["validation"], plan, seed, work / f"{name}_{seed}", f"{name} {seed}")
    seconds = time.process_time() - started
    decoder, decoder_settings = params.load_part("decoder", {"name": "argmax"}, "decoder")
    metric, metric_settings = params.load_part("metric", METRIC, "metric")
    records = evaluate.predict(task, examples["test"], decoder, decoder_settings)
    return {"cpu_seconds": round(seconds, 1), **metric.score(records, metric_settings)}


def table(results: dict[str, dict[str, dict[str, float]]]) -> str:
    """Write the rows of the results, which are by experiment and seed."""
    means = {
        name: {key: statistics.mean(scores[key] for scores in seeds.values()) for key in next(iter(seeds.values()))}
        for name, seeds in results.items()
    }
    lines = ["experiment                 seeds  error %    std  failed  CPU seconds"]
    for name, mean in means.items():
        rates = [scores["error_rate"] for scores in results[name].values()]
        spread = statistics.stdev(rates) if len(rates) > 1 else 0.0
        figures = f"{mean['error_rate']:8.1f} {spread:6.1f} {mean['failed_kinds']:7.1f} {mean['cpu_seconds']:12.0f}"
        lines.append(f"{name:26s} {len(rates):5d} {figures}")
    kinds = [key for key in next(iter(means.values())) if key.startswith("accuracy_")]
    lines += ["", "error % by task, in the order of the rows above"]
    for kind in kinds:
        figures = " ".join(f"{100 - mean[kind]:7.1f}" for mean in means.values())
        lines.append(f"{kind.removeprefix('accuracy_'):26s} {figures}")
    return "\n".join(lines)


def main() -> None:
    """Parse the command line, run what is asked for and print the table."""
    parser = argparse.ArgumentParser(description="Error on the published bAbI tasks.")
    parser.add_argument("experiments", metavar="EXPERIMENT", nargs="*", default=list(EXPERIMENTS))
    parser.add_argument("--data", type=Path, default=Path("data/prepared/babi"))
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--output", type=Path)
    arguments = parser.parse_intermixed_args()
    for name in arguments.experiments:
        if name not in EXPERIMENTS:
            raise errors.InputError(f"{name} is no experiment on bAbI{params.meant(name, EXPERIMENTS)}")
    trainer.prepare_process()
    examples = {split: read_split(arguments.data, split) for split in ("train", "validation", "test")}
    kept: dict[str, Any] = {}
    if arguments.output and arguments.output.exists():
        kept = files.read_json(arguments.output)
    with tempfile.TemporaryDirectory() as scratch:
        work = arguments.output.with_suffix(".work") if arguments.output else Path(scratch)
        for name in arguments.experiments:
            for seed in map(str, arguments.seeds):
                if seed not in kept.setdefault(name, {}):
                    kept[name][seed] = run_seed(name, int(seed), examples, work)
                    if arguments.output:
                        files.write_json(arguments.output, kept)
    print(table({name: {s: kept[name][s] for s in map(str, arguments.seeds)} for name in arguments.experiments}))


if __name__ == "__main__":
    errors.run(main)
