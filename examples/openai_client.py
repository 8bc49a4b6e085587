"""The OpenAI client and a running `midfill serve`: `python examples/openai_client.py [URL]`."""

import sys

from openai import OpenAI

url = sys.argv[1] if sys.argv[1:] else "http://127.0.0.1:8000/v1"
client = OpenAI(base_url=url, api_key="none")
model = client.models.list().data[0].id

answer = client.completions.create(model=model, prompt="def fibonacci(n):", max_tokens=64)
print(answer.choices[0].text)

messages = [{"role": "user", "content": "What is a prime number?"}]
stream = client.chat.completions.create(model=model, messages=messages, max_tokens=64, stream=True)
for chunk in stream:
    print(chunk.choices[0].delta.content or "", end="", flush=True)
print()
