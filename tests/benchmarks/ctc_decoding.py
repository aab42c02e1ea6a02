"""Utterances a second of CTC prefix beam search, ours over pyctcdecode and flashlight-text, in one run on one thread.

    python -m venv FOLDER && FOLDER/bin/pip install "numpy<2" pyctcdecode==0.5.0 flashlight-text==0.0.7
    python tests/benchmarks/ctc_decoding.py FOLDER/bin/python [UTTERANCES]

All decode the same UTTERANCES (default: 1,000) log-probabilities, about 42 steps of 30 symbols and null, with a beam
of 16 and no language model. Pruning is equal: of a step's symbols those below e^-5 are left out, but for the best, and
so are hypotheses 10 nats behind the best. (flashlight-text has no such threshold for symbols; it looks at the TOKENS
best ones of a step.) The three take turns, ROUNDS times, and a ratio is the median over the rounds; loading is not
counted. Ours decodes batches of 64 utterances, as the evaluation does.

The log-probabilities are made up (``make``), at two levels of doubt. "clear" is as sharp as the trained digit LSTM's on
test strings: at 59 % of the steps null alone remains, and 1.3 symbols a step on average. "doubtful" is flatter.

A beam of 16 is not the same everywhere: the peers' hypotheses are pairs of a prefix and what the last step was, so that
a prefix that may end in null or in its symbol takes two of the 16 places, each pruned on its own; ours adds both up.
Where best transcripts differ, their log-probabilities, summed over all alignments by torch's CTC loss, tell whose is
better; and each is compared with the best transcript of our search at WIDE.
"""

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch

from stages.core.base.errors import InputError, run
from stages.decoding.prefix_beam_search import Settings, search
from stages.tasks.connectionist_temporal_classification import collapse

SYMBOLS, BEAM, TOKENS = 31, 16, 8  # null counts as a symbol
TOKEN_THRESHOLD, BEAM_THRESHOLD = -5.0, 10.0  # nats
BATCH, ROUNDS = 64, 5
WIDE = Settings(beam=128, n_best=1, token_threshold=-10.0, beam_threshold=None)
NARROW = Settings(beam=BEAM, n_best=1, token_threshold=TOKEN_THRESHOLD, beam_threshold=BEAM_THRESHOLD)
SHARPNESS = {"clear": 4.0, "doubtful": 2.0}

# Runs in the peers' own environment: reads log-probabilities, prints the seconds, and writes the transcripts.
PEERS = """
import json, logging, sys, time, numpy as np
logging.disable(logging.WARNING)
which, path, beam, tokens, token_threshold, beam_threshold = sys.argv[1], sys.argv[2], *map(float, sys.argv[3:])
loaded = np.load(path)
table, lengths = loaded["table"], loaded["lengths"].tolist()
utterances = [row[:length] for row, length in zip(table, lengths)]
alphabet = [chr(0x4E00 + symbol) for symbol in range(table.shape[2])]
if which == "pyctcdecode":
    from pyctcdecode import Alphabet, BeamSearchDecoderCTC
    decoder = BeamSearchDecoderCTC(Alphabet(["", *alphabet[1:]], False))
    began = time.perf_counter()
    texts = [
        decoder.decode_beams(
            u, beam_width=int(beam), beam_prune_logp=-beam_threshold, token_min_logp=token_threshold
        )[0][0]
        for u in utterances
    ]
    seconds = time.perf_counter() - began
    found = [[alphabet.index(character) for character in text] for text in texts]
else:
    from flashlight.lib.text.decoder import CriterionType, LexiconFreeDecoder, LexiconFreeDecoderOptions, ZeroLM
    options = LexiconFreeDecoderOptions(
        beam_size=int(beam), beam_size_token=int(tokens), beam_threshold=beam_threshold, lm_weight=0.0,
        sil_score=0.0, log_add=True, criterion_type=CriterionType.CTC,
    )
    decoder = LexiconFreeDecoder(options, ZeroLM(), -1, 0, [])
    utterances = [np.ascontiguousarray(u, dtype=np.float32) for u in utterances]
    began = time.perf_counter()
    paths = [decoder.decode(u.ctypes.data, *u.shape)[0].tokens for u in utterances]
    seconds = time.perf_counter() - began
    found = []
    for path in paths:
        found.append([s for s, before in zip(path, [-1, *path]) if s != before and s > 0])
print(json.dumps({"seconds": seconds, "found": found}))
"""


def make(utterances: int, sharpness: float, seed: int = 1) -> tuple[np.ndarray, np.ndarray]:
    """Make log-probabilities (utterances, time, symbols), symbol 0 the null, and lengths (utterances,) in steps."""
    draw = np.random.default_rng(seed)
    rows = [sharpness * _logits(draw) for _ in range(utterances)]
    lengths = np.array([len(row) for row in rows])
    table = np.zeros((utterances, lengths.max(), SYMBOLS))
    for place, row in zip(table, rows, strict=True):
        place[: len(row)] = row - np.logaddexp.reduce(row, axis=1, keepdims=True)
    return table, lengths


def _logits(draw: np.random.Generator) -> np.ndarray:
    """Make (time, symbols) of one utterance of 8 to 14 symbols: a peak of 1 to 3 steps each, then 1 to 3 of null.

    At a peak, other symbols that sound alike come near, and at each of its steps null may come before the symbol.
    """
    logits = []
    for _ in range(draw.integers(8, 15)):
        symbol = int(draw.integers(1, SYMBOLS))
        alike = np.arange(1, 6) + (symbol - 1) // 5 * 5  # five that sound alike
        heard = np.where(alike == symbol, 0.0, draw.normal(-6, 3, len(alike)))
        for _ in range(draw.choice([1, 2, 3], p=[0.4, 0.4, 0.2])):
            step = draw.normal(0, 1, SYMBOLS)
            step[alike] += 8 + heard + draw.normal(0, 1, len(alike))
            step[0] = 8 + draw.normal(-1, 3)
            logits.append(step)
        for _ in range(draw.integers(1, 4)):
            step = draw.normal(0, 1, SYMBOLS)
            step[0] = 8 + draw.normal(0, 1.5)
            step[alike] += draw.normal(2, 2)
            logits.append(step)
    return np.array(logits)


def ours(table: np.ndarray, lengths: np.ndarray, settings: Settings = NARROW) -> tuple[float, list[list[int]]]:
    """Decode in batches by length; gives seconds and transcripts."""
    order = np.argsort(lengths, kind="stable")
    found: dict[int, list[int]] = {}
    began = time.perf_counter()
    for start in range(0, len(order), BATCH):
        chosen = order[start : start + BATCH]
        best = search(table[chosen, : lengths[chosen].max()], lengths[chosen], settings)
        found |= {utterance: hypotheses[0].symbols for utterance, hypotheses in zip(chosen.tolist(), best, strict=True)}
    seconds = time.perf_counter() - began
    return seconds, [found[utterance] for utterance in range(len(lengths))]


def theirs(python: str, which: str, path: Path) -> tuple[float, list[list[int]]]:
    """Decode with a peer in its own environment."""
    limits = map(str, (BEAM, TOKENS, TOKEN_THRESHOLD, BEAM_THRESHOLD))
    one = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
    said = subprocess.run(
        [python, "-c", PEERS, which, str(path), *limits],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | one,
    )
    if said.returncode:
        raise InputError(f"{which} failed: {said.stderr.strip().splitlines()[-1]}")
    told = json.loads(said.stdout)
    return told["seconds"], told["found"]


def likelihood(log_probabilities: np.ndarray, transcript: list[int]) -> float:
    """Log-probability of a transcript, summed over all alignments."""
    steps = torch.tensor(log_probabilities)[:, None]
    lengths = torch.tensor([len(steps)]), torch.tensor([len(transcript)])
    return -float(torch.nn.functional.ctc_loss(steps, torch.tensor([transcript]), *lengths, reduction="sum"))


def compare(table: np.ndarray, lengths: np.ndarray, mine: list[list[int]], other: list[list[int]]) -> dict[str, object]:
    """Say how often best transcripts are the same, and of the others, whose is the more probable."""
    rows = zip(table, lengths.tolist(), mine, other, strict=True)
    differ = [(row[:length], one, another) for row, length, one, another in rows if one != another]
    gains = [likelihood(row, one) - likelihood(row, another) for row, one, another in differ]
    return {
        "same best transcript, %": share(mine, other),
        "ours more probable": f"{sum(gain > 0 for gain in gains)} of {len(gains)} that differ",
        "by at most, nats": round(max([0.0, *gains]), 3),
        "theirs by at most, nats": round(-min([0.0, *gains]), 3),
    }


def share(some: list[list[int]], others: list[list[int]]) -> float:
    """Give how many transcripts are the same, in percent."""
    return round(100 * sum(a == b for a, b in zip(some, others, strict=True)) / len(some), 2)


def measure(python: str, utterances: int, sharpness: float) -> dict[str, object]:
    """Time and compare the three at one level of doubt."""
    table, lengths = make(utterances, sharpness)
    seconds: dict[str, list[float]] = {"ours": [], "pyctcdecode": [], "flashlight-text": []}
    found = {}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "log_probabilities.npz"
        np.savez(path, table=table, lengths=lengths)
        for _ in range(ROUNDS):
            for which in seconds:
                spent, found[which] = ours(table, lengths) if which == "ours" else theirs(python, which, path)
                seconds[which].append(spent)
    _, wide = ours(table, lengths, WIDE)
    best_paths = [collapse(row[:length].argmax(axis=1).tolist()) for row, length in zip(table, lengths, strict=True)]
    peers = ("pyctcdecode", "flashlight-text")
    return {
        "steps an utterance": round(float(lengths.mean()), 1),
        "best path gives the same, %": share(best_paths, found["ours"]),
        "utterances/s": {which: round(utterances / statistics.median(spent)) for which, spent in seconds.items()},
        "ours over": {
            peer: round(statistics.median(t / o for t, o in zip(seconds[peer], seconds["ours"], strict=True)), 2)
            for peer in peers
        },
        "against": {peer: compare(table, lengths, found["ours"], found[peer]) for peer in peers},
        "same as a wide search's, %": {which: share(transcripts, wide) for which, transcripts in found.items()},
    }


def main() -> None:
    """Print utterances a second, ratios, and agreement."""
    if len(sys.argv) < 2:
        raise InputError("give the Python of an environment that has pyctcdecode 0.5.0 and flashlight-text 0.0.7")
    torch.set_num_threads(1)
    utterances = int(sys.argv[2]) if len(sys.argv) > 2 else 1000
    results = {level: measure(sys.argv[1], utterances, sharpness) for level, sharpness in SHARPNESS.items()}
    print(json.dumps(results, indent=2))


if __name__ == "__main__":
    run(main)
