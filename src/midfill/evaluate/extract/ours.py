"""Our own extraction rule: the program that a reader would take from a reply."""

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain

from midfill.evaluate.extract.python import ANSI, at_most, defined, longest_run, missing, parse
from midfill.evaluate.extract.reply import Reply, fence_name

_OPENING = re.compile(r"(?P<indent>[ \t]*)(?P<ticks>`{3,}|~{3,})[ \t]*(?P<name>[^\s`{]*)[^`]*")
_COMMENTS = re.compile(
    r'/\*.*?\*/|""".*?"""|^[ \t]*(?://|--|;|#(?!include|define|lang\b))[^\n]*',
    re.DOTALL | re.MULTILINE,
)


@dataclass(frozen=True, slots=True)
class Fence:
    """A block of code in a reply."""

    name: str  # the language, as `fence_name` gives it; empty where none is named
    text: str


def midfill(reply: Reply) -> str:
    """Ours: the last fence that parses and defines the entry point, with what it needs.

    Uses: prompt, entry_point, language, base. Earlier fences are put in front, and the prompt's own
    code, where they define names that the fence reads and does not define. Where no fence does: one
    that completes the prompt; the longest run of lines that defines the entry point; the last fence
    that parses; the whole reply. In languages other than Python, which are not parsed here: the
    last fence in the language (or in none) that mentions the entry point, below those lines of the
    prompt's head that it lacks. A base model's completion is cut where it stops to parse. Asserts at
    the top, which are the model's own tests of its function, and a main block are left out: a wrong
    test of a right function is no wrong function.
    Breaks where a later fence redefines the function wrongly to show a mistake.
    """
    text = ANSI.sub("", reply.completion).replace("\r\n", "\n")
    if reply.language != "python":
        return _foreign(reply, text)
    program = _continued(reply, text) if reply.base else _answered(reply, text)
    return _without_own_tests(program) if reply.entry_point else program


def _without_own_tests(program: str) -> str:
    """The program without asserts and main blocks at its top level."""
    tree = parse(program)
    if not isinstance(tree, ast.Module):
        return program
    lines = program.split("\n")
    taken = [line for node in tree.body for line in {node.lineno, node.end_lineno}]
    for node in reversed(tree.body):
        alone = taken.count(node.lineno) == taken.count(node.end_lineno) == 1
        main = isinstance(node, ast.If) and "__name__" in ast.unparse(node.test)
        if alone and (main or isinstance(node, ast.Assert)):
            del lines[node.lineno - 1 : node.end_lineno]
    return "\n".join(lines)


def fences(text: str) -> Iterator[Fence]:
    """The fenced blocks of a reply in order; one left open runs to the end.

    As in CommonMark, and a fence also closes at the end of a line of code.
    """
    opening, lines = None, []
    for line in text.split("\n"):
        if opening is None:
            opening, lines = _OPENING.fullmatch(line), []
            continue
        ticks = opening["ticks"]
        bare = line.strip()
        if bare.startswith(ticks) and not bare.strip(ticks[0]):
            yield _fence(opening, lines)
            opening = None
        elif bare.endswith(ticks) and ticks not in bare[: -len(ticks)]:
            yield _fence(opening, [*lines, line.rstrip()[: -len(ticks)]])
            opening = None
        else:
            lines.append(line)
    if opening is not None:
        yield _fence(opening, lines)


def _fence(opening: re.Match[str], lines: list[str]) -> Fence:
    indent = opening["indent"]  # of a list item: not part of the code
    return Fence(
        fence_name(opening["name"]), "".join(line.removeprefix(indent) + "\n" for line in lines)
    )


def _answered(reply: Reply, text: str) -> str:
    found = _python(list(fences(text)), reply.entry_point) or [text]
    for number in reversed(range(len(found))):
        if _is_answer(found[number], reply.entry_point):
            return _with_needs(found[number], [reply.prompt, *found[:number]])
    completed = [f"{reply.prompt.rstrip()}\n{block}" for block in found] if reply.prompt else []
    runs = (longest_run(block) for block in dict.fromkeys((*reversed(found), text)))
    for program in chain(reversed(completed), runs):
        if _is_answer(program, reply.entry_point):
            return _with_needs(program, [reply.prompt])
    parsing = [block for block in found if isinstance(parse(block), ast.Module) and block.strip()]
    return (parsing or found)[-1]


def _python(found: list[Fence], entry_point: str | None) -> list[str]:
    """What may hold the answer: without a name to look for, what is called Python goes first."""
    named = [fence.text for fence in found if fence.name == "python"]
    return named if named and not entry_point else [fence.text for fence in found]


def _is_answer(program: str, entry_point: str | None) -> bool:
    """Whether it parses and defines the entry point; without one, whether it does anything."""
    tree = parse(program)
    if isinstance(tree, SyntaxError):
        return False
    return entry_point in defined(tree) if entry_point else bool(tree.body)


def _with_needs(program: str, earlier: list[str]) -> str:
    """The program below those earlier blocks that define what it reads, the latest of each."""
    taken, wanted = [program], missing(program)
    for block in reversed(earlier):
        tree = parse(block)
        if isinstance(tree, ast.Module) and wanted & defined(tree):
            taken.append(block.rstrip("\n") + "\n\n")
            wanted = (wanted | missing(block)) - defined(tree)
    return "".join(reversed(taken))


def _continued(reply: Reply, text: str) -> str:
    """The prompt with as many lines of its completion as parse together and define the function."""
    whole = reply.prompt + text
    if text.startswith("\n"):  # a prompt is put without the white space at its end
        whole = reply.prompt.rstrip() + text
    lines = whole.split("\n")
    least = reply.prompt.rstrip().count("\n") + 1
    end = len(lines)
    while end > least:
        program = "\n".join(lines[:end])
        tree = parse(program)
        if isinstance(tree, SyntaxError):
            end = at_most(tree, lines[:end])
        elif _is_answer(program, reply.entry_point):
            return program
        else:
            break
    return whole


def _foreign(reply: Reply, text: str) -> str:
    if reply.base:
        return reply.prompt + text
    found = list(fences(text))
    named = [fence for fence in found if fence.name == reply.language]
    named = named or [fence for fence in found if not fence.name] or found
    mention = re.compile(rf"\b{re.escape(reply.entry_point or '')}\b")
    mentioning = [fence for fence in named if mention.search(fence.text)]
    if not named:
        return text
    program = (mentioning or named)[-1].text
    if reply.language == "go" and reply.prompt:
        return _below_go_head(_head(reply.prompt, ""), program)
    return _head(reply.prompt, program) + program


def _below_go_head(head: str, program: str) -> str:
    """A Go program in the prompt's package; importing twice, or in two places, does not compile."""
    program = re.sub(r"^package \w+\n", "", program, flags=re.MULTILINE)
    for path in re.findall(r'"([\w/]+)"', head):
        program = re.sub(rf'^(?:import )?[ \t]*"{path}"\n', "", program, flags=re.MULTILINE)
    return head + program


def _head(prompt: str, program: str) -> str:
    """What stands above the prompt's signature and the program lacks: imports, an open class."""
    above = prompt.rstrip().rpartition("\n")[0]
    head, part, depth = "", "", 0
    for line in _COMMENTS.sub("", above).split("\n"):
        part += line + "\n" if line.strip() else ""
        depth += len(re.findall("[{(]", line)) - len(re.findall("[})]", line))
        if depth <= 0:  # whole definitions are lacking, or none of their lines
            head, part = head + _unless_in(program, part), ""
    return head + _unless_in(program, part)


def _unless_in(program: str, part: str) -> str:
    first = part.strip().split("\n")[0].rstrip("{ ")  # the brace may stand on the next line
    return "" if program and first in program else part
