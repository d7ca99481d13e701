"""Whether an exam is complete: a pure judgement on what has arrived."""

from daemon.assembly.answers import EVERYTHING, InUse, RecordedAnswer, expected_answer, side_answer
from daemon.assembly.judge import input_digest, judge, settling_verdict, too_many_verdict, why_not_chosen
from daemon.assembly.records import Answer, Arrived, Stored, Verdict, Wanted

__all__ = [
    "EVERYTHING",
    "Answer",
    "Arrived",
    "InUse",
    "RecordedAnswer",
    "Stored",
    "Verdict",
    "Wanted",
    "expected_answer",
    "input_digest",
    "judge",
    "settling_verdict",
    "side_answer",
    "too_many_verdict",
    "why_not_chosen",
]
