"""Continue a text: `python examples/completion.py [MODEL]`."""

import sys

import midfill
from midfill.hub import default_model

coder = midfill.load(sys.argv[1] if sys.argv[1:] else default_model())

prompt = "# quick sort\ndef quick_sort(arr):"
answer = coder.complete(prompt, max_tokens=128, stop="\n\n")
print(prompt + answer.text)
