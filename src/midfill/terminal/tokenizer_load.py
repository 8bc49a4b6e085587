"""Tokenizers by any name: a folder, a corpus build, a GGUF file, a rank file, a model's name."""

from pathlib import Path
from typing import TYPE_CHECKING

from midfill.errors import TokenizerError

if TYPE_CHECKING:
    from midfill.tokenizer.vocabulary import Vocabulary


def vocabulary_of(name: str, *, quiet: bool) -> "tuple[str, Vocabulary]":
    """A short name, and what the tokenizer holds. Raises TokenizerError, DownloadError."""
    path = Path(name)
    if path.exists():
        return _named(path)
    from midfill.hub import resolve
    from midfill.terminal import show

    with show.progress(quiet=quiet) as report:
        return name, _named(resolve(name, progress=report))[1]


def _named(path: Path) -> "tuple[str, Vocabulary]":
    from midfill.tokenizer import folder

    if path.is_file():
        return _of_file(path)
    whole = path.resolve()
    if (path / "tokenizer.json").exists():
        name = whole.parent.name if whole.name == "tokenizer" else whole.name
        return name, folder.read(path)
    if (path / "tokenizer" / "tokenizer.json").exists():
        return whole.name, folder.read(path / "tokenizer")
    files = sorted(path.glob("*.gguf"))
    return _of_file(files[0]) if len(files) == 1 else (whole.name, folder.read(path))


def _of_file(path: Path) -> "tuple[str, Vocabulary]":
    from midfill.tokenizer import folder, gguf_keys, ranks

    if path.name == "tokenizer.json":
        return _named(path.parent)[0], folder.read(path.parent)
    if path.suffix == ".gguf":
        from midfill.model.gguf import GGUFFile

        return path.stem, gguf_keys.read(GGUFFile(path).metadata)
    try:
        found = ranks.read_ranks(path) if ranks.is_ranks(path) else None
    except OSError as error:
        raise TokenizerError(
            f"{path} cannot be read", why=error.strerror or str(error), fix="check its permissions"
        ) from error
    if found is None:
        raise TokenizerError(
            f"{path} is no tokenizer",
            why="it is neither tokenizer.json, nor a .gguf file, nor a file of tiktoken's ranks",
            fix="give one of these, or a folder that holds tokenizer.json",
        )
    encoding = ranks.encoding_of(found, path)
    return encoding.name, ranks.build(found, encoding)
