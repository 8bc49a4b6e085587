"""What may be read of one repository, and how packages are fetched. No paper gives limits: ours."""

from dataclasses import dataclass

from midfill.config.fields import INF, check_fields

MIB = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadLimits:
    """What one repository may hold; beyond it, it is refused or loses the file, with a reason."""

    total_bytes: int = 2048 * MIB  # unpacked, of one repository
    file_bytes: int = 16 * MIB  # of one file; larger ones are data, not source
    members: int = 200_000  # files, folders and links of one archive or folder
    path_bytes: int = 1024  # of one path, in UTF-8
    path_depth: int = 64  # parts of one path
    ratio: float = 200.0  # unpacked to packed; ordinary source archives have 3 to 10
    ratio_from_bytes: int = 64 * MIB  # below this, no ratio is suspicious: test data is often zeros

    def __post_init__(self) -> None:
        """Refuse limits under which nothing could be read."""
        check_fields(self, others=(1, INF))


@dataclass(frozen=True, slots=True, kw_only=True)
class Fetching:
    """How the files of a package list are fetched: politely, and never the same one twice."""

    connections: int = 4  # at once
    attempts: int = 5  # for one file, where the index may answer next time
    timeout_s: float = 60.0  # without a byte
    longest_wait_s: float = 60.0  # between two attempts
    file_bytes: int = 512 * MIB  # of one fetched file
    offline: bool = False  # only what lies in the cache
    cache: str | None = None  # folder with one folder per index; None: `corpus` in our own cache
    debian_mirrors: tuple[str, ...] = ()  # base addresses; none: those that apt is configured with

    def __post_init__(self) -> None:
        """Refuse what would fetch nothing."""
        check_fields(self, others=(1, INF))
