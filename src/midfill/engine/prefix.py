"""Pages that have been read, found again by the tokens they hold: a tree of whole pages.

A path from the root spells a text; whoever begins with the same text shares its pages. Besides its
tokens, a page's key says which form of latent attention wrote it: the forms differ in the last
bits. The tree holds each of its pages once; a page that nobody else holds may be evicted.
"""

import heapq
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import count

from midfill.engine.pages import PagePool

Key = tuple[bool, tuple[int, ...]]  # written in the expanded form; its tokens


@dataclass(eq=False, slots=True)
class Node:
    """One page, behind the pages of its parents."""

    key: Key
    page: int
    parent: "Node | None"
    used: int = 0  # when a sequence last let go of it; more is later
    children: dict[Key, "Node"] = field(default_factory=dict)


class PrefixTree:
    """Whole pages by what they hold, the least recently used evicted first.

    `strict`: only pages written in the form that is asked for are found. A sequence must hold all
    pages between the root and the page it adds.
    """

    def __init__(self, pool: PagePool, *, strict: bool = True) -> None:
        self.pool = pool
        self.strict = strict
        self.root = Node((False, ()), -1, None)
        self._nodes: dict[int, Node] = {}  # by page
        self._clock = count(1)
        self._idle: list[tuple[int, int]] = []  # heap of (used, page), some of them out of date

    def __len__(self) -> int:
        return len(self._nodes)

    @property
    def evictable(self) -> int:
        """How many pages nobody else holds."""
        return sum(self.pool.refs[page] == 1 for page in self._nodes)

    def child(self, node: Node, tokens: Sequence[int], *, expanded: bool) -> Node | None:
        """The page behind `node` that holds `tokens`, if it has been read."""
        key = tuple(tokens)
        found = node.children.get((expanded, key))
        if found is None and not self.strict:
            found = node.children.get((not expanded, key))
        return found

    def add(self, node: Node, tokens: Sequence[int], page: int, *, expanded: bool) -> Node:
        """Keep `page`, which holds `tokens`, behind `node`."""
        key = (expanded, tuple(tokens))
        assert key not in node.children
        assert node is self.root or self._nodes.get(node.page) is node, "its parent was evicted"
        self.pool.share(page)
        child = node.children[key] = self._nodes[page] = Node(key, page, node)
        return child

    def release(self, page: int) -> None:
        """A sequence lets go of `page`, in the tree or not; of its last page first."""
        left = self.pool.drop(page)
        node = self._nodes.get(page)
        if node is not None:
            node.used = next(self._clock)
            if left == 1:
                self._offer(node)

    def evict(self) -> bool:
        """Free the page that was not used for longest; False when every page is in use."""
        while self._idle:
            used, page = heapq.heappop(self._idle)
            node = self._nodes.get(page)
            if node is not None and node.used == used and self._is_idle(node):
                self._remove(node)
                return True
        return False

    def detach(self, node: Node) -> bool:
        """Leave the page of `node` to the one sequence that holds it; False when it is shared."""
        if node.children or self.pool.refs[node.page] != 2:
            return False
        self._remove(node)
        return True

    def clear(self) -> None:
        """Evict all that is not in use."""
        while self.evict():
            pass

    def _is_idle(self, node: Node) -> bool:
        return not node.children and self.pool.refs[node.page] == 1

    def _remove(self, node: Node) -> None:
        assert node.parent is not None
        del node.parent.children[node.key], self._nodes[node.page]
        self.pool.drop(node.page)
        self._offer(node.parent)

    def _offer(self, node: Node) -> None:
        """Remember that `node` may be evicted, if it may."""
        if node is self.root or not self._is_idle(node):
            return
        if len(self._idle) > 2 * len(self._nodes) + 64:  # mostly out of date by now
            self._idle = [(n.used, n.page) for n in self._nodes.values() if self._is_idle(n)]
            heapq.heapify(self._idle)
        heapq.heappush(self._idle, (node.used, node.page))
