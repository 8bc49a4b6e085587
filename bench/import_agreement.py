"""Whether our edges of Python are those of the interpreter: packages are really imported.

    python bench/import_agreement.py --archives FOLDER --python PEERS/bin/python [--packages 40]

FOLDER holds source archives of the pinned list (corpora/pypi_permissive_sdists_le5MB.json below
MIDFILL_DATA) under their own names; those of pure Python packages are unpacked one after another.
PEERS is an environment where these packages are installed, for what they depend on. Each module of
a package is imported in a process of its own, in which every call of `__import__` and
`import_module`, and every load of a module, is written down with the file that asked for it.

    found      of the edges of statements that the interpreter ran, those we have
    loads      of the files that the interpreter ran because a file asked for them, those we have
    confirmed  of the edges we give to statements that it ran, those it confirms

An edge from a file to a package it lies in counts where a name is taken from the package that is no
module (see midfill.corpus.dependencies.python); `loads` knows no such rule.
Imports run code of the packages: do this where that may be done.
"""

import argparse
import builtins
import contextlib
import importlib
import importlib.abc
import importlib.util
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

ROOTS = ("src", "lib", "")
LEFT_OUT = frozenset(
    "test tests docs doc examples example samples benchmarks setup tools noxfile conftest".split()
)
SECONDS = 20  # for one module


# --- under the Python of the peers, which needs nothing of midfill ---------------------------------
class Recorder(importlib.abc.MetaPathFinder):
    """What is asked for by files below a folder, and what is loaded for them."""

    def __init__(self, top: str) -> None:
        self.top = top
        self.statements: set[tuple[str, str, tuple[str, ...] | None]] = set()
        self.edges: set[tuple[str, str]] = set()
        self.loads: set[tuple[str, str]] = set()
        self.asked: list[tuple[str, str]] = []
        self._import = builtins.__import__
        self._import_module = importlib.import_module

    def install(self) -> None:
        builtins.__import__ = self.call
        importlib.import_module = self.call_module
        sys.meta_path.insert(0, self)

    def find_spec(self, fullname: str, path: Any, target: Any = None) -> None:
        frame = sys._getframe(1)
        while frame is not None:
            file = frame.f_code.co_filename
            if file.startswith(self.top):
                self.asked.append((file, fullname))
                return
            frame = frame.f_back

    def call(self, name: str, globals=None, locals=None, fromlist=(), level: int = 0) -> Any:
        result = self._import(name, globals, locals, fromlist, level)
        with contextlib.suppress(Exception):
            if globals and str(globals.get("__file__", "")).startswith(self.top):
                full = name
                if level:
                    package = globals.get("__package__") or globals["__name__"].rpartition(".")[0]
                    full = importlib.util.resolve_name("." * level + name, package)
                names = tuple(fromlist) if fromlist else None
                self.note(globals["__file__"], full, names, f"{'.' * level}{name}")
        return result

    def call_module(self, name: str, package: str | None = None) -> Any:
        result = self._import_module(name, package)
        user = sys._getframe(1).f_code.co_filename
        if user.startswith(self.top):
            full = importlib.util.resolve_name(name, package) if name.startswith(".") else name
            self.note(user, full, None, full)
        return result

    def note(self, user: str, full: str, names: tuple[str, ...] | None, written: str) -> None:
        parts = full.split(".")
        way = [".".join(parts[:count]) for count in range(1, len(parts) + 1)]
        self.statements.add((user, written, names))
        plain = names is None
        for one in names or ():
            module = sys.modules.get(f"{full}.{one}")
            if module is not None and getattr(sys.modules[full], one, None) is module:
                self.edge(user, module)
            else:
                plain = True
        for name in way:
            module = sys.modules.get(name)
            taken = plain and name == full
            if module is not None and (taken or not self.encloses(module, user)):
                self.edge(user, module)

    def encloses(self, module: Any, user: str) -> bool:
        file = getattr(module, "__file__", None) or ""
        return Path(file).stem == "__init__" and user.startswith(os.path.dirname(file) + "/")  # noqa: PTH120

    def edge(self, user: str, module: Any) -> None:
        file = getattr(module, "__file__", None)
        if file and file.startswith(self.top) and file != user:
            self.edges.add((user, file))

    def finish(self) -> dict[str, Any]:
        for user, name in self.asked:
            file = getattr(sys.modules.get(name), "__file__", None)
            if file and file.startswith(self.top) and file != user:
                self.loads.add((user, file))
        cut = len(self.top)

        def shorter(pairs: set[tuple[str, str]]) -> list[tuple[str, str]]:
            return [(user[cut:], file[cut:]) for user, file in pairs]

        return {
            "edges": shorter(self.edges),
            "loads": shorter(self.loads),
            "statements": [(user[cut:], *rest) for user, *rest in self.statements],
        }


def modules(top: Path) -> list[tuple[str, str]]:
    """Root and name of every module of the packages below, apart from tests and the like."""
    found = []
    for init in sorted(top.rglob("__init__.py")):
        if (init.parent.parent / "__init__.py").exists() or init.parent == top:
            continue
        inner = next(one for one in ROOTS if (top / one) in init.parent.parents)
        for path in sorted(init.parent.rglob("*.py")):
            parts = path.relative_to(top / inner).with_suffix("").parts
            if parts[-1] == "__main__" or {one.lower() for one in parts} & LEFT_OUT:
                continue
            if all(one.isidentifier() for one in parts):
                name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
                found.append((str(top / inner), name))
    return found


def import_all(top: Path, most: int) -> None:
    """Import the modules of an unpacked package, each in a child; print what they asked for."""
    total: dict[str, Any] = {"edges": [], "loads": [], "statements": [], "failed": 0, "modules": 0}
    everything = modules(top)
    for root, name in everything[:: max(1, len(everything) // most)]:
        reading, writing = os.pipe()
        child = os.fork()
        if not child:
            os.close(reading)
            _import_one(str(top) + "/", root, name, writing)
        os.close(writing)
        with open(reading, "rb") as pipe:  # noqa: PTH123
            reply = pipe.read()
        os.waitpid(child, 0)
        total["modules"] += 1
        if not reply:
            total["failed"] += 1
            continue
        row = json.loads(reply)
        total["failed"] += row.pop("failed")
        for key, rows in row.items():
            total[key] += rows
    print("\n" + json.dumps(total))


def _import_one(top: str, root: str, name: str, writing: int) -> None:
    import resource
    import signal

    signal.alarm(SECONDS)
    resource.setrlimit(resource.RLIMIT_AS, (3 << 30, 3 << 30))
    null = os.open(os.devnull, os.O_RDWR)
    for stream in range(3):
        os.dup2(null, stream)
    sys.path.insert(0, root)
    sys.argv = ["-"]
    recorder = Recorder(top)
    failed = 0
    with contextlib.suppress(BaseException):
        recorder.install()
        failed = 1
        recorder._import_module(name)
        failed = 0
    reply = json.dumps(recorder.finish() | {"failed": failed}).encode()
    while reply:
        reply = reply[os.write(writing, reply) :]
    os._exit(0)


# --- under ours -------------------------------------------------------------------------------------
def compare(top: Path, ran: dict[str, Any]) -> dict[str, int]:
    """How many edges there are on each side and on both."""
    from midfill.corpus.dependencies import File, depends_on
    from midfill.corpus.dependencies.python import resolver

    files = []
    for path in sorted(top.rglob("*")):
        if path.is_file() and path.suffix in (".py", ".pyi", ".toml", ".cfg"):
            language = "Python" if path.suffix in (".py", ".pyi") else None
            text = path.read_text(encoding="utf-8", errors="replace")
            files.append(File(path.relative_to(top).as_posix(), text, language))
    ours = {(user, one) for user, needed in depends_on(files).items() for one in needed}
    by_path = {file.path: file for file in files}
    view = resolver([file for file in files if file.language], by_path)
    given = set()
    for user, written, names in {(a, b, tuple(c) if c else None) for a, b, c in ran["statements"]}:
        text = f"from {written} import {', '.join(names)}" if names else f"import {written}"
        given |= {(user, one) for one in view.needs(File(user, text, "Python")) if one != user}
    edges = {(user, file) for user, file in ran["edges"]}
    loads = {(user, file) for user, file in ran["loads"]}
    for kind, pairs in (("missed", edges - ours), ("unconfirmed", given - edges)):
        for user, file in sorted(pairs)[:4]:
            print(f"    {kind}: {user} -> {file}", file=sys.stderr)
    return {
        "edges": len(edges),
        "found": len(edges & ours),
        "loads": len(loads),
        "loads_found": len(loads & ours),
        "given": len(given),
        "confirmed": len(given & edges),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--archives", type=Path, required=True)
    parser.add_argument("--python", type=Path, required=True)
    parser.add_argument("--packages", type=int, default=40)
    parser.add_argument("--modules", type=int, default=60, help="at most so many of one package")
    args = parser.parse_args()
    import order_table

    total: dict[str, int] = {}
    done = 0
    for row, members in order_table.archives(args.archives):
        if done == args.packages:
            break
        if not order_table.is_pure_python(members):
            continue
        with tempfile.TemporaryDirectory() as folder:
            top = Path(folder).resolve()
            for path, text in members:
                target = top / path
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_text(text, encoding="utf-8")
            command = [args.python, __file__, "--worker", top, str(args.modules)]
            reply = subprocess.run(command, capture_output=True, text=True, check=False)
            if reply.returncode:
                print(f"{row['name']}: {reply.stderr[-300:]}", file=sys.stderr)
                continue
            ran = json.loads(reply.stdout.strip().splitlines()[-1])
            counts = compare(top, ran)
        if not counts["edges"]:
            continue
        done += 1
        total = {key: total.get(key, 0) + count for key, count in counts.items()}
        print(line(f"{row['name']} {row['version']}", counts, ran), flush=True)
    print(line(f"all {done}", total, {"modules": 0, "failed": 0}))


def line(name: str, counts: dict[str, int], ran: dict[str, Any]) -> str:
    def share(part: str, whole: str) -> str:
        return f"{100 * counts[part] / max(counts[whole], 1):6.2f} % of {counts[whole]:5d}"

    return (
        f"{name[:34]:34s} found {share('found', 'edges')}  loads {share('loads_found', 'loads')}"
        f"  confirmed {share('confirmed', 'given')}  ({ran['failed']} of {ran['modules']} failed)"
    )


if __name__ == "__main__":
    if sys.argv[1:2] == ["--worker"]:
        import_all(Path(sys.argv[2]), int(sys.argv[3]))
    else:
        main()
