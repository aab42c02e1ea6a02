"""The claims of the notes, as stages/claims.yaml states them: each once, with the evidence that decides it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import pydantic
import yaml

from stages.core.base.errors import InputError
from stages.core.base.files import read_text
from stages.core.base.params import PARAMS, Params, meant, read_settings, settings

CLAIMS = Path("stages/claims.yaml")
Item = Annotated[str, pydantic.StringConstraints(pattern=r"^N([1-9]|1\d|2\d)$")]  # the notes have items N1 to N29
Sentence = Annotated[str, pydantic.StringConstraints(min_length=1)]


@settings
class Comparison:
    """A figure of one experiment against that of another, or against a number.

    The claim is that ``metric`` of ``experiment`` lies on the side ``direction`` of ``than_metric`` (or else the same
    metric) of the experiment ``than``, or of the number ``than``, by more than ``margin``. A margin below 0 asks for no
    more than that it is not worse by so much.
    """

    experiment: str
    metric: str
    direction: Literal["higher", "lower"]
    than: str | float
    than_metric: str | None = None
    margin: float = 0.0

    @pydantic.model_validator(mode="after")
    def _compares(self) -> Comparison:
        if isinstance(self.than, float) and self.than_metric is not None:
            raise ValueError("than_metric is a metric of an experiment, and than is a number")
        if (self.than, self.than_metric or self.metric) == (self.experiment, self.metric):
            raise ValueError(f"{self.experiment} is compared with itself; another than or than_metric is needed")
        return self


@settings
class Worked:
    """A demonstration that shows the claim; ``check``: the one of its checks that does, or else all of them."""

    name: str
    check: str | None = None


@settings
class Claim:
    """What the notes say in ``notes``, in Chinese and English, and what decides it: a comparison or a demonstration.

    ``correction`` is the correct form, where the notes slip; that is then what is judged.
    """

    notes: list[Item] = pydantic.Field(min_length=1)
    chinese: Sentence
    english: Sentence
    correction: Sentence | None = None
    comparison: Comparison | None = None
    demonstration: Worked | None = None

    @pydantic.model_validator(mode="after")
    def _is_decided(self) -> Claim:
        if (self.comparison is None) == (self.demonstration is None):
            raise ValueError("a claim has either a comparison or a demonstration as its evidence")
        return self

    @property
    def experiments(self) -> list[str]:
        """The experiments whose predictions decide it."""
        if self.comparison is None:
            return []
        than = self.comparison.than
        return [self.comparison.experiment, *([than] if isinstance(than, str) else [])]


def read(path: Path = CLAIMS) -> dict[str, Claim]:
    """Read the claims by name, in the order of the file; raises InputError where it is malformed."""
    try:
        values = yaml.safe_load(read_text(path))
    except yaml.YAMLError as error:
        raise InputError(f"{path} is not YAML: {' '.join(str(error).split())}") from None
    if not isinstance(values, dict) or not all(isinstance(value, dict) for value in values.values()):
        raise InputError(f"{path} should hold claims by name, each with notes, chinese, english and its evidence")
    return {str(name): _read_claim(str(name), value, path) for name, value in values.items()}


def check(stated: Mapping[str, Claim], values: Params) -> None:
    """Raise InputError where a claim names an experiment that params.yaml lacks."""
    for name, claim in stated.items():
        for key in claim.experiments:
            if key not in values.experiments:
                near = meant(key, values.experiments)
                raise InputError(f"{CLAIMS}: {name} names {key}, which is no experiment in {PARAMS}{near}")


def _read_claim(name: str, values: dict[str, Any], path: Path) -> Claim:
    try:
        return read_settings(Claim, values, name)
    except InputError as error:
        # read_settings names params.yaml, where all other settings stand.
        raise InputError(str(error).replace(str(PARAMS), str(path), 1)) from None
