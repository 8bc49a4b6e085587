"""Where a prompt comes from: the command line, a file, a pipe, or a place in a file."""

import codecs
import io
import re
import shlex
import sys
from dataclasses import dataclass
from pathlib import Path

from midfill.errors import ConfigError

HOLE = "<HOLE>"


@dataclass(frozen=True, slots=True)
class Around:
    """The text before and after a place."""

    prefix: str
    suffix: str


def read_text(file: str) -> str:
    """The text of a file, or of stdin for "-", without a byte-order mark. Raises ConfigError."""
    if file == "-" and sys.stdin is None:
        raise _no_text("--file FILE")
    try:
        raw = sys.stdin.buffer.read() if file == "-" else Path(file).read_bytes()
    except OSError as problem:
        raise ConfigError(
            f"{file} cannot be read", why=problem.strerror or str(problem), fix="name a text file"
        ) from None
    try:
        return raw.decode("utf-8").removeprefix("\ufeff")
    except UnicodeDecodeError as problem:
        name = "the standard input" if file == "-" else file
        raise ConfigError(
            f"{name} is not UTF-8 text",
            why=f"byte {problem.start} is 0x{raw[problem.start]:02x}: {problem.reason}",
            fix=f"iconv -f {_encoding(raw)} -t utf-8 {'' if file == '-' else shlex.quote(file)}".rstrip(),
        ) from None


def _encoding(raw: bytes) -> str:
    """What bytes that are no UTF-8 most likely are, as iconv calls it."""
    if raw.startswith((codecs.BOM_UTF32_LE, codecs.BOM_UTF32_BE)):
        return "utf-32"
    return "utf-16" if raw.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) else "latin1"


def place(at: str) -> Around:
    """The text around FILE:LINE or FILE:LINE:COLUMN, counted from 1. Raises ConfigError.

    Without a column the hole is an empty line LINE, behind its indentation, or the place before
    line LINE when it holds text.
    """
    match = re.fullmatch(r"(.+?):(\d+)(?::(\d+))?", at, re.DOTALL)
    if match is None:
        raise ConfigError(
            f"{at!r} is not a place",
            why="a place is FILE:LINE or FILE:LINE:COLUMN",
            fix="--at main.py:12",
        )
    lines = io.StringIO(read_text(match[1])).readlines()  # only \n and \r\n end one, as in editors
    number = int(match[2])
    if not 1 <= number <= len(lines) + 1:
        raise ConfigError(
            f"{match[1]} has no line {number}",
            why=f"it has {len(lines)} lines",
            fix=f"--at {match[1]}:{max(len(lines), 1)}",
        )
    line = lines[number - 1] if number <= len(lines) else ""
    bare = line.removesuffix("\n").removesuffix("\r")
    if match[3] is not None:
        column = min(int(match[3]) - 1, len(bare))
    else:
        column = len(bare) if not bare.strip() else 0
    before, after = "".join(lines[: number - 1]), "".join(lines[number:])
    return Around(before + line[: max(column, 0)], line[max(column, 0) :] + after)


def prompt_text(prompt: str | None, file: str | None, at: str | None) -> str:
    """The text to complete from whichever source was named; a pipe if none was."""
    _only_one({"--prompt": prompt, "--file": file, "--at": at})
    if at is not None:
        return place(at).prefix
    if prompt is not None:
        return prompt
    return read_text(_file_or_pipe(file, "--prompt 'def fib(n):'"))


def question(message: str | None, *, json: bool) -> str | None:
    """The one thing to ask: a message, stdin for "-", or a pipe; None for a conversation."""
    if message in (None, "-") and sys.stdin is None:
        raise _no_text("--message TEXT")
    if message == "-" or (message is None and not (sys.stdin and sys.stdin.isatty())):
        return read_text("-")
    if json and message is None:
        raise ConfigError(
            "--json needs one question",
            why="a conversation has no single result",
            fix="add --message TEXT",
        )
    return message


def hole(
    prefix: str | None, suffix: str | None, file: str | None, at: str | None, marker: str
) -> Around:
    """The text around the hole from whichever source was named; a pipe with a marker if none was."""
    given = prefix if prefix is not None else suffix
    _only_one({"--prefix": given, "--file": file, "--at": at})
    if at is not None:
        return place(at)
    if given is not None:
        return Around(prefix or "", suffix or "")
    source = _file_or_pipe(file, "--prefix 'def fib(n):' --suffix 'print(fib(9))'")
    text = read_text(source)
    if text.count(marker) != 1:
        raise ConfigError(
            f"{'the standard input' if source == '-' else source} holds {marker} {text.count(marker)} times",
            why="the marker says where the hole is, so it must stand there once",
            fix=f"put {marker} where the model should write, or name another with --hole",
        )
    before, _, after = text.partition(marker)
    return Around(before, after)


def _file_or_pipe(file: str | None, example: str) -> str:
    if file is not None:
        return file
    if sys.stdin is None or sys.stdin.isatty():
        raise _no_text(example)
    return "-"


def _no_text(example: str) -> ConfigError:
    return ConfigError(
        "there is no text", why="none was given and nothing is piped in", fix=f"add {example}"
    )


def _only_one(given: dict[str, str | None]) -> None:
    named = [option for option, value in given.items() if value is not None]
    if len(named) > 1:
        raise ConfigError(
            f"{' and '.join(named)} were given",
            why="the text can come from one place only",
            fix=f"leave out {named[1]}",
        )
