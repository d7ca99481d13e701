"""How well a signature works on cohorts: figures, CSV tables, plots and a page."""
