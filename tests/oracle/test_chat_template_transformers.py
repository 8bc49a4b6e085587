"""Chat templates against transformers: the same text and, for DeepSeek's real files, the same ids."""

import json
import os
from functools import cache
from pathlib import Path

import pytest
from transformers import AutoTokenizer
from transformers.utils.chat_template_utils import render_jinja_template

from midfill.hub import find, stored
from midfill.model.gguf import GGUFFile
from midfill.tokenizer.chat import V1_TEMPLATE, V2_TEMPLATE, ChatTemplate
from midfill.tokenizer.tokenizer import Tokenizer

DATA = Path(os.environ.get("MIDFILL_DATA", Path(__file__).parents[2].parent / "shared" / "data"))
FOLDERS = {"v1": "deepseek-coder-v1", "v2": "deepseek-v2-rebuilt"}
BUILT_IN = {"v1": V1_TEMPLATE, "v2": V2_TEMPLATE}

# Written for this test after the shape of Qwen2.5's: ChatML with tools.
CHATML = r"""
{%- if tools %}
    {{- '<|im_start|>system\n' }}
    {%- if messages[0]['role'] == 'system' %}{{- messages[0]['content'] }}{%- endif %}
    {{- "\n\n# Tools\n<tools>" }}
    {%- for tool in tools %}
        {{- "\n" }}
        {{- tool | tojson }}
    {%- endfor %}
    {{- "\n</tools><|im_end|>\n" }}
{%- endif %}
{%- for message in messages %}
    {%- if message.role == "tool" %}
        {%- if loop.first or messages[loop.index0 - 1].role != "tool" %}
            {{- '<|im_start|>user' }}
        {%- endif %}
        {{- '\n<tool_response>\n' + message.content + '\n</tool_response>' }}
        {%- if loop.last or messages[loop.index0 + 1].role != "tool" %}
            {{- '<|im_end|>\n' }}
        {%- endif %}
    {%- elif message.role != "system" or not tools %}
        {{- '<|im_start|>' + message.role }}
        {%- if message.content %}{{- '\n' + message.content }}{%- endif %}
        {%- for call in message.tool_calls %}
            {{- '\n<tool_call>\n{"name": "' + call.function.name + '", "arguments": ' }}
            {{- call.function.arguments | tojson }}
            {{- '}\n</tool_call>' }}
        {%- endfor %}
        {{- '<|im_end|>\n' }}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|im_start|>assistant\n' }}
{%- endif %}
"""

CONVERSATIONS = [
    ["user: Write a sort"],
    ["system: Be brief.", "user:  a\n\n b "],
    ["user: Ünïcode <b>&'\"", "assistant: {{ 7 * 7 }}", "user: {% raise %}"],
    ["system: ", "user: ", "assistant: x", "user: y", "assistant: z"],
    ["user: a", "assistant: b\n"],
]


def turns(lines: list[str]) -> list[dict[str, object]]:
    pairs = (line.split(": ", 1) for line in lines)
    return [{"role": role, "content": content} for role, content in pairs]


def theirs(template: str, messages: object, tools: object = None, **options: object) -> str:
    texts, _ = render_jinja_template(
        conversations=[messages], tools=tools, chat_template=template, **options
    )
    return texts[0]


@cache
def folder(version: str) -> Path:
    path = DATA / "tokenizers" / FOLDERS[version]
    if not path.is_dir():
        pytest.skip(f"no tokenizer data at {DATA}")
    return path


@cache
def real(version: str) -> str:
    config = json.loads((folder(version) / "tokenizer_config.json").read_text(encoding="utf-8"))
    return config["chat_template"]


@pytest.mark.parametrize("lines", CONVERSATIONS)
@pytest.mark.parametrize("generation", [True, False])
@pytest.mark.parametrize("version", FOLDERS)
def test_deepseek_templates(version: str, generation: bool, lines: list[str]):
    """The shipped template and the built-in one, both as transformers renders the shipped."""
    special = {"bos_token": "<BOS>", "eos_token": "<EOS>"}
    messages = turns(lines)
    want = theirs(real(version), messages, add_generation_prompt=generation, **special)
    for source in (real(version), BUILT_IN[version]):
        template = ChatTemplate(source, **special)
        assert template.render(messages, add_generation_prompt=generation) == want


@pytest.mark.parametrize("version", FOLDERS)
def test_deepseek_ids(version: str):
    hugging_face = AutoTokenizer.from_pretrained(folder(version))
    ours = Tokenizer.from_folder(folder(version))
    for messages in map(turns, CONVERSATIONS):
        shown = [  # the template as it is; our API ends the system text that V1's leaves open
            {**m, "content": f"{m['content']}\n"}
            if (version, m["role"]) == ("v1", "system") and m["content"]
            else m
            for m in messages
        ]
        want = hugging_face.apply_chat_template(shown, add_generation_prompt=True)["input_ids"]
        assert ours.encode_chat(messages) == want
        assert want.count(ours.bos_id) == 1


def tool_talk(arguments: object) -> list[dict[str, object]]:
    call = {"id": "1", "type": "function", "function": {"name": "look", "arguments": arguments}}
    return [
        {"role": "user", "content": "Weather?"},
        {"role": "assistant", "content": None, "tool_calls": [call, call]},
        {"role": "tool", "tool_call_id": "1", "content": "17 °C"},
        {"role": "tool", "tool_call_id": "1", "content": "rain"},
        {"role": "assistant", "content": "Wet."},
        {"role": "user", "content": "Thanks"},
    ]


TOOLS = [
    {
        "type": "function",
        "function": {
            "name": "look",
            "description": "Météo <b>&'\"",
            "parameters": {"type": "object", "properties": {"city": {"type": "string"}}},
        },
    }
]


def pulled() -> list[object]:
    """Templates inside real GGUF files, where such files have been pulled."""
    found = [pytest.param(CHATML, id="written here")]
    for name in ("smollm2-135m-instruct", "qwen2.5-coder-1.5b-instruct-q4_k_m"):
        file = stored(find(name))
        if file is None:
            skip = pytest.mark.skip(reason=f"{name} is not here: midfill pull {name}")
            found.append(pytest.param("", id=name, marks=skip))
        else:
            found.append(pytest.param(GGUFFile(file).metadata["tokenizer.chat_template"], id=name))
    return found


@pytest.mark.parametrize("lines", CONVERSATIONS)
@pytest.mark.parametrize("source", pulled())
def test_chatml(source: str, lines: list[str]):
    want = theirs(source, turns(lines), add_generation_prompt=True)
    assert ChatTemplate(source).render(turns(lines)) == want


@pytest.mark.parametrize("source", pulled())
def test_tools(source: str):
    """Arguments come out once encoded, whether sent as an object or as OpenAI's string."""
    template = ChatTemplate(source)
    if not template.takes_tools:
        pytest.skip("this template knows no tools")
    arguments = {"city": "Zürich <>&", "days": 2}
    want = theirs(source, tool_talk(arguments), TOOLS, add_generation_prompt=True)
    assert '"arguments": {"city": "Zürich <>&", "days": 2}' in want
    assert template.render(tool_talk(arguments), tools=TOOLS) == want
    assert template.render(tool_talk(json.dumps(arguments)), tools=TOOLS) == want


@pytest.mark.parametrize(
    "source",
    [
        "{% for m in messages %}{% if m.role == 'tool' %}{% continue %}{% endif %}{{ m.content }}{% endfor %}",
        "{% for m in messages %}\n  {% generation %}\n{{ m.content }}{% endgeneration %}\n{% endfor %}",
        "{{ messages | tojson }}{{ messages | tojson(indent=2) }}",
        "{{ messages | tojson(ensure_ascii=True, separators=(',', ':'), sort_keys=True) }}",
        "{{ strftime_now('%Y') }}{{ messages[0].content | upper }}",
    ],
)
def test_template_language(source: str):
    messages = turns(["user: <é> & 'x'", "assistant: y"])
    want = theirs(source, messages, add_generation_prompt=True)
    assert ChatTemplate(source).render(messages) == want
