"""A server over the tiny model, and a hub with its caches under the test's own folder."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import openai
import pytest
from huggingface_hub import constants

from midfill.hub import huggingface
from running_server import Running
from small_hub import WEIGHTS, Hub, serving


@pytest.fixture(scope="module")
def server(tiny_coder: Any) -> Iterator[Running]:
    with Running(tiny_coder) as running:
        yield running


@pytest.fixture(scope="module")
def client(server: Running) -> Iterator[openai.OpenAI]:
    with server.client() as made:
        yield made


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Our cache and huggingface_hub's under tmp_path; no waiting between two attempts."""
    monkeypatch.setenv("MIDFILL_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hf" / "hub"))
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    monkeypatch.delenv("HF_TOKEN", raising=False)
    monkeypatch.setattr(huggingface, "RETRY_WAIT_S", 0)
    for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path


@pytest.fixture
def hub(home: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    files = {"config.json": b"{}", "tokenizer.json": b"[1]", "README.md": b"#"}
    with serving(Hub(files={**files, "model.safetensors": WEIGHTS})) as hub:
        monkeypatch.setenv("HF_ENDPOINT", hub.url)
        yield hub


@pytest.fixture
def links(home: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that is all pip knows of package indexes."""
    folder = home / "links"
    folder.mkdir()
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    return folder
