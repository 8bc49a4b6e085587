"""Pages, their addresses, and which domain and prefixes an address belongs to."""

from collections.abc import Iterator
from dataclasses import dataclass
from urllib.parse import urlsplit

from midfill.config.corpus.recall import DomainKind

INDEX_NAMES = ("index.html", "index.htm", "index.php")
PORTS = {"http": ":80", "https": ":443"}


@dataclass(frozen=True, slots=True)
class Page:
    """A page of the web, or a file of GitHub under its address, as text."""

    url: str
    text: str


def normal_url(url: str) -> str:
    """The address that equal pages share: no scheme, `www.`, default port, fragment, index name.

    The host is in lower case; the path and the query keep theirs, for there it can matter. Never
    raises: what is no URL is its own address.
    """
    try:
        parts = urlsplit(url.strip())
        host = parts.netloc.rpartition("@")[2].lower()
    except ValueError:  # such as an address with half an IPv6 bracket
        return url.strip()
    if not host:
        return url.strip()
    host = host.removesuffix(PORTS.get(parts.scheme, "")).removeprefix("www.")
    folder, _, name = parts.path.rpartition("/")
    path = folder if name in INDEX_NAMES else parts.path.rstrip("/")
    return host + path + (f"?{parts.query}" if parts.query else "")


def domain_of(url: str, kind: DomainKind) -> str:
    """The domain of a normal URL: its host, or host and owner, or host, owner and repository."""
    depth = {"host": 1, "owner": 2, "repository": 3}[kind]
    return "/".join(url.partition("?")[0].split("/")[:depth])


def prefixes(url: str, domain: str, depth: int) -> Iterator[str]:
    """Prefixes of a normal URL at its slashes, from its domain to `depth` parts below.

    A page's own name is no prefix: what holds one page is not worth a decision.
    """
    yield domain
    parts = url.partition("?")[0][len(domain) :].strip("/").split("/")
    at = domain
    for part in parts[: min(depth, len(parts) - 1)]:
        at = f"{at}/{part}"
        yield at


def is_under(url: str, prefix: str) -> bool:
    """Whether a normal URL is the prefix or lies below it."""
    return url.startswith(prefix) and url[len(prefix) : len(prefix) + 1] in ("", "/", "?")
