"""A Result for people: lines for a terminal, Markdown, and a folder with JSON and one HTML page.

A score never stands alone: the seven facts that make it a number, its interval, every extraction
rule, the baselines and what is wrong with the run are always printed with it. Texts of models are
hostile: they are made harmless before they reach a terminal or a page.
"""

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence

from midfill.evaluate.result import (
    Baseline,
    Judged,
    Result,
    RuleScore,
    SampleResult,
    TaskResult,
    score_rules,
)
from midfill.evaluate.statistics import Interval, beats
from midfill.pages.harmless import clean, one_line

STATUSES = ("pass", "wrong", "error", "timeout", "memory", "infra")
NAMED_FAILURES = 24  # ids in the terminal; the files have all


def percent(share: float) -> str:
    """81.1 for 133/164; the sign is in the heading of its column."""
    return f"{100 * share:.1f}"


def interval(low: float, high: float) -> str:
    """74.4-86.4."""
    return f"{percent(low)}-{percent(high)}"


def headline(result: Result) -> str:
    """The score under the default rule, in one line."""
    score = result.rules[result.rule]
    mark = "at least " if result.incomplete else ""
    return (
        f"{mark}{percent(score.value)} % (95 % interval {interval(score.low, score.high)}), "
        f"{passed_of(score)}"
    )


def passed_of(score: RuleScore) -> str:
    """How many passed, of how many; the number of answers too, where a task has several."""
    if score.samples == score.n:
        return f"{score.passed} of {score.n} passed"
    return f"{score.passed} of {score.samples} answers to {score.n} tasks passed"


def warnings(result: Result) -> list[str]:
    """What a reader must know before he believes the score."""
    return list(_warnings(result))


def _warnings(result: Result) -> Iterator[str]:
    if result.incomplete:
        yield (
            f"incomplete: nothing is known about {result.infra} of {result.samples} answers, because "
            "the machine, the endpoint or what compares answers failed; they count as not passed"
        )
    if len(result.tasks) < result.of:
        yield f"{len(result.tasks)} of {result.of} tasks: not the whole benchmark"
    if unsealed := sum(judged.sealed is False for _, _, judged in judgements(result)):
        yield f"unsealed: a program that wants to could have forged {unsealed} of the verdicts"
    score = result.rules[result.rule]
    for own, what in ((False, "the table"), (True, "asked otherwise")):
        least = [base for base in result.baselines if base.own == own and not better(score, base)]
        named = ", ".join(f"{base.name} {percent(base.value)} %" for base in least)
        if least:
            yield f"not better than {what}: {named} within two standard errors or above"
    yield from _lost_parts(result)
    yield from _check_warnings(result)


def _lost_parts(result: Result) -> Iterator[str]:
    """The parts in which a table scores at least as much, where the whole is better than all are."""
    score = result.rules[result.rule]
    for base in (base for base in result.baselines if not base.own and better(score, base)):
        lost = [
            f"{name} ({percent(score.groups[name][0])} against {percent(value)} %)"
            for name, (value, _) in base.groups.items()
            if name in score.groups and score.groups[name][0] <= value
        ]
        if lost:
            yield f"not above the table {base.name!r} in {', '.join(lost)}"


def _check_warnings(result: Result) -> Iterator[str]:
    check = result.self_check
    if check is None:
        yield "no self-check was made: whether the judge works on this machine is not known"
    elif check.note:
        yield f"self-check: {check.note}"
    if result.attainable is not None and result.attainable < 1 and check is not None:
        lost = [task.task_id for task in result.tasks if task.task_id in check.failing]
        yield f"at most {percent(result.attainable)} % can be had: the reference fails for {', '.join(lost)}"


def better(score: RuleScore, base: Baseline) -> bool:
    """Whether the model beats an answer that needs none, by more than two standard errors."""
    return beats(score.value, score.n, base.value, base.n)


def judgements(
    result: Result, rule: str | None = None
) -> Iterator[tuple[TaskResult, SampleResult, Judged]]:
    """Every answer with what the rule made of it; answers that were never given are infra."""
    rule = rule or result.rule
    for task in result.tasks:
        for sample in task.samples:
            missing = Judged(code="", value=None, status="infra", detail=sample.problem)
            yield task, sample, sample.rules.get(rule, missing)


def failures(
    result: Result, rule: str | None = None
) -> list[tuple[TaskResult, SampleResult, Judged]]:
    """Every answer that did not pass."""
    return [case for case in judgements(result, rule) if case[2].value != 1]


def outcomes(result: Result) -> dict[str, int]:
    """How often each status came, under the default rule."""
    counts = Counter(judged.status for _, _, judged in judgements(result))
    return {status: counts[status] for status in STATUSES if counts[status]}


def disagreements(result: Result) -> dict[str, dict[str, float | None]]:
    """Tasks whose first answer is worth more under one rule than under another."""
    found: dict[str, dict[str, float | None]] = {}
    for task in result.tasks:
        values = {rule: judged.value for rule, judged in task.samples[0].rules.items()}
        if len(set(values.values())) > 1:
            found[task.task_id] = values
    return found


def rule_table(result: Result) -> tuple[list[str], list[list[str]]]:
    """Every extraction rule side by side: the heading and a row for each; shares in percent."""
    scores = result.rules
    ks = [k for k in next(iter(scores.values())).pass_at if k != "1"]
    also = list(dict.fromkeys(name for score in scores.values() for name in score.also))
    head = ["rule", "score", "95 % interval", "passed", *(f"pass@{k}" for k in ks)]
    head += [name.replace("_", " ") for name in also] + ["empty", "parses", "not known"]
    rows = []
    for rule, score in scores.items():
        row = [rule, percent(score.value), interval(score.low, score.high)]
        row += [f"{score.passed}/{score.samples}"]
        row += [percent(score.pass_at[k]) for k in ks]
        row += [percent(score.also[name]) if name in score.also else "-" for name in also]
        row += [_share(score.empty, score.samples), _share(score.syntax_valid, score.samples)]
        rows.append([*row, str(score.unknown)])
    return head, rows


def baseline_table(result: Result) -> tuple[list[str], list[list[str]]]:
    """What needs no model, beside the score."""
    score = result.rules[result.rule]
    also = list(dict.fromkeys(name for base in result.baselines for name in base.also))
    head = [
        "baseline",
        "score",
        "passed",
        *(name.replace("_", " ") for name in also),
        "the model is",
    ]
    rows = [
        [base.name, percent(base.value), _passed_of_known(base)]
        + [percent(base.also[name]) if name in base.also else "-" for name in also]
        + ["better" if better(score, base) else f"not better{' than the table' * (not base.own)}"]
        for base in result.baselines
    ]
    return head, rows


def _passed_of_known(base: Baseline) -> str:
    return f"{base.passed}/{base.n}" + f", {base.unknown} not known" * bool(base.unknown)


def group_interval(result: Result, group: str) -> Interval:
    """Where the true score of one part lies, under the default rule."""
    own = [task for task in result.tasks if task.group == group]
    score = score_rules(own, [result.rule])[result.rule]
    return Interval(score.low, score.high)


def group_table(result: Result) -> tuple[list[str], list[list[str]]]:
    """The parts of the benchmark that have a score of their own."""
    beside = [base for base in result.baselines if base.groups]
    head = ["part", "score", "95 % interval", *(base.name for base in beside), "tasks"]
    rows = []
    for name, (value, n) in result.rules[result.rule].groups.items():
        span = group_interval(result, name)
        row = [name, percent(value), interval(span.low, span.high)]
        row += [percent(base.groups[name][0]) if name in base.groups else "-" for base in beside]
        rows.append([*row, str(n)])
    return head, rows


def at_limit(result: Result) -> str:
    """The share of answers that ended at the token limit."""
    if result.at_limit is None:
        return "not recorded"
    return f"{result.at_limit} of {result.samples} ({_share(result.at_limit, result.samples)} %)"


def check_line(result: Result) -> str:
    """What the judge said of reference answers and of broken ones."""
    check = result.self_check
    if check is None:
        return "none"
    line = f"{check.canonical_passed} of {check.canonical} references pass"
    if check.mutants:
        line += f", {check.mutants_killed} of {check.mutants} mutants fail"
    return line


def _share(count: int | None, whole: int) -> str:
    return "-" if count is None or not whole else percent(count / whole)


def aligned(head: Sequence[str], rows: Iterable[Sequence[str]], indent: str = "") -> list[str]:
    """Lines of columns: the first to the left, numbers to the right."""
    lines = [list(head), *([clean(cell) for cell in row] for row in rows)]
    widths = [max(len(line[i]) for line in lines) for i in range(len(head))]
    left = [any(re.search("[A-Za-z]", row[i]) for row in lines[1:]) for i in range(len(head))]
    return [
        indent
        + "  ".join(
            cell.ljust(width) if text else cell.rjust(width)
            for cell, width, text in zip(line, widths, left, strict=True)
        ).rstrip()
        for line in lines
    ]


def as_text(result: Result) -> str:
    """The report for a terminal."""
    mark = "  [incomplete]" * result.incomplete
    lines = [f"{clean(result.benchmark)}  {clean(result.model)}{mark}", f"  {headline(result)}", ""]
    lines += [*aligned(*rule_table(result), indent="  "), ""]
    for head, rows in (baseline_table(result), group_table(result)):
        lines += [*aligned(head, rows, indent="  "), ""] if rows else []
    counts = ", ".join(f"{count} {status}" for status, count in outcomes(result).items())
    lines.append(f"  outcomes    {counts}")
    lines.append(f"  at limit    {at_limit(result)}")
    lines.append(f"  self-check  {check_line(result)}")
    lines += [f"  {name:<11} {clean(value)}" for name, value in result.facts().items()]
    lines += _failed_lines(result)
    lines += [f"  note: {clean(note)}" for note in result.notes]
    lines += [f"  warning: {clean(warning)}" for warning in warnings(result)]
    return "\n".join(lines) + "\n"


def _failed_lines(result: Result) -> list[str]:
    ids = list(dict.fromkeys(clean(task.task_id) for task, _, _ in failures(result)))
    if not ids:
        return []
    more = f" and {len(ids) - NAMED_FAILURES} more" if len(ids) > NAMED_FAILURES else ""
    return [f"  not passed  {', '.join(ids[:NAMED_FAILURES])}{more}"]


def as_markdown(result: Result) -> str:
    """The report as Markdown; the programs are in the page and in the JSON."""
    parts = [f"# {cell(result.benchmark)}: {cell(result.model)}", f"**{headline(result)}**"]
    parts += ["\n".join(f"> {cell(warning)}" for warning in warnings(result))]
    parts += [markdown_table(*rule_table(result))]
    for head, rows in (baseline_table(result), group_table(result)):
        parts += [markdown_table(head, rows)] if rows else []
    counts = ", ".join(f"{count} {status}" for status, count in outcomes(result).items())
    facts = {"outcomes": counts, "at the token limit": at_limit(result)}
    facts |= {"self-check": check_line(result)} | result.facts() | dict(result.environment)
    facts |= {f"toolchain, {name}": version for name, version in result.toolchains.items()}
    facts |= {"revision": result.revision or "not known", "made": result.made or "not known"}
    parts += [markdown_table(["fact", "value"], [[name, value] for name, value in facts.items()])]
    parts += [f"- {cell(note)}" for note in result.notes]
    if cases := failures(result):
        rows = [[task.task_id, judged.status, one_line(judged.detail)] for task, _, judged in cases]
        parts += ["## Not passed", markdown_table(["task", "verdict", "detail"], rows)]
    return "\n\n".join(filter(None, parts)) + "\n"


def markdown_table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table whose cells cannot end a row or begin markup."""
    lines = [f"| {' | '.join(head)} |", f"|{' --- |' * len(head)}"]
    return "\n".join([*lines, *(f"| {' | '.join(map(cell, row))} |" for row in rows)])


def cell(text: str) -> str:
    """A text on one line of Markdown, as it is."""
    flat = " ".join(clean(text).split())
    return re.sub(r"([\\`*_\[\]<>|#~&])", r"\\\1", flat)
