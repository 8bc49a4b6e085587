"""Stop strings: what is shown depends on the text alone, never on how it was cut."""

from hypothesis import given
from hypothesis import strategies as st

from midfill.engine.stops import StopScanner

TEXTS = st.text("ab\n", max_size=24)  # few letters, so that stops and half stops are frequent
STOPS = st.lists(st.text("ab\n", min_size=1, max_size=5), max_size=4)


def expected(text: str, stops: list[str]) -> tuple[str, str | None]:
    """The text before the stop that is complete first, and that stop, read off the whole text."""
    for end in range(1, len(text) + 1):
        ending = [stop for stop in stops if text[:end].endswith(stop)]
        if ending:
            longest = max(ending, key=len)
            return text[: end - len(longest)], longest
    return text, None


def cut(text: str, data: st.DataObject) -> list[str]:
    """The text in random pieces, empty ones among them."""
    places = sorted(data.draw(st.lists(st.integers(0, len(text)), max_size=8)))
    return [text[a:b] for a, b in zip([0, *places], [*places, len(text)], strict=True)]


@given(TEXTS, STOPS, st.data())
def test_any_cut_gives_the_text_before_the_first_stop(text, stops, data):
    scanner = StopScanner(stops)
    out = "".join(scanner.push(piece) for piece in cut(text, data)) + scanner.finish()
    assert (out, scanner.found) == expected(text, stops)


@given(TEXTS, STOPS, st.data())
def test_no_part_of_a_stop_is_ever_shown(text, stops, data):
    before, _ = expected(text, stops)
    scanner, out = StopScanner(stops), ""
    for piece in cut(text, data):
        out += scanner.push(piece)
        assert before.startswith(out)


@given(TEXTS, STOPS, st.data())
def test_only_the_beginning_of_a_stop_is_held_back(text, stops, data):
    scanner, out, read = StopScanner(stops), "", ""
    for piece in cut(text, data):
        out, read = out + scanner.push(piece), read + piece
        if scanner.found is not None:
            return
        held = read[len(out) :]
        assert not held or any(stop.startswith(held) and stop != held for stop in stops)


@given(st.text(max_size=30), st.text(min_size=1, max_size=3), st.text(max_size=10), st.data())
def test_a_stop_in_any_unicode(before, stop, after, data):
    scanner = StopScanner([stop])
    text = before + stop + after
    out = "".join(scanner.push(piece) for piece in cut(text, data)) + scanner.finish()
    assert out == text[: text.find(stop)]
    assert scanner.found == stop
