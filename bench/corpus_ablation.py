"""What cleaning and ordering a corpus does for a model: one small model on the same packages, raw,
cleaned, and cleaned and ordered. After DeepSeek-Coder-V2, table 1, which compares two corpora so.

    python bench/corpus_ablation.py OUT packages --recipe small --tokens 20000000 --seeds 0 1 2
    python bench/corpus_ablation.py OUT ./archives --recipe tiny --tokens 200000 --held-out 0.2

The corpus is named as for `midfill corpus build`, with its --source and --set. The same command
goes on where it was ended: builds, runs and evaluations that are done stay.

raw      every file of a known language: no rule, licence, copy, parser or quality model drops one;
         the files of a repository at random
cleaned  all of these cuts; files at random
ordered  all of these cuts; documents as the corpus is configured, by default what hangs together
         by imports, in depth-first order

Alike in all: secrets masked, path comments, the longest document, the tokenizer (a sample of raw
text, as much of each language, which favours neither but the raw text's compression), the recipe
with its seed, the number of tokens, and less than one epoch of each. Benchmarks are not looked for:
none is asked. What is asked is held out by the names of repositories, in all alike; and of that, no
file whose bytes stand in a repository that any model was trained on; other versions of such a file
may stay, and help raw most. An order is seen only where a sequence holds several files: it needs
--document-tokens and --train-set data.length beyond the 512 of `small`. Repositories give as many bytes
each, and are what is resampled for the intervals of bits; holes count as independent, in Wilson's
intervals and McNemar's test. What a run of another seed would give is in neither: take several.
A run's own curve, in the report, is of its own corpus: the curves cannot be compared.
"""

import argparse
import itertools
import json
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

import machine
import numpy as np

from midfill.config.corpus.build import CorpusConfig
from midfill.config.corpus.documents import FimConfig, TokenizerConfig
from midfill.config.corpus.rules import FilterConfig, GeneratedConfig, LicenceConfig, RulesConfig
from midfill.config.override import as_data, with_values
from midfill.config.train import SourceConfig, TrainConfig
from midfill.corpus import table
from midfill.corpus.documents import headed
from midfill.corpus.pipeline.build import build
from midfill.corpus.pipeline.judge import STAGE as JUDGED
from midfill.corpus.pipeline.ledger import Ledger
from midfill.corpus.pipeline.local import Local
from midfill.corpus.pipeline.mixture import below, hashes
from midfill.corpus.pipeline.select import Rows, project_of
from midfill.corpus.quality.model import above
from midfill.corpus.record import Document
from midfill.corpus.shards import TokenShards
from midfill.corpus.whole import replacing, write_json
from midfill.evaluate.benchmarks import held_out_lines
from midfill.evaluate.bits import Text, measure, sample
from midfill.evaluate.compare import RuleComparison, compare
from midfill.evaluate.corpus_texts import UNKNOWN, CorpusText, CorpusTexts, SourceFile
from midfill.evaluate.report import aligned, markdown_table
from midfill.evaluate.result import Result, read_result
from midfill.evaluate.statistics import bootstrap, bootstrap_ratio, holm
from midfill.evaluate.task import Benchmark
from midfill.recipes.runs import RUNS
from midfill.terminal.corpus_build import Wanted, config_of
from midfill.tokenizer.tokenizer import Tokenizer

RAW, CLEANED, ORDERED = ARMS = ("raw", "cleaned", "ordered")
UNBOUNDED = sys.maxsize
LONGEST = 1 << 13  # characters of a held-out file that are scored; most files are shorter
FILES_OF_ONE = 25  # in each language, that a repository gives holes for: its files are alike
LEAST_COPY = 64  # bytes: shorter files with equal bytes are no copies, as in the build itself
TOKENS = "tokens-0"  # the stage with the documents of the first epoch

Figures = dict[str, list[float]]  # repository -> bits, bytes
Facts = dict[str, Any]
Table = tuple[list[str], list[list[str]]]

# --------------------------------------------------------------------------------------- corpora


def without_rules(rules: RulesConfig) -> RulesConfig:
    """Rules that drop no file with a character in it; what they mask stays masked."""
    return replace(
        rules,
        filters=FilterConfig(
            mean_line=UNBOUNDED,
            longest_line=UNBOUNDED,
            letters=0,
            xml_within=0,
            html_share=0,
            html_characters=0,
            data_least=0,
            data_most=UNBOUNDED,
        ),
        generated=GeneratedConfig(vendored=False, generated=False, minified=False, encoded_share=1),
        licence=LicenceConfig(allow=None, unknown=True),
    )


def corpora(
    base: CorpusConfig, tokenizer: Path, *, vocabulary: int, document_tokens: int, held_out: float
) -> dict[str, CorpusConfig]:
    """The corpus of each arm; that of raw text trains the tokenizer, which the others find."""
    own = replace(base.shards.tokenizer, vocabulary=vocabulary)
    shards = replace(base.shards, fim=FimConfig(rate=0.0), held_out=held_out, tokenizer=own)
    ordered = replace(
        base,
        decontamination=None,
        documents=replace(base.documents, max_document_tokens=document_tokens),
        shards=replace(shards, tokenizer=TokenizerConfig(path=str(tokenizer))),
    )
    shuffled = replace(ordered.documents, unit="repository", order="random")
    cleaned = replace(ordered, documents=shuffled)
    rules = without_rules(base.rules)
    raw = replace(cleaned, rules=rules, duplicates=None, quality=None, shards=shards)
    return {RAW: raw, CLEANED: cleaned, ORDERED: ordered}


def is_held_out(repositories: Sequence[str], config: CorpusConfig) -> np.ndarray:
    """Which repositories a build holds out: by the hash of their project's name, nothing else."""
    projects = [project_of(name) for name in repositories]
    return below(hashes(projects, "held out", config.seed), config.shards.held_out)


def facts_of(folder: Path, config: CorpusConfig) -> Facts:
    """Sizes of a build; ends the program where its split is not the one by name."""
    index = TokenShards.open(folder).index
    rows = Rows.read(Ledger(folder / "stages").outputs(TOKENS, ".parquet"))
    held_out = is_held_out(rows.repo, config)
    left_out = index["left_out"]["in_train"]["documents"]
    if int(held_out.sum()) != index["documents"]["held_out"] + left_out:
        sys.exit(f"{folder} holds other repositories out than those that their names say")
    return {
        "train_tokens": index["tokens"]["train"],
        "train_documents": index["documents"]["train"],
        "train_files": sum(n["files"] for name, n in index["files"].items() if "train" in name),
        "repositories": len(set(rows.repo)),
        "held_out_repositories": len({rows.repo[i] for i in np.flatnonzero(held_out)}),
        "bytes_per_token": float(rows.bytes[~held_out].sum() / rows.tokens[~held_out].sum()),
        "digest": index["digest"],
    }


# ---------------------------------------------------------------------------------- what is asked


def kept_files(folder: Path, config: CorpusConfig) -> Iterator[Document]:
    """The held-out files that a build keeps."""
    cut = above(TokenShards.open(folder).index["quality_cuts"])
    for part in Ledger(folder / "stages").outputs(JUDGED, ".parquet"):
        names = sorted(set(table.read(part, ["repo"])["repo"].to_pylist()))
        chosen = set(itertools.compress(names, is_held_out(names, config)))
        if chosen:
            for file in table.documents(part):
                if file.repo in chosen and cut(file) is None:
                    yield file


def trained_digests(folder: Path, config: CorpusConfig) -> set[str]:
    """SHA-256 of every file outside the held-out repositories, of the raw build and so of all."""
    digests: set[str] = set()
    for part in Ledger(folder / "stages").outputs(JUDGED, ".parquet"):
        rows = table.read(part, ["repo", "sha256", "size"])
        mine = ~is_held_out(rows["repo"].to_pylist(), config)
        mine &= rows["size"].to_numpy() >= LEAST_COPY
        digests.update(itertools.compress(rows["sha256"].to_pylist(), mine))
    return digests


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """The held-out files of raw and of cleaned text, and holes in the latter."""

    texts: Mapping[str, list[Text]]
    cases: Path
    facts: Facts


def asked(folder: Path, configs: Mapping[str, CorpusConfig], args: argparse.Namespace) -> Asked:
    """What all models are asked; the holes are drawn once, and kept."""
    other = next(arm for arm in configs if arm != RAW)
    read = trained_digests(folder / RAW, configs[RAW])
    cases = folder.parent / "cases.jsonl"
    texts: dict[str, list[Text]] = {}
    facts: Facts = {}
    for name, arm in ((CLEANED, other), (RAW, RAW)):
        whole = list(kept_files(folder / arm, configs[arm]))
        files = [file for file in whole if file.sha256 not in read]
        texts[name] = shared_out(map(_text, files), args.bits_bytes)
        facts[name] = {
            "repositories": len({one.name for one in texts[name]}),
            "files": len(files),
            "copies_left_out": len(whole) - len(files),
            "scored_files": len(texts[name]),
            "scored_bytes": sum(len(one.text.encode()) for one in texts[name]),
        }
        if facts[name]["repositories"] < 2:
            sys.exit("fewer than two repositories are held out: give a larger --held-out, or more")
        if arm == other and not cases.is_file():
            drawing = held_out_lines.Drawing(cases=args.cases)
            source = HeldOutFiles(folder / arm, few_of_each(files), args.tokens)
            held_out_lines.write_cases(cases, source, drawing)
    return Asked(texts=texts, cases=cases, facts=facts)


def shared_out(texts: Iterable[Text], most_bytes: int) -> list[Text]:
    """Files by the hash of their text, as many bytes of each repository, and one file at least."""
    by_name: dict[str, list[Text]] = {}
    for one in texts:
        by_name.setdefault(one.name, []).append(one)
    share = most_bytes // max(len(by_name), 1)
    sampled = (sample(by_name[name], documents=None, most_bytes=share) for name in sorted(by_name))
    return list(itertools.chain.from_iterable(sampled))


def few_of_each(files: Iterable[Document]) -> list[Document]:
    """At most FILES_OF_ONE files of each repository in each language, by their hashes."""
    taken: Counter[tuple[str, str | None]] = Counter()
    chosen = []
    for file in sorted(files, key=lambda one: one.sha256):
        taken[file.repo, file.language] += 1
        if taken[file.repo, file.language] <= FILES_OF_ONE:
            chosen.append(file)
    return chosen


def _text(file: Document) -> Text:
    whole = headed(file)[:LONGEST].encode("utf-8", "replace").decode()
    return Text(text=whole, language=file.language or UNKNOWN, name=file.repo)


class HeldOutFiles(CorpusTexts):
    """A build whose held-out split is the given files, and whose training split is its beginning.

    The line tables then read as many tokens as the models, a sample: documents lie in the order of
    hashes.
    """

    def __init__(self, path: Path, files: Iterable[Document], most_tokens: int) -> None:
        super().__init__(path)
        self._files, self._most = files, most_tokens

    def documents(self, split: str, *, with_holes: bool = True) -> Iterator[CorpusText]:
        """The documents of a split, one at a time."""
        if split == "held_out":
            for file in self._files:
                language = file.language or UNKNOWN
                one = SourceFile(path=file.path, language=language, text=headed(file))
                yield CorpusText(files=(one,), tokens=0)
            return
        read = 0
        for document in super().documents(split, with_holes=with_holes):
            yield document
            read += document.tokens
            if read >= self._most:
                return


# -------------------------------------------------------------------------------------- one model


def run_config(args: argparse.Namespace, corpus: Path, seed: int) -> TrainConfig:
    """The recipe on one corpus."""
    config = with_values(RUNS[args.recipe](), args.train_set)
    data = replace(config.data, sources=(SourceConfig(path=str(corpus)),))
    return replace(config, data=data, tokens=args.tokens or config.tokens, seed=seed)


def epoch_tokens(config: TrainConfig, tokenizer: Path) -> int:
    """What one epoch of a run's data has."""
    from midfill.train.data import Data

    data = Data.open(config.data, config.batch, config.seed, Tokenizer.from_folder(tokenizer))
    return config.data.length * data.epoch_sequences[0]


def trained(config: TrainConfig, folder: Path, tokenizer: Path) -> Facts:
    """A run to its end, or as it ended before."""
    from midfill.lifecycle.stages import train
    from midfill.terminal.train_run import Line
    from midfill.train.build import fitted
    from midfill.train.report import write_report

    if not (folder / "final").is_dir():
        whole = fitted(config, Tokenizer.from_folder(tokenizer))
        train(whole, folder, tokenizer, Line(quiet=False))
    numbers = write_report(folder)
    return {
        "tokens": numbers["last"]["tokens"],
        "training_loss": numbers["mean_of_last"]["loss"],
        "own_held_out": numbers["held_out"][-1],
        "seconds": numbers["last"]["seconds"],
        "tokens_per_second": numbers["median_tokens_per_second"],
        "load": numbers["load"] and numbers["load"]["largest"],
    }


def evaluated(model: Path, what: Asked, folder: Path, limit: int | None) -> dict[str, Figures]:
    """Bits of both sets of texts by repository; holes filled, in a folder of its own."""
    from midfill.engine.load import load
    from midfill.evaluate.bits_scorer import CoderScorer
    from midfill.evaluate.harness import Judging, evaluate
    from midfill.evaluate.report_files import write_report
    from midfill.evaluate.source import LocalSource

    folder.mkdir(parents=True, exist_ok=True)
    coder = load(model, dtype="float32")
    bits = {
        name: _once(folder / f"bits-{name}.json", lambda t=texts: _bits(CoderScorer(coder), t))
        for name, texts in what.texts.items()
    }
    holes = folder / "infilling"
    if not (holes / "result.json").is_file():
        source = LocalSource(coder, path=model, name=folder.name)
        chosen = held_out_lines.load(what.cases).for_model(source.count_tokens, source.context)
        judging = Judging(workers=1, verdicts=None)
        lines = cast(Benchmark, chosen)
        result = evaluate(lines, source, style="base", limit=limit, folder=holes, judging=judging)
        write_report(result, holes)
    return bits


def _bits(scorer: Any, texts: Sequence[Text]) -> Figures:
    found: Figures = {}
    for name, those in itertools.groupby(sorted(texts, key=_name), key=_name):
        share = measure(scorer, list(those)).all
        found[name] = [share.bits, share.bytes]
    return found


def _name(one: Text) -> str:
    return one.name


def _once(path: Path, make: Callable[[], Any]) -> Any:
    """What a file holds; made and written where it is not there."""
    if not path.is_file():
        write_json(path, make())
    return json.loads(path.read_text("utf-8"))


# ----------------------------------------------------------------------------------- what came out


def bits_per_byte(figures: Figures, other: Figures | None = None) -> Facts:
    """The figure with its 95 % interval over repositories; of two models `figures` minus `other`."""
    names = sorted(figures)
    both = np.array([figures[name] for name in names])
    bits, size = both.T
    if other is not None:
        bits = bits - np.array([other[name][0] for name in names])
    span = bootstrap_ratio(bits, size)
    return {"value": float(bits.sum() / size.sum()), "low": span.low, "high": span.high}


def exact_match(result: Result) -> Facts:
    """The share of holes filled exactly, with Wilson's interval, beside the line tables."""
    score = result.rules[next(iter(result.rules))]
    return {
        "value": score.value,
        "low": score.low,
        "high": score.high,
        "cases": score.n,
        "languages": {name: list(one) for name, one in score.groups.items()},
        "tables": {one.name: one.value for one in result.baselines if not one.own},
        "own": {one.name: one.value for one in result.baselines if one.own},
    }


def comparisons(
    arms: Sequence[str],
    seeds: Sequence[int],
    bits: Mapping[str, Any],
    results: Mapping[str, Result],
) -> list[Facts]:
    """Every pair of arms, the later minus the earlier, at every seed and in the mean of several.

    p is corrected for the number of tests.
    """
    found: list[Facts] = []
    for (first, second), seed in itertools.product(itertools.combinations(arms, 2), seeds):
        a, b = f"{first}-{seed}", f"{second}-{seed}"
        holes: RuleComparison = compare(results[a], results[b]).rules[0]
        row: Facts = {"first": first, "second": second, "seed": seed}
        row |= {f"bits_{name}": bits_per_byte(bits[b][name], bits[a][name]) for name in bits[a]}
        row["exact_match"] = {"value": holes.difference, "low": holes.low, "high": holes.high}
        row |= {"only_first": len(holes.only_first), "only_second": len(holes.only_second)}
        found.append(row | {"p": holes.p})
    corrected = holm({str(i): row["p"] for i, row in enumerate(found)})
    found = [row | {"p_corrected": corrected[str(i)]} for i, row in enumerate(found)]
    if len(seeds) > 1:
        for first, second in itertools.combinations(arms, 2):
            sides = [[f"{arm}-{seed}" for seed in seeds] for arm in (first, second)]
            found.append(
                {"first": first, "second": second, "seed": "mean"} | _mean(sides, bits, results)
            )
    return found


def _mean(
    sides: Sequence[Sequence[str]], bits: Mapping[str, Any], results: Mapping[str, Result]
) -> Facts:
    """The second side minus the first, each the mean of its models for every repository and hole."""
    row: Facts = {}
    for name in bits[sides[0][0]]:
        one, other = (_mean_figures([bits[model][name] for model in side]) for side in sides)
        row[f"bits_{name}"] = bits_per_byte(other, one)
    one, other = (np.mean([_filled(results[model]) for model in side], axis=0) for side in sides)
    span = bootstrap((other - one).tolist())
    row["exact_match"] = {"value": float((other - one).mean()), "low": span.low, "high": span.high}
    return row


def _mean_figures(those: Sequence[Figures]) -> Figures:
    """Of several models on the same texts."""
    return {name: np.mean([one[name] for one in those], axis=0).tolist() for name in those[0]}


def _filled(result: Result) -> list[float]:
    """Whether each hole was filled exactly, in the order of their names."""
    tasks = sorted(result.tasks, key=lambda task: task.task_id)
    rule = next(iter(result.rules))
    return [task.samples[0].rules[rule].value or 0.0 for task in tasks]


def tables(made: Facts) -> list[Table]:
    """Corpora, models, and models beside each other."""
    corpora_head = ["corpus", "documents", "tokens", "bytes a token", "epochs trained"]
    corpora_rows = [
        [
            arm,
            f"{one['train_documents']:,}",
            f"{one['train_tokens']:,}",
            f"{one['bytes_per_token']:.3f}",
            f"{made['tokens'] / one['epoch_tokens']:.3f}",
        ]
        for arm, one in made["corpora"].items()
    ]
    asked_head = ["what is asked", "repositories", "files", "scored", "bytes", "copies left out"]
    columns = ("repositories", "files", "scored_files", "scored_bytes", "copies_left_out")
    asked_rows = [
        [f"{name} text", *(f"{one[column]:,}" for column in columns)]
        for name, one in made["asked"].items()
    ]
    model_head = ["model", "bits a byte, cleaned text", "raw text", "holes filled, %", "tokens/s"]
    model_rows = [
        [
            name,
            _spanned(one["bits"][CLEANED], 1, 4),
            _spanned(one["bits"][RAW], 1, 4),
            _spanned(one["exact_match"], 100, 1),
            f"{one['training']['tokens_per_second']:,.0f}",
        ]
        for name, one in made["models"].items()
    ]
    lines = next(iter(made["models"].values()))["exact_match"]["tables"]
    model_rows += [[name, "", "", f"{100 * value:.1f}", ""] for name, value in lines.items()]
    pair_head = ["difference", "seed", "bits a byte, cleaned text", "raw text"]
    pair_head += ["holes, points", "p", "p (Holm)"]
    pair_rows = [
        [
            f"{row['second']} - {row['first']}",
            str(row["seed"]),
            _spanned(row[f"bits_{CLEANED}"], 1, 4, sign="+"),
            _spanned(row[f"bits_{RAW}"], 1, 4, sign="+"),
            _spanned(row["exact_match"], 100, 1, sign="+"),
            *(f"{row[name]:.3g}" if name in row else "-" for name in ("p", "p_corrected")),
        ]
        for row in made["pairs"]
    ]
    return [
        (corpora_head, corpora_rows),
        (asked_head, asked_rows),
        (model_head, model_rows),
        (pair_head, pair_rows),
    ]


def _spanned(one: Facts, scale: float, digits: int, *, sign: str = "") -> str:
    value, low, high = (f"{scale * one[x]:{sign}.{digits}f}" for x in ("value", "low", "high"))
    return f"{value} ({low} to {high})"


# ------------------------------------------------------------------------------------------ stages


@contextmanager
def told(what: str) -> Iterator[None]:
    """Tells how long a stage took."""
    begun = time.perf_counter()
    print(f"{what} ...", file=sys.stderr, flush=True)
    yield
    print(f"{what}: {time.perf_counter() - begun:.0f} s", file=sys.stderr, flush=True)


def same_settings(args: argparse.Namespace, configs: Mapping[str, CorpusConfig]) -> Facts:
    """What decides the result; ends the program where OUT was begun with something else."""
    names = ("recipe", "train_set", "tokens", "bits_bytes", "cases", "limit")
    settings = {name: getattr(args, name) for name in names}
    settings["corpora"] = {arm: as_data(config) for arm, config in configs.items()}
    settings = json.loads(json.dumps(settings, default=sorted))
    kept = _once(args.out / "settings.json", lambda: settings)
    if kept != settings:
        sys.exit(f"{args.out} was begun with other settings ({args.out / 'settings.json'})")
    return settings


def ablation(args: argparse.Namespace) -> Facts:
    """All stages; what is done is skipped."""
    from midfill.train.report import write_report

    args.out.mkdir(parents=True, exist_ok=True)
    folder = args.out / "corpora"
    recipe = run_config(args, folder, 0)
    args.tokens = recipe.tokens
    tokenizer = folder / RAW / "tokenizer"
    base = config_of(Wanted(config=args.corpus, out=folder, sources=args.source, settings=args.set))
    configs = corpora(
        base,
        tokenizer,
        vocabulary=recipe.model.vocab,
        document_tokens=args.document_tokens or recipe.data.length,
        held_out=args.held_out,
    )
    settings = same_settings(args, configs)
    configs = {arm: config for arm, config in configs.items() if arm in (RAW, *args.arms)}
    facts: dict[str, Facts] = {}
    for arm, config in configs.items():
        with told(f"corpus {arm}"):
            build(config, folder / arm, Local(args.workers), tell=print)
        facts[arm] = facts_of(folder / arm, config)
        epoch = epoch_tokens(run_config(args, folder / arm, 0), tokenizer)
        facts[arm]["epoch_tokens"] = epoch
        if args.tokens > epoch:
            sys.exit(f"{arm} has {epoch:,} tokens, and --tokens is {args.tokens:,}: give fewer")
    with told("what is asked"):
        what = asked(folder, configs, args)
    models: dict[str, Facts] = {}
    bits: dict[str, dict[str, Figures]] = {}
    results: dict[str, Result] = {}
    for seed, arm in itertools.product(args.seeds, configs):
        name = f"{arm}-{seed}"
        run, scores = args.out / "runs" / name, args.out / "scores" / name
        with told(f"training {name}"):
            training = trained(run_config(args, folder / arm, seed), run, tokenizer)
        with told(f"evaluating {name}"):
            bits[name] = evaluated(run / "final", what, scores, args.limit)
        results[name] = read_result(scores / "infilling")
        models[name] = {
            "training": training,
            "bits": {which: bits_per_byte(one) for which, one in bits[name].items()},
            "exact_match": exact_match(results[name]),
        }
    runs = [args.out / "runs" / name for name in models]
    write_report(runs[0], beside=runs[1:])
    return {
        "settings": settings,
        "machine": machine.describe(),
        "tokens": args.tokens,
        "corpora": facts,
        "asked": what.facts,
        "models": models,
        "pairs": comparisons(list(configs), args.seeds, bits, results),
    }


def main() -> None:
    """Run what is not done yet, print the tables, write ablation.json and ablation.md."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("out", type=Path, help="everything is kept here")
    parser.add_argument("corpus", help="as for midfill corpus build: a recipe, JSON, a folder")
    parser.add_argument("--source", action="append", default=[], help="as for corpus build")
    parser.add_argument("--set", action="append", default=[], help="as for corpus build")
    parser.add_argument("--held-out", type=float, default=0.05, help="share of repositories")
    parser.add_argument("--document-tokens", type=int, help="longest document; default: a sequence")
    parser.add_argument("--recipe", choices=RUNS, default="small")
    parser.add_argument("--train-set", action="append", default=[], help="a.b=value of the recipe")
    parser.add_argument("--tokens", type=int, help="of each run; default: the recipe's")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--arms", nargs="+", choices=ARMS, default=list(ARMS))
    parser.add_argument("--bits-bytes", type=int, default=2 << 20, help="scored, of each text")
    parser.add_argument("--cases", type=int, default=500, help="holes of each language")
    parser.add_argument("--limit", type=int, help="only the first so many holes")
    parser.add_argument("--workers", type=int, help="processes of a build; default: one a core")
    args = parser.parse_args()
    if set(args.arms) <= {RAW}:
        parser.error("--arms needs cleaned or ordered, to be compared with raw")
    made = ablation(args)
    write_json(args.out / "ablation.json", made)
    found = tables(made)
    with replacing(args.out / "ablation.md") as file:
        file.write("\n\n".join(markdown_table(*one) for one in found).encode() + b"\n")
    for head, rows in found:
        print("\n".join(aligned(head, rows)) + "\n")
    first = next(iter(made["models"]))
    print(f"curves: {args.out / 'runs' / first / 'report.html'}")


if __name__ == "__main__":
    main()
