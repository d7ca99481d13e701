"""One module per command; `daemon.main` loads only the one that was asked for."""
