"""What one Python makes of a fixed table and image, as JSON: `python -m tests.support.other_pythons FILE.axsig`."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
CLASSIFIERS = ("svm", "logistic", "forest", "boosting")


def others() -> dict[str, Path]:
    """Version → Python, of each environment beside this one that has axrad in it (script/pythons makes them)."""
    here = f"3.{sys.version_info[1]}"
    found = {}
    for folder in sorted(ROOT.glob(".venv-3.*")):
        version = folder.name.removeprefix(".venv-")
        if version != here and (folder / "bin" / "axrad").exists() and not (folder / ".axrad-unfinished").exists():
            found[version] = folder / "bin" / "python"
    return found


def made_by(python: Path | str, file: Path) -> dict[str, Any]:
    """What that Python makes, and how it scores with the signature in the file."""
    done = subprocess.run(
        [python, "-m", "tests.support.other_pythons", file], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def make(file: Path) -> dict[str, Any]:
    import numpy as np

    from config.schema import Features, Training
    from pipeline.features import extract_sequence, from_settings
    from pipeline.signature import container, prediction
    from tests.support.radiomics import noise, region, volume
    from tests.support.signature_tables import frame, trained

    data = frame(cases=60, effect=1.2, seed=11)
    trained_here: dict[str, Any] = {}
    for kind in CLASSIFIERS:
        recipe = Training.model_validate({"classifier": kind, "trees": 20, "top": 5})
        signature = trained(data, recipe)
        decisions, probabilities = prediction.score(signature, data[list(signature.header.columns)].to_numpy())
        trained_here[kind] = {
            "columns": [*signature.header.columns],
            "groups": {name: group.model_dump() for name, group in signature.header.groups.items()},
            "numbers": [*decisions.tolist(), *probabilities.tolist(), signature.header.cutoff],
            "software": signature.header.software,
        }
    loaded = container.load(file)
    image = volume(noise((16, 18, 20)))
    mask = region(image, np.s_[4:10, 5:12, 6:14], holes=0.2)
    return {
        "trained": trained_here,
        "scores": [a.tolist() for a in prediction.score(loaded, data[list(loaded.header.columns)].to_numpy())],
        "features": dict(extract_sequence(image, {"tumor": mask}, from_settings(Features()))["tumor"].values),
    }


if __name__ == "__main__":
    json.dump(make(Path(sys.argv[1])), sys.stdout)
