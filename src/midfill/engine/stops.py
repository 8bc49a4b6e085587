"""Stop strings in streamed text: found across token borders, never shown in part."""

from collections.abc import Sequence


class StopScanner:
    """Passes text on until a stop string appears; holds back what could still become one.

    Of several, the one that is complete first counts (of two that end together the longer one),
    so the answer does not depend on how the text was cut.
    """

    def __init__(self, stops: Sequence[str]) -> None:
        self.stops = tuple(stops)
        self.held = ""
        self.found: str | None = None

    def push(self, text: str) -> str:
        """The text that may be shown now. Once `found` is set, nothing more ever is."""
        if self.found is not None:
            return ""
        self.held += text
        hits = [(at, stop) for stop in self.stops if (at := self.held.find(stop)) >= 0]
        if hits:
            at, self.found = min(hits, key=lambda hit: (hit[0] + len(hit[1]), hit[0]))
            shown, self.held = self.held[:at], ""
            return shown
        keep = self._possible_start()
        shown, self.held = self.held[: len(self.held) - keep], self.held[len(self.held) - keep :]
        return shown

    def finish(self) -> str:
        """What was held back: no stop string came of it."""
        shown, self.held = self.held, ""
        return shown

    def _possible_start(self) -> int:
        """Length of the longest end of `held` that begins a stop string."""
        longest = min(len(self.held), max((len(s) - 1 for s in self.stops), default=0))
        for size in range(longest, 0, -1):
            if any(stop.startswith(self.held[-size:]) for stop in self.stops):
                return size
        return 0
