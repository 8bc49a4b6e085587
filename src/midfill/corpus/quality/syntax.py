"""Syntax errors, found by each language's parser in a process that can be ended. Source: V1 2.4.

Parsers hang, crash and eat memory on hostile texts. Here such a text costs its own verdict and a new
process, never the run. The time limit counts processor seconds, which the load of the machine hardly
moves, and is generous; a text that exceeds it is tried once more, alone in a new process, so that a
verdict does not hang on chance.

By default only files that look broken are parsed, see `suspect.py`.
"""

import json
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import IO, Literal, cast, get_args

from midfill.config.corpus.quality import SyntaxConfig
from midfill.corpus.quality import parsers
from midfill.corpus.quality.suspect import suspicion
from midfill.corpus.quality.worker import HEAD
from midfill.corpus.record import Document, Drop

Verdict = Literal[
    "ok",
    "python2",  # well-formed, in the older language
    "unchecked",  # no parser here, or longer than the limit
    "syntax",  # broken
    "parser_time",
    "parser_memory",
    "parser_depth",  # nested deeper than the parser can follow
    "parser_crash",
]
FAILED = ("parser_time", "parser_memory", "parser_depth", "parser_crash")
_START = (
    "import json, sys; settings, sys.path[:] = sys.argv[1], json.loads(sys.argv[2]);"
    "from midfill.corpus.quality.worker import main; main(settings)"
)


@dataclass(frozen=True, slots=True)
class Checked:
    """What the parser said of one text."""

    verdict: Verdict
    value: float | str | None = None  # the first wrong line, or the share of unplaced bytes


class Checker:
    """Parses texts one after the other in a process of its own, which it replaces when it ends."""

    def __init__(self, config: SyntaxConfig | None = None) -> None:
        self.config = config or SyntaxConfig()
        self._process: subprocess.Popen[bytes] | None = None
        self._parsed = 0

    def __enter__(self) -> "Checker":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End the process."""
        if self._process is not None:
            self._process.kill()
            self._process.communicate()
            self._process = None

    @cached_property
    def languages(self) -> frozenset[str]:
        """The languages that are checked here."""
        known = {*parsers.GRAMMARS, *parsers.STANDARD}
        there = {name for name in known if parsers.available(name)} | set(self.config.parsers)
        wanted = self.config.languages
        return frozenset(there if wanted is None else there.intersection(wanted))

    def check(self, documents: Iterable[Document]) -> Iterator[Drop | None]:
        """For each document, why it is dropped, or None."""
        return map(self.rule, documents)

    def rule(self, document: Document) -> Drop | None:
        """Why this document is dropped, or None. A rule like any other of the pipeline."""
        if not self.is_parsed(document.language, document.text):
            return None
        checked = self.parse(document.language, document.text)
        if checked.verdict == "syntax":
            return Drop("syntax", checked.value)
        if checked.verdict in FAILED and self.config.drop_failed:
            return Drop(checked.verdict, document.language)
        return None

    def is_parsed(self, language: str | None, text: str) -> bool:
        """Whether the rule asks a parser about this text."""
        if language not in self.languages or len(text) > self.config.largest:
            return False
        if self.config.parse == "none":
            return False
        all_are = self.config.parse == "all" or language in self.config.parsers
        return all_are or suspicion(language, text, self.config.small) is not None

    def parse(self, language: str | None, text: str) -> Checked:
        """What this language's parser says of the text."""
        if language not in self.languages or len(text) > self.config.largest:
            return Checked("unchecked")
        checked = self._attempt(language, text)
        if checked.verdict in ("parser_time", "parser_crash", "parser_memory"):
            self.close()  # a process that carries nothing of earlier texts
            checked = self._attempt(language, text)
        return checked

    def _attempt(self, language: str, text: str) -> Checked:
        if self._parsed >= self.config.recycle:
            self.close()
        if self._process is None:
            self._process, self._parsed = self._start(), 0
        self._parsed += 1
        answer = self._ask(self._process, language, text)
        if answer is None:
            return Checked(self._ended())
        word, value = json.loads(answer)
        if word == "errors":
            broken = value > self.config.error_limit(language)
            return Checked("syntax", round(value, 4)) if broken else Checked("ok", round(value, 4))
        word = "syntax" if word == "broken" else word
        assert word in get_args(Verdict), word
        return Checked(cast(Verdict, word), value)

    def _start(self) -> subprocess.Popen[bytes]:
        config = self.config
        settings = {"cpu_s": config.cpu_s, "memory_mb": config.memory_mb}
        settings |= {"parsers": dict(config.parsers)}
        command = [sys.executable, "-P", "-c", _START, json.dumps(settings), json.dumps(sys.path)]
        return subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
        )

    def _ask(self, process: subprocess.Popen[bytes], language: str, text: str) -> bytes | None:
        """The answer, or None where the process ended without one."""
        assert process.stdin is not None
        assert process.stdout is not None
        name, data = language.encode(), text.encode("utf-8", "surrogatepass")
        try:
            process.stdin.write(HEAD.pack(len(name), len(data)) + name + data)
            process.stdin.flush()
        except BrokenPipeError:
            return None
        return self._line(process.stdout)

    def _line(self, answers: IO[bytes]) -> bytes | None:
        """One line of answer, unless the process ends or sleeps too long."""
        end = time.monotonic() + self.config.wall_s
        line = b""
        while not line.endswith(b"\n"):
            ready, _, _ = select.select([answers], [], [], max(end - time.monotonic(), 0))
            piece = os.read(answers.fileno(), 1 << 16) if ready else b""
            if not piece:
                return None
            line += piece
        return line

    def _ended(self) -> Verdict:
        """Why the process gave no answer; afterwards there is none."""
        process, self._process = self._process, None
        assert process is not None
        try:
            status = process.wait(timeout=1)
        except subprocess.TimeoutExpired:  # it sleeps, or waits for something
            status = None
            process.kill()
        process.communicate()
        return "parser_time" if status in (None, -signal.SIGXCPU) else "parser_crash"
