"""Boxes: odd requests do not end them, and what their programs use is counted whole."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator

import pytest

from midfill.errors import SandboxError
from midfill.sandbox import Limits, Sandbox
from midfill.sandbox.box import Box
from midfill.sandbox.calls import pack
from midfill.sandbox.codec import FRAME
from midfill.sandbox.foreign import judge_foreign
from midfill.sandbox.processes import Usage, ended_at_cpu_limit, signal_name


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    try:
        made = Sandbox(1)
    except SandboxError as refused:
        pytest.skip(f"no sandbox here: {refused.why}")
    if made.level == "C-strict":
        pytest.skip("level C-strict runs no commands")
    with made:
        yield made


@pytest.fixture
def box(sandbox: Sandbox) -> Iterator[Box]:
    with sandbox.box() as made:
        yield made


# --- requests ---------------------------------------------------------------------------------------


def test_a_run_that_ended_when_it_was_told_to_stop_leaves_its_box_usable(box: Box):
    assert box.run(("true",)).ok
    box.link.send_bytes(
        pack({"do": "stop"})
    )  # as `follow` does when the time is up; the answer is on its way
    box.write("a", b"data")
    assert box.read("a") == b"data"
    assert box.run(("cat", "a")).stdout == b"data"


@pytest.mark.parametrize("path", ["\ud800", "folder/\ud800", "", "a//b", "../a", "/a", "a\0b"])
def test_what_names_no_file_is_refused_and_the_box_lives_on(box: Box, path: str):
    for ask in (lambda: box.write(path, b""), lambda: box.read(path)):
        with pytest.raises(ValueError, match=r"surrogates not allowed|does not name a file"):
            ask()
    box.write("a", b"data")
    assert box.read("a") == b"data"


def test_a_box_answers_names_that_only_it_can_refuse(box: Box):
    message = {"do": "write", "path": "\ud800", "data": b"", "executable": False}
    box.link.send_bytes(pack(message))
    answer = box.link.receive()
    assert isinstance(answer, dict)
    assert "surrogates" in answer["failed"]
    with pytest.raises(FileNotFoundError, match="nowhere"):
        box.read("nowhere")


def test_a_file_too_large_for_an_answer_is_an_error_and_the_box_lives_on(sandbox: Sandbox):
    limits = Limits(disk_mb=2 * (FRAME >> 20))
    with sandbox.box(limits=limits) as box:
        grown = box.run(("truncate", "-s", str(FRAME + 1), "large"), limits=limits)
        assert grown.ok, grown
        with pytest.raises(OSError, match="too large"):
            box.read("large", 1 << 62)
        assert box.read("large", 3) == b"\0\0\0"


@pytest.mark.parametrize("argv", [("\ud800",), ("echo", "\ud800"), ("nowhere",), ("echo", "a\0b")])
def test_what_cannot_be_started_is_no_outcome_of_a_program(box: Box, argv: tuple[str, ...]):
    outcome = box.run(argv)
    assert outcome.ended == "infra"
    assert "cannot be started" in outcome.detail
    assert box.run(("echo", "on")).stdout == b"on\n"


def test_a_pipe_is_read_while_it_fills(box: Box):
    reading, writing = os.pipe()
    try:
        os.write(writing, b"one\n")
        assert box.run(("head", "-n", "1"), stdin=reading).stdout == b"one\n"
        os.write(writing, b"two\n")
        assert box.run(("head", "-n", "1"), stdin=reading).stdout == b"two\n"
    finally:
        os.close(reading)
        os.close(writing)


# --- what they use ----------------------------------------------------------------------------------

# Each child is gone before anybody looks; together they are far over the limit.
MANY = """
import os, time

def spin(seconds):
    start = time.process_time()
    while time.process_time() - start < seconds:
        pass

for _ in range(300):
    if os.fork() == 0:
        spin(0.006)
        os._exit(0)
    os.wait()
"""


def test_children_that_are_gone_before_anybody_looks_count(box: Box):
    outcome = box.run((sys.executable, "-c", MANY), limits=Limits(cpu_s=0.4, wall_s=20))
    if outcome.ended == "infra":
        pytest.skip(outcome.detail)
    assert outcome.ended == "timeout"
    assert 0.4 < outcome.cpu_s < 1.2


def test_a_run_is_not_charged_for_the_one_before(box: Box):
    spin = "for ((i = 0; i < 200000; i++)); do :; done"
    whole = box.run(("bash", "-c", f"({spin}) & ({spin}); wait"))
    assert whole.ok
    assert whole.cpu_s > 0.2
    assert box.run(("true",)).cpu_s < 0.1


def test_usage_counts_the_dead_once():
    process = subprocess.Popen([sys.executable, "-c", MANY.replace("300", "40")])
    usage, most = Usage(process.pid, with_root=True), 0.0
    while process.poll() is None:
        seconds, _ = usage.look()
        assert seconds >= most, "what was used does not become less"
        most = seconds
        time.sleep(0.005)
    assert 0.12 < usage.cpu_s < 1.0  # 40 children of 6 ms, and an interpreter


def test_programs_of_a_box_are_the_first_to_go_when_there_is_no_memory(box: Box):
    told = box.run(("sh", "-c", "cat /proc/self/oom_score_adj"))
    assert told.stdout == b"900\n", told


# --- how they end -----------------------------------------------------------------------------------


def test_every_signal_has_a_name():
    assert signal_name(11) == "SIGSEGV"
    assert signal_name(signal.SIGRTMIN) == "SIGRTMIN"
    assert signal_name(signal.SIGRTMIN + 6) == "SIGRTMIN+6"
    assert signal_name(signal.SIGRTMAX) == "SIGRTMAX"
    assert len({signal_name(number) for number in range(-1, 200)}) == 201


def test_a_real_time_signal_is_told_by_name(sandbox: Sandbox):
    number = signal.SIGRTMIN + 6
    verdict = judge_foreign(sandbox, f"kill -{number} $$", "", None, "bash", Limits())
    assert (verdict.status, verdict.detail) == ("error", "SIGRTMIN+6")


@pytest.mark.parametrize(
    ("code", "cpu_s", "at_limit"),
    [
        ("import os, signal; os.kill(os.getpid(), signal.SIGXCPU)", 0.1, True),
        ("import os, signal; os.kill(os.getpid(), signal.SIGKILL)", 3.0, True),
        ("import os, signal; os.kill(os.getpid(), signal.SIGKILL)", 0.1, False),
        ("import os; os.abort()", 3.0, False),
        ("raise SystemExit(137)", 3.0, False),
    ],
)
def test_which_ends_are_those_of_the_limit_of_time(code: str, cpu_s: float, at_limit: bool):
    process = os.posix_spawn(sys.executable, [sys.executable, "-I", "-S", "-c", code], {})
    _, status = os.waitpid(process, 0)
    assert ended_at_cpu_limit(status, cpu_s, 3.0) == at_limit
