"""Single lines to fill in, drawn from the held-out repositories of a corpus build.

Which lines is decided by hashes of a seed and their surroundings, so that the cases depend on the
build and the seed only. A file of cases holds prompts, answers and what tables of the training
lines say, so that other models are asked the same. A model that cannot fill sees what comes before.
"""

import bisect
import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from midfill.corpus.whole import key_of, replacing
from midfill.errors import ConfigError
from midfill.evaluate.benchmarks.userfile import need, read_rows, require, version_of
from midfill.evaluate.code_lines import askable
from midfill.evaluate.corpus_texts import CorpusTexts, SourceFile, is_build
from midfill.evaluate.line_tables import LineTables, Place
from midfill.evaluate.statistics import edit_similarity
from midfill.evaluate.task import Prompt, Score, Style, Task
from midfill.hub import cache_folder

NAME = "infilling-held-out"
LANGUAGES = ("Python", "JavaScript", "TypeScript", "Java", "C", "C++", "Go", "Rust")
PER_FILE = 4  # lines of one file: what one file gives is alike
LEAST = 50  # cases of a language: fewer tell nothing, and it is left out
MAX_TOKENS = 64
SHARE_LEFT = 4  # one case in so many is put left to right too, to a model that fills
_WHAT = "a corpus build with held-out shards, or a file of cases"
_FIELDS = ("task_id", "language", "prefix", "suffix", "answer", "baselines")
_KIND = "held-out lines 2"  # changed with the rules that draw lines: kept cases are made again

CountTokens = Callable[[str], int]
Told = Callable[[int, int], None]  # tokens read, of how many


@dataclass(frozen=True, slots=True, kw_only=True)
class Drawing:
    """Which lines are drawn, and how much of their files is shown."""

    cases: int = 500  # of each language, where there are so many
    languages: tuple[str, ...] = LANGUAGES
    prefix: int = 1024  # characters before a hole, at most; whole lines
    suffix: int = 512  # and behind it
    seed: int = 0

    def __post_init__(self) -> None:
        """Refuse sizes that cannot be."""
        for name, least in (("cases", 1), ("prefix", 1), ("suffix", 0)):
            if getattr(self, name) < least:
                raise ConfigError(
                    f"{name} is {getattr(self, name)}",
                    why=f"it must be at least {least}",
                    fix="leave it out",
                )


@dataclass(frozen=True, slots=True, kw_only=True)
class Hole:
    """A line that was drawn."""

    lot: bytes  # by which holes are chosen and ordered
    path: str
    language: str
    line: int  # in its file, from 1
    before: str  # all of the file before the line
    answer: str
    behind: str  # all of the file behind the line, its line end included


def load(path: Path | None = None, *, drawing: Drawing | None = None) -> "HeldOutLines":
    """The cases in a file, or those of a corpus build, which are made once and kept in the cache.

    Raises ConfigError and CorpusError.
    """
    path = need(path, NAME, _WHAT)
    if path.is_dir():
        drawing = drawing or Drawing()
        texts = _opened(path)
        name = f"held-out-lines-{key_of(_KIND, texts.digest, asdict(drawing))}.jsonl"
        path = cache_folder() / "evaluate" / name
        if not path.is_file():
            path.parent.mkdir(parents=True, exist_ok=True)
            write_cases(path, texts, drawing)
    rows = [row for row in read_rows(path) if "task_id" in row]
    require(rows, _FIELDS, path)
    return HeldOutLines(version=version_of([path]), rows=tuple(rows))


def _opened(path: Path) -> CorpusTexts:
    if not is_build(path):
        raise ConfigError(f"{path} is no corpus build", why="it has no shards", fix=f"give {_WHAT}")
    return CorpusTexts(path)


def write_cases(
    path: Path, texts: CorpusTexts, drawing: Drawing, told: Told = lambda done, of: None
) -> dict[str, int]:
    """Write the cases of a build, and what they are made of in the first line.

    Returns how many there are of each language. Raises ConfigError where there are none.
    """
    holes = draw(texts, drawing)
    if not holes:
        raise ConfigError(
            f"{texts.shards.folder} gives no lines to ask for",
            why=f"its held-out split has no files in {', '.join(drawing.languages)} without holes",
            fix="build with --set shards.held_out=0.05 and --set shards.fim.rate=0",
        )
    places = [_place(hole) for hole in holes]
    tables = LineTables(places)
    read, of = 0, texts.tokens("train")
    for document in texts.documents("train"):
        for file in document.files:
            tables.read(file.language, file.text)
        read += document.tokens
        told(read, of)
    counts = {language: 0 for language in drawing.languages}
    with replacing(path) as out:
        about = {"kind": _KIND, "shards": texts.digest, **asdict(drawing)}
        out.write(json.dumps(about).encode() + b"\n")
        for hole, place in zip(holes, places, strict=True):
            guesses = tables.guesses(place, [hole.before, hole.behind])
            out.write(json.dumps(_row(hole, drawing, guesses)).encode() + b"\n")
            counts[hole.language] += 1
    return {language: count for language, count in counts.items() if count}


def draw(texts: CorpusTexts, drawing: Drawing) -> list[Hole]:
    """The holes: of every file at most PER_FILE, of every language those with the smallest lots.

    Languages with fewer than LEAST are left out. They take turns, so that the first n cases are a
    sample of all. Memory holds the holes only.
    """
    kept: dict[str, list[Hole]] = {language: [] for language in drawing.languages}
    seen: set[bytes] = set()  # two documents may hold the same file
    for document in texts.documents("held_out", with_holes=False):
        for file in document.files:
            digest = hashlib.blake2b(file.text.encode(), digest_size=16).digest()
            if file.language not in kept or digest in seen:
                continue
            seen.add(digest)
            chosen = kept[file.language]
            for hole in _holes(file, digest, drawing.seed):
                bisect.insort(chosen, hole, key=lambda one: one.lot)
            del chosen[drawing.cases :]
    enough = [chosen for chosen in kept.values() if len(chosen) >= min(LEAST, drawing.cases)]
    ranked = [(rank, hole.lot, hole) for chosen in enough for rank, hole in enumerate(chosen)]
    return [hole for _, _, hole in sorted(ranked, key=lambda one: one[:2])]


def _holes(file: SourceFile, digest: bytes, seed: int) -> Iterator[Hole]:
    """The lines of a file that may be drawn."""
    lines = file.text.split("\n")
    lots = sorted(
        (hashlib.blake2b(digest + f"{seed} {i}".encode(), digest_size=16).digest(), i)
        for i in askable(lines, file.language)
    )
    for lot, i in lots[:PER_FILE]:
        yield Hole(
            lot=lot,
            path=file.path,
            language=file.language,
            line=i + 1,
            before="".join(f"{line}\n" for line in lines[:i]),
            answer=lines[i].rstrip(),
            behind="\n" + "\n".join(lines[i + 1 :]),
        )


def _place(hole: Hole) -> Place:
    before = next(line for line in reversed(hole.before.split("\n")) if line.strip())
    behind = next(line for line in hole.behind.split("\n") if line.strip())
    return Place(hole.language, before, behind)


def _row(hole: Hole, drawing: Drawing, guesses: Mapping[str, str]) -> dict[str, Any]:
    return {
        "task_id": f"{hole.language}/{hole.lot.hex()[:12]}",
        "language": hole.language,
        "path": hole.path,
        "line": hole.line,
        "prefix": last_characters(hole.before, drawing.prefix),
        "suffix": first_characters(hole.behind, drawing.suffix),
        "answer": hole.answer,
        "baselines": dict(guesses),
    }


def last_characters(text: str, most: int) -> str:
    """The last whole lines of at most so many characters; of a longer line its end."""
    if len(text) <= most:
        return text
    cut = text[len(text) - most :]
    if text[len(text) - most - 1] == "\n":
        return cut
    _, end, rest = cut.partition("\n")
    return rest if end and rest else cut


def first_characters(text: str, most: int) -> str:
    """The first whole lines of at most so many characters, without the line end behind them."""
    if len(text) <= most:
        return text
    whole = text[: most + 1].rpartition("\n")[0]
    return whole or text[:most]


@dataclass(frozen=True, kw_only=True)
class HeldOutLines:
    """Lines to fill in."""

    version: str
    rows: tuple[Mapping[str, Any], ...]
    fills: bool = True  # False: the model is shown only what comes before
    notes: tuple[str, ...] = ()
    name: str = NAME
    rules: tuple[str, ...] = field(default=("first-line",))

    def tasks(self, style: Style) -> list[Task]:
        """All lines, languages mixed; every style of model is asked alike."""
        return [
            Task(
                task_id=row["task_id"],
                prompt=self._prompt(row),
                language=row["language"],
                row={**row, "group": row["language"]},
            )
            for row in self.rows
        ]

    def _prompt(self, row: Mapping[str, Any]) -> Prompt:
        if self.fills:
            return Prompt(
                prefix=row["prefix"], suffix=row["suffix"], stop=("\n",), max_tokens=MAX_TOKENS
            )
        return _continued(row)

    def for_model(self, count_tokens: CountTokens, context: int) -> "HeldOutLines":
        """The same holes, with less around them where a context is too short for what there is."""
        room, share = context - MAX_TOKENS - 8, 1.0  # eight: begin and sentinels
        rows: Sequence[Mapping[str, Any]] = self.rows
        while share > 1 / 64 and any(_tokens(row, count_tokens) > room for row in rows):
            share /= 2
            rows = [_shortened(row, share) for row in self.rows]
        if share == 1:
            return self
        note = f"prompts were cut to {share:g} of their characters: the context is {context} tokens"
        version = hashlib.sha256(f"{self.version} {share:g}".encode()).hexdigest()
        return replace(self, rows=tuple(rows), version=version, notes=(*self.notes, note))

    def without_suffix(self) -> "HeldOutLines":
        """The same holes for a model that cannot fill: it continues what comes before them."""
        note = "left to right: the model has no tokens to fill with, and does not see what follows"
        return replace(self, fills=False, notes=(*self.notes, note))

    def extract(self, task: Task, completion: str, rule: str) -> str:
        """The first line; left to right, the first one below that is not blank."""
        if task.prompt.suffix is not None:
            return completion.partition("\n")[0].rstrip()
        below = completion.split("\n")[1:]
        return next((line.rstrip() for line in below if line.strip()), "")

    def program(self, task: Task, extracted: str) -> Score:
        """1 if it is the line, but for white space at its end."""
        answer = task.row["answer"]
        found = extracted.rstrip()
        return Score(
            value=float(found == answer),
            detail="" if found == answer else f"{found[:60]!r} is not {answer[:60]!r}",
            also={
                "but for indentation": float(found.strip() == answer.strip()),
                "edit_similarity": edit_similarity(answer.strip(), found.strip()) / 100,
            },
        )

    def canonical(self, task: Task) -> str | None:
        """The line that stands there."""
        return task.row["answer"]

    def baselines(self, task: Task) -> Mapping[str, str]:
        """What tables of the training lines say."""
        return task.row["baselines"]

    def arms(self, task: Task) -> Mapping[str, Prompt]:
        """One hole in SHARE_LEFT for the same model without what follows: it writes on, and is slow."""
        if not self.fills or int(task.task_id.rpartition("/")[2], 16) % SHARE_LEFT:
            return {}
        return {"left to right": _continued(task.row)}


def _continued(row: Mapping[str, Any]) -> Prompt:
    """A hole as a text to continue, without its last line end.

    Many vocabularies have tokens of a line end with the indentation behind it, and were not trained
    on a line end alone before indented code.
    """
    return Prompt(text=row["prefix"].removesuffix("\n"), max_tokens=MAX_TOKENS)


def _tokens(row: Mapping[str, Any], count: CountTokens) -> int:
    return count(row["prefix"]) + count(row["suffix"])


def _shortened(row: Mapping[str, Any], share: float) -> dict[str, Any]:
    prefix, suffix = row["prefix"], row["suffix"]
    return {
        **row,
        "prefix": last_characters(prefix, int(share * len(prefix))),
        "suffix": first_characters(suffix, int(share * len(suffix))),
    }
