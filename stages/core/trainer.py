"""One training: seeded, logged, checkpointed, and resumed to the same bits after a kill.

Every epoch draws its randomness from generators seeded by (seed, epoch), so that a training that goes on from the end
of an epoch does just what an uninterrupted one would have done.
"""

from __future__ import annotations

import hashlib
import logging
import math
import random
import sys
import time
import warnings
from collections import deque
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytorch_lightning as pl
import torch
from dvclive.lightning import DVCLiveLogger
from pytorch_lightning.callbacks import Callback, EarlyStopping, ModelCheckpoint
from torch import Tensor
from torch.utils.data import DataLoader

from stages.core.base.errors import InputError
from stages.core.learning.dataset import Example
from stages.core.learning.task import Batch, Task, Training

GROUP = 16  # batches of a step of Lightning's loop


def prepare_process() -> None:
    """Set one thread and deterministic algorithms, and silence Lightning's advice about workers and devices."""
    torch.set_num_threads(1)
    logging.getLogger("pytorch_lightning").setLevel(logging.WARNING)
    logging.getLogger("dvclive").setLevel(logging.ERROR)
    for advice in (
        ".*does not have many workers.*",
        ".*LeafSpec.*",
        ".*log_every_n_steps.*",
        ".*Checkpoint directory.*",
    ):
        warnings.filterwarnings("ignore", advice)


def derived_seed(*parts: int | str) -> int:
    """Mix ``parts`` into one seed of 63 bits, so that near seeds give unrelated streams."""
    digest = hashlib.sha256("/".join(map(str, parts)).encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1


def seed_everything(*parts: int | str) -> None:
    """Seed Python's, NumPy's and torch's global generators from ``parts``."""
    seed = derived_seed(*parts)
    random.seed(seed)
    np.random.seed(seed % 2**32)
    torch.manual_seed(seed)


def batches(
    examples: list[Example], task: Task, size: int, bucket: int, generator: torch.Generator
) -> list[list[Example]]:
    """Shuffle ``examples`` into batches of at most ``size``, each of about (``bucket`` 0: exactly) one length."""
    order = torch.randperm(len(examples), generator=generator).tolist()
    sizes = [task.size(example) for example in examples]
    window = size * bucket if bucket else len(order)
    groups: list[list[int]] = []
    for start in range(0, len(order), window):
        chunk = sorted(order[start : start + window], key=sizes.__getitem__)
        groups.extend(_cut(chunk, size, sizes, exact=bucket == 0))
    return [[examples[i] for i in groups[g]] for g in torch.randperm(len(groups), generator=generator).tolist()]


def _cut(chunk: list[int], size: int, sizes: list[int], exact: bool) -> list[list[int]]:
    groups: list[list[int]] = []
    for index in chunk:
        full = not groups or len(groups[-1]) == size
        if full or (exact and sizes[groups[-1][0]] != sizes[index]):
            groups.append([])
        groups[-1].append(index)
    return groups


def padding_share(grouped: list[list[Example]], task: Task) -> float:
    """Share of the steps in ``grouped`` batches that are padding."""
    sizes = [[task.size(example) for example in batch] for batch in grouped]
    steps = sum(max(batch) * len(batch) for batch in sizes)
    return 1 - sum(map(sum, sizes)) / steps


def build_optimizer(module: torch.nn.Module, plan: Training) -> torch.optim.Optimizer:
    """Build the optimizer that ``plan`` names, over all of the module's parameters."""
    parameters = module.parameters()
    if plan.optimizer == "rmsprop":
        return torch.optim.RMSprop(
            parameters,
            lr=plan.learning_rate,
            alpha=plan.alpha,
            momentum=plan.momentum,
            weight_decay=plan.weight_decay,
        )
    kind = torch.optim.AdamW if plan.optimizer == "adamw" else torch.optim.Adam
    return kind(parameters, lr=plan.learning_rate, weight_decay=plan.weight_decay, fused=True)


class Fitting(pl.LightningModule):
    """What Lightning trains: ``task``, by ``plan``."""

    # Lightning does some 3 ms of its own work a step, a third of a small network's update. So a step is a group of
    # batches, an update each, and the updates are made here.
    automatic_optimization = False

    def __init__(self, task: Task, plan: Training) -> None:
        super().__init__()
        self.task, self.plan = task, plan
        self.losses: list[tuple[float, int]] = []  # of the epoch's updates: mean, and of how many items
        self.norms: list[float] = []

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Build the optimizer."""
        return build_optimizer(self.task, self.plan)

    def training_step(self, batches: list[Batch], index: int) -> None:
        """Make an update for each of ``batches``, the group ``index`` of the epoch."""
        optimizer: Any = self.optimizers()
        for place, batch in enumerate(batches):
            share = (index + place / len(batches)) / self.trainer.num_training_batches
            self.task.prepare_update(self.trainer.optimizers[0], self.current_epoch + share)
            optimizer.zero_grad()
            loss, items = self.task.loss(batch)
            self.losses.append((float(loss.detach()), items))
            self.manual_backward(loss)
            optimizer.step()

    def on_before_optimizer_step(self, optimizer: torch.optim.Optimizer) -> None:
        """Clip the gradient by its global norm; raises InputError where loss or gradient is not finite."""
        norm = float(torch.nn.utils.clip_grad_norm_(self.parameters(), self.plan.clip_norm))
        loss = self.losses[-1][0]
        if not (math.isfinite(norm) and math.isfinite(loss)):
            raise InputError(
                f"training diverged at epoch {self.current_epoch + 1}, update {self.global_step + 1}: the loss is "
                f"{loss:.4g} and the gradient's norm {norm:.4g}, where both must be finite; a lower "
                "training.learning_rate or clip_norm may help"
            )
        self.norms.append(norm)

    def training_scores(self) -> dict[str, float]:
        """Give the mean loss an item and the mean norm of the gradient an update, since the last call."""
        items = sum(count for _, count in self.losses)
        scores = {
            f"training_{self.task.loss_name}": sum(loss * count for loss, count in self.losses) / items,
            "gradient_norm": sum(self.norms) / len(self.norms),
        }
        self.losses, self.norms = [], []
        return scores

    def validation_step(self, batch: Batch, batch_index: int) -> None:
        """Compute and log the validation loss; where something else is trained first, its loss, and none (NaN)."""
        loss, items = self.task.loss(batch)
        name = self.task.loss_name
        self.log(f"validation_{name}", loss, batch_size=items, prog_bar=True)
        if name != "loss":
            self.log("validation_loss", loss * torch.nan, batch_size=items, prog_bar=True)
        self.task.validation_update(batch)

    def on_validation_epoch_end(self) -> None:
        """Log the task's own validation scores."""
        self.log_dict(self.task.validation_scores(), prog_bar=True)

    def on_train_epoch_end(self) -> None:
        """Let the task end its epoch."""
        self.task.end_epoch()


class EpochBatches(pl.LightningDataModule):
    """Training batches drawn afresh each epoch from (seed, epoch), and validation batches sorted by length."""

    def __init__(self, task: Task, train: list[Example], validation: list[Example], plan: Training, seed: int) -> None:
        super().__init__()
        self.task, self.train_examples, self.plan, self.seed = task, train, plan, seed
        self.validation_batches = batches(validation, task, 4 * plan.batch_size, plan.bucket, torch.Generator())
        self.padding_share = 0.0

    def train_dataloader(self) -> DataLoader[list[Batch]]:
        """Begin the trainer's current epoch: draw and batch its examples; gives ``GROUP`` batches at a time."""
        assert self.trainer is not None
        self.task.current_epoch = self.trainer.current_epoch
        generator = torch.Generator().manual_seed(derived_seed(self.seed, self.task.current_epoch, "draw"))
        examples = self.task.draw(self.train_examples, generator)
        grouped = batches(examples, self.task, self.plan.batch_size, self.plan.bucket, generator)
        self.padding_share = padding_share(grouped, self.task)
        steps = [grouped[start : start + GROUP] for start in range(0, len(grouped), GROUP)]
        collate = lambda step: [self.task.collate(batch) for batch in step]
        # With a generator of its own: an iterator draws a seed, else from the global generator, and Lightning makes one
        # more of them in an epoch that goes on from another than in one that a training is resumed at.
        return DataLoader(steps, batch_size=None, collate_fn=collate, generator=generator)  # type: ignore[arg-type]

    def val_dataloader(self) -> DataLoader[Batch]:
        """Batch the validation examples, always alike."""
        return DataLoader(self.validation_batches, batch_size=None, collate_fn=self.task.collate)  # type: ignore[arg-type]


class EpochLogger(DVCLiveLogger):
    """DVCLive's logger, told that each call ends an epoch: else it walks the call stack, 80 ms a time, to find out.

    The step of a score is the epoch, from 1.
    """

    def log_metrics(self, metrics: Any, step: int | None = None, sync: bool | None = True) -> None:
        """Log the scores of an epoch."""
        super().log_metrics(metrics, int(metrics["epoch"]) + 1, sync=True)


class Epochs(Callback):
    """Seed each epoch, log its training scores, count seconds across resumptions, and say where the training is."""

    def __init__(self, label: str, seed: int) -> None:
        self.label, self.seed = label, seed
        self.seconds = 0.0
        self.epochs = 0
        self.since = time.monotonic()

    def on_train_epoch_start(self, trainer: pl.Trainer, fitting: pl.LightningModule) -> None:
        """Seed the epoch."""
        seed_everything(self.seed, trainer.current_epoch)

    def on_train_epoch_end(self, trainer: pl.Trainer, fitting: pl.LightningModule) -> None:
        """Log, count and tell."""
        assert isinstance(fitting, Fitting)
        scores = {**fitting.training_scores(), "padding_share": trainer.datamodule.padding_share}  # type: ignore[attr-defined]
        fitting.log_dict(scores, prog_bar=True)
        elapsed = time.monotonic()
        self.seconds, self.since = self.seconds + elapsed - self.since, elapsed
        self.epochs = trainer.current_epoch + 1
        if not sys.stderr.isatty():
            known = {name: float(value) for name, value in trainer.callback_metrics.items()} | scores
            shown = dict.fromkeys(("training_loss", "validation_loss", fitting.task.monitor))
            figures = "  ".join(f"{name} {known[name]:.4f}" for name in shown if name in known)
            print(
                f"{self.label}  epoch {self.epochs}/{trainer.max_epochs}  {figures}  {self.seconds:.0f} s", flush=True
            )

    def state_dict(self) -> dict[str, Any]:
        """Give what a checkpoint keeps of this callback."""
        return {"seconds": self.seconds, "epochs": self.epochs}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on counting from a checkpoint."""
        self.seconds, self.epochs = state["seconds"], state["epochs"]


class Average(Callback):
    """Keep the weights of the last ``count`` epochs of ``task``; in checkpoints too, so that a resumption has them."""

    def __init__(self, task: Task, count: int) -> None:
        self.task = task
        self.kept: deque[dict[str, Tensor]] = deque(maxlen=count)

    def on_train_epoch_end(self, trainer: pl.Trainer, fitting: pl.LightningModule) -> None:
        """Keep the epoch's weights, if they are of what is to be trained."""
        if self.task.loss_name == "loss":
            self.kept.append({name: weight.detach().cpu().clone() for name, weight in self.task.named_parameters()})

    def apply(self) -> None:
        """Set each weight to the mean of those kept; buffers, such as statistics of the data, stay as they are."""
        for name, weight in self.task.named_parameters():
            mean = torch.stack([weights[name] for weights in self.kept]).mean(dim=0, dtype=torch.float64)
            weight.data.copy_(mean)

    def state_dict(self) -> dict[str, Any]:
        """Give what a checkpoint keeps of this callback."""
        return {"kept": list(self.kept)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from a checkpoint."""
        self.kept.extend(state["kept"])


class Patience(EarlyStopping):
    """Early stopping that counts no epoch whose score is NaN, as those are that train something else first."""

    def on_train_epoch_end(self, trainer: pl.Trainer, fitting: pl.LightningModule) -> None:
        """Count the epoch."""
        if not trainer.callback_metrics[self.monitor].isnan():
            super().on_train_epoch_end(trainer, fitting)


def fit(
    task: Task, train: list[Example], validation: list[Example], plan: Training, seed: int, folder: Path, label: str
) -> dict[str, float]:
    """Train ``task`` in place, keep what a resumption needs in ``folder``, and give {"seconds", "epochs"}.

    The task ends with the weights of its best epoch on validation (one whose score is NaN is never the best but where
    all are), or with the mean of its last ones, as ``plan`` says; ``folder``/learning_curve.csv has a row an epoch.
    Call again with the same arguments after a kill, and it goes on from the last whole epoch.
    Raises InputError where the task cannot be trained so, or its loss does not stay finite.
    """
    task.prepare_training(plan, train, validation)
    epochs, average = Epochs(label, seed), Average(task, plan.average)
    checkpoint: dict[str, Any] = {"dirpath": folder, "save_on_train_epoch_end": True, "enable_version_counter": False}
    best = ModelCheckpoint(filename="best", monitor=task.monitor, mode=task.monitor_mode, **checkpoint)
    callbacks: list[Callback] = [epochs, best if plan.average == 1 else average]
    if plan.patience:
        callbacks.append(
            Patience(task.monitor, mode=task.monitor_mode, patience=plan.patience, check_on_train_epoch_end=True)
        )
    # A callback of its own: with save_last, ``best`` would keep the last epoch only where that is the best so far.
    callbacks.append(ModelCheckpoint(filename="last", **checkpoint))
    last = folder / "last.ckpt"
    logger = EpochLogger(
        dir=str(folder / "dvclive"), dvcyaml=False, save_dvc_exp=False, log_model=False, resume=last.exists()
    )
    trainer = pl.Trainer(
        accelerator="auto",
        devices=1,
        max_epochs=plan.epochs,
        callbacks=callbacks,
        logger=logger,
        deterministic="warn",
        num_sanity_val_steps=0,
        reload_dataloaders_every_n_epochs=1,
        enable_model_summary=False,
        enable_progress_bar=sys.stderr.isatty(),
        use_distributed_sampler=False,
    )
    data, fitting = EpochBatches(task, train, validation, plan, seed), Fitting(task, plan)
    trainer.fit(fitting, datamodule=data, ckpt_path=str(last) if last.exists() else None, weights_only=False)
    task.cpu().eval()
    if plan.average == 1:
        fitting.load_state_dict(torch.load(best.best_model_path, weights_only=False, map_location="cpu")["state_dict"])
    else:
        average.apply()
        scores = validate(task, data.validation_batches)
        shown = dict.fromkeys(("validation_loss", task.monitor))
        figures = "  ".join(f"{name} {scores[name]:.4f}" for name in shown)
        print(f"{label}  mean of the last {len(average.kept)} epochs  {figures}", flush=True)
    write_curve(folder)
    return {"seconds": round(epochs.seconds, 2), "epochs": epochs.epochs}


def validate(task: Task, grouped: list[list[Example]]) -> dict[str, float]:
    """Give the validation scores, the loss first, of a trained ``task`` on batches of examples."""
    total, items = 0.0, 0
    with torch.inference_mode():
        for examples in grouped:
            batch = task.collate(examples)
            loss, count = task.loss(batch)
            total, items = total + float(loss) * count, items + count
            task.validation_update(batch)
        return {"validation_loss": total / items, **task.validation_scores()}


def fit_peer(task: Task, train: list[Example], validation: list[Example], folder: Path, label: str) -> dict[str, float]:
    """Fit the peer of ``task`` at once, write a learning curve of one row to ``folder``, and give {"seconds"}."""
    started = time.monotonic()
    task.fit_peer(train)
    seconds = time.monotonic() - started
    task.eval()
    training_loss, _ = task.loss(task.collate(train))
    scores = {"epoch": 1.0, "training_loss": float(training_loss), **validate(task, [validation])}
    folder.mkdir(parents=True, exist_ok=True)
    curve = pd.DataFrame([scores]).round(6).astype({"epoch": int})
    curve.to_csv(folder / "learning_curve.csv", index=False, lineterminator="\n")
    print(f"{label}  {task.monitor} {scores[task.monitor]:.4f}  {seconds:.0f} s", flush=True)
    return {"seconds": round(seconds, 2)}


def write_curve(folder: Path) -> None:
    """Gather what DVCLive logged an epoch into learning_curve.csv: epoch (from 1), then a column a score."""
    columns = {}
    for path in sorted((folder / "dvclive" / "plots" / "metrics").glob("*.tsv")):
        log = pd.read_csv(path, sep="\t").drop_duplicates("step", keep="last").set_index("step")
        columns[path.stem] = log[path.stem]
    curve = pd.DataFrame(columns).sort_index().drop(columns="epoch").rename_axis("epoch").round(6)
    first = [name for name in ("training_loss", "validation_loss") if name in curve]
    curve[[*first, *sorted(map(str, set(curve) - set(first)))]].to_csv(
        folder / "learning_curve.csv", lineterminator="\n"
    )
