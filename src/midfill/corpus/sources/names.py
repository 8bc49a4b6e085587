"""Which names of files are taken: relative, POSIX, UTF-8, printable, and inside their root."""

import posixpath
import re

from midfill.config.corpus.sources import ReadLimits
from midfill.corpus.record import Drop

_DRIVE = re.compile(r"[A-Za-z]:")
# A path becomes a comment of one line, so nothing in it may end a line.
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")
_VERSIONS = {".git", ".hg", ".svn", ".bzr"}  # bookkeeping of version control, not source


def clean(name: bytes | str, limits: ReadLimits) -> str | Drop:
    """The path of a member relative to its archive, or why it is refused; "" is the root itself."""
    try:
        text = name.decode() if isinstance(name, bytes) else name
    except UnicodeDecodeError:
        return Drop("name_encoding")
    if len(text) > limits.path_bytes or len(text.encode(errors="replace")) > limits.path_bytes:
        return Drop("path_length", len(text))
    if reason := _unsafe(text):
        return Drop(reason)
    parts = [part for part in text.split("/") if part not in ("", ".")]
    if len(parts) > limits.path_depth:
        return Drop("path_depth", len(parts))
    if ".." in parts:
        return Drop("traversal")
    return Drop("version_control") if _VERSIONS & set(parts) else "/".join(parts)


def clean_page(path: str, limits: ReadLimits) -> str | Drop:
    """The path and query of a web page, as they are, or why they are refused."""
    if len(path) > limits.path_bytes:
        return Drop("path_length", len(path))
    return Drop("path_character") if _CONTROL.search(path) else path


def _unsafe(text: str) -> str | None:
    if _CONTROL.search(text):
        return "path_character"
    if text.startswith("/"):
        return "absolute"
    if "\\" in text:
        return "backslash"
    return "drive" if _DRIVE.match(text) else None


def shown(name: bytes | str) -> str:
    """A name of any bytes, short and printable, for the list of what was not read."""
    text = name.decode(errors="backslashreplace") if isinstance(name, bytes) else name
    text = _CONTROL.sub(lambda hit: repr(hit[0])[1:-1], text)
    return text if len(text) <= 200 else text[:197] + "..."


def link(path: str, target: bytes | str, *, from_root: bool = False) -> Drop:
    """Why a link is not read: `link`, or `link_outside` where it leaves the root.

    `path` is the link's own; a hard link in a tar archive names its target from the root.
    """
    text = target.decode(errors="backslashreplace") if isinstance(target, bytes) else target
    start = "" if from_root else posixpath.dirname(path)
    goal = posixpath.normpath(posixpath.join(start, text)) if text else "."
    outside = _unsafe(text) is not None or goal == ".." or goal.startswith("../")
    return Drop("link_outside" if outside else "link")


def common_root(paths: list[str]) -> str:
    """The one top folder that all paths lie in, with its slash, or "" where there is none."""
    root, slash, _ = paths[0].partition("/") if paths else ("", "", "")
    head = root + slash
    return head if slash and all(path.startswith(head) for path in paths) else ""
