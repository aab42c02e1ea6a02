"""Recurrent encoder-decoder with attention (Sutskever et al. 2014; Bahdanau et al. 2015).

A bidirectional encoder reads the source; a decoder predicts the target a symbol at a time. The attention energy is the
additive one of Bahdanau et al. (2015, appendix A.1.2), e_ts = v . tanh(W h_t + U m_s), but placed as in Luong et al.
(2015, section 3.1): it looks from the decoder's output h_t of the same step, and its context is not fed back to the
recurrence (no input feeding). A whole target sequence is thus one call of the recurrence and one of the attention.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import pydantic
import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from stages.core.batch import mask
from stages.core.params import settings

CELLS: dict[str, Callable[..., nn.RNNBase]] = {"elman": nn.RNN, "gru": nn.GRU, "lstm": nn.LSTM}

# What a recurrence keeps between steps, each (batch, layers, hidden): (h,), and for the LSTM (h, c).
State = tuple[Tensor, ...]


@settings
class Settings:
    """Sizes of an encoder-decoder.

    ``hidden`` units a layer in the decoder, and ``encoder_hidden`` a layer and direction in the encoder (none: as many
    as in the decoder); ``attention`` "none" leaves the decoder with the encoder's last states alone, and
    ``attention_size`` counts the hidden units of the additive energy; ``dropout`` falls on the encoder's outputs,
    between layers, and on what the model puts out.
    """

    cell: Literal["elman", "gru", "lstm"] = "gru"
    hidden: int = pydantic.Field(gt=0)
    encoder_hidden: int | None = pydantic.Field(default=None, gt=0)
    layers: int = pydantic.Field(default=1, gt=0)
    attention: Literal["additive", "none"] = "additive"
    attention_size: int = pydantic.Field(default=64, gt=0)
    dropout: float = pydantic.Field(default=0.0, ge=0, lt=1)


@dataclass(frozen=True)
class Memory:
    """The encoded source, for the decoder to look at.

    ``values`` (batch, source_time, 2 encoder_hidden), ``keys`` (batch, source_time, attention_size) their part of the
    energies, ``mask`` (batch, source_time) bool, True at real steps.
    """

    values: Tensor
    keys: Tensor
    mask: Tensor

    def select(self, rows: Tensor) -> Memory:
        """Give the memory of the batch rows ``rows`` (n,) int64, in that order; a row may come several times."""
        return Memory(self.values[rows], self.keys[rows], self.mask[rows])


class EncoderDecoder(nn.Module):
    """Encoder, attention and decoder over embedded symbols.

    ``encode`` a source once, then ``decode`` whole targets (teacher forcing) or one step after another (search): the
    numbers are the same. State goes in and comes out.
    """

    def __init__(self, settings: Settings, input_size: int) -> None:
        super().__init__()
        hidden, layers = settings.hidden, settings.layers
        encoder_hidden = settings.encoder_hidden or hidden
        memory_size = 2 * encoder_hidden
        between = settings.dropout if layers > 1 else 0.0
        cell = CELLS[settings.cell]
        self.cell = settings.cell
        self.output_size = hidden
        self.encoder = cell(input_size, encoder_hidden, layers, batch_first=True, bidirectional=True, dropout=between)
        self.decoder = cell(input_size, hidden, layers, batch_first=True, dropout=between)
        self.bridge = nn.ModuleList(nn.Linear(memory_size, hidden) for _ in range(2 if settings.cell == "lstm" else 1))
        self.attention = None
        if settings.attention == "additive":
            self.attention = AdditiveAttention(hidden, memory_size, settings.attention_size)
        self.combine = nn.Linear(hidden + (memory_size if self.attention else 0), hidden)
        self.dropout = nn.Dropout(settings.dropout)

    def encode(self, source: Tensor, lengths: Tensor) -> tuple[Memory, State]:
        """Read ``source`` (batch, source_time, input_size) of ``lengths`` (batch,), and give the decoder's first state.

        The first state of each layer is tanh(W [last forward state; last backward state]); for an LSTM's cell the same
        without tanh.
        """
        packed = pack_padded_sequence(source, lengths.cpu(), batch_first=True, enforce_sorted=False)
        outputs, last = self.encoder(packed)
        values, _ = pad_packed_sequence(outputs, batch_first=True, total_length=source.shape[1])
        values = self.dropout(values)
        parts = last if isinstance(last, tuple) else (last,)
        joined = [_join_directions(part) for part in parts]  # (batch, layers, 2 hidden) each
        first = [bridge(part) for bridge, part in zip(self.bridge, joined, strict=True)]
        keys = self.attention.memory(values) if self.attention else values[..., :0]
        return Memory(values, keys, mask(lengths, source.shape[1])), (torch.tanh(first[0]), *first[1:])

    def decode(self, target: Tensor, state: State, memory: Memory) -> tuple[Tensor, State, Tensor | None]:
        """Read ``target`` (batch, steps, input_size) from ``state`` on.

        Gives outputs (batch, steps, output_size), the state after the last step, and the attention weights (batch,
        steps, source_time), which sum to 1 over the source and are 0 at padding; none without attention.
        """
        before = tuple(part.transpose(0, 1).contiguous() for part in state)
        hidden, after = self.decoder(target, before if self.cell == "lstm" else before[0])
        parts = after if isinstance(after, tuple) else (after,)
        next_state = tuple(part.transpose(0, 1) for part in parts)
        weights = None
        if self.attention:
            weights = self.attention(hidden, memory)
            # Luong et al. 2015, equation 5.
            hidden = torch.cat([hidden, weights @ memory.values], dim=-1)
        return self.dropout(torch.tanh(self.combine(hidden))), next_state, weights


class AdditiveAttention(nn.Module):
    """Weights over the source: softmax_s of v . tanh(W h_t + U m_s + b) (Bahdanau et al. 2015, A.1.2)."""

    def __init__(self, query_size: int, memory_size: int, size: int) -> None:
        super().__init__()
        self.query = nn.Linear(query_size, size, bias=False)
        self.memory = nn.Linear(memory_size, size)
        self.energy = nn.Linear(size, 1, bias=False)

    def forward(self, queries: Tensor, memory: Memory) -> Tensor:
        """Weigh, for ``queries`` (batch, steps, query_size): (batch, steps, source_time)."""
        joined = torch.tanh(self.query(queries)[:, :, None] + memory.keys[:, None])  # (batch, steps, source_time, size)
        energies: Tensor = self.energy(joined).squeeze(-1)
        return energies.masked_fill(~memory.mask[:, None], -torch.inf).softmax(dim=-1)


def _join_directions(last: Tensor) -> Tensor:
    """(layers x 2, batch, hidden), forward before backward in each layer, to (batch, layers, 2 hidden)."""
    directions, batch, hidden = last.shape
    return last.view(directions // 2, 2, batch, hidden).permute(2, 0, 1, 3).reshape(batch, directions // 2, 2 * hidden)


def build(settings: Settings, input_size: int) -> EncoderDecoder:
    """Build the model for embeddings of ``input_size``, source and target alike."""
    return EncoderDecoder(settings, input_size)
