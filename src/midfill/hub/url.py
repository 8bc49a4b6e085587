"""One small file from an address, by the standard library: its proxies and its certificates.

The file is checked by what it unpacks to, so it may lie there compressed or not.
"""

import gzip
import hashlib
import http.client
import urllib.error
import urllib.request
import zlib
from pathlib import Path

from midfill.errors import DownloadError
from midfill.hub.catalogue import ModelEntry, UrlSource
from midfill.hub.progress import Progress, Report
from midfill.hub.store import BLOCK, Kept, KeptFile, check_space, damaged, disk_errors

TIMEOUT_S = 30.0  # without a byte
LARGEST = 64 << 20  # bytes; no benchmark's file is nearly as large


def fetch(entry: ModelEntry, source: UrlSource, folder: Path, report: Report) -> Kept:
    """Put the file into `folder`, verified. Raises DownloadError."""
    target = folder / source.file
    part = target.with_name(target.name + ".part")
    check_space(entry, entry.bytes or 0)
    try:
        with disk_errors(entry):
            _download(entry, source, part, report)
            raw = part.read_bytes()
            found = content_sha256(raw)
            if found != source.content:
                raise damaged(entry, source.file, found=found, stated=source.content)
            part.replace(target)
    finally:
        part.unlink(missing_ok=True)
    file = KeptFile(size=len(raw), sha256=hashlib.sha256(raw).hexdigest())
    return Kept(source=str(source), path=source.file, files={source.file: file})


def content_sha256(raw: bytes) -> str:
    """SHA-256 of what a file holds, unpacked where it is compressed by gzip."""
    try:
        text = gzip.decompress(raw) if raw.startswith(b"\x1f\x8b") else raw
    except (OSError, EOFError, zlib.error):
        text = raw
    return hashlib.sha256(text).hexdigest()


def _download(entry: ModelEntry, source: UrlSource, part: Path, report: Report) -> None:
    request = urllib.request.Request(source.url, headers={"User-Agent": "midfill"})
    try:
        with urllib.request.urlopen(request, timeout=TIMEOUT_S) as answer, part.open("wb") as out:
            stated = answer.headers.get("Content-Length")
            total = int(stated) if stated and stated.isdecimal() else None
            while block := answer.read(BLOCK):
                out.write(block)
                report(Progress(label=entry.name, done_bytes=out.tell(), total_bytes=total))
                if out.tell() > LARGEST:
                    raise _refused(entry, source, "what it sends is far larger than the file")
    except urllib.error.HTTPError as error:
        error.close()
        raise _refused(entry, source, f"the server answered {error.code}") from error
    except urllib.error.URLError as error:
        raise _refused(entry, source, f"it cannot be reached ({error.reason})") from error
    except (TimeoutError, http.client.HTTPException) as error:
        raise _refused(entry, source, f"it broke off ({error or type(error).__name__})") from error


def _refused(entry: ModelEntry, source: UrlSource, why: str) -> DownloadError:
    return DownloadError(
        f"{entry.name} cannot be fetched from {source.url}",
        why=why,
        fix="MIDFILL_DATA=/a/folder/with/benchmarks, where you have the file already",
    )
