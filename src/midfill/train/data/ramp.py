"""How many sequences each step has: the batch grows with the tokens that were read.

Source: DeepSeek-V2 §3.1.2, from 2,304 to 9,216 sequences over 225B tokens; that it grows by one
sequence at a time is ours.
"""

from bisect import bisect_left, bisect_right

from midfill.config.train import BatchConfig


class Ramp:
    """Sizes of batches, each with the step and the number of sequences at which it begins.

    A step has first + floor((all - first) · sequences before it / sequences of the ramp).
    """

    def __init__(self, batch: BatchConfig, length: int) -> None:
        first = batch.sequences if batch.first is None else batch.first
        ramp = -(-batch.ramp_tokens // length)
        self._steps, self._befores, self._sizes = [0], [0], [first]
        step = before = 0
        for size in range(first, batch.sequences):
            end = -(-ramp * (size + 1 - first) // (batch.sequences - first))
            steps = max(0, -(-(end - before) // size))
            step, before = step + steps, before + steps * size
            self._begin(step, before, size + 1)

    def _begin(self, step: int, before: int, size: int) -> None:
        if self._steps[-1] == step:  # the size before lasts no step
            self._sizes[-1] = size
            return
        self._steps.append(step)
        self._befores.append(before)
        self._sizes.append(size)

    def sequences_at(self, step: int) -> int:
        """Sequences of a step, over all processes."""
        return self._sizes[bisect_right(self._steps, step) - 1]

    def sequences_before(self, step: int) -> int:
        """Sequences of all steps before this one."""
        i = bisect_right(self._steps, step) - 1
        return self._befores[i] + (step - self._steps[i]) * self._sizes[i]

    def steps(self, sequences: int) -> int:
        """The fewest steps that have so many sequences."""
        i = max(0, bisect_left(self._befores, sequences) - 1)
        return self._steps[i] + -(-(sequences - self._befores[i]) // self._sizes[i])
