"""STOW-RS (PS3.18 10.5): the other way to send, byte for byte as well; QIDO-RS to find it there again."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import requests
from dicomweb_client.web import DICOMwebClient, _load_xml_dataset, _Transaction
from pydicom.dataset import Dataset

from daemon.export.peer import Address, DestinationRefused
from daemon.export.sent import Congested, Item, NotNow, ObjectRefused, Sent
from pipeline.errors import PeerUnreachable

# PS3.18 10.5.3.1: 202 stored in part or with remarks, 409 nothing stored; both tell of each instance.
TOLD_PER_INSTANCE = (200, 202, 409)
REFUSED_FOR_GOOD = (400, 406, 413, 415)
CONGESTED = (429, 503)
CANNOT_PROCESS = 0xC000


class _Client(DICOMwebClient):  # type: ignore[misc]
    """dicomweb-client decodes and encodes what it stores; this stores bytes, and hands out the whole answer."""

    def store_bytes(self, contents: Sequence[bytes]) -> requests.Response:
        boundary = "axrad-7b0f3c1e5a9d"
        kind = f'multipart/related; type="application/dicom"; boundary="{boundary}"'
        body = self._encode_multipart_message(contents, kind)
        return self._session.post(
            self._get_studies_url(_Transaction.STORE),
            data=body,
            headers={"Content-Type": kind, "Accept": "application/dicom+json"},
            timeout=self._timeout,
        )


def send(address: Address, items: Sequence[Item]) -> tuple[Sent, ...]:
    """Store all items with one request; what was said of each. Raises PeerUnreachable, NotNow or ObjectRefused."""
    with opened(address) as client:
        response = client.store_bytes([item.path.read_bytes() for item in items])
        if response.status_code not in TOLD_PER_INSTANCE:
            _refuse(address, response.status_code)
        told = _told(response)
    if told is None:
        if response.status_code != 200:
            raise NotNow(f"{address.name} answers {response.status_code} and does not say what it stored")
        return tuple(Sent(item, 0) for item in items)
    return tuple(_of(item, told, all_stored=response.status_code == 200) for item in items)


def listed(address: Address, sent: Sequence[Sent]) -> list[Sent]:
    """QIDO-RS: which of these the archive lists at instance level."""
    found = []
    with opened(address) as client:
        for one in sent:
            filters = {"SOPInstanceUID": one.kept_as}
            answers = client.search_for_instances(
                one.item.study_uid, one.item.series_uid, search_filters=filters, limit=1
            )
            uids = [str(value) for a in answers for value in a.get("00080018", {}).get("Value", ())]
            if one.kept_as in uids:
                found.append(one)
    return found


@contextmanager
def opened(address: Address) -> Iterator[_Client]:
    """A DICOMweb client of this archive; what goes wrong in the block is translated."""
    assert address.dicomweb_url is not None  # the schema sees to it
    session = requests.Session()
    # Proxies and .netrc of whoever started us are none of a hospital network's business.
    session.trust_env = False
    if address.tls_ca is not None:
        session.verify = str(address.tls_ca)
    if address.tls_certificate is not None and address.tls_key is not None:
        session.cert = (str(address.tls_certificate), str(address.tls_key))
    if address.dicomweb_token is not None:
        session.headers["Authorization"] = f"Bearer {address.dicomweb_token}"
    elif address.dicomweb_user is not None:
        session.auth = (address.dicomweb_user, address.dicomweb_password or "")
    waits = (address.connect_timeout_s, address.answer_timeout_s)
    client = _Client(address.dicomweb_url.rstrip("/"), session=session, timeout=waits)
    client.set_http_retry_params(retry=False)  # the ledger repeats, with its own pauses
    try:
        with session:
            yield client
    except requests.HTTPError as error:
        _refuse(address, error.response.status_code)
    except (requests.RequestException, json.JSONDecodeError) as error:
        raise PeerUnreachable(f"{address.name} does not answer at its dicomweb_url") from error


def _refuse(address: Address, status: int) -> None:
    said = f"{address.name} answers with HTTP status {status}"
    if status in REFUSED_FOR_GOOD:
        raise ObjectRefused(said)
    if status in CONGESTED:
        raise Congested(said)
    if status in (401, 403, 404):
        raise DestinationRefused(f"{said}; look at its dicomweb_url, user and token")
    raise PeerUnreachable(said)


def _told(response: requests.Response) -> Dataset | None:
    """The Store Instances Response Module (PS3.18 I.2), or None if there is none that can be read."""
    kind = response.headers.get("Content-Type", "").partition(";")[0].strip()
    try:
        if kind in ("application/dicom+json", "application/json"):
            body = response.json()
            return Dataset.from_json(body[0] if isinstance(body, list) else body)
        if kind in ("application/dicom+xml", "application/xml", "text/xml"):
            from xml.etree.ElementTree import fromstring

            told: Dataset = _load_xml_dataset(fromstring(response.content))
            return told
    except (ValueError, KeyError, TypeError, AttributeError, IndexError, SyntaxError):
        return None
    return None


def _of(item: Item, told: Dataset, *, all_stored: bool) -> Sent:
    for failed in told.get("FailedSOPSequence") or ():
        if failed.get("ReferencedSOPInstanceUID") == item.sop_instance_uid:
            return Sent(item, int(failed.get("FailureReason") or CANNOT_PROCESS))
    for stored in told.get("ReferencedSOPSequence") or ():
        if item.sop_instance_uid in (stored.get("ReferencedSOPInstanceUID"), _original_uid(stored)):
            kept = str(stored.ReferencedSOPInstanceUID)
            return Sent(item, int(stored.get("WarningReason") or 0), kept if kept != item.sop_instance_uid else None)
    return Sent(item, 0 if all_stored else None)


def _original_uid(stored: Any) -> str | None:
    """The UID that was sent, where the archive says that it changed it (Original Attributes Sequence)."""
    for original in stored.get("OriginalAttributesSequence") or ():
        for modified in original.get("ModifiedAttributesSequence") or ():
            if modified.get("SOPInstanceUID"):
                return str(modified.SOPInstanceUID)
    return None
