"""Verdicts kept by content: the same program, tests, limits and judge give the same verdict.

The key is a hash of everything that decides a verdict, so nothing has to be told when it changes.
Of a Python program that is its syntax tree: extraction rules differ in blank lines and comments
alone for half of all answers, and an endless loop need not run once for each of them.
One SQLite file in the cache folder holds them, for as many processes as want. A verdict of `infra`
says nothing about the program, and is never kept. Without a folder to write to, nothing is.
"""

import ast
import hashlib
import json
import sqlite3
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, replace
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

from midfill import __version__
from midfill.errors import ResourceError, SandboxError
from midfill.evaluate.benchmarks.common import parsed
from midfill.evaluate.task import Program, Score
from midfill.evaluate.work import Work, identity_of
from midfill.sandbox.languages import toolchain
from midfill.sandbox.verdict import Verdict

SHOWN = 4000  # characters kept of what a program printed, and of what is said about it
_BUSY_S = 30.0  # how long to wait for another process that writes
_TABLE = "CREATE TABLE IF NOT EXISTS verdicts (key BLOB PRIMARY KEY, score TEXT) WITHOUT ROWID"


@cache
def judge_version() -> str:
    """What judges: midfill's version, and a hash of the sandbox's sources."""
    digest = hashlib.sha256()
    for package, names in (("midfill.sandbox", None), ("midfill.evaluate", {"work.py"})):
        for file in sorted(files(package).iterdir(), key=lambda file: file.name):
            if file.name.endswith(".py") and (names is None or file.name in names):
                digest.update(file.name.encode() + b"\0" + file.read_bytes() + b"\0")
    return f"midfill {__version__}, sandbox {digest.hexdigest()[:10]}"


def tools_of(language: str) -> str:
    """The versions of what runs a language; empty where it is missing."""
    try:
        return toolchain(language)
    except SandboxError:
        return ""


def key_of(work: Program | Work, level: str) -> bytes:
    """The name of a verdict: SHA-256 of everything that decides it. Parses: for one thread at a time."""
    if isinstance(work, Program):
        code = _meaning(work.code) if work.language == "python" else work.code
        content = identity_of(
            code, work.tests, work.entry_point, work.language, work.limits, work.sealed
        )
    else:
        content = work.identity()
    whole = identity_of(content, tools_of(work.language), judge_version(), level)
    return hashlib.sha256(whole.encode("utf-8", "surrogatepass")).digest()


def _meaning(code: str) -> str:
    """The syntax tree as text, without places; the code itself where there is none."""
    tree = parsed(code)
    try:
        return code if tree is None else ast.dump(tree)
    except (RecursionError, ValueError):  # too deep, or a number too long to be written
        return code


def cut(score: Score) -> Score:
    """The score with no more text than is kept of it."""
    verdict = score.verdict
    if verdict is not None:
        verdict = replace(
            verdict,
            detail=verdict.detail[:SHOWN],
            output=verdict.output[:SHOWN],
            first=None if verdict.first is None else replace(verdict.first, detail="", output=""),
        )
    return replace(score, detail=score.detail[:SHOWN], verdict=verdict)


class Verdicts:
    """The kept verdicts. Safe to use from several threads, and from several processes."""

    def __init__(self, path: Path | None) -> None:
        """`path` None keeps nothing; so does a file that cannot be opened."""
        self._lock = threading.Lock()
        self._database = None if path is None else _open(path)

    def close(self) -> None:
        """Let go of the file."""
        with self._lock:
            if self._database is not None:
                self._database.close()
            self._database = None

    def get(self, key: bytes) -> Score | None:
        """The verdict of this name, if it is kept."""
        row = self._run("SELECT score FROM verdicts WHERE key = ?", (key,))
        if row is None:
            return None
        try:
            return _score(json.loads(row[0]))
        except (ValueError, TypeError, KeyError, AttributeError):
            return None  # written by another version, or damaged: judged again

    def put(self, key: bytes, score: Score) -> None:
        """Keep a verdict, unless it says nothing."""
        unknown = score.value is None or (score.verdict and score.verdict.status == "infra")
        if not unknown:
            text = json.dumps(asdict(score), default=dict)
            self._run("INSERT OR REPLACE INTO verdicts VALUES (?, ?)", (key, text))

    def _run(self, statement: str, values: tuple[Any, ...]) -> Any:
        """The first row. A cache that fails has nothing: the run goes on without it."""
        with self._lock, suppress(sqlite3.Error):
            if self._database is not None:
                return self._database.execute(statement, values).fetchone()
        return None


def default_path() -> Path | None:
    """Where verdicts are kept, or None where this user has no folder for caches."""
    from midfill.hub.store import cache_folder

    try:
        return cache_folder() / "verdicts.sqlite"
    except ResourceError:
        return None


def _open(path: Path) -> sqlite3.Connection | None:
    """The database; a damaged one is begun anew. None where it cannot be."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            return _connect_in_turn(path)
        except sqlite3.OperationalError:
            return None  # no room, no permission: the file itself may be whole
        except sqlite3.DatabaseError:
            path.unlink()
            return _connect_in_turn(path)
    except (OSError, sqlite3.Error):
        return None


def _connect_in_turn(path: Path) -> sqlite3.Connection:
    """SQLite waits for others in everything but the change to WAL, which a second opener may meet."""
    deadline = time.monotonic() + _BUSY_S
    while True:
        try:
            return _connect(path)
        except sqlite3.OperationalError as problem:
            if "locked" not in str(problem) or time.monotonic() > deadline:
                raise
            time.sleep(0.02)


def _connect(path: Path) -> sqlite3.Connection:
    # Autocommit: every verdict is whole on the disk, or not there.
    database = sqlite3.connect(path, timeout=_BUSY_S, isolation_level=None, check_same_thread=False)
    try:
        database.execute("PRAGMA journal_mode = WAL")
        database.execute("PRAGMA synchronous = NORMAL")  # a crash of the machine may lose the last
        database.execute(_TABLE)
    except sqlite3.Error:
        database.close()
        raise
    return database


def _score(raw: Mapping[str, Any]) -> Score:
    verdict = raw["verdict"]
    return Score(**{**raw, "verdict": None if verdict is None else _verdict(verdict)})


def _verdict(raw: Mapping[str, Any]) -> Verdict:
    first = raw["first"]
    return Verdict(**{**raw, "first": None if first is None else _verdict(first)})
