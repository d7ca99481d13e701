"""Notices to people by webhook and e-mail: rate-limited, and without anything that identifies a patient."""
