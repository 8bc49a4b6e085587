"""Weights to tokens: cache, sampler, generation, and the text layer on top."""
