"""Fixtures of several files of unit tests."""

from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def tiny_folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A Hugging Face folder of random weights for each configuration of `packed_models`."""
    from conftest import randomise
    from midfill.model.convert import save_hf
    from midfill.model.transformer import Transformer
    from packed_models import CONFIGS

    out = {}
    for name, make in CONFIGS.items():
        out[name] = tmp_path_factory.mktemp(name)
        network = Transformer(make())
        randomise(network)
        save_hf(network, out[name])
    return out
