"""Short everyday Mandarin phrases, with and without doubled characters, for speech recognition with CTC.

SYNTHETIC: nobody speaks here. Every utterance is made by eSpeak NG 1.52 (a formant synthesiser) on this machine, in 63
of its voices, at rates and pitches drawn for each; the phrases are written here. All splits have the same phrases, and
a synthesiser says a syllable in much the same way each time, so the figures say how well a voice that training has not
heard is recognised, and whether 好棒 and 好棒棒 are told apart; they say nothing about people.

Source: the wheel of espeakng-loader 0.2.4 for Linux on x86-64 (the shared library and its voice data). On another
system, name that package's wheel for it in params.yaml (there are some for arm64 and macOS); the sound, and so every
figure, may then differ in its last bits. Licence: eSpeak NG is GPL-3.0-or-later, as its project says; the wheel's own
metadata name none. Neither the library nor any sound is kept in this repository. Section 2 of that licence covers a
program's output only where it is itself a covered work; the project says nothing of its own about speech.

Split by voice: VOICES fixes it by hand, so that no voice sounds like one of another split (eSpeak's variants come in
families), with women's and men's voices in each. The key of an example is its voice.

Boundaries, in seconds: eSpeak reports when each phoneme begins. A phoneme lasts until the next event, and the phonemes
of a word are cut into syllables, one a character; so spans touch, also those of a doubled character. Checked by the
rise of energy at the second of two equal syllables: its median lies within 10 ms of the boundary in 谢谢 and 香香, and
30 ms after it where a stop begins a word (棒棒, 天天), since the closure counts to the syllable. An utterance whose
syllables are not as many as its characters is rejected.

Counts: 203 phrases, 90 characters, each of which stands in two phrases or more; 89 phrases have a doubled character.
4,293 utterances in training (53 voices, each with 81 of the phrases), 1,015 in validation and 1,015 in test (five
voices each, with all of them), 68 minutes; none is rejected.
"""

from __future__ import annotations

import ctypes
import functools
import multiprocessing
import platform
import random
import re
import signal
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import pydantic

from stages.core.audio import Waveform
from stages.core.base.errors import InputError
from stages.core.base.params import settings
from stages.core.learning.dataset import SPLITS, Example, Prepared, Rejected

FOLDER = Path("espeak") / "espeakng_loader"  # in the raw data: the source's name, and the wheel's folder
RATE = 22050  # samples a second that eSpeak gives
LANGUAGE = "cmn"
VOICES = {
    "train": """Alex Alicia Andrea Andy Annie Denis Diogo Gene Henrique Hugo Lee Mario Michael Mike Nguyen Reed Storm
        adam anika announcer antonio aunty benjamin boris caleb david ed edward f1 f3 f5 grandma grandpa gustave ian
        iven3 john kaukovalta klatt3 m1 m3 m7 marcelo max michel miguel norbert paul pedro rob robert sandro zac""",
    "validation": "pablo quincy shelby steph victor",
    "test": "Jacky Marco belinda m5 travis",
}
# In groups of phrases that differ by a doubled character.
WRITTEN = """
看 看看 你看 看书 看看书 好看 好好看
走 走走 走吧 走走吧 慢走 慢慢走 快走 快快走
听 听听 你听 你听听 好听
说 说说 说话 说说话 慢慢说 你说说看
想 想想 我想想 想妈妈 想家
写 写写 写字 写写字
坐 坐坐 请坐 坐车
跑 跑跑 快跑 快快跑
等 等等 等我 等等我
问 问问 请问 问问他
笑 笑笑 他笑了
玩 玩玩 好玩 好好玩
买 买买买 买书 买鱼 吃鱼
妈 妈妈 妈妈早 我爱妈妈
爸 爸爸 爸爸再见
哥 哥哥 姐 姐姐 弟弟 弟弟好 妹妹 妹妹好 爷爷 奶奶 奶奶好
好 好好 好好好 你好 好人 很好 不好
棒 棒棒 好棒 好棒棒 真棒 棒棒的
谢谢 谢谢你 谢谢爷爷 多谢 不谢
慢 慢慢 慢慢来 慢慢吃
快 快快 快来 快快来
早 早早 早饭 吃饭 早睡 早早睡 再见
天天 天天见 今天 今天很冷 明天 明天见 年年 今年 明年 人人 人人爱
星星 看星星 高 高高 高山 高高的山
大 大大 大山 大大的山 小 小小 小小的花 小狗 小狗狗 狗狗 小猫 小猫猫
红 红红 红花 红红的花 白 白白 白雪 白白的雪
多 多多 多喝水 多多喝水 多少 多少钱 没有钱
甜 甜甜 甜甜的 香 香香 香香的茶 远 远远
喝 喝茶 喝喝茶 冷水 热水 好热
我 你 他 我们 你们 他们 是 是的 不是 我的
去 回去 回家 来 来来来 来了 下雨 下雪 大雨 大风 有风
开门 开开门 开车 开心 开开心心 没有人 有人 真好 出门 说不出话
"""
PHRASES = WRITTEN.split()

# eSpeak's API, from its speak_lib.h.
SYNCHRONOUS, PHONEME_EVENTS, NO_EXIT = 2, 1, 0x8000
UTF8, POSITION_CHARACTER = 1, 1
SPEED, PITCH = 1, 3
END_OF_LIST, PHONEME = 0, 7


@settings
class Settings:
    """An utterance's ``rates`` (words a minute, as eSpeak counts) and ``pitches`` are drawn from these by ``seed``.

    A voice of training says the share ``said`` of the phrases, drawn for it; those of the other splits say all. With
    ``tones``, frames also say how high the voice is (core/audio.py), by which 天天 and 甜甜 differ, and nothing else.
    """

    seed: int = 1
    said: float = pydantic.Field(default=1.0, gt=0, le=1)
    tones: bool = True
    rates: list[Annotated[int, pydantic.Field(ge=80, le=450)]] = pydantic.Field(min_length=1)
    pitches: list[Annotated[int, pydantic.Field(ge=0, le=99)]] = pydantic.Field(min_length=1)


@dataclass(frozen=True)
class Utterance:
    """What is to be said, and how."""

    text: str
    rate: int
    pitch: int


@dataclass(frozen=True)
class Event:
    """Where a phoneme begins (``name``, as eSpeak writes it) or a pause or a word (``name`` empty), in samples."""

    sample: int
    name: str


@dataclass(frozen=True)
class Speech:
    """What eSpeak gives for an utterance: ``samples`` (samples,) int16 at ``RATE``, and its events in order of time."""

    samples: np.ndarray
    events: list[Event]


Say = Callable[[str, list[Utterance]], Iterator[Speech]]  # a voice, and what it says one after the other


def prepare(raw: Path, settings: Settings) -> Prepared:
    """Have eSpeak say every phrase in every voice; raises InputError where it lacks a voice or fails."""
    variants = raw / FOLDER / "espeak-ng-data" / "voices" / "!v"
    for voice in " ".join(VOICES.values()).split():
        if not (variants / voice).is_file():  # eSpeak itself would say all in its usual voice
            raise InputError(f"{variants} has no voice {voice}")
    return build(functools.partial(say, load(raw / FOLDER)), settings)


def build(say: Say, settings: Settings) -> Prepared:
    """Make the examples of what ``say`` gives, one a voice and phrase; rejected is what has no boundaries."""
    splits: dict[str, list[Example]] = {split: [] for split in SPLITS}
    rejected: list[Rejected] = []
    kept: list[np.ndarray] = []
    for split, voices in VOICES.items():
        for voice in voices.split():
            texts = chosen(voice, settings) if split == "train" else PHRASES
            utterances = [drawn(text, voice, settings) for text in texts]
            for utterance, speech in zip(utterances, say(voice, utterances), strict=True):
                spans = boundaries(speech.events)
                if len(spans) == len(utterance.text):
                    splits[split].append(example(utterance, voice, len(kept), spans))
                    kept.append(speech.samples)
                else:
                    where = f"{utterance.text} said by {voice}"
                    rejected.append(Rejected("not as many syllables as characters", where, 0))
    return Prepared(
        splits, rejected=rejected, facts=facts(splits, kept), waveforms=waveforms(kept), tones=settings.tones
    )


def chosen(voice: str, settings: Settings) -> list[str]:
    """Draw the phrases that ``voice``, one of training, says."""
    count = max(round(settings.said * len(PHRASES)), 1)
    return sorted(random.Random(f"{settings.seed}/{voice}").sample(PHRASES, count), key=PHRASES.index)


def drawn(text: str, voice: str, settings: Settings) -> Utterance:
    """Draw the rate and pitch at which ``voice`` says ``text``."""
    draw = random.Random(f"{settings.seed}/{voice}/{text}")
    return Utterance(text, draw.choice(settings.rates), draw.choice(settings.pitches))


def waveforms(recordings: list[np.ndarray]) -> Iterator[Waveform]:
    """Give the recordings (samples,) int16 as waveforms, one at a time: as floats they take twice the memory."""
    for samples in recordings:
        yield Waveform(samples.astype(np.float32) / 2**15, RATE)


def example(utterance: Utterance, voice: str, recording: int, spans: list[tuple[float, float]]) -> Example:
    """Make the example of one utterance."""
    return {
        "id": f"{voice}/{utterance.text}",
        "key": voice,
        "recordings": [recording],
        "symbols": list(utterance.text),
        "boundaries": [[round(start, 4), round(end, 4)] for start, end in spans],
        "text": utterance.text,
        "voice": voice,
        "rate": utterance.rate,
        "pitch": utterance.pitch,
    }


def facts(splits: dict[str, list[Example]], kept: list[np.ndarray]) -> dict[str, Any]:
    """Count what the report shows."""
    return {
        "speech": "synthetic, by eSpeak NG",
        **{f"voices in {split}": ", ".join(VOICES[split].split()) for split in SPLITS},
        "phrases": len(PHRASES),
        "characters": len(set("".join(PHRASES))),
        "utterances with a doubled character": sum(
            any(a == b for a, b in zip(found["text"], found["text"][1:], strict=False))
            for split in SPLITS
            for found in splits[split]
        ),
        "minutes of speech": round(sum(map(len, kept)) / RATE / 60, 1),
    }


def boundaries(events: list[Event]) -> list[tuple[float, float]]:
    """Give start and end in seconds of each syllable (as long as eSpeak's ``events`` are those of Mandarin)."""
    ends = [event.sample for event in events[1:]] + [events[-1].sample] if events else []
    spans: list[tuple[float, float]] = []
    word: list[tuple[int, int, str]] = []  # start, end and name of its phonemes
    for event, end in zip(events, ends, strict=True):
        if event.name:
            word.append((event.sample, end, event.name))
        if not event.name or event is events[-1]:
            for first, last in syllables([name for _, _, name in word]):
                start = spans[-1][1] if spans else word[first][0] / RATE
                spans.append((start, word[last - 1][1] / RATE))
            word = []
    return spans


def syllables(phonemes: list[str]) -> list[tuple[int, int]]:
    """Cut the ``phonemes`` of a word into syllables; gives the first, and the one after the last, of each.

    A syllable is a vowel with the consonants before it, and n or ng after it; n between two vowels begins the second's.
    """
    kinds = "".join(map(_kind, phonemes))
    return [match.span() for match in re.finditer(r"[cn]*v(?:g|n(?!v))?", kinds)]


def _kind(phoneme: str) -> str:
    bare = phoneme.lstrip("',%=")  # stress marks
    if bare[:1] in set("aeiouyAEIOU@3"):
        return "v"
    return {"n": "n", "N": "g"}.get(bare, "c")


class _Name(ctypes.Union):
    _fields_ = [("number", ctypes.c_int), ("name", ctypes.c_char_p), ("string", ctypes.c_char * 8)]


class _Event(ctypes.Structure):
    _fields_ = [
        ("type", ctypes.c_int),
        ("unique_identifier", ctypes.c_uint),
        ("text_position", ctypes.c_int),
        ("length", ctypes.c_int),
        ("audio_position", ctypes.c_int),
        ("sample", ctypes.c_int),
        ("user_data", ctypes.c_void_p),
        ("id", _Name),
    ]


_Callback = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.POINTER(_Event))


def load(folder: Path) -> ctypes.CDLL:
    """Load and start the library in ``folder`` of the raw data; raises InputError where it does not fit this system."""
    here = f"{platform.system()} on {platform.machine()}"
    advice = "params.yaml should name the wheel of espeakng-loader for this system"
    path = next(iter(sorted(folder.glob("libespeak-ng.*"))), None)
    if path is None:
        raise InputError(f"{folder} holds no library libespeak-ng for {here}; {advice}")
    try:
        library = ctypes.CDLL(str(path.resolve()))
    except OSError as error:
        raise InputError(f"{path} does not load on {here} ({error}); {advice}") from None
    library.espeak_Synth.argtypes = [
        ctypes.c_char_p,
        ctypes.c_size_t,
        ctypes.c_uint,
        ctypes.c_int,
        ctypes.c_uint,
        ctypes.c_uint,
        ctypes.c_void_p,
        ctypes.c_void_p,
    ]
    library.espeak_ng_SetRandSeed.argtypes = [ctypes.c_long]
    rate = library.espeak_Initialize(SYNCHRONOUS, 0, str(folder.resolve()).encode(), PHONEME_EVENTS | NO_EXIT)
    if rate != RATE:
        raise InputError(f"eSpeak NG does not start with the voice data of {folder}/espeak-ng-data (it gives {rate})")
    return library


def say(library: ctypes.CDLL, voice: str, utterances: list[Utterance]) -> Iterator[Speech]:
    """Synthesise in a process of its own, from which the speech comes as it is made.

    eSpeak keeps state from one utterance to the next (the same words then last a little longer or shorter), and no call
    resets it. A forked process starts afresh, so what a voice says depends on its own utterances alone and is the same
    every time. And where the library crashes, this process lives on to say so.
    """
    context = multiprocessing.get_context("fork")
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=_speak, args=(library, voice, utterances, sender))
    process.start()
    sender.close()
    for utterance in utterances:
        try:
            samples, events, error = receiver.recv()
        except EOFError:
            process.join()
            error = ending(process.exitcode or 0)
        if error:
            raise InputError(f"eSpeak NG failed ({error}) at {utterance} in the voice {voice}")
        yield Speech(np.frombuffer(samples, dtype=np.int16), events)
    process.join()


def ending(status: int) -> str:
    """Say how a process ended: by which signal, or with which exit status."""
    return signal.Signals(-status).name if status < 0 else f"exit status {status}"


def _speak(library: ctypes.CDLL, voice: str, utterances: list[Utterance], sender: Connection) -> None:
    chunks: list[bytes] = []
    events: list[Event] = []

    def collect(samples: Any, count: int, found: Any) -> int:
        if count:
            chunks.append(ctypes.string_at(samples, 2 * count))
        for event in found:
            if event.type == END_OF_LIST:
                break
            name = event.id.string.decode() if event.type == PHONEME else ""
            events.append(Event(event.sample, name.lstrip("_:")))
        return 0

    callback = _Callback(collect)
    library.espeak_SetSynthCallback(callback)
    library.espeak_ng_SetRandSeed(1)  # of a voice's breath; it would otherwise be the time
    unknown = library.espeak_SetVoiceByName(f"{LANGUAGE}+{voice}".encode())
    for utterance in utterances:
        chunks.clear()
        events.clear()
        text = utterance.text.encode()
        errors = [
            unknown,
            library.espeak_SetParameter(SPEED, utterance.rate, 0),
            library.espeak_SetParameter(PITCH, utterance.pitch, 0),
            library.espeak_Synth(text, len(text) + 1, 0, POSITION_CHARACTER, 0, UTF8, None, None),
        ]
        sender.send((b"".join(chunks), events, next((f"error {error}" for error in errors if error), "")))
