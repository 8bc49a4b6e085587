"""One program in the sandbox: what it printed, or what its tests say."""

import contextlib
import dataclasses
import io
import os
import select
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

from midfill.errors import ConfigError, SandboxError
from midfill.sandbox import Limits, Outcome, Sandbox, Verdict
from midfill.sandbox.languages import LANGUAGES, find_language
from midfill.sandbox.processes import signal_name
from midfill.sandbox.supervise import printable
from midfill.sandbox.verdict import Level
from midfill.terminal import show


def limits_of(cpu_s: float, wall_s: float, memory_mb: int) -> Limits:
    """Limits as the command line gives them. Raises ConfigError for some that cannot be."""
    if not (0 < cpu_s < 1e5 and 0 < wall_s < 1e6 and 0 < memory_mb < 1 << 24):
        raise ConfigError(
            "the limits cannot be kept",
            why="each must be more than 0, and no more than a day or this machine's memory",
            fix="for example --cpu 3 --wall 10 --memory 512",
        )
    return Limits(cpu_s=cpu_s, wall_s=wall_s, memory_mb=memory_mb)


def run_file(
    file: Path,
    tests: Path | None,
    language: str | None,
    entry_point: str | None,
    limits: Limits,
    level: str | None,
    *,
    sealed: bool = True,
    json: bool,
    quiet: bool,
) -> int:
    """Run `file`, or judge it by `tests`; print what came of it. 1: it failed, or did not pass."""
    code = _text(file)
    checks = _text(tests) if tests else None
    named = find_language(language).name if language else _language_of(file)
    with Sandbox(1, level=level) as sandbox:
        if checks is None:
            return _show_run(
                _run(sandbox, code, named, limits), sandbox.level, json=json, quiet=quiet
            )
        verdict = sandbox.judge(code, checks, entry_point, named, limits, sealed=sealed)
    return _show_verdict(verdict, json=json, quiet=quiet)


def _text(file: Path) -> str:
    try:
        return sys.stdin.read() if str(file) == "-" else file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as problem:
        raise ConfigError(
            f"{file} cannot be read", why=str(problem), fix="name a text file, or - for stdin"
        ) from None


def _language_of(file: Path) -> str:
    """The language that a file's ending names."""
    ending = file.suffix.lower()
    for language in LANGUAGES.values():
        endings = {Path(language.file).suffix, *(f".{alias}" for alias in language.aliases)}
        if ending and ending in endings:
            return language.name
    raise ConfigError(
        f"the language of {file} is not known",
        why=f"its name ends in {ending!r}" if ending else "its name has no ending",
        fix=f"--language, one of: {', '.join(LANGUAGES)}",
    )


def _run(sandbox: Sandbox, code: str, language: str, limits: Limits) -> Outcome:
    from midfill.sandbox.foreign import run_cases

    with _handed_on() as given:
        return run_cases(sandbox, code, [given], language, limits)[0]


@contextlib.contextmanager
def _handed_on() -> Iterator[bytes | int]:
    """What comes on stdin, for a program to read: all of it, or a pipe that fills as it comes.

    The program gets neither our terminal nor our files themselves.
    """
    try:
        ours = sys.stdin.fileno() if sys.stdin else None
    except io.UnsupportedOperation:  # no file, but text of whoever calls us
        yield sys.stdin.buffer.read()
        return
    if ours is None or _in_background(ours):  # the terminal would stop us for reading
        yield b""
        return
    theirs, filling = os.pipe()
    os.set_blocking(filling, False)
    over, end = os.pipe()
    copier = threading.Thread(target=_copy, args=(ours, filling, over), daemon=True)
    copier.start()
    try:
        yield theirs
    finally:
        os.close(end)
        copier.join()
        for descriptor in (theirs, over):
            os.close(descriptor)


def _in_background(descriptor: int) -> bool:
    """Whether this is our terminal, and another program's turn."""
    try:
        return os.tcgetpgrp(descriptor) != os.getpgrp()
    except OSError:
        return False


def _copy(ours: int, filling: int, over: int) -> None:
    """Write what comes on `ours` to `filling` until its end, or that of whoever holds `over`."""
    with contextlib.suppress(OSError), os.fdopen(filling, "wb", buffering=0):
        while data := _when_ready(ours, select.POLLIN, over) and os.read(ours, 1 << 16):
            while data and _when_ready(filling, select.POLLOUT, over):
                data = data[os.write(filling, data) :]


def _when_ready(descriptor: int, event: int, over: int) -> bool:
    """Wait for it; False where `over` comes first."""
    waiting = select.poll()
    waiting.register(descriptor, event)
    waiting.register(over, 0)  # its end is always told
    return over not in dict(waiting.poll())


def _show_run(outcome: Outcome, level: Level, *, json: bool, quiet: bool) -> int:
    if outcome.ended == "infra":
        raise _infra(outcome.detail)
    printed, errors = printable(outcome.stdout), printable(outcome.stderr)
    if json:
        facts = {"ended": outcome.ended, "status": outcome.status, "level": level}
        facts |= {"stdout": printed, "stderr": errors, "detail": outcome.detail}
        show.as_json(facts | {"cpu_s": outcome.cpu_s, "wall_s": outcome.wall_s})
    else:
        print(printed, end="")
        print(errors, end="", file=sys.stderr)
        if not outcome.ok:
            ways = {"exit": f"exit status {outcome.status}", "signal": signal_name(outcome.status)}
            used = f"{outcome.ended} after {outcome.wall_s:.1f} s, {outcome.cpu_s:.1f} s of them computing"
            how = ways.get(outcome.ended, used)
            said = "" if errors.strip() in outcome.detail else outcome.detail
            show.note(f"{how}  {said}".rstrip(), quiet=quiet)
    return int(not outcome.ok)


def _show_verdict(verdict: Verdict, *, json: bool, quiet: bool) -> int:
    if verdict.status == "infra":
        raise _infra(verdict.detail)
    if json:
        show.as_json(dataclasses.asdict(verdict))
        return int(not verdict.passed)
    seal = "sealed" if verdict.sealed else "not sealed"
    used = f"{verdict.cpu_s:.2f} s of processor time"
    print(f"{verdict.status}  ({seal}, level {verdict.level}, {used})")
    if not quiet and verdict.detail:
        print("\n".join(f"  {line}" for line in verdict.detail.splitlines()))
    if not quiet and verdict.output:
        show.note(f"it printed:\n{verdict.output}")
    return int(not verdict.passed)


def _infra(why: str) -> SandboxError:
    return SandboxError(
        "nothing is known about the program",
        why=why,
        fix="mend what the line above names; `midfill doctor` shows what this machine can run",
    )
