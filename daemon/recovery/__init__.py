"""Recovery: backup and restore, and files whose readers died of them."""
