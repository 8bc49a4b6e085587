"""What prompt look-up gains: tokens per second with and without it, and the same answers.

    python bench/lookup_gain.py MODEL [--set edit|free|both] [--rounds 3] [--costs dense|moe|measured]
    python bench/lookup_gain.py MODEL --force-text

Edits: rewrite a file with a small change (bench/edit_set.py), greedily, at most as many tokens as
the changed file has and some more. Free: questions that repeat nothing. Both ways take turns; only
the time from the first piece of an answer on counts, when the prompt has been read. A line for each
case, then one for each set: its tokens over its time.

--force-text is REPLAYED OUTPUT: every step of the network is computed, but its logits are thrown
away and the known changed file is what "the model says" (for the free questions there is none). It
shows what the mechanism can gain at best, with models too small to rewrite a file; it says nothing
about a model. --costs says which table drafts are planned with; measured times steps of 1 to 16
rows first. Without it the engine speculates as it does for its users.
"""

import argparse
import dataclasses
import difflib
import json
import os
import statistics
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from edit_set import EDITS, FREE

import midfill
from midfill.engine.lookup import DENSE_COSTS, MOE_COSTS, Lookup
from midfill.engine.runner import GRID, PAGE, Span
from midfill.engine.text import make_sampling

ROWS = (1, 2, 4, 8, 16)
MOST, FREE_TOKENS, MORE = 15, 128, 32


@dataclass
class Case:
    """A prompt, and for edits the wanted answer."""

    set: str
    name: str
    prompt: list[int]
    target: list[int]
    most: int


@dataclass
class Run:
    """One answer and what it took."""

    tokens: list[int]
    seconds: float = 0.0
    counted: int = 0  # tokens that came within these seconds
    drafted: int = 0
    accepted: int = 0
    steps: int = 0

    @property
    def speed(self) -> float:
        """Tokens a second."""
        return self.counted / self.seconds if self.seconds else 0.0


def main() -> None:
    """Print the cases and the sets."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model")
    parser.add_argument("--set", choices=["edit", "free", "both"], default="both")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--cases", type=int, default=99, help="so many of each set")
    parser.add_argument("--tokens", type=int, default=4096, help="of an answer at most")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--dtype", default="auto")
    parser.add_argument("--costs", choices=["auto", "dense", "moe", "measured"], default="auto")
    parser.add_argument("--force-text", action="store_true", help="REPLAYED OUTPUT, see above")
    args = parser.parse_args()
    coder = midfill.load(args.model, threads=args.threads, dtype=args.dtype, context=4096)
    costs = row_costs(coder, args.costs)
    head = {"bench": "lookup", "model": args.model, "runner": type(coder.runner).__name__}
    print(json.dumps(head | {"event": "costs", "costs": costs} | _state(args.threads)))
    head["mode"] = "replayed output" if args.force_text else "the model's own output"
    if args.force_text and args.set != "edit":
        args.set = "edit"
    totals: dict[str, list[tuple[Run, Run, bool]]] = {}
    for case in cases(coder, args.set, args.cases, args.tokens):
        best, same = compare(coder, case, costs, args)
        totals.setdefault(case.set, []).append((best[False], best[True], same))
        row = _row([(best[False], best[True], same)])
        extra = {} if not case.target else {"as_wanted": _agrees(best[False].tokens, case.target)}
        print(json.dumps(head | {"set": case.set, "case": case.name} | row | extra), flush=True)
    for name, runs in totals.items():
        print(
            json.dumps(head | {"set": name, "cases": len(runs)} | _row(runs) | _state(args.threads))
        )


def compare(coder, case: Case, costs: Mapping[int, float], args) -> tuple[dict[bool, Run], bool]:
    """The run of median speed without and with look-up, taking turns; whether all answers agree."""
    runs: dict[bool, list[Run]] = {False: [], True: []}
    for round_ in range(args.rounds + 1):
        for on in (False, True) if round_ % 2 else (True, False):
            if args.force_text:
                run = replay(coder, case, costs, on)
            else:
                run = answer(coder, case, None if args.costs == "auto" else costs, on)
            runs[on] += [run] if round_ else []  # the first warms up and fills the prefix tree
    same = len({tuple(run.tokens) for both in runs.values() for run in both}) == 1
    return {on: sorted(r, key=lambda run: run.speed)[len(r) // 2] for on, r in runs.items()}, same


def answer(coder, case: Case, costs: Mapping[int, float] | None, on: bool) -> Run:
    """The model's own greedy answer."""
    before = dataclasses.replace(coder.scheduler.counters)
    run, start = Run([]), 0.0
    for piece in _pieces(coder, case, costs, on):
        run.tokens += [token.id for token in piece.tokens]
        if not start and piece.tokens:
            start, run.counted = time.perf_counter(), -len(run.tokens)
    run.seconds = time.perf_counter() - start
    run.counted += len(run.tokens)
    after = coder.scheduler.counters
    run.drafted = after.drafted - before.drafted
    run.accepted = after.accepted - before.accepted
    run.steps = after.steps - before.steps
    return run


def _pieces(coder, case: Case, costs: Mapping[int, float] | None, on: bool) -> Iterator[Any]:
    """The answer piece by piece: by the public option, or with a table of costs by a draft of it."""
    options = {"max_tokens": case.most, "temperature": 0.0}
    if costs is None:
        yield from coder.stream(case.prompt, **options, speculate="lookup" if on else None)
        return
    draft = (lambda: Lookup(step_costs=costs)) if on else None
    sampling = make_sampling({**options, "speculate": None})
    yield from coder.generate(coder.encode_prompt(case.prompt), sampling, draft=draft)


@torch.inference_mode()
def replay(coder, case: Case, costs: Mapping[int, float], on: bool) -> Run:
    """REPLAYED OUTPUT: real steps, whose logits are thrown away; the wanted file is the answer."""
    place = _Place(coder.runner, case.prompt)
    place.read(case.prompt[:-1])
    lookup, target, run = Lookup(case.prompt, step_costs=costs), case.target, Run([])
    last = case.prompt[-1]
    start = time.perf_counter()
    while len(run.tokens) < len(target):
        at = len(run.tokens)
        draft = lookup.draft(min(MOST, len(target) - at - 1)) if on else []
        place.read([last, *draft], wanted=len(draft) + 1).argmax(-1).tolist()  # as verifying does
        right = next((i for i, d in enumerate(draft) if d != target[at + i]), len(draft))
        new = target[at : at + right + 1]
        place.back(len(draft) - right)
        lookup.judged(len(draft), right)
        lookup.extend(new)
        run.tokens += new
        run.drafted, run.accepted = run.drafted + len(draft), run.accepted + right
        run.steps, last = run.steps + 1, new[-1]
    run.seconds, run.counted = time.perf_counter() - start, len(target)
    return run


class _Place:
    """One sequence in the pages of a runner that nobody else uses meanwhile."""

    def __init__(self, runner, prompt: list[int]) -> None:
        self.runner, self.length = runner, 0
        self.grid = len(prompt) // GRID * GRID if hasattr(runner.config.attention, "kv_rank") else 0

    def read(self, tokens: list[int], wanted: int = 1) -> torch.Tensor:
        end = self.length + len(tokens)
        pages = list(range(-(-end // PAGE)))
        assert len(pages) <= self.runner.pages
        span = Span(
            tokens=tokens, start=self.length, pages=pages, expanded=self.grid, wanted=wanted
        )
        self.length = end
        return self.runner.step([span])

    def back(self, tokens: int) -> None:
        self.length -= tokens


@torch.inference_mode()
def row_costs(coder, which: str) -> dict[int, float]:
    """The table to plan with: one of the two that are known, or this machine's own."""
    if which == "auto":
        which = "dense" if coder.config.moe is None else "moe"
    if which != "measured":
        return DENSE_COSTS if which == "dense" else MOE_COSTS
    generator = torch.Generator().manual_seed(0)
    ids = torch.randint(1000, (512,), generator=generator).tolist()
    place = _Place(coder.runner, ids)
    place.read(ids)
    times: dict[int, list[float]] = {rows: [] for rows in ROWS}
    for _ in range(12):
        for rows in ROWS:
            start = time.perf_counter()
            place.read(ids[:rows], wanted=rows)
            times[rows].append(time.perf_counter() - start)
            place.back(rows)
    one = statistics.median(times[1][2:])
    return {rows: round(statistics.median(t[2:]) / one, 3) for rows, t in times.items()}


def cases(coder, which: str, most: int, tokens: int) -> Iterator[Case]:
    """The prompts as this model wants them: by its chat template, where it has one."""
    if which in ("edit", "both"):
        for edit in EDITS[:most]:
            prompt = _prompt(coder, edit.request, "```python\n")
            target = coder.tokenizer.encode(edit.target + "```")[:tokens]
            yield Case("edit", edit.name, prompt, target, min(len(target) + MORE, tokens))
    if which in ("free", "both"):
        for question in FREE[:most]:
            yield Case("free", question, _prompt(coder, question, ""), [], min(FREE_TOKENS, tokens))


def _prompt(coder, request: str, opening: str) -> list[int]:
    if coder.tokenizer.chat_template is None:
        return coder.encode_prompt(f"{request}\n\n{opening}").ids
    messages = [{"role": "user", "content": request}]
    if opening:
        messages.append({"role": "assistant", "content": opening})
    return coder.encode_chat(messages, continue_last=bool(opening)).ids


def _row(runs: list[tuple[Run, Run, bool]]) -> dict[str, Any]:
    """Sums over some cases."""
    plain = sum(off.seconds for off, _, _ in runs) or 1.0
    fast = sum(on.seconds for _, on, _ in runs) or 1.0
    off_rate = sum(off.counted for off, _, _ in runs) / plain
    on_rate = sum(on.counted for _, on, _ in runs) / fast
    drafted = sum(on.drafted for _, on, _ in runs)
    steps = sum(on.steps for _, on, _ in runs)
    return {
        "tokens": sum(on.counted for _, on, _ in runs),
        "off_tokens_per_s": round(off_rate, 2), "on_tokens_per_s": round(on_rate, 2),
        "gain": round(on_rate / off_rate, 3) if off_rate else None,
        "drafted": drafted,
        "accepted": round(sum(on.accepted for _, on, _ in runs) / drafted, 3) if drafted else None,
        "tokens_per_step": round(sum(len(on.tokens) for _, on, _ in runs) / steps, 2) if steps else 0,
        "identical": all(same for _, _, same in runs),
    }  # fmt: skip


def _agrees(tokens: list[int], target: list[int]) -> float:
    """How alike the answer and the wanted file are; 1: the same."""
    return round(difflib.SequenceMatcher(None, tokens, target, autojunk=False).ratio(), 3)


def _state(threads: int) -> dict[str, float]:
    return {"threads": threads, "load": round(os.getloadavg()[0], 2)}


if __name__ == "__main__":
    main()
