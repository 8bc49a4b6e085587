"""Continue a text: `python examples/completion.py [MODEL]`."""

import sys

import midfill

coder = midfill.load(sys.argv[1] if sys.argv[1:] else None)

prompt = "# quick sort\ndef quick_sort(arr):"
answer = coder.complete(prompt, max_tokens=128, stop="\n\n")
print(prompt + answer.text)
