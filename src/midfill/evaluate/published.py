"""The result tables of the DeepSeek-Coder papers as data, each with its protocol and its n.

"V2" is DeepSeek-Coder-V2 (June 2024), "V1" the tables of the DeepSeek-Coder repository. Rows are
named as short as the papers allow: V1-33B is DeepSeek-Coder-33B, Lite is Coder-V2-Lite (16B total,
2.4B active), V2 is Coder-V2 (236B). Values are percent unless a column says otherwise.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntEnum

from midfill.evaluate.task import Style


class Comparable(IntEnum):
    """How far a number of ours can be set beside a published one."""

    SAME = 1  # the same data, the same protocol: the only class that shares a column
    PROTOCOL = 2  # the same data, another protocol
    SHAPE = 3  # a set of our own, of the same shape
    NOT_RUN = 4  # cannot be run here


MEANING = {
    Comparable.SAME: "same data, same protocol",
    Comparable.PROTOCOL: "same data, other protocol",
    Comparable.SHAPE: "another set of the same shape",
    Comparable.NOT_RUN: "not runnable here",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """One measured set in a table."""

    name: str
    n: int | None  # items; None: not stated, or a column of averages
    kind: Comparable = Comparable.NOT_RUN
    benchmark: str | None = None  # what midfill calls the set that is run for it
    reason: str = ""  # what differs, or why it cannot be run
    rule: str | None = None  # extraction rule of the protocol; None: not stated
    measure: str | None = None  # of RuleScore.also, where the score is not what is published
    unit: str = "%"
    average: bool = False  # computed from other columns

    def standard_error(self, value: float) -> float | None:
        """Binomial standard error of a published percentage, in points; None without an n."""
        if self.n is None or self.unit != "%":
            return None
        return 100 * math.sqrt(value / 100 * (1 - value / 100) / self.n)


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """One table: what was measured, how, and the value of each model."""

    name: str
    title: str
    paper: str
    protocol: str
    style: Style
    columns: tuple[Column, ...]
    rows: Mapping[str, tuple[float | None, ...]] = field(repr=False)
    notes: tuple[str, ...] = ()

    def value(self, model: str, column: str) -> float | None:
        """A published value; None where the table has a dash."""
        return self.rows[model][self.names.index(column)]

    @property
    def names(self) -> list[str]:
        """Of the columns."""
        return [column.name for column in self.columns]


@dataclass(frozen=True, slots=True, kw_only=True)
class Slip:
    """A printed number that does not follow from the others of its table."""

    table: str
    model: str
    column: str
    printed: float
    recomputed: float
    what: str

    def __str__(self) -> str:
        return (
            f"{self.model}, {self.column}: printed {self.printed}, {self.what} is {self.recomputed}"
        )


def _rows(text: str, columns: tuple[Column, ...]) -> dict[str, tuple[float | None, ...]]:
    rows: dict[str, tuple[float | None, ...]] = {}
    for line in text.strip().splitlines():
        model, _, cells = line.partition(":")
        values = tuple(None if cell == "-" else float(cell) for cell in cells.split())
        if len(values) != len(columns):
            raise ValueError(f"{model} has {len(values)} values for {len(columns)} columns")
        rows[model.strip()] = values
    return rows


# name in the tables -> name of the file, items
LANGUAGES = {
    "Python": ("", 164),
    "Java": ("-java", 158),
    "C++": ("-cpp", 161),
    "C#": ("-cs", 158),
    "TS": ("-ts", 159),
    "JS": ("-js", 161),
    "PHP": ("-php", 161),
    "Bash": ("-sh", 158),
    "Swift": ("-swift", 158),
    "R": ("-r", 161),
    "Julia": ("-jl", 159),
    "D": ("-d", 156),
    "Rust": ("-rs", 156),
    "Racket": ("-rkt", 161),
}


def _humaneval(
    names: str, *, rule: str | None, kind: Comparable = Comparable.SAME, reason: str = ""
) -> tuple[Column, ...]:
    return tuple(
        Column(
            name=name,
            n=LANGUAGES[name][1],
            kind=kind,
            benchmark=f"humaneval{LANGUAGES[name][0]}",
            reason=reason,
            rule=rule,
        )
        for name in names.split()
    )


def _average(name: str = "Avg", reason: str = "an average of the other columns") -> Column:
    return Column(name=name, n=None, reason=reason, average=True)


def _missing(name: str, n: int | None, reason: str, unit: str = "%") -> Column:
    return Column(name=name, n=n, reason=reason, unit=unit)


EIGHT = "Python C++ Java PHP TS C# Bash JS"
INFERRED = "the paper does not state the decoding; ours is V1's protocol"
NOT_PUBLIC = "the set cannot be had as plain files"
T1_COLUMNS = (
    *_humaneval(EIGHT, rule="deepseek-base", kind=Comparable.PROTOCOL, reason=INFERRED),
    _average(),
    Column(
        name="MBPP",
        n=500,
        kind=Comparable.PROTOCOL,
        benchmark="mbpp",
        reason=INFERRED,
        rule="deepseek-mbpp",
    ),
)
TABLE_1 = Table(
    name="Table 1",
    title="Corpus ablation, 1B base models",
    paper="V2",
    protocol="pass@1, greedy (inferred)",
    style="base",
    columns=T1_COLUMNS,
    rows=_rows(
        """
        DeepSeek-Coder-1B, 1T: 30.5 28.0 31.7 23.0 30.8 31.7  9.5 28.6 26.7 44.6
        Coder-V2-1B, 1T:       36.0 34.8 31.7 27.3 37.7 34.2  6.3 38.5 31.2 49.0
        Coder-V2-1B, 2T:       37.2 39.1 32.3 31.7 34.6 36.7 12.0 32.9 32.0 54.0
        """,
        T1_COLUMNS,
    ),
    notes=("At equal tokens the new corpus gains 5.5 on HumanEval and 4.4 on MBPP.",),
)

T3_COLUMNS = (
    *_humaneval("Python Java C++ C# TS JS PHP Bash Swift R Julia D Rust Racket", rule=None),
    Column(name="MBPP+", n=378, kind=Comparable.SAME, benchmark="mbpp+", rule="evalplus"),
    _average("Average"),
)
TABLE_3 = Table(
    name="Table 3",
    title="HumanEval in 14 languages and MBPP+, instruct models",
    paper="V2",
    protocol="greedy, zero-shot, the prompt of footnote 4; MBPP+ through EvalPlus",
    style="instruct",
    columns=T3_COLUMNS,
    rows=_rows(
        """
        V1-33B-Instruct:  79.3 73.4 68.9 74.1 67.9 73.9 72.7 43.0 61.4 44.7 53.5 31.4 68.6 46.0 70.1 61.9
        Lite-Instruct:    81.1 76.6 75.8 76.6 80.5 77.6 74.5 43.0 64.6 47.8 67.3 45.5 62.2 41.6 68.8 65.6
        V2-Instruct:      90.2 82.3 84.8 82.3 83.0 84.5 79.5 52.5 72.2 64.0 72.3 64.1 78.2 63.4 76.2 75.3
        GPT-4-Turbo-0409: 88.2 81.7 78.3 79.1 79.3 80.8 78.9 55.1 63.9 56.5 69.8 61.5 78.8 63.4 72.2 72.3
        GPT-4o-0513:      91.0 80.4 87.0 82.9 86.2 87.6 79.5 53.8 75.9 65.2 78.0 60.9 80.1 64.6 73.5 76.4
        Codestral 22B:    78.1 71.5 71.4 77.2 72.3 73.9 69.6 47.5 63.3 49.7 67.9 32.1 67.3 37.3 68.2 63.2
        """,
        T3_COLUMNS,
    ),
    notes=(
        "The extraction rule is not stated; every rule that applies is printed.",
        "Average is the plain mean of the 15 columns.",
    ),
)

LCB = {"Easy": 82, "Medium": 87, "Hard": 57}  # problems from December 2023 to May 2024
T4_COLUMNS = (
    *(_missing(f"LCB {tier}", n, NOT_PUBLIC) for tier, n in LCB.items()),
    Column(
        name="LCB Overall",
        n=226,
        benchmark="livecodebench",
        reason=NOT_PUBLIC,
        rule="livecodebench",
    ),
    Column(name="USACO", n=307, benchmark="usaco", reason=NOT_PUBLIC),
)
TABLE_4 = Table(
    name="Table 4",
    title="Competitive programming",
    paper="V2",
    protocol="LiveCodeBench of 1 December 2023 to 1 June 2024; USACO zero-shot",
    style="instruct",
    columns=T4_COLUMNS,
    rows=_rows(
        """
        V1-33B-Instruct:  51.6  9.7 0.4 22.5  4.2
        Lite-Instruct:    58.5  8.0 0.0 24.3  6.5
        V2-Instruct:      84.1 29.9 5.3 43.4 12.1
        GPT-4-Turbo-0409: 84.1 35.4 6.1 45.7 12.3
        GPT-4o-0513:      87.4 27.5 4.9 43.4 18.8
        Codestral 22B:    66.5 17.7 0.2 31.0  4.6
        """,
        T4_COLUMNS,
    ),
    notes=("Overall weights the tiers by their size.",),
)

BUCKETS = ("2k", "4k", "8k", "12k", "16k")
OWN_ARCHIVES = "RepoBench v1.1 cannot be had; ours is made from later Python packages"
T5_COLUMNS = (
    *(_missing(f"Python {bucket}", None, OWN_ARCHIVES) for bucket in BUCKETS),
    Column(
        name="Python Avg",
        n=None,
        kind=Comparable.SHAPE,
        benchmark="repocompletion",
        reason=OWN_ARCHIVES,
        rule="repobench",
    ),
    *(_missing(f"Java {bucket}", None, NOT_PUBLIC) for bucket in BUCKETS),
    _missing("Java Avg", None, NOT_PUBLIC),
)
TABLE_5 = Table(
    name="Table 5",
    title="Repository completion, RepoBench v1.1 of December 2023, base models",
    paper="V2",
    protocol="greedy, 64 new tokens, prompt at most 15,800 tokens, first line that is no comment, "
    "exact match",
    style="base",
    columns=T5_COLUMNS,
    rows=_rows(
        """
        DS-Coder-Base 6.7B: 36.1 37.5 38.2 34.0 35.0 36.2 46.8 46.4 42.9 38.8 40.8 43.3
        DS-Coder-Base 33B:  39.7 40.1 40.0 36.9 38.5 39.1 47.9 47.7 43.3 40.9 43.6 44.8
        Lite-Base:          38.3 38.6 40.6 38.3 38.7 38.9 48.8 45.7 42.4 38.1 41.1 43.3
        StarCoder2 15B:     35.7 36.7 34.6 27.4 25.1 32.1 46.2 45.0 39.8 30.5 30.7 38.7
        CodeLlama 34B:      35.3 37.5 39.5 34.9 35.6 36.6 45.9 45.4 42.5 41.0 41.2 43.3
        Codestral 22B:      42.1 44.3 46.6 46.6 51.5 46.1 48.3 47.8 46.0 42.2 43.9 45.7
        """,
        T5_COLUMNS,
    ),
    notes=("The averages are weighted by items, whose numbers are not stated.",),
)

OTHER_FIM = "SantaCoder's set cannot be had; ours are the single lines of HumanEval-infilling"
T6_COLUMNS = (
    Column(
        name="Python",
        n=None,
        kind=Comparable.SHAPE,
        benchmark="infilling-single-line",
        reason=OTHER_FIM,
        rule="fim-line",
        measure="exact_match",
    ),
    _missing("Java", None, NOT_PUBLIC),
    _missing("JavaScript", None, NOT_PUBLIC),
    _average("Mean", "weighted by unstated numbers"),
)
TABLE_6 = Table(
    name="Table 6",
    title="Single-line infilling, SantaCoder's set, base models",
    paper="V2",
    protocol="PSM, exact match of the first generated line",
    style="base",
    columns=T6_COLUMNS,
    rows=_rows(
        """
        DS-Coder-Base 1B:  74.1 85.1 82.9 81.8
        DS-Coder-Base 7B:  79.8 89.6 86.3 86.1
        DS-Coder-Base 33B: 80.5 88.4 86.6 86.4
        Lite-Base:         80.0 89.1 87.2 86.4
        StarCoder 16B:     71.5 82.3 83.0 80.2
        CodeLlama 13B:     60.7 74.3 78.5 73.1
        Codestral 22B:     77.2 83.2 85.9 83.0
        """,
        T6_COLUMNS,
    ),
    notes=("The mean is not the plain one: compare columns.",),
)

T7_COLUMNS = (
    Column(
        name="Defects4J",
        n=238,
        kind=Comparable.SHAPE,
        benchmark="repair",
        reason="Defects4J needs Perl and project histories; ours is QuixBugs, 40 small programs",
    ),
    Column(
        name="SWE-bench Lite",
        n=300,
        benchmark="swebench",
        reason="its repositories and their images are not midfill's to bring",
    ),
    Column(
        name="Aider",
        n=133,
        kind=Comparable.SHAPE,
        benchmark="edit",
        reason="ours are 106 later exercises of the same collection",
    ),
)
TABLE_7 = Table(
    name="Table 7",
    title="Repair and editing",
    paper="V2",
    protocol="Defects4J one method; SWE-bench by CodeAct 1.3, temperature 0.5, top_p 0.95; Aider whole "
    "files, two tries",
    style="instruct",
    columns=T7_COLUMNS,
    rows=_rows(
        """
        V1-33B-Instruct:  11.3  0.0 54.5
        Lite-Instruct:     9.2  0.0 44.4
        V2-Instruct:      21.0 12.7 73.7
        GPT-4-Turbo-0409: 24.3 18.3 63.9
        GPT-4o-0513:      26.1 26.7 72.9
        Codestral 22B:    17.8  2.7 51.1
        """,
        T7_COLUMNS,
    ),
)

UNSTATED = (
    "the paper does not state the decoding; the set's own harness draws 10 answers, ours is greedy"
)
T8_COLUMNS = tuple(
    Column(
        name=f"{which}-CoT",
        n=800,
        kind=Comparable.PROTOCOL,
        benchmark=f"cruxeval-{which.lower()}-cot",
        reason=UNSTATED,
        rule="cruxeval",
    )
    for which in "IO"
)
TABLE_8 = Table(
    name="Table 8",
    title="Code reasoning, CRUXEval with chain of thought",
    paper="V2",
    protocol="one worked example; I: an input for the output, O: the output of the input",
    style="instruct",
    columns=T8_COLUMNS,
    rows=_rows(
        """
        V1-33B-Instruct:  47.3 50.6
        Lite-Instruct:    53.0 52.9
        V2-Instruct:      70.0 75.1
        GPT-4-Turbo-0409: 75.7 82.0
        GPT-4o-0513:      77.4 88.7
        Codestral 22B:    48.0 60.6
        """,
        T8_COLUMNS,
    ),
    notes=("The paper's sentence has I and O swapped; these are the set's own meanings.",),
)

T9_COLUMNS = (
    Column(name="GSM8K", n=1319, kind=Comparable.SAME, benchmark="gsm8k", rule="boxed"),
    Column(name="MATH", n=5000, kind=Comparable.SAME, benchmark="math", rule="boxed"),
    _missing("AIME 2024", 30, NOT_PUBLIC, unit="of 30"),
    _missing("Math Odyssey", 387, NOT_PUBLIC),
)
TABLE_9 = Table(
    name="Table 9",
    title="Mathematics",
    paper="V2",
    protocol="zero-shot chain of thought, greedy, no tools; the answer in \\boxed{}",
    style="instruct",
    columns=T9_COLUMNS,
    rows=_rows(
        """
        Lite-Instruct:       86.4 61.8 0 44.4
        V2-Instruct:         94.9 75.7 4 53.7
        GPT-4-Turbo-0409:    93.7 73.4 3 46.8
        GPT-4o-0513:         95.8 76.6 2 53.2
        Llama3-70B-Instruct: 93.0 50.4 1 27.9
        """,
        T9_COLUMNS,
    ),
    notes=("V2 solves 5 of AIME's 30 by a vote of 64 answers.",),
)

# benchmark, shots, unit
GENERAL = (
    ("BBH", 3, "%"),
    ("MMLU", 5, "%"),
    ("ARC-Easy", 25, "%"),
    ("ARC-Challenge", 25, "%"),
    ("TriviaQA", 5, "%"),
    ("NaturalQuestions", 5, "%"),
    ("AGIEval", 0, "%"),
    ("CLUEWSC", 5, "%"),
    ("C-Eval", 5, "%"),
    ("CMMLU", 5, "%"),
    ("Arena-Hard", None, "%"),
    ("AlpacaEval 2.0", None, "%"),
    ("MT-Bench", None, "of 10"),
    ("AlignBench", None, "of 10"),
)
T10_COLUMNS = tuple(
    _missing(name, None, "general language: not part of midfill's benchmarks", unit=unit)
    for name, _, unit in GENERAL
)
TABLE_10 = Table(
    name="Table 10",
    title="General language, beside DeepSeek-V2 Chat",
    paper="V2",
    protocol="DeepSeek-V2's pipeline; "
    + ", ".join(f"{name} {shots}-shot" for name, shots, _ in GENERAL if shots is not None),
    style="instruct",
    columns=T10_COLUMNS,
    rows=_rows(
        """
        V2-Lite Chat:   48.1 55.7 86.1 73.4 65.2 35.5 42.8 80.0 60.1 62.5 11.40 16.85 7.37 6.02
        Coder-V2-Lite:  61.2 60.1 88.9 77.4 59.5 30.8 28.7 76.5 61.6 62.7 38.10 17.74 7.81 6.83
        V2 Chat:        79.7 78.1 98.1 92.3 86.7 53.4 61.4 89.9 78.0 81.6 41.60 38.90 8.97 7.91
        Coder-V2:       83.9 79.2 97.4 92.8 82.3 47.5 60.0 85.9 79.4 80.9 65.00 36.92 8.77 7.84
        """,
        T10_COLUMNS,
    ),
)


F2_COLUMNS = (
    Column(
        name="needle",
        n=121,
        kind=Comparable.SHAPE,
        benchmark="needle",
        reason="judge, needle and number of trials are not stated; ours counts exact answers",
        unit="of 10",
    ),
)
FIGURE_2 = Table(
    name="Figure 2",
    title="Needle in a haystack, 11 lengths from 1K to 128K by 11 depths",
    paper="V2",
    protocol="a score from 1 to 10 for each cell; all cells have the top one",
    style="base",
    columns=F2_COLUMNS,
    rows=_rows("V2-Base: 10", F2_COLUMNS),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Curve:
    """pass@1 while GRPO runs, as a share."""

    name: str
    values: tuple[float, ...]
    sft: float  # of the model it starts from


FIGURE_3_STEPS = tuple(range(50, 601, 50))
FIGURE_3_ITEMS = 128  # or a multiple: all points are multiples of 1/128 (inferred)
FIGURE_3_NOTE = (
    "curves read from the figure; seeds, tests a prompt and GRPO's settings are not stated"
)
FIGURE_3 = (
    Curve(
        name="LeetCode, compiler signal",
        values=(.133, .141, .133, .133, .117, .141, .164, .156, .133, .133, .141, .141),
        sft=0.14,
    ),
    Curve(
        name="LeetCode, reward model",
        values=(.188, .164, .203, .188, .172, .211, .211, .227, .219, .211, .227, .203),
        sft=0.14,
    ),
    Curve(
        name="LeetCode-zh, compiler signal",
        values=(.086, .102, .094, .133, .109, .117, .125, .133, .117, .125, .086, .109),
        sft=0.10,
    ),
    Curve(
        name="LeetCode-zh, reward model",
        values=(.117, .141, .148, .133, .164, .172, .156, .141, .148, .164, .125, .141),
        sft=0.10,
    ),
)  # fmt: skip

V1_REASON = "DS-1000 runs only on a file of the user's"
V1_COMMON = "greedy, input at most 4096 tokens, output at most 500"
V1_BASE_COLUMNS = (
    *_humaneval(EIGHT, rule="deepseek-base"),
    _average(),
    Column(
        name="MBPP 3-shot",
        n=500,
        kind=Comparable.SAME,
        benchmark="mbpp",
        rule="deepseek-mbpp",  # takes the whole answer where there is no fence
    ),
    Column(name="DS-1000", n=1000, benchmark="ds1000", reason=V1_REASON),
)
V1_BASE = Table(
    name="V1 base",
    title="HumanEval in eight languages, MBPP, DS-1000; base models",
    paper="V1",
    protocol=V1_COMMON,
    style="base",
    columns=V1_BASE_COLUMNS,
    rows=_rows(
        """
        Base 1.3B:     34.8 31.1 32.3 24.2 28.9 36.7 10.1 28.6 28.3 46.8 16.2
        Base 5.7B MQA: 48.7 45.3 41.1 39.7 44.7 41.1 27.8 42.2 41.3 57.2 27.7
        Base 6.7B:     49.4 50.3 43.0 38.5 49.7 50.0 28.5 48.4 44.7 60.6 30.5
        Base 33B:      56.1 58.4 51.9 44.1 52.8 51.3 32.3 55.3 50.3 66.0 40.2
        """,
        V1_BASE_COLUMNS,
    ),
)
V1_INSTRUCT_COLUMNS = (
    *_humaneval(EIGHT, rule="deepseek-instruct"),
    _average(),
    Column(name="MBPP 3-shot", n=500, kind=Comparable.SAME, benchmark="mbpp", rule="deepseek-mbpp"),
)
V1_INSTRUCT = Table(
    name="V1 instruct",
    title="HumanEval in eight languages and MBPP; instruct models",
    paper="V1",
    protocol="greedy, prompt (a), output at most 1024 tokens (MBPP 512)",
    style="instruct-v1",
    columns=V1_INSTRUCT_COLUMNS,
    rows=_rows(
        """
        Instruct 1.3B: 65.2 45.3 51.9 45.3 59.7 55.1 12.7 52.2 48.4 49.4
        Instruct 6.7B: 78.9 63.4 68.4 68.9 67.2 72.8 36.7 72.7 66.1 65.4
        Instruct 33B:  79.3 68.9 73.4 72.7 67.9 74.1 43.0 73.9 69.2 70.0
        """,
        V1_INSTRUCT_COLUMNS,
    ),
    notes=("The paper prints 78.6 for 6.7B in Python; other harnesses 71.95 for the same model.",),
)
V1_LEETCODE_COLUMNS = tuple(
    Column(
        name=name,
        n=180,
        benchmark=benchmark,
        reason="LeetCode's problems run only on a file of the user's",
        rule="deepseek-leetcode",
    )
    for name, benchmark in (("without CoT", "leetcode"), ("with CoT", "leetcode-cot"))
)
V1_LEETCODE = Table(
    name="V1 LeetCode",
    title="LeetCode contests, July 2023 to January 2024",
    paper="V1",
    protocol="greedy, 100 tests a problem; 45 easy, 91 medium, 44 hard",
    style="instruct",
    columns=V1_LEETCODE_COLUMNS,
    rows=_rows(
        """
        Instruct 1.3B:  7.2  7.2
        Instruct 6.7B: 19.4 21.1
        Instruct 33B:  27.8 28.9
        GPT-4-Turbo:   40.6 41.8
        """,
        V1_LEETCODE_COLUMNS,
    ),
)
PROGRAMS = "programs that compute the answer: another prompt than ours"
V1_MATHS_COLUMNS = (
    _missing("GSM8K", 1319, PROGRAMS),
    _missing("MATH", 5000, PROGRAMS),
    _average("Average of seven", NOT_PUBLIC),
)
V1_MATHS = Table(
    name="V1 mathematics",
    title="Programme-aided mathematics",
    paper="V1",
    protocol="few-shot, input 2048 tokens, output 512, greedy; the program is run",
    style="base",
    columns=V1_MATHS_COLUMNS,
    rows=_rows(
        """
        Base 1.3B:     14.6 16.8 31.9
        Base 5.7B MQA: 38.8 20.0 50.4
        Base 6.7B:     43.2 19.2 54.7
        Base 33B:      60.7 29.1 65.8
        """,
        V1_MATHS_COLUMNS,
    ),
)

QWEN_REASON = "the publisher's prompt and extraction are EvalPlus's"
QWEN_COLUMNS = (
    Column(
        name="HumanEval",
        n=164,
        kind=Comparable.PROTOCOL,
        benchmark="humaneval",
        reason=QWEN_REASON,
        rule="evalplus",
    ),
    Column(
        name="MBPP",
        n=None,
        kind=Comparable.PROTOCOL,
        benchmark="mbpp",
        reason=QWEN_REASON,
        rule="evalplus",
    ),
)
QWEN = Table(
    name="Qwen2.5-Coder",
    title="The publisher's values of a model that runs on one processor",
    paper="Qwen2.5-Coder",
    protocol="pass@1, greedy, unquantised weights",
    style="instruct",
    columns=QWEN_COLUMNS,
    rows=_rows("Qwen2.5-Coder-1.5B-Instruct: 70.7 69.2", QWEN_COLUMNS),
)

TABLES = {
    table.name: table
    for table in (
        TABLE_1, TABLE_3, TABLE_4, TABLE_5, TABLE_6, TABLE_7, TABLE_8, TABLE_9, TABLE_10, FIGURE_2,
        V1_BASE, V1_INSTRUCT, V1_LEETCODE, V1_MATHS, QWEN,
    )
}  # fmt: skip

SLIPS = (
    Slip(
        table="Table 1",
        model="Coder-V2-1B, 1T",
        column="Avg",
        printed=31.2,
        recomputed=30.8,
        what="the mean of the eight languages",
    ),
    Slip(
        table="Table 3",
        model="GPT-4-Turbo-0409",
        column="Average",
        printed=72.3,
        recomputed=72.5,
        what="the plain mean of the 15 columns",
    ),
    Slip(
        table="Table 4",
        model="V1-33B-Instruct",
        column="LCB Overall",
        printed=22.5,
        recomputed=22.6,
        what="the tiers weighted by size",
    ),
    Slip(
        table="Table 4",
        model="GPT-4o-0513",
        column="LCB Overall",
        printed=43.4,
        recomputed=43.5,
        what="the tiers weighted by size",
    ),
    Slip(
        table="Table 5",
        model="DS-Coder-Base 6.7B",
        column="Java Avg",
        printed=43.3,
        recomputed=43.1,
        what="the plain mean of the five lengths",
    ),
    Slip(
        table="Table 5",
        model="DS-Coder-Base 33B",
        column="Java Avg",
        printed=44.8,
        recomputed=44.7,
        what="the plain mean of the five lengths",
    ),
    Slip(
        table="Table 5",
        model="StarCoder2 15B",
        column="Python Avg",
        printed=32.1,
        recomputed=31.9,
        what="the plain mean of the five lengths",
    ),
    Slip(
        table="Table 5",
        model="StarCoder2 15B",
        column="Java Avg",
        printed=38.7,
        recomputed=38.4,
        what="the plain mean of the five lengths",
    ),
    Slip(
        table="Table 5",
        model="Codestral 22B",
        column="Python Avg",
        printed=46.1,
        recomputed=46.2,
        what="the plain mean of the five lengths",
    ),
    Slip(
        table="Table 6",
        model="Lite-Base",
        column="Mean",
        printed=86.4,
        recomputed=85.4,
        what="the plain mean of the three languages",
    ),
)
