"""The spool for machines that do not have it: read by UID from the intake host, results written back to it."""
