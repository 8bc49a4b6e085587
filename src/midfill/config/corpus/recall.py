"""How pages are recalled from the web or from GitHub, round by round.

Source: DeepSeekMath 2.1 for the classifier and the 10 % rule, DeepSeek-Coder-V2 2 for the words
and the number of rounds. What neither says is marked ours.
"""

from dataclasses import dataclass, field
from typing import Literal

from midfill.config.corpus.quality import ClassifierConfig
from midfill.config.fields import ANY, INF, SHARE, check_fields

DomainKind = Literal["host", "owner", "repository"]


@dataclass(frozen=True, slots=True, kw_only=True)
class RecallConfig:
    """The recall loop. `web` and `github` below are the two that DeepSeek-Coder-V2 ran."""

    rounds: int = 3  # DeepSeek-Coder-V2: three on the web, two on GitHub
    domain: DomainKind = "host"  # pages with the same base URL; owner or repository: ours
    positives: int = 500_000  # pages of the seed that train, at most
    negatives: int = 500_000  # random pages outside the seed that train, at most
    classifier: ClassifierConfig = field(default_factory=ClassifierConfig)
    keep: float = 0.1  # share of all scored pages that a round collects at most; ours
    least_score: float = 0.0  # a page below this is never collected; the papers only rank
    domain_share: float = 0.1  # more than this part of its pages collected: the domain is chosen
    domain_pages: int = 1  # domains with fewer pages are never chosen; ours
    accept: float | None = None  # accept proposed prefixes with this share collected; None: nobody
    prefix_pages: int = 5  # pages under a prefix for it to be proposed; ours
    prefix_depth: int = 3  # parts of a path in a proposed prefix; ours
    stop_share: float = 0.02  # a round with a smaller share of new pages is the last; ours
    seed: int = 0  # of the choice of samples

    def __post_init__(self) -> None:
        """Refuse what could collect nothing."""
        shares = ("keep", "least_score", "domain_share", "stop_share", "accept")
        limits = dict.fromkeys(shares, SHARE) | {"prefix_depth": (0, INF), "seed": ANY}
        check_fields(self, limits, others=(1, INF))


def web() -> RecallConfig:
    """The loop over web pages: three rounds, a domain is a host."""
    return RecallConfig()


def github() -> RecallConfig:
    """The loop over files of GitHub: two rounds, a domain is the owner of repositories."""
    return RecallConfig(rounds=2, domain="owner")
