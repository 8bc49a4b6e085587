"""`midfill evaluate`: from options to a run, and from a run to what is printed and kept."""

import hashlib
import json as jsons
import re
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer

from midfill.errors import ConfigError, UserError
from midfill.terminal import show
from midfill.terminal.options import Loading

if TYPE_CHECKING:
    from midfill.evaluate.harness import Stage
    from midfill.evaluate.result import Result
    from midfill.evaluate.source import AnswerSource, LocalSource
    from midfill.evaluate.task import Benchmark, Style

STYLES = ("auto", "base", "instruct", "instruct-v1")
LEVELS = ("A", "B", "C-strict", "C")
PAPER = "paper"  # in place of a benchmark: the papers' tables


@dataclass(frozen=True, slots=True, kw_only=True)
class Asking:
    """Who is asked, and how."""

    url: Annotated[
        str | None,
        typer.Option(help="Ask an OpenAI-compatible server; MODEL is then its name there."),
    ] = None
    api_key: Annotated[
        str | None,
        typer.Option(
            envvar="OPENAI_API_KEY",
            help="Of that server; safer in the environment, where no process list shows it.",
        ),
    ] = None
    prefill: Annotated[
        str | None,
        typer.Option(
            metavar="prefix|continue",
            help="How that server goes on with a begun answer: `prefix: true` as DeepSeek's and "
            "midfill's, `continue_final_message` as vLLM's. Default: it does not.",
        ),
    ] = None
    requests: Annotated[int, typer.Option(help="Sent to that server at the same time.")] = 8
    samples: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE.jsonl",
            help="Score answers made elsewhere: lines of task_id and completion, or solution.",
        ),
    ] = None
    style: Annotated[
        str,
        typer.Option(
            metavar="|".join(STYLES),
            help="How tasks are put. auto: as chat where the model has a chat template.",
        ),
    ] = "auto"
    temperature: Annotated[float, typer.Option(help="0 always takes the likeliest token.")] = 0.0
    top_p: Annotated[float, typer.Option(help="Sample from the likeliest tokens of this mass.")] = (
        1.0
    )
    max_tokens: Annotated[
        int | None, typer.Option(help="Longest answer. Default: what each task allows.")
    ] = None
    batch: Annotated[
        int | None, typer.Option(help="Answers written at the same time by a local model.")
    ] = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Scoring:
    """What is run of a benchmark, how answers are judged, and where all of it is kept."""

    limit: Annotated[int | None, typer.Option(help="Only the first so many tasks.")] = None
    data: Annotated[
        Path | None, typer.Option(metavar="FILE", help="The benchmark's data, if it is yours.")
    ] = None
    rule: Annotated[
        str | None,
        typer.Option(help="The extraction rule of the headline; all of them are printed."),
    ] = None
    k: Annotated[list[int] | None, typer.Option("--k", help="For pass@k; may be repeated.")] = None
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR", help="Keep answers and reports here. Default: in the cache folder."
        ),
    ] = None
    fresh: Annotated[
        bool, typer.Option("--fresh", help="Ask again, even where answers are kept.")
    ] = False
    workers: Annotated[
        int | None, typer.Option(help="Programs judged at the same time. Default: one a core.")
    ] = None
    level: Annotated[
        str | None,
        typer.Option(metavar="|".join(LEVELS), help="Of isolation. Default: the best there is."),
    ] = None
    minimum: Annotated[
        str, typer.Option(metavar="|".join(LEVELS), help="Refuse to judge below this level.")
    ] = "C"


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """All options of one run."""

    asking: Asking
    scoring: Scoring
    loading: Loading
    n: int
    seed: int | None
    json: bool
    quiet: bool
    paper: bool = False  # one of several runs: each has a folder of its own in --out


def evaluate(name: str, model: str | None, wanted: Wanted) -> int:
    """Run one benchmark and print its report; 1 where nothing is known about some answer."""
    from midfill.evaluate.benchmarks import benchmark
    from midfill.evaluate.harness import check_choice

    _check(model, wanted)
    chosen = benchmark(name, wanted.scoring.data)
    check_choice(chosen, wanted.scoring.limit, wanted.scoring.rule)
    source = _source(model, wanted)
    result = _run(chosen, source, wanted, _style(wanted.asking.style, source))
    return _print(result, wanted)


def no_benchmark() -> ConfigError:
    """The error for a run of nothing, with what there is to run."""
    from midfill.evaluate.benchmarks import names

    return ConfigError(
        "no benchmark was named",
        why=f"there are {', '.join(names())}",
        fix="midfill evaluate humaneval MODEL",
    )


def compare(first: Path, second: Path, *, json: bool, out: Path | None = None) -> int:
    """Print two results beside each other, and keep that in the folder `out`."""
    from midfill.terminal import evaluate_bits

    done = evaluate_bits.compare(first, second, json=json, out=out)
    if done is not None:
        return done
    from midfill.evaluate.compare import compare as compare_results
    from midfill.evaluate.compare import comparison_text, write_comparison
    from midfill.evaluate.result import read_result

    found = compare_results(read_result(first), read_result(second))
    if out is not None:
        write_comparison(found, out)
    if json:
        show.as_json(found.to_json())
    else:
        print(comparison_text(found), end="")
    return 0


def paper(model: str | None, wanted: Wanted) -> int:
    """Run what the papers' tables hold and can be run here, and print them."""
    from midfill.evaluate import paper as tables
    from midfill.evaluate.benchmarks import benchmark

    wanted = replace(wanted, paper=True)
    _check(model, wanted)
    if wanted.asking.samples is not None:
        raise ConfigError(
            "the papers' tables need a model",
            why="a file of samples holds one benchmark",
            fix="midfill evaluate paper MODEL",
        )
    source = cast("AnswerSource", _source(model, wanted))
    kind = _style(wanted.asking.style, source)
    results: dict[str, Result] = {}
    for name, style in tables.benchmarks():
        if (style == "base") != (kind == "base"):
            continue
        show.note(f"{name}, {style}:", quiet=wanted.quiet)
        try:
            chosen = benchmark(name)
            results[f"{name} {style}"] = _run(chosen, source, wanted, cast("Style", style))
        except UserError as problem:
            show.note(f"not run: {problem.what}: {problem.why}", quiet=wanted.quiet)
    report = tables.paper_report(results)
    if wanted.scoring.out is not None:
        tables.write_paper(report, wanted.scoring.out)
    if wanted.json:
        show.as_json(report.to_json())
    else:
        print(tables.paper_text(report), end="")
    return int(any(result.incomplete for result in results.values()))


# ------------------------------------------------------------------------------------ who answers


def _check(model: str | None, wanted: Wanted) -> None:
    """Raise ConfigError for options that do not go together, before anything is loaded."""
    asking, scoring = wanted.asking, wanted.scoring
    _choice("--style", asking.style, STYLES)
    _choice("--minimum", scoring.minimum, LEVELS)
    if scoring.level is not None:
        _choice("--level", scoring.level, LEVELS)
    if asking.samples is not None and (model or asking.url):
        raise ConfigError(
            f"--samples and {'--url' if asking.url else 'a model'} were given",
            why="answers come from one place",
            fix="leave one of them out",
        )
    for name, value in (("--workers", scoring.workers), ("--requests", asking.requests)):
        if value is not None and value < 1:
            raise ConfigError(f"{name} is {value}", why="it must be at least 1", fix=f"{name} 2")
    from midfill.config.engine import Sampling

    Sampling(temperature=asking.temperature, top_p=asking.top_p, max_tokens=asking.max_tokens)


def _choice(option: str, value: str, allowed: tuple[str, ...]) -> None:
    if value not in allowed:
        raise ConfigError(
            f"{option} is {value!r}",
            why=f"it can be {', '.join(allowed)}",
            fix=f"{option} {allowed[0]}",
        )


def _source(model: str | None, wanted: Wanted) -> "AnswerSource | Path":
    asking = wanted.asking
    if asking.samples is not None:
        return asking.samples
    if asking.url is not None:
        from midfill.evaluate.source_url import UrlSource

        return UrlSource(
            asking.url,
            model,
            api_key=asking.api_key,
            prefill=asking.prefill,
            requests=asking.requests,
        )
    return _local(model, wanted)


def _local(model: str | None, wanted: Wanted) -> "LocalSource":
    from midfill.evaluate.source import LocalSource
    from midfill.hub import default_model, resolve
    from midfill.terminal.load import load_model

    name = default_model() if model is None else model
    loading = wanted.loading
    if loading.strict is None:
        try:  # the same answers in every batch, so that a resumed run gives those of a whole one
            coder = load_model(name, replace(loading, strict=True), quiet=wanted.quiet)
            return LocalSource(coder, path=resolve(name), batch=wanted.asking.batch)
        except ConfigError:  # only the compiled kernels can; what else is wrong is told below
            pass
    coder = load_model(name, loading, quiet=wanted.quiet)
    return LocalSource(coder, path=resolve(name), batch=wanted.asking.batch)


def _style(asked: str, source: "AnswerSource | Path") -> "Style":
    if asked == "auto":
        return "instruct" if getattr(source, "takes_chats", True) else "base"
    return cast("Style", asked)


# ---------------------------------------------------------------------------------------- one run


def _run(
    chosen: "Benchmark", source: "AnswerSource | Path", wanted: Wanted, style: "Style"
) -> "Result":
    """One run, its reports written; an interrupted one tells how to go on."""
    from midfill.evaluate.arms import KEPT
    from midfill.evaluate.harness import JUDGED, SAMPLES, Judging, evaluate, write_judged
    from midfill.evaluate.report_files import write_report
    from midfill.evaluate.result import Decoding

    asking, scoring = wanted.asking, wanted.scoring
    chosen = _for_model(chosen, source)
    decoding = Decoding(
        temperature=asking.temperature,
        top_p=asking.top_p,
        samples=wanted.n,
        max_tokens=asking.max_tokens,
        seed=wanted.seed,
    )
    folder = _folder(chosen, source, wanted, style, decoding)
    if folder is not None and scoring.fresh:
        for kept in (folder / SAMPLES, *folder.glob(KEPT.format(name="*"))):
            kept.unlink(missing_ok=True)
    try:
        with progress(chosen.name, quiet=wanted.quiet) as told:
            result = evaluate(
                chosen,
                source,
                style=style,
                decoding=decoding,
                limit=scoring.limit,
                rule=scoring.rule,
                ks=tuple(scoring.k or (1,)),
                folder=folder,
                judging=Judging(
                    workers=scoring.workers,
                    level=cast(Any, scoring.level),
                    minimum=cast(Any, scoring.minimum),
                ),
                told=told,
            )
    except KeyboardInterrupt:
        show.note(f"interrupted{_kept(folder, fresh=scoring.fresh)}")
        raise
    if folder is not None:
        write_report(result, folder)
        write_judged(result, folder / JUDGED)
        show.note(f"report: {folder / 'report.html'}", quiet=wanted.quiet)
    return result


def _kept(folder: Path | None, *, fresh: bool) -> str:
    """What is told of answers that are there, and how to go on from them."""
    from midfill.evaluate.harness import SAMPLES

    if folder is None or not (folder / SAMPLES).exists():
        return ""
    how = "the same command without --fresh" if fresh else "the same command"
    return f"; answers are kept in {folder / SAMPLES}: {how} goes on from there"


def _for_model(chosen: "Benchmark", source: "AnswerSource | Path") -> "Benchmark":
    """The benchmark as this model can be asked: lengths in its own tokens, no holes it cannot fill."""
    from midfill.evaluate.source import LocalSource

    if not isinstance(source, LocalSource):
        return chosen
    if not source.can_fill and hasattr(chosen, "without_suffix"):
        chosen = cast(Any, chosen).without_suffix()
    fit = getattr(chosen, "for_model", None)
    return chosen if fit is None else fit(source.count_tokens, source.context)


def _folder(
    chosen: "Benchmark",
    source: "AnswerSource | Path",
    wanted: Wanted,
    style: "Style",
    decoding: Any,
) -> Path | None:
    """Where the run is kept: --out, or a folder of its own in the cache."""
    from midfill.evaluate.harness import run_of
    from midfill.hub.store import cache_folder

    out = wanted.scoring.out
    if isinstance(source, Path):
        return out
    if out is not None:
        return out / f"{chosen.name}-{style}" if wanted.paper else out
    run = jsons.dumps(run_of(chosen, source, style, decoding), sort_keys=True)
    name = re.sub(r"[^A-Za-z0-9.+-]+", "-", f"{chosen.name}-{Path(source.name).name}")[:80]
    return cache_folder() / "evaluate" / f"{name}-{hashlib.sha256(run.encode()).hexdigest()[:8]}"


def _print(result: "Result", wanted: Wanted) -> int:
    from midfill.evaluate.report import as_text

    if wanted.json:
        plain = result.to_json()
        del plain["tasks"]  # they hold every program; result.json has them
        show.as_json(plain)
    else:
        print(as_text(result), end="")
    return int(result.incomplete)


# --------------------------------------------------------------------------------------- progress


@contextmanager
def progress(name: str, *, quiet: bool) -> Iterator[Callable[["Stage"], None]]:
    """A bar on stderr with the score so far; a line now and then where there is no terminal."""
    if quiet:
        yield lambda stage: None
        return
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
    )

    console = Console(stderr=True)
    if not console.is_terminal:
        yield _Lines(name)
        return
    columns = (
        TextColumn("{task.description}"),
        BarColumn(bar_width=20),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[score]}"),
    )
    with Progress(*columns, console=console, transient=True) as bars:
        bar = bars.add_task(name, total=None, score="")
        doing = ""

        def told(stage: "Stage") -> None:
            nonlocal doing
            if stage.doing != doing:
                doing = stage.doing
                bars.reset(bar, description=f"{name}: {doing}", total=stage.of)
            done = stage.judged if doing == "judging" else stage.done
            bars.update(bar, completed=done, total=stage.of, score=_status(stage))

        yield told


def _status(stage: "Stage") -> str:
    parts = [f"{stage.judged} judged: {stage.running}"] * bool(stage.running)
    if stage.tokens and stage.seconds:
        parts.append(f"{stage.tokens / stage.seconds:.0f} tokens/s")
    return ", ".join(parts)


class _Lines:
    """Progress where there is no terminal: a line at each change of work, each tenth, each minute."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.shown: tuple[str, int] = ("", -1)
        self.at = time.monotonic()

    def __call__(self, stage: "Stage") -> None:
        tenth = (stage.doing, 10 * stage.done // max(stage.of, 1))
        now = time.monotonic()
        if tenth == self.shown and now - self.at < 60:
            return
        self.shown, self.at = tenth, now
        line = f"{self.name}: {stage.doing} {stage.done} of {stage.of}"
        status = _status(stage)
        print(line + f"; {status}" * bool(status), file=sys.stderr, flush=True)
