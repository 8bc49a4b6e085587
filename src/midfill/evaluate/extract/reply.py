"""What an extraction rule may look at, and what languages are called in fences."""

from dataclasses import dataclass

FENCE_NAMES = {  # every name a task or a model may use -> the name that DeepSeek's prompts use
    "py": "python",
    "python3": "python",
    "c++": "cpp",
    "cc": "cpp",
    "cxx": "cpp",
    "cs": "csharp",
    "c#": "csharp",
    "js": "javascript",
    "node": "javascript",
    "ts": "typescript",
    "sh": "bash",
    "shell": "bash",
    "go_test.go": "go",
    "golang": "go",
    "rs": "rust",
    "rb": "ruby",
    "pl": "perl",
    "rkt": "racket",
    "jl": "julia",
}


def fence_name(language: str) -> str:
    """The one name of a language: `cpp` for c++, cc and cxx; unknown names stay, in lower case."""
    return FENCE_NAMES.get(language.lower(), language.lower())


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """A completion, and what is known about the task it answers."""

    completion: str
    prompt: str = ""  # the task's own unfinished code, not the words of a chat around it
    entry_point: str | None = None
    language: str = "python"  # as `fence_name` gives it
    stop: tuple[str, ...] = ()
    base: bool = False  # the completion continues the prompt; else it answers a chat
