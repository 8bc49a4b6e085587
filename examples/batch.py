"""Complete several prompts at once, sampled: `python examples/batch.py [MODEL]`."""

import sys

import midfill

coder = midfill.load(sys.argv[1] if sys.argv[1:] else None)

prompts = ["def is_prime(n):", "def factorial(n):", "def mean(numbers):"]
answers = coder.complete(prompts, max_tokens=64, temperature=0.7, top_p=0.9, stop="\n\n")
for prompt, answer in zip(prompts, answers, strict=True):
    print(prompt + answer.text, end="\n\n")
