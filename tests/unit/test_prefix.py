"""The prefix tree and the tables over it: what is found, shared, evicted, copied."""

import pytest

from history_runner import HistoryRunner
from midfill.engine.pages import PagePool
from midfill.engine.prefix import PrefixTree
from midfill.engine.runner import GRID, PAGE, Span
from midfill.engine.tables import Tables


def text(*pages: int) -> list[int]:
    """A text whose page i is all `pages[i]`."""
    return [token for page in pages for token in [page] * PAGE]


class Reader:
    """A sequence that reads its tokens at once and keeps its pages."""

    def __init__(self, tables: Tables, tokens: list[int], grid: int = 0):
        self.tables = tables
        self.table = tables.new()
        most = (len(tokens) - 1) // PAGE
        self.found = tables.extend(self.table, tokens, most, grid)
        start = self.found * PAGE
        assert tables.grow(self.table, len(tokens))
        span = Span(tokens=tokens[start:], start=start, pages=self.table.pages, expanded=grid)
        tables.runner.step([span])
        tables.keep(self.table, tokens, len(tokens), grid)

    def leave(self) -> None:
        self.tables.release(self.table)


@pytest.fixture
def tables() -> Tables:
    return Tables(HistoryRunner(8))


# ---------------------------------------------------------------------------------------- finding


def test_the_longest_common_run_of_whole_pages_is_found(tables):
    first = Reader(tables, text(1, 2, 3) + [4] * 10)
    assert first.found == 0
    assert Reader(tables, text(1, 2, 3) + [4] * 30).found == 3
    assert Reader(tables, text(1, 2, 9)).found == 2
    assert Reader(tables, text(2, 3)).found == 0  # the same pages behind another beginning


def test_the_last_token_is_never_found(tables):
    Reader(tables, text(1, 2))
    assert Reader(tables, text(1, 2)).found == 1
    assert Reader(tables, [*text(1, 2), 7]).found == 2


def test_those_who_read_the_same_at_once_share_one_page_afterwards(tables):
    one, other = tables.new(), tables.new()
    for table in (one, other):
        tables.grow(table, PAGE)
    assert tables.pool.used == 2
    for table in (one, other):
        tables.keep(table, text(1), PAGE, 0)
    assert one.pages == other.pages
    assert tables.pool.used == 1
    assert tables.pool.refs[one.pages[0]] == 3


def test_strict_finds_only_pages_of_the_same_form():
    short, long = text(1, 2, 3, 4, 5), text(1, 2, 3, 4, 5, 6, 7, 8, 9)
    assert GRID == 4 * PAGE
    strict = Tables(HistoryRunner(32), strict=True)
    Reader(strict, short, grid=GRID)
    assert Reader(strict, long, grid=2 * GRID).found == 4  # the fifth was read absorbed
    assert Reader(strict, short + text(6), grid=GRID).found == 5
    assert Reader(strict, short, grid=0).found == 0
    fast = Tables(HistoryRunner(32, forms=False), strict=False)
    Reader(fast, short, grid=GRID)
    assert Reader(fast, long, grid=2 * GRID).found == 5
    assert Reader(fast, short, grid=0).found == 4


# --------------------------------------------------------------------------------------- eviction


def test_what_was_not_used_for_longest_is_evicted_first_and_leaves_before_stems(tables):
    for tokens in (text(1, 2), text(1, 3), text(4)):
        Reader(tables, tokens).leave()
    Reader(tables, [*text(1, 2), 5]).leave()  # used again
    tree = tables.tree
    assert (len(tree), tree.evictable) == (4, 4)

    def left() -> list[tuple[int, ...]]:
        found = []
        for node in list(tree._nodes.values()):
            path = []
            while node.parent is not None:
                path.insert(0, node.key[1][0])
                node = node.parent
            found.append(tuple(path))
        return sorted(found)

    assert left() == [(1,), (1, 2), (1, 3), (4,)]
    for rest in ([(1,), (1, 2), (4,)], [(1,), (1, 2)], [(1,)], []):
        assert tree.evict()
        assert left() == rest
    assert not tree.evict()
    assert tables.pool.free == 8


def test_pages_in_use_are_not_evicted(tables):
    Reader(tables, text(1, 2, 3))
    Reader(tables, text(4, 5, 6)).leave()
    last = Reader(tables, text(7, 8, 9, 10, 11))  # takes the two free and the three idle ones
    assert tables.evicted == 3
    assert tables.pool.free == 0
    assert not tables.grow(last.table, 6 * PAGE)
    assert len(tables.tree) == 8


def test_the_heap_of_idle_pages_stays_small():
    tables = Tables(HistoryRunner(8))
    for _ in range(1000):
        Reader(tables, text(1, 2)).leave()
    assert len(tables.tree._idle) <= 2 * len(tables.tree) + 65
    tables.tree.clear()
    assert tables.pool.free == 8


def test_adding_behind_an_evicted_page_is_a_bug():
    pool = PagePool(2)
    tree = PrefixTree(pool)
    first = tree.add(tree.root, [1], pool.take(), expanded=False)
    tree.release(first.page)
    assert tree.evict()
    with pytest.raises(AssertionError, match="evicted"):
        tree.add(first, [2], pool.take(), expanded=False)


# ------------------------------------------------------------------------------- copies and shifts


def test_a_fork_shares_whole_pages_and_copies_the_last(tables):
    reader = Reader(tables, text(1, 2) + [3] * 5)
    twin = tables.fork(reader.table)
    assert twin.pages[:2] == reader.table.pages[:2]
    assert twin.pages[2] != reader.table.pages[2]
    runner = tables.runner
    assert runner.slots[twin.pages[2]] == runner.slots[reader.table.pages[2]]
    before = list(runner.slots[reader.table.pages[2]])
    runner.step([Span(tokens=[9], start=2 * PAGE + 5, pages=twin.pages)])
    assert runner.slots[reader.table.pages[2]] == before
    tables.release(twin)
    reader.leave()
    tables.tree.clear()
    assert tables.pool.free == 8


def test_a_fork_without_a_page_leaves_nothing_behind():
    tables = Tables(HistoryRunner(2))
    reader = Reader(tables, [1] * (PAGE + 1))
    refs = list(tables.pool.refs)
    assert tables.fork(reader.table) is None
    assert tables.pool.refs == refs


def test_a_shift_moves_its_own_pages_and_copies_shared_ones(tables):
    tokens = text(1, 2, 3) + [4] * 5
    first, second = Reader(tables, tokens), Reader(tables, tokens)
    assert second.found == 3
    old = list(first.table.pages)
    assert tables.shift(first.table, head=1, dropped=1)
    assert first.table.pages[0] == old[0]
    assert first.table.pages[1] not in old  # a copy: the other still needs page 3 where it was
    assert second.table.pages[:3] == old[:3]
    tables.runner.step([Span(tokens=[5], start=PAGE * 2 + 5, pages=first.table.pages)])
    tables.runner.step([Span(tokens=[5], start=PAGE * 3 + 5, pages=second.table.pages)])
    size = len(tables.tree)
    tables.keep(first.table, text(1, 3) + [4] * PAGE, 3 * PAGE, 0)
    assert len(tables.tree) == size  # nobody else may have what was shifted
    first.leave()
    assert tables.shift(second.table, head=1, dropped=1)  # alone now: nothing to copy
    assert second.table.pages == [old[0], old[2], second.table.pages[2]]
    second.leave()
    tables.tree.clear()
    assert tables.pool.free == 8
