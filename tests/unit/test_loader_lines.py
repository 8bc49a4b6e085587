"""RepoBench's form from a user's file: prompts, what is cut, first lines, scores."""

import json
import re
from pathlib import Path
from typing import cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

import made_up_result
from midfill.errors import ConfigError
from midfill.evaluate.benchmarks import benchmark as opened
from midfill.evaluate.benchmarks import repobench
from midfill.evaluate.report import rule_table
from midfill.evaluate.result import Judged, SampleResult, TaskResult
from midfill.evaluate.task import Score

ROW = {
    "repo_name": "someone/thing",
    "file_path": "thing/use.py",
    "context": [
        {"identifier": "a", "path": "thing/a.py", "snippet": "def a():\n    return 1"},
        {"identifier": "b", "path": "thing/b.py", "snippet": "def b():\n    return 2\n\n\n\n\n"},
    ],
    "import_statement": "from thing.a import a",
    "token_num": 700,
    "cropped_code": "\ndef use():\n    x = a()\n\n",
    "all_code": "",
    "next_line": "    return x",
    "gold_snippet_index": 0,
    "created_at": "2023-12-05 10:00:00",
    "level": "2k",
}


def words(text: str) -> int:
    return len(re.findall(r"\w+|\W", text))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    rows = {
        "cross_file_first": [ROW, {**ROW, "level": "32k"}],
        "cross_file_random": [{**ROW, "created_at": "2023-11-30 10:00:00"}],
        "in_file": [ROW, ROW],
    }
    for setting, lines in rows.items():
        text = "".join(json.dumps(row) + "\n" for row in lines)
        (tmp_path / f"{setting}.jsonl").write_text(text)
    return tmp_path


def test_settings_levels_and_days(folder):
    benchmark = opened("repobench", folder)
    found = [task.task_id for task in benchmark.tasks("base")]
    assert found == ["cross_file_first/0", "in_file/0", "in_file/1"]
    everything = opened("repobench", folder, levels=("2k", "32k"), start_date="2023-10-01")
    assert len(everything.tasks("base")) == 5
    assert benchmark.tasks("base")[0].row["group"] == "cross_file_first"
    assert benchmark.tasks("base")[0].prompt.max_tokens == 64


def test_a_file_of_no_setting_is_refused(tmp_path):
    (tmp_path / "lines.jsonl").write_text(json.dumps(ROW))
    with pytest.raises(ConfigError, match="which setting"):
        opened("repobench", tmp_path)


def test_the_prompt_has_the_published_form(folder):
    task = opened("repobench", folder).tasks("base")[0]
    assert task.prompt.text == (
        "# Repo Name: someone/thing\n"
        "# Path: thing/a.py\ndef a():\n    return 1\n\n"
        "# Path: thing/b.py\ndef b():\n    return 2\n\n"
        "# Path: thing/use.py\nfrom thing.a import a\n\ndef use():\n    x = a()\n"
    )
    java = opened("repobench", folder, language="java").tasks("base")[0]
    assert java.prompt.text is not None
    assert java.prompt.text.startswith("// Repo Name: someone/thing\n// Path: ")


@given(most=st.integers(10, 200))
def test_ours_cuts_to_the_token_and_farthest_from_the_hole(most):
    """P13: the whole prompt is counted, newlines included, and no line more than needed goes."""
    cross = repobench.cross_file_part(ROW, "python")
    own = repobench.in_file_part(ROW, "python")
    whole = repobench.build_prompt(cross, own)
    cut = repobench.build_prompt(cross, own, count_tokens=words, most_tokens=most)
    if words(whole) <= most:
        assert cut == whole
    elif cut == own:
        assert words(f"# Repo Name: someone/thing\n{own}") > most
    else:
        assert words(cut) <= most
        lines = cross.split("\n")
        tails = ["\n".join([lines[0], *lines[n:]]) for n in range(1, len(lines))]
        kept = max(
            (tail for tail in tails if words(repobench.build_prompt(tail, own)) <= most), key=len
        )
        assert cut == repobench.build_prompt(kept, own)


def test_the_originals_cut_drops_too_much_and_the_nearest():
    """What P13 says of RepoBench: shown by the option that reproduces it."""
    cross = repobench.cross_file_part(ROW, "python")
    own = repobench.in_file_part(ROW, "python")
    most = words(cross + own) - 3
    options = {"count_tokens": words, "most_tokens": most}
    theirs = repobench.build_prompt(cross, own, **options, cut="repobench")
    ours = repobench.build_prompt(cross, own, **options)
    assert "return 2" not in theirs
    assert "return 1" in theirs
    assert "return 2" in ours
    lines = "\n".join(f"x{n}" for n in range(400))
    long = {"count_tokens": words, "most_tokens": 500}
    assert words(repobench.build_prompt(lines, own, **long, cut="repobench")) < 250
    assert 497 < words(repobench.build_prompt(lines, own, **long)) <= 500


def test_prompts_are_cut_to_what_a_model_holds(folder):
    whole = opened("repobench", folder)
    fitted = whole.for_model(words, 64 + 45)  # type: ignore[attr-defined]
    texts = [[task.prompt.text for task in some.tasks("base")] for some in (whole, fitted)]
    assert max(map(words, texts[0])) > 45
    assert max(map(words, texts[1])) <= 45
    assert whole.for_model(words, 10**6).most_tokens == 15_800  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("text", "ours", "theirs"),
    [
        ("\n\n    x = 1\ny", "    x = 1", "    x = 1"),
        ("# a\n  # b\nx", "x", "x"),
        ('"""one line"""\nx = 1\ny = """z"""\nlast', "x = 1", "last"),  # E9
        ("'''a\nb\n'''\nx", "x", "x"),
        ("# only\n# comments", "# only", "# only"),
        ("", "", ""),
    ],
)
def test_first_lines(text, ours, theirs):
    assert repobench.first_line(text, "python") == ours
    assert repobench.first_line(text, "python", as_original=True) == theirs


def test_first_lines_of_java():
    assert repobench.first_line("/* a */\n// b\nint x;\n", "java") == "int x;"
    assert repobench.first_line("/* a\n b */\nint x;", "java") == "int x;"


def test_scores(folder):
    benchmark = opened("repobench", folder)
    task = benchmark.tasks("base")[0]
    found = benchmark.program(task, "return   x")
    assert (found.value, found.also["exact_match"]) == (1, 1)
    assert found.also["edit_similarity"] == 0.73  # 2 * 8 common of 12 + 10 characters
    assert benchmark.program(task, "return y").value == 0
    assert benchmark.program(task, benchmark.canonical(task) or "").also["edit_similarity"] == 1
    assert benchmark.program(task, "").also["edit_similarity"] == 0


def test_scores_are_shares_and_are_printed_in_per_cent(folder):
    benchmark = opened("repobench", folder)
    task = benchmark.tasks("base")[0]
    results = []
    for line in ("return   x", benchmark.canonical(task) or ""):
        judged = Judged.of(cast(Score, benchmark.program(task, line)), extracted=line)
        sample = SampleResult(completion=line, rules={"midfill": judged})
        results.append(TaskResult(task_id=line, samples=(sample,)))
    result = made_up_result.result(results)
    assert result.rules["midfill"].also == {"exact_match": 1, "edit_similarity": (0.73 + 1) / 2}
    head, rows = rule_table(result)
    cells = dict(zip(head, rows[0], strict=True))
    assert (cells["exact match"], cells["edit similarity"]) == ("100.0", "86.5")


@pytest.mark.parametrize("share", [73.0, 1.01, -0.1, float("nan")])
def test_a_per_cent_is_refused_where_a_share_belongs(share):
    with pytest.raises(ValueError, match="between 0 and 1"):
        Score(value=1.0, also={"edit_similarity": share})
    with pytest.raises(ValueError, match="between 0 and 1"):
        Score(value=share)


def test_line_tables_know_what_followed():
    before = "a\nb\na\nc\na\nc\nd\na"
    tables = repobench.line_tables(before, ["a\nb\na\nb\na\nb"])
    assert tables == {"same-file line table": "c", "cross-file line table": "b"}
    assert repobench.line_tables("", [])["same-file line table"] == ""
