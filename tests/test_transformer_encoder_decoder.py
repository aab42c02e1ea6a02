"""The Transformer of encoder and decoder: torch.nn's numbers, the same step by step, alone or padded; it can learn."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from stages.core.base.errors import InputError
from stages.core.base.params import read_settings
from stages.core.learning.batch import Padded, pad
from stages.decoding import beam_search
from stages.models import transformer_encoder_decoder
from stages.models.transformer_encoder_decoder import Attention, Linear, TransformerEncoderDecoder
from stages.tasks import sequence_to_sequence
from stages.tasks.sequence_to_sequence import SequenceToSequence

pytestmark = pytest.mark.filterwarnings("ignore:enable_nested_tensor")  # torch, of its own encoder

SIZES: list[dict[str, Any]] = [
    {"width": 16, "heads": 4, "layers": 2},
    {"width": 12, "heads": 1, "layers": 1, "encoder_layers": 3, "feedforward": 20},
]


def build(**sizes: Any) -> TransformerEncoderDecoder:
    torch.manual_seed(0)
    model = transformer_encoder_decoder.build(transformer_encoder_decoder.Settings(**sizes), 10).double().eval()
    for parameter in model.parameters():  # biases start at 0 and would hide where they are left out
        nn.init.normal_(parameter)
    return model


def drawn() -> tuple[Padded, Padded]:
    """Sources of 5, 2 and 7 steps, targets of 4, 6 and 6."""
    generator = torch.Generator().manual_seed(1)
    source, target = (
        pad([torch.randn(length, 10, generator=generator, dtype=torch.float64) for length in lengths])
        for lengths in ((5, 2, 7), (4, 6, 6))
    )
    return source, target


def decoded(model: TransformerEncoderDecoder, source: Padded, target: Tensor) -> tuple[Tensor, Tensor]:
    memory, state = model.encode(source.values, source.lengths)
    outputs, _, weights = model.decode(target, state, memory)
    return outputs, weights


def used(*layers: Linear) -> dict[str, Tensor]:
    """What the maps multiply by and add, one below the other, as torch.nn keeps it."""
    return {
        "weight": torch.cat([layer.weight / layer.in_features**0.5 for layer in layers]),
        "bias": torch.cat([layer.bias / layer.in_features**0.5 for layer in layers]),
    }


def copy_attention(ours: Attention, theirs: nn.MultiheadAttention) -> None:
    joined = used(ours.query, ours.offer)
    theirs.in_proj_weight.copy_(joined["weight"])
    theirs.in_proj_bias.copy_(joined["bias"])
    theirs.out_proj.load_state_dict(used(ours.output))


@torch.no_grad()
def twin(model: TransformerEncoderDecoder) -> nn.Transformer:
    """torch.nn's Transformer with the weights of ``model``."""
    sizes = model.settings
    inner = sizes.feedforward or 2 * sizes.width
    layers = len(model.encoder), len(model.decoder)
    theirs = nn.Transformer(
        *(sizes.width, sizes.heads, *layers, inner), batch_first=True, norm_first=True, dtype=torch.float64
    )
    encoder_pairs = list(zip(model.encoder, theirs.encoder.layers, strict=True))
    decoder_pairs = list(zip(model.decoder, theirs.decoder.layers, strict=True))
    for ours, layer in [*encoder_pairs, *decoder_pairs]:
        copy_attention(ours.attention, layer.self_attn)
        layer.norm1.load_state_dict(ours.attention_norm.state_dict())
        layer.linear1.load_state_dict(used(ours.feedforward[0]))
        layer.linear2.load_state_dict(used(ours.feedforward[2]))
    for ours, layer in encoder_pairs:
        layer.norm2.load_state_dict(ours.feedforward_norm.state_dict())
    for ours, layer in decoder_pairs:
        copy_attention(ours.source_attention, layer.multihead_attn)
        layer.norm2.load_state_dict(ours.source_norm.state_dict())
        layer.norm3.load_state_dict(ours.feedforward_norm.state_dict())
    theirs.encoder.norm.load_state_dict(model.encoder_norm.state_dict())
    theirs.decoder.norm.load_state_dict(model.decoder_norm.state_dict())
    return theirs.eval()


@pytest.mark.parametrize("sizes", SIZES)
def test_it_is_torchs_transformer_with_sinusoids(sizes: dict[str, Any]) -> None:
    model, (source, target) = build(**sizes), drawn()
    theirs, place = twin(model), transformer_encoder_decoder.positions
    steps = target.values.shape[1]
    scale = sizes["width"] ** -0.5
    expected = scale * theirs(
        model.source(source.values) + place(0, 7, sizes["width"]),
        model.target(target.values) + place(0, steps, sizes["width"]),
        tgt_mask=nn.Transformer.generate_square_subsequent_mask(steps, dtype=torch.float64),
        src_key_padding_mask=~source.mask,
        memory_key_padding_mask=~source.mask,
    )
    found, _ = decoded(model, source, target.values)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-12)
    # The same gradients, too: what lies below is the embedding that both are trained through.
    gradients = [torch.autograd.grad(outputs.sin().sum(), model.source.weight)[0] for outputs in (found, expected)]
    torch.testing.assert_close(*gradients, rtol=0, atol=1e-11)


@torch.no_grad()
def test_positions_are_the_papers_and_count_on() -> None:
    table = transformer_encoder_decoder.positions(0, 50, 8)
    assert float(table[7, 4]) == pytest.approx(torch.tensor(7 / 10_000 ** (4 / 8)).sin().item(), abs=1e-6)
    assert float(table[7, 5]) == pytest.approx(torch.tensor(7 / 10_000 ** (4 / 8)).cos().item(), abs=1e-6)
    assert torch.equal(transformer_encoder_decoder.positions(30, 20, 8), table[30:])


@pytest.mark.parametrize("sizes", SIZES)
@pytest.mark.parametrize("parts", [(1, 1, 1, 1, 1, 1), (2, 1, 3)])
@torch.no_grad()
def test_decoding_step_by_step_equals_the_whole_sequence(sizes: dict[str, Any], parts: tuple[int, ...]) -> None:
    model, (source, target) = build(**sizes), drawn()
    for precision, tolerance in ((torch.float64, 1e-12), (torch.float32, 1e-5)):
        model, values = model.to(precision), target.values.to(precision)
        memory, state = model.encode(source.values.to(precision), source.lengths)
        whole, last, weights = model.decode(values, state, memory)
        found = []
        for part in values.split(parts, dim=1):
            outputs, state, looked = model.decode(part, state, memory)
            found.append((outputs, looked))
        outputs, looked = (torch.cat(steps, dim=1) for steps in zip(*found, strict=True))
        torch.testing.assert_close(outputs, whole, rtol=0, atol=tolerance)
        torch.testing.assert_close(looked, weights, rtol=0, atol=tolerance)
        torch.testing.assert_close(state, last, rtol=0, atol=10 * tolerance)


@pytest.mark.parametrize("sizes", SIZES)
@torch.no_grad()
def test_padding_changes_nothing(sizes: dict[str, Any]) -> None:
    model, (source, target) = build(**sizes), drawn()
    together, weights = decoded(model, source, target.values)
    for row, (length, steps) in enumerate(zip(source.lengths.tolist(), target.lengths.tolist(), strict=True)):
        one = Padded(source.values[row : row + 1, :length], source.lengths[row : row + 1])
        alone, looked = decoded(model, one, target.values[row : row + 1, :steps])
        torch.testing.assert_close(alone[0], together[row, :steps])
        torch.testing.assert_close(looked[0], weights[row, :steps, :length])


@torch.no_grad()
def test_no_step_sees_later_ones() -> None:
    model, (source, target) = build(**SIZES[0]), drawn()
    before, _ = decoded(model, source, target.values)
    changed = target.values.clone()
    changed[:, 3] += 1
    after, _ = decoded(model, source, changed)
    assert torch.equal(before[:, :3], after[:, :3])
    assert float((before[:, 3:] - after[:, 3:]).abs().amax(dim=2).min()) > 1e-3


@torch.no_grad()
def test_weights_are_the_last_layers_mean_over_heads_with_none_on_padding() -> None:
    model, (source, target) = build(**SIZES[0]), drawn()
    seen: list[Tensor] = []
    for norm in (model.encoder_norm, model.decoder[-1].source_norm):
        norm.register_forward_hook(lambda _, inputs, outputs: seen.append(outputs))
    _, weights = decoded(model, source, target.values)
    memory, looking = seen
    theirs = twin(model).decoder.layers[-1].multihead_attn
    _, expected = theirs(looking, memory, memory, key_padding_mask=~source.mask)
    torch.testing.assert_close(weights, expected, rtol=0, atol=1e-12)
    assert weights.shape == (3, 6, 7)
    torch.testing.assert_close(weights.sum(dim=2), torch.ones(3, 6, dtype=torch.float64))
    assert float(weights.masked_select(~source.mask[:, None].expand_as(weights)).abs().max()) == 0


@torch.no_grad()
def test_rows_of_state_and_memory_may_be_picked_at_any_step() -> None:
    model, (source, target) = build(**SIZES[0]), drawn()
    rows = torch.tensor([2, 0, 0, 1])
    memory, state = model.encode(source.values, source.lengths)
    _, state, _ = model.decode(target.values[:, :2], state, memory)
    expected, _, _ = model.decode(target.values[:, 2:], state, memory)
    picked = tuple(part[rows] for part in state)
    found, _, _ = model.decode(target.values[rows, 2:], picked, memory.select(rows))
    torch.testing.assert_close(found, expected[rows])


def test_heads_that_do_not_divide_the_width_are_an_error() -> None:
    with pytest.raises(InputError, match=r"width should be a multiple of heads, which is 4"):
        read_settings(transformer_encoder_decoder.Settings, {"width": 18}, "experiments.x.model")


SENTENCES = {
    "Open the window": "打开窗口",
    "Close the door": "关闭门",
    "Delete it": "删除",
    "Show the next page of results": "显示结果的下一页",
    "Open the door": "打开门",
}
EXAMPLES = [{"id": source, "source": source, "target": target} for source, target in SENTENCES.items()]


def build_task() -> SequenceToSequence:
    torch.manual_seed(0)
    settings = sequence_to_sequence.Settings(embedding=16, source_least=1, target_least=1)
    sizes = transformer_encoder_decoder.Settings(width=32, layers=2)
    vocabularies = sequence_to_sequence.fit_vocabularies(EXAMPLES, settings)
    return sequence_to_sequence.build(
        settings, vocabularies, lambda size: transformer_encoder_decoder.build(sizes, size)
    ).eval()


def train(task: SequenceToSequence, updates: int) -> float:
    task.train()
    batch = task.collate(EXAMPLES)
    optimizer = torch.optim.Adam(task.parameters(), lr=0.03)
    for _ in range(updates):
        optimizer.zero_grad()
        task.loss(batch)[0].backward()
        optimizer.step()
    return float(task.eval().loss(batch)[0].detach())


def test_it_learns_one_batch_by_heart() -> None:
    task = build_task()
    assert train(task, 0) > 2
    assert train(task, 60) < 0.1
    found = beam_search.decode(task, task.collate(EXAMPLES), beam_search.Settings(beam=3))
    assert [record["prediction"] for record in found] == [example["target"] for example in EXAMPLES]


def test_translations_do_not_depend_on_the_batch_size() -> None:
    task = build_task()
    train(task, 8)
    settings = beam_search.Settings(beam=4, length_penalty=1.0)
    together = beam_search.decode(task, task.collate(EXAMPLES), settings)
    assert len({record["prediction"] for record in together}) > 1
    for example, expected in zip(EXAMPLES, together, strict=True):
        alone = beam_search.decode(task, task.collate([example]), settings)[0]
        assert alone["prediction"] == expected["prediction"]
        assert alone["log_probability"] == pytest.approx(expected["log_probability"], abs=1e-4)
