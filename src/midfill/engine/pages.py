"""The pool of cache pages: which are free, and how many hold on to each of the others."""

import heapq


class PagePool:
    """Page numbers with reference counts; what a page holds is the runner's business."""

    def __init__(self, pages: int) -> None:
        self.refs = [0] * pages
        self._free = list(
            range(pages)
        )  # a heap: the lowest first, so that neighbours stay together

    @property
    def free(self) -> int:
        """How many pages nobody holds."""
        return len(self._free)

    @property
    def used(self) -> int:
        """How many pages somebody holds."""
        return len(self.refs) - len(self._free)

    def take(self) -> int | None:
        """A free page, held once from now on; None when there is none."""
        if not self._free:
            return None
        page = heapq.heappop(self._free)
        self.refs[page] = 1
        return page

    def share(self, page: int) -> None:
        """Hold `page` once more."""
        assert self.refs[page] > 0, f"page {page} is free"
        self.refs[page] += 1

    def drop(self, page: int) -> int:
        """Hold `page` once less; it is free when the answer, who still holds it, is 0."""
        assert self.refs[page] > 0, f"page {page} is free"
        self.refs[page] -= 1
        if not self.refs[page]:
            heapq.heappush(self._free, page)
        return self.refs[page]
