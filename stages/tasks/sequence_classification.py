"""Sequence classification: a text in, one class out (many to one).

The encoder may be trained without labels first. A peer reads the words or characters themselves.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import groupby
from pathlib import Path
from typing import Annotated, Any, Literal, TextIO

import pydantic
import torch
from torch import Tensor, nn

from stages.core.base.errors import InputError
from stages.core.base.params import settings
from stages.core.learning.batch import Padded, Recurrence, pad, pad_indices
from stages.core.learning.dataset import Example
from stages.core.learning.task import Batch, Peer, Task, Training, build_network, build_peer, read_lines, trace_model
from stages.core.learning.vocabulary import PADDING, UNKNOWN, Unit, Vocabulary, tokens

FEWEST = 3  # an n-gram seen less often has no vector
UNSEEN = -100  # the class's index where it is unknown; such an example has no part in the loss
Pooling = Literal["last", "mean", "max", "attention"]


@settings
class Pretraining:
    """The first ``epochs`` of a training train a language model, on the texts of the training split and of ``split``.

    It predicts the ``frequent`` most frequent steps. The learning rate falls linearly to 0; the optimizer then starts
    afresh. ``dropout`` and ``word_dropout`` stand in for those of the task.
    """

    split: str
    epochs: int = pydantic.Field(gt=0)
    frequent: int = pydantic.Field(default=5000, ge=16)
    learning_rate: float = pydantic.Field(gt=0)
    weight_decay: float = pydantic.Field(default=0.0, ge=0)
    dropout: float = pydantic.Field(default=0.0, ge=0, lt=1)
    word_dropout: float = pydantic.Field(default=0.0, ge=0, lt=1)


@settings
class Settings:
    """``inputs``: the example's fields that are read one after the other, each a text or a list of texts. ``target``:
    the field with the class. ``unit``: what a step is. ``longest``: so many steps of an example are read, what follows
    is not (none: all are).

    ``embedding_size``: dimensions of a step's vector; ``embedding_scale``: their standard deviation at first, small
    where most steps are rare, since a rare one's vector remains near where it began. ``ngrams``: lengths of the n-grams
    of characters whose vectors' mean is added to the step's own (Bojanowski et al. 2017): those in a word between "<"
    and ">", or those that end at a character. ``dropout``: the share of dimensions set to 0, of the embedding and of
    the pooled output; ``word_dropout``: of steps that become <unk>; both in training only. ``pooling``: how the outputs
    of all steps become one vector, ``last`` being the output at the last step.

    ``best``: the validation score that decides which epoch is the best; as the network grows too sure, the loss may
    rise where the accuracy does too. Without ``embedding_size``, the model is a peer, and of the settings only the
    first three have a part in it.
    """

    inputs: list[str] = pydantic.Field(min_length=1)
    target: str
    unit: Unit
    embedding_size: int | None = pydantic.Field(default=None, gt=0)
    embedding_scale: float = pydantic.Field(default=1.0, gt=0)
    dropout: float = pydantic.Field(default=0.0, ge=0, lt=1)
    word_dropout: float = pydantic.Field(default=0.0, ge=0, lt=1)
    pooling: Pooling = "last"
    longest: int | None = pydantic.Field(default=None, gt=0)
    ngrams: list[Annotated[int, pydantic.Field(gt=1)]] = pydantic.Field(default_factory=list)
    best: Literal["loss", "accuracy"] = "loss"
    pretraining: Pretraining | None = None

    @pydantic.model_validator(mode="after")
    def _is_sightless(self) -> Settings:
        if self.pretraining and self.ngrams and self.unit == "character":
            raise ValueError("pretraining cannot have ngrams of characters as steps: they hold the step before")
        return self

    @property
    def further_splits(self) -> list[str]:
        """Splits whose examples, without labels, belong to the training examples."""
        return [self.pretraining.split] if self.pretraining else []


def fit_vocabularies(examples: list[Example], settings: Settings) -> dict[str, Vocabulary]:
    """Collect "steps", the words or characters of the inputs, "ngrams" of them, and "labels", the classes."""
    texts = [tokens(text, settings.unit) for example in examples for text in _texts(example, settings)]
    steps = (step for text in texts for step in text)
    labels = (example[settings.target] for example in examples if settings.target in example)
    vocabularies = {"steps": Vocabulary.of(steps), "labels": Vocabulary.of(labels, specials=())}
    if settings.ngrams:
        found = (ngram for text in texts for step in ngrams(text, settings) for ngram in step)
        vocabularies["ngrams"] = Vocabulary.of(found, specials=(PADDING,), least=FEWEST)
    return vocabularies


def ngrams(steps: list[str], settings: Settings) -> list[list[str]]:
    """Give the n-grams of each of ``steps``, the words or characters of a text."""
    if settings.unit == "character":
        text = "".join(steps)
        return [[text[end - n : end] for n in settings.ngrams if n <= end] for end in range(1, len(text) + 1)]
    marked = [f"<{word}>" for word in steps]
    return [[word[i : i + n] for n in settings.ngrams for i in range(len(word) - n + 1)] for word in marked]


def build(
    settings: Settings, vocabularies: dict[str, Vocabulary], build_model: Callable[[int], nn.Module]
) -> Classification:
    """Build the task; ``build_model`` is given the embedding's size.

    Raises InputError where the model cannot be pretrained.
    """
    if settings.embedding_size is None:
        return PeerClassification(settings, vocabularies, build_peer(build_model, "embedding_size"))
    model = build_network(build_model, settings.embedding_size, "embedding_size")
    return SequenceClassification(settings, vocabularies, model)


class Classification(Task):
    """What networks and peers share: their examples, labels and score."""

    def __init__(self, settings: Settings, vocabularies: dict[str, Vocabulary]) -> None:
        super().__init__(vocabularies)
        self.settings = settings
        self.steps, self.labels = vocabularies["steps"], vocabularies["labels"]
        self._right = self._asked = 0

    def log_probabilities(self, batch: Batch) -> Tensor:
        """Give the log probability of each class (batch, label)."""
        raise NotImplementedError

    def loss(self, batch: Batch) -> tuple[Tensor, int]:
        """Give the mean cross-entropy of the classes, in nats, and their number."""
        target = _tensor(batch, "target")
        items = int(target.ne(UNSEEN).sum())
        total = nn.functional.nll_loss(self.log_probabilities(batch), target, ignore_index=UNSEEN, reduction="sum")
        return total / max(items, 1), items

    def validation_update(self, batch: Batch) -> None:
        """Count the right classes."""
        target = _tensor(batch, "target")
        self._right += int(self.log_probabilities(batch).argmax(dim=1).eq(target).sum())
        self._asked += len(target)

    def validation_scores(self) -> dict[str, float]:
        """Give the accuracy in percent; none (NaN) where nothing was asked."""
        right, asked = self._right, self._asked
        self._right = self._asked = 0
        return {"validation_accuracy": 100 * right / asked if asked else torch.nan}

    def _targets(self, examples: list[Example]) -> Tensor:
        name = self.settings.target
        return torch.tensor([self.labels.index.get(example.get(name, ""), UNSEEN) for example in examples])

    def read_input(self, source: Path | TextIO) -> list[Example]:
        """Read texts: one a line where there is one input field.

        Where there are more, an example is a paragraph, an empty line ends it, and its last lines are the fields in
        their order; whatever lines are left over go to the first field. Raises InputError where a paragraph is too
        short or there is nothing to read.
        """
        lines = [(number, line.strip()) for number, line in enumerate(read_lines(source), start=1)]
        if len(self.settings.inputs) == 1:
            return [{self.settings.inputs[0]: line} for _, line in lines if line]
        paragraphs = [list(group) for filled, group in groupby(lines, key=lambda line: bool(line[1])) if filled]
        return [self._parse(paragraph) for paragraph in paragraphs]

    def present(self, record: dict[str, Any]) -> str:
        """Show the text, its class, the probability of that class and, with attention, the steps of most weight."""
        texts = _texts(record, self.settings)
        lines = [*texts, f"  => {record['prediction']} ({100 * record['confidence']:.1f} %)"]
        if "attention" in record:
            most = sorted(zip(record["attention"], record["steps"], strict=True), reverse=True)[:3]
            lines.append(f"     attention: {', '.join(f'{step} {100 * weight:.0f} %' for weight, step in most)}")
        found = dict.fromkeys(step for text in texts for step in tokens(text, self.settings.unit))
        unknown = [step for step in found if step not in self.steps.index]
        if unknown:
            lines.append(f"     never seen in training, taken as unknown: {', '.join(unknown)}")
        return "\n".join(lines)

    def _parse(self, paragraph: list[tuple[int, str]]) -> Example:
        """Make an example of the numbered lines of one paragraph."""
        first, *others = self.settings.inputs
        if len(paragraph) < 1 + len(others):
            raise InputError(
                f"line {paragraph[0][0]} of the input starts an example of {len(paragraph)} lines, but it needs one "
                f"for each of: {', '.join(self.settings.inputs)}"
            )
        texts = [text for _, text in paragraph]
        start = len(texts) - len(others)
        return {first: texts[:start], **dict(zip(others, texts[start:], strict=True))}


class PeerClassification(Classification):
    """A peer that is fitted to (steps, label), and gives ``log_probabilities`` of steps by label.

    A batch holds "steps", a list of words or characters for each example, and "target" (batch,).
    """

    monitor, monitor_mode = "validation_accuracy", "max"

    def __init__(self, settings: Settings, vocabularies: dict[str, Vocabulary], model: Peer) -> None:
        super().__init__(settings, vocabularies)
        self.model: Any = model

    def size(self, example: Example) -> int:
        """Give the number of words or characters."""
        return len(self._read(example))

    def collate(self, examples: list[Example]) -> Any:
        """Read the examples."""
        return {"steps": [self._read(example) for example in examples], "target": self._targets(examples)}

    def fit_peer(self, examples: list[Example]) -> None:
        """Fit to steps and labels."""
        labels = [example[self.settings.target] for example in examples]
        self.model.fit([self._read(example) for example in examples], labels)

    def log_probabilities(self, batch: Any) -> Tensor:
        """Give the log probability of each class (batch, label)."""
        rows = self.model.log_probabilities(batch["steps"])
        return torch.tensor([[row[label] for label in self.labels.symbols] for row in rows])

    def _read(self, example: Example) -> list[str]:
        return [step for text in _texts(example, self.settings) for step in tokens(text, self.settings.unit)]


class SequenceClassification(Classification):
    """Cross-entropy of the class, or in the epochs of pretraining of the neighbouring steps.

    A batch holds indices: "steps" (batch, time); "inputs" (batch, time), the same but for those dropped in training;
    "target" (batch,), the classes; where the settings name n-grams, "ngrams" (batch, time, n-gram), 0 for none.
    """

    def __init__(self, settings: Settings, vocabularies: dict[str, Vocabulary], model: nn.Module) -> None:
        super().__init__(settings, vocabularies)
        assert settings.embedding_size is not None
        if settings.best == "accuracy":
            self.monitor, self.monitor_mode = "validation_accuracy", "max"
        self.embedding = nn.Embedding(len(self.steps), settings.embedding_size, self.steps.index[PADDING])
        vectors: list[Tensor] = [self.embedding.weight]
        self.ngrams = vocabularies.get("ngrams")
        self.ngram_embedding: nn.EmbeddingBag | None = None
        if self.ngrams:
            self.ngram_embedding = nn.EmbeddingBag(len(self.ngrams), settings.embedding_size, padding_idx=0)
            vectors.append(self.ngram_embedding.weight)
        with torch.no_grad():
            for weight in vectors:
                weight.mul_(settings.embedding_scale)
        self.model = model
        size = int(model.output_size)  # type: ignore[arg-type]
        self.attention = Attention(size) if settings.pooling == "attention" else None
        self.head = nn.Linear(size, len(self.labels))
        self.language_model: LanguageModel | None = None
        if settings.pretraining:
            frequent = min(settings.pretraining.frequent, len(self.steps))
            self.language_model = LanguageModel(sightless(model), frequent)
        self._encoded: dict[str, Tensor] = {}
        self._ngrams: dict[str, Tensor] = {}

    @property
    def pretrains(self) -> bool:
        """Whether a training is in an epoch of pretraining."""
        pretraining = self.settings.pretraining
        return pretraining is not None and self.plan is not None and self.current_epoch < pretraining.epochs

    @property
    def noise(self) -> Settings | Pretraining:
        """The settings whose ``dropout`` and ``word_dropout`` hold."""
        return self.settings.pretraining if self.settings.pretraining and self.pretrains else self.settings

    def draw(self, examples: list[Example], generator: torch.Generator) -> list[Example]:
        """Give the examples with a label; in pretraining all."""
        return examples if self.pretrains else [example for example in examples if self.settings.target in example]

    def size(self, example: Example) -> int:
        """Give the number of words or characters that are read."""
        return len(self._read(example))

    def collate(self, examples: list[Example]) -> Batch:
        """Make a batch; in training, words are dropped at random."""
        inputs = steps = pad([self._read(example) for example in examples])
        dropped = torch.zeros_like(steps.mask)
        if self.training and self.noise.word_dropout:
            dropped = (torch.rand(inputs.values.shape) < self.noise.word_dropout) & inputs.mask
            inputs = Padded(inputs.values.masked_fill(dropped, self.steps.index[UNKNOWN]), inputs.lengths)
        batch: Batch = {"steps": steps, "inputs": inputs, "target": self._targets(examples)}
        if self.ngrams:
            found = [self._read_ngrams(example) for example in examples]
            most = max(ngrams.shape[1] for ngrams in found)
            padded = pad([nn.functional.pad(ngrams, (0, most - ngrams.shape[1])) for ngrams in found])
            batch["ngrams"] = Padded(padded.values.masked_fill(dropped[:, :, None], 0), padded.lengths)
        return batch

    def log_probabilities(self, batch: Batch) -> Tensor:
        """Give the log probability of each class (batch, label)."""
        outputs = self._outputs(batch)
        weights = self.attention(outputs) if self.attention else None
        scores: Tensor = self.head(self._drop(pool(outputs, self.settings.pooling, weights)))
        return scores.log_softmax(dim=1)

    def explain(self, batch: Batch) -> list[dict[str, Any]]:
        """Say of each example what its class rests on.

        With pooling "attention", "steps" are the steps read, and "attention" is the weight of each; else nothing.
        """
        steps = _padded(batch, "steps")
        if self.attention is None:
            return [{} for _ in steps.lengths]
        weights = self.attention(self._outputs(batch))
        rows = zip(steps.values.tolist(), weights.tolist(), steps.lengths.tolist(), strict=True)
        return [
            {"steps": self.steps.decode(read[:length]), "attention": [round(weight, 4) for weight in row[:length]]}
            for read, row, length in rows
        ]

    def loss(self, batch: Batch) -> tuple[Tensor, int]:
        """Give the mean cross-entropy of the classes (in pretraining, of the neighbouring steps), in nats, and their
        number.
        """
        if self.pretrains:
            assert self.language_model is not None
            return self.language_model(self._outputs(batch), _padded(batch, "steps").values)
        return super().loss(batch)

    @property
    def loss_name(self) -> str:
        """The loss of pretraining is of another kind."""
        return "language_model" if self.pretrains else "loss"

    def validation_update(self, batch: Batch) -> None:
        """Count the right classes; in pretraining none is asked for, so that no epoch of it is the best."""
        if not self.pretrains:
            super().validation_update(batch)

    def prepare_training(self, plan: Training, train: list[Example], validation: list[Example]) -> None:
        """Take the plan; raises InputError where pretraining leaves too few epochs for the classes."""
        super().prepare_training(plan, train, validation)
        first = self.settings.pretraining.epochs if self.settings.pretraining else 0
        if plan.epochs < first + plan.average:
            raise InputError(
                f"training.epochs is {plan.epochs}, of which task.pretraining.epochs takes {first}; it should be at "
                f"least {first + plan.average}, so that training.average ({plan.average}) are left for the classes"
            )

    def prepare_update(self, optimizer: torch.optim.Optimizer, epochs: float) -> None:
        """Set learning rate and weight decay; pretraining and what follows it are trainings of their own."""
        pretraining, plan = self.settings.pretraining, self.plan
        assert plan is not None
        if pretraining is None:
            return super().prepare_update(optimizer, epochs)
        if self.pretrains:
            rate, decay = pretraining.learning_rate * (1 - epochs / pretraining.epochs), pretraining.weight_decay
        else:
            done = (epochs - pretraining.epochs) / (plan.epochs - pretraining.epochs)
            rate, decay = plan.rate(done), plan.weight_decay
            if done == 0:
                optimizer.state.clear()  # means of the gradients of another loss
        for group in optimizer.param_groups:
            group.update(lr=rate, weight_decay=decay)
        return None

    def trace(self, example: Example) -> dict[str, Any] | None:
        """Give the gates of a recurrent network, by layer and direction."""
        batch = self.collate([example])
        steps = self.steps.decode(_padded(batch, "steps").values[0].tolist())
        return trace_model(self.model, self._vectors(batch), steps)

    def _vectors(self, batch: Batch) -> Tensor:
        """Give what the model reads, (batch, time, feature)."""
        vectors: Tensor = self.embedding(_padded(batch, "inputs").values)
        if self.ngram_embedding is None:
            return vectors
        ngrams = _padded(batch, "ngrams").values
        return vectors + self.ngram_embedding(ngrams.flatten(0, 1)).view_as(vectors)

    def _outputs(self, batch: Batch) -> Padded:
        """Outputs of the model (batch, time, feature)."""
        inputs = _padded(batch, "inputs")
        outputs, _ = self.model(self._drop(self._vectors(batch)), inputs.lengths)
        return Padded(outputs, inputs.lengths)

    def _drop(self, values: Tensor) -> Tensor:
        return nn.functional.dropout(values, self.noise.dropout, self.training)

    def _read(self, example: Example) -> Tensor:
        """Words or characters of an example as indices (time,)."""
        return torch.cat([self._encode(text) for text in _texts(example, self.settings)])[: self.settings.longest]

    def _read_ngrams(self, example: Example) -> Tensor:
        """Indices of the n-grams of each word or character (time, n-gram)."""
        found = [self._encode_ngrams(text) for text in _texts(example, self.settings)]
        most = max(ngrams.shape[1] for ngrams in found)
        return torch.cat([nn.functional.pad(ngrams, (0, most - ngrams.shape[1])) for ngrams in found])[
            : self.settings.longest
        ]

    def _encode_ngrams(self, text: str) -> Tensor:
        """Indices of the n-grams of each word or character of a text (time, n-gram); kept, like the words'."""
        if text not in self._ngrams:
            assert self.ngrams is not None
            index = self.ngrams.index
            rows = ngrams(tokens(text, self.settings.unit), self.settings)
            self._ngrams[text] = pad_indices([[index[ngram] for ngram in row if ngram in index] for row in rows]).values
        return self._ngrams[text]

    def _encode(self, text: str) -> Tensor:
        """Words or characters of a text as indices (time,); kept, since each is needed every epoch."""
        if text not in self._encoded:
            steps = self.steps.encode(tokens(text, self.settings.unit))
            self._encoded[text] = torch.tensor(steps, dtype=torch.int64)
        return self._encoded[text]


class Attention(nn.Module):
    """Self-attention with one learned query (Yang et al. 2016, equations 5 and 6)."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.project = nn.Linear(size, size)
        self.query = nn.Linear(size, 1, bias=False)

    def forward(self, outputs: Padded) -> Tensor:
        """Give the weight of each step (batch, time): u_t = tanh(W h_t + b), a = softmax(u . query), 0 at padding."""
        scores: Tensor = self.query(self.project(outputs.values).tanh())[:, :, 0]
        return scores.masked_fill(~outputs.mask, -torch.inf).softmax(dim=1)


class LanguageModel(nn.Module):
    """Predicts each step from the encoder's output before it, and from that of a backward encoder after it.

    Both directions share one adaptive softmax (Grave et al. 2017), of the ``symbols`` first of the vocabulary, which
    are its most frequent.
    """

    def __init__(self, encoder: Recurrence, symbols: int) -> None:
        super().__init__()
        self.directions = 2 if encoder.backwards else 1
        cuts = [max(symbols // 16, 1), max(symbols // 4, 2)]
        size = encoder.output_size // self.directions
        self.softmax = nn.AdaptiveLogSoftmaxWithLoss(size, symbols, cuts, div_value=2.0)

    def forward(self, outputs: Padded, steps: Tensor) -> tuple[Tensor, int]:
        """Give the mean cross-entropy, in nats, of ``steps`` (batch, time) that ``outputs`` predict, and their number.

        The first step (of the backward direction, the last) is not predicted, nor are padding and steps less frequent.
        """
        forwards, *backwards = outputs.values.chunk(self.directions, dim=2)
        asked = outputs.mask & (steps < self.softmax.n_classes)
        pairs = [(forwards[:, :-1], steps[:, 1:], asked[:, 1:] & outputs.mask[:, :-1])]
        pairs += [(values[:, 1:], steps[:, :-1], asked[:, :-1] & outputs.mask[:, 1:]) for values in backwards]
        seen = torch.cat([values[chosen] for values, _, chosen in pairs])
        wanted = torch.cat([values[chosen] for _, values, chosen in pairs])
        return (self.softmax(seen, wanted).loss, len(wanted)) if len(wanted) else (outputs.values.sum() * 0, 0)


def sightless(model: nn.Module) -> Recurrence:
    """Give ``model``; raises InputError where a step's output has seen a neighbour that it would have to predict."""
    if not isinstance(model, Recurrence):
        raise InputError(
            "task.pretraining needs a recurrent model, whose output at a step has not seen the next step; "
            f"{type(model).__name__} is none"
        )
    if model.backwards and len(model.forwards) > 1:
        raise InputError(
            "task.pretraining needs a model of one layer, or of one direction: from a bidirectional layer the next one "
            "reads the very step that it would have to predict"
        )
    return model


def pool(outputs: Padded, pooling: Pooling, weights: Tensor | None = None) -> Tensor:
    """Make one vector (batch, feature) of the outputs (batch, time, feature) at real steps.

    ``weights`` (batch, time) are those of "attention" (Yang et al. 2016, equation 7).
    """
    values, mask = outputs.values, outputs.mask[:, :, None]
    if pooling == "last":
        return values[torch.arange(len(values), device=values.device), outputs.lengths - 1]
    if pooling == "mean":
        return values.masked_fill(~mask, 0).sum(dim=1) / outputs.lengths[:, None]
    if pooling == "attention":
        assert weights is not None
        return torch.einsum("bt,btf->bf", weights, values)
    return values.masked_fill(~mask, -torch.inf).amax(dim=1)


def _texts(example: Example, settings: Settings) -> list[str]:
    """Texts of the input fields, in order."""
    texts: list[str] = []
    for name in settings.inputs:
        texts.extend([example[name]] if isinstance(example[name], str) else example[name])
    return texts


def _tensor(batch: Batch, name: str) -> Tensor:
    value = batch[name]
    assert not isinstance(value, Padded)
    return value


def _padded(batch: Batch, name: str) -> Padded:
    value = batch[name]
    assert isinstance(value, Padded)
    return value
