"""Whatever the model says, what comes out validates: random schemas, random logits."""

import json
import os
import random
import warnings
from functools import cache
from pathlib import Path

import pytest
import torch

from conftest import write_byte_tokenizer
from midfill.config.constraint import Constraint, from_schema
from midfill.engine.grammar import Grammars, Matcher
from midfill.tokenizer.tokenizer import Tokenizer

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    jsonschema = pytest.importorskip("jsonschema", reason="pip install jsonschema")

DATA = Path(os.environ.get("MIDFILL_DATA", Path(__file__).parents[2].parent / "shared" / "data"))
NAMES = ("bytes", "deepseek-v2-rebuilt", "deepseek-coder-v1")
SCHEMAS, PARTS = 200, 4
LONGEST = 600  # tokens until a walk must look for the end


@pytest.fixture(params=NAMES, scope="module")
def grammars(request, tmp_path_factory) -> Grammars:
    folder = DATA / "tokenizers" / request.param
    if request.param == "bytes":
        folder = tmp_path_factory.mktemp("bytes")
        write_byte_tokenizer(folder)
    elif not folder.is_dir():
        pytest.skip(f"no tokenizer data at {DATA}")
    tokenizer = Tokenizer.from_folder(folder)
    return Grammars(tokenizer, rows=tokenizer.vocab_size + 100)


class Schemas:
    """Random schemas of the keywords that are promised."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.named: dict[str, dict] = {}

    def root(self) -> dict:
        schema = self.object(3)
        if self.named:
            schema["$defs"] = self.named
        return schema

    def any(self, depth: int) -> dict:
        simple = (self.string, self.integer, self.number, self.choice, self.constant)
        nested = (self.object, self.array, self.union, self.reference)
        kind = self.random.choice(simple if depth <= 0 else simple + nested + nested)
        return kind(depth - 1)

    def object(self, depth: int) -> dict:
        names = self.random.sample(["a", "b c", 'q"', "é", "🦙", "path", "x" * 20], k=3)
        properties = {name: self.any(depth - 1) for name in names}
        schema = {"type": "object", "properties": properties}
        schema["required"] = self.random.sample(names, k=self.random.randint(0, 3))
        schema["additionalProperties"] = self.random.choice([False, False, {"type": "null"}])
        return schema

    def array(self, depth: int) -> dict:
        low = self.random.randint(0, 2)
        schema = {"type": "array", "items": self.any(depth - 1), "minItems": low}
        return schema | {"maxItems": low + self.random.randint(0, 2)}

    def union(self, depth: int) -> dict:
        return {"anyOf": [self.any(depth - 1) for _ in range(self.random.randint(1, 3))]}

    def reference(self, depth: int) -> dict:
        name = f"d{len(self.named)}"
        self.named[name] = {}  # taken, before what is inside takes a name
        ends = {"type": ["string", "null"], "maxLength": 3}
        again = {"type": "array", "items": {"$ref": f"#/$defs/{name}"}, "maxItems": 2}
        self.named[name] = {"anyOf": [ends, self.any(depth - 1), again]}
        return {"$ref": f"#/$defs/{name}"}

    def string(self, _: int) -> dict:
        low = self.random.randint(0, 4)
        return self.random.choice([
            {"type": "string"},
            {"type": "string", "minLength": low, "maxLength": low + self.random.randint(0, 5)},
            {"type": "string", "pattern": r"^[a-f]{2,4}-\d+$"},
            {"type": "string", "pattern": "^(ü|🦙|\\n)+$", "maxLength": 6},
            {"type": "string", "pattern": "b+"},
        ])  # fmt: skip

    def integer(self, _: int) -> dict:
        low = self.random.randint(-1000, 1000)
        return self.random.choice([
            {"type": "integer"},
            {"type": "integer", "minimum": low, "maximum": low + self.random.randint(0, 2000)},
            {"type": "integer", "exclusiveMinimum": low},
            {"type": "integer", "minimum": 0, "multipleOf": 7},
        ])  # fmt: skip

    def number(self, _: int) -> dict:
        low = self.random.randint(-50, 50) / 4
        return {"type": "number", "minimum": low, "exclusiveMaximum": low + 3.5}

    def choice(self, _: int) -> dict:
        values = ["", "yes", "no\n", 0, -1.5, None, True, ["a", {}], {"k": "ü"}]
        return {"enum": self.random.sample(values, k=self.random.randint(1, 4))}

    def constant(self, _: int) -> dict:
        return self.random.choice(
            [{"const": {"a": [1, 2]}}, {"const": "<|EOT|>"}, {"type": "null"}]
        )


def walk(grammars: Grammars, constraint: Constraint, seed: int) -> tuple[list[int], bytes]:
    """An answer of a model whose logits are noise, with a liking for whatever closes something."""
    noise = torch.Generator().manual_seed(seed)
    matcher, ids = grammars.matcher(constraint), []
    liked = closers(grammars)
    while len(ids) < 3 * LONGEST:
        logits = torch.rand(grammars.rows, generator=noise)
        logits[liked] += 0.5 if len(ids) < LONGEST else 2  # first often, in the end always
        logits[list(grammars.end_ids)] += 3
        token = choose(matcher, logits, noise)
        if token in grammars.end_ids:
            return ids, b"".join(map(grammars._tokenizer.token_bytes, ids))
        matcher.advance(token)
        ids.append(token)
    raise AssertionError(f"no end after {len(ids)} tokens")


def choose(matcher: Matcher, logits: torch.Tensor, noise: torch.Generator) -> int:
    if torch.rand((), generator=noise) < 0.25:  # now and then a draw from all that is allowed
        logits = torch.rand(len(logits), generator=noise)
    return int(logits.masked_fill(~matcher.mask(), -torch.inf).argmax())


@cache
def closers(grammars: Grammars) -> list[int]:
    signs = {b'"', b"]", b"}", b'"]', b'"}', b"]}", b"}]", b"0", b"b", b"-", b":", b",", b"null"}
    tokens = range(grammars._tokenizer.vocab_size)
    return [i for i in tokens if grammars._tokenizer.token_bytes(i) in signs]


@pytest.mark.parametrize("part", range(PARTS))
def test_every_answer_validates(grammars: Grammars, part: int):
    for seed in range(part, SCHEMAS, PARTS):
        schema = Schemas(seed).root()
        _, text = walk(grammars, from_schema(schema), seed)
        jsonschema.Draft202012Validator.check_schema(schema)
        jsonschema.validate(json.loads(text), schema, cls=jsonschema.Draft202012Validator)


@pytest.mark.parametrize("seed", range(20))
def test_any_object_is_an_object(grammars: Grammars, seed: int):
    for blanks in (False, True):
        _, text = walk(grammars, Constraint(kind="json", blanks=blanks), seed)
        assert isinstance(json.loads(text), dict)


def test_the_masks_allow_what_is_forced_and_a_copy_stands_alone(grammars: Grammars):
    for seed in range(0, SCHEMAS, 10):
        constraint = from_schema(Schemas(seed).root())
        ids, _ = walk(grammars, constraint, seed)
        matcher, other = grammars.matcher(constraint), grammars.matcher(constraint)
        for at, token in enumerate(ids):
            branch, forced = matcher.copy(), matcher.forced()
            for each in forced:  # a run of its own, beside the one that is followed
                assert branch.mask()[each]
                branch.advance(each)
            assert matcher.accepts([*forced, *ids]) >= len(forced)
            assert matcher.accepts(ids[at:]) == len(ids) - at
            assert torch.equal(matcher.mask(), other.mask())
            matcher.advance(token)
            other.advance(token)
        assert matcher.complete
