"""Tokenizers in Hugging Face folders: read as transformers 4 and 5 write them, and written.

The BPE itself goes through the `tokenizers` library; its added tokens, post-processor and decoder
are taken out, because sentinels, bos and decoding are ours.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import tokenizers

from midfill.errors import TokenizerError
from midfill.tokenizer.special import DEEPSEEK_BOS, AddedToken, Kind
from midfill.tokenizer.vocabulary import Vocabulary, damaged, is_id, is_text, pairs, require

FILES = ("tokenizer.json", "tokenizer_config.json")  # that `write` writes
_NAMED = ("bos_token", "eos_token", "pad_token", "unk_token")
_KINDS: dict[type, str] = {dict: "an object", list: "a list", bool: "true or false"}


def read(folder: Path) -> Vocabulary:
    """The tokenizer of a model folder; TokenizerError where there is none or it is not ours."""
    path = folder / "tokenizer.json"
    if not path.is_file():
        raise _missing(folder)
    data = _json(path)
    config = _settings(folder)
    model: Any = data.get("model")
    require(isinstance(model, dict), f"model in {path}", "an object", model)
    if model.get("type") != "BPE" or not _byte_level(data.get("pre_tokenizer")):
        raise TokenizerError(
            f"{path} is not a byte-level BPE",
            why=f"its model is {model.get('type')!r}; midfill's families all use byte-level BPE",
            fix="use a DeepSeek-Coder, Qwen2, SmolLM2 or other byte-level model",
        )
    _check(data, str(path))
    _check_settings(config, f"{folder}'s settings")
    added = _added(data, config, model["vocab"])
    ids = {text: i for text, i in model["vocab"].items()} | {t.text: t.id for t in added}
    named = {name: ids.get(_text(config.get(name)) or "") for name in _NAMED}
    last = max(ids.values(), default=-1)
    return Vocabulary(
        plain=_plain(data, model, added),
        added=added,
        rows=max(last + 1, _model_rows(folder)),
        bos=named["bos_token"],
        eos=named["eos_token"],
        pad=named["pad_token"],
        unk=named["unk_token"],
        add_bos=_adds_bos(data, config),
        template=_template(folder, config),
    )


def write(vocabulary: Vocabulary, folder: Path) -> None:
    """Write tokenizer.json and tokenizer_config.json that transformers opens and encodes alike."""
    data = json.loads(vocabulary.plain.to_str())
    vocab: dict[str, int] = data["model"]["vocab"]
    by_id = sorted(vocabulary.added, key=lambda token: token.id)
    behind = [token.id for token in by_id if token.id >= len(vocab)]
    if behind != list(range(len(vocab), len(vocab) + len(behind))) or len(behind) < len(by_id):
        vocab |= {token.text: token.id for token in by_id}  # ids the library would number anew
    data["model"]["vocab"] = dict(sorted(vocab.items(), key=lambda item: item[1]))
    flags = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False}
    data["added_tokens"] = [
        {"id": t.id, "content": t.text, **flags, "special": t.special} for t in by_id
    ]
    byte_level = {
        "type": "ByteLevel",
        "add_prefix_space": False,
        "trim_offsets": False,
        "use_regex": False,
    }
    data["decoder"] = byte_level
    texts = {token.id: token.text for token in by_id}
    texts = {
        name: _name(vocabulary, texts, getattr(vocabulary, name))
        for name in ("bos", "eos", "pad", "unk")
    }
    data["post_processor"] = byte_level
    if vocabulary.add_bos and texts["bos"] is not None and vocabulary.bos is not None:
        data["post_processor"] = _prepends(texts["bos"], vocabulary.bos)
    config: dict[str, object] = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "add_bos_token": vocabulary.add_bos,
        "add_eos_token": False,
        "clean_up_tokenization_spaces": False,
        **{f"{name}_token": text for name, text in texts.items()},
    }
    if vocabulary.template is not None:
        config["chat_template"] = vocabulary.template
    folder.mkdir(parents=True, exist_ok=True)
    _write_json(folder / "tokenizer.json", data)
    _write_json(folder / "tokenizer_config.json", config)


def _name(vocabulary: Vocabulary, added: Mapping[int, str], token: int | None) -> str | None:
    if token is None:
        return None
    return added.get(token) or vocabulary.plain.id_to_token(token)


def _prepends(text: str, token: int) -> dict[str, object]:
    """The post-processor that puts bos in front, for programs that read tokenizer.json alone."""
    bos = {"SpecialToken": {"id": text, "type_id": 0}}
    first, second = ({"Sequence": {"id": name, "type_id": 0}} for name in "AB")
    return {
        "type": "TemplateProcessing",
        "single": [bos, first],
        "pair": [bos, first, second],
        "special_tokens": {text: {"id": text, "ids": [token], "tokens": [text]}},
    }


def _missing(folder: Path) -> TokenizerError:
    if (folder / "tokenizer.model").is_file():
        why = "it only has tokenizer.model, which is SentencePiece and not byte-level BPE"
    elif (folder / "vocab.json").is_file():
        why = "it only has vocab.json and merges.txt, the layout before fast tokenizers"
    else:
        why = "text cannot be turned into tokens without it"
    return TokenizerError(
        f"{folder} has no tokenizer.json",
        why=why,
        fix="copy tokenizer.json and tokenizer_config.json from the model you started from",
    )


# --- every part is what it must be ----------------------------------------------------------------


def _check(data: Mapping[str, Any], path: str) -> None:
    """Raise TokenizerError where a part of tokenizer.json that is used here is of the wrong kind."""
    model = data["model"]
    vocab, merges, unknown = model.get("vocab"), model.get("merges"), model.get("unk_token")
    require(isinstance(vocab, dict), f"the vocabulary in {path}", "an object", vocab)
    for text, token in vocab.items():
        require(is_text(text), f"a token in {path}", "text", text)
        require(is_id(token), f"the number of {text!r} in {path}", "a token number", token)
    require(isinstance(merges, list), f"merges in {path}", "a list", merges)
    for _ in pairs(merges):
        pass
    require(unknown is None or is_text(unknown), f"unk_token in {path}", "text", unknown)
    for name in ("continuing_subword_prefix", "end_of_word_suffix"):
        value = model.get(name)
        require(value in (None, ""), f"{name} in {path}", "empty, as in a byte-level BPE", value)
    entries = _optional(data, "added_tokens", list, path)
    for entry in entries or ():
        require(isinstance(entry, dict), f"an added token in {path}", "an object", entry)
        require(is_id(entry.get("id")), f"id of an added token in {path}", "a number", entry)
        require(
            is_text(entry.get("content")), f"content of an added token in {path}", "text", entry
        )
    _check_post_processor(data, path)


def _check_post_processor(data: Mapping[str, Any], path: str) -> None:
    post = _optional(data, "post_processor", dict, path) or {}
    parts = _optional(post, "processors", list, path) or []
    for part in (post, *parts):
        require(isinstance(part, dict), f"a post-processor in {path}", "an object", part)
        for piece in _optional(part, "single", list, path) or ():
            require(isinstance(piece, dict), f"a part of single in {path}", "an object", piece)
            _optional(piece, "SpecialToken", dict, path)


def _check_settings(config: Mapping[str, Any], where: str) -> None:
    """The same for tokenizer_config.json and special_tokens_map.json."""
    for name in _NAMED:
        value = config.get(name)
        require(value is None or is_text(_text(value)), f"{name} in {where}", "text", value)
    _optional(config, "add_bos_token", bool, where)
    for token, entry in (_optional(config, "added_tokens_decoder", dict, where) or {}).items():
        number = int(token) if token.isascii() and token.isdigit() and len(token) < 11 else None
        require(is_id(number), f"a key of added_tokens_decoder in {where}", "a number", token)
        good = isinstance(entry, dict) and is_text(entry.get("content"))
        require(good, f"added token {token} in {where}", "an object with content", entry)
    template = config.get("chat_template")
    require(_is_template(template), f"chat_template in {where}", "text or a list", template)


def _is_template(value: object) -> bool:
    if isinstance(value, list):
        return all(
            isinstance(entry, dict)
            and is_text(entry.get("name"))
            and is_text(entry.get("template"))
            for entry in value
        )
    return value is None or is_text(value)


def _optional(part: Mapping[str, Any], name: str, kind: type, where: str) -> Any:
    """A value that may be missing or null and otherwise is of this kind."""
    value = part.get(name)
    require(value is None or isinstance(value, kind), f"{name} in {where}", _KINDS[kind], value)
    return value


# --- the files ------------------------------------------------------------------------------------


def _json(path: Path) -> dict[str, Any]:
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, OSError, RecursionError) as error:  # ValueError: not JSON, or not UTF-8
        raise damaged(f"{path} cannot be read", str(error)) from error
    if not isinstance(data, dict):
        raise damaged(f"{path} is not a JSON object", f"it holds a {type(data).__name__}")
    return data


def digest(folder: Path) -> str:
    """SHA-256 of what `write` wrote: equal ones give equal ids."""
    whole = hashlib.sha256()
    for path in (folder / name for name in FILES):
        whole.update(path.read_bytes() if path.exists() else b"-")
    return whole.hexdigest()


def _write_json(path: Path, data: object) -> None:
    part = path.with_name(f"{path.name}.part")
    part.write_text(json.dumps(data, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
    part.replace(path)


def _settings(folder: Path) -> dict[str, Any]:
    """tokenizer_config.json over special_tokens_map.json, each where present."""
    files = (folder / "special_tokens_map.json", folder / "tokenizer_config.json")
    config: dict[str, Any] = {}
    for path in files:
        if path.is_file():
            config |= {key: value for key, value in _json(path).items() if value is not None}
    return config


def _text(token: object) -> str | None:
    """A token given as text or as transformers 4's AddedToken object."""
    if isinstance(token, Mapping):
        token = token.get("content")
    return token if isinstance(token, str) else None


def _byte_level(pre: object) -> bool:
    if not isinstance(pre, Mapping):
        return False
    if pre.get("type") == "Sequence":
        parts = pre.get("pretokenizers")
        return isinstance(parts, list) and any(map(_byte_level, parts))
    return pre.get("type") == "ByteLevel"


def _added(
    data: Mapping[str, Any], config: Mapping[str, Any], vocab: Mapping[str, int]
) -> tuple[AddedToken, ...]:
    """Added tokens by id: those of tokenizer.json, then those only its config knows."""
    found: dict[int, AddedToken] = {}
    for token, text, special in _declared(data, config):
        if text and token not in found and vocab.get(text, token) == token:
            found[token] = AddedToken(token, text, special)
    return tuple(found[token] for token in sorted(found))


def _declared(
    data: Mapping[str, Any], config: Mapping[str, Any]
) -> Iterator[tuple[int, str, bool]]:
    for entry in data.get("added_tokens") or []:
        yield entry["id"], entry["content"], bool(entry.get("special"))
    for token, entry in (config.get("added_tokens_decoder") or {}).items():
        yield int(token), entry["content"], bool(entry.get("special"))


def _plain(
    data: Mapping[str, Any], model: dict[str, Any], added: tuple[AddedToken, ...]
) -> tokenizers.Tokenizer:
    """The BPE alone: no added tokens, no post-processor, no truncation, no dropout."""
    stripped = {**data, "added_tokens": [], "model": {**model, "dropout": None}}
    for key in ("post_processor", "decoder", "truncation", "padding"):
        stripped[key] = None
    stripped["model"]["vocab"] = vocab = _without_added(model, added)
    if model.get("unk_token") not in vocab:  # the library would fail at the first unknown byte
        stripped["model"]["unk_token"] = None
    try:
        return tokenizers.Tokenizer.from_str(json.dumps(stripped))
    except Exception as error:  # the Rust library has no narrower class
        raise damaged("tokenizer.json is damaged", str(error)) from error


def _without_added(model: Mapping[str, Any], added: tuple[AddedToken, ...]) -> dict[str, int]:
    """The BPE vocabulary without the sentinels in it, so that no plain text can reach one."""
    vocab: dict[str, int] = model["vocab"]
    hidden = {t.text for t in added if t.kind is not Kind.ORDINARY and t.text in vocab}
    hidden.discard(model.get("unk_token") or "")
    if not hidden:
        return vocab
    used = {part for a, b in pairs(model["merges"]) for part in (a, b, a + b)}
    return {text: token for text, token in vocab.items() if text not in hidden - used}


def _adds_bos(data: Mapping[str, Any], config: Mapping[str, Any]) -> bool:
    if isinstance(config.get("add_bos_token"), bool):
        return config["add_bos_token"]
    bos = _text(config.get("bos_token"))
    if bos == DEEPSEEK_BOS:  # transformers 5 drops the key when it saves
        return True
    post = data.get("post_processor") or {}
    for part in [post, *post.get("processors", [])]:
        if part.get("type") == "TemplateProcessing" and part.get("single"):
            first = part["single"][0].get("SpecialToken") or {}
            return bos is not None and first.get("id") == bos
    return False


def _template(folder: Path, config: Mapping[str, Any]) -> str | None:
    """The chat template as shipped: its own file before the config's."""
    path = folder / "chat_template.jinja"
    if path.is_file():
        try:
            return path.read_text(encoding="utf-8")
        except (ValueError, OSError) as error:
            raise damaged(f"{path} cannot be read", str(error)) from error
    path = folder / "chat_template.json"
    shipped = _json(path).get("chat_template") if path.is_file() else None
    require(_is_template(shipped), f"chat_template in {path}", "text or a list", shipped)
    shipped = shipped or config.get("chat_template")
    if isinstance(shipped, list):  # transformers 4: several, each with a name
        named = {entry["name"]: entry["template"] for entry in shipped}
        shipped = named.get("default") or next(iter(named.values()), None)
    return shipped


def _model_rows(folder: Path) -> int:
    """The model's vocabulary, which may be padded beyond the tokenizer's; 0 where not known."""
    path = folder / "config.json"
    rows = _json(path).get("vocab_size") if path.is_file() else None
    return rows if type(rows) is int else 0
