"""Speech auto-encoder: the recording of a word becomes a vector of fixed size, from which it is rebuilt (N27).

Encoder and decoder are trained jointly, by the mean squared error of the rebuilt frames. Three kinds:

- plain: the target is the input itself (Chung et al. 2016),
- denoising: frames are noisy or missing in the input, and whole in the target (Vincent et al. 2008),
- correspondence: the target is another recording of the same word (Kamper 2019, section 2.3), after epochs of
  pretraining in which it is the input itself. So what differs from one recording to the next, such as the voice, is of
  no use, and need not be in the vector. Words are told by pairs alone; no class is learnt.

Two recordings are alike as the cosine of their vectors is. That is what a spoken search looks through: the query is a
recording too. A peer gives vectors or distances without learning, from the same normalised frames.

A trained model carries recordings of training's words along, so that it can say of a new recording which are nearest.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TextIO

import numpy as np
import pydantic
import torch
from safetensors import numpy as packing
from torch import Tensor, nn

from stages.core.base.errors import InputError
from stages.core.base.params import settings
from stages.core.learning.batch import Padded, pad
from stages.core.learning.dataset import Example
from stages.core.learning.task import Batch, Peer, Task, Training
from stages.core.learning.vocabulary import Vocabulary

COEFFICIENTS = 13
DIMENSIONS_SHOWN = 8
SHORTEST_STRETCHED = 3  # frames


@settings
class Pretraining:
    """The first ``epochs`` of a training rebuild the input itself; the learning rate falls linearly to 0."""

    epochs: int = pydantic.Field(gt=0)
    learning_rate: float = pydantic.Field(gt=0)


@settings
class Settings:
    """What is heard, what makes training harder, and what is rebuilt.

    ``centre`` takes off each recording's mean, and so much of what tells a voice or a room from another; then each
    coefficient is scaled to training's mean of 0 and deviation of 1; ``unit_frames`` scales each frame to one length,
    so that its direction alone counts, as it does for the cosine. In training alone, on the input alone: ``noise`` is
    Gaussian, in standard deviations of a coefficient; ``frame_dropout`` is the share of frames that become 0, the mean;
    ``stretch`` draws each input's length from 1 - stretch to 1 + stretch of what it was. ``correspondence``: the target
    is another recording of the same word, after ``pretraining``. ``known`` recordings of each word are kept with the
    model. A peer looks at the first two and the last only.
    """

    centre: bool = True
    unit_frames: bool = False
    noise: float = pydantic.Field(default=0.0, ge=0)
    frame_dropout: float = pydantic.Field(default=0.0, ge=0, lt=1)
    stretch: float = pydantic.Field(default=0.0, ge=0, lt=1)
    correspondence: bool = False
    pretraining: Pretraining | None = None
    known: int = pydantic.Field(default=40, gt=0)

    @pydantic.model_validator(mode="after")
    def _pretraining_is_for_correspondence(self) -> Settings:
        if self.pretraining and not self.correspondence:
            raise ValueError("pretraining rebuilds the input itself, as all epochs do unless correspondence is true")
        return self


def fit_vocabularies(examples: list[Example], settings: Settings) -> dict[str, Vocabulary]:
    """Collect the words of the training recordings."""
    return {"words": Vocabulary(sorted({example["word"] for example in examples}))}


def build(
    settings: Settings, vocabularies: dict[str, Vocabulary], build_model: Callable[[int], nn.Module]
) -> SpeechVectors:
    """Build the task around an auto-encoder of frames, or around a peer."""
    model = build_model(COEFFICIENTS)
    if isinstance(model, Peer):
        return PeerVectors(settings, vocabularies, model)
    return SpeechAutoencoder(settings, vocabularies, model)


class SpeechVectors(Task):
    """What networks and peers share: normalised frames, the recordings that a model knows, and what a person sees."""

    monitor, monitor_mode = "validation_average_precision", "max"
    decoder: dict[str, Any] = {"name": "embedding"}

    def __init__(self, settings: Settings, vocabularies: dict[str, Vocabulary]) -> None:
        super().__init__(vocabularies)
        self.settings = settings
        self.words = vocabularies["words"]
        self.mean: Tensor
        self.deviation: Tensor
        self.register_buffer("mean", torch.zeros(COEFFICIENTS))
        self.register_buffer("deviation", torch.ones(COEFFICIENTS))
        self.arrays: dict[str, np.ndarray] = {}
        self.known: list[Example] = []
        self._known_vectors: Tensor | None = None

    def vectors(self, batch: Any) -> Tensor | None:
        """Give the vectors (batch, size); None where a peer compares recordings without any."""
        raise NotImplementedError

    def distances(self, batch: Any, others: list[Example]) -> np.ndarray:
        """Give the distances (batch, others) between recordings, where a peer compares them without vectors."""
        raise NotImplementedError

    def known_vectors(self) -> Tensor:
        """Give the vectors (known, size) of the recordings that the model carries along."""
        if self._known_vectors is None:
            found = self.vectors(self.collate(self.known))
            assert found is not None
            self._known_vectors = found
        return self._known_vectors

    def test_recordings(self) -> list[Example]:
        """Give the recordings that test recordings are compared with, which are the test's own; none where a model
        stands without its data.
        """
        return [{"recording": recording} for recording in self.arrays.get("test_recordings", np.array([])).tolist()]

    # torch keeps with weights and buffers what has no shape known beforehand by these two.

    def get_extra_state(self) -> Tensor:
        """Give the known recordings as a tensor of bytes."""
        if not self.known:
            return torch.zeros(1, dtype=torch.uint8)
        content = {
            "ids": np.array([int(example["id"]) for example in self.known]),
            "words": np.array(self.words.encode(example["word"] for example in self.known)),
            "lengths": np.array([len(example["features"]) for example in self.known]),
            "features": np.concatenate([example["features"] for example in self.known]),
        }
        return torch.frombuffer(bytearray(packing.save(content)), dtype=torch.uint8)

    def set_extra_state(self, state: Tensor) -> None:
        """Take what ``get_extra_state`` gave."""
        self._known_vectors = None
        if len(state) == 1:
            self.known = []
            return
        content = packing.load(bytes(state.cpu().numpy()))
        rows = np.split(content["features"], np.cumsum(content["lengths"])[:-1])
        words = self.words.decode(content["words"].tolist())
        self.known = [
            {"id": str(number), "word": word, "features": features}
            for number, word, features in zip(content["ids"].tolist(), words, rows, strict=True)
        ]

    # The data.

    def attach(self, arrays: dict[str, np.ndarray]) -> None:
        """Take the recordings: "features" (frames, 13), "offsets" (recordings + 1,), "test_recordings" (test,)."""
        found = arrays["features"].shape[1]
        if found != COEFFICIENTS:
            raise InputError(f"the recordings have {found} coefficients a frame; this task needs {COEFFICIENTS}")
        self.arrays = arrays

    def observe(self, examples: list[Example], arrays: dict[str, np.ndarray]) -> None:
        """Take mean and standard deviation of each coefficient over all training frames, and the known recordings."""
        frames = np.concatenate([self._frames(example) for example in examples]).astype(np.float64)
        self.mean.copy_(torch.from_numpy(frames.mean(axis=0)))
        self.deviation.copy_(torch.from_numpy(frames.std(axis=0).clip(1e-6)))
        for word in self.words.symbols:
            some = [example for example in examples if example["word"] == word][: self.settings.known]
            self.known += [
                {"id": example["id"], "word": word, "features": self._recorded(example["recording"])}
                for example in some
            ]

    def size(self, example: Example) -> int:
        """Give the number of frames."""
        return len(self._frames(example))

    def _recorded(self, recording: int) -> np.ndarray:
        offsets = self.arrays["offsets"]
        return self.arrays["features"][offsets[recording] : offsets[recording + 1]]

    def _frames(self, example: Example) -> np.ndarray:
        """Give the frames (frames, 13) before normalisation."""
        frames = example["features"] if "features" in example else self._recorded(example["recording"])
        return frames - frames.mean(axis=0) if self.settings.centre else frames

    def _normalised(self, example: Example) -> Tensor:
        """Give the frames (frames, 13) with training's mean of 0 and deviation of 1, or of the root mean square 1."""
        frames = (torch.from_numpy(self._frames(example)) - self.mean.cpu()) / self.deviation.cpu()
        if not self.settings.unit_frames:
            return frames
        return nn.functional.normalize(frames, dim=1) * COEFFICIENTS**0.5

    # What the task says to a person.

    def read_input(self, source: Path | TextIO) -> list[Example]:
        """Read a WAV or FLAC file of one word, or a .npy of its coefficients (frames, 13).

        Raises InputError where it is none of these.
        """
        if not isinstance(source, Path):
            raise InputError("speech is read from a file: give the path of a .wav, a .flac or a .npy of frames")
        if source.suffix == ".npy":
            return [{"id": source.stem, "features": _read_frames(source)}]
        from stages.core import audio  # librosa behind it takes seconds, and no stage of the pipeline needs it

        return [{"id": source.stem, "features": audio.MFCC.frames(audio.read(source))}]

    def present(self, record: dict[str, Any]) -> str:
        """Show the first dimensions of the vector, where there is one, and the nearest recordings that are known."""
        lines = [record["id"]]
        if vector := record.get("vector"):
            first = " ".join(f"{value:.3f}" for value in vector[:DIMENSIONS_SHOWN])
            more = " ..." if len(vector) > DIMENSIONS_SHOWN else ""
            lines.append(f"  vector of {len(vector)} dimensions: {first}{more}")
        for found in record["nearest"]:
            how = "cosine" if "cosine" in found else "distance"
            lines.append(f"  {how} {found[how]:7.4f}  recording {found['id']} of the word {found['word']}")
        return "\n".join(lines)

    def trace(self, example: Example) -> dict[str, Any] | None:
        """Give nothing: a vector has no steps."""
        return None


class PeerVectors(SpeechVectors):
    """A peer that has ``vectors`` of segments, or else ``distances`` between them.

    A batch holds "segments", a list of (frames, 13), and "words", where they are known.
    """

    def __init__(self, settings: Settings, vocabularies: dict[str, Vocabulary], model: Peer) -> None:
        super().__init__(settings, vocabularies)
        self.model: Any = model
        self._validation: list[Any] = []

    def fit_peer(self, examples: list[Example]) -> None:
        """Fit to segments and their words."""
        self.model.fit([self._normalised(example).numpy() for example in examples], [e["word"] for e in examples])

    def collate(self, examples: list[Example]) -> Any:
        """Read the examples."""
        segments = [self._normalised(example).numpy() for example in examples]
        return {"segments": segments, "words": [example.get("word", "") for example in examples]}

    def vectors(self, batch: Any) -> Tensor | None:
        """Give the peer's vectors, where it has any."""
        if not hasattr(self.model, "vectors"):
            return None
        return torch.from_numpy(self.model.vectors(batch["segments"]).astype(np.float32))

    def distances(self, batch: Any, others: list[Example]) -> np.ndarray:
        """Give the peer's distances."""
        found: np.ndarray = self.model.distances(batch["segments"], self.collate(others)["segments"])
        return found

    def loss(self, batch: Any) -> tuple[Tensor, int]:
        """Give no loss (NaN): a peer rebuilds nothing."""
        return torch.tensor(torch.nan), len(batch["segments"])

    def validation_update(self, batch: Any) -> None:
        """Keep the batch: recordings are compared with all others."""
        self._validation.append(batch)

    def validation_scores(self) -> dict[str, float]:
        """Give the average precision of telling same from different words by distance, in percent."""
        segments = [segment for batch in self._validation for segment in batch["segments"]]
        words = [word for batch in self._validation for word in batch["words"]]
        self._validation = []
        vectors = self.vectors({"segments": segments})
        closeness = -self.model.distances(segments, segments) if vectors is None else cosines(vectors).numpy()
        return {"validation_average_precision": average_precision(closeness, words)}


class SpeechAutoencoder(SpeechVectors):
    """Mean squared error of the rebuilt frames.

    A batch has "frames" (batch, time, 13), in training altered at random, and, where words are known, "target" (batch,
    target_time, 13) and "words" (batch,).
    """

    def __init__(self, settings: Settings, vocabularies: dict[str, Vocabulary], model: nn.Module) -> None:
        super().__init__(settings, vocabularies)
        self.model: Any = model
        self._vectors: list[Tensor] = []
        self._words: list[int] = []

    @property
    def pretrains(self) -> bool:
        """Whether a training is in an epoch of pretraining."""
        pretraining = self.settings.pretraining
        return pretraining is not None and self.plan is not None and self.current_epoch < pretraining.epochs

    @property
    def corresponds(self) -> bool:
        """Whether another recording of the same word is rebuilt."""
        return self.settings.correspondence and not self.pretrains

    def draw(self, examples: list[Example], generator: torch.Generator) -> list[Example]:
        """Give each example, for the correspondence with a partner drawn from the other recordings of its word."""
        if not self.corresponds:
            return examples
        by_word: dict[str, list[Example]] = {}
        for example in examples:
            by_word.setdefault(example["word"], []).append(example)
        drawn = []
        for group in by_word.values():
            # From 1 to the group's size - 1 places on, so never itself unless it is alone.
            steps = torch.randint(1, max(len(group), 2), (len(group),), generator=generator).tolist()
            partners = [group[(place + step) % len(group)] for place, step in enumerate(steps)]
            pairs = zip(group, partners, strict=True)
            drawn += [example | {"partner": partner["recording"]} for example, partner in pairs]
        return drawn

    def collate(self, examples: list[Example]) -> Batch:
        """Make a batch, of inputs alone where the examples are a person's or the model's own."""
        whole = [self._normalised(example) for example in examples]
        batch: Batch = {"frames": pad([self._altered(frames) for frames in whole] if self.training else whole)}
        if all("recording" in example for example in examples):
            batch["target"] = pad(whole)
            if self.corresponds and all("partner" in example for example in examples):
                batch["target"] = pad([self._normalised({"recording": e["partner"]}) for e in examples])
        if all(example.get("word") in self.words.index for example in examples):
            batch["words"] = torch.tensor(self.words.encode(example["word"] for example in examples))
        return batch

    def _altered(self, frames: Tensor) -> Tensor:
        """Stretch, blur and drop frames at random."""
        chosen = self.settings
        if chosen.stretch:
            factor = 1 + chosen.stretch * (2 * float(torch.rand(())) - 1)
            frames = stretched(frames, max(round(factor * len(frames)), SHORTEST_STRETCHED))
        if chosen.noise:
            frames = frames + chosen.noise * torch.randn_like(frames)
        if chosen.frame_dropout:
            frames = frames * (torch.rand(len(frames), 1) >= chosen.frame_dropout)
        return frames

    def vectors(self, batch: Batch) -> Tensor:
        """Give the vectors (batch, size)."""
        frames = _padded(batch, "frames")
        vectors: Tensor = self.model.encode(frames.values, frames.lengths)
        return vectors

    def loss(self, batch: Batch) -> tuple[Tensor, int]:
        """Give the mean squared error of a coefficient, in training's variances, and the number of frames."""
        return self._loss(batch, self.vectors(batch))

    def _loss(self, batch: Batch, vectors: Tensor) -> tuple[Tensor, int]:
        target = _padded(batch, "target")
        rebuilt = self.model.decode(vectors, target.lengths)
        errors = (rebuilt - target.values).square().mean(dim=2)[target.mask]
        return errors.mean(), len(errors)

    def validation_update(self, batch: Batch) -> None:
        """Keep the vectors: recordings are compared with all others."""
        words = batch["words"]
        assert isinstance(words, Tensor)
        self._vectors.append(self.vectors(batch))
        self._words += words.tolist()

    def validation_scores(self) -> dict[str, float]:
        """Give the average precision of telling same from different words, in percent; in pretraining none (NaN), so
        that none of its epochs is the best.
        """
        vectors, words = torch.cat(self._vectors), self._words
        self._vectors, self._words = [], []
        score = average_precision(cosines(vectors).cpu().numpy(), words)
        if self.pretrains:
            return {"validation_average_precision": torch.nan, "validation_autoencoder_precision": score}
        return {"validation_average_precision": score}

    @property
    def loss_name(self) -> str:
        """The loss of pretraining is of another target."""
        return "autoencoder" if self.pretrains else "loss"

    def prepare_training(self, plan: Training, train: list[Example], validation: list[Example]) -> None:
        """Take the plan; raises InputError where pretraining leaves too few epochs for the correspondence."""
        super().prepare_training(plan, train, validation)
        first = self.settings.pretraining.epochs if self.settings.pretraining else 0
        if plan.epochs < first + plan.average:
            raise InputError(
                f"training.epochs is {plan.epochs}, of which task.pretraining.epochs takes {first}; it should be at "
                f"least {first + plan.average}, so that some are left for the correspondence"
            )

    def prepare_update(self, optimizer: torch.optim.Optimizer, epochs: float) -> None:
        """Set the learning rate; pretraining and what follows it are trainings of their own."""
        pretraining, plan = self.settings.pretraining, self.plan
        assert plan is not None
        if pretraining is None:
            return super().prepare_update(optimizer, epochs)
        if self.pretrains:
            rate = pretraining.learning_rate * (1 - epochs / pretraining.epochs)
        else:
            done = (epochs - pretraining.epochs) / (plan.epochs - pretraining.epochs)
            rate = plan.rate(done)
            if done == 0:
                optimizer.state.clear()  # means of the gradients of another loss
        for group in optimizer.param_groups:
            group["lr"] = rate
        return None


def stretched(frames: Tensor, count: int) -> Tensor:
    """Give ``frames`` (frames, 13) as ``count`` frames, on lines between them."""
    places = torch.linspace(0, len(frames) - 1, count)
    before = places.floor().long()
    after = (before + 1).clamp(max=len(frames) - 1)
    share = (places - before)[:, None]
    return frames[before] * (1 - share) + frames[after] * share


def cosines(vectors: Tensor) -> Tensor:
    """Give the cosine (n, n) of each pair of ``vectors`` (n, size)."""
    unit = nn.functional.normalize(vectors, dim=1)
    return unit @ unit.T


def average_precision(closeness: np.ndarray, words: Sequence[Any]) -> float:
    """Give the average precision (Carlin et al. 2011) of pairs of the same word among all pairs, in percent.

    ``closeness`` (n, n) orders the pairs. NaN where no pair has the same word, or each has.
    """
    from sklearn.metrics import average_precision_score  # 1 s to import, which only training needs

    first, second = np.triu_indices(len(words), 1)
    same = np.asarray(words)[first] == np.asarray(words)[second]
    if same.all() or not same.any():
        return float("nan")
    return 100 * float(average_precision_score(same, closeness[first, second]))


def _read_frames(source: Path) -> np.ndarray:
    try:
        frames = np.load(source, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise InputError(f"{source} is no .npy file of frames (frames, {COEFFICIENTS}): {error}") from None
    if not isinstance(frames, np.ndarray) or frames.ndim != 2 or frames.shape[1] != COEFFICIENTS or not len(frames):
        shape = getattr(frames, "shape", "none")
        raise InputError(f"{source} has shape {shape}; it should be (frames, {COEFFICIENTS}) with a frame or more")
    if frames.dtype.kind not in "fiu" or not np.isfinite(frames).all():
        raise InputError(f"{source} holds values that are no finite numbers")
    return frames.astype(np.float32)


def _padded(batch: Batch, name: str) -> Padded:
    part = batch[name]
    assert isinstance(part, Padded)
    return part
