"""Evaluate one trained experiment on its test data: ``python -m stages.evaluate EXPERIMENT``.

Reads data/checkpoints/<experiment> and data/prepared/<dataset>; writes

- data/predictions/<experiment>/seed_<n>.jsonl: every test example with its target and prediction,
- data/predictions/<experiment>/trace.json, for a recurrent network: what its gates do as it reads one test example,
- data/metrics/<experiment>.json: mean, standard deviation over the seeds, and every seed's figure; the number of
  parameters, and how many of them are the model's, between embedding and output layer,
- data/curves/<experiment>.csv: learning curves, a row an epoch and seed.
"""

import argparse
import statistics
from pathlib import Path
from types import ModuleType
from typing import Any

import torch

from stages.core.base import errors, files, params
from stages.core.base.params import Experiment
from stages.core.learning import artifact, dataset
from stages.core.learning.dataset import Example
from stages.core.learning.task import Task

CHECKPOINTS, PREDICTIONS = Path("data/checkpoints"), Path("data/predictions")
METRICS, CURVES = Path("data/metrics"), Path("data/curves")
BATCH = 64  # fixed, so that a batch's rounding is the same everywhere


def predict(task: Task, examples: list[Example], decoder: ModuleType, settings: Any) -> list[dict[str, Any]]:
    """Decode ``examples``, batched by length; gives a record (example and decoder's output) each, in order.

    A decoder that compares examples with each other has ``complete``, which is given all records.
    """
    order = sorted(range(len(examples)), key=lambda index: task.size(examples[index]))
    records: dict[int, dict[str, Any]] = {}
    with torch.inference_mode():
        for start in range(0, len(order), BATCH):
            chosen = order[start : start + BATCH]
            batch = task.collate([examples[index] for index in chosen])
            decoded = decoder.decode(task, batch, settings)
            records |= {index: examples[index] | said for index, said in zip(chosen, decoded, strict=True)}
    found = [records[index] for index in range(len(examples))]
    return decoder.complete(found, settings) if hasattr(decoder, "complete") else found


def summarise(scores: dict[str, dict[str, float]]) -> dict[str, dict[str, float]]:
    """Turn {"seed_1": {metric: figure}} into {metric: {"mean", "std", "seed_1"}}; one seed has a deviation of 0."""
    summary = {}
    for metric in next(iter(scores.values())):
        figures = {seed: round(values[metric], 6) for seed, values in scores.items()}
        spread = statistics.stdev(figures.values()) if len(figures) > 1 else 0.0
        summary[metric] = {"mean": round(statistics.mean(figures.values()), 6), "std": round(spread, 6), **figures}
    return summary


def join_curves(curves: dict[str, str]) -> str:
    """Join the seeds' learning curves (CSV: epoch, then a column a score), the seed as a second column."""
    lines: list[str] = []
    for seed, curve in curves.items():
        header, *rows = [line.split(",", 1) for line in curve.splitlines()]
        lines += [] if lines else [f"{header[0]},seed,{header[1]}\n"]
        lines += [f"{epoch},{seed},{scores}\n" for epoch, scores in rows]
    return "".join(lines)


def evaluate(name: str, experiment: Experiment) -> None:
    """Predict and score every seed; the outputs appear when all are done."""
    where = f"experiments.{name}"
    decoder, decoder_settings = params.load_part("decoder", experiment.decoder, f"{where}.decoder")
    metric, metric_settings = params.load_part("metric", experiment.metric, f"{where}.metric")
    data = Path("data/prepared") / experiment.dataset
    examples, arrays = dataset.read_split(data, "test"), dataset.read_arrays(data)
    scores: dict[str, dict[str, float]] = {}
    curves: dict[str, str] = {}
    with files.whole_folder(PREDICTIONS / name) as out:
        for seed in experiment.seeds:
            folder = CHECKPOINTS / name / f"seed_{seed}"
            task = artifact.load(folder)
            task.attach(arrays)
            records = predict(task, examples, decoder, decoder_settings)
            scores[f"seed_{seed}"] = metric.score(records, metric_settings)
            files.write_jsonl(out / f"seed_{seed}.jsonl", records)
            if len(scores) == 1:
                with torch.inference_mode():
                    trace = task.trace(task.most_telling(examples))
                if trace:
                    files.write_json(out / "trace.json", trace)
            curves[f"seed_{seed}"] = files.read_text(folder / "learning_curve.csv")
            figures = "  ".join(f"{metric} {value:.2f}" for metric, value in scores[f"seed_{seed}"].items())
            print(f"{name}  seed {seed}  {figures}", flush=True)
    files.write_text(CURVES / f"{name}.csv", join_curves(curves))
    # Of the last seed: to count what a CRF fitted takes a second.
    parts = {"parameters": task, "model_parameters": task.get_submodule("model")}
    counts = {name: artifact.count_parameters(part) for name, part in parts.items()}
    files.write_json(METRICS / f"{name}.json", {**summarise(scores), **counts})


def main() -> None:
    """Parse the command line and evaluate."""
    parser = argparse.ArgumentParser(description="Evaluate one trained experiment on its test data.")
    parser.add_argument("experiment", help="a key of experiments in params.yaml")
    name = parser.parse_args().experiment
    experiment = params.choose(name, params.load().experiments, "experiment")
    torch.set_num_threads(1)
    evaluate(name, experiment)


if __name__ == "__main__":
    errors.run(main)
