"""Repository completion: RepoBench's shape, on Python packages published after a given day.

`scripts/build_repocompletion.py` makes the file: whole packages, and lines of three settings. Each
line is asked for in three arms, which have the same budget of tokens: the file alone; as RepoBench
has it, with the definitions of what the file imports; and in midfill's order, the files it depends
on, whole, each behind those that it needs itself. Scored as RepoBench: exact match after splitting
at white space, and edit similarity, of the first line that is no comment.
"""

import itertools
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal, get_args

from midfill.errors import ConfigError
from midfill.evaluate.benchmarks.repobench import (
    CountTokens,
    ask,
    build_prompt,
    fewest_dropped,
    first_line,
    score_line,
)
from midfill.evaluate.benchmarks.userfile import need, read_rows, require, version_of
from midfill.evaluate.task import Score, Style, Task

Arm = Literal["file", "repobench", "dependencies"]
ARMS: tuple[Arm, ...] = get_args(Arm)

# Tokens of the whole prompt: the upper ends of RepoBench's levels of the same names.
BUDGETS = {"2k": 1600, "4k": 3600, "8k": 7200, "12k": 10_800, "16k": 14_400}
_OWN_SHARE = 0.5  # of the budget that the file itself may take where others follow
_LONG_TOKEN = 12  # characters: no code model makes so few tokens of a text
_FIELDS = ("package", "path", "line", "setting", "level", "repobench", "dependencies")


def load(
    path: Path | None = None,
    *,
    arms: Iterable[Arm] = ARMS,
    levels: Iterable[str] = tuple(BUDGETS),
    count_tokens: CountTokens | None = None,
    lines: int | None = None,
) -> "RepoCompletion":
    """The first `lines` lines, or all, of a file that the script built, whose order is random.

    `count_tokens` is the model's own, or an estimate.

    Raises ConfigError.
    """
    file = need(path, "repocompletion", "the file that scripts/build_repocompletion.py writes")
    rows = read_rows(file)
    packages = {row["name"]: row for row in rows if row.get("kind") == "package"}
    asked = [row for row in rows if row.get("kind") == "line"]
    require(asked, _FIELDS, file)
    unknown = {row["package"] for row in asked} - packages.keys()
    if unknown:
        raise ConfigError(
            f"{file} is incomplete",
            why=f"it has lines of {', '.join(sorted(unknown))}, but not their files",
            fix="build it again",
        )
    wanted = set(levels)
    return RepoCompletion(
        version=version_of([file]),
        files={name: row["files"] for name, row in packages.items()},
        rows=tuple(row for row in asked if row["level"] in wanted)[:lines],
        arms=tuple(arms),
        count_tokens=count_tokens or about_tokens,
    )


def _last_pieces(pieces: list[tuple[str, str]], most: int) -> list[tuple[str, str]]:
    """The last pieces, as few as have `most` characters: tokenizers need not see the rest."""
    sizes = itertools.accumulate(len(text) for _, text in reversed(pieces))
    enough = next((n for n, size in enumerate(sizes, 1) if size >= most), len(pieces))
    return pieces[len(pieces) - enough :]


def about_tokens(text: str) -> int:
    """About how many tokens a code model makes of a text, where its tokenizer is not at hand."""
    lines = text.split("\n")
    return sum(map(_line_tokens, lines)) + len(lines) - 1


@lru_cache(maxsize=1 << 18)
def _line_tokens(line: str) -> int:
    return len(re.findall(r"[^\W\d_]{1,7}|\d|[^\w\s]{1,2}|_", line))


@dataclass(frozen=True, kw_only=True)
class RepoCompletion:
    """Lines to write, each in up to three arms."""

    version: str
    files: Mapping[str, Mapping[str, str]]  # package -> path -> text
    rows: tuple[Mapping[str, Any], ...]
    arms: tuple[Arm, ...] = ARMS
    count_tokens: CountTokens = about_tokens
    name: str = "repocompletion"
    rules: tuple[str, ...] = ("midfill", "repobench")
    tables: dict[str, "LineTable"] = field(default_factory=dict)  # of packages, made when needed

    def tasks(self, style: Style) -> list[Task]:
        """All lines in all arms, the arms of a line together; setting and arm are the `group`."""
        return [self._task(row, arm, style) for row in self.rows for arm in self.arms]

    def for_model(self, count_tokens: CountTokens, context: int) -> "RepoCompletion":
        """The same lines, their prompts cut by the model's own tokenizer to their levels' budgets."""
        return replace(self, count_tokens=count_tokens)

    def _task(self, row: Mapping[str, Any], arm: Arm, style: Style) -> Task:
        lines = self._lines(row)
        return Task(
            task_id=f"{row['package']}/{row['path']}:{row['line']}/{arm}",
            prompt=ask(self.prompt(row, arm), style),
            row={
                **row,
                "arm": arm,
                "group": f"{row['setting']}, {arm}",
                "next_line": lines[row["line"] - 1],
            },
        )

    def _lines(self, row: Mapping[str, Any]) -> list[str]:
        return self.files[row["package"]][row["path"]].split("\n")

    def prompt(self, row: Mapping[str, Any], arm: Arm) -> str:
        """The text before a line in one arm, within the budget of the line's level."""
        budget = BUDGETS[row["level"]]
        pieces = _last_pieces(self._pieces(row, arm), budget * _LONG_TOKEN)
        own = "\n".join(self._lines(row)[: row["line"] - 1]).rstrip()
        head = f"# Path: {row['path']}\n"
        room = int(budget * (_OWN_SHARE if pieces else 1)) - self.count_tokens(head) - 1
        in_file = f"{head}{last_lines(own, room, self.count_tokens)}\n"
        cross_file = f"# Repo Name: {row['package']}\n" + "".join(
            f"# Path: {path}\n{text}\n\n" for path, text in pieces
        )
        return build_prompt(cross_file, in_file, count_tokens=self.count_tokens, most_tokens=budget)

    def _pieces(self, row: Mapping[str, Any], arm: Arm) -> list[tuple[str, str]]:
        """(path, text) of what an arm puts before the file."""
        files = self.files[row["package"]]
        if arm == "dependencies":
            return [(path, files[path].rstrip()) for path in row["dependencies"]]
        if arm == "repobench":
            return [
                (path, "\n".join(files[path].split("\n")[first - 1 : last]))
                for path, first, last in row["repobench"]
            ]
        return []

    def extract(self, task: Task, completion: str, rule: str) -> str:
        """The first line that is no comment, under ours or RepoBench's idea of comments."""
        return first_line(completion, "python", as_original=rule == "repobench")

    def program(self, task: Task, extracted: str) -> Score:
        """Exact match and edit similarity with the line that stands there."""
        return score_line(extracted, task.row["next_line"])

    def canonical(self, task: Task) -> str | None:
        """The line that stands there."""
        return task.row["next_line"]

    def baselines(self, task: Task) -> Mapping[str, str]:
        """What tables of the lines before the hole, and of all other files too, would give."""
        package, path = task.row["package"], task.row["path"]
        before = self._lines(task.row)[: task.row["line"] - 1]
        own = LineTable.of({path: before})
        if package not in self.tables:
            texts = {name: text.split("\n") for name, text in self.files[package].items()}
            self.tables[package] = LineTable.of(texts)
        known = [line.strip() for line in before if line.strip()]
        last = known[-1] if known else ""
        return {
            "same-file line table": own.after(last),
            "cross-file line table": self.tables[package].after(last, without=path, more=own),
        }


@dataclass(frozen=True, kw_only=True)
class LineTable:
    """Which lines follow which, and in which files."""

    followers: Mapping[str, Sequence[tuple[str, str]]]  # line -> (next line, file)
    commonest: str

    @classmethod
    def of(cls, texts: Mapping[str, Sequence[str]]) -> "LineTable":
        """The table of some files, given by their lines."""
        followers: dict[str, list[tuple[str, str]]] = {}
        counts: Counter[str] = Counter()
        for path, text in texts.items():
            lines = [line.strip() for line in text if line.strip()]
            counts.update(lines)
            for line, following in itertools.pairwise(lines):
                followers.setdefault(line, []).append((following, path))
        commonest = max(counts, key=lambda line: counts[line], default="")
        return cls(followers=followers, commonest=commonest)

    def after(self, line: str, *, without: str = "", more: "LineTable | None" = None) -> str:
        """The line that most often follows, counting no file called `without`, and `more`."""
        found = [text for text, path in self.followers.get(line, ()) if path != without]
        if more is not None:
            found += [text for text, _ in more.followers.get(line, ())]
        counts = Counter(found)
        fallback = more.commonest if more is not None else self.commonest
        return max(counts, key=lambda text: counts[text], default=fallback)


def last_lines(text: str, most: int, count: CountTokens) -> str:
    """The most of the last lines that have no more than `most` tokens."""
    lines = text.split("\n")
    sizes = [len(line) + 1 for line in lines]
    return "\n".join(lines[fewest_dropped(sizes, lambda n: count("\n".join(lines[n:])) - most) :])
