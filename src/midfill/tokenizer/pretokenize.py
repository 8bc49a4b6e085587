"""Pre-tokenisers: the regexes that cut text into pieces before merges, under their GGUF names.

Each regex splits, in order, the pieces the ones before it left; then every byte becomes one
character of the byte alphabet. Sources: tokenizer.json of DeepSeek-Coder, DeepSeek-LLM, Qwen2,
SmolLM2; `tokenizer.ggml.pre` of llama.cpp.
"""

from collections.abc import Callable

import tokenizers
from tokenizers import Regex, pre_tokenizers

from midfill.errors import TokenizerError

# Cased letters of deepseek-llm: categories Lu, Ll, Lt of Unicode 14.0 without ten blocks, 2,729
# code points. Frozen, because the published class does not move with Unicode.
_CASED = (
    "41-5A 61-7A B5 C0-D6 D8-F6 F8-1BA 1BC-1BF 1C4-293 295-2AF 370-373 376-377 37B-37D 37F 386 "
    "388-38A 38C 38E-3A1 3A3-3F5 3F7-481 48A-52F 531-556 10A0-10C5 13A0-13F5 13F8-13FD 1C90-1CBA "
    "1CBD-1CBF 1D00-1D2B 1D6B-1D77 1D79-1D9A 1E00-1F15 1F18-1F1D 1F20-1F45 1F48-1F4D 1F50-1F57 "
    "1F59 1F5B 1F5D 1F5F-1F7D 1F80-1FB4 1FB6-1FBC 1FBE 1FC2-1FC4 1FC6-1FCC 1FD0-1FD3 1FD6-1FDB "
    "1FE0-1FEC 1FF2-1FF4 1FF6-1FFC 2102 2107 210A-2113 2115 2119-211D 2124 2126 2128 212A-212D "
    "212F-2134 2139 213C-213F 2145-2149 214E 2183-2184 2C00-2C7B 2C7E-2CE4 2CEB-2CEE 2CF2-2CF3 "
    "A640-A66D A680-A69B A722-A76F A771-A787 A78B-A78E AB70-ABBF FB00-FB06 FB13-FB17 FF21-FF3A "
    "FF41-FF5A 10400-1044F 104B0-104D3 104D8-104FB 10C80-10CB2 10CC0-10CF2 118A0-118DF "
    "1E900-1E943 "
)
_CJK = "[一-龥ࠀ-一가-\ud7ff]+"
GPT2 = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)"
QWEN2 = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)


def cased_ranges() -> list[tuple[int, int]]:
    """The frozen ranges of cased letters, both ends included."""
    ends = [word.split("-") for word in _CASED.split()]
    return [(int(end[0], 16), int(end[-1], 16)) for end in ends]


def _deepseek_coder() -> list[str]:
    return [r"[\r\n]", r"\s?\p{L}+", r"\s?\p{P}+", _CJK, r"\p{N}"]


def _deepseek_llm() -> list[str]:
    spans = (f"{chr(low)}-{chr(high)}" for low, high in cased_ranges())
    # `:-~` spans the ASCII letters, so "Müller" is cut around its ü: an oddity to keep
    punctuation = "!-/:-~！-／：-～‘-‟\u3000-。"
    return [
        r"[\r\n]",
        rf"\s?[{''.join(spans)}]+",
        rf"\s?[{punctuation}]+",
        r"\s+$",
        _CJK,
        r"\p{N}+",
    ]


# Synonyms come after the name they stand for, so that detection answers with the usual name.
_KNOWN: dict[str, Callable[[], list[str]]] = {
    "deepseek-coder": _deepseek_coder,
    "deepseek-llm": _deepseek_llm,
    "qwen2": lambda: [QWEN2],
    "smollm": lambda: [r"\p{N}", GPT2],
    "gpt-2": lambda: [GPT2],
    "default": lambda: [r"[\p{P}\$\+<=>\^~\|]+", GPT2, r"\p{N}+", "[0-9][0-9][0-9]"],
}
_SYNONYMS = {
    "starcoder": "smollm",
    "refact": "smollm",
    "codeshell": "smollm",
    "command-r": "smollm",
    "deepseek-v2": "deepseek-llm",
    "deepseek-r1-qwen": "qwen2",
    "gpt2": "gpt-2",
    "phi-2": "gpt-2",
}

# Each line separates at least two of the pre-tokenisers.
_PROBES = (
    "def fib(n):\n\treturn n if n<2 else fib(n-1)+fib(n - 2)  # 12345 67\r\n\r\n   x = 10\n\n  ",
    "We'll we'LL I'm  don't 'tis ''quoted''  == != -> => $a_b+c~d^e|f <tag/> `code` ",
    "Müller öffnet die Tür, naïve façade ĞÜŞ Привет мир ΑΒΓ ԱԲ ꭰ Ꭰ ა",
    "你好，世界。 こんにちは 안녕하세요 “quoted” 、 ３４ ½ ² Ⅷ 🦙🚀 é a\u0301 \u3000\u00a0 end",
    "a  b   c\t\td\n \n  \n e \r f \x0b g 1.5e-10 0x1F 1,000,000 v2 x1y2 ",
)


def names() -> list[str]:
    """Every accepted GGUF name."""
    return [*_KNOWN, *_SYNONYMS]


def canonical(name: str) -> str:
    """The name under which a pre-tokeniser is built, or TokenizerError listing the known ones."""
    name = _SYNONYMS.get(name, name)
    if name not in _KNOWN:
        raise TokenizerError(
            f"the pre-tokeniser {name!r} is not supported",
            why=f"text would be cut in the wrong places; known are {', '.join(names())}",
            fix="use a model of one of these families, see midfill models",
        )
    return name


def build(name: str) -> pre_tokenizers.PreTokenizer:
    """The pre-tokeniser of that GGUF name."""
    splits = [pre_tokenizers.Split(Regex(rule), "isolated") for rule in _KNOWN[canonical(name)]()]
    byte_level = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    return pre_tokenizers.Sequence([*splits, byte_level])


def detect(plain: tokenizers.Tokenizer) -> str:
    """The GGUF name of the pre-tokeniser that a tokenizer behaves like on the probes.

    First equal pieces, then equal ids: V2 cuts digits one by one and deepseek-llm does not, which
    no merge can tell. TokenizerError where none behaves like it.
    """
    candidates = {name: build(name) for name in _KNOWN}
    original = plain.pre_tokenizer
    assert original is not None
    want = _pieces(original)
    for name, candidate in candidates.items():
        if _pieces(candidate) == want:
            return name
    ids = _ids(plain, original)
    for name, candidate in candidates.items():
        if _ids(plain, candidate) == ids:
            return name
    raise TokenizerError(
        "this tokenizer has no GGUF name",
        why=f"it cuts text like none of {', '.join(_KNOWN)}, so llama.cpp would encode differently",
        fix="keep the model in the Hugging Face layout: midfill convert SRC DST --to hf",
    )


def _pieces(pre: pre_tokenizers.PreTokenizer) -> list[list[str]]:
    return [[piece for piece, _ in pre.pre_tokenize_str(probe)] for probe in _PROBES]


def _ids(plain: tokenizers.Tokenizer, pre: pre_tokenizers.PreTokenizer) -> list[list[int]]:
    other = tokenizers.Tokenizer(plain.model)
    other.pre_tokenizer = pre  # type: ignore[assignment]
    return [other.encode(probe, add_special_tokens=False).ids for probe in _PROBES]
