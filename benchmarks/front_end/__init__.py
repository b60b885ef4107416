"""Checking long files, compiling deep networks, and compiling again from the cache."""
