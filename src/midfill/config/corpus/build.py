"""One build of a corpus: its sources and the configurations of all its stages."""

import datetime
from dataclasses import dataclass, field
from typing import Literal

from midfill.config.corpus.decontamination import Decontamination
from midfill.config.corpus.documents import Category, DocumentsConfig, ShardsConfig
from midfill.config.corpus.duplicates import Duplicates
from midfill.config.corpus.quality import QualityConfig
from midfill.config.corpus.rules import RulesConfig
from midfill.config.corpus.sources import Fetching, ReadLimits
from midfill.config.fields import INF, SHARE, check_fields
from midfill.errors import ConfigError

Kind = Literal["folder", "repository", "git", "archives", "packages", "table", "pages"]


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceConfig:
    """One place that repositories, or web pages, come from."""

    # A folder of repositories; one repository's folder; git repositories, committed files only;
    # archives; a list of packages; Parquet or JSONL; WARC, WET or JSONL of web pages.
    kind: Kind
    path: str  # of a file or folder; for packages also the name of a list that comes with midfill
    category: Category = "code"  # of its share in the mix
    index: str | None = None  # of packages whose list does not say it: npm, debian; None: pypi
    commit: str | None = None  # of git repositories; None: what is checked out
    skip: tuple[str, ...] = ()  # names of packages left out

    def __post_init__(self) -> None:
        """Refuse kinds that nobody can read."""
        check_fields(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class CorpusConfig:
    """One build of a corpus, from sources to shards."""

    sources: tuple[SourceConfig, ...] = ()
    limits: ReadLimits = field(default_factory=ReadLimits)
    fetching: Fetching = field(default_factory=Fetching)
    # Names to keep, `v1` for V1's 87; empty: Coder-V2's 338, Markdown and reStructuredText.
    languages: tuple[str, ...] = ()
    created_before: str | None = None  # ISO date; repositories without a date stay
    rules: RulesConfig = field(default_factory=RulesConfig)
    duplicates: Duplicates | None = field(default_factory=Duplicates)
    quality: QualityConfig | None = field(default_factory=QualityConfig)
    decontamination: Decontamination | None = field(default_factory=Decontamination)
    documents: DocumentsConfig = field(default_factory=DocumentsConfig)
    shards: ShardsConfig = field(default_factory=ShardsConfig)
    part_bytes: int = 64 << 20  # of text handled by a process at a time
    label_share: float = 0.2  # of the files that can serve as labels for the quality model
    kept_samples: int = 20  # dropped documents kept for reading, per part and reason
    seed: int = 0

    def __post_init__(self) -> None:
        """Refuse parts in which nothing fits."""
        limits = {"part_bytes": (1 << 16, INF), "label_share": SHARE, "kept_samples": (0, INF)}
        check_fields(self, limits)
        if self.created_before is not None:
            try:
                datetime.date.fromisoformat(self.created_before)
            except ValueError as error:
                raise ConfigError(
                    f"created_before is {self.created_before!r}",
                    why=str(error),
                    fix="give a date such as 2023-11-01",
                ) from error
