"""Constraints: what is allowed where, by hand-worked cases; what is refused, and in which words."""

import json
import re
from pathlib import Path

import pytest
import torch
from llguidance import LLParserLimits

import midfill.engine.grammar as grammar_module
from conftest import write_byte_tokenizer
from midfill.config.constraint import (
    DEEPEST,
    LONGEST,
    Constraint,
    from_response_format,
    from_schema,
)
from midfill.engine.grammar import KEPT, MOST_BLANKS, MOST_FORCED, Grammars, Matcher
from midfill.errors import RequestError
from midfill.tokenizer.tokenizer import Tokenizer

ROWS = 320  # the byte tokenizer has 267 ids
EDIT = {
    "type": "object",
    "properties": {"path": {"type": "string"}, "all": {"type": "boolean"}},
    "required": ["path", "all"],
    "additionalProperties": False,
}


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory) -> Tokenizer:
    folder = tmp_path_factory.mktemp("bytes")
    write_byte_tokenizer(folder)
    return Tokenizer.from_folder(folder)


@pytest.fixture(scope="module")
def grammars(tokenizer: Tokenizer) -> Grammars:
    return Grammars(tokenizer, rows=ROWS)


def regex(text: str) -> Constraint:
    return Constraint(kind="regex", text=text)


def lark(text: str) -> Constraint:
    return Constraint(kind="lark", text=text)


def after(grammars: Grammars, constraint: Constraint, text: str | bytes) -> Matcher:
    """A matcher that has read `text`, byte by byte."""
    matcher = grammars.matcher(constraint)
    for byte in text.encode() if isinstance(text, str) else text:
        matcher.advance(token_of(grammars, bytes([byte])))
    return matcher


def token_of(grammars: Grammars, data: bytes) -> int:
    every = range(grammars._tokenizer.vocab_size)
    return next(i for i in every if grammars._tokenizer.token_bytes(i) == data)


def allowed(grammars: Grammars, matcher: Matcher) -> set[bytes | int]:
    """What the mask allows: bytes of tokens, and the number of each end id."""
    ids = matcher.mask().nonzero()[:, 0].tolist()
    return {i if i in grammars.end_ids else grammars._tokenizer.token_bytes(i) for i in ids}


# ------------------------------------------------------------------------------------- masks


def test_a_mask_is_as_wide_as_the_model_and_leaves_padding_out(grammars, tokenizer):
    mask = grammars.matcher(regex("(?s:.)*")).mask()
    assert (mask.shape, mask.dtype) == ((ROWS,), torch.bool)
    assert not mask[tokenizer.vocab_size :].any()
    assert mask.sum() > 100


def test_sentinels_are_never_text_and_ends_come_only_when_complete(grammars, tokenizer):
    sentinels = {tokenizer.id_of(text) for text in tokenizer.sentinels}
    ends = set(grammars.end_ids)
    assert ends == tokenizer.stop_ids
    assert ends < sentinels
    open_string = after(grammars, from_schema(EDIT), '{"path": "')
    assert not open_string.mask()[list(sentinels)].any()
    assert not open_string.complete
    number = after(grammars, regex("[0-9]{2,3}"), "1")
    assert allowed(grammars, number) == {bytes([b]) for b in b"0123456789"}
    number.advance(token_of(grammars, b"2"))
    assert allowed(grammars, number) == {bytes([b]) for b in b"0123456789"} | ends
    assert number.complete
    assert not number.ended
    number.advance(token_of(grammars, b"3"))
    assert allowed(grammars, number) == ends
    assert number.ended


@pytest.mark.parametrize("text", ["12", "123"])
def test_an_end_id_may_be_advanced_over(grammars, text):
    for end in grammars.end_ids:
        matcher = after(grammars, regex("[0-9]{2,3}"), text)
        matcher.advance(end)
        assert matcher.ended


def test_the_models_own_end_ids_count(tokenizer):
    grammars = Grammars(tokenizer, rows=ROWS, end_ids={300})  # config.json may name one in padding
    assert allowed(grammars, after(grammars, regex("ab"), "ab")) == {300}


def test_without_end_ids_an_answer_still_ends(tokenizer):
    grammars = Grammars(tokenizer, rows=ROWS, end_ids=())
    matcher = after(grammars, regex("ab"), "ab")
    assert matcher.ended
    assert not matcher.mask().any()


def test_merged_tokens_and_bytes_are_both_allowed(grammars):
    assert allowed(grammars, after(grammars, lark('start: "in" | "x"'), "")) == {b"in", b"i", b"x"}


def test_a_character_may_be_split_over_tokens(grammars):
    matcher = grammars.matcher(regex("[ü🦙]"))
    assert allowed(grammars, matcher) == {b"\xc3", b"\xf0"}
    for byte in "🦙".encode():
        assert not matcher.ended
        matcher.advance(token_of(grammars, bytes([byte])))
    assert matcher.ended


def test_text_is_always_utf8(grammars):
    matcher = after(grammars, regex(".*"), b"\xf0\x9f")
    continuing = {bytes([b]) for b in range(0x80, 0xC0)}
    assert allowed(grammars, matcher) <= continuing


def test_masks_given_before_stay_as_they_were(grammars):
    matcher = grammars.matcher(regex("ab"))
    first = matcher.mask()
    before = first.clone()
    matcher.advance(token_of(grammars, b"a"))
    matcher.mask()
    assert torch.equal(first, before)


def test_what_the_mask_forbids_cannot_be_advanced_over(grammars):
    matcher = grammars.matcher(regex("ab"))
    with pytest.raises(RequestError):
        matcher.advance(token_of(grammars, b"b"))
    with pytest.raises(RequestError):  # nor is anything allowed from then on
        matcher.mask()


# ------------------------------------------------------------------------------ whole answers


def read(grammars: Grammars, constraint: Constraint, text: str) -> bool:
    """Whether `text` is a complete answer."""
    matcher = grammars.matcher(constraint)
    ids = grammars._tokenizer.encode(text)
    return matcher.accepts(ids) == len(ids) and after(grammars, constraint, text).complete


@pytest.mark.parametrize(
    ("constraint", "good", "bad"),
    [
        (regex("a|bc+"), ["a", "bcc"], ["", "ab", "b"]),
        (regex(r"\d{3}-[a-f]*"), ["123-", "123-abc"], ["12-", "123-g"]),
        (regex("(?i)yes"), ["yes", "YES"], ["no"]),
        (regex("é+\n"), ["éé\n"], ["é", "e\n"]),
        (lark('start: "(" start ")" | "x"'), ["x", "((x))"], ["((x)", "()"]),
        (lark('start: N ("+" N)*\nN: /[0-9]+/'), ["1", "1+22"], ["1+", "+"]),
        (lark('start: "call " %json {"type": "integer"}'), ["call 12"], ["call x", "12"]),
        (from_schema(EDIT), ['{"path":"","all":true}', '{ "path" : "ü" , "all":false}'],
         ['{"path":""}', '{"all":true,"path":""}', '{"path":1,"all":true}', "[]"]),
        (Constraint(kind="json"), ["{}", '{"a":[1,null]}', '{\n  "a": "\\n"\n}'], ["[]", "1", ""]),
        (Constraint(kind="json", blanks=False), ['{"a":[1,2]}'], ['{"a": 1}', "{ }"]),
    ],
)  # fmt: skip
def test_forms(grammars, constraint, good, bad):
    assert [text for text in good if not read(grammars, constraint, text)] == []
    assert [text for text in bad if read(grammars, constraint, text)] == []


def test_blanks_do_not_go_on_for_ever(grammars):
    blanks = after(grammars, Constraint(kind="json"), "{" + "\n" + " " * (MOST_BLANKS - 1))
    assert not allowed(grammars, blanks) & {b" ", b"\n", b"\t"}


# ------------------------------------------------------------------- jump ahead, drafts, copies


def test_a_forced_run_is_what_the_tokenizer_writes(grammars, tokenizer):
    constraint = lark('start: "return in" ("t" | "f")')
    matcher = grammars.matcher(constraint)
    forced = matcher.forced()
    assert forced == tokenizer.encode("return in")[: len(forced)]
    assert tokenizer.decode(forced) in ("return", "return ", "return in")
    for token in forced:
        assert matcher.mask()[token]
        matcher.advance(token)
    assert after(grammars, constraint, "return in").forced() == []


def test_a_forced_run_is_given_in_parts(grammars, tokenizer):
    matcher = grammars.matcher(regex("a{200}"))
    assert matcher.forced() == tokenizer.encode("a" * MOST_FORCED)


def test_nothing_is_forced_at_the_end(grammars):
    assert after(grammars, regex("ab"), "ab").forced() == []


def test_drafts_are_measured_without_moving(grammars, tokenizer):
    matcher = grammars.matcher(from_schema(EDIT))
    good = tokenizer.encode('{"path": "a", "all": ')
    assert matcher.accepts([*good, *tokenizer.encode("7")]) == len(good)
    assert matcher.accepts([tokenizer.eos_id]) == 0
    assert matcher.accepts([]) == 0
    assert matcher.accepts(good) == len(good)


def test_an_end_id_is_no_part_of_a_draft(grammars, tokenizer):
    assert after(grammars, regex("ab"), "ab").accepts([tokenizer.eos_id]) == 0


def test_going_back_undoes_a_draft(grammars, tokenizer):
    matcher = after(grammars, from_schema(EDIT), '{"path": "a')
    before = matcher.mask()
    draft = tokenizer.encode('in", "all": tr')
    for token in draft:
        matcher.advance(token)
    matcher.back(len(draft))
    assert torch.equal(matcher.mask(), before)
    matcher.back(0)
    assert torch.equal(matcher.mask(), before)


def test_a_copy_goes_its_own_way(grammars):
    matcher = after(grammars, regex("[ab]c"), "")
    other = matcher.copy()
    other.advance(token_of(grammars, b"a"))
    assert allowed(grammars, other) == {b"c"}
    assert allowed(grammars, matcher) == {b"a", b"b"}
    matcher.advance(token_of(grammars, b"b"))
    other.advance(token_of(grammars, b"c"))
    assert (matcher.ended, other.ended) == (False, True)


# -------------------------------------------------------------------------------------- cache


def test_a_compiled_grammar_is_kept_and_each_answer_begins_anew(grammars, monkeypatch):
    constraint = regex("kept[0-9]")
    grammars.matcher(constraint).advance(token_of(grammars, b"k"))
    monkeypatch.setattr(Grammars, "compile", None)  # would fail if it were needed again
    same = Constraint(kind="regex", text="kept[0-9]", param="elsewhere")
    assert allowed(grammars, grammars.matcher(same)) == {b"k"}


def test_only_so_many_are_kept(tokenizer):
    grammars = Grammars(tokenizer)
    for i in range(KEPT + 5):
        grammars.matcher(regex(f"a{i}"))
    assert len(grammars._compiled) == KEPT


# ------------------------------------------------------------------------------------- errors


@pytest.mark.parametrize(
    ("constraint", "says"),
    [
        (from_schema({"type": "array", "uniqueItems": True}), "uniqueItems"),
        (from_schema({"not": {"type": "null"}}), "not"),
        (from_schema({"type": "string", "format": "nonsense"}), "nonsense"),
        (from_schema({"type": "array", "uniqueItems": True, "x-guidance": {"lenient": True}}),
         "uniqueItems"),
        (from_schema({"oneOf": [{"type": "number"}, {"type": "integer"}]}), "oneOf"),
        (from_schema({"$ref": "http://example.org/schema"}), "not present"),
        (from_schema({"$ref": "file:///etc/hostname"}), "not present"),
        (from_schema({"$ref": "#/$defs/none"}), "does not exist"),
        (from_schema({"$ref": "#"}), "no answer"),
        (from_schema({"type": "strin"}), "strin"),
        (from_schema({"type": "integer", "minimum": 2, "maximum": 1}), "Unsatisfiable"),
        (from_schema({"enum": []}), "Unsatisfiable"),
        (from_schema({"type": "string", "pattern": "(?=a)b"}), "look-ahead"),
        (Constraint(kind="json_schema", text='{"maximum": 1e999}'), "range"),
        (regex("("), "unclosed"),
        (regex(r"\bfoo"), "lookaround"),
        (regex("[a&&b]"), "no answer"),
        (lark("start: missing"), "missing"),
        (lark('other: "a"'), "start"),
        (lark("start: start"), "no answer"),
        (lark('start: %json {"type": "array", "contains": {}}'), "contains"),
        (lark('start: %json {"not": {}, "x-guidance": {"lenient": true}}'), "not"),
        (lark("start: <|EOT|>"), "no text"),
        (lark("start: <[*]>"), None),
    ],
)  # fmt: skip
def test_nothing_is_left_unconstrained(grammars, constraint, says):
    if says is None:  # any token: still no sentinel
        mask = grammars.matcher(constraint).mask()
        sentinels = {grammars._tokenizer.id_of(text) for text in grammars._tokenizer.sentinels}
        assert not mask[list(sentinels)].any()
        return
    with pytest.raises(RequestError) as caught:
        grammars.matcher(constraint)
    error = caught.value
    assert says.lower() in str(error).lower()
    assert error.param in ("response_format", "regex", "grammar")
    assert "\n" not in error.why
    assert len(error.why) <= 300


def test_compiling_has_a_time_limit(grammars, monkeypatch):
    monkeypatch.setattr(grammar_module, "COMPILE_S", 0.0)
    many = {f"p{i}": {"type": "string"} for i in range(1500)}
    with pytest.raises(RequestError, match="too long"):
        grammars.matcher(from_schema({"type": "object", "properties": many}))


def test_a_grammar_that_outgrows_its_limits_ends_the_answer_with_an_error(grammars, monkeypatch):
    monkeypatch.setattr(grammar_module, "_limits", lambda: LLParserLimits(max_items_in_row=50))
    matcher = grammars.matcher(lark('start: "" | start start | "a" start | start "a" start'))
    a = token_of(grammars, b"a")

    def write() -> None:  # ambiguous: each byte multiplies the readings
        for _ in range(100):
            matcher.mask()
            matcher.advance(a)

    with pytest.raises(RequestError) as caught:
        write()
    assert caught.value.code == "grammar_failed"


# --------------------------------------------------------------------------- what is asked for


@pytest.mark.parametrize(
    ("kind", "text", "says"),
    [
        ("yaml", "a", "kind"),
        ("regex", "", "empty"),
        ("lark", " \n", "empty"),
        ("json_schema", None, "empty"),
        ("json_schema", "{", "not JSON"),
        ("json_schema", "[]", "object"),
        ("json_schema", "true", "object"),
        ("json_schema", '{"maximum": NaN}', "not JSON"),
        ("json_schema", '{"maximum": 1' + "0" * 5000 + "}", "not JSON"),
        ("json_schema", '{"items":' * (DEEPEST + 1) + "{}" + "}" * (DEEPEST + 1), "deep"),
        ("json_schema", "[" * 60000, "deep"),
        ("json_schema", json.dumps({"title": "x" * LONGEST}), "bytes"),
        ("regex", "a" * (LONGEST + 1), "bytes"),
        ("regex", "\ud800", "Unicode"),
    ],
)
def test_bad_constraints_are_refused(kind, text, says):
    with pytest.raises(RequestError, match=re.escape(says)) as caught:
        Constraint(kind=kind, text=text)
    assert caught.value.param


def test_an_escaped_half_character_is_refused_too(grammars):
    constraint = Constraint(kind="json_schema", text='{"const": "\\ud800"}')
    with pytest.raises(RequestError, match="cannot be read"):
        grammars.matcher(constraint)


def test_nesting_up_to_the_limit_is_fine():
    Constraint(kind="json_schema", text='{"not":' * (DEEPEST - 1) + "{}" + "}" * (DEEPEST - 1))


def test_response_format():
    assert from_response_format(None) is None
    assert from_response_format({"type": "text"}) is None
    assert from_response_format({"type": "json_object"}) == Constraint(kind="json")
    given = {"type": "json_schema", "json_schema": {"name": "edit", "schema": EDIT, "strict": True}}
    found = from_response_format(given)
    assert found == from_schema(EDIT)
    assert found is not None
    assert list(json.loads(found.text)["properties"]) == ["path", "all"]


@pytest.mark.parametrize(
    ("given", "param"),
    [
        ("json", "response_format"),
        ({}, "response_format"),
        ({"type": "xml"}, "response_format"),
        ({"type": ["json_object"]}, "response_format"),
        ({"type": "json_schema"}, "response_format.json_schema"),
        ({"type": "json_schema", "json_schema": {"schema": "{}"}}, "response_format.json_schema"),
        ({"type": "json_schema", "json_schema": {"schema": {"const": float("nan")}}},
         "response_format.json_schema"),
        ({"type": "json_schema", "json_schema": {"schema": {"const": {1, 2}}}},
         "response_format.json_schema"),
    ],
)  # fmt: skip
def test_bad_response_formats_name_the_field(given, param):
    with pytest.raises(RequestError) as caught:
        from_response_format(given)
    assert caught.value.param == param


def test_a_deep_schema_is_refused_before_it_is_written_out():
    schema: dict = {}
    for _ in range(5000):
        schema = {"items": schema}
    with pytest.raises(RequestError, match="deep"):
        from_schema(schema)


# ------------------------------------------------------------------------- real vocabularies


@pytest.mark.parametrize("name", ["deepseek-coder-v1", "deepseek-v2-rebuilt"])
def test_real_vocabularies(data: Path, name: str):
    tokenizer = Tokenizer.from_folder(data / "tokenizers" / name)
    grammars = Grammars(tokenizer)
    text = '{"path": "a/ü.py", "all": true}'
    ids = tokenizer.encode(text)
    matcher = grammars.matcher(from_schema(EDIT))
    for token in ids:
        mask = matcher.mask()
        assert mask[token]
        assert not mask[list(grammars.end_ids)].any()
        matcher.advance(token)
    assert matcher.ended
    assert matcher.mask().nonzero()[:, 0].tolist() == sorted(tokenizer.stop_ids)
    forced = after_text(grammars, from_schema(EDIT), '{"')
    assert tokenizer.decode(forced.forced()) == "path"


def after_text(grammars: Grammars, constraint: Constraint, text: str) -> Matcher:
    matcher = grammars.matcher(constraint)
    for token in grammars._tokenizer.encode(text):
        matcher.advance(token)
    return matcher


def test_the_13_glyphs_are_characters(data: Path):
    tokenizer = Tokenizer.from_folder(data / "tokenizers" / "deepseek-coder-v1")
    grammars = Grammars(tokenizer)
    [glyph] = tokenizer.encode("õ")
    assert tokenizer.token_bytes(glyph) == "õ".encode()
    assert grammars.matcher(regex("õ+")).mask()[glyph]
    assert not grammars.matcher(regex("[^õ]+")).mask()[glyph]
