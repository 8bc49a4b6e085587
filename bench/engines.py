"""One build by local processes, by Ray's tasks, by Ray Data and by Daft, on a real cluster.

    python3 -m venv engines && engines/bin/pip install '.[corpus]' ray[data] daft[ray]
    MIDFILL_DATA=DIR engines/bin/python bench/engines.py --packages LIST.json --cache DIR

Starts a head and two nodes of one core each (tests/ray_nodes.py), and runs the same stage functions
through each engine: digests at 1, 2 and 8 parts, time, memory, bytes spilled; with processes
killed in each stage; with a task that raises; and three groupings. Prints one JSON line for each.
"""

import argparse
import contextlib
import hashlib
import importlib.metadata
import json
import os
import pickle
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))
from machine import available_bytes, busy_cores

from midfill.config.corpus.build import CorpusConfig, SourceConfig
from midfill.config.override import with_values
from midfill.corpus.pipeline.build import build
from midfill.corpus.pipeline.cluster import Cluster
from midfill.corpus.pipeline.local import Executor, Local
from midfill.hub.progress import Progress
from midfill.recipes.corpora import default
from ray_nodes import Nodes, ray_nodes, session

PARTS = {1: 1 << 30, 2: 8_000_000, 8: 1_400_000}  # part_bytes that give about so many parts
STAGES = ("cleaning", "judging", "encoding", "writing shards")
QUIET = {"RAY_DISABLE_IMPORT_WARNING": "1", "DO_NOT_TRACK": "1", "DAFT_PROGRESS_BAR": "0"}


# The engines. Ray's tasks are midfill's own `Cluster`; the others are as short as they can be.


class RayData:
    """Tasks as rows of a Ray dataset, a block each."""

    def __init__(self, address: str) -> None:
        import ray

        if not ray.is_initialized():
            ray.init(address, log_to_driver=False, logging_level="ERROR")
        ray.data.DataContext.get_current().enable_progress_bars = False

    def run(self, function: Callable[[Any], Any], tasks: Iterable[Any]) -> Iterator[tuple]:
        import ray

        tasks = list(tasks)
        if not tasks:
            return
        rows = [{"i": i, "task": pickle.dumps(task)} for i, task in enumerate(tasks)]

        def apply(row: dict[str, Any]) -> dict[str, Any]:
            return {"i": row["i"], "note": pickle.dumps(function(pickle.loads(row["task"])))}

        data = ray.data.from_items(rows, override_num_blocks=len(rows)).map(apply, num_cpus=1)
        for row in data.iter_rows():
            yield tasks[row["i"]], pickle.loads(row["note"])


class Daft:
    """Tasks as rows of a Daft frame, a partition each, on Ray."""

    def __init__(self, address: str) -> None:
        import daft
        import ray

        if not ray.is_initialized():
            ray.init(address, log_to_driver=False, logging_level="ERROR")
        daft.set_runner_ray(address, noop_if_initialized=True)

    def run(self, function: Callable[[Any], Any], tasks: Iterable[Any]) -> Iterator[tuple]:
        import daft

        tasks = list(tasks)
        if not tasks:
            return

        @daft.func(return_dtype=daft.DataType.binary())
        def apply(task: bytes) -> bytes:
            return pickle.dumps(function(pickle.loads(task)))

        rows = {"i": list(range(len(tasks))), "task": [pickle.dumps(task) for task in tasks]}
        frame = daft.from_pydict(rows).into_partitions(len(tasks))
        for row in frame.select("i", apply(frame["task"]).alias("note")).iter_rows():
            yield tasks[row["i"]], pickle.loads(row["note"])


def executor(engine: str, address: str) -> Executor:
    if engine == "local":
        return Local(2)
    return {"ray": lambda a: Cluster(a, 2), "ray-data": RayData, "daft": Daft}[engine](address)


# What runs in a process of its own: `engines.py --inner JSON`.


def inner(request: dict[str, Any]) -> dict[str, Any]:
    return {"build": one_build, "poison": poisoned, "group": grouped}[request["what"]](request)


def one_build(request: dict[str, Any]) -> dict[str, Any]:
    """A build; what the stages are is written for the one who kills."""
    spans: dict[str, list[float]] = {}

    def report(progress: Progress) -> None:
        spans.setdefault(progress.label, []).append(time.perf_counter())
        if progress.label in STAGES:
            Path(request["stage"]).write_text(progress.label)

    start = time.perf_counter()
    with contextlib.ExitStack() as stack:
        work = executor(request["engine"], request["address"])
        if isinstance(work, Cluster):
            stack.enter_context(work)
        ready = time.perf_counter()
        index = build(
            corpus(request),
            Path(request["out"]),
            work,
            benchmarks=Path(os.environ["MIDFILL_DATA"]) if request["benchmarks"] else None,
            report=report,
        )
    end = time.perf_counter()
    return {
        "digest": index["digest"],
        "documents": index["documents"],
        "seconds": round(end - start, 1),
        "connect_s": round(ready - start, 1),
        "stages_s": {label: round(t[-1] - t[0], 1) for label, t in spans.items()},
        "spilled": spilled(request["address"]) if request["engine"] != "local" else 0,
    }


def corpus(request: dict[str, Any]) -> CorpusConfig:
    source = SourceConfig(kind="packages", path=request["packages"])
    settings = [f"fetching.cache={request['cache']}", "shards.tokenizer.vocabulary=2000"]
    settings += [f"part_bytes={request['part_bytes']}"]
    if not request["benchmarks"]:
        settings.append("decontamination=null")
    return with_values(replace(default(), sources=(source,)), settings)


def half_or_fail(number: int) -> float:
    """A task of no use; that of number 3 raises."""
    time.sleep(0.2)
    return 6 / (number - 3)


def poisoned(request: dict[str, Any]) -> dict[str, Any]:
    """Which results come before the error of one task, and what it says."""
    results, start, error = [], time.perf_counter(), "none"
    try:
        for task, _ in executor(request["engine"], request["address"]).run(half_or_fail, range(8)):
            results.append(task)
    except Exception as raised:
        error = f"{type(raised).__module__}.{type(raised).__name__}: {raised}"
    return {
        "seconds": round(time.perf_counter() - start, 1),
        "results": sorted(results),
        "error_lines": len(error.splitlines()),
        "error": (error[:200] + " ... " + error[-200:]).replace("\n", " / "),
        "names_the_task": "task 3" in error,
    }


def grouped(request: dict[str, Any]) -> dict[str, Any]:
    """Rows by key: how many of each. The digest is of all keys with their numbers."""
    engine, path, key = request["engine"], request["table"], request["key"]
    if engine != "local":
        executor(engine, request["address"])
    start = time.perf_counter()
    counts = {"local": by_counter, "ray": by_tasks, "ray-data": by_ray_data, "daft": by_daft}
    found = counts[engine](path, key)
    seconds = time.perf_counter() - start
    rows = sorted(found.items())
    digest = hashlib.sha256(json.dumps(rows).encode()).hexdigest()[:16]
    return {"seconds": round(seconds, 2), "groups": len(rows), "digest": digest}


def by_counter(folder: str, key: str) -> dict[str, int]:
    import pyarrow.parquet as pq

    counts: Counter[str] = Counter()
    for path in sorted(Path(folder).glob("*.parquet")):
        counts.update(pq.read_table(path, columns=[key])[key].to_pylist())
    return dict(counts)


def _count_one(path: Path, key: str) -> dict[str, int]:
    import pyarrow.parquet as pq

    return dict(Counter(pq.read_table(path, columns=[key])[key].to_pylist()))


def by_tasks(folder: str, key: str) -> dict[str, int]:
    """Counts of each file by a task, added up here: as midfill's exchange does."""
    address = os.environ["ENGINES_ADDRESS"]
    import functools

    counts: Counter[str] = Counter()
    paths = sorted(Path(folder).glob("*.parquet"))
    for _, part in Cluster(address, 2).run(functools.partial(_count_one, key=key), paths):
        counts.update(part)
    return dict(counts)


def by_ray_data(folder: str, key: str) -> dict[str, int]:
    import ray

    rows = ray.data.read_parquet(folder, columns=[key]).groupby(key).count().take_all()
    return {row[key]: row["count()"] for row in rows}


def by_daft(folder: str, key: str) -> dict[str, int]:
    import daft

    frame = daft.read_parquet(f"{folder}/*.parquet").groupby(key)
    found = frame.agg(daft.col(key).count().alias("n")).to_pydict()
    return dict(zip(found[key], found["n"], strict=True))


def spilled(address: str) -> int:
    """Bytes that the object stores have written to disk, as Ray counts them."""
    from ray._private.internal_api import memory_summary

    found = re.findall(r"Spilled (\d+) MiB", memory_summary(address, stats_only=True))
    return sum(map(int, found)) << 20


# The tables that are grouped, from the cleaned files of a build.


def write_tables(work: Path, folder: Path) -> None:
    """Files, band keys and URLs of a build's cleaned files, four Parquet files of each."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    from midfill.config.corpus.duplicates import Duplicates
    from midfill.corpus import table
    from midfill.corpus.duplicates.sketch import sketch

    rows: dict[str, list[str]] = {"repository": [], "band": [], "domain": []}
    for path in sorted((work / "clean").glob("0????.parquet")):
        documents = list(table.documents(path))
        rows["repository"] += [document.repo for document in documents]
        for one in sketch(documents, Duplicates(level="file")) if documents else []:
            rows["band"] += [f"{band}-{key:x}" for band, key in enumerate(one.keys.tolist())]
        for document in documents:
            for url in re.findall(r"https?://[\w.:-]+", document.text):
                rows["domain"].append(urlsplit(url).hostname or "")
    for name, keys in rows.items():
        (folder / name).mkdir(parents=True)
        random.Random(0).shuffle(keys)
        for i in range(4):
            pq.write_table(pa.table({name: keys[i::4]}), folder / name / f"{i}.parquet")


# The outer process: the cluster, the memory, the one who kills.


class Memory(threading.Thread):
    """The most memory that processes use together: their proportional share of it."""

    def __init__(self, leaders: list[int]) -> None:
        super().__init__(daemon=True)
        self.leaders, self.peak, self.over = leaders, 0, threading.Event()

    def run(self) -> None:
        while not self.over.wait(0.5):
            self.peak = max(self.peak, self.now())

    def now(self) -> int:
        whole = 0
        for pid in (pid for leader in self.leaders for pid in session(leader)):
            with contextlib.suppress(OSError, TypeError):
                text = Path(f"/proc/{pid}/smaps_rollup").read_text()
                whole += int(re.search(r"^Pss:\s+(\d+)", text, re.M)[1]) << 10  # type: ignore[index]
        return whole


class Killer(threading.Thread):
    """Kills one process with -9 in each stage, while it works."""

    def __init__(self, nodes: Nodes, stage: Path) -> None:
        super().__init__(daemon=True)
        self.nodes, self.stage, self.over = nodes, stage, threading.Event()
        self.killed: dict[str, str] = {}

    def run(self) -> None:
        while not self.over.wait(0.05):
            stage = self.stage.read_text() if self.stage.exists() else ""
            if stage in STAGES and stage not in self.killed:
                self._kill(stage)

    def _kill(self, stage: str) -> None:
        for node in range(1, len(self.nodes.started)):
            for pid in self.nodes.workers(node):
                with contextlib.suppress(OSError):
                    name = Path(f"/proc/{pid}/cmdline").read_text().split("\0")[0]
                    if "IDLE" not in name and "SPILL" not in name:
                        os.kill(pid, signal.SIGKILL)
                        self.killed[stage] = name
                        return


def ask(request: dict[str, Any], leaders: list[int], limit_s: float) -> dict[str, Any]:
    """Have a process of its own answer; add the peak of memory, also of the cluster's."""
    environment = os.environ | QUIET | {"ENGINES_ADDRESS": request.get("address", "")}
    command = [sys.executable, __file__, "--inner", json.dumps(request)]
    with tempfile.TemporaryFile("w+") as errors:
        process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=errors, text=True, env=environment,
            start_new_session=True,
        )  # fmt: skip
        memory = Memory([*leaders, process.pid])
        memory.start()
        try:
            said, _ = process.communicate(timeout=limit_s)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            return {"error": f"not done after {limit_s} s"}
        finally:
            memory.over.set()
        if process.returncode:
            errors.seek(0)
            return {"error": errors.read()[-1500:]}
    answer = json.loads(said.strip().splitlines()[-1])
    return answer | {"peak_mib": memory.peak >> 20}


def say(**fields: Any) -> None:
    print(json.dumps(fields), flush=True)


def measure(arguments: argparse.Namespace, engine: str, scratch: Path, address: str, nodes) -> None:
    """Everything about one engine."""
    leaders = [process.pid for process in nodes.started] if nodes else []
    say(engine=engine, idle_mib=Memory(leaders).now() >> 20, busy=round(busy_cores(), 1))
    common = {"engine": engine, "address": address, "cache": arguments.cache}
    common |= {"packages": arguments.packages, "benchmarks": arguments.benchmarks}
    stage = scratch / f"{engine}-stage"
    for parts in arguments.parts:
        out = scratch / f"{engine}-{parts}"
        request = common | {"what": "build", "part_bytes": PARTS[parts], "out": str(out)}
        answer = ask(request | {"stage": str(stage)}, leaders, arguments.limit)
        made = len(list((out / "stages" / "clean").glob("[0-9]*.json")))
        say(engine=engine, test="build", parts=made, **answer, load=os.getloadavg()[0])
    if nodes and arguments.kill:
        stage.unlink(missing_ok=True)
        out = scratch / f"{engine}-killed"
        request = common | {"what": "build", "part_bytes": PARTS[8], "out": str(out)}
        killer = Killer(nodes, stage)
        killer.start()
        answer = ask(request | {"stage": str(stage)}, leaders, arguments.limit)
        killer.over.set()
        say(engine=engine, test="killed", killed=killer.killed, **answer)
    say(engine=engine, test="poison", **ask(common | {"what": "poison"}, leaders, 120))
    tables = scratch / "tables"
    if not tables.exists():
        write_tables(scratch / f"local-{arguments.parts[-1]}" / "stages", tables)
    for key in ("repository", "band", "domain"):
        request = common | {"what": "group", "table": str(tables / key), "key": key}
        say(engine=engine, test="group", key=key, **ask(request, leaders, arguments.limit))


def interleaved(arguments: argparse.Namespace, engines: list[str], scratch: Path) -> None:
    """Builds of eight parts by one engine after the other, on one cluster, in each round."""
    with ray_nodes(2) as nodes:
        os.environ.update(nodes.environment)
        leaders = [process.pid for process in nodes.started]
        for number in range(arguments.rounds):
            for engine in engines:
                out = scratch / "interleaved"
                shutil.rmtree(out, ignore_errors=True)
                request = {
                    **{"what": "build", "engine": engine, "address": nodes.address},
                    **{"cache": arguments.cache, "packages": arguments.packages},
                    **{"part_bytes": PARTS[8], "benchmarks": arguments.benchmarks},
                    **{"out": str(out), "stage": str(scratch / "stage")},
                }
                answer = ask(request, [] if engine == "local" else leaders, arguments.limit)
                say(round=number, engine=engine, **answer, busy=round(busy_cores(), 1))


def sizes() -> dict[str, str]:
    found = {}
    for name in ("ray", "daft", "pyarrow", "pandas", "midfill"):
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            found[name] = importlib.metadata.version(name)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])  # type: ignore[union-attr]
    parser.add_argument("--inner", help=argparse.SUPPRESS)
    parser.add_argument("--packages", help="a list of packages, as --source packages: takes it")
    parser.add_argument("--cache", help="folder of fetched packages")
    parser.add_argument("--engines", default="local,ray,ray-data,daft")
    parser.add_argument("--parts", default="1,2,8")
    parser.add_argument("--no-kill", dest="kill", action="store_false")
    parser.add_argument("--no-benchmarks", dest="benchmarks", action="store_false")
    parser.add_argument("--rounds", type=int, help="only builds, the engines by turns")
    parser.add_argument("--limit", type=float, default=600, help="seconds for one build")
    parser.add_argument("--scratch", type=Path)
    arguments = parser.parse_args()
    if arguments.inner:
        print(json.dumps(inner(json.loads(arguments.inner))))
        return
    arguments.parts = [int(number) for number in arguments.parts.split(",")]
    os.environ.update(QUIET)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that the nodes are ended too
    scratch = arguments.scratch or Path(tempfile.mkdtemp())
    scratch.mkdir(exist_ok=True)
    say(versions=sizes(), available_gib=available_bytes() >> 30, load=os.getloadavg())
    if arguments.rounds:
        interleaved(arguments, arguments.engines.split(","), scratch)
        return
    for engine in arguments.engines.split(","):
        for old in scratch.glob(f"{engine}-[1-9k]*"):
            shutil.rmtree(old)  # or the build would only go on
        if engine == "local":
            measure(arguments, engine, scratch, "", None)
            continue
        with ray_nodes(2) as nodes:
            os.environ.update(nodes.environment)
            measure(arguments, engine, scratch, nodes.address, nodes)


if __name__ == "__main__":
    main()
