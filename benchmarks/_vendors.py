"""Phantoms of three vendors: what ComBat mends of the differences between scanners, and what it cannot.

Every tumour is measured by a reference scanner and by one of three vendors. ComBat is estimated on half of the tumours
and judged on the other half: how many features still differ between vendors (analysis of variance, P < 0.05; 5 % do by
chance), how many follow the reference scanner (Pearson's r of at least 0.9), and how many of the features that tell the
planted classes on the reference scanner still do.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy import ndimage, stats

from benchmarks.features import Row
from config.schema import Features, Training
from pipeline.errors import AxradError
from pipeline.features import extract
from pipeline.geometry import Geometry
from pipeline.records import Mask, Volume
from pipeline.research.tables.feature_table import Table, from_frame
from pipeline.research.tables.scanners import Scanners
from pipeline.research.training import combat
from pipeline.research.training.train import train
from pipeline.signature import predict

VENDORS = ("siemens", "ge", "philips")
EACH = 14
# Gain, offset, blur in voxels, noise: of the reference, of the three vendors, and of one that training does not have.
SCANNERS = {
    "reference": (1.0, 0.0, 0.0, 10.0),
    "siemens": (0.6, 20.0, 0.4, 8.0),
    "ge": (1.9, 0.0, 0.7, 30.0),
    "philips": (1.2, 150.0, 0.2, 20.0),
    "canon": (3.0, 60.0, 0.9, 40.0),
}
Floats = npt.NDArray[np.float64]
Change = Callable[[Floats, str], Floats]


def rows() -> Iterator[Row]:
    """Rows of the report."""
    number = np.arange(EACH * len(VENDORS)) % len(VENDORS)
    positive = np.arange(len(number)) // len(VENDORS) % 2 == 0
    reference, names = _measured(positive, ["reference"] * len(number), _linear)
    vendors = [VENDORS[i] for i in number]
    linear, _ = _measured(positive, vendors, _linear)
    yield _judged("gain, offset, blur and noise of the vendor", linear, reference, number, positive)
    bent, _ = _measured(positive, vendors, _bent)
    yield _judged("a response that is not linear, and a coil field over the region", bent, reference, number, positive)
    skewed = _with_class(positive)
    with_class, _ = _measured(positive, [VENDORS[i] for i in skewed], _linear)
    yield _judged("vendors that go with the class (refused by train)", with_class, reference, skewed, positive)
    yield _refusals(names, linear, with_class, number, skewed, positive)


def _judged(
    name: str, values: Floats, reference: Floats, number: npt.NDArray[np.intp], positive: npt.NDArray[np.bool_]
) -> Row:
    half = np.arange(len(number)) < len(number) // 2
    scanners = Scanners(VENDORS, number, np.zeros((len(number), 0)))
    estimates = combat.estimated(values[half], scanners.of(half), np.ones(values.shape[1], np.bool_))
    after = estimates.applied(values, number, scanners.covariates)
    telling = _p(reference, positive) < 0.01
    row: Row = {"name": f"ComBat, {name}", "features": values.shape[1], "telling_on_reference": int(telling.sum())}
    for when, some in (("before", values), ("after", after)):
        here = some[~half]
        differ = stats.f_oneway(*(here[number[~half] == i] for i in range(len(VENDORS)))).pvalue
        follow = [_r(here[:, j], reference[~half, j]) >= 0.9 for j in range(here.shape[1])]
        row |= {
            f"differ_between_vendors_{when}": int((differ < 0.05).sum()),
            f"follow_reference_{when}": int(np.sum(follow)),
            f"still_telling_{when}": int((_p(some, positive)[telling] < 0.01).sum()),
        }
    return row


def _refusals(
    names: list[str],
    linear: Floats,
    with_class: Floats,
    number: npt.NDArray[np.intp],
    skewed: npt.NDArray[np.intp],
    positive: npt.NDArray[np.bool_],
) -> Row:
    """What the program says of a vendor that training did not have, and of vendors that go with the class."""
    recipe = Training(trees=50, top=10, harmonise="combat", batch="manufacturer")

    def table(values: Floats, of: npt.NDArray[np.intp]) -> Table:
        frame = pd.DataFrame(values, columns=names).assign(
            study_uid=[f"1.2.{i}" for i in range(len(of))],
            nodes=positive.astype(int),
            manufacturer=[VENDORS[i] for i in of],
        )
        return from_frame(frame, name="phantoms", label="nodes", positive="1")

    signature = train(table(linear, number), recipe)
    exam, _ = _measured(positive[:1], ["canon"], _linear)
    answers: dict[str, object] = {}
    works: dict[str, Callable[[], object]] = {
        "new_scanner": lambda: predict(
            signature, dict(zip(names, exam[0].tolist(), strict=True)), protocol={"manufacturer": "Canon"}
        ),
        "vendors_go_with_class": lambda: train(table(with_class, skewed), recipe),
    }
    for what, work in works.items():
        try:
            work()
            answers[what] = "answered"
        except AxradError as error:
            answers[what] = error.code
    return {"name": "ComBat, what is refused", **answers}


def _with_class(positive: npt.NDArray[np.bool_]) -> npt.NDArray[np.intp]:
    """A fourth of each class on a third vendor; of the others seven eighths of a class on one vendor of two."""
    number = np.empty(len(positive), dtype=np.intp)
    for vendor, cases in enumerate((np.flatnonzero(positive), np.flatnonzero(~positive))):
        order = np.random.default_rng(4 + vendor).permutation(cases)
        third, rest = np.split(order, [len(order) // 4])
        number[third], number[rest] = 2, vendor
        number[rest[: len(rest) // 8]] = 1 - vendor
    return number


def _measured(positive: npt.NDArray[np.bool_], scanners: list[str], change: Change) -> tuple[Floats, list[str]]:
    """Features (tumours, features) of the same tumours, each on its scanner; without shape."""
    measured = []
    for i, (of_class, scanner) in enumerate(zip(positive, scanners, strict=True)):
        tissue, mask = _tumour(i, positive=bool(of_class))
        image = replace(tissue, voxels_zyx=change(tissue.voxels_zyx.astype(np.float64), scanner).astype(np.float32))
        values = extract({"t1c": image}, {("t1c", "tumor"): mask}, Features()).values
        measured.append({n: v for n, v in values.items() if "_shape_" not in n})
    names = [n for n in measured[0] if all(n in one for one in measured)]
    return np.array([[one[n] for n in names] for one in measured]), names


def _linear(signal: Floats, scanner: str) -> Floats:
    gain, offset, blur, noise = SCANNERS[scanner]
    rng = np.random.default_rng(int(signal.sum()) % 2**32)
    smooth = ndimage.gaussian_filter(signal, (0, blur, blur)) if blur else signal
    return np.asarray(gain * smooth + offset + noise * rng.standard_normal(signal.shape))


def _bent(signal: Floats, scanner: str) -> Floats:
    """As `_linear` of a response that is no line, under a field that differs from exam to exam."""
    rng = np.random.default_rng(int(signal.max() * 1000) % 2**32)
    power = {"siemens": 0.6, "ge": 1.5, "philips": 1.0}.get(scanner, 1.0)
    field = 1 + rng.uniform(0.2, 0.8) * np.linspace(-1, 1, signal.shape[2])
    return _linear(800 * (np.clip(signal, 0, None) / 800) ** power * field, scanner)


def _tumour(number: int, *, positive: bool) -> tuple[Volume, Mask]:
    """A small tumour; those of the positive class are coarser and brighter."""
    rng = np.random.default_rng(1000 + number)
    grid = Geometry((16, 48, 48), (0.8, 0.8, 2.0), (0.0, 0.0, 0.0), (1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0))
    z, y, x = np.ogrid[:16, :48, :48]
    inside = ((z - 8) * 2.0) ** 2 + ((y - 24) * 0.8) ** 2 + ((x - 24) * 0.8) ** 2 <= rng.uniform(7, 11) ** 2
    grain = ndimage.gaussian_filter(rng.standard_normal(inside.shape), (0.5, 1.5, 1.5))
    grain *= rng.uniform(300, 700) * (1.3 if positive else 1.0)
    signal = 400 + grain + (rng.uniform(200, 500) + 80 * positive) * inside
    return Volume(signal.clip(0).astype(np.float32), grid, "t1c"), Mask(inside, grid)


def _p(values: Floats, positive: npt.NDArray[np.bool_]) -> Floats:
    return np.asarray(stats.ttest_ind(values[positive], values[~positive], equal_var=False).pvalue)


def _r(a: Floats, b: Floats) -> float:
    if np.ptp(a) == 0 or np.ptp(b) == 0:
        return 0.0
    return float(np.corrcoef(a, b)[0, 1])
