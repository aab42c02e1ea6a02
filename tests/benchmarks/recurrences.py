"""Forward + backward time of every cell over nn.LSTM's, in one run: ``python tests/benchmarks/recurrences.py``.

One thread; sizes (time, batch, hidden units = input features). Each round times every cell once, in turn, and a ratio
is the median over the rounds, so that a busy moment of the machine falls on all alike.
"""

import statistics
import time
from collections.abc import Callable

import torch

from stages.models import elman, gru, jordan, lstm, lstm_variants, minimal_gru, transformer

SIZES = [(50, 32, 128), (200, 16, 256), (50, 64, 512)]
ROUNDS = 15
CLASSES = 30
REFERENCE = "nn.LSTM"


def variant(hidden: int, **settings: object) -> torch.nn.Module:
    """A variant of the LSTM."""
    return lstm_variants.build(lstm_variants.Settings(hidden=hidden, **settings), hidden)  # type: ignore[arg-type]


def connected(hidden: int) -> torch.nn.Module:
    """A Jordan network with an output layer."""
    model = jordan.build(jordan.Settings(hidden=hidden), hidden)
    model.connect(torch.nn.Linear(hidden, CLASSES))
    return model


MODELS: dict[str, Callable[[int], torch.nn.Module]] = {
    REFERENCE: lambda hidden: lstm.build(lstm.Settings(hidden=hidden), hidden),
    "nn.RNN (Elman)": lambda hidden: elman.build(elman.Settings(hidden=hidden), hidden),
    "nn.GRU": lambda hidden: gru.build(gru.Settings(hidden=hidden), hidden),
    "GRU, reset before": lambda hidden: gru.build(gru.Settings(hidden=hidden, reset="before"), hidden),
    "LSTM, hand-written": lambda hidden: variant(hidden),
    "LSTM, peepholes": lambda hidden: variant(hidden, peephole=True),
    "LSTM, coupled gates": lambda hidden: variant(hidden, forget="coupled"),
    "LSTM, no forget gate": lambda hidden: variant(hidden, forget="none"),
    "Jordan": connected,
    "minimal GRU": lambda hidden: minimal_gru.build(minimal_gru.Settings(hidden=hidden), hidden),
    "Transformer": lambda hidden: transformer.build(transformer.Settings(width=hidden, layers=1), hidden),
}


def seconds(model: torch.nn.Module, inputs: torch.Tensor, lengths: torch.Tensor) -> float:
    """One forward and backward pass."""
    begin = time.perf_counter()
    outputs, _ = model(inputs, lengths)
    outputs.sum().backward()
    return time.perf_counter() - begin


def main() -> None:
    """Print a table of ratios, and the reference's milliseconds."""
    torch.set_num_threads(1)
    columns = []
    for steps, batch, hidden in SIZES:
        inputs = torch.randn(batch, steps, hidden, requires_grad=True)
        lengths = torch.full((batch,), steps)
        models = {name: build(hidden) for name, build in MODELS.items()}
        for model in models.values():
            seconds(model, inputs, lengths)
        rounds = [{name: seconds(model, inputs, lengths) for name, model in models.items()} for _ in range(ROUNDS)]
        columns.append({name: statistics.median(r[name] / r[REFERENCE] for r in rounds) for name in models})
        columns[-1]["milliseconds"] = 1000 * statistics.median(r[REFERENCE] for r in rounds)
    titles = [f"T={steps} B={batch} H={hidden}" for steps, batch, hidden in SIZES]
    print(f"{'times ' + REFERENCE:<22}" + "".join(f"{title:>20}" for title in titles))
    for name in MODELS:
        print(f"{name:<22}" + "".join(f"{column[name]:>20.2f}" for column in columns))
    print(f"{REFERENCE + ', ms':<22}" + "".join(f"{column['milliseconds']:>20.1f}" for column in columns))


if __name__ == "__main__":
    main()
