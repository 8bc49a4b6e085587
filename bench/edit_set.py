"""Texts for bench/lookup_gain.py: files to be rewritten with a small change, and free questions.

Each case names a file, says the change in words, and gives it as replacements, so that the wanted
result is known too. All of it was written for this benchmark.
"""

from dataclasses import dataclass

INVENTORY = '''\
"""Keep track of what is in stock."""

from dataclasses import dataclass, field


@dataclass
class Item:
    """One kind of thing on the shelf."""

    name: str
    price: float
    count: int = 0
    tags: list[str] = field(default_factory=list)

    def value(self):
        """Price of everything of this kind."""
        return self.price * self.count


class Inventory:
    """All items by name."""

    def __init__(self):
        self.items = {}

    def add(self, name, price, count=1):
        """Put some of an item on the shelf."""
        if name in self.items:
            self.items[name].count += count
            self.items[name].price = price
        else:
            self.items[name] = Item(name, price, count)

    def remove(self, name, count=1):
        """Take some of an item away."""
        item = self.items[name]
        if item.count < count:
            raise ValueError(f"only {item.count} of {name} left")
        item.count -= count
        if item.count == 0:
            del self.items[name]

    def total(self):
        """Value of the whole stock."""
        result = 0
        for item in self.items.values():
            result += item.value()
        return result

    def find(self, tag):
        """Names of the items that have a tag."""
        return [item.name for item in self.items.values() if tag in item.tags]

    def report(self):
        """A table of everything, one line per item."""
        lines = []
        for item in sorted(self.items.values(), key=lambda item: item.name):
            lines.append(f"{item.name:20} {item.count:5} {item.price:8.2f} {item.value():10.2f}")
        lines.append(f"total {self.total():10.2f}")
        return "\\n".join(lines)
'''

LOGS = '''\
"""Read a web server's log and count what was asked for."""

import argparse
import re
import sys
from collections import Counter

LINE = re.compile(
    r'(?P<host>\\S+) \\S+ \\S+ \\[(?P<time>[^\\]]+)\\] '
    r'"(?P<method>[A-Z]+) (?P<path>\\S+) [^"]*" (?P<status>\\d{3}) (?P<size>\\d+|-)'
)


def parse(line):
    """The parts of one line as a dict, or None where it is not a request."""
    match = LINE.match(line)
    if match is None:
        return None
    parts = match.groupdict()
    parts["status"] = int(parts["status"])
    parts["size"] = 0 if parts["size"] == "-" else int(parts["size"])
    return parts


def count(lines, key):
    """How often each value of a part occurs."""
    counter = Counter()
    for line in lines:
        parts = parse(line)
        if parts is not None:
            counter[parts[key]] += 1
    return counter


def traffic(lines):
    """Bytes sent for each path."""
    sizes = Counter()
    for line in lines:
        parts = parse(line)
        if parts is not None and parts["status"] == 200:
            sizes[parts["path"]] += parts["size"]
    return sizes


def show(counter, most):
    """Print the most frequent values."""
    for value, number in counter.most_common(most):
        print(f"{number:10} {value}")


def main():
    """Read the log that is given, or standard input."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("file", nargs="?")
    parser.add_argument("--key", default="path", choices=["host", "path", "status", "method"])
    parser.add_argument("--traffic", action="store_true")
    parser.add_argument("--most", type=int, default=10)
    args = parser.parse_args()
    source = open(args.file) if args.file else sys.stdin
    with source:
        counter = traffic(source) if args.traffic else count(source, args.key)
    show(counter, args.most)


if __name__ == "__main__":
    main()
'''

MATRIX = '''\
"""Small matrices as lists of rows."""


def zeros(rows, columns):
    """A matrix of zeros."""
    return [[0] * columns for _ in range(rows)]


def identity(size):
    """Ones on the diagonal, zeros elsewhere."""
    result = zeros(size, size)
    for i in range(size):
        result[i][i] = 1
    return result


def shape(matrix):
    """Number of rows and of columns."""
    return len(matrix), len(matrix[0])


def transpose(matrix):
    """Rows become columns."""
    rows, columns = shape(matrix)
    result = zeros(columns, rows)
    for i in range(rows):
        for j in range(columns):
            result[j][i] = matrix[i][j]
    return result


def add(a, b):
    """Sum of two matrices of the same shape."""
    rows, columns = shape(a)
    result = zeros(rows, columns)
    for i in range(rows):
        for j in range(columns):
            result[i][j] = a[i][j] + b[i][j]
    return result


def multiply(a, b):
    """Product of two matrices."""
    rows, inner = shape(a)
    columns = shape(b)[1]
    result = zeros(rows, columns)
    for i in range(rows):
        for j in range(columns):
            for k in range(inner):
                result[i][j] += a[i][k] * b[k][j]
    return result


def power(matrix, exponent):
    """A square matrix multiplied by itself so many times."""
    result = identity(len(matrix))
    while exponent > 0:
        if exponent % 2 == 1:
            result = multiply(result, matrix)
        matrix = multiply(matrix, matrix)
        exponent //= 2
    return result


def trace(matrix):
    """Sum of the diagonal."""
    total = 0
    for i in range(len(matrix)):
        total += matrix[i][i]
    return total
'''

QUEUE = '''\
"""Run jobs in the background, the urgent ones first."""

import heapq
import itertools
import threading
import time


class Job:
    """Something to do, how urgent it is, and what became of it."""

    def __init__(self, name, work, urgency=0):
        self.name = name
        self.work = work
        self.urgency = urgency
        self.result = None
        self.error = None
        self.done = threading.Event()

    def run(self):
        """Do it, and keep the result or the error."""
        try:
            self.result = self.work()
        except Exception as error:
            self.error = error
        finally:
            self.done.set()

    def wait(self, timeout=None):
        """The result, once there is one."""
        if not self.done.wait(timeout):
            raise TimeoutError(self.name)
        if self.error is not None:
            raise self.error
        return self.result


class Workers:
    """Some threads that take jobs from one queue."""

    def __init__(self, count=2):
        self.jobs = []
        self.order = itertools.count()
        self.condition = threading.Condition()
        self.closed = False
        self.threads = [threading.Thread(target=self.work, daemon=True) for _ in range(count)]
        for thread in self.threads:
            thread.start()

    def submit(self, name, work, urgency=0):
        """Queue a job."""
        job = Job(name, work, urgency)
        with self.condition:
            if self.closed:
                raise RuntimeError("the workers are closed")
            heapq.heappush(self.jobs, (-urgency, next(self.order), job))
            self.condition.notify()
        return job

    def work(self):
        """Take jobs until there are none and there will be none."""
        while True:
            with self.condition:
                while not self.jobs and not self.closed:
                    self.condition.wait()
                if not self.jobs:
                    return
                _, _, job = heapq.heappop(self.jobs)
            start = time.monotonic()
            job.run()
            job.seconds = time.monotonic() - start

    def close(self):
        """Finish what is queued and end."""
        with self.condition:
            self.closed = True
            self.condition.notify_all()
        for thread in self.threads:
            thread.join()
'''

TEXT = '''\
"""Helpers for plain text."""

import string
import unicodedata


def words(text):
    """The words of a text in lower case, without punctuation."""
    table = str.maketrans("", "", string.punctuation)
    return text.lower().translate(table).split()


def frequencies(text):
    """How often each word occurs."""
    counts = {}
    for word in words(text):
        if word not in counts:
            counts[word] = 0
        counts[word] += 1
    return counts


def slug(title):
    """A title as part of an address: letters, digits and hyphens."""
    plain = unicodedata.normalize("NFKD", title).encode("ascii", "ignore").decode()
    kept = [char if char.isalnum() else "-" for char in plain.lower()]
    return "-".join(part for part in "".join(kept).split("-") if part)


def wrap(text, width=72):
    """The text in lines of at most so many characters, where its words allow it."""
    lines = []
    line = ""
    for word in text.split():
        if line and len(line) + 1 + len(word) > width:
            lines.append(line)
            line = word
        else:
            line = f"{line} {word}" if line else word
    if line:
        lines.append(line)
    return "\\n".join(lines)


def is_palindrome(text):
    """Whether it reads the same backwards, blanks and signs aside."""
    letters = [char for char in text.lower() if char.isalnum()]
    return letters == letters[::-1]


def caesar(text, shift):
    """Each letter moved along the alphabet."""
    result = ""
    for char in text:
        if char in string.ascii_lowercase:
            result += chr((ord(char) - ord("a") + shift) % 26 + ord("a"))
        elif char in string.ascii_uppercase:
            result += chr((ord(char) - ord("A") + shift) % 26 + ord("A"))
        else:
            result += char
    return result
'''


@dataclass(frozen=True)
class Edit:
    """A file to be rewritten with a small change."""

    name: str
    source: str
    change: str
    replacements: tuple[tuple[str, str], ...]

    @property
    def target(self) -> str:
        """The file with the change."""
        text = self.source
        for old, new in self.replacements:
            assert old in text, (self.name, old)
            text = text.replace(old, new)
        return text

    @property
    def request(self) -> str:
        """What a user would say."""
        return (
            f"```python\n{self.source}```\n\n{self.change} Change nothing else. "
            "Answer with the complete file and nothing else."
        )


EDITS = (
    Edit("inventory: round", INVENTORY, "Let `Item.value` round to two decimals.",
         (("return self.price * self.count", "return round(self.price * self.count, 2)"),)),
    Edit("inventory: rename", INVENTORY, "Rename the attribute `count` of `Item` to `quantity`.",
         (("item.count", "item.quantity"), ("self.count", "self.quantity"),
          ("    count: int", "    quantity: int"), ("[name].count", "[name].quantity"))),
    Edit("logs: json", LOGS, "Add an option `--json` that prints the result as JSON instead.",
         (("import argparse\nimport re", "import argparse\nimport json\nimport re"),
          ('    parser.add_argument("--most"',
           '    parser.add_argument("--json", action="store_true")\n'
           '    parser.add_argument("--most"'),
          ("    show(counter, args.most)",
           "    if args.json:\n        print(json.dumps(dict(counter.most_common(args.most))))\n"
           "    else:\n        show(counter, args.most)"))),
    Edit("logs: redirects", LOGS, "In `traffic`, count every status below 400, not only 200.",
         (('parts["status"] == 200', 'parts["status"] < 400'),)),
    Edit("matrix: subtract", MATRIX, "Add a function `subtract` behind `add`.",
         (('def multiply(a, b):\n    """Product',
           'def subtract(a, b):\n    """Difference of two matrices of the same shape."""\n'
           "    rows, columns = shape(a)\n    result = zeros(rows, columns)\n"
           "    for i in range(rows):\n        for j in range(columns):\n"
           "            result[i][j] = a[i][j] - b[i][j]\n    return result\n\n\n"
           'def multiply(a, b):\n    """Product'),)),
    Edit("matrix: check", MATRIX, "Let `multiply` raise ValueError where the shapes do not fit.",
         (("    columns = shape(b)[1]\n",
           "    height, columns = shape(b)\n    if inner != height:\n"
           '        raise ValueError("the shapes do not fit")\n'),)),
    Edit("queue: typed", QUEUE, "Add type hints to the methods of `Job`.",
         (("def __init__(self, name, work, urgency=0):",
           "def __init__(self, name: str, work: Callable[[], Any], urgency: int = 0) -> None:"),
          ("    def run(self):", "    def run(self) -> None:"),
          ("def wait(self, timeout=None):", "def wait(self, timeout: float | None = None) -> Any:"),
          ("import time\n", "import time\nfrom collections.abc import Callable\n"
           "from typing import Any\n"))),
    Edit("queue: default", QUEUE, "Start four threads by default instead of two.",
         (("count=2", "count=4"),)),
    Edit("text: counter", TEXT, "Write `frequencies` with `collections.Counter`.",
         (("    counts = {}\n    for word in words(text):\n        if word not in counts:\n"
           "            counts[word] = 0\n        counts[word] += 1\n    return counts",
           "    return Counter(words(text))"),
          ("import unicodedata\n", "import unicodedata\nfrom collections import Counter\n"))),
    Edit("text: remove", TEXT, "Remove the function `is_palindrome`.",
         (('def is_palindrome(text):\n    """Whether it reads the same backwards, blanks and signs '
           'aside."""\n    letters = [char for char in text.lower() if char.isalnum()]\n'
           "    return letters == letters[::-1]\n\n\n", ""),)),
)  # fmt: skip

FREE = (
    "Explain in a few paragraphs how a hash table works and when it is slow.",
    "What happens between typing an address into a browser and seeing the page?",
    "Write a Python function that finds the longest common subsequence of two strings.",
    "Compare threads and processes: what is shared, what is not, when is each better?",
    "Write a short story about a lighthouse keeper who collects clocks.",
    "Write a C program that reads numbers and prints them sorted, with comments.",
    "Why do databases use B-trees rather than binary trees? Give the reasons in order.",
    "Describe how you would test a function that parses dates.",
)
