"""What other people's programs say about a DICOM file: their errors and warnings, as lines."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

PIXELMED = Path("/usr/share/java/pixelmed.jar")
# dciodvfy has no list of private schemes, so it warns of each use of one, declared or not.
_PRIVATE = re.compile(r"Unrecognized defined term = <99AXRAD>")
# Nor does it know private elements; that of our segmentations is the mark that they are ours.
_MARK = re.compile(r'"AXRAD SEGMENTATION"\)> - Unrecognized tag')
# dcentvfy takes AccessionNumber for the study's in one IOD and the series' in another.
_QUIRK = re.compile(r"AccessionNumber> IE <(Series|Study)> versus <(Series|Study)>")
# CID 100 is extensible, in PixelMed's own table too; its rules call every code not listed an error all the same. The
# group names no MR of the breast in any edition: its MRI of an unspecified body region would be silent, and wrong.
_BASELINE = re.compile(r'CODE \(121058,DCM,"Procedure reported"\): Code .* not found in context group 100')
# Notes on what DCMTK cannot do, not on the file: checks that it leaves out, character sets that it cannot convert.
_NOTE = re.compile(
    "does not support this Specific Character Set|Check for template constraints not yet supported|"
    "Reading unknown/unsupported SpecificCharacterSet|Cannot map Specific Character Set"
)


def _run(*command: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([str(c) for c in command], capture_output=True, text=True, errors="replace")


def dciodvfy(path: Path) -> list[str]:
    lines = _run("dciodvfy", "-new", path).stderr.splitlines()
    return [
        line
        for line in lines
        if line.startswith(("Error", "Warning")) and not (_PRIVATE.search(line) or _MARK.search(line))
    ]


def dcentvfy(paths: list[Path]) -> list[str]:
    done = _run("dcentvfy", *paths)
    lines = (done.stdout + done.stderr).splitlines()
    return [line for line in lines if line.startswith(("Error", "Warning")) and not _QUIRK.search(line)]


def _dcmtk(*command: str | Path) -> list[str]:
    done = _run(*command)
    lines = [li for li in done.stderr.splitlines() if li.startswith(("W:", "E:", "F:")) and not _NOTE.search(li)]
    return lines if done.returncode == 0 else [*lines, f"exit {done.returncode}"]


def dsrdump(path: Path) -> list[str]:
    return _dcmtk("dsrdump", "+Pu", path)


def dsr2xml(path: Path, folder: Path) -> list[str]:
    return _dcmtk("dsr2xml", path, folder / "sr.xml")


def dsr2html(path: Path, folder: Path) -> list[str]:
    return _dcmtk("dsr2html", path, folder / "sr.html")


def tid1500reader(path: Path, folder: Path) -> list[str]:
    """Its complaints, or nothing if it wrote the measurements that it found as JSON."""
    out = folder / "measurements.json"
    out.unlink(missing_ok=True)
    done = _run(Path(sys.executable).parent / "tid1500reader", "--inputDICOM", path, "--outputMetadata", out)
    if done.returncode == 0 and out.is_file():
        return []
    return (done.stdout + done.stderr).splitlines() or [f"exit {done.returncode}"]


def pixelmed(paths: list[Path]) -> dict[Path, list[str]]:
    """Errors and warnings of PixelMed's DicomSRValidator by file. Needs a JDK; about 10 s for its rules, then 5 s for a
    report of TID 1500 and next to nothing for one of TID 2000.

    The limits on XPath are Java's since version 17; the rules exceed them.
    """
    # A fifth of the processor time went into collecting garbage beside the work.
    alone = "-XX:+UseSerialGC"
    limits = [f"-Djdk.xml.xpath{name}=0" for name in ("ExprGrpLimit", "ExprOpLimit", "TotalOpLimit")]
    program = Path(__file__).parent / "java" / "ValidateReports.java"
    done = _run("java", "-Xmx3g", alone, *limits, "-cp", PIXELMED, program, *paths)
    found: dict[Path, list[str]] = {}
    for block in done.stdout.split("FILE ")[1:]:
        name, _, text = block.partition("\n")
        lines = text.splitlines()
        bad = [li for li in lines if li.startswith(("Error", "Warning")) or "illegal" in li]
        bad = [li for li in bad if not _BASELINE.search(li)]
        template = "TID_2000" if any("Found BasicTextSR IOD" in li for li in lines) else "TID_1500"
        if not any(f"Found Root Template {template}" in li for li in lines):
            bad.append(f"root template {template} not recognised")
        if not any("IOD validation complete" in li for li in lines):
            bad.append("validation did not complete")
        found[Path(name)] = bad
    return {path: found.get(path, [f"no answer: {done.stderr[-500:]}"]) for path in paths}
