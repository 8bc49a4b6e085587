"""Which files are parsed and how long, when a file reads badly, how the n-gram classifier learns.

DeepSeek-Coder 2.4 names a compiler, a quality model and heuristics for syntax errors, readability
and modularity, and publishes no number: every default here is ours unless it names its source.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Literal

from midfill.config.fields import ANY, INF, SHARE, check_fields, check_number

MIB = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class SyntaxConfig:
    """What is parsed, under which limits, and what is dropped.

    `parse` is "suspect" because parsers read 5 to 15 MB/s and a build some 100. Of 143,000 files of
    1,230 MB (Python's, npm's and Debian's packages, after all other rules) the test behind it, at
    200 MB/s a core, sent 8 % of the bytes to a parser, among them 809 of the 848 files that "all"
    finds broken (Python 68 of 93; the others are mostly half lines of a completion tool's tests).
    In C and C++ it sent 62 of 196, most of them whole files with macros, which "all" drops.
    """

    parse: Literal["suspect", "all", "none"] = "suspect"
    small: int = 2000  # characters up to which every file is suspect: broken ones are mostly short
    languages: tuple[str, ...] | None = None  # None: all that have a parser here
    largest: int = MIB  # characters; longer files are not parsed and stay, as "unchecked"
    error_share: float = 0.1  # of the bytes that a tolerant parser could not place; more is broken
    error_shares: Mapping[str, float] = field(
        # Macros without their definitions are errors to a parser of C; templates to one of HTML.
        default_factory=lambda: {"C": 0.25, "C++": 0.25, "HTML": 0.5}
    )
    cpu_s: float = 10.0  # processor seconds for one file, in whole seconds; not of clock
    wall_s: float = 600.0  # seconds of clock after which a sleeping parser is ended
    memory_mb: int = 2048  # MiB of address space of the parsing process
    recycle: int = 2000  # files after which the process is replaced: parsers leak
    drop_failed: bool = True  # whether files on which the parser ran out or crashed are dropped
    parsers: Mapping[str, str] = field(default_factory=dict)  # more: language -> "module:function"

    def __post_init__(self) -> None:
        """Refuse what could parse nothing."""
        limits = {"error_share": SHARE, "small": (0, INF), "cpu_s": (1e-6, INF)}
        check_fields(self, limits | {"wall_s": (1e-6, INF)}, others=(1, INF))
        for language, share in self.error_shares.items():
            check_number(f"error_shares[{language}]", share, *SHARE)

    def error_limit(self, language: str) -> float:
        """The share of unplaced bytes above which a file of this language is broken."""
        return self.error_shares.get(language, self.error_share)


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """When a file is dropped for how it reads. None: never for that measure.

    Modest on purpose: each bound is far outside what people write, so that only data, generated,
    minified and obfuscated code falls.
    """

    most_comment: float | None = 0.98  # share of non-blank characters inside comments
    least_comment: float | None = None  # StarCoder's optional filter has 0.01
    least_name: float | None = 1.5  # mean length of names in code
    most_name: float | None = 40.0
    most_one_letter: float | None = 0.75  # share of one-letter names among all names
    most_function_lines: float | None = 1000.0  # mean lines of a function, where there are two
    most_nesting: float | None = 12.0  # mean indentation levels over the code lines
    most_duplicate_lines: float | None = 0.75  # share of lines that repeat an earlier one
    most_literal: float | None = 0.9  # share of non-blank characters in strings and numbers
    least_per_token: float | None = None  # characters; StarCoder's optional filter: 2.5 for Python
    least_lines: int = 30  # files with fewer non-blank lines are not judged: too little evidence

    def __post_init__(self) -> None:
        """Refuse what nothing can be compared with."""
        check_fields(self, {"least_lines": (0, INF)})


CODE_BOUNDS = Bounds()
# In these, long texts and repeated lines are what the language is for.
MARKUP_BOUNDS = Bounds(
    least_name=None,
    most_name=None,
    most_one_letter=None,
    most_nesting=None,
    most_duplicate_lines=0.9,
    most_literal=None,
    most_function_lines=None,
)
# Short names are the custom of these.
TERSE = "Assembly NASM R MATLAB Fortran APL J Haskell Julia Agda Idris Lean".split()


def _terse_bounds() -> dict[str, Bounds]:
    return dict.fromkeys(TERSE, Bounds(least_name=None, most_one_letter=None))


@dataclass(frozen=True, slots=True, kw_only=True)
class HeuristicConfig:
    """Bounds by language, else by its kind."""

    programming: Bounds = CODE_BOUNDS
    other: Bounds = MARKUP_BOUNDS  # markup, data, prose, and files of no known language
    languages: Mapping[str, Bounds] = field(default_factory=_terse_bounds)

    def bounds(self, language: str | None, *, programming: bool) -> Bounds:
        """The bounds for a language of this kind."""
        kind = self.programming if programming else self.other
        return kind if language is None else self.languages.get(language, kind)


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassifierConfig:
    """A linear classifier over hashed word n-grams, as fastText's supervised mode.

    fastText's `dimension` (256 in DeepSeekMath 2.1) is missing on purpose: with two labels its
    score is the mean over features of one number each, so a width adds parameters, not functions.
    """

    word_ngrams: int = 3  # words in the longest gram; DeepSeekMath 2.1
    minimum_count: int = 3  # occurrences in training below which a gram is ignored; the same
    epochs: int = 3  # passes over the samples; the same
    learning_rate: float = 0.5  # of AdaGrad; fastText's plain 0.1 needs a million samples
    bits: int = 20  # 2**bits buckets; 4 bytes each in memory, 2 on disk
    longest: int = 4096  # words of one text that are looked at, from its beginning
    seed: int = 0  # of the order of the samples

    def __post_init__(self) -> None:
        """Refuse what could learn nothing."""
        limits = {"learning_rate": (1e-6, INF), "bits": (8, 28), "seed": ANY}
        check_fields(self, limits, others=(1, INF))


def _quality_classifier() -> ClassifierConfig:
    return ClassifierConfig(word_ngrams=2, bits=18)


@dataclass(frozen=True, slots=True, kw_only=True)
class QualityConfig:
    """The three parts of DeepSeek-Coder 2.4, each of which can be left out, and the model's cut."""

    syntax: SyntaxConfig | None = field(default_factory=SyntaxConfig)
    heuristics: HeuristicConfig | None = field(default_factory=HeuristicConfig)
    classifier: ClassifierConfig | None = field(default_factory=_quality_classifier)
    keep: float = 0.95  # share of each language's files that the model's score keeps
    keep_by_language: Mapping[str, float] = field(default_factory=dict)
    least_files: int = 100  # languages with fewer files are not cut: a quantile needs a sample
    unit: Literal["files", "bytes"] = "files"  # what the share is counted in

    def __post_init__(self) -> None:
        """Refuse shares that are none."""
        check_fields(self, {"keep": SHARE, "least_files": (1, INF)})
        for language, share in self.keep_by_language.items():
            check_number(f"keep_by_language[{language}]", share, *SHARE)


BOUND_NAMES = tuple(one.name for one in fields(Bounds) if one.name != "least_lines")
