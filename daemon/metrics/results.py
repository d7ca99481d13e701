"""Results, counted: predictions, abstentions, and by what a drift of signature or scanner is seen."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from types import MappingProxyType

from daemon.metrics import counters
from pipeline.result import StudyResult

UNKNOWN, OTHER = "unknown", "other"


def result_made(result: StudyResult, scanners: Mapping[str, str] = MappingProxyType({})) -> None:
    """What the drift of a signature, or of a scanner, is seen by. `scanners`: the site's table, `metrics.scanners`."""
    scanner = scanner_label(scanner_of(result), scanners)
    for step, seconds in result.timings_s.items():
        if step != "total":
            counters.STEP_SECONDS.labels(step).observe(seconds)
    if result.signature:
        facts = (result.signature.get(name) for name in ("name", "sha256", "demonstration"))
        counters.SIGNATURE_USED.labels(*(str(fact) for fact in facts)).set(time.time())
    for code in dict.fromkeys(result.reason_codes) if result.status == "not_evaluated" else ():
        counters.ABSTENTIONS.labels(code, scanner).inc()
    for _, part in result.parts():
        prediction = part.prediction
        if prediction is None:
            continue
        counters.PREDICTIONS.labels(prediction.signature, prediction.category, scanner).inc()
        counters.PROBABILITY.labels(prediction.signature, scanner).observe(prediction.probability)
        if not prediction.in_training_range:
            counters.OUTSIDE.labels(prediction.signature, scanner).inc()


def scanner_label(scanner: str, scanners: Mapping[str, str]) -> str:
    """A scanner as metrics name it: by the site's table. A header may say anything: what is not listed is "other"."""
    if scanner in ("", UNKNOWN):
        return UNKNOWN
    listed = {name.casefold(): label for name, label in scanners.items()}
    return listed.get(scanner.casefold(), OTHER)


def scanner_of(result: StudyResult) -> str:
    """Manufacturer and model, plain and short."""
    words = (str(result.protocol.get(name, "")) for name in ("manufacturer", "protocol.model"))
    return re.sub(r"[^\w .+-]+", " ", " ".join(w.strip() for w in words if w.strip()))[:64].strip() or UNKNOWN
