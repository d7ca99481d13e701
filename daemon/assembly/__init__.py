"""Is this exam complete? A pure judgement on what has arrived, in the order in which a person would ask."""

from daemon.assembly.judge import input_digest, judge, settling, too_many
from daemon.assembly.records import Answer, Arrived, Stored, Verdict, Wanted

__all__ = ["Answer", "Arrived", "Stored", "Verdict", "Wanted", "input_digest", "judge", "settling", "too_many"]
