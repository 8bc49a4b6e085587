"""Ask for code and print the answer while it is written: `python examples/chat.py [MODEL]`."""

import sys

import midfill

coder = midfill.load(sys.argv[1] if sys.argv[1:] else None)

messages = [{"role": "user", "content": "Write a quick sort algorithm in Python."}]
for piece in coder.stream(messages, max_tokens=256):
    print(piece, end="", flush=True)
print()
