"""One page for each address, and one of pages that are nearly the same."""

import hashlib
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from midfill.config.corpus.duplicates import Duplicates
from midfill.corpus.duplicates.exact import remove_copies
from midfill.corpus.duplicates.run import near_duplicates
from midfill.corpus.duplicates.sketch import Sketch, shingle_set, sketch
from midfill.corpus.recall.on_disk import OnDisk, texts, to_utf8
from midfill.corpus.recall.pages import Page, normal_url
from midfill.corpus.record import Document

_DUPLICATES = Duplicates(level="file", exact="drop")


def one_per_url(pages: Iterable[Page], folder: Path | None = None) -> OnDisk[str]:
    """The text of each normal address; of several the longest, then the one of smallest digest.

    The result does not depend on the order of the pages. `folder` is where their texts lie.
    """
    found = texts(folder)
    ranks: dict[str, tuple[int, bytes]] = {}
    for page in pages:
        url, coded = normal_url(page.url), to_utf8(page.text)
        rank = (-len(coded), hashlib.sha256(coded).digest())
        if url not in ranks or rank < ranks[url]:
            ranks[url], found[url] = rank, page.text
    return found


def leave_out_near_duplicates(pages: OnDisk[str]) -> None:
    """Of pages that are nearly the same, keep one. Memory: a sketch of each page."""
    without_text, sketches = list[Document](), list[Sketch]()
    for url, text in pages.items():
        digest = hashlib.sha256(to_utf8(text)).hexdigest()
        page = Document(repo=url, path="", text=text, size=len(text), sha256=digest)
        sketches += sketch([page], _DUPLICATES)
        without_text.append(replace(page, text=""))
    urls = {page.id: page.repo for page in without_text}
    gone = set(remove_copies(without_text, _DUPLICATES))
    left = [one for one in sketches if one.id not in gone]
    near = near_duplicates(
        left, lambda page: shingle_set([pages[urls[page]]], _DUPLICATES), _DUPLICATES
    )
    for page in gone.union(near):
        del pages[urls[page]]
