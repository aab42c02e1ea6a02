"""The published bAbI tasks: their format, what is left out and named, and the block that switches them on."""

import os
from collections import Counter
from pathlib import Path

import pydantic
import pytest
import yaml

from stages import download
from stages.core.base.errors import InputError
from stages.core.base.files import read_json
from stages.core.base.params import Dataset, read_settings
from stages.core.learning.dataset import SPLITS, write_prepared
from stages.datasets import babi, stories

ROOT = Path(__file__).resolve().parent.parent
BLOCK = ROOT / "tests" / "benchmarks" / "babi.yaml"
PUBLISHED = Path(os.environ.get("DATA_MIRROR", ROOT.parent / "shared" / "benchmarks")) / "babi" / "en-valid"
published = pytest.mark.skipif(
    not PUBLISHED.is_dir(), reason=f"the published bAbI data are not at {PUBLISHED}; DATA_MIRROR may name their folder"
)

# Made up, in the published format.
STORY = """1 Ann ran to the pier.
2 Bob ran to the mill.
3 Where is Ann? \tpier\t1
4 Ann took the rope.
5 Ann ran to the mill.
6 Where is the rope? \tmill\t5 4
"""
OTHER = "1 Ann has the rope and the axe.\n2 What has Ann?\trope,axe\t1\n"


def write(raw: Path, task: int = 1, train: str = STORY, valid: str = OTHER, test: str = OTHER) -> Path:
    raw.mkdir(exist_ok=True)
    for part, text in (("train", train), ("valid", valid), ("test", test)):
        folder = raw / f"qa{task}_{part}"
        folder.mkdir()
        (folder / f"qa{task}_{part}.txt").write_text(text)
    return raw


def block() -> Dataset:
    return read_settings(Dataset, yaml.safe_load(BLOCK.read_text())["babi"], "datasets.babi")


def test_each_question_has_the_sentences_above_it(tmp_path: Path) -> None:
    splits = babi.prepare(write(tmp_path, task=7), babi.Settings(tasks=[7])).splits
    first, second = splits["train"]
    assert first == {
        "id": "counting_train_0000",
        "key": "counting_train_1",
        "kind": "counting",
        "story": ["Ann ran to the pier.", "Bob ran to the mill."],
        "question": "Where is Ann?",
        "answer": "pier",
        "supporting": [0],
    }
    assert second["story"] == [*first["story"], "Ann took the rope.", "Ann ran to the mill."]
    assert (second["answer"], second["supporting"], second["key"]) == ("mill", [2, 3], first["key"])
    assert [example["answer"] for example in splits["test"]] == ["rope,axe"]


def test_numbering_that_starts_again_is_another_story(tmp_path: Path) -> None:
    train = babi.prepare(write(tmp_path, train=STORY + OTHER + STORY), babi.Settings(tasks=[1])).splits["train"]
    assert [example["key"][-1] for example in train] == ["1", "1", "2", "3", "3"]
    assert train[2]["story"] == ["Ann has the rope and the axe."]
    assert train[3]["story"] == train[0]["story"]
    assert len({example["id"] for example in train}) == 5


def test_a_bad_question_is_left_out_and_the_story_goes_on(tmp_path: Path) -> None:
    bad = """1 Ann ran to the pier.
2 Where is Ann?\tpier
3 Where is Ann?\tpier\tfirst
4 Where is Ann?\t\t1
5 Where is Ann?\tpier\t2
6 Where is Ann?\tpier\t7
7 Where is Ann?\tpier\t1
"""
    prepared = babi.prepare(write(tmp_path, train=bad), babi.Settings(tasks=[1]))
    assert [(item.reason, item.file, item.line) for item in prepared.rejected] == [
        ("not a question, an answer and supporting numbers", "qa1_train.txt", 2),
        ("not a question, an answer and supporting numbers", "qa1_train.txt", 3),
        ("not a question, an answer and supporting numbers", "qa1_train.txt", 4),
        ("a supporting number that is no sentence above", "qa1_train.txt", 5),
        ("a supporting number that is no sentence above", "qa1_train.txt", 6),
    ]
    assert [example["story"] for example in prepared.splits["train"]] == [["Ann ran to the pier."]]


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ("Bob ran to the mill.", "no number with a text"),
        ("3 ", "no number with a text"),
        ("4 Bob ran to the mill.", "a number out of turn"),
        ("2 Bob ran to the mill.", "a number out of turn"),
    ],
)
def test_questions_below_a_lost_sentence_are_left_out(tmp_path: Path, row: str, reason: str) -> None:
    bad = f"1 Ann ran to the pier.\n2 Where is Ann?\tpier\t1\n{row}\n4 Bob ran to the dune.\n5 Where is Bob?\tdune\t4\n"
    prepared = babi.prepare(write(tmp_path, train=bad + OTHER), babi.Settings(tasks=[1]))
    assert (prepared.rejected[0].reason, prepared.rejected[0].line) == (reason, 3)
    assert prepared.rejected[-1].line == 5
    assert [example["answer"] for example in prepared.splits["train"]] == ["pier", "rope,axe"]


def test_a_gap_in_the_numbers_before_a_question_is_a_lost_sentence(tmp_path: Path) -> None:
    bad = "1 Ann ran to the pier.\n3 Where is Ann?\tpier\t1\n4 Where is Ann?\tpier\t1\n"
    prepared = babi.prepare(write(tmp_path, train=bad + OTHER), babi.Settings(tasks=[1]))
    assert [(item.reason, item.line) for item in prepared.rejected] == [
        ("a number out of turn", 2),
        ("a question below a row that cannot be read", 3),
    ]
    assert [example["answer"] for example in prepared.splits["train"]] == ["rope,axe"]


def test_rejected_rows_are_counted_and_named_in_the_summary(tmp_path: Path) -> None:
    prepared = babi.prepare(write(tmp_path / "raw", train=STORY + "Ann.\n7 Who?\tAnn\t1\n"), babi.Settings(tasks=[1]))
    write_prepared(prepared, tmp_path)
    assert read_json(tmp_path / "summary.json")["rejected"] == {
        "a question below a row that cannot be read": {"count": 1, "first": ["qa1_train.txt:8"]},
        "no number with a text": {"count": 1, "first": ["qa1_train.txt:7"]},
    }


def test_questions_of_the_test_data_that_training_has_are_counted(tmp_path: Path) -> None:
    prepared = babi.prepare(write(tmp_path, test=STORY + OTHER), babi.Settings(tasks=[1]))
    assert prepared.facts["test_questions_in_training"] == {"one_fact": 2}
    assert prepared.facts["commonest_answer"] == {"one_fact": 33.33}


def test_missing_files_and_files_without_questions_are_errors(tmp_path: Path) -> None:
    raw = write(tmp_path, train="1 Ann ran to the pier.\n")
    with pytest.raises(InputError, match=r"qa1_train.txt has no usable question"):
        babi.prepare(raw, babi.Settings(tasks=[1]))
    with pytest.raises(InputError, match=r"has 0 files qa2_train.txt"):
        babi.prepare(raw, babi.Settings(tasks=[2]))
    (raw / "qa1_train.txt").write_text(STORY)
    with pytest.raises(InputError, match=r"has 2 files qa1_train.txt"):
        babi.prepare(raw, babi.Settings(tasks=[1]))


@pytest.mark.parametrize(
    ("tasks", "message"), [([], "at least 1"), ([0], "1 to 20"), ([21], "1 to 20"), ([2, 2], "twice")]
)
def test_tasks_are_checked(tasks: list[int], message: str) -> None:
    with pytest.raises(pydantic.ValidationError, match=message):
        babi.Settings(tasks=tasks)


def test_the_kinds_are_those_of_the_generated_stories() -> None:
    assert tuple(stories.KINDS) == babi.TASKS


def test_the_block_names_every_file_once() -> None:
    sources = download.read_sources(block().sources, "datasets.babi.sources")
    wanted = {f"qa{task}_{part}.txt" for task in range(1, 21) for part in ("train", "valid", "test")}
    assert {source.url.rpartition("/")[2] for source in sources.values() if isinstance(source, download.Url)} == wanted
    assert len(sources) == len(wanted)
    assert read_settings(babi.Settings, block().prepare, "prepare").tasks == list(range(1, 21))


def test_the_block_goes_below_the_first_line_of_datasets() -> None:
    lines = (ROOT / "params.yaml").read_text().splitlines(keepends=True)
    place = lines.index("datasets:\n") + 1  # where README.md's sed puts it
    pasted = yaml.safe_load("".join([*lines[:place], BLOCK.read_text(), *lines[place:]]))
    plain = yaml.safe_load("".join(lines))
    assert "babi" not in plain["datasets"], "the published data are outside the default pipeline"
    assert pasted["datasets"].pop("babi")
    assert pasted == plain


@published
def test_the_published_data_come_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATA_MIRROR", str(PUBLISHED.parent.parent))
    pip = download.pip_settings()
    with download.open_client(pip) as client:
        for name, source in download.read_sources(block().sources, "datasets.babi.sources").items():
            download.obtain(source, tmp_path / name, pip, client)
    prepared = babi.prepare(tmp_path, read_settings(babi.Settings, block().prepare, "prepare"))
    assert prepared.rejected == []
    for split, count in (("train", 900), ("validation", 100), ("test", 1000)):
        counts = Counter(example["kind"] for example in prepared.splits[split])
        assert counts.keys() == set(babi.TASKS)
        assert all(abs(counts[kind] - count) <= 5 for kind in counts)
    assert [len(prepared.splits[split]) for split in SPLITS] == [18013, 1987, 20000]
    assert prepared.facts["test_questions_in_training"]["two_arguments"] == 121
