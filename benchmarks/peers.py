"""Other programs for radiomics on the same exam, from the same files, in the same run.

`AXRAD_PEERS` names a folder with an environment per peer, as `script/peers-radiomics FOLDER` makes them (they are no
dependencies of ours); `AXRAD_PEERS_PYTHON` in its place the interpreter of one environment for all. Without either
there is nothing to compare, and a peer that is not installed is said to be skipped. Times are of the processor, reading
included and warm. A row says how many features both have under comparable definitions, and how many of them agree to
six digits.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from benchmarks._peer_names import NYXUS, PICTOLOGICS, RADIOMICSJ, plain
from benchmarks.features import Row, Scene, scene
from config.schema import Features
from pipeline.features import Parameters, from_settings
from pipeline.features.from_files import extract_files
from pipeline.features.ibsi import NAMES
from pipeline.features.reference_call import as_image, plain_call

AGREE = 1e-6
LIMIT_S = 1200


def run(shrink: int = 1) -> Iterator[Row]:
    """One row per peer that answers; the plain call first."""
    if not (os.environ.get("AXRAD_PEERS") or os.environ.get("AXRAD_PEERS_PYTHON")):
        print("peers: AXRAD_PEERS names no folder with peers' environments, so none is compared", file=sys.stderr)
        return
    every = from_settings(Features())
    original = replace(every, image_types={"Original": {}})
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        _write(scene(shrink), folder)
        _ours(folder, original)
        ours_all, values = _timed(partial(_ours, folder, every))
        ours_original, _ = _timed(partial(_ours, folder, original))
        seconds, plain = _timed(partial(_plain, folder, every))
        yield _row("PyRadiomics 3.0.1, plain call", ours_all, seconds, values, plain)
        for peer in ("pictologics", "fastrad", "radiomicsj", "flash-radiomics", "mirp", "nyxus"):
            answer = _ask(peer, folder)
            if answer is None:
                continue
            ours = ours_all if peer == "flash-radiomics" else ours_original
            label = peer + (", original + wavelet" if peer == "flash-radiomics" else ", original")
            yield _row(label, ours, answer[0], values, _renamed(peer, answer[1]))


def _write(exam: Scene, folder: Path) -> None:
    images = {str(sequence): as_image(v.voxels_zyx, v.geometry) for sequence, v in exam.volumes.items()}
    for (sequence, role), mask in exam.masks.items():
        images[f"{sequence}.{role}"] = as_image(mask.voxels_zyx.astype(np.uint8), mask.geometry)
    for name, image in images.items():
        for end in (".nii", ".nii.gz"):
            sitk.WriteImage(image, str(folder / f"{name}{end}"), useCompression=end == ".nii.gz", compressionLevel=1)


def _regions(folder: Path) -> Iterator[tuple[str, Path, Path]]:
    for mask in sorted(folder.glob("*.*.nii")):
        region = mask.name.removesuffix(".nii")
        yield region, folder / f"{region.partition('.')[0]}.nii", mask


def _ours(folder: Path, parameters: Parameters) -> dict[str, float]:
    return {
        f"{region}.{name}": value
        for region, image, mask in _regions(folder)
        for name, value in extract_files(image, mask, parameters).values.items()
    }


def _plain(folder: Path, parameters: Parameters) -> dict[str, float]:
    found: dict[str, float] = {}
    for region, image, mask in _regions(folder):
        answer = plain_call(sitk.ReadImage(str(image)), sitk.ReadImage(str(mask)), parameters)
        found |= {f"{region}.{name}": value for name, value in answer.values.items()}
    return found


def _timed(work: Callable[[], dict[str, float]]) -> tuple[float, dict[str, float]]:
    started = time.process_time()
    answer = work()
    return time.process_time() - started, answer


def _interpreter(peer: str) -> str | None:
    folder = os.environ.get("AXRAD_PEERS")
    if not folder:
        return os.environ["AXRAD_PEERS_PYTHON"]
    own = Path(folder) / peer / "bin" / "python"
    return str(own) if own.exists() else None


def _ask(peer: str, folder: Path) -> tuple[float, dict[str, float]] | None:
    python = _interpreter(peer)
    if python is None:
        print(f"peers: {peer} is not installed here, so it is skipped", file=sys.stderr)
        return None
    worker = Path(__file__).with_name("_peer.py")
    done = subprocess.run(
        [python, str(worker), peer, str(folder)], capture_output=True, text=True, timeout=LIMIT_S, check=False
    )
    if done.returncode:
        last = done.stderr.strip().rpartition("\n")[2]
        print(f"peers: {peer} gave no answer: {last}", file=sys.stderr)
        return None
    document = json.loads(done.stdout.strip().rpartition("\n")[2])
    return document["seconds"], document["values"]


def _renamed(peer: str, values: Mapping[str, float]) -> dict[str, float]:
    """Under PyRadiomics' names, as far as the peer has them."""
    if peer == "flash-radiomics":
        return dict(values)
    if peer == "fastrad":
        ours = {plain("_".join(parts)): "_".join(parts) for parts in from_settings(Features()).names()}
        regions = ((*full.split(".", 2), value) for full, value in values.items())
        return {f"{s}.{r}.{ours[plain(name)]}": value for s, r, name, value in regions if plain(name) in ours}
    found: dict[str, float] = {}
    tables = {"pictologics": PICTOLOGICS, "radiomicsj": RADIOMICSJ}
    for full, value in values.items():
        sequence, role, name = full.split(".", 2)
        if name in tables.get(peer, {}):
            found[f"{sequence}.{role}.{tables[peer][name]}"] = value
        elif peer == "nyxus" and name in NYXUS:
            found[f"{sequence}.{role}.original_firstorder_{NYXUS[name]}"] = value
        elif peer == "mirp":
            # `cm_contrast_d1_3d_avg_fbsp_w25.0` is IBSI's `cm_contrast_3D_avg`
            tag = name.replace("_d1", "").replace("_a0.0", "").partition("_fbsp")[0].replace("_3d", "_3D")
            if tag in NAMES:
                found[f"{sequence}.{role}.{NAMES[tag]}"] = value
    return found


def _row(label: str, ours_s: float, peer_s: float, ours: Mapping[str, float], theirs: Mapping[str, float]) -> Row:
    common = sorted(set(ours) & set(theirs))
    apart = [abs(theirs[n] - ours[n]) / abs(ours[n]) if ours[n] else abs(theirs[n]) for n in common]
    return {
        "name": f"peer: {label}",
        "ours": round(ours_s, 3),
        "reference": round(peer_s, 3),
        "unit": "s",
        "ratio": round(peer_s / ours_s, 1),
        "max_rel_diff": max(apart, default=float("nan")),
        "common": len(common),
        "agree": sum(difference <= AGREE for difference in apart),
    }
