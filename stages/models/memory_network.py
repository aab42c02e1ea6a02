"""End-to-end memory network (Sukhbaatar et al. 2015, "End-To-End Memory Networks").

A story is a memory of sentences. The question's vector u looks for sentences that match it, adds what they hold, and
looks again, a number of hops; the answer is read off the last u. Symbols and section numbers are the paper's.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Literal

import pydantic
import torch
from torch import Tensor, nn

from stages.core.base.params import settings
from stages.core.learning.batch import Padded


@settings
class Settings:
    """``hops``: looks at the memory. ``embedding_size``: d. ``tying``: how the hops share weights (section 2.2).
    ``times``: rows of the temporal encoding; a sentence that stands further back than that shares the last row.
    ``time_noise``: in training, the chance that an empty memory
    follows a sentence. ``rectified``: share of the dimensions of u that pass a ReLU after each hop; the paper's model
    for questions has none, that for language half (section 5). ``dropout``: in training, the share of the dimensions
    of embedded sentences and questions that are set to 0.
    """

    hops: int = pydantic.Field(gt=0)
    embedding_size: int = pydantic.Field(gt=0)
    tying: Literal["adjacent", "layer_wise"] = "adjacent"
    times: int = pydantic.Field(gt=0)
    time_noise: float = pydantic.Field(ge=0, lt=1)
    rectified: float = pydantic.Field(default=0.0, ge=0, le=1)
    dropout: float = pydantic.Field(default=0.0, ge=0, lt=1)


def build(settings: Settings, input_size: int) -> MemoryNetwork:
    """Build the network for a vocabulary of ``input_size`` words."""
    return MemoryNetwork(settings, input_size)


class MemoryNetwork(nn.Module):
    """Memory network whose hops share weights in one of the paper's two ways (section 2.2).

    - ``adjacent``: A^(k+1) = C^k, B = A^1, W^T = C^K. ``embedding`` (hop + 1, word, d) holds A^1, C^1, ..., C^K, and
      ``temporal`` (hop + 1, time, d) T_A^1, T_C^1, ..., T_C^K (section 4.1).
    - ``layer_wise``: A^1 = ... = A^K, C^1 = ... = C^K, and u passes the linear map ``projection``, H, between hops.
      ``embedding`` (4, word, d) holds A, C, B and W^T, and ``temporal`` (2, time, d) T_A and T_C.
    """

    look = "hop"

    def __init__(self, settings: Settings, input_size: int) -> None:
        super().__init__()
        size, adjacent = settings.embedding_size, settings.tying == "adjacent"
        self.hops, self.adjacent = settings.hops, adjacent
        memories = settings.hops + 1 if adjacent else 2
        self.embedding = nn.Parameter(0.1 * torch.randn(memories if adjacent else 4, input_size, size))
        self.temporal = nn.Parameter(0.1 * torch.randn(memories, settings.times, size))
        self.projection = nn.Identity() if adjacent else nn.Linear(size, size, bias=False)
        self.time_noise = settings.time_noise
        self.rectified = round(settings.rectified * size)
        self.dropout = nn.Dropout(settings.dropout)

    def forward(
        self, sentences: Padded, story: Padded, question: Padded, linear: bool = False
    ) -> tuple[Tensor, Tensor]:
        """Read the stories with the questions in mind.

        ``sentences`` (unique, word) are the words of every sentence that stands somewhere in the batch, once each;
        ``story`` (batch, sentence) are indices into them, at least one sentence a story; ``question`` (batch, word)
        are words. ``linear`` leaves out the softmax of the attention ("linear start", section 4.2); see
        ``linear_attention``.

        Gives the scores of every word of the vocabulary as the answer (batch, input_size), unnormalised, and the
        attention p (batch, hop, sentence): each hop's weights sum to 1, unless ``linear``, and are 0 at padding.
        """
        # Sentences and question are looked up together, which takes less time than one after the other.
        tables = self.embedding if self.adjacent else self.embedding[:-1]
        embedded = self._embed(_joined(sentences, question), tables)
        memories, asked = embedded.split([len(sentences.values), len(question.values)])
        u = asked[:, 0 if self.adjacent else 2]  # (batch, d)
        # A memory is the sum of its sentence's row and its time's row. Inner products are taken once a row and picked
        # for each story, so that no tensor of batch x sentence x d is needed.
        rows = [torch.cat(pair) for pair in zip(memories.unbind(1), self.temporal.unbind(), strict=False)]  # (row, d)
        index = torch.cat([story.values, len(sentences.values) + self._times(story)], dim=1)  # (batch, 2 sentence)
        mask = story.mask
        attention = []
        for now, after in pairwise(rows) if self.adjacent else [rows] * self.hops:
            scores = (u @ now.T).gather(1, index).unflatten(1, (2, -1)).sum(dim=1)  # (batch, sentence)
            p = linear_attention(scores, story) if linear else masked_softmax(scores, mask)  # equation 1
            spread = p.new_zeros(len(p), len(after)).scatter_add(1, index, torch.cat([p, p], dim=1))
            u = self._rectify(torch.addmm(self.projection(u), spread, after))  # equations 2, 4 and 7
            attention.append(p)
        return u @ self.embedding[-1].T, torch.stack(attention, dim=1)

    def _embed(self, sentences: Padded, tables: Tensor) -> Tensor:
        """Embed sentences (sentence, word) by each of ``tables`` (table, vocabulary, d): (sentence, table, d).

        The sum over j of l_j * A x_j, with l_kj = 1 + a_j b_k, is a sum of rows of A, and of b * A weighted by a_j.
        """
        a, b = (factor.to(tables.dtype) for factor in position_encoding(sentences, tables.shape[-1]))
        index, weights = sentences.values.repeat(2, 1), torch.cat([sentences.mask.to(a), a])
        rows = tables.transpose(0, 1).flatten(1)  # (vocabulary, table x d)
        sums = nn.functional.embedding_bag(index, rows, mode="sum", per_sample_weights=weights)
        plain, placed = sums.unflatten(1, (-1, tables.shape[2])).chunk(2)
        embedded: Tensor = self.dropout(torch.addcmul(plain, placed, b))
        return embedded

    def _rectify(self, u: Tensor) -> Tensor:
        """ReLU of the first ``rectified`` dimensions of u (batch, d)."""
        return torch.cat([u[:, : self.rectified].relu(), u[:, self.rectified :]], dim=1) if self.rectified else u

    def _times(self, story: Padded) -> Tensor:
        """How far back each sentence stands, 0 for the last one, as rows of ``temporal`` (batch, sentence).

        In training empty memories are strewn in at random ("random noise", section 4.2).
        """
        back = story.lengths[:, None] - 1 - torch.arange(story.values.shape[1], device=story.values.device)
        if self.training and self.time_noise:
            empty = (torch.rand(story.values.shape, device=back.device) < self.time_noise) & story.mask
            back = back + empty.flip(1).cumsum(1).flip(1)
        return back.clamp(0, self.temporal.shape[1] - 1)


def _joined(first: Padded, second: Padded) -> Padded:
    """Put the sequences of ``second`` below those of ``first``, all padded to the longest."""
    longest = max(first.values.shape[1], second.values.shape[1])
    values = [nn.functional.pad(part.values, (0, longest - part.values.shape[1])) for part in (first, second)]
    return Padded(torch.cat(values), torch.cat([first.lengths, second.lengths]))


def position_encoding(sentences: Padded, size: int) -> tuple[Tensor, Tensor]:
    """Factors a (sentence, word) and b (d,) of the position encoding l_kj = 1 + a_j b_k of section 4.1.

    With word j of J and dimension k of d, both counted from 1, l_kj = 1 + 4 (j - (J+1)/2) (k - (d+1)/2) / (J d), the
    form of the authors' code. a is 0 at padding.
    """
    j = torch.arange(1, sentences.values.shape[1] + 1, device=sentences.values.device)
    k = torch.arange(1, size + 1, device=sentences.values.device)
    lengths = sentences.lengths[:, None]
    a = 4 * (j - (lengths + 1) / 2) / lengths
    return a.masked_fill(~sentences.mask, 0), (k - (size + 1) / 2) / size


def linear_attention(scores: Tensor, story: Padded) -> Tensor:
    """``scores`` (batch, sentence) without a softmax, divided by the number of the story's sentences; 0 at padding.

    The paper does not divide. Its memory holds 50 sentences at most; a story of 200 would move u, a sum over sentences
    that each hop multiplies by such a sum again, so far that the loss explodes.
    """
    return scores.masked_fill(~story.mask, 0) / story.lengths[:, None]


def masked_softmax(scores: Tensor, mask: Tensor) -> Tensor:
    """Softmax of ``scores`` (batch, time) over the steps where ``mask`` is True; exactly 0 elsewhere."""
    return scores.masked_fill(~mask, -torch.inf).softmax(dim=1)
