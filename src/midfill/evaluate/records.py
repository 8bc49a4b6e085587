"""Samples on disk: one JSON line for each answer, written as soon as it is there.

    {"task_id": "HumanEval/0", "sample": 0, "completion": "...", "finish": "stop", ...}

A line also holds the hash of its prompt and what decides the answers of its run, so that a resumed
run takes only what it would have written itself. A run that is killed leaves at most one torn line,
the last one, which is dropped. A line without a completion says why there is none; it counts as
absent when the run is resumed.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from midfill.errors import ConfigError
from midfill.evaluate.source import Answer
from midfill.evaluate.task import Prompt, Task

Key = tuple[str, int]  # task and number of the sample
_NAMED = 5  # tasks that an error names


def prompt_hash(prompt: Prompt) -> str:
    """A short hash of everything that a model is asked with."""
    whole = json.dumps(asdict(prompt), sort_keys=True, default=dict)
    return hashlib.sha256(whole.encode("utf-8", "surrogatepass")).hexdigest()[:16]


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """An answer as it was kept."""

    answer: Answer
    extracted: bool = False  # the text is a program, made by somebody else's extraction


class Samples:
    """The file of a run's samples, open for more. One run at a time may have it open.

    Raises ConfigError where the file belongs to another run, or is damaged.
    """

    def __init__(self, path: Path, run: Mapping[str, Any], tasks: Sequence[Task]) -> None:
        """`run`: what decides the answers, besides the prompts of `tasks`."""
        self.path = path
        self.run = json.loads(json.dumps(run))  # as it will be read again
        self._prompts = {task.task_id: prompt_hash(task.prompt) for task in tasks}
        self.kept: dict[Key, Answer] = {}
        self._lock = _lock(path)
        try:
            self._read()
            self._file = path.open("a", encoding="utf-8", errors="surrogatepass")
        except BaseException:
            self._lock.release()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Let others have the file."""
        self._file.close()
        self._lock.release()

    def add(self, task_id: str, sample: int, answer: Answer, seed: int | None) -> None:
        """Write one answer; it is on its way to the disk when this returns."""
        line = {
            "task_id": task_id,
            "sample": sample,
            "completion": None if answer.problem else answer.text,
            **{k: v for k, v in asdict(answer).items() if k != "text" and v not in ("", None)},
            "seed": seed,
            "prompt": self._prompts[task_id],
            "run": self.run,
        }
        self._file.write(
            json.dumps({k: v for k, v in line.items() if v is not None or k == "completion"}) + "\n"
        )
        self._file.flush()
        if not answer.problem:
            self.kept[task_id, sample] = answer

    def _read(self) -> None:
        if not self.path.exists():
            return
        for number, line in _lines(self.path, mend=True):
            row = _object(line, self.path, number)
            self._check(row, number)
            if row["completion"] is not None and row["task_id"] in self._prompts:
                self.kept[row["task_id"], row["sample"]] = _answer(row)

    def _check(self, row: Mapping[str, Any], number: int) -> None:
        """Raise ConfigError for a line that this run would not have written."""
        missing = [k for k in ("task_id", "sample", "completion", "prompt", "run") if k not in row]
        if missing:
            raise self._other(
                f"line {number} has no {missing[0]}: it is no file of samples to go on with"
            )
        if row["run"] != self.run:
            told = "; ".join(_differences(row["run"], self.run))
            raise self._other(f"line {number} was made by another run: {told}")
        expected = self._prompts.get(row["task_id"])
        if expected not in (None, row["prompt"]):
            raise self._other(
                f"line {number}: {row['task_id']} was asked with another prompt than it would be now"
            )

    def _other(self, why: str) -> ConfigError:
        return ConfigError(
            f"{self.path} cannot be gone on with",
            why=why,
            fix="give another --out, or --fresh to begin again; --samples scores it as it is",
        )


def _differences(theirs: Any, ours: Mapping[str, Any]) -> Iterator[str]:
    """In what two runs differ, part by part."""
    if not isinstance(theirs, dict):
        yield "it names no run"
        return
    for name in dict.fromkeys([*theirs, *ours]):
        there, here = theirs.get(name), ours.get(name)
        if isinstance(there, dict) and isinstance(here, dict):
            yield from _differences(there, here)
        elif there != here:
            yield f"{name} was {there!r} and is {here!r}"


def _lock(path: Path) -> Any:
    from filelock import FileLock, Timeout

    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        lock = FileLock(path.with_name(path.name + ".lock"))
        lock.acquire(timeout=0)
    except Timeout:
        raise ConfigError(
            f"{path} is being written by another run",
            why="two runs would write the same answers twice",
            fix="wait for it, or give another --out",
        ) from None
    except OSError as problem:
        raise ConfigError(
            f"{path} cannot be written",
            why=problem.strerror or str(problem),
            fix="give a folder of yours with --out",
        ) from problem
    return lock


def _lines(path: Path, *, mend: bool = False) -> Iterator[tuple[int, bytes]]:
    """The whole lines of a file, numbered; `mend` cuts a torn last line off the file itself."""
    try:
        raw = path.read_bytes()
        whole = raw.rfind(b"\n") + 1
        if mend and whole < len(raw):
            with path.open("r+b") as file:
                file.truncate(whole)
    except OSError as problem:
        raise ConfigError(
            f"{path} cannot be read",
            why=problem.strerror or str(problem),
            fix="name a file of JSON lines",
        ) from problem
    for number, line in enumerate((raw[:whole] if mend else raw).split(b"\n"), 1):
        if line.strip():
            yield number, line


def _object(line: bytes, path: Path, number: int) -> dict[str, Any]:
    try:
        row = json.loads(line)
    except (ValueError, RecursionError) as problem:
        raise _bad_line(path, number, f"it is no JSON: {problem}") from problem
    if not isinstance(row, dict):
        raise _bad_line(path, number, "it is no JSON object")
    return row


def _bad_line(path: Path, number: int, why: str) -> ConfigError:
    return ConfigError(
        f"line {number} of {path} cannot be read",
        why=why,
        fix='each line is one answer: {"task_id": "HumanEval/0", "completion": "..."}',
    )


def _answer(row: Mapping[str, Any]) -> Answer:
    """The answer in a line; of a kind that is not expected nothing is taken."""

    def taken(name: str, kind: Any) -> Any:
        value = row.get(name)
        return value if isinstance(value, kind) and not isinstance(value, bool) else None

    return Answer(
        text=taken("completion", str) or "",
        finish=taken("finish", str) or "",
        prompt_tokens=taken("prompt_tokens", int),
        tokens=taken("tokens", int),
        seconds=taken("seconds", int | float),
        problem=taken("problem", str) or "",
    )


# ------------------------------------------------------------------------------- made elsewhere


def read_samples(path: Path, tasks: Sequence[Task], known: Sequence[str]) -> dict[Key, Kept]:
    """The answers to `tasks` in a file made elsewhere, numbered in the order of its lines.

    Lines hold a task_id with a completion, or with a solution: a whole program, as EvalPlus writes
    it, from which nothing is extracted any more. `known` are all task ids of the benchmark; answers
    to those that are not among `tasks` are left out. Raises ConfigError for a line that cannot be
    read, an unknown task, a task without an answer.
    """
    wanted, names = {task.task_id for task in tasks}, set(known)
    numbers: dict[str, int] = {}
    found: dict[Key, Kept] = {}
    for number, line in _lines(path):
        row = _object(line, path, number)
        task_id = _task_id(row, names, path, number)
        kept = _kept(row, path, number)
        if task_id not in wanted:
            continue
        sample = row.get("sample")
        if not isinstance(sample, int) or isinstance(sample, bool):
            sample = numbers[task_id] = numbers.get(task_id, -1) + 1
        if not (kept.answer.problem and (task_id, sample) in found):
            found[task_id, sample] = kept
    _check_whole(found, tasks, path)
    return found


def _task_id(row: Mapping[str, Any], names: set[str], path: Path, number: int) -> str:
    task_id = row.get("task_id")
    if isinstance(task_id, int) and not isinstance(task_id, bool):
        task_id = next((name for name in names if name.rpartition("/")[2] == str(task_id)), task_id)
    if isinstance(task_id, str) and task_id in names:
        return task_id
    why = "it has no task_id" if task_id is None else f"the benchmark has no task {task_id!r}"
    example = min(names, default="")
    raise ConfigError(
        f"line {number} of {path} cannot be scored",
        why=why,
        fix=f"its tasks have names such as {example}: give the benchmark that the file was made for",
    )


def _kept(row: Mapping[str, Any], path: Path, number: int) -> Kept:
    if isinstance(row.get("solution"), str):
        return Kept(answer=replace(_answer(row), text=row["solution"]), extracted=True)
    if isinstance(row.get("completion"), str):
        return Kept(answer=_answer(row))
    if isinstance(row.get("problem"), str) and row["problem"]:
        return Kept(answer=_answer(row))
    raise _bad_line(path, number, "it has no completion and no solution that is a text")


def _check_whole(found: Mapping[Key, Kept], tasks: Sequence[Task], path: Path) -> None:
    answered = {task_id for task_id, _ in found}
    missing = [task.task_id for task in tasks if task.task_id not in answered]
    if missing:
        names = ", ".join(missing[:_NAMED]) + ", ..." * (len(missing) > _NAMED)
        raise ConfigError(
            f"{path} has no answer to {len(missing)} of {len(tasks)} tasks",
            why=f"it lacks {names}; a score counts every task",
            fix="answer them all (an empty completion counts as one), or give --limit for the first ones",
        )
    if len({kept.extracted for kept in found.values()}) > 1:
        raise ConfigError(
            f"{path} holds both completions and solutions",
            why="a solution is scored as it is, a completion under extraction rules",
            fix="make two files of it",
        )
