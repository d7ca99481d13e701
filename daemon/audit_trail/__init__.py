"""Where audit messages go: a file whose lines form a chain, and syslog."""
