"""Builds the set of `repocompletion`: lines of Python packages published after a given day.

    python scripts/build_repocompletion.py --out repocompletion.jsonl.gz

The packages are source archives pinned by SHA-256 in repocompletion_packages.json, held out of
training by project. pip's own index code finds them, with the mirrors, certificates and credentials
that pip is configured with; nothing of an archive is executed, and none is unpacked. An index need
not tell when a file was published, so the day is the newest time of a file in the archive, which
must not lie before --after.

Of every file that imports from its own package, lines are drawn: `cross_file_first` holds the first
use of something imported, `cross_file_random` a later use of one, `in_file` none.
"""

import argparse
import ast
import gzip
import hashlib
import io
import json
import random
import re
import sys
import tarfile
import tokenize
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path, PurePosixPath
from typing import Any

from midfill.evaluate.benchmarks.repobench import SETTINGS
from midfill.evaluate.benchmarks.repocompletion import BUDGETS, about_tokens

PINS = Path(__file__).with_name("repocompletion_packages.json")
AFTER = date(2026, 1, 1)
LARGEST = 400_000  # bytes of a file; larger ones are tables
LEFT_OUT = re.compile(
    r"(^|/)(tests?|testing|docs?|examples?|benchmarks?|_?vendor(ed)?|build)/|_pb2"
)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--pins", type=Path, default=PINS)
    parser.add_argument("--cache", type=Path, default=Path.home() / ".cache/midfill/sdists")
    parser.add_argument("--after", type=date.fromisoformat, default=AFTER)
    parser.add_argument("--lines", type=int, default=600, help="of each setting")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    packages = []
    for pin in json.loads(options.pins.read_text(encoding="utf-8")):
        archive = fetch(pin, options.cache)
        files, newest = read_archive(archive)
        if newest < options.after:
            sys.exit(f"{pin['filename']} is of {newest}, before {options.after}")
        packages.append(Package(pin=pin, files=files, newest=newest))
        print(f"{pin['filename']}: {len(files)} files, {newest}", file=sys.stderr)
    lines = draw(packages, options.lines, random.Random(options.seed))
    write(options.out, packages, lines)
    print(json.dumps(summary(lines)), file=sys.stderr)


@dataclass(frozen=True, kw_only=True)
class Package:
    """One source archive."""

    pin: dict[str, Any]
    files: dict[str, str]  # path in the package -> text
    newest: date


def fetch(pin: dict[str, Any], cache: Path) -> bytes:
    """The pinned archive, from the cache or from pip's index; its SHA-256 is checked."""
    path = cache / pin["filename"]
    if path.is_file():
        return checked(pin, path.read_bytes())
    data = checked(pin, download(pin))
    cache.mkdir(parents=True, exist_ok=True)
    draft = path.with_suffix(".part")
    draft.write_bytes(data)
    draft.replace(path)
    return data


def checked(pin: dict[str, Any], data: bytes) -> bytes:
    """The same bytes, where they are the pinned ones; otherwise the program ends."""
    found = hashlib.sha256(data).hexdigest()
    if found != pin["sha256"]:
        sys.exit(f"{pin['filename']} has SHA-256 {found}, not {pin['sha256']}")
    return data


def download(pin: dict[str, Any]) -> bytes:
    """The archive from pip's index. `pip download` would run its build; this only looks it up."""
    from pip._internal.commands import create_command

    command: Any = create_command("download")
    options, _ = command.parse_args(["--no-deps", "--no-binary", ":all:", pin["name"]])
    with command.main_context():
        session = command.get_default_session(options)
        finder = command._build_package_finder(options, session)
        links = [one.link for one in finder.find_all_candidates(pin["name"])]
        link = next((link for link in links if link.filename == pin["filename"]), None)
        if link is None:
            sys.exit(f"pip's index has no {pin['filename']}")
        answer = session.get(link.url_without_fragment, headers={"Accept-Encoding": "identity"})
        answer.raise_for_status()
        return answer.content


def read_archive(data: bytes) -> tuple[dict[str, str], date]:
    """The Python files of an archive by their path in it, and the day of its newest file."""
    files, newest = {}, 0
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        for member in archive:
            newest = max(newest, int(member.mtime))
            path = "/".join(PurePosixPath(member.name).parts[1:])
            wanted = path.endswith(".py") and member.isfile() and member.size <= LARGEST
            if wanted and not LEFT_OUT.search(path) and PurePosixPath(path).name != "setup.py":
                stream = archive.extractfile(member)
                assert stream is not None
                text = readable(stream.read())
                if text is not None:
                    files[path.removeprefix("src/")] = text
    return files, datetime.fromtimestamp(newest, UTC).date()


def readable(data: bytes) -> str | None:
    """The text of a file that is Python in UTF-8, or None."""
    try:
        text = data.decode("utf-8-sig").replace("\r\n", "\n").expandtabs(8)
        ast.parse(text)
    except (ValueError, SyntaxError, RecursionError):
        return None
    return text if text.strip() else None


@dataclass(frozen=True, kw_only=True)
class Import:
    """A name that a file has from another file of its package."""

    name: str  # as it is used here
    path: str  # the file that defines it
    symbol: str | None  # there; None: the module itself


def module_paths(files: dict[str, str]) -> dict[str, str]:
    """Dotted module name -> path."""
    names = {}
    for path in files:
        parts = path.removesuffix(".py").split("/")
        names[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return names


def imports_of(path: str, tree: ast.Module, modules: dict[str, str]) -> list[Import]:
    """What a file imports from its own package, in the order of the statements."""
    package = path.removesuffix(".py").split("/")[:-1]
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            module = ".".join([*base, *(node.module.split(".") if node.module else [])])
            for alias in node.names:
                if f"{module}.{alias.name}" in modules:
                    target, symbol = modules[f"{module}.{alias.name}"], None
                elif module in modules:
                    target, symbol = modules[module], alias.name
                else:
                    continue
                found.append(Import(name=alias.asname or alias.name, path=target, symbol=symbol))
        elif isinstance(node, ast.Import):
            for alias in node.names:
                if alias.asname and alias.name in modules:
                    target = modules[alias.name]
                    found.append(Import(name=alias.asname, path=target, symbol=None))
    return [one for one in found if one.path != path and one.name != "*"]


def definition(tree: ast.Module, symbol: str | None) -> tuple[int, int] | None:
    """First and last line of what defines a symbol at the top of a file."""
    for node in tree.body:
        names = []
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            names = [node.name]
        elif isinstance(node, ast.Assign):
            names = [target.id for target in node.targets if isinstance(target, ast.Name)]
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            names = [node.target.id]
        if symbol in names:
            decorators = getattr(node, "decorator_list", [])
            first = min([node.lineno, *(one.lineno for one in decorators)])
            return first, node.end_lineno or node.lineno
    return None


def code_lines(text: str, tree: ast.Module) -> set[int]:
    """Numbers of lines that are code from their first word: no comment, text, docstring or import."""
    numbers: set[int] = set()
    skip = (
        tokenize.COMMENT,
        tokenize.NL,
        tokenize.NEWLINE,
        tokenize.INDENT,
        tokenize.DEDENT,
        tokenize.ENDMARKER,
    )
    inside: set[int] = set()
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type not in skip:
            numbers.add(token.start[0])
        if token.start[0] != token.end[0]:
            inside |= set(range(token.start[0], token.end[0] + 1))
    for node in ast.walk(tree):
        if isinstance(node, ast.Import | ast.ImportFrom) or (
            isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
        ):
            inside |= set(range(node.lineno, (node.end_lineno or node.lineno) + 1))
    return numbers - inside


def lines_of(package: Package) -> Iterator[dict[str, Any]]:
    """Every line that could be asked for, with its setting and what helps to write it."""
    trees = {path: ast.parse(text) for path, text in package.files.items()}
    modules = module_paths(package.files)
    imports = {path: imports_of(path, tree, modules) for path, tree in trees.items()}
    for path, text in package.files.items():
        if not imports[path]:
            continue
        pieces = []
        for one in imports[path]:
            span = definition(trees[one.path], one.symbol)
            if span and [one.path, *span] not in pieces:
                pieces.append([one.path, *span])
        order = dependencies(path, imports)
        shared = {"package": package.pin["name"], "path": path, "repobench": pieces}
        for number, setting in settings(text, trees[path], {one.name for one in imports[path]}):
            yield {**shared, "dependencies": order, "line": number, "setting": setting}


def settings(text: str, tree: ast.Module, names: set[str]) -> Iterator[tuple[int, str]]:
    """(number, setting) of the lines of a file that are neither very short nor very long."""
    uses: dict[int, set[str]] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Name) and node.id in names:
            uses.setdefault(node.lineno, set()).add(node.id)
    lines = text.split("\n")
    first_import = min(
        (n.lineno for n in ast.walk(tree) if isinstance(n, ast.Import | ast.ImportFrom)), default=0
    )
    seen: set[str] = set()
    for number in sorted(code_lines(text, tree)):
        used = uses.get(number, set())
        fresh, seen = used - seen, seen | used
        words = re.findall(r"\w+", lines[number - 1])
        if number <= first_import or len(words) < 3 or len(lines[number - 1]) > 120:
            continue
        yield number, SETTINGS[0 if fresh else 1 if used else 2]


def dependencies(path: str, imports: dict[str, list[Import]]) -> list[str]:
    """Files that a file needs, each behind those that it needs itself; the nearest come last."""
    order: list[str] = []
    state: dict[str, bool] = {path: False}
    stack: list[tuple[str, Iterator[Import]]] = [(path, iter(imports[path]))]
    while stack:
        here, left = stack[-1]
        for one in left:
            if one.path not in state:
                state[one.path] = False
                stack.append((one.path, iter(imports[one.path])))
                break
        else:
            stack.pop()
            order.append(here)
    return order[:-1]


def draw(packages: list[Package], count: int, rng: random.Random) -> list[dict[str, Any]]:
    """`count` lines of each setting, as even over the packages and levels as they allow.

    A line has the largest level that its material fills, or a smaller one drawn at random.
    """
    drawn: list[dict[str, Any]] = []
    pools = {package.pin["name"]: list(lines_of(package)) for package in packages}
    sizes = {
        p.pin["name"]: {path: about_tokens(text) for path, text in p.files.items()}
        for p in packages
    }
    for setting in SETTINGS:
        queues = []
        for pool in pools.values():
            mine = [line for line in pool if line["setting"] == setting]
            rng.shuffle(mine)
            queues.append(spread(mine))
        chosen: list[dict[str, Any]] = []
        while len(chosen) < count and any(queues):
            for queue in queues:
                if queue and len(chosen) < count:
                    line = queue.pop()
                    size = sizes[line["package"]]
                    chosen.append({**line, "level": level(line, size, rng)})
        drawn += chosen
    rng.shuffle(drawn)  # the first N of the file are a fair sample
    return drawn


def spread(lines: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """At most four lines of a file, those of different files first when taken from the end."""
    ranks: Counter[str] = Counter()
    ranked = []
    for line in lines:
        ranked.append((ranks[line["path"]], line))
        ranks[line["path"]] += 1
    ranked = [(rank, line) for rank, line in ranked if rank < 4]
    return [line for _, line in sorted(ranked, key=lambda pair: -pair[0])]


def level(line: dict[str, Any], sizes: dict[str, int], rng: random.Random) -> str:
    """A level that the files of a line can fill."""
    have = sizes[line["path"]] + sum(sizes[path] for path in line["dependencies"])
    names = list(BUDGETS)
    possible = [name for k, name in enumerate(names) if k == 0 or have > BUDGETS[names[k - 1]]]
    return rng.choice(possible)


def write(out: Path, packages: list[Package], lines: list[dict[str, Any]]) -> None:
    """One JSON object a line: the packages with their files, then the lines to write."""
    heads = [
        {
            "kind": "package",
            **{key: p.pin[key] for key in ("name", "version", "filename", "sha256", "licence")},
            "newest": p.newest.isoformat(),
            "files": p.files,
        }
        for p in packages
    ]
    rows = [*heads, *({"kind": "line", **line} for line in lines)]
    text = "".join(json.dumps(row, ensure_ascii=False, sort_keys=True) + "\n" for row in rows)
    data = text.encode("utf-8")
    out.write_bytes(gzip.compress(data, mtime=0) if out.suffix == ".gz" else data)


def summary(lines: list[dict[str, Any]]) -> dict[str, dict[str, int]]:
    """Lines by setting, level and package."""
    keys = ("setting", "level", "package")
    return {key: dict(sorted(Counter(line[key] for line in lines).items())) for key in keys}


if __name__ == "__main__":
    main()
