"""Verbs as whole processes: no arguments, threads, and what is printed where."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from midfill import cli
from midfill.engine.threads import LOOK_AGAIN_S, Others, Threads, cores, idle_cores

SOURCES = Path(__file__).parents[2] / "src"
ENVIRONMENT = {k: v for k, v in os.environ.items() if k != "OMP_NUM_THREADS"} | {
    "PYTHONPATH": str(SOURCES)
}


def python(code: str, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-W", "error", "-c", code, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, env=ENVIRONMENT, timeout=50)


def midfill(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return python("from midfill.cli import main; main()", *arguments)


def test_without_arguments_it_prints_the_help():
    run, helped = midfill(), midfill("--help")
    assert (run.returncode, run.stdout, run.stderr) == (0, helped.stdout, "")
    assert "serve" in run.stdout


def test_convert_prints_the_file_it_wrote(
    tiny_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys
):
    monkeypatch.setattr(
        sys, "argv", ["midfill", "convert", str(tiny_folder), str(tmp_path), "--to", "gguf", "-q"]
    )
    with pytest.raises(SystemExit, match="0"):
        cli.main()
    (written,) = tmp_path.glob("*.gguf")
    assert capsys.readouterr().out == f"{written}\n"


# ------------------------------------------------------------------------------------------ threads


@contextlib.contextmanager
def busy_machine() -> Iterator[None]:
    """Every core has something else to do."""
    spin = [sys.executable, "-c", "while True: pass"]
    others = [subprocess.Popen(spin) for _ in range(cores())]
    try:
        yield
    finally:
        for other in others:
            other.send_signal(signal.SIGKILL)
            other.wait()


def test_some_core_is_always_ours():
    assert idle_cores(0) == cores()
    assert idle_cores(10**6) == 1


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells what each core does")
def test_the_work_of_others_is_seen():
    with busy_machine():
        look = Others()
        assert 0.4 < look.busy_cores() <= cores() + 0.5


LOADED = """
import sys
from midfill.terminal.load import load_model
from midfill.terminal.options import Loading
loading = Loading(dtype="float32", device="cpu", threads=int(sys.argv[2]) or None)
load_model(sys.argv[1], loading, quiet=True)
import torch
print(torch.get_num_threads())
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells what each core does")
def test_threads_are_those_asked_for_or_the_idle_cores(tiny_folder: Path):
    with busy_machine():
        runs = [python(LOADED, tiny_folder, threads) for threads in ("0", "3")]
    assert [run.stdout for run in runs] == ["1\n", "3\n"], [run.stderr for run in runs]


@pytest.mark.skipif(sys.platform != "linux" or cores() < 2, reason="needs two cores on Linux")
def test_threads_follow_what_others_do():
    used = []
    keeper = Threads(0.0, 2, used.append)
    assert used == [2]
    with busy_machine():
        time.sleep(LOOK_AGAIN_S + 0.1)
        keeper.adapt()
        assert used == [2, 1]


# ------------------------------------------------------------------------- closed and full streams


def shell(redirection: str, *arguments: str, **environment: str) -> tuple[int, str, str]:
    """Exit code, stdout and stderr of midfill, started by a shell with a redirection."""
    code = "from midfill.cli import main; main()"
    line = ["sh", "-c", f'"$@" {redirection}', "sh", sys.executable, "-c", code, *arguments]
    env = ENVIRONMENT | environment
    run = subprocess.run(line, capture_output=True, text=True, env=env, timeout=50)
    assert "Traceback" not in run.stderr
    assert "Exception ignored" not in run.stderr
    return run.returncode, run.stdout, run.stderr


needs_full = pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")


@needs_full
@pytest.mark.parametrize("unbuffered", ["", "1"], ids=["buffered", "unbuffered"])
@pytest.mark.parametrize(
    "verb", [["models", "-q"], ["--help"], ["--version"], ["models", "--json"]]
)
def test_a_result_that_cannot_be_written_is_an_error(verb: list[str], unbuffered: str):
    code, _, said = shell("> /dev/full", *verb, PYTHONUNBUFFERED=unbuffered)
    lines = said.splitlines()
    assert (code, lines[0]) == (2, "error: the output cannot be written")
    assert [line[:7] for line in lines[1:]] == ["  why: ", "  fix: "]


def test_a_closed_output_is_an_error():
    code, _, said = shell(">&-", "models", "-q")
    assert (code, said.splitlines()[0]) == (2, "error: the output cannot be written")
    assert shell(">&- 2>&- <&-", "models")[0] == 2


@pytest.mark.parametrize("verb", ["complete", "fill", "chat"])
def test_a_closed_input_is_no_text(verb: str):
    code, _, said = shell("<&-", verb)
    assert (code, said.splitlines()[0]) == (2, "error: there is no text")


@pytest.mark.parametrize(
    "away", [pytest.param("2> /dev/full", marks=needs_full), "2>&-"], ids=["full", "closed"]
)
def test_notes_that_cannot_be_written_are_left_out(away: str):
    assert shell(away, "models") == (0, shell("", "models", "-q")[1], "")
    assert shell(away, "pull", "klingon") == (2, "", "")


# --------------------------------------------------------------------------------- impossible cache


@pytest.mark.parametrize("place", ["file/x", "x" * 300, "file"])
def test_an_impossible_cache_is_named(tmp_path: Path, place: str):
    (tmp_path / "file").touch()
    cache = {"MIDFILL_CACHE": str(tmp_path / place), "HF_HUB_OFFLINE": "1"}
    code, _, said = shell("", "pull", "qwen2.5-coder-0.5b", **cache)
    assert (code, said.splitlines()[0]) == (2, "error: qwen2.5-coder-0.5b cannot be stored")
    assert "fix: MIDFILL_CACHE=" in said
    code, told, _ = shell("", "doctor", "--json", **cache)
    (found,) = [finding for finding in json.loads(told) if finding["what"] == "cache"]
    assert (code, found["status"]) == (1, "fail")
    assert "MIDFILL_CACHE" in found["fix"]


# -------------------------------------------------------------------------------------------- serve


@pytest.mark.parametrize("quiet", [(), ("--quiet",)], ids=["told", "quiet"])
def test_a_quiet_server_says_nothing_of_requests(tiny_folder: Path, quiet: tuple[str, ...]):
    code = "from midfill.cli import main; main()"
    verb = ("serve", str(tiny_folder), "--port", "0", "--json", "--dtype", "float32", *quiet)
    command = [sys.executable, "-W", "error", "-c", code, *verb]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdout=pipe, stderr=pipe, text=True, env=ENVIRONMENT) as child:
        assert child.stdout is not None
        ready = json.loads(child.stdout.readline())
        url = ready["ready"].split()[-1]
        assert httpx.get(f"{url}/v1/models").status_code == 200
        child.send_signal(signal.SIGINT)
        _, said = child.communicate(timeout=30)
    assert child.returncode == 0
    assert ("/v1/models" in said) == (not quiet)
    assert bool(said) == (not quiet)
