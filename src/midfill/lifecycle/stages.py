"""The stages of a life, each from what the one before left in the folder."""

import json
import os
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from midfill.config.train import TrainConfig
from midfill.corpus.decontamination.benchmarks import places
from midfill.corpus.pipeline.build import build
from midfill.corpus.pipeline.local import Local
from midfill.corpus.shards import FORMAT, INDEX, digest, dtype_for, write_shard
from midfill.corpus.whole import write_sealed
from midfill.engine.load import load
from midfill.errors import ResourceError
from midfill.hub.rows import data_folder
from midfill.lifecycle.plan import Plan
from midfill.lifecycle.snippets import SNIPPETS
from midfill.tokenizer.tokenizer import Tokenizer
from midfill.train.build import RUN, fitted, new_run, open_run, read_config, write_final
from midfill.train.log import read
from midfill.train.parallel.ranks import Ranks
from midfill.train.run import Watch

Result = dict[str, Any]
ANSWER = 24  # tokens asked of the server
STARTED = 120.0  # seconds that a server may take to start
PROMPT = "def "


def build_corpus(made: Plan, folder: Path, tell: Callable[[str], None]) -> Result:
    """Shards of the sources, and of the snippets with the same tokenizer."""
    config, benchmarks = made.corpus, data_folder()
    if places(benchmarks)[1]:  # a demonstration does not wait for 26 downloads
        tell("  not every benchmark is on this disk: none is looked for in the corpus")
        config = replace(config, decontamination=None)
    index = build(config, folder / "corpus", Local(), benchmarks=benchmarks, tell=tell)
    tokenizer = Tokenizer.from_folder(folder / "corpus" / "tokenizer")
    write_snippets(folder / "snippets", tokenizer)
    return {
        "tokens": index["tokens"],
        "documents": index["documents"],
        "vocabulary": tokenizer.rows,
    }


def write_snippets(folder: Path, tokenizer: Tokenizer) -> None:
    """The snippets as token shards, each a document."""
    bos, eos = tokenizer.bos_id, tokenizer.eos_id
    documents = [np.array([bos, *tokenizer.encode(text), eos], np.uint32) for text in SNIPPETS]
    shard = write_shard(folder, "train-00000", "train", dtype_for(tokenizer.rows), documents)
    row = {name: getattr(shard, name) for name in shard.__slots__}
    content = {"format": FORMAT, "vocabulary": tokenizer.rows, "shards": [row]}
    write_sealed(folder / INDEX, content | {"digest": digest([shard])})


def train(config: TrainConfig, folder: Path, tokenizer: Path, watch: Watch) -> Result:
    """One run to its end; goes on where it was ended. What it reached beside counting n-grams."""
    ranks = Ranks()
    if (folder / RUN).exists():
        config = read_config(folder)
    else:
        vocabulary = Tokenizer.from_folder(tokenizer)
        config = fitted(config, vocabulary)
        new_run(config, folder, vocabulary, ranks)
    run = open_run(config, folder, ranks, tracker=None, watch=watch)
    with closing(run.log):
        ended = run.train()
    if ended.stopped:
        raise KeyboardInterrupt
    write_final(run)
    held_out = [line for line in read(folder) if line["kind"] == "evaluation"][-1]
    baseline = json.loads((folder / RUN).read_text("utf-8"))["baseline"]
    return {
        "steps": ended.steps,
        "loss": held_out["loss"],
        "bits_per_byte": held_out["bits_per_byte"],
        "baseline": baseline,
        "beats_baseline": baseline is not None and held_out["loss"] < baseline["loss"],
    }


def recite(model: Path) -> Result:
    """How many snippets the model writes exactly: from their first line on, and into their middle."""
    coder = load(model, dtype="float32", device="cpu")
    continued = filled = 0
    for snippet in SNIPPETS:
        lines = snippet.splitlines(keepends=True)
        rest = "".join(lines[1:])
        written = coder.complete(lines[0], max_tokens=2 * len(rest)).text
        continued += written == rest
        first = max(1, len(lines) // 3)
        before, middle, behind = lines[:first], lines[first : first + 1], lines[first + 1 :]
        answer = coder.fill("".join(before), "".join(behind), max_tokens=2 * len(middle[0]))
        filled += answer.text == middle[0]
    return {"snippets": len(SNIPPETS), "continued": continued, "filled": filled}


def serve(model: Path) -> Result:
    """Start `midfill serve` on the model, ask it for a completion and an infilling, end it."""
    command = [sys.executable, "-m", "midfill.cli", "serve", str(model), "--port", "0", "--json"]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env={**os.environ}
    ) as server:
        try:
            assert server.stdout is not None
            line = server.stdout.readline()
            if not line:
                raise _no_server(server)
            url = json.loads(line)["ready"].split()[-1]  # "NAME is ready at URL"
            completed = _asked(url, {"prompt": PROMPT})
            middle = _asked(url, {"prompt": "def add(a, b):\n", "suffix": "\n    return total\n"})
        finally:
            server.send_signal(signal.SIGINT)
    return {"prompt": PROMPT, "answer": completed, "infilling": middle}


def _asked(url: str, body: Mapping[str, Any]) -> str:
    data = json.dumps({"max_tokens": ANSWER, "temperature": 0, **body}).encode()
    headers = {"Content-Type": "application/json"}
    request = urllib.request.Request(f"{url}/v1/completions", data, headers)
    with urllib.request.urlopen(request, timeout=STARTED) as reply:
        return json.loads(reply.read())["choices"][0]["text"]


def _no_server(server: "subprocess.Popen[bytes]") -> ResourceError:
    assert server.stderr is not None
    told = server.stderr.read().decode(errors="replace").strip().splitlines()
    return ResourceError(
        "the trained model could not be served",
        why=told[0] if told else "midfill serve ended without a word",
        fix="midfill serve RUN/final shows all it says",
    )
