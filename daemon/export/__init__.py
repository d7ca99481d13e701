"""Sending results, and proof that they arrived."""
