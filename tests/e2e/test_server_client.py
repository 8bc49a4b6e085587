"""The official client against our server: completions, chats, models."""

from types import SimpleNamespace
from typing import Any

import httpx
import openai
import pytest

from midfill.server.schema import ChatRequest, CompletionRequest
from running_server import CHAT, HELLO, Running, Slow

MIDDLE = ("def add(a, b):\n    return ", "\n\nprint(add(1, 2))\n")


def test_models_are_listed_with_what_they_can(client: openai.OpenAI, tiny_coder: Any):
    (model,) = client.models.list().data
    assert model.id == tiny_coder.name
    assert model.model_dump()["context_length"] == tiny_coder.context
    assert model.model_dump()["fim"]
    assert model.model_dump()["chat"]
    assert client.models.retrieve(tiny_coder.name).id == tiny_coder.name


def test_completion_defaults_to_sixteen_tokens(client: openai.OpenAI, tiny_coder: Any):
    answer = client.completions.create(
        model=tiny_coder.name, prompt="def f(", temperature=0, extra_body={"ignore_eos": True}
    )
    assert answer.object == "text_completion"
    assert answer.id.startswith("cmpl-")
    assert answer.choices[0].finish_reason == "length"
    assert answer.usage is not None
    assert answer.usage.completion_tokens == 16
    assert answer.usage.total_tokens == answer.usage.prompt_tokens + 16


@pytest.mark.parametrize("suffix", [None, "", MIDDLE[1]])
def test_completion_streams_what_it_answers(client: openai.OpenAI, suffix: str | None):
    ask: dict[str, Any] = {"model": "default", "prompt": MIDDLE[0], "max_tokens": 24}
    ask |= {"suffix": suffix, "temperature": 0}
    whole = client.completions.create(**ask)
    parts = list(
        client.completions.create(**ask, stream=True, stream_options={"include_usage": True})
    )
    assert "".join(c.text for part in parts for c in part.choices) == whole.choices[0].text
    assert parts[-1].choices == []
    assert parts[-1].usage == whole.usage
    assert all(part.usage is None for part in parts[:-1])
    reasons = [c.finish_reason for part in parts for c in part.choices]
    assert reasons[-1] == whole.choices[0].finish_reason
    assert not any(reasons[:-1])


def test_an_empty_suffix_is_a_fill(client: openai.OpenAI, tiny_coder: Any):
    fill = client.completions.create(model="", prompt="x = ", suffix="", max_tokens=1)
    plain = client.completions.create(model="", prompt="x = ", max_tokens=1)
    assert fill.usage is not None
    assert plain.usage is not None
    assert fill.usage.prompt_tokens == len(tiny_coder.encode_fill("x = ", "").ids)
    assert plain.usage.prompt_tokens == len(tiny_coder.encode_prompt("x = ").ids)


def test_echo_with_suffix_gives_prompt_and_middle(client: openai.OpenAI):
    ask: dict[str, Any] = {"model": "", "prompt": MIDDLE[0], "suffix": MIDDLE[1], "max_tokens": 8}
    plain = client.completions.create(**ask)
    echoed = client.completions.create(**ask, echo=True)
    assert echoed.choices[0].text == MIDDLE[0] + plain.choices[0].text
    assert echoed.usage == plain.usage


@pytest.mark.parametrize("n", [1, 2])
def test_chat_streams_what_it_answers(client: openai.OpenAI, n: int):
    ask: dict[str, Any] = {"model": "default", "messages": HELLO, "max_tokens": 24, "n": n}
    ask |= {"seed": 7, "temperature": 0.8}
    whole = client.chat.completions.create(**ask)
    texts = [""] * n
    roles = [0] * n
    reasons: list[str | None] = [None] * n
    for part in client.chat.completions.create(**ask, stream=True):
        for choice in part.choices:
            texts[choice.index] += choice.delta.content or ""
            roles[choice.index] += choice.delta.role == "assistant"
            reasons[choice.index] = choice.finish_reason or reasons[choice.index]
    assert texts == [choice.message.content for choice in whole.choices]
    assert reasons == [choice.finish_reason for choice in whole.choices]
    assert roles == [1] * n
    assert whole.object == "chat.completion"
    assert whole.id.startswith("chatcmpl-")


def test_chat_takes_text_parts_and_the_developer_role(client: openai.OpenAI):
    def ask(*messages: Any) -> Any:
        return client.chat.completions.create(
            model="", messages=messages, temperature=0, max_completion_tokens=8
        )

    plain = ask({"role": "system", "content": "Be brief."}, {"role": "user", "content": "a\nb"})
    parts = [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]
    other = ask({"role": "developer", "content": "Be brief."}, {"role": "user", "content": parts})
    assert other.choices[0].message.content == plain.choices[0].message.content
    assert other.usage == plain.usage


def test_prefix_opens_the_answer(client: openai.OpenAI, tiny_coder: Any):
    opened = [*HELLO, {"role": "assistant", "content": "Certainly"}]
    prompt = tiny_coder.encode_chat(opened, continue_last=True)
    opened[-1] = {**opened[-1], "prefix": True}
    answer = client.chat.completions.create(model="", messages=opened, max_tokens=8, temperature=0)
    assert answer.usage is not None
    assert answer.usage.prompt_tokens == len(prompt.ids)


def test_several_prompts_times_n_are_ordered(client: openai.OpenAI):
    ask: dict[str, Any] = {"model": "", "max_tokens": 6, "seed": 3, "temperature": 0.9}
    both = client.completions.create(**ask, prompt=["one", "two"], n=2).choices
    assert [choice.index for choice in both] == [0, 1, 2, 3]
    alone = client.completions.create(**ask, prompt="two", n=2).choices
    assert [choice.text for choice in both[2:]] == [choice.text for choice in alone]


def test_best_of_keeps_the_likeliest(client: openai.OpenAI):
    ask: dict[str, Any] = {"model": "", "prompt": "x", "seed": 5, "temperature": 1.5}
    ask |= {"max_tokens": 6, "logprobs": 0}
    every = client.completions.create(**ask, n=4).choices

    def mean(choice: Any) -> float:
        return sum(choice.logprobs.token_logprobs) / len(choice.logprobs.token_logprobs)

    kept = client.completions.create(**ask, best_of=4, n=2).choices
    want = sorted(choice.text for choice in sorted(every, key=mean)[-2:])
    assert sorted(choice.text for choice in kept) == want
    assert mean(kept[0]) >= mean(kept[1])


def test_stop_ends_before_the_stop_string(client: openai.OpenAI):
    ask: dict[str, Any] = {"model": "", "prompt": "def f(", "temperature": 0, "max_tokens": 32}
    free = client.completions.create(**ask).choices[0].text
    stop = free[3:5]
    cut = client.completions.create(**ask, stop=[stop, "never"]).choices[0]
    assert cut.text == free[: free.index(stop)]
    assert cut.finish_reason == "stop"


def test_client_errors_are_typed(client: openai.OpenAI):
    with pytest.raises(openai.BadRequestError) as bad:
        client.completions.create(model="", prompt="x", max_tokens=-3)
    assert (bad.value.param, bad.value.code) == ("max_tokens", "invalid_request")
    with pytest.raises(openai.NotFoundError) as unknown:
        client.completions.create(model="no-such-model", prompt="x")
    assert (unknown.value.param, unknown.value.code) == ("model", "model_not_found")


def test_a_second_model_chats(tiny_coder: Any):
    chatty: Any = Slow(tiny_coder, 0)
    chatty.name = "other/chatty"
    with Running(tiny_coder, lambda: chatty) as server, server.client() as client:
        assert [model.id for model in client.models.list().data] == [tiny_coder.name, chatty.name]
        plain = client.completions.create(model="default", prompt="x", max_tokens=1)
        assert plain.model == tiny_coder.name
        assert chatty.made == 0
        for name in ("default", "other/chatty", "chatty"):
            chat = client.chat.completions.create(model=name, messages=HELLO, max_tokens=1)
            assert chat.model == chatty.name


def test_a_model_without_template_says_that_it_cannot_chat(tiny_coder: Any):
    class Base(Slow):
        tokenizer = SimpleNamespace(chat_template=None)
        can_fill = False

    with Running(Base(tiny_coder)) as server:
        error = server.post(CHAT, {"messages": HELLO}).json()["error"]
        assert error["code"] == "chat_not_supported"
        (entry,) = httpx.get(server.url + "/v1/models").json()["data"]
        assert (entry["fim"], entry["chat"]) == (False, False)


def test_defaults_are_the_models_then_openais():
    defaults = {"temperature": 0.2, "top_p": 0.9, "top_k": 40}
    chosen = CompletionRequest(prompt="x", top_p=0.5).sampling(defaults, 99)
    assert (chosen.temperature, chosen.top_p, chosen.top_k, chosen.max_tokens) == (0.2, 0.5, 40, 16)
    fill = CompletionRequest(prompt="x", suffix="").sampling(defaults, 999)
    assert (fill.temperature, fill.max_tokens) == (0.0, 128)
    chat = ChatRequest.model_validate({"messages": HELLO}).sampling({})
    assert (chat.temperature, chat.top_p, chat.top_k, chat.max_tokens) == (1.0, 1.0, 0, None)


def test_unknown_model_is_told_the_nearest(server: Running, tiny_coder: Any):
    answer = server.post("/v1/completions", {"model": tiny_coder.name[:-1], "prompt": "x"})
    assert answer.status_code == 404
    assert repr(tiny_coder.name) in answer.json()["error"]["message"]
