"""Which parts of a chosen domain a person calls related, and what to show him next.

The rules are a text file, one a line: `+ example.org/questions` takes what lies under that prefix,
`- example.org/questions/tagged` leaves it out again, `#` begins a remark. The longest prefix that
fits decides. Scheme and `www.` are left out. DeepSeek annotated by hand; the file and the ranking
of proposals are ours.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from midfill.corpus.recall.pages import normal_url, prefixes
from midfill.errors import CorpusError


@dataclass(frozen=True, slots=True)
class Proposal:
    """A prefix of a chosen domain that no rule names yet."""

    prefix: str
    pages: int  # under it, after duplicates
    collected: int  # of them, by the classifier
    gain: int  # pages that would join the seed: under it, not collected, under no rule

    @property
    def share(self) -> float:
        """Collected pages of all under it."""
        return self.collected / self.pages


class Annotations:
    """The rules of one person, or none."""

    def __init__(self, rules: Mapping[str, bool] | None = None) -> None:
        self.rules = {normal_url(prefix): taken for prefix, taken in (rules or {}).items()}

    @classmethod
    def parse(cls, text: str, where: str = "the annotations") -> "Annotations":
        """The rules of a file. Raises CorpusError naming the line that is none."""
        rules: dict[str, bool] = {}
        for number, line in enumerate(text.split("\n"), 1):
            rule = line.partition("#")[0].split()
            if not rule:
                continue
            if len(rule) != 2 or rule[0] not in "+-":
                raise CorpusError(
                    f"{where}, line {number}: {line.strip()!r} is no rule",
                    why="a rule is + or -, a space, and a prefix of addresses",
                    fix="write it as: + example.org/questions",
                )
            rules[rule[1]] = rule[0] == "+"
        return cls(rules)

    def to_text(self) -> str:
        """The rules as a file that `parse` reads."""
        return "".join(f"{'+' if taken else '-'} {p}\n" for p, taken in sorted(self.rules.items()))

    def takes(self, url: str) -> bool | None:
        """Whether a normal URL is related; None where no rule fits."""
        path, mark, _ = url.partition("?")
        whole = self.rules.get(url) if mark else None
        while whole is None and path:
            whole = self.rules.get(path)
            path = path.rpartition("/")[0]
        return whole

    def and_also(self, taken: Iterable[str]) -> "Annotations":
        """These rules and one that takes each of the prefixes."""
        return Annotations({**self.rules, **dict.fromkeys(taken, True)})


def propose(
    urls: Iterable[tuple[str, str]],
    collected: frozenset[str],
    known: Annotations,
    *,
    depth: int,
    pages: int,
) -> list[Proposal]:
    """Prefixes worth a decision, the largest gain first, then by name.

    `urls` are pairs of a page of a chosen domain and that domain. A prefix that says the same as a
    longer one (the same pages) is left out in favour of the longer.
    """
    all_pages: Counter[str] = Counter()
    taken: Counter[str] = Counter()
    below: dict[str, str] = {}
    for url, domain in urls:
        if known.takes(url) is not None:
            continue
        at = list(prefixes(url, domain, depth))
        all_pages.update(at)
        below.update(zip(at[1:], at, strict=False))
        if url in collected:
            taken.update(at)
    same = {parent for child, parent in below.items() if all_pages[child] == all_pages[parent]}
    found = [
        Proposal(prefix, count, taken[prefix], count - taken[prefix])
        for prefix, count in all_pages.items()
        if count >= pages and taken[prefix] and count > taken[prefix] and prefix not in same
    ]
    return sorted(found, key=lambda one: (-one.gain, one.prefix))


def accept(proposals: Iterable[Proposal], least: float) -> list[str]:
    """The prefixes a machine accepts in a person's place: those with this share collected."""
    return [one.prefix for one in proposals if one.share >= least]
