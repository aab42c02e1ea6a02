"""Recurrent entity network (Henaff et al. 2017, "Tracking the World State with Recurrent Entity Networks").

Blocks of memory, each with a key, read a story one sentence after the other; a gate lets a block take note of the
sentences that concern it. The question then looks for the blocks that match it. Symbols and numbers are the paper's.
"""

from __future__ import annotations

import pydantic
import torch
from torch import Tensor, nn

from stages.core.base.params import settings
from stages.core.learning.batch import Padded


@settings
class Settings:
    """``blocks``: memories h_j with their keys w_j. ``embedding_size``: d. ``words``: rows of the mask f; the words of
    a sentence beyond that share the last row. ``dropout``: in training, the share of the dimensions of encoded
    sentences and questions that are set to 0.
    """

    blocks: int = pydantic.Field(gt=0)
    embedding_size: int = pydantic.Field(gt=0)
    words: int = pydantic.Field(gt=0)
    dropout: float = pydantic.Field(default=0.0, ge=0, lt=1)


def build(settings: Settings, input_size: int) -> EntityNetwork:
    """Build the network for a vocabulary of ``input_size`` words."""
    return EntityNetwork(settings, input_size)


class EntityNetwork(nn.Module):
    """Entity network: ``U``, ``V``, ``W``, ``H`` (d, d) and ``R`` (word, d) are the paper's matrices, ``keys``
    (block, d) its w, ``slopes`` (2, d) those of the parametric ReLU phi, in the memory and in the output.

    Every block starts as its key.
    """

    look = "gate"

    def __init__(self, settings: Settings, input_size: int) -> None:
        super().__init__()
        size = settings.embedding_size
        self.embedding = nn.Parameter(0.1 * torch.randn(input_size, size))
        self.mask = nn.Parameter(torch.ones(settings.words, size))
        self.keys = nn.Parameter(0.1 * torch.randn(settings.blocks, size))
        self.U, self.V, self.W, self.H = (nn.Parameter(0.1 * torch.randn(size, size)) for _ in range(4))
        self.R = nn.Parameter(0.1 * torch.randn(input_size, size))
        self.slopes = nn.Parameter(torch.ones(2, size))
        self.dropout = nn.Dropout(settings.dropout)

    def forward(
        self, sentences: Padded, story: Padded, question: Padded, linear: bool = False
    ) -> tuple[Tensor, Tensor]:
        """Read the stories, then the questions.

        ``sentences`` (unique, word) are the words of every sentence that stands somewhere in the batch, once each;
        ``story`` (batch, sentence) are indices into them, at least one sentence a story; ``question`` (batch, word)
        are words. ``linear`` leaves out the softmax over the blocks.

        Gives the scores of every word of the vocabulary as the answer (batch, input_size), unnormalised, and how much
        each sentence was taken note of in the blocks that the answer was read from, sum over j of p_j g_j
        (batch, 1, sentence): without ``linear`` from 0 to 1, and 0 at padding.
        """
        h, gates = self._remember(self._encode(sentences), story)
        q = self._encode(question)
        scores = torch.einsum("bd,bjd->bj", q, h)
        p = scores if linear else scores.softmax(dim=1)  # equation 6
        u = torch.einsum("bj,bjd->bd", p, h)
        y = self._phi(q + u @ self.H.T, self.slopes[1]) @ self.R.T
        return y, torch.einsum("bj,btj->bt", p, gates)[:, None]

    def _encode(self, sentences: Padded) -> Tensor:
        """Encode sentences (sentence, word) as s = sum over i of f_i * e_i, equation 1: (sentence, d)."""
        place = torch.arange(sentences.values.shape[1], device=sentences.values.device).clamp(max=len(self.mask) - 1)
        embedded = self.embedding[sentences.values] * self.mask[place]
        encoded: Tensor = self.dropout((embedded * sentences.mask[..., None]).sum(dim=1))
        return encoded

    def _remember(self, encoded: Tensor, story: Padded) -> tuple[Tensor, Tensor]:
        """Read the sentences of each story, rows of ``encoded``: the blocks h (batch, block, d) after the last one, and
        the gates g (batch, sentence, block), 0 at padding.
        """
        # What does not depend on h is computed once a sentence, and picked.
        key_scores, written, keys = encoded @ self.keys.T, encoded @ self.W.T, self.keys @ self.V.T
        h = self.keys.expand(len(story.values), -1, -1)
        gates = []
        for index, real in zip(story.values.T, story.mask.T[..., None], strict=True):
            matched = torch.einsum("bd,bjd->bj", encoded[index], h)
            g = (matched + key_scores[index]).sigmoid() * real  # equation 2
            candidate = self._phi(h @ self.U.T + keys + written[index][:, None], self.slopes[0])  # equation 3
            moved = h + g[..., None] * candidate  # equation 4
            h = torch.where(real[..., None], nn.functional.normalize(moved, dim=2), h)  # equation 5
            gates.append(g)
        return h, torch.stack(gates, dim=1)

    def _phi(self, values: Tensor, slopes: Tensor) -> Tensor:
        """Parametric ReLU; the identity where the slopes are 1, as they are at first."""
        return values.relu() - slopes * (-values).relu()
