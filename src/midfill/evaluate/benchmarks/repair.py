"""QuixBugs (Lin et al. 2017): 40 programs with one bug each, in Python and in Java.

The whole file goes in, the whole file or a unified diff comes out. A repair is *plausible* when the
tests of the set pass, and *correct* when it also answers held-out random inputs as the reference
does; the tests of a program are therefore followed by such inputs, and an assertion that fails
there begins with "held out". Python's graph programs work on objects: both sides build the same
graph from a description, so that their verdicts stay sealed. Java has the set's own tests only.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from midfill.evaluate import data
from midfill.evaluate.benchmarks.common import take
from midfill.evaluate.benchmarks.held_out import INPUTS
from midfill.evaluate.task import Program, Prompt, Score, Style, Task
from midfill.sandbox.verdict import Limits

FIELDS = ("id", "language", "name")
ASKED = (
    "The following {language} program has one bug. Find it and return the whole corrected program "
    "in one code block.\n\n```{language}\n{buggy}\n```\n"
)
CONTINUED = "# {language} program with one bug\n{buggy}\n\n# The same program, corrected\n"
HELD_OUT = "held out"
TRIALS = 30  # random inputs of a program
LIMITS = Limits(cpu_s=10, wall_s=30)
JAVA = Limits(cpu_s=20, wall_s=60, memory_mb=2048)
# What QuixBugs's pytest files use of pytest; one slow case of two programs is left out, as there.
PYTEST = """\
class pytest:
    run_slow = False

    class skip(Exception):
        pass

    class approx:
        def __init__(self, wanted, abs):
            self.wanted, self.within = wanted, abs

        def __eq__(self, got):
            return -self.within <= got - self.wanted <= self.within
"""
EACH = """
for input_data, expected in testdata:
    try:
        {test}(input_data, expected)
    except pytest.skip:
        pass
"""
# A graph as literals: every object is a number, its attributes stand in a list by that number.
PACKING = '''
class Packer:
    """Turns values that hold Nodes into literals, and back, the same object for the same number."""

    def __init__(self):
        self.nodes, self.numbers = [], {}

    def pack(self, value):
        if isinstance(value, Node):
            if id(value) not in self.numbers:
                self.numbers[id(value)] = len(self.nodes)
                self.nodes.append(value)
            return ("node", self.numbers[id(value)])
        if isinstance(value, dict):
            return ("dict", [(self.pack(key), self.pack(item)) for key, item in value.items()])
        for kind in (list, tuple, set):
            if isinstance(value, kind):
                return (kind.__name__, [self.pack(item) for item in value])
        return ("plain", value)

    def attributes(self):
        packed = []
        while len(packed) < len(self.nodes):  # packing one may find others
            packed.append({k: self.pack(v) for k, v in vars(self.nodes[len(packed)]).items()})
        return packed

    def unpack(self, packed):
        kind, value = packed
        if kind == "node":
            return self.nodes[value]
        if kind == "dict":
            return {self.unpack(key): self.unpack(item) for key, item in value}
        if kind == "plain":
            return value
        return {"list": list, "tuple": tuple, "set": set}[kind](map(self.unpack, value))

    def restore(self, attributes):
        while len(self.nodes) < len(attributes):
            self.pack(Node())
        for node, named in zip(self.nodes, attributes):
            node.__dict__.update({key: self.unpack(value) for key, value in named.items()})
'''
INSIDE = """

def call_with_graph(attributes, arguments):
    packer = Packer()
    packer.restore(attributes)
    answer = packer.pack({name}(*packer.unpack(arguments)))
    return answer, packer.attributes()
"""
OUTSIDE = """

def {name}(*arguments):
    packer = Packer()
    packed = packer.pack(arguments)
    answer, attributes = call_with_graph(packer.attributes(), packed)
    packer.restore(attributes)
    return packer.unpack(answer)
"""


@dataclass(frozen=True, slots=True)
class Repair:
    """80 programs to repair."""

    data: data.Rows
    name: str = "repair"
    rules: tuple[str, ...] = ("midfill", "livecodebench", "open-r1")

    @property
    def version(self) -> str:
        """SHA-256 of the rows."""
        return self.data.version

    def tasks(self, style: Style) -> list[Task]:
        """All programs in the order of the file, those in Python first."""
        return [
            Task(task_id=row["id"], prompt=_ask(row, style), language=row["language"], row=row)
            for row in self.data.rows
            if "buggy" in row
        ]

    def extract(self, task: Task, completion: str, rule: str) -> str:
        """The repaired program; where a diff was answered, the program it makes."""
        diff = re.findall(r"```(?:diff|patch)\n(.*?)```", completion, re.DOTALL)
        if diff:
            return applied(task.row["buggy"], diff[-1]) or ""
        name = task.row["name"]
        return take(rule, task, completion, prompt="", entry_point=name)

    def program(self, task: Task, extracted: str) -> Program | Score:
        """The program against the set's tests, then against the reference on held-out inputs."""
        if not extracted.strip():
            return Score(value=0.0, detail="there is no program, or the diff does not apply")
        if task.language == "java":
            return self._java(task, extracted)
        row = task.row
        name = row["name"]
        if not row["json_testcases"]:
            node = row["node"] + PACKING
            return Program(
                code=f"{extracted}\n\n{node}{INSIDE.format(name=name)}",
                tests=f"{node}{OUTSIDE.format(name=name)}\n{_without_imports(row['pytest'])}",
                entry_point="call_with_graph",
                limits=LIMITS,
            )
        return Program(
            code=extracted, tests=_tests(row) + held_out(row), entry_point=name, limits=LIMITS
        )

    def _java(self, task: Task, extracted: str) -> Program:
        support = [row["support"] for row in self.data.rows if "support" in row]
        junit = task.row["junit"]
        parts = [extracted, *(support if re.search(r"\bNode\b|WeightedEdge", junit) else ())]
        imports, bodies = _java_parts(parts)
        tests_imports, tests = _java_parts([junit])
        every = [line for line in {**imports, **tests_imports} if "java_programs" not in line]
        every = [line for line in every if "org.junit" not in line]
        names = re.findall(r"@(?:org\.junit\.)?Test.*?void (\w+)\(", junit, re.DOTALL)
        skipped = re.findall(r"@(?:org\.junit\.)?Ignore.*?void (\w+)\(", junit, re.DOTALL)
        calls = "".join(
            f"        new {task.row['name']}_TEST().{name}();\n"
            for name in names
            if name not in skipped
        )
        return Program(
            code="\n".join(every) + "\n" + bodies,
            tests=f"{tests}\n{JUNIT}\n{MAIN.format(calls=calls)}",
            language="java",
            limits=JAVA,
        )

    def measures_of(self, score: Score) -> Mapping[str, float]:
        """Whether it is plausible: the set's own tests passed, whatever came after them."""
        return {"plausible": float(score.value == 1 or HELD_OUT in score.detail)}

    def canonical(self, task: Task) -> str:
        """QuixBugs's corrected program."""
        return task.row["correct"]

    def baselines(self, task: Task) -> Mapping[str, str]:
        """The program as it is."""
        return {"unchanged": task.row["buggy"]}


def _ask(row: Mapping[str, Any], style: Style) -> Prompt:
    text = {"language": row["language"], "buggy": row["buggy"].strip()}
    if style == "base":
        return Prompt(text=CONTINUED.format(**text), stop=("\n# ",), max_tokens=1024)
    turn = {"role": "user", "content": ASKED.format(**text)}
    return Prompt(messages=(turn,), max_tokens=1024)


def _without_imports(text: str) -> str:
    """A pytest file without its imports and decorators, which name files that are not here."""
    text = re.sub(r"^if pytest\.use_correct:\n.*?\nelse:\n[^\n]*\n", "", text, flags=re.M | re.S)
    return re.sub(r"^(?:import pytest|from \w+ import \w+|@pytest[^\n]*)\n", "", text, flags=re.M)


def _tests(row: Mapping[str, Any]) -> str:
    """The set's pytest file as a program that needs neither pytest nor its folder."""
    cases = [json.loads(line) for line in row["json_testcases"].split("\n") if line.strip()]
    cases = [[given if isinstance(given, list) else [given], wanted] for given, wanted in cases]
    text = _without_imports(row["pytest"])
    text = re.sub(r"load_json_testcases\(.*?\)", lambda _: repr(cases), text)
    text = text.replace("pytest.skip(", "raise pytest.skip(")
    test = re.findall(r"^def (test_\w+)\(", text, re.MULTILINE)[0]
    return PYTEST + "\n" + text.replace(test, f"_{test}") + EACH.format(test=f"_{test}")


def held_out(row: Mapping[str, Any]) -> str:
    """Asserts that the program answers random inputs as the reference does."""
    name, make = row["name"], INPUTS[row["name"]]
    answer = "list({}(*{}))" if f"list({name}(" in row["pytest"] else "{}(*{})"
    reference = re.sub(rf"\b{name}\b", f"_reference_{name}", row["correct"].split('"""')[0])
    got, wanted = answer.format(name, "given"), answer.format(f"_reference_{name}", "known")
    return f"""

import random
from copy import deepcopy

{reference}

chance = random.Random(0)
for number in range({TRIALS}):
    given = {make}
    known = deepcopy(given)
    assert {got} == {wanted}, f"{HELD_OUT} {{number}}: {{known}}"
"""


JUNIT = r"""
@interface Test { long timeout() default 0; }
@interface Ignore { String value() default ""; }

class Assert {
    static void assertEquals(Object wanted, Object got) {
        if (!java.util.Objects.equals(wanted, got)) throw new AssertionError(wanted + " != " + got);
    }
    static void assertEquals(String why, Object wanted, Object got) { assertEquals(wanted, got); }
    static void assertEquals(long wanted, long got) {
        if (wanted != got) throw new AssertionError(wanted + " != " + got);
    }
    static void assertEquals(double wanted, double got, double within) {
        if (!(Math.abs(wanted - got) <= within)) throw new AssertionError(wanted + " != " + got);
    }
}

class QuixFixOracleHelper {
    /** A value as the set writes it: [1,2] for lists and pairs, no spaces, no quotes, 2.0 as 2. */
    static String format(Object value, boolean cut) {
        return written(value, cut).replace('(', '[').replace(')', ']').replaceAll("[ \"]", "");
    }

    private static String written(Object value, boolean cut) {
        if (value instanceof Iterable) {
            java.util.StringJoiner joined = new java.util.StringJoiner(",", "[", "]");
            for (Object item : (Iterable<?>) value) joined.add(written(item, cut));
            return joined.toString();
        }
        String text = String.valueOf(value);
        boolean whole = cut && value instanceof Number && text.endsWith(".0");
        return whole ? text.substring(0, text.length() - 2) : text;
    }
}
"""
MAIN = """\
class Main {{
    public static void main(String[] arguments) throws Exception {{
{calls}    }}
}}
"""


def _java_parts(files: list[str]) -> tuple[dict[str, None], str]:
    """The import lines of Java files, and the rest as parts of one file: no packages, none public."""
    imports: dict[str, None] = {}
    bodies = []
    for text in files:
        text = re.sub(r"^\s*package [^;]*;", "", text, flags=re.MULTILINE)
        imports |= dict.fromkeys(re.findall(r"^import [^;]*;", text, re.MULTILINE))
        text = re.sub(r"^import [^;]*;", "", text, flags=re.MULTILINE)
        text = re.sub(r"\b(?:java_programs|java_testcases\.junit|org\.junit)\.", "", text)
        text = re.sub(r"\bassertEquals\(", "Assert.assertEquals(", text)
        text = text.replace("Assert.Assert.", "Assert.")
        bodies.append(re.sub(r"^public (?=(?:final )?class)", "", text, flags=re.MULTILINE))
    return imports, "\n".join(bodies)


def applied(text: str, diff: str) -> str | None:
    """`text` with a unified diff applied, each hunk where its old lines stand; None: it does not."""
    lines = text.split("\n")
    for hunk in re.split(r"^@@.*?$\n?", diff, flags=re.MULTILINE)[1:]:
        body = [line for line in hunk.rstrip("\n").split("\n") if not line.startswith("\\")]
        old = [line[1:] for line in body if line[:1] in ("-", " ", "")]
        new = [line[1:] for line in body if line[:1] in ("+", " ", "")]
        starts = [i for i in range(len(lines) - len(old) + 1) if lines[i : i + len(old)] == old]
        if not starts:
            return None
        lines[starts[0] : starts[0] + len(old)] = new
    return "\n".join(lines)


def load(own: Path | None = None) -> Repair:
    """QuixBugs, from the folder of benchmarks or the user's own file."""
    return Repair(data.load("repair", fields=FIELDS, own=own))
