"""From a file of sound to frames of coefficients: reading, resampling, and the front ends.

Every front end places frame k in time: log-mel frame k, with or without pitch, is centred at (k + 1/2) x 10 ms and
stands for what lies from k x 10 ms to (k + 1) x 10 ms; MFCC frame k is centred at k x 25 ms. A waveform of n seconds
gives n / ``frame_seconds`` frames, rounded (MFCC: rounded down, and one more).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile
import soxr

from stages.core.base.errors import InputError

SHORTEST = 0.05  # seconds: the longest window of a frame
LONGEST = 36_000  # seconds of a file; a stream that was cut off may claim years
LOWEST_RATE = 4000  # samples a second
BANDS = 40  # of a log-mel frame
# The search for the pitch: F0 from 60 to 500 Hz, as lags in samples of 4,000 a second.
PITCH_RATE, PITCH_WINDOW, PITCH_LAGS = 4000, 160, np.arange(8, 67)
SHORT_LAGS = 0.002  # what a sample more costs, since a period's multiples correlate as well as the period
PITCH_JUMPS = 8.0  # what a change of F0 by a factor of e costs from one frame to the next
BLOCK = 4096  # frames whose windows are held at once; those of ten hours would not fit
QUIET = 0.01  # added to the energy of a window, so that silence has no pitch; a sample's mean energy is 1


@dataclass(frozen=True)
class Waveform:
    """Sound of one channel: ``samples`` (samples,) float32 in [-1, 1], ``rate`` of them a second."""

    samples: np.ndarray
    rate: int

    @property
    def seconds(self) -> float:
        """How long it lasts."""
        return len(self.samples) / self.rate


@dataclass(frozen=True)
class FrontEnd:
    """How a waveform becomes frames (frames, coefficients) float32, one every ``frame_seconds``."""

    frames: Callable[[Waveform], np.ndarray]
    frame_seconds: float


def read(path: Path, start: float = 0.0, end: float | None = None) -> Waveform:
    """Read a WAV or FLAC file (or its part from ``start`` to ``end`` seconds) of any rate; channels are averaged.

    A float file that exceeds [-1, 1] is scaled to a peak of 1. Raises InputError where the file is missing, empty or no
    sound, holds a sample that is not finite, has a rate below ``LOWEST_RATE``, is shorter than ``SHORTEST`` or longer
    than ``LONGEST``, and where the part reaches past its end.
    """
    with _opened(path) as sound:
        rate, length = sound.samplerate, sound.frames
        first, last = round(start * rate), length if end is None else round(end * rate)
        if not 0 <= first <= last <= length:
            raise InputError(f"{path} lasts {length / rate:.3f} s, so it has no part from {start} to {end} s")
        sound.seek(first)
        samples = sound.read(last - first, dtype="float32", always_2d=True)
    if not np.isfinite(samples).all():
        raise InputError(f"{path} holds a sample that is no finite number")
    mono = samples.mean(axis=1)
    waveform = Waveform(mono / max(1.0, float(np.abs(mono).max(initial=0.0))), rate)
    _require_length(waveform, f"{path} lasts")
    return waveform


def measure(path: Path) -> tuple[float, int]:
    """Give a file's length in seconds and its rate, from its header; raises InputError where it is no sound."""
    with _opened(path) as sound:
        return sound.frames / sound.samplerate, sound.samplerate


@contextmanager
def _opened(path: Path) -> Iterator[soundfile.SoundFile]:
    try:
        # By its number, since soundfile would else trust the name's ending more than the content.
        with path.open("rb") as stream, soundfile.SoundFile(stream.fileno(), closefd=False) as sound:
            if sound.samplerate < LOWEST_RATE:
                raise InputError(f"{path} has {sound.samplerate} samples a second; speech needs {LOWEST_RATE} or more")
            if sound.frames > LONGEST * sound.samplerate:
                raise InputError(f"{path} says no length, or one of more than {LONGEST} s; cut it into parts")
            yield sound
    except FileNotFoundError:
        raise InputError(f"{path} does not exist") from None
    except IsADirectoryError:
        raise InputError(f"{path} is a folder, not a file of sound") from None
    except (soundfile.LibsndfileError, OSError) as error:
        why = getattr(error, "error_string", str(error)).rstrip(".")
        raise InputError(f"{path} is no readable WAV or FLAC file ({why})") from None


def _require_length(waveform: Waveform, what: str) -> None:
    if waveform.seconds < SHORTEST:
        raise InputError(f"{what} {waveform.seconds:.3f} s, which is too short for a frame; {SHORTEST} s are needed")


def resample(waveform: Waveform, rate: int) -> Waveform:
    """Give the same sound at another rate, in Hz (soxr, high quality)."""
    if waveform.rate == rate:
        return waveform
    return Waveform(soxr.resample(waveform.samples, waveform.rate, rate, quality="HQ"), rate)


def log_mel(waveform: Waveform) -> np.ndarray:
    """Logarithms of the energy in 40 mel bands (frames, 40), as Kaldi has them: 16 kHz, 25 ms windows every 10 ms.

    No dither, so that the same sound gives the same bits; frames are centred (``snip_edges`` off), with the waveform
    mirrored at its ends. Raises InputError where ``waveform`` is shorter than ``SHORTEST``.
    """
    import kaldi_native_fbank

    _require_length(waveform, "a waveform lasts")
    options = kaldi_native_fbank.FbankOptions()
    options.frame_opts.samp_freq = 16000
    options.frame_opts.dither = 0
    options.frame_opts.snip_edges = False
    options.mel_opts.num_bins = BANDS
    bank = kaldi_native_fbank.OnlineFbank(options)
    bank.accept_waveform(16000, resample(waveform, 16000).samples)
    bank.input_finished()
    return np.stack([bank.get_frame(frame) for frame in range(bank.num_frames_ready)])


def log_mel_pitch(waveform: Waveform) -> np.ndarray:
    """The 40 bands of ``log_mel`` and the two columns of ``pitch``: (frames, 42)."""
    bands = log_mel(waveform)
    return np.concatenate([bands, pitch(waveform, len(bands))], axis=1)


def pitch(waveform: Waveform, count: int) -> np.ndarray:
    """How high the voice is at the centres of ``count`` frames of 10 ms (count, 2), for languages with tones.

    First log F0 less its mean over the recording, times how sure it is, so that a tone looks the same in a high voice
    and in a low one; second how sure it is, from 0 to 1: the correlation of 40 ms with what lies a period later. The
    path of the highest correlation is found as by Ghahremani et al. (2014, sections 3 and 4), with costs of our own.
    """
    samples = resample(waveform, PITCH_RATE).samples.astype(np.float64)
    samples /= max(float(np.sqrt(np.mean(samples**2))), 1e-6)  # or else a quiet recording has no pitch
    centres = ((np.arange(count) + 0.5) * PITCH_RATE / 100).astype(int)
    blocks = np.split(centres, range(BLOCK, count, BLOCK))
    correlation = np.concatenate([_correlation(samples, block) for block in blocks])
    path = _best_lags(correlation - SHORT_LAGS * PITCH_LAGS)
    sure = correlation[np.arange(count), path].clip(0, 1)
    height = np.log(PITCH_RATE / (PITCH_LAGS[path] + _peak(correlation, path)))
    height -= (height * sure).sum() / max(sure.sum(), 1e-6)
    return np.stack([height * sure, sure], axis=1).astype(np.float32)


def _correlation(samples: np.ndarray, centres: np.ndarray) -> np.ndarray:
    """Give how alike the window around each of ``centres`` and that each lag later are, -1 to 1: (centres, lags)."""
    first, last = int(PITCH_LAGS[0]), int(PITCH_LAGS[-1])
    width, half = PITCH_WINDOW + last, PITCH_WINDOW // 2
    start, end = int(centres[0]) - half, int(centres[-1]) - half + width
    around = np.pad(samples[max(0, start) : end], (max(0, -start), max(0, end - len(samples))))
    windows = np.lib.stride_tricks.sliding_window_view(around, width)[centres - centres[0]]
    size = 2 ** math.ceil(math.log2(width))
    here, later = np.fft.rfft(windows[:, :PITCH_WINDOW], size), np.fft.rfft(windows, size)
    products = np.fft.irfft(here.conj() * later, size)[:, : last + 1]
    sums = np.cumsum(np.pad(windows**2, ((0, 0), (1, 0))), axis=1)
    energies = sums[:, PITCH_WINDOW:] - sums[:, :-PITCH_WINDOW]
    correlation: np.ndarray = products / (np.sqrt(energies[:, :1] * energies) + QUIET)
    return correlation[:, first:]


def _best_lags(gains: np.ndarray) -> np.ndarray:
    """Give the lag, as a column of ``gains`` (frames, lags), of each frame on the path of the most gain less jumps."""
    logs = np.log(PITCH_LAGS)
    costs = PITCH_JUMPS * np.abs(logs[:, None] - logs)
    best, came_from = gains[0], []
    for gain in gains[1:]:
        paths = best[:, None] - costs
        came_from.append(paths.argmax(axis=0).astype(np.int8))
        best = paths.max(axis=0) + gain
    path = [int(best.argmax())]
    for columns in reversed(came_from):
        path.append(int(columns[path[-1]]))
    return np.array(path[::-1])


def _peak(correlation: np.ndarray, path: np.ndarray) -> np.ndarray:
    """Give where between lags, from -1/2 to 1/2, the parabola through each lag of ``path`` and its neighbours peaks."""
    inside = path.clip(1, correlation.shape[1] - 2)
    before, at, after = (correlation[np.arange(len(path)), inside + step] for step in (-1, 0, 1))
    bend = before - 2 * at + after
    shift = np.where(bend < 0, 0.5 * (before - after) / np.where(bend < 0, bend, -1), 0).clip(-0.5, 0.5)
    return np.where(inside == path, shift, 0)


def mfcc(waveform: Waveform) -> np.ndarray:
    """Mel-frequency cepstral coefficients (frames, 13): 8 kHz, 50 ms Hann windows every 25 ms, 128 mel bands.

    They are those of torchaudio's ``MFCC`` with its default settings, which made the recordings of ``digits``: the mel
    scale of HTK, decibels from 80 below the loudest on, an orthonormal cosine transform, the waveform mirrored at its
    ends. Raises InputError where ``waveform`` is shorter than ``SHORTEST``.
    """
    import librosa  # 2 s, so not for every stage

    _require_length(waveform, "a waveform lasts")
    power = librosa.feature.melspectrogram(
        y=resample(waveform, 8000).samples,
        sr=8000,
        n_fft=400,
        hop_length=200,
        htk=True,
        norm=None,
        n_mels=128,
        pad_mode="reflect",
    )
    coefficients: np.ndarray = librosa.feature.mfcc(S=librosa.power_to_db(power, ref=1.0, top_db=80), n_mfcc=13)
    return np.ascontiguousarray(coefficients.T, dtype=np.float32)


LOG_MEL = FrontEnd(log_mel, 0.010)
LOG_MEL_PITCH = FrontEnd(log_mel_pitch, 0.010)
MFCC = FrontEnd(mfcc, 0.025)
# By coefficients a frame: a model knows how many it was trained on.
FRONT_ENDS = {40: LOG_MEL, 42: LOG_MEL_PITCH, 13: MFCC}


def arrays(waveforms: Iterable[Waveform], front_end: FrontEnd = LOG_MEL) -> dict[str, np.ndarray]:
    """Give the arrays of a speech data set: recording r is features[offsets[r]:offsets[r + 1]].

    "features" (frames, coefficients) float32, "offsets" (recordings + 1,) int64, "frame_seconds" (1,) float64. One
    waveform is held at a time.
    """
    features = [front_end.frames(waveform) for waveform in waveforms]
    return {
        "features": np.concatenate(features),
        "offsets": np.cumsum([0, *map(len, features)], dtype=np.int64),
        "frame_seconds": np.array([front_end.frame_seconds]),
    }
