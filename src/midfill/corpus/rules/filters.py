"""The papers' filters. Source: DeepSeek-Coder section 2.1, DeepSeek-Coder-V2 section 2.

What the papers leave open, and how it is read here:

- Characters are code points, white space included; letters are Unicode's; lines end at `\\n`
  (`characters.py`). A value at its threshold stays.
- The XML declaration must lie in the first 100 characters as a whole.
- Visible text of HTML is counted with runs of white space as one, as a browser shows them, since
  indentation is nothing a reader sees. The rule holds for HTML itself, not for templates.
- JSON and YAML are these two languages; a Jupyter notebook is a language of its own, as in the
  papers' tables, and only has to pass the rules for all. YAML is none of the 338 names, so that a
  file without a language is YAML by its extension.

The order of the rules is the order of `Filters`: a file that several would drop has the reason of
the first.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

from midfill.config.corpus.rules import FilterConfig
from midfill.corpus.record import TEXT, Document, Drop, Rule
from midfill.corpus.rules.characters import text_statistics, visible_characters

XML_DECLARATION = "<?xml version="
YAML_ENDINGS = (".yaml", ".yml")
TokenCounter = Callable[[str], int]


def not_empty(document: Document) -> Drop | None:
    """Drop a file without a character."""
    return None if document.text else Drop("empty", 0)


@dataclass(frozen=True, slots=True, kw_only=True)
class LineLength:
    """Drop files with lines that nobody writes: any over 1000 characters, or 100 on average."""

    mean: float = 100
    longest: int = 1000

    def __call__(self, document: Document) -> Drop | None:
        """The longest line is looked at first. Prose, where a paragraph is a line, has no such limit."""
        if document.language == TEXT:
            return None
        counts = text_statistics(document.text)
        if counts.longest_line > self.longest:
            return Drop("longest_line", counts.longest_line)
        return Drop("mean_line", counts.mean_line) if counts.mean_line > self.mean else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Letters:
    """Drop files in which less than a quarter of the characters are letters: data, mostly."""

    share: float = 0.25

    def __call__(self, document: Document) -> Drop | None:
        """An empty text has no share, and is left to `not_empty`."""
        counts = text_statistics(document.text)
        if counts.letters >= self.share * counts.characters:
            return None
        return Drop("letters", counts.letters / counts.characters)


@dataclass(frozen=True, slots=True, kw_only=True)
class XmlDeclaration:
    """Drop files that declare themselves XML near their start, except XSLT, which is code."""

    within: int = 100

    def __call__(self, document: Document) -> Drop | None:
        """The value is where the declaration begins, counted from 0."""
        if document.language == "XSLT":
            return None
        at = document.text.find(XML_DECLARATION, 0, self.within)
        return Drop("xml", at) if at >= 0 else None


@dataclass(frozen=True, slots=True, kw_only=True)
class VisibleText:
    """Drop HTML of which less than a fifth, or less than 100 characters, can be read."""

    share: float = 0.2
    least: int = 100

    def __call__(self, document: Document) -> Drop | None:
        """The number of characters is looked at first."""
        if document.language != "HTML":
            return None
        visible, total = visible_characters(document.text), len(document.text)
        if visible < self.least:
            return Drop("html_visible", visible)
        return Drop("html_share", visible / total) if visible < self.share * total else None


@dataclass(frozen=True, slots=True, kw_only=True)
class DataSize:
    """Drop JSON and YAML outside 50 to 5000 characters: stubs and data."""

    least: int = 50
    most: int = 5000

    def __call__(self, document: Document) -> Drop | None:
        """The value is the number of characters."""
        name = document.language
        if name not in ("JSON", "YAML"):
            if name is not None or not document.path.lower().endswith(YAML_ENDINGS):
                return None
            name = "YAML"
        characters = len(document.text)
        if self.least <= characters <= self.most:
            return None
        return Drop(f"{name.lower()}_size", characters)


@dataclass(frozen=True, slots=True, kw_only=True)
class Stars:
    """Drop files of repositories without more than `more_than` stars; off in the papers."""

    more_than: int = 5

    def __call__(self, document: Document) -> Drop | None:
        """A repository whose stars nobody knows stays."""
        known = document.stars is not None and document.stars <= self.more_than
        return Drop("stars", document.stars) if known else None


@dataclass(frozen=True, slots=True, kw_only=True)
class CommentShare:
    """Drop files with hardly any comment, or hardly anything else; off in the papers.

    Counted by the comment signs of the language alone, so that one inside a string counts too; a
    language without such signs passes. In Python a string that begins a line is a comment.
    """

    least: float = 0.01
    most: float = 0.8

    def __call__(self, document: Document) -> Drop | None:
        """The value is the share of characters in comments."""
        from midfill.corpus.rules.comments import comment_characters

        if not document.text or (inside := comment_characters(document)) is None:
            return None
        share = inside / len(document.text)
        return None if self.least <= share <= self.most else Drop("comments", share)


@dataclass(frozen=True, slots=True, kw_only=True)
class CharactersPerToken:
    """Drop files that a tokenizer cuts into too small pieces; off in the papers.

    `least` gives the bound by language: 2.5 for Python, 2.9 for Java and 2.6 for JavaScript were
    StarCoder's.
    """

    least: dict[str, float]
    count: TokenCounter

    def __call__(self, document: Document) -> Drop | None:
        """The value is characters per token."""
        bound = self.least.get(document.language or "")
        tokens = 0 if bound is None else self.count(document.text)
        if bound is None or tokens == 0 or len(document.text) >= bound * tokens:
            return None
        return Drop("characters_per_token", len(document.text) / tokens)


@dataclass(frozen=True, slots=True)
class Filters:
    """All filters of a configuration, as one rule: the first reason counts."""

    config: FilterConfig = field(default_factory=FilterConfig)
    count_tokens: TokenCounter | None = None
    rules: tuple[Rule, ...] = field(init=False)

    def __post_init__(self) -> None:
        """Build the rules, those of the papers first."""
        c = self.config
        rules: list[Rule] = [
            not_empty,
            LineLength(mean=c.mean_line, longest=c.longest_line),
            Letters(share=c.letters),
            XmlDeclaration(within=c.xml_within),
            VisibleText(share=c.html_share, least=c.html_characters),
            DataSize(least=c.data_least, most=c.data_most),
        ]
        if c.stars is not None:
            rules.append(Stars(more_than=c.stars))
        if c.comments is not None:
            rules.append(CommentShare(least=c.comments[0], most=c.comments[1]))
        if c.characters_per_token is not None and self.count_tokens is not None:
            rules.append(
                CharactersPerToken(least=dict(c.characters_per_token), count=self.count_tokens)
            )
        object.__setattr__(self, "rules", tuple(rules))

    def __call__(self, document: Document) -> Drop | None:
        """The reason of the first rule that drops `document`, or None."""
        for rule in self.rules:
            if (drop := rule(document)) is not None:
                return drop
        return None
