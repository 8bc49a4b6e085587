"""A life in a folder, stage by stage; what is done is not done again.

OUT/corpus/  OUT/snippets/    token shards
OUT/run/     OUT/longer/      the two runs; OUT/longer/final is the model
OUT/lifecycle.json            what each stage came to
"""

import json
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from midfill.corpus.whole import write_json
from midfill.lifecycle import stages
from midfill.lifecycle.plan import Plan, longer, pretraining
from midfill.train.build import FINAL, read_config
from midfill.train.report import write_report
from midfill.train.run import Watch

RECORD = "lifecycle.json"
Tell = Callable[[str], None]


def live(made: Plan, folder: Path, *, watch: Watch, tell: Tell) -> dict[str, Any]:
    """Take a life to its end; the record of all stages. Raises UserError."""
    folder.mkdir(parents=True, exist_ok=True)
    run, second = folder / "run", folder / "longer"
    tokenizer = folder / "corpus" / "tokenizer"

    def pretrain() -> stages.Result:
        config = pretraining(made, folder / "corpus", folder / "snippets")
        return stages.train(config, run, tokenizer, watch)

    def extend() -> stages.Result:
        config = longer(made, read_config(run), run / FINAL)
        return stages.train(config, second, tokenizer, watch)

    life = _Life(folder, tell)
    life.stage(
        "corpus", "a corpus with its tokenizer", partial(stages.build_corpus, made, folder, tell)
    )
    life.stage("pretrain", "pre-training with fill-in-the-middle", pretrain)
    life.stage("longer", "a longer context", extend)
    life.stage("recite", "what it knows by heart", partial(stages.recite, second / FINAL))
    life.stage("serve", "a served answer", partial(stages.serve, second / FINAL))
    for one in (run, second):
        write_report(one)
    return life.record


class _Life:
    """Runs stages that are not in the record yet, and keeps it."""

    def __init__(self, folder: Path, tell: Tell) -> None:
        self._path, self._tell = folder / RECORD, tell
        found = self._path.exists()
        self.record: dict[str, Any] = json.loads(self._path.read_text("utf-8")) if found else {}

    def stage(self, name: str, told: str, do: Callable[[], stages.Result]) -> None:
        if name in self.record:
            self._tell(f"{told}: done before")
            return
        self._tell(f"{told} ...")
        start = time.monotonic()
        result = do()
        self.record[name] = {**result, "seconds": round(time.monotonic() - start, 1)}
        write_json(self._path, self.record)
