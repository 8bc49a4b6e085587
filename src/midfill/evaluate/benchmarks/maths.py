r"""GSM8K and MATH, asked without examples for an answer in `\boxed{}`.

Source: DeepSeek-Coder-V2, section 4.5 and footnote 11. Nothing is run: an answer is compared.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from midfill.evaluate import data, mathematics
from midfill.evaluate.algebra import ComparisonFaultError
from midfill.evaluate.benchmarks.common import chat, take
from midfill.evaluate.task import Prompt, Score, Style, Task

SUFFIX = "\nPlease reason step by step, and put your final answer within \\boxed{}."
FIELDS = {"gsm8k": ("question", "answer"), "math": ("problem", "solution", "level", "type")}
QUESTION = {"gsm8k": "question", "math": "problem"}
MAX_TOKENS = {"gsm8k": 1024, "math": 2048}  # ours


@dataclass(frozen=True, slots=True)
class Maths:
    """Problems with one answer."""

    data: data.Rows
    name: Literal["gsm8k", "math"]
    rules: tuple[str, ...] = ("boxed", "midfill")

    @property
    def version(self) -> str:
        """SHA-256 of the rows."""
        return self.data.version

    def tasks(self, style: Style) -> list[Task]:
        """All problems in the order of the file; a base model continues the same text."""
        length = MAX_TOKENS[self.name]
        tasks = []
        for number, row in enumerate(self.data.rows):
            text = row[QUESTION[self.name]] + SUFFIX
            asked = Prompt(text=text + "\n", max_tokens=length)
            prompt = asked if style == "base" else chat(text, max_tokens=length)
            tasks.append(Task(task_id=f"{self.name}/{number}", prompt=prompt, row=row))
        return tasks

    def extract(self, task: Task, completion: str, rule: str) -> str:
        r"""The last `\boxed{}`; for `midfill` the last that is whole, or else the last number."""
        if rule != "midfill":
            return take(rule, task, completion, prompt="", entry_point=None)
        boxed = mathematics.last_boxed(completion)
        return mathematics.last_number(completion) or "" if boxed is None else boxed

    def program(self, task: Task, extracted: str) -> Score:
        """Whether the answer means what the reference means; not known where that cannot be told."""
        reference = self.canonical(task)
        if not extracted.strip():
            return Score(value=0.0, detail="there is no answer")
        if self.name == "gsm8k":  # numbers: the normaliser knows them all
            right = mathematics.same(extracted, reference) is True
        else:
            try:
                right = mathematics.equivalent(extracted, reference)
            except ComparisonFaultError as fault:
                return Score(value=None, detail=f"{fault} ({extracted[:100]!r})")
        return Score(value=float(right), detail="" if right else f"{extracted} is not {reference}")

    def canonical(self, task: Task) -> str:
        """The answer of the data set."""
        if self.name == "gsm8k":
            return task.row["answer"].rpartition("####")[2].strip()
        return mathematics.last_boxed(task.row["solution"]) or ""

    def baselines(self, task: Task) -> Mapping[str, str]:
        """The last number of the question."""
        question = task.row[QUESTION[self.name]]
        return {"last number of the question": mathematics.last_number(question) or "0"}


def load(name: Literal["gsm8k", "math"], own: Path | None = None) -> Maths:
    """The set called `name`, from the folder of benchmarks or the user's own file."""
    return Maths(data.load(name, fields=FIELDS[name], own=own), name)
