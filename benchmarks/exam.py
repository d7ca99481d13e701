"""A whole exam, from DICOM files on disk to `result.json` and SR: `axrad run` against itself with the plain engines.

The exam is a phantom of T1+C 448x448x160, T2 512x512x40, ADC 192x192x36 with a tumour of 26 mm and three nodes, and the
series that lie beside them in such an exam. The reference is the same program with `bias.engine = "simpleitk"` and
`features.engine = "plain"`. Every run is a process of its own, so start-up, reading and rendering are in it; the middle
of ours counts, the reference runs once, in between. Beside the time on the wall, which other work on the machine
lengthens, rows tell the processor's. `peak_mib` is of a run apart: what all processes of a run hold together, memory
that they share counted once.
"""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

import psutil

from benchmarks.features import largest_difference
from daemon.processes.supervisor import axrad_command
from pipeline.phantom.spec import Preset

Row = dict[str, object]
# The demonstration signature learnt on coarser phantoms: for the benchmark it answers all the same.
ANSWER = "[signature]\nmax_outside = 1.0\nmax_distance = 1e9\n"
SETTINGS = {
    "ours": ANSWER,
    "signature": ANSWER + '[features]\nset = "signature"\n',
    "reference": ANSWER + '[bias]\nengine = "simpleitk"\n[features]\nengine = "plain"\n',
}


@dataclass(frozen=True, slots=True)
class Run:
    """One process. `result`: the document that it wrote."""

    seconds: float
    cpu_s: float
    peak_mib: float
    result: Mapping[str, object]

    @property
    def features(self) -> dict[str, float]:
        found = self.result["features"]
        assert isinstance(found, dict)
        return found


def run(preset: Preset = "reference", repeats: int = 3) -> Iterator[Row]:
    """All features, then only those of the signature, each against the reference's run."""
    with tempfile.TemporaryDirectory(prefix="axrad-bench-") as scratch:
        folder = Path(scratch)
        # by a process of its own: the memory of this one would count for those that it starts
        phantom = ["phantom", "--seed", "3", "--preset", preset, "--out", str(folder / "exam")]
        subprocess.run([*axrad_command(), *phantom], check=True, stdout=subprocess.DEVNULL)
        before = [axrad_run(folder, "ours") for _ in range(max(1, repeats - 1))]
        reference = axrad_run(folder, "reference", watched=True)
        ours = middle([*before, *(axrad_run(folder, "ours") for _ in range(repeats - len(before)))])
        few = middle([axrad_run(folder, "signature") for _ in range(repeats)])
        peaks = {name: axrad_run(folder, name, watched=True).peak_mib for name in ("ours", "signature")}
    yield compared("exam, all features", replace(ours, peak_mib=peaks["ours"]), reference)
    yield compared("exam, a signature's features", replace(few, peak_mib=peaks["signature"]), reference)


def axrad_run(folder: Path, name: str, *, watched: bool = False) -> Run:
    """`axrad run` as a process. `watched`: its memory and that of its processes, which takes a little of its time.

    Raises RuntimeError with what it said if it fails.
    """
    config, out = folder / f"{name}.toml", folder / name
    config.write_text(SETTINGS[name], encoding="utf-8")
    command = [*axrad_command(), "run", str(folder / "exam"), "--out", str(out)]
    environ = {k: v for k, v in os.environ.items() if not k.startswith("AXRAD_")}
    started = time.perf_counter()
    with (folder / "said.txt").open("w+b") as said:
        process = subprocess.Popen(
            [*command, "--config", str(config)], env=environ, stdout=subprocess.DEVNULL, stderr=said
        )
        peak: list[float] = [0.0]
        watch = threading.Thread(target=note_memory, args=(process.pid, peak))
        if watched:
            watch.start()
        # wait4, not wait: it tells what the process used
        _, status, used = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - started
        process.returncode = os.waitstatus_to_exitcode(status)
        if watched:
            watch.join()
        if process.returncode:
            said.seek(0)
            raise RuntimeError(said.read()[-2000:].decode(errors="replace"))
    result = json.loads((out / "result.json").read_bytes())
    return Run(seconds, used.ru_utime + used.ru_stime, peak[0], result)


def note_memory(pid: int, peak_mib: list[float]) -> None:
    """The most that a process and those that it started hold together (proportional set size), into the list."""
    with suppress(psutil.NoSuchProcess):
        process = psutil.Process(pid)
        while process.status() != psutil.STATUS_ZOMBIE:
            held = 0
            for each in [process, *process.children(recursive=True)]:
                with suppress(psutil.NoSuchProcess, psutil.AccessDenied):
                    held += each.memory_full_info().pss
            peak_mib[0] = max(peak_mib[0], held / 2**20)
            time.sleep(0.05)


def middle(runs: list[Run]) -> Run:
    return sorted(runs, key=lambda r: r.seconds)[len(runs) // 2]


def compared(name: str, ours: Run, reference: Run) -> Row:
    """`max_rel_diff`: of the features that both have; the engines' bias fields agree to 1e-5, not to the bit."""
    common = {n: reference.features[n] for n in ours.features}
    return {
        "name": name,
        "ours": round(ours.seconds, 2),
        "reference": round(reference.seconds, 2),
        "unit": "s",
        "ratio": round(reference.seconds / ours.seconds, 1),
        "max_rel_diff": largest_difference(ours.features, common),
        "cpu_ours": round(ours.cpu_s, 2),
        "cpu_reference": round(reference.cpu_s, 2),
        "cpu_ratio": round(reference.cpu_s / ours.cpu_s, 1),
        "peak_mib": round(ours.peak_mib),
        "peak_mib_reference": round(reference.peak_mib),
        "stages_s": ours.result["timings_s"],
        "reference_stages_s": reference.result["timings_s"],
        "probability": [probability(ours.result), probability(reference.result)],
    }


def probability(result: Mapping[str, object]) -> object:
    prediction = result["prediction"]
    return prediction["probability"] if isinstance(prediction, dict) else None
