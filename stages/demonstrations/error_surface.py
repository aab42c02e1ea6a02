"""The error surface of a recurrent network with two parameters: plateaus, cliffs, and gradient descent (N14, N15, N16).

One tanh unit reads b at each of T steps: h_t = tanh(w h_{t-1} + b), from a fixed h_0; the loss is the squared distance
of h_T from a target. After Pascanu et al. (2013, section 2 and figure 6).

``data.shares.<clipping>.<learning rate>``: of all starts the shares (0 to 1) that ``left`` the map (by more than half
its width or height) at some step, that were ``thrown`` (one step longer than a quarter of the map's width), and that
``solved`` the task; ``largest_step`` (mean over starts of each one's largest). ``<clipping>`` is ``none``, ``value`` or
``norm``. ``data.turned.<clipping>``: the largest angle in degrees by which clipping turned a gradient of the map.
``data.kinds.<plateau|cliff>``: its ``share`` of the map, the ``median_gradient`` there, and the quartiles
``log10_growth`` of log10 of the largest |dh_T / dh_t| of any t < T: above 0 where the gradient exploded on its way
back. ``data.surface``: ``w``, ``b`` and ``loss`` (w, b), ``log10_gradient`` (w, b); ``data.paths.<clipping>``: the [w,
b] of a few starts, step by step.
"""

from __future__ import annotations

import itertools
import math
from types import ModuleType
from typing import Any, Literal, NamedTuple

import pydantic
import torch
from torch import Tensor

from stages.core.base.params import settings
from stages.core.demonstration import Table, WorkedExample

Clipping = Literal["none", "value", "norm"]
CLIPPINGS: tuple[Clipping, ...] = ("none", "value", "norm")
FLAT, STEEP = 1e-3, 20.0  # gradient norms below which the surface is a plateau, above which it is a cliff
SOLVED = 0.01  # loss
SAMPLED = 20000  # points of the map that tell plateaus and cliffs
SHOWN, SHOWN_STEPS = 3, 30  # paths, and their steps
Range = tuple[float, float]


@settings
class Settings:
    """``steps`` T, ``first`` h_0 and ``target``; the map's ranges ``w`` and ``b``, and points a side of its ``grid``.

    Gradient descent takes ``updates`` from each of ``starts`` points of the map (by ``seed``) with each of
    ``learning_rates``; ``threshold`` is that of clipping, by value and by norm.
    """

    steps: int = pydantic.Field(gt=1)
    first: float = pydantic.Field(gt=-1, lt=1)
    target: float = pydantic.Field(gt=-1, lt=1)
    w: Range
    b: Range
    grid: int = pydantic.Field(gt=1, le=60)
    starts: int = pydantic.Field(gt=0)
    updates: int = pydantic.Field(gt=0)
    learning_rates: list[float] = pydantic.Field(min_length=1)
    threshold: float = pydantic.Field(gt=0)
    seed: int


class Surface(NamedTuple):
    """The loss at points, its two derivatives, and the largest |dh_T / dh_t| of any t < T, each of one shape."""

    loss: Tensor
    by_w: Tensor
    by_b: Tensor
    growth: Tensor

    @property
    def norm(self) -> Tensor:
        """The gradient's norm."""
        return torch.hypot(self.by_w, self.by_b)


class Descent(NamedTuple):
    """Where gradient descent went: ``path`` (update + 1, start, 2: w and b), and what came of it, in shares."""

    path: Tensor
    shares: dict[str, float]


def demonstrate(settings: Settings, elman: ModuleType) -> WorkedExample:
    """Map the surface, tell plateaus from cliffs, and descend from many starts with and without clipping."""
    w, b = (torch.linspace(*side, settings.grid, dtype=torch.float64) for side in (settings.w, settings.b))
    surface = look(torch.stack(torch.meshgrid(w, b, indexing="ij"), dim=-1), settings)
    generator = torch.Generator().manual_seed(settings.seed)
    kinds = tell_kinds(settings, generator)
    starts = draw(settings.starts, settings, generator)
    runs = {
        clipping: {f"{rate:g}": descend(starts, rate, clipping, settings) for rate in settings.learning_rates}
        for clipping in CLIPPINGS
    }
    turned = {clipping: _turned(surface, clipping, settings.threshold) for clipping in CLIPPINGS}
    shares = {clipping: {rate: run.shares for rate, run in by.items()} for clipping, by in runs.items()}
    rates = list(shares["none"])
    fastest = max(rates, key=float)
    plateau, cliff = kinds["plateau"], kinds["cliff"]
    checks = {
        "our Elman network has the same loss and gradient": _same_as_ours(elman, starts[:5], settings),
        "the surface has both plateaus and cliffs": plateau["share"] > 0.01 and cliff["share"] > 0.001,
        "on plateaus the gradient shrinks from the first step back": plateau["log10_growth"][2] < 0,
        "on cliffs it grows on its way back": cliff["log10_growth"][0] > 0,
        "without clipping starts are thrown off the map, at every learning rate": all(
            shares["none"][rate]["left"] > max(shares[clipping][rate]["left"] for clipping in ("value", "norm"))
            for rate in rates
        ),
        "clipping by norm leaves the direction, clipping by value does not": turned["norm"]
        < 1e-4
        < 1
        < turned["value"],
        "clipped descent solves at least as many starts": all(
            min(shares[clipping][rate]["solved"] for clipping in ("value", "norm")) >= shares["none"][rate]["solved"]
            for rate in rates
        ),
    }
    return WorkedExample(
        notes=["N14", "N15", "N16"],
        title="Plateaus and cliffs of an error surface",
        text=f"A tanh unit reads the same value b for {settings.steps} steps, h = tanh(w h + b); the loss is the "
        f"squared distance of its last state from {settings.target:g}, a function of w and b alone. Almost "
        "everywhere it is nearly flat; along a few lines it is a wall. Notes of this kind sometimes mix the two up: "
        "the flat part, the plateau, is where the gradient vanished on its way back through time, and the wall, the "
        "cliff, is where it exploded (Pascanu et al. 2013). A step taken on the cliff throws the parameters far "
        "away, as no small learning rate can prevent without standing still on the plateau. Clipping cuts such a "
        "step to a threshold: each value for itself, which turns it, or the whole by its norm, which does not.",
        expected="The error surface is very flat or very steep; clipping keeps a step on a cliff from throwing the "
        "parameters far away.",
        found=f"With learning rate {fastest}, {shares['none'][fastest]['left']:.1%} of {settings.starts} starts "
        f"leave the map without clipping, {shares['value'][fastest]['left']:.1%} clipped by value, "
        f"{shares['norm'][fastest]['left']:.1%} by norm. Plateaus cover {plateau['share']:.1%} of the map, cliffs "
        f"{cliff['share']:.2%}.",
        checks=checks,
        tables=[
            Table(
                f"Gradient descent from {settings.starts} starts, {settings.updates} updates, in percent of the starts",
                ["clipping", "learning rate", "left the map", "thrown by one step", "solved", "largest step (mean)"],
                [
                    [
                        clipping,
                        rate,
                        *(f"{100 * row[name]:.1f}" for name in ("left", "thrown", "solved")),
                        f"{row['largest_step']:.3g}",
                    ]
                    for clipping, by in shares.items()
                    for rate, row in by.items()
                ],
            ),
            Table(
                "Plateaus and cliffs",
                ["", "gradient norm", "share of the map (%)", "median norm", "largest |dh_T / dh_t| (median)"],
                [
                    [kind, bound, f"{100 * row['share']:.2f}", f"{row['median_gradient']:.2g}",
                     f"{10 ** row['log10_growth'][1]:.2g}"]
                    for (kind, row), bound in zip(
                        kinds.items(), (f"below {FLAT:g}, loss above {SOLVED:g}", f"above {STEEP:g}"), strict=True
                    )
                ],
            ),
        ],
        data={
            "shares": shares,
            "turned": turned,
            "kinds": kinds,
            "surface": {
                "w": w.tolist(),
                "b": b.tolist(),
                "loss": surface.loss.tolist(),
                "log10_gradient": surface.norm.clamp(min=1e-12).log10().tolist(),
            },
            "paths": _paths({clipping: by[fastest] for clipping, by in runs.items()}, settings),
            "paths_learning_rate": float(fastest),
        },
    )  # fmt: skip


def look(points: Tensor, settings: Settings) -> Surface:
    """Give the loss and its derivatives at ``points`` (..., 2: w and b), by backpropagation through time."""
    w, b = (side.clone().requires_grad_() for side in points.unbind(-1))
    h = torch.full_like(w, settings.first)
    slopes = []  # dh_t / dh_{t-1}
    for _ in range(settings.steps):
        h = torch.tanh(w * h + b)
        slopes.append((w * (1 - h.square())).detach().abs())
    loss = (h - settings.target).square()
    by_w, by_b = torch.autograd.grad(loss.sum(), (w, b))
    growth = torch.stack(slopes[::-1]).cumprod(dim=0).amax(dim=0)
    return Surface(loss.detach(), by_w, by_b, growth)


def clip(by_w: Tensor, by_b: Tensor, clipping: Clipping, threshold: float) -> tuple[Tensor, Tensor]:
    """Cut each derivative, or the norm of the two, to ``threshold``."""
    if clipping == "value":
        return by_w.clamp(-threshold, threshold), by_b.clamp(-threshold, threshold)
    if clipping == "norm":
        scale = (threshold / torch.hypot(by_w, by_b).clamp(min=1e-300)).clamp(max=1)
        return by_w * scale, by_b * scale
    return by_w, by_b


def draw(size: int, settings: Settings, generator: torch.Generator) -> Tensor:
    """Draw points (size, 2: w and b) evenly from the map."""
    low, high = (torch.tensor([settings.w[end], settings.b[end]], dtype=torch.float64) for end in (0, 1))
    return low + (high - low) * torch.rand(size, 2, generator=generator, dtype=torch.float64)


def descend(starts: Tensor, rate: float, clipping: Clipping, settings: Settings) -> Descent:
    """Go down from ``starts`` (start, 2: w and b)."""
    path = [starts]
    for _ in range(settings.updates):
        found = look(path[-1], settings)
        step = torch.stack(clip(found.by_w, found.by_b, clipping, settings.threshold), dim=1)
        path.append(path[-1] - rate * step)
    walked = torch.stack(path)
    steps = (walked[1:] - walked[:-1]).norm(dim=2).amax(dim=0)
    low, high = (torch.tensor([settings.w[end], settings.b[end]], dtype=torch.float64) for end in (0, 1))
    outside = ((walked - (low + high) / 2).abs() > high - low).any(dim=2).any(dim=0)
    loss = look(walked[-1], settings).loss
    shares = {
        "left": outside,
        "thrown": steps > (settings.w[1] - settings.w[0]) / 4,
        "solved": loss < SOLVED,
    }
    said = {name: which.double().mean().item() for name, which in shares.items()}
    return Descent(walked, said | {"largest_step": steps.mean().item()})


def tell_kinds(settings: Settings, generator: torch.Generator) -> dict[str, dict[str, Any]]:
    """Find plateaus and cliffs among points of the map, and what became of the gradient through time on them."""
    found = look(draw(SAMPLED, settings, generator), settings)
    masks = {"plateau": (found.norm < FLAT) & (found.loss > SOLVED), "cliff": found.norm > STEEP}
    quartiles = torch.tensor([0.25, 0.5, 0.75], dtype=torch.float64)
    return {
        kind: {
            "share": mask.double().mean().item(),
            "median_gradient": found.norm[mask].median().item(),
            "log10_growth": found.growth[mask].clamp(min=1e-300).log10().quantile(quartiles).tolist(),
        }
        for kind, mask in masks.items()
    }


def _turned(surface: Surface, clipping: Clipping, threshold: float) -> float:
    by_w, by_b = clip(surface.by_w, surface.by_b, clipping, threshold)
    across = surface.by_w * by_b - surface.by_b * by_w
    along = surface.by_w * by_w + surface.by_b * by_b
    return math.degrees(torch.atan2(across.abs(), along).max().item())


def _same_as_ours(elman: ModuleType, points: Tensor, settings: Settings) -> bool:
    """Say whether our Elman network, which reads 1 by the weight b, has the loss and derivatives at ``points``."""
    found = look(points, settings)
    for place, (w, b) in enumerate(points.tolist()):
        network = elman.build(elman.Settings(hidden=1), 1).double()
        cell = network.forwards[0]
        values = {cell.weight_hh_l0: w, cell.weight_ih_l0: b, cell.bias_ih_l0: 0, cell.bias_hh_l0: 0}
        with torch.no_grad():
            for parameter, value in values.items():
                parameter.fill_(value)
        inputs = torch.ones(1, settings.steps, 1, dtype=torch.float64)
        state = [torch.full((1, 1, 1), settings.first, dtype=torch.float64)]
        outputs, _ = network(inputs, torch.tensor([settings.steps]), state)
        loss = (outputs[0, -1, 0] - settings.target).square()
        gradient = torch.autograd.grad(loss, (cell.weight_hh_l0, cell.weight_ih_l0))
        ours = (loss.item(), gradient[0].item(), gradient[1].item())
        looked = (found.loss[place].item(), found.by_w[place].item(), found.by_b[place].item())
        if not all(math.isclose(a, c, rel_tol=1e-6, abs_tol=1e-12) for a, c in zip(ours, looked, strict=True)):
            return False
    return True


def _paths(runs: dict[Clipping, Descent], settings: Settings) -> dict[str, list[list[list[float]]]]:
    """Take the starts that descent without clipping throws farthest, but not on its first update."""
    steps = (runs["none"].path[1:] - runs["none"].path[:-1]).norm(dim=2)
    early = steps[0] > (settings.w[1] - settings.w[0]) / 4
    reach = steps[:SHOWN_STEPS].amax(dim=0).masked_fill(early, 0)
    chosen = reach.argsort(descending=True, stable=True)[:SHOWN].tolist()
    return {
        clipping: [
            [point for point, _ in itertools.groupby(run.path[: SHOWN_STEPS + 1, start].tolist())] for start in chosen
        ]
        for clipping, run in runs.items()
    }
