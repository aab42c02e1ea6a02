"""Messages: what is read, what is rejected, and that near-duplicates share a split."""

import json
from pathlib import Path

import pytest

from stages.core.base.errors import InputError
from stages.core.learning.dataset import Prepared
from stages.datasets.messages import Settings, group, normal_form, prepare, similarities

HEADER = 'msgid ""\nmsgstr "Content-Type: text/plain; charset=UTF-8\\n"\n'
VERBS = ("Open", "Close", "Delete", "Rename", "Export", "Import", "Archive", "Duplicate", "Publish", "Inspect")
NOUNS = ("window", "folder", "calendar", "password", "temperature", "language", "network", "gallery", "printer")
SETTINGS = Settings(packages=["django", "jupyterlab", "homeassistant"], validation=0.2, test=0.2)


def quote(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)


def po(*pairs: tuple[str, str]) -> str:
    """Write a gettext catalogue whose nth pair (n from 0) stands at line 3 n + 4."""
    return HEADER + "".join(f"\nmsgid {quote(english)}\nmsgstr {quote(chinese)}\n" for english, chinese in pairs)


def write(raw: Path, files: dict[str, object]) -> Path:
    for name, content in files.items():
        path = raw / name
        path.parent.mkdir(parents=True, exist_ok=True)
        text = content if isinstance(content, str) else json.dumps(content, indent=2)
        path.write_text(text, encoding="utf-8")
    return raw


def many() -> list[tuple[str, str]]:
    return [(f"{verb} {noun}", f"动作{i}对象{j}") for i, verb in enumerate(VERBS) for j, noun in enumerate(NOUNS)]


@pytest.fixture
def raw(tmp_path: Path) -> Path:
    files: dict[str, object] = {
        "django/a/locale/django.po": po(*many()),
        "jupyterlab/b/lab.json": {
            "": {"domain": "lab"},
            "menu\x04Show left sidebar": ["显示左侧边栏"],
            "Hide it all": ["全部隐藏"],
        },
        "homeassistant/c/en.json": {"title": "Choose a device", "state": {"on": "Door is open", "off": "Door is shut"}},
        "homeassistant/c/zh-Hans.json": {"title": "选择设备", "state": {"off": "门已关", "on": "门已开"}},
    }
    return write(tmp_path, files)


def everything(prepared: Prepared) -> list[dict[str, str]]:
    return [example for split in prepared.splits.values() for example in split]


def pairs(prepared: Prepared) -> set[tuple[str, str]]:
    return {(example["source"], example["target"]) for example in everything(prepared)}


def reasons(prepared: Prepared) -> dict[str, str]:
    return {rejected.reason: f"{rejected.file}:{rejected.line}" for rejected in prepared.rejected}


def test_each_kind_of_catalogue_gives_its_pairs(raw: Path) -> None:
    found = pairs(prepare(raw, SETTINGS))
    assert ("Open window", "动作0对象0") in found
    assert ("Show left sidebar", "显示左侧边栏") in found, "the context before U+0004 is no part of the message"
    assert {("Choose a device", "选择设备"), ("Door is open", "门已开"), ("Door is shut", "门已关")} <= found
    assert len(found) == len(many()) + 5


def test_a_plural_entry_gives_its_singular_and_its_one_chinese_form(raw: Path) -> None:
    plural = '\nmsgid "One more day"\nmsgid_plural "Several more days"\nmsgstr[0] "还有几天"\n'
    write(raw, {"django/z.po": HEADER + plural})
    assert ("One more day", "还有几天") in pairs(prepare(raw, SETTINGS))


@pytest.mark.parametrize(
    ("english", "chinese", "reason"),
    [
        ("Delete {name} now", "立即删除", "placeholder"),
        ("Delete it now", "立即删除 %s", "placeholder"),
        ("Delete %(name)s now", "立即删除", "placeholder"),
        ("Found %d of them", "找到一些", "placeholder"),
        ("Open %1 instead", "打开文件", "placeholder"),
        ("Read <b>this</b> first", "先读这个", "markup"),
        ("Read `this` first", "先读这个", "markup"),
        ("More&nbsp;of the same", "更多", "markup"),
        ("See https://example.org for more", "更多信息", "address"),
        ("Open &File menu", "打开文件菜单", "accelerator"),
        ("First line\nsecond line", "两行", "several lines"),
        ("Open the menu", "Open the menu", "no Chinese characters in the translation"),
        ("Open the 菜单", "打开菜单", "Chinese characters on the English side"),
        ("Open", "打开", "fewer than 2 words"),
        ("word " * 21, "很多词", "more than 20 words"),
        ("Two words", "字" * 81, "more than 80 Chinese characters"),
        ("open Window", "动作0对象0", "duplicate"),
        ("Open the menu", "", "not translated"),
    ],
)
def test_a_pair_that_is_no_plain_message_is_counted_by_reason(
    raw: Path, english: str, chinese: str, reason: str
) -> None:
    write(raw, {"django/z.po": po(("Kept as it is", "保持原样"), (english, chinese))})
    prepared = prepare(raw, SETTINGS)
    assert reasons(prepared) == {reason: "django/z.po:7"}
    assert ("Kept as it is", "保持原样") in pairs(prepared)


def test_plain_signs_are_no_placeholders(raw: Path) -> None:
    kept = [("Drag & drop files", "拖放文件"), ("Use 100 % of it", "使用 100 %"), ("Is it > 5?", "大于 5 吗？")]
    write(raw, {"django/z.po": po(*kept)})
    assert set(kept) <= pairs(prepare(raw, SETTINGS))


def test_fuzzy_and_obsolete_entries_are_left_out(raw: Path) -> None:
    fuzzy = '\n#, fuzzy\nmsgid "Guess this one"\nmsgstr "猜这个"\n'
    obsolete = '\n#~ msgid "Gone since long"\n#~ msgstr "早已不在"\n'
    write(raw, {"django/z.po": HEADER + fuzzy + obsolete})
    assert reasons(prepare(raw, SETTINGS)) == {"fuzzy": "django/z.po:4", "obsolete": "django/z.po:8"}


def test_bad_json_entries_are_counted_with_their_line(raw: Path) -> None:
    lab = {"": {}, "Good one here": ["好的"], "Bad one here": "不是列表"}
    trees = {"known": "已知的值", "extra": "没有英文"}
    write(raw, {"jupyterlab/bad.json": lab, "homeassistant/d/zh-Hans.json": trees})
    write(raw, {"homeassistant/d/en.json": {"known": ["no", "text"]}, "homeassistant/e/zh-Hans.json": trees})
    rejected = {(found.reason, found.file, found.line) for found in prepare(raw, SETTINGS).rejected}
    assert rejected == {
        ("not text", "jupyterlab/bad.json", 6),
        ("not text", "homeassistant/d/zh-Hans.json", 2),
        ("no English side", "homeassistant/d/zh-Hans.json", 3),
        ("no English catalogue", "homeassistant/e/zh-Hans.json", 0),
    }


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("django/z.po", HEADER + '\nmsgid "Open\nmsgstr "打开"\n', r"z\.po:4 is no line of a gettext catalogue"),
        ("django/z.po", HEADER + '\nmsgstr "打开"\n', r"z\.po is no gettext catalogue: .*line 4"),
        ("jupyterlab/z.json", '{"Open it": ["打开"', "z.json is not JSON"),
        ("jupyterlab/z.json", "[]", "z.json is no catalogue"),
        ("homeassistant/c/zh-Hans.json", "{", "zh-Hans.json is not JSON"),
    ],
)
def test_an_unreadable_catalogue_is_an_error_that_names_it(raw: Path, name: str, content: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        prepare(write(raw, {name: content}), SETTINGS)


def test_a_catalogue_in_another_encoding_is_an_error(raw: Path) -> None:
    (raw / "django/z.po").write_bytes(HEADER.encode() + 'msgid "Open it"\nmsgstr "打开"\n'.encode("gb18030"))
    with pytest.raises(InputError, match=r"z\.po is not UTF-8"):
        prepare(raw, SETTINGS)


def test_a_missing_package_is_an_error(raw: Path) -> None:
    with pytest.raises(InputError, match="spyder does not exist"):
        prepare(raw, Settings(packages=["django", "spyder"]))


def test_near_identical_messages_share_a_group_and_others_do_not() -> None:
    near = ["delete selected networks", "delete selected network", "delete the selected networks"]
    other = ["rename a calendar", "the password is wrong"]
    group_of = group([*near, *other], 0.65)
    assert {group_of[text] for text in near} == {near[0]}
    assert [group_of[text] for text in other] == other


def test_groups_equal_those_of_all_pairs_compared() -> None:
    texts = [normal_form(english) for english, _ in many()]
    grams = [{f" {text} "[start : start + 3] for start in range(len(text))} for text in texts]
    near = [[len(a & b) / len(a | b) >= 0.6 for b in grams] for a in grams]
    reached = [{index} for index in range(len(texts))]
    for _ in texts:
        reached = [set().union(*({j for j, is_near in enumerate(near[i]) if is_near} for i in row)) for row in reached]
    assert group(texts, 0.6) == {text: texts[min(row)] for text, row in zip(texts, reached, strict=True)}
    assert 1 < len({min(row) for row in reached}) < len(texts)


def test_case_numbers_and_punctuation_make_no_other_message() -> None:
    assert normal_form("Turn On: relay 12!") == normal_form("turn on relay 7")


def test_no_key_and_no_near_duplicate_is_in_two_splits(raw: Path) -> None:
    near = [(f"{english} {end}", f"{chinese}{end}") for english, chinese in many() for end in ("2", "3", "now")]
    prepared = prepare(write(raw, {"django/z.po": po(*near)}), SETTINGS)
    split_of_key: dict[str, str] = {}
    split_of_form: dict[str, str] = {}
    for split, examples in prepared.splits.items():
        assert examples
        for example in examples:
            assert split_of_key.setdefault(example["key"], split) == split
            assert split_of_form.setdefault(normal_form(example["source"]), split) == split
    for english, _ in many():
        variants = [normal_form(f"{english}{end}") for end in ("", " 2", " now")]
        assert len({split_of_form[variant] for variant in variants}) == 1
    identities = [example["id"] for example in everything(prepared)]
    assert len(set(identities)) == len(identities)


def test_a_package_added_at_the_end_moves_no_old_example(raw: Path) -> None:
    unrelated = po(("Voltage swell detected", "检测到电压骤升"), ("Awaiting your payment", "等待付款"))
    write(raw, {"spyder/s.po": unrelated})
    before = prepare(raw, SETTINGS)
    after = prepare(raw, Settings(packages=[*SETTINGS.packages, "spyder"], validation=0.2, test=0.2))
    for split, examples in before.splits.items():
        assert {example["id"] for example in examples} <= {example["id"] for example in after.splits[split]}


def test_similarity_is_the_highest_fuzzy_match_in_words() -> None:
    training = ["open the window", "close the door now"]
    assert similarities(["open the window", "open the door", "delete it"], training) == pytest.approx([1, 2 / 3, 0])
    assert similarities(["close a door"], training) == pytest.approx([2 / 4])


def test_validation_and_test_say_their_similarity_to_training(raw: Path) -> None:
    prepared = prepare(raw, SETTINGS)
    assert all("similarity" not in example for example in prepared.splits["train"])
    training = [normal_form(example["source"]) for example in prepared.splits["train"]]
    for example in prepared.splits["validation"] + prepared.splits["test"]:
        expected = similarities([normal_form(example["source"])], training)[0]
        assert example["similarity"] == pytest.approx(expected, abs=1e-4)
