"""What a corpus is built from and how: one small file per stage; `CorpusConfig` holds them all."""

from dataclasses import dataclass, field

from midfill.config.corpus.decontamination import DecontaminationConfig
from midfill.config.corpus.documents import (
    Category,
    DocumentsConfig,
    FimConfig,
    ShardsConfig,
    TokenizerConfig,
    number,
)
from midfill.config.corpus.duplicates import DuplicatesConfig
from midfill.config.corpus.quality import QualityConfig
from midfill.config.corpus.rules import RulesConfig
from midfill.config.corpus.sources import Fetching, ReadLimits, SourceConfig

__all__ = [
    "Category",
    "CorpusConfig",
    "DecontaminationConfig",
    "DocumentsConfig",
    "DuplicatesConfig",
    "Fetching",
    "FimConfig",
    "QualityConfig",
    "ReadLimits",
    "RulesConfig",
    "ShardsConfig",
    "SourceConfig",
    "TokenizerConfig",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class CorpusConfig:
    """One build of a corpus, from sources to shards."""

    sources: tuple[SourceConfig, ...] = ()
    limits: ReadLimits = field(default_factory=ReadLimits)
    fetching: Fetching = field(default_factory=Fetching)
    languages: tuple[str, ...] = ()  # names to keep; empty: all 338 (Coder-V2); V1: its 87
    created_before: str | None = None  # ISO date; repositories without a date stay
    rules: RulesConfig = field(default_factory=RulesConfig)
    duplicates: DuplicatesConfig = field(default_factory=DuplicatesConfig)
    quality: QualityConfig = field(default_factory=QualityConfig)
    decontamination: DecontaminationConfig = field(default_factory=DecontaminationConfig)
    documents: DocumentsConfig = field(default_factory=DocumentsConfig)
    shards: ShardsConfig = field(default_factory=ShardsConfig)
    part_bytes: int = 64 << 20  # of text handled by a process at a time
    kept_samples: int = 20  # dropped documents kept for reading, per part and reason
    seed: int = 0

    def __post_init__(self) -> None:
        """Refuse parts in which nothing fits."""
        number(self, "part_bytes", 1 << 16)
        number(self, "kept_samples", 0)
