"""Training target tokens a second and beam-5 sentences a second, ours over JoeyNMT's, in one run on one thread.

    python -m venv FOLDER && FOLDER/bin/pip install joeynmt==2.3.0
    python tests/benchmarks/sequence_to_sequence.py FOLDER/bin/python [SENTENCES [ROUNDS]]

Both train an encoder-decoder on the first SENTENCES (default: 4,000) of data/prepared/messages (``dvc repro
prepare@messages`` makes it), of words as sources and characters as targets, for EPOCHS epochs in batches of 96, and
then translate the first TRANSLATED validation sentences with a beam of 5. A bidirectional GRU of 192 units a direction,
a GRU of 192 units, embeddings of 128, additive attention of 192 units, dropout, Adam, label smoothing, clipping, and
symbols that must stand twice in training: all alike. So are the search's penalty (1) and limits (60 symbols, no <unk>).

They take turns, ROUNDS (default: 3) times, and a ratio is the median over the rounds. Seconds are the process's CPU
time, which other processes disturb less than the clock. Loading and the making of vocabularies are not counted. A
target token is a character or the stop symbol.

What differs:

- JoeyNMT feeds its attention's output back to the decoder (input feeding), so that it goes through a target step by
  step. Ours looks from the decoder's output and goes through it at once ("at once"); "input feeding" is ours made to
  feed too, the same network as JoeyNMT's but for a bias of the energies and one of the output. JoeyNMT also puts </s>
  after a source.
- Ours makes batches of like length, in training by the target and in translation by the source; JoeyNMT takes them as
  they come. Ours also computes the validation loss of a batch after every epoch; JoeyNMT is not made to.
- JoeyNMT ends a sentence's search when its best hypothesis has finished; ours when no live one can beat the best one.
  Each translates with what it has learnt, so the mean length of what they write is given too.
"""

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import torch

from stages.core import trainer
from stages.core.base.errors import InputError, run
from stages.core.learning import artifact
from stages.core.learning.dataset import Example, read_split
from stages.core.learning.task import Task, Training
from stages.core.learning.vocabulary import tokens
from stages.decoding import beam_search
from stages.tasks import sequence_to_sequence

DATA = Path("data/prepared/messages")
SENTENCES, EPOCHS, TRANSLATED, ROUNDS = 4000, 6, 500, 3
BATCH, BEAM, LONGEST, PENALTY = 96, 5, 60, 1.0
EMBEDDING, HIDDEN, DROPOUT, SMOOTHING, RATE, CLIP = 128, 192, 0.15, 0.1, 0.003, 5.0
VARIANTS: dict[str, dict[str, Any]] = {"at once": {}, "input feeding": {"input_feeding": True}}

# What JoeyNMT reads, but for the folder.
RECURRENT = {"type": "recurrent", "rnn_type": "gru", "hidden_size": HIDDEN, "num_layers": 1, "dropout": DROPOUT}
EMBEDDED = {"embeddings": {"embedding_dim": EMBEDDING, "dropout": DROPOUT}}
JOEY: dict[str, Any] = {
    "name": "benchmark",
    "use_cuda": False,
    "random_seed": 1,
    "data": {
        "dataset_type": "plain",
        "src": {"lang": "source", "level": "word", "voc_min_freq": 2},
        "trg": {"lang": "target", "level": "char", "voc_min_freq": 2},
    },
    "model": {
        "encoder": RECURRENT | EMBEDDED | {"bidirectional": True},
        "decoder": RECURRENT
        | EMBEDDED
        | {"attention": "bahdanau", "input_feeding": True, "init_hidden": "bridge", "hidden_dropout": DROPOUT},
    },
    "training": {
        "optimizer": "adam",
        "learning_rate": RATE,
        "scheduling": "exponential",  # it has no constant rate, and its other schedules stumble over today's torch
        "decrease_factor": 1.0,
        "clip_grad_norm": CLIP,
        "normalization": "tokens",
        "label_smoothing": SMOOTHING,
        "batch_size": BATCH,
        "epochs": EPOCHS,
        "validation_freq": 1_000_000,
        "shuffle": True,
    },
    "testing": {
        "batch_size": BATCH,
        "beam_size": BEAM,
        "beam_alpha": PENALTY,
        "max_output_length": LONGEST,
        "min_output_length": 0,
        "generate_unk": False,
        "eval_metrics": [],
    },
}

# Runs in JoeyNMT's own environment: train FOLDER, translate, and print seconds and what was written.
PEER = """
import json, logging, sys, time, torch
from pathlib import Path
torch.set_num_threads(1)
from joeynmt.config import parse_global_args, set_validation_args
from joeynmt.prediction import predict, prepare
from joeynmt.training import TrainManager
logging.disable(logging.WARNING)
args = parse_global_args(json.loads(sys.argv[1]), mode="train")
args.model_dir.mkdir()
model, train, validation, _ = prepare(args, rank=0, mode="train")
manager = TrainManager(
    model=model, model_dir=args.model_dir, device=args.device, n_gpu=0, rank=0, num_workers=0, autocast=args.autocast,
    seed=args.seed, train_args=args.train, dev_args=set_validation_args(args.test),
)
began = time.process_time()
manager.train_and_validate(train_data=train, valid_data=validation)
trained = time.process_time()
with torch.inference_mode():
    said = predict(model, validation, args.device, 0, args=args.test, autocast=args.autocast)
seconds = time.process_time() - trained
print("SAID", json.dumps({
    "training": trained - began, "search": seconds, "written": said[2],
    "parameters": sum(parameter.numel() for parameter in model.parameters()),
}))
"""


def write_texts(folder: Path, examples: dict[str, list[Example]]) -> None:
    """Write a sentence a line, the words of sources apart."""
    for split, some in examples.items():
        sources = [" ".join(tokens(example["source"], "word")) for example in some]
        for side, lines in (("source", sources), ("target", [example["target"] for example in some])):
            (folder / f"{split}.{side}").write_text("\n".join(lines) + "\n", encoding="utf-8")


def theirs(python: str, examples: dict[str, list[Example]]) -> dict[str, Any]:
    """Train JoeyNMT and translate with it: "training" and "search" in seconds, what was "written", "parameters"."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_texts(folder, examples)
        data = JOEY["data"] | {"train": str(folder / "train"), "dev": str(folder / "validation")}
        config = JOEY | {"data": data, "model_dir": str(folder / "model")}
        one = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
        command = [python, "-c", PEER, json.dumps(config)]
        said = subprocess.run(command, capture_output=True, text=True, check=False, env=os.environ | one, cwd=folder)
    if said.returncode:
        raise InputError(f"JoeyNMT failed: {said.stderr.strip().splitlines()[-1]}")
    told: dict[str, Any] = json.loads(said.stdout.rpartition("SAID")[2])
    return told


def ours(examples: dict[str, list[Example]], variant: str) -> dict[str, Any]:
    """Do the same with ours, through the trainer and the decoder that the pipeline uses."""
    model = {"name": "encoder_decoder", "cell": "gru", "hidden": HIDDEN, "attention": "additive"}
    task_settings = {"embedding": EMBEDDING, "dropout": DROPOUT, "label_smoothing": SMOOTHING}
    config = {
        "task": {"name": "sequence_to_sequence", **task_settings},
        "model": {**model, "attention_size": HIDDEN, "dropout": DROPOUT, **VARIANTS[variant]},
    }
    settings = sequence_to_sequence.Settings(**task_settings)  # type: ignore[arg-type]
    trainer.seed_everything(1)
    vocabularies = sequence_to_sequence.fit_vocabularies(examples["train"], settings)
    task = artifact.build_task(config, vocabularies, "benchmark")
    plan = Training(seeds=[1], learning_rate=RATE, batch_size=BATCH, epochs=EPOCHS, clip_norm=CLIP)
    with tempfile.TemporaryDirectory() as folder:
        began = time.process_time()
        trainer.fit(task, examples["train"], examples["validation"][:BATCH], plan, 1, Path(folder), variant)
        trained = time.process_time()
    written = translate(task, examples["validation"])
    seconds = {"training": trained - began, "search": time.process_time() - trained}
    return {**seconds, "written": written, "parameters": artifact.count_parameters(task)}


def translate(task: Task, examples: list[Example]) -> list[str]:
    """Translate in batches by the source's length; gives the translations in order."""
    settings = beam_search.Settings(
        beam=BEAM, length_penalty=PENALTY, length_factor=0.0, length_offset=LONGEST, maximum=LONGEST
    )
    # As a person has them, who has no targets.
    sources = [{"id": example["id"], "source": example["source"]} for example in examples]
    order = sorted(range(len(sources)), key=lambda place: len(tokens(sources[place]["source"], "word")))
    written: dict[int, str] = {}
    with torch.inference_mode():
        for start in range(0, len(order), BATCH):
            chosen = order[start : start + BATCH]
            found = beam_search.decode(task, task.collate([sources[place] for place in chosen]), settings)  # type: ignore[arg-type]
            written |= {place: said["prediction"] for place, said in zip(chosen, found, strict=True)}
    return [written[place] for place in range(len(sources))]


def main() -> None:
    """Print tokens and sentences a second of all, and the ratios."""
    if len(sys.argv) < 2:
        raise InputError("give the Python of an environment that has joeynmt 2.3.0")
    trainer.prepare_process()
    given = [int(number) for number in sys.argv[2:]]
    sentences, rounds = given + [SENTENCES, ROUNDS][len(given) :]
    examples = {
        "train": read_split(DATA, "train")[:sentences],
        "validation": read_split(DATA, "validation")[:TRANSLATED],
    }
    counted = EPOCHS * sum(len(example["target"]) + 1 for example in examples["train"])
    runs: dict[str, list[dict[str, Any]]] = {"JoeyNMT": [], **{variant: [] for variant in VARIANTS}}
    for _ in range(rounds):
        for name, told in runs.items():
            told.append(theirs(sys.argv[1], examples) if name == "JoeyNMT" else ours(examples, name))
    peers = runs["JoeyNMT"]
    results = {}
    for name, told in runs.items():
        median = lambda part, told=told: statistics.median(one[part] for one in told)
        results[name] = {
            "training, target tokens/s": round(counted / median("training")),
            "search, sentences/s": round(len(examples["validation"]) / median("search")),
            "characters written a sentence": round(statistics.mean(map(len, told[0]["written"])), 1),
            "parameters": told[0]["parameters"],
        }
        if name != "JoeyNMT":
            ratio = lambda part, told=told: round(
                statistics.median(peer[part] / one[part] for peer, one in zip(peers, told, strict=True)), 2
            )
            results[name] |= {"training over JoeyNMT": ratio("training"), "search over JoeyNMT": ratio("search")}
    print(json.dumps(results, indent=2))


if __name__ == "__main__":
    run(main)
