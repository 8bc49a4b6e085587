"""Writes the tables of src/midfill/corpus/languages: names, extensions, comments, content rules.

    MIDFILL_DATA=... python scripts/build_languages.py

Facts come from three places: linguist's languages.yml and heuristics.yml (MIT, read from the folder
`lists` of MIDFILL_DATA), the file patterns of Pygments 2.21 (BSD-2) for names that only Pygments
has, written down in `hand_made.txt` with what neither has, and the list of 338 names. The result is
the same for the same inputs; `tests/unit/test_corpus_languages.py` does not read these tables to
know what to expect.
"""

import argparse
import json
import os
import re
from pathlib import Path

# The parser of `re` is private, but it is what says which text a pattern cannot do without. It runs
# here only, where the tables are made; the patterns themselves are public.
from re import _constants as ops  # type: ignore[attr-defined]
from re import _parser as parser  # type: ignore[attr-defined]
from typing import Any

import yaml

PACKAGE = Path(__file__).parent.parent / "src" / "midfill" / "corpus" / "languages"
HAND_MADE = Path(__file__).parent / "languages_by_hand.txt"


class Hand:
    """The sections of the hand-made file: `[section]`, then `key: values` lines, `;` between values."""

    def __init__(self, path: Path) -> None:
        self.sections: dict[str, list[tuple[str, list[str]]]] = {}
        section: list[tuple[str, list[str]]] = []
        for line in path.read_text(encoding="utf-8").splitlines():
            if line.startswith("[") and line.endswith("]") and " : " not in line:
                section = self.sections.setdefault(line[1:-1], [])
            elif line.strip() and not line.startswith("%%"):
                key, _, values = line.partition(" : ")
                section.append((key.strip(), [v.strip() for v in values.split(" ; ") if v.strip()]))

    def table(self, name: str) -> dict[str, list[str]]:
        """A section as a mapping; a key that comes twice keeps all its values."""
        table: dict[str, list[str]] = {}
        for key, values in self.sections[name]:
            table.setdefault(key, []).extend(values)
        return table


def plain(name: str) -> str:
    """A name without case, blanks and punctuation, to compare vocabularies by."""
    return re.sub(r"[^a-z0-9+#*]", "", name.lower())


class Names:
    """Which of the 338 names a linguist name stands for."""

    def __init__(self, wanted: list[str], linguist: dict[str, Any], hand: Hand) -> None:
        self.linguist = linguist
        self.by_plain = {plain(name): name for name in wanted}
        self.renamed = {key: values[0] for key, values in hand.table("renamed").items()}
        self.apart = {key for key, _ in hand.sections["apart"]}

    def of(self, name: str) -> str | None:
        """The name on the list; None for a language outside it."""
        if name in self.renamed:
            return self.renamed[name]
        own = self.by_plain.get(plain(name))
        group = self.linguist.get(name, {}).get("group")
        if own is None and group not in (None, name) and name not in self.apart:
            return self.of(group)  # linguist's statistics count it as this one
        return own


def first_known(candidates: list[str], preferred: list[str]) -> list[str]:
    """The candidates, each once, the preferred ones first."""
    return list(dict.fromkeys([*(name for name in preferred if name), *candidates]))


class Index:
    """Candidates of every extension, file name, interpreter and editor mode."""

    def __init__(self) -> None:
        self.tables: dict[str, dict[str, list[str]]] = {
            "extensions": {}, "file_names": {}, "interpreters": {}, "modes": {},
        }  # fmt: skip

    def add(self, table: str, key: str, name: str) -> None:
        """Let a key stand for one more language."""
        found = self.tables[table].setdefault(key, [])
        if name not in found:
            found.append(name)


def index_linguist(index: Index, names: Names, hand: Hand, outside: set[str]) -> None:
    """Enter linguist's languages: the listed ones under their names here, the others as outside."""
    dropped = {(key, value) for key, values in hand.sections["not"] for value in values}
    for name, entry in names.linguist.items():
        own = names.of(name)
        if own is None:
            outside.add(name)
        called = own or name
        for table, field in (
            ("extensions", "extensions"), ("file_names", "filenames"),
            ("interpreters", "interpreters"),
        ):  # fmt: skip
            for key in entry.get(field, []):
                if (key, called) not in dropped:
                    index.add(table, key, called)
        for mode in [name.lower().replace(" ", "-"), *entry.get("aliases", [])]:
            index.add("modes", mode.lower(), called)


def index_hand(index: Index, hand: Hand) -> None:
    """Enter what was added by hand: `.x` an extension, `#!x` an interpreter, `-*-x` a mode."""
    for name, keys in hand.table("added").items():
        for key in keys:
            if key.startswith("#!"):
                index.add("interpreters", key[2:], name)
            elif key.startswith("-*-"):
                index.add("modes", key[3:], name)
            elif key.startswith("="):
                index.add("file_names", key[1:], name)
            else:
                index.add("extensions", key, name)


def order(index: Index, hand: Hand, popular: list[str], outside: set[str]) -> None:
    """Put the likeliest candidate first: as the hand-made file says, else the popular ones."""
    for table in ("extensions", "file_names", "interpreters", "modes"):
        chosen = hand.table("likeliest") if table == "extensions" else {}
        for key, candidates in index.tables[table].items():
            known = sorted(candidates, key=lambda name: (name not in popular, name in outside))
            index.tables[table][key] = first_known(known, chosen.get(key, []))


POSIX_CLASSES = {"[:alpha:]": "A-Za-z", "[:space:]": r"\s", "[:digit:]": "0-9"}


def python_pattern(pattern: str) -> str | None:
    """A Ruby pattern as one for `re` with MULTILINE and ASCII; None where there is no such thing.

    `^\\s*` becomes `^[ \\t]*`, which finds the same lines without walking blank lines again from
    each of them; a run of other characters at the start of a line stays in that line likewise.
    """
    if r"\g<" in pattern or "(?<ipv4>" in pattern:
        return None
    pattern = pattern.replace("(?-m)", "").replace(r"\z", r"\Z")
    pattern = pattern.replace(r"[\s&&[^\r\n]]", r"[ \t]")
    for name, members in POSIX_CLASSES.items():
        pattern = pattern.replace(name, members)
    pattern = pattern.replace(r"^\s*", r"^[ \t]*").replace(r"^\s+", r"^[ \t]+")
    found = re.search(r"\(\?([a-z]+)\)", pattern)
    if found:
        flags = found[1].replace("m", "s")  # Ruby's m lets a dot match line ends
        pattern = f"(?{flags})" + pattern.replace(found[0], "", 1)
        if flags != found[1] or found.start() > 0:
            inner = pattern[len(flags) + 3 :]
            pattern = f"(?{flags}:{inner})"
    pattern = re.sub(r"(\^(?:\[\^[^\]\\]+\])?\[\^)([^\]\\]+)(\][*+])", r"\1\2\\n\3", pattern)
    re.compile(pattern, re.MULTILINE | re.ASCII)
    return pattern


def required(parsed: Any) -> list[str] | None:
    """Texts of which one occurs wherever the pattern matches; None where no such set is known."""
    found: list[list[str]] = []
    run = ""
    for op, value in parsed:
        if op is ops.LITERAL:
            run += chr(value)
            continue
        found.append([run])
        run = ""
        found.append(required_of(op, value) or [""])
    found.append([run])
    best = max(found, key=lambda texts: (min(map(len, texts)), -len(texts)))
    return sorted(set(best)) if min(map(len, best)) > 1 else None


def required_of(op: Any, value: Any) -> list[str] | None:
    """The same for one part of a pattern."""
    if op is ops.SUBPATTERN:
        return None if value[1] & re.IGNORECASE else required(value[3])
    if op in (ops.MAX_REPEAT, ops.MIN_REPEAT, ops.POSSESSIVE_REPEAT):
        return required(value[2]) if value[0] else None
    if op is ops.ATOMIC_GROUP:
        return required(value)
    if op is ops.BRANCH:
        branches = [required(branch) for branch in value[1]]
        return None if None in branches else [text for one in branches for text in one or ()]
    return None


def with_required(pattern: str) -> list[Any]:
    """A pattern and the texts it cannot do without: looking for those is much faster."""
    parsed = parser.parse(pattern, re.MULTILINE | re.ASCII)
    known = None if parsed.state.flags & re.IGNORECASE else required(parsed)
    return [pattern, known] if known else [pattern]


def as_list(value: str | list[str]) -> list[str]:
    """One or several, as several."""
    return value if isinstance(value, list) else [value]


def conditions(rule: dict[str, Any], named: dict[str, Any]) -> list[dict[str, Any]] | None:
    """What must hold for a rule: each is any of some patterns, or none of them. None: no twin."""
    parts = rule.get("and", [rule])
    result = []
    for part in parts:
        for key, absent in (
            ("pattern", False),
            ("named_pattern", False),
            ("negative_pattern", True),
        ):
            if key not in part:
                continue
            source = named[part[key]] if key == "named_pattern" else part[key]
            patterns = [python_pattern(one) for one in as_list(source)]
            if None in patterns:
                return None
            result.append(
                {"any": [with_required(one) for one in patterns if one]}
                | ({"absent": True} if absent else {})
            )
    return result


def linguist_rules(heuristics: dict[str, Any], names: Names) -> dict[str, list[dict[str, Any]]]:
    """Rules by extension, in linguist's order, languages under their names here."""
    by_extension: dict[str, list[dict[str, Any]]] = {}
    for block in heuristics["disambiguations"]:
        rules = []
        for rule in block["rules"]:
            needs = conditions(rule, heuristics["named_patterns"])
            language = as_list(rule["language"])[0] if "language" in rule else None
            if needs is None or language is None:
                continue
            rules.append({"language": names.of(language) or language, "all": needs})
        for extension in block["extensions"]:
            by_extension[extension] = rules
    return by_extension


def hand_rules(hand: Hand) -> dict[str, list[dict[str, Any]]]:
    """Rules of our own by extension; they are asked before linguist's."""
    by_extension: dict[str, list[dict[str, Any]]] = {}
    for key, patterns in hand.sections["rules"]:
        extension, _, language = key.partition(" ")
        rule = {"language": language, "all": [{"any": [with_required(p) for p in patterns]}]}
        by_extension.setdefault(extension, []).append(rule)
    return by_extension


def all_rules(heuristics: dict[str, Any], names: Names, hand: Hand) -> dict[str, Any]:
    """Ours, then linguist's. A rule whose language is settled by its place (always true) ends a list."""
    merged = hand_rules(hand)
    skipped = {key for key, _ in hand.sections["rules instead"]}
    for extension, rules in linguist_rules(heuristics, names).items():
        if extension not in skipped:
            merged.setdefault(extension, []).extend(rules)
    return dict(sorted(merged.items()))


def languages(wanted: list[str], names: Names, hand: Hand) -> dict[str, dict[str, Any]]:
    """Kind and comment marks of every listed name, and of those that only V1 has."""
    kinds = {names.of(key): entry["type"] for key, entry in names.linguist.items() if names.of(key)}
    kinds |= {key: entry["type"] for key, entry in names.linguist.items() if plain(key) in
              {plain(name) for name in wanted} and names.of(key) == key}  # fmt: skip
    for kind, members in hand.table("kinds").items():
        kinds |= dict.fromkeys(members, kind)
    lines = {
        name: mark.replace("_", " ")
        for mark, members in hand.table("line comments").items()
        for name in members
    }
    blocks = {name: mark.split(" ... ") for mark, members in hand.table("block comments").items()
              for name in members}  # fmt: skip
    v1 = set(hand.table("v1")["names"])
    result = {}
    for name in [*wanted, *hand.table("v1")["only"], *hand.table("v1")["prose"]]:
        kind = kinds.get(name) or names.linguist[name]["type"]
        entry: dict[str, Any] = {"kind": kind}
        if name in lines:
            entry["line"] = lines[name]
        if name in blocks:
            entry["block"] = blocks[name]
        if name in v1 or name in hand.table("v1")["only"]:
            entry["v1"] = True
        result[name] = entry
    return result


def check(tables: dict[str, Any], hand: Hand) -> None:
    """Refuse a hand-made file that names a language nobody knows."""
    known = set(tables["languages"]) | set(tables["outside"])
    used = {name for key, values in hand.sections["likeliest"] for name in values}
    used |= set(hand.table("added")) | {key.partition(" ")[2] for key, _ in hand.sections["rules"]}
    used |= {name for section in ("kinds", "line comments", "block comments")
             for _, values in hand.sections[section] for name in values}  # fmt: skip
    if used - known:
        raise SystemExit(f"unknown names by hand: {sorted(used - known)}")


def write(path: Path, value: dict[str, Any]) -> None:
    """One line per entry, so that a change of the data shows as such in a diff."""
    lines = ["{"]
    for number, (key, entries) in enumerate(value.items()):
        if isinstance(entries, dict):
            body = [f"  {json.dumps(k, ensure_ascii=False)}: {json.dumps(v, ensure_ascii=False)}"
                    for k, v in entries.items()]  # fmt: skip
            text = "{\n" + ",\n".join(body) + "\n }"
        else:
            text = json.dumps(entries, ensure_ascii=False)
        lines.append(f" {json.dumps(key)}: {text}" + ("," if number < len(value) - 1 else ""))
    path.write_text("\n".join([*lines, "}"]) + "\n", encoding="utf-8")


def main() -> None:
    """Write languages.json and rules.json."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=os.environ.get("MIDFILL_DATA"))
    parser.add_argument("--out", type=Path, default=PACKAGE)
    args = parser.parse_args()
    if args.data is None:
        raise SystemExit("say where the lists are: --data FOLDER or MIDFILL_DATA")
    lists = Path(args.data) / "lists"
    read = lambda name: (lists / name).read_text(encoding="utf-8")  # noqa: E731
    wanted = read("deepseek-coder-v2-languages.txt").split("\n")
    wanted = [name.strip() for name in wanted if name.strip()]
    linguist = yaml.safe_load(read("linguist-languages.yml"))
    heuristics = yaml.safe_load(read("linguist-heuristics.yml"))
    hand = Hand(HAND_MADE)
    names = Names(wanted, linguist, hand)
    index, outside = Index(), {name for name, _ in hand.sections["outside"]}
    index_linguist(index, names, hand, outside)
    index_hand(index, hand)
    order(index, hand, hand.table("popular")["names"], outside)
    tables = {"languages": languages(wanted, names, hand), "outside": sorted(outside)}
    tables |= {name: dict(sorted(table.items())) for name, table in index.tables.items()}
    tables["generic"] = hand.table("generic")["extensions"]
    check(tables, hand)
    write(args.out / "languages.json", tables)
    rules = all_rules(heuristics, names, hand)
    write(args.out / "rules.json", {"extensions": rules})
    print(f"{len(wanted)} languages, {len(outside)} outside, {len(rules)} extensions with rules")


if __name__ == "__main__":
    main()
