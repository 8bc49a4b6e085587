"""Tries one attack at one level, or without protection, and says what came of it."""

import contextlib
import os
import resource
import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from attacks.attack import Attack, Ran
from attacks.host import SYSTEM_PYTHON, Host
from attacks.registry import WITHOUT_A_BOX
from midfill.sandbox import Sandbox, Verdict, linux

MIB = 1 << 20
OVERSHOOT = 1.25  # of the limit on memory, from which on the limit has not held


@dataclass(frozen=True, slots=True)
class Result:
    """What came of one attack."""

    through: str | None  # how it got through; None: it was stopped
    note: str = ""
    wall_s: float = 0.0
    peak: int = 0

    def as_json(self) -> dict:
        """For the other end of a pipe."""
        return asdict(self)


def sealed(attack: Attack, host: Host, sandbox: Sandbox) -> Ran:
    """Run it as the program of a sealed verdict, whose tests a decent program would pass."""
    started = time.monotonic()
    code = f"{attack.text(host)}\n\ndef f():\n    return 1\n"
    with _watching(host, attack.measured) as peak:
        verdict = sandbox.judge(code, "assert f() == 1", limits=attack.limits)
    output = (verdict.output + verdict.detail).encode()
    return Ran(output, time.monotonic() - started, verdict.status, peak())


def in_box(attack: Attack, host: Host, sandbox: Sandbox) -> Ran:
    """Run it as a command in a box."""
    started = time.monotonic()
    with (
        _watching(host, attack.measured) as peak,
        sandbox.box({"attack.py": attack.text(host).encode()}, attack.limits) as box,
    ):
        outcome = box.run((box.worker.python, "attack.py"))
    output = outcome.stdout + outcome.stderr + outcome.report
    return Ran(output, time.monotonic() - started, outcome.ended, peak())


def protected(attack: Attack, host: Host, sandbox: Sandbox) -> Result:
    """Try it at the level of `sandbox`, in every way that the level runs programs."""
    if attack.number in WITHOUT_A_BOX and sandbox.level == "C-strict":
        return Result(None, "this level has no boxes")
    started = time.monotonic()
    if attack.drive:
        _settle(host, sandbox)
        through = attack.drive(host, sandbox) or _left(host, sandbox)
        return Result(through, wall_s=time.monotonic() - started)
    notes, peak, through = [], 0, None
    ways = [sealed] if sandbox.level == "C-strict" else [sealed, in_box]
    for way in ways:
        _settle(host, sandbox)
        ran = way(attack, host, sandbox)
        notes.append(ran.status)
        peak = max(peak, ran.peak)
        if through := got_through(attack, host, ran, sandbox):
            through = f"{through} ({way.__name__.replace('_', ' ')})"
            break
    return Result(through, ", ".join(notes), time.monotonic() - started, peak)


def got_through(attack: Attack, host: Host, ran: Ran, sandbox: Sandbox | None = None) -> str | None:
    """How an attack succeeded, by its own words, by its effect, or by what it left behind."""
    found = None
    if host.marker.encode() in ran.output:
        found = "it said so"
    elif host.secret.encode() in ran.output:
        found = "it knew the secret"
    if attack.effect:
        found = attack.effect(host, ran) or found
    if attack.measured and ran.peak > attack.limits.memory_mb * MIB * OVERSHOOT:
        found = f"it used {ran.peak / MIB:.0f} MiB"
    if ran.status == "infra":
        found = found or "it broke the sandbox, so nobody judges it"
    return _left(host, sandbox) or found


def _settle(host: Host, sandbox: Sandbox) -> None:
    """A clean state: no files of earlier runs, all targets there, the worker running."""
    host.dropped()
    host.datagram()
    verdict = _plain(sandbox)
    assert verdict.passed, verdict
    host.belong_to_the_worker()
    host.ensure_victim()
    host.remember_processes()


def _plain(sandbox: Sandbox) -> Verdict:
    """A run that attacks nothing."""
    return sandbox.judge("def f(): return 1", "assert f() == 1")


def _left(host: Host, sandbox: Sandbox | None = None) -> str | None:
    """Processes that outlive a run. A sandbox has some ready for its next run: they go with that."""
    left = host.strangers(0 if sandbox else 1)
    if left and sandbox:
        _plain(sandbox)
        left = host.strangers(among=left)
    if not left:
        return None
    host.end_strangers(left if sandbox else None)
    return f"{len(left)} processes outlive it"


@contextmanager
def _watching(host: Host, measured: bool) -> Iterator[Callable[[], int]]:
    """Look at the memory of all processes of a run every few milliseconds."""
    peak, stop = [0], threading.Event()

    def look() -> None:
        while not stop.wait(0.003):
            peak[0] = max(peak[0], host.memory())

    thread = threading.Thread(target=look)
    if measured:
        thread.start()
    try:
        yield lambda: peak[0]
    finally:
        stop.set()
        if measured:
            thread.join()


def alone(attack: Attack, host: Host) -> Result:
    """Show that it works where nothing protects: with the usual limits, without, or as root."""
    started = time.monotonic()
    if attack.fatal and not host.root:
        return Result(None, "lacking: another user, it would end this program")
    host.ensure_victim()
    if attack.alone:
        return Result(attack.alone(host), "no limits", time.monotonic() - started)
    tries = [("limits", True, False), ("no limits", False, False)]
    if host.root and attack.needs_root:
        tries.append(("as root", False, True))
    lacking, ran = "", Ran(b"", 0, "")
    for note, limited, as_root in tries:
        host.dropped()
        host.ensure_victim()
        host.remember_processes()
        with tempfile.TemporaryDirectory(prefix="midfill-attack-") as folder:
            Path(folder).chmod(0o777)
            ran = unprotected(attack, host, Path(folder), limited=limited, as_root=as_root)
        through = got_through(attack, host, ran)
        host.end_strangers()
        host.dropped()
        if through:
            return Result(through, note, time.monotonic() - started, ran.peak)
        if b"lacking: " in ran.output:
            lacking = ran.output.decode(errors="replace").splitlines()[0]
    if not lacking and attack.needs_root and not host.root:
        lacking = f"lacking: root, {attack.needs_root}"
    shown = lacking or f"{ran.status}: {ran.output[-300:].decode(errors='replace')}"
    return Result(None, shown, time.monotonic() - started)


def unprotected(
    attack: Attack, host: Host, folder: Path, *, limited: bool = True, as_root: bool = False
) -> Ran:
    """Run it as an ordinary process of the attacked user, as most harnesses do."""
    started = time.monotonic()
    identity = {} if as_root else host.identity()
    program = Path(folder, "attack.py") if folder != Path("/tmp") else None
    if program:
        program.write_text(attack.text(host))
        program.chmod(0o644)
    command = [str(program)] if program else ["-c", attack.text(host)]

    def prepare() -> None:
        if as_root:
            linux.unshare(linux.NEWNS)
            linux.mount("none", "/", "", linux.PRIVATE | linux.RECURSIVE)
        if limited:
            _usual_limits(int(attack.limits.cpu_s))

    with _watching(host, attack.measured) as peak:
        process = subprocess.Popen(
            [SYSTEM_PYTHON, "-I", "-S", *command],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            close_fds=False,
            cwd=folder,
            env=os.environ | {"HOME": str(folder)},
            start_new_session=True,
            preexec_fn=prepare,
            **identity,
        )
        status = "ended"
        try:
            output, _ = process.communicate(timeout=attack.patience)
        except subprocess.TimeoutExpired:
            status, ended_s = "cut", time.monotonic() - started
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            _left(host)
            output, _ = process.communicate()
        else:
            ended_s = time.monotonic() - started
            if process.returncode < 0:
                status = signal.Signals(-process.returncode).name
    left = tuple(path.name for path in folder.iterdir()) if program else ()
    assert isinstance(output, bytes)
    return Ran(output, ended_s, status, peak(), left)


def _usual_limits(cpu_s: int) -> None:
    limits = {
        resource.RLIMIT_AS: 1 << 30,
        resource.RLIMIT_FSIZE: 16 * MIB,
        resource.RLIMIT_NOFILE: 64,
        resource.RLIMIT_NPROC: 64,
        resource.RLIMIT_CORE: 0,
        resource.RLIMIT_STACK: 64 * MIB,
        resource.RLIMIT_MSGQUEUE: 0,
    }
    for what, most in limits.items():
        resource.setrlimit(what, (most, most))
    resource.setrlimit(resource.RLIMIT_CPU, (cpu_s, cpu_s + 1))
