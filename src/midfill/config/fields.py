"""What the fields of a configuration may hold: one check, and one wording where it fails.

The type of a field says most: int takes whole numbers, float any finite number (True and False are
none), Literal its words, and `| None` also None.
"""

from collections.abc import Collection, Mapping
from functools import cache
from numbers import Integral, Real
from typing import Any, Literal, get_args, get_origin, get_type_hints

from midfill.errors import ConfigError

INF = float("inf")
Limits = tuple[float, float]  # the least and the greatest value
ANY: Limits = (-INF, INF)
SHARE: Limits = (0, 1)


def check_fields(
    config: Any, limits: Mapping[str, Limits] | None = None, others: Limits = ANY
) -> None:
    """Raise ConfigError for the first number or choice of a dataclass that it must not hold.

    `limits` are those of numbers, by field; `others` those of the numbers that it does not name.
    """
    limits = limits or {}
    kinds = _kinds(type(config))
    assert limits.keys() <= kinds.keys(), "limits of fields that are no numbers"
    for name, (kind, optional) in kinds.items():
        value = getattr(config, name)
        if value is None and optional:
            continue
        if kind in (int, float):
            check_number(name, value, *limits.get(name, others), whole=kind is int)
        else:
            check_choice(name, value, get_args(kind))


def check_number(name: str, value: object, low: float, high: float, *, whole: bool = False) -> None:
    """Raise ConfigError where a value is no finite number from `low` to `high`."""
    if not is_number(value, low, high, whole=whole):
        raise refusal(name, value, wanted(low, high, whole=whole))


def check_choice(name: str, value: object, known: Collection[object]) -> None:
    """Raise ConfigError where a value is none of the known ones."""
    if value not in known:
        raise refusal(name, value, f"one of {', '.join(map(str, known))}")


def refusal(name: str, value: object, must_be: str) -> ConfigError:
    """The error for a value that is not what it must be."""
    return ConfigError(
        f"{name} is {value!r}",
        why=f"it must be {must_be}",
        fix=f"give {must_be}, or leave it out",
    )


def is_number(value: object, low: float, high: float, *, whole: bool = False) -> bool:
    """Whether a value is a finite number from `low` to `high`, both included; bool is none."""
    if isinstance(value, bool) or not isinstance(value, Integral if whole else Real):
        return False
    number: Any = value
    return low <= number <= high and -INF < number < INF  # NaN fails every comparison


def wanted(low: float, high: float, *, whole: bool = False) -> str:
    """What `is_number` asks for, in words."""
    kind = "a whole number" if whole else "a finite number"
    if low > -INF and high < INF:
        return f"{kind} between {low} and {high}"
    bounds = [f"at least {low}"] * (low > -INF) + [f"at most {high}"] * (high < INF)
    return ", ".join([kind, *bounds])


@cache
def _kinds(config: type) -> dict[str, tuple[Any, bool]]:
    """Of each field that holds a number or a choice: its type without None, whether None may be."""
    kinds = {}
    for name, hint in get_type_hints(config).items():
        union = type(None) in get_args(hint)
        types = [one for one in get_args(hint) if one is not type(None)] if union else [hint]
        if len(types) == 1 and (types[0] in (int, float) or get_origin(types[0]) is Literal):
            kinds[name] = (types[0], union)
    return kinds
