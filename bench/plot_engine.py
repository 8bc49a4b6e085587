"""A picture and a table of what bench/engine_speed.py wrote.

    python bench/plot_engine.py RESULTS.json [MORE.json] [--out docs/images/engine_speed.svg]

One bar for each case: how many times faster (or smaller) midfill is than llama.cpp, on a scale
where twice and half are equally far from 1; both figures beside it. Needs matplotlib, which nothing
else here does: pip install matplotlib
"""

import argparse
import json
import sys
from pathlib import Path

from engine_speed import LEGEND, OURS, Row, markdown, number, rows_of

from midfill.errors import ResourceError, UserError

ROOT = Path(__file__).parent.parent
BETTER, WORSE, GREY = "#2f7d5b", "#b4553f", "#777777"


def plot(rows: list[Row], title: str, path: Path) -> None:
    """Draw the bars as SVG. Raises ResourceError without matplotlib."""
    try:
        import matplotlib
    except ImportError:
        raise ResourceError(
            "matplotlib is not installed",
            why="only this picture needs it, so it is no dependency",
            fix="pip install matplotlib",
        ) from None
    matplotlib.use("svg")
    # The same results give the same file; letters stay letters.
    matplotlib.rcParams.update({"svg.hashsalt": "midfill", "svg.fonttype": "none"})
    from matplotlib import pyplot

    shown = [row for row in rows if row.ratio is not None]
    ratios = [row.ratio or 1.0 for row in shown]
    places = range(len(shown), 0, -1)
    figure, axes = pyplot.subplots(figsize=(9.5, 1.2 + 0.3 * len(shown)))
    colours = [BETTER if ratio >= 1 else WORSE for ratio in ratios]
    axes.barh(places, [r - 1 for r in ratios], left=1, height=0.62, color=colours)
    axes.axvline(1, color="black", linewidth=0.8)
    axes.set_xscale("log", base=2)
    low, high = min([0.5, *ratios]), max([2.0, *ratios])
    axes.set_xlim(low / 1.15, high * 2.2)
    ticks = [t for t in (0.125, 0.25, 0.5, 1, 2, 4, 8, 16) if low / 1.15 <= t <= high * 1.15]
    axes.set_xticks(ticks, [f"{tick:g}x" for tick in ticks])
    axes.set_yticks(places, [row.case for row in shown], fontsize=8)
    for place, row, ratio in zip(places, shown, ratios, strict=True):
        text = f"{ratio:.2f}x   {_both(row)}"
        axes.text(max(ratio, 1) * 1.03, place, text, va="center", fontsize=7.5, color="#333333")
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
    axes.tick_params(axis="y", length=0)
    axes.set_title(title, fontsize=9, color=GREY, loc="left")
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, bbox_inches="tight", metadata={"Date": None})
    pyplot.close(figure)


def _both(row: Row) -> str:
    peer = next(found for name, found in row.figures.items() if name != OURS)
    return f"{number(row.figures[OURS])} : {number(peer)} {row.unit}"


def main() -> None:
    """Write the picture, print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "results", type=Path, nargs="+", help="what engine_speed.py --write wrote, on one machine"
    )
    parser.add_argument("--out", type=Path, default=ROOT / "docs" / "images" / "engine_speed.svg")
    parser.add_argument("--table-only", action="store_true", help="no picture, no matplotlib")
    args = parser.parse_args()
    runs = [json.loads(path.read_text(encoding="utf-8")) for path in args.results]
    rows = [row for run in runs for row in rows_of(run)]
    print(markdown(rows) + "\n\n" + LEGEND)
    if args.table_only:
        return
    processor = runs[0]["machine"]["processor"]
    title = f"midfill : its peer, same files, {runs[0]['threads']} threads of {processor}"
    plot(rows, title, args.out)
    print(args.out, file=sys.stderr)


if __name__ == "__main__":
    try:
        main()
    except UserError as error:
        sys.exit(str(error))
