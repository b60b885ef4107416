"""Building, caching, loading and running compiled models."""
