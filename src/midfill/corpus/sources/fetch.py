"""The files of package lists, fetched into the cache: resumed, retried, verified, then named.

A file gets its name only once its checksum is right, so whatever bears a name is whole. Fetching
never unpacks, builds or imports.
"""

import contextlib
import hashlib
import http.client
import ssl
import threading
import urllib.error
import urllib.parse
import urllib.request
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path
from typing import Any

from midfill.config.corpus.sources import Fetching
from midfill.corpus.sources import indexes
from midfill.corpus.sources.indexes import Refusal
from midfill.corpus.sources.packed import PackedFile, Wanted
from midfill.errors import DownloadError, ResourceError
from midfill.hub.progress import Progress, Report
from midfill.hub.store import BLOCK, cache_folder
from midfill.version import __version__

_AGAIN = {408, 425, 429, 500, 502, 503, 504}  # answers after which the index may do better


def cached(index: str, filename: str, fetching: Fetching) -> Path:
    """Where a file lies in the cache, or would lie."""
    base = Path(fetching.cache).expanduser() if fetching.cache else cache_folder() / "corpus"
    return base / index / filename


def fetch_all(wanted: Sequence[Wanted], fetching: Fetching, report: Report) -> None:
    """Fetch what the cache lacks. Raises DownloadError once everything else has been fetched."""
    absent = [each for each in wanted if not _there(each, fetching)]
    if not absent:
        return
    if fetching.offline:
        raise DownloadError(
            f"{len(absent)} of {len(wanted)} packages are not in the cache",
            why=f"fetching is switched off; the first is {absent[0].file.filename}",
            fix="fetch once with offline = False, or give the cache that has them",
        )
    with contextlib.ExitStack() as held:
        for index in sorted({each.index for each in absent}):
            held.enter_context(_locked(cached(index, "", fetching), report))
        _fetch_absent(absent, len(wanted), fetching, report)


def _there(wanted: Wanted, fetching: Fetching) -> bool:
    """Whether the file is in the cache; readers compare its checksum again."""
    try:
        size = cached(wanted.index, wanted.file.filename, fetching).stat().st_size
    except OSError:
        return False
    return wanted.file.size in (None, size)


def _fetch_absent(
    absent: Sequence[Wanted], listed: int, fetching: Fetching, report: Report
) -> None:
    total = sum(each.file.size or 0 for each in absent) or None
    fetcher = _Fetcher(fetching)
    failures: list[tuple[Wanted, str]] = []
    done = 0
    with ThreadPoolExecutor(fetching.connections) as pool:
        waiting = {pool.submit(fetcher.fetch, each): each for each in absent}
        try:
            for ready in as_completed(waiting):
                each = waiting[ready]
                if why := ready.result():
                    failures.append((each, why))
                done += each.file.size or 0
                have = listed - len(absent) + sum(future.done() for future in waiting)
                label = f"{have} of {listed} packages"
                report(Progress(label=label, done_bytes=done, total_bytes=total))
        except BaseException:
            fetcher.stop.set()
            pool.shutdown(cancel_futures=True)
            raise
    if failures:
        # Threads fail in any order; the message does not.
        first, why = min(failures, key=lambda failure: failure[0].file.filename)
        raise DownloadError(
            f"{len(failures)} of {listed} packages cannot be fetched",
            why=f"{first.file.filename}: {why}",
            fix="run it again: what was fetched stays; or take them off the list",
        )


class _Fetcher:
    """Fetches single files from several threads."""

    def __init__(self, fetching: Fetching) -> None:
        self._fetching = fetching
        self._indexes = indexes.Indexes(fetching, self._text)
        context = ssl.create_default_context(cafile=indexes.certificates())
        self._opener = urllib.request.build_opener(urllib.request.HTTPSHandler(context=context))
        self._unreached: Counter[str] = Counter()  # failures in a row, per host
        self.stop = threading.Event()

    def fetch(self, wanted: Wanted) -> str | None:
        """Put one file into the cache; why not, where no attempt succeeded."""
        target = cached(wanted.index, wanted.file.filename, self._fetching)
        why = "it was stopped"
        for attempt in range(self._fetching.attempts):
            if self.stop.is_set():
                return why
            try:
                self._once(wanted, target)
                return None
            except Refusal as refusal:
                why = refusal.why
                if not refusal.again:
                    return why
                wait = 0.5 * 2.0**attempt if refusal.wait_s is None else refusal.wait_s
                self.stop.wait(min(wait, self._fetching.longest_wait_s))
        return why

    def _once(self, wanted: Wanted, target: Path) -> None:
        part = target.with_name(target.name + ".part")
        why = Refusal("no index that this machine is configured for lists it")
        for url in self._indexes.addresses(wanted):
            try:
                self._download(url, part, wanted.file)
            except Refusal as refusal:
                why = refusal
                continue
            if why_damaged := _damage(part, wanted.file):
                part.unlink()
                why = Refusal(f"{indexes.shown(url)} sent {why_damaged}", again=True)
                continue
            part.replace(target)
            return
        raise why

    def _download(self, url: str, part: Path, file: PackedFile) -> None:
        have = part.stat().st_size if part.exists() else 0
        if file.size is not None and have >= file.size:
            part.unlink()  # whole but wrong, or it would have its name
            have = 0
        most = self._fetching.file_bytes if file.size is None else file.size
        with self._opened(url, have) as answer:
            if have and not _continues(answer, have):
                have = 0
            with _disk_errors(part), part.open("ab" if have else "wb") as out:
                while block := answer.read(BLOCK):
                    have += len(block)
                    if have > most:
                        out.truncate(0)
                        raise Refusal(f"{indexes.shown(url)} sends more than {most} bytes")
                    out.write(block)
                    if self.stop.is_set():
                        raise Refusal("it was stopped")
        if file.size is not None and have < file.size:
            raise Refusal(f"{indexes.shown(url)} broke off at {have} bytes", again=True)

    def _text(self, url: str, accept: str) -> tuple[bytes, str, str]:
        """A page of an index: what it holds, its type, and the address it came from."""
        with self._opened(url, 0, accept) as answer:
            body = answer.read(self._fetching.file_bytes)
            return body, answer.headers.get("Content-Type") or "", answer.geturl() or url

    @contextlib.contextmanager
    def _opened(self, url: str, have: int, accept: str = "*/*") -> Iterator[Any]:
        """The answer to a request; everything that goes wrong with it is a Refusal."""
        where, host = indexes.shown(url), urllib.parse.urlsplit(url).netloc
        if self._unreached[host] >= self._fetching.attempts:
            raise Refusal(f"{where} cannot be reached")  # a dead host is not waited for each time
        try:
            bare, secret = indexes.credentials(url)
            headers = {"User-Agent": f"midfill/{__version__}", "Accept": accept}
            headers |= {"Range": f"bytes={have}-"} if have else {}
            request = urllib.request.Request(bare, headers=headers)
            if secret:  # which another host, after a redirection, must not learn
                request.add_unredirected_header("Authorization", secret)
            with self._opener.open(request, timeout=self._fetching.timeout_s) as answer:
                self._unreached[host] = 0
                yield answer
        except urllib.error.HTTPError as error:
            error.close()
            wait = indexes.seconds(error.headers.get("Retry-After"))
            again = error.code in _AGAIN or (error.code == 416 and have > 0)
            raise Refusal(f"{where} answered {error.code}", again=again, wait_s=wait) from error
        except urllib.error.URLError as error:
            gone = isinstance(error.reason, FileNotFoundError)  # of a file: address
            self._unreached[host] += not gone
            raise Refusal(f"{where} cannot be reached ({error.reason})", again=not gone) from error
        except (TimeoutError, http.client.HTTPException, ConnectionError, ssl.SSLError) as error:
            why = str(error) or type(error).__name__
            raise Refusal(f"{where} broke off ({why})", again=True) from error
        except ValueError as error:
            raise Refusal(f"{where} is no address ({error})") from error


def _continues(answer: Any, have: int) -> bool:
    """Whether an answer begins where the unfinished file ends."""
    stated = answer.headers.get("Content-Range") or ""
    return getattr(answer, "status", 0) == 206 and stated.startswith(f"bytes {have}-")


def _damage(part: Path, file: PackedFile) -> str | None:
    with part.open("rb") as out:
        found = hashlib.file_digest(out, file.algorithm).hexdigest()
    if found == file.digest:
        return None
    return f"another file: its {file.algorithm} is {found[:12]}..., not {file.digest[:12]}..."


@contextlib.contextmanager
def _locked(folder: Path, report: Report) -> Iterator[None]:
    """Hold a folder of the cache, made if need be, against other fetches."""
    from filelock import FileLock, Timeout

    with _disk_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
        lock = FileLock(folder / ".lock")
        try:
            lock.acquire(timeout=0)
        except Timeout:
            report(Progress(label=f"waiting for another fetch into {folder}", done_bytes=0))
            lock.acquire()
    try:
        yield
    finally:
        lock.release()


@contextlib.contextmanager
def _disk_errors(path: Path) -> Iterator[None]:
    """What the disk refuses, as a ResourceError; the network's errors pass."""
    try:
        yield
    except OSError as error:
        if isinstance(error, TimeoutError | ConnectionError | urllib.error.URLError | ssl.SSLError):
            raise
        raise ResourceError(
            "the cache of packages cannot be written",
            why=f"{error.filename or path}: {error.strerror or error}",
            fix="MIDFILL_CACHE=/a/folder/of/yours, with room",
        ) from error
