"""The small Transformer that reads stories."""

from functools import partial

import pytest
import torch
from torch import Tensor

from stages.core.base.errors import InputError
from stages.core.base.params import read_settings
from stages.core.learning.dataset import Example
from stages.datasets import stories
from stages.models import transformer_reader
from stages.tasks import reading_comprehension
from stages.tasks.reading_comprehension import ReadingComprehension


def model_settings(**more: float) -> transformer_reader.Settings:
    values = {"width": 32, "heads": 2, "layers": 2, "words": 10, "times": 40, "dropout": 0.0, **more}
    return read_settings(transformer_reader.Settings, values, "model")


@pytest.fixture(scope="module")
def examples() -> list[Example]:
    settings = stories.Settings(seed=5, kinds=["one_fact", "yes_no"], train=16, validation=2, test=2)
    return stories.generate(settings).splits["train"]


def reading(examples: list[Example], **more: float) -> ReadingComprehension:
    torch.manual_seed(0)
    settings = reading_comprehension.Settings(linear_start=0)
    vocabularies = reading_comprehension.fit_vocabularies(examples, settings)
    return reading_comprehension.build(
        settings, vocabularies, partial(transformer_reader.build, model_settings(**more))
    )


def test_a_layer_equals_that_of_torch_with_the_same_weights() -> None:
    torch.manual_seed(0)
    layer = transformer_reader.Layer(model_settings()).eval()
    twin = torch.nn.TransformerEncoderLayer(32, 2, 64, 0.0, activation="gelu", batch_first=True, norm_first=True).eval()
    first, second = layer.inner[0], layer.inner[2]
    weights = {
        "self_attn.in_proj_weight": torch.cat([layer.query.weight, layer.keys_and_values.weight]),
        "self_attn.in_proj_bias": torch.cat([layer.query.bias, layer.keys_and_values.bias]),
        "self_attn.out_proj.weight": layer.output.weight,
        "self_attn.out_proj.bias": layer.output.bias,
        "linear1.weight": first.weight,
        "linear1.bias": first.bias,
        "linear2.weight": second.weight,
        "linear2.bias": second.bias,
        "norm1.weight": layer.before.weight,
        "norm1.bias": layer.before.bias,
        "norm2.weight": layer.between.weight,
        "norm2.bias": layer.between.bias,
    }
    twin.load_state_dict(weights)
    steps = torch.randn(3, 5, 32)
    real = torch.arange(5) < torch.tensor([[5], [2], [4]])
    outputs, attention = layer(steps, real, slice(None))
    expected = twin(steps, src_key_padding_mask=~real)
    for row, length in enumerate((5, 2, 4)):
        torch.testing.assert_close(outputs[row, :length], expected[row, :length])
    torch.testing.assert_close(attention.sum(dim=2), torch.ones(3, 5))
    torch.testing.assert_close(layer(steps, real, slice(1))[0], outputs[:, :1])


def test_padding_changes_nothing(examples: list[Example]) -> None:
    task = reading(examples).eval()
    together = task.collate(examples[10:22])
    for number, example in enumerate(examples[10:22]):
        alone = task.collate([example])
        torch.testing.assert_close(task.log_probabilities(alone)[0], task.log_probabilities(together)[number])
        length = len(example["story"])
        weights = task.attention(together)[number]
        torch.testing.assert_close(task.attention(alone)[0], weights[:, :length])
        assert (weights[:, length:] == 0).all()


def test_gradients_are_right(examples: list[Example]) -> None:
    torch.manual_seed(0)
    task = reading(examples, width=4, times=6, words=4).double().eval()
    batch = task.collate(examples[:3])
    parts = [batch[name] for name in ("sentences", "story", "question")]
    names, parameters = zip(*task.model.named_parameters(), strict=True)

    def scores(*values: Tensor) -> Tensor:
        return torch.func.functional_call(task.model, dict(zip(names, values, strict=True)), tuple(parts))[0]

    assert torch.autograd.gradcheck(scores, parameters)


def test_the_order_of_sentences_counts_and_time_noise_only_in_training(examples: list[Example]) -> None:
    example = next(example for example in examples if len(set(example["story"])) > 2)
    task = reading(examples, time_noise=0.5).eval()
    turned = {**example, "story": example["story"][::-1]}
    there, back = (task.log_probabilities(task.collate([one])) for one in (example, turned))
    assert not torch.allclose(there, back)
    torch.testing.assert_close(there, task.log_probabilities(task.collate([example])))
    task.train()
    torch.manual_seed(1)
    drawn = [task.log_probabilities(task.collate([example])) for _ in range(8)]
    assert any(not torch.allclose(there, one) for one in drawn)


def test_one_batch_is_learnt_by_heart(examples: list[Example]) -> None:
    task = reading(examples)
    batch = task.collate(examples)
    assert float(task.eval().loss(batch)[0].detach()) > 1
    optimizer = torch.optim.Adam(task.train().parameters(), lr=3e-3)
    for _ in range(100):
        optimizer.zero_grad()
        task.loss(batch)[0].backward()
        optimizer.step()
    assert float(task.eval().loss(batch)[0].detach()) < 0.1


def test_heads_must_divide_the_width() -> None:
    with pytest.raises(InputError, match="multiple of heads, which is 3"):
        model_settings(heads=3)
