"""OpenAI's infilling sets: holes in HumanEval's solutions, judged by its tests.

A single line is also compared with the original one, as DeepSeek-Coder-V2's Table 6 does with
SantaCoder's set; `measures` holds that. Source: Bavarian et al. 2022.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

from midfill.evaluate import data
from midfill.evaluate.benchmarks.common import take
from midfill.evaluate.benchmarks.humaneval import tests
from midfill.evaluate.task import Program, Prompt, Style, Task
from midfill.sandbox.verdict import Limits

FIELDS = ("task_id", "entry_point", "prompt", "suffix", "canonical_solution", "test")
MAX_TOKENS = {"single-line": 128, "multi-line": 512, "random-span": 256}  # ours
OVERRUN = 20  # characters of the suffix which a fill that ran past its hole repeats


@dataclass(frozen=True)
class Infilling:
    """Holes of one kind: a single line, several lines, or a random span of characters."""

    data: data.Rows
    name: str
    rules: tuple[str, ...] = field(default=("human-eval",))

    @property
    def version(self) -> str:
        """SHA-256 of the rows."""
        return self.data.version

    @property
    def kind(self) -> str:
        """single-line, multi-line or random-span."""
        return self.name.removeprefix("infilling-")

    def tasks(self, style: Style) -> list[Task]:
        """All holes in the order of the file; every kind of model is asked alike."""
        return [
            Task(
                task_id=row["task_id"],
                prompt=Prompt(
                    prefix=row["prompt"], suffix=row["suffix"], max_tokens=MAX_TOKENS[self.kind]
                ),
                row=row,
            )
            for row in self.data.rows
        ]

    def extract(self, task: Task, completion: str, rule: str) -> str:
        """The fill: all of the completion, or its first line with the indentation it has."""
        if rule == "human-eval":
            return completion
        line = take(rule, task, completion, prompt="", entry_point=None).strip()
        written = next((raw for raw in completion.split("\n") if raw.strip() == line), line)
        return written.rstrip() + "\n"

    def program(self, task: Task, extracted: str) -> Program:
        """The function with the hole filled, against HumanEval's tests."""
        row = task.row
        # Helpers of the tests stand above the function, and the hole may be anywhere below.
        whole = row["prompt"] + row["canonical_solution"] + row["suffix"]
        return Program(
            code=row["prompt"] + extracted + row["suffix"],
            tests=tests({**row, "prompt": whole}),
            entry_point=row["entry_point"],
            limits=Limits(cpu_s=3, wall_s=15),
            trusted_tests=True,
        )

    def measures(self, task: Task, completion: str, extracted: str) -> Mapping[str, float]:
        """Exact match after stripping, and whether the fill ran on into the suffix."""
        suffix = task.row["suffix"].strip()[:OVERRUN]
        return {
            "exact_match": float(extracted.strip() == task.row["canonical_solution"].strip()),
            "ran past the hole": float(bool(suffix) and suffix in completion),
        }

    def arms(self, task: Task) -> Mapping[str, Prompt]:
        """The same hole for a model that does not see what follows it."""
        prompt = replace(task.prompt, prefix=None, suffix=None, text=task.row["prompt"])
        return {"left to right": prompt}

    def canonical(self, task: Task) -> str:
        """What stood in the hole."""
        return task.row["canonical_solution"]

    def baselines(self, task: Task) -> Mapping[str, str]:
        """Fills that need no model: nothing, `pass`, a neighbouring line, a table of lines."""
        row = task.row
        if self.kind == "random-span":
            return {"nothing": "", "pass": "pass"}
        previous = _last_line(row["prompt"])
        following = next((line for line in row["suffix"].split("\n") if line.strip()), "")
        indent = _indent_after(previous)
        return {
            "nothing": "",
            "pass": f"{indent}pass\n",
            "previous line": previous + "\n",
            "next line": following + "\n",
            "line table": self._after(_problem(task.task_id), previous, following) + "\n",
        }

    def _after(self, problem: str, previous: str, following: str) -> str:
        """The line that most often stands after `previous` in the other problems."""
        for key in ((previous.strip(), following.strip()), (previous.strip(), None)):
            counts = self._table.get(key, Counter()).copy()
            counts.subtract(self._table_by_problem[problem].get(key, Counter()))
            if (best := counts.most_common(1)) and best[0][1] > 0:
                return _indent_after(previous) + best[0][0]
        return ""

    @cached_property
    def _table_by_problem(self) -> dict[str, dict[tuple[str, str | None], Counter[str]]]:
        tables: dict[str, dict[tuple[str, str | None], Counter[str]]] = {}
        for row in self.data.rows:
            problem = _problem(row["task_id"])
            if problem in tables:
                continue
            table = tables[problem] = {}
            whole = row["prompt"] + row["canonical_solution"] + row["suffix"]
            lines = [line.strip() for line in whole.split("\n") if line.strip()]
            for previous, line, following in zip(
                lines[:-1], lines[1:], [*lines[2:], ""], strict=True
            ):
                for key in ((previous, following), (previous, None)):
                    table.setdefault(key, Counter())[line] += 1
        return tables

    @cached_property
    def _table(self) -> dict[tuple[str, str | None], Counter[str]]:
        whole: dict[tuple[str, str | None], Counter[str]] = {}
        for table in self._table_by_problem.values():
            for key, counts in table.items():
                whole.setdefault(key, Counter()).update(counts)
        return whole


def _problem(task_id: str) -> str:
    """HumanEval/7 of SingleLineInfilling/HumanEval/7/L3."""
    return "/".join(task_id.split("/")[1:3])


def _last_line(text: str) -> str:
    return next((line for line in reversed(text.split("\n")) if line.strip()), "")


def _indent_after(line: str) -> str:
    """The indentation that most lines have behind this one."""
    return _indent(line) + "    " * line.rstrip().endswith(":")


def _indent(line: str) -> str:
    return line[: len(line) - len(line.lstrip())]


def load(name: str, own: Path | None = None) -> Infilling:
    """The set called `name`, from the folder of benchmarks or the user's own file."""
    rules = ("fim-line", "fim-line-raw", "human-eval") if "single" in name else ("human-eval",)
    return Infilling(data.load(name, fields=FIELDS, own=own), name=name, rules=rules)
