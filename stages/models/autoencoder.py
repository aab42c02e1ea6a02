"""Auto-encoder of sequences: all of a sequence goes through one vector, and is written again from it alone (N26).

The encoder reads the sequence and its last state becomes a vector; the decoder starts from that vector and writes the
sequence from its end to its start, so that what was read last is written first (Sutskever et al. 2014, section 3.3,
reverse the source instead). There is no attention: nothing else passes from one to the other.

``rotation`` starts the cells where nothing needs to be learnt for a sequence to be kept. Were the encoder linear,
h_t = R h_{t-1} + W x_t with R orthogonal and W of orthonormal columns, then h_n would hold every x_t, turned by R as
often as steps have passed, and turned ones are nearly at right angles to each other in many dimensions (Plate 1995;
Arjovsky et al. 2016). The decoder that undoes it is h_{t-1} = R^T (h_t - W x_t), and W^T h_t is x_t with a little
noise: a stack. tanh is nearly linear near 0, so an Elman cell starts as that, and the GRU and the LSTM do with gates
that let the candidate through. Training goes on from there.

With ``document``, there are two levels (Li, Luong and Jurafsky 2015, section 3.3): a sentence's words become its
vector, the sentences' vectors become the document's, and back; both levels are made alike. A document starts with an
empty sentence, which is thus written last and ends it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import pydantic
import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence

from stages.core.base.params import settings
from stages.core.learning.batch import pad, reverse

CELLS: dict[str, Callable[..., nn.RNNBase]] = {"elman": nn.RNN, "gru": nn.GRU, "lstm": nn.LSTM}
# The bias of each gate, in torch's order, that lets the candidate through and the old state not; "n" is the candidate.
OPEN = {"elman": "n", "gru": "+-n", "lstm": "+-n+"}
BIAS = 3.0

# What a recurrence keeps between steps, each (batch, hidden): (h,), and for the LSTM (h, c).
State = tuple[Tensor, ...]


@settings
class Settings:
    """Sizes and start of an auto-encoder.

    ``hidden`` units in the encoder (each direction) and in the decoder; the vector has ``size`` dimensions. ``feed``
    gives the vector to every step of the decoder, not only to its first state. ``rotation`` is explained above; it
    needs ``bidirectional`` off, and ``hidden`` of at least the embedding's size. ``document`` is the size of a
    document's vector (none: one level), and as many units as that has the upper level.
    """

    cell: Literal["elman", "gru", "lstm"] = "gru"
    hidden: int = pydantic.Field(gt=0)
    size: int = pydantic.Field(gt=0)
    bidirectional: bool = False
    feed: bool = False
    rotation: bool = False
    document: int | None = pydantic.Field(default=None, gt=0)

    @pydantic.model_validator(mode="after")
    def _turns_one_way(self) -> Settings:
        if self.rotation and self.bidirectional:
            raise ValueError("rotation is for an encoder that reads one way: set bidirectional to false")
        return self


class Level(nn.Module):
    """Encoder and decoder of sequences of vectors of ``input_size``, with one vector of ``size`` between them."""

    def __init__(self, settings: Settings, input_size: int, hidden: int, size: int) -> None:
        super().__init__()
        cell = CELLS[settings.cell]
        states = 2 if settings.cell == "lstm" else 1
        directions = 2 if settings.bidirectional else 1
        self.cell, self.hidden, self.feed, self.size = settings.cell, hidden, settings.feed, size
        self.encoder = cell(input_size, hidden, batch_first=True, bidirectional=settings.bidirectional)
        self.decoder = cell(input_size + (size if self.feed else 0), hidden, batch_first=True)
        self.narrow = nn.Linear(directions * hidden * states, size)
        self.widen = nn.Linear(size, hidden * states)
        self.output = nn.Linear(hidden, input_size)
        self.first = nn.Parameter(torch.zeros(input_size))
        if settings.rotation:
            self._rotate(input_size)

    @torch.no_grad()
    def _rotate(self, input_size: int) -> None:
        rotation = nn.init.orthogonal_(torch.empty(self.hidden, self.hidden))
        inwards = nn.init.orthogonal_(torch.empty(self.hidden, input_size))
        for recurrence, turn, inputs in (
            (self.encoder, rotation, inwards),
            (self.decoder, rotation.T, -rotation.T @ rotation.T @ inwards),
        ):
            weight, recurrent, bias, recurrent_bias = recurrence.all_weights[0]
            passed = 1.0  # the share of R h that gets through the gates
            for gate, kind in enumerate(OPEN[self.cell]):
                rows = slice(gate * self.hidden, (gate + 1) * self.hidden)
                bias[rows] = {"+": BIAS, "-": -BIAS, "n": 0.0}[kind]
                recurrent_bias[rows] = 0.0
                if kind == "n":
                    weight[rows, :input_size], candidate = inputs, rows
                else:
                    passed *= float(torch.sigmoid(torch.tensor(BIAS)))
            recurrent[candidate] = turn / passed
        # A step of the decoder turns the state before it is put out.
        self.output.weight.copy_(inwards.T @ rotation)
        between = nn.init.orthogonal_(torch.empty(self.size, self.hidden))
        for linear in (self.output, self.narrow, self.widen):
            nn.init.zeros_(linear.bias)
        # The cells of an LSTM hold what its outputs do, and its forget gate is closed: they have no part in it.
        nn.init.zeros_(self.narrow.weight)[:, : self.hidden] = between
        nn.init.zeros_(self.widen.weight)[: self.hidden] = between.T

    def encode(self, inputs: Tensor, lengths: Tensor) -> Tensor:
        """Read ``inputs`` (batch, time, input_size), each of ``lengths`` (batch,) steps: vectors (batch, size)."""
        packed = pack_padded_sequence(inputs, lengths.cpu(), batch_first=True, enforce_sorted=False)
        _, last = self.encoder(packed)
        parts = last if isinstance(last, tuple) else (last,)
        joined = torch.cat([part.transpose(0, 1).flatten(1) for part in parts], dim=1)
        vectors: Tensor = self.narrow(joined)
        return vectors

    def start(self, vectors: Tensor) -> State:
        """Give the decoder's state before it writes the sequences of ``vectors`` (batch, size)."""
        return self.widen(vectors).split(self.hidden, dim=1)

    def decode(self, inputs: Tensor, state: State, vectors: Tensor) -> tuple[Tensor, State]:
        """Read what was written before each step, (batch, steps, input_size), from ``state`` on.

        Gives what is to be written, as vectors (batch, steps, input_size), and the state after the last step.
        """
        if self.feed:
            inputs = torch.cat([inputs, vectors[:, None].expand(-1, inputs.shape[1], -1)], dim=2)
        before = tuple(part[None].contiguous() for part in state)
        hidden, after = self.decoder(inputs, before if self.cell == "lstm" else before[0])
        parts = after if isinstance(after, tuple) else (after,)
        return self.output(hidden), tuple(part[0] for part in parts)

    def shifted(self, inputs: Tensor) -> Tensor:
        """Move ``inputs`` (batch, steps, input_size) a step later, behind what stands for a sequence's start."""
        first = self.first.expand(len(inputs), 1, -1)
        return torch.cat([first, inputs[:, :-1]], dim=1)


class AutoEncoder(nn.Module):
    """One level or two. A row is a sequence of words; a text is one row, or in two levels as many as ``counts`` says.

    Rows stand in the order of reading. Words are written from a row's vector, and rows' vectors (``plan``) from the
    text's; with one level these are the same.
    """

    def __init__(self, settings: Settings, input_size: int) -> None:
        super().__init__()
        self.words = Level(settings, input_size, settings.hidden, settings.size)
        self.sentences: Level | None = None
        if settings.document is not None:
            self.sentences = Level(settings, settings.size, settings.document, settings.document)
        self.hierarchical = settings.document is not None

    def encode_rows(self, words: Tensor, lengths: Tensor) -> Tensor:
        """Read embedded words (rows, time, input_size) of ``lengths`` (rows,), none 0: vectors (rows, size)."""
        return self.words.encode(words, lengths)

    def encode(self, rows: Tensor, counts: Tensor) -> Tensor:
        """Read the vectors of all rows (rows, size), ``counts`` (texts,) a text: vectors (texts, size or document)."""
        if self.sentences is None:
            return rows
        padded = pad(list(rows.split(counts.tolist())))
        return self.sentences.encode(padded.values, padded.lengths)

    def plan(self, vectors: Tensor, rows: Tensor, counts: Tensor) -> Tensor:
        """Give the vectors (rows, size) that rows are written from, when the rows after each are known (training)."""
        if self.sentences is None:
            return vectors
        padded = pad(list(rows.split(counts.tolist())))
        inputs = self.sentences.shifted(reverse(padded.values, padded.lengths))
        outputs, _ = self.sentences.decode(inputs, self.sentences.start(vectors), vectors)
        return reverse(outputs, padded.lengths)[padded.mask]

    def write(self, words: Tensor, vectors: Tensor) -> Tensor:
        """Read embedded words (rows, steps, input_size), last word first, and give what comes at and after each step.

        ``vectors`` (rows, size) are those of the rows. Gives (rows, steps + 1, input_size), to be compared with
        embedded words.
        """
        inputs = torch.cat([self.words.first.expand(len(words), 1, -1), words], dim=1)
        outputs, _ = self.words.decode(inputs, self.words.start(vectors), vectors)
        return outputs


def build(settings: Settings, input_size: int) -> AutoEncoder:
    """Build the model for embeddings of ``input_size``."""
    return AutoEncoder(settings, input_size)
