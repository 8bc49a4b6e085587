"""Where answers come from: a tiny model in this process, and servers that mean no good."""

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from midfill.engine.text import Coder
from midfill.errors import ConfigError
from midfill.evaluate.benchmarks import needle
from midfill.evaluate.result import Decoding
from midfill.evaluate.source import (
    TOO_LONG,
    Answer,
    LocalSource,
    Question,
    check_decoding,
    fingerprint,
    seed_of,
)
from midfill.evaluate.source_url import Patience, UrlSource
from midfill.evaluate.task import Prompt
from midfill.terminal.evaluate import _for_model

GREEDY = Decoding()
DRAWN = Decoding(temperature=0.9, top_p=0.95, samples=2)
QUICK = Patience(tries=3, timeout_s=2.0, first_s=0.01, longest_s=0.05)
USER = ({"role": "user", "content": "say something"},)


def questions(count: int, **more: Any) -> list[Question]:
    texts = [f"def f{i}(x):\n    return " + "x + " * i for i in range(count)]
    return [
        Question(prompt=Prompt(text=text, max_tokens=12, **more), seed=i)
        for i, text in enumerate(texts)
    ]


def in_order(found: Iterator[tuple[int, Answer]]) -> list[Answer]:
    answers = dict(found)
    assert sorted(answers) == list(range(len(answers)))
    return [answers[i] for i in range(len(answers))]


# ------------------------------------------------------------------------------- a model in here


def test_lengths_are_counted_by_the_models_own_tokenizer(tiny_coder: Coder):
    source = LocalSource(tiny_coder)
    text = "def f(x):\n    return x\n"
    asked = Question(prompt=Prompt(text=text, max_tokens=2))
    (answer,) = in_order(source.answers([asked], GREEDY))
    assert answer.prompt_tokens in (source.count_tokens(text), source.count_tokens(text) + 1)  # BOS
    assert source.context == tiny_coder.context
    fitted = _for_model(needle.load(Path(json.__file__).parent, depths=2, trials=1), source)
    assert isinstance(fitted, needle.Needle)
    assert max(fitted.lengths) < source.context
    for task in fitted.tasks("base"):
        assert source.count_tokens(task.prompt.text or "") <= task.row["length"]


@pytest.mark.parametrize("decoding", [GREEDY, DRAWN])
def test_answers_do_not_depend_on_the_batch(tiny_coder: Coder, decoding: Decoding):
    asked = questions(7)
    alone = in_order(LocalSource(tiny_coder, batch=1).answers(asked, decoding))
    together = in_order(LocalSource(tiny_coder, batch=5).answers(asked, decoding))
    assert [a.text for a in together] == [a.text for a in alone]
    assert len({a.text for a in alone}) > 1
    assert all(a.finish in ("stop", "length") and a.tokens for a in alone)


def test_a_batch_is_written_together(tiny_coder: Coder):
    tiny_coder.scheduler.max_running = 1  # as a server may have left it

    def made(batch: int) -> int:
        before = tiny_coder.scheduler.counters.steps
        list(LocalSource(tiny_coder, batch=batch).answers(questions(8), GREEDY))
        return tiny_coder.scheduler.counters.steps - before

    alone, together = made(1), made(8)
    assert together < alone / 3


def test_answers_are_those_of_the_engine(tiny_coder: Coder):
    fill = Prompt(prefix="def f(", suffix="):\n    pass", max_tokens=8)
    chat = Prompt(messages=USER, max_tokens=8)
    begun = Prompt(messages=USER, answer_start="Sure: ", max_tokens=8)
    asked = [Question(prompt=prompt) for prompt in (fill, chat, begun)]
    found = in_order(LocalSource(tiny_coder).answers(asked, GREEDY))
    assert found[0].text == tiny_coder.fill("def f(", "):\n    pass", max_tokens=8).text
    assert found[1].text == tiny_coder.chat(USER, max_tokens=8).text
    turns = [*USER, {"role": "assistant", "content": "Sure: ", "prefix": True}]
    assert found[2].text == tiny_coder.chat(turns, max_tokens=8).text
    assert found[2].text != found[1].text


def test_an_answer_ends_at_the_room_that_is_left(tiny_coder: Coder):
    room = 5
    ids = tiny_coder.context - room
    prompt = "a" * (ids - len(tiny_coder.encode_prompt("").ids))
    assert tiny_coder.room(tiny_coder.encode_prompt(prompt)) == room
    asked = [
        Question(prompt=Prompt(text=prompt + more, max_tokens=50)) for more in ("", "aaaaaaaa")
    ]
    fits, too_long = in_order(LocalSource(tiny_coder).answers(asked, GREEDY))
    assert 0 < (fits.tokens or 0) <= room
    assert (too_long.text, too_long.finish, too_long.problem) == ("", TOO_LONG, "")


def test_stops_and_the_longest_answer(tiny_coder: Coder):
    whole = tiny_coder.complete("def f(", max_tokens=12).text
    stop = whole[3:5]
    asked = [Question(prompt=Prompt(text="def f(", max_tokens=12, stop=(stop,)))]
    (answer,) = in_order(LocalSource(tiny_coder).answers(asked, GREEDY))
    assert answer.text == whole[: whole.index(stop)]
    assert answer.finish == "stop"
    (short,) = in_order(LocalSource(tiny_coder).answers(asked, Decoding(max_tokens=2)))
    assert (short.tokens or 9) <= 2


def test_an_ended_run_leaves_nothing_in_the_engine(tiny_coder: Coder):
    answers = LocalSource(tiny_coder, batch=4).answers(questions(8), GREEDY)
    next(answers)
    answers.close()  # type: ignore[attr-defined]
    assert tiny_coder.scheduler.counters.running == tiny_coder.scheduler.counters.waiting == 0


def test_a_model_is_known_by_its_files(tmp_path: Path, tiny_folder: Path):
    print_ = fingerprint(tiny_folder)
    copy = tmp_path / "moved"
    copy.mkdir()
    for file in tiny_folder.iterdir():
        (copy / file.name).write_bytes(file.read_bytes())
    assert fingerprint(copy) == print_
    weights = copy / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"\0")
    assert fingerprint(copy) != print_


def test_seeds_follow_from_the_place_alone():
    seeds = {seed_of(seed, task, i) for seed in (0, 1) for task in ("a", "b") for i in range(3)}
    assert len(seeds) == 12
    assert seed_of(None, "a", 0) == seed_of(0, "a", 0)
    assert all(0 <= seed < 2**31 for seed in seeds)


def test_several_greedy_answers_are_refused():
    with pytest.raises(ConfigError, match="3 greedy answers"):
        check_decoding(Decoding(samples=3))
    with pytest.raises(ConfigError, match="0 answers"):
        check_decoding(Decoding(samples=0))


# -------------------------------------------------------------------------------------- servers

Reply = Callable[[BaseHTTPRequestHandler, dict[str, Any], int], None]
KEY = "sk-very-secret"


class Seen:
    """A server with one way to reply, and the requests that it got."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.bodies: list[dict[str, Any]] = []
        self.paths: list[str] = []
        self.at_once = self.most_at_once = 0
        self.lock = threading.Lock()


@contextmanager
def serving(reply: Reply) -> Iterator[Seen]:
    """A server on a free port; `reply` gets the request and how often it was sent before."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            with seen.lock:
                before = seen.bodies.count(body)
                seen.bodies.append(body)
                seen.paths.append(self.path)
                seen.at_once += 1
                seen.most_at_once = max(seen.most_at_once, seen.at_once)
            try:
                reply(self, body, before)
            finally:
                with seen.lock:
                    seen.at_once -= 1

        def do_GET(self) -> None:
            reply(self, {}, 0)

        def log_message(self, *args: Any) -> None:
            pass

    class Server(ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, *args: Any) -> None:
            pass  # of those who hang up, as they should

    server = Server(("127.0.0.1", 0), Handler)
    seen = Seen(f"http://127.0.0.1:{server.server_port}")
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield seen
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def send(handler: BaseHTTPRequestHandler, status: int, body: bytes, **headers: str) -> None:
    handler.send_response(status)
    for name, value in {"Content-Length": str(len(body)), **headers}.items():
        handler.send_header(name.replace("_", "-"), value)
    handler.end_headers()
    handler.wfile.write(body)


def whole(body: dict[str, Any], text: str = "") -> bytes:
    """What a good server answers: the last word of the question."""
    asked = body["messages"][-1]["content"] if "messages" in body else body["prompt"]
    text = text or f"<{asked}>"
    part = (
        {"message": {"role": "assistant", "content": text}}
        if "messages" in body
        else {"text": text}
    )
    usage = {"prompt_tokens": 3, "completion_tokens": 4}
    return json.dumps({"choices": [{**part, "finish_reason": "stop"}], "usage": usage}).encode()


def good(handler: BaseHTTPRequestHandler, body: dict[str, Any], before: int) -> None:
    send(handler, 200, whole(body))


def source(seen: Seen, **more: Any) -> UrlSource:
    return UrlSource(seen.url, "m", **{"patience": QUICK, **more})


def test_questions_go_to_the_right_address():
    with serving(good) as seen:
        fill = Prompt(prefix="a", suffix="b")
        asked = [
            Question(prompt=p, seed=9) for p in (Prompt(text="t"), fill, Prompt(messages=USER))
        ]
        found = in_order(source(seen, requests=1).answers(asked, DRAWN))
        assert [a.text for a in found] == ["<t>", "<a>", "<say something>"]
        assert found[0].tokens == 4
        assert seen.paths == ["/v1/completions", "/v1/completions", "/v1/chat/completions"]
        assert seen.bodies[1] == {
            **{"model": "m", "max_tokens": 512, "temperature": 0.9, "top_p": 0.95, "seed": 9},
            **{"prompt": "a", "suffix": "b"},
        }
        list(source(seen).answers(asked[:1], GREEDY))
        assert "seed" not in seen.bodies[-1]


def test_several_questions_are_on_the_way_at_once():
    def slow(handler: BaseHTTPRequestHandler, body: dict[str, Any], before: int) -> None:
        time.sleep(0.05)
        good(handler, body, before)

    with serving(slow) as seen:
        found = in_order(source(seen, requests=4).answers(questions(12), GREEDY))
        assert [a.text for a in found] == [f"<{q.prompt.text}>" for q in questions(12)]
        assert seen.most_at_once == 4


def test_an_answer_is_cut_at_every_stop_though_few_are_sent():
    def wordy(handler: BaseHTTPRequestHandler, body: dict[str, Any], before: int) -> None:
        send(handler, 200, whole(body, "one two six seven"))

    with serving(wordy) as seen:
        stops = ("1", "2", "3", "4", " six")
        (answer,) = in_order(source(seen).answers(questions(1, stop=stops), GREEDY))
        assert answer.text == "one two"
        assert seen.bodies[0]["stop"] == ["1", "2", "3", "4"]


def test_begun_answers():
    begun = [Question(prompt=Prompt(messages=USER, answer_start="Sure: "))]

    def repeating(handler: BaseHTTPRequestHandler, body: dict[str, Any], before: int) -> None:
        send(handler, 200, whole(body, "Sure: yes"))

    with serving(repeating) as seen:
        told = source(seen, prefill="prefix")
        assert in_order(told.answers(begun, GREEDY))[0].text == "yes"
        last = {"role": "assistant", "content": "Sure: ", "prefix": True}
        assert seen.bodies[-1]["messages"] == [*USER, last]
        assert told.notes == ()
        list(source(seen, prefill="continue").answers(begun, GREEDY))
        assert seen.bodies[-1]["continue_final_message"] is True
        plain = source(seen)
        list(plain.answers(begun, GREEDY))
        assert seen.bodies[-1]["messages"] == list(USER)
        assert "--prefill" in plain.notes[0]
        assert plain.describe() != told.describe()
    with pytest.raises(ConfigError, match="--prefill is 'magic'"):
        UrlSource(seen.url, "m", prefill="magic")


def cut_short(handler: BaseHTTPRequestHandler, body: dict[str, Any], before: int) -> None:
    raw = whole(body)
    handler.send_response(200)
    handler.send_header("Content-Length", str(len(raw)))
    handler.end_headers()
    handler.wfile.write(raw[:-5])
    handler.close_connection = True


def cut_chunks(handler: BaseHTTPRequestHandler, body: dict[str, Any], before: int) -> None:
    handler.send_response(200)
    handler.send_header("Transfer-Encoding", "chunked")
    handler.end_headers()
    raw = whole(body)
    handler.wfile.write(f"{len(raw):x}\r\n".encode() + raw + b"\r\n")  # no last chunk
    handler.close_connection = True


def hang_up(handler: BaseHTTPRequestHandler, body: dict[str, Any], before: int) -> None:
    handler.close_connection = True


def drip(handler: BaseHTTPRequestHandler, body: dict[str, Any], before: int) -> None:
    handler.send_response(200)
    handler.send_header("Content-Length", "1000000")
    handler.end_headers()
    try:
        for _ in range(100):
            handler.wfile.write(b" ")
            time.sleep(0.05)
    except OSError:
        pass


def always(status: int, raw: bytes, **headers: str) -> Reply:
    return lambda handler, body, before: send(handler, status, raw, **headers)


def unfinished(handler: BaseHTTPRequestHandler, body: dict[str, Any], before: int) -> None:
    send(handler, 200, whole(body).replace(b'"stop"', b"null"))


HOSTILE: dict[str, Reply] = {
    "cut short": cut_short,
    "cut chunks": cut_chunks,
    "hangs up": hang_up,
    "drips": drip,
    "too many": always(429, b'{"error": {"message": "slow down"}}', Retry_After="9e99"),
    "broken": always(503, b"<html>upstream</html>"),
    "no JSON": always(200, b"{{{"),
    "deep JSON": always(200, b"[" * 100_000),
    "no UTF-8": always(200, b'"\xff\xfe"'),
    "another shape": always(200, b'{"choices": [[]]}'),
    "a number": always(200, b"7"),
    "empty": always(200, b""),
    "an error as success": always(200, b'{"error": {"message": "no"}}'),
    "unfinished": unfinished,
    "refused": always(400, b'{"error": {"message": "the key is ' + KEY.encode() + b'"}}'),
}


@pytest.mark.parametrize("how", HOSTILE)
def test_a_hostile_server_gives_problems_and_no_answers(how: str):
    patience = Patience(tries=2, timeout_s=0.3, first_s=0.01, longest_s=0.02)
    with serving(HOSTILE[how]) as seen:
        asked = UrlSource(seen.url, "m", api_key=KEY, patience=patience)
        found = in_order(asked.answers(questions(3), GREEDY))
    assert all(a.problem and a.text == "" for a in found), found
    assert not any(KEY in a.problem for a in found)
    assert len(seen.bodies) == (3 if how == "refused" else 6)


@pytest.mark.parametrize("how", ["cut short", "cut chunks", "hangs up", "too many", "no JSON"])
def test_what_passes_is_asked_again(how: str):
    def at_first(handler: BaseHTTPRequestHandler, body: dict[str, Any], before: int) -> None:
        (good if before >= 2 else HOSTILE[how])(handler, body, before)

    with serving(at_first) as seen:
        found = in_order(source(seen).answers(questions(3), GREEDY))
    assert [a.text for a in found] == [f"<{q.prompt.text}>" for q in questions(3)]
    assert len(seen.bodies) == 9


@pytest.mark.parametrize(("status", "told"), [(401, "key"), (404, "address"), (302, "elsewhere")])
def test_what_never_passes_ends_the_run(status: int, told: str):
    reply = always(status, json.dumps({"error": {"message": f"bad {KEY}"}}).encode())
    with serving(reply) as seen:
        asked = UrlSource(seen.url, "m", api_key=KEY, patience=QUICK)
        with pytest.raises(ConfigError) as refused:
            list(asked.answers(questions(2), GREEDY))
    assert told in refused.value.why
    assert KEY not in str(refused.value)
    assert KEY not in repr(asked) + str(asked.describe())


def test_an_answer_is_shortened_until_it_fits():
    def small(handler: BaseHTTPRequestHandler, body: dict[str, Any], before: int) -> None:
        if body["max_tokens"] > 100 or "long" in body["prompt"]:
            error = {"message": "does not fit", "code": "context_length_exceeded"}
            send(handler, 400, json.dumps({"error": error}).encode())
        else:
            good(handler, body, before)

    with serving(small) as seen:
        asked = [Question(prompt=Prompt(text=text)) for text in ("short", "long")]
        fits, too_long = in_order(source(seen, requests=1).answers(asked, GREEDY))
    assert fits.text == "<short>"
    assert [b["max_tokens"] for b in seen.bodies if b["prompt"] == "short"] == [512, 256, 128, 64]
    assert (too_long.finish, too_long.problem) == (TOO_LONG, "")


def test_the_only_model_of_a_server():
    def list_of(*names: str) -> Reply:
        return always(200, json.dumps({"data": [{"id": name} for name in names]}).encode())

    with serving(list_of("one")) as seen:
        assert UrlSource(seen.url, patience=QUICK).name == "one"
    with serving(list_of("one", "two")) as seen, pytest.raises(ConfigError) as refused:
        UrlSource(seen.url, patience=QUICK)
    assert "one, two" in refused.value.why
    with serving(always(500, b"")) as seen, pytest.raises(ConfigError, match="does not say"):
        UrlSource(seen.url, patience=QUICK)


def test_no_server_at_all():
    with pytest.raises(ConfigError, match="does not say which models"):
        UrlSource("http://127.0.0.1:1", patience=QUICK)


@pytest.mark.parametrize(
    ("given", "base"),
    [
        ("http://a:1", "http://a:1/v1"),
        ("http://a:1/", "http://a:1/v1"),
        ("a:1", "http://a:1/v1"),
        ("https://a/v1/chat/completions", "https://a/v1"),
        ("https://a/beta", "https://a/beta"),
        ("http://[::1]:8/v1/", "http://[::1]:8/v1"),
    ],
)
def test_ways_to_write_an_address(given: str, base: str):
    assert UrlSource(given, "m").describe()["url"] == base


@pytest.mark.parametrize("given", ["ftp://a", "http://", "http://u:p@a", "http://a:x", ""])
def test_addresses_that_are_none(given: str):
    with pytest.raises(ConfigError) as refused:
        UrlSource(given, "m")
    assert "u:p" not in str(refused.value)


@pytest.mark.parametrize("key", ["a\nb", "a b", "é"])
def test_keys_that_cannot_be_sent(key: str):
    with pytest.raises(ConfigError, match="the key cannot be sent") as refused:
        UrlSource("http://a", "m", api_key=key)
    assert key not in str(refused.value)


def test_an_ended_run_does_not_wait_for_a_slow_server():
    def stuck(handler: BaseHTTPRequestHandler, body: dict[str, Any], before: int) -> None:
        if body["prompt"] == questions(1)[0].prompt.text:
            good(handler, body, before)
        else:
            time.sleep(3)

    with serving(stuck) as seen:
        began = time.monotonic()
        answers = UrlSource(seen.url, "m").answers(questions(4), GREEDY)
        next(answers)
        answers.close()  # type: ignore[attr-defined]
        left = [t for t in threading.enumerate() if t.name.startswith("ask")]
        for thread in left:
            thread.join(2)
        assert time.monotonic() - began < 2.5
