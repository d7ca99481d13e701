"""The broker: the embedded server, the transport to it, and what other programs keep there."""
