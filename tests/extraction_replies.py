r"""Replies that extraction rules read differently: cases made by hand, and mixtures of their parts.

Both the test and `bench/extraction_originals.py` make them from here, always the same ones.
"""

import random
from dataclasses import asdict, dataclass, replace
from typing import Any

MIXTURES = 260
STOP_CPP = ("\n}",)
ESC = "\x1b"

HELPED = '''from typing import List
import math


def halve(x):
    """Half of x."""
    return x / 2


def solve(xs: List[int]) -> int:
    """ Sum of the even numbers.
    >>> solve([1, 2, 4])
    6
    """
'''
PLAIN = 'def solve(xs):\n    """Sum of the even numbers."""\n'
CPP = """#include<vector>
#include<assert.h>
// Sum of the even numbers.
// >>> solve((std::vector<long>({(long)1, (long)2})))
// (2)
long solve(std::vector<long> xs) {
"""
JAVA = """import java.util.*;
class Problem {
    // Sum of the even numbers.
    public static long solve(ArrayList<Long> xs) {
"""
CSHARP = """using System;
class Problem {
    // Sum of the even numbers.
    public static long Solve(List<long> xs) {
"""
TS = "//Sum of the even numbers.\n// >>> solve([1, 2])\n// 2\nfunction solve(xs: number[]): number {\n"
JS = "//Sum of the even numbers.\nfunction solve(xs){\n"
PHP = "<?php\n// Sum of the even numbers.\nfunction solve($xs) {\n"
BASH = "#!/bin/bash\n# Sum of the even numbers.\n#\n# $1 is a space-separated list\nsolve() {\n"
LEETCODE = '''Sum the even numbers. Please complete the code below:
```python
class Solution:
    def solve(self, xs: List[int]) -> int:
        """ Sum of the even numbers. """
```
'''
ASKS_INPUT = (
    "You will be given a function f and an output in the form f(??) == output.\n[THOUGHT]\n"
)
ASKS_OUTPUT = "Complete the assertion.\nassert f('a') == ??\n[THOUGHT]\n"


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """A completion, with the arguments that `extract` takes beside it."""

    name: str
    completion: str
    prompt: str = HELPED
    entry_point: str | None = "solve"
    language: str = "python"
    stop: tuple[str, ...] = ()
    base: bool = False

    def known(self) -> dict[str, Any]:
        """All that `extract` is told beside rule and completion."""
        return {k: v for k, v in asdict(self).items() if k not in ("name", "completion")}


PROGRAMS = {
    "plain": "def solve(xs):\n    return sum(x for x in xs if x % 2 == 0)\n",
    "typed": (
        "from typing import List\n\n\ndef solve(xs: List[int]) -> int:\n"
        '    """Sum of the even numbers."""\n    return sum(x for x in xs if x % 2 == 0)\n'
    ),
    "helper above": (
        "import math\n\ndef is_even(x):\n    return x % 2 == 0\n\n"
        "def solve(xs):\n    return sum(filter(is_even, xs))\n"
    ),
    "helper below": (
        "def solve(xs):\n    return sum(filter(is_even, xs))\n\n"
        "def is_even(x):\n    return x % 2 == 0\n"
    ),
    "same letters": (
        "def solve_one(x):\n    return x % 2 == 0\n\ndef solve(xs):\n"
        "    return sum(x for x in xs if solve_one(x))\n"
    ),
    "generator": (
        "def evens(xs):\n    for x in xs:\n        if x % 2 == 0:\n            yield x\n\n"
        "def solve(xs):\n    return sum(evens(xs))\n"
    ),
    "procedure": (
        "TOTAL = [0]\n\ndef add(x):\n    TOTAL[0] += x\n\ndef solve(xs):\n"
        "    for x in xs:\n        add(x)\n    return TOTAL[0]\n"
    ),
    "itself a generator": "def solve(xs):\n    for x in xs:\n        yield x\n",
    "constants": (
        "EVEN, ODD = 0, 1\nLIMIT: int = 10\nunused = 5\na = b = LIMIT\n"
        "def solve(xs):\n    return sum(x for x in xs if x % 2 == EVEN and x < LIMIT)\n"
    ),
    "odd assignments": (
        "import sys\nsys.limit = depth\ndepth = 3\n(low) = 1\nfirst, second = depth\n"
        "table[0] = low\nhigh: int\nlow += 1\nsys.path: list = depth\n"
        "def solve(xs):\n    return depth + low + high\n"
    ),
    "twice": (
        "def solve(xs):\n    return 0\n\n\ndef solve(xs):\n"
        "    return sum(x for x in xs if not x % 2)\n"
    ),
    "decorated": (
        "from functools import lru_cache\n\n@lru_cache(maxsize=None)\ndef even(x):\n"
        "    return x % 2 == 0\n\ndef solve(xs):\n    return sum(x for x in xs if even(x))\n"
    ),
    "class": (
        "class Adder:\n    def __init__(self):\n        self.total = 0\n\n"
        "    def add(self, x):\n        self.total += x\n\n    # no more methods\n\n"
        "def solve(xs):\n    adder = Adder()\n    for x in xs:\n        adder.add(x)\n"
        "    return adder.total  # all of them\n    # done\n"
    ),
    "leetcode": (
        "class Solution:\n    def solve(self, xs: List[int]) -> int:\n"
        "        return sum(x for x in xs if x % 2 == 0)\n"
    ),
    "async": "async def solve(xs):\n    return sum(xs)\n",
    "column-0 brace": (
        "def solve(xs):\n    table = {\n        1: 2,\n}\n    return table.get(xs[0], 0)\n"
    ),
    "column-0 comment": "def solve(xs):\n    total = 0\n# now add\n    total += sum(xs)\n    return total\n",
    "guarded import": (
        "try:\n    import numpy as np\nexcept ImportError:\n    np = None\n\n"
        "def solve(xs):\n    return sum(xs)\n"
    ),
    "future": "from __future__ import annotations\nimport os, sys\n\ndef solve(xs: list[int]) -> int:\n    return 1\n",
    "one line": "def solve(xs): return sum(xs);  # short\n",
    "main": (
        "def solve(xs):\n    return sum(xs)\n\nif __name__ == '__main__':\n    print(solve([1, 2]))\n"
    ),
    "method names": "def solve(xs):\n    return helper.total(xs, key=even)\n\ndef even(x):\n    return x\n\ndef total():\n    return 1\n\ndef key():\n    return 1\n",
    "f-string": (
        "def show(x):\n    return f'{width(x)!r:>{pad}}'\npad = 3\ndef width(x):\n    return x\n"
        "def solve(xs):\n    return show(xs)\n"
    ),
    "unicode": "# größer als ½\ndef solve(xs):\n    s = 'naïve — 你好'  # ✓\n    return len(s)\nπ = 3\n",
    "tabs": "def solve(xs):\n\tif xs:\n\t\treturn 1\n\t# none\n  # half\n\treturn 0\n",
    "comments below": (
        "def solve(xs):\n    if xs:\n        return 1\n        # deep\n    # flat\n\n    # after a gap\n"
        "  # too little\n    # back\nx = 1 # one\nimport os # two\n"
    ),
    "string with fence": 'def solve(xs):\n    s = """\n```\nnot code\n```\n"""\n    return s\n',
    "match": (
        "def solve(xs):\n    match xs:\n        case []:\n            return 0\n"
        "        case [x, *rest]:\n            return x\n"
    ),
    "with": "def solve(xs):\n    with open('x') as f:\n        pass\n    global y\n    return f\n",
    "nested": (
        "def solve(xs):\n    def inner(x):\n        return x\n    inner(1)\n\nlast = lambda x: x\n"
        "semi = 1; colon = 2;\n"
    ),
    "escape": "import re\ndef solve(xs):\n    return re.sub('\\d', '', xs)\n",
    "backslash": "def solve(xs):\n    return 1 + \\\n        2\n\n",
    "python 2": "def solve(xs):\n    print 'no'\n    return 1\n",
    "cut off": "def solve(xs):\n    total = 0\n    for x in xs:\n        total += (x if x % 2 ==",
    "unclosed quotes": 'def solve(xs):\n    """Never closed\n    return 1\n',
    "body only": "    total = 0\n    for x in xs:\n        total += x\n    return total\n",
    "expression": "solve([1, 2]) == 2\n",
    "nothing": "",
}
FOREIGN = {
    "cpp": (
        CPP,
        "long solve(std::vector<long> xs) {\n    long t = 0;\n    for (auto x : xs) {\n"
        "        if (x % 2 == 0) { t += x; }\n    }\n    return t;\n}\n",
        "#include <vector>\nusing namespace std;\n\nbool even(long x) {\n    return x % 2 == 0;\n}\n\n"
        "LONG SOLVE(vector<long> xs) {\n    return 1;\n}\n\nint main() {\n    return 0;\n}\n",
    ),
    "java": (
        JAVA,
        "    public static long solve(ArrayList<Long> xs) {\n        long t = 0;\n"
        "        for (long x : xs) {\n            t += x;\n        }\n        return t;\n    }\n",
        "import java.util.*;\nclass Problem {\n    public static long solve(ArrayList<Long> xs) {\n"
        "        return 1;\n    }\n    public static void main(String[] args) {\n    }\n}\n",
    ),
    "csharp": (
        CSHARP,
        "public static long Solve(List<long> xs) {\n    return 1;\n}\n",
        "using System;\nclass Problem {\n    public static long Solve(List<long> xs) {\n"
        "        return 1;\n    }\n    public static void Main(string[] args) {\n    }\n}\n",
    ),
    "typescript": (
        TS,
        "function solve(xs: number[]): number {\n  return xs.filter(x => x % 2 === 0).length;\n}\n",
        "import fs from 'fs';\nfunction even(x: number): boolean {\n  return x % 2 === 0;\n}\n"
        "function solve(xs: number[]): number {\n  return 1;\n}\nexport default solve;\n",
    ),
    "javascript": (
        JS,
        "function solve(xs){\n  return 1;\n}\n",
        "const solve = (xs) => {\n  return 1;\n};\nconsole.log(solve([1]));\n",
    ),
    "php": (
        PHP,
        "<?php\nfunction solve($xs) {\n    return 1;\n}\n",
        "function even($x) {\n    return $x % 2 == 0;\n}\nfunction solve($xs) {\n    return 1;\n}\n?>",
    ),
    "bash": (
        BASH,
        "solve() {\n  echo 1\n}\n",
        '#!/bin/bash\nhelp() {\n  echo 2\n}\nsolve() {\n  echo "$(help)"\n}\nsolve "$@"\n',
    ),
}
FOREIGN_FENCES = {
    "cpp": ("cpp", "c++", "CPP", "", "c"),
    "java": ("java", "Java", ""),
    "csharp": ("csharp", "cs", "c#"),
    "typescript": ("typescript", "ts", "TypeScript"),
    "javascript": ("javascript", "js"),
    "php": ("php", "PHP", ""),
    "bash": ("bash", "sh", "shell"),
}
PROSE = (
    "Sure, here's the code:\n\n",
    "Here is the completed function\n",
    "To solve this (as asked), we don't need loops.\n\n1. Filter.\n2. Add.\n\n",
    "x\n",
    "This works because “even” means `x % 2 == 0`.\n",
    "\n\n",
    "Let me think: (first\n",
    "",
)
AFTER = (
    "",
    "\nThis function sums.\n",
    "\nExample:\n```python\nprint(solve([1, 2, 4]))  # 6\n```\n",
    "\nOutput:\n```\n6\n```\n",
    "\n```text\nexplanation\n```\nThat's all.",
    "\nYou can call it:\n\n    solve([1])\n",
    "\n# Test cases\nassert solve([2]) == 2\nprint(solve([4]))\n",
    "\nA shorter one:\n```python\ndef solve(xs):\n    return 2 * sum(x // 2 for x in xs)\n```",
    "\n```bash\npip install numpy\n```\n",
)
OPEN = (
    "```python\n",
    "```Python\n",
    "```py\n",
    "```\n",
    "``` python\n",
    "```python3\n",
    "[PYTHON]\n",
    "~~~\n",
    "",
)
CLOSE = ("```", "```\n", "", "``` ", "\n```\n", "[/PYTHON]", "```python")


def _answers() -> list[Case]:
    """Programs in replies of chat models, each in the simplest dress and in one more."""
    cases = []
    for number, (name, program) in enumerate(PROGRAMS.items()):
        after = AFTER[number % len(AFTER)]
        text = f"{PROSE[number % len(PROSE)]}```python\n{program}```{after}"
        cases += [
            Case(name=f"fenced {name}", completion=text),
            Case(name=f"bare {name}", completion=program, prompt=PLAIN),
            Case(name=f"no name {name}", completion=program + after, entry_point=None),
        ]
    return cases


def _foreign() -> list[Case]:
    cases = []
    for language, (prompt, *programs) in FOREIGN.items():
        for number, program in enumerate(programs):
            for fence in FOREIGN_FENCES[language]:
                text = f"Sure:\n```{fence}\n{program}```\nIt adds.\n```\n2\n```"
                cases.append(
                    Case(
                        name=f"{language} {number} as {fence or 'unnamed'}",
                        completion=text,
                        prompt=prompt,
                        language=language,
                    )
                )
        body = programs[0].split("\n", 1)[1]
        cases += [
            Case(
                name=f"{language} base",
                completion=body + programs[1],
                prompt=prompt,
                language=language,
                stop=STOP_CPP,
                base=True,
            ),
            Case(name=f"{language} bare", completion=programs[0], prompt=prompt, language=language),
            Case(
                name=f"{language} ends with a blank",
                completion=f"```{language}\n{programs[0]} ```",
                prompt=prompt,
                language=language,
            ),
            Case(
                name=f"{language} prompt ends with a brace alone",
                completion=f"```{language}\n{programs[0]}```",
                prompt=prompt.rstrip().rstrip("{") + "\n{\n",
                language=language,
            ),
            Case(
                name=f"{language} empty fence, no prompt",
                completion=f"```{language}\n```",
                prompt="",
                language=language,
            ),
        ]
    return cases


def _base() -> list[Case]:
    bodies = {
        "body": "    return sum(x for x in xs if x % 2 == 0)\n",
        "and more": "\n    return sum(xs)\n\n\ndef other(x):\n    return x\n",
        "comment": "    total = 0\n# add\n    return total\n",
        "print": "    return 1\n\nprint(solve([1]))\n",
        "signature again": "def solve(xs):\n    return 1\n",
        "fence": "    return 1\n```\n\nExplanation.",
        "if": "    return 1\nif __name__ == '__main__':\n    pass\n",
        "cut off": "    total = 0\n    for x in xs:\n        total += (x",
        "class": "    return 1\n\nclass A:\n    pass",
        "windows": "\r\n    return 1\r\n\r\ndef other():\r\n    pass\r\n",
    }
    cases = []
    for name, body in bodies.items():
        for prompt in (HELPED, PLAIN, PLAIN.strip()):
            text = f"base {name} {len(prompt)}"
            cases.append(Case(name=text, completion=body, prompt=prompt, base=True))
    return cases


def _others() -> list[Case]:
    """Lines, assertions, boxes, LeetCode, and shapes that fit nowhere else."""
    lines = {
        "line": "x = 1\ny = 2\n",
        "leading newlines": "\n\n    x = 1\n",
        "leading blanks": "  \n\t\n  return x  \n",
        "comment first": "# set\n\nx = 1",
        "docstring of one line": '"""Sum."""\nx = 1\ny = """z"""\nw = 2\n',
        "docstring": '    """\n    Sum.\n    """\n    return 1\n',
        "single quotes": "'''a\nb'''\nc\n",
        "mixed quotes": "\"\"\"a\nb'''\nc\n",
        "only comments": "# a\n# b\n",
        "raw docstring": 'r"""x"""\ny\n',
        "windows": "\r\nx = 1\r\ny = 2\r\n",
        "separators": "\u2028x = 1\x0by\x0cz\n\x85w",
        "nothing": "",
        "blank": "\n \n",
    }
    java = {
        "javadoc": "/** Sum.\n * more\n */\nreturn 1;\n",
        "one-line comment": "/* a */\nint x = 1;\n/* b */\nint y;\n",
        "line comments": "// a\n\n// b\n  return x; // c\n",
        "comment behind code": "int x; /* a\n*/ int y;\n",
        "comment never closed": "/* a\nint x;",
    }
    answers = {
        "tagged": "Think.\n[ANSWER]\nassert f(3) == 4\n[/ANSWER]",
        "twice": "[ANSWER]f(1) == 2[/ANSWER] wait [ANSWER]f(2) == 3[/ANSWER]",
        "string with ==": '[ANSWER]assert f("a == b") == "c == d"',
        "result first": "[ANSWER]\n4 == f(3)\n",
        "no tag": "The answer is f(3).",
        "no tag, assertion": "So assert f('x') == 'y' holds",
        "no equals": "[ANSWER] 'abc' ",
        "several asserts": "[ANSWER]assert f(1), assert f(2)\nassert f(3) == 1",
        "assertion elsewhere": "assert g(1) == 2 [ANSWER] f(5) ",
        "unicode": "[ANSWER]\u00a0f('é') ==\u3000'É'\u2003",
        "three": "a == b == c",
    }
    boxes = {
        "box": "So \\boxed{42}.",
        "nested": "$\\boxed{\\frac{1}{\\sqrt{2}}}$ and {x}",
        "without braces": "It is \\boxed 5 now",
        "without braces, braces later": "It is \\boxed 5$ of {7}",
        "several": "\\boxed{1} or rather \\boxed{2}.",
        "cut off": "\\boxed{1}, no: \\boxed{\\frac{2}{3}",
        "fbox": "\\fbox{3}",
        "box and fbox": "\\fbox{3} \\boxed{4} \\fbox{5}",
        "empty box": "\\boxed{}",
        "blank before the brace": "\\boxed {6}",
        "escaped braces": "\\boxed{\\{1, 2\\}}",
        "inside another": "\\boxed{a \\boxed{b} c}",
        "no box": "The answer is 5.",
        "set": "\\boxed{\\left\\{x\\mid x>0\\right\\}}",
        "longer command": "\\boxedx{7}",
    }
    code = PROGRAMS["leetcode"]
    leetcode = {
        "fence": f"```python\n{code}```",
        "closed on code": f"```python\n{code.rstrip()}```",
        "tags": f"[PYTHON]\n{code}[/PYTHON]",
        "body": "\n        return sum(xs)\n",
        "bare": code + "\nprint(Solution().solve([1]))\n",
        "two fences": f"```python\n{code}```\nor\n```python\nclass Solution:\n    pass\n```",
        "prose before": "class of problems\nif you ask\n# heading\n",
        "unclosed": f"```python\n{code}",
    }
    shapes = {
        "two fences, both needed": (
            "```python\nimport math\ndef even(x):\n    return x % 2 == 0\n```\nThen\n"
            "```python\ndef solve(xs):\n    return sum(filter(even, xs))\n```\n"
        ),
        "draft and final": (
            "```python\ndef solve(xs):\n    return 0\n```\nWrong. Better:\n"
            "```python\ndef solve(xs):\n    return sum(xs)\n```\n"
        ),
        "prose joined": "def solve(xs):\n    return 1\nThis returns one\nx = 2\n",
        "colours": f"{ESC}[32mdef solve(xs):{ESC}[0m\n    return 1{ESC}[K\n{ESC}(B",
        "windows": "```python\r\ndef solve(xs):\r\n    return 1\r\n    # end\r\n```\r\n",
        "fence closed on code": "```python\ndef solve(xs):\n    return 1```\nDone.",
        "fence opened in a sentence": "Use ```python\ndef solve(xs):\n    return 1\n``` instead.",
        "two fences in one line": "```python\nx = 1\n``` ```python\ny = 2\n```",
        "four backticks": "````python\ndef solve(xs):\n    return '''```'''\n````\n",
        "fence in a list": "1. So:\n   ```python\n   def solve(xs):\n       return 1\n   ```\n",
        "thought": "<think>\n```python\ndef solve(xs): return 0\n```\n</think>\n```python\ndef solve(xs):\n    return 1\n```",
        "halves": "```python\ndef solve(xs):\n    t = 0\n```\nand then\n```python\n    return t\n```",
        "comments only": "# nothing\n\n# here\n",
        "one line": "def solve(xs): return 1",
        "prose only": "I cannot do this.\nSorry",
        "run is a tie": "a = 1\nb = 2\nno no\nc = 3\nd = 4\n",
        "blank lines around": "\n\n\na = 1\n\n\n\nno no\n",
        "usage above": "```python\nresult = solve([1])\n```\n```python\ndef solve(xs):\n    result = 1\n    return result\n```",
        "brackets never closed": "a = (1,\nb = 2\ndef solve(xs):\n    return [1,\n 2]\n",
        "quotes never closed": 'x = """\ndef solve(xs):\n    return 1\n"\ny = 1\nz = 2\n',
        "apostrophes": "don't\nI'll\nx = 'it'\ny = 2\n",
        "dedent": "if x:\n        a\n    b\nc = 1\n",
        "surrogate-free emoji": "😀\ndef solve(xs):\n    return '😀'  # 😀\n",
        "turkish": "```python\nİ = 1\ndef solve(xs):\n    return 1\n```",
    }
    return [
        *(Case(name=f"line {k}", completion=v, prompt="") for k, v in lines.items()),
        *(
            Case(name=f"java line {k}", completion=v, prompt="", language="java")
            for k, v in java.items()
        ),
        *(Case(name=f"I {k}", completion=v, prompt=ASKS_INPUT) for k, v in answers.items()),
        *(Case(name=f"O {k}", completion=v, prompt=ASKS_OUTPUT) for k, v in answers.items()),
        *(Case(name=f"maths {k}", completion=v, prompt="") for k, v in boxes.items()),
        *(
            Case(name=f"leetcode {k}", completion=v, prompt=LEETCODE, entry_point="Solution")
            for k, v in leetcode.items()
        ),
        *(Case(name=f"shape {k}", completion=v) for k, v in shapes.items()),
    ]


def _mixtures() -> list[Case]:
    """Replies put together at random from all of these parts."""
    chance = random.Random(20240617)
    programs = list(PROGRAMS.values())

    def block() -> str:
        return chance.choice(OPEN) + chance.choice(programs) + chance.choice(CLOSE)

    cases = []
    for number in range(MIXTURES):
        text = "".join(
            chance.choice(PROSE) + block() + chance.choice(AFTER)
            for _ in range(chance.choice((1, 1, 1, 2, 2, 3)))
        )
        case = Case(
            name=f"mixture {number}",
            completion=_disturbed(text, chance),
            prompt=chance.choice((HELPED, PLAIN, "")),
            entry_point=chance.choice(("solve", "solve", "solve", "is_even", "absent", None)),
            base=chance.random() < 0.2,
        )
        cases.append(case)
    return cases


def _disturbed(text: str, chance: random.Random) -> str:
    kind = chance.choice(("no", "no", "no", "no", "windows", "cut off", "a line less", "colours"))
    if kind == "windows":
        return text.replace("\n", "\r\n")
    if kind == "cut off":
        return text[: chance.randrange(len(text) + 1)]
    lines = text.split("\n")
    if kind == "a line less":
        del lines[chance.randrange(len(lines))]
    elif kind == "colours":
        lines[chance.randrange(len(lines))] += f"{ESC}[0m"
    return "\n".join(lines)


def cases() -> list[Case]:
    """All replies, each name once."""
    made = [*_answers(), *_foreign(), *_base(), *_others(), *_mixtures()]
    windows = [
        replace(
            case, name=f"{case.name}, windows", completion=case.completion.replace("\n", "\r\n")
        )
        for case in made[: len(PROGRAMS) * 3 : 4]
    ]
    return [*made, *windows]
