"""Needle in a haystack: a function's constant, to be found again in a long text of real code.

DeepSeek-Coder-V2 shows such a picture (Figure 2) without saying what the needle was, who judged or
how many trials a cell has. Here the haystack is the standard library of the Python that runs, the
needle a function that returns a random number, hidden between two top-level definitions; the model
is asked for it by name, and the number it writes must be the one. `similar` hides a second function
with a name like it and another number, once before and once behind the needle.
"""

import ast
import hashlib
import random
import re
import sysconfig
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

from midfill.errors import ConfigError
from midfill.evaluate.benchmarks.repocompletion import about_tokens
from midfill.evaluate.task import Prompt, Score, Style, Task

CountTokens = Callable[[str], int]

SHORTEST, LONGEST, CELLS, TRIALS = 1024, 131_072, 11, 5
_ANSWER = 128  # tokens that a length leaves for the answer and the chat template
_LARGEST = 200_000  # characters of a file of the haystack
_NOUNS = "ledger harbour violin meadow lantern compass orchard glacier thimble walnut".split()
_VERBS = "weigh polish number fold anchor borrow whisper measure gather repair".split()
_TYPES = "amber cobalt crimson ivory jade ochre scarlet silver teal violet".split()


def load(
    path: Path | None = None,
    *,
    longest: int = LONGEST,
    lengths: int | Sequence[int] = CELLS,
    depths: int | Sequence[float] = CELLS,
    trials: int = TRIALS,
    similar: bool = False,
    seed: int = 0,
    count_tokens: CountTokens | None = None,
) -> "Needle":
    """A grid of lengths in tokens, up to `longest`, by depths in percent, with trials in each cell.

    Numbers of lengths and depths are spread evenly, from 1K up; `path` is a folder of Python files
    instead of the standard library. `count_tokens` is the model's own, or an estimate, 10 % off.
    Raises ConfigError.
    """
    across = spread(SHORTEST, longest, lengths) if isinstance(lengths, int) else list(lengths)
    down = spread(0, 100, depths) if isinstance(depths, int) else list(depths)
    if not across or not down or trials < 1 or min(across) < 256:
        raise ConfigError(
            "the grid of needles is empty",
            why=f"{len(across)} lengths (256 at least), {len(down)} depths, {trials} trials",
            fix="give larger numbers",
        )
    folder = path or Path(sysconfig.get_paths()["stdlib"])
    return Needle(
        folder=folder,
        lengths=tuple(int(length) for length in across),
        depths=tuple(float(depth) for depth in down),
        trials=trials,
        similar=similar,
        seed=seed,
        count_tokens=count_tokens or about_tokens,
    )


def spread(first: float, last: float, count: int) -> list[float]:
    """`count` numbers from first to last in equal steps; the last alone where one is asked for."""
    if count <= 1:
        return [last] * max(count, 0)
    return [first + (last - first) * k / (count - 1) for k in range(count)]


@dataclass(frozen=True, kw_only=True)
class Needle:
    """Texts with a number in them."""

    folder: Path
    lengths: tuple[int, ...]
    depths: tuple[float, ...]
    trials: int
    similar: bool
    seed: int
    count_tokens: CountTokens = about_tokens
    name: str = "needle"
    rules: tuple[str, ...] = ("needle",)

    @property
    def version(self) -> str:
        """SHA-256 of the haystack and of what makes the needles."""
        what = (self.lengths, self.depths, self.trials, self.similar, self.seed)
        digest = hashlib.sha256(repr(what).encode())
        for piece in haystack(self.folder):
            digest.update(piece.encode())
        return digest.hexdigest()

    def tasks(self, style: Style) -> list[Task]:
        """All trials, cell by cell; `length` and `depth` are in the row."""
        pieces = haystack(self.folder)
        sizes = [self.count_tokens(piece) for piece in pieces]
        return [
            self._task(length, depth, trial, style, pieces, sizes)
            for length in self.lengths
            for depth in self.depths
            for trial in range(self.trials)
        ]

    def for_model(self, count_tokens: CountTokens, context: int) -> "Needle":
        """Lengths by the model's own tokenizer, and as many of them up to what it holds."""
        lengths, most = self.lengths, context - _ANSWER
        if max(lengths) > most:
            shortest = min(min(lengths), most)
            lengths = tuple(map(int, spread(shortest, most, len(lengths))))
        return replace(self, count_tokens=count_tokens, lengths=tuple(dict.fromkeys(lengths)))

    def _task(
        self,
        length: int,
        depth: float,
        trial: int,
        style: Style,
        pieces: Sequence[str],
        sizes: Sequence[int],
    ) -> Task:
        rng = random.Random(f"{self.seed} {length} {depth:g} {trial}")
        name, other = _names(rng)
        value, decoy = (str(number) for number in rng.sample(range(10**6, 10**7), 2))
        needles = [(_function(name, value), depth)]
        if self.similar:  # the other stands as far from the end as this one from the start
            needles.append((_function(other, decoy), 100 - depth))
            rng.shuffle(needles)  # which comes first in the middle
        prompt = _prompt(name, style)
        room = length - self.count_tokens(prompt("".join(f"{text}\n\n" for text, _ in needles)))
        text = self._text(rng.randrange(len(pieces)), room, needles, pieces, sizes)
        while (surplus := self.count_tokens(prompt(text)) - length) > 0 and room > 0:
            room -= surplus
            text = self._text(rng.randrange(len(pieces)), room, needles, pieces, sizes)
        row = {"length": length, "depth": depth, "trial": trial, "name": name, "value": value}
        return Task(
            task_id=f"{length}/{depth:g}/{trial}",
            prompt=_as_prompt(prompt(text), style),
            row={
                **row,
                "decoy": decoy if self.similar else "",
                "place": {"length": length, "depth": depth},
            },
        )

    def _text(
        self,
        start: int,
        room: int,
        needles: Sequence[tuple[str, float]],
        pieces: Sequence[str],
        sizes: Sequence[int],
    ) -> str:
        """Pieces from one place on that fill `room` tokens, with the needles at their depths."""
        joint = self.count_tokens("\n\n")
        chosen: list[str] = []
        used = [0]  # tokens before each piece, and of all
        for step in range(len(pieces)):
            at = (start + step) % len(pieces)
            if used[-1] + sizes[at] + joint <= room:
                chosen.append(pieces[at])
                used.append(used[-1] + sizes[at] + joint)
            if room - used[-1] < _SMALLEST:
                break
        for needle, depth in sorted(needles, key=lambda pair: -pair[1]):
            chosen.insert(_place(used, depth), needle)
        return "\n\n".join(chosen)

    def extract(self, task: Task, completion: str, rule: str) -> str:
        """The first whole number of the answer; a separator within it is left out."""
        found = re.search(r"\d[\d_,]*", completion)
        return re.sub(r"[_,]", "", found[0]) if found else ""

    def program(self, task: Task, extracted: str) -> Score:
        """1 if it is the needle's number; `similar` says whether it is the other one's."""
        row = task.row
        same = extracted == row["value"]
        return Score(
            value=float(same),
            detail="" if same else f"{extracted[:40]!r} is not {row['value']}",
            also={"similar": float(extracted == row["decoy"])} if row["decoy"] else {},
        )

    def canonical(self, task: Task) -> str | None:
        """The needle's number."""
        return task.row["value"]

    def baselines(self, task: Task) -> Mapping[str, str]:
        """The last number in the text: what is found without looking for the name."""
        text = task.prompt.text or "\n".join(m["content"] for m in task.prompt.messages or ())
        found = re.findall(r"\d+", text)
        return {"the last number": found[-1] if found else ""}


_SMALLEST = 24  # tokens that need not be filled


@lru_cache(maxsize=4)
def haystack(folder: Path) -> tuple[str, ...]:
    """Functions and classes of the Python files of a folder and the folders in it, file by file.

    Raises ConfigError where there are none.
    """
    pieces: list[str] = []
    files = sorted(p for part in ("*.py", "*/*.py") for p in folder.glob(part))
    for path in files:
        if not re.search(r"/(test|tests|idlelib|site-packages|lib2to3)/", path.as_posix()):
            pieces += _definitions(path)
    if not pieces:
        raise ConfigError(
            f"{folder} holds nothing to hide a needle in",
            why="none of its Python files has functions or classes",
            fix="leave the folder out to take Python's standard library",
        )
    return tuple(pieces)


def _definitions(path: Path) -> list[str]:
    """The functions and classes at the top of a file, each under the file's name."""
    try:
        text = path.read_text(encoding="utf-8")
        if len(text) > _LARGEST:
            return []
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            tree = ast.parse(text)
    except (OSError, ValueError, SyntaxError, RecursionError):
        return []
    lines = text.split("\n")
    kinds = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef
    spans = [(node.lineno, node.end_lineno or 0) for node in tree.body if isinstance(node, kinds)]
    return ["\n".join(lines[first - 1 : last]) for first, last in spans]


def _place(used: Sequence[int], depth: float) -> int:
    """Before which piece something at this depth stands."""
    goal = used[-1] * depth / 100
    return min(range(len(used)), key=lambda at: abs(used[at] - goal))


def _names(rng: random.Random) -> tuple[str, str]:
    """Two names that differ in one word."""
    verb, noun = rng.choice(_VERBS), rng.choice(_NOUNS)
    one, two = rng.sample(_TYPES, 2)
    return f"{verb}_{one}_{noun}", f"{verb}_{two}_{noun}"


def _function(name: str, value: str) -> str:
    return f"def {name}():\n    return {value}"


def _prompt(name: str, style: Style) -> Callable[[str], str]:
    """The question around a text."""
    if style == "base":
        return lambda text: f"{text}\n\n\nassert {name}() == "
    return lambda text: (
        f"{text}\n\nWhat number does the function {name} return? Answer with the number alone."
    )


def _as_prompt(text: str, style: Style) -> Prompt:
    if style == "base":
        return Prompt(text=text, stop=("\n",), max_tokens=16)
    return Prompt(messages=({"role": "user", "content": text},), max_tokens=32)
