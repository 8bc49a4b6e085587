"""What a result depends on beside its input: the code here, and the parsers that are installed."""

import functools
import hashlib
import importlib.metadata
import platform
from collections.abc import Iterator
from importlib import resources
from importlib.resources.abc import Traversable

_ROOMS = ("corpus", "tokenizer", "config/corpus")
_LIBRARIES = ("tokenizers", "numpy", "tree-sitter", "pyyaml")  # and each grammar that is there
_DATA = (".py", ".json", ".txt")


@functools.cache
def fingerprint() -> str:
    """A digest of this package's corpus code and data, of Python and of what parses and encodes.

    Builds that share it make the same of the same sources.
    """
    whole = hashlib.sha256(platform.python_version().encode())
    for room in _ROOMS:
        folder = resources.files("midfill").joinpath(room)
        for name, data in sorted(_files(folder, room)):
            whole.update(f"{name}\0{len(data)}\0".encode())
            whole.update(data)
    for name, version in sorted(_versions()):
        whole.update(f"{name}=={version}\n".encode())
    return whole.hexdigest()


def _files(folder: Traversable, name: str) -> Iterator[tuple[str, bytes]]:
    for entry in folder.iterdir():
        inside = f"{name}/{entry.name}"
        if entry.is_dir():
            yield from _files(entry, inside)
        elif entry.name.endswith(_DATA):
            yield inside, entry.read_bytes()


def _versions() -> Iterator[tuple[str, str]]:
    for one in importlib.metadata.distributions():
        name = (one.metadata["Name"] or "").lower().replace("_", "-")
        if name in _LIBRARIES or name.startswith("tree-sitter-"):
            yield name, one.version
