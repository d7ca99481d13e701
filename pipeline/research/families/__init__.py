"""Families of signatures: which subsets of sequences and regions, trained, judged and compared on the same exams."""
