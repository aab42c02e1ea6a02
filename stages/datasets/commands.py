"""Commands to a smart home, made from sentence templates that people wrote, for slot filling.

Source: home-assistant-intents 2026.10.27 (wheel, home_assistant_intents/data/en.json), Apache-2.0: 862 templates, 856
of them different, 42 intents, 24 slots. The templates are theirs. The names, places, things and phrases that fill the
open slots (``FILLERS``) were written here; numbers and closed lists (states, fan modes, kinds of cover) are the
file's.

**The data are made from templates.** Nobody said these sentences. The templates are meant to recognise speech, so
they allow more than a person would say ("set an timer for 1 hours"), and every choice is drawn evenly here.

**Templates.** ``(a|b)`` is one of the two, ``[a]`` may be left out (half of the time it is), ``(a;b)`` is both in
either order, ``{list}`` or ``{list:slot}`` a value of a list, ``<rule>`` the text of a rule. A value makes words of
its own and signs are spelled as spoken: "20%" is "20 percent", "5-hour" is "5 hour", "2700k" is "2700 kelvin".
Numbers up to 100 stand in digits or in words, half and half. Everything is in lower case. ``{name}`` suits the kind
of device that the template is for: a lock is a "deadbolt", a person is "anna". (The library hassil reads these
templates too, but it lists all their sentences one by one and does not say which words fill a slot.)

**Example.** ``id``; ``key``, the template; ``tokens``, words; ``tags``, BIO tags of the slots, O outside of them.

**Splits.** No template is in two: a hash of ``seed`` and the template's text decides, with chances in proportion to
the wanted counts. Seed 204, which params.yaml has, is the first to give every slot that several templates have to the
test split: 8,000 / 1,000 / 1,000 sentences come from 674 / 84 / 98 templates. The templates of a split take turns, so
that each gives equally many sentences, but for those that allow only a few. No sentence is made twice, in whatever
split. Of a list of at least six values every third is kept back from training; validation and test draw from all
values. So 31 % of the slots in the test split have a value that training has not.

**What leaks nevertheless.** Templates that differ in few carrier words are different templates, and may lie in
different splits. With every value replaced by its slot, 1 % of the test sentences equal a training sentence, 42 % are
at most one word away from one, and 89 % at most two. A value kept back may occur in training in another role ("window"
as a word of the carrier), and a model that reads every digit as 0 has no unseen number in digits.

**Not good for.** Telling how a model does on real speech: templates are easier. Slots of few templates are rare, and
``message``, of one template, is in the training split only. More than a third of the templates are about timers.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from random import Random
from typing import Any

import pydantic

from stages.core.base.errors import InputError
from stages.core.base.files import read_json, read_text
from stages.core.base.params import settings
from stages.core.learning.dataset import SPLITS, Example, Prepared, Rejected, split_of

FILE = Path("intents", "home_assistant_intents", "data", "en.json")
PART = re.compile(r"\{[^{}<>]*\}|<[^{}<>]*>|[()\[\]|;]|[^{}<>()\[\]|;]+|.")
DEEPEST = 20  # rules inside rules; the file has 2
FEWEST = 6  # a list with fewer values has none kept back
TRIES = 30  # at a sentence that was not there yet, before a template counts as used up
SPOKEN = {"%": "percent", "°": "degrees", "k": "kelvin", "1/2": "half"}
SMALL = (
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen "
    "eighteen nineteen"
)
TENS = "twenty thirty forty fifty sixty seventy eighty ninety"

# What fills a list, by its name; every third value is kept back from training, so put one that comes later at the end.
FILLERS = {
    "area": """kitchen, living room, pantry, bedroom, bathroom, conservatory, hallway, garage, loft, office,
        dining room, wine cellar, nursery, attic, mud room, basement, laundry room, porch, guest room, master bedroom,
        landing, study, playroom, greenhouse, library, balcony, tool shed, terrace, patio, boiler room, garden,
        backyard, entryway, driveway, workshop, sunroom, gym, music room, utility room, game room, front yard,
        powder room""",
    "floor": """first, second, fourth, ground, third, mezzanine, top, upper, seventh, lower, main, bottom, fifth,
        sixth, eighth, middle, ninth, entrance""",
    "message": """dinner is ready, the bus leaves soon, the cake has to cool, we are going for a walk,
        somebody is here, bring your umbrellas, breakfast is served, grandma has landed, please wash your hands,
        the movie is about to start, it is time for bed, lunch will be late, your taxi has arrived,
        do not forget your keys, the plumber is coming, everybody come down, happy birthday, mind the wet paint,
        the washing is done, i am on my way, the power will be cut at noon""",
    "search_query": """moonlight sonata, smooth jazz, the four seasons, miles davis, the beatles,
        ride of the valkyries, bohemian rhapsody, ella fitzgerald, clair de lune, classical guitar, johnny cash,
        swan lake, queen, summer hits, carmina burana, daft punk, abbey road, fly me to the moon, lullabies,
        nina simone, the magic flute, whale sounds, david bowie, rhapsody in blue, metallica, kind of blue,
        ocean waves, the daily news, casablanca, norwegian wood, planet earth, eighties rock, chopin, radiohead,
        greensleeves, autumn leaves""",
    "zone": """home, work, day care, school, university, stadium, airport, supermarket, town hall, church, park,
        harbor, hospital, train station, ski resort, swimming pool, mall, campsite, hotel, beach, museum""",
    "timer_name": """pizza, pasta, sourdough, eggs, laundry, meditation, tea, rice, yoga, homework, nap, marinade,
        cookies, roast, screen time, workout, bread, piano practice, potatoes, oven, face mask, chicken soup,
        parking meter, board game, lasagna, hair dye, egg hunt""",
    "timer_command": """turn off the heating, open the blinds, water the plants, start the dishwasher, play some jazz,
        lock up, turn on the radio, close all curtains, feed the fish, dim the lights, run the bath,
        switch off the iron, tell me the news, mute the television, ring the bell, stop the music, set the alarm,
        unplug the battery, lower the shades, boil some water, warm up the car""",
    "shopping_list_item": """milk, eggs, soy sauce, apples, olive oil, cinnamon, bread, butter, oat flakes,
        toilet paper, tomatoes, dish soap, bananas, orange juice, walnuts, cheese, coffee beans, baking powder,
        batteries, onions, tofu, frozen peas, honey, lentils, peanut butter, carrots, light bulbs, yogurt,
        sparkling water, paprika""",
    "todo_list_item": """call the dentist, pay the rent, renew the passport, book flights, sharpen the knives,
        write to the landlord, fix the bicycle, buy a gift, return the books, mow the lawn, clean the gutters,
        order new glasses, sunscreen, tent pegs, vaccinate the dog, paint the fence, wash the car,
        cancel the magazine, change the tires, hang the picture, descale the kettle, iron the shirts, sort the photos,
        sew the button""",
    "color": """red, green, turquoise, blue, white, magenta, yellow, purple, crimson, orange, pink, lime, black,
        brown, indigo, violet, gold, teal, cyan, beige, salmon, lavender, olive, navy blue""",
    # Names, by kind of device (Home Assistant calls it a domain).
    "light": """chandelier, desk, nightstand, bedside, reading corner, sconce, mirror, bookshelf, lantern, aquarium,
        piano, headboard, vanity, spotlight, easel, sideboard, pendant, picture frame""",
    "switch": """coffee machine, kettle, rice cooker, toaster, heated blanket, water pump, christmas tree, printer,
        fountain, dehumidifier, router, sewing machine, phone charger, slow cooker, waffle iron""",
    "fan": """ceiling fan, tower fan, bladeless fan, extractor fan, box fan, pedestal fan, exhaust, ventilator,
        whirlwind, breeze maker, cooker hood, turbine""",
    "input_boolean": """guest mode, vacation mode, quiet hours, party mode, sleep mode, visitor flag, away mode,
        night watch, holiday schedule, do not disturb, babysitter mode, eco mode""",
    "climate": """thermostat, heat pump, boiler, air conditioner, radiator, space heater, floor heating, towel warmer,
        mini split, climate control, fireplace, convector""",
    "media_player": """television, speaker, jukebox, soundbar, record player, boombox, projector, stereo, turntable,
        radio, smart display, tablet, sound system, headphones, gramophone""",
    "cover": """skylight, roller screen, pergola roof, sun sail, venetian, canopy, drapes, pool cover, roof hatch,
        marquee, projection screen, storm panel""",
    "valve": """sprinkler, water main, drip line, gas valve, irrigation, pond inlet, garden hose, mixing valve,
        hydrant, shutoff valve, rain barrel, bypass""",
    "lock": """front door, back door, trap door, safe, deadbolt, liquor cabinet, mailbox, side door, vault, bike rack,
        padlock, medicine chest""",
    "binary_sensor": """motion sensor, leak detector, cat flap, smoke alarm, doorbell, pressure mat, fridge, freezer,
        bird feeder, parking spot, couch, letter slot""",
    "sensor": """outdoor humidity, power meter, rain gauge, air quality, battery level, pollen count, solar output,
        water usage, barometer, energy price, wind speed, tide level""",
    "person": """anna, ben, carlos, diana, emil, fatima, george, hannah, ivan, julia, kenji, leila, marco, nora,
        oscar, paula, quentin, rosa, samir, tessa, ulrich, vera, walter, yuki""",
    "weather": """berlin, new york, lisbon, tokyo, london, reykjavik, paris, san francisco, montevideo, madrid,
        chicago, nairobi, sydney, oslo, buenos aires, rome, vancouver, tallinn""",
    "lawn_mower": """mowbot, grass muncher, lawn shark, clipper, billy goat, meadow master, shaggy, turf king,
        hay day, old faithful, robin, snippy""",
    "todo": """camping, homework plan, renovation, wedding, packing, errands, birthday, weekend chores, bucket,
        holiday, wish, charity, reading, hardware store, moving""",
    "scene": """movie night, romantic dinner, northern sky, good morning, bedtime, candle hour, sunset, focus time,
        rainy day, party time, relax, spring cleaning, deep sleep, game day, campfire""",
    "script": """goodnight routine, leave the house, panic, wake the kids, tea ceremony, evening walk, bake bread,
        check the doors, fire drill""",
    "button": """restart modem, identify, feed the cat, reset counter, chime, dispense treats, find my phone,
        sync clocks, flush""",
    "input_button": "guest arrived, panic signal, laundry done, dog walked, start shift, call the nurse",
    "vacuum": """robovac, rosie, crumb catcher, dusty, hoover, dust bunny, sir sweeps, floor buddy, tidy bot, roberta,
        lint eater, whirly""",
}


@settings
class Settings:
    """``seed`` of every choice; ``train``, ``validation``, ``test``: sentences in each split."""

    seed: int
    train: int = pydantic.Field(default=8000, gt=0)
    validation: int = pydantic.Field(default=1000, gt=0)
    test: int = pydantic.Field(default=1000, gt=0)


@dataclass(frozen=True)
class Sequence:
    """Its parts one after the other, with nothing between them."""

    parts: list[Node]


@dataclass(frozen=True)
class Choice:
    """One of its parts."""

    parts: list[Node]


@dataclass(frozen=True)
class Permutation:
    """Its parts in any order, as words apart."""

    parts: list[Node]


@dataclass(frozen=True)
class Slot:
    """A value of the slot ``label``; those in ``kept_back`` are not for training."""

    label: str
    values: list[Node]
    kept_back: list[Node]


Node = str | Sequence | Choice | Permutation | Slot
Pieces = list[tuple[str, str]]  # (text, its slot or "")


class TemplateError(ValueError):
    """What is wrong with a template."""


class Context(pydantic.BaseModel):
    """What a block of templates is for: the kinds of device that a ``{name}`` in it may be."""

    domain: list[str] = []


class Block(pydantic.BaseModel):
    """Templates of the same context."""

    sentences: list[str]
    requires_context: Context = Context()


class Intent(pydantic.BaseModel):
    """Templates of the same meaning."""

    data: list[Block]


class Value(pydantic.BaseModel):
    """A value of a list, itself a template."""

    text: str = pydantic.Field(alias="in")


class Range(pydantic.BaseModel):
    """Numbers from ``least`` to ``greatest``."""

    least: int = pydantic.Field(alias="from")
    greatest: int = pydantic.Field(alias="to")
    step: int = pydantic.Field(default=1, gt=0)


class Values(pydantic.BaseModel):
    """A list of the file; one without values and without a range takes any words."""

    values: list[Value] = []
    range: Range | None = None


class File(pydantic.BaseModel):
    """What is read of the file of templates."""

    intents: dict[str, Intent]
    lists: dict[str, Values]
    expansion_rules: dict[str, str]


@dataclass(frozen=True)
class Grammar:
    """The file whose lists and rules a template uses, and the kinds of device that its ``{name}`` may be."""

    file: File
    domains: tuple[str, ...] = ()


def prepare(raw: Path, settings: Settings) -> Prepared:
    """Read the templates and draw sentences from them; raises InputError where they are missing or too few."""
    path = raw / FILE
    templates, rejected, count = read_templates(path)
    wanted = {"train": settings.train, "validation": settings.validation, "test": settings.test}
    total = sum(wanted.values())
    mine: dict[str, dict[str, Node]] = {split: {} for split in SPLITS}
    for text, tree in templates.items():
        split = split_of(f"{settings.seed} {text}", settings.validation / total, settings.test / total)
        mine[split][text] = tree
    made: set[tuple[str, ...]] = set()
    splits = {split: _draw(split, mine[split], wanted[split], settings.seed, made) for split in SPLITS}
    facts = {"templates": count, "templates_used": {split: len(mine[split]) for split in SPLITS}, **_facts(splits)}
    return Prepared(splits, rejected=rejected, facts=facts)


def read_templates(path: Path) -> tuple[dict[str, Node], list[Rejected], int]:
    """Give the different templates, text to tree, those rejected, and how many the file has."""
    file = read_file(path)
    blocks = [block for intent in file.intents.values() for block in intent.data]
    kinds: dict[str, set[str]] = {}
    for block in blocks:
        for text in block.sentences:
            kinds.setdefault(text, set()).update(block.requires_context.domain)
    lines = read_text(path).split("\n")
    templates: dict[str, Node] = {}
    rejected = []
    for text in kinds:
        try:
            templates[text] = parse(text, Grammar(file, tuple(sorted(kinds[text]))))
        except TemplateError as error:
            quoted = json.dumps(text, ensure_ascii=False)
            line = next((number for number, line in enumerate(lines, start=1) if quoted in line), 0)
            rejected.append(Rejected(str(error), path.name, line))
    return templates, rejected, sum(len(block.sentences) for block in blocks)


def read_file(path: Path) -> File:
    """Read the file of templates; raises InputError that names what is missing or malformed in it."""
    try:
        return File.model_validate(read_json(path))
    except pydantic.ValidationError as error:
        problem = error.errors()[0]
        where = ".".join(map(str, problem["loc"])) or "the whole file"
        raise InputError(
            f"{path}: {where}: {problem['msg']}; it should be a file of sentence templates, with intents, lists and "
            "expansion_rules"
        ) from None


def parse(text: str, grammar: Grammar, depth: int = 0) -> Node:
    """Read a template; raises TemplateError that says what is wrong with it."""
    parts = PART.findall(text)
    tree = _group(parts, "", grammar, depth)
    if parts:
        raise TemplateError("brackets that do not match")
    return tree


def pieces(node: Node, random: Random, training: bool) -> Pieces:
    """Draw a sentence of ``node``, in pieces of text that are to be joined as they are."""
    if isinstance(node, str):
        return [(node, "")]
    if isinstance(node, Choice):
        return pieces(random.choice(node.parts), random, training)
    if isinstance(node, Slot):
        value = random.choice(node.values if training else node.values + node.kept_back)
        return [("".join(text for text, _ in pieces(value, random, training)), node.label)]
    parts, space = node.parts, []
    if isinstance(node, Permutation):
        parts, space = random.sample(parts, len(parts)), [(" ", "")]
    return [piece for part in parts for piece in [*space, *pieces(part, random, training), *space]]


def words_and_tags(drawn: Pieces) -> tuple[list[str], list[str]]:
    """Join pieces outside of slots to whole words; give all words and their BIO tags."""
    tokens, tags = [], []
    outside = ""
    for text, slot in [*drawn, ("", "end")]:
        if not slot:
            outside += text
            continue
        words, values = _spoken(outside), _spoken(text)
        tokens += words + values
        tags += ["O"] * len(words) + [f"{'I' if index else 'B'}-{slot}" for index in range(len(values))]
        outside = ""
    return tokens, tags


def _spoken(text: str) -> list[str]:
    return [SPOKEN.get(word, word) for word in text.lower().replace("-", " ").split()]


def number_words(number: int) -> str:
    """Write a number from 0 to 100 in words."""
    small, tens = SMALL.split(), TENS.split()
    if number == 100:
        return "one hundred"
    if number < 20:
        return small[number]
    ten, one = tens[number // 10 - 2], small[number % 10]
    return f"{ten} {one}" if number % 10 else ten


def pattern(example: Example) -> str:
    """Give the sentence with every value replaced by its slot."""
    pairs = zip(example["tokens"], example["tags"], strict=True)
    return " ".join(word if tag == "O" else f"{{{tag[2:]}}}" for word, tag in pairs if not tag.startswith("I-"))


# Parsing.


def _group(parts: list[str], closing: str, grammar: Grammar, depth: int) -> Node:
    """Read up to ``closing``, and take what was read off ``parts``."""
    branches: list[list[Node]] = [[]]
    separators = set()
    while parts and parts[0] not in (")", "]"):
        part = parts.pop(0)
        if part in "|;":
            separators.add(part)
            branches.append([])
        else:
            branches[-1].append(_item(part, parts, grammar, depth))
    if closing and (not parts or parts.pop(0) != closing):
        raise TemplateError("brackets that do not match")
    if len(separators) > 1:
        raise TemplateError("| and ; in one group")
    nodes: list[Node] = [Sequence(branch) for branch in branches]
    if not separators:
        return nodes[0]
    return Choice(nodes) if "|" in separators else Permutation(nodes)


def _item(part: str, parts: list[str], grammar: Grammar, depth: int) -> Node:
    if part == "(":
        return _group(parts, ")", grammar, depth)
    if part == "[":
        return Choice([_group(parts, "]", grammar, depth), ""])
    if part in ("{", "}", "<", ">"):
        raise TemplateError("brackets that do not match")
    if part[0] == "{":
        name, _, label = part[1:-1].partition(":")
        return _slot(name, label or name, grammar, depth)
    if part[0] == "<":
        name = part[1:-1]
        if name not in grammar.file.expansion_rules:
            raise TemplateError(f"<{name}> is no rule of the file")
        if depth == DEEPEST:
            raise TemplateError(f"<{name}> holds itself")
        return parse(grammar.file.expansion_rules[name], grammar, depth + 1)
    return part


def _slot(name: str, label: str, grammar: Grammar, depth: int) -> Slot:
    lists = [domain for domain in grammar.domains if domain in FILLERS] if name == "name" else [name]
    kept: list[Node] = []
    kept_back: list[Node] = []
    for each in lists:
        values = _values(each, grammar, depth)
        for index, value in values:
            (kept_back if index % 3 == 2 and len(values) >= FEWEST else kept).append(value)
    if not kept:
        raise TemplateError(f"nothing is known to fill {{{name}}}")
    return Slot(label, kept, kept_back)


def _values(name: str, grammar: Grammar, depth: int) -> list[tuple[int, Node]]:
    """Give the values of a list, with the numbers that decide which are kept back."""
    if name in FILLERS:
        return list(enumerate(" ".join(value.split()) for value in FILLERS[name].split(",")))
    found = grammar.file.lists.get(name, Values())
    if found.range:
        numbers = range(found.range.least, found.range.greatest + 1, found.range.step)
        return [(number // found.range.step, _number(number)) for number in numbers]
    return [(index, parse(value.text, grammar, depth + 1)) for index, value in enumerate(found.values)]


def _number(number: int) -> Node:
    return Choice([str(number), number_words(number)]) if 0 <= number <= 100 else str(number)


# Drawing.


def _draw(split: str, templates: dict[str, Node], wanted: int, seed: int, made: set[tuple[str, ...]]) -> list[Example]:
    """Let the templates of a split take turns until there are ``wanted`` sentences; ``made`` has all earlier ones."""
    randoms = {text: Random(f"{seed} {text}") for text in templates}
    examples: list[Example] = []
    while randoms and len(examples) < wanted:
        for text in list(randoms):
            example = _sentence(text, templates[text], randoms[text], split == "train", made)
            if example is None:
                del randoms[text]
            elif len(examples) < wanted:
                examples.append(example)
    if len(examples) < wanted:
        raise InputError(
            f"datasets.commands.prepare.{split} asks for {wanted} sentences, but the {len(templates)} templates of "
            f"that split give only {len(examples)} different ones"
        )
    return examples


def _sentence(text: str, tree: Node, random: Random, training: bool, made: set[tuple[str, ...]]) -> Example | None:
    """Draw a sentence that is not in ``made``, and add it there; None where none was found."""
    for _ in range(TRIES):
        tokens, tags = words_and_tags(pieces(tree, random, training))
        if tokens and tuple(tokens) not in made:
            made.add(tuple(tokens))
            digest = sha256(" ".join(tokens).encode()).hexdigest()
            return {"id": f"command_{digest[:12]}", "key": text, "tokens": tokens, "tags": tags}
    return None


def _facts(splits: dict[str, list[Example]]) -> dict[str, Any]:
    """Count slots, and say what share of validation and test training has too but for the values (percent)."""
    slots = {
        split: Counter(tag[2:] for example in splits[split] for tag in example["tags"] if tag.startswith("B-"))
        for split in SPLITS
    }
    known = {pattern(example) for example in splits["train"]}
    share = {
        split: round(100 * sum(pattern(example) in known for example in splits[split]) / len(splits[split]), 2)
        for split in ("validation", "test")
    }
    names = sorted({name for counts in slots.values() for name in counts})
    return {
        "slots": len(names),
        "slots_by_split": {name: {split: slots[split][name] for split in SPLITS} for name in names},
        "patterns_known_from_training": share,
    }
