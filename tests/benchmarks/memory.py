"""Milliseconds an update of the networks with external memory, and over a plain implementation's in the same run.

    python tests/benchmarks/memory.py [ROUNDS]

An update is forward pass, backward pass, clipping and optimizer, for a batch of 16 on one thread; time is the
process's CPU time. The Neural Turing Machine and the Differentiable Neural Computer copy sequences of 10 vectors (22
steps) with 128 locations x 20 values, and plain is their own ``step`` unrolled by autograd. The memory network, 3 hops
and 50 dimensions, reads stories of sentences of 6 words, drawn from 200 sentences, as those of one simulated world are;
plain embeds every sentence of every story anew, batch x sentence x d. Each pair starts from the same weights, and its
first losses must agree. The two take turns, ROUNDS times (default: 50), and a ratio is the median over the rounds.
"""

import copy
import statistics
import sys
import time
from collections.abc import Callable
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from stages.core.base.errors import InputError, run
from stages.core.learning.batch import pad
from stages.models import differentiable_neural_computer, memory_network, neural_turing_machine
from stages.tasks import binary_sequence_prediction

BATCH = 16
LENGTH, BITS = 10, 8  # vectors of a sequence to copy, bits of a vector
WORDS, SENTENCES, SENTENCE = 180, 200, 6  # words and sentences that there are, words of a sentence
Loss = Callable[[], Tensor]


class Unrolled(nn.Module):
    """A network with external memory whose steps are unrolled by autograd."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model, self.output_size = model, model.output_size

    def forward(self, inputs: Tensor, lengths: Tensor) -> tuple[Tensor, None]:
        """Give outputs (batch, time, output_size)."""
        state = self.model.first_state(len(inputs))
        return torch.stack([output for output, _ in self.model.walk(inputs, lengths, state)], 1), None


class Plain(nn.Module):
    """The memory network with a tensor of batch x sentence x d for every table, on the parameters of ``model``."""

    def __init__(self, model: memory_network.MemoryNetwork) -> None:
        super().__init__()
        self.embedding, self.temporal = model.embedding, model.temporal

    def embed(self, sentences: Tensor, table: Tensor) -> Tensor:
        """Embed (..., word) with the position encoding: (..., d)."""
        words, size = sentences.shape[-1], table.shape[1]
        j, k = torch.arange(1, words + 1)[:, None], torch.arange(1, size + 1)
        encoding = 1 + 4 * (j - (words + 1) / 2) * (k - (size + 1) / 2) / (words * size)
        return (table[sentences] * encoding).sum(-2)

    def forward(self, stories: Tensor, question: Tensor) -> Tensor:
        """Give scores (batch, word) for stories (batch, sentence, word) and questions (batch, word)."""
        back = torch.arange(stories.shape[1]).flip(0)
        tables = zip(self.embedding, self.temporal, strict=True)
        memories = [self.embed(stories, table) + time[back] for table, time in tables]
        u = self.embed(question, self.embedding[0])
        for now, after in pairwise(memories):
            u = u + ((now * u[:, None]).sum(-1).softmax(-1)[..., None] * after).sum(1)
        return u @ self.embedding[-1].T


def copying(build: Callable[[int], nn.Module]) -> tuple[Loss, Loss, list[nn.Module]]:
    """Make the copy task around a model, and the same with the model unrolled."""
    settings = binary_sequence_prediction.Settings(width=BITS)
    task = binary_sequence_prediction.build(settings, {}, build)
    plain = copy.deepcopy(task)
    plain.model = Unrolled(plain.model)
    vectors = [[format(int(v), f"0{BITS}b") for v in torch.randint(2**BITS, (LENGTH,))] for _ in range(BATCH)]
    start, end = "0" * BITS + "10", "0" * BITS + "01"
    examples = [
        {"id": str(i), "input": [start, *(vector + "00" for vector in target), end], "target": target}
        for i, target in enumerate(vectors)
    ]
    batch = task.collate(examples)
    return lambda: task.loss(batch)[0], lambda: plain.loss(batch)[0], [task, plain]


def reading(story: int) -> tuple[Loss, Loss, list[nn.Module]]:
    """Make the memory network, and the plain one, on stories of ``story`` sentences."""
    settings = memory_network.Settings(hops=3, embedding_size=50, times=story, time_noise=0.0)
    model = memory_network.build(settings, WORDS)
    plain = Plain(copy.deepcopy(model))
    known, answers = torch.randint(WORDS, (SENTENCES, SENTENCE)), torch.randint(WORDS, (BATCH,))
    stories, questions = torch.randint(SENTENCES, (BATCH, story)), torch.randint(WORDS, (BATCH, SENTENCE))
    told, places = stories.unique(return_inverse=True)
    sentences, indices, question = pad(list(known[told])), pad(list(places)), pad(list(questions))

    def ours() -> Tensor:
        scores, _ = model(sentences, indices, question)
        return cross_entropy(scores, answers)

    return ours, lambda: cross_entropy(plain(known[stories], questions), answers), [model, plain]


def seconds(loss: Loss, module: nn.Module, optimizer: torch.optim.Optimizer) -> float:
    """Make an update; gives its CPU seconds."""
    began = time.process_time()
    optimizer.zero_grad()
    loss().backward()
    nn.utils.clip_grad_norm_(module.parameters(), 10.0)
    optimizer.step()
    return time.process_time() - began


def compare(name: str, losses: tuple[Loss, Loss], modules: list[nn.Module], rounds: int) -> None:
    """Print both times and their ratio; raises InputError where the two are not the same network."""
    values = [float(loss().detach()) for loss in losses]
    if abs(values[0] - values[1]) > 1e-4 * abs(values[1]):
        raise InputError(f"{name}: the first losses are {values[0]} and {values[1]}, where they should agree")
    optimizers = [torch.optim.RMSprop(module.parameters(), lr=1e-4, alpha=0.95, momentum=0.9) for module in modules]
    pairs = list(zip(losses, modules, optimizers, strict=True))
    for pair in pairs:
        seconds(*pair)  # the first updates are slower
    times = [[seconds(*pair) for pair in pairs] for _ in range(rounds)]
    ours, plain = (1000 * statistics.median(column) for column in zip(*times, strict=True))
    ratio = statistics.median(a / b for a, b in times)
    print(f"{name:<44}{ours:>10.2f}{plain:>10.2f}{ratio:>10.2f}")


def main() -> None:
    """Print a row a network."""
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 50
    torch.set_num_threads(1)
    torch.manual_seed(0)
    machine, computer = neural_turing_machine, differentiable_neural_computer
    subjects = {
        "NTM, feed-forward": copying(lambda size: machine.build(machine.Settings(), size)),
        "NTM, LSTM": copying(lambda size: machine.build(machine.Settings(controller="lstm"), size)),
        "NTM, feed-forward, 4 + 4 heads": copying(
            lambda size: machine.build(machine.Settings(read_heads=4, write_heads=4), size)
        ),
        "DNC, LSTM": copying(lambda size: computer.build(computer.Settings(), size)),
        "DNC, LSTM, 4 read heads": copying(lambda size: computer.build(computer.Settings(read_heads=4), size)),
        "DNC, LSTM, 24 locations": copying(lambda size: computer.build(computer.Settings(locations=24), size)),
        **{f"memory network, {story} sentences": reading(story) for story in (20, 50, 200)},
    }
    print(f"{'ms of CPU an update, batch ' + str(BATCH):<44}{'ours':>10}{'plain':>10}{'ratio':>10}")
    for name, (ours, plain, modules) in subjects.items():
        compare(name, (ours, plain), modules, rounds)


if __name__ == "__main__":
    run(main)
