"""Connectionist temporal classification (Graves et al. 2006): a transcript shorter than its frames (N23).

Symbol 0 is the null ("no label here"). The loss sums over all alignments of a transcript with its steps: torch's CTC
loss trains, ``forward_backward`` is the same to be read. Where in time a symbol stands is found by Viterbi alignment.

Networks trained so tend to mark a symbol by one peak anywhere near it (Zeyer et al. 2021). Label priors (Huang et al.
2024, section 3) undo that: in training, each step's probabilities are divided by a power of how often the network put
out each symbol in the epoch before. Then a symbol fills the time in which it is spoken.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal, TextIO
from zipfile import BadZipFile

import numpy as np
import pydantic
import torch
from torch import Tensor, nn

from stages.core.base.errors import InputError
from stages.core.base.params import settings
from stages.core.learning.batch import Padded, Recurrence, mask, pad, pad_indices
from stages.core.learning.dataset import Example
from stages.core.learning.task import Batch, Task, Training
from stages.core.learning.vocabulary import Vocabulary

NULL = "<null>"
NEVER = -1e4  # nats: the null's score where it is ruled out; a number, so that sums of it stay numbers
PAUSE = 0.25  # seconds: a shorter silence between two symbols is no pause (Goldman-Eisler 1968), and is divided
BANDS = 40  # of log-mel frames; behind them may stand the pitch, which is no band
LIKELY = 1e-3  # the probability from which on another symbol is weighed against one that was heard
TRACED_FRAMES = 150


@settings
class Settings:
    """What is heard, what makes training harder, and what is learnt.

    ``coefficients`` a frame: 13 cepstral ones, 40 log-mel bands, or 42: bands and pitch (core/audio.py); ``stack``
    neighbouring frames are one step; ``centre`` takes off each utterance's mean, and so much of what tells a voice or a
    room from another. In training alone: ``noise`` is Gaussian, in standard deviations of a coefficient; ``stretch``
    draws each utterance's length from 1 - stretch to 1 + stretch of what it was; ``warp`` stretches the axis of
    frequency by 1 - warp to 1 + warp, as another length of the throat would (Jaitly and Hinton 2013; for log-mel
    bands); ``time_masks`` spans of up to ``time_mask`` frames and ``frequency_masks`` bands of up to ``frequency_mask``
    coefficients are set to the mean (SpecAugment, Park et al. 2019, section 2); the pitch is neither warped nor masked.
    With ``strings`` over 0, an epoch is so many concatenations of 1 to ``longest`` training recordings, drawn afresh;
    ``longest`` is reached after ``growth`` epochs. ``separator`` stands between symbols that are shown.
    ``criterion`` framewise is the notes' trimming: each step is taught the symbol spoken there, never the null, and
    equal neighbours are merged afterwards. ``prior`` is the power of the label priors in CTC's training.
    """

    coefficients: Literal[13, 40, 42] = 13
    stack: int = pydantic.Field(default=3, gt=0)
    centre: bool = False
    noise: float = pydantic.Field(default=0.0, ge=0)
    dropout: float = pydantic.Field(default=0.0, ge=0, lt=1)
    stretch: float = pydantic.Field(default=0.0, ge=0, lt=1)
    warp: float = pydantic.Field(default=0.0, ge=0, lt=1)
    time_masks: int = pydantic.Field(default=0, ge=0)
    time_mask: int = pydantic.Field(default=10, gt=0)
    frequency_masks: int = pydantic.Field(default=0, ge=0)
    frequency_mask: int = pydantic.Field(default=4, gt=0)
    strings: int = pydantic.Field(default=0, ge=0)
    longest: int = pydantic.Field(default=7, gt=0)
    growth: int = pydantic.Field(default=5, ge=0)
    separator: str = " "
    criterion: Literal["ctc", "framewise"] = "ctc"
    prior: float = pydantic.Field(default=0.0, ge=0)

    @pydantic.model_validator(mode="after")
    def _prior_is_for_ctc(self) -> Settings:
        if self.prior and self.criterion != "ctc":
            raise ValueError("prior is for the criterion ctc; framewise training has no alignments to weigh")
        return self

    @pydantic.model_validator(mode="after")
    def _warp_is_for_bands(self) -> Settings:
        if self.warp and self.coefficients == 13:
            raise ValueError("warp is for bands of frequency, and 13 coefficients are cepstral: set coefficients to 40")
        return self

    @pydantic.field_validator("frequency_mask")
    @classmethod
    def _leaves_something(cls, frequency_mask: int) -> int:
        if frequency_mask >= 13:
            raise ValueError("a mask should be narrower than a frame, which has 13 coefficients or more")
        return frequency_mask


def fit_vocabularies(examples: list[Example], settings: Settings) -> dict[str, Vocabulary]:
    """Collect the symbols of the transcripts, the null first."""
    return {"symbols": Vocabulary([NULL, *sorted({symbol for example in examples for symbol in example["symbols"]})])}


class ConnectionistTemporalClassification(Task):
    """Normalised, stacked frames, a model, a linear layer, and the sum over all alignments as likelihood."""

    decoder = {"name": "best_path"}

    def __init__(
        self, settings: Settings, vocabularies: dict[str, Vocabulary], build_model: Callable[[int], nn.Module]
    ) -> None:
        super().__init__(vocabularies)
        self.settings = settings
        self.symbols = vocabularies["symbols"]
        self.separator = settings.separator
        self.mean: Tensor
        self.deviation: Tensor
        self.frame_seconds: Tensor
        self.prior: Tensor
        self.register_buffer("mean", torch.zeros(settings.coefficients))
        self.register_buffer("deviation", torch.ones(settings.coefficients))
        self.register_buffer("frame_seconds", torch.ones(1, dtype=torch.float64))
        self.register_buffer("prior", torch.full((len(self.symbols),), 1 / len(self.symbols)))
        self.model = build_model(settings.coefficients * settings.stack)
        self.dropout = nn.Dropout(settings.dropout)
        self.head = nn.Linear(int(self.model.output_size), len(self.symbols))  # type: ignore[arg-type]
        self.arrays: dict[str, np.ndarray] = {}
        self._transcripts: list[list[int]] = []
        self._put_out = torch.zeros(len(self.symbols))  # probability given to each symbol in this epoch, in steps

    @property
    def step_seconds(self) -> float:
        """Seconds from one step to the next."""
        return self.settings.stack * float(self.frame_seconds)

    def transcripts(self) -> list[list[int]]:
        """Give the training transcripts, as indices of symbols; they are part of the artifact."""
        return self._transcripts

    # torch keeps with weights and buffers what has no shape known beforehand by these two.

    def get_extra_state(self) -> Tensor:
        """Give the training transcripts as a tensor of bytes."""
        return torch.frombuffer(bytearray(json.dumps(self._transcripts).encode()), dtype=torch.uint8)

    def set_extra_state(self, state: Tensor) -> None:
        """Take what ``get_extra_state`` gave."""
        self._transcripts = json.loads(bytes(state.cpu().numpy()))

    # The data, and what training asks of them.

    def attach(self, arrays: dict[str, np.ndarray]) -> None:
        """Take the recordings: "features" (frames, coefficients), "offsets" (recordings + 1,), "frame_seconds" (1,)."""
        found = arrays["features"].shape[1]
        if found != self.settings.coefficients:
            raise InputError(
                f"the recordings have {found} coefficients a frame, but the setting task.coefficients is "
                f"{self.settings.coefficients}"
            )
        self.arrays = arrays

    def observe(self, examples: list[Example], arrays: dict[str, np.ndarray]) -> None:
        """Take mean and standard deviation of each coefficient over all training frames, and the transcripts."""
        frames = np.concatenate([self._frames(example) for example in examples]).astype(np.float64)
        self.mean.copy_(torch.from_numpy(frames.mean(axis=0)))
        self.deviation.copy_(torch.from_numpy(frames.std(axis=0)))
        self.frame_seconds.copy_(torch.from_numpy(arrays["frame_seconds"]))
        self._transcripts = [self.symbols.encode(example["symbols"]) for example in examples]

    def prepare_training(self, plan: Training, train: list[Example], validation: list[Example]) -> None:
        """Take the plan; raises InputError that names the first example that cannot be learnt."""
        super().prepare_training(plan, train, validation)
        repeated = self.settings.longest if self.settings.strings else 1
        for example in train:
            self.check(example, repeated)
        for example in validation:
            self.check(example)

    def check(self, example: Example, repeated: int = 1) -> None:
        """Raise InputError where ``example``, said ``repeated`` times in a row, has no alignment or no labels.

        A transcript needs a step a symbol and a null between equal neighbours (Graves et al. 2006, section 4.1). Time
        stretch never shortens an utterance below that. Of strings the worst case is checked: the same recording again
        and again, a null between any two.
        """
        unseen = [symbol for symbol in example["symbols"] if symbol not in self.symbols.index]
        if unseen:
            raise InputError(f"example {example['id']} has the symbol {unseen[0]!r}, which no training example has")
        if self.settings.criterion == "framewise":
            if "boundaries" not in example:
                raise InputError(
                    f"example {example['id']} has no boundaries, which the criterion framewise learns from; a corpus "
                    "without them is for the criterion ctc"
                )
            return
        steps = -(-self._count(example) * repeated // self.settings.stack)
        needed = repeated * _least_steps(example["symbols"]) + repeated - 1
        if steps < needed:
            said = f", said {repeated} times in a row as strings may have it," if repeated > 1 else ""
            raise InputError(
                f"example {example['id']}{said} has {steps} steps of {self.settings.stack} frames, too few for CTC: "
                f"symbols and a null between equal neighbours need {needed}; a smaller task.stack gives more steps"
            )

    def draw(self, examples: list[Example], generator: torch.Generator) -> list[Example]:
        """Concatenate training recordings, drawn with replacement, into fresh strings (examples as they are for 0)."""
        if not self.settings.strings:
            return examples
        grown = (self.current_epoch + 1) / max(self.settings.growth, 1)
        longest = max(1, min(self.settings.longest, round(self.settings.longest * grown)))
        counts = torch.randint(1, longest + 1, (self.settings.strings,), generator=generator).tolist()
        drawn = [torch.randint(len(examples), (count,), generator=generator).tolist() for count in counts]
        return [self._join([examples[index] for index in indices]) for indices in drawn]

    def _join(self, examples: list[Example]) -> Example:
        """Say ``examples`` one after the other."""
        recordings = [recording for example in examples for recording in example["recordings"]]
        joined: Example = {
            "id": "+".join(map(str, recordings)),
            "recordings": recordings,
            "symbols": [symbol for example in examples for symbol in example["symbols"]],
        }
        if all("boundaries" in example for example in examples):
            counts = np.cumsum([0, *map(self._count, examples)]) * float(self.frame_seconds)
            joined["boundaries"] = [
                [start + begun, end + begun]
                for example, begun in zip(examples, counts.tolist(), strict=False)
                for start, end in example["boundaries"]
            ]
        return joined

    def _frames(self, example: Example) -> np.ndarray:
        """Give the frames (frames, coefficients) before normalisation."""
        if "features" in example:
            frames = np.asarray(example["features"], dtype=np.float32)
        else:
            features, offsets = self.arrays["features"], self.arrays["offsets"]
            frames = np.concatenate([features[offsets[r] : offsets[r + 1]] for r in example["recordings"]])
        return frames - frames.mean(axis=0) if self.settings.centre else frames

    def _normalised(self, example: Example) -> Tensor:
        """Give the frames (frames, coefficients) with training's mean of 0 and deviation of 1."""
        return (torch.from_numpy(self._frames(example)) - self.mean.cpu()) / self.deviation.cpu()

    def _count(self, example: Example) -> int:
        """Count the frames."""
        if "features" in example:
            return len(example["features"])
        offsets = self.arrays["offsets"]
        return int(sum(offsets[r + 1] - offsets[r] for r in example["recordings"]))

    def size(self, example: Example) -> int:
        """Give the number of steps (stacked frames)."""
        return -(-self._count(example) // self.settings.stack)

    def collate(self, examples: list[Example]) -> Batch:
        """Steps (batch, time, coefficients x stack), stretched and masked in training.

        Where the examples have transcripts of known symbols also "transcripts" (batch, symbols), and for the criterion
        framewise, where they have boundaries, "labels" (batch, time): the symbol of each step.
        """
        frames = pad([self._normalised(example) for example in examples])
        if self.training:
            frames = self._altered(frames, examples)
        batch: Batch = {"steps": self._stacked(frames)}
        if all("symbols" in example and self.symbols.index.keys() >= set(example["symbols"]) for example in examples):
            batch["transcripts"] = pad_indices([self.symbols.encode(example["symbols"]) for example in examples])
            if self.settings.criterion == "framewise" and all("boundaries" in example for example in examples):
                counts = zip(examples, frames.lengths.tolist(), strict=True)
                batch["labels"] = pad([self._labels(example, count) for example, count in counts])
        return batch

    def _altered(self, frames: Padded, examples: list[Example]) -> Padded:
        """Stretch, warp and mask the normalised ``frames`` (batch, time, coefficients) of ``examples`` at random."""
        values, lengths = frames.values, frames.lengths
        if self.settings.stretch:
            # Not below what the transcript needs, and so no longer than the utterance itself where that is just enough.
            needed = [self.settings.stack * (_least_steps(example["symbols"]) - 1) + 1 for example in examples]
            drawn = (lengths * _around_one(self.settings.stretch, len(lengths))).round().long().clamp(min=1)
            counts = torch.maximum(drawn, torch.minimum(torch.tensor(needed), lengths))
            values, lengths = stretched(values, lengths, counts), counts
        bands, rest = values[..., :BANDS], values[..., BANDS:]
        if self.settings.warp:
            bands = warped(bands, _around_one(self.settings.warp, len(lengths)))
        for _ in range(self.settings.frequency_masks):
            every = torch.full_like(lengths, bands.shape[2])
            bands = bands.masked_fill(drawn_spans(every, self.settings.frequency_mask, bands.shape[2])[:, None], 0)
        values = torch.cat([bands, rest], dim=2)
        for _ in range(self.settings.time_masks):
            values = values.masked_fill(drawn_spans(lengths, self.settings.time_mask, values.shape[1])[..., None], 0)
        return Padded(values, lengths)

    def _stacked(self, frames: Padded) -> Padded:
        """Lay neighbouring frames side by side: (batch, steps, coefficients x stack), a last step filled up with 0."""
        stack = self.settings.stack
        values = nn.functional.pad(frames.values, (0, 0, 0, -frames.values.shape[1] % stack))
        return Padded(values.reshape(len(values), -1, values.shape[2] * stack), -(-frames.lengths // stack))

    def _labels(self, example: Example, count: int) -> Tensor:
        """Give the symbol at the centre of each step of ``example`` stretched to ``count`` frames, (steps,)."""
        steps = -(-count // self.settings.stack)
        speed = self._count(example) / count
        centres = (np.arange(steps) + 0.5) * self.step_seconds * speed
        return torch.tensor(self.symbols.encode(example["symbols"]))[nearest(centres, example["boundaries"])]

    # The network and its losses.

    def log_probabilities(self, batch: Batch) -> Tensor:
        """(batch, time, symbols), in nats."""
        steps = batch["steps"]
        assert isinstance(steps, Padded)
        values = steps.values
        if self.training and self.settings.noise:
            values = values + self.settings.noise * torch.randn_like(values)
        outputs, _ = self.model(self.dropout(values), steps.lengths)
        return self._classify(outputs)

    def _classify(self, outputs: Tensor) -> Tensor:
        """From the model's ``outputs`` to log-probabilities; the criterion framewise rules out the null."""
        scores: Tensor = self.head(self.dropout(outputs))
        if self.settings.criterion == "framewise":
            scores = torch.cat([torch.full_like(scores[..., :1], NEVER), scores[..., 1:]], dim=-1)
        return scores.log_softmax(dim=-1)

    def loss(self, batch: Batch) -> tuple[Tensor, int]:
        """Negative log-likelihood a symbol of the transcripts, summed over all alignments; framewise: a step.

        With label priors the training loss is no likelihood: every alignment's probability is divided by that of its
        symbols by themselves (to the power ``prior``, and relative to the rarest, so that the loss is not negative).
        """
        steps, transcripts = batch["steps"], batch["transcripts"]
        assert isinstance(steps, Padded) and isinstance(transcripts, Padded)
        scores = self.log_probabilities(batch)
        if self.settings.criterion == "framewise":
            labels = batch["labels"]
            assert isinstance(labels, Padded)
            count = int(steps.lengths.sum())
            return -(scores.gather(2, labels.values[..., None])[..., 0] * steps.mask).sum() / count, count
        normaliser = scores.new_zeros(())
        if self.training and self.settings.prior:
            self._put_out += (scores.detach().exp() * steps.mask[..., None]).sum(dim=(0, 1)).cpu()
            scores = scores - self.settings.prior * (self.prior / self.prior.min()).log()
            # torch's gradient takes for granted that scores are normalised. Every alignment has each step once, so a
            # step's normaliser comes out of the sum over alignments.
            normalisers = scores.logsumexp(dim=-1)
            scores = scores - normalisers[..., None]
            normaliser = (normalisers * steps.mask).sum()
        total = nn.functional.ctc_loss(
            scores.transpose(0, 1), transcripts.values, steps.lengths, transcripts.lengths, reduction="sum"
        )
        count = int(transcripts.lengths.sum())
        return (total - normaliser) / count, count

    def end_epoch(self) -> None:
        """Take how often each symbol was put out as the next epoch's prior; one more each, so that none has 0."""
        if self.settings.prior:
            counts = self._put_out + 1
            self.prior.copy_(counts / counts.sum())
            self._put_out.zero_()

    # Reading out: times, confidence, streams.

    def locate(self, log_probabilities: Any, symbols: list[int]) -> list[tuple[float, float, float]]:
        """Give start and end in seconds and the confidence (0 to 1) of each of the ``symbols`` of a transcript.

        ``log_probabilities`` (time, symbols) in nats. A symbol lasts for the steps that the best alignment gives it; a
        gap between two that is shorter than ``PAUSE`` is divided where the one becomes less likely than the other.
        Without label priors a symbol is often a single step.
        """
        if not symbols:
            return []
        scores = torch.as_tensor(log_probabilities).detach().double().cpu()
        steps = spans(align(scores.numpy(), symbols))
        _share_gaps(scores.numpy(), symbols, steps, longest=PAUSE / self.step_seconds)
        edges = [(start * self.step_seconds, end * self.step_seconds) for start, end in steps]
        sure = confidence(scores, symbols).tolist()
        rows = zip(edges, sure, strict=True)
        return [(round(start, 4), round(end, 4), round(share, 4)) for (start, end), share in rows]

    def best_path(self, log_probabilities: Tensor, last: int = 0, change: float = 0.0) -> list[int]:
        """Read the best symbol of each step of ``log_probabilities`` (time, symbols) as a transcript's symbols.

        Repeats are merged, then nulls dropped (Graves et al. 2006, section 3.2); ``last`` is the symbol of the step
        before the first. Each change of symbol costs the path ``change`` nats (``steadiest``).
        """
        path = steadiest(log_probabilities.cpu().numpy(), change) if change else log_probabilities.argmax(dim=-1)
        return collapse(path.tolist(), last)

    def transcribe(self, log_probabilities: Any, symbols: list[int]) -> dict[str, Any]:
        """Give "prediction", "times" and "confidence" of the transcript ``symbols``; see ``locate``."""
        places = self.locate(log_probabilities, symbols)
        return {
            "prediction": self.symbols.decode(symbols),
            "times": [[start, end] for start, end, _ in places],
            "confidence": [sure for _, _, sure in places],
        }

    def stream(self, seconds: float) -> Callable[[Example], Iterator[str]]:
        """Give what hears an example ``seconds`` at a time, as if it came in piecemeal; together, the best path's text.

        The model goes on from its state. Raises InputError where it has none, since it also reads backwards or reads
        all steps at once, and where utterances are centred.
        """
        if not isinstance(self.model, Recurrence) or self.model.backwards:
            raise InputError(
                f"this model, {type(self.model).__name__}, does not hear as it goes: only recurrent networks of one "
                "direction (elman, lstm, gru) can decode a stream"
            )
        if self.settings.centre:
            raise InputError(
                "this model takes off each utterance's mean (the setting task.centre), so it needs the utterance as a "
                "whole; one trained without can decode a stream"
            )
        return lambda example: self._hear(example, max(1, round(seconds / self.step_seconds)))

    def _hear(self, example: Example, count: int) -> Iterator[str]:
        """Yield what is heard in each next ``count`` steps of ``example``."""
        state, last = None, 0
        for piece in self._stacked(pad([self._normalised(example)])).values[0].split(count):
            outputs, state = self.model(piece[None], torch.tensor([len(piece)]), state)
            scores = self._classify(outputs)[0]
            heard = self.symbols.decode(self.best_path(scores, last))
            yield "".join(symbol + self.separator for symbol in heard)
            last = int(scores[-1].argmax())

    # What the task says to a person.

    def read_input(self, source: Path | TextIO) -> list[Example]:
        """A WAV or FLAC file; or a .npy of coefficients (frames, coefficients), or a .npz of one an utterance."""
        count = self.settings.coefficients
        if not isinstance(source, Path):
            raise InputError(
                f"speech is read from a file: give the path of a .wav, a .flac, or a .npy or .npz of frames ({count} "
                "coefficients each)"
            )
        if source.suffix not in (".npy", ".npz"):
            from stages.core import audio  # librosa behind it takes seconds, and no stage of the pipeline needs it

            return [{"id": source.stem, "features": audio.FRONT_ENDS[count].frames(audio.read(source))}]
        try:
            loaded = np.load(source, allow_pickle=False)
            arrays = {source.stem: loaded} if isinstance(loaded, np.ndarray) else dict(loaded)
        except (OSError, ValueError, EOFError, BadZipFile) as error:
            raise InputError(f"{source} is no .npy or .npz file of frames (frames, {count}): {error}") from None
        if not arrays:
            raise InputError(f"{source} holds no array; it should hold one of shape (frames, {count})")
        return [
            {"id": name, "features": _checked(array, count, f"{source}, array {name}")}
            for name, array in arrays.items()
        ]

    def present(self, record: dict[str, Any]) -> str:
        """Show what was said in one line, then a line a symbol: start and end in seconds, confidence, symbol."""
        text = self.separator.join(record["prediction"]) or "(nothing heard)"
        # The symbol stands last: a Chinese character is two columns wide, which not every terminal shows.
        rows = zip(record.get("times", []), record.get("confidence", []), record["prediction"], strict=False)
        lines = [f"{start:8.2f} {end:8.2f} s {100 * sure:6.1f} %  {symbol}" for (start, end), sure, symbol in rows]
        return "\n".join([f"{record['id']}\t{text}", *lines])

    def most_telling(self, examples: list[Example]) -> Example:
        """Choose the first of the longest transcripts among those that say a symbol twice in a row, if any does.

        Between the two the network has to put out a null.
        """
        doubled = [example for example in examples if _least_steps(example["symbols"]) > len(example["symbols"])]
        return max(doubled, key=lambda e: len(e["symbols"])) if doubled else super().most_telling(examples)

    def trace(self, example: Example) -> dict[str, Any] | None:
        """Give what is heard in ``example`` as it goes by, for a picture of at most ``TRACED_FRAMES`` columns.

        "features" (frames, coefficients) are normalised, without the pitch, one every "frame_seconds"; "posteriors"
        (steps, symbols), one every "step_seconds", of "symbols": the null and those that reach a twentieth anywhere;
        "alignment" has the symbol of each step in the best alignment of the best path's transcript "prediction", and
        "times" its symbols' [start, end] in seconds, as do "boundaries", the true ones, where known.
        """
        batch = self.collate([example])
        scores, steps = self.log_probabilities(batch)[0], batch["steps"]
        assert isinstance(steps, Padded)
        heard = self.best_path(scores)
        said = self.transcribe(scores, heard)
        chosen = sorted({0, *heard} | set((scores.exp().amax(dim=0) >= 0.05).nonzero()[:, 0].tolist()))
        frames = steps.values[0].reshape(-1, self.settings.coefficients)[: self._count(example), :BANDS]
        every = -(-len(frames) // TRACED_FRAMES)
        states = align(scores.double().numpy(), heard)
        return {
            "kind": "posteriors",
            "id": example["id"],
            "frame_seconds": every * float(self.frame_seconds),
            "features": [[round(value, 1) for value in frame] for frame in frames[::every].tolist()],
            "step_seconds": self.step_seconds,
            "symbols": self.symbols.decode(chosen),
            "posteriors": [[round(value, 3) for value in step] for step in scores[:, chosen].exp().tolist()],
            "prediction": said["prediction"],
            "alignment": [self.symbols.symbols[heard[state // 2] if state % 2 else 0] for state in states.tolist()],
            "times": said["times"],
            **{name: example[name] for name in ("boundaries",) if name in example},
            "target": example.get("symbols", []),
        }


def collapse(path: list[int], last: int = 0) -> list[int]:
    """Merge repeated symbols of ``path``, then drop the nulls (symbol 0); ``last`` is the symbol before the path."""
    return [symbol for before, symbol in pairwise([last, *path]) if symbol not in (0, before)]


def steadiest(log_probabilities: np.ndarray, change: float) -> np.ndarray:
    """Find the symbols (time,) of the most probable steps (time, symbols), less ``change`` nats for each change.

    This is Viterbi's search where any symbol may follow any other, and all changes are equally likely.
    """
    best = np.zeros(log_probabilities.shape[1])
    came = np.empty(log_probabilities.shape, dtype=np.int64)  # the symbol of the step before
    for time, step in enumerate(log_probabilities):
        other = best.argmax()
        came[time] = np.where(best >= best[other] - change, np.arange(len(best)), other)
        best = np.maximum(best, best[other] - change) + step
    path = [int(best.argmax())]
    for row in came[:0:-1]:
        path.append(int(row[path[-1]]))
    return np.array(path[::-1])


def _least_steps(symbols: list[Any]) -> int:
    """Count the steps that CTC needs: one a symbol, and a null between equal neighbours."""
    return len(symbols) + sum(first == second for first, second in pairwise(symbols))


def _checked(array: np.ndarray, coefficients: int, where: str) -> np.ndarray:
    if array.ndim != 2 or array.shape[1] != coefficients or not len(array):
        raise InputError(f"{where} has shape {array.shape}; it should be (frames, {coefficients}) with a frame or more")
    if array.dtype.kind not in "fiu" or not np.isfinite(array).all():
        raise InputError(f"{where} holds values that are no finite numbers")
    return array.astype(np.float32)


def _around_one(most: float, count: int) -> Tensor:
    """Draw ``count`` factors from 1 - most to 1 + most."""
    return 1 + most * (2 * torch.rand(count) - 1)


def stretched(values: Tensor, lengths: Tensor, counts: Tensor) -> Tensor:
    """Resample the first ``lengths`` of the frames of (batch, time, coefficients) linearly to ``counts`` of each.

    The first and the last frame of each stay what they are; what is behind ``counts`` is 0.
    """
    ends, last = (counts - 1).clamp(min=1), (lengths - 1)[:, None]
    time = torch.arange(int(counts.max()))
    places = torch.minimum(time * (last / ends[:, None]), last)
    below = torch.minimum(places.long(), (last - 1).clamp(min=0))
    rows = torch.arange(len(values))[:, None]
    above = torch.minimum(below + 1, last)
    between = torch.lerp(values[rows, below], values[rows, above], (places - below)[..., None])
    return between * mask(counts, len(time))[..., None]


def warped(bands: Tensor, factors: Tensor) -> Tensor:
    """Move each of the bands of (batch, time, bands) to ``factors`` (batch,) times its place, linearly.

    The highest band is repeated where there is none above it.
    """
    count = bands.shape[2]
    places = (torch.arange(count) / factors[:, None]).clamp(max=count - 1)[:, None]
    below = places.long().clamp(max=count - 2).expand_as(bands)
    return torch.lerp(bands.gather(2, below), bands.gather(2, below + 1), places - below)


def drawn_spans(lengths: Tensor, most: int, size: int) -> Tensor:
    """Draw a span of up to ``most`` places in each of ``lengths`` (batch,), and of at most a quarter of them.

    Gives (batch, size), True in the span.
    """
    widths = torch.minimum(torch.randint(most + 1, lengths.shape), lengths // 4)
    starts = (torch.rand(len(lengths)) * (lengths - widths + 1)).long()
    places = torch.arange(size) - starts[:, None]
    return (places >= 0) & (places < widths[:, None])


def nearest(centres: np.ndarray, boundaries: list[list[float]]) -> np.ndarray:
    """Give, for each of the ``centres`` (steps,) in seconds, the index (steps,) of the symbol with the nearest span."""
    start, end = np.array(boundaries).T[:, None]
    outside = np.maximum(np.maximum(start - centres[:, None], centres[:, None] - end), 0)
    return outside.argmin(axis=1)


def forward_backward(
    log_probabilities: Tensor, targets: Tensor, input_lengths: Tensor, target_lengths: Tensor
) -> tuple[Tensor, Tensor]:
    """Sum over all alignments, as Graves et al. (2006, section 4) have it, in log space and for a whole batch.

    ``log_probabilities`` (batch, time, symbols) in nats, the null 0; ``targets`` (batch, length) without nulls, padded
    with anything that is a symbol; ``input_lengths`` and ``target_lengths`` (batch,) count steps and symbols.

    Gives -ln p(l|x) (batch,), infinite where no alignment exists, and the occupancies (batch, time, symbols): the
    probability, given the transcript, that a step of the alignment is that symbol. These are minus the gradient by the
    log-probabilities, and probabilities minus occupancies the gradient by what enters a softmax (equation 16).

    A state s is a place in l', the transcript with nulls around every symbol; axes: time, batch, 2 x length + 1 states.
    """
    batch, time, _ = log_probabilities.shape
    states = extended(targets)
    emitted = log_probabilities.gather(2, states[:, None].expand(-1, time, -1)).transpose(0, 1)  # ln y_t(l'_s)
    skips = _may_skip(states)
    nothing = emitted.new_full((batch, states.shape[1]), -torch.inf)

    forward = [nothing.clone()]  # ln alpha_t(s), equations 6 to 8
    forward[0][:, :2] = emitted[0, :, :2]
    for step in emitted[1:]:
        forward.append(_from_before(forward[-1], skips) + step)

    place = torch.arange(states.shape[1])
    last = (place == 2 * target_lengths[:, None]) | (place == 2 * target_lengths[:, None] - 1)
    final = torch.where(last, 0.0, nothing)
    # ln (beta_t(s) / y_t(l'_s)), equations 9 to 11: without the step's own probability, which may be 0.
    backward = [final]
    for t in range(time - 2, -1, -1):
        onward = _to_after(backward[-1] + emitted[t + 1], skips)
        backward.append(torch.where((input_lengths == t + 1)[:, None], final, onward))
    backward.reverse()

    through = torch.stack(forward) + torch.stack(backward)  # equation 14's terms; padding's are left out below
    likelihood = through[0].logsumexp(dim=1)  # the sum is the same at every step
    real = mask(input_lengths, time).T[..., None]
    shares = torch.where(real, through - likelihood[:, None], -torch.inf).exp().nan_to_num(0.0).transpose(0, 1)
    occupancies = torch.zeros_like(log_probabilities)
    occupancies.scatter_add_(2, states[:, None].expand(-1, time, -1), shares)  # equation 15's sum over lab(l, k)
    return -likelihood, occupancies


def extended(targets: Tensor) -> Tensor:
    """Put the null before, between and after symbols: (batch, length) -> (batch, 2 x length + 1)."""
    states = targets.new_zeros(len(targets), 2 * targets.shape[1] + 1)
    states[:, 1::2] = targets
    return states


def _may_skip(states: Tensor) -> Tensor:
    """Say which states (batch, states) may be reached from two before: a symbol unlike the one before it."""
    skips = torch.zeros_like(states, dtype=torch.bool)
    skips[:, 2:] = (states[:, 2:] != 0) & (states[:, 2:] != states[:, :-2])
    return skips


def _from_before(scores: Tensor, skips: Tensor) -> Tensor:
    """Add up, in log space, what reaches each state: from itself, from the one before, from two before."""
    once = nn.functional.pad(scores, (1, 0), value=-torch.inf)[:, :-1]
    twice = nn.functional.pad(scores, (2, 0), value=-torch.inf)[:, :-2].masked_fill(~skips, -torch.inf)
    return torch.stack([scores, once, twice]).logsumexp(dim=0)


def _to_after(scores: Tensor, skips: Tensor) -> Tensor:
    """Add up, in log space, what each state leads to: itself, the next, the one after next."""
    once = nn.functional.pad(scores, (0, 1), value=-torch.inf)[:, 1:]
    twice = nn.functional.pad(scores.masked_fill(~skips, -torch.inf), (0, 2), value=-torch.inf)[:, 2:]
    return torch.stack([scores, once, twice]).logsumexp(dim=0)


def align(log_probabilities: np.ndarray, symbols: list[int]) -> np.ndarray:
    """Find the most probable alignment (Viterbi): the state (time,) of each step, of the 2 x symbols + 1.

    ``log_probabilities`` (time, symbols); odd states 2i + 1 are symbol i, even ones the null. Raises ValueError where
    the steps are too few for an alignment.
    """
    states = extended(torch.tensor([symbols], dtype=torch.int64))
    skips = _may_skip(states)[0].numpy()
    emitted = log_probabilities[:, states[0].numpy()]
    if len(emitted) < _least_steps(symbols):
        raise ValueError(f"{len(symbols)} symbols need {_least_steps(symbols)} steps; there are {len(emitted)}")
    best = np.full(len(skips), -np.inf)
    best[:2] = emitted[0, :2]
    came = np.zeros(emitted.shape, dtype=np.int64)  # from so many states before
    reached = np.full((3, len(skips)), -np.inf)
    for time, step in enumerate(emitted[1:], start=1):
        reached[0], reached[1, 1:], reached[2, 2:] = best, best[:-1], np.where(skips[2:], best[:-2], -np.inf)
        came[time] = reached.argmax(axis=0)
        best = reached.max(axis=0) + step
    state = len(skips) - 1
    if symbols and best[state - 1] > best[state]:
        state -= 1
    path = [state]
    for row in came[:0:-1]:
        path.append(path[-1] - row[path[-1]])
    return np.array(path[::-1])


def spans(path: np.ndarray) -> list[list[float]]:
    """Give the first step and the one after the last, of each symbol of an alignment (``align``)."""
    starts = np.flatnonzero(np.diff(path, prepend=-1) != 0)
    ends = [*starts[1:].tolist(), len(path)]
    return [[start, end] for start, end in zip(starts.tolist(), ends, strict=True) if path[start] % 2]


def _share_gaps(scores: np.ndarray, symbols: list[int], steps: list[list[float]], longest: float) -> None:
    """Divide gaps of less than ``longest`` steps between two of ``steps`` (``spans``), in place.

    The steps of a gap go to the symbol before up to where that is likeliest, given that each belongs to one of the two;
    ``scores`` (time, symbols). Equal neighbours have half each.
    """
    for (before, first), (after, second) in pairwise(zip(steps, symbols, strict=True)):
        start, end = int(before[1]), int(after[0])
        if 0 < end - start < longest:
            gains = np.cumsum([0, *(scores[start:end, first] - scores[start:end, second])])
            before[1] = after[0] = (start + end) / 2 if first == second else start + int(gains.argmax())


def confidence(log_probabilities: Tensor, symbols: list[int]) -> Tensor:
    """Give the probability (symbols,) of each of ``symbols``, the others being right: 0 to 1.

    That is the transcript's probability over the sum of it and of those with another symbol, or none, in its place.
    ``log_probabilities`` (time, symbols). Symbols that are nowhere likelier than ``LIKELY`` are not weighed.
    """
    likely = (log_probabilities.exp().amax(dim=0) >= LIKELY).nonzero()[:, 0].tolist()
    rows, places = [symbols], [-1]
    for place, said in enumerate(symbols):
        for other in likely:
            if other != said:
                rows.append([*symbols[:place], *[other] * (other != 0), *symbols[place + 1 :]])
                places.append(place)
    padded = pad_indices(rows)
    steps = torch.full((len(rows),), len(log_probabilities))
    scores = log_probabilities[:, None].expand(-1, len(rows), -1)
    negative = nn.functional.ctc_loss(scores, padded.values, steps, padded.lengths, reduction="none")
    others = torch.zeros(len(symbols), dtype=negative.dtype)
    others.index_add_(0, torch.tensor(places[1:], dtype=torch.int64), (negative[0] - negative[1:]).exp())
    return 1 / (1 + others)


def build(
    settings: Settings, vocabularies: dict[str, Vocabulary], build_model: Callable[[int], nn.Module]
) -> ConnectionistTemporalClassification:
    """Build the untrained task."""
    return ConnectionistTemporalClassification(settings, vocabularies, build_model)
