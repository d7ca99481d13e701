"""What is held against a finished object before it is sent: its content, its numbers, and whose it says it is."""
