"""Asking archives what they have, and fetching from them what is missing here."""
