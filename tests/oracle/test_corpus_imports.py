"""Python's imports against Python's own readers of them: `ast` and `modulefinder`.

The packages are those of the standard library, which are wherever Python is: each is copied to
where it is a repository of its own. bench/import_agreement.py really imports packages.
"""

import ast
import random
import shutil
import sysconfig
import warnings
from modulefinder import ModuleFinder
from pathlib import Path

import pytest

from midfill.corpus.dependencies import File, depends_on, order
from midfill.corpus.dependencies.python import imports
from property.test_corpus_order import acyclic_edges, algorithm_1

LIBRARY = Path(sysconfig.get_path("stdlib"))
PACKAGES = (
    "asyncio collections concurrent ctypes curses dbm email encodings html http importlib json "
    "logging multiprocessing re sqlite3 tomllib unittest urllib wsgiref xml xmlrpc zoneinfo"
).split()


def texts(folder: Path) -> dict[str, str]:
    found: dict[str, str] = {}
    for path in sorted(folder.rglob("*.py")):
        raw = path.read_bytes()
        try:
            found[path.relative_to(folder).as_posix()] = raw.decode("utf-8")
        except UnicodeDecodeError:
            continue
    return found


def statements(text: str) -> set[tuple[str, int, tuple[str, ...] | None]] | None:
    """What `ast` finds; None for a text that does not compile."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            tree = ast.parse(text)
    except (SyntaxError, ValueError):
        return None
    found: set[tuple[str, int, tuple[str, ...] | None]] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {(alias.name, 0, None) for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names = tuple(alias.name for alias in node.names)
            found.add((node.module or "", node.level, names))
    return found


def test_statements_are_those_of_ast():
    """Every thirtieth file of the standard library, and those about imports and strings."""
    paths = [path for path in sorted(LIBRARY.rglob("*.py")) if "site-packages" not in path.parts]
    chosen = random.Random(5).sample(paths, len(paths) // 30)
    chosen += [path for path in paths if "test_import" in path.parts or "string" in path.name]
    compared = 0
    for path in chosen:
        try:
            text = path.read_bytes().decode("utf-8")
        except UnicodeDecodeError:
            continue
        expected = statements(text)
        if expected is None:
            continue
        found = {(one.module, one.level, one.names) for one in imports(text)}
        assert expected <= found, path
        # `import_module("literal")` is no statement
        extra = {one for one in found - expected if one[2] is not None}
        assert not extra, path
        compared += len(expected)
    assert compared > 500


class Finder(ModuleFinder):
    """Notes which file made modulefinder reach which."""

    def __init__(self, root: Path) -> None:
        super().__init__([str(root)])
        self.root = root
        self.users: list[str | None] = [None]
        self.edges: set[tuple[str, str]] = set()

    def import_hook(self, name, caller=None, fromlist=None, level=-1):
        self.users.append(getattr(caller, "__file__", None))
        try:
            return super().import_hook(name, caller, fromlist, level)
        finally:
            self.users.pop()

    def import_module(self, partname, fqname, parent):
        found = super().import_module(partname, fqname, parent)
        user, file = self.users[-1], getattr(found, "__file__", None)
        if user is not None and file is not None and user != file:
            below = [Path(one).relative_to(self.root).as_posix() for one in (user, file)]
            self.edges.add((below[0], below[1]))
        return found


def encloses(package: str, user: str) -> bool:
    return package.endswith("/__init__.py") and user.startswith(package[: -len("__init__.py")])


@pytest.fixture(scope="module", params=PACKAGES)
def repository(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("repository")
    ignored = shutil.ignore_patterns("test", "tests", "__pycache__", "*.so", "idle_test")
    shutil.copytree(LIBRARY / request.param, root / request.param, ignore=ignored)
    return root


def test_edges_hold_those_of_modulefinder(repository: Path):
    """A package that a file lies in runs before the file: modulefinder names it all the same."""
    sources = texts(repository)
    found = depends_on([File(path, text, "Python") for path, text in sources.items()])
    finder = Finder(repository)
    for path in sources:
        finder.import_hook(path.removesuffix(".py").removesuffix("/__init__").replace("/", "."))
    expected = {(user, one) for user, one in finder.edges if not encloses(one, user)}
    ours = {(user, one) for user, those in found.items() for one in those}
    assert expected <= ours


def test_orders_of_real_packages(repository: Path):
    sources = texts(repository)
    edges = depends_on([File(path, text, "Python") for path, text in sources.items()])
    assert order(edges, "paper") == algorithm_1(sorted(edges), edges)
    place = {path: n for part in order(edges, "depth_first") for n, path in enumerate(part)}
    assert not [edge for edge in acyclic_edges(edges) if place[edge[1]] > place[edge[0]]]
