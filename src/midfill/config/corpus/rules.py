"""What is kept of the files of a repository: thresholds of the papers, licences, privacy."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from midfill.config.fields import INF, SHARE, check_fields, check_number

# Licences that ask for attribution at most; LicenseRef-Public-Domain is a plain dedication.
PERMISSIVE = frozenset(
    """0BSD AFL-3.0 Apache-1.1 Apache-2.0 Artistic-2.0 BSD-1-Clause BSD-2-Clause
    BSD-2-Clause-Patent BSD-3-Clause BSD-3-Clause-Clear BSD-4-Clause BSD-Source-Code BSL-1.0
    BlueOak-1.0.0 CC-BY-3.0 CC-BY-4.0 CC0-1.0 CNRI-Python FTL HPND ICU ISC Libpng
    LicenseRef-Public-Domain MIT MIT-0 MIT-CMU MS-PL MulanPSL-2.0 NCSA NTP OpenSSL PSF-2.0
    PostgreSQL Python-2.0 Ruby TCL UPL-1.0 Unicode-3.0 Unicode-DFS-2016 Unlicense Vim W3C WTFPL
    X11 ZPL-2.0 ZPL-2.1 Zlib bzip2-1.0.6 curl zlib-acknowledgement""".split()
)


@dataclass(frozen=True, slots=True, kw_only=True)
class FilterConfig:
    """Thresholds of DeepSeek-Coder section 2.1 and Coder-V2 section 2; a value at one stays."""

    mean_line: float = 100  # most characters in a line, on average
    longest_line: int = 1000  # most characters in any line
    letters: float = 0.25  # least share of letters among all characters
    xml_within: int = 100  # characters at the start in which no XML declaration may lie
    html_share: float = 0.2  # least share of visible text in HTML
    html_characters: int = 100  # least visible text in HTML
    data_least: int = 50  # characters of a JSON or YAML file
    data_most: int = 5000
    # Extra filters of StarCoder (arXiv 2305.06161, section 3.3); None: off, as in the papers above.
    stars: int | None = None  # the repository has more than this many
    comments: tuple[float, float] | None = None  # share of characters in comments, as (0.01, 0.8)
    characters_per_token: Mapping[str, float] | None = None  # least, by language

    def __post_init__(self) -> None:
        """Refuse shares outside 0 to 1, negative sizes and empty ranges."""
        limits = {"letters": SHARE, "html_share": SHARE, "data_most": (self.data_least, INF)}
        check_fields(self, limits, others=(0, INF))
        if self.comments is not None:
            check_number("comments", self.comments[0], 0, 1)
            check_number("comments", self.comments[1], self.comments[0], 1)
        for language, least in (self.characters_per_token or {}).items():
            check_number(f"characters_per_token[{language}]", least, 0, INF)


STARCODER_TOKENS = {"Python": 2.5, "Java": 2.9, "JavaScript": 2.6}  # bigcode-dataset's defaults


@dataclass(frozen=True, slots=True, kw_only=True)
class GeneratedConfig:
    """What nobody wrote by hand, or somebody wrote elsewhere (ours)."""

    vendored: bool = True  # drop by path: vendor/, node_modules/, jquery.js
    generated: bool = True  # drop by name and by the mark at the head
    minified: bool = True  # drop JavaScript and CSS by shape
    minified_line: int = 500  # a line longer than this that is most of the file
    minified_spaces: float = 0.05  # or less than this share of white space...
    minified_least: int = 500  # ...in a file of at least this many characters
    encoded_share: float = 0.5  # most of a file that may be base64 or tables of hexadecimal

    def __post_init__(self) -> None:
        """Refuse shares outside 0 to 1 and negative sizes."""
        check_fields(self, {"minified_spaces": SHARE, "encoded_share": SHARE}, others=(0, INF))


@dataclass(frozen=True, slots=True, kw_only=True)
class LicenceConfig:
    """Which licences may be trained on (ours)."""

    allow: frozenset[str] | None = PERMISSIVE  # SPDX identifiers; None: all
    unknown: bool = False  # keep files whose licence nobody states


@dataclass(frozen=True, slots=True, kw_only=True)
class PrivacyConfig:
    """What is replaced in the text (ours; the placeholders are StarCoder's)."""

    keys: bool = True  # tokens, private keys, passwords
    emails: bool = True
    addresses: bool = True  # public IP addresses
    names: bool = False  # of persons, where one stands before an e-mail address


@dataclass(frozen=True, slots=True, kw_only=True)
class RulesConfig:
    """All rules for the files of one repository."""

    filters: FilterConfig = field(default_factory=FilterConfig)
    generated: GeneratedConfig = field(default_factory=GeneratedConfig)
    licence: LicenceConfig = field(default_factory=LicenceConfig)
    privacy: PrivacyConfig = field(default_factory=PrivacyConfig)
