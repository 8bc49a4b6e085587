"""Tries attacks, and prints what came of them as JSON: one object, by column and row.

Columns are levels, and `alone` for no protection at all. A program of its own, so that it can be
started as another user and with a marker in its environment.
"""

import argparse
import json
import sys

from attacks.host import Host
from attacks.registry import ATTACKS
from attacks.running import Result, alone, protected
from midfill.errors import SandboxError
from midfill.sandbox import InfraError, Sandbox


def main() -> None:
    """Read the command line, attack, report."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--columns", default="alone,A,B,C-strict,C")
    parser.add_argument("--rows", default="all", help="all, or numbers")
    asked = parser.parse_args()
    numbers = asked.rows.split(",")
    rows = [a for a in ATTACKS if asked.rows == "all" or str(a.number) in numbers]
    told: dict[str, dict] = {}
    with Host() as host:
        for column in asked.columns.split(","):
            told[column] = _column(column, rows, host)
    json.dump(told, sys.stdout)


def _column(column: str, rows: list, host: Host) -> dict:
    if column == "alone":
        return {row.number: alone(row, host).as_json() for row in rows}
    try:
        with Sandbox(1, level=column) as sandbox:  # type: ignore[arg-type]
            return {row.number: _one(row, host, sandbox).as_json() for row in rows}
    except SandboxError as error:
        return {"unavailable": error.why}


def _one(row, host: Host, sandbox: Sandbox) -> Result:
    try:
        return protected(row, host, sandbox)
    except InfraError as fault:  # the attack has broken the sandbox: no verdict, so not stopped
        host.end_strangers()
        return Result(f"it broke the sandbox: {fault}")
    except Exception as error:
        raise RuntimeError(f"row {row.number} at level {sandbox.level}") from error


if __name__ == "__main__":
    main()
