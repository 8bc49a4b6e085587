"""The page of a run: its numbers are the log's, no extreme is hidden, nothing it shows is markup."""

import json
import math
import random
import re
import statistics
from collections.abc import Mapping
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from midfill.errors import TrainError
from midfill.pages.chart import Axis, Chart, Dot, Line, chart, y_scale
from midfill.pages.harmless import clean
from midfill.pages.numbers import duration, short
from midfill.pages.series import buckets, smooth
from midfill.train.report import write_report
from midfill.train.report.numbers import collect
from midfill.train.report.record import LOADS, Record

Lines = list[dict[str, Any]]
RUN = {
    "config": {"tokens": 1_000_000, "seed": 7, "model": {"family": "deepseek_v2"}},
    "parameters": {"total": 2_000_000, "active": 500_000},
    "baseline": {"name": "3-gram", "loss": 5.0, "bits_per_byte": 2.0},
}
VOID = {"meta", "link", "input"}
numbers = st.floats(allow_nan=False, allow_infinity=False, min_value=-1e12, max_value=1e12)


class Parsed(HTMLParser):
    """A page whose tags are all closed in order; its elements, and the text of some classes."""

    def __init__(self, html: str) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[tuple[str, Mapping[str, str | None]]] = []
        self.elements: list[tuple[str, Mapping[str, str | None]]] = []
        self.texts: list[tuple[list[str], str]] = []
        self.feed(html)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert len(attrs) == len(dict(attrs))
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append((tag, dict(attrs)))

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop()[0] == tag

    def handle_data(self, data: str) -> None:
        inside = [f"{tag}.{attributes.get('class')}" for tag, attributes in self.open]
        self.texts.append((inside, data))

    def within(self, element: str) -> str:
        """All text inside the elements `tag.class`."""
        return "".join(text for inside, text in self.texts if element in inside)


def written(folder: Path, lines: Lines, run: object = RUN, rest: str = "") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "run.json").write_text(json.dumps(run))
    log = "".join(json.dumps(line) + "\n" for line in lines)
    (folder / "log.jsonl").write_text(log + rest)
    return folder


def page_of(run: Path, *beside: Path) -> Parsed:
    write_report(run, beside)
    return Parsed((run / "report.html").read_text())


def steps(count: int, seed: int = 0, layers: int = 2) -> Lines:
    """A log that falls, with noise; its loads stay even."""
    chance, seconds, lines = random.Random(seed), 0.0, []
    for step in range(1, count + 1):
        loss, taken = 2 + 6 / step + chance.random(), 0.5 + chance.random()
        seconds += taken
        line = {
            "kind": "step",
            "step": step,
            "tokens": 1000 * step,
            "loss": loss,
            "bits_per_byte": loss / 2,
            "lr": 1e-3 / step,
            "grad_norm": math.exp(chance.random()),
            "left_out": chance.random() < 0.1,
            "seconds": seconds,
            "tokens_per_second": 1000 / taken,
            "mfu": 0.3 * chance.random(),
            "expert_loss": 0.01,
        }
        if layers:
            line["layers"] = {
                str(layer): {"max": 1 + chance.random(), "min": 0.5, "dropped": 0.0, "entropy": 0.9}
                for layer in range(1, layers + 1)
            }
        lines.append(line)
    return lines


def evaluation(step: int, loss: float) -> dict[str, Any]:
    return {
        "kind": "evaluation",
        "step": step,
        "loss": loss,
        "bits_per_byte": loss / 2,
        "tokens": 9,
    }


@given(st.lists(st.tuples(st.integers(0, 30), numbers), min_size=1))
def test_buckets_hide_no_number(points: list[tuple[int, float]]):
    points.sort(key=lambda point: point[0])
    place, y = (np.array(values) for values in zip(*points, strict=True))
    found = buckets(place.astype(float), y.astype(float), place)
    by_place = {at: [value for where, value in points if where == at] for at, _ in points}
    assert found.place.tolist() == list(by_place)
    assert found.low.tolist() == [min(values) for values in by_place.values()]
    assert found.high.tolist() == [max(values) for values in by_place.values()]
    means = [statistics.fmean(values) for values in by_place.values()]
    assert found.mean == pytest.approx(means, rel=1e-9, abs=1e-3)


@given(st.lists(numbers, min_size=1), st.data())
def test_smoothing_stays_between_its_neighbours_and_ignores_a_spike(
    values: list[float], data: st.DataObject
):
    plain = smooth(np.array(values))
    assert len(plain) == len(values)
    assert (plain >= min(values)).all()
    assert (plain <= max(values)).all()
    flat = np.ones(20)
    flat[data.draw(st.integers(1, 18))] = 1e30
    assert (smooth(flat) == 1).all()


@given(st.lists(st.floats(1e-12, 1e12), min_size=1), st.booleans(), st.booleans())
def test_an_axis_holds_its_values_and_round_ticks(values: list[float], log: bool, zero: bool):
    scale = y_scale(Axis(name="y", log=log, zero=zero), values)
    places = [scale.at(value) for value in sorted(values)]
    assert places == sorted(places)
    assert -1e-6 <= places[0] <= places[-1] <= 1000 + 1e-6
    ticks = scale.ticks()
    assert 1 <= len(ticks) <= 12
    assert ticks == sorted(set(ticks))
    assert all(-1e-6 <= scale.at(tick) <= 1000 + 1e-6 for tick in ticks)
    assert all(float(f"{tick:.3g}") == pytest.approx(tick, rel=1e-3) for tick in ticks)


def test_a_spike_among_a_million_steps_is_seen():
    y = np.ones(1_000_000)
    y[654_321] = 77.5
    line = Line(name="loss", x=np.arange(1e6), y=y, pale=True, smooth=True)
    html = chart(Chart(x=Axis(name="tokens"), y=Axis(name="loss"), lines=[line]))
    assert "(1 to 77.5)" in html
    assert len(html) < 100_000
    assert len(re.findall(r"<span class=\"y\"[^>]*>80<", html)) == 1


def test_what_has_no_height_is_drawn_at_the_top():
    line = Line(name="norm", x=np.array([0.0, 10.0]), y=np.array([1.0, 2.0]))
    dots = [Dot(x=5.0, y=math.nan, told="none"), Dot(x=5.0, y=2.0, told="two")]
    x, y = Axis(name="tokens"), Axis(name="norm", log=True)
    parsed = Parsed(chart(Chart(x=x, y=y, lines=[line], dots=dots)))
    places = [a["d"] for tag, a in parsed.elements if tag == "path" and "dot" in str(a["class"])]
    assert places[0] == "M500.0 0.0h0"
    assert places[1] != places[0]


def test_numbers_are_those_of_the_log(tmp_path: Path):
    lines = steps(250)
    held_out = [evaluation(step, 9 / step) for step in (100, 200, 250)]
    note = {"kind": "note", "step": 120, "text": "resumed at 120"}
    got = write_report(written(tmp_path, [*lines, *held_out, note]))
    assert got["steps"] == 250
    for name in ("loss", "lr", "tokens", "seconds", "grad_norm"):
        assert got["last"][name] == lines[-1][name]
    ends = statistics.fmean(line["loss"] for line in lines[-100:])
    assert got["mean_of_last"]["loss"] == pytest.approx(ends)
    assert [one["loss"] for one in got["held_out"]] == [9 / 100, 9 / 200, 9 / 250]
    assert got["best_held_out"]["step"] == 250
    assert got["tokens_per_second"] == pytest.approx(250_000 / lines[-1]["seconds"])
    assert got["median_mfu"] == pytest.approx(statistics.median(line["mfu"] for line in lines))
    assert got["largest_grad_norm"] == max(line["grad_norm"] for line in lines)
    left_out = [line["step"] for line in lines if line["left_out"]]
    assert got["left_out"] == {"steps": len(left_out), "first": left_out}
    assert {one.pop("layer"): one for one in got["load"]["layers"]} == lines[-1]["layers"]
    assert got["notes"] == [note]
    assert got["run"] == RUN
    assert json.loads(json.dumps(got, allow_nan=False)) == got


@pytest.mark.parametrize(("most", "even"), [(2.0, True), (2.0001, False), (math.nan, False)])
def test_the_verdict_is_of_the_fullest_expert_of_any_layer(tmp_path: Path, most: float, even: bool):
    lines = steps(3)
    lines[-1]["layers"]["10"] = {"max": most}
    got = write_report(written(tmp_path, lines))
    assert got["load"]["even"] is even
    assert [one["layer"] for one in got["load"]["layers"]] == ["1", "2", "10"]
    html = (tmp_path / "report.html").read_text()
    assert ("loaded unevenly" in html) is not even
    assert html.count('<td class="no">✗</td>') == (not even)


@pytest.mark.parametrize(
    ("loss", "bits", "below"),
    [(4.0, 2.5, False), (6.0, 1.5, True), (4.0, None, True), (None, None, None)],
)
def test_a_baseline_is_compared_in_bits_per_byte_where_both_have_them(
    tmp_path: Path, loss: float | None, bits: float | None, below: bool | None
):
    event = {"kind": "evaluation", "step": 2, "loss": loss, "bits_per_byte": bits}
    got = write_report(written(tmp_path, [*steps(2), event]))
    assert got["below_baseline"] is below
    shown = (tmp_path / "report.html").read_text()
    assert ("not below the baseline" in shown) is (below is False)


texts = st.text(max_size=80) | st.sampled_from(
    ["</pre><script>alert(1)</script>", "<!--", "]]>", "&lt;", "\n\n x", "\x1b[31mred", "\u202e"]
)


@given(texts, texts, st.none() | texts)
def test_samples_are_shown_as_they_are_and_never_as_markup(
    tmp_path_factory: pytest.TempPathFactory, prefix: str, wrote: str, suffix: str | None
):
    sample = {"kind": "sample", "step": 1, "prefix": prefix, "text": wrote, "suffix": suffix}
    run = written(tmp_path_factory.mktemp("run"), [*steps(1), sample])
    parsed = page_of(run)
    assert parsed.within("pre.sample") == clean(prefix) + (clean(wrote) or "nothing") + clean(
        suffix or ""
    )
    assert parsed.within("span.given") == clean(prefix) + clean(suffix or "")
    tags = {tag for tag, _ in parsed.elements}
    assert not tags & {"script", "img", "iframe", "object", "a"}


def test_names_and_notes_are_escaped_everywhere(tmp_path: Path):
    evil = '"><script>x</script>'
    run = {
        "config": {
            "model": {"family": evil},
            "optimiser": {"kind": evil},
            "data": {"length": evil},
        },
        "versions": {evil: evil},
        "data": {"fingerprint": evil, "sources": [{"path": evil}]},
        "baseline": {"name": evil, "loss": 1.0},
    }
    lines = steps(5)
    lines[-1]["layers"] = {evil: {"max": 1.0, "min": evil}}
    lines.append({"kind": "note", "step": 3, "text": evil})
    parsed = page_of(written(tmp_path / "<b>run", lines, run), written(tmp_path / "<i>", steps(3)))
    assert not {tag for tag, _ in parsed.elements} & {"script"}
    assert parsed.within("ul.notes plain").count(evil) == 1
    shown = "".join(text for _, text in parsed.texts)
    assert shown.count(evil) >= 6


def test_nothing_is_fetched_and_nothing_runs(tmp_path: Path):
    lines = [*steps(40), evaluation(20, 3.0), {"kind": "sample", "step": 20, "text": "x"}]
    parsed = page_of(written(tmp_path, lines))
    for tag, attributes in parsed.elements:
        assert tag != "script"
        assert not any(name.startswith("on") for name in attributes)
        for name in ("src", "href", "srcset", "data", "action"):
            assert str(attributes.get(name) or "data:").startswith("data:")
    assert "url(" not in parsed.within("style.None")


def test_every_view_of_the_loss_has_its_choice(tmp_path: Path):
    parsed = page_of(written(tmp_path / "a", steps(40)), written(tmp_path / "b", steps(40)))
    choices = [a["class"] for tag, a in parsed.elements if tag == "input"]
    views = [a["class"] for tag, a in parsed.elements if str(a.get("class")).startswith("view v")]
    assert [f"view {choice}" for choice in choices] == views
    assert len(views) == 5
    checked = [a for tag, a in parsed.elements if tag == "input" and "checked" in a]
    assert [(a["name"], a["class"]) for a in checked] == [("loss", "view-0"), ("beside", "view-0")]


@pytest.mark.parametrize("count", [0, 1, 2])
def test_a_run_that_has_hardly_begun_has_a_page(tmp_path: Path, count: int):
    run = written(tmp_path, steps(count))
    parsed = page_of(run)
    assert f"{count}" in parsed.within("dl.facts")
    assert ("nothing logged" in parsed.within("p.nothing")) is (count == 0)
    assert write_report(run)["last"].get("step") == (count or None)
    (run / "log.jsonl").unlink()
    assert write_report(run)["steps"] == 0


def test_numbers_that_are_none_are_counted_and_not_drawn(tmp_path: Path):
    lines = steps(60)
    values = [math.nan, math.inf, -math.inf, None, "3", 10**400]
    for line, value in zip(lines[10:16], values, strict=True):
        line.update(loss=value, grad_norm=value, tokens_per_second=value, mfu=value)
    lines[20]["tokens"] = math.nan
    lines[21]["left_out"], lines[21]["grad_norm"] = True, math.inf
    got = write_report(written(tmp_path, [*lines, evaluation(60, math.nan)]))
    assert got["no_number"] == 6
    assert got["held_out"][0]["loss"] is None
    json.dumps(got, allow_nan=False)
    parsed = Parsed((tmp_path / "report.html").read_text())
    drawn = " ".join(str(a.get("d")) for tag, a in parsed.elements if tag == "path")
    assert not re.search("nan|inf", drawn)
    assert "6 steps" in parsed.within("ul.chips")


def test_what_a_kill_cut_off_and_unknown_kinds_are_left_out(tmp_path: Path):
    lines = steps(6)
    whole = json.dumps(lines[5])
    expected = collect(Record.open(written(tmp_path / "a" / "run", lines[:5])))
    for end in range(len(whole)):
        strange = [{"kind": "weather", "step": 1}, {"kind": "step"}, {"step": 3}]
        rest = (
            "".join(json.dumps(line) + "\n" for line in strange) + 'null\n[1]\n{"\n' + whole[:end]
        )
        run = written(tmp_path / "b" / "run", lines[:5], rest=rest)
        assert collect(Record.open(run)) == expected


def test_a_step_taken_again_counts_as_it_was_at_last(tmp_path: Path):
    first, second = steps(30, seed=1), steps(25, seed=2)
    again = collect(Record.open(written(tmp_path / "a", [*first[:20], *second[14:]])))
    once = collect(Record.open(written(tmp_path / "b", [*first[:14], *second[14:]])))
    assert again | {"name": ""} == once | {"name": ""}


def test_an_event_stands_at_the_tokens_of_its_step(tmp_path: Path):
    lines = steps(9)
    lines[4]["tokens"] = None
    record = Record.open(written(tmp_path, lines))
    assert record.tokens_at([0, 1, 5, 9, 50]).tolist() == [0, 1000, 5000, 9000, 9000]
    assert Record.open(written(tmp_path, [])).tokens_at([3]).tolist() == [0]


def test_loads_are_thinned_evenly_and_the_last_stays(tmp_path: Path):
    count = 2 * LOADS + 78
    lines = [
        {"kind": "step", "step": i, "tokens": i, "layers": {"1": {"max": i / count}}}
        for i in range(1, count + 1)
    ]
    loads = Record.open(written(tmp_path, lines)).loads
    assert LOADS // 2 <= len(loads) <= LOADS
    assert loads[-1].step == count
    assert all(load.layers["1"]["max"] == load.step / count for load in loads)
    assert len({b.step - a.step for a, b in pairwise(loads[:-1])}) == 1


def test_loads_are_read_wherever_they_stand_in_a_line(tmp_path: Path):
    lines = steps(5)
    turned = [{"layers": line["layers"]} | line | {"more": {"x": {}}} for line in lines]
    first = Record.open(written(tmp_path / "a", lines)).loads
    assert Record.open(written(tmp_path / "b", turned)).loads == first
    assert [load.layers for load in first] == [line["layers"] for line in lines]


def test_other_runs_are_drawn_beside(tmp_path: Path):
    runs = [written(tmp_path / f"run-{i}", steps(30 + i, seed=i)) for i in range(8)]
    parsed = page_of(runs[0], *runs[1:])
    legend = parsed.within("ul.legend")
    rows = [text for inside, text in parsed.texts if "td.text" in inside]
    for i in range(8):
        assert f"run-{i}" in legend
        assert f"run-{i}" in rows
    lines = [str(a["class"]) for tag, a in parsed.elements if tag == "path"]
    told = [line for line in lines if line.startswith("line ")]
    assert len({line for line in told}) == 8


@pytest.mark.parametrize(
    ("content", "why"), [(None, "run.json: No such"), ("{", "line 1"), ("[]", "list")]
)
def test_a_folder_without_a_run_is_three_lines(tmp_path: Path, content: str | None, why: str):
    if content is not None:
        (tmp_path / "run.json").write_text(content)
    with pytest.raises(TrainError) as caught:
        write_report(tmp_path)
    assert why in caught.value.why
    assert len(str(caught.value).splitlines()) == 3
    assert not (tmp_path / "report.html").exists()


def test_a_report_replaces_the_one_before_and_leaves_nothing_else(tmp_path: Path):
    run = written(tmp_path, steps(3))
    (run / "report.html").write_text("old")
    write_report(run)
    assert (run / "report.html").read_text().startswith("<!doctype html>")
    assert sorted(path.name for path in run.iterdir()) == ["log.jsonl", "report.html", "run.json"]


@given(st.floats(1e-9, 1e14))
def test_short_numbers_keep_three_digits(value: float):
    shown = short(value)
    scale = {"K": 1e3, "M": 1e6, "B": 1e9, "T": 1e12}.get(shown[-1])
    again = float(shown[:-1]) * scale if scale else float(shown)
    assert again == pytest.approx(value, rel=6e-3)
    assert len(shown) <= 9


@given(st.integers(0, 10**7))
def test_a_duration_loses_less_than_its_smaller_unit(seconds: int):
    units = {"d": 86400, "h": 3600, "min": 60, "s": 1}
    words = duration(seconds).split()
    told = [(float(words[i]), units[words[i + 1]]) for i in range(0, len(words), 2)]
    total = sum(count * unit for count, unit in told)
    assert 0 <= seconds - total < told[-1][1]
