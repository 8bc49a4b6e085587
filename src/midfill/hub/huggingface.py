"""A model out of a repository of the hub, by the hub's own protocol.

huggingface_hub supplies the endpoint (HF_ENDPOINT), the credentials (HF_TOKEN or its login), the
offline switch (HF_HUB_OFFLINE), the proxies and the listing of files. The bytes are fetched here:
its downloader starts every interrupted file again from zero and checks only sizes, ours goes on
where it stopped, also in a later process, and checks the SHA-256 the hub states.
"""

import contextlib
import hashlib
import os
import re
import tempfile
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from midfill.errors import DownloadError
from midfill.hub.catalogue import HubSource, ModelEntry
from midfill.hub.progress import Progress, Report, silent
from midfill.hub.store import (
    Kept,
    KeptFile,
    check_space,
    damaged,
    disk_errors,
    sha256_of,
)

ATTEMPTS = 5  # connections in a row that bring no new byte
RETRY_WAIT_S = 1.0
CONFIG = "config.json"
_BUSY = {429, 500, 502, 503, 504}
_COMPANIONS = re.compile(  # everything beside the weights that a model is loaded with
    r"config\.json|generation_config\.json|tokenizer\.(json|model)|tokenizer_config\.json"
    r"|special_tokens_map\.json|added_tokens\.json|vocab\.(json|txt)|merges\.txt"
    r"|chat_template\.(jinja|json)|(LICEN[CS]E|NOTICE)[\w.-]*",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class RemoteFile:
    """A file as the hub lists it; `sha256` only for files it keeps by content (Git LFS)."""

    name: str
    size: int | None = None
    sha256: str | None = None
    blob_id: str | None = None  # Git's own SHA-1 of small files


def fetch(
    entry: ModelEntry, source: HubSource, folder: Path, report: Report, *, force: bool = False
) -> Kept:
    """Put the model of a repository into `folder`, every file verified.

    What another program left whole in huggingface_hub's cache is used from there, unless `force`.
    """
    if not force and (kept := _shared(entry, source, report)):
        return kept
    with _explaining(entry, source):
        return _fetch_repository(entry, source, folder, report)


def read_config(entry: ModelEntry, source: HubSource) -> bytes:
    """config.json of a repository and nothing else, verified; it is not kept."""
    if cached := _cached(source, CONFIG):
        return Path(cached).read_bytes()
    with _explaining(entry, source), tempfile.TemporaryDirectory() as folder:
        commit, listing = _list(source)
        file = next((file for file in listing if file.name == CONFIG), None)
        if file is None:
            raise DownloadError(
                f"{source.repo} has no {CONFIG}",
                why="only its weights can tell its configuration",
                fix=f"midfill pull {entry.name}",
            )
        _fetch_file(entry, source, commit, file, Path(folder), silent)
        return (Path(folder) / CONFIG).read_bytes()


def _fetch_repository(entry: ModelEntry, source: HubSource, folder: Path, report: Report) -> Kept:
    commit, listing = _list(source)
    wanted = choose(entry, source, listing)
    missing = [file for file in wanted if not (folder / file.name).exists()]
    check_space(entry, sum((file.size or 0) - _part_size(folder, file) for file in missing))
    sizes = [file.size for file in wanted]
    total = None if None in sizes else sum(file.size or 0 for file in wanted)
    done, files = 0, {}
    for file in wanted:
        shifted = _offset(report, done, total)
        files[file.name] = _fetch_file(entry, source, commit, file, folder, shifted)
        done += files[file.name].size
    return Kept(source=str(source), path=_to_load(files), files=files, commit=commit)


def _offset(report: Report, before: int, total: int | None) -> Report:
    """A report for one file that counts the whole repository."""

    def shifted(progress: Progress) -> None:
        done = before + progress.done_bytes
        report(Progress(label=progress.label, done_bytes=done, total_bytes=total))

    return shifted


def _to_load(files: Iterable[str]) -> str:
    names = list(files)
    return names[0] if len(names) == 1 and names[0].endswith(".gguf") else "."


# --- which files ----------------------------------------------------------------------------------


def choose(entry: ModelEntry, source: HubSource, listing: list[RemoteFile]) -> list[RemoteFile]:
    """The files to fetch: one format of weights and what is needed to use them."""
    files = {file.name: file for file in listing if _is_safe(file.name)}
    if source.file is not None:
        if source.file not in files:
            raise _no_weights(entry, source, f"it has no file {source.file}", files)
        return [files[source.file]]
    top = [file for name, file in files.items() if "/" not in name]
    weights = _weights(top)
    ggufs = [file for file in files.values() if file.name.endswith(".gguf")]
    if not weights and len(ggufs) == 1:
        return ggufs
    if not weights:
        why = "it holds several GGUF files" if ggufs else "it holds no weights midfill reads"
        raise _no_weights(entry, source, why, files)
    return [file for file in top if _COMPANIONS.fullmatch(file.name)] + weights


def _weights(top: list[RemoteFile]) -> list[RemoteFile]:
    """Safetensors with their index, else PyTorch's format, else nothing."""
    for stem, ending in (("model", "safetensors"), ("pytorch_model", "bin")):
        pattern = re.compile(rf"{stem}(-\d+-of-\d+)?\.{ending}(\.index\.json)?")
        if found := [file for file in top if pattern.fullmatch(file.name)]:
            return found
    return []


def _is_safe(name: str) -> bool:
    """Whether a name out of a listing stays inside the folder it is stored in."""
    return "\\" not in name and ":" not in name and not {"", ".", ".."} & set(name.split("/"))


def _no_weights(
    entry: ModelEntry, source: HubSource, why: str, files: dict[str, RemoteFile]
) -> DownloadError:
    ggufs = sorted(name for name in files if name.endswith(".gguf"))
    listed = f": {', '.join(ggufs)}" if ggufs else ""
    name = f"{source.repo}:{ggufs[0]}" if ggufs else ""
    return DownloadError(
        f"no model can be taken from {entry.name}",
        why=why + listed,
        fix=f"midfill pull {name}" if name else "midfill models",
    )


# --- the hub's protocol ---------------------------------------------------------------------------


def _endpoint() -> str | None:
    return os.environ.get("HF_ENDPOINT", "").rstrip("/") or None


def _list(source: HubSource) -> tuple[str, list[RemoteFile]]:
    """The commit the revision stands for, and its files."""
    from huggingface_hub import HfApi
    from huggingface_hub.constants import HF_HUB_ETAG_TIMEOUT

    info = HfApi(endpoint=_endpoint(), library_name="midfill").model_info(
        source.repo,
        revision=source.revision,
        files_metadata=True,
        timeout=HF_HUB_ETAG_TIMEOUT,  # its own default waits for ever behind some firewalls
    )
    files = [
        RemoteFile(
            name=file.rfilename,
            size=file.size,
            sha256=file.lfs.sha256 if file.lfs else None,
            blob_id=None if file.lfs else file.blob_id,
        )
        for file in info.siblings or []
    ]
    return info.sha or source.revision, files


def _fetch_file(
    entry: ModelEntry,
    source: HubSource,
    commit: str,
    file: RemoteFile,
    folder: Path,
    report: Report,
) -> KeptFile:
    """One file under its real name, verified."""
    from huggingface_hub import hf_hub_url

    target = folder / file.name
    if not (target.exists() and _fault(file, target, report) is None):
        part = _part(folder, file)
        part.parent.mkdir(parents=True, exist_ok=True)
        url = hf_hub_url(source.repo, file.name, revision=commit, endpoint=_endpoint())
        _fetch_bytes(url, file, part, report)
        if fault := _fault(file, part, report):
            part.unlink()
            raise damaged(entry, file.name, found=fault[0], stated=fault[1])
        part.replace(target)
    return KeptFile(size=target.stat().st_size, sha256=file.sha256)


def _part(folder: Path, file: RemoteFile) -> Path:
    """The unfinished file, named after its content so that a new version is never mixed in."""
    content = (file.sha256 or file.blob_id or "unknown")[:12]
    return folder / f"{file.name}.{content}.part"


def _part_size(folder: Path, file: RemoteFile) -> int:
    part = _part(folder, file)
    return part.stat().st_size if part.exists() else 0


def _fetch_bytes(url: str, file: RemoteFile, part: Path, report: Report) -> None:
    """Fill `part` to the file's size; a broken connection is taken up where it stopped."""
    from huggingface_hub.errors import (
        HfHubHTTPError,
        HTTPError,  # pyright: ignore[reportPrivateImportUsage]
    )

    if not file.sha256:  # nothing would tell an old beginning from a new one
        part.unlink(missing_ok=True)
    part.touch()
    failures = 0
    while True:
        before = part.stat().st_size
        try:
            _fetch_rest(url, file, part, report)
            if file.size is None or part.stat().st_size == file.size:
                return
            failure: Exception = OSError(f"{file.name} ended after {part.stat().st_size} bytes")
        except HfHubHTTPError as error:
            if error.response.status_code not in _BUSY:
                raise
            failure = error
        except HTTPError as error:
            failure = error
        failures = failures + 1 if part.stat().st_size <= before else 1
        if failures >= ATTEMPTS:
            raise failure
        time.sleep(RETRY_WAIT_S)


def _fetch_rest(url: str, file: RemoteFile, part: Path, report: Report) -> None:
    from huggingface_hub import get_session
    from huggingface_hub.constants import HF_HUB_DOWNLOAD_TIMEOUT
    from huggingface_hub.utils import build_hf_headers, hf_raise_for_status

    have = part.stat().st_size
    if file.size is not None and have >= file.size:
        if have == file.size:
            return
        have = 0
    headers = build_hf_headers(library_name="midfill") | {"Accept-Encoding": "identity"}
    if have:
        headers["Range"] = f"bytes={have}-"
    with get_session().stream(
        "GET", url, headers=headers, timeout=HF_HUB_DOWNLOAD_TIMEOUT, follow_redirects=True
    ) as response:
        hf_raise_for_status(response)
        goes_on = response.status_code == 206  # a server without Range sends all of it, as 200
        with part.open("ab" if goes_on else "wb") as out:
            for block in response.iter_bytes():  # as they come: none is lost when the line breaks
                out.write(block)
                report(Progress(label=file.name, done_bytes=out.tell(), total_bytes=file.size))


def _fault(file: RemoteFile, path: Path, report: Report) -> tuple[str, str] | None:
    """(found, stated) where the content at `path` is not what the hub states, else None."""
    size = path.stat().st_size
    if file.size is not None and size != file.size:
        return f"{size} bytes", f"{file.size} bytes"
    if file.sha256:
        found, stated = sha256_of(path, f"verifying {file.name}", report), file.sha256
    elif file.blob_id:
        content = path.read_bytes()
        git = b"blob %d\0" % len(content) + content
        found, stated = hashlib.sha1(git, usedforsecurity=False).hexdigest(), file.blob_id
    else:
        return None
    return None if found == stated else (found, stated)


# --- what other programs have fetched already -----------------------------------------------------


def _shared(entry: ModelEntry, source: HubSource, report: Report) -> Kept | None:
    """The same model in huggingface_hub's cache, where it is whole; nothing is copied."""
    anchor = source.file or CONFIG
    found = _cached(source, anchor)
    if found is None:
        return None
    snapshot = Path(found[: -len(anchor)])
    listing = [_blob(path, snapshot) for path in snapshot.rglob("*") if path.is_file()]
    try:
        wanted = choose(entry, source, listing)
    except DownloadError:
        return None
    if not _has_all_shards(wanted):
        return None
    if any(_fault(file, snapshot / file.name, report) for file in wanted):
        return None  # damaged there, and not ours to mend: fetch our own
    files = {
        str(snapshot / file.name): KeptFile(size=file.size or 0, sha256=file.sha256)
        for file in wanted
    }
    path = str(snapshot / _to_load(file.name for file in wanted))
    return Kept(source=f"{source}, cached", path=path, files=files, commit=snapshot.name)


def _cached(source: HubSource, file: str) -> str | None:
    """Where huggingface_hub's cache keeps a file of the repository, if it does."""
    from huggingface_hub import try_to_load_from_cache

    try:
        found = try_to_load_from_cache(source.repo, file, revision=source.revision)
    except ValueError:  # not a name the hub would accept: its own answer says so
        return None
    return found if isinstance(found, str) else None


def _blob(path: Path, snapshot: Path) -> RemoteFile:
    """A cached file; huggingface_hub names what it points to by its checksum."""
    checksum = path.resolve().name
    return RemoteFile(
        name=path.relative_to(snapshot).as_posix(),
        size=path.stat().st_size,
        sha256=checksum if re.fullmatch("[0-9a-f]{64}", checksum) else None,
    )


def _has_all_shards(wanted: list[RemoteFile]) -> bool:
    shards = [m for file in wanted if (m := re.search(r"-\d+-of-(\d+)\.", file.name))]
    indexed = any(file.name.endswith(".index.json") for file in wanted)
    return len(shards) == int(shards[0][1]) if shards else not indexed


# --- what went wrong ------------------------------------------------------------------------------


@contextlib.contextmanager
def _explaining(entry: ModelEntry, source: HubSource) -> Iterator[None]:
    """Turn what the hub, the network or the disk refuses into the user's error."""
    from huggingface_hub.errors import (
        HFValidationError,
        HTTPError,  # pyright: ignore[reportPrivateImportUsage]
    )

    try:
        with disk_errors(entry):
            yield
    except (HTTPError, HFValidationError, OSError) as error:
        raise _explained(entry, source, error) from error


def _explained(entry: ModelEntry, source: HubSource, error: Exception) -> DownloadError:
    """The user's error for what the hub or the network answered."""
    from huggingface_hub import constants, errors

    endpoint = _endpoint() or constants.ENDPOINT
    page = f"{endpoint}/{source.repo}"
    pull = f"midfill pull {entry.name}"
    login = f"hf auth login && {pull}"
    status = error.response.status_code if isinstance(error, errors.HfHubHTTPError) else None
    if isinstance(error, errors.OfflineModeIsEnabled):
        why, fix = "HF_HUB_OFFLINE is set and it is not on this disk", f"HF_HUB_OFFLINE=0 {pull}"
    elif isinstance(error, errors.GatedRepoError):
        why, fix = f"its licence must be accepted first, at {page}", login
    elif isinstance(error, errors.RevisionNotFoundError):
        why = f"{page} has no revision {source.revision!r}"
        fix = f"midfill pull {source.repo}"
    elif isinstance(error, errors.RepositoryNotFoundError):
        why = f"{page} does not exist, or is private and HF_TOKEN does not open it"
        why += f"; nor is there a folder {entry.name}" if "/" in entry.name else ""
        fix = login
    elif status in (401, 403):
        why, fix = f"{page} refuses these credentials ({status})", login
    elif status is not None:
        why, fix = f"{endpoint} answered {status}", pull
    elif isinstance(error, errors.HFValidationError):
        why, fix = " ".join(str(error).split()), "midfill models"
    else:
        why = f"{endpoint} cannot be reached or broke off ({str(error) or type(error).__name__})"
        fix = f"HF_ENDPOINT=https://your.mirror {pull}"
    return DownloadError(f"{entry.name} cannot be fetched from the hub", why=why, fix=fix)
