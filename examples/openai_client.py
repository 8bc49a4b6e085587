"""The OpenAI client and a running `midfill serve`: `python examples/openai_client.py [URL]`."""

import sys

from openai import OpenAI

url = sys.argv[1] if sys.argv[1:] else "http://127.0.0.1:8000/v1"
client = OpenAI(base_url=url, api_key="none")
model = client.models.list().data[0].id

prompt = "def fibonacci(n):"
answer = client.completions.create(model=model, prompt=prompt, max_tokens=64, temperature=0)
print(prompt + answer.choices[0].text)

messages = [{"role": "user", "content": "What is a prime number?"}]
for chunk in client.chat.completions.create(
    model=model, messages=messages, max_tokens=64, temperature=0, stream=True
):
    print(chunk.choices[0].delta.content or "", end="", flush=True)
print()
