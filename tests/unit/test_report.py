"""Reports: nothing left out, nothing of a model's text let loose."""

import json
import re
import xml.etree.ElementTree as ET
from collections import Counter
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import made_up_result as made_up
from midfill.evaluate import plots, report, report_files
from midfill.evaluate.report import as_markdown, as_text, cell, markdown_table
from midfill.evaluate.report_files import write_report
from midfill.evaluate.report_html import LONGEST, as_html
from midfill.evaluate.result import Baseline, Judged, Result, SampleResult, TaskResult, read_result
from midfill.pages.harmless import clean, one_line

FORGERY = "</pre></details><script>alert(1)</script><img src=x onerror=alert(2)>\" onclick='x"
ESCAPES = "\x1b[2J\x1b]0;owned\x07\x1b[31mred\x1b[0m\x9b1m\x00\u202etxt.exe\u200b\ud800\r"
VOID = {"meta", "link", "input", "img", "br"}


class Page(HTMLParser):
    """A page's tags in order, and the text in its blocks of code."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.open: list[str] = []
        self.attributes: Counter[str] = Counter()
        self.code: list[str] = []
        self.links: list[str] = []
        self.feed(html)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes.update(name for name, _ in attrs)
        self.links += [value or "" for name, value in attrs if name in ("href", "src")]
        if tag == "pre":
            self.code.append("")
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] == "pre":
            self.code[-1] += data


def hostile(text: str) -> Result:
    """A result in which everything a model or its program can write is `text`."""
    judged = Judged(
        code=text, extracted=text, value=0.0, status="wrong", detail=text, output=text, sealed=False
    )
    task = TaskResult(
        task_id="t",
        prompt=text,
        samples=(SampleResult(completion=text + "x", rules={"midfill": judged}, tokens=3),),
    )
    return made_up.result([task], model=text, notes=(text,), environment={"machine": text})


@pytest.mark.parametrize("text", [FORGERY, ESCAPES, "a\n# b | c\n```\n---\n", "<!--", "&lt;"])
def test_a_hostile_text_changes_no_tag_of_the_page(text: str):
    plain, page = Page(as_html(hostile("plain"))), Page(as_html(hostile(text)))
    assert page.tags == plain.tags
    assert page.attributes == plain.attributes
    assert page.open == []
    assert "script" not in page.tags
    assert clean(text) in page.code


@settings(max_examples=50, deadline=None)
@given(st.text(min_size=1, max_size=60).filter(str.strip))
def test_any_text_stands_in_the_page_as_it_is(text: str):
    page = Page(as_html(hostile(text)))
    shown = clean(text)
    assert page.open == []
    # A parser drops the first line break of a <pre>, as a browser does.
    assert any(code in (shown, shown.removeprefix("\n")) for code in page.code)


@given(st.text(alphabet="\x1b[]m;0\x07\\a\n\x9b\u202e\ud800P", max_size=40))
def test_nothing_that_moves_a_terminal_is_left(text: str):
    left = clean(text)
    assert not re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\ud800-\udfff]", left)
    assert clean(left) == left
    left.encode()


def test_sequences_are_taken_out_whole_and_the_rest_is_shown():
    assert clean("a\x1b[31mb\x1b[0m\tc\r\nd") == "ab\tc\nd"
    assert clean("a\x1b]0;title\x07b\x1b]8;;x\x1b\\c") == "abc"
    assert clean("\x00\x7f\u202e") == "␀␡\\u202e"
    assert clean("naïve – “x” 日本") == "naïve – “x” 日本"
    assert clean("\x1b]" * 20_000 + "x").strip("␛]x") == ""


def test_terminal_and_markdown_hold_no_hostile_line():
    for text in (as_text(hostile(ESCAPES + FORGERY)), as_markdown(hostile(ESCAPES + FORGERY))):
        assert "\x1b" not in text
        assert "\u202e" not in text
        text.encode()
    plain, odd = (as_markdown(hostile(text)) for text in ("plain", "a\n# b | c\n\n```\n| x |"))
    assert len(plain.splitlines()) == len(odd.splitlines())
    assert "\n# b" not in odd


def test_a_cell_of_markdown_is_text():
    assert cell("a|b\n`c` <d> *e*") == r"a\|b \`c\` \<d\> \*e\*"
    assert markdown_table(["x"], [["1|2"]]) == "| x |\n| --- |\n| 1\\|2 |"


def test_one_line_is_cut():
    assert one_line("\n\n  first \nsecond") == "first"
    assert one_line("x" * 500, 10) == "x" * 9 + "…"
    assert one_line("") == ""


def test_every_failing_case_is_in_the_page_with_program_verdict_and_output():
    result = made_up.humaneval()
    page = Page(as_html(result))
    failing = report.failures(result)
    assert len(failing) == 164 - 113
    html = as_html(result)
    assert html.count('<details class="case ') == len(failing)
    for task, sample, judged in failing:
        assert f"<b>{task.task_id}</b>" in html
        for text in (judged.code, judged.detail, sample.completion):
            assert text in page.code
        assert judged.output.strip("\n") in [code.strip("\n") for code in [*page.code, ""]]


def test_the_page_fetches_and_runs_nothing():
    html = as_html(made_up.humaneval())
    page = Page(html)
    assert "script" not in page.tags
    assert not [name for name in page.attributes if name.startswith("on")]
    assert [link for link in page.links if not link.startswith("data:")] == []
    assert "default-src 'none'" in html
    assert "@import" not in html
    assert "url(" not in html
    assert "prefers-color-scheme: dark" in html


def drawings(html: str) -> list[ET.Element]:
    return [ET.fromstring(svg) for svg in re.findall(r"<svg.*?</svg>", html, re.DOTALL)]


def test_the_drawings_are_whole_and_named():
    for made, count in ((made_up.humaneval, 2), (made_up.needle, 3), (made_up.infilling, 3)):
        found = drawings(as_html(made()))
        assert len(found) == count
        assert all(svg.get("aria-label") for svg in found)


def test_a_score_is_drawn_where_it_belongs():
    marks = [
        plots.Mark(label="a", value=0.5, low=0.25, high=0.75, kind="first"),
        plots.Mark(label="b", value=0.0, low=0.0, high=1.0, kind="rule"),
    ]
    (svg,) = drawings(plots.scores(marks, ceiling=0.9))
    points = [float(point.get("cx", "")) for point in svg.iter("circle")]
    left, right = points[1], 2 * points[0] - points[1]
    whiskers = [line for line in svg.iter("line") if line.get("class") == "whisker"]
    assert [float(line.get("x2", "")) for line in whiskers] == pytest.approx(
        [left + 0.75 * (right - left), right]
    )
    (ceiling,) = (line for line in svg.iter("line") if line.get("class") == "ceiling")
    assert float(ceiling.get("x1", "")) == pytest.approx(left + 0.9 * (right - left))


@given(
    st.lists(st.integers(0, 5000), min_size=1, max_size=40),
    st.lists(st.integers(0, 600), max_size=9),
)
def test_a_histogram_holds_every_answer(passed: list[int], failed: list[int]):
    (svg,) = drawings(plots.histogram(passed, failed))
    titles = [title.text or "" for title in svg.iter("title")]
    counts = [re.fullmatch(r".*: (\d+) passed, (\d+) did not", title) for title in titles]
    assert sum(int(found[1]) for found in counts if found) == len(passed)
    assert sum(int(found[2]) for found in counts if found) == len(failed)


def test_a_histogram_stacks_its_bars():
    (svg,) = drawings(plots.histogram([5, 5, 5], [5]))
    bars = {bar.get("class"): bar for bar in svg.iter("rect")}
    tall = {kind: float(bar.get("height", "")) for kind, bar in bars.items()}
    assert tall["good"] == pytest.approx(3 * tall["bad"], rel=0.01)
    assert float(bars["bad"].get("y", "")) + tall["bad"] == pytest.approx(
        float(bars["good"].get("y", "")), abs=0.11
    )


def test_a_heat_map_has_a_cell_for_each_length_and_depth():
    (svg,) = (
        s for s in drawings(as_html(made_up.needle())) if "needles" in s.get("aria-label", "")
    )
    titles = [title.text or "" for title in svg.iter("title")]
    assert len(titles) == 6 * 11
    assert "1000 tokens, depth 0 %: 100 % of 5" in titles


@pytest.mark.parametrize("render", [as_text, as_markdown, as_html])
def test_what_makes_the_number_is_always_there(render):
    result = made_up.humaneval()
    shown = render(result)
    for value in result.facts().values():
        assert value in shown or cell(value) in shown
    for rule, score in result.rules.items():
        assert rule in shown
        assert f"{100 * score.value:.1f}" in shown
        assert f"{100 * score.low:.1f}-{100 * score.high:.1f}" in shown
    for said in ("4 of 164 (2.4 %)", "163 of 164 references pass", "321 of 328 mutants fail"):
        assert said in shown
    assert "at most 99.4 % can be had: the reference fails for HumanEval/32" in shown


def test_an_incomplete_run_is_marked_and_keeps_its_denominator():
    result = made_up.one_answer_each({"a": 1.0, "b": None, "c": 1.0})
    text = as_text(result)
    assert "[incomplete]" in text
    assert "at least 66.7 %" in text
    assert "2 of 3 passed" in text
    assert "nothing is known about 1 of 3 answers" in text
    assert '<li class="chip ">incomplete</li>' in as_html(result)
    assert "incomplete" not in as_text(made_up.humaneval())


@pytest.mark.parametrize(("value", "said"), [(0.07, True), (0.30, False), (0.60, True)])
def test_a_baseline_within_two_standard_errors_is_not_beaten(value: float, said: bool):
    values = {str(i): float(i < 45) for i in range(100)}
    base = Baseline(name="line table", value=value, n=100, passed=round(100 * value))
    if value == 0.07:
        values = {str(i): float(i < 12) for i in range(100)}
    result = made_up.one_answer_each(values, baselines=(base,))
    for shown in (as_text(result), as_markdown(result), as_html(result)):
        assert ("not better than the table" in shown) == said


def test_unsealed_verdicts_and_part_of_a_benchmark_are_said():
    text = as_text(replace(hostile("x"), of=5))
    assert "could have forged 1 of the verdicts" in text
    assert "1 of 5 tasks: not the whole benchmark" in text
    assert "no self-check was made" in text


def test_tasks_on_which_the_rules_differ_are_listed():
    found = report.disagreements(made_up.humaneval())
    assert found
    for values in found.values():
        assert len(set(values.values())) == 2
    page = as_html(made_up.humaneval())
    assert f"{len(found)} of 164 tasks are worth more" in page


def test_a_long_program_is_cut_in_the_page_and_whole_in_the_json(tmp_path: Path):
    files = write_report(hostile("y" * (LONGEST + 5)), tmp_path)
    assert "5 more characters are in result.json" in files["report.html"].read_text(
        encoding="utf-8"
    )
    kept = read_result(tmp_path).tasks[0].samples[0].rules["midfill"]
    assert len(kept.code) == LONGEST + 5


def test_the_files_are_whole_and_alone(tmp_path: Path):
    result = hostile(ESCAPES + FORGERY)
    files = write_report(result, tmp_path / "out")
    write_report(result, tmp_path / "out")
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == sorted(files)
    assert read_result(tmp_path / "out") == result
    assert json.loads(files["result.json"].read_text(encoding="ascii"))["derived"]["infra"] == 0


def test_a_failed_write_leaves_the_old_file(tmp_path: Path):
    path = tmp_path / "report.md"
    report_files.write_whole(path, "old")
    with pytest.raises(UnicodeEncodeError):
        report_files.write_whole(path, "new \ud800")
    assert path.read_text(encoding="utf-8") == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["report.md"]
