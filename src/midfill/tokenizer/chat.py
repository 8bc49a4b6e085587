"""Chat templates: messages to the text a model was trained on.

Shipped templates are foreign code, rendered by Jinja2 in its sandbox as transformers does (with
`trim_blocks` and `lstrip_blocks`, without which V1's gains blank lines). The templates of
DeepSeek-Coder V1 and V2 are built in for checkpoints that ship none. A caller's strings are broken
by a private noncharacter wherever they spell a sentinel, so only the template's own count.
"""

import json
import re
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from functools import cached_property
from typing import TYPE_CHECKING, Any

from midfill.errors import RequestError, TokenizerError
from midfill.tokenizer.messages import (
    checked,
    checked_tools,
    end_system_lines,
    is_open,
    merge_turns,
    refused,
    system_into_user,
)
from midfill.tokenizer.special import DEEPSEEK_BOS, EOT, V2_USER, Finder

if TYPE_CHECKING:
    import jinja2

V1_TEMPLATE = """\
{% set system = messages | selectattr('role', 'equalto', 'system') | list -%}
{{ bos_token }}
{%- if not system -%}
{{ 'You are an AI programming assistant, utilizing the Deepseek Coder model, developed by '
 + 'Deepseek Company, and you only answer questions related to computer science. For politically '
 + 'sensitive questions, security and privacy issues, and other non-computer science questions, '
 + 'you will refuse to answer\\n' }}
{%- endif -%}
{%- for message in messages -%}
{%- if message.role == 'system' -%}{{ message.content }}
{%- elif message.role == 'user' -%}{{ '### Instruction:\\n' + message.content + '\\n' }}
{%- else -%}{{ '### Response:\\n' + message.content + '\\n<|EOT|>\\n' }}
{%- endif -%}
{%- endfor -%}
{%- if add_generation_prompt -%}{{ '### Response:\\n' }}{%- endif -%}
"""

V2_TEMPLATE = """\
{{ bos_token }}
{%- for message in messages -%}
{%- if message.role == 'system' -%}{{ message.content + '\\n\\n' }}
{%- elif message.role == 'user' -%}{{ 'User: ' + message.content + '\\n\\n' }}
{%- elif message.role == 'assistant' -%}{{ 'Assistant: ' + message.content + eos_token }}
{%- endif -%}
{%- endfor -%}
{%- if add_generation_prompt -%}{{ 'Assistant:' }}{%- endif -%}
"""


def built_in(sentinels: Collection[str]) -> str | None:
    """DeepSeek's template for a vocabulary with these sentinels, None for another family's."""
    if V2_USER in sentinels:
        return V2_TEMPLATE
    return V1_TEMPLATE if DEEPSEEK_BOS in sentinels and EOT in sentinels else None


class ChatTemplate:
    """One template with the special tokens it prints (`bos_token`, `eos_token`, ...)."""

    def __init__(self, source: str, **special: str) -> None:
        self.source = source
        self._special = special
        self._template = _compile(source)

    @cached_property
    def takes_tools(self) -> bool:
        """Whether the template knows tool definitions or tool results."""
        return re.search(r"\btools?\b|\btool_", self.source) is not None

    @cached_property
    def takes_system(self) -> bool:
        """Whether a system message comes out of the template."""
        return "probe" in self._probed

    @cached_property
    def glues_system(self) -> bool:
        """Whether the template, as V1's, puts the user's heading into the last line of a system text."""
        return "probe### Instruction:" in self._probed

    @cached_property
    def _probed(self) -> str:
        """A system text `probe` and a question, rendered; nothing where that is refused."""
        probe = [{"role": "system", "content": "probe"}, {"role": "user", "content": "hello"}]
        try:
            return self._fill(probe, None, generation=True)
        except RequestError:
            return ""

    def render(
        self,
        messages: Sequence[Mapping[str, object]],
        *,
        tools: Sequence[Mapping[str, object]] | None = None,
        add_generation_prompt: bool = True,
        continue_last: bool = False,
    ) -> str:
        """The conversation as text; RequestError names the message that cannot be rendered."""
        text, _ = self.render_guarded(
            messages,
            Finder(()),
            tools=tools,
            add_generation_prompt=add_generation_prompt,
            continue_last=continue_last,
        )
        return text

    def render_guarded(
        self,
        messages: Sequence[Mapping[str, object]],
        sentinels: Finder,
        *,
        tools: Sequence[Mapping[str, object]] | None = None,
        add_generation_prompt: bool = True,
        continue_last: bool = False,
        end_system: bool = False,
    ) -> tuple[str, tuple[str, ...]]:
        """The conversation with every sentinel the caller wrote broken, and what to remove then.

        `end_system` gives system texts the line end that V1's template leaves out behind them.
        """
        turns, offered = checked(messages), checked_tools(tools)
        if end_system and self.glues_system:
            turns = end_system_lines(turns)
        opened = is_open(turns, continue_last)
        self._refuse_tools(turns, offered)
        mark, end = _unused([self.source, *self._special.values(), _spelled([turns, offered])])
        turns = [_guarded(turn, sentinels, mark) for turn in turns]
        offered = _guarded(offered, sentinels, mark)
        if opened:
            turns[-1]["content"] += end
        if not self.takes_system:
            turns = system_into_user(turns)
        text = self._fill_merging(turns, offered, add_generation_prompt and not opened)
        if opened:
            text = _cut(text, end)
        return text, (mark, f"\\u{ord(mark):04x}")  # as a template's own tojson may spell it

    def _refuse_tools(self, messages: list[dict[str, Any]], tools: object) -> None:
        if self.takes_tools:
            return
        used = [i for i, m in enumerate(messages) if m["role"] == "tool" or m.get("tool_calls")]
        if tools or used:
            raise RequestError(
                "this model's chat template has no tools",
                why="it would leave them out without a word",
                fix="describe the tools in the system message, or use a model with tools",
                param="tools" if tools else f"messages[{used[0]}]",
            )

    def _fill_merging(self, messages: list[dict[str, Any]], tools: object, generation: bool) -> str:
        """Render; where a template insists on alternating turns, with equal neighbours joined."""
        try:
            return self._fill(messages, tools, generation=generation)
        except RequestError:
            merged = merge_turns(messages)
            if len(merged) == len(messages):
                raise
            return self._fill(merged, tools, generation=generation)

    def _fill(self, messages: list[dict[str, Any]], tools: object, *, generation: bool) -> str:
        try:
            return self._template.render(
                messages=messages, tools=tools, add_generation_prompt=generation, **self._special
            )
        except Exception as error:  # a template is foreign code and may raise anything
            raise RequestError(
                "the chat template refuses these messages",
                why=str(error) or type(error).__name__,
                fix="change the messages as the template asks",
                param="messages",
            ) from error


def _compile(source: str) -> "jinja2.Template":
    """The template, compiled in a sandbox with the functions transformers gives to templates."""
    import jinja2
    from jinja2.ext import loopcontrols
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[loopcontrols]
    )
    environment.filters["tojson"] = _dumps
    environment.globals["raise_exception"] = _raise
    environment.globals["strftime_now"] = lambda layout: datetime.now().strftime(layout)
    # the tag marks what to train on and renders as its body
    source = re.sub(r"\{%([-+]?)\s*generation\s*([-+]?)%\}", r"{%\1 if true \2%}", source)
    source = re.sub(r"\{%([-+]?)\s*endgeneration\s*([-+]?)%\}", r"{%\1 endif \2%}", source)
    try:
        return environment.from_string(source)
    except jinja2.TemplateError as error:
        raise TokenizerError(
            "the chat template cannot be read",
            why=f"{error} (line {getattr(error, 'lineno', '?')})",
            fix="correct chat_template.jinja or tokenizer_config.json of the model",
        ) from error


def _raise(message: str) -> None:
    import jinja2

    raise jinja2.TemplateError(message)


def _dumps(value: object, ensure_ascii: bool = False, **layout: Any) -> str:
    """JSON as templates expect it: neither HTML nor other characters escaped."""
    return json.dumps(value, ensure_ascii=ensure_ascii, **layout)


def _spelled(value: object) -> str:
    """All strings of the request in one, or RequestError where it is no JSON."""
    try:
        return _dumps(value)
    except (TypeError, ValueError, RecursionError) as error:
        raise refused("they are not JSON", str(error), "send plain objects", "messages") from error


def _unused(texts: list[str]) -> tuple[str, str]:
    """Two characters no text holds, in itself or as JSON escape: noncharacters, else private."""
    joined = "".join(texts)
    blocks = (range(0xFDD0, 0xFDF0), range(0xE000, 0xF900))
    points = (point for block in blocks for point in block)
    free = (chr(c) for c in points if chr(c) not in joined and f"\\u{c:04x}" not in joined)
    mark, end = next(free, None), next(free, None)
    if mark is None or end is None:
        raise refused(
            "they hold every private character",
            "none is left to mark sentinels with",
            "leave out the characters U+FDD0 to U+FDEF",
            "messages",
        )
    return mark, end


def _guarded(value: Any, sentinels: Finder, mark: str) -> Any:
    """The value with every sentinel in its strings broken."""
    if isinstance(value, str):
        return sentinels.broken(value, mark)
    if isinstance(value, Mapping):
        return {
            _guarded(k, sentinels, mark): _guarded(v, sentinels, mark) for k, v in value.items()
        }
    if isinstance(value, list | tuple):
        return [_guarded(item, sentinels, mark) for item in value]
    return value


def _cut(text: str, end: str) -> str:
    """The text up to the mark that was put behind the last content."""
    head, found, _ = text.rpartition(end)
    if not found:
        raise refused(
            "it cannot be continued",
            "the chat template does not show its text",
            "send it without prefix",
            "messages",
        )
    return head
