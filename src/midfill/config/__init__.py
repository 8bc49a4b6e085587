"""Frozen dataclasses that configure every room; torch-free, so `--help` and `describe` are fast."""
