"""What the verbs are told on the command line: single options, and groups that several verbs share.

Typer reads options from a verb's signature. `flat` lets a verb take a group as one argument.
"""

import dataclasses
import inspect
from collections.abc import Callable
from dataclasses import dataclass
from inspect import Parameter
from typing import Annotated, Any

import typer

MODEL_HELP = "A path, owner/name on the hub, or a name of `midfill models`. Default: a small model."
Model = Annotated[str | None, typer.Argument(metavar="MODEL", help=MODEL_HELP)]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object on stdout.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No progress and no notes on stderr.")]
Seed = Annotated[int | None, typer.Option(help="Makes sampled answers repeatable.")]
Answers = Annotated[int, typer.Option("-n", help="How many answers.")]
Logprobs = Annotated[int | None, typer.Option(help="Rivals per token, with --json.")]
Overflow = Annotated[
    str | None,
    typer.Option(
        metavar="refuse|shift", help="When the context is full: end, or forget the oldest text."
    ),
]
File = Annotated[str | None, typer.Option("--file", "-f", help="A text file; - reads stdin.")]
At = Annotated[str | None, typer.Option(metavar="FILE:LINE[:COLUMN]", help="A place in a file.")]


@dataclass(frozen=True, slots=True, kw_only=True)
class Drawing:
    """How tokens are chosen, and when an answer ends."""

    max_tokens: Annotated[
        int | None,
        typer.Option(help="Longest answer, in tokens. Default: 128 or what fits; chat: what fits."),
    ] = None
    temperature: Annotated[
        float | None,
        typer.Option(help="0, the default but in chat, always takes the likeliest token."),
    ] = None
    top_p: Annotated[
        float | None, typer.Option(help="Sample from the likeliest tokens of this mass.")
    ] = None
    top_k: Annotated[
        int | None, typer.Option(help="Sample from this many likeliest tokens; 0: all.")
    ] = None
    min_p: Annotated[
        float | None, typer.Option(help="Drop tokens below this share of the likeliest.")
    ] = None
    stop: Annotated[
        list[str] | None, typer.Option(help="End before this text; may be repeated.")
    ] = None
    no_lookup: Annotated[
        bool, typer.Option("--no-lookup", help="Guess no tokens from the text so far.")
    ] = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Form:
    """What an answer must look like; one of them."""

    json_schema: Annotated[
        str | None, typer.Option(metavar="FILE", help="Answer in JSON of the schema in this file.")
    ] = None
    regex: Annotated[
        str | None, typer.Option(help="Answer what this regular expression matches.")
    ] = None
    grammar: Annotated[
        str | None, typer.Option(metavar="FILE", help="Answer by the Lark grammar in this file.")
    ] = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Loading:
    """How a model is loaded and computed: the options of midfill.load."""

    dtype: Annotated[str, typer.Option(help="auto, float32, bfloat16 or float16.")] = "auto"
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto"
    context: Annotated[int | None, typer.Option(help="Longest sequence; default: what fits.")] = (
        None
    )
    threads: Annotated[
        int | None, typer.Option(help="Processor threads; default: the idle cores.")
    ] = None
    quant: Annotated[
        str | None,
        typer.Option(help="int8 or int4: make unquantised weights smaller on the way in."),
    ] = None
    cache: Annotated[
        str, typer.Option(help="auto, bfloat16, or int8 for latents in half the memory.")
    ] = "auto"
    cache_file: Annotated[
        bool,
        typer.Option(
            "--cache-file/--no-cache-file",
            help="Keep repacked weights of 256 MiB or more as a mapped file in the cache folder.",
        ),
    ] = True
    strict: Annotated[
        bool | None,
        typer.Option(
            "--strict/--fast",
            help="The same answer to the bit whatever ran before; or reuse more of earlier prompts.",
        ),
    ] = None


def flat(verb: Callable[..., Any]) -> Callable[..., Any]:
    """`verb` with the fields of its groups in place of the groups, as typer wants them."""
    groups: dict[str, Any] = {}
    options: list[Parameter] = []
    for name, parameter in inspect.signature(verb).parameters.items():
        if not dataclasses.is_dataclass(parameter.annotation):
            options.append(parameter.replace(kind=Parameter.KEYWORD_ONLY))
            continue
        groups[name] = parameter.annotation
        options += [
            Parameter(f.name, Parameter.KEYWORD_ONLY, default=f.default, annotation=f.type)
            for f in dataclasses.fields(parameter.annotation)
        ]

    def run(**given: Any) -> Any:
        made = {
            name: group(**{f.name: given.pop(f.name) for f in dataclasses.fields(group)})
            for name, group in groups.items()
        }
        return verb(**given, **made)

    run.__name__, run.__doc__ = verb.__name__, verb.__doc__
    run.__signature__ = inspect.Signature(options)  # type: ignore[attr-defined]
    return run
