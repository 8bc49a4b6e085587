"""Speculation without a second model: code that is rewritten mostly repeats what was read.

A `Lookup` follows one answer. Where its last tokens stood before, in the prompt or in the answer
itself, what stood behind them there is the draft. Behind a long match nearly everything is right,
behind a short one little: how much, is counted for every token of the answer, drafted or not, so
nothing must be tried to be learned. A draft is as long as pays best at what a step of so many rows
costs, and a loss is bounded whatever the text. Token ids only.
"""

from array import array
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping, Sequence

# Rows of a step -> its time in steps of one row: Qwen2.5-Coder-1.5B Q4_K_M, and V2-Lite Q4_0 with random
# weights, whose rows choose experts of their own. Two Zen 5 cores, bench/row_costs.py.
DENSE_COSTS = {1: 1.0, 2: 1.24, 4: 1.62, 8: 2.39, 16: 4.03}
MOE_COSTS = {1: 1.0, 2: 1.16, 4: 1.45, 8: 2.27, 16: 3.84}

MOST_DRAFT = 15
SHORT, LONG = 3, 8  # tokens of a match that is looked up; a long one is worth leaving a shorter
COUNTED = 32  # longer matches are no better
CANDIDATES = (
    3  # places with the same SHORT tokens, or with the same token nearby, that are compared
)
BACK, AHEAD = 16, 96  # tokens around an edited place within which the text may go on as before
ID_BITS = 21  # enough for any vocabulary
SHORT_BITS, LONG_BITS = (1 << ID_BITS * SHORT) - 1, (1 << ID_BITS * LONG) - 1

# How often the next token is right, by the length of the match: what is assumed before anything
# was counted. Ours, from edits of Python files.
LENGTHS = (0, 1, 2, 3, 4, 6, 8, 16, 32)  # each up to the next
ANYWHERE = (0.0, 0.1, 0.2, 0.4, 0.55, 0.65, 0.8, 0.9, 0.97)
NEARBY = (0.0, 0.35, 0.6, 0.75, 0.85, 0.9, 0.92, 0.95, 0.97)  # where the text was last followed
LEARNING = 0.06  # weight of one token against all before
CLASS = [bisect_right(LENGTHS, length) - 1 for length in range(COUNTED + 1)]

# What drafts may lose, in steps of one row: so much at once, and so much for each token.
GRACE, ALLOWANCE = 1.0, 0.015
MOST_SPARE = 4.0  # steps gained before that may be risked


class Lookup:
    """Drafts for one answer: give it what is accepted, ask it what may follow."""

    def __init__(
        self, tokens: Iterable[int] = (), *, step_costs: Mapping[int, float] = DENSE_COSTS
    ) -> None:
        """`tokens` is the prompt, or it is the first that `extend` is given.

        `step_costs` maps the rows of a step to its time in steps of one row.
        """
        self.tokens: list[int] = []
        self.drafted = self.accepted = 0
        self._costs = costs_by_rows(step_costs)
        self._spare = GRACE
        self._rates = {False: list(ANYWHERE), True: list(NEARBY)}
        self._at = -1  # the token expected next; -1: none is
        self._length = 0  # tokens in front of it that match
        self._near = False  # whether it was found near the anchor
        self._anchor = -1  # the token that was expected where the text last left what it followed
        self._last = 0  # the last LONG tokens as one number
        self._short: dict[int, int] = {}  # SHORT tokens as one number -> where they ended last
        self._long: dict[int, int] = {}
        self._earlier = array("q", [-1])  # for each end: where the same SHORT tokens ended before
        self._long_end = -1  # where the last LONG tokens ended before
        self._read(tokens)

    def extend(self, tokens: Sequence[int]) -> None:
        """Take the prompt, then tokens of the answer."""
        if not self.tokens:
            self._read(tokens)
            return
        for token in tokens:
            self._compare(token)
            self._index(token)
            if self._at < 0 or (self._length < LONG and self._long_end >= 0):
                self._search()
        self._spare = min(self._spare + ALLOWANCE * len(tokens), MOST_SPARE)

    def draft(self, most: int) -> list[int]:
        """What probably comes next, at most `most` tokens; none where that would not pay."""
        if self._at < 0:
            return []
        room = min(most, MOST_DRAFT, len(self.tokens) - self._at)
        right = [self._rate(self._near, self._length + i) for i in range(room)]
        count = best_length(right, self._costs, self._spare)
        return self.tokens[self._at : self._at + count]

    def judged(self, drafted: int, accepted: int) -> None:
        """Take note that of `drafted` tokens the first `accepted` were right."""
        if drafted:
            self.drafted += drafted
            self.accepted += accepted
            gain = 1 + accepted - self._costs[drafted + 1]
            self._spare = min(self._spare + gain, MOST_SPARE)

    def _read(self, prompt: Iterable[int]) -> None:
        """Take the prompt, from which nothing is learned: it is not the model's."""
        for token in prompt:
            self._index(token)
        if self.tokens:
            self._search()

    def _rate(self, near: bool, length: int) -> float:
        return self._rates[near][CLASS[min(length, COUNTED)]]

    def _compare(self, token: int) -> None:
        """Count whether the token that came is the one expected, and follow it or give up."""
        if self._at < 0:
            return
        right = self.tokens[self._at] == token
        rates, which = self._rates[self._near], CLASS[min(self._length, COUNTED)]
        rates[which] += LEARNING * (right - rates[which])
        if right:
            self._at += 1
            self._length += 1
            return
        if self._length >= (SHORT if self._near else LONG):
            self._anchor = self._at
        self._at, self._length, self._near = -1, 0, False

    def _index(self, token: int) -> None:
        """Append a token, and note where it, with those before it, now stands."""
        self.tokens.append(token)
        n = len(self.tokens)
        self._last = last = (self._last << ID_BITS | token) & LONG_BITS
        short = last & SHORT_BITS
        self._earlier.append(self._short.get(short, -1))
        self._long_end = self._long.get(last, -1)
        if n >= SHORT:
            self._short[short] = n
        if n >= LONG:
            self._long[last] = n

    def _search(self) -> None:
        """Expect what stands behind the place that is most likely to go on as the answer does."""
        best = (False, 0.0, False, 0, 0, 0, -1)
        for end, near in self._candidates():
            length = self._common(end)
            away = abs(end - self._anchor) if near else 0
            runway = min(len(self.tokens) - end, MOST_DRAFT)
            rate = self._rate(near, length)
            best = max(best, (length >= LONG, rate, near, length, -away, runway, end))
        _, _, self._near, self._length, _, _, self._at = best

    def _candidates(self) -> Iterator[tuple[int, bool]]:
        """Where the last tokens stood before, by the token behind them; whether near the anchor."""
        n = len(self.tokens)
        if self._long_end >= 0:
            yield self._long_end, False
        end = self._earlier[n]
        for _ in range(CANDIDATES):
            if end < 0:
                break
            yield end, False
            end = self._earlier[end]
        if self._anchor < 0:
            return
        end, stop = max(self._anchor - BACK, 0), min(self._anchor + AHEAD, n - 1)
        for _ in range(CANDIDATES):
            try:
                end = self.tokens.index(self.tokens[-1], end, stop) + 1
            except ValueError:
                return
            yield end, True

    def _common(self, end: int) -> int:
        """How many tokens before `end` are the last ones; COUNTED at most."""
        old, new = self.tokens[max(end - COUNTED, 0) : end], self.tokens[-COUNTED:]
        if old == new:
            return COUNTED
        pairs = zip(reversed(old), reversed(new), strict=False)
        return next((i for i, (a, b) in enumerate(pairs) if a != b), len(old))


def best_length(right: Sequence[float], costs: Sequence[float], spare: float) -> int:
    """How many tokens to draft so that a unit of time brings the most; 0: none.

    `right[i]` is the chance of token i where those before it were right, `costs[r]` the time of a
    step of r rows; a draft of which nothing is accepted may cost `spare` more than no draft.
    """
    best, most = 0, 1.0  # without a draft, one token in one step
    expected = chance = 1.0
    for count, each in enumerate(right, 1):
        chance *= each
        expected += chance
        cost = costs[count + 1]
        if expected / cost > most and cost - 1 <= spare:
            best, most = count, expected / cost
    return best


def costs_by_rows(table: Mapping[int, float]) -> list[float]:
    """The time of a step of 0 to MOST_DRAFT + 1 rows: between two rows of the table, a line."""
    known = sorted({0: 0.0, 1: 1.0, **table}.items())
    costs = []
    for rows in range(MOST_DRAFT + 2):
        at = min(max(bisect_right(known, (rows, float("inf"))), 1), len(known) - 1)
        (r0, c0), (r1, c1) = known[at - 1], known[at]
        costs.append(c0 + (c1 - c0) * (rows - r0) / (r1 - r0))
    return costs
