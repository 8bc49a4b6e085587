"""All rules for one repository: each file gets its licence, one reason at most, and a masked text.

The order of the reasons, as in the table of stages of the corpus: the papers' filters first, so that
what they leave can be compared with their figures, then `vendored`, `lock_file`, `source_map`,
`generated_name`, `generated_header`, `minified`, `encoded`, and last `licence` or
`licence_unknown`. A document that comes with a reason keeps it. The rules judge a text as it was
found; it is masked afterwards, in dropped documents too, since people read samples of those.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace

from midfill.config.corpus.rules import GeneratedConfig, LicenceConfig, RulesConfig
from midfill.corpus.record import Document, Drop, Rule
from midfill.corpus.rules.filters import Filters
from midfill.corpus.rules.generated import (
    Encoded,
    Minified,
    generated_header,
    generated_name,
    vendored,
)
from midfill.corpus.rules.licence import assign, permissive
from midfill.corpus.rules.privacy import mask


@dataclass(frozen=True, slots=True)
class Inspection:
    """The documents of a repository after the rules, and what was masked in them, by kind."""

    documents: list[Document]
    masked: Mapping[str, int]


def rules_of(config: RulesConfig, count_tokens: Callable[[str], int] | None = None) -> list[Rule]:
    """The rules of a configuration that look at one file alone, in the order of their reasons."""
    return [Filters(config.filters, count_tokens), *_generated_rules(config.generated)]


def _generated_rules(config: GeneratedConfig) -> list[Rule]:
    rules: list[Rule] = []
    if config.vendored:
        rules.append(vendored)
    if config.generated:
        rules += [generated_name, generated_header]
    if config.minified:
        rules.append(
            Minified(
                line=config.minified_line,
                spaces=config.minified_spaces,
                least=config.minified_least,
            )
        )
    return [*rules, Encoded(share=config.encoded_share)]


def first_drop(rules: Iterable[Rule], document: Document) -> Drop | None:
    """The reason of the first rule that drops a document, or None."""
    return next((drop for rule in rules if (drop := rule(document)) is not None), None)


def licence_drop(licence: str | None, config: LicenceConfig) -> Drop | None:
    """Why a file under `licence` is not used; the value is the licence."""
    if licence is None:
        return None if config.unknown else Drop("licence_unknown")
    if config.allow is None or permissive(licence, config.allow):
        return None
    return Drop("licence", licence)


def judge(
    documents: Iterable[Document],
    config: RulesConfig,
    metadata: str | None = None,
    count_tokens: Callable[[str], int] | None = None,
) -> Inspection:
    """The documents of one repository with licence, masked text and reason; the given stay as are.

    `metadata` is the licence that the repository's package states, `count_tokens` counts the tokens
    of a text for the filter that asks for it.
    """
    documents = list(documents)
    rules = rules_of(config, count_tokens)
    licences = assign(documents, metadata)
    masked: Counter[str] = Counter()
    judged = []
    for document in documents:
        licence = licences[document.path]
        drop = document.drop or first_drop(rules, document) or licence_drop(licence, config.licence)
        clean = mask(document.text, config.privacy)
        masked.update(clean.counts)
        judged.append(replace(document, licence=licence, drop=drop, text=clean.text))
    return Inspection(judged, dict(masked))


def inspect(
    documents: Iterable[Document],
    config: RulesConfig,
    metadata: str | None = None,
    count_tokens: Callable[[str], int] | None = None,
) -> list[Document]:
    """The documents of `judge`, in the order given."""
    return judge(documents, config, metadata, count_tokens).documents
