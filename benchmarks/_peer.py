"""One peer's features of every region of an exam on disk; run by the interpreter that has the peer installed.

    python _peer.py NAME FOLDER     FOLDER holds {sequence}.nii and {sequence}.{roi}.nii, and .nii.gz

Prints one JSON document: seconds, reading of the files included, and values by `{sequence}.{roi}.{name}` where `name`
is the peer's own. Knows nothing of axrad, so that a peer needs no more than itself.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from pathlib import Path


def flash_radiomics(image: Path, mask: Path) -> dict[str, float]:
    """BSD-3-Clause; names as PyRadiomics."""
    from flash_radiomics import RadiomicsFeatureExtractor

    parameters = {
        "setting": {"label": 1, "binWidth": 25, "additionalInfo": False},
        "imageType": {"Original": {}, "Wavelet": {}},
        "scalarFeatureClass": {c: [] for c in ("shape", "firstorder", "glcm", "gldm", "glrlm", "glszm", "ngtdm")},
        "spatialFeatureClass": None,
    }
    with tempfile.TemporaryDirectory() as scratch:
        extractor = RadiomicsFeatureExtractor(parameters, backend="cpu", num_threads=2)
        found = extractor.execute(str(image), str(mask), label=1, output_hdf5_path=f"{scratch}/features.h5")
    return _numbers(found)


def mirp(image: Path, mask: Path) -> dict[str, float]:
    """EUPL-1.2; names as IBSI. The original image only: its wavelet is another one."""
    from mirp import extract_features

    tables = extract_features(
        image=str(image),
        mask=str(mask),
        image_modality="mr",
        base_discretisation_method="fixed_bin_size_pyradiomics",
        base_discretisation_bin_width=25.0,
        ibsi_compliant=False,
        base_feature_families=["morphology", "statistics", "glcm", "glrlm", "glszm", "ngtdm", "ngldm"],
        glcm_spatial_method="3d_average",
        glrlm_spatial_method="3d_average",
        glszm_spatial_method="3d",
        ngtdm_spatial_method="3d",
        ngldm_spatial_method="3d",
    )
    return _numbers(tables[0].iloc[0].to_dict())


def nyxus(image: Path, mask: Path) -> dict[str, float]:
    """MIT; names of its own. The original image only: it has no wavelet. Without shape, on which it may abort."""
    from nyxus import Nyxus3D

    # a fixed number of grey levels; it has no fixed width
    groups = ["*3D_ALL_INTENSITY*", "*3D_GLCM*", "*3D_GLRLM*", "*3D_GLSZM*", "*3D_GLDM*", "*3D_NGTDM*"]
    engine = Nyxus3D(groups, coarse_gray_depth=64, n_feature_calc_threads=2)
    found = engine.featurize_files([str(image)], [str(mask)], False)
    return _numbers(found.iloc[0].to_dict())


def _numbers(found: dict[str, object]) -> dict[str, float]:
    values = {}
    for name, value in found.items():
        try:
            values[str(name)] = float(value)  # type: ignore[arg-type]
        except (TypeError, ValueError):
            continue
    return values


def main(name: str, folder: Path) -> None:
    extract = {"flash-radiomics": flash_radiomics, "mirp": mirp, "nyxus": nyxus}[name]
    values: dict[str, float] = {}
    end = ".nii.gz" if name == "nyxus" else ".nii"
    started = time.perf_counter()
    for mask in sorted(folder.glob(f"*.*{end}")):
        region = mask.name.removesuffix(end)
        if "." not in region:
            continue
        image = folder / f"{region.partition('.')[0]}{end}"
        values |= {f"{region}.{key}": value for key, value in extract(image, mask).items()}
    print("\n" + json.dumps({"seconds": time.perf_counter() - started, "values": values}))


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
