"""Fill the hole in a function: `python examples/insertion.py MODEL`."""

import sys

import midfill
from midfill.errors import UserError

prefix = """\
def quick_sort(items):
    if len(items) <= 1:
        return items
    pivot, *rest = items
"""
suffix = "\n    return quick_sort(smaller) + [pivot] + quick_sort(larger)\n"

coder = midfill.load(sys.argv[1] if sys.argv[1:] else None)

try:
    answer = coder.fill(prefix, suffix, max_tokens=64)
except UserError as error:  # not every model was trained to fill; SmolLM2 was not
    print(f"{error}\n  try: {sys.argv[0]} qwen2.5-coder-1.5b-instruct-q4_k_m", file=sys.stderr)
    sys.exit(2)
print(prefix + answer.text + suffix, end="")
