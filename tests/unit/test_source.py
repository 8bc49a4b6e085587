"""Where a prompt comes from: places in files are counted as editors count them."""

from pathlib import Path

import pytest

from midfill.errors import ConfigError
from midfill.terminal.source import Around, place, read_text

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


def test_a_line_feed_in_a_file_name(tmp_path: Path):
    file = tmp_path / "a\nb.py"
    file.write_text("one\ntwo")
    assert place(f"{file}:2") == Around("one\n", "two")


def test_a_byte_order_mark_is_no_text(tmp_path: Path):
    assert around(tmp_path, "\ufeffone\ntwo", "1:2") == Around("o", "ne\ntwo")


@pytest.mark.parametrize(
    ("encoding", "named"),
    [("utf-16", "utf-16"), ("utf-32", "utf-32"), ("latin1", "latin1")],
)
def test_the_fix_names_the_encoding(tmp_path: Path, encoding: str, named: str):
    file = tmp_path / "a b.py"
    file.write_bytes("ü = 1".encode(encoding))
    with pytest.raises(ConfigError) as caught:
        read_text(str(file))
    assert caught.value.fix == f"iconv -f {named} -t utf-8 '{file}'"


def test_utf_16_of_either_byte_order(tmp_path: Path):
    for mark, codec in ((b"\xff\xfe", "utf-16-le"), (b"\xfe\xff", "utf-16-be")):
        file = tmp_path / "a.py"
        file.write_bytes(mark + "x = 1".encode(codec))
        with pytest.raises(ConfigError) as caught:
            read_text(str(file))
        assert caught.value.fix == f"iconv -f utf-16 -t utf-8 {file}"
