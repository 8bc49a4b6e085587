"""The names of the benchmarks, and how each one asks."""

from pathlib import Path

import pytest

from benchmark_rows import ADD, ALL, MBPP, opened
from conftest import needs_data
from midfill.errors import ConfigError
from midfill.evaluate.benchmarks import benchmark, multilingual, names


def test_the_names_are_those_of_the_design():
    wanted = {*ALL, *(f"humaneval-{ending}" for ending in multilingual.LANGUAGES)}
    assert wanted <= set(names())
    assert len(multilingual.LANGUAGES) == 19


def test_an_unknown_name_suggests_the_nearest():
    with pytest.raises(ConfigError) as caught:
        benchmark("humanevl")
    assert caught.value.why == "the nearest name is 'humaneval'"


def test_humaneval_asks_as_the_papers_do(tmp_path: Path):
    bench = opened("humaneval", tmp_path, ADD)
    base, first, second = (
        bench.tasks(style)[0].prompt for style in ("base", "instruct-v1", "instruct")
    )
    assert base.text == ADD["prompt"].strip()
    assert base.stop == ("\ndef", "\nclass", "\nif", "\n#", "\nprint")
    assert base.max_tokens == 500
    assert first.messages
    assert second.messages
    assert [first.messages[0]["role"], len(first.messages)] == ["user", 1]
    assert first.messages[0]["content"] == (
        "Please continue to complete the function. You are not allowed to modify the given code "
        "and do the completion only. Please return all completed function in a codeblock. Here is "
        f"the given code to do completion:\n```python\n{ADD['prompt'].strip()}\n```"
    )
    assert (first.stop, first.max_tokens) == (("<|EOT|>",), 1024)
    assert second.messages[0]["content"] == (
        "Please complete the python function below. The final complete version of your function "
        "must be returned within a code block. Here is the unfinished function:\n ```python\n"
        f"{ADD['prompt']}\n\n"
    )


def test_mbpp_asks_with_three_examples(tmp_path: Path):
    bench = opened("mbpp", tmp_path, *MBPP)
    [base], [chat] = bench.tasks("base"), bench.tasks("instruct")
    assert base.task_id == "MBPP/11"  # 511 belongs to the training set
    begin = "You are an expert Python programmer, and here is your task: Write f{n}. Your code should pass these tests:\n\nassert f{n}(1) == 1\nassert f{n}(2) == 2\n[BEGIN]"
    solved = "\ndef f{n}(x):\n    return x\n[DONE]\n"
    shots = "".join((begin + solved).replace("{n}", str(n)) for n in (2, 3, 4))
    assert base.prompt.text == shots + begin.replace("{n}", "11")
    assert (base.prompt.stop, base.prompt.max_tokens) == (("[DONE]",), 500)
    assert chat.prompt.messages
    content = chat.prompt.messages[0]["content"]
    assert content.startswith(
        "Please refer the given examples and generate a python function for my problem.\n"
        "Examples are listed as follows:\n"
        "- Example 1:\n>>> Problem:\nWrite f2.\n>>> Test Cases:\nassert f2(1) == 1\n"
        "assert f2(2) == 2\n\n>>> Code:\n```python\ndef f2(x):\n    return x\n```\n\n"
        "- Example 2:\n"
    )
    assert content.endswith(
        "\n```\n\nHere is my problem:\n>>> Problem:\nWrite f11.\n>>> Test Cases:\n"
        "assert f11(1) == 1\nassert f11(2) == 2\n"
    )
    assert chat.prompt.max_tokens == 512


@needs_data("mbpp")
def test_all_three_examples_of_mbpp_always_fit():
    longest = max(len(task.prompt.text or "") for task in benchmark("mbpp").tasks("base"))
    assert longest < 2.5 * (4096 - 500)  # no code vocabulary needs a token for so few characters


@needs_data("mbpp+")
def test_mbpp_plus_asks_as_evalplus_does():
    bench = benchmark("mbpp+")
    base, chat = bench.tasks("base")[0], bench.tasks("instruct")[0]
    prompt = base.prompt.text or ""
    assert prompt == (
        '"""\nWrite a function to find the shared elements from the given two lists.\n'
        'assert set(similar_elements((3, 4, 5, 6),(5, 7, 4, 10))) == set((4, 5))\n"""\n'
    )
    assert '\n"""' in base.prompt.stop
    assert "\nassert" in base.prompt.stop
    assert chat.prompt.messages
    assert chat.prompt.messages[0]["content"] == (
        "Please provide a self-contained Python script that solves the following problem in a "
        f"markdown code block:\n```\n{prompt.strip()}\n```\n"
    )
    assert chat.prompt.answer_start.endswith("passes corresponding tests:\n```python\n")
    assert {"<|endoftext|>", "\nif __name__", "\ndef main(", "\nprint("} <= set(chat.prompt.stop)
    assert not any("http" in (task.prompt.text or "") for task in bench.tasks("base"))


def test_cruxeval_asks_for_the_right_half(tmp_path: Path):
    row = {"id": "s", "code": "def f(x):\n    return {x}", "input": "{input}", "output": "{code}"}
    for half, ends in {
        "cruxeval-o": "assert f({input}) == ??\n[/PYTHON]\n[ANSWER]\n",
        "cruxeval-o-cot": "assert f({input}) == ??\n[/PYTHON]\n[THOUGHT]\n",
        "cruxeval-i": "assert f(??) == {code}\n[/PYTHON]\n[ANSWER]\n",
        "cruxeval-i-cot": "assert f(??) == {code}\n[/PYTHON]\n[THOUGHT]\n",
    }.items():
        bench = opened(half, tmp_path, row)
        assert bench.name == half
        base, chat = bench.tasks("base")[0].prompt, bench.tasks("instruct")[0].prompt
        assert base.text
        assert base.text.endswith("[PYTHON]\n" + row["code"] + "\n" + ends)
        assert chat.messages == ({"role": "user", "content": base.text},)
        assert base.stop == ("[/ANSWER]",)
        assert base.text.count("[THOUGHT]") == (2 if half.endswith("cot") else 0)
        assert "{space}" not in base.text


def test_maths_are_asked_for_a_box(tmp_path: Path):
    bench = opened("gsm8k", tmp_path, {"question": "1 + 1?", "answer": "so\n#### 2"})
    prompt = bench.tasks("instruct")[0].prompt
    assert prompt.messages
    assert prompt.messages[0]["content"] == (
        "1 + 1?\nPlease reason step by step, and put your final answer within \\boxed{}."
    )


@needs_data("infilling-single-line")
def test_a_hole_is_asked_for_by_what_stands_around_it():
    task = benchmark("infilling-single-line").tasks("base")[0]
    assert task.prompt.text is None
    assert task.prompt.prefix == task.row["prompt"]
    assert task.prompt.suffix == task.row["suffix"]


@pytest.mark.parametrize("name", ALL)
def test_every_style_asks_every_task(name: str):
    if needs_data(name).args[0]:
        pytest.skip(f"no data of {name}: set MIDFILL_DATA, or midfill pull {name}")
    bench = benchmark(name)
    for style in ("base", "instruct", "instruct-v1"):
        tasks = bench.tasks(style)
        assert len({task.task_id for task in tasks}) == len(tasks)
        for task in tasks:
            ways = (task.prompt.text, task.prompt.prefix, task.prompt.messages)
            assert sum(way is not None for way in ways) == 1
