"""Destinations that cannot work are refused when the configuration is read."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from config.load import load
from config.schema import Settings

PACS = {"name": "main", "ae_title": "P", "host": "h", "port": 104}


def settings(destination: dict[str, Any], **pacs: Any) -> Settings:
    return Settings.model_validate({"pacs": [PACS | pacs], "destination": [{"name": "a"} | destination]})


@pytest.mark.parametrize(
    ("destination", "pacs", "says"),
    [
        ({}, {}, "needs either pacs"),
        ({"pacs": "other"}, {}, "no \\[\\[pacs\\]\\] is named other"),
        ({"pacs": "main", "via": "stow"}, {}, "needs a dicomweb_url"),
        ({"ae_title": "A", "host": "h", "port": 1, "via": "stow"}, {}, "needs a pacs with a dicomweb_url"),
        ({"pacs": "main", "proof": "commit"}, {"can": ["find"]}, 'needs "commit"'),
        ({"pacs": "main", "proof": "readback"}, {"can": ["commit"]}, 'needs "find"'),
    ],
)
def test_a_destination_that_cannot_work_is_refused(
    destination: dict[str, Any], pacs: dict[str, Any], says: str
) -> None:
    with pytest.raises(ValidationError, match=says):
        settings(destination, **pacs)


@pytest.mark.parametrize(
    ("destination", "pacs"),
    [
        ({"pacs": "main", "proof": "commit"}, {}),
        ({"pacs": "main", "proof": "commit"}, {"can": ["commit"]}),
        ({"pacs": "main", "proof": "readback", "via": "stow"}, {"can": ["move"], "dicomweb_url": "http://h/dicom-web"}),
    ],
)
def test_one_that_may_work_is_not(destination: dict[str, Any], pacs: dict[str, Any]) -> None:
    assert settings(destination, **pacs).destination[0].name == "a"


def test_two_destinations_of_one_name_are_refused() -> None:
    with pytest.raises(ValidationError, match="two \\[\\[destination\\]\\] are named"):
        Settings.model_validate({"pacs": [PACS], "destination": [{"name": "a", "pacs": "main"}] * 2})


def test_certificates_of_a_pacs_lie_beside_the_configuration(tmp_path: Path) -> None:
    (tmp_path / "ca.pem").touch()
    (tmp_path / "axrad.toml").write_text(
        '[[pacs]]\nname = "main"\nae_title = "P"\nhost = "h"\nport = 104\ntls = true\ntls_ca = "ca.pem"\n'
    )
    assert load(tmp_path / "axrad.toml", environ={}).pacs[0].tls_ca == tmp_path / "ca.pem"


def test_passwords_and_tokens_are_not_printed() -> None:
    shown = repr(settings({"pacs": "main"}, dicomweb_password="p4ss", dicomweb_token="t0ken"))
    assert "p4ss" not in shown
    assert "t0ken" not in shown
