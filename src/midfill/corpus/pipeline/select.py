"""Which documents go into which split, in which epochs, by the mix; and which cut the model makes.

All choices are by hashes of names: see `mixture.py`.
"""

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from midfill.config.corpus.build import CorpusConfig
from midfill.config.corpus.quality import QualityConfig
from midfill.corpus import table
from midfill.corpus.pipeline.clean import PROSE
from midfill.corpus.pipeline.merge import Slices
from midfill.corpus.pipeline.mixture import below, capped, hashes, passes
from midfill.corpus.quality.model import cuts

SPLITS = ("train", "held_out")


@dataclass(frozen=True, slots=True, kw_only=True)
class Rows:
    """The documents of all parts, in the order of parts, as `tokens.py` describes them."""

    id: list[str]
    repo: list[str]
    language: list[str | None]
    tokens: NDArray[np.int64]
    bytes: NDArray[np.int64]
    part: NDArray[np.uint32]
    start: NDArray[np.int64]  # in the part's file of tokens
    contents: NDArray[np.uint64]  # of the files of all documents that count as copies
    holder: NDArray[np.int64]  # the document that each of these is in

    @classmethod
    def read(cls, files: Sequence[Path]) -> "Rows":
        """The rows of one epoch."""
        tables = [table.read(file) for file in files]
        whole = table.arrow().concat_tables(tables)
        tokens = [one["tokens"].to_numpy() for one in tables]
        starts = [np.cumsum(count) - count for count in tokens]
        contents = whole["contents"].to_pylist()
        return cls(
            id=whole["id"].to_pylist(),
            repo=whole["repo"].to_pylist(),
            language=whole["language"].to_pylist(),
            tokens=np.concatenate([np.empty(0, np.int64), *tokens]),
            bytes=whole["bytes"].to_numpy(),
            part=np.repeat(np.arange(len(files), dtype=np.uint32), [len(t) for t in tokens]),
            start=np.concatenate([np.empty(0, np.int64), *starts]),
            contents=np.array([one for those in contents for one in those], np.uint64),
            holder=np.repeat(np.arange(len(contents)), [len(those) for those in contents]),
        )

    def by_language(self, chosen: NDArray[np.bool_]) -> Counter[str]:
        """Tokens of the chosen documents, for the language of most of each."""
        found: Counter[str] = Counter()
        for i in np.flatnonzero(chosen).tolist():
            found[self.language[i] or ""] += int(self.tokens[i])
        return found

    def copied(self, held_out: NDArray[np.bool_], trained: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """Which held-out documents have a file whose bytes a document trained on has too."""
        known = self.contents[trained[self.holder]]
        found = np.zeros(len(held_out), np.bool_)
        found[self.holder[np.isin(self.contents, known)]] = True
        return found & held_out

    def slices(self, chosen: NDArray[np.bool_], first_file: int, epoch: int, seed: int) -> Slices:
        """The chosen documents for `merge`; `first_file` is the number of this epoch's first file."""
        return Slices(
            (self.part[chosen] + np.uint32(first_file)).astype(np.uint32),
            self.start[chosen].astype(np.uint64),
            self.tokens[chosen].astype(np.uint64),
            hashes([self.id[i] for i in np.flatnonzero(chosen)], "order", seed, epoch),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """What is used of the documents, and how often."""

    held_out: NDArray[np.bool_]
    in_train: NDArray[np.bool_]  # held out by name, and dropped: a copy of a file is trained on
    passes: dict[str, float]  # by category; 1.4: all once, and 40 % a second time
    often: NDArray[np.float64]  # of each document
    capped: NDArray[np.bool_]  # left out because its language has enough
    chance: NDArray[np.uint64]

    def of_epoch(self, epoch: int) -> NDArray[np.bool_]:
        """Which documents are trained on in this epoch; the first has those of all others."""
        lucky = below(self.chance, np.clip(self.often - epoch, 0, 1))
        return ~self.held_out & ~self.in_train & ~self.capped & lucky

    @property
    def epochs(self) -> int:
        """How many epochs there are."""
        return max(1, int(np.ceil(max(self.passes.values(), default=1.0) - 1e-9)))


def select(rows: Rows, categories: Mapping[str, str], config: CorpusConfig) -> Selection:
    """Choose from documents; `categories` maps repositories to those of their sources.

    Prose of a code source (Markdown beside programs) counts as text.
    """
    shards, seed = config.shards, config.seed
    projects = [project_of(repo) for repo in rows.repo]
    held_out = below(hashes(projects, "held out", seed), shards.held_out)
    sizes: Counter[str] = Counter()
    for language, size in zip(rows.language, rows.bytes.tolist(), strict=True):
        sizes[language or ""] += size
    share = capped(sizes, shards.language_cap_bytes)
    shares = np.array([share[language or ""] for language in rows.language], np.float64)
    over = ~below(hashes(rows.id, "cap", seed), shares)
    kinds = [_category(c, categories[r]) for r, c in zip(rows.repo, rows.language, strict=True)]
    tokens: Counter[str] = Counter()
    for kind, count, used in zip(kinds, rows.tokens.tolist(), ~over & ~held_out, strict=True):
        tokens[kind] += count if used else 0
    times = passes(tokens, shards.mix, shards.epochs)
    chosen = Selection(
        held_out=held_out,
        in_train=np.zeros(len(held_out), np.bool_),
        passes=times,
        often=np.array([times[kind] for kind in kinds], np.float64),
        capped=over & ~held_out,
        chance=hashes(rows.id, "mix", seed),
    )
    in_train = rows.copied(held_out, chosen.of_epoch(0))
    return replace(chosen, held_out=held_out & ~in_train, in_train=in_train)


_VERSION = re.compile(r"[-_@]v?\d[^/]*$|@[^/]*$")
_RUNS = re.compile(r"[-_.]+")


def project_of(repository: str) -> str:
    """A name that releases of one project share, on all indexes: `pypi/Flask-3.1.2` is `flask`.

    They are held out together, or the one would give away what the other is asked.
    """
    last = repository.rstrip("/").rpartition("/")[2].lower()
    named = _RUNS.sub("-", _VERSION.sub("", last)) or last
    return re.sub(r"^(?:python3?|node|lib|ruby|php)-", "", named)


def _category(language: str | None, of_source: str) -> str:
    return "text" if of_source == "code" and language in PROSE else of_source


def quality_cuts(files: Iterable[Path], config: QualityConfig | None) -> dict[str, float]:
    """The score below which the quality model drops a file, for each language that it cuts."""
    if config is None:
        return {}
    scored: defaultdict[str, tuple[list[float], list[int]]] = defaultdict(lambda: ([], []))
    for file in files:
        for row in table.read(file, ["language", "quality", "size"]).to_pylist():
            if row["quality"] is not None:
                scores, sizes = scored[row["language"]]
                scores.append(row["quality"])
                sizes.append(row["size"])
    return cuts(scored, config)


def left_out(rows: Rows, selection: Selection) -> dict[str, dict[str, int]]:
    """Documents, and tokens in them, that are in no shard, for each reason."""
    used = selection.held_out | selection.of_epoch(0)
    reasons = {"in_train": selection.in_train, "language_cap": selection.capped}
    reasons["mix"] = ~(used | selection.in_train | selection.capped)
    return {
        reason: {"documents": int(gone.sum()), "tokens": int(rows.tokens[gone].sum())}
        for reason, gone in reasons.items()
    }
