"""Describing a model of a hub by its configuration alone."""

import dataclasses
import json
from pathlib import Path

import huggingface_hub
import pytest

from midfill.errors import DownloadError
from midfill.hub import catalogue, config_of, pull
from midfill.hub.catalogue import HubSource
from midfill.terminal.describe import describe
from small_hub import COMMIT, REPO, WEIGHTS, Hub, entry_of

CONFIG = {
    "model_type": "llama",
    "vocab_size": 100,
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "intermediate_size": 64,
    "max_position_embeddings": 128,
    "torch_dtype": "bfloat16",
}


def test_describe_fetches_no_weights(hub: Hub, home: Path):
    hub.files["config.json"] = json.dumps(CONFIG).encode()
    facts = describe(REPO)
    assert (facts["layers"], facts["dtype"], facts["file_bytes"]) == (2, "bfloat16", None)
    assert facts["source"] == f"config.json of hub {REPO}"
    fetched = [path for how, path, _ in hub.requests if how == "GET" and "/api/" not in path]
    assert fetched == [f"/{REPO}/resolve/{COMMIT}/config.json"]
    assert not (home / "cache").exists()


def test_describe_reads_what_is_stored(hub: Hub):
    hub.files["config.json"] = json.dumps(CONFIG).encode()
    folder = pull(REPO)
    hub.requests.clear()
    facts = describe(REPO)
    assert (facts["source"], facts["file_bytes"]) == (f"Hugging Face folder {folder}", len(WEIGHTS))
    assert hub.requests == []


def test_describe_reads_what_the_official_client_cached(hub: Hub, home: Path):
    hub.files["config.json"] = json.dumps(CONFIG).encode()
    huggingface_hub.snapshot_download(
        REPO, endpoint=hub.url, cache_dir=home / "hf" / "hub", allow_patterns="config.json"
    )
    hub.requests.clear()
    assert describe(REPO)["layers"] == 2
    assert hub.requests == []


def test_a_quantised_model_is_described_by_its_original(hub: Hub, monkeypatch: pytest.MonkeyPatch):
    """No config.json beside a GGUF file: the catalogue knows a repository of the same size."""
    hub.files["config.json"] = json.dumps(CONFIG).encode()
    original = dataclasses.replace(
        entry_of(b""), name="original", parameters=5, sources=(HubSource(repo=REPO),)
    )
    small = dataclasses.replace(entry_of(WEIGHTS), name="original-q4", parameters=5)
    monkeypatch.setattr(catalogue, "entries", lambda: (small, original))
    raw, source = config_of("original-q4")
    assert (raw, source.repo) == (CONFIG, REPO)
    monkeypatch.setattr(catalogue, "entries", lambda: (small,))
    with pytest.raises(DownloadError) as caught:
        config_of("original-q4")
    assert caught.value.fix == "midfill pull original-q4"


@pytest.mark.parametrize("content", [b"", b"[]", b"\xff", b"{"])
def test_a_configuration_that_is_none(hub: Hub, content: bytes):
    hub.files["config.json"] = content
    with pytest.raises(DownloadError, match="holds no JSON object"):
        describe(REPO)
    del hub.files["config.json"]
    with pytest.raises(DownloadError, match=r"has no config\.json") as caught:
        describe(REPO)
    assert caught.value.fix == f"midfill pull {REPO}"
