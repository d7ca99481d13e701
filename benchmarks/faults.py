"""Days of faults, one after the other, for a night: `script/bench faults --seeds 40`.

Seeds count from 9 (`--first`): the tests have the eight before. A day that fails leaves its story, with which
AXRAD_FAULT_SEEDS repeats it, in `faults-seed-N.txt`. Not run with the other benchmarks.
"""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
TEST = "tests/e2e/test_faults.py"
BY_NAME_ONLY = True


def run(seeds: int = 8, first: int = 9) -> Iterator[dict[str, object]]:
    """A row per day: whether every exam had its report, how long it took and what it cost (user + system)."""
    for seed in range(first, first + seeds):
        began, before = time.monotonic(), _spent_s()
        story, passed = day(seed)
        row: dict[str, object] = {"benchmark": "faults", "seed": seed, "passed": passed}
        row |= {"seconds": round(time.monotonic() - began, 1), "processor_s": round(_spent_s() - before, 1)}
        if not passed:
            path = ROOT / f"faults-seed-{seed}.txt"
            path.write_text(story, encoding="utf-8")
            row["story"] = path.name
        yield row


def day(seed: int) -> tuple[str, bool]:
    """What pytest says of one day, and whether all was well."""
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-s", "-p", "no:cacheprovider", TEST],
        cwd=ROOT, env={**os.environ, "AXRAD_FAULT_SEEDS": str(seed)}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    return done.stdout + done.stderr, done.returncode == 0


def _spent_s() -> float:
    """Of the processes that were waited for."""
    spent = resource.getrusage(resource.RUSAGE_CHILDREN)
    return spent.ru_utime + spent.ru_stime
