"""RepoBench 1.1: the next line of a file, from the user's files. Source: its repository, 630c865.

Three settings: the first line that uses something of another file, a later such line, a line that
uses nothing of another file. Paper's protocol (DeepSeek-Coder-V2 section 4.2.1): greedy, 64 tokens,
prompts of at most 15,800 tokens, the surplus cut from the part of other files, the first line that
is no comment, exact match after splitting at white space, and edit similarity.

Two things the original gets wrong are not copied; the rule `repobench` and the option
`cut="repobench"` show them for comparison. It counts tokens line by line, without their newlines,
and cuts what stands nearest to the hole; and a docstring of one line hides all that follows it.
"""

import bisect
import itertools
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from midfill.errors import ConfigError
from midfill.evaluate.benchmarks.userfile import files_of, need, read_rows, require, version_of
from midfill.evaluate.statistics import edit_similarity, exact_match
from midfill.evaluate.task import Prompt, Score, Style, Task

Cut = Literal["midfill", "repobench"]
CountTokens = Callable[[str], int]

SETTINGS = ("cross_file_first", "cross_file_random", "in_file")
LEVELS = ("2k", "4k", "8k", "12k", "16k")
MOST_TOKENS = 15_800  # of a prompt
NEW_TOKENS = 64
COMMENT = {"python": "#", "java": "//"}
_FIELDS = ("repo_name", "file_path", "context", "import_statement", "cropped_code", "next_line")
_INSTRUCTION = "Write the next line of the file. Answer with that line alone, without a fence.\n\n"


def load(
    path: Path | None = None,
    *,
    language: Literal["python", "java"] = "python",
    levels: Iterable[str] = LEVELS,
    start_date: str = "2023-12-01",
    end_date: str = "2023-12-31",
    count_tokens: CountTokens | None = None,
    most_tokens: int = MOST_TOKENS,
    cut: Cut = "midfill",
) -> "RepoBench":
    """The lines of the given levels and days (both included, as midnights, as the original has it).

    Prompts are cut to `most_tokens` only where `count_tokens`, the model's own, is given.
    """
    files = files_of(need(path, "repobench", "the files of RepoBench 1.1 for one language"))
    wanted, rows = set(levels), []
    for file in files:
        found = read_rows(file)
        require(found, _FIELDS, file)
        rows += [{"setting": setting_of(row, file), "idx": n, **row} for n, row in enumerate(found)]
    kept = [row for row in rows if _kept(row, wanted, start_date, end_date)]
    if not kept:
        raise ConfigError(
            "no line is left",
            why=f"none of {len(rows)} has level {', '.join(levels)}, {start_date} to {end_date}",
            fix="give other levels or dates",
        )
    return RepoBench(
        version=version_of(files),
        rows=tuple(kept),
        language=language,
        count_tokens=count_tokens,
        most_tokens=most_tokens,
        cut=cut,
    )


@dataclass(frozen=True, kw_only=True)
class RepoBench:
    """Lines to write, each with pieces of other files of its repository."""

    version: str
    rows: tuple[Mapping[str, Any], ...]
    language: str = "python"
    count_tokens: CountTokens | None = None
    most_tokens: int = MOST_TOKENS
    cut: Cut = "midfill"
    name: str = "repobench"
    rules: tuple[str, ...] = ("midfill", "repobench")

    def tasks(self, style: Style) -> list[Task]:
        """All lines; the setting is the `group`, `level` the bucket of the prompt's length."""
        return [
            Task(
                task_id=f"{row['setting']}/{row['idx']}",
                prompt=ask(self._prompt(row), style),
                language=self.language,
                row={**row, "group": row["setting"]},
            )
            for row in self.rows
        ]

    def for_model(self, count_tokens: CountTokens, context: int) -> "RepoBench":
        """The same lines, their prompts cut by the model's own tokenizer, to what it holds."""
        most = min(self.most_tokens, context - NEW_TOKENS)
        return replace(self, count_tokens=count_tokens, most_tokens=most)

    def _prompt(self, row: Mapping[str, Any]) -> str:
        return build_prompt(
            cross_file_part(row, self.language),
            in_file_part(row, self.language),
            count_tokens=self.count_tokens,
            most_tokens=self.most_tokens,
            cut=self.cut,
        )

    def extract(self, task: Task, completion: str, rule: str) -> str:
        """The first line that is no comment, under ours or the original's idea of comments."""
        return first_line(completion, task.language, as_original=rule == "repobench")

    def program(self, task: Task, extracted: str) -> Score:
        """Exact match and edit similarity with the line that stands there."""
        return score_line(extracted, task.row["next_line"])

    def canonical(self, task: Task) -> str | None:
        """The line that stands there."""
        return task.row["next_line"]

    def baselines(self, task: Task) -> Mapping[str, str]:
        """Lines that tables of the file, and of the pieces of other files, would give."""
        others = [piece["snippet"] for piece in task.row["context"]]
        return line_tables(task.row["cropped_code"], others)


def ask(text: str, style: Style) -> Prompt:
    """The text to continue; chat models are told what is wanted of it."""
    if style == "base":
        return Prompt(text=text, max_tokens=NEW_TOKENS)
    message = {"role": "user", "content": _INSTRUCTION + text}
    return Prompt(messages=(message,), max_tokens=NEW_TOKENS)


def cross_file_part(row: Mapping[str, Any], language: str) -> str:
    """The repository's name and the pieces of other files, each under its path."""
    mark = COMMENT[language]
    pieces = (f"{mark} Path: {p['path']}\n{p['snippet']}\n\n" for p in row["context"])
    return f"{mark} Repo Name: {row['repo_name']}\n" + "".join(pieces)


def in_file_part(row: Mapping[str, Any], language: str) -> str:
    """The file's path, its imports, and its code up to the line that is asked for."""
    code = row["cropped_code"].rstrip()
    return f"{COMMENT[language]} Path: {row['file_path']}\n{row['import_statement']}\n{code}\n"


def build_prompt(
    cross_file: str,
    in_file: str,
    *,
    count_tokens: CountTokens | None = None,
    most_tokens: int = MOST_TOKENS,
    cut: Cut = "midfill",
) -> str:
    """Both parts in one text of at most `most_tokens`, without long runs of empty lines."""
    if count_tokens is not None:
        shorten = _cut_as_original if cut == "repobench" else _cut_exactly
        cross_file = shorten(cross_file, in_file, count_tokens, most_tokens)
    return _joined(cross_file, in_file)


def _joined(cross_file: str, in_file: str) -> str:
    return re.sub(r"\n{4,}", "\n\n", cross_file + in_file)


def _cut_exactly(cross_file: str, in_file: str, count: CountTokens, most: int) -> str:
    """Drop the fewest lines after the repository's name, so that the whole text has `most` tokens.

    What is dropped stands farthest from the hole. Where even nothing of other files is too long,
    nothing of them is left, and the engine says so.
    """
    head, *lines = cross_file.split("\n")

    def surplus(number: int) -> int:
        return count(_joined("\n".join([head, *lines[number:]]), in_file)) - most

    number = fewest_dropped([len(line) + 1 for line in lines], surplus)
    return "\n".join([head, *lines[number:]]) if number < len(lines) else ""


def fewest_dropped(sizes: Sequence[int], surplus: Callable[[int], int]) -> int:
    """How many of the first lines must go so that `surplus(number)` is not above 0.

    Fewer lines never make more tokens, but for a few at the seam. `sizes`, in characters, guess
    where to look, as every look costs a tokenizer's pass over the text.
    """
    over = surplus(0)
    if over <= 0:
        return 0
    ends = list(itertools.accumulate(sizes, initial=0))
    low, high, per_token = 0, len(sizes), 4.0  # `low` is too few; characters a token
    while high - low > 1:
        guess = bisect.bisect_left(ends, ends[low] + over * per_token)
        middle = min(max(guess, low + 1), high - 1)
        found = surplus(middle)
        if found < over:
            per_token = max((ends[middle] - ends[low]) / (over - found), 0.1)
        if found > 0:
            low, over = middle, found
        else:
            high = middle
            over = max(over, 1)
            # The guess was too far: from the other side, half as far at least.
            if (low + high) // 2 < guess:
                per_token /= 2
    return high


def _cut_as_original(cross_file: str, in_file: str, count: CountTokens, most: int) -> str:
    surplus = count(cross_file) + count(in_file) - most
    if surplus <= 0:
        return cross_file
    lines = cross_file.split("\n")
    number = 0
    for number in range(len(lines) - 1, -1, -1):  # where it stops is what counts
        surplus -= count(lines[number])
        if surplus < 0:
            break
    return "\n".join(lines[:number]) + "\n\n"


_OPEN = {"python": ('"""', "'''"), "java": ("/*",)}
_CLOSE = {"python": ('"""', "'''"), "java": ("*/",)}


def first_line(text: str, language: str, *, as_original: bool = False) -> str:
    """The first line that is neither empty nor a comment; where there is none, the first line.

    `as_original`: a comment that opens and closes on one line counts as one that only opens.
    """
    lines = text.lstrip("\n").split("\n")
    closing: tuple[str, ...] = ()  # what ends the comment that we are in
    for line in lines:
        words = line.strip()
        if closing:
            closing = () if words.endswith(closing) else closing
        elif words.startswith(_OPEN[language]):
            opened = next(mark for mark in _OPEN[language] if words.startswith(mark))
            ends = _CLOSE[language] if as_original or language == "java" else (opened,)
            one_line = words[len(opened) :].endswith(ends) and not as_original
            closing = () if one_line else ends
        elif words and not words.startswith(COMMENT[language]):
            return line
    return lines[0]


def score_line(line: str, wanted: str) -> Score:
    """1 where the words are the same in order; beside it both of RepoBench's measures."""
    same = exact_match(line, wanted)
    return Score(
        value=float(same),
        detail="" if same else f"{line.strip()[:200]!r} is not {wanted.strip()[:200]!r}",
        also={"exact_match": float(same), "edit_similarity": edit_similarity(wanted, line) / 100},
    )


def line_tables(before: str, others: Iterable[str]) -> dict[str, str]:
    """The line that most often follows the line before the hole, in this file, and in others."""
    known = [line.strip() for line in before.split("\n") if line.strip()]
    last = known[-1] if known else ""
    elsewhere = [[line.strip() for line in text.split("\n") if line.strip()] for text in others]
    return {
        "same-file line table": _follower([known], last),
        "cross-file line table": _follower([*elsewhere, known], last),
    }


def _follower(texts: Iterable[list[str]], last: str) -> str:
    """The commonest line after `last`, the latest one on a tie; else the commonest line of all."""
    after: dict[str, int] = {}
    ever: dict[str, int] = {}
    for lines in texts:
        for line, following in itertools.pairwise(lines):
            ever[following] = ever.get(following, 0) + 1
            if line == last:
                after[following] = after.pop(following, 0) + 1
    counts = after or ever
    return max(reversed(counts), key=lambda line: counts[line], default="")


def setting_of(row: Mapping[str, Any], file: Path) -> str:
    """The setting that a row names, or the name of its file. Raises ConfigError."""
    named = str(row.get("setting") or row.get("split") or file.name)
    found = next((setting for setting in SETTINGS if named.startswith(setting)), None)
    if found is None:
        raise ConfigError(
            f"{file} does not say which setting it is",
            why=f"its name starts with none of {', '.join(SETTINGS)}",
            fix="keep the names that the set's authors gave its files",
        )
    return found


def _kept(row: Mapping[str, Any], levels: set[str], start: str, end: str) -> bool:
    """Rows without a level or a date are kept."""
    if "level" in row and row["level"] not in levels:
        return False
    date = str(row.get("created_at") or "").replace(" ", "T")
    return not date or start <= date <= f"{end}T00:00:00"
