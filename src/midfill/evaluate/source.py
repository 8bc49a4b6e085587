"""Where answers come from: a model in this process; a URL is in source_url.py.

The seed of an answer follows from the run's seed, the task and the number of the answer alone, and
a greedy answer does not depend on what else is being written. So a run that was killed and resumed
gives the answers of one that was not.
"""

import hashlib
import json
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, Any, Protocol

from midfill.errors import ConfigError
from midfill.evaluate.result import Decoding
from midfill.evaluate.task import Prompt

if TYPE_CHECKING:
    from midfill.engine.results import Piece
    from midfill.engine.results import Prompt as Encoded
    from midfill.engine.text import Coder

SEED_BITS = 31  # what every endpoint takes as a seed
TOO_LONG = "context"  # the finish of an answer whose prompt left no room: it is empty
_EDGE = 1 << 20  # bytes at both ends of a file of weights that tell it from others


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """One answer that is wanted."""

    prompt: Prompt
    seed: int | None = None  # None: greedy


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What came back: a text, or the `problem` because of which nothing is known."""

    text: str = ""
    finish: str = ""  # "stop", "length" (the token limit), "context" (the prompt did not fit)
    prompt_tokens: int | None = None
    tokens: int | None = None
    seconds: float | None = None
    problem: str = ""


class AnswerSource(Protocol):
    """A model that answers many questions at a time."""

    @property
    def name(self) -> str:
        """The model, as reports call it."""
        ...

    @property
    def notes(self) -> tuple[str, ...]:
        """What a reader of the score should know about how answers were made."""
        ...

    def describe(self) -> dict[str, Any]:
        """Everything that decides the answers, as plain values; without secrets."""
        ...

    def answers(
        self, questions: Sequence[Question], decoding: Decoding
    ) -> Iterator[tuple[int, Answer]]:
        """Number of the question and its answer, in the order in which they finish."""
        ...


def seed_of(seed: int | None, task_id: str, sample: int) -> int:
    """The seed of one answer."""
    text = json.dumps([seed or 0, task_id, sample])
    digest = hashlib.blake2b(text.encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") >> (64 - SEED_BITS)


def check_decoding(decoding: Decoding) -> None:
    """Raise ConfigError where several greedy answers are asked for: they would be one."""
    if decoding.samples < 1:
        raise ConfigError(
            f"{decoding.samples} answers were asked for",
            why="a task needs at least one",
            fix="-n 1",
        )
    if decoding.samples > 1 and decoding.temperature == 0:
        raise ConfigError(
            f"{decoding.samples} greedy answers were asked for",
            why="at temperature 0 they would all be the same",
            fix="--temperature 0.2, or leave -n out",
        )


class LocalSource:
    """A loaded model; `batch` answers are written at the same time."""

    def __init__(
        self, coder: "Coder", *, path: Path | None = None, name: str = "", batch: int | None = None
    ) -> None:
        """`path`: where its files lie, by which a run is known again after a move or a rename."""
        if batch is not None and batch < 1:
            raise ConfigError(f"batch is {batch}", why="it must be at least 1", fix="--batch 16")
        self._coder = coder
        self._path = path
        self._batch = batch or coder.scheduler.max_running
        coder.scheduler.max_running = max(self._batch, coder.scheduler.max_running)
        self.name = name or coder.name

    @property
    def notes(self) -> tuple[str, ...]:
        """Whether answers may depend on what else was in the batch."""
        if self._coder.runner.invariant and self._coder.scheduler.tables.tree.strict:
            return ()
        return (
            "the bits of this model's logits depend on what is computed beside them: "
            "a run that is repeated or resumed may differ in a few answers",
        )

    @property
    def takes_chats(self) -> bool:
        """Whether it has a chat template."""
        return self._coder.tokenizer.chat_template is not None

    @property
    def can_fill(self) -> bool:
        """Whether it has tokens to fill holes with, and is not known to be untrained in it."""
        return self._coder.can_fill

    @property
    def context(self) -> int:
        """How many tokens it holds, prompt and answer together."""
        return self._coder.context

    def count_tokens(self, text: str) -> int:
        """How many tokens its own tokenizer makes of a text."""
        return len(self._coder.tokenizer.encode(text))

    def describe(self) -> dict[str, Any]:
        """Name, weights, and what computes them."""
        runner = self._coder.runner
        return {
            "kind": "local",
            "model": self.name,
            "weights": fingerprint(self._path) if self._path else "",
            "computed by": type(runner).__name__,
        }

    def answers(
        self, questions: Sequence[Question], decoding: Decoding
    ) -> Iterator[tuple[int, Answer]]:
        """Keep the batch full until every question has its answer."""
        waiting = deque(enumerate(questions))
        running: list[_Writing] = []
        try:
            while waiting or running:
                while waiting and len(running) < self._batch:
                    number, question = waiting.popleft()
                    writing = self._begin(number, question, decoding)
                    if isinstance(writing, Answer):
                        yield number, writing
                    else:
                        running.append(writing)
                for writing in list(running):
                    if (answer := writing.step()) is not None:
                        running.remove(writing)
                        yield writing.number, answer
        finally:
            for writing in running:
                writing.pieces.close()

    def _begin(self, number: int, question: Question, decoding: Decoding) -> "_Writing | Answer":
        from midfill.config.engine import Sampling

        encoded = self._encode(question.prompt)
        wanted = most_tokens(question.prompt, decoding)
        room = self._coder.room(encoded)
        if room == 0:
            return Answer(finish=TOO_LONG, prompt_tokens=len(encoded.ids), tokens=0)
        sampling = Sampling(
            max_tokens=min(wanted, room),
            temperature=decoding.temperature,
            top_p=decoding.top_p,
            top_k=decoding.top_k,
            seed=question.seed,
            stop=question.prompt.stop,
        )
        pieces = self._coder.generate(encoded, sampling, priority=0)
        return _Writing(number, encoded, pieces)

    def _encode(self, prompt: Prompt) -> "Encoded":
        start = prompt.answer_start
        if prompt.messages is not None:
            turns = list(prompt.messages)
            if not start:
                return self._coder.encode_chat(turns)
            turns.append({"role": "assistant", "content": start})
            return self._coder.encode_chat(turns, continue_last=True)
        if prompt.suffix is not None:
            return self._coder.encode_fill((prompt.prefix or "") + start, prompt.suffix)
        return self._coder.encode_prompt((prompt.text or "") + start)


class _Writing:
    """One answer as it grows."""

    def __init__(self, number: int, encoded: "Encoded", pieces: Any) -> None:
        self.number, self.encoded, self.pieces = number, encoded, pieces
        self.made: list[Piece] = []
        self.began = monotonic()

    def step(self) -> Answer | None:
        """Go on by what is there, or by one step of everybody; the answer once it has ended."""
        piece = next(self.pieces)  # the last one has a finish reason: there is always a next
        self.made.append(piece)
        if not piece.finish_reason:
            return None
        self.pieces.close()
        return Answer(
            text="".join(self.made),
            finish=piece.finish_reason,
            prompt_tokens=len(self.encoded.ids),
            tokens=sum(len(one.tokens) for one in self.made),
            seconds=monotonic() - self.began,
        )


def most_tokens(prompt: Prompt, decoding: Decoding) -> int:
    """How long an answer may be."""
    return prompt.max_tokens if decoding.max_tokens is None else decoding.max_tokens


def fingerprint(path: Path) -> str:
    """A short hash that tells a model's files from others': names, sizes, both ends of each."""
    digest = hashlib.sha256()
    kinds = (".gguf", ".safetensors", ".bin", ".json", ".jinja", ".model")
    files = [path] if path.is_file() else sorted(p for p in path.iterdir() if p.suffix in kinds)
    for file in files:
        size = file.stat().st_size
        digest.update(f"{file.name if path.is_dir() else ''}\0{size}\0".encode())
        with file.open("rb") as opened:
            digest.update(opened.read(_EDGE))
            opened.seek(max(size - _EDGE, 0))
            digest.update(opened.read(_EDGE))
    return digest.hexdigest()[:16]
