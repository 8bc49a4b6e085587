"""A whole run: answers to scores, what is kept, what is refused, what is unknown."""

import ast
import gc
import json
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from midfill.errors import ConfigError, SandboxError
from midfill.evaluate.benchmarks.humaneval import RULES, HumanEval
from midfill.evaluate.benchmarks.humaneval import load as load_humaneval
from midfill.evaluate.harness import Judging, Stage, evaluate, write_judged
from midfill.evaluate.judging import TRIES, Judge
from midfill.evaluate.result import Decoding, Result
from midfill.evaluate.selfcheck import broken
from midfill.evaluate.source import Answer, Question
from midfill.evaluate.task import Score
from midfill.evaluate.verdicts import Verdicts
from midfill.sandbox import Limits, Sandbox, Verdict
from midfill.sandbox.sandbox import available_level
from own_tasks import RIGHT, ROWS, WRONG, own_benchmark, row, write_rows

TWO = Decoding(temperature=0.8, samples=2, seed=5)


@pytest.fixture(scope="module", autouse=True)
def sandboxed() -> None:
    try:
        available_level(None, "C")
    except SandboxError as problem:
        pytest.skip(f"no sandbox here: {problem.why}")


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Judging:
    """Verdicts shared by the tests of this file, so that each program is run once."""
    return Judging(verdicts=tmp_path_factory.mktemp("verdicts") / "v.sqlite", baselines=False)


@dataclass
class Told:
    """A source that knows the answers by heart, and what it was asked."""

    texts: dict[str, str] = field(default_factory=lambda: dict(RIGHT))
    ends_after: int | None = None
    problems: frozenset[str] = frozenset()
    name: str = "by heart"
    notes: tuple[str, ...] = ("told by heart",)
    asked: list[Question] = field(default_factory=list)

    def describe(self) -> dict[str, Any]:
        return {"kind": "told", "model": self.name}

    def answers(
        self, questions: Sequence[Question], decoding: Decoding
    ) -> Iterator[tuple[int, Answer]]:
        for number in reversed(range(len(questions))):  # in another order than they were asked
            if self.ends_after == len(self.asked):
                raise KeyboardInterrupt
            question = questions[number]
            self.asked.append(question)
            yield number, self._answer(question)

    def _answer(self, question: Question) -> Answer:
        assert question.prompt.messages is not None
        asked = question.prompt.messages[0]["content"]
        task_id = next(r["task_id"] for r in ROWS if r["prompt"] in asked)
        if task_id in self.problems:
            return Answer(problem="status 503")
        return Answer(text=f"{self.texts[task_id]}\n# {question.seed}", finish="stop", tokens=9)


def values(result: Result, rule: str = "midfill") -> dict[str, list[float | None]]:
    return {t.task_id: [s.rules[rule].value for s in t.samples] for t in result.tasks}


def test_right_and_wrong_answers(tmp_path: Path, kept: Judging):
    source = Told({**RIGHT, "Own/0": WRONG, "Own/2": "I will not."})
    stages: list[Stage] = []
    judging = replace(kept, baselines=True)
    result = evaluate(own_benchmark(tmp_path), source, judging=judging, told=stages.append)
    assert values(result) == {"Own/0": [0.0], "Own/1": [1.0], "Own/2": [0.0]}
    assert list(result.rules) == list(RULES)
    assert result.rules["midfill"].value == pytest.approx(1 / 3)
    assert result.rules["midfill"].n == 3
    assert not result.incomplete
    assert result.self_check is not None
    assert (result.self_check.canonical, result.self_check.canonical_passed) == (3, 3)
    assert result.self_check.mutants == result.self_check.mutants_killed > 3
    assert {one.name: one.passed for one in result.baselines} == {"return None": 0, "echo": 0}
    assert result.level in ("A", "B", "C-strict", "C")
    assert result.notes == ("told by heart",)
    assert result.limits.cpu_s == 10
    first = result.tasks[0].samples[0]
    assert (first.tokens, first.finish, first.rules["midfill"].status) == (9, "stop", "wrong")
    assert first.rules["midfill"].sealed
    assert first.rules["midfill"].syntax_valid
    doing = list(dict.fromkeys(stage.doing for stage in stages))
    assert doing == ["checking the judge", "answering", "judging", "baselines"]
    last = [stage for stage in stages if stage.doing == "judging"][-1]
    assert (last.done, last.of, last.judged, last.passed) == (3, 3, 3, 1)
    assert last.running == "33.3 % (6.1 to 79.2)"
    assert Result.from_json(json.loads(json.dumps(result.to_json()))) == result


def test_a_run_that_was_ended_goes_on(tmp_path: Path, kept: Judging):
    benchmark = own_benchmark(tmp_path)

    def run(source: Told, folder: str, **more: Any) -> Result:
        folder_ = tmp_path / folder
        return evaluate(
            benchmark, source, decoding=TWO, ks=(1, 2), folder=folder_, judging=kept, **more
        )

    whole = Told()
    uninterrupted = run(whole, "whole")
    assert len(whole.asked) == 6
    ended = Told(ends_after=4)
    with pytest.raises(KeyboardInterrupt):
        run(ended, "parts")
    more = Told()
    resumed = run(more, "parts")
    assert len(ended.asked) == 4
    assert len(more.asked) == 2
    seeds = [question.seed for question in ended.asked + more.asked]
    assert sorted(map(str, seeds)) == sorted(str(question.seed) for question in whole.asked)
    assert len(set(seeds)) == 6
    assert resumed.tasks == uninterrupted.tasks
    assert resumed.rules == uninterrupted.rules
    # another rule, fewer tasks, fewer answers: nothing is asked again
    nobody = Told(ends_after=0)
    other = run(nobody, "parts", rule="evalplus", limit=2)
    assert next(iter(other.rules)) == "evalplus"
    assert (len(other.tasks), other.of) == (2, 3)


def test_a_greedy_run_does_not_go_on_with_a_drawn_one(tmp_path: Path, kept: Judging):
    benchmark = own_benchmark(tmp_path)
    evaluate(benchmark, Told(), decoding=TWO, folder=tmp_path / "a", judging=kept)
    with pytest.raises(ConfigError, match="cannot be gone on with"):
        evaluate(benchmark, Told(), folder=tmp_path / "a", judging=kept)


def test_what_the_endpoint_failed_is_unknown_and_asked_again(tmp_path: Path, kept: Judging):
    benchmark, folder = own_benchmark(tmp_path), tmp_path / "run"
    down = Told(problems=frozenset({"Own/1"}))
    result = evaluate(benchmark, down, folder=folder, judging=kept)
    assert result.incomplete
    assert result.infra == 1
    assert result.rules["midfill"].n == 3
    assert result.rules["midfill"].unknown == 1
    assert result.rules["midfill"].value == pytest.approx(2 / 3)
    assert result.tasks[1].samples[0].problem == "status 503"
    up = Told()
    again = evaluate(benchmark, up, folder=folder, judging=kept)
    assert len(up.asked) == 1
    assert again.rules["midfill"].value == 1
    assert not again.incomplete


def test_samples_made_elsewhere(tmp_path: Path, kept: Judging):
    benchmark = own_benchmark(tmp_path)
    for kind, rules in (("completion", RULES), ("solution", ("as-is",))):
        rows = [{"task_id": name, kind: text} for name, text in RIGHT.items()]
        if kind == "solution":
            rows = [
                {"task_id": r["task_id"], kind: r["prompt"] + r["canonical_solution"]} for r in ROWS
            ]
        file = tmp_path / f"{kind}.jsonl"
        file.write_text("".join(json.dumps(one) + "\n" for one in rows))
        result = evaluate(benchmark, file, judging=kept)
        assert tuple(result.rules) == rules
        assert result.rules[rules[0]].value == 1
        assert result.model == str(file)


def test_what_cannot_be_honoured_is_refused_before_anything_is_asked(tmp_path, kept: Judging):
    benchmark, nobody = own_benchmark(tmp_path), Told(ends_after=0)
    wrong: list[tuple[str, dict[str, Any]]] = [
        ("no extraction rule 'best'", {"rule": "best"}),
        ("--limit is 0", {"limit": 0}),
        ("pass@2 was asked for, and Own/0 has 1", {"ks": (1, 2)}),
        ("pass@0 was asked for", {"ks": (0,)}),
        ("2 greedy answers", {"decoding": Decoding(samples=2)}),
    ]
    for what, options in wrong:
        with pytest.raises(ConfigError) as refused:
            evaluate(benchmark, nobody, judging=kept, **options)
        assert what in refused.value.what


def test_one_line_an_answer_with_its_verdicts(tmp_path: Path, kept: Judging):
    result = evaluate(own_benchmark(tmp_path), Told(), judging=kept, limit=2)
    write_judged(result, tmp_path / "judged.jsonl")
    lines = [json.loads(line) for line in (tmp_path / "judged.jsonl").read_text().splitlines()]
    assert [line["task_id"] for line in lines] == ["Own/0", "Own/1"]
    one = lines[0]["rules"]["midfill"]
    assert (one["status"], one["sealed"], one["level"]) == ("pass", True, result.level)
    assert "python" in lines[0]["versions"]


# --------------------------------------------------------------------------------- the self-check


def refused_by(rows: list[dict[str, str]], tmp_path: Path) -> str:
    nobody = Told(ends_after=0)
    judging = Judging(verdicts=None, baselines=False)
    with pytest.raises(SandboxError) as refused:
        evaluate(load_humaneval(write_rows(tmp_path, rows)), nobody, judging=judging)
    assert nobody.asked == []
    return str(refused.value)


def test_no_score_where_references_fail(tmp_path: Path):
    broken = [
        row(i, "f", f"{i}", "import nothing_like_this", "candidate(1) == 1") for i in range(3)
    ]
    told = refused_by(broken, tmp_path)
    assert "no score: 3 of 3 reference answers" in told
    assert "Own/0: error" in told
    assert "nothing_like_this" in told


def test_no_score_where_everything_passes(tmp_path: Path):
    blind = [row(i, "f", f"{i}", f"return x + {i}", "candidate(1) or True") for i in range(3)]
    told = refused_by(blind, tmp_path)
    assert "broken answers" in told
    assert "the tests do not notice it" in told


def test_one_reference_that_fails_is_named(tmp_path: Path, kept: Judging):
    rows = [*ROWS, row(3, "f", "Nothing.", "return 1", "candidate(1) == 2")]
    benchmark = load_humaneval(write_rows(tmp_path, rows))
    source = tmp_path / "s.jsonl"
    texts = {**RIGHT, "Own/3": ""}
    lines = [json.dumps({"task_id": name, "completion": text}) for name, text in texts.items()]
    source.write_text("\n".join(lines))
    result = evaluate(benchmark, source, judging=kept)
    assert result.self_check is not None
    assert list(result.self_check.failing) == ["Own/3"]
    assert result.attainable == 0.75


def test_mutants_are_other_programs(tmp_path: Path):
    benchmark = own_benchmark(tmp_path)
    for task in benchmark.tasks("instruct"):
        reference = benchmark.canonical(task)
        made = broken(benchmark, task, reference)
        assert {"ends early", "returns nothing"} <= set(made)
        assert reference not in made.values()


# ------------------------------------------------------------------------------------- the judge


@dataclass
class Counted:
    """Work that counts how often it is done, and fails as often as it is told to."""

    name: str
    values: list[float | None]
    runs: list[str] = field(default_factory=list)
    language: str = "python"
    limits: Limits = field(default_factory=Limits)
    lock: Any = field(default_factory=threading.Lock)

    def identity(self) -> str:
        return self.name

    def judge(self, sandbox: Sandbox) -> Score:
        with self.lock:
            self.runs.append(self.name)
            value = self.values[min(len(self.runs), len(self.values)) - 1]
        status = "infra" if value is None else "pass"
        return Score(value=value, verdict=Verdict(status=status, sealed=True, level="B"))


@pytest.fixture
def judge(tmp_path: Path) -> Iterator[Judge]:
    with Judge(own_benchmark(tmp_path), Verdicts(tmp_path / "v.sqlite"), workers=2) as made:
        yield made
    made.verdicts.close()


def test_the_same_work_is_done_once(judge: Judge, tmp_path: Path):
    work = Counted("a", [1.0])
    threads = [threading.Thread(target=judge.score, args=(work,)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(work.runs) == 1
    judge.verdicts.close()
    verdicts = Verdicts(tmp_path / "v.sqlite")
    with Judge(own_benchmark(tmp_path), verdicts) as later:
        assert later.score(work).value == 1
    verdicts.close()
    assert len(work.runs) == 1


def test_a_machine_that_fails_is_tried_again_and_never_believed(judge: Judge, tmp_path: Path):
    recovers = Counted("b", [None, 1.0])
    assert judge.score(recovers).value == 1
    assert len(recovers.runs) == 2
    never = Counted("c", [None])
    assert judge.score(never).value is None
    assert len(never.runs) == TRIES
    verdicts = Verdicts(tmp_path / "v.sqlite")
    with Judge(own_benchmark(tmp_path), verdicts) as later:
        later.score(never)
    verdicts.close()
    assert len(never.runs) == 2 * TRIES


@dataclass(frozen=True)
class Raising(HumanEval):
    """A benchmark whose extraction breaks on one answer."""

    def extract(self, task: Any, completion: str, rule: str) -> str:
        if "boom" in completion:
            raise RecursionError("too deep")
        return HumanEval.extract(self, task, completion, rule)


def test_an_answer_that_breaks_our_own_code_is_unknown(tmp_path: Path, kept: Judging):
    plain = own_benchmark(tmp_path)
    source = Told({**RIGHT, "Own/0": "boom"})
    result = evaluate(Raising(plain.data), source, judging=kept)
    assert result.incomplete
    assert values(result)["Own/0"] == [None]
    judged = result.tasks[0].samples[0].rules["midfill"]
    assert (judged.status, judged.detail) == (
        "infra",
        "extraction failed: RecursionError: too deep",
    )


class Litter:
    """Garbage whose end lets another thread go on, wherever the collector finds it."""

    def __init__(self) -> None:
        self.me = self

    def __del__(self) -> None:
        time.sleep(0.0001)


NESTED = "\n".join(f"v{i} = [{i}, ({i}, {{{i}: [{i}]}})]" for i in range(60))


@dataclass(frozen=True)
class Littering(HumanEval):
    """A benchmark that reads programs at many depths, with much garbage about."""

    def extract(self, task: Any, completion: str, rule: str) -> str:
        def deep(left: int) -> str:
            if left:
                return deep(left - 1)
            for _ in range(10):
                Litter()
                ast.parse(NESTED)
            return completion

        return deep(threading.get_ident() // 4096 % 20)


def test_threads_do_not_read_programs_at_the_same_time(tmp_path: Path, kept: Judging):
    """CPython 3.11 raises SystemError where syntax trees of two threads are made at once."""
    plain = own_benchmark(tmp_path)
    limits, interval = gc.get_threshold(), sys.getswitchinterval()
    gc.set_threshold(200)
    sys.setswitchinterval(1e-6)
    try:
        result = evaluate(Littering(plain.data), Told(), judging=replace(kept, workers=6))
    finally:
        gc.set_threshold(*limits)
        sys.setswitchinterval(interval)
    judged = [one for task in result.tasks for one in task.samples[0].rules.values()]
    assert [one.detail for one in judged if "SystemError" in one.detail] == []
    assert len(judged) == 3 * len(RULES)
