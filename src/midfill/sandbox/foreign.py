"""Verdicts on programs of other languages: compiled and run inside, together with their tests.

A pass needs all of: it compiled; it ended by itself, with status 0; nothing in what it printed says
that a test failed; and the epilogue behind the tests wrote this run's secret word to descriptor 3. A
program that lies in wait can still read that word in its own memory, so no verdict here is sealed.

A compiler that complains of no line of the program may itself be what is broken, or its disk be full:
it is believed if it still compiles the least of all programs.

Programs that read standard input and print are run once per case; what is expected stays outside.
"""

import re
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from midfill.sandbox.box import Box, Boxes
from midfill.sandbox.foreign_layout import Command, Layout, Source
from midfill.sandbox.languages import Language, available, find_language
from midfill.sandbox.processes import signal_name
from midfill.sandbox.supervise import InfraError, printable
from midfill.sandbox.verdict import Level, Limits, Outcome, Status, Verdict

COMPILING = Limits(cpu_s=60.0, wall_s=120.0, memory_mb=2048, disk_mb=256, files=8192, output_kb=256)
_OUT_OF_MEMORY = re.compile(
    r"OutOfMemoryError|JavaScript heap out of memory|std::bad_alloc|Allowed memory size of"
    r"|^MemoryError|memory allocation of \d+ bytes failed|NoMemoryError|not enough memory"
    r"|^Out of memory|System\.OutOfMemoryException|cannot allocate vector",
    re.MULTILINE,
)
_MISNAMED = re.compile(r"(?:class|interface|enum|record) (\w+) is public, should be declared in")
# What compilers say where the machine fails them. Programs have their own ways to make them say it.
_MACHINES_FAULT = re.compile(
    r"No space left on device|Resource temporarily unavailable|Cannot allocate memory"
    r"|[Cc]annot (fork|execute)|installation problem"
)
_LONGEST = 400  # characters of what a compiler or a program said that a verdict repeats


def judge_foreign(
    sandbox: Boxes,
    code: str,
    tests: str,
    entry_point: str | None,
    language: str,
    limits: Limits,
) -> Verdict:
    """What tests, appended to a program, say about it; never sealed.

    `entry_point` is not needed: the tests of these languages name what they call. Raises SandboxError
    for a language that is not known; one whose toolchain is missing or broken gives `infra`, as does
    a sandbox that fails.
    """
    if reason := available(language):
        return Verdict(status="infra", sealed=False, level=sandbox.level, detail=reason)
    try:
        return _judge(sandbox, code, tests, language, limits)
    except (InfraError, OSError) as fault:
        return Verdict(status="infra", sealed=False, level=sandbox.level, detail=str(fault))


def _judge(sandbox: Boxes, code: str, tests: str, language: str, limits: Limits) -> Verdict:
    known = find_language(language)
    source = Source(code=code, tests=tests, word=secrets.token_hex(16), memory_mb=limits.memory_mb)
    layout = known.lay_out(source)
    with sandbox.box(_encoded(layout.files), _box_limits(limits)) as box:
        run = _Run(known, box, limits, source, sandbox.level)
        verdict = run.verdict(layout, layout.compile)
        # The protocol tries TypeScript again after any failure; a time-out would only come again.
        if layout.again and verdict.status in ("wrong", "error"):
            second = run.verdict(layout, layout.again)
            if second.passed:
                said = "compiled the second way, without flags; the first: "
                verdict = replace(second, detail=said + verdict.detail)
    if verdict.status == "error" and run.doubtful and not compiles(sandbox, known):
        verdict = replace(verdict, status="infra", detail=f"{_BROKEN}; {verdict.detail}")
    return verdict


_BROKEN = "the compiler does not compile the least program either"


def compiles(sandbox: Boxes, language: Language) -> bool:
    """Whether the toolchain makes anything of the least program of its language."""
    source = Source(code=language.least, tests="", word="least", memory_mb=512)
    layout = language.lay_out(source)
    with sandbox.box(_encoded(layout.files), _box_limits(Limits())) as box:
        run = _Run(language, box, Limits(), source, sandbox.level)
        return not run.compile(layout, layout.compile)


def run_cases(
    sandbox: Boxes, code: str, cases: Sequence[bytes | int], language: str, limits: Limits
) -> list[Outcome]:
    """What a program does with each input on its standard input: compiled once, run once per case.

    An input is bytes, or the descriptor of a pipe, which is read while it fills. Where the program
    cannot be compiled, every case has the compiler's outcome, with a detail that begins with
    "compile"; where the toolchain is missing or broken, or the sandbox fails, all are `infra`.
    """
    if reason := available(language):
        return [Outcome(ended="infra", detail=reason)] * len(cases)
    try:
        return _run_cases(sandbox, code, cases, language, limits)
    except (InfraError, OSError) as fault:
        return [Outcome(ended="infra", detail=str(fault))] * len(cases)


def _run_cases(
    sandbox: Boxes, code: str, cases: Sequence[bytes | int], language: str, limits: Limits
) -> list[Outcome]:
    known = find_language(language)
    word = secrets.token_hex(16)
    source = Source(code=code, tests=None, word=word, memory_mb=limits.memory_mb)
    layout = known.lay_out(source)
    with sandbox.box(_encoded(layout.files), _box_limits(limits)) as box:
        run = _Run(known, box, limits, source, sandbox.level)
        failed = run.compile(layout, layout.compile)
        if failed and layout.again:
            failed = run.compile(layout, layout.again)
        if not failed:
            return [run.program(layout, case) for case in cases]
    detail = f"compile: {_said_compiling(failed)}"
    if run.doubtful and not compiles(sandbox, known):
        failed, detail = replace(failed, ended="infra"), f"{_BROKEN}; {detail}"
    return [replace(failed, detail=detail)] * len(cases)


def _encoded(files: Mapping[str, str]) -> dict[str, bytes]:
    # Half a surrogate pair, as JSON can hold one, is the compiler's to complain about.
    return {name: text.encode("utf-8", "surrogatepass") for name, text in files.items()}


def _box_limits(limits: Limits) -> Limits:
    """Room for what a compiler writes."""
    return replace(
        limits,
        disk_mb=max(limits.disk_mb, COMPILING.disk_mb),
        files=max(limits.files, COMPILING.files),
    )


class _Run:
    """One program in one box."""

    def __init__(
        self, language: Language, box: Box, limits: Limits, source: Source, level: Level
    ) -> None:
        self.language, self.box, self.source = language, box, source
        self.level: Level = level
        self.limits = replace(limits, memory_mb=limits.memory_mb + language.runtime_mb)
        self.doubtful = False  # whether what did not compile may be the compiler's own fault

    def verdict(self, layout: Layout, compile_commands: Sequence[Command]) -> Verdict:
        """Compile it this way, run it, and say what came of it."""
        failed = self.compile(layout, compile_commands)
        if failed:
            status: Status = "error" if failed.ended in ("exit", "signal") else failed.ended
            return self._verdict(failed, status, f"compile: {_said_compiling(failed)}")
        outcome = self.program(layout)
        status, detail = read_outcome(self.language, outcome, self.source.word.encode())
        if status == "timeout" and not detail:
            limits = self.limits
            detail = (
                f"over {limits.cpu_s:g} s of processor time or {limits.wall_s:g} s by the clock"
            )
        # A part of the program, as a subshell, was ended at the limit, and the rest went on without.
        if status != "pass" and outcome.cpu_s >= 0.95 * self.limits.cpu_s:
            status = "timeout"
        return self._verdict(outcome, status, detail)

    def _verdict(self, outcome: Outcome, status: Status, detail: str) -> Verdict:
        return Verdict(
            status=status,
            sealed=False,
            level=self.level,
            detail=detail,
            output=printable(outcome.stdout),
            cpu_s=outcome.cpu_s,
            wall_s=outcome.wall_s,
        )

    def compile(self, layout: Layout, commands: Sequence[Command]) -> Outcome | None:
        """The outcome of the first command that failed, or None."""
        for command in commands:
            outcome = self._compile(command, layout.environment)
            if misnamed := _misnamed(outcome, self.source):
                self.source = replace(self.source, class_name=misnamed)
                renamed = self.language.lay_out(self.source)
                for name, data in _encoded(renamed.files).items():
                    self.box.write(name, data)
                outcome = self._compile(renamed.compile[0], layout.environment)
            if not outcome.ok:
                self.doubtful = _may_be_the_compilers(outcome, self.language)
                return outcome
        return None

    def _compile(self, command: Command, environment: Mapping[str, str]) -> Outcome:
        return self.box.run(command, limits=COMPILING, environment=environment, address_space=False)

    def program(self, layout: Layout, stdin: bytes | int = b"") -> Outcome:
        """Run the compiled program."""
        outcome = self._command(layout.run, stdin)
        if outcome.ended == "infra" and layout.instead:
            outcome = self._command(layout.instead, stdin)
        return outcome

    def _command(self, command: Command, stdin: bytes | int) -> Outcome:
        return self.box.run(
            command, stdin=stdin, limits=self.limits, address_space=self.language.address_space
        )


def _misnamed(outcome: Outcome, source: Source) -> str | None:
    """What javac wants the file to be called, where that is why it failed."""
    found = None if outcome.ok else _MISNAMED.search(_text(outcome.stderr))
    return found[1] if found and found[1] != source.class_name else None


def _may_be_the_compilers(failed: Outcome, language: Language) -> bool:
    """Whether a compiler ended badly, but named no line of the program, or spoke of the machine."""
    if failed.ended not in ("exit", "signal"):
        return False
    said = _text(failed.stderr + b"\n" + failed.stdout)
    line = re.escape(Path(language.file).suffix) + r"[:(]\d"
    return not re.search(line, said) or bool(_MACHINES_FAULT.search(said))


def _text(data: bytes) -> str:
    return data.decode("utf-8", "replace")


def read_outcome(language: Language, outcome: Outcome, word: bytes) -> tuple[Status, str]:
    """The status and the detail that the end of a run with tests means."""
    if outcome.ended in ("timeout", "memory", "infra"):
        return outcome.ended, outcome.detail
    errors = _text(outcome.stderr)
    if outcome.ok:
        if failed := language.failed.search(errors):
            status: Status = "wrong" if language.wrong.search(errors) else "error"
            return status, _line(errors, failed)
        if outcome.report == word:
            ran = language.evidence.search(errors)
            return ("pass", "") if ran else ("error", "it ended well, but no test ran")
        return "error", "it ended before the tests did, with status 0"
    return _read_failure(language, outcome, errors, f"{_text(outcome.stdout)}\n{errors}")


def _read_failure(
    language: Language, outcome: Outcome, errors: str, everything: str
) -> tuple[Status, str]:
    if found := _OUT_OF_MEMORY.search(errors):
        return "memory", _line(errors, found)
    if found := language.unreadable.search(errors):
        return "error", f"compile: {_line(errors, found)}"
    if not language.crashed.search(errors):
        if found := language.wrong.search(everything):
            return "wrong", _line(everything, found)
        if outcome.ended == "exit" and outcome.status == language.wrong_status:
            return "wrong", f"a test failed (exit status {outcome.status})"
    how = _how(outcome)
    words = _last_words(errors if errors.strip() else everything)
    return "error", f"{how}: {words}" if words else how


def _how(outcome: Outcome) -> str:
    """How a command ended, in words."""
    if outcome.ended == "signal":
        return signal_name(outcome.status)
    return f"exit status {outcome.status}" if outcome.ended == "exit" else outcome.ended


def _line(text: str, found: re.Match[str]) -> str:
    """The line in which something was found; where that is but a headline, some of what follows."""
    start = text.rfind("\n", 0, found.end()) + 1
    line, *more = text[start:].strip().splitlines()
    if line.strip() == found[0].strip():
        line = "\n".join([line, *(rest for rest in more[:6] if rest.strip(" -"))])
    return _said(line)


def _first_words(outcome: Outcome) -> str:
    """The first thing a compiler complains of; tsc and mcs do it on standard output."""
    text = _text(outcome.stderr + b"\n" + outcome.stdout)
    lines = [line for line in text.splitlines() if line.strip()]
    errors = [line for line in lines if re.search(r"\berror\b|Error:", line)]
    return _said("\n".join((errors or lines)[:3]))


def _said_compiling(failed: Outcome) -> str:
    return _first_words(failed) or failed.detail or _how(failed)


_UNCAUGHT = re.compile(
    r"""^((Fatal\ error|Uncaught|Unhandled|Exception\ in\ thread\ \S+):?\ +)*  # runtimes' own words
        [\w.:@()]*(Error|Exception)[^:]*:\ \S  # the kind, and what was said
    | ^panic:\  | panicked\ at""",
    re.VERBOSE,
)


def _last_words(text: str) -> str:
    """The line of an uncaught exception, or the last one that says anything."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    named = [line for line in lines if _UNCAUGHT.search(line)]
    return _said((named or [""])[0] or (lines or [""])[-1])


def _said(text: str) -> str:
    return printable(text.strip().encode())[:_LONGEST]
