"""The process that outlives a killed supervisor, and tidies up after it.

Started as a program, with the plan of a worker as its argument. Three processes come of it:

    keeper    outside, as whoever started it: waits for the supervisor's end, then removes what was used
    middle    inside most namespaces; waits for the zygote, and dies with the keeper
    zygote    the first process of the worker's pid namespace
"""

import contextlib
import json
import os
import select
import signal
from pathlib import Path
from typing import Any, NoReturn

from midfill.sandbox import cgroup, linux
from midfill.sandbox.confine import Plan, enter_worker
from midfill.sandbox.places import remove_tree
from midfill.sandbox.zygote import Zygote


def main(arguments: list[str]) -> None:
    """Become keeper, middle and zygote."""
    settings = json.loads(arguments[0])
    control, alive = settings["control"], settings["alive"]
    with contextlib.suppress(OSError):  # only root may; then the kernel kills programs, not us
        Path("/proc/self/oom_score_adj").write_text("-900")
    middle = os.fork()
    if middle:
        os.close(control)
        _keep(middle, alive, settings)
    os.close(alive)
    _middle(control, settings)


def _keep(middle: int, alive: int, settings: dict[str, Any]) -> NoReturn:
    """Wait for the supervisor's end or the worker's, then remove what they used."""
    handle = os.pidfd_open(middle)
    waiting = select.poll()
    waiting.register(alive, select.POLLIN | select.POLLHUP)
    waiting.register(handle, select.POLLIN)
    ended = {descriptor for descriptor, _ in waiting.poll()}
    if handle in ended:
        os.waitpid(middle, 0)
        waiting.unregister(handle)
        waiting.poll()  # the supervisor may still want to look at the cgroup
    else:
        os.kill(middle, signal.SIGKILL)
        os.waitpid(middle, 0)
    if settings["scratch"]:
        remove_tree(settings["scratch"])
    for group in settings["cgroups"]:
        cgroup.remove(Path(group))
    os._exit(0)


def _middle(control: int, settings: dict[str, Any]) -> NoReturn:
    for group in settings["cgroups"]:
        Path(group, "cgroup.procs").write_text("0")
    plan = Plan(
        namespaces=settings["namespaces"],
        read=tuple(settings["read"]),
        uid=settings["uid"],
        cgroup=bool(settings["cgroups"]),
        home=settings["home"],
        scratch=settings["scratch"],
    )
    problem = None
    try:
        enter_worker(plan)
    except OSError as error:
        problem = f"{error.filename or 'a call'}: {error.strerror}"
    linux.prctl(linux.PARENT_DIES, signal.SIGKILL)  # after the uid has changed, which forgets it
    zygote = os.fork()
    if zygote == 0:
        linux.prctl(linux.PARENT_DIES, signal.SIGKILL)
        Zygote(control, plan).serve(problem)
        os._exit(0)
    os.close(control)
    os.waitpid(zygote, 0)
    os._exit(0)
