"""Directories that hostile programs have written to, and that must go."""

import contextlib
import os
import shutil
from pathlib import Path


def remove_tree(place: str | Path) -> None:
    """Remove a directory with all that is in it, also what its owner has locked; follows no link."""
    for _ in range(2):
        shutil.rmtree(place, ignore_errors=True)
        if not os.path.lexists(place):
            return
        for folder, folders, _ in os.walk(place):
            for name in folders:
                path = Path(folder, name)
                with contextlib.suppress(OSError):
                    if not path.is_symlink():
                        path.chmod(0o700)
