"""`midfill tokenizer show`: what a vocabulary holds, and how it cuts a text."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from midfill.errors import ConfigError, TokenizerError
from midfill.pages.harmless import visible
from midfill.terminal import show
from midfill.terminal.tokenizer_load import vocabulary_of
from midfill.tokenizer import pretokenize
from midfill.tokenizer.tokenizer import Tokenizer
from midfill.tokenizer.train import merges
from midfill.tokenizer.vocabulary import Vocabulary

_COLOURS = ("black on cyan", "black on green", "black on yellow", "black on magenta")


@dataclass(frozen=True, slots=True, kw_only=True)
class Piece:
    """One token of a text."""

    id: int
    bytes: bytes
    shown: str  # bytes that are no whole characters as \\xNN

    def as_record(self) -> dict[str, Any]:
        """As JSON has it; `text` is null where the bytes are no UTF-8."""
        try:
            text = self.bytes.decode()
        except UnicodeDecodeError:
            text = None
        return {"id": self.id, "text": text, "bytes": self.bytes.hex()}


def show_tokenizer(
    model: str, text: str | None, file: str | None, *, json: bool, quiet: bool
) -> int:
    """Print the facts, or the tokens of a text."""
    from midfill.terminal.source import read_text

    if text is not None and file is not None:
        raise ConfigError(
            "a text and --file were given",
            why="the text can come from one place only",
            fix="leave out --file",
        )
    name, vocabulary = vocabulary_of(model, quiet=quiet)
    tokenizer = Tokenizer(vocabulary)
    if file is not None:
        text = read_text(file)
    if text is None:
        _print_facts(facts(name, vocabulary, tokenizer), json=json)
        return 0
    pieces = list(cut(tokenizer, tokenizer.encode(text)))
    size = len(text.encode())
    each = size / len(pieces) if pieces else 0.0
    if json:
        tokens = [piece.as_record() for piece in pieces]
        show.as_json({"name": name, "bytes": size, "bytes_per_token": each, "tokens": tokens})
        return 0
    _print_coloured(pieces)
    rows = [(str(i), str(p.id), str(len(p.bytes)), p.shown) for i, p in enumerate(pieces)]
    print()
    show.table(rows, ("", "id", "bytes", "token"))
    print(f"\n{len(pieces):,} tokens, {size:,} bytes, {each:.2f} bytes per token")
    return 0


def facts(name: str, vocabulary: Vocabulary, tokenizer: Tokenizer) -> dict[str, Any]:
    """What a vocabulary holds."""
    fim = tokenizer.fim
    return {
        "name": name,
        "entries": tokenizer.vocab_size,
        "rows": tokenizer.rows,
        "merges": len(merges(vocabulary)),
        "pre_tokenizer": vocabulary.pre or _detected(vocabulary),
        "added": {token.text: token.id for token in sorted(vocabulary.added, key=lambda t: t.id)},
        "sentinels": sorted(tokenizer.sentinels),
        "bos": tokenizer.bos_id,
        "eos": tokenizer.eos_id,
        "pad": tokenizer.pad_id,
        "adds_bos": tokenizer.add_bos,
        "stop_ids": sorted(tokenizer.stop_ids),
        "fim": fim and {"style": fim.style, **{n: getattr(fim, n) for n in _FIM}},
        "chat_template": tokenizer.chat_template is not None,
    }


_FIM = ("prefix", "suffix", "middle")


def cut(tokenizer: Tokenizer, ids: Sequence[int]) -> Iterator[Piece]:
    """The tokens as they are shown, part of a character as its bytes."""
    for token in ids:
        data = tokenizer.token_bytes(token)
        yield Piece(id=token, bytes=data, shown=_shown(data))


def _shown(data: bytes) -> str:
    text = data.decode(errors="backslashreplace")
    return visible(text.replace("\n", "⏎").replace("\t", "⇥").replace(" ", "·"))


def _detected(vocabulary: Vocabulary) -> str | None:
    try:
        return pretokenize.detect(vocabulary.plain)
    except TokenizerError:
        return None


def _print_coloured(pieces: Sequence[Piece]) -> None:
    """The text with a colour behind every other token, or bars between them where colours are off."""
    from rich.console import Console
    from rich.text import Text

    console = Console(highlight=False)
    coloured = console.is_terminal and console.color_system is not None
    line = Text()
    for i, piece in enumerate(pieces):
        line.append(piece.shown, _COLOURS[i % len(_COLOURS)] if coloured else "")
        if not coloured and i + 1 < len(pieces):
            line.append("|")
        if piece.bytes.endswith(b"\n"):
            line.append("\n")
    console.print(line, soft_wrap=True)


def _print_facts(found: dict[str, Any], *, json: bool) -> None:
    if json:
        show.as_json(found)
        return
    texts = {token: text for text, token in found["added"].items()}

    def named(token: int | None) -> str:
        return "-" if token is None else f"{token} {visible(texts.get(token, ''))}".rstrip()

    fim = found["fim"]
    lines = {
        "entries": f"{found['entries']:,}, {found['merges']:,} of them made by merges",
        "cut by": found["pre_tokenizer"] or "a rule that has no GGUF name",
        "begin": named(found["bos"]) + (", put in front" if found["adds_bos"] else ""),
        "end": named(found["eos"]),
        "stop": ", ".join(map(named, found["stop_ids"])) or "-",
        "infilling": " ".join(named(fim[n]) for n in _FIM) + f" ({fim['style']})" if fim else "-",
        "chat": "a template" if found["chat_template"] else "no template",
    }
    if found["rows"] > found["entries"]:
        lines["entries"] += f", padded to {found['rows']:,}"
    print(found["name"])
    for name, value in lines.items():
        print(f"  {name:10} {value}")
    print()
    hidden = set(found["sentinels"])
    rows = [
        (str(token), "sentinel" if text in hidden else "text", visible(text))
        for text, token in found["added"].items()
    ]
    show.table(rows, ("id", "kind", "added token"))
