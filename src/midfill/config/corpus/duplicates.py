"""What counts as a duplicate, and which copy stays (DeepSeek-Coder 2.3).

The paper names MinHash on whole repositories and gives no numbers. The numbers here are those of
The Stack and StarCoder, which its text points back to.
"""

from dataclasses import dataclass
from typing import Any, Literal

from midfill.errors import ConfigError

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
        _check_choice("level", self.level, ("repo", "file", "both"))
        _check_choice("chains", self.chains, ("keeper", "component"))
        _check_choice("exact", self.exact, ("report", "drop"))
        _check("threshold", self.threshold, 0 < self.threshold <= 1, "above 0, at most 1")
        _check("words", self.words, 1 <= self.words <= 4096, "1 to 4096")
        most = 1 <= self.permutations <= MOST_SLOTS
        _check("permutations", self.permutations, most, f"1 to {MOST_SLOTS}")
        _check("seed", self.seed, 0 <= self.seed < 1 << 64, "0 to 2^64 - 1")
        for name in ("centres", "window", "rounds"):
            _check(name, getattr(self, name), getattr(self, name) >= 1, "at least 1")
        for name in ("cache", "exact_bytes"):
            _check(name, getattr(self, name), getattr(self, name) >= 0, "not negative")
        self._check_bands()

    def _check_bands(self) -> None:
        if self.bands is None and self.rows is None:
            return
        bands, rows = self.bands or 0, self.rows or 0
        fits = bands >= 1 and rows >= 1 and bands * rows <= self.permutations
        wanted = f"both given, at least 1, and no more than {self.permutations} multiplied"
        _check("bands x rows", f"{self.bands} x {self.rows}", fits, wanted)


def _check_choice(name: str, value: Any, allowed: tuple[str, ...]) -> None:
    _check(name, value, value in allowed, " or ".join(allowed))


def _check(name: str, value: Any, good: bool, wanted: str) -> None:
    if not good:
        raise ConfigError(
            f"duplicates: {name} is {value!r}",
            why=f"it must be {wanted}",
            fix=f"give such a {name}, or leave it out",
        )
