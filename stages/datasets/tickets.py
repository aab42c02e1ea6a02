"""What a customer says at a ticket desk, for slot filling where one word decides the slot of a city (N1).

Source: generated here by a small grammar, version 1; no licence needed.

**Sentence.** In order: an opening, a deciding word, up to six words of a gap, a city; perhaps a joint and the same
once more for the other end of the journey; before or after it perhaps a time; perhaps a closing. ``FORMS`` has all
that stands around a city, ``PLACES`` and ``HALVES`` the cities:

    I would like to leave the old town of Taipei on November 2nd please
                    deciding  gap         city      time

The deciding word comes before its city ("arrive" or "leave", "to" or "from"), all else is drawn independently of it.
So what a network sees of the city alone, or of what follows it, says nothing about the slot.

**Slots**: ``destination``, ``departure`` (the place) and ``time`` (a day or an hour). BIO tags, O outside of slots.

**Cities.** Some known ones, of one or two words, and towns put together of two halves ("Thorn" + "wick"; some of them
exist), at times with a word before ("Upper Thornwick"). There are so many towns that most are seen once or twice, so
that a model that forgets rare words in training learns what to make of an unknown one.

**Contrast set.** Pairs of test sentences that are equal but for the deciding word, and so for the slot of their only
city: "I have to reach Oakmere on Friday" and "I have to leave Oakmere on Friday". Their examples have ``contrast``
true and ``pair``, the same for both. The towns are single words that no other sentence has: those whose hash falls
in the first quarter of the range. A labelling that looks at one token at a time is right on at most half of them.

**Example.** ``id``; ``key``; ``tokens``; ``tags``; in the contrast set also ``contrast`` and ``pair``.

**Splits.** The hash of the sentence decides, with chances in proportion to the wanted counts, and what comes up for a
full split is dropped, as is a sentence that came up before. Pairs of the contrast set are in the test split, after
the ``test`` ordinary sentences, and their key is the pair. By default 4,000 / 500 / 500 + 1,000 of 500 pairs. Ordinary
sentences of different splits share their openings, gaps and most cities.

**Not good for.** Anything but this question: people do not talk like that, and a rule (the slot of the last deciding
word before the city) labels every city right.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from dataclasses import dataclass
from random import Random

import pydantic

from stages.core.base.errors import InputError
from stages.core.base.params import settings
from stages.core.learning.dataset import SPLITS, Example, Prepared, split_of

ENDS = ("destination", "departure")
TOWN = 0.6  # chance that a city is a town of two halves
BEFORE_TOWN = 0.15  # chance that a word stands before such a town
BOTH_ENDS = 0.3  # chance that a sentence has both ends of the journey
TIME_FIRST, TIME_LAST = 0.2, 0.55  # chances of where the time stands; else there is none
CLOSED = 0.4  # chance of a closing
KEPT_BACK = 0.25  # share of towns that only the contrast set has

PLACES = """Taipei, Kaohsiung, Tainan, Tokyo, Osaka, Kyoto, Seoul, Busan, Beijing, Shanghai, Bangkok, Hanoi, Singapore,
    Jakarta, Delhi, Mumbai, Karachi, Tehran, Baghdad, Cairo, Lagos, Nairobi, Accra, Dakar, Tunis, Rome, Milan, Naples,
    Paris, Lyon, Madrid, Seville, Lisbon, Porto, London, Leeds, Dublin, Berlin, Hamburg, Vienna, Zurich, Prague, Warsaw,
    Oslo, Bergen, Stockholm, Helsinki, Riga, Athens, Sofia, Kyiv, Boston, Chicago, Denver, Seattle, Toronto, Montreal,
    Lima, Quito, Bogota, New York, Los Angeles, San Francisco, Mexico City, Buenos Aires, Sao Paulo, Hong Kong,
    Kuala Lumpur, Cape Town, Tel Aviv, Saint Petersburg, Abu Dhabi, Phnom Penh, Addis Ababa, Santa Fe"""
HALVES = (
    """Amber Apple Ash Barley Beech Birch Black Brad Bram Brent Bright Broad Brook Buck Burn Cald Castle Chel Clay Clear
    Cold Corn Crow Deer Drake Eagle East Elm Fair Fen Fern Finch Flax Fox Glen Gold Goose Grand Grass Green Hart Hazel
    Heather Hill Holly Horn Iron Ivy King Lamb Lark Linden Long Maple Marl Marsh Mill Moss Nettle North Oak Otter Oxen
    Pearl Penny Pine Plum Queen Raven Red River Rook Rose Rush Salt Sand Shep Silver Snow South Spring Star Stone Stow
    Summer Swan Thistle Thorn Timber Trout Wal Water Wheat White Wild Willow Winter Wolf Wood""",
    """acre bank beck borough bourne bridge brook burgh bury by cliff combe cote croft dale den down fell field fold
    ford gate grove ham haven head heath holm hurst land leigh low mere minster mouth ness over pool port rise shaw
    stead stoke stow thorpe ton wade well wick worth""",
)
BEFORE = ("Upper", "Lower", "Nether", "Great", "Mount", "Fort", "Saint", "Castel")
MONTHS = "January February March April May June July August September October November December"
DAYS = "Monday Tuesday Wednesday Thursday Friday Saturday Sunday"
PARTS_OF_DAY = "morning afternoon evening night"
CLOSINGS = (
    *("please", "thank you", "if possible", "if you can", "with two children", "for two people", "by night train"),
    *("in first class", "with a bicycle", "one way only", "the cheaper the better", "and I have a rail card"),
)
# Between the deciding word and the city; each form has gaps of several lengths, and a length is drawn first.
AT_PLACE = (
    *("", "sunny", "old", "rainy", "lovely", "distant", "good old", "my beloved", "sunny little", "our dear"),
    *("the town of", "the port of", "the city of", "the centre of", "the old town of", "the little port of"),
    *("the northern suburbs of", "the coach station of", "the bus stop just outside", "the old railway station of"),
    *("the sunny little town of", "the new ferry terminal of", "the centre of the city of"),
    *("the harbour of the town of", "one of the railway stations of", "the last stop but one before"),
)
IS_PLACE = (
    *("", "is", "remains", "will be", "should be", "must be", "city will be", "station should be", "town must be"),
    *("for both trips is", "this time will be", "on my ticket is", "on this journey will be", "city for us is still"),
    *("as booked last week is", "on this long journey will be", "for the four of us is"),
    "city on the ticket should be",
)
IN_SHORT = ("", "early", "late", "promptly", "very early", "by train", "before noon")
WISHES = (
    *("", "I would like to", "I want to", "we want to", "we have to", "please book me a seat to", "can we"),
    *("I need a ticket to", "my sister hopes to", "is it possible to", "help me to", "it would be good to"),
    *("my plan is to", "could you get us tickets to", "at what price can I", "we are a group and wish to"),
)


@settings
class Settings:
    """``train``, ``validation``, ``test``: ordinary sentences; ``pairs`` of contrasting ones, two sentences each."""

    seed: int
    train: int = pydantic.Field(default=4000, gt=0)
    validation: int = pydantic.Field(default=500, gt=0)
    test: int = pydantic.Field(default=500, gt=0)
    pairs: int = pydantic.Field(default=500, gt=0)


@dataclass(frozen=True)
class Form:
    """What stands around a city.

    ``deciding``: words for the destination and for the departure that can replace each other, in pairs. ``joints``
    lead from one end of the journey to the other. ``contrast``: whether its pairs are single words.
    """

    openings: tuple[str, ...]
    deciding: tuple[tuple[str, str], ...]
    gaps: tuple[str, ...]
    joints: tuple[str, ...]
    contrast: bool = True


FORMS = {
    "verb": Form(
        WISHES,
        (("reach", "leave"), ("enter", "exit"), ("reach", "depart"), ("enter", "leave")),
        AT_PLACE,
        ("and", "and then", "but first", "and on the way"),
    ),
    "short": Form(WISHES, (("arrive", "depart"), ("arrive", "leave")), IN_SHORT, ("and", "and then", "but first")),
    "phrase": Form(
        WISHES,
        (("arrive in", "depart from"), ("get to", "set off from"), ("end up in", "start from")),
        AT_PLACE,
        ("and", "and then", "but first"),
        contrast=False,
    ),
    "participle": Form(
        (
            *("a train", "any flight", "book me on a bus", "two seats on the ferry", "I am looking for a coach"),
            *("is there a night train", "show me all boats", "what about a fast train", "one place on a plane"),
        ),
        (("reaching", "leaving"), ("entering", "exiting"), ("reaching", "departing")),
        AT_PLACE,
        ("and", "and before that", "as well as"),
    ),
    "clause": Form(
        (
            *(
                "a train that",
                "which bus",
                "we need a ferry that",
                "show me every flight that",
                "I prefer a coach that",
            ),
            *("is there a boat that", "give me whatever", "tell me which train", "my friend says that this bus"),
        ),
        (("reaches", "leaves"), ("enters", "exits"), ("reaches", "departs")),
        AT_PLACE,
        ("and", "and then", "but before that"),
    ),
    "noun": Form(
        (
            "my",
            "our",
            "the",
            "please note that my",
            "as I said the",
            "for the booking our",
            "it seems the",
            "write that the",
        ),
        (("arrival", "departure"), ("destination", "origin")),
        IS_PLACE,
        ("and the", "and my", "while the", "but our"),
    ),
    "preposition": Form(
        (
            *(
                "a ticket",
                "one seat",
                "I want to travel",
                "how much is a ticket",
                "two singles",
                "the next bus",
                "a trip",
            ),
            *("we are going", "can you book a flight", "is there a train", "I have to get", "a cabin on the boat"),
        ),
        (("to", "from"), ("towards", "from"), ("into", "from")),
        AT_PLACE,
        ("", "and"),
    ),
}
Words = list[tuple[str, str]]  # (token, its BIO tag)


def generate(settings: Settings) -> Prepared:
    """Generate the sentences; raises InputError where more pairs are wanted than there are towns for."""
    common = [town for town in all_towns() if split_of(town, 0, KEPT_BACK) != "test"]
    unseen = [town for town in all_towns() if split_of(town, 0, KEPT_BACK) == "test"]
    if settings.pairs > len(unseen):
        raise InputError(
            f"generated.tickets.pairs is {settings.pairs}, but it should be at most {len(unseen)}, since every pair "
            "has a town of its own"
        )
    splits = _ordinary(settings, common)
    pairs, gaps = _pairs(settings, unseen)
    splits["test"] += pairs
    words = {token for example in splits["train"] for token in example["tokens"]}
    unknown = sum(token not in words for example in pairs for token in example["tokens"])
    facts = {
        "contrast_gaps": {str(length): count for length, count in sorted(gaps.items())},
        "words_in_training": len(words),
        "unknown_words_in_contrast_set": unknown,
    }
    return Prepared(splits, facts=facts)


def all_towns() -> list[str]:
    """Give every town of two halves."""
    first, second = (half.split() for half in HALVES)
    return [one + other for one in first for other in second if not one.lower().endswith(other)]


# Sentences.


def _ordinary(settings: Settings, towns: list[str]) -> dict[str, list[Example]]:
    random = Random(f"{settings.seed} ordinary")
    wanted = {"train": settings.train, "validation": settings.validation, "test": settings.test}
    total = sum(wanted.values())
    splits: dict[str, list[Example]] = {split: [] for split in SPLITS}
    said: set[str] = set()
    while any(len(splits[split]) < wanted[split] for split in SPLITS):
        words = _sentence(random, towns)
        key = hashlib.sha256(" ".join(token for token, _ in words).encode()).hexdigest()[:16]
        split = split_of(key, settings.validation / total, settings.test / total)
        if key not in said and len(splits[split]) < wanted[split]:
            said.add(key)
            splits[split].append(_example(f"ticket_{key}", key, words))
    return splits


def _sentence(random: Random, towns: list[str]) -> Words:
    form = random.choice(list(FORMS.values()))
    pair = random.choice(form.deciding)
    ends = random.sample(range(2), 2)
    words = [*_outside(random.choice(form.openings)), *_end(random, form, pair, ends[0], _city(random, towns))]
    if random.random() < BOTH_ENDS:
        words += [*_outside(random.choice(form.joints)), *_end(random, form, pair, ends[1], _city(random, towns))]
    return _framed(random, words)


def _pairs(settings: Settings, towns: list[str]) -> tuple[list[Example], Counter[int]]:
    """Give the sentences of the contrast set, and how many pairs have a gap of how many words."""
    random = Random(f"{settings.seed} contrast")
    forms = [form for form in FORMS.values() if form.contrast]
    examples: list[Example] = []
    gaps: Counter[int] = Counter()
    for number, town in enumerate(random.sample(towns, settings.pairs), start=1):
        form = random.choice(forms)
        deciding, opening = random.choice(form.deciding), random.choice(form.openings)
        state = random.getstate()
        for end, name in enumerate(ENDS):
            random.setstate(state)  # so that all else is drawn alike
            place = _end(random, form, deciding, end, town)
            words = _framed(random, [*_outside(opening), *place])
            example = _example(f"pair_{number:04d}_{name}", f"pair_{number:04d}", words)
            examples.append({**example, "contrast": True, "pair": f"pair_{number:04d}"})
        gaps[len(place) - 2] += 1
    return examples, gaps


def _example(identity: str, key: str, words: Words) -> Example:
    return {"id": identity, "key": key, "tokens": [token for token, _ in words], "tags": [tag for _, tag in words]}


# Parts of a sentence.


def _end(random: Random, form: Form, pair: tuple[str, str], end: int, city: str) -> Words:
    """Say one end of the journey: the deciding word, a gap and the city."""
    length = random.choice(sorted({len(gap.split()) for gap in form.gaps}))
    gap = random.choice([gap for gap in form.gaps if len(gap.split()) == length])
    return [*_outside(pair[end]), *_outside(gap), *_slot(city, ENDS[end])]


def _framed(random: Random, words: Words) -> Words:
    """Put a time before or after ``words``, and a closing behind, or not."""
    place = random.random()
    if place < TIME_FIRST:
        words = [*_time(random), *words]
    elif place < TIME_FIRST + TIME_LAST:
        words = [*words, *_time(random)]
    return [*words, *_outside(random.choice(CLOSINGS) if random.random() < CLOSED else "")]


def _time(random: Random) -> Words:
    day, month = random.randint(1, 28), random.choice(MONTHS.split())
    weekday, part = random.choice(DAYS.split()), random.choice(PARTS_OF_DAY.split())
    before, said = random.choice(
        [
            ("on", f"{month} {ordinal(day)}"),
            ("on", f"{month} {ordinal(day)}"),
            ("on the", f"{ordinal(day)} of {month}"),
            ("on", weekday),
            ("on", f"{weekday} {part}"),
            ("", f"next {weekday}"),
            ("", "tomorrow"),
            ("", f"tomorrow {part}"),
            ("at", f"{random.randint(1, 12)} {random.choice(('am', 'pm'))}"),
        ]
    )
    return [*_outside(before), *_slot(said, "time")]


def ordinal(number: int) -> str:
    """Write 1 as 1st, 12 as 12th, 22 as 22nd."""
    endings = {1: "st", 2: "nd", 3: "rd"}
    return f"{number}{'th' if 10 < number % 100 < 14 else endings.get(number % 10, 'th')}"


def _city(random: Random, towns: list[str]) -> str:
    if random.random() >= TOWN:
        return random.choice([" ".join(place.split()) for place in PLACES.split(",")])
    town = random.choice(towns)
    return f"{random.choice(BEFORE)} {town}" if random.random() < BEFORE_TOWN else town


def _outside(text: str) -> Words:
    return [(token, "O") for token in text.split()]


def _slot(text: str, slot: str) -> Words:
    return [(token, f"{'I' if index else 'B'}-{slot}") for index, token in enumerate(text.split())]
