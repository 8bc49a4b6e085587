"""Python's imports: what is read in a text, and to which files it leads."""

import pytest

from midfill.corpus.dependencies import File, depends_on
from midfill.corpus.dependencies.python import STANDARD, imports


def needs(texts: dict[str, str]) -> dict[str, set[str]]:
    """What each file with an import needs, of a repository of these texts."""
    languages = {"py": "Python", "pyi": "Python", "pyx": "Cython", "pxd": "Cython"}
    files = [
        File(path, text, languages.get(path.rpartition(".")[2])) for path, text in texts.items()
    ]
    return {path: set(found) for path, found in depends_on(files).items() if found}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("import a", [("a", 0, None)]),
        ("import a.b.c as d, e", [("a.b.c", 0, None), ("e", 0, None)]),
        ("from a import b", [("a", 0, ("b",))]),
        ("from a import (b as c,  # why\n    d,\n)\n", [("a", 0, ("b", "d"))]),
        ("from a import(b,c)", [("a", 0, ("b", "c"))]),
        ("from a import b, \\\n    c\n", [("a", 0, ("b", "c"))]),
        ("from a \\\n    import b\n", [("a", 0, ("b",))]),
        ("from a \\\r\n    import b\r\n", [("a", 0, ("b",))]),
        ("import \\\n  a", [("a", 0, None)]),
        ("from . import x", [("", 1, ("x",))]),
        ("from .import x", [("", 1, ("x",))]),
        ("from ... a import x", [("a", 3, ("x",))]),
        ("from ..a.b import *", [("a.b", 2, ("*",))]),
        ("def f():\n\timport a\n", [("a", 0, None)]),
        ("try: import a\nexcept ImportError: import b\n", [("a", 0, None), ("b", 0, None)]),
        ("if TYPE_CHECKING: from a import b", [("a", 0, ("b",))]),
        ("x = 1; import a; y = 2", [("a", 0, None)]),
        ("import a; import b", [("a", 0, None), ("b", 0, None)]),
        ("from a import b; import c", [("a", 0, ("b",)), ("c", 0, None)]),
        ("from a import b; from c import d", [("a", 0, ("b",)), ("c", 0, ("d",))]),
        ("import a # b, c", [("a", 0, None)]),
        ("import a\r\nimport b\r\n", [("a", 0, None), ("b", 0, None)]),
        ("import_module('a.b')", [("a.b", 0, None)]),
        ("x = importlib.import_module( '.b', __package__)", [("b", 1, None)]),
        ('__import__("a")', [("a", 0, None)]),
        ("cimport a", [("a", 0, None)]),
        ("from a cimport b", [("a", 0, ("b",))]),
        ("import é.名", [("é.名", 0, None)]),
        # what is none
        ("importlib = 1\nimportant a\nimport_a b\n", []),
        ("# import a\n  # from a import b\n", []),
        ("'''\nimport a\n'''\n", []),
        ('x = r"""\nfrom a import b\n"""\n', []),
        ("x = \"a ''' b\"\nimport a\n", [("a", 0, None)]),
        ("# it's '''\nimport a\n# '''\n", [("a", 0, None)]),
        ("x = '\\'' + \"'''\"\nimport a\n", [("a", 0, None)]),
        ("'''a\\'''\nimport a\n'''\nimport b\n", [("b", 0, None)]),
        ('""\nimport a\n', [("a", 0, None)]),
        ('""""quoted" text"""\nimport a\n', [("a", 0, None)]),
        ("print('x: import a')", []),
        ("x = 'import_module(\"a\")'", []),
        ("# import_module('a')", []),
        ("import_module(name)", []),
        ("from a import (", []),
        ("from import b", []),
        ("import", []),
        ("'''never closed\nimport a\n", []),
    ],
)
def test_statements(text, expected):
    assert [(one.module, one.level, one.names) for one in imports(text)] == expected


SRC = {
    "pyproject.toml": "",
    "src/pkg/__init__.py": "from .core import run\n",
    "src/pkg/core.py": "from . import util, VERSION\nimport types\n",
    "src/pkg/util.py": "",
    "src/pkg/types.py": "",
    "src/pkg/sub/__init__.py": "",
    "src/pkg/sub/deep.py": "from ..util import f\nfrom ... import nothing\nfrom .. import core\n",
    "tests/test_core.py": "import pkg.sub.deep\nfrom pkg import core, run\nimport helper\n",
    "tests/helper.py": "",
}


def test_src_layout_relative_imports_and_the_packages_on_the_way():
    assert needs(SRC) == {
        "src/pkg/__init__.py": {"src/pkg/core.py"},
        "src/pkg/core.py": {"src/pkg/util.py", "src/pkg/__init__.py"},  # VERSION is no module
        "src/pkg/sub/deep.py": {"src/pkg/util.py", "src/pkg/core.py"},
        "tests/test_core.py": {
            "src/pkg/__init__.py",
            "src/pkg/sub/__init__.py",
            "src/pkg/sub/deep.py",
            "src/pkg/core.py",
            "tests/helper.py",
        },
    }


def test_a_standard_name_never_means_a_file_deep_in_the_tree():
    assert "src/pkg/types.py" not in needs(SRC)["src/pkg/core.py"]
    assert needs({"pkg/logging.py": "", "pkg/a.py": "import logging"}) == {}
    assert needs({"pkg/__init__.py": "", "pkg/json.py": "", "pkg/a.py": "import json"}) == {}
    assert needs({"pkg/__init__.py": "", "pkg/json.py": "", "pkg/a.py": "from . import json"}) == {
        "pkg/a.py": {"pkg/json.py"}
    }
    own = {"asyncio/__init__.py": "", "asyncio/a.py": "from asyncio import b", "asyncio/b.py": ""}
    assert needs(own) == {"asyncio/a.py": {"asyncio/b.py"}}


def test_the_standard_names_hold_those_of_this_interpreter():
    import sys

    here = {name for name in sys.stdlib_module_names if not name.startswith("_")}
    assert len(here - STANDARD) < 15, sorted(here - STANDARD)
    assert not STANDARD & {"test", "tests", "utils", "config", "models", "parser", "commands"}


def test_duplicate_names_belong_to_whom_they_are_nearest():
    texts = {
        "a/util.py": "",
        "a/main.py": "import util",
        "b/util.py": "",
        "b/main.py": "import util",
        "c/main.py": "import util",
    }
    assert needs(texts) == {"a/main.py": {"a/util.py"}, "b/main.py": {"b/util.py"}}


def test_a_package_wins_over_a_module_and_a_source_over_its_stub():
    texts = {
        "p/__init__.py": "",
        "p.py": "",
        "q.py": "",
        "q.pyi": "",
        "r.pyi": "",
        "a.py": "import p, q, r",
        "a.pyi": "import q",
    }
    assert needs(texts) == {
        "a.py": {"p/__init__.py", "q.py", "r.pyi"},
        "a.pyi": {"q.pyi"},
    }


def test_namespace_packages():
    texts = {
        "one/setup.py": "",
        "one/src/ns/one/__init__.py": "from ns.two import x\nimport ns.two.y\n",
        "two/setup.py": "",
        "two/src/ns/two/__init__.py": "",
        "two/src/ns/two/y.py": "import ns.three\n",
        "flat/space/m.py": "from flat.space import n\nimport flat.space.n\n",
        "flat/space/n.py": "",
    }
    two = {"two/src/ns/two/__init__.py", "two/src/ns/two/y.py"}
    assert needs(texts) == {
        "one/src/ns/one/__init__.py": two,
        "flat/space/m.py": {"flat/space/n.py"},
    }


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("setup.py", "setup(package_dir={'': 'code'})"),
        ("setup.py", "setup(package_dir={\n  'p': 'code/p',\n})"),
        ("setup.cfg", "[options]\npackage_dir =\n    = code\n"),
        ("setup.cfg", "[options.packages.find]\nwhere = code\n"),
        ("pyproject.toml", '[tool.setuptools]\npackage-dir = {"" = "code"}\n'),
        ("pyproject.toml", '[tool.setuptools.packages.find]\nwhere = ["code"]\n'),
        ("pyproject.toml", '[tool.poetry]\npackages = [{include = "p", from = "code"}]\n'),
        ("pyproject.toml", '[tool.hatch.build.targets.wheel]\npackages = ["code/p"]\n'),
        ("pyproject.toml", '[tool.pytest.ini_options]\npythonpath = "code"\n'),
    ],
)
def test_layouts_that_a_project_declares(name, text):
    texts = {name: text, "code/p/a.py": "", "samples/x.py": "import p.a"}
    assert needs(texts) == {"samples/x.py": {"code/p/a.py"}}
    assert needs(texts | {name: ""}) == {}


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("setup.cfg", "no section\n[options"),
        ("pyproject.toml", "= = ="),
        ("pyproject.toml", "x = " + "[" * 100_000),
        ("pyproject.toml", "tool = 3"),
        ("pyproject.toml", "[tool.setuptools]\npackage-dir = {p = 3, q = '/etc', r = '../..'}"),
        ("setup.py", "package_dir={" * 1000),
    ],
)
def test_damaged_declarations_are_ignored(name, text):
    texts = {name: text, "p/a.py": "", "b.py": "import p.a"}
    assert needs(texts)["b.py"] == {"p/a.py"}


def test_a_package_of_the_whole_repository_and_imports_above_it():
    texts = {"__init__.py": "from . import a\n", "a.py": "from .. import b\nfrom . import c\n"}
    assert needs(texts) == {"__init__.py": {"a.py"}, "a.py": {"__init__.py"}}


def test_scripts_without_a_suffix_import_and_are_not_imported():
    files = [
        File("bin/tool", "import pkg.run\nimport tool\n", "Python"),
        File("pkg/__init__.py", "", "Python"),
        File("pkg/run.py", "from pkg.__main__ import main\nimport pkg\n", "Python"),
        File("pkg/__main__.py", "", "Python"),
    ]
    assert depends_on(files) == {
        "bin/tool": ("pkg/__init__.py", "pkg/run.py"),
        "pkg/__init__.py": (),
        "pkg/__main__.py": (),
        "pkg/run.py": ("pkg/__init__.py", "pkg/__main__.py"),
    }


def test_a_missing_module_still_needs_the_packages_on_the_way():
    texts = {
        "p/__init__.py": "",
        "p/q.py": "",
        "a.py": "import p.generated.x\nfrom p.no import q\n",
    }
    assert needs(texts) == {"a.py": {"p/__init__.py"}}


def test_cython_takes_the_declarations_of_its_own_and_of_others():
    texts = {
        "p/__init__.py": "",
        "p/a.pyx": "from p cimport b\ncimport p.c\n",
        "p/a.pxd": "",
        "p/b.pxd": "",
        "p/b.pyx": "",
        "p/c.pyx": "",
        "p/use.py": "from p.c import f\n",
    }
    assert needs(texts) == {
        "p/a.pyx": {"p/a.pxd", "p/b.pxd", "p/c.pyx"},
        "p/b.pyx": {"p/b.pxd"},
        "p/use.py": {"p/c.pyx"},
    }


def test_what_a_package_imports_in_turn_is_its_own_edge():
    texts = {
        "p/__init__.py": "from .core import Thing\n",
        "p/core.py": "",
        "use.py": "from p import Thing\n",
    }
    assert needs(texts) == {"p/__init__.py": {"p/core.py"}, "use.py": {"p/__init__.py"}}


@pytest.mark.parametrize(
    "unit",
    [
        "import (((",
        "import (((\n",
        "from a import (",
        "from a import (\n",
        "from a import (#\n",
        "from a import b",
        "import a,",
        "import \\\n",
        "\\\nimport ",
        "; import ",
        "import_module('a');",
        "import_module(",
        '"""',
        '\'"""',
        '\\"',
        "\\\"\"\"\n'''",
        "from ",
        "from . . ",
        "\0import a\n",
    ],
)
def test_hostile_texts_end(unit):
    """Going back over a megabyte at each of its places would take longer than a test may."""
    imports(unit * (1_000_000 // len(unit)) + "\nimport a\n")


def test_many_files_of_one_name():
    texts = {f"d{number % 300}/e{number}/util.py": "import util, x\n" for number in range(5_000)}
    assert needs(texts) == {}
