"""Git repositories at a commit, bare or not, without a checkout and without trusting them.

`git` reads the objects, but never from the repository's own folder of settings: it is given an
empty one, and in it a folder of objects that links to the packs and loose objects. So the
repository's configuration, hooks, alternates, replacements and promised objects (which git would
fetch from an address the repository names) play no part. Which commit a name stands for is looked
up here, in the plain files that say it.
"""

import contextlib
import os
import re
import shutil
import subprocess
import tempfile
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from midfill.config.corpus.sources import ReadLimits
from midfill.corpus.record import Drop, Repository
from midfill.corpus.sources import names
from midfill.corpus.sources.archive import PACKED, missing
from midfill.corpus.sources.collect import Collector, unread
from midfill.corpus.sources.source import Reference
from midfill.corpus.sources.streams import Refused
from midfill.errors import CorpusError, ResourceError
from midfill.hub.progress import Report, silent

_HEX = re.compile(r"[0-9a-f]{40}(?:[0-9a-f]{24})?")
_REF = re.compile(r"ref: (refs/[^\s\\]+)\s*")
_SMALL = 1 << 16  # bytes of a file that names a commit or a folder
_PACKED_REFS = 64 << 20  # bytes
_MEMORY = 4 << 30  # bytes of address space for git, where the system can bound it
_WALL_S = 600  # for one repository


@dataclass(frozen=True, slots=True, kw_only=True)
class GitSource:
    """A git repository, or every one in a folder, as it was committed.

    Needs the program `git`. Submodules are not read. A clone that borrows its objects from another
    (`--shared`, `--reference`) or never had them all (`--filter`) is refused.
    """

    path: str
    commit: str = "HEAD"  # a full hash, a branch, a tag, or HEAD

    def prepare(self, report: Report = silent) -> None:
        """Refuse at once where git is missing."""
        _program()

    def references(self) -> Iterator[Reference]:
        """Each repository, by name; its name holds the commit."""
        base = Path(self.path)
        if not base.is_dir():
            raise missing(self.path, "git repository or folder of them")
        if own := git_folder(base):
            yield self._reference(own, base.resolve().name, ".")
            return
        found = [(path, own) for path in sorted(base.iterdir()) if (own := git_folder(path))]
        if not found:
            raise missing(self.path, "git repository in")
        for path, own in found:
            yield self._reference(own, path.name, path.name)

    def _reference(self, folder: Path, name: str, place: str) -> Reference:
        commit = resolve(folder, self.commit)
        size = sum(
            file.stat().st_size for file in (_common(folder) / "objects/pack").glob("*.pack")
        )
        return Reference(
            name=f"git/{names.shown(name.removesuffix('.git'))}@{(commit or 'none')[:12]}",
            bytes=PACKED * size,
            place=f"{commit or ''} {place}",
        )

    def read(self, reference: Reference, limits: ReadLimits) -> Repository:
        """The files of the commit's tree."""
        commit, _, place = reference.place.partition(" ")
        folder = git_folder(Path(self.path, place))
        if not commit or folder is None:
            return unread(reference, 0, Drop("commit", self.commit))
        collector = Collector(reference, limits, "git")
        try:
            with _repository(folder, commit) as environment:
                _collect(environment, commit, collector, limits)
        except Refused as refused:
            return unread(reference, 0, refused.drop)
        except OSError as error:
            return unread(reference, 0, Drop("unreadable", error.strerror))
        return collector.repository()


def git_folder(path: Path) -> Path | None:
    """The folder that holds HEAD and the objects of the repository at `path`, bare or not."""
    inside = path / ".git"
    if inside.is_file():  # of a further work tree, or a submodule
        text = _start_of(inside, _SMALL)
        inside = path / text.removeprefix("gitdir:").strip() if text else inside
    for folder in (inside, path):
        if (folder / "HEAD").is_file() and (_common(folder) / "objects").is_dir():
            return folder
    return None


def _common(folder: Path) -> Path:
    """The folder that work trees of one repository share."""
    text = _start_of(folder / "commondir", _SMALL).strip()
    return folder / text if text else folder


def _start_of(path: Path, most: int) -> str:
    try:
        with path.open("rb") as file:
            return file.read(most).decode(errors="replace")
    except OSError:
        return ""


def resolve(folder: Path, name: str) -> str | None:
    """The hash that a name stands for, None where there is none. Raises CorpusError."""
    if _HEX.fullmatch(name):
        return name
    common = _common(folder)
    if (common / "reftable").is_dir():
        raise CorpusError(
            f"the branches of {folder} cannot be read",
            why="they are stored as a reftable",
            fix="give the commit's full hash",
        )
    packed = _packed_refs(common)
    spellings = [name, f"refs/tags/{name}", f"refs/heads/{name}", f"refs/remotes/origin/{name}"]
    for spelling in spellings:
        if found := _follow(folder, common, packed, spelling):
            return found
    return None


def _follow(folder: Path, common: Path, packed: dict[str, str], ref: str) -> str | None:
    for _ in range(5):  # as deep as git goes
        if ".." in ref.split("/") or ref.startswith("/"):
            return None
        base = folder if ref == "HEAD" else common
        text = _start_of(base / ref, _SMALL).strip() or packed.get(ref, "")
        if _HEX.fullmatch(text):
            return text
        hit = _REF.fullmatch(text)
        if not hit:
            return None
        ref = hit[1]
    return None


def _packed_refs(common: Path) -> dict[str, str]:
    lines = _start_of(common / "packed-refs", _PACKED_REFS).splitlines()
    pairs = (line.split(" ", 1) for line in lines if not line.startswith(("#", "^")))
    return {pair[1]: pair[0] for pair in pairs if len(pair) == 2}


def _program() -> str:
    program = shutil.which("git")
    if program is None:
        raise ResourceError(
            "git repositories cannot be read",
            why="the program git is not on this machine's PATH",
            fix="apt install git",
        )
    return program


@contextlib.contextmanager
def _repository(folder: Path, commit: str) -> Iterator[dict[str, str]]:
    """The environment in which git sees the repository's objects and nothing else of it."""
    objects = (_common(folder) / "objects").resolve()
    with tempfile.TemporaryDirectory(prefix="midfill-git-") as made:
        own = Path(made)
        (own / "refs").mkdir()
        (own / "objects").mkdir()
        (own / "HEAD").write_text(f"{commit}\n", encoding="ascii")
        sha256 = (
            "\trepositoryformatversion = 1\n\tbare = true\n[extensions]\n\tobjectFormat = sha256"
        )
        sha1 = "\trepositoryformatversion = 0\n\tbare = true"
        settings = sha256 if len(commit) == 64 else sha1
        (own / "config").write_text(f"[core]\n{settings}\n", encoding="ascii")
        for path in objects.iterdir():
            if path.name == "pack" or re.fullmatch(r"[0-9a-f]{2}", path.name):
                (own / "objects" / path.name).symlink_to(path, target_is_directory=True)
        yield {
            "PATH": os.environ.get("PATH", os.defpath),
            "HOME": made,
            "GIT_DIR": made,
            "GIT_CONFIG_NOSYSTEM": "1",
            "GIT_CONFIG_GLOBAL": os.devnull,
            "GIT_NO_LAZY_FETCH": "1",
            "GIT_NO_REPLACE_OBJECTS": "1",
            "GIT_TERMINAL_PROMPT": "0",
            "GIT_ALLOW_PROTOCOL": "none",
            "GIT_OPTIONAL_LOCKS": "0",
            "LC_ALL": "C",
        }


@contextlib.contextmanager
def _running(environment: dict[str, str], *arguments: str) -> Iterator["subprocess.Popen[bytes]"]:
    """git with its input and output open; ended with the block, or when it takes too long."""
    command = [_program(), *arguments]
    pipe = subprocess.PIPE
    with (
        tempfile.TemporaryFile() as log,
        subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=log, env=environment) as process,
    ):
        _bound(process.pid)
        watch = threading.Timer(_WALL_S, process.kill)
        watch.start()
        try:
            yield process
            if process.stdin:
                process.stdin.close()
            if process.wait():
                log.seek(0)
                said = (
                    log.read(300).decode(errors="replace").strip() or f"exit {process.returncode}"
                )
                raise Refused("git", said.removeprefix("fatal: ").replace("\n", "; "))
        finally:
            watch.cancel()
            process.kill()


def _bound(pid: int) -> None:
    try:
        import resource

        resource.prlimit(pid, resource.RLIMIT_AS, (_MEMORY, _MEMORY))
    except (ImportError, AttributeError, OSError, ValueError):
        pass  # a system without it: git's own checks remain


@dataclass(frozen=True, slots=True)
class _Entry:
    mode: bytes
    kind: bytes
    hash: bytes
    size: int
    path: bytes


def _collect(
    environment: dict[str, str], commit: str, collector: Collector, limits: ReadLimits
) -> None:
    wanted: list[tuple[str, _Entry]] = []
    total = 0
    for entry in _tree(environment, commit, limits):
        path = collector.admit(entry.path, entry.size)
        if path is None:
            continue
        if entry.kind != b"blob":
            collector.refuse(path, 0, Drop("submodule"))
            continue
        total += entry.size
        if total > limits.total_bytes:
            raise Refused("total_size", limits.total_bytes)
        wanted.append((path, entry))
    with _running(environment, "cat-file", "--batch", "--buffer") as process:
        assert process.stdin
        assert process.stdout
        # All hashes before the first answer would fill both pipes.
        asking = threading.Thread(target=_ask, args=(process.stdin, wanted))
        asking.start()
        try:
            for path, entry in wanted:
                data = _blob(process.stdout, entry)
                if entry.mode == b"120000":
                    collector.refuse(path, entry.size, names.link(path, data))
                else:
                    collector.add(path, data)
        except BaseException:
            process.kill()  # which also frees the thread that is asking
            raise
        finally:
            asking.join()


def _tree(environment: dict[str, str], commit: str, limits: ReadLimits) -> Iterator[_Entry]:
    """Every file of the commit, as `ls-tree -r -z -l` lists it."""
    longest = 2 * limits.path_bytes + 200
    with _running(environment, "ls-tree", "-r", "-z", "-l", "--full-tree", commit) as process:
        assert process.stdout
        rest = b""
        while block := process.stdout.read1(1 << 16):  # type: ignore[attr-defined]
            *lines, rest = (rest + block).split(b"\0")
            for line in lines:
                words, _, path = line.partition(b"\t")
                mode, kind, name, size = words.split()
                yield _Entry(mode, kind, name, int(size) if size.isdigit() else 0, path)
            if len(rest) > longest:
                raise Refused("path_length", len(rest))


def _ask(pipe: IO[bytes], wanted: list[tuple[str, _Entry]]) -> None:
    # Where git has ended, whoever reads its answers finds out why.
    with contextlib.suppress(OSError):
        for _, entry in wanted:
            pipe.write(entry.hash + b"\n")
    with contextlib.suppress(OSError):
        pipe.close()


def _blob(pipe: IO[bytes], entry: _Entry) -> bytes:
    """The next answer: `<hash> blob <size>`, the bytes, a line end."""
    words = pipe.readline(300).split()
    if words[1:] != [b"blob", str(entry.size).encode()]:
        raise Refused("git", b" ".join(words).decode(errors="replace")[:100] or "no answer")
    data = pipe.read(entry.size + 1)
    if len(data) != entry.size + 1:
        raise Refused("git", "an object broke off")
    return data[:-1]
