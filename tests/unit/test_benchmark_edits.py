"""Repairs and exercises."""

import json

import pytest

from benchmark_rows import judged
from conftest import needs_data
from midfill.evaluate.benchmarks import benchmark
from midfill.evaluate.judging import Judge
from midfill.evaluate.verdicts import Verdicts
from midfill.sandbox import Sandbox
from midfill.sandbox.verdict import Verdict


@needs_data("repair")
@pytest.mark.parametrize("name", ["gcd", "kheapsort", "reverse_linked_list", "wrap"])
def test_a_bug_fails_and_its_repair_passes(sandbox: Sandbox, name: str):
    bench = benchmark("repair")
    task = next(task for task in bench.tasks("base") if task.task_id == f"python/{name}")
    assert judged(sandbox, bench, task, bench.canonical(task) or "").value == 1
    assert judged(sandbox, bench, task, bench.baselines(task)["unchanged"]).value == 0


@needs_data("repair")
def test_a_repair_that_only_knows_the_tests_is_plausible_and_not_correct(sandbox: Sandbox):
    bench = benchmark("repair")
    task = next(task for task in bench.tasks("base") if task.task_id == "python/bitcount")
    cases = [json.loads(line) for line in task.row["json_testcases"].split("\n") if line]
    known = {given[0]: wanted for given, wanted in cases}
    score = judged(sandbox, bench, task, f"def bitcount(n):\n    return {known}.get(n)\n")
    assert score.value == 0
    assert bench.measures_of(score) == {"plausible": 1}  # type: ignore[attr-defined]
    broken = judged(sandbox, bench, task, "def bitcount(n):\n    return 0\n")
    assert bench.measures_of(broken) == {"plausible": 0}  # type: ignore[attr-defined]
    with Judge(bench, Verdicts(None), workers=1) as judge:  # and a run counts them apart
        told = judge.begin_extracted(task, f"def bitcount(n):\n    return {known}.get(n)\n")
        assert (told.result().value, told.result().also["plausible"]) == (0, 1)


@needs_data("repair")
def test_a_diff_is_a_repair_too(sandbox: Sandbox):
    bench = benchmark("repair")
    task = next(task for task in bench.tasks("base") if task.task_id == "python/bitcount")
    reply = "Here:\n```diff\n--- a\n+++ b\n@@ -4 +4 @@\n     while n:\n-        n ^= n - 1\n+        n &= n - 1\n```\n"
    assert judged(sandbox, bench, task, bench.extract(task, reply, "midfill")).value == 1
    other = bench.extract(task, reply.replace("while n:", "while m:"), "midfill")
    score = judged(sandbox, bench, task, other)
    assert (score.value, "does not apply" in score.detail) == (0, True)


@needs_data("repair")
@pytest.mark.slow
@pytest.mark.timeout(300)
def test_repairs_in_java(sandbox: Sandbox):
    bench = benchmark("repair")
    for task in [task for task in bench.tasks("base") if task.language == "java"][::8]:
        score = judged(sandbox, bench, task, bench.canonical(task) or "")
        if score.value is None:
            pytest.skip(score.detail)
        assert score.value == 1, f"{task.task_id}: {score.detail}"
        assert judged(sandbox, bench, task, bench.baselines(task)["unchanged"]).value == 0


@needs_data("edit")
def test_exercises_are_judged_sealed_where_values_are_all_that_cross(sandbox: Sandbox):
    bench = benchmark("edit")
    tasks = {task.task_id: task for task in bench.tasks("instruct")}
    for name, sealed in (("acronym", True), ("clock", False)):
        task = tasks[name]
        score = judged(sandbox, bench, task, bench.canonical(task) or "")
        assert score.verdict
        assert (score.value, score.verdict.sealed) == (1, sealed)
        stub = judged(sandbox, bench, task, bench.baselines(task)["the stub"])
        assert stub.value == 0


@needs_data("edit")
def test_the_second_try_sees_what_the_tests_said():
    bench = benchmark("edit")
    task = bench.tasks("instruct")[0]
    verdict = Verdict(
        status="wrong", sealed=True, level="B", detail="2 is not 3", output="x\n" * 99
    )
    again = bench.retry(task, "my try", verdict).prompt.messages  # type: ignore[attr-defined]
    assert [turn["role"] for turn in again] == ["user", "assistant", "user"]
    assert again[2]["content"].startswith("2 is not 3\n")
    assert again[2]["content"].count("\nx") < 60
    assert "Fix the code in accumulate.py to resolve the errors.\n" in again[2]["content"]


@needs_data("edit")
def test_a_reply_is_well_formed_when_it_names_its_file():
    bench = benchmark("edit")
    task = bench.tasks("instruct")[0]
    for reply, formed in (
        ("accumulate.py\n```\nx = 1\n```\n", 1),
        ("**accumulate.py**\n```python\nx = 1\n```", 1),
        ("```\nx = 1\n```\n", 0),
        ("accumulate.py\n```\nx = 1\n```\n```\ny\n```\n", 0),
    ):
        assert bench.measures(task, reply, "x = 1")["well formed"] == formed  # type: ignore[attr-defined]
