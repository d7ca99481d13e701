"""What the operating system gives and takes: disk space, processes and their ends, locks."""
