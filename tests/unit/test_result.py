"""A result keeps everything through its file, and its scores count every task."""

import json
from pathlib import Path

import pytest

import made_up_result as made_up
from midfill.errors import ConfigError
from midfill.evaluate.result import (
    Decoding,
    Judged,
    Result,
    SampleResult,
    TaskResult,
    read_result,
    score_rules,
)
from midfill.evaluate.statistics import bootstrap, wilson
from midfill.evaluate.task import Score
from midfill.sandbox.verdict import Verdict


@pytest.mark.parametrize("made", [made_up.humaneval, made_up.needle, made_up.infilling])
def test_a_result_comes_back_from_its_json_whole(made):
    result = made()
    assert Result.from_json(json.loads(json.dumps(result.to_json()))) == result


def test_a_result_is_read_from_a_file_or_its_folder(tmp_path: Path):
    result = made_up.humaneval()
    (tmp_path / "result.json").write_text(json.dumps(result.to_json()), encoding="utf-8")
    assert read_result(tmp_path) == read_result(tmp_path / "result.json") == result


def spoiled(**changes):
    return made_up.one_answer_each({"a": 1.0}).to_json() | changes


@pytest.mark.parametrize(
    ("raw", "said"),
    [
        ([], "not a result that this midfill reads"),
        (spoiled(format=99), "not a result that this midfill reads"),
        (spoiled(colour="red"), "unknown field 'colour'"),
        (spoiled(of="many"), "'many' stands where a value of type int"),
        (spoiled(of=True), "True stands where a value of type int"),
        (spoiled(style="poem"), "'poem' is none of base"),
        (spoiled(notes="abc"), "'abc' stands where a list"),
        (spoiled(rules=[1]), "damaged"),
        ({"format": 1}, "missing"),
    ],
)
def test_a_damaged_file_is_the_users_mistake(raw, said: str):
    with pytest.raises(ConfigError) as caught:
        Result.from_json(raw, "x.json")
    assert said in str(caught.value)
    assert caught.value.what.startswith("x.json")


def test_a_file_that_is_no_json_is_named(tmp_path: Path):
    (tmp_path / "result.json").write_text("{")
    with pytest.raises(ConfigError, match="cannot be read as a result"):
        read_result(tmp_path)
    with pytest.raises(ConfigError, match="cannot be read as a result"):
        read_result(tmp_path / "nothing.json")


def test_what_is_not_known_counts_as_not_passed_and_marks_the_run():
    result = made_up.one_answer_each({"a": 1.0, "b": 0.0, "c": None, "d": 1.0})
    score = result.rules["midfill"]
    assert (score.n, score.passed, score.unknown, score.value) == (4, 2, 1, 0.5)
    assert (result.infra, result.incomplete) == (1, True)
    assert result.to_json()["derived"]["incomplete"]
    assert not made_up.one_answer_each({"a": 1.0}).incomplete


def test_an_answer_that_never_came_is_not_known():
    lost = TaskResult(task_id="b", samples=(SampleResult(completion="", rules={}, problem="503"),))
    there = TaskResult(task_id="a", samples=(made_up.sample({"midfill": 1.0}),))
    result = made_up.result([there, lost])
    assert result.incomplete
    assert (result.rules["midfill"].value, result.rules["midfill"].unknown) == (0.5, 1)
    assert result.rules["midfill"].empty == 0


def test_empty_extractions_and_programs_that_parse_are_counted():
    extracted = {"a": ("", False), "b": (" \n", False), "c": ("x", True), "d": ("(", False)}
    tasks = [
        TaskResult(
            task_id=name,
            samples=(
                SampleResult(
                    completion="?",
                    rules={
                        "r": Judged(
                            code="", value=0.0, status="wrong", extracted=text, syntax_valid=parses
                        )
                    },
                ),
            ),
        )
        for name, (text, parses) in extracted.items()
    ]
    score = score_rules(tasks, ["r"])["r"]
    assert (score.empty, score.syntax_valid) == (2, 1)
    assert made_up.humaneval().rules["midfill"].empty == 0


def test_one_answer_a_task_has_wilsons_interval():
    score = made_up.humaneval(133, 164).rules["midfill"]
    assert (score.interval, score.low, score.high) == (
        "wilson",
        wilson(133, 164).low,
        wilson(133, 164).high,
    )


def test_several_answers_are_resampled_by_task_and_have_pass_at_k():
    tasks = [
        TaskResult(
            task_id=str(i),
            samples=tuple(made_up.sample({"midfill": float(j < i % 4)}) for j in range(4)),
        )
        for i in range(20)
    ]
    score = score_rules(tasks, ["midfill"], ks=(1, 2))["midfill"]
    means = [i % 4 / 4 for i in range(20)]
    assert (score.low, score.high) == (bootstrap(means).low, bootstrap(means).high)
    assert score.value == pytest.approx(sum(means) / 20) == pytest.approx(score.pass_at["1"])
    chance = [0, 1 - 3 / 6, 1 - 1 / 6, 1]  # of a pass among two of four, with 0 to 3 passed
    assert score.pass_at["2"] == pytest.approx(sum(chance) / 4)
    with pytest.raises(ConfigError, match="pass@5 cannot be told for 0"):
        score_rules(tasks, ["midfill"], ks=(5,))


def test_parts_and_further_measures_have_means_of_their_own():
    tasks = [
        TaskResult(
            task_id=str(i),
            group="easy" if i < 3 else "hard",
            samples=(
                SampleResult(
                    completion="x",
                    rules={
                        "r": Judged(
                            code="x", value=float(i < 2), status="pass", also={"similarity": i / 4}
                        )
                    },
                ),
            ),
        )
        for i in range(4)
    ]
    score = score_rules(tasks, ["r"])["r"]
    assert score.groups == {"easy": (2 / 3, 3), "hard": (0.0, 1)}
    assert score.also == {"similarity": (0 + 1 + 2 + 3) / 16}


def test_tasks_whose_reference_fails_bound_the_score():
    result = made_up.humaneval()
    assert result.attainable == 163 / 164
    assert made_up.needle().attainable is None


def test_the_token_limit_is_counted_where_it_was_recorded():
    result = made_up.humaneval()
    ends = [sample.finish for task in result.tasks for sample in task.samples]
    assert result.at_limit == ends.count("length") > 0
    silent = TaskResult(task_id="a", samples=(made_up.sample({"midfill": 1.0}, finish=None),))
    assert made_up.result([silent]).at_limit is None


def test_seven_facts_make_one_number():
    facts = made_up.humaneval().facts("evalplus")
    assert list(facts) == [
        "data", "prompt", "decoding", "extraction", "judge", "limits", "isolation",
    ]  # fmt: skip
    assert facts["extraction"] == "evalplus"
    assert facts["data"] == "humaneval 4dd1ee4a1f2c"
    assert all(facts.values())


@pytest.mark.parametrize(
    ("decoding", "said"),
    [
        (Decoding(), "greedy, 1 answer a task"),
        (Decoding(seed=3, top_k=5), "greedy, 1 answer a task"),
        (
            Decoding(temperature=0.2, top_p=0.95, samples=10, seed=3, max_tokens=512),
            "temperature 0.2, top_p 0.95, 10 answers a task, at most 512 tokens, seed 3",
        ),
    ],
)
def test_decoding_in_words(decoding: Decoding, said: str):
    assert str(decoding) == said


def test_a_verdict_becomes_a_judgement():
    first = Verdict(status="timeout", sealed=True, level="B")
    verdict = Verdict(
        status="wrong", sealed=False, level="C", detail="d", output="o", cpu_s=1, first=first
    )
    judged = Judged.of(Score(value=0.0, verdict=verdict), extracted="e", code="c")
    assert (judged.status, judged.detail, judged.output, judged.code) == ("wrong", "d", "o", "c")
    assert (judged.sealed, judged.level, judged.rerun, judged.extracted) == (False, "C", True, "e")
    compared = [Judged.of(Score(value=value), extracted="e") for value in (1.0, 0.4, None)]
    assert [one.status for one in compared] == ["pass", "wrong", "infra"]
    assert compared[0].sealed is None
    assert compared[0].code == "e"
