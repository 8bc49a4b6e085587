"""The runner over a Transformer: pages against the contiguous cache, copies, turned keys."""

from dataclasses import replace

import pytest
import torch

from conftest import randomise
from midfill.config.model import GQAConfig, ModelConfig, RopeConfig
from midfill.engine.memory import pool_pages
from midfill.engine.runner import PAGE, Span
from midfill.engine.torch_runner import TorchRunner, dtype_name
from midfill.model.transformer import Transformer
from midfill.recipes.models import deepseek_coder_v2_lite, tiny

GQA = ModelConfig(
    family="llama",
    vocab=256,
    dim=64,
    layers=3,
    hidden=96,
    attention=GQAConfig(heads=4, kv_heads=2, head_dim=16),
    rope=RopeConfig(dim=16),
    context=2048,
    dtype="float32",
)
PAGES = 40


def text(length: int, seed: int = 0) -> list[int]:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (length,), generator=generator).tolist()


@pytest.fixture(scope="module", params=[tiny(), GQA], ids=["latent", "grouped"])
def network(request) -> Transformer:
    network = Transformer(request.param)
    randomise(network)
    return network.eval()


def scattered(first: int) -> list[int]:
    """Every third page, so that no sequence's pages are neighbours."""
    return list(range(first, PAGES, 3))


def contiguous(network: Transformer, parts: list[list[int]]) -> list[torch.Tensor]:
    """Logits after each part through the network's own cache."""
    cache = network.new_cache()
    with torch.inference_mode():
        return [network(torch.tensor([part]), cache)[0] for part in parts]


PARTS = [[100, 1, 1, 30, 1, 200, 1], [1, 1, 1], [64, 64, 1], [500, 12]]


@pytest.mark.parametrize("lengths", PARTS, ids=str)
@pytest.mark.parametrize("pages", [list(range(20)), scattered(1)], ids=["neighbours", "scattered"])
def test_one_sequence_has_the_bits_of_the_contiguous_cache(network, lengths, pages):
    runner, tokens, start = TorchRunner(network, PAGES), text(sum(lengths)), 0
    parts = []
    for length in lengths:
        parts.append(tokens[start : start + length])
        start += length
    start = 0
    for part, want in zip(parts, contiguous(network, parts), strict=True):
        (got,) = [runner.step([Span(tokens=part, start=start, pages=pages, wanted=len(part))])]
        assert got.dtype == torch.float32
        assert torch.equal(got, want)
        start += len(part)


def test_sequences_in_one_step_do_not_meet(network):
    """Single tokens behind contexts of many lengths, and a longer span between them."""
    runner = TorchRunner(network, PAGES * 3)
    lengths = [0, 3, 64, 70, 500, 900]
    spans, wants = [], []
    free = iter(torch.randperm(PAGES * 3, generator=torch.Generator().manual_seed(1)).tolist())
    for number, length in enumerate(lengths):
        before, new = text(length, number), text(1 if number != 2 else 9, number + 50)
        pages = [next(free) for _ in range((length + len(new)) // PAGE + 1)]
        if before:
            none = runner.step([Span(tokens=before, start=0, pages=pages, wanted=0)])
            assert none.shape == (0, network.config.vocab)
        spans.append(Span(tokens=new, start=length, pages=pages, wanted=len(new)))
        wants.append(contiguous(network, [before, new] if before else [new])[-1])
    got = runner.step(spans)
    torch.testing.assert_close(got, torch.cat(wants), atol=2e-5, rtol=2e-5)


def test_a_copied_page_is_read_as_its_source_and_written_alone(network):
    runner, tokens = TorchRunner(network, 4), text(70)
    runner.step([Span(tokens=tokens, start=0, pages=[0, 1])])
    runner.copy_page(1, 3)
    runner.step([Span(tokens=[7], start=70, pages=[0, 3])])
    want = contiguous(network, [tokens, [9]])[-1]
    got = runner.step([Span(tokens=[9], start=70, pages=[0, 1])])
    torch.testing.assert_close(got, want)
    want = contiguous(network, [tokens, [7], [8]])[-1]
    got = runner.step([Span(tokens=[8], start=71, pages=[0, 3])])
    torch.testing.assert_close(got, want, atol=2e-5, rtol=2e-5)


def test_a_cleared_page_keeps_no_nan(network):
    runner = TorchRunner(network, 2)
    for buffer in runner._buffers():
        buffer[:, 1] = torch.nan
    runner.clear_page(1)
    got = runner.step([Span(tokens=[1], start=0, pages=[1])])
    assert torch.equal(got, contiguous(network, [[1]])[0])


def keys(runner: TorchRunner, pages: list[int]) -> torch.Tensor:
    """The first layer's keys: all of them, or the rotary end of the latents."""
    a = runner.config.attention
    skip = 0 if isinstance(a, GQAConfig) else a.kv_rank
    return runner._layers[0][0][:, pages, :, skip:]


def test_turned_keys_are_those_of_the_new_position(network):
    """In the first layer, where keys depend on token and position alone."""
    runner, tokens = TorchRunner(network, 12), text(5 * PAGE)
    runner.step([Span(tokens=tokens, start=0, pages=range(5))])
    rest = tokens[:PAGE] + tokens[3 * PAGE :]
    runner.step([Span(tokens=rest, start=0, pages=range(6, 9))])
    others = [b[:, [0, 1, 2, 6, 7, 8]].clone() for b in runner._buffers()]
    runner.rotate([3, 4], -2 * PAGE)
    torch.testing.assert_close(keys(runner, [3, 4]), keys(runner, [7, 8]), atol=2e-5, rtol=1e-5)
    for buffer, before in zip(runner._buffers(), others, strict=True):
        assert torch.equal(buffer[:, [0, 1, 2, 6, 7, 8]], before)
    latent, *values = (b[:, [3, 4]] for b in runner._layers[0])
    want, *same = (b[:, [7, 8]] for b in runner._layers[0])
    torch.testing.assert_close(latent, want, atol=2e-5, rtol=1e-5)
    assert all(torch.equal(a, b) for a, b in zip(values, same, strict=True))


def test_a_hundred_turns_there_and_back_stay_close(network):
    runner = TorchRunner(network, 2)
    runner.step([Span(tokens=text(PAGE), start=0, pages=[1])])
    before = keys(runner, [1]).clone()
    for _ in range(50):
        runner.rotate([1], -PAGE)
        runner.rotate([1], PAGE)
    torch.testing.assert_close(keys(runner, [1]), before, atol=1e-4, rtol=1e-4)


def test_pages_for_several_small_contexts_and_one_large():
    def pages(config, context, room=None):
        return pool_pages(context, config.cache_bytes_per_token("bfloat16") * PAGE, room)

    assert pages(tiny(), 2048) == 4 * PAGE
    assert pages(tiny(), 40) == 4 * PAGE
    lite = deepseek_coder_v2_lite()
    assert pages(lite, 163840) == 163840 // PAGE + 1
    assert pages(lite, 163840, 64 * 2**30) == 2 * 2**33 // (31104 * PAGE)  # a quarter of the room
    assert pages(lite, 4096) == 4 * (4096 // PAGE + 1)
    assert dtype_name(torch.bfloat16) == "bfloat16"


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_narrow_types(dtype):
    network = Transformer(replace(tiny(), dtype="bfloat16")).to(dtype)
    randomise(network)
    runner, tokens = TorchRunner(network, 8), text(130)
    (want,) = contiguous(network, [tokens])
    got = runner.step([Span(tokens=tokens, start=0, pages=[5, 1, 3], wanted=130)])
    torch.testing.assert_close(got, want, atol=0.1, rtol=0.1)


@pytest.mark.gpu
def test_on_a_gpu(network):
    tokens = text(300)
    want = contiguous(network, [tokens])[0]
    there = Transformer(network.config)
    there.load_state_dict(network.state_dict())
    runner = TorchRunner(there.cuda(), PAGES)
    got = runner.step([Span(tokens=tokens[:200], start=0, pages=scattered(2), wanted=200)])
    rest = [
        runner.step([Span(tokens=[token], start=position, pages=scattered(2))])
        for position, token in enumerate(tokens[200:], 200)
    ]
    assert got.device.type == "cpu"
    torch.testing.assert_close(torch.cat([got, *rest]), want, atol=1e-3, rtol=1e-3)
    runner.rotate([2], -PAGE)
