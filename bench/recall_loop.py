"""The recall loop on a small real web: what each round finds, by tokens and by words between spaces.

    python scripts/build_web_pages.py DEBS --out pages.jsonl --fetch
    python bench/recall_loop.py pages.jsonl TOKENIZER.json

The pages are documentation and prose of Debian packages, which stand in for Common Crawl. The truth is
the subject of each page's package, given by hand, so a page of licences in a library's manual counts as
code. Precision and recall leave the first seed out. Prefixes of chosen domains are accepted by their
collected share, which stands in for a person's annotation. One JSON line a round, then a table.
"""

import argparse
import json
import os
import sys
import time
from collections.abc import Iterable, Mapping
from functools import partial
from pathlib import Path

import machine

from midfill.config.corpus.quality import ClassifierConfig
from midfill.config.corpus.recall import RecallConfig
from midfill.corpus.quality.classifier import Words, hash_ids
from midfill.corpus.recall.loop import Round, recall
from midfill.corpus.recall.pages import Page, domain_of, normal_url
from midfill.corpus.recall.unique import one_per_url
from midfill.corpus.recall.words import ToWords, space_words

SEEDS = {  # packages whose pages are known before the first round
    "code": ["python3.11-doc", "python-flask-doc", "cppreference-doc-en-html", "libcurl4-doc"],
    "math": ["gap-doc", "maxima-doc", "python-mpmath-doc"],
}


def main() -> None:
    """Run both subjects with both kinds of words."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("pages", type=Path)
    parser.add_argument("tokenizer", type=Path)
    parser.add_argument("--topics", nargs="+", default=list(SEEDS), choices=SEEDS)
    parser.add_argument("--words", nargs="+", default=["tokens", "spaces"])
    parser.add_argument("--keep", type=float, default=0.2, help="most pages of a round, as a share")
    parser.add_argument("--accept", type=float, default=0.5)
    parser.add_argument("--least", type=float, default=0.0, help="score of a collected page")
    parser.add_argument("--rate", type=float, default=0.5, help="learning rate")
    parser.add_argument("--epochs", type=int, default=3)
    args = parser.parse_args()
    with args.pages.open(encoding="utf-8") as lines:
        rows = [json.loads(line) for line in lines]
    pages = [Page(row["url"], row["text"]) for row in rows]
    truth = {normal_url(row["url"]): row["topic"] for row in rows}
    print(json.dumps({"pages": len(pages), "load": os.getloadavg()} | machine.describe()))
    config = RecallConfig(
        keep=args.keep,
        accept=args.accept,
        least_score=args.least,
        classifier=ClassifierConfig(learning_rate=args.rate, epochs=args.epochs),
    )
    kinds: dict[str, ToWords] = {"spaces": space_words()}
    if "tokens" in args.words:
        kinds["tokens"] = bpe_words(pages, args.tokenizer)
    table = []
    for topic in args.topics:
        for name in args.words:
            table += run(topic, name, pages, truth, config, kinds[name])
    print_table(table)


def bpe_words(pages: Iterable[Page], path: Path) -> ToWords:
    """Words by the tokenizer, each page encoded once."""
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(path))
    texts = [page.text for page in pages]
    encoded = tokenizer.encode_batch_fast(texts, add_special_tokens=False)
    known: dict[str, Words] = {
        text: hash_ids(one.ids) for text, one in zip(texts, encoded, strict=True)
    }
    return known.__getitem__


def run(
    topic: str,
    name: str,
    pages: list[Page],
    truth: Mapping[str, str],
    config: RecallConfig,
    words: ToWords,
) -> list[dict[str, object]]:
    """One loop's rounds, as rows of the table."""
    seed = [f"{package}.example" for package in SEEDS[topic]]
    start, rows = time.perf_counter(), []
    row_of = partial(as_row, topic, name, truth)
    for made in recall(one_per_url(pages), seed, config, words):
        row = row_of(made) | {"seconds": round(time.perf_counter() - start, 1)}
        rows.append(row)
        print(json.dumps(row | {"load": os.getloadavg()[0]}), flush=True)
        best = [(one.prefix, one.gain, round(one.share, 2)) for one in made.proposals[:5]]
        print("  largest gains:", best, file=sys.stderr)
        start = time.perf_counter()
    return rows


def as_row(topic: str, name: str, truth: Mapping[str, str], made: Round) -> dict[str, object]:
    """What a round found, judged against the packages' subjects."""
    seeds = {f"{package}.example" for package in SEEDS[topic]}

    def outside(urls: Iterable[str]) -> set[str]:
        return {url for url in urls if domain_of(url, "host") not in seeds}

    wanted = outside(url for url in truth if truth[url] == topic)
    found, total = outside(made.collected), outside(made.total)
    domain_topic = {domain_of(url, "host"): truth[url] for url in truth}
    right = sum(domain_topic[domain] == topic for domain in made.domains)
    return {
        "topic": topic,
        "words": name,
        "round": made.number,
        "seed": len(made.seed),
        "collected": len(found),
        "precision": round(len(found & wanted) / max(len(found), 1), 4),
        "recall": round(len(found & wanted) / len(wanted), 4),
        "recall_total": round(len(total & wanted) / len(wanted), 4),
        "precision_total": round(len(total & wanted) / max(len(total), 1), 4),
        "new_share": round(made.new_share, 4),
        "domains": len(made.domains),
        "domains_right": right,
        "prefixes": len(made.accepted),
    }


def print_table(rows: list[dict[str, object]]) -> None:
    """The rows as Markdown."""
    names = list(rows[0])
    print("| " + " | ".join(names) + " |\n|" + "---|" * len(names))
    for row in rows:
        print("| " + " | ".join(str(row[name]) for name in names) + " |")


if __name__ == "__main__":
    main()
