"""A Result as one HTML page: nothing is fetched, nothing is scripted, every text is escaped."""

from collections.abc import Iterator, Mapping, Sequence

from midfill.evaluate import plots
from midfill.evaluate.report import (
    STATUSES,
    at_limit,
    baseline_table,
    better,
    check_line,
    disagreements,
    failures,
    group_table,
    interval,
    judgements,
    outcomes,
    passed_of,
    percent,
    rule_table,
    warnings,
)
from midfill.evaluate.result import Judged, Result, SampleResult, TaskResult
from midfill.evaluate.statistics import wilson
from midfill.pages.harmless import one_line
from midfill.pages.page import facts, page, section, table, text

LONGEST = 20_000  # characters of a program or an answer; the JSON has all of it
PAGE = 32_000_000  # characters of cases; past it they are lines without their programs


def as_html(result: Result) -> str:
    """The whole page."""
    title = f"{percent(result.rules[result.rule].value)} % on {result.benchmark}: {result.model}"
    sections = (
        _top(result),
        _scores(result),
        _infilling(result),
        _needle(result),
        _groups(result),
        _outcomes(result),
        _lengths(result),
        _check(result),
        _disagreements(result),
        _cases(result),
        _foot(result),
    )
    return page(title, "".join(sections))


def _top(result: Result) -> str:
    score = result.rules[result.rule]
    notes = "".join(f"<li>{text(warning)}</li>" for warning in warnings(result))
    return (
        f'<div class="bar"><i></i><b>midfill</b> evaluation<span>{text(result.made)}</span></div>'
        f'<h1>{text(result.benchmark)}</h1><p class="model">{text(result.model)}</p>'
        f'<div class="hero"><div class="score">{percent(score.value)}<small>%</small></div>'
        f'<div class="beside">95 % interval {interval(score.low, score.high)}'
        f"<span>{text(passed_of(score))}</span></div></div>"
        f"{_chips(result)}"
        + (f'<ul class="notes">{notes}</ul>' if notes else "")
        + facts(result.facts())
    )


def _chips(result: Result) -> str:
    score = result.rules[result.rule]
    chips = [("", "incomplete")] * result.incomplete
    chips += [("mild", "not the whole benchmark")] * (len(result.tasks) < result.of)
    worse = any(not base.own and not better(score, base) for base in result.baselines)
    chips += [("", "not better than the table")] * worse
    chips += [("mild", "unsealed verdicts")] * any(
        judged.sealed is False for _, _, judged in judgements(result)
    )
    items = "".join(f'<li class="chip {kind}">{name}</li>' for kind, name in chips)
    return f'<ul class="chips">{items}</ul>' if items else ""


def _scores(result: Result) -> str:
    marks = [
        plots.Mark(
            label=rule,
            value=score.value,
            low=score.low,
            high=score.high,
            kind="first" if rule == result.rule else "rule",
        )
        for rule, score in result.rules.items()
    ]
    for base in result.baselines:
        span = wilson(min(round(base.value * base.n), base.n), base.n)
        low, high = min(span.low, base.value), max(span.high, base.value)
        marks.append(
            plots.Mark(label=base.name, value=base.value, low=low, high=high, kind="baseline")
        )
    head, rows = rule_table(result)
    body = f'<div class="sheet">{plots.scores(marks, result.attainable)}</div>'
    body += f'<div class="sheet">{table(head, rows, first=True)}</div>'
    head, rows = baseline_table(result)
    body += f'<div class="sheet">{table(head, rows)}</div>' if rows else ""
    return section(
        "Score",
        "The same answers under every extraction rule that applies, and what needs no model at all. "
        "Filled: the default rule." + " Grey: baselines." * bool(result.baselines),
        body,
    )


def _infilling(result: Result) -> str:
    """Model and baselines as bars, where the task is to fill a hole."""
    if not result.benchmark.startswith("infilling") or not result.baselines:
        return ""
    score = result.rules[result.rule]
    what = "exact match" if result.level == "-" else "passes"  # "-": no program was run
    rows = {"the model": {what: score.value} | _named(score.also)}
    rows |= {base.name: {what: base.value} | _named(base.also) for base in result.baselines}
    return section(
        "Beside fills that need no model",
        "The share of holes filled rightly, and further measures where they were taken.",
        f'<div class="sheet">{plots.bars(rows, "The model beside the baselines")}</div>',
    )


def _named(measures: Mapping[str, float]) -> dict[str, float]:
    return {name.replace("_", " "): value for name, value in measures.items()}


def _needle(result: Result) -> str:
    cells: dict[tuple[float, float], list[float]] = {}
    for task, _, judged in judgements(result):
        if {"length", "depth"} <= task.place.keys():
            key = (task.place["length"], task.place["depth"])
            cells.setdefault(key, []).append(judged.value or 0.0)
    if not cells:
        return ""
    shares = {key: (sum(values) / len(values), len(values)) for key, values in cells.items()}
    return section(
        "Needle in a haystack",
        "The share of needles found, in percent; depth 0 % is the beginning of the context.",
        f'<div class="sheet heat">{plots.heat(shares)}</div>',
    )


def _groups(result: Result) -> str:
    head, rows = group_table(result)
    return section("Parts", "", f'<div class="sheet">{table(head, rows)}</div>') if rows else ""


def _outcomes(result: Result) -> str:
    counts = outcomes(result)
    parts = "".join(
        f'<i class="{status}" style="flex:{count}" title="{count} {status}"></i>'
        for status, count in counts.items()
    )
    legend = "".join(
        f'<li class="{status}"><b>{count}</b> {status}</li>' for status, count in counts.items()
    )
    lead = f"Verdicts under the default rule. Ended at the token limit: {at_limit(result)}."
    return section(
        "Outcomes",
        lead,
        f'<div class="split">{parts}</div><ul class="legend">{legend}</ul>',
    )


def _lengths(result: Result) -> str:
    passed, failed = [], []
    for _, sample, judged in judgements(result):
        if sample.tokens is not None:
            (passed if judged.value == 1 else failed).append(sample.tokens)
    if not passed and not failed:
        return ""
    legend = '<ul class="legend"><li class="pass">passed</li><li class="wrong">did not</li></ul>'
    return section(
        "Length of the answers",
        "",
        f'{legend}<div class="sheet">{plots.histogram(passed, failed)}</div>',
    )


def _check(result: Result) -> str:
    check = result.self_check
    if check is None:
        return ""
    rows = [[task, why] for task, why in check.failing.items()]
    alive = [[mutant, why] for mutant, why in check.survivors.items()]
    body = (
        f'<div class="sheet">{table(["reference that fails", "why"], rows)}</div>' if rows else ""
    )
    body += (
        f'<div class="sheet">{table(["mutant that passes", "why"], alive)}</div>' if alive else ""
    )
    lead = f"Before any score: {check_line(result)}. {check.note}"
    return section("The judge, checked", lead, body)


def _disagreements(result: Result) -> str:
    differing = disagreements(result)
    if not differing:
        return ""
    rules = list(result.rules)
    rows = [
        [task, *(_mark(values.get(rule)) for rule in rules)] for task, values in differing.items()
    ]
    body = f'<div class="sheet">{table(["task", *rules], rows)}</div>'
    count = f"{len(rows)} of {len(result.tasks)} tasks"
    return section(
        "Where the rules differ",
        f"{count} are worth more under one extraction rule than under another.",
        f"<details><summary>{count}</summary>{body}</details>",
    )


def _mark(value: float | None) -> str:
    if value is None:
        return "?"
    return {1.0: "✓", 0.0: "✗"}.get(value, percent(value))


def _cases(result: Result) -> str:
    cases = failures(result)
    if not cases:
        return section("Not passed", "Every answer passed.", "")
    present = [status for status in STATUSES if any(j.status == status for _, _, j in cases)]
    choices = "".join(
        f'<label><input type="radio" name="only" id="only-{status}"'
        f"{' checked' * (status == 'all')}>{status}</label>"
        for status in ("all", *present)
    )
    body = f'<fieldset class="filter" aria-label="verdict">{choices}</fieldset>' * (
        len(present) > 1
    )
    return section(
        "Not passed",
        f"{len(cases)} of {result.samples} answers, with the program that was run and what it said.",
        f'<div class="cases">{body}{"".join(_details(cases))}</div>',
    )


def _details(cases: Sequence[tuple[TaskResult, SampleResult, Judged]]) -> Iterator[str]:
    room = PAGE
    for task, sample, judged in cases:
        inside = _inside(task, sample, judged)
        room -= len(inside)
        if room < 0:
            inside = '<p class="cut">The page is full: this case is in result.json.</p>'
        yield (
            f'<details class="case {_status(judged)}"><summary><b>{text(task.task_id)}</b>'
            f"<em>{_status(judged)}</em><span>{text(one_line(judged.detail, 160))}</span></summary>"
            f'<div class="inside">{inside}</div></details>\n'
        )


def _status(judged: Judged) -> str:
    return judged.status if judged.status in STATUSES else "error"


def _inside(task: TaskResult, sample: SampleResult, judged: Judged) -> str:
    number = 1 + next(i for i, one in enumerate(task.samples) if one is sample)
    about = [f"answer {number} of {len(task.samples)}"] * (len(task.samples) > 1)
    about += [f"{judged.cpu_s:.2f} s of processor time"] * (judged.sealed is not None)
    about += ["unsealed"] * (judged.sealed is False) + ["judged twice"] * judged.rerun
    about += [f"{sample.tokens} tokens"] * (sample.tokens is not None)
    about += ["ended at the token limit"] * (sample.finish == "length")
    parts = [f"<p>{text(' · '.join(about))}</p>" if about else ""]
    parts.append(_block("verdict", judged.detail))
    parts.append(_block("program", judged.code))
    parts.append(_block("output", judged.output))
    parts.append(_block("prompt", task.prompt, folded=True))
    if sample.completion != judged.code:
        parts.append(_block("answer, as the model gave it", sample.completion, folded=True))
    return "".join(parts)


def _block(name: str, value: str, *, folded: bool = False) -> str:
    if not value:
        return ""
    cut = len(value) - LONGEST
    shown = f"<pre>{text(value[:LONGEST])}</pre>"
    shown += f'<p class="cut">{cut:,} more characters are in result.json.</p>' if cut > 0 else ""
    if folded:
        return f"<details><summary>{name}</summary>{shown}</details>"
    return f"<h3>{name}</h3>{shown}"


def _foot(result: Result) -> str:
    facts = {"revision": result.revision or "not known"} | dict(result.environment)
    facts |= {f"toolchain, {name}": version for name, version in result.toolchains.items()}
    facts |= {f"seed, {name}": str(seed) for name, seed in result.seeds.items()}
    facts |= {"data": result.version}
    if result.seconds is not None:
        facts["seconds"] = f"{result.seconds:.0f}"
    items = "".join(f"<dt>{text(name)}</dt><dd>{text(value)}</dd>" for name, value in facts.items())
    notes = "".join(f"<li>{text(note)}</li>" for note in result.notes)
    return (f'<ul class="notes plain">{notes}</ul>' if notes else "") + (
        f"<footer><dl>{items}</dl></footer>\n"
    )
