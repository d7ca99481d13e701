"""The tables of an appendix: who the patients are, what each clinical fact tells, and how calls combine."""
