"""What readers and pathology say of our results, beside what was predicted."""
