"""midfill against llama.cpp on the same files: decode, prefill, batches, memory, first token.

    export MIDFILL_LLAMA_CPP=/some/where/lib/python3.11/site-packages     # see bench/peer.py
    python bench/engine_speed.py [--only lite,smollm2,qwen,transformers,ttft,memory] [--write FILE]

Both engines are processes of their own that are asked in turn, A B A B: one works while the other
waits with its model loaded. A figure is the best of at least `--rounds` rounds after one that warms
up; rounds are added until the three best of each lie within 5 %, and a figure that never gets there
is marked `~`. One during which another process took a core is marked `!`. `share` is bytes read per
token times tokens per second over the memory bandwidth measured in the same run; above 1 something
is wrong. Everything is greedy, with the logits of the last position only, both times by wall clock.

llama.cpp gets the better of flash attention on and off in every case, and in batches the better of
one cache for all sequences and one for each; which it was is in the JSON. For Lite its settings are
found on the one-layer file. At 16,384 tokens and more, where filling its cache would take longer
than anybody waits, its time per token is computed: depth 0 of the whole file, plus 27 times what
the depth adds in the one-layer file (measured here; checked at 4,096, where both are known).

Lite has random weights (bench/make_lite_gguf.py): its routing is uniform, real routing is skewed.
It is made when it is missing, 8.98 GB; SmolLM2 comes as Q4_1 and is requantised to Q4_0, in which
llama.cpp is at its fastest, once; both lie in the cache folder then.
"""

import argparse
import contextlib
import json
import os
import random
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import machine
from first_token import LINE, PROMPT, SUFFIXES, edited
from lines import Child, EngineError
from peer import packages_folder

from midfill.errors import ResourceError, UserError
from midfill.hub import cache_folder, resolve
from midfill.model.gguf import GGUFFile

HERE = Path(__file__).parent
OURS, PEER = "midfill", "llama.cpp"
NEAR = 0.05  # the three best of an engine should lie as close as this
OTHERS = 0.2  # cores that other processes may use while a figure is taken
SETTLE_S = 0.1  # pause between two engines, in which waiting threads stop spinning
DEPTHS = (0, 4096, 16384, 32768)
WHOLE_PEER_DEPTH = 4096  # deeper, llama.cpp is measured on one layer
CHUNK = 512  # prompt tokens of the prefill cases

Settings = dict[str, Any]


@dataclass(slots=True)
class Figure:
    """What one engine reached in one case."""

    best: float
    spread: float  # of the three best, relative
    others: float  # cores other processes used in the rounds of the three best, at most
    samples: list[float]
    settings: Settings = field(default_factory=dict)
    share: float | None = None  # of the memory bandwidth
    computed: str = ""  # how, where it was not measured

    @property
    def marks(self) -> str:
        """`~` for a spread that is too large, `!` for company, `*` for a computed figure."""
        marks = "~" if self.spread > NEAR else ""
        marks += "!" if self.others > OTHERS else ""
        return marks + ("*" if self.computed else "")


@dataclass(slots=True)
class Row:
    """One case of the table."""

    group: str
    case: str
    unit: str
    figures: dict[str, Figure]
    bytes_read: float | None = None  # per token and sequence
    note: str = ""

    @property
    def ratio(self) -> float | None:
        """How many times better midfill is than the first peer."""
        peers = [figure for name, figure in self.figures.items() if name != OURS]
        if OURS not in self.figures or not peers:
            return None
        ratio = self.figures[OURS].best / peers[0].best
        return ratio if self.unit == "tokens/s" else 1 / ratio


@dataclass(slots=True)
class Sample:
    """One answer of an engine."""

    value: float
    others: float


@dataclass(slots=True)
class Bench:
    """The options, the rows so far, and what all cases need."""

    threads: int
    rounds: int
    quick: bool
    peer: bool
    report: Callable[[Row], None]
    verbose: bool = False
    rows: list[Row] = field(default_factory=list)
    bandwidths: list[float] = field(default_factory=list)
    versions: dict[str, Any] = field(default_factory=dict)
    files: dict[str, dict[str, Any]] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)

    # ---------------------------------------------------------------------------------- engines

    @contextlib.contextmanager
    def engine(self, name: str) -> Iterator[Child]:
        """A fresh process of an engine."""
        scripts = {OURS: "ours.py", PEER: "peer.py", "transformers": "peer_hf.py"}
        packages = packages_folder() if name == PEER else None
        with Child(HERE / scripts[name], packages, quiet=not self.verbose) as child:
            yield child

    @contextlib.contextmanager
    def both(self, model: Path) -> Iterator[dict[str, Child]]:
        """The engines to compare on `model`: midfill, and llama.cpp unless it was left out."""
        self.know(model)
        with contextlib.ExitStack() as stack:
            names = (OURS, PEER) if self.peer else (OURS,)
            yield {name: stack.enter_context(self.engine(name)) for name in names}

    def open(self, children: dict[str, Child], model: Path, peer: Settings, **room: int) -> None:
        """Load `model` in all; `peer` are llama.cpp's settings."""
        for name, child in children.items():
            # Not mapped: llama.cpp repacks into memory, and the mapped file would stay beside it.
            extra = {"load": "none", **peer} if name == PEER else {}
            told = child.ask("open", model=str(model), threads=self.threads, **room, **extra)
            about = {key: told[key] for key in ("version", "system", "repacked") if key in told}
            about |= {key: v for key, v in told["settings"].items() if key not in peer}
            self.versions.setdefault(name, {}).setdefault(model.name, about)

    def know(self, model: Path) -> None:
        """Note size and hash of a file."""
        if model.name not in self.files and model.is_file():
            size, start = model.stat().st_size, machine.sha256_start(model)
            self.files[model.name] = {"bytes": size, "sha256_start": start}

    # ---------------------------------------------------------------------------------- figures

    def measure_bandwidth(self) -> None:
        """Read memory now; the best reading of the run counts."""
        reading = machine.read_bandwidth(self.threads)
        if reading is not None:
            self.bandwidths.append(reading)

    def sample(self, child: Child, operation: str, value: str, **given: Any) -> Sample:
        """One answer: tokens per second or seconds, and who else was at work meanwhile."""
        time.sleep(SETTLE_S)
        me, start = time.process_time(), time.perf_counter()
        busy, mine = machine.busy_seconds(), child.cpu_seconds()
        told = child.ask(operation, **given)
        others = machine.busy_seconds() - busy - (child.cpu_seconds() - mine)
        others = (others - (time.process_time() - me)) / (time.perf_counter() - start)
        rate = told["tokens"] / told["seconds"] if value == "tokens/s" else told["seconds"]
        return Sample(rate, max(others, 0.0))

    def in_turn(
        self, children: dict[str, Child], operation: str, unit: str = "tokens/s", **given: Any
    ) -> dict[str, Figure]:
        """Ask all engines A B A B until their three best agree, or three times `rounds` are done."""
        samples: dict[str, list[Sample]] = {name: [] for name in children}
        for round_ in range(3 * self.rounds + 1):
            for name, child in children.items():
                sample = self.sample(child, operation, unit, **given)
                if round_:  # the first warms up
                    samples[name].append(sample)
            if round_ >= self.rounds:
                figures = {name: figure(taken, unit) for name, taken in samples.items()}
                if self.quick or all(f.spread <= NEAR for f in figures.values()):
                    break
        return figures

    def better_settings(
        self, child: Child, model: Path, candidates: list[Settings], *,
        fill: list[list[int]], operation: str, room: Settings, **given: Any,
    ) -> Settings:  # fmt: skip
        """The llama.cpp settings with which it is fastest at one thing."""
        speeds = []
        for settings in candidates:
            self.open({PEER: child}, model, settings, **room)
            child.ask("fill", prompts=fill)
            taken = [self.sample(child, operation, "tokens/s", **given) for _ in range(3)]
            speeds.append(max(sample.value for sample in taken))
        return candidates[speeds.index(max(speeds))]

    def add(
        self, group: str, case: str, figures: dict[str, Figure], *, unit: str = "tokens/s",
        bytes_read: float | None = None, note: str = "",
    ) -> Row:  # fmt: skip
        """Put a row into the table and show it."""
        row = Row(group, case, unit, figures, bytes_read, note)
        self.set_share(row)
        self.rows.append(row)
        self.report(row)
        return row

    def set_share(self, row: Row) -> None:
        """How much of the memory bandwidth the figures of a row use."""
        if row.bytes_read is not None and self.bandwidths:
            for reached in row.figures.values():
                reached.share = row.bytes_read * reached.best / max(self.bandwidths)


def figure(samples: list[Sample], unit: str) -> Figure:
    """The best sample, and how far the third best is from it."""
    ordered = sorted(samples, key=lambda s: s.value, reverse=unit == "tokens/s")
    best, third = ordered[0].value, ordered[min(2, len(ordered) - 1)].value
    others = max(sample.others for sample in ordered[:3])
    return Figure(best, abs(1 - third / best), others, [sample.value for sample in samples])


# ------------------------------------------------------------------------------------------- models


def weights_per_token(path: Path) -> float:
    """Bytes of weights that one token reads: all but the embedding, and the chosen experts."""
    file = GGUFFile(path)
    keys = {key.partition(".")[2]: value for key, value in file.metadata.items()}
    chosen = keys.get("expert_used_count", 1) / keys.get("expert_count", 1)
    tied = "output.weight" not in file.tensors
    return sum(
        info.size * (chosen if "_exps." in name else 1.0)
        for name, info in file.tensors.items()
        if tied or name != "token_embd.weight"
    )


def cache_per_token(path: Path) -> int:
    """Bytes of cache that one token leaves, 16 bits a number."""
    from midfill.model.gguf_config import gguf_config

    return gguf_config(GGUFFile(path)).cache_bytes_per_token("bfloat16")


def vocabulary(path: Path) -> int:
    """How many token ids there are."""
    return GGUFFile(path).tensors["token_embd.weight"].shape[0]


def some_tokens(path: Path, count: int, seed: int = 0) -> list[int]:
    """Ordinary ids, the same for every engine; the first and last ids are often special."""
    draw, ids = random.Random(seed), vocabulary(path)
    return [draw.randrange(256, ids - 3000) for _ in range(count)]


def lite_files(given: Path | None) -> tuple[Path, Path]:
    """The whole synthetic file and its one layer of attention, made when they are missing."""
    from make_lite_gguf import ONE_LAYER, Sizes, show_progress, write_lite

    whole = given or cache_folder() / "bench" / "lite-q4_0.gguf"
    single = whole.with_name("lite-one-layer.gguf")
    for path, sizes in ((whole, Sizes()), (single, ONE_LAYER)):
        if not path.is_file():
            write_lite(path, sizes, progress=show_progress(path.name))
    return whole, single


def smollm2_files(given: Path | None) -> tuple[Path, Path]:
    """SmolLM2 as Q4_0, requantised once, and the Q4_1 it comes as."""
    shipped = given or resolve("smollm2-135m-instruct")
    made = cache_folder() / "bench" / "SmolLM2-135M-Instruct.Q4_0.gguf"
    if not made.is_file():
        from midfill.model.convert import convert

        made.parent.mkdir(parents=True, exist_ok=True)
        convert(shipped, made, "gguf", "Q4_0")
    return made, shipped


def qwen_file(given: Path | None) -> Path:
    """Qwen2.5-Coder-1.5B as Q4_K_M."""
    return given or resolve("qwen2.5-coder-1.5b-instruct-q4_k_m")


def smollm2_folder(given: Path | None) -> Path:
    """SmolLM2 as transformers reads it, in bfloat16."""
    folder = cache_folder() / "bench" / "SmolLM2-135M-Instruct-bf16"
    if not (folder / "config.json").is_file():
        from midfill.model.convert import convert

        folder.mkdir(parents=True, exist_ok=True)
        convert(given or resolve("smollm2-135m-instruct"), folder, "hf", "BF16")
    return folder


# -------------------------------------------------------------------------------------------- cases

FLASH = [{"flash": "on"}, {"flash": "off"}]
BATCHED = [{**flash, "unified": unified} for flash in FLASH for unified in (False, True)]


def small_model(bench: Bench, group: str, model: Path, batches: tuple[int, ...]) -> None:
    """Decode in batches, with 64-token prompts and 32 tokens each, and a prompt of 512."""
    read, cached = weights_per_token(model), cache_per_token(model)
    with bench.both(model) as children:
        for batch in batches:
            prompts = [some_tokens(model, 64, seed) for seed in range(batch)]
            count = 8 if bench.quick else 64 if batch == 1 else 32
            room = {"context": 256, "sequences": batch}
            peer = FLASH[0]
            if PEER in children:
                peer = bench.better_settings(
                    children[PEER], model, BATCHED if batch > 1 else FLASH,
                    fill=prompts, operation="decode", room=room, count=count,
                )  # fmt: skip
            bench.open(children, model, peer, **room)
            for child in children.values():
                child.ask("fill", prompts=prompts)
            figures = bench.in_turn(children, "decode", count=count)
            _name_settings(figures, peer)
            each = read / batch + (64 + count / 2) * cached
            case = f"{model.stem}: decode, {batch} stream{'s' if batch > 1 else ''}"
            bench.add(group, case, figures, bytes_read=each)
        tokens = some_tokens(model, CHUNK)
        room = {"context": 2 * CHUNK, "sequences": 1}
        peer = FLASH[0]
        if PEER in children:
            peer = bench.better_settings(
                children[PEER], model, FLASH, fill=[], operation="prefill", room=room, tokens=tokens
            )
        bench.open(children, model, peer, **room)
        figures = bench.in_turn(children, "prefill", tokens=tokens)
        _name_settings(figures, peer)
        bench.add(group, f"{model.stem}: prefill {CHUNK}", figures)


def _name_settings(figures: dict[str, Figure], peer: Settings) -> None:
    if PEER in figures:
        figures[PEER].settings = dict(peer)


def lite(bench: Bench, whole: Path, single: Path, depths: tuple[int, ...]) -> None:
    """Decode and prefill of the whole file, and what depth costs in one layer."""
    peer_decode, peer_prefill = lite_settings(bench, single)
    alone = one_layer(bench, single, depths, peer_decode)
    read, cached = weights_per_token(whole), cache_per_token(whole)
    layers = GGUFFile(whole).metadata["deepseek2.block_count"]
    near = [depth for depth in depths if depth <= WHOLE_PEER_DEPTH]
    tokens, count = some_tokens(whole, max(depths) + CHUNK), 4 if bench.quick else 24
    room = {"context": max(depths) + 2 * CHUNK}
    near_room = {"context": max(near) + 2 * CHUNK}
    with bench.both(whole) as children:
        # Each engine gets the context it needs: llama.cpp never goes beyond the measured depths.
        bench.open({n: c for n, c in children.items() if n == OURS}, whole, {}, **room)
        bench.open(
            {n: c for n, c in children.items() if n == PEER}, whole, peer_decode, **near_room
        )
        start: Figure | None = None
        for depth in depths:
            asked = {n: c for n, c in children.items() if n == OURS or depth in near}
            for child in asked.values():
                child.ask("fill", prompts=[tokens[: max(depth, 1)]])
            figures = bench.in_turn(asked, "decode", count=count)
            _name_settings(figures, peer_decode)
            start = start or figures.get(PEER)
            note = ""
            if start is not None and depth and PEER in alone.get(depth, {}):
                computed = _from_one_layer(start, alone, depth, layers)
                figures.setdefault(PEER, computed)
                note = f"llama.cpp computed from one layer: {computed.best:.2f}"
            each = read + (max(depth, 1) + count / 2) * cached
            case = f"Lite {whole.stem}: decode at {depth}"
            bench.add("lite", case, figures, bytes_read=each, note=note)
        if PEER in children:
            bench.open({PEER: children[PEER]}, whole, peer_prefill, **near_room)
        for depth in near:
            for child in children.values():
                child.ask("fill", prompts=[tokens[:depth]])
            figures = bench.in_turn(children, "prefill", tokens=tokens[depth : depth + CHUNK])
            _name_settings(figures, peer_prefill)
            bench.add("lite", f"Lite {whole.stem}: prefill {CHUNK} at {depth}", figures)


def one_layer(
    bench: Bench, single: Path, depths: tuple[int, ...], peer: Settings
) -> dict[int, dict[str, Figure]]:
    """Decode of the one-layer file at all depths."""
    tokens = some_tokens(single, max(depths) + 1)
    alone: dict[int, dict[str, Figure]] = {}
    with bench.both(single) as children:
        bench.open(children, single, peer, context=max(depths) + CHUNK)
        for depth in depths:
            for child in children.values():
                child.ask("fill", prompts=[tokens[: max(depth, 1)]])
            alone[depth] = bench.in_turn(children, "decode", count=16 if bench.quick else 64)
            _name_settings(alone[depth], peer)
            bench.add("lite", f"one layer of Lite's attention: decode at {depth}", alone[depth])
    return alone


def lite_settings(bench: Bench, single: Path) -> tuple[Settings, Settings]:
    """What is faster for llama.cpp at a depth of 4,096: in decode, and in prefill."""
    if not bench.peer:
        return {}, {}
    tokens = some_tokens(single, WHOLE_PEER_DEPTH + CHUNK)
    found = []
    with bench.engine(PEER) as child:
        for operation, given in (
            ("decode", {"count": 16}),
            ("prefill", {"tokens": tokens[WHOLE_PEER_DEPTH:]}),
        ):
            best = bench.better_settings(
                child, single, FLASH, fill=[tokens[:WHOLE_PEER_DEPTH]], operation=operation,
                room={"context": WHOLE_PEER_DEPTH + 2 * CHUNK}, **given,
            )  # fmt: skip
            found.append(best)
    return found[0], found[1]


def _from_one_layer(
    start: Figure, alone: dict[int, dict[str, Figure]], depth: int, layers: int
) -> Figure:
    """llama.cpp's speed at `depth`: its time at depth 0 and what all layers add to it."""
    first = alone[min(alone)][PEER]
    added = 1 / alone[depth][PEER].best - 1 / first.best
    speed = 1 / (1 / start.best + layers * added)
    how = f"1 / (1/{start.best:.2f} + {layers} x {1e3 * added:.2f} ms)"
    spread = max(start.spread, alone[depth][PEER].spread)
    others = max(start.others, alone[depth][PEER].others)
    return Figure(speed, spread, others, [], settings=start.settings, computed=how)


def transformers_ratio(bench: Bench, model: Path, folder: Path) -> None:
    """SmolLM2 at batch 1: midfill on the Q4_0 file, transformers in bfloat16."""
    prompt, count = some_tokens(model, 64), 8 if bench.quick else 64
    bench.know(model)
    with bench.engine(OURS) as ours, bench.engine("transformers") as theirs:
        children = {OURS: ours, "transformers": theirs}
        bench.open({OURS: ours}, model, {}, context=256)
        bench.open({"transformers": theirs}, folder, {})
        for child in children.values():
            child.ask("fill", prompts=[prompt])
        figures = bench.in_turn(children, "decode", count=count)
        case = f"{model.stem} : transformers bfloat16, decode, 1 stream"
        bench.add("transformers", case, figures)


def first_token(bench: Bench, model: Path, peer: Settings) -> None:
    """A fill of 2,048 tokens: cold, and after a line was typed before the cursor.

    The suffix stands after the cursor, so an edit makes all of it new. Every round types another
    line, and every cold round is another prompt, so nothing is known that should not be.
    """
    base = some_tokens(model, PROMPT, seed=1)
    with bench.both(model) as children:
        bench.open(children, model, peer, context=PROMPT + CHUNK)
        for child in children.values():
            child.ask("first_token", tokens=some_tokens(model, 64, seed=2))  # warms up

        def case(what: str, prompts: list[list[int]]) -> None:
            samples: dict[str, list[Sample]] = {name: [] for name in children}
            for tokens in prompts:
                for name, child in children.items():
                    samples[name].append(bench.sample(child, "first_token", "s", tokens=tokens))
            figures = {name: figure(taken, "s") for name, taken in samples.items()}
            _name_settings(figures, peer)
            bench.add("ttft", f"{model.stem}: first token of {PROMPT}, {what}", figures, unit="s")

        case("cold", [some_tokens(model, PROMPT, 100 + round_) for round_ in range(bench.rounds)])
        for suffix in SUFFIXES:
            for child in children.values():
                child.ask("first_token", tokens=base)
            lines = [some_tokens(model, LINE, 1000 * suffix + r) for r in range(bench.rounds)]
            prompts = [edited(base, line, suffix) for line in lines]
            case(f"after a line, {suffix} tokens after the cursor", prompts)


def memory(bench: Bench, model: Path) -> None:
    """Largest resident size of a fresh process after 100 tokens, with a cache of 4,096."""
    bench.know(model)
    figures, note = {}, []
    ways: list[tuple[str, str, Settings]] = [(OURS, OURS, {})]
    if bench.peer:
        ways += [(PEER, PEER, {}), (f"{PEER} not mapped", PEER, {"load": "none"})]
    for label, name, settings in ways:
        runs = [_memory_of(bench, name, model, settings) for _ in range(2 if name == OURS else 1)]
        size, seconds = runs[-1]
        if label == OURS:  # the first may have written the file that later ones map
            note.append(f"midfill's first start: {runs[0][0] / 1e9:.2f} GB, {runs[0][1]:.1f} s")
        note.append(f"{label} ready in {seconds:.1f} s")
        figures[label] = Figure(size / 1e9, 0.0, 0.0, [size / 1e9], settings)
    case = f"{model.stem}: memory, 4,096 cached, after 100 tokens"
    bench.add("memory", case, figures, unit="GB", note="; ".join(note))


def _memory_of(bench: Bench, name: str, model: Path, settings: Settings) -> tuple[int, float]:
    """Largest resident size, and the seconds until the model was ready."""
    with bench.engine(name) as child:
        told = child.ask("open", model=str(model), threads=bench.threads, context=4096, **settings)
        child.ask("fill", prompts=[some_tokens(model, 1)])
        child.ask("decode", count=100)
        return child.ask("memory")["max_rss"], told["seconds"]


# -------------------------------------------------------------------------------------------- table

LEGEND = (
    "`~` spread above 5 %, `!` another process took a core, `*` computed from one layer. Lite has "
    "random weights: its routing is uniform, real routing is skewed."
)


def markdown(rows: list[Row]) -> str:
    """The table: best figures, ratio, spread and share of the memory bandwidth."""
    head = "| case | unit | midfill | peer | ratio | spread | share of bandwidth |"
    return "\n".join([head, "|---|---|--:|--:|--:|--:|--:|", *(_line(row) for row in rows)])


def _line(row: Row) -> str:
    ours = row.figures.get(OURS)
    peers = {name: found for name, found in row.figures.items() if name != OURS}
    shown = ", ".join(
        number(found) + ("" if name == PEER else f" ({name})") for name, found in peers.items()
    )
    found = [f for f in (ours, *peers.values()) if f is not None]
    spread = " / ".join(f"{100 * f.spread:.0f} %" for f in found if f.samples)
    share = " / ".join(f"{f.share:.2f}" for f in found if f.share is not None)
    ratio = "" if row.ratio is None else f"{row.ratio:.2f}x"
    cells = [row.case, row.unit, number(ours) if ours else "", shown, ratio, spread, share]
    return "| " + " | ".join(cells) + " |"


def number(reached: Figure) -> str:
    """The best of an engine, with its marks."""
    digits = 0 if reached.best >= 100 else 1 if reached.best >= 10 else 2
    return f"{reached.best:.{digits}f}{reached.marks}"


def rows_of(written: dict[str, Any]) -> list[Row]:
    """The rows of a file that `--write` wrote."""
    rows = []
    for raw in written["rows"]:
        known = {key: value for key, value in raw.items() if key not in ("figures", "ratio")}
        figures = {name: Figure(**found) for name, found in raw["figures"].items()}
        rows.append(Row(figures=figures, **known))
    return rows


# --------------------------------------------------------------------------------------------- main


def run_smollm2(bench: Bench, args: argparse.Namespace) -> None:
    """Both files of SmolLM2."""
    for model in smollm2_files(args.smollm2):
        small_model(bench, "smollm2", model, (1, 8) if args.quick else (1, 8, 32))


def run_transformers(bench: Bench, args: argparse.Namespace) -> None:
    """SmolLM2 against transformers."""
    model, _ = smollm2_files(args.smollm2)
    transformers_ratio(bench, model, smollm2_folder(args.smollm2))


def run_qwen(bench: Bench, args: argparse.Namespace) -> None:
    """The only real code model at hand."""
    small_model(bench, "qwen", qwen_file(args.qwen), (1,) if args.quick else (1, 8, 32))


def run_lite(bench: Bench, args: argparse.Namespace) -> None:
    """Decode and prefill of Lite."""
    lite(bench, *lite_files(args.lite), args.depths)


def run_ttft(bench: Bench, args: argparse.Namespace) -> None:
    """First token of Lite."""
    whole, single = lite_files(args.lite)
    first_token(bench, whole, lite_settings(bench, single)[1])


def run_memory(bench: Bench, args: argparse.Namespace) -> None:
    """Memory of all three."""
    for model in (
        smollm2_files(args.smollm2)[0],
        qwen_file(args.qwen),
        lite_files(args.lite)[0],
    ):
        memory(bench, model)


GROUPS: dict[str, Callable[[Bench, argparse.Namespace], None]] = {
    "smollm2": run_smollm2,
    "transformers": run_transformers,
    "qwen": run_qwen,
    "lite": run_lite,
    "ttft": run_ttft,
    "memory": run_memory,
}


def run(bench: Bench, groups: list[str], args: argparse.Namespace) -> None:
    """All cases of `groups`, and the memory bandwidth between them."""
    bench.measure_bandwidth()
    for name, run_group in GROUPS.items():
        if name in groups:
            try:
                run_group(bench, args)
            except EngineError as error:  # the other groups are still worth having
                bench.failed[name] = str(error)
                print(f"{name}: {error}", file=sys.stderr)
            bench.measure_bandwidth()
    for row in bench.rows:
        bench.set_share(row)  # again, now that the best reading is known


def options() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", default=",".join(GROUPS), help="some of " + ",".join(GROUPS))
    parser.add_argument("--rounds", type=int, default=3, help="at least so many after the warm-up")
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--depths", default=",".join(map(str, DEPTHS)), help="of Lite")
    parser.add_argument("--lite", type=Path, help="the synthetic file (made when missing)")
    parser.add_argument("--smollm2", type=Path, help="SmolLM2 as Q4_1, as it is shipped")
    parser.add_argument("--qwen", type=Path, help="Qwen2.5-Coder-1.5B as Q4_K_M")
    parser.add_argument("--quick", action="store_true", help="few tokens, one round, for a try")
    parser.add_argument("--no-peer", action="store_true", help="midfill alone")
    parser.add_argument("--busy", action="store_true", help="measure though others use the cores")
    parser.add_argument("--json", action="store_true", help="one JSON line per row, no table")
    parser.add_argument("--write", type=Path, help="the results as JSON, for plot_engine.py")
    parser.add_argument("--verbose", action="store_true", help="show what the engines print")
    args = parser.parse_args()
    args.only = args.only.split(",")
    args.depths = tuple(sorted({0, *map(int, args.depths.split(","))}))
    if args.rounds < 1 or args.threads < 1:
        parser.error("--rounds and --threads must be at least 1")
    if unknown := set(args.only) - set(GROUPS):
        parser.error(f"--only knows {','.join(GROUPS)}, not {','.join(sorted(unknown))}")
    if args.quick:
        args.rounds, args.depths = 1, tuple(d for d in args.depths if d <= WHOLE_PEER_DEPTH)
    return args


def check(args: argparse.Namespace) -> float:
    """How many cores others use. Raises ResourceError if that spoils figures, or a peer is missing."""
    if not args.no_peer and packages_folder() is None:
        raise ResourceError(
            "there is no llama.cpp to measure against",
            why="MIDFILL_LLAMA_CPP names no folder with the package llama_cpp",
            fix="build it as bench/peer.py says, or give --no-peer",
        )
    busy = machine.busy_cores()
    if busy > OTHERS and not args.busy:
        raise ResourceError(
            f"other processes use {busy:.1f} cores",
            why="threads that wait for a taken core make every figure a matter of luck",
            fix="wait until they are done, or give --busy and mistrust what is marked with !",
        )
    return busy


def shower(as_json: bool) -> Callable[[Row], None]:
    """What is shown of a row as soon as it is there."""

    def show(row: Row) -> None:
        if as_json:
            print(json.dumps(asdict(row) | {"ratio": row.ratio}), flush=True)
        else:
            print(_line(row) + (f"  {row.note}" if row.note else ""), file=sys.stderr, flush=True)

    return show


def main() -> None:
    """Measure, show the table, write it."""
    args = options()
    busy, load = check(args), os.getloadavg()
    bench = Bench(
        args.threads, args.rounds, args.quick, not args.no_peer, shower(args.json), args.verbose
    )
    run(bench, args.only, args)
    about = {
        "machine": machine.describe(),
        "threads": args.threads,
        "rounds": args.rounds,
        "quick": args.quick,
        "others_before": busy,
        "load_before": load,
        "load_after": os.getloadavg(),
        "read_bandwidth": bench.bandwidths,
        "engines": bench.versions,
        "files": bench.files,
        "failed": bench.failed,
    }
    if args.json:
        print(json.dumps(about))
    else:
        print(markdown(bench.rows))
        print("\n" + LEGEND + "\n")
        print(json.dumps(about, indent=2))
    if args.write:
        rows = [asdict(row) | {"ratio": row.ratio} for row in bench.rows]
        temporary = args.write.with_name(args.write.name + ".part")
        temporary.write_text(json.dumps(about | {"rows": rows}, indent=1) + "\n", encoding="utf-8")
        temporary.replace(args.write)
    if bench.failed:
        sys.exit(1)


if __name__ == "__main__":
    try:
        main()
    except (UserError, EngineError) as error:
        sys.exit(str(error))
