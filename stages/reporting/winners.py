"""Who wins: for each task the best network, what it is measured against, and whether the seeds tell them apart."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from stages.figures import results_table
from stages.reporting.results import Result, Section, Wing, badness


@dataclass(frozen=True)
class Contest:
    """A task's best network against its ``rival``.

    That is the best peer; where there is none, the best network of another kind, or else the next best network.
    """

    wing: Wing
    section: Section
    column: results_table.Column
    best: Result
    rival: Result | None

    @property
    def winner(self) -> Result | None:
        """The one each of whose seeds is better than every seed of the other; None where the seeds overlap."""
        if self.rival is None:
            return None
        ours, theirs = self._scores(self.best), self._scores(self.rival)
        if min(ours) > max(theirs):
            return self.best
        return self.rival if min(theirs) > max(ours) else None

    @property
    def outcome(self) -> str:
        """Who wins: "network" or "peer"; where two networks meet, the winner's kind; or why nobody does."""
        if self.rival is None:
            return "no rival"
        if self.winner is None:
            return "seeds overlap"
        if self.rival.peer:
            return "peer" if self.winner.peer else "network"
        return self.winner.family if self.winner.family != self.rival.family else "the better network"

    @property
    def margin(self) -> float | None:
        """By how much the network's mean is better than its rival's; below 0 where it is worse."""
        if self.rival is None:
            return None
        metric, sign = self.column.metric, -1 if self.column.lower_is_better else 1
        return sign * (self.best.metrics[metric]["mean"] - self.rival.metrics[metric]["mean"])

    def _scores(self, result: Result) -> list[float]:
        """Give each seed's figure, turned so that higher is better."""
        sign = -1 if self.column.lower_is_better else 1
        return [sign * result.metrics[self.column.metric][seed] for seed in result.seeds]


def contests(wings: Sequence[Wing]) -> list[Contest]:
    """Give every task's contest, in the order of the wings; a data set without a network has none."""
    found = [
        contest(wing, section, metric, results)
        for wing in wings
        for section in wing.sections
        for metric, results in section.headlines.items()
    ]
    return [one for one in found if one is not None]


def contest(wing: Wing, section: Section, metric: str, results: Sequence[Result]) -> Contest | None:
    """Choose network and rival among ``results``, which share the headline ``metric``."""
    networks = sorted((result for result in results if not result.peer), key=badness)
    if not networks:
        return None
    best = networks[0]
    peers = sorted((result for result in results if result.peer), key=badness)
    others = [result for result in networks if result.family != best.family]
    column = results_table.column(metric, [result.metrics[metric] for result in results])
    return Contest(wing, section, column, best, next(iter([*peers, *others, *networks[1:]]), None))


def tally(fights: Sequence[Contest]) -> str:
    """Say in a sentence how many tasks went to whom."""
    with_peer = [fight for fight in fights if fight.rival and fight.rival.peer]
    counts = Counter(fight.outcome for fight in with_peer)
    said = (
        f"Of {len(with_peer)} tasks with a peer, {counts['network']} go to a network and {counts['peer']} to the peer"
    )
    return f"{said}; in {counts['seeds overlap']} the seeds overlap, so that neither wins."


def winners_table(fights: Sequence[Contest]) -> str:
    """Write the contests as Markdown; the winner's figure is bold."""
    lines = [["Task", "Metric", "Best network", "Against", "Winner"], ["---"] * 5]
    for fight in fights:
        metric = f"{fight.column.heading} {'↓' if fight.column.lower_is_better else '↑'}"
        sides = [_side(fight, fight.best), _side(fight, fight.rival)]
        lines.append([f"{fight.wing.theme.title}: {fight.section.dataset}", metric, *sides, fight.outcome])
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n"


def _side(fight: Contest, result: Result | None) -> str:
    if result is None:
        return "–"
    figure = fight.column.spread(result.metrics[fight.column.metric])
    return f"`{result.key}` {f'**{figure}**' if result is fight.winner else figure}{' (peer)' * result.peer}"
