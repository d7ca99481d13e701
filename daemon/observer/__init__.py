"""`axrad observe`: figures from the ledger, checks by real traffic, the HTTP server for both."""
