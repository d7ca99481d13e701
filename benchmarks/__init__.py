"""Comparisons with a reference, both sides in one run."""
