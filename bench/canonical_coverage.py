"""How many reference solutions of each benchmark pass in our judge, and how many verdicts are sealed.

    python bench/canonical_coverage.py [humaneval humaneval+ mbpp mbpp+] [--level B] [--json]

A reference solution that does not pass, or whose verdict is not sealed, is named with the reason.
"""

import argparse
import json
import os
import time
from collections import Counter
from typing import Any

import machine
from sandbox_speed import judge_all

from midfill.errors import UserError
from midfill.evaluate.benchmarks import benchmark
from midfill.evaluate.task import Program
from midfill.sandbox import Sandbox

SETS = ("humaneval", "humaneval+", "mbpp", "mbpp+")
SEALED = {"humaneval": 164, "humaneval+": 163, "mbpp": 499, "mbpp+": 377}  # at least


def cover(name: str, sandbox: Sandbox) -> dict[str, Any]:
    """What the judge says about the reference solutions of one set."""
    one = benchmark(name)
    tasks = one.tasks("base")
    programs = []
    for task in tasks:
        program = one.program(task, one.canonical(task) or "")
        assert isinstance(program, Program)
        programs.append(program)
    start = time.perf_counter()
    verdicts = judge_all(sandbox, programs, sandbox.workers)
    return {
        "set": name,
        "version": one.version[:12],
        "tasks": len(tasks),
        "pass": sum(verdict.passed for verdict in verdicts),
        "sealed_passes": sum(verdict.passed and verdict.sealed for verdict in verdicts),
        "wanted_sealed": SEALED.get(name),
        "statuses": dict(Counter(verdict.status for verdict in verdicts)),
        "seconds": time.perf_counter() - start,
        "slowest": sorted(
            ((round(v.cpu_s, 2), task.task_id) for v, task in zip(verdicts, tasks, strict=True)),
            reverse=True,
        )[:3],
        "exceptions": [
            {"task": task.task_id, "status": v.status, "sealed": v.sealed, "detail": v.detail}
            for task, v in zip(tasks, verdicts, strict=True)
            if not (v.passed and v.sealed)
        ],
    }


def main() -> None:
    """Print a line per set, and one per exception."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("sets", nargs="*", default=SETS)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--level", choices=("A", "B", "C-strict", "C"))
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    try:
        with Sandbox(given.workers, level=given.level) as sandbox:
            rows = []
            for name in given.sets:
                row = cover(name, sandbox) | {"level": sandbox.level, "load": os.getloadavg()[0]}
                rows.append(row)
                if not given.json:
                    show(row)
    except UserError as error:
        raise SystemExit(str(error)) from None
    if given.json:
        print(json.dumps(machine.describe() | {"sets": rows}))


def show(row: dict[str, Any]) -> None:
    """One set, for people."""
    wanted = f" (wanted: {row['wanted_sealed']})" if row["wanted_sealed"] else ""
    print(
        f"{row['set']}: {row['pass']} of {row['tasks']} pass, {row['sealed_passes']} of them "
        f"sealed{wanted}; level {row['level']}, {row['seconds']:.1f} s, slowest {row['slowest']}",
        flush=True,
    )
    for each in row["exceptions"]:
        sealed = "sealed" if each["sealed"] else "not sealed"
        print(f"  {each['task']}: {each['status']}, {sealed}: {each['detail']}", flush=True)


if __name__ == "__main__":
    main()
