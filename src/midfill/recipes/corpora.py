"""Recipes of corpora: functions that return a configuration without sources, or with some."""

from collections.abc import Callable, Mapping

from midfill.config.corpus.build import CorpusConfig, SourceConfig
from midfill.config.corpus.decontamination import paper as paper_decontamination
from midfill.config.corpus.documents import (
    PAPER_V2_MIX,
    DocumentsConfig,
    ShardsConfig,
    TokenizerConfig,
)
from midfill.config.corpus.rules import LicenceConfig, RulesConfig

V1_LAST_DAY = "2023-02-01"  # repositories created before it (DeepSeek-Coder §2.1)
V2_LAST_DAY = "2023-11-01"  # DeepSeek-Coder-V2 §2


OWN = RulesConfig(licence=LicenceConfig(unknown=True))  # one's own code seldom states a licence


def default() -> CorpusConfig:
    """Ours: every language, components in depth-first order, 10-grams that say something."""
    return CorpusConfig(rules=OWN)


def v1() -> CorpusConfig:
    """DeepSeek-Coder: Algorithm 1, a vocabulary of 32,000, every 10-gram counts."""
    return CorpusConfig(
        languages=("v1", "Markdown", "reStructuredText"),  # its README lists the two beside the 87
        rules=OWN,
        created_before=V1_LAST_DAY,
        documents=DocumentsConfig(unit="component", order="paper"),
        decontamination=paper_decontamination(),
        shards=ShardsConfig(tokenizer=TokenizerConfig(vocabulary=32_000)),
    )


def v2() -> CorpusConfig:
    """DeepSeek-Coder-V2: 338 languages, files of a repository at random, 60/10/30, 100,000."""
    return CorpusConfig(
        rules=OWN,
        created_before=V2_LAST_DAY,
        documents=DocumentsConfig(unit="repository", order="random"),
        decontamination=paper_decontamination(),
        shards=ShardsConfig(mix=PAPER_V2_MIX, tokenizer=TokenizerConfig(vocabulary=100_000)),
    )


def packages() -> CorpusConfig:
    """Ours, on 1,011 permissive packages of PyPI and the pinned lists of npm and Debian.

    What states no licence is dropped: this one could be given away.
    """
    return CorpusConfig(
        sources=(
            SourceConfig(kind="packages", path="pypi_permissive_sdists_le5MB", index="pypi"),
            SourceConfig(kind="packages", path="npm"),
            SourceConfig(kind="packages", path="debian"),
        )
    )


CORPORA: Mapping[str, Callable[[], CorpusConfig]] = {
    "default": default,
    "v1": v1,
    "v2": v2,
    "packages": packages,
}
