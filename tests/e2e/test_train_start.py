"""`midfill train` from weights that exist: continued pre-training, and a stage of longer context."""

import io
import json
import math
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch

import midfill
from midfill import cli
from midfill.config.model import LinearScaling, YarnScaling
from midfill.model.checkpoint import load_network, open_checkpoint
from midfill.model.convert import convert
from midfill.train.build import read_config
from midfill.train.data import Data
from midfill.train.log import read
from midfill.train.loss import cross_entropy
from small_runs import small_corpus, small_dense, small_latent, small_run, trained
from token_shards import byte_tokenizer, document, write_token_shards

Ran = Callable[..., tuple[str, str]]
FEW = ("data.workers=0", "data.length=64", "batch.sequences=4", "batch.micro=4", "tokens=768")
RATES = ("precision=float32", "keep.evaluate_sequences=4")
SET = [word for setting in (*FEW, *RATES) for word in ("--set", setting)]


@pytest.fixture
def ran(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Ran:
    """Run `midfill train` in this process; stdout and stderr, after checking the exit code."""

    def run(*arguments: str | Path, code: int = 0) -> tuple[str, str]:
        monkeypatch.setattr(sys, "argv", ["midfill", "train", *map(str, arguments)])
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO()))
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            cli.main()
        out, err = capsys.readouterr()
        assert ended.value.code == code, err
        return out, err

    return run


@pytest.fixture
def refused(ran: Ran) -> Callable[..., str]:
    """Run it where it must refuse, in three lines; all of them."""

    def run(*arguments: str | Path) -> str:
        _, err = ran(*arguments, "--quiet", code=2)
        starts = [line.split(":")[0].strip() for line in err.splitlines()]
        assert starts == ["error", "why", "fix"], err
        return err

    return run


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small_corpus(tmp_path_factory.mktemp("corpus"))


@pytest.fixture(scope="module")
def final(corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A network that learnt something."""
    folder = tmp_path_factory.mktemp("run") / "run"
    _, losses = trained(small_run(corpus, small_latent(), 60), folder)
    assert losses[-1] < 0.7 * losses[0]
    return folder / "final"


def first_loss(run: Path) -> float:
    return next(line["loss"] for line in read(run) if line["kind"] == "step")


def loss_before_training(run: Path) -> float:
    """What the first batch of a run costs the weights it began with."""
    config = read_config(run)
    assert config.start is not None
    checkpoint = open_checkpoint(Path(config.start))
    network = load_network(replace(checkpoint, config=config.model), torch.float32)
    data = Data.open(config.data, config.batch, config.seed, checkpoint.tokenizer())
    batch = data.batch(0)
    with torch.no_grad():
        hidden = network.hidden(torch.from_numpy(batch.tokens), documents=batch.documents)
        loss = cross_entropy(hidden, network.lm_head.weight, torch.from_numpy(batch.targets))
    return float(loss.total / loss.targets)


# ------------------------------------------------------------------------- continued pre-training


@pytest.mark.parametrize("kind", ["folder", "gguf"])
def test_a_continued_run_begins_where_its_start_was(
    ran: Ran, corpus: Path, final: Path, tmp_path: Path, kind: str
):
    start = final if kind == "folder" else convert(final, tmp_path / "start.gguf", "gguf", "F32")
    run = tmp_path / "run"
    out, _ = ran(
        "pretrain", "--recipe", "tiny", "--start", start, "--data", corpus, "--out", run, *SET
    )
    assert out.strip() == str(run / "final")
    assert first_loss(run) == pytest.approx(loss_before_training(run), rel=1e-4)
    assert first_loss(run) < 0.7 * math.log(open_checkpoint(final).config.vocab)
    assert open_checkpoint(run / "final").config == open_checkpoint(final).config
    assert midfill.load(run / "final").complete("def ", max_tokens=4).tokens


def test_resuming_does_not_need_the_start(ran: Ran, corpus: Path, final: Path, tmp_path: Path):
    start = convert(final, tmp_path / "start.gguf", "gguf", "F32")
    run = tmp_path / "run"
    ran("pretrain", "--recipe", "tiny", "--start", start, "--data", corpus, "--out", run, *SET)
    before = (run / "final" / "model.safetensors").read_bytes()
    start.unlink()
    ran("pretrain", "--resume", run)
    assert (run / "final" / "model.safetensors").read_bytes() == before


def test_shards_of_another_tokenizer_are_refused(refused, final: Path, tmp_path: Path):
    other = tmp_path / "other"
    tokenizer = byte_tokenizer(other / "tokenizer")
    pieces = [document(tokenizer, "text of another corpus" * 9)] * 20
    write_token_shards(
        other / "shards", pieces, vocabulary=tokenizer.rows, tokenizer_sha256="0" * 64
    )
    told = refused(
        "pretrain", "--recipe", "tiny", "--start", final, "--data", other, "--out", tmp_path / "run"
    )
    assert "another tokenizer" in told
    assert "shards.tokenizer.path" in told


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (("--recipe", "tinny"), "tinny"),
        (("--start", "no-such-model"), "no-such-model"),
        (("--set", "optimiser.ratee=1"), "optimiser.rate"),
        (("--set", "model.layers=2"), "another network"),
    ],
)
def test_unknown_names_are_told(refused, corpus: Path, final: Path, tmp_path: Path, change, named):
    given = {"--recipe": "tiny", "--start": str(final), "--data": str(corpus)}
    words = [word for name, value in (given | dict([change])).items() for word in (name, value)]
    assert named in refused("pretrain", *words, "--out", tmp_path / "run")


# ---------------------------------------------------------------------------------- longer context


def test_a_stage_of_longer_context(ran: Ran, corpus: Path, final: Path, tmp_path: Path):
    run = tmp_path / "run"
    wanted = ("--start", final, "--length", "256", "--context", "512", "--steps", "3")
    few = [w for s in (*FEW[:1], *FEW[2:4], RATES[0]) for w in ("--set", s)]
    out, _ = ran("long-context", *wanted, "--data", corpus, "--out", run, *few)
    assert out.strip() == str(run / "final")
    config = open_checkpoint(run / "final").config
    assert config.context == 512
    assert config.rope.scaling == YarnScaling(
        factor=2.0, trained=256, mscale=0.707, mscale_all_dim=0.707
    )
    assert first_loss(run) == pytest.approx(loss_before_training(run), rel=1e-4)
    ran("long-context", "--resume", run)
    again = tmp_path / "again"
    wanted = ("--start", run / "final", "--length", "256", "--context", "1024", "--steps", "1")
    ran("long-context", *wanted, "--data", corpus, "--out", again, *few)
    scaling = open_checkpoint(again / "final").config.rope.scaling
    assert isinstance(scaling, YarnScaling)
    assert (scaling.factor, scaling.trained) == (4.0, 256)


def test_a_dense_model_is_stretched_linearly(ran: Ran, corpus: Path, tmp_path: Path):
    trained(small_run(corpus, small_dense(), 2), tmp_path / "first")
    wanted = ("--start", tmp_path / "first" / "final", "--length", "256", "--context", "1024")
    few = [w for s in (*FEW[:1], *FEW[2:4], RATES[0]) for w in ("--set", s)]
    run = tmp_path / "run"
    ran("long-context", *wanted, "--steps", "1", "--data", corpus, "--out", run, *few)
    rope = open_checkpoint(run / "final").config.rope
    assert (rope.scaling, rope.theta) == (LinearScaling(factor=4.0), 100_000.0)
    assert json.loads((run / "run.json").read_text())["config"]["data"]["length"] == 256


def test_a_shorter_context_is_no_stage(refused, corpus: Path, final: Path, tmp_path: Path):
    told = refused(
        "long-context",
        "--start",
        final,
        "--length",
        "64",
        "--data",
        corpus,
        "--out",
        tmp_path / "r",
    )
    assert "no extension" in told
