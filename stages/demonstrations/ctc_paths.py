"""How many alignments of a number of frames collapse to a transcript, counted in four ways (N23).

``data.counts.<transcript>.<frames>``: ``enumerated`` (every path written out), ``dynamic`` (CTC's forward recursion),
``formula`` (a binomial coefficient), ``without_null`` (paths that have no null) and ``without_repeats`` (paths in which
no symbol stands twice for one label). ``data.fewest_frames.<transcript>``: the fewest frames that have a path.
``data.collapsed``: examples, [path, transcript]. ``data.losses``: of the trained network, ``by_paths`` (the sum over
all paths, one by one) and ``by_torch`` at the start (``before``) and the end (``after``), in nats;
``data.alignments``: by ``before`` and ``after``, the ``paths`` that carry half of the transcript's probability, and
its ``probability``.
"""

from __future__ import annotations

import itertools
import math
from types import ModuleType
from typing import Any

import pydantic
import torch
from torch import Tensor

from stages.core.base.params import settings
from stages.core.demonstration import Table, WorkedExample

NULL = "∅"
NOTED = ("好棒", 6, 70)  # transcript, frames, paths
EXAMPLES = ("好好棒棒棒棒", "好∅∅棒∅∅", "∅好好∅棒棒", "好棒棒棒棒棒", "好棒∅棒棒∅", "好∅棒∅棒∅")


@settings
class Settings:
    """The ``transcripts`` to count paths of, over 1 to ``frames`` frames.

    ``features``, ``hidden``, ``updates``, ``learning_rate`` and ``seed`` are those of a small network that is trained
    on the first transcript alone.
    """

    transcripts: list[str] = pydantic.Field(min_length=1)
    frames: int = pydantic.Field(gt=0, le=9)
    features: int = pydantic.Field(gt=0)
    hidden: int = pydantic.Field(gt=0)
    updates: int = pydantic.Field(gt=0)
    learning_rate: float = pydantic.Field(gt=0)
    seed: int


def demonstrate(settings: Settings, lstm: ModuleType) -> WorkedExample:
    """Count, collapse, and train a network on all the alignments of one transcript at once."""
    frames = range(1, settings.frames + 1)
    counts = {text: {f"{time}": count(text, time) for time in frames} for text in settings.transcripts}
    fewest = {text: min(time for time in frames if counts[text][f"{time}"]["dynamic"]) for text in counts}
    losses, alignments = learn(lstm, settings)
    cells = [cell for by_frames in counts.values() for cell in by_frames.values()]
    text, time, noted = NOTED
    checks = {
        f"{text} over {time} frames has {noted} paths": count(text, time)["enumerated"] == noted,
        "writing every path out, dynamic programming and the formula agree": all(
            cell["enumerated"] == cell["dynamic"] == cell["formula"] for cell in cells
        ),
        "a transcript needs as many frames as labels, and one more for each equal pair of neighbours": all(
            fewest[text] == len(text) + repeats(text) for text in counts
        ),
        "with fewer frames the loss is infinite": all(
            torch_loss(torch.zeros(fewest[text] - 1, 1 + len(set(text))), text) == math.inf for text in counts
        ),
        "without a null, no path collapses to a transcript with equal neighbours": all(
            (cell["without_null"] == 0) == bool(repeats(text) or int(time) < len(text))
            for text, by_frames in counts.items()
            for time, cell in by_frames.items()
        ),
        "torch's loss is the sum over all paths, before and after training": all(
            math.isclose(both["by_paths"], both["by_torch"], rel_tol=1e-5) for both in losses.values()
        ),
        "training on all paths at once makes the transcript probable": alignments["after"]["probability"] > 0.9,
    }
    most = str(settings.frames)
    first = settings.transcripts[0]
    said = [f"{text} over {most} frames: {by_frames[most]['dynamic']} paths" for text, by_frames in counts.items()]
    return WorkedExample(
        notes=["N23"],
        title="Paths that collapse to a transcript",
        text="CTC gives every frame a symbol, merges repeats, and drops the nulls. All paths that collapse to the "
        "transcript count as right: those with nulls between the labels, and those that repeat a label. A null says "
        "“no label here”, not silence: between two equal labels there must be one even where nobody pauses, so a "
        "transcript of U labels, r of which equal the one before, needs at least U + r frames. The paths are never "
        "written out in training; a recursion over the transcript sums them. Here they are written out too, and "
        "counted by T + U - r over 2 U as well. A small LSTM is then trained on the one transcript "
        f"{first}, from noise of {settings.frames} frames.",
        expected="A null tells 好棒 from 好棒棒; every alignment counts; 好棒 over 6 frames has 70 paths.",
        found=f"{'; '.join(said)}. "
        f"Trained on {first}, its paths' probability rose from {alignments['before']['probability']:.2g} to "
        f"{alignments['after']['probability']:.3f}; half of it lay on {alignments['before']['paths']} paths at "
        f"first, and on {alignments['after']['paths']} in the end.",
        checks=checks,
        tables=[
            Table(
                "Paths that collapse to a transcript, by the number of frames",
                ["transcript", *map(str, frames), f"no null ({most})", f"no repeated label ({most})"],
                [
                    [
                        text,
                        *(by[f"{time}"]["dynamic"] for time in frames),
                        by[most]["without_null"],
                        by[most]["without_repeats"],
                    ]
                    for text, by in counts.items()
                ],
            ),
            Table("What paths collapse to", ["path", "transcript"], [[path, collapse(path)] for path in EXAMPLES]),
        ],
        data={
            "counts": counts,
            "fewest_frames": fewest,
            "collapsed": [[path, collapse(path)] for path in EXAMPLES],
            "losses": losses,
            "alignments": alignments,
        },
    )


def collapse(path: str) -> str:
    """Merge repeats, then drop nulls."""
    return "".join(symbol for symbol, _ in itertools.groupby(path) if symbol != NULL)


def repeats(text: str) -> int:
    """Count the labels that equal the one before."""
    return sum(a == b for a, b in itertools.pairwise(text))


def paths(text: str, time: int) -> list[str]:
    """Write out every path of ``time`` frames that collapses to ``text``."""
    symbols = [NULL, *sorted(set(text))]
    return [path for path in map("".join, itertools.product(symbols, repeat=time)) if collapse(path) == text]


def count(text: str, time: int) -> dict[str, int]:
    """Count the paths of ``time`` frames that collapse to ``text`` in each way, and those of two kinds."""
    written = paths(text, time)
    labels, twice = len(text), repeats(text)
    spare = time - labels - twice
    return {
        "enumerated": len(written),
        "dynamic": by_recursion(text, time),
        "formula": math.comb(time + labels - twice, 2 * labels) if spare >= 0 else 0,
        "without_null": sum(NULL not in path for path in written),
        "without_repeats": sum(len(path) - path.count(NULL) == labels for path in written),
    }


def by_recursion(text: str, time: int) -> int:
    """Count paths by CTC's forward variable (Graves et al. 2006, equations 6 to 8), with 1 for every probability."""
    states = [NULL, *itertools.chain.from_iterable((label, NULL) for label in text)]
    forward = [1, 1, *[0] * (len(states) - 2)]
    for _ in range(time - 1):
        forward = [
            forward[s]
            + (forward[s - 1] if s else 0)
            + (forward[s - 2] if s > 1 and states[s] not in (NULL, states[s - 2]) else 0)
            for s in range(len(states))
        ]
    return forward[-1] + forward[-2]


def torch_loss(scores: Tensor, text: str) -> float:
    """Give torch's CTC loss of ``text`` in nats by ``scores`` (frame, symbol: null, then the labels in order)."""
    return _loss(scores, text).item()


def _loss(scores: Tensor, text: str) -> Tensor:
    symbols = [NULL, *sorted(set(text))]
    target = torch.tensor([[symbols.index(label) for label in text]])
    lengths = torch.tensor([len(scores)]), torch.tensor([len(text)])
    return torch.nn.functional.ctc_loss(scores.log_softmax(dim=-1)[:, None], target, *lengths, reduction="sum")


def path_probabilities(scores: Tensor, text: str) -> list[float]:
    """Give the probability of each of ``paths``, largest first, by ``scores`` (frame, symbol)."""
    symbols = [NULL, *sorted(set(text))]
    logs = scores.detach().double().log_softmax(dim=-1).tolist()
    written = paths(text, len(logs))
    sums = [math.fsum(logs[t][symbols.index(symbol)] for t, symbol in enumerate(path)) for path in written]
    return sorted(map(math.exp, sums), reverse=True)


def learn(lstm: ModuleType, settings: Settings) -> tuple[dict[str, Any], dict[str, Any]]:
    """Train an LSTM on one utterance; gives the losses and what became of the alignments."""
    text = settings.transcripts[0]
    torch.manual_seed(settings.seed)
    network = lstm.build(lstm.Settings(hidden=settings.hidden), settings.features).double()
    output = torch.nn.Linear(settings.hidden, 1 + len(set(text)), dtype=torch.float64)
    heard = torch.randn(1, settings.frames, settings.features, dtype=torch.float64)
    optimizer = torch.optim.Adam([*network.parameters(), *output.parameters()], lr=settings.learning_rate)
    losses, alignments = {}, {}
    for update in range(settings.updates + 1):
        scores = output(network(heard, torch.tensor([settings.frames]))[0])[0]
        loss = _loss(scores, text)
        if update in (0, settings.updates):
            moment, chances = "after" if update else "before", path_probabilities(scores, text)
            losses[moment] = {"by_paths": -math.log(math.fsum(chances)), "by_torch": loss.item()}
            running = itertools.accumulate(chances)
            half = next(place for place, part in enumerate(running, start=1) if 2 * part >= math.fsum(chances))
            alignments[moment] = {"probability": math.fsum(chances), "paths": half, "of": len(chances)}
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return losses, alignments
