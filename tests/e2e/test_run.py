"""`midfill run` without tests: the program reads what comes on stdin, as it comes."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from midfill import cli
from midfill.errors import SandboxError
from midfill.sandbox import Sandbox

LEVEL = ("A", "B", "C")  # those that run commands
ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module", autouse=True)
def _commands_can_be_run() -> None:
    try:
        with Sandbox(1) as sandbox:
            if sandbox.level not in LEVEL:
                pytest.skip(f"level {sandbox.level} runs no commands")
    except SandboxError as refused:
        pytest.skip(f"no sandbox here: {refused.why}")


Run = Callable[[str, int], str]


@pytest.fixture
def printed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Run:
    """What a Python program prints that reads from a descriptor; it must end with status 0."""

    def run(code: str, stdin: int) -> str:
        (tmp_path / "program.py").write_text(code)
        with os.fdopen(os.dup(stdin)) as given:
            monkeypatch.setattr(sys, "argv", ["midfill", "run", str(tmp_path / "program.py")])
            monkeypatch.setattr(sys, "stdin", given)
            with pytest.raises(SystemExit) as ended:
                cli.main()
        out, err = capsys.readouterr()
        assert ended.value.code == 0, err
        return out

    return run


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    """A pipe whose writing end stays open while the program runs."""
    ends = os.pipe()
    yield ends
    for end in ends:
        os.close(end)


@pytest.mark.timeout(30)
def test_a_program_reads_a_line_and_ends_although_more_may_come(
    printed: Run, pipe: tuple[int, int]
):
    os.write(pipe[1], b"one\n")
    assert printed("print(input())", pipe[0]) == "one\n"


def test_a_long_file_arrives_whole_and_ends(printed: Run, tmp_path: Path):
    data = bytes(range(256)) * 4000  # far more than a pipe holds
    (tmp_path / "data").write_bytes(data)
    code = "import sys, hashlib\nprint(hashlib.md5(sys.stdin.buffer.read()).hexdigest())\n"
    want = subprocess.run(["md5sum", tmp_path / "data"], capture_output=True, text=True, check=True)
    with (tmp_path / "data").open() as file:
        assert printed(code, file.fileno()).split() == want.stdout.split()[:1]


@pytest.mark.slow
def test_a_long_file_that_is_not_read_does_no_harm(printed: Run):
    with Path("/dev/zero").open("rb") as endless:
        assert printed("print(len(open(0, 'rb').read(5)))", endless.fileno()) == "5\n"


def test_what_is_typed_at_a_terminal_is_read(printed: Run):
    keyboard, terminal = os.openpty()
    try:
        os.write(keyboard, b"typed\n")
        code = "import os\nprint(input(), os.isatty(0))\n"
        assert printed(code, terminal) == "typed False\n", "the terminal itself stays outside"
    finally:
        os.close(keyboard)
        os.close(terminal)


@pytest.mark.slow
def test_no_stdin_is_an_empty_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    (tmp_path / "a.py").write_text("import sys\nprint(repr(sys.stdin.read()))\n")
    monkeypatch.setattr(sys, "argv", ["midfill", "run", str(tmp_path / "a.py")])
    monkeypatch.setattr(sys, "stdin", None)  # as Python has it where descriptor 0 is closed
    with pytest.raises(SystemExit, match="0"):
        cli.main()
    assert capsys.readouterr().out == "''\n"


# In the background of a terminal, whoever reads it is stopped until it is his turn.
BACKGROUND = """
import fcntl, os, sys, termios
keyboard, terminal = os.openpty()
os.setsid()
fcntl.ioctl(terminal, termios.TIOCSCTTY, 0)
os.write(keyboard, b"for the shell\\n")
child = os.fork()
if child == 0:
    os.setpgid(0, 0)
    os.dup2(terminal, 0)
    sys.stdin = os.fdopen(0)
    sys.argv = ["midfill", "run", sys.argv[1]]
    from midfill.cli import main
    main()
_, status = os.waitpid(child, os.WUNTRACED)
if os.WIFSTOPPED(status):
    os.kill(child, 9)
    sys.exit("it was stopped")
sys.exit(os.waitstatus_to_exitcode(status))
"""


@pytest.mark.slow
def test_a_run_in_the_background_is_not_stopped_for_reading(tmp_path: Path):
    (tmp_path / "a.py").write_text("print(6 * 7)\n")
    ran = subprocess.run(
        [sys.executable, "-c", BACKGROUND, tmp_path / "a.py"],
        capture_output=True,
        text=True,
        timeout=50,
        env=os.environ | {"PYTHONPATH": str(ROOT / "src")},
        check=False,
    )
    assert (ran.returncode, ran.stdout) == (0, "42\n"), ran.stderr
