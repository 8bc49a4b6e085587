"""Syntax, readability and a learned score. Source: DeepSeek-Coder 2.4, which gives no details."""
