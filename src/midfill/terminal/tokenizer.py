"""The verbs of `midfill tokenizer`: train a vocabulary, look into one, compare several."""

from pathlib import Path
from typing import Annotated

import typer

from midfill.terminal.options import File, Json, Quiet

app = typer.Typer(
    name="tokenizer",
    help="Vocabularies: train one, look into one, compare several.",
    no_args_is_help=True,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)

_MODEL = (
    "A folder with tokenizer.json, a corpus build, a GGUF file, a tiktoken rank file, or a "
    "model's name."
)
Seed = Annotated[int | None, typer.Option(help="Which texts the sample takes.")]


@app.command()
def train(
    paths: Annotated[
        list[Path],
        typer.Argument(
            metavar="PATH...",
            help="Corpus builds, token shards, folders of sources, archives, text files.",
        ),
    ],
    vocab: Annotated[
        int, typer.Option(max=1 << 24, metavar="N", help="Entries, with the nine sentinels.")
    ],
    out: Annotated[Path, typer.Option(metavar="DIR", help="Folder to write.")],
    pre: Annotated[
        str,
        typer.Option(
            metavar="NAME",
            help="How text is cut before merges, by its GGUF name: deepseek-coder (V1), "
            "deepseek-llm (V2), qwen2, gpt-2, ...",
        ),
    ] = "deepseek-coder",
    sample_bytes: Annotated[
        int,
        typer.Option(
            min=1,
            max=(1 << 31) - 1,
            metavar="N",
            help="Text to train on, as much of each language as there is.",
        ),
    ] = 32 << 20,
    seed: Seed = None,
    json: Json = False,
    quiet: Quiet = False,
) -> int:
    """Train a byte-level BPE with DeepSeek's sentinels and chat template.

    midfill tokenizer train corpus --vocab 32000 --out my-tokenizer

    midfill tokenizer train ./repositories --vocab 8000 --pre deepseek-llm --out my-tokenizer

    The same texts give the same vocabulary, whatever their order. DIR opens in transformers.
    """
    from midfill.terminal.tokenizer_train import Wanted, train_tokenizer

    wanted = Wanted(
        paths=paths, vocabulary=vocab, out=out, pre=pre, sample_bytes=sample_bytes, seed=seed or 0
    )
    return train_tokenizer(wanted, json=json, quiet=quiet)


@app.command()
def show(
    model: Annotated[str, typer.Argument(metavar="MODEL_OR_DIR", help=_MODEL)],
    text: Annotated[
        str | None, typer.Argument(metavar="TEXT", help="A text to cut into tokens.")
    ] = None,
    file: File = None,
    json: Json = False,
    quiet: Quiet = False,
    seed: Seed = None,
) -> int:
    """What a vocabulary holds; with a text, the tokens it is cut into.

    midfill tokenizer show my-tokenizer

    midfill tokenizer show my-tokenizer 'def fib(n):'
    """
    from midfill.terminal.tokenizer_show import show_tokenizer

    return show_tokenizer(model, text, file, json=json, quiet=quiet)


@app.command()
def compare(
    models: Annotated[list[str], typer.Argument(metavar="MODEL_OR_DIR...", help=_MODEL)],
    on: Annotated[
        list[Path],
        typer.Option(metavar="PATH", help="Texts to encode, as train takes them; may be repeated."),
    ],
    page: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write the table and a drawing as HTML.")
    ] = None,
    json: Json = False,
    quiet: Quiet = False,
    seed: Seed = None,
) -> int:
    """How many bytes a token of each vocabulary stands for, by language.

    midfill tokenizer compare my-tokenizer cl100k_base.tiktoken --on ./repositories

    Take texts that no vocabulary here was trained on.
    """
    from midfill.terminal.tokenizer_compare import compare_tokenizers

    return compare_tokenizers(models, on, page, json=json, quiet=quiet)
