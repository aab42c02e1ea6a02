"""Tokens a second of slot training, ours over flair's tagger, in one run on one thread.

    python -m venv FOLDER && FOLDER/bin/pip install flair==0.15.1
    python tests/benchmarks/slot_training.py FOLDER/bin/python [SENTENCES]

Both train a bidirectional LSTM of 100 units over word vectors of 100 dimensions, with a softmax and with a CRF, batches
of 16, for three epochs with an evaluation on validation data after each, on data/prepared/commands (``dvc repro
prepare@commands`` makes it), its first SENTENCES (default: 4,478, as many as ATIS has). Time is the whole training's,
evaluations included; loading and the making of vocabularies are not counted. The two take turns, ROUNDS times.
"""

import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from stages.core import trainer
from stages.core.base.errors import InputError, run
from stages.core.learning import artifact
from stages.core.learning.dataset import read_split
from stages.core.learning.task import Training
from stages.tasks import sequence_labelling

DATA = Path("data/prepared/commands")
ATIS = 4478  # sentences
EPOCHS, ROUNDS = 3, 3

# Runs in flair's own environment: train FOLDER EPOCHS CRF, and print the seconds.
FLAIR = """
import logging, sys, time, torch, flair
from flair.datasets import ColumnCorpus
from flair.embeddings import OneHotEmbeddings
from flair.models import SequenceTagger
from flair.trainers import ModelTrainer
torch.set_num_threads(1)
flair.device = torch.device("cpu")
logging.getLogger("flair").setLevel(logging.ERROR)
folder, epochs, crf = sys.argv[1], int(sys.argv[2]), sys.argv[3] == "crf"
corpus = ColumnCorpus(folder, {0: "text", 1: "slot"}, train_file="train.txt", dev_file="validation.txt")
tags = corpus.make_label_dictionary("slot")
words = OneHotEmbeddings.from_corpus(corpus, field="text", embedding_length=100, min_freq=1)
tagger = SequenceTagger(
    embeddings=words, tag_dictionary=tags, tag_type="slot", hidden_size=100, rnn_layers=1, use_crf=crf
)
began = time.perf_counter()
ModelTrainer(tagger, corpus).train(
    folder, learning_rate=0.1, mini_batch_size=16, max_epochs=epochs, train_with_dev=False, monitor_test=False,
    save_final_model=False, embeddings_storage_mode="none",
)
print("SECONDS", time.perf_counter() - began)
"""


def write_columns(folder: Path, split: str, examples: list[dict]) -> None:
    """Write a token and its tag a line, an empty line after each sentence."""
    sentences = ("\n".join(map(" ".join, zip(e["tokens"], e["tags"], strict=True))) for e in examples)
    (folder / f"{split}.txt").write_text("\n\n".join(sentences) + "\n")


def flair_seconds(python: str, folder: Path, head: str) -> float:
    """Train flair's tagger."""
    command = [python, "-c", FLAIR, str(folder), str(EPOCHS), head]
    said = subprocess.run(command, capture_output=True, text=True, check=False)
    if said.returncode:
        raise InputError(f"flair failed: {said.stderr.strip().splitlines()[-1]}")
    return float(said.stdout.rpartition("SECONDS")[2])


def our_seconds(examples: dict[str, list[dict]], head: str) -> float:
    """Train ours, through the trainer that the pipeline uses."""
    config = {
        "task": {"name": "sequence_labelling", "head": head, "embedding": 100},
        "model": {"name": "lstm", "hidden": 100, "bidirectional": True},
    }
    settings = sequence_labelling.Settings(embedding=100)
    task = artifact.build_task(config, sequence_labelling.fit_vocabularies(examples["train"], settings), "benchmark")
    plan = Training(seeds=[1], learning_rate=0.002, batch_size=16, epochs=EPOCHS, clip_norm=5.0)
    with tempfile.TemporaryDirectory() as folder:
        began = time.perf_counter()
        trainer.fit(task, examples["train"], examples["validation"], plan, 1, Path(folder), "ours")
        return time.perf_counter() - began


def main() -> None:
    """Print tokens a second of both, and their ratio."""
    if len(sys.argv) < 2:
        raise InputError("give the Python of an environment that has flair 0.15.1")
    trainer.prepare_process()
    trainer.seed_everything(1)
    examples = {split: read_split(DATA, split) for split in ("train", "validation")}
    examples["train"] = examples["train"][: int(sys.argv[2]) if len(sys.argv) > 2 else ATIS]
    examples["validation"] = examples["validation"][:500]
    tokens = EPOCHS * sum(len(example["tokens"]) for example in examples["train"])
    results = {}
    for head in ("softmax", "crf"):
        ours, theirs = [], []
        for _ in range(ROUNDS):
            with tempfile.TemporaryDirectory() as folder:
                for split, some in examples.items():
                    write_columns(Path(folder), split, some)
                theirs.append(flair_seconds(sys.argv[1], Path(folder), head))
            ours.append(our_seconds(examples, head))
        results[head] = {
            "ours, tokens/s": round(tokens / statistics.median(ours)),
            "flair, tokens/s": round(tokens / statistics.median(theirs)),
            "ratio": round(statistics.median(t / o for t, o in zip(theirs, ours, strict=True)), 2),
        }
    print(json.dumps(results, indent=2))


if __name__ == "__main__":
    run(main)
