"""What counts as benchmark text in a file, and the published recipes for it by name.

Sources: DeepSeek-Coder section 2.4, DeepSeekMath section 2.1. The unit of their 10-gram is not
stated; ours is a run of letters, digits and underscores after NFC and case folding.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

from midfill.config.fields import INF, check_fields, refusal

LONGEST_GRAM = 63  # words; what the compiled scanner can roll over
Short = Literal["always", "solutions", "informative"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Decontamination:
    """When a file is dropped for what it shares with a benchmark. A word is a run of `\\w`.

    An informative word has two characters or more and a letter. Ladders of numbers and lists of
    letters have none, and they were nearly all hits of the papers' rule on 4,000 Python files.
    """

    n: int = 10  # words of a gram; DeepSeek-Coder 2.4
    shortest: int = 3  # words; benchmark texts of this many to n - 1 are matched whole; 2.4
    informative: int = 5  # words of a gram that must be informative; ours; 0: none need be
    distinct: int = 3  # of these must differ: no `true false true`; ours; where fewer need be, all
    # Which short texts count: all; those with an informative half that are not values of tests; or
    # these and every solution, so that none of three words or more remains, common as its words
    # may be. Ours.
    short: Short = "solutions"
    # Tasks of one set; a gram that more of them hold is the set's harness, such as its imports, and
    # no task's own. Ours. None: it counts.
    max_tasks: int | None = 8
    # Documents of the corpus; a gram that more of them hold is no sign of a benchmark. It needs a
    # pass over the whole corpus first, see `Index.without`; a solution counts all the same.
    max_df: int | None = None
    grams: bool = True  # False: only `substring` decides
    substring: bool = False  # also look for whole benchmark texts, white space as one space
    substring_characters: int = 24  # shorter texts are not looked for

    def __post_init__(self) -> None:
        """Refuse what cannot be matched."""
        limits = {
            "n": (2, LONGEST_GRAM),
            "shortest": (1, self.n),
            "informative": (0, self.n),
            "distinct": (0, INF),
            "substring_characters": (8, INF),
        }
        check_fields(self, limits, others=(1, INF))
        if not (self.grams or self.substring):
            raise refusal("grams", self.grams, "True without substring")


def default() -> Decontamination:
    """Recipe: the papers' 10-grams without those that say nothing."""
    return Decontamination()


def paper() -> Decontamination:
    """Recipe: every shared 10-gram and every short text. Source: DeepSeek-Coder section 2.4."""
    return Decontamination(informative=0, short="always", max_tasks=None)


def gpt3() -> Decontamination:
    """Recipe: 13-grams, as GPT-3 appendix C; but the file goes, not 200 characters around it."""
    return Decontamination(n=13, shortest=13, informative=0, short="always", max_tasks=None)


def datatrove() -> Decontamination:
    """Recipe: 12-grams, the default of datatrove's filter."""
    return Decontamination(n=12, shortest=12, informative=0, short="always", max_tasks=None)


def open_r1() -> Decontamination:
    """Recipe: 8-grams, as open-r1 does."""
    return Decontamination(n=8, shortest=8, informative=0, short="always", max_tasks=None)


def bigcode() -> Decontamination:
    """Recipe: whole benchmark texts as substrings, as bigcode-dataset does."""
    return Decontamination(grams=False, substring=True)


RECIPES: Mapping[str, Callable[[], Decontamination]] = {
    "default": default,
    "paper": paper,
    "gpt3": gpt3,
    "datatrove": datatrove,
    "open_r1": open_r1,
    "bigcode": bigcode,
}
