"""The languages that the sandbox judges beside sealed Python, and whether this machine has them.

Names are exact: no language is found by a part of its name. `scripts/install-toolchains.sh` installs
what a language needs; a language that is missing is a reason to skip, never a failed program.
"""

import functools
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from midfill.errors import SandboxError
from midfill.sandbox import foreign_layout as layout
from midfill.sandbox.foreign_layout import JAVATUPLES, SEARCH, Layout, Source, typescript_folder

_NOTHING, _ANYTHING = re.compile(r"(?!)"), re.compile(r"")


def _mark(pattern: str) -> re.Pattern[str]:
    return re.compile(pattern, re.MULTILINE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Language:
    """How programs of one language are compiled and run, and how their ends are to be read."""

    name: str
    aliases: tuple[str, ...] = ()
    file: str  # what the program is called
    least: str = ""  # a program that does nothing, for a compiler to show that it works
    needs: tuple[str, ...]  # commands, and files by their absolute paths
    version: tuple[str, ...] = ()  # the command that prints it
    lay_out: Callable[[Source], Layout]
    wrong: re.Pattern[str] = _NOTHING  # in what is printed, where the end is bad: a test failed
    wrong_status: int | None = None  # the exit status by which tests say so, saying nothing else
    crashed: re.Pattern[str] = _NOTHING  # the same was no failed test, whatever else is printed
    failed: re.Pattern[str] = _NOTHING  # on stderr: a test failed, though the exit status may be 0
    evidence: re.Pattern[str] = _ANYTHING  # on stderr: the tests ran; without it there is no pass
    unreadable: re.Pattern[str] = _NOTHING  # an interpreter could not make sense of the text
    address_space: bool = True  # whether it lives with a limit of addresses (RLIMIT_AS)
    runtime_mb: int = 0  # what the runtime itself takes, beside the program's memory


_SYNTAX = _mark(r"^(SyntaxError|IndentationError|TabError)\b")
_NODE_ASSERTION = _mark(r"^(AssertionError|.*\bERR_ASSERTION\b).*")

LANGUAGES = {
    language.name: language
    for language in (
        Language(
            name="python",
            aliases=("py", "python3"),
            file="program.py",
            needs=(sys.executable,),
            version=(sys.executable, "--version"),
            lay_out=layout.lay_out_python,
            wrong=_mark(r"^AssertionError\b"),
            unreadable=_SYNTAX,
        ),
        Language(
            name="cpp",
            aliases=("c++", "cc", "cxx"),
            file="program.cpp",
            least="int main() {}\n",
            needs=("g++", "gcc", "/usr/include/openssl/md5.h"),
            version=("g++", "--version"),
            lay_out=layout.lay_out_cpp,
            wrong=_mark(r"Assertion `.*' failed\."),
        ),
        Language(
            name="java",
            file="Problem.java",
            least="class Problem { public static void main(String[] words) {} }\n",
            needs=("javac", "java", JAVATUPLES),
            version=("java", "-version"),
            lay_out=layout.lay_out_java,
            wrong=_mark(r"^Exception in thread .*\bjava\.lang\.AssertionError"),
            address_space=False,
            runtime_mb=256,
        ),
        Language(
            name="php",
            file="program.php",
            needs=("php",),
            version=("php", "--version"),
            lay_out=layout.lay_out_php,
            wrong=_mark(r"Uncaught (Exception: Test failed!|AssertionError)"),
            unreadable=_mark(r"^(PHP )?(Parse error|Fatal error: +(?!Uncaught|Allowed|Maximum))"),
        ),
        Language(
            name="typescript",
            aliases=("ts",),
            file="program.ts",
            needs=("node", "typescript"),
            version=("node", "--version"),
            lay_out=layout.lay_out_typescript,
            wrong=_NODE_ASSERTION,
            address_space=False,
            runtime_mb=256,
        ),
        Language(
            name="csharp",
            aliases=("cs", "c#"),
            file="program.cs",
            least="class Problem { static void Main() {} }\n",
            needs=("mcs", "mono", "/usr/lib/mono/4.5/System.Core.dll"),
            version=("mono", "--version"),
            lay_out=layout.lay_out_csharp,
            wrong=_mark(r"^Fail:"),
            failed=_mark(r"^\s*Fail:"),
            address_space=False,
            runtime_mb=128,
        ),
        Language(
            name="bash",
            aliases=("sh", "shell"),
            file="program.sh",
            needs=("bash",),
            version=("bash", "--version"),
            lay_out=layout.lay_out_bash,
            wrong_status=1,
            unreadable=_mark(r"^program\.sh: line \d+: (syntax error|unexpected )"),
        ),
        Language(
            name="javascript",
            aliases=("js", "node", "nodejs"),
            file="program.js",
            needs=("node",),
            version=("node", "--version"),
            lay_out=layout.lay_out_javascript,
            wrong=_NODE_ASSERTION,
            unreadable=_SYNTAX,
            address_space=False,
            runtime_mb=256,
        ),
        Language(
            name="go",
            aliases=("golang", "go_test.go"),
            file="program_test.go",
            least="package main\n",
            needs=("go",),
            version=("go", "version"),
            lay_out=layout.lay_out_go,
            wrong=_mark(r"^\s*--- FAIL"),
            crashed=_mark(r"^(panic|fatal error): "),
            failed=_mark(r"no tests to run"),
            address_space=False,
            runtime_mb=64,
        ),
        Language(
            name="rust",
            aliases=("rs",),
            file="program.rs",
            least="fn main() {}\n",
            needs=("rustc", "gcc"),
            version=("rustc", "--version"),
            lay_out=layout.lay_out_rust,
            wrong=_mark(r"assertion (failed|`.*` failed)"),
        ),
        Language(
            name="r",
            file="program.R",
            needs=("Rscript",),
            version=("Rscript", "--version"),
            lay_out=layout.lay_out_r,
            wrong=_mark(r"(is|are) not (all )?TRUE"),
            failed=_mark(r"^Error( in\b| ?:).*"),  # caught by try(), which prints it and goes on
            unreadable=_mark(r"^Error: (unexpected|unmatched|invalid)"),
        ),
        Language(
            name="ruby",
            aliases=("rb",),
            file="program.rb",
            needs=("ruby",),
            version=("ruby", "--version"),
            lay_out=layout.lay_out_ruby,
            wrong=_mark(r"^Failure: "),
            unreadable=_mark(r"^program\.rb:\d+: (syntax error|.*\(SyntaxError\))"),
        ),
        Language(
            name="lua",
            file="program.lua",
            needs=("lua5.4", "/usr/share/lua/5.4/luaunit.lua"),
            version=("lua5.4", "-v"),
            lay_out=layout.lay_out_lua,
            wrong=_mark(r"\b[1-9]\d* failures?\b|assertion failed!"),
            unreadable=_mark(r"^lua5\.4: program\.lua:\d+: .* near "),
        ),
        Language(
            name="perl",
            aliases=("pl",),
            file="program.pl",
            needs=("perl", "/usr/share/perl5/Test/Deep.pm"),
            version=("perl", "--version"),
            lay_out=layout.lay_out_perl,
            wrong_status=1,
            crashed=_mark(r" at \S+ line \d+"),
            unreadable=_mark(r"due to compilation errors|^syntax error at"),
        ),
        Language(
            name="d",
            file="program.d",
            least="void main() {}\n",
            needs=("ldc2", "gcc"),
            version=("ldc2", "--version"),
            lay_out=layout.lay_out_d,
            wrong=_mark(r"Assertion failure|AssertError|unittest failure"),
            evidence=_mark(r"^[1-9]\d* modules passed unittests$"),
        ),
        Language(
            name="racket",
            aliases=("rkt",),
            file="program.rkt",
            needs=("racket", "/usr/share/racket/pkgs/rackunit-lib"),
            version=("racket", "--version"),
            lay_out=layout.lay_out_racket,
            wrong=_mark(r"^FAILURE$"),
            failed=_mark(r"^(FAILURE|ERROR)$"),
            unreadable=_mark(r"read-syntax:|unbound identifier|bad syntax"),
            address_space=False,
            runtime_mb=128,
        ),
    )
}
PAPER = ("python", "cpp", "java", "php", "typescript", "csharp", "bash", "javascript")
NO_TOOLCHAIN = ("swift", "julia", "scala")  # benchmarks have rows, Debian 12 has no usable compiler

_OPENSSL = "/etc/ssl/openssl.cnf"  # node ends where it is there and may not be read
_WARM = tuple(map(str, layout.WARM_FOLDERS))

# What toolchains read, where it is there, beside what every program may: the system's programs and
# libraries, and this Python's.
READ_ONLY_PATHS: dict[str, tuple[str, ...]] = {
    "python": (os.path.realpath(sys.executable),),
    "cpp": _WARM,
    "go": _WARM,
    "javascript": (_OPENSSL,),
    "typescript": (_OPENSSL, *_WARM),
    "java": ("/etc/java-17-openjdk", *_WARM),
    "csharp": ("/etc/mono",),
    "php": ("/etc/php",),
    "r": ("/etc/R",),
    "perl": ("/etc/perl",),
    "d": ("/etc/ldc2.conf",),
    "racket": ("/etc/racket",),
}

_NAMES = {
    name: language for language in LANGUAGES.values() for name in (language.name, *language.aliases)
}


def find_language(name: str) -> Language:
    """The language of this name or alias. Raises SandboxError."""
    try:
        return _NAMES[name.lower()]
    except KeyError:
        raise SandboxError(
            f"there is no language {name!r}",
            why="names are exact, and only languages with a toolchain in Debian 12 are run",
            fix=f"one of: {', '.join(LANGUAGES)}",
        ) from None


def available(name: str) -> str | None:
    """Why programs of this language cannot be run here, or None where they can."""
    if name.lower() in NO_TOOLCHAIN:
        return f"no toolchain: Debian 12 has none for {name}"
    language = find_language(name)
    missing = [need for need in language.needs if not _there(need)]
    if not missing:
        return None
    return (
        f"no toolchain for {language.name}: {', '.join(missing)} missing; "
        f"scripts/install-toolchains.sh {language.name} installs it"
    )


def _there(need: str) -> bool:
    if need == "typescript":
        return typescript_folder() is not None
    return Path(need).exists() if need.startswith("/") else bool(shutil.which(need, path=SEARCH))


@functools.cache
def toolchain(name: str) -> str:
    """The versions of what compiles and runs this language, in one line; empty where it is missing."""
    language = find_language(name)
    if available(name) or not language.version:
        return ""
    answer = subprocess.run(
        language.version,
        capture_output=True,
        text=True,
        timeout=60,
        env={"PATH": SEARCH, "LC_ALL": "C.UTF-8", "HOME": "/"},
        check=False,
    )
    lines = [line.strip() for line in (answer.stdout or answer.stderr).splitlines() if line.strip()]
    versions = lines[:1]
    if (folder := typescript_folder()) and language.name == "typescript":
        manifest = Path(folder, "package.json").read_text(encoding="utf-8")
        found = re.search(r'"version":\s*"([^"]+)"', manifest)
        versions.append(f"typescript {found[1] if found else '?'}")
    return ", ".join(versions)
