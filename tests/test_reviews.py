"""Reviews: what is read, what is rejected, and that near-duplicates share a split."""

from pathlib import Path

import pytest

from stages.core.base.errors import InputError
from stages.core.learning.dataset import SPLITS, Example, Prepared, write_prepared
from stages.datasets import reviews
from stages.datasets.reviews import Settings, normal_form, prepare

SIGNS = "天地玄黄宇宙洪荒日月盈昃辰宿列张寒来暑往秋收冬藏闰余成岁律吕调阳云腾致雨露结为霜金生丽水玉出昆冈"
SETTINGS = Settings(validation=0.2, test=0.2)


def many(label: str) -> list[str]:
    """Give forty lines of ten characters, no two of which are near; those of the two labels differ too."""
    order = SIGNS if label == "positive" else SIGNS[::-1]
    return [
        f"{order[start]}{order[start + 3]}{order[start + 7]}{order[start + 1]}{order[start + 5]}。" * 2
        for start in range(40)
    ]


def write(raw: Path, positive: list[str], negative: list[str]) -> Path:
    folder = raw / reviews.FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "pos.txt").write_text("\n".join(positive) + "\n", encoding="utf-8")
    (folder / "neg.txt").write_text("\n".join(negative) + "\n", encoding="utf-8")
    return raw


def prepared_with(raw: Path, positive: list[str], negative: list[str] | None = None) -> Prepared:
    """Prepare the given lines and, after them, the many."""
    return prepare(write(raw, positive + many("positive"), (negative or []) + many("negative")), SETTINGS)


def by_text(prepared: Prepared) -> dict[str, Example]:
    return {example["text"]: example for split in SPLITS for example in prepared.splits[split]}


def reasons(prepared: Prepared) -> list[tuple[str, str, int]]:
    return [(found.reason, found.file, found.line) for found in prepared.rejected]


def test_the_file_is_the_label(tmp_path: Path) -> None:
    prepared = prepared_with(tmp_path, ["房间很干净，下次再来"], ["早餐太差，不会再来"])
    found = by_text(prepared)
    assert found["房间很干净，下次再来"]["label"] == "positive"
    assert found["早餐太差，不会再来"]["label"] == "negative"
    assert len(found) == 82 and prepared.rejected == []


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("宾馆反馈 2008年8月8日 ： 感谢您的入住，并期待您再次光临。", "reply of the hotel"),
        ("免费注册 网站导航 宾馆索引 服务说明", "text of the site"),
        ("早餐不能退，也不能\ue139期", "garbled"),
        ("攴蛂癫善珨踬怢督珨嶱宎憩桶陇婓最锋眒", "garbled"),
        ("请看我的网站 www.example.com 交流", "address or long number"),
        ("手机号是13912345678请联系", "address or long number"),
        ("再说几个缺点：", "heading"),
        ("很 好!", "fewer than 4 Chinese characters"),
        ("好" * 501, "more than 500 characters"),
    ],
)
def test_a_line_that_is_no_review_is_counted_by_reason(tmp_path: Path, line: str, reason: str) -> None:
    prepared = prepared_with(tmp_path, ["服务态度非常好"], ["服务态度非常差劲", line])
    assert reasons(prepared) == [(reason, "neg.txt", 2)]
    assert {"服务态度非常好", "服务态度非常差劲"} <= set(by_text(prepared))


def test_what_resembles_a_bad_line_is_kept(tmp_path: Path) -> None:
    kept = ["服務態度很好，環境優雅，還會再來", "有三点：干净，安静，便宜", "性价比高，花了2999元", "反馈很快的宾馆"]
    assert set(kept) <= set(by_text(prepared_with(tmp_path, kept)))


def test_references_spaces_and_the_heading_of_an_addition_go(tmp_path: Path) -> None:
    lines = ["彼得&#183;林奇的书　　值得看", "补充点评 2008年7月2日 ： 服务非常周到"]
    assert {"彼得·林奇的书 值得看", "服务非常周到"} <= set(by_text(prepared_with(tmp_path, lines)))


def test_a_repeated_line_counts_once_and_one_with_both_labels_not_at_all(tmp_path: Path) -> None:
    prepared = prepared_with(tmp_path, ["早餐还算不错", "早餐还算不错！", "价格有点偏高"], ["价格，有点偏高", ""])
    assert "早餐还算不错" in by_text(prepared) and "价格有点偏高" not in by_text(prepared)
    assert reasons(prepared) == [
        ("duplicate", "pos.txt", 2),
        ("in both files", "pos.txt", 3),
        ("in both files", "neg.txt", 1),
    ]


def test_wide_signs_numbers_and_punctuation_make_no_other_line() -> None:
    assert normal_form("花了３２０元，ＨＤＭＩ!") == normal_form("花了 520 元 hdmi")


def test_near_duplicates_share_a_split_and_no_key_is_in_two(tmp_path: Path) -> None:
    near = [f"{line}好" for line in many("positive")]
    prepared = prepared_with(tmp_path, near)
    split_of_text = {example["text"]: split for split in SPLITS for example in prepared.splits[split]}
    assert set(split_of_text.values()) == set(SPLITS)
    for line in many("positive"):
        assert by_text(prepared)[line]["key"] == by_text(prepared)[f"{line}好"]["key"]
        assert split_of_text[line] == split_of_text[f"{line}好"]
    assert len({example["id"] for example in by_text(prepared).values()}) == 120
    write_prepared(prepared, tmp_path)


def test_a_line_added_moves_no_old_example(tmp_path: Path) -> None:
    before = prepared_with(tmp_path, [])
    after = prepared_with(tmp_path, ["完全不同的一行评论"])
    for split in SPLITS:
        assert {ex["id"] for ex in before.splits[split]} <= {ex["id"] for ex in after.splits[split]}


def test_files_that_are_missing_empty_or_of_another_encoding_are_errors(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"pos\.txt does not exist"):
        prepare(tmp_path, SETTINGS)
    with pytest.raises(InputError, match="hold no review that can be kept"):
        prepare(write(tmp_path, ["好"], []), SETTINGS)
    (tmp_path / reviews.FOLDER / "neg.txt").write_bytes("早餐".encode("gb2312"))
    with pytest.raises(InputError, match=r"neg\.txt is not UTF-8"):
        prepare(tmp_path, SETTINGS)
