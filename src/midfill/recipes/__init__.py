"""Functions that return a config: one per released size, and our own small ones."""
