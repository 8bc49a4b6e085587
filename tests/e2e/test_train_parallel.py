"""Runs over several processes follow the run of one: losses, held-out losses, final weights.

Every run is a torchrun of the command line, over gloo. What one process does is the oracle.
"""

import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

from midfill.config.override import as_data
from midfill.config.train import (
    BalanceConfig,
    BatchConfig,
    KeepConfig,
    OptimiserConfig,
    ParallelConfig,
    TrainConfig,
)
from midfill.corpus.whole import write_json
from midfill.tokenizer.tokenizer import Tokenizer
from midfill.train.build import RUN, fitted, new_run
from midfill.train.log import read
from midfill.train.parallel.ranks import Ranks
from small_runs import small_corpus, small_dense, small_latent, small_run, trained

STEPS = 50
MOST = 1e-5  # losses, gradient norms and weights from those of one process, float32
KEEP = KeepConfig(every_steps=10, evaluate_every=25, evaluate_sequences=13, sample_every=10**6)
SMALL_STEPS = OptimiserConfig(lr=1e-3)
CUT, COPIED = ParallelConfig(), ParallelConfig(shard=False)


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small_corpus(tmp_path_factory.mktemp("corpus"))


def config_of(corpus: Path, kind: str, steps: int = STEPS, **changes) -> TrainConfig:
    """A network of latent attention and experts, or a dense one, its head tied to the embedding."""
    model = small_latent() if kind == "experts" else small_dense(tie_embedding=True)
    return small_run(corpus, model, steps, **({"keep": KEEP, "optimiser": SMALL_STEPS} | changes))


def begun(config: TrainConfig, folder: Path) -> Path:
    """The folder of a run that --resume begins."""
    tokenizer = Tokenizer.from_folder(Path(config.data.sources[0].path) / "tokenizer")
    config = fitted(config, tokenizer)
    new_run(config, folder, tokenizer, Ranks())
    write_json(folder / RUN, {"config": as_data(config)})
    return folder


def started(world: int, *arguments: str) -> subprocess.Popen[str]:
    several = ["torch.distributed.run", "--standalone", f"--nproc-per-node={world}", "-m"]
    command = [sys.executable, "-m", *several * (world > 1), "midfill.cli", "train", "pretrain"]
    return subprocess.Popen(
        [*command, *arguments],
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def finished(process: subprocess.Popen[str]) -> str:
    """What it printed; no process warned of anything."""
    out, told = process.communicate(timeout=300)
    assert process.returncode == 0, told
    assert "rank" not in told, told
    return out


def resumed(world: int, folder: Path) -> Path:
    finished(started(world, "--resume", str(folder)))
    return folder


def ended_at(step: int, number: int, process: subprocess.Popen[str], folder: Path) -> str:
    """End the run with a signal to torchrun once it logged `step`; what it said."""
    end = time.monotonic() + 120
    while process.poll() is None and time.monotonic() < end:
        if max((line["step"] for line in read(folder)), default=0) >= step:
            break
        time.sleep(0.01)
    if number == signal.SIGKILL:
        for worker in children(process.pid):
            os.kill(worker, number)
    process.send_signal(number)
    return process.communicate(timeout=60)[1]


def children(pid: int) -> list[int]:
    """The processes that a process started."""
    listed = Path(f"/proc/{pid}/task/{pid}/children").read_text()
    return [int(one) for one in listed.split()]


def numbers(run: Path, kind: str, name: str = "loss") -> dict[int, float]:
    return {line["step"]: line[name] for line in read(run) if line["kind"] == kind}


def same_curve(run: Path, like: Path, most: float = MOST) -> None:
    """Every loss and gradient norm within `most`, and each step once.

    AdamW's steps do not depend on the scale of gradients: the norms tell whether they were summed.
    """
    steps = [line["step"] for line in read(run) if line["kind"] == "step"]
    assert steps == sorted(set(steps))
    for kind, name in (("step", "loss"), ("step", "grad_norm"), ("evaluation", "loss")):
        got, want = numbers(run, kind, name), numbers(like, kind, name)
        assert got.keys() == want.keys()
        assert got
        furthest = max(abs(got[step] - want[step]) for step in want)
        print(f"{run.name}: {name} of {kind}s differs by {furthest:.2e}")
        assert furthest <= most, (kind, name)


def same_weights(run: Path, like: Path, most: float = MOST) -> None:
    got, want = (load_file(one / "final" / "model.safetensors") for one in (run, like))
    assert got.keys() == want.keys()
    furthest = max(np.abs(got[name] - want[name]).max() for name in want)
    print(f"{run.name}: weights differ by {furthest:.2e}")
    assert furthest <= most


def test_two_processes_follow_one(corpus: Path, tmp_path: Path) -> None:
    """Experts shared by two, all else cut; neither steps nor held-out sequences divide evenly."""
    keep = replace(KEEP, evaluate_every=6)
    batch = BatchConfig(sequences=9, micro=2)
    balance = BalanceConfig(expert=0.01, bias_rate=0.01)
    config = config_of(corpus, "experts", 12, keep=keep, batch=batch, balance=balance)
    trained(config, tmp_path / "one")
    shared = replace(config, parallel=ParallelConfig(experts=2))
    two = begun(shared, tmp_path / "two")
    printed = finished(started(2, "--resume", str(two)))
    assert printed.splitlines() == [str(two / "final")]
    same_curve(two, tmp_path / "one")
    same_weights(two, tmp_path / "one")


@pytest.mark.parametrize("world", [2, pytest.param(4, marks=pytest.mark.slow)])
def test_shared_experts_are_those_of_one_process(world: int) -> None:
    script = str(Path(__file__).parents[1] / "shared_experts.py")
    command = ["torch.distributed.run", "--standalone", f"--nproc-per-node={world}", script]
    done = subprocess.run(
        [sys.executable, "-m", *command],
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize(
    ("kind", "ways"),
    [
        ("dense", [(2, CUT), (2, COPIED), (4, CUT)]),
        ("experts", [(2, CUT), (2, COPIED), (2, ParallelConfig(experts=2))]),
        ("experts", [(4, CUT), (4, ParallelConfig(experts=4)), (4, ParallelConfig(experts=2))]),
        ("experts", [(4, ParallelConfig(experts=2, shard=False)), (3, CUT)]),
    ],
)
def test_every_way_to_share_follows_one_process(
    corpus: Path, tmp_path: Path, kind: str, ways: list[tuple[int, ParallelConfig]]
) -> None:
    config = config_of(corpus, kind)
    trained(config, tmp_path / "one")
    for world, parallel in ways:
        name = f"{kind}-{world}-experts-{parallel.experts}-{'cut' if parallel.shard else 'copied'}"
        run = begun(replace(config, parallel=parallel), tmp_path / name)
        resumed(world, run)
        same_curve(run, tmp_path / "one")
        same_weights(run, tmp_path / "one")


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_activations_computed_again_are_the_same(corpus: Path, tmp_path: Path) -> None:
    """Tokens travel to the experts again in the backward pass."""
    config = config_of(corpus, "experts", 12, checkpointing=True)
    trained(config, tmp_path / "one")
    config = replace(config, parallel=ParallelConfig(experts=2))
    run = resumed(4, begun(config, tmp_path / "again"))
    same_curve(run, tmp_path / "one")
    same_weights(run, tmp_path / "one")


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize(("worlds", "cut"), [((2, 4, 1), True), ((1, 4, 2), True), ((4, 2), False)])
def test_a_run_goes_on_on_another_number_of_processes(
    corpus: Path, tmp_path: Path, worlds: tuple[int, ...], cut: bool
) -> None:
    """Killed at every change; experts are shared by two where there are several processes."""
    parallel = ParallelConfig(experts=2, shard=cut)
    config = config_of(corpus, "experts", parallel=parallel)
    trained(config, tmp_path / "one")
    run = begun(config, tmp_path / "cut")
    for world, step in zip(worlds[:-1], (15, 35), strict=False):
        ended_at(step, signal.SIGKILL, started(world, "--resume", str(run)), run)
    resumed(worlds[-1], run)
    notes = [line["text"] for line in read(run) if line["kind"] == "note"]
    assert notes == [f"resumed on {world} processes" for world in worlds[1:]]
    same_curve(run, tmp_path / "one")
    same_weights(run, tmp_path / "one")


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_asked_to_end_all_stop_behind_the_same_step(
    corpus: Path, tmp_path: Path, number: int
) -> None:
    config = config_of(corpus, "experts", 400, parallel=ParallelConfig(experts=2))
    run = begun(config, tmp_path / "run")
    said = ended_at(12, number, started(2, "--resume", str(run)), run)
    assert said.count(f"midfill train pretrain --resume {run}") == 1
    last = max(numbers(run, "step"))
    assert 12 <= last < 400
    assert (run / "checkpoints" / f"step-{last:08}" / "state.json").exists()


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("kind", ["muon", "bfloat16"])
def test_rounded_products_follow_loosely(corpus: Path, tmp_path: Path, kind: str) -> None:
    """Muon's orthogonal steps are computed in bfloat16."""
    changes = {"optimiser": OptimiserConfig(kind="muon", lr=1e-3, muon_lr=5e-3)}
    config = config_of(corpus, "experts", **(changes if kind == "muon" else {"precision": kind}))
    trained(config, tmp_path / "one")
    config = replace(config, parallel=ParallelConfig(experts=2))
    run = resumed(4, begun(config, tmp_path / kind))
    same_curve(run, tmp_path / "one", most=0.02)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_an_error_of_all_processes_is_told_once(corpus: Path, tmp_path: Path) -> None:
    """Fewer sequences than processes, experts that they cannot share, a rate far too high."""
    config = config_of(corpus, "experts")
    few = replace(config, batch=replace(config.batch, sequences=1))
    odd = replace(config, parallel=ParallelConfig(experts=4))
    high = replace(config, optimiser=OptimiserConfig(lr=1e30))
    for name, wrong, what in (
        ("few", few, "error: 1 sequences cannot be shared by 2 processes"),
        ("odd", odd, "error: 2 processes cannot share the experts in groups of 4"),
        ("high", high, "error: the loss or a gradient is no finite number"),
    ):
        process = started(2, "--resume", str(begun(wrong, tmp_path / name)))
        _, told = process.communicate(timeout=120)
        assert process.returncode == 1
        assert told.count(what) == told.count("  why: ") == 1
