"""The verbs of `midfill corpus`: build a whole corpus, or run one of its stages alone."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from midfill.terminal.options import Json, Quiet

app = typer.Typer(
    name="corpus",
    help="Repositories to clean, ordered, deduplicated training documents.",
    no_args_is_help=True,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)

Paths = Annotated[list[Path], typer.Argument(metavar="PATH...", help="Files, or folders of files.")]
Set = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="A.B=VALUE", help="Change a setting; may be repeated."),
]
Seed = Annotated[int | None, typer.Option(help="Of everything that is chosen by chance.")]


@app.command()
def build(
    config: Annotated[
        str,
        typer.Argument(
            metavar="CONFIG",
            help="A recipe (default, v1, v2, packages), a JSON file such as run.json of another "
            "build, or a folder of repositories, of archives, or a single repository.",
        ),
    ],
    out: Annotated[
        Path, typer.Option(metavar="DIR", help="Folder to build in; a build there goes on.")
    ] = Path("corpus"),
    source: Annotated[
        list[str] | None,
        typer.Option(
            metavar="[CATEGORY=]KIND:PATH",
            help="A source beside those of CONFIG; may be repeated. Kinds: folder, repository, "
            "git, archives, packages, table (Parquet, JSONL), pages (WARC, WET, JSONL). "
            "Categories, for the mix: code, math, text.",
        ),
    ] = None,
    settings: Set = None,
    workers: Annotated[
        int | None, typer.Option(min=1, help="Processes. Default: one a core.")
    ] = None,
    cluster: Annotated[
        str | None,
        typer.Option(
            metavar="HOST:PORT|auto",
            help="Run on this Ray cluster, whose machines all see --out and the sources.",
        ),
    ] = None,
    worker_memory: Annotated[
        int | None,
        typer.Option(metavar="MIB", help="The most a process may hold, at least 512."),
    ] = None,
    seed: Seed = None,
    json: Json = False,
    quiet: Quiet = False,
) -> int:
    """Build training shards from repositories; the same command goes on with an ended build.

    midfill corpus build ./repositories --out corpus

    midfill corpus build packages --out corpus --set shards.tokenizer.vocabulary=16000

    midfill corpus build v1 --source git:./my-project --workers 2

    DIR then holds shards/ (token shards, readable with numpy), tokenizer/, report.html, run.json.
    """
    from midfill.terminal.corpus_build import Wanted, build_corpus

    wanted = Wanted(
        config=config,
        out=out,
        sources=source or [],
        settings=settings or [],
        workers=workers,
        worker_memory=worker_memory,
        cluster=cluster,
        seed=seed,
    )
    return build_corpus(wanted, json=json, quiet=quiet)


@app.command()
def report(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="The folder of a build.")],
    verify: Annotated[
        bool, typer.Option("--verify", help="Compare every shard with its SHA-256 first.")
    ] = False,
    json: Json = False,
    quiet: Quiet = False,
) -> int:
    """Write report.html and report.json about a build again, and print its funnel."""
    from midfill.terminal.corpus_build import show_report

    return show_report(folder, verify=verify, json=json, quiet=quiet)


@app.command()
def languages(paths: Paths, json: Json = False) -> int:
    """Which of the 338 languages each file is written in, and how that was found."""
    from midfill.terminal import corpus_stages

    return corpus_stages.languages(paths, json=json)


@app.command("filter")
def filter_(paths: Paths, settings: Set = None, json: Json = False) -> int:
    """Which files the papers' rules keep; of the others the reason, and the number that decided."""
    from midfill.terminal import corpus_stages

    return corpus_stages.filter_files(paths, settings or [], json=json)


@app.command()
def order(
    repository: Annotated[Path, typer.Argument(metavar="REPO", help="A folder, or an archive.")],
    order: Annotated[
        Literal["depth_first", "paper", "random", "path"],
        typer.Option(help="paper: V1's Algorithm 1; random: V2; depth_first: ours."),
    ] = "depth_first",
    seed: Seed = None,
    json: Json = False,
) -> int:
    """The files of a repository in the order in which a model reads them."""
    from midfill.terminal import corpus_stages

    return corpus_stages.order_files(repository, order, seed or 0, json=json)


@app.command()
def dedup(
    folders: Annotated[
        list[Path], typer.Argument(metavar="DIR...", help="Each folder is one repository.")
    ],
    level: Annotated[
        Literal["repo", "file", "both"], typer.Option(help="What is compared.")
    ] = "repo",
    threshold: Annotated[
        float, typer.Option(min=0, max=1, help="Jaccard similarity of word 5-grams.")
    ] = 0.7,
    settings: Set = None,
    json: Json = False,
) -> int:
    """Which repositories or files are near-duplicates, each compared exactly, and which one stays.

    A single DIR that holds folders only is a folder of repositories.
    """
    from midfill.terminal import corpus_stages

    return corpus_stages.dedup(folders, level, threshold, settings or [], json=json)


@app.command()
def decontaminate(
    paths: Paths,
    recipe: Annotated[
        str, typer.Option(help="default, paper, gpt3, datatrove, open_r1, bigcode.")
    ] = "default",
    settings: Set = None,
    json: Json = False,
) -> int:
    """Which files hold text of benchmarks: the set, the task, the words and their line."""
    from midfill.terminal import corpus_stages

    return corpus_stages.decontaminate(paths, recipe, settings or [], json=json)


@app.command()
def recall(
    pages: Annotated[
        list[Path],
        typer.Argument(metavar="PAGES...", help="WARC, WET, JSONL, Parquet, or folders of them."),
    ],
    seed_of: Annotated[
        list[str],
        typer.Option(
            "--seed",
            metavar="FILE|PREFIX",
            help="Known good pages: a file of addresses, one a line, or an address; a host or a "
            "folder stands for all below it. May be repeated.",
        ),
    ],
    out: Annotated[
        Path, typer.Option(metavar="DIR", help="Folder of the result; a run there goes on.")
    ] = Path("recall"),
    rounds: Annotated[int | None, typer.Option(min=1, help="Default: 3; 2 with --github.")] = None,
    keep: Annotated[
        float | None,
        typer.Option(min=0, max=1, help="Share of all pages a round collects. Default: 0.1."),
    ] = None,
    annotations: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Which prefixes you take (+) or leave out (-)."),
    ] = None,
    tokenizer: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Whose tokens are words. Default: trained on the pages."),
    ] = None,
    words: Annotated[
        Literal["tokens", "spaces"], typer.Option(help="spaces: as fastText, for comparison.")
    ] = "tokens",
    github: Annotated[
        bool, typer.Option("--github", help="A domain is an owner; rows are files of GitHub.")
    ] = False,
    json: Json = False,
    quiet: Quiet = False,
) -> int:
    """Find pages like a few known ones among many, round by round (DeepSeek-Coder-V2, 2).

    midfill corpus recall crawl.warc.gz --seed docs.example.org --out recall --rounds 1

    Then decide on the prefixes in recall/proposals.txt (remove the # of each you decide on):

    midfill corpus recall crawl.warc.gz --seed docs.example.org --out recall --rounds 2
    --annotations recall/proposals.txt

    DIR then holds pages.jsonl (for `corpus build --source pages:DIR/pages.jsonl`), rounds.json,
    proposals.txt, and rounds/, with which a killed run goes on.
    """
    from midfill.terminal.corpus_recall import Wanted, recall_pages

    wanted = Wanted(
        pages=pages,
        seed=seed_of,
        out=out,
        rounds=rounds,
        keep=keep,
        annotations=annotations,
        tokenizer=tokenizer,
        words=words,
        is_github=github,
    )
    return recall_pages(wanted, json=json, quiet=quiet)
