"""`midfill evaluate` as it is used: a model, a server, a file; killed, resumed, interrupted."""

import io
import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import uvicorn

from midfill import cli
from midfill.config.server import ServerConfig
from midfill.engine.text import Coder
from midfill.errors import SandboxError
from midfill.sandbox.sandbox import available_level
from midfill.server import create_app
from midfill.server.run import listen
from own_tasks import RIGHT, ROWS, WRONG, write_rows

Run = Callable[..., tuple[str, str]]
FLOAT = ("--dtype", "float32", "--device", "cpu")
SHORT = ("--max-tokens", "12")


@pytest.fixture(scope="module", autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A cache folder of these tests, in which verdicts of the earlier ones are found."""
    try:
        available_level(None, "C")
    except SandboxError as problem:
        pytest.skip(f"no sandbox here: {problem.why}")
    folder = tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MIDFILL_CACHE", str(folder))
        patch.delenv("OPENAI_API_KEY", raising=False)
        yield folder


@pytest.fixture
def rows(tmp_path: Path) -> Path:
    return write_rows(tmp_path)


@pytest.fixture
def ran(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Run `midfill evaluate` in this process; stdout and stderr, after checking the exit code."""

    def run(*arguments: str | Path, code: int = 0) -> tuple[str, str]:
        monkeypatch.setattr(sys, "argv", ["midfill", "evaluate", *map(str, arguments)])
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"")))
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            cli.main()
        out, err = capsys.readouterr()
        assert ended.value.code == code, err
        return out, err

    return run


@contextmanager
def served(coder: Coder) -> Iterator[str]:
    """Our own server, and its address."""
    config = ServerConfig(port=0)
    opened = listen(config)
    app = create_app(coder, config)
    server = uvicorn.Server(uvicorn.Config(app, log_level="error", timeout_graceful_shutdown=1))
    thread = threading.Thread(target=server.run, args=([opened],))
    thread.start()
    try:
        yield f"http://127.0.0.1:{opened.getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join()
        opened.close()


def completions(folder: Path) -> dict[tuple[str, int], str]:
    lines = [json.loads(line) for line in (folder / "samples.jsonl").read_text().splitlines()]
    found = {(line["task_id"], line["sample"]): line["completion"] for line in lines}
    assert len(found) == len(lines)
    return found


# ------------------------------------------------------------------------------ who is asked


def test_a_model_here_and_behind_a_url_give_the_same_answers(
    ran: Run, rows: Path, tiny_folder: Path, tiny_coder: Coder, tmp_path: Path
):
    here, there = tmp_path / "here", tmp_path / "there"
    out, err = ran("humaneval", tiny_folder, "--data", rows, *SHORT, "--out", here, *FLOAT)
    assert "0 of 3 passed" in out
    assert "answering 0 of 3" in err
    assert "3 of 3 references pass" in out
    assert {file.name for file in here.iterdir()} >= {
        *("samples.jsonl", "judged.jsonl", "result.json", "report.md", "report.html")
    }
    with served(tiny_coder) as url:
        ran("humaneval", "--url", url, "--data", rows, *SHORT, "--out", there, "--quiet")
    assert completions(here) == completions(there)
    assert all(completions(here).values())
    out, _ = ran("--compare", here, there)
    assert "0.0" in out
    out, _ = ran("--compare", here, there, "--json")
    assert json.loads(out)["benchmark"] == "humaneval"


def test_holes_and_drawn_answers_behind_a_url(
    ran: Run, tiny_folder: Path, tiny_coder: Coder, tmp_path: Path
):
    fills = [
        {**r, "suffix": "", "prompt": r["prompt"], "canonical_solution": r["canonical_solution"]}
        for r in ROWS
    ]
    for number, fill in enumerate(fills):
        fill["task_id"] = f"SingleLineInfilling/Own/{number}/L0"
    data = tmp_path / "fills.jsonl"
    data.write_text("".join(json.dumps(fill) + "\n" for fill in fills))
    drawn = ("--temperature", "0.8", "-n", "2", "--seed", "3", "--k", "1", "--k", "2", "--quiet")
    common = ("infilling-single-line", "--data", data, *SHORT, *drawn)
    here, there = tmp_path / "here", tmp_path / "there"
    out, _ = ran(*common[:1], tiny_folder, *common[1:], "--out", here, *FLOAT, "--json")
    told = json.loads(out)
    assert set(told["rules"]["fim-line"]["pass_at"]) == {"1", "2"}
    assert told["decoding"] == {
        **{"temperature": 0.8, "top_p": 1.0, "top_k": 0, "samples": 2, "max_tokens": 12, "seed": 3}
    }
    with served(tiny_coder) as url:
        ran(*common[:1], tiny_coder.name, "--url", url, *common[1:], "--out", there)
    assert completions(here) == completions(there)
    assert len(set(completions(here).values())) > 3


def test_answers_made_elsewhere(ran: Run, rows: Path, tmp_path: Path):
    file = tmp_path / "answers.jsonl"
    texts = {**RIGHT, "Own/0": WRONG}
    lines = [json.dumps({"task_id": name, "completion": text}) for name, text in texts.items()]
    file.write_text("\n".join(lines))
    out, _ = ran("humaneval", "--samples", file, "--data", rows, "--out", tmp_path / "out")
    assert "66.7 %" in out
    assert "2 of 3 passed" in out
    assert "not passed  Own/0" in out
    out, err = ran("humaneval", "--samples", file, "--data", rows, "--rule", "open-r1", "-q")
    assert "extraction  open-r1" in out
    assert err == ""


def test_a_server_that_is_broken_gives_no_score(ran: Run, rows: Path, tmp_path: Path):
    from http.server import BaseHTTPRequestHandler, HTTPServer

    class Broken(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            self.send_response(400)
            self.end_headers()
            self.wfile.write(b"no")

        def log_message(self, *args: Any) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Broken)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        url = f"http://127.0.0.1:{server.server_port}"
        given = ("--data", rows, "--out", tmp_path, "--quiet")
        out, _ = ran("humaneval", "m", "--url", url, *given, code=1)
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
    assert "[incomplete]" in out
    assert all(text is None for text in completions(tmp_path).values())


def test_the_papers_tables(ran: Run, tiny_folder: Path, tmp_path: Path, monkeypatch: Any):
    monkeypatch.setenv("MIDFILL_DATA", str(tmp_path))  # nothing lies there: every row says why
    out, err = ran("paper", tiny_folder, "--out", tmp_path / "out", *FLOAT)
    assert "HumanEval" in out
    assert "not run: the data of humaneval is not on this disk" in err
    assert (tmp_path / "out" / "paper.html").exists()


def test_mistakes_are_told_before_a_model_is_loaded(ran: Run, rows: Path, tmp_path: Path):
    mistakes: list[tuple[tuple[str | Path, ...], str]] = [
        ((), "no benchmark was named"),
        (("humanevil",), "there is no benchmark named 'humanevil'"),
        (("humaneval", "m", "--samples", rows), "--samples and a model were given"),
        (("humaneval", "--url", "http://a", "--samples", rows), "--samples and --url"),
        (("humaneval", "m", "--style", "chatty"), "--style is 'chatty'"),
        (("humaneval", "m", "--level", "Z"), "--level is 'Z'"),
        (("humaneval", "m", "--workers", "0"), "--workers is 0"),
        (("humaneval", "m", "--temperature", "-1"), "temperature is -1"),
        (("humaneval", "m", "--url", "ftp://x"), "ftp://x cannot be asked"),
        (("paper", "--samples", rows), "the papers' tables need a model"),
        (("--compare", tmp_path, tmp_path), "cannot be read as a result"),
    ]
    for arguments, told in mistakes:
        _, err = ran(*arguments, *(("--data", rows) * (arguments[:1] == ("humaneval",))), code=2)
        assert told in err
        assert [line.split(":")[0].strip() for line in err.splitlines()] == ["error", "why", "fix"]


# ------------------------------------------------------------------------------ ended and resumed


def many_rows(folder: Path, count: int) -> Path:
    return write_rows(folder, [{**ROWS[i % 3], "task_id": f"Own/{i}"} for i in range(count)])


def command(data: Path, out: Path, model: Path, *more: str) -> list[str]:
    program = "from midfill.cli import main; main()"
    given = ["humaneval", model, "--data", data, "--out", out, "--batch", "3", "--style", "base"]
    return [sys.executable, "-c", program, "evaluate", *map(str, given), *FLOAT, *more]


def started(arguments: list[str], out: Path, lines: int) -> subprocess.Popen[str]:
    """The command, as soon as it has written so many answers."""
    process = subprocess.Popen(arguments, stderr=subprocess.PIPE, text=True, start_new_session=True)
    samples = out / "samples.jsonl"
    deadline = time.monotonic() + 50
    while not samples.exists() or samples.read_bytes().count(b"\n") < lines:
        assert process.poll() is None, process.stderr and process.stderr.read()
        assert time.monotonic() < deadline
        time.sleep(0.001)
    return process


def scores(folder: Path) -> Any:
    result = json.loads((folder / "result.json").read_text())
    return result["rules"], [[s["completion"] for s in t["samples"]] for t in result["tasks"]]


def killed_and_resumed(ran: Run, model: Path, folder: Path, moment: random.Random, *more: str):
    """Compare a run that was killed with kill -9 with one that was not."""
    data, whole, parts = many_rows(folder, 9), folder / "whole", folder / "parts"
    more = ("--max-tokens", "24", *more)
    arguments = command(data, parts, model, *more)
    process = started(arguments, parts, moment.randint(1, 6))
    time.sleep(moment.uniform(0, 0.03))
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    raw = (parts / "samples.jsonl").read_bytes()
    lines = [json.loads(line) for line in raw[: raw.rfind(b"\n") + 1].splitlines()]
    before = {(line["task_id"], line["sample"]): line["completion"] for line in lines}
    assert len(before) > 0
    ran(*arguments[4:], "--quiet")
    ran(*command(data, whole, model, *more)[4:], "--quiet")
    assert completions(parts) == completions(whole)
    assert len(before) < len(completions(whole))
    assert before.items() <= completions(whole).items()
    assert scores(parts) == scores(whole)


@pytest.mark.timeout(180)
def test_a_killed_run_goes_on_as_if_nothing_had_been(ran: Run, tiny_folder: Path, tmp_path: Path):
    killed_and_resumed(ran, tiny_folder, tmp_path, random.Random())


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize("number", range(2))
def test_killed_at_many_moments(ran: Run, tiny_folder: Path, tmp_path: Path, number: int):
    drawn = ("--temperature", "0.9", "-n", "2", "--seed", "4") if number % 2 else ()
    killed_and_resumed(ran, tiny_folder, tmp_path, random.Random(number), *drawn)


@pytest.mark.timeout(180)
def test_an_interrupted_run_says_how_to_go_on(tiny_folder: Path, tmp_path: Path):
    arguments = command(many_rows(tmp_path, 9), tmp_path / "out", tiny_folder)
    process = started(arguments, tmp_path / "out", 2)
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does it: to everybody
    _, err = process.communicate(timeout=50)
    assert process.returncode == 130
    assert "interrupted; answers are kept in" in err
    assert "the same command goes on from there" in err
    assert "Traceback" not in err
    assert len(completions(tmp_path / "out")) >= 2
