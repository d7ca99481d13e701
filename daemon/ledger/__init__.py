"""The queue of record: every study's state is a row that anyone can read."""

from daemon.ledger.engine import Ledger, existing_ledger, open_ledger

__all__ = ["Ledger", "existing_ledger", "open_ledger"]
