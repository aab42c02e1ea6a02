"""Recurrent encoder-decoder, with attention or without (Sutskever 2014; Bahdanau et al. 2015; Luong et al. 2015).

An encoder reads the source; a decoder predicts the target a symbol at a time. Without attention all that the decoder
knows of the source is its first state, one vector of fixed size. With it, each step weighs the encoder's outputs m_s by
how well they fit the decoder's output h_t of the same step (Luong et al. 2015, section 3.1):

    additive   e_ts = v . tanh(W h_t + U m_s)   (Bahdanau et al. 2015, appendix A.1.2)
    dot        e_ts = h_t . m_s                 (Luong et al. 2015, equation 8)
    general    e_ts = h_t . W m_s
    pointer    all weight on the one step that the task points to; nothing is learnt

and puts out tanh(W [h_t; sum_s softmax(e_t)_s m_s]) (equation 5). A whole target sequence is thus one call of the
recurrence and one of the attention. With input feeding (section 3.3) that output is also a part of the next step's
input, so that the decoder knows where it has looked; then it must go step by step.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Literal

import pydantic
import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from stages.core.base.params import settings
from stages.core.learning.batch import mask, reverse

Cell = Literal["elman", "elman_relu", "gru", "lstm"]
CELLS: dict[str, Callable[..., nn.RNNBase]] = {
    "elman": nn.RNN,
    "elman_relu": partial(nn.RNN, nonlinearity="relu"),
    "gru": nn.GRU,
    "lstm": nn.LSTM,
}

# What a decoder keeps between steps, rows first: (h,), for the LSTM (h, c), each (batch, layers, hidden); and, with
# input feeding, the last output (batch, hidden).
State = tuple[Tensor, ...]


@settings
class Settings:
    """Sizes and kind of an encoder-decoder.

    ``hidden`` units a layer in the decoder, and ``encoder_hidden`` a layer and direction in the encoder (none: as many
    as in the decoder); ``encoder_cell`` (none: the decoder's ``cell``). ``bidirectional`` is the encoder; one of one
    direction may read the source in ``reversed`` order (Sutskever et al. 2014, section 3.3). ``attention_size`` counts
    the hidden units of the additive energy; ``dropout`` falls on the encoder's outputs, between layers, and on what the
    model puts out.
    """

    cell: Cell = "gru"
    encoder_cell: Cell | None = None
    hidden: int = pydantic.Field(gt=0)
    encoder_hidden: int | None = pydantic.Field(default=None, gt=0)
    layers: int = pydantic.Field(default=1, gt=0)
    bidirectional: bool = True
    reversed: bool = False
    attention: Literal["additive", "dot", "general", "pointer", "none"] = "additive"
    attention_size: int = pydantic.Field(default=64, gt=0)
    input_feeding: bool = False
    dropout: float = pydantic.Field(default=0.0, ge=0, lt=1)

    @property
    def memory_size(self) -> int:
        """Size of the encoder's outputs."""
        return (self.encoder_hidden or self.hidden) * (2 if self.bidirectional else 1)

    @pydantic.model_validator(mode="after")
    def _fit(self) -> Settings:
        if self.attention == "dot" and self.memory_size != self.hidden:
            raise ValueError(
                f"attention dot multiplies the decoder's {self.hidden} units with the encoder's {self.memory_size}: "
                "make them equal, or take general"
            )
        if self.input_feeding and self.attention == "none":
            raise ValueError("input_feeding feeds what attention found, and attention is none")
        if self.reversed and self.bidirectional:
            raise ValueError("reversed is for an encoder that is not bidirectional, as that one reads both ways")
        return self


@dataclass(frozen=True)
class Memory:
    """The encoded source, for the decoder to look at.

    ``values`` (batch, source_time, memory_size), ``keys`` (batch, source_time, any) their part of the energies,
    ``mask`` (batch, source_time) bool, True at real steps. ``places`` (batch, steps) int64 are where a pointer points
    to at the steps to be decoded.
    """

    values: Tensor
    keys: Tensor
    mask: Tensor
    places: Tensor | None = None

    def select(self, rows: Tensor) -> Memory:
        """Give the memory of the batch rows ``rows`` (n,) int64, in that order; a row may come several times."""
        return Memory(self.values[rows], self.keys[rows], self.mask[rows])

    def point(self, places: Tensor) -> Memory:
        """Give it with ``places``."""
        return replace(self, places=places)


class EncoderDecoder(nn.Module):
    """Encoder, attention and decoder over embedded symbols.

    ``encode`` a source once, then ``decode`` whole targets (teacher forcing) or one step after another (search): the
    numbers are the same. State goes in and comes out.
    """

    def __init__(self, settings: Settings, input_size: int) -> None:
        super().__init__()
        hidden, layers, memory_size = settings.hidden, settings.layers, settings.memory_size
        between = settings.dropout if layers > 1 else 0.0
        self.settings = settings
        self.output_size = hidden
        self.points = settings.attention == "pointer"
        self.encoder = CELLS[settings.encoder_cell or settings.cell](
            input_size,
            settings.encoder_hidden or hidden,
            layers,
            batch_first=True,
            bidirectional=settings.bidirectional,
            dropout=between,
        )
        fed = hidden if settings.input_feeding else 0
        self.decoder = CELLS[settings.cell](input_size + fed, hidden, layers, batch_first=True, dropout=between)
        parts = 2 if settings.cell == "lstm" else 1
        self.bridge = nn.ModuleList(nn.Linear(memory_size, hidden) for _ in range(parts))
        self.attention = _attention(settings)
        self.combine = nn.Linear(hidden + (memory_size if self.attention else 0), hidden)
        self.dropout = nn.Dropout(settings.dropout)

    def encode(self, source: Tensor, lengths: Tensor) -> tuple[Memory, State]:
        """Read ``source`` (batch, source_time, input_size) of ``lengths`` (batch,), and give the decoder's first state.

        The first state of each layer is tanh(W [last forward state; last backward state]); for an LSTM's cell the same
        without tanh. What is not there, an LSTM's cell after a GRU, is taken from the last states.
        """
        if self.settings.reversed:
            source = reverse(source, lengths)
        packed = pack_padded_sequence(source, lengths.cpu(), batch_first=True, enforce_sorted=False)
        outputs, last = self.encoder(packed)
        values, _ = pad_packed_sequence(outputs, batch_first=True, total_length=source.shape[1])
        if self.settings.reversed:
            values = reverse(values, lengths)
        values = self.dropout(values)
        parts = last if isinstance(last, tuple) else (last, last)
        joined = [_join_directions(part, self.settings.layers) for part in parts]  # (batch, layers, memory_size) each
        first = [bridge(part) for bridge, part in zip(self.bridge, joined, strict=False)]
        state = (torch.tanh(first[0]), *first[1:])
        if self.settings.input_feeding:
            state = (*state, values.new_zeros(len(values), self.output_size))
        keys = self.attention.keys(values) if self.attention else values[..., :0]
        return Memory(values, keys, mask(lengths, source.shape[1])), state

    def decode(self, target: Tensor, state: State, memory: Memory) -> tuple[Tensor, State, Tensor | None]:
        """Read ``target`` (batch, steps, input_size) from ``state`` on.

        Gives outputs (batch, steps, output_size), the state after the last step, and the attention weights (batch,
        steps, source_time), which sum to 1 over the source and are 0 at padding; none without attention.
        """
        if not self.settings.input_feeding:
            return self._decode(target, state, memory)
        outputs, weights = [], []
        cells, fed = state[:-1], state[-1]
        for step in range(target.shape[1]):
            at = memory if memory.places is None else memory.point(memory.places[:, step : step + 1])
            output, cells, weight = self._decode(torch.cat([target[:, step], fed], dim=1)[:, None], cells, at)
            assert weight is not None, "Settings refuse input feeding without attention"
            fed = output[:, 0]
            outputs.append(output)
            weights.append(weight)
        return torch.cat(outputs, dim=1), (*cells, fed), torch.cat(weights, dim=1)

    def _decode(self, inputs: Tensor, state: State, memory: Memory) -> tuple[Tensor, State, Tensor | None]:
        before = tuple(part.transpose(0, 1).contiguous() for part in state)
        hidden, after = self.decoder(inputs, before if self.settings.cell == "lstm" else before[0])
        parts = after if isinstance(after, tuple) else (after,)
        next_state = tuple(part.transpose(0, 1) for part in parts)
        weights = None
        if self.attention:
            weights = self.attention(hidden, memory)
            hidden = torch.cat([hidden, weights @ memory.values], dim=-1)
        return self.dropout(torch.tanh(self.combine(hidden))), next_state, weights


class Attention(nn.Module):
    """Weights over the source: the softmax over s of energies e_ts."""

    def keys(self, values: Tensor) -> Tensor:
        """Give the part of the energies that ``values`` (batch, source_time, memory_size) decide by themselves."""
        return values

    def energies(self, queries: Tensor, keys: Tensor) -> Tensor:
        """Give e_ts (batch, steps, source_time) of ``queries`` (batch, steps, query_size) and ``keys``."""
        return queries @ keys.transpose(1, 2)

    def forward(self, queries: Tensor, memory: Memory) -> Tensor:
        """Weigh, for ``queries`` (batch, steps, query_size): (batch, steps, source_time)."""
        energies = self.energies(queries, memory.keys)
        return energies.masked_fill(~memory.mask[:, None], -torch.inf).softmax(dim=-1)


class AdditiveAttention(Attention):
    """e_ts = v . tanh(W h_t + U m_s + b) (Bahdanau et al. 2015, A.1.2)."""

    def __init__(self, query_size: int, memory_size: int, size: int) -> None:
        super().__init__()
        self.query = nn.Linear(query_size, size, bias=False)
        self.memory = nn.Linear(memory_size, size)
        self.energy = nn.Linear(size, 1, bias=False)

    def keys(self, values: Tensor) -> Tensor:
        """U m_s + b, (batch, source_time, size)."""
        keys: Tensor = self.memory(values)
        return keys

    def energies(self, queries: Tensor, keys: Tensor) -> Tensor:
        """(batch, steps, source_time)."""
        joined = torch.tanh(self.query(queries)[:, :, None] + keys[:, None])  # (batch, steps, source_time, size)
        energies: Tensor = self.energy(joined).squeeze(-1)
        return energies


class GeneralAttention(Attention):
    """e_ts = h_t . W m_s (Luong et al. 2015, equation 8)."""

    def __init__(self, query_size: int, memory_size: int) -> None:
        super().__init__()
        self.memory = nn.Linear(memory_size, query_size, bias=False)

    def keys(self, values: Tensor) -> Tensor:
        """W m_s, (batch, source_time, query_size)."""
        keys: Tensor = self.memory(values)
        return keys


class Pointer(Attention):
    """All weight on the memory's ``places``."""

    def forward(self, queries: Tensor, memory: Memory) -> Tensor:
        """Weigh: (batch, steps, source_time)."""
        assert memory.places is not None, "a pointer is told where to point"
        return nn.functional.one_hot(memory.places, memory.values.shape[1]).to(memory.values.dtype)


def _attention(settings: Settings) -> Attention | None:
    if settings.attention == "additive":
        return AdditiveAttention(settings.hidden, settings.memory_size, settings.attention_size)
    if settings.attention == "general":
        return GeneralAttention(settings.hidden, settings.memory_size)
    return {"dot": Attention, "pointer": Pointer}[settings.attention]() if settings.attention != "none" else None


def _join_directions(last: Tensor, layers: int) -> Tensor:
    """(layers x directions, batch, hidden), forward first in a layer, to (batch, layers, directions x hidden)."""
    _, batch, hidden = last.shape
    return last.view(layers, -1, batch, hidden).permute(2, 0, 1, 3).reshape(batch, layers, -1)


def build(settings: Settings, input_size: int) -> EncoderDecoder:
    """Build the model for embeddings of ``input_size``, source and target alike."""
    return EncoderDecoder(settings, input_size)
