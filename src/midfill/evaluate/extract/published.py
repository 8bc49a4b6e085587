"""Published extraction rules (E1-E5, E7-E12), as they are: their faults are part of the numbers.

Each function gives, byte for byte, what the code it is named after gives. Fences are not parsed as
Markdown anywhere here, since none of the originals does so.
"""

import re

from midfill.evaluate.extract.reply import Reply

STOP_PYTHON = ("\ndef", "\nclass", "\nif", "\n#", "\nprint")
STOP_TYPESCRIPT = ("\nexport", "\nimport", "\nexport default", "\nimport default", "\nconsole.log")
MAIN = {  # what a reply is cut off at, in DeepSeek's instruct rule
    "cpp": "int main()",
    "java": "public static void main",
    "csharp": "public static void Main",
}
INDENT = {"python": 4, "java": 4}  # of a function that is not found; 0 elsewhere
CLOSED_AGAIN = ("php", "typescript", "javascript")


def cut(text: str, stop: tuple[str, ...]) -> str:
    """The text up to the earliest stop string."""
    return text[: min((at for word in stop if (at := text.find(word)) >= 0), default=len(text))]


def first_fence(name: str, text: str) -> str | None:
    """What follows the first fence of this name (any case), up to the next three backticks."""
    found = re.search(f"```{re.escape(name)}\n(.*?)```", text, re.DOTALL | re.IGNORECASE)
    return found and found[1]


def human_eval(reply: Reply) -> str:
    """E1, OpenAI's human-eval: the prompt and the completion, nothing between them.

    Uses: prompt. Breaks on a reply that repeats the signature, fences its code or adds prose.
    """
    return reply.prompt + reply.completion


def deepseek_base(reply: Reply) -> str:
    r"""E2, DeepSeek-Coder for base models: cut at the earliest stop string, below the prompt.

    Uses: prompt, stop (Python has its own five, TypeScript five more), language, base. A reply of
    a chat model gets no prompt; in Python its first fence is taken before the cut.
    Breaks: `\n#` ends a body at a comment in the first column; a helper written below the asked
    function is lost, and in a chat reply everything from the second `def` on.
    """
    text, stop = reply.completion, reply.stop
    if reply.language == "python":
        stop = STOP_PYTHON
        text = text if reply.base else _fenced_for_base(text)
    elif reply.language == "typescript":
        stop = stop + STOP_TYPESCRIPT
    text = cut(text, stop)
    return f"{reply.prompt}\n{text}" if reply.base else text


def _fenced_for_base(text: str) -> str:
    text = text.replace("\r", "")
    if "```python" not in text:
        return text
    text = text[text.index("```python") :].replace("```python", "").strip()
    return text.split("```")[0].strip()


def deepseek_instruct(reply: Reply) -> str:
    """E3, DeepSeek-Coder for chat models: the asked function out of the first fence.

    Uses: prompt, language. From the prompt's signature on (for Python `def name`, in any case of
    letters) up to the last line that closes a brace at its indentation, below the prompt's own
    lines before the signature; without such a fence, the prompt and the whole reply.
    Breaks on fences named js, ts, c++, sh, cs or not at all; loses imports and functions above the
    asked one; takes a function whose name starts with the same letters; ends Python at a `}` in
    the column of the function. The original knows eight languages, the others are treated alike.
    """
    block = first_fence(reply.language, reply.completion)
    signature = _signature(reply.prompt.strip(), reply.language)
    if block is None or signature is None:
        return f"{reply.prompt}\n{reply.completion}"
    name, above = signature
    main = MAIN.get(reply.language)
    if main:
        block = block.partition(main)[0]
    start, indent = _start(block, name, INDENT.get(reply.language, 0))
    closing = "\n" + " " * indent + "}"
    end = block.rfind(closing)
    body = block[start : end if end >= 0 else len(block)]
    if reply.language in CLOSED_AGAIN:
        body += closing
    return f"{above}\n{body}\n"


def _signature(prompt: str, language: str) -> tuple[str, str] | None:
    """What the asked function begins with, and the prompt's lines above it."""
    lines = [line for line in prompt.split("\n") if line.strip()]
    if language == "python":
        numbers = [i for i, line in enumerate(lines) if line.startswith("def ")]
        mark = "("
    else:
        numbers = [len(lines) - 1] if lines else []
        mark = "{"
    if not numbers:
        return None
    return lines[numbers[-1]].split(mark)[0].strip(), "\n".join(lines[: numbers[-1]])


def _start(block: str, name: str, indent: int) -> tuple[int, int]:
    """Where the function begins and how far it is indented; `indent` where it is not found."""
    start = block.lower().find(name.lower())
    if start < 0:
        return 0, indent
    if start >= len(block) + (start > 0):  # lowering a letter can lengthen the text
        return 0, 0
    found = 0
    # At the start of the block the original looks at its last character: index -1.
    while start - found >= 0 and block[start - found - 1] == " ":
        found += 1
    return start, found


def deepseek_mbpp(reply: Reply) -> str:
    """E4, DeepSeek-Coder on MBPP: the first Python fence, else the whole reply.

    Breaks where the first fence is a draft, or is not called python.
    """
    block = first_fence("python", reply.completion)
    return reply.completion if block is None else block


def deepseek_leetcode(reply: Reply) -> str:
    """E5, DeepSeek-Coder on LeetCode: the first Python fence that closes on a line of its own.

    Uses: prompt. `[PYTHON]` counts as a fence. Without any the reply is cut at the stop strings; a
    reply that starts with an indented body goes below the code in the prompt.
    Breaks where the fence closes at the end of a line of code: then the whole reply is the program.
    """
    try:
        if reply.completion.startswith("\n        "):
            return _of_leetcode(reply.prompt).strip() + "\n" + reply.completion
        return _of_leetcode(reply.completion)
    except LookupError:
        return reply.completion


def _of_leetcode(text: str) -> str:
    text = text.replace("[PYTHON]", "```python").replace("[/PYTHON]", "```")
    if "```python" not in text:
        return cut(text, STOP_PYTHON)
    found = re.search("```python\n(.*?)\n```", text, re.DOTALL)
    if found is None:
        raise LookupError("a fence opens, and none closes on a line of its own")
    return found[1]


def livecodebench(reply: Reply) -> str:
    """E7, LiveCodeBench: the lines between the last two that hold three backticks, else nothing.

    Uses: base (then the whole reply, stripped). Breaks on an example or an explanation in a fence
    behind the program, on a final fence left open, and on two fences in one line. Its branch for
    CodeLlama returns nothing at all in the version read and is left out.
    """
    if reply.base:
        return reply.completion.strip()
    lines = reply.completion.split("\n")
    fences = [number for number, line in enumerate(lines) if "```" in line]
    return "\n".join(lines[fences[-2] + 1 : fences[-1]]) if len(fences) > 1 else ""


def open_r1(reply: Reply) -> str:
    """E8, open-r1: the last closed fence that bears the language's name exactly, else nothing.

    Uses: language. Breaks where an example of use comes last, and on Windows line ends.
    """
    found = re.findall(rf"```{re.escape(reply.language)}\n(.*?)```", reply.completion, re.DOTALL)
    return found[-1] if found else ""


def repobench(reply: Reply) -> str:
    '''E9, RepoBench: the first line that is code, unstripped; the first line where there is none.

    Uses: language (Python; every other has the comments of Java).
    Breaks on docstrings and comments of one line: `"""x"""` opens a comment that closes at the next
    line with quotes at its end, `/* x */` one that closes at the next line with `*/` there.
    '''
    python = reply.language == "python"
    opens, closes, comment = (
        (('"""', "'''"), ('"""', "'''"), "#") if python else (("/*",), ("*/",), "//")
    )
    lines = reply.completion.lstrip("\n").split("\n")
    inside = False
    for line in lines:
        text = line.strip()
        if not text:
            continue
        if inside:
            inside = not text.endswith(closes)
        elif text.startswith(opens):
            inside = True
        elif not text.startswith(comment):
            return line
    return lines[0]


def cruxeval(reply: Reply) -> str:
    """E10, CRUXEval with reasoning: the answer's expression, from the first `[ANSWER]` on.

    Uses: prompt: where it is "i" or asks for `f(??)`, an input is wanted, what stands before the
    first `==`, from `assert f` on; else an output, what stands behind it. Without a tag it is
    CRUXEval's rule for direct answers (its script for OpenAI's API takes the last line instead).
    Breaks on strings that hold `==`, and on a second, corrected answer. The stop string
    `[/ANSWER]` is taken to have ended the reply.
    """
    text = reply.completion
    if "[ANSWER]" in text:
        text = text.split("[ANSWER]")[1].strip()
    wants_input = reply.prompt == "i" or "f(??)" in reply.prompt
    if "==" in text:
        text = text.split("==")[0 if wants_input else 1].strip()
    if wants_input and "assert f" in text:
        text = "f" + text.split("assert f")[1].strip()
    return text.strip()


def fim_line(reply: Reply) -> str:
    """E11, infilling: the first line that is not blank, stripped.

    The published protocol says "first generated line"; this reads it as the text up to the first
    newline after the first character that is not white space. Breaks where a hole is longer.
    """
    return reply.completion.strip().split("\n", 1)[0].strip()


def fim_line_raw(reply: Reply) -> str:
    """E11 to the letter: what stands before the first newline, stripped.

    Breaks on a completion that starts with a newline: it is then empty.
    """
    return reply.completion.split("\n", 1)[0].strip()


def boxed(reply: Reply) -> str:
    r"""E12, MATH (Hendrycks et al.): what is inside the last `\boxed{}`, braces balanced.

    Breaks on `\boxed 5` and on an answer that is cut off inside its box: nothing, even where an
    earlier box is whole; also where the last `\boxed` is a remark. Without any `\boxed` the
    original looks for `\fbox`, but takes nothing out of it.
    """
    text = reply.completion
    at = text.rfind("\\boxed")
    if at < 0 or not text.startswith("\\boxed{", at):
        return ""
    depth = 0
    for brace in re.finditer(r"[{}]", text[at:]):
        depth += 1 if brace[0] == "{" else -1
        if depth == 0:
            return text[at + len("\\boxed{") : at + brace.start()]
    return ""
