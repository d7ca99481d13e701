"""Sockets and HTTP, shared by everything that accepts connections or follows addresses."""
