"""Images made smaller for the way: the same bytes come out, whatever they are and however they are cut."""

from __future__ import annotations

import http.client
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from daemon.share import planes
from daemon.share.client import ShareClient
from daemon.share.exam_files import RemoteFiles
from daemon.share.planes import CODING, DamagedCoding, Packer, Unpacker
from pipeline.errors import PeerUnreachable
from tests.unit.daemon.test_share import TOKEN, Row, brought, shared

NOISE = np.random.default_rng(1)


def packed(data: bytes, block: int) -> bytes:
    packer = Packer()
    blocks = [data[n : n + block] for n in range(0, len(data), block)]
    return b"".join([*map(packer.pack, blocks), packer.end()])


def unpacked(data: bytes, cut: int) -> bytes:
    unpacker = Unpacker()
    pieces = [piece for n in range(0, len(data), cut) for piece in unpacker.unpack(data[n : n + cut])]
    return b"".join([*pieces, unpacker.end()])


@settings(deadline=None)
@given(st.binary(max_size=3000) | st.integers(0, 5000).map(bytes), st.sampled_from([16, 1024]), st.integers(1, 700))
def test_every_file_comes_out_as_it_went_in(data: bytes, block: int, cut: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(planes, "BLOCK_BYTES", block)
        assert unpacked(packed(data, block), cut) == data


@pytest.mark.parametrize(
    "damage", [lambda b: b[:-1], lambda b: b + b"x", lambda b: b"\0" + b[1:], lambda b: b[:-4] + b"abcd"]
)
def test_what_is_not_whole_is_damaged(damage: object) -> None:
    assert callable(damage)
    with pytest.raises(DamagedCoding):
        unpacked(damage(packed(bytes(range(256)) * 50, planes.BLOCK_BYTES)), 1000)


def asked(port: int, row: Row, coding: str) -> tuple[str | None, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", port)
    try:
        headers = {"Authorization": f"Bearer {TOKEN}", "Accept-Encoding": coding}
        connection.request("GET", f"/instances/{row.sop_uid}/{row.digest}", headers=headers)
        answer = connection.getresponse()
        return answer.headers["Content-Encoding"], answer.read()
    finally:
        connection.close()


def test_images_are_packed_for_who_asks_and_noise_goes_as_it_is(tmp_path: Path) -> None:
    with shared(tmp_path) as house:
        images = house.receive("1.2.3", NOISE.normal(300, 40, 600_000).astype("<u2").tobytes())
        noise = house.receive("1.2.4", NOISE.bytes(300_000))
        port = house.server.server_port
        for row, coding, smaller in ((images, CODING, True), (images, "gzip", False), (noise, CODING, False)):
            encoding, body = asked(port, row, coding)
            whole = (house.spool.root / row.path).read_bytes()
            assert encoding == (CODING if smaller else None)
            assert (unpacked(body, 5000) if smaller else body) == whole
            assert not smaller or len(body) < 0.75 * len(whole)
        client = ShareClient(f"http://127.0.0.1:{port}", TOKEN, pauses_s=(), packed=True)
        files = RemoteFiles(client, tmp_path / "copies", 10**8, 60)
        for row in (images, noise):
            path = brought(files, row)
            assert path is not None
            assert path.read_bytes() == (house.spool.root / row.path).read_bytes()


def test_a_damaged_answer_is_asked_for_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with shared(tmp_path) as house:
        row = house.receive("1.2.5", bytes(100_000))
        client = ShareClient(f"http://127.0.0.1:{house.server.server_port}", TOKEN, pauses_s=(), packed=True)
        with monkeypatch.context() as patch:
            patch.setattr(Packer, "end", lambda self: b"")
            with pytest.raises(PeerUnreachable, match="damaged"):
                brought(RemoteFiles(client, tmp_path / "copies", 10**8, 60), row)
        assert brought(RemoteFiles(client, tmp_path / "copies", 10**8, 60), row) is not None
