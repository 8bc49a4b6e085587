"""The report of a run as one HTML page: its curves, its experts' load, what it wrote, its facts."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, TypeVar

import numpy as np

from midfill.pages.chart import Axis, Chart, Dot, Line, chart, heat, legend
from midfill.pages.numbers import duration, short
from midfill.pages.page import facts, page, section, table, text, wide
from midfill.train.report.numbers import EVEN
from midfill.train.report.record import Record, number

Numbers = Mapping[str, Any]
Other = tuple[Record, Numbers]
T = TypeVar("T")
_COLOURS = 6
_DOTS = 300  # on a chart, spread evenly; the log has all
_MOMENTS = 50
_NOTES = 100
_SAMPLES = 20  # steps whose samples are shown, spread evenly
_SHOWN = 2000  # characters of a part of a sample
_TOKENS = Axis(name="tokens", zero=True)
_LOSS, _BITS = "loss, nats per token", "loss, bits per byte"


def as_html(record: Record, numbers: Numbers, beside: Sequence[Other] = ()) -> str:
    """The whole page; `beside` are other runs and their numbers."""
    sections = (
        _top(record, numbers),
        _losses(record),
        _beside([(record, numbers), *beside]) if beside else "",
        _optimiser(record, numbers),
        _speed(record, numbers),
        _load(record, numbers["load"]),
        _samples(record),
        _notes(record),
        _foot(record),
    )
    return page(f"{record.name}: a training run", "".join(sections), wide=True)


def _top(record: Record, numbers: Numbers) -> str:
    last = numbers["last"]
    hero = ""
    for unit, name in (("bits per byte", "bits_per_byte"), ("nats per token", "loss")):
        value, what = _end(numbers, name)
        if value is not None and not hero:
            hero = (
                f'<div class="hero"><div class="score">{value:.3f}</div><div class="beside">{unit}, {what}'
                f"<span>{text(_against(numbers))}</span></div></div>"
            )
    chips = "".join(f'<li class="chip {kind}">{text(name)}</li>' for kind, name in _chips(numbers))
    done = f"{short(number(last.get('tokens')))} tokens" if last else "no step is logged yet"
    return (
        '<div class="bar"><i></i><b>midfill</b> training</div>'
        f'<h1>{text(record.name)}</h1><p class="model">{text(_model(record))}; {done}</p>{hero}'
        + (f'<ul class="chips">{chips}</ul>' if chips else "")
        + facts(_facts(record, numbers))
    )


def _end(numbers: Numbers, name: str) -> tuple[float | None, str]:
    """Where the run stands, and how that was measured."""
    held_out = numbers["held_out"]
    if held_out and held_out[-1].get(name) is not None:
        return held_out[-1][name], "held out"
    return numbers["mean_of_last"][
        name
    ], f"mean of the last {numbers['mean_of_last']['steps']} steps"


def _against(numbers: Numbers) -> str:
    baseline = numbers["baseline"]
    if not baseline or numbers["below_baseline"] is None:
        return "no baseline to compare with"
    side = "below" if numbers["below_baseline"] else "not below"
    return f"{side} the {_baseline(baseline)}"


def _baseline(baseline: Numbers) -> str:
    values = [
        f"{number(baseline[name]):.3f} {unit}"
        for name, unit in (("bits_per_byte", "bits per byte"), ("loss", "nats per token"))
        if baseline.get(name) is not None
    ]
    return f"{baseline.get('name', 'baseline')}: {', '.join(values)}"


def _chips(numbers: Numbers) -> Iterable[tuple[str, str]]:
    load, left_out = numbers["load"], numbers["left_out"]["steps"]
    if not numbers["finished"]:
        yield "mild", "not finished"
    if numbers["below_baseline"] is False:
        yield "", "not below the baseline"
    if numbers["no_number"]:
        yield "", f"the loss was no number in {_steps(numbers['no_number'])}"
    if left_out:
        yield "mild", f"{_steps(left_out)} left out"
    if load and not load["even"]:
        yield "", "experts are loaded unevenly"


def _steps(count: int) -> str:
    return f"{count:,} step{'s' * (count != 1)}"


def _model(record: Record) -> str:
    total, active = (number(record.setting("parameters", name)) for name in ("total", "active"))
    family = str(record.setting("config", "model", "family") or "a model")
    return f"{family}, {short(total)} parameters, {short(active)} active" if total > 0 else family


def _facts(record: Record, numbers: Numbers) -> dict[str, str]:
    """What is known, in the order of interest."""
    last = numbers["last"]
    total, active = (record.setting("parameters", name) for name in ("total", "active"))
    wanted = record.setting("config", "tokens")
    shown: dict[str, str | None] = {
        "parameters": _told(total, "{:,.0f}"),
        "active for each token": _told(active, "{:,.0f}"),
        "tokens": _told(last.get("tokens"), "{:,.0f}", _told(wanted, " of {:,.0f}") or ""),
        "steps": f"{numbers['steps']:,}",
        "time, without stops": duration(last["seconds"]) if _known(last.get("seconds")) else None,
        "training loss": _told(
            numbers["mean_of_last"]["loss"],
            "{:.4f}",
            f", mean of the last {_steps(numbers['mean_of_last']['steps'])}",
        ),
        "held-out loss": _told(_last(numbers, "loss"), "{:.4f}"),
        "held-out bits per byte": _told(_last(numbers, "bits_per_byte"), "{:.4f}"),
        "tokens per second": _told(numbers["tokens_per_second"], "{:,.0f}"),
        "model FLOP utilisation": _percent(numbers["median_mfu"]),
        "peak of the machine": _told(_tera(record), "{:,.3g} TFLOP/s"),
        "length of a sequence": _told(record.setting("config", "data", "length"), "{:,.0f} tokens"),
        "sequences in a batch": _told(record.setting("config", "batch", "sequences"), "{:,.0f}"),
        "optimiser": record.setting("config", "optimiser", "kind"),
        "schedule": record.setting("config", "schedule", "shape"),
        "precision": record.setting("config", "precision"),
        "seed": _told(record.setting("config", "seed"), "{}"),
        "data": str(record.setting("data", "fingerprint") or "")[:16] or None,
    }
    return {name: str(value) for name, value in shown.items() if value}


def _last(numbers: Numbers, name: str) -> float | None:
    held_out = numbers["held_out"]
    return held_out[-1].get(name) if held_out else None


def _known(value: object) -> bool:
    return math.isfinite(number(value))


def _told(value: Any, form: str, more: str = "") -> str | None:
    return form.format(value) + more if _known(value) else None


def _percent(share: float | None) -> str | None:
    return None if share is None else f"{100 * share:.1f} %, median"


def _tera(record: Record) -> float:
    return number(record.setting("peak_flops")) / 1e12


def _losses(record: Record) -> str:
    drawn = _loss(record, "loss", _LOSS)
    both = replace(drawn, x=replace(drawn.x, log=True), y=replace(drawn.y, log=True))
    views = {
        "linear": drawn,
        "tokens logarithmic": replace(drawn, x=both.x),
        "both logarithmic": both,
    }
    names = [("of-0", "training, smoothed; pale: every step"), ("of-1", "held out")]
    body = legend(names) + _views("loss", {name: chart(one) for name, one in views.items()})
    body += chart(_loss(record, "bits_per_byte", _BITS))
    return section(
        "Loss",
        "Point at a curve to read its numbers. Bits per byte do not depend on the vocabulary.",
        body,
    )


def _views(group: str, views: Mapping[str, str]) -> str:
    """Several views of the same thing, of which one is seen: chosen without a script."""
    choices = "".join(
        f'<label><input type="radio" name="{group}" class="view-{i}"{" checked" * (i == 0)}>'
        f"{text(name)}</label>"
        for i, name in enumerate(views)
    )
    shown = "".join(
        f'<div class="view view-{i}">{view}</div>' for i, view in enumerate(views.values())
    )
    choice = f'<fieldset class="filter" aria-label="axes">{choices}</fieldset>'
    return f'<div class="views">{choice}{shown}</div>'


def _loss(record: Record, name: str, label: str) -> Chart:
    line = _line(record, name, "training")
    baseline = number(record.setting("baseline", name))
    levels = [(baseline, str(record.setting("baseline", "name")))] * math.isfinite(baseline)
    return Chart(
        x=_TOKENS,
        y=Axis(name=label),
        lines=[line],
        dots=_held_out(record, name, "of-1"),
        levels=levels,
        moments=_moments(record),
        tall=name == "loss",
    )


def _line(record: Record, name: str, told: str, kind: str = "of-0", *, pale: bool = True) -> Line:
    steps = record.steps
    return Line(name=told, x=steps["tokens"], y=steps[name], kind=kind, smooth=True, pale=pale)


def _held_out(record: Record, name: str, kind: str) -> list[Dot]:
    events = _spread(record.events["evaluation"], _DOTS)
    tokens = record.tokens_at([number(event["step"]) for event in events])
    found = []
    for event, x in zip(events, tokens.tolist(), strict=True):
        y = number(event.get(name))
        told = f"{record.name}, held out at {short(x)} tokens (step {event['step']:,}): {y:.4f}"
        if math.isfinite(y):
            found.append(Dot(x=x, y=y, told=told, kind=kind))
    return found


def _moments(record: Record) -> list[tuple[float, str]]:
    notes = _spread(record.events["note"], _MOMENTS)
    tokens = record.tokens_at([number(note["step"]) for note in notes])
    told = [f"step {note['step']:,}: {note.get('text', '')}" for note in notes]
    return list(zip(tokens.tolist(), told, strict=True))


def _beside(runs: Sequence[Other]) -> str:
    """The losses of several runs in one picture, and where each ended."""
    kinds = [f"of-{i % _COLOURS}{' again' * (i >= _COLOURS)}" for i in range(len(runs))]
    views = {
        name: f'<div class="charts">{"".join(_together(runs, kinds, log=log))}</div>'
        for name, log in (("linear", False), ("logarithmic", True))
    }
    head = "run|tokens|training loss|held-out loss|held-out bits per byte|tokens per second"
    rows = [
        (
            record.name,
            _told(numbers["last"].get("tokens"), "{:,.0f}") or "-",
            _told(numbers["mean_of_last"]["loss"], "{:.4f}") or "-",
            _told(_last(numbers, "loss"), "{:.4f}") or "-",
            _told(_last(numbers, "bits_per_byte"), "{:.4f}") or "-",
            _told(numbers["tokens_per_second"], "{:,.0f}") or "-",
        )
        for record, numbers in runs
    ]
    names = [(kind, record.name) for (record, _), kind in zip(runs, kinds, strict=True)]
    return section(
        "Beside other runs",
        "Smoothed training losses; points are held out. Runs with other vocabularies can be "
        "compared by bits per byte only.",
        legend(names)
        + _views("beside", views)
        + wide(table(head.split("|"), rows, first=True), 640),
    )


def _together(runs: Sequence[Other], kinds: Sequence[str], *, log: bool) -> Iterable[str]:
    """The losses of all runs, in nats per token and in bits per byte."""
    pairs = [(record, kind) for (record, _), kind in zip(runs, kinds, strict=True)]
    for name, label in (("loss", _LOSS), ("bits_per_byte", _BITS)):
        yield chart(
            Chart(
                x=replace(_TOKENS, log=log),
                y=Axis(name=label, log=log),
                lines=[
                    _line(record, name, record.name, kind, pale=False) for record, kind in pairs
                ],
                dots=[dot for record, kind in pairs for dot in _held_out(record, name, kind)],
            )
        )


def _optimiser(record: Record, numbers: Numbers) -> str:
    steps = record.steps
    rate = Line(name="learning rate", x=steps["tokens"], y=steps["lr"])
    clip = number(record.setting("config", "optimiser", "clip"))
    norms = Chart(
        x=_TOKENS,
        y=Axis(name="norm of the gradient", log=True),
        lines=[_line(record, "grad_norm", "norm")],
        dots=_left_out(record),
        levels=[(clip, "clipped above")] * (clip > 0),
        moments=_moments(record),
    )
    rates = Chart(x=_TOKENS, y=Axis(name="learning rate of AdamW", zero=True), lines=[rate])
    count = numbers["left_out"]["steps"]
    lead = "Before clipping, on a logarithmic axis. "
    lead += f"Red: {_steps(count)} left out." if count else "No step was left out."
    body = f'<div class="charts">{chart(norms)}{chart(rates)}</div>'
    return section("Gradient and learning rate", lead, body)


def _left_out(record: Record) -> list[Dot]:
    steps = record.steps
    places = np.flatnonzero((steps["left_out"] == 1) & np.isfinite(steps["tokens"]))
    found = []
    for i in _spread(places.tolist(), _DOTS):
        step, norm = steps["step"][i], float(steps["grad_norm"][i])
        told = f"step {step:,.0f} was left out: norm {norm:.4g}"
        found.append(Dot(x=float(steps["tokens"][i]), y=norm, told=told, kind="of-bad"))
    return found


def _speed(record: Record, numbers: Numbers) -> str:
    shares = _line(record, "mfu", "utilisation")
    drawn = (
        (_line(record, "tokens_per_second", "tokens per second"), "tokens per second"),
        (replace(shares, y=100 * shares.y), "model FLOP utilisation, % of the machine's peak"),
    )
    charts = [
        chart(
            Chart(x=_TOKENS, y=Axis(name=name, zero=True), lines=[line], moments=_moments(record))
        )
        for line, name in drawn
    ]
    rates = (numbers["tokens_per_second"], numbers["median_tokens_per_second"])
    over, typical = (_told(rate, "{:,.0f}") or "unknown" for rate in rates)
    lead = f"Tokens per second over the whole run: {over}; median of the steps: {typical}."
    return section("Speed", lead, f'<div class="charts">{"".join(charts)}</div>')


def _load(record: Record, load: Numbers | None) -> str:
    """Where the tokens went, for models with experts."""
    if load is None:
        return ""
    rows = {f"layer {one['layer']}": _fullest(record, one["layer"]) for one in load["layers"]}
    named = "load of the fullest expert, as a multiple of the mean"
    map_ = heat(rows, _TOKENS, named, _shade)
    shades = legend(
        [("load-even", "1, all alike"), ("load-limit", f"{EVEN:g}"), ("of-bad", "more")]
    )
    head = "layer|largest over mean|smallest over mean|tokens dropped|entropy|verdict"
    names = ("max", "min", "dropped", "entropy")
    table_rows = [
        (
            f"layer {one['layer']}",
            *(_told(one.get(name), "{:.3f}") or "-" for name in names),
            "✓" if number(one.get("max")) <= EVEN else "✗",
        )
        for one in load["layers"]
    ]
    verdict = "at most" if load["even"] else "more than"
    lead = (
        f"At step {load['step']:,.0f} the fullest expert has {load['largest'] or math.nan:.2f} times "
        f"the mean of its layer: {verdict} {EVEN:g}, which we call "
        + ("even." if load["even"] else "too much.")
    )
    if len(record.loads) < len(record.steps["step"]):
        lead += f" The map is made of {len(record.loads):,} steps, evenly spread."
    balance = Axis(name="balance loss of experts", zero=True)
    lines = [_line(record, "expert_loss", "balance loss")]
    body = shades + map_ + chart(Chart(x=_TOKENS, y=balance, lines=lines))
    body += f"<h3>At step {load['step']:,.0f}</h3>{wide(table(head.split('|'), table_rows), 560)}"
    return section("Load of the experts", lead, body)


def _fullest(record: Record, layer: str) -> tuple[np.ndarray, np.ndarray]:
    """Tokens, and the load of the fullest expert of a layer there."""
    there = [at for at in record.loads if layer in at.layers]
    fullest = [number(at.layers[layer].get("max")) for at in there]
    return record.tokens_at([at.step for at in there]), np.array(fullest)


def _shade(load: float) -> tuple[str, float]:
    if load > EVEN:
        return "of-bad", min(0.45 + 0.25 * (load - EVEN), 1)
    return "of-0", max(load - 1, 0) / (EVEN - 1) * 0.85 + 0.06


def _samples(record: Record) -> str:
    """What the model wrote, the last first."""
    samples = record.events["sample"]
    if not samples:
        return ""
    steps = sorted({number(one["step"]) for one in samples})
    chosen = _spread(steps, _SAMPLES)
    cases = []
    for step, tokens in reversed(list(zip(chosen, record.tokens_at(chosen).tolist(), strict=True))):
        texts = "".join(_sample(one) for one in samples if number(one["step"]) == step)
        opened = " open" * (step == steps[-1])
        cases.append(
            f'<details class="case of-0"{opened}><summary><b>step {step:,.0f}</b>'
            f"<em>{short(tokens)} tokens</em></summary>"
            f'<div class="inside">{texts}</div></details>\n'
        )
    lead = "Pale: what the model was given. Marked: what it wrote."
    if len(chosen) < len(steps):
        lead += f" {len(chosen)} of {len(steps):,} steps with samples are shown."
    return section("Samples", lead, "".join(cases))


def _sample(sample: Mapping[str, Any]) -> str:
    prefix, written, suffix = (str(sample.get(name) or "") for name in ("prefix", "text", "suffix"))
    cut = "… " if len(prefix) > _SHOWN else ""
    parts = (
        f'<span class="given">{cut}{text(prefix[-_SHOWN:])}</span>',
        f"<mark>{text(written[:_SHOWN])}{' …' * (len(written) > _SHOWN)}</mark>"
        if written
        else '<mark class="empty">nothing</mark>',
        f'<span class="given">{text(suffix[:_SHOWN])}{" …" * (len(suffix) > _SHOWN)}</span>',
    )
    name = "completion" if sample.get("suffix") is None else "infilling"
    return f'<h3>{name}</h3><pre class="sample">{"".join(parts)}</pre>'


def _notes(record: Record) -> str:
    notes = record.events["note"]
    if not notes:
        return ""
    items = "".join(
        f"<li>step {number(note['step']):,.0f}: {text(str(note.get('text', '')))}</li>"
        for note in notes[-_NOTES:]
    )
    lead = "Dotted lines in the curves."
    if len(notes) > _NOTES:
        lead += f" The last {_NOTES} of {len(notes):,}."
    return section("Notes", lead, f'<ul class="notes plain">{items}</ul>')


def _foot(record: Record) -> str:
    """Where it ran, with what, on what."""
    rows = {}
    for part in ("versions", "machine", "data"):
        found = record.setting(part)
        rows |= (
            {f"{part}, {name}": value for name, value in found.items()}
            if isinstance(found, Mapping)
            else {}
        )
    items = "".join(
        f"<dt>{text(name)}</dt><dd>{text(_plainly(value))}</dd>" for name, value in rows.items()
    )
    return f"<footer><dl>{items}</dl></footer>\n"


def _plainly(value: object) -> str:
    if isinstance(value, list | tuple):
        return ", ".join(_plainly(one) for one in value)
    if isinstance(value, Mapping):
        return " ".join(f"{name}={_plainly(one)}" for name, one in value.items())
    return str(value)


def _spread(values: Sequence[T], most: int) -> list[T]:
    """At most so many of the values, evenly, the first and the last among them."""
    if len(values) <= most:
        return list(values)
    return [values[round(i * (len(values) - 1) / (most - 1))] for i in range(most)]
