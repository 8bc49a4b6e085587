"""Which of our numbers may stand beside a published one, and what is said of the others."""

import json
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest

import made_up_result as made_up
from midfill.evaluate.benchmarks import names
from midfill.evaluate.paper import (
    PaperReport,
    PaperRow,
    benchmarks,
    paper_html,
    paper_markdown,
    paper_report,
    paper_text,
    write_paper,
)
from midfill.evaluate.published import TABLE_3, TABLES, Comparable
from midfill.evaluate.result import Decoding, Result


def whole(**more) -> Result:
    """A run that follows Table 3's protocol for HumanEval."""
    return replace(made_up.humaneval(), decoding=Decoding(), **more)


def row(report: PaperReport, table: str, column: str) -> PaperRow:
    rows = next(one.rows for one in report.tables if one.name == table)
    return next(one for one in rows if one.column == column)


def test_the_same_protocol_shares_the_column():
    report = paper_report({"humaneval": whole()})
    found = row(report, "Table 3", "Python")
    assert found.kind == Comparable.SAME
    assert found.shares_column
    assert found.published["Lite-Instruct"] == 81.1
    assert found.ours is not None
    assert found.ours.value == 113 / 164
    assert found.ours.rule == "midfill"
    assert set(found.ours.other_rules) == {"deepseek-instruct", "evalplus", "livecodebench"}
    line = next(
        x for x in paper_text(report).splitlines() if x.startswith("  Python") and "81.1" in x
    )
    assert line.endswith("68.9 (61.5-75.5)")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"decoding": Decoding(temperature=0.2)}, "temperature 0.2"),
        ({"decoding": Decoding(samples=10)}, "10 answers a task"),
        ({"decoding": Decoding(max_tokens=64)}, "at most 64 tokens"),
        ({"style": "instruct-v1"}, "prompt instruct-v1 instead of instruct"),
        ({"of": 999}, "164 of 999 tasks"),
    ],
)
def test_a_departure_from_the_protocol_leaves_the_column(change: dict, said: str):
    report = paper_report({"humaneval": replace(whole(), **change)})
    found = row(report, "Table 3", "Python")
    assert found.kind == Comparable.PROTOCOL
    assert not found.shares_column
    assert said in "; ".join(found.reasons)
    text = paper_text(report)
    assert "ours" not in next(x for x in text.splitlines() if "V1-33B-Instruct  Lite" in x)
    assert "class 2, Python: ours 68.9 (61.5-75.5)" in text


def test_another_number_of_tasks_leaves_the_column():
    found = row(
        paper_report({"humaneval": whole(tasks=whole().tasks[:100], of=100)}), "Table 3", "Python"
    )
    assert found.kind == Comparable.PROTOCOL
    assert found.reasons == ("100 tasks instead of 164",)


def test_an_incomplete_run_leaves_the_column():
    result = made_up.one_answer_each(
        {str(i): None if i == 0 else 1.0 for i in range(164)}, decoding=Decoding()
    )
    found = row(paper_report({"x": result}), "Table 3", "Python")
    assert found.kind == Comparable.PROTOCOL
    assert "incomplete: nothing is known about 1 answers" in found.reasons


def test_the_rule_of_the_protocol_is_taken_where_it_was_scored():
    v1 = whole(style="instruct-v1")
    found = row(paper_report({"x": v1}), "V1 instruct", "Python")
    assert found.kind == Comparable.SAME
    assert found.ours is not None
    assert found.ours.rule == "deepseek-instruct"
    assert found.ours.value == v1.rules["deepseek-instruct"].value != v1.rules["midfill"].value


def test_base_and_chat_models_never_meet():
    report = paper_report({"x": whole(style="base")})
    assert row(report, "Table 3", "Python").ours is None
    assert row(report, "V1 base", "Python").ours is not None


def test_the_run_nearest_to_the_protocol_is_taken():
    runs = {"a": whole(style="instruct-v1"), "b": whole(), "c": whole(of=999)}
    assert row(paper_report(runs), "Table 3", "Python").kind == Comparable.SAME
    assert row(paper_report(runs), "V1 instruct", "Python").kind == Comparable.SAME


def test_another_set_of_the_same_shape_stands_apart_by_its_own_measure():
    infilling = made_up.infilling()
    report = paper_report({"infilling-single-line": infilling})
    found = row(report, "Table 6", "Python")
    assert found.kind == Comparable.SHAPE
    assert found.ours is not None
    assert found.ours.value == infilling.rules["fim-line"].also["exact_match"]
    assert found.ours.low < found.ours.value < found.ours.high
    assert "class 3, Python: ours" in paper_text(report)


def test_a_set_of_the_users_own_stands_apart():
    found = row(paper_report({"x": whole(benchmark="usaco")}), "Table 4", "USACO")
    assert found.kind == Comparable.PROTOCOL
    assert found.reasons[0] == "on a file of the user's"


def test_what_cannot_run_has_its_reason():
    report = paper_report({})
    text = paper_text(report)
    for table in report.tables:
        for one in table.rows:
            assert one.ours is None
            assert one.reasons or one.kind == Comparable.SAME
    assert "class 4, not run: LCB Easy, LCB Medium, LCB Hard, LCB Overall, USACO" in text
    assert "class 1, not run: GSM8K (gsm8k), MATH (math)" in text


def test_every_published_value_is_printed():
    text = paper_text(paper_report({}))
    for table in TABLES.values():
        lines = text.partition(f"{table.title}\n")[2].splitlines()[2 : 2 + len(table.columns)]
        assert len(lines) == len(table.columns)
        for i, line in enumerate(lines):
            printed = line.split()[-len(table.rows) :]
            values = [row[i] for row in table.rows.values()]
            assert [None if cell == "-" else float(cell) for cell in printed] == values
    assert "91.0" in text


def test_every_benchmark_of_the_tables_can_be_asked_for():
    wanted = benchmarks()
    assert len(set(wanted)) == len(wanted)
    assert ("humaneval-cpp", "instruct") in wanted
    assert ("humaneval", "base") in wanted
    assert {name for name, _ in wanted} <= set(names())
    asked = {column.benchmark for table in TABLES.values() for column in table.columns}
    assert asked - {None} <= set(names())


def test_the_three_files_are_written(tmp_path: Path):
    report = paper_report({"humaneval": whole()})
    files = write_paper(report, tmp_path / "new")
    assert sorted(path.name for path in (tmp_path / "new").iterdir()) == sorted(files)
    raw = json.loads(files["paper.json"].read_text(encoding="utf-8"))
    rows = next(table for table in raw["tables"] if table["name"] == "Table 3")["rows"]
    assert rows[0]["published"]["V2-Instruct"] == 90.2
    assert rows[0]["kind"] == 1
    assert raw["classes"]["4"] == "not runnable here"
    assert paper_markdown(report) == files["paper.md"].read_text(encoding="utf-8")


def test_the_page_has_a_table_for_each_of_the_papers():
    class Counter(HTMLParser):
        tables = 0
        ours = 0

        def handle_starttag(self, tag, attrs):
            self.tables += tag == "table"
            self.ours += tag == "td" and ("class", "ours") in attrs

    counter = Counter()
    report = paper_report({"humaneval": whole()})
    counter.feed(paper_html(report))
    assert counter.tables == len(report.tables)
    sharing = [t for t in report.tables if any(one.shares_column for one in t.rows)]
    assert counter.ours == sum(len(table.rows) for table in sharing) == len(TABLE_3.columns)


def test_printed_numbers_that_do_not_follow_from_their_row_are_named():
    report = paper_report({})
    for text in (paper_text(report), paper_markdown(report), paper_html(report)):
        assert "Coder-V2-1B, 1T, Avg: printed 31.2, the mean of the eight languages is 30.8" in text
        assert "DS-Coder-Base 33B, Java Avg: printed 44.8, the plain mean of the five" in text
