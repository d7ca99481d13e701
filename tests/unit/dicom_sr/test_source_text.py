"""A text of the source is written as what it is, or as the bytes that it is."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path

import pydicom
import pytest
from pydicom.dataset import Dataset

from config.schema import Report, Settings
from dicom_sr import ReportSource, render
from dicom_sr.checks.identity import check_identity
from dicom_sr.report_source import read_header
from tests.support.reports import BEGAN, case, image

MARK, OTHER_MARK = b"NAME", b"WORD"
SETTINGS = Settings(report=Report(what=("sr", "page", "pdf")))


def source_file(folder: Path, name: bytes, declared: str | None = None, description: bytes = b"MR") -> Path:
    """An image whose name and description are just these bytes, whatever it declares."""
    ds = image("t1c", 0)
    if declared is not None:
        ds.SpecificCharacterSet = declared
    ds.PatientName = "N" * (len(name) + len(name) % 2)
    ds.StudyDescription = "D" * (len(description) + len(description) % 2)
    out = io.BytesIO()
    ds.save_as(out, enforce_file_format=True)
    raw = out.getvalue()
    for kind, value in ((b"N", name), (b"D", description)):
        length = len(value) + len(value) % 2
        assert raw.count(kind * length) == 1
        raw = raw.replace(kind * length, value.ljust(length))
    path = folder / "image.dcm"
    path.write_bytes(raw)
    return path


def written(path: Path, character_set: tuple[str, ...] = ()) -> dict[str, bytes]:
    example = case("high")
    source = ReportSource.from_files(path, began=BEGAN, character_set=character_set)
    return dict(render(example.result, replace(source, rois=example.source.rois), (), SETTINGS).objects)


def name_of(data: bytes) -> str:
    return str(pydicom.dcmread(io.BytesIO(data)).PatientName)


def raw_name(data: bytes) -> bytes:
    element = pydicom.dcmread(io.BytesIO(data)).get_item("PatientName")
    return bytes(element.value).rstrip()


@pytest.mark.parametrize(
    ("name", "declared", "default", "decoded"),
    [
        ("Müller-Lüdenscheidt^Jürgen".encode("latin-1"), "ISO_IR 192", (), "Müller-Lüdenscheidt^Jürgen"),
        ("Müller-Lüdenscheidt^Jürgen".encode("latin-1"), None, (), "Müller-Lüdenscheidt^Jürgen"),
        ("Müller-Lüdenscheidt^Jürgen".encode(), None, (), "Müller-Lüdenscheidt^Jürgen"),
        ("Wang^XiaoDong=王^小东".encode("gb18030"), None, ("GB18030",), "Wang^XiaoDong=王^小东"),
        ("Muñoz-Fernández^María".encode("latin-1"), None, ("ISO_IR 100",), "Muñoz-Fernández^María"),
        ("Люкceмбypг-Иванов".encode("iso8859_5"), None, ("ISO_IR 144",), "Люкceмбypг-Иванов"),
    ],
    ids=["latin under utf-8", "latin undeclared", "utf-8 undeclared", "chinese peer", "spanish peer", "russian peer"],
)
def test_a_name_is_decoded_as_what_it_is(
    tmp_path: Path, name: bytes, declared: str | None, default: tuple[str, ...], decoded: str
) -> None:
    path = source_file(tmp_path, name, declared)
    for kind, data in written(path, default).items():
        assert (kind, name_of(data)) == (kind, decoded)
        assert check_identity(data, read_header(path)) == []


JAPANESE = b"Yamamoto^Junko=\x1b$B;3K\\\x1b(B^\x1b$B=g;R\x1b(B=\x1b$B$d$^$b$H\x1b(B^\x1b$B$8$e$s$3\x1b(B"
KOREAN = b"Hong^Gildong=\x1b$)C\xfb\xf3^\x1b$)C\xd1\xce\xd4\xd7=\x1b$)C\xc8\xab^\x1b$)C\xb1\xe6\xb5\xbf"


@pytest.mark.parametrize("declared", [None, "ISO_IR 100", "ISO_IR 192"])
@pytest.mark.parametrize(
    ("name", "decoded"),
    [(JAPANESE, "Yamamoto^Junko=山本^順子=やまもと^じゅんこ"), (KOREAN, "Hong^Gildong=洪^吉洞=홍^길동")],
    ids=["japanese", "korean"],
)
def test_escape_sequences_tell_the_character_set_that_nothing_declares(
    tmp_path: Path, name: bytes, decoded: str, declared: str | None
) -> None:
    path = source_file(tmp_path, name, declared)
    for kind, data in written(path).items():
        assert (kind, name_of(data)) == (kind, decoded)
        assert check_identity(data, read_header(path)) == []


def test_escape_sequences_that_nobody_knows_stay_the_bytes_that_they_are(tmp_path: Path) -> None:
    name = b"Doe=\x1b$Z\xff\xfe"
    assert {raw_name(data) for data in written(source_file(tmp_path, name)).values()} == {name}


@pytest.mark.parametrize(
    ("name", "sender"),
    [("Muñoz^María".encode("latin-1"), "ISO_IR 100"), ("Иванова^Анна".encode("iso8859_5"), "ISO_IR 144")],
)
def test_a_report_in_another_character_set_is_compared_in_that_of_the_sender(
    tmp_path: Path, name: bytes, sender: str
) -> None:
    path, example = source_file(tmp_path, name), case("high")
    source = replace(ReportSource.from_files(path, began=BEGAN, character_set=(sender,)), rois=example.source.rois)
    chinese = Settings(report=Report(what=("sr",), language="zh"))
    data = render(example.result, source, (), chinese).objects["sr"]
    assert pydicom.dcmread(io.BytesIO(data)).SpecificCharacterSet == "ISO_IR 192"
    assert check_identity(data, read_header(path), [sender]) == []
    assert check_identity(data, read_header(path)) != []


@pytest.mark.parametrize("declared", [None, "ISO_IR 192"])
@pytest.mark.parametrize(
    "name",
    [
        "Dvořák-Křížkovský^Jan".encode("iso8859_2"),
        "王小东王小东王小东".encode("gb18030"),
        b"\xff\xfe\x81\x8d^A long name",
    ],
    ids=["latin-1 or latin-2", "several scripts", "nothing"],
)
def test_a_name_of_several_readings_stays_the_bytes_that_it_is_and_is_told(
    tmp_path: Path, name: bytes, declared: str | None
) -> None:
    path = source_file(tmp_path, name, declared, description=b"Brust 3\xa0\xff T, MR mammography")
    source = ReportSource.from_files(path, began=BEGAN)
    assert source.undecoded == ("StudyDescription", "PatientName")
    for kind, data in written(path).items():
        assert (kind, raw_name(data)) == (kind, name)
        assert check_identity(data, read_header(path)) == []


def test_another_name_is_seen_as_another_one(tmp_path: Path) -> None:
    data = written(source_file(tmp_path, b"\xff\xfe\x81\x8d^A long name"))["sr"]
    other = read_header(source_file(tmp_path, b"\xff\xfe\x81\x8e^A long name"))
    assert [finding.code for finding in check_identity(data, other)] == ["identity"]


def test_what_is_declared_rightly_is_left_alone() -> None:
    header = Dataset()
    header.SpecificCharacterSet = "GB18030"
    assert case("chinese_name").source.undecoded == ()
