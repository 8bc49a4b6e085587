"""Chat messages as OpenAI clients send them, checked and put in the form templates expect."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from midfill.errors import RequestError
from midfill.tokenizer.vocabulary import refuse_surrogates

ROLES = ("system", "developer", "user", "assistant", "tool")


def refused(what: str, why: str, fix: str, param: str) -> RequestError:
    """The error for one field of a chat request."""
    return RequestError(f"{param}: {what}", why=why, fix=fix, param=param)


def checked(messages: Sequence[Mapping[str, object]]) -> list[dict[str, Any]]:
    """The messages as the template gets them: plain roles, text contents, arguments as objects."""
    if not isinstance(messages, Sequence) or isinstance(messages, str) or not messages:
        raise refused(
            "there are none",
            "a chat needs at least one message",
            'send [{"role": "user", "content": "..."}]',
            "messages",
        )
    return [_message(message, f"messages[{i}]") for i, message in enumerate(messages)]


def _message(message: Mapping[str, object], at: str) -> dict[str, Any]:
    if not isinstance(message, Mapping):
        raise refused(
            f"it is a {type(message).__name__}",
            "a message is an object",
            'send {"role": ..., "content": ...}',
            at,
        )
    role = message.get("role")
    if role not in ROLES:
        raise refused(
            f"the role is {role!r}",
            f"known are {', '.join(ROLES)}",
            "use one of these",
            f"{at}.role",
        )
    turn: dict[str, Any] = dict(message)
    turn["role"] = "system" if role == "developer" else role
    calls = _calls(message.get("tool_calls"), f"{at}.tool_calls")
    if calls:
        turn["tool_calls"] = calls
    else:
        turn.pop("tool_calls", None)
    if message.get("content") is not None or not (calls and role == "assistant"):
        turn["content"] = _content(message.get("content"), f"{at}.content")
    return turn


def _content(content: object, at: str) -> str:
    """Text of a content given as string or as OpenAI's list of text parts, a line break between.

    The line break keeps a file and the question about it apart, and is what vLLM and llama.cpp put
    there, so that the same request means the same prompt on each of them.
    """
    if isinstance(content, str):
        refuse_surrogates(content, at)
        return content
    if content is None or not isinstance(content, Sequence):
        what = "it is missing" if content is None else f"it is a {type(content).__name__}"
        raise refused(what, "a message needs text", "send a string or a list of text parts", at)
    texts: list[str] = []
    for i, part in enumerate(content):
        kind = part.get("type") if isinstance(part, Mapping) else type(part).__name__
        text = part.get("text") if isinstance(part, Mapping) and kind == "text" else None
        if not isinstance(text, str):
            raise refused(
                f"a part of type {kind!r}",
                "these models read text only",
                'send {"type": "text", "text": "..."}',
                f"{at}[{i}]",
            )
        refuse_surrogates(text, f"{at}[{i}].text")
        texts.append(text)
    return "\n".join(texts)


def checked_tools(tools: object) -> list[Any] | None:
    """The tool definitions as a list, None where there are none."""
    if tools is None:
        return None
    shape = 'send [{"type": "function", "function": {...}}]'
    if isinstance(tools, str) or not isinstance(tools, Sequence):
        raise refused(f"it is a {type(tools).__name__}", "tools are a list", shape, "tools")
    for i, tool in enumerate(tools):
        if not isinstance(tool, Mapping):
            raise refused(
                f"it is a {type(tool).__name__}", "a tool is an object", shape, f"tools[{i}]"
            )
    return list(tools) or None


def _calls(calls: object, at: str) -> list[dict[str, Any]]:
    """Tool calls with their arguments as objects: templates would encode a string twice."""
    if calls is None:
        return []
    shape = 'send [{"type": "function", "function": {"name": ..., "arguments": ...}}]'
    if isinstance(calls, str) or not isinstance(calls, Sequence):
        raise refused(f"it is a {type(calls).__name__}", "tool calls are a list", shape, at)
    checked: list[dict[str, Any]] = []
    for i, call in enumerate(calls):
        function = call.get("function") if isinstance(call, Mapping) else None
        if not isinstance(function, Mapping) or not isinstance(function.get("name"), str):
            raise refused(
                "it names no function",
                "a call is a function's name and arguments",
                shape,
                f"{at}[{i}]",
            )
        arguments = _arguments(function.get("arguments"))
        checked.append({**call, "function": {**function, "arguments": arguments}})
    return checked


def _arguments(arguments: object) -> object:
    """Arguments as an object; what a model wrote that is no JSON object stays as it is."""
    if not isinstance(arguments, str):
        return {} if arguments is None else arguments
    try:
        parsed = json.loads(arguments or "{}")
    except (ValueError, RecursionError):
        return arguments
    return parsed if isinstance(parsed, dict) else arguments


def is_open(messages: list[dict[str, Any]], continue_last: bool) -> bool:
    """Whether the last message is an answer to go on with; takes `prefix` off the messages."""
    prefixes = [bool(message.pop("prefix", False)) for message in messages]
    if any(prefixes[:-1]):
        raise refused(
            "it is not the last message",
            "only the last message can be continued",
            "leave prefix out",
            f"messages[{prefixes.index(True)}].prefix",
        )
    if not (continue_last or prefixes[-1]):
        return False
    last, at = messages[-1], f"messages[{len(messages) - 1}]"
    if last["role"] != "assistant" or "tool_calls" in last:
        raise refused(
            "it cannot be continued",
            "only text of the assistant can",
            "end with an assistant message that has text only",
            at,
        )
    return True


def system_into_user(messages: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """System texts in front of the first user turn, for templates that know no system role."""
    system = [m["content"] for m in messages if m["role"] == "system"]
    others = [m for m in messages if m["role"] != "system"]
    if not system:
        return messages
    first = next((i for i, m in enumerate(others) if m["role"] == "user"), None)
    if first is None:
        return [{"role": "user", "content": "\n\n".join(system)}, *others]
    content = "\n\n".join([*system, others[first]["content"]])
    return [*others[:first], {**others[first], "content": content}, *others[first + 1 :]]


def end_system_lines(messages: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The messages with a line end behind every system text that has none."""
    return [
        {**m, "content": m["content"] + "\n"}
        if m["role"] == "system" and m["content"] and not m["content"].endswith("\n")
        else m
        for m in messages
    ]


def merge_turns(messages: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The messages with neighbouring user or system turns joined."""
    merged: list[dict[str, Any]] = []
    for message in messages:
        previous = merged[-1] if merged else {}
        if message["role"] == previous.get("role") and message["role"] in ("user", "system"):
            merged[-1] = {**previous, "content": f"{previous['content']}\n\n{message['content']}"}
        else:
            merged.append(message)
    return merged
