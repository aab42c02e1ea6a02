"""Memory network over windows (Hill et al. 2016, "The Goldilocks Principle", sections 3.3 and 3.4).

A memory is the window of words around one mention of a candidate, and the question the window around its gap. Both are
embedded with a vector for each place in the window, so that the word just before the gap looks for the word just
before a candidate; the attention over the windows is the answer, as its training supervises it directly.
"""

from __future__ import annotations

import pydantic
import torch
from torch import Tensor, nn

from stages.core.base.params import settings
from stages.core.learning.batch import Padded


@settings
class Settings:
    """``window``: words on either side of a mention. ``embedding_size``: d. ``scale``: standard deviation of the
    embeddings at the start. ``times``: sentences back that are told apart; one further back shares the last.
    ``dropout``: in training, the share of the dimensions of embedded windows that are set to 0.
    """

    window: int = pydantic.Field(gt=0)
    embedding_size: int = pydantic.Field(gt=0)
    scale: float = pydantic.Field(gt=0)
    times: int = pydantic.Field(gt=0)
    dropout: float = pydantic.Field(default=0.0, ge=0, lt=1)


def build(settings: Settings, input_size: int) -> WindowMemoryNetwork:
    """Build the network for a vocabulary of ``input_size`` words, of which word 0 is padding."""
    return WindowMemoryNetwork(settings, input_size)


class WindowMemoryNetwork(nn.Module):
    """``embedding`` (word, d), ``places`` (2 window + 1, d) and ``recency`` (times,)."""

    def __init__(self, settings: Settings, input_size: int) -> None:
        super().__init__()
        self.window = settings.window
        size = settings.embedding_size
        self.embedding = nn.Parameter(settings.scale * torch.randn(input_size, size))
        # Around 1: at the start a word is looked for in the same place first, but in all others too.
        self.places = nn.Parameter(1 + torch.randn(2 * settings.window + 1, size))
        self.recency = nn.Parameter(torch.zeros(settings.times))
        self.dropout = nn.Dropout(settings.dropout)

    def forward(self, windows: Tensor, story: Padded, back: Tensor, question: Tensor) -> Tensor:
        """Give the attention (batch, memory) as logarithms of weights that sum to 1; -inf at padding.

        ``windows`` (row, 2 window + 1) are the words of every window in the batch, once each; ``story`` (batch, memory)
        are rows of it, at least one a question; ``back`` (batch, memory) counts the sentences from the window's to the
        last one; ``question`` (batch, 2 window + 1) are words. Word 0 is beyond a sentence's end.
        """
        rows, u = self._embed(windows), self._embed(question)  # (row, d), (batch, d)
        scores = (u @ rows.T).gather(1, story.values) + self.recency[back.clamp(max=len(self.recency) - 1)]
        return scores.masked_fill(~story.mask, -torch.inf).log_softmax(dim=1)

    def _embed(self, windows: Tensor) -> Tensor:
        """Sum over the places j of p_j * A x_j, of words (row, place): (row, d)."""
        words = self.embedding[windows] * windows.ne(0)[..., None]
        embedded: Tensor = self.dropout((words * self.places).sum(dim=1))
        return embedded
