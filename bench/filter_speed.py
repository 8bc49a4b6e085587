"""Speed of the rules for files, one core, beside datatrove's filters and the plain-Python twins.

    python bench/filter_speed.py FOLDER [--megabytes 150] [--rounds 5]
    python -m venv peers && peers/bin/pip install "datatrove[processing]" detect-secrets
    python bench/filter_speed.py FOLDER --peer peers/bin/python

FOLDER holds one folder of source files per repository, such as unpacked source archives. Everything
is read and decoded before the clock starts; all contenders take the same texts in turns, and the
median of the rounds is printed, in millions of UTF-8 bytes a second of processor time. datatrove
has no filters for code: its `LambdaFilter` runs the same thresholds, written as a user of it would.
detect-secrets scans an evenly chosen part of the files, since it is slow, and reads them itself;
`found` counts what each reports there, e-mail and IP addresses on our side too.
"""

import argparse
import json
import os
import random
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

SECRETS_PART = 40  # one file of so many goes to detect-secrets


def load(folder: Path, megabytes: float) -> list[tuple[str, str, str]]:
    """(repository, path, text) of text files, in a fixed shuffled order of the repositories."""
    repositories = sorted(path for path in folder.iterdir() if path.is_dir())
    random.Random(0).shuffle(repositories)
    found, size = [], 0
    for repository in repositories:
        for path in sorted(repository.rglob("*")):
            if not path.is_file() or path.is_symlink():
                continue
            raw = path.read_bytes()
            if b"\0" in raw:
                continue
            try:
                text = raw.decode("utf-8")
            except UnicodeDecodeError:
                continue
            found.append((repository.name, path.relative_to(repository).as_posix(), text))
            size += len(raw)
            if size > megabytes * 1e6:
                return found
    return found


def measure(contenders: dict[str, Callable[[], Any]], rounds: int) -> dict[str, float]:
    """Median processor seconds of each contender, all in turns."""
    times: dict[str, list[float]] = {name: [] for name in contenders}
    for _ in range(rounds):
        for name, work in contenders.items():
            start = time.process_time()
            work()
            times[name].append(time.process_time() - start)
    return {name: statistics.median(all_) for name, all_ in times.items()}


def run(rules: Iterable[Callable[[Any], Any]], documents: list[Any]) -> int:
    """How many documents no rule drops."""
    rules = tuple(rules)
    return sum(all(rule(document) is None for rule in rules) for document in documents)


def ours(files: list[tuple[str, str, str]]) -> tuple[dict[str, Callable[[], Any]], list[Any]]:
    from midfill.config.corpus.rules import RulesConfig
    from midfill.corpus.record import Document
    from midfill.corpus.rules import characters
    from midfill.corpus.rules.filters import Filters
    from midfill.corpus.rules.inspect import judge, rules_of
    from midfill.corpus.rules.privacy import mask

    try:
        from midfill.corpus.languages import detect
    except ImportError:
        detect = None
    documents = [
        Document(
            repo=repo,
            path=path,
            text=text,
            size=len(text),
            sha256="",
            language=detect(path, text).language if detect else None,
        )
        for repo, path, text in files
    ]
    by_repository: dict[str, list[Document]] = {}
    for document in documents:
        by_repository.setdefault(document.repo, []).append(document)
    config = RulesConfig()
    filters, all_rules = Filters(), rules_of(config)
    return {
        "midfill papers' filters": lambda: run([filters], documents),
        "midfill all rules for files": lambda: run(all_rules, documents),
        "midfill privacy mask": lambda: [mask(document.text) for document in documents],
        "midfill everything, with licences": lambda: [
            judge(group, config, "MIT") for group in by_repository.values()
        ],
        "plain Python statistics alone": lambda: [
            characters.plain_text_statistics(document.text) for document in documents
        ],
    }, documents


def datatrove_filters(texts: list[str]) -> Callable[[], Any]:
    """datatrove's LambdaFilter with the thresholds of the papers that hold for every language."""
    from datatrove.data import Document
    from datatrove.pipeline.filters import LambdaFilter

    def keep(document: Document) -> bool:
        text = document.text
        lengths = [len(line) for line in text.splitlines()] or [0]
        if max(lengths) > 1000 or sum(lengths) / len(lengths) > 100:
            return False
        if sum(map(str.isalpha, text)) < 0.25 * len(text) or not text:
            return False
        return "<?xml version=" not in text[:100]

    documents = [Document(text=text, id=str(at)) for at, text in enumerate(texts)]
    step = LambdaFilter(keep)
    return lambda: sum(1 for _ in step.run(iter(documents)))


def detect_secrets(paths: list[Path]) -> Callable[[], int]:
    """How many secrets detect-secrets finds with its default plugins and filters."""
    from detect_secrets import SecretsCollection
    from detect_secrets.settings import default_settings

    def count() -> int:
        secrets = SecretsCollection()
        with default_settings():
            for path in paths:
                secrets.scan_file(str(path))
        return sum(1 for _ in secrets)

    return count


def peer(folder: Path, megabytes: float, rounds: int) -> None:
    """Run under the peers' Python: prints one JSON object."""
    files = load(folder, megabytes)
    texts = [text for _, _, text in files]
    secrets = detect_secrets([folder / repo / path for repo, path, _ in files[::SECRETS_PART]])
    seconds = measure({"datatrove": datatrove_filters(texts), "detect-secrets": secrets}, rounds)
    print(json.dumps({"seconds": seconds, "found": secrets()}))


def report(name: str, size: float, seconds: float, **more: Any) -> None:
    row = {"bench": "filter_speed", "what": name, "MB_per_s": round(size / 1e6 / seconds, 1)}
    row |= {"megabytes": round(size / 1e6, 1), "load": round(os.getloadavg()[0], 2), **more}
    print(json.dumps(row), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--megabytes", type=float, default=150)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument(
        "--peer", help="the Python of an environment with datatrove, detect-secrets"
    )
    parser.add_argument("--as-peer", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.as_peer:
        return peer(given.folder, given.megabytes, given.rounds)
    files = load(given.folder, given.megabytes)
    size = sum(len(text.encode("utf-8")) for _, _, text in files)
    contenders, documents = ours(files)
    seconds: dict[str, list[float]] = {}
    answers: list[dict[str, Any]] = []
    for _ in range(given.rounds):  # one of ours, one of theirs
        for name, value in measure(contenders, 1).items():
            seconds.setdefault(name, []).append(value)
        if given.peer:
            command = [given.peer, __file__, str(given.folder), "--as-peer", "--rounds", "1"]
            done = subprocess.run(
                [*command, "--megabytes", str(given.megabytes)], stdout=subprocess.PIPE, check=True
            )
            answers.append(json.loads(done.stdout.splitlines()[-1]))
    for name, values in seconds.items():
        report(name, size, statistics.median(values), files=len(files))
    if answers:
        from midfill.corpus.rules.privacy import mask

        part = documents[::SECRETS_PART]
        part_size = sum(len(document.text.encode("utf-8")) for document in part)
        theirs = {key: [one["seconds"][key] for one in answers] for key in answers[0]["seconds"]}
        report(
            "datatrove LambdaFilter, same thresholds", size, statistics.median(theirs["datatrove"])
        )
        found = answers[0]["found"]
        report(
            "detect-secrets", part_size, statistics.median(theirs["detect-secrets"]), found=found
        )
        mine = measure({"mask": lambda: [mask(one.text) for one in part]}, 3)["mask"]
        kinds = sum(sum(mask(one.text).counts.values()) for one in part)
        report("midfill privacy mask, the same part", part_size, mine, found=kinds)


if __name__ == "__main__":
    sys.exit(main())
