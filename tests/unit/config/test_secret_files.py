"""Every secret can stand in a file of its own, named in the settings or in the environment."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from config.faults import model_in
from config.load import ConfigError, load
from config.schema import Settings
from config.secret_files import secrets_of

SECRET = "Zo8-Geheimnis-%/@:ä"


def written(folder: Path, text: str) -> Path:
    (folder / "axrad.toml").write_text(text, encoding="utf-8")
    return folder / "axrad.toml"


def sections(model: type[BaseModel] = Settings, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    yield path, model
    for name, field in model.model_fields.items():
        below = model_in(field.annotation)
        if below is not None:
            yield from sections(below, (*path, name))


def test_what_sounds_like_a_secret_is_one() -> None:
    for path, model in sections():
        for name in model.model_fields:
            sounds = name.endswith(("password", "token", "secret")) or (path, name) in (
                (("ledger",), "url"),
                (("broker",), "url"),
                (("notify",), "webhook_url"),
            )
            assert sounds == (name in secrets_of(model)), (path, name)


TABLES = {
    "spool": "[spool]\nshare_port = 1190\nshare_token_file = 'secret'",
    "pacs": "[[pacs]]\nname = 'a'\nae_title = 'A'\nhost = 'h'\nport = 1\ndicomweb_url = 'https://h'\n"
    "dicomweb_token_file = 'secret'",
    "clinical": "[clinical]\nfhir_url = 'https://h'\nfhir_token_file = 'secret'",
    "flower": "[flower]\npassword_file = 'secret'",
    "notify": "[notify.email]\nhost = 'h'\nsender = 'a@b'\nto = ['c@d']\nuser = 'u'\npassword_file = 'secret'",
}


@pytest.mark.parametrize("name", TABLES)
@pytest.mark.parametrize("end", ["", "\n", "\r\n"])
def test_a_secret_is_the_content_of_the_file_that_is_named(tmp_path: Path, name: str, end: str) -> None:
    secret = "0123456789abcdef-secret"
    (tmp_path / "secret").write_bytes(secret.encode() + end.encode())
    settings = load(written(tmp_path, TABLES[name]), environ={})
    assert secret in str(settings.model_dump(include={name}))
    assert secret not in repr(settings)


def test_the_environment_names_files_too_and_goes_before_the_settings(tmp_path: Path) -> None:
    (tmp_path / "in-settings").write_text("one")
    (tmp_path / "in-environment").write_text("two")
    config = written(tmp_path, "[flower]\npassword_file = 'in-settings'")
    for environ, password in (
        ({}, "one"),
        ({"AXRAD_FLOWER__PASSWORD": "three"}, "three"),
        ({"AXRAD_FLOWER__PASSWORD_FILE": str(tmp_path / "in-environment")}, "two"),
        ({"AXRAD_FLOWER__PASSWORD_FILE": ""}, None),
    ):
        assert load(config, environ=environ).flower.password == password
    plain = written(tmp_path, "[flower]\npassword = 'four'")
    assert (
        load(plain, environ={"AXRAD_FLOWER__PASSWORD_FILE": str(tmp_path / "in-environment")}).flower.password == "two"
    )


def test_a_password_beside_a_url_stands_in_it_afterwards(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text(SECRET + "\n", encoding="utf-8")
    text = (
        "[ledger]\nurl = 'postgresql://axrad@db:5432/axrad'\npassword_file = 'secret'\n"
        "[broker]\nurl = 'redis://queue:6379/0'\npassword_file = 'secret'\n"
    )
    settings = load(written(tmp_path, text), environ={})
    encoded = "Zo8-Geheimnis-%25%2F%40%3A%C3%A4"
    assert settings.ledger.url == f"postgresql://axrad:{encoded}@db:5432/axrad"
    assert settings.broker.url == f"redis://:{encoded}@queue:6379/0"
    assert Settings.model_validate(settings.model_dump()) == settings
    socket = {"AXRAD_LEDGER__URL": "postgresql+pg8000://axrad@/axrad?unix_sock=/run/s", "AXRAD_LEDGER__PASSWORD": "p"}
    assert load(None, environ=socket).ledger.url == "postgresql+pg8000://axrad:p@/axrad?unix_sock=/run/s"


@pytest.mark.parametrize(
    ("table", "sentence"),
    [
        ("password_file = 'absent'", "flower.password_file: .*absent cannot be read: No such file"),
        ("password_file = 'empty'", "flower.password_file: .*is empty"),
        ("password_file = 'long'", "flower.password_file: .*too long"),
        ("password_file = 'binary'", "flower.password_file: .*is not UTF-8"),
        ("password_file = '.'", "flower.password_file: .*cannot be read: Is a directory"),
        ("password_file = 3", "flower.password_file: must be a path in quotes"),
        ("password_file = 'good'\npassword = 'p'", "flower.password_file: password is given as well"),
        ("user_file = 'good'", "unknown key flower.user_file"),
    ],
)
def test_a_file_that_cannot_be_a_secret_is_told_without_its_content(tmp_path: Path, table: str, sentence: str) -> None:
    (tmp_path / "good").write_text(SECRET)
    (tmp_path / "empty").write_text("\n")
    (tmp_path / "long").write_text(SECRET * 10_000)
    (tmp_path / "binary").write_bytes(b"\xff\xfe\xfa")
    with pytest.raises(ConfigError, match=sentence) as error:
        load(written(tmp_path, f"[flower]\n{table}"), environ={})
    assert SECRET not in str(error.value)


def test_a_wrong_value_from_a_file_is_told_by_the_variable_that_named_it(tmp_path: Path) -> None:
    (tmp_path / "short").write_text("short")
    environ = {"AXRAD_SPOOL__SHARE_TOKEN_FILE": str(tmp_path / "short")}
    with pytest.raises(ConfigError, match=r"spool.share_token \(AXRAD_SPOOL__SHARE_TOKEN_FILE in the environment\)"):
        load(None, environ=environ)


def test_a_password_that_contradicts_the_url_is_refused(tmp_path: Path) -> None:
    for table in ("url = 'redis://:a@h:1/0'\npassword = 'b'", "password = 'b'"):
        with pytest.raises(ConfigError, match="broker"):
            load(written(tmp_path, f"[broker]\n{table}"), environ={})
