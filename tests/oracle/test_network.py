"""The network against transformers, through checkpoints on disk, in float32.

Tolerance 1e-4 on logits of magnitude 7, and that the deliberately wrong variants fail it.
"""

import copy
import itertools
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from midfill.config.model import MLAConfig, YarnScaling
from midfill.model import mla, moe
from midfill.model.cache import Cache
from midfill.model.checkpoint import load_network, open_checkpoint
from midfill.model.convert import save_hf
from midfill.model.transformer import Transformer
from oracle_cases import CASES, Case, reference, tokens

TOLERANCE = 1e-4
OFFSETS = [5_000, 60_000, 130_000, 163_000]


@pytest.fixture(scope="module", params=CASES, ids=lambda case: case.name)
def pair(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory):
    """transformers' network and ours, read from the files that transformers wrote."""
    case: Case = request.param
    theirs = reference(case)
    folder = tmp_path_factory.mktemp("reference")
    theirs.save_pretrained(folder)
    return theirs, load_network(open_checkpoint(folder), torch.float32), folder


@pytest.fixture(scope="module")
def wanted(pair) -> torch.Tensor:
    """transformers' logits for the test tokens."""
    with torch.no_grad():
        return pair[0](tokens()).logits


@pytest.fixture(scope="module")
def exact(pair) -> torch.Tensor:
    """transformers' logits computed in float64: its own rounding, up to 7e-5, left out.

    What is compared with them may sum in another order than transformers does in float32, and both
    roundings together have passed 1e-4 on one processor.
    """
    theirs = copy.deepcopy(pair[0])
    theirs.set_experts_implementation("eager")  # the others know no float64
    with torch.no_grad():
        return theirs.double()(tokens()).logits


def close(got: torch.Tensor, want: torch.Tensor) -> None:
    """Assert equality within the tolerance, and that the numbers are worth comparing."""
    assert want.abs().max() > 2
    assert (got - want).abs().max() < TOLERANCE


@torch.no_grad()
def read_in_chunks(network: Transformer, ids: torch.Tensor, sizes: list[int]) -> torch.Tensor:
    """Logits of `ids` read through a cache in chunks of the given sizes."""
    cache = network.new_cache(ids.shape[0], capacity=8)
    return torch.cat([network(chunk, cache) for chunk in ids.split(sizes, dim=1)], dim=1)


@torch.no_grad()
def test_one_pass(pair, wanted: torch.Tensor):
    close(pair[1](tokens()), wanted)


def test_token_by_token(pair, exact: torch.Tensor):
    close(read_in_chunks(pair[1], tokens(), [1] * 96), exact)


@pytest.mark.parametrize("seed", range(3))
def test_random_chunks(pair, exact: torch.Tensor, seed: int):
    cuts = (
        torch.randperm(95, generator=torch.Generator().manual_seed(seed))[:6].add(1).sort().values
    )
    edges = [0, *cuts.tolist(), 96]
    sizes = [b - a for a, b in itertools.pairwise(edges)]
    close(read_in_chunks(pair[1], tokens(), sizes), exact)


@torch.no_grad()
@pytest.mark.parametrize("form", ["attend_expanded", "attend_absorbed"])
def test_both_forms_of_latent_attention(pair, exact: torch.Tensor, form: str, monkeypatch):
    if not isinstance(pair[1].config.attention, MLAConfig):
        pytest.skip("grouped-query attention has one form")
    monkeypatch.setattr(mla, "expand_is_cheaper", lambda *_: form == "attend_expanded")
    close(pair[1](tokens()), exact)
    close(read_in_chunks(pair[1], tokens(), [40, 1, 55]), exact)


@torch.no_grad()
@pytest.mark.parametrize("offset", OFFSETS)
def test_far_positions(pair, offset: int):
    theirs, ours, _ = pair
    ids = tokens()
    want = theirs(ids, position_ids=offset + torch.arange(ids.shape[1])[None]).logits
    close(ours(ids, first=offset), want)


@torch.no_grad()
def test_rows_of_unequal_length_are_each_as_alone(pair):
    theirs, ours, _ = pair
    ids, lengths = tokens(3, 60), [60, 17, 33]
    cache = ours.new_cache(3)
    padded = ids.clone()
    for row, length in enumerate(lengths):
        padded[row, length:] = 0
    first = ours.logits(ours.hidden(padded, cache, counts=lengths))
    following = tokens(3, 5, seed=2)
    then = torch.cat([ours(following[:, i : i + 1], cache) for i in range(3)], dim=1)
    then = torch.cat([then, ours(following[:, 3:], cache)], dim=1)
    for row, length in enumerate(lengths):
        want = theirs(torch.cat([ids[row, :length], following[row]])[None]).logits[0]
        close(first[row, :length], want[:length])
        close(then[row], want[length:])


@torch.no_grad()
def test_transformers_reads_what_we_write(pair, wanted: torch.Tensor, tmp_path: Path):
    theirs, ours, _ = pair
    save_hf(ours, tmp_path)
    again = type(theirs).from_pretrained(tmp_path, attn_implementation="eager", dtype=torch.float32)
    close(again.eval()(tokens()).logits, wanted)


def test_save_and_load_is_bit_identical(pair, tmp_path: Path):
    ours = pair[1]
    save_hf(ours, tmp_path)
    again = load_network(open_checkpoint(tmp_path), torch.float32)
    assert again.config == replace(ours.config, bos=again.config.bos, eos=again.config.eos)
    for (name, a), b in zip(ours.named_parameters(), again.parameters(), strict=True):
        assert torch.equal(a, b), name


@torch.no_grad()
def test_the_latent_cache_is_never_expanded(pair):
    """What both forms leave behind is one latent and one rotary key per token, nowhere else."""
    network, a = pair[1], pair[1].config.attention
    if not isinstance(a, MLAConfig):
        pytest.skip("grouped-query attention has no latents")
    cache = network.new_cache(2, capacity=100)
    network(tokens(), cache)  # expanded
    network(tokens()[:, :1], cache)  # absorbed
    assert len(cache.layers) == network.config.layers
    for buffers in cache.layers:
        assert [b.shape for b in buffers] == [(2, 1, 100, a.kv_rank + a.rope_dim)]
        assert buffers[0][:, :, :97].count_nonzero() == buffers[0][:, :, :97].numel()
    assert not list(network.buffers())
    for module in network.modules():
        kept = [name for name, v in vars(module).items() if isinstance(v, torch.Tensor | Cache)]
        assert not kept, type(module)


# --------------------------------------------------- the tests must catch what others got wrong


@pytest.fixture(scope="module")
def grouped(tmp_path_factory: pytest.TempPathFactory):
    """Query compression, groups, x16, yarn: the case in which every known mistake shows."""
    theirs = reference(CASES[1])
    folder = tmp_path_factory.mktemp("grouped")
    theirs.save_pretrained(folder)
    with torch.no_grad():
        return open_checkpoint(folder), theirs(tokens()).logits


def _sum_of_two(affinity, config):
    groups = affinity.unflatten(1, (config.groups, -1))
    kept = groups.topk(2, dim=2).values.sum(2).topk(config.top_groups, dim=1).indices
    allowed = torch.zeros_like(groups[:, :, 0], dtype=torch.bool).scatter_(1, kept, True)
    return moe_route(
        groups.masked_fill(~allowed[:, :, None], 0.0).flatten(1), replace(config, method="greedy")
    )


moe_route = moe.route
MISTAKES = {
    "softmax scale without g squared": lambda m: m.setattr(
        mla, "mla_scale", lambda _, width: width**-0.5
    ),
    "halves rotated instead of pairs": lambda m: m.setattr(
        mla, "rotate_pairs", __import__("midfill.model.rope", fromlist=["x"]).rotate_halves
    ),
    "groups by the sum of two": lambda m: m.setattr(moe, "route", _sum_of_two),
    "no groups": lambda m: m.setattr(
        moe, "route", lambda a, c: moe_route(a, replace(c, method="greedy"))
    ),
    "no scaling factor": lambda m: m.setattr(
        moe, "route", lambda a, c: moe_route(a, replace(c, scale=1.0))
    ),
    "renormalised": lambda m: m.setattr(
        moe, "route", lambda a, c: moe_route(a, replace(c, norm_top_k=True))
    ),
}


@torch.no_grad()
@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_known_mistake_fails(grouped, mistake: str, monkeypatch: pytest.MonkeyPatch):
    checkpoint, want = grouped
    MISTAKES[mistake](monkeypatch)
    got = load_network(checkpoint, torch.float32)(tokens())
    assert (got - want).abs().max() > 100 * TOLERANCE


@torch.no_grad()
@pytest.mark.parametrize("wrong", ["ignored", "theta", "no yarn", "magnitude"])
def test_a_wrong_rotary_embedding_fails(wrong: str, tmp_path: Path):
    index = {"ignored": 11, "theta": 11, "no yarn": 0, "magnitude": 0}[wrong]
    theirs = reference(CASES[index])
    theirs.save_pretrained(tmp_path)
    checkpoint = open_checkpoint(tmp_path)
    rope = checkpoint.config.rope
    if wrong == "magnitude":
        assert isinstance(rope.scaling, YarnScaling)
        rope = replace(rope, scaling=replace(rope.scaling, attention_factor=1.3689))
    elif wrong == "theta":
        rope = replace(rope, theta=10000.0)
    else:
        rope = replace(rope, scaling=None)
    bad = replace(checkpoint, config=replace(checkpoint.config, rope=rope))
    got = load_network(bad, torch.float32)(tokens())
    assert (got - theirs(tokens()).logits).abs().max() > 100 * TOLERANCE


def test_the_crossover_of_the_released_sizes_is_171_tokens():
    lite = MLAConfig()
    many = 10**7
    assert not mla.expand_is_cheaper(lite, 170, many)
    assert mla.expand_is_cheaper(lite, 171, many)
    assert mla.expand_is_cheaper(lite, 100, 100)  # a prompt read in one go
