"""`midfill corpus recall`: from what was typed to the rounds of recall, and what is printed of them."""

import hashlib
import json as json_module
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

from midfill.config.corpus.recall import RecallConfig, github, web
from midfill.corpus.recall import state
from midfill.corpus.recall.annotations import Annotations
from midfill.corpus.recall.loop import Round, recall
from midfill.corpus.recall.on_disk import to_utf8
from midfill.corpus.recall.pages import normal_url
from midfill.corpus.recall.read import read_pages
from midfill.corpus.recall.unique import leave_out_near_duplicates, one_per_url
from midfill.corpus.recall.words import ToWords, space_words, token_words
from midfill.corpus.whole import replacing
from midfill.errors import CorpusError
from midfill.terminal import show

SAMPLE = 8 << 20  # characters of pages that a tokenizer is trained on
VOCABULARY = 8000
_HEAD = """\
# Prefixes worth a decision after round {number}, those with most to gain first. A + takes what lies
# below, a - leaves it out; remove the # in front of each that you have decided on, and run the same
# command again with --annotations {name} and more --rounds.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """A recall as it was asked for."""

    pages: Sequence[Path]
    seed: Sequence[str]  # files of addresses, or addresses
    out: Path
    rounds: int | None = None
    keep: float | None = None
    annotations: Path | None = None
    tokenizer: Path | None = None
    words: Literal["tokens", "spaces"] = "tokens"
    is_github: bool = False


def recall_pages(wanted: Wanted, *, json: bool, quiet: bool) -> int:
    """Run the rounds that are missing; print what each collected."""
    config, seed = _config(wanted), addresses(wanted.seed)
    rules = _rules(wanted.annotations)
    _say("reading pages", quiet)
    wanted.out.mkdir(parents=True, exist_ok=True)
    unread = Counter[str]()
    found = read_pages(wanted.pages, unread, is_github=wanted.is_github)
    pages = one_per_url(found, wanted.out)
    if unread:
        counts = ", ".join(f"{count} {reason}" for reason, count in unread.most_common())
        _say(f"{unread.total()} could not be read: {counts}", quiet)
    _say(f"{len(pages)} addresses; leaving out near-duplicates", quiet)
    leave_out_near_duplicates(pages)
    folder = wanted.out / "rounds"
    words, words_digest = _words(wanted, pages, quiet)
    _same_run(wanted.out, _digest(pages, seed, replace(config, rounds=1), words_digest))
    rounds = state.read(folder)
    _say(f"{len(pages)} pages, {len(rounds)} rounds of an earlier run", quiet)
    for made in recall(
        pages, seed, config, words, annotations=rules, done=rounds, folder=wanted.out
    ):
        state.write(folder, made)
        rounds.append(made)
        _say(f"round {made.number}: {len(made.collected)} collected, {made.new} new", quiet)
    _write(wanted.out, pages, rounds)
    rows = [_row(made) for made in rounds]
    if json:
        show.as_json({"out": str(wanted.out), "pages": len(pages), "rounds": rows})
    elif not quiet:
        _table(rows)
    return 0


def addresses(given: Sequence[str]) -> list[str]:
    """The addresses of these files, one a line, and those given themselves. Raises CorpusError."""
    found: list[str] = []
    for one in given:
        if Path(one).is_file():
            lines = _text(Path(one)).split("\n")
            found += [line for raw in lines if (line := raw.partition(" #")[0].strip())]
        elif "." not in one.partition("/")[0] and "://" not in one:
            raise CorpusError(
                f"--seed {one} is neither a file nor an address",
                why="there is no such file, and a host has a dot in it",
                fix="write addresses such as docs.example.org/library into a file, one a line",
            )
        else:
            found.append(one)
    found = [one for one in found if not one.startswith("#")]
    if not found:
        raise CorpusError(
            "the seed is empty",
            why=f"no address is in {', '.join(given) or 'it'}",
            fix="write at least one address such as docs.example.org/library into it",
        )
    return sorted(set(found))


def _config(wanted: Wanted) -> RecallConfig:
    config = github() if wanted.is_github else web()
    changed = {"rounds": wanted.rounds, "keep": wanted.keep}
    return replace(config, **{k: v for k, v in changed.items() if v is not None})


def _rules(path: Path | None) -> Annotations | None:
    return None if path is None else Annotations.parse(_text(path), str(path))


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise CorpusError(f"{path} cannot be read", why=str(error), fix="check the path") from error


def _sha(text: str) -> str:
    return hashlib.sha256(to_utf8(text)).hexdigest()


def _words(wanted: Wanted, pages: Mapping[str, str], quiet: bool) -> tuple[ToWords, str]:
    """What counts as a word, and a name of it that differs for others."""
    if wanted.words == "spaces":
        return space_words(), "spaces"
    folder = wanted.tokenizer or wanted.out / "tokenizer"
    if wanted.tokenizer is None and not (folder / "tokenizer.json").is_file():
        _say("training a tokenizer", quiet)
        _train(pages, folder)
    from midfill.tokenizer.fast import FastEncoder

    encoder = FastEncoder(folder)
    return token_words(_encoder(encoder.encode)), _sha(_text(folder / "tokenizer.json"))


def _encoder(encode: Callable[[str], Any]) -> Callable[[str], Sequence[int]]:
    """Pages may hold surrogates, which no tokenizer takes: they become question marks."""
    return lambda text: encode(text.encode("utf-8", "replace").decode()).tolist()


def _train(pages: Mapping[str, str], folder: Path) -> None:
    """Train on pages that are drawn by a hash of their address; the folder appears when all is there."""
    from midfill.tokenizer.tokenizer import Tokenizer
    from midfill.tokenizer.train import train

    texts, left = [], SAMPLE
    for url in sorted(pages, key=lambda url: (_sha(url), url)):
        text = pages[url][: min(SAMPLE // 100, left)]
        texts.append(text.encode("utf-8", "replace").decode())
        left -= len(text)
        if left <= 0:
            break
    part = folder.with_name("tokenizer.part")
    Tokenizer(train(texts, VOCABULARY)).save(part)
    part.replace(folder)


def _digest(
    pages: Mapping[str, str], seed: Sequence[str], config: RecallConfig, words: str
) -> dict[str, str]:
    """What rounds depend on, by name: they go on only where all of it is the same."""
    web_of = hashlib.sha256()
    for url, text in pages.items():
        web_of.update(to_utf8(f"{url}\n{_sha(text)}\n"))
    settings = _sha(json_module.dumps(asdict(config), sort_keys=True))
    seeds = _sha("\n".join(sorted({normal_url(one) for one in seed})))
    return {"pages": web_of.hexdigest(), "seed": seeds, "settings": settings, "words": words}


def _same_run(out: Path, digest: dict[str, str]) -> None:
    """Note what this folder is made of, or refuse to mix it with something else."""
    path = out / "run.json"
    if not path.is_file():
        _replace(path, json_module.dumps(digest, indent=2) + "\n")
        return
    try:
        known = json_module.loads(_text(path))
    except ValueError:
        known = {}
    if known != digest:
        differ = [name for name, value in digest.items() if known.get(name) != value]
        raise CorpusError(
            f"{out} holds rounds of another run",
            why=f"these differ: {', '.join(differ)}; its rounds would not be those of one loop",
            fix="give another --out, or remove that folder",
        )


def _write(out: Path, pages: Mapping[str, str], rounds: Sequence[Round]) -> None:
    """What was collected, what the rounds found, and what a person may decide next."""
    first = {url: made.number for made in reversed(rounds) for url in made.total}
    with replacing(out / "pages.jsonl") as file:
        for url in sorted(first):
            file.write(_line(url, pages[url], first[url]))
    rows = [_row(made) | {"domains": list(made.domains)} for made in rounds]
    _replace(out / "rounds.json", json_module.dumps(rows, indent=2) + "\n")
    for made in rounds[-1:]:
        head = _HEAD.format(number=made.number, name="this file")
        table = (
            f"# + {one.prefix}  # {one.gain} more of {one.pages}; {one.collected} collected\n"
            for one in made.proposals
        )
        _replace(out / "proposals.txt", head + "".join(table))


def _line(url: str, text: str, number: int) -> bytes:
    """One row, as the sources `pages` and `table` of a build read it."""
    host, _, path = url.partition("/")
    row = {"url": f"https://{url}", "repo": host, "path": path or "index", "round": number}
    return json_module.dumps(row | {"text": text}).encode() + b"\n"


def _replace(path: Path, text: str) -> None:
    """Write a file that is there as a whole or not at all."""
    with replacing(path) as file:
        file.write(text.encode())


def _row(made: Round) -> dict[str, Any]:
    return {
        "round": made.number,
        "seed": len(made.seed),
        "collected": len(made.collected),
        "new": made.new,
        "new_share": round(made.new_share, 4),
        "domains_chosen": len(made.domains),
        "proposals": len(made.proposals),
        "total": len(made.total),
    }


def _table(rows: Iterable[dict[str, Any]]) -> None:
    head = ("round", "seed", "collected", "new", "new share", "domains", "proposals", "total")
    cells = [
        tuple(f"{v:.1%}" if isinstance(v, float) else str(v) for v in row.values()) for row in rows
    ]
    show.table(cells, head)


def _say(text: str, quiet: bool) -> None:
    show.note(text, quiet=quiet)
