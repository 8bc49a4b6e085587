"""What the quality model learns from: files that are taken for good, and files that are bad for sure.

Nobody has published labels of the quality of code, so these are weak, and say so. Good is a readable
source file of a repository that has both tests and documentation. Bad is what the rules already know
(generated, vendored, minified, data), and good files of other kinds spoiled on purpose, in ways that
occur: comments stripped, names shortened, layout lost, lines mixed up, parts missing. A model that
tells these apart knows what careless code looks like; it does not know whether code is right.
"""

import hashlib
import re
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass
from random import Random

from midfill.corpus.quality.heuristics import Measures, measure
from midfill.corpus.record import Document

SPOILED_SHARE = 0.4  # of the good files, spoiled instead of kept
BAD_REASONS = frozenset(  # of the rules, for files that nobody wrote or reads as they are
    (
        "vendored",
        "lock_file",
        "source_map",
        "generated_name",
        "generated_header",
        "minified",
        "encoded",
        "longest_line",
        "mean_line",
        "letters",
    )
)
_TESTS = re.compile(r"(^|/)(tests?|spec|__tests__|testing)(/|$)|(^|/)test_|_test\.|\.test\.", re.I)
_DOCS = re.compile(r"(^|/)(docs?|documentation|man)(/|$)|(^|/)README", re.I)
_NAME = re.compile(r"[^\W\d]\w{3,}")
_BLANKS = re.compile(r"\n[ \t]*")


@dataclass(frozen=True, slots=True, kw_only=True)
class Labelled:
    """One text with what it is taken for, and why."""

    id: str
    repo: str
    language: str | None
    text: str
    good: bool
    kind: str  # "good", a rule's reason, or the name of the damage


def lot(name: str) -> int:
    """A number below 2**64 that decides by a document's name whether it is chosen."""
    digest = hashlib.blake2b(b"label " + name.encode("utf-8", "surrogatepass"), digest_size=8)
    return int.from_bytes(digest.digest())


def label(documents: Iterable[Document], seed: int = 0, share: float = 1.0) -> Iterator[Labelled]:
    """The labelled texts of one repository's documents, which must be whole; most get no label.

    Documents that a rule dropped serve as bad ones, so give those too. Of all that could have a
    label, a share is looked at, chosen by `lot`. The choice depends on documents and seed only.
    """
    given = list(documents)
    paths = [one.path for one in given]
    cared_for = any(map(_TESTS.search, paths)) and any(map(_DOCS.search, paths))
    least = int(share * 2**64)
    for one in given:
        kind = _kind(one, cared_for) if lot(one.id) < least else None
        if kind is None:
            continue
        digest = hashlib.blake2b(f"{seed}:{one.id}".encode("utf-8", "surrogatepass")).digest()
        random, text = Random(digest), one.text
        if kind == "good" and random.random() < SPOILED_SHARE:
            kind = random.choice(sorted(DAMAGES))
            text = DAMAGES[kind](text, random)
        yield Labelled(
            id=one.id,
            repo=one.repo,
            language=one.language,
            text=text,
            good=kind == "good",
            kind=kind,
        )


def _kind(document: Document, cared_for: bool) -> str | None:
    """What a document is taken for; None: neither good nor bad for sure."""
    if document.drop is not None:
        return document.drop.reason if document.drop.reason in BAD_REASONS else None
    measured = measure(document.text, document.language)
    if measured.lines < 20 or document.language is None:
        return None
    if measured.literal > 0.7 or measured.duplicate_lines > 0.6:
        return "data"
    if cared_for and not _TESTS.search(document.path) and _reads_well(measured):
        return "good"
    return None


def _reads_well(measured: Measures) -> bool:
    return (
        0.03 <= measured.comment <= 0.7
        and measured.name >= 3.5
        and measured.one_letter <= 0.2
        and measured.function_lines <= 60  # not where there is no function
        and measured.literal <= 0.4
        and measured.duplicate_lines <= 0.3
    )


def _stripped(text: str, random: Random) -> str:
    """Without line comments and empty lines."""
    lines = (re.sub(r"(?:^|\s)(?:#|//).*", "", line).rstrip() for line in text.split("\n"))
    return "\n".join(line for line in lines if line)


def _renamed(text: str, random: Random) -> str:
    """Names that occur often become one or two letters, as minifiers and obfuscators have them."""
    names = sorted(set(_NAME.findall(text)))
    chosen = random.sample(names, k=int(0.6 * len(names)))
    short = {name: _letters(at) for at, name in enumerate(chosen)}
    return _NAME.sub(lambda found: short.get(found.group(), found.group()), text)


def _letters(number: int) -> str:
    first, second = divmod(number, 26)
    return (chr(97 + (first - 1) % 26) if first else "") + chr(97 + second)


def _numbered(text: str, random: Random) -> str:
    """Names become `var_12`, as decompilers and translators have them."""
    names = {name: at for at, name in enumerate(sorted(set(_NAME.findall(text))))}
    names = {name: at for name, at in names.items() if random.random() < 0.6}
    return _NAME.sub(
        lambda found: f"var_{names[found.group()]}" if found.group() in names else found.group(),
        text,
    )


def _flattened(text: str, random: Random) -> str:
    """Line ends and indentation lost, as in texts copied from pages."""
    return _BLANKS.sub(lambda found: " " if random.random() < 0.7 else "\n", text)


def _mixed_up(text: str, random: Random) -> str:
    """Runs of lines in another order."""
    lines = text.split("\n")
    parts = [lines[at : at + 4] for at in range(0, len(lines), 4)]
    random.shuffle(parts)
    return "\n".join(line for part in parts for line in part)


def _holed(text: str, random: Random) -> str:
    """A third of the lines missing, and the rest cut off somewhere."""
    lines = [line for line in text.split("\n") if random.random() > 0.33]
    return "\n".join(line if random.random() > 0.1 else line[: len(line) // 2] for line in lines)


Damage = Callable[[str, Random], str]
DAMAGES: dict[str, Damage] = {
    "flattened": _flattened,
    "holed": _holed,
    "mixed_up": _mixed_up,
    "numbered": _numbered,
    "renamed": _renamed,
    "stripped": _stripped,
}


def split(repos: Collection[str], held_out: float, seed: int = 0) -> frozenset[str]:
    """The repositories to hold out: whole ones, since files of one resemble each other."""

    def place(repo: str) -> tuple[bytes, str]:
        return hashlib.blake2b(f"{seed}:{repo}".encode("utf-8", "surrogatepass")).digest(), repo

    return frozenset(sorted(set(repos), key=place)[: round(held_out * len(set(repos)))])
