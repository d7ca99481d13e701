"""The processes of a daemon: how they start, are kept running, and end."""
