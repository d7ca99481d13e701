"""DICOM Spatial Registration objects (PS3.3 C.20.2): matrices between frames of reference, obeyed as given."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from pydicom import Dataset

from pipeline.errors import GeometryRejected
from pipeline.records import Volume
from pipeline.volumes.checked_header import read_header

Matrix = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class Registered:
    """One item of a registration: points of `frame_of_reference_uid` (or of `images`) into the registered space."""

    uid: str
    frame_of_reference_uid: str
    images: frozenset[str]
    matrix: Matrix


def between(moving: Volume, fixed: Volume, paths: Iterable[Path]) -> tuple[Matrix, str] | None:
    """The 4x4 from points of `moving` to points of `fixed` (LPS mm) by the first object that relates both; and its UID.

    An item that names a volume's images goes before one for its frame of reference. Two objects that disagree by
    more than 0.1 mm raise GeometryRejected.
    """
    relations: list[tuple[Matrix, str]] = []
    for path in sorted(paths):
        items = read_registration(read_header(path))
        one, other = _item_for(moving, items), _item_for(fixed, items)
        if one is None or other is None:
            continue
        matrix = np.linalg.inv(other.matrix) @ one.matrix
        if one is not other:
            relations.append((matrix, one.uid))
    for matrix, uid in relations[1:]:
        if np.abs(_corners(moving) @ (matrix - relations[0][0])[:3].T).max() > 0.1:
            raise GeometryRejected(
                f"registrations {relations[0][1]} and {uid} relate series {moving.series_uid} and "
                f"{fixed.series_uid} differently",
                code="registrations-disagree",
                uid=uid,
            )
    return relations[0] if relations else None


def read_registration(ds: Dataset) -> list[Registered]:
    """The items of one object, and an identity for the registered space, its own frame of reference.

    So volumes of that frame which no item names are in the registered space already.
    """
    uid = str(ds.SOPInstanceUID)
    items = []
    for item in ds.get("RegistrationSequence") or []:
        matrix = np.eye(4)
        for step in item.get("MatrixRegistrationSequence") or []:
            for given in step.get("MatrixSequence") or []:
                matrix = _matrix(given, uid) @ matrix
        images = {
            str(i.ReferencedSOPInstanceUID)
            for i in item.get("ReferencedImageSequence") or []
            if "ReferencedSOPInstanceUID" in i
        }
        items.append(Registered(uid, str(item.get("FrameOfReferenceUID") or ""), frozenset(images), matrix))
    own = str(ds.get("FrameOfReferenceUID") or "")
    if own and not any(i.frame_of_reference_uid == own and not i.images for i in items):
        items.append(Registered(uid, own, frozenset(), np.eye(4)))
    return items


def _matrix(given: Dataset, uid: str) -> Matrix:
    values = np.array([float(v) for v in given.get("FrameOfReferenceTransformationMatrix") or []])
    kind = str(given.get("FrameOfReferenceTransformationMatrixType") or "RIGID")
    if len(values) != 16 or not np.isfinite(values).all() or abs(np.linalg.det(values.reshape(4, 4))) < 1e-6:
        raise GeometryRejected(f"registration {uid} holds a matrix that cannot be used", uid=uid)
    matrix: Matrix = values.reshape(4, 4)
    rotation = matrix[:3, :3]
    if kind == "RIGID" and np.abs(rotation @ rotation.T - np.eye(3)).max() > 1e-3:
        raise GeometryRejected(f"registration {uid} is called rigid and is not", uid=uid)
    return matrix


def _item_for(volume: Volume, items: list[Registered]) -> Registered | None:
    own = {s.ref.sop_instance_uid for s in volume.sources_z} | {r.sop_instance_uid for r in volume.derived_from}
    by_image = [i for i in items if i.images & own]
    if by_image:
        return by_image[0]
    frame = volume.geometry.frame_of_reference_uid
    return next((i for i in items if frame and i.frame_of_reference_uid == frame and not i.images), None) or next(
        (i for i in items if frame and i.frame_of_reference_uid == frame), None
    )


def _corners(volume: Volume) -> Matrix:
    z, y, x = volume.geometry.shape_zyx
    index = np.array([[i, j, k, 1.0] for i in (0, x - 1) for j in (0, y - 1) for k in (0, z - 1)])
    return np.asarray(index @ volume.geometry.affine.T)
