"""References pass; mutants and trivial answers do not."""

from dataclasses import replace

import pytest

from benchmark_rows import ALL, judged, some
from conftest import needs_data
from midfill.evaluate.benchmarks import benchmark
from midfill.evaluate.benchmarks.edit import Beside
from midfill.evaluate.mutants import mutants
from midfill.evaluate.task import Program, Score
from midfill.evaluate.work import judge_work
from midfill.sandbox import Limits, Sandbox


@pytest.mark.parametrize("name", ALL)
def test_some_references_pass_and_baselines_can_be_judged(sandbox: Sandbox, name: str):
    if needs_data(name).args[0]:
        pytest.skip(f"no data of {name}: set MIDFILL_DATA, or midfill pull {name}")
    bench = benchmark(name)
    for task in some(bench, 2):
        if task.language == "java":
            continue  # a compiler each: see the slow test
        reference = bench.canonical(task)
        assert reference is not None
        score = judged(sandbox, bench, task, reference)
        assert score.value == 1, f"{task.task_id}: {score.detail}"
        baselines = bench.baselines(task)
        assert baselines
        for how, text in baselines.items():
            assert isinstance(bench.program(task, text), Program | Score | Beside), how


@pytest.mark.slow
@pytest.mark.timeout(400)
@pytest.mark.parametrize(
    ("name", "count"),
    [
        ("humaneval", 164),
        ("mbpp", 500),
        ("humaneval-python", 164),
        ("cruxeval-o", 800),
        ("edit", 106),
    ],
)
def test_every_reference_passes(sandbox: Sandbox, name: str, count: int):
    if needs_data(name).args[0]:
        pytest.skip(f"no data of {name}: set MIDFILL_DATA, or midfill pull {name}")
    bench = benchmark(name)
    tasks = bench.tasks("instruct")
    failing = {
        task.task_id: score.detail
        for task in tasks
        if (score := judged(sandbox, bench, task, bench.canonical(task) or "")).value != 1
    }
    assert failing == {}
    assert len(tasks) == count


@needs_data("humaneval", "mbpp")
@pytest.mark.parametrize("name", ["humaneval", "mbpp"])
def test_mutants_and_trivial_answers_fail(sandbox: Sandbox, name: str):
    bench = benchmark(name)
    killed = alive = 0
    for task in some(bench, 4):
        reference = bench.canonical(task) or ""
        point = task.row.get("entry_point")
        for mutant in mutants(reference, point, most=2):
            work = bench.program(task, mutant.code)
            assert isinstance(work, Program)
            score = judge_work(replace(work, limits=Limits(cpu_s=1)), sandbox)
            killed, alive = killed + (score.value == 0), alive + (score.value != 0)
        assert judged(sandbox, bench, task, bench.baselines(task)["return None"]).value == 0
    assert killed >= 6 * alive
