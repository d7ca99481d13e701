"""Signatures that were harmonised between scanners, in use: from the table to the report, by hand and in the daemon.

Two signatures of one table: one harmonised by vendor and field strength, one not. The table's rows lie about what
`axrad extract` measures on the phantom exam, which the tests then evaluate as it is, and as of a scanner that the table
does not have.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner
from pydicom import dcmread

from config.schema import SignatureSettings
from daemon.main import cli
from pipeline.errors import ExamRejected
from pipeline.phantom import PhantomSpec, write_exam
from pipeline.phantom.spec import Protocol
from pipeline.result import StudyResult
from pipeline.signature import container, predict
from pipeline.signature.record import Signature
from tests.support.remote_exam import evaluated

# Intensities alone, without N4, are enough to be harmonised, and quick.
PARAMETERS = "imageType:\n  Original: {}\nfeatureClass:\n  firstorder: []\n"
# Few slices: what is shown here does not depend on them.
FEW = Protocol(
    (48, 48, 12), (2.66, 2.66, 5.3), (48, 48, 8), (2.66, 2.66, 8.0), (32, 32, 8), (4.0, 4.0, 8.0), one_side=True
)
SCANNERS = (("SIEMENS", 3.0), ("GE MEDICAL SYSTEMS", 1.5))
BATCH = "manufacturer+field_strength_t"
GROUPS = "ge + 1.5 | siemens + 3"
ELSEWHERE = "united imaging + 5"


@dataclass(frozen=True)
class Site:
    """`here`: an exam of a scanner of the table; `elsewhere`: the same of another. `config`: without the policy."""

    here: Path
    elsewhere: Path
    harmonised: Signature
    plain: Signature
    config: dict[str, dict[str, object]]


def typed(*arguments: object) -> None:
    done = CliRunner().invoke(cli, [str(argument) for argument in arguments])
    assert done.exit_code == 0, done.output


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Site:
    root = tmp_path_factory.mktemp("site")
    exam = write_exam(root / "here", PhantomSpec(seed=11, vendor="siemens", protocol=FEW))
    for number, path in enumerate(exam.paths):
        ds = dcmread(path)
        if ds.Modality == "MR":
            ds.Manufacturer, ds.MagneticFieldStrength = "UIH", 5.0
        (root / "elsewhere").mkdir(exist_ok=True)
        ds.save_as(root / "elsewhere" / f"{number}.dcm")
    (root / "parameters.yaml").write_text(PARAMETERS)
    config = {
        "features": {"params": str(root / "parameters.yaml")},
        "bias": {"sequences": []},
        "signature": {"registry": str(root / "registry")},
    }
    (root / "registry").mkdir()
    file = written(root / "axrad.toml", config)
    typed("extract", exam.folder, "--out", root / "exam.csv", "--config", file)
    table_about(pd.read_csv(root / "exam.csv")).to_csv(root / "table.csv", index=False)
    signatures = {}
    for name, options in (("harmonised", ("--harmonise", "combat", "--batch", BATCH)), ("plain", ())):
        made = root / f"{name}.axsig"
        typed("signature", "train", root / "table.csv", "--label", "aln", "--positive", 1, "--id", "study_uid",
              "--trees", 10, "--top", 5, "--sequences", "t1c", "--rois", "tumor", *options, "--out", made)  # fmt: skip
        typed("signature", "activate", made, "--unevaluated", "--config", file)
        signatures[name] = container.load(made)
    return Site(exam.folder, root / "elsewhere", **signatures, config=config)


def table_about(exam: pd.DataFrame) -> pd.DataFrame:
    """48 rows about the exam's, half of each class and of each scanner; the second scanner has its own gain."""
    rng, cases = np.random.default_rng(0), 48
    table = pd.concat([exam] * cases, ignore_index=True)
    positive, number = np.arange(cases) % 2, np.arange(cases) // 2 % 2
    columns = [name for name in table if "original_" in name]
    values = table[columns].to_numpy(float)
    values *= (1 + 0.1 * rng.normal(size=values.shape) + 0.2 * (positive[:, None] - 0.5)) * (1 + 0.4 * number[:, None])
    table[columns] = values
    return table.assign(
        study_uid=[f"1.2.{i}" for i in range(cases)],
        patient_key=[f"{i:064x}" for i in range(cases)],
        manufacturer=[SCANNERS[i][0] for i in number],
        field_strength_t=[SCANNERS[i][1] for i in number],
        aln=positive,
    )


def written(path: Path, config: Mapping[str, Mapping[str, object]]) -> Path:
    lines = [f"[{name}]\n" + "".join(f"{k} = {v!r}\n" for k, v in section.items()) for name, section in config.items()]
    path.write_text("".join(lines))
    return path


def told(site: Site, policy: str) -> dict[str, dict[str, object]]:
    return {**site.config, "signature": {**site.config["signature"], "unknown_scanner": policy}}


def run(site: Site, folder: Path, out: Path, policy: str = "abstain") -> tuple[StudyResult, bytes]:
    """What `axrad run` leaves: its result, and the report."""
    file = written(out.parent / f"{out.name}.toml", told(site, policy))
    done = CliRunner().invoke(cli, ["run", str(folder), "--out", str(out), "--config", str(file)])
    result = StudyResult.from_json((out / "result.json").read_bytes())
    assert done.exception is None or isinstance(done.exception, ExamRejected), done.output
    assert (done.exception is None) == (result.status == "evaluated")
    return result, (out / "sr.dcm").read_bytes()


def in_the_daemon(site: Site, folder: Path, root: Path, policy: str = "abstain") -> StudyResult:
    with evaluated(root, sorted(folder.rglob("*.dcm")), told(site, policy), line=None) as analysed:
        return analysed.result


def probability_by_hand(signature: Signature, features: Mapping[str, float], group: str) -> float:
    """Each feature less its scanner's shift and over its spread, in standard deviations; then scored as it is."""
    facts = signature.header.harmonisation
    assert facts is not None
    number = [g.name for g in facts.groups].index(group)
    values = {}
    for j, name in enumerate(signature.header.columns):
        centre, scale = (float(signature.array(f"combat_{part}")[j]) for part in ("centre", "scale"))
        shift, spread = (float(signature.array(f"combat_{part}")[number, j]) for part in ("shift", "spread"))
        values[name] = ((features[name] - centre) / scale - shift) / spread * scale + centre
    arrays = {name: array for name, array in signature.arrays.items() if not name.startswith("combat_")}
    unharmonised = replace(signature, header=signature.header.model_copy(update={"harmonisation": None}), arrays=arrays)
    return predict(unharmonised, values, settings=SignatureSettings(max_outside=1.0, max_distance=1e9)).probability


def test_an_exam_of_a_known_scanner_has_the_score_of_its_features_harmonised_by_hand(
    site: Site, tmp_path: Path
) -> None:
    result, sr = run(site, site.here, tmp_path / "out")
    assert result.prediction is not None
    assert (result.prediction.signature, result.prediction.fallback) == ("harmonised@1", "")
    by_hand = probability_by_hand(site.harmonised, result.features, "siemens + 3")
    assert result.prediction.probability == pytest.approx(by_hand, rel=0, abs=1e-12)
    assert abs(by_hand - probability_by_hand(site.harmonised, result.features, "ge + 1.5")) > 0.01
    note = "features harmonised by ComBat as of the scanner group siemens + 3"
    assert note in result.prediction.notes
    assert note.encode() in sr
    of_daemon = in_the_daemon(site, site.here, tmp_path)
    assert (of_daemon.prediction, of_daemon.features) == (result.prediction, result.features)


def test_an_exam_of_an_unknown_scanner_is_not_evaluated_and_result_and_report_say_why(
    site: Site, tmp_path: Path
) -> None:
    result, sr = run(site, site.elsewhere, tmp_path / "out")
    assert (result.status, result.prediction, result.reason_codes) == ("not_evaluated", None, ("unknown-scanner",))
    why = (
        f"harmonised@1 is harmonised between scanner groups by {BATCH} ({GROUPS}); this exam's is {ELSEWHERE}, "
        "of which training had no exam"
    )
    assert result.reasons == (why,)
    assert why.encode() in sr
    of_daemon = in_the_daemon(site, site.elsewhere, tmp_path)
    assert (of_daemon.status, of_daemon.reasons, of_daemon.features) == (result.status, (why,), result.features)


def test_an_exam_of_an_unknown_scanner_goes_to_the_next_signature_where_that_is_set(site: Site, tmp_path: Path) -> None:
    result, sr = run(site, site.elsewhere, tmp_path / "out", "unharmonised")
    assert result.prediction is not None
    assert result.prediction.signature == "plain@1"
    assert result.prediction.probability == predict(site.plain, result.features).probability
    fallback = result.prediction.fallback
    assert fallback == (
        f"harmonised@1 needs scanner group by {BATCH}: {GROUPS}, which is missing: plain@1 was used instead"
    )
    assert fallback.encode() in sr
    of_daemon = in_the_daemon(site, site.elsewhere, tmp_path, "unharmonised")
    assert (of_daemon.prediction, of_daemon.features) == (result.prediction, result.features)
