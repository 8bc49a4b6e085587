"""Files of a repository to training documents, paths before files.

Source: DeepSeek-Coder §2.2. The same text is what a repository prompt shows the model.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

from midfill.config.corpus.documents import DocumentsConfig
from midfill.corpus.dependencies.order import order
from midfill.corpus.languages import comment
from midfill.corpus.record import TEXT, Document

JOINT = "\n\n"  # between two files


@dataclass(frozen=True, slots=True, kw_only=True)
class Training:
    """One training document: files in order, each begun by a comment with its path."""

    id: str  # repository, and path of its first file
    repo: str
    pieces: tuple[str, ...]  # texts of the files, each behind its comment
    paths: tuple[str, ...]
    languages: tuple[str | None, ...]

    @property
    def text(self) -> str:
        """The whole document."""
        return JOINT.join(self.pieces)


def headed(file: Document, *, path_comments: bool = True) -> str:
    """The text of a file, behind a comment with its path; prose has none."""
    if not path_comments or file.language == TEXT:
        return file.text
    return f"{comment(file.language, file.path)}\n{file.text}"


def assemble(files: Sequence[Document], config: DocumentsConfig, seed: int) -> list[Training]:
    """The documents of one repository, from the files that were kept.

    Edges to files that were dropped are gone, so what hung together by them may fall apart.
    """
    if not files:
        return []
    by_path = {file.path: file for file in sorted(files, key=lambda f: f.path)}
    if config.unit == "file":
        sequences = [[path] for path in by_path]
    else:
        edges = {
            path: tuple(p for p in file.depends_on if p in by_path)
            for path, file in by_path.items()
        }
        # Another shuffle in each repository, or README.md and setup.py would always meet alike.
        salt = hashlib.blake2b(f"{seed}\0{files[0].repo}".encode("utf-8", "surrogatepass")).digest()
        own = int.from_bytes(salt[:8])
        sequences = order(edges, config.order, own, whole=config.unit == "repository")
    return [_training([by_path[path] for path in one], config) for one in sequences]


def _training(files: list[Document], config: DocumentsConfig) -> Training:
    return Training(
        id=files[0].id,
        repo=files[0].repo,
        pieces=tuple(headed(file, path_comments=config.path_comments) for file in files),
        paths=tuple(file.path for file in files),
        languages=tuple(file.language for file in files),
    )
