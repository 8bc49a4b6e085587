"""Makes the arrays of an index out of texts."""

from collections.abc import Sequence
from dataclasses import replace
from itertools import accumulate
from typing import Any

import numpy as np
from numpy.typing import NDArray

from midfill.config.corpus.decontamination import LONGEST_GRAM, Decontamination
from midfill.corpus.decontamination.items import Item
from midfill.corpus.decontamination.words import (
    apart,
    fold,
    in_addresses,
    is_informative,
    marks_of,
    words,
)

Ints = NDArray[np.integer]
_AT_ONCE = 1 << 18  # grams, so that a large index needs little memory


def arrays(items: Sequence[Item], config: Decontamination) -> dict[str, Any]:
    """The fields of `Index` for sorted items."""
    whole_texts = _whole_texts(items, config)
    too_short = sum(len(words(item.text)) < config.shortest for item in items)
    items = sorted({form for item in items for form in _forms(item)})
    numbers: dict[str, int] = {}
    cut = [[numbers.setdefault(word, len(numbers)) for word in words(i.text)] for i in items]
    sizes = np.array([len(part) for part in cut], dtype=np.int64)
    stream = np.array([number for part in cut for number in part], dtype=np.int32)
    starts = np.concatenate([[0], np.cumsum(sizes)])[:-1].astype(np.int64)
    tasks = sorted({(item.set, item.task_id) for item in items})
    task_number = {task: number for number, task in enumerate(tasks)}
    task = np.array([task_number[i.set, i.task_id] for i in items], dtype=np.int64)
    solution = np.array([item.kind == "solution" for item in items], dtype=bool)
    data = np.array([item.kind == "data" for item in items], dtype=bool)

    window_at, window_task = _windows(starts, sizes, task, config.n)
    first, gram_of = _distinct(stream, window_at, np.full(len(window_at), config.n))
    gram_at = window_at[first]
    whole = np.flatnonzero((sizes >= config.shortest) & ((sizes < config.n) | solution))
    text_at, text_size, text_of = _texts(stream, starts, sizes, whole)
    owned_row = np.concatenate([gram_of, text_of + len(gram_at)])
    owned_task = np.concatenate([window_task, task[whole]])
    rows = len(gram_at) + len(text_at)

    known = np.array([is_informative(word) for word in numbers], dtype=bool)
    told = known[stream] & ~_linked(items, sizes)
    total = np.concatenate([[0], np.cumsum(told, dtype=np.int64)])
    informative = np.zeros(rows, dtype=np.int64)  # where a row says most, if it is in several texts
    np.maximum.at(informative, gram_of, total[window_at + config.n] - total[window_at])
    size = np.minimum(sizes[whole], LONGEST_GRAM)
    at_text = text_of + len(gram_at)
    np.maximum.at(informative, at_text, total[starts[whole] + size] - total[starts[whole]])
    is_solution = np.zeros(len(text_at), dtype=bool)
    is_solution[text_of[solution[whole]]] = True
    only_data = np.ones(len(text_at), dtype=bool)
    only_data[text_of[~data[whole]]] = False
    encoded = [word.encode("utf-8", "surrogatepass") for word in numbers]
    return {
        "tasks": tuple(tasks),
        "texts": tuple(whole_texts),
        "text_task": np.array([task_number[t] for t in whole_texts.values()], dtype=np.int64),
        "too_short": too_short,
        "words": np.frombuffer(b"".join(encoded), dtype=np.uint8),
        "ends": np.array(list(accumulate(map(len, encoded))), dtype=np.int64),
        "stream": stream,
        "gram_at": gram_at.astype(np.int32),
        "text_at": text_at.astype(np.int32),
        "text_size": text_size.astype(np.int32),
        "informative": informative.astype(np.uint8),
        "distinct": _different(stream, known, gram_at, config.n).astype(np.uint8),
        "only_data": only_data,
        "solution": np.concatenate([np.zeros(len(gram_at), dtype=bool), is_solution]),
        **_owners(owned_row, owned_task, tasks, rows),
        "frequent": np.zeros(0, dtype=np.int64),
    }


def _windows(starts: Ints, sizes: Ints, task: Ints, n: int) -> tuple[Ints, Ints]:
    """Where each gram of each text stands, and its task."""
    windows = np.maximum(sizes - n + 1, 0)
    owner = np.repeat(np.arange(len(sizes)), windows)
    offset = np.arange(len(owner)) - np.repeat(np.cumsum(windows) - windows, windows)
    return starts[owner] + offset, task[owner]


def _texts(stream: Ints, starts: Ints, sizes: Ints, whole: Ints) -> tuple[Ints, Ints, Ints]:
    """The distinct whole texts: place and words; and the text of each item of `whole`."""
    at, size = starts[whole], np.minimum(sizes[whole], LONGEST_GRAM)
    first, text = _distinct(stream, at, size)
    return at[first], size[first], text


def _linked(items: Sequence[Item], sizes: Ints) -> NDArray[np.bool_]:
    """Of each word of each item, whether it stands in an address."""
    linked = np.zeros(int(sizes.sum()), dtype=bool)
    ends = np.cumsum(sizes).tolist()
    for item, size, end in zip(items, sizes.tolist(), ends, strict=True):
        if "://" in item.text:
            linked[end - size : end] = in_addresses(item.text)
    return linked


def _different(stream: Ints, known: NDArray[np.bool_], at: Ints, n: int) -> Ints:
    """How many different informative words each gram has."""
    counts = np.zeros(len(at), dtype=np.int64)
    for start in range(0, len(at), _AT_ONCE):
        part = stream[at[start : start + _AT_ONCE, None] + np.arange(n)]
        part = np.sort(np.where(known[part], part, -1), axis=1)
        changes = (part[:, 1:] != part[:, :-1]).sum(axis=1)
        counts[start : start + _AT_ONCE] = changes + (part[:, 0] >= 0)
    return counts


def _distinct(stream: Ints, at: Ints, size: Ints) -> tuple[Ints, Ints]:
    """The first of each group of equal spans, in order of their places, and the group of each.

    Found by hash and then compared; on a collision another hash is taken.
    """
    if not len(at):
        return np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.int64)
    for salt in range(1, 100):
        hashes = np.zeros(len(at), dtype=np.uint64) + size.astype(np.uint64)
        for k in range(int(size.max())):
            inside = k < size
            word = stream[np.minimum(at + k, len(stream) - 1)].astype(np.uint64)
            hashes = np.where(inside, _mixed(hashes ^ _mixed(word + np.uint64(salt))), hashes)
        _, first, group = np.unique(hashes, return_index=True, return_inverse=True)
        if _equal(stream, at, size, first[group]):
            order = np.argsort(first)
            return first[order], np.argsort(order)[group]
    raise AssertionError("a hundred hashes in a row collided")


def _mixed(values: NDArray[np.uint64]) -> NDArray[np.uint64]:
    values = (values + np.uint64(0x9E3779B97F4A7C15)) * np.uint64(0xBF58476D1CE4E5B9)
    values ^= values >> np.uint64(29)
    return values * np.uint64(0x94D049BB133111EB) ^ (values >> np.uint64(32))


def _equal(stream: Ints, at: Ints, size: Ints, first: Ints) -> bool:
    """Whether every span equals the one it was grouped with."""
    if not np.array_equal(size, size[first]):
        return False
    last = len(stream) - 1
    return all(
        np.array_equal(
            stream[np.minimum(at + k, last)][k < size],
            stream[np.minimum(at[first] + k, last)][k < size],
        )
        for k in range(int(size.max()))
    )


def _owners(row: Ints, task: Ints, tasks: list[tuple[str, str]], rows: int) -> dict[str, object]:
    pairs = np.unique(row * max(len(tasks), 1) + task)
    row, task = np.divmod(pairs, max(len(tasks), 1))
    sets = {name: number for number, name in enumerate(dict.fromkeys(name for name, _ in tasks))}
    set_of = np.array([sets[name] for name, _ in tasks], dtype=np.int64)
    spread = np.zeros(rows, dtype=np.int64)
    if len(pairs):
        in_set, count = np.unique(row * len(sets) + set_of[task], return_counts=True)
        np.maximum.at(spread, in_set // len(sets), count)
    return {
        "spread": spread.astype(np.int32),
        "owner_ends": np.cumsum(np.bincount(row, minlength=rows)).astype(np.int64),
        "owners": task.astype(np.int32),
    }


def _forms(item: Item) -> list[Item]:
    """The item, and code also without its comments and docstrings, as it may be copied."""
    if item.kind not in ("solution", "program"):
        return [item]
    code, _ = apart(fold(item.text), marks_of(item.language))
    return [item, replace(item, text=code)] if words(code) != words(item.text) else [item]


def _whole_texts(items: Sequence[Item], config: Decontamination) -> dict[str, tuple[str, str]]:
    """Texts for the substring detector, each with a task, white space as one space."""
    texts: dict[str, tuple[str, str]] = {}
    for item in items if config.substring else ():
        text = " ".join(fold(item.text).split())
        if len(text) >= config.substring_characters:
            texts.setdefault(text, (item.set, item.task_id))
    return texts
