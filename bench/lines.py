"""Engines in processes of their own that answer JSON lines, so that they can be asked in turn.

A request is one line {"op": name, ...arguments}, the answer one line; what an engine's libraries
print goes to stderr. The clock runs inside the child, around the engine's calls only.

Every engine has these operations (`Engine`), so that all do the same work:

    open(model, threads, context, sequences, ...)  load; tells versions and settings
    fill(prompts)     make the cache hold exactly these sequences; what is there already stays
    decode(count)     `count` greedy tokens in every sequence, then back to the prompts
    prefill(tokens)   read them after sequence 0, logits of the last only, then back
    first_token(tokens)   a whole prompt to its first token, reusing what the engine still knows
    memory()          the largest resident size of the process so far
"""

import json
import os
import subprocess
import sys
import traceback
from pathlib import Path
from typing import Any, Protocol

Answer = dict[str, Any]


class Engine(Protocol):
    """What a child process can be asked."""

    def open(self, model: str, **settings: Any) -> Answer:
        """Load `model`."""
        ...

    def fill(self, prompts: list[list[int]]) -> Answer:
        """Make the cache hold exactly `prompts`."""
        ...

    def decode(self, count: int) -> Answer:
        """Generate greedily in every sequence."""
        ...

    def prefill(self, tokens: list[int]) -> Answer:
        """Read `tokens` after sequence 0."""
        ...

    def first_token(self, tokens: list[int]) -> Answer:
        """Read a whole prompt and choose the token that follows."""
        ...

    def memory(self) -> Answer:
        """Largest and present resident size."""
        ...


OPERATIONS = ("open", "fill", "decode", "prefill", "first_token", "memory")


def answer_lines(engine: Engine) -> None:
    """Answer requests from stdin until it ends."""
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    for line in sys.stdin:
        request = json.loads(line)
        try:
            operation = request.pop("op")
            if operation not in OPERATIONS:
                raise ValueError(f"{operation!r} is none of {', '.join(OPERATIONS)}")
            result = getattr(engine, operation)(**request)
        except Exception as error:
            traceback.print_exc()
            result = {"error": f"{type(error).__name__}: {error}"}
        print(json.dumps(result), file=answers, flush=True)


class EngineError(RuntimeError):
    """An engine could not do what it was asked."""


class Child:
    """An engine in a process of its own, seen from outside."""

    def __init__(self, script: Path, packages: Path | None = None, quiet: bool = True) -> None:
        """Start `script`; `packages` is a folder of packages that it imports before all others."""
        environment = dict(os.environ)
        if packages is not None:
            rest = environment.get("PYTHONPATH")
            environment["PYTHONPATH"] = f"{packages}{os.pathsep}{rest}" if rest else str(packages)
        self.name = script.stem
        self.process = subprocess.Popen(
            [sys.executable, str(script)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL if quiet else None,
            text=True,
            encoding="utf-8",
            env=environment,
        )

    def ask(self, operation: str, **arguments: Any) -> Answer:
        """The child's answer. Raises EngineError."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        try:
            self.process.stdin.write(json.dumps({"op": operation, **arguments}) + "\n")
            self.process.stdin.flush()
            line = self.process.stdout.readline()
        except BrokenPipeError:
            line = ""
        if not line:
            ended = self.process.wait()
            raise EngineError(f"{self.name} ended with {ended} while asked to {operation}")
        result = json.loads(line)
        if "error" in result:
            raise EngineError(f"{self.name} cannot {operation}: {result['error']}")
        return result

    def cpu_seconds(self) -> float:
        """Processor time that the child has used."""
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return sum(map(int, fields[11:13])) / os.sysconf("SC_CLK_TCK")

    def close(self) -> None:
        """End the child and wait until its memory is free."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.wait()

    def __enter__(self) -> "Child":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def resident_bytes() -> Answer:
    """Largest and present resident size of this process, mapped files included."""
    lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    sizes = {name: value for name, _, value in (line.partition(":") for line in lines)}
    return {
        "max_rss": int(sizes["VmHWM"].split()[0]) * 1024,
        "rss": int(sizes["VmRSS"].split()[0]) * 1024,
    }


def common(a: list[int], b: list[int]) -> int:
    """How many tokens two sequences share from the start."""
    return next((i for i, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), min(len(a), len(b)))  # fmt: skip
