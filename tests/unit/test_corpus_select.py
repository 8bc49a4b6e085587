"""Which repositories are held out together, and what a page shows."""

import pytest

from midfill.config.corpus.documents import DocumentsConfig
from midfill.corpus.documents import assemble
from midfill.corpus.pipeline.select import project_of
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
