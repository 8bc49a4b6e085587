"""Verdicts kept by content: what names one, what is never kept, and several processes."""

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from midfill.evaluate.task import Program, Score
from midfill.evaluate.verdicts import SHOWN, Verdicts, cut, judge_version, key_of
from midfill.sandbox.verdict import Limits, Verdict

PROGRAM = Program(code="def f(): return 1", tests="assert f() == 1", entry_point="f")
PASSED = Verdict(status="pass", sealed=True, level="B", output="1\n", cpu_s=0.1)
SCORE = Score(value=1.0, verdict=PASSED, also={"share": 0.5})


def test_a_verdict_comes_back_whole(tmp_path: Path):
    slow = replace(PASSED, status="timeout", first=replace(PASSED, status="timeout"))
    for number, score in enumerate([SCORE, Score(value=0.0, verdict=slow), Score(value=0.5)]):
        verdicts = Verdicts(tmp_path / "v.sqlite")
        verdicts.put(bytes([number]), score)
        verdicts.close()
        again = Verdicts(tmp_path / "v.sqlite")
        assert again.get(bytes([number])) == score
        assert again.get(b"other") is None
        again.close()


def test_everything_that_decides_a_verdict_is_in_its_name():
    others = [
        replace(PROGRAM, code="def f(): return 2"),
        replace(PROGRAM, code="def f(): return ("),
        replace(PROGRAM, code="def f(): return (", language="bash"),
        replace(PROGRAM, tests=""),
        replace(PROGRAM, entry_point=None),
        replace(PROGRAM, language="bash"),
        replace(PROGRAM, limits=Limits(cpu_s=3.5)),
        replace(PROGRAM, code=PROGRAM.code + PROGRAM.tests[:1], tests=PROGRAM.tests[1:]),
    ]
    names = [key_of(program, "B") for program in (PROGRAM, *others)]
    names.append(key_of(PROGRAM, "A"))
    assert len(set(names)) == len(names)
    assert key_of(PROGRAM, "B") == names[0]
    assert "sandbox" in judge_version()


def test_comments_and_blank_lines_decide_no_verdict_but_texts_do():
    def name(code: str, language: str = "python") -> bytes:
        return key_of(replace(PROGRAM, code=code, language=language), "B")

    plain = name(PROGRAM.code)
    assert name("# a comment\n\ndef f():\n    return 1  # another\n") == plain
    assert name('def f(): return """\n\n"""') != name('def f(): return """\n"""')
    assert name("f = 1") != name("f = 1.0") != name("f = True") != name("f = 1")
    assert name("x", "bash") != name("x # a comment", "bash")
    assert name("(" * 300) != name("(" * 299)  # no syntax tree
    assert name("+".join("1" * 5000)) != name("+".join("1" * 4999))  # too deep to be written
    assert name(f"f = {'9' * 5000}") != name(
        f"f = {'9' * 4999}8"
    )  # too long a number to be written


def test_what_says_nothing_is_not_kept(tmp_path: Path):
    verdicts = Verdicts(tmp_path / "v.sqlite")
    verdicts.put(b"a", Score(value=None, verdict=replace(PASSED, status="infra")))
    verdicts.put(b"b", Score(value=None))
    assert verdicts.get(b"a") is None
    assert verdicts.get(b"b") is None
    verdicts.close()


def test_long_texts_are_cut():
    long = replace(PASSED, output="x" * (SHOWN + 1), detail="y" * (SHOWN + 1))
    short = cut(Score(value=1.0, verdict=replace(long, first=long)))
    assert short.verdict is not None
    assert short.verdict.first is not None
    assert len(short.verdict.output) == len(short.verdict.detail) == SHOWN
    assert short.verdict.first.output == ""


def test_a_damaged_file_is_begun_anew(tmp_path: Path):
    path = tmp_path / "v.sqlite"
    path.write_bytes(b"this is no database at all, but it is long enough to be read as one" * 99)
    verdicts = Verdicts(path)
    verdicts.put(b"a", SCORE)
    assert verdicts.get(b"a") == SCORE
    verdicts.close()


@pytest.mark.parametrize("place", ["a file/v.sqlite", "a folder"])
def test_without_a_place_nothing_is_kept_and_nothing_fails(tmp_path: Path, place: str):
    (tmp_path / "a file").write_text("")
    (tmp_path / "a folder").mkdir()
    verdicts = Verdicts(tmp_path / place)
    verdicts.put(b"a", SCORE)
    assert verdicts.get(b"a") is None
    verdicts.close()


def test_several_processes_write_at_once(tmp_path: Path):
    path = tmp_path / "v.sqlite"
    program = (
        "import sys; from pathlib import Path\n"
        "from midfill.evaluate.task import Score; from midfill.evaluate.verdicts import Verdicts\n"
        "v = Verdicts(Path(sys.argv[1]))\n"
        "for i in range(100): v.put(f'{sys.argv[2]} {i}'.encode(), Score(value=i / 100))\n"
    )
    command = [sys.executable, "-c", program, str(path)]
    running = [subprocess.Popen([*command, str(number)]) for number in range(2)]
    assert [process.wait(timeout=50) for process in running] == [0, 0]
    verdicts = Verdicts(path)
    for number in range(2):
        for i in range(100):
            assert verdicts.get(f"{number} {i}".encode()) == Score(value=i / 100)
    verdicts.close()
