"""Measurements of this compiler against what else there is."""
