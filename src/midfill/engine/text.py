"""Text in, text out: the only layer of the engine that sees strings.

`midfill.load(name)` gives a `Coder`; its `complete`, `fill` and `chat` return finished answers, `stream`
and `generate` give them piece by piece. All go through `generate`, so a streamed answer and a
finished one are the same.
"""

import dataclasses
import difflib
import operator
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, cast

from midfill.config.engine import OPTIONAL, Sampling, SuffixTokens, check_suffix_tokens
from midfill.config.model import GQAConfig, ModelConfig
from midfill.engine.keystrokes import Keystrokes, check_document, cut_suffix, suffix_limit
from midfill.engine.lookup import DENSE_COSTS, MOE_COSTS, Lookup
from midfill.engine.memory import pool_pages
from midfill.engine.request import Draft, Matcher, Request
from midfill.engine.results import Completion, Piece, Prompt, Usage
from midfill.engine.runner import PAGE, Runner
from midfill.engine.scheduler import Scheduler
from midfill.engine.threads import Threads
from midfill.engine.torch_runner import TorchRunner, dtype_name
from midfill.engine.writer import Reader, Source
from midfill.errors import RequestError, TokenizerError
from midfill.model.transformer import Transformer
from midfill.tokenizer.fim import encode_fim, look_alikes
from midfill.tokenizer.tokenizer import Tokenizer

if TYPE_CHECKING:
    import numpy as np

    from midfill.engine.grammar import Grammars

Messages = Sequence[Mapping[str, Any]]
COMPLETION_TOKENS, FILL_TOKENS = 64, 128  # default lengths
FILL_PRIORITY = 1  # before chats: somebody waits at a cursor


class Coder:
    """A loaded model with its tokenizer.

    Answers are greedy unless a temperature is given; `defaults` is the sampling that the model's
    authors suggest, which chat and the server start from.
    """

    def __init__(
        self,
        name: str,
        network: Transformer | Runner,
        tokenizer: Tokenizer | TokenizerError,
        *,
        context: int | None = None,
        defaults: Mapping[str, float] | None = None,
        can_fill: bool = True,
        threads: Threads | None = None,
        max_running: int = 32,
        strict: bool | None = None,
    ) -> None:
        """`network`: a Transformer, which gets a pool of pages, or a runner that has one.

        `max_running` answers are written at the same time. `strict`: prompts share only what leaves
        every bit as it is; None: where that costs nothing, because the runner keeps the promise and the
        model has one form of attention.
        """
        self.name = name
        self.config: ModelConfig = network.config
        self.context = context or self.config.context
        if isinstance(network, Transformer):
            each = self.config.cache_bytes_per_token(dtype_name(network.dtype)) * PAGE
            network = TorchRunner(network, pool_pages(self.context, each, None))
        self.runner: Runner = network
        one_form = isinstance(self.config.attention, GQAConfig)
        self.scheduler = Scheduler(
            network,
            context=self.context,
            max_running=max_running,
            strict=network.invariant and one_form if strict is None else strict,
        )
        self._tokenizer = tokenizer
        self.defaults = dict(defaults or {})
        self._trained_to_fill = can_fill
        self._threads = threads
        self._grammars: Grammars | None = None  # made when the first constraint comes
        no_text = isinstance(tokenizer, TokenizerError)
        self._keystrokes = None if no_text else Keystrokes(tokenizer)
        stop_ids = frozenset() if isinstance(tokenizer, TokenizerError) else tokenizer.stop_ids
        self.stop_ids = frozenset(stop_ids) | frozenset(self.config.eos)

    @property
    def tokenizer(self) -> Tokenizer:
        """Text to ids and back. Raises TokenizerError when the checkpoint has none."""
        if isinstance(self._tokenizer, TokenizerError):
            raise self._tokenizer
        return self._tokenizer

    @property
    def can_fill(self) -> bool:
        """Whether it has the sentinels, and is not known to have been trained without them."""
        return self.tokenizer.fim is not None and self._trained_to_fill

    @property
    def network(self) -> Transformer:
        """The PyTorch network, where that is what runs."""
        assert isinstance(self.runner, TorchRunner)
        return self.runner.network

    # --------------------------------------------------------------------------------- answers

    def complete(self, prompt: str | Sequence[int] | Sequence[str], **sampling: Any) -> Any:
        """Continue `prompt`; a Completion, or a list for n > 1 or a list of prompts.

        Keyword arguments are those of Sampling; max_tokens is 64, or what fits, unless given.
        """
        many = isinstance(prompt, list | tuple) and len(prompt) > 0 and isinstance(prompt[0], str)
        each = cast("Sequence[str]", prompt) if many else [cast("str | Sequence[int]", prompt)]
        prompts = [self.encode_prompt(p) for p in each]
        wanted = make_sampling(sampling, max_tokens=self.default_length(COMPLETION_TOKENS, prompts))
        answers = self._finish(prompts, wanted)
        return answers if many or wanted.n > 1 else answers[0]

    def fill(
        self,
        prefix: str,
        suffix: str = "",
        *,
        suffix_tokens: SuffixTokens = None,
        document: Hashable = None,
        **sampling: Any,
    ) -> Any:
        """The text between `prefix` and `suffix`: a Completion, or a list for n > 1.

        `suffix_tokens` and `document` are for those who ask at every key stroke; see `encode_fill`
        and `generate`.
        """
        prompts = [self.encode_fill(prefix, suffix, suffix_tokens=suffix_tokens)]
        wanted = make_sampling(sampling, max_tokens=self.default_length(FILL_TOKENS, prompts))
        answers = self._finish(prompts, wanted, document)
        return answers if wanted.n > 1 else answers[0]

    def chat(self, messages: Messages, **sampling: Any) -> Any:
        """The assistant's next message: a Completion, or a list for n > 1."""
        wanted = make_sampling(sampling)
        answers = self._finish([self.encode_chat(messages)], wanted)
        return answers if wanted.n > 1 else answers[0]

    def stream(
        self,
        prompt: str | Sequence[int] | Messages,
        suffix: str | None = None,
        *,
        suffix_tokens: SuffixTokens = None,
        document: Hashable = None,
        **sampling: Any,
    ) -> Iterator[Piece]:
        """The same answers piece by piece: a text is completed, with `suffix` filled, messages chatted."""
        if suffix is None and suffix_tokens is not None:
            raise RequestError(
                "suffix_tokens was given without a suffix",
                why="it says how much of the suffix is read",
                fix='give suffix="" or more, or leave it out',
                param="suffix_tokens",
            )
        if isinstance(prompt, str) and suffix is not None:
            encoded = self.encode_fill(prompt, suffix, suffix_tokens=suffix_tokens)
            length = self.default_length(FILL_TOKENS, [encoded])
        elif len(prompt) and isinstance(prompt[0], Mapping):
            encoded, length = self.encode_chat(cast(Messages, prompt)), None
        else:
            encoded = self.encode_prompt(cast("str | Sequence[int]", prompt))
            length = self.default_length(COMPLETION_TOKENS, [encoded])
        wanted = make_sampling(sampling, max_tokens=length)
        pieces = self.generate(encoded, wanted, document=document)
        return (piece for piece in pieces if piece or piece.finish_reason)

    def logits(self, token_ids: Sequence[int]) -> "np.ndarray":
        """Logits after each of `token_ids`: float32 numpy [tokens, vocabulary]."""
        plain = self._checked(token_ids)
        if len(plain) > self.context:
            raise _too_long(len(plain), 0, self.context)
        return self.scheduler.logits(plain).numpy()

    # --------------------------------------------------------------------------------- prompts

    def encode_prompt(self, prompt: str | Sequence[int]) -> Prompt:
        """Plain text, or ids as they are. Sentinels in the text stay text."""
        if not isinstance(prompt, str):
            ids = self._checked(prompt)
            return Prompt(ids, self.tokenizer.decode(ids, sentinels=True))
        ids = self.tokenizer.encode(prompt, bos=self.tokenizer.add_bos)
        if not ids and self.tokenizer.bos_id is not None:
            ids = [self.tokenizer.bos_id]
        return Prompt(ids, prompt, self._warnings(prompt))

    def encode_fill(
        self, prefix: str, suffix: str, *, suffix_tokens: SuffixTokens = None
    ) -> Prompt:
        """A hole between two texts, in the model's own sentinels. Raises fim_not_supported.

        `suffix_tokens`: of `suffix`, only the first whole lines that are no longer than that are
        read. "auto": as many as this machine has read in 0.4 s lately, at least 16. That number
        changes from one fill to the next, and answers with it; so it has to be asked for.
        """
        if not isinstance(prefix, str) or not isinstance(suffix, str):
            raise RequestError(
                "prefix and suffix must be texts",
                why=f"they are {type(prefix).__name__} and {type(suffix).__name__}",
                fix='give "" for an empty one',
                param="suffix" if isinstance(prefix, str) else "prefix",
            )
        check_suffix_tokens(suffix_tokens)
        pace = self.scheduler.planner.pace
        read = cut_suffix(self.tokenizer, suffix, suffix_limit(suffix_tokens, pace))
        ids = encode_fim(self.tokenizer, prefix, read)
        warnings = self._warnings(prefix + suffix)
        if not self._trained_to_fill:
            warnings += ("this model was not trained to fill holes: expect poor answers",)
        kept = None if read == suffix else len(self.tokenizer.encode(read))
        return Prompt(
            ids, prefix, warnings, priority=FILL_PRIORITY, suffix=suffix, suffix_kept=kept
        )

    def encode_chat(
        self, messages: Messages, *, tools: Any = None, continue_last: bool = False
    ) -> Prompt:
        """A conversation through the model's chat template, ready for the assistant's answer."""
        ids = self.tokenizer.encode_chat(messages, tools=tools, continue_last=continue_last)
        text = "".join(m["content"] for m in messages if isinstance(m.get("content"), str))
        return Prompt(ids, self.tokenizer.decode(ids, sentinels=True), self._warnings(text))

    def _warnings(self, text: str) -> tuple[str, ...]:
        found = look_alikes(text, self.tokenizer.sentinels)
        if not found:
            return ()
        return (
            f"the text holds {', '.join(found[:3])}, which is read as ordinary text, not as a sentinel "
            "token: give prefix and suffix separately to fill a hole",
        )

    def _checked(self, ids: Sequence[int]) -> list[int]:
        """`ids` as plain integers, from a list, an array or a tensor. Raises RequestError."""
        try:
            plain = None if isinstance(ids, bytes) else [operator.index(i) for i in ids]
        except TypeError:
            plain = None
        wrong = [i for i in plain or [] if not 0 <= i < self.config.vocab]
        if not plain or wrong or any(isinstance(i, bool) for i in ids):
            what = "the prompt is no text and no list of token ids"
            if wrong:
                what = f"token id {wrong[0]} is not in the vocabulary"
            elif plain == []:
                what = "the prompt is empty"
            raise RequestError(
                what,
                why=f"this model's ids run from 0 to {self.config.vocab - 1}",
                fix="encode the text with this model's own tokenizer",
                param="prompt",
            )
        return plain

    def default_length(self, wanted: int, prompts: Sequence[Prompt]) -> int:
        """A default length, clipped to what every prompt leaves: nobody asked for more."""
        return min([wanted, *(max(self.room(prompt), 1) for prompt in prompts)])

    def room(self, prompt: Prompt) -> int:
        """How many tokens the context has left behind `prompt`."""
        return max(self.context - len(prompt.ids), 0)

    # ------------------------------------------------------------------------------ generation

    def generate(
        self,
        prompt: Prompt | Sequence[Prompt],
        sampling: Sampling,
        *,
        priority: int | None = None,
        client: Hashable = None,
        document: Hashable = None,
        draft: Callable[[], Draft] | None = None,
    ) -> Iterator[Piece]:
        """Pieces of all answers, interleaved; an empty piece marks a step that showed nothing.

        Choice k of prompt p has the number p * n + k. Raises RequestError at the call, not at the
        first piece. Closing the iterator stops the work. `priority` is the prompt's own unless given;
        `client` names who takes turns with others of the same priority, by default this call.
        `draft` guesses instead of the look-up that `sampling.speculate` asks for.

        `document` names where the cursor of a fill is, such as (client, file). The older fill of
        the same document ends as "superseded". If only its answer's beginning was typed since, the
        new answer is what is left of it, at once: not always what a fresh fill would say.
        """
        prompts = [prompt] if isinstance(prompt, Prompt) else list(prompt)
        if document is not None:
            check_document(prompts, sampling)
        for p in prompts:
            self._check_length(p, sampling)
            self.scheduler.check(len(p.ids), sampling)
        self._check_bias(sampling)
        client = object() if client is None else client
        constraint = self._constraint(sampling)
        draft = draft or self._draft(sampling)

        def submit(p: Prompt) -> Request:
            return self.scheduler.submit(
                p.ids,
                sampling,
                stop_ids=self.stop_ids,
                priority=p.priority if priority is None else priority,
                client=client,
                constraint=constraint,
                draft=draft,
            )

        def turn(p: Prompt) -> Source:
            assert self._keystrokes is not None, "a fill was encoded"
            return self._keystrokes.turn(document, p, sampling, submit)

        return self._pieces(submit if document is None else turn, prompts, sampling)

    def _constraint(self, sampling: Sampling) -> Callable[[], Matcher] | None:
        """What makes the matcher of each answer; compiled here, so that errors come at the call."""
        wanted = sampling.constraint
        if wanted is None:
            return None
        if self._grammars is None:
            from midfill.engine.grammar import Grammars

            self._grammars = Grammars(self.tokenizer, rows=self.config.vocab, end_ids=self.stop_ids)
        grammars = self._grammars
        grammars.matcher(wanted)
        return lambda: grammars.matcher(wanted)

    def _draft(self, sampling: Sampling) -> Callable[[], Draft] | None:
        """Prompt look-up, where reading several tokens in one step cannot change an answer."""
        if sampling.speculate is None or not self.runner.invariant:
            return None
        costs = DENSE_COSTS if self.config.moe is None else MOE_COSTS
        return lambda: Lookup(step_costs=costs)

    def _pieces(
        self, submit: Callable[[Prompt], Source], prompts: Sequence[Prompt], sampling: Sampling
    ) -> Iterator[Piece]:
        requests: list[Source] = []
        try:
            for p in prompts:  # not before: an iterator that never begins is never closed
                requests.append(submit(p))
            readers = [
                Reader(self.tokenizer, *both, sampling)
                for both in zip(requests, prompts, strict=True)
            ]
            while left := [number for number, request in enumerate(requests) if not request.done]:
                if self._threads is not None:
                    self._threads.adapt()
                shown = False
                for number in left:
                    for piece in readers[number].pieces():
                        piece.choice += number * sampling.n
                        shown = True
                        yield piece
                if not shown and not all(request.done for request in requests):
                    yield Piece("")
        finally:
            for request in requests:
                request.cancel()

    def _finish(
        self, prompts: Sequence[Prompt], sampling: Sampling, document: Hashable = None
    ) -> list[Completion]:
        """Every answer to its end."""
        pieces: list[list[Piece]] = [[] for _ in range(len(prompts) * sampling.n)]
        for piece in self.generate(prompts, sampling, document=document):
            pieces[piece.choice].append(piece)
        return [
            completion(pieces[i], prompts[i // sampling.n], sampling) for i in range(len(pieces))
        ]

    def _check_length(self, prompt: Prompt, sampling: Sampling) -> None:
        if not prompt.ids:
            raise RequestError(
                "the prompt is empty",
                why="this model has no token that begins a text, so something must be given",
                fix="give at least one character",
                param="prompt",
            )
        length = len(prompt.ids)
        if sampling.overflow == "shift" and length < self.context:
            return
        if length + max(sampling.max_tokens or 0, 0) > self.context or (
            sampling.max_tokens is None and length >= self.context
        ):
            raise _too_long(len(prompt.ids), sampling.max_tokens or 1, self.context)

    def _check_bias(self, sampling: Sampling) -> None:
        wrong = [i for i in sampling.logit_bias if not 0 <= i < self.config.vocab]
        if wrong:
            raise RequestError(
                f"logit_bias names the token id {wrong[0]}",
                why=f"this model's ids run from 0 to {self.config.vocab - 1}",
                fix="use ids of this model's tokenizer",
                param="logit_bias",
            )


def make_sampling(given: Mapping[str, Any], max_tokens: int | None = None) -> Sampling:
    """Sampling from keyword arguments, None meaning not given; RequestError names an unknown one."""
    names = [field.name for field in dataclasses.fields(Sampling)]
    for name in given:
        if name not in names:
            near = difflib.get_close_matches(name, names, 1)
            raise RequestError(
                f"{name!r} is not a sampling option",
                why=f"there are {', '.join(names)}",
                fix=f"use {near[0]}" if near else "leave it out",
                param=name,
            )
    values = {key: value for key, value in given.items() if value is not None or key in OPTIONAL}
    stop = values.get("stop", ())
    if isinstance(stop, str):
        values["stop"] = (stop,)
    elif isinstance(stop, Sequence):
        values["stop"] = tuple(stop)
    return Sampling(**{"max_tokens": max_tokens, **values})


def completion(pieces: Sequence[Piece], prompt: Prompt, sampling: Sampling) -> Completion:
    """The finished answer that `pieces` are."""
    last = next(piece for piece in pieces if piece.finish_reason)
    assert last.finish_reason is not None
    tokens = [token for piece in pieces for token in piece.tokens]
    written = len(tokens) - (len(prompt.ids) if sampling.echo else 0)
    return Completion(
        text="".join(pieces),
        tokens=[token.id for token in tokens],
        finish_reason=last.finish_reason,
        usage=Usage(len(prompt.ids), written, last.cached_tokens, last.adopted_tokens),
        logprobs=tokens if sampling.logprobs is not None else None,
        warnings=prompt.warnings,
        stop=last.stop,
        suffix_kept=prompt.suffix_kept,
    )


def _too_long(prompt: int, wanted: int, context: int) -> RequestError:
    left = context - prompt
    return RequestError(
        f"{prompt} prompt tokens and {wanted} to generate do not fit a context of {context}",
        why="the model can attend to no more tokens at once",
        fix=f"ask for at most {left} tokens"
        if left > 0
        else f"shorten the prompt by {1 - left} tokens",
        param="max_tokens" if left > 0 else "prompt",
        code="context_length_exceeded",
    )
