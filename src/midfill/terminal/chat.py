"""A conversation at the terminal: history, several lines, streaming, a key that stops."""

import sys
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from midfill.errors import RequestError, UserError
from midfill.hub import cache_folder
from midfill.terminal.show import error, note

if TYPE_CHECKING:
    from midfill.engine.text import Coder

HELP = """\
Enter sends, Alt+Enter (or Esc, Enter) begins a new line, Ctrl+C stops an answer, Ctrl+D leaves.
/reset      forget the conversation     /retry   answer the last message again
/system T   set the system message      /undo    forget the last question and answer
/help       this text                   /exit    leave"""


class Conversation:
    """Messages with one model; what `chat` shows and keeps."""

    def __init__(self, coder: "Coder", system: str | None, sampling: dict[str, Any]) -> None:
        self.coder = coder
        self.sampling = sampling
        self.messages: list[dict[str, Any]] = []
        if system:
            self.set_system(system)

    def set_system(self, text: str) -> None:
        """Replace the system message."""
        self.messages = [m for m in self.messages if m["role"] != "system"]
        self.messages.insert(0, {"role": "system", "content": text})

    def reset(self) -> None:
        """Forget everything but the system message."""
        self.messages = [m for m in self.messages if m["role"] == "system"]

    def undo(self) -> str | None:
        """Forget the last question and its answer; return the question."""
        while self.messages and self.messages[-1]["role"] == "assistant":
            self.messages.pop()
        if self.messages and self.messages[-1]["role"] == "user":
            return self.messages.pop()["content"]
        return None

    def ask(self, question: str) -> Iterator[str]:
        """Pieces of the answer; what was said stays in the conversation, also when it is stopped."""
        self.messages.append({"role": "user", "content": question})
        said: list[str] = []
        pieces = None
        try:
            pieces = self.coder.stream(self.messages, **self.sampling)
            for piece in pieces:
                said.append(piece)
                yield piece
        except RequestError:
            self.messages.pop()
            raise
        finally:
            if pieces is not None:
                pieces.close()  # type: ignore[attr-defined]
            if said:
                self.messages.append({"role": "assistant", "content": "".join(said)})


def talk(conversation: Conversation) -> None:
    """Read, answer, repeat, until the end of input."""
    read = _reader()
    print(f"{conversation.coder.name}. /help lists the keys and commands.", file=sys.stderr)
    while True:
        try:
            text = read()
        except KeyboardInterrupt:
            continue
        except EOFError:
            return
        if text.strip() == "/exit":
            return
        if text.strip():
            _turn(conversation, text)


def _turn(conversation: Conversation, text: str) -> None:
    """One line of input: a command or a question."""
    command, _, rest = text.strip().partition(" ")
    if command == "/retry":
        question = conversation.undo()
        if question is None:
            print("nothing to answer yet", file=sys.stderr)
        else:
            _answer(conversation, question)
    elif command in ("/reset", "/undo"):
        conversation.reset() if command == "/reset" else conversation.undo()
        print("forgotten", file=sys.stderr)
    elif command == "/system":
        conversation.set_system(rest)
        print("system message set", file=sys.stderr)
    elif command == "/help":
        print(HELP, file=sys.stderr)
    elif command.startswith("/") and command[1:].isalpha():
        print(f"no command {command}; /help lists them", file=sys.stderr)
    else:
        _answer(conversation, text)


def _answer(conversation: Conversation, question: str) -> None:
    start, first, count = time.perf_counter(), None, 0
    pieces = conversation.ask(question)
    try:
        for piece in pieces:
            first = first or time.perf_counter()
            count += len(getattr(piece, "tokens", ()))
            print(piece, end="", flush=True)
    except KeyboardInterrupt:
        pieces.close()  # type: ignore[attr-defined]
        print(" [stopped]", end="")
    except RequestError as problem:
        error(problem)
        return
    print()
    if first is not None and count > 1:
        now = time.perf_counter()
        rate = (count - 1) / max(now - first, 1e-9)
        print(f"[{count} tokens, {rate:.1f}/s, first after {first - start:.1f} s]", file=sys.stderr)


def _reader() -> Any:
    """A prompt with editing and a history that lasts, or plain lines when there is no terminal."""
    if not sys.stdin.isatty():
        return input
    from prompt_toolkit import PromptSession
    from prompt_toolkit.key_binding import KeyBindings

    keys = KeyBindings()

    @keys.add("escape", "enter")
    def _(event: Any) -> None:
        event.current_buffer.insert_text("\n")

    @keys.add("enter")
    def _(event: Any) -> None:
        event.current_buffer.validate_and_handle()

    session: Any = PromptSession(
        "> ",
        multiline=True,
        key_bindings=keys,
        prompt_continuation=". ",
        history=_history(),
    )
    return session.prompt


def _history() -> Any:
    """What was typed before, in the cache; of this conversation alone where that cannot be written."""
    from prompt_toolkit.history import FileHistory, InMemoryHistory

    try:
        file = cache_folder() / "chat_history"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.open("ab").close()
    except (OSError, UserError) as problem:
        note(f"what you type is not kept: {getattr(problem, 'why', problem)}")
        return InMemoryHistory()
    return FileHistory(str(file))
