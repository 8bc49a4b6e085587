"""Benchmarks: asks a model, judges its answers, and says how sure the score is."""
