"""The report of a build as one HTML page: what came in, what went, why, and what is left."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from midfill.pages.numbers import size
from midfill.pages.page import facts, page, section, table, text, wide

Row = Mapping[str, Any]
_ROWS = 40  # of a table; report.json has all of it
_TASKS = 20
_SHOWN = 3000  # characters of a sample


def as_html(numbers: Mapping[str, Any], samples: Iterable[Row]) -> str:
    """The whole page."""
    tokens = numbers["tokens"]
    parts = (
        _top(numbers),
        section(
            "What became of the files",
            "Bytes that each step leaves; what it drops is pale.",
            _funnel(numbers["funnel"]),
        ),
        _reasons(numbers["reasons"], numbers["unread"]),
        _masked(numbers["masked"]),
        _shards(numbers),
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
    told = {
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
        f'<p class="model">from {first["files"]:,} files; {kept} languages stayed</p>' + facts(told)
    )


def _funnel(steps: Sequence[Row]) -> str:
    """A bar for each step: what it leaves, and, pale behind it, what it drops."""
    most = max(steps[0]["bytes"], 1)
    bars = []
    for step in steps:
        told = f"{step['files']:,} files, {size(step['bytes'])} stay; "
        told += f"{step['dropped']:,} files, {size(step['dropped_bytes'])} go"
        shown = f"{size(step['bytes'])}, {_share(step['bytes'], most)}"
        bars.append((step["step"], step["bytes"] / most, step["dropped_bytes"] / most, shown, told))
    return _bars(bars)


def _bars(rows: Iterable[tuple[str, float, float, str, str]]) -> str:
    """A line for each row: its name, a bar of one share and a pale one behind it, what they are.

    The last of a row is told when its bar is pointed at. As narrow as the page.
    """
    cells = []
    for name, share, pale, shown, told in rows:
        bars = "".join(
            f'<i style="flex:0 0 max({100 * part:.2f}%,1px);background:var(--accent);'
            f'opacity:{opacity}"></i>'
            for part, opacity in ((share, 1), (pale, 0.25))
            if part
        )
        cells.append(
            f'<b style="text-align:right;font-weight:600">{text(name)}</b>'
            f'<span style="display:flex;height:16px" title="{text(told)}">{bars}</span>'
            f'<span style="color:var(--soft)">{text(shown)}</span>'
        )
    sides = "fit-content(clamp(7em,18vw,11em)) 1fr fit-content(clamp(5em,18vw,12em))"
    look = f"display:grid;grid-template-columns:{sides};gap:9px 12px;align-items:center;"
    look += "font-size:13px;line-height:1.3;padding:18px"
    return f'<div class="sheet" style="{look}">{"".join(cells)}</div>'


def _reasons(reasons: Sequence[Row], unread: Mapping[str, int]) -> str:
    rows = [
        (row["reason"], f"{row['files']:,}", size(row["bytes"]), row["step"]) for row in reasons
    ]
    body = wide(table(("reason", "files", "bytes", "step"), rows), 460)
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


_LEFT_OUT = {
    "in_train": "held out by name, but a file is trained on as well: dropped",
    "language_cap": "beyond the cap of its language",
    "mix": "more than the mix wants",
}


def _shards(numbers: Mapping[str, Any]) -> str:
    """What there was, what of it is in no shard, and what is."""
    gone = [
        (_LEFT_OUT[reason], row) for reason, row in numbers["left_out"].items() if row["tokens"]
    ]
    tokens, documents = numbers["tokens"], numbers["documents"]
    rows = [
        ("all documents, once", numbers["available"]["documents"], numbers["available"]["tokens"]),
        *((reason, row["documents"], row["tokens"]) for reason, row in gone),
        ("held out", documents["held_out"], tokens["held_out"]),
        ("to train on, every epoch", documents["train"], tokens["train"]),
    ]
    passes = ", ".join(f"{name} {times:g}" for name, times in numbers["mix"]["passes"].items())
    body = table(
        ("documents", "number", "tokens"), [(name, f"{n:,}", f"{t:,}") for name, n, t in rows]
    )
    return section("What is in the shards", f"Times that each category is used: {passes}.", body)


def _languages(languages: Sequence[Row]) -> str:
    rows = [
        (
            row["language"] or "none",
            f"{row['files_in']:,}",
            size(row["bytes_in"]),
            f"{row['files']:,}",
            size(row["bytes"]),
            _share(row["bytes"], row["bytes_in"]),
            f"{row['tokens']:,}",
            f"{row['train']:,}",
            f"{row['held_out']:,}",
            f"{row['document_bytes'] / row['tokens']:.2f}" if row["tokens"] else "-",
        )
        for row in languages[:_ROWS]
    ]
    head = "language|files in|bytes in|files|bytes|kept|tokens|to train on|held out|bytes a token"
    lead = (
        f"{len(languages)} languages. Tokens count for the language of most of a document: once, "
        "then as often as they are in the shards."
    )
    drawing = _columns({row["language"]: row["bytes"] for row in languages[:12]}, size)
    body = drawing + wide(table(head.split("|"), rows), 860)
    return section("Languages", lead, body if rows else "")


def _licences(licences: Sequence[Row]) -> str:
    rows = [(row["licence"], f"{row['files']:,}", size(row["bytes"])) for row in licences[:_ROWS]]
    body = table(("licence", "files", "bytes"), rows) if rows else ""
    return section("Licences", "Of the files that stayed, behind the quality model.", body)


def _lengths(lengths: Sequence[Row]) -> str:
    bars = {f"<{row['below']:,}": row["tokens"] for row in lengths}
    lead = "Tokens to train on in documents of each length, by powers of two."
    return section("Lengths", lead, _columns(bars, lambda count: f"{count:,.0f}") if bars else "")


def _columns(values: Mapping[str, float], shown: Callable[[float], str]) -> str:
    """A row with a bar for each value."""
    most = max(values.values(), default=1) or 1
    return _bars((name, n / most, 0, shown(n), f"{name}: {shown(n)}") for name, n in values.items())


def _duplicates(found: Row) -> str:
    if not found:
        return section("Duplicates", "Nothing was compared.", "")
    before, left = found["copies_before"], found["copies_left"]
    told = {
        "repositories removed": f"{found['removed_repositories']:,}",
        "files removed singly": f"{found['removed_files']:,}",
        "removed without a partner": f"{found['without_partner']:,}",
        "exact copies before": f"{before['files']:,} files, {size(before['bytes'])}",
        "exact copies left": f"{left['files']:,} files, {size(left['bytes'])}",
    }
    body = facts(told)
    if found["clusters"]:
        rows = [
            (count, f"{many:,}")
            for count, many in sorted(found["clusters"].items(), key=lambda item: int(item[0]))
        ]
        body += "<h3>Clusters</h3>" + table(("documents in a cluster", "clusters"), rows)
    lead = "Near-duplicates, each compared exactly; one of each cluster stays."
    return section("Duplicates", lead, body)


def _benchmarks(found: Row) -> str:
    if not found:
        return section("Benchmarks", "Nothing was looked for.", "")
    told = {
        "files looked at": f"{found['documents']:,}",
        "dropped for shared text": f"{found['dropped']:,}",
        "the papers' rule would drop": f"{found['dropped_by_paper']:,}",
        "projects held out": ", ".join(f"{p} ({n:,})" for p, n in found["held_out"].items())
        or "none",
        "benchmarks not at hand": ", ".join(found["benchmarks_left_out"]) or "none",
    }
    body = facts(told)
    rows = [
        (one["set"], f"{one['documents']:,}", f"{one['hit']:,}", f"{one['tasks']:,}")
        for one in sorted(found["sets"], key=lambda one: (-one["documents"], one["set"]))
    ]
    body += "<h3>By benchmark</h3>" + table(
        ("benchmark", "files dropped for it", "tasks hit", "of"), rows
    )
    if found["tasks"]:
        most = sorted(found["tasks"], key=lambda row: (-row[2], row))[:_TASKS]
        rows = [(f"{name} {task}", f"{count:,}") for name, task, count in most]
        body += "<h3>Tasks in most files</h3>" + table(("task", "files dropped for it"), rows)
    if found["most_frequent"]:
        rows = [(gram, f"{count:,}") for gram, count in found["most_frequent"][:15]]
        body += "<h3>Grams in most files, also those that drop none</h3>" + table(
            ("words", "files"), rows
        )
    if found["samples"]:
        rows = [
            (
                f"{s['set']} {s['task_id']}",
                s["gram"][:120],
                f"{s['document']}:{s['line']}",
                "dropped" if s["drops"] else "kept",
            )
            for s in found["samples"][:_ROWS]
        ]
        body += "<h3>Hits to read</h3>" + wide(table(("task", "words", "file", ""), rows), 720)
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
    return section("Orders of files", lead, wide(table(head, rows), 640))


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
