"""DICOMweb (PS3.18): a client of an archive that raises our errors."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any  # Any: DICOM JSON from outside, of any shape until it is looked at

import requests
from dicomweb_client.web import DICOMwebClient, _Transaction

from daemon.export.association import Address, DestinationRefused
from daemon.export.send_outcome import Congested, ObjectRefused
from daemon.network.answer_limits import AnswerLimits
from daemon.network.redirects import CarefulSession
from pipeline.errors import PeerUnreachable

REFUSED_FOR_GOOD = (400, 406, 413, 415)
CONGESTED = (429, 503)
CHUNK_BYTES = 1 << 16
Response = requests.Response
# More than any answer about a few objects has; longer answers are cut off here.
MAX_ANSWER_BYTES = 4 << 20
# A page of a QIDO-RS answer: 500 matches, and archives that send all attributes of each.
MAX_LIST_BYTES = 64 << 20


class Client(DICOMwebClient):  # type: ignore[misc]
    """dicomweb-client, which decodes what it stores; this class also stores bytes as they are."""

    def store_bytes(self, contents: Sequence[bytes]) -> tuple[requests.Response, bytes]:
        """The answer to one POST, and as much of its body as an answer may have."""
        boundary = "axrad-7b0f3c1e5a9d"
        kind = f'multipart/related; type="application/dicom"; boundary="{boundary}"'
        body = self._encode_multipart_message(contents, kind)
        with self._session.post(
            self._get_studies_url(_Transaction.STORE),
            data=body,
            headers={"Content-Type": kind, "Accept": "application/dicom+json"},
            timeout=self._timeout,
            allow_redirects=False,
            stream=True,
        ) as response:
            return response, read_at_most(response, MAX_ANSWER_BYTES)

    def get(self, path: str, accept: str) -> requests.Response:
        """GET below the base URL; the body is still to be read."""
        return self._session.get(
            f"{self.base_url}{path}", headers={"Accept": accept}, stream=True, timeout=self._timeout
        )


def read_at_most(response: requests.Response, limit: int) -> bytes:
    """The body, or its first `most` bytes and a little more."""
    body = bytearray()
    for piece in response.iter_content(CHUNK_BYTES):
        body += piece
        if len(body) > limit:
            break
    return bytes(body)


@contextmanager
def dicomweb_client(address: Address, max_answer_bytes: int = MAX_LIST_BYTES) -> Iterator[Client]:
    """A DICOMweb client of this archive; errors of the network in the block are raised as ours.

    Raises AnswerTooLarge for an answer of more than `max_answer_bytes`, inflated; AnswerTooSlow.
    """
    assert address.dicomweb_url is not None  # the schema sees to it
    # Twice: the wait for the first byte has a limit of its own, which says more precisely what is wrong.
    limits = AnswerLimits(max_answer_bytes, max_wait_s=2 * address.answer_timeout_s)
    session = CarefulSession(address.name, "dicomweb_url", limits=limits)
    if address.tls_ca is not None:
        session.verify = str(address.tls_ca)
    if address.tls_certificate is not None and address.tls_key is not None:
        session.cert = (str(address.tls_certificate), str(address.tls_key))
    if address.dicomweb_token is not None:
        session.headers["Authorization"] = f"Bearer {address.dicomweb_token}"
    elif address.dicomweb_user is not None:
        session.auth = (address.dicomweb_user, address.dicomweb_password or "")
    timeouts = (address.connect_timeout_s, address.answer_timeout_s)
    client = Client(address.dicomweb_url.rstrip("/"), session=session, timeout=timeouts)
    client.set_http_retry_params(retry=False)  # the ledger repeats, with its own pauses
    try:
        with session:
            yield client
    except requests.HTTPError as error:
        raise_for_status(address, error.response.status_code)
    except (requests.exceptions.JSONDecodeError, json.JSONDecodeError, RecursionError) as error:
        raise PeerUnreachable(
            f"{address.name} answers at its dicomweb_url with something that is no DICOM JSON; a login page?"
        ) from error
    except requests.RequestException as error:
        raise PeerUnreachable(f"{address.name} does not answer at its dicomweb_url") from error
    except UnicodeEncodeError as error:
        raise DestinationRefused(
            f"{address.name} is not asked: its dicomweb_token, dicomweb_user or dicomweb_password has letters that "
            "HTTP does not carry (only Latin-1)"
        ) from error


def raise_for_status(address: Address, status: int) -> None:
    """Raise the error that fits an HTTP status other than success."""
    message = f"{address.name} answers with HTTP status {status}"
    if status in REFUSED_FOR_GOOD:
        raise ObjectRefused(message)
    if status in CONGESTED:
        raise Congested(message)
    if status in (401, 403, 404) or 300 <= status < 400:
        raise DestinationRefused(f"{message}; look at its dicomweb_url, user and token")
    raise PeerUnreachable(message)


def values_of(item: Any, tag: str) -> list[Any]:
    """The values of an attribute in the DICOM JSON Model (PS3.18 annex F); none where it is no such thing."""
    element = item.get(tag) if isinstance(item, dict) else None
    values = element.get("Value") if isinstance(element, dict) else None
    return values if isinstance(values, list) else []
