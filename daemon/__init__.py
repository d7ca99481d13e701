"""The processes: listener, indexer, sweep, tasks, export, command line."""
