"""Rules that hold for the whole tree: layers, imports, the command line, what may be committed."""

import ast
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tomllib
from itertools import chain
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from midfill.corpus.sources.indexes import npm_registry, pip_indexes

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "src" / "midfill"
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
ENVIRONMENT = os.environ | {"PYTHONPATH": str(ROOT / "src"), "PYTHONDONTWRITEBYTECODE": "1"}

# Scratch files, and options that name a package index: pip's configuration knows it.
BANNED = r"/tmp/\w|[-_]index[-_]url\b"


def run(*command: str | Path, timeout: float = 50) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(part) for part in command],
        capture_output=True,
        text=True,
        env=ENVIRONMENT,
        cwd=ROOT,
        timeout=timeout,
    )


def python(code: str) -> subprocess.CompletedProcess[str]:
    """Run `code` in a fresh interpreter with warnings as errors."""
    return run(sys.executable, "-W", "error", "-c", code)


def committed() -> list[Path]:
    """Every file git tracks or would track."""
    listed = run("git", "ls-files", "--cached", "--others", "--exclude-standard", "-z")
    if listed.returncode:
        pytest.skip("not a git checkout")
    paths = (ROOT / name for name in listed.stdout.split("\0") if name)
    return [path for path in paths if path.is_file()]


def trees() -> dict[Path, ast.Module]:
    return {path: ast.parse(path.read_text(encoding="utf-8")) for path in PACKAGE.rglob("*.py")}


def test_layers():
    result = run(Path(sysconfig.get_path("scripts")) / "lint-imports")
    assert result.returncode == 0, result.stdout + result.stderr


def test_import_is_silent_and_opens_nothing():
    result = python(
        "import sys\n"
        "seen = []\n"
        "def hook(event, args):\n"
        "    if event.startswith('socket.') or event == 'open' and set(args[1] or '') & set('wax+'):\n"
        "        seen.append((event, args))\n"
        "sys.addaudithook(hook)\n"
        "import midfill\n"
        "assert not seen, seen\n"
        "assert 'torch' not in sys.modules"
    )
    assert (result.returncode, result.stdout, result.stderr) == (0, "", "")


def test_help_does_not_import_torch():
    result = python(
        "import sys, time\n"
        "start = time.perf_counter()\n"
        "from midfill.cli import main\n"
        "sys.argv = ['midfill', '--help']\n"
        "try:\n"
        "    main()\n"
        "except SystemExit as exit:\n"
        "    assert not exit.code, exit.code\n"
        "print(f'{time.perf_counter() - start:.3f} s', file=sys.stderr)\n"
        "heavy = {'torch', 'transformers', 'huggingface_hub', 'fastapi', 'tokenizers'}\n"
        "assert not heavy & set(sys.modules), heavy & set(sys.modules)"
    )
    assert result.returncode == 0, result.stderr
    assert "serve" in result.stdout
    print("midfill --help:", result.stderr.strip())


def test_rooms_without_torch_run_without_it():
    rooms = ["errors", "config", "recipes", "hub", "tokenizer"]
    files = chain.from_iterable(
        [PACKAGE / f"{room}.py"] if room == "errors" else (PACKAGE / room).rglob("*.py")
        for room in rooms
    )
    names = [".".join(path.relative_to(ROOT / "src").with_suffix("").parts) for path in files]
    names += ["midfill.engine.results", "midfill.model.hf_config", "midfill.model.files"]
    result = python(
        f"import importlib, sys\n"
        f"for name in {sorted(names)}:\n"
        f"    importlib.import_module(name.removesuffix('.__init__'))\n"
        f"    assert 'torch' not in sys.modules, name"
    )
    assert result.returncode == 0, result.stderr


def test_command_line_is_frozen(tmp_path: Path):
    """Verbs and flags are a promise: a change must be meant, and written down by `make docs`."""
    result = run(sys.executable, "scripts/cli_reference.py", tmp_path)
    assert result.returncode == 0, result.stderr
    frozen = Path(__file__).with_name("cli_flags.txt").read_text(encoding="utf-8").splitlines()
    assert (tmp_path / "cli_flags.txt").read_text(encoding="utf-8").splitlines() == frozen


@pytest.mark.parametrize(
    "arguments",
    [["--nope"], ["complete", "--nope"], ["convert", "a"], ["serve", "--port", "x"], ["x"]],
)
def test_wrong_usage_is_three_lines_and_exit_code_2(arguments: list[str]):
    result = python(f"import sys; sys.argv[1:] = {arguments}; from midfill.cli import main; main()")
    starts = [line.split(":")[0].strip() for line in result.stderr.splitlines()]
    assert (result.returncode, starts) == (2, ["error", "why", "fix"]), result.stderr


def test_the_extension_is_there_where_it_can_be_built():
    """Else a mistake in the C++ code would only make everything slow: pip goes on without it."""
    from midfill.kernels.cpu import level, native, why_not

    print("kernels:", level() or why_not)
    tools = [tool for tool in ("cmake", "c++", "g++", "clang++") if shutil.which(tool)]
    unwanted = os.environ.get("MIDFILL_CPU_LEVEL") == "none" or os.environ.get("MIDFILL_NO_EXT")
    headers = Path(sysconfig.get_path("include"), "Python.h").exists()
    if unwanted or "cmake" not in tools or len(tools) == 1 or not headers:
        here = ", ".join([*tools, *["Python.h"] * headers])
        pytest.skip(f"{level() or why_not}; here are {here or 'no tools'}")
    assert native is not None, (
        f"{why_not}, though {' and '.join(tools)} are here: rm -rf build && make -B install"
    )


def of_this_machine() -> list[str]:
    """Folders around the checkout, and the hosts that packages come from here: nothing to commit."""
    around = [ROOT.parent, Path.home()]
    folders = [f"{path}/" for path in around if path != Path(path.anchor)]
    hidden = [path.name for path in ROOT.parent.iterdir() if path.name.startswith(".")]
    hosts = [urlsplit(address).hostname for address in (*pip_indexes(), npm_registry())]
    domains = [".".join(host.split(".")[-2:]) for host in hosts if host and host != "localhost"]
    return [*folders, *(f"{name}/" for name in hidden if len(name) > 4), *domains]


def test_no_workplace_is_named():
    names = of_this_machine()
    assert names
    banned = re.compile(f"{BANNED}|(?<![\\w])(?:{'|'.join(map(re.escape, names))})", re.IGNORECASE)
    found = []
    for path in committed():
        try:
            lines = path.read_text(encoding="utf-8").splitlines()
        except UnicodeDecodeError:
            continue  # not text
        found += [
            f"{path.relative_to(ROOT)}:{number}: {hit[0]}"
            for number, line in enumerate(lines, 1)
            if (hit := banned.search(line))
        ]
    assert not found, "\n".join(found)


def test_no_large_file():
    large = [f"{p}: {p.stat().st_size}" for p in committed() if p.stat().st_size > 1 << 20]
    assert not [line for line in large if "/bundled/" not in line]


def test_extras_named_in_messages_exist():
    extras = set(PYPROJECT["project"]["optional-dependencies"])
    named = {
        (extra.strip(), path.name)
        for path in PACKAGE.rglob("*.py")
        for group in re.findall(r"midfill\[([\w, ]+)\]", path.read_text(encoding="utf-8"))
        for extra in group.split(",")
    }
    assert not {pair for pair in named if pair[0] not in extras}


def test_every_import_is_declared():
    project = PYPROJECT["project"]
    lists = [project["dependencies"], *project["optional-dependencies"].values()]
    declared = {
        re.split(r"[^\w-]", entry, maxsplit=1)[0].replace("-", "_").lower()
        for entry in chain.from_iterable(lists)
    }
    # fastapi is starlette with schemas; pyyaml is imported as yaml
    declared |= {"midfill", "starlette", "yaml"}
    for path, tree in trees().items():
        for node in ast.walk(tree):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom) and node.module and not node.level:
                names = [node.module]
            for top in (name.split(".")[0] for name in names):
                known = top in sys.stdlib_module_names or top in declared
                assert known, f"{path.relative_to(ROOT)}:{node.lineno} imports {top}"


def test_sizes_are_looked_at():
    """Prints the largest files and the longest functions (`pytest -s`); judges nothing."""
    functions, files = [], []
    for path, tree in trees().items():
        name = path.relative_to(PACKAGE)
        files.append((len(path.read_text(encoding="utf-8").splitlines()), str(name)))
        functions += [
            ((node.end_lineno or node.lineno) - node.lineno + 1, f"{name}:{node.name}")
            for node in ast.walk(tree)
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        ]
    for title, sizes in (("largest files", files), ("longest functions", functions)):
        print(title, *(f"{lines:5d} {name}" for lines, name in sorted(sizes)[:-6:-1]), sep="\n")
