"""Whether an exam is complete: a pure judgement on what has arrived."""

from daemon.assembly.judge import input_digest, judge, settling_verdict, too_many_verdict
from daemon.assembly.records import Answer, Arrived, Stored, Verdict, Wanted

__all__ = [
    "Answer",
    "Arrived",
    "Stored",
    "Verdict",
    "Wanted",
    "input_digest",
    "judge",
    "settling_verdict",
    "too_many_verdict",
]
