"""One peer's features of every region of an exam on disk; run by the interpreter that has the peer installed.

    python _peer.py NAME FOLDER     FOLDER holds {sequence}.nii and {sequence}.{roi}.nii, and .nii.gz

Prints one JSON document: processor seconds, reading of the files included, and values by `{sequence}.{roi}.{name}`
where `name` is the peer's own. One region is extracted before the clock starts: what compiles does it then. Knows
nothing of axrad, so that a peer needs no more than itself.
"""

from __future__ import annotations

import json
import re
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


def pictologics(image: Path, mask: Path) -> dict[str, float]:
    """Apache-2.0; names end in IBSI's codes. The original image only: its wavelet is another one."""
    import nibabel  # its own reader of NIfTI
    from pictologics import RadiomicsPipeline

    # PyRadiomics' bins start at a multiple of their width
    inside = nibabel.load(image).get_fdata()[nibabel.load(mask).get_fdata() > 0]
    pipeline = RadiomicsPipeline(load_standard=False)
    pipeline.add_config(
        "peer",
        [
            {
                "step": "discretise",
                "params": {"method": "FBS", "bin_width": 25.0, "min_val": float(inside.min() // 25 * 25)},
            },
            {
                "step": "extract_features",
                "params": {"families": ["intensity", "morphology", "texture", "histogram"]},
            },
        ],
    )
    found = pipeline.run(image=str(image), mask=str(mask), config_names=["peer"])["peer"].to_dict()
    return _numbers({re.sub(r"^.*_(?=[A-Z0-9]{4}$)", "", str(name)): value for name, value in found.items()})


def fastrad(image: Path, mask: Path) -> dict[str, float]:
    """Apache-2.0; names as PyRadiomics, on PyTorch. The original image only: it has no wavelet."""
    import fastrad as program

    classes = ["shape", "firstorder", "glcm", "glrlm", "glszm", "gldm", "ngtdm"]
    asked = program.FeatureSettings(feature_classes=classes, bin_width=25.0, device="cpu")
    found = program.FeatureExtractor(asked).extract(*program.load_and_align(str(image), str(mask)))
    return _numbers({f"original_{name.removeprefix('original_')}": value for name, value in found.items()})


def radiomicsj(image: Path, mask: Path) -> dict[str, float]:
    """In Java, behind a wrapper on PyPI. The original image only."""
    import nibabel
    from radiomicsj.core import RadiomicsJExtractor

    extractor = RadiomicsJExtractor(use_gpu=False)
    extractor._RadiomicsJClass.BOOL_USE_FixedBinNumber = False
    extractor._RadiomicsJClass.binWidth = 25.0
    picture, region = nibabel.load(image), nibabel.load(mask)
    spacing = tuple(float(n) for n in picture.header.get_zooms()[:3])
    # its axes are z, y, x
    voxels, inside = picture.get_fdata().T, region.get_fdata().T
    return _numbers(extractor.execute(voxels, inside, spacing=spacing).iloc[0].to_dict())


def _numbers(found: dict[str, object]) -> dict[str, float]:
    values = {}
    for name, value in found.items():
        try:
            values[str(name)] = float(value)  # type: ignore[arg-type]
        except (TypeError, ValueError):
            continue
    return values


EXTRACT = {
    "flash-radiomics": flash_radiomics,
    "mirp": mirp,
    "nyxus": nyxus,
    "pictologics": pictologics,
    "fastrad": fastrad,
    "radiomicsj": radiomicsj,
}


def main(name: str, folder: Path) -> None:
    values: dict[str, float] = {}
    end = ".nii.gz" if name == "nyxus" else ".nii"
    pairs = []
    for mask in sorted(folder.glob(f"*.*{end}")):
        region = mask.name.removesuffix(end)
        if "." in region:
            pairs.append((region, folder / f"{region.partition('.')[0]}{end}", mask))
    extract = EXTRACT[name]
    # the smallest: slow programs have nothing to warm up
    extract(*min(pairs, key=lambda pair: pair[1].stat().st_size)[1:])
    started = time.process_time()
    for region, image, mask in pairs:
        values |= {f"{region}.{key}": value for key, value in extract(image, mask).items()}
    print("\n" + json.dumps({"seconds": time.process_time() - started, "values": values}))


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
