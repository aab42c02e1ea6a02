"""Mandarin: the phrases, the cutting into syllables, and what eSpeak NG (or a stand-in) gives."""

import os
import signal
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from stages.core.base.errors import InputError
from stages.core.base.params import read_settings
from stages.core.learning.dataset import SPLITS, write_prepared
from stages.datasets import mandarin
from stages.datasets.mandarin import (
    PHRASES,
    RATE,
    VOICES,
    Event,
    Settings,
    Speech,
    Utterance,
    boundaries,
    build,
    load,
    say,
    syllables,
)

SETTINGS = Settings(rates=[120, 180], pitches=[40, 50, 60])
RAW = Path(__file__).parent.parent / "data" / "raw" / "mandarin" / mandarin.FOLDER
espeak = pytest.mark.skipif(not RAW.is_dir(), reason="data/raw/mandarin is not there")


def doubled(text: str) -> bool:
    return any(a == b for a, b in zip(text, text[1:], strict=False))


def events(*starts: tuple[float, str]) -> list[Event]:
    """Events by their milliseconds."""
    return [Event(round(ms * RATE / 1000), name) for ms, name in starts]


def spans(*starts: tuple[float, str]) -> list[list[int]]:
    """Boundaries in milliseconds."""
    return [[round(1000 * time) for time in span] for span in boundaries(events(*starts))]


def spoken(voice: str, utterances: list[Utterance]) -> Iterator[Speech]:
    """A stand-in: each character takes 200 ms, one consonant and one vowel."""
    for utterance in utterances:
        count = len(utterance.text)
        found = [event for n in range(count) for event in ((200 * n, "p"), (200 * n + 50, "'a"))]
        samples = np.full(count * RATE // 5 + len(voice), ord(voice[0]), np.int16)
        yield Speech(samples, events(*found, (200 * count, "")))


def test_phrases_are_short_different_and_share_their_characters() -> None:
    counts = Counter(character for phrase in PHRASES for character in set(phrase))
    assert 150 <= len(PHRASES) <= 250 and len(set(PHRASES)) == len(PHRASES)
    assert len(counts) <= 150 and min(counts.values()) >= 2
    assert {len(phrase) for phrase in PHRASES} <= set(range(1, 7))


def test_many_phrases_differ_by_a_doubled_character_alone() -> None:
    pairs = [
        (phrase[:i] + phrase[i + 1 :], phrase)
        for phrase in PHRASES
        for i in range(1, len(phrase))
        if phrase[i] == phrase[i - 1] and phrase[:i] + phrase[i + 1 :] in PHRASES
    ]
    assert ("好棒", "好棒棒") in pairs and ("看", "看看") in pairs and len(pairs) >= 50
    assert sum(map(doubled, PHRASES)) >= 80


def test_no_voice_is_in_two_splits() -> None:
    voices = [voice for split in SPLITS for voice in VOICES[split].split()]
    assert len(voices) == len(set(voices)) >= 24


@pytest.mark.parametrize(
    ("phonemes", "cut"),
    [
        ("S; iE S; 'iE", "S;iE S;'iE"),  # 谢谢
        ("kh a n kh 'a n", "khan kh'an"),  # 看看
        ("n a n 'a n", "na n'an"),  # n between vowels begins a syllable
        ("m a n n 'i", "man n'i"),
        ("X 'o N 'o N", "X'oN 'oN"),  # ng never does
        ("S; j 'Au", "S;j'Au"),  # 小
        ("'@r tS;h 'iE", "'@r tS;h'iE"),  # 而且
        ("ts i[ t 'i.", "tsi[ t'i."),
        ("p", ""),  # no vowel, no syllable
    ],
)
def test_a_syllable_is_a_vowel_with_its_consonants(phonemes: str, cut: str) -> None:
    names = phonemes.split()
    assert ["".join(names[first:last]) for first, last in syllables(names)] == cut.split()


def test_a_syllable_lasts_until_the_next_begins() -> None:
    word = ((11, "S;"), (120, "iE"), (246, "S;"), (354, "'iE"), (473, ""), (480, ""))
    assert spans((0, ""), *word) == [[11, 246], [246, 473]]


def test_a_pause_before_a_stop_counts_to_its_syllable() -> None:
    first, second = ((38, "p"), (69, "'A"), (161, "N"), (250, "")), ((289, "p"), (319, "'A"), (411, "N"), (500, ""))
    assert spans((0, ""), *first, (250, ""), *second) == [[38, 250], [250, 500]]


def test_no_events_no_boundaries() -> None:
    assert boundaries([]) == [] and spans((0, ""), (7, "")) == []


def test_every_voice_says_every_phrase_and_all_fits_together(tmp_path: Path) -> None:
    prepared = build(spoken, SETTINGS)
    waveforms = list(prepared.waveforms)
    for split in SPLITS:
        examples = prepared.splits[split]
        assert {example["key"] for example in examples} == set(VOICES[split].split())
        assert len(examples) == len(PHRASES) * len(VOICES[split].split())
        for example in examples:
            assert "".join(example["symbols"]) == example["text"] and example["voice"] == example["key"]
            assert len(example["boundaries"]) == len(example["symbols"])
            assert example["rate"] in SETTINGS.rates and example["pitch"] in SETTINGS.pitches
            found = waveforms[example["recordings"][0]]
            assert found.rate == RATE and found.samples[0] == ord(example["voice"][0]) / 2**15
            assert example["boundaries"][-1][1] <= found.seconds
    assert len(prepared.splits["train"]) >= 2400 and len(waveforms) >= 3000
    assert sorted(e["recordings"][0] for s in SPLITS for e in prepared.splits[s]) == list(range(len(waveforms)))
    write_prepared(prepared, tmp_path)


def test_rate_and_pitch_of_an_utterance_depend_on_nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    before = {example["id"]: example for example in build(spoken, SETTINGS).splits["test"]}
    monkeypatch.setattr(mandarin, "PHRASES", ["好看", "走"])
    drawn = ("rate", "pitch")
    for example in build(spoken, SETTINGS).splits["test"]:
        assert [example[name] for name in drawn] == [before[example["id"]][name] for name in drawn]
    assert len({tuple(example[name] for name in drawn) for example in before.values()}) == 6


def test_an_utterance_of_too_few_syllables_is_rejected_and_leaves_no_gap() -> None:
    def mumbled(voice: str, utterances: list[Utterance]) -> Iterator[Speech]:
        for utterance, speech in zip(utterances, spoken(voice, utterances), strict=True):
            lost = utterance.text == "谢谢" and voice == "m5"
            yield Speech(speech.samples, speech.events[2:]) if lost else speech

    prepared = build(mumbled, SETTINGS)
    assert [(found.reason, found.file) for found in prepared.rejected] == [
        ("not as many syllables as characters", "谢谢 said by m5")
    ]
    numbers = [example["recordings"][0] for split in SPLITS for example in prepared.splits[split]]
    assert sorted(numbers) == list(range(len(list(prepared.waveforms))))


@pytest.mark.parametrize(
    ("key", "value"), [("rates", []), ("rates", [79]), ("rates", [451]), ("pitches", [-1]), ("pitches", [100])]
)
def test_settings_out_of_range_are_named(key: str, value: list[int]) -> None:
    values = {"rates": [175], "pitches": [50]} | {key: value}
    with pytest.raises(InputError, match=rf"datasets\.mandarin\.prepare\.{key}"):
        read_settings(Settings, values, "datasets.mandarin.prepare")


def library(**functions: Any) -> Any:
    """A stand-in for the shared library, in which every call ends well and gives no sound."""
    names = ("SetSynthCallback", "ng_SetRandSeed", "SetVoiceByName", "SetParameter", "Synth")
    calls = {f"espeak_{name}": lambda *_: 0 for name in names}
    return SimpleNamespace(**calls | {f"espeak_{name}": function for name, function in functions.items()})


def test_a_crash_of_the_library_is_an_error_that_names_the_utterance() -> None:
    crash = library(Synth=lambda *_: os.kill(os.getpid(), signal.SIGKILL))
    with pytest.raises(InputError, match=r"eSpeak NG failed \(SIGKILL\) at Utterance\(text='谢谢'.* in the voice m1"):
        list(say(crash, "m1", [Utterance("谢谢", 175, 50)]))
    leave = library(Synth=lambda *_: os._exit(3))
    with pytest.raises(InputError, match=r"eSpeak NG failed \(exit status 3\)"):
        list(say(leave, "m1", [Utterance("谢谢", 175, 50)]))


def test_an_error_of_the_library_is_one() -> None:
    with pytest.raises(InputError, match=r"eSpeak NG failed \(error 2\)"):
        list(say(library(SetVoiceByName=lambda *_: 2), "nobody", [Utterance("谢谢", 175, 50)]))


def test_a_library_that_is_missing_or_of_another_system_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"holds no library libespeak-ng for .* params\.yaml should name the wheel"):
        load(tmp_path)
    (tmp_path / "libespeak-ng.so").write_bytes(b"MZ")
    with pytest.raises(InputError, match=r"libespeak-ng\.so does not load on .* params\.yaml should name the wheel"):
        load(tmp_path)


def sounds(voice: str, *texts: str) -> list[bytes]:
    utterances = [Utterance(text, 175, 50) for text in texts]
    return [speech.samples.tobytes() for speech in say(load(RAW), voice, utterances)]


@espeak
@pytest.mark.parametrize("voice", ["m1", "f3"])
def test_espeak_says_the_same_bytes_every_time_whoever_spoke_before(voice: str) -> None:
    first = sounds(voice, "谢谢", "慢慢走", "谢谢")
    sounds("grandma", "好棒棒")
    time.sleep(1.1)  # eSpeak takes the second as the seed of its noise where it is given none
    assert sounds(voice, "谢谢", "慢慢走", "谢谢") == first and all(first)


@espeak
def test_espeak_gives_each_character_its_span() -> None:
    texts = ["谢谢", "看", "看看", "好棒棒", "慢慢走", "我爱妈妈", "开开心心"]
    for text, speech in zip(texts, say(load(RAW), "m3", [Utterance(text, 175, 50) for text in texts]), strict=True):
        found = boundaries(speech.events)
        assert len(found) == len(text)
        assert all(0.03 < end - start < 0.6 for start, end in found)
        assert found[-1][1] <= len(speech.samples) / RATE
        loud = np.abs(speech.samples[round(found[0][0] * RATE) : round(found[-1][1] * RATE)].astype(int)).mean()
        assert loud > 500


@espeak
def test_espeak_without_its_voice_data_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "libespeak-ng.so").write_bytes((RAW / "libespeak-ng.so").read_bytes())
    with pytest.raises(InputError, match="eSpeak NG does not start with the voice data of"):
        load(tmp_path)


@espeak
def test_a_voice_that_espeak_has_not_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(VOICES, "test", "m5 nobody")  # eSpeak would take its usual voice and say nothing
    with pytest.raises(InputError, match="has no voice nobody"):
        mandarin.prepare(RAW.parent.parent, SETTINGS)
