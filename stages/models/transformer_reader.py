"""A small Transformer that reads a story, the modern point of reference (Vaswani et al. 2017).

The sentences and the question are the steps; each layer normalises first (Xiong et al. 2020). The answer is read off
the question's step. In the last layer that step alone looks.
"""

from __future__ import annotations

import pydantic
import torch
from torch import Tensor, nn

from stages.core.base.params import settings
from stages.core.learning.batch import Padded


@settings
class Settings:
    """``width`` of a layer, ``heads`` of its attention; the inner network has twice the width. ``words``: rows of the
    mask that weighs a sentence's words by their place; ``times``: rows of the encoding of a sentence's place, counted
    from the story's end; what lies beyond shares the last row. ``time_noise``: in training, the chance that a
    sentence counts as two. ``dropout`` of sentences and of each part of a layer.
    """

    width: int = pydantic.Field(gt=0)
    heads: int = pydantic.Field(default=4, gt=0)
    layers: int = pydantic.Field(default=3, gt=0)
    words: int = pydantic.Field(gt=0)
    times: int = pydantic.Field(gt=0)
    time_noise: float = pydantic.Field(default=0.0, ge=0, lt=1)
    dropout: float = pydantic.Field(default=0.1, ge=0, lt=1)

    @pydantic.model_validator(mode="after")
    def _divides(self) -> Settings:
        if self.width % self.heads:
            raise ValueError(f"width should be a multiple of heads, which is {self.heads}")
        return self


def build(settings: Settings, input_size: int) -> TransformerReader:
    """Build the network for a vocabulary of ``input_size`` words."""
    return TransformerReader(settings, input_size)


class Layer(nn.Module):
    """Attention of the steps to each other, then a network of one hidden layer; each is added to what it reads."""

    def __init__(self, settings: Settings) -> None:
        super().__init__()
        width = settings.width
        self.heads = settings.heads
        self.before, self.between = nn.LayerNorm(width), nn.LayerNorm(width)
        self.query, self.keys_and_values = nn.Linear(width, width), nn.Linear(width, 2 * width)
        self.output = nn.Linear(width, width)
        self.inner = nn.Sequential(nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width))
        self.dropout = nn.Dropout(settings.dropout)

    def forward(self, steps: Tensor, real: Tensor, looking: slice) -> tuple[Tensor, Tensor]:
        """(batch, step, width) -> the steps ``looking`` (batch, looking, width), and the weight, the heads' mean,
        that each of them gives to every step (batch, looking, step); 0 where ``real`` (batch, step) is False.
        """
        normal = self.before(steps)
        split = lambda values: values.unflatten(2, (self.heads, -1)).transpose(
            1, 2
        )  # (batch, head, step, width / head)
        query = split(self.query(normal[:, looking]))
        key, value = map(split, self.keys_and_values(normal).chunk(2, dim=2))
        scores = query @ key.transpose(2, 3) / key.shape[3] ** 0.5
        weights = scores.masked_fill(~real[:, None, None], -torch.inf).softmax(dim=3)
        read = self.output((weights @ value).transpose(1, 2).flatten(2))
        steps = steps[:, looking] + self.dropout(read)
        return steps + self.dropout(self.inner(self.between(steps))), weights.mean(dim=1)


class TransformerReader(nn.Module):
    """Transformer over the steps (question, first sentence, ..., last sentence)."""

    look = "layer"

    def __init__(self, settings: Settings, input_size: int) -> None:
        super().__init__()
        width = settings.width
        self.embedding = nn.Parameter(torch.randn(input_size, width) / width**0.5)
        self.mask = nn.Parameter(torch.ones(settings.words, width) + 0.1 * torch.randn(settings.words, width))
        self.temporal = nn.Parameter(torch.randn(settings.times, width) / width**0.5)
        self.asking = nn.Parameter(torch.randn(width) / width**0.5)
        self.layers = nn.ModuleList(Layer(settings) for _ in range(settings.layers))
        self.after = nn.LayerNorm(width)
        self.answers = nn.Linear(width, input_size)
        self.time_noise = settings.time_noise
        self.dropout = nn.Dropout(settings.dropout)

    def forward(
        self, sentences: Padded, story: Padded, question: Padded, linear: bool = False
    ) -> tuple[Tensor, Tensor]:
        """Read the stories and the questions.

        ``sentences`` (unique, word) are the words of every sentence that stands somewhere in the batch, once each;
        ``story`` (batch, sentence) are indices into them, at least one sentence a story; ``question`` (batch, word)
        are words. ``linear`` has no meaning here.

        Gives the scores of every word of the vocabulary as the answer (batch, input_size), unnormalised, and the weight
        that the question's step gives to each sentence (batch, layer, sentence), the mean over the heads: 0 at padding,
        and with what it gives to itself their sum is 1.
        """
        told = self._embed(sentences)[story.values] + self.temporal[self._times(story)]
        steps = self.dropout(torch.cat([(self._embed(question) + self.asking)[:, None], told], dim=1))
        real = nn.functional.pad(story.mask, (1, 0), value=True)
        attention = []
        for layer in self.layers:
            looking = slice(1) if layer is self.layers[-1] else slice(None)
            steps, weights = layer(steps, real, looking)
            attention.append(weights[:, 0, 1:])
        return self.answers(self.after(steps[:, 0])), torch.stack(attention, dim=1)

    def _embed(self, sentences: Padded) -> Tensor:
        """Sum the words of sentences (sentence, word), weighed by their places' rows of ``mask``: (sentence, width)."""
        place = torch.arange(sentences.values.shape[1], device=sentences.values.device).clamp(max=len(self.mask) - 1)
        return (self.embedding[sentences.values] * self.mask[place] * sentences.mask[..., None]).sum(dim=1)

    def _times(self, story: Padded) -> Tensor:
        """How far back each sentence stands, 0 for the last one, as rows of ``temporal`` (batch, sentence)."""
        back = story.lengths[:, None] - 1 - torch.arange(story.values.shape[1], device=story.values.device)
        if self.training and self.time_noise:
            twice = (torch.rand(story.values.shape, device=back.device) < self.time_noise) & story.mask
            back = back + twice.flip(1).cumsum(1).flip(1)
        return back.clamp(0, len(self.temporal) - 1)
