"""The canaries themselves: where nothing stops them, each must get through, or it proves nothing.

And where one layer of a level is missing, the level must be refused: the layer is taken out of a copy
of the package, because a worker is a program of its own, which no change in this process would reach.
"""

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

import midfill
from midfill.sandbox.canaries import _FORBIDDEN, _PROGRAM, _targets
from midfill.sandbox.linux import landlock_version

ROOT_ONLY = {"mounted"}
# What is mounted is seen by nobody else: a mount namespace of its own, and no propagation.
ASIDE = "libc = ctypes.CDLL(None); libc.unshare(0x20000); libc.mount(b'none', b'/', None, 0x44000, None)"
ROOT = os.getuid() == 0
USERS = ["root", pytest.param("ordinary", marks=pytest.mark.slow)] if ROOT else ["ordinary"]
ORDINARY_UID = 3_100_000  # plus our process id: nobody else's


def test_every_canary_gets_through_where_nothing_stops_it():
    show = f"for name in {_FORBIDDEN!r}:\n    print(name * attempt(name))\n"
    with _targets(None) as names:
        ran = subprocess.run(
            [sys.executable, "-c", f"import ctypes\n{ASIDE}\n{names}{_PROGRAM}\n{show}"],
            capture_output=True,
            text=True,
            timeout=50,
        )
    through = set(ran.stdout.split())
    wanted = set(_FORBIDDEN) - (set() if ROOT else ROOT_ONLY)
    assert through >= wanted, (wanted - through, ran.stderr)


# Try the canaries at each level as the worker's starter, and say what came of it.
TRIED = """
import sys
from midfill.sandbox.canaries import canaries
from midfill.sandbox.supervise import InfraError
from midfill.sandbox.worker import Worker

for level in sys.argv[1:]:
    try:
        worker = Worker(level)
    except InfraError as fault:
        print("no worker:", fault)
        continue
    print(" ".join(str(canaries(worker)).split()))
    worker.close()
"""
# What is added to a module of the copy, the level that must fall, and what its refusal must speak of.
WITHOUT = {
    "landlock": ("linux", "def restrict(ruleset): pass", "C-strict", "'secret'"),
    "scopes": ("linux", "SCOPES = 0", "C-strict", "'kill'"),
    "filter": ("linux", "def seccomp(alone=False, shared=True): pass", "C-strict", "'cloned'"),
    "clean": ("worker", "ENVIRONMENT = ENVIRONMENT | os.environ", "C-strict", "'secret'"),
    "ends": ("processes", "def end_all(*_, **__): return 0", "C", "outlives"),
    "memory": ("processes", "def _memory(process): return 0", "C", "more memory than allowed"),
}


@pytest.fixture
def package() -> Iterator[Path]:
    """A copy of what a worker needs of this package, readable by everybody."""
    ours = Path(midfill.__file__).parent
    with tempfile.TemporaryDirectory(prefix="midfill-copy-", dir="/var/tmp") as folder:
        Path(folder).chmod(0o755)
        copy = Path(folder, "midfill")
        shutil.copytree(ours / "sandbox", copy / "sandbox", ignore=shutil.ignore_patterns("*.pyc"))
        for name in ("__init__.py", "errors.py", "version.py"):
            shutil.copy(ours / name, copy)
        yield copy


def tried(package: Path, user: str, *levels: str) -> list[str]:
    """What the canaries say of each level, with this copy of the package."""
    command = ["/usr/bin/python3", "-c", TRIED, *levels]
    if user == "ordinary" and ROOT:
        uid = str(ORDINARY_UID + os.getpid())
        command = ["setpriv", "--reuid", uid, "--regid", uid, "--clear-groups", *command]
    paths = {"PYTHONPATH": str(package.parent), "PYTHONDONTWRITEBYTECODE": "1"}
    ran = subprocess.run(command, capture_output=True, text=True, cwd="/", env=os.environ | paths)
    assert ran.returncode == 0, ran.stderr[-2000:]
    return ran.stdout.splitlines()


@pytest.mark.parametrize("user", USERS)
@pytest.mark.parametrize(
    "layer",
    [pytest.param(layer, marks=[pytest.mark.slow] * (layer == "memory")) for layer in WITHOUT],
)
def test_a_level_that_lacks_one_layer_is_refused(package: Path, layer: str, user: str):
    if layer in ("landlock", "scopes") and landlock_version() < 6:
        pytest.skip("this kernel's Landlock lacks what is to be switched off")
    module, line, level, said = WITHOUT[layer]
    with (package / "sandbox" / f"{module}.py").open("a") as text:
        text.write(f"\n\n{line}\n")
    (answer,) = tried(package, user, level)
    assert said in answer, answer


def test_a_copy_that_lacks_nothing_is_not_refused(package: Path):
    assert tried(package, "ordinary", "C-strict", "C") == ["None", "None"]
