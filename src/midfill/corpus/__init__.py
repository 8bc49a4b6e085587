"""Repositories and web pages to clean, ordered, deduplicated training documents."""
