"""`midfill lifecycle`: what is shown of a life, and whether it came to what it should."""

from pathlib import Path
from typing import Any

from midfill.errors import ConfigError
from midfill.terminal import show


def lifecycle(
    size: str,
    minutes: float,
    source: Path | None,
    out: Path,
    seed: int,
    *,
    json: bool,
    quiet: bool,
) -> int:
    """Live; print what each stage came to. 1: the loss did not fall below that of 3-grams."""
    from midfill.lifecycle.life import live
    from midfill.lifecycle.plan import SIZES, plan
    from midfill.terminal.train_run import Line

    if size not in SIZES:
        raise ConfigError(
            f"no life has the size {size!r}", why=f"known are {', '.join(SIZES)}", fix="--size tiny"
        )
    made = plan(size, minutes, source, seed)
    record = live(
        made, out, watch=Line(quiet=quiet), tell=lambda text: show.note(text, quiet=quiet)
    )
    model = out / "longer" / "final"
    if json:
        show.as_json({"out": str(out), "model": str(model), **record})
    else:
        print("\n".join(_summary(record)))
        print(f"model     {model}\nreport    {out / 'run' / 'report.html'}")
        show.note(f"\nmidfill serve {model}", quiet=quiet)
    return 0 if record["pretrain"]["beats_baseline"] else 1


def _summary(record: dict[str, Any]) -> list[str]:
    corpus, run, longer = record["corpus"], record["pretrain"], record["longer"]
    known, served = record["recite"], record["serve"]
    baseline = run["baseline"]
    counted = f"{baseline['loss']:.3f} by counting 3-grams" if baseline else "nothing to compare"
    return [
        f"corpus    {corpus['tokens']['train']:,} tokens, {corpus['documents']['train']:,} documents, "
        f"{corpus['vocabulary']:,} entries ({corpus['seconds']:.0f} s)",
        f"training  {run['steps']:,} steps, held-out loss {run['loss']:.3f}, {counted} "
        f"({run['seconds']:.0f} s)",
        f"longer    {longer['steps']:,} steps, held-out loss {longer['loss']:.3f} "
        f"({longer['seconds']:.0f} s)",
        f"by heart  {known['continued']} of {known['snippets']} continued, {known['filled']} filled",
        f"served    {served['prompt']!r} -> {served['answer']!r} ({served['seconds']:.0f} s)",
    ]
