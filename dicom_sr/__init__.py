"""From a study result to a TID 1500 report, its page, and a check of both."""
