"""Under which licence a file may be used, and whether that is permissive (ours).

The licence of a file is, in this order: what its own head states (an SPDX line, the text of a
notice), the nearest licence file upward, what the metadata of the package states. A folder with a
licence file of its own follows that one, also where nobody can say which it is; only at the root is
an unrecognised file passed over for the metadata. Licences are SPDX expressions.

Several licences at one place: `LICENSE-MIT` beside `LICENSE-APACHE` are a choice (OR), as Rust's
packages mean it; texts one after the other in one file all hold (AND), up to the words that begin a
list of bundled software. The text of the GPL alone does not allow later versions. "BSD" without
clauses is read as BSD-3-Clause, "Apache" as Apache-2.0. PyPI's classifiers, joined by `;`, all hold.
"""

import re
from collections.abc import Callable, Iterable, Mapping
from functools import lru_cache
from pathlib import PurePosixPath

from midfill.config.corpus.rules import PERMISSIVE
from midfill.corpus.record import Document
from midfill.corpus.rules import fingerprints
from midfill.corpus.rules.comments import head, speaks_of_rights

LEAST_HELD = 0.82  # share of a licence's text that a file must hold
PUBLIC_DOMAIN = "LicenseRef-Public-Domain"
LONGEST = 1000  # characters of an expression that is looked at

_OTHERS = """AFL-2.1 AGPL-1.0-only Apache-1.0 BSD-3-Clause-LBNL CC-BY-NC-3.0 CC-BY-NC-ND-4.0
    CC-BY-2.0 CC-BY-2.5 CC-BY-SA-2.0 CC-BY-SA-2.5 CDDL-1.1 CECILL-B CECILL-C CPL-1.0 Classpath
    EUPL-1.1 IPL-1.0 MIT-CMU MIT-Modern-Variant MulanPSL-1.0 NASA-1.3 NPL-1.1 PHP-3.0 PHP-3.01
    SISSL SMLNJ Sleepycat Unicode-3.0 Xnet JSON GFDL-1.1-only GFDL-1.2-only MPL-1.0 BSD-4-Clause-UC
    LicenseRef-Proprietary Apache-1.1 IJG Intel StandardML-NJ RSA-MD Spencer-94 libtiff""".split()


@lru_cache(maxsize=1)
def _identifiers() -> dict[str, str]:
    """Known identifiers by their lower-case form; the GNU ones also in their older spelling."""
    known = {name.lower(): name for name in (*fingerprints.names(), *PERMISSIVE, *_OTHERS)}
    for name in [name for name in known.values() if name.endswith("-only")]:
        base = name.removesuffix("-only")
        known |= {base.lower(): name, f"{base}+".lower(): f"{base}-or-later"}
        known[f"{base}-or-later".lower()] = f"{base}-or-later"
    return known


# ---- expressions -------------------------------------------------------------------------------

_TOKEN = re.compile(r"\(|\)|[A-Za-z0-9][A-Za-z0-9.:_-]*\+?")
_PRECEDENCE = {"OR": 1, "AND": 2, "WITH": 3}


def _tokens(expression: str) -> list[str] | None:
    """The words of an expression, identifiers in their spelling; None where it is none."""
    if len(expression) > LONGEST or re.sub(r"[\s]", "", _TOKEN.sub("", expression)):
        return None
    words, known = [], _identifiers()
    for word in _TOKEN.findall(expression):
        previous = words[-1] if words else ""
        if word.upper() in _PRECEDENCE:
            words.append(word.upper())
        elif word in "()" or previous == "WITH" or word.startswith("LicenseRef-"):
            words.append(word)
        elif (name := known.get(word.lower()) or known.get(word.lower().rstrip("+"))) is not None:
            words.append(name)
        else:
            return None
    return words


def _postfix(words: Iterable[str]) -> list[str] | None:
    """An expression with each operator behind what it joins; None where it is malformed."""
    out: list[str] = []
    waiting: list[str] = []
    operand = True  # what must come next
    for word in words:
        if operand != (word == "(" or word not in (*_PRECEDENCE, ")")):
            return None
        if word == "(":
            waiting.append(word)
        elif word == ")":
            while waiting and waiting[-1] != "(":
                out.append(waiting.pop())
            if not waiting:
                return None
            waiting.pop()
        elif word in _PRECEDENCE:
            while waiting and _PRECEDENCE.get(waiting[-1], 0) >= _PRECEDENCE[word]:
                out.append(waiting.pop())
            waiting.append(word)
            operand = True
        else:
            out.append(word)
            operand = False
    out += reversed(waiting)
    return None if operand or "(" in out else out


@lru_cache(maxsize=4096)
def _parsed(expression: str) -> list[str] | None:
    words = _tokens(expression)
    return _postfix(words) if words else None


def _combine(postfix: list[str], value: Callable[[str], bool]) -> bool:
    """What an expression says where `value` judges an identifier."""
    stack: list[bool | str] = []
    for word in postfix:
        if word not in _PRECEDENCE:
            stack.append(word)
            continue
        right, left = stack.pop(), stack.pop()
        if word == "WITH":
            stack.append(f"{left} WITH {right}")
            continue
        a, b = (value(one) if isinstance(one, str) else one for one in (left, right))
        stack.append(a or b if word == "OR" else a and b)
    (last,) = stack
    return value(last) if isinstance(last, str) else last


def permissive(expression: str | None, allow: frozenset[str] = PERMISSIVE) -> bool:
    """Whether the identifiers in `allow` suffice: one side of an OR, both of an AND.

    `A WITH B` is allowed where it is named as such, or A is: an exception only permits more.
    """
    postfix = _parsed(expression or "")
    if not postfix:
        return False
    return _combine(postfix, lambda name: name in allow or name.partition(" WITH ")[0] in allow)


# ---- names as people write them ----------------------------------------------------------------

_ALIASES = [
    (re.compile(pattern), name)
    for pattern, name in [
        (r"\bmit no attribution|\bmit 0\b", "MIT-0"),
        (r"\bmit cmu\b|historical permission", "HPND"),
        (r"\b(?:mit|expat)\b|^x11 mit", "MIT"),
        (r"\bx11\b", "X11"),
        (r"\bbsd 0\b|\b0 ?bsd\b|zero clause bsd", "0BSD"),
        (r"bsd 3 clause clear|clear bsd", "BSD-3-Clause-Clear"),
        (r"bsd\D{0,12}\b4\b|\b4 clause|original bsd|old bsd", "BSD-4-Clause"),
        (r"bsd\D{0,12}\b2\b|\b2 clause|simplified bsd|freebsd|two clause", "BSD-2-Clause"),
        (r"\bbsd\b|new bsd|modified bsd|revised bsd", "BSD-3-Clause"),
        (r"apache\D*1 1\b|\basl 1 1", "Apache-1.1"),
        (r"apache|\basl 2|\bal2\b", "Apache-2.0"),
        (r"affero|\bagpl", "AGPL-3.0"),
        (r"lesser|\blgpl|library general", "LGPL"),
        (r"gnu free documentation|\bgfdl", "GFDL-1.3-only"),
        (r"\bgpl|gnu general public|gnu public", "GPL"),
        (r"mozilla\D*1 1|\bmpl\D*1 1", "MPL-1.1"),
        (r"mozilla|\bmpl", "MPL-2.0"),
        (r"\bisc\b|iscl", "ISC"),
        (r"python software foundation|\bpsf", "PSF-2.0"),
        (r"\bpython\b", "Python-2.0"),
        (r"zope|\bzpl", "ZPL-2.1"),
        (r"unlicense", "Unlicense"),
        (r"cc0|cc zero|creative commons zero", "CC0-1.0"),
        (r"(?:cc|creative commons|attribution) ?by nc|noncommercial", "CC-BY-NC-4.0"),
        (r"\bcc by sa|attribution share ?alike", "CC-BY-SA-4.0"),
        (r"\bcc by|creative commons attribution", "CC-BY-4.0"),
        (r"public domain", PUBLIC_DOMAIN),
        (r"boost|\bbsl 1", "BSL-1.0"),
        (r"eclipse\D*1\b|\bepl\D*1\b", "EPL-1.0"),
        (r"eclipse|\bepl\b", "EPL-2.0"),
        (r"zlib|libpng", "Zlib"),
        (r"wtfpl|do what the f", "WTFPL"),
        (r"postgresql", "PostgreSQL"),
        (r"artistic\D*2", "Artistic-2.0"),
        (r"artistic", "Artistic-1.0"),
        (r"academic free", "AFL-3.0"),
        (r"\bncsa\b|university of illinois", "NCSA"),
        (r"common development and distribution|\bcddl", "CDDL-1.0"),
        (r"european union public|\beupl", "EUPL-1.2"),
        (r"cecill", "CECILL-2.1"),
        (r"open font|\bofl\b", "OFL-1.1"),
        (r"universal permissive|\bupl\b", "UPL-1.0"),
        (r"blue oak", "BlueOak-1.0.0"),
        (r"proprietary|all rights reserved|commercial|confidential", "LicenseRef-Proprietary"),
    ]
]
_GNU_DEFAULT = {"GPL": "1.0", "LGPL": "2.0", "AGPL-3.0": "3.0"}


def _words(text: str) -> str:
    return " ".join(re.findall(r"[a-z0-9]+", text.lower()))


def _gnu(family: str, words: str) -> str:
    """The identifier of a GNU licence from the words that name it."""
    number = re.search(r"(?:version |\bv ?|\b|gpl ?v? ?)([123])(?: ([01]))?\b", words)
    version = f"{number[1]}.{number[2] or 0}" if number else _GNU_DEFAULT[family]
    later = number is None or re.search(r"later|or newer|\bplus\b", words)
    return f"{family.removesuffix('-3.0')}-{version}-{'or-later' if later else 'only'}"


def _alias(name: str) -> str | None:
    words = _words(name.replace("+", " or later"))
    for pattern, identifier in _ALIASES:
        if pattern.search(words):
            return _gnu(identifier, words) if identifier in _GNU_DEFAULT else identifier
    return None


@lru_cache(maxsize=4096)
def normalise(stated: str | None) -> str | None:
    """The SPDX expression for what metadata states, or None where nobody can tell.

    Expressions pass, in the spelling of the list; else the text is cut at `;`, `,`, `/`, "and" and
    "or", and each part looked up among the names that people use. One unknown part makes the whole
    unknown. A text of more than 1000 characters is looked at as a licence text.
    """
    stated = (stated or "").strip().strip("\"'")
    if not stated or stated.lower() in ("unknown", "none", "other", "see license", "license"):
        return None
    if len(stated) > 300 or stated.count("\n") > 3:
        return recognise(stated)
    words = _tokens(stated)
    if words:
        return _spelled(words) if _postfix(words) else None
    return _free_text(stated)


def _spelled(words: list[str]) -> str:
    """An expression as text, without a pair of parentheses around the whole."""
    if words[0] == "(" and words[-1] == ")" and words.count("(") == 1:
        words = words[1:-1]
    return " ".join(words).replace("( ", "(").replace(" )", ")")


def _free_text(stated: str) -> str | None:
    stated = re.sub(
        r"(?i)\bor\s*\(?at your option\)?\s*any\b|\bor\s+(?=later|newer|any)", "+ ", stated
    )
    stated = re.sub(r"(?i)(?:license|osi approved)\s*::\s*", "", stated)
    stated = re.sub(r"(?i)library or lesser", "lesser", stated)
    either = re.split(r"(?i)\s+or\s+|\s*/\s*|\bdual\b[^:]*:", stated)
    options = []
    for option in either:
        parts = [part for part in re.split(r"(?i)\s+and\s+|[;,&]\s*", option) if part.strip()]
        names = [_alias(part) for part in parts]
        names = [name for name, part in zip(names, parts, strict=True) if name or not _filler(part)]
        if not names or None in names:
            return None
        options.append(" AND ".join(dict.fromkeys(name for name in names if name)))
    options = list(dict.fromkeys(options))
    return " OR ".join(f"({o})" if " AND " in o and len(options) > 1 else o for o in options)


def _filler(part: str) -> bool:
    return bool(re.fullmatch(r"(?i)\W*(?:version|v)?\W*[\d.]*\W*(?:licen[cs]es?)?\W*", part))


# ---- notices and texts -------------------------------------------------------------------------

_BY_PHRASE = [
    (re.compile(pattern), name)
    for pattern, name in [
        (r"apache license,? (?:version |v )?2 0|apache org licenses license 2 0", "Apache-2.0"),
        (r"mozilla public licen[cs]e,? (?:mpl )?(?:version |v )?2 0", "MPL-2.0"),
        (r"mozilla public licen[cs]e,? (?:mpl )?(?:version |v )?1 1", "MPL-1.1"),
        (r"boost software license", "BSL-1.0"),
        (r"eclipse public license,? (?:version |v )?1 0", "EPL-1.0"),
        (r"eclipse public license", "EPL-2.0"),
        (r"common development and distribution license", "CDDL-1.0"),
        (r"free and unencumbered software released into the public domain", "Unlicense"),
        (r"creative commons (?:cc0|zero)|creativecommons org publicdomain zero", "CC0-1.0"),
        (
            r"provided as is without any express or implied warranty in no event will the authors?",
            "Zlib",
        ),
        (r"university of illinois ncsa open source license", "NCSA"),
        (r"do what the fuck you want to public license", "WTFPL"),
        (r"business source license", "BUSL-1.1"),
        (r"elastic license", "Elastic-2.0"),
        (r"server side public license", "SSPL-1.0"),
        (
            r"(?:released|placed|put|dedicated|is|donated) (?:in|into|to) the public domain",
            PUBLIC_DOMAIN,
        ),
    ]
]
_UNDER = re.compile(
    r"\b(?:licen[cs]ed?|released?|distributed|available|covered|provided|published|subject)\b"
    r"(?: \w+){0,6}? (?:under|by|to) (?:either (?:of )?)?(?:the )?(?:terms of )?(?:the |an? )?"
    r"((?:\w+ ){0,2}?(?:mit|expat|x11|isc|psf|python software foundation|zope public"
    r"|(?:2 clause|3 clause|new|modified|revised|simplified|two clause|three clause) bsd"
    r"|bsd [234] clause)) (?:open source |public |software )?licen[cs]e"
)
_GNU_NAME = re.compile(r"gnu (affero |lesser |library )?(?:general )?public licen[cs]e")
_CHOICE = re.compile(
    r"dual licen|licensed under either|alternatively|your choice|either the|either of"
)
_PERMISSION = "permission is hereby granted free of charge to any person obtaining a copy"
_ISC = re.compile(
    r"permission to use copy modify and (?:or )?distribute this software for any purpose"
)


def _bsd(words: str) -> str:
    """Which of the BSD licences, by the clauses that tell them apart."""
    if "all advertising materials mentioning" in words:
        return "BSD-4-Clause"
    if re.search(r"neither the names?|to endorse or promote|used to endorse", words):
        clear = "no express or implied licenses to any party s patent" in words
        return "BSD-3-Clause-Clear" if clear else "BSD-3-Clause"
    binary = re.search(r"binary form must reproduce|reproduce the above copyright", words)
    return "BSD-2-Clause" if binary else "BSD-1-Clause"


def _mit(words: str) -> str:
    if "permission notice" not in words:
        return "MIT-0"
    return "X11" if "shall not be used in advertising or otherwise to promote" in words else "MIT"


def _families(words: str) -> list[str]:
    """Licences that are known by their sentences rather than their names."""
    found = []
    if _PERMISSION in words:
        found.append(_mit(words))
    if "redistribution and use in source and binary forms" in words:
        found.append(_bsd(words))
    if _ISC.search(words):
        found.append("ISC" if "provided that the above copyright notice" in words else "0BSD")
    return found


def _phrases(words: str) -> str | None:
    """What the words of a notice say."""
    found = _families(words) + [name for pattern, name in _BY_PHRASE if pattern.search(words)]
    for hit in _GNU_NAME.finditer(words):
        family = {"affero ": "AGPL-3.0", None: "GPL"}.get(hit[1], "LGPL")
        about = words[max(0, hit.start() - 100) : hit.end() + 160]
        behind = words[hit.end() : hit.end() + 160]
        found.append(_gnu(family, f"{_version_words(behind) or _version_words(about)}"))
    found += [name for hit in _UNDER.finditer(words) if (name := _alias(hit[1]))]
    found = _without_vaguer(list(dict.fromkeys(found)))
    return (" OR " if _CHOICE.search(words) else " AND ").join(found) or None


def _version_words(words: str) -> str:
    hit = re.search(r"(?:version|v) ?([123])(?: ([01]))?\b", words)
    later = "later" if re.search(r"any later version|or later|or any later", words) else ""
    return f"version {hit[1]} {hit[2] or ''} {later}" if hit else ""


def _without_vaguer(found: list[str]) -> list[str]:
    """A notice names its licence several times, at times without the version."""
    vague = [name for name in found if name in ("GPL-1.0-or-later", "LGPL-2.0-or-later")]
    for name in vague:
        family = name.split("-")[0]
        if any(other != name and other.startswith(family) for other in found):
            found.remove(name)
    if any(name.startswith(("LGPL", "AGPL")) for name in found):
        found = [name for name in found if name != "GPL-1.0-or-later"]
    return found


_SPDX_LINE = re.compile(r"(?m)^[^\w\n]{0,12}SPDX-License-Identifier:[ \t]*([^\n\r]{1,300})")


@lru_cache(maxsize=4096)  # heads repeat within a repository
def _notice(comments: str) -> str | None:
    return _phrases(_words(comments)) if speaks_of_rights(comments) else None


def header(text: str) -> str | None:
    """The licence that a file states in its own head, or None."""
    if text.find("SPDX-License-Identifier:", 0, 4096) >= 0:
        lines = [hit[1] for hit in _SPDX_LINE.finditer(text[:4500])]
        stated = [re.sub(r"\s*(?:\*/|-->|\*\)|#\}|\"\"\"|''')?\s*$", "", line) for line in lines]
        if stated:
            return normalise(stated[0])
    comments = head(text)
    return _notice(comments) if comments else None


_FAMILIES = [
    {"MIT", "MIT-0", "X11", "NCSA"},
    {"BSD-1-Clause", "BSD-2-Clause", "BSD-2-Clause-Patent", "BSD-3-Clause", "BSD-3-Clause-Clear"}
    | {"BSD-4-Clause", "BSD-Source-Code", "Apache-1.1", "OpenSSL", "ZPL-2.1", "bzip2-1.0.6"},
    {"GPL-3.0-only", "LGPL-3.0-only", "AGPL-3.0-only", "SSPL-1.0"},
    {"GPL-1.0-only", "GPL-2.0-only"},
    {"LGPL-2.0-only", "LGPL-2.1-only"},
    {"CC-BY-4.0", "CC-BY-SA-4.0", "CC-BY-NC-4.0", "CC-BY-NC-SA-4.0", "CC-BY-ND-4.0"},
    {"CC-BY-3.0", "CC-BY-SA-3.0"},
    {"PSF-2.0", "Python-2.0", "CNRI-Python", "HPND"},
    {"EPL-1.0", "EPL-2.0"},
    {"MS-PL", "MS-RL"},
    {"AFL-3.0", "OSL-3.0"},
    {"ISC", "0BSD"},
    {"ICU", "Unicode-DFS-2016"},
]
_GNU_TITLE = re.compile(
    r"gnu (affero |lesser |library )?general public licen[cs]e version ([123])(?: ([01]))?\b"
)
_BUNDLED = re.compile(
    r"(?i)third[- ]party|bundle[sd]?\b|vendored|following (?:components|libraries|software|files)"
    r"|incorporat|(?:includes?|contains?) (?:code|software|parts)|included (?:software|components|libraries)|portions of|subcomponents"
    r"|licenses? (?:of|for) (?:bundled|included)|(?:files|code|module|library) .{0,60}(?:is|are) (?:copied|derived|taken)"
)


def recognise(text: str) -> str | None:
    """The licence whose text, or whose notice, a licence file holds; None where none is known."""
    text = text[:400_000]
    words = _words(text[:20_000])
    title = _GNU_TITLE.search(words[:400])
    if title and ("preamble" in words[:3000] or "additional permissions" in words[:800]):
        prefix = {"affero ": "AGPL", None: "GPL"}.get(title[1], "LGPL")
        return f"{prefix}-{title[2]}.{title[3] or 0}-only"
    found = _own(text, fingerprints.held(text, LEAST_HELD))
    if not found:
        return _phrases(_words(text[:3000]))
    return " AND ".join(found)


def _own(text: str, found: list[fingerprints.Held]) -> list[str]:
    """The best of each family, and what is only named, before a list of bundled software."""
    best: list[tuple[int, int, str]] = []
    for family in [*_FAMILIES, *({one.name} for one in found if not _in_family(one.name))]:
        members = [(one.share, one.name, one) for one in found if one.name in family]
        if members:
            share, name, one = max(members)
            best.append((one.middle, one.end, _decided(name, share, text)))
    if not best:
        return []
    best.sort()
    border = _bundled_from(text, best[0][1])
    names = [name for middle, _, name in best if middle < border]
    if "NCSA" in names:
        return ["NCSA"]
    first = re.findall(r"[a-z0-9]+", text[:3000].lower())[:border]
    named = (_phrases(" ".join(first)) or "").replace(" OR ", " AND ").split(" AND ")
    names += [name for name in named if name.startswith(_STRICTER) and "-later" not in name]
    return list(dict.fromkeys(names))


_STRICTER = ("MPL", "GPL", "LGPL", "AGPL", "Apache")  # licences that are often only named


def _bundled_from(text: str, after: int) -> int:
    """The number of the word where a text begins to speak of other people's software."""
    starts = [hit.start() for hit in re.finditer(r"(?i)[a-z0-9]+", text)]
    if after + 3 >= len(starts):
        return len(starts)
    hit = _BUNDLED.search(text, starts[after + 3])
    return len(starts) if hit is None else sum(start < hit.start() for start in starts)


def _in_family(name: str) -> bool:
    return any(name in family for family in _FAMILIES)


def _decided(name: str, share: float, text: str) -> str:
    """A finding among near-equal texts, decided by the sentences that tell them apart."""
    if name.startswith("BSD-") and name not in ("BSD-2-Clause-Patent", "BSD-Source-Code"):
        return _bsd(_words(text))
    if name in ("MIT", "MIT-0", "X11"):
        return _mit(_words(text))
    if name in ("ISC", "0BSD"):
        return "ISC" if "provided that the above copyright notice" in _words(text) else "0BSD"
    if (
        name in ("BSD-2-Clause-Patent", "BSD-Source-Code", "ZPL-2.1", "bzip2-1.0.6")
        and share < 0.97
    ):
        return _bsd(_words(text))
    return name


# ---- a repository ------------------------------------------------------------------------------

_FILE = re.compile(
    r"(?i)(?P<base>un?licen[cs]e|licen[cs]es?|copying|copyright|mit-licen[cs]e)"
    r"(?P<variant>[-_.][\w.+-]{1,40})?\Z"
)
_PLAIN_ENDING = re.compile(r"(?i)\.(?:txt|md|rst|markdown|html|adoc|lesser)\Z")
_READ_SOURCE = re.compile(r"(?i)\.(?:py|js|ts|go|c|h|java|rb|rs|json|ya?ml|toml|cmake|sh|in)\Z")


def _licence_file(path: str) -> tuple[str, str] | None:
    """The variant of a licence file ("" for the plain one, "mit", "lesser"), or None."""
    name = PurePosixPath(path).name
    hit = _FILE.match(name)
    if hit is None or _READ_SOURCE.search(name):
        return None
    variant = (hit["variant"] or "").strip("-_.")
    if variant.lower() == "lesser":
        return hit["base"], "lesser"
    return hit["base"], re.sub(
        r"(?i)^(?:txt|md|rst|markdown|html|adoc)$", "", _PLAIN_ENDING.sub("", variant)
    )


def folders(documents: Iterable[Document]) -> dict[str, str | None]:
    """The licence that each folder's own licence files state; None: one that nobody recognises."""
    plain: dict[str, list[str | None]] = {}
    variants: dict[str, list[str | None]] = {}
    for document in sorted(documents, key=lambda one: one.path):
        named = _licence_file(document.path)
        if named is None or not document.text.strip():
            continue
        folder = str(PurePosixPath(document.path).parent)
        expression = recognise(document.text)
        if named[1] == "lesser":
            plain[folder] = [expression]
            variants.pop(folder, None)
        elif not named[1]:
            plain.setdefault(folder, []).append(expression)
        elif expression or _alias(named[1]):
            variants.setdefault(folder, []).append(expression or _alias(named[1]))
    result = {}
    for folder in plain.keys() | variants.keys():
        first = [name for name in plain.get(folder, []) if name]
        choice = [name for name in variants.get(folder, []) if name]
        chosen = first[:1] if first else list(dict.fromkeys(choice))
        result[folder] = (
            " OR ".join(f"({c})" if " AND " in c and len(chosen) > 1 else c for c in chosen) or None
        )
    return result


def assign(documents: Iterable[Document], metadata: str | None = None) -> dict[str, str | None]:
    """The licence of each path of one repository; `metadata` is what its package states."""
    documents = list(documents)
    by_folder = folders(documents)
    stated = normalise(metadata)
    return {one.path: header(one.text) or _upward(one.path, by_folder, stated) for one in documents}


def _depth(folder: str) -> int:
    return 0 if folder == "." else folder.count("/") + 1


def _upward(path: str, by_folder: Mapping[str, str | None], stated: str | None) -> str | None:
    """What the nearest folder with a licence file states; at the root else the metadata."""
    folder = path
    while folder != ".":
        folder = folder.rpartition("/")[0] or "."
        if folder in by_folder:
            root = _depth(folder) == min(map(_depth, by_folder))
            return by_folder[folder] or (stated if root else None)
    return stated
