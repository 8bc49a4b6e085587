"""Deduplication: repositories, then files, by sketches that were made before or are made here."""

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from midfill.config.corpus.duplicates import Duplicates
from midfill.corpus.duplicates.bands import shape
from midfill.corpus.duplicates.candidates import candidates
from midfill.corpus.duplicates.decide import Removed, decide
from midfill.corpus.duplicates.exact import Copies, copies, remove_copies
from midfill.corpus.duplicates.sketch import Sketch, ranked, shingle_set, sketch
from midfill.corpus.duplicates.verify import Load, Similarity, verify
from midfill.corpus.record import Document

Level = Literal["repo", "file", "copy"]
Texts = Callable[[str, str | None], list[str]]  # of a file, by repository and path; None: of all


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """Whether a repository or a file stays."""

    id: str
    level: Level  # "copy": a file that goes because another one has the same bytes
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
    """`decisions` on documents that are all at hand: the verb `corpus dedup`, and small corpora.

    `reference` names repositories and files that always stay.
    """
    repos: dict[str, list[Document]] = {}
    for document in documents:
        repos.setdefault(document.repo, []).append(document)
    single = {(document.repo, document.path): document.text for document in documents}
    sketches = [one for files in repos.values() for one in sketch(files, config, reference)]

    def texts(repo: str, path: str | None) -> list[str]:
        return [file.text for file in repos[repo]] if path is None else [single[repo, path]]

    return decisions(documents, sketches, texts, config, reference)


def decisions(
    files: Sequence[Document],
    sketches: Sequence[Sketch],
    texts: Texts,
    config: Duplicates,
    reference: Collection[str] = (),
) -> list[Decision]:
    """A decision for each repository, then one for each file whose repository stays.

    `files` need not have their texts: `texts` gives those that are compared. Repositories in the
    order of their first file, files in the order given; at level "repo" there are decisions on
    files only if exact copies are dropped, at level "file" none on repositories.
    """
    made: list[Decision] = []
    if config.level != "file":
        whole = [one for one in sketches if one.level == "repo"]
        gone = near_duplicates(whole, lambda name: shingle_set(texts(name, None), config), config)
        made = [_decision(repo, "repo", gone) for repo in dict.fromkeys(f.repo for f in files)]
        files = [file for file in files if file.repo not in gone]
    if config.level == "repo" and config.exact == "report":
        return made
    same = remove_copies(files, config, reference) if config.exact == "drop" else {}
    near: Removed = {}
    if config.level != "repo":
        places = {file.id: (file.repo, file.path) for file in files if file.id not in same}
        own = [one for one in sketches if one.level == "file" and one.id in places]
        near = near_duplicates(own, lambda name: shingle_set(texts(*places[name]), config), config)
    # The one that a copy was kept for may itself be near another.
    copied = {one: near.get(kept, (kept, 1.0)) for one, kept in same.items()}
    return made + [
        _decision(file.id, "copy", copied)
        if file.id in copied
        else _decision(file.id, "file", near)
        for file in files
    ]


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
    gone = [d for d in decisions if not d.keep]
    repos = {d.id for d in gone if d.level == "repo"}
    single = {d.id for d in gone if d.level != "repo"}
    left = [d for d in documents if d.repo not in repos and d.id not in single]
    sizes = Counter((d.level == "repo", d.dup_of) for d in gone)
    return Report(
        repositories=len({document.repo for document in documents}),
        files=len(documents),
        removed_repositories=len(repos),
        removed_files=len(single),
        removed_size=sum(d.size for d in documents) - sum(d.size for d in left),
        without_partner=sum(d.jaccard is not None and d.jaccard < config.threshold for d in gone),
        clusters=dict(sorted(Counter(n + 1 for n in sizes.values()).items())),
        copies_before=copies(documents),
        copies_left=copies(left),
    )


def _decision(name: str, level: Level, removed: Removed) -> Decision:
    if name not in removed:
        return Decision(id=name, level=level, keep=True)
    kept, jaccard = removed[name]
    return Decision(id=name, level=level, keep=False, dup_of=kept, jaccard=jaccard)
