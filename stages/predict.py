"""Use a trained model: ``python -m stages.predict EXPERIMENT [INPUT|-]``.

EXPERIMENT is a key of params.yaml (its first seed is used) or the folder of a model that was taken away
(model.safetensors, config.json, vocabulary.json). INPUT is a file, or - (the default) for standard input: addresses,
sentences or words, one a line; a story, one sentence a line with the question last; bit vectors; a WAV or FLAC file of
speech, or a .npy of its frames (to be recognised, also a .npz). With --stream, speech is decoded half a second at a
time, and shown as it is heard.
"""

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

from stages.core.base import errors, params
from stages.core.base.errors import InputError
from stages.core.learning import artifact
from stages.core.learning.dataset import Example
from stages.core.learning.task import Task

PIECE = 0.5  # seconds of a stream


def find_model(name: str) -> tuple[Path, dict[str, Any] | None]:
    """Give the folder of the model that ``name`` names, and the decoder that params.yaml gives it (none for a folder).

    Raises InputError where there is neither such an experiment nor a model in such a folder.
    """
    if (Path(name) / "model.safetensors").is_file():
        return Path(name), None
    experiments = params.load().experiments
    if name not in experiments and Path(name).is_dir():
        raise InputError(f"the folder {name} holds no model: model.safetensors, config.json and vocabulary.json")
    experiment = params.choose(name, experiments, "experiment")
    return Path("data/checkpoints") / name / f"seed_{experiment.seeds[0]}", experiment.decoder


def read(task: Task, given: str) -> list[Example]:
    """Read the examples of the input ``given`` (a path, or "-"); raises InputError where there is no such file."""
    if given != "-" and not Path(given).is_file():
        raise InputError(f"the input {given} is not a file")
    return task.read_input(sys.stdin if given == "-" else Path(given))


def predict(task: Task, decoder: dict[str, Any], given: str) -> list[str]:
    """Read, decode and show each example of the input ``given`` (a path, or "-")."""
    examples = read(task, given)
    module, settings = params.load_part("decoder", decoder, "decoder")
    shown = []
    with torch.inference_mode():
        for example in examples:
            said = module.decode(task, task.collate([example]), settings)[0]
            shown.append(task.present(example | said))
    return shown


def stream(task: Task, given: str) -> Iterator[str]:
    """Yield what is heard in the input ``given`` piece by piece, each utterance begun by its name.

    Raises InputError where the task or its model needs the whole input first.
    """
    hear = task.stream(PIECE)
    with torch.inference_mode():
        for example in read(task, given):
            lead = f"{example['id']}\t"
            for heard in hear(example):
                yield lead + heard
                lead = ""
            yield "\n"


def main() -> None:
    """Parse the command line and predict."""
    parser = argparse.ArgumentParser("python -m stages.predict", description=str(__doc__).partition("\n\n")[2])
    parser.add_argument("experiment", metavar="EXPERIMENT", help="a key of experiments in params.yaml, or a folder")
    parser.add_argument("input", metavar="INPUT", nargs="?", default="-", help="a file, or - for standard input")
    parser.add_argument("--stream", action="store_true", help="show speech as it is heard (networks of one direction)")
    arguments = parser.parse_intermixed_args()  # --stream may stand before the input
    torch.set_num_threads(1)
    folder, decoder = find_model(arguments.experiment)
    task = artifact.load(folder)
    if arguments.stream:
        for piece in stream(task, arguments.input):
            print(piece, end="", flush=True)
        return
    print("\n".join(predict(task, decoder or task.decoder, arguments.input)))


if __name__ == "__main__":
    errors.run(main)
