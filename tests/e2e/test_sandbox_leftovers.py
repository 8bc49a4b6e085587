"""Nothing stays behind: not after hostile runs, not after a kill -9; and a broken sandbox says so.

Every fault of the machine must come out as `infra`: a program is never wrong because a fork failed.
"""

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import pytest

from midfill.errors import SandboxError
from midfill.sandbox import InfraError, Limits, Sandbox, Verdict
from midfill.sandbox.languages import LANGUAGES, available
from midfill.sandbox.processes import descendants
from midfill.sandbox.worker import FIRST_UID, UIDS

ROOT = os.getuid() == 0
TESTS = Path(__file__).parents[1]
RUNS = int(os.environ.get("MIDFILL_HOSTILE_RUNS", "10000"))
ORDINARY_UID = 3_500_000
RIGHT, TEST = "def f(): return 1", "assert f() == 1"
WAITS = "import time\ntime.sleep(2)\ndef f(): return 1"
QUICK = Limits(cpu_s=1, wall_s=5, memory_mb=128)


@pytest.fixture(params=["A", "B", "C-strict", "C"])
def level(request: pytest.FixtureRequest) -> str:
    try:
        Sandbox(1, level=request.param).close()
    except SandboxError as refused:
        pytest.skip(f"no level {request.param} here: {refused.why}")
    return request.param


def mounts() -> set[str]:
    """What is mounted, for us."""
    return set(Path("/proc/self/mountinfo").read_text().splitlines())


def folders(supervisor: int) -> list[str]:
    """Directories and cgroups that a supervisor has made."""
    found = list(Path(tempfile.gettempdir()).glob(f"midfill-{supervisor}-*"))
    for top in ("memory", "pids", "unified", "."):
        found += Path("/sys/fs/cgroup", top).glob(f"midfill-{supervisor}-*")
    return sorted(map(str, found))


def processes(supervisor: int, user: int | None) -> list[str]:
    """What still runs, or waits to be reaped, for a supervisor: its workers, and all of their users."""
    first = FIRST_UID + UIDS * supervisor
    users = range(first, first + UIDS) if user is None else range(user, user + 1)
    found = []
    for entry in os.scandir("/proc"):
        with contextlib.suppress(OSError, IndexError):
            if not entry.name.isdigit() or int(entry.name) in (supervisor, os.getpid()):
                continue
            status = Path(entry.path, "status").read_text()
            uid = int(status.split("Uid:")[1].split()[0])
            words = Path(entry.path, "cmdline").read_text()
            if uid in users or f'"supervisor": {supervisor},' in words:
                found.append(
                    " ".join([entry.name, status.split("State:")[1].split()[0], words[:99]])
                )
    return found


def soon_empty(look: Callable[[], list[str]], seconds: float = 10) -> list[str]:
    """What `look` still finds when this time is over, or nothing as soon as it finds nothing."""
    end = time.monotonic() + seconds
    while (found := look()) and time.monotonic() < end:
        time.sleep(0.02)
    return found


def supervisor(level: str, runs: int, *, ordinary: bool = False) -> subprocess.Popen[str]:
    """A supervisor with hostile work to do, already at it."""
    command = [sys.executable, "-m", "attacks.hostile", level, str(runs)]
    if ordinary and ROOT:
        uid = str(ORDINARY_UID + os.getpid())
        command = ["setpriv", "--reuid", uid, "--regid", uid, "--clear-groups",
                   "/usr/bin/python3", *command[1:]]  # fmt: skip
    process = subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd="/tmp",
        env=os.environ
        | {"PYTHONPATH": f"{TESTS.parent / 'src'}:{TESTS}", "PYTHONDONTWRITEBYTECODE": "1"},
    )
    return process


def nothing_left(pid: int, before: set[str], user: int | None) -> None:
    """No process, mount, cgroup or directory of this supervisor is there any more."""
    assert soon_empty(lambda: processes(pid, user)) == []
    assert soon_empty(lambda: folders(pid)) == []
    assert not mounts() - before


def hostile_runs(level: str, runs: int, *, ordinary: bool = False) -> None:
    user = ORDINARY_UID + os.getpid() if ordinary and ROOT else None if ROOT else os.getuid()
    before = mounts()
    process = supervisor(level, runs, ordinary=ordinary)
    out, err = process.communicate()
    assert process.returncode == 0, err[-2000:]
    told = json.loads(out.splitlines()[-1])
    print(f"{level}, {'ordinary' if ordinary else 'as we are'}: {told}")
    assert told["descriptors"] == 0
    assert not {name: n for name, n in told["told"].items() if name.endswith("infra")}
    nothing_left(process.pid, before, user)


def kill_in_the_middle(level: str, times: int, *, ordinary: bool = False) -> None:
    user = ORDINARY_UID + os.getpid() if ordinary and ROOT else None if ROOT else os.getuid()
    before = mounts()
    for number in range(times):
        process = supervisor(level, 100_000, ordinary=ordinary)
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.readline() == "started\n", process.stderr.read()[-2000:]
        time.sleep(0.05 + 0.13 * number % 1)
        process.kill()
        process.communicate()
        nothing_left(process.pid, before, user)


@pytest.mark.slow
def test_hostile_runs_leave_nothing_behind():
    hostile_runs("C-strict", 30)


def test_a_killed_supervisor_leaves_nothing_behind():
    try:
        Sandbox(1, level="A").close()
    except SandboxError:
        kill_in_the_middle("C-strict", 1)
    else:
        kill_in_the_middle("A", 1)


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("ordinary", [False, True] if ROOT else [True])
def test_many_hostile_runs_leave_nothing_behind(level: str, ordinary: bool):
    """Ten thousand in all."""
    if level == "A" and ordinary:
        pytest.skip("no cgroup for an ordinary user")
    hostile_runs(level, -(-RUNS // 7), ordinary=ordinary)


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("ordinary", [False, True] if ROOT else [True])
def test_supervisors_killed_at_any_moment_leave_nothing_behind(level: str, ordinary: bool):
    if level == "A" and ordinary:
        pytest.skip("no cgroup for an ordinary user")
    kill_in_the_middle(level, 8, ordinary=ordinary)


def ours() -> set[int]:
    """Processes of workers of this very process."""
    found = set()
    for process in descendants(os.getpid()):
        with contextlib.suppress(OSError):
            words = Path(f"/proc/{process}/cmdline").read_text()
            if f'"supervisor": {os.getpid()},' in words:
                found.add(process)
    return found


@contextlib.contextmanager
def one_worker(level: str) -> Iterator[tuple[Sandbox, list[int]]]:
    """A sandbox, and its keeper, middle and zygote; afterwards all that it used must be gone."""
    earlier, made, mounted = ours(), set(folders(os.getpid())), mounts()
    with Sandbox(1, level=level) as sandbox:  # type: ignore[arg-type]
        recovers(sandbox)
        yield sandbox, sorted(ours() - earlier)[:3]
    assert soon_empty(lambda: [str(process) for process in ours() - earlier]) == []
    assert soon_empty(lambda: sorted(set(folders(os.getpid())) - made), 3) == []
    assert not mounts() - mounted


def recovers(sandbox: Sandbox) -> None:
    """The next program is judged as if nothing had happened."""
    assert sandbox.judge(RIGHT, TEST).passed
    assert sandbox.judge("def f(): return 2", TEST).status == "wrong"


@contextlib.contextmanager
def judging(sandbox: Sandbox) -> Iterator[Future[Verdict]]:
    """A judgement under way, over afterwards."""
    with ThreadPoolExecutor(1) as pool:
        verdict = pool.submit(sandbox.judge, WAITS, TEST, limits=QUICK)
        time.sleep(0.4)
        yield verdict


@pytest.mark.parametrize("which", ["keeper", "middle", "zygote"])
@pytest.mark.parametrize("level", ["A", "C-strict"], indirect=True)
def test_a_killed_process_of_the_sandbox_is_infra(level: str, which: str):
    with one_worker(level) as (sandbox, lineage):
        with judging(sandbox) as verdict:
            os.kill(lineage[("keeper", "middle", "zygote").index(which)], signal.SIGKILL)
        assert verdict.result().status == "infra"
        recovers(sandbox)


@pytest.mark.slow
@pytest.mark.parametrize("boxed", [False, True])
def test_no_fork_is_infra(level: str, boxed: bool):
    """The kernel lets the zygote have no further process."""
    if boxed and level == "C-strict":
        pytest.skip("this level has no boxes")
    with one_worker(level) as (sandbox, (_, _, zygote)):
        status = Path(f"/proc/{zygote}/status").read_text()
        uid = int(status.split("Uid:")[1].split()[0])
        whose = {"user": uid, "group": uid, "extra_groups": []} if ROOT else {}
        command = ["prlimit", "--nproc=0:0", "--pid", str(zygote)]
        subprocess.run(command, check=True, **whose)  # as its user: root may not be allowed to
        if boxed:
            with pytest.raises(InfraError), sandbox.box() as box:
                box.run(("true",))
        else:
            verdict = sandbox.judge("def f(): return 2", TEST, limits=QUICK)
            assert verdict.status == "infra", verdict
        recovers(sandbox)


@pytest.mark.parametrize("moment", ["in a run", "between two"])
@pytest.mark.parametrize("level", ["A"], indirect=True)
def test_no_cgroup_is_infra(level: str, moment: str):
    earlier = folders(os.getpid())
    with one_worker(level) as (sandbox, _):
        groups = [Path(name) for name in folders(os.getpid()) if name not in earlier]
        assert groups
        if moment == "in a run":
            with judging(sandbox) as running:
                for group in groups:
                    _remove(group)
            verdict = running.result()
        else:
            for group in groups:
                _remove(group)
            verdict = sandbox.judge("def f(): return 2", TEST, limits=LARGER)
        assert verdict.status == "infra", verdict
        recovers(sandbox)


LARGER = Limits(cpu_s=1, wall_s=5, memory_mb=200)  # other limits than before, so they must be set


def _remove(group: Path) -> None:
    """Move all processes of a cgroup out, and remove it."""
    for _ in range(300):
        for process in (group / "cgroup.procs").read_text().split():
            with contextlib.suppress(OSError):
                (group.parent / "cgroup.procs").write_text(process)
        with contextlib.suppress(OSError):
            group.rmdir()
            return
        time.sleep(0.01)  # one that has been killed counts until it is gone
    raise AssertionError(f"{group} cannot be emptied")


_LIMITED = """
import resource, sys
from midfill.sandbox import Sandbox
level, what, most = sys.argv[1], getattr(resource, sys.argv[2]), int(sys.argv[3])
sandbox = Sandbox(1, level=level)
resource.setrlimit(what, (most, resource.getrlimit(what)[1]))
for code in ("def f(): return 1", "def f(): return 2"):
    print(sandbox.judge(code, "assert f() == 1").status)
resource.setrlimit(what, (resource.getrlimit(what)[1],) * 2)
print(sandbox.judge("def f(): return 1", "assert f() == 1").status)
sandbox.close()
"""


@pytest.mark.slow
@pytest.mark.parametrize(("what", "most"), [("RLIMIT_NPROC", "0"), ("RLIMIT_NOFILE", "6")])
def test_a_supervisor_at_its_limits_is_infra(what: str, most: str):
    """It can start no worker, or open no pipe; once it can, it judges."""
    if ROOT and what == "RLIMIT_NPROC":
        prefix = ["setpriv", "--reuid", str(ORDINARY_UID), "--regid", str(ORDINARY_UID),
                  "--clear-groups", "/usr/bin/python3"]  # fmt: skip
    else:
        prefix = [sys.executable]
    for level in ("B", "C-strict"):
        ended = subprocess.run(
            [*prefix, "-c", _LIMITED, level, what, most],
            capture_output=True,
            text=True,
            cwd="/tmp",
            env=os.environ
            | {"PYTHONPATH": str(TESTS.parent / "src"), "PYTHONDONTWRITEBYTECODE": "1"},
        )
        if "SandboxError" in ended.stderr:
            continue  # this level is not to be had here
        assert ended.stdout.split() == ["infra", "infra", "pass"], ended.stderr[-2000:]


_FULL = """
import os, sys
from pathlib import Path
from midfill.sandbox import Sandbox, linux
linux.unshare(linux.NEWNS)
linux.mount("none", "/", "", linux.PRIVATE | linux.RECURSIVE)
folder = "/mnt"
linux.mount("tiny", folder, "tmpfs", 0, "size=64k,mode=777")
os.environ["TMPDIR"] = folder
with Sandbox(1, level="C") as sandbox:
    Path(folder, "full").write_bytes(bytes(60_000))
    try:
        Path(folder, "more").write_bytes(bytes(60_000))
    except OSError:
        pass
    print(sandbox.judge("echo " + "x" * 100_000, "true", language="bash").status)
    for path in ("full", "more"):
        Path(folder, path).unlink()
    print(sandbox.judge("f() { echo 1; }", "[ $(f) = 1 ] || exit 1", language="bash").status)
"""


@pytest.mark.slow
def test_a_full_disk_is_infra():
    if not ROOT:
        pytest.skip("only root can mount a small disk")
    ended = subprocess.run(
        [sys.executable, "-c", _FULL],
        capture_output=True,
        text=True,
        env=os.environ | {"PYTHONPATH": str(TESTS.parent / "src")},
    )
    if "SandboxError" in ended.stderr:
        pytest.skip("no level C here")
    assert ended.stdout.split() == ["infra", "pass"], ended.stderr[-2000:]


def test_a_missing_compiler_is_infra():
    missing = [name for name in LANGUAGES if available(name)]
    told: Counter[str] = Counter()
    with Sandbox(1) as sandbox:
        for name in missing:
            told[sandbox.judge("x", "y", language=name, limits=QUICK).status] += 1
        if sandbox.level != "C-strict":
            with sandbox.box() as box:
                assert box.run(("no-such-compiler", "x.c")).ended == "infra"
    assert set(told) <= {"infra"}, told
