"""What the documentation shows is what happens.

A block fenced ```console run holds `$ command` lines, each followed by what it prints; a block
fenced ```python run is a program, and a ```text block right after it is what it prints. A line
`...` stands for any lines, `...` within a line for any text. Other blocks are not run.
"""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", ROOT / "ARCHITECTURE.md", *sorted((ROOT / "docs").glob("*.md"))]
FENCE = re.compile(r"^```(\w+) run\n(.*?)^```\n(?:\n?```text\n(.*?)^```\n)?", re.M | re.S)


def blocks() -> Iterator[tuple[str, str, str, str]]:
    """Yield (where, language, code, expected output) for each block to run."""
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        for match in FENCE.finditer(text):
            line = text.count("\n", 0, match.start()) + 1
            yield f"{page.name}:{line}", match[1], match[2], match[3] or ""


def commands(block: str) -> Iterator[tuple[str, str]]:
    """Yield (command, expected output) for each `$ ` line of a console block."""
    for part in re.split(r"^\$ ", block, flags=re.M)[1:]:
        command, _, output = part.replace("\\\n", "").partition("\n")
        yield command, output


def matches(shown: str, real: str) -> bool:
    """Whether `real` is what the page shows, `...` standing for anything."""
    clean = "\n".join(line.rstrip() for line in shown.strip().splitlines())
    pattern = re.escape(clean).replace(r"\.\.\.", ".*?")
    text = "\n".join(line.rstrip() for line in real.strip().splitlines())
    return re.fullmatch(pattern, text, flags=re.S) is not None


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """An environment whose `midfill` and `python` are those under test."""
    tools = tmp_path / "tools"
    tools.mkdir()
    for name, arguments in (
        ("midfill", "-c 'from midfill.cli import main; main()'"),
        ("python", ""),
    ):
        script = tools / name
        script.write_text(f'#!/bin/sh\nexec "{sys.executable}" {arguments} "$@"\n')
        script.chmod(0o755)
    return os.environ | {
        "PATH": f"{tools}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT / "src"),
        "COLUMNS": "100",
        "NO_COLOR": "1",
    }


@pytest.mark.parametrize("block", [pytest.param(block, id=block[0]) for block in blocks()])
def test_block(block: tuple[str, str, str, str], environment: dict[str, str], tmp_path: Path):
    _, language, code, expected = block
    if language == "python":
        steps = [(f"{sys.executable} -W error block.py", expected)]
        (tmp_path / "block.py").write_text(code, encoding="utf-8")
    else:
        assert language == "console", f"no way to run {language}"
        steps = list(commands(code))
    for command, shown in steps:
        result = subprocess.run(
            ["bash", "-c", command],
            env=environment,
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=50,
        )
        assert result.returncode == 0, f"{command}\n{result.stderr}"
        if shown.strip():
            assert matches(shown, result.stdout), f"{command}\nprinted\n{result.stdout}"


def test_help_in_docs_is_the_real_one(tmp_path: Path, environment: dict[str, str]):
    subprocess.run(
        [sys.executable, "scripts/cli_reference.py", tmp_path],
        env=environment,
        cwd=ROOT,
        check=True,
        timeout=50,
    )
    shown, real = (path.joinpath("cli.md").read_text() for path in (ROOT / "docs", tmp_path))
    if shown.partition("\n")[0] != real.partition("\n")[0]:
        pytest.skip("docs/cli.md was written with another typer, which words help differently")
    assert shown == real, "docs/cli.md is out of date: make docs"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path):
    text = re.sub(r"^```.*?^```", "", page.read_text(encoding="utf-8"), flags=re.M | re.S)
    targets = re.findall(r"\]\((?!https?:|#|mailto:)([^)#\s]+)", text)
    assert not [target for target in targets if not (page.parent / target).exists()]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_files_and_functions_named_exist(page: Path):
    """`src/midfill/a.py:name` in a page names a file, and something defined in it."""
    text = page.read_text(encoding="utf-8")
    for file, name in re.findall(r"`src/midfill/([\w/.]+\.\w+)(?::([\w.]+))?`", text):
        path = ROOT / "src" / "midfill" / file
        assert path.is_file(), f"{page.name} names {file}"
        last = name.rpartition(".")[2]
        defined = rf"(def|class) {last}\b|^\s*{last}\b.*="
        assert not name or re.search(defined, path.read_text(encoding="utf-8"), re.M), (
            f"{page.name} names {file}:{name}"
        )
