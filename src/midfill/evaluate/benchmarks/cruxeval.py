"""CRUXEval (Gu et al. 2024): find an input that gives the output (I), or the output (O).

Prompts and the published rule: facebookresearch/cruxeval. Two rules stand side by side:
`cruxeval` runs whatever expression was answered, as published, but refuses every use of `f` in an
answer to O, not only the question's own spelling; `midfill` takes literals only. Every answer is
scored, an empty one as wrong.
"""

import ast
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from midfill.evaluate import data
from midfill.evaluate.benchmarks.common import parsed, take
from midfill.evaluate.task import Program, Prompt, Score, Style, Task
from midfill.sandbox.verdict import Limits

FIELDS = ("id", "code", "input", "output")
STOP = ("[/ANSWER]",)
Direction = Literal["i", "o"]
_O = (
    "You are given a Python function and an assertion containing an input to the function. Complete"
    " the assertion with a literal (no unsimplified expressions, no function calls) containing the"
    " output when executing the provided code on the given input, even if the function is incorrect"
    " or incomplete. Do NOT output any extra information. "
)
_I = "You will be given a function f and an output in the form f(??) == output. "
PROMPTS = {
    "o": _O
    + """Provide the full assertion with the correct output in [ANSWER] and [/ANSWER] tags, following the examples.

[PYTHON]
def f(n):
    return n
assert f(17) == ??
[/PYTHON]
[ANSWER]
assert f(17) == 17
[/ANSWER]

[PYTHON]
def f(s):
    return s + "a"
assert f("x9j") == ??
[/PYTHON]
[ANSWER]
assert f("x9j") == "x9ja"
[/ANSWER]

[PYTHON]
{code}
assert f({input}) == ??
[/PYTHON]
[ANSWER]
""",
    "o-cot": _O
    + """Execute the program step by step before arriving at an answer, and provide the full assertion with the correct output in [ANSWER] and [/ANSWER] tags, following the examples.

[PYTHON]
def f(s):
    s = s + s
    return "b" + s + "a"
assert f("hi") == ??
[/PYTHON]
[THOUGHT]
Let's execute the code step by step:

1. The function f is defined, which takes a single argument s.
2. The function is called with the argument "hi", so within the function, s is initially "hi".
3. Inside the function, s is concatenated with itself, so s becomes "hihi".
4. The function then returns a new string that starts with "b", followed by the value of s (which is now "hihi"), and ends with "a".
5. The return value of the function is therefore "bhihia".
[/THOUGHT]
[ANSWER]
assert f("hi") == "bhihia"
[/ANSWER]

[PYTHON]
{code}
assert f({input}) == ??
[/PYTHON]
[THOUGHT]
""",
    "i": _I
    + """Find any input such that executing f on the input leads to the given output. There may be multiple answers, but you should only output one. In [ANSWER] and [/ANSWER] tags, complete the assertion with one such input that will produce the output when executing the function.

[PYTHON]
def f(my_list):
    count = 0
    for i in my_list:
        if len(i) % 2 == 0:
            count += 1
    return count
assert f(??) == 3
[/PYTHON]
[ANSWER]
assert f(["mq", "px", "zy"]) == 3
[/ANSWER]

[PYTHON]
def f(s1, s2):
    return s1 + s2
assert f(??) == "banana"
[/PYTHON]
[ANSWER]
assert f("ba", "nana") == "banana"
[/ANSWER]

[PYTHON]
{code}
assert f(??) == {output}
[/PYTHON]
[ANSWER]
""",
    "i-cot": _I
    + """Your task is to find any input such that executing f on the input leads to the given output. There may be multiple answers, but only output one. First, think step by step. You MUST surround the answer with [ANSWER] and [/ANSWER] tags. Express your answer as a passing assertion containing the input and the given output.

[PYTHON]
def f(x):
    return x + 1
assert f(??) == 17
[/PYTHON]
[THOUGHT]
To find an input such that executing f on the input leads to the given output, we can work backwards from the given assertion. We know that f(??) == 17.{space}

Since the function f(x) returns x + 1, for f(??) to be equal to 17, the value of ?? should be 16.{space}
[/THOUGHT]
[ANSWER]
assert f(16) == 17
[/ANSWER]

[PYTHON]
{code}
assert f(??) == {output}
[/PYTHON]
[THOUGHT]
""",
}


def question(row: Mapping[str, str], direction: Direction, *, thought: bool) -> str:
    """The prompt of one row."""
    text = PROMPTS[direction + ("-cot" if thought else "")]
    for name in ("space", "code", "input", "output"):  # what rows hold has braces of its own
        text = text.replace(f"{{{name}}}", f"\0{name}\0")
    for name, value in {"space": " ", **row}.items():
        text = text.replace(f"\0{name}\0", value)
    return text


@dataclass(frozen=True, slots=True)
class CruxEval:
    """800 small functions with one input and its output."""

    data: data.Rows
    direction: Direction
    thought: bool = False
    rules: tuple[str, ...] = ("cruxeval", "midfill")

    @property
    def name(self) -> str:
        """cruxeval-i, cruxeval-o, and the same with -cot."""
        return f"cruxeval-{self.direction}" + ("-cot" if self.thought else "")

    @property
    def version(self) -> str:
        """SHA-256 of the rows."""
        return self.data.version

    def tasks(self, style: Style) -> list[Task]:
        """All questions in the order of the file; a chat model gets them as one user turn."""
        return [
            Task(task_id=row["id"], prompt=self._ask(row, style), row=row) for row in self.data.rows
        ]

    def _ask(self, row: Mapping[str, str], style: Style) -> Prompt:
        text = question(row, self.direction, thought=self.thought)
        length = 1024 if self.thought else 256
        if style == "base":
            return Prompt(text=text, stop=STOP, max_tokens=length)
        turn = {"role": "user", "content": text}
        return Prompt(messages=(turn,), stop=STOP, max_tokens=length)

    def extract(self, task: Task, completion: str, rule: str) -> str:
        """The answered expression; for `midfill` only where it is a literal, or `f` of literals."""
        whole = completion.split(STOP[0])[0]
        if "[ANSWER]" not in whole and not self.thought:
            whole = "[ANSWER]" + whole  # the prompt of a base model ends with the tag
        answer = take("cruxeval", task, whole, prompt=self.direction, entry_point="f").strip()
        if rule == "midfill" and not _is_strict(answer, self.direction):
            return ""
        return answer

    def program(self, task: Task, extracted: str) -> Program | Score:
        """The answer, run in the sandbox, against the output, which stays outside."""
        row = task.row
        if why := _refused(extracted, self.direction):
            return Score(value=0.0, detail=why)
        answer = f"def answer():\n    return (\n{extracted}\n    )\n"
        code = f"{row['code']}\n\n{answer}" if self.direction == "i" else answer
        return Program(
            code=code,
            tests=f"assert {row['output']} == answer()\n",
            entry_point="answer",
            limits=Limits(cpu_s=3, wall_s=10),
        )

    def canonical(self, task: Task) -> str:
        """The row's own input or output."""
        row = task.row
        return row["output"] if self.direction == "o" else f"f({row['input']})"

    def baselines(self, task: Task) -> Mapping[str, str]:
        """O: the input again. I: the input of the prompt's last example."""
        if self.direction == "o":
            return {"repeat the input": task.row["input"]}
        return {"the example's input": "f(16)" if self.thought else 'f("ba", "nana")'}


def _refused(answer: str, direction: Direction) -> str:
    """Why an answer is wrong without being run, or nothing."""
    tree = parsed(answer.strip(), "eval")
    if tree is None:
        return "the answer is no Python expression" if answer.strip() else "there is no answer"
    calls = any(isinstance(node, ast.Name) and node.id == "f" for node in ast.walk(tree))
    if direction == "o" and calls:
        return "the answer calls f instead of giving its output"
    if direction == "i" and not calls:
        return "the answer does not call f"
    return ""


def _is_strict(answer: str, direction: Direction) -> bool:
    tree = parsed(answer.strip(), "eval")
    if not isinstance(tree, ast.Expression):
        return False
    if direction == "o":
        return _is_literal(tree.body)
    call = tree.body
    if not (isinstance(call, ast.Call) and isinstance(call.func, ast.Name) and call.func.id == "f"):
        return False
    return all(map(_is_literal, [*call.args, *(keyword.value for keyword in call.keywords)]))


def _is_literal(node: ast.expr) -> bool:
    try:
        ast.literal_eval(node)
    except (ValueError, TypeError, RecursionError, MemoryError):
        return False
    return True


def load(name: str, own: Path | None = None) -> CruxEval:
    """The half of CRUXEval called `name`, from the folder of benchmarks or the user's file."""
    parts = name.split("-")
    direction: Direction = "i" if parts[1] == "i" else "o"
    rows = data.load("cruxeval", fields=FIELDS, own=own)
    return CruxEval(rows, direction, thought=parts[-1] == "cot")
