"""What a run may use, and what is said about it afterwards."""

from dataclasses import dataclass, fields
from typing import Literal

Status = Literal["pass", "wrong", "error", "timeout", "memory", "infra"]
Level = Literal["A", "B", "C-strict", "C", "D"]

_MOST = 1 << 31  # of any limit


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What one run may use. Time-outs follow `cpu_s`; `wall_s` only ends what does not compute.

    Raises ValueError for what is no positive number: to the kernel 0 often means "as much as it likes".
    """

    cpu_s: float = 3.0  # seconds of processor time, of the whole process tree
    wall_s: float = 10.0  # seconds by the clock
    memory_mb: int = 512  # of the whole process tree, besides the interpreter's own
    disk_mb: int = 64  # of the directory that the run may write to
    files: int = 4096  # that may lie in it
    processes: int = 64  # and threads, at one time
    output_kb: int = 1024  # kept of what is printed; the rest is read and dropped

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            whole = isinstance(field.default, int)
            if not isinstance(value, int if whole else int | float) or not 0 < value < _MOST:
                kind = "whole number" if whole else "number"
                raise ValueError(f"{field.name} is {value!r}, and should be a {kind} above 0")


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What came of running a program against tests.

    `pass`: every test held. `wrong`: a test failed. `error`: the program did not compile, raised,
    crashed or ended early. `timeout`, `memory`: a limit was reached. `infra`: the sandbox, the
    machine or the tests themselves failed, and nothing is known about the program.
    """

    status: Status
    sealed: bool  # nothing inside the sandbox could have forged this
    level: Level  # of isolation
    detail: str = ""  # for people: the failed test, the exception, the compiler's words
    output: str = ""  # what the program printed, cut, without control characters
    cpu_s: float = 0.0
    wall_s: float = 0.0
    # Of a time-out that was run again alone: the one that does not count.
    first: "Verdict | None" = None

    @property
    def passed(self) -> bool:
        """Whether every test held."""
        return self.status == "pass"


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """How one command in a box ended."""

    ended: Literal["exit", "signal", "timeout", "memory", "infra"]
    status: int = 0  # exit status, or the number of the signal
    stdout: bytes = b""
    stderr: bytes = b""
    report: bytes = b""  # what was written to descriptor 3
    cpu_s: float = 0.0
    wall_s: float = 0.0
    detail: str = ""

    @property
    def ok(self) -> bool:
        """Whether it ended by itself, with status 0."""
        return self.ended == "exit" and self.status == 0
