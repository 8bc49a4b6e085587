"""Paths of a repository: joined without leaving it, found by their ends, chosen by nearness.

All take time in proportion to what they return or to the depth of a path, so that a repository of
100,000 files with one name costs no more than any other.
"""

from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence
from itertools import takewhile

_DEEPEST = 64  # folders looked at above a file; deeper paths are hostile


def folder_of(path: str) -> str:
    """The folder that a file lies in, without a slash at its end; "" for the repository."""
    return path.rpartition("/")[0]


def stem_of(path: str) -> str:
    """The file's name without folders and without its last extension."""
    name = path.rpartition("/")[2]
    return name.rpartition(".")[0] or name


def join(folder: str, relative: str) -> str | None:
    """The path that `relative` names in `folder`; None where it leads out of the repository."""
    if "./" not in relative and "//" not in relative and not relative.endswith((".", "/")):
        inside = not relative.startswith("/")
        return (f"{folder}/{relative}" if folder else relative) if inside else None
    if relative.startswith("/"):
        return None
    parts = folder.split("/") if folder else []
    for part in relative.split("/"):
        if part == "..":
            if not parts:
                return None
            parts.pop()
        elif part not in ("", "."):
            parts.append(part)
    return "/".join(parts)


def named(paths: Iterable[str], name: str) -> list[str]:
    """The paths of files with this name, sorted."""
    return sorted(path for path in paths if path.endswith(name) and path.rpartition("/")[2] == name)


def ancestors(path: str) -> Iterator[str]:
    """The folders around a file, the nearest first and the repository ("") last."""
    folder = folder_of(path)
    for _ in range(_DEEPEST):
        yield folder
        if not folder:
            return
        folder = folder_of(folder)
    yield ""


def nearest(user: str, candidates: Sequence[str]) -> str:
    """The candidate that shares the most leading folders with `user`; `candidates` is sorted.

    Of sorted paths, one that shares most with another stands beside the place where that one
    would be, so two are looked at, however many there are.
    """
    place = bisect_left(candidates, user)
    beside = candidates[max(place - 1, 0) : place + 1]
    return max(beside, key=lambda path: _shared(path, user))


def _shared(one: str, other: str) -> int:
    pairs = zip(one.split("/")[:-1], other.split("/")[:-1], strict=False)
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], pairs))


class Suffixes:
    """Finds paths by how they end, at the borders of folders."""

    def __init__(self, paths: Iterable[str]) -> None:
        # Backwards, what ends alike begins alike and stands together in sorted order.
        self._backwards = sorted(f"/{path}"[::-1] for path in paths)

    def unique(self, suffix: str) -> str | None:
        """The one path that ends with `suffix`; None where there is none or more than one."""
        found = self.some(suffix, most=2)
        return found[0] if len(found) == 1 else None

    def some(self, suffix: str, most: int) -> list[str]:
        """Up to `most` paths that end with `suffix`, which holds no `..`."""
        start = f"/{suffix}"[::-1]
        place = bisect_left(self._backwards, start)
        near = self._backwards[place : place + most]
        return [path[::-1][1:] for path in near if path.startswith(start)]
