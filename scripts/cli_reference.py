"""Write docs/cli.md and tests/unit/cli_flags.txt from the command line itself (`make docs`).

With a folder as argument, write both there instead; the tests compare them with what is committed.
"""

import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

os.environ.update(COLUMNS="80", TYPER_USE_RICH="0")  # read when typer is imported: plain help

import typer
import typer.main

from midfill.cli import app

ROOT = Path(__file__).parent.parent
HEAD = f"""\
<!-- typer {typer.__version__} -->
# Command line

What `midfill --help` and the help of each verb print. Written by `make docs`; a test compares it
with the program.
"""


def commands(command: Any, name: str = "midfill", parent: Any = None) -> Iterator[tuple[Any, Any]]:
    """Yield every visible command with its context."""
    context = typer.Context(command, info_name=name, parent=parent, **command.context_settings)
    yield command, context
    for verb, child in sorted(getattr(command, "commands", {}).items()):
        if not child.hidden:
            yield from commands(child, verb, context)


def spelling(param: Any) -> str:
    """Return how a parameter is typed: --seed, --json/--no-json, or MODEL for an argument."""
    if param.param_type_name == "argument":
        return param.name.upper()
    return "/".join([*param.opts, *param.secondary_opts])


def main() -> None:
    """Write both files."""
    reference, flags = [HEAD], []
    for command, context in commands(typer.main.get_command(app)):
        path = context.command_path
        text = "\n".join(line.rstrip() for line in command.get_help(context).strip().splitlines())
        reference.append(f"## {path}\n\n```\n$ {path} --help\n{text}\n```\n")
        flags += [path, *(f"{path} {spelling(param)}" for param in command.params)]
    for name, lines in {"docs/cli.md": reference, "tests/unit/cli_flags.txt": flags}.items():
        target = Path(sys.argv[1]) / Path(name).name if sys.argv[1:] else ROOT / name
        target.write_text("\n".join(lines).rstrip("\n") + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
