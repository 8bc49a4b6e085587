"""What an answer may look like: any JSON object, JSON of a schema, a regular expression, a grammar.

Checked here as far as that goes without a vocabulary; `engine/grammar.py` compiles it.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, NoReturn, get_args

from midfill.errors import RequestError

Kind = Literal["json", "json_schema", "regex", "lark"]

LONGEST = 64 * 1024  # bytes of a schema, an expression or a grammar; a limit of ours
DEEPEST = 64  # brackets inside each other in a schema
FIELDS = {"json": "response_format", "json_schema": "response_format", "lark": "grammar"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Constraint:
    """A form that an answer must have, to the last character. Bad values raise RequestError."""

    kind: Kind
    text: str = ""  # the schema as JSON, the expression, or the grammar; nothing for json
    blanks: bool = True  # JSON: spaces and line ends between its parts are allowed
    param: str = field(default="", compare=False)  # the request's field, for errors; "": the usual

    def __post_init__(self) -> None:
        """Refuse what no vocabulary could make sense of."""
        if self.kind not in get_args(Kind):
            self.refuse(
                f"there is no constraint of the kind {self.kind!r}",
                why=f"the kinds are {', '.join(get_args(Kind))}",
                fix="use one of them",
            )
        if not isinstance(self.text, str) or (self.kind != "json" and not self.text.strip()):
            self.refuse(
                f"the {self.name} is empty, or not a text",
                why="an answer cannot follow it",
                fix=f"give a {self.name}, or leave the field out",
            )
        self._check_length()
        if self.kind == "json_schema":
            self._check_schema()

    @property
    def name(self) -> str:
        """What the text is, in words."""
        names = {"json_schema": "schema", "regex": "regular expression", "lark": "grammar"}
        return names.get(self.kind, "constraint")

    def refuse(self, what: str, *, why: str, fix: str) -> NoReturn:
        """Raise RequestError, naming the field of the request that this came from."""
        param = self.param or FIELDS.get(self.kind, self.kind)
        raise RequestError(what, why=why, fix=fix, param=param)

    def _check_length(self) -> None:
        try:
            size = len(self.text.encode())
        except UnicodeEncodeError as error:
            half = f"U+{ord(self.text[error.start]):04X}, half of a surrogate pair"
            self.refuse(
                f"the {self.name} is not valid Unicode",
                why=f"it holds {half}",
                fix="send the whole character",
            )
        if size > LONGEST:
            self.refuse(
                f"the {self.name} has {size} bytes",
                why=f"the longest that is compiled has {LONGEST}",
                fix="shorten it, for example by $defs that are used several times",
            )

    def _check_schema(self) -> None:
        try:
            schema = json.loads(self.text, parse_constant=_refuse_constant)
            deep = _is_deeper(schema, DEEPEST)
        except RecursionError:
            schema, deep = {}, True
        except ValueError as error:
            self.refuse("the schema is not JSON", why=str(error), fix="send a JSON object")
        if deep:
            self.refuse(
                "the schema is nested too deeply",
                why=f"it may have {DEEPEST} brackets inside each other",
                fix="use $defs and $ref, which may also refer to themselves",
            )
        if not isinstance(schema, dict):
            self.refuse(
                "the schema is not an object",
                why=f"it is {json.dumps(schema)[:40]}",
                fix='send an object such as {"type": "object"}',
            )


def from_response_format(given: object, param: str = "response_format") -> Constraint | None:
    """The constraint that OpenAI's `response_format` asks for; None for free text."""
    form: Any = given if isinstance(given, Mapping) else {}
    kind = form.get("type")
    if given is None or kind == "text":
        return None
    if kind == "json_object":
        return Constraint(kind="json", param=param)
    if kind != "json_schema":
        raise RequestError(
            f"{param} asks for {kind!r}" if form else f"{param} is no object with a type",
            why="the types are text, json_object and json_schema",
            fix='send {"type": "json_object"}, or leave it out',
            param=param,
        )
    inner = form.get("json_schema")
    schema = inner.get("schema") if isinstance(inner, Mapping) else None
    if not isinstance(schema, Mapping):
        raise RequestError(
            f"{param} holds no schema",
            why="a type of json_schema comes with json_schema.schema, which is an object",
            fix='send {"type": "json_schema", "json_schema": {"name": ..., "schema": {...}}}',
            param=f"{param}.json_schema",
        )
    return from_schema(schema, f"{param}.json_schema")


def from_schema(schema: Mapping[str, Any], param: str = "response_format") -> Constraint:
    """The constraint to JSON of this schema; the order of its properties is kept."""
    try:
        text = json.dumps(schema, ensure_ascii=False, allow_nan=False)
    except RecursionError:
        text = "[" * (DEEPEST + 1) + "]" * (DEEPEST + 1)  # refused for the same reason
    except (TypeError, ValueError) as error:
        raise RequestError(
            "the schema is not JSON", why=str(error), fix="send plain values", param=param
        ) from error
    return Constraint(kind="json_schema", text=text, param=param)


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no number in JSON")


def _is_deeper(value: object, levels: int) -> bool:
    if not isinstance(value, dict | list):
        return False
    inside = value.values() if isinstance(value, dict) else value
    return levels == 0 or any(_is_deeper(each, levels - 1) for each in inside)
