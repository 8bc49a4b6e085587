"""Two results of the same problems: who passes what the other does not, and whether that is chance."""

import json
from pathlib import Path

import pytest

import made_up_result as made_up
from midfill.errors import ConfigError
from midfill.evaluate.compare import compare, comparison_markdown, comparison_text
from midfill.evaluate.result import Decoding, Result, TaskResult, read_result
from midfill.evaluate.statistics import mcnemar
from midfill.terminal.evaluate import compare as compare_files


def pair(only_first: int, only_second: int, both: int = 100, neither: int = 20):
    """Two results that differ on so many tasks."""
    kinds = "f" * only_first + "s" * only_second + "b" * both + "n" * neither
    named = {f"{kind}{i}": kind for i, kind in enumerate(kinds)}
    first = made_up.one_answer_each({name: float(kind in "fb") for name, kind in named.items()})
    second = made_up.one_answer_each({name: float(kind in "sb") for name, kind in named.items()})
    return first, second


@pytest.mark.parametrize(
    ("only_first", "only_second", "p", "differ"),
    [(10, 2, 0.039, True), (12, 4, 0.077, False), (15, 5, 0.041, True), (20, 9, 0.061, False)],
)
def test_worked_pairs(only_first: int, only_second: int, p: float, differ: bool):
    one = compare(*pair(only_first, only_second)).rules[0]
    assert one.p is not None
    assert round(one.p, 3) == p
    assert one.differ == differ
    assert one.difference == pytest.approx((only_second - only_first) / one.n)
    assert one.low <= one.difference <= one.high


def test_discordant_tasks_are_named():
    found = compare(*pair(2, 1))
    assert found.rules[0].only_first == ("f0", "f1")
    assert found.rules[0].only_second == ("s2",)
    text = comparison_text(found)
    assert "only first passes under midfill: f0, f1\n" in text
    assert "only second passes under midfill: s2\n" in text
    assert "f0, f1" in comparison_markdown(found)


def test_a_result_does_not_differ_from_itself():
    result = made_up.humaneval()
    for one in compare(result, result).rules:
        assert (one.difference, one.low, one.high, one.p) == (0, 0, 0, 1)
        assert one.only_first == one.only_second == ()
        assert not one.differ


def test_several_rules_are_corrected():
    found = compare(made_up.humaneval(100), made_up.humaneval(125, seed=5))
    assert [one.rule for one in found.rules] == list(made_up.RULES)
    raw = [one.p for one in found.rules]
    assert raw == [mcnemar(len(one.only_first), len(one.only_second)) for one in found.rules]
    smallest = min(found.rules, key=lambda one: one.p or 0)
    assert smallest.corrected == pytest.approx(min(1.0, 4 * (smallest.p or 0)))
    assert all((one.corrected or 0) >= (one.p or 0) for one in found.rules)


def test_several_answers_a_task_have_an_interval_and_no_mcnemar():
    def drawn(good: int) -> Result:
        tasks = [
            TaskResult(
                task_id=str(i),
                samples=tuple(made_up.sample({"midfill": float(j < good)}) for j in range(4)),
            )
            for i in range(10)
        ]
        return made_up.result(tasks)

    found = compare(drawn(1), drawn(3))
    assert found.rules[0].p is None
    assert found.rules[0].difference == found.rules[0].low == 0.5
    assert found.rules[0].differ
    assert "no McNemar test" in comparison_text(found)


def test_what_is_not_known_is_named_and_decides_nothing():
    first = made_up.one_answer_each({"a": 1.0, "b": None, "c": 0.0})
    second = made_up.one_answer_each({"a": 1.0, "b": 0.0, "c": 0.0})
    found = compare(first, second)
    assert found.unknown == ("b",)
    assert found.rules[0].n == 2
    assert "incomplete: nothing is known about 1 tasks, left out: b" in comparison_text(found)


def test_tasks_of_one_run_alone_are_left_out_and_counted():
    first, second = (
        made_up.one_answer_each({"a": 1.0, "b": 1.0}),
        made_up.one_answer_each({"b": 0.0}),
    )
    found = compare(first, second)
    assert (found.unshared, found.rules[0].n) == (1, 1)
    assert "1 tasks were asked in only one of the runs" in comparison_text(found)


def test_what_else_differs_is_said():
    first = made_up.one_answer_each({"a": 1.0})
    second = made_up.one_answer_each({"a": 1.0}, level="C", decoding=Decoding(temperature=0.5))
    notes = comparison_text(compare(first, second))
    assert "isolation: B | C" in notes
    assert "decoding: greedy, 1 answer a task, at most 512 tokens | temperature 0.5" in notes


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"benchmark": "mbpp"}, "humaneval is compared with mbpp"),
        ({"version": "f" * 64}, "different data"),
    ],
)
def test_other_data_is_refused(change: dict, said: str):
    first, second = (
        made_up.one_answer_each({"a": 1.0}),
        made_up.one_answer_each({"a": 1.0}, **change),
    )
    with pytest.raises(ConfigError, match=said):
        compare(first, second)


def test_nothing_shared_is_refused():
    first, second = made_up.one_answer_each({"a": 1.0}), made_up.one_answer_each({"b": 1.0})
    with pytest.raises(ConfigError, match="share no task"):
        compare(first, second)
    other = made_up.result([TaskResult(task_id="a", samples=(made_up.sample({"evalplus": 1.0}),))])
    with pytest.raises(ConfigError, match="share no rule"):
        compare(first, other)


def test_a_comparison_is_plain_json():
    found = compare(*pair(3, 1))
    raw = json.loads(json.dumps(found.to_json()))
    assert raw["rules"][0]["only_first"] == ["f0", "f1", "f2"]
    assert raw["rules"][0]["p"] == found.rules[0].p


def test_a_comparison_is_kept(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    files = [tmp_path / "a.json", tmp_path / "b.json"]
    for file, passed in zip(files, (100, 130), strict=True):
        file.write_text(json.dumps(made_up.humaneval(passed).to_json()))
    assert compare_files(*files, json=False, out=tmp_path / "kept") == 0
    printed = capsys.readouterr().out
    kept = json.loads((tmp_path / "kept" / "comparison.json").read_text())
    found = compare(*map(read_result, files))
    assert kept == json.loads(json.dumps(found.to_json()))
    assert "only second passes" in printed
    assert (tmp_path / "kept" / "comparison.md").read_text() == comparison_markdown(found)
