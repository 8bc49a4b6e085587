"""Samples on disk: torn lines, other runs, files made elsewhere."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from midfill.errors import ConfigError
from midfill.evaluate.records import Samples, prompt_hash, read_samples
from midfill.evaluate.source import Answer
from midfill.evaluate.task import Prompt, Task
from own_tasks import own_benchmark

RUN = {"benchmark": "own", "source": {"model": "m"}, "decoding": {"temperature": 0.0}}
ANSWER = Answer(text="é\n\udc80 1", finish="stop", prompt_tokens=5, tokens=3, seconds=0.5)


@pytest.fixture
def tasks(tmp_path: Path) -> list[Task]:
    return own_benchmark(tmp_path).tasks("instruct")


def file_of(folder: Path, *rows: dict | str) -> Path:
    lines = [row if isinstance(row, str) else json.dumps(row) for row in rows]
    path = folder / "given.jsonl"
    path.write_text("".join(line + "\n" for line in lines))
    return path


def written(path: Path, tasks: list[Task], count: int = 2) -> None:
    with Samples(path, RUN, tasks) as samples:
        for task in tasks[:count]:
            samples.add(task.task_id, 0, ANSWER, seed=7)


def test_answers_come_back_as_they_were(tmp_path: Path, tasks: list[Task]):
    path = tmp_path / "deep" / "samples.jsonl"
    written(path, tasks)
    with Samples(path, RUN, tasks) as samples:
        assert samples.kept == {("Own/0", 0): ANSWER, ("Own/1", 0): ANSWER}


def test_every_cut_of_the_file_leaves_its_whole_lines(tmp_path: Path, tasks: list[Task]):
    path = tmp_path / "samples.jsonl"
    written(path, tasks)
    raw = path.read_bytes()
    first = raw.index(b"\n") + 1
    for cut in (0, 1, first - 1, first, first + 1, len(raw) - 2, len(raw) - 1, len(raw)):
        path.write_bytes(raw[:cut])
        with Samples(path, RUN, tasks) as samples:
            assert len(samples.kept) == raw[:cut].count(b"\n")
            samples.add("Own/2", 0, ANSWER, seed=None)
        with Samples(path, RUN, tasks) as samples:  # what was added stands on a line of its own
            assert len(samples.kept) == raw[:cut].count(b"\n") + 1


def test_an_answer_with_a_problem_is_asked_for_again(tmp_path: Path, tasks: list[Task]):
    path = tmp_path / "samples.jsonl"
    with Samples(path, RUN, tasks) as samples:
        samples.add("Own/0", 0, Answer(problem="status 500"), seed=None)
    assert json.loads(path.read_text())["completion"] is None
    with Samples(path, RUN, tasks) as samples:
        assert samples.kept == {}


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"source": {"model": "other"}}, "model was 'm' and is 'other'"),
        ({"decoding": {"temperature": 0.8}}, "temperature was 0.0 and is 0.8"),
        ({"style": "base"}, "style was None and is 'base'"),
    ],
)
def test_the_file_of_another_run_is_refused(tmp_path: Path, tasks, changed: dict, told: str):
    path = tmp_path / "samples.jsonl"
    written(path, tasks)
    before = path.read_bytes()
    with pytest.raises(ConfigError) as refused:
        Samples(path, RUN | changed, tasks)
    assert told in refused.value.why
    assert path.read_bytes() == before
    written(path, tasks)  # the lock was let go


def test_other_prompts_are_refused(tmp_path: Path, tasks: list[Task]):
    path = tmp_path / "samples.jsonl"
    written(path, tasks)
    longer = replace(tasks[0], prompt=replace(tasks[0].prompt, max_tokens=9))
    with pytest.raises(ConfigError, match="cannot be gone on with") as refused:
        Samples(path, RUN, [longer])
    assert "Own/0 was asked with another prompt" in refused.value.why


def test_a_damaged_line_in_the_middle_is_named(tmp_path: Path, tasks: list[Task]):
    path = tmp_path / "samples.jsonl"
    written(path, tasks)
    path.write_bytes(b'{"task_id": \n' + path.read_bytes())
    with pytest.raises(ConfigError, match="line 1 of"):
        Samples(path, RUN, tasks)


def test_two_runs_cannot_write_one_file(tmp_path: Path, tasks: list[Task]):
    path = tmp_path / "samples.jsonl"
    with (
        Samples(path, RUN, tasks),
        pytest.raises(ConfigError, match="written by another run"),
    ):
        Samples(path, RUN, tasks)


def test_everything_a_model_sees_is_in_the_hash_of_its_prompt():
    plain = Prompt(messages=({"role": "user", "content": "hi"},))
    others = [
        replace(plain, answer_start="Sure"),
        replace(plain, stop=("\n",)),
        replace(plain, max_tokens=5),
        replace(plain, messages=({"role": "user", "content": "hi!"},)),
        Prompt(text="hi"),
        Prompt(prefix="hi", suffix=""),
    ]
    hashes = {prompt_hash(prompt) for prompt in (plain, *others)}
    assert len(hashes) == 1 + len(others)


# ------------------------------------------------------------------------------- made elsewhere


def test_lines_made_elsewhere_are_numbered_in_their_order(tmp_path: Path, tasks: list[Task]):
    path = file_of(
        tmp_path,
        {"task_id": "Own/1", "completion": "a"},
        {"task_id": "Own/0", "completion": "b"},
        {"task_id": "Own/1", "completion": "c"},
    )
    found = read_samples(path, tasks[:2], [task.task_id for task in tasks])
    texts = {key: kept.answer.text for key, kept in found.items()}
    assert texts == {("Own/1", 0): "a", ("Own/0", 0): "b", ("Own/1", 1): "c"}
    assert not any(kept.extracted for kept in found.values())


def test_solutions_are_not_extracted_again(tmp_path: Path, tasks: list[Task]):
    path = file_of(tmp_path, *({"task_id": t.task_id, "solution": "x = 1"} for t in tasks))
    found = read_samples(path, tasks, [task.task_id for task in tasks])
    assert all(kept.extracted and kept.answer.text == "x = 1" for kept in found.values())


def test_our_own_samples_can_be_given(tmp_path: Path, tasks: list[Task]):
    path = tmp_path / "samples.jsonl"
    written(path, tasks, 3)
    found = read_samples(path, tasks, [task.task_id for task in tasks])
    assert {key: kept.answer for key, kept in found.items()} == {
        (task.task_id, 0): ANSWER for task in tasks
    }


GOOD = [{"task_id": f"Own/{i}", "completion": ""} for i in range(3)]


@pytest.mark.parametrize(
    ("rows", "what", "why"),
    [
        (["{"], "line 1 of", "no JSON"),
        (["[1]"], "line 1 of", "no JSON object"),
        ([GOOD[0], {"completion": "x"}], "line 2 of", "no task_id"),
        ([{"task_id": "HumanEval/0", "completion": "x"}], "line 1 of", "no task 'HumanEval/0'"),
        ([{"task_id": "Own/0", "completion": 5}], "line 1 of", "no completion and no solution"),
        ([{"task_id": "Own/0", "completion": None}], "line 1 of", "no completion and no solution"),
        (GOOD[:1], "no answer to 2 of 3 tasks", "it lacks Own/1, Own/2"),
        ([], "no answer to 3 of 3 tasks", "it lacks Own/0, Own/1, Own/2"),
        ([*GOOD, {"task_id": "Own/0", "solution": ""}], "both completions and solutions", ""),
    ],
)
def test_what_cannot_be_scored_is_named(tmp_path: Path, tasks, rows: list, what: str, why: str):
    with pytest.raises(ConfigError) as refused:
        read_samples(file_of(tmp_path, *rows), tasks, [task.task_id for task in tasks])
    assert what in refused.value.what
    assert why in refused.value.why


def test_a_file_that_is_not_there(tmp_path: Path, tasks: list[Task]):
    with pytest.raises(ConfigError, match="cannot be read"):
        read_samples(tmp_path / "none.jsonl", tasks, ["Own/0"])
