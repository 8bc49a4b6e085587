"""Twenty short functions that a tiny model learns by heart: a check that training works at all."""

SNIPPETS = (
    '''def clamp(value, low, high):
    """Keep a value between two bounds."""
    return max(low, min(value, high))
''',
    """def is_leap(year):
    if year % 400 == 0:
        return True
    return year % 4 == 0 and year % 100 != 0
""",
    """def read_lines(path):
    with open(path, encoding="utf-8") as file:
        return [line.rstrip("\\n") for line in file]
""",
    """def flatten(rows):
    for row in rows:
        yield from row
""",
    """def count_words(text):
    counts = {}
    for word in text.lower().split():
        counts[word] = counts.get(word, 0) + 1
    return counts
""",
    """def greatest_common_divisor(a, b):
    while b:
        a, b = b, a % b
    return abs(a)
""",
    """class Stack:
    def __init__(self):
        self.items = []

    def push(self, item):
        self.items.append(item)
""",
    """def mean(numbers):
    if not numbers:
        raise ValueError("the mean of nothing")
    return sum(numbers) / len(numbers)
""",
    """def binary_search(values, wanted):
    low, high = 0, len(values)
    while low < high:
        middle = (low + high) // 2
        if values[middle] < wanted:
            low = middle + 1
        else:
            high = middle
    return low
""",
    """def transpose(matrix):
    return [list(column) for column in zip(*matrix)]
""",
    """def retry(action, times=3):
    for attempt in range(times):
        try:
            return action()
        except OSError:
            if attempt == times - 1:
                raise
""",
    """def chunks(items, size):
    for start in range(0, len(items), size):
        yield items[start:start + size]
""",
    """def celsius_to_fahrenheit(degrees):
    return degrees * 9 / 5 + 32
""",
    """def without_duplicates(items):
    seen = set()
    kept = []
    for item in items:
        if item not in seen:
            seen.add(item)
            kept.append(item)
    return kept
""",
    """def parse_pair(text):
    key, sign, value = text.partition("=")
    if not sign:
        return key.strip(), None
    return key.strip(), value.strip()
""",
    """def fibonacci(n):
    previous, current = 0, 1
    for _ in range(n):
        previous, current = current, previous + current
    return previous
""",
    """def is_palindrome(text):
    letters = [c.lower() for c in text if c.isalnum()]
    return letters == letters[::-1]
""",
    """def merge(left, right):
    merged = dict(left)
    merged.update(right)
    return merged
""",
    """def distance(p, q):
    return math.sqrt((p.x - q.x) ** 2 + (p.y - q.y) ** 2)
""",
    """def roman_value(text):
    values = {"I": 1, "V": 5, "X": 10, "L": 50, "C": 100}
    total = 0
    for letter, behind in zip(text, text[1:] + " "):
        value = values[letter]
        total += -value if values.get(behind, 0) > value else value
    return total
""",
)
