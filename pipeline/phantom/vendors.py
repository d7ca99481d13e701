"""How three vendors name and tag their breast series.

Series names and tags follow what public collections of breast MR show (Imaging Data Commons) and what the vendors'
conformance statements say of b-values: Siemens (0019,100C), GE (0043,1039), Philips (2001,1003).
"""

from __future__ import annotations

from dataclasses import dataclass

from pydicom.dataset import Dataset

from pipeline.phantom.spec import Vendor

PHASES = 5  # one before contrast, four after
SECONDS_PER_PHASE = 90


@dataclass(frozen=True, slots=True)
class VendorStyle:
    manufacturer: str
    model: str
    software: str
    field_t: float
    bits_stored: int
    signed: bool
    rescale_slope: float | None
    localizer: str
    t2: str
    dce: tuple[str, ...]
    subtraction: str
    mip: str
    dwi: str
    adc: str
    one_series: bool
    image_types: dict[str, tuple[str, ...]]


STYLES: dict[Vendor, VendorStyle] = {
    "siemens": VendorStyle(
        "SIEMENS", "MAGNETOM Phantom", "syngo MR E11", 3.0, 12, False, None,
        "localizer", "t2_tse_tra_fs", ("t1_fl3d_tra_fs_dyn_1pre_4post",) * PHASES,
        "t1_fl3d_tra_fs_dyn_1pre_4post_SUB", "t1_fl3d_tra_fs_dyn_1pre_4post_SUB_MIP_TRA",
        "ep2d_diff_b0_b800_tra", "ep2d_diff_b0_b800_tra_ADC", False,
        {
            "localizer": ("ORIGINAL", "PRIMARY", "M", "NORM", "DIS2D"),
            "t2": ("ORIGINAL", "PRIMARY", "M", "NORM", "DIS2D"),
            "dce": ("ORIGINAL", "PRIMARY", "M", "NORM", "DIS3D"),
            "subtraction": ("DERIVED", "PRIMARY", "M", "NORM", "DIS3D", "SUB"),
            "mip": ("DERIVED", "PRIMARY", "PROJECTION IMAGE", "M", "NORM", "SUB", "MIP"),
            "dwi": ("ORIGINAL", "PRIMARY", "DIFFUSION", "NONE", "NORM", "DIS2D"),
            "adc": ("DERIVED", "PRIMARY", "DIFFUSION", "ADC", "NORM", "DIS2D"),
        },
    ),
    "ge": VendorStyle(
        "GE MEDICAL SYSTEMS", "SIGNA Phantom", "DV26.0", 1.5, 16, True, None,
        "3 plane loc SSFSE", "Ax T2 FSE FS",
        ("Ax VIBRANT MPh", *(f"Ph{phase}/Ax VIBRANT MPh" for phase in range(1, PHASES))),
        "SUB (401-400) Ax VIBRANT MPh", "MIP SUB Ax VIBRANT MPh",
        "Ax DWI b800", "ADC (10^-6 mm2/s)", False,
        {
            "localizer": ("ORIGINAL", "PRIMARY", "OTHER"),
            "t2": ("ORIGINAL", "PRIMARY", "OTHER"),
            "dce": ("ORIGINAL", "PRIMARY", "OTHER"),
            "subtraction": ("DERIVED", "SECONDARY", "COMBINED", "SUBTRACT"),
            "mip": ("DERIVED", "SECONDARY", "REFORMATTED", "MIP"),
            "dwi": ("ORIGINAL", "PRIMARY", "OTHER"),
            "adc": ("DERIVED", "SECONDARY", "ADC"),
        },
    ),
    "philips": VendorStyle(
        "Philips Medical Systems", "Ingenia Phantom", "5.4.1", 3.0, 12, False, 0.5,
        "SURVEY", "T2W_TSE_SPAIR", ("dyn_eTHRIVE",) * PHASES, "sSUB dyn_eTHRIVE", "Ax MIP sub post",
        "DWI_b0_b800", "dDWI_b0_b800", True,
        {
            "localizer": ("ORIGINAL", "PRIMARY", "M_FFE", "M", "FFE"),
            "t2": ("ORIGINAL", "PRIMARY", "M_SE", "M", "SE"),
            "dce": ("ORIGINAL", "PRIMARY", "M_FFE", "M", "FFE"),
            "subtraction": ("DERIVED", "PRIMARY", "SUBTRACTION", "M", "FFE"),
            "mip": ("DERIVED", "SECONDARY", "PROJECTION IMAGE", "M", "FFE"),
            "dwi": ("ORIGINAL", "PRIMARY", "M_SE", "M", "SE"),
            "adc": ("DERIVED", "PRIMARY", "ADC", "ADC", "UNSPECIFIED"),
        },
    ),
}  # fmt: skip


def tag_b_value(ds: Dataset, vendor: Vendor, b: float) -> None:
    """The b-value of one image, where this vendor puts it (GE has it in its private element only)."""
    if vendor == "siemens":
        block = ds.private_block(0x0019, "SIEMENS MR HEADER", create=True)
        block.add_new(0x0C, "IS", str(round(b)))
        ds.SequenceName = f"*ep_b{round(b)}" + ("t" if b else "")
    elif vendor == "ge":
        block = ds.private_block(0x0043, "GEMS_PARM_01", create=True)
        block.add_new(0x39, "IS", [str(round(b) + 1000000000), "8", "0", "0"])
    else:
        block = ds.private_block(0x2001, "Philips Imaging DD 001", create=True)
        block.add_new(0x03, "FL", b)
    if vendor != "ge":
        ds.DiffusionBValue = b
        ds.DiffusionDirectionality = "ISOTROPIC" if b else "NONE"
