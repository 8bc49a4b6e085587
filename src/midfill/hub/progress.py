"""How far a download is, told to whoever draws it."""

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """`done_bytes` of `total_bytes` (None: not known yet) of the step that `label` names."""

    label: str
    done_bytes: int
    total_bytes: int | None = None


Report = Callable[[Progress], None]


def silent(_: Progress) -> None:
    """Draw nothing."""
