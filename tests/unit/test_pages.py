"""The pool of pages: who holds what."""

import pytest

from midfill.engine.pages import PagePool


def test_the_lowest_free_page_comes_first():
    pool = PagePool(4)
    assert [pool.take() for _ in range(5)] == [0, 1, 2, 3, None]
    for page in (2, 0, 3):
        pool.drop(page)
    assert (pool.free, pool.used) == (3, 1)
    assert [pool.take() for _ in range(3)] == [0, 2, 3]


def test_a_page_is_free_when_the_last_holder_leaves():
    pool = PagePool(1)
    page = pool.take()
    pool.share(page)
    assert (pool.drop(page), pool.free) == (1, 0)
    assert (pool.drop(page), pool.free) == (0, 1)


def test_a_free_page_can_be_neither_shared_nor_dropped():
    pool = PagePool(2)
    with pytest.raises(AssertionError, match="page 1 is free"):
        pool.share(1)
    with pytest.raises(AssertionError, match="page 1 is free"):
        pool.drop(1)
