"""Rows 66 and 67: what a program prints and names, and two runs at one time."""

import concurrent.futures
import contextlib
import os
import subprocess
import unicodedata
from pathlib import Path
from typing import TYPE_CHECKING

from attacks.attack import LIMITS, Attack
from attacks.host import SYSTEM_PYTHON
from midfill.sandbox import Sandbox

if TYPE_CHECKING:
    from attacks.host import Host

NASTY = b"\x1b[2J\x1b]0;title\x07\xff\xfe\x00\x9b31m\xc2\x9b31m\xe2\x80\xae\r\x08\x7f\xe2\x80\xa8"
PRINT = f"os.write(1, {NASTY!r})"
# Where its words come from when it fails: the type's name, its message, the returned text.
RAISE = f"nasty = {NASTY!r}.decode('latin-1')\nraise type(nasty.replace(chr(0), ''), (Exception,), {{}})(nasty)"
ANSWER = f"def f(): return {NASTY!r}.decode('latin-1')"
END = f"import sys\nsys.exit({NASTY!r}.decode('latin-1'))"
NAMES = """
os.chdir(os.environ.get("HOME", "."))
for name in (b"new\\nline", b"\\xff\\xfe", b"\\x1b[2J", b"-rf", b"\\xe2\\x80\\xaebid"):
    os.close(os.open(name, os.O_CREAT | os.O_WRONLY))
"""


def _control_characters(text: str) -> list[str]:
    """Characters that do something to a terminal instead of showing there."""
    return [
        c for c in text if unicodedata.category(c) in ("Cc", "Cf", "Zl", "Zp") and c not in "\n\t"
    ]


def words_for_a_terminal(host: "Host", sandbox: Sandbox) -> str | None:
    """Whether what a verdict says would do something to a terminal that shows it."""
    attack = next(a for a in ATTACKS if a.number == 66)
    for program in (f"{attack.text(host)}\ndef f(): return 1", RAISE, ANSWER, END):
        for tests in ("assert f() == 2", "def check(c):\n    assert c() == 'x'\ncheck(f)"):
            verdict = sandbox.judge(program, tests, "f", limits=LIMITS)
            for field in (verdict.output, verdict.detail):
                if found := _control_characters(field):
                    return f"{sorted(set(found))} in {program[:12]!r}'s words"
    if sandbox.level == "C-strict":
        return None
    with sandbox.box({"attack.py": (attack.text(host) + NAMES).encode()}) as box:
        assert box.run((box.worker.python, "attack.py")).ok
        for name in ("new\nline", os.fsdecode(b"\xff\xfe"), "\x1b[2J", "-rf"):
            with contextlib.suppress(OSError, ValueError):
                box.read(name)
    return None


def words_alone(host: "Host") -> str | None:
    """A harness that shows what it got."""
    program = next(a for a in ATTACKS if a.number == 66).text(host)
    got = subprocess.run([SYSTEM_PYTHON, "-c", program], capture_output=True).stdout
    return "escape codes" if _control_characters(got.decode(errors="replace")) else None


SHARED = """
os.chdir(os.environ.get("HOME", "."))
mine = H["name"] + str(os.getpid()) + str(time.monotonic_ns())
places = {".", "..", os.getcwd(), "/tmp", "/dev/shm", "/var/tmp"}
for place in places:
    try:
        open(place + "/" + mine, "w").close()
    except OSError:
        pass
end = time.monotonic() + 0.7
while time.monotonic() < end:
    for place in list(places):
        try:
            for name in os.listdir(place):
                if name.startswith(H["name"]) and name != mine:
                    won()
                    end = 0
                inside = place + "/" + name
                if "/midfill-" in inside and os.path.isdir(inside):  # the sandbox's own, and in them
                    places.add(inside)
        except OSError:
            pass
    time.sleep(0.01)
"""


def at_one_time(host: "Host", sandbox: Sandbox) -> str | None:
    """Two runs of the same program side by side, each looking for what the other writes."""
    from attacks.running import in_box, sealed

    attack = next(a for a in ATTACKS if a.number == 67)
    ways = [sealed] if sandbox.level == "C-strict" else [sealed, in_box]
    with (
        Sandbox(2, level=sandbox.level) as two,
        concurrent.futures.ThreadPoolExecutor(2) as pool,
    ):
        for way in ways:
            runs = [pool.submit(way, attack, host, two) for _ in range(2)]
            if any(host.marker.encode() in run.result().output for run in runs):
                return "one run saw the other's file"
    return None


def directory_alone(host: "Host") -> str | None:
    """Two runs without a sandbox, in the directory of whoever started them."""
    from attacks.running import unprotected

    attack = next(a for a in ATTACKS if a.number == 67)
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        runs = [pool.submit(unprotected, attack, host, Path("/tmp")) for _ in range(2)]
        through = any(host.marker.encode() in run.result().output for run in runs)
    for folder in ("/", "/tmp", "/dev/shm", "/var/tmp"):
        for path in Path(folder).glob(host.name + "*"):
            path.unlink()
    return "one run saw the other's file" if through else None


ATTACKS = [
    Attack(number=66, name="escape codes, strange names", program=PRINT,
           drive=words_for_a_terminal, alone=words_alone),
    Attack(number=67, name="two runs at one time share a folder", program=SHARED,
           drive=at_one_time, alone=directory_alone),
]  # fmt: skip
