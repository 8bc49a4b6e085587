"""Languages by name, how programs are laid out, and how the ends of their runs are read."""

import subprocess
from pathlib import Path

import pytest

from midfill.errors import SandboxError
from midfill.sandbox.foreign import read_outcome
from midfill.sandbox.foreign_layout import Source
from midfill.sandbox.languages import LANGUAGES, PAPER, available, find_language, toolchain
from midfill.sandbox.verdict import Outcome

ROOT = Path(__file__).parents[2]
WORD = b"0123456789abcdef"


def source(code: str, tests: str | None) -> Source:
    return Source(code=code, tests=tests, word=WORD.decode(), memory_mb=512)


def end(status: int = 0, stdout: str = "", stderr: str = "", report: bytes = b"") -> Outcome:
    return Outcome(
        ended="exit", status=status, stdout=stdout.encode(), stderr=stderr.encode(), report=report
    )


@pytest.mark.parametrize(
    ("name", "language"),
    [
        ("javascript", "javascript"),  # DeepSeek's judge takes it for Java: P10
        ("js", "javascript"),
        ("java", "java"),
        ("ts", "typescript"),
        ("C++", "cpp"),
        ("cs", "csharp"),
        ("sh", "bash"),
        ("go_test.go", "go"),
        ("r", "r"),
        ("rs", "rust"),
        ("d", "d"),
    ],
)
def test_names_are_exact(name: str, language: str):
    assert find_language(name).name == language


@pytest.mark.parametrize("name", ["javascrip", "java script", "", "cobol"])
def test_no_name_is_found_by_a_part_of_it(name: str):
    with pytest.raises(SandboxError, match="there is no language"):
        find_language(name)


def test_no_alias_is_used_twice():
    names = [name for known in LANGUAGES.values() for name in (known.name, *known.aliases)]
    assert len(names) == len(set(names))
    assert set(PAPER) <= set(LANGUAGES)


def test_a_language_without_a_toolchain_has_a_reason():
    assert "no toolchain" in str(available("swift"))


def test_versions_of_what_is_there_are_told():
    assert toolchain("bash").startswith("GNU bash")
    assert "Python 3" in toolchain("python")


def test_the_installer_refuses_an_unknown_language():
    script = ROOT / "scripts/install-toolchains.sh"
    said = subprocess.run([script, "cobol"], capture_output=True, text=True, check=False)
    assert said.returncode == 2
    assert "no language 'cobol'" in said.stderr


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_word_stands_in_what_is_run_after_the_tests(language: str):
    layout = LANGUAGES[language].lay_out(source("CODE", "TESTS"))
    holding = [text for text in layout.files.values() if WORD.decode() in text]
    assert len(holding) == 1
    program = next(text for text in layout.files.values() if "TESTS" in text)
    assert program.index("CODE") < program.index("TESTS")
    if holding[0] is program:
        assert program.index("TESTS") < program.index(WORD.decode())


def test_lua_tests_end_with_our_exit_and_not_with_theirs():
    tests = "lu = require('luaunit')\nos.exit(lu.LuaUnit.run())\n\n"
    text = LANGUAGES["lua"].lay_out(source("", tests)).files["program.lua"]
    assert "midfill_failed = lu.LuaUnit.run()" in text
    assert "os.exit(lu." not in text


@pytest.mark.parametrize("ending", ["", "?>", "?>\n"])
def test_php_reads_the_epilogue_as_code(ending: str):
    text = LANGUAGES["php"].lay_out(source("$x = 1;", "test();" + ending)).files["program.php"]
    assert text.startswith("<?php")
    after = text[text.index("test();") :]
    assert after.count("?>") == after.count("<?php")


def test_the_cpp_prelude_adds_what_the_program_lacks():
    text = LANGUAGES["cpp"].lay_out(source("#include<vector>\nint f();", "")).files["program.cpp"]
    assert text.count("#include<vector>") == 1
    assert text.index("#include<cstring>") < text.index("int f();")


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_run_to_the_end_passes_whatever_it_prints(language: str):
    # DeepSeek's JavaScript judge fails on any output: P9.
    evidence = "1 modules passed unittests\n" if language == "d" else ""
    chatty = end(stdout="hello\n", stderr=f"a warning\n{evidence}", report=WORD)
    assert read_outcome(LANGUAGES[language], chatty, WORD) == ("pass", "")


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("report", [b"", b"guess", WORD[:-1], WORD + WORD])
def test_status_0_without_the_word_is_no_pass(language: str, report: bytes):
    status, detail = read_outcome(LANGUAGES[language], end(report=report), WORD)  # P4
    assert status == "error"
    assert "before the tests" in detail


@pytest.mark.parametrize(
    ("language", "stderr", "status"),
    [
        ("csharp", "   at Problem.Main\nFail: Debug.Assert\n", "wrong"),  # P5
        ("racket", "----\nFAILURE\nname: check-within\n", "wrong"),  # P20
        ("racket", "----\nERROR\ncar: contract violation\n", "error"),
        ("go", "testing: warning: no tests to run\n", "error"),
        ("d", "", "error"),  # its unit tests were not run
    ],
)
def test_what_is_said_counts_although_the_status_is_0(language: str, stderr: str, status: str):
    said = end(stderr=stderr, report=WORD)
    assert read_outcome(LANGUAGES[language], said, WORD)[0] == status


def test_an_uncaught_exception_of_csharp_is_an_error():
    # DeepSeek's judge passes it, since nothing on stderr says "Fail": P5.
    thrown = end(1, stderr="Unhandled Exception:\nSystem.InvalidOperationException: no\n")
    status, detail = read_outcome(LANGUAGES["csharp"], thrown, WORD)
    assert status == "error"
    assert "System.InvalidOperationException: no" in detail


@pytest.mark.parametrize("ended", ["timeout", "memory", "infra"])
def test_limits_and_faults_are_taken_over(ended):
    for language in LANGUAGES.values():
        outcome = Outcome(ended=ended, stderr=b"AssertionError", report=WORD, detail="why")
        assert read_outcome(language, outcome, WORD) == (ended, "why")


@pytest.mark.parametrize(
    ("language", "status", "stderr", "expected"),
    [
        ("java", 1, 'Exception in thread "main" java.lang.OutOfMemoryError: Java heap', "memory"),
        ("javascript", 134, "FATAL ERROR: JavaScript heap out of memory", "memory"),
        ("perl", 1, "", "wrong"),
        ("perl", 1, "no at program.pl line 3.\n", "error"),
        ("go", 2, "--- FAIL: TestF (0.00s)\npanic: no [recovered]\n", "error"),
        ("go", 1, "--- FAIL: TestF (0.00s)\n", "wrong"),
        ("bash", 1, "", "wrong"),
        ("bash", 127, "program.sh: line 3: nothing: command not found\n", "error"),
        ("bash", 2, "program.sh: line 9: syntax error near unexpected token `}'\n", "error"),
    ],
)
def test_failures_are_told_apart(language: str, status: int, stderr: str, expected: str):
    assert read_outcome(LANGUAGES[language], end(status, stderr=stderr), WORD)[0] == expected


def test_control_characters_of_programs_reach_no_terminal():
    status, detail = read_outcome(
        LANGUAGES["python"], end(1, stderr="ValueError: \x1b[2J\x07 gone\n"), WORD
    )
    assert status == "error"
    assert "\x1b" not in detail
    assert "\x07" not in detail
