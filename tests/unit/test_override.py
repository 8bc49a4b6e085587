"""Configurations survive JSON, and a misspelled or wrong value is an error that names it."""

import json
from dataclasses import dataclass, field
from typing import Literal

import pytest

from midfill.config.corpus.documents import FimConfig, ShardsConfig
from midfill.config.override import as_data, from_data, parsed, with_values
from midfill.errors import ConfigError


@dataclass(frozen=True, slots=True, kw_only=True)
class Inner:
    size: int = 3
    rate: float = 0.5
    kind: Literal["a", "b"] = "a"


@dataclass(frozen=True, slots=True, kw_only=True)
class Outer:
    name: str
    inner: Inner = field(default_factory=Inner)
    maybe: Inner | None = None
    items: tuple[Inner, ...] = ()
    shares: dict[str, float] = field(default_factory=dict)
    on: bool = True


FULL = Outer(name="x", maybe=Inner(size=4), items=(Inner(kind="b"), Inner()), shares={"u": 1.0})


@pytest.mark.parametrize("config", [FULL, Outer(name="y")])
def test_a_configuration_survives_json(config: Outer):
    assert from_data(Outer, json.loads(json.dumps(as_data(config)))) == config


def test_values_are_set_by_name():
    set_ = with_values(FULL, ["inner.size=9", "inner.kind=b", "name=12x", "maybe=null", "on=false"])
    assert set_.inner == Inner(size=9, kind="b")
    assert (set_.name, set_.maybe, set_.on) == ("12x", None, False)
    assert with_values(FULL, ['shares={"v": 2}']).shares == {"v": 2.0}
    assert FULL.inner == Inner()


@pytest.mark.parametrize(
    ("setting", "named"),
    [
        ("inner.sizes=3", "did you mean size"),
        ("iner.size=3", "did you mean inner"),
        ("inner.size=three", "a whole number"),
        ("inner.size=true", "a whole number"),
        ("inner.rate=x", "a number"),
        ("inner.rate=Infinity", "a number"),
        ("inner.rate=NaN", "a number"),
        ("inner.rate=1e999", "a finite number"),
        pytest.param(f"inner.rate={10**400}", "a finite number", id="inner.rate=10**400"),
        ("inner.size=-1e999", "a finite number"),
        ('shares={"u": NaN}', "an object"),
        pytest.param("shares=" + "[" * 100_000, "an object", id="shares=[[["),
        ("inner.kind=c", "one of a, b"),
        ("on=1", "true or false"),
        ("items=3", "a list"),
        ('items=[{"size": 1, "k": 2}]', "kind, rate, size"),
        ("inner.size", "there is no ="),
        ("name.more=1", "has no parts"),
    ],
)
def test_what_cannot_be_set_is_named(setting: str, named: str):
    with pytest.raises(ConfigError) as error:
        with_values(FULL, [setting])
    assert named in str(error.value)


@pytest.mark.parametrize("text", ["NaN", '{"a": [-Infinity]}', "[" * 100_000, "{", ""])
def test_what_is_no_json_is_refused(text: str):
    with pytest.raises(ValueError, match=r"JSON|nested|Expecting"):
        parsed(text)


@pytest.mark.parametrize("name", ["NaN", "Infinity", "12x"])
def test_a_text_may_look_like_no_number(name: str):
    assert with_values(FULL, [f"name={name}"]).name == name


def test_a_missing_field_is_named():
    with pytest.raises(ConfigError, match="not complete"):
        from_data(Outer, {})


def test_a_value_is_checked_as_when_it_is_made():
    with pytest.raises(ConfigError, match="between 0 and 1"):
        with_values(FimConfig(), ["rate=2"])
    with pytest.raises(ConfigError, match="sum to"):
        with_values(ShardsConfig(), ['mix={"code": 0.5}'])
