"""Connectionist temporal classification (Graves et al. 2006): a transcript shorter than its frames (N23).

Symbol 0 is the null ("no label here"). Training strings are concatenations of training recordings, drawn afresh each
epoch; their longest length grows over the first epochs.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TextIO
from zipfile import BadZipFile

import numpy as np
import pydantic
import torch
from torch import Tensor, nn

from stages.core.batch import Padded, pad
from stages.core.dataset import Example
from stages.core.errors import InputError
from stages.core.params import settings
from stages.core.task import Batch, Task
from stages.core.vocabulary import Vocabulary

NULL = "<null>"
COEFFICIENTS = 13  # MFCCs a frame


@settings
class Settings:
    """``stack`` neighbouring frames are one step; ``noise`` is Gaussian, in standard deviations of a coefficient.

    An epoch is ``strings`` training strings of 1 to ``longest`` digits; ``longest`` is reached after ``growth`` epochs.
    """

    stack: int = pydantic.Field(default=3, gt=0)
    noise: float = pydantic.Field(default=0.3, ge=0)
    dropout: float = pydantic.Field(default=0.3, ge=0, lt=1)
    strings: int = pydantic.Field(default=1200, gt=0)
    longest: int = pydantic.Field(default=7, gt=0)
    growth: int = pydantic.Field(default=5, ge=0)


def fit_vocabularies(examples: list[Example], settings: Settings) -> dict[str, Vocabulary]:
    """Collect the symbols of the transcripts, the null first."""
    return {"symbols": Vocabulary([NULL, *sorted({str(digit) for example in examples for digit in example["digits"]})])}


class ConnectionistTemporalClassification(Task):
    """Normalised, stacked frames, a model, a linear layer, and the sum over all alignments as likelihood."""

    decoder = {"name": "best_path"}

    def __init__(
        self, settings: Settings, vocabularies: dict[str, Vocabulary], build_model: Callable[[int], nn.Module]
    ) -> None:
        super().__init__(vocabularies)
        self.settings = settings
        self.symbols = vocabularies["symbols"]
        self.register_buffer("mean", torch.zeros(COEFFICIENTS))
        self.register_buffer("deviation", torch.ones(COEFFICIENTS))
        self.model = build_model(COEFFICIENTS * settings.stack)
        self.dropout = nn.Dropout(settings.dropout)
        self.head = nn.Linear(int(self.model.output_size), len(self.symbols))  # type: ignore[arg-type]
        self.arrays: dict[str, np.ndarray] = {}

    def attach(self, arrays: dict[str, np.ndarray]) -> None:
        """Take the recordings: "features" (frames, 13) and "offsets" (recordings + 1,)."""
        self.arrays = arrays

    def observe(self, examples: list[Example], arrays: dict[str, np.ndarray]) -> None:
        """Take mean and standard deviation of each coefficient over all training frames."""
        frames = np.concatenate([self._frames(example) for example in examples]).astype(np.float64)
        self.mean.copy_(torch.from_numpy(frames.mean(axis=0)))  # type: ignore[operator]
        self.deviation.copy_(torch.from_numpy(frames.std(axis=0)))  # type: ignore[operator]

    def _frames(self, example: Example) -> np.ndarray:
        if "features" in example:
            return np.asarray(example["features"], dtype=np.float32)
        features, offsets = self.arrays["features"], self.arrays["offsets"]
        return np.concatenate([features[offsets[r] : offsets[r + 1]] for r in example["recordings"]])

    def draw(self, examples: list[Example], generator: torch.Generator) -> list[Example]:
        """Concatenate training recordings, drawn with replacement, into fresh strings."""
        grown = (self.current_epoch + 1) / max(self.settings.growth, 1)
        longest = max(1, min(self.settings.longest, round(self.settings.longest * grown)))
        counts = torch.randint(1, longest + 1, (self.settings.strings,), generator=generator).tolist()
        strings = []
        for count in counts:
            chosen = [examples[i] for i in torch.randint(len(examples), (count,), generator=generator).tolist()]
            recordings = [recording for example in chosen for recording in example["recordings"]]
            digits = [digit for example in chosen for digit in example["digits"]]
            strings.append({"id": "+".join(map(str, recordings)), "recordings": recordings, "digits": digits})
        return strings

    def size(self, example: Example) -> int:
        """Give the number of steps (stacked frames)."""
        if "features" in example:
            frames = len(example["features"])
        else:
            offsets = self.arrays["offsets"]
            frames = int(sum(offsets[r + 1] - offsets[r] for r in example["recordings"]))
        return -(-frames // self.settings.stack)

    def collate(self, examples: list[Example]) -> Batch:
        """Steps (batch, time, 13 x stack), and the transcripts (batch, symbols) where the examples have them."""
        batch: Batch = {"steps": pad([self._stacked(example) for example in examples])}
        if "digits" in examples[0]:
            batch["transcripts"] = pad([torch.tensor(self._transcript(example)) for example in examples])
        return batch

    def _stacked(self, example: Example) -> Tensor:
        frames = (torch.from_numpy(self._frames(example)) - self.mean.cpu()) / self.deviation.cpu()  # type: ignore[operator]
        missing = -len(frames) % self.settings.stack
        frames = nn.functional.pad(frames, (0, 0, 0, missing))
        return frames.reshape(-1, COEFFICIENTS * self.settings.stack)

    def _transcript(self, example: Example) -> list[int]:
        symbols = self.symbols.encode(map(str, example["digits"]))
        repeats = sum(a == b for a, b in zip(symbols, symbols[1:], strict=False))
        if self.size(example) < len(symbols) + repeats:
            raise InputError(
                f"example {example['id']} has {self.size(example)} steps, too few for CTC: its {len(symbols)} symbols "
                f"with {repeats} equal neighbours need {len(symbols) + repeats}"
            )
        return symbols

    def log_probabilities(self, batch: Batch) -> Tensor:
        """(batch, time, symbols), in nats."""
        steps = batch["steps"]
        assert isinstance(steps, Padded)
        values = steps.values
        if self.training and self.settings.noise:
            values = values + self.settings.noise * torch.randn_like(values)
        outputs, _ = self.model(self.dropout(values), steps.lengths)
        log_probabilities: Tensor = self.head(self.dropout(outputs)).log_softmax(dim=-1)
        return log_probabilities

    def loss(self, batch: Batch) -> tuple[Tensor, int]:
        """Negative log-likelihood a symbol of the transcripts, summed over all alignments."""
        steps, transcripts = batch["steps"], batch["transcripts"]
        assert isinstance(steps, Padded) and isinstance(transcripts, Padded)
        count = int(transcripts.lengths.sum())
        log_probabilities = self.log_probabilities(batch).transpose(0, 1)  # (time, batch, symbols)
        total = nn.functional.ctc_loss(
            log_probabilities, transcripts.values, steps.lengths, transcripts.lengths, reduction="sum"
        )
        return total / count, count

    def read_input(self, source: Path | TextIO) -> list[Example]:
        """A .npy of MFCCs (frames, 13), or a .npz with such an array an utterance."""
        if not isinstance(source, Path):
            raise InputError("speech is read from a file: give the path of a .npy or .npz of MFCCs (frames, 13)")
        try:
            loaded = np.load(source, allow_pickle=False)
            arrays = {source.stem: loaded} if isinstance(loaded, np.ndarray) else dict(loaded)
        except (OSError, ValueError, EOFError, BadZipFile) as error:
            raise InputError(f"{source} is no .npy or .npz file of MFCCs (frames, {COEFFICIENTS}): {error}") from None
        if not arrays:
            raise InputError(f"{source} holds no array; it should hold one of MFCCs (frames, {COEFFICIENTS})")
        return [{"id": name, "features": _checked(array, f"{source}, array {name}")} for name, array in arrays.items()]

    def present(self, record: dict[str, Any]) -> str:
        """Show the digits of an utterance in one line."""
        return f"{record['id']}\t{' '.join(map(str, record['prediction'])) or '(nothing heard)'}"


def _checked(array: np.ndarray, where: str) -> np.ndarray:
    if array.ndim != 2 or array.shape[1] != COEFFICIENTS or not len(array):
        raise InputError(f"{where} has shape {array.shape}; it should be (frames, {COEFFICIENTS}) with a frame or more")
    if array.dtype.kind not in "fiu" or not np.isfinite(array).all():
        raise InputError(f"{where} holds values that are no finite numbers")
    return array.astype(np.float32)


def build(
    settings: Settings, vocabularies: dict[str, Vocabulary], build_model: Callable[[int], nn.Module]
) -> ConnectionistTemporalClassification:
    """Build the untrained task."""
    return ConnectionistTemporalClassification(settings, vocabularies, build_model)
