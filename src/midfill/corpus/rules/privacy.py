"""Secrets and personal data, replaced by placeholders (ours; the placeholders are StarCoder's).

`secret_anchors` finds the few places where a secret can begin; only there the detectors of this
file look, so that ordinary code costs one pass. What is replaced, and what is left alone:

- **Keys**: tokens whose maker gave them a shape (`TOKENS`), private keys, passwords in URLs, and
  what is assigned to a name such as `api_key` if it looks random. Documented examples, hashes,
  UUIDs, identifiers, URLs and placeholders stay.
- **Passwords** assigned to a name: at least six characters with a digit or a sign among letters,
  neither an identifier nor a well-known stand-in such as `changeme1`.
- **E-mail addresses** wherever they stand, in copyright lines too: the notice stays complete but
  for the address. `example.com`, names without a host, `git@host:path` and file names such as
  `icon@2x.png` stay.
- **Public IP addresses**: one of five private ones of the same type, chosen by a hash of the
  address, so that one address has one replacement everywhere. Versions stay: a number after
  "version", `==`, `v`, `/` or a product's name, and four small numbers where nothing speaks of a
  network. Networks such as `57.0.0.0/8` and well-known name servers stay.
- **Names** stay, since a licence may ask for its author's; with `names` the one before an e-mail
  address outside a copyright line becomes `<NAME>`.

Nothing here keeps, logs or returns a value that was replaced.
"""

import hashlib
import ipaddress
import math
import re
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial

from midfill.config.corpus.rules import PrivacyConfig
from midfill.corpus.rules.characters import ASSIGNED, BARE, KEYWORDS, QUOTED, secret_anchors

NAME, EMAIL, KEY, PASSWORD = "<NAME>", "<EMAIL>", "<KEY>", "<PASSWORD>"
PRIVATE_V4 = ("10.17.42.6", "10.203.8.91", "172.18.77.140", "172.29.5.33", "192.168.114.27")
PRIVATE_V6 = (
    "fd3c:91a7:5e02::6b",
    "fd58:0c4d:a1f3::29",
    "fd7e:42b9:880c::d4",
    "fda1:6f35:1b7d::93",
    "fdc4:08e2:f96a::17",
)


@dataclass(frozen=True, slots=True)
class Masked:
    """A text without secrets, and how many of each kind were replaced."""

    text: str
    counts: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class _Span:
    start: int
    end: int
    kind: str
    placeholder: str


# Shapes of tokens, as their makers document them. The part named `key` is replaced, else all.
_AFTER = r"(?![A-Za-z0-9])"
TOKENS: Mapping[str, str] = {
    "aws_key": rf"(?:AKIA|ASIA)[A-Z2-7]{{16}}{_AFTER}",
    "google_api_key": r"AIza[A-Za-z0-9_-]{35}(?![A-Za-z0-9_-])",
    "google_oauth": r"ya29\.[A-Za-z0-9_-]{20,400}",
    "github_token": rf"gh[pousr]_[A-Za-z0-9]{{36,255}}{_AFTER}",
    "github_fine_token": r"github_pat_[A-Za-z0-9_]{22,255}",
    "gitlab_token": r"glpat-[A-Za-z0-9_.-]{20,60}",
    "slack_token": r"(?:xox[abprs]|xapp)-(?=[A-Za-z-]{0,60}[0-9])[A-Za-z0-9-]{10,250}",
    "slack_webhook": r"hooks\.slack\.com/services/(?P<key>T[A-Za-z0-9_]{8,12}/B[A-Za-z0-9_]{8,12}/[A-Za-z0-9_]{20,30})",
    "stripe_key": rf"[sr]k_live_[A-Za-z0-9]{{16,247}}{_AFTER}",
    "twilio_key": rf"SK[0-9a-f]{{32}}{_AFTER}",
    "sendgrid_key": r"SG\.[A-Za-z0-9_-]{16,32}\.[A-Za-z0-9_-]{16,64}",
    "npm_token": rf"npm_[A-Za-z0-9]{{36}}{_AFTER}",
    "pypi_token": r"pypi-AgE[A-Za-z0-9_-]{40,400}",
    "anthropic_key": r"sk-ant-[A-Za-z0-9_-]{24,200}",
    "openai_key": (
        r"sk-(?=[A-Za-z_-]{0,100}[0-9])"
        rf"(?:(?:proj|svcacct|admin|or-v1)-[A-Za-z0-9_-]{{32,250}}|[A-Za-z0-9]{{32,64}}{_AFTER})"
    ),
    "jwt": r"eyJ[A-Za-z0-9_-]{8,600}+\.eyJ[A-Za-z0-9_-]{8,8000}+\.[A-Za-z0-9_-]{16,2000}",
    "hugging_face_token": rf"hf_[A-Za-z]{{34}}{_AFTER}",
    "digitalocean_token": rf"dop_v1_[0-9a-f]{{64}}{_AFTER}",
    "shopify_token": rf"shpat_[0-9a-fA-F]{{32}}{_AFTER}",
    "mailgun_key": rf"key-[0-9a-f]{{32}}{_AFTER}",
    "facebook_token": r"EAACEdEose0cBA[A-Za-z0-9]{20,400}",
    "square_token": r"sq0(?:atp|csp|idp)-[A-Za-z0-9_-]{22,60}",
    "age_key": r"AGE-SECRET-KEY-1[A-Z0-9]{58}",
    "docker_token": r"dckr_pat_[A-Za-z0-9_-]{27,40}",
    "rubygems_key": rf"rubygems_[0-9a-f]{{48}}{_AFTER}",
    "linear_key": rf"lin_api_[A-Za-z0-9]{{40}}{_AFTER}",
    "azure_storage_key": r"AccountKey=(?P<key>[A-Za-z0-9+/]{86}==)",
    "private_key": (
        r"-----BEGIN\ (?:[A-Z0-9]{1,12}\ ){0,3}PRIVATE\ KEY(?:\ BLOCK)?-----"
        r"""(?P<key>(?:[A-Za-z0-9+/=\s\\"',:;*.>|()#]|-(?!-)){32,20000}+)"""
    ),
}
_FIRST = {"aws_key": "A", "slack_token": "x", "stripe_key": "sr"}  # where it is no plain letter
_BY_FIRST: dict[str, list[tuple[str, re.Pattern[str]]]] = {}
for _kind, _pattern in TOKENS.items():
    for _letter in _FIRST.get(_kind, _pattern[0]):
        _BY_FIRST.setdefault(_letter, []).append((_kind, re.compile(_pattern, re.ASCII)))


_EXAMPLE = re.compile(r"EXAMPLE|(?i:example|your[_-]|placeholder|dummy|redacted)|x{6}|X{6}|\*{4}")
_SEQUENCES = ("0123456789", "1234567890", "abcdefgh", "ABCDEFGH")


def _is_example(value: str) -> bool:
    """Whether a key is one of documentation, or filled with a pattern."""
    body = value[-24:]
    return (
        bool(_EXAMPLE.search(value))
        or len(set(body)) <= 5
        or any(sequence in value for sequence in _SEQUENCES)
    )


def _token(text: str, at: int) -> _Span | None:
    for kind, pattern in _BY_FIRST.get(text[at], ()):
        hit = pattern.match(text, at)
        if hit is None:
            continue
        group = "key" if "key" in pattern.groupindex else 0
        start, end = hit.span(group)
        if kind == "private_key":
            return _private_key(text, start, end)
        return None if _is_example(hit[group]) else _Span(start, end, kind, KEY)
    return None


def _private_key(text: str, start: int, end: int) -> _Span | None:
    """The body of a private key, without the ends of lines around it."""
    if not text.startswith("-----END", end):  # a string may end sooner than the key
        quote = re.search(r"[\"'`]", text[start:end])
        end = start + quote.start() if quote else end
    body = text[start:end]
    letters = re.sub(r"[^A-Za-z0-9+/]", "", body)
    if len(letters) < 32 or len(set(letters)) < 12:  # "..." in a document
        return None
    start += len(body) - len(body.lstrip())
    end -= len(body) - len(body.rstrip())
    return _Span(start, end, "private_key", KEY)


# ---- what is assigned to a name ----------------------------------------------------------------

_ASSIGNMENT = re.compile(rf"(?a)(?P<word>(?i:{KEYWORDS}))(?P<more>{ASSIGNED})(?:{QUOTED}|{BARE})")
_NAME_BEFORE = re.compile(r"[A-Za-z0-9_-]{0,40}\Z")
_PASSWORD_WORDS = {"password", "passwd", "passphrase", "pwd"}
# Names of things that are public, or only speak of a secret.
_PUBLIC_NAME = re.compile(
    r"(?i)hash|digest|checksum|sha\d|md5|fingerprint|public|csrf|next|page|continuation|cursor"
    r"|_?(?:url|uri|path|file|name|type|field|header|prefix|suffix|pattern|regex|length|class|kind"
    r"|endpoint|param|label|key_id|id|version|env|env_var|option|format|policy|column|message|error)s?"
    r"[\"'\])\s]*(?::?=|:|=>)"
)
_IDENTIFIER = re.compile(r"[A-Za-z_$@%&*!/-][A-Za-z_.:/$\[\]()\\ -]*\d{0,2}\Z")
_TEMPLATE = re.compile(
    r"\$\{|\{\{|\{[A-Za-z_.]*\}|%\(|%[sd]|<[^>]*>|\$\(|\A\$\w+\Z|\[[a-z_]+\]|\.\.\.|://"
)
_UUID = re.compile(r"[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}\Z")
_STAND_IN = re.compile(
    r"(?i)passphrase|password|passwd|changeme|foobar|letmein|correct|battery|invalid|default|example"
    r"|staple|sample|secret|string|hunter|qwerty|wrong|super|dummy|admin|token|value|change|guest"
    r"|horse|false|your|user|root|test|fake|this|pass|here|todo|asdf|demo|temp|none|null|true|some"
    r"|the|new|old|bad|api|key|pwd|foo|bar|baz|qux|abc|tmp|xxx+|my|db|is|an|me|a"
)


def _stands_in(value: str) -> bool:
    """Whether nothing is left of a value but signs and a short number without well-known words."""
    left = re.sub(r"[\W_]", "", _STAND_IN.sub("", value))
    return not left or (left.isdigit() and len(left) <= 8)


def _entropy(value: str) -> float:
    """Shannon entropy of the characters, bits per character."""
    counts = Counter(value).values()
    return -sum(n / len(value) * math.log2(n / len(value)) for n in counts)


_VOWELS = set("aeiouyAEIOUY")


def _looks_random(value: str) -> bool:
    """Whether a text of keys' characters is neither words nor a pattern.

    Words change between letters and digits seldom, keep their case and alternate vowels and
    consonants; a random text of 16 and more characters does not.
    """
    if len(value) < 16 or not re.fullmatch(r"[A-Za-z0-9+/=_.~%-]+", value):
        return False
    digits = sum(c.isdigit() for c in value)
    if digits < 2 or digits == len(value) or _entropy(value) < min(3.0, math.log2(len(value)) - 1):
        return False
    pieces = re.findall(r"[A-Za-z]+", value)
    wordy = sum(len(piece) for piece in pieces if len(piece) >= 4 and _is_word(piece))
    return wordy < 0.4 * len(value)


def _is_word(piece: str) -> bool:
    """Whether letters could be a word: one case but for a capital, and enough vowels."""
    if not (piece.islower() or piece.isupper() or piece.istitle() or _is_camel(piece)):
        return False
    vowels = sum(c in _VOWELS for c in piece)
    return 0.2 <= vowels / len(piece) <= 0.7


def _is_camel(piece: str) -> bool:
    humps = re.findall(r"[A-Z]?[a-z]+", piece)
    return sum(map(len, humps)) == len(piece) and len(piece) >= 3.5 * len(humps)


def _is_password(value: str) -> bool:
    """Whether a value is a password somebody chose, rather than a word that stands for one."""
    has_sign = any(not c.isalnum() and c not in "_-. " for c in value)
    has_digit = any(c.isdigit() for c in value)
    has_letter = any(c.isalpha() for c in value)
    if not has_letter or not (has_digit or has_sign):
        return False
    return not _stands_in(value) and not (_IDENTIFIER.match(value) and not has_sign)


def _is_code(text: str, at: int, before: re.Match[str] | None, more: str) -> bool:
    """Whether what has no quotes is an expression: behind `==`, or given to an attribute."""
    start = before.start() if before else at
    return more.rstrip().endswith("==") or text[start - 1 : start] == "."


def _assigned(text: str, at: int) -> _Span | None:
    hit = _ASSIGNMENT.match(text, at)
    if hit is None:
        return None
    group = "value" if hit["value"] is not None else "bare"
    value, start, end = hit[group], *hit.span(group)
    before = _NAME_BEFORE.search(text, max(0, at - 40), at)
    if group == "bare" and _is_code(text, at, before, hit["more"]):
        return None
    name = (before[0] if before else "") + hit["word"] + hit["more"]
    if _PUBLIC_NAME.search(name) or _TEMPLATE.search(value) or _UUID.match(value):
        return None
    if _is_example(value):
        return None
    if hit["word"].lower() in _PASSWORD_WORDS and _is_password(value):
        return _Span(start, end, "password", PASSWORD)
    return _Span(start, end, "generic_key", KEY) if _looks_random(value) else None


# ---- e-mail, logins, addresses -----------------------------------------------------------------

_LOCAL = re.compile(r"[A-Za-z0-9][A-Za-z0-9._%+-]{0,63}\Z")
_HOST = re.compile(
    r"@(?P<host>(?:[A-Za-z0-9-]{1,63}\.){1,8}(?P<top>[A-Za-z]{2,24}))(?![\w(=]|\.\w)"
)
_NO_HOST = re.compile(
    r"(?i)(?:.*\.)?(?:example\.(?:com|org|net|edu)|[\w-]+\.(?:example|test|invalid|localhost|local"
    r"|internal|lan))\Z|(?:foo|bar|baz|domain|company|email|test|mail|host|server|your\w*|my\w*"
    r"|x+|a|b|abc|site|somewhere|acme)\.(?:com|org|net|co|io|tld|edu)\Z"
)
_FILE_ENDINGS = frozenset(
    "png jpg jpeg gif svg webp ico js ts css scss html md py rb go rs java json yml yaml tgz gz zip"
    " xml txt log sh lock toml cfg ini map vue jsx tsx mjs cjs tar whl jar service target timer"
    " socket conf plist icns xcassets".split()
)


def _mail(text: str, at: int, *, names: bool) -> list[_Span]:
    hit = _HOST.match(text, at)
    if hit is None or hit["top"].lower() in _FILE_ENDINGS or _NO_HOST.match(hit["host"]):
        return []
    local = _LOCAL.search(text, max(0, at - 64), at)
    if local is None:
        return []
    if local[0] == "git" and text.startswith((":", "/"), hit.end()):
        return []  # git@host:path, a place and not a person
    spans = [_Span(local.start(), hit.end(), "email", EMAIL)]
    if names and (name := _name_before(text, local.start())):
        spans.insert(0, name)
    return spans


_NAME_PART = r"[^\W\d_a-z][\w'.-]*"
_NAME_THEN_MAIL = re.compile(rf"(?<![\w-])(?P<name>{_NAME_PART}(?: {_NAME_PART}){{1,3}}) <?\Z")


def _name_before(text: str, at: int) -> _Span | None:
    line = text.rfind("\n", max(0, at - 200), at) + 1 or max(0, at - 200)
    before = text[line:at]
    hit = _NAME_THEN_MAIL.search(before)
    if hit is None or re.search(r"(?i)copyright|\(c\)|©", before):
        return None
    return _Span(line + hit.start("name"), line + hit.end("name"), "name", NAME)


_LOGIN = re.compile(
    r"""://(?P<user>[^\x00-\x20/"'<>@:]{0,128}):(?P<key>[^\x00-\x20/"'<>@]{1,256})@(?P<host>[\w.-]*)"""
)


def _login(text: str, at: int) -> _Span | None:
    hit = _LOGIN.match(text, at)
    if hit is None or _TEMPLATE.search(hit["key"]) or _is_example(hit["key"]):
        return None
    value = hit["key"]
    plain = value.isalpha() or value == hit["user"] or not value.strip("*.x{}[]$%")
    if plain or _stands_in(value) or re.search(r"[\\(?]", value):
        return None
    return _Span(*hit.span("key"), "url_password", PASSWORD)


_FOUR = re.compile(r"\d{1,3}\.\d{1,3}\.\d{1,3}\.\d{1,3}", re.ASCII)
_SIX = re.compile(r"[23][0-9A-Fa-f]{3}(?::[0-9A-Fa-f]{0,4}){2,7}(?![\w:])")
_VERSION_BEFORE = re.compile(
    r"(?ix)(?: (?:version|release|revision|rev|build|ver|oid|section|chapter|clause|since|v|r)s?"
    r" [\"'\]\s:=._(,-]*(?:is|to|of)?[\s\"']* | [=><~^!]=\s*[\"']? | [~^]\s* | (?<![/:])/ | \d,\s*)\Z"
)
_NETWORK = re.compile(
    r"(?i)\bip\b|ipv?4|addr|host|server|ssh|ping|dns|gateway|proxy|remote|client|subnet|network|listen|://|[_.]ip\b|\bip_"
)
_NAME_SERVERS = frozenset(
    "8.8.8.8 8.8.4.4 1.1.1.1 1.0.0.1 9.9.9.9 208.67.222.222 208.67.220.220".split()
)


def _replacement(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> str:
    choices = PRIVATE_V4 if address.version == 4 else PRIVATE_V6
    return choices[hashlib.sha256(address.packed).digest()[0] % len(choices)]


def _address(text: str, at: int) -> _Span | None:
    four = _FOUR.match(text, at)
    hit = four or _SIX.match(text, at)
    if hit is None or hit[0] in _NAME_SERVERS:
        return None
    try:
        address = ipaddress.ip_address(hit[0])
    except ValueError:
        return None
    if not address.is_global or address.is_multicast:
        return None
    after = text[hit.end() : hit.end() + 8]
    if re.match(r"/(?:[12]?\d|3[01])(?!\d)", after):
        return None  # a network, not a machine
    if four and _is_version(text, at, hit[0], after):
        return None
    return _Span(at, hit.end(), f"ipv{address.version}", _replacement(address))


def _is_version(text: str, at: int, value: str, after: str) -> bool:
    before = text[max(0, at - 40) : at].rpartition("\n")[2]
    if _VERSION_BEFORE.search(before) or re.match(
        r"-?(?:alpha|beta|rc|dev|post)|-\w|\+|\.tar|\.zip", after
    ):
        return True
    parts = [int(part) for part in value.split(".")]
    small = max(parts) < 32 or parts[-1] == 0 == parts[-2]  # 2.0.3.1; 139.0.0.0, a browser
    return small and not _NETWORK.search(before) and not re.match(r":\d", after)


# ---- all together ------------------------------------------------------------------------------


def _look(text: str, at: int, config: PrivacyConfig) -> list[_Span]:
    """What begins at an anchor, or around it."""
    first = text[at]
    span: _Span | None = None
    if first == "@":
        return _mail(text, at, names=config.names) if config.emails else []
    if first.isdigit():
        span = _address(text, at) if config.addresses else None
    elif config.keys:
        look: Callable[[], _Span | None] = partial(_login, text, at)
        span = look() if first == ":" else _token(text, at) or _assigned(text, at)
    return [span] if span else []


def mask(text: str, config: PrivacyConfig | None = None) -> Masked:
    """`text` without secrets and personal data. Masking a masked text changes nothing."""
    config = config or PrivacyConfig()
    anchors = secret_anchors(text)
    if not anchors:
        return Masked(text, {})
    spans = [span for at in anchors for span in _look(text, at, config)]
    if not spans:
        return Masked(text, {})
    spans.sort(key=lambda span: (span.start, span.kind == "email", -span.end))
    pieces, counts, end = [], Counter[str](), 0
    for span in spans:
        if span.start < end:
            continue  # inside the one before
        pieces += [text[end : span.start], span.placeholder]
        counts[span.kind] += 1
        end = span.end
    pieces.append(text[end:])
    return Masked("".join(pieces), dict(counts))
