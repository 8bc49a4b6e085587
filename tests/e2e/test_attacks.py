"""The attack list at every level that this machine gives, as root and as an ordinary user.

A row counts as stopped only if the same program gets through where nothing protects. The table is
printed; `python -m attacks` (with src and tests on PYTHONPATH) prints it as JSON.
"""

import ctypes
import json
import os
import struct
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

from attacks.attack import LIMITS
from attacks.registry import ALLOWED, GROUPS, WATCHED

ROOT = os.getuid() == 0
USERS = ["root", "ordinary"] if ROOT else ["ordinary"]
LEVELS = ["A", "B", "C-strict", "C"]
SOME = "1,2,6,17,28,35,54,66"  # a few of every group, for every day
ORDINARY_UID = 3_000_000  # plus our process id: nobody else's
TESTS = Path(__file__).parents[1]
OVERSHOOT = 2.0  # of a limit on memory that is looked at every 20 ms


def run(arguments: list[str], user: str, program: str = "attacks") -> str:
    """What the attacks' program prints, run as root or as an ordinary user."""
    python, command = sys.executable, ["-m", program]
    if user == "ordinary" and ROOT:
        python = "/usr/bin/python3"  # ours may lie where others cannot read
        uid = str(ORDINARY_UID + os.getpid())
        command = ["--reuid", uid, "--regid", uid, "--clear-groups", python, *command]
        python = "setpriv"
    ended = subprocess.run(
        [python, *command, *arguments],
        capture_output=True,
        text=True,
        cwd="/tmp",
        env=os.environ
        | {"PYTHONPATH": f"{TESTS.parent / 'src'}:{TESTS}", "PYTHONDONTWRITEBYTECODE": "1"},
    )
    assert ended.returncode == 0, ended.stderr[-2000:]
    return ended.stdout


@cache
def attacked(column: str, user: str, rows: str) -> dict[str, dict]:
    """What came of these rows at one level, or alone."""
    told = json.loads(run(["--columns", column, "--rows", rows], user))[column]
    if "unavailable" in told:
        pytest.skip(f"no level {column} for {user} here: {told['unavailable']}")
    return told


def through(told: dict[str, dict]) -> dict[int, str]:
    """Rows that got through, and how."""
    return {int(n): row["through"] for n, row in told.items() if row["through"]}


def check(level: str, user: str, rows: str) -> None:
    """Nothing gets through that is not said to."""
    told = attacked(level, user, rows)
    found = {n: how for n, how in through(told).items() if n not in WATCHED}
    assert not found.keys() - ALLOWED[level], {n: found[n] for n in found.keys() - ALLOWED[level]}


@pytest.mark.parametrize("level", ["A", "C-strict", "C"])
def test_some_attacks_are_stopped(level: str):
    check(level, USERS[0], SOME)


def test_some_attacks_work_where_nothing_stops_them():
    told = attacked("alone", USERS[0], SOME)
    assert not {n: row["note"] for n, row in told.items() if not row["through"]}


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize("user", USERS)
@pytest.mark.parametrize("level", LEVELS)
def test_attacks_are_stopped(level: str, user: str):
    check(level, user, "all")


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize("user", USERS)
def test_attacks_work_where_nothing_stops_them(user: str):
    """With the usual limits, else without, else as root; or this machine has nothing to attack."""
    told = attacked("alone", user, "all")
    assert not {
        n: row["note"]
        for n, row in told.items()
        if not row["through"] and not row["note"].startswith("lacking: ")
    }
    held = {a.number for group in GROUPS.values() for a in group if a.held_by}
    unlimited = {int(n) for n, row in told.items() if row["note"] == "no limits"}
    own = {a.number for group in GROUPS.values() for a in group if a.alone}
    assert unlimited <= held | own, "these are stopped by limits alone, which the list must say"


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_memory_at_level_b_is_bounded_by_looking_often():
    """Row 46 may pass the limit for as long as it takes to look again."""
    told = attacked("B", USERS[0], "46")
    peak = told["46"]["peak"] / 2**20
    print(f"6 processes of 400 MB at level B: at most {peak:.0f} MiB of {LIMITS.memory_mb} allowed")
    assert peak < OVERSHOOT * LIMITS.memory_mb
    assert "it said so" not in (told["46"]["through"] or "")


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("user", USERS)
def test_table(user: str):
    """Prints the whole table; what it should say is asserted above."""
    columns = {}
    for column in ["alone", *LEVELS]:
        try:
            columns[column] = attacked(column, user, "all")
        except pytest.skip.Exception as why:
            print(why)
    print(f"\n{user}: X got through, · stopped, – not applicable; alone: where it got through")
    print(f"{'':>3} {'':38}{'alone':>12}" + "".join(f"{c:>10}" for c in columns if c != "alone"))
    for title, group in GROUPS.items():
        print(f"    {title}")
        for attack in group:
            cells = [_cell(told[str(attack.number)], name) for name, told in columns.items()]
            notes = [
                told[str(attack.number)]["through"] for n, told in columns.items() if n != "alone"
            ]
            said = "; ".join(dict.fromkeys(note for note in notes if note))
            print(f"{attack.number:>3} {attack.name:38}{cells[0]:>12}"
                  + "".join(f"{cell:>10}" for cell in cells[1:]) + f"  {said}")  # fmt: skip
    for name, told in columns.items():
        print(f"{name}: {len([n for n in through(told) if n not in WATCHED])} of {len(told)} got through,"
              f" in {sum(row['wall_s'] for row in told.values()):.0f} s")  # fmt: skip


def _cell(row: dict, column: str) -> str:
    if column == "alone":
        return row["note"] if row["through"] else "–"
    return "X" if row["through"] else "–" if "no boxes" in row["note"] else "·"


# What a machine is like whose kernel has neither Landlock nor namespaces for us: the filter answers
# ENOSYS to landlock_create_ruleset and EPERM to unshare and to clone with any namespace.
def _without_isolation() -> None:
    clone, unshare = {"x86_64": (56, 272), "aarch64": (220, 97)}[os.uname().machine]
    code = [
        (0x20, 0, 0, 0),
        (0x15, 5, 0, 444),
        (0x15, 5, 0, unshare),
        (0x15, 0, 2, clone),
        (0x20, 0, 0, 16),
        (0x45, 2, 0, 0x7E020000),
        (0x06, 0, 0, 0x7FFF0000),
        (0x06, 0, 0, 0x00050000 | 38),
        (0x06, 0, 0, 0x00050000 | 1),
    ]
    held = ctypes.create_string_buffer(b"".join(struct.pack("=HBBI", *line) for line in code))
    program = struct.pack("@HP", len(code), ctypes.addressof(held))
    libc = ctypes.CDLL(None, use_errno=True)
    assert libc.prctl(38, ctypes.c_ulong(1), 0, 0, 0) == 0
    assert libc.prctl(22, ctypes.c_ulong(2), program, 0, 0) == 0


_REFUSALS = """
import os
from midfill.errors import SandboxError
from midfill.sandbox import Sandbox, judge

for level in (None, "A", "B", "C-strict", "C", "D"):
    for minimum in ("A", "B", "C-strict", "C", "D"):
        try:
            Sandbox(1, level=level, minimum=minimum)
        except SandboxError as refused:
            assert refused.why and refused.fix
            continue
        raise AssertionError(f"level {level}, minimum {minimum}")
try:
    judge("def f(): return 1", "assert f() == 1")
except SandboxError:
    print("refused")
"""


def test_a_machine_that_isolates_nothing_is_refused_every_time():
    ended = subprocess.run(
        [sys.executable, "-c", _REFUSALS],
        capture_output=True,
        text=True,
        preexec_fn=_without_isolation,
        env=os.environ | {"PYTHONPATH": str(TESTS.parent / "src")},
    )
    assert ended.returncode == 0, ended.stderr[-2000:]
    assert ended.stdout == "refused\n"
