"""What the log of a test run says, as SWE-bench reads it. Source: its repository, 7a21e05.

Guards of P18: a log without results and without a sign that the suite ran says nothing; one that
reports no failure is not believed where the tests ended with another status than 0; faults of the
machine are told apart from those of the patch.
"""

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from midfill.errors import ConfigError


@dataclass(frozen=True, slots=True, kw_only=True)
class Grade:
    """What the log of a test run says."""

    found: bool  # there are results that can be believed
    resolved: bool
    fixed: float  # share of FAIL_TO_PASS that passes
    kept: float  # share of PASS_TO_PASS that still passes
    fault: tuple[str, str] | None  # a fault of the machine that the log shows, and its tier
    detail: str


# Signs that a suite ran although its log names no test. Every number is at least one: a runner
# that lost its browser at once still says "Executed 0 of 0".
_RAN = re.compile(
    r"Executed [1-9]\d* of \d+|TOTAL: [1-9]\d* (?:SUCCESS|FAILED)|[1-9]\d* passing"
    r"|Tests:\s+[1-9]\d*|Test Suites:\s+(?:\d+ \w+, )*[1-9]\d* total|^# tests [1-9]\d*"
    r"|[1-9]\d* specs?, \d+ failures?|': ok$",
    re.MULTILINE,
)
_FAULTS = tuple(
    (reason, tier, re.compile(pattern, re.MULTILINE))
    for reason, tier, pattern in (
        ("browser", "environment", "Failed to launch|Failed to connect to the bus"),
        (
            "display",
            "environment",
            "[Cc]annot open display|Missing X server|unable to open X display",
        ),
        ("memory", "environment", "Cannot allocate memory|OutOfMemoryError|^Killed$"),
        (
            "container",
            "environment",
            "Error response from daemon|Cannot connect to the Docker daemon",
        ),
        ("network", "environment", "Could not resolve host|Temporary failure in name resolution"),
        ("module", "ambiguous", "Cannot find module|MODULE_NOT_FOUND|ModuleNotFoundError"),
        ("no tests", "ambiguous", "no tests ran|collected 0 items"),
        ("time", "ambiguous", r"Timeout error: \d+ seconds exceeded"),
    )
)


def grade_log(
    log: str,
    exit_status: int | None,
    *,
    parser: str,
    fail_to_pass: Iterable[str],
    pass_to_pass: Iterable[str],
    fail_only: bool = False,
) -> Grade:
    """What the log says of the tests named, and whether it can be believed."""
    results = PARSERS[parser](log)
    bad = _unbelievable(results, log, exit_status)
    if bad:
        fault = next(((why, tier) for why, tier, seen in _FAULTS if seen.search(log)), None)
        detail = bad if fault is None else f"{bad} ({fault[1]}: {fault[0]})"
        return Grade(found=False, resolved=False, fixed=0.0, kept=0.0, fault=fault, detail=detail)
    wanted, old = tuple(fail_to_pass), tuple(pass_to_pass)
    if fail_only:
        bad_fixed = [name for name in wanted if results.get(name) == "FAILED"]
        bad_kept = [name for name in old if results.get(name) == "FAILED"]
    else:
        bad_fixed = [name for name in wanted if not _has_passed(name, results)]
        bad_kept = [name for name in old if _has_failed(name, results)]
    return Grade(
        found=True,
        resolved=not bad_fixed and not bad_kept,
        fixed=1 - len(bad_fixed) / len(wanted) if wanted else 1.0,
        kept=1 - len(bad_kept) / len(old) if old else 1.0,
        fault=None,
        detail="; ".join(f"{name} fails" for name in (bad_fixed + bad_kept)[:5]),
    )


def _unbelievable(results: Mapping[str, str], log: str, exit_status: int | None) -> str:
    """Why a log is no evidence; empty where it is."""
    if not results and not _RAN.search(log):
        return "nothing says that the tests ran"
    failures = {"FAILED", "ERROR"} & set(results.values())
    if results and exit_status not in (None, 0) and not failures:
        return f"the tests ended with status {exit_status}, and the log tells of no failure"
    return ""


def _found(name: str, results: Mapping[str, str]) -> str | None:
    """The result of a test; of a name cut within its parameters, what all that begin so agree on."""
    if name in results:
        return results[name]
    if name.count("[") <= name.count("]"):
        return None
    seen = [result for other, result in results.items() if other.startswith(name)]
    passing = {result in ("PASSED", "XFAIL") for result in seen}
    return seen[0] if len(passing) == 1 else None


def _has_passed(name: str, results: Mapping[str, str]) -> bool:
    return _found(name, results) in ("PASSED", "XFAIL")


def _has_failed(name: str, results: Mapping[str, str]) -> bool:
    """A test that passed before and is now skipped has not failed."""
    return _found(name, results) in (None, "FAILED", "ERROR")


_STATUSES = ("FAILED", "PASSED", "SKIPPED", "ERROR", "XFAIL")
Parser = Callable[[str], dict[str, str]]


def _pytest_words(line: str) -> tuple[str, str] | None:
    """(status, test) of a line of pytest's short summary."""
    if not line.startswith(_STATUSES):
        return None
    if line.startswith("FAILED"):
        line = line.replace(" - ", " ")
    words = line.split()
    if len(words) < 2 or _is_count(words[0], words[1]):
        return None
    return words[0], words[1]


def _is_count(status: str, name: str) -> bool:
    """`SKIPPED [3] file.py:4: why` tells of a number, not of a test."""
    return status == "SKIPPED" and re.fullmatch(r"\[\d+\]\n?", name) is not None


def _parse_pytest(log: str) -> dict[str, str]:
    found = (_pytest_words(line) for line in log.split("\n"))
    return {name: status for status, name in filter(None, found)}


def _parse_pytest_options(log: str) -> dict[str, str]:
    """As pytest's, with paths in parameters reduced to their last part."""
    return {_short_option(name): status for name, status in _parse_pytest_pairs(log)}


def _parse_pytest_pairs(log: str) -> list[tuple[str, str]]:
    found = (_pytest_words(line) for line in log.split("\n"))
    return [(name, status) for status, name in filter(None, found)]


def _short_option(name: str) -> str:
    split = re.search(r"(.*?)\[(.*)\]", name)
    if split is None:
        return name
    main, option = split.groups()
    if option.startswith("/") and not option.startswith("//") and "*" not in option:
        option = "/" + option.split("/")[-1]
    return f"{main}[{option}]"


_ESCAPES = {code: None for code in range(1, 32)}


def _parse_pytest_v2(log: str) -> dict[str, str]:
    """Later and older pytest: colours are dropped, the status may stand at the end of the line."""
    results = {}
    for raw in log.split("\n"):
        line = re.sub(r"\[(\d+)m", "", raw).translate(_ESCAPES)
        if line.startswith(_STATUSES):
            if line.startswith("FAILED"):
                line = line.split(" - ", 1)[0]
            words = line.split()
            if len(words) >= 2 and not _is_count(words[0], words[1]):
                results[" ".join(words[1:])] = words[0]
        elif line.endswith(_STATUSES):
            words = line.split()
            if len(words) >= 2:
                results[" ".join(words[:-1])] = words[-1]
    return results


def _parse_matplotlib(log: str) -> dict[str, str]:
    return _parse_pytest(log.replace("MouseButton.LEFT", "1").replace("MouseButton.RIGHT", "3"))


def _parse_seaborn(log: str) -> dict[str, str]:
    results = {}
    for line in log.split("\n"):
        words = line.split()
        if len(words) < 2:
            continue
        if line.startswith("FAILED"):
            results[words[1]] = "FAILED"
        elif " PASSED " in line:
            if words[1] == "PASSED":
                results[words[0]] = "PASSED"
        elif line.startswith("PASSED"):
            results[words[1]] = "PASSED"
    return results


def _parse_sympy(log: str) -> dict[str, str]:
    results = {
        f"{file}.py:{test}": "FAILED"
        for _, file, test, _ in re.findall(r"(_*) (.*)\.py:(.*) (_*)", log)
    }
    for line in (raw.strip() for raw in log.split("\n")):
        for end, status in ((" E", "ERROR"), (" F", "FAILED"), (" ok", "PASSED")):
            if line.startswith("test_") and line.endswith(end):
                results[line.split()[0]] = status
    return results


_DJANGO_ENDS = (
    (" ... ok", "PASSED"),
    (" ... OK", "PASSED"),
    (" ...  OK", "PASSED"),
)
_DJANGO_BROKEN = tuple(  # a message of Django's own stands between the test and its "ok"
    re.compile(pattern, re.MULTILINE)
    for pattern in (
        r"^(.*?)\s\.\.\.\sTesting\ against\ Django\ installed\ in\ ((?s:.*?))\ silenced\)\.\nok$",
        r"^(.*?)\s\.\.\.\sInternal\ Server\ Error:\ \/(.*)\/\nok$",
        r"^(.*?)\s\.\.\.\sSystem check identified no issues \(0 silenced\)\nok$",
    )
)


def _parse_django(log: str) -> dict[str, str]:
    results: dict[str, str] = {}
    last = None
    for line in (raw.strip() for raw in log.split("\n")):
        if "--version is equivalent to version" in line:
            results["--version is equivalent to version"] = "PASSED"
        if " ... " in line:
            last = line.split(" ... ")[0]
        results |= _django_line(line)
        if line.startswith("ok") and last is not None:
            results[last] = "PASSED"
    for pattern in _DJANGO_BROKEN:
        results |= {found[1]: "PASSED" for found in pattern.finditer(log)}
    return results


def _django_line(line: str) -> dict[str, str]:
    results = {}
    end = next((end for end, _ in _DJANGO_ENDS if line.endswith(end)), None)
    if end is not None:
        if line.startswith("Applying sites.0002_alter_domain_unique...test_no_migrations"):
            line = line.split("...", 1)[-1].strip()
        results[line.rsplit(end, 1)[0]] = "PASSED"
    if " ... skipped" in line:
        results[line.split(" ... skipped")[0]] = "SKIPPED"
    for end, start, status in ((" ... FAIL", "FAIL:", "FAILED"), (" ... ERROR", "ERROR:", "ERROR")):
        if line.endswith(end):
            results[line.split(end)[0]] = status
        if line.startswith(start) and len(line.split()) > 1:
            results[line.split()[1]] = status
    return results


PARSERS: Mapping[str, Parser] = {
    "pytest": _parse_pytest,
    "pytest_options": _parse_pytest_options,
    "pytest_v2": _parse_pytest_v2,
    "django": _parse_django,
    "matplotlib": _parse_matplotlib,
    "seaborn": _parse_seaborn,
    "sympy": _parse_sympy,
}
_PARSER_OF = {  # the harness's names of parsers and of repositories; all others: pytest
    **dict.fromkeys("astropy scikit sphinx scikit-learn".split(), "pytest_v2"),
    **dict.fromkeys("pydicom requests pylint".split(), "pytest_options"),
    **dict.fromkeys(
        "astroid flask marshmallow pvlib pvlib-python pyvista sqlfluff xarray pytest".split(),
        "pytest",
    ),
    **{name: name for name in PARSERS},
}


def parser_of(row: Mapping[str, Any]) -> str:
    """What reads the logs of an instance. Raises ConfigError for a form that midfill cannot read."""
    named = str(row.get("log_parser") or "")
    if not named:
        return _PARSER_OF.get(str(row["repo"]).rpartition("/")[2], "pytest")
    parser = _PARSER_OF.get(named.removeprefix("parse_log_"))
    if parser is None:
        raise ConfigError(
            f"logs of {row['instance_id']} cannot be read",
            why=f"its log parser is {named!r}; midfill reads those of Python's test runners",
            fix="leave the instance out",
        )
    return parser
