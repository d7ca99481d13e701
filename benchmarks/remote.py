"""What an exam costs a worker without the spool: bytes and seconds over a line of so many megabits a second.

`script/bench remote --mbit-per-s 100`: the intake host's endpoint and a worker in one process; between them a process
passes answers on no faster than the line would. `ours`: seconds of the analysis, with what it fetches; `reference`:
with every file of the exam, as it is. `cpu_s`: of both ends and the analysis; `here_s`, `here_cpu_s`: with the spool.
`mb`: what crossed the line. `again_s`: until another revision has the same files. `max_rel_diff` 0: the result is that
of the worker with the spool, bit by bit.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import structlog

from benchmarks._delayed_line import Line, throttled
from pipeline.phantom import PhantomSpec, write_exam
from pipeline.phantom.spec import Preset
from tests.support.remote_exam import evaluated, without_times

BY_NAME_ONLY = True
SECTIONS = {"signature": {"max_outside": 1.0, "max_distance": 1e9}}


def run(preset: Preset = "reference", mbit_per_s: int = 100) -> Iterator[dict[str, object]]:
    # One line per exam would be printed beside the rows.
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger("error"))
    with tempfile.TemporaryDirectory(prefix="axrad-remote-") as scratch:
        folder = Path(scratch)
        files = write_exam(folder / "exam", PhantomSpec(seed=3, preset=preset)).paths
        with evaluated(folder / "here", files, SECTIONS, line=None) as here:
            expected = without_times(here.result)
        everything_s = 0.0
        for packed in (False, True):
            lines: list[Line] = []
            with ExitStack() as stack:

                def over(port: int, stack: ExitStack = stack, lines: list[Line] = lines) -> int:
                    lines.append(stack.enter_context(throttled(port, mbit_per_s)))
                    return lines[0].port

                name = "packed" if packed else "as it is"
                away = stack.enter_context(evaluated(folder / name, files, SECTIONS, line=over, packed=packed))
                carried = lines[0].answered.value
                exam, bring = away.exam
                began = time.perf_counter()
                bring(image for image in exam.images if image.path in away.copies)
                again_s = time.perf_counter() - began
                if not packed:
                    bring(exam.images)
                    everything_s = away.seconds + time.perf_counter() - began
                yield {
                    "name": f"an exam over {mbit_per_s} Mbit/s, {name}",
                    "ours": round(away.seconds, 2),
                    "reference": round(everything_s, 2),
                    "unit": "s",
                    "ratio": round(everything_s / away.seconds, 2),
                    "max_rel_diff": 0.0 if without_times(away.result) == expected else 1.0,
                    "mb": round(carried / 1e6, 1),
                    "mb_of_exam": round(sum(p.stat().st_size for p in files) / 1e6, 1),
                    "files": len(away.copies),
                    "files_of_exam": len(files),
                    "cpu_s": round(away.cpu_s, 2),
                    "here_s": round(here.seconds, 2),
                    "here_cpu_s": round(here.cpu_s, 2),
                    "again_s": round(again_s, 3),
                }
