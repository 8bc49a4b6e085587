"""The recall loop: a few known pages find their like among millions, round by round.

Source: DeepSeekMath 2.1, DeepSeek-Coder-V2 2. Each round trains a classifier on the seed against
random other pages, collects the best-scored pages, and chooses the domains more than a tenth of
whose pages were collected. There, what a person has marked as related and the classifier has missed
joins the seed of the next round.

Which pages those are does not depend on the order of the pages: everything that is sampled or cut is
ordered by score and address.
"""

import hashlib
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path

import numpy as np

from midfill.config.corpus.recall import RecallConfig
from midfill.corpus.quality.classifier import Classifier, Sample, Words, train
from midfill.corpus.recall.annotations import Annotations, Proposal, accept, propose
from midfill.corpus.recall.on_disk import OnDisk
from midfill.corpus.recall.pages import domain_of, is_under, normal_url
from midfill.corpus.recall.words import ToWords
from midfill.errors import CorpusError

SMALL_WEB = 0.05  # with a larger part of the pages as negatives, two classifiers share the work


@dataclass(frozen=True, slots=True, kw_only=True)
class Round:
    """What one round found, and all that the next one needs."""

    number: int  # from 1
    scored: int  # pages after duplicates
    trained_on: tuple[int, int]  # pages of the seed, other pages
    seed: frozenset[str]  # addresses that this round was trained with
    next_seed: frozenset[str]  # and with those that joined
    collected: frozenset[str]  # addresses that this round collected, the seed's among them
    total: frozenset[str]  # collected by this round or an earlier one
    new: int  # collected by no earlier round and not in the first seed
    domains: tuple[str, ...]  # chosen, sorted
    proposals: tuple[Proposal, ...]  # for a person, the largest gain first
    accepted: tuple[str, ...]  # prefixes accepted by their share, without a person
    last: bool  # the loop ends here
    classifier: Classifier = field(repr=False)  # the first, where a small web has two

    @property
    def new_share(self) -> float:
        """New pages among the collected."""
        return self.new / max(len(self.collected), 1)

    def stopped(self, config: RecallConfig) -> bool:
        """Whether it found so little that no other round follows by itself."""
        return self.new < config.stop_share * len(self.collected)


def recall(
    pages: Mapping[str, str],
    seed: Iterable[str],
    config: RecallConfig,
    words: ToWords,
    *,
    annotations: Annotations | None = None,
    done: Sequence[Round] = (),
    folder: Path | None = None,
) -> Iterator[Round]:
    """The rounds, as they end. `done` are those of an earlier run, which are not repeated.

    `pages` are texts by normal address (`one_per_url`). `seed` are addresses of known good pages; a
    host, owner or folder stands for all below it. The words of all pages lie in a file in `folder`,
    8 bytes a word; those of a round's samples are held in memory. `annotations` also count for the last of `done`: what they take
    of its domains joins the seed, so that a person may decide between two rounds. Raises
    CorpusError where the seed names no page.
    """
    if done and (
        done[-1].number >= config.rounds or (done[-1].stopped(config) and not annotations)
    ):
        return
    web = _Web(pages, config, words, folder)
    rules = annotations or Annotations()
    first = done[0].seed if done else web.under(seed)
    if not first:
        raise CorpusError(
            "the seed names no page",
            why=f"none of the {len(pages)} pages lies under one of its addresses",
            fix="give addresses as the pages have them, such as docs.example.org/library",
        )
    known = done[-1].next_seed if done else first
    before = done[-1].total if done else first
    for round_ in done:
        rules = rules.and_also(round_.accepted)
    if done:
        joining = web.joining(done[-1].domains, done[-1].collected, rules)
        if done[-1].stopped(config) and joining <= known:
            return
        known |= joining
    for number in range(len(done) + 1, config.rounds + 1):
        made = web.round(number, known, before, rules, config)
        yield made
        if made.last:
            return
        known, before, rules = made.next_seed, made.total, rules.and_also(made.accepted)


def chosen_domains(
    all_pages: Counter[str], collected: Counter[str], config: RecallConfig
) -> tuple[str, ...]:
    """Domains with strictly more than `domain_share` of their pages collected, sorted.

    Exact: a domain with 10 of 100 pages at a share of 0.1 is not among them.
    """
    limit = Fraction(str(config.domain_share))  # 0.1 itself is a little more than a tenth
    return tuple(
        sorted(
            domain
            for domain, count in all_pages.items()
            if count >= config.domain_pages and collected[domain] > limit * count
        )
    )


class _Web:
    """The pages of one run, with their words and their domains."""

    def __init__(
        self, pages: Mapping[str, str], config: RecallConfig, words: ToWords, folder: Path | None
    ) -> None:
        self.words: OnDisk[Words] = OnDisk(
            folder, lambda array: array.tobytes(), lambda data: np.frombuffer(data, np.uint64)
        )
        for url, text in pages.items():
            self.words[url] = words(text)[: config.classifier.longest]
        self.domains = {url: domain_of(url, config.domain) for url in self.words}
        self.sizes = Counter(self.domains.values())

    def under(self, addresses: Iterable[str]) -> frozenset[str]:
        """Pages under these addresses."""
        prefixes = [normal_url(address) for address in addresses]
        exact = self.words.keys() & set(prefixes)
        rest = tuple(prefix for prefix in prefixes if prefix not in exact)
        below = (
            url
            for url in self.words
            if url.startswith(rest) and any(is_under(url, prefix) for prefix in rest)
        )
        return frozenset(exact).union(below)

    def round(
        self,
        number: int,
        seed: frozenset[str],
        before: frozenset[str],
        rules: Annotations,
        config: RecallConfig,
    ) -> Round:
        model = self._train(number, seed, config)
        collected = self._collect(model, config) | seed
        counts = Counter(self.domains[url] for url in collected)
        domains = chosen_domains(self.sizes, counts, config)
        chosen = set(domains)
        inside = [(url, domain) for url, domain in self.domains.items() if domain in chosen]
        proposals = propose(
            inside, collected, rules, depth=config.prefix_depth, pages=config.prefix_pages
        )
        accepted = [] if config.accept is None else accept(proposals, config.accept)
        rules = rules.and_also(accepted)
        joining = self.joining(domains, collected, rules)
        new = len(collected - before)
        return Round(
            number=number,
            scored=len(self.words),
            trained_on=model.trained_on,
            seed=seed,
            next_seed=seed | joining,
            collected=collected,
            total=before | collected,
            new=new,
            domains=domains,
            proposals=tuple(proposals),
            accepted=tuple(accepted),
            last=number == config.rounds or new < config.stop_share * len(collected),
            classifier=model.first,
        )

    def joining(
        self, domains: Iterable[str], collected: frozenset[str], rules: Annotations
    ) -> frozenset[str]:
        """Pages of chosen domains that a rule takes and the classifier has missed."""
        chosen = set(domains)
        return frozenset(
            url
            for url, domain in self.domains.items()
            if domain in chosen and url not in collected and rules.takes(url)
        )

    def _train(self, number: int, seed: frozenset[str], config: RecallConfig) -> "_Model":
        """Classifiers for this round: one, or two where a good part of all pages must be negatives."""
        salt = f"{config.seed}:{number}:"
        good = _sample(seed, config.positives, salt)
        unlabelled = self.words.keys() - seed
        others = _sample(unlabelled, config.negatives, salt)
        small = len(others) > SMALL_WEB * len(unlabelled)
        halves = [others[::2], others[1::2]] if small and len(others) > 1 else [others]
        first, *second = (train(self._samples(good, half), config.classifier) for half in halves)
        return _Model(
            first=first,
            second=second[0] if second else first,
            known_to_first=frozenset(halves[0]),
            trained_on=(len(good), len(others)),
        )

    def _samples(self, good: Sequence[str], others: Sequence[str]) -> Iterator[Sample]:
        for urls, is_good in ((good, True), (others, False)):
            for url in urls:
                yield Sample(key=url, words=self.words[url], good=is_good)

    def _collect(self, model: "_Model", config: RecallConfig) -> frozenset[str]:
        """The best-scored pages; of equal scores, those first by address."""
        scores = {url: model.of(url).score(words) for url, words in self.words.items()}
        ranked = sorted(scores, key=lambda url: (-scores[url], url))
        best = ranked[: int(Fraction(str(config.keep)) * len(ranked))]
        return frozenset(url for url in best if scores[url] >= config.least_score)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Model:
    """A round's classifiers: none scores a page that it was told is not of the wanted kind.

    The negatives are random pages, with wanted ones among them. On the papers' web they are one page
    in 80,000; on a small web they are all pages, and a classifier that has learned a page by heart
    does not find it. So each half is scored by what learned from the other half.
    """

    first: Classifier
    second: Classifier
    known_to_first: frozenset[str]
    trained_on: tuple[int, int]

    def of(self, url: str) -> Classifier:
        """The classifier that scores this page."""
        return self.second if url in self.known_to_first else self.first


def _sample(urls: Iterable[str], most: int, salt: str) -> list[str]:
    """At most so many of the addresses, by a hash: the same ones in whatever order they come."""

    def place(url: str) -> tuple[bytes, str]:
        coded = (salt + url).encode("utf-8", "surrogatepass")
        return hashlib.blake2b(coded, digest_size=8).digest(), url

    return sorted(urls, key=place)[:most]
