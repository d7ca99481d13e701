"""Whole exams as scanners of each maker send them, and which of their series are T1+C, T2 and ADC."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from pipeline.catalog import InstanceFacts
from tests.support.exams import EPI, STIR, T1, T2, diffusion, series

Series = list[InstanceFacts]
GE, PHILIPS = "GE MEDICAL SYSTEMS", "Philips Medical Systems"
AGENT = {"ContrastBolusAgent": "Gadobutrol"}
DERIVED = {"ImageType": ["DERIVED", "SECONDARY"]}
ADC = {"ImageType": ["DERIVED", "PRIMARY", "ADC"]}
CORONAL = {"ImageOrientationPatient": [1.0, 0.0, 0.0, 0.0, 0.0, -1.0]}
SAGITTAL = [0.0, 1.0, 0.0, 0.0, 0.0, -1.0]


@dataclass(frozen=True)
class Case:
    """An exam, and the numbers of the series that are right; `phase` is which volume of T1+C."""

    parts: Sequence[Series]
    t1c: int
    phase: str
    t2: int = 2
    adc: int = 4


def rest(vendor: str = "SIEMENS") -> list[Series]:
    """What is around the dynamic: localizer, T2, diffusion and its map."""
    return [
        series(1, "localizer", slices=3, vendor=vendor, ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER"]),
        series(2, "t2_tse_tra", vendor=vendor, **T2),
        diffusion(3, "ep2d_diff", [0.0, 800.0], vendor=vendor),
        series(4, "ep2d_diff_ADC", vendor=vendor, **EPI, **ADC),
    ]


def t1(number: int, name: str, start_s: int, *, agent: bool = True, **tags: object) -> Series:
    return series(number, name, start_s=start_s, **{**T1, **(AGENT if agent else {}), **tags})  # type: ignore[arg-type]


def volumes(
    first: int, names: Sequence[str], *, pre: int = 1, tagged: bool = True, start_s: int = 600, **tags: object
) -> list[Series]:
    """One series per phase, 90 s apart; the first `pre` name no contrast agent."""
    return [t1(first + i, name, start_s + 90 * i, agent=tagged and i >= pre, **tags) for i, name in enumerate(names)]


def whole(number: int, name: str, phases: int, *, start_s: int = 600, interval_s: int = 90, **tags: object) -> Series:
    """All phases in one series, told apart by temporal position."""
    positions = [{"TemporalPositionIdentifier": p + 1} for p in range(phases)]
    given = {**T1, **AGENT, **tags}
    return series(number, name, phases=phases, start_s=start_s, interval_s=interval_s, per_phase=positions, **given)  # type: ignore[arg-type]


def ge(base: str, phases: int, *, first: int = 500, **tags: object) -> list[Series]:
    names = [base if not i else f"Ph{i}/{base}" for i in range(phases)]
    return [t1(first + i, name, 600 + 90 * i, **{"vendor": GE, **tags}) for i, name in enumerate(names)]


def sagittal(first: int, name: str, x_mm: float, start_s: int) -> list[Series]:
    """A unilateral sagittal dynamic of three volumes; x is the patient's left."""
    parts = volumes(first, [name] * 3, start_s=start_s, ImageOrientationPatient=SAGITTAL)
    return [
        [
            replace(i, tags={**i.tags, "ImagePositionPatient": [x_mm + 2.0 * (n % 6), -50.0, 50.0]})
            for n, i in enumerate(part)
        ]
        for part in parts
    ]


def dixon(base: str) -> list[Series]:
    words = {"W": "W", "F": "F", "opp": "OPP_PHASE", "in": "IN_PHASE"}
    return [
        t1(
            10 + 4 * p + n,
            f"{base}_{suffix}",
            600 + 90 * p,
            agent=p > 0,
            ImageType=["DERIVED", "PRIMARY", "DIXON", word],
        )
        for p in range(4)
        for n, (suffix, word) in enumerate(words.items())
    ]


def flex(phases: int = 4) -> list[Series]:
    return [
        t1(
            500 + 10 * n + p,
            f"{part}: {'' if not p else f'Ph{p}/'}Ax VIBRANT-Flex",
            600,
            vendor=GE,
            TriggerTime=9e4 * p,
        )
        for p in range(phases)
        for n, part in enumerate(("WATER", "FAT"))
    ]


def water_and_fat() -> Series:
    per_phase: list[dict[str, object]] = [
        {
            "TemporalPositionIdentifier": p // 2 + 1,
            "ImageType": ["ORIGINAL", "PRIMARY", "WF"[p % 2]],
            "AcquisitionTime": f"09{10 + p // 2}00",
        }
        for p in range(8)
    ]
    return series(10, "mDIXON_dyn", vendor=PHILIPS, phases=8, per_phase=per_phase, **T1, **AGENT)  # type: ignore[arg-type]


def without(*numbers: int) -> list[Series]:
    return [part for part in rest() if part[0].tags["SeriesNumber"] not in numbers]


DYN = volumes(10, ["t1 dyn"] * 4)
FIRST_OF_3 = "post 1 of 3"

CASES = {
    "Siemens, a series per phase, inline products": Case(
        [
            *rest(),
            *volumes(10, ["t1_fl3d_tra_dyna_spair_1+4"] * 5),
            t1(30, "t1_fl3d_tra_dyna_spair_1+4_SUB", 690, ImageType=["DERIVED", "PRIMARY", "M", "SUB"]),
            t1(31, "MPR cor post", 700, **DERIVED),
            t1(32, "t1_fl3d_tra_dyna_spair_1+4_SUB_MIP_TRA", 700, **DERIVED),
            t1(33, "t1_fl3d_tra_dyna_spair_1+4_WASH_IN", 700, **DERIVED),
        ],
        11,
        "post 1 of 4",
    ),
    "Siemens, Dixon parts": Case([*rest(), *dixon("t1_vibe_dixon_dyn")], 14, FIRST_OF_3),
    "Siemens, one series": Case([*rest(), whole(10, "t1_fl3d_dyn", 6)], 10, "post 1 of 5"),
    "Siemens, no agent named": Case([*rest(), *volumes(10, ["t1_vibe_dyn_fs"] * 5, tagged=False)], 11, "post 1 of 4"),
    "Siemens, motion-corrected copies": Case([*rest(), *DYN, *volumes(30, ["t1 dyn_MoCo"] * 4)], 11, FIRST_OF_3),
    "Siemens, time-resolved and usual": Case(
        [
            *rest(),
            t1(9, "t1_fl3d_pre", 400, agent=False, Rows=120),
            whole(10, "TWIST_dyn", 20, start_s=500, interval_s=4),
            *volumes(11, [f"t1_fl3d_post_{n}" for n in (1, 2, 3)], pre=0, Rows=120),
        ],
        11,
        FIRST_OF_3,
    ),
    "GE, phases after their mask": Case(
        [
            *rest(GE),
            *ge("Ax VIBRANT", 5),
            *(t1(600 + n, f"(1234/{500 + n}/1)-(1234/500/1)", 2000, vendor=GE) for n in (1, 2)),
            t1(700, "PJN", 2100, vendor=GE),
        ],
        501,
        "post 1 of 4",
    ),
    "GE, one series by trigger time": Case(
        [
            *rest(GE),
            series(
                10,
                "Ax VIBRANT MPh +C",
                vendor=GE,
                phases=5,
                interval_s=0,
                per_phase=[{"TriggerTime": 9e4 * n} for n in range(5)],
                **T1,  # type: ignore[arg-type]
                **AGENT,  # type: ignore[arg-type]
            ),
        ],
        10,
        "post 1 of 4",
    ),
    "GE, water and fat series": Case([*rest(GE), *flex()], 501, FIRST_OF_3),
    "GE, time-resolved and usual": Case(
        [
            *rest(GE),
            whole(10, "WATER: Ax DISCO 3s", 15, start_s=560, interval_s=3, Rows=90, vendor=GE),
            *ge("Ax VIBRANT +C", 4),
        ],
        501,
        FIRST_OF_3,
    ),
    "GE, delayed sagittal after the dynamic": Case(
        [
            *rest(GE),
            *ge("Ax VIBRANT", 4),
            t1(510, "Delayed Hi Res Sag Post", 1200, vendor=GE, Rows=120, ImageOrientationPatient=SAGITTAL),
        ],
        501,
        FIRST_OF_3,
    ),
    "GE, a subtraction named like a phase": Case(
        [*rest(GE), *ge("Ax VIBRANT", 4), t1(600, "PHASE 2", 600, vendor=GE, **DERIVED)], 501, FIRST_OF_3
    ),
    "Philips, one series and subtractions": Case(
        [
            *rest(PHILIPS),
            whole(10, "dyn_eTHRIVE", 6, vendor=PHILIPS),
            whole(11, "sDYN SUB", 5, start_s=690, vendor=PHILIPS),
            t1(12, "MIP dyn", 690, vendor=PHILIPS),
        ],
        10,
        "post 1 of 5",
    ),
    "Philips, water and fat in one series": Case([*rest(PHILIPS), water_and_fat()], 10, FIRST_OF_3),
    "Philips, pre alone": Case(
        [*rest(PHILIPS), t1(10, "eTHRIVE_pre", 500, agent=False), whole(11, "dyn_eTHRIVE", 5)], 11, "post 1 of 5"
    ),
    "United Imaging, numbered steps": Case(
        [*rest("UIH"), *volumes(401, [f"t1_quick3d_tra_fs_1+6steps_R{n}" for n in range(1, 8)], tagged=False)],
        402,
        "post 1 of 6",
    ),
    "Canon": Case([*rest("CANON_MEC"), *volumes(20, ["Quick3D Dynamic FatSat"] * 5, tagged=False)], 21, "post 1 of 4"),
    "Hitachi": Case(
        [*rest("HITACHI"), *volumes(20, ["TIGRE Pre", *["TIGRE Dynamic"] * 4], tagged=False)], 21, "post 1 of 4"
    ),
    "German": Case(
        [
            *rest(),
            *volumes(10, ["t1_fl3d nativ", *(f"t1_fl3d nach KM {n}" for n in range(1, 4))], tagged=False),
            t1(20, "Subtraktion 1", 690, agent=False),
        ],
        11,
        FIRST_OF_3,
    ),
    "French": Case(
        [
            *rest(),
            t1(10, "T1 sans injection", 500, agent=False),
            whole(11, "T1 injecté", 4, ContrastBolusAgent=""),
            whole(20, "Soustraction", 4, ContrastBolusAgent=""),
        ],
        11,
        "post 1 of 4",
    ),
    "Chinese, mask apart": Case(
        [*rest(), *volumes(10, ["T1平扫", *["动态增强"] * 5], tagged=False), t1(20, "减影", 690, agent=False)],
        11,
        "post 1 of 5",
    ),
    "Chinese, mask within": Case([*rest(), *volumes(11, ["动态增强"] * 5, tagged=False)], 12, "post 1 of 4"),
    "Japanese": Case(
        [*rest(), *volumes(10, ["造影前 T1", "造影後 早期相", "造影後 後期相"], tagged=False)], 11, "post 1 of 2"
    ),
    "Korean": Case(
        [*rest(), t1(10, "조영전 T1", 500, agent=False), whole(11, "조영증강 T1", 4, ContrastBolusAgent="")],
        11,
        "post 1 of 4",
    ),
    "two volumes before contrast": Case(
        [*rest(), *volumes(10, ["t1 dyn pre", "t1 dyn pre", "t1 dyn", "t1 dyn"], tagged=False)], 12, "post 1 of 2"
    ),
    "names that say nothing": Case([*rest(), *volumes(10, [f"Series {n}" for n in range(4)])], 11, FIRST_OF_3),
    "contrast start time": Case(
        [*rest(), *volumes(10, ["x"] * 5, pre=0, ContrastBolusStartTime="091400")], 13, "post 1 of 2"
    ),
    "a late phase of the same grid": Case([*rest(), *DYN, t1(20, "t1_delayed", 1500)], 11, "post 1 of 4"),
    "nothing but a volume after contrast": Case([*rest(), t1(10, "T1 FS post", 600, agent=False)], 10, "post 1 of 1"),
    "flip angles for a T1 map": Case(
        [*rest(), *(t1(50 + f, f"T1 flip {f}", 300, agent=False, FlipAngle=float(f)) for f in (2, 5, 15)), *DYN],
        11,
        FIRST_OF_3,
    ),
    "T1 without fat suppression, same times": Case(
        [*rest(), t1(9, "t1 dyn no fs", 300, agent=False), *volumes(10, ["t1 dyn"] * 4, tagged=False)], 11, FIRST_OF_3
    ),
    "T2 with and without fat suppression": Case(
        [*rest(), series(6, "t2_tse_tra_spair", **T2), *DYN],
        11,
        FIRST_OF_3,
        t2=6,  # type: ignore[arg-type]
    ),
    "T2 and STIR": Case([*rest(), series(7, "STIR tra", **STIR), *DYN], 11, FIRST_OF_3),  # type: ignore[arg-type]
    "STIR alone": Case([*without(2), series(7, "STIR tra", **STIR), *DYN], 11, FIRST_OF_3, t2=7),  # type: ignore[arg-type]
    "T2 of the axilla": Case([*rest(), series(8, "t2_tse_cor", **T2, **CORONAL), *DYN], 11, FIRST_OF_3),  # type: ignore[arg-type]
    "trace, b0, ADC and exponential ADC": Case(
        [
            *rest(),
            series(5, "ep2d_diff_TRACEW", **EPI, b_value=800.0, diffusion_kind="trace"),  # type: ignore[arg-type]
            series(6, "eADC", **EPI, ImageType=["DERIVED", "PRIMARY", "EADC"]),  # type: ignore[arg-type]
            series(7, "Exponential ADC", **EPI, **DERIVED),  # type: ignore[arg-type]
            series(9, "ADC colour", **EPI, **ADC),  # type: ignore[arg-type]
            series(8, "b0", **EPI, b_value=0.0),  # type: ignore[arg-type]
            *DYN,
        ],
        11,
        FIRST_OF_3,
    ),
    "no ADC map": Case([*without(4), *DYN], 11, FIRST_OF_3, adc=3),
}

# Exams that nobody can decide from headers and names: what is not evaluated, and the series that must be named.
UNDECIDED = {
    "left and right breast one after the other": (
        [*rest(), *sagittal(20, "fl3d sag uni L", 40.0, 600), *sagittal(30, "fl3d sag uni R", -60.0, 1500)],
        "ambiguous-t1c",
        (21, 31),
    ),
    "two planes after contrast, no dynamic": (
        [*rest(), t1(10, "AX T1 FS POST", 600), t1(11, "COR T1 FS POST", 700, Rows=120)],
        "ambiguous-t1c",
        (10, 11),
    ),
    "the dynamic done again with new contrast": (
        [*rest(), *DYN, *volumes(30, ["t1 dyn"] * 5, start_s=3600, pre=0)],
        "ambiguous-t1c",
        (11, 31),
    ),
    "two diffusion protocols with maps": (
        [*rest(), series(41, "resolve_ADC", Rows=80, **EPI, **ADC), *DYN],  # type: ignore[arg-type]
        "ambiguous-adc",
        (4, 41),
    ),
    "two diffusion protocols without maps": (
        [*without(4), diffusion(40, "resolve_diff", [50.0, 800.0], Rows=80), *DYN],
        "ambiguous-adc",
        (3, 40),
    ),
    "T2 of each breast under one name": (
        [*without(2), *(series(n, "t2 sag", shift_mm=s, **T2) for n, s in ((6, -90.0), (7, 90.0))), *DYN],  # type: ignore[arg-type]
        "ambiguous-t2",
        (6, 7),
    ),
}
