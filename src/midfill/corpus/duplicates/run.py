"""Deduplication of documents that are all at hand: the verb `corpus dedup`, and small corpora."""

from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from midfill.config.corpus.duplicates import Duplicates
from midfill.corpus.duplicates.bands import shape
from midfill.corpus.duplicates.candidates import candidates
from midfill.corpus.duplicates.decide import Removed, decide, without_partner
from midfill.corpus.duplicates.exact import Copies, copies, remove_copies
from midfill.corpus.duplicates.sketch import Sketch, ranked, shingle_set, sketch
from midfill.corpus.duplicates.verify import Load, Similarity, verify
from midfill.corpus.record import Document


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """Whether a repository or a file stays."""

    id: str
    level: Literal["repo", "file"]
    keep: bool
    dup_of: str | None = None  # id of what is kept instead
    jaccard: float | None = None  # exact, with the one kept; 1.0 for equal bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What deduplication did, in numbers."""

    repositories: int
    files: int
    removed_repositories: int
    removed_files: int  # one by one, without those of removed repositories
    removed_size: int  # bytes of both
    without_partner: int  # removed, but less like the one kept than the threshold: chains
    clusters: dict[int, int]  # how many documents one kept stands for, itself included: how often
    copies_before: Copies  # exact copies of files
    copies_left: Copies


def near_duplicates(sketches: Iterable[Sketch], load: Load, config: Duplicates) -> Removed:
    """What to remove of sketches of one level; `load` gives the `shingle_set` of an id."""
    order = ranked(sketches)
    similarity = Similarity(order, load, config.cache)
    edges = verify(candidates(order, config), similarity, config)
    return decide(edges, order, config, similarity)


def deduplicate(
    documents: Sequence[Document], config: Duplicates, reference: Collection[str] = ()
) -> list[Decision]:
    """A decision for each repository, then one for each file whose repository stays.

    Repositories in the order of their first file, files in the order given; at level "repo" there
    are decisions on files only if exact copies are dropped, at level "file" none on repositories.
    `reference` names repositories and files that always stay.
    """
    repos = _by_repository(documents)
    sketches = [one for files in repos.values() for one in sketch(files, config, reference)]
    decisions = []
    if config.level != "file":

        def load_repository(name: str):
            return shingle_set([file.text for file in repos[name]], config)

        whole = [one for one in sketches if one.level == "repo"]
        removed = near_duplicates(whole, load_repository, config)
        decisions = [_decision(name, "repo", removed) for name in repos]
        repos = {name: files for name, files in repos.items() if name not in removed}
    if config.level == "repo" and config.exact == "report":
        return decisions
    left = [document for document in documents if document.repo in repos]
    removed = _duplicate_files(left, sketches, config, reference)
    return decisions + [_decision(document.id, "file", removed) for document in left]


def parameters(config: Duplicates) -> dict[str, object]:
    """What a run record must say for its removals to be compared with another tool's."""
    bands, rows = shape(config)
    return {
        "words": r"lower case, split on \W",
        "words_in_a_shingle": config.words,
        "sketch": "fast similarity sketching",
        "permutations": bands * rows,
        "bands": bands,
        "rows": rows,
        "hash_bits": 64,
        "seed": config.seed,
        "threshold": config.threshold,
        "level": config.level,
        "chains": config.chains,
        "licence_comments": "left out" if config.strip_licence else "kept",
    }


def report(
    documents: Sequence[Document], decisions: Sequence[Decision], config: Duplicates
) -> Report:
    """What these decisions on these documents come to."""
    gone = {d.id: d for d in decisions if not d.keep}
    repos = {document.repo for document in documents}
    left = [d for d in documents if d.repo not in gone and d.id not in gone]
    removed = {
        d.id: (d.dup_of, d.jaccard)
        for d in gone.values()
        if d.dup_of is not None and d.jaccard is not None
    }
    sizes = Counter(kept for kept, _ in removed.values())
    return Report(
        repositories=len(repos),
        files=len(documents),
        removed_repositories=len(repos & gone.keys()),
        removed_files=len(gone.keys() - repos),
        removed_size=sum(d.size for d in documents) - sum(d.size for d in left),
        without_partner=without_partner(removed, config.threshold),
        clusters=dict(sorted(Counter(n + 1 for n in sizes.values()).items())),
        copies_before=copies(documents),
        copies_left=copies(left),
    )


def _duplicate_files(
    documents: Sequence[Document],
    sketches: Sequence[Sketch],
    config: Duplicates,
    reference: Collection[str],
) -> Removed:
    """What to remove file by file: exact copies if asked for, then near-duplicates."""
    removed: Removed = {}
    if config.exact == "drop":
        same = remove_copies(documents, config, reference)
        removed |= {gone: (kept, 1.0) for gone, kept in same.items()}
    if config.level != "repo":
        texts = {d.id: d.text for d in documents if d.id not in removed}

        def load_file(name: str):
            return shingle_set([texts[name]], config)

        own = [one for one in sketches if one.level == "file" and one.id in texts]
        near = near_duplicates(own, load_file, config)
        removed = {g: (near.get(k, (k, 1.0))) for g, (k, _) in removed.items()} | near
    return removed


def _by_repository(documents: Iterable[Document]) -> dict[str, list[Document]]:
    repos: dict[str, list[Document]] = {}
    for document in documents:
        repos.setdefault(document.repo, []).append(document)
    return repos


def _decision(name: str, level: Literal["repo", "file"], removed: Removed) -> Decision:
    if name not in removed:
        return Decision(id=name, level=level, keep=True)
    kept, jaccard = removed[name]
    return Decision(id=name, level=level, keep=False, dup_of=kept, jaccard=jaccard)
