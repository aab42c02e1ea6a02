"""An experiment's roles (dataset, task, model, decoder, metric) as the files that play them."""

import importlib
from pathlib import Path
from types import ModuleType
from typing import Any

from stages.core.errors import InputError
from stages.core.params import PARAMS, meant, read_settings

STAGES = Path(__file__).resolve().parent.parent
ROOMS = {
    "dataset": "datasets",
    "task": "tasks",
    "model": "models",
    "decoder": "decoding",
    "metric": "metrics",
    "demonstration": "demonstrations",
}
PARTS = ("task", "model", "decoder", "metric")  # the roles whose settings stand in an experiment


def names(role: str) -> list[str]:
    """Name the files in the room of ``role``."""
    return sorted(path.stem for path in (STAGES / ROOMS[role]).glob("[!_]*.py"))


def load_role(role: str, name: str, where: str) -> ModuleType:
    """Import the file ``name`` of the room of ``role``; ``where`` is the key that an InputError names."""
    if name not in names(role):
        raise InputError(f"{PARAMS}: {where} is {name!r}, which is no {role}{meant(name, names(role))}")
    return importlib.import_module(f"stages.{ROOMS[role]}.{name}")


def load_part(role: str, values: dict[str, Any], where: str) -> tuple[ModuleType, Any]:
    """Import the file that ``values["name"]`` names, and read the other values into its ``Settings``."""
    if not isinstance(values.get("name"), str):
        raise InputError(f"{PARAMS}: {where}.name is missing; it names a {role}{meant('', names(role))}")
    module = load_role(role, values["name"], f"{where}.name")
    rest = {key: value for key, value in values.items() if key != "name"}
    return module, read_settings(module.Settings, rest, where)
