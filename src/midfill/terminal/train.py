"""The verbs of `midfill train`: pre-training, longer context, and the report of a run."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from midfill.terminal.options import Json, Quiet, flat

app = typer.Typer(
    name="train",
    help="From token shards to a checkpoint.",
    no_args_is_help=True,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)

Seed = Annotated[int | None, typer.Option(help="Of weights, order and holes.")]
Start = Annotated[
    str | None, typer.Option(metavar="MODEL", help="Weights to go on from: a path or a name.")
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What every run is told."""

    data: Annotated[
        list[str] | None,
        typer.Option(
            metavar="[WEIGHT=]DIR",
            help="Token shards of midfill corpus build, or a folder of sources, which is then built "
            "with the default corpus; may be repeated, with shares of the mix.",
        ),
    ] = None
    out: Annotated[Path | None, typer.Option(metavar="RUN", help="Folder of the run.")] = None
    resume: Annotated[
        Path | None, typer.Option(metavar="RUN", help="Go on with a run that was ended.")
    ] = None
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="A.B=VALUE", help="Change a setting; may be repeated."),
    ] = None
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto"
    track: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="Log also to tensorboard, wandb or trackio."),
    ] = None


@app.command()
@flat
def pretrain(
    recipe: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="tiny, small, nano, or a released model's name."),
    ] = None,
    start: Start = None,
    *,
    options: Options,
    seed: Seed = None,
    json: Json = False,
    quiet: Quiet = False,
) -> int:
    """Train on next tokens and fill-in-the-middle, from new weights or from a checkpoint's.

    midfill corpus build ./repositories --out corpus --set shards.fim.rate=0

    midfill train pretrain --recipe tiny --data corpus --out run

    midfill train pretrain --resume run

    RUN/final is a Hugging Face folder. Stopped or killed, a run goes on exactly where it was. Over
    several processes: torchrun --nproc-per-node 4 -m midfill.cli train pretrain ...
    """
    from midfill.terminal.train_run import pretraining, told_once, train

    with told_once():
        return train(pretraining(recipe, start, options, seed), json=json, quiet=quiet)


@app.command("long-context")
@flat
def long_context(
    start: Start = None,
    length: Annotated[int | None, typer.Option(help="Tokens of a sequence of this stage.")] = None,
    context: Annotated[
        int | None, typer.Option(help="Tokens the model shall reach. Default: --length.")
    ] = None,
    steps: Annotated[int, typer.Option(min=1, help="Of this stage; the papers take 1,000.")] = 1000,
    *,
    options: Options,
    seed: Seed = None,
    json: Json = False,
    quiet: Quiet = False,
) -> int:
    """Extend the context of a trained model: YaRN for latent attention, linear scaling for V1.

    midfill train long-context --start run/final --length 4096 --data corpus --out longer

    Long documents are drawn more often than they come.
    """
    from midfill.terminal.train_run import extending, told_once, train

    with told_once():
        wanted = extending(start, length, context, steps, options, seed)
        return train(wanted, json=json, quiet=quiet)


@app.command()
def report(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="The folder of a run.")],
    beside: Annotated[
        list[Path] | None,
        typer.Option(metavar="RUN", help="Another run in the same picture; may be repeated."),
    ] = None,
    json: Json = False,
    quiet: Quiet = False,
    seed: Seed = None,
) -> int:
    """Write RUN/report.html: loss, gradient norm, expert load, throughput, samples."""
    from midfill.terminal.train_run import report as write

    return write(run, beside or [], json=json, quiet=quiet)
