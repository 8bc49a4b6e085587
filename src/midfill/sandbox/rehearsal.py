"""A made-up program and its tests, run in the zygote itself before anything is forked from it.

Python writes into the code that it runs for the first times: counters, then specialised instructions. A
process forked before that has to copy each such page, and to specialise again. Nothing is confined
here, since nothing comes from outside.
"""

import socket
import sys
from collections.abc import Callable, Iterable

from midfill.sandbox import candidate, trial
from midfill.sandbox.calls import answer, pack, question
from midfill.sandbox.channel import Channel

_TIMES = 20  # Python 3.11 specialises a function at its eighth run, and what it got wrong later
_PROGRAM = """
import math
from typing import List


def solve(numbers: List[int], text: str) -> List[int]:
    found = [n * 2 for n in numbers if n > 0]
    return sorted(found + [len(text)])
"""
_TESTS = """
def check(candidate):
    assert candidate([1, 2], "ab") == [2, 2, 4]
    assert candidate([0, -1], "") == [0]
"""
_CASES = ((([1, 2], "ab"), [2, 2, 4]), (([0, -1], ""), [0]))


def rehearse() -> None:
    """Let program and tests meet what the other would say."""
    main = sys.modules["__main__"]
    for _ in range(_TIMES):
        _meet(_questions(), lambda calls: candidate.run(_PROGRAM, calls))
        _meet(_answers(), _run_tests)
    sys.modules["__main__"] = main
    del sys.modules[candidate.MODULE]


def _meet(said: Iterable[bytes], side: Callable[[Channel], None]) -> None:
    ours, theirs = Channel.pair()
    for message in said:
        ours.send_bytes(message)
    ours.end.shutdown(socket.SHUT_WR)
    side(theirs)
    ours.close()
    theirs.close()


def _questions() -> Iterable[bytes]:
    yield question(1, "names", (["solve"],))
    for number, (arguments, _) in enumerate(_CASES, 2):
        yield question(number, "call", ("solve", pack((arguments, {}))))


def _answers() -> Iterable[bytes]:
    yield answer(1, "value", {"solve": "function"})
    for number, (_, result) in enumerate(_CASES, 2):
        yield answer(number, "value", result)


def _run_tests(calls: Channel) -> None:
    ours, theirs = Channel.pair()
    trial.run(_TESTS, "solve", theirs, calls)
    assert ours.receive() == ("pass", "")
    ours.close()
    theirs.close()
