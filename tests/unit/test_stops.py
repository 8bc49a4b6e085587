"""Stop strings in text that arrives in pieces."""

import pytest

from midfill.engine.stops import StopScanner


def shown(stops: list[str], pieces: list[str]) -> tuple[list[str], str | None]:
    """What each piece let through, and at last what was held; and the stop that was found."""
    scanner = StopScanner(stops)
    out = [scanner.push(piece) for piece in pieces]
    return [*out, scanner.finish()], scanner.found


@pytest.mark.parametrize(
    ("stops", "pieces", "expected", "found"),
    [
        ([], ["ab", "c"], ["ab", "c", ""], None),
        (["\n\n"], ["a\n", "\nb"], ["a", "", ""], "\n\n"),
        (["\n\n"], ["a\n", "b\n"], ["a", "\nb", "\n"], None),
        (["END"], ["xE", "N", "xEND", "more"], ["x", "", "ENx", "", ""], "END"),
        (["aab"], ["aaaa", "b"], ["aa", "", ""], "aab"),  # a start inside a start
        (["abc", "b"], ["ab", "c"], ["a", "", ""], "b"),  # complete before the longer one
        (["abc", "b"], ["abc"], ["a", ""], "b"),  # the same in one piece
        (["c", "abc"], ["ab", "c"], ["", "", ""], "abc"),  # end together: the longer one
        (["abcd", "bcx"], ["abc", "x"], ["", "a", ""], "bcx"),
        (["stop", "stopped"], ["xstopped"], ["x", ""], "stop"),
        (["é"], ["caf", "é"], ["caf", "", ""], "é"),
    ],
)
def test_worked_by_hand(stops, pieces, expected, found):
    assert shown(stops, pieces) == (expected, found)


def test_nothing_follows_a_stop():
    scanner = StopScanner(["."])
    assert scanner.push("one. two") == "one"
    assert scanner.push(" three") == ""
    assert scanner.finish() == ""
    assert scanner.found == "."
