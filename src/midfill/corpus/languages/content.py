"""What a text says about its language: its interpreter line, a mode line, rules by extension.

The rules are linguist's (MIT), translated from Ruby's regular expressions, with ours before them;
`rules.json` holds both in the order they are asked. Each pattern comes with texts of which one must
occur for it to match, since looking for those costs a hundredth. Only `HEAD` characters are read,
and lines there are cut, so that no text makes a pattern slow.
"""

import functools
import re
from dataclasses import dataclass
from typing import Any, Literal

from midfill.corpus.languages.table import TABLES, read

HEAD = 16_384  # characters that rules look at
LINE = 500  # characters of a line that rules look at
MODE_LINES = 1_000  # characters at each end in which a mode line is looked for

_INTERPRETERS: dict[str, list[str]] = TABLES["interpreters"]
_MODES: dict[str, list[str]] = TABLES["modes"]
_LONG_LINE = re.compile(f"([^\n]{{{LINE}}})[^\n]+")
_BLANK_LINES = re.compile("\n[ \t\n]*\n")
_SPACES = re.compile("[ \t]{40,}")
_EMACS = re.compile(
    r"-\*-[ \t]*(?:[^\n]{0,200}?\bmode[ \t]*:[ \t]*)?([\w+#-]+)[^\n]{0,200}?-\*-", re.I
)
_VIM = re.compile(
    r"(?:^|[ \t])(?:vim?[<=>]?\d*|ex):[^\n]{0,200}?\b(?:ft|filetype|syntax)=([\w+#-]+)", re.M | re.I
)
_RESTARTED = re.compile(r"^[ \t]*exec[ \t]+[\"']?([\w./-]+)[\"']?[^\n]*\$0", re.M)


@dataclass(frozen=True, slots=True)
class _Pattern:
    """A regular expression, and texts of which one occurs wherever it matches."""

    source: str
    required: tuple[str, ...]

    def found(self, head: str) -> bool:
        """Whether it matches somewhere."""
        if self.required and not any(text in head for text in self.required):
            return False
        return _compiled(self.source).search(head) is not None


@dataclass(frozen=True, slots=True)
class _Condition:
    """That one of some patterns matches, or that none does."""

    patterns: tuple[_Pattern, ...]
    absent: bool

    def holds(self, head: str) -> bool:
        """Whether it is met by a head."""
        return any(pattern.found(head) for pattern in self.patterns) is not self.absent


@functools.cache
def _compiled(source: str) -> re.Pattern[str]:
    """A pattern, compiled when first needed: most are for rare extensions."""
    return re.compile(source, re.MULTILINE | re.ASCII)


def _conditions(rule: dict[str, Any]) -> tuple[_Condition, ...]:
    """The conditions of a rule as it is written in the table."""
    return tuple(
        _Condition(
            tuple(_Pattern(one[0], tuple(one[1]) if one[1:] else ()) for one in part["any"]),
            part.get("absent", False),
        )
        for part in rule["all"]
    )


@functools.cache
def _rules(extension: str) -> tuple[tuple[str, tuple[_Condition, ...]], ...]:
    """The rules of an extension: a language, and what must hold for it."""
    rules = _table().get(extension, [])
    return tuple((rule["language"], _conditions(rule)) for rule in rules)


@functools.cache
def _table() -> dict[str, list[dict[str, Any]]]:
    """All rules by extension."""
    return read("rules.json")["extensions"]


def head_of(text: str) -> str:
    """The part of a text that rules look at: line ends as `\\n`, no blank lines, no long lines."""
    head = text[:HEAD]
    if "\r" in head:
        head = head.replace("\r\n", "\n").replace("\r", "\n")
    if "\n\n" in head or "\n " in head or "\n\t" in head:
        head = _BLANK_LINES.sub("\n", head)
    return _SPACES.sub(" ", _LONG_LINE.sub(r"\1", head))


def ruled(extension: str, text: str) -> str | None:
    """The language of the first rule of an extension that holds, also one outside the list."""
    rules = _rules(extension)
    if not rules:
        return None
    head = head_of(text)
    for language, conditions in rules:
        if all(condition.holds(head) for condition in conditions):
            return language
    return None


def declared(text: str) -> tuple[str | None, Literal["interpreter", "content"]]:
    """The language that a text names itself, by its first line or for an editor."""
    program = interpreter(text)
    if program is not None:
        names = _INTERPRETERS.get(program) or _INTERPRETERS.get(program.rstrip("0123456789.-"))
        if names:
            return names[0], "interpreter"
    return mode(text), "content"


def interpreter(text: str) -> str | None:
    """The program that a `#!` line starts, without its folder: `python3.11`."""
    if not text.startswith("#!"):
        return None
    words = text[2:302].partition("\n")[0].split()
    program = words.pop(0).rpartition("/")[2] if words else ""
    if program == "env":
        while words and (words[0].startswith("-") or "=" in words[0]):
            words.pop(0)
        program = words[0].rpartition("/")[2] if words else ""
    if program == "sh":
        restarted = _RESTARTED.search(text[:500])  # a shell that hands the file on: old Tcl, Perl
        program = restarted[1].rpartition("/")[2] if restarted else program
    return program or None


def mode(text: str) -> str | None:
    """The language that a mode line of Emacs or Vim names, in the first or last lines."""
    for part in (text[:MODE_LINES], text[-MODE_LINES:]):
        found = None
        if "-*-" in part:
            found = _EMACS.search(part)
        if found is None and ("ft=" in part or "filetype=" in part or "syntax=" in part):
            found = _VIM.search(part)
        if found is not None:
            names = _MODES.get(found[1].lower().removesuffix("-mode"))
            if names:
                return names[0]
    return None
