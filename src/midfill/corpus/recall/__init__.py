"""Recalling code and mathematics from the web and from GitHub. Source: DeepSeek-Coder-V2 2."""
