"""How files become documents, and documents become shards of tokens."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, get_args

from midfill.config.fields import INF, SHARE, check_choice, check_fields, check_number
from midfill.errors import ConfigError

Order = Literal["depth_first", "paper", "random", "path"]
Unit = Literal["component", "repository", "file"]
Split = Literal["character", "line", "token"]
Category = Literal["code", "math", "text"]

PAPER_V2_MIX: Mapping[Category, float] = {
    "code": 0.6,
    "math": 0.1,
    "text": 0.3,
}  # DeepSeek-Coder-V2 §2


@dataclass(frozen=True, slots=True, kw_only=True)
class DocumentsConfig:
    """What a training document is."""

    unit: Unit = "component"  # of a repository's imports (V1 §2.2); V2 joined the repository
    order: Order = "depth_first"  # V1: paper; V2: random
    max_document_tokens: int = 32_768  # longer components are cut between files; the authors: "32k"
    path_comments: bool = True  # a comment with its path before each file (DeepSeek-Coder §2.2)

    def __post_init__(self) -> None:
        """Refuse what is no choice."""
        check_fields(self, {"max_document_tokens": (1, INF)})


@dataclass(frozen=True, slots=True, kw_only=True)
class FimConfig:
    """Fill-in-the-middle of training documents (DeepSeek-Coder §3.1.2, DeepSeek-Coder-V2 §3.1)."""

    rate: float = 0.5  # share of documents that are rearranged
    spm_rate: float = 0.0  # share of those in suffix, prefix, middle order; the papers: none
    split: Split = "character"  # where the two cuts may fall; usual practice, papers: "random"

    def __post_init__(self) -> None:
        """Refuse rates that are no shares."""
        check_fields(self, {"rate": SHARE, "spm_rate": SHARE})


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenizerConfig:
    """Which tokenizer encodes the documents."""

    path: str | None = None  # a folder with tokenizer.json; None: train one on this corpus
    vocabulary: int = 32_000  # of the trained one (DeepSeek-Coder §3.2; Coder-V2: 100,000)
    sample_bytes: int = 32 << 20  # text it is trained on, balanced between languages

    def __post_init__(self) -> None:
        """Refuse vocabularies that no byte-level tokenizer can have."""
        check_fields(self, {"vocabulary": (300, 1 << 24), "sample_bytes": (1, INF)})


@dataclass(frozen=True, slots=True, kw_only=True)
class ShardsConfig:
    """Token shards: mixture, split, and size. Shares of the mix are of tokens."""

    fim: FimConfig = field(default_factory=FimConfig)
    tokenizer: TokenizerConfig = field(default_factory=TokenizerConfig)
    mix: Mapping[Category, float] = field(default_factory=dict)  # empty: everything, once
    language_cap_bytes: int | None = (
        None  # of text per language; V1's table looks capped at 0.92 GB
    )
    epochs: int = 1  # each with other holes and another order
    held_out: float = 0.01  # share of repositories that go to the held-out shards
    shard_tokens: int = 1 << 26  # aimed at, in one shard

    def __post_init__(self) -> None:
        """Refuse mixtures that are no mixture."""
        limits = {"held_out": (0, 0.5), "shard_tokens": (1024, INF)}
        check_fields(self, limits, others=(1, INF))
        for name, share in self.mix.items():
            check_choice("a category of the mix", name, get_args(Category))
            check_number(f"the share of {name}", share, *SHARE)
        if self.mix and abs(sum(self.mix.values()) - 1) > 1e-6:
            raise ConfigError(
                f"the shares of the mix sum to {sum(self.mix.values()):g}",
                why="they are shares of one whole",
                fix="make them sum to 1",
            )
