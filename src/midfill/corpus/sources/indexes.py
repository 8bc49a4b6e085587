"""Where a listed file can be had: the indexes that this machine is configured for.

PyPI's simple interface (PEP 503 as HTML, PEP 691 as JSON) at the addresses pip is configured with,
npm's registry as npm is configured, and mirrors of Debian. Names alone are asked for: nothing of an
answer is trusted but addresses, since every file is compared with its pinned checksum.
"""

import ast
import base64
import configparser
import functools
import html.parser
import json
import os
import re
import subprocess
import sys
import urllib.parse
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from midfill.config.corpus.sources import Fetching

if TYPE_CHECKING:
    from midfill.corpus.sources.packed import Wanted

_SIMPLE = "application/vnd.pypi.simple.v1+json, text/html;q=0.5"
_ASK_S = 20  # seconds that pip or npm may take to print what it is configured with
_PIP_DEFAULT = "from pip._internal.models.index import PyPI; print(PyPI.simple_url)"
_APT = re.compile(r"^(?:URIs:|deb(?:-src)?\s+(?:\[[^\]]*\]\s*)?)\s*(https?://\S+)", re.MULTILINE)

Text = Callable[[str, str], tuple[bytes, str, str]]


class Refusal(Exception):  # noqa: N818
    """One attempt that failed; `again`: another may do better, after `wait_s` where it is told."""

    def __init__(self, why: str, *, again: bool = False, wait_s: float | None = None) -> None:
        super().__init__(why)
        self.why, self.again, self.wait_s = why, again, wait_s


class Indexes:
    """Turns listed files into addresses; `text` fetches a page of an index."""

    def __init__(self, fetching: Fetching, text: Text) -> None:
        self._fetching, self._text = fetching, text

    def addresses(self, wanted: "Wanted") -> Iterator[str]:
        """Addresses to try, the best first. Raises Refusal where the last index cannot be asked."""
        if wanted.file.url:
            yield wanted.file.url
        elif wanted.index == "npm":
            yield from self._npm(wanted.name, wanted.file.filename)
        elif wanted.index == "debian":
            pool = urllib.parse.quote(wanted.file.pool or "")
            mirrors = self._fetching.debian_mirrors or debian_mirrors()
            yield from (f"{base.rstrip('/')}/{pool}" for base in mirrors)
        else:
            yield from self._simple(wanted.name, wanted.file.filename)

    def _npm(self, name: str, filename: str) -> Iterator[str]:
        # The registry's address of a version's archive does not name the scope again.
        scope, slash, bare = name.rpartition("/")
        file = filename.removeprefix(scope.lstrip("@") + "-") if slash else filename
        file = file if file.startswith(bare) else filename
        yield f"{npm_registry()}/{urllib.parse.quote(name, safe='@/')}/-/{urllib.parse.quote(file)}"

    def _simple(self, name: str, filename: str) -> Iterator[str]:
        project = re.sub(r"[-_.]+", "-", name).lower()
        failure: Refusal | None = None
        found = False
        for base in pip_indexes():
            page = f"{base.rstrip('/')}/{urllib.parse.quote(project)}/"
            if page.startswith("file:"):
                page += "index.html"
            try:
                body, kind, url = self._text(page, _SIMPLE)
            except Refusal as refusal:
                failure = refusal
                continue
            links = _json_links(body, url) if "json" in kind else _html_links(body, url)
            link = links.get(filename, "")
            if link.startswith(("https:", "http:", "file:" if page.startswith("file:") else "?")):
                found = True
                yield link
        if failure and not found:
            raise failure


def _json_links(body: bytes, url: str) -> dict[str, str]:
    try:
        files = json.loads(body)["files"]
        return {file["filename"]: urllib.parse.urljoin(url, file["url"]) for file in files}
    except (ValueError, KeyError, TypeError):
        return {}


def _html_links(body: bytes, url: str) -> dict[str, str]:
    parser = _Anchors(url)
    parser.feed(body.decode(errors="replace"))
    return parser.links


class _Anchors(html.parser.HTMLParser):
    """File name to address of every anchor of a page."""

    def __init__(self, url: str) -> None:
        super().__init__()
        self._base = url
        self.links: dict[str, str] = {}

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        href = dict(attrs).get("href")
        if not href:
            return
        try:
            target = urllib.parse.urldefrag(urllib.parse.urljoin(self._base, href)).url
        except ValueError:
            return
        if tag == "base":
            self._base = target
        elif tag == "a":
            name = urllib.parse.unquote(urllib.parse.urlsplit(target).path.rpartition("/")[2])
            self.links.setdefault(name, target)


@functools.cache
def _pip_settings() -> dict[str, str]:
    """pip's configuration from its files and PIP_ variables, without its sections."""
    listed = _answer(sys.executable, "-m", "pip", "config", "list")
    order = {"global": 0, "install": 1, "download": 1, ":env:": 2}
    found: dict[str, tuple[int, str]] = {}
    for line in listed.splitlines():
        key, equals, value = line.partition("=")
        section, _, option = key.rpartition(".")
        if not equals or section not in order:
            continue
        try:
            text = str(ast.literal_eval(value))
        except (ValueError, SyntaxError):
            continue
        if order[section] >= found.get(option, (0, ""))[0]:
            found[option] = (order[section], text)
    return {option: text for option, (_, text) in found.items()}


def pip_indexes() -> list[str]:
    """The addresses of the indexes that pip is configured with, the main one first."""
    settings = _pip_settings()
    main = settings.get("index-url") or _answer(sys.executable, "-c", _PIP_DEFAULT).strip()
    if not main:
        raise Refusal("pip does not say which index it uses")
    more = [text for option, text in settings.items() if option.startswith("extra-")]
    return [main, *" ".join(more).split()]


@functools.cache
def _answer(*command: str) -> str:
    """What a program prints; nothing where it is missing or fails."""
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=_ASK_S, stdin=subprocess.DEVNULL
        )
    except (OSError, subprocess.SubprocessError):
        return ""
    return done.stdout if done.returncode == 0 else ""


@functools.cache
def debian_mirrors() -> tuple[str, ...]:
    """The mirrors that apt is configured with, each once."""
    folder = Path("/etc/apt")
    files = [folder / "sources.list", *sorted((folder / "sources.list.d").glob("*"))]
    texts = [file.read_text("utf-8", "replace") for file in files if file.is_file()]
    found = tuple(dict.fromkeys(url for text in texts for url in _APT.findall(text)))
    if not found:
        raise Refusal("apt has no mirror here: set fetching.debian_mirrors")
    return found


def certificates() -> str | None:
    """The file of certificates that pip or the system is told to use; None: Python's default."""
    path = _pip_settings().get("cert") or os.environ.get("SSL_CERT_FILE")
    return path if path and Path(path).is_file() else None


def npm_registry() -> str:
    """The address of npm's registry, as npm is configured by its variable or the user's .npmrc."""
    spellings = ("npm_config_registry", "NPM_CONFIG_REGISTRY")  # npm takes both
    stated = next((os.environ[name] for name in spellings if os.environ.get(name)), None)
    found = stated or _npmrc() or _answer("npm", "config", "get", "registry").strip()
    if not found:
        raise Refusal("npm does not say which registry it uses: set npm_config_registry")
    return found.rstrip("/")


def _npmrc() -> str | None:
    own = os.environ.get("NPM_CONFIG_USERCONFIG")
    parser = configparser.RawConfigParser(strict=False, allow_no_value=True, delimiters=("=",))
    try:
        path = Path(own) if own else Path.home() / ".npmrc"
        parser.read_string("[npm]\n" + path.read_text(encoding="utf-8"))
    except (OSError, RuntimeError, UnicodeDecodeError, configparser.Error):
        return None
    value = parser.get("npm", "registry", fallback=None)
    return value.strip("\"' ") if value else None


def credentials(url: str) -> tuple[str, str | None]:
    """An address without its user and password, and the value of the header that says them."""
    parts = urllib.parse.urlsplit(url)
    if "@" not in parts.netloc:
        return url, None
    user, _, host = parts.netloc.rpartition("@")
    token = base64.b64encode(urllib.parse.unquote(user).encode()).decode()
    return parts._replace(netloc=host).geturl(), f"Basic {token}"


def shown(url: str) -> str:
    """An address for messages: without user, password and query."""
    parts = urllib.parse.urlsplit(url)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2], query="", fragment="").geturl()


def seconds(text: str | None) -> float | None:
    """The number of seconds of a Retry-After header; None where it states none."""
    return float(text) if text and text.isdecimal() else None
