"""An exam beside an earlier one of the same patient."""
