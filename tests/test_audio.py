"""Sound: what is read from a file, what is refused, and where in time and frequency the front ends put it."""

from pathlib import Path

import numpy as np
import pytest
import soundfile

from stages.core import audio
from stages.core.audio import FRONT_ENDS, Waveform, arrays, log_mel, log_mel_pitch, mfcc, pitch, read, resample
from stages.core.base.errors import InputError


def tone(frequency: float, seconds: float = 1.0, rate: int = 16000) -> np.ndarray:
    """A sine (samples,) of half the greatest amplitude."""
    return (0.5 * np.sin(2 * np.pi * frequency * np.arange(round(seconds * rate)) / rate)).astype(np.float32)


def click(seconds: float, at: float, rate: int) -> Waveform:
    """Silence with one loud sample."""
    samples = np.zeros(round(seconds * rate), np.float32)
    samples[round(at * rate)] = 1
    return Waveform(samples, rate)


def speechlike(rate: int) -> Waveform:
    """Two seconds of gliding harmonics below 4 kHz that swell and fade."""
    time = np.arange(2 * rate) / rate
    phase = 2 * np.pi * (120 * time + 20 * np.sin(2 * time))
    sound = sum(np.sin(k * phase) / k for k in range(1, 24)) * (0.3 + 0.1 * np.sin(9 * time))
    return Waveform((0.3 * sound).astype(np.float32), rate)


def glide(low: float, high: float, harmonics: range = range(1, 12)) -> Waveform:
    """A second in which F0 goes evenly (in its logarithm) from ``low`` to ``high`` Hz, with some noise."""
    phase = 2 * np.pi * np.cumsum(np.geomspace(low, high, 16000)) / 16000
    noise = 0.02 * np.random.default_rng(0).standard_normal(16000)
    return Waveform((0.2 * sum(np.sin(k * phase) / k for k in harmonics) + noise).astype(np.float32), 16000)


@pytest.mark.parametrize("name", ["sound.wav", "sound.flac", "sound.raw"])
def test_what_was_written_is_read_whatever_the_name(name: str, tmp_path: Path) -> None:
    soundfile.write(
        tmp_path / name, tone(300), 16000, format="FLAC" if name.endswith("flac") else "WAV", subtype="PCM_16"
    )
    found = read(tmp_path / name)
    assert found.rate == 16000 and found.samples.dtype == np.float32
    assert np.abs(found.samples - tone(300)).max() < 1e-4


def test_channels_are_averaged(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", np.stack([tone(300), np.zeros(16000)], axis=1), 16000)
    assert np.abs(read(tmp_path / "a.wav").samples - tone(300) / 2).max() < 1e-4


def test_a_part_is_the_same_samples(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", tone(300), 16000, subtype="FLOAT")
    assert np.array_equal(read(tmp_path / "a.wav", 0.25, 0.5).samples, tone(300)[4000:8000])
    assert np.array_equal(read(tmp_path / "a.wav", 0.25).samples, tone(300)[4000:])


def test_floats_of_another_scale_are_scaled_down(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", 20000 * tone(300), 16000, subtype="FLOAT")
    assert np.abs(read(tmp_path / "a.wav").samples).max() == 1


def write_bad(folder: Path) -> None:
    """Write the files of the next test."""
    (folder / "empty.wav").write_bytes(b"")
    (folder / "text.wav").write_text("path,text\n" * 50)
    (folder / "text.raw").write_text("path,text\n" * 50)
    soundfile.write(folder / "nothing.wav", np.zeros(0), 16000)
    soundfile.write(folder / "short.wav", np.zeros(700), 16000)
    soundfile.write(folder / "nan.wav", np.full(16000, np.nan), 16000, subtype="FLOAT")
    soundfile.write(folder / "slow.wav", np.zeros(16000), 100)
    soundfile.write(folder / "stream.flac", tone(300), 16000)
    content = bytearray((folder / "stream.flac").read_bytes())
    content[21] &= 0xF0  # the number of samples, as a stream of unknown length has it
    content[22:26] = bytes(4)
    (folder / "stream.flac").write_bytes(content)
    soundfile.write(folder / "cut.wav", tone(300), 16000)
    (folder / "cut.wav").write_bytes((folder / "cut.wav").read_bytes()[:30])


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("empty.wav", "is no readable WAV or FLAC file"),
        ("text.wav", "is no readable WAV or FLAC file"),
        ("text.raw", "is no readable WAV or FLAC file"),
        ("cut.wav", "is no readable WAV or FLAC file"),
        ("missing.wav", "does not exist"),
        (".", "is a folder, not a file of sound"),
        ("nothing.wav", "lasts 0.000 s, which is too short for a frame; 0.05 s are needed"),
        ("short.wav", "lasts 0.044 s, which is too short for a frame"),
        ("nan.wav", "holds a sample that is no finite number"),
        ("slow.wav", "has 100 samples a second; speech needs 4000 or more"),
        ("stream.flac", "says no length, or one of more than 36000 s"),
    ],
)
def test_what_is_no_sound_ends_in_one_sentence(name: str, sentence: str, tmp_path: Path) -> None:
    write_bad(tmp_path)
    with pytest.raises(InputError) as refusal:
        read(tmp_path / name)
    assert str(refusal.value).startswith(f"{tmp_path / name} {sentence}") and "\n" not in str(refusal.value)


@pytest.mark.parametrize(("start", "end"), [(0.5, 2.0), (-1.0, 0.5), (0.6, 0.5), (1.5, None)])
def test_a_part_past_the_end_is_an_error(start: float, end: float | None, tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", tone(300), 16000)
    with pytest.raises(InputError, match=r"lasts 1\.000 s, so it has no part"):
        read(tmp_path / "a.wav", start, end)


def test_resampling_keeps_the_tone() -> None:
    found = resample(Waveform(tone(1000, rate=44100), 44100), 16000)
    assert found.rate == 16000 and len(found.samples) == 16000
    assert np.abs(found.samples - tone(1000))[500:-500].max() < 1e-3


@pytest.mark.parametrize("band", [3, 12, 25, 37])
def test_a_tone_lands_in_the_band_of_its_pitch(band: int) -> None:
    low, high = (1127 * np.log(1 + frequency / 700) for frequency in (20, 8000))
    centre = 700 * (np.exp((low + (band + 1) * (high - low) / 41) / 1127) - 1)
    frames = log_mel(Waveform(tone(centre), 16000))
    assert set(frames[5:-5].argmax(axis=1)) == {band}


@pytest.mark.parametrize("milliseconds", [50, 54, 55, 1000, 1234])
def test_the_number_of_frames_is_that_of_the_seconds(milliseconds: int) -> None:
    frames = log_mel(Waveform(np.zeros(16 * milliseconds, np.float32), 16000))
    assert frames.shape == ((milliseconds + 5) // 10, 40) and frames.dtype == np.float32
    frames = mfcc(Waveform(np.zeros(8 * milliseconds, np.float32), 8000))
    assert frames.shape == (milliseconds // 25 + 1, 13) and frames.dtype == np.float32


@pytest.mark.parametrize("frame", [0, 7, 50, 99])
def test_a_log_mel_frame_is_centred_in_its_ten_milliseconds(frame: int) -> None:
    frames = log_mel(click(1.0, (frame + 0.5) * 0.01, 16000))
    assert frames.sum(axis=1).argmax() == frame


@pytest.mark.parametrize("frame", [0, 7, 20, 39])
def test_an_mfcc_frame_is_centred_at_its_start(frame: int) -> None:
    frames = mfcc(click(1.0, frame * 0.025, 8000))
    assert frames[:, 0].argmax() == frame


@pytest.mark.parametrize("coefficients", FRONT_ENDS)
def test_another_rate_gives_the_same_frames(coefficients: int) -> None:
    frames = FRONT_ENDS[coefficients].frames
    low, high = frames(speechlike(16000)), frames(speechlike(44100))
    assert low.shape == high.shape == (len(low), coefficients)
    # Above 4 kHz, in band 28 and those that follow, there is but the resampler's noise.
    told = [column for column in range(coefficients) if not 28 <= column < 40]
    assert np.abs(low - high)[3:-3, told].mean() < 0.02 * low[:, told].std()


@pytest.mark.parametrize("coefficients", FRONT_ENDS)
def test_frames_are_the_same_bits_every_time_and_as_many_as_their_seconds_say(coefficients: int) -> None:
    front_end = FRONT_ENDS[coefficients]
    first, second = front_end.frames(speechlike(22050)), front_end.frames(speechlike(22050))
    assert np.array_equal(first, second)
    assert abs(len(first) * front_end.frame_seconds - 2.0) <= front_end.frame_seconds


@pytest.mark.parametrize(("low", "high"), [(90, 140), (300, 200), (240, 420), (120, 120.1)])
@pytest.mark.parametrize("harmonics", [range(1, 12), range(2, 8)], ids=["all", "without the first"])
def test_the_pitch_is_the_true_one_relative_to_its_mean(low: float, high: float, harmonics: range) -> None:
    height, sure = pitch(glide(low, high, harmonics), 100)[2:-3].T
    true = np.log(np.geomspace(low, high, 16000)[80::160])
    assert sure.min() > 0.65
    assert np.abs(height / sure - (true - true.mean())[2:-3]).max() < 0.015


def test_a_contour_looks_the_same_in_a_high_voice() -> None:
    low, high = pitch(glide(100, 150), 100)[2:-3], pitch(glide(200, 300), 100)[2:-3]
    assert np.abs(low - high)[:, 0].max() < 0.03 and np.ptp(low[:, 0]) > 0.3


def test_a_quiet_recording_has_the_same_pitch() -> None:
    loud, quiet = glide(100, 150), glide(100, 150)
    quiet.samples[:] *= 0.001
    assert np.abs(pitch(loud, 100) - pitch(quiet, 100)).max() < 1e-4


@pytest.mark.parametrize("block", [1, 7, 99])
def test_the_pitch_does_not_depend_on_how_many_windows_are_held_at_once(
    block: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = pitch(glide(100, 150), 100)
    monkeypatch.setattr(audio, "BLOCK", block)
    assert np.allclose(pitch(glide(100, 150), 100), whole, atol=1e-6)


def test_silence_has_no_pitch_and_noise_next_to_none() -> None:
    assert not pitch(Waveform(np.zeros(16000, np.float32), 16000), 100).any()
    noise = 0.1 * np.random.default_rng(1).standard_normal(16000)
    assert pitch(Waveform(noise.astype(np.float32), 16000), 100)[:, 1].mean() < 0.15


def test_the_pitch_stands_behind_the_bands() -> None:
    for seconds in (0.05, 0.3):
        waveform = Waveform(tone(150, seconds), 16000)
        found, bands = log_mel_pitch(waveform), log_mel(waveform)
        assert np.array_equal(found, np.concatenate([bands, pitch(waveform, len(bands))], axis=1))
        assert found.shape == (len(bands), 42) and found.dtype == np.float32


def test_mfccs_are_those_of_the_formulas() -> None:
    """Computed anew with NumPy alone: torchaudio's defaults, which made the recordings of ``digits``."""
    samples = speechlike(8000).samples.astype(np.float64)
    padded = np.pad(samples, 200, mode="reflect")
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(400) / 400)
    windows = np.stack([padded[start : start + 400] * window for start in range(0, len(samples) + 1, 200)])
    power = np.abs(np.fft.rfft(windows)) ** 2  # (frames, 201)
    edges = 700 * (10 ** (np.linspace(0, 2595 * np.log10(1 + 4000 / 700), 130) / 2595) - 1)
    frequencies = np.linspace(0, 4000, 201)
    rising = (frequencies - edges[:-2, None]) / (edges[1:-1] - edges[:-2])[:, None]
    falling = (edges[2:, None] - frequencies) / (edges[2:] - edges[1:-1])[:, None]
    decibels = 10 * np.log10(np.maximum(1e-10, power @ np.maximum(0, np.minimum(rising, falling)).T))
    decibels = np.maximum(decibels, decibels.max() - 80)  # (frames, 128)
    cosines = np.cos(np.pi / 128 * (np.arange(128) + 0.5) * np.arange(13)[:, None]) * np.sqrt(2 / 128)
    cosines[0] /= np.sqrt(2)
    assert np.abs(mfcc(speechlike(8000)) - decibels @ cosines.T).max() < 2e-3


@pytest.mark.parametrize("front_end", [log_mel, mfcc])
def test_a_waveform_shorter_than_a_frame_is_an_error(front_end: object) -> None:
    assert callable(front_end)
    with pytest.raises(InputError, match=r"a waveform lasts 0\.049 s, which is too short for a frame"):
        front_end(Waveform(np.zeros(392, np.float32), 8000))


def test_arrays_hold_one_recording_after_the_other() -> None:
    sounds = [Waveform(tone(300, seconds), 16000) for seconds in (0.3, 1.0, 0.05)]
    found = arrays(iter(sounds))
    assert found["offsets"].tolist() == [0, 30, 130, 135] and found["offsets"].dtype == np.int64
    assert found["frame_seconds"].tolist() == [audio.LOG_MEL.frame_seconds] == [0.01]
    assert np.array_equal(found["features"][30:130], log_mel(sounds[1]))
