"""Make a small web out of the documentation inside Debian packages.

It stands in for Common Crawl, which this project's machines cannot reach: a few thousand real pages of
documentation and prose in several human languages, but cleaner than the web, with the project of a
package as its domain and a hand-given subject for each package instead of judged pages.

    python scripts/build_web_pages.py DEBS --out pages.jsonl [--fetch] [--pages 40]

DEBS is a folder of .deb files; `--fetch` lets `apt-get download` put the missing ones there. A line of
the output has url, text, topic (code, math, other) and package. Nothing of it belongs into a repository.
"""

import argparse
import gzip
import hashlib
import html
import io
import json
import re
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from pathlib import Path

# Programming languages, libraries and developers' tools are code; administration and use of programs
# are not. Projects about computing mathematics are math, also where they are programs.
TOPICS = {
    "code": """
        abs-guide ant-doc antlr4-doc apache2-doc autoconf-doc bash-doc c++-annotations-html
        chezscheme-doc cmake-doc cmocka-doc coccinelle-doc coffeescript-doc cppreference-doc-en-html
        crystal-doc cython-doc dbus-1-doc docker-doc doxygen-doc emscripten-doc freetype2-doc git-doc
        gradle-doc groovy-doc guile-3.0-doc libboost-doc libbotan-2-doc libcairo2-doc libcurl4-doc
        libfmt-doc libgccjit-12-doc libghc-aeson-doc libglib2.0-doc libgtk-3-doc libharfbuzz-doc
        libstdc++-12-doc nodejs-doc postgresql-doc-15 python-behave-doc python-bs4-doc
        python-celery-doc python-cmd2-doc python-distributed-doc python-flask-doc python3.11-doc
        ruby3.1-doc sqlite3-doc
    """,
    "math": """
        acl2-doc agda-stdlib-doc apophenia-doc drgeo-doc euler-doc fricas-doc gap-design gap-doc
        gap-factint gap-gapdoc gap-grape gap-guava gap-laguna gap-polycyclic gap-sonata
        geographiclib-doc giac-doc glpk-doc hol88-doc libcdd-doc libcommons-math3-java-doc
        libfftw3-doc libflint-arb-doc libgivaro-doc macaulay2-common maxima-doc octave-doc
        octave-interval-doc prover9-doc python-cvxopt-doc python-mpmath-doc python-sympy-doc
        r-doc-html scilab-doc singular-doc yacas-doc
    """,
    "other": """
        alpine-doc anarchism aptitude-doc-en aptitude-doc-ja aptitude-doc-ru aspell-doc
        bible-kjv-text bird2-doc cfi-en cfi-sv claws-mail-doc copyq-doc crossfire-doc debian-faq
        debian-faq-ja debian-faq-ko debian-faq-ru debian-faq-zh-cn debian-history debian-policy
        debian-policy-ja debian-reference-de debian-reference-en debian-reference-es
        debian-reference-fr debian-reference-ja debian-reference-zh-cn denemo-doc
        developers-reference developers-reference-de developers-reference-ja dict-devil
        dict-elements dict-jargon display-dhammapada doublecmd-help-ru engauge-digitizer-doc
        enigma-doc focalinux-html fortunes fortunes-de fortunes-es fortunes-it fortunes-pl
        fortunes-ru fortunes-zh gnome-user-docs gnumed-doc gsequencer-doc hamradio-maintguide
        inkscape-tutorials libreoffice-help-de libreoffice-help-en-us libreoffice-help-ja
        libreoffice-help-zh-cn lilypond-doc-html lilypond-doc-html-de lilypond-doc-html-es
        lilypond-doc-html-fr lilypond-doc-html-ja lilypond-doc-html-zh miscfiles nethack-spoilers
        tellico-doc
    """,
}
TOPIC_OF = {name: topic for topic, names in TOPICS.items() for name in names.split()}
TEXTS = (".html", ".htm", ".xhtml", ".txt", ".text", ".page")
LEFT_OUT = re.compile(
    r"changelog|copyright|NEWS|README\.Debian|genindex|search\.html|/_sources/|/man/|licen[cs]e",
    re.I,
)
FORTUNES = re.compile(r"/games/fortunes/[^.]+$")
LARGEST = 400_000  # bytes of one page as it is packed
LONGEST = 4_000  # characters of a page's text; more of the same page adds little
SHORTEST = 300

# Each pattern also ends at the end of the text, so that nothing is scanned twice.
HIDDEN = re.compile(r"<(script|style|head)\b.*?(?:</\1\s*>|\Z)|<!--.*?(?:-->|\Z)", re.I | re.S)
TAG = re.compile(r"<[^<>]{0,5000}>")
BLANKS = re.compile(r"[ \t\r\f\v]+")
LINES = re.compile(r"\s*\n\s*")
CHARSET = re.compile(rb"charset=[\"']?([\w-]+)", re.I)


def main() -> None:
    """Write the pages and print how many there are of each topic."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("debs", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--fetch", action="store_true")
    parser.add_argument("--pages", type=int, default=40, help="of one package, at most")
    args = parser.parse_args()
    if args.fetch:
        fetch(args.debs)
    counts = dict.fromkeys(TOPICS, 0)
    with args.out.open("w", encoding="utf-8") as out:
        for package, topic in sorted(TOPIC_OF.items()):
            found = sorted(args.debs.glob(f"{package}_*.deb"))
            rows = list(pages(found[-1], args.pages)) if found else []
            for path, text in rows:
                url = f"https://{package}.example/{path}"
                row = {"url": url, "text": text, "topic": topic, "package": package}
                out.write(json.dumps(row, ensure_ascii=False) + "\n")
            counts[topic] += len(rows)
            print(package, len(rows) if found else "missing", file=sys.stderr, flush=True)
    print(json.dumps(counts))


def fetch(folder: Path) -> None:
    """Have the missing packages downloaded; those that are in no index are named and left out."""
    folder.mkdir(parents=True, exist_ok=True)
    for package in TOPIC_OF:
        if not list(folder.glob(f"{package}_*.deb")):
            done = subprocess.run(["apt-get", "download", package], cwd=folder, check=False)
            if done.returncode:
                print(f"{package}: not downloaded", file=sys.stderr)


def pages(deb: Path, most: int) -> Iterator[tuple[str, str]]:
    """Paths and texts of at most so many pages of a package, chosen by a hash of their paths."""
    files = dict(members(deb))
    for path in sorted(files, key=lambda path: hashlib.sha256(path.encode()).digest()):
        text = readable(path, files[path])
        if len(text) >= SHORTEST and most > 0:
            most -= 1
            yield short_path(path), text


def members(deb: Path) -> Iterator[tuple[str, bytes]]:
    """The pages of a package as they are packed."""
    with subprocess.Popen(
        ["dpkg-deb", "--fsys-tarfile", str(deb)], stdout=subprocess.PIPE
    ) as unpack:
        assert unpack.stdout is not None
        with tarfile.open(fileobj=unpack.stdout, mode="r|") as tar:
            for member in tar:
                path = member.name.removeprefix("./")
                if member.isreg() and 0 < member.size <= LARGEST and is_page(path):
                    file = tar.extractfile(member)
                    assert file is not None
                    yield path, file.read()


def is_page(path: str) -> bool:
    """Whether a file of a package is a page for readers."""
    name = path.removesuffix(".gz")
    if LEFT_OUT.search(path):
        return False
    return name.endswith(TEXTS) or FORTUNES.search(name) is not None or "/dictd/" in name


def readable(path: str, data: bytes) -> str:
    """The visible text of a page, cut to a length; empty where it is none."""
    if path.endswith((".gz", ".dz")):
        try:
            with gzip.open(io.BytesIO(data)) as file:
                data = file.read(LARGEST)
        except (OSError, EOFError):
            return ""
    declared = CHARSET.search(data[:2000])
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError:
        try:
            text = data.decode(declared.group(1).decode() if declared else "latin-1")
        except (LookupError, UnicodeDecodeError):
            return ""
    if "\0" in text:
        return ""
    if path.removesuffix(".gz").endswith((".html", ".htm", ".xhtml", ".page")):
        text = html.unescape(TAG.sub(" ", HIDDEN.sub(" ", text)))
    text = LINES.sub("\n", BLANKS.sub(" ", text)).strip()
    start = len(text) // 10 if len(text) > 2 * LONGEST else 0  # past menus and prefaces
    return text[start : start + LONGEST]


def short_path(path: str) -> str:
    """A page's path without where Debian puts documentation."""
    return re.sub(r"^usr/share/(?:doc/|gtk-doc/html/|games/)?", "", path)


if __name__ == "__main__":
    main()
