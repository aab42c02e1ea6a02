"""US addresses labelled by people, for slot filling.

Source: the training data of the parser usaddress 0.5.16 (source distribution, training/labeled.xml), MIT licence.
1,487 unique addresses (upper and lower case taken as one; 26 more repeat one), 29 kinds of slot. An XML element a
token; neighbouring tokens of one kind are one slot, written as BIO tags (B- begins a slot, I- continues it). Split:
80/10/10 by a hash of the address's lower-cased text.
"""

import re
from pathlib import Path
from xml.etree import ElementTree

from stages.core.base.errors import InputError
from stages.core.base.files import read_text
from stages.core.base.params import settings
from stages.core.learning.dataset import SPLITS, Example, Prepared, Rejected, split_of

RECORD = re.compile(r"<AddressString>.*?(?:</AddressString>|(?=<AddressString>)|\Z)", re.DOTALL)


@settings
class Settings:
    """``validation`` and ``test``: fractions of the addresses."""

    validation: float = 0.1
    test: float = 0.1


def prepare(raw: Path, settings: Settings) -> Prepared:
    """Read, validate, deduplicate and split the addresses; raises InputError where none can be read."""
    path = raw / "usaddress" / "training" / "labeled.xml"
    text = read_text(path)
    splits: dict[str, list[Example]] = {split: [] for split in SPLITS}
    rejected, seen = [], set()
    for record in RECORD.finditer(text):
        line = text.count("\n", 0, record.start()) + 1
        slots, problem = read_record(record[0])
        key = " ".join(token for token, _ in slots).lower()
        problem = "the same address stands above" if key in seen else problem
        if problem:
            rejected.append(Rejected(problem, path.name, line))
            continue
        seen.add(key)
        example = {"id": f"address_{line}", "key": key, "tokens": [token for token, _ in slots]}
        example["tags"] = bio_tags([kind for _, kind in slots])
        splits[split_of(key, settings.validation, settings.test)].append(example)
    if not seen:
        raise InputError(f"{path} holds no readable <AddressString> element")
    kinds = {tag[2:] for split in SPLITS for example in splits[split] for tag in example["tags"]}
    return Prepared(splits, rejected=rejected, facts={"slots": len(kinds), "unique addresses": len(seen)})


def read_record(xml: str) -> tuple[list[tuple[str, str]], str]:
    """Give the (token, kind) pairs of one <AddressString> and "", or none and what is wrong with it."""
    try:
        record = ElementTree.fromstring(xml)
    except ElementTree.ParseError:
        return [], "malformed XML"
    if (record.text or "").strip() or any((element.tail or "").strip() for element in record):
        return [], "text outside of a slot"
    slots = [(token, element.tag) for element in record for token in (element.text or "").split()]
    return slots, "" if slots else "no tokens"


def bio_tags(kinds: list[str]) -> list[str]:
    """Turn the kind of each token into BIO tags: neighbours of one kind are one slot."""
    before = ["", *kinds]
    return [f"{'I' if kind == previous else 'B'}-{kind}" for previous, kind in zip(before, kinds, strict=False)]
