"""The recall loop through the command line, on a web of some hundred pages."""

import json
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

GOOD = "function returns compile loop array pointer struct method class import module test".split()
OTHER = "soup garden river holiday recipe music football weather dinner flower mountain".split()


def page(url: str, words: list[str], chance: random.Random) -> dict[str, str]:
    text = " ".join(chance.choice(words) for _ in range(120))
    return {"url": f"https://{url}", "text": text}


@pytest.fixture(scope="module")
def web(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two hosts about programming, eight about other things, and a copy of one page."""
    chance = random.Random(1)
    pages = [page(f"docs.example.org/part/{i}", GOOD, chance) for i in range(30)]
    pages += [page(f"www.example.net/code/{i}", GOOD, chance) for i in range(20)]
    pages += [page(f"www.example.net/talk/{i}", GOOD[:3] + OTHER, chance) for i in range(20)]
    pages += [page(f"host{i % 8}.example.com/{i}", OTHER, chance) for i in range(240)]
    pages.append({"url": "http://docs.example.org/part/0#top", "text": pages[0]["text"]})
    pages.append({"url": "https://copy.example.com/0", "text": pages[0]["text"]})
    chance.shuffle(pages)
    path = tmp_path_factory.mktemp("web") / "pages.jsonl"
    path.write_text("".join(json.dumps(one) + "\n" for one in pages))
    return path


def command(*arguments: object) -> list[str]:
    return [sys.executable, "-m", "midfill.cli", "corpus", "recall", *map(str, arguments)]


def run(*arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command(*arguments), capture_output=True, text=True)


def recalled(out: Path, web: Path, *more: object) -> dict:
    done = run(web, "--seed", "docs.example.org", "--out", out, "--json", "--quiet", *more)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def collected(out: Path) -> list[str]:
    lines = (out / "pages.jsonl").read_text().splitlines()
    return [json.loads(line)["url"] for line in lines]


@pytest.fixture(scope="module")
def whole(web: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One run without a break."""
    out = tmp_path_factory.mktemp("whole") / "out"
    recalled(out, web, "--keep", "0.2")
    return out


def test_pages_like_the_seed_are_found(whole: Path):
    urls = collected(whole)
    assert len(set(urls)) == len(urls)
    found = [url for url in urls if url.startswith("https://example.net/code/")]
    assert len(found) >= 18
    assert not [url for url in urls if "/host" in url]
    rows = json.loads((whole / "rounds.json").read_text())
    assert rows[-1]["total"] == len(urls)
    assert "example.net" in rows[-1]["domains"]


def test_the_result_is_a_source_of_a_build(whole: Path):
    pytest.importorskip("pyarrow")
    from midfill.config.corpus.sources import ReadLimits
    from midfill.corpus.sources.pages import PageSource
    from midfill.corpus.sources.tables import TableSource

    for source in (PageSource, TableSource):
        made = source(path=str(whole / "pages.jsonl"))
        read = [made.read(one, ReadLimits()) for one in made.references()]
        assert sum(len(one.documents) for one in read) == len(collected(whole))
        assert not [one for each in read for one in each.unread]


def test_html_is_recalled_by_what_is_seen_of_it(web: Path, tmp_path: Path):
    """Markup and scripts, equal in all pages or misleading, change nothing."""
    rows = [json.loads(line) for line in web.read_text().splitlines()]
    html = [
        f"<html><head><script>{' '.join(GOOD)}</script></head><p class=soup>{row['text']}</p></html>"
        for row in rows
    ]
    pages = tmp_path / "html.jsonl"
    pages.write_text(
        "".join(
            json.dumps({"url": row["url"], "html": page}) + "\n"
            for row, page in zip(rows, html, strict=True)
        )
    )
    arguments = ("--keep", "0.2", "--words", "spaces", "--rounds", "1")
    assert recalled(tmp_path / "seen", pages, *arguments)["pages"] == 310
    recalled(tmp_path / "plain", web, *arguments)
    assert collected(tmp_path / "seen") == collected(tmp_path / "plain")
    assert "<" not in (tmp_path / "seen" / "pages.jsonl").read_text()


def test_a_killed_run_goes_on_and_gives_the_same(web: Path, whole: Path, tmp_path: Path):
    out = tmp_path / "out"
    arguments = (web, "--seed", "docs.example.org", "--out", out, "--keep", "0.2", "--json")
    process = subprocess.Popen(
        command(*arguments), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    end = time.monotonic() + 50
    while not (out / "rounds" / "round-1.json").exists() and time.monotonic() < end:
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert (out / "rounds" / "round-1.json").exists()
    recalled(out, web, "--keep", "0.2")
    for name in ("pages.jsonl", "rounds.json", "proposals.txt", "rounds/round-1.json"):
        assert (out / name).read_bytes() == (whole / name).read_bytes(), name


def test_a_person_decides_between_two_rounds(web: Path, tmp_path: Path):
    out = tmp_path / "out"
    first = recalled(out, web, "--rounds", "1", "--keep", "0.12", "--words", "spaces")
    proposed = (out / "proposals.txt").read_text()
    lines = [line for line in proposed.split("\n") if line.startswith("# + example.net")]
    assert lines, proposed
    decided = tmp_path / "decided.txt"
    decided.write_text(proposed.replace(lines[0], lines[0].removeprefix("# ")))
    more = ("--rounds", "2", "--keep", "0.12", "--words", "spaces", "--annotations", decided)
    second = recalled(out, web, *more)
    assert [row["round"] for row in second["rounds"]] == [1, 2]
    assert second["rounds"][0] == first["rounds"][0]
    assert second["rounds"][1]["seed"] > first["rounds"][0]["seed"]


def test_people_get_a_table(whole: Path, web: Path):
    done = run(web, "--seed", "docs.example.org", "--out", whole, "--keep", "0.2")
    assert done.returncode == 0, done.stderr
    assert done.stdout.split("\n")[0].split()[:3] == ["round", "seed", "collected"]
    assert "rounds of an earlier run" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["{web}", "--seed", "{empty}"], "the seed is empty"),
        (["{web}", "--seed", "nothing"], "neither a file nor an address"),
        (["{web}", "--seed", "elsewhere.example"], "the seed names no page"),
        (["{missing}", "--seed", "docs.example.org"], "missing"),
        (["{web}", "--seed", "docs.example.org", "--annotations", "{bad}"], "is no rule"),
    ],
)
def test_a_mistake_is_three_lines(web: Path, tmp_path: Path, arguments: list[str], named: str):
    (tmp_path / "empty").write_text("# no address\n\n")
    (tmp_path / "bad").write_text("take docs.example.org\n")
    places = {f"{{{name}}}": str(tmp_path / name) for name in ("empty", "bad", "missing")}
    filled = [{**places, "{web}": str(web)}.get(one, one) for one in arguments]
    done = run(*filled, "--out", tmp_path / "out", "--words", "spaces", "--quiet")
    assert done.returncode == 2
    assert [line.split(":")[0].strip() for line in done.stderr.splitlines()] == [
        "error",
        "why",
        "fix",
    ]
    assert named in done.stderr


def test_another_run_in_the_same_folder_is_refused(whole: Path, web: Path):
    done = run(web, "--seed", "example.net", "--out", whole, "--keep", "0.2", "--quiet")
    assert done.returncode == 2
    assert "rounds of another run" in done.stderr
    assert "seed" in done.stderr
