"""Constraints to masks: which tokens may come next, so that an answer has the form asked for.

The work is llguidance's. What it is told about the vocabulary is ours: each token's exact bytes,
and which ids are no text. Nothing is ever left unconstrained: a schema keyword it does not know,
a grammar nothing can satisfy or one that outgrows its limits is a RequestError.
Shapes: W vocabulary.
"""

import threading
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from functools import cached_property

import numpy as np
import torch
from jaxtyping import Bool
from llguidance import LLMatcher, LLParserLimits, LLTokenizer, TokenizerWrapper
from torch import Tensor

from midfill.config.constraint import Constraint
from midfill.errors import RequestError
from midfill.tokenizer.tokenizer import Tokenizer

COMPILE_S = 2.0  # longest that a request waits for its grammar; a limit of ours
KEPT = 64  # compiled grammars, the least recently used goes first
MOST_BLANKS = 64  # in a row between the parts of JSON: small models may never stop writing them
MOST_FORCED = 64  # tokens of a forced run given at once
NO_ANSWER = "no answer satisfies it, or none that could be found with bearable effort"
ANY_OBJECT = '{"type": "object"}'
JSON_OPTIONS = {  # not lenient: a keyword that is not understood is an error
    True: {"lenient": False, "whitespace_pattern": rf"[\x20\x0A\x0D\x09]{{1,{MOST_BLANKS}}}"},
    False: {"lenient": False, "whitespace_flexible": False},
}


class Grammars:
    """Compiles constraints for one model's vocabulary and keeps what it has compiled."""

    def __init__(
        self, tokenizer: Tokenizer, *, rows: int | None = None, end_ids: Iterable[int] | None = None
    ) -> None:
        """`rows` is the model's vocabulary W, `end_ids` what ends an answer (the tokenizer's own)."""
        self.rows = tokenizer.rows if rows is None else rows
        self._tokenizer = tokenizer
        ends = tokenizer.stop_ids if end_ids is None else end_ids
        self.end_ids = tuple(sorted(i for i in ends if 0 <= i < self.rows))
        # Without an end id, one beyond the vocabulary serves: nothing can choose it.
        self.width = self.rows if self.end_ids else self.rows + 1
        self._compiled: OrderedDict[Constraint, LLMatcher] = OrderedDict()
        self._lock = threading.Lock()  # requests compile in threads of their own

    def matcher(self, constraint: Constraint) -> "Matcher":
        """A matcher at the beginning of an answer. Raises RequestError."""
        with self._lock:
            compiled = self._compiled.pop(constraint, None)
        if compiled is None:
            compiled = _within(COMPILE_S, constraint, self)
        with self._lock:
            self._compiled[constraint] = compiled
            if len(self._compiled) > KEPT:
                self._compiled.popitem(last=False)
        return Matcher(compiled.deep_copy(), self)

    def compile(self, constraint: Constraint) -> LLMatcher:
        """The constraint as llguidance's automaton, at its beginning. Raises RequestError."""
        try:
            state = LLMatcher(self.words, _grammar(constraint), log_level=0, limits=_limits())
        except ValueError as error:  # JSON that Python reads and llguidance does not
            constraint.refuse(
                f"the {constraint.name} cannot be read", why=str(error), fix="mend it"
            )
        problem = state.get_error() or "; ".join(state.get_grammar_warnings())
        if not problem:
            problem = self._beginning(state)
        if problem:
            constraint.refuse(
                f"the {constraint.name} cannot be honoured",
                why=_first_lines(problem),
                fix=_fix(constraint, problem),
            )
        return state

    def _beginning(self, state: LLMatcher) -> str:
        """Why an answer cannot even begin; empty where it can."""
        try:
            Matcher(state, self).mask()
        except RequestError as error:
            return NO_ANSWER if state.is_error() else error.why
        return ""

    @cached_property
    def words(self) -> LLTokenizer:
        """The vocabulary as llguidance wants it; made once, in a third of a second."""
        ends = list(self.end_ids) or [self.rows]
        return LLTokenizer(
            TokenizerWrapper(_Words(self._tokenizer, self.width, ends[0])),
            n_vocab=self.width,
            eos_token=ends,
        )

    @cached_property
    def text_bits(self) -> np.ndarray:
        """One bit per id, 32 in an int32: ids that may stand inside an answer."""
        bits = np.zeros(_packed_size(self.rows) * 32, dtype=bool)
        bits[: self.rows] = [bool(_bytes(self._tokenizer, i)) for i in range(self.rows)]
        bits[list(self.end_ids)] = False
        return np.packbits(bits, bitorder="little").view(np.int32)


class Matcher:
    """Where one answer is in its grammar."""

    __slots__ = ("_bits", "_grammars", "_state")

    def __init__(self, state: LLMatcher, grammars: Grammars) -> None:
        self._state = state
        self._grammars = grammars
        self._bits = np.empty(_packed_size(grammars.width), dtype=np.int32)

    def mask(self) -> Bool[Tensor, " W"]:
        """Which tokens may come next; the end ids exactly where the answer is complete.

        A new tensor each time. Raises RequestError where the grammar outgrows its limits.
        """
        state, grammars, bits = self._state, self._grammars, self._bits
        state.unsafe_compute_mask_ptr(bits.ctypes.data, bits.nbytes)
        if state.is_error():
            raise _lost(state.get_error())
        text = grammars.text_bits
        packed = bits[: len(text)] & text
        allowed = np.unpackbits(packed.view(np.uint8), count=grammars.rows, bitorder="little")
        if state.is_accepting():
            for i in grammars.end_ids:
                allowed[i] = 1
        elif not packed.any():
            raise _lost("it asks for a token that is no text")
        return torch.from_numpy(allowed.view(bool))

    def advance(self, token: int) -> None:
        """Take `token`, which `mask` allowed, an end id included. Raises RequestError."""
        if not self._state.consume_token(token):
            raise _lost(self._state.get_error())

    def back(self, tokens: int) -> None:
        """Undo the last `tokens` advances: a draft was rejected."""
        if tokens and not self._state.rollback(tokens):
            raise _lost(self._state.get_error())

    def accepts(self, tokens: Sequence[int]) -> int:
        """How many of `tokens`, from the first on, may come next; the matcher stays where it is."""
        known = self._grammars.text_bits
        count = self._state.validate_tokens(list(tokens))
        for n, token in enumerate(tokens[:count]):
            if not known[token >> 5] >> (token & 31) & 1:
                return n
        return count

    def forced(self) -> list[int]:
        """Tokens that must come next, as the tokenizer would write them; none where there is a choice.

        Of a longer run the first MOST_FORCED. The mask may allow other tokens for the same text.
        """
        run = self._state.compute_ff_tokens()[:MOST_FORCED]
        return run[: self.accepts(run)]

    @property
    def complete(self) -> bool:
        """Whether the answer may end here."""
        return self._state.is_accepting()

    @property
    def ended(self) -> bool:
        """Whether nothing but an end id may follow."""
        return self._state.is_stopped() and not self._state.is_error()

    def copy(self) -> "Matcher":
        """A matcher at the same place that goes its own way; costs about a microsecond."""
        return Matcher(self._state.deep_copy(), self._grammars)


class _Words:
    """A vocabulary in the form that llguidance's TokenizerWrapper asks for."""

    bos_token_id = None

    def __init__(self, tokenizer: Tokenizer, width: int, end: int) -> None:
        self._tokenizer = tokenizer
        self.eos_token_id = end
        special = {tokenizer.id_of(text) for text in tokenizer.sentinels}
        self.tokens = [_bytes(tokenizer, i) for i in range(width)]
        self.special_token_ids = [i for i in range(width) if not self.tokens[i] or i in special]
        for i in special:  # under these names a Lark grammar may ask for markers: <tool_call>
            if i is not None and i < width:
                self.tokens[i] = tokenizer.token_text(i).encode()

    def __call__(self, text: bytes) -> list[int]:
        """The ids that the tokenizer writes this text with."""
        return self._tokenizer.encode(text.decode(errors="replace"))


def _bytes(tokenizer: Tokenizer, token: int) -> bytes:
    """What the id adds to a text; nothing for a sentinel, padding or an id beyond the vocabulary."""
    return tokenizer.token_bytes(token) if token < tokenizer.rows else b""


def _grammar(constraint: Constraint) -> str:
    """llguidance's own form of the constraint."""
    if constraint.kind == "regex":
        return LLMatcher.grammar_from_regex(constraint.text)
    if constraint.kind == "lark":
        return LLMatcher.grammar_from_lark(constraint.text)
    schema = ANY_OBJECT if constraint.kind == "json" else constraint.text
    return LLMatcher.grammar_from_json_schema(schema, overrides=JSON_OPTIONS[constraint.blanks])


def _limits() -> LLParserLimits:
    """Short messages; the sizes are llguidance's own, a few milliseconds of work per token."""
    return LLParserLimits(verbose_errors=False)


def _within(seconds: float, constraint: Constraint, grammars: Grammars) -> LLMatcher:
    """What compiling gives, unless it takes longer than this: then RequestError."""
    _ = grammars.words, grammars.text_bits  # made once, and not the grammar's fault
    done: list[LLMatcher | BaseException] = []

    def work() -> None:
        try:
            done.append(grammars.compile(constraint))
        except BaseException as error:
            done.append(error)

    thread = threading.Thread(target=work, name="midfill-grammar", daemon=True)
    thread.start()
    thread.join(seconds)
    if not done:
        constraint.refuse(
            f"the {constraint.name} takes too long to compile",
            why=f"it was not done after {seconds:g} seconds",
            fix="make it smaller: fewer alternatives, fewer and smaller counted repetitions",
        )
    if isinstance(done[0], BaseException):
        raise done[0]
    return done[0]


def _packed_size(ids: int) -> int:
    return (ids + 31) // 32


def _first_lines(problem: str) -> str:
    """What llguidance says, on one line of bearable length."""
    text = " ".join(problem.replace("<non-verbose/>", "").split())
    return text if len(text) <= 300 else text[:299] + "…"


def _fix(constraint: Constraint, problem: str) -> str:
    if "oneOf" in problem:
        return "use anyOf, or give the alternatives a property with different const values"
    if constraint.kind == "json_schema":
        return "leave the keyword out and check the answer for it, or write the schema otherwise"
    return f"mend the {constraint.name}"


def _lost(problem: str) -> RequestError:
    return RequestError(
        "the grammar could not be followed any further",
        why=_first_lines(problem) or "llguidance gives no reason",
        fix="make the schema, expression or grammar simpler",
        code="grammar_failed",
    )
