"""A run that is killed goes on where it was: final weights equal an uninterrupted run's to the bit."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

from midfill.train.log import read
from token_shards import byte_tokenizer, document, write_token_shards

STEPS = 30
SETTINGS = (
    "model.layers=2",
    "model.moe.experts=4",
    "data.length=64",
    "model.context=64",
    "data.workers=1",
    "batch.sequences=4",
    "batch.micro=2",
    f"tokens={STEPS * 4 * 64}",
    "keep.every_steps=3",
    "keep.evaluate_every=10",
    "keep.sample_every=20",
    "keep.evaluate_sequences=4",
    "schedule.warmup_steps=3",
    "guard.spike=3",
    "guard.window=5",
    "balance.bias_rate=0.001",
    "balance.capacity=1.5",
)


@pytest.fixture(scope="module")
def shards(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("corpus")
    tokenizer = byte_tokenizer(folder / "tokenizer")
    chance = random.Random(0)
    texts = ["".join(chance.choices("ab cd\n", k=chance.randint(20, 400))) for _ in range(60)]
    documents = [document(tokenizer, text) for text in texts]
    write_token_shards(folder / "shards", documents[:50], documents[50:], vocabulary=tokenizer.rows)
    return folder


def started(out: Path, *arguments: str) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "midfill.cli", "train", "pretrain", *arguments]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    )


def new(out: Path, shards: Path, precision: str) -> tuple[str, ...]:
    settings = (*SETTINGS, f"precision={precision}")
    given = [word for setting in settings for word in ("--set", setting)]
    return ("--recipe", "tiny", "--data", str(shards), "--out", str(out), *given)


def finished(process: subprocess.Popen[bytes]) -> None:
    _, told = process.communicate(timeout=120)
    assert process.returncode == 0, told.decode()


def killed_at(process: subprocess.Popen[bytes], out: Path, step: int, *, saving: bool) -> None:
    """Kill the run once it logged `step`; if `saving`, in the middle of writing a checkpoint."""
    end = time.monotonic() + 60
    while process.poll() is None and time.monotonic() < end:
        done = max((line["step"] for line in read(out)), default=0) if out.exists() else 0
        if done >= step and (not saving or any(out.glob("checkpoints/.*.part"))):
            break
        time.sleep(0.0005 if saving else 0.005)
    process.send_signal(signal.SIGKILL)
    process.communicate()


def same_run(one: Path, other: Path) -> None:
    """Equal weights to the bit, and a log with every step once and the same losses."""
    ours, theirs = (load_file(run / "final" / "model.safetensors") for run in (one, other))
    assert ours.keys() == theirs.keys()
    for name, tensor in ours.items():
        assert np.array_equal(tensor, theirs[name]), name
    losses = [
        [(line["step"], line["loss"]) for line in read(run) if line["kind"] == "step"]
        for run in (one, other)
    ]
    assert losses[0] == losses[1]
    assert [step for step, _ in losses[0]] == list(range(1, STEPS + 1))


def resumed_until_done(out: Path, kills: list[int], first: subprocess.Popen[bytes]) -> int:
    process, hits = first, 0
    for i, step in enumerate(kills):
        killed_at(process, out, step, saving=i % 2 == 1)
        hits += any(out.glob("checkpoints/.*.part"))
        process = started(out, "--resume", str(out))
    finished(process)
    return hits


def test_a_killed_run_ends_in_the_same_weights(shards: Path, tmp_path: Path) -> None:
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    finished(started(whole, *new(whole, shards, "float32")))
    resumed_until_done(cut, [11], started(cut, *new(cut, shards, "float32")))
    same_run(whole, cut)


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_killed_at_five_random_steps_also_while_saving(
    shards: Path, tmp_path: Path, precision: str
) -> None:
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    finished(started(whole, *new(whole, shards, precision)))
    kills = sorted(random.Random(precision).sample(range(3, STEPS - 2), 5))
    hits = resumed_until_done(cut, kills, started(cut, *new(cut, shards, precision)))
    same_run(whole, cut)
    assert hits, "no kill fell into the writing of a checkpoint"
    seconds = json.loads(next(cut.glob("checkpoints/*/state.json")).read_text())["seconds"]
    assert seconds > 0
