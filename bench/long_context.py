"""A needle at every depth of a context eight times as long as the one a model was trained at.

    python bench/long_context.py [--out DIR] [--json]

Documents are babble in which a key is told its value and asked for it later: "... key Bado SIRU ...
ask Bado SIRU ...". A small network with latent attention is trained on those of 256 tokens, until it
looks values up. Then its context is extended to 2,048 as `midfill train long-context` does it: YaRN,
and some steps on longer documents, half of the sequences as short as before. Printed is the share of
values that come first after "ask KEY" at the end of a text, by its length and by how deep in it the
key was told, among other keys; and what a token costs in documents of 256. Three networks:

    before     as trained, its rotary embedding as it was
    stretched  the same weights under YaRN
    stage      after the stage

Everything is kept in DIR; started again, it goes on. RESULTS.json and a picture are written there.
"""

import argparse
import json
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass, replace
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from midfill.config.corpus.documents import FimConfig
from midfill.config.model import MLAConfig, ModelConfig, RopeConfig
from midfill.config.train import (
    BatchConfig,
    DataConfig,
    KeepConfig,
    OptimiserConfig,
    ScheduleConfig,
    SourceConfig,
    TrainConfig,
)
from midfill.corpus.shards import FORMAT, INDEX, digest, dtype_for, write_shard
from midfill.corpus.whole import write_json, write_sealed
from midfill.evaluate import plots
from midfill.model.checkpoint import load_network, open_checkpoint
from midfill.model.transformer import Transformer
from midfill.pages.page import page, section, table
from midfill.recipes.runs import extended
from midfill.tokenizer.tokenizer import Tokenizer
from midfill.tokenizer.train import train as train_tokenizer
from midfill.train.build import FINAL, RUN, fitted, new_run, open_run, write_final
from midfill.train.parallel.ranks import Ranks

Ids = NDArray[np.int64]
SHORT, LONG = 256, 2048
LENGTHS = (256, 512, 1024, 1536, 2048)
DEPTHS = tuple(range(0, 101, 10))
KEYS, VALUES, WORDS, NEXT = 48, 48, 64, 4  # NEXT: words that may follow a word of babble
AT_ONCE = 1 << 14  # tokens of a forward pass


# ------------------------------------------------------------------------------------------ documents


@dataclass(frozen=True, slots=True)
class Language:
    """What documents are made of: ids of words, each one token."""

    begin: int
    end: int
    key: int
    ask: int
    keys: Ids
    values: Ids
    words: Ids
    follow: NDArray[np.int64]  # [WORDS, NEXT]: indices of the words that may follow


def vocabulary() -> tuple[list[str], list[str], list[str]]:
    """Keys, values and words of babble, by their looks."""
    syllables = ["".join(pair) for pair in product("bdfgklmnprstvz", "aeiou")]
    chance = np.random.default_rng(0)
    count = KEYS + VALUES + WORDS
    chosen = chance.choice(len(syllables) ** 2, count, replace=False)
    made = [syllables[i // len(syllables)] + syllables[i % len(syllables)] for i in chosen]
    keys, values, words = made[:KEYS], made[KEYS : KEYS + VALUES], made[KEYS + VALUES :]
    return [key.title() for key in keys], [value.upper() for value in values], words


def language() -> tuple[Tokenizer, Language]:
    """The tokenizer in which every word is one token, and the ids."""
    parts = (["key", "ask"], *vocabulary())
    text = "".join(f" {word}" for part in parts for word in part)
    tokenizer = Tokenizer(train_tokenizer([text] * 4, 1 << 14))
    marks, keys, values, words = ([tokenizer.encode(f" {w}") for w in part] for part in parts)
    assert all(len(ids) == 1 for ids in (*marks, *keys, *values, *words))
    assert tokenizer.bos_id is not None
    assert tokenizer.eos_id is not None
    return tokenizer, Language(
        begin=tokenizer.bos_id,
        end=tokenizer.eos_id,
        key=marks[0][0],
        ask=marks[1][0],
        keys=np.ravel(keys),
        values=np.ravel(values),
        words=np.ravel(words),
        follow=np.random.default_rng(1).integers(0, WORDS, (WORDS, NEXT)),
    )


def babble(speech: Language, length: int, chance: np.random.Generator) -> Ids:
    """So many words, each one of those that may follow the one before."""
    words, at = np.empty(length, np.int64), int(chance.integers(WORDS))
    for i, step in enumerate(chance.integers(0, NEXT, length).tolist()):
        words[i] = speech.words[at]
        at = int(speech.follow[at, step])
    return words


def told(speech: Language, pairs: Sequence[tuple[int, int]]) -> list[Ids]:
    """Each key with its value."""
    return [np.array([speech.key, speech.keys[k], speech.values[v]]) for k, v in pairs]


def scattered(text: Ids, pieces: Sequence[Ids], places: Sequence[int]) -> Ids:
    """The text with each piece put in front of the word at its place."""
    return np.insert(text, np.repeat(places, list(map(len, pieces))), np.concatenate(pieces))


def document(speech: Language, length: int, chance: np.random.Generator) -> Ids:
    """A document to learn from: keys told anywhere, and asked for anywhere behind."""
    room = length - 2
    most = min(room // 16, KEYS // 2)
    keys = chance.choice(KEYS, most, replace=False)
    pairs = [(int(key), int(chance.integers(VALUES))) for key in keys]
    asked = chance.integers(0, most, room // 6).tolist()
    words = babble(speech, room - 3 * (most + len(asked)), chance)
    where = np.sort(chance.integers(0, len(words) + 1, most))
    behind = [int(chance.integers(where[i], len(words) + 1)) for i in asked]
    pieces = told(speech, pairs)
    pieces += [np.array([speech.ask, *told(speech, [pairs[i]])[0][1:]]) for i in asked]
    places = [*where.tolist(), *behind]
    order = np.argsort(places, kind="stable")
    text = scattered(words, [pieces[i] for i in order], [places[i] for i in order])
    return np.array([speech.begin, *text, speech.end])


def question(
    speech: Language, length: int, depth: int, others: int, chance: np.random.Generator
) -> tuple[Ids, int]:
    """A text that ends in a question, and its answer; the needle lies at `depth` percent."""
    keys = chance.choice(KEYS, others + 1, replace=False).tolist()
    pairs = [(key, int(chance.integers(VALUES))) for key in keys]
    words = babble(speech, length - 3 * len(pairs) - 3, chance)
    places = chance.integers(0, len(words) + 1, len(pairs))
    places[0] = round(len(words) * depth / 100)
    order = np.argsort(places, kind="stable")
    pieces = told(speech, pairs)
    text = scattered(words, [pieces[i] for i in order], places[order].tolist())
    end = np.array([speech.ask, speech.keys[keys[0]]])
    return np.concatenate([[speech.begin], text, end]), int(speech.values[pairs[0][1]])


def write_documents(
    folder: Path, tokenizer: Tokenizer, speech: Language, lengths: tuple[int, int], tokens: int
) -> Path:
    """Shards of documents, lengths evenly between two, and 64 of the longer length held out."""
    shards = folder / "shards"
    if (shards / INDEX).exists():
        return folder
    tokenizer.save(folder / "tokenizer")
    chance = np.random.default_rng(lengths[1])

    def learnt() -> Iterator[Ids]:
        left = tokens
        while left > 0:
            made = document(speech, int(chance.integers(lengths[0], lengths[1] + 1)), chance)
            left -= len(made)
            yield made

    dtype = dtype_for(tokenizer.rows)
    held_out = [document(speech, lengths[1], chance) for _ in range(64)]
    made = [
        write_shard(shards, "train-00000", "train", dtype, learnt()),
        write_shard(shards, "held_out-00000", "held_out", dtype, held_out),
    ]
    index = {"format": FORMAT, "vocabulary": tokenizer.rows, "digest": digest(made)}
    write_sealed(shards / INDEX, index | {"shards": [asdict(shard) for shard in made]})
    return folder


# ------------------------------------------------------------------------------------------- training


def network() -> ModelConfig:
    """Two layers of latent attention: the fewest that can look a value up by its key."""
    return ModelConfig(
        family="deepseek_v2",
        vocab=0,
        dim=128,
        layers=2,
        hidden=256,
        attention=MLAConfig(heads=4, kv_rank=64, nope_dim=16, rope_dim=16, v_dim=32),
        rope=RopeConfig(dim=16),
        context=SHORT,
        tie_embedding=True,
        dtype="float32",
    )


def first_run(documents: Path, steps: int) -> TrainConfig:
    """At the short length."""
    sequences = 16
    return TrainConfig(
        model=network(),
        init_std=0.02,
        tokens=steps * sequences * SHORT,
        data=DataConfig(
            sources=(SourceConfig(path=str(documents)),), length=SHORT, fim=FimConfig(rate=0.0)
        ),
        batch=BatchConfig(sequences=sequences, micro=sequences),
        optimiser=OptimiserConfig(kind="muon", lr=3e-3, muon_lr=0.01),
        schedule=ScheduleConfig(shape="stable_decay", warmup_steps=20, final=0.0, decay=0.3),
        keep=KeepConfig(every_steps=200, evaluate_every=100, sample_every=10**6),
    )


def stage(final: Path, short: Path, long: Path, steps: int) -> TrainConfig:
    """The extension: half of the sequences are long documents, half are packed from short ones."""
    sequences = 8
    sources = (SourceConfig(path=str(long)), SourceConfig(path=str(short)))
    return TrainConfig(
        model=extended(open_checkpoint(final).config, LONG),
        start=str(final),
        tokens=steps * sequences * LONG,
        data=DataConfig(sources=sources, length=LONG, fim=FimConfig(rate=0.0)),
        batch=BatchConfig(sequences=sequences, micro=sequences),
        optimiser=OptimiserConfig(kind="muon", lr=1e-3, muon_lr=0.003),
        schedule=ScheduleConfig(shape="cosine", warmup_steps=10, final=0.1),
        keep=KeepConfig(every_steps=50, evaluate_every=50, sample_every=10**6),
    )


def trained(config: TrainConfig, folder: Path, tokenizer: Tokenizer) -> Path:
    """RUN/final of the run in `folder`, which is begun, gone on with, or done already."""
    if (folder / FINAL).exists():
        return folder / FINAL
    config = fitted(config, tokenizer)
    if not (folder / RUN).exists():
        new_run(config, folder, tokenizer, Ranks())
    run = open_run(config, folder, Ranks(), tracker=None, watch=tell)
    with closing(run.log):
        if run.train().stopped:
            raise KeyboardInterrupt
    return write_final(run)


def tell(event: Mapping[str, Any]) -> None:
    """A line for every fiftieth step."""
    if event["kind"] == "step" and event["step"] % 50 == 0:
        print(
            f"  step {event['step']}/{event['steps']}  loss {event['loss']:.3f}  "
            f"{event['tokens_per_second']:,.0f} tokens/s",
            flush=True,
        )


# ---------------------------------------------------------------------------------------- measurement


@torch.inference_mode()
def found(model: Transformer, texts: Sequence[Ids], answers: Sequence[int]) -> float:
    """The share of texts after which the answer is the most likely token."""
    each, hits = max(AT_ONCE // len(texts[0]), 1), 0
    for start in range(0, len(texts), each):
        tokens = torch.from_numpy(np.stack(texts[start : start + each]))
        with torch.autocast("cpu", torch.bfloat16):
            hidden = model.hidden(tokens)[:, -1]
        best = model.logits(hidden).argmax(-1)
        hits += int((best == torch.tensor(answers[start : start + each])).sum())
    return hits / len(texts)


def needles(
    model: Transformer, speech: Language, trials: int, others: int
) -> dict[tuple[float, float], tuple[float, int]]:
    """The share found, by length and depth; the same texts for every network."""
    cells = {}
    for length, depth in product(LENGTHS, DEPTHS):
        chance = np.random.default_rng([length, depth])
        made = [question(speech, length, depth, others, chance) for _ in range(trials)]
        texts, answers = zip(*made, strict=True)
        cells[float(length), float(depth)] = (found(model, texts, answers), trials)
    return cells


@torch.inference_mode()
def costs(model: Transformer, speech: Language, length: int, count: int) -> NDArray[np.float64]:
    """Nats of the token at each position, the mean over documents of `length` tokens."""
    chance = np.random.default_rng([7, length])
    texts = np.stack([document(speech, length, chance) for _ in range(count)])
    total = torch.zeros(length - 1, dtype=torch.float64)
    for part in torch.from_numpy(texts).split(max(AT_ONCE // length, 1)):
        with torch.autocast("cpu", torch.bfloat16):
            logits = model(part[:, :-1])
        scores = torch.log_softmax(logits.float(), -1).gather(2, part[:, 1:, None])
        total -= scores.double().sum((0, 2))
    return (total / count).numpy()


def measured(model: Transformer, speech: Language, trials: int, others: int) -> dict[str, Any]:
    """All figures of one network."""
    cells = needles(model, speech, trials, others)
    far = costs(model, speech, LONG, 32)
    return {
        "needles": [[length, depth, share] for (length, depth), (share, _) in cells.items()],
        "by_length": {
            int(length): float(
                np.mean([share for (n, _), (share, _) in cells.items() if n == length])
            )
            for length in LENGTHS
        },
        "least": min(share for share, _ in cells.values()),
        "short_loss": float(costs(model, speech, SHORT, 512).mean()),
        "loss_by_position": {
            f"{start}-{start + SHORT}": float(far[start : start + SHORT].mean())
            for start in range(0, LONG, SHORT)
        },
    }


def networks(first: Path, last: Path) -> Iterator[tuple[str, Transformer]]:
    """The three that are compared."""
    before = open_checkpoint(first)
    stretched = replace(before, config=extended(before.config, LONG))
    yield "before", load_network(before, torch.float32)
    yield "stretched", load_network(stretched, torch.float32)
    yield "stage", load_network(open_checkpoint(last), torch.float32)


def picture(results: Mapping[str, Any]) -> str:
    """A page with the three maps and the losses."""
    parts = []
    for name, one in results["networks"].items():
        cells = {(n, d): (share, results["trials"]) for n, d, share in one["needles"]}
        lead = f"loss at {SHORT} tokens {one['short_loss']:.4f}"
        parts.append(section(name, lead, f'<div class="sheet heat">{plots.heat(cells)}</div>'))
    rows = [
        [name, *(f"{x:.3f}" for x in one["loss_by_position"].values())]
        for name, one in results["networks"].items()
    ]
    head = ["tokens", *next(iter(results["networks"].values()))["loss_by_position"]]
    parts.append(section("Loss by position", f"in documents of {LONG}", table(head, rows)))
    return page("Longer context", "".join(parts))


def main() -> None:
    """Train, extend, measure."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("long-context"))
    parser.add_argument("--steps", type=int, default=1000, help="of the training at 256 tokens")
    parser.add_argument("--stage-steps", type=int, default=200)
    parser.add_argument("--trials", type=int, default=40, help="texts for each length and depth")
    parser.add_argument("--others", type=int, default=7, help="keys beside the needle")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    out, begun = given.out, time.perf_counter()
    tokenizer, speech = language()
    short = write_documents(out / "short", tokenizer, speech, (64, SHORT), 4_000_000)
    long = write_documents(out / "long", tokenizer, speech, (SHORT, LONG), 4_000_000)
    first = trained(first_run(short, given.steps), out / "first", tokenizer)
    last = trained(stage(first, short, long, given.stage_steps), out / "stage", tokenizer)
    figures = {
        name: measured(model, speech, given.trials, given.others)
        for name, model in networks(first, last)
    }
    worse = figures["stage"]["short_loss"] / figures["before"]["short_loss"] - 1
    results = {
        "trials": given.trials,
        "others": given.others,
        "networks": figures,
        "short_loss_worse_by": worse,
        "seconds": time.perf_counter() - begun,
    }
    write_json(out / "RESULTS.json", results)
    (out / "RESULTS.html").write_text(picture(results), encoding="utf-8")
    if given.json:
        print(json.dumps(results))
        return
    print(f"{'found at':<12}{''.join(f'{n:>8}' for n in LENGTHS)}{'worst cell':>12}{'loss':>9}")
    for name, one in figures.items():
        shares = "".join(f"{100 * share:>7.1f}%" for share in one["by_length"].values())
        print(f"{name:<12}{shares}{100 * one['least']:>11.1f}%{one['short_loss']:>9.4f}")
    print(f"loss at {SHORT} tokens: {100 * worse:+.2f} % after the stage; {out / 'RESULTS.html'}")


if __name__ == "__main__":
    main()
