"""Run tasks on the machines of a Ray cluster, which somebody else started.

The same functions as in `local.py`, on the same work folder, which all machines must see under the
same path. Ray carries tasks there and notes back; texts go through the folder. A task whose process
or machine dies is done again elsewhere, from the beginning: its note was not written.
"""

import contextlib
import os
import socket
import tempfile
import traceback
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, Self, TypeVar

from midfill.errors import ResourceError, UserError
from midfill.version import __version__

Task = TypeVar("Task")
Result = TypeVar("Result")
_TASKS_PER_PROCESS = 8  # then it is replaced, so that memory goes back
_DEATHS = 4  # of one task's processes, after which the fault is the task's
_REACH_S = 5.0  # for a first answer of the cluster
_FOLDER_S = 60.0  # for a process to start on a machine and to look into the work folder


@dataclass(frozen=True, slots=True)
class _Failure:
    """What a task raised, in words: what Ray cannot carry back as an object is lost."""

    mistake: tuple[type[UserError], str, str, str] | None
    trace: str


class Cluster:
    """Processes of a Ray cluster: `workers` at a time, a core each, wherever there are cores.

    As a context it stays connected, and its processes serve all stages.
    """

    def __init__(self, address: str | None = None, workers: int | None = None) -> None:
        """`address` is HOST:PORT of the head, or ray://HOST:PORT from outside of the cluster.

        None: what RAY_ADDRESS says, or else the cluster that this machine belongs to. `workers`
        None: as many as the cluster has cores.
        """
        self.address = address or os.environ.get("RAY_ADDRESS") or "auto"
        self.workers = workers
        self._stay = contextlib.ExitStack()

    def __enter__(self) -> Self:
        """Connect. Raises ResourceError."""
        self._stay.enter_context(self._connected())
        return self

    def __exit__(self, *_: object) -> None:
        self._stay.close()

    def run(
        self, function: Callable[[Task], Result], tasks: Iterable[Task]
    ) -> Iterator[tuple[Task, Result]]:
        """Each task with its result, in the order in which they end.

        Where one fails, those under way are still waited for and handed out, then what it raised
        is raised here: a UserError as such, with the name of the task; anything else as
        RuntimeError with the traceback from there. ResourceError where its process dies again and
        again, or the cluster cannot be reached.
        """
        with self._connected() as ray:
            options = {"num_cpus": 1, "max_retries": _DEATHS - 1, "max_calls": _TASKS_PER_PROCESS}
            remote = ray.remote(**options, scheduling_strategy="SPREAD")(_attempt)
            workers = self.workers or int(ray.cluster_resources()["CPU"])
            flight = _Flight(ray, remote, function, workers)
            try:
                yield from flight.results(iter(tasks))
            finally:
                flight.cancel()

    def check(self, folder: Path) -> None:
        """Raise ResourceError where a machine has another midfill or does not see `folder`.

        The folder is made where it is missing.
        """
        folder.mkdir(parents=True, exist_ok=True)
        with self._connected() as ray, tempfile.NamedTemporaryFile(dir=folder) as mark:
            on = ray.util.scheduling_strategies.NodeAffinitySchedulingStrategy
            remote = ray.remote(num_cpus=0, max_retries=_DEATHS - 1)(_look)
            asked = {
                remote.options(scheduling_strategy=on(node["NodeID"], soft=False)).remote(
                    Path(mark.name).resolve()
                ): node["NodeManagerAddress"]
                for node in ray.nodes()
                if node["Alive"] and node["Resources"].get("CPU")
            }
            for answer, host in asked.items():
                try:
                    version, sees = ray.get(answer, timeout=_FOLDER_S)
                except ray.exceptions.RayError as error:
                    raise ResourceError(
                        f"{host} of the cluster cannot run midfill",
                        why=str(error).strip().splitlines()[-1],
                        fix=f"pip install 'midfill[corpus,cluster]=={__version__}' there",
                    ) from error
                _refuse_other(host, version, sees, folder)

    @contextlib.contextmanager
    def _connected(self) -> Iterator[Any]:
        """Ray, connected; as it was before when the block ends."""
        ray = _ray()
        if ray.is_initialized():
            yield ray
            return
        self._reach()
        try:
            ray.init(self.address, namespace="midfill", log_to_driver=False, logging_level="ERROR")
        except (ConnectionError, RuntimeError, ValueError, TimeoutError) as error:
            raise self._unreachable(str(error)) from error
        # Ray prints to stdout what died and is tried again, and no public option turns that off.
        ray._private.worker._worker_logs_enabled = False
        try:
            if ray.cluster_resources().get("CPU", 0) < 1:
                raise self._unreachable("it has no cores to give: all nodes have --num-cpus 0")
            yield ray
        finally:
            ray.shutdown()
            ray._private.worker._worker_logs_enabled = True

    def _reach(self) -> None:
        """Refuse at once what Ray would try for a minute."""
        host, _, port = self.address.removeprefix("ray://").rpartition(":")
        if self.address in ("auto", "local") or not port.isdigit():
            return
        try:
            socket.create_connection((host.strip("[]"), int(port)), _REACH_S).close()
        except OSError as error:
            raise self._unreachable(str(error)) from error

    def _unreachable(self, why: str) -> ResourceError:
        where = "on this machine" if self.address == "auto" else f"at {self.address}"
        return ResourceError(
            f"there is no Ray cluster {where} that tasks can run on",
            why=why.strip().splitlines()[0],
            fix="ray start --head here, ray start --address HOST:6379 on each other machine; where "
            "the cluster asks for a token, the same RAY_AUTH_MODE and RAY_AUTH_TOKEN here",
        )


class _Flight(Generic[Task, Result]):
    """Tasks on their way: `most` at a time, so that a plan may be a generator."""

    def __init__(
        self, ray: Any, remote: Any, function: Callable[[Task], Result], most: int
    ) -> None:
        self._ray, self._remote, self._function, self._most = ray, remote, function, most
        self._running: dict[Any, Task] = {}

    def results(self, tasks: Iterator[Task]) -> Iterator[tuple[Task, Result]]:
        """Each task with its result; after a failure no task is started any more."""
        error: Exception | None = None
        while True:
            self._fill(tasks if error is None else iter(()))
            if not self._running:
                break
            done, _ = self._ray.wait(list(self._running), num_returns=1)
            for one in done:
                task = self._running.pop(one)
                try:
                    found = self._ray.get(one)
                except self._ray.exceptions.RayTaskError as raised:  # before the function began
                    found = _Failure(None, str(raised))
                except self._ray.exceptions.RayError as gone:
                    found = _Failure((ResourceError, *_died(gone)), str(gone))
                if isinstance(found, _Failure):
                    error = error or _raised(task, found)
                else:
                    yield task, found
        if error is not None:
            raise error

    def cancel(self) -> None:
        """End what still runs; a task that is killed has written no note."""
        for one in self._running:
            self._ray.cancel(one, force=True)

    def _fill(self, tasks: Iterator[Task]) -> None:
        while len(self._running) < self._most:
            try:
                task = next(tasks)
            except StopIteration:
                return
            self._running[self._remote.remote(self._function, task)] = task


def _attempt(function: Callable[[Task], Result], task: Task) -> Result | _Failure:
    """Runs in a process of the cluster."""
    try:
        return function(task)
    except UserError as error:
        return _Failure((type(error), error.what, error.why, error.fix), traceback.format_exc())
    except Exception:
        return _Failure(None, traceback.format_exc())


def _look(mark: Path) -> tuple[str, bool]:
    """Runs on each machine: its midfill, and whether it sees the folder."""
    return __version__, mark.exists()


def _raised(task: object, failure: _Failure) -> Exception:
    """What a task raised, with its name."""
    named = [str(getattr(task, name, "")) for name in ("stage", "number")]
    name = " ".join(part for part in named if part) or repr(task)[:200]
    if failure.mistake is None:
        return RuntimeError(f"task {name} failed on the cluster\n{failure.trace}")
    kind, what, why, fix = failure.mistake
    return kind(f"{what} (task {name})", why=why, fix=fix)


def _died(error: Exception) -> tuple[str, str, str]:
    """What, why and fix for a task whose process did not live to answer."""
    return (
        f"a process of the cluster died {_DEATHS} times over the same task",
        str(error).strip().splitlines()[0],
        "give smaller parts (--set part_bytes=...), or machines with more memory for a core; then "
        "the same command again: finished parts are kept",
    )


def _refuse_other(host: str, version: str, sees: bool, folder: Path) -> None:
    if version != __version__:
        raise ResourceError(
            f"{host} of the cluster has midfill {version}",
            why=f"here it is {__version__}, and all processes of a build must be the same",
            fix=f"pip install 'midfill[corpus,cluster]=={__version__}' there",
        )
    if not sees:
        raise ResourceError(
            f"{host} of the cluster does not see {folder}",
            why="all machines read and write the same work folder",
            fix="give --out a folder of a file system that all of them mount under this path",
        )


def _ray() -> Any:
    try:
        import ray  # pyright: ignore[reportMissingImports]
        import ray.exceptions  # pyright: ignore[reportMissingImports]
        import ray.util.scheduling_strategies  # pyright: ignore[reportMissingImports]
    except ImportError as error:
        raise ResourceError(
            "a build on a cluster needs Ray",
            why="it is not part of the ordinary install",
            fix="pip install 'midfill[cluster]'",
        ) from error
    return ray
