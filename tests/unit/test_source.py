"""Where a prompt comes from: places in files are counted as editors count them."""

from pathlib import Path

import pytest

from midfill.errors import ConfigError
from midfill.terminal.source import Around, place

# What str.splitlines takes for a line end and no editor does.
SEPARATORS = ["\x0b", "\x0c", "\x1c", "\x1d", "\x1e", "\x85", "\u2028", "\u2029", "\r"]


def around(folder: Path, text: str, at: str) -> Around:
    file = folder / "a.py"
    file.write_bytes(text.encode())
    return place(f"{file}:{at}")


@pytest.mark.parametrize("separator", SEPARATORS, ids=ascii)
def test_only_a_line_feed_ends_a_line(tmp_path: Path, separator: str):
    text = f"one{separator}still one\ntwo\n"
    assert around(tmp_path, text, "2") == Around(f"one{separator}still one\n", "two\n")
    assert around(tmp_path, text, "1:99") == Around(f"one{separator}still one", "\ntwo\n")
    with pytest.raises(ConfigError, match="it has 2 lines"):
        around(tmp_path, text, "4")


def test_carriage_returns_belong_to_the_line_end(tmp_path: Path):
    text = "one\r\n  \r\nthree"
    assert around(tmp_path, text, "2") == Around("one\r\n  ", "\r\nthree")
    assert around(tmp_path, text, "1:99") == Around("one", "\r\n  \r\nthree")
    assert around(tmp_path, text, "3:3") == Around("one\r\n  \r\nth", "ree")


@pytest.mark.parametrize("text", ["", "one\n", "one", "one\n\n"])
def test_nothing_is_lost_at_any_line(tmp_path: Path, text: str):
    for line in range(1, text.count("\n") + 2):
        found = around(tmp_path, text, str(line))
        assert found.prefix + found.suffix == text
