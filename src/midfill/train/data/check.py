"""What shards and tokenizer must have in common, and what a run's data is known by."""

import hashlib
import json
import tempfile
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from midfill.config.train import BatchConfig, DataConfig
from midfill.corpus.shards import TokenShards
from midfill.errors import ConfigError
from midfill.tokenizer.folder import digest
from midfill.tokenizer.tokenizer import Tokenizer
from midfill.train.data.source import Source

_VERSION = 1  # of the order: grows when other code would give other batches


def tokenizer_digest(tokenizer: Tokenizer) -> str:
    """SHA-256 of what it is saved as; token shards carry that of theirs."""
    with tempfile.TemporaryDirectory() as folder:
        tokenizer.save(Path(folder))
        return digest(Path(folder))


def check_tokenizer(shards: TokenShards, tokenizer: Tokenizer, own_digest: str) -> None:
    """Raise ConfigError where the shards hold the ids of another tokenizer."""
    own = shards.folder.parent / "tokenizer"
    theirs, rows = shards.index.get("tokenizer_sha256"), shards.index.get("vocabulary", 0)
    if theirs not in (None, own_digest) or rows > tokenizer.rows:
        raise ConfigError(
            f"the tokens of {shards.folder} are those of another tokenizer",
            why=f"its vocabulary has {rows:,} ids, this one {tokenizer.rows:,}"
            if rows != tokenizer.rows
            else "the SHA-256 of the two differ",
            fix=f"train with {own}, or build the shards with --set shards.tokenizer.path=FOLDER",
        )


def fingerprint(
    config: DataConfig, batch: BatchConfig, seed: int, sources: Sequence[Source], tokenizer: str
) -> str:
    """SHA-256 of all that batches are a function of: shards, configuration, seed, tokenizer.

    Where the shards lie and how many processes read them is not of it.
    """
    known = {
        "version": _VERSION,
        "seed": seed,
        "tokenizer": tokenizer,
        "length": config.length,
        "mask_documents": config.mask_documents,
        "block_tokens": config.block_tokens,
        "batch": [batch.sequences, batch.first, batch.ramp_tokens],
        "sources": [
            {
                "weight": one.config.weight,
                "least_tokens": one.config.least_tokens,
                "fim": asdict(one.fim),
                "shards": list(one.digests()),
            }
            for one in sources
        ],
    }
    return hashlib.sha256(json.dumps(known, sort_keys=True).encode()).hexdigest()
