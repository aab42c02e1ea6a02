"""Use a trained model: ``python -m stages.predict EXPERIMENT [INPUT|-]``.

EXPERIMENT is a key of params.yaml (its first seed is used) or the folder of a model that was taken away
(model.safetensors, config.json, vocabulary.json). INPUT is a file, or - (the default) for standard input: addresses or
sentences, one a line; a story, one sentence a line with the question last; bit vectors; a .npy or .npz of MFCCs.
"""

import argparse
import sys
from pathlib import Path

import torch

from stages.core import artifact, errors, params, roles
from stages.core.errors import InputError
from stages.core.task import Task


def find_model(name: str) -> Path:
    """Give the folder of the model that ``name`` names; raises InputError where there is none."""
    if (Path(name) / "model.safetensors").is_file():
        return Path(name)
    experiment = params.choose(name, params.load().experiments, "experiment")
    return Path("data/checkpoints") / name / f"seed_{experiment.seeds[0]}"


def predict(task: Task, given: str) -> list[str]:
    """Read, decode and show each example of the input ``given`` (a path, or "-")."""
    if given != "-" and not Path(given).is_file():
        raise InputError(f"the input {given} is not a file")
    examples = task.read_input(sys.stdin if given == "-" else Path(given))
    decoder, settings = roles.load_part("decoder", task.decoder, "the task's decoder")
    shown = []
    with torch.inference_mode():
        for example in examples:
            said = decoder.decode(task, task.collate([example]), settings)[0]
            shown.append(task.present(example | said))
    return shown


def main() -> None:
    """Parse the command line and predict."""
    parser = argparse.ArgumentParser(description="Use a trained model.")
    parser.add_argument("experiment", help="a key of experiments in params.yaml, or a folder with a model")
    parser.add_argument("input", nargs="?", default="-", help="a file, or - for standard input")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    print("\n".join(predict(artifact.load(find_model(arguments.experiment)), arguments.input)))


if __name__ == "__main__":
    errors.run(main)
