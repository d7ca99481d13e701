"""`axrad console`: the pages in the browser. It reads the ledger and the spool; orders go to the command line."""
