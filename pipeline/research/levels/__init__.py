"""Outcomes with more than two ordered levels, for research alone."""
