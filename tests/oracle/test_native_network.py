"""The compiled network computes what Transformer computes, up to bfloat16 in attention; and what a
sequence gets is the same to the bit, however its tokens are cut and whatever else is read with it."""

import random
import threading
from collections.abc import Sequence

import pytest
import torch

from midfill.engine.runner import GRID, PAGE, Span
from midfill.kernels.cpu import LEVELS, native, why_not
from midfill.model.checkpoint import Checkpoint, load_network, open_checkpoint
from oracle_cases import CASES, Case, reference

if native is None:
    pytest.skip(f"no compiled kernels: {why_not}", allow_module_level=True)

import itertools

from midfill.engine.native_runner import NativeRunner
from midfill.model.native import NativeNetwork, can_run
from midfill.model.packed_weights import PackedWeights, packed_weights

LENGTH = 2 * GRID + 90  # two cells that may be expanded, and a tail


@pytest.fixture(scope="module", params=CASES, ids=lambda case: case.name)
def checkpoint(request, tmp_path_factory: pytest.TempPathFactory) -> Checkpoint:
    case: Case = request.param
    folder = tmp_path_factory.mktemp("case")
    reference(case).save_pretrained(folder)
    opened = open_checkpoint(folder)
    if not can_run(opened.config):
        pytest.skip(f"the compiled kernels do not fit these widths: {opened.config.attention}")
    return opened


@pytest.fixture(scope="module")
def weights(checkpoint: Checkpoint) -> PackedWeights:
    return packed_weights(checkpoint, folder=None)


def runner_of(
    checkpoint: Checkpoint, weights: PackedWeights, *, int8: bool = False, pages: int = 40
) -> NativeRunner:
    return NativeRunner(NativeNetwork(checkpoint.config, weights), pages, int8=int8)


@pytest.fixture(scope="module")
def runner(checkpoint: Checkpoint, weights: PackedWeights) -> NativeRunner:
    """Room for more than a text of LENGTH; `read` empties the pages that it takes."""
    return runner_of(checkpoint, weights)


@pytest.fixture(scope="module")
def ids(checkpoint: Checkpoint) -> list[int]:
    return ids_of(checkpoint, LENGTH)


@pytest.fixture(scope="module")
def by_torch(checkpoint: Checkpoint, ids: list[int]) -> tuple[torch.Tensor, torch.Tensor]:
    """Logits by PyTorch, in float32 and in bfloat16."""
    with torch.inference_mode():
        wanted = load_network(checkpoint, torch.float32)(torch.tensor([ids]))[0]
        return wanted, load_network(checkpoint, torch.bfloat16)(torch.tensor([ids]))[0]


@pytest.fixture(scope="module")
def whole(runner: NativeRunner, ids: list[int]) -> torch.Tensor:
    """Logits by the compiled network, read in one step, the first cell expanded."""
    return read(runner, ids, expanded=GRID)


def ids_of(checkpoint: Checkpoint, count: int, seed: int = 0) -> list[int]:
    return torch.randint(
        checkpoint.config.vocab, (count,), generator=torch.Generator().manual_seed(seed)
    ).tolist()


def read(
    runner: NativeRunner,
    ids: Sequence[int],
    *,
    expanded: int,
    cuts: Sequence[int] = (),
    pages: Sequence[int] | None = None,
) -> torch.Tensor:
    """Logits of all of `ids`, read in the spans that `cuts` make of them."""
    pages = range(-(-len(ids) // PAGE)) if pages is None else pages
    for page in pages:
        runner.clear_page(page)
    borders = [0, *cuts, len(ids)]
    parts = [
        runner.step([Span(tokens=ids[a:b], start=a, pages=pages, expanded=expanded, wanted=b - a)])
        for a, b in itertools.pairwise(borders)
    ]
    return torch.cat(parts)


def distance(a: torch.Tensor, b: torch.Tensor) -> float:
    """Of log-probabilities, over their spread: the median token's, as an expert that is chosen on one
    side only changes a few tokens by much."""
    a, b = a.log_softmax(-1), b.log_softmax(-1)
    return float((a - b).square().mean(-1).sqrt().median() / b.std())


@pytest.mark.parametrize("expanded", [0, 2 * GRID], ids=["absorbed", "expanded"])
def test_it_computes_what_the_transformer_does(runner, ids, by_torch, expanded: int) -> None:
    """At least as exactly as PyTorch does in bfloat16, which rounds more often."""
    wanted, rounded = by_torch
    got = read(runner, ids, expanded=expanded)
    print(f"{distance(got, wanted):.4f} {distance(rounded, wanted):.4f}")
    assert distance(got, wanted) < distance(rounded, wanted)


def test_latents_in_8_bits_cost_little(checkpoint: Checkpoint, weights, ids, by_torch) -> None:
    """Not twice the distance that PyTorch in bfloat16 has."""
    if checkpoint.config.family != "deepseek_v2":
        pytest.skip("only latents are kept in 8 bits")
    wanted, rounded = by_torch
    got = read(runner_of(checkpoint, weights, int8=True), ids, expanded=GRID)
    print(f"{distance(got, wanted):.4f} {distance(rounded, wanted):.4f}")
    assert distance(got, wanted) < 2 * distance(rounded, wanted)


def test_any_cut_gives_the_same_bits(runner, ids, whole) -> None:
    """Chunks of any size, over both forms of latent attention; pages in any order."""
    pick = random.Random(7)
    for count in (1, 5, 40):
        cuts = sorted(pick.sample(range(1, LENGTH), count))
        pages = pick.sample(range(runner.pages), -(-LENGTH // PAGE))
        assert torch.equal(read(runner, ids, expanded=GRID, cuts=cuts, pages=pages), whole)


@pytest.mark.parametrize("size", [2, 8, 17])
def test_alone_and_in_a_batch_the_same_bits(checkpoint: Checkpoint, weights, size: int) -> None:
    """Sequences of all lengths, some read token by token, some in chunks, in the same steps."""
    pick = random.Random(size)
    lengths = [pick.randint(1, 400) for _ in range(size)]
    texts = [ids_of(checkpoint, n, seed) for seed, n in enumerate(lengths)]
    runner = runner_of(checkpoint, weights, pages=sum(-(-n // PAGE) for n in lengths))
    expanded = [n // GRID * GRID for n in lengths]
    alone = [read(runner, ids, expanded=e) for ids, e in zip(texts, expanded, strict=True)]
    free = pick.sample(range(runner.pages), runner.pages)
    pages = [[free.pop() for _ in range(-(-n // PAGE))] for n in lengths]
    for page in range(runner.pages):
        runner.clear_page(page)
    done, parts = [0] * size, [[] for _ in range(size)]
    while any(at < n for at, n in zip(done, lengths, strict=True)):
        spans, who = [], []
        for i in range(size):
            count = min(pick.choice([0, 1, 1, 3, 16, 150]), lengths[i] - done[i])
            if count:
                tokens = texts[i][done[i] : done[i] + count]
                spans.append(
                    Span(
                        tokens=tokens,
                        start=done[i],
                        pages=pages[i],
                        expanded=expanded[i],
                        wanted=count,
                    )
                )
                who.append(i)
                done[i] += count
        if spans:
            logits = runner.step(spans).split([span.wanted for span in spans])
            for i, part in zip(who, logits, strict=True):
                parts[i].append(part)
    for mine, together in zip(alone, parts, strict=True):
        assert torch.equal(torch.cat(together), mine)


@pytest.mark.parametrize("threads", [1, 3])
def test_any_number_of_threads_gives_the_same_bits(runner, ids, whole, threads: int) -> None:
    before = native.threads()
    try:
        native.set_threads(threads)
        assert torch.equal(read(runner, ids, expanded=GRID), whole)
    finally:
        native.set_threads(before)


def test_threads_may_change_while_steps_are_read(runner, ids, whole) -> None:
    """As another request's thread does that finds cores idle again: it waits for the step's end."""
    before, ended = native.threads(), threading.Event()

    def keep_changing() -> None:
        for count in itertools.cycle([4, 1, 2, 3]):
            if ended.is_set():
                return
            native.set_threads(count)
            native.set_level(native.level())

    changing = threading.Thread(target=keep_changing)
    changing.start()
    try:
        for _ in range(3):
            assert torch.equal(read(runner, ids, expanded=GRID, cuts=[100, 101, 300]), whole)
    finally:
        ended.set()
        changing.join()
        native.set_threads(before)


@pytest.mark.parametrize("level", LEVELS[:-1])
def test_every_instruction_set_computes_the_same_to_rounding(
    runner, ids, whole, level: str
) -> None:
    before = native.level()
    try:
        native.set_level(level)
        other = read(runner, ids, expanded=GRID)
        assert torch.equal(read(runner, ids, expanded=GRID, cuts=[3, 300]), other)
    except ValueError as error:
        pytest.skip(str(error))
    finally:
        native.set_level(before)
    assert distance(other, whole) < 0.03


def test_turned_keys_are_those_of_the_other_positions(checkpoint: Checkpoint, weights) -> None:
    """Of the first layer, whose latents and values know nothing of their position."""
    ids = ids_of(checkpoint, 3 * PAGE)
    runner = runner_of(checkpoint, weights, pages=8)
    read(runner, ids, expanded=0)
    read(runner, [*ids[:PAGE], *ids[2 * PAGE :]], expanded=0, pages=[4, 5])
    wanted = first_layer(runner, 5)
    assert not torch.allclose(first_layer(runner, 2), wanted, atol=0.03, rtol=0.02)
    runner.rotate([2], -PAGE)
    torch.testing.assert_close(first_layer(runner, 2), wanted, atol=0.03, rtol=0.02)


def test_a_hundred_turns_lose_little(checkpoint: Checkpoint, weights) -> None:
    runner = runner_of(checkpoint, weights, pages=2)
    read(runner, ids_of(checkpoint, PAGE), expanded=0)
    before = first_layer(runner, 0)
    for _ in range(50):
        runner.rotate([0], -PAGE)
        runner.rotate([0], PAGE)
    off = (first_layer(runner, 0) - before).abs().max() / before.abs().max()
    print(f"{off:.4f}")
    assert off < 0.03


def first_layer(runner: NativeRunner, page: int) -> torch.Tensor:
    """What a page holds for the first layer, as float32."""
    numbers = runner.memory(page).view(torch.bfloat16).float()
    return numbers[: len(numbers) // runner.config.layers].clone()


def test_what_a_page_held_before_changes_nothing(checkpoint: Checkpoint, weights) -> None:
    ids = ids_of(checkpoint, 70)
    runner = runner_of(checkpoint, weights)
    whole = read(runner, ids, expanded=0)
    read(runner, ids_of(checkpoint, LENGTH, 9), expanded=0)
    for page in range(2):
        runner.clear_page(page)
    assert torch.equal(read(runner, ids, expanded=0), whole)
