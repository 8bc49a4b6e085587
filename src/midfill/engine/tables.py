"""Which pages each sequence has: whole ones are shared through the prefix tree, the rest its own."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from midfill.engine.pages import PagePool
from midfill.engine.prefix import Node, PrefixTree
from midfill.engine.runner import PAGE, Runner


def pages_for(tokens: int) -> int:
    """How many pages hold `tokens`."""
    return -(-tokens // PAGE)


@dataclass(eq=False, slots=True)
class Table:
    """The pages of one sequence, in order."""

    node: Node  # the last of those in the tree, or its root
    pages: list[int] = field(default_factory=list)
    whole: int = 0  # so many, from the first on, are in the tree
    shifted: bool = False  # no longer what its tokens alone would give: not for others


class Tables:
    """All tables of a runner. `grid`: tokens below it are read in the expanded form."""

    def __init__(self, runner: Runner, *, strict: bool = True) -> None:
        self.runner = runner
        self.pool = PagePool(runner.pages)
        self.tree = PrefixTree(self.pool, strict=strict)
        self.evicted = 0

    @property
    def room(self) -> int:
        """How many pages are free, or would be after eviction."""
        return self.pool.free + self.tree.evictable

    def new(self) -> Table:
        """A table without pages."""
        return Table(self.tree.root)

    def grow(self, table: Table, tokens: int) -> bool:
        """Take pages until `tokens` fit; False when no more are to be had."""
        while len(table.pages) * PAGE < tokens:
            page = self._take()
            if page is None:
                return False
            table.pages.append(page)
        return True

    def _take(self) -> int | None:
        page = self.pool.take()
        if page is None and self.tree.evict():
            self.evicted += 1
            page = self.pool.take()
        if page is not None:
            self.runner.clear_page(page)
        return page

    def extend(self, table: Table, tokens: Sequence[int], most: int, grid: int) -> int:
        """Share the next pages others have read, up to `most` in all; how many were found."""
        before = table.whole
        while table.whole == len(table.pages) < most and not table.shifted:
            node = self._next(table.node, tokens, table.whole, grid)
            if node is None:
                break
            self.pool.share(node.page)
            table.pages.append(node.page)
            table.node, table.whole = node, table.whole + 1
        return table.whole - before

    def _next(self, node: Node, tokens: Sequence[int], number: int, grid: int) -> Node | None:
        start, end = number * PAGE, (number + 1) * PAGE
        return self.tree.child(node, tokens[start:end], expanded=end <= grid)

    def same_form(self, grid: int, other: int, end: int) -> bool:
        """Whether pages up to position `end` written on grid `other` serve those of `grid`."""
        return not self.tree.strict or min(grid, end) == min(other, end)

    def keep(self, table: Table, tokens: Sequence[int], read: int, grid: int) -> None:
        """Put pages whose tokens are all read into the tree; if it has the same, take its page."""
        while (end := (table.whole + 1) * PAGE) <= read and not table.shifted:
            page = table.pages[table.whole]
            node = self._next(table.node, tokens, table.whole, grid)
            if node is None:
                part = tokens[end - PAGE : end]
                node = self.tree.add(table.node, part, page, expanded=end <= grid)
            elif node.page != page:
                self.pool.share(node.page)
                self.pool.drop(page)
                table.pages[table.whole] = node.page
            table.node, table.whole = node, table.whole + 1

    def fork(self, table: Table) -> Table | None:
        """A table with the same content: whole pages shared, the last one copied; None: no room."""
        twin = Table(table.node, table.pages[: table.whole], table.whole)
        for page in twin.pages:
            self.pool.share(page)
        for source in table.pages[table.whole :]:
            page = self._take()
            if page is None:
                self.release(twin)
                return None
            self.runner.copy_page(source, page)
            twin.pages.append(page)
        return twin

    def release(self, table: Table) -> None:
        """Let go of all pages: those in the tree stay there until the room is needed."""
        for page in reversed(table.pages):
            self.tree.release(page)
        table.pages, table.node, table.whole, table.shifted = [], self.tree.root, 0, False

    def needed(self, tokens: Sequence[int], grid: int) -> int:
        """How many pages of `room` a new sequence of `tokens` and one more will take."""
        node, number, in_use = self.tree.root, 0, 0
        while number < (len(tokens) - 1) // PAGE:
            found = self._next(node, tokens, number, grid)
            if found is None:
                break
            node, number = found, number + 1
            in_use += self.pool.refs[found.page] > 1
        return pages_for(len(tokens) + 1) - in_use

    def shift(self, table: Table, head: int, dropped: int) -> bool:
        """Drop `dropped` pages behind the first `head`, move the rest back; False: no room."""
        if not self._own(table, head + dropped):
            return False
        for page in reversed(table.pages[head : head + dropped]):
            self.tree.release(page)
        del table.pages[head : head + dropped]
        while table.whole > head:
            assert table.node.parent is not None
            table.node, table.whole = table.node.parent, table.whole - 1
        self.runner.rotate(table.pages[head:], -dropped * PAGE)
        table.shifted = True
        return True

    def _own(self, table: Table, first: int) -> bool:
        """Make page `first` and those behind it this sequence's own."""
        while table.whole > first:
            node = table.node
            assert node.parent is not None
            if not self.tree.detach(node):
                page = self._take()
                if page is None:
                    return False
                self.runner.copy_page(node.page, page)
                self.tree.release(node.page)
                table.pages[table.whole - 1] = page
            table.node, table.whole = node.parent, table.whole - 1
        return True
