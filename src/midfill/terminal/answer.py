"""One answer on stdout: while it is made, or all of it as JSON."""

import dataclasses
from typing import TYPE_CHECKING, Any

from midfill.config.engine import Sampling
from midfill.terminal import show

if TYPE_CHECKING:
    from midfill.engine.results import Prompt
    from midfill.engine.text import Coder


def sampling_options(**given: Any) -> dict[str, Any]:
    """The options that were given, checked before a model is loaded. Raises RequestError."""
    options = {name: value for name, value in given.items() if value is not None}
    options["stop"] = tuple(options.pop("stop", None) or ())
    Sampling(**options)
    return options


def answer(
    coder: "Coder",
    prompt: "Prompt",
    options: dict[str, Any],
    *,
    length: int | None = None,
    json: bool,
    quiet: bool,
) -> None:
    """Print what the model answers; a list when JSON and more than one answer are wanted.

    `length` tokens, or what fits, unless `options` say max_tokens.
    """
    from midfill.engine.text import completion

    for warning in prompt.warnings:
        show.note(f"warning: {warning}", quiet=quiet)
    if length is not None:
        options = {"max_tokens": coder.default_length(length, [prompt]), **options}
    sampling = Sampling(**options)
    pieces = coder.generate(prompt, sampling)
    if not json and sampling.n == 1:
        show.stream(pieces)
        return
    made = list(pieces)
    answers = [
        completion([piece for piece in made if piece.choice == i], prompt, sampling)
        for i in range(sampling.n)
    ]
    if json:
        shown = [as_plain(dataclasses.asdict(answer)) for answer in answers]
        show.as_json(shown[0] if sampling.n == 1 else shown)
    else:
        for i, one in enumerate(answers, 1):
            print(f"--- {i}\n{one.text}")


def as_plain(value: Any) -> Any:
    """The value with bytes as lists of numbers, as OpenAI's API gives them."""
    if isinstance(value, bytes):
        return list(value)
    if isinstance(value, dict):
        return {key: as_plain(item) for key, item in value.items()}
    return [as_plain(item) for item in value] if isinstance(value, list | tuple) else value
