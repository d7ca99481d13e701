"""Cleaning the spool: files of exams that are done go, by age and when the disk fills; results and ledger stay."""

from daemon.retention.clean import Cleaned, clean

__all__ = ["Cleaned", "clean"]
