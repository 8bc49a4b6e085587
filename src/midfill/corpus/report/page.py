"""The report of a build as one HTML page: what came in, what went, why, and what is left."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from midfill.pages import svg
from midfill.pages.numbers import size
from midfill.pages.page import fact, page, section, table, text
from midfill.pages.svg import WIDTH

Row = Mapping[str, Any]
_LABELS = 170
_ROWS = 40  # of a table; report.json has all of it
_SHOWN = 3000  # characters of a sample


def as_html(numbers: Mapping[str, Any], samples: Iterable[Row]) -> str:
    """The whole page."""
    tokens = numbers["tokens"]
    parts = (
        _top(numbers),
        section(
            "What became of the files",
            "Bytes that each step leaves; what it drops is pale.",
            f'<div class="sheet">{_funnel(numbers["funnel"])}</div>',
        ),
        _reasons(numbers["reasons"], numbers["unread"]),
        _masked(numbers["masked"]),
        _languages(numbers["languages"]),
        _licences(numbers["licences"]),
        _lengths(numbers["lengths"]),
        _duplicates(numbers["duplicates"]),
        _benchmarks(numbers["benchmarks"]),
        _quality(numbers["quality_model"], numbers["quality_cuts"]),
        _orders(numbers["orders"]),
        _samples(samples),
    )
    return page(f"{tokens['train']:,} tokens: a corpus", "".join(parts), wide=True)


def _share(part: float, whole: float) -> str:
    return f"{100 * part / whole:.1f} %" if whole else "-"


def _top(numbers: Mapping[str, Any]) -> str:
    run, tokens, funnel = numbers["run"], numbers["tokens"], numbers["funnel"]
    first, last = funnel[0], funnel[-1]
    kept = sum(row["files"] > 0 for row in numbers["languages"])
    facts = {
        "training tokens": f"{tokens['train']:,}",
        "held out": f"{tokens['held_out']:,}",
        "documents": f"{numbers['documents']['train']:,}",
        "files": f"{last['files']:,} of {first['files']:,}",
        "text": f"{size(last['bytes'])} of {size(first['bytes'])}",
        "kept of the volume": _share(last["bytes"], first["bytes"]),
        "order in a repository": run["config"]["documents"]["order"],
        "seed": str(run["config"]["seed"]),
        "midfill": run["midfill"],
        "digest of all shards": numbers["digest"][:16],
    }
    return (
        '<div class="bar"><i></i><b>midfill</b> corpus</div>'
        f"<h1>{tokens['train']:,} tokens to train on</h1>"
        f'<p class="model">from {first["files"]:,} files; {kept} languages stayed</p>'
        f'<dl class="facts">{"".join(fact(name, value) for name, value in facts.items())}</dl>\n'
    )


def _funnel(steps: Sequence[Row]) -> str:
    """A bar for each step: what it leaves, and, pale behind it, what it drops."""
    most = max(steps[0]["bytes"], 1)
    right, row = WIDTH - 150, 34
    parts = []
    for i, step in enumerate(steps):
        y = i * row + 6
        left = step["bytes"] / most * (right - _LABELS)
        gone = step["dropped_bytes"] / most * (right - _LABELS)
        told = f"{step['step']}: {step['files']:,} files, {size(step['bytes'])} stay; "
        told += f"{step['dropped']:,} files, {size(step['dropped_bytes'])} go"
        parts += [
            f'<g class="first">{svg.title(told)}',
            svg.text(_LABELS - 12, y + 9, step["step"], "end name"),
            f'<rect class="bar" x="{_LABELS}" y="{y}" height="18" width="{max(left, 1):.1f}" rx="2"/>',
            f'<rect class="bar" opacity=".25" x="{_LABELS + left:.1f}" y="{y}" height="18" '
            f'width="{gone:.1f}" rx="2"/>',
            svg.text(right + 12, y + 9, f"{size(step['bytes'])}", "value"),
            svg.text(right + 84, y + 9, _share(step["bytes"], most), "soft"),
            "</g>",
        ]
    return svg.drawing(len(steps) * row + 8, parts, "Bytes that each step leaves")


def _reasons(reasons: Sequence[Row], unread: Mapping[str, int]) -> str:
    rows = [
        (row["step"], row["reason"], f"{row['files']:,}", size(row["bytes"])) for row in reasons
    ]
    body = table(("step", "reason", "files", "bytes"), rows)
    if unread:
        body += "<h3>Never read</h3>" + table(
            ("reason", "files"), [(name, f"{count:,}") for name, count in unread.items()]
        )
    return section("Why files went", "Each has one reason, the first that applied.", body)


def _masked(masked: Mapping[str, int]) -> str:
    if not masked:
        return ""
    rows = [(kind, f"{count:,}") for kind, count in masked.items()]
    lead = "Keys, passwords, addresses: replaced in the text, kept nowhere."
    return section("What was masked", lead, table(("kind", "places"), rows))


def _languages(languages: Sequence[Row]) -> str:
    rows = [
        (
            row["language"],
            f"{row['files_in']:,}",
            size(row["bytes_in"]),
            f"{row['files']:,}",
            size(row["bytes"]),
            _share(row["bytes"], row["bytes_in"]),
            f"{row['tokens']:,}",
            f"{row['bytes'] / row['tokens']:.2f}" if row["tokens"] else "-",
        )
        for row in languages[:_ROWS]
    ]
    head = ("language", "files in", "bytes in", "files", "bytes", "kept", "tokens", "bytes a token")
    lead = f"{len(languages)} languages; tokens count for the language of most of a document."
    drawing = _columns({row["language"]: row["bytes"] for row in languages[:12]}, size)
    body = f'<div class="sheet">{drawing}</div>' if languages else ""
    return section("Languages", lead, body + table(head, rows) if rows else "")


def _licences(licences: Sequence[Row]) -> str:
    rows = [(row["licence"], f"{row['files']:,}", size(row["bytes"])) for row in licences[:_ROWS]]
    body = table(("licence", "files", "bytes"), rows) if rows else ""
    return section("Licences", "Of the files that stayed.", body)


def _lengths(lengths: Sequence[Row]) -> str:
    bars = {f"<{row['below']:,}": row["tokens"] for row in lengths}
    drawing = _columns(bars, lambda count: f"{count:,.0f}")
    lead = "Tokens in documents of each length, by powers of two."
    return section("Lengths", lead, f'<div class="sheet">{drawing}</div>' if bars else "")


def _columns(values: Mapping[str, float], shown: Any) -> str:
    """A row with a bar for each value."""
    most, right, row = max(values.values(), default=1) or 1, WIDTH - 110, 26
    parts = []
    for i, (label, value) in enumerate(values.items()):
        y = i * row + 4
        width = value / most * (right - _LABELS)
        parts += [
            f'<g class="first">{svg.title(f"{label}: {shown(value)}")}',
            svg.text(_LABELS - 12, y + 7, label, "end name"),
            f'<rect class="bar" x="{_LABELS}" y="{y}" height="14" width="{max(width, 1):.1f}" rx="2"/>',
            svg.text(_LABELS + width + 8, y + 7, shown(value), "tiny"),
            "</g>",
        ]
    return svg.drawing(len(values) * row + 8, parts, "Bars")


def _duplicates(found: Row) -> str:
    if not found:
        return section("Duplicates", "Nothing was compared.", "")
    before, left = found["copies_before"], found["copies_left"]
    facts = {
        "repositories removed": f"{found['removed_repositories']:,}",
        "files removed singly": f"{found['removed_files']:,}",
        "removed without a partner": f"{found['without_partner']:,}",
        "exact copies before": f"{before['files']:,} files, {size(before['bytes'])}",
        "exact copies left": f"{left['files']:,} files, {size(left['bytes'])}",
    }
    body = f'<dl class="facts">{"".join(fact(n, v) for n, v in facts.items())}</dl>'
    if found["clusters"]:
        rows = [
            (count, f"{many:,}")
            for count, many in sorted(found["clusters"].items(), key=lambda item: int(item[0]))
        ]
        body += table(("documents in a cluster", "clusters"), rows)
    lead = "Near-duplicates, each compared exactly; one of each cluster stays."
    return section("Duplicates", lead, body)


def _benchmarks(found: Row) -> str:
    if not found:
        return section("Benchmarks", "Nothing was looked for.", "")
    facts = {
        "files looked at": f"{found['documents']:,}",
        "dropped for shared text": f"{found['dropped']:,}",
        "the papers' rule would drop": f"{found['dropped_by_paper']:,}",
        "projects held out": ", ".join(found["held_out"]) or "none",
        "benchmarks not at hand": ", ".join(found["benchmarks_left_out"]) or "none",
    }
    body = f'<dl class="facts">{"".join(fact(n, v) for n, v in facts.items())}</dl>'
    if found["sets"]:
        body += table(
            ("benchmark", "files"), [(name, f"{count:,}") for name, count in found["sets"].items()]
        )
    if found["most_frequent"]:
        rows = [(gram, f"{count:,}") for gram, count in found["most_frequent"][:15]]
        body += "<h3>Grams in most files</h3>" + table(("words", "files"), rows)
    if found["samples"]:
        rows = [
            (f"{s['document']}:{s['line']}", f"{s['set']} {s['task_id']}", s["gram"][:120])
            for s in found["samples"][:_ROWS]
        ]
        body += "<h3>Hits to read</h3>" + table(("file", "task", "words"), rows)
    lead = "Files that share ten words in a row with a benchmark are dropped."
    return section("Benchmarks", lead, body)


def _quality(found: Row, cuts: Mapping[str, float]) -> str:
    if not found:
        return ""
    lead = f"Trained on {found['good']:,} good and {found['bad']:,} bad files of this corpus."
    if not found["trained"]:
        lead = (
            f"None was trained: {found['good']:,} good and {found['bad']:,} bad files are too few."
        )
    rows = [(name, f"{cut:.3f}") for name, cut in sorted(cuts.items(), key=lambda item: -item[1])]
    body = table(("language", "least score"), rows[:_ROWS]) if rows else ""
    return section("The quality model", lead, body)


def _orders(found: Row) -> str:
    if not found:
        return ""
    near = [name for name in next(iter(found["orders"].values())) if name != "before"]
    head = (
        "order",
        "dependency before its user",
        *(f"and within {n}" for n in near[:-1]),
        near[-1],
    )
    rows = [
        (name, f"{100 * row['before']:.1f} %", *(f"{100 * row[n]:.1f} %" for n in near))
        for name, row in found["orders"].items()
    ]
    lead = f"{found['edges']:,} imports inside {found['repositories']:,} repositories."
    return section("Orders of files", lead, table(head, rows))


def _samples(samples: Iterable[Row]) -> str:
    cases = []
    for row in samples:
        body = row["text"][:_SHOWN]
        value = f" ({row['drop_value']})" if row["drop_value"] else ""
        cases.append(
            f'<details class="case"><summary><b>{text(row["drop_reason"])}</b>'
            f"<em>{text(row['language'] or '-')}</em>"
            f"<span>{text(row['repo'] + ':' + row['path'])}</span></summary>"
            f'<div class="inside"><p>{text(row["drop_reason"] + value)}</p>'
            f"<pre>{text(body)}</pre></div></details>\n"
        )
    lead = "Some files of each reason, the same in every run of this build."
    return section("Dropped files to read", lead, "".join(cases))
