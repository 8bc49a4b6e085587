"""What there is to run beside one judged program: many inputs and outputs, or a source tree.

A benchmark answers `program()` with a Program, which the sandbox judges whole, or with work of
its own. `judge_work` scores either. What is expected never enters the sandbox: the work brings
back what the program printed and compares it on this side.
"""

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from decimal import Decimal, DecimalException
from typing import TYPE_CHECKING, Literal, Protocol, runtime_checkable

from midfill.evaluate.task import Program, Score
from midfill.sandbox.verdict import Limits, Outcome, Status, Verdict

if TYPE_CHECKING:
    from midfill.sandbox import Sandbox

_SHOWN = 300  # characters of an input or an output in the detail of a verdict


@runtime_checkable
class Work(Protocol):
    """Something to run in the sandbox, that knows how it is scored."""

    @property
    def language(self) -> str:
        """The language of what is run."""
        ...

    @property
    def limits(self) -> Limits:
        """Of one run."""
        ...

    def identity(self) -> str:
        """A text that differs wherever the score could: with judge and level, the key of a cache."""
        ...

    def judge(self, sandbox: "Sandbox") -> Score:
        """What it is worth."""
        ...


def judge_work(work: Program | Work, sandbox: "Sandbox") -> Score:
    """Run a program or other work in the sandbox, and say what it is worth.

    Raises SandboxError where the sandbox's level runs no commands and the work needs them.
    """
    from midfill.sandbox import InfraError

    try:
        return _judge(work, sandbox)
    except InfraError as fault:
        return Score(value=None, detail=str(fault))


def _judge(work: Program | Work, sandbox: "Sandbox") -> Score:
    if isinstance(work, Program):
        verdict = sandbox.judge(
            work.code,
            work.tests,
            entry_point=work.entry_point,
            language=work.language,
            limits=work.limits,
            trusted_tests=work.trusted_tests,
            sealed=work.sealed,
        )
        return score_of(verdict)
    return work.judge(sandbox)


def score_of(verdict: Verdict, also: Mapping[str, float] | None = None) -> Score:
    """1 for a pass, 0 for a failure, None where nothing is known."""
    value = None if verdict.status == "infra" else float(verdict.passed)
    return Score(value=value, detail=verdict.detail, verdict=verdict, also=also or {})


def unsealed(
    outcome: Outcome,
    sandbox: "Sandbox",
    status: Status,
    detail: str,
    *,
    output: str,
    also: Mapping[str, float] | None = None,
) -> Score:
    """The score of a run in which tests and program were one process, which could forge it."""
    verdict = Verdict(
        status=status,
        sealed=False,
        level=sandbox.level,
        detail=detail,
        output=output,
        cpu_s=outcome.cpu_s,
        wall_s=outcome.wall_s,
    )
    return score_of(verdict, also)


def identity_of(*parts: object) -> str:
    """One text for several parts, in which their borders are kept."""
    return json.dumps([part if isinstance(part, str) else repr(part) for part in parts])


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One run of a program: what it reads, and the outputs of which any one is right."""

    stdin: str
    expected: tuple[str, ...]


Compare = Literal["lines", "stripped", "tokens"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Cases:
    """A program that reads standard input and writes standard output, run once for each case.

    `on_exit` says what a Python program that ends by SystemExit is: `ok` whatever its status (as
    LiveCodeBench has it), or `error` even with status 0 (as USACO has it), or `status`, as a shell
    would see it.
    """

    code: str
    cases: tuple[Case, ...]
    compare: Compare
    language: str = "python"
    limits: Limits = field(default_factory=Limits)  # of one case
    total_s: float | None = None  # seconds of processor time of all cases together
    in_function: bool = False  # a Python program becomes the body of a function, as LiveCodeBench's
    prelude: str = ""  # Python, before the program
    on_exit: Literal["status", "ok", "error"] = "status"
    also: Mapping[str, float] = field(default_factory=dict)  # goes into the score

    def identity(self) -> str:
        """Everything that decides the score."""
        return identity_of(
            "cases",
            self.code,
            self.compare,
            self.language,
            self.limits,
            self.total_s,
            self.in_function,
            self.prelude,
            self.on_exit,
            [(case.stdin, case.expected) for case in self.cases],
        )

    def judge(self, sandbox: "Sandbox") -> Score:
        """1 where every case gives an expected output in time."""
        passed = 0

        def run() -> Verdict:
            nonlocal passed
            verdict, passed = self._once(sandbox)
            return verdict

        verdict = sandbox.confirmed(run)
        share = passed / len(self.cases) if self.cases else 0.0
        return score_of(verdict, {"cases_passed": share, **self.also})

    def _once(self, sandbox: "Sandbox") -> tuple[Verdict, int]:
        """The verdict, and how many cases passed before it."""
        used_cpu = used_wall = 0.0
        passed = 0
        status: Status = "pass"
        detail = output = ""
        for outcomes in self._runs(sandbox):
            for outcome in outcomes:
                used_cpu, used_wall = used_cpu + outcome.cpu_s, used_wall + outcome.wall_s
                status, detail = self._look(outcome, passed, used_cpu)
                output = outcome.stdout[:4096].decode("utf-8", "replace")
                if status != "pass":
                    break
                passed += 1
            if status != "pass":
                break
        verdict = Verdict(
            status=status,
            sealed=True,  # the outputs were compared on this side, and inputs tell no outputs
            level=sandbox.level,
            detail=detail,
            output=_plain(output),
            cpu_s=used_cpu,
            wall_s=used_wall,
        )
        return verdict, passed

    def _runs(self, sandbox: "Sandbox") -> Iterator[list[Outcome]]:
        """Outcomes in the order of the cases, a few at a time, as most wrong programs fail early."""
        from midfill.sandbox.foreign import run_cases

        code = self._source()
        start, size = 0, 1
        while start < len(self.cases):
            part = self.cases[start : start + size]
            stdin = [case.stdin.encode() for case in part]
            yield run_cases(sandbox, code, stdin, self.language, self.limits)
            start, size = start + size, size * 4

    def _source(self) -> str:
        if self.language != "python" or not (
            self.in_function or self.prelude or self.on_exit != "status"
        ):
            return self.code
        return python_harness(
            self.code, prelude=self.prelude, in_function=self.in_function, on_exit=self.on_exit
        )

    def _look(self, outcome: Outcome, number: int, used_cpu: float) -> tuple[Status, str]:
        """What one outcome says."""
        where = f"case {number + 1} of {len(self.cases)}"
        ended = ENDED.get(outcome.ended)
        if ended is not None:
            return ended, f"{where}: {outcome.detail or outcome.ended}"
        if not outcome.ok:
            said = _plain(outcome.stderr.decode("utf-8", "replace").strip())
            if any(word in said[-500:].rpartition("\n")[2] for word in _OUT_OF_MEMORY):
                return "memory", f"{where}: out of memory"
            how = "signal" if outcome.ended == "signal" else "exit status"
            return "error", f"{where}: {how} {outcome.status}\n{said[-2000:]}".strip()
        if self.total_s is not None and used_cpu > self.total_s:
            return "timeout", f"{where}: all cases together took more than {self.total_s:g} s"
        printed = outcome.stdout.decode("utf-8", "replace")
        case = self.cases[number]
        if any(COMPARE[self.compare](printed, wanted) for wanted in case.expected):
            return "pass", ""
        return "wrong", (
            f"{where}: input {_short(case.stdin)}, "
            f"printed {_short(printed)}, expected {_short(case.expected[0])}"
        )


_OUT_OF_MEMORY = ("MemoryError", "bad_alloc", "OutOfMemoryError", "OutOfMemoryException")
ENDED: dict[str, Status] = {"timeout": "timeout", "memory": "memory", "infra": "infra"}


def same_lines(printed: str, wanted: str) -> bool:
    """Whether stripped lines are equal as text or as decimal numbers. Source: LiveCodeBench.

    Equal as numbers means: every word of both lines is a number, as exact decimals, in order.
    """
    ours = [line.strip() for line in printed.strip().split("\n")]
    theirs = [line.strip() for line in wanted.strip().split("\n")]
    return len(ours) == len(theirs) and all(
        a == b or _same_decimals(a, b) for a, b in zip(ours, theirs, strict=True)
    )


def _same_decimals(a: str, b: str) -> bool:
    try:
        return [Decimal(word) for word in a.split()] == [Decimal(word) for word in b.split()]
    except (DecimalException, ValueError):
        return False


def same_stripped(printed: str, wanted: str) -> bool:
    """Whether the texts are equal but for white space at both ends. Source: USACO."""
    return _newlines(printed).strip() == _newlines(wanted).strip()


def same_tokens(printed: str, wanted: str) -> bool:
    """Whether stripped lines are equal, or words are, numbers to 1e-12. Source: ExecEval.

    The words yes, no, true and false are equal in any case. A word that is not a finite number is
    compared as text, so that "nan" does not equal everything, as it does there.
    """
    ours, theirs = printed.strip(), wanted.strip()
    lines_a, lines_b = ours.split("\n"), theirs.split("\n")
    if [line.strip() for line in lines_a] == [line.strip() for line in lines_b]:
        return True
    a, b = ours.split(), theirs.split()
    return len(a) == len(b) and all(map(_same_token, a, b))


_ANY_CASE = {"yes", "no", "true", "false"}
_PRECISION = Decimal("1e-12")


def _same_token(a: str, b: str) -> bool:
    try:
        x, y = Decimal(a), Decimal(b)
        if x.is_finite() and y.is_finite():
            return x == y or abs(x - y) <= _PRECISION
    except (DecimalException, ValueError):
        pass
    a, b = (word.lower() if word.lower() in _ANY_CASE else word for word in (a, b))
    return a == b


COMPARE: Mapping[str, Callable[[str, str], bool]] = {
    "lines": same_lines,
    "stripped": same_stripped,
    "tokens": same_tokens,
}


def python_harness(code: str, *, prelude: str, in_function: bool, on_exit: str) -> str:
    """A Python program that runs `code` as a benchmark's own judge does.

    It runs inside, beside the program, and decides nothing but the exit status.
    """
    return _HARNESS.format(code=code, prelude=prelude, in_function=in_function, on_exit=on_exit)


_HARNESS = """\
import ast, sys

CODE = {code!r}
PRELUDE = {prelude!r}


def guard_dropped(tree):
    last = tree.body[-1] if tree.body else None
    if isinstance(last, ast.If) and ast.unparse(last.test) == "__name__ == '__main__'":
        tree.body[-1:] = last.body


def as_function(tree):
    imports = [node for node in tree.body if isinstance(node, (ast.Import, ast.ImportFrom))]
    rest = [node for node in tree.body if not isinstance(node, (ast.Import, ast.ImportFrom))]
    shell = ast.parse("def program(): pass").body[0]
    shell.body = rest or shell.body
    tree.body = imports + [shell]


def main():
    names = {{"__name__": "__main__"}}
    exec(compile(PRELUDE, "<prelude>", "exec"), names)
    tree = ast.parse(CODE, "program.py")
    if {in_function!r}:
        names["__name__"] = "program"
        guard_dropped(tree)
        as_function(tree)
    exec(compile(ast.fix_missing_locations(tree), "program.py", "exec"), names)
    if {in_function!r}:
        names["program"]()


on_exit = {on_exit!r}
try:
    main()
except SystemExit:
    if on_exit == "status":
        raise
    sys.stdout.flush()
    if on_exit == "error":
        sys.exit(1)
"""


def _newlines(text: str) -> str:
    return text.replace("\r\n", "\n").replace("\r", "\n")


def _short(text: str) -> str:
    if len(text) > _SHOWN:
        text = text[: _SHOWN // 2] + " ... " + text[-_SHOWN // 2 :]
    return repr(text)


def _plain(text: str) -> str:
    """The text without control characters, which could rewrite a terminal."""
    return "".join(c for c in text if c in "\n\t" or c.isprintable())
