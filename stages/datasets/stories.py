"""Stories from a small simulated farm, each with one question, of the twenty kinds of bAbI (Weston et al. 2015).

Source: generated here, version 2; no licence needed. The kinds of reasoning are those of the published tasks, in their
order; the world, its names, the sentences and how they are drawn are our own.

**World.** Four people, six rooms, four things to carry; five animals of four species; five containers; toys of four
colours and three shapes. Where anyone is and where anything lies is not told at the start. What happens:

    story   = sentence+            (each ends in ".")
    move    = people ("walked" | "strolled" | "hurried" | "ran") "to the" room
            | people "returned to the" room                     (only where all of them have been)
    follow  = ("Then" | "Next" | "Later") ("he" | "she" | "they") move's words     (whom the sentence before names)
    take    = person ("took" | "lifted" | "collected" | "fetched") "the" thing     (that lies in the person's room)
    drop    = person ("dropped" | "put down" | "laid down" | "set aside") "the" thing
    give    = person ("gave" | "handed" | "passed") "the" thing "to" person        (in the same room)
    see     = person "is in the" room
    miss    = person ("has left the" | "is no longer in the") room                 (where the person was)
            | person "is not in the" room                       (of whom nothing was told)
    doubt   = person "is in the" room "or the" room
    visit   = "On" day person move's words | person move's words "on" day          (told in any order)
    mood    = person "is" ("hungry" | "thirsty" | "tired" | "cold" | "bored" | "lonely")
    map     = "The" room "is" ("north" | "south" | "east" | "west") "of the" room
    toys    = "The" toy "is" ("left of" | "right of" | "above" | "below") "the" toy
    size    = "The" container ("is bigger than" | "is smaller than" | "fits in") "the" container
    fear    = species "fear" species
    animal  = animal "is a" species | animal "is" colour
    people  = person | person "and" person
    person  = "Iris" | "Nora" (she) | "Hugo" | "Otto" (he)
    room    = "attic" | "barn" | "cellar" | "kitchen" | "library" | "orchard"
    thing   = "apple" | "blanket" | "jug" | "novel"
    toy     = colour shape
    colour  = "black" | "grey" | "red" | "white"                shape  = "ball" | "cube" | "ring"
    animal  = "Dot" | "Fern" | "Moss" | "Pip" | "Rex"           species = "dog" | "fox" | "goat" | "hen" (also plural)
    day     = "Monday" | "Tuesday" | "Wednesday" | "Thursday"
    container = "barrel" | "basket" | "chest" | "jar" | "trunk"

A sentence of ``see``, ``miss`` or ``doubt`` tells where a person is by then, since people also move untold. A sentence
of ``map`` or ``toys`` puts its two one step apart on a grid, no two at one place; rooms of a ``map`` have a door
between them. A species fears one species and has one colour within a story. A mood decides where one goes and what one
takes there (``WANTS``); each of these rooms and things serves two moods, so that neither gives a mood away.

**Kinds of question**, with the length of their stories in sentences, and what the answer rests on:

- ``one_fact`` (2 to 10): "Where is" person "?" The person's last move.
- ``two_facts`` (2 to 20): "Where is the" thing "?" Who got it or let it go last, and where that person was.
- ``three_facts`` (4 to 30): "Where was the" thing "before the" room "?" It asks for the last time that the thing was
  carried into the room: the move there, the one before, and how the carrier had got the thing.
- ``two_arguments`` (2 to 4): "What is" direction "of the" room "?" and "What is the" room direction "of?" Its sentence.
- ``three_arguments`` (4 to 20): who gave what to whom, the last time. That sentence.
- ``yes_no`` (2 to 10): "Is" person "in the" room "?" The person's last move.
- ``counting``, ``lists`` (4 to 20): "How many things does" person "carry?", "What does" person "carry?" A list is one
  symbol, its things (three at most) in alphabetical order. How the person got each of them, or let the last one go.
- ``negation``, ``indefinite`` (2 to 10): "Is" person "in the" room "?", with sentences of ``miss``, or of ``doubt`` and
  the further answer "maybe". The last sentence about the person.
- ``coreference``, ``conjunction``, ``compound_coreference`` (2 to 10): "Where is" person "?" with "he" and "she"; with
  two people a move; with "they". The last sentence about the person, and the one that says who a pronoun is.
- ``time`` (3 to 10): "Where was" person "before the" room "?" The visit to the room, and the person's visit before.
- ``deduction`` (4 to 8): "What does" animal "fear?" The animal's species, and what that fears.
- ``induction`` (5 to 9): "What colour is" animal "?" Its species; another animal's species, the same, and colour.
- ``positions`` (2 or 3): "Is the" toy ("left of" ...) "the" toy "?" The sentences that link the two.
- ``sizes`` (3 to 6): "Is the" container "bigger than the" container "?" and the like. A chain of two or more sentences.
- ``paths`` (4 or 5): "How do you get from the" room "to the" room "?" Two steps, one symbol: "north,east". Their doors.
- ``motivations`` (2 to 12): where a person will go, why one went there, why one took a thing. The person's mood.

**Example.** ``id``; ``key``; ``kind``; ``story``, a list of sentences; ``question``; ``answer``, one symbol;
``supporting``, the sorted indices (from 0) of sentences that give the answer by themselves, none of them idle.

**Splits.** The key is a hash of the story's text, without the question; a story that came up before, in whatever
kind, is dropped. The hash alone decides the split, with chances in proportion to the wanted counts; a kind is drawn
until each split has its count, and what comes up for a full split is dropped. So no story is in two splits, and each
split has exactly its count of every kind. In each of them no answer has more than its kind's share (``Kind.most``).
"""

from __future__ import annotations

import hashlib
import itertools
import math
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from random import Random
from typing import NamedTuple, TypeVar

import pydantic

from stages.core.base.errors import InputError
from stages.core.base.params import meant, settings
from stages.core.learning.dataset import SPLITS, Example, Prepared, split_of

PEOPLE = {"Iris": "she", "Nora": "she", "Hugo": "he", "Otto": "he"}
ROOMS = ("attic", "barn", "cellar", "kitchen", "library", "orchard")
THINGS = ("apple", "blanket", "jug", "novel")
MOVES = ("walked to", "strolled to", "hurried to", "ran to")
RETURNS = (*MOVES, "returned to")
FOLLOWS = ("Then", "Next", "Later")
TAKES = ("took", "lifted", "collected", "fetched")
DROPS = ("dropped", "put down", "laid down", "set aside")
GIVES = ("gave", "handed", "passed")
MISSES = ("has left", "is no longer in")
DAYS = ("Monday", "Tuesday", "Wednesday", "Thursday")
NUMBERS = ("none", "one", "two", "three")
ANIMALS = ("Dot", "Fern", "Moss", "Pip", "Rex")
SPECIES = {"dog": "dogs", "fox": "foxes", "goat": "goats", "hen": "hens"}
COLOURS = ("black", "grey", "red", "white")
TOYS = tuple(f"{colour} {shape}" for colour in COLOURS for shape in ("ball", "cube", "ring"))
CONTAINERS = ("barrel", "basket", "chest", "jar", "trunk")
PATIENCE = 20000  # draws in vain, after which a kind has no more stories to give
EARLIER = 0.2  # chance of asking about a journey before the latest

T = TypeVar("T")
Steps = dict[str, tuple[int, int]]  # a direction's word to the step (right, up) that it stands for
COMPASS: Steps = {"north": (0, 1), "south": (0, -1), "east": (1, 0), "west": (-1, 0)}
SIDES: Steps = {"above": (0, 1), "below": (0, -1), "right of": (1, 0), "left of": (-1, 0)}


class Want(NamedTuple):
    """Where somebody in some mood goes, and what such a person takes there."""

    room: str
    thing: str


WANTS = {
    "hungry": Want("kitchen", "apple"),
    "thirsty": Want("orchard", "apple"),
    "tired": Want("attic", "blanket"),
    "cold": Want("kitchen", "blanket"),
    "bored": Want("attic", "novel"),
    "lonely": Want("orchard", "novel"),
}


@settings
class Settings:
    """``kinds``: which questions to ask, in this order. ``train``, ``validation``, ``test``: stories a kind."""

    seed: int
    kinds: list[str] = pydantic.Field(min_length=1)
    train: int = pydantic.Field(gt=0)
    validation: int = pydantic.Field(gt=0)
    test: int = pydantic.Field(gt=0)


@dataclass(frozen=True)
class Asked:
    """A question about a story, its answer, and the indices of the sentences that the answer rests on."""

    story: list[str]
    question: str
    answer: str
    supporting: tuple[int, ...]


# What happens: people move about and carry things.


@dataclass(frozen=True)
class Carried:
    """A thing was carried from one room to another; ``supporting`` are the sentences that tell it."""

    origin: str
    goal: str
    supporting: tuple[int, ...]


class Gift(NamedTuple):
    """Somebody gave somebody something; ``sentence`` is the index of the one that tells it."""

    giver: str
    thing: str
    receiver: str
    sentence: int


@dataclass
class World:
    """What a reader of the sentences told so far can know.

    ``rooms``: person to the rooms where the person can be, once told of; ``told``: person to the sentences that tell
    so; ``been``: person to the rooms where the person has been. ``moved``: the people whom the latest sentence names
    and moves. ``place``: thing to the room where it lies, told or not; ``holder``: thing to the person who has it.
    ``transfer``: thing to the last sentence that says who got it or let it go; ``dropped_after``: thing to the
    sentences that tell where it was dropped; ``lost``: person to the last sentence by which the person let something
    go. ``journeys``: thing to the times it was carried into a room.
    """

    random: Random
    story: list[str] = field(default_factory=list)
    rooms: dict[str, tuple[str, ...]] = field(default_factory=dict)
    told: dict[str, tuple[int, ...]] = field(default_factory=dict)
    been: dict[str, set[str]] = field(default_factory=dict)
    moved: tuple[str, ...] = ()
    place: dict[str, str] = field(default_factory=dict)
    holder: dict[str, str] = field(default_factory=dict)
    transfer: dict[str, int] = field(default_factory=dict)
    dropped_after: dict[str, tuple[int, ...]] = field(default_factory=dict)
    lost: dict[str, int] = field(default_factory=dict)
    journeys: dict[str, list[Carried]] = field(default_factory=dict)
    gifts: list[Gift] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.place = {thing: self.random.choice(ROOMS) for thing in THINGS}

    def tell(self, sentence: str) -> int:
        """Add a sentence to the story; gives its index."""
        self.moved = ()
        self.story.append(sentence)
        return len(self.story) - 1

    def room(self, person: str) -> str | None:
        """The room where ``person`` is, where that is known."""
        rooms = self.rooms.get(person, ())
        return rooms[0] if len(rooms) == 1 else None

    def held_by(self, person: str) -> list[str]:
        """Things that ``person`` has."""
        return [thing for thing in THINGS if self.holder.get(thing) == person]

    def choices(self) -> dict[str, list[tuple[str, ...]]]:
        """Every step that is possible: by action, what ``step`` needs to know."""
        known = [person for person in PEOPLE if self.room(person)]
        untold = [person for person in PEOPLE if person not in self.rooms]
        return {
            "move": [(person,) for person in PEOPLE],
            "pair": list(itertools.permutations(PEOPLE, 2)),
            "follow": [self.moved] if self.moved else [],
            "take": [(p, thing) for p in known for thing in THINGS if self.place.get(thing) == self.room(p)],
            "drop": [(person, thing) for person in known for thing in self.held_by(person)],
            "give": [
                (person, thing, other)
                for person in known
                for thing in self.held_by(person)
                for other in known
                if other != person and self.room(other) == self.room(person)
            ],
            "see": [(person,) for person in PEOPLE],
            "miss": [(person,) for person in (*known, *untold)],
            "doubt": [(person,) for person in PEOPLE if len(self.rooms.get(person, ())) <= 2],
        }

    def step(self, weights: dict[str, float]) -> None:
        """Let one thing happen: an action drawn by its weight among the possible ones, then who and what, evenly."""
        possible = {action: found for action, found in self.choices().items() if found and weights.get(action)}
        (action,) = self.random.choices(list(possible), [weights[action] for action in possible])
        arguments = self.random.choice(possible[action])
        acts: dict[str, Callable[..., None]] = {
            "move": self.move,
            "pair": self.move,
            "follow": self.follow,
            "take": self.take,
            "drop": self.drop,
            "give": self.give,
            "see": self.see,
            "miss": self.miss,
            "doubt": self.doubt,
        }
        acts[action](*arguments)

    def move(self, *people: str) -> None:
        """``people`` go to another room, with all that they have."""
        goal = self._elsewhere(*people)
        here = self.tell(f"{' and '.join(people)} {self._verb(people, goal)} the {goal}.")
        self._arrive(people, goal, (here,))
        self.moved = people

    def follow(self, *people: str) -> None:
        """Those whom the latest sentence names and moves move on, told with a pronoun."""
        goal = self._elsewhere(*people)
        pronoun = PEOPLE[people[0]] if len(people) == 1 else "they"
        here = self.tell(f"{self.random.choice(FOLLOWS)} {pronoun} {self._verb(people, goal)} the {goal}.")
        self._arrive(people, goal, (here - 1, here))

    def take(self, person: str, thing: str) -> None:
        """``person`` takes a thing that lies in the same room."""
        self.transfer[thing] = self.tell(f"{person} {self.random.choice(TAKES)} the {thing}.")
        self.holder[thing] = person
        del self.place[thing]

    def drop(self, person: str, thing: str) -> None:
        """``person`` leaves a thing in the room."""
        self.transfer[thing] = self.lost[person] = self.tell(f"{person} {self.random.choice(DROPS)} the {thing}.")
        self.dropped_after[thing] = self.told[person]
        (self.place[thing],) = self.rooms[person]
        del self.holder[thing]

    def give(self, person: str, thing: str, other: str) -> None:
        """``person`` hands a thing to another person in the same room."""
        here = self.tell(f"{person} {self.random.choice(GIVES)} the {thing} to {other}.")
        self.transfer[thing] = self.lost[person] = here
        self.gifts.append(Gift(person, thing, other, here))
        self.holder[thing] = other

    def see(self, person: str) -> None:
        """``person`` is said to be in a room."""
        room = self._elsewhere(person)
        self._learn(person, (room,), self.tell(f"{person} is in the {room}."))

    def miss(self, person: str) -> None:
        """``person`` is said to be no longer where the person was; or not in some room, if nothing was told."""
        room = self.room(person)
        words = "is not in" if room is None else self.random.choice(MISSES)
        room = room or self.random.choice(ROOMS)
        others = tuple(other for other in ROOMS if other != room)
        self._learn(person, others, self.tell(f"{person} {words} the {room}."))

    def doubt(self, person: str) -> None:
        """``person`` is said to be in one of two rooms, in none of which the person was before."""
        first, second = self.random.sample([room for room in ROOMS if room not in self.rooms.get(person, ())], 2)
        self._learn(person, (first, second), self.tell(f"{person} is in the {first} or the {second}."))

    def _elsewhere(self, *people: str) -> str:
        return self.random.choice([room for room in ROOMS if room not in map(self.room, people)])

    def _verb(self, people: Sequence[str], goal: str) -> str:
        been = all(goal in self.been.get(person, ()) for person in people)
        return self.random.choice(RETURNS if been else MOVES)

    def _learn(self, person: str, rooms: tuple[str, ...], *told: int) -> None:
        self.rooms[person], self.told[person] = rooms, told
        if len(rooms) == 1:
            self.been.setdefault(person, set()).add(rooms[0])

    def _arrive(self, people: Sequence[str], goal: str, told: tuple[int, ...]) -> None:
        for person in people:
            for thing in self.held_by(person):
                (origin,) = self.rooms[person]
                supporting = (*self.told[person], self.transfer[thing], told[-1])
                self.journeys.setdefault(thing, []).append(Carried(origin, goal, supporting))
            self._learn(person, (goal,), *told)


Ask = Callable[[World], Asked | None]


def live(random: Random, ask: Ask, least: int, greatest: int, **weights: float) -> Asked | None:
    """Tell ``least`` to ``greatest`` sentences, their actions drawn by ``weights``, and ask; None where one cannot."""
    world = World(random)
    for _ in range(random.randint(least, greatest)):
        world.step(weights)
    return ask(world)


def ask_person(world: World, facts: int = 1) -> Asked | None:
    """Ask where somebody is, of whom ``facts`` sentences tell it."""
    person = _choose(world.random, [person for person in world.rooms if len(world.told[person]) == facts])
    if person is None:
        return None
    return Asked(world.story, f"Where is {person}?", world.rooms[person][0], world.told[person])


def ask_thing(world: World) -> Asked | None:
    """Ask where a thing is that the story has told of."""
    thing = _choose(world.random, list(world.transfer))
    if thing is None:
        return None
    holder = world.holder.get(thing)
    room = world.place[thing] if holder is None else world.rooms[holder][0]
    told = world.dropped_after[thing] if holder is None else world.told[holder]
    return Asked(world.story, f"Where is the {thing}?", room, (world.transfer[thing], *told))


def ask_before(world: World) -> Asked | None:
    """Ask where a thing was before the last time it was carried into a room."""
    thing = _choose(world.random, list(world.journeys))
    if thing is None:
        return None
    last = {journey.goal: journey for journey in world.journeys[thing]}
    *earlier, latest = sorted(last.values(), key=lambda journey: journey.supporting[-1])
    journey = world.random.choice(earlier) if earlier and world.random.random() < EARLIER else latest
    question = f"Where was the {thing} before the {journey.goal}?"
    return Asked(world.story, question, journey.origin, journey.supporting)


def ask_whether(world: World, answers: Sequence[str] = ("yes", "no")) -> Asked | None:
    """Ask whether a person is in a room, if possible one that the story names; ``answers`` are equally likely."""
    answer = world.random.choice(answers)
    rooms = {person: [room for room in ROOMS if _whether(world, person, room) == answer] for person in world.rooms}
    person = _choose(world.random, [person for person in rooms if rooms[person]])
    if person is None:
        return None
    named = [room for room in rooms[person] if any(f"the {room}" in sentence for sentence in world.story)]
    room = world.random.choice(named or rooms[person])
    return Asked(world.story, f"Is {person} in the {room}?", answer, world.told[person])


def ask_carried(world: World, question: str, answer: Callable[[list[str]], str]) -> Asked | None:
    """Ask about all that somebody carries who has had something, and has at most three things."""
    had = [person for person in PEOPLE if person in world.lost or world.held_by(person)]
    person = _choose(world.random, [person for person in had if len(world.held_by(person)) < len(NUMBERS)])
    if person is None:
        return None
    things = world.held_by(person)
    supporting = tuple(world.transfer[thing] for thing in things) or (world.lost[person],)
    return Asked(world.story, question.format(person), answer(things), supporting)


def ask_gift(world: World) -> Asked | None:
    """Ask who gave what to whom, the last time that what the question says of it came to pass."""
    gift = _choose(world.random, world.gifts)
    if gift is None:
        return None
    question, asked, given = world.random.choice(
        [
            ("What did {giver} give to {receiver}?", "thing", ("giver", "receiver")),
            ("Who gave the {thing} to {receiver}?", "giver", ("thing", "receiver")),
            ("Who did {giver} give the {thing} to?", "receiver", ("giver", "thing")),
            ("Who gave the {thing}?", "giver", ("thing",)),
            ("Who received the {thing}?", "receiver", ("thing",)),
        ]
    )
    last = [other for other in world.gifts if all(getattr(other, part) == getattr(gift, part) for part in given)][-1]
    return Asked(world.story, question.format(**last._asdict()), getattr(last, asked), (last.sentence,))


def _whether(world: World, person: str, room: str) -> str:
    if room not in world.rooms[person]:
        return "no"
    return "yes" if world.room(person) else "maybe"


def count(things: list[str]) -> str:
    """Say how many ``things`` there are."""
    return NUMBERS[len(things)]


def enumerate_things(things: list[str]) -> str:
    """Name the ``things`` in one symbol."""
    return ",".join(things) or "nothing"


# What is so: visits, moods, animals, and how things lie or fit.


def tell_visits(random: Random) -> Asked | None:
    """Tell visits of all the people, each on another day and to another room; ask what came before one of them."""
    slots = random.sample(list(itertools.product(PEOPLE, range(len(DAYS)))), random.randint(3, 10))
    rooms = {person: random.sample(ROOMS, len(DAYS)) for person in PEOPLE}
    story = []
    for person, day in slots:
        words = f"{person} {random.choice(MOVES)} the {rooms[person][day]}"
        story.append(random.choice((f"On {DAYS[day]} {words}.", f"{words} on {DAYS[day]}.")))
    visits = sorted((person, day, sentence) for sentence, (person, day) in enumerate(slots))
    pair = _choose(random, [(one, two) for one, two in itertools.pairwise(visits) if one[0] == two[0]])
    if pair is None:
        return None
    (person, before, first), (_, after, second) = pair
    question = f"Where was {person} before the {rooms[person][after]}?"
    return Asked(story, question, rooms[person][before], (first, second))


def tell_moods(random: Random) -> Asked | None:
    """Tell people's moods, where these lead them and what they take there; ask for the mood or the place."""
    story: list[str] = []
    mood = {person: random.choice(list(WANTS)) for person in PEOPLE}
    first: dict[str, int] = {}
    stage = dict.fromkeys(PEOPLE, 0)  # how much was told of a person
    taken: set[str] = set()
    for _ in range(random.randint(2, 12)):
        able = [p for p in PEOPLE if stage[p] < 2 or (stage[p] == 2 and WANTS[mood[p]].thing not in taken)]
        if not able:
            break
        person = random.choice(able)
        want = WANTS[mood[person]]
        if stage[person] == 2:
            taken.add(want.thing)
        move, take = random.choice(MOVES), random.choice(TAKES)
        sentences = (f"is {mood[person]}", f"{move} the {want.room}", f"{take} the {want.thing}")
        first.setdefault(person, len(story))
        story.append(f"{person} {sentences[stage[person]]}.")
        stage[person] += 1
    asked = random.choice((1, 2, 3))
    person = _choose(random, [p for p in first if (stage[p] == 1 if asked == 1 else stage[p] >= asked)]) or ""
    if not person:
        return None
    want = WANTS[mood[person]]
    if asked == 1:
        return Asked(story, f"Where will {person} go?", want.room, (first[person],))
    question = f"go to the {want.room}" if asked == 2 else f"take the {want.thing}"
    return Asked(story, f"Why did {person} {question}?", mood[person], (first[person],))


def tell_fears(random: Random) -> Asked | None:
    """Tell what species fear and of which species animals are; ask what an animal fears."""
    kinds = random.sample(list(SPECIES), random.randint(2, 4))
    fears = {kind: random.choice([other for other in SPECIES if other != kind]) for kind in kinds}
    animals = {animal: random.choice(list(SPECIES)) for animal in random.sample(ANIMALS, random.randint(2, 4))}
    facts = [("fear", kind, f"{SPECIES[kind].capitalize()} fear {SPECIES[fears[kind]]}.") for kind in kinds]
    facts += [("animal", animal, f"{animal} is a {kind}.") for animal, kind in animals.items()]
    random.shuffle(facts)
    animal = _choose(random, [animal for animal, kind in animals.items() if kind in fears])
    if animal is None:
        return None
    place = {fact[:2]: index for index, fact in enumerate(facts)}
    supporting = (place["animal", animal], place["fear", animals[animal]])
    answer = SPECIES[fears[animals[animal]]]
    return Asked([fact[2] for fact in facts], f"What does {animal} fear?", answer, supporting)


def tell_colours(random: Random) -> Asked | None:
    """Tell of animals of which species and colour they are, of one not the colour; ask for that."""
    animal, *others = random.sample(ANIMALS, random.randint(3, 5))
    colour = {kind: random.choice(COLOURS) for kind in SPECIES}
    kind = {name: random.choice(list(SPECIES)) for name in (animal, *others)}
    facts = [("kind", name, f"{name} is a {kind[name]}.") for name in kind]
    facts += [("colour", name, f"{name} is {colour[kind[name]]}.") for name in others]
    random.shuffle(facts)
    alike = _choose(random, [name for name in others if kind[name] == kind[animal]])
    if alike is None:
        return None
    place = {fact[:2]: index for index, fact in enumerate(facts)}
    supporting = (place["kind", animal], place["kind", alike], place["colour", alike])
    return Asked([fact[2] for fact in facts], f"What colour is {animal}?", colour[kind[animal]], supporting)


Relation = tuple[str, str, str]  # (one, word, other): one is north of the other, say


def lay_out(random: Random, names: Sequence[str], steps: Steps) -> tuple[dict[str, tuple[int, int]], list[Relation]]:
    """Put ``names`` on a grid, each beside an earlier one; gives their cells, and the relations in a random order."""
    cells = {names[0]: (0, 0)}
    relations: list[Relation] = []
    for name in names[1:]:
        free = [
            (other, word, (x + right, y + up))
            for other, (x, y) in cells.items()
            for word, (right, up) in steps.items()
            if (x + right, y + up) not in cells.values()
        ]
        other, word, cells[name] = random.choice(free)
        relations.append(random.choice([(name, word, other), (other, _opposite(word, steps), name)]))
    random.shuffle(relations)
    return cells, relations


def chain(links: Sequence[tuple[str, str]], start: str, goal: str) -> list[int] | None:
    """Find a shortest way along directed ``links``; gives their indices, or None where there is no way."""
    ways: dict[str, list[int]] = {start: []}
    for here in (queue := [start]):
        for index, (origin, end) in enumerate(links):
            if origin == here and end not in ways:
                ways[end] = [*ways[here], index]
                queue.append(end)
    return ways.get(goal)


def tell_map(random: Random) -> Asked:
    """Tell how rooms lie; ask for one side of a relation that is told."""
    _, relations = lay_out(random, random.sample(ROOMS, random.randint(3, 5)), COMPASS)
    story = [f"The {one} is {word} of the {other}." for one, word, other in relations]
    one, word, other = random.choice(relations)
    supporting = (relations.index((one, word, other)),)
    if random.random() < 0.5:
        return Asked(story, f"What is {word} of the {other}?", one, supporting)
    return Asked(story, f"What is the {one} {word} of?", other, supporting)


def tell_paths(random: Random) -> Asked | None:
    """Tell how rooms lie; ask for the way between two that have one room between them."""
    _, relations = lay_out(random, random.sample(ROOMS, random.randint(5, 6)), COMPASS)
    story = [f"The {one} is {word} of the {other}." for one, word, other in relations]
    doors = [(other, one) for one, _, other in relations] + [(one, other) for one, _, other in relations]
    words = [word for _, word, _ in relations] + [_opposite(word, COMPASS) for _, word, _ in relations]
    start, goal = random.sample(sorted({room for door in doors for room in door}), 2)
    way = chain(doors, start, goal)
    if way is None or len(way) != 2:
        return None
    answer = ",".join(words[door] for door in way)
    supporting = tuple(door % len(relations) for door in way)
    return Asked(story, f"How do you get from the {start} to the {goal}?", answer, supporting)


def tell_toys(random: Random) -> Asked | None:
    """Tell how toys lie; ask whether one is to a side of another that is not told beside it."""
    cells, relations = lay_out(random, random.sample(TOYS, random.randint(3, 4)), SIDES)
    story = [f"The {one} is {word} the {other}." for one, word, other in relations]
    links = [(one, other) for one, _, other in relations] + [(other, one) for one, _, other in relations]
    one, other = random.sample(sorted(cells), 2)
    way = chain(links, one, other) or []
    if len(way) < 2:
        return None
    word = random.choice(list(SIDES))
    right, up = SIDES[word]
    offset = right * (cells[one][0] - cells[other][0]) + up * (cells[one][1] - cells[other][1])
    supporting = tuple(link % len(relations) for link in way)
    return Asked(story, f"Is the {one} {word} the {other}?", "yes" if offset > 0 else "no", supporting)


def tell_sizes(random: Random) -> Asked | None:
    """Tell which containers are bigger than others; ask about two whose sizes follow from two sentences or more."""
    order = random.sample(CONTAINERS, len(CONTAINERS))
    links = random.sample(list(itertools.combinations(order, 2)), random.randint(3, 6))
    story = [
        random.choice((f"The {big} is bigger than the {small}.", f"The {small} {{}} the {big}.")).format(
            random.choice(("is smaller than", "fits in"))
        )
        for big, small in links
    ]
    big, small = sorted(random.sample(CONTAINERS, 2), key=order.index)
    way = chain(links, big, small) or []
    if len(way) < 2:
        return None
    answer = random.choice(("yes", "no"))
    one, other = (big, small) if answer == "yes" else (small, big)
    question = random.choice(
        (
            f"Is the {one} bigger than the {other}?",
            f"Is the {other} smaller than the {one}?",
            f"Does the {other} fit in the {one}?",
        )
    )
    return Asked(story, question, answer, tuple(way))


def _opposite(word: str, steps: Steps) -> str:
    right, up = steps[word]
    return next(other for other, step in steps.items() if step == (-right, -up))


# The kinds.


@dataclass(frozen=True)
class Kind:
    """A kind of question: ``tell`` draws one, or None where a story came out without; ``most`` is the greatest share
    that one answer may have in a split.
    """

    tell: Callable[[Random], Asked | None]
    most: float


_CARRY = partial(live, least=4, greatest=20, move=3, take=8, drop=1, give=1)
_COUNT = partial(ask_carried, question="How many things does {} carry?", answer=count)
_LIST = partial(ask_carried, question="What does {} carry?", answer=enumerate_things)
_MAYBE = partial(ask_whether, answers=("yes", "no", "maybe"))
_PRONOUN = partial(ask_person, facts=2)
KINDS = {
    "one_fact": Kind(partial(live, ask=ask_person, least=2, greatest=10, move=1), 0.25),
    "two_facts": Kind(partial(live, ask=ask_thing, least=2, greatest=20, move=5, take=3, drop=1), 0.25),
    "three_facts": Kind(partial(live, ask=ask_before, least=4, greatest=30, move=5, take=3, drop=1), 0.25),
    "two_arguments": Kind(tell_map, 0.25),
    "three_arguments": Kind(partial(live, ask=ask_gift, least=4, greatest=20, move=3, take=3, drop=1, give=6), 0.25),
    "yes_no": Kind(partial(live, ask=ask_whether, least=2, greatest=10, move=5, take=2, drop=1, give=1), 0.5),
    "counting": Kind(partial(_CARRY, ask=_COUNT), 0.35),
    "lists": Kind(partial(_CARRY, ask=_LIST), 0.15),
    "negation": Kind(partial(live, ask=ask_whether, least=2, greatest=10, move=1, see=1, miss=2), 0.5),
    "indefinite": Kind(partial(live, ask=_MAYBE, least=2, greatest=10, move=1, see=1, doubt=2), 0.34),
    "coreference": Kind(partial(live, ask=_PRONOUN, least=2, greatest=10, move=3, follow=3), 0.25),
    "conjunction": Kind(partial(live, ask=ask_person, least=2, greatest=10, pair=1), 0.25),
    "compound_coreference": Kind(partial(live, ask=_PRONOUN, least=2, greatest=10, pair=1, follow=1), 0.25),
    "time": Kind(tell_visits, 0.25),
    "deduction": Kind(tell_fears, 0.3),
    "induction": Kind(tell_colours, 0.3),
    "positions": Kind(tell_toys, 0.5),
    "sizes": Kind(tell_sizes, 0.5),
    "paths": Kind(tell_paths, 0.15),
    "motivations": Kind(tell_moods, 0.15),
}


def generate(settings: Settings) -> Prepared:
    """Generate the stories; raises InputError where ``settings.kinds`` names an unknown kind or one twice, or where
    there are fewer stories of a kind than wanted.
    """
    for name in settings.kinds:
        if name not in KINDS:
            raise InputError(f"generated.stories.kinds: {name} is no kind of question{meant(name, KINDS)}")
    if len(set(settings.kinds)) < len(settings.kinds):
        raise InputError("generated.stories.kinds names a kind twice; each kind should stand there once")
    splits: dict[str, list[Example]] = {split: [] for split in SPLITS}
    told: set[str] = set()
    for name in settings.kinds:
        for split, example in _generate_kind(name, settings, told):
            splits[split].append(example)
    return Prepared(splits, facts=_facts(splits))


def _generate_kind(name: str, settings: Settings, told: set[str]) -> list[tuple[str, Example]]:
    """Draw examples of one kind until each split has its count; ``told`` has the keys of all earlier stories."""
    random = Random(f"{settings.seed} {name}")
    wanted = {"train": settings.train, "validation": settings.validation, "test": settings.test}
    total = sum(wanted.values())
    most = {split: math.ceil(KINDS[name].most * wanted[split]) for split in wanted}
    kept: list[tuple[str, Example]] = []
    answers: Counter[tuple[str, str]] = Counter()
    drawn = 0  # since one was kept
    while len(kept) < total:
        if (drawn := drawn + 1) > PATIENCE:
            where = f"generated.stories asks for {total} stories of {name}"
            raise InputError(f"{where}, but after {len(kept)} none comes up that is new and may be kept; ask for fewer")
        example = _draw(name, random)
        if example is None or example["key"] in told:
            continue
        told.add(example["key"])
        split = split_of(example["key"], settings.validation / total, settings.test / total)
        if wanted[split] and answers[split, example["answer"]] < most[split]:
            wanted[split] -= 1
            answers[split, example["answer"]] += 1
            drawn = 0
            kept.append((split, {"id": f"{name}_{len(kept):05d}", **example}))
    return kept


def _draw(name: str, random: Random) -> Example | None:
    """Tell a story and ask about it; None where it came out without a question of this kind."""
    asked = KINDS[name].tell(random)
    if asked is None:
        return None
    return {
        "key": hashlib.sha256("\n".join(asked.story).encode()).hexdigest()[:16],
        "kind": name,
        "story": asked.story,
        "question": asked.question,
        "answer": asked.answer,
        "supporting": sorted(asked.supporting),
    }


def _choose(random: Random, among: Sequence[T]) -> T | None:
    return random.choice(among) if among else None


def _facts(splits: dict[str, list[Example]]) -> dict[str, dict[str, float]]:
    """Give the mean number of sentences, and the share in percent of the commonest answer, by kind over all splits."""
    examples = [example for split in SPLITS for example in splits[split]]
    facts: dict[str, dict[str, float]] = {"mean_sentences": {}, "commonest_answer": {}}
    for name in dict.fromkeys(example["kind"] for example in examples):
        mine = [example for example in examples if example["kind"] == name]
        ((_, count),) = Counter(example["answer"] for example in mine).most_common(1)
        facts["mean_sentences"][name] = round(sum(len(example["story"]) for example in mine) / len(mine), 2)
        facts["commonest_answer"][name] = round(100 * count / len(mine), 2)
    return facts
