"""Log-probabilities and text offsets of completions and chats."""

import codecs
import json
import math
import random
from typing import Any

import openai
import pytest

from midfill.engine.results import Piece, TokenLogprob
from midfill.server.openai import Places
from running_server import HELLO, Running


def test_completion_logprobs_are_parallel_and_sorted_out(client: openai.OpenAI):
    answer = client.completions.create(
        model="", prompt="def f(", logprobs=3, max_tokens=8, temperature=0, echo=True
    )
    choice = answer.choices[0]
    found = choice.logprobs
    assert found is not None
    assert found.tokens is not None
    assert found.token_logprobs is not None
    assert found.top_logprobs is not None
    assert found.text_offset is not None
    sizes = {len(x) for x in (found.tokens, found.token_logprobs, found.top_logprobs)}
    assert sizes == {len(found.text_offset)}
    assert found.token_logprobs[0] is None
    assert found.top_logprobs[0] is None
    for logprob, rivals in zip(found.token_logprobs[1:], found.top_logprobs[1:], strict=True):
        assert logprob is not None
        assert logprob <= 0
        assert 1 <= len(rivals) <= 4
        assert logprob in rivals.values()
    assert found.text_offset == sorted(found.text_offset)
    assert max(found.text_offset) <= len(choice.text)


def test_streamed_logprobs_join_to_the_whole(client: openai.OpenAI):
    ask: dict[str, Any] = {"model": "", "prompt": "def f(", "logprobs": 2, "temperature": 0}
    whole: Any = client.completions.create(**ask).choices[0].logprobs
    joined: dict[str, list[Any]] = {name: [] for name in whole.model_dump()}
    for part in client.completions.create(**ask, stream=True):
        for choice in part.choices:
            found: Any = choice.logprobs
            for name, values in found.model_dump().items():
                joined[name] += values
    assert joined == whole.model_dump()


def bytes_of(token: str) -> bytes:
    """The bytes that a token of `logprobs` is spelled for."""
    if token.startswith("bytes:"):
        return bytes.fromhex(token.removeprefix("bytes:").replace("\\x", ""))
    return token.encode()


def places(tokens: list[bytes], begin: int = 0) -> list[int]:
    """The character that holds the first byte of each token: the last one when decoding ends there."""
    found, data = [], b""
    for token in tokens:
        found.append(begin + len((data + token[:1]).decode(errors="replace")) - bool(token))
        data += token
    return [min(found[at:]) for at in range(len(found))]


@pytest.mark.parametrize("stop", [None, ["\ufffd" * 3 + "\0", "ab", "re\ufffd"]])
def test_text_offsets_index_the_text_whatever_the_bytes(
    server: Running, tiny_coder: Any, stop: Any
):
    """An untrained model writes mostly bytes that are parts of characters."""
    fragments = "é€😀".encode() + b"a\xe2\x82b\xf0\x9f\x98\xe2"
    ids = {tiny_coder.tokenizer.token_bytes(token): token for token in range(256)}
    body = {
        "prompt": [ids[bytes([byte])] for byte in fragments],
        "max_tokens": 60,
        "temperature": 1.5,
        "logprobs": 0,
    }
    seen = 0
    for seed in range(12):
        ask = {**body, "seed": seed, "echo": seed % 2 == 0, "stop": stop}
        choice = server.post("/v1/completions", ask).json()["choices"][0]
        found, text = choice["logprobs"], choice["text"]
        tokens = [bytes_of(token) for token in found["tokens"]]
        echoed = tokens[: len(fragments)] if ask["echo"] else []
        head = len(b"".join(echoed).decode(errors="replace"))
        want = places(echoed) + places(tokens[len(echoed) :], head)
        assert found["text_offset"] == [min(place, len(text)) for place in want], seed
        seen += text.count("\ufffd")
        raw = server.post("/v1/completions", {**ask, "stream": True}).text.split("\n\n")
        parts = [json.loads(event[6:])["choices"][0] for event in raw[:-2]]
        streamed = [place for part in parts for place in part["logprobs"]["text_offset"]]
        assert [min(place, len(text)) for place in streamed] == found["text_offset"]
    assert seen > 100


@pytest.mark.parametrize("size", [1, 2, 3, 7])
def test_text_offsets_of_random_fragments(size: int):
    """Offsets do not depend on how tokens fall into pieces, nor pieces on characters."""
    chance = random.Random(size)
    alphabet = [*"aé€😀\u2028".encode(), 0xFF, 0xED, 0xA0, 0xC0]
    for _ in range(300):
        tokens = [
            bytes(chance.choices(alphabet, k=chance.randrange(1, size + 1)))
            for _ in range(chance.randrange(1, 12))
        ]
        decoder, cursor, found = codecs.getincrementaldecoder("utf-8")("replace"), 0, []
        answer, held = Places(echo=False), []
        for number, token in enumerate(tokens, 1):
            last = number == len(tokens)
            held.append(TokenLogprob(0, "", token))
            text = decoder.decode(token, final=last)
            cursor += len(text)
            if text or last:
                piece = Piece(text, tokens=tuple(held), finish_reason="length" if last else None)
                found += answer.of(piece)
                held = []
        assert found == places(tokens)
        assert max(found) < cursor


def test_text_offsets_count_echoed_sentinels_and_the_end(server: Running, tiny_coder: Any):
    tokenizer = tiny_coder.tokenizer
    ids = [tokenizer.bos_id, *tokenizer.encode("Xé"), tokenizer.fim.prefix, *tokenizer.encode("Z")]
    ask = {"prompt": ids, "max_tokens": 0, "logprobs": 0, "echo": True}
    choice = server.post("/v1/completions", ask).json()["choices"][0]
    first, last = choice["text"].index("X"), choice["text"].rindex("Z")
    assert choice["logprobs"]["text_offset"] == [0, first, first + 1, first + 1, first + 2, last]
    cut, end = TokenLogprob(0, "", b"\xe2"), TokenLogprob(0, "<end>", b"")
    piece = Piece("\ufffd", tokens=(cut, end), finish_reason="stop")
    assert Places(echo=False).of(piece) == [0, 1]


def test_chat_logprobs_carry_bytes_and_rivals(client: openai.OpenAI):
    answer = client.chat.completions.create(
        model="", messages=HELLO, logprobs=True, top_logprobs=2, max_tokens=4, temperature=0
    )
    found = answer.choices[0].logprobs
    assert found is not None
    assert found.content
    for token in found.content:
        assert token.logprob <= 0
        assert token.bytes is not None
        assert len(token.top_logprobs) == 2
        assert math.isclose(token.logprob, token.top_logprobs[0].logprob)


@pytest.mark.parametrize("max_tokens", [0, 1])
def test_harness_scores_prompts_given_as_ids(server: Running, tiny_coder: Any, max_tokens: int):
    """The request lm-eval sends for log-likelihoods, and the slice it takes of the answer."""
    prompts = [tiny_coder.encode_prompt(text).ids for text in ("a = 1", "def f(x): return x")]
    body = {"prompt": prompts, "max_tokens": max_tokens, "logprobs": 1, "echo": True}
    answer = server.post("/v1/completions", {**body, "temperature": 0, "seed": 1}).json()
    for index, (ids, choice) in enumerate(zip(prompts, answer["choices"], strict=True)):
        assert choice["index"] == index
        logprobs = choice["logprobs"]["token_logprobs"]
        rivals = choice["logprobs"]["top_logprobs"]
        assert len(logprobs) == len(rivals) == len(ids) + max_tokens
        context = 2
        end = -1 if max_tokens else None
        assert all(value <= 0 for value in logprobs[context:end])
        for value, top in zip(logprobs[context:end], rivals[context:end], strict=True):
            assert value <= max(top.values())
    assert answer["usage"]["prompt_tokens"] == sum(map(len, prompts))
    assert answer["usage"]["completion_tokens"] == max_tokens * len(prompts)
