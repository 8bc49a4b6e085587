"""What fields of a configuration may hold: numbers, choices, None, and the words of the refusal."""

from dataclasses import dataclass, fields
from typing import Literal

import numpy as np
import pytest

from midfill.config.corpus.build import CorpusConfig, SourceConfig
from midfill.config.corpus.decontamination import Decontamination
from midfill.config.corpus.documents import (
    DocumentsConfig,
    FimConfig,
    ShardsConfig,
    TokenizerConfig,
)
from midfill.config.corpus.duplicates import Duplicates
from midfill.config.corpus.quality import Bounds, ClassifierConfig, QualityConfig, SyntaxConfig
from midfill.config.corpus.recall import RecallConfig
from midfill.config.corpus.rules import FilterConfig, GeneratedConfig
from midfill.config.corpus.sources import Fetching, ReadLimits
from midfill.config.fields import INF, SHARE, check_fields
from midfill.config.server import ServerConfig
from midfill.errors import ConfigError


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    count: int = 1
    share: float = 0.5
    most: float | None = None
    kind: Literal["a", "b"] = "a"
    on: bool = True
    name: str = "x"

    def __post_init__(self) -> None:
        check_fields(self, {"count": (1, 10), "share": SHARE}, others=(0, INF))


@pytest.mark.parametrize(
    "right",
    [
        {"count": 10},
        {"count": np.int64(3)},
        {"share": 0},
        {"share": 1},
        {"most": 10**400},
        {"most": None},
        {"kind": "b"},
    ],
)
def test_what_is_within_the_limits_passes(right):
    Settings(**right)


@pytest.mark.parametrize(
    ("wrong", "must_be"),
    [
        ({"count": 0}, "a whole number between 1 and 10"),
        ({"count": 11}, "a whole number between 1 and 10"),
        ({"count": 2.0}, "a whole number between 1 and 10"),
        ({"count": True}, "a whole number between 1 and 10"),
        ({"count": None}, "a whole number between 1 and 10"),
        ({"share": float("nan")}, "a finite number between 0 and 1"),
        ({"share": "0.5"}, "a finite number between 0 and 1"),
        ({"most": INF}, "a finite number, at least 0"),
        ({"most": -1}, "a finite number, at least 0"),
        ({"kind": "c"}, "one of a, b"),
        ({"kind": None}, "one of a, b"),
    ],
)
def test_what_is_not_is_named_with_what_it_must_be(wrong, must_be):
    ((name, value),) = wrong.items()
    with pytest.raises(ConfigError) as caught:
        Settings(**wrong)
    assert caught.value.what == f"{name} is {value!r}"
    assert caught.value.why == f"it must be {must_be}"
    assert caught.value.fix == f"give {must_be}, or leave it out"


CONFIGS = (
    Bounds, ClassifierConfig, CorpusConfig, Decontamination, DocumentsConfig, Duplicates, Fetching,
    FilterConfig, FimConfig, GeneratedConfig, QualityConfig, ReadLimits, RecallConfig, ServerConfig,
    ShardsConfig, SyntaxConfig, TokenizerConfig,
)  # fmt: skip
NUMBERS = [
    (config, field.name)
    for config in CONFIGS
    for field in fields(config)
    if field.type in (int, float, int | None, float | None)
]


@pytest.mark.parametrize("wrong", [float("nan"), INF, True, "1"])
@pytest.mark.parametrize(("config", "name"), NUMBERS, ids=lambda one: getattr(one, "__name__", one))
def test_no_number_of_any_stage_may_be_something_else(config, name, wrong):
    with pytest.raises(ConfigError, match=f"^{name} is "):
        config(**{name: wrong})


def test_there_are_such_numbers():
    assert len(NUMBERS) > 80


def test_a_choice_of_every_stage_is_checked():
    with pytest.raises(ConfigError, match=r"^kind is 'disk'"):
        SourceConfig(kind="disk", path="x")  # pyright: ignore[reportArgumentType]
    with pytest.raises(ConfigError, match=r"^domain is 'page'"):
        RecallConfig(domain="page")  # pyright: ignore[reportArgumentType]
    with pytest.raises(ConfigError, match=r"^unit is 'lines'"):
        QualityConfig(unit="lines")  # pyright: ignore[reportArgumentType]
