"""Repository completion: the builder on an archive made here, and the prompts of its three arms."""

import importlib.util
import io
import json
import random
import tarfile
from datetime import date
from pathlib import Path
from types import ModuleType

import pytest
from hypothesis import given
from hypothesis import strategies as st

from midfill.errors import ConfigError
from midfill.evaluate.benchmarks import benchmark as opened
from midfill.evaluate.benchmarks.repobench import fewest_dropped
from midfill.evaluate.benchmarks.repocompletion import BUDGETS, about_tokens, last_lines

REPOSITORY = Path(__file__).parents[2]
FILES = {
    "shop/__init__.py": "",
    "shop/money.py": "CENT = 100\n\n\ndef price(amount, tax):\n    return amount * tax * CENT\n",
    "shop/stock.py": (
        "from .money import price\n\n\nclass Shelf:\n    def worth(self, goods):\n"
        "        return price(goods, tax=2)\n"
    ),
    "shop/sell.py": (
        '"""Sells goods."""\nimport os\n\nfrom shop import money\nfrom shop.stock import Shelf as Rack\n'
        "\n\ndef sell(goods, place):\n    # a comment of Rack\n    rack = Rack(goods, place)\n"
        "    other = os.path.join(goods, place)\n    again = Rack(other, place)\n"
        '    text = """\n    Rack is not used here\n    """\n    return money.price(again, rack)\n'
    ),
    "tests/test_shop.py": "from shop.sell import sell\n\nsell(1, 2, 3)\n",
}


@pytest.fixture(scope="module")
def builder() -> ModuleType:
    path = REPOSITORY / "scripts" / "build_repocompletion.py"
    spec = importlib.util.spec_from_file_location("build_repocompletion", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def archive(day: date) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as file:
        for path, text in FILES.items():
            info = tarfile.TarInfo(f"shop-1.0/src/{path}")
            info.size = len(text)
            info.mtime = int((day - date(1970, 1, 1)).total_seconds())
            file.addfile(info, io.BytesIO(text.encode()))
    return buffer.getvalue()


@pytest.fixture(scope="module")
def package(builder):
    files, newest = builder.read_archive(archive(date(2026, 3, 4)))
    pin = {"name": "shop", "version": "1.0", "filename": "f", "sha256": "0", "licence": "MIT"}
    return builder.Package(pin=pin, files=files, newest=newest)


@pytest.fixture(scope="module")
def built(builder, package, tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("set") / "set.jsonl.gz"
    builder.write(out, [package], builder.draw([package], 10, random.Random(0)))
    return out


def test_archives_are_read_without_their_tests(package):
    assert sorted(package.files) == ["shop/money.py", "shop/sell.py", "shop/stock.py"]
    assert package.newest == date(2026, 3, 4)


def test_every_line_has_its_setting(builder, package):
    found = {(line["path"], line["line"]): line["setting"] for line in builder.lines_of(package)}
    assert found == {
        ("shop/stock.py", 5): "in_file",
        ("shop/stock.py", 6): "cross_file_first",
        ("shop/sell.py", 8): "in_file",
        ("shop/sell.py", 10): "cross_file_first",
        ("shop/sell.py", 11): "in_file",
        ("shop/sell.py", 12): "cross_file_random",
        ("shop/sell.py", 16): "cross_file_first",
    }


def test_what_a_file_needs_comes_before_it(builder, package):
    line = next(line for line in builder.lines_of(package) if line["path"] == "shop/sell.py")
    assert line["dependencies"] == ["shop/money.py", "shop/stock.py"]
    assert line["repobench"] == [["shop/stock.py", 4, 6]]  # a module has no definition of its own


def test_files_that_need_each_other_end(builder):
    loop = {
        "a.py": [builder.Import(name="b", path="b.py", symbol=None)],
        "b.py": [builder.Import(name="a", path="a.py", symbol=None)],
    }
    assert builder.dependencies("a.py", loop) == ["b.py"]


def test_an_archive_that_is_not_the_pinned_one_is_refused(builder, tmp_path):
    pin = {"filename": "shop.tar.gz", "sha256": "0" * 64}
    (tmp_path / "shop.tar.gz").write_bytes(b"something else")
    with pytest.raises(SystemExit, match="not 000"):
        builder.fetch(pin, tmp_path)


def test_the_pinned_packages_are_free_and_distinct():
    pins = json.loads((REPOSITORY / "scripts/repocompletion_packages.json").read_text())
    assert len({pin["name"] for pin in pins}) == len(pins) == 20
    assert all(len(pin["sha256"]) == 64 for pin in pins)
    free = ("MIT", "BSD", "Apache")
    assert [pin for pin in pins if not any(word in pin["licence"] for word in free)] == []


def test_arms_show_what_they_say_and_nothing_behind_the_hole(built):
    tasks = opened("repocompletion", built).tasks("base")
    assert len(tasks) == 3 * 7
    for task in tasks:
        row, text = task.row, task.prompt.text or ""
        own = FILES[row["path"]].split("\n")
        assert task.row["next_line"] == own[row["line"] - 1]
        assert text.endswith("\n".join(own[: row["line"] - 1]).rstrip() + "\n")
        assert ("# Path: shop/money.py\nCENT = 100" in text) == (row["arm"] == "dependencies")
        if row["path"] == "shop/sell.py":
            assert ("class Shelf" in text) == (row["arm"] != "file")
        assert about_tokens(text) <= BUDGETS[row["level"]]
    assert {task.row["group"].split(", ")[1] for task in tasks} == {
        "file",
        "repobench",
        "dependencies",
    }


def test_reference_lines_pass_and_tables_answer(built):
    benchmark = opened("repocompletion", built, arms=["file"])
    for task in benchmark.tasks("base"):
        assert benchmark.program(task, benchmark.canonical(task)).value == 1
        assert set(benchmark.baselines(task)) == {"same-file line table", "cross-file line table"}
    assert len(benchmark.tasks("base")) == 7
    assert len(opened("repocompletion", built, arms=["file"], lines=2).tasks("base")) == 2


def test_tables_know_nothing_behind_the_hole(tmp_path):
    """The line asked for follows the same line elsewhere in another file, not in this one."""
    files = {"a.py": "x = 1\ny = 2\nx = 1\nz = 3\n", "b.py": "x = 1\nz = 3\n"}
    line = {"kind": "line", "package": "p", "path": "a.py", "line": 4, "setting": "in_file"}
    rows = [
        {"kind": "package", "name": "p", "files": files},
        {**line, "level": "2k", "repobench": [], "dependencies": []},
    ]
    (tmp_path / "set.jsonl").write_text("\n".join(map(json.dumps, rows)))
    benchmark = opened("repocompletion", tmp_path / "set.jsonl", arms=["file"])
    found = benchmark.baselines(benchmark.tasks("base")[0])
    assert found["same-file line table"] == "y = 2"
    assert found["cross-file line table"] in ("y = 2", "z = 3")
    (tmp_path / "lines.jsonl").write_text(json.dumps(rows[1]))
    with pytest.raises(ConfigError, match="incomplete"):
        opened("repocompletion", tmp_path / "lines.jsonl")


@given(st.lists(st.text("ab ("), max_size=30), st.integers(0, 60))
def test_last_lines_are_as_many_as_fit(lines, most):
    text = "\n".join(lines)
    kept = last_lines(text, most, about_tokens)
    assert text.endswith(kept)
    assert about_tokens(kept) <= most
    dropped = text[: len(text) - len(kept)].rstrip("\n").rpartition("\n")[2]
    assert kept == text or about_tokens(f"{dropped}\n{kept}") > most or not dropped


@given(st.lists(st.integers(1, 50), min_size=1), st.integers(0, 600))
def test_the_search_drops_the_fewest(tokens, most):
    looks = []

    def surplus(number: int) -> int:
        looks.append(number)
        return sum(tokens[number:]) - most

    number = fewest_dropped([4 * count for count in tokens], surplus)
    fitting = [n for n in range(len(tokens) + 1) if sum(tokens[n:]) <= most]
    assert number == fitting[0]
    assert len(looks) <= len(tokens) + 1
