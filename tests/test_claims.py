"""The claims of the notes: what stages/claims.yaml may say, and statistics whose right answer is known."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from scipy import stats

from stages import claims as stage
from stages.core import claims, statistics
from stages.core.base import params
from stages.core.base.errors import InputError
from stages.core.base.params import Experiment
from stages.core.statistics import Estimate, Resampling, Side

ROOT = Path(__file__).resolve().parent.parent
ITEMS = [f"N{number}" for number in range(1, 30)]
COMPARISON = {"experiment": "a", "metric": "accuracy", "direction": "higher", "than": "b"}
CLAIM = {"notes": ["N1"], "chinese": "好", "english": "Good.", "comparison": COMPARISON}
BITS = ((2, 0.1), (2, 0.7), (5, 0.2))  # length, and bits above the least


def side(generator: np.random.Generator, ease: np.ndarray, spread: float, seeds: int = 3) -> Side:
    """A method's answers, right or wrong, to examples of which some are easier; each seed has its luck."""
    chances = [1 / (1 + np.exp(-(ease + generator.normal(0, spread)))) for _ in range(seeds)]
    rights = [100.0 * (generator.random(len(ease)) < chance) for chance in chances]
    return Side([(right.tolist(), [1.0] * len(ease)) for right in rights])


def experiment(
    seed: int,
    better: float = 0.0,
    spreads: tuple[float, float] = (0.3, 0.3),
    examples: int = 150,
    keys: int = 0,
    draws: int = 400,
) -> Estimate:
    """Two methods on the same examples, the first ``better`` in log odds; examples of a key, if any, are alike."""
    generator = np.random.default_rng(seed)
    groups = np.arange(examples) % keys if keys else np.arange(examples)
    both = generator.normal(0.8, 1.2, examples)
    taste = generator.normal(0, 0.7, groups.max() + 1)[groups] if keys else np.zeros(examples)  # of the first alone
    ours, theirs = side(generator, both + better + taste, spreads[0]), side(generator, both, spreads[1])
    return statistics.compare(ours, theirs, Resampling([str(group) for group in groups], draws=draws))


# False alarms, power, coverage.


@pytest.fixture(scope="module")
def null() -> list[float]:
    """p-values of 1,000 comparisons of a method with itself."""
    return [experiment(seed).p for seed in range(1000)]


def test_of_a_thousand_equal_pairs_at_most_five_percent_are_called_different(null: list[float]) -> None:
    assert sum(p <= statistics.LEVEL for p in null) <= 50


def test_the_test_is_no_idle_one_where_nothing_is_to_be_found(null: list[float]) -> None:
    assert any(p <= statistics.LEVEL for p in null)
    assert 0.4 < np.median(null) < 0.8


def test_among_fifty_families_of_twenty_equal_pairs_at_most_five_percent_raise_an_alarm(null: list[float]) -> None:
    families = [dict(enumerate(null[start : start + 20])) for start in range(0, 1000, 20)]
    alarms = [min(statistics.holm(family).values()) <= statistics.LEVEL for family in families]
    assert sum(alarms) <= 2


@pytest.mark.parametrize(
    "case",
    [
        pytest.param({"spreads": (1.0, 1.0)}, id="seeds that spread widely"),
        pytest.param({"spreads": (0.8, 0.0), "examples": 1000}, id="one side whose seeds hardly spread"),
        pytest.param({"keys": 5, "examples": 500}, id="five voices"),
    ],
)
def test_hard_cases_raise_few_false_alarms(case: dict[str, Any]) -> None:
    alarms = sum(experiment(seed, **case).p <= statistics.LEVEL for seed in range(300))
    assert alarms <= 24  # 15 are expected at 5 %; more than 24 would come in 1 % of such tests


def test_an_interval_holds_the_truth() -> None:
    """The truth is what 20,000 new examples and 400 new seeds give."""
    generator = np.random.default_rng(0)
    ease = generator.normal(0.8, 1.2, 20000)
    means = []
    for better in (1.0, 0.0):
        luck = generator.normal(0, 0.3, (400, 1))
        means.append(100 * np.mean(1 / (1 + np.exp(-(ease[::10] + better + luck)))))
    truth = means[0] - means[1]
    found = [experiment(seed, better=1.0) for seed in range(200)]
    assert sum(made.low <= truth <= made.high for made in found) >= 184  # 190 expected at 95 %


def test_an_effect_is_found_among_thirty() -> None:
    found = [experiment(seed, better=3.0, spreads=(0.05, 0.05), examples=1000, draws=2000) for seed in range(20)]
    assert sum(made.p * 30 <= statistics.LEVEL for made in found) >= 15
    assert all(made.effect > 0 for made in found)


def test_pairing_by_example_finds_what_unpaired_examples_hide() -> None:
    generator = np.random.default_rng(3)
    right = (generator.random(200) < 0.5).astype(float)
    better = right.copy()
    better[np.flatnonzero(right == 0)[:12]] = 1  # right wherever the other is, and in 12 more
    ours, theirs = (Side([(list(100 * row), [1.0] * 200)] * 3, is_fixed=True) for row in (better, right))
    made = statistics.compare(ours, theirs, Resampling([str(place) for place in range(200)]))
    assert made.effect == pytest.approx(6.0) and made.low > 0
    assert stats.ttest_ind(better, right).pvalue > 0.2


def test_one_and_the_same_is_no_effect() -> None:
    generator = np.random.default_rng(4)
    same = side(generator, np.zeros(50), 0.5)
    made = statistics.compare(same, same, Resampling([str(place) for place in range(50)]))
    assert made.effect == 0 and made.low < 0 < made.high and made.p == pytest.approx(1)


# By hand.


def test_over_examples_alone_the_interval_is_the_bootstraps() -> None:
    """No spread over seeds: the normal interval of a mean of 400, to a tenth of its width."""
    values = np.random.default_rng(5).normal(10, 4, 400)
    fixed = Side([(values.tolist(), [1.0] * 400)] * 3, is_fixed=True)
    made = statistics.compare(fixed, 0.0, Resampling([str(place) for place in range(400)]))
    low, high = stats.norm.interval(0.95, values.mean(), values.std(ddof=1) / 20)
    assert (made.low, made.high) == pytest.approx((low, high), abs=(high - low) / 10)


def test_over_seeds_alone_the_interval_is_welchs() -> None:
    """Every example alike: nothing is left but the seeds."""
    ours, theirs = (
        Side([([figure] * 30, [1.0] * 30) for figure in figures])
        for figures in ([90.0, 91.0, 92.5], [80.0, 84.0, 82.0, 83.0])
    )
    made = statistics.compare(ours, theirs, Resampling([str(place) for place in range(30)]))
    welch = stats.ttest_ind([90.0, 91.0, 92.5], [80.0, 84.0, 82.0, 83.0], equal_var=False)
    assert made.p == pytest.approx(welch.pvalue)
    assert (made.low, made.high) == pytest.approx(tuple(welch.confidence_interval()))


def test_the_same_models_are_pairs() -> None:
    figures, others = [90.0, 80.0, 70.0], [89.0, 78.8, 69.1]
    ours, theirs = (Side([([figure] * 30, [1.0] * 30) for figure in row]) for row in (figures, others))
    made = statistics.compare(ours, theirs, Resampling([str(place) for place in range(30)]), same_models=True)
    assert made.p == pytest.approx(stats.ttest_rel(figures, others).pvalue)


def test_the_margin_is_what_an_effect_is_tested_against() -> None:
    ours = Side([([figure] * 30, [1.0] * 30) for figure in (90.0, 91.0, 92.5)])
    made = statistics.compare(ours, 85.0, Resampling([str(place) for place in range(30)]), margin=5.0)
    assert made.p == pytest.approx(stats.ttest_1samp([90.0, 91.0, 92.5], 90.0).pvalue)
    assert made.effect == pytest.approx(np.mean([90, 91, 92.5]) - 85)


def test_few_keys_are_as_uncertain_as_t_says() -> None:
    values = np.array([3.0, 5.0, 4.0, 8.0, 6.0])
    fixed = Side([(np.repeat(values, 20).tolist(), [1.0] * 100)] * 3, is_fixed=True)
    made = statistics.compare(fixed, 0.0, Resampling([str(place // 20) for place in range(100)], draws=40000))
    low, high = stats.t.interval(0.95, 4, values.mean(), values.std(ddof=1) / np.sqrt(5))
    assert made.high - made.low == pytest.approx(high - low, rel=0.15)


def test_seeds_that_all_agree_do_not_pass_for_certainty() -> None:
    perfect, none = (Side([([figure] * 30, [1.0] * 30)] * 3) for figure in (100.0, 0.0))
    made = statistics.compare(perfect, none, Resampling([str(place) for place in range(30)]))
    assert made.p == pytest.approx(2 * 0.5**6)


@pytest.mark.parametrize(
    "p, adjusted",
    [
        ([0.01, 0.04, 0.03, 0.005], [0.03, 0.06, 0.06, 0.02]),  # Holm 1979 by hand: 0.005 x 4, 0.01 x 3, 0.03 x 2, 0.04
        ([0.02], [0.02]),
        ([0.9, 0.8], [1.0, 1.0]),
        ([], []),
    ],
)
def test_holm_by_hand(p: list[float], adjusted: list[float]) -> None:
    assert list(statistics.holm(dict(enumerate(p))).values()) != [] or not p
    assert statistics.holm(dict(enumerate(p))) == pytest.approx(dict(enumerate(adjusted)))


def test_draws_are_the_same_every_time() -> None:
    assert experiment(1) == experiment(1)


def test_one_seed_and_one_example_are_errors() -> None:
    one = Side([([1.0] * 30, [1.0] * 30)])
    with pytest.raises(ValueError, match="one seed tells nothing"):
        statistics.compare(one, one, Resampling([str(place) for place in range(30)]))
    with pytest.raises(ValueError, match="two examples or more that have different keys, and there are 1"):
        Resampling(["a", "a"])


# Metrics by example.


def records() -> dict[str, tuple[dict[str, Any], list[dict[str, Any]]]]:
    """For each metric its settings and records, some right and some wrong."""
    draw = np.random.default_rng(7)
    words = [str(draw.integers(4)) for _ in range(30)]
    tags = [["B-A", "I-A", "O", "B-B"], ["O", "B-A", "B-A", "I-A"], ["B-B", "O", "O", "O"]]
    guesses = [["B-A", "I-A", "O", "O"], ["O", "B-A", "I-A", "I-A"], ["B-B", "O", "B-A", "O"]]
    labelled = [{"tags": t, "prediction": g, "contrast": t != tags[2]} for t, g in zip(tags, guesses, strict=True)]
    texts = ["打开 设置 并 保存 文件", "无法 打开 这个 文件 夹", "重新 载入 浏览器 标签 页 以 更新"]
    wrong = ["打开 设置 并 保存 所有 文件", "无法 打开 文件 夹", "重新 载入 浏览器 标签 页 以 更新"]
    phones = [(["A", "B", "C"], ["A", "C"]), (["D", "D", "E"], ["D", "E"]), (["F"], ["F"])]
    target = ["(root", "•", "(obj", "•", ")", ")"]
    trees = [target, ["(root", "(obj", "•", ")", "•", ")"], ["(root", "•"]]
    orders = [{"outcome": 1.0, "without_vector": 0.0}, None, {"outcome": 0.5, "without_vector": 1.0}]
    return {
        "accuracy": (
            {"target": "answer", "by": "kind"},
            [{"answer": a, "prediction": p, "kind": k} for a, p, k in ("xxu", "xyu", "yyv", "zxv")],
        ),
        "span_f1": ({}, labelled),
        "contrast_accuracy": ({"slots": ["A", "B"]}, labelled),
        "bits": (
            {"length": 2},
            [
                {"length": n, "target": ["01"] * n, "bits": 0.3 * w + n, "wrong_bits": w}
                for n, w in ((2, 0), (2, 3), (5, 1), (5, 0))
            ],
        ),
        "bleu": (
            {},
            [{"target": t, "prediction": p, "greedy": t} for t, p in zip(texts, wrong, strict=True)],
        ),
        "bracket_f1": ({}, [{"source": ["a", "b"], "target": target, "prediction": tree} for tree in trees]),
        "phoneme_error_rate": ({}, [{"targets": [t, t[:1]], "prediction": p} for t, p in phones]),
        "reconstruction": (
            {"fewest": 2, "most": 3, "bands": [3]},
            [
                {"target": t, "prediction": p, "order": o}
                for (t, p), o in zip([*phones[:2], (list("wxyz"), list("wx"))], orders, strict=True)
            ],
        ),
        "same_different": (
            {},
            [
                {"word": word, "unseen": word in "23", "vector": (draw.normal(0, 1, 5) + int(word)).round(1).tolist()}
                for word in words
            ],
        ),
        "speech_recognition": (
            {},
            [
                {"symbols": t, "prediction": p, "boundaries": [[0, 1]] * len(t), "times": [[0, 1.04]] * len(p)}
                for t, p in [*phones, (["G", "G"], ["G", "G"])]
            ],
        ),
    }


@pytest.mark.parametrize("name", params.names("metric"))
def test_a_metric_by_example_adds_up_to_the_metric(name: str) -> None:
    values, made = records()[name]
    module, settings = params.load_part("metric", {"name": name, **values}, "metric")
    scores, tallies = module.score(made, settings), module.tallies(made, settings)
    resampling = Resampling([str(place) for place in range(len(made))], draws=10)
    assert tallies and set(tallies) <= set(scores)
    assert {metric: resampling.figures(tally)[0] for metric, tally in tallies.items()} == pytest.approx(
        {metric: scores[metric] for metric in tallies}
    )


def test_bits_beside_the_bayes_cost_add_up_too() -> None:
    made = [
        {"length": n, "target": ["1"], "bits": 3.0 * n + m, "bayes_bits": 2.5 * n, "wrong_bits": 0} for n, m in BITS
    ]
    module, settings = params.load_part("metric", {"name": "bits", "length": 2, "bayes": True}, "metric")
    scores, tallies = module.score(made, settings), module.tallies(made, settings)
    resampling = Resampling([str(place) for place in range(len(made))], draws=10)
    for metric in ("bits_per_sequence", "excess_over_bayes", "excess_over_bayes_5"):
        assert resampling.figures(tallies[metric])[0] == pytest.approx(scores[metric])


@pytest.mark.parametrize("name", ["bleu", "span_f1", "speech_recognition"])
def test_an_example_drawn_twice_counts_twice(name: str) -> None:
    values, made = records()[name]
    module, settings = params.load_part("metric", {"name": name, **values}, "metric")
    resampling = Resampling([str(place) for place in range(len(made))], draws=40)
    drawn = np.stack([resampling.figures(lambda counts, at=at: counts[:, at])[1] for at in range(len(made))], axis=1)
    assert (drawn.sum(axis=1) == len(made)).all() and drawn.max() > 1
    for metric, tally in module.tallies(made, settings).items():
        figures = resampling.figures(tally)[1]
        for counts, figure in zip(drawn.astype(int), figures, strict=True):
            chosen = [record for record, count in zip(made, counts, strict=True) for _ in range(count)]
            if np.isfinite(figure) and (name != "bleu" or figure > 0):  # sacrebleu smooths a BLEU of 0
                assert figure == pytest.approx(module.score(chosen, settings)[metric])


# The file.


def read(tmp_path: Path, values: object) -> dict[str, claims.Claim]:
    path = tmp_path / "claims.yaml"
    path.write_text(yaml.safe_dump(values, allow_unicode=True), encoding="utf-8")
    return claims.read(path)


def test_the_projects_own_claims_name_what_there_is() -> None:
    values = params.load(ROOT / "params.yaml")
    stated = claims.read(ROOT / "stages/claims.yaml")
    assert len(stated) >= 25
    claims.check(stated, values)
    for name, claim in stated.items():
        assert any("\u4e00" <= letter <= "\u9fff" for letter in claim.chinese), name
        assert claim.english.isascii() or "好棒" in claim.english, name


def test_every_item_of_the_notes_has_a_claim() -> None:
    stated = claims.read(ROOT / "stages/claims.yaml")
    covered = {note for claim in stated.values() for note in claim.notes}
    assert [item for item in ITEMS if item not in covered] == []


def test_each_claim_is_made_once() -> None:
    stated = claims.read(ROOT / "stages/claims.yaml").values()
    for part in ("chinese", "english"):
        sentences = [getattr(claim, part) for claim in stated]
        assert len(set(sentences)) == len(sentences)
    evidence = [repr(claim.comparison) for claim in stated if claim.comparison]
    assert len(set(evidence)) == len(evidence)


@pytest.mark.parametrize(
    "change, message",
    [
        ({"notes": ["N30"]}, r"x\.notes\.0 is 'N30'"),
        ({"notes": []}, r"x\.notes is \[\]"),
        ({"chinese": ""}, r"x\.chinese is ''"),
        ({"sentence": "Good."}, r"x\.sentence is an unknown key"),
        ({"comparison": None}, "either a comparison or a demonstration"),
        ({"demonstration": {"name": "worked_rnn"}}, "either a comparison or a demonstration"),
        ({"comparison": COMPARISON | {"direction": "better"}}, r"x\.comparison\.direction is 'better'"),
        ({"comparison": COMPARISON | {"than": "a"}}, "a is compared with itself"),
        ({"comparison": COMPARISON | {"than": 1, "than_metric": "bleu"}}, "than is a number"),
        ({"comparison": {"experiment": "a", "metric": "accuracy", "than": 1}}, r"x\.comparison\.direction is missing"),
    ],
)
def test_a_slip_is_one_sentence_that_names_file_and_key(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message) as error:
        read(tmp_path, {"x": CLAIM | change})
    assert str(error.value).startswith(f"{tmp_path / 'claims.yaml'}: x") and "\n" not in str(error.value)


@pytest.mark.parametrize("values", [None, [1], {"x": 3}])
def test_a_file_without_claims_is_an_error(tmp_path: Path, values: object) -> None:
    with pytest.raises(InputError, match="should hold claims by name"):
        read(tmp_path, values)


def test_an_unknown_experiment_is_named_with_the_nearest(tmp_path: Path) -> None:
    stated = read(tmp_path, {"x": CLAIM | {"comparison": COMPARISON | {"experiment": "slots_lstn"}}})
    with pytest.raises(InputError, match=r"x names slots_lstn, which is no experiment in params\.yaml; did you mean"):
        claims.check(stated, params.load(ROOT / "params.yaml"))


# The stage.

Judge = Callable[..., dict[str, dict[str, Any]]]


@pytest.fixture
def judge(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Judge:
    """Judge one claim in a project whose experiments a and b are right in 80 % and 50 % of 200 examples."""
    monkeypatch.chdir(tmp_path)
    generator = np.random.default_rng(8)
    experiments = {}
    for key, share in (("a", 0.8), ("b", 0.5), ("other", 0.5)):
        experiments[key] = Experiment(
            title=key, dataset="d", task={}, model={}, decoder={},
            training={"seeds": [1, 2, 3]}, metric={"name": "accuracy", "target": "label"},
        )  # fmt: skip
        for seed in (1, 2, 3):
            rows = [
                {"id": f"{key == 'other'}{n}", "key": str(n), "label": 1, "prediction": int(generator.random() < share)}
                for n in range(200)
            ]
            path = Path(f"data/predictions/{key}/seed_{seed}.jsonl")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    worked = {"holds": True, "checks": {"it is so": True, "it is not": False}}
    Path("data/demonstrations").mkdir()
    Path("data/demonstrations/worked.json").write_text(json.dumps(worked))
    values = params.Params(datasets={}, generated={}, experiments=experiments, demonstrations={})

    def run(**change: Any) -> dict[str, dict[str, Any]]:
        return stage.judge(read(tmp_path, {"x": CLAIM | change}), values)

    return run


@pytest.mark.parametrize(
    "change, verdict",
    [
        ({}, "holds"),
        ({"experiment": "b", "than": "a"}, "does not hold"),
        ({"direction": "lower"}, "does not hold"),
        ({"experiment": "b", "than": "a", "direction": "lower"}, "holds"),
        ({"margin": 60}, "does not hold"),
        ({"margin": 30}, "undecided"),
        ({"direction": "lower", "margin": -60}, "holds"),
        ({"than": 60}, "holds"),
        ({"than": 95}, "does not hold"),
    ],
)
def test_a_comparison_has_the_verdict_that_its_figures_call_for(judge: Judge, change: Any, verdict: str) -> None:
    found = judge(comparison=COMPARISON | change)["x"]
    assert found["verdict"] == verdict
    assert found["low"] < found["effect"] < found["high"]
    assert found["effect"] == pytest.approx(found["figure"] - found["than"], abs=1e-5)


@pytest.mark.parametrize("named, verdict", [(None, "holds"), ("it is so", "holds"), ("it is not", "does not hold")])
def test_a_demonstration_decides_by_its_checks(judge: Judge, named: str | None, verdict: str) -> None:
    assert judge(comparison=None, demonstration={"name": "worked", "check": named})["x"] == {"verdict": verdict}


@pytest.mark.parametrize(
    "change, message",
    [
        (
            {"comparison": COMPARISON | {"metric": "acuracy"}},
            "x names acuracy, which a has not by example; did you mean",
        ),
        ({"comparison": COMPARISON | {"than": "other"}}, "x compares a with other, which should be tested on the same"),
        ({"comparison": None, "demonstration": {"name": "work"}}, "x names work, which is no demonstration; did you"),
        (
            {"comparison": None, "demonstration": {"name": "worked", "check": "?"}},
            "x names the check '?', which worked",
        ),
    ],
)
def test_missing_evidence_is_one_sentence(judge: Judge, change: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message.replace("?", r"\?")):
        judge(**change)


def test_missing_predictions_are_named(judge: Judge) -> None:
    shutil.rmtree("data/predictions/b")
    with pytest.raises(InputError, match=r"data/predictions/b/seed_1\.jsonl does not exist"):
        judge()
