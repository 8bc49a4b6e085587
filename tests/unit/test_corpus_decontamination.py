"""Which files are dropped for benchmark text, and which are left alone."""

import json
import pickle
import unicodedata
from dataclasses import replace
from pathlib import Path

import pytest

from midfill.config.corpus.decontamination import RECIPES, Decontamination, default, paper
from midfill.corpus.decontamination import (
    Index,
    Item,
    decontaminate,
    frequencies,
    held_out,
    scan,
)
from midfill.corpus.decontamination.benchmarks import _cruxeval, _quixbugs, files, read
from midfill.corpus.decontamination.stage import SAMPLES, Report
from midfill.corpus.record import Document, Drop
from midfill.errors import ConfigError, CorpusError, DownloadError

TEXT = "return the longest palindrome that begins where the given needle ends or nothing"
WORDS = TEXT.split()
INDEX = Index.from_texts([Item("set", "task", "text", TEXT)])


def document(text: str, path: str = "a.py", repo: str = "pypi/thing-1.0") -> Document:
    return Document(repo=repo, path=path, text=text, size=len(text), sha256="", language="Python")


def dropped(text: str, index: Index = INDEX, config: Decontamination | None = None) -> bool:
    return any(hit.drops for hit in scan(text, index, config or default(), "Python"))


@pytest.mark.parametrize(("count", "drops"), [(9, False), (10, True), (11, True)])
@pytest.mark.parametrize("start", [0, 2])
def test_ten_shared_words_drop_a_file_and_nine_do_not(count, drops, start):
    shared = " ".join(WORDS[start : start + count])
    assert dropped(f"before\n{shared}\nafter") is drops


@pytest.mark.parametrize(
    "form",
    [
        "    # return the longest palindrome that\n    # begins where the given needle ends or\n",
        "/* return the longest palindrome\n * that begins where the given\n * needle ends */",
        "// return the longest\n// palindrome that begins\n// where the given needle ends",
        "# return the longest palindrome that\r\n# begins where the given needle ends",
        "RETURN The longest (palindrome), that: begins where the given `needle` ends?",
        '"""return the longest palin-\n    drome that begins where the given needle ends"""',
        "# return the longest palin-\r\n# drome that begins where the given needle ends",
        "x = 1  # return the longest palindrome\ny = 2  # that begins where the given needle ends",
    ],
)
def test_wrapping_marks_and_case_hide_nothing(form):
    assert dropped(form)


def test_remarks_between_lines_of_code_hide_nothing():
    code = "for number in numbers:\n    total += number * weight\n    seen.append(total)\nreturn seen, total"
    index = Index.from_texts([("set", "task", code)])
    between = '# first\nfor number in numbers:\n    """why"""\n    total += number * weight\n' + (
        "    # and now\n    seen.append(total)\n  # at last\nreturn seen, total"
    )
    assert dropped(between, index)
    assert not dropped(between.replace("weight", "height"), index)


def test_a_solution_is_found_without_its_own_comments():
    lines = ["total = 0", "for number in numbers:", "    total += number * weight", "return total"]
    code = "\n".join(lines)
    commented = "\n".join(f"{line}  # step {i}" for i, line in enumerate(lines))
    index = Index.from_texts([("set", "task", commented)])
    assert dropped(commented, index)
    assert dropped(code, index)
    assert dropped("\n".join(f"{line}  # other {i}" for i, line in enumerate(lines)), index)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("count vowels", False),  # two words: nothing is looked for
        ("count the vowels", True),
        ("count the vowels in this text and sum them", True),  # nine words
    ],
)
def test_short_texts_are_matched_whole(text, found):
    index = Index.from_texts([Item("set", "task", "text", text)])
    assert dropped(f"x = 1\n# {text}!\ny", index) is found
    assert not dropped(" ".join(text.split()[:-1]), index)
    assert not dropped(text.replace("count", "counts"), index)


def test_what_short_texts_count_under_each_recipe():
    solution = Item("set", "a", "solution", "return x + y")
    other = Item("set", "b", "test", "[1, 2] 3")
    index = Index.from_texts([solution, other])
    rules = {"default": (True, False), "paper": (True, True)}
    for name, (solutions, others) in rules.items():
        config = RECIPES[name]()
        assert dropped("lambda x, y:\n  return x + y", index, config) is solutions
        assert dropped("range(1, 2, 3)", index, config) is others
    strict = Decontamination(short="informative")
    assert not dropped("return x + y", index, strict)


def test_a_ladder_of_numbers_counts_for_the_paper_only():
    index = Index.from_texts([Item("set", "task", "test", str(list(range(40))))])
    text = "table = " + str(list(range(25)))
    assert dropped(text, index, paper())
    assert not dropped(text, index, default())
    (hit,) = scan(text, index, default())
    assert (hit.set, hit.task_id, hit.line, hit.grams) == ("set", "task", 1, 16)


def test_a_solution_of_single_letters_is_still_found_whole():
    code = "a = b + c; d = a * b; e = a - d; f = e / a"
    index = Index.from_texts([("set", "task", code)])
    assert dropped(f"x\n{code}\ny", index)
    assert not dropped(f"x\n{code[:-2]}\ny", index)


def test_what_many_tasks_of_a_set_share_is_its_harness():
    import_lines = "import alpha.beta.gamma; import delta.epsilon.zeta; import eta.theta.iota.kappa"
    items = [Item("set", str(i), "test", f"{import_lines} number {i}") for i in range(9)]
    assert not dropped(import_lines, Index.from_texts(items))
    assert dropped(import_lines, Index.from_texts(items[:8]))
    assert dropped(import_lines, Index.from_texts(items), paper())
    elsewhere = [replace(item, set=item.task_id) for item in items]
    assert dropped(import_lines, Index.from_texts(elsewhere))


@pytest.mark.parametrize("form", ["NFC", "NFD"])
def test_composed_and_decomposed_letters_are_one(form):
    text = "zähle die Vokale ü und ö in für gültige Wörter geschriebenem Text"
    index = Index.from_texts([("set", "task", unicodedata.normalize("NFC", text))])
    assert dropped(unicodedata.normalize(form, text).upper(), index)


def test_a_hit_names_its_place():
    text = "\r\n".join(["one", "two", "# " + " ".join(WORDS[:6]), "# " + " ".join(WORDS[6:])])
    (hit,) = scan(text, INDEX, default(), "Python")
    assert (hit.set, hit.task_id, hit.line, hit.drops) == ("set", "task", 3, True)
    assert hit.gram == " ".join(WORDS[:10])
    assert hit.grams == len(WORDS) - 9


def test_each_file_is_read_alone():
    halves = [document(" ".join(WORDS[:7]), "a.py"), document(" ".join(WORDS[7:]), "b.py")]
    report = decontaminate(halves, INDEX, default())
    assert [half.drop for half in halves] == [None, None]
    assert report.dropped == 0
    assert dropped("\n".join(half.text for half in halves))


def test_the_stage_marks_and_counts():
    ladder = Item("other", "7", "test", str(list(range(30))))
    index = Index.from_texts([Item("set", "task", "text", TEXT), ladder])
    documents = [
        document(f"# {TEXT}\n" * 3, "bad.py"),
        document(f"x = {list(range(20))}", "ladder.py"),
        document("print(1)", "good.py"),
        document("print(2)", "held.py", repo="pypi/Flask-3.1.2"),
        document(TEXT, "gone.py"),
    ]
    documents[4].drop = Drop("syntax")
    report = decontaminate(documents, index, default())
    assert [d.contaminated_by for d in documents] == ["set:task", None, None, None, None]
    assert documents[0].drop == Drop("contaminated", " ".join(WORDS[:10]))
    assert documents[3].drop == Drop("held_out", "flask")
    assert documents[4].drop == Drop("syntax")
    assert (report.documents, report.dropped, report.dropped_by_paper) == (4, 1, 2)
    assert dict(report.sets) == {"set": 1}
    assert dict(report.held_out) == {"flask": 1}
    shown = {(s.document, s.drops, s.context) for s in report.samples}
    assert shown == {
        ("pypi/thing-1.0:bad.py", True, f"# {TEXT}"),
        ("pypi/thing-1.0:ladder.py", False, f"x = {list(range(20))}"),
    }
    assert json.loads(json.dumps(report.as_json(index)))["dropped"] == 1


def test_reports_of_parts_add_up_in_any_order():
    texts = [f"# {TEXT} {i}" if i % 2 else f"nothing {i}" for i in range(3 * SAMPLES)]

    def report(part: list[int]) -> Report:
        return decontaminate([document(texts[i], f"{i}.py") for i in part], INDEX, default())

    whole = report(list(range(len(texts))))
    added = Report()
    for part in (range(2, len(texts), 3), range(0, len(texts), 3), range(1, len(texts), 3)):
        written = json.dumps(report(list(reversed(part))).as_json(INDEX))
        added.add(Report.from_json(json.loads(written)))
    assert added.as_json(INDEX) == whole.as_json(INDEX)
    assert len(whole.samples) == SAMPLES


def test_hits_that_drop_their_file_are_read_first():
    ladder = Item("other", "7", "test", str(list(range(30))))
    index = Index.from_texts([Item("set", "task", "text", TEXT), ladder])
    texts = [f"x = {list(range(20))}"] * 2 * SAMPLES + [TEXT] * 5
    report = decontaminate([document(t, f"{i}.py") for i, t in enumerate(texts)], index, default())
    assert [sample.drops for sample in report.samples] == [True] * 5 + [False] * (SAMPLES - 5)


def test_totals_over_parts_are_exact_beyond_the_most_frequent_of_each():
    """Each part has sixty grams of its own that are more frequent there than the one they share."""
    own = [" ".join(f"word{part}x{i}y{k}" for k in range(10)) for part in (0, 1) for i in range(60)]
    shared = " ".join(f"common{k}" for k in range(10))
    tasks = [Item("set", f"task/{i}", "text", text) for i, text in enumerate([*own, shared])]
    index = Index.from_texts([*tasks, Item("quiet", "1", "text", TEXT)])
    added = Report()
    for part in (0, 1):
        texts = [text for text in own[60 * part : 60 * part + 60] for _ in range(2)] + [shared]
        documents = [document(text, f"{part}/{i}.py") for i, text in enumerate(texts)]
        added.add(Report.from_json(decontaminate(documents, index, default()).as_json(index)))
    assert added.tasks["set", "task/120"] == 2
    assert added.tasks["set", "task/7"] == 2
    found = added.summary(index)
    assert found["sets"] == [
        {"set": "quiet", "documents": 0, "hit": 0, "tasks": 1},
        {"set": "set", "documents": 242, "hit": 121, "tasks": 121},
    ]
    assert dict(added.most_frequent(index, 200))[shared] == 2
    assert len(found["most_frequent"]) == 50


def test_a_gram_of_many_documents_may_be_let_go():
    common = " ".join(WORDS[:10])
    index = Index.from_texts([Item("set", "task", "text", TEXT), ("set", "sum", "return x + y")])
    corpus = [document(f"{common} {i}. return x + y", f"{i}.py") for i in range(5)]
    config = Decontamination(max_df=4)
    cut = index.without(frequencies(corpus, index), 4)
    assert not dropped(common, cut, config)
    assert dropped(TEXT, cut, config)
    assert dropped("return x + y", cut, config)
    assert dropped(common, index.without(frequencies(corpus[1:], index), 4), config)


def test_the_index_is_the_same_whatever_the_order_and_survives_a_file(tmp_path: Path):
    texts = [("a", "1", TEXT), ("b", "2", "völlig andere Wörter stehen hier"), ("a", "3", "x")]
    index = Index.from_texts(texts)
    assert Index.from_texts(reversed([*texts, texts[0]])).digest == index.digest
    assert Index.from_texts(texts[:2]).digest != index.digest
    index.save(tmp_path / "index.npz")
    for copy in (Index.load(tmp_path / "index.npz"), pickle.loads(pickle.dumps(index))):
        assert copy.digest == index.digest
        assert scan(TEXT, copy, default()) == scan(TEXT, index, default())
    assert index.too_short == 1


def test_a_damaged_index_file_is_refused(tmp_path: Path):
    (tmp_path / "index.npz").write_bytes(b"PK\x03\x04 nothing")
    with pytest.raises(CorpusError, match="no decontamination index"):
        Index.load(tmp_path / "index.npz")


def test_an_index_of_other_grams_is_refused():
    with pytest.raises(ConfigError, match="grams of 10 words"):
        scan(TEXT, INDEX, RECIPES["gpt3"]())


@pytest.mark.parametrize("name", RECIPES)
def test_every_recipe_finds_a_whole_text(name):
    config = RECIPES[name]()
    index = Index.from_texts([Item("set", "task", "text", TEXT)], config)
    assert dropped(f"x\n  {TEXT}\ny", index, config)
    assert not dropped(" ".join(reversed(WORDS)), index, config)


def test_a_substring_may_begin_inside_a_word():
    config = Decontamination(substring=True)
    index = Index.from_texts([("set", "task", "x_sum(a,  b)\n == c_of(a, b)")], config)
    (hit,) = scan("first\nmax_sum(a, b) == c_of(a,\nb)s", index, config)
    assert (hit.line, hit.drops) == (2, True)
    assert not scan("max_sum(a, b) == c_of(b, a)", index, config)


@pytest.mark.parametrize(
    "wrong",
    [{"n": 1}, {"n": 64}, {"shortest": 0}, {"informative": 11}, {"short": "never"}, {"max_df": 0}],
)
def test_impossible_settings_are_refused(wrong):
    with pytest.raises(ConfigError, match=next(iter(wrong))):
        Decontamination(**wrong)


@pytest.mark.parametrize(
    ("repository", "project"),
    [
        ("pypi/flask-3.1.2", "flask"),
        ("pypi/Scikit_Learn-1.7.0rc1", "scikit-learn"),
        ("debian/python-django-4.2.1-1", "django"),
        ("debian/requests_2.31.0-1", "requests"),
        ("github.com/pallets/flask.git", "flask"),
        ("xarray", "xarray"),
        ("pypi/slack_sdk-3.1", "slack-sdk"),
        ("pypi/flask-login-0.6", None),
        ("pypi/django-extensions-4.1", None),
        ("pypi/pytest-xdist-3.6.1", None),
        ("pypi/python-flask-1.0", None),
        ("pypi/requests-2-curl-0.1", None),
        ("npm/@types/sphinxes-1.0", None),
        ("flask/other", None),
    ],
)
def test_repositories_are_held_out_by_their_whole_name(repository, project):
    assert held_out(repository) == project


def test_the_packages_of_our_own_tasks_are_held_out():
    pins = Path(__file__).parents[2] / "scripts" / "repocompletion_packages.json"
    for package in json.loads(pins.read_text()):
        assert held_out(f"pypi/{package['name']}-{package['version']}") == package["name"]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "\x00",
        "\ud800 word \udfff",
        "#" * 10**6,
        "a" * 10**6,
        "0 " * 10**6,
        '"""' * 10**5,
        "-\n" * 10**5,
    ],
)
def test_hostile_text_ends_in_nothing(text):
    index = Index.from_texts([("set", "task", TEXT), Item("set", "zeros", "test", "0 0 0 0")])
    assert all(hit.task_id == "zeros" for hit in scan(text, index, default(), "Python"))


@pytest.mark.parametrize(
    ("kind", "text", "drops"),
    [
        ("data", "true, [false], false", False),  # values of tests are in every other file
        ("data", "[['foo', 'bar'], ['foo', 'bar']]", False),
        ("test", "assert is_valid(7) == wrong", True),
        ("solution", "return false, true, false", True),
        ("data", " ".join(WORDS[:10]), True),
    ],
)
def test_short_values_of_tests_are_nobodys_text(kind, text, drops):
    index = Index.from_texts([Item("set", "task", kind, text)])
    assert dropped(f"x = 1\n{text}\ny", index) is drops
    assert dropped(f"x = 1\n{text}\ny", index, paper())
    shared = Index.from_texts([Item("set", "task", kind, text), Item("set", "b", "text", text)])
    assert dropped(f"x = 1\n{text}\ny", shared)


def test_a_gram_needs_different_words():
    values = "true false true true false true true false none none"
    index = Index.from_texts([Item("set", "task", "test", values)])
    assert dropped(values, index)  # three
    two = values.replace("none", "true")
    index = Index.from_texts([Item("set", "task", "test", two)])
    assert not dropped(two, index)
    assert dropped(two, index, Decontamination(distinct=2))
    assert dropped(two, index, paper())


def test_an_address_in_a_question_says_nothing():
    address = "https://docs.example.org/en/getting-started/with-writing-on-paper"
    index = Index.from_texts([Item("set", "task", "text", f"see [here]({address}) and no more")])
    assert not dropped(f"<a href='{address}'>", index)
    assert dropped(f"<a href='{address}'>", index, paper())
    both = [Item("set", "task", "text", f"see {address}"), Item("set", "b", "text", address[8:])]
    assert dropped(address, Index.from_texts(both))


def test_what_is_a_solution_and_what_is_not():
    row = {"language": "java", "correct": "import a.b;\nint f() {}", "buggy": "int g() {}"}
    row |= {
        "json_testcases": "[1]",
        "driver": None,
        "node": None,
        "junit": "  import static a.c;\nh",
    }
    found = {(kind, text.strip()) for kind, text in _quixbugs(row) if text.strip()}
    assert found == {
        ("solution", "int f() {}"),
        ("program", "int g() {}"),
        ("data", "[1]"),
        ("test", "h"),
    }
    kinds = dict(_cruxeval({"code": "def f(a):", "input": "1", "output": "2"}))
    assert kinds == {"solution": "def f(a):", "data": "1 2"}


def test_missing_benchmarks_name_every_way_out(tmp_path: Path, monkeypatch):
    monkeypatch.setenv("MIDFILL_CACHE", str(tmp_path / "cache"))
    for make in (Index.from_folder, lambda folder: Index.cached(folder, None, tmp_path / "i.npz")):
        with pytest.raises(DownloadError, match="humaneval") as caught:
            make(tmp_path)
        fix = caught.value.fix
        assert fix.startswith("for name in humaneval humaneval+ mbpp ")
        assert "; do midfill pull $name; done; " in fix
        assert "MIDFILL_DATA=" in fix
        assert "--set decontamination=null" in fix
    assert not (tmp_path / "i.npz").exists()


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_an_index_is_made_once(data: Path, tmp_path: Path):
    path = tmp_path / "work" / "index.npz"
    first = Index.cached(data, None, path)
    written = path.stat().st_mtime_ns
    again = Index.cached(data, Decontamination(informative=1, max_tasks=None), path)
    assert (again.digest, path.stat().st_mtime_ns) == (first.digest, written)
    path.write_bytes(path.read_bytes()[:1000])
    assert Index.cached(data, None, path).digest == first.digest


def test_other_rows_than_the_known_ones_are_refused(tmp_path: Path, monkeypatch):
    monkeypatch.setenv("MIDFILL_CACHE", str(tmp_path / "cache"))
    place = tmp_path / files()[0].path
    place.parent.mkdir()
    place.with_suffix("").write_text('{"task_id": "x"}\n')
    with pytest.raises(DownloadError, match="is not the humaneval"):
        read(tmp_path)


@pytest.fixture(scope="module")
def benchmarks(data: Path) -> Index:
    return Index.from_folder(data)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_every_solution_is_found_however_it_is_laid_out(data: Path, benchmarks: Index):
    items, left_out = read(data)
    assert not left_out
    sets = {"humaneval", "humaneval+", "mbpp", "mbpp+"}
    solutions = [item for item in items if item.set in sets and item.kind == "solution"]
    assert len(solutions) >= 2 * 164 * 2 + 974 + 378
    missed = []
    for item in solutions:
        lines = item.text.splitlines()
        deeper = "\n".join(f"        {line}" for line in lines)
        remarked = "\n".join(f"{line}\n# step {i} is done here" for i, line in enumerate(lines))
        for form in (item.text, deeper, remarked, "\r\n".join(lines)):
            if not dropped(f"import os\n\n\n{form}\n\nprint(os.name)\n", benchmarks):
                missed.append((item.set, item.task_id, item.text))
    assert missed == []


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_false_hits_in_the_standard_library_are_few(benchmarks: Index):
    import os

    root = Path(os.__file__).parent
    paths = [p for p in sorted(root.rglob("*.py")) if "site-packages" not in p.parts][:1000]
    texts = [p.read_text(encoding="utf-8", errors="replace") for p in paths]
    rates = {}
    for name in ("default", "paper"):
        config = RECIPES[name]()
        rates[name] = sum(dropped(text, benchmarks, config) for text in texts) / len(texts)
    print(f"{len(texts)} files of the standard library dropped: {rates}")
    assert rates["default"] <= 0.03
    assert rates["default"] < rates["paper"] / 3


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_an_independent_scanner_finds_nothing_in_what_is_kept(data: Path, benchmarks: Index):
    import os

    from corpus_bruteforce import benchmarks as read_again
    from corpus_bruteforce import remaining

    items, _ = read(data)
    planted = [item.text for item in items[::97]]
    root = Path(os.__file__).parent
    texts = [p.read_text(encoding="utf-8", errors="replace") for p in sorted(root.glob("*.py"))]
    kept = [text for text in (*texts, *planted) if not dropped(text, benchmarks)]
    known = read_again(data)
    assert len(kept) > len(texts) * 0.9
    assert remaining(kept, known) == []
    assert len({number for number, *_ in remaining(planted, known)}) > len(planted) / 2
