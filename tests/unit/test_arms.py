"""What else is asked of a model: a second try after a failure, and the tasks in another way."""

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from midfill.errors import SandboxError
from midfill.evaluate.arms import FIRST_TRY
from midfill.evaluate.benchmarks import benchmark
from midfill.evaluate.harness import Judging, evaluate
from midfill.evaluate.report import as_text, warnings
from midfill.evaluate.result import Decoding, Result
from midfill.evaluate.source import Answer, Question
from midfill.evaluate.task import Prompt
from midfill.sandbox.sandbox import available_level

EXERCISES = [
    {
        "id": name,
        "instructions": f"Write {name}.",
        "solution_files": {f"{name}.py": f"def {name}(x):\n    pass\n"},
        "test_files": {
            f"{name}_test.py": f"import unittest\nfrom {name} import {name}\n\n\n"
            "class Tests(unittest.TestCase):\n"
            f"    def test_it(self):\n        self.assertEqual({name}(2), 4)\n"
        },
        "example_files": {f"{name}.py": f"def {name}(x):\n    return x + x\n"},
    }
    for name in ("double", "twice", "fourth")
]
HOLES = [
    {
        "task_id": f"SingleLineInfilling/HumanEval/{number}/L0",
        "entry_point": "f",
        "prompt": "def f(x):\n    y = x\n",
        "suffix": "    return y\n",
        "canonical_solution": f"    y = y + {number}\n",
        "test": f"def check(candidate):\n    assert candidate(1) == {1 + number}\n",
    }
    for number in (1, 2, 3)
]


@pytest.fixture(scope="module", autouse=True)
def sandboxed() -> None:
    try:
        available_level(None, "C")
    except SandboxError as problem:
        pytest.skip(f"no sandbox here: {problem.why}")


@dataclass
class Asked:
    """A source that answers by a function of the prompt, and remembers what it was asked."""

    answer: Callable[[Prompt], str]
    ends_after: int = 1000
    name: str = "a function"
    notes: tuple[str, ...] = ()
    prompts: list[Prompt] = field(default_factory=list)

    def describe(self) -> dict[str, Any]:
        return {"model": self.name}

    def answers(
        self, questions: Sequence[Question], decoding: Decoding
    ) -> Iterator[tuple[int, Answer]]:
        for number, question in enumerate(questions):
            if len(self.prompts) == self.ends_after:
                raise KeyboardInterrupt
            self.prompts.append(question.prompt)
            yield number, Answer(text=self.answer(question.prompt), finish="stop", tokens=5)


@pytest.fixture(scope="module")
def judging(tmp_path_factory: pytest.TempPathFactory) -> Judging:
    return Judging(verdicts=tmp_path_factory.mktemp("kept") / "v.sqlite", workers=2)


def rows(folder: Path, some: list[dict[str, Any]]) -> Path:
    file = folder / "rows.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in some))
    return file


def learns(prompt: Prompt) -> str:
    """Right at once about `twice`, at the second try about `double`, never about `fourth`."""
    text = "".join(turn["content"] for turn in prompt.messages or ())
    name = next(row["id"] for row in EXERCISES if f"Write {row['id']}." in text)
    right = name == "twice" or (name == "double" and "testing errors above" in text)
    fence = f"```\ndef {name}(x):\n    return x * {2 if right else 3}\n```\n"
    return fence if name == "fourth" and len(prompt.messages or ()) > 1 else f"{name}.py\n{fence}"


def samples(result: Result) -> dict[str, Any]:
    return {task.task_id: task.samples[0] for task in result.tasks}


def test_two_tries(tmp_path: Path, judging: Judging):
    edit = benchmark("edit", rows(tmp_path, EXERCISES))
    source = Asked(learns)
    result = evaluate(edit, source, folder=tmp_path / "run", judging=judging)
    score = result.rules["midfill"]
    assert score.value == pytest.approx(2 / 3)
    assert score.also == {FIRST_TRY: pytest.approx(1 / 3), "well formed": pytest.approx(2 / 3)}
    assert len(source.prompts) == 5
    said = (source.prompts[3].messages or ())[-1]["content"]
    assert "6" in said
    assert "4" in said
    assert samples(result)["twice"].earlier == ()
    assert "x * 3" in samples(result)["double"].earlier[0]
    assert "x * 2" in samples(result)["double"].completion
    assert samples(result)["double"].tokens == 10
    assert Result.from_json(json.loads(json.dumps(result.to_json()))) == result


def test_second_tries_are_kept(tmp_path: Path, judging: Judging):
    edit = benchmark("edit", rows(tmp_path, EXERCISES))
    ended = Asked(learns, ends_after=4)
    with pytest.raises(KeyboardInterrupt):
        evaluate(edit, ended, folder=tmp_path / "run", judging=judging)
    more = Asked(learns)
    resumed = evaluate(edit, more, folder=tmp_path / "run", judging=judging)
    assert len(more.prompts) == 1
    whole = evaluate(edit, Asked(learns), judging=judging)
    assert resumed.tasks == whole.tasks
    assert resumed.rules == whole.rules


def test_each_drawn_answer_has_its_second_try(tmp_path: Path, judging: Judging):
    edit = benchmark("edit", rows(tmp_path, EXERCISES))
    source = Asked(learns)
    drawn = Decoding(temperature=0.5, samples=2, seed=1)
    quick = replace(judging, baselines=False)
    result = evaluate(edit, source, decoding=drawn, folder=tmp_path / "run", judging=quick)
    assert result.rules["midfill"].passed == 4
    assert len(source.prompts) == 10


def test_answers_of_a_file_have_one_try(tmp_path: Path, judging: Judging):
    file = tmp_path / "samples.jsonl"
    wrong = [{"task_id": row["id"], "completion": "```\nx = 1\n```"} for row in EXERCISES]
    file.write_text("".join(json.dumps(line) + "\n" for line in wrong))
    result = evaluate(benchmark("edit", rows(tmp_path, EXERCISES)), file, judging=judging)
    assert FIRST_TRY not in result.rules["midfill"].also
    assert any(note.startswith("one try") for note in result.notes)


def test_a_base_model_goes_on_with_the_text(tmp_path: Path):
    edit = benchmark("edit", rows(tmp_path, EXERCISES))
    quick = Judging(verdicts=None, baselines=False)
    source = Asked(lambda prompt: "def double(x):\n    return 0")
    evaluate(edit, source, style="base", limit=1, judging=quick)
    assert [prompt.messages for prompt in source.prompts] == [None, None]
    assert (source.prompts[1].text or "").endswith("to resolve the errors.\n\ndouble.py\n```\n")


def test_holes_are_also_filled_without_what_follows(tmp_path: Path, judging: Judging):
    infilling = benchmark("infilling-single-line", rows(tmp_path, HOLES))
    fills = iter(hole["canonical_solution"] for hole in HOLES)

    def fill(prompt: Prompt) -> str:
        if prompt.suffix is not None:
            return next(fills)
        assert prompt.text == HOLES[0]["prompt"]
        return "    y = y + 1\n    return y\n"

    source = Asked(fill)
    result = evaluate(infilling, source, folder=tmp_path / "run", judging=judging)
    own = next(base for base in result.baselines if base.own)
    assert (own.name, own.passed, own.n) == ("the model itself, left to right", 1, 3)
    assert own.also["exact_match"] == pytest.approx(1 / 3)
    assert own.also["ran past the hole"] == 1
    assert result.rules[result.rule].value == 1
    assert len(source.prompts) == 6
    assert "left to right" in as_text(result)
    assert not any("asked otherwise" in warning for warning in warnings(result))
    again = Asked(fill, ends_after=0)
    kept = evaluate(infilling, again, folder=tmp_path / "run", judging=judging)
    assert kept.baselines == result.baselines


def test_a_model_that_does_not_use_the_suffix_is_told_so(tmp_path: Path, judging: Judging):
    infilling = benchmark("infilling-single-line", rows(tmp_path, HOLES))
    result = evaluate(infilling, Asked(lambda prompt: "    y = y + 1\n"), judging=judging)
    assert any(
        warning.startswith(
            "not better than asked otherwise: the model itself, left to right 33.3 %"
        )
        for warning in warnings(result)
    )
