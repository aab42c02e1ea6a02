"""Train one experiment over its seeds: ``python -m stages.train EXPERIMENT``.

Reads data/prepared/<dataset>; writes data/checkpoints/<experiment>/seed_<n>/ (model.safetensors, config.json,
vocabulary.json, learning_curve.csv) and data/timings/<experiment>.json. A killed training goes on where it was when it
is started again with the same settings, data and code: until it ends, its state lies in data/resume/<experiment>.
"""

import argparse
import hashlib
import json
import shutil
import sys
from pathlib import Path
from typing import Any

import torch

from stages.core import trainer
from stages.core.base import errors, files, params
from stages.core.base.params import Experiment
from stages.core.learning import artifact, dataset
from stages.core.learning.task import Training, read_training

CHECKPOINTS, TIMINGS, RESUME = Path("data/checkpoints"), Path("data/timings"), Path("data/resume")


def fingerprint(experiment: Experiment, data: Path) -> str:
    """Hash all that decides the outcome: settings, prepared data, the loaded code of this package, torch's version."""
    digest = hashlib.sha256(torch.__version__.encode())
    digest.update(json.dumps([experiment.task, experiment.model, experiment.training]).encode())
    code = [
        Path(module.__file__) for name, module in sys.modules.items() if name.startswith("stages.") and module.__file__
    ]
    for path in [*sorted(data.iterdir()), *sorted(code)]:
        digest.update(path.name.encode() + hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()[:16]


def train(name: str, experiment: Experiment) -> None:
    """Train every seed in turn; the outputs appear when all are done."""
    where = f"experiments.{name}"
    module, settings = params.load_part("task", experiment.task, f"{where}.task")
    model, _ = params.load_part("model", experiment.model, f"{where}.model")
    plan = read_training(model, experiment.training, f"{where}.training")
    data = Path("data/prepared") / experiment.dataset
    examples = {split: dataset.read_split(data, split) for split in ("train", "validation")}
    for split in getattr(settings, "further_splits", []):
        examples["train"] += dataset.read_split(data, split)
    arrays = dataset.read_arrays(data)
    vocabularies = module.fit_vocabularies(examples["train"], settings)
    config: dict[str, Any] = {"experiment": name, "dataset": experiment.dataset}
    config |= {"task": experiment.task, "model": experiment.model, "training": experiment.training}
    work = RESUME / name / fingerprint(experiment, data)
    for seed in experiment.seeds:
        folder = work / f"seed_{seed}"
        if (folder / "timing.json").exists():
            continue
        if not isinstance(plan, Training) and seed != experiment.seeds[0]:
            copy_peer(work / f"seed_{experiment.seeds[0]}", folder, config | {"seed": seed})
            continue
        trainer.seed_everything(seed)
        task = artifact.build_task(config, vocabularies, where)
        task.attach(arrays)
        task.observe(examples["train"], arrays)
        label = f"{name}  seed {seed} of {experiment.seeds}"
        splits = examples["train"], examples["validation"]
        if isinstance(plan, Training):
            timing = trainer.fit(task, *splits, plan, seed, folder / "state", label)
        else:
            timing = trainer.fit_peer(task, *splits, folder / "state", label)
        artifact.save(folder / "model", task, config | {"seed": seed})
        shutil.copy(folder / "state" / "learning_curve.csv", folder / "model")
        files.write_json(folder / "timing.json", timing)
        shutil.rmtree(folder / "state")
    with files.whole_folder(CHECKPOINTS / name) as out:
        for seed in experiment.seeds:
            shutil.copytree(work / f"seed_{seed}" / "model", out / f"seed_{seed}")
    timings = {f"seed_{seed}": files.read_json(work / f"seed_{seed}" / "timing.json") for seed in experiment.seeds}
    files.write_json(TIMINGS / f"{name}.json", timings)
    shutil.rmtree(RESUME / name)


def copy_peer(fitted: Path, folder: Path, config: dict[str, Any]) -> None:
    """Take over a peer that was fitted for another seed: it draws nothing, so it is the same for each."""
    shutil.copytree(fitted / "model", folder / "model", dirs_exist_ok=True)
    files.write_json(folder / "model" / "config.json", config)
    shutil.copy(fitted / "timing.json", folder)


def main() -> None:
    """Parse the command line and train."""
    parser = argparse.ArgumentParser(description="Train one experiment over its seeds.")
    parser.add_argument("experiment", help="a key of experiments in params.yaml")
    name = parser.parse_args().experiment
    experiment = params.choose(name, params.load().experiments, "experiment")
    trainer.prepare_process()
    train(name, experiment)


if __name__ == "__main__":
    errors.run(main)
