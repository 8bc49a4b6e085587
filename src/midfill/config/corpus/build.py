"""One build of a corpus: its sources and the configurations of all its stages."""

from dataclasses import dataclass, field

from midfill.config.corpus.decontamination import Decontamination
from midfill.config.corpus.documents import DocumentsConfig, ShardsConfig, number
from midfill.config.corpus.duplicates import Duplicates
from midfill.config.corpus.quality import QualityConfig
from midfill.config.corpus.rules import RulesConfig
from midfill.config.corpus.sources import Fetching, ReadLimits, SourceConfig

@dataclass(frozen=True, slots=True, kw_only=True)
class CorpusConfig:
    """One build of a corpus, from sources to shards."""

    sources: tuple[SourceConfig, ...] = ()
    limits: ReadLimits = field(default_factory=ReadLimits)
    fetching: Fetching = field(default_factory=Fetching)
    languages: tuple[str, ...] = ()  # names to keep; empty: all 338 (Coder-V2); V1: its 87
    created_before: str | None = None  # ISO date; repositories without a date stay
    rules: RulesConfig = field(default_factory=RulesConfig)
    duplicates: Duplicates | None = field(default_factory=Duplicates)
    quality: QualityConfig = field(default_factory=QualityConfig)
    decontamination: Decontamination | None = field(default_factory=Decontamination)
    documents: DocumentsConfig = field(default_factory=DocumentsConfig)
    shards: ShardsConfig = field(default_factory=ShardsConfig)
    part_bytes: int = 64 << 20  # of text handled by a process at a time
    kept_samples: int = 20  # dropped documents kept for reading, per part and reason
    seed: int = 0

    def __post_init__(self) -> None:
        """Refuse parts in which nothing fits."""
        number(self, "part_bytes", 1 << 16)
        number(self, "kept_samples", 0)
