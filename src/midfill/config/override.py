"""Configurations as plain data: to JSON and back, and single values set by name.

An unknown name or a value of the wrong type is a ConfigError that names the nearest known name:
a misspelled option must never become a default.
"""

import dataclasses
import difflib
import json
import math
import sys
import types
import typing
from collections.abc import Mapping, Sequence
from typing import Any, Literal, TypeVar, Union, cast, get_args, get_origin, get_type_hints

from midfill.config.fields import refusal
from midfill.errors import ConfigError

Config = TypeVar("Config")


def as_data(config: Any) -> Any:
    """The configuration as what JSON knows: objects, lists, numbers, texts."""
    if dataclasses.is_dataclass(config) and not isinstance(config, type):
        return {f.name: as_data(getattr(config, f.name)) for f in dataclasses.fields(config)}
    if isinstance(config, Mapping):
        return {str(key): as_data(value) for key, value in config.items()}
    if isinstance(config, list | tuple):
        return [as_data(value) for value in config]
    if isinstance(config, frozenset):
        return sorted(as_data(value) for value in config)
    return config


def from_data(kind: type[Config], data: Any, where: str = "") -> Config:
    """The configuration that `as_data` wrote, or that a person did; missing names have defaults.

    Raises ConfigError.
    """
    if not isinstance(data, Mapping):
        raise _wrong(where, data, f"an object with the fields of {kind.__name__}")
    hints = get_type_hints(kind)
    known = {field.name for field in dataclasses.fields(cast(Any, kind))}
    for name in data:
        if name not in known:
            raise _unknown(_under(where, str(name)), str(name), known)
    values = {name: _convert(hints[name], data[name], _under(where, name)) for name in data}
    try:
        return kind(**values)
    except TypeError as error:  # a field without a default is missing
        raise ConfigError(
            f"{where or kind.__name__} is not complete", why=str(error), fix="give every such field"
        ) from error


def parsed(text: str) -> Any:
    """What JSON text says. Raises ValueError, also for NaN, Infinity and what nests too deep."""

    def refuse(constant: str) -> Any:
        raise ValueError(f"{constant} is no number of JSON")

    try:
        return json.loads(text, parse_constant=refuse)
    except RecursionError as error:
        raise ValueError("it is nested too deep") from error


def with_values(config: Config, settings: Sequence[str]) -> Config:
    """The configuration with each `a.b=value` set; values are JSON, or else taken as text.

    Raises ConfigError.
    """
    for setting in settings:
        name, sign, text = setting.partition("=")
        if not sign:
            raise ConfigError(
                f"{setting!r} sets nothing", why="there is no =", fix="--set a.b=value"
            )
        try:
            value = parsed(text)
        except ValueError:
            value = text
        config = _with(config, name.strip().split("."), value, name.strip())
    return config


def _with(config: Any, path: Sequence[str], value: Any, where: str) -> Any:
    if not dataclasses.is_dataclass(config):
        raise ConfigError(
            f"there is no setting {where}",
            why=f"{'.'.join(where.split('.')[: -len(path)])} has no parts",
            fix="midfill describe shows the parts of a recipe",
        )
    known = {field.name for field in dataclasses.fields(config)}
    name, *rest = path
    if name not in known:
        raise _unknown(where, name, known)
    hint = get_type_hints(type(config))[name]
    if rest:
        value = _with(_part(getattr(config, name), hint), rest, value, where)
    else:
        value = _convert(hint, value, where)
    return dataclasses.replace(cast(Any, config), **{name: value})


def _part(value: Any, hint: Any) -> Any:
    """A part of a configuration; of one that may be left out, and was, its defaults."""
    kinds = [kind for kind in get_args(hint) if dataclasses.is_dataclass(kind)]
    return cast(Any, kinds[0])() if value is None and len(kinds) == 1 else value


def _convert(hint: Any, value: Any, where: str) -> Any:
    """`value` as the type that the field states."""
    origin, inner = get_origin(hint), get_args(hint)
    if dataclasses.is_dataclass(hint):
        return value if isinstance(value, cast(type, hint)) else from_data(hint, value, where)  # type: ignore[arg-type]
    if origin in (Union, types.UnionType):
        return _one_of(inner, value, where)
    if origin is Literal:
        if value not in inner:
            raise _wrong(where, value, f"one of {', '.join(map(str, inner))}")
        return value
    if origin in (tuple, frozenset):
        if not isinstance(value, list | tuple | frozenset):
            raise _wrong(where, value, "a list")
        if origin is tuple and inner[-1] is not Ellipsis and len(value) != len(inner):
            raise _wrong(where, value, f"a list of {len(inner)}")
        return origin(_convert(inner[0], one, f"{where}[{i}]") for i, one in enumerate(value))
    if origin is not None and issubclass(origin, Mapping):
        if not isinstance(value, Mapping):
            raise _wrong(where, value, "an object")
        return {
            _convert(inner[0], key, where): _convert(inner[1], one, _under(where, str(key)))
            for key, one in value.items()
        }
    return _plain(hint, value, where)


def _one_of(hints: Sequence[Any], value: Any, where: str) -> Any:
    """`value` as the first of several types that takes it."""
    if value is None and type(None) in hints:
        return None
    problem: ConfigError | None = None
    for hint in hints:
        if hint is type(None):
            continue
        try:
            return _convert(hint, value, where)
        except ConfigError as error:
            problem = problem or error
    raise problem or _wrong(where, value, "nothing")


def _plain(hint: Any, value: Any, where: str) -> Any:
    if hint is Any:
        return value
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        value = float(value) if abs(value) < sys.float_info.max else math.inf
    if isinstance(value, float) and not math.isfinite(value):  # 1e999
        raise _wrong(where, value, "a finite number")
    if isinstance(hint, type) and isinstance(value, hint):
        if hint is int and isinstance(value, bool):
            raise _wrong(where, value, "a whole number")
        return value
    raise _wrong(where, value, _NAMES.get(hint, str(getattr(hint, "__name__", hint))))


_NAMES: Mapping[Any, str] = {
    int: "a whole number",
    float: "a number",
    bool: "true or false",
    str: "a text",
}


def _under(where: str, name: str) -> str:
    return f"{where}.{name}" if where else name


def _wrong(where: str, value: Any, wanted: str) -> ConfigError:
    return refusal(where or "the configuration", value, wanted)


def _unknown(where: str, name: str, known: typing.Collection[str]) -> ConfigError:
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    return ConfigError(
        f"there is no setting {where}",
        why=f"known there are {', '.join(sorted(known))}",
        fix=f"did you mean {near[0]}?" if near else "see the names above",
    )
