"""Lines drawn from held-out shards: which, with what around them, and what comes of answers."""

import ast
import io
import json
import sysconfig
import tokenize
from dataclasses import replace
from pathlib import Path
from random import Random

import numpy as np
import pytest

from midfill.corpus.languages import comment
from midfill.errors import ConfigError
from midfill.evaluate.benchmarks import benchmark as opened
from midfill.evaluate.benchmarks import held_out_lines
from midfill.evaluate.benchmarks.held_out_lines import (
    Drawing,
    draw,
    first_characters,
    last_characters,
    load,
    write_cases,
)
from midfill.evaluate.code_lines import askable
from midfill.evaluate.corpus_texts import UNKNOWN, CorpusTexts, path_of
from midfill.evaluate.harness import Judging, evaluate
from midfill.evaluate.report import as_text, group_table
from midfill.tokenizer.holes import rearranged
from token_shards import byte_tokenizer, document, write_token_shards

STDLIB = Path(sysconfig.get_paths()["stdlib"])
NAMES = ("textwrap", "shlex", "queue", "heapq", "bisect", "sched", "csv", "colorsys", "cmd")
JAVASCRIPT = """// lib/sum.js
/* Sums
   numbers of a list. */
function sum(values) {
  let whole = 0; // so far
  for (const value of values) {
    whole += value;
  }
  // the whole
  return whole;
}

module.exports = { sum };
"""


def python_texts() -> list[str]:
    return [f"#{name}.py\n" + (STDLIB / f"{name}.py").read_text() for name in NAMES]


def build(folder: Path, held_out: list[str], train: list[str], **more) -> CorpusTexts:
    tokenizer = byte_tokenizer(folder / "tokenizer")
    train_ids, held_ids = ([document(tokenizer, text) for text in t] for t in (train, held_out))
    write_token_shards(folder / "shards", train_ids, held_ids, vocabulary=tokenizer.rows, **more)
    return CorpusTexts(folder)


@pytest.fixture(scope="module")
def texts(tmp_path_factory: pytest.TempPathFactory) -> CorpusTexts:
    sources = python_texts()
    return build(tmp_path_factory.mktemp("build"), [*sources[:6], JAVASCRIPT], sources[6:])


@pytest.fixture(scope="module")
def cases(texts: CorpusTexts, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("cases") / "cases.jsonl"
    write_cases(path, texts, Drawing(cases=20))
    return path


def rows_of(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text().splitlines()][1:]


@pytest.mark.parametrize("language", ["Python", "C", "HTML", "CSS", "Haskell", "Markdown", "Vim"])
def test_a_path_comment_is_read_back(language: str):
    ending = {"Python": ".py", "HTML": ".html", "CSS": ".css", "Haskell": ".hs", "C": ".c"}
    path = f"src/a b/x{ending.get(language, '.md')}"
    name = language if language in ending else "Markdown"
    assert path_of(comment(name, path), "") == (path, name)


def test_a_plain_comment_is_no_path():
    assert path_of("# Copyright of nobody", "x = 1") == ("", UNKNOWN)
    assert path_of("#", "") == path_of("", "") == ("", UNKNOWN)


def test_documents_come_back_with_their_files(tmp_path: Path):
    pieces = ["#pkg/a.py\nimport b\n", "// lib/b.js\nlet x = 1;\n", "#pkg/c.py\nc = 3\n"]
    parts = [f"{piece}\n\n" for piece in pieces[:-1]] + pieces[-1:]
    texts = build(tmp_path, ["".join(parts)], ["#t.py\nx = 1\n"])
    tokenizer = byte_tokenizer(tmp_path / "again")
    sizes = [len(tokenizer.encode(part)) for part in parts]
    starts = 1 + np.cumsum([0, *sizes[:-1]])
    starts.astype("<u8").tofile(tmp_path / "shards" / "held_out-00000.files.bin")
    (found,) = texts.documents("held_out")
    assert [(f.path, f.language) for f in found.files] == [
        ("pkg/a.py", "Python"),
        ("lib/b.js", "JavaScript"),
        ("pkg/c.py", "Python"),
    ]
    assert found.text == "".join(parts)
    assert found.language == "Python"


@pytest.mark.parametrize("spm", [False, True])
def test_documents_with_a_hole_are_closed_or_left_out(tmp_path: Path, spm: bool):
    tokenizer = byte_tokenizer(tmp_path / "tokenizer")
    assert tokenizer.fim is not None
    text = python_texts()[0]
    ids = rearranged(
        text,
        lambda part: np.array(tokenizer.encode(part), np.uint32),
        tokenizer.fim,
        split="character",
        spm=spm,
        chance=Random(1),
    )
    whole = [np.array([tokenizer.bos_id, *ids, tokenizer.eos_id])]
    write_token_shards(tmp_path / "shards", whole, whole, vocabulary=tokenizer.rows)
    texts = CorpusTexts(tmp_path)
    assert [one.text for one in texts.documents("held_out")] == [text]
    assert not list(texts.documents("held_out", with_holes=False))


def test_cases_stand_in_their_files(texts: CorpusTexts, cases: Path):
    files = {file.path: file.text for one in texts.documents("held_out") for file in one.files}
    rows = rows_of(cases)
    assert len(rows) == 20
    for row in rows:
        text = files[row["path"]]
        assert text.count(row["prefix"] + row["answer"] + row["suffix"]) == 1
        assert text.split("\n")[row["line"] - 1].rstrip() == row["answer"]
        assert 0 < len(row["prefix"]) <= 1024
        assert 0 < len(row["suffix"]) <= 512
        assert row["prefix"].endswith("\n")
        assert row["suffix"].startswith("\n")


def test_cases_depend_on_build_and_seed_only(texts: CorpusTexts, cases: Path, tmp_path: Path):
    sources = python_texts()
    other = build(tmp_path / "b", [JAVASCRIPT, *reversed(sources[:6])], sources[6:], shards=1)
    again, seeded = tmp_path / "again.jsonl", tmp_path / "seeded.jsonl"
    write_cases(again, other, Drawing(cases=20))
    assert rows_of(again) == rows_of(cases)  # in another order, in other shards
    write_cases(seeded, texts, Drawing(cases=20, seed=1))
    assert {row["task_id"] for row in rows_of(seeded)} != {r["task_id"] for r in rows_of(again)}


def test_no_line_is_comment_docstring_or_bracket():
    """Against Python's own tokenizer and syntax tree."""
    for text in python_texts():
        code = set()
        for token in tokenize.generate_tokens(io.StringIO(text).readline):
            if token.type in (tokenize.NAME, tokenize.NUMBER, tokenize.STRING):
                code.update(range(token.start[0], token.end[0] + 1))
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
                code -= set(range(node.lineno, (node.end_lineno or 0) + 1))
        found = [i + 1 for i in askable(text.split("\n"), "Python")]
        assert set(found) <= code
        assert len(found) > 0.4 * len(code)


def test_comments_in_blocks_are_seen():
    lines = JAVASCRIPT.split("\n")
    asked = [lines[i] for i in askable(lines, "JavaScript")]
    assert asked == [JAVASCRIPT.split("\n")[i] for i in (3, 4, 5, 6, 9)]
    assert asked[-1] == "  return whole;"


def test_languages_take_turns_and_small_ones_are_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    script = "\n".join(f"  const value{i} = compute({i});" for i in range(20))
    texts = build(tmp_path, [f"// a.js\n{script}", *python_texts()[:4]], ["#t.py\nx = 1\n"])
    assert {hole.language for hole in draw(texts, Drawing())} == set()  # neither has 50
    monkeypatch.setattr(held_out_lines, "LEAST", 4)
    holes = draw(texts, Drawing())
    assert {hole.language for hole in holes[:2]} == {"JavaScript", "Python"}
    assert sum(hole.path == "a.js" for hole in holes) == held_out_lines.PER_FILE


def test_nothing_held_out_is_said(tmp_path: Path):
    texts = build(tmp_path, [], python_texts()[:1])
    with pytest.raises(ConfigError, match="no lines to ask for") as problem:
        write_cases(tmp_path / "cases.jsonl", texts, Drawing())
    assert "held_out" in problem.value.fix
    with pytest.raises(ConfigError, match="no corpus build"):
        opened("infilling-held-out", tmp_path / "tokenizer")


def test_a_build_gives_the_cases_once(
    texts: CorpusTexts, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    monkeypatch.setenv("MIDFILL_CACHE", str(tmp_path))
    monkeypatch.setattr(held_out_lines, "LEAST", 1)
    first = opened("infilling-held-out", texts.shards.folder.parent)
    monkeypatch.setattr(held_out_lines, "write_cases", None)  # is not called again
    assert opened("infilling-held-out", texts.shards.folder.parent) == first


def test_texts_are_cut_at_line_ends():
    text = "one\ntwo\nthree\n"
    assert [last_characters(text, n) for n in (99, 13, 10, 9, 6, 3)] == [
        text,
        "two\nthree\n",
        "two\nthree\n",
        "three\n",
        "three\n",
        "ee\n",
    ]
    assert [first_characters("\none\ntwo", n) for n in (99, 7, 4, 3)] == [
        "\none\ntwo",
        "\none",
        "\none",
        "\non",
    ]


def test_answers_are_taken_by_how_they_were_asked(cases: Path):
    filling = load(cases)
    task = filling.tasks("base")[0]
    assert filling.extract(task, "  x = 1  \ny", "first-line") == "  x = 1"
    lefty = filling.without_suffix()
    other = lefty.tasks("base")[0]
    assert other.prompt.suffix is None
    assert other.prompt.text == task.row["prefix"].removesuffix("\n")
    assert lefty.extract(other, " and\n\n  x = 1\ny", "first-line") == "  x = 1"
    assert lefty.extract(other, " and no more", "first-line") == ""
    assert not lefty.arms(other)
    asked = {task.task_id: filling.arms(task) for task in filling.tasks("base")}
    some = {name: arms["left to right"] for name, arms in asked.items() if arms}
    assert 0 < len(some) < len(asked) / 2
    assert some.items() <= {task.task_id: task.prompt for task in lefty.tasks("base")}.items()


def test_indentation_counts_and_white_space_at_the_end_does_not(cases: Path):
    filling = load(cases)
    task = replace(filling.tasks("base")[0], row={"answer": "    return 1"})
    assert filling.program(task, "    return 1\t ").value == 1
    wrong = filling.program(task, "return 1")
    assert (wrong.value, wrong.also["but for indentation"], wrong.also["edit_similarity"]) == (
        0,
        1,
        1,
    )


def test_prompts_fit_a_short_context(cases: Path):
    filling = load(cases)
    assert filling.for_model(len, 8192) is filling
    small = filling.for_model(len, 256)
    assert small.version != filling.version
    assert "cut to" in small.notes[0]
    for row, whole in zip(small.rows, filling.rows, strict=True):
        assert len(row["prefix"]) + len(row["suffix"]) + held_out_lines.MAX_TOKENS < 256
        assert row["answer"] == whole["answer"]
        assert whole["prefix"].endswith(row["prefix"])
        assert whole["suffix"].startswith(row["suffix"])


def answered(cases: Path, folder: Path, right: float):
    """A run over answers of which the first share is right."""
    rows = rows_of(cases)
    answers = folder / "answers.jsonl"
    lines = [
        {"task_id": r["task_id"], "completion": r["answer"] if i < right * len(rows) else "nothing"}
        for i, r in enumerate(rows)
    ]
    answers.write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    return evaluate(opened("infilling-held-out", cases), answers, judging=Judging(verdicts=None))


def test_a_model_that_loses_to_a_table_is_told_so(cases: Path, tmp_path: Path):
    result = answered(cases, tmp_path, right=0)
    assert result.rules[result.rule].value == 0
    assert "not better than the table" in as_text(result)
    assert len(result.baselines) == 4
    head, (row,) = group_table(result)
    assert head[3:-1] == [base.name for base in result.baselines]
    assert row[0] == "Python"
    assert row[3:-1] == [f"{100 * base.value:.1f}" for base in result.baselines]


def test_a_part_that_loses_is_named_where_the_whole_wins(cases: Path, tmp_path: Path):
    result = answered(cases, tmp_path, right=1)
    assert result.rules[result.rule].value == 1
    assert "table" not in as_text(result).partition("self-check")[2]
    beaten = replace(result.baselines[0], groups={"Python": (1.0, 20)})
    said = as_text(replace(result, baselines=(beaten,)))
    assert "not above the table 'most frequent line' in Python (100.0 against 100.0 %)" in said
