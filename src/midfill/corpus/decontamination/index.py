"""The index of benchmark texts: every gram, every short text, and which tasks they come from.

Plain arrays, so that it is sent to workers, saved with numpy and has a digest. All texts lie behind
one another in `stream`, as numbers of words; a gram is a place in it, a short text a place and a
length. Grams and short texts have one row of numbers: grams first.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields, replace
from functools import cached_property
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from midfill.config.corpus.decontamination import Decontamination
from midfill.corpus.decontamination import benchmarks, build, items, words
from midfill.corpus.decontamination.items import Item, as_items
from midfill.corpus.decontamination.matcher import CompiledMatcher, Matcher, ReadableMatcher, native
from midfill.errors import ConfigError, CorpusError

Ints = NDArray[np.integer]
_TEXTS = ("tasks", "texts", "left_out")
_MADE_OF = "made_of"


@dataclass(frozen=True, eq=False, kw_only=True)
class Index:
    """Grams and short texts of benchmarks. Two with one `digest` find the same."""

    n: int  # words of a gram
    shortest: int  # words of the shortest text
    tasks: tuple[tuple[str, str], ...]  # set and task
    texts: tuple[str, ...]  # whole texts, folded, for the substring detector
    text_task: Ints  # of each of these
    left_out: tuple[str, ...]  # sets that were not here and cannot be had
    too_short: int  # texts of fewer words than `shortest`, for which nothing is looked
    words: Ints  # UTF-8 of the distinct words, behind one another
    ends: Ints  # where each ends
    stream: Ints
    gram_at: Ints
    text_at: Ints
    text_size: Ints  # words; solutions of n words or more are here too, their first 63
    informative: Ints  # informative words, by row
    distinct: Ints  # different ones of these, by gram
    only_data: Ints  # whether it is but values of tests, by short text
    solution: Ints  # whether it is a whole solution, by row
    spread: Ints  # most tasks of one set that hold it, by row
    owner_ends: Ints  # where the owners of each row end in `owners`
    owners: Ints  # tasks
    frequent: Ints  # rows that more documents hold than `max_df` allows

    @classmethod
    def from_folder(
        cls, folder: Path | None, config: Decontamination | None = None, more: Iterable[Item] = ()
    ) -> "Index":
        """The index of every benchmark midfill knows, and of `more`. Raises DownloadError.

        `folder` is what MIDFILL_DATA names; None: only what was pulled.
        """
        found, left_out = benchmarks.read(None if folder is None else Path(folder))
        made = cls.from_texts([*found, *more], config)
        return replace(made, left_out=tuple(left_out))

    @classmethod
    def from_texts(
        cls, texts: Iterable[Item | tuple[str, str, str]], config: Decontamination | None = None
    ) -> "Index":
        """The index of these texts, whatever their order."""
        config = config or Decontamination()
        arrays = build.arrays(sorted(set(as_items(texts))), config)
        return cls(n=config.n, shortest=config.shortest, left_out=(), **arrays)

    @classmethod
    def cached(cls, folder: Path | None, config: Decontamination | None, path: Path) -> "Index":
        """As `from_folder`, but read from `path` where the same was made before, else written there.

        The same: rows with the same checksums, by the same code, for a configuration that makes the
        same index. The rows themselves are not read again. Raises DownloadError.
        """
        folder, config = None if folder is None else Path(folder), config or Decontamination()
        made_of = _made_from(folder, config)
        if _made_of(path) == made_of:
            return cls.load(path)
        made = cls.from_folder(folder, config)
        path.parent.mkdir(parents=True, exist_ok=True)
        made.save(path, made_of)
        return made

    @classmethod
    def load(cls, path: Path) -> "Index":
        """The index that `save` wrote. Raises CorpusError."""
        try:
            with Path(path).open("rb") as raw, np.load(raw, allow_pickle=False) as file:
                held: dict[str, Any] = {field.name: file[field.name] for field in fields(cls)}
            for name in _TEXTS:
                held[name] = tuple(json.loads(held[name].tobytes()))
            held["tasks"] = tuple((name, task) for name, task in held["tasks"])
        except (OSError, KeyError, ValueError, EOFError, BadZipFile) as error:
            raise CorpusError(
                f"{path} is no decontamination index", why=str(error), fix="make it again"
            ) from error
        held |= {name: int(held[name]) for name in ("n", "shortest", "too_short")}
        return cls(**held)

    def save(self, path: Path, made_of: str = "") -> None:
        """Write one file that numpy can read; `made_of` tells what `cached` may take it for."""
        held = {field.name: getattr(self, field.name) for field in fields(self)}
        for name in _TEXTS:  # numpy would pad every text to the longest
            held[name] = np.frombuffer(json.dumps(held[name]).encode(), dtype=np.uint8)
        part = Path(path).with_name(f"{Path(path).name}.part")
        with part.open("wb") as file:
            np.savez(file, **{_MADE_OF: np.frombuffer(made_of.encode(), dtype=np.uint8)}, **held)
        part.replace(path)

    def without(self, frequency: Mapping[int, int], max_df: int) -> "Index":
        """The index for a corpus in which row r is in `frequency[r]` documents: rows in more than
        `max_df` do not count, whole solutions excepted.
        """
        rows = [row for row, documents in frequency.items() if documents > max_df]
        return replace(self, frequent=np.array(sorted(rows), dtype=np.int64))

    @cached_property
    def digest(self) -> str:
        """SHA-256 over everything in the index."""
        total = hashlib.sha256()
        for field in fields(self):
            value = getattr(self, field.name)
            raw = value.tobytes() if isinstance(value, np.ndarray) else repr(value).encode()
            total.update(b"%s %d " % (field.name.encode(), len(raw)) + raw)
        return total.hexdigest()

    @cached_property
    def matcher(self) -> Matcher:
        """What finds rows in a file: compiled where that is here, the readable twin elsewhere."""
        return self.readable_matcher() if native is None else self.compiled_matcher()

    def compiled_matcher(self) -> CompiledMatcher:
        """The fast one; only where the extension was built."""
        held = (self.words, self.ends, self.stream, self.gram_at, self.text_at, self.text_size)
        return CompiledMatcher(self.n, self.shortest, [array.tobytes() for array in held])

    def readable_matcher(self) -> ReadableMatcher:
        """The same in Python."""
        texts = [self.text(row) for row in range(self.rows)]
        return ReadableMatcher(self.n, self.shortest, texts, len(self.gram_at))

    def active(self, config: Decontamination) -> NDArray[np.bool_]:
        """Which rows drop a file under `config`. Raises ConfigError for another n."""
        if config not in self._active:
            self._active[config] = self._decide(config)
        return self._active[config]

    @cached_property
    def _active(self) -> dict[Decontamination, NDArray[np.bool_]]:
        return {}

    def _decide(self, config: Decontamination) -> NDArray[np.bool_]:
        if (config.n, config.shortest) != (self.n, self.shortest):
            raise ConfigError(
                f"this index has grams of {self.n} words and texts from {self.shortest} on",
                why=f"the configuration says {config.n} and {config.shortest}",
                fix="build the index with the same configuration",
            )
        rows = self._told(config)
        if config.max_tasks is not None:
            rows = rows & (self.spread <= config.max_tasks)
        rows[self.frequent] = False
        if config.short == "solutions":
            rows = rows | self.solution
        return rows.astype(bool) if config.grams else np.zeros(self.rows, dtype=bool)

    def _told(self, config: Decontamination) -> NDArray[np.bool_]:
        """Rows with enough informative words."""
        grams = self.informative[: len(self.gram_at)] >= config.informative
        grams &= self.distinct >= min(config.distinct, config.informative)
        if config.short == "always":
            return np.concatenate([grams, np.ones(len(self.text_at), dtype=bool)])
        half = 2 * self.informative[len(self.gram_at) :].astype(np.int64) >= self.text_size
        half &= ~self.only_data.astype(bool)
        return np.concatenate([grams, half])

    @property
    def rows(self) -> int:
        """Grams and short texts together."""
        return len(self.gram_at) + len(self.text_at)

    def span(self, row: int) -> tuple[int, int]:
        """Where a row's words begin in `stream`, and how many there are."""
        text = row - len(self.gram_at)
        if text < 0:
            return int(self.gram_at[row]), self.n
        return int(self.text_at[text]), int(self.text_size[text])

    @cached_property
    def vocabulary(self) -> list[str]:
        """The distinct words."""
        raw, starts = self.words.tobytes(), [0, *self.ends[:-1].tolist()]
        ends = self.ends.tolist()
        return [
            raw[a:b].decode("utf-8", "surrogatepass") for a, b in zip(starts, ends, strict=False)
        ]

    def text(self, row: int) -> str:
        """The words of a gram or short text."""
        at, size = self.span(row)
        numbers: list[int] = self.stream[at : at + size].tolist()
        return " ".join(self.vocabulary[number] for number in numbers)

    def owned_by(self, row: int) -> list[int]:
        """The tasks that hold a row."""
        start = int(self.owner_ends[row - 1]) if row else 0
        return self.owners[start : int(self.owner_ends[row])].tolist()

    def __getstate__(self) -> dict[str, object]:
        """For a worker: the arrays; what was made of them is made again there."""
        return {field.name: getattr(self, field.name) for field in fields(self)}


def _made_from(folder: Path | None, config: Decontamination) -> str:
    """A digest of all that an index of these files depends on: their rows, the code, the settings.

    Raises DownloadError where a file that can be pulled is missing; reads no rows.
    """
    here, missing = benchmarks.places(folder)
    left_out = benchmarks.left_out(missing, folder)
    modules = (benchmarks, build, items, words)
    code = [Path(str(module.__file__)).read_bytes() for module in modules]
    used = (config.n, config.shortest, config.substring, config.substring_characters)
    rows = [(file.name, file.content) for file, _ in here]
    return hashlib.sha256(repr((rows, left_out, used, code)).encode()).hexdigest()


def _made_of(path: Path) -> str | None:
    """What the index of a file was made of, if that is an index."""
    try:
        with Path(path).open("rb") as raw, np.load(raw, allow_pickle=False) as file:
            return file[_MADE_OF].tobytes().decode()
    except (OSError, KeyError, ValueError, EOFError, BadZipFile):
        return None
