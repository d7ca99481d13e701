"""From the journals of the spool to rows of the ledger, and the comparison of the two."""
