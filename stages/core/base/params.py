"""``params.yaml``, read strictly: an unknown key, a wrong type or a value out of range is an error naming the key.

An experiment's roles (dataset, task, model, decoder, metric) name the files that play them.
"""

import dataclasses
import difflib
import functools
import importlib
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any, TypeVar, dataclass_transform

import pydantic
import yaml
from pydantic.dataclasses import dataclass as pydantic_dataclass

from stages.core.base.errors import InputError
from stages.core.base.files import read_text

PARAMS = Path("params.yaml")
STAGES = Path(__file__).resolve().parent.parent.parent
ROOMS = {
    "dataset": "datasets",
    "task": "tasks",
    "model": "models",
    "decoder": "decoding",
    "metric": "metrics",
    "demonstration": "demonstrations",
}
PARTS = ("task", "model", "decoder", "metric")  # the roles whose settings stand in an experiment

T = TypeVar("T")


@dataclass_transform(frozen_default=True, kw_only_default=True, field_specifiers=(pydantic.Field, dataclasses.field))
def settings(cls: type[T]) -> type[T]:
    """Make ``cls`` a frozen, keyword-only dataclass whose values are checked (strict types, no unknown key)."""
    config = pydantic.ConfigDict(extra="forbid", strict=True)
    return pydantic_dataclass(config=config, frozen=True, kw_only=True)(cls)  # type: ignore[return-value]


def read_settings(cls: type[T], values: Mapping[str, Any], where: str) -> T:
    """Build the settings class ``cls`` from ``values``; ``where`` is the dotted key that an InputError names."""
    try:
        return pydantic.TypeAdapter(cls).validate_json(json.dumps(dict(values), default=str))
    except pydantic.ValidationError as error:
        raise InputError(_sentence(cls, error.errors()[0], where)) from None


def _sentence(cls: type, problem: Any, where: str) -> str:
    path = [str(part) for part in problem["loc"]]
    key = ".".join([where, *path])
    if problem["type"] == "unexpected_keyword_argument":
        allowed = _allowed_keys(cls, path[:-1])
        return f"{PARAMS}: {key} is an unknown key{meant(path[-1], allowed)}"
    if problem["type"] in ("missing", "missing_argument"):
        return f"{PARAMS}: {key} is missing"
    return f"{PARAMS}: {key} is {problem['input']!r}, but: {problem['msg']}"


def _allowed_keys(cls: Any, path: list[str]) -> list[str]:
    for part in path:
        hints = {field.name: field.type for field in dataclasses.fields(cls)} if dataclasses.is_dataclass(cls) else {}
        inner = hints.get(part, cls)
        arguments = getattr(inner, "__args__", ())
        cls = next((argument for argument in arguments if dataclasses.is_dataclass(argument)), inner)
    return [field.name for field in dataclasses.fields(cls)] if dataclasses.is_dataclass(cls) else []


def meant(word: str, allowed: Iterable[str]) -> str:
    """End a sentence about an unknown ``word``: the nearest allowed word, if any, and all that are allowed."""
    allowed = list(allowed)
    near = difflib.get_close_matches(word, allowed, n=1)
    guess = f"; did you mean {near[0]}?" if near else ""
    return f"{guess} (allowed: {', '.join(allowed)})" if allowed else guess


@settings
class Seeded:
    """How an experiment is trained, as far as all methods share it: once with each of ``seeds``."""

    seeds: list[int] = pydantic.Field(min_length=1)

    @pydantic.field_validator("seeds")
    @classmethod
    def _differ(cls, seeds: list[int]) -> list[int]:
        if len(set(seeds)) < len(seeds):
            raise ValueError("a seed stands there twice, and would count twice in mean and spread")
        return seeds


@settings
class Experiment:
    """One dataset x one model x one task x its settings, over several seeds."""

    title: str
    dataset: str
    task: dict[str, Any]
    model: dict[str, Any]
    training: dict[str, Any]
    decoder: dict[str, Any]
    metric: dict[str, Any]

    @property
    def seeds(self) -> list[int]:
        """The seeds that it is trained with, one after the other."""
        return self.training["seeds"]


@settings
class Dataset:
    """Real data: where they come from (``sources``, read by stages/download.py) and how they are prepared."""

    sources: dict[str, dict[str, Any]] = pydantic.Field(min_length=1)
    prepare: dict[str, Any]


@settings
class Demonstration:
    """A worked example of the notes, whose file stands under its key in stages/demonstrations.

    ``uses`` is what it shows at work, as a path below stages/: a file (``models/elman.py``), or the folder ``models``
    for one that puts several cells side by side.
    """

    uses: str
    settings: dict[str, Any]


@settings
class Params:
    """The whole of ``params.yaml``."""

    datasets: dict[str, Dataset]
    generated: dict[str, dict[str, Any]]
    experiments: dict[str, Experiment]
    demonstrations: dict[str, Demonstration] = dataclasses.field(default_factory=dict)


@functools.cache
def load(path: Path = PARAMS) -> Params:
    """Read and check ``params.yaml``; raises InputError where it is malformed."""
    try:
        values = yaml.load(read_text(path), yaml.CSafeLoader)  # libyaml: a seventh of the time
    except yaml.YAMLError as error:
        raise InputError(f"{path} is not YAML: {' '.join(str(error).split())}") from None
    if not isinstance(values, dict):
        raise InputError(f"{path} holds no keys; it should have datasets, generated, experiments and demonstrations")
    loaded = read_settings(Params, values, "params")
    for name, experiment in loaded.experiments.items():
        given = {key: value for key, value in experiment.training.items() if key == "seeds"}
        read_settings(Seeded, given, f"experiments.{name}.training")
    return loaded


def choose(name: str, among: Mapping[str, T], kind: str) -> T:
    """``among[name]``; raises InputError that says which names there are."""
    if name not in among:
        raise InputError(f"{name} is no {kind} in {PARAMS}{meant(name, among)}")
    return among[name]


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
