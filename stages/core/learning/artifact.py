"""A trained model as files without pickle: ``model.safetensors``, ``config.json`` and ``vocabulary.json``."""

from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file

from stages.core.base.errors import InputError
from stages.core.base.files import read_json, write_json
from stages.core.base.params import load_part
from stages.core.learning.task import Peer, Task
from stages.core.learning.vocabulary import Vocabulary


def build_task(config: dict[str, Any], vocabularies: dict[str, Vocabulary], where: str) -> Task:
    """Build the untrained task that ``config`` (its keys "task" and "model") describes."""
    task_module, task_settings = load_part("task", config["task"], f"{where}.task")
    model_module, model_settings = load_part("model", config["model"], f"{where}.model")
    task: Task = task_module.build(
        task_settings, vocabularies, lambda input_size: model_module.build(model_settings, input_size)
    )
    return task


def save(folder: Path, task: Task, config: dict[str, Any]) -> None:
    """Write ``task``'s weights and buffers, its ``config`` and its vocabularies."""
    folder.mkdir(parents=True, exist_ok=True)
    tensors = {name: value.detach().cpu().clone().contiguous() for name, value in task.state_dict().items()}
    save_file(tensors, folder / "model.safetensors")
    write_json(folder / "config.json", config)
    write_json(folder / "vocabulary.json", {name: item.symbols for name, item in task.vocabularies.items()})


def load(folder: Path) -> Task:
    """Rebuild the trained task from its artifact, ready to predict; raises InputError where it is not there."""
    if not folder.is_dir():
        raise InputError(f"{folder} does not exist; train the experiment first: dvc repro train@{folder.parent.name}")
    config = read_json(folder / "config.json")
    vocabularies = {name: Vocabulary(symbols) for name, symbols in read_json(folder / "vocabulary.json").items()}
    task = build_task(config, vocabularies, str(folder))
    task.load_state_dict(load_file(folder / "model.safetensors"))
    return task.eval()


def count_parameters(module: torch.nn.Module) -> int:
    """Count the trained numbers, and what peers fitted; a tensor that two places share counts once."""
    peers = sum(part.count() for part in module.modules() if isinstance(part, Peer))
    return peers + sum(parameter.numel() for parameter in module.parameters() if parameter.requires_grad)
