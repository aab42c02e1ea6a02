"""CTC: the sum over alignments is the sum, times and confidence mean what they say, and streams hear the same."""

import json
import math
from collections.abc import Callable
from functools import partial
from itertools import groupby, pairwise, product
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from stages.core import trainer
from stages.core.base.errors import InputError
from stages.core.base.params import read_settings
from stages.core.learning import artifact
from stages.core.learning.batch import pad, pad_indices
from stages.core.learning.task import Task, Training
from stages.core.trainer import build_optimizer
from stages.decoding import best_path, prefix_beam_search
from stages.models import convolutional_gru, elman, feedforward, gru, lstm, transformer
from stages.tasks import connectionist_temporal_classification as ctc

FRAMES = 9  # a recording
MODELS: dict[str, tuple[ModuleType, dict[str, Any]]] = {
    "elman": (elman, {"hidden": 8}),
    "lstm": (lstm, {"hidden": 8, "layers": 2}),
    "gru": (gru, {"hidden": 8}),
    "bidirectional lstm": (lstm, {"hidden": 8, "bidirectional": True}),
    "transformer": (transformer, {"width": 8, "heads": 2}),
    "feedforward": (feedforward, {"hidden": 8}),
    "convolutional gru": (convolutional_gru, {"hidden": 8}),
}


def collapse(path: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(symbol for symbol, _ in groupby(path) if symbol)


def singles() -> list[dict[str, Any]]:
    return [
        {"id": str(r), "key": str(r), "recordings": [r], "symbols": [str(r % 3)], "boundaries": [[0.0, 0.01 * FRAMES]]}
        for r in range(6)
    ]


def arrays(coefficients: int = 13) -> dict[str, np.ndarray]:
    features = np.random.default_rng(1).normal(size=(6 * FRAMES, coefficients)).astype(np.float32)
    return {"features": features, "offsets": np.arange(7) * FRAMES, "frame_seconds": np.array([0.01])}


def speech_task(model: str = "bidirectional lstm", **values: Any) -> Any:
    """An untrained task that has seen six recordings of 9 frames, of the symbols 0, 1, 2, 0, 1, 2."""
    torch.manual_seed(1)
    settings = ctc.Settings(**values)
    module, given = MODELS[model]
    build = lambda size: module.build(module.Settings(**given), size)
    task = ctc.build(settings, ctc.fit_vocabularies(singles(), settings), build)
    task.attach(arrays(settings.coefficients))
    task.observe(singles(), arrays(settings.coefficients))
    return task


def joined(task: Any, *indices: int) -> dict[str, Any]:
    """The recordings ``indices``, said one after the other."""
    return task._join([singles()[index] for index in indices])


def learn(task: Task, examples: list[dict], updates: int) -> None:
    """Learn ``examples`` by heart."""
    optimizer = build_optimizer(task, Training(seeds=[1], learning_rate=0.03, batch_size=4, epochs=1, clip_norm=1.0))
    for update in range(updates):
        optimizer.zero_grad()
        task.loss(task.collate(examples))[0].backward()
        optimizer.step()
        if update % 10 == 9:
            task.end_epoch()
    task.eval()


# The sum over alignments.


def drawn(time: int, symbols: int = 3) -> Tensor:
    torch.manual_seed(time)
    return torch.randn(time, symbols, dtype=torch.float64).log_softmax(dim=-1)


@pytest.mark.parametrize("target", [[], [1], [2, 1], [1, 1], [2, 2, 1], [1, 2, 1, 2], [1, 1, 1]])
@pytest.mark.parametrize("time", [1, 3, 5, 7])
def test_forward_backward_equals_enumerating_every_alignment(target: list[int], time: int) -> None:
    scores = drawn(time)
    total, occupancies = 0.0, torch.zeros(time, 3, dtype=torch.float64)
    for path in product(range(3), repeat=time):
        if collapse(path) == tuple(target):
            probability = math.exp(sum(scores[t, symbol] for t, symbol in enumerate(path)))
            total += probability
            for t, symbol in enumerate(path):
                occupancies[t, symbol] += probability
    targets = torch.tensor([target], dtype=torch.int64)
    negative, found = ctc.forward_backward(scores[None], targets, torch.tensor([time]), torch.tensor([len(target)]))
    if total == 0:
        assert negative.item() == math.inf and not found.any()
    else:
        assert negative.item() == pytest.approx(-math.log(total), abs=1e-6)
        torch.testing.assert_close(found[0], occupancies / total, atol=1e-6, rtol=0)


def test_forward_backward_equals_torchs_loss_and_gradient() -> None:
    torch.manual_seed(1)
    targets = pad_indices([[1, 2, 2, 3], [4, 4, 4], [2], [], [3, 1, 4, 1, 1]])
    lengths = torch.tensor([12, 5, 12, 7, 11])
    raw = torch.randn(5, 12, 5, dtype=torch.float64, requires_grad=True)
    scores = raw.log_softmax(dim=-1)
    expected = torch.nn.functional.ctc_loss(
        scores.transpose(0, 1), targets.values, lengths, targets.lengths, reduction="none"
    )
    expected.sum().backward()
    negative, occupancies = ctc.forward_backward(scores.detach(), targets.values, lengths, targets.lengths)
    torch.testing.assert_close(negative, expected.detach(), atol=1e-6, rtol=0)
    real = torch.arange(12) < lengths[:, None]
    gradient = (scores.detach().exp() - occupancies) * real[..., None]  # Graves et al. 2006, equation 16
    torch.testing.assert_close(gradient, raw.grad, atol=1e-6, rtol=0)


def test_with_label_priors_the_gradient_is_that_of_weighed_alignments() -> None:
    """The trained loss is -ln of the sum of p(path) / prior(path)^weight: here by hand, up to the constant."""
    task = speech_task(stack=3, prior=0.4)
    task.prior.copy_(torch.tensor([0.7, 0.1, 0.05, 0.15]))
    batch = task.collate([joined(task, 0, 1)])
    loss, _ = task.loss(batch)
    loss.backward()
    gradient = task.head.bias.grad.clone()
    scores = task.log_probabilities(batch)[0].double()
    weights = 0.4 * (task.prior / task.prior.min()).log()
    paths = [path for path in product(range(4), repeat=len(scores)) if collapse(path) == (1, 2)]
    logs = [sum(scores[t, symbol] - weights[symbol] for t, symbol in enumerate(path)) for path in paths]
    expected = -torch.stack(logs).logsumexp(dim=0) / 2
    assert loss.item() == pytest.approx(expected.item(), abs=1e-5)
    (by_hand,) = torch.autograd.grad(expected, [task.head.bias])
    torch.testing.assert_close(gradient, by_hand, atol=1e-5, rtol=1e-4)


# Alignment, times, confidence.


@pytest.mark.parametrize("target", [[], [1], [1, 1], [2, 1, 1]])
def test_the_alignment_is_the_best_of_all(target: list[int]) -> None:
    scores = drawn(6)
    possible = [path for path in product(range(3), repeat=6) if collapse(path) == tuple(target)]
    best = max(possible, key=lambda path: sum(scores[t, symbol] for t, symbol in enumerate(path)))
    states = ctc.align(scores.numpy(), target)
    assert [target[state // 2] if state % 2 else 0 for state in states] == list(best)


def test_too_few_steps_for_an_alignment_are_an_error() -> None:
    with pytest.raises(ValueError, match="2 symbols need 3 steps; there are 2"):
        ctc.align(drawn(2).numpy(), [1, 1])


def certain(path: list[int], symbols: int = 4, share: float = 0.97) -> Tensor:
    """Log-probabilities (time, symbols) by which each step of ``path`` has the probability ``share``."""
    rest = (1 - share) / (symbols - 1)
    return torch.full((len(path), symbols), rest).scatter(1, torch.tensor(path)[:, None], share).log()


def test_times_are_those_of_a_symbols_steps() -> None:
    task = speech_task(stack=2)  # steps of 20 ms
    path = [0, 3, 3, *[0] * 13, 1, 2, 2, 0]
    times = [time for start, end, _ in task.locate(certain(path), [3, 1, 2]) for time in (start, end)]
    assert times == pytest.approx([0.02, 0.06, 0.32, 0.34, 0.34, 0.38])  # a pause of 260 ms stays one


def test_a_gap_that_is_no_pause_is_divided_where_the_symbols_swap_and_between_equal_ones_in_the_middle() -> None:
    task = speech_task(stack=2)
    scores = certain([3, 0, 0, 0, 1, 0, 0, 0, 1])
    scores[1:4, 3] = torch.tensor([0.01, 0.009, 0.001]).log()
    scores[1:4, 1] = torch.tensor([0.001, 0.001, 0.01]).log()
    times = [time for start, end, _ in task.locate(scores, [3, 1, 1]) for time in (start, end)]
    assert times == pytest.approx([0.0, 0.06, 0.06, 0.13, 0.13, 0.18])


def test_confidence_is_the_share_of_a_transcript_among_those_with_another_symbol_in_its_place() -> None:
    scores = drawn(5)
    total: dict[tuple[int, ...], float] = {}
    for path in product(range(3), repeat=5):
        said = collapse(path)
        total[said] = total.get(said, 0.0) + math.exp(sum(scores[t, symbol] for t, symbol in enumerate(path)))
    whole = total[(1, 2)]
    first = whole / (whole + total[(2,)] + total[(2, 2)])
    second = whole / (whole + total[(1,)] + total[(1, 1)])
    assert ctc.confidence(scores, [1, 2]).tolist() == pytest.approx([first, second])


def test_an_unsure_step_lowers_the_confidence_of_its_symbol_alone() -> None:
    scores = certain([1, 1, 0, 2, 2])
    scores[3:] = torch.tensor([0.04, 0.01, 0.55, 0.4]).log()
    first, second = ctc.confidence(scores.double(), [1, 2]).tolist()
    assert first > 0.95 and 0.4 < second < 0.8


# Training.


def test_ctc_learns_a_batch_by_heart() -> None:
    task = speech_task(stack=1)
    strings = [joined(task, 0, 1), joined(task, 3, 0), joined(task, 2, 4)]
    learn(task, strings, 80)
    decoded = best_path.decode(task, task.collate(strings), best_path.Settings())
    assert [item["prediction"] for item in decoded] == [example["symbols"] for example in strings]
    assert all(sure > 0.8 for item in decoded for sure in item["confidence"])


def test_framewise_training_merges_a_doubled_symbol_that_ctc_keeps() -> None:
    """What the null is for: the same network, taught a symbol a step, cannot say a symbol twice."""
    heard = {}
    for criterion in ("ctc", "framewise"):
        task = speech_task(stack=1, criterion=criterion)
        examples = [joined(task, 0, 3), joined(task, 0, 1)]
        learn(task, examples, 80)
        decoded = best_path.decode(task, task.collate(examples), best_path.Settings())
        heard[criterion] = [item["prediction"] for item in decoded]
    assert heard == {"ctc": [["0", "0"], ["0", "1"]], "framewise": [["0"], ["0", "1"]]}


def test_with_label_priors_a_symbol_fills_its_time() -> None:
    """Without, it is a peak: the same training gives a symbol fewer steps."""
    lengths = {}
    for prior in (0.0, 0.5):
        task = speech_task(stack=1, prior=prior)
        strings = [joined(task, 0, 1), joined(task, 3, 2), joined(task, 2, 4)]
        learn(task, strings, 100)
        decoded = best_path.decode(task, task.collate(strings), best_path.Settings())
        assert [item["prediction"] for item in decoded] == [example["symbols"] for example in strings]
        scores = task.log_probabilities(task.collate(strings))
        lengths[prior] = (scores.argmax(dim=-1) != 0).float().mean().item()
    assert lengths[0.5] > lengths[0.0] + 0.1


def test_steps_between_symbols_are_labelled_with_the_nearest() -> None:
    centres = np.array([0.0, 0.14, 0.2, 0.26, 0.5])
    assert ctc.nearest(centres, [[0.1, 0.15], [0.3, 0.4]]).tolist() == [0, 0, 0, 1, 1]


def test_labels_follow_a_stretched_utterance() -> None:
    task = speech_task(stack=1, criterion="framewise")
    example = joined(task, 0, 1)  # 9 frames each
    assert task._labels(example, 36).tolist() == [1] * 18 + [2] * 18


@pytest.mark.parametrize(
    "values", [{"stretch": 0.3}, {"warp": 0.2, "coefficients": 40}, {"time_masks": 2}, {"frequency_masks": 1}]
)
def test_training_alters_utterances_by_torchs_generator_and_evaluation_does_not(values: dict[str, Any]) -> None:
    task = speech_task(stack=1, **values)
    example = joined(task, 0, 1, 2)

    def steps(seed: int) -> Tensor:
        torch.manual_seed(seed)
        return task.collate([example])["steps"].values

    same, again, other = steps(1), steps(1), steps(2)
    assert torch.equal(same, again) and not (same.shape == other.shape and torch.equal(same, other))
    task.eval()
    plain = steps(1)
    assert torch.equal(plain, steps(2)) and plain.shape == (1, 27, task.settings.coefficients)


def test_the_pitch_is_neither_warped_nor_masked() -> None:
    task = speech_task(stack=1, coefficients=42, warp=0.2, frequency_masks=2, frequency_mask=12)
    example = joined(task, 0, 1, 2)
    altered = task.collate([example])["steps"].values
    plain = task.eval().collate([example])["steps"].values
    assert torch.equal(altered[..., 40:], plain[..., 40:]) and not torch.equal(altered[..., :40], plain[..., :40])


def test_masks_hide_at_most_so_many_frames_and_coefficients() -> None:
    task = speech_task(stack=1, time_masks=1, time_mask=3, frequency_masks=1, frequency_mask=2)
    hidden = []
    for seed in range(30):
        torch.manual_seed(seed)
        zeros = task.collate([joined(task, 0, 1, 2)])["steps"].values[0] == 0
        hidden.append((int(zeros.all(dim=1).sum()), int(zeros.all(dim=0).sum())))
    assert {frames for frames, _ in hidden} == {0, 1, 2, 3} and {bands for _, bands in hidden} == {0, 1, 2}


def test_stretch_never_makes_a_transcript_infeasible() -> None:
    task = speech_task(stack=3, stretch=0.9)
    example = joined(task, 0, 3)  # 6 steps of which two equal symbols need 3
    counts = set()
    for seed in range(40):
        torch.manual_seed(seed)
        counts.add(int(task.collate([example])["steps"].lengths))
    assert min(counts) == 3 and max(counts) > 9


def fit(task: Any, train: list[dict], validation: list[dict], folder: Path) -> None:
    plan = Training(seeds=[1], learning_rate=0.01, batch_size=2, epochs=2, clip_norm=1.0)
    trainer.fit(task, train, validation, plan, 1, folder, "test")


SHORT = {"id": "x", "features": np.zeros((6, 13)), "symbols": ["1", "1"], "boundaries": [[0, 0.03], [0.03, 0.06]]}


@pytest.mark.parametrize("place", ["train", "validation"])
def test_a_transcript_without_alignment_is_named_before_training(tmp_path: Path, place: str) -> None:
    task = speech_task(stack=3)
    splits = {"train": singles(), "validation": singles()}
    splits[place] = [*singles(), SHORT]
    with pytest.raises(InputError, match=r"example x has 2 steps of 3 frames, too few for CTC: .* need 3; a smaller"):
        fit(task, splits["train"], splits["validation"], tmp_path)
    assert not list(tmp_path.glob("*.ckpt"))


def test_a_recording_too_short_to_be_said_again_and_again_is_named(tmp_path: Path) -> None:
    task = speech_task(stack=9, strings=4, longest=3)  # a recording is one step; three equal ones need five
    with pytest.raises(InputError, match=r"example 0, said 3 times in a row .* has 3 steps of 9 frames, .* need 5"):
        fit(task, singles(), singles(), tmp_path)


def test_framewise_training_needs_no_steps_but_boundaries(tmp_path: Path) -> None:
    fit(speech_task(criterion="framewise"), [*singles(), SHORT], singles(), tmp_path / "a")
    unmarked = [{key: value for key, value in example.items() if key != "boundaries"} for example in singles()]
    with pytest.raises(InputError, match="example 0 has no boundaries, which the criterion framewise learns from"):
        fit(speech_task(criterion="framewise"), unmarked, unmarked, tmp_path / "b")


def test_a_symbol_that_no_training_example_has_is_named(tmp_path: Path) -> None:
    unheard = singles()[0] | {"id": "y", "symbols": ["7"]}
    with pytest.raises(InputError, match="example y has the symbol '7', which no training example has"):
        fit(speech_task(), singles(), [unheard], tmp_path)
    assert "transcripts" not in speech_task().collate([unheard])  # a test example can still be decoded


def test_centred_utterances_are_heard_alike_in_any_room() -> None:
    """Another microphone adds a constant to each log-mel band."""
    quiet = {"id": "x", "features": np.random.default_rng(1).normal(size=(12, 13)).astype(np.float32)}
    loud = quiet | {"features": quiet["features"] + np.arange(13, dtype=np.float32)}
    for centre in (True, False):
        task = speech_task(centre=centre).eval()
        scores = [task.log_probabilities(task.collate([example])) for example in (quiet, loud)]
        assert torch.allclose(*scores, atol=1e-5) == centre
    with pytest.raises(InputError, match=r"takes off each utterance's mean .* needs the utterance as a whole"):
        speech_task("lstm", centre=True).stream(0.1)


def test_warping_moves_the_bands_of_each_utterance_in_proportion_to_their_place() -> None:
    peak = torch.zeros(3, 2, 40)
    peak[:, :, 20] = 1.0
    moved = ctc.warped(peak, torch.tensor([0.8, 1.0, 1.25]))
    assert moved.argmax(dim=2).tolist() == [[16, 16], [20, 20], [25, 25]]
    torch.testing.assert_close(moved[1], peak[1])


def test_stretching_a_batch_is_torchs_interpolation_of_each_utterance() -> None:
    lengths, counts = [9, 1, 5, 12], [13, 3, 2, 1]
    utterances = [torch.randn(length, 3) for length in lengths]
    found = ctc.stretched(pad(utterances, value=torch.nan).values, torch.tensor(lengths), torch.tensor(counts))
    for row, utterance, count in zip(found, utterances, counts, strict=True):
        alone = torch.nn.functional.interpolate(utterance.T[None], count, mode="linear", align_corners=True)[0].T
        torch.testing.assert_close(row[:count], alone)
    assert [int((row != 0).any(dim=1).sum()) for row in found.nan_to_num()] == counts


def test_drawn_spans_cover_a_quarter_of_a_length_at_most_and_reach_every_place() -> None:
    lengths = torch.tensor([40, 8, 3])
    found = torch.stack([ctc.drawn_spans(lengths, 6, 45) for _ in range(300)])
    widths = found.sum(dim=2)
    assert widths.amax(dim=0).tolist() == [6, 2, 0] and widths.amin(dim=0).tolist() == [0, 0, 0]
    assert found.any(dim=0).sum(dim=1).tolist() == [40, 8, 0]
    starts, ends = found.int().argmax(dim=2), 45 - found.flip(2).int().argmax(dim=2)
    assert ((ends - starts == widths) | (widths == 0)).all()


def test_recordings_of_another_front_end_are_refused() -> None:
    with pytest.raises(InputError, match="40 coefficients a frame, but the setting task"):
        speech_task().attach(arrays(40))
    assert speech_task(coefficients=40).collate(singles()[:1])["steps"].values.shape == (1, 3, 120)


@pytest.mark.parametrize(
    ("values", "complaint"),
    [
        ({"coefficients": 20}, "coefficients"),
        ({"criterion": "framewise", "prior": 0.3}, "prior is for the criterion ctc"),
        ({"frequency_mask": 13}, "narrower than a frame"),
        ({"warp": 0.1}, "warp is for bands of frequency"),
    ],
)
def test_settings_that_make_no_sense_are_refused(values: dict[str, Any], complaint: str) -> None:
    with pytest.raises(InputError, match=complaint):
        read_settings(ctc.Settings, values, "experiments.x.task")


def test_a_killed_training_with_all_its_noise_goes_on_to_the_same_bits(
    tmp_path: Path, kill: Callable[..., None]
) -> None:
    values = {"prior": 0.3, "stretch": 0.2, "time_masks": 1, "noise": 0.1, "dropout": 0.1, "strings": 8, "longest": 2}

    def train(folder: Path, killed_in: int | None = None) -> dict[str, Tensor]:
        trainer.seed_everything(7)
        task = speech_task(**values)
        run = partial(fit, task, singles(), singles(), folder)
        run() if killed_in is None else kill(task, killed_in, run)
        return task.state_dict()

    whole = train(tmp_path / "whole")
    train(tmp_path / "killed", killed_in=1)
    resumed = train(tmp_path / "killed")
    assert all(torch.equal(value, resumed[name]) for name, value in whole.items())
    assert whole["prior"].min() > 0 and whole["prior"].unique().numel() > 1


def test_fresh_strings_differ_by_epoch_and_repeat_by_seed() -> None:
    task = speech_task(strings=4, longest=2)
    draw = lambda seed: task.draw(singles(), torch.Generator().manual_seed(seed))
    assert draw(1) == draw(1) and draw(1) != draw(2)


def test_strings_keep_the_boundaries_of_their_recordings() -> None:
    task = speech_task(strings=5, longest=3, growth=0)
    for string in task.draw(singles(), torch.Generator().manual_seed(1)):
        count = len(string["recordings"])
        assert string["symbols"] == [str(r % 3) for r in string["recordings"]]
        expected = [[0.09 * place, 0.09 * (place + 1)] for place in range(count)]
        np.testing.assert_allclose(string["boundaries"], expected)
    assert speech_task().draw(singles(), torch.Generator()) == singles()


# The artifact, streams, input and output.


def config(**values: Any) -> dict[str, Any]:
    name = "connectionist_temporal_classification"
    return {"task": {"name": name, **values}, "model": {"name": "lstm", "hidden": 8}}


def test_an_artifact_keeps_transcripts_and_seconds_a_step(tmp_path: Path) -> None:
    task = speech_task("lstm", stack=2)
    single = artifact.build_task(config(stack=2), task.vocabularies, "x")
    single.attach(arrays())
    single.observe(singles(), arrays())
    artifact.save(tmp_path / "model", single, config(stack=2))
    loaded: Any = artifact.load(tmp_path / "model")
    assert loaded.transcripts() == [[1], [2], [3], [1], [2], [3]]
    assert loaded.step_seconds == pytest.approx(0.02)


def example_of(frames: int) -> dict[str, Any]:
    return {"id": "x", "features": np.random.default_rng(2).normal(size=(frames, 13)).astype(np.float32)}


@pytest.mark.parametrize("model", ["elman", "lstm", "gru"])
@pytest.mark.parametrize("seconds", [0.01, 0.07, 5.0])
def test_a_stream_hears_what_the_whole_utterance_says(model: str, seconds: float) -> None:
    task = speech_task(model, stack=2).eval()
    with torch.no_grad():
        task.head.weight *= 50  # so that even an untrained network changes its mind
    example = example_of(101)
    with torch.inference_mode():
        (whole,) = best_path.decode(task, task.collate([example]), best_path.Settings())
        pieces = list(task.stream(seconds)(example))
    assert "".join(pieces) == "".join(f"{symbol} " for symbol in whole["prediction"])
    assert len(whole["prediction"]) >= 3 and len(pieces) == -(-51 // max(1, round(seconds / 0.02)))


@pytest.mark.parametrize("model", ["bidirectional lstm", "transformer", "feedforward", "convolutional gru"])
def test_a_model_without_a_state_to_go_on_from_decodes_no_stream(model: str) -> None:
    with pytest.raises(InputError, match="only recurrent networks of one direction"):
        speech_task(model).stream(0.1)


def test_the_best_path_merges_repeats_and_then_drops_nulls() -> None:
    assert speech_task().best_path(certain([0, 1, 1, 0, 1, 2, 2, 0])) == [1, 1, 2]


@pytest.mark.parametrize("change", [0.0, 0.5, 1.0, 2.0, 8.0])
def test_the_steadiest_path_is_the_best_of_all_by_what_its_changes_cost(change: float) -> None:
    scores = drawn(6).numpy()

    def worth(path: tuple[int, ...]) -> float:
        changes = sum(before != after for before, after in pairwise(path))
        return float(sum(scores[time, symbol] for time, symbol in enumerate(path)) - change * changes)

    best = max(product(range(3), repeat=6), key=worth)
    assert tuple(ctc.steadiest(scores, change).tolist()) == best


def test_a_step_misheard_within_a_symbol_is_not_read_out_where_changes_cost() -> None:
    """Without it, framewise training would seem to tell a doubled symbol from a single one by its mistakes."""
    task = speech_task(stack=1, criterion="framewise").eval()
    misheard = certain([1, 1, 2, 1, 1, 3, 3, 3], share=0.7)
    task.log_probabilities = lambda _: misheard[None]
    batch = {"steps": pad([torch.zeros(8, 13)])}
    heard = [best_path.decode(task, batch, best_path.Settings(change=cost))[0]["prediction"] for cost in (0.0, 2.0)]
    assert heard == [["0", "1", "0", "2"], ["0", "2"]]


def test_a_symbol_across_two_pieces_of_a_stream_is_heard_once() -> None:
    task = speech_task()
    assert task.best_path(certain([1, 2]), last=1) == [2]
    assert task.best_path(certain([1, 2]), last=2) == task.best_path(certain([1, 2])) == [1, 2]


def test_all_that_tell_of_a_transcript_tell_the_same() -> None:
    task = speech_task(stack=2).eval()
    with torch.no_grad():
        task.head.weight *= 50
    example = example_of(61)
    with torch.inference_mode():
        (by_path,) = best_path.decode(task, task.collate([example]), best_path.Settings())
        (by_beam,) = prefix_beam_search.decode(task, task.collate([example]), prefix_beam_search.Settings(beam=1))
        trace = task.trace(example)
    assert by_beam["prediction"] == by_path["prediction"] == trace["prediction"] and len(trace["prediction"]) >= 3
    assert by_beam["times"] == by_path["times"] == trace["times"] and by_beam["confidence"] == by_path["confidence"]


def test_nothing_heard_has_no_times() -> None:
    task = speech_task()
    assert task.transcribe(certain([0, 0]), []) == {"prediction": [], "times": [], "confidence": []}


def test_the_utterance_that_tells_most_says_a_symbol_twice_in_a_row() -> None:
    task = speech_task(stack=1)
    plain, twice, more = joined(task, 0, 1, 2, 0), joined(task, 1, 4), joined(task, 0, 2, 5)
    assert task.most_telling([singles()[0], plain, twice, more]) is more
    assert task.most_telling([singles()[0], plain]) == singles()[0]  # the first of some steps, as elsewhere


@pytest.mark.parametrize("array", [np.zeros((0, 13)), np.zeros((4, 12)), np.zeros(13), np.full((4, 13), np.nan)])
def test_frames_of_another_form_are_an_error(tmp_path: Path, array: np.ndarray) -> None:
    np.save(tmp_path / "x.npy", array)
    with pytest.raises(InputError, match=r"x\.npy, array x"):
        speech_task().read_input(tmp_path / "x.npy")


def test_a_file_that_is_no_array_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "x.npy").write_text("hello")
    with pytest.raises(InputError, match=r"is no \.npy or .npz file of frames"):
        speech_task().read_input(tmp_path / "x.npy")


def test_an_utterance_is_shown_with_times_and_confidence() -> None:
    record = {"id": "x", "prediction": ["好", "棒"], "times": [[0.1, 0.25], [0.25, 12.5]], "confidence": [0.987, 1.0]}
    assert speech_task(separator="").present(record).split("\n") == [
        "x\t好棒",
        "    0.10     0.25 s   98.7 %  好",
        "    0.25    12.50 s  100.0 %  棒",
    ]
    assert speech_task().present({"id": "x", "prediction": []}) == "x\t(nothing heard)"


@pytest.mark.parametrize("recordings", [(0, 1, 2), tuple(range(6)) * 12])
def test_a_trace_is_small_and_tells_what_was_heard(recordings: tuple[int, ...]) -> None:
    task = speech_task(stack=1)
    learn(task, [joined(task, 0, 1, 2)], 120)
    with torch.inference_mode():
        trace = task.trace(joined(task, *recordings))
    steps = FRAMES * len(recordings)
    assert len(json.dumps(trace, indent=2)) < 200_000 and len(trace["features"]) <= ctc.TRACED_FRAMES
    assert len(trace["posteriors"]) == len(trace["alignment"]) == steps
    assert trace["symbols"][0] == "<null>" and len(trace["posteriors"][0]) == len(trace["symbols"])
    assert [symbol for symbol, _ in groupby(trace["alignment"]) if symbol != "<null>"] or not trace["prediction"]
    assert len(trace["times"]) == len(trace["prediction"])
    if len(recordings) == 3:
        assert trace["prediction"] == trace["target"] == ["0", "1", "2"]


BUILDERS: list[Callable[[], Any]] = [
    lambda: convolutional_gru.Settings(hidden=5, filters=6, width=3, convolutions=2),
    lambda: convolutional_gru.Settings(hidden=5, filters=6, bidirectional=True),
]


@pytest.mark.parametrize("settings", BUILDERS)
def test_padding_changes_nothing_for_the_convolutional_gru(settings: Callable[[], Any]) -> None:
    torch.manual_seed(1)
    model = convolutional_gru.build(settings(), 4).double().eval()
    sequences = [torch.randn(length, 4, dtype=torch.float64) for length in (4, 9, 1)]
    values = torch.nn.utils.rnn.pad_sequence(sequences, batch_first=True, padding_value=9.0)
    outputs, _ = model(values, torch.tensor([4, 9, 1]))
    assert outputs.shape == (3, 9, model.output_size) and not outputs[0, 4:].any()
    for row, sequence in enumerate(sequences):
        alone, _ = model(sequence[None], torch.tensor([len(sequence)]))
        torch.testing.assert_close(outputs[row, : len(sequence)], alone[0])


def test_a_convolution_sees_its_window_alone() -> None:
    model = convolutional_gru.build(convolutional_gru.Settings(hidden=5, filters=6, width=3, convolutions=2), 4).eval()
    inputs = torch.randn(1, 9, 4, requires_grad=True)
    model(inputs, torch.tensor([9]))[0][0, 3].sum().backward()
    assert (inputs.grad[0].abs().sum(dim=1) > 0).nonzero().flatten().tolist() == list(range(6))  # two ahead


def test_a_convolution_hears_a_strong_sound_as_a_weak_one() -> None:
    torch.manual_seed(1)
    model = convolutional_gru.build(convolutional_gru.Settings(hidden=5, filters=6), 4).double().eval()
    model.convolutions[0].bias.data.zero_()
    inputs = torch.randn(1, 9, 4, dtype=torch.float64)
    weak, strong = (model(factor * inputs, torch.tensor([9]))[0] for factor in (1.0, 3.0))
    torch.testing.assert_close(weak, strong, rtol=0, atol=1e-3)
