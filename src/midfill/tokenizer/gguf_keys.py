"""Tokenizers in GGUF: the `tokenizer.ggml.*` keys, read and written.

Source: llama.cpp. Such files hold no normaliser, so a Qwen tokenizer read from one keeps text as
it is while Qwen's tokenizer.json composes it (NFC).
"""

import json
from collections.abc import Mapping, Sequence, Set

from midfill.errors import TokenizerError
from midfill.tokenizer import pretokenize
from midfill.tokenizer.special import DEEPSEEK_BOS, AddedToken, Kind, is_padding
from midfill.tokenizer.vocabulary import Vocabulary, build_bpe, damaged, is_text, pairs, require

_KEY = "tokenizer.ggml."
NORMAL, CONTROL, USER_DEFINED, UNUSED = 1, 3, 4, 5
_FIM_KEYS = (("fim_pre", "fim_suf", "fim_mid"), ("prefix", "suffix", "middle"))  # new, old
_V1_TOKENS = 40_000  # DeepSeek vocabularies: 32,256 for V1, 102,400 for V2


def read(metadata: Mapping[str, object]) -> Vocabulary:
    """The tokenizer of a GGUF file's metadata; TokenizerError where there is none or not ours."""
    if metadata.get(_KEY + "model") != "gpt2":
        raise TokenizerError(
            f"the GGUF tokenizer is {metadata.get(_KEY + 'model')!r}",
            why="midfill reads byte-level BPE, which GGUF calls 'gpt2'",
            fix="use a DeepSeek-Coder, Qwen2, SmolLM2 or other byte-level model",
        )
    tokens = _texts(metadata, "tokens")
    types = _types(metadata, tokens)
    merges = list(pairs(_texts(metadata, "merges")))
    words = {first + second for first, second in merges}
    base: dict[str, int] = {}
    added: dict[str, AddedToken] = {}
    for token, (text, kind) in enumerate(zip(tokens, types, strict=True)):
        if kind == UNUSED or is_padding(text, token):
            continue
        if kind in (CONTROL, USER_DEFINED):
            added.setdefault(text, AddedToken(token, text, kind == CONTROL))
        elif _is_sentinel(text, words):
            added.setdefault(text, AddedToken(token, text, True))
        else:
            base.setdefault(text, token)
    added.pop("\ufffd", None)  # what some converters made of V1's 13 characters
    pre = pretokenize.canonical(_pre(metadata, added, len(tokens)))
    plain = build_bpe(base, merges)
    plain.pre_tokenizer = pretokenize.build(pre)  # type: ignore[assignment]
    bos = _id(metadata, "bos", len(tokens))
    stops = {_id(metadata, "eot", len(tokens)), _id(metadata, "eom", len(tokens))} - {None}
    template = metadata.get("tokenizer.chat_template")
    require(template is None or is_text(template), "tokenizer.chat_template", "text", template)
    add_bos = metadata.get(_KEY + "add_bos_token", DEEPSEEK_BOS in added)
    require(add_bos in (True, False), f"{_KEY}add_bos_token", "true or false", add_bos)
    return Vocabulary(
        plain=plain,
        added=tuple(added.values()),
        rows=len(tokens),
        bos=bos,
        eos=_id(metadata, "eos", len(tokens)),
        pad=_id(metadata, "padding", len(tokens)),
        unk=_id(metadata, "unknown", len(tokens)),
        add_bos=bool(add_bos),
        template=template if isinstance(template, str) else None,
        pre=pre,
        fim=_fim(metadata, len(tokens)),
        stops=frozenset(token for token in stops if token is not None),
    )


def write(
    vocabulary: Vocabulary, rows: int, fim: tuple[int, int, int] | None = None
) -> dict[str, object]:
    """The keys for a model of `rows` vocabulary rows, padded with unused tokens."""
    tokens, types = _table(vocabulary, rows)
    keys: dict[str, object] = {
        "model": "gpt2",
        "pre": vocabulary.pre or pretokenize.detect(vocabulary.plain),
        "tokens": tokens,
        "token_type": types,
        "merges": _merges(vocabulary),
        "bos_token_id": vocabulary.bos,
        "eos_token_id": vocabulary.eos,
        "padding_token_id": vocabulary.pad,
        "unknown_token_id": vocabulary.unk,
        "add_bos_token": vocabulary.add_bos,
        "add_eos_token": False,
        "add_space_prefix": False,
    }
    if fim is not None:
        keys |= {f"{name}_token_id": token for name, token in zip(_FIM_KEYS[0], fim, strict=True)}
    found = {_KEY + key: value for key, value in keys.items() if value is not None}
    if vocabulary.template is not None:
        found["tokenizer.chat_template"] = vocabulary.template
    return found


def _table(vocabulary: Vocabulary, rows: int) -> tuple[list[str], list[int]]:
    base = vocabulary.plain.get_vocab()
    if max(*base.values(), *(token.id for token in vocabulary.added)) >= rows:
        raise damaged(
            f"it has more tokens than the model's {rows} rows",
            "tokenizer and weights belong to different models",
        )
    tokens = [f"[PAD{token}]" for token in range(rows)]
    types = [UNUSED] * rows
    for text, token in base.items():
        tokens[token], types[token] = text, NORMAL
    for entry in vocabulary.added:
        tokens[entry.id] = entry.text
        types[entry.id] = CONTROL if entry.kind is Kind.SENTINEL else USER_DEFINED
    return tokens, types


def _merges(vocabulary: Vocabulary) -> list[str]:
    model = json.loads(vocabulary.plain.to_str())["model"]
    return [f"{a} {b}" for a, b in pairs(model["merges"])]


def _list(metadata: Mapping[str, object], key: str) -> Sequence[object]:
    value = metadata.get(_KEY + key)
    if isinstance(value, str) or not isinstance(value, Sequence):
        raise damaged(f"the GGUF file has no {_KEY}{key}", "its vocabulary is incomplete")
    return value


def _texts(metadata: Mapping[str, object], key: str) -> list[str]:
    texts = list(_list(metadata, key))
    for text in texts:
        require(is_text(text), f"an entry of {_KEY}{key}", "text", text)
    return texts  # type: ignore[return-value]


def _is_sentinel(text: str, words: Set[str]) -> bool:
    """Whether a token that the file calls normal, as early converters did, is a sentinel all the
    same; not if merges make it a word, as they make `<s>` in Qwen2."""
    return text not in words and AddedToken(0, text, False).kind is Kind.SENTINEL


def _types(metadata: Mapping[str, object], tokens: Sequence[str]) -> list[int]:
    """Token types, all normal where a file has none."""
    if _KEY + "token_type" not in metadata:
        return [NORMAL] * len(tokens)
    types = list(_list(metadata, "token_type"))
    for kind in types:
        require(isinstance(kind, int), f"an entry of {_KEY}token_type", "a number", kind)
    if len(types) != len(tokens):
        raise damaged("token types are missing", f"{len(types)} for {len(tokens)} tokens")
    return types  # type: ignore[return-value]


def _id(metadata: Mapping[str, object], name: str, rows: int) -> int | None:
    """The id a key names; ids the vocabulary does not have count as not named."""
    value = metadata.get(f"{_KEY}{name}_token_id")
    require(value is None or type(value) is int, f"{_KEY}{name}_token_id", "a number", value)
    return value if isinstance(value, int) and 0 <= value < rows else None


def _pre(metadata: Mapping[str, object], added: Mapping[str, AddedToken], tokens: int) -> str:
    """The file's pre-tokeniser, or the one its vocabulary is known to want where it names none."""
    name = metadata.get(_KEY + "pre")
    require(name is None or is_text(name), f"{_KEY}pre", "text", name)
    if isinstance(name, str):
        return name
    if DEEPSEEK_BOS not in added:
        return "default"
    return "deepseek-coder" if tokens < _V1_TOKENS else "deepseek-llm"


def _fim(metadata: Mapping[str, object], rows: int) -> tuple[int, int, int] | None:
    for names in _FIM_KEYS:
        prefix, suffix, middle = (_id(metadata, name, rows) for name in names)
        if prefix is not None and suffix is not None and middle is not None:
            return prefix, suffix, middle
    return None
