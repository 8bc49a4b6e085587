"""One answer on stdout: while it is made, or all of it as JSON."""

import dataclasses
from typing import TYPE_CHECKING, Any

from midfill.config.constraint import Constraint
from midfill.config.engine import Sampling
from midfill.errors import ConfigError
from midfill.terminal import show
from midfill.terminal.options import Drawing, Form
from midfill.terminal.source import read_text

if TYPE_CHECKING:
    from midfill.engine.results import Prompt
    from midfill.engine.text import Coder


def sampling_options(drawing: Drawing, form: Form, **more: Any) -> dict[str, Any]:
    """The options of Sampling that were given, checked before a model is loaded.

    Raises ConfigError or RequestError.
    """
    given = dataclasses.asdict(drawing) | more
    guess = not given.pop("no_lookup")
    options = {name: value for name, value in given.items() if value is not None}
    options["stop"] = tuple(options.pop("stop", None) or ())
    options |= {} if guess else {"speculate": None}
    if wanted := constraint(form):
        options["constraint"] = wanted
    Sampling(**options)
    return options


def constraint(form: Form) -> Constraint | None:
    """The form that was asked for, its file read. Raises ConfigError or RequestError."""
    given = {name: value for name, value in dataclasses.asdict(form).items() if value is not None}
    names = [f"--{name.replace('_', '-')}" for name in given]
    if len(names) > 1:
        raise ConfigError(
            f"{' and '.join(names)} were given",
            why="an answer has one form",
            fix=f"leave out {names[1]}",
        )
    if form.regex is not None:
        return Constraint(kind="regex", text=form.regex)
    if form.json_schema is not None:
        return Constraint(kind="json_schema", text=read_text(form.json_schema))
    if form.grammar is not None:
        return Constraint(kind="lark", text=read_text(form.grammar))
    return None


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
        fits = (
            length if options.get("overflow") == "shift" else coder.default_length(length, [prompt])
        )
        options = {"max_tokens": fits, **options}
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
