"""A training run: data and its order, batch, optimiser, schedule, balance, what is kept and told.

Sources: DeepSeek-Coder §3, DeepSeek-V2 §2.2.3-2.2.4, §3.1, DeepSeek-Coder-V2 §3. A run is a pure
function of this configuration, but for schedules by the clock. Lengths and counts are tokens.
"""

from dataclasses import dataclass, field
from typing import Literal

from midfill.config.corpus.documents import FimConfig
from midfill.config.fields import INF, SHARE, check_fields
from midfill.config.model import ModelConfig
from midfill.errors import ConfigError

Shape = Literal["cosine", "multi_step", "stable_decay"]
Optimiser = Literal["adamw", "muon"]
Precision = Literal["float32", "bfloat16"]


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceConfig:
    """Token shards, and their share of the mix."""

    path: str  # a folder that `midfill corpus build` wrote
    weight: float = 1.0  # share of the sequences, relative to the other sources
    least_tokens: int = 0  # shorter documents are left out: long-context stages sample long ones

    def __post_init__(self) -> None:
        """Refuse what is no share."""
        check_fields(self, {"weight": (1e-9, INF), "least_tokens": (0, INF)})


@dataclass(frozen=True, slots=True, kw_only=True)
class DataConfig:
    """From shards to sequences."""

    sources: tuple[SourceConfig, ...] = ()
    length: int = 4096  # of a sequence
    fim: FimConfig | None = None  # None: as the shards are; where they have no holes, rate 0.5
    mask_documents: bool = True  # tokens see their own document only
    block_tokens: int = 1 << 20  # documents that are rearranged and packed together, about
    workers: int = 1  # processes that prepare blocks ahead; 0: the training process itself

    def __post_init__(self) -> None:
        """Refuse sizes that cannot be."""
        check_fields(self, {"length": (2, INF), "block_tokens": (1, INF), "workers": (0, 256)})


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchConfig:
    """Sequences of one optimiser step, over all processes."""

    sequences: int = 64
    first: int | None = None  # at the start of a ramp (DeepSeek-V2 §3.1.2); None: no ramp
    ramp_tokens: int = 0  # over which it grows
    micro: int = 8  # sequences in one forward pass of one process; bounds memory

    def __post_init__(self) -> None:
        """Refuse batches without sequences."""
        check_fields(self, {"ramp_tokens": (0, INF), "first": (1, self.sequences)}, (1, INF))


@dataclass(frozen=True, slots=True, kw_only=True)
class OptimiserConfig:
    """AdamW as in the papers, or Muon for matrices with AdamW for the rest."""

    kind: Optimiser = "adamw"
    lr: float = 4.2e-4  # peak; DeepSeek-V2-Lite
    betas: tuple[float, float] = (0.9, 0.95)
    eps: float = 1e-8
    weight_decay: float = 0.1  # of matrices; norms and biases have none
    clip: float = 1.0  # norm of all gradients together; 0: none
    muon_lr: float = 0.02  # of matrices, where kind is muon
    muon_momentum: float = 0.95

    def __post_init__(self) -> None:
        """Refuse rates that cannot be."""
        check_fields(self, {"muon_momentum": SHARE}, (0, INF))
        if any(not 0 <= beta < 1 for beta in self.betas):
            raise ConfigError(
                f"betas are {self.betas}",
                why="each must be at least 0 and below 1",
                fix="the papers have 0.9 and 0.95",
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class ScheduleConfig:
    """The learning rate over the run, as a share of its peak.

    All begin with a linear warm-up. "cosine" falls to `final`; "multi_step" is multiplied by
    `factor` at each of `at`, shares of the tokens; "stable_decay" is constant, then falls linearly
    to `final` over the last `decay` of the run. With `minutes` the run ends by the clock, and the
    fall is laid into the time that is left.
    """

    shape: Shape = "cosine"
    warmup_steps: int = 2000
    final: float = 0.1
    at: tuple[float, ...] = (0.6, 0.9)  # DeepSeek-V2 §3.1.2; Lite: 0.8, 0.9
    factor: float = 0.316
    decay: float = 0.2
    minutes: float | None = None  # of training, without building and saving

    def __post_init__(self) -> None:
        """Refuse shares that are none."""
        check_fields(self, {"warmup_steps": (0, INF), "minutes": (1e-3, INF)}, SHARE)
        if list(self.at) != sorted(self.at) or any(not 0 < share < 1 for share in self.at):
            raise ConfigError(
                f"at is {self.at}",
                why="it must be growing shares of the run, each between 0 and 1",
                fix="DeepSeek-V2 has 0.6 and 0.9",
            )
        if self.minutes is not None and self.shape != "stable_decay":
            raise ConfigError(
                f"a {self.shape} schedule cannot end by the clock",
                why="how fast it falls depends on a number of steps that nobody knows yet",
                fix="set schedule.shape to stable_decay, or leave schedule.minutes out",
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class BalanceConfig:
    """How load is spread over experts and devices (DeepSeek-V2 §2.2.2-2.2.4)."""

    expert: float | None = None  # alpha 1; None: what the model's configuration says
    device: float = 0.0  # alpha 2
    communication: float = 0.0  # alpha 3
    bias_rate: float = 0.0  # step of an auxiliary-loss-free bias (DeepSeek-V3 §2.1.2); 0: none
    capacity: float | None = None  # tokens a device takes, as a multiple of its share; None: all
    exempt: float = 0.1  # share of sequences none of whose tokens is dropped

    def __post_init__(self) -> None:
        """Refuse weights that are none."""
        check_fields(self, {"exempt": SHARE}, (0, INF))


@dataclass(frozen=True, slots=True, kw_only=True)
class KeepConfig:
    """Checkpoints to resume from, and how often the run is looked at."""

    every_steps: int = 500
    every_minutes: float = 30.0  # whichever comes first
    last: int = 2  # checkpoints that stay
    evaluate_every: int = 250  # steps; loss on held-out sequences
    evaluate_sequences: int = 64
    sample_every: int = 500  # steps; a completion and an infilling are logged

    def __post_init__(self) -> None:
        """Refuse counts that cannot be."""
        check_fields(self, {"every_minutes": (1e-3, INF), "evaluate_sequences": (0, INF)}, (1, INF))


@dataclass(frozen=True, slots=True, kw_only=True)
class GuardConfig:
    """When a run stops by itself, or leaves a step out."""

    spike: float = (
        0.0  # a step whose gradient norm is so many times the running mean is left out; 0: none
    )
    most_left_out: int = 20  # steps left out in a row before the run ends
    window: int = 100  # steps of the running mean

    def __post_init__(self) -> None:
        """Refuse counts that cannot be."""
        check_fields(self, {"spike": (0, INF), "window": (2, INF)}, (1, INF))


@dataclass(frozen=True, slots=True, kw_only=True)
class ParallelConfig:
    """What the processes of a run hold, where there are several; a single one holds all."""

    experts: int = 1  # processes that share the experts of a layer (expert parallelism)
    shard: bool = True  # weights and moments are cut (FSDP); false: each process has a copy

    def __post_init__(self) -> None:
        """Refuse counts that cannot be."""
        check_fields(self, {}, (1, INF))


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainConfig:
    """One run of `midfill train pretrain` or `long-context`."""

    model: ModelConfig
    start: str | None = None  # a checkpoint to continue; None: new weights
    init_std: float = 0.006  # of new weights (DeepSeek-V2 §3.1.2)
    tokens: int = 1 << 30  # of the whole run
    data: DataConfig = field(default_factory=DataConfig)
    batch: BatchConfig = field(default_factory=BatchConfig)
    optimiser: OptimiserConfig = field(default_factory=OptimiserConfig)
    schedule: ScheduleConfig = field(default_factory=ScheduleConfig)
    balance: BalanceConfig = field(default_factory=BalanceConfig)
    keep: KeepConfig = field(default_factory=KeepConfig)
    guard: GuardConfig = field(default_factory=GuardConfig)
    parallel: ParallelConfig = field(default_factory=ParallelConfig)
    precision: Precision = "bfloat16"  # of the products; weights and sums stay float32
    checkpointing: bool = False  # activations computed again in the backward pass
    compile: bool = False  # with torch.compile
    seed: int = 0

    def __post_init__(self) -> None:
        """Refuse what cannot be trained."""
        limits = {"tokens": (1, INF), "init_std": (0, INF), "seed": (0, 2**63 - 1)}
        check_fields(self, limits)
        if self.data.length > self.model.context:
            raise ConfigError(
                f"data.length is {self.data.length}",
                why=f"the model's context is {self.model.context}",
                fix="shorten it, or extend the model with midfill train long-context",
            )
        experts = self.model.moe.experts if self.model.moe is not None else 1
        if experts % self.parallel.experts:
            raise ConfigError(
                f"parallel.experts is {self.parallel.experts}",
                why=f"layers of {experts} experts cannot be shared evenly by so many processes",
                fix="set it to a divisor of the number of experts",
            )
