"""Runs one hostile program after the other, and says what came of them and what it has left itself.

`python -m attacks.hostile LEVEL RUNS`: a supervisor of its own, so that it can be killed in the middle.
"""

import json
import random
import sys
from collections import Counter
from pathlib import Path

from midfill.sandbox import InfraError, Limits, Sandbox

LIMITS = Limits(cpu_s=0.5, wall_s=1, memory_mb=64, disk_mb=8, files=64, processes=16, output_kb=64)

_BEGIN = "import os, signal, sys, threading, time, ctypes\nHOME = os.environ.get('HOME', '.')\n"
_END = "\ndef f():\n    return 1\n"

# Quick ones by far the most often: a sleeper takes its whole second, and a second time.
PROGRAMS = {
    "forks": """
try:
    while os.fork() == 0:
        os.setsid()
except OSError:
    pass
""",
    "a survivor": """
try:
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            time.sleep(100)
        os._exit(0)
except OSError:
    pass
""",
    "a flood": "for _ in range(200):\n    os.write(1, b'x' * 10_000)",
    "a flood without end, from a child": """
try:
    if os.fork() == 0:
        while True:
            os.write(1, b'x' * 1000)
except OSError:
    pass
""",
    "a segfault": "ctypes.string_at(0)",
    "an abort": "os.abort()",
    "memory": "held = [bytearray(10 << 20) for _ in range(100)]",
    "memory of children": """
try:
    for _ in range(8):
        if os.fork() == 0:
            held = b'x' * (40 << 20)
            time.sleep(0.2)
            os._exit(0)
except OSError:
    pass
""",
    "threads": """
try:
    for _ in range(100):
        threading.Thread(target=time.sleep, args=(9,), daemon=True).start()
except RuntimeError:
    pass
""",
    "files": """
try:
    os.chdir(HOME)
    for number in range(200):
        os.makedirs(f'{number}/' * 10)
        open(f'{number}/file', 'wb').write(bytes(100_000))
except OSError:
    pass
""",
    "everybody killed": "os.kill(-1, signal.SIGKILL)",
    "its own end": "os.kill(os.getpid(), signal.SIGKILL)",
    "an early end": "os._exit(0)",
    "closed descriptors": "os.closerange(0, 300)",
    "all descriptors": "held = []\ntry:\n    while True:\n        held.append(os.pipe())\nexcept OSError:\n    pass",
    "noise on its line": "for d in range(3, 20):\n    try:\n        os.write(d, os.urandom(64))\n    except OSError:\n        pass",
}  # fmt: skip
SLOW = {
    "stopped": "os.kill(os.getpid(), signal.SIGSTOP)",
    "asleep": "time.sleep(100)",
    "endless": "while True: pass",
    "stopped children": """
try:
    for _ in range(5):
        if os.fork() == 0:
            os.kill(os.getpid(), signal.SIGSTOP)
except OSError:
    pass
time.sleep(100)
""",
}


def descriptors() -> int:
    """How many this process has open."""
    return len(list(Path("/proc/self/fd").iterdir()))


def main(level: str, runs: int) -> None:
    """Run, and print what came of it as JSON."""
    chance = random.Random(runs)
    told: Counter[str] = Counter()
    with Sandbox(1, level=level) as sandbox:  # type: ignore[arg-type]
        assert sandbox.judge(_END, "assert f() == 1").passed
        before = descriptors()
        print("started", flush=True)
        for number in range(runs):
            some = SLOW if number % 200 == 7 else PROGRAMS
            name = chance.choice(sorted(some))
            boxed = sandbox.level != "C-strict" and chance.random() < 0.3
            told[f"{name}: {_run(sandbox, some[name], boxed=boxed)}"] += 1
        assert sandbox.judge(_END, "assert f() == 1").passed
        after = descriptors()
    print(json.dumps({"told": told, "descriptors": after - before, "open": descriptors()}))


def _run(sandbox: Sandbox, program: str, *, boxed: bool) -> str:
    if not boxed:
        return sandbox.judge(_BEGIN + program + _END, "assert f() == 1", limits=LIMITS).status
    try:
        with sandbox.box({"a.py": (_BEGIN + program).encode()}, LIMITS) as box:
            return box.run((box.worker.python, "-I", "-S", "a.py")).ended
    except InfraError:
        return "infra"


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
