"""The verbs of `midfill`. Each is one function: its docstring is the help, its body the wiring.

Results go to stdout, everything else to stderr. Exit codes: 0 done, 1 the checked thing failed,
2 the user's mistake, 130 interrupted. Torch is imported inside a verb, never for --help.
"""

import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from midfill.errors import ConfigError, UserError
from midfill.terminal.corpus import app as corpus
from midfill.terminal.evaluate import Asking, Scoring
from midfill.terminal.options import (
    MODEL_HELP,
    Answers,
    At,
    Drawing,
    File,
    Form,
    Json,
    Loading,
    Logprobs,
    Model,
    Overflow,
    Quiet,
    Seed,
    flat,
)
from midfill.terminal.tokenizer import app as tokenizer
from midfill.terminal.train import app as train

app = typer.Typer(
    name="midfill",
    help="Run code models: complete, fill in the middle, chat, convert, serve.",
    invoke_without_command=True,
    add_completion=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

app.add_typer(corpus)
app.add_typer(tokenizer)
app.add_typer(train)

# Click's base class, wherever typer keeps its click.
UsageProblem: Any = typer.BadParameter.__mro__[2]


def main() -> None:
    """Run the command line; a user's mistake is three lines on stderr and exit code 2."""
    from midfill.terminal import streams
    from midfill.terminal.show import error

    streams.prepare()
    out = sys.stdout
    out.reconfigure(errors="replace")  # type: ignore[union-attr]
    try:
        result = app(standalone_mode=False)
        out.flush()
    except typer.Abort:
        sys.exit(130)
    except UsageProblem as problem:
        error(_usage(problem))
        sys.exit(2)
    except UserError as problem:
        error(problem)
        sys.exit(2)
    except KeyboardInterrupt:
        sys.exit(130)
    except SystemExit as end:  # typer swaps stdout and ends with 1 when a pipe's reader has gone
        sys.exit(end.code if sys.stdout is out else 0)
    except BrokenPipeError:  # the reader of a pipe has gone: nobody is left to tell
        streams.silence(out)
        sys.exit(0)
    except streams.OutputRefusedError as problem:
        streams.silence(out)
        error(streams.refused(problem))
        sys.exit(2)
    sys.exit(result if isinstance(result, int) else 0)


def _usage(problem: Any) -> ConfigError:
    """A mistake on the command line itself, in the same three lines as every other."""
    context = getattr(problem, "ctx", None)
    path = context.command_path if context is not None else "midfill"
    return ConfigError(
        problem.format_message().rstrip("."),
        why=f"`{path}` does not take this"
        if "No such" in problem.format_message()
        else "see the usage",
        fix=f"{path} --help",
    )


def _version(wanted: bool) -> None:
    if wanted:
        from midfill import __version__

        typer.echo(f"midfill {__version__}")
        raise typer.Exit


@app.callback()
def root(
    context: typer.Context,
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Run code models: complete, fill in the middle, chat, convert, serve."""
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())


@app.command()
@flat
def complete(
    model: Model = None,
    *,
    prompt: Annotated[
        str | None, typer.Option("--prompt", "-p", help="The text to continue.")
    ] = None,
    file: File = None,
    at: At = None,
    drawing: Drawing,
    form: Form,
    overflow: Overflow = None,
    n: Answers = 1,
    echo: Annotated[bool, typer.Option("--echo", help="Print the prompt too.")] = False,
    logprobs: Logprobs = None,
    loading: Loading,
    seed: Seed = None,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Continue a text: from --prompt, a file, a place in a file, or a pipe.

    midfill complete -p 'def fib(n):'
    """
    from midfill.terminal.answer import answer, sampling_options
    from midfill.terminal.load import load_model
    from midfill.terminal.source import prompt_text

    text = prompt_text(prompt, file, at)
    options = sampling_options(
        drawing, form, overflow=overflow, n=n, echo=echo, logprobs=logprobs, seed=seed
    )
    coder = load_model(model, loading, quiet=quiet)
    answer(coder, coder.encode_prompt(text), options, length=128, json=json, quiet=quiet)


@app.command()
@flat
def fill(
    model: Model = None,
    *,
    prefix: Annotated[str | None, typer.Option(help="The text before the hole.")] = None,
    suffix: Annotated[str | None, typer.Option(help="The text behind the hole.")] = None,
    file: File = None,
    at: At = None,
    hole: Annotated[str, typer.Option(help="Marks the hole in a file or a pipe.")] = "<HOLE>",
    drawing: Drawing,
    form: Form,
    n: Answers = 1,
    logprobs: Logprobs = None,
    loading: Loading,
    seed: Seed = None,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Write what is missing between a prefix and a suffix; needs a model trained to fill.

    midfill fill MODEL --prefix 'def mean(xs):' --suffix 'print(mean([1, 2]))'

    midfill fill MODEL --at src/main.py:12
    """
    from midfill.terminal import source
    from midfill.terminal.answer import answer, sampling_options
    from midfill.terminal.load import load_model, model_that_fills

    around = source.hole(prefix, suffix, file, at, hole)
    options = sampling_options(drawing, form, n=n, logprobs=logprobs, seed=seed)
    coder = load_model(model_that_fills(model), loading, quiet=quiet)
    prompt = coder.encode_fill(around.prefix, around.suffix)
    answer(coder, prompt, options, length=128, json=json, quiet=quiet)


@app.command()
@flat
def chat(
    model: Model = None,
    *,
    message: Annotated[
        str | None, typer.Option("--message", "-m", help="Ask this and leave; - reads stdin.")
    ] = None,
    system: Annotated[str | None, typer.Option(help="The system message.")] = None,
    drawing: Drawing,
    form: Form,
    overflow: Overflow = None,
    loading: Loading,
    seed: Seed = None,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Talk with a model at the terminal; with --message or a pipe, ask once.

    Enter sends, Alt+Enter begins a new line, Ctrl+C stops an answer, Ctrl+D leaves.
    """
    from midfill.terminal.answer import answer, sampling_options
    from midfill.terminal.chat import Conversation, talk
    from midfill.terminal.load import load_model
    from midfill.terminal.source import question

    asked = question(message, json=json)
    options = sampling_options(drawing, form, overflow=overflow, seed=seed)
    coder = load_model(model, loading, quiet=quiet)
    conversation = Conversation(coder, system, {**coder.defaults, **options})
    if asked is None:
        talk(conversation)
    else:
        prompt = coder.encode_chat([*conversation.messages, {"role": "user", "content": asked}])
        answer(coder, prompt, conversation.sampling, json=json, quiet=quiet)


@app.command()
@flat
def serve(
    model: Model = None,
    *,
    chat_model: Annotated[str | None, typer.Option(help="A second model, for chat.")] = None,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port to listen on.")] = 8000,
    api_key: Annotated[
        str | None,
        typer.Option(
            envvar="MIDFILL_API_KEY",
            help="Key that clients must send; safer in the environment, where no process list shows it.",
        ),
    ] = None,
    max_batch: Annotated[int, typer.Option(help="Answers that are written at the same time.")] = 8,
    max_queue: Annotated[int, typer.Option(help="Requests that wait; more are refused.")] = 64,
    loading: Loading,
    seed: Seed = None,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Serve a model: a page, and the OpenAI API for programs and editors.

    Prints the address and a ready curl line when the model is loaded; Ctrl+C ends it.
    --seed is the seed of requests that bring none.
    """
    from functools import partial

    from midfill.config.server import ServerConfig
    from midfill.server.run import serve as run
    from midfill.terminal import show
    from midfill.terminal.load import load_model

    config = ServerConfig(
        host=host,
        port=port,
        api_keys=(api_key,) if api_key else (),
        max_batch=max_batch,
        max_queue=max_queue,
        log_requests=not quiet,
    )

    def load(name: str | None) -> Any:
        coder = load_model(name, loading, quiet=quiet)
        coder.defaults |= {} if seed is None else {"seed": seed}
        return coder

    second = None if chat_model is None else partial(load, chat_model)
    run(partial(load, model), config, announce=partial(show.ready, json=json), chat_loader=second)


@app.command()
def models(json: Json = False, quiet: Quiet = False, seed: Seed = None) -> None:
    """List the models midfill knows by name, with licence and size."""
    from midfill.hub import default_model
    from midfill.terminal import models, show

    if json:
        show.as_json(models.facts())
    else:
        models.table()
        show.note(f"\ndefault: {default_model()}; any owner/name of the hub works too", quiet=quiet)


@app.command()
def pull(
    name: Annotated[str, typer.Argument(metavar="NAME", help=MODEL_HELP)],
    force: Annotated[
        bool, typer.Option("--force", help="Verify every file and mend what differs.")
    ] = False,
    json: Json = False,
    quiet: Quiet = False,
    seed: Seed = None,
) -> None:
    """Fetch a model into the cache, verified; resumes where it stopped. Prints its path."""
    from midfill import hub
    from midfill.terminal import show

    with show.progress(quiet=quiet) as report:
        path = hub.pull(name, progress=report, force=force)
    if json:
        show.as_json({"name": name, "path": str(path)})
    else:
        print(path)


@app.command()
def describe(
    name: Annotated[
        str, typer.Argument(metavar="MODEL_OR_RECIPE", help="A recipe, path or model.")
    ],
    context: Annotated[int | None, typer.Option(help="Tokens for the memory estimate.")] = None,
    dtype: Annotated[str | None, typer.Option(help="Type of weights and cache.")] = None,
    json: Json = False,
    quiet: Quiet = False,
    seed: Seed = None,
) -> None:
    """Tell parameters, cache, weight and memory bytes of a network, without allocating it.

    midfill describe deepseek-coder-v2-lite --context 131072
    """
    from midfill.terminal import show
    from midfill.terminal.describe import describe as facts_of
    from midfill.terminal.describe import summary

    facts = facts_of(name, context, dtype)
    if json:
        show.as_json(facts)
    else:
        print("\n".join(summary(facts)))


@app.command()
def doctor(json: Json = False, quiet: Quiet = False, seed: Seed = None) -> int:
    """Say what this machine can do and what is missing, each with its fix; exit 1 if midfill cannot work."""
    from midfill.terminal.doctor import report

    return report(json=json, quiet=quiet)


@app.command()
def run(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The program; - reads stdin.")],
    tests: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Python: assert lines, check(candidate), test_ functions or unittest classes, run in a "
            "process of their own. Other languages: what is appended to the program.",
        ),
    ] = None,
    language: Annotated[
        str | None, typer.Option(help="Default: what the file's ending says.")
    ] = None,
    entry_point: Annotated[
        str | None, typer.Option(help="The function that check(candidate) gets.")
    ] = None,
    sealed: Annotated[
        bool,
        typer.Option(
            "--sealed/--unsealed",
            help="Unsealed: Python tests in the program's own process, which could forge what they say.",
        ),
    ] = True,
    cpu: Annotated[float, typer.Option(help="Seconds of processor time.")] = 3.0,
    wall: Annotated[float, typer.Option(help="Seconds by the clock.")] = 10.0,
    memory: Annotated[int, typer.Option(help="MB, of all its processes together.")] = 512,
    level: Annotated[
        str | None, typer.Option(metavar="A|B|C-strict|C", help="Default: the best there is here.")
    ] = None,
    json: Json = False,
    quiet: Quiet = False,
    seed: Seed = None,
) -> int:
    """Run a program that nobody vouches for: no network, no files of yours, no way out.

    midfill run solution.py --tests tests.py --entry-point solve

    Without tests it gets what comes on stdin, and what it printed is printed when it has ended. Exit
    status 0: it passed, or ended with 0 itself; 1: it did not.
    """
    from midfill.terminal.run import limits_of, run_file

    limits = limits_of(cpu, wall, memory)
    return run_file(
        file, tests, language, entry_point, limits, level, sealed=sealed, json=json, quiet=quiet
    )


@app.command()
@flat
def evaluate(
    benchmark: Annotated[
        str | None,
        typer.Argument(
            metavar="BENCHMARK",
            help="Such as humaneval; bits: bits per byte; paper: the papers' tables.",
        ),
    ] = None,
    model: Model = None,
    *,
    compare: Annotated[
        tuple[Path, Path] | None,
        typer.Option(metavar="A B", help="Two results, or their folders, beside each other."),
    ] = None,
    asking: Asking,
    scoring: Scoring,
    n: Answers = 1,
    loading: Loading,
    seed: Seed = None,
    json: Json = False,
    quiet: Quiet = False,
) -> int:
    """Measure a model on a benchmark, or score answers made elsewhere.

    midfill evaluate humaneval MODEL

    midfill evaluate mbpp --url http://127.0.0.1:8000 --limit 50

    midfill evaluate humaneval --samples answers.jsonl

    Answers are kept as they come: the same command goes on with a run that was ended. Exit status 1:
    nothing is known about some answer, because the machine or the server failed.
    """
    from midfill.terminal import evaluate as run
    from midfill.terminal.evaluate_bits import BITS, bits

    if compare is not None:
        return run.compare(*compare, out=scoring.out, json=json)
    if benchmark is None:
        raise run.no_benchmark()
    wanted = run.Wanted(
        asking=asking, scoring=scoring, loading=loading, n=n, seed=seed, json=json, quiet=quiet
    )
    if benchmark == run.PAPER:
        return run.paper(model, wanted)
    if benchmark == BITS:
        return bits(model, wanted)
    return run.evaluate(benchmark, model, wanted)


@app.command()
def lifecycle(
    size: Annotated[str, typer.Option(metavar="tiny|nano", help="Of the model.")] = "tiny",
    minutes: Annotated[
        float, typer.Option(min=0.2, help="Of the clock, about; nano wants a graphics processor.")
    ] = 9.0,
    data: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Folder of repositories. Default: Python's own library."),
    ] = None,
    out: Annotated[
        Path, typer.Option(metavar="DIR", help="Folder to live in; a life there goes on.")
    ] = Path("midfill-life"),
    json: Json = False,
    quiet: Quiet = False,
    seed: Seed = None,
) -> int:
    """The whole life of a small model here: corpus, tokenizer, training, longer context, an answer.

    midfill lifecycle --minutes 9

    Exit status 1: the loss did not fall below that of counted 3-grams.
    """
    from midfill.terminal.lifecycle import lifecycle as run

    return run(size, minutes, data, out, seed or 0, json=json, quiet=quiet)


@app.command()
def convert(
    src: Annotated[
        str, typer.Argument(metavar="SRC", help="A folder, a .gguf file, or a model's name.")
    ],
    dst: Annotated[
        Path, typer.Argument(metavar="DST", help="Folder (hf) or file (gguf) to write.")
    ],
    to: Annotated[str, typer.Option(help="hf or gguf.")],
    quant: Annotated[
        str | None,
        typer.Option(help="F32, F16, BF16; for gguf also Q8_0, Q4_0. Default: as stored."),
    ] = None,
    json: Json = False,
    quiet: Quiet = False,
    seed: Seed = None,
) -> None:
    """Write a checkpoint in another layout; needs memory for one tensor only.

    midfill convert ./my-model my-model.gguf --to gguf --quant Q8_0
    """
    from midfill.hub import resolve
    from midfill.model.convert import convert as run
    from midfill.terminal import show

    with show.progress(quiet=quiet) as report:
        source = resolve(src, progress=report)
        written = run(source, dst, to, quant, show.steps(report, f"writing {dst.name}"))
    if json:
        show.as_json({"source": str(source), "path": str(written), "to": to})
    else:
        print(written)


if __name__ == "__main__":
    main()
