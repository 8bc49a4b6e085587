"""What counts as a duplicate, and which copy stays (DeepSeek-Coder 2.3).

The paper names MinHash on whole repositories and gives no numbers. The numbers here are those of
The Stack and StarCoder, which its text points back to.
"""

import math
from dataclasses import dataclass
from typing import Literal

from midfill.config.fields import INF, check_fields, refusal

Level = Literal["repo", "file", "both"]
Chains = Literal["keeper", "component"]
MOST_SLOTS = 65_536  # bands times rows; the bound of the compiled loops


@dataclass(frozen=True, slots=True, kw_only=True)
class Duplicates:
    """Near-duplicates by MinHash, each verified by its exact Jaccard similarity."""

    level: Level = "repo"  # whole repositories (DeepSeek-Coder 2.3), single files, or first one
    # and then the other
    threshold: float = 0.7  # least Jaccard similarity of a duplicate; The Stack
    words: int = 5  # words in a shingle; documents with fewer are never near-duplicates; StarCoder
    permutations: int = 256  # the most bands x rows; StarCoder
    bands: int | None = None  # with `rows`; None: what `bands_rows` finds, 25 x 10 by default
    rows: int | None = None
    seed: int = 1  # of the hashes; another seed gives other sketches, which do not compare
    # In a chain A~B~C with A unlike C and A the best: "keeper" keeps C, since nothing that stays
    # is like it; "component" removes it with B, as StarCoder did. Ours: "keeper", because a series
    # of versions drifts, and a chain would leave one of them for all.
    chains: Chains = "keeper"
    exact: Literal["report", "drop"] = "report"  # what happens to files with equal bytes; "drop"
    # removes them from repositories that stay, so that imports may lose their file
    exact_bytes: int = 64  # smaller files with equal bytes stay: an empty __init__.py has a meaning
    strip_licence: bool = True  # leave a licence comment at the start of a file out of its shingles
    centres: int = 4  # in a large group, how many of the best are compared with all others; ours
    window: int = 16  # and with how many neighbours each is compared; groups up to 17: all pairs
    rounds: int = 64  # how many documents of one component may stay before only pairs that share
    # a band are compared; bounds the work on long chains; ours
    cache: int = 1 << 30  # bytes of shingle sets held at once while pairs are verified

    def __post_init__(self) -> None:
        """Refuse what cannot be honoured, naming the field."""
        limits = {
            "threshold": (1e-6, 1),
            "words": (1, 4096),
            "permutations": (1, MOST_SLOTS),
            "seed": (0, 2**64 - 1),
            "cache": (0, INF),
            "exact_bytes": (0, INF),
        }
        check_fields(self, limits, others=(1, INF))
        given = [number for number in (self.bands, self.rows) if number is not None]
        if len(given) == 1 or math.prod(given) > self.permutations:
            most = f"both given, or neither, and at most {self.permutations} multiplied"
            raise refusal("bands x rows", f"{self.bands} x {self.rows}", most)
