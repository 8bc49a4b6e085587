"""Extraction: published rules equal their originals, and ours finds the program in a reply."""

import ast
import hashlib
import json
import random
import warnings
from pathlib import Path

import pytest

from extraction_replies import CPP, ESC, HELPED, JAVA, PLAIN, PROGRAMS, Case, cases
from midfill.errors import ConfigError
from midfill.evaluate.extract import RULES, extract
from midfill.evaluate.extract.ours import fences
from midfill.evaluate.extract.python import longest_run

RECORD = json.loads((Path(__file__).parent / "extraction_originals.json").read_text())
CASES = cases()
EVEN = "def even(x):\n    return x % 2 == 0\n"
SOLVE = "def solve(xs):\n    return sum(filter(even, xs))\n"


def digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:10]


def test_replies_are_those_that_were_recorded():
    assert len(CASES) >= 200
    assert len({case.name for case in CASES}) == len(CASES)
    assert digest(repr(CASES)) == RECORD["replies"], "run bench/extraction_originals.py --write"


@pytest.mark.parametrize("rule", RECORD["rules"])
def test_rule_equals_its_original(rule: str):
    recorded = RECORD["rules"][rule].split()
    assert len(recorded) == len(CASES)
    different = [
        case.name
        for case, original in zip(CASES, recorded, strict=True)
        if original not in ("-", digest(extract(rule, case.completion, **case.known())))
    ]
    assert different == []
    assert sum(original != "-" for original in recorded) >= 200


def test_every_published_rule_with_an_original_is_recorded():
    assert set(RULES) - set(RECORD["rules"]) == {"fim-line", "fim-line-raw", "midfill"}


# What the rules of others give where they break: the reasons for scoring under several.
BROKEN = {
    "repeated signature": ("human-eval", Case(name="", completion=SOLVE), HELPED + SOLVE),
    "comment in column 0": (
        "deepseek-base",
        Case(name="", completion="    t = 0\n# add\n    return t\n", prompt=PLAIN, base=True),
        PLAIN + "\n    t = 0",
    ),
    "second def lost": (
        "deepseek-base",
        Case(name="", completion=f"```python\n{SOLVE}\n{EVEN}```"),
        SOLVE,
    ),
    "helper above lost": (
        "deepseek-instruct",
        Case(name="", completion=f"```python\n{EVEN}\n{SOLVE}```", prompt=PLAIN),
        f"\n{SOLVE}\n",
    ),
    "longer name found": (
        "deepseek-instruct",
        Case(name="", completion=f"```python\ndef solved(): pass\n{SOLVE}```", prompt=PLAIN),
        f"\ndef solved(): pass\n{SOLVE}\n",
    ),
    "brace in column 0": (
        "deepseek-instruct",
        Case(name="", completion=f"```python\n{PROGRAMS['column-0 brace']}```", prompt=PLAIN),
        "\ndef solve(xs):\n    table = {\n        1: 2,\n",
    ),
    "fence called c++": (
        "deepseek-instruct",
        Case(name="", completion="```c++\nlong solve() {}\n```", prompt=CPP, language="cpp"),
        CPP + "\n```c++\nlong solve() {}\n```",
    ),
    "draft first": (
        "deepseek-mbpp",
        Case(name="", completion=f"```python\n{EVEN}```\n```python\n{SOLVE}```"),
        EVEN,
    ),
    "closed on a code line": (
        "deepseek-leetcode",
        Case(name="", completion="```python\nx = 1```\nDone."),
        "```python\nx = 1```\nDone.",
    ),
    "generator vanishes": (
        "evalplus",
        Case(name="", completion=PROGRAMS["generator"]),
        "def solve(xs):\n    return sum(evens(xs))",
    ),
    "itself a generator": (
        "evalplus",
        Case(name="", completion="import os\n" + PROGRAMS["itself a generator"]),
        "import os",
    ),
    "first of two functions": (
        "evalplus",
        Case(name="", completion=PROGRAMS["twice"]),
        "def solve(xs):\n    return 0",
    ),
    "halved by prose": (
        "evalplus",
        Case(name="", completion=f"{EVEN}```\nThen you add.\n```\n\n\nimport os\n{SOLVE}"),
        SOLVE.join(["import os\n", ""]).rstrip(),
    ),
    "explanation last": (
        "livecodebench",
        Case(name="", completion=f"```python\n{SOLVE}```\nOutput:\n```\n6\n```"),
        "6",
    ),
    "final fence open": (
        "livecodebench",
        Case(name="", completion=f"```python\n{EVEN}```\nBetter:\n```python\n{SOLVE}"),
        "Better:",
    ),
    "usage last": (
        "open-r1",
        Case(name="", completion=f"```python\n{SOLVE}```\n```python\nsolve([1])\n```"),
        "solve([1])\n",
    ),
    "docstring of one line": (
        "repobench",
        Case(name="", completion='"""Sum."""\nx = 1\ny = """z"""\nw = 2'),
        "w = 2",
    ),
    "equals in a string": (
        "cruxeval",
        Case(name="", completion='[ANSWER]assert f("a == b") == 3', prompt="o"),
        'b")',
    ),
    "answer corrected": (
        "cruxeval",
        Case(name="", completion="[ANSWER]f(1) == 2[/ANSWER] no: [ANSWER]f(2) == 2", prompt="i"),
        "f(1)",
    ),
    "leading newline": ("fim-line-raw", Case(name="", completion="\n  x = 1\n"), ""),
    "no braces": ("boxed", Case(name="", completion="\\boxed 5"), ""),
    "box cut off": ("boxed", Case(name="", completion="\\boxed{1}, no: \\boxed{\\frac{2}"), ""),
}


@pytest.mark.parametrize("name", BROKEN)
def test_published_rule_breaks_as_documented(name: str):
    rule, case, expected = BROKEN[name]
    assert extract(rule, case.completion, **case.known()) == expected


@pytest.mark.parametrize(
    ("completion", "line"),
    [
        ("x = 1\ny = 2", "x = 1"),
        ("\n\n   x = 1  \r\ny", "x = 1"),
        (" \n\t\n", ""),
        ("", ""),
    ],
)
def test_fim_line_is_the_first_that_is_not_blank(completion: str, line: str):
    assert extract("fim-line", completion) == line


@pytest.mark.parametrize(
    ("completion", "answer"),
    [
        ("\\boxed{1} or \\boxed{\\frac{1}{\\sqrt{2}}}.", "\\frac{1}{\\sqrt{2}}"),
        ("\\boxed{}", ""),
        ("\\boxed{\\{1, 2\\}}", "\\{1, 2\\}"),
    ],
)
def test_boxed_takes_the_last_box(completion: str, answer: str):
    assert extract("boxed", completion) == answer


def test_unknown_rule_names_the_known_ones():
    with pytest.raises(ConfigError, match="evalplus"):
        extract("evalplus2", "x")


def test_languages_go_by_any_of_their_names():
    reply = "```csharp\nint Solve() {\n    return 1;\n}\n```"
    taken = {
        name: extract("deepseek-instruct", reply, prompt="int Solve() {", language=name)
        for name in ("csharp", "cs", "C#")
    }
    assert set(taken.values()) == {"\nint Solve() {\n    return 1;\n"}


LINES = (
    "x = 1",
    "",
    "Here is it, don't",
    "def f(a):",
    "    return a",
    "if x:",
    "else:",
    "for i in x:",
    "try:",
    "a = (1,",
    "2)",
    "f(a b)",
    '"""',
    "b = {",
    "'k': 1,",
    "}",
    "x = \\",
    "# c",
    "@d",
    "1 if 2",
    "  odd",
    "```",
)


def parses(text: str) -> bool:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            ast.parse(text)
        except SyntaxError:
            return False
    return True


def longest_by_trying(text: str) -> str:
    lines, best, most = text.split("\n"), (0, 0), 0
    for i in range(len(lines)):
        for j in range(i + 1, len(lines)):
            count = sum(1 for line in lines[i : j + 1] if line.strip())
            if count > most and parses("\n".join(lines[i : j + 1])):
                best, most = (i, j), count
    return "\n".join(lines[best[0] : best[1] + 1])


def test_longest_run_is_what_trying_all_runs_finds():
    chance = random.Random(11)
    texts = ["\n".join(chance.choices(LINES, k=chance.randrange(1, 12))) for _ in range(120)]
    assert [text for text in texts if longest_run(text) != longest_by_trying(text)] == []


# Ours


def ours(
    completion: str,
    *,
    prompt: str = "",
    entry_point: str | None = "solve",
    language: str = "python",
    base: bool = False,
) -> str:
    return extract(
        "midfill",
        completion,
        prompt=prompt,
        entry_point=entry_point,
        language=language,
        base=base,
    )


FOUND = {
    "example last": (f"```python\n{SOLVE}```\n```python\nsolve([1])\n```", SOLVE),
    "draft first": (f"```python\ndef solve(xs): pass\n```\n```python\n{SOLVE}```", SOLVE),
    "any name": (f"```py3\n{SOLVE}```", SOLVE),
    "left open": (f"So:\n```python\n{SOLVE}", SOLVE + "\n"),
    "windows": (f"```python\r\n{SOLVE}```\r\n".replace("\n", "\r\n"), SOLVE),
    "colours": (f"```python\n{ESC}[32m{SOLVE}{ESC}[0m```", SOLVE),
    "in a list": (
        "1. So:\n   ```python\n   def solve(xs):\n       return 1\n   ```\n",
        "def solve(xs):\n    return 1\n",
    ),
    "closed on a code line": (
        "```python\ndef solve(): return 1```\nDone",
        "def solve(): return 1\n",
    ),
    "needs an earlier fence": (
        f"```python\n{EVEN}```\nThen\n```python\n{SOLVE}```",
        f"{EVEN}\n{SOLVE}",
    ),
    "needs a chain of fences": (
        f"```python\nTWO = 2\n```\n```python\ndef even(x):\n    return x % TWO == 0\n```\n"
        f"```python\n{SOLVE}```",
        f"TWO = 2\n\ndef even(x):\n    return x % TWO == 0\n\n{SOLVE}",
    ),
    "needs no example above": (
        "```python\nt = solve([1])\n```\n```python\ndef solve(xs):\n    t = 1\n    return t\n```",
        "def solve(xs):\n    t = 1\n    return t\n",
    ),
    "generators stay": (f"```python\n{PROGRAMS['generator']}```", PROGRAMS["generator"]),
    "decorated functions stay": (f"```python\n{PROGRAMS['decorated']}```", PROGRAMS["decorated"]),
    "no fence": (SOLVE, SOLVE),
    "prose, no fence": (
        f"Here is the code:\n\n{SOLVE}\nThat's it, isn't it?",
        f"\n{SOLVE}".rstrip("\n"),
    ),
    "opened in a sentence": (f"Use ```python\n{SOLVE}``` and be happy.", SOLVE.rstrip("\n")),
    "backticks in a string": (
        "````python\ndef solve(xs):\n    return '''\n```\n'''\n````",
        "def solve(xs):\n    return '''\n```\n'''\n",
    ),
    "nothing to find": ("I can't.", "I can't."),
    "empty": ("", ""),
}


@pytest.mark.parametrize("name", FOUND)
def test_ours_finds_the_program(name: str):
    completion, program = FOUND[name]
    assert ours(completion) == program


def test_ours_takes_from_the_prompt_what_is_lacking():
    lacking = "```python\nfrom typing import List\ndef solve(xs):\n    return halve(sum(xs))\n```"
    assert ours(lacking, prompt=HELPED).startswith(HELPED)
    assert ours(f"```python\n{EVEN}{SOLVE}```", prompt=HELPED) == EVEN + SOLVE


def test_ours_completes_the_prompt_with_a_body():
    reply = "```python\n    return sum(xs)\n```"
    assert ours(reply, prompt=PLAIN) == f"{PLAIN}    return sum(xs)\n"


@pytest.mark.parametrize(
    ("completion", "kept"),
    [
        ("    t = 0\n# add\n    return t\n", "    t = 0\n# add\n    return t\n"),
        ("    return even(1)\n\n" + EVEN, "    return even(1)\n\n" + EVEN),
        ("    return 1\n```\n\nWhy?", "    return 1"),
        ("    return 1\n\ndef other(x):\n    return (x", "    return 1\n"),
    ],
)
def test_ours_cuts_a_base_model_where_it_stops_to_parse(completion: str, kept: str):
    assert ours(completion, prompt=PLAIN, base=True) == PLAIN + kept


def test_ours_joins_a_completion_that_begins_with_a_newline():
    assert ours("\n    return 1", prompt=PLAIN + "\n", base=True) == f"{PLAIN}    return 1"


def test_ours_without_a_name_prefers_what_is_called_python():
    reply = "```python\nprint(6)\n```\nIt prints\n```\n6\n```"
    assert ours(reply, entry_point=None) == "print(6)\n"


METHOD = "    public static long solve(ArrayList<Long> xs) {\n        return 1;\n    }\n"


def test_ours_in_other_languages_takes_the_last_fence_that_names_the_function():
    reply = f"```java\nimport java.util.*;\nclass Problem {{\n{METHOD}}}\n```\n```java\nfoo();\n```"
    whole = f"import java.util.*;\nclass Problem {{\n{METHOD}}}\n"
    assert ours(reply, prompt=JAVA, language="java") == whole


def test_ours_in_other_languages_puts_the_head_of_the_prompt_above():
    program = ours(f"```Java\n{METHOD}```\n```\n1\n```", prompt=JAVA, language="java")
    assert program == f"import java.util.*;\nclass Problem {{\n{METHOD}"


def test_ours_keeps_definitions_of_the_prompt_whole():
    prompt = "union U {\n    int f0;\n    U(int x) : f0(x) {}\n};\n// Sum.\nlong solve(U x) {\n"
    program = ours(
        "```cpp\nlong solve(U x) {\n    return 1;\n}\n```", prompt=prompt, language="c++"
    )
    assert program == (
        "union U {\n    int f0;\n    U(int x) : f0(x) {}\n};\nlong solve(U x) {\n    return 1;\n}\n"
    )


def test_ours_in_go_has_one_package_and_each_import_once():
    prompt = (
        'package a_test\n\nimport (\n    "testing"\n    "fmt"\n)\n\n// Sum.\nfunc solve() int {\n'
    )
    reply = (
        '```go\npackage main\n\nimport (\n    "fmt"\n    "sort"\n)\n\nfunc solve() int {\n}\n```'
    )
    assert ours(reply, prompt=prompt, language="go_test.go") == (
        'package a_test\nimport (\n    "testing"\n    "fmt"\n)\n'
        '\nimport (\n    "sort"\n)\n\nfunc solve() int {\n}\n'
    )


def test_fences_are_read_as_markdown():
    text = "a\n```python\nx\n``\n```\nb ``` c\n~~~\n```\n~~~\n```c++\nopen"
    assert [(fence.name, fence.text) for fence in fences(text)] == [
        ("python", "x\n``\n"),
        ("", "```\n"),
        ("cpp", "open\n"),
    ]


def test_ours_finds_every_program_that_is_whole():
    """In each reply whose fence holds the asked function the result defines it."""
    failed = []
    for case in CASES:
        program = PROGRAMS.get(case.name.removeprefix("fenced "))
        if program and "def solve" in program and parses(program):
            found = ours(case.completion, prompt=case.prompt)
            if not (parses(found) and "def solve" in found):
                failed.append(case.name)
    assert failed == []


@pytest.mark.parametrize(
    "text",
    ["((((((\n" * 60, "x = {\n'a': 1,\n" * 60, "def f(\n" * 100, "```\n" * 1000, "-" * 9000],
)
@pytest.mark.timeout(20)
def test_degenerate_replies_take_no_time(text: str):
    for rule in RULES:
        assert isinstance(extract(rule, text, prompt=PLAIN, entry_point="f"), str)


def test_ours_leaves_the_models_own_tests_out():
    """A wrong assert behind a right function is no wrong function; what shares its line stays."""
    reply = (
        "```python\nimport sys\n\ndef f(x):\n    assert x\n    return x\n\nassert f(1) == 2\nassert (f(2)\n"
        "  == 3)\nY = 1; assert Y\nif __name__ == '__main__':\n    print(f(3))\n```\n"
    )
    taken = extract("midfill", reply, entry_point="f")
    assert taken.split() == "import sys def f(x): assert x return x Y = 1; assert Y".split()
