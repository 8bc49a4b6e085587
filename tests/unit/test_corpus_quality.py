"""Syntax in a process that may die, measures of reading worked out by hand, labels and cuts."""

import importlib.util
import math
import os
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Literal

import pytest

from midfill.config.corpus.quality import (
    BOUND_NAMES,
    Bounds,
    ClassifierConfig,
    HeuristicConfig,
    QualityConfig,
    SyntaxConfig,
)
from midfill.corpus.quality.heuristics import heuristics, judge, measure
from midfill.corpus.quality.labels import DAMAGES, label, split
from midfill.corpus.quality.model import QualityModel, above, cuts
from midfill.corpus.quality.parsers import GRAMMARS, STANDARD, available
from midfill.corpus.quality.python2 import to_python3
from midfill.corpus.quality.suspect import suspicion
from midfill.corpus.quality.syntax import Checker
from midfill.corpus.record import Document, Drop
from midfill.errors import ConfigError

WHOLE = {
    "C": "int add(int a, int b) { return a + b; }\n",
    "C#": "class A { int Add(int a, int b) { return a + b; } }\n",
    "C++": "template <class T> T add(T a, T b) { return a + b; }\n",
    "CSS": "a:hover { color: red; }\n",
    "Go": "package a\n\nfunc Add(a, b int) int { return a + b }\n",
    "HTML": "<html><body><p>a</p></body></html>\n",
    "Haskell": "add :: Int -> Int -> Int\nadd a b = a + b\n",
    "JSON": '{"a": [1, 2.5, null]}\n',
    "Java": "class A { int add(int a, int b) { return a + b; } }\n",
    "JavaScript": "const add = (a, b) => a + b;\n",
    "JSX": "const A = () => <p className='a'>{1 + 2}</p>;\n",
    "Kotlin": "fun add(a: Int, b: Int): Int = a + b\n",
    "Lua": "local function add(a, b) return a + b end\n",
    "PHP": "<?php function add($a, $b) { return $a + $b; }\n",
    "Python": "async def add(a, /, b):\n    return f'{a + b}'\n",
    "Ruby": "def add(a, b)\n  a + b\nend\n",
    "Rust": "fn add<'a>(a: &'a i32, b: i32) -> i32 { a + b }\n",
    "Scala": "object A { def add(a: Int, b: Int): Int = a + b }\n",
    "Shell": 'add() { echo "$(($1 + $2))"; }\n',
    "TOML": "[a]\nb = 1979-05-27\n",
    "TypeScript": "const add = (a: number, b: number): number => a + b;\n",
    "XML": "<a><b c='d'/></a>\n",
    "YAML": "a:\n  - b: c\n",
}
SEVERE = {  # what a tolerant parser cannot place for the most part; the strict ones need less
    "JSON": '{"a": [1, 2.5, null}\n',
    "PHP": "<?php " + "((( ]]] } } @@ if if + * / 17 ::: ,,, { [ ) ) && fn class =\n" * 8,
    "Python": "def add(a, b:\n    return a + b\n",
    "TOML": "[a\nb = 1\n",
    "XML": "<a><b></a>\n",
    "YAML": "a: [b\nc: }\n",
}
GARBAGE = "((( ]]] } } @@ if if + * / 17 ::: ,,, { [ ) ) &&& fn class def =\n" * 8

PYTHON_2 = [
    "print 'hello'\n",
    "if x: print x\nelse: print 'not', x\n",
    "for i in range(3): print i,\n",
    "try:\n    pass\nexcept (A, B), e:\n    raise C, 'text'\n",
    "try: pass\nexcept IOError, (code, text): print code\n",
    "exec code in names\n",
    "exec 'a = 1'; print a\n",
    "mode = 0755 | 0L | 0xFFL\nif mode <> 3L: pass\n",
    "text = ur'\\d' + `value`\n",
    "def f(a, (b, c), d=(1, 2)):\n    print b\n",
    "def f():\n    if 1:\n\tprint 1\n        print 2\n",
    'a = """print b"""; print a\n',
    "print 'a' \\\n    'b'\n",
    "class A:\n    def f(self):\n        print 'x' # remark\n        return 0\n",
]
NEITHER = [
    "print 'hello\n",
    "def f(:\n    print 1\n",
    "class A\n    pass\n",
    "<<<<<<< HEAD\nprint 1\n=======\nprint 2\n>>>>>>> b\n",
    "print 1 2 3 if\n",
    "except A, e: pass\n",
]


@pytest.fixture(scope="module")
def checker() -> Iterator[Checker]:
    with Checker() as made:
        yield made


def document(text: str, language: str | None = "Python", path: str = "a.py", **more) -> Document:
    size = len(text.encode("utf-8", "surrogatepass"))
    return Document(repo="r", path=path, text=text, size=size, sha256="", language=language, **more)


@pytest.mark.parametrize("language", sorted(WHOLE))
def test_whole_files_pass_and_garbage_does_not(checker: Checker, language: str):
    if not available(language):
        pytest.skip(f"no parser of {language} is installed")
    assert checker.parse(language, WHOLE[language]).verdict == "ok"
    broken = SEVERE.get(language, GARBAGE)
    assert checker.parse(language, broken).verdict == "syntax"
    drop = checker.rule(document(broken, language))
    assert drop is not None
    assert drop.reason == "syntax"


def test_the_parsers_that_the_project_installs_are_there():
    for language in ("Python", "JSON", "TOML", "XML", "Java", "C++", "C#"):
        assert available(language), language
    assert not set(GRAMMARS) & set(STANDARD)


@pytest.mark.parametrize("text", PYTHON_2)
def test_python_2_is_not_broken(checker: Checker, text: str):
    assert checker.parse("Python", text).verdict == "python2"
    assert checker.rule(document(text)) is None


@pytest.mark.parametrize("text", NEITHER)
def test_neither_python_is_broken(checker: Checker, text: str):
    assert checker.parse("Python", text).verdict == "syntax"


def test_strings_are_not_rewritten():
    text = 'a = \'print b\'  # print c\nb = """\nprint d\nexcept E, e:\n"""\n'
    assert to_python3(text) == text


def test_the_first_wrong_line_is_told(checker: Checker):
    assert checker.parse("Python", "a = 1\nb = = 2\n").value == 2
    assert checker.parse("JSON", '{"a": 1,\n "b" 2}').value == 2
    assert checker.parse("XML", "<a>\n<b></a>").value == 2


NEWER_PYTHON = [
    "def first[T](values: list[T]) -> T:\n    return values[0]\n",
    "class Box[T, *Ts]:\n    pass\n",
    "type Pair[T] = tuple[T, T]\n",
    'text = f"{"a".join(["b"])}"\n',
    "text = f'{'\\n'.join(lines)}'\n",
]


@pytest.mark.parametrize("text", NEWER_PYTHON)
def test_python_newer_than_the_interpreter_is_not_broken(checker: Checker, text: str):
    if not importlib.util.find_spec("tree_sitter_python"):
        pytest.skip("no grammar of Python is installed")
    assert checker.parse("Python", text).verdict == "ok"
    assert checker.parse("Python", f"{text}a = )\n").verdict == "syntax"


def test_names_declared_twice_are_no_matter_of_syntax(checker: Checker):
    assert checker.parse("Python", "def f(a):\n    global a\n").verdict == "ok"


def test_a_macro_at_the_top_does_not_make_all_of_a_file_wrong(checker: Checker):
    functions = "int f(int a) { return a + 1; }\n" * 40
    assert (
        checker.parse("C++", f"BEGIN_NAMESPACE(a) {{ namespace b {{\n{functions}").verdict == "ok"
    )


LONG = "def add(a, b):\n    '''(a, or [b.'''\n    return {a: '(', b: \"[{\"}  # :-( so\n\n\n" * 40
BROKEN = {
    "brackets": LONG.replace("(a, b)", "(a, b", 1),
    "quotes": LONG + '"""\n',
    "marks": LONG + "<<<<<<< HEAD\na = 1\n=======\na = 2\n>>>>>>> b\n",
    "unfinished": LONG + "x = add(1,\n",
    "indented": "    return 1\n" + LONG,
    "tabs": LONG + "if 1:\n\tx = 1\n        y = 2\n",
    "undecoded": LONG + "x = \ufffd\n",
    "small": "a = 1\n",
}


@pytest.mark.parametrize("why", BROKEN)
def test_what_looks_broken_is_parsed(why: str):
    assert suspicion("Python", BROKEN[why], small=100) == why


def test_whole_files_are_not_parsed(checker: Checker):
    assert suspicion("Python", LONG, small=100) is None
    assert checker.parse("Python", LONG).verdict == "ok"
    javascript = "// it's (\nfunction f(a) { return [a, ')', \"]\"]; /* { */ }\n" * 40
    assert suspicion("JavaScript", javascript, small=100) is None
    rust = "fn f<'a>(a: &'a str) -> char { if a == \"(\" { '(' } else { '\\'' } }\n" * 40
    assert suspicion("Rust", rust, small=100) is None
    assert suspicion("PHP", "<?php f();\n" * 40, small=100) is None
    assert suspicion("HTML", "<p>{{ a }}</p>\n" * 40, small=100) is None


def test_some_signs_belong_to_a_language():
    assert suspicion("PHP", "--TEST--\n" * 40, small=100) == "no_tag"
    assert suspicion("JSON", "[]" * 400, small=100) == "cheap"
    assert suspicion("Java", "class {{ a }} {}\n" * 40, small=100) == "marks"


def test_which_files_the_rule_parses():
    hidden = document(LONG + "a b\n")  # broken, and nothing shows it
    kinds: list[tuple[Literal["suspect", "all", "none"], bool, bool]] = [
        ("suspect", False, True),
        ("all", True, True),
        ("none", False, False),
    ]
    for parse, finds_hidden, finds_shown in kinds:
        with Checker(SyntaxConfig(parse=parse)) as checker:
            assert (checker.rule(hidden) is not None) is finds_hidden
            assert (checker.rule(document(BROKEN["brackets"])) is not None) is finds_shown
    with pytest.raises(ConfigError, match="parse is 'some'"):
        SyntaxConfig(parse="some")  # pyright: ignore[reportArgumentType]


def test_configuration_files_may_hold_remarks(checker: Checker):
    assert checker.parse("JSON", '{\n // why\n "a": "//no", /* b */ "c": [1,],\n}').verdict == "ok"


def test_the_source_of_a_template_is_not_judged(checker: Checker):
    assert checker.parse("YAML", "{{ if a }}\nb: {{ c }\n").verdict == "unchecked"


def test_tolerated_errors_are_told_as_a_share(checker: Checker):
    text = "class A { int f() { return 1; } }\n" * 50 + "class B { int = ; }\n"
    checked = checker.parse("Java", text)
    assert checked.verdict == "ok"
    assert isinstance(checked.value, float)
    assert 0 < checked.value < 0.1
    with Checker(SyntaxConfig(error_share=0.0)) as strict:
        assert strict.parse("Java", text).verdict == "syntax"


def test_languages_without_a_parser_and_long_texts_are_not_judged():
    with Checker(SyntaxConfig(largest=10)) as checker:
        assert checker.parse("Brainfuck", "]").verdict == "unchecked"
        assert checker.parse(None, "]").verdict == "unchecked"
        assert checker.parse("Python", "(" * 11).verdict == "unchecked"
        assert checker.parse("Python", "(" * 10).verdict == "syntax"
    with Checker(SyntaxConfig(languages=("JSON",))) as checker:
        assert checker.parse("Python", "(").verdict == "unchecked"


HOSTILE = {
    "brackets": "(" * 10_000,
    "closed brackets": "[" * 10_000 + "]" * 10_000,
    "minus": "-" * 100_000 + "1",
    "attributes": "a" + ".a" * 100_000,
    "objects": '{"a":' * 10_000,
    "one line": "x = '" + "a" * 900_000 + "'\n",
    "NUL": "a = 1\0\n",
    "surrogate": "a = '\ud800'\n",
    "empty": "",
    "quotes": "'" * 100_001,
    "backquotes": "`" * 50_001,
    "escapes": "print '" + "\\'" * 200_000,
    "prints": "print;" * 50_000,
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_texts_end_in_a_verdict_and_the_next_text_is_parsed(checker: Checker, name: str):
    for language in ("Python", "JSON", "Java"):
        checker.parse(language, HOSTILE[name])
        checker.rule(document(HOSTILE[name], language))
    assert checker.parse("Python", "a = 1\n").verdict == "ok"


OPEN_MARKS = ["/*( ", '\\"', '"""\\', "'''", "'a", "# (", '"(', "{{ ", "\ud800("]


@pytest.mark.parametrize("piece", OPEN_MARKS)
def test_looking_at_hostile_texts_takes_no_time(piece: str):
    for language in ("Python", "Java", "JavaScript"):
        suspicion(language, f'("{piece * (1_000_000 // len(piece))}x', 0)
        suspicion(language, f"{piece * (1_000_000 // len(piece))}(x", 0)


def test_configuration_files_with_open_marks_take_no_time(checker: Checker):
    for text in ("/*" * 400_000, '"' + '\\"' * 400_000):
        assert checker.parse("JSON", text).verdict == "syntax"


def test_ten_thousand_nested_brackets_have_a_reason(checker: Checker):
    deep = checker.rule(document("[" * 10_000 + "]" * 10_000, "JSON"))
    assert deep == Drop("parser_depth", "JSON")
    broken = checker.rule(document("(" * 10_000, "Python"))
    assert broken is not None
    assert broken.reason in ("syntax", "parser_depth", "parser_crash")


# Parsers as a user may add them, each doing what grammars have been seen to do.
BAD_PARSERS = """
import ctypes, os, time
def hang(text):
    while text == "bad": pass
    return "ok", None
def crash(text):
    if text == "bad": ctypes.string_at(0)
    return "ok", None
def leave(text):
    if text == "bad": os._exit(0)
    return "ok", None
def hoard(text):
    return ("ok", None) if text != "bad" else ("ok", len(bytearray(1 << 40)))
def sleep(text):
    if text == "bad": time.sleep(600)
    return "ok", None
def once(text):
    path = os.environ["MIDFILL_TEST_ONCE"]
    if text == "bad" and not os.path.exists(path):
        open(path, "w").close()
        ctypes.string_at(0)
    print("a parser that prints")
    return "ok", None
"""


@pytest.fixture
def bad(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Checker]:
    (tmp_path / "bad_parsers.py").write_text(BAD_PARSERS)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("MIDFILL_TEST_ONCE", str(tmp_path / "once"))
    names = "hang crash leave hoard sleep once".split()
    more = {name: f"bad_parsers:{name}" for name in names}
    with Checker(SyntaxConfig(parsers=more, cpu_s=1, wall_s=20)) as made:
        yield made


@pytest.mark.parametrize(
    ("name", "verdict"),
    [("crash", "parser_crash"), ("leave", "parser_crash"), ("hoard", "parser_memory")],
)
def test_a_parser_that_fails_costs_one_verdict(bad: Checker, name: str, verdict: str):
    texts = [document(text, name) for text in ("a", "bad", "b")]
    assert list(bad.check(texts)) == [None, Drop(verdict, name), None]
    lenient = replace(bad.config, drop_failed=False)
    with Checker(lenient) as keeping:
        assert list(keeping.check(texts)) == [None, None, None]


@pytest.mark.slow
def test_a_parser_that_hangs_is_ended_by_its_processor_time(bad: Checker):
    texts = [document(text, "hang") for text in ("a", "bad", "b")]
    assert list(bad.check(texts)) == [None, Drop("parser_time", "hang"), None]


@pytest.mark.slow
def test_a_parser_that_sleeps_is_ended_by_the_clock(bad: Checker):
    with Checker(replace(bad.config, wall_s=3)) as impatient:
        texts = [document(text, "sleep") for text in ("bad", "b")]
        assert list(impatient.check(texts)) == [Drop("parser_time", "sleep"), None]


def test_a_text_is_tried_again_alone(bad: Checker):
    assert bad.parse("once", "bad").verdict == "ok"


def test_the_process_is_replaced_and_ended():
    checker = Checker(SyntaxConfig(recycle=2))
    pids = []
    with checker:
        for _ in range(5):
            assert checker.parse("Python", "a = 1").verdict == "ok"
            assert checker._process is not None
            pids.append(checker._process.pid)
    assert len(set(pids)) == 3
    for pid in set(pids):
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)


READABLE = '''"""Adds."""
# A remark.
def add(first, second):
    """The sum."""
    total = first + second  # again
    return total

def twice(value):
    if value:
        return add(value, value)
    return "none"
'''


def test_measures_by_hand():
    m = measure(READABLE, "Python")
    assert m.lines == 10
    comments = '"""Adds."""' + "#Aremark." + '"""Thesum."""' + "#again"
    filled = "".join(READABLE.split())
    assert m.comment == pytest.approx(len(comments) / len(filled))
    names = "def add first second total first second return total".split()
    names += "def twice value if value return add value value return".split()
    assert m.name == pytest.approx(sum(map(len, names)) / len(names))
    assert m.one_letter == 0
    assert m.function_lines == 10 / 2
    assert m.nesting == pytest.approx((0 + 0 + 0 + 1 + 1 + 1 + 0 + 1 + 2 + 1) / 10)
    assert m.duplicate_lines == 0
    assert m.literal == pytest.approx(len('"none"') / (len(filled) - len(comments)))
    assert math.isnan(m.per_token)
    assert measure(READABLE, "Python", count_tokens=lambda text: 10).per_token == len(READABLE) / 10


def test_names_strings_and_comments_of_other_languages():
    m = measure("x = 'it''s a // string'; // y z\n/* w\n v */ ab_1 = 12;\n", "JavaScript")
    assert m.one_letter == 1 / 2  # x and ab_1
    assert m.literal == pytest.approx(
        (len("'it''sa//string'") + len(" a // string") - len("a//string") + 3)
        / len("x='it''sa//string';ab_1=12;")
    )
    lifetimes = measure("fn f<'a>(b: &'a T) -> &'a T { b }\n", "Rust")
    assert lifetimes.literal == 0
    chinese = measure("变量 = 函数(参数)\n", "Python")
    assert chinese.name == 2


@pytest.mark.parametrize(
    ("text", "language"),
    [
        ("def a():\n  pass\n\n  async def b(c):\n    pass\n", "Python"),
        ("int a(void)\n{\n  if (b) {\n  }\n}\nstatic char *c(int d) {\n}\n", "C"),
        (
            "class A {\n  public int a() {\n for (;;) {\n }\n }\n  void b(int c) throws D {\n}\n}",
            "Java",
        ),
        ("export async function a() {\n}\nb(c) {\n}\n", "JavaScript"),
        ("func a() {\n}\nfunc (b *B) C() error {\n}\n", "Go"),
        ("pub fn a() {}\n  pub(crate) unsafe fn b() {}\n", "Rust"),
    ],
)
def test_functions_are_found(text: str, language: str):
    lines = sum(bool(line.strip()) for line in text.split("\n"))
    assert measure(text, language).function_lines == lines / 2


@pytest.mark.parametrize("name", [*HOSTILE, "blanks", "words", "parentheses", "openings", "tabs"])
def test_measuring_takes_linear_time(name: str):
    """20 times as long may take 60 times as long, no more; a quadratic rule would take 400 times."""
    import time

    more = {
        "blanks": " " * 20_000,
        "words": "a " * 20_000,
        "parentheses": "a" + ")" * 20_000,
        "openings": '/* """ ` ' * 5_000,
        "tabs": "\t" * 20_000 + "a",
    }
    text = (more | HOSTILE)[name][:20_000]
    if len(text) < 1000:
        pytest.skip("too short to be slow")

    def seconds(given: str) -> float:
        start = time.process_time()
        for language in ("Python", "JavaScript"):
            measure(given, language)
        return time.process_time() - start

    seconds(text)
    assert seconds(text * 20) < 60 * max(seconds(text), 0.002)


@pytest.mark.parametrize("name", BOUND_NAMES)
def test_each_bound_drops_beyond_it_and_not_at_it(name: str):
    m = replace(measure(READABLE, "Python", count_tokens=lambda text: 60), lines=30)
    measured = name.partition("_")[2]
    value = getattr(m, measured)
    none = dict.fromkeys(BOUND_NAMES)
    beyond = -0.001 if name.startswith("most") else 0.001
    assert judge(m, Bounds(**{**none, name: value})) is None
    drop = judge(m, Bounds(**{**none, name: value + beyond}))
    assert drop == Drop(f"reads_{measured}", round(value, 4))
    assert judge(replace(m, lines=29), Bounds(**{**none, name: value + beyond})) is None


def test_bad_files_are_dropped_and_ordinary_ones_are_not():
    rule = heuristics(HeuristicConfig())
    numbers = "DATA = [\n" + "    0x12345678, 0x9abcdef0, 0x11111111,\n" * 60 + "]\n"
    assert rule(document(numbers)) == Drop(
        "reads_duplicate_lines", pytest.approx(59 / 61, abs=0.02)
    )
    names = "".join(f"{chr(97 + i % 26)}={chr(97 + i % 25)}+{i};\n" for i in range(60))
    drop = rule(document(names, "JavaScript"))
    assert drop is not None
    assert drop.reason in ("reads_one_letter", "reads_name")
    assert rule(document(names, "R")) is None  # short names are the custom there
    assert rule(document("a " * 50 + "\n", None)) is None
    for path in ("heuristics.py", "syntax.py", "python2.py", "classifier.py"):
        import midfill.corpus.quality.heuristics as module

        text = (Path(module.__file__).parent / path).read_text(encoding="utf-8")
        assert rule(document(text)) is None, path


def repository(name: str, files: int = 30) -> list[Document]:
    """A repository with tests and documentation whose files read well, each a little different."""
    random = Random(name)
    words = "alpha bravo charlie delta echo foxtrot golf hotel india juliet kilo lima".split()

    def function(number: int) -> str:
        a, b, c = random.sample(words, 3)
        return (
            f"def {a}_{b}(first_{a}, second_{b}):\n"
            f"    # The {a} of the {b}, as the {c} has it.\n"
            f"    if first_{a} is None:\n        return second_{b}.{c}()\n"
            f"    return first_{a} + second_{b} * {number}\n\n\n"
        )

    texts = ["".join(function(i) for i in range(8)) for _ in range(files)]
    made = [document(text, path=f"src/m{i}.py") for i, text in enumerate(texts)]
    made += [document("def test(): pass\n", path="tests/test_a.py"), document("", path="README")]
    for one in made:
        one.repo = name
    return made


def test_labels_come_from_cared_for_repositories_and_from_rules():
    documents = repository("one")
    marked = document("// generated\n", path="g.py", drop=Drop("generated_header"))
    other = document("// odd\n", path="o.py", drop=Drop("encoding"))
    labelled = list(label([*documents, marked, other]))
    kinds = {one.kind for one in labelled}
    assert "good" in kinds
    assert "generated_header" in kinds
    assert kinds & set(DAMAGES)
    assert "encoding" not in kinds
    for one in labelled:
        assert one.good == (one.kind == "good")
        if one.good:
            assert one.text == next(d.text for d in documents if d.id == one.id)
    assert list(label([*documents, marked, other])) == labelled
    without_tests = [one for one in documents if "test" not in one.path]
    assert list(label(without_tests)) == []


@pytest.mark.parametrize("name", sorted(DAMAGES))
def test_damages_change_the_text(name: str):
    text = repository("one")[0].text
    spoiled = DAMAGES[name](text, Random(1))
    assert spoiled != text
    assert spoiled == DAMAGES[name](text, Random(1))
    assert DAMAGES[name]("", Random(1)).strip() == ""


def test_the_model_tells_spoiled_files_of_unseen_repositories():
    repos = {f"repo{i}": repository(f"repo{i}") for i in range(8)}
    held = split(list(repos), 0.25)
    assert len(held) == 2
    known = [one for name in repos if name not in held for one in label(repos[name])]
    model = QualityModel.train(known, ClassifierConfig(bits=14, word_ngrams=2))
    unseen = [one for name in held for one in label(repos[name])]
    good = [model.score(one.text) for one in unseen if one.good]
    bad = [model.score(one.text) for one in unseen if not one.good]
    pairs = [(g > b) for g in good for b in bad]
    assert sum(pairs) / len(pairs) > 0.9


def test_each_language_is_cut_by_its_own_share():
    config = QualityConfig(keep=0.9, keep_by_language={"Java": 0.5}, least_files=10)
    low = [i / 1000 for i in range(100)]
    scored = {
        "Python": ([0.9 + one for one in low], [1] * 100),
        "Java": (low, [1] * 100),
        "Nim": (low[:9], [1] * 9),
    }
    cut = cuts(scored, config)
    assert set(cut) == {"Python", "Java"}
    rule = above(cut)
    for language, kept in (("Python", 90), ("Java", 50), ("Nim", 9)):
        documents = [document("", language, quality=one) for one in scored[language][0]]
        assert sum(rule(one) is None for one in documents) == kept
    assert rule(document("", "Python")) is None  # without a score nothing is dropped
    shuffled = {name: (list(reversed(a)), b) for name, (a, b) in reversed(scored.items())}
    assert cuts(shuffled, config) == cut


def test_a_cut_can_count_bytes():
    config = QualityConfig(keep=0.5, least_files=1, unit="bytes")
    assert cuts({"C": ([0.9, 0.8, 0.1], [400, 100, 500])}, config) == {"C": 0.8}


@pytest.mark.parametrize(
    "make",
    [
        lambda: SyntaxConfig(cpu_s=0),
        lambda: SyntaxConfig(error_share=2),
        lambda: ClassifierConfig(bits=40),
        lambda: ClassifierConfig(epochs=0),
        lambda: QualityConfig(keep=1.1),
    ],
)
def test_settings_that_make_no_sense_are_refused(make):
    with pytest.raises(ConfigError):
        make()


def test_the_worker_loads_nothing_heavy():
    """A new process must start in a moment: neither numpy nor torch nor a grammar."""
    import subprocess

    code = "import sys, midfill.corpus.quality.worker; print(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
    )
    loaded = set(done.stdout.split())
    assert "midfill.corpus.quality.parsers" in loaded
    assert not loaded & {"numpy", "torch", "tree_sitter", "yaml"}
