"""The compiled matcher equals the readable one, whatever the text, the marks and the index."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from midfill.config.corpus.decontamination import Decontamination
from midfill.corpus.decontamination import Index, Item
from midfill.corpus.decontamination.matcher import native

pytestmark = pytest.mark.skipif(native is None, reason="no compiled corpus extension here")

# Few words, so that texts share many; İ and ẞ grow when case is folded, e + U+0301 is composed.
PIECES = [
    *"a b c ab A É e\u0301 0 _ İ ẞ 中 \ud800 \U0001d7d9".split(" "),
    *["-", "-\n", "-\r\n", "\n", "\r", "\r\n", " ", "\t", "\x0b", "\x85", "\u2028", "\x00"],
    *["#", "//", "/*", "*/", '"""', "--", "=begin", "=BEGIN", "=end", "\u0301", "\u037e"],
]
SPACED = st.lists(st.sampled_from(PIECES), max_size=60).map(" ".join)
TIGHT = st.lists(st.sampled_from(PIECES), max_size=60).map("".join)
TEXT = SPACED | TIGHT | st.text(max_size=60)
MARKS = st.lists(
    st.sampled_from(
        [("#", ""), ("//", ""), ("/*", "*/"), ('"""', '"""'), ("=begin", "=end"), ("--", "")]
    ),
    max_size=4,
    unique=True,
).map(lambda marks: tuple(sorted(marks, key=lambda mark: (-len(mark[0]), mark))))


@settings(max_examples=250, deadline=None)
@given(
    st.lists(st.tuples(SPACED | TIGHT, st.sampled_from(["text", "solution"])), max_size=6),
    st.lists(TEXT, max_size=4),
    MARKS,
    st.integers(2, 5),
    st.data(),
)
def test_both_matchers_find_the_same(texts, files, marks, n, data):
    shortest = data.draw(st.integers(1, n))
    items = [Item("set", str(i), kind, text) for i, (text, kind) in enumerate(texts)]
    index = Index.from_texts(items, Decontamination(n=n, shortest=shortest, informative=0))
    compiled, readable = index.compiled_matcher(), index.readable_matcher()
    for text in [*files, *(text for text, _ in texts), "\n# ".join(text for text, _ in texts)]:
        assert compiled.find(text, marks) == readable.find(text, marks)


@settings(max_examples=100, deadline=None)
@given(st.lists(st.sampled_from("ab cd ef".split()), min_size=3, max_size=90), TEXT, TEXT)
def test_a_planted_text_is_always_found(words, before, after):
    text = " ".join(words)
    index = Index.from_texts([("set", "task", text)])
    for matcher in (index.compiled_matcher(), index.readable_matcher()):
        assert matcher.find(f"{before}\n{text}\n{after}", ())
