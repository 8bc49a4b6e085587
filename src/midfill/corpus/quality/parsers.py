"""The parsers of `worker.py`: what each language's says about one text. Runs in its process only.

Python by the interpreter's own parser in both generations, JSON, TOML and XML by the standard library, YAML by PyYAML where
it is there, the others by tree-sitter where its grammar is there. tree-sitter is tolerant: it always
gives a tree, so the share of bytes that it could not place is the outcome, and the caller judges.
"""

import ast
import importlib
import importlib.util
import json
import re
import symtable
import tomllib
import warnings
import xml.parsers.expat
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING

from midfill.corpus.quality.python2 import expand_tabs, to_python3

if TYPE_CHECKING:
    from tree_sitter import Node, Parser

Outcome = tuple[str, float | str | None]  # "ok", "python2", "broken" or "errors", and a value
Parse = Callable[[str], Outcome]
OK: Outcome = ("ok", None)

# language -> module of a tree-sitter wheel, and its functions, of which the best one counts
GRAMMARS: dict[str, tuple[str, ...]] = {
    "Assembly": ("tree_sitter_asm", "language"),
    "C": ("tree_sitter_c", "language"),
    "C#": ("tree_sitter_c_sharp", "language"),
    "C++": ("tree_sitter_cpp", "language"),
    "CSS": ("tree_sitter_css", "language"),
    "Common Lisp": ("tree_sitter_commonlisp", "language"),
    "Dart": ("tree_sitter_dart", "language"),
    "Elixir": ("tree_sitter_elixir", "language"),
    "Go": ("tree_sitter_go", "language"),
    "Groovy": ("tree_sitter_groovy", "language"),
    "HTML": ("tree_sitter_html", "language"),
    "Haskell": ("tree_sitter_haskell", "language"),
    "JSX": ("tree_sitter_javascript", "language"),
    "Java": ("tree_sitter_java", "language"),
    "JavaScript": ("tree_sitter_javascript", "language"),
    "Julia": ("tree_sitter_julia", "language"),
    "Kotlin": ("tree_sitter_kotlin", "language"),
    "Lua": ("tree_sitter_lua", "language"),
    "OCaml": ("tree_sitter_ocaml", "language_ocaml", "language_ocaml_interface"),
    "Objective-C": ("tree_sitter_objc", "language"),
    "PHP": ("tree_sitter_php", "language_php"),
    "PowerShell": ("tree_sitter_powershell", "language"),
    "Ruby": ("tree_sitter_ruby", "language"),
    "Rust": ("tree_sitter_rust", "language"),
    "Scala": ("tree_sitter_scala", "language"),
    "Shell": ("tree_sitter_bash", "language"),
    "Swift": ("tree_sitter_swift", "language"),
    "TypeScript": ("tree_sitter_typescript", "language_typescript", "language_tsx"),
    "Zig": ("tree_sitter_zig", "language"),
}
MOST_CHILDREN = 200_000  # nodes looked at for errors; more of them is more than enough to know

# What is not closed ends with the text: it must not be tried anew at each of its marks.
_JSON_REMARK = re.compile(
    r'("[^"\\]*(?:\\[\s\S][^"\\]*)*"?)|//[^\n]*|/\*[\s\S]*?(?:\*/|\Z)|,(?=\s*[\]}])'
)
# What Python got after the oldest interpreter that midfill runs on: parameters in brackets, `type`,
# any expression in f"", t"", `except` of several without parentheses.
_NEWER_PYTHON = re.compile(
    r"^[ \t]*(?:(?:async[ \t]+)?(?:def|class)[ \t]+\w+[ \t]*\[|type[ \t]+\w+|except\*?[ \t]+[\w.]+[ \t]*,)"
    r"|\b[rR]?[fFtT][rR]?[\"']",
    re.MULTILINE,
)
_TEMPLATE = re.compile(r"\{\{|\{%|<%")
_FIRST_ERRORS = (SyntaxError, ValueError)  # ValueError: a NUL, a lone surrogate, a number too long


def available(language: str) -> bool:
    """Whether there is a parser for this language here; imports nothing heavy."""
    if language in STANDARD:
        return language != "YAML" or importlib.util.find_spec("yaml") is not None
    grammar = GRAMMARS.get(language)
    if grammar is None or importlib.util.find_spec("tree_sitter") is None:
        return False
    return importlib.util.find_spec(grammar[0]) is not None


def parser_for(language: str, more: Mapping[str, str]) -> Parse:
    """The parser of a language: one of `more` as "module:function", else one of ours."""
    if language in more:
        module, _, name = more[language].partition(":")
        return getattr(importlib.import_module(module), name)
    if language in STANDARD:
        return STANDARD[language]
    module, *functions = GRAMMARS[language]
    return partial(_tolerant, [_tree_parser(module, one) for one in functions])


def _python(text: str) -> Outcome:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of old escapes in strings
        try:
            symtable.symtable(text, "text", "exec")  # which makes no tree of Python objects
            return OK
        except _FIRST_ERRORS:
            pass  # also of names that are declared twice, which is no matter of syntax
        try:
            ast.parse(text)
            return OK
        except _FIRST_ERRORS as error:
            line = getattr(error, "lineno", None)
        try:
            ast.parse(expand_tabs(to_python3(text)))
            return "python2", None
        except _FIRST_ERRORS:
            return OK if _is_newer_python(text) else ("broken", line)


def _is_newer_python(text: str) -> bool:
    """Whether a form is there that this interpreter may not know, and all of it can be placed."""
    grammar = "tree_sitter_python"
    if not _NEWER_PYTHON.search(text) or importlib.util.find_spec(grammar) is None:
        return False
    data = text.encode("utf-8", "surrogatepass")
    return not _tree_parser(grammar, "language").parse(data).root_node.has_error


def _json(text: str) -> Outcome:
    """JSON, also with the remarks and last commas of configuration files."""
    text = text.removeprefix("\ufeff")
    try:
        json.loads(text)
        return OK
    except ValueError as error:
        line = getattr(error, "lineno", None)
    try:
        json.loads(_JSON_REMARK.sub(r"\1", text))
        return OK
    except ValueError:
        return "broken", line


def _toml(text: str) -> Outcome:
    try:
        tomllib.loads(text.removeprefix("\ufeff").replace("\r\n", "\n"))
        return OK
    except ValueError as error:
        return "broken", str(error)[:80]


def _yaml(text: str) -> Outcome:
    """YAML's events only: no object is made, so neither tags nor nested aliases matter."""
    import yaml

    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    try:
        for _ in yaml.parse(text, Loader=loader):
            pass
        return OK
    except yaml.YAMLError as error:
        if _TEMPLATE.search(text):
            return "unchecked", None  # the source of a YAML file, not yet one
        mark = getattr(error, "problem_mark", None)
        return "broken", None if mark is None else mark.line + 1
    except ValueError:
        return "broken", None


def _xml(text: str) -> Outcome:
    """Well-formed or not; entities and addresses are not followed."""
    parser = xml.parsers.expat.ParserCreate()
    try:
        parser.Parse(text, True)
        return OK
    except xml.parsers.expat.ExpatError as error:
        return "broken", error.lineno
    except ValueError:
        return "broken", None


STANDARD: dict[str, Parse] = {
    "JSON": _json,
    "Python": _python,
    "TOML": _toml,
    "XML": _xml,
    "YAML": _yaml,
}


def _tree_parser(module: str, function: str) -> "Parser":
    import tree_sitter

    language = tree_sitter.Language(getattr(importlib.import_module(module), function)())
    return tree_sitter.Parser(language)


def _tolerant(choices: Sequence["Parser"], text: str) -> Outcome:
    """The smallest share of unplaced bytes that one of the parsers gives."""
    data = text.encode("utf-8", "surrogatepass")
    least = 1.0
    for parser in choices:
        root = parser.parse(data).root_node
        if not root.has_error:
            return OK
        least = min(least, _unplaced(root, len(data)))
    return "errors", least


def _unplaced(root: "Node", size: int) -> float:
    """The share of bytes in error nodes outside of what was understood there; a missing piece is one.

    One macro at the beginning of a file may make an error of the whole, with every function in it
    understood.
    """
    wrong = looked = 0
    open_nodes = [root]
    while open_nodes and looked < MOST_CHILDREN:
        node = open_nodes.pop()
        wrong += node.end_byte - node.start_byte if node.is_error else 0
        for child in node.children:
            looked += 1
            is_known = child.is_extra or (child.child_count > 0 and not child.is_error)
            if node.is_error and (is_known or child.is_error):
                wrong -= child.end_byte - child.start_byte
            wrong += child.is_missing
            if child.is_error or child.has_error:
                open_nodes.append(child)
    return min(wrong / max(size, 1), 1.0)
