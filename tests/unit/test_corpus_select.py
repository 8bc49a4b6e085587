"""Which repositories are held out together, and what a page shows."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest

from midfill.config.corpus.build import CorpusConfig
from midfill.config.corpus.documents import DocumentsConfig, ShardsConfig
from midfill.corpus.documents import assemble
from midfill.corpus.pipeline.select import Rows, Selection, left_out, project_of, select
from midfill.corpus.record import Document
from midfill.corpus.rules.characters import visible_text


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("pypi/Flask-3.1.2", "pypi/flask-2.0"),
        ("pypi/zope.interface-5.0", "debian/python-zope-interface-5.4.0-1"),
        ("npm/lodash-4.17.21", "git/lodash@0123456789ab"),
        ("folder/thing", "debian/thing-1.2.3+dfsg-4"),
    ],
)
def test_releases_of_a_project_are_one(one: str, other: str):
    assert project_of(one) == project_of(other)


@pytest.mark.parametrize(("one", "other"), [("pypi/flask-1.0", "pypi/flask-login-1.0"), ("a", "b")])
def test_other_projects_are_others(one: str, other: str):
    assert project_of(one) != project_of(other)


@pytest.mark.parametrize(
    ("html", "text"),
    [
        ("<p>a</p><p>b &amp; c</p>", "a\n\nb & c\n"),
        ("<ul><li>one<li>two</ul>", "one\ntwo\n"),
        ("x <b>bold</b>  word", "x bold word\n"),
        ("<style>p {}</style><h1>T</h1><script>var a = '<p>';</script>end", "T\nend\n"),
        ("<!-- no -->yes", "yes\n"),
        ("<p", "\n"),
        ("a<br>b", "a\nb\n"),
    ],
)
def test_a_page_is_what_is_seen(html: str, text: str):
    assert visible_text(html) == text


def test_random_is_another_order_in_each_repository():
    names = [f"f{i}.txt" for i in range(8)]
    orders = set()
    for repo in "abcdef":
        files = [Document(repo=repo, path=name, text=name, size=6, sha256="") for name in names]
        config = DocumentsConfig(unit="repository", order="random")
        (one,) = assemble(files, config, seed=0)
        (same,) = assemble(files[::-1], config, seed=0)
        assert one == same
        orders.add(one.paths)
    assert len(orders) == 6


def _rows(documents: Sequence[tuple[str, str, list[int]]]) -> Rows:
    """Documents of ten tokens: repository, language, 64 bits of the contents of each file."""
    repos, languages, contents = zip(*documents, strict=True)
    count = len(documents)
    return Rows(
        id=[f"{repo}:{i}" for i, repo in enumerate(repos)],
        repo=list(repos),
        language=list(languages),
        tokens=np.full(count, 10),
        bytes=np.full(count, 40),
        part=np.zeros(count, np.uint32),
        start=np.arange(count) * 10,
        contents=np.array([one for those in contents for one in those], np.uint64),
        holder=np.repeat(np.arange(count), [len(those) for those in contents]),
    )


# Each repository has a document of its own, one whose second file all have, and one without a
# content that counts.
DOCUMENTS = [(f"r{i}", "C", those) for i in range(40) for those in ([i], [100 + i, 2**63 + 7], [])]
CONFIG = CorpusConfig(shards=ShardsConfig(held_out=0.3))
CATEGORIES = {f"r{i}": "code" for i in range(40)}


def _names(rows: Rows, chosen: np.ndarray) -> set[str]:
    return {rows.id[i] for i in np.flatnonzero(chosen)}


def _chosen(rows: Rows, config: CorpusConfig = CONFIG) -> Selection:
    return select(rows, CATEGORIES, config)


def test_a_held_out_document_with_a_file_of_a_trained_one_is_dropped():
    rows = _rows(DOCUMENTS)
    found = _chosen(rows)
    projects = {rows.repo[i] for i in np.flatnonzero(found.held_out)}
    assert 4 < len(projects) < 20
    assert found.held_out.sum() == 2 * len(projects)
    dropped = np.flatnonzero(found.in_train)
    assert [rows.repo[i] in projects and i % 3 == 1 for i in dropped] == [True] * len(projects)
    assert not (found.in_train & found.of_epoch(0)).any()
    assert left_out(rows, found)["in_train"] == {
        "documents": len(dropped),
        "tokens": 10 * len(dropped),
    }
    assert (found.held_out | found.in_train | found.of_epoch(0)).all()


def test_the_order_of_documents_does_not_matter_to_what_is_held_out():
    rows = _rows(DOCUMENTS)
    order = np.random.default_rng(0).permutation(len(DOCUMENTS))
    shuffled = replace(_rows([DOCUMENTS[i] for i in order]), id=[rows.id[i] for i in order])
    one, other = _chosen(rows), _chosen(shuffled)
    for name in ("held_out", "in_train"):
        assert _names(rows, getattr(one, name)) == _names(shuffled, getattr(other, name))


def test_what_is_not_trained_on_takes_nothing_from_what_is_held_out():
    """The shared file of trained documents is beyond the cap of its language."""
    rows = _rows([(r, "C" if i % 3 != 1 else "Lua", c) for i, (r, _, c) in enumerate(DOCUMENTS)])
    config = replace(CONFIG, shards=replace(CONFIG.shards, language_cap_bytes=1))
    found = _chosen(rows, config)
    assert not found.of_epoch(0).any()
    assert not found.in_train.any()
    reasons = left_out(rows, found)
    assert reasons["language_cap"]["documents"] == len(DOCUMENTS) - found.held_out.sum()
    assert reasons["mix"]["documents"] == 0
