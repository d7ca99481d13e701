"""One exam on several cores: fixed thread counts, and forked processes that end with their parent."""
