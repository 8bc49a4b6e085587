"""Training on a processor: midfill's whole run beside transformers' model with its Trainer.

    pip install --target /some/where --no-deps accelerate psutil     # what Trainer needs beside ours
    python bench/train_speed.py --data CORPUS/shards --packages /some/where [--case small --threads 2]

The same network, sequences, batch, AdamW, clipping and bfloat16 autocast on both sides, each in
processes of its own that are started in turn, A B A B. A figure is tokens a second over the steps
of a round behind the first ones, which make oneDNN's kernels; the table has the median round.

midfill runs as `midfill train pretrain` does: shards read and packed by a worker process beside it,
balance losses, guard, log. transformers gets its sequences as tensors in memory, neither logs nor
saves, has no balance loss, and its best settings: before the rounds one short run finds the fastest
of attention (sdpa, eager), experts (grouped_mm, eager) and sequences in one pass. No document masks
on either side (`--masks`: on ours, as in a real run). MFU is against the product of 1024 x 1024
matrices in bfloat16 with as many threads, measured beside. A round with company on the cores is
marked `!`; for it the ratio by the processes' own time stands beside, which says most with one
thread and leaves our worker process out.
"""

import argparse
import itertools
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import machine

from midfill.config.model import GQAConfig, ModelConfig, RopeConfig
from midfill.config.train import OptimiserConfig, SourceConfig, TrainConfig
from midfill.recipes.runs import nano, small, tiny
from midfill.tokenizer.tokenizer import Tokenizer

OTHERS = 0.2  # cores that other processes may use during a round
WARM = 4  # steps of a round that are not counted

Answer = dict[str, Any]


def dense() -> TrainConfig:
    """A llama that is as large as the active part of `small`."""
    like = small()
    model = ModelConfig(
        family="llama",
        vocab=like.model.vocab,
        dim=like.model.dim,
        layers=like.model.layers,
        hidden=768,
        attention=GQAConfig(heads=4, kv_heads=4, head_dim=64),
        rope=RopeConfig(dim=64),
        context=like.model.context,
        tie_embedding=True,
        dtype="float32",
    )
    return replace(like, model=model)


def short_nano() -> TrainConfig:
    """`nano` with sequences and batches that a processor has time for."""
    config = nano()
    return replace(
        config,
        data=replace(config.data, length=1024, workers=1),
        batch=replace(config.batch, sequences=16, micro=8),
    )


CASES: Mapping[str, Callable[[], TrainConfig]] = {
    "tiny": tiny,
    "small": small,
    "nano": short_nano,
    "dense": dense,
}


def config_of(case: str, data: Path, *, steps: int, masks: bool, optimiser: str) -> TrainConfig:
    """The run of a case: its recipe with AdamW, on these shards, for so many steps."""
    config = CASES[case]()
    plain = OptimiserConfig(kind="adamw", lr=1e-3)
    source = SourceConfig(path=str(data))
    return replace(
        config,
        tokens=steps * config.batch.sequences * config.data.length,
        optimiser=plain if optimiser == "adamw" else config.optimiser,
        data=replace(config.data, sources=(source,), mask_documents=masks),
        keep=replace(
            config.keep,
            every_steps=10**9,
            evaluate_every=10**9,
            sample_every=10**9,
            evaluate_sequences=0,
        ),
    )


# --------------------------------------------------------------------- the two sides, in a process


def ours(config: TrainConfig, *, threads: int) -> Answer:
    """A run from its configuration to its last step."""
    import torch

    from midfill.train.build import fitted, new_run, open_run
    from midfill.train.parallel.ranks import Ranks

    torch.set_num_threads(threads)
    tokenizer = Tokenizer.from_folder(Path(config.data.sources[0].path).parent / "tokenizer")
    config = fitted(config, tokenizer)
    times, cpu, events = [], [], []

    def watch(event: Mapping[str, Any]) -> None:
        if event["kind"] == "step":
            times.append(time.perf_counter())
            cpu.append(time.process_time())
            events.append(event)

    with tempfile.TemporaryDirectory() as folder:
        new_run(config, Path(folder), tokenizer, Ranks())
        run = open_run(config, Path(folder), Ranks(), tracker=None, watch=watch)
        with closing(run.log):
            run.train()
    return {"times": times, "cpu": cpu, "loss": events[-1]["loss"]}


def theirs(
    config: TrainConfig, *, threads: int, attention: str, experts: str, micro: int, compiled: bool
) -> Answer:
    """transformers' network of the same configuration under its Trainer."""
    import torch
    import transformers

    from midfill.model.hf_config import to_hf_config
    from midfill.train.build import fitted
    from midfill.train.data import Data

    torch.set_num_threads(threads)
    transformers.logging.set_verbosity_error()
    tokenizer = Tokenizer.from_folder(Path(config.data.sources[0].path).parent / "tokenizer")
    config = fitted(config, tokenizer)
    data = Data.open(config.data, config.batch, config.seed, tokenizer)
    steps = config.tokens // (config.batch.sequences * config.data.length)
    rows = [torch.from_numpy(row) for step in range(steps) for row in data.batch(step).tokens]
    raw = to_hf_config(config.model) | {"use_cache": False}
    described = transformers.AutoConfig.for_model(**raw)
    how = {"attn_implementation": attention, "dtype": torch.float32}
    if config.model.moe is not None:
        how["experts_implementation"] = experts
    network = transformers.AutoModelForCausalLM.from_config(described, **how)
    times, cpu = [], []

    class Clock(transformers.TrainerCallback):
        def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            times.append(time.perf_counter())
            cpu.append(time.process_time())

    with tempfile.TemporaryDirectory() as folder:
        arguments = transformers.TrainingArguments(
            output_dir=folder,
            max_steps=steps,
            per_device_train_batch_size=micro,
            gradient_accumulation_steps=config.batch.sequences // micro,
            learning_rate=config.optimiser.lr,
            adam_beta1=config.optimiser.betas[0],
            adam_beta2=config.optimiser.betas[1],
            weight_decay=config.optimiser.weight_decay,
            max_grad_norm=config.optimiser.clip,
            lr_scheduler_type="constant",
            optim="adamw_torch_fused",
            bf16=config.precision == "bfloat16",
            use_cpu=True,
            torch_compile=compiled,
            dataloader_pin_memory=False,
            logging_strategy="no",
            save_strategy="no",
            report_to="none",
            disable_tqdm=True,
            train_sampling_strategy="sequential",
        )
        trainer = transformers.Trainer(
            model=network,
            args=arguments,
            train_dataset=[{"input_ids": row, "labels": row} for row in rows],
            callbacks=[Clock()],
        )
        result = trainer.train()
    return {"times": times, "cpu": cpu, "loss": result.training_loss}


def peak(*, threads: int) -> Answer:
    """Operations a second of a large product."""
    import torch

    from midfill.train.throughput import measured_peak

    torch.set_num_threads(threads)
    return {"peak": measured_peak(torch.device("cpu"), torch.bfloat16)}


def answer(request: Answer) -> Answer:
    """What a child process was asked for."""
    side = request.pop("side")
    if side == "peak":
        return peak(**request)
    wanted = ("case", "steps", "masks", "optimiser")
    config = config_of(
        data=Path(request.pop("data")), **{name: request.pop(name) for name in wanted}
    )
    return (ours if side == "ours" else theirs)(config, **request)


def ask(request: Answer, packages: Path | None = None) -> Answer:
    """Let a new process answer; with it, how many cores others kept busy meanwhile."""
    environment = os.environ | {"OMP_NUM_THREADS": str(request["threads"])}
    if packages is not None:
        environment["PYTHONPATH"] = str(packages)
    before, start = machine.busy_seconds(), time.perf_counter()
    used = os.times()
    done = subprocess.run(
        [sys.executable, __file__, "--child", json.dumps(request)],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise SystemExit(f"{request} failed:\n{done.stderr}")
    now = os.times()
    own = now.children_user - used.children_user + now.children_system - used.children_system
    busy = machine.busy_seconds() - before - own
    return json.loads(done.stdout.splitlines()[-1]) | {
        "others": round(busy / (time.perf_counter() - start), 2)
    }


# ------------------------------------------------------------------------------------ the rounds


def speed(found: Answer, tokens: int, clock: str = "times") -> float:
    """Tokens a second over the steps behind the first, `tokens` in each.

    With "cpu" those of the process's own time, which company on the cores changes less.
    """
    counted = found[clock][WARM - 1 :]
    return tokens * (len(counted) - 1) / (counted[-1] - counted[0])


def best_settings(
    request: Answer, config: TrainConfig, packages: Path | None
) -> tuple[Answer, list]:
    """The settings with which transformers is fastest in short runs, and all that were tried."""
    experts = ("grouped_mm", "eager") if config.model.moe else ("eager",)
    micro = sorted({config.batch.micro, max(config.batch.micro // 4, 1)})
    tokens = config.batch.sequences * config.data.length
    tried = []
    for attention, how, size in itertools.product(("sdpa", "eager"), experts, micro):
        settings = {"attention": attention, "experts": how, "micro": size, "compiled": False}
        found = ask(request | settings | {"side": "theirs", "steps": WARM + 3}, packages)
        tried.append((speed(found, tokens), settings))
        print(f"  {tried[-1][0]:9,.0f} tokens/s  {settings}", file=sys.stderr, flush=True)
    return max(tried, key=lambda one: one[0])[1], tried


def measure(case: str, args: argparse.Namespace) -> Answer:
    """All rounds of one case."""
    from midfill.train.build import fitted
    from midfill.train.throughput import flops_per_token

    tokenizer = Tokenizer.from_folder(args.data.parent / "tokenizer")
    kind = {"steps": WARM + args.steps, "masks": args.masks, "optimiser": "adamw"}
    config = fitted(config_of(case, args.data, **kind), tokenizer)
    tokens = config.batch.sequences * config.data.length
    flops = flops_per_token(config.model, config.data.length)
    request = kind | {"case": case, "data": str(args.data), "threads": args.threads}
    settings, tried = best_settings(request, config, args.packages)
    top = ask({"side": "peak", "threads": args.threads})["peak"]
    rounds: dict[str, list[Answer]] = {"ours": [], "theirs": []}
    for _ in range(args.rounds):
        rounds["ours"].append(ask(request | {"side": "ours"}))
        rounds["theirs"].append(ask(request | settings | {"side": "theirs"}, args.packages))
    row: Answer = {"case": case, "threads": args.threads, "vocab": config.model.vocab}
    row |= {"parameters": config.model.total_parameters, "active": config.model.active_parameters}
    row |= {"tokens_in_step": tokens, "flops_per_token": flops, "peak": top, "settings": settings}
    row |= {"tried": tried, "load": os.getloadavg()[0]}
    for side, found in rounds.items():
        speeds = [speed(one, tokens) for one in found]
        by_cpu = statistics.median(speed(one, tokens, "cpu") for one in found)
        middle = statistics.median(speeds)
        row[side] = {"tokens_per_second": middle, "mfu": middle * flops / top, "all": speeds}
        row[side] |= {
            "loss": [one["loss"] for one in found],
            "others": [o["others"] for o in found],
        }
        row[side] |= {"by_cpu": by_cpu}
    for name, figure in (("ratio", "tokens_per_second"), ("ratio_by_cpu", "by_cpu")):
        row[name] = row["ours"][figure] / row["theirs"][figure]
    return row


def line(row: Answer) -> str:
    """A row of the table."""
    one, other = row["ours"], row["theirs"]
    mark = "!" if max(*one["others"], *other["others"]) > OTHERS else " "
    return (
        f"{row['case']:6} {row['threads']}  {one['tokens_per_second']:9,.0f} {one['mfu']:5.1%}"
        f"  {other['tokens_per_second']:9,.0f} {other['mfu']:5.1%}  {row['ratio']:5.2f}{mark}"
        f"  {row['ratio_by_cpu']:5.2f}"
        f"  load {row['load']:.1f}, peak {row['peak'] / 1e12:.2f} TFLOP/s,"
        f" transformers: {row['settings']}"
    )


def main() -> None:
    """Measure the cases, print a table and JSON lines."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--child", type=json.loads, help=argparse.SUPPRESS)
    parser.add_argument("--data", type=Path, help="token shards, their tokenizer beside them")
    parser.add_argument("--packages", type=Path, help="folder with accelerate and psutil")
    parser.add_argument("--case", choices=CASES, action="append")
    parser.add_argument("--threads", type=int, action="append")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=10, help="counted in each round")
    parser.add_argument("--masks", action="store_true", help="documents masked on our side")
    parser.add_argument("--write", type=Path, help="JSON lines go here")
    args = parser.parse_args()
    if args.child is not None:
        print(json.dumps(answer(args.child)))
        return
    if args.data is None:
        parser.error("--data is missing")
    wanted = itertools.product(args.case or ["small", "nano", "dense"], args.threads or [2, 1])
    print("case   thr.  midfill t/s   MFU  Trainer t/s   MFU  ratio  by processor time")
    for case, threads in wanted:
        args.threads = threads
        row = measure(case, args)
        print(line(row), flush=True)
        if args.write is not None:
            with args.write.open("a", encoding="utf-8") as file:
                file.write(json.dumps(row | machine.describe()) + "\n")


if __name__ == "__main__":
    main()
