"""The command line as it is used: answers, pipes, JSON, conversions, a conversation at a terminal."""

import errno
import io
import json
import os
import re
import select
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import midfill
from midfill import cli
from midfill.engine.text import Coder
from midfill.kernels.cpu import native, why_not

Run = Callable[..., tuple[str, str]]


@pytest.fixture
def ran(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Run `midfill` in this process; stdout and stderr, after checking the exit code."""

    def run(*arguments: str | Path, stdin: str = "", code: int = 0) -> tuple[str, str]:
        monkeypatch.setattr(sys, "argv", ["midfill", *map(str, arguments)])
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin.encode())))
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            cli.main()
        out, err = capsys.readouterr()
        assert ended.value.code == code, err
        return out, err

    return run


FLOAT = ("--dtype", "float32", "--device", "cpu")


# ---------------------------------------------------------------------------------------- answers


def test_complete(ran, tiny_folder, tiny_coder: Coder):
    out, err = ran("complete", tiny_folder, "-p", "def f(", "--max-tokens", "12", *FLOAT)
    assert out == tiny_coder.complete("def f(", max_tokens=12).text + "\n"
    assert "loading" in err
    _, err = ran("complete", tiny_folder, "-p", "def f(", "--max-tokens", "1", "--quiet", *FLOAT)
    assert err == ""


def test_complete_as_json(ran, tiny_folder, tiny_coder: Coder):
    more = ("--json", "--logprobs", "2", "--max-tokens", "5", "--echo", "-q", *FLOAT)
    out, _ = ran("complete", tiny_folder, "-p", "é", *more)
    told = json.loads(out)
    answer = tiny_coder.complete("é", max_tokens=5, logprobs=2, echo=True)
    assert answer.logprobs is not None
    assert told["text"] == answer.text
    assert told["tokens"] == answer.tokens
    assert told["finish_reason"] == answer.finish_reason
    assert told["usage"] == {
        "prompt_tokens": 3, "completion_tokens": 5, "cached_tokens": 0, "adopted_tokens": 0
    }  # fmt: skip
    assert told["stop"] is None
    assert told["warnings"] == []
    assert [t["id"] for t in told["logprobs"]] == answer.tokens
    for shown, token in zip(told["logprobs"], answer.logprobs, strict=True):
        assert shown["bytes"] == list(token.bytes)
        assert shown["logprob"] == token.logprob
        assert [t["id"] for t in shown["top"]] == [t.id for t in token.top]


def test_several_answers(ran, tiny_folder, tiny_coder: Coder):
    sampled = ("--temperature", "1", "--seed", "4", "--max-tokens", "8", "-n", "3", "-q", *FLOAT)
    answers = tiny_coder.complete("ab", temperature=1, seed=4, max_tokens=8, n=3)
    told, _ = ran("complete", tiny_folder, "-p", "ab", "--json", *sampled)
    assert [a["text"] for a in json.loads(told)] == [a.text for a in answers]
    out, _ = ran("complete", tiny_folder, "-p", "ab", *sampled)
    assert out == "".join(f"--- {i}\n{a.text}\n" for i, a in enumerate(answers, 1))
    assert ran("complete", tiny_folder, "-p", "ab", *sampled)[0] == out
    other = [*sampled[:3], "5", *sampled[4:]]
    assert ran("complete", tiny_folder, "-p", "ab", *other)[0] != out


def test_a_stop_and_every_sampling_option(ran, tiny_folder, tiny_coder: Coder):
    given = {"temperature": 0.9, "top_p": 0.9, "top_k": 40, "min_p": 0.01, "seed": 1}
    whole = tiny_coder.complete("ab", max_tokens=20, **given).text
    stop = whole[3:5]
    options = [f"--{name.replace('_', '-')}={value}" for name, value in given.items()]
    more = (*options, "--stop", stop, "--stop", "never", "--json", "-q", *FLOAT)
    told = json.loads(ran("complete", tiny_folder, "-p", "ab", "--max-tokens", "20", *more)[0])
    assert told["text"] == whole[: whole.find(stop)]
    assert (told["finish_reason"], told["stop"]) == ("stop", stop)


def test_an_answer_in_a_form(ran, tiny_folder, tmp_path):
    (tmp_path / "schema.json").write_text('{"enum": ["left", "right"]}')
    (tmp_path / "answer.lark").write_text('start: "yes" | "no"')
    more = ("-p", "x", "--max-tokens", "40", "-q", *FLOAT)
    out, _ = ran("complete", tiny_folder, "--regex", "[0-9]{3}", *more)
    assert re.fullmatch("[0-9]{3}\n", out)
    out, _ = ran("complete", tiny_folder, "--json-schema", tmp_path / "schema.json", *more)
    assert json.loads(out) in ("left", "right")
    out, _ = ran("complete", tiny_folder, "--grammar", tmp_path / "answer.lark", *more)
    assert out in ("yes\n", "no\n")
    out, _ = ran("fill", tiny_folder, "--prefix", "x", "--regex", "[a-c]{4}", *more[2:])
    assert re.fullmatch("[a-c]{4}\n", out)
    out, _ = ran("chat", tiny_folder, "-m", "x", "--regex", "[a-c]{4}", *more[2:])
    assert re.fullmatch("[a-c]{4}\n", out)


def test_what_cannot_be_kept_is_refused(ran, tiny_folder, tmp_path):
    (tmp_path / "schema.json").write_text("[1]")
    wrong = [
        (("--regex", "a", "--grammar", "b"), "--regex and --grammar were given"),
        (("--regex", "("), "regular expression"),
        (("--json-schema", tmp_path / "schema.json"), "the schema is not an object"),
        (("--grammar", tmp_path / "none.lark"), "none.lark cannot be read"),
        (("--overflow", "drop"), "overflow is 'drop'"),
        (("--strict",), "the same answer to the bit needs the compiled kernels"),
    ]
    for options, what in wrong:
        _, err = ran("complete", tiny_folder, "-p", "x", "-q", *options, *FLOAT, code=2)
        assert [line.split(":")[0].strip() for line in err.splitlines()] == ["error", "why", "fix"]
        assert what in err.splitlines()[0]


def test_beyond_the_context(ran, tiny_folder):
    more = ("-p", "def f(", "--context", "128", "--max-tokens", "200", "--json", "-q", *FLOAT)
    _, err = ran("complete", tiny_folder, *more, code=2)
    assert "do not fit a context of 128" in err
    out, _ = ran("complete", tiny_folder, "--overflow", "shift", *more)
    answer = json.loads(out)
    assert answer["usage"]["completion_tokens"] == 200 or answer["finish_reason"] == "stop"


def test_no_look_up(ran, tiny_folder):
    more = ("-p", "ab" * 20, "--max-tokens", "20", "-q")
    plain, _ = ran("complete", tiny_folder, *more)
    assert ran("complete", tiny_folder, "--no-lookup", *more)[0] == plain


def test_what_is_odd_about_the_weights_is_told(ran, tiny_folder, monkeypatch, tmp_path):
    if native is None:
        pytest.skip(f"only the compiled kernels hold weights otherwise than stored: {why_not}")
    monkeypatch.setattr("midfill.engine.load.WORTH_A_FILE", 0)
    monkeypatch.setenv("MIDFILL_CACHE", str(tmp_path / "file" / "cache"))
    (tmp_path / "file").write_text("")
    more = ("-p", "x", "--max-tokens", "1")
    _, err = ran("complete", tiny_folder, *more)
    assert "note: the packed weights take memory of their own" in err
    assert ran("complete", tiny_folder, "-q", *more)[1] == ""


def test_where_the_text_comes_from(ran, tiny_folder, tmp_path):
    file = tmp_path / "a.py"
    file.write_text("one\n  two\n\nfour\n", newline="")
    more = ("--max-tokens", "6", "--echo", "-q", *FLOAT)

    def of(*source: str | Path, stdin: str = "") -> str:
        return ran("complete", tiny_folder, *source, *more, stdin=stdin)[0]

    text = file.read_text()
    assert of("-f", file) == of(stdin=text) == of("-f", "-", stdin=text) == of("-p", text)
    assert of("-f", file).startswith(text)
    assert of("--at", f"{file}:2") == of("-p", "one\n")
    assert of("--at", f"{file}:2:4") == of("-p", "one\n  t")
    assert of("--at", f"{file}:2:99") == of("-p", "one\n  two")
    assert of("--at", f"{file}:3") == of("-p", "one\n  two\n")
    assert of("--at", f"{file}:5") == of("-p", text)
    empty = json.loads(of("--json", stdin=""))
    assert empty["usage"]["prompt_tokens"] == 1


def test_fill(ran, tiny_folder, tiny_coder: Coder, tmp_path):
    more = ("--max-tokens", "9", "-q", *FLOAT)
    want = tiny_coder.fill("a = 1\n", "c = 3\n", max_tokens=9)
    sides = ("--prefix", "a = 1\n", "--suffix", "c = 3\n")
    assert ran("fill", tiny_folder, *sides, *more)[0] == want.text + "\n"
    told = json.loads(ran("fill", tiny_folder, *sides, "--json", *more)[0])
    assert told["tokens"] == want.tokens
    holed = "a = 1\n<HOLE>c = 3\n"
    assert ran("fill", tiny_folder, *more, stdin=holed)[0] == want.text + "\n"
    marked = (tmp_path / "a.py", "--hole", "@@", *more)
    marked[0].write_text(holed.replace("<HOLE>", "@@"), newline="")
    assert ran("fill", tiny_folder, "-f", *marked)[0] == want.text + "\n"
    (tmp_path / "b.py").write_text(holed.replace("<HOLE>", ""), newline="")
    assert ran("fill", tiny_folder, "--at", f"{tmp_path}/b.py:2", *more)[0] == want.text + "\n"
    only = tiny_coder.fill("", "c", max_tokens=9).text
    assert ran("fill", tiny_folder, "--suffix", "c", *more)[0] == only + "\n"


def test_chat_once(ran, tiny_folder, tiny_coder: Coder):
    more = ("--max-tokens", "9", "--seed", "2", "--temperature", "1", "-q", *FLOAT)
    sampling: dict[str, Any] = {"max_tokens": 9, "seed": 2, "temperature": 1}
    want = tiny_coder.chat([{"role": "user", "content": "hi"}], **sampling)
    assert ran("chat", tiny_folder, "-m", "hi", *more)[0] == want.text + "\n"
    assert ran("chat", tiny_folder, *more, stdin="hi")[0] == want.text + "\n"
    told = json.loads(ran("chat", tiny_folder, "-m", "hi", "--json", *more)[0])
    assert (told["text"], told["tokens"]) == (want.text, want.tokens)
    system = {"role": "system", "content": "Be brief."}
    asked = tiny_coder.chat([system, {"role": "user", "content": "hi"}], **sampling)
    got = ran("chat", tiny_folder, "-m", "hi", "--system", "Be brief.", *more)[0]
    assert got == asked.text + "\n"


def test_a_look_alike_is_warned_of(ran, tiny_folder):
    text = "<|fim_begin|>a<|fim_hole|>b<|fim_end|>"
    _, err = ran("complete", tiny_folder, "-p", text, "--max-tokens", "1", *FLOAT)
    assert "warning: the text holds" in err


# ------------------------------------------------------------------------------- facts and formats

SIZES = {  # total, active (all but the input embedding), cache bytes per token: the papers' models
    "deepseek-coder-1.3b": (1_346_471_936, 1_346_471_936 - 32256 * 2048, 196_608),
    "deepseek-coder-5.7b-mqa": (5_700_325_376, 5_700_325_376 - 32256 * 4096, 16_384),
    "deepseek-coder-6.7b": (6_740_512_768, 6_740_512_768 - 32256 * 4096, 524_288),
    "deepseek-coder-33b": (33_342_991_360, 33_342_991_360 - 32256 * 7168, 253_952),
    "deepseek-coder-v2-lite": (15_706_484_224, 2_451_435_008, 27 * 576 * 2),
    "deepseek-coder-v2": (235_741_434_880, 20_851_512_320, 60 * 576 * 2),
}


@pytest.mark.parametrize("name", SIZES)
def test_describe_the_released_models(ran, name):
    total, active, cache = SIZES[name]
    told = json.loads(ran("describe", name, "--json", "--context", "1000")[0])
    assert (told["total_parameters"], told["active_parameters"]) == (total, active)
    assert told["cache_bytes_per_token"] == cache
    assert told["weight_bytes"] == 2 * total
    assert told["memory_bytes"] == 2 * total + 1000 * cache
    shown, _ = ran("describe", name)
    for number in (total, active, cache):
        assert f"{number:,}" in shown
    doubled = json.loads(ran("describe", name, "--json", "--dtype", "float32")[0])
    assert doubled["weight_bytes"] == 4 * total
    assert doubled["cache_bytes_per_token"] == 2 * cache


def test_describe_a_folder_and_a_file(ran, tiny_folder, tmp_path):
    recipe = json.loads(ran("describe", "tiny", "--json")[0])
    ran("convert", tiny_folder, tmp_path / "a.gguf", "--to", "gguf", "--quiet")
    for path in (tiny_folder, tmp_path / "a.gguf"):
        told = json.loads(ran("describe", path, "--json")[0])
        for key in ("total_parameters", "active_parameters", "cache_bytes_per_token", "layers"):
            assert told[key] == recipe[key]
        assert told["file_bytes"] > told["weight_bytes"]
        assert "on disk" in ran("describe", path)[0]


def test_models(ran):
    told = json.loads(ran("models", "--json")[0])
    names = [entry["name"] for entry in told]
    assert "smollm2-135m-instruct" in names
    assert len(names) == len(set(names))
    assert sum(entry["default"] for entry in told) == 1
    for entry in told:
        assert entry["licence"]
        assert entry["sources"]
    shown, err = ran("models")
    assert all(name in shown for name in names)
    assert "default: " in err
    assert ran("models", "--quiet")[1] == ""


def test_doctor(ran):
    told = json.loads(ran("doctor", "--json")[0])
    found = {finding["what"]: finding for finding in told}
    assert {"python", "torch", "memory", "arithmetic", "packed weights"} <= found.keys()
    off = os.environ.get("MIDFILL_CPU_LEVEL") == "none"
    fix = "unset MIDFILL_CPU_LEVEL" if off else "make -B install"
    assert native is not None or fix in found["kernels"]["fix"]
    assert {finding["status"] for finding in told} <= {"ok", "note"}
    assert all(f["fix"] or f["status"] == "ok" or f["what"] == "accelerator" for f in told)
    assert "arithmetic" in ran("doctor")[0]


def test_convert_both_ways(ran, tiny_folder, tiny_coder: Coder, tmp_path):
    gguf, back = tmp_path / "a.gguf", tmp_path / "back"
    out, err = ran("convert", tiny_folder, gguf, "--to", "gguf")
    assert out == f"{gguf}\n"
    assert "writing a.gguf" in err
    told = json.loads(ran("convert", gguf, back, "--to", "hf", "--json", "--quiet")[0])
    assert told == {"source": str(gguf), "path": str(back), "to": "hf"}
    want = tiny_coder.complete("ab", max_tokens=8).text + "\n"
    for model in (gguf, back):
        assert ran("complete", model, "-p", "ab", "--max-tokens", "8", "-q", *FLOAT)[0] == want
    ran("convert", tiny_folder, tmp_path / "small.gguf", "--to", "gguf", "--quant", "q4_0", "-q")
    assert (tmp_path / "small.gguf").stat().st_size < gguf.stat().st_size / 2


def test_version(ran):
    assert ran("--version") == (f"midfill {midfill.__version__}\n", "")


# ----------------------------------------------------------------------------------- real processes

MAIN = "from midfill.cli import main; main()"


def process(*arguments: str | Path) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-W", "error", "-c", MAIN, *map(str, arguments)]
    pipe = subprocess.PIPE
    return subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe)


def test_a_pipe_in_and_a_reader_that_leaves(tiny_folder):
    """`... | midfill complete | head -c 3`: no complaint when nobody reads on."""
    command = ("complete", tiny_folder, "--max-tokens", "1500", "--temperature", "1", "--seed", "1")
    with process(*command, "-q", *FLOAT) as child:
        assert child.stdin is not None
        assert child.stdout is not None
        assert child.stderr is not None
        child.stdin.write("def café(".encode())
        child.stdin.close()
        assert len(child.stdout.read(3)) == 3
        child.stdout.close()
        assert child.stderr.read() == b""
        assert child.wait(timeout=40) == 0


# ------------------------------------------------------------------------------------ a conversation

AT_A_TERMINAL = """
import fcntl, signal, termios
fcntl.ioctl(0, termios.TIOCSCTTY, 0)  # so that Ctrl+C reaches this process
signal.signal(signal.SIGINT, signal.default_int_handler)
from midfill.cli import main
main()
"""


class Terminal:
    """A pseudo-terminal with `midfill chat` at its other end."""

    def __init__(self, *arguments: str | Path, **environment: str) -> None:
        ours, theirs = os.openpty()
        self.ours, self.shown = ours, ""
        self.child = subprocess.Popen(
            [sys.executable, "-c", AT_A_TERMINAL, *map(str, arguments)],
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            start_new_session=True,
            env=os.environ | {"TERM": "xterm", "PROMPT_TOOLKIT_NO_CPR": "1"} | environment,
        )
        os.close(theirs)

    def until(self, pattern: str, seconds: float = 40) -> str:
        """Read until `pattern` shows; what was shown up to its end."""
        end = time.monotonic() + seconds
        while not (found := re.search(pattern, self.shown)):
            assert time.monotonic() < end, f"no {pattern!r} in {self.shown[-2000:]!r}"
            assert self._read(), f"closed before {pattern!r}: {self.shown[-2000:]!r}"
        before, self.shown = self.shown[: found.end()], self.shown[found.end() :]
        return before

    def _read(self) -> bool:
        if not select.select([self.ours], [], [], 0.5)[0]:
            return self.child.poll() is None
        try:
            raw = os.read(self.ours, 65536)
        except OSError as problem:
            if problem.errno != errno.EIO:  # Linux: the other end is closed
                raise
            return False
        self.shown += re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", raw.decode(errors="replace"))
        return bool(raw)

    def type(self, text: str) -> None:
        os.write(self.ours, text.encode())

    def close(self) -> int:
        """Read to the end; the exit code."""
        while self._read():
            pass
        os.close(self.ours)
        return self.child.wait(timeout=20)


@pytest.fixture
def terminal(tiny_folder: Path, tmp_path: Path) -> Iterator[Terminal]:
    if not hasattr(os, "openpty"):
        pytest.skip("no pseudo-terminals here")
    sampling = ("--temperature", "1", "--seed", "1", "--max-tokens", "1500")
    opened = Terminal("chat", tiny_folder, *sampling, *FLOAT, MIDFILL_CACHE=str(tmp_path))
    yield opened
    if opened.child.poll() is None:
        opened.child.kill()
        opened.child.wait()


def test_a_conversation(terminal):
    """A question, a command, an answer that is stopped, and the way out."""
    prompt = r">\x08?$"  # behind which nothing else is drawn
    terminal.until(r"/help lists")
    terminal.until(prompt)
    terminal.type("hello\r")
    terminal.until(r"\[\d+ tokens, .*first after .*\]")
    terminal.until(prompt)
    terminal.type("/reset\r")
    terminal.until("forgotten")
    terminal.until(prompt)
    terminal.type("again\r")
    terminal.until(r"again\s*\n.")
    terminal.type("\x03")
    terminal.until(r"\[stopped\]")
    terminal.until(prompt)
    terminal.type("\x04")
    assert terminal.close() == 0
