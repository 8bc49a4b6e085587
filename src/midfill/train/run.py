"""A training run in a folder: built from its configuration, resumed from what is there.

RUN/run.json         configuration, versions, seed, fingerprint of the data: all that --resume needs
RUN/tokenizer/       the tokenizer of the data
RUN/log.jsonl        a line for each step, evaluation and sample
RUN/checkpoints/     to resume from
RUN/final/           the result, a Hugging Face folder; written last
"""

import math
import signal
import time
from collections import deque
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from types import FrameType
from typing import Any

import torch

from midfill.config.train import TrainConfig
from midfill.errors import ConfigError, TrainError
from midfill.model.transformer import Transformer
from midfill.tokenizer.tokenizer import Tokenizer
from midfill.train import schedule
from midfill.train.balance import Balance
from midfill.train.checkpoint import Checkpoints
from midfill.train.data import Batch, Data
from midfill.train.log import Log
from midfill.train.objective import prepare
from midfill.train.optimiser import Optimisers
from midfill.train.parallel.ranks import Ranks
from midfill.train.parallel.spread import spread
from midfill.train.samples import samples
from midfill.train.schedule import Fall
from midfill.train.step import Figures, Stepper, evaluate

CHECKPOINTS = "checkpoints"
PACES, FEWEST_PACES = 32, 4  # steps from which the speed of a run by the clock is told
Watch = Callable[[Mapping[str, Any]], None]  # gets every event of the log


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """How a run ended."""

    step: int
    steps: int
    stopped: bool  # by a signal, before its end
    loss: float  # of the last step, nats for each target


class Run:
    """One run; `train` takes it to its end, or to a signal."""

    def __init__(
        self,
        config: TrainConfig,
        folder: Path,
        network: Transformer,
        tokenizer: Tokenizer,
        data: Data,
        log: Log,
        ranks: Ranks,
        *,
        flops: float,
        peak: float,
        watch: Watch,
    ) -> None:
        """`flops` for each token; `peak`: what the machines of all processes could do a second."""
        if data.sequences_at(0) < ranks.world:
            raise ConfigError(
                f"{data.sequences_at(0)} sequences cannot be shared by {ranks.world} processes",
                why="each needs one in every step",
                fix="set batch.sequences and batch.first higher, or start fewer processes",
            )
        self.config, self.folder, self.network, self.data = config, folder, network, data
        self.tokenizer, self.ranks, self.log, self._watch = tokenizer, ranks, log, watch
        self._flops, self._peak = flops, peak
        bytes_ = [len(tokenizer.token_bytes(i)) for i in range(tokenizer.rows)]
        padding = [0] * (config.model.vocab - len(bytes_))
        self._token_bytes = torch.tensor(bytes_ + padding, device=ranks.device)
        self._objective = prepare(network, config)
        spread(self._objective, config.parallel, ranks)
        self._optimisers = Optimisers(network, config.optimiser)
        balance = Balance(network, config.model.moe, config.balance, config.seed)
        self._stepper = Stepper(
            config, self._objective, self._optimisers, balance, self._token_bytes, ranks
        )
        self._checkpoints = Checkpoints(folder / CHECKPOINTS, config.keep.last, ranks)
        self._steps = data.steps(config.tokens)
        self._fall: Fall | None = None
        self._seconds = 0.0  # of training, over all sittings
        self._paces: deque[float] = deque(maxlen=PACES)  # seconds from step to step, the last ones
        self._held_out = data.held_out(config.keep.evaluate_sequences, config.data.length)

    @property
    def steps(self) -> int:
        """Steps of the whole run, as far as is known."""
        return self._fall.end if self._fall is not None else self._steps

    def resume(self) -> int:
        """Go back to the last checkpoint; return the step to take next."""
        found = self._checkpoints.steps()
        if not found:
            self._forget(0)
            return 0
        state = self._checkpoints.load(found[-1], self.network, self._optimisers)
        if state["fingerprint"] != self.data.fingerprint:
            raise TrainError(
                f"the data of {self.folder} changed since step {found[-1]}",
                why="its shards, the tokenizer or the data's configuration are others",
                fix="bring them back, or begin a run of its own from RUN/final or a checkpoint",
            )
        self._fall = None if state["fall"] is None else Fall(**state["fall"])
        self._seconds = state["seconds"]
        self._stepper.guard.restore(state["guard"])
        self._forget(found[-1])
        self._note(found[-1], f"resumed on {self.ranks.world} processes")
        return found[-1]

    def train(self) -> Ended:
        """Take all steps that are left, and keep the last."""
        step = self.resume()
        figures: Figures | None = None
        before, begun = self._seconds, time.perf_counter()
        saved = begun
        with _signals() as stop, closing(self._batches(step)) as batches:
            while not self._over(step) and not self._asked(stop):
                start = time.perf_counter()
                share = self._share(step)
                figures = self._step(step, next(batches), share)
                step += 1
                now = time.perf_counter()
                if self._seconds > before:  # not the first step: it waited for data
                    self._paces.append(before + now - begun - self._seconds)
                self._seconds = before + now - begun
                self._tell(step, figures, share, now - start)
                self._look(step)
                if self._due(step, now - saved):
                    self._save(step)
                    saved = time.perf_counter()
        if step not in self._checkpoints.steps():
            self._save(step)
        loss = math.nan if figures is None else figures.loss
        return Ended(step=step, steps=self.steps, stopped=not self._over(step), loss=loss)

    def _batches(self, step: int) -> Generator[Batch, None, None]:
        with closing(self.data.prefetch(step, self.ranks.rank, self.ranks.world)) as steps:
            for _, batch in steps:
                yield batch

    def _asked(self, stop: Sequence[int]) -> bool:
        """Whether any process was asked to end: then all do, behind the same step."""
        return bool(self.ranks.sum(torch.tensor(len(stop), device=self.ranks.device)))

    def _over(self, step: int) -> bool:
        by_clock = self.config.schedule.minutes is not None and self._fall is None
        return not by_clock and step >= self.steps

    def _step(self, step: int, batch: Batch, share: float) -> Figures:
        data, ranks = self.data, self.ranks
        before, sequences = data.sequences_before(step), data.sequences_at(step)
        first = before + sequences * ranks.rank // ranks.world
        return self._stepper.step(batch, first, sequences, share)

    def _share(self, step: int) -> float:
        """The share of the peak rate; by the clock, decides when the fall begins."""
        config = self.config.schedule
        if config.minutes is not None and self._fall is None and step:
            used = self.ranks.agree(self._seconds)
            pace = self.ranks.agree(sum(self._paces) / max(len(self._paces), 1))
            left = 60 * config.minutes - used
            if len(self._paces) >= FEWEST_PACES or left <= 0:
                self._fall = schedule.decide_fall(
                    config, step, used=used, left=left, step_seconds=pace or used / step
                )
        done = self.data.sequences_before(step) * self.config.data.length / self.config.tokens
        return schedule.share(config, step, self._steps, done=done, fall=self._fall)

    # ----------------------------------------------------------------------------- what is told

    def _tell(self, step: int, figures: Figures, share: float, seconds: float) -> None:
        tokens = self.data.sequences_at(step - 1) * self.config.data.length
        speed = tokens / seconds
        self._write(
            "step",
            step,
            {
                "tokens": self.data.sequences_before(step) * self.config.data.length,
                "loss": figures.loss,
                "bits_per_byte": figures.bits_per_byte,
                "lr": share * self.config.optimiser.lr,
                "share": share,
                "grad_norm": figures.grad_norm,
                "left_out": figures.left_out,
                "seconds": self._seconds,
                "tokens_per_second": speed,
                "mfu": speed * self._flops / self._peak,
                "expert_loss": figures.expert_loss,
                "layers": {
                    str(layer): {
                        "max": load.largest,
                        "min": load.smallest,
                        "entropy": load.entropy,
                        "dropped": load.dropped,
                    }
                    for layer, load in figures.layers.items()
                },
            },
        )

    def _look(self, step: int) -> None:
        """Held-out loss and samples, where they are due."""
        keep, last = self.config.keep, self._over(step)
        if self._held_out and (last or step % keep.evaluate_every == 0):
            loss, bits = evaluate(
                self.config, self._objective, self._held_out, self._token_bytes, self.ranks
            )
            self._write("evaluation", step, {"loss": loss, "bits_per_byte": bits})
        if last or step % keep.sample_every == 0:
            for one in self._samples():
                self._write("sample", step, one)

    def _samples(self) -> Iterator[dict[str, Any]]:
        """What the network writes now: only where one process holds all of it."""
        if self.ranks.world == 1 and self._held_out:
            yield from samples(self.network, self.tokenizer, self._held_out[0])

    def _forget(self, step: int) -> None:
        """Take out of the log what is behind `step`."""
        if self.ranks.first:
            self.log.resume(step)

    def _note(self, step: int, text: str) -> None:
        self._write("note", step, {"text": text})

    def _write(self, kind: str, step: int, values: Mapping[str, Any]) -> None:
        if self.ranks.first:
            self.log.write(kind, step, values)
            self._watch({"kind": kind, "step": step, "steps": self.steps, **values})

    # ------------------------------------------------------------------------------ what is kept

    def _due(self, step: int, seconds: float) -> bool:
        keep = self.config.keep
        by_clock = self.ranks.agree(seconds) >= 60 * keep.every_minutes
        return by_clock or step % keep.every_steps == 0

    def _save(self, step: int) -> None:
        state = {
            "step": step,
            "fingerprint": self.data.fingerprint,
            "fall": None if self._fall is None else asdict(self._fall),
            "seconds": self._seconds,
            "guard": self._stepper.guard.state(),
        }
        self._checkpoints.save(step, self.network, self._optimisers, state)


@contextmanager
def _signals() -> Iterator[list[int]]:
    """Inside, an interrupt or a request to end is noted, and the step under way is finished."""
    seen: list[int] = []

    def note(number: int, frame: FrameType | None) -> None:
        seen.append(number)
        if len(seen) > 1:  # asked twice: at once
            raise KeyboardInterrupt

    before = {number: signal.signal(number, note) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield seen
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
