"""How much of a prompt to read in one step, so that those who are writing do not wait long."""

from midfill.engine.runner import GRID

PREFILL = 512  # tokens of prompts read in one step at most: bounds memory
LEAST = 16  # fewer than this would waste the step
UNKNOWN = 64  # read while nobody knows how long it takes
SLOW_STEP_S = 0.025  # a model that writes a token in this time is a large one
TARGET_S, SLOW_TARGET_S = 0.05, 0.25  # how long a step may take
NEWEST = 0.2  # how much the latest step counts in the estimates


class Pace:
    """Estimates of what steps cost on this machine, from those that have been done."""

    def __init__(self) -> None:
        self.step_s: float | None = None  # one token for everybody who writes
        self.per_token_s: float | None = None  # of a prompt, on top of that

    def note(self, seconds: float, *, prompt_tokens: int) -> None:
        """Learn from a step that took `seconds` and read so many tokens of prompts."""
        if not prompt_tokens:
            self.step_s = _blend(self.step_s, seconds)
            return
        rest = max(seconds - (self.step_s or 0.0), seconds / 10)
        self.per_token_s = _blend(self.per_token_s, rest / prompt_tokens)

    def tokens_in(self, seconds: float) -> int | None:
        """How many tokens of prompts are read in `seconds`; None while nobody knows."""
        return None if self.per_token_s is None else int(seconds / self.per_token_s)

    def slice(self, *, decoding: bool) -> int:
        """How many tokens of prompts the next step may read."""
        if not decoding:
            return PREFILL
        if self.per_token_s is None:
            return UNKNOWN
        step = self.step_s or 0.0
        target = SLOW_TARGET_S if step > SLOW_STEP_S else TARGET_S
        return max(min(int((target - step) / self.per_token_s), PREFILL), LEAST)


def cut_at_grid(start: int, count: int) -> int:
    """`count`, or fewer so that the slice from `start` ends where a cell of the grid does."""
    end = (start + count) // GRID * GRID
    return end - start if end > start else count


def _blend(old: float | None, new: float) -> float:
    return new if old is None else old + NEWEST * (new - old)
