"""Directories that hostile programs have written to, and that must go."""

import contextlib
import os
import stat
from collections.abc import Iterator
from itertools import count
from pathlib import Path

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


def remove_tree(place: str | Path) -> None:
    """Remove a directory with all that is in it, also what its owner has locked; follows no link.

    Folders within folders are moved up before they are emptied, so that none is too deep for a path
    or for recursion. What cannot be removed stays, without an error.
    """
    with contextlib.suppress(OSError):
        Path(place).chmod(0o700)
        top = os.open(place, _DIRECTORY)
        try:
            _empty(top)
        finally:
            os.close(top)
        Path(place).rmdir()


def _empty(top: int) -> None:
    names = map(f"{os.urandom(8).hex()}-{{}}".format, count())  # that nobody has there
    left = _taken_out(top, top, names)
    while left:
        name = left.pop()
        with contextlib.suppress(OSError):
            folder = os.open(name, _DIRECTORY, dir_fd=top)
            try:
                left += _taken_out(folder, top, names)
            finally:
                os.close(folder)
            os.rmdir(name, dir_fd=top)


def _taken_out(folder: int, top: int, names: Iterator[str]) -> list[str]:
    """Remove the files of `folder` and move its folders into `top`; under which names."""
    moved = []
    os.fchmod(folder, 0o700)
    for entry in os.listdir(folder):
        with contextlib.suppress(OSError):
            if not stat.S_ISDIR(os.lstat(entry, dir_fd=folder).st_mode):
                os.unlink(entry, dir_fd=folder)
                continue
            os.chmod(entry, 0o700, dir_fd=folder)  # nobody is left who could put a link there
            if folder == top:
                moved.append(entry)
                continue
            name = next(names)
            os.rename(entry, name, src_dir_fd=folder, dst_dir_fd=top)
            moved.append(name)
    return moved
