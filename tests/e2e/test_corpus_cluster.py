"""A build on a Ray cluster of real processes: the bytes of a local one, whatever dies meanwhile."""

import contextlib
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import pytest

from midfill.config.corpus.build import CorpusConfig, SourceConfig
from midfill.config.override import with_values
from midfill.corpus.pipeline.build import build
from midfill.corpus.pipeline.cluster import Cluster
from midfill.corpus.pipeline.local import Local
from midfill.errors import ResourceError, TokenizerError
from midfill.hub.progress import Progress, Report, silent
from midfill.recipes.corpora import default
from midfill.tokenizer.tokenizer import Tokenizer
from ray_nodes import Nodes, ray_nodes

pytest.importorskip("pyarrow")
WORDS = "load store parse read write merge split check count route cache index shard order".split()
STAGES = ("cleaning", "judging", "encoding", "writing shards")


def test_a_missing_engine_is_named(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(ResourceError, match=r"pip install 'midfill\[cluster\]'"):
        list(Cluster(None, 2).run(int, ["1"]))


@pytest.fixture(scope="module")
def nodes() -> Iterator[Nodes]:
    """A head and two nodes of one core each."""
    if find_spec("ray") is None:  # it is imported later: it reads its environment only once
        pytest.skip("Ray is not installed: pip install 'midfill[cluster]'")
    with ray_nodes(2) as started, pytest.MonkeyPatch.context() as patch:
        for name, value in started.environment.items():
            patch.setenv(name, value)
        yield started


@pytest.fixture(scope="module")
def repositories(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Sixteen packages of about 20 kB, one with a near copy."""
    folder = tmp_path_factory.mktemp("cluster") / "repositories"
    for seed in range(16):
        chance = random.Random(seed)
        package = folder / f"r{seed:02}" / f"package{seed}"
        package.mkdir(parents=True)
        for i in range(8):
            names = [f"{chance.choice(WORDS)}_{chance.randrange(10**6)}" for _ in range(40)]
            lines = [f"def {name}():\n    return {chance.random()}\n" for name in names]
            needs = f"from package{seed} import part{i + 1}\n\n\n" if i < 7 else ""
            (package / f"part{i}.py").write_text(needs + "\n\n".join(lines))
    shutil.copytree(folder / "r03", folder / "r03-fork")
    (folder / "r03-fork" / "new.py").write_text("def added():\n    return 'by the fork'\n")
    return folder


def small(repositories: Path) -> CorpusConfig:
    """Many small parts and shards, so that every stage has several tasks for each process."""
    source = SourceConfig(kind="folder", path=str(repositories))
    settings = ["part_bytes=65536", "shards.tokenizer.vocabulary=600", "shards.held_out=0.2"]
    settings += ["shards.shard_tokens=10000", "decontamination=null"]
    return with_values(replace(default(), sources=(source,)), settings)


@pytest.fixture(scope="module")
def local(repositories: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """The shards of the same build by this process alone."""
    out = tmp_path_factory.mktemp("local") / "corpus"
    build(small(repositories), out, Local(1))
    assert len(list((out / "stages" / "clean").glob("[0-9]*.json"))) >= 4
    return shards(out)


def shards(out: Path) -> dict[str, bytes]:
    """Every file of the shards; a `.part` is what a killed process was writing."""
    files = [path for path in (out / "shards").iterdir() if path.suffix != ".part"]
    return {path.name: path.read_bytes() for path in files}


def build_there(repositories: Path, out: Path, nodes: Nodes, report: Report = silent) -> None:
    with Cluster(nodes.address, 2) as cluster:
        cluster.check(out)
        build(small(repositories), out, cluster, report=report)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_the_same_build_gives_the_same_bytes(
    repositories: Path, local: dict[str, bytes], nodes: Nodes, tmp_path: Path
):
    build_there(repositories, tmp_path / "corpus", nodes)
    assert shards(tmp_path / "corpus") == local
    assert len([name for name in local if name.endswith(".bin")]) >= 4


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_tasks_run_on_both_nodes(nodes: Nodes):
    parent = "(__import__('time').sleep(0.5), __import__('os').getppid())[1]"
    found = {result for _, result in Cluster(nodes.address, 2).run(eval, [parent] * 8)}
    assert len(found) == 2
    assert os.getpid() not in found


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_no_more_run_at_once_than_workers(nodes: Nodes):
    spell = "[__import__('time').time(), __import__('time').sleep(0.5), __import__('time').time()]"
    for workers, most in ((1, 1), (None, 2)):
        found = [spell for _, spell in Cluster(nodes.address, workers).run(eval, [spell] * 6)]
        at_once = [sum(b[0] <= a[0] < b[2] for b in found) for a in found]
        assert max(at_once) == most


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_processes_killed_in_each_stage_leave_no_trace(
    repositories: Path, local: dict[str, bytes], nodes: Nodes, tmp_path: Path
):
    killed: dict[str, int] = {}

    def kill(progress: Progress) -> None:
        """Once in each stage, when its first task is done and others are under way."""
        if progress.label in STAGES and progress.done_bytes and progress.label not in killed:
            pids = [pid for node in (1, 2) for pid in nodes.workers(node)]
            killed[progress.label] = len(pids)
            for pid in pids:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)

    build_there(repositories, tmp_path / "corpus", nodes, kill)
    assert set(killed) == set(STAGES)
    assert all(killed.values())
    assert shards(tmp_path / "corpus") == local


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_machine_that_falls_away_leaves_no_trace(
    repositories: Path, local: dict[str, bytes], nodes: Nodes, tmp_path: Path
):
    third = nodes.add()
    gone: list[int] = []

    def kill(progress: Progress) -> None:
        if progress.label == "cleaning" and progress.done_bytes and not gone:
            gone.extend(nodes.workers(third))
            nodes.kill(third)

    build_there(repositories, tmp_path / "corpus", nodes, kill)
    assert gone
    assert shards(tmp_path / "corpus") == local


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_results_come_as_they_end(nodes: Nodes):
    cluster = Cluster(nodes.address, 2)
    assert [task for task, _ in cluster.run(time.sleep, [4, 0.1, 0.2])] == [0.1, 0.2, 4]


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_task_that_raises_is_named_and_loses_no_other(nodes: Nodes):
    slow = "__import__('time').sleep(3) or 3"
    results = Cluster(nodes.address, 2).run(eval, ["1/0", slow, "4", "5"])
    assert next(results) == (slow, 3)
    with pytest.raises(RuntimeError, match=r"task '1/0' failed(.|\n)*ZeroDivisionError: division"):
        next(results)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_mistake_of_the_users_comes_back_as_one(nodes: Nodes, tmp_path: Path):
    with pytest.raises(TokenizerError) as caught:
        list(Cluster(nodes.address, 2).run(Tokenizer.from_folder, [tmp_path / "none"]))
    assert "none" in caught.value.what
    assert caught.value.fix


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_task_that_ends_its_process_each_time_is_given_up(
    nodes: Nodes, capfd: pytest.CaptureFixture[str]
):
    found = []
    with pytest.raises(ResourceError, match=r"died 4 times over the same task \(task 7\)"):
        found.extend(Cluster(nodes.address, 2).run(os._exit, [7]))
    assert found == []
    assert capfd.readouterr().out == ""  # which belongs to --json


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_an_interrupt_ends_the_tasks(nodes: Nodes):
    program = (
        "import sys, time; from midfill.corpus.pipeline.cluster import Cluster; "
        "list(Cluster(sys.argv[1], 2).run(time.sleep, [500] * 8))"
    )
    driver = subprocess.Popen(
        [sys.executable, "-c", program, nodes.address],
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | nodes.environment,
    )
    until(lambda: len(busy(nodes)) == 2)
    driver.send_signal(signal.SIGINT)
    _, said = driver.communicate(timeout=60)
    assert "KeyboardInterrupt" in said
    until(lambda: not busy(nodes))


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_cluster_that_is_not_there_is_refused_at_once(nodes: Nodes):
    start = time.monotonic()
    with pytest.raises(ResourceError, match=r"no Ray cluster at 127\.0\.0\.1:9 "):
        list(Cluster("127.0.0.1:9", 2).run(int, ["1"]))
    assert time.monotonic() - start < 10


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_node_that_does_not_see_the_folder_is_refused(nodes: Nodes, tmp_path: Path):
    hidden = ["unshare", "--mount", "--map-root-user", "sh", "-c"]
    hidden += [f'mount -t tmpfs none "{tmp_path}" && exec "$@"', "sh"]
    if subprocess.run([*hidden, "true"], check=False, capture_output=True).returncode:
        pytest.skip("no mount namespace can be made here")
    third = nodes.add(*hidden)
    try:
        with pytest.raises(ResourceError, match="does not see"):
            Cluster(nodes.address, 2).check(tmp_path)
    finally:
        nodes.kill(third)


def busy(nodes: Nodes) -> list[int]:
    """Processes that are in the middle of a task."""
    return [pid for node in (1, 2) for pid in nodes.workers(node, "ray::_attempt")]


def until(holds, seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.1)
