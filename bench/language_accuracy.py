"""How often the language of a real file is told, beside magika and Pygments on the same files.

    python -m venv peers && peers/bin/pip install magika==1.0.3 pygments
    git clone https://github.com/github-linguist/linguist
    apt-get source --download-only jq fmtlib gnustep-base ...   (the packages of AMBIGUOUS below)
    python bench/language_accuracy.py --linguist linguist/samples --debian FOLDER... \
        --peers peers/bin/python

Three sets. `samples`: linguist's, labelled by folder; its heuristics, which ours contain, were made
with them. `projects`: files of Debian source packages whose extension several languages share,
labelled by what the project is written in. `hidden`: files of the same packages whose extension
belongs to one language, labelled by it, given to every tool without a name. Answers are compared
within groups of names for one language (`SAME`), for all tools alike; a tool that has no name for
a language can say so: the second figure leaves those languages out.
"""

import argparse
import collections
import importlib.util
import json
import os
import random
import re
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).parent.parent
TEXT = 65_536  # characters of a file that every tool is given
SAME = [
    {"Fortran", "Fortran Fixed Form"}, {"COBOL", "COBOLFree"}, {"Assembly", "NASM", "GAS"},
    {"XBase", "FoxPro"}, {"Zeek", "Bro"}, {"Pug", "Jade"}, {"Docker", "Dockerfile"},
    {"HTML ERB", "RHTML"}, {"MATLAB", "Octave"}, {"JavaScript", "JSX"}, {"C++", "Arduino"},
    {"SQL", "Transact-SQL"}, {"R", "S"}, {"JSON", "Jupyter Notebook"},
]  # fmt: skip
# Package of Debian, then label of extensions that several languages share: by the project's own
# compiler. `-` is a language that is not one of the 338.
AMBIGUOUS = {
    "jq": {"h": "C", "l": "Lex", "m4": "M4"}, "lua5.4": {"h": "C"}, "libpng1.6": {"h": "C"},
    "zlib": {"h": "C"}, "flex": {"h": "C", "l": "Lex"}, "bison": {"h": "C"}, "ncurses": {"h": "C"},
    "sqlite3": {"h": "C", "test": "Tcl"}, "gnuplot": {"h": "C"}, "adms": {"h": "C"},
    "fmtlib": {"h": "C++"}, "re2": {"h": "C++"}, "snappy": {"h": "C++"}, "leveldb": {"h": "C++"},
    "tinyxml2": {"h": "C++"}, "double-conversion": {"h": "C++"}, "tkrzw": {"h": "C++"},
    "gnustep-base": {"h": "Objective-C", "m": "Objective-C"},
    "octave-struct": {"m": "Octave"}, "octave-statistics": {"m": "Octave"},
    "octave-image": {"m": "Octave"}, "octave-signal": {"m": "Octave"},
    "libwww-perl": {"pm": "Perl", "t": "Perl", "pl": "Perl"},
    "libmoo-perl": {"pm": "Perl", "t": "Perl", "pl": "Perl"},
    "libmoose-perl": {"pm": "Perl", "t": "Perl", "pl": "Perl"},
    "libmojolicious-perl": {"pm": "Perl", "t": "Perl", "pl": "Perl"},
    "swi-prolog": {"pl": "-"}, "iverilog": {"v": "Verilog"}, "aac-tactics": {"v": "-"},
    "r-cran-dplyr": {"r": "R"}, "r-cran-plyr": {"r": "R"}, "r-cran-ggplot2": {"r": "R"},
    "ocaml-re": {"ml": "OCaml"}, "gir-to-d": {"d": "-"}, "openblas": {"S": "GAS", "f": "Fortran"},
    "minpack": {"f": "Fortran"}, "cqrlog": {"inc": "Pascal", "pp": "Pascal"},
    "rust-serde": {"rs": "Rust"}, "rust-clap": {"rs": "Rust"}, "rust-ripgrep": {"rs": "Rust"},
    "node-redux": {"ts": "TypeScript", "tsx": "TypeScript"}, "qterminal": {"ts": "XML"},
    "lxqt-panel": {"ts": "XML"}, "newtonsoft-json": {"cs": "C#"}, "nasm": {"asm": "NASM"},
    "puppet-module-puppetlabs-apt": {"pp": "Puppet"}, "clblas": {"cl": "OpenCL"},
    "php-twig": {"php": "PHP"}, "symfony": {"php": "PHP"}, "guile-json": {"scm": "Scheme"},
    "pgtap": {"sql": "SQL"}, "latex-cjk-common": {"cls": "TeX"}, "koma-script": {"cls": "TeX"},
}  # fmt: skip
# Parts of those projects that are not written in the project's language.
ELSEWISE = re.compile(
    r"/(?:c\+\+|qtterminal|wxterminal|vsixtest|win32)/|FlexLexer|/(?:langc|c)\.h$"
)
HIDDEN = {
    "py": "Python", "rb": "Ruby", "java": "Java", "scala": "Scala", "groovy": "Groovy", "go": "Go",
    "hs": "Haskell", "lua": "Lua", "tcl": "Tcl", "c": "C", "cc": "C++", "cpp": "C++", "css": "CSS",
    "sh": "Shell", "js": "JavaScript", "erl": "Erlang", "clj": "Clojure", "vala": "Vala",
    "adb": "Ada", "ads": "Ada", "pas": "Pascal", "nim": "Nimrod", "el": "Emacs Lisp",
    "tex": "TeX", "twig": "Twig", "rs": "Rust", "php": "PHP", "vhd": "VHDL", "html": "HTML",
}  # fmt: skip
PER_LABEL = {"projects": 120, "hidden": 12}  # files of one package, set and label at most

PYGMENTS = {
    "FStar": "F*", "Terraform": "HCL", "Igor": "IGOR Pro", "Csound Orchestra": "Csound",
    "ActionScript 3": "ActionScript", "BibTeX": "TeX", "ClojureScript": "Clojure", "Lean4": "Lean",
    "Gosu Template": "Gosu", "LessCss": "Less", "HTML+Handlebars": "Handlebars", "XML+PHP": "PHP",
    "HTML+Smarty": "Smarty", "XML+Smarty": "Smarty", "HTML+Twig": "Twig", "Base Makefile": "Makefile",
    "VB.net": "Visual Basic", "Transact-SQL": "Transact-SQL", "Bash": "Shell", "Perl6": "Perl 6",
    "HTML+Django/Jinja": "HTML Django", "FortranFixed": "Fortran Fixed Form", "ERB": "HTML ERB",
    "HTML+PHP": "HTML PHP", "Delphi": "Pascal", "Text only": "-", "ApacheConf": "Apache Configuration",
    "Standard ML": "Standard ML", "TypeScript": "TypeScript", "POVRay": "POV-Ray",
    "Asymptote": "Asymptote", "RobotFramework": "Robot Framework", "Coldfusion CFC": "ColdFusion CFC",
    "Graphviz": "Graphviz DOT", "Tcsh": "Tcsh", "Protocol Buffer": "Protocol Buffer",
    "Debian Control file": "Debian Control File", "Embedded Ragel": "Ragel in Ruby Host",
    "Ragel": "Ragel in Ruby Host", "aspx-cs": "ASP", "aspx-vb": "ASP", "PostgreSQL SQL dialect": "SQL",
    "MySQL": "SQL", "PL/pgSQL": "SQL", "Reason": "ReasonML", "MOOCode": "MooCode", "S": "R",
    "Web IDL": "Web IDL", "BlitzBasic": "BlitzBasic", "Unified Diff": "Diff", "XML+Lasso": "XML Lasso",
    "Java Server Page": "Java Server Pages", "Nimrod": "Nimrod", "GAS": "GAS", "PkgConfig": "PkgConfig",
    "ANTLR": "ANTLR", "ANTLR With Java Target": "ANTLR", "HTML + Genshi": "Genshi", "F*": "F*",
    "Raku": "Perl 6", "Linux Kernel": "-", "C-objdump": "Objdump", "TSX": "TypeScript",
    "ColdFusion HTML": "-", "JavaScript+Genshi Text": "Genshi", "SWIG": "SWIG", "Vim": "VimL",
}  # fmt: skip
MAGIKA = {
    "asm": "Assembly", "asp": "ASP", "awk": "AWK", "autohotkey": "AutoHotkey", "autoit": "AutoIt",
    "c": "C", "clojure": "Clojure", "cmake": "CMake", "cobol": "COBOL", "coffeescript": "CoffeeScript",
    "cpp": "C++", "cs": "C#", "css": "CSS", "dart": "Dart", "diff": "Diff", "dm": "DM",
    "dockerfile": "Dockerfile", "elixir": "Elixir", "erb": "HTML ERB", "erlang": "Erlang",
    "fortran": "Fortran", "gemfile": "Ruby", "gemspec": "Ruby", "go": "Go", "gradle": "Gradle",
    "groovy": "Groovy", "handlebars": "Handlebars", "haskell": "Haskell", "hcl": "HCL",
    "htaccess": "Apache Configuration", "html": "HTML", "ipynb": "Jupyter Notebook", "java": "Java",
    "javascript": "JavaScript", "jinja": "HTML Django", "json": "JSON", "julia": "Julia",
    "kotlin": "Kotlin", "latex": "TeX", "lisp": "Common Lisp", "lua": "Lua", "m4": "M4",
    "makefile": "Makefile", "matlab": "MATLAB", "objectivec": "Objective-C", "ocaml": "OCaml",
    "pascal": "Pascal", "perl": "Perl", "php": "PHP", "po": "Gettext Catalog",
    "powershell": "PowerShell", "proto": "Protocol Buffer", "python": "Python", "r": "R",
    "ruby": "Ruby", "rust": "Rust", "scala": "Scala", "scss": "SCSS", "shell": "Shell",
    "smali": "Smali", "solidity": "Solidity", "sql": "SQL", "swift": "Swift", "tcl": "Tcl",
    "twig": "Twig", "typescript": "TypeScript", "vba": "Visual Basic", "verilog": "Verilog",
    "vhdl": "VHDL", "vue": "Vue", "xml": "XML", "svg": "XML", "csproj": "XML", "vcxproj": "XML",
    "zig": "Zig",
}  # fmt: skip
LISPS = {"Common Lisp", "Emacs Lisp", "Scheme", "Racket"}  # magika has one name for all


@dataclass(frozen=True, slots=True)
class Sample:
    """A file with its language; `-`: one that is not on the list."""

    kind: str  # of the set
    path: str  # what the tools see
    label: str
    text: str


def plain(name: str) -> str:
    """A name without case, blanks and punctuation."""
    return re.sub(r"[^a-z0-9+#*]", "", name.lower())


def builder() -> Any:
    """The script that made the tables: it knows linguist's names by ours."""
    spec = importlib.util.spec_from_file_location(
        "build_languages", REPOSITORY / "scripts" / "build_languages.py"
    )
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def linguist_samples(folder: Path, data: Path) -> Iterator[Sample]:
    """Linguist's samples; the folder is the label."""
    import yaml

    made = builder()
    lists = data / "lists"
    listed = (lists / "deepseek-coder-v2-languages.txt").read_text().split("\n")
    linguist = yaml.safe_load((lists / "linguist-languages.yml").read_text(encoding="utf-8"))
    wanted = [name.strip() for name in listed if name.strip()]
    names = made.Names(wanted, linguist, made.Hand(made.HAND_MADE))
    for language in sorted(folder.iterdir()):
        for file in sorted(path for path in language.rglob("*") if path.is_file()):
            text = file.read_bytes().decode("utf-8", "replace")[:TEXT]
            yield Sample("samples", file.name, names.of(language.name) or "-", text)


def package_samples(archive: Path) -> Iterator[Sample]:
    """Files of one source package: those of shared extensions, and those whose name is hidden."""
    package = archive.name.partition("_")[0]
    labels = AMBIGUOUS.get(package, {})
    with tarfile.open(archive) as tar:
        for member in tar:
            ending = member.name.rpartition(".")[2]
            label = labels.get(ending) or labels.get(ending.lower())
            hidden = HIDDEN.get(ending)
            if ELSEWISE.search(member.name):
                label = None
            if not member.isfile() or not (label or hidden) or not 200 < member.size < 1_000_000:
                continue
            file = tar.extractfile(member)
            data = file.read() if file else b"\0"
            if b"\0" in data:
                continue
            text = data.decode("utf-8", "replace")[:TEXT]
            if label:
                yield Sample("projects", member.name, label, text)
            if hidden and label in (None, hidden):
                yield Sample("hidden", "file", hidden, text)


def debian_samples(folders: list[Path]) -> list[Sample]:
    """At most PER_LABEL files of each package, set and label, chosen by a fixed seed."""
    chosen = []
    for folder in folders:
        for archive in sorted(folder.glob("*.orig.tar.*")):
            groups = collections.defaultdict(list)
            for sample in package_samples(archive):
                groups[sample.kind, sample.label].append(sample)
            for (kind, _), group in sorted(groups.items()):
                random.Random(archive.name).shuffle(group)
                chosen += group[: PER_LABEL[kind]]
    return chosen


def answer_pygments(samples: list[Sample]) -> list[str | None]:
    """The name of Pygments' lexer, by name and text; by the text alone where the name is hidden."""
    from pygments.lexers import guess_lexer, guess_lexer_for_filename
    from pygments.util import ClassNotFound

    def one(sample: Sample) -> str | None:
        if sample.kind != "hidden":
            try:
                return guess_lexer_for_filename(Path(sample.path).name, sample.text).name
            except ClassNotFound:
                pass  # no lexer claims the name: as where there is none
        try:
            return guess_lexer(sample.text).name
        except ClassNotFound:
            return None

    return [one(sample) for sample in samples]


def answer_magika(samples: list[Sample]) -> list[str | None]:
    """Magika's label; it looks at the content only."""
    from magika import Magika

    tool = Magika()
    return [
        str(tool.identify_bytes(one.text.encode("utf-8", "replace")).output.label)
        for one in samples
    ]


def answer_ours(samples: list[Sample]) -> list[str | None]:
    """Ours; `-` where it names a language outside the list."""
    from midfill.corpus.languages import detect

    found = [detect(sample.path, sample.text) for sample in samples]
    return [one.language or (one.outside and "-") for one in found]


ANSWERS: dict[str, Callable[[list[Sample]], list[str | None]]] = {
    "pygments": answer_pygments, "magika": answer_magika, "midfill": answer_ours,
}  # fmt: skip


def ask(tool: str, python: str, samples: list[Sample]) -> tuple[list[str | None], float]:
    """A tool's answers and the processor seconds it took for them, from a process of its own."""
    with tempfile.TemporaryDirectory() as folder:
        request = Path(folder) / "samples.jsonl"
        request.write_text("".join(json.dumps(asdict(one)) + "\n" for one in samples))
        done = subprocess.run(
            [python, __file__, "--answer", tool, str(request)],
            stdout=subprocess.PIPE, text=True, check=True,
            env=os.environ | {"PYTHONPATH": str(REPOSITORY / "src"), "OMP_NUM_THREADS": "1"},
        )  # fmt: skip
    reply = json.loads(done.stdout.strip().splitlines()[-1])
    return reply["answers"], reply["seconds"]


def serve(tool: str, request: Path) -> None:
    """Answer a request: the other side of `ask`."""
    samples = [Sample(**json.loads(line)) for line in request.read_text().splitlines()]
    start = time.process_time()
    answers = ANSWERS[tool](samples)
    print(json.dumps({"answers": answers, "seconds": time.process_time() - start}))


class Vocabulary:
    """A tool's names as sets of ours, and which of ours it has a name for."""

    def __init__(self, tool: str, listed: list[str]) -> None:
        self.tool = tool
        self.by_plain = {plain(name): name for name in listed}
        self.same = {name: group for group in SAME for name in group}
        self.table = {"pygments": PYGMENTS, "magika": MAGIKA}.get(tool, {})

    def mean(self, answer: str | None) -> set[str]:
        """Our names that an answer may stand for."""
        if answer is None:
            return set()
        name = self.table.get(answer)
        if name is None and self.tool != "magika":  # `HTML+Lasso` is at least HTML
            first = self.by_plain.get(plain(answer.partition("+")[0]))
            name = self.by_plain.get(plain(answer), first)
        if self.tool == "magika" and answer == "lisp":
            return LISPS
        return set() if name in (None, "-") else self.same.get(name, {name})

    def knows(self, label: str, seen: set[str]) -> bool:
        """Whether the tool can say this name at all; Pygments by what it ever said or lists."""
        if self.tool == "midfill":
            return True
        return label in seen


def pygments_names(python: str) -> list[str]:
    """Names and aliases of all lexers under the peers' Python."""
    code = (
        "import json, pygments.lexers as lexers\n"
        "print(json.dumps([name for one in lexers.get_all_lexers() for name in (one[0], *one[1])]))"
    )
    done = subprocess.run([python, "-c", code], capture_output=True, text=True, check=True)
    return json.loads(done.stdout)


def report(
    kind: str,
    samples: list[Sample],
    tools: dict[str, tuple[Vocabulary, set[str], list[str | None]]],
) -> None:
    """Print a set's overall line for each tool, then each language with at least ten files."""
    rows = [n for n, one in enumerate(samples) if one.kind == kind and one.label != "-"]
    print(f"\n{kind}: {len(rows)} files in {len({samples[n].label for n in rows})} languages")
    right: dict[str, dict[int, bool]] = {}
    for tool, (words, sayable, answers) in tools.items():
        means = {n: words.mean(answers[n]) for n in rows}
        hits = right[tool] = {n: samples[n].label in means[n] for n in rows}
        answered = sum(bool(means[n]) for n in rows)
        known = [n for n in rows if words.knows(samples[n].label, sayable)]
        share = sum(hits[n] for n in known) / max(len(known), 1)
        print(
            f"  {tool:10} top-1 {100 * sum(hits.values()) / len(rows):6.2f} %   answers {answered}"
            f"   of languages it has a name for {100 * share:6.2f} % of {len(known)}"
        )
    others = [n for n, one in enumerate(samples) if one.kind == kind and one.label == "-"]
    if others:
        for tool, (words, _, answers) in tools.items():
            left = sum(not words.mean(answers[n]) for n in others)
            print(f"  {tool:10} left alone {left} of {len(others)} files of other languages")
    counts = collections.Counter(samples[n].label for n in rows)
    print("  language, files, " + ", ".join(tools))
    for label, count in sorted(counts.items(), key=lambda item: (-item[1], item[0])):
        if count >= 10:
            shares = [
                100 * sum(hits[n] for n in rows if samples[n].label == label) / count
                for hits in right.values()
            ]
            print(f"    {label:24} {count:5} " + " ".join(f"{share:6.1f}" for share in shares))


def main() -> None:
    """Collect the samples, ask the tools, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--linguist", type=Path, help="linguist's folder `samples`")
    parser.add_argument("--debian", type=Path, nargs="*", default=[], help="folders of .orig.tar.*")
    parser.add_argument("--data", type=Path, default=os.environ.get("MIDFILL_DATA"))
    parser.add_argument("--peers", help="a Python with magika and pygments")
    parser.add_argument("--answer", nargs=2, metavar=("TOOL", "FILE"), help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.answer:
        return serve(args.answer[0], Path(args.answer[1]))
    import machine

    from midfill.corpus.languages import LANGUAGES

    listed = list(LANGUAGES)
    samples = list(linguist_samples(args.linguist, Path(args.data))) if args.linguist else []
    samples += debian_samples(args.debian)
    print(json.dumps(machine.describe() | {"load": os.getloadavg(), "files": len(samples)}))
    tools: dict[str, tuple[Vocabulary, set[str], list[str | None]]] = {}
    for tool in ["midfill"] + (["magika", "pygments"] if args.peers else []):
        python = sys.executable if tool == "midfill" else args.peers
        answers, seconds = ask(tool, python, samples)
        words = Vocabulary(tool, listed)
        said = pygments_names(python) if tool == "pygments" else [*MAGIKA, "lisp"]
        sayable = set().union(*(words.mean(name) for name in said))
        tools[tool] = (words, sayable, answers)
        size = sum(len(one.text) for one in samples)
        print(f"{tool}: {seconds:.1f} processor seconds, {size / seconds / 1e6:.1f} M characters/s")
    for kind in dict.fromkeys(one.kind for one in samples):
        report(kind, samples, tools)
    print(json.dumps({"load": os.getloadavg()}))
    return None


if __name__ == "__main__":
    main()
