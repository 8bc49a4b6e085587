"""Programs of other languages, compiled and run in the sandbox: every way to end is told apart.

A language whose toolchain is missing is skipped, and the reason says how to install it.
"""

import gzip
import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from e2e.solutions.humaneval import ANSWERS, CLOSING, FILES
from e2e.solutions.triangle import TRIANGLES
from midfill.errors import SandboxError
from midfill.sandbox import Limits, Sandbox, Verdict, languages
from midfill.sandbox.foreign import compiles, judge_foreign, run_cases
from midfill.sandbox.foreign_layout import Layout, Source
from midfill.sandbox.languages import LANGUAGES, PAPER, available, find_language

DEFAULT = Limits()
QUICK = ("bash", "javascript", "php", "lua", "perl", "python")  # nothing to compile
SLOW = tuple(language for language in LANGUAGES if language not in QUICK)
# The benchmark's own text makes these impossible: `strlen` is PHP's already (P23), a line break stands
# unescaped in a JavaScript string, `std::nullopt` is used as a type, and Equals is called on null.
IMPOSSIBLE = {("php", 23), ("javascript", 51), ("cpp", 137), ("csharp", 12)}


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    try:
        made = Sandbox(workers=2)
    except SandboxError as error:
        pytest.skip(f"programs cannot be run here: {error.why}")
    if made.level == "C-strict":
        pytest.skip("level C-strict runs no commands")
    with made:
        yield made


def need(*languages: str) -> None:
    for language in languages:
        if reason := available(language):
            pytest.skip(reason)


def judge(sandbox: Sandbox, language: str, kind: str, limits: Limits = DEFAULT) -> Verdict:
    task = TRIANGLES[language]
    answer = getattr(task, kind)
    return judge_foreign(sandbox, task.prompt + answer, task.tests, None, language, limits)


def check_ends(sandbox: Sandbox, language: str) -> None:
    """A right and a wrong answer, an early end, a crash and a text that is no program."""
    verdicts = {
        kind: judge(sandbox, language, kind)
        for kind in ("right", "wrong", "leaves", "crashes", "broken")
    }
    statuses = {kind: verdict.status for kind, verdict in verdicts.items()}
    said = {kind: verdict.detail for kind, verdict in verdicts.items()}
    assert statuses == {
        "right": "pass",
        "wrong": "wrong",
        "leaves": "error",
        "crashes": "error",
        "broken": "error",
    }, said
    assert said["broken"].startswith("compile"), said
    assert not said["crashes"].startswith("compile"), said
    if language != "lua":  # LuaUnit catches os.exit and counts it as an error of the test
        assert "before the tests did" in said["leaves"], said
    assert not any(verdict.sealed for verdict in verdicts.values())


@pytest.mark.parametrize("language", QUICK)
def test_ends_are_told_apart(sandbox: Sandbox, language: str):
    need(language)
    check_ends(sandbox, language)


@pytest.mark.slow
@pytest.mark.parametrize("language", SLOW)
def test_ends_are_told_apart_where_a_compiler_comes_first(sandbox: Sandbox, language: str):
    need(language)
    check_ends(sandbox, language)


@pytest.mark.parametrize("language", [language for language in PAPER if language in SLOW])
def test_a_pass_and_an_early_end_in_the_papers_compiled_languages(sandbox: Sandbox, language: str):
    need(language)
    assert judge(sandbox, language, "right").passed
    early = judge(sandbox, language, "leaves")
    assert early.status == "error"
    assert "before the tests did" in early.detail


@pytest.mark.slow
@pytest.mark.parametrize("language", LANGUAGES)
def test_an_endless_loop_is_a_timeout(sandbox: Sandbox, language: str):
    need(language)
    limits = Limits(cpu_s=1, wall_s=8)
    assert judge(sandbox, language, "endless", limits).status == "timeout"


def rows_of(data: Path, language: str) -> list[dict]:
    """The rows of the multilingual HumanEval; skips the test where they are missing."""
    file = data / "benchmarks" / "humaneval-multilingual" / f"humaneval-{FILES[language]}.jsonl.gz"
    if not file.exists():
        pytest.skip(f"no {file.name} in the data folder")
    return [json.loads(line) for line in gzip.decompress(file.read_bytes()).splitlines()]


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize("language", ANSWERS)
def test_our_answers_to_humaneval_pass(sandbox: Sandbox, data: Path, language: str):
    need(language)
    row_of = {int(row["name"].split("_")[1]): row for row in rows_of(data, language)}

    def verdict(number: int) -> Verdict:
        header = "#include <openssl/md5.h>\n" if (language, number) == ("cpp", 162) else ""
        code = header + row_of[number]["prompt"] + ANSWERS[language][number]
        code += CLOSING.get(language, "")
        return judge_foreign(sandbox, code, row_of[number]["tests"], None, language, DEFAULT)

    with ThreadPoolExecutor(2) as pool:
        verdicts = dict(zip(ANSWERS[language], pool.map(verdict, ANSWERS[language]), strict=True))
    failed = {n: v.detail for n, v in verdicts.items() if not v.passed}
    assert set(failed) == {n for lang, n in IMPOSSIBLE if lang == language and n in verdicts}, (
        failed
    )
    assert len(verdicts) - len(failed) >= (10 if language in PAPER else 4)


# What stands behind the function, before the tests, and keeps them from deciding.
ESCAPES = [
    ("php", "\nreturn;"),
    ("php", "\n__halt_compiler();"),
    ("php", "\nregister_shutdown_function(fn() => exit(0)); exit(0);"),
    ("javascript", "\nreturn;"),
    ("javascript", "\nprocess.reallyExit(0);"),
    ("javascript", "\nprocess.on('exit', () => process.exitCode = 0); throw 1;"),
    ("javascript", "\nprocess.on('uncaughtException', () => {});"),
    ("javascript", "\n/*"),
    ("bash", "\n}\nexec true\nmore() {\n:"),
    ("bash", "\n}\ntrap 'exit 0' EXIT\nmore() {\n:"),
    ("bash", "\n}\nset() { :; }\ncandidate() { :; }\nreturn 0 2>&-\nexit\nmore() {\n:"),
    ("perl", "\n__END__\n"),
    ("perl", "\nEND { $? = 0 }\n"),
    ("perl", "\nuse POSIX; POSIX::_exit(0);\n"),
    ("lua", "\ndo return end\n"),
    ("lua", "\nos.exit(true, true)\n"),
    ("python", "\nimport os; os._exit(0)\n"),
    ("python", "\nimport sys; sys.excepthook = lambda *_: os._exit(0)\n"),
    ("python", "\nimport atexit, os; atexit.register(os._exit, 0)\n"),
]
SLOW_ESCAPES = [
    ("ruby", "\n__END__\n"),
    ("ruby", "\nat_exit { exit!(0) }\n"),
    ("r", "\nquit(save = 'no', status = 0)\n"),
    ("r", "\noptions(error = quote(quit(status = 0)))\n"),
    ("racket", "\n(exit 0)\n"),
    ("racket", "\n#;"),
    ("cpp", "}\nstatic int early = (_Exit(0), 0);\nlong more() { return 0;"),
    ("cpp", "}\nstatic int late = std::atexit([] { _Exit(0); });\nlong more() { return 0;"),
    ("cpp", "}\nvoid quiet(int) { _Exit(0); }\nstatic auto s = signal(SIGABRT, quiet);\n"
     "long more() { return 0;"),
    ("java", "}\nstatic { Runtime.getRuntime().halt(0); }\npublic static long more() { return 0;"),
    ("java", "}\nstatic { Thread.setDefaultUncaughtExceptionHandler((t, e) ->\n"
     "Runtime.getRuntime().halt(0)); }\npublic static long more() { return 0;"),
    ("csharp", "}\nstatic Problem() { Environment.Exit(0); }\npublic static long More() { return 0;"),
    ("csharp", "}\nstatic Problem() { AppDomain.CurrentDomain.UnhandledException +=\n"
     "(a, b) => Environment.Exit(0); }\npublic static long More() { throw new Exception();"),
    ("typescript", "\n(globalThis as any).process.reallyExit(0);"),
    ("typescript", "\n// @ts-nocheck\nreturn;"),
    ("rust", "}\n#[allow(dead_code)] fn more() -> isize { 0"),
    ("d", "\nshared static this() { import core.stdc.stdlib : exit; exit(0); }\n"),
    ("d", "\nshared static this() { import core.runtime;\n"
     "Runtime.moduleUnitTester = () => true; }\n"),
    ("go", "\nfunc init() { os.Exit(0) }\n"),
]  # fmt: skip


def check_escape(sandbox: Sandbox, language: str, more: str) -> None:
    need(language)
    task = TRIANGLES[language]
    code = task.prompt + task.wrong + more
    verdict = judge_foreign(sandbox, code, task.tests, None, language, DEFAULT)
    assert verdict.status in ("wrong", "error"), verdict


@pytest.mark.parametrize(("language", "more"), ESCAPES)
def test_a_wrong_answer_does_not_escape_its_tests(sandbox: Sandbox, language: str, more: str):
    check_escape(sandbox, language, more)


@pytest.mark.slow
@pytest.mark.parametrize(("language", "more"), SLOW_ESCAPES)
def test_a_wrong_compiled_answer_does_not_escape(sandbox: Sandbox, language: str, more: str):
    check_escape(sandbox, language, more)


@pytest.mark.slow
def test_canonical_python_runs_as_a_program_too(sandbox: Sandbox, data: Path):
    rows = rows_of(data, "python")[:12]
    for row in rows:
        code = "from typing import *\n" + row["prompt"] + row["canonical_solution"]
        verdict = judge_foreign(sandbox, code, row["test"], None, "python", DEFAULT)
        assert verdict.passed, (row["task_id"], verdict)


def test_php_cannot_define_a_function_it_has(sandbox: Sandbox):
    need("php")
    code = "<?php\nfunction strlen($string) { return 0; }\n"
    verdict = judge_foreign(sandbox, code, "", None, "php", DEFAULT)  # P23
    assert verdict.status == "error"
    assert "Cannot redeclare" in verdict.detail


def test_a_type_error_is_no_pass_although_javascript_comes_of_it(sandbox: Sandbox):
    need("typescript")
    code = 'function f(): number { return "1"; }\n'
    verdict = judge_foreign(sandbox, code, "f();\n", None, "typescript", DEFAULT)  # P26
    assert verdict.status == "error"
    assert "TS2322" in verdict.detail


@pytest.mark.slow
def test_which_way_typescript_was_compiled_is_told(sandbox: Sandbox):
    need("typescript")
    code = "var Map: number = 3;\n"  # the library of ES2015 has a Map, the default one has none
    verdict = judge_foreign(sandbox, code, "", None, "typescript", DEFAULT)  # P26
    assert verdict.passed
    assert "second way" in verdict.detail


@pytest.mark.slow
def test_a_type_that_breaks_the_libraries_is_an_error_as_with_tsc(sandbox: Sandbox):
    need("typescript")
    code = "interface Node { value: number; next: Node | null }\n"
    verdict = judge_foreign(sandbox, code, "", None, "typescript", DEFAULT)
    assert verdict.status == "error"
    assert "lib.dom.d.ts" in verdict.detail


@pytest.mark.slow
def test_compiling_has_limits_of_its_own(sandbox: Sandbox):
    need("cpp")
    verdict = judge(sandbox, "cpp", "right", Limits(cpu_s=0.2, wall_s=5, memory_mb=64))  # P7
    assert verdict.passed


@pytest.mark.slow
def test_switching_assertions_off_does_not_pass(sandbox: Sandbox):
    need("cpp")
    task = TRIANGLES["cpp"]
    code = f"#define NDEBUG\n{task.prompt}{task.wrong}"
    assert judge_foreign(sandbox, code, task.tests, None, "cpp", DEFAULT).status == "wrong"


@pytest.mark.slow
def test_a_public_class_is_compiled_under_its_own_name(sandbox: Sandbox):
    need("java")
    code = (
        "public class Sum {\n    public static void main(String[] words) {\n"
        "        java.util.Scanner in = new java.util.Scanner(System.in);\n"
        "        System.out.println(in.nextInt() + in.nextInt());\n    }\n}\n"
    )
    outcomes = run_cases(sandbox, code, [b"1 2\n", b"20 22\n"], "java", DEFAULT)
    assert [outcome.stdout for outcome in outcomes] == [b"3\n", b"42\n"]


def test_two_runs_of_one_program_share_no_directory(sandbox: Sandbox):
    need("bash")
    # Both write and read back, with time for the other between: P8.
    code = 'echo "$1" > own; sleep 0.1\n'
    with ThreadPoolExecutor(2) as pool:
        said = list(
            pool.map(
                lambda word: judge_foreign(
                    sandbox,
                    f"set -- {word}\n{code}",
                    f"[ $(cat own) = {word} ]",
                    None,
                    "sh",
                    Limits(),
                ),
                ["one", "two"],
            )
        )
    assert [verdict.status for verdict in said] == ["pass", "pass"]


def test_a_language_without_toolchain_says_nothing_about_the_program(sandbox: Sandbox):
    verdict = judge_foreign(sandbox, "", "", None, "swift", DEFAULT)
    assert verdict.status == "infra"
    assert "no toolchain" in verdict.detail


def test_a_sandbox_that_fails_says_nothing_about_the_program():
    try:
        closed = Sandbox(workers=1)
    except SandboxError as error:
        pytest.skip(f"programs cannot be run here: {error.why}")
    closed.close()
    task = TRIANGLES["bash"]
    verdict = judge_foreign(closed, task.prompt + task.right, task.tests, None, "bash", DEFAULT)
    assert verdict.status == "infra"
    assert run_cases(closed, "", [b""], "bash", DEFAULT)[0].ended == "infra"


def test_text_that_is_no_unicode_is_the_programs_mistake(sandbox: Sandbox):
    verdict = judge_foreign(sandbox, "x = '\ud800'", "", None, "python", DEFAULT)
    assert verdict.status == "error"


def test_an_error_that_r_tests_caught_is_no_pass(sandbox: Sandbox):
    need("r")
    task = TRIANGLES["r"]
    tests = task.tests.replace("\ntest_humaneval()", "\ntry(test_humaneval())")
    assert tests != task.tests
    verdict = judge_foreign(sandbox, task.prompt + task.wrong, tests, None, "r", DEFAULT)
    assert verdict.status == "wrong", verdict
    assert "not TRUE" in verdict.detail


@pytest.mark.parametrize("language", [name for name in LANGUAGES if LANGUAGES[name].least])
@pytest.mark.slow
def test_a_compiler_that_works_shows_it(sandbox: Sandbox, language: str):
    need(language)
    assert compiles(sandbox, find_language(language))


@pytest.fixture
def broken_gcc(monkeypatch: pytest.MonkeyPatch) -> None:
    """g++ looks for its parts, such as cc1plus, where they are not."""
    need("cpp")
    known = find_language("cpp")

    def lay_out(source: Source) -> Layout:
        return replace(known.lay_out(source), environment={"GCC_EXEC_PREFIX": "/nowhere/"})

    monkeypatch.setitem(languages._NAMES, "cpp", replace(known, lay_out=lay_out))


@pytest.mark.usefixtures("broken_gcc")
def test_a_broken_compiler_says_nothing_about_the_program(sandbox: Sandbox):
    verdict = judge(sandbox, "cpp", "right")
    assert verdict.status == "infra"
    assert "least program" in verdict.detail
    assert "cannot execute" in verdict.detail
    outcome = run_cases(sandbox, "int main() {}", [b""], "cpp", DEFAULT)[0]
    assert outcome.ended == "infra"
    assert "cannot execute" in outcome.detail


@pytest.mark.slow
@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("long triangle(long n) { return n; }\n", "main"),  # names no line; for the linker
        ('#error "No space left on device"\nint main() {}\n', "No space left"),  # a program's lie
    ],
)
def test_a_working_compiler_is_believed(sandbox: Sandbox, code: str, said: str):
    need("cpp")
    verdict = judge_foreign(sandbox, code, "", None, "cpp", DEFAULT)
    assert verdict.status == "error"
    assert verdict.detail.startswith("compile: ")
    assert said in verdict.detail


def test_cases_are_run_one_by_one(sandbox: Sandbox):
    code = "n = int(input())\nprint(n * n)\nassert n < 5\n"
    first, second = run_cases(sandbox, code, [b"3\n", b"7\n"], "python", DEFAULT)
    assert (first.ok, first.stdout) == (True, b"9\n")
    assert (second.ok, second.status, second.stdout) == (False, 1, b"49\n")


def test_what_does_not_compile_fails_every_case(sandbox: Sandbox):
    need("csharp")
    outcomes = run_cases(sandbox, "class A {", [b"", b""], "csharp", DEFAULT)
    assert [outcome.ok for outcome in outcomes] == [False, False]
    assert outcomes[0].detail.startswith("compile: ")


READING = {
    "cpp": "#include <iostream>\nint main() { long a; std::cin >> a; std::cout << a + 1; }",
    "go": 'package main\nimport "fmt"\nfunc main() { var a int; fmt.Scan(&a); fmt.Print(a + 1) }',
    "rust": "fn main() { let mut s = String::new(); std::io::stdin().read_line(&mut s).unwrap();\n"
    'print!("{}", s.trim().parse::<i64>().unwrap() + 1); }',
    "d": 'import std.stdio;\nvoid main() { long a; readf(" %d", &a); write(a + 1); }',
    "csharp": "using System;\nclass P { static void Main() {\n"
    "Console.Write(long.Parse(Console.ReadLine()) + 1); } }",
    "java": "class Main { public static void main(String[] w) {\n"
    "System.out.print(new java.util.Scanner(System.in).nextLong() + 1); } }",
    "typescript": "declare var require: any;\nconst a: string = require('fs').readFileSync(0, 'utf8');\n"
    "console.log(Number(a) + 1);",
    "javascript": "process.stdout.write(String(Number(require('fs').readFileSync(0)) + 1));",
    "php": "<?php echo intval(fgets(STDIN)) + 1;",
    "bash": "read a; echo $((a + 1))",
    "r": 'a <- as.integer(readLines("stdin", n = 1)); cat(a + 1)',
    "ruby": "print gets.to_i + 1",
    "lua": 'io.write(io.read("n") + 1)',
    "perl": "print <STDIN> + 1;",
    "racket": "#lang racket\n(display (+ 1 (read)))",
    "python": "print(int(input()) + 1)",
}


@pytest.mark.slow
@pytest.mark.parametrize("language", LANGUAGES)
def test_programs_that_read_and_print(sandbox: Sandbox, language: str):
    need(language)
    outcomes = run_cases(sandbox, READING[language], [b"41\n", b"-1\n"], language, DEFAULT)
    assert [outcome.stdout.strip() for outcome in outcomes] == [b"42", b"0"], outcomes
    assert all(outcome.ok for outcome in outcomes)
